/* Threads under stress: every part of every kernel is done once, whoever does it, and nobody waits
 * for a thread that has claimed nothing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/pool.h"
#include "tests/test.h"

#include <sys/mman.h>
#include <time.h>

#define MOST       8u
#define MOST_PARTS (MOST * 16)
#define AMPLE      UINT64_C(1000000000) /* nanoseconds of work: always shared, in most parts */

static rt_pool pool;
static unsigned char *stacks;
static const size_t stack_bytes = (TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES) * (MOST - 1);
static _Atomic uint32_t mistakes;
static pthread_t caller;

static bool start(uint32_t threads, uint32_t looks)
{
    mistakes = 0;
    caller = pthread_self();
    memset(&pool, 0, sizeof pool);
    stacks = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return stacks != MAP_FAILED && rt_pool_start(&pool, threads, looks, stacks) == 0;
}

static void stop(void)
{
    rt_pool_stop(&pool);
    munmap(stacks, stack_bytes);
}

/* What one kernel call did, in plain memory: the pool has to order it. */
typedef struct tally {
    uint32_t parts, done[MOST_PARTS];
    const uint32_t *before; /* what the kernel before wrote */
} tally;

static void count_part(const void *arguments, uint64_t part, uint64_t parts)
{
    tally *mine = *(tally *const *)arguments;
    mistakes += part >= parts || parts > MOST_PARTS;
    if (part == 0)
        mine->parts = (uint32_t)parts;
    mine->done[part]++;
    if (mine->before != NULL)
        for (uint32_t i = 0; i < MOST_PARTS; i++)
            mistakes += mine->before[i] > 1;
}

static void check_tally(const tally *mine)
{
    for (uint32_t part = 0; part < MOST_PARTS; part++)
        mistakes += mine->done[part] != (part < mine->parts);
}

/* A series of kernels with random work, each reading what the one before wrote. */
static void run_series(uint32_t kernels, uint64_t most_work, uint64_t seed)
{
    static tally tallies[2];
    for (uint32_t i = 0; i < kernels; i++) {
        tally *mine = &tallies[i % 2];
        *mine = (tally){.before = i == 0 ? NULL : tallies[(i + 1) % 2].done};
        /* On the stack and different every time, as in generated code: helpers that come late must
         * not read it. */
        tally *arguments[3] = {mine};
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        pool.alone = false; /* no rest after a wait: more collisions */
        rt_pool_share(&pool, count_part, arguments, (seed >> 33) % (most_work + 1));
        check_tally(mine);
        memset(arguments, 0, sizeof arguments);
    }
}

TEST(every_part_is_done_once)
{
    for (uint32_t threads = 1; threads <= MOST; threads++) {
        CHECK(start(threads, rt_pool_looks(threads)));
        run_series(threads > 2 ? 300 : 3000, 2000000, threads);
        CHECK_MESSAGE(mistakes == 0, "%u threads: %u mistakes", threads, mistakes);
        stop();
    }
}

TEST(waiting_asleep_works_as_well_as_spinning)
{
    for (uint32_t looks = 0; looks <= 20000; looks += 20000) {
        CHECK(start(3, looks));
        run_series(300, 400000, looks);
        CHECK(mistakes == 0);
        stop();
    }
}

TEST(little_work_is_done_at_once_by_the_caller)
{
    const uint64_t works[] = {0, 1, 1000, 19999};
    CHECK(start(4, 0));
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        tally mine = {0}, *arguments = &mine;
        rt_pool_share(&pool, count_part, &arguments, works[i]);
        CHECK(mine.parts == 1 && mine.done[0] == 1 && pool.parts == 0);
    }
    stop();
}

TEST(parts_follow_the_work_up_to_sixteen_per_thread)
{
    CHECK(start(2, 1000000));
    for (uint64_t work = 20000; work < 1000000; work += 9999) {
        tally mine = {0}, *arguments = &mine;
        pool.unshared = AMPLE; /* the helper is worth waking */
        pool.alone = false;
        rt_pool_share(&pool, count_part, &arguments, work);
        check_tally(&mine);
        CHECK(mine.parts == (work / 10000 < 32 ? work / 10000 : 32));
    }
    CHECK(mistakes == 0);
    stop();
}

static void sleep_for(long milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000}, NULL);
}

static uint64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Helpers are held up in the first part that they get; the caller takes a little over each. */
static _Atomic uint32_t held, done_by_caller;

static void hold_helpers(const void *arguments, uint64_t part, uint64_t parts)
{
    (void)arguments, (void)part, (void)parts;
    if (pthread_equal(pthread_self(), caller)) {
        sleep_for(1);
        done_by_caller++;
    } else {
        held++;
        sleep_for(200);
    }
}

TEST(a_late_helper_holds_up_one_part_only)
{
    CHECK(start(2, 0));
    held = done_by_caller = 0;
    rt_pool_share(&pool, hold_helpers, NULL, AMPLE);
    CHECK(held <= 1 && held + done_by_caller == 32);
    CHECK(held == 0 || pool.alone); /* and is not asked again for a while */
    stop();
}

/* A helper that is stopped without having claimed anything: here it is stopped by nature of never
 * being woken, in the field by a neighbour. */
TEST(a_helper_without_a_part_is_not_waited_for)
{
    CHECK(start(2, 0));
    sleep_for(20); /* it falls asleep */
    held = done_by_caller = 0;
    pool.alone = true;
    pool.alone_until = UINT64_MAX;
    const uint64_t before = milliseconds();
    rt_pool_share(&pool, hold_helpers, NULL, AMPLE);
    CHECK(held == 0 && done_by_caller == 1 && milliseconds() - before < 150);
    stop();
}

TEST(after_a_wait_the_caller_works_alone_for_a_while)
{
    CHECK(start(2, 0));
    held = done_by_caller = 0;
    while (held == 0) {
        pool.alone = false;
        rt_pool_share(&pool, hold_helpers, NULL, AMPLE);
    }
    const uint64_t before = milliseconds();
    for (bool alone = true; alone;) {
        tally mine = {0}, *arguments = &mine;
        rt_pool_share(&pool, count_part, &arguments, AMPLE);
        check_tally(&mine);
        alone = mine.parts == 1;
        sleep_for(1);
    }
    /* The part took 200 ms, of which the caller spent some on its own parts. */
    CHECK(milliseconds() - before >= 150);
    tally mine = {0}, *arguments = &mine;
    rt_pool_share(&pool, count_part, &arguments, 200000);
    CHECK(mine.parts == 20);
    check_tally(&mine);
    CHECK(mistakes == 0);
    stop();
}

/* A part may use much of its stack. */
static void use_stack(const void *arguments, uint64_t part, uint64_t parts)
{
    (void)arguments, (void)parts;
    volatile unsigned char block[64 << 10];
    for (size_t i = 0; i < sizeof block; i += 512)
        block[i] = (unsigned char)part;
    for (size_t i = 0; i < sizeof block; i += 512)
        mistakes += block[i] != (unsigned char)part;
}

TEST(parts_have_room_on_the_stack)
{
    CHECK(start(2, 1000));
    for (uint32_t i = 0; i < 100; i++)
        rt_pool_share(&pool, use_stack, NULL, AMPLE);
    CHECK(mistakes == 0);
    stop();
}

TEST(pools_start_and_stop_repeatedly)
{
    for (int i = 0; i < 50; i++) {
        CHECK(start(4, i % 2 == 0 ? 0 : 1000));
        if (i % 3 == 0)
            run_series(3, 400000, (uint64_t)i);
        stop();
    }
    CHECK(mistakes == 0);
}

TEST_MAIN()
