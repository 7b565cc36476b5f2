/* postorder: depth first from the results, each node's operands in the best order that keeps
 * subtrees together (J. W. H. Liu, "On the storage requirement in the out-of-core multifrontal
 * method", 1986): those first that need most beyond what they leave. Optimal among post-orders of
 * trees; in other graphs a shared operand counts for each of its readers, and runs for the first.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"
#include "sched/walk.h"

/* Weights by what a subtree needs at most beyond what it leaves. The peak of a node's own subtree
 * is found operand by operand on top of what the ones before have left, and in the end with all of
 * them and the node itself. */
static void weigh(const sched_problem *problem, uint32_t node, sched_weight *weights,
                  sched_weight *operands)
{
    const sched_node *self = &problem->nodes[node];
    for (uint32_t k = 0; k < self->input_count; k++)
        operands[k] = weights[sched_inputs(problem, node)[k]];
    sched_sort_operands(self, operands);
    uint64_t left = 0, need = 0;
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint64_t bytes = problem->nodes[operands[k].node].bytes;
        const uint64_t peak = sched_saturating_add(left, operands[k].first + bytes);
        need = peak > need ? peak : need;
        left = sched_saturating_add(left, bytes);
    }
    const uint64_t with_self = sched_saturating_add(left, self->bytes);
    const uint64_t step = sched_saturating_add(with_self, self->workspace);
    need = step > need ? step : need;
    weights[node] = (sched_weight){need - self->bytes, 0, node};
}

td_status sched_order_postorder(const sched_problem *problem, const sched_options *options,
                                sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    return sched_walk(problem, weigh, order);
}
