/* Arithmetic on small float constants, done as the evaluator does it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fold.h"

#include <math.h>

/* Elements of a small dense f32 constant; false for anything else. */
static td_status read_numbers(folder *self, const ir_value *value, float *numbers, uint32_t *count,
                              bool *small)
{
    const ir_constant *constant = value->kind == IR_VALUE_CONSTANT ? value->constant : NULL;
    *small = constant != NULL && constant->type == IR_F32 && constant->scale == NULL &&
             !constant->missing && constant->bytes <= FOLD_MAX_LIST * sizeof(float);
    if (!*small)
        return TD_OK;
    *count = (uint32_t)(constant->bytes / sizeof(float));
    return ir_constant_read_f32(self->module->context, constant, 0, *count, numbers);
}

static bool compute(ir_opcode op, float a, float b, float *result)
{
    switch (op) {
    case IR_OP_add:
        *result = a + b;
        return true;
    case IR_OP_subtract:
        *result = a - b;
        return true;
    case IR_OP_multiply:
        *result = a * b;
        return true;
    case IR_OP_divide:
        *result = a / b;
        return true;
    case IR_OP_negate:
        *result = -a;
        return true;
    case IR_OP_square_root:
        *result = sqrtf(a);
        return true;
    default:
        return false;
    }
}

td_status fold_numbers(folder *self, const ir_node *node, ir_value **constant)
{
    float a[FOLD_MAX_LIST] = {0}, b[FOLD_MAX_LIST] = {0}, result[FOLD_MAX_LIST];
    uint32_t left = 0, right = 1;
    uint64_t count;
    bool small;
    *constant = NULL;
    if (!compute(node->op, 1, 1, result) || node->outputs[0]->type != IR_F32 ||
        !ir_shape_is_static(&node->outputs[0]->shape) ||
        !ir_shape_elements_bound(self->module, &node->outputs[0]->shape, &count))
        return TD_OK;
    TD_TRY(read_numbers(self, node->inputs[0], a, &left, &small));
    if (small && node->input_count == 2)
        TD_TRY(read_numbers(self, node->inputs[1], b, &right, &small));
    /* A single number or as many as the result has: other broadcasting is left alone. */
    if (!small || (left != 1 && left != count) || (right != 1 && right != count) ||
        count > FOLD_MAX_LIST || count == 0)
        return TD_OK;
    for (uint64_t i = 0; i < count; i++)
        compute(node->op, a[left == 1 ? 0 : i], b[right == 1 ? 0 : i], &result[i]);
    ir_constant *added;
    TD_TRY(ir_module_add_constant_bytes(self->module, node->name, IR_F32, &node->outputs[0]->shape,
                                        result, &added));
    return ir_graph_add_constant(self->graph, added, constant);
}
