/* The peak of a graph under a textbook orderer, by the common evaluator -> tests/bench/ordering.sh.
 *
 *     tandem_bench_ordering GRAPH.graphml NAME[:WIDTH]..
 *
 * Prints a line "peak seconds" for each name. Single-threaded.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include "frontend/graphml.h"
#include "tests/bench/ordering/textbook.h"

#include <inttypes.h>
#include <stdio.h>

static td_status make_problem(const fe_task_graph *graph, sched_problem *problem)
{
    td_context *context = graph->context;
    sched_node *nodes = td_allocate(context, (graph->task_count + (size_t)1) * sizeof *nodes);
    sched_edge *edges = td_allocate(context, (graph->edge_count + (size_t)1) * sizeof *edges);
    td_status status = nodes == NULL || edges == NULL ? td_fail_memory(context) : TD_OK;
    for (uint32_t i = 0; status == TD_OK && i < graph->task_count; i++)
        nodes[i] = (sched_node){.name = graph->tasks[i].id,
                                .bytes = graph->tasks[i].bytes,
                                .workspace = graph->tasks[i].workspace,
                                .persistent = graph->tasks[i].persistent,
                                .in_place = graph->tasks[i].in_place,
                                .view_of = -1};
    for (uint32_t e = 0; status == TD_OK && e < graph->edge_count; e++)
        edges[e] = (sched_edge){graph->edges[e].from, graph->edges[e].to};
    if (status == TD_OK)
        status = sched_problem_from_edges(context, nodes, graph->task_count, edges,
                                          graph->edge_count, problem);
    td_release(context, nodes);
    td_release(context, edges);
    return status;
}

/* A file whose order is not topological has no line "file". */
static td_status measure(const sched_problem *problem, const char *name)
{
    uint32_t width;
    uint64_t peak;
    const textbook_orderer *row = textbook_find(name, &width);
    if (row == NULL)
        return td_fail(problem->context, TD_USAGE, "%s: there is no such orderer", name);
    uint32_t *order =
        td_allocate(problem->context, (problem->node_count + (size_t)1) * sizeof *order);
    if (order == NULL)
        return td_fail_memory(problem->context);
    const double start = td_seconds();
    td_status status = row->order(problem, row, width, order);
    const double seconds = td_seconds() - start;
    if (status == TD_OK)
        status = sched_evaluate(problem, order, &peak);
    if (status == TD_OK)
        printf("%" PRIu64 " %.3f\n", peak, seconds);
    td_release(problem->context, order);
    return status == TD_INVALID && row == textbook_orderers ? TD_OK : status;
}

int main(int argc, char **argv)
{
    td_context context;
    fe_task_graph graph;
    sched_problem problem = {0};
    td_context_init(&context);
    if (argc < 3) {
        fprintf(stderr, "usage: %s GRAPH.graphml NAME[:WIDTH]..\n", argv[0]);
        return 2;
    }
    td_status status = fe_read_graphml(&context, argv[1], &graph);
    if (status == TD_OK) {
        status = make_problem(&graph, &problem);
        for (int i = 2; i < argc && status == TD_OK; i++)
            status = measure(&problem, argv[i]);
        if (problem.context != NULL)
            sched_problem_release(&problem);
        fe_task_graph_release(&graph);
    }
    if (status != TD_OK)
        fprintf(stderr, "%s: %s\n", argv[1], context.message);
    return status == TD_OK ? 0 : 1;
}
