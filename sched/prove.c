/* From an order of units to a proof that none is better, or to a better one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/prove.h"

#include "sched/bound.h"
#include "sched/fix.h"
#include "sched/search.h"

#include <string.h>

/* Steps for bounds at the first attempt, and for narrowing by width of the search. */
#define BOUND_STEPS  UINT64_C(50000000)
#define NARROW_STEPS UINT64_C(300000)

/* Peaks between bound and order are asked for when searches are this wide. */
#define WIDTH_OF_HALVES 1024
#define MOST_HALVES     8

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
    const bool whole = effort->work >= BOUND_STEPS; /* else what is cut off is tried again */
    sched_effort part = share(effort, BOUND_STEPS);
    TD_TRY(sched_bound_by_cuts(core, order->units, &part, &order->bound));
    settle(effort, &part, BOUND_STEPS);
    self->begun = whole || !part.spent;
    return TD_OK;
}

/* A copy of a core, with units by their numbers. */
static td_status copy_core(const sched_core *core, sched_core *copy)
{
    uint32_t *units = td_allocate(core->context, (core->unit_count + (size_t)1) * sizeof *units);
    if (units == NULL)
        return td_fail_memory(core->context);
    for (uint32_t i = 0; i < core->unit_count; i++)
        units[i] = i;
    const td_status status = sched_core_part(core, units, 0, core->unit_count, copy);
    td_release(core->context, units);
    return status;
}

/* What is common to all orders of at most `peak` becomes precedence of the core; when there is no
 * such order the bound rises. */
static td_status narrow_down(sched_core *core, sched_improved *order, uint64_t peak, uint32_t width,
                             sched_effort *effort)
{
    const uint64_t steps = NARROW_STEPS * width;
    sched_effort part = share(effort, steps);
    sched_fixed fixed;
    TD_TRY(sched_fix(core, peak, &part, &fixed));
    settle(effort, &part, steps);
    if (fixed.impossible)
        order->bound = peak + 1;
    return TD_OK;
}

/* A search for an order of at most `peak` in one direction. */
static td_status search(const sched_core *core, sched_improved *order, uint64_t peak, bool backward,
                        uint32_t width, bool all_or_none, sched_effort *effort)
{
    const sched_search search = {.backward = backward,
                                 .width = width,
                                 .all_or_none = all_or_none,
                                 .bound = peak,
                                 .floor = order->bound};
    td_context *context = core->context;
    uint32_t *found = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *found);
    sched_outcome outcome;
    if (found == NULL)
        return td_fail_memory(context);
    const td_status status = sched_search_run(core, &search, effort, found, &outcome);
    if (status == TD_OK && outcome.found) {
        memcpy(order->units, found, core->unit_count * sizeof *found);
        order->peak = outcome.peak;
    }
    if (status == TD_OK && outcome.complete)
        order->bound = outcome.found ? order->peak : peak + 1;
    td_release(context, found);
    return status;
}

static bool is_decided(const sched_improved *order, uint64_t peak)
{
    return order->bound > peak || order->peak <= peak;
}

static td_status search_both(const sched_core *core, sched_improved *order, uint64_t peak,
                             uint32_t width, bool all_or_none, sched_effort *effort)
{
    for (int backward = 1; backward >= 0; backward--)
        if (!effort->spent && !is_decided(order, peak))
            TD_TRY(search(core, order, peak, backward != 0, width, all_or_none, effort));
    return TD_OK;
}

/* Whether there is an order of at most `peak`, below order->peak: then it is taken; or there is
 * none: then the bound rises; or nobody knows. */
static td_status decide(sched_core *core, sched_improved *order, uint64_t peak,
                        const sched_attempt *attempt, sched_effort *effort)
{
    TD_TRY(narrow_down(core, order, peak, attempt->width, effort));
    if (attempt->most > attempt->width)
        TD_TRY(search_both(core, order, peak, attempt->most, true, effort));
    return attempt->without_beams ? TD_OK
                                  : search_both(core, order, peak, attempt->width, false, effort);
}

/* The lower the peak, the less choice there is: halves the gap from below as long as that
 * decides. */
static td_status bisect(const sched_proof *self, sched_improved *order,
                        const sched_attempt *attempt, sched_effort *effort)
{
    const sched_attempt beams = {.width = attempt->width}; /* what is too much above is so here */
    uint64_t high = order->peak - 1;
    for (int step = 0; step < MOST_HALVES; step++) {
        sched_core core = {0};
        high = high < order->peak ? high : order->peak - 1;
        if (effort->spent || order->bound >= high)
            return TD_OK;
        const uint64_t peak = order->bound + (high - order->bound) / 2;
        TD_TRY(copy_core(&self->narrow, &core));
        const td_status status = decide(&core, order, peak, &beams, effort);
        sched_core_release(&core);
        TD_TRY(status);
        if (!is_decided(order, peak))
            high = peak;
    }
    return TD_OK;
}

static td_status decide_all(sched_proof *self, sched_improved *order, const sched_attempt *attempt,
                            sched_effort *effort)
{
    bool decided = true;
    if (!self->begun)
        TD_TRY(begin(self, order, effort));
    while (decided && !effort->spent && order->bound < order->peak) {
        const uint64_t peak = order->peak - 1;
        if (self->narrow.context == NULL)
            TD_TRY(copy_core(order->core, &self->narrow));
        TD_TRY(decide(&self->narrow, order, peak, attempt, effort));
        decided = is_decided(order, peak);
    }
    if (attempt->width >= WIDTH_OF_HALVES && !attempt->without_beams && !effort->spent &&
        order->bound < order->peak)
        TD_TRY(bisect(self, order, attempt, effort));
    return TD_OK;
}

td_status sched_prove(sched_proof *self, sched_improved *order, const sched_attempt *attempt,
                      sched_effort *effort)
{
    sched_effort part = share(effort, attempt->steps);
    TD_TRY(decide_all(self, order, attempt, &part));
    settle(effort, &part, attempt->steps);
    return TD_OK;
}

void sched_proof_release(sched_proof *self)
{
    sched_core_release(&self->narrow);
    memset(self, 0, sizeof *self);
}
