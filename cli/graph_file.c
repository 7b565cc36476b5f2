/* Graphs for the verbs that order.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/graph_file.h"

#include "base/file.h"

#include <string.h>
#include <strings.h>

static bool has_suffix(const char *path, const char *suffix)
{
    const size_t length = strlen(path), wanted = strlen(suffix);
    return length > wanted && strcasecmp(path + length - wanted, suffix) == 0;
}

bool cli_is_openvino(const char *path)
{
    return has_suffix(path, ".xml");
}

void cli_graph_file_release(cli_graph_file *file)
{
    td_context *context = file->context;
    for (size_t g = 0; file->graphs != NULL && g < file->graph_count; g++)
        sched_problem_release(&file->graphs[g].problem);
    td_release(context, file->graphs);
    fe_task_graph_release(&file->tasks);
    ir_module_release(file->model.module);
    memset(file, 0, sizeof *file);
}

static td_status problem_of_tasks(const char *path, cli_graph_file *file)
{
    td_context *context = file->context;
    const fe_task_graph *tasks = &file->tasks;
    sched_node *nodes = td_allocate(context, (tasks->task_count + (size_t)1) * sizeof *nodes);
    sched_edge *edges = td_allocate(context, (tasks->edge_count + (size_t)1) * sizeof *edges);
    td_status status = nodes == NULL || edges == NULL ? td_fail_memory(context) : TD_OK;
    for (uint32_t i = 0; status == TD_OK && i < tasks->task_count; i++)
        nodes[i] = (sched_node){.name = tasks->tasks[i].id,
                                .bytes = tasks->tasks[i].bytes,
                                .workspace = tasks->tasks[i].workspace,
                                .persistent = tasks->tasks[i].persistent,
                                .in_place = tasks->tasks[i].in_place,
                                .view_of = -1};
    for (uint32_t e = 0; status == TD_OK && e < tasks->edge_count; e++)
        edges[e] = (sched_edge){tasks->edges[e].from, tasks->edges[e].to};
    file->graphs[0].name = "graph";
    file->graph_count = 1;
    if (status == TD_OK)
        status = sched_problem_from_edges(context, nodes, tasks->task_count, edges,
                                          tasks->edge_count, &file->graphs[0].problem);
    if (status != TD_OK && status != TD_NO_MEMORY)
        status = td_fail_within(context, status, "%s", path);
    td_release(context, nodes);
    td_release(context, edges);
    return status;
}

static td_status problems_of_model(const char *path, cli_graph_file *file)
{
    ir_module *module = file->model.module;
    td_release(file->context, file->graphs);
    file->graphs = td_allocate(file->context, (module->graphs.count + 1) * sizeof *file->graphs);
    if (file->graphs == NULL)
        return td_fail_memory(file->context);
    for (size_t g = 0; g < module->graphs.count; g++) {
        ir_graph *graph = module->graphs.items[g];
        if (graph->node_count < 2)
            continue;
        cli_graph *to = &file->graphs[file->graph_count];
        to->name = graph->name;
        const td_status status = sched_problem_from_graph(graph, &to->problem);
        if (status != TD_OK)
            return td_fail_within(file->context, status, "%s", path);
        file->graph_count++;
    }
    return TD_OK;
}

td_status cli_read_graphs(td_context *context, const char *path, cli_graph_file *file)
{
    *file = (cli_graph_file){.context = context, .is_graphml = has_suffix(path, ".graphml")};
    const fe_options import = {.random_weights = true, .listing = true};
    td_status status;
    if (file->is_graphml)
        status = fe_read_graphml(context, path, &file->tasks);
    else
        status = fe_import(context, path, &import, &file->model);
    if (status == TD_OK) {
        file->graphs = td_allocate(context, sizeof *file->graphs);
        status = file->graphs == NULL ? td_fail_memory(context)
                 : file->is_graphml   ? problem_of_tasks(path, file)
                                      : problems_of_model(path, file);
    }
    if (status != TD_OK)
        cli_graph_file_release(file);
    return status;
}

/* --- orders as text --- */

/* What reading an order needs beside the file. */
typedef struct order_reader {
    td_map by_name; /* the number of a node, plus 1 */
    bool *seen;     /* [nodes] */
    char *id;       /* room for the longest line */
} order_reader;

static bool open_reader(td_context *context, const td_file *text, const sched_problem *problem,
                        order_reader *reader)
{
    td_map_init(&reader->by_name, context);
    reader->seen = td_allocate(context, problem->node_count + (size_t)1);
    reader->id = td_allocate(context, (size_t)text->size + 1);
    bool complete = reader->seen != NULL && reader->id != NULL;
    for (uint32_t i = 0; complete && i < problem->node_count; i++)
        complete = td_map_put(&reader->by_name, problem->nodes[i].name, (void *)(uintptr_t)(i + 1));
    return complete;
}

static void close_reader(td_context *context, order_reader *reader)
{
    td_release(context, reader->id);
    td_release(context, reader->seen);
    td_map_release(&reader->by_name);
}

static td_status read_lines(td_context *context, const td_file *text, const order_reader *reader,
                            const sched_problem *problem, uint32_t *order)
{
    const char *at = (const char *)text->data, *end = at + text->size;
    uint32_t line = 0, count = 0;
    char *id = reader->id;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        size_t length = (size_t)(stop - at);
        length -= length > 0 && at[length - 1] == '\r';
        line++;
        memcpy(id, at, length);
        id[length] = '\0';
        at = stop + 1;
        if (length == 0)
            continue;
        const bool whole = memchr(id, '\0', length) == NULL;
        const uintptr_t found = whole ? (uintptr_t)td_map_get(&reader->by_name, id) : 0;
        if (found == 0)
            return td_fail(context, TD_INVALID, "%s: line %u: the graph has no node \"%s\"",
                           text->path, line, id);
        if (reader->seen[found - 1])
            return td_fail(context, TD_INVALID, "%s: line %u: node \"%s\" comes twice", text->path,
                           line, id);
        reader->seen[found - 1] = true;
        order[count++] = (uint32_t)(found - 1);
    }
    if (count < problem->node_count)
        return td_fail(context, TD_INVALID, "%s: %u nodes are listed; the graph has %u", text->path,
                       count, problem->node_count);
    return TD_OK;
}

td_status cli_read_order(td_context *context, const char *path, const sched_problem *problem,
                         uint32_t *order)
{
    td_file text;
    order_reader reader = {0};
    TD_TRY(td_file_map(context, path, &text));
    const td_status status = open_reader(context, &text, problem, &reader)
                                 ? read_lines(context, &text, &reader, problem, order)
                                 : td_fail_memory(context);
    close_reader(context, &reader);
    td_file_unmap(context, &text);
    return status;
}

/* Whether an id is a line that is read as it was written. */
static bool is_line(const char *id)
{
    const size_t length = strlen(id);
    return length > 0 && strchr(id, '\n') == NULL && id[length - 1] != '\r';
}

td_status cli_write_order(td_context *context, const char *path, const sched_problem *problem,
                          const uint32_t *order)
{
    td_output output;
    for (uint32_t i = 0; i < problem->node_count; i++)
        if (!is_line(problem->nodes[i].name))
            return td_fail(context, TD_INVALID,
                           "%s: the order cannot be written: the id of node %u is empty or has a "
                           "line end; ids of one line are accepted",
                           path, i);
    TD_TRY(td_output_open(context, path, &output));
    for (uint32_t step = 0; step < problem->node_count; step++)
        fprintf(output.stream, "%s\n", problem->nodes[order[step]].name);
    return td_output_commit(context, &output, false);
}
