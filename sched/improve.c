/* Improving an order of units by searches in stretches of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A stretch around the step with the largest cost is cut out as a problem of its own and searched
 * for an order below the peak. What the rest of the order needs anyway is as good as less.
 * Stretches start short, because those are searched almost exactly in no time, and double as long
 * as they are less than the whole. */
#include "sched/improve.h"

#include "sched/search.h"

#include <string.h>

#define SHORTEST_STRETCH 12

typedef struct stretch {
    uint32_t begin, end;
    uint64_t elsewhere; /* the largest cost outside */
} stretch;

static stretch around(const sched_core *core, const uint64_t *cost, uint32_t at, uint32_t length)
{
    const uint32_t count = core->unit_count, half = length / 2;
    stretch s = {at > half ? at - half : 0,
                 at + (length - half) < count ? at + (length - half) : count, 0};
    for (uint32_t i = 0; i < count; i++)
        if ((i < s.begin || i >= s.end) && cost[i] > s.elsewhere)
            s.elsewhere = cost[i];
    return s;
}

static td_status search_stretch(sched_improved *self, const stretch *where, uint32_t width,
                                bool backward, uint64_t seed, sched_effort *effort,
                                sched_outcome *outcome)
{
    td_context *context = self->core->context;
    const uint32_t length = where->end - where->begin;
    const uint64_t bound = self->peak - 1;
    const uint64_t floor = where->elsewhere > self->bound ? where->elsewhere : self->bound;
    const sched_search search = {.backward = backward,
                                 .width = width,
                                 .bound = bound,
                                 .floor = floor < bound ? floor : bound,
                                 /* Odd seeds also rank by the peak so far. */
                                 .peak_first = seed % 2 == 1,
                                 .seed = seed};
    sched_core part;
    TD_TRY(sched_core_part(self->core, self->units, where->begin, where->end, &part));
    uint32_t *found = td_allocate(context, (length + (size_t)1) * 2 * sizeof *found);
    td_status status = found == NULL ? td_fail_memory(context)
                                     : sched_search_run(&part, &search, effort, found, outcome);
    if (status == TD_OK && outcome->found) {
        for (uint32_t i = 0; i < length; i++)
            found[length + i] = self->units[where->begin + found[i]];
        memcpy(self->units + where->begin, found + length, length * sizeof *found);
    }
    td_release(context, found);
    sched_core_release(&part);
    return status;
}

/* One stretch, both ways. */
static td_status try_stretch(sched_improved *self, const stretch *where, uint32_t width,
                             uint64_t seed, sched_effort *effort, bool *found)
{
    *found = false;
    for (int backward = 1; backward >= 0 && !*found && !effort->spent; backward--) {
        sched_outcome outcome;
        TD_TRY(search_stretch(self, where, width, backward != 0, seed, effort, &outcome));
        *found = outcome.found;
        if (outcome.complete)
            break; /* the other direction would say the same */
    }
    return TD_OK;
}

td_status sched_improve_locally(sched_improved *self, uint32_t width, uint64_t seed,
                                sched_effort *effort)
{
    const sched_core *core = self->core;
    td_context *context = core->context;
    const uint32_t count = core->unit_count;
    uint64_t *cost = td_allocate(context, (count + (size_t)1) * sizeof *cost);
    uint32_t *left = td_allocate(context, (core->group_count + (size_t)1) * sizeof *left);
    td_status status = cost == NULL || left == NULL ? td_fail_memory(context) : TD_OK;
    self->is_stuck = true;
    uint32_t length = SHORTEST_STRETCH;
    while (status == TD_OK && !effort->spent && length < count) {
        self->peak = sched_core_profile(core, self->units, left, cost);
        if (self->peak <= self->bound || self->peak == core->base)
            break;
        uint32_t at = 0;
        while (cost[at] < self->peak)
            at++;
        const stretch where = around(core, cost, at, length);
        bool found = false;
        status = try_stretch(self, &where, width, seed, effort, &found);
        if (found) {
            self->is_stuck = false;
            length = SHORTEST_STRETCH;
        } else {
            length *= 2;
        }
    }
    if (status == TD_OK)
        self->peak = sched_core_profile(core, self->units, left, cost);
    td_release(context, cost);
    td_release(context, left);
    return status;
}
