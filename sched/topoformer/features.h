/* What the encoder is told of each unit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * All features are free of scale: bytes are divided by the mean size of the graph's buffers and
 * squeezed into [0, 1), numbers of units by their count. They are, in this order: sizes, degrees,
 * place between sources and sinks, what lies before and after, the unit's place in five quick
 * orders and how close to their peak those are there, smoothed positional fields, and the graph as
 * a whole. */
#ifndef TANDEM_SCHED_TOPOFORMER_FEATURES_H
#define TANDEM_SCHED_TOPOFORMER_FEATURES_H

#include "sched/topoformer/model.h"

typedef struct topo_features {
    td_context *context;
    float *rows;     /* [units][TOPO_FEATURES] */
    double scale;    /* mean bytes of the buffers that units leave behind; at least 1 */
    double *local;   /* [units]: bytes that the unit itself moves, at most 8 * scale */
    uint32_t *units; /* the best of the quick orders */
    uint64_t peak;   /* its peak */
} topo_features;

/* Features of the units of `core`, made from `problem` and reduced. A few quick orders and narrow
 * beams: linear in the graph times the number of ready units; beside it what
 * topo_views_make takes. */
td_status topo_features_make(const sched_problem *problem, const sched_core *core,
                             const topo_views *views, topo_features *features);
void topo_features_release(topo_features *features);

#endif
