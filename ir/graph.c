/* Graphs: building, changing, numbering, readers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/private.h"

#include <string.h>

/* --- building --- */

static td_status new_value(ir_graph *graph, ir_value_kind kind, const char *name, ir_value **value)
{
    td_arena *arena = &graph->module->arena;
    ir_value *created = td_arena_allocate(arena, 1, sizeof *created);
    if (created == NULL)
        return td_fail_memory(graph->module->context);
    created->kind = kind;
    if (name != NULL && (created->name = td_arena_string(arena, name)) == NULL)
        return td_fail_memory(graph->module->context);
    *value = created;
    return TD_OK;
}

/* Doubles a pointer array that lives in the module's arena; NULL when memory ran out. */
static void *grow(ir_graph *graph, const void *items, size_t count, size_t capacity)
{
    void *grown = td_arena_allocate(&graph->module->arena, capacity, sizeof(void *));
    if (grown != NULL && count > 0)
        memcpy(grown, items, count * sizeof(void *));
    return grown;
}

td_status ir_graph_add_input(ir_graph *graph, const char *name, ir_type type, const ir_shape *shape,
                             ir_value **value)
{
    ir_value *input = NULL;
    TD_TRY(new_value(graph, IR_VALUE_INPUT, name, &input));
    if (graph->input_count == graph->input_capacity) {
        size_t capacity = graph->input_capacity == 0 ? 8 : graph->input_capacity * 2;
        void *grown = grow(graph, graph->inputs, graph->input_count, capacity);
        if (grown == NULL)
            return td_fail_memory(graph->module->context);
        graph->inputs = grown;
        graph->input_capacity = capacity;
    }
    input->type = type;
    input->shape = *shape;
    input->output = (uint32_t)graph->input_count;
    graph->inputs[graph->input_count++] = input;
    *value = input;
    return TD_OK;
}

td_status ir_graph_add_output(ir_graph *graph, const char *name, ir_value *value)
{
    const char *copy = td_arena_string(&graph->module->arena, name);
    if (copy == NULL)
        return td_fail_memory(graph->module->context);
    if (graph->output_count == graph->output_capacity) {
        size_t capacity = graph->output_capacity == 0 ? 8 : graph->output_capacity * 2;
        void *values = grow(graph, graph->outputs, graph->output_count, capacity);
        void *names = grow(graph, graph->output_names, graph->output_count, capacity);
        if (values == NULL || names == NULL)
            return td_fail_memory(graph->module->context);
        graph->outputs = values;
        graph->output_names = names;
        graph->output_capacity = capacity;
    }
    graph->outputs[graph->output_count] = value;
    graph->output_names[graph->output_count++] = copy;
    return TD_OK;
}

td_status ir_graph_add_constant(ir_graph *graph, ir_constant *constant, ir_value **value)
{
    ir_value *created = NULL;
    TD_TRY(new_value(graph, IR_VALUE_CONSTANT, NULL, &created));
    created->name = constant->name;
    created->type = constant->scale != NULL ? IR_F32 : constant->type;
    created->shape = constant->shape;
    created->constant = constant;
    *value = created;
    return TD_OK;
}

static td_status add_bytes(ir_graph *graph, ir_type type, const ir_shape *shape, const void *bytes,
                           ir_value **value)
{
    ir_constant *constant;
    TD_TRY(ir_module_add_constant_bytes(graph->module, "", type, shape, bytes, &constant));
    return ir_graph_add_constant(graph, constant, value);
}

td_status ir_graph_add_i64s(ir_graph *graph, size_t count, const int64_t *values, bool scalar,
                            ir_value **value)
{
    if (scalar && count != 1)
        return td_fail(graph->module->context, TD_INTERNAL,
                       "graph \"%s\": a scalar constant of %zu elements; it needs one", graph->name,
                       count);
    ir_shape shape = ir_shape_of(scalar ? 0 : 1, (int64_t[]){(int64_t)count});
    return add_bytes(graph, IR_I64, &shape, values, value);
}

td_status ir_graph_add_f32(ir_graph *graph, float number, ir_value **value)
{
    ir_shape shape = {.rank = 0};
    return add_bytes(graph, IR_F32, &shape, &number, value);
}

static void link_before(ir_graph *graph, ir_node *node, ir_node *position)
{
    node->next = position;
    node->previous = position != NULL ? position->previous : graph->last;
    *(node->previous != NULL ? &node->previous->next : &graph->first) = node;
    *(position != NULL ? &position->previous : &graph->last) = node;
}

static void unlink_node(ir_graph *graph, ir_node *node)
{
    *(node->previous != NULL ? &node->previous->next : &graph->first) = node->next;
    *(node->next != NULL ? &node->next->previous : &graph->last) = node->previous;
    node->next = node->previous = NULL;
}

static td_status check_arity(ir_graph *graph, ir_opcode op, const char *name, size_t input_count,
                             size_t output_count)
{
    td_context *context = graph->module->context;
    const ir_op_info *info = ir_op(op);
    if (info == NULL)
        return td_fail(context, TD_INTERNAL,
                       "graph \"%s\": layer \"%s\": operation number %d is "
                       "not in the op table",
                       graph->name, name, (int)op);
    if (input_count < (size_t)info->min_inputs ||
        (info->max_inputs >= 0 && input_count > (size_t)info->max_inputs) ||
        input_count > UINT32_MAX)
        return td_fail(context, TD_INVALID,
                       "graph \"%s\": layer \"%s\" (%s) has %zu inputs; from %d to %d are accepted",
                       graph->name, name, info->name, input_count, info->min_inputs,
                       info->max_inputs < 0 ? INT32_MAX : info->max_inputs);
    if ((info->outputs >= 0 && output_count != (size_t)info->outputs) || output_count > UINT32_MAX)
        return td_fail(context, TD_INVALID,
                       "graph \"%s\": layer \"%s\" (%s) has %zu outputs; it makes %d", graph->name,
                       name, info->name, output_count, info->outputs);
    return TD_OK;
}

td_status ir_graph_insert_node(ir_graph *graph, ir_node *position, ir_opcode op, const char *name,
                               size_t input_count, ir_value *const *inputs, size_t output_count,
                               ir_node **node)
{
    ir_module *module = graph->module;
    const char *given = name != NULL ? name : "";
    TD_TRY(check_arity(graph, op, given, input_count, output_count));
    ir_node *created = td_arena_allocate(&module->arena, 1, sizeof *created);
    if (created == NULL)
        return td_fail_memory(module->context);
    created->op = op;
    created->graph = graph;
    created->name = td_arena_string(&module->arena, given);
    created->inputs = td_arena_allocate(&module->arena, input_count, sizeof(ir_value *));
    created->outputs = td_arena_allocate(&module->arena, output_count, sizeof(ir_value *));
    if (created->name == NULL || created->inputs == NULL || created->outputs == NULL)
        return td_fail_memory(module->context);
    if (input_count > 0)
        memcpy(created->inputs, inputs, input_count * sizeof *inputs);
    created->input_count = (uint32_t)input_count;
    for (size_t i = 0; i < output_count; i++) {
        TD_TRY(new_value(graph, IR_VALUE_RESULT, NULL, &created->outputs[i]));
        created->outputs[i]->producer = created;
        created->outputs[i]->output = (uint32_t)i;
    }
    created->output_count = (uint32_t)output_count;
    link_before(graph, created, position);
    *node = created;
    return TD_OK;
}

td_status ir_graph_add_node(ir_graph *graph, ir_opcode op, const char *name, size_t input_count,
                            ir_value *const *inputs, size_t output_count, ir_node **node)
{
    return ir_graph_insert_node(graph, NULL, op, name, input_count, inputs, output_count, node);
}

/* --- changing --- */

void ir_graph_replace(ir_graph *graph, const ir_value *from, ir_value *to)
{
    for (ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] == from)
                node->inputs[i] = to;
    for (size_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i] == from)
            graph->outputs[i] = to;
}

void ir_graph_remove_node(ir_graph *graph, ir_node *node)
{
    unlink_node(graph, node);
}

void ir_graph_move_node(ir_graph *graph, ir_node *node, ir_node *before)
{
    if (node == before)
        return;
    unlink_node(graph, node);
    link_before(graph, node, before);
}

static bool is_read(const ir_node *node, const uint32_t *readers)
{
    for (uint32_t i = 0; i < node->output_count; i++)
        if (readers[node->outputs[i]->id] > 0)
            return true;
    return false;
}

td_status ir_graph_remove_dead(ir_graph *graph)
{
    td_context *context = graph->module->context;
    ir_graph_number(graph);
    uint32_t *readers = td_allocate(context, ((size_t)graph->value_count + 1) * sizeof *readers);
    if (readers == NULL)
        return td_fail_memory(context);
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            readers[node->inputs[i]->id]++;
    for (size_t i = 0; i < graph->output_count; i++)
        readers[graph->outputs[i]->id]++;
    for (ir_node *node = graph->last, *previous; node != NULL; node = previous) {
        previous = node->previous;
        if ((ir_op(node->op)->flags & IR_FLAG_EFFECT) != 0 || is_read(node, readers))
            continue;
        for (uint32_t i = 0; i < node->input_count; i++)
            readers[node->inputs[i]->id]--;
        unlink_node(graph, node);
    }
    td_release(context, readers);
    ir_graph_number(graph);
    return TD_OK;
}

/* --- numbering and readers --- */

#define UNNUMBERED UINT32_MAX

static void number_constant(ir_graph *graph, ir_value *value)
{
    if (value->kind == IR_VALUE_CONSTANT && value->id == UNNUMBERED)
        value->id = graph->value_count++;
}

void ir_graph_number(ir_graph *graph)
{
    /* Constants are known by their readers only: mark them first, number them when first met. */
    for (ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            node->inputs[i]->id = UNNUMBERED;
    for (size_t i = 0; i < graph->output_count; i++)
        graph->outputs[i]->id = UNNUMBERED;

    graph->node_count = graph->value_count = 0;
    for (size_t i = 0; i < graph->input_count; i++)
        graph->inputs[i]->id = graph->value_count++;
    for (ir_node *node = graph->first; node != NULL; node = node->next) {
        node->id = graph->node_count++;
        for (uint32_t i = 0; i < node->input_count; i++)
            number_constant(graph, node->inputs[i]);
        for (uint32_t i = 0; i < node->output_count; i++)
            node->outputs[i]->id = graph->value_count++;
    }
    for (size_t i = 0; i < graph->output_count; i++)
        number_constant(graph, graph->outputs[i]);
}

td_status ir_uses_build(ir_graph *graph, ir_uses *uses)
{
    td_context *context = graph->module->context;
    ir_graph_number(graph);
    size_t values = graph->value_count, reads = 0;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        reads += node->input_count;
    ir_uses built = {
        .offsets = td_allocate(context, (values + 2) * sizeof(uint32_t)),
        .readers = td_allocate(context, (reads + 1) * sizeof(ir_node *)),
        .is_output = td_allocate(context, (values + 1) * sizeof(bool)),
    };
    if (built.offsets == NULL || built.readers == NULL || built.is_output == NULL) {
        ir_uses_release(context, &built);
        return td_fail_memory(context);
    }
    /* Counts go two places up, so that after the sums place id + 1 is where id's readers start, and
     * after filling it is where they end. */
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            built.offsets[node->inputs[i]->id + 2]++;
    for (size_t i = 2; i < values + 2; i++)
        built.offsets[i] += built.offsets[i - 1];
    for (ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            built.readers[built.offsets[node->inputs[i]->id + 1]++] = node;
    for (size_t i = 0; i < graph->output_count; i++)
        built.is_output[graph->outputs[i]->id] = true;
    *uses = built;
    return TD_OK;
}

void ir_uses_release(td_context *context, ir_uses *uses)
{
    td_release(context, uses->offsets);
    td_release(context, uses->readers);
    td_release(context, uses->is_output);
    *uses = (ir_uses){0};
}
