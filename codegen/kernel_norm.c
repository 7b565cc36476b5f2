/* rms_norm, and rms_norm_quantize: one row of the weight's length at a time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/quantised.h"

enum { OPERAND_X, OPERAND_WEIGHT, OPERAND_OUT, OPERAND_SCALES, OPERAND_COUNT };

/* Calls `step` for the chunks of 16 of a row of `length`: a loop over whole ones, then the rest. */
typedef void (*chunk_step)(cg_build *build, void *self, LLVMValueRef byte_offset, unsigned lanes);

static void for_chunks(cg_build *build, uint64_t length, chunk_step step, void *self)
{
    const uint64_t whole = length / CG_LANES * CG_LANES;
    if (whole > 0) {
        cg_loop loop =
            cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)whole * 4), CG_LANES * 4);
        step(build, self, loop.index, CG_LANES);
        cg_loop_end(build, &loop);
    }
    if (whole < length)
        step(build, self, cg_i64(build, (int64_t)whole * 4), (unsigned)(length - whole));
}

typedef struct norm_row {
    LLVMValueRef x, weight, out;
    LLVMValueRef lanes;   /* variable: the sums */
    LLVMValueRef inverse; /* splat of 1 / sqrt(...) */
} norm_row;

static void add_squares(cg_build *build, void *self, LLVMValueRef offset, unsigned count)
{
    const norm_row *row = self;
    LLVMValueRef x = cg_load_lanes(build, cg_offset(build, row->x, offset), count);
    LLVMValueRef before = cg_load(build, LLVMTypeOf(x), row->lanes, 64);
    /* A zero square leaves a lane, which is never -0, as it was. */
    cg_store(build, cg_fma(build, x, x, before), row->lanes, 64);
}

/* x * inverse * weight, `count` elements from a byte offset on. */
static LLVMValueRef scaled(cg_build *build, const norm_row *row, LLVMValueRef offset,
                           unsigned count)
{
    LLVMValueRef x = cg_load_lanes(build, cg_offset(build, row->x, offset), count);
    LLVMValueRef weight = cg_load_lanes(build, cg_offset(build, row->weight, offset), count);
    LLVMValueRef y = LLVMBuildFMul(build->builder, x, row->inverse, "");
    return LLVMBuildFMul(build->builder, y, weight, "");
}

static void scale_chunk(cg_build *build, void *self, LLVMValueRef offset, unsigned count)
{
    const norm_row *row = self;
    cg_store_lanes(build, scaled(build, row, offset, count), cg_offset(build, row->out, offset),
                   count);
}

/* Sets row->inverse. */
static void find_inverse(cg_build *build, norm_row *row, uint64_t length, float epsilon)
{
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    cg_store(build, cg_constant_real(floats, 0), row->lanes, 64);
    for_chunks(build, length, add_squares, row);
    LLVMValueRef sum = cg_reduce_lanes(build, cg_load(build, floats, row->lanes, 64));
    LLVMValueRef mean =
        LLVMBuildFDiv(build->builder, sum, cg_constant_real(build->f32, (double)(float)length), "");
    mean = LLVMBuildFAdd(build->builder, mean, cg_constant_real(build->f32, (double)epsilon), "");
    LLVMValueRef inverse = LLVMBuildFDiv(build->builder, cg_constant_real(build->f32, 1),
                                         cg_intrinsic(build, "llvm.sqrt", mean), "");
    row->inverse = cg_splat(build, inverse, CG_LANES);
}

static void emit_norm(cg_build *build, const cg_kernel *kernel, uint64_t length, float epsilon)
{
    norm_row row = {.weight = kernel->operands[OPERAND_WEIGHT],
                    .lanes = cg_variable(build, cg_vector(build->f32, CG_LANES), "lanes")};
    LLVMValueRef begin, end;
    cg_share(build, kernel, kernel->rows, &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    row.x = cg_element(build, kernel->operands[OPERAND_X], loop.index, length * 4);
    row.out = cg_element(build, kernel->operands[OPERAND_OUT], loop.index, length * 4);
    find_inverse(build, &row, length, epsilon);
    for_chunks(build, length, scale_chunk, &row);
    cg_loop_end(build, &loop);
}

td_status cg_lower_rms_norm(cg_entry *entry, const ir_node *node)
{
    cg_build *build = &entry->lowering->build;
    const ir_value *x = node->inputs[0], *weight = node->inputs[1], *out = node->outputs[0];
    uint64_t columns, length;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    if (!ir_shape_elements_bound(entry->graph->module, &weight->shape, &length) || length == 0 ||
        columns % length != 0)
        return cg_refuse(node, "a weight of %llu elements does not divide rows of %llu",
                         (unsigned long long)length, (unsigned long long)columns);
    LLVMValueRef addresses[OPERAND_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[OPERAND_X]));
    TD_TRY(cg_address(entry, node, weight, &addresses[OPERAND_WEIGHT]));
    TD_TRY(cg_address(entry, node, out, &addresses[OPERAND_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    rows = LLVMBuildMul(build->builder, rows, cg_i64(build, (int64_t)(columns / length)), "");
    const float epsilon = (float)ir_node_float(node, "epsilon", 0);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, OPERAND_SCALES, &kernel, &fresh, "rms_norm_%llu_%a",
                           (unsigned long long)length, (double)epsilon));
    if (fresh) {
        emit_norm(build, &kernel, length, epsilon);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_SCALES, rows, addresses);
    return TD_OK;
}

/* --- rms_norm_quantize --- */

/* Block `block` of a row, of `count` elements. */
static void quantise_block(cg_build *build, const norm_row *row, const cg_token_place *place,
                           LLVMValueRef scales, LLVMValueRef block, unsigned count)
{
    LLVMValueRef numbers[2];
    LLVMValueRef offset =
        LLVMBuildMul(build->builder, block, cg_i64(build, (int64_t)IR_QUANTIZE_BLOCK * 4), "");
    for (unsigned half = 0; half < 2; half++) {
        const unsigned from = half * CG_LANES, lanes = count > from ? count - from : 0;
        LLVMValueRef at = LLVMBuildAdd(build->builder, offset, cg_i64(build, 4 * from), "");
        numbers[half] = lanes == 0 ? LLVMConstNull(cg_vector(build->f32, CG_LANES))
                                   : scaled(build, row, at, lanes < CG_LANES ? lanes : CG_LANES);
    }
    LLVMValueRef bytes =
        LLVMBuildMul(build->builder, place->tokens, cg_i64(build, CG_QUANTISED_BLOCK), "");
    LLVMValueRef to = cg_offset(build, place->base, LLVMBuildMul(build->builder, block, bytes, ""));
    cg_quantise_block(build, place, numbers, to, cg_element(build, scales, block, 4));
}

static void emit_norm_quantize(cg_lowering *lowering, const cg_kernel *kernel, uint64_t length,
                               float epsilon)
{
    cg_build *build = &lowering->build;
    const uint64_t whole = length / IR_QUANTIZE_BLOCK;
    const uint64_t blocks = (length + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    norm_row row = {.weight = kernel->operands[OPERAND_WEIGHT],
                    .lanes = cg_variable(build, cg_vector(build->f32, CG_LANES), "lanes")};
    LLVMValueRef begin, end;
    cg_share(build, kernel, kernel->rows, &begin, &end);
    cg_loop token = cg_loop_begin(build, begin, end, 1);
    row.x = cg_element(build, kernel->operands[OPERAND_X], token.index, length * 4);
    find_inverse(build, &row, length, epsilon);
    const cg_token_place place = cg_find_place(lowering, kernel, kernel->operands[OPERAND_OUT],
                                               token.index, blocks * CG_QUANTISED_BLOCK);
    LLVMValueRef scales =
        cg_element(build, kernel->operands[OPERAND_SCALES], token.index, blocks * 4);
    if (whole > 0) {
        cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)whole), 1);
        quantise_block(build, &row, &place, scales, loop.index, IR_QUANTIZE_BLOCK);
        cg_loop_end(build, &loop);
    }
    if (whole < blocks)
        quantise_block(build, &row, &place, scales, cg_i64(build, (int64_t)whole),
                       (unsigned)(length % IR_QUANTIZE_BLOCK));
    cg_loop_end(build, &token);
}

td_status cg_lower_rms_norm_quantize(cg_entry *entry, const ir_node *node)
{
    const ir_value *x = node->inputs[0], *weight = node->inputs[1];
    uint64_t columns, length;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    if (!ir_shape_elements_bound(entry->graph->module, &weight->shape, &length) ||
        columns != length)
        return cg_refuse(node, "a weight of %llu elements does not fit rows of %llu",
                         (unsigned long long)length, (unsigned long long)columns);
    LLVMValueRef addresses[OPERAND_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[OPERAND_X]));
    TD_TRY(cg_address(entry, node, weight, &addresses[OPERAND_WEIGHT]));
    TD_TRY(cg_address(entry, node, node->outputs[0], &addresses[OPERAND_OUT]));
    TD_TRY(cg_address(entry, node, node->outputs[1], &addresses[OPERAND_SCALES]));
    TD_TRY(cg_dimension(entry, node, &x->shape.dim[0], &rows));
    const float epsilon = (float)ir_node_float(node, "epsilon", 0);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, OPERAND_COUNT, &kernel, &fresh,
                           "rms_norm_quantize_%llu_%a", (unsigned long long)length,
                           (double)epsilon));
    if (fresh) {
        emit_norm_quantize(entry->lowering, &kernel, length, epsilon);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, rows, addresses);
    return TD_OK;
}
