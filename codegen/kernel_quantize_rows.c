/* `quantize_rows` (docs/numerics.md, quantised activations), into the order of codegen/quantised.h.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/quantised.h"

#include <math.h>

const unsigned cg_quantised_tiles[CG_QUANTISED_TILES] = {16, 8, 7, 6, 5, 4, 3, 2, 1};

enum { QUANTISE_X, QUANTISE_Q, QUANTISE_SCALES, QUANTISE_COUNT };

cg_token_place cg_find_place(cg_lowering *lowering, const cg_kernel *kernel, LLVMValueRef base,
                             LLVMValueRef token, uint64_t token_bytes)
{
    cg_build *build = &lowering->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef begin = cg_i64(build, 0), first = begin, tokens = cg_i64(build, 1);
    for (size_t i = 0; i < CG_QUANTISED_TILES; i++) {
        if (cg_quantised_tiles[i] > lowering->cpu->accumulators)
            continue;
        LLVMValueRef size = cg_i64(build, cg_quantised_tiles[i]);
        LLVMValueRef left = LLVMBuildSub(builder, kernel->rows, begin, "");
        LLVMValueRef count =
            LLVMBuildMul(builder, LLVMBuildUDiv(builder, left, size, ""), size, "");
        LLVMValueRef within = LLVMBuildSub(builder, token, begin, "");
        LLVMValueRef here =
            LLVMBuildAnd(builder, LLVMBuildICmp(builder, LLVMIntSGE, within, cg_i64(build, 0), ""),
                         LLVMBuildICmp(builder, LLVMIntSLT, within, count, ""), "");
        LLVMValueRef skipped = LLVMBuildURem(builder, within, size, "");
        first =
            LLVMBuildSelect(builder, here, LLVMBuildSub(builder, token, skipped, ""), first, "");
        tokens = LLVMBuildSelect(builder, here, size, tokens, "");
        begin = LLVMBuildAdd(builder, begin, count, "");
    }
    return (cg_token_place){cg_element(build, base, first, token_bytes),
                            LLVMBuildSub(builder, token, first, ""), tokens};
}

void cg_read_quantised(const cg_cpu *cpu, uint64_t tokens, uint64_t columns, const void *stored,
                       int8_t *q)
{
    const int8_t *from = stored;
    const uint64_t blocks = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    for (size_t i = 0; i < CG_QUANTISED_TILES; i++)
        for (const uint64_t size = cg_quantised_tiles[i];
             cg_quantised_tiles[i] <= cpu->accumulators && tokens >= size; tokens -= size) {
            for (uint64_t t = 0; t < size; t++, q += columns)
                for (uint64_t k = 0; k < columns; k++)
                    q[k] = from[k / IR_QUANTIZE_BLOCK * size * CG_QUANTISED_BLOCK +
                                (k % IR_QUANTIZE_BLOCK / 4 * size + t) * 4 + k % 4];
            from += blocks * size * CG_QUANTISED_BLOCK;
        }
}

void cg_quantise_block(cg_build *build, const cg_token_place *place, const LLVMValueRef *number,
                       LLVMValueRef block, LLVMValueRef scale_out)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES),
                integers = cg_vector(build->i32, CG_LANES);
    LLVMValueRef integer[2], magnitude[2];
    for (unsigned half = 0; half < 2; half++)
        magnitude[half] =
            LLVMBuildAnd(builder, LLVMBuildBitCast(builder, number[half], integers, ""),
                         cg_constant_int(integers, 0x7fffffff), "");
    LLVMValueRef larger =
        LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntUGT, magnitude[0], magnitude[1], ""),
                        magnitude[0], magnitude[1], "");
    LLVMValueRef largest = cg_intrinsic(build, "llvm.vector.reduce.umax", larger);
    LLVMValueRef m = LLVMBuildBitCast(builder, largest, build->f32, "");
    LLVMValueRef finite =
        LLVMBuildICmp(builder, LLVMIntULT, largest, cg_i32(build, 0x7f800000), "");
    LLVMValueRef normal =
        LLVMBuildFCmp(builder, LLVMRealOGE, m, cg_constant_real(build->f32, 0x1.fcp-120), "");
    normal = LLVMBuildAnd(builder, finite, normal, "");
    LLVMValueRef full = cg_constant_real(build->f32, 127);
    LLVMValueRef scale = LLVMBuildSelect(builder, normal, LLVMBuildFDiv(builder, m, full, ""),
                                         cg_constant_real(build->f32, 0), "");
    scale = LLVMBuildSelect(builder, finite, scale, LLVMConstReal(build->f32, (double)NAN), "");
    LLVMValueRef inverse = cg_splat(build, LLVMBuildFDiv(builder, full, m, ""), CG_LANES);
    /* Adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the low bits. */
    LLVMValueRef magic = cg_constant_real(floats, 0x1.8p23);
    for (unsigned half = 0; half < 2; half++) {
        LLVMValueRef scaled = LLVMBuildFMul(builder, number[half], inverse, "");
        LLVMValueRef rounded = LLVMBuildFAdd(builder, scaled, magic, "");
        integer[half] = LLVMBuildSub(builder, LLVMBuildBitCast(builder, rounded, integers, ""),
                                     cg_constant_int(integers, 0x4b400000), "");
        integer[half] =
            LLVMBuildSelect(builder, normal, integer[half], LLVMConstNull(integers), "");
    }
    LLVMValueRef sum = cg_intrinsic(build, "llvm.vector.reduce.add",
                                    LLVMBuildAdd(builder, integer[0], integer[1], ""));
    LLVMValueRef at =
        cg_offset(build, block, LLVMBuildMul(builder, place->index, cg_i64(build, 4), ""));
    for (unsigned quad = 0; quad < CG_QUANTISED_QUADS; quad++) {
        LLVMValueRef four = cg_shuffle(build, integer[quad / 4], NULL, 4, quad % 4 * 4, 1);
        four = LLVMBuildTrunc(builder, four, cg_vector(build->i8, 4), "");
        cg_store(build, LLVMBuildBitCast(builder, four, build->i32, ""),
                 cg_element(build, at, place->tokens, 4 * (uint64_t)quad), 4);
    }
    cg_store(build, LLVMBuildNeg(builder, sum, ""),
             cg_element(build, at, place->tokens, CG_QUANTISED_SUMS), 4);
    cg_store(build, LLVMBuildMul(builder, sum, cg_i32(build, -128), ""),
             cg_element(build, at, place->tokens, CG_QUANTISED_RAISED), 4);
    cg_store(build, scale, cg_element(build, at, place->tokens, CG_QUANTISED_SCALES), 4);
    cg_store(build, scale, scale_out, 4);
}

/* cg_quantise_block for `count` (1 .. 32) numbers in memory. */
static void quantise_numbers(cg_build *build, const cg_token_place *place, LLVMValueRef x,
                             unsigned count, LLVMValueRef block, LLVMValueRef scale_out)
{
    LLVMValueRef numbers[2];
    for (unsigned half = 0; half < 2; half++) {
        const unsigned from = half * CG_LANES, lanes = count > from ? count - from : 0;
        numbers[half] = lanes == 0 ? LLVMConstNull(cg_vector(build->f32, CG_LANES))
                                   : cg_load_lanes(build, cg_offset_by(build, x, 4 * from),
                                                   lanes < CG_LANES ? lanes : CG_LANES);
    }
    cg_quantise_block(build, place, numbers, block, scale_out);
}

/* Blocks begin .. end (numbered through all tokens) of the rows. */
static void emit_quantise(cg_lowering *lowering, const cg_kernel *kernel, uint64_t columns)
{
    cg_build *build = &lowering->build;
    LLVMBuilderRef builder = build->builder;
    const uint64_t count = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    const uint64_t token_bytes = count * CG_QUANTISED_BLOCK;
    const unsigned rest = (unsigned)(columns % IR_QUANTIZE_BLOCK);
    LLVMValueRef blocks = cg_i64(build, (int64_t)count), begin, end;
    cg_share(build, kernel, LLVMBuildMul(builder, kernel->rows, blocks, ""), &begin, &end);
    LLVMValueRef next = LLVMBuildAdd(builder, end, cg_i64(build, (int64_t)count - 1), "");
    cg_loop token = cg_loop_begin(build, LLVMBuildUDiv(builder, begin, blocks, ""),
                                  LLVMBuildUDiv(builder, next, blocks, ""), 1);
    const cg_token_place place =
        cg_find_place(lowering, kernel, kernel->operands[QUANTISE_Q], token.index, token_bytes);
    LLVMValueRef before = LLVMBuildMul(builder, token.index, blocks, "");
    LLVMValueRef first = LLVMBuildSub(builder, begin, before, "");
    LLVMValueRef negative = LLVMBuildICmp(builder, LLVMIntSLT, first, cg_i64(build, 0), "");
    first = LLVMBuildSelect(builder, negative, cg_i64(build, 0), first, "");
    LLVMValueRef last = cg_minimum_i64(build, LLVMBuildSub(builder, end, before, ""), blocks);
    LLVMValueRef x = cg_element(build, kernel->operands[QUANTISE_X], token.index, columns * 4);
    LLVMValueRef scales = cg_element(build, kernel->operands[QUANTISE_SCALES], before, 4);
    LLVMValueRef block_bytes =
        LLVMBuildMul(builder, place.tokens, cg_i64(build, CG_QUANTISED_BLOCK), "");
    LLVMValueRef whole =
        rest == 0 ? last : cg_minimum_i64(build, last, cg_i64(build, (int64_t)count - 1));
    cg_loop loop = cg_loop_begin(build, first, whole, 1);
    LLVMValueRef at = LLVMBuildMul(builder, loop.index, block_bytes, "");
    quantise_numbers(build, &place, cg_element(build, x, loop.index, 4 * IR_QUANTIZE_BLOCK),
                     IR_QUANTIZE_BLOCK, cg_offset(build, place.base, at),
                     cg_element(build, scales, loop.index, 4));
    cg_loop_end(build, &loop);
    if (rest != 0) {
        cg_branch branch = cg_if(build, LLVMBuildICmp(builder, LLVMIntEQ, last, blocks, ""));
        at = LLVMBuildMul(builder, cg_i64(build, (int64_t)count - 1), block_bytes, "");
        quantise_numbers(build, &place, cg_offset_by(build, x, 4 * (columns - rest)), rest,
                         cg_offset(build, place.base, at),
                         cg_offset_by(build, scales, 4 * (count - 1)));
        cg_end_if(build, &branch);
    }
    cg_loop_end(build, &token);
}

td_status cg_lower_quantize_rows(cg_entry *entry, const ir_node *node)
{
    const ir_value *x = node->inputs[0];
    uint64_t columns;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    LLVMValueRef addresses[QUANTISE_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[QUANTISE_X]));
    TD_TRY(cg_address(entry, node, node->outputs[0], &addresses[QUANTISE_Q]));
    TD_TRY(cg_address(entry, node, node->outputs[1], &addresses[QUANTISE_SCALES]));
    TD_TRY(cg_dimension(entry, node, &x->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, QUANTISE_COUNT, &kernel, &fresh, "quantize_rows_%llu",
                           (unsigned long long)columns));
    if (fresh) {
        emit_quantise(entry->lowering, &kernel, columns);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, QUANTISE_COUNT, rows, addresses);
    return TD_OK;
}
