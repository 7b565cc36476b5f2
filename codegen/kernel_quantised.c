/* `linear_quantized` (docs/numerics.md, quantised activations).
 *
 * Stored weights are unsigned, and what they are raised by and their zero points come off a block
 * at once: sum q * (w - zp) = sum q * w + zp * (- sum q). Sums of a block are exact integers; they
 * become floats in registers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/dot.h"
#include "codegen/product.h"
#include "codegen/quantised.h"

/* How far ahead of its use a weight is fetched, measured: by most tiles, by one of 8 tokens, and
 * where tokens take turns, which must find the next blocks there when their turn comes. */
#define PREFETCH_BYTES    6144
#define PREFETCH_BYTES_8  9216
#define TURN_BLOCKS_AHEAD 14
#define CACHE_LINE        64
#define PAGES_AHEAD       4
#define PAGE_BYTES        4096

#define UNDIVIDED_TOKENS 8 /* of two panels: more take turns, */
#define TURN_TOKENS      7 /* of at most so many, whose sums and totals are in registers, */
#define TURN_BLOCKS      8 /* with so many blocks */

#define MOST_CHUNKS 4 /* vectors of a step that hold the sums of 16 rows */

#define MOST_FETCHES 64 /* lines that are asked for during a turn */

/* A tile. The sums and totals of its tokens are in registers: of all, or of those whose turn it is.
 */
typedef struct quantised_tile {
    cg_tile *tile;
    unsigned turns;
    unsigned turn, first, tokens; /* its number, its first token, how many */
    cg_dot_step step;
    unsigned chunks;                                 /* vectors of the step in 16 rows */
    LLVMValueRef zeros[CG_TILE_PANELS][MOST_CHUNKS]; /* of the group, i32; [0][0] NULL: none */
    LLVMValueRef parts[CG_TILE_SUMS];                /* variables of 16 f32, or NULL */
} quantised_tile;

typedef struct dot_sums {
    LLVMValueRef chunk[MOST_CHUNKS][CG_TILE_SUMS]; /* [panel][token of the turn] in each */
} dot_sums;

/* Quads of weights at a step. */
typedef struct dot_quads {
    unsigned first, count; /* of the block: 1 or 2 */
    cg_dot_operand chunk[MOST_CHUNKS][CG_TILE_PANELS][2];
} dot_quads;

/* Lines that later blocks will read, in the order in which a turn asks for them. */
typedef struct fetches {
    LLVMValueRef line[MOST_FETCHES];
    unsigned count, done;
} fetches;

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
    LLVMValueRef at = cg_element(build, self->tile->parameters[CG_TILE_ZEROS], group,
                                 (uint64_t)CG_DOT_PANELS * CG_LANES);
    for (unsigned p = 0; p < self->tile->panels && weight->has_zero; p++)
        for (unsigned c = 0; c < self->chunks; c++) {
            const uint64_t offset = p * CG_LANES + c * lanes;
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
    for (unsigned t = 0; t < self->tokens; t++) {
        LLVMValueRef start = LLVMConstNull(type);
        const bool raised = bias == 128 && !weight_of(self)->has_zero;
        LLVMValueRef at = cg_offset_by(
            build, x,
            (raised ? CG_QUANTISED_RAISED : CG_QUANTISED_SUMS) * tile->tokens + 4 * (uint64_t)t);
        if (weight_of(self)->has_zero || bias != 0)
            start = cg_splat(build, cg_load(build, build->i32, at, 4), self->step.lanes);
        for (unsigned p = 0; p < tile->panels; p++)
            for (unsigned c = 0; c < self->chunks; c++) {
                LLVMValueRef *sum = &sums->chunk[c][p * self->tokens + t];
                *sum = start;
                if (weight_of(self)->has_zero) {
                    *sum = cg_dot_multiply(build, &self->step, self->zeros[p][c], start);
                    if (self->step.lowered != 0)
                        *sum = LLVMBuildSub(build->builder, *sum,
                                            LLVMBuildMul(build->builder, start,
                                                         cg_constant_int(type, self->step.lowered),
                                                         ""),
                                            "");
                } else if (bias != 0 && !raised) {
                    *sum = LLVMBuildMul(build->builder, start, cg_constant_int(type, bias), "");
                }
            }
    }
}

/* Where a stream of the tile, with `bytes` a block, is `count` blocks after `block`: behind the end
 * of the tile's panel comes that of the next tile. */
static LLVMValueRef find_later(const quantised_tile *self, cg_tile_parameter stream, uint64_t bytes,
                               LLVMValueRef block, uint64_t count)
{
    cg_build *build = build_of(self);
    const int64_t blocks = (int64_t)cg_weight_blocks(weight_of(self));
    LLVMValueRef later = LLVMBuildAdd(build->builder, block, cg_i64(build, (int64_t)count), "");
    LLVMValueRef here = cg_element(build, self->tile->parameters[stream], later, bytes);
    LLVMValueRef beyond = LLVMBuildSub(build->builder, later, cg_i64(build, blocks), "");
    LLVMValueRef within =
        LLVMBuildICmp(build->builder, LLVMIntSLT, later, cg_i64(build, blocks), "");
    return LLVMBuildSelect(build->builder, within, here,
                           cg_element(build, self->tile->next[stream], beyond, bytes), "");
}

/* Fetches the first line of a later page of the weights. */
static void fetch_page(const quantised_tile *self, LLVMValueRef block)
{
    cg_build *build = build_of(self);
    LLVMBuilderRef builder = build->builder;
    const uint64_t bytes = weight_of(self)->group_bytes;
    LLVMValueRef at =
        find_later(self, CG_TILE_WEIGHTS, bytes, block, PAGES_AHEAD * PAGE_BYTES / bytes);
    at = LLVMBuildPtrToInt(builder, at, build->i64, "");
    at = LLVMBuildAnd(builder, at, cg_i64(build, -PAGE_BYTES), "");
    cg_prefetch(build, LLVMBuildIntToPtr(builder, at, build->pointer, ""));
}

/* How many blocks before its use a line is asked for. */
static uint64_t blocks_ahead(const quantised_tile *self)
{
    if (self->turns > 1)
        return TURN_BLOCKS_AHEAD;
    return (self->tile->tokens == 8 ? PREFETCH_BYTES_8 : PREFETCH_BYTES) /
           weight_of(self)->group_bytes;
}

/* What tiles read of a block, and what a turn asks for of a later one. */
typedef struct fetched_stream {
    cg_tile_parameter parameter;
    uint64_t bytes; /* of a block */
    uint64_t step;  /* from a line that the tile reads to the next one */
} fetched_stream;

/* Lists what a turn asks for: its share of the lines that the tile will read some blocks later. The
 * processor's own prefetchers stop at the end of each page. */
static void list_fetches(const quantised_tile *self, LLVMValueRef block, bool single, fetches *list)
{
    cg_build *build = build_of(self);
    const cg_weight *weight = weight_of(self);
    list->count = list->done = 0;
    const uint64_t rows = single ? CG_DOT_PANELS * CG_LANES : 0;
    const fetched_stream streams[] = {
        {CG_TILE_WEIGHTS, weight->group_bytes, CG_DOT_PANELS / self->tile->panels * CACHE_LINE},
        {CG_TILE_SCALES, rows * weight->scale_bytes, CACHE_LINE},
        {CG_TILE_ZEROS, weight->has_zero ? rows : 0, CACHE_LINE},
    };
    for (size_t i = 0; i < TD_COUNT_OF(streams); i++) {
        const fetched_stream *row = &streams[i];
        const uint64_t lines = (row->bytes + row->step - 1) / row->step;
        const uint64_t begin = lines * self->turn / self->turns;
        const uint64_t end = lines * (self->turn + 1) / self->turns;
        LLVMValueRef at = find_later(self, row->parameter, row->bytes, block, blocks_ahead(self));
        for (uint64_t line = begin; line < end; line++)
            list->line[list->count++] = cg_offset_by(build, at, line * row->step);
    }
}

/* Asks for what is due of the list with the first `quads` of a block: requests come at the pace of
 * the arithmetic, as a burst of them would keep waiting what the second cache holds. */
static void fetch_share(const quantised_tile *self, fetches *list, unsigned quads)
{
    for (; list->done * CG_QUANTISED_QUADS < list->count * quads; list->done++) {
        LLVMValueRef line = list->line[list->done];
        if (self->tile->product->cached)
            cg_prefetch(build_of(self), line);
        else
            cg_prefetch_stream(build_of(self), line);
    }
}

/* One load of a panel's chunk: a quad, or two of 4 bits. */
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

static void load_step(const quantised_tile *self, LLVMValueRef weights, dot_quads *quads)
{
    const unsigned per_load = 8 / self->step.bits;
    for (unsigned p = 0; p < self->tile->panels; p++)
        for (unsigned q = 0; q < quads->count; q += per_load) {
            const uint64_t at =
                p * CG_DOT_BYTES + (quads->first + q) / per_load * CG_DOT_PANELS * CG_DOT_BYTES;
            for (unsigned c = 0; c < self->chunks; c++)
                load_quads(
                    self,
                    cg_offset_by(build_of(self), weights, at + 4 * self->step.lanes * (uint64_t)c),
                    &quads->chunk[c][p][q]);
        }
}

/* Activations of `count` tokens (each an i32), from `token` on, of a quad. */
static LLVMValueRef load_activations(const quantised_tile *self, LLVMValueRef x, unsigned quad,
                                     unsigned token, unsigned count)
{
    cg_build *build = build_of(self);
    const uint64_t at = ((uint64_t)quad * self->tile->tokens + token) * 4;
    LLVMTypeRef type = count == 1 ? build->i32 : cg_vector(build->i32, count);
    return cg_load(build, type, cg_offset_by(build, x, at), 4);
}

/* Tokens that the step takes two at a time; the others follow them. */
static unsigned paired_tokens(const quantised_tile *self)
{
    return self->step.has_squares ? self->tokens / 2 * 2 : 0;
}

/* The products of a step with each token from `first` on. */
static void add_singles(const quantised_tile *self, const dot_quads *quads, LLVMValueRef x,
                        unsigned first, dot_sums *sums)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    for (unsigned q = 0; q < quads->count; q++)
        for (unsigned t = first; t < self->tokens; t++) {
            const cg_dot_operand four = cg_dot_activations(
                build, &self->step, load_activations(self, x, quads->first + q, t, 1));
            for (unsigned p = 0; p < tile->panels; p++)
                for (unsigned c = 0; c < self->chunks; c++) {
                    LLVMValueRef *sum = &sums->chunk[c][p * self->tokens + t];
                    *sum = cg_dot_add(build, &self->step, *sum, &quads->chunk[c][p][q], &four);
                }
        }
}

/* The products of a step of two quads with the first `end` tokens, whose sums are woven. */
static void add_pairs(const quantised_tile *self, const dot_quads *quads, LLVMValueRef x,
                      unsigned end, dot_sums *sums)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    for (unsigned p = 0; p < tile->panels; p++)
        for (unsigned c = 0; c < self->chunks; c++) {
            const cg_dot_operand woven =
                cg_dot_weave_weights(build, &self->step, quads->chunk[c][p]);
            for (unsigned t = 0; t < end; t += 2) {
                const LLVMValueRef two[] = {load_activations(self, x, quads->first, t, 2),
                                            load_activations(self, x, quads->first + 1, t, 2)};
                const cg_dot_operand eight = cg_dot_weave_activations(build, &self->step, two);
                cg_dot_add_squares(build, &self->step, &sums->chunk[c][p * self->tokens + t],
                                   &woven, &eight);
            }
        }
}

/* Weaves or unweaves (`change`) the sums of the first `end` tokens. */
static void change_pairs(const quantised_tile *self, unsigned end,
                         void (*change)(cg_build *build, LLVMValueRef sums[2]), dot_sums *sums)
{
    for (unsigned p = 0; p < self->tile->panels; p++)
        for (unsigned c = 0; c < self->chunks; c++)
            for (unsigned t = 0; t < end; t += 2)
                change(build_of(self), &sums->chunk[c][p * self->tokens + t]);
}

/* The dot products of one block of each panel with each token. */
static void emit_dots(const quantised_tile *self, LLVMValueRef weights, LLVMValueRef x,
                      fetches *later, dot_sums *sums)
{
    const unsigned paired = paired_tokens(self);
    dot_quads quads = {.count = paired > 0 ? 2 : 8 / self->step.bits};
    start_sums(self, x, sums);
    change_pairs(self, paired, cg_dot_weave_sums, sums);
    for (; quads.first < CG_QUANTISED_QUADS; quads.first += quads.count) {
        load_step(self, weights, &quads);
        fetch_share(self, later, quads.first + quads.count);
        if (paired > 0)
            add_pairs(self, &quads, x, paired, sums);
        add_singles(self, &quads, x, paired, sums);
    }
    change_pairs(self, paired, cg_dot_unweave_sums, sums);
}

/* The sums of 16 rows, number `i` of the tile, as floats, which is exact. */
static LLVMValueRef join_sums(const quantised_tile *self, const dot_sums *sums, unsigned i)
{
    cg_build *build = build_of(self);
    LLVMValueRef joined[MOST_CHUNKS];
    for (unsigned c = 0; c < self->chunks; c++)
        joined[c] = sums->chunk[c][i];
    for (unsigned count = self->chunks; count > 1; count /= 2)
        for (unsigned j = 0; j < count / 2; j++)
            joined[j] =
                cg_shuffle(build, joined[2 * j], joined[2 * j + 1], 2 * CG_LANES / count, 0, 1);
    return LLVMBuildSIToFP(build->builder, joined[0], cg_vector(build->f32, CG_LANES), "");
}

static LLVMValueRef load_scale(const quantised_tile *self, unsigned panel, LLVMValueRef group)
{
    cg_build *build = build_of(self);
    const cg_weight *weight = weight_of(self);
    const uint64_t row = (uint64_t)CG_LANES * weight->scale_bytes;
    LLVMValueRef at =
        cg_element(build, self->tile->parameters[CG_TILE_SCALES], group, CG_DOT_PANELS * row);
    return cg_load_stored(build, weight->constant->scale->type,
                          cg_offset_by(build, at, panel * row), CG_LANES);
}

/* variable = fma(part, scale, variable) */
static void add_scaled(const quantised_tile *self, LLVMValueRef variable, LLVMValueRef part,
                       LLVMValueRef scale)
{
    cg_build *build = build_of(self);
    LLVMValueRef total = cg_load(build, cg_vector(build->f32, CG_LANES), variable, 64);
    cg_store(build, cg_fma(build, part, scale, total), variable, 64);
}

/* A block: dot products times the activations' scales, added to the group's parts; a group of a
 * single block goes to the totals at once. */
static void emit_block(quantised_tile *self, LLVMValueRef block, bool single)
{
    cg_build *build = build_of(self);
    const cg_tile *tile = self->tile;
    dot_sums sums;
    fetches later;
    LLVMValueRef x = cg_element(build, tile->parameters[CG_TILE_X], block,
                                (uint64_t)tile->tokens * CG_QUANTISED_BLOCK);
    x = cg_offset_by(build, x, 4 * (uint64_t)self->first);
    LLVMValueRef weights =
        cg_element(build, tile->parameters[CG_TILE_WEIGHTS], block, weight_of(self)->group_bytes);
    if (single)
        load_zeros(self, block);
    list_fetches(self, block, single, &later);
    emit_dots(self, weights, x, &later, &sums);
    for (unsigned p = 0; p < tile->panels; p++) {
        LLVMValueRef scale = single ? load_scale(self, p, block) : NULL;
        for (unsigned t = 0; t < self->tokens; t++) {
            LLVMValueRef at =
                cg_offset_by(build, x, CG_QUANTISED_SCALES * tile->tokens + 4 * (uint64_t)t);
            LLVMValueRef x_scale = cg_splat(build, cg_load(build, build->f32, at, 4), CG_LANES);
            LLVMValueRef dot = join_sums(self, &sums, p * self->tokens + t);
            const unsigned i = p * tile->tokens + self->first + t;
            /* fma(dot, scale, 0): a product of integer and scale is never -0 or too small. */
            if (single)
                add_scaled(self, tile->totals[i], LLVMBuildFMul(build->builder, dot, x_scale, ""),
                           scale);
            else
                add_scaled(self, self->parts[i], dot, x_scale);
        }
    }
}

/* The blocks first .. end - 1 with the tokens of a turn. */
static void emit_turn(quantised_tile *self, LLVMValueRef first, LLVMValueRef end, bool single)
{
    cg_loop loop = cg_loop_begin(build_of(self), first, end, 1);
    if (self->turn == 0)
        fetch_page(self, loop.index);
    emit_block(self, loop.index, single);
    cg_loop_end(build_of(self), &loop);
}

/* Tokens take turns with a few blocks, which stay in the first cache meanwhile. */
static void emit_blocks(quantised_tile *self, LLVMValueRef first, LLVMValueRef end, bool single)
{
    cg_build *build = build_of(self);
    const unsigned tokens = self->tile->tokens;
    self->turn = self->first = 0;
    self->tokens = tokens;
    if (self->turns == 1) {
        emit_turn(self, first, end, single);
        return;
    }
    cg_loop loop = cg_loop_begin(build, first, end, TURN_BLOCKS);
    LLVMValueRef stop = LLVMBuildAdd(build->builder, loop.index, cg_i64(build, TURN_BLOCKS), "");
    stop = cg_minimum_i64(build, stop, end);
    for (; self->turn < self->turns; self->turn++) {
        self->first = tokens * self->turn / self->turns;
        self->tokens = tokens * (self->turn + 1) / self->turns - self->first;
        emit_turn(self, loop.index, stop, single);
    }
    cg_loop_end(build, &loop);
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
    emit_blocks(self, first, end, false);
    for (unsigned p = 0; p < self->tile->panels; p++) {
        LLVMValueRef scale = load_scale(self, p, group);
        for (unsigned t = 0; t < self->tile->tokens; t++) {
            const unsigned i = p * self->tile->tokens + t;
            add_scaled(self, self->tile->totals[i], cg_load(build, floats, self->parts[i], 64),
                       scale);
        }
    }
}

static void emit_tile(cg_tile *tile)
{
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    const unsigned sums = tile->panels * tile->tokens;
    quantised_tile self = {.tile = tile, .turns = 1};
    if (tile->panels > 1 && tile->tokens > UNDIVIDED_TOKENS)
        self.turns = (tile->tokens + TURN_TOKENS - 1) / TURN_TOKENS;
    self.step = cg_dot_step_for(tile->product->lowering->cpu, ir_type_bits(weight->constant->type));
    self.chunks = CG_LANES / self.step.lanes;
    const int64_t blocks = (int64_t)cg_weight_blocks(weight), groups = (int64_t)weight->groups;
    LLVMValueRef zero = cg_i64(build, 0), end = cg_i64(build, blocks);
    if (weight->group == IR_QUANTIZE_BLOCK) {
        emit_blocks(&self, zero, end, true);
        return;
    }
    cg_variables(build, cg_vector(build->f32, CG_LANES), sums, "parts", self.parts);
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

/* Where a vector holds the sums of 16 rows, a tile of one panel loads each activation for a single
 * instruction, and loads are what bounds it; with two panels multiplications are (docs/codegen.md).
 * Memory is read best as one stream, so weights are to be in a cache. */
static unsigned tile_panels(const cg_product *product, unsigned tokens)
{
    const cg_cpu *cpu = product->lowering->cpu;
    const unsigned bits = ir_type_bits(product->weight->constant->type);
    if (tokens > cpu->accumulators)
        return 0;
    return cg_dot_step_for(cpu, bits).lanes < CG_LANES ? 1 : CG_DOT_PANELS;
}

cg_product cg_quantised_product(uint64_t columns)
{
    const uint64_t blocks = (columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    return (cg_product){.token_bytes = blocks * CG_QUANTISED_BLOCK,
                        .tile_tokens = cg_quantised_tiles,
                        .tile_count = CG_QUANTISED_TILES,
                        .panels = tile_panels,
                        .emit = emit_tile};
}
