/* fold_shapes: requires the imported form; maintains it, with shapes over as few symbols as can be
 * and no shape arithmetic where numbers will do.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fold.h"
#include "ir/passes/passes.h"

#include <string.h>

static void resolve_shape(const ir_module *module, ir_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++)
        shape->dim[i] = ir_module_dim_resolve(module, &shape->dim[i]);
}

/* Writes a number as an element of the type; false when that loses something. */
static bool pack(ir_type type, int64_t value, unsigned char *bytes)
{
    int32_t narrow = (int32_t)value;
    float single = (float)value;
    switch (type) {
    case IR_I64:
        memcpy(bytes, &value, sizeof value);
        return true;
    case IR_I32:
        memcpy(bytes, &narrow, sizeof narrow);
        return narrow == value;
    case IR_F32:
        memcpy(bytes, &single, sizeof single);
        return value >= -(1 << 24) && value <= 1 << 24;
    case IR_BOOL:
        *bytes = value != 0;
        return true;
    default:
        return false;
    }
}

/* Makes the constant that readers of a value see from now on, where all its numbers are known. */
static td_status make_replacement(folder *self, const ir_node *node)
{
    const ir_value *value = node->outputs[0];
    fold_list list = fold_list_of(self, value);
    if (!fold_is_constant(&list))
        return fold_numbers(self, node, &self->replacements[value->id]);
    unsigned char bytes[FOLD_MAX_LIST * 8];
    unsigned width = ir_type_bits(value->type) / 8;
    for (uint32_t i = 0; i < list.count; i++)
        if (!pack(value->type, list.items[i].dim.constant, bytes + (size_t)i * width))
            return TD_OK;
    ir_constant *constant;
    TD_TRY(ir_module_add_constant_bytes(self->module, node->name, value->type, &value->shape, bytes,
                                        &constant));
    return ir_graph_add_constant(self->graph, constant, &self->replacements[value->id]);
}

static ir_value *current(const folder *self, ir_value *value)
{
    bool replaced = value->kind == IR_VALUE_RESULT && value->id < self->list_count &&
                    self->replacements[value->id] != NULL;
    return replaced ? self->replacements[value->id] : value;
}

/* One step through a node whose drivers are done. */
static td_status fold_node(folder *self, ir_node *node)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        node->inputs[i] = current(self, node->inputs[i]);
        resolve_shape(self->module, &node->inputs[i]->shape);
    }
    if (node->op == IR_OP_opaque)
        return TD_OK;
    fold_unite_operands(self->module, node);
    for (uint32_t i = 0; i < node->input_count; i++)
        resolve_shape(self->module, &node->inputs[i]->shape);
    TD_TRY(ir_node_infer(node));
    TD_TRY(fold_refine(self, node));
    TD_TRY(fold_propagate(self, node));
    return node->output_count == 1 ? make_replacement(self, node) : TD_OK;
}

static td_status fold_graph(ir_module *module, ir_graph *graph)
{
    folder self = {.module = module, .graph = graph};
    TD_TRY(fold_name_symbols(module, graph));
    ir_module_resolve(module);
    ir_graph_number(graph);
    td_arena_init(&self.arena, module->context);
    self.list_count = graph->value_count;
    self.lists = td_arena_allocate(&self.arena, self.list_count + 1, sizeof *self.lists);
    self.replacements =
        td_arena_allocate(&self.arena, self.list_count + 1, sizeof *self.replacements);
    td_status status =
        self.lists == NULL || self.replacements == NULL ? td_fail_memory(module->context) : TD_OK;
    for (ir_node *node = graph->first; node != NULL && status == TD_OK; node = node->next)
        status = fold_node(&self, node);
    for (size_t i = 0; i < graph->output_count && status == TD_OK; i++)
        graph->outputs[i] = current(&self, graph->outputs[i]);
    td_arena_release(&self.arena);
    TD_TRY(status);
    ir_module_resolve(module);
    return ir_graph_remove_dead(graph);
}

td_status ir_pass_fold_shapes(ir_module *module)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(fold_graph(module, module->graphs.items[i]));
    return TD_OK;
}
