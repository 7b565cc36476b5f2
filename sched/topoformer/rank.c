/* From a problem to ranks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/rank.h"

#include "sched/reduce.h"
#include "sched/topoformer/parameters.h"

#include <math.h>
#include <string.h>

/* Potentials beyond this many scales are cut, so that sums over all units stay far from overflow.
 */
#define MOST_SCALES 1e6

/* Buffers count as at most this many scales in slopes, so that one of them does not drown all. */
#define MOST_SIZE 8.0

void topo_graph_release(topo_graph *graph)
{
    topo_features_release(&graph->features);
    topo_views_release(&graph->views);
    sched_core_release(&graph->core);
}

td_status topo_graph_make(const sched_problem *problem, topo_graph *graph)
{
    *graph = (topo_graph){.problem = problem, .floor = sched_lower_bound(problem)};
    graph->views.context = graph->features.context = problem->context;
    td_status status = sched_core_make(problem, &graph->core);
    if (status == TD_OK)
        status = sched_reduce(&graph->core);
    if (status == TD_OK)
        status = topo_views_make(&graph->core, &graph->views);
    if (status == TD_OK)
        status = topo_features_make(problem, &graph->core, &graph->views, &graph->features);
    if (status != TD_OK)
        topo_graph_release(graph);
    return status;
}

void topo_ranks_release(topo_ranks *ranks)
{
    for (int back = 0; back < 2; back++) {
        td_release(ranks->context, ranks->potentials[back]);
        td_release(ranks->context, ranks->weights[back]);
    }
    memset(ranks, 0, sizeof *ranks);
}

static int64_t whole(double bytes, double scale)
{
    const double most = MOST_SCALES * scale;
    return isfinite(bytes) ? (int64_t)llrint(fmax(-most, fmin(most, bytes))) : 0;
}

static void rank_direction(const topo_graph *graph, const float *outputs, int64_t *potentials,
                           int64_t *weights)
{
    const sched_core *core = &graph->core;
    const double scale = graph->features.scale;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        const float *own = outputs + (size_t)u * TOPO_OUTPUTS;
        potentials[u] =
            whole(scale * (double)own[0] + graph->features.local[u] * (double)own[1], scale);
        sched_for_each(node, &core->members, u) if (core->own[*node] != SCHED_NONE)
        {
            const uint32_t group = core->own[*node];
            const double factor = isfinite(own[2]) ? tanh((double)own[2]) : 0;
            weights[group] = (int64_t)llrint((double)core->size[group] * factor);
        }
    }
}

td_status topo_ranks_of(const topo_graph *graph, const float *outputs, topo_ranks *ranks)
{
    td_context *context = graph->core.context;
    *ranks = (topo_ranks){.context = context};
    for (int back = 0; back < 2; back++) {
        ranks->potentials[back] =
            td_allocate(context, (graph->core.unit_count + (size_t)1) * sizeof(int64_t));
        ranks->weights[back] =
            td_allocate(context, (graph->core.group_count + (size_t)1) * sizeof(int64_t));
        if (ranks->potentials[back] == NULL || ranks->weights[back] == NULL) {
            topo_ranks_release(ranks);
            return td_fail_memory(context);
        }
        rank_direction(graph, outputs + back * TOPO_DIRECTION, ranks->potentials[back],
                       ranks->weights[back]);
    }
    return TD_OK;
}

td_status topo_rank(const topo_model *model, const topo_graph *graph, topo_ranks *ranks)
{
    topo_pass pass;
    *ranks = (topo_ranks){.context = graph->core.context};
    TD_TRY(topo_encode(model, &graph->views, graph->features.rows, graph->core.context, &pass));
    const td_status status = topo_ranks_of(graph, pass.outputs, ranks);
    topo_pass_release(&pass);
    return status;
}

td_status topo_rank_trained(const topo_graph *graph, topo_ranks *ranks)
{
    td_context *context = graph->core.context;
    topo_model model;
    *ranks = (topo_ranks){.context = context};
    TD_TRY(topo_model_parse(context, "embedded parameters", topo_parameters, topo_parameters_size,
                            &model));
    const td_status status = topo_rank(&model, graph, ranks);
    topo_model_release(context, &model);
    return status;
}

void topo_slopes_add(const topo_graph *graph, const topo_slopes *slopes, const float *outputs,
                     bool backward, double factor, float *d_outputs)
{
    const sched_core *core = &graph->core;
    const topo_features *features = &graph->features;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        const size_t at = (size_t)u * TOPO_OUTPUTS + (backward ? TOPO_DIRECTION : 0);
        const double slope = factor * slopes->by_unit[u], bent = tanh((double)outputs[at + 2]);
        d_outputs[at] += (float)slope;
        d_outputs[at + 1] += (float)(slope * features->local[u] / features->scale);
        sched_for_each(node, &core->members, u) if (core->own[*node] != SCHED_NONE)
        {
            const uint32_t group = core->own[*node];
            d_outputs[at + 2] +=
                (float)(factor * slopes->by_group[group] * (1 - bent * bent) *
                        fmin(MOST_SIZE, (double)core->size[group] / features->scale));
        }
    }
}

sched_search topo_search(const topo_graph *graph, const topo_ranks *ranks, bool backward,
                         uint32_t width)
{
    return (sched_search){.backward = backward,
                          .width = width,
                          .bound = UINT64_MAX,
                          .floor = graph->floor,
                          .potentials = ranks == NULL ? NULL : ranks->potentials[backward],
                          .weights = ranks == NULL ? NULL : ranks->weights[backward]};
}
