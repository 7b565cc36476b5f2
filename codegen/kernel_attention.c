/* cached_attention: the pass's k and v go to the tail of the cache; then each head of each token
 * attends over the committed slots and the tail tokens it sees, in blocks of 64 (online softmax,
 * docs/numerics.md).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

#include <math.h>

#define BLOCK      64
#define MAX_CHUNKS 32   /* head sizes up to 512 */
#define MAX_TOKENS 8192 /* of a pass: their slots are listed on the stack */

enum {
    OPERAND_Q,
    OPERAND_K,
    OPERAND_V,
    OPERAND_ANCESTORS,
    OPERAND_OUT,
    OPERAND_COUNTS,
    OPERAND_KEYS,
    OPERAND_VALUES,
    OPERAND_COUNT
};

/* What a kernel is made for, and the values that its parts share. */
typedef struct attention {
    cg_lowering *lowering;
    cg_build *build;
    const cg_kernel *kernel;
    ir_type type; /* of the cache */
    uint64_t heads, kv_heads, size, words, max_tokens;
    uint64_t row_bytes; /* of one slot of one KV head */
    float scale, softcap;
    int64_t window;
    unsigned chunks; /* of 16 lanes, the last one maybe partial */
    LLVMValueRef slots;
    /* of one item: a head of a token */
    LLVMValueRef q, keys, values, out;
    LLVMValueRef committed, visible; /* committed slots; tail slots that are seen, as a list */
    LLVMValueRef length, lower;      /* logical indices lower .. length take part */
    /* of one block */
    LLVMValueRef base, rows, scores;  /* rows and scores: [64], in memory */
    LLVMValueRef largest, sum, total; /* variables: m, l, o */
} attention;

static unsigned chunk_lanes(const attention *self, unsigned chunk)
{
    const uint64_t left = self->size - (uint64_t)chunk * CG_LANES;
    return left < CG_LANES ? (unsigned)left : CG_LANES;
}

/* The first `count` lanes of `a`, the others of `b`. */
static LLVMValueRef join(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned count)
{
    LLVMValueRef lanes[CG_LANES];
    if (count == CG_LANES)
        return a;
    for (unsigned i = 0; i < CG_LANES; i++)
        lanes[i] = cg_i32(build, i < count ? i : CG_LANES + i);
    return LLVMBuildShuffleVector(build->builder, a, b, LLVMConstVector(lanes, CG_LANES), "");
}

static LLVMValueRef load_count(const attention *self, LLVMValueRef head)
{
    cg_build *build = self->build;
    LLVMValueRef at = cg_element(build, self->kernel->operands[OPERAND_COUNTS], head, 4);
    return LLVMBuildSExt(build->builder, cg_load(build, build->i32, at, 4), build->i64, "");
}

/* Start of a head's rows in K or V. */
static LLVMValueRef head_rows(const attention *self, unsigned operand, LLVMValueRef head)
{
    LLVMValueRef slot = LLVMBuildMul(self->build->builder, head, self->slots, "");
    return cg_element(self->build, self->kernel->operands[operand], slot, self->row_bytes);
}

/* --- writing the tail --- */

static void emit_write(const attention *self)
{
    cg_build *build = self->build;
    LLVMValueRef heads = cg_i64(build, (int64_t)self->kv_heads), begin, end;
    cg_share(build, self->kernel, LLVMBuildMul(build->builder, self->kernel->rows, heads, ""),
             &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef token = LLVMBuildUDiv(build->builder, loop.index, heads, "");
    LLVMValueRef head = LLVMBuildURem(build->builder, loop.index, heads, "");
    LLVMValueRef slot = LLVMBuildAdd(build->builder, load_count(self, head), token, "");
    for (unsigned operand = OPERAND_K; operand <= OPERAND_V; operand++) {
        const unsigned cache = operand == OPERAND_K ? OPERAND_KEYS : OPERAND_VALUES;
        LLVMValueRef from =
            cg_element(build, self->kernel->operands[operand], loop.index, self->size * 4);
        LLVMValueRef to = cg_element(build, head_rows(self, cache, head), slot, self->row_bytes);
        for (unsigned c = 0; c < self->chunks; c++) {
            LLVMValueRef part = cg_load_stored(
                build, IR_F32, cg_offset_by(build, from, c * CG_LANES * 4), chunk_lanes(self, c));
            cg_store_stored(build, self->type, part,
                            cg_offset_by(build, to, c * CG_LANES * (ir_type_bits(self->type) / 8)));
        }
    }
    cg_loop_end(build, &loop);
}

/* --- what a token sees --- */

/* Lists the tail slots that `token` sees, ascending, and returns how many there are. */
static LLVMValueRef emit_visible(const attention *self, LLVMValueRef token)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef count = cg_variable(build, build->i64, "seen");
    LLVMValueRef masks =
        cg_element(build, self->kernel->operands[OPERAND_ANCESTORS], token, self->words * 8);
    cg_store(build, cg_i64(build, 0), count, 8);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), self->kernel->rows, 1);
    LLVMValueRef word = LLVMBuildLShr(builder, loop.index, cg_i64(build, 6), "");
    LLVMValueRef bit = LLVMBuildAnd(builder, loop.index, cg_i64(build, 63), "");
    LLVMValueRef mask = cg_load(build, build->i64, cg_element(build, masks, word, 8), 8);
    LLVMValueRef set =
        LLVMBuildAnd(builder, LLVMBuildLShr(builder, mask, bit, ""), cg_i64(build, 1), "");
    LLVMValueRef before = cg_load(build, build->i64, count, 8);
    /* Written always and kept only when the bit is set: no branch to mispredict. */
    LLVMValueRef slot = LLVMBuildAdd(builder, self->committed, loop.index, "");
    cg_store(build, LLVMBuildTrunc(builder, slot, build->i32, ""),
             cg_element(build, self->visible, before, 4), 4);
    cg_store(build, LLVMBuildAdd(builder, before, set, ""), count, 8);
    cg_loop_end(build, &loop);
    return cg_load(build, build->i64, count, 8);
}

/* The slots of the block's 64 logical indices; those past the end repeat the last. */
static void emit_rows(const attention *self)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef last = LLVMBuildSub(builder, self->length, cg_i64(build, 1), "");
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, BLOCK), 1);
    LLVMValueRef index =
        cg_minimum_i64(build, LLVMBuildAdd(builder, self->base, loop.index, ""), last);
    LLVMValueRef behind = LLVMBuildSub(builder, index, self->committed, "");
    LLVMValueRef in_tail = LLVMBuildICmp(builder, LLVMIntSGE, behind, cg_i64(build, 0), "");
    LLVMValueRef place = LLVMBuildSelect(builder, in_tail, behind, cg_i64(build, 0), "");
    LLVMValueRef tail = cg_load(build, build->i32, cg_element(build, self->visible, place, 4), 4);
    LLVMValueRef slot =
        LLVMBuildSelect(builder, in_tail, tail, LLVMBuildTrunc(builder, index, build->i32, ""), "");
    cg_store(build, slot, cg_element(build, self->rows, loop.index, 4), 4);
    cg_loop_end(build, &loop);
}

static LLVMValueRef row_address(const attention *self, LLVMValueRef start, LLVMValueRef place)
{
    cg_build *build = self->build;
    LLVMValueRef slot = cg_load(build, build->i32, cg_element(build, self->rows, place, 4), 4);
    slot = LLVMBuildSExt(build->builder, slot, build->i64, "");
    return cg_element(build, start, slot, self->row_bytes);
}

/* --- scores --- */

/* Sixteen partial sums of q * k for one key. */
static LLVMValueRef emit_products(const attention *self, LLVMValueRef key)
{
    cg_build *build = self->build;
    LLVMValueRef lanes = cg_constant_real(cg_vector(build->f32, CG_LANES), 0);
    for (unsigned c = 0; c < self->chunks; c++) {
        const unsigned count = chunk_lanes(self, c);
        LLVMValueRef q =
            cg_load_stored(build, IR_F32, cg_offset_by(build, self->q, c * CG_LANES * 4), count);
        LLVMValueRef k = cg_load_stored(
            build, self->type,
            cg_offset_by(build, key, c * CG_LANES * (ir_type_bits(self->type) / 8)), count);
        lanes =
            join(build, cg_fma(build, cg_widen(build, q), cg_widen(build, k), lanes), lanes, count);
    }
    return lanes;
}

/* Row reductions of 16 / (2 * step) keys at a time: of each segment of 2 * step lanes of `a` and
 * of `b`, the lower half plus the upper half. */
static LLVMValueRef fold(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned step)
{
    LLVMValueRef halves[2];
    for (unsigned upper = 0; upper < 2; upper++) {
        LLVMValueRef lanes[CG_LANES];
        for (unsigned i = 0; i < CG_LANES; i++)
            lanes[i] = cg_i32(build, i / step * 2 * step + i % step + upper * step);
        halves[upper] =
            LLVMBuildShuffleVector(build->builder, a, b, LLVMConstVector(lanes, CG_LANES), "");
    }
    return LLVMBuildFAdd(build->builder, halves[0], halves[1], "");
}

/* The sums of `count` keys from `first` on, each in 16 / count neighbouring lanes. */
static LLVMValueRef emit_key_sums(const attention *self, LLVMValueRef place, unsigned first,
                                  unsigned count)
{
    cg_build *build = self->build;
    if (count == 1) {
        LLVMValueRef at = LLVMBuildAdd(build->builder, place, cg_i64(build, first), "");
        return emit_products(self, row_address(self, self->keys, at));
    }
    LLVMValueRef a = emit_key_sums(self, place, first, count / 2);
    LLVMValueRef b = emit_key_sums(self, place, first + count / 2, count / 2);
    return fold(build, a, b, CG_LANES / count);
}

/* Which of the 16 logical indices from base + place on take part. */
static LLVMValueRef emit_taking_part(const attention *self, LLVMValueRef place)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef index = LLVMBuildAdd(builder, self->base, place, "");
    LLVMValueRef all = LLVMBuildAdd(builder, cg_splat(build, index, CG_LANES),
                                    cg_constant_ramp(build->i64, CG_LANES, 0), "");
    LLVMValueRef taking =
        LLVMBuildICmp(builder, LLVMIntSLT, all, cg_splat(build, self->length, CG_LANES), "");
    if (self->window > 0)
        taking = LLVMBuildAnd(
            builder, taking,
            LLVMBuildICmp(builder, LLVMIntSGE, all, cg_splat(build, self->lower, CG_LANES), ""),
            "");
    return taking;
}

/* Scores of the block, -inf where nothing takes part; returns their maximum. */
static LLVMValueRef emit_scores(const attention *self)
{
    cg_build *build = self->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef nothing = cg_constant_real(floats, -INFINITY);
    LLVMValueRef maxima = cg_variable(build, floats, "maxima");
    cg_store(build, nothing, maxima, 64);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, BLOCK), CG_LANES);
    LLVMValueRef place = loop.index;
    LLVMValueRef score = LLVMBuildFMul(build->builder, emit_key_sums(self, place, 0, CG_LANES),
                                       cg_constant_real(floats, (double)self->scale), "");
    if (self->softcap > 0) {
        LLVMValueRef cap = cg_constant_real(floats, (double)self->softcap);
        score = cg_tanh(build, LLVMBuildFDiv(build->builder, score, cap, ""));
        score = LLVMBuildFMul(build->builder, cap, score, "");
    }
    score = LLVMBuildSelect(build->builder, emit_taking_part(self, place), score, nothing, "");
    cg_store(build, score, cg_element(build, self->scores, place, 4), 64);
    cg_store(build, cg_maximum(build, score, cg_load(build, floats, maxima, 64)), maxima, 64);
    cg_loop_end(build, &loop);
    LLVMValueRef lanes = cg_load(build, floats, maxima, 64);
    for (unsigned step = CG_LANES / 2; step > 0; step /= 2)
        lanes = cg_maximum(build, cg_shuffle(build, lanes, NULL, step, 0, 1),
                           cg_shuffle(build, lanes, NULL, step, step, 1));
    return cg_lane(build, lanes, 0);
}

/* Turns scores into exp(score - largest), 0 where nothing takes part; returns their sum. */
static LLVMValueRef emit_weights(const attention *self, LLVMValueRef largest)
{
    cg_build *build = self->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef lanes = cg_variable(build, floats, "lanes");
    cg_store(build, cg_constant_real(floats, 0), lanes, 64);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, BLOCK), CG_LANES);
    LLVMValueRef at = cg_element(build, self->scores, loop.index, 4);
    LLVMValueRef score = cg_load(build, floats, at, 64);
    LLVMValueRef weight =
        cg_exp(build, LLVMBuildFSub(build->builder, score, cg_splat(build, largest, CG_LANES), ""));
    weight = LLVMBuildSelect(build->builder, emit_taking_part(self, loop.index), weight,
                             cg_constant_real(floats, 0), "");
    cg_store(build, weight, at, 64);
    LLVMValueRef before = cg_load(build, floats, lanes, 64);
    cg_store(build, LLVMBuildFAdd(build->builder, before, weight, ""), lanes, 64);
    cg_loop_end(build, &loop);
    return cg_reduce_lanes(build, cg_load(build, floats, lanes, 64));
}

/* --- values --- */

/* The block's share of the output, chunks first .. first + count - 1, into variables. */
static void emit_block_values(const attention *self, unsigned first, unsigned count,
                              LLVMValueRef *sums)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    for (unsigned c = 0; c < count; c++)
        cg_store(build, cg_constant_real(floats, 0), sums[c], 64);
    LLVMValueRef begin = cg_i64(build, 0);
    if (self->window > 0) {
        LLVMValueRef skipped = LLVMBuildSub(builder, self->lower, self->base, "");
        LLVMValueRef some = LLVMBuildICmp(builder, LLVMIntSGT, skipped, begin, "");
        begin = LLVMBuildSelect(builder, some, skipped, begin, "");
    }
    LLVMValueRef end = cg_minimum_i64(build, LLVMBuildSub(builder, self->length, self->base, ""),
                                      cg_i64(build, BLOCK));
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef weight =
        cg_load(build, build->f32, cg_element(build, self->scores, loop.index, 4), 4);
    LLVMValueRef weights = cg_splat(build, weight, CG_LANES);
    LLVMValueRef row = row_address(self, self->values, loop.index);
    for (unsigned c = 0; c < count; c++) {
        const uint64_t offset = (uint64_t)(first + c) * CG_LANES * (ir_type_bits(self->type) / 8);
        LLVMValueRef value = cg_load_stored(build, self->type, cg_offset_by(build, row, offset),
                                            chunk_lanes(self, first + c));
        LLVMValueRef before = cg_load(build, floats, sums[c], 64);
        cg_store(build, cg_fma(build, weights, cg_widen(build, value), before), sums[c], 64);
    }
    cg_loop_end(build, &loop);
}

static LLVMValueRef total_address(const attention *self, unsigned chunk)
{
    return cg_offset_by(self->build, self->total, (uint64_t)chunk * CG_LANES * 4);
}

/* Merges the block into m, l and o; the first block replaces them. */
static void emit_merge(const attention *self, LLVMValueRef is_first, LLVMValueRef block_largest,
                       LLVMValueRef block_sum)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef before = cg_load(build, build->f32, self->largest, 4);
    LLVMValueRef largest = cg_maximum(build, before, block_largest);
    LLVMValueRef a = cg_exp(build, LLVMBuildFSub(builder, before, largest, ""));
    LLVMValueRef b = cg_exp(build, LLVMBuildFSub(builder, block_largest, largest, ""));
    LLVMValueRef merged = cg_fma(build, cg_load(build, build->f32, self->sum, 4), a,
                                 LLVMBuildFMul(builder, block_sum, b, ""));
    cg_store(build, LLVMBuildSelect(builder, is_first, block_largest, largest, ""), self->largest,
             4);
    cg_store(build, LLVMBuildSelect(builder, is_first, block_sum, merged, ""), self->sum, 4);
    const unsigned most = self->lowering->cpu->accumulators;
    LLVMValueRef sums[MAX_CHUNKS], old = cg_splat(build, a, CG_LANES);
    LLVMValueRef fresh = cg_splat(build, b, CG_LANES);
    for (unsigned i = 0; i < most && i < self->chunks; i++)
        sums[i] = cg_variable(build, floats, "value");
    for (unsigned first = 0; first < self->chunks; first += most) {
        const unsigned count = self->chunks - first < most ? self->chunks - first : most;
        emit_block_values(self, first, count, sums);
        for (unsigned c = 0; c < count; c++) {
            LLVMValueRef at = total_address(self, first + c);
            LLVMValueRef mine = cg_load(build, floats, sums[c], 64);
            LLVMValueRef both = cg_fma(build, cg_load(build, floats, at, 64), old,
                                       LLVMBuildFMul(builder, mine, fresh, ""));
            cg_store(build, LLVMBuildSelect(builder, is_first, mine, both, ""), at, 64);
        }
    }
}

/* --- one head of one token --- */

static void emit_item(attention *self, LLVMValueRef token, LLVMValueRef head)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef kv_head =
        LLVMBuildUDiv(builder, head, cg_i64(build, (int64_t)(self->heads / self->kv_heads)), "");
    LLVMValueRef item = LLVMBuildMul(builder, token, cg_i64(build, (int64_t)self->heads), "");
    item = LLVMBuildAdd(builder, item, head, "");
    self->q = cg_element(build, self->kernel->operands[OPERAND_Q], item, self->size * 4);
    self->out = cg_element(build, self->kernel->operands[OPERAND_OUT], item, self->size * 4);
    self->keys = head_rows(self, OPERAND_KEYS, kv_head);
    self->values = head_rows(self, OPERAND_VALUES, kv_head);
    self->committed = load_count(self, kv_head);
    self->length = LLVMBuildAdd(builder, self->committed, emit_visible(self, token), "");
    self->lower = cg_i64(build, 0);
    if (self->window > 0) {
        LLVMValueRef oldest = LLVMBuildSub(builder, self->length, cg_i64(build, self->window), "");
        LLVMValueRef some = LLVMBuildICmp(builder, LLVMIntSGT, oldest, self->lower, "");
        self->lower = LLVMBuildSelect(builder, some, oldest, self->lower, "");
    }
    LLVMValueRef start = LLVMBuildAnd(builder, self->lower, cg_i64(build, -BLOCK), "");
    for (unsigned c = 0; c < self->chunks; c++)
        cg_store(build, cg_constant_real(cg_vector(build->f32, CG_LANES), 0),
                 total_address(self, c), 64);
    cg_store(build, cg_constant_real(build->f32, -INFINITY), self->largest, 4);
    cg_store(build, cg_constant_real(build->f32, 0), self->sum, 4);
    cg_loop loop = cg_loop_begin(build, start, self->length, BLOCK);
    self->base = loop.index;
    emit_rows(self);
    LLVMValueRef largest = emit_scores(self);
    LLVMValueRef sum = emit_weights(self, largest);
    emit_merge(self, LLVMBuildICmp(builder, LLVMIntEQ, self->base, start, ""), largest, sum);
    cg_loop_end(build, &loop);
    LLVMValueRef divisor = cg_splat(build, cg_load(build, build->f32, self->sum, 4), CG_LANES);
    for (unsigned c = 0; c < self->chunks; c++) {
        LLVMValueRef total =
            cg_load(build, cg_vector(build->f32, CG_LANES), total_address(self, c), 64);
        cg_store_lanes(build, LLVMBuildFDiv(builder, total, divisor, ""),
                       cg_offset_by(build, self->out, (uint64_t)c * CG_LANES * 4),
                       chunk_lanes(self, c));
    }
}

static void emit_attend(attention *self)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    const unsigned padded = self->chunks * CG_LANES;
    self->visible = cg_variable(build, LLVMArrayType2(build->i32, self->max_tokens + 1), "visible");
    self->rows = cg_variable(build, LLVMArrayType2(build->i32, BLOCK), "rows");
    self->scores = cg_variable(build, LLVMArrayType2(build->f32, BLOCK), "scores");
    self->total = cg_variable(build, LLVMArrayType2(build->f32, padded), "total");
    self->largest = cg_variable(build, build->f32, "largest");
    self->sum = cg_variable(build, build->f32, "sum");
    /* Tokens of one head follow each other, so that its keys and values stay in cache. */
    LLVMValueRef begin, end, tokens = self->kernel->rows;
    cg_share(build, self->kernel,
             LLVMBuildMul(builder, tokens, cg_i64(build, (int64_t)self->heads), ""), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    emit_item(self, LLVMBuildURem(builder, loop.index, tokens, ""),
              LLVMBuildUDiv(builder, loop.index, tokens, ""));
    cg_loop_end(build, &loop);
}

/* --- nodes --- */

static td_status check_attention(const cg_entry *entry, const ir_node *node, const cg_cache *cache,
                                 attention *self)
{
    uint64_t q, k, v;
    TD_TRY(cg_matrix(node, node->inputs[0], "q", &q));
    TD_TRY(cg_matrix(node, node->inputs[1], "k", &k));
    TD_TRY(cg_matrix(node, node->inputs[2], "v", &v));
    const ir_value *ancestors = node->inputs[3];
    if (ancestors->type != IR_I64 || ancestors->shape.rank != 2 ||
        !ir_dim_is_constant(&ancestors->shape.dim[1]))
        return cg_refuse(node, "ancestors are i64 [tokens, words]");
    self->type = cache->state->type;
    self->heads = (uint64_t)ir_node_int(node, "heads", 0);
    self->kv_heads = cache->state->kv_heads;
    self->size = cache->state->head_size;
    self->words = (uint64_t)ancestors->shape.dim[1].constant;
    self->max_tokens = entry->model->max_tokens;
    self->row_bytes = self->size * (ir_type_bits(self->type) / 8);
    self->chunks = (unsigned)((self->size + CG_LANES - 1) / CG_LANES);
    self->scale = (float)ir_node_float(node, "scale", 1 / sqrt((double)self->size));
    self->softcap = (float)ir_node_float(node, "softcap", 0);
    self->window = ir_node_int(node, "window", 0);
    if (self->chunks == 0 || self->chunks > MAX_CHUNKS)
        return cg_refuse(node, "head size %llu; 1 to %u is accepted",
                         (unsigned long long)self->size, MAX_CHUNKS * CG_LANES);
    if (self->heads == 0 || self->heads % self->kv_heads != 0 || q != self->heads * self->size ||
        k != self->kv_heads * self->size || v != k)
        return cg_refuse(node,
                         "%llu heads and %llu KV heads of %llu do not fit q, k and v of "
                         "%llu, %llu and %llu",
                         (unsigned long long)self->heads, (unsigned long long)self->kv_heads,
                         (unsigned long long)self->size, (unsigned long long)q,
                         (unsigned long long)k, (unsigned long long)v);
    if (self->max_tokens == 0 || self->max_tokens > MAX_TOKENS ||
        self->words * 64 < self->max_tokens)
        return cg_refuse(node,
                         "passes of %llu tokens with %llu words of ancestors; 1 to %u tokens and "
                         "a bit for each are accepted",
                         (unsigned long long)self->max_tokens, (unsigned long long)self->words,
                         MAX_TOKENS);
    return TD_OK;
}

/* Counts, K and V of a node's cache. */
static td_status cache_addresses(const cg_entry *entry, const ir_node *node, const cg_cache **cache,
                                 LLVMValueRef *addresses)
{
    cg_build *build = &entry->lowering->build;
    const char *name = ir_node_string(node, "state", "");
    const int index = cg_caches_find(entry->caches, name);
    if (index < 0)
        return cg_refuse(node, "there is no cache \"%s\"", name);
    *cache = &entry->caches->items.items[index];
    addresses[0] = cg_offset_by(build, entry->state,
                                (uint64_t)index * entry->caches->count_stride * sizeof(int32_t));
    LLVMValueRef start = cg_offset_by(build, entry->state, entry->caches->fixed_bytes);
    addresses[1] = cg_element(build, start, entry->slots, (*cache)->key_slot_offset);
    addresses[2] = cg_element(build, start, entry->slots, (*cache)->value_slot_offset);
    return TD_OK;
}

td_status cg_lower_attention(cg_entry *entry, const ir_node *node)
{
    cg_lowering *lowering = entry->lowering;
    const cg_cache *cache;
    LLVMValueRef addresses[OPERAND_COUNT], rows;
    TD_TRY(cache_addresses(entry, node, &cache, &addresses[OPERAND_COUNTS]));
    attention self = {.lowering = lowering, .build = &lowering->build};
    TD_TRY(check_attention(entry, node, cache, &self));
    for (unsigned i = 0; i < 4; i++)
        TD_TRY(cg_address(entry, node, node->inputs[i], &addresses[OPERAND_Q + i]));
    TD_TRY(cg_address(entry, node, node->outputs[0], &addresses[OPERAND_OUT]));
    TD_TRY(cg_dimension(entry, node, &node->outputs[0]->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    self.kernel = &kernel;
    TD_TRY(cg_kernel_begin(lowering, OPERAND_COUNT, &kernel, &fresh, "write_tail_%s_%llux%llu",
                           ir_type_name(self.type), (unsigned long long)self.kv_heads,
                           (unsigned long long)self.size));
    if (fresh) {
        self.slots = cg_frame_symbol(self.build, kernel.frame, TANDEM_SYMBOL_SLOTS);
        emit_write(&self);
        cg_kernel_end(lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, rows, addresses);
    TD_TRY(cg_kernel_begin(lowering, OPERAND_COUNT, &kernel, &fresh,
                           "attention_%s_%llu_%llux%llu_m%llu_w%llu_%a_%a_%lld",
                           ir_type_name(self.type), (unsigned long long)self.heads,
                           (unsigned long long)self.kv_heads, (unsigned long long)self.size,
                           (unsigned long long)self.max_tokens, (unsigned long long)self.words,
                           (double)self.scale, (double)self.softcap, (long long)self.window));
    if (fresh) {
        self.slots = cg_frame_symbol(self.build, kernel.frame, TANDEM_SYMBOL_SLOTS);
        emit_attend(&self);
        cg_kernel_end(lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, rows, addresses);
    return TD_OK;
}

/* --- cache_commit --- */

enum { COMMIT_PATH, COMMIT_COUNTS, COMMIT_KEYS, COMMIT_VALUES, COMMIT_COUNT };

/* Moves tail slot path[i] to i, i ascending: path is ascending, so nothing is overwritten before it
 * has moved. Each head belongs to one thread. */
static void emit_commit(cg_build *build, const cg_kernel *kernel, const ir_state *state)
{
    LLVMBuilderRef builder = build->builder;
    const uint64_t row = (uint64_t)state->head_size * (ir_type_bits(state->type) / 8);
    LLVMValueRef slots = cg_frame_symbol(build, kernel->frame, TANDEM_SYMBOL_SLOTS), begin, end;
    cg_share(build, kernel, cg_i64(build, state->kv_heads), &begin, &end);
    cg_loop heads = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef at = cg_element(build, kernel->operands[COMMIT_COUNTS], heads.index, 4);
    LLVMValueRef count = cg_load(build, build->i32, at, 4);
    LLVMValueRef tail = LLVMBuildAdd(builder, LLVMBuildMul(builder, heads.index, slots, ""),
                                     LLVMBuildSExt(builder, count, build->i64, ""), "");
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), kernel->rows, 1);
    LLVMValueRef source = cg_load(
        build, build->i32, cg_element(build, kernel->operands[COMMIT_PATH], loop.index, 4), 4);
    source = LLVMBuildSExt(builder, source, build->i64, "");
    cg_branch moves = cg_if(build, LLVMBuildICmp(builder, LLVMIntNE, source, loop.index, ""));
    for (unsigned operand = COMMIT_KEYS; operand <= COMMIT_VALUES; operand++) {
        LLVMValueRef start = cg_element(build, kernel->operands[operand], tail, row);
        LLVMBuildMemCpy(builder, cg_element(build, start, loop.index, row), 2,
                        cg_element(build, start, source, row), 2, cg_i64(build, (int64_t)row));
    }
    cg_end_if(build, &moves);
    cg_loop_end(build, &loop);
    LLVMValueRef accepted = LLVMBuildTrunc(builder, kernel->rows, build->i32, "");
    cg_store(build, LLVMBuildAdd(builder, count, accepted, ""), at, 4);
    cg_loop_end(build, &heads);
}

td_status cg_lower_commit(cg_entry *entry, const ir_node *node)
{
    const ir_value *path = node->inputs[0];
    const cg_cache *cache;
    LLVMValueRef addresses[COMMIT_COUNT], rows;
    if (path->type != IR_I32 || path->shape.rank != 1)
        return cg_refuse(node, "the path is i32 [accepted]");
    TD_TRY(cg_address(entry, node, path, &addresses[COMMIT_PATH]));
    TD_TRY(cache_addresses(entry, node, &cache, &addresses[COMMIT_COUNTS]));
    rows = cg_frame_symbol(&entry->lowering->build, entry->frame, TANDEM_SYMBOL_ACCEPTED);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, COMMIT_COUNT, &kernel, &fresh, "commit_%s_%ux%u",
                           ir_type_name(cache->state->type), cache->state->kv_heads,
                           cache->state->head_size));
    if (fresh) {
        emit_commit(&entry->lowering->build, &kernel, cache->state);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, COMMIT_COUNT, rows, addresses);
    return TD_OK;
}
