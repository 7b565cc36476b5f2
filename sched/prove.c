/* From an order of units to a proof that none is better, or to a better one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/prove.h"

#include "sched/bound.h"
#include "sched/fix.h"
#include "sched/search.h"

#include <string.h>

/* Steps for bounds at the first attempt, and for narrowing by width of the search. */
#define BOUND_STEPS  UINT64_C(200000000)
#define NARROW_STEPS UINT64_C(1000000)

/* Part of an effort, and what it took given back. */
static sched_effort share(const sched_effort *whole, uint64_t steps)
{
    return (sched_effort){.work = steps < whole->work ? steps : whole->work,
                          .deadline = whole->deadline};
}

static void settle(sched_effort *whole, const sched_effort *part, uint64_t steps)
{
    const uint64_t given = steps < whole->work ? steps : whole->work;
    sched_spend(whole, given - part->work);
}

static td_status begin(sched_proof *self, sched_improved *order, sched_effort *effort)
{
    const sched_core *core = order->core;
    sched_effort part = share(effort, BOUND_STEPS);
    TD_TRY(sched_bound_by_cuts(core, order->units, &part, &order->bound));
    settle(effort, &part, BOUND_STEPS);
    self->begun = true;
    return TD_OK;
}

/* A copy of the core, with units by their places in the order at hand. */
static td_status copy_core(sched_proof *self, const sched_core *core)
{
    uint32_t *units = td_allocate(core->context, (core->unit_count + (size_t)1) * sizeof *units);
    if (units == NULL)
        return td_fail_memory(core->context);
    for (uint32_t i = 0; i < core->unit_count; i++)
        units[i] = i;
    const td_status status = sched_core_part(core, units, 0, core->unit_count, &self->narrow);
    td_release(core->context, units);
    return status;
}

static td_status narrow_down(sched_proof *self, sched_improved *order, uint32_t width,
                             sched_effort *effort)
{
    const uint64_t steps = NARROW_STEPS * width;
    sched_effort part = share(effort, steps);
    sched_fixed fixed;
    if (self->narrow.context == NULL)
        TD_TRY(copy_core(self, order->core));
    TD_TRY(sched_fix(&self->narrow, order->peak - 1, &part, &fixed));
    settle(effort, &part, steps);
    if (fixed.impossible)
        order->bound = order->peak;
    return TD_OK;
}

static td_status search(sched_proof *self, sched_improved *order, bool backward, uint32_t width,
                        sched_effort *effort)
{
    const sched_search search = {
        .backward = backward, .width = width, .bound = order->peak - 1, .floor = order->bound};
    td_context *context = order->core->context;
    const uint32_t count = order->core->unit_count;
    uint32_t *found = td_allocate(context, (count + (size_t)1) * sizeof *found);
    sched_outcome outcome;
    if (found == NULL)
        return td_fail_memory(context);
    const td_status status = sched_search_run(&self->narrow, &search, effort, found, &outcome);
    if (status == TD_OK && outcome.found) {
        memcpy(order->units, found, count * sizeof *found);
        order->peak = outcome.peak;
    }
    if (status == TD_OK && outcome.complete)
        order->bound = order->peak;
    td_release(context, found);
    return status;
}

td_status sched_prove(sched_proof *self, sched_improved *order, uint32_t width,
                      sched_effort *effort)
{
    if (!self->begun)
        TD_TRY(begin(self, order, effort));
    for (;;) {
        const uint64_t old_peak = order->peak;
        if (effort->spent || order->bound >= order->peak)
            return TD_OK;
        TD_TRY(narrow_down(self, order, width, effort));
        for (int backward = 1; backward >= 0; backward--)
            if (!effort->spent && order->bound < order->peak)
                TD_TRY(search(self, order, backward != 0, width, effort));
        if (order->peak == old_peak)
            return TD_OK;
    }
}

void sched_proof_release(sched_proof *self)
{
    sched_core_release(&self->narrow);
    memset(self, 0, sizeof *self);
}
