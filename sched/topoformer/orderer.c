/* topoformer: orders by learned ranks, in both directions.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The row by itself takes the best ready unit step by step, `sample=N` draws N orders beside,
 * `beam=W` keeps W sets of each level. The quick orders that are features of the model are there
 * anyway, so what is returned is the best of all that ran. Graphs that reduce to more than
 * TOPO_MOST_UNITS units get the best of the linear-time orders. */
#include "sched/orderers.h"
#include "sched/topoformer/policy.h"
#include "sched/topoformer/rung.h"

#include <string.h>

#define SAMPLE_TEMPERATURE                                                                         \
    0.2 /* scales; lower than in training, where samples shall differ more                         \
         */

/* The beams of a width, each below what the ones before it found: a ladder by learned ranks, and
 * plain ones, which now and then find what those drop. */
static const struct turn {
    bool backward, learned;
    uint32_t narrower; /* the width is divided by this; beams of width 0 are left out */
} turns[] = {
    {true, true, 16}, {false, true, 16}, {true, true, 4},  {false, true, 4},
    {true, true, 1},  {false, true, 1},  {true, false, 1}, {false, false, 1},
};

typedef struct decoder {
    const sched_problem *problem;
    topo_graph graph;
    topo_ranks ranks;
    uint32_t *units; /* of a sample */
    sched_improved best;
} decoder;

static td_status search(decoder *d, uint32_t width)
{
    sched_effort effort = {.work = UINT64_MAX};
    for (size_t t = 0; t < TD_COUNT_OF(turns) && d->best.peak > d->best.bound; t++) {
        const topo_rung rung = {.ranks = turns[t].learned ? &d->ranks : NULL,
                                .backward = turns[t].backward,
                                .width = width / turns[t].narrower};
        bool found;
        if (rung.width > 0)
            TD_TRY(topo_rung_run(&d->best, &rung, &effort, &found));
    }
    return TD_OK;
}

/* Every other sample in the other direction; none is drawn that could not be better, or after the
 * time limit. */
static td_status sample(decoder *d, const sched_options *options)
{
    sched_effort effort = {.work = UINT64_MAX, .deadline = sched_effort_of(options).deadline};
    for (uint32_t s = 0; s < options->samples && d->best.peak > d->best.bound; s++) {
        if (sched_spend(&effort, 1))
            return TD_OK;
        const topo_policy policy = {.graph = &d->graph,
                                    .ranks = &d->ranks,
                                    .backward = s % 2 == 0,
                                    .temperature = SAMPLE_TEMPERATURE,
                                    .seed = options->seed + s};
        uint64_t peak;
        TD_TRY(topo_policy_draw(&policy, NULL, d->units, &peak));
        if (peak < d->best.peak) {
            d->best.peak = peak;
            memcpy(d->best.units, d->units, d->graph.core.unit_count * sizeof *d->units);
        }
    }
    return TD_OK;
}

static td_status decode(decoder *d, const sched_options *options)
{
    const sched_core *core = &d->graph.core;
    const size_t size = (core->unit_count + (size_t)1) * sizeof(uint32_t);
    d->units = td_allocate(core->context, size);
    d->best = (sched_improved){.core = core,
                               .units = td_allocate(core->context, size),
                               .peak = d->graph.features.peak,
                               .bound = d->graph.floor};
    if (d->units == NULL || d->best.units == NULL)
        return td_fail_memory(core->context);
    memcpy(d->best.units, d->graph.features.units, core->unit_count * sizeof *d->units);
    TD_TRY(search(d, options->width == 0 ? 1 : options->width));
    return sample(d, options);
}

/* For graphs beyond the views. */
static td_status order_quickly(const sched_problem *problem, sched_report *report, uint32_t *order)
{
    static const char *const rows[] = {"greedy", "dfs", "postorder"};
    td_context *context = problem->context;
    uint64_t best = UINT64_MAX;
    uint32_t *tried = td_allocate(context, (problem->node_count + (size_t)1) * sizeof *tried);
    td_status status = tried == NULL ? td_fail_memory(context) : TD_OK;
    for (size_t r = 0; r < TD_COUNT_OF(rows) && status == TD_OK; r++) {
        sched_report own;
        status = sched_order(problem, rows[r], NULL, tried, &own);
        if (status == TD_OK && own.peak < best) {
            best = own.peak;
            report->chosen = own.chosen;
            memcpy(order, tried, problem->node_count * sizeof *order);
        }
    }
    td_release(context, tried);
    return status;
}

td_status sched_order_topoformer(const sched_problem *problem, const sched_options *options,
                                 sched_report *report, uint32_t *order)
{
    td_context *context = problem->context;
    decoder d = {.problem = problem};
    td_status status = topo_graph_make(problem, &d.graph);
    if (status == TD_UNSUPPORTED)
        return order_quickly(problem, report, order);
    TD_TRY(status);
    status = topo_rank_trained(&d.graph, &d.ranks);
    if (status == TD_OK)
        status = decode(&d, options);
    if (status == TD_OK) {
        sched_core_expand(&d.graph.core, d.best.units, order);
        report->units = d.graph.core.unit_count;
        report->parts = 1;
    }
    td_release(context, d.units);
    td_release(context, d.best.units);
    topo_ranks_release(&d.ranks);
    topo_graph_release(&d.graph);
    return status;
}
