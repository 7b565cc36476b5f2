/* The table from op to evaluator function.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

#define ROW(op, name)                 [IR_OP_##op] = {ir_evaluate_##name, -1, -1}
#define ROW_STREAMED(op, name, input) [IR_OP_##op] = {ir_evaluate_##name, input, -1}
#define ROW_SHAPE(op, name, input)    [IR_OP_##op] = {ir_evaluate_##name, -1, input}

static const ir_evaluate_row rows[IR_OP_COUNT] = {
    ROW(add, binary),
    ROW(subtract, binary),
    ROW(multiply, binary),
    ROW(divide, binary),
    ROW(power, binary),
    ROW(maximum, binary),
    ROW(minimum, binary),
    ROW(bitwise_and, binary),
    ROW(bitwise_or, binary),
    ROW(equal, compare),
    ROW(not_equal, compare),
    ROW(less, compare),
    ROW(less_equal, compare),
    ROW(greater, compare),
    ROW(greater_equal, compare),
    ROW(select, select),
    ROW(negate, unary),
    ROW(logical_not, unary),
    ROW(absolute, unary),
    ROW(square_root, unary),
    ROW(exponential, unary),
    ROW(sine, unary),
    ROW(cosine, unary),
    ROW(floor, unary),
    ROW(sigmoid, unary),
    ROW(silu, unary),
    ROW(convert, convert),
    ROW(matmul, matmul),
    ROW(reduce_sum, reduce),
    ROW(reduce_mean, reduce),
    ROW(reduce_product, reduce),
    ROW(reduce_maximum, reduce),
    ROW(softmax, softmax),
    ROW_SHAPE(shape_of, shape_of, 0),
    ROW(reshape, reshape),
    ROW(transpose, transpose),
    ROW(broadcast, broadcast),
    ROW(concat, concat),
    ROW(gather, gather),
    ROW(slice, slice),
    ROW(strided_slice, strided_slice),
    ROW(range, range),
    ROW(scatter_update, scatter_update),
    ROW(scatter_nd_update, scatter_nd_update),
    ROW(scatter_elements_update, scatter_elements_update),
    ROW(split, split),
    ROW(tile, tile),
    ROW(top_k, top_k),
    ROW(attention, attention),
    ROW_SHAPE(read_state, read_state, 0),
    ROW(write_state, write_state),
    ROW_STREAMED(embed, embed, 0),
    ROW(rms_norm, rms_norm),
    ROW_STREAMED(linear, linear, 1),
    ROW(quantize_rows, quantize_rows),
    ROW_STREAMED(linear_quantized, linear_quantized, 2),
    ROW(rotary_table, rotary_table),
    ROW(rope, rope),
    ROW(gated_silu, gated_silu),
    ROW(cached_attention, cached_attention),
    ROW(select_rows, select_rows),
    ROW(cache_commit, cache_commit),
};

const ir_evaluate_row *ir_evaluate_row_of(ir_opcode op)
{
    return (unsigned)op < IR_OP_COUNT && rows[op].function != NULL ? &rows[op] : NULL;
}
