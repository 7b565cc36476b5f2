/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "sched/sched.h"
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

/* The hard instances of minimalloc: valid placements, no worse than the greedy ones measured there
 * (1.41 times the peak). */
TEST(minimalloc_instances_are_placed)
{
    td_context context;
    td_context_init(&context);
    const char *folder = TEST_SOURCE_FOLDER "/../shared/data/minimalloc";
    if (!td_path_is_directory(folder))
        SKIP("../shared/data/minimalloc is not there");
    for (char name = 'A'; name <= 'F'; name++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%c.1048576.csv", folder, name);
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        static sched_buffer buffers[512];
        size_t count = 0;
        char line[256];
        while (fgets(line, sizeof line, file) != NULL && count < 512) {
            long long lower, upper;
            unsigned long long size;
            if (sscanf(line, "%*[^,],%lld,%lld,%llu", &lower, &upper, &size) == 3)
                buffers[count++] = (sched_buffer){.size = size, .lower = lower, .upper = upper};
        }
        fclose(file);
        CHECK(count > 100);
        uint64_t bytes, peak;
        CHECK(sched_arena(&context, buffers, count, 1, &bytes, &peak) == TD_OK);
        CHECK(is_valid(buffers, count, 1, bytes));
        CHECK_MESSAGE((double)bytes < 1.45 * (double)peak, "%c: %llu of %llu", name,
                      (unsigned long long)bytes, (unsigned long long)peak);
    }
}

TEST_MAIN()
