/* What the quick orderers take as graphs grow, in counts that do not depend on the machine's load:
 * instructions (where the machine counts them) and bytes, by node and edge.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/layered.h"
#include "tests/test.h"

#include <linux/perf_event.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *const quick[] = {"file", "random", "bfs", "dfs", "greedy", "postorder", "liu"};

#define SMALL 4000
#define LARGE 24000

/* --- bytes --- */

typedef struct counting_allocator {
    size_t held, most;
} counting_allocator;

static void *count_bytes(void *self, void *pointer, size_t old_size, size_t size)
{
    counting_allocator *counting = self;
    (void)old_size;
    counting->held -= pointer == NULL ? 0 : malloc_usable_size(pointer);
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    void *result = realloc(pointer, size);
    counting->held += result == NULL ? 0 : malloc_usable_size(result);
    if (counting->held > counting->most)
        counting->most = counting->held;
    return result;
}

/* --- instructions --- */

/* A counter of this thread's instructions in user mode; -1 where there is none, as in many virtual
 * machines. */
static int open_counter(void)
{
    struct perf_event_attr attributes = {.type = PERF_TYPE_HARDWARE,
                                         .size = sizeof attributes,
                                         .config = PERF_COUNT_HW_INSTRUCTIONS,
                                         .exclude_kernel = 1,
                                         .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

/* Instructions so far, or, without a counter, nanoseconds of this thread's processor time. */
static uint64_t read_counter(int counter)
{
    uint64_t value = 0;
    struct timespec now;
    if (counter >= 0 && read(counter, &value, sizeof value) == sizeof value)
        return value;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- what each orderer takes --- */

typedef struct cost {
    double steps, bytes; /* by node and edge; steps: of read_counter */
} cost;

static bool measure(const char *name, uint32_t nodes, int counter, cost *result)
{
    td_context context;
    counting_allocator counting = {0};
    sched_layered graph;
    sched_problem problem;
    sched_report report;
    td_context_init(&context);
    context.reallocate = count_bytes;
    context.reallocate_self = &counting;
    uint32_t *order = malloc(nodes * sizeof *order);
    if (order == NULL || sched_layered_make(&context, nodes, 5, &graph) != TD_OK ||
        sched_layered_problem(&context, &graph, &problem) != TD_OK)
        return false;
    const double size = (double)nodes + graph.edge_count;
    counting.most = counting.held;
    const size_t before = counting.held;
    const uint64_t start = read_counter(counter);
    const td_status status = sched_order(&problem, name, NULL, order, &report);
    *result = (cost){.steps = (double)(read_counter(counter) - start) / size,
                     .bytes = (double)(counting.most - before) / size};
    sched_problem_release(&problem);
    sched_layered_release(&context, &graph);
    free(order);
    return status == TD_OK && counting.held == 0;
}

/* Bytes by node and edge stay where they are; 200 of them are twice what liu, the hungriest, takes.
 */
TEST(memory_is_linear_in_the_graph)
{
    for (size_t q = 0; q < TD_COUNT_OF(quick); q++) {
        cost small, large;
        CHECK(measure(quick[q], SMALL, -1, &small) && measure(quick[q], LARGE, -1, &large));
        CHECK_MESSAGE(large.bytes <= 1.1 * small.bytes + 1 && large.bytes < 200,
                      "%s: %g, then %g bytes by node and edge", quick[q], small.bytes, large.bytes);
    }
}

/* The least of several runs. */
static bool measure_steps(const char *name, uint32_t nodes, int counter, double *steps)
{
    cost one;
    *steps = 0;
    for (int run = 0; run < (counter < 0 ? 3 : 1); run++) {
        if (!measure(name, nodes, counter, &one))
            return false;
        *steps = run == 0 || one.steps < *steps ? one.steps : *steps;
    }
    return true;
}

/* Instructions by node and edge grow by a logarithm at most; time, with what caches do to it, by
 * half of what a square would. */
TEST(time_is_nearly_linear_in_the_graph)
{
    const int counter = open_counter();
    const double most = counter < 0 ? 3 : 1.4;
    for (size_t q = 0; q < TD_COUNT_OF(quick); q++) {
        double small, large;
        CHECK(measure_steps(quick[q], SMALL, counter, &small) &&
              measure_steps(quick[q], LARGE, counter, &large));
        CHECK_MESSAGE(large <= most * small, "%s: %g, then %g by node and edge", quick[q], small,
                      large);
    }
    if (counter >= 0)
        close(counter);
}

TEST_MAIN()
