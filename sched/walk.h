/* Depth-first orders: each result after all that it needs, operands by their weight.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_WALK_H
#define TANDEM_SCHED_WALK_H

#include "sched/problem.h"

/* What a node weighs. An operand comes before another that is smaller by `first`, then by `second`,
 * then by a larger number of its node. */
typedef struct sched_weight {
    uint64_t first, second;
    uint32_t node;
} sched_weight;

/* Sets weights[node] from those of its inputs, and lists the inputs as the node's operands, sorted.
 */
typedef void (*sched_weigh)(const sched_problem *problem, uint32_t node, sched_weight *weights,
                            sched_weight *operands);

void sched_sort_operands(const sched_node *node, sched_weight *operands);

/* a + b, or UINT64_MAX where that is larger. */
uint64_t sched_saturating_add(uint64_t a, uint64_t b);

/* Weighs all nodes, inputs first, and walks from the results. Linear in the graph beside sorting
 * the operands of each node. */
td_status sched_walk(const sched_problem *problem, sched_weigh weigh, uint32_t *order);

#endif
