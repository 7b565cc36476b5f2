/* The seven views of a DAG that the orderer's heads attend in.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every ordered pair of different units lies in exactly one view: an edge of the transitive
 * reduction, another edge, or another pair of the transitive closure, each from a unit to what
 * comes after it (forward) or before it (backward); or neither comes before the other. Source:
 * Gagrani et al., arXiv:2207.05899. */
#ifndef TANDEM_SCHED_TOPOFORMER_VIEWS_H
#define TANDEM_SCHED_TOPOFORMER_VIEWS_H

#include "sched/core.h"

typedef enum topo_view {
    TOPO_REDUCTION,
    TOPO_REDUCTION_BACK,
    TOPO_EDGES,
    TOPO_EDGES_BACK,
    TOPO_CLOSURE,
    TOPO_CLOSURE_BACK,
    TOPO_INCOMPARABLE,
    TOPO_VIEWS
} topo_view;

/* Beyond this many units the views (7/8 byte for each pair) are not made. */
#define TOPO_MOST_UNITS 5000

typedef struct topo_views {
    td_context *context;
    uint32_t count;             /* units */
    size_t words;               /* 64-bit words of a row; bits from `count` on are 0 */
    uint64_t *rows[TOPO_VIEWS]; /* [count * words] */
    uint32_t *order;            /* of units: topological, the rows of closures are made in it */
} topo_views;

static inline bool topo_in_view(const topo_views *views, topo_view view, uint32_t from, uint32_t to)
{
    return (views->rows[view][from * views->words + to / 64] >> (to % 64) & 1) != 0;
}

/* The views of a core's units; TD_UNSUPPORTED beyond TOPO_MOST_UNITS. Edges times units / 64 steps
 * for the closure, units squared / 64 for the rest. */
td_status topo_views_make(const sched_core *core, topo_views *views);
void topo_views_release(topo_views *views);

#endif
