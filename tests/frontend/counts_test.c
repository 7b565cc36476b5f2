/* Counts of tokens: their file, adding them, and the rows of a head that follow from them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "frontend/counts/counts.h"
#include "tests/failing.h"
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

#define TOKENIZER   TEST_SOURCE_FOLDER "/graphs/tokenizer.json"
#define VOCABULARY  4096
#define END_OF_TEXT 4095 /* the only special token */

static td_context context;

/* Random counts: few ids are frequent, and half of them do not occur. */
static void draw_numbers(uint64_t seed, uint64_t *numbers)
{
    for (uint32_t id = 0; id < VOCABULARY; id++) {
        const uint64_t random = td_random_next(&seed);
        numbers[id] = random % 2 == 0 ? 0 : 1000 / (1 + (random >> 8) % 1000);
    }
}

static td_status make_counts(uint64_t seed, const char *kind, fe_tokenizer *tokenizer,
                             fe_counts *counts)
{
    static uint64_t numbers[VOCABULARY];
    td_context_init(&context);
    TD_TRY(fe_read_tokenizer(&context, TOKENIZER, tokenizer));
    draw_numbers(seed, numbers);
    return fe_counts_make(&context, tokenizer, kind, numbers, counts);
}

static void release(fe_tokenizer *tokenizer, fe_counts *counts)
{
    fe_counts_release(&context, counts);
    fe_tokenizer_release(&context, tokenizer);
}

static bool same_items(const fe_counts *a, const fe_counts *b)
{
    for (size_t i = 0; i < a->items.count; i++)
        if (a->items.items[i].id != b->items.items[i].id ||
            a->items.items[i].count != b->items.items[i].count)
            return false;
    return true;
}

static bool same_counts(const fe_counts *a, const fe_counts *b)
{
    return strcmp(a->kind, b->kind) == 0 && a->vocabulary == b->vocabulary &&
           a->tokenizer == b->tokenizer && a->total == b->total && a->drafted == b->drafted &&
           a->accepted == b->accepted && a->items.count == b->items.count && same_items(a, b);
}

/* --- files --- */

static void make_path(char path[64])
{
    strcpy(path, "/tmp/tandem-counts-XXXXXX");
    close(mkstemp(path));
}

TEST(what_is_written_is_read)
{
    fe_tokenizer tokenizer;
    fe_counts counts, read;
    char path[64];
    CHECK(make_counts(3, "target", &tokenizer, &counts) == TD_OK);
    counts.drafted = 100;
    counts.accepted = 61;
    make_path(path);
    CHECK_MESSAGE(fe_counts_write(&context, &counts, path) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(fe_counts_read(&context, path, &read) == TD_OK, "%s", context.message);
    unlink(path);
    CHECK(same_counts(&counts, &read));
    CHECK(fe_counts_fit(&context, &read, &tokenizer) == TD_OK);
    fe_counts_release(&context, &read);
    release(&tokenizer, &counts);
}

/* A sound file with one part replaced. */
static void write_changed(const char *path, const char *from, const char *to)
{
    static const char sound[] =
        "{\"format\": \"tandem token counts\", \"version\": 1, \"kind\": \"raw\", "
        "\"tokenizer\": \"0123456789abcdef\", \"vocabulary\": 9, \"total\": 12, \"drafted\": 5, "
        "\"accepted\": 3, \"counts\": [[1, 5], [4, 7]]}";
    FILE *file = fopen(path, "w");
    const char *at = strstr(sound, from);
    fwrite(sound, 1, (size_t)(at - sound), file);
    fputs(to, file);
    fputs(at + strlen(from), file);
    fclose(file);
}

TEST(hostile_files_are_refused_by_sentence)
{
    static const struct {
        const char *from, *to, *message; /* NULL: accepted */
    } cases[] = {
        {"raw", "raw", NULL},
        {"token counts", "graph",
         "\"format\" is \"tandem graph\"; expected \"tandem token counts\""},
        {"\"version\": 1", "\"version\": 2", "\"version\" is 2; version 1 is known"},
        {"\"version\": 1", "\"version\": 1.0",
         "\"version\" must be a whole number from 0 to 2147483647"},
        {"raw", "cooked",
         "\"kind\" is \"cooked\"; raw, drafter, target, drafted and mixed are known"},
        {"0123456789abcdef", "0123456789ABCDEF",
         "\"tokenizer\" is \"0123456789ABCDEF\"; expected a hash of 16 hexadecimal digits"},
        {"0123456789abcdef", "", "\"tokenizer\" is \"\"; expected a hash of 16 hexadecimal digits"},
        {"\"vocabulary\": 9", "\"vocabulary\": 0", "\"vocabulary\" is 0; a tokenizer has ids"},
        {"\"vocabulary\": 9", "\"vocabulary\": 2147483648",
         "\"vocabulary\" must be a whole number from 0 to 2147483647"},
        {"\"vocabulary\": 9", "\"vocabulary\": 4",
         "\"counts\", entry 1: id 4; ids must ascend and be below 4"},
        {"\"total\": 12", "\"total\": 13", "\"total\" is 13 but the counts add up to 12"},
        {"\"total\": 12", "\"total\": -12",
         "\"total\" must be a whole number from 0 to 9223372036854775807"},
        {"\"accepted\": 3", "\"accepted\": 6", "\"accepted\" must be a whole number from 0 to 5"},
        {"[4, 7]", "[1, 7]", "\"counts\", entry 1: id 1; ids must ascend and be below 9"},
        {"[1, 5]", "[-1, 5]", "\"counts\", entry 0: id -1; ids must ascend and be below 9"},
        {"[4, 7]", "[4, 0]", "\"counts\", entry 1: count 0; counts are positive"},
        {"[4, 7]", "[4, -7]", "\"counts\", entry 1: count -7; counts are positive"},
        {"[4, 7]", "[4]", "\"counts\", entry 1: expected [id, count]"},
        {"[4, 7]", "\"4\"", "\"counts\", entry 1: expected [id, count]"},
        {"[4, 7]", "[4, 7.5]", "\"counts\", entry 1: expected [id, count]"},
        {"[[1, 5], [4, 7]]", "7", "\"counts\" must be a list of [id, count]"},
        {"[1, 5], [4, 7]",
         "[1, 9223372036854775807], [2, 9223372036854775807], [3, 9223372036854775807]",
         "the sum of \"counts\" does not fit 64 bits"},
        {", \"counts\": [[1, 5], [4, 7]]}", "",
         "line 1, column 153: '}' expected near end of file"},
    };
    char path[64];
    td_context_init(&context);
    make_path(path);
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        char expected[256];
        fe_counts counts = {0};
        write_changed(path, cases[i].from, cases[i].to);
        const td_status status = fe_counts_read(&context, path, &counts);
        snprintf(expected, sizeof expected, "%s: %s", path,
                 cases[i].message == NULL ? "" : cases[i].message);
        if (cases[i].message == NULL)
            CHECK_MESSAGE(status == TD_OK, "%s", context.message);
        else
            CHECK_STRING(context.message, expected);
        CHECK((status == TD_OK) == (cases[i].message == NULL));
        fe_counts_release(&context, &counts);
    }
    unlink(path);
}

/* --- adding --- */

TEST(sums_are_of_each_id)
{
    fe_tokenizer tokenizer, again;
    fe_counts a, b, sum = {0};
    static uint64_t numbers[3][VOCABULARY];
    CHECK(make_counts(3, "raw", &tokenizer, &a) == TD_OK);
    CHECK(make_counts(4, "target", &again, &b) == TD_OK);
    draw_numbers(3, numbers[0]);
    draw_numbers(4, numbers[1]);
    CHECK(fe_counts_merge(&context, &a, &sum) == TD_OK && same_counts(&a, &sum));
    CHECK(fe_counts_merge(&context, &b, &sum) == TD_OK);
    CHECK_STRING(sum.kind, "mixed");
    CHECK(sum.total == a.total + b.total);
    for (size_t i = 0; i < sum.items.count; i++)
        numbers[2][sum.items.items[i].id] = sum.items.items[i].count;
    for (int id = 0; id < VOCABULARY; id++)
        CHECK(numbers[2][id] == numbers[0][id] + numbers[1][id]);
    b.tokenizer++;
    CHECK(fe_counts_merge(&context, &b, &sum) == TD_INVALID);
    CHECK(strstr(context.message, "counts of different tokenizers (4096 ids, hash ") != NULL);
    b.tokenizer--;
    b.total = UINT64_MAX;
    CHECK(fe_counts_merge(&context, &b, &sum) == TD_INVALID);
    CHECK_STRING(context.message, "the sum of the counts does not fit 64 bits");
    CHECK(sum.total < UINT64_MAX && sum.items.count > 0); /* whole still */
    fe_counts_release(&context, &sum);
    release(&again, &b);
    release(&tokenizer, &a);
}

/* --- heads --- */

static bool contains(const fe_head *head, int32_t id)
{
    for (uint32_t j = 0; j < head->count; j++)
        if (head->ids[j] == id)
            return true;
    return false;
}

TEST(a_head_has_the_most_frequent_ids)
{
    fe_tokenizer tokenizer;
    fe_counts counts;
    fe_head head;
    uint64_t numbers[VOCABULARY] = {[3] = 5, [7] = 9, [8] = 5, [100] = 5};
    CHECK(make_counts(1, "raw", &tokenizer, &counts) == TD_OK);
    fe_counts_release(&context, &counts);
    CHECK(fe_counts_make(&context, &tokenizer, "raw", numbers, &counts) == TD_OK);
    static const struct {
        uint32_t wanted;
        uint64_t covered;
        int32_t ids[6]; /* ended by 0 */
    } cases[] = {
        {1, 9, {7, END_OF_TEXT}}, /* ties go to the lowest id */
        {2, 14, {3, 7, END_OF_TEXT}},
        {3, 19, {3, 7, 8, END_OF_TEXT}},
        {4, 24, {3, 7, 8, 100, END_OF_TEXT}},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        uint32_t count = 0;
        CHECK(fe_head_choose(&context, &counts, &tokenizer, cases[i].wanted, &head) == TD_OK);
        while (cases[i].ids[count] != 0)
            count++;
        CHECK(head.count == count && head.covered == cases[i].covered);
        CHECK(memcmp(head.ids, cases[i].ids, count * sizeof *head.ids) == 0);
        td_release(&context, head.ids);
    }
    CHECK(fe_head_choose(&context, &counts, &tokenizer, 5, &head) == TD_OK);
    CHECK(head.count == 6 && contains(&head, 0)); /* what does not occur follows by id */
    td_release(&context, head.ids);
    CHECK(fe_head_choose(&context, &counts, &tokenizer, VOCABULARY, &head) == TD_OK);
    CHECK(head.count == VOCABULARY && head.covered == counts.total);
    td_release(&context, head.ids);
    release(&tokenizer, &counts);
}

TEST(heads_that_cannot_be_are_refused)
{
    fe_tokenizer tokenizer;
    fe_counts counts;
    fe_head head;
    CHECK(make_counts(1, "raw", &tokenizer, &counts) == TD_OK);
    CHECK(fe_head_choose(&context, &counts, &tokenizer, VOCABULARY + 1, &head) == TD_INVALID);
    CHECK_STRING(context.message, "a head of 4097 rows: the vocabulary has 4096 ids, and from 1 to "
                                  "as many rows are accepted");
    counts.tokenizer ^= 1;
    CHECK(fe_head_choose(&context, &counts, &tokenizer, 10, &head) == TD_INVALID);
    CHECK(strstr(context.message, "the counts are of another tokenizer (4096 ids, hash ") != NULL);
    counts.tokenizer ^= 1;
    counts.total = counts.items.count = 0;
    CHECK(fe_head_choose(&context, &counts, &tokenizer, 10, &head) == TD_INVALID);
    CHECK_STRING(context.message,
                 "the counts are of no token at all; expected counts of some text");
    release(&tokenizer, &counts);
}

/* How many ids stand before `id` when it occurs once less. */
static uint32_t rank_without_one(const uint64_t *numbers, uint32_t id)
{
    const uint64_t own = numbers[id] - 1;
    uint32_t rank = 0;
    for (uint32_t other = 0; other < VOCABULARY; other++)
        rank += other != id && (numbers[other] > own || (numbers[other] == own && other < id));
    return rank;
}

/* Against the definition: an occurrence is covered by N rows when its id is among the N most
 * frequent ones of all other occurrences. */
TEST(coverage_leaves_each_token_out)
{
    fe_tokenizer tokenizer;
    fe_counts counts;
    fe_trim_point *points;
    static uint64_t numbers[VOCABULARY], gained[VOCABULARY];
    const fe_trim_costs costs = {.target = 1000000,
                                 .drafter_body = 50000,
                                 .drafter_row = 100,
                                 .acceptance = 0.7,
                                 .most_draft = 6};
    CHECK(make_counts(9, "raw", &tokenizer, &counts) == TD_OK);
    draw_numbers(9, numbers);
    uint64_t covered = numbers[END_OF_TEXT];
    memset(gained, 0, sizeof gained);
    for (uint32_t id = 0; id < END_OF_TEXT; id++)
        if (numbers[id] > 0)
            gained[rank_without_one(numbers, id)] += numbers[id];
    CHECK(fe_trim_curve(&context, &counts, &tokenizer, &costs, &points) == TD_OK);
    uint32_t best = 0;
    for (uint32_t i = 0; i < VOCABULARY; i++) {
        const fe_trim_point *point = &points[i];
        covered += gained[i];
        CHECK(point->wanted == i + 1 && point->rows >= i + 1 && point->rows <= i + 2);
        CHECK(fabs(point->coverage - (double)covered / (double)counts.total) < 1e-12);
        const double alpha = 0.7 * point->coverage * (1 + 0.4 * (1 - point->coverage));
        const double g = point->draft;
        const double tau = (1 - pow(alpha, g + 1)) / (1 - alpha);
        const double c = (50000 + 100.0 * point->rows) / 1000000;
        CHECK(g >= 1 && g <= 6 && fabs(point->block_efficiency - tau) < 1e-9);
        CHECK(fabs(point->mbsu - tau / (c * g + 1)) < 1e-9);
        for (int other = 1; other <= 6; other++)
            CHECK((1 - pow(alpha, other + 1)) / (1 - alpha) / (c * other + 1) <=
                  point->mbsu + 1e-9);
        if (point->mbsu > points[best].mbsu)
            best = i;
    }
    CHECK(points[VOCABULARY - 1].coverage == 1 && points[VOCABULARY - 1].rows == VOCABULARY);
    CHECK(fe_trim_best(points, VOCABULARY) == best && best > 0 && best < VOCABULARY - 1);
    td_release(&context, points);
    release(&tokenizer, &counts);
}

/* --- memory --- */

static td_status read_merge_choose(td_context *failing, const char *path,
                                   const fe_tokenizer *tokenizer)
{
    fe_counts read, sum = {0};
    fe_head head = {0};
    fe_trim_point *points = NULL;
    const fe_trim_costs costs = {1000, 10, 1, 0.5, 2};
    TD_TRY(fe_counts_read(failing, path, &read));
    td_status status = fe_counts_merge(failing, &read, &sum);
    fe_counts_release(failing, &read);
    if (status == TD_OK)
        status = fe_head_choose(failing, &sum, tokenizer, 10, &head);
    if (status == TD_OK)
        status = fe_trim_curve(failing, &sum, tokenizer, &costs, &points);
    td_release(failing, points);
    td_release(failing, head.ids);
    fe_counts_release(failing, &sum);
    return status;
}

TEST(every_allocation_may_fail)
{
    fe_tokenizer tokenizer;
    fe_counts counts;
    char path[64];
    td_status status = TD_NO_MEMORY;
    long requests = 0;
    CHECK(make_counts(5, "raw", &tokenizer, &counts) == TD_OK);
    make_path(path);
    CHECK(fe_counts_write(&context, &counts, path) == TD_OK);
    for (; status == TD_NO_MEMORY; requests++) {
        td_context own;
        failing_allocator failing = {.countdown = requests};
        td_context_init(&own);
        own.reallocate = fail_later;
        own.reallocate_self = &failing;
        status = read_merge_choose(&own, path, &tokenizer);
        CHECK_MESSAGE(failing.held == 0, "request %ld: %ld blocks are left", requests,
                      failing.held);
    }
    CHECK(status == TD_OK && requests > 10);
    unlink(path);
    release(&tokenizer, &counts);
}

TEST_MAIN()
