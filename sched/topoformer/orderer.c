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

#include <string.h>

#define SAMPLE_TEMPERATURE                                                                         \
    0.2 /* scales; lower than in training, where samples shall differ more                         \
         */

/* The plain beams whose orders are features are as wide as those that are ranked, up to here. */
#define MOST_QUICK_WIDTH 256

typedef struct decoder {
    const sched_problem *problem;
    topo_graph graph;
    topo_ranks ranks;
    uint32_t *units, *best;
    uint64_t peak;
} decoder;

static void keep_if_better(decoder *d, uint64_t peak)
{
    if (peak >= d->peak)
        return;
    d->peak = peak;
    memcpy(d->best, d->units, d->graph.core.unit_count * sizeof *d->best);
}

static td_status search(decoder *d, bool backward, uint32_t width)
{
    const sched_search beam = topo_search(&d->graph, &d->ranks, backward, width);
    sched_effort effort = {.work = UINT64_MAX};
    sched_outcome outcome;
    TD_TRY(sched_search_run(&d->graph.core, &beam, &effort, d->units, &outcome));
    keep_if_better(d, outcome.peak);
    return TD_OK;
}

/* Every other sample in the other direction. */
static td_status sample(decoder *d, uint32_t count, uint64_t seed)
{
    for (uint32_t s = 0; s < count; s++) {
        const topo_policy policy = {.graph = &d->graph,
                                    .ranks = &d->ranks,
                                    .backward = s % 2 == 0,
                                    .temperature = SAMPLE_TEMPERATURE,
                                    .seed = seed + s};
        uint64_t peak;
        TD_TRY(topo_policy_draw(&policy, NULL, d->units, &peak));
        keep_if_better(d, peak);
    }
    return TD_OK;
}

static td_status decode(decoder *d, const sched_options *options)
{
    const sched_core *core = &d->graph.core;
    const size_t size = (core->unit_count + (size_t)1) * sizeof(uint32_t);
    d->units = td_allocate(core->context, size);
    d->best = td_allocate(core->context, size);
    if (d->units == NULL || d->best == NULL)
        return td_fail_memory(core->context);
    memcpy(d->best, d->graph.features.units, core->unit_count * sizeof *d->best);
    d->peak = d->graph.features.peak;
    const uint32_t width = options->width == 0 ? 1 : options->width;
    for (int back = 1; back >= 0 && d->peak > d->graph.floor; back--)
        TD_TRY(search(d, back != 0, width));
    return sample(d, options->samples, options->seed);
}

static uint32_t quick_width(const sched_options *options)
{
    return options->width < TOPO_QUICK_WIDTH   ? TOPO_QUICK_WIDTH
           : options->width < MOST_QUICK_WIDTH ? options->width
                                               : MOST_QUICK_WIDTH;
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
    td_status status = topo_graph_make(problem, quick_width(options), &d.graph);
    if (status == TD_UNSUPPORTED)
        return order_quickly(problem, report, order);
    TD_TRY(status);
    status = topo_rank_trained(&d.graph, &d.ranks);
    if (status == TD_OK)
        status = decode(&d, options);
    if (status == TD_OK) {
        sched_core_expand(&d.graph.core, d.best, order);
        report->units = d.graph.core.unit_count;
        report->parts = 1;
    }
    td_release(context, d.units);
    td_release(context, d.best);
    topo_ranks_release(&d.ranks);
    topo_graph_release(&d.graph);
    return status;
}
