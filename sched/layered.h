/* Layered random graphs, as the learning of schedules is measured on.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_LAYERED_H
#define TANDEM_SCHED_LAYERED_H

#include "sched/sched.h"

typedef struct sched_layered {
    uint64_t *bytes; /* by node; a workspace-free, topologically numbered graph */
    uint32_t node_count;
    sched_edge *edges; /* sorted by (to, from), each once */
    uint32_t edge_count;
} sched_layered;

/* The layered graphs of Gagrani et al., "Neural Topological Ordering for Computation Graphs"
 * (arXiv:2207.05899, appendix A), with 2 to 1,000,000 nodes: width factor W ~ U(0.25, 0.5),
 * ceil(sqrt(n (1/W - 1))) layers of U(0.25, 1.75) times the mean size, edge density 0.2 between
 * neighbouring layers, 14 % of the edges skip layers, sizes from four Gaussians of means 0.5, 1, 3,
 * 5 and deviations 0.5, 1, 1, 1, equally likely, in MiB, cut at 0. Nodes without readers are
 * persistent when they are made a problem. Equal seeds give equal graphs on every machine. */
td_status sched_layered_make(td_context *context, uint32_t node_count, uint64_t seed,
                             sched_layered *graph);
void sched_layered_release(td_context *context, sched_layered *graph);

/* The graph as a scheduling problem. */
td_status sched_layered_problem(td_context *context, const sched_layered *graph,
                                sched_problem *problem);

#endif
