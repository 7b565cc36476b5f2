/* From a problem to ranks: everything that inference does, and what its outputs mean.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A set of units D ranks by
 *
 *     live(D) + sum over units u in D of potential(u) + sum over groups g alive of weight(g)
 *
 *     potential(u) = scale * output[0] + local(u) * output[1]
 *     weight(g) = size(g) * tanh(output[2]) of the unit that makes g
 *
 * with four outputs for each direction, forward and backward (where D is the set taken off the
 * end); the fourth is unused. A new model ranks by live memory alone. */
#ifndef TANDEM_SCHED_TOPOFORMER_RANK_H
#define TANDEM_SCHED_TOPOFORMER_RANK_H

#include "sched/search.h"
#include "sched/topoformer/encoder.h"
#include "sched/topoformer/features.h"

#define TOPO_DIRECTION 4 /* outputs of a direction */

/* A problem as the model sees it. */
typedef struct topo_graph {
    const sched_problem *problem;
    sched_core core; /* reduced */
    uint64_t floor;  /* sched_lower_bound */
    topo_views views;
    topo_features features;
} topo_graph;

/* TD_UNSUPPORTED beyond TOPO_MOST_UNITS units. */
td_status topo_graph_make(const sched_problem *problem, topo_graph *graph);
void topo_graph_release(topo_graph *graph);

/* For sched_search; both directions: [0] forward, [1] backward. */
typedef struct topo_ranks {
    td_context *context;
    int64_t *potentials[2]; /* by unit */
    int64_t *weights[2];    /* by group */
} topo_ranks;

td_status topo_ranks_of(const topo_graph *graph, const float *outputs, topo_ranks *ranks);
void topo_ranks_release(topo_ranks *ranks);

/* Encodes and ranks. */
td_status topo_rank(const topo_model *model, const topo_graph *graph, topo_ranks *ranks);

/* The same by the embedded parameters. */
td_status topo_rank_trained(const topo_graph *graph, topo_ranks *ranks);

/* Slopes of something by potential and by weight, in 1 / bytes of the graph's scale. */
typedef struct topo_slopes {
    double *by_unit, *by_group;
} topo_slopes;

/* The chain rule: adds `factor` times the slopes by output of one direction to d_outputs. */
void topo_slopes_add(const topo_graph *graph, const topo_slopes *slopes, const float *outputs,
                     bool backward, double factor, float *d_outputs);

/* A search of the whole ranked by `ranks` (NULL: plain), to be run with sched_search_run. */
sched_search topo_search(const topo_graph *graph, const topo_ranks *ranks, bool backward,
                         uint32_t width);

#endif
