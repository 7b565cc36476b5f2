/* Beams that look for an order below the best so far.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/rung.h"

#include <string.h>

td_status topo_rung_run(sched_improved *best, const topo_rung *rung, sched_effort *effort,
                        bool *found)
{
    const sched_core *core = best->core;
    const topo_ranks *ranks = rung->ranks;
    const sched_search search = {
        .backward = rung->backward,
        .width = rung->width > 0 ? rung->width : 1,
        .bound = best->peak == UINT64_MAX ? UINT64_MAX : best->peak - 1,
        .floor = best->bound,
        .seed = rung->seed,
        .potentials = ranks == NULL ? NULL : ranks->potentials[rung->backward],
        .weights = ranks == NULL ? NULL : ranks->weights[rung->backward],
        .watch = rung->watch,
    };
    sched_outcome outcome = {0};
    uint32_t *units = td_allocate(core->context, (core->unit_count + (size_t)1) * sizeof *units);
    td_status status = units == NULL ? td_fail_memory(core->context)
                                     : sched_search_run(core, &search, effort, units, &outcome);
    *found = outcome.found;
    if (status == TD_OK && outcome.found) {
        memcpy(best->units, units, core->unit_count * sizeof *units);
        best->peak = outcome.peak;
    }
    if (status == TD_OK && outcome.complete)
        best->bound = best->peak;
    td_release(core->context, units);
    return status;
}

td_status topo_ladder_run(sched_improved *best, const topo_rung *last, sched_effort *effort)
{
    for (uint32_t narrower = 16; narrower >= 1; narrower /= 4) {
        topo_rung rung = *last;
        bool found;
        rung.width = last->width / narrower;
        if (best->peak <= best->bound)
            return TD_OK;
        if (rung.width > 0)
            TD_TRY(topo_rung_run(best, &rung, effort, &found));
    }
    return TD_OK;
}
