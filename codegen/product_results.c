/* What becomes of a product's sums while they are in registers: bias, gate, the residual, their
 * quantisation, or only the largest of them. Each step rounds as the op does that it stands for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/product.h"
#include "codegen/quantised.h"

#include <limits.h>
#include <math.h>

static cg_build *build_of(const cg_strip *strip)
{
    return &strip->part->products[0].lowering->build;
}

static LLVMValueRef result_operand(const cg_strip *strip, unsigned which)
{
    return strip->operands[strip->part->count * CG_WEIGHT_OPERANDS + which];
}

/* Element `panel * 16` of a row of f32. */
static LLVMValueRef row_address(const cg_strip *strip, LLVMValueRef base, unsigned panel)
{
    cg_build *build = build_of(strip);
    return cg_offset_by(build, cg_element(build, base, strip->panel, CG_PANEL_ROWS * 4),
                        (uint64_t)panel * CG_PANEL_ROWS * 4);
}

static LLVMValueRef biased(const cg_strip *strip, unsigned product, unsigned panel, unsigned token,
                           unsigned lanes)
{
    cg_build *build = build_of(strip);
    const cg_tile *tile = &strip->tiles[product];
    LLVMValueRef total = cg_load(build, cg_vector(build->f32, CG_LANES),
                                 tile->totals[panel * strip->tokens + token], 64);
    if (!strip->part->has_bias)
        return total;
    LLVMValueRef base = strip->operands[product * CG_WEIGHT_OPERANDS + CG_WEIGHT_BIAS];
    LLVMValueRef bias = cg_load_lanes(build, row_address(strip, base, panel), lanes);
    return LLVMBuildFAdd(build->builder, total, bias, "");
}

LLVMValueRef cg_strip_number(const cg_strip *strip, unsigned panel, unsigned token, unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMValueRef number = biased(strip, 0, panel, token, lanes);
    if (strip->part->count == 1)
        return number;
    LLVMValueRef second = biased(strip, 1, panel, token, lanes);
    return LLVMBuildFMul(build->builder, cg_silu(build, number), second, "");
}

/* --- the largest --- */

void cg_strip_begin(cg_strip *strip)
{
    cg_build *build = build_of(strip);
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES), columns = cg_vector(build->i32, CG_LANES);
    if (!strip->part->largest)
        return;
    LLVMValueRef first =
        LLVMBuildMul(build->builder, strip->first, cg_i64(build, CG_PANEL_ROWS), "");
    first = LLVMBuildTrunc(build->builder, first, build->i32, "");
    for (unsigned t = 0; t < strip->tokens; t++) {
        strip->largest[t] = cg_variable(build, floats, "largest");
        strip->columns[t] = cg_variable(build, columns, "columns");
        cg_store(build, cg_constant_real(floats, -(double)INFINITY), strip->largest[t], 64);
        cg_store(build, cg_splat(build, first, CG_LANES), strip->columns[t], 64);
    }
}

/* Panels come in ascending order and only a larger number replaces one, so each lane keeps its
 * first; NaN is not larger than anything. */
static void keep_largest(cg_strip *strip, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES), wide = cg_vector(build->i32, CG_LANES);
    LLVMValueRef start = LLVMBuildAdd(builder, strip->panel, cg_i64(build, panel), "");
    start = LLVMBuildMul(builder, start, cg_i64(build, CG_PANEL_ROWS), "");
    start = cg_splat(build, LLVMBuildTrunc(builder, start, build->i32, ""), CG_LANES);
    LLVMValueRef column =
        LLVMBuildAdd(builder, start, cg_constant_ramp(build->i32, CG_LANES, 0), "");
    for (unsigned t = 0; t < strip->tokens; t++) {
        LLVMValueRef number = cg_strip_number(strip, panel, t, lanes);
        LLVMValueRef largest = cg_load(build, floats, strip->largest[t], 64);
        LLVMValueRef before = cg_load(build, wide, strip->columns[t], 64);
        LLVMValueRef more = LLVMBuildFCmp(builder, LLVMRealOGT, number, largest, "");
        if (lanes < CG_LANES) {
            LLVMValueRef limit = cg_constant_int(wide, (int64_t)strip->part->columns);
            LLVMValueRef counts = LLVMBuildICmp(builder, LLVMIntSLT, column, limit, "");
            more = LLVMBuildAnd(builder, more, counts, "");
        }
        cg_store(build, LLVMBuildSelect(builder, more, number, largest, ""), strip->largest[t], 64);
        cg_store(build, LLVMBuildSelect(builder, more, column, before, ""), strip->columns[t], 64);
    }
}

/* Of the lanes that hold the largest number, the one of the first column. */
void cg_strip_end(cg_strip *strip)
{
    cg_build *build = build_of(strip);
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES), wide = cg_vector(build->i32, CG_LANES);
    const uint64_t blocks = (strip->part->columns + CG_BLOCK_ROWS - 1) / CG_BLOCK_ROWS;
    if (!strip->part->largest)
        return;
    LLVMValueRef block =
        LLVMBuildUDiv(builder, strip->first, cg_i64(build, CG_TILE_PANELS), "block");
    LLVMValueRef place = LLVMBuildAdd(
        builder, LLVMBuildMul(builder, strip->token, cg_i64(build, (int64_t)blocks), ""), block,
        "");
    for (unsigned t = 0; t < strip->tokens; t++) {
        LLVMValueRef lanes = cg_load(build, floats, strip->largest[t], 64);
        LLVMValueRef columns = cg_load(build, wide, strip->columns[t], 64);
        LLVMValueRef largest = cg_intrinsic(build, "llvm.vector.reduce.fmax", lanes);
        LLVMValueRef equal =
            LLVMBuildFCmp(builder, LLVMRealOEQ, lanes, cg_splat(build, largest, CG_LANES), "");
        columns = LLVMBuildSelect(builder, equal, columns, cg_constant_int(wide, INT_MAX), "");
        LLVMValueRef column = cg_intrinsic(build, "llvm.vector.reduce.umin", columns);
        /* Adding zero makes a zero positive, of whichever sign it was. */
        largest = LLVMBuildFAdd(builder, largest, cg_constant_real(build->f32, 0), "");
        LLVMValueRef numbers = result_operand(strip, CG_RESULT_OUT);
        LLVMValueRef others = result_operand(strip, CG_RESULT_OTHER);
        cg_store(build, largest,
                 cg_offset_by(build, cg_element(build, numbers, place, 4), t * blocks * 4), 4);
        cg_store(build, column,
                 cg_offset_by(build, cg_element(build, others, place, 4), t * blocks * 4), 4);
    }
}

/* --- rows --- */

static void store_panel(cg_strip *strip, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    const uint64_t row_bytes = strip->part->columns * 4;
    if (strip->part->largest) {
        keep_largest(strip, panel, lanes);
        return;
    }
    for (unsigned t = 0; t < strip->tokens; t++) {
        LLVMValueRef number = cg_strip_number(strip, panel, t, lanes);
        LLVMValueRef out =
            cg_element(build, result_operand(strip, CG_RESULT_OUT), strip->token, row_bytes);
        out = cg_offset_by(build, row_address(strip, out, panel), t * row_bytes);
        if (strip->part->adds) {
            LLVMValueRef addend =
                cg_element(build, result_operand(strip, CG_RESULT_OTHER), strip->token, row_bytes);
            addend = cg_offset_by(build, row_address(strip, addend, panel), t * row_bytes);
            number = LLVMBuildFAdd(build->builder, cg_load_lanes(build, addend, lanes), number, "");
        }
        cg_store_lanes(build, number, out, lanes);
    }
}

/* Only the last panel of the tile can be the result's last one. */
void cg_strip_store(cg_strip *strip)
{
    cg_build *build = build_of(strip);
    const unsigned last = strip->panels - 1;
    const uint64_t columns = strip->part->columns;
    const unsigned last_lanes = (unsigned)(columns % CG_PANEL_ROWS);
    for (unsigned p = 0; p < last; p++)
        store_panel(strip, p, CG_LANES);
    if (last_lanes == 0) {
        store_panel(strip, last, CG_LANES);
        return;
    }
    LLVMValueRef end = LLVMBuildAdd(build->builder, strip->panel, cg_i64(build, last), "");
    LLVMValueRef partial = LLVMBuildICmp(build->builder, LLVMIntEQ, end,
                                         cg_i64(build, (int64_t)(columns / CG_PANEL_ROWS)), "");
    cg_branch branch = cg_if(build, partial);
    store_panel(strip, last, last_lanes);
    cg_else(build, &branch);
    store_panel(strip, last, CG_LANES);
    cg_end_if(build, &branch);
}

/* --- quantised rows --- */

void cg_strip_quantise(cg_strip *strip, LLVMValueRef numbers[2][CG_TILE_TOKENS])
{
    cg_build *build = build_of(strip);
    const uint64_t blocks = strip->part->columns / IR_QUANTIZE_BLOCK, tokens = strip->tokens;
    LLVMValueRef block = LLVMBuildUDiv(build->builder, strip->panel, cg_i64(build, 2), "block");
    LLVMValueRef tile = cg_element(build, result_operand(strip, CG_RESULT_OUT), strip->token,
                                   blocks * CG_QUANTISED_BLOCK);
    tile = cg_element(build, tile, block, tokens * CG_QUANTISED_BLOCK);
    LLVMValueRef scales =
        cg_element(build, result_operand(strip, CG_RESULT_OTHER), strip->token, blocks * 4);
    scales = cg_element(build, scales, block, 4);
    for (unsigned t = 0; t < strip->tokens; t++) {
        const LLVMValueRef pair[2] = {numbers[0][t], numbers[1][t]};
        const cg_token_place place = {tile, cg_i64(build, t), cg_i64(build, strip->tokens)};
        cg_quantise_block(build, &place, pair, tile, cg_offset_by(build, scales, t * blocks * 4));
    }
}
