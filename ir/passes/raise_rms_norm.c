/* RMSNorm: x * w / sqrt(mean(x^2) + epsilon), whatever the order of the factors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#define MAX_FACTORS 6

/* A product taken apart: value^exponent each, exponent 1 or -1. */
typedef struct factor_list {
    ir_value *value[MAX_FACTORS];
    bool inverse[MAX_FACTORS];
    uint32_t count;
} factor_list;

/* Takes multiply and divide apart, but not `whole`. False when there are too many factors. */
static bool take_apart(ir_value *value, ir_value *whole, bool inverse, uint32_t depth,
                       factor_list *factors)
{
    value = match_skip(value);
    const ir_node *node = value->kind == IR_VALUE_RESULT ? value->producer : NULL;
    bool product = node != NULL && (node->op == IR_OP_multiply || node->op == IR_OP_divide);
    if (product && depth > 0 && (whole == NULL || !match_same(value, whole)))
        return take_apart(node->inputs[0], whole, inverse, depth - 1, factors) &&
               take_apart(node->inputs[1], whole, inverse != (node->op == IR_OP_divide), depth - 1,
                          factors);
    if (factors->count == MAX_FACTORS)
        return false;
    factors->value[factors->count] = value;
    factors->inverse[factors->count++] = inverse;
    return true;
}

/* mean(x^2) + epsilon over the last axis of x */
static bool mean_square(matcher *match, ir_value *value, ir_value **x, double *epsilon)
{
    ir_node *sum = match_node(value, IR_OP_add);
    ir_value *mean_value;
    if (sum == NULL || !match_scalar_operand(match, sum, epsilon, &mean_value))
        return false;
    ir_node *mean = match_node(mean_value, IR_OP_reduce_mean);
    if (mean == NULL || ir_node_int(mean, "keep", 1) == 0)
        return false;
    const ir_attribute *axes = ir_node_attribute(mean, "axes");
    int64_t last = (int64_t)mean->inputs[0]->shape.rank - 1;
    if (axes == NULL || axes->count != 1 || (axes->integers[0] != last && axes->integers[0] != -1))
        return false;
    ir_node *power = match_node(mean->inputs[0], IR_OP_power);
    ir_node *square = match_node(mean->inputs[0], IR_OP_multiply);
    if (power != NULL && match_is_number(match, power->inputs[1], 2.0))
        *x = match_skip(power->inputs[0]);
    else if (square != NULL && match_same(square->inputs[0], square->inputs[1]))
        *x = match_skip(square->inputs[0]);
    else
        return false;
    return true;
}

/* One over the root mean square of x, as a factor of a product. */
static bool inverse_root(matcher *match, ir_value *value, bool inverse, ir_value **x,
                         double *epsilon)
{
    ir_node *root = match_node(value, IR_OP_square_root);
    if (root != NULL)
        return inverse && mean_square(match, root->inputs[0], x, epsilon);
    ir_node *power = match_node(value, IR_OP_power);
    return power != NULL && match_is_number(match, power->inputs[1], inverse ? 0.5 : -0.5) &&
           mean_square(match, power->inputs[0], x, epsilon);
}

/* Finds the three factors x, weight and 1 / root; constants 1 do not count. */
static bool find_weight(matcher *match, const factor_list *factors, ir_value *x, uint32_t root,
                        ir_value **weight)
{
    bool have_x = false;
    *weight = NULL;
    for (uint32_t i = 0; i < factors->count; i++) {
        ir_value *value = factors->value[i];
        if (i == root)
            continue;
        if (!factors->inverse[i] && !have_x && match_same(value, x))
            have_x = true;
        else if (match_is_number(match, value, 1.0))
            continue;
        else if (!factors->inverse[i] && *weight == NULL && match_is_constant(match, value))
            *weight = value;
        else
            return false;
    }
    return have_x && *weight != NULL;
}

td_status raise_rms_norm(raiser *raise, ir_node *node, bool *applied)
{
    matcher *match = &raise->match;
    factor_list rough = {0}, factors = {0};
    ir_value *output = node->outputs[0], *x = NULL, *weight;
    double epsilon;
    uint32_t root = 0;
    if (!take_apart(output, NULL, false, 3, &rough))
        return TD_OK;
    for (uint32_t i = 0; i < rough.count && x == NULL; i++)
        inverse_root(match, rough.value[i], rough.inverse[i], &x, &epsilon);
    /* x itself may be a product: with x known, it is left whole */
    if (x == NULL || !take_apart(output, x, false, 3, &factors))
        return TD_OK;
    ir_value *again = NULL;
    for (; root < factors.count; root++)
        if (inverse_root(match, factors.value[root], factors.inverse[root], &again, &epsilon) &&
            match_same(again, x))
            break;
    if (root == factors.count || !find_weight(match, &factors, x, root, &weight))
        return TD_OK;
    const raise_meaning *rows = raise_as(raise, x, RAISE_ROWS);
    if (rows == NULL || rows->factor != 1.0 || !ir_shape_equal(&x->shape, &output->shape))
        return TD_OK;

    ir_value *inputs[2] = {rows->rows, NULL};
    TD_TRY(raise_vector(raise, weight, x->shape.dim[x->shape.rank - 1].constant, &inputs[1]));
    if (inputs[1] == NULL)
        return raise_because(raise, node, "the norm's weight is not one number per feature");
    ir_node *norm;
    TD_TRY(raise_emit(raise, IR_OP_rms_norm, node->name, 2, inputs, &norm));
    TD_TRY(ir_node_set_float(norm, "epsilon", raise_decimal(epsilon)));
    TD_TRY(ir_node_infer(norm));
    *applied = raise_set_rows(raise, output, norm->outputs[0], 1.0);
    return TD_OK;
}
