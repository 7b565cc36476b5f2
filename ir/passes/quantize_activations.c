/* Raised form -> raised form in which products of quantised weights take quantised activations:
 * linear(x, w) -> linear_quantized(quantize_rows(x), w), with one quantize_rows for all products of
 * an x. Weights whose groups hold no whole blocks, and float weights, keep their linear.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

static bool is_wanted(const ir_node *node)
{
    return node->op == IR_OP_linear && node->inputs[1]->kind == IR_VALUE_CONSTANT &&
           ir_constant_suits_blocks(node->inputs[1]->constant);
}

/* The quantize_rows of a node's activations, made before the node when it is the first that asks.
 * `quantised` is indexed by the value's number. */
static td_status quantise_input(ir_node *node, ir_node **quantised, ir_node **rows)
{
    ir_value *x = node->inputs[0];
    ir_node **place = &quantised[x->id];
    if (*place == NULL) {
        const char *name = x->producer != NULL ? x->producer->name : node->name;
        TD_TRY(ir_graph_insert_node(node->graph, node, IR_OP_quantize_rows, name, 1, &x, 2, place));
        TD_TRY(ir_node_infer(*place));
    }
    *rows = *place;
    return TD_OK;
}

static td_status quantise_product(ir_node *node, ir_node **quantised)
{
    ir_node *rows = NULL, *product = NULL;
    TD_TRY(quantise_input(node, quantised, &rows));
    ir_value *inputs[4] = {rows->outputs[0], rows->outputs[1], node->inputs[1]};
    if (node->input_count > 2)
        inputs[3] = node->inputs[2];
    TD_TRY(ir_graph_insert_node(node->graph, node, IR_OP_linear_quantized, node->name,
                                node->input_count + 1, inputs, 1, &product));
    TD_TRY(ir_node_infer(product));
    ir_value *from = node->outputs[0], *to = product->outputs[0];
    to->name = from->name;
    to->id = from->id; /* readers further down look their quantize_rows up by it */
    ir_graph_replace(node->graph, from, to);
    ir_graph_remove_node(node->graph, node);
    return TD_OK;
}

static td_status quantise_graph(ir_graph *graph)
{
    td_context *context = graph->module->context;
    ir_graph_number(graph);
    ir_node **quantised =
        td_allocate(context, ((size_t)graph->value_count + 1) * sizeof(ir_node *));
    if (quantised == NULL)
        return td_fail_memory(context);
    td_status status = TD_OK;
    for (ir_node *node = graph->first, *next; node != NULL && status == TD_OK; node = next) {
        next = node->next;
        if (is_wanted(node))
            status = quantise_product(node, quantised);
    }
    td_release(context, quantised);
    ir_graph_number(graph);
    return status;
}

td_status ir_pass_quantize_activations(ir_module *module)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(quantise_graph(module->graphs.items[i]));
    return TD_OK;
}
