/* tandem schedule: the order of least memory for a graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/arena_file.h"
#include "cli/graph_file.h"
#include "cli/search_options.h"

#include "base/clock.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct schedule_options {
    const char *path, *orderer, *order_in, *order_out, *arena_out, *output;
    sched_options search;
    bool compare, json;
    FILE *out; /* where tables go */
} schedule_options;

enum { KEY_ORDERER = 0x2000, KEY_ORDER, KEY_ORDER_OUT, KEY_ARENA_OUT, KEY_COMPARE, KEY_JSON };

static const struct argp_option options_table[] = {
    {"orderer", KEY_ORDERER, "NAME", 0, "auto (default); --compare lists all; beam:64 sets a width",
     0},
    {"order", KEY_ORDER, "FILE", 0, "score the order in this file instead, one node id per line",
     0},
    {"order-out", KEY_ORDER_OUT, "FILE", 0, "write the order, one node id per line", 0},
    {"arena-out", KEY_ARENA_OUT, "FILE.csv", 0,
     "write the buffers of the order and their lifetimes, for tandem arena", 0},
    {"output", 'o', "FILE", 0,
     "write the GraphML or the OpenVINO IR again, its nodes or layers in the new order", 0},
    {"compare", KEY_COMPARE, NULL, 0, "run every orderer", 0},
    {"json", KEY_JSON, NULL, 0, "print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    schedule_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->search;
        return 0;
    case KEY_ORDERER:
        options->orderer = argument;
        return 0;
    case KEY_ORDER:
        options->order_in = argument;
        return 0;
    case KEY_ORDER_OUT:
        options->order_out = argument;
        return 0;
    case KEY_ARENA_OUT:
        options->arena_out = argument;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case KEY_COMPARE:
        options->compare = true;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        cli_take_argument(state, "graph", argument, &options->path);
        return 0;
    case ARGP_KEY_END:
        if (options->path == NULL)
            cli_usage_error(state, "a graph is missing: a .graphml file or a model");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_search_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    "GRAPH",
    "Orders a graph such that the memory alive at once is least, and says how far from the least "
    "it may be."
    "\vexamples:\n"
    "  tandem schedule training.graphml --time-limit 60 --order-out order.txt\n"
    "  tandem schedule training.graphml --compare\n"
    "  tandem schedule model.xml -o reordered.xml\n",
    children,
    NULL,
    NULL};

/* --- one row --- */

static void print_row(const schedule_options *options, const char *name, const sched_report *report,
                      double seconds, bool first)
{
    const bool optimal = report->peak == report->lower_bound;
    if (options->json) {
        fprintf(options->out,
                "%s\n    {\"orderer\": \"%s\", \"chosen\": \"%s\", \"peak\": %" PRIu64
                ", \"lower_bound\": %" PRIu64 ", \"gap_percent\": %.4f, \"optimal\": %s, "
                "\"seconds\": %.3f, \"units\": %u, \"parts\": %u}",
                first ? "" : ",", name, report->chosen, report->peak, report->lower_bound,
                sched_gap_percent(report->peak, report->lower_bound), optimal ? "true" : "false",
                seconds, report->units, report->parts);
        return;
    }
    fprintf(options->out, "  %-14s %18" PRIu64 " %18" PRIu64 " %8.2f %% %8.2f s  %s%s%s\n", name,
            report->peak, report->lower_bound, sched_gap_percent(report->peak, report->lower_bound),
            seconds, optimal ? "optimal" : "",
            strcmp(report->chosen, name) == 0 ? ""
            : optimal                         ? ", by "
                                              : "by ",
            strcmp(report->chosen, name) == 0 ? "" : report->chosen);
    fflush(options->out);
}

static td_status score_given(td_context *context, const schedule_options *options,
                             const sched_problem *problem, uint32_t *order)
{
    sched_report report = {.chosen = "given"};
    TD_TRY(cli_read_order(context, options->order_in, problem, order));
    const td_status status = sched_evaluate(problem, order, &report.peak);
    if (status != TD_OK)
        return td_fail_within(context, status, "%s", options->order_in);
    report.lower_bound = sched_lower_bound(problem);
    TD_TRY(sched_cut_bound(problem, order, &report.lower_bound));
    print_row(options, "given", &report, 0, true);
    return TD_OK;
}

static td_status run_row(const schedule_options *options, const sched_problem *problem,
                         const char *name, bool first, uint32_t *order)
{
    sched_report report;
    const double start = td_seconds();
    TD_TRY(sched_order(problem, name, &options->search, order, &report));
    const double seconds = td_seconds() - start;
    if (report.lower_bound < report.peak)
        TD_TRY(sched_cut_bound(problem, order, &report.lower_bound));
    print_row(options, name, &report, seconds, first);
    return TD_OK;
}

/* Every row; a file whose order is not topological has no row "file". */
static td_status compare_rows(const schedule_options *options, const sched_problem *problem,
                              uint32_t *order)
{
    bool first = true;
    for (const sched_orderer *row = sched_orderers; row->name != NULL; row++) {
        const td_status status = run_row(options, problem, row->name, first, order);
        if (status == TD_INVALID && strcmp(row->name, "file") == 0)
            continue;
        TD_TRY(status);
        first = false;
    }
    return TD_OK;
}

static void print_heading(const schedule_options *options, const cli_graph *graph, bool first)
{
    const sched_problem *problem = &graph->problem;
    if (options->json) {
        fprintf(options->out, "%s{\"graph\": \"%s\", \"nodes\": %u, \"edges\": %u, \"results\": [",
                first ? "[" : ",\n ", graph->name, problem->node_count, problem->input_count);
        return;
    }
    fprintf(options->out, "%s (%s): %u nodes, %u edges\n", options->path, graph->name,
            problem->node_count, problem->input_count);
    fprintf(options->out, "  %-14s %18s %18s %10s %10s\n", "orderer", "peak bytes", "lower bound",
            "gap", "time");
}

/* The file in the new order. Of a model it is the first graph, its forward pass, that has layers.
 */
static td_status write_again(td_context *context, const schedule_options *options,
                             const cli_graph_file *file, size_t index, const uint32_t *order)
{
    const sched_problem *problem = &file->graphs[index].problem;
    if (file->is_graphml)
        return fe_write_graphml(&file->tasks, order, options->output);
    if (index > 0)
        return TD_OK;
    const char **names = td_allocate(context, (problem->node_count + (size_t)1) * sizeof *names);
    if (names == NULL)
        return td_fail_memory(context);
    for (uint32_t step = 0; step < problem->node_count; step++)
        names[step] = problem->nodes[order[step]].name;
    const td_status status =
        fe_reorder_openvino(context, options->path, names, problem->node_count, options->output);
    td_release(context, names);
    return status;
}

static td_status schedule_graph(td_context *context, const schedule_options *options,
                                const cli_graph_file *file, size_t index)
{
    const cli_graph *graph = &file->graphs[index];
    uint32_t *order = td_allocate(context, (graph->problem.node_count + (size_t)1) * sizeof *order);
    if (order == NULL)
        return td_fail_memory(context);
    print_heading(options, graph, index == 0);
    td_status status;
    if (options->order_in != NULL)
        status = score_given(context, options, &graph->problem, order);
    else if (options->compare)
        status = compare_rows(options, &graph->problem, order);
    else
        status = run_row(options, &graph->problem, options->orderer, true, order);
    if (options->json)
        fprintf(options->out, "]}%s", index + 1 == file->graph_count ? "]\n" : "");
    if (status == TD_OK && options->order_out != NULL)
        status = cli_write_order(context, options->order_out, &graph->problem, order);
    if (status == TD_OK && options->arena_out != NULL)
        status = cli_write_buffers(context, options->arena_out, &graph->problem, order);
    if (status == TD_OK && options->output != NULL)
        status = write_again(context, options, file, index, order);
    td_release(context, order);
    return status;
}

static bool same_path(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* A graph may be written again over itself, and nothing else over what is read or written. */
static td_status check_inputs(td_context *context, const schedule_options *options)
{
    const char *outputs[] = {options->order_out, options->arena_out, options->output};
    const bool again = same_path(options->path, options->output);
    for (size_t i = 0; i < TD_COUNT_OF(outputs); i++) {
        if (outputs[i] != options->output || !again)
            TD_TRY(cli_keep_input(context, options->path, outputs[i]));
        TD_TRY(cli_keep_input(context, options->order_in, outputs[i]));
        if (same_path(outputs[i], outputs[(i + 1) % TD_COUNT_OF(outputs)]))
            return td_fail(context, TD_USAGE, "%s: two outputs have this name", outputs[i]);
    }
    return TD_OK;
}

/* Whether the options go together with what the file holds, and outputs can be written: searching
 * takes long. */
static td_status check_options(td_context *context, const schedule_options *options,
                               const cli_graph_file *file)
{
    const bool one_only =
        options->order_in != NULL || options->order_out != NULL || options->arena_out != NULL;
    if (options->output != NULL && !file->is_graphml && !cli_is_openvino(options->path))
        return td_fail(context, TD_USAGE,
                       "-o: only GraphML and OpenVINO IR (.xml) can be written in a new order");
    if (one_only && file->graph_count != 1)
        return td_fail(context, TD_USAGE,
                       "%s: it has %zu graphs; orders are read and written for files of one",
                       options->path, file->graph_count);
    TD_TRY(check_inputs(context, options));
    TD_TRY(td_output_check(context, options->order_out));
    TD_TRY(td_output_check(context, options->arena_out));
    return td_output_check(context, options->output);
}

static td_status schedule(td_context *context, const schedule_options *options)
{
    cli_graph_file file;
    TD_TRY(cli_read_graphs(context, options->path, &file));
    td_status status = check_options(context, options, &file);
    for (size_t g = 0; status == TD_OK && g < file.graph_count; g++)
        status = schedule_graph(context, options, &file, g);
    cli_graph_file_release(&file);
    return status;
}

/* JSON is printed when it is complete. */
static td_status schedule_to_json(td_context *context, schedule_options *options)
{
    char *text = NULL;
    size_t size = 0;
    options->out = open_memstream(&text, &size);
    if (options->out == NULL)
        return td_fail_memory(context);
    td_status status = schedule(context, options);
    const bool complete = fclose(options->out) == 0;
    if (status == TD_OK && !complete)
        status = td_fail_memory(context);
    if (status == TD_OK)
        fwrite(text, 1, size, stdout);
    free(text);
    return status;
}

int cli_schedule(int argc, char **argv)
{
    schedule_options options = {
        .orderer = "auto", .search = {.time_limit = CLI_USUAL_SECONDS}, .out = stdout};
    td_context context;
    cli_parse(&argp, argc, argv, &options);
    td_context_init(&context);
    return cli_exit_status(&context, options.json ? schedule_to_json(&context, &options)
                                                  : schedule(&context, &options));
}
