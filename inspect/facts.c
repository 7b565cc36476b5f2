/* Facts about a graph: its orders, what they make of memory, and an arena.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "inspect/private.h"

#include "base/clock.h"

#include <string.h>

void inspect_facts_init(td_context *context, const char *source, inspect_facts *facts)
{
    *facts = (inspect_facts){.context = context, .source = source};
    td_arena_init(&facts->strings, context);
}

static void release_order(td_context *context, inspect_order *order)
{
    td_release(context, order->order);
    sched_trace_release(context, &order->trace);
}

static void release_graph(td_context *context, inspect_graph *graph)
{
    for (size_t i = 0; i < graph->orders.count; i++)
        release_order(context, &graph->orders.items[i]);
    td_array_release(context, &graph->orders);
    td_release(context, graph->ops);
}

void inspect_facts_release(inspect_facts *facts)
{
    td_context *context = facts->context;
    for (size_t g = 0; g < facts->graphs.count; g++)
        release_graph(context, &facts->graphs.items[g]);
    for (size_t a = 0; a < facts->arenas.count; a++) {
        td_array_release(context, &facts->arenas.items[a].placed);
        td_array_release(context, &facts->arenas.items[a].buffers);
    }
    for (size_t p = 0; p < facts->problems.count; p++) {
        sched_problem_release(facts->problems.items[p]);
        td_release(context, facts->problems.items[p]);
    }
    td_array_release(context, &facts->graphs);
    td_array_release(context, &facts->arenas);
    td_array_release(context, &facts->problems);
    td_arena_release(&facts->strings);
    memset(facts, 0, sizeof *facts);
}

/* --- orders --- */

static td_status push_order(inspect_graph *graph, const inspect_order *made)
{
    td_context *context = graph->problem->context;
    if (!td_array_push(context, &graph->orders, *made))
        return td_fail_memory(context);
    if (made->lower_bound > graph->lower_bound)
        graph->lower_bound = made->lower_bound;
    return TD_OK;
}

/* Replays an order and adds it; the order is the graph's from then on. A bound that leaves a gap is
 * raised as far as cuts tell, as `tandem schedule` does. */
static td_status finish_order(inspect_graph *graph, inspect_order *made)
{
    td_status status = sched_trace_make(graph->problem, made->order, &made->trace);
    if (status == TD_OK && made->lower_bound < made->trace.peak)
        status = sched_cut_bound(graph->problem, made->order, &made->lower_bound);
    if (status == TD_OK)
        status = push_order(graph, made);
    if (status != TD_OK)
        release_order(graph->problem->context, made);
    return status;
}

static td_status run_orderer(inspect_graph *graph, const char *name, const sched_options *search)
{
    td_context *context = graph->problem->context;
    const size_t count = graph->problem->node_count;
    inspect_order made = {.name = name,
                          .order = td_allocate(context, (count + 1) * sizeof *made.order)};
    if (made.order == NULL)
        return td_fail_memory(context);
    sched_report report;
    const double start = td_seconds();
    const td_status status = sched_order(graph->problem, name, search, made.order, &report);
    if (status != TD_OK) {
        td_release(context, made.order);
        return status;
    }
    made.seconds = td_seconds() - start;
    made.chosen = report.chosen;
    made.lower_bound = report.lower_bound;
    return finish_order(graph, &made);
}

td_status inspect_add_given(inspect_graph *graph, const char *name, const uint32_t *given)
{
    td_context *context = graph->problem->context;
    const size_t count = graph->problem->node_count;
    inspect_order made = {.name = name,
                          .chosen = name,
                          .order = td_allocate(context, (count + 1) * sizeof *made.order),
                          .lower_bound = sched_lower_bound(graph->problem)};
    if (made.order == NULL)
        return td_fail_memory(context);
    for (size_t i = 0; i < count; i++)
        made.order[i] = given == NULL ? (uint32_t)i : given[i];
    return finish_order(graph, &made);
}

static bool has_order(const inspect_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->orders.count; i++)
        if (strcmp(graph->orders.items[i].name, name) == 0)
            return true;
    return false;
}

td_status inspect_run_others(inspect_facts *facts, const inspect_request *request,
                             const char *without, inspect_graph *graph)
{
    const char *at = request->against;
    while (*at != '\0') {
        const size_t length = strcspn(at, ",");
        const char *name = td_arena_string_n(&facts->strings, at, length);
        at += length + (at[length] == ',');
        if (name == NULL)
            return td_fail_memory(facts->context);
        if (length == 0 || strcmp(name, without) == 0 || has_order(graph, name))
            continue;
        const td_status status = run_orderer(graph, name, request->search);
        if (status == TD_INVALID && strcmp(name, "file") == 0)
            continue; /* the file's order is not topological */
        TD_TRY(status);
    }
    return TD_OK;
}

static td_status run_orderers(inspect_facts *facts, const inspect_request *request,
                              inspect_graph *graph)
{
    const char *shown = request->given == NULL ? request->orderer : "";
    TD_TRY(inspect_run_others(facts, request, shown, graph));
    graph->shown = graph->orders.count;
    if (request->given != NULL)
        return inspect_add_given(graph, "given", request->given);
    return run_orderer(graph, request->orderer, request->search);
}

/* --- graphs --- */

td_status inspect_new_graph(inspect_facts *facts, const char *name, const sched_problem *problem,
                            const char *const *ops, inspect_graph **graph)
{
    td_context *context = facts->context;
    const inspect_graph empty = {.name = name, .problem = problem};
    if (!td_array_push(context, &facts->graphs, empty))
        return td_fail_memory(context);
    inspect_graph *added = &facts->graphs.items[facts->graphs.count - 1];
    added->ops = td_allocate(context, (problem->node_count + (size_t)1) * sizeof *added->ops);
    if (added->ops == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < problem->node_count; i++)
        added->ops[i] =
            ops != NULL
                ? ops[i]
                : (problem->nodes[i].node == NULL ? "" : ir_op(problem->nodes[i].node->op)->name);
    *graph = added;
    return TD_OK;
}

/* --- arenas --- */

td_status inspect_new_arena(inspect_facts *facts, inspect_arena **arena)
{
    if (!td_array_push(facts->context, &facts->arenas, (inspect_arena){0}))
        return td_fail_memory(facts->context);
    *arena = &facts->arenas.items[facts->arenas.count - 1];
    return TD_OK;
}

td_status inspect_place(td_context *context, inspect_arena *arena, inspect_placed placed,
                        sched_buffer buffer)
{
    if (buffer.size == 0)
        return TD_OK;
    if (!td_array_push(context, &arena->placed, placed) ||
        !td_array_push(context, &arena->buffers, buffer))
        return td_fail_memory(context);
    return TD_OK;
}

/* The buffers of a graph on its own: what each node owns, and its workspace. */
static td_status lay_out(inspect_facts *facts, inspect_graph *graph)
{
    const sched_problem *problem = graph->problem;
    const inspect_order *order = &graph->orders.items[graph->shown];
    td_context *context = facts->context;
    inspect_placed placed = {.graph = (uint32_t)(graph - facts->graphs.items)};
    inspect_arena *arena;
    graph->arena = facts->arenas.count;
    TD_TRY(inspect_new_arena(facts, &arena));
    arena->steps = problem->node_count;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t node = placed.node = order->order[step];
        placed.workspace = false;
        if (order->trace.owner[node] == node)
            TD_TRY(inspect_place(context, arena, placed,
                                 (sched_buffer){.size = problem->nodes[node].bytes,
                                                .lower = order->trace.lower[node],
                                                .upper = order->trace.upper[node]}));
        placed.workspace = true;
        TD_TRY(inspect_place(context, arena, placed,
                             (sched_buffer){.size = problem->nodes[node].workspace,
                                            .lower = step,
                                            .upper = (int64_t)step + 1}));
    }
    const sched_arena_options options = {.alignment = SCHED_ALIGNMENT};
    sched_arena_report report;
    TD_TRY(
        sched_arena_place(context, arena->buffers.items, arena->buffers.count, &options, &report));
    arena->bytes = report.bytes;
    arena->bound = report.bound;
    arena->live_peak = report.live_peak;
    return TD_OK;
}

td_status inspect_add_graph(inspect_facts *facts, const inspect_request *request, const char *name,
                            const sched_problem *problem, const char *const *ops)
{
    inspect_graph *graph;
    TD_TRY(inspect_new_graph(facts, name, problem, ops, &graph));
    TD_TRY(run_orderers(facts, request, graph));
    return lay_out(facts, graph);
}

/* --- what every writer asks --- */

uint32_t inspect_peak_step(const inspect_order *order, uint32_t node_count)
{
    for (uint32_t step = 0; step < node_count; step++)
        if (order->trace.live[step] == order->trace.peak)
            return step;
    return 0;
}

void inspect_node_label(const inspect_graph *graph, uint32_t node, char *label, size_t size)
{
    const char *name = graph->problem->nodes[node].name;
    if (name != NULL && name[0] != '\0')
        snprintf(label, size, "%s", name);
    else
        snprintf(label, size, "%s %u", graph->ops[node], node);
}
