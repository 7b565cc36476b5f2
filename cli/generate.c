/* tandem generate: random graphs to order.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "frontend/graphml.h"
#include "sched/layered.h"

#include <stdio.h>
#include <string.h>

typedef struct generate_options {
    const char *kind, *output;
    uint32_t nodes;
    uint64_t seed;
} generate_options;

enum { KEY_NODES = 0x2000, KEY_SEED };

static const struct argp_option options_table[] = {
    {"nodes", KEY_NODES, "N", 0, "how many nodes, 1 to 100000 (default 500)", 0},
    {"seed", KEY_SEED, "N", 0, "equal seeds give equal graphs (default 1)", 0},
    {"output", 'o', "FILE.graphml", 0, "where to write it", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    generate_options *options = state->input;
    switch (key) {
    case KEY_NODES:
        options->nodes = (uint32_t)cli_parse_count(state, "--nodes", argument, 100000);
        return 0;
    case KEY_SEED:
        options->seed = cli_parse_number(state, "--seed", argument, UINT64_MAX);
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (options->kind != NULL || strcmp(argument, "layered") != 0)
            cli_usage_error(state, "%s: expected one kind of graph: layered", argument);
        options->kind = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->kind == NULL)
            cli_usage_error(state, "a kind of graph is missing: layered");
        if (options->output == NULL)
            cli_usage_error(state, "-o FILE.graphml is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options_table,
    parse,
    "layered",
    "Writes a random layered graph (arXiv:2207.05899, appendix A) as GraphML."
    "\vexample:\n"
    "  tandem generate layered --nodes 500 --seed 1 -o layered.graphml\n",
    NULL,
    NULL,
    NULL};

static td_status write_layered(td_context *context, const generate_options *options,
                               const sched_layered *layered)
{
    fe_task_graph graph = {
        .context = context, .task_count = layered->node_count, .edge_count = layered->edge_count};
    td_arena_init(&graph.arena, context);
    graph.tasks = td_allocate(context, (graph.task_count + (size_t)1) * sizeof *graph.tasks);
    graph.edges = td_allocate(context, (graph.edge_count + (size_t)1) * sizeof *graph.edges);
    td_status status = graph.tasks == NULL || graph.edges == NULL ? td_fail_memory(context) : TD_OK;
    for (uint32_t i = 0; status == TD_OK && i < graph.task_count; i++) {
        graph.tasks[i] = (fe_task){.id = td_arena_format(&graph.arena, "n%u", i),
                                   .op = "layered",
                                   .bytes = layered->bytes[i],
                                   .persistent = true};
        if (graph.tasks[i].id == NULL)
            status = td_fail_memory(context);
    }
    for (uint32_t e = 0; status == TD_OK && e < graph.edge_count; e++) {
        graph.edges[e] = (fe_task_edge){layered->edges[e].from, layered->edges[e].to};
        graph.tasks[layered->edges[e].from].persistent = false;
    }
    if (status == TD_OK)
        status = fe_write_graphml(&graph, NULL, options->output);
    fe_task_graph_release(&graph);
    return status;
}

static td_status generate(td_context *context, const generate_options *options)
{
    sched_layered layered;
    TD_TRY(sched_layered_make(context, options->nodes, options->seed, &layered));
    const td_status status = write_layered(context, options, &layered);
    sched_layered_release(context, &layered);
    return status;
}

int cli_generate(int argc, char **argv)
{
    generate_options options = {.nodes = 500, .seed = 1, .output = NULL};
    td_context context;
    cli_parse(&argp, argc, argv, &options);
    td_context_init(&context);
    return cli_exit_status(&context, generate(&context, &options));
}
