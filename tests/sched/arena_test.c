/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "frontend/buffer_table.h"
#include "sched/sched.h"
#include "tests/failing.h"
#include "tests/test.h"

static bool disjoint(const sched_buffer *a, const sched_buffer *b)
{
    return a->upper <= b->lower || b->upper <= a->lower || a->offset + a->size <= b->offset ||
           b->offset + b->size <= a->offset;
}

static bool is_valid(const sched_buffer *buffers, size_t count, uint64_t alignment, uint64_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (buffers[i].size == 0 || buffers[i].lower >= buffers[i].upper)
            continue;
        if (buffers[i].offset % alignment != 0 || buffers[i].offset + buffers[i].size > bytes)
            return false;
        for (size_t j = 0; j < i; j++)
            if (buffers[j].size > 0 && buffers[j].lower < buffers[j].upper &&
                !disjoint(&buffers[i], &buffers[j]))
                return false;
    }
    return true;
}

TEST(random_buffers_do_not_overlap)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 5;
    for (int round = 0; round < 400; round++) {
        sched_buffer buffers[40];
        const size_t count = td_random_next(&state) % 40;
        for (size_t i = 0; i < count; i++) {
            const int64_t lower = (int64_t)(td_random_next(&state) % 30);
            buffers[i] = (sched_buffer){.size = td_random_next(&state) % 1000,
                                        .lower = lower,
                                        .upper = lower + (int64_t)(td_random_next(&state) % 12)};
        }
        uint64_t bytes, peak;
        CHECK(sched_arena(&context, buffers, count, 64, &bytes, &peak) == TD_OK);
        CHECK(bytes >= peak);
        CHECK(is_valid(buffers, count, 64, bytes));
    }
}

TEST(a_chain_fits_its_peak)
{
    td_context context;
    td_context_init(&context);
    sched_buffer buffers[50];
    for (int i = 0; i < 50; i++)
        buffers[i] =
            (sched_buffer){.size = (uint64_t)(64 * (1 + i % 7)), .lower = i, .upper = i + 2};
    uint64_t bytes, peak;
    CHECK(sched_arena(&context, buffers, 50, 64, &bytes, &peak) == TD_OK);
    CHECK(is_valid(buffers, 50, 64, bytes));
    CHECK(bytes == peak);
}

TEST(no_buffers_need_no_arena)
{
    td_context context;
    td_context_init(&context);
    uint64_t bytes = 1, peak = 1;
    CHECK(sched_arena(&context, NULL, 0, 64, &bytes, &peak) == TD_OK);
    CHECK(bytes == 0 && peak == 0);
}

TEST(oversized_buffers_are_refused)
{
    td_context context;
    td_context_init(&context);
    sched_buffer buffers[] = {{.size = UINT64_MAX - 3, .lower = 0, .upper = 1}};
    uint64_t bytes, peak;
    CHECK(sched_arena(&context, buffers, 1, 64, &bytes, &peak) == TD_INVALID);
}

/* --- against exhaustive search --- */

#define MOST 8

/* Every placement in which nothing can move down arises from some order in which each buffer is put
 * on top of those before it that are alive with it; a fixed one must not be reached from below. */
static void try_orders(sched_buffer *buffers, size_t count, uint64_t alignment, uint32_t placed,
                       uint64_t height, uint64_t *best)
{
    if (height >= *best)
        return;
    if (placed + 1 == UINT32_C(1) << count) {
        *best = height;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (placed >> i & 1)
            continue;
        sched_buffer *next = &buffers[i];
        const uint64_t step = next->alignment > alignment ? next->alignment : alignment;
        uint64_t offset = 0;
        for (size_t k = 0; k < count; k++)
            if (placed >> k & 1 && buffers[k].lower < next->upper &&
                next->lower < buffers[k].upper && buffers[k].offset + buffers[k].size > offset)
                offset = buffers[k].offset + buffers[k].size;
        offset = (offset + step - 1) / step * step;
        if (next->fixed && offset > next->offset)
            continue;
        if (!next->fixed)
            next->offset = offset;
        const uint64_t size = (next->size + alignment - 1) / alignment * alignment;
        const uint64_t end = next->offset + size;
        try_orders(buffers, count, alignment, placed | UINT32_C(1) << i,
                   end > height ? end : height, best);
    }
}

static uint64_t exhaustive_bytes(const sched_buffer *buffers, size_t count, uint64_t alignment)
{
    sched_buffer copy[MOST];
    uint64_t best = UINT64_MAX;
    memcpy(copy, buffers, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i].size = (copy[i].size + alignment - 1) / alignment * alignment;
    try_orders(copy, count, alignment, 0, 0, &best);
    return best;
}

/* What a random small instance has beside sizes and lifetimes. */
typedef struct test_kind {
    bool alignments, fixed;
    uint64_t alignment;
} test_kind;

static size_t random_buffers(uint64_t *state, const test_kind *kind, sched_buffer *buffers)
{
    const size_t count = 2 + td_random_next(state) % (MOST - 1);
    for (size_t i = 0; i < count; i++) {
        const int64_t lower = (int64_t)(td_random_next(state) % 8);
        buffers[i] = (sched_buffer){.size = 1 + td_random_next(state) % 9,
                                    .lower = lower,
                                    .upper = lower + 1 + (int64_t)(td_random_next(state) % 6)};
        if (kind->alignments)
            buffers[i].alignment = UINT64_C(1) << td_random_next(state) % 3;
        if (kind->fixed && td_random_next(state) % 4 == 0) {
            buffers[i].fixed = true;
            buffers[i].offset = td_random_next(state) % 12 * 4;
        }
    }
    return count;
}

/* The smallest arena, a proof of it, and a proof that one byte less is too little. */
static bool agrees(td_context *context, const sched_buffer *given, size_t count, uint64_t alignment,
                   uint64_t expected)
{
    sched_buffer buffers[MOST];
    sched_arena_options options = {.alignment = alignment};
    sched_arena_report report;
    memcpy(buffers, given, count * sizeof *buffers);
    if (sched_arena_place(context, buffers, count, &options, &report) != TD_OK)
        return false;
    if (report.bytes != expected || report.bound != expected ||
        !is_valid(buffers, count, alignment, expected))
        return false;
    for (size_t i = 0; i < count; i++)
        if ((given[i].fixed && buffers[i].offset != given[i].offset) ||
            (given[i].alignment > 0 && buffers[i].offset % given[i].alignment != 0))
            return false;
    options.capacity = expected;
    if (sched_arena_place(context, buffers, count, &options, &report) != TD_OK ||
        report.bytes > expected)
        return false;
    options.capacity = expected - 1;
    return sched_arena_place(context, buffers, count, &options, &report) == TD_OK &&
           report.bound >= expected;
}

/* Returns how many instances agreed before the first that did not, `rounds` when all did. */
static int compare_kind(const test_kind *kind, int rounds)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 17;
    for (int round = 0; round < rounds; round++) {
        sched_buffer buffers[MOST];
        const size_t count = random_buffers(&state, kind, buffers);
        const uint64_t expected = exhaustive_bytes(buffers, count, kind->alignment);
        sched_arena_report report;
        if (expected == UINT64_MAX) {
            /* Fixed buffers that overlap each other. */
            const sched_arena_options options = {.alignment = kind->alignment};
            if (sched_arena_place(&context, buffers, count, &options, &report) != TD_INVALID)
                return round;
        } else if (!agrees(&context, buffers, count, kind->alignment, expected)) {
            return round;
        }
    }
    return rounds;
}

TEST(proofs_agree_with_exhaustive_search)
{
    CHECK(compare_kind(&(test_kind){.alignment = 1}, 3000) == 3000);
}

TEST(proofs_with_alignments_agree_with_exhaustive_search)
{
    CHECK(compare_kind(&(test_kind){.alignment = 1, .alignments = true}, 2000) == 2000);
    CHECK(compare_kind(&(test_kind){.alignment = 4, .alignments = true}, 500) == 500);
}

TEST(proofs_with_fixed_buffers_agree_with_exhaustive_search)
{
    CHECK(compare_kind(&(test_kind){.alignment = 1, .fixed = true}, 2000) == 2000);
    CHECK(compare_kind(&(test_kind){.alignment = 2, .fixed = true, .alignments = true}, 1000) ==
          1000);
}

/* --- instances without waste --- */

/* Cuts [0, time) x [0, bytes) into pieces: a placement without a gap exists. */
static size_t dissect(uint64_t *state, uint64_t time, uint64_t bytes, size_t pieces,
                      sched_buffer *buffers)
{
    size_t count = 1;
    buffers[0] = (sched_buffer){.size = bytes, .lower = 0, .upper = (int64_t)time};
    for (size_t tries = 0; count < pieces && tries < 100 * pieces; tries++) {
        sched_buffer *piece = &buffers[td_random_next(state) % count];
        sched_buffer *rest = &buffers[count];
        const uint64_t length = (uint64_t)(piece->upper - piece->lower);
        *rest = *piece;
        if (td_random_next(state) % 2 == 0 && length > 1) {
            piece->upper = piece->lower + 1 + (int64_t)(td_random_next(state) % (length - 1));
            rest->lower = piece->upper;
            count++;
        } else if (piece->size > 1) {
            piece->size = 1 + td_random_next(state) % (piece->size - 1);
            rest->size -= piece->size;
            count++;
        }
    }
    return count;
}

TEST(dissected_rectangles_are_put_together_again)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 3;
    for (int round = 0; round < 60; round++) {
        sched_buffer buffers[60];
        const size_t count = dissect(&state, 100, 1000, 10 + (size_t)round / 2, buffers);
        const sched_arena_options options = {.work_limit = UINT64_C(2000000000)};
        sched_arena_report report;
        CHECK(sched_arena_place(&context, buffers, count, &options, &report) == TD_OK);
        CHECK_MESSAGE(report.bytes == 1000 && report.bound == 1000, "round %d: %llu bytes", round,
                      (unsigned long long)report.bytes);
        CHECK(is_valid(buffers, count, 1, 1000));
    }
}

/* --- limits, order, checks, refusals --- */

TEST(equal_work_gives_equal_offsets_and_more_is_no_worse)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 11, last = UINT64_MAX;
    sched_buffer given[120];
    for (size_t i = 0; i < 120; i++) {
        const int64_t lower = (int64_t)(td_random_next(&state) % 100);
        given[i] = (sched_buffer){.size = 1 + td_random_next(&state) % 5000,
                                  .lower = lower,
                                  .upper = lower + 1 + (int64_t)(td_random_next(&state) % 40)};
    }
    for (uint64_t work = 1000; work <= 10000000; work *= 10) {
        sched_buffer first[120], second[120];
        const sched_arena_options options = {.work_limit = work};
        sched_arena_report report, again;
        memcpy(first, given, sizeof first);
        memcpy(second, given, sizeof second);
        CHECK(sched_arena_place(&context, first, 120, &options, &report) == TD_OK);
        CHECK(sched_arena_place(&context, second, 120, &options, &again) == TD_OK);
        CHECK(memcmp(first, second, sizeof first) == 0 && report.bytes == again.bytes);
        CHECK(report.bytes <= last && report.bytes >= report.bound);
        last = report.bytes;
    }
}

TEST(many_buffers_are_placed_in_about_linear_time)
{
    td_context context;
    td_context_init(&context);
    const size_t count = 100000;
    uint64_t state = 1, bytes, peak;
    sched_buffer *buffers = calloc(count, sizeof *buffers);
    CHECK(buffers != NULL);
    /* Every tenth stays alive to the end. */
    for (size_t i = 0; i < count; i++)
        buffers[i] = (sched_buffer){
            .size = 1 + td_random_next(&state) % 4096,
            .lower = (int64_t)i,
            .upper = i % 10 == 0 ? (int64_t)count : (int64_t)(i + 1 + td_random_next(&state) % 50)};
    const td_status status = sched_arena(&context, buffers, count, 64, &bytes, &peak);
    sched_arena_check_result result = {0};
    if (status == TD_OK)
        CHECK(sched_arena_check(&context, buffers, count, 64, &result) == TD_OK);
    free(buffers);
    CHECK(status == TD_OK && result.valid && result.report.bytes == bytes && bytes >= peak);
}

TEST(wrong_offsets_are_found)
{
    td_context context;
    td_context_init(&context);
    sched_buffer buffers[] = {{.size = 8, .lower = 0, .upper = 4, .offset = 0},
                              {.size = 8, .lower = 4, .upper = 6, .offset = 4},
                              {.size = 8, .lower = 3, .upper = 5, .offset = 12}};
    sched_arena_check_result result;
    CHECK(sched_arena_check(&context, buffers, 3, 4, &result) == TD_OK);
    CHECK(result.valid && result.report.bytes == 20 && result.report.live_peak == 16);
    CHECK(sched_arena_check(&context, buffers, 3, 8, &result) == TD_OK);
    CHECK(!result.valid && result.first == result.second);
    buffers[2].offset = 8;
    CHECK(sched_arena_check(&context, buffers, 3, 4, &result) == TD_OK);
    CHECK(!result.valid && result.first == 1 && result.second == 2);
}

TEST(fixed_buffers_that_clash_are_refused)
{
    td_context context;
    td_context_init(&context);
    sched_buffer buffers[] = {{.size = 8, .lower = 0, .upper = 4, .offset = 4, .fixed = true},
                              {.size = 8, .lower = 3, .upper = 5, .offset = 8, .fixed = true}};
    uint64_t bytes, peak;
    CHECK(sched_arena(&context, buffers, 2, 1, &bytes, &peak) == TD_INVALID);
    CHECK_STRING(context.message,
                 "buffers 0 and 1 are fixed at addresses that overlap while both are alive");
    CHECK(sched_arena(&context, buffers, 2, 8, &bytes, &peak) == TD_INVALID);
    CHECK_STRING(context.message,
                 "buffer 0: its fixed offset 4 is not a multiple of its alignment 8");
    buffers[1].lower = 4;
    CHECK(sched_arena(&context, buffers, 2, 1, &bytes, &peak) == TD_OK && bytes == 16);
}

/* The planner with the n-th allocation failing, for every n. */
TEST(running_out_of_memory_is_reported)
{
    td_context context;
    uint64_t state = 2;
    sched_buffer buffers[40];
    const size_t count = dissect(&state, 60, 100, 24, buffers);
    buffers[3].fixed = false;
    td_context_init(&context);
    td_status status = TD_NO_MEMORY;
    for (long n = 0; status != TD_OK; n++) {
        failing_allocator failing = {.countdown = n};
        const sched_arena_options options = {.work_limit = 1000000};
        sched_arena_report report;
        context.reallocate = fail_later;
        context.reallocate_self = &failing;
        status = sched_arena_place(&context, buffers, count, &options, &report);
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
        CHECK(failing.held == 0);
        CHECK(n < 1000);
    }
}

/* The hard instances of minimalloc, each of which has a placement within 2^20 bytes; six times as
 * much work as they take. */
TEST(minimalloc_instances_are_solved)
{
    td_context context;
    td_context_init(&context);
    const char *folder = TEST_SOURCE_FOLDER "/../shared/data/minimalloc";
    if (!td_path_is_directory(folder))
        SKIP("../shared/data/minimalloc is not there");
    for (char name = 'A'; name <= 'F'; name++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%c.1048576.csv", folder, name);
        fe_buffer_table table;
        static sched_buffer buffers[512];
        CHECK(fe_read_buffer_table(&context, path, &table) == TD_OK);
        const size_t count = table.rows.count;
        CHECK(count > 100 && count <= 512);
        for (size_t i = 0; i < count; i++)
            buffers[i] = (sched_buffer){.size = table.rows.items[i].size,
                                        .lower = (int64_t)table.rows.items[i].lower,
                                        .upper = (int64_t)table.rows.items[i].upper};
        fe_buffer_table_release(&table);
        const sched_arena_options options = {.capacity = 1 << 20,
                                             .work_limit = UINT64_C(500000000)};
        sched_arena_report report;
        CHECK(sched_arena_place(&context, buffers, count, &options, &report) == TD_OK);
        CHECK(is_valid(buffers, count, 1, report.bytes));
        CHECK_MESSAGE(report.bytes <= 1 << 20, "%c: %llu", name, (unsigned long long)report.bytes);
    }
}

TEST_MAIN()
