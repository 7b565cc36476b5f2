/* The family of products: one table of which op does what, so that shape rules, evaluator, layout
 * and lowering treat all of them alike.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

static const struct {
    ir_opcode op;
    ir_products products; /* without the places of operands */
} rows[] = {
    {IR_OP_linear, {.count = 1}},
    {IR_OP_linear_add, {.count = 1, .adds = true}},
    {IR_OP_linear_group, {.count = 0}}, /* as many as results */
    {IR_OP_linear_gated, {.count = 2, .gated = true}},
    {IR_OP_linear_largest, {.count = 1, .largest = true}},
    {IR_OP_linear_quantized, {.count = 1, .quantised = true}},
    {IR_OP_linear_quantized_add, {.count = 1, .quantised = true, .adds = true}},
    {IR_OP_linear_quantized_group, {.count = 0, .quantised = true}},
    {IR_OP_linear_quantized_gated, {.count = 2, .quantised = true, .gated = true}},
    {IR_OP_linear_quantized_gated_quantize,
     {.count = 2, .quantised = true, .gated = true, .quantises = true}},
    {IR_OP_linear_quantized_largest, {.count = 1, .quantised = true, .largest = true}},
};

bool ir_node_products(const ir_node *node, ir_products *products)
{
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        if (rows[i].op != node->op)
            continue;
        *products = rows[i].products;
        if (products->count == 0)
            products->count = node->output_count;
        products->activations = products->adds ? 1 : 0;
        products->first = products->activations + (products->quantised ? 2 : 1);
        const uint32_t biases = products->first + products->count;
        products->biases = node->input_count > biases ? biases : 0;
        return true;
    }
    return false;
}

bool ir_node_reads_weight(const ir_node *node, uint32_t input)
{
    ir_products products;
    return ir_node_products(node, &products) && input >= products.first &&
           input < products.first + products.count;
}
