/* Embedding and matrix products with constant weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <string.h>

/* gather(table [V, d], ids) along axis 0 */
td_status raise_embed(raiser *raise, ir_node *node, bool *applied)
{
    ir_value *table = match_skip(node->inputs[0]);
    if (table->kind != IR_VALUE_CONSTANT || table->shape.rank != 2 ||
        raise_as(raise, node->inputs[1], RAISE_IDS) == NULL || ir_node_int(node, "axis", 0) != 0 ||
        ir_node_int(node, "batch_dims", 0) != 0)
        return TD_OK;
    ir_value *inputs[2] = {NULL, raise->ids}, *rows;
    raise->table = table->constant;
    TD_TRY(raise_constant(raise, table->constant, &inputs[0]));
    TD_TRY(raise_emit_plain(raise, IR_OP_embed, node->name, 2, inputs, &rows));
    *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
    return TD_OK;
}

/* A constant matrix behind unit axes in front. */
static ir_constant *weight_of(ir_value *value)
{
    value = match_skip(value);
    if (value->kind != IR_VALUE_CONSTANT || value->shape.rank != 2)
        return NULL;
    return value->constant;
}

/* Whether two constants are the same stretch of the same file: some exporters list tied weights
 * twice. */
static bool same_data(const ir_constant *a, const ir_constant *b)
{
    if (a == b || a == NULL || b == NULL)
        return a == b;
    return a->type == b->type && a->group == b->group && ir_shape_equal(&a->shape, &b->shape) &&
           a->source.read == b->source.read && a->source.description != NULL &&
           b->source.description != NULL &&
           strcmp(a->source.description, b->source.description) == 0 && !a->missing &&
           same_data(a->scale, b->scale) && same_data(a->zero_point, b->zero_point);
}

static td_status emit_linear(raiser *raise, const ir_node *node, ir_value *x, ir_constant *weight,
                             ir_value *bias, ir_value **rows)
{
    ir_value *inputs[3] = {x, NULL, bias};
    if (same_data(weight, raise->table))
        weight = raise->table;
    TD_TRY(raise_constant(raise, weight, &inputs[1]));
    return raise_emit_plain(raise, IR_OP_linear, node->name, bias != NULL ? 3 : 2, inputs, rows);
}

/* matmul(x, weight) with weight [N, K] transposed, or [K, N] */
td_status raise_linear(raiser *raise, ir_node *node, bool *applied)
{
    ir_constant *weight = weight_of(node->inputs[1]);
    if (weight == NULL || raise_as(raise, node->inputs[0], RAISE_ROWS) == NULL)
        return TD_OK;
    const raise_meaning *x = raise_as_matrix(raise, node->inputs[0]);
    if (x == NULL)
        return raise_because(raise, node, "its input is scaled by a constant or split into heads");
    if (ir_node_int(node, "transpose_a", 0) != 0)
        return raise_because(raise, node, "its input is transposed");
    if (ir_node_int(node, "transpose_b", 0) == 0) {
        if (weight->scale != NULL)
            return raise_because(raise, node,
                                 "its quantised weight is not transposed (wanted: [N, K])");
        TD_TRY(raise_transposed_constant(raise, weight, &weight));
    }
    ir_value *rows;
    TD_TRY(emit_linear(raise, node, x->rows, weight, NULL, &rows));
    *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
    return TD_OK;
}

/* The linear node that made a raised value, or NULL. */
static const ir_node *linear_behind(const ir_value *rows)
{
    const bool made = rows->kind == IR_VALUE_RESULT && rows->producer->op == IR_OP_linear;
    return made ? rows->producer : NULL;
}

/* add(linear without bias, constant vector) */
td_status raise_bias(raiser *raise, ir_node *node, bool *applied)
{
    for (uint32_t i = 0; i < 2; i++) {
        const raise_meaning *x = raise_as_matrix(raise, node->inputs[i]);
        const ir_node *linear = x != NULL ? linear_behind(x->rows) : NULL;
        if (linear == NULL || linear->input_count != 2 ||
            !ir_shape_equal(&node->inputs[i]->shape, &node->outputs[0]->shape))
            continue;
        ir_value *bias, *rows;
        TD_TRY(raise_vector(raise, node->inputs[1 - i], x->rows->shape.dim[1].constant, &bias));
        if (bias == NULL)
            continue;
        TD_TRY(emit_linear(raise, linear, linear->inputs[0], linear->inputs[1]->constant, bias,
                           &rows));
        *applied = raise_set_rows(raise, node->outputs[0], rows, 1.0);
        return TD_OK;
    }
    return TD_OK;
}

/* Features [begin, begin + length) of a linear are a linear with those rows of the weight: fused
 * projections fall into their parts. */
static td_status part_of_linear(raiser *raise, const ir_node *node, const ir_value *output,
                                const ir_node *linear, int64_t begin, int64_t length, bool *applied)
{
    ir_constant *weight;
    ir_value *rows, *bias = NULL;
    TD_TRY(raise_constant_rows(raise, linear->inputs[1]->constant, begin, length, &weight));
    if (linear->input_count == 3) {
        ir_constant *part;
        TD_TRY(raise_constant_rows(raise, linear->inputs[2]->constant, begin, length, &part));
        TD_TRY(raise_constant(raise, part, &bias));
    }
    TD_TRY(emit_linear(raise, node, linear->inputs[0], weight, bias, &rows));
    *applied = raise_set_rows(raise, output, rows, 1.0);
    return TD_OK;
}

/* slice, strided_slice or split of a linear's features */
td_status raise_linear_part(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *x = raise_as_matrix(raise, node->inputs[0]);
    const ir_node *linear = x != NULL ? linear_behind(x->rows) : NULL;
    if (linear == NULL)
        return TD_OK;
    bool all = true;
    for (uint32_t i = 0; i < node->output_count; i++) {
        ir_value *whole;
        int64_t begin, length;
        bool one = false;
        if (match_part(&raise->match, node->outputs[i], &whole, &begin, &length) && length > 0)
            TD_TRY(part_of_linear(raise, node, node->outputs[i], linear, begin, length, &one));
        all = all && one;
    }
    *applied = all;
    return TD_OK;
}
