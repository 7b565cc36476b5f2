/* The plan of a compile: every graph ordered, every buffer at its address in one arena.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/sched.h"

#include <string.h>

/* The buffers of all graphs so far, on one axis of steps. */
typedef struct timeline {
    TD_ARRAY(sched_buffer) buffers;
    int64_t step; /* where the next graph begins */
} timeline;

void sched_plan_release(sched_plan *plan)
{
    for (size_t g = 0; plan->graphs != NULL && g < plan->graph_count; g++) {
        td_release(plan->context, plan->graphs[g].offset);
        td_release(plan->context, plan->graphs[g].bytes);
    }
    td_release(plan->context, plan->graphs);
    td_release(plan->context, plan->extras);
    td_release(plan->context, plan->buffers);
    memset(plan, 0, sizeof *plan);
}

/* Adds a buffer for every node, in order; those of nodes that own none stay empty. */
static td_status push_node_buffers(td_context *context, const sched_problem *problem,
                                   const sched_trace *trace, bool keep_all, timeline *line)
{
    for (uint32_t i = 0; i < problem->node_count; i++) {
        const sched_node *node = &problem->nodes[i];
        sched_buffer buffer = {.size = node->bytes};
        if (keep_all || node->persistent) {
            /* Crosses entry points: alive through the whole round. */
            buffer.lower = 0;
            buffer.upper = INT64_MAX;
        } else if (trace->owner[i] == i) {
            buffer.lower = line->step + trace->lower[i];
            buffer.upper = line->step + trace->upper[i];
        }
        if (!td_array_push(context, &line->buffers, buffer))
            return td_fail_memory(context);
    }
    /* A persistent result may lie in a buffer that another node allocated. */
    sched_buffer *own = line->buffers.items + line->buffers.count - problem->node_count;
    for (uint32_t i = 0; i < problem->node_count && !keep_all; i++)
        if (problem->nodes[i].persistent && trace->owner[i] != i) {
            own[trace->owner[i]].lower = 0;
            own[trace->owner[i]].upper = INT64_MAX;
            own[i].size = 0;
        }
    return TD_OK;
}

/* Without sharing every node owns a buffer; a view still lies in its source's. */
static void own_everything(const sched_problem *problem, sched_trace *trace)
{
    for (uint32_t i = 0; i < problem->node_count; i++)
        trace->owner[i] =
            problem->nodes[i].view_of >= 0 ? trace->owner[problem->nodes[i].view_of] : i;
}

typedef struct planned_graph {
    sched_problem problem;
    sched_trace trace;
} planned_graph;

static td_status plan_graph(td_context *context, const sched_request *request,
                            const sched_options *options, ir_graph *graph, planned_graph *planned,
                            sched_graph_plan *result, timeline *line)
{
    result->graph = graph;
    TD_TRY(sched_order_graph(graph, request->orderer, options, &result->peak, &result->lower_bound,
                             &result->orderer));
    TD_TRY(sched_problem_from_graph(graph, &planned->problem));
    const uint32_t count = planned->problem.node_count;
    uint32_t *order = td_allocate(context, (count + (size_t)1) * sizeof *order);
    if (order == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    td_status status = sched_trace_make(&planned->problem, order, &planned->trace);
    td_release(context, order);
    TD_TRY(status);
    if (request->keep_all)
        own_everything(&planned->problem, &planned->trace);
    result->first_buffer = line->buffers.count;
    TD_TRY(push_node_buffers(context, &planned->problem, &planned->trace, request->keep_all, line));
    line->step += count;
    return TD_OK;
}

/* Offsets by value, from the offsets of the buffers. */
static td_status assign_values(td_context *context, const planned_graph *planned,
                               const sched_buffer *buffers, sched_graph_plan *result)
{
    const ir_graph *graph = result->graph;
    result->offset = td_allocate(context, (graph->value_count + (size_t)1) * sizeof(uint64_t));
    result->bytes = td_allocate(context, (graph->value_count + (size_t)1) * sizeof(uint64_t));
    if (result->offset == NULL || result->bytes == NULL)
        return td_fail_memory(context);
    for (uint32_t v = 0; v < graph->value_count; v++)
        result->offset[v] = UINT64_MAX;
    for (uint32_t i = 0; i < planned->problem.node_count; i++) {
        const ir_node *node = planned->problem.nodes[i].node;
        const uint32_t owner = planned->trace.owner[i];
        uint64_t offset = buffers[result->first_buffer + owner].offset;
        bool owned = planned->problem.nodes[owner].bytes > 0;
        /* A view lies where its source does, which need not be its node's first result. */
        if (planned->problem.nodes[i].view_of >= 0)
            offset = result->offset[node->inputs[0]->id];
        for (uint32_t o = 0; o < node->output_count; o++) {
            const ir_value *value = node->outputs[o];
            uint64_t bytes = 0;
            sched_value_bytes(value, &bytes);
            result->bytes[value->id] = bytes;
            if (owned)
                result->offset[value->id] = offset;
            offset += (bytes + SCHED_ALIGNMENT - 1) / SCHED_ALIGNMENT * SCHED_ALIGNMENT;
        }
    }
    return TD_OK;
}

static td_status make_plan(td_context *context, const sched_request *request,
                           const sched_options *options, planned_graph *planned, timeline *line,
                           sched_plan *plan)
{
    for (size_t g = 0; g < request->graph_count; g++)
        TD_TRY(plan_graph(context, request, options, request->graphs[g], &planned[g],
                          &plan->graphs[g], line));
    plan->first_extra = line->buffers.count;
    for (size_t e = 0; e < request->extra_count; e++) {
        plan->extras[e] = request->extras[e];
        const sched_buffer buffer = {.size = request->extras[e].bytes, .upper = INT64_MAX};
        if (!td_array_push(context, &line->buffers, buffer))
            return td_fail_memory(context);
    }
    /* Lifetimes without end stop where the round does, so that areas can be compared. */
    for (size_t b = 0; b < line->buffers.count; b++)
        if (line->buffers.items[b].upper == INT64_MAX)
            line->buffers.items[b].upper = line->step;
    TD_TRY(sched_arena(context, line->buffers.items, line->buffers.count, SCHED_ALIGNMENT,
                       &plan->arena_bytes, &plan->live_peak));
    for (size_t g = 0; g < request->graph_count; g++)
        TD_TRY(assign_values(context, &planned[g], line->buffers.items, &plan->graphs[g]));
    for (size_t e = 0; e < request->extra_count; e++)
        plan->extras[e].offset = line->buffers.items[plan->first_extra + e].offset;
    return TD_OK;
}

td_status sched_plan_make(td_context *context, const sched_request *request,
                          const sched_options *options, sched_plan *plan)
{
    const sched_options defaults = {0};
    timeline line = {0};
    memset(plan, 0, sizeof *plan);
    plan->context = context;
    plan->graph_count = request->graph_count;
    plan->extra_count = request->extra_count;
    plan->graphs = td_allocate(context, (request->graph_count + 1) * sizeof *plan->graphs);
    plan->extras = td_allocate(context, (request->extra_count + 1) * sizeof *plan->extras);
    planned_graph *planned = td_allocate(context, (request->graph_count + 1) * sizeof *planned);
    td_status status;
    if (plan->graphs == NULL || plan->extras == NULL || planned == NULL)
        status = td_fail_memory(context);
    else
        status = make_plan(context, request, options == NULL ? &defaults : options, planned, &line,
                           plan);
    for (size_t g = 0; planned != NULL && g < request->graph_count; g++) {
        if (planned[g].problem.context != NULL)
            sched_problem_release(&planned[g].problem);
        sched_trace_release(context, &planned[g].trace);
    }
    td_release(context, planned);
    plan->buffers = line.buffers.items;
    if (status != TD_OK)
        sched_plan_release(plan);
    return status;
}
