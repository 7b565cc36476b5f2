/* Threads and barrier under stress.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/pool.h"
#include "tests/test.h"

#include <sys/mman.h>

#define MOST   8u
#define STEPS  50u
#define PASSES 150u

static uint32_t turns[MOST]; /* plain memory: the barrier has to order it */
static _Atomic uint32_t mistakes, calls;

/* In each step every thread writes its own cell, and behind the barrier reads all of them. */
static void step_together(const tandem_frame *frame, uint32_t thread)
{
    calls++;
    for (uint32_t step = 1; step <= STEPS; step++) {
        turns[thread] = step;
        frame->barrier(frame->barrier_self);
        for (uint32_t other = 0; other < frame->threads; other++)
            mistakes += turns[other] != step;
        frame->barrier(frame->barrier_self);
    }
}

/* A pass may use much of its stack. */
static void use_stack(const tandem_frame *frame, uint32_t thread)
{
    volatile unsigned char block[64 << 10];
    for (size_t i = 0; i < sizeof block; i += 512)
        block[i] = (unsigned char)thread;
    for (size_t i = 0; i < sizeof block; i += 512)
        mistakes += block[i] != thread;
    calls += frame->threads > 0;
}

static rt_pool pool;
static unsigned char *stacks;
static size_t stack_bytes = (TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES) * (MOST - 1);

static bool start(uint32_t threads, uint32_t spin)
{
    mistakes = calls = 0;
    memset(&pool, 0, sizeof pool);
    stacks = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return stacks != MAP_FAILED && rt_pool_start(&pool, threads, spin, stacks) == 0;
}

static void stop(void)
{
    rt_pool_stop(&pool);
    munmap(stacks, stack_bytes);
}

TEST(the_barrier_orders_memory)
{
    for (uint32_t threads = 1; threads <= MOST; threads++) {
        CHECK(start(threads, rt_pool_spin(threads)));
        tandem_frame frame = {
            .threads = threads, .barrier = rt_pool_barrier, .barrier_self = &pool};
        uint32_t passes = threads > 2 ? PASSES / 30 : PASSES;
        for (uint32_t pass = 0; pass < passes; pass++) {
            memset(turns, 0, sizeof turns);
            rt_pool_run(&pool, step_together, &frame);
        }
        CHECK_MESSAGE(mistakes == 0, "%u threads: %u mistakes", threads, mistakes);
        CHECK(calls == threads * passes);
        stop();
    }
}

TEST(waiting_asleep_works_as_well_as_spinning)
{
    for (uint32_t spin = 0; spin <= 20000; spin += 20000) {
        CHECK(start(3, spin));
        tandem_frame frame = {.threads = 3, .barrier = rt_pool_barrier, .barrier_self = &pool};
        for (uint32_t pass = 0; pass < 3; pass++) {
            memset(turns, 0, sizeof turns);
            rt_pool_run(&pool, step_together, &frame);
        }
        CHECK(mistakes == 0 && calls == 9);
        stop();
    }
}

TEST(short_passes_in_a_row_are_each_run_once_per_thread)
{
    CHECK(start(2, 100));
    tandem_frame frame = {.threads = 2, .barrier = rt_pool_barrier, .barrier_self = &pool};
    for (uint32_t pass = 0; pass < 3000; pass++)
        rt_pool_run(&pool, use_stack, &frame);
    CHECK(mistakes == 0 && calls == 6000);
    stop();
}

TEST(pools_start_and_stop_repeatedly)
{
    for (int i = 0; i < 50; i++) {
        CHECK(start(4, 0));
        stop();
    }
}

TEST_MAIN()
