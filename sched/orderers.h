/* The rows of the table of orderers, and what they share. Each writes a topological order of the
 * problem's nodes; a row that knows more sets report->lower_bound, chosen, units and parts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_ORDERERS_H
#define TANDEM_SCHED_ORDERERS_H

#include "sched/core.h"
#include "sched/effort.h"

#define SCHED_USUAL_WIDTH 64

typedef td_status sched_order_function(const sched_problem *problem, const sched_options *options,
                                       sched_report *report, uint32_t *order);

sched_order_function sched_order_file, sched_order_random, sched_order_bfs, sched_order_dfs,
    sched_order_greedy, sched_order_postorder, sched_order_liu, sched_order_beam,
    sched_order_beam_backward, sched_order_exact, sched_order_local, sched_order_topoformer,
    sched_order_auto;

/* The limits of the options, starting now. */
sched_effort sched_effort_of(const sched_options *options);

#endif
