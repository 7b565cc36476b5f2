/* beam and beam-backward: search over the reduced core that keeps WIDTH sets of each level.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Backward is much stronger on training graphs: what a suffix needs is known exactly, while forward
 * the cost of keeping an activation shows only much later. */
#include "sched/orderers.h"
#include "sched/reduce.h"
#include "sched/search.h"

#include <string.h>

static td_status search_whole(const sched_core *core, const sched_options *options, bool backward,
                              uint64_t floor, uint32_t *units)
{
    const sched_search search = {.backward = backward,
                                 .width = options->width == 0 ? SCHED_USUAL_WIDTH : options->width,
                                 .bound = UINT64_MAX,
                                 .floor = floor,
                                 .seed = options->seed};
    sched_effort effort = {.work = UINT64_MAX}; /* a beam by itself runs to its end */
    sched_outcome outcome;
    return sched_search_run(core, &search, &effort, units, &outcome);
}

static td_status order_beam(const sched_problem *problem, const sched_options *options,
                            bool backward, sched_report *report, uint32_t *order)
{
    sched_core core;
    TD_TRY(sched_core_make(problem, &core));
    uint32_t *units = NULL;
    td_status status = options->unreduced ? TD_OK : sched_reduce(&core);
    if (status == TD_OK) {
        units = td_allocate(problem->context, (core.unit_count + (size_t)1) * sizeof *units);
        status = units == NULL ? td_fail_memory(problem->context) : TD_OK;
    }
    if (status == TD_OK)
        status = search_whole(&core, options, backward, sched_lower_bound(problem), units);
    if (status == TD_OK) {
        sched_core_expand(&core, units, order);
        report->units = core.unit_count;
        report->parts = 1;
    }
    td_release(problem->context, units);
    sched_core_release(&core);
    return status;
}

td_status sched_order_beam(const sched_problem *problem, const sched_options *options,
                           sched_report *report, uint32_t *order)
{
    return order_beam(problem, options, false, report, order);
}

td_status sched_order_beam_backward(const sched_problem *problem, const sched_options *options,
                                    sched_report *report, uint32_t *order)
{
    return order_beam(problem, options, true, report, order);
}
