/* The facts as a trace for chrome://tracing and Perfetto.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "inspect/json.h"

#include <inttypes.h>
#include <string.h>

/* Phase, process and name of an event; the caller writes the rest, up to the brace. The very first
 * is the name of process 1. */
static void begin_event(FILE *stream, char phase, unsigned process, const char *name)
{
    const bool first = phase == 'M' && process == 1 && strcmp(name, "process_name") == 0;
    fprintf(stream, "%s\n{\"ph\":\"%c\",\"pid\":%u,\"tid\":1,\"name\":", first ? "" : ",", phase,
            process);
    inspect_json_string(stream, name);
}

/* A process is named after its graph and order, so that counters of orders stand side by side. */
static void name_process(const inspect_graph *graph, const inspect_order *order, unsigned process,
                         FILE *stream)
{
    begin_event(stream, 'M', process, "process_name");
    fputs(",\"args\":{\"name\":", stream);
    char label[256];
    snprintf(label, sizeof label, "%s, order %s", graph->name, order->name);
    inspect_json_string(stream, label);
    fputs("}}", stream);
    begin_event(stream, 'M', process, "thread_name");
    fputs(",\"args\":{\"name\":\"nodes\"}}", stream);
}

static void write_step(const inspect_graph *graph, const inspect_order *order, uint32_t step,
                       unsigned process, FILE *stream)
{
    const uint32_t node = order->order[step];
    const sched_node *facts = &graph->problem->nodes[node];
    char label[256];
    inspect_node_label(graph, node, label, sizeof label);
    begin_event(stream, 'X', process, label);
    fputs(",\"cat\":", stream);
    inspect_json_string(stream, graph->ops[node][0] == '\0' ? "node" : graph->ops[node]);
    fprintf(stream,
            ",\"ts\":%u,\"dur\":1,\"args\":{\"step\":%u,\"bytes\":%" PRIu64
            ",\"workspace\":%" PRIu64 ",\"live\":%" PRIu64,
            step, step, facts->bytes, facts->workspace, order->trace.live[step]);
    if (order->trace.owner[node] == node)
        fprintf(stream, ",\"freed after step\":%u", order->trace.upper[node] - 1);
    fputs("}}", stream);
    begin_event(stream, 'C', process, "live bytes");
    fprintf(stream, ",\"ts\":%u,\"args\":{\"bytes\":%" PRIu64 "}}", step, order->trace.live[step]);
}

td_status inspect_write_chrome_trace(const inspect_facts *facts, FILE *stream)
{
    unsigned process = 0;
    fputs("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"tandem\":\"" TANDEM_VERSION
          "\",\"time\":\"a step is a microsecond\"},\"traceEvents\":[",
          stream);
    for (size_t g = 0; g < facts->graphs.count; g++)
        for (size_t o = 0; o < facts->graphs.items[g].orders.count; o++) {
            const inspect_graph *graph = &facts->graphs.items[g];
            const inspect_order *order = &graph->orders.items[o];
            const uint32_t count = graph->problem->node_count;
            name_process(graph, order, ++process, stream);
            for (uint32_t step = 0; step < count; step++)
                write_step(graph, order, step, process, stream);
            begin_event(stream, 'C', process, "live bytes");
            fprintf(stream, ",\"ts\":%u,\"args\":{\"bytes\":0}}", count);
        }
    fputs("\n]}\n", stream);
    return TD_OK;
}
