/* The seven views of a DAG.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/views.h"

#include <string.h>

static uint64_t *row_of(const topo_views *views, topo_view view, uint32_t unit)
{
    return views->rows[view] + unit * views->words;
}

static void set(uint64_t *row, uint32_t bit)
{
    row[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static void join(uint64_t *into, const uint64_t *from, size_t words)
{
    for (size_t w = 0; w < words; w++)
        into[w] |= from[w];
}

/* Units in a topological order (Kahn). */
static td_status find_order(const sched_core *core, topo_views *views)
{
    td_context *context = views->context;
    uint32_t *waiting = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *waiting);
    if (waiting == NULL)
        return td_fail_memory(context);
    uint32_t placed = 0;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        waiting[u] = sched_list_length(&core->before, u);
        if (waiting[u] == 0)
            views->order[placed++] = u;
    }
    for (uint32_t i = 0; i < placed; i++)
        sched_for_each(next, &core->after, views->order[i]) if (--waiting[*next] == 0)
            views->order[placed++] = *next;
    td_release(context, waiting);
    return TD_OK;
}

/* TOPO_CLOSURE becomes all that comes after a unit; TOPO_EDGES all edges but those of the
 * reduction, which are the ones that no other successor leads to. */
static void find_forward(const sched_core *core, topo_views *views, uint64_t *reached)
{
    const size_t words = views->words;
    for (uint32_t i = core->unit_count; i > 0; i--) {
        const uint32_t unit = views->order[i - 1];
        memset(reached, 0, words * sizeof *reached);
        sched_for_each(next, &core->after, unit)
            join(reached, row_of(views, TOPO_CLOSURE, *next), words);
        uint64_t *all = row_of(views, TOPO_CLOSURE, unit);
        memcpy(all, reached, words * sizeof *all);
        sched_for_each(next, &core->after, unit)
        {
            const bool led_to = (reached[*next / 64] >> (*next % 64) & 1) != 0;
            set(row_of(views, led_to ? TOPO_EDGES : TOPO_REDUCTION, unit), *next);
            set(all, *next);
        }
    }
}

static void turn_back(topo_views *views, topo_view forward, topo_view backward)
{
    for (uint32_t unit = 0; unit < views->count; unit++) {
        const uint64_t *row = row_of(views, forward, unit);
        for (size_t w = 0; w < views->words; w++)
            for (uint64_t bits = row[w]; bits != 0; bits &= bits - 1)
                set(row_of(views, backward, (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits)),
                    unit);
    }
}

/* Takes the edges out of the closures and fills in what is left: the incomparable pairs. */
static void part(topo_views *views)
{
    const size_t words = views->words;
    for (uint32_t unit = 0; unit < views->count; unit++) {
        uint64_t *rest = row_of(views, TOPO_INCOMPARABLE, unit);
        for (uint32_t other = 0; other < views->count; other += 64) {
            const uint32_t left = views->count - other;
            rest[other / 64] = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
        }
        rest[unit / 64] &= ~(UINT64_C(1) << (unit % 64));
        for (int back = 0; back < 2; back++) {
            uint64_t *closure = row_of(views, TOPO_CLOSURE + back, unit);
            const uint64_t *reduction = row_of(views, TOPO_REDUCTION + back, unit);
            const uint64_t *edges = row_of(views, TOPO_EDGES + back, unit);
            for (size_t w = 0; w < words; w++) {
                rest[w] &= ~closure[w];
                closure[w] &= ~(reduction[w] | edges[w]);
            }
        }
    }
}

void topo_views_release(topo_views *views)
{
    for (int view = 0; view < TOPO_VIEWS; view++)
        td_release(views->context, views->rows[view]);
    td_release(views->context, views->order);
    memset(views, 0, sizeof *views);
}

static td_status fill(const sched_core *core, topo_views *views)
{
    td_context *context = core->context;
    const size_t size = (views->count * views->words + 1) * sizeof(uint64_t);
    views->order = td_allocate(context, (views->count + (size_t)1) * sizeof *views->order);
    uint64_t *reached = td_allocate(context, (views->words + 1) * sizeof *reached);
    bool complete = views->order != NULL && reached != NULL;
    for (int view = 0; view < TOPO_VIEWS; view++) {
        views->rows[view] = td_allocate(context, size);
        complete = complete && views->rows[view] != NULL;
    }
    td_status status = complete ? find_order(core, views) : td_fail_memory(context);
    if (status == TD_OK) {
        find_forward(core, views, reached);
        for (int view = 0; view < TOPO_INCOMPARABLE; view += 2)
            turn_back(views, view, view + 1);
        part(views);
    }
    td_release(context, reached);
    return status;
}

td_status topo_views_make(const sched_core *core, topo_views *views)
{
    *views = (topo_views){.context = core->context,
                          .count = core->unit_count,
                          .words = (core->unit_count + (size_t)63) / 64};
    if (core->unit_count > TOPO_MOST_UNITS)
        return td_fail(core->context, TD_UNSUPPORTED,
                       "topoformer: the reduced graph has %u units; at most %d are accepted",
                       core->unit_count, TOPO_MOST_UNITS);
    const td_status status = fill(core, views);
    if (status != TD_OK)
        topo_views_release(views);
    return status;
}
