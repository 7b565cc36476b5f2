/* Sums, products and the gate of the MLP.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

/* A product or quotient with a constant scalar becomes part of the meaning: attention takes the
 * factors of queries and keys into its scale. */
td_status raise_factor(raiser *raise, ir_node *node, bool *applied)
{
    double number;
    ir_value *other;
    if (node->op == IR_OP_divide) {
        other = node->inputs[0];
        if (!match_scalar(&raise->match, node->inputs[1], &number) || number == 0.0)
            return TD_OK;
        number = 1.0 / number;
    } else if (!match_scalar_operand(&raise->match, node, &number, &other)) {
        return TD_OK;
    }
    const raise_meaning *meaning = raise_meaning_of(raise, other);
    if ((meaning->kind != RAISE_ROWS && meaning->kind != RAISE_CACHE &&
         meaning->kind != RAISE_SCORES) ||
        !ir_shape_equal(&other->shape, &node->outputs[0]->shape))
        return TD_OK;
    raise_meaning *result = raise_meaning_of(raise, node->outputs[0]);
    *result = *meaning;
    result->factor *= number;
    *applied = true;
    return TD_OK;
}

/* Two activations of one layout. */
static bool same_layout(const raiser *raise, const ir_node *node, ir_value *rows[2])
{
    const raise_meaning *a = raise_as(raise, node->inputs[0], RAISE_ROWS);
    const raise_meaning *b = raise_as(raise, node->inputs[1], RAISE_ROWS);
    if (a == NULL || b == NULL || a->factor != 1.0 || b->factor != 1.0 || a->before != b->before ||
        !ir_shape_equal(&a->rows->shape, &b->rows->shape) ||
        !ir_shape_equal(&node->inputs[0]->shape, &node->inputs[1]->shape))
        return false;
    rows[0] = a->rows;
    rows[1] = b->rows;
    return true;
}

td_status raise_elementwise(raiser *raise, ir_node *node, bool *applied)
{
    ir_value *inputs[2], *rows;
    if (!same_layout(raise, node, inputs))
        return TD_OK;
    TD_TRY(raise_emit_plain(raise, node->op, node->name, 2, inputs, &rows));
    *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
    return TD_OK;
}

/* silu(x), or multiply(x, sigmoid(x)) */
td_status raise_silu(raiser *raise, ir_node *node, bool *applied)
{
    ir_value *x = node->inputs[0];
    if (node->op == IR_OP_multiply) {
        bool found = false;
        for (uint32_t i = 0; i < 2 && !found; i++) {
            const ir_node *sigmoid = match_node(node->inputs[i], IR_OP_sigmoid);
            x = node->inputs[1 - i];
            found = sigmoid != NULL && match_same(sigmoid->inputs[0], x);
        }
        if (!found)
            return TD_OK;
    }
    const raise_meaning *meaning = raise_as(raise, x, RAISE_ROWS);
    if (meaning == NULL || meaning->factor != 1.0)
        return TD_OK;
    ir_value *input = meaning->rows, *rows;
    TD_TRY(raise_emit_plain(raise, IR_OP_silu, node->name, 1, &input, &rows));
    *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
    return TD_OK;
}

/* multiply(silu(gate), up); the silu itself is dead afterwards */
td_status raise_gated_silu(raiser *raise, ir_node *node, bool *applied)
{
    ir_value *inputs[2], *rows;
    if (!same_layout(raise, node, inputs))
        return TD_OK;
    for (uint32_t i = 0; i < 2; i++) {
        const ir_value *gate = inputs[i];
        if (gate->kind != IR_VALUE_RESULT || gate->producer->op != IR_OP_silu)
            continue;
        ir_value *gated[2] = {gate->producer->inputs[0], inputs[1 - i]};
        TD_TRY(raise_emit_plain(raise, IR_OP_gated_silu, node->name, 2, gated, &rows));
        *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
        return TD_OK;
    }
    return TD_OK;
}
