/* Reductions that keep an optimum: fewer, larger units, and places where the problem falls apart.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_REDUCE_H
#define TANDEM_SCHED_REDUCE_H

#include "sched/core.h"

/* Joins units and orders interchangeable ones, such that an order of the units with the least
 * peak is one of the least peak of all. Up to SCHED_CLOSURE_NODES nodes this knows all ancestors
 * (quadratic bits); above, only neighbours. */
#define SCHED_CLOSURE_NODES 16384
td_status sched_reduce(sched_core *core);

/* Places at which every order is cut: position p of `units` (any topological order) such that all
 * units before p come before units[p] in every order, and all behind come after it. `cuts` has room
 * for every unit; ascending. Linear. */
td_status sched_find_cuts(const sched_core *core, const uint32_t *units, uint32_t *cuts,
                          uint32_t *count);

#endif
