/* The policy: orders drawn one unit at a time, and REINFORCE on their peaks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From a set D every ready unit u (backward: every unit whose readers are taken off) is drawn with
 *
 *     p(u | D) = softmax over the ready units of -rank(D + u) / (temperature * scale)
 *
 * where rank is that of sched/topoformer/rank.h. As the encoder runs once for each graph this is
 * the paper's decoder, with the change of live memory beside the priorities. A free move
 * (sched/search.c) is made at once and is no choice. Temperature 0 takes the best ready unit. */
#ifndef TANDEM_SCHED_TOPOFORMER_POLICY_H
#define TANDEM_SCHED_TOPOFORMER_POLICY_H

#include "sched/topoformer/rank.h"

typedef struct topo_policy {
    const topo_graph *graph;
    const topo_ranks *ranks;
    bool backward;
    double temperature; /* scales */
    uint64_t seed;
} topo_policy;

/* Draws an order of units; `peak` is its peak. With slopes not NULL the slope of log p of the order
 * by potentials and weights, in 1 / (temperature * scale), is added to them. */
td_status topo_policy_draw(const topo_policy *policy, const topo_slopes *slopes, uint32_t *units,
                           uint64_t *peak);

/* REINFORCE (Williams 1992): `samples` orders in each direction; advantage of each: its peak's
 * distance to the samples' mean in standard deviations (Jeon et al., ICLR 2023). Adds the slope by
 * output of the mean of advantage times log p, the loss's, to d_outputs. */
typedef struct topo_drawn {
    double mean[2]; /* of peaks */
    uint64_t best;
} topo_drawn;

td_status topo_reinforce(const topo_graph *graph, const float *outputs, double temperature,
                         uint32_t samples, uint64_t seed, float *d_outputs, topo_drawn *drawn);

#endif
