/* Requires the fused form; maintains it. Adds the graph "greedy" (see passes.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <string.h>

/* The product that makes the logits and that nothing else reads, or NULL. */
static const ir_node *find_head(const ir_graph *forward)
{
    for (size_t i = 0; i < forward->output_count; i++) {
        const ir_value *logits = forward->outputs[i];
        if (strcmp(forward->output_names[i], "logits") != 0)
            continue;
        const ir_node *node = logits->kind == IR_VALUE_RESULT ? logits->producer : NULL;
        const bool fits = node != NULL &&
                          (node->op == IR_OP_linear || node->op == IR_OP_linear_quantized) &&
                          logits->shape.rank == 2 && ir_dim_is_constant(&logits->shape.dim[1]) &&
                          logits->shape.dim[1].constant > 0;
        return fits ? node : NULL;
    }
    return NULL;
}

/* The value called "logits" of the clone becomes the column of the largest. */
static td_status replace_head(ir_graph *greedy)
{
    size_t place = 0;
    while (strcmp(greedy->output_names[place], "logits") != 0)
        place++;
    const ir_node *head = greedy->outputs[place]->producer;
    const ir_opcode op =
        head->op == IR_OP_linear ? IR_OP_linear_largest : IR_OP_linear_quantized_largest;
    ir_node *largest = NULL, *merge = NULL;
    TD_TRY(ir_graph_add_node(greedy, op, head->name, head->input_count, head->inputs, 2, &largest));
    TD_TRY(ir_node_infer(largest));
    TD_TRY(
        ir_graph_add_node(greedy, IR_OP_merge_largest, head->name, 2, largest->outputs, 1, &merge));
    TD_TRY(ir_node_infer(merge));
    greedy->output_count = 0;
    TD_TRY(ir_graph_add_output(greedy, "best", merge->outputs[0]));
    return ir_graph_remove_dead(greedy);
}

td_status ir_pass_add_greedy(ir_module *module)
{
    ir_graph *forward = ir_module_find_graph(module, "forward"), *greedy = NULL;
    if (forward == NULL || find_head(forward) == NULL ||
        ir_module_find_graph(module, "greedy") != NULL)
        return TD_OK;
    TD_TRY(ir_graph_clone(forward, "greedy", &greedy));
    return replace_head(greedy);
}
