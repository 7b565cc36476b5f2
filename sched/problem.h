/* What the files of sched/ share about problems.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_PROBLEM_H
#define TANDEM_SCHED_PROBLEM_H

#include "sched/sched.h"

/* A node's inputs, nodes[node].input_count of them. */
static inline const uint32_t *sched_inputs(const sched_problem *problem, uint32_t node)
{
    return problem->inputs + problem->nodes[node].first_input;
}

/* Some topological order, by Kahn's algorithm, linear in the graph. `waiting` and `order` have room
 * for every node; the result is how many nodes were placed, fewer than all when there is a cycle:
 * then waiting[i] > 0 for those that were not. */
uint32_t sched_any_order(const sched_problem *problem, uint32_t *waiting, uint32_t *order);

#endif
