/* Requires and maintains the raised form: quantize_rows(rms_norm(x)) -> rms_norm_quantize(x), and
 * the same of linear_quantized_gated where its rows are whole blocks, so that the f32 rows between
 * the two are never stored.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

/* One norm for each row; rows cut into heads are normalised piece by piece. */
static bool is_norm_of_rows(const ir_node *node)
{
    const ir_shape *rows = &node->outputs[0]->shape, *weight = &node->inputs[1]->shape;
    return rows->rank == 2 && ir_dim_equal(&rows->dim[1], &weight->dim[0]);
}

static bool has_whole_blocks(const ir_node *node)
{
    const ir_dim *columns = &node->outputs[0]->shape.dim[1];
    return ir_dim_is_constant(columns) && columns->constant % IR_QUANTIZE_BLOCK == 0;
}

static const struct {
    ir_opcode from, to;
    bool (*fits)(const ir_node *node);
} rows[] = {
    {IR_OP_rms_norm, IR_OP_rms_norm_quantize, is_norm_of_rows},
    {IR_OP_linear_quantized_gated, IR_OP_linear_quantized_gated_quantize, has_whole_blocks},
};

static td_status join(ir_node *quantize, ir_node *producer, ir_opcode op)
{
    ir_node *joined = NULL;
    TD_TRY(ir_graph_insert_node(quantize->graph, quantize, op, producer->name,
                                producer->input_count, producer->inputs, 2, &joined));
    if (producer->op == IR_OP_rms_norm)
        TD_TRY(ir_node_set_float(joined, "epsilon", ir_node_float(producer, "epsilon", 0)));
    TD_TRY(ir_node_infer(joined));
    for (uint32_t i = 0; i < 2; i++)
        fuse_replace(quantize->graph, quantize->outputs[i], joined->outputs[i]);
    ir_graph_remove_node(quantize->graph, quantize);
    ir_graph_remove_node(quantize->graph, producer);
    return TD_OK;
}

static td_status visit(ir_node *node, ir_uses *uses)
{
    if (node->op != IR_OP_quantize_rows || node->inputs[0]->kind != IR_VALUE_RESULT ||
        !fuse_is_read_once(uses, node->inputs[0]))
        return TD_OK;
    ir_node *producer = node->inputs[0]->producer;
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++)
        if (producer->op == rows[i].from && rows[i].fits(producer))
            return join(node, producer, rows[i].to);
    return TD_OK;
}

td_status ir_pass_fuse_quantize(ir_module *module)
{
    return fuse_each(module, visit);
}
