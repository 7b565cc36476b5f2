/* Drafts copied out of the text: found as a plain search finds them, as long as pays, and without a
 * trace in the law of what is written.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/copy.h"

#include "runtime/accept.h"
#include "tests/runtime/chi_square.h"
#include "tests/test.h"

#include <string.h>

static uint64_t state = 3;

static uint32_t random_below(uint32_t end)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % end;
}

/* Whether `count` tokens before `place` are those that end the text. */
static bool agrees(const int32_t *ids, uint32_t length, uint32_t place, uint32_t count)
{
    return count <= place &&
           memcmp(ids + place - count, ids + length - count, count * sizeof *ids) == 0;
}

TEST(the_most_recent_place_is_found)
{
    int32_t ids[256];
    uint32_t found = 0;
    for (uint32_t run = 0; run < 20000; run++) {
        const uint32_t length = 1 + random_below(run % 2 == 0 ? 64 : 256);
        const uint32_t vocabulary = 2 + random_below(run % 4 < 2 ? 6 : 60);
        for (uint32_t i = 0; i < length; i++)
            ids[i] = (int32_t)random_below(vocabulary);
        rt_copy expected = {0, 0};
        for (uint32_t place = RT_COPY_LEAST; place < length; place++)
            if (agrees(ids, length, place, RT_COPY_LEAST))
                expected.place = place;
        for (uint32_t count = 1; expected.place > 0 && count <= 9; count++)
            expected.agree += agrees(ids, length, expected.place, count);
        const rt_copy actual = rt_copy_find(ids, length);
        CHECK(actual.agree == expected.agree);
        CHECK(expected.agree == 0 || actual.place == expected.place);
        found += actual.agree > 0;
    }
    CHECK(found > 1000 && found < 19000);
}

TEST(no_place_is_looked_for_further_back_than_the_span)
{
    static int32_t ids[3 * RT_COPY_SPAN];
    for (uint32_t i = 0; i < 3 * RT_COPY_SPAN; i++)
        ids[i] = (int32_t)i;
    const uint32_t length = 2 * RT_COPY_SPAN;
    memcpy(ids + length - 3, ids + 5, 3 * sizeof *ids);
    CHECK(rt_copy_find(ids, length).agree == 0);
    memcpy(ids + length - 3, ids + RT_COPY_SPAN + 5, 3 * sizeof *ids);
    CHECK(rt_copy_find(ids, length).place == RT_COPY_SPAN + 8);
}

TEST(a_copy_that_reaches_the_end_goes_on_with_itself)
{
    const int32_t ids[] = {9, 1, 2, 3, 1, 2, 3};
    const rt_copy copy = rt_copy_find(ids, 7);
    CHECK(copy.place == 4 && copy.agree == 3);
    for (uint32_t ahead = 0; ahead < 9; ahead++)
        CHECK(rt_copy_token(ids, 7, &copy, ahead) == (int32_t)(1 + ahead % 3));
}

TEST(copies_are_as_long_as_pays)
{
    double round_seconds[20], gain;
    for (uint32_t i = 0; i < 20; i++)
        round_seconds[i] = 1 + 0.3 * i;
    rt_copy_record record = {0};
    for (uint32_t i = 0; i < 200; i++)
        rt_copy_note(&record, 3, i % 2 == 0);
    for (uint32_t i = 0; i < 200; i++)
        rt_copy_note(&record, 20, true);
    /* Half of them are kept: 1/2, 1/4, ... of a token for 0.3 each. */
    CHECK(rt_copy_length(&record, 3, round_seconds, 1, 16, &gain) == 1);
    CHECK(gain > 0.1 && gain < 0.3);
    CHECK(rt_copy_length(&record, 20, round_seconds, 1, 16, &gain) == 16);
    CHECK(rt_copy_length(&record, 20, round_seconds, 1, 5, &gain) == 5);
    CHECK(rt_copy_length(&record, 20, round_seconds, 1, 0, &gain) == 0 && gain == 0);
    CHECK(rt_copy_length(&record, 3, round_seconds, 2, 16, &gain) == 0 && gain == 0);
    /* What is passed over is tried again some time. */
    for (uint32_t i = 0; i < 500; i++)
        rt_copy_note(&record, 3, false);
    CHECK(rt_copy_length(&record, 3, round_seconds, 1, 16, &gain) == 0);
    for (uint32_t i = 0; i < 500; i++)
        rt_copy_pass_over(&record, 3);
    CHECK(rt_copy_length(&record, 3, round_seconds, 1, 16, &gain) > 0);
}

/* --- the law --- */

#define IDS     4u
#define LENGTH  3u
#define CODES   64u
#define SAMPLES 40000u

/* p of the next token after each token, and at first. */
static const float tables[IDS + 1][IDS] = {
    {0.1f, 0.2f, 0.3f, 0.4f}, {0.7f, 0.1f, 0.1f, 0.1f},   {0.05f, 0.9f, 0.05f, 0},
    {0, 0.5f, 0, 0.5f},       {0.25f, 0.3f, 0.4f, 0.05f},
};

/* One round over a chain of copied tokens, then plain ones; `weight` is what a copied token is said
 * to have been drawn with. */
static uint32_t write_sequence(const int32_t *copied, uint32_t count, float weight, uint64_t round)
{
    rt_tree tree;
    rt_tree_start(&tree, 0);
    for (uint32_t i = 0; i < count; i++) {
        rt_tree_deepen(&tree);
        tree.nodes[rt_tree_add(&tree, i, copied[i])].weight = weight;
    }
    uint32_t code = 0, written = 0, last = IDS, node = 0;
    for (uint32_t pass = 0; written < LENGTH; pass++) {
        const rt_dice dice = {1, pass, round};
        float p[IDS], sure = 1;
        double residual[IDS];
        memcpy(p, tables[last], sizeof p);
        rt_site site = {.p = {{p, NULL, IDS}, rt_sum(p, IDS)}, .residual = residual};
        const bool more = node < count && pass == node;
        if (more)
            site.q = (rt_weights){{&sure, &copied[node], 1}, 1};
        else
            rt_tree_start(&tree, 0);
        int32_t token = 0;
        const uint32_t kept = rt_settle(&tree, more ? node : 0, &dice, &site, &token);
        node = kept > 0 ? kept : count;
        last = (uint32_t)(kept > 0 ? tree.nodes[kept].id : token);
        code = code * IDS + last;
        written++;
    }
    return code;
}

static double deviation(const int32_t *copied, uint32_t count, float weight)
{
    static uint32_t seen[CODES];
    double law[CODES];
    memset(seen, 0, sizeof seen);
    for (uint32_t code = 0; code < CODES; code++)
        law[code] = (double)tables[IDS][code / 16] * (double)tables[code / 16][code / 4 % 4] *
                    (double)tables[code / 4 % 4][code % 4];
    for (uint64_t round = 0; round < SAMPLES; round++)
        seen[write_sequence(copied, count, weight, round)]++;
    return chi_square(seen, law, CODES);
}

TEST(copied_drafts_leave_the_law_alone)
{
    static const int32_t chains[][LENGTH] = {{0, 0, 0}, {1, 1, 1}, {2, 1, 3}, {2, 0, 1}, {3, 2, 2}};
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        for (uint32_t count = 0; count <= LENGTH; count++) {
            const double result = deviation(chains[i], count, 1);
            CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "chain %zu of %u: %g", i, count, result);
        }
    /* The test would notice a wrong weight. */
    CHECK(deviation(chains[0], 2, 0.5f) > 2 * CHI_SQUARE_LIMIT);
}

TEST_MAIN()
