/* Requires and maintains the raised form: gated_silu(linear(x, gate), linear(x, up)) ->
 * linear_gated(x, gate, up), so that neither product is stored. Alike for linear_quantized.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

/* Whether two weights differ in their numbers only, so that one piece of code multiplies by either.
 */
static bool are_alike(const ir_node *a, const ir_node *b)
{
    ir_products products;
    ir_node_products(a, &products);
    const ir_constant *left = a->inputs[products.first]->constant;
    const ir_constant *right = b->inputs[products.first]->constant;
    if (left->type != right->type || left->group != right->group ||
        (left->scale == NULL) != (right->scale == NULL) ||
        (left->zero_point == NULL) != (right->zero_point == NULL))
        return false;
    return left->scale == NULL || left->scale->type == right->scale->type;
}

static td_status visit(ir_node *node, ir_uses *uses)
{
    if (node->op != IR_OP_gated_silu)
        return TD_OK;
    ir_node *const products[] = {fuse_product_of(node->inputs[0]),
                                 fuse_product_of(node->inputs[1])};
    for (uint32_t i = 0; i < 2; i++)
        if (products[i] == NULL || !fuse_is_read_once(uses, node->inputs[i]) ||
            !ir_shape_equal(&node->inputs[i]->shape, &node->outputs[0]->shape))
            return TD_OK;
    if (!fuse_are_siblings(products[0], products[1]) || !are_alike(products[0], products[1]))
        return TD_OK;
    const ir_opcode op =
        products[0]->op == IR_OP_linear ? IR_OP_linear_gated : IR_OP_linear_quantized_gated;
    ir_value *inputs[FUSE_MOST_INPUTS];
    const uint32_t count = fuse_collect(products, 2, inputs);
    ir_node *gated = NULL;
    TD_TRY(ir_graph_insert_node(node->graph, node, op, node->name, count, inputs, 1, &gated));
    TD_TRY(ir_node_infer(gated));
    fuse_replace(node->graph, node->outputs[0], gated->outputs[0]);
    ir_graph_remove_node(node->graph, node);
    ir_graph_remove_node(node->graph, products[0]);
    ir_graph_remove_node(node->graph, products[1]);
    return TD_OK;
}

td_status ir_pass_fuse_gated(ir_module *module)
{
    return fuse_each(module, visit);
}
