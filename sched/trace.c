/* The memory model: replaying an order, step by step.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/problem.h"

#include <string.h>

/* Working state of a replay. A buffer is named by the node that allocated it. */
typedef struct replay {
    const sched_problem *problem;
    sched_trace *trace;
    uint32_t *unread;  /* by node: readers that have not run */
    uint32_t *holders; /* by buffer: executed nodes that still need it */
    bool *done;
    uint64_t live;
} replay;

#define NOT_RUN UINT32_MAX

static td_status allocate_all(const sched_problem *problem, sched_trace *trace, replay *r)
{
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    memset(trace, 0, sizeof *trace);
    *r = (replay){.problem = problem, .trace = trace};
    trace->owner = td_allocate(context, count * sizeof *trace->owner);
    trace->lower = td_allocate(context, count * sizeof *trace->lower);
    trace->upper = td_allocate(context, count * sizeof *trace->upper);
    trace->live = td_allocate(context, count * sizeof *trace->live);
    r->unread = td_allocate(context, count * sizeof *r->unread);
    r->holders = td_allocate(context, count * sizeof *r->holders);
    r->done = td_allocate(context, count * sizeof *r->done);
    if (trace->owner == NULL || trace->lower == NULL || trace->upper == NULL ||
        trace->live == NULL || r->unread == NULL || r->holders == NULL || r->done == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < problem->node_count; i++) {
        r->unread[i] = problem->first_reader[i + 1] - problem->first_reader[i];
        trace->owner[i] = NOT_RUN;
    }
    return TD_OK;
}

/* The node reads its inputs: buffers that nobody else needs have no holder left. */
static td_status read_inputs(replay *r, uint32_t node)
{
    const uint32_t *inputs = sched_inputs(r->problem, node);
    for (uint32_t k = 0; k < r->problem->nodes[node].input_count; k++) {
        const sched_node *input = &r->problem->nodes[inputs[k]];
        if (!r->done[inputs[k]])
            return td_fail(r->problem->context, TD_INVALID,
                           "order: node \"%s\" comes before its input \"%s\"",
                           r->problem->nodes[node].name, input->name);
        if (--r->unread[inputs[k]] == 0 && !input->persistent)
            r->holders[r->trace->owner[inputs[k]]]--;
    }
    return TD_OK;
}

/* The buffer that the node writes: its source's, one that dies here, or its own. */
static uint32_t choose_buffer(const replay *r, uint32_t node)
{
    const sched_node *self = &r->problem->nodes[node];
    const uint32_t *inputs = sched_inputs(r->problem, node);
    if (self->view_of >= 0)
        return r->trace->owner[self->view_of];
    uint32_t best = node;
    for (uint32_t k = 0; k < self->in_place; k++) {
        const uint32_t buffer = r->trace->owner[inputs[k]];
        const uint64_t bytes = r->problem->nodes[buffer].bytes;
        if (r->holders[buffer] == 0 && bytes >= self->bytes &&
            (best == node || bytes > r->problem->nodes[best].bytes))
            best = buffer;
    }
    return best;
}

static void release_if_dead(replay *r, uint32_t buffer, uint32_t step)
{
    if (r->holders[buffer] == 0 && r->trace->upper[buffer] == NOT_RUN) {
        r->trace->upper[buffer] = step + 1;
        r->live -= r->problem->nodes[buffer].bytes;
    }
}

static td_status run_node(replay *r, uint32_t node, uint32_t step)
{
    const sched_problem *problem = r->problem;
    const sched_node *self = &problem->nodes[node];
    sched_trace *trace = r->trace;
    TD_TRY(read_inputs(r, node));
    const uint32_t buffer = choose_buffer(r, node);
    trace->owner[node] = buffer;
    if (buffer == node) {
        trace->lower[node] = step;
        trace->upper[node] = NOT_RUN;
        r->live += self->bytes;
    }
    trace->live[step] = r->live + self->workspace;
    if (trace->live[step] > trace->peak)
        trace->peak = trace->live[step];
    if (r->unread[node] > 0 || self->persistent)
        r->holders[buffer]++;
    const uint32_t *inputs = sched_inputs(problem, node);
    for (uint32_t k = 0; k < self->input_count; k++)
        release_if_dead(r, trace->owner[inputs[k]], step);
    release_if_dead(r, buffer, step);
    r->done[node] = true;
    return TD_OK;
}

void sched_trace_release(td_context *context, sched_trace *trace)
{
    td_release(context, trace->owner);
    td_release(context, trace->lower);
    td_release(context, trace->upper);
    td_release(context, trace->live);
    memset(trace, 0, sizeof *trace);
}

td_status sched_trace_make(const sched_problem *problem, const uint32_t *order, sched_trace *trace)
{
    td_context *context = problem->context;
    replay r;
    td_status status = allocate_all(problem, trace, &r);
    for (uint32_t step = 0; status == TD_OK && step < problem->node_count; step++) {
        if (order[step] >= problem->node_count || r.done[order[step]])
            status = td_fail(context, TD_INVALID, "order: step %u repeats or names no node", step);
        else
            status = run_node(&r, order[step], step);
    }
    /* What is still alive lives to the end. */
    for (uint32_t i = 0; status == TD_OK && i < problem->node_count; i++)
        if (trace->owner[i] == i && trace->upper[i] == NOT_RUN)
            trace->upper[i] = problem->node_count;
    td_release(context, r.unread);
    td_release(context, r.holders);
    td_release(context, r.done);
    if (status != TD_OK)
        sched_trace_release(context, trace);
    return status;
}

td_status sched_evaluate(const sched_problem *problem, const uint32_t *order, uint64_t *peak)
{
    sched_trace trace;
    TD_TRY(sched_trace_make(problem, order, &trace));
    *peak = trace.peak;
    sched_trace_release(problem->context, &trace);
    return TD_OK;
}
