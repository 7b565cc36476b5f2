/* The facts for a terminal.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"

#include <inttypes.h>
#include <stdlib.h>

#define MOST_NAMED 12 /* buffers that are listed at the peak */

static void write_orders(const inspect_graph *graph, FILE *stream)
{
    fprintf(stream, "  %-14s %18s %12s %10s\n", "order", "peak bytes", "above bound", "at step");
    for (size_t i = 0; i < graph->orders.count; i++) {
        const inspect_order *order = &graph->orders.items[i];
        fprintf(stream, "  %-14s %18" PRIu64 " %10.2f %% %10u%s\n", order->name, order->trace.peak,
                sched_gap_percent(order->trace.peak, graph->lower_bound),
                inspect_peak_step(order, graph->problem->node_count),
                order->trace.peak == graph->lower_bound ? "  optimal" : "");
    }
}

/* A buffer that is live at a step. */
typedef struct live_buffer {
    uint64_t bytes;
    uint32_t node;
} live_buffer;

static int compare_live(const void *left, const void *right)
{
    const live_buffer *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

static void write_live(const inspect_graph *graph, const live_buffer *live, size_t count,
                       uint64_t peak, FILE *stream)
{
    for (size_t i = 0; i < count && i < MOST_NAMED; i++) {
        char label[64];
        inspect_node_label(graph, live[i].node, label, sizeof label);
        fprintf(stream, "  %18" PRIu64 " %6.2f %%  %s (%s)\n", live[i].bytes,
                100 * (double)live[i].bytes / (double)peak, label, graph->ops[live[i].node]);
    }
    if (count > MOST_NAMED)
        fprintf(stream, "  and %zu more\n", count - MOST_NAMED);
}

static td_status write_peak(const inspect_graph *graph, FILE *stream)
{
    const sched_problem *problem = graph->problem;
    const inspect_order *order = &graph->orders.items[graph->shown];
    const uint32_t step = inspect_peak_step(order, problem->node_count);
    live_buffer *live =
        td_allocate(problem->context, (problem->node_count + (size_t)1) * sizeof *live);
    if (live == NULL)
        return td_fail_memory(problem->context);
    size_t count = 0;
    for (uint32_t i = 0; i < problem->node_count; i++)
        if (order->trace.owner[i] == i && problem->nodes[i].bytes > 0 &&
            order->trace.lower[i] <= step && step < order->trace.upper[i])
            live[count++] = (live_buffer){problem->nodes[i].bytes, i};
    qsort(live, count, sizeof *live, compare_live);
    fprintf(stream, "live at the peak of %s, step %u:\n", order->name, step);
    write_live(graph, live, count, order->trace.peak, stream);
    const uint64_t workspace = problem->nodes[order->order[step]].workspace;
    if (workspace > 0)
        fprintf(stream, "  %18" PRIu64 " %6.2f %%  workspace of the step\n", workspace,
                100 * (double)workspace / (double)order->trace.peak);
    td_release(problem->context, live);
    return TD_OK;
}

static void write_arenas(const inspect_facts *facts, FILE *stream)
{
    for (size_t a = 0; a < facts->arenas.count; a++) {
        const inspect_arena *arena = &facts->arenas.items[a];
        if (arena->live_peak > 0)
            fprintf(stream, "arena %" PRIu64 " bytes, %.3f of the live peak %" PRIu64 "\n",
                    arena->bytes, (double)arena->bytes / (double)arena->live_peak,
                    arena->live_peak);
    }
}

static void write_budget(const inspect_budget *budget, FILE *stream)
{
    if (budget->part_count == 0)
        return;
    fprintf(stream, "resident:\n");
    for (size_t i = 0; i < budget->part_count; i++)
        fprintf(stream, "  %18" PRIu64 " %6.2f %%  %s\n", budget->parts[i].bytes,
                100 * (double)budget->parts[i].bytes / (double)budget->resident,
                budget->parts[i].name);
    fprintf(stream, "  %18" PRIu64 "           in all\n", budget->resident);
}

/* A graph may own no buffer at all, such as one that only commits what caches hold. */
static bool needs_memory(const inspect_graph *graph)
{
    return graph->orders.items[graph->shown].trace.peak > 0;
}

td_status inspect_write_text(const inspect_facts *facts, FILE *stream)
{
    for (size_t g = 0; g < facts->graphs.count; g++) {
        const inspect_graph *graph = &facts->graphs.items[g];
        fprintf(stream, "%s (%s): %u nodes, %u edges, lower bound %" PRIu64 " bytes\n",
                facts->source, graph->name, graph->problem->node_count, graph->problem->input_count,
                graph->lower_bound);
        if (needs_memory(graph)) {
            write_orders(graph, stream);
            TD_TRY(write_peak(graph, stream));
        }
    }
    write_arenas(facts, stream);
    write_budget(&facts->budget, stream);
    return TD_OK;
}
