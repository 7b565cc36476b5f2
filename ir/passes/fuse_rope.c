/* Requires and maintains the raised form: cached_attention(rope(q), rope(k), v, ..) ->
 * cached_attention(q, k, v, .., table), so that heads turn when k is written to the cache and when
 * q is read. A q whose rotation somebody else reads keeps its rope.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fuse.h"

/* The rope that makes a value for the attention alone, heads of its size; else NULL. */
static ir_node *rope_of(const ir_value *value, const ir_node *attention, const ir_uses *uses)
{
    ir_node *node = value->kind == IR_VALUE_RESULT ? value->producer : NULL;
    const bool fits = node != NULL && node->op == IR_OP_rope && fuse_is_read_once(uses, value) &&
                      ir_node_int(node, "head_size", 0) == ir_node_int(attention, "head_size", -1);
    return fits ? node : NULL;
}

static bool turn_alike(const ir_node *a, const ir_node *b)
{
    return a->inputs[1] == b->inputs[1] &&
           ir_node_int(a, "interleaved", 0) == ir_node_int(b, "interleaved", 0);
}

static td_status visit(ir_node *node, ir_uses *uses)
{
    if (node->op != IR_OP_cached_attention || node->input_count != 4)
        return TD_OK;
    ir_node *q = rope_of(node->inputs[0], node, uses), *k = rope_of(node->inputs[1], node, uses);
    if (k == NULL)
        return TD_OK;
    if (q != NULL && !turn_alike(q, k))
        q = NULL;
    ir_value *inputs[] = {q != NULL ? q->inputs[0] : node->inputs[0], k->inputs[0], node->inputs[2],
                          node->inputs[3], k->inputs[1]};
    ir_node *attention = NULL;
    TD_TRY(ir_graph_insert_node(node->graph, node, node->op, node->name, TD_COUNT_OF(inputs),
                                inputs, 1, &attention));
    for (uint32_t i = 0; i < node->attribute_count; i++)
        TD_TRY(ir_node_copy_attribute(attention, &node->attributes[i]));
    TD_TRY(ir_node_set_int(attention, "interleaved", ir_node_int(k, "interleaved", 0)));
    TD_TRY(ir_node_set_int(attention, "rotates_q", q != NULL));
    TD_TRY(ir_node_infer(attention));
    fuse_replace(node->graph, node->outputs[0], attention->outputs[0]);
    ir_graph_remove_node(node->graph, node);
    ir_graph_remove_node(node->graph, k);
    if (q != NULL)
        ir_graph_remove_node(node->graph, q);
    return TD_OK;
}

td_status ir_pass_fuse_rope(ir_module *module)
{
    return fuse_each(module, visit);
}
