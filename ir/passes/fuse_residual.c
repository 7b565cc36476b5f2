/* Requires and maintains the raised form: r + linear(x, w) -> linear_add(r, x, w), whose result may
 * lie where r did. Addition commutes, so either operand may be the product; of two the later one
 * is taken. Alike for linear_quantized.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

static td_status take_addend(ir_node *node, ir_node *product, ir_value *addend)
{
    ir_value *inputs[FUSE_MOST_INPUTS] = {addend};
    const uint32_t count = 1 + fuse_collect(&product, 1, inputs + 1);
    const ir_opcode op =
        product->op == IR_OP_linear ? IR_OP_linear_add : IR_OP_linear_quantized_add;
    ir_node *sum = NULL;
    TD_TRY(ir_graph_insert_node(node->graph, node, op, product->name, count, inputs, 1, &sum));
    TD_TRY(ir_node_infer(sum));
    fuse_replace(node->graph, node->outputs[0], sum->outputs[0]);
    ir_graph_remove_node(node->graph, node);
    ir_graph_remove_node(node->graph, product);
    return TD_OK;
}

static td_status visit(ir_node *node, ir_uses *uses)
{
    if (node->op != IR_OP_add)
        return TD_OK;
    const ir_shape *shape = &node->outputs[0]->shape;
    for (uint32_t i = 2; i-- > 0;) {
        ir_value *value = node->inputs[i], *addend = node->inputs[1 - i];
        ir_node *product = fuse_product_of(value);
        if (product != NULL && fuse_is_read_once(uses, value) && addend->type == IR_F32 &&
            addend->kind != IR_VALUE_CONSTANT && ir_shape_equal(&addend->shape, shape) &&
            ir_shape_equal(&value->shape, shape))
            return take_addend(node, product, addend);
    }
    return TD_OK;
}

td_status ir_pass_fuse_residual(ir_module *module)
{
    return fuse_each(module, visit);
}
