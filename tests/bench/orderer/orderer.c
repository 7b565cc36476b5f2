/* Learned and plain orderers on one graph after the other -> tests/bench/orderer.sh.
 *
 *     tandem_bench_orderer WIDEST GRAPH..
 *
 * A GRAPH is layered:NODES:SEED or a GraphML file; plain beams are at most WIDEST wide, learned
 * ones a quarter of that. Prints a line "GRAPH|ORDERER|PEAK|SECONDS" for each: processor time on
 * one core with all that the orderer needs, from a problem to an order.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/graph_file.h"
#include "sched/layered.h"
#include "sched/reduce.h"
#include "sched/topoformer/policy.h"
#include "sched/topoformer/rung.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RANDOMS 1000
#define WIDER   4    /* plain beams than the learned ones that they are compared with */
#define WIDEST  1024 /* the plain beams whose time `auto` is given */

typedef enum kind {
    NAMED,          /* a row of the table of orderers */
    LINEAR,         /* the least of XLA's three heuristics */
    RANDOM,         /* the best of RANDOMS random orders */
    LEARNED_POLICY, /* by the learned policy, greedily, in one direction alone */
    PLAIN,          /* one beam of one direction */
    PLAIN_LADDER,   /* the same as the last rung of a ladder */
    LEARNED,        /* a ladder by learned ranks, of one direction alone */
    BOTH,           /* the rows PLAIN of its width */
    AUTO,           /* in as much time as both plain beams of WIDEST take */
    AUTO_UNLEARNED
} kind;

typedef struct row {
    const char *name;
    kind kind;
    bool backward;
    uint32_t width;
} row;

static const row rows[] = {
    {"random", NAMED, false, 0},
    {"bfs", NAMED, false, 0},
    {"dfs", NAMED, false, 0},
    {"greedy", NAMED, false, 0},
    {"postorder", NAMED, false, 0},
    {"liu", NAMED, false, 0},
    {"least of greedy, dfs, postorder", LINEAR, false, 0},
    {"best of 1000 random", RANDOM, false, 0},
    {"learned, greedy, forward alone", LEARNED_POLICY, false, 1},
    {"learned, greedy, backward alone", LEARNED_POLICY, true, 1},
    {"topoformer", NAMED, false, 0},
    {"topoformer:sample=16", NAMED, false, 0},
    {"beam:64", PLAIN, false, 64},
    {"beam:64, ladder", PLAIN_LADDER, false, 64},
    {"learned, forward, 16", LEARNED, false, 16},
    {"beam:256", PLAIN, false, 256},
    {"beam:256, ladder", PLAIN_LADDER, false, 256},
    {"learned, forward, 64", LEARNED, false, 64},
    {"beam:1024", PLAIN, false, 1024},
    {"beam:1024, ladder", PLAIN_LADDER, false, 1024},
    {"learned, forward, 256", LEARNED, false, 256},
    {"beam-backward:64", PLAIN, true, 64},
    {"beam-backward:64, ladder", PLAIN_LADDER, true, 64},
    {"learned, backward, 16", LEARNED, true, 16},
    {"beam-backward:256", PLAIN, true, 256},
    {"beam-backward:256, ladder", PLAIN_LADDER, true, 256},
    {"learned, backward, 64", LEARNED, true, 64},
    {"beam-backward:1024", PLAIN, true, 1024},
    {"beam-backward:1024, ladder", PLAIN_LADDER, true, 1024},
    {"learned, backward, 256", LEARNED, true, 256},
    {"both beams 64", BOTH, false, 64},
    {"topoformer:beam=16", NAMED, false, 16},
    {"both beams 256", BOTH, false, 256},
    {"topoformer:beam=64", NAMED, false, 64},
    {"both beams 1024", BOTH, false, 1024},
    {"topoformer:beam=256", NAMED, false, 256},
    {"auto without learned ranks", AUTO_UNLEARNED, false, 1024},
    {"auto", AUTO, false, 1024},
};

#define ROWS TD_COUNT_OF(rows)

/* What the rows gave on a graph. */
typedef struct result {
    uint64_t peak;
    double seconds;
} result;

typedef struct bench {
    const sched_problem *problem;
    uint32_t *order; /* room */
    uint32_t widest;
    result results[ROWS];
} bench;

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static td_status run_named(const bench *b, const char *name, const sched_options *options,
                           uint64_t *least)
{
    sched_report report;
    TD_TRY(sched_order(b->problem, name, options, b->order, &report));
    *least = report.peak < *least ? report.peak : *least;
    return TD_OK;
}

static td_status run_several(const bench *b, const row *self, uint64_t *least)
{
    static const char *const linear[] = {"greedy", "dfs", "postorder"};
    for (size_t l = 0; self->kind == LINEAR && l < TD_COUNT_OF(linear); l++)
        TD_TRY(run_named(b, linear[l], NULL, least));
    for (uint64_t seed = 1; self->kind == RANDOM && seed <= RANDOMS; seed++)
        TD_TRY(run_named(b, "random", &(sched_options){.seed = seed}, least));
    return TD_OK;
}

/* A ladder of one direction from nothing; ranks may be NULL. */
static td_status climb(const bench *b, const row *self, const sched_core *core,
                       const topo_ranks *ranks, uint64_t *least)
{
    sched_improved best = {core, b->order, UINT64_MAX, sched_lower_bound(b->problem), false};
    const topo_rung last = {.ranks = ranks, .backward = self->backward, .width = self->width};
    sched_effort effort = {.work = UINT64_MAX};
    TD_TRY(topo_ladder_run(&best, &last, &effort));
    *least = best.peak;
    return TD_OK;
}

static td_status run_plain_ladder(const bench *b, const row *self, uint64_t *least)
{
    sched_core core;
    TD_TRY(sched_core_make(b->problem, &core));
    td_status status = sched_reduce(&core);
    if (status == TD_OK)
        status = climb(b, self, &core, NULL, least);
    sched_core_release(&core);
    return status;
}

static td_status run_learned(const bench *b, const row *self, uint64_t *least)
{
    topo_graph graph;
    topo_ranks ranks;
    TD_TRY(topo_graph_make(b->problem, &graph));
    td_status status = topo_rank_trained(&graph, &ranks);
    const topo_policy policy = {.graph = &graph, .ranks = &ranks, .backward = self->backward};
    if (status == TD_OK && self->kind == LEARNED_POLICY)
        status = topo_policy_draw(&policy, NULL, b->order, least);
    else if (status == TD_OK)
        status = climb(b, self, &graph.core, &ranks, least);
    topo_ranks_release(&ranks);
    topo_graph_release(&graph);
    return status;
}

/* The two single beams of a width: peak and time of both. */
static result add_up(const bench *b, uint32_t width)
{
    result sum = {UINT64_MAX, 0};
    for (size_t r = 0; r < ROWS; r++) {
        if (rows[r].kind != PLAIN || rows[r].width != width)
            continue;
        sum.peak = b->results[r].peak < sum.peak ? b->results[r].peak : sum.peak;
        sum.seconds += b->results[r].seconds;
    }
    return sum;
}

static td_status run_row(const bench *b, const row *self, uint64_t *least)
{
    sched_options options = {.seed = 1, .unlearned = self->kind == AUTO_UNLEARNED};
    switch (self->kind) {
    case LINEAR:
    case RANDOM:
        return run_several(b, self, least);
    case PLAIN_LADDER:
        return run_plain_ladder(b, self, least);
    case LEARNED_POLICY:
    case LEARNED:
        return run_learned(b, self, least);
    case PLAIN:
        return run_named(b, self->name, NULL, least);
    case AUTO:
    case AUTO_UNLEARNED:
        options.time_limit = add_up(b, WIDEST).seconds;
        return run_named(b, "auto", &options, least);
    case NAMED:
    case BOTH:
        break;
    }
    return run_named(b, self->name, &options, least);
}

static bool is_left_out(const bench *b, const row *self)
{
    const bool learned = self->kind == LEARNED || self->kind == NAMED;
    return self->width * (learned ? WIDER : 1) > b->widest;
}

static td_status run_rows(bench *b, const char *graph)
{
    for (size_t r = 0; r < ROWS; r++) {
        result *own = &b->results[r];
        if (is_left_out(b, &rows[r]))
            continue;
        const double start = processor_seconds();
        *own = (result){UINT64_MAX, 0};
        if (rows[r].kind == BOTH) {
            *own = add_up(b, rows[r].width);
        } else {
            TD_TRY(run_row(b, &rows[r], &own->peak));
            own->seconds = processor_seconds() - start;
        }
        printf("%s|%s|%" PRIu64 "|%.4f\n", graph, rows[r].name, own->peak, own->seconds);
        fflush(stdout);
    }
    return TD_OK;
}

static td_status measure(const sched_problem *problem, uint32_t widest, const char *graph)
{
    bench b = {.problem = problem, .widest = widest};
    b.order = td_allocate(problem->context, (problem->node_count + (size_t)1) * sizeof *b.order);
    const td_status status =
        b.order == NULL ? td_fail_memory(problem->context) : run_rows(&b, graph);
    td_release(problem->context, b.order);
    return status;
}

static td_status measure_layered(td_context *context, uint32_t widest, const char *graph)
{
    uint32_t nodes;
    uint64_t seed;
    sched_layered layered;
    sched_problem problem;
    if (sscanf(graph, "layered:%" SCNu32 ":%" SCNu64, &nodes, &seed) != 2)
        return td_fail(context, TD_USAGE, "%s: expected layered:NODES:SEED", graph);
    TD_TRY(sched_layered_make(context, nodes, seed, &layered));
    td_status status = sched_layered_problem(context, &layered, &problem);
    if (status == TD_OK) {
        status = measure(&problem, widest, graph);
        sched_problem_release(&problem);
    }
    sched_layered_release(context, &layered);
    return status;
}

static td_status measure_file(td_context *context, uint32_t widest, const char *path)
{
    cli_graph_file file;
    TD_TRY(cli_read_graphs(context, path, &file));
    td_status status = TD_OK;
    for (size_t g = 0; g < file.graph_count && status == TD_OK; g++)
        status = measure(&file.graphs[g].problem, widest, path);
    cli_graph_file_release(&file);
    return status;
}

int main(int argc, char **argv)
{
    td_context context;
    td_context_init(&context);
    if (argc < 3 || atoi(argv[1]) < 1) {
        fprintf(stderr, "usage: tandem_bench_orderer WIDEST GRAPH..\n");
        return 2;
    }
    const uint32_t widest = (uint32_t)atoi(argv[1]);
    for (int a = 2; a < argc; a++) {
        const bool layered = strncmp(argv[a], "layered:", 8) == 0;
        const td_status status = layered ? measure_layered(&context, widest, argv[a])
                                         : measure_file(&context, widest, argv[a]);
        if (status != TD_OK)
            return cli_exit_status(&context, status);
    }
    return 0;
}
