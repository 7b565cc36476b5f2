/* What becomes of a product's sums while they are in registers: bias, gate, the residual, their
 * quantisation, or only the largest of them. Each step rounds as the op does that it stands for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/product.h"
#include "codegen/quantised.h"

#include <limits.h>
#include <math.h>

#define VECTOR_BYTES (CG_LANES * 4)
#define LONG_ROW     8192 /* results of a row; a pass writes more than caches keep */

static cg_build *build_of(const cg_strip *strip)
{
    return &strip->part->product.lowering->build;
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

/* A sum plus the bias of its rows. */
static LLVMValueRef biased(const cg_strip *strip, unsigned product, unsigned panel,
                           LLVMValueRef total, unsigned lanes)
{
    cg_build *build = build_of(strip);
    if (!strip->part->has_bias)
        return total;
    LLVMValueRef base = strip->operands[product * CG_WEIGHT_OPERANDS + CG_WEIGHT_BIAS];
    LLVMValueRef bias = cg_load_lanes(build, row_address(strip, base, panel), lanes);
    return LLVMBuildFAdd(build->builder, total, bias, "");
}

/* --- sums in memory --- */

/* What is long code is a loop over tokens, which reads the sums from memory. */
typedef void (*token_step)(cg_strip *strip, LLVMValueRef token, unsigned panel, unsigned lanes);

static void each_token(cg_strip *strip, token_step step, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, strip->tokens), 1);
    step(strip, loop.index, panel, lanes);
    cg_loop_end(build, &loop);
}

static LLVMValueRef kept_place(const cg_strip *strip, LLVMValueRef product, LLVMValueRef place)
{
    cg_build *build = build_of(strip);
    const uint64_t panel_bytes = (uint64_t)strip->tokens * VECTOR_BYTES;
    LLVMValueRef at = cg_element(build, strip->kept, product, CG_TILE_PANELS * panel_bytes);
    return cg_element(build, at, place, panel_bytes);
}

void cg_strip_keep(cg_strip *strip, unsigned panel, LLVMValueRef product, LLVMValueRef place)
{
    cg_build *build = build_of(strip);
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef to = kept_place(strip, product, place);
    for (unsigned t = 0; t < strip->tokens; t++)
        cg_store(build, cg_load(build, floats, strip->tile.totals[panel * strip->tokens + t], 64),
                 cg_offset_by(build, to, t * VECTOR_BYTES), 64);
}

/* A kept sum of product `product`, with its bias. */
static LLVMValueRef kept_number(const cg_strip *strip, unsigned product, unsigned panel,
                                LLVMValueRef token, unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMValueRef at = kept_place(strip, cg_i64(build, product), cg_i64(build, panel));
    at = cg_element(build, at, token, VECTOR_BYTES);
    return biased(strip, product, panel, cg_load(build, cg_vector(build->f32, CG_LANES), at, 64),
                  lanes);
}

static LLVMValueRef gated_number(const cg_strip *strip, unsigned panel, LLVMValueRef token,
                                 unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMValueRef gate = kept_number(strip, 0, panel, token, lanes);
    LLVMValueRef up = kept_number(strip, 1, panel, token, lanes);
    return LLVMBuildFMul(build->builder, cg_silu(build, gate), up, "");
}

/* --- the largest --- */

void cg_strip_begin(cg_strip *strip)
{
    cg_build *build = build_of(strip);
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES), columns = cg_vector(build->i32, CG_LANES);
    if (strip->part->count > 1 || strip->part->largest)
        strip->kept = cg_variable(
            build, LLVMArrayType2(floats, (uint64_t)CG_MOST_GATED * CG_TILE_PANELS * strip->tokens),
            "kept");
    if (!strip->part->largest)
        return;
    strip->largest = cg_variable(build, LLVMArrayType2(floats, strip->tokens), "largest");
    strip->columns = cg_variable(build, LLVMArrayType2(columns, strip->tokens), "columns");
    LLVMValueRef first =
        LLVMBuildMul(build->builder, strip->first, cg_i64(build, CG_PANEL_ROWS), "");
    first = LLVMBuildTrunc(build->builder, first, build->i32, "");
    for (unsigned t = 0; t < strip->tokens; t++) {
        cg_store(build, cg_constant_real(floats, -(double)INFINITY),
                 cg_offset_by(build, strip->largest, t * VECTOR_BYTES), 64);
        cg_store(build, cg_splat(build, first, CG_LANES),
                 cg_offset_by(build, strip->columns, t * VECTOR_BYTES), 64);
    }
}

/* Panels come in ascending order and only a larger number replaces one, so each lane keeps its
 * first; NaN is not larger than anything. */
static void keep_largest(cg_strip *strip, LLVMValueRef token, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES), wide = cg_vector(build->i32, CG_LANES);
    LLVMValueRef start = LLVMBuildAdd(builder, strip->panel, cg_i64(build, panel), "");
    start = LLVMBuildMul(builder, start, cg_i64(build, CG_PANEL_ROWS), "");
    start = cg_splat(build, LLVMBuildTrunc(builder, start, build->i32, ""), CG_LANES);
    LLVMValueRef column =
        LLVMBuildAdd(builder, start, cg_constant_ramp(build->i32, CG_LANES, 0), "");
    LLVMValueRef number = kept_number(strip, 0, panel, token, lanes);
    LLVMValueRef largest_at = cg_element(build, strip->largest, token, VECTOR_BYTES);
    LLVMValueRef column_at = cg_element(build, strip->columns, token, VECTOR_BYTES);
    LLVMValueRef largest = cg_load(build, floats, largest_at, 64);
    LLVMValueRef before = cg_load(build, wide, column_at, 64);
    LLVMValueRef more = LLVMBuildFCmp(builder, LLVMRealOGT, number, largest, "");
    if (lanes < CG_LANES) {
        LLVMValueRef limit = cg_constant_int(wide, (int64_t)strip->part->columns);
        LLVMValueRef counts = LLVMBuildICmp(builder, LLVMIntSLT, column, limit, "");
        more = LLVMBuildAnd(builder, more, counts, "");
    }
    cg_store(build, LLVMBuildSelect(builder, more, number, largest, ""), largest_at, 64);
    cg_store(build, LLVMBuildSelect(builder, more, column, before, ""), column_at, 64);
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
    LLVMValueRef place = LLVMBuildMul(builder, strip->token, cg_i64(build, (int64_t)blocks), "");
    place = LLVMBuildAdd(builder, place, block, "");
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, strip->tokens), 1);
    LLVMValueRef lanes =
        cg_load(build, floats, cg_element(build, strip->largest, loop.index, VECTOR_BYTES), 64);
    LLVMValueRef columns =
        cg_load(build, wide, cg_element(build, strip->columns, loop.index, VECTOR_BYTES), 64);
    LLVMValueRef largest = cg_intrinsic(build, "llvm.vector.reduce.fmax", lanes);
    LLVMValueRef equal =
        LLVMBuildFCmp(builder, LLVMRealOEQ, lanes, cg_splat(build, largest, CG_LANES), "");
    columns = LLVMBuildSelect(builder, equal, columns, cg_constant_int(wide, INT_MAX), "");
    LLVMValueRef column = cg_intrinsic(build, "llvm.vector.reduce.umin", columns);
    /* Adding zero makes a zero positive, of whichever sign it was. */
    largest = LLVMBuildFAdd(builder, largest, cg_constant_real(build->f32, 0), "");
    LLVMValueRef row = cg_i64(build, (int64_t)blocks);
    row = LLVMBuildAdd(builder, LLVMBuildMul(builder, loop.index, row, ""), place, "");
    cg_store(build, largest, cg_element(build, result_operand(strip, CG_RESULT_OUT), row, 4), 4);
    cg_store(build, column, cg_element(build, result_operand(strip, CG_RESULT_OTHER), row, 4), 4);
    cg_loop_end(build, &loop);
}

/* --- rows --- */

static LLVMValueRef result_row(const cg_strip *strip, unsigned which, LLVMValueRef token)
{
    cg_build *build = build_of(strip);
    LLVMValueRef number = LLVMBuildAdd(build->builder, strip->token, token, "");
    return cg_element(build, result_operand(strip, which), number, strip->part->columns * 4);
}

static void store_gated(cg_strip *strip, LLVMValueRef token, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    LLVMValueRef out = row_address(strip, result_row(strip, CG_RESULT_OUT, token), panel);
    cg_store_lanes(build, gated_number(strip, panel, token, lanes), out, lanes);
}

static void store_product(cg_strip *strip, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    for (unsigned t = 0; t < strip->tokens; t++) {
        LLVMValueRef total = cg_load(build, cg_vector(build->f32, CG_LANES),
                                     strip->tile.totals[panel * strip->tokens + t], 64);
        LLVMValueRef number = biased(strip, 0, panel, total, lanes), token = cg_i64(build, t);
        LLVMValueRef out = row_address(strip, result_row(strip, CG_RESULT_OUT, token), panel);
        if (strip->part->adds) {
            LLVMValueRef addend = result_row(strip, CG_RESULT_OTHER, token);
            addend = cg_load_lanes(build, row_address(strip, addend, panel), lanes);
            number = LLVMBuildFAdd(build->builder, addend, number, "");
        }
        cg_store_lanes(build, number, out, lanes);
    }
}

/* Asks for the lines that a tile's results go to: a long row of results has long left the caches,
 * and stores that wait for memory keep those behind them waiting. */
void cg_strip_fetch(cg_strip *strip)
{
    cg_build *build = build_of(strip);
    if (strip->part->largest || strip->part->quantises || strip->part->columns < LONG_ROW)
        return;
    for (unsigned t = 0; t < strip->tokens; t++) {
        LLVMValueRef row = result_row(strip, CG_RESULT_OUT, cg_i64(build, t));
        for (unsigned p = 0; p < strip->panels; p++)
            cg_prefetch(build, row_address(strip, row, p));
    }
}

static void store_panel(cg_strip *strip, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    if (strip->part->largest) {
        cg_strip_keep(strip, panel, cg_i64(build, 0), cg_i64(build, panel));
        each_token(strip, keep_largest, panel, lanes);
    } else if (strip->part->count > 1) {
        each_token(strip, store_gated, panel, lanes);
    } else {
        store_product(strip, panel, lanes);
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

static void quantise_token(cg_strip *strip, LLVMValueRef token, unsigned panel, unsigned lanes)
{
    cg_build *build = build_of(strip);
    const uint64_t blocks = strip->part->columns / IR_QUANTIZE_BLOCK, tokens = strip->tokens;
    LLVMValueRef block = LLVMBuildUDiv(build->builder, strip->panel, cg_i64(build, 2), "block");
    LLVMValueRef tile = cg_element(build, result_operand(strip, CG_RESULT_OUT), strip->token,
                                   blocks * CG_QUANTISED_BLOCK);
    tile = cg_element(build, tile, block, tokens * CG_QUANTISED_BLOCK);
    LLVMValueRef scale = LLVMBuildAdd(build->builder, strip->token, token, "");
    scale = cg_element(build, result_operand(strip, CG_RESULT_OTHER), scale, blocks * 4);
    const LLVMValueRef numbers[] = {gated_number(strip, panel, token, lanes),
                                    gated_number(strip, panel + 1, token, lanes)};
    const cg_token_place place = {tile, token, cg_i64(build, strip->tokens)};
    cg_quantise_block(build, &place, numbers, tile, cg_element(build, scale, block, 4));
}

void cg_strip_quantise(cg_strip *strip)
{
    each_token(strip, quantise_token, 0, CG_LANES);
}
