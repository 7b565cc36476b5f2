/* Requires and maintains the raised form: linear(x, a), linear(x, b), .. -> linear_group(x, a, b,
 * ..), in the place of the first: q, k and v become one piece of work. Alike for linear_quantized.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

/* Siblings of a product up to itself, in the order of the graph; false when more follow and there
 * is room for them. Their places among the readers of x are given out, too. */
static bool collect_siblings(const ir_node *product, const ir_uses *uses, ir_node **siblings,
                             uint32_t *places, uint32_t *count)
{
    const uint32_t x = product->inputs[0]->id;
    bool passed = false;
    *count = 0;
    for (uint32_t i = uses->offsets[x]; i < uses->offsets[x + 1]; i++) {
        ir_node *reader = uses->readers[i];
        if (reader == NULL || reader->output_count == 0 ||
            fuse_product_of(reader->outputs[0]) != reader || !fuse_are_siblings(product, reader))
            continue;
        if (passed)
            return *count == IR_MOST_GROUPED;
        places[*count] = i;
        siblings[(*count)++] = reader;
        passed = reader == product;
    }
    return true;
}

/* Groups are made at their last member, so that only nodes before are removed. */
static td_status visit(ir_node *node, ir_uses *uses)
{
    if (node->output_count == 0 || fuse_product_of(node->outputs[0]) != node)
        return TD_OK;
    ir_node *siblings[IR_MOST_GROUPED], *group = NULL;
    uint32_t places[IR_MOST_GROUPED], count;
    if (!collect_siblings(node, uses, siblings, places, &count) || count < 2)
        return TD_OK;
    ir_value *inputs[FUSE_MOST_INPUTS];
    const uint32_t input_count = fuse_collect(siblings, count, inputs);
    const ir_opcode op =
        node->op == IR_OP_linear ? IR_OP_linear_group : IR_OP_linear_quantized_group;
    TD_TRY(ir_graph_insert_node(node->graph, siblings[0], op, siblings[0]->name, input_count,
                                inputs, count, &group));
    TD_TRY(ir_node_infer(group));
    for (uint32_t i = 0; i < count; i++) {
        fuse_replace(node->graph, siblings[i]->outputs[0], group->outputs[i]);
        ir_graph_remove_node(node->graph, siblings[i]);
        uses->readers[places[i]] = NULL; /* taken */
    }
    return TD_OK;
}

td_status ir_pass_fuse_siblings(ir_module *module)
{
    return fuse_each(module, visit);
}
