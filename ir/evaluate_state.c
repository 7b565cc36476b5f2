/* Plain state variables: read whole, and written whole at the end of a run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

/* The shape of a state that was never written: the declared one; a dimension that no symbol tells
 * is that of the initial value, or 0. False when the initial value does not have this shape. */
static bool initial_shape(const ir_evaluator *evaluator, const ir_value *value,
                          const ir_tensor *initial, int64_t *dims)
{
    bool same_rank = initial != NULL && initial->rank == value->shape.rank;
    bool fits = same_rank && initial->type == value->type;
    for (uint32_t i = 0; i < value->shape.rank; i++) {
        if (!ir_evaluate_dim(evaluator, &value->shape.dim[i], &dims[i]))
            dims[i] = same_rank ? initial->dim[i] : 0;
        fits = fits && initial->dim[i] == dims[i];
    }
    return fits;
}

td_status ir_evaluate_read_state(ir_evaluator *evaluator, const ir_node *node,
                                 const ir_tensor *const *inputs, ir_tensor *outputs)
{
    ir_state_data *state = NULL;
    TD_TRY(ir_evaluate_state(evaluator, node, IR_STATE_PLAIN, &state));
    if (state->written)
        return ir_evaluate_copy(evaluator, node, &state->value, state->value.rank, state->value.dim,
                                &outputs[0]);
    const ir_value *value = node->outputs[0];
    const ir_tensor *initial = node->input_count > 0 ? inputs[0] : NULL;
    int64_t dims[IR_MAX_RANK] = {0};
    if (initial_shape(evaluator, value, initial, dims) && initial->data != NULL)
        return ir_evaluate_copy(evaluator, node, initial, initial->rank, initial->dim, &outputs[0]);
    return ir_evaluate_allocate(evaluator, node, value->type, value->shape.rank, dims, &outputs[0]);
}

td_status ir_evaluate_write_state(ir_evaluator *evaluator, const ir_node *node,
                                  const ir_tensor *const *inputs, ir_tensor *outputs)
{
    (void)outputs;
    ir_state_data *state = NULL;
    ir_tensor copy = {0};
    TD_TRY(ir_evaluate_state(evaluator, node, IR_STATE_PLAIN, &state));
    if (inputs[0]->type != state->state->type)
        return ir_evaluate_fail(
            evaluator, node, TD_INVALID, "it writes %s to state \"%s\", which holds %s",
            ir_type_name(inputs[0]->type), state->state->name, ir_type_name(state->state->type));
    TD_TRY(ir_evaluate_copy(evaluator, node, inputs[0], inputs[0]->rank, inputs[0]->dim, &copy));
    td_release(evaluator->context, state->pending.data);
    state->pending = copy;
    state->has_pending = true;
    return TD_OK;
}
