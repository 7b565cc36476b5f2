/* Improving an order of units by beams over all of them, plain and by learned ranks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/climb.h"

#include "sched/topoformer/rung.h"

/* What encoding takes for each pair of units, in steps of the searches. */
#define STEPS_PER_PAIR 2

/* The wider ones have more room for what the narrower ones found. */
static const struct beam {
    const char *name;
    bool backward, learned;
    uint32_t narrower; /* the width is divided by this */
} beams[] = {
    {"topoformer", true, true, 16},    {"topoformer", false, true, 16},
    {"topoformer", true, true, 4},     {"topoformer", false, true, 4},
    {"beam-backward", true, false, 1}, {"beam", false, false, 4},
};

/* --- ranks of a part --- */

static void take_direction(const sched_core *whole, const sched_core *part, const uint32_t *units,
                           const topo_ranks *from, int direction, topo_ranks *to)
{
    for (uint32_t u = 0; u < part->unit_count; u++)
        to->potentials[direction][u] = from->potentials[direction][units[u]];
    for (uint32_t n = 0; n < part->count; n++)
        if (part->own[n] != SCHED_NONE && whole->own[part->origin[n]] != SCHED_NONE)
            to->weights[direction][part->own[n]] =
                from->weights[direction][whole->own[part->origin[n]]];
}

static td_status take_ranks(const sched_core *whole, const sched_core *part, const uint32_t *units,
                            const topo_ranks *from, topo_ranks *to)
{
    td_context *context = part->context;
    *to = (topo_ranks){.context = context};
    for (int back = 0; back < 2; back++) {
        to->potentials[back] =
            td_allocate(context, (part->unit_count + (size_t)1) * sizeof(int64_t));
        to->weights[back] = td_allocate(context, (part->group_count + (size_t)1) * sizeof(int64_t));
        if (to->potentials[back] == NULL || to->weights[back] == NULL) {
            topo_ranks_release(to);
            return td_fail_memory(context);
        }
        take_direction(whole, part, units, from, back, to);
    }
    return TD_OK;
}

td_status sched_learn_ranks(const sched_problem *problem, const sched_core *whole,
                            const sched_core *part, const uint32_t *units, sched_effort *effort,
                            topo_ranks *ranks)
{
    *ranks = (topo_ranks){.context = problem->context};
    const uint64_t pairs = (uint64_t)whole->unit_count * whole->unit_count;
    if (whole->unit_count > TOPO_MOST_UNITS || sched_spend(effort, pairs * STEPS_PER_PAIR))
        return TD_OK;
    topo_graph graph;
    topo_ranks all;
    TD_TRY(topo_graph_make(problem, &graph));
    td_status status = topo_rank_trained(&graph, &all);
    if (status == TD_OK) {
        status = take_ranks(&graph.core, part, units, &all, ranks);
        topo_ranks_release(&all);
    }
    topo_graph_release(&graph);
    return status;
}

/* --- beams --- */

td_status sched_climb(sched_improved *self, const topo_ranks *ranks, uint32_t width, uint64_t seed,
                      sched_effort *effort, const char **chosen)
{
    const bool learned = ranks != NULL;
    for (size_t b = 0; b < TD_COUNT_OF(beams); b++) {
        bool found;
        if (beams[b].learned != learned || (learned && ranks->potentials[0] == NULL))
            continue;
        if (effort->spent || self->peak <= self->bound)
            return TD_OK;
        const topo_rung rung = {.ranks = ranks,
                                .backward = beams[b].backward,
                                .width = width / beams[b].narrower,
                                .seed = seed};
        TD_TRY(topo_rung_run(self, &rung, effort, &found));
        if (found)
            *chosen = beams[b].name;
    }
    return TD_OK;
}
