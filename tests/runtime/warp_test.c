/* Temperature, top-k, top-p, min-p and the repetition penalty against their definitions by sorting.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/noise.h"
#include "runtime/warp.h"
#include "tests/test.h"

#include <math.h>

#define MOST 3000u

static double number(uint64_t seed, uint32_t index)
{
    rt_dice dice = {seed, 77, 0};
    return rt_uniform(&dice, 0, RT_DRAW_TOKEN, index);
}

static const float *sorted_values; /* qsort has no other way to know */

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (sorted_values[a] != sorted_values[b])
        return sorted_values[a] > sorted_values[b] ? -1 : 1;
    return a < b ? -1 : 1;
}

/* How many entries are kept, the most probable first, of `count` weights in `order`. */
static uint32_t define_kept(const rt_warp *warp, const float *weights, const uint32_t *order,
                            uint32_t count)
{
    if (warp->top_k > 0 && warp->top_k < count)
        count = warp->top_k;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++)
        total += (double)weights[order[i]];
    if (warp->top_p > 0 && warp->top_p < 1) {
        uint32_t kept = 0;
        while (kept < count && sum < warp->top_p * total)
            sum += (double)weights[order[kept++]];
        count = kept;
    }
    while (count > 0 && (double)weights[order[count - 1]] < warp->min_p * (double)weights[order[0]])
        count--;
    return count;
}

/* Whether the distribution is what sorting gives. Ties are frequent when `grain` is not 0: logits
 * are multiples of it. */
static bool follows_definition(const rt_warp *warp, uint32_t count, double grain, uint64_t seed)
{
    static float logits[MOST], plain[MOST], weights[MOST];
    static uint32_t order[MOST];
    for (uint32_t i = 0; i < count; i++) {
        double logit = 12 * number(seed, i);
        logits[i] = (float)(grain > 0 ? grain * floor(logit / grain) : logit);
        order[i] = i;
    }
    rt_row row = {logits, NULL, count};
    rt_softmax(&row, warp->temperature, MOST, plain);
    sorted_values = plain;
    qsort(order, count, sizeof *order, by_value);
    uint32_t kept = define_kept(warp, plain, order, count);
    rt_weights result = rt_distribution(warp, &row, MOST, weights);
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
        float expected = i < kept ? plain[order[i]] : 0;
        total += (double)expected;
        /* The last one kept may differ where the mass is reached within rounding. */
        if (weights[order[i]] != expected && (warp->top_p == 0 || (i + 1 != kept && i != kept)))
            return false;
    }
    return fabs(result.total - total) < 0.02 * total && result.total > 0;
}

TEST(selections_are_those_of_sorting)
{
    static const rt_warp rows[] = {
        {.temperature = 1, .top_k = 1},
        {.temperature = 1, .top_k = 17},
        {.temperature = 1, .top_k = 2999},
        {.temperature = 1, .top_k = 5000},
        {.temperature = 1, .top_p = 0.1},
        {.temperature = 2, .top_p = 0.5},
        {.temperature = 1, .top_p = 0.99},
        {.temperature = 1, .top_p = 1},
        {.temperature = 1, .top_p = 1e-9},
        {.temperature = 1, .min_p = 0.3},
        {.temperature = 3, .min_p = 0.01},
        {.temperature = 1, .min_p = 1},
        {.temperature = 0.5, .top_k = 40, .top_p = 0.9, .min_p = 0.05},
        {.temperature = 1.7, .top_k = 400, .top_p = 0.3, .min_p = 0.5},
    };
    static const uint32_t counts[] = {1, 2, 7, 64, 65, 1000, MOST};
    for (size_t w = 0; w < sizeof rows / sizeof *rows; w++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (uint64_t seed = 0; seed < 6; seed++) {
                double grain = seed % 3 == 2 ? 0.5 : 0;
                CHECK_MESSAGE(follows_definition(&rows[w], counts[c], grain, seed),
                              "row %zu, %u ids, grain %g, seed %d", w, counts[c], grain, (int)seed);
            }
}

TEST(nothing_asked_for_changes_nothing)
{
    float logits[] = {1, -2, 3, NAN, -INFINITY}, weights[5], plain[5];
    rt_row row = {logits, NULL, 5};
    rt_warp warp = {.temperature = 0.7};
    rt_softmax(&row, 0.7, 100, plain);
    rt_distribution(&warp, &row, 100, weights);
    CHECK(memcmp(weights, plain, sizeof plain) == 0 && weights[3] == 0 && weights[4] == 0);
}

TEST(ids_that_may_not_be_proposed_get_nothing)
{
    static const int32_t ids[] = {2, 5, 8};
    float logits[] = {1, 2, 90}, weights[3];
    rt_row row = {logits, ids, 3};
    rt_warp warp = {.temperature = 1, .top_k = 2};
    rt_weights result = rt_distribution(&warp, &row, 8, weights);
    CHECK(weights[2] == 0 && weights[1] == 1 && weights[0] > 0.3f && result.total > 1.3);
}

/* --- the penalty --- */

TEST(tokens_seen_before_are_penalised_once)
{
    static const int32_t text[] = {4, 1, 1, 3, 1};
    float logits[] = {2, 2, -2, -2, 0.5f}, spare[5];
    rt_row row = {logits, NULL, 5};
    rt_tree tree;
    rt_tree_start(&tree, 1);
    rt_past past = {text, 5, &tree, 0};
    rt_warp warp = {.repetition_penalty = 2};
    rt_penalise(&warp, &past, &row, spare);
    CHECK(logits[0] == 2 && logits[1] == 1 && logits[2] == -2 && logits[3] == -4);
    CHECK(logits[4] == 0.25f);
}

TEST(the_window_counts_back_from_the_node_through_its_own_ancestors)
{
    static const int32_t text[] = {0, 1, 2};
    for (uint32_t window = 0; window <= 6; window++) {
        float logits[8], spare[8];
        rt_row row = {logits, NULL, 8};
        rt_tree tree;
        rt_tree_start(&tree, 2);
        rt_tree_deepen(&tree);
        rt_tree_add(&tree, 0, 3);
        rt_tree_add(&tree, 0, 4); /* of another branch */
        rt_tree_deepen(&tree);
        uint32_t node = rt_tree_add(&tree, 1, 5);
        rt_tree_add(&tree, 1, 6);
        for (int i = 0; i < 8; i++)
            logits[i] = 1;
        rt_past past = {text, 3, &tree, node};
        rt_warp warp = {.repetition_penalty = 4, .repetition_window = window};
        rt_penalise(&warp, &past, &row, spare);
        static const int32_t back[] = {5, 3, 2, 1, 0};
        uint32_t looked = window == 0 || window > 5 ? 5 : window;
        for (int32_t id = 0; id < 8; id++) {
            bool seen = false;
            for (uint32_t i = 0; i < looked; i++)
                seen = seen || back[i] == id;
            CHECK_MESSAGE(logits[id] == (seen ? 0.25f : 1), "window %u id %d", window, id);
        }
    }
}

TEST(the_penalty_finds_ids_of_a_trimmed_head)
{
    static const int32_t text[] = {7, 3, 9}, ids[] = {3, 8, 9};
    float logits[] = {1, 1, -1}, spare[3];
    rt_row row = {logits, ids, 3};
    rt_tree tree;
    rt_tree_start(&tree, 9);
    rt_past past = {text, 3, &tree, 0};
    rt_warp warp = {.repetition_penalty = 2};
    rt_penalise(&warp, &past, &row, spare);
    CHECK(logits[0] == 0.5f && logits[1] == 1 && logits[2] == -2);
}

TEST_MAIN()
