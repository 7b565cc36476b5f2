/* Beams that look for an order below the best so far.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A set whose peak reaches that of a known order leads nowhere, so it takes no room in a beam that
 * knows one. What a narrow beam finds is therefore worth much to a wider one and costs little:
 * beams run as rungs of a ladder, W / 16, W / 4 and W wide. */
#ifndef TANDEM_SCHED_TOPOFORMER_RUNG_H
#define TANDEM_SCHED_TOPOFORMER_RUNG_H

#include "sched/improve.h"
#include "sched/topoformer/rank.h"

typedef struct topo_rung {
    const topo_ranks *ranks; /* NULL: plain */
    bool backward;
    uint32_t width; /* 0 counts as 1 */
    uint64_t seed;
    const sched_watch *watch; /* or NULL */
} topo_rung;

/* Keeps in `best` what the beam finds below best->peak (UINT64_MAX: whatever it finds). A beam that
 * dropped nothing has proved that peak: best->bound becomes it. */
td_status topo_rung_run(sched_improved *best, const topo_rung *rung, sched_effort *effort,
                        bool *found);

/* The ladder of a rung, ending with it; nothing more is tried once the peak is the bound. */
td_status topo_ladder_run(sched_improved *best, const topo_rung *last, sched_effort *effort);

#endif
