/* Sums of `linear` and its like: out[t][n] = sum over k of x[t][k] * w[n][k], one lane per output
 * row n, k ascending (docs/numerics.md). The weight has any stored type; integers are widened in
 * registers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/product.h"

#define UNROLL 4

/* How far ahead of its use a weight is fetched. */
#define PREFETCH_BYTES 2048
#define CACHE_LINE     64

static const unsigned tile_tokens[] = {8, 6, 5, 4, 3, 2, 1};

/* A run of k whose products go to `sums`: the totals, or the part of one group. */
typedef struct run {
    cg_tile *tile;
    LLVMValueRef *sums;                 /* variables, [panel][token] */
    LLVMValueRef zeros[CG_TILE_PANELS]; /* of the group, as i32 lanes; NULL: none */
} run;

static ir_type stored_type(const cg_tile *tile)
{
    return tile->product->weight->constant->type;
}

static bool is_quantised(const cg_tile *tile)
{
    return tile->product->weight->scale_bytes > 0;
}

/* --- the inner step --- */

static bool is_signed(ir_type type)
{
    return type == IR_I8 || type == IR_I4;
}

/* Sixteen stored integers, widened to 32 bits. */
static LLVMValueRef load_integers(cg_build *build, ir_type type, LLVMValueRef pointer)
{
    LLVMValueRef bytes = cg_load(build, cg_vector(build->i8, CG_LANES), pointer, 16);
    LLVMTypeRef wide = cg_vector(build->i32, CG_LANES);
    return is_signed(type) ? LLVMBuildSExt(build->builder, bytes, wide, "")
                           : LLVMBuildZExt(build->builder, bytes, wide, "");
}

/* The half of each byte that holds element `parity` of a pair. */
static LLVMValueRef take_nibble(cg_build *build, ir_type type, LLVMValueRef bytes, unsigned parity)
{
    LLVMTypeRef wide = LLVMTypeOf(bytes);
    LLVMValueRef four = cg_constant_int(wide, 4), top = cg_constant_int(wide, 28);
    if (is_signed(type)) {
        if (parity == 0)
            bytes = LLVMBuildShl(build->builder, bytes, top, "");
        return LLVMBuildAShr(build->builder, bytes, parity == 0 ? top : four, "");
    }
    return parity == 0 ? LLVMBuildAnd(build->builder, bytes, cg_constant_int(wide, 15), "")
                       : LLVMBuildLShr(build->builder, bytes, four, "");
}

static LLVMValueRef subtract_zero(cg_build *build, LLVMValueRef integers, LLVMValueRef zero)
{
    if (zero != NULL)
        integers = LLVMBuildSub(build->builder, integers, zero, "");
    return LLVMBuildSIToFP(build->builder, integers, cg_vector(build->f32, CG_LANES), "");
}

/* Element k of panel p as floats; an even k leaves its pair of 4-bit elements in *pair. */
static LLVMValueRef load_weights(const run *self, unsigned p, unsigned k, LLVMValueRef data,
                                 LLVMValueRef *pair)
{
    cg_build *build = &self->tile->product->lowering->build;
    const ir_type type = stored_type(self->tile);
    const unsigned bits = ir_type_bits(type);
    if (bits == 4) {
        if (k % 2 == 0)
            *pair = load_integers(build, type, cg_offset_by(build, data, k / 2 * CG_LANES));
        return subtract_zero(build, take_nibble(build, type, *pair, k % 2), self->zeros[p]);
    }
    LLVMValueRef at = cg_offset_by(build, data, (uint64_t)k * CG_LANES * bits / 8);
    return is_quantised(self->tile)
               ? subtract_zero(build, load_integers(build, type, at), self->zeros[p])
               : cg_load_stored(build, type, at, CG_LANES);
}

/* Adds the products of `count` consecutive k to the sums. `data[p]` is where panel p's elements
 * start, `x[t]` where token t's activations start; 4-bit weights start at the low half. */
static void emit_steps(const run *self, unsigned count, LLVMValueRef *data, LLVMValueRef *x)
{
    const cg_tile *tile = self->tile;
    cg_build *build = &tile->product->lowering->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef pairs[CG_TILE_PANELS] = {0};
    const uint64_t bytes = (uint64_t)count * CG_LANES * ir_type_bits(stored_type(tile)) / 8;
    for (unsigned p = 0; p < tile->panels; p++)
        for (uint64_t line = 0; line < bytes; line += CACHE_LINE)
            cg_prefetch(build, cg_offset_by(build, data[p], line + PREFETCH_BYTES));
    for (unsigned k = 0; k < count; k++) {
        LLVMValueRef activations[CG_TILE_TOKENS];
        for (unsigned t = 0; t < tile->tokens; t++)
            activations[t] = cg_splat(
                build, cg_load(build, build->f32, cg_offset_by(build, x[t], 4 * (uint64_t)k), 4),
                CG_LANES);
        for (unsigned p = 0; p < tile->panels; p++) {
            LLVMValueRef weights = load_weights(self, p, k, data[p], &pairs[p]);
            for (unsigned t = 0; t < tile->tokens; t++) {
                LLVMValueRef sum = self->sums[p * tile->tokens + t];
                LLVMValueRef before = cg_load(build, floats, sum, 64);
                cg_store(build, cg_fma(build, activations[t], weights, before), sum, 64);
            }
        }
    }
}

/* Sums k = 0 .. length - 1 counted from `data` (panel 0) and `x` (token 0). */
static void emit_run(const run *self, uint64_t length, LLVMValueRef data, LLVMValueRef x)
{
    const cg_tile *tile = self->tile;
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    const uint64_t whole = length / UNROLL * UNROLL;
    const uint64_t step_bytes = (uint64_t)CG_LANES * ir_type_bits(stored_type(tile)) / 8;
    for (int remainder = 0; remainder < 2; remainder++) {
        const uint64_t first = remainder ? whole : 0, end = remainder ? length : whole;
        if (first == end)
            continue;
        cg_loop loop;
        LLVMValueRef k = cg_i64(build, (int64_t)first);
        if (!remainder) {
            loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)end), UNROLL);
            k = loop.index;
        }
        /* The constant part of an address comes last, where it becomes part of the instruction. */
        LLVMValueRef panels[CG_TILE_PANELS], tokens[CG_TILE_TOKENS];
        for (unsigned p = 0; p < tile->panels; p++)
            panels[p] =
                cg_element(build, cg_offset_by(build, data, p * weight->unit_bytes), k, step_bytes);
        for (unsigned t = 0; t < tile->tokens; t++)
            tokens[t] = cg_element(build, cg_offset_by(build, x, t * weight->columns * 4), k, 4);
        emit_steps(self, remainder ? (unsigned)(end - first) : UNROLL, panels, tokens);
        if (!remainder)
            cg_loop_end(build, &loop);
    }
}

/* --- groups --- */

/* One group: part = sum over the group; total = fma(part, scale, total). */
static void emit_group(run *self, LLVMValueRef group, uint64_t length)
{
    cg_tile *tile = self->tile;
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    for (unsigned i = 0; i < tile->panels * tile->tokens; i++)
        cg_store(build, cg_constant_real(floats, 0), self->sums[i], 64);
    for (unsigned p = 0; p < tile->panels && weight->has_zero; p++) {
        LLVMValueRef at = cg_element(build, tile->parameters[CG_TILE_ZEROS], group, CG_LANES);
        self->zeros[p] = load_integers(build, stored_type(tile),
                                       cg_offset_by(build, at, p * weight->groups * CG_LANES));
    }
    emit_run(self, length,
             cg_element(build, tile->parameters[CG_TILE_WEIGHTS], group, weight->group_bytes),
             cg_element(build, tile->parameters[CG_TILE_X], group, weight->group * 4));
    for (unsigned p = 0; p < tile->panels; p++) {
        const uint64_t scale_row = (uint64_t)CG_LANES * weight->scale_bytes;
        LLVMValueRef at = cg_element(build, tile->parameters[CG_TILE_SCALES], group, scale_row);
        at = cg_offset_by(build, at, p * weight->groups * scale_row);
        LLVMValueRef scale = cg_load_stored(build, weight->constant->scale->type, at, CG_LANES);
        for (unsigned t = 0; t < tile->tokens; t++) {
            const unsigned i = p * tile->tokens + t;
            LLVMValueRef part = cg_load(build, floats, self->sums[i], 64);
            LLVMValueRef total = cg_load(build, floats, tile->totals[i], 64);
            cg_store(build, cg_fma(build, part, scale, total), tile->totals[i], 64);
        }
    }
}

static void emit_groups(run *self)
{
    const cg_weight *weight = self->tile->product->weight;
    cg_build *build = &self->tile->product->lowering->build;
    const uint64_t last = weight->columns - (weight->groups - 1) * weight->group;
    const uint64_t whole = last == weight->group ? weight->groups : weight->groups - 1;
    if (whole > 0) {
        cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)whole), 1);
        emit_group(self, loop.index, weight->group);
        cg_loop_end(build, &loop);
    }
    if (whole < weight->groups)
        emit_group(self, cg_i64(build, (int64_t)whole), last);
}

static void emit_tile(cg_tile *tile)
{
    cg_build *build = &tile->product->lowering->build;
    run self = {.tile = tile, .sums = tile->totals};
    if (!is_quantised(tile)) {
        emit_run(&self, tile->product->weight->columns, tile->parameters[CG_TILE_WEIGHTS],
                 tile->parameters[CG_TILE_X]);
        return;
    }
    LLVMValueRef parts[CG_TILE_SUMS];
    cg_variables(build, cg_vector(build->f32, CG_LANES), tile->panels * tile->tokens, "parts",
                 parts);
    self.sums = parts;
    emit_groups(&self);
}

static unsigned tile_panels(const cg_product *product, unsigned tokens)
{
    unsigned panels = CG_TILE_PANELS;
    while (panels * tokens > product->lowering->cpu->accumulators)
        panels /= 2;
    return panels;
}

cg_product cg_linear_product(uint64_t columns)
{
    return (cg_product){.token_bytes = columns * 4,
                        .tile_tokens = tile_tokens,
                        .tile_count = TD_COUNT_OF(tile_tokens),
                        .panels = tile_panels,
                        .emit = emit_tile};
}
