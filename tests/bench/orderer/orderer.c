/* Learned and plain orderers on layered graphs that training never saw -> docs/topoformer.md.
 *
 *     orderer NODES GRAPHS [FIRST_SEED]
 *
 * Prints rows of a table: mean peak above the best known (the least of all that ran on a graph) in
 * percent, and mean processor time. Single-threaded.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/effort.h"
#include "sched/layered.h"
#include "sched/sched.h"
#include "sched/topoformer/parameters.h"
#include "sched/topoformer/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GRAPHS 1000
#define RANDOMS     1000

typedef enum kind {
    LINEAR,        /* the least of XLA's three heuristics */
    RANDOM,        /* the best of 1000 random orders */
    ROW,           /* a row of the table of orderers */
    PLAIN,         /* beams by live memory */
    LEARNED,       /* by learned ranks, nothing else */
    LEARNED_POLICY /* by the learned policy, greedily */
} kind;

typedef enum way { FORWARD, BACKWARD, BOTH } way;

typedef struct row {
    const char *name;
    kind kind;
    way way;
    uint32_t width;
    double excess, seconds;
} row;

static row rows[] = {
    {"least of greedy, dfs, postorder", LINEAR, BOTH, 0, 0, 0},
    {"best of 1000 random", RANDOM, BOTH, 0, 0, 0},
    {"learned, greedy, forward alone", LEARNED_POLICY, FORWARD, 1, 0, 0},
    {"learned, greedy, backward alone", LEARNED_POLICY, BACKWARD, 1, 0, 0},
    {"topoformer", ROW, BOTH, 0, 0, 0},
    {"topoformer:sample=16", ROW, BOTH, 0, 0, 0},
    {"forward beam 64", PLAIN, FORWARD, 64, 0, 0},
    {"forward beam 16, learned", LEARNED, FORWARD, 16, 0, 0},
    {"forward beam 256", PLAIN, FORWARD, 256, 0, 0},
    {"forward beam 64, learned", LEARNED, FORWARD, 64, 0, 0},
    {"forward beam 1024", PLAIN, FORWARD, 1024, 0, 0},
    {"forward beam 256, learned", LEARNED, FORWARD, 256, 0, 0},
    {"backward beam 64", PLAIN, BACKWARD, 64, 0, 0},
    {"backward beam 16, learned", LEARNED, BACKWARD, 16, 0, 0},
    {"backward beam 256", PLAIN, BACKWARD, 256, 0, 0},
    {"backward beam 64, learned", LEARNED, BACKWARD, 64, 0, 0},
    {"backward beam 1024", PLAIN, BACKWARD, 1024, 0, 0},
    {"backward beam 256, learned", LEARNED, BACKWARD, 256, 0, 0},
    {"both beams 64", PLAIN, BOTH, 64, 0, 0},
    {"topoformer:beam=16", ROW, BOTH, 0, 0, 0},
    {"both beams 256", PLAIN, BOTH, 256, 0, 0},
    {"topoformer:beam=64", ROW, BOTH, 0, 0, 0},
    {"both beams 1024", PLAIN, BOTH, 1024, 0, 0},
    {"topoformer:beam=256", ROW, BOTH, 0, 0, 0},
};

#define ROWS TD_COUNT_OF(rows)

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static td_status run_named(const sched_problem *problem, const char *name, uint64_t seed,
                           uint32_t *order, uint64_t *least)
{
    sched_report report;
    const sched_options options = {.seed = seed};
    TD_TRY(sched_order(problem, name, &options, order, &report));
    *least = lesser(*least, report.peak);
    return TD_OK;
}

/* Beams and the policy, with all that they need: reduction, views, features, encoder. */
static td_status run_search(const sched_problem *problem, const row *self, uint32_t *order,
                            uint64_t *least)
{
    topo_graph graph;
    topo_model model;
    topo_ranks ranks = {.context = problem->context};
    TD_TRY(topo_graph_make(problem, TOPO_QUICK_WIDTH, &graph));
    td_status status = topo_model_parse(problem->context, "embedded parameters", topo_parameters,
                                        topo_parameters_size, &model);
    if (status == TD_OK) {
        status = topo_rank(&model, &graph, &ranks);
        topo_model_release(problem->context, &model);
    }
    for (int back = 0; back < 2 && status == TD_OK; back++) {
        if (self->way != BOTH && self->way != (back ? BACKWARD : FORWARD))
            continue;
        const topo_policy policy = {.graph = &graph, .ranks = &ranks, .backward = back != 0};
        const sched_search search = topo_search(&graph, &ranks, back != 0, self->width);
        sched_effort effort = {.work = UINT64_MAX};
        sched_outcome outcome;
        uint64_t peak = UINT64_MAX;
        if (self->kind == LEARNED_POLICY) {
            status = topo_policy_draw(&policy, NULL, order, &peak);
        } else {
            status = sched_search_run(&graph.core, &search, &effort, order, &outcome);
            peak = outcome.peak;
        }
        *least = lesser(*least, peak);
    }
    topo_ranks_release(&ranks);
    topo_graph_release(&graph);
    return status;
}

static td_status run_row(const sched_problem *problem, const row *self, uint32_t *order,
                         uint64_t *least)
{
    static const char *const linear[] = {"greedy", "dfs", "postorder"};
    char name[32];
    *least = UINT64_MAX;
    switch (self->kind) {
    case LINEAR:
        for (size_t l = 0; l < TD_COUNT_OF(linear); l++)
            TD_TRY(run_named(problem, linear[l], 0, order, least));
        return TD_OK;
    case RANDOM:
        for (uint64_t seed = 1; seed <= RANDOMS; seed++)
            TD_TRY(run_named(problem, "random", seed, order, least));
        return TD_OK;
    case ROW:
        return run_named(problem, self->name, 1, order, least);
    case PLAIN:
        for (int back = 0; back < 2; back++) {
            if (self->way != BOTH && self->way != (back ? BACKWARD : FORWARD))
                continue;
            snprintf(name, sizeof name, "%s:%u", back ? "beam-backward" : "beam", self->width);
            TD_TRY(run_named(problem, name, 0, order, least));
        }
        return TD_OK;
    case LEARNED:
    case LEARNED_POLICY:
        return run_search(problem, self, order, least);
    }
    return TD_INTERNAL;
}

static td_status run_graph(td_context *context, uint32_t nodes, uint64_t seed, uint32_t graphs)
{
    sched_layered layered;
    sched_problem problem;
    uint64_t peaks[ROWS], best = UINT64_MAX;
    uint32_t *order = td_allocate(context, nodes * sizeof *order);
    TD_TRY(sched_layered_make(context, nodes, seed, &layered));
    TD_TRY(sched_layered_problem(context, &layered, &problem));
    for (size_t r = 0; r < ROWS; r++) {
        const double start = processor_seconds();
        TD_TRY(run_row(&problem, &rows[r], order, &peaks[r]));
        rows[r].seconds += (processor_seconds() - start) / graphs;
        best = lesser(best, peaks[r]);
    }
    for (size_t r = 0; r < ROWS; r++)
        rows[r].excess += 100 * ((double)peaks[r] / (double)best - 1) / graphs;
    td_release(context, order);
    sched_problem_release(&problem);
    sched_layered_release(context, &layered);
    return TD_OK;
}

int main(int argc, char **argv)
{
    td_context context;
    td_context_init(&context);
    if (argc < 3 || atoi(argv[1]) < 2 || atoi(argv[2]) < 1 || atoi(argv[2]) > MOST_GRAPHS) {
        fprintf(stderr, "usage: orderer NODES GRAPHS [FIRST_SEED]\n");
        return 2;
    }
    const uint32_t nodes = (uint32_t)atoi(argv[1]), graphs = (uint32_t)atoi(argv[2]);
    const uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000;
    for (uint32_t g = 0; g < graphs; g++)
        if (run_graph(&context, nodes, first + g, graphs) != TD_OK) {
            fprintf(stderr, "orderer: %s\n", context.message);
            return 1;
        }
    printf("layered, %u nodes, %u graphs\n\n", nodes, graphs);
    printf("| orderer | %% above best known | seconds |\n|---|---|---|\n");
    for (size_t r = 0; r < ROWS; r++)
        printf("| %s | %.2f | %.3f |\n", rows[r].name, rows[r].excess, rows[r].seconds);
    return 0;
}
