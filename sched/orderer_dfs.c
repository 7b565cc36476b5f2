/* dfs: depth first from the results, operands with much behind them first (as in XLA's DFS
 * scheduler, hlo_memory_scheduler.cc, and Sethi-Ullman numbering).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"
#include "sched/walk.h"

/* First by the further readers of all that is behind a node, then by its bytes: transitive sums. */
static void weigh(const sched_problem *problem, uint32_t node, sched_weight *weights,
                  sched_weight *operands)
{
    const sched_node *self = &problem->nodes[node];
    const uint32_t readers = problem->first_reader[node + 1] - problem->first_reader[node];
    sched_weight sum = {readers > 1 ? readers - 1 : 0, self->bytes, node};
    for (uint32_t k = 0; k < self->input_count; k++) {
        operands[k] = weights[sched_inputs(problem, node)[k]];
        sum.first = sched_saturating_add(sum.first, operands[k].first);
        sum.second = sched_saturating_add(sum.second, operands[k].second);
    }
    sched_sort_operands(self, operands);
    weights[node] = sum;
}

td_status sched_order_dfs(const sched_problem *problem, const sched_options *options,
                          sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    return sched_walk(problem, weigh, order);
}
