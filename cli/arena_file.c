/* The buffers of an ordered graph as a table for offset planners.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/arena_file.h"

#include "frontend/buffer_table.h"

#include <string.h>

/* A table under construction; ids that were given are in `ids`. */
typedef struct table_writer {
    fe_buffer_table table;
    td_map ids;
} table_writer;

/* An id for something of a node: its name if that is free and has no comma, else its number beside
 * it. NULL: no memory. */
static const char *make_id(table_writer *writer, const char *name, uint32_t node,
                           const char *suffix)
{
    td_arena *arena = &writer->table.arena;
    const bool plain = name != NULL && name[0] != '\0' && strpbrk(name, ",\r\n") == NULL;
    const char *id = plain ? td_arena_format(arena, "%s%s", name, suffix)
                           : td_arena_format(arena, "node%u%s", node, suffix);
    while (id != NULL && td_map_get(&writer->ids, id) != NULL)
        id = td_arena_format(arena, "%s#%u", id, node);
    return id;
}

static td_status add_row(table_writer *writer, const sched_node *node, uint32_t number,
                         const char *suffix, fe_buffer_row row)
{
    td_context *context = writer->table.context;
    if (row.size == 0 || row.lower >= row.upper)
        return TD_OK;
    row.id = make_id(writer, node->name, number, suffix);
    if (row.id == NULL || !td_map_put(&writer->ids, row.id, writer) ||
        !td_array_push(context, &writer->table.rows, row))
        return td_fail_memory(context);
    return TD_OK;
}

static td_status add_rows(table_writer *writer, const sched_problem *problem, const uint32_t *order,
                          const sched_trace *trace)
{
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t i = order[step];
        const sched_node *node = &problem->nodes[i];
        const fe_buffer_row workspace = {
            .size = node->workspace, .lower = step, .upper = step + UINT64_C(1)};
        if (trace->owner[i] == i)
            TD_TRY(add_row(writer, node, i, "",
                           (fe_buffer_row){.size = node->bytes,
                                           .lower = trace->lower[i],
                                           .upper = trace->upper[i]}));
        TD_TRY(add_row(writer, node, i, ".workspace", workspace));
    }
    return TD_OK;
}

td_status cli_write_buffers(td_context *context, const char *path, const sched_problem *problem,
                            const uint32_t *order)
{
    sched_trace trace;
    table_writer writer = {.table = {.context = context}};
    TD_TRY(sched_trace_make(problem, order, &trace));
    td_arena_init(&writer.table.arena, context);
    td_map_init(&writer.ids, context);
    td_status status = add_rows(&writer, problem, order, &trace);
    if (status == TD_OK)
        status = fe_write_buffer_table(&writer.table, path);
    td_map_release(&writer.ids);
    fe_buffer_table_release(&writer.table);
    sched_trace_release(context, &trace);
    return status;
}
