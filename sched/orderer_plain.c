/* file, random and bfs: orders that do not look at sizes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"

#include "base/hash.h"

#include <string.h>

/* The file's order; TD_INVALID when it is not topological. */
td_status sched_order_file(const sched_problem *problem, const sched_options *options,
                           sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    for (uint32_t i = 0; i < problem->node_count; i++)
        order[i] = i;
    uint64_t peak;
    return sched_evaluate(problem, order, &peak);
}

td_status sched_order_bfs(const sched_problem *problem, const sched_options *options,
                          sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    uint32_t *waiting =
        td_allocate(problem->context, (problem->node_count + (size_t)1) * sizeof *waiting);
    if (waiting == NULL)
        return td_fail_memory(problem->context);
    sched_any_order(problem, waiting, order);
    td_release(problem->context, waiting);
    return TD_OK;
}

/* Each ready node is as likely as any other to come next. */
td_status sched_order_random(const sched_problem *problem, const sched_options *options,
                             sched_report *report, uint32_t *order)
{
    (void)report;
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    uint64_t state = options->seed;
    uint32_t *waiting = td_allocate(context, count * sizeof *waiting);
    uint32_t *ready = td_allocate(context, count * sizeof *ready);
    if (waiting == NULL || ready == NULL) {
        td_release(context, waiting);
        td_release(context, ready);
        return td_fail_memory(context);
    }
    uint32_t ready_count = 0, step = 0;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        waiting[i] = problem->nodes[i].input_count;
        if (waiting[i] == 0)
            ready[ready_count++] = i;
    }
    while (ready_count > 0) {
        const uint32_t pick = (uint32_t)(td_random_next(&state) % ready_count);
        const uint32_t node = ready[pick];
        ready[pick] = ready[--ready_count];
        order[step++] = node;
        for (uint32_t r = problem->first_reader[node]; r < problem->first_reader[node + 1]; r++)
            if (--waiting[problem->readers[r]] == 0)
                ready[ready_count++] = problem->readers[r];
    }
    td_release(context, waiting);
    td_release(context, ready);
    return TD_OK;
}
