/* `quantize_rows` and `linear_quantized` (docs/numerics.md, quantised activations).
 *
 * Quantised activations lie in the order in which the products read them. Tokens are cut into the
 * tiles of the products; for each block of 32 k a tile of T tokens has
 *
 *     i8  [8 quads][T][4 k]    short blocks are filled up with zeros
 *     i32 [T]                  minus the sum of the block's integers
 *     f32 [T]                  the block's scale
 *
 * so that a product walks one stream, and the instruction that multiplies 16 rows by four k takes
 * its activations as one broadcast. Stored weights are unsigned, and what they are raised by and
 * their zero points come off a block at once: sum q * (w - zp) = sum q * w + zp * (- sum q).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/dot.h"
#include "codegen/product.h"

#include <math.h>

#define QUADS       (IR_QUANTIZE_BLOCK / 4)
#define BLOCK_BYTES SCHED_QUANTISED_BLOCK_BYTES
#define SUMS_AT     IR_QUANTIZE_BLOCK       /* for each token */
#define SCALES_AT   (IR_QUANTIZE_BLOCK + 4) /* for each token */

/* How far ahead of its use a weight is fetched. */
#define PREFETCH_BYTES 2048
#define CACHE_LINE     64

#define MOST_CHUNKS 4 /* vectors of a step that hold the sums of 16 rows */

static const unsigned tile_tokens[] = {16, 12, 8, 6, 5, 4, 3, 2, 1};

/* --- quantize_rows --- */

enum { QUANTISE_X, QUANTISE_Q, QUANTISE_SCALES, QUANTISE_COUNT };

/* Where a token's numbers go: its tile's first byte, and its place in the tile of `tokens`. */
typedef struct token_place {
    LLVMValueRef base, index, tokens;
} token_place;

static token_place find_place(cg_lowering *lowering, const cg_kernel *kernel, LLVMValueRef token,
                              uint64_t token_bytes)
{
    cg_build *build = &lowering->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef begin = cg_i64(build, 0), first = begin, tokens = cg_i64(build, 1);
    for (size_t i = 0; i < TD_COUNT_OF(tile_tokens); i++) {
        if (cg_tile_panels(lowering->cpu, tile_tokens[i]) == 0)
            continue;
        LLVMValueRef size = cg_i64(build, tile_tokens[i]);
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
    return (token_place){cg_element(build, kernel->operands[QUANTISE_Q], first, token_bytes),
                         LLVMBuildSub(builder, token, first, ""), tokens};
}

void cg_read_quantised(const cg_cpu *cpu, uint64_t tokens, uint64_t columns, const void *stored,
                       int8_t *q)
{
    const int8_t *from = stored;
    const uint64_t blocks = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    for (size_t i = 0; i < TD_COUNT_OF(tile_tokens); i++)
        for (const uint64_t size = tile_tokens[i];
             cg_tile_panels(cpu, tile_tokens[i]) > 0 && tokens >= size; tokens -= size) {
            for (uint64_t t = 0; t < size; t++, q += columns)
                for (uint64_t k = 0; k < columns; k++)
                    q[k] = from[k / IR_QUANTIZE_BLOCK * size * BLOCK_BYTES +
                                (k % IR_QUANTIZE_BLOCK / 4 * size + t) * 4 + k % 4];
            from += blocks * size * BLOCK_BYTES;
        }
}

/* Quantises the `count` numbers at `x`; `block` is where the block of the token's tile starts. */
static void emit_quantise_block(cg_build *build, const token_place *place, LLVMValueRef x,
                                unsigned count, LLVMValueRef block, LLVMValueRef scale_out)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES),
                integers = cg_vector(build->i32, CG_LANES);
    LLVMValueRef number[2], integer[2], magnitude[2];
    for (unsigned half = 0; half < 2; half++) {
        const unsigned from = half * CG_LANES, lanes = count > from ? count - from : 0;
        number[half] = lanes == 0 ? LLVMConstNull(floats)
                                  : cg_load_lanes(build, cg_offset_by(build, x, 4 * from),
                                                  lanes < CG_LANES ? lanes : CG_LANES);
        magnitude[half] =
            LLVMBuildAnd(builder, LLVMBuildBitCast(builder, number[half], integers, ""),
                         cg_constant_int(integers, 0x7fffffff), "");
    }
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
    for (unsigned quad = 0; quad < QUADS; quad++) {
        LLVMValueRef four = cg_shuffle(build, integer[quad / 4], NULL, 4, quad % 4 * 4, 1);
        four = LLVMBuildTrunc(builder, four, cg_vector(build->i8, 4), "");
        cg_store(build, LLVMBuildBitCast(builder, four, build->i32, ""),
                 cg_element(build, at, place->tokens, 4 * (uint64_t)quad), 4);
    }
    cg_store(build, LLVMBuildNeg(builder, sum, ""), cg_element(build, at, place->tokens, SUMS_AT),
             4);
    cg_store(build, scale, cg_element(build, at, place->tokens, SCALES_AT), 4);
    cg_store(build, scale, scale_out, 4);
}

/* Blocks begin .. end (numbered through all tokens) of the rows. */
static void emit_quantise(cg_lowering *lowering, const cg_kernel *kernel, uint64_t columns)
{
    cg_build *build = &lowering->build;
    LLVMBuilderRef builder = build->builder;
    const uint64_t count = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    const uint64_t token_bytes = count * BLOCK_BYTES;
    const unsigned rest = (unsigned)(columns % IR_QUANTIZE_BLOCK);
    LLVMValueRef blocks = cg_i64(build, (int64_t)count), begin, end;
    cg_share(build, kernel, LLVMBuildMul(builder, kernel->rows, blocks, ""), &begin, &end);
    LLVMValueRef next = LLVMBuildAdd(builder, end, cg_i64(build, (int64_t)count - 1), "");
    cg_loop token = cg_loop_begin(build, LLVMBuildUDiv(builder, begin, blocks, ""),
                                  LLVMBuildUDiv(builder, next, blocks, ""), 1);
    const token_place place = find_place(lowering, kernel, token.index, token_bytes);
    LLVMValueRef before = LLVMBuildMul(builder, token.index, blocks, "");
    LLVMValueRef first = LLVMBuildSub(builder, begin, before, "");
    LLVMValueRef negative = LLVMBuildICmp(builder, LLVMIntSLT, first, cg_i64(build, 0), "");
    first = LLVMBuildSelect(builder, negative, cg_i64(build, 0), first, "");
    LLVMValueRef last = cg_minimum_i64(build, LLVMBuildSub(builder, end, before, ""), blocks);
    LLVMValueRef x = cg_element(build, kernel->operands[QUANTISE_X], token.index, columns * 4);
    LLVMValueRef scales = cg_element(build, kernel->operands[QUANTISE_SCALES], before, 4);
    LLVMValueRef block_bytes = LLVMBuildMul(builder, place.tokens, cg_i64(build, BLOCK_BYTES), "");
    LLVMValueRef whole =
        rest == 0 ? last : cg_minimum_i64(build, last, cg_i64(build, (int64_t)count - 1));
    cg_loop loop = cg_loop_begin(build, first, whole, 1);
    LLVMValueRef at = LLVMBuildMul(builder, loop.index, block_bytes, "");
    emit_quantise_block(build, &place, cg_element(build, x, loop.index, 4 * IR_QUANTIZE_BLOCK),
                        IR_QUANTIZE_BLOCK, cg_offset(build, place.base, at),
                        cg_element(build, scales, loop.index, 4));
    cg_loop_end(build, &loop);
    if (rest != 0) {
        cg_branch branch = cg_if(build, LLVMBuildICmp(builder, LLVMIntEQ, last, blocks, ""));
        at = LLVMBuildMul(builder, cg_i64(build, (int64_t)count - 1), block_bytes, "");
        emit_quantise_block(build, &place, cg_offset_by(build, x, 4 * (columns - rest)), rest,
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

/* --- linear_quantized --- */

/* A tile and what its blocks add to: `sums` are the totals or the parts of a group. */
typedef struct quantised_tile {
    cg_tile *tile;
    cg_dot_step step;
    unsigned chunks;                                 /* vectors of the step in 16 rows */
    LLVMValueRef zeros[CG_TILE_PANELS][MOST_CHUNKS]; /* of the group, i32; [0][0] NULL: none */
    LLVMValueRef parts[CG_TILE_SUMS];                /* variables of 16 f32, or NULL */
} quantised_tile;

typedef struct dot_sums {
    LLVMValueRef chunk[CG_TILE_SUMS][MOST_CHUNKS];
} dot_sums;

static const cg_weight *weight_of(const quantised_tile *self)
{
    return self->tile->product->weight;
}

static cg_build *build_of(const quantised_tile *self)
{
    return &self->tile->product->lowering->build;
}

/* Zero points of a group, less what the step takes off the weights, which keeps them in 9 bits. */
static void load_zeros(quantised_tile *self, LLVMValueRef group)
{
    cg_build *build = build_of(self);
    const cg_weight *weight = weight_of(self);
    const unsigned lanes = self->step.lanes;
    LLVMValueRef at = cg_element(build, self->tile->parameters[CG_TILE_ZEROS], group, CG_LANES);
    for (unsigned p = 0; p < self->tile->panels && weight->has_zero; p++)
        for (unsigned c = 0; c < self->chunks; c++) {
            const uint64_t offset = p * weight->groups * CG_LANES + c * lanes;
            LLVMValueRef bytes =
                cg_load(build, cg_vector(build->i8, lanes), cg_offset_by(build, at, offset), 1);
            self->zeros[p][c] =
                LLVMBuildZExt(build->builder, bytes, cg_vector(build->i32, lanes), "");
        }
}

/* What a block's sums start with: what comes off all its weights, times minus the sum of q. */
static void start_sums(const quantised_tile *self, LLVMValueRef x, dot_sums *sums)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    LLVMTypeRef type = cg_vector(build->i32, self->step.lanes);
    const int64_t bias = (int64_t)weight_of(self)->bias - self->step.lowered;
    for (unsigned t = 0; t < tile->tokens; t++) {
        LLVMValueRef start = LLVMConstNull(type);
        LLVMValueRef at = cg_offset_by(build, x, SUMS_AT * tile->tokens + 4 * (uint64_t)t);
        if (weight_of(self)->has_zero || bias != 0)
            start = cg_splat(build, cg_load(build, build->i32, at, 4), self->step.lanes);
        for (unsigned p = 0; p < tile->panels; p++)
            for (unsigned c = 0; c < self->chunks; c++) {
                LLVMValueRef *sum = &sums->chunk[p * tile->tokens + t][c];
                *sum = start;
                if (weight_of(self)->has_zero) {
                    *sum = cg_dot_multiply(build, &self->step, self->zeros[p][c], start);
                    if (self->step.lowered != 0)
                        *sum = LLVMBuildSub(build->builder, *sum,
                                            LLVMBuildMul(build->builder, start,
                                                         cg_constant_int(type, self->step.lowered),
                                                         ""),
                                            "");
                } else if (bias != 0) {
                    *sum = LLVMBuildMul(build->builder, start, cg_constant_int(type, bias), "");
                }
            }
    }
}

/* Quads `quad` (and the next one, with 4 bits) of a panel's chunk. */
static void load_quads(const quantised_tile *self, LLVMValueRef at, cg_dot_operand *quads)
{
    cg_build *build = build_of(self);
    LLVMTypeRef type = cg_vector(build->i8, 4 * self->step.lanes);
    LLVMValueRef bytes = cg_load(build, type, at, 4 * self->step.lanes);
    if (self->step.bits == 8) {
        quads[0] = cg_dot_weights(build, &self->step, bytes);
        return;
    }
    LLVMValueRef low = LLVMBuildAnd(build->builder, bytes, cg_constant_int(type, 15), "");
    LLVMValueRef high = LLVMBuildLShr(build->builder, bytes, cg_constant_int(type, 4), "");
    quads[0] = cg_dot_weights(build, &self->step, low);
    quads[1] = cg_dot_weights(build, &self->step, high);
}

/* The dot products of one block of each panel with each token. */
static void emit_dots(const quantised_tile *self, LLVMValueRef weights, LLVMValueRef x,
                      dot_sums *sums)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    const unsigned per_load = 8 / self->step.bits;
    const uint64_t line = (uint64_t)CG_LANES * 4;
    start_sums(self, x, sums);
    for (unsigned quad = 0; quad < QUADS; quad += per_load) {
        cg_dot_operand loaded[CG_TILE_PANELS][MOST_CHUNKS][2];
        for (unsigned p = 0; p < tile->panels; p++) {
            const uint64_t at = p * weight_of(self)->unit_bytes + quad / per_load * line;
            cg_prefetch(build, cg_offset_by(build, weights, at + PREFETCH_BYTES));
            for (unsigned c = 0; c < self->chunks; c++)
                load_quads(self, cg_offset_by(build, weights, at + 4 * self->step.lanes * c),
                           loaded[p][c]);
        }
        for (unsigned q = 0; q < per_load; q++)
            for (unsigned t = 0; t < tile->tokens; t++) {
                const uint64_t at = ((uint64_t)(quad + q) * tile->tokens + t) * 4;
                const cg_dot_operand four = cg_dot_activations(
                    build, &self->step, cg_load(build, build->i32, cg_offset_by(build, x, at), 4));
                for (unsigned p = 0; p < tile->panels; p++)
                    for (unsigned c = 0; c < self->chunks; c++) {
                        LLVMValueRef *sum = &sums->chunk[p * tile->tokens + t][c];
                        *sum = cg_dot_add(build, &self->step, *sum, &loaded[p][c][q], &four);
                    }
            }
    }
}

/* The sums of 16 rows as floats, which is exact. */
static LLVMValueRef join_sums(const quantised_tile *self, LLVMValueRef *chunks)
{
    cg_build *build = build_of(self);
    LLVMValueRef joined[MOST_CHUNKS];
    for (unsigned c = 0; c < self->chunks; c++)
        joined[c] = chunks[c];
    for (unsigned count = self->chunks; count > 1; count /= 2)
        for (unsigned i = 0; i < count / 2; i++)
            joined[i] =
                cg_shuffle(build, joined[2 * i], joined[2 * i + 1], 2 * CG_LANES / count, 0, 1);
    return LLVMBuildSIToFP(build->builder, joined[0], cg_vector(build->f32, CG_LANES), "");
}

static LLVMValueRef load_scale(const quantised_tile *self, unsigned panel, LLVMValueRef group)
{
    cg_build *build = build_of(self);
    const cg_weight *weight = weight_of(self);
    const uint64_t row = (uint64_t)CG_LANES * weight->scale_bytes;
    LLVMValueRef at = cg_element(build, self->tile->parameters[CG_TILE_SCALES], group, row);
    return cg_load_stored(build, weight->constant->scale->type,
                          cg_offset_by(build, at, panel * weight->groups * row), CG_LANES);
}

/* total = fma(part, scale, total) */
static void add_scaled(const quantised_tile *self, unsigned i, LLVMValueRef part,
                       LLVMValueRef scale)
{
    cg_build *build = build_of(self);
    LLVMValueRef variable = self->tile->totals[i];
    LLVMValueRef total = cg_load(build, cg_vector(build->f32, CG_LANES), variable, 64);
    cg_store(build, cg_fma(build, part, scale, total), variable, 64);
}

/* One block: its dot products times the activations' scales, added to the group's parts; a group of
 * a single block goes to the totals at once. */
static void emit_block(quantised_tile *self, LLVMValueRef block, bool single)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    dot_sums sums;
    LLVMValueRef x =
        cg_element(build, tile->parameters[CG_TILE_X], block, (uint64_t)tile->tokens * BLOCK_BYTES);
    LLVMValueRef weights =
        cg_element(build, tile->parameters[CG_TILE_WEIGHTS], block, weight_of(self)->group_bytes);
    if (single)
        load_zeros(self, block);
    emit_dots(self, weights, x, &sums);
    for (unsigned p = 0; p < tile->panels; p++) {
        LLVMValueRef scale = single ? load_scale(self, p, block) : NULL;
        for (unsigned t = 0; t < tile->tokens; t++) {
            const unsigned i = p * tile->tokens + t;
            LLVMValueRef at = cg_offset_by(build, x, SCALES_AT * tile->tokens + 4 * (uint64_t)t);
            LLVMValueRef x_scale = cg_splat(build, cg_load(build, build->f32, at, 4), CG_LANES);
            LLVMValueRef dot = join_sums(self, sums.chunk[i]);
            if (single) {
                /* fma(dot, scale, 0): a product of integer and scale is never -0 or too small. */
                add_scaled(self, i, LLVMBuildFMul(build->builder, dot, x_scale, ""), scale);
                continue;
            }
            LLVMValueRef part = cg_load(build, floats, self->parts[i], 64);
            cg_store(build, cg_fma(build, dot, x_scale, part), self->parts[i], 64);
        }
    }
}

/* A group of the blocks first .. end - 1. */
static void emit_group(quantised_tile *self, LLVMValueRef group, LLVMValueRef first,
                       LLVMValueRef end)
{
    cg_build *build = build_of(self);
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    const unsigned count = self->tile->panels * self->tile->tokens;
    load_zeros(self, group);
    for (unsigned i = 0; i < count; i++)
        cg_store(build, LLVMConstNull(floats), self->parts[i], 64);
    cg_loop loop = cg_loop_begin(build, first, end, 1);
    emit_block(self, loop.index, false);
    cg_loop_end(build, &loop);
    for (unsigned p = 0; p < self->tile->panels; p++) {
        LLVMValueRef scale = load_scale(self, p, group);
        for (unsigned t = 0; t < self->tile->tokens; t++) {
            const unsigned i = p * self->tile->tokens + t;
            add_scaled(self, i, cg_load(build, floats, self->parts[i], 64), scale);
        }
    }
}

static void emit_tile(cg_tile *tile)
{
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    quantised_tile self = {.tile = tile};
    self.step = cg_dot_step_for(tile->product->lowering->cpu, ir_type_bits(weight->constant->type));
    self.chunks = CG_LANES / self.step.lanes;
    const int64_t blocks = (int64_t)cg_weight_blocks(weight), groups = (int64_t)weight->groups;
    LLVMValueRef zero = cg_i64(build, 0), end = cg_i64(build, blocks);
    if (weight->group == IR_QUANTIZE_BLOCK) {
        cg_loop loop = cg_loop_begin(build, zero, end, 1);
        emit_block(&self, loop.index, true);
        cg_loop_end(build, &loop);
        return;
    }
    for (unsigned i = 0; i < tile->panels * tile->tokens; i++)
        self.parts[i] = cg_variable(build, cg_vector(build->f32, CG_LANES), "part");
    if (groups == 1) {
        emit_group(&self, zero, zero, end);
        return;
    }
    LLVMValueRef size = cg_i64(build, (int64_t)(weight->group / IR_QUANTIZE_BLOCK));
    cg_loop loop = cg_loop_begin(build, zero, cg_i64(build, groups), 1);
    LLVMValueRef first = LLVMBuildMul(build->builder, loop.index, size, "");
    LLVMValueRef last = LLVMBuildAdd(build->builder, first, size, "");
    emit_group(&self, loop.index, first, cg_minimum_i64(build, last, end));
    cg_loop_end(build, &loop);
}

td_status cg_lower_linear_quantized(cg_entry *entry, const ir_node *node)
{
    const ir_value *q = node->inputs[0], *scales = node->inputs[1];
    const ir_node *rows = q->producer;
    if (rows == NULL || rows->op != IR_OP_quantize_rows || scales->producer != rows ||
        !ir_dim_is_constant(&q->shape.dim[1]) || q->shape.rank != 2)
        return cg_refuse(node, "the activations must come from one quantize_rows of a matrix");
    const uint64_t columns = (uint64_t)q->shape.dim[1].constant;
    const uint64_t blocks = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    cg_product product = {.token_bytes = blocks * BLOCK_BYTES,
                          .tile_tokens = tile_tokens,
                          .tile_count = TD_COUNT_OF(tile_tokens),
                          .emit = emit_tile};
    return cg_lower_product(entry, node, 2, CG_ROLE_DOTS, columns, &product);
}
