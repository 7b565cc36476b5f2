/* GraphML through igraph, reading and writing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/graphml.h"

#include "frontend/graphml_check.h"

#include <igraph/igraph.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

void fe_task_graph_release(fe_task_graph *graph)
{
    if (graph->context == NULL)
        return;
    td_release(graph->context, graph->tasks);
    td_release(graph->context, graph->edges);
    td_arena_release(&graph->arena);
    memset(graph, 0, sizeof *graph);
}

/* --- attributes --- */

static bool has_attribute(const igraph_t *source, const char *name, igraph_attribute_type_t *type)
{
    return igraph_cattribute_has_attr(source, IGRAPH_ATTRIBUTE_VERTEX, name) &&
           igraph_cattribute_table.gettype(source, type, IGRAPH_ATTRIBUTE_VERTEX, name) ==
               IGRAPH_SUCCESS;
}

/* A whole number of a node, which fe_graphml_check has seen; absent: 0, or refused when required.
 */
static td_status read_size(td_context *context, const char *path, const igraph_t *source,
                           const char *name, bool required, const fe_task *task, uint32_t index,
                           uint64_t *size)
{
    igraph_attribute_type_t type;
    double number = NAN;
    *size = 0;
    if (has_attribute(source, name, &type)) {
        if (type != IGRAPH_ATTRIBUTE_NUMERIC)
            return td_fail(context, TD_INVALID,
                           "%s: attribute \"%s\" must be declared with attr.type=\"long\"", path,
                           name);
        number = VAN(source, name, index);
    }
    if (isnan(number)) {
        if (!required)
            return TD_OK;
        return td_fail(context, TD_INVALID, "%s: node \"%s\": attribute \"%s\" is missing", path,
                       task->id, name);
    }
    *size = (uint64_t)number;
    return TD_OK;
}

static td_status read_flag(td_context *context, const char *path, const igraph_t *source,
                           const char *name, uint32_t index, bool *flag)
{
    igraph_attribute_type_t type;
    *flag = false;
    if (!has_attribute(source, name, &type))
        return TD_OK;
    if (type != IGRAPH_ATTRIBUTE_BOOLEAN)
        return td_fail(context, TD_INVALID,
                       "%s: attribute \"%s\" must be declared with attr.type=\"boolean\"", path,
                       name);
    *flag = VAB(source, name, index);
    return TD_OK;
}

/* A string of a node, copied; "" when there is none. */
static const char *read_text(fe_task_graph *graph, const igraph_t *source, const char *name,
                             uint32_t index)
{
    igraph_attribute_type_t type;
    if (!has_attribute(source, name, &type) || type != IGRAPH_ATTRIBUTE_STRING)
        return "";
    return td_arena_string(&graph->arena, VAS(source, name, index));
}

/* libxml2 hands an ampersand of an XML attribute, such as an id, over as "&#38;". */
static char *read_id(fe_task_graph *graph, const igraph_t *source, uint32_t index)
{
    static const char escape[] = "&#38;";
    const char *text = read_text(graph, source, "id", index);
    char *id = text == NULL ? NULL : td_arena_string(&graph->arena, text);
    if (id == NULL)
        return NULL;
    char *to = id;
    for (const char *from = id; *from != '\0'; to++) {
        const bool escaped = strncmp(from, escape, sizeof escape - 1) == 0;
        *to = *from;
        from += escaped ? sizeof escape - 1 : 1;
    }
    *to = '\0';
    return id;
}

static td_status convert_tasks(const char *path, const igraph_t *source, fe_task_graph *graph)
{
    td_context *context = graph->context;
    for (uint32_t i = 0; i < graph->task_count; i++) {
        fe_task *task = &graph->tasks[i];
        task->id = read_id(graph, source, i);
        task->op = read_text(graph, source, "op", i);
        if (task->id == NULL || task->op == NULL)
            return td_fail_memory(context);
        TD_TRY(read_size(context, path, source, "bytes", true, task, i, &task->bytes));
        TD_TRY(read_size(context, path, source, "workspace", false, task, i, &task->workspace));
        TD_TRY(read_flag(context, path, source, "persistent", i, &task->persistent));
        TD_TRY(read_flag(context, path, source, "inplace", i, &task->in_place));
    }
    for (uint32_t e = 0; e < graph->edge_count; e++)
        graph->edges[e] =
            (fe_task_edge){(uint32_t)IGRAPH_FROM(source, e), (uint32_t)IGRAPH_TO(source, e)};
    return TD_OK;
}

static td_status convert(td_context *context, const char *path, const igraph_t *source,
                         uint64_t node_count, fe_task_graph *graph)
{
    const uint64_t nodes = (uint64_t)igraph_vcount(source), edges = (uint64_t)igraph_ecount(source);
    if (nodes != node_count || !igraph_is_directed(source))
        return td_fail(context, TD_INVALID,
                       "%s: igraph reads %" PRIu64 " nodes where there are %" PRIu64, path, nodes,
                       node_count);
    if (nodes >= INT32_MAX || edges >= INT32_MAX)
        return td_fail(context, TD_INVALID, "%s: over 2^31 nodes or edges", path);
    graph->context = context;
    td_arena_init(&graph->arena, context);
    graph->task_count = (uint32_t)nodes;
    graph->edge_count = (uint32_t)edges;
    graph->tasks = td_allocate(context, (nodes + 1) * sizeof *graph->tasks);
    graph->edges = td_allocate(context, (edges + 1) * sizeof *graph->edges);
    td_status status = graph->tasks == NULL || graph->edges == NULL
                           ? td_fail_memory(context)
                           : convert_tasks(path, source, graph);
    if (status != TD_OK)
        fe_task_graph_release(graph);
    return status;
}

td_status fe_read_graphml(td_context *context, const char *path, fe_task_graph *graph)
{
    td_file file;
    igraph_t source;
    uint64_t node_count = 0;
    memset(graph, 0, sizeof *graph);
    TD_TRY(td_file_map(context, path, &file));
    td_status status = fe_graphml_check(context, &file, &node_count);
    FILE *stream = NULL;
    if (status == TD_OK) {
        stream = fmemopen((void *)(uintptr_t)file.data, file.size, "r");
        if (stream == NULL)
            status = td_fail_memory(context);
    }
    if (status == TD_OK) {
        /* igraph aborts on an error unless told to return. */
        igraph_error_handler_t *old_error = igraph_set_error_handler(igraph_error_handler_ignore);
        igraph_warning_handler_t *old_warning =
            igraph_set_warning_handler(igraph_warning_handler_ignore);
        igraph_set_attribute_table(&igraph_cattribute_table);
        const igraph_error_t error = igraph_read_graph_graphml(&source, stream, 0);
        if (error == IGRAPH_SUCCESS) {
            status = convert(context, path, &source, node_count, graph);
            igraph_destroy(&source);
        } else if (error == IGRAPH_ENOMEM) {
            status = td_fail_memory(context);
        } else {
            status = td_fail(context, TD_INVALID, "%s: this is no well-formed GraphML file (%s)",
                             path, igraph_strerror(error));
        }
        igraph_set_error_handler(old_error);
        igraph_set_warning_handler(old_warning);
    }
    if (stream != NULL)
        fclose(stream);
    td_file_unmap(context, &file);
    return status;
}

/* --- writing --- */

static void write_escaped(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *escape = *text == '&'    ? "&amp;"
                             : *text == '<'  ? "&lt;"
                             : *text == '>'  ? "&gt;"
                             : *text == '"'  ? "&quot;"
                             : *text == '\t' ? "&#9;"
                             : *text == '\n' ? "&#10;"
                             : *text == '\r' ? "&#13;"
                                             : NULL;
        if (escape != NULL)
            fputs(escape, stream);
        else
            fputc(*text, stream);
    }
}

static void write_task(FILE *stream, const fe_task *task)
{
    fputs("<node id=\"", stream);
    write_escaped(stream, task->id);
    fputs("\"><data key=\"op\">", stream);
    write_escaped(stream, task->op);
    fprintf(stream, "</data><data key=\"bytes\">%" PRIu64 "</data>", task->bytes);
    if (task->workspace > 0)
        fprintf(stream, "<data key=\"workspace\">%" PRIu64 "</data>", task->workspace);
    if (task->persistent)
        fputs("<data key=\"persistent\">true</data>", stream);
    if (task->in_place)
        fputs("<data key=\"inplace\">true</data>", stream);
    fputs("</node>\n", stream);
}

/* Edges grouped by their reader, in the readers' new order; operands keep theirs. */
static td_status write_edges(FILE *stream, const fe_task_graph *graph, const uint32_t *order)
{
    td_context *context = graph->context;
    const size_t count = graph->task_count + (size_t)2;
    uint32_t *first = td_allocate(context, count * sizeof *first);
    uint32_t *sorted = td_allocate(context, (graph->edge_count + (size_t)1) * sizeof *sorted);
    td_status status = first == NULL || sorted == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK) {
        for (uint32_t e = 0; e < graph->edge_count; e++)
            first[graph->edges[e].to + 2]++;
        for (size_t i = 2; i < count; i++)
            first[i] += first[i - 1];
        for (uint32_t e = 0; e < graph->edge_count; e++)
            sorted[first[graph->edges[e].to + 1]++] = e;
        for (uint32_t step = 0; step < graph->task_count; step++) {
            const uint32_t reader = order == NULL ? step : order[step];
            for (uint32_t k = first[reader]; k < first[reader + 1]; k++) {
                fputs("<edge source=\"", stream);
                write_escaped(stream, graph->tasks[graph->edges[sorted[k]].from].id);
                fputs("\" target=\"", stream);
                write_escaped(stream, graph->tasks[reader].id);
                fputs("\"/>\n", stream);
            }
        }
    }
    td_release(context, first);
    td_release(context, sorted);
    return status;
}

td_status fe_write_graphml(const fe_task_graph *graph, const uint32_t *order, const char *path)
{
    td_output output;
    TD_TRY(td_output_open(graph->context, path, &output));
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
          "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
          "<key id=\"op\" for=\"node\" attr.name=\"op\" attr.type=\"string\"/>\n"
          "<key id=\"bytes\" for=\"node\" attr.name=\"bytes\" attr.type=\"long\"/>\n"
          "<key id=\"workspace\" for=\"node\" attr.name=\"workspace\" attr.type=\"long\"/>\n"
          "<key id=\"persistent\" for=\"node\" attr.name=\"persistent\" attr.type=\"boolean\"/>\n"
          "<key id=\"inplace\" for=\"node\" attr.name=\"inplace\" attr.type=\"boolean\"/>\n"
          "<graph id=\"g\" edgedefault=\"directed\">\n",
          output.stream);
    for (uint32_t step = 0; step < graph->task_count; step++)
        write_task(output.stream, &graph->tasks[order == NULL ? step : order[step]]);
    const td_status status = write_edges(output.stream, graph, order);
    fputs("</graph>\n</graphml>\n", output.stream);
    if (status != TD_OK) {
        td_output_discard(graph->context, &output);
        return status;
    }
    return td_output_commit(graph->context, &output, false);
}
