/* Attention over one block of 64 keys: scores, softmax within the block, its share of the output,
 * and the merge with the blocks before it (docs/numerics.md).
 *
 * The rows that share a KV head are computed together: a vector of K or V is loaded and converted
 * once for all of them. Tiles hold as many sums as registers do. Nothing is ever added for a key
 * that takes no part, so that what it holds does not matter.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/attention.h"

#define BLOCK       IR_ATTENTION_BLOCK
#define PANELS      (BLOCK / CG_LANES) /* of 16 keys, in a block */
#define SCORE_BYTES (BLOCK * 4)
#define CACHE_LINE  64

unsigned cg_attention_chunk_lanes(const cg_attention *self, unsigned chunk)
{
    const uint64_t left = self->size - (uint64_t)chunk * CG_LANES;
    return left < CG_LANES ? (unsigned)left : CG_LANES;
}

/* Address of a row's part of a memory of `bytes` a row. */
static LLVMValueRef row_place(const cg_attention *self, LLVMValueRef memory,
                              const cg_attention_rows *rows, unsigned row, uint64_t bytes)
{
    LLVMValueRef start = cg_element(self->build, memory, rows->first, bytes);
    return cg_offset_by(self->build, start, row * bytes);
}

static LLVMValueRef query(const cg_attention *self, const cg_attention_rows *rows, unsigned row)
{
    /* Those that were rotated lie one after the other. */
    const uint64_t heads = self->turn.queries ? self->heads : self->all_heads;
    const uint64_t place = row / self->heads * heads + row % self->heads;
    return cg_offset_by(self->build, rows->q, place * self->size * 4);
}

/* Rows of a tile of which `columns` vectors should stay in registers: all, or as many as fit. */
static unsigned tile_rows(const cg_attention *self, const cg_attention_rows *rows)
{
    return rows->count < self->accumulators ? rows->count : self->accumulators;
}

/* The largest power of two of columns that fit beside `rows` rows, at most `most`. */
static unsigned tile_columns(const cg_attention *self, unsigned rows, unsigned most)
{
    unsigned columns = 1;
    while (columns * 2 <= most && columns * 2 * rows <= self->accumulators)
        columns *= 2;
    return columns;
}

/* --- scores --- */

/* Rows first .. first + count - 1 by 16 * panels keys. */
typedef struct score_tile {
    unsigned first, count, panels;
    LLVMValueRef keys, scales; /* of its first key */
    LLVMValueRef to;           /* of the first row and key */
    uint64_t to_bytes;         /* from row to row */
    LLVMValueRef values;       /* V of these keys, to be fetched with the K behind; NULL: neither */
} score_tile;

static LLVMValueRef finish_score(const cg_attention *self, LLVMValueRef score)
{
    cg_build *build = self->build;
    LLVMTypeRef floats = LLVMTypeOf(score);
    score = LLVMBuildFMul(build->builder, score, cg_constant_real(floats, (double)self->scale), "");
    if (self->softcap > 0) {
        LLVMValueRef cap = cg_constant_real(floats, (double)self->softcap);
        score = cg_tanh(build, LLVMBuildFDiv(build->builder, score, cap, ""));
        score = LLVMBuildFMul(build->builder, cap, score, "");
    }
    return score;
}

/* Fetches V of the tile's keys, and K of those a block later: both lie as densely as the K at
 * `offset` bytes from the tile's start, of which `bytes` are read now. */
static void fetch_ahead(const cg_attention *self, const score_tile *tile, LLVMValueRef offset,
                        uint64_t bytes)
{
    cg_build *build = self->build;
    const uint64_t panel_bytes = cg_cache_panel_bytes(&self->cache);
    LLVMValueRef starts[] = {tile->values, cg_offset_by(build, tile->keys, PANELS * panel_bytes)};
    for (unsigned i = 0; i < TD_COUNT_OF(starts); i++) {
        LLVMValueRef at = cg_offset(build, starts[i], offset);
        for (unsigned p = 0; p < tile->panels; p++)
            for (uint64_t line = 0; line < bytes; line += CACHE_LINE)
                cg_prefetch(build, cg_offset_by(build, at, p * panel_bytes + line));
    }
}

static void emit_score_tile(const cg_attention *self, const cg_attention_rows *rows,
                            const score_tile *tile)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef sums[CG_ATTENTION_ROWS][PANELS], scales[PANELS];
    const uint64_t key_bytes = CG_LANES * self->cache.element_bytes;
    const uint64_t panel_bytes = cg_cache_panel_bytes(&self->cache);
    for (unsigned p = 0; p < tile->panels && self->cache.type == IR_I8; p++)
        scales[p] = cg_load_stored(
            build, IR_F16, cg_offset_by(build, tile->scales, (uint64_t)p * CG_LANES * 2), CG_LANES);
    for (unsigned r = 0; r < tile->count; r++)
        for (unsigned p = 0; p < tile->panels; p++) {
            sums[r][p] = cg_variable(build, floats, "score");
            cg_store(build, cg_constant_real(floats, 0), sums[r][p], 64);
        }
    const unsigned step = self->size % 2 == 0 ? 2 : 1;
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)self->size), step);
    if (tile->values != NULL)
        fetch_ahead(self, tile,
                    LLVMBuildMul(builder, loop.index, cg_i64(build, (int64_t)key_bytes), ""),
                    step * key_bytes);
    for (unsigned d = 0; d < step; d++) {
        LLVMValueRef keys[PANELS];
        LLVMValueRef at = cg_element(build, tile->keys, loop.index, key_bytes);
        for (unsigned p = 0; p < tile->panels; p++) {
            LLVMValueRef from = cg_offset_by(build, at, d * key_bytes + p * panel_bytes);
            keys[p] = cg_load_stored(build, self->cache.type, from, CG_LANES);
            if (self->cache.type == IR_I8)
                keys[p] = LLVMBuildFMul(builder, keys[p], scales[p], "");
        }
        for (unsigned r = 0; r < tile->count; r++) {
            LLVMValueRef from =
                cg_element(build, query(self, rows, tile->first + r), loop.index, 4);
            LLVMValueRef q = cg_splat(
                build, cg_load(build, build->f32, cg_offset_by(build, from, d * 4), 4), CG_LANES);
            for (unsigned p = 0; p < tile->panels; p++) {
                LLVMValueRef before = cg_load(build, floats, sums[r][p], 64);
                cg_store(build, cg_fma(build, q, keys[p], before), sums[r][p], 64);
            }
        }
    }
    cg_loop_end(build, &loop);
    for (unsigned r = 0; r < tile->count; r++)
        for (unsigned p = 0; p < tile->panels; p++)
            cg_store(build, finish_score(self, cg_load(build, floats, sums[r][p], 64)),
                     cg_offset_by(build, tile->to, r * tile->to_bytes + (uint64_t)p * CG_LANES * 4),
                     64);
}

/* All rows by the `panels` panels from slot 16 * panel on, to `memory` + offset. */
static void emit_panels(const cg_attention *self, const cg_attention_rows *rows, LLVMValueRef panel,
                        unsigned panels, bool fetches, LLVMValueRef memory, LLVMValueRef offset,
                        uint64_t bytes)
{
    cg_build *build = self->build;
    const unsigned height = tile_rows(self, rows);
    LLVMValueRef keys = cg_element(build, self->keys, panel, cg_cache_panel_bytes(&self->cache));
    LLVMValueRef scales = cg_element(build, self->key_scales, panel, CG_LANES * 2);
    LLVMValueRef values =
        cg_element(build, self->values, panel, cg_cache_panel_bytes(&self->cache));
    for (unsigned first = 0; first < rows->count; first += height) {
        const unsigned left = rows->count - first;
        const score_tile tile = {
            first,  left < height ? left : height,
            panels, keys,
            scales, cg_offset(build, row_place(self, memory, rows, first, bytes), offset),
            bytes,  fetches && first == 0 ? values : NULL};
        emit_score_tile(self, rows, &tile);
    }
}

void cg_attention_direct_scores(const cg_attention *self, const cg_attention_rows *rows,
                                LLVMValueRef first, LLVMValueRef end, bool several)
{
    cg_build *build = self->build;
    const unsigned step = several ? tile_columns(self, tile_rows(self, rows), PANELS) : 1;
    cg_loop loop = cg_loop_begin(build, first, end, step);
    LLVMValueRef panel = LLVMBuildLShr(build->builder, rows->base, cg_i64(build, 4), "");
    emit_panels(self, rows, LLVMBuildAdd(build->builder, panel, loop.index, ""), step, several,
                self->scores,
                LLVMBuildMul(build->builder, loop.index, cg_i64(build, CG_LANES * 4), ""),
                SCORE_BYTES);
    cg_loop_end(build, &loop);
}

static LLVMValueRef listed_slot(const cg_attention *self, LLVMValueRef index)
{
    cg_build *build = self->build;
    LLVMValueRef slot = cg_load(build, build->i32, cg_element(build, self->places, index, 4), 4);
    return LLVMBuildZExt(build->builder, slot, build->i64, "");
}

void cg_attention_listed_scores(const cg_attention *self, const cg_attention_rows *rows,
                                LLVMValueRef begin)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef current = cg_variable(build, build->i64, "panel");
    cg_store(build, cg_i64(build, -1), current, 8);
    cg_loop loop = cg_loop_begin(build, begin, rows->upper, 1);
    LLVMValueRef slot = listed_slot(self, loop.index);
    LLVMValueRef panel = LLVMBuildLShr(builder, slot, cg_i64(build, 4), "");
    LLVMValueRef lane = LLVMBuildAnd(builder, slot, cg_i64(build, CG_LANES - 1), "");
    LLVMValueRef is_new =
        LLVMBuildICmp(builder, LLVMIntNE, panel, cg_load(build, build->i64, current, 8), "");
    cg_branch fresh = cg_if(build, is_new);
    emit_panels(self, rows, panel, 1, false, self->found, cg_i64(build, 0), CG_LANES * 4);
    cg_store(build, panel, current, 8);
    cg_end_if(build, &fresh);
    for (unsigned r = 0; r < rows->count; r++) {
        LLVMValueRef from = row_place(self, self->found, rows, r, CG_LANES * 4);
        LLVMValueRef to = row_place(self, self->scores, rows, r, SCORE_BYTES);
        cg_store(build, cg_load(build, build->f32, cg_element(build, from, lane, 4), 4),
                 cg_element(build, to, loop.index, 4), 4);
    }
    cg_loop_end(build, &loop);
}

/* --- softmax --- */

/* Which of the indices 16 * panel .. 16 * panel + 15 of the block take part; NULL: all. */
static LLVMValueRef taking_part(const cg_attention *self, const cg_attention_rows *rows,
                                unsigned panel)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    if (rows->upper == NULL)
        return NULL;
    LLVMValueRef index = cg_constant_ramp(build->i32, CG_LANES, panel * CG_LANES);
    LLVMValueRef upper = LLVMBuildTrunc(builder, rows->upper, build->i32, "");
    LLVMValueRef taking =
        LLVMBuildICmp(builder, LLVMIntSLT, index, cg_splat(build, upper, CG_LANES), "");
    if (self->window == 0)
        return taking;
    LLVMValueRef lower = LLVMBuildTrunc(builder, rows->lower, build->i32, "");
    return LLVMBuildAnd(
        builder, taking,
        LLVMBuildICmp(builder, LLVMIntSGE, index, cg_splat(build, lower, CG_LANES), ""), "");
}

static LLVMValueRef largest_lane(cg_build *build, LLVMValueRef lanes)
{
    for (unsigned step = CG_LANES / 2; step > 0; step /= 2)
        lanes = cg_maximum(build, cg_shuffle(build, lanes, NULL, step, 0, 1),
                           cg_shuffle(build, lanes, NULL, step, step, 1));
    return cg_lane(build, lanes, 0);
}

/* Turns one row's scores into exp(score - largest), 0 where nothing takes part, and keeps the
 * largest score and the sum. */
static void emit_weights(const cg_attention *self, const cg_attention_rows *rows,
                         LLVMValueRef const *taking, LLVMValueRef row)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef nothing = cg_constant_real(floats, -INFINITY), zero = cg_constant_real(floats, 0);
    LLVMValueRef place = LLVMBuildAdd(builder, rows->first, row, "");
    LLVMValueRef at = cg_element(build, self->scores, place, SCORE_BYTES);
    LLVMValueRef scores[PANELS], most[PANELS], lanes = NULL;
    for (unsigned p = 0; p < PANELS; p++) {
        scores[p] = cg_load(build, floats, cg_offset_by(build, at, p * CG_LANES * 4), 64);
        if (taking[p] != NULL)
            scores[p] = LLVMBuildSelect(builder, taking[p], scores[p], nothing, "");
        most[p] = scores[p];
    }
    for (unsigned step = PANELS / 2; step > 0; step /= 2)
        for (unsigned p = 0; p < step; p++)
            most[p] = cg_maximum(build, most[p], most[p + step]);
    LLVMValueRef largest = largest_lane(build, most[0]);
    for (unsigned p = 0; p < PANELS; p++) {
        LLVMValueRef weight = cg_exp(
            build, LLVMBuildFSub(builder, scores[p], cg_splat(build, largest, CG_LANES), ""));
        if (taking[p] != NULL)
            weight = LLVMBuildSelect(builder, taking[p], weight, zero, "");
        cg_store(build, weight, cg_offset_by(build, at, p * CG_LANES * 4), 64);
        lanes = p == 0 ? weight : LLVMBuildFAdd(builder, lanes, weight, "");
    }
    cg_store(build, largest, cg_element(build, self->block_largest, place, 4), 4);
    cg_store(build, cg_reduce_lanes(build, lanes), cg_element(build, self->block_sum, place, 4), 4);
}

/* m and l of all rows; how what was and what the block brings are weighed. */
static void emit_factors(const cg_attention *self, const cg_attention_rows *rows)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, rows->count);
    LLVMValueRef memories[] = {self->largest,   self->block_largest, self->sum,
                               self->block_sum, self->old,           self->fresh};
    LLVMValueRef at[TD_COUNT_OF(memories)], values[4];
    for (unsigned i = 0; i < TD_COUNT_OF(memories); i++)
        at[i] = row_place(self, memories[i], rows, 0, 4);
    for (unsigned i = 0; i < TD_COUNT_OF(values); i++)
        values[i] = cg_load(build, floats, at[i], 4);
    LLVMValueRef largest = cg_maximum(build, values[0], values[1]);
    LLVMValueRef old = cg_exp(build, LLVMBuildFSub(builder, values[0], largest, ""));
    LLVMValueRef fresh = cg_exp(build, LLVMBuildFSub(builder, values[1], largest, ""));
    LLVMValueRef sum = cg_fma(build, values[2], old, LLVMBuildFMul(builder, values[3], fresh, ""));
    cg_store(build, largest, at[0], 4);
    cg_store(build, sum, at[2], 4);
    cg_store(build, old, at[4], 4);
    cg_store(build, fresh, at[5], 4);
}

/* --- values --- */

/* Rows row .. row + height - 1 by the chunks chunk .. chunk + width - 1 of the head. */
typedef struct value_tile {
    unsigned row, height, chunk, width;
} value_tile;

/* The vectors of V of one key. */
static void load_values(const cg_attention *self, const cg_attention_rows *rows,
                        const value_tile *tile, LLVMValueRef index, LLVMValueRef *values)
{
    cg_build *build = self->build;
    const unsigned bytes = self->cache.element_bytes;
    LLVMValueRef slot = rows->upper == NULL ? LLVMBuildAdd(build->builder, rows->base, index, "")
                                            : listed_slot(self, index);
    LLVMValueRef row = cg_element(build, self->values, slot, self->size * bytes), scale = NULL;
    if (self->cache.type == IR_I8)
        scale = cg_lane(
            build, cg_load_stored(build, IR_F16, cg_element(build, self->value_scales, slot, 2), 1),
            0);
    for (unsigned c = 0; c < tile->width; c++) {
        const unsigned chunk = tile->chunk + c;
        LLVMValueRef from = cg_offset_by(build, row, (uint64_t)chunk * CG_LANES * bytes);
        LLVMValueRef value = cg_widen(build, cg_load_stored(build, self->cache.type, from,
                                                            cg_attention_chunk_lanes(self, chunk)));
        values[c] = scale == NULL ? value
                                  : LLVMBuildFMul(build->builder, value,
                                                  cg_splat(build, scale, CG_LANES), "");
    }
}

static void emit_value_tile(const cg_attention *self, const cg_attention_rows *rows,
                            const value_tile *tile)
{
    cg_build *build = self->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef sums[CG_ATTENTION_ROWS][CG_ATTENTION_MAX_CHUNKS];
    LLVMValueRef values[CG_ATTENTION_MAX_CHUNKS];
    for (unsigned r = 0; r < tile->height; r++)
        for (unsigned c = 0; c < tile->width; c++) {
            sums[r][c] = cg_variable(build, floats, "value");
            cg_store(build, cg_constant_real(floats, 0), sums[r][c], 64);
        }
    LLVMValueRef begin = rows->lower != NULL ? rows->lower : cg_i64(build, 0);
    LLVMValueRef end = rows->upper != NULL ? rows->upper : cg_i64(build, BLOCK);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    load_values(self, rows, tile, loop.index, values);
    for (unsigned r = 0; r < tile->height; r++) {
        LLVMValueRef at = row_place(self, self->scores, rows, tile->row + r, SCORE_BYTES);
        LLVMValueRef weight = cg_splat(
            build, cg_load(build, build->f32, cg_element(build, at, loop.index, 4), 4), CG_LANES);
        for (unsigned c = 0; c < tile->width; c++) {
            LLVMValueRef before = cg_load(build, floats, sums[r][c], 64);
            cg_store(build, cg_fma(build, weight, values[c], before), sums[r][c], 64);
        }
    }
    cg_loop_end(build, &loop);
    for (unsigned r = 0; r < tile->height; r++) {
        LLVMValueRef factors[2], memories[] = {self->old, self->fresh};
        for (unsigned i = 0; i < 2; i++) {
            LLVMValueRef at = row_place(self, memories[i], rows, tile->row + r, 4);
            factors[i] = cg_splat(build, cg_load(build, build->f32, at, 4), CG_LANES);
        }
        LLVMValueRef totals = row_place(self, self->totals, rows, tile->row + r,
                                        (uint64_t)self->chunks * CG_LANES * 4);
        for (unsigned c = 0; c < tile->width; c++) {
            LLVMValueRef at =
                cg_offset_by(build, totals, (uint64_t)(tile->chunk + c) * CG_LANES * 4);
            LLVMValueRef mine = LLVMBuildFMul(
                build->builder, cg_load(build, floats, sums[r][c], 64), factors[1], "");
            cg_store(build, cg_fma(build, cg_load(build, floats, at, 64), factors[0], mine), at,
                     64);
        }
    }
}

void cg_attention_merge(const cg_attention *self, const cg_attention_rows *rows)
{
    cg_build *build = self->build;
    LLVMValueRef taking[PANELS];
    for (unsigned p = 0; p < PANELS; p++)
        taking[p] = taking_part(self, rows, p);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, rows->count), 1);
    emit_weights(self, rows, taking, loop.index);
    cg_loop_end(build, &loop);
    emit_factors(self, rows);
    const unsigned height = tile_rows(self, rows);
    const unsigned width = tile_columns(self, height, self->chunks);
    for (unsigned row = 0; row < rows->count; row += height)
        for (unsigned chunk = 0; chunk < self->chunks; chunk += width) {
            const unsigned below = rows->count - row, behind = self->chunks - chunk;
            const value_tile tile = {row, below < height ? below : height, chunk,
                                     behind < width ? behind : width};
            emit_value_tile(self, rows, &tile);
        }
}
