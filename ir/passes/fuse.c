/* The list of passes that fuse, and what they share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

const ir_pass ir_fuse_passes[] = {
    {"fuse_gated", "gate, up and their product become one node", ir_pass_fuse_gated},
    {"fuse_residual", "products take the sum with the residual", ir_pass_fuse_residual},
    {"fuse_siblings", "products of one input become one node", ir_pass_fuse_siblings},
    {"fuse_quantize", "quantisation joins what it quantises", ir_pass_fuse_quantize},
    {"fuse_rope", "heads turn where the attention touches them", ir_pass_fuse_rope},
    {"add_greedy", "a graph that names the largest logits", ir_pass_add_greedy},
    {NULL, NULL, NULL},
};

static td_status fuse_graph(ir_graph *graph, fuse_node visit)
{
    td_context *context = graph->module->context;
    ir_uses uses;
    TD_TRY(ir_uses_build(graph, &uses));
    td_status status = TD_OK;
    for (ir_node *node = graph->first, *next; node != NULL && status == TD_OK; node = next) {
        next = node->next;
        status = visit(node, &uses);
    }
    ir_uses_release(context, &uses);
    ir_graph_number(graph);
    return status;
}

td_status fuse_each(ir_module *module, fuse_node visit)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(fuse_graph(module->graphs.items[i], visit));
    return TD_OK;
}

bool fuse_is_read_once(const ir_uses *uses, const ir_value *value)
{
    return ir_uses_count(uses, value) == 1 && !uses->is_output[value->id];
}

ir_node *fuse_product_of(const ir_value *value)
{
    ir_node *node = value->kind == IR_VALUE_RESULT ? value->producer : NULL;
    if (node == NULL || (node->op != IR_OP_linear && node->op != IR_OP_linear_quantized))
        return NULL;
    ir_products products;
    ir_node_products(node, &products);
    const bool fits =
        value->shape.rank == 2 && node->inputs[products.first]->kind == IR_VALUE_CONSTANT;
    return fits ? node : NULL;
}

bool fuse_are_siblings(const ir_node *a, const ir_node *b)
{
    ir_products products;
    if (a->op != b->op || a->input_count != b->input_count || !ir_node_products(a, &products))
        return false;
    for (uint32_t i = 0; i < products.first; i++)
        if (a->inputs[i] != b->inputs[i])
            return false;
    return true;
}

uint32_t fuse_collect(ir_node *const *products, uint32_t count, ir_value **inputs)
{
    ir_products first;
    ir_node_products(products[0], &first);
    uint32_t filled = 0;
    for (; filled < first.first; filled++)
        inputs[filled] = products[0]->inputs[filled];
    for (uint32_t i = 0; i < count; i++)
        inputs[filled++] = products[i]->inputs[first.first];
    for (uint32_t i = 0; i < count && first.biases != 0; i++)
        inputs[filled++] = products[i]->inputs[first.biases];
    return filled;
}

void fuse_replace(ir_graph *graph, const ir_value *from, ir_value *to)
{
    to->name = from->name;
    to->id = from->id;
    ir_graph_replace(graph, from, to);
}
