/* The facts as JSON. docs/inspect.md lists the fields.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "inspect/json.h"

#include <inttypes.h>

/* ,"key":[first, second, ...] with one number for each index. */
#define WRITE_COLUMN(stream, key, index, count, number)                                            \
    do {                                                                                           \
        fprintf((stream), ",\"%s\":[", (key));                                                     \
        for (size_t index = 0; index < (count); index++)                                           \
            fprintf((stream), "%s%" PRIu64, inspect_json_comma(index), (uint64_t)(number));        \
        fputc(']', (stream));                                                                      \
    } while (0)

/* ,"key":[those of 0 .. count - 1 for which the condition holds]. */
#define WRITE_SUBSET(stream, key, index, count, condition)                                         \
    do {                                                                                           \
        size_t written = 0;                                                                        \
        fprintf((stream), ",\"%s\":[", (key));                                                     \
        for (size_t index = 0; index < (count); index++)                                           \
            if (condition)                                                                         \
                fprintf((stream), "%s%zu", inspect_json_comma(written++), index);                  \
        fputc(']', (stream));                                                                      \
    } while (0)

static void write_pair(FILE *stream, const char *key, const char *text)
{
    fprintf(stream, "\"%s\":", key);
    inspect_json_string(stream, text);
}

/* --- nodes --- */

/* The kinds of operations, in the order in which they come first, and each node's. */
static td_status write_ops(const inspect_graph *graph, FILE *stream)
{
    td_context *context = graph->problem->context;
    const uint32_t count = graph->problem->node_count;
    uint32_t *kinds = td_allocate(context, (count + (size_t)1) * sizeof *kinds);
    td_map seen;
    td_map_init(&seen, context);
    bool complete = kinds != NULL;
    uintptr_t known = 0;
    fputs(",\"kinds\":[", stream);
    for (uint32_t i = 0; complete && i < count; i++) {
        uintptr_t kind = (uintptr_t)td_map_get(&seen, graph->ops[i]); /* its number, plus 1 */
        if (kind == 0) {
            fputs(inspect_json_comma(known), stream);
            inspect_json_string(stream, graph->ops[i]);
            kind = ++known;
            complete = td_map_put(&seen, graph->ops[i], (void *)kind);
        }
        kinds[i] = (uint32_t)(kind - 1);
    }
    fputc(']', stream);
    if (complete)
        WRITE_COLUMN(stream, "op", i, count, kinds[i]);
    td_map_release(&seen);
    td_release(context, kinds);
    return complete ? TD_OK : td_fail_memory(context);
}

static td_status write_nodes(const inspect_graph *graph, FILE *stream)
{
    const sched_problem *problem = graph->problem;
    const sched_node *nodes = problem->nodes;
    const size_t count = problem->node_count;
    fprintf(stream, "\"nodes\":{\"count\":%zu,\"name\":[", count);
    for (size_t i = 0; i < count; i++) {
        fputs(inspect_json_comma(i), stream);
        inspect_json_string(stream, nodes[i].name == NULL ? "" : nodes[i].name);
    }
    fputc(']', stream);
    TD_TRY(write_ops(graph, stream));
    WRITE_COLUMN(stream, "bytes", i, count, nodes[i].bytes);
    WRITE_COLUMN(stream, "workspace", i, count, nodes[i].workspace);
    WRITE_SUBSET(stream, "persistent", i, count, nodes[i].persistent);
    WRITE_SUBSET(stream, "views", i, count, nodes[i].view_of >= 0);
    fputc('}', stream);
    return TD_OK;
}

/* --- orders --- */

static void write_order(const inspect_graph *graph, const inspect_order *order,
                        inspect_detail detail, FILE *stream)
{
    const size_t count = graph->problem->node_count;
    const sched_trace *trace = &order->trace;
    fputc('{', stream);
    write_pair(stream, "orderer", order->name);
    fputc(',', stream);
    write_pair(stream, "chosen", order->chosen);
    fprintf(stream,
            ",\"peak\":%" PRIu64 ",\"peak_step\":%u,\"lower_bound\":%" PRIu64
            ",\"optimal\":%s,\"seconds\":%.6f",
            trace->peak, inspect_peak_step(order, graph->problem->node_count), order->lower_bound,
            trace->peak == graph->lower_bound ? "true" : "false", order->seconds);
    WRITE_COLUMN(stream, "order", i, count, order->order[i]);
    WRITE_COLUMN(stream, "lifetime", i, count,
                 trace->owner[i] == i ? trace->upper[i] - trace->lower[i] : 0);
    WRITE_SUBSET(stream, "sharing", i, count, trace->owner[i] != i);
    fputs(",\"shared\":[", stream);
    for (size_t i = 0, written = 0; i < count; i++)
        if (trace->owner[i] != i)
            fprintf(stream, "%s%u", inspect_json_comma(written++), trace->owner[i]);
    fputc(']', stream);
    if (detail == INSPECT_ALL)
        WRITE_COLUMN(stream, "live", i, count, trace->live[i]);
    fputc('}', stream);
}

static td_status write_graph(const inspect_graph *graph, inspect_detail detail, FILE *stream)
{
    fputs("\n{", stream);
    write_pair(stream, "name", graph->name);
    fprintf(stream, ",\"edges\":%u,\"lower_bound\":%" PRIu64 ",", graph->problem->input_count,
            graph->lower_bound);
    TD_TRY(write_nodes(graph, stream));
    fprintf(stream, ",\"arena\":%zu,\"first_step\":%u,\"shown\":%zu,\"orders\":[", graph->arena,
            graph->first_step, graph->shown);
    for (size_t i = 0; i < graph->orders.count; i++) {
        fputs(inspect_json_comma(i), stream);
        write_order(graph, &graph->orders.items[i], detail, stream);
    }
    fputs("]}", stream);
    return TD_OK;
}

/* --- arenas --- */

/* Buffers of no node have node -1 and a name in `runtime`, in their order. */
static void write_arena(const inspect_arena *arena, FILE *stream)
{
    const size_t count = arena->buffers.count;
    const sched_buffer *buffers = arena->buffers.items;
    fprintf(stream,
            "\n{\"bytes\":%" PRIu64 ",\"live_peak\":%" PRIu64 ",\"bound\":%" PRIu64
            ",\"alignment\":%d,\"steps\":%u",
            arena->bytes, arena->live_peak, arena->bound, SCHED_ALIGNMENT, arena->steps);
    fputs(",\"runtime\":[", stream);
    for (size_t i = 0, written = 0; i < count; i++)
        if (arena->placed.items[i].node == INSPECT_NO_NODE) {
            fputs(inspect_json_comma(written++), stream);
            inspect_json_string(stream, arena->placed.items[i].name);
        }
    fputs("],\"node\":[", stream);
    for (size_t i = 0; i < count; i++) {
        const uint32_t node = arena->placed.items[i].node;
        fprintf(stream, "%s%" PRId64, inspect_json_comma(i),
                node == INSPECT_NO_NODE ? INT64_C(-1) : (int64_t)node);
    }
    fputc(']', stream);
    WRITE_COLUMN(stream, "graph", i, count, arena->placed.items[i].graph);
    WRITE_SUBSET(stream, "workspace", i, count, arena->placed.items[i].workspace);
    WRITE_COLUMN(stream, "bytes_of", i, count, buffers[i].size);
    WRITE_COLUMN(stream, "offset", i, count, buffers[i].offset);
    WRITE_COLUMN(stream, "first", i, count, buffers[i].lower);
    WRITE_COLUMN(stream, "until", i, count, buffers[i].upper);
    fputc('}', stream);
}

static void write_budget(const inspect_budget *budget, FILE *stream)
{
    fprintf(stream,
            "{\"memory_budget\":%" PRIu64 ",\"resident\":%" PRIu64 ",\"smallest\":%" PRIu64
            ",\"address_space\":%" PRIu64 ",\"threads\":%u,\"sessions\":%u,\"parts\":[",
            budget->memory_budget, budget->resident, budget->smallest, budget->address_space,
            budget->threads, budget->sessions);
    for (size_t i = 0; i < budget->part_count; i++) {
        const inspect_part *part = &budget->parts[i];
        fprintf(stream, "%s{", inspect_json_comma(i));
        write_pair(stream, "name", part->name);
        fprintf(stream, ",\"bytes\":%" PRIu64, part->bytes);
        if (part->slots > 0)
            fprintf(stream, ",\"slots\":%u,\"slot_bytes\":%" PRIu64, part->slots, part->slot_bytes);
        fputc('}', stream);
    }
    fputs("]}", stream);
}

td_status inspect_write_json(const inspect_facts *facts, inspect_detail detail, FILE *stream)
{
    fputs("{\"format\":\"tandem-inspect\",\"version\":1,", stream);
    write_pair(stream, "tandem", TANDEM_VERSION);
    fputc(',', stream);
    write_pair(stream, "source", facts->source);
    fputs(",\"graphs\":[", stream);
    for (size_t i = 0; i < facts->graphs.count; i++) {
        fputs(inspect_json_comma(i), stream);
        TD_TRY(write_graph(&facts->graphs.items[i], detail, stream));
    }
    fputs("\n],\"arenas\":[", stream);
    for (size_t i = 0; i < facts->arenas.count; i++) {
        fputs(inspect_json_comma(i), stream);
        write_arena(&facts->arenas.items[i], stream);
    }
    fputs("\n],\"budget\":", stream);
    if (facts->budget.part_count == 0)
        fputs("null", stream);
    else
        write_budget(&facts->budget, stream);
    fputs("}\n", stream);
    return TD_OK;
}
