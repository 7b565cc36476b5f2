/* The scheduling problem: building it from an IR graph, reader lists, checks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/problem.h"

#include <string.h>

void sched_problem_release(sched_problem *problem)
{
    td_context *context = problem->context;
    td_release(context, problem->nodes);
    td_release(context, problem->inputs);
    td_release(context, problem->readers);
    td_release(context, problem->first_reader);
    memset(problem, 0, sizeof *problem);
    problem->context = context;
}

uint32_t sched_any_order(const sched_problem *problem, uint32_t *waiting, uint32_t *order)
{
    uint32_t head = 0, tail = 0;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        waiting[i] = problem->nodes[i].input_count;
        if (waiting[i] == 0)
            order[tail++] = i;
    }
    while (head < tail) {
        const uint32_t node = order[head++];
        for (uint32_t r = problem->first_reader[node]; r < problem->first_reader[node + 1]; r++)
            if (--waiting[problem->readers[r]] == 0)
                order[tail++] = problem->readers[r];
    }
    return tail;
}

/* Names a node that is never ready when there is a cycle. */
static td_status check_acyclic(const sched_problem *problem)
{
    td_context *context = problem->context;
    const uint32_t count = problem->node_count;
    uint32_t *waiting = td_allocate(context, (count + (size_t)1) * sizeof *waiting);
    uint32_t *order = td_allocate(context, (count + (size_t)1) * sizeof *order);
    td_status status = TD_OK;
    if (waiting == NULL || order == NULL)
        status = td_fail_memory(context);
    else if (sched_any_order(problem, waiting, order) < count)
        for (uint32_t i = 0; i < count && status == TD_OK; i++)
            if (waiting[i] > 0)
                status = td_fail(context, TD_INVALID, "node \"%s\" lies on or behind a cycle",
                                 problem->nodes[i].name);
    td_release(context, waiting);
    td_release(context, order);
    return status;
}

td_status sched_problem_finish(sched_problem *problem)
{
    td_context *context = problem->context;
    const uint32_t count = problem->node_count;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        const sched_node *node = &problem->nodes[i];
        if (!td_add(total, node->bytes, &total) || !td_add(total, node->workspace, &total) ||
            total > INT64_MAX)
            return td_fail(context, TD_INVALID, "node \"%s\": the sizes add up to over 2^63 bytes",
                           node->name);
        for (uint32_t k = 0; k < node->input_count; k++)
            if (problem->inputs[node->first_input + k] >= count)
                return td_fail(context, TD_INTERNAL, "node \"%s\": input out of range", node->name);
    }
    problem->first_reader = td_allocate(context, (count + 2) * sizeof *problem->first_reader);
    problem->readers = td_allocate(context, (problem->input_count + 1) * sizeof *problem->readers);
    if (problem->first_reader == NULL || problem->readers == NULL)
        return td_fail_memory(context);
    uint32_t *first = problem->first_reader;
    for (uint32_t i = 0; i < problem->input_count; i++)
        first[problem->inputs[i] + 2]++;
    for (uint32_t i = 2; i < count + 2; i++)
        first[i] += first[i - 1];
    /* first[v + 1] is now where v's readers begin; filling moves it to where they end. */
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < problem->nodes[i].input_count; k++)
            problem->readers[first[problem->inputs[problem->nodes[i].first_input + k] + 1]++] = i;
    return check_acyclic(problem);
}

/* --- from lists --- */

/* Operands by node, in the order of the edges, each once. */
static void fill_inputs(sched_problem *problem, const sched_edge *edges, size_t edge_count,
                        uint32_t *place)
{
    for (size_t e = 0; e < edge_count; e++)
        place[edges[e].to + 1]++;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        place[i + 1] += place[i];
        problem->nodes[i].first_input = place[i];
        problem->nodes[i].input_count = 0;
    }
    for (size_t e = 0; e < edge_count; e++)
        problem->inputs[place[edges[e].to]++] = edges[e].from;
    /* Repetitions are squeezed out; place[u] now says who read u last. */
    memset(place, 0, (problem->node_count + (size_t)1) * sizeof *place);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        sched_node *node = &problem->nodes[i];
        const uint32_t end =
            i + 1 < problem->node_count ? problem->nodes[i + 1].first_input : (uint32_t)edge_count;
        const uint32_t begin = node->first_input;
        node->first_input = kept;
        for (uint32_t k = begin; k < end; k++)
            if (place[problem->inputs[k]] != i + 1) {
                place[problem->inputs[k]] = i + 1;
                problem->inputs[kept++] = problem->inputs[k];
                node->input_count++;
            }
        if (node->in_place > 0)
            node->in_place = node->input_count;
    }
    problem->input_count = kept;
}

td_status sched_problem_from_edges(td_context *context, const sched_node *nodes,
                                   uint32_t node_count, const sched_edge *edges, size_t edge_count,
                                   sched_problem *problem)
{
    *problem = (sched_problem){.context = context, .node_count = node_count};
    for (size_t e = 0; e < edge_count; e++)
        if (edges[e].from >= node_count || edges[e].to >= node_count)
            return td_fail(context, TD_INVALID, "edge %zu: it names no node", e);
    problem->nodes = td_allocate(context, (node_count + (size_t)1) * sizeof *problem->nodes);
    problem->inputs = td_allocate(context, (edge_count + 1) * sizeof *problem->inputs);
    uint32_t *place = td_allocate(context, (node_count + (size_t)2) * sizeof *place);
    td_status status = TD_OK;
    if (problem->nodes == NULL || problem->inputs == NULL || place == NULL) {
        status = td_fail_memory(context);
    } else {
        if (node_count > 0)
            memcpy(problem->nodes, nodes, node_count * sizeof *nodes);
        fill_inputs(problem, edges, edge_count, place);
        status = sched_problem_finish(problem);
    }
    td_release(context, place);
    if (status != TD_OK)
        sched_problem_release(problem);
    return status;
}

/* --- from the IR --- */

/* Only a node of the same graph owns a buffer; constants and graph inputs lie elsewhere. */
static const ir_node *producer_of(const ir_value *value)
{
    return value->kind == IR_VALUE_RESULT ? value->producer : NULL;
}

/* Whether a value lies at the start of the buffer of the node that made it. */
static bool starts_buffer(const ir_value *value)
{
    while (value->kind == IR_VALUE_RESULT &&
           (ir_op(value->producer->op)->flags & IR_FLAG_VIEW) != 0)
        value = value->producer->inputs[0];
    return value->output == 0;
}

/* Whether operand k may be overwritten by the node's result: an element must be read before its
 * place is written, so shapes must agree; ops that are not elementwise do so for operand 0. */
static bool may_overwrite(const ir_node *node, uint32_t k)
{
    const ir_value *operand = node->inputs[k], *result = node->outputs[0];
    if (!ir_shape_equal(&operand->shape, &result->shape) || operand->type != result->type ||
        !starts_buffer(operand))
        return false;
    return k == 0 || (ir_op(node->op)->flags & IR_FLAG_ELEMENTWISE) != 0;
}

typedef struct builder {
    sched_problem *problem;
    ir_graph *graph;
    uint32_t *last_effect; /* by state number: 1 + the node that touched it last */
} builder;

static void add_input(builder *b, sched_node *node, uint32_t input)
{
    uint32_t *inputs = b->problem->inputs + node->first_input;
    for (uint32_t k = 0; k < node->input_count; k++)
        if (inputs[k] == input)
            return;
    inputs[node->input_count++] = input;
    b->problem->input_count++;
}

/* Nodes with effects on one state keep their order: each waits for the one before. (The edge also
 * keeps that one's buffer, which only makes the model cautious.) */
static void add_effect_edge(builder *b, sched_node *node, const ir_node *source, uint32_t number)
{
    const char *name = ir_node_string(source, "state", NULL);
    if (name == NULL)
        return;
    const ir_module *module = b->graph->module;
    for (uint32_t s = 0; s < module->states.count; s++)
        if (strcmp(module->states.items[s]->name, name) == 0) {
            if (b->last_effect[s] != 0)
                add_input(b, node, b->last_effect[s] - 1);
            b->last_effect[s] = number + 1;
        }
}

bool sched_value_bytes(const ir_value *value, uint64_t *bytes)
{
    const ir_node *producer = value->producer;
    const ir_module *module = producer->graph->module;
    if (!ir_value_is_quantised(value))
        return ir_value_bytes_bound(module, value->type, &value->shape, bytes);
    const ir_value *scales = producer->outputs[1];
    return ir_value_bytes_bound(module, IR_I8, &scales->shape, bytes) &&
           td_multiply(*bytes, SCHED_QUANTISED_BLOCK_BYTES, bytes);
}

static td_status node_bytes(td_context *context, const ir_node *source, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t o = 0; o < source->output_count; o++) {
        uint64_t size;
        const ir_value *value = source->outputs[o];
        if (!sched_value_bytes(value, &size) || !td_add(*bytes, size, bytes))
            return td_fail(context, TD_INVALID,
                           "graph %s: node \"%s\" (%s): its result has no bounded size",
                           source->graph->name, source->name, ir_op(source->op)->name);
        /* Several results lie one after the other, each aligned. */
        if (source->output_count > 1)
            *bytes = (*bytes + SCHED_ALIGNMENT - 1) / SCHED_ALIGNMENT * SCHED_ALIGNMENT;
    }
    return TD_OK;
}

static td_status convert_node(builder *b, const ir_node *source, uint32_t number)
{
    sched_node *node = &b->problem->nodes[number];
    const unsigned flags = ir_op(source->op)->flags;
    node->name = source->name;
    node->node = source;
    node->view_of = -1;
    node->first_input = b->problem->input_count;
    TD_TRY(node_bytes(b->problem->context, source, &node->bytes));
    bool overwritable = (flags & IR_FLAG_IN_PLACE) != 0;
    for (uint32_t k = 0; k < source->input_count; k++) {
        const ir_node *producer = producer_of(source->inputs[k]);
        if (producer == NULL)
            continue;
        const uint32_t before = node->input_count;
        add_input(b, node, producer->id);
        overwritable = overwritable && may_overwrite(source, k);
        node->in_place += overwritable && node->input_count > before;
        if ((flags & IR_FLAG_VIEW) != 0 && k == 0)
            node->view_of = (int32_t)producer->id;
    }
    /* A view of a constant or of a graph input owns nothing either. */
    if ((flags & IR_FLAG_VIEW) != 0)
        node->bytes = 0;
    if ((flags & IR_FLAG_EFFECT) != 0 || source->op == IR_OP_read_state)
        add_effect_edge(b, node, source, number);
    return TD_OK;
}

td_status sched_problem_from_graph(ir_graph *graph, sched_problem *problem)
{
    td_context *context = graph->module->context;
    ir_graph_number(graph);
    memset(problem, 0, sizeof *problem);
    problem->context = context;
    size_t edges = graph->node_count; /* room for one effect edge each */
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        edges += node->input_count;
    builder b = {.problem = problem, .graph = graph};
    problem->nodes = td_allocate(context, (graph->node_count + 1) * sizeof *problem->nodes);
    problem->inputs = td_allocate(context, (edges + 1) * sizeof *problem->inputs);
    b.last_effect = td_allocate(context, (graph->module->states.count + 1) * sizeof *b.last_effect);
    td_status status = TD_OK;
    if (problem->nodes == NULL || problem->inputs == NULL || b.last_effect == NULL)
        status = td_fail_memory(context);
    for (const ir_node *node = graph->first; status == TD_OK && node != NULL; node = node->next)
        status = convert_node(&b, node, problem->node_count++);
    for (size_t o = 0; status == TD_OK && o < graph->output_count; o++) {
        const ir_node *producer = producer_of(graph->outputs[o]);
        if (producer != NULL)
            problem->nodes[producer->id].persistent = true;
    }
    td_release(context, b.last_effect);
    if (status == TD_OK)
        status = sched_problem_finish(problem);
    if (status != TD_OK)
        sched_problem_release(problem);
    return status;
}
