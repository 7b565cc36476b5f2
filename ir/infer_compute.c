/* Shape rules of arithmetic, products, reductions, states and the raised language-model ops.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/infer.h"

#include <inttypes.h>

/* --- elementwise --- */

/* Operands have one type, except that floats of different width may meet: a folded constant keeps
 * the type of its file, and arithmetic is binary32. */
static td_status merge_types(const ir_node *node, uint32_t first, uint32_t second, ir_type *type)
{
    ir_type a = node->inputs[first]->type, b = node->inputs[second]->type;
    if (a == b || b == IR_OPAQUE)
        *type = a;
    else if (a == IR_OPAQUE)
        *type = b;
    else if (ir_type_is_float(a) && ir_type_is_float(b))
        *type = IR_F32;
    else
        return ir_infer_fail(node,
                             "inputs %" PRIu32 " and %" PRIu32
                             " have element types %s and %s; they must be equal",
                             first + 1, second + 1, ir_type_name(a), ir_type_name(b));
    return TD_OK;
}

static td_status broadcast_inputs(ir_node *node, uint32_t first, uint32_t second)
{
    ir_type type;
    ir_shape shape;
    TD_TRY(merge_types(node, first, second, &type));
    TD_TRY(ir_broadcast_shapes(node, ir_input_shape(node, first), ir_input_shape(node, second),
                               &shape));
    ir_set_output(node, 0, type, &shape);
    return TD_OK;
}

td_status ir_infer_elementwise(ir_node *node)
{
    return broadcast_inputs(node, 0, 1);
}

td_status ir_infer_compare(ir_node *node)
{
    TD_TRY(broadcast_inputs(node, 0, 1));
    node->outputs[0]->type = IR_BOOL;
    return TD_OK;
}

td_status ir_infer_select(ir_node *node)
{
    if (node->inputs[0]->type != IR_BOOL)
        return ir_infer_fail(node, "the condition has element type %s; bool is needed",
                             ir_type_name(node->inputs[0]->type));
    TD_TRY(broadcast_inputs(node, 1, 2));
    return ir_broadcast_shapes(node, &node->outputs[0]->shape, ir_input_shape(node, 0),
                               &node->outputs[0]->shape);
}

td_status ir_infer_unary(ir_node *node)
{
    ir_set_output(node, 0, node->inputs[0]->type, ir_input_shape(node, 0));
    return TD_OK;
}

td_status ir_infer_convert(ir_node *node)
{
    const char *name;
    ir_type type;
    TD_TRY(ir_require_string(node, "type", &name));
    TD_TRY(ir_type_attribute(node, IR_F32, &type));
    ir_set_output(node, 0, type, ir_input_shape(node, 0));
    return TD_OK;
}

/* The result is like the first input; an axis, if the op has one, lies within it. */
td_status ir_infer_same(ir_node *node)
{
    const ir_attribute *axis = ir_node_attribute(node, "axis");
    if (axis != NULL)
        TD_TRY(ir_check_axis(node, axis->integer, ir_input_shape(node, 0)->rank));
    return ir_infer_unary(node);
}

/* --- products and reductions --- */

/* Rows or columns of a matrix operand; a vector has one of either. */
static ir_dim matrix_dim(const ir_shape *shape, bool last, bool transposed)
{
    return shape->dim[shape->rank - (last != transposed ? 1 : 2)];
}

td_status ir_infer_matmul(ir_node *node)
{
    bool transpose_a = ir_node_int(node, "transpose_a", 0) != 0;
    bool transpose_b = ir_node_int(node, "transpose_b", 0) != 0;
    ir_shape a = *ir_input_shape(node, 0), b = *ir_input_shape(node, 1), result;
    ir_type type;
    TD_TRY(merge_types(node, 0, 1, &type));
    if (a.rank == 0 || b.rank == 0)
        return ir_infer_fail(node, "an operand is a scalar; vectors and matrices are accepted");
    /* A vector is a row on the left and a column on the right; its 1 is dropped from the result. */
    bool drop_rows = a.rank == 1, drop_columns = b.rank == 1;
    if (drop_rows) {
        a = (ir_shape){.rank = 2, .dim = {ir_dim_constant(1), a.dim[0]}};
        transpose_a = false;
    }
    if (drop_columns) {
        b = (ir_shape){.rank = 2, .dim = {b.dim[0], ir_dim_constant(1)}};
        transpose_b = false;
    }
    ir_dim inner_a = matrix_dim(&a, true, transpose_a),
           inner_b = matrix_dim(&b, false, transpose_b);
    ir_dim rows = matrix_dim(&a, false, transpose_a), columns = matrix_dim(&b, true, transpose_b);
    ir_dim inner;
    TD_TRY(ir_merge_dims(node, &inner_a, &inner_b, "the lengths of rows and columns to multiply",
                         &inner));
    a.rank -= 2;
    b.rank -= 2;
    TD_TRY(ir_broadcast_shapes(node, &a, &b, &result));
    if (!drop_rows)
        TD_TRY(ir_shape_push(node, &result, &rows));
    if (!drop_columns)
        TD_TRY(ir_shape_push(node, &result, &columns));
    ir_set_output(node, 0, type, &result);
    return TD_OK;
}

td_status ir_infer_reduce(ir_node *node)
{
    const ir_attribute *axes;
    TD_TRY(ir_require_ints(node, "axes", &axes));
    const ir_shape *shape = ir_input_shape(node, 0);
    bool keep = ir_node_int(node, "keep", 0) != 0, reduced[IR_MAX_RANK] = {0};
    for (size_t i = 0; i < axes->count; i++) {
        TD_TRY(ir_check_axis(node, axes->integers[i], shape->rank));
        reduced[axes->integers[i]] = true;
    }
    ir_shape result = {0};
    ir_dim one = ir_dim_constant(1);
    for (uint32_t i = 0; i < shape->rank; i++)
        if (!reduced[i] || keep)
            TD_TRY(ir_shape_push(node, &result, reduced[i] ? &one : &shape->dim[i]));
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

td_status ir_infer_attention(ir_node *node)
{
    const ir_shape *q = ir_input_shape(node, 0), *k = ir_input_shape(node, 1);
    const ir_shape *v = ir_input_shape(node, 2);
    if (q->rank < 2 || k->rank < 2 || v->rank < 2)
        return ir_infer_fail(node, "q, k and v need the dimensions [.., tokens, size]");
    ir_dim merged;
    TD_TRY(ir_merge_dims(node, &q->dim[q->rank - 1], &k->dim[k->rank - 1], "the sizes of q and k",
                         &merged));
    TD_TRY(ir_merge_dims(node, &k->dim[k->rank - 2], &v->dim[v->rank - 2],
                         "the numbers of keys and values", &merged));
    ir_shape lead = *q, other = *v;
    lead.rank -= 2;
    other.rank -= 2;
    TD_TRY(ir_broadcast_shapes(node, &lead, &other, &lead));
    TD_TRY(ir_shape_push(node, &lead, &q->dim[q->rank - 2]));
    TD_TRY(ir_shape_push(node, &lead, &v->dim[v->rank - 1]));
    ir_set_output(node, 0, node->inputs[0]->type, &lead);
    return TD_OK;
}

/* --- states --- */

td_status ir_infer_read_state(ir_node *node)
{
    const ir_state *state;
    TD_TRY(ir_require_state(node, IR_STATE_PLAIN, &state));
    ir_set_output(node, 0, state->type, &state->shape);
    return TD_OK;
}

td_status ir_infer_write_state(ir_node *node)
{
    const ir_state *state;
    TD_TRY(ir_require_state(node, IR_STATE_PLAIN, &state));
    TD_TRY(ir_require_rank(node, 0, state->shape.rank));
    if (node->inputs[0]->type != state->type && node->inputs[0]->type != IR_OPAQUE)
        return ir_infer_fail(node, "a value of element type %s is written to state \"%s\" of %s",
                             ir_type_name(node->inputs[0]->type), state->name,
                             ir_type_name(state->type));
    for (uint32_t i = 0; i < state->shape.rank; i++) {
        ir_dim merged;
        TD_TRY(ir_merge_dims(node, &ir_input_shape(node, 0)->dim[i], &state->shape.dim[i],
                             "sizes of the value and of the state", &merged));
    }
    return TD_OK;
}

td_status ir_infer_cache_commit(ir_node *node)
{
    const ir_state *state;
    TD_TRY(ir_require_rank(node, 0, 1));
    return ir_require_state(node, IR_STATE_CACHE, &state);
}

/* --- raised --- */

static const ir_dim *last_dim(const ir_shape *shape)
{
    return &shape->dim[shape->rank - 1];
}

/* The last dimension, when it is known, is a multiple of `size`. */
static td_status check_multiple(const ir_node *node, const ir_shape *shape, int64_t size,
                                const char *what)
{
    if (shape->rank == 0 || size <= 0 ||
        (ir_dim_is_constant(last_dim(shape)) && last_dim(shape)->constant % size != 0))
        return ir_infer_fail(node, "rows of shape %s are no multiple of %s, %" PRId64,
                             ir_shape_describe(node->graph->module, shape).text, what, size);
    return TD_OK;
}

td_status ir_infer_embed(ir_node *node)
{
    TD_TRY(ir_require_rank(node, 0, 2));
    ir_shape result = *ir_input_shape(node, 1);
    TD_TRY(ir_shape_push(node, &result, &ir_input_shape(node, 0)->dim[1]));
    ir_set_output(node, 0, IR_F32, &result);
    return TD_OK;
}

td_status ir_infer_rms_norm(ir_node *node)
{
    const ir_shape *weight = ir_input_shape(node, 1);
    TD_TRY(ir_require_rank(node, 1, 1));
    if (ir_node_attribute(node, "epsilon") == NULL)
        return ir_infer_fail(node, "attribute \"epsilon\" is missing; a number is needed");
    if (ir_dim_is_constant(&weight->dim[0]))
        TD_TRY(check_multiple(node, ir_input_shape(node, 0), weight->dim[0].constant,
                              "the weight's length"));
    return ir_infer_unary(node);
}

td_status ir_infer_rope(ir_node *node)
{
    int64_t head_size;
    TD_TRY(ir_require_int(node, "head_size", &head_size));
    TD_TRY(check_multiple(node, ir_input_shape(node, 0), head_size, "attribute \"head_size\""));
    return ir_infer_unary(node);
}

td_status ir_infer_rotary_table(ir_node *node)
{
    TD_TRY(ir_require_rank(node, 1, 1));
    ir_shape result = *ir_input_shape(node, 0);
    ir_dim two = ir_dim_constant(2), size;
    if (!ir_dim_multiply(&ir_input_shape(node, 1)->dim[0], &two, &size))
        return ir_infer_fail(node, "the number of frequencies is too large");
    TD_TRY(ir_shape_push(node, &result, &size));
    ir_set_output(node, 0, IR_F32, &result);
    return TD_OK;
}

/* Input 5: a row of cosines and sines for each token. */
static td_status check_table(const ir_node *node, int64_t head_size)
{
    const ir_dim wanted = ir_dim_constant(head_size);
    ir_dim merged;
    TD_TRY(ir_require_rank(node, 4, 2));
    if (node->inputs[4]->type != IR_F32 || head_size % 2 != 0)
        return ir_infer_fail(node,
                             "a table of element type %s turns heads of %" PRId64 "; f32 and an "
                             "even size are needed",
                             ir_type_name(node->inputs[4]->type), head_size);
    TD_TRY(ir_merge_dims(node, &ir_input_shape(node, 4)->dim[1], &wanted,
                         "the width of the table and head_size", &merged));
    return ir_merge_dims(node, &ir_input_shape(node, 4)->dim[0], &ir_input_shape(node, 0)->dim[0],
                         "the rows of the table and of q", &merged);
}

td_status ir_infer_cached_attention(ir_node *node)
{
    const ir_state *state;
    int64_t heads, kv_heads, head_size;
    TD_TRY(ir_require_state(node, IR_STATE_CACHE, &state));
    TD_TRY(ir_require_int(node, "heads", &heads));
    TD_TRY(ir_require_int(node, "kv_heads", &kv_heads));
    TD_TRY(ir_require_int(node, "head_size", &head_size));
    if (ir_node_attribute(node, "scale") == NULL)
        return ir_infer_fail(node, "attribute \"scale\" is missing; a number is needed");
    if (kv_heads != state->kv_heads || head_size != state->head_size)
        return ir_infer_fail(node,
                             "%" PRId64 " KV heads of %" PRId64 " are asked for; state \"%s\" "
                             "has %" PRIu32 " of %" PRIu32,
                             kv_heads, head_size, state->name, state->kv_heads, state->head_size);
    if (heads <= 0 || kv_heads <= 0 || heads % kv_heads != 0 || head_size <= 0 ||
        heads > INT32_MAX || head_size > INT32_MAX)
        return ir_infer_fail(node,
                             "%" PRId64 " heads of %" PRId64 " over %" PRId64 " KV heads do "
                             "not fit; heads must be a multiple of KV heads",
                             heads, head_size, kv_heads);
    for (uint32_t i = 0; i < 3; i++) {
        TD_TRY(ir_require_rank(node, i, 2));
        ir_dim wanted = ir_dim_constant((i == 0 ? heads : kv_heads) * head_size), merged;
        TD_TRY(ir_merge_dims(node, &ir_input_shape(node, i)->dim[1], &wanted,
                             "the length of rows of q, k or v and heads * head_size", &merged));
    }
    if (node->input_count > 4)
        TD_TRY(check_table(node, head_size));
    ir_shape result = {.rank = 2};
    result.dim[0] = ir_input_shape(node, 0)->dim[0];
    result.dim[1] = ir_dim_constant(heads * head_size);
    ir_set_output(node, 0, IR_F32, &result);
    return TD_OK;
}

td_status ir_infer_select_rows(ir_node *node)
{
    ir_shape result = *ir_input_shape(node, 0);
    TD_TRY(ir_require_rank(node, 1, 1));
    if (result.rank == 0)
        return ir_infer_fail(node, "input 1 is a scalar; rows [tokens, d] are needed");
    result.dim[0] = ir_input_shape(node, 1)->dim[0];
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

/* Whoever adds an opaque node sets the types and shapes of its outputs. */
td_status ir_infer_opaque(ir_node *node)
{
    (void)node;
    return TD_OK;
}
