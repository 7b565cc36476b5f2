/* cached_attention: the pass's k and v go to the tail of the cache; then each head of each token
 * attends over the committed slots and the tail tokens it sees, in blocks of 64 (docs/numerics.md).
 *
 * Query heads of one KV head are computed together, and where they are few, several tokens too: the
 * blocks that all tokens of such a group see whole, and whose logical indices are slot numbers, are
 * done for all rows at once; the others, at the ends, token by token.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/attention.h"

#define BLOCK IR_ATTENTION_BLOCK

/* The tokens first .. last - 1, at most CG_ATTENTION_ROWS / heads, of the query heads from `head`
 * on. */
typedef struct attention_item {
    LLVMValueRef first, last, head;
    LLVMValueRef committed; /* slots of the KV head */
} attention_item;

/* Where the item's first head of a token begins in q or in the output. */
static LLVMValueRef head_of(const cg_attention *self, const attention_item *item, unsigned operand,
                            LLVMValueRef token)
{
    cg_build *build = self->build;
    LLVMValueRef heads = cg_i64(build, (int64_t)self->all_heads);
    LLVMValueRef place = LLVMBuildMul(build->builder, token, heads, "");
    place = LLVMBuildAdd(build->builder, place, item->head, "");
    return cg_element(build, self->kernel->operands[operand], place, self->size * 4);
}

static LLVMValueRef first_row(const cg_attention *self, const attention_item *item,
                              LLVMValueRef token)
{
    cg_build *build = self->build;
    LLVMValueRef behind = LLVMBuildSub(build->builder, token, item->first, "");
    return LLVMBuildMul(build->builder, behind, cg_i64(build, self->heads), "");
}

/* Where the queries of a token's first row are. */
static LLVMValueRef queries_of(const cg_attention *self, const attention_item *item,
                               LLVMValueRef token)
{
    if (!self->turn.queries)
        return head_of(self, item, CG_ATTENTION_Q, token);
    return cg_element(self->build, self->queries, first_row(self, item, token), self->size * 4);
}

/* Rotates the item's queries. */
static void turn_queries(const cg_attention *self, const attention_item *item)
{
    cg_build *build = self->build;
    if (!self->turn.queries)
        return;
    cg_loop loop = cg_loop_begin(build, item->first, item->last, 1);
    LLVMValueRef table =
        cg_element(build, self->kernel->operands[CG_ATTENTION_TABLE], loop.index, self->size * 4);
    LLVMValueRef from = head_of(self, item, CG_ATTENTION_Q, loop.index);
    LLVMValueRef to = queries_of(self, item, loop.index);
    for (unsigned h = 0; h < self->heads; h++)
        cg_rotate_head(build, cg_offset_by(build, from, h * self->size * 4), table,
                       cg_offset_by(build, to, h * self->size * 4), self->size,
                       self->turn.interleaved);
    cg_loop_end(build, &loop);
}

/* --- what a token sees --- */

/* What one token sees: logical indices lower .. length - 1, of which those below `identity` are
 * slot numbers too. */
typedef struct sight {
    LLVMValueRef identity, length, lower;
} sight;

/* The address of what token `token` of the pass sees of the tail: bits of places there, its own the
 * highest. */
static LLVMValueRef ancestors_of(const cg_attention *self, LLVMValueRef token)
{
    return cg_element(self->build, self->kernel->operands[CG_ATTENTION_ANCESTORS], token,
                      self->words * 8);
}

static sight emit_sight(const cg_attention *self, const attention_item *item, LLVMValueRef token)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef masks = ancestors_of(self, token);
    LLVMValueRef seen = cg_variable(build, build->i64, "seen");
    LLVMValueRef leading = cg_variable(build, build->i64, "leading");
    cg_store(build, cg_i64(build, 0), seen, 8);
    cg_store(build, cg_i64(build, 0), leading, 8);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)self->words), 1);
    LLVMValueRef mask = cg_load(build, build->i64, cg_element(build, masks, loop.index, 8), 8);
    LLVMValueRef before = cg_load(build, build->i64, leading, 8);
    LLVMValueRef start = LLVMBuildMul(builder, loop.index, cg_i64(build, 64), "");
    LLVMValueRef unbroken = LLVMBuildICmp(builder, LLVMIntEQ, before, start, "");
    LLVMValueRef operands[] = {LLVMBuildNot(builder, mask, ""), LLVMConstInt(build->i1, 0, false)};
    LLVMValueRef ones = cg_call_intrinsic(build, "llvm.cttz", build->i64, operands, 2);
    LLVMValueRef more = LLVMBuildSelect(builder, unbroken, ones, cg_i64(build, 0), "");
    cg_store(build, LLVMBuildAdd(builder, before, more, ""), leading, 8);
    LLVMValueRef count = cg_intrinsic(build, "llvm.ctpop", mask);
    cg_store(build, LLVMBuildAdd(builder, cg_load(build, build->i64, seen, 8), count, ""), seen, 8);
    cg_loop_end(build, &loop);
    sight sees = {
        .identity = LLVMBuildAdd(builder, item->committed, cg_load(build, build->i64, leading, 8),
                                 "identity"),
        .length =
            LLVMBuildAdd(builder, item->committed, cg_load(build, build->i64, seen, 8), "length"),
        .lower = cg_i64(build, 0),
    };
    if (self->window > 0) {
        LLVMValueRef oldest = LLVMBuildSub(builder, sees.length, cg_i64(build, self->window), "");
        sees.lower = cg_maximum_i64(build, oldest, sees.lower);
    }
    return sees;
}

/* --- blocks that all tokens of a group see whole --- */

/* Blocks begin .. end - 1, in logical indices, that the tokens first .. last - 1 have in common. */
static void emit_common_range(const cg_attention *self, const attention_item *item,
                              LLVMValueRef *begin, LLVMValueRef *end)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef lowest = cg_variable(build, build->i64, "lowest");
    LLVMValueRef highest = cg_variable(build, build->i64, "highest");
    cg_store(build, cg_i64(build, 0), lowest, 8);
    cg_store(build, cg_i64(build, INT64_MAX), highest, 8);
    cg_loop loop = cg_loop_begin(build, item->first, item->last, 1);
    const sight sees = emit_sight(self, item, loop.index);
    LLVMValueRef lower = cg_maximum_i64(build, cg_load(build, build->i64, lowest, 8), sees.lower);
    LLVMValueRef upper =
        cg_minimum_i64(build, cg_load(build, build->i64, highest, 8), sees.identity);
    cg_store(build, lower, lowest, 8);
    cg_store(build, upper, highest, 8);
    cg_loop_end(build, &loop);
    LLVMValueRef mask = cg_i64(build, -BLOCK);
    lower =
        LLVMBuildAdd(builder, cg_load(build, build->i64, lowest, 8), cg_i64(build, BLOCK - 1), "");
    lower = LLVMBuildAnd(builder, lower, mask, "");
    upper = LLVMBuildAnd(builder, cg_load(build, build->i64, highest, 8), mask, "");
    LLVMValueRef some = LLVMBuildICmp(builder, LLVMIntSLT, lower, upper, "");
    *begin = LLVMBuildSelect(builder, some, lower, cg_i64(build, 0), "");
    *end = LLVMBuildSelect(builder, some, upper, cg_i64(build, 0), "");
}

/* For `tokens` tokens from `token` on. */
static void emit_common_blocks(const cg_attention *self, const attention_item *item,
                               LLVMValueRef token, unsigned tokens, LLVMValueRef begin,
                               LLVMValueRef end)
{
    cg_build *build = self->build;
    cg_attention_rows rows = {.count = tokens * self->heads,
                              .first = first_row(self, item, token),
                              .q = queries_of(self, item, token)};
    cg_loop loop = cg_loop_begin(build, begin, end, BLOCK);
    rows.base = loop.index;
    cg_attention_direct_scores(self, &rows, cg_i64(build, 0), cg_i64(build, BLOCK / CG_LANES),
                               true);
    cg_attention_merge(self, &rows);
    cg_loop_end(build, &loop);
}

/* Tokens go in groups of as many as share loads; what is left over, in smaller ones. */
static void emit_common(const cg_attention *self, const attention_item *item, LLVMValueRef begin,
                        LLVMValueRef end)
{
    /* Three: a round of two guesses reads K and V once. */
    static const unsigned sizes[] = {CG_ATTENTION_ROWS, 4, 3, 2, 1};
    cg_build *build = self->build;
    LLVMValueRef first = item->first;
    for (size_t i = 0; i < TD_COUNT_OF(sizes); i++) {
        const unsigned tokens = sizes[i];
        if (tokens * self->heads > CG_ATTENTION_ROWS)
            continue;
        LLVMValueRef until =
            LLVMBuildSub(build->builder, item->last, cg_i64(build, tokens - 1), "");
        cg_loop loop = cg_loop_begin(build, first, until, tokens);
        emit_common_blocks(self, item, loop.index, tokens, begin, end);
        cg_loop_end(build, &loop);
        first = loop.index;
    }
}

/* --- the other blocks of one token --- */

typedef struct lone_token {
    sight sees;
    LLVMValueRef token, committed, q;
    LLVMValueRef row;  /* its first one */
    LLVMValueRef next; /* variable: the first place of the tail that was not looked at yet */
} lone_token;

/* Lists the slots of logical indices base .. base + count - 1 (at most 64): numbers of their own
 * below `identity`, then the tail slots that the token sees, in order. */
static void emit_places(const cg_attention *self, const lone_token *lone, LLVMValueRef base,
                        LLVMValueRef count)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef first = cg_splat(build, LLVMBuildTrunc(builder, base, build->i32, ""), CG_LANES);
    for (unsigned i = 0; i < BLOCK; i += CG_LANES)
        cg_store(build, LLVMBuildAdd(builder, first, cg_constant_ramp(build->i32, CG_LANES, i), ""),
                 cg_offset_by(build, self->places, i * 4), 64);
    LLVMValueRef place = cg_variable(build, build->i64, "place");
    LLVMValueRef begin = LLVMBuildSub(builder, lone->sees.identity, base, "");
    begin = cg_maximum_i64(build, begin, cg_i64(build, 0));
    cg_store(build, cg_minimum_i64(build, begin, count), place, 8);
    /* A chain sees no tail slot but those below identity: then there is nothing to look for. */
    LLVMValueRef chain =
        LLVMBuildICmp(builder, LLVMIntEQ, lone->sees.identity, lone->sees.length, "");
    LLVMValueRef own = LLVMBuildAdd(builder, self->cache.tail, lone->token, "");
    LLVMValueRef end = LLVMBuildAdd(builder, own, cg_i64(build, 1), "");
    end = LLVMBuildSelect(builder, chain, cg_i64(build, 0), end, "");
    LLVMValueRef masks = ancestors_of(self, lone->token);
    cg_loop loop = cg_loop_begin(build, cg_load(build, build->i64, lone->next, 8), end, 1);
    LLVMValueRef word = LLVMBuildLShr(builder, loop.index, cg_i64(build, 6), "");
    LLVMValueRef bit = LLVMBuildAnd(builder, loop.index, cg_i64(build, 63), "");
    LLVMValueRef mask = cg_load(build, build->i64, cg_element(build, masks, word, 8), 8);
    LLVMValueRef set =
        LLVMBuildAnd(builder, LLVMBuildLShr(builder, mask, bit, ""), cg_i64(build, 1), "");
    LLVMValueRef before = cg_load(build, build->i64, place, 8);
    LLVMValueRef room = LLVMBuildICmp(builder, LLVMIntSLT, before, count, "");
    /* Written always and kept only when the bit is set: no branch to mispredict. */
    LLVMValueRef slot = LLVMBuildAdd(builder, lone->committed, loop.index, "");
    cg_store(build, LLVMBuildTrunc(builder, slot, build->i32, ""),
             cg_element(build, self->places, before, 4), 4);
    LLVMValueRef taken = LLVMBuildSelect(builder, room, set, cg_i64(build, 0), "");
    cg_store(build, LLVMBuildAdd(builder, before, taken, ""), place, 8);
    LLVMValueRef passed = LLVMBuildAdd(builder, loop.index, cg_i64(build, 1), "");
    LLVMValueRef next = cg_load(build, build->i64, lone->next, 8);
    cg_store(build, LLVMBuildSelect(builder, room, passed, next, ""), lone->next, 8);
    cg_loop_end(build, &loop);
}

static void emit_lone_block(const cg_attention *self, const lone_token *lone, LLVMValueRef base)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef zero = cg_i64(build, 0), whole = cg_i64(build, BLOCK);
    LLVMValueRef left = LLVMBuildSub(builder, lone->sees.length, base, "");
    LLVMValueRef skipped = LLVMBuildSub(builder, lone->sees.lower, base, "");
    const cg_attention_rows rows = {.count = self->heads,
                                    .first = lone->row,
                                    .q = lone->q,
                                    .base = base,
                                    .lower = cg_maximum_i64(build, skipped, zero),
                                    .upper = cg_minimum_i64(build, left, whole)};
    emit_places(self, lone, base, whole);
    /* Sixteen indices that are slot numbers are one panel. The last one of a chain may be partial:
     * the slots behind it exist, and what they hold is not looked at. */
    LLVMValueRef direct = LLVMBuildSub(builder, lone->sees.identity, base, "");
    direct = cg_minimum_i64(build, cg_maximum_i64(build, direct, zero), rows.upper);
    LLVMValueRef chain =
        LLVMBuildICmp(builder, LLVMIntEQ, lone->sees.identity, lone->sees.length, "");
    LLVMValueRef round = LLVMBuildSelect(builder, chain, cg_i64(build, CG_LANES - 1), zero, "");
    LLVMValueRef panels =
        LLVMBuildLShr(builder, LLVMBuildAdd(builder, direct, round, ""), cg_i64(build, 4), "");
    cg_attention_direct_scores(self, &rows, zero, panels, false);
    cg_attention_listed_scores(self, &rows,
                               LLVMBuildMul(builder, panels, cg_i64(build, CG_LANES), ""));
    cg_attention_merge(self, &rows);
}

static void emit_lone_blocks(const cg_attention *self, const lone_token *lone, LLVMValueRef begin,
                             LLVMValueRef end)
{
    cg_loop loop = cg_loop_begin(self->build, begin, end, BLOCK);
    emit_lone_block(self, lone, loop.index);
    cg_loop_end(self->build, &loop);
}

/* The blocks before the common ones begin .. end - 1 (a window cuts them off at different places)
 * or, when `behind`, those after them, token by token. */
static void emit_lone(const cg_attention *self, const attention_item *item, LLVMValueRef begin,
                      LLVMValueRef end, bool behind)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    lone_token lone = {.committed = item->committed,
                       .next = cg_variable(build, build->i64, "next")};
    cg_loop loop = cg_loop_begin(build, item->first, item->last, 1);
    lone.token = loop.index;
    lone.sees = emit_sight(self, item, lone.token);
    lone.row = first_row(self, item, lone.token);
    lone.q = queries_of(self, item, lone.token);
    LLVMValueRef start = LLVMBuildAnd(builder, lone.sees.lower, cg_i64(build, -BLOCK), "");
    LLVMValueRef from = behind ? cg_maximum_i64(build, start, end) : start;
    cg_store(build, LLVMBuildSub(builder, lone.sees.identity, item->committed, ""), lone.next, 8);
    if (self->window > 0) {
        /* Seen tail slots before the first block have their turn without a place. */
        cg_loop skip = cg_loop_begin(build, lone.sees.identity, from, BLOCK);
        LLVMValueRef left = LLVMBuildSub(builder, from, skip.index, "");
        emit_places(self, &lone, skip.index, cg_minimum_i64(build, left, cg_i64(build, BLOCK)));
        cg_loop_end(build, &skip);
    }
    emit_lone_blocks(self, &lone, from, behind ? lone.sees.length : begin);
    cg_loop_end(build, &loop);
}

/* --- items --- */

static void clear_rows(const cg_attention *self)
{
    cg_build *build = self->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_ATTENTION_ROWS);
    LLVMTypeRef lanes = cg_vector(build->f32, CG_LANES);
    cg_store(build, cg_constant_real(floats, -INFINITY), self->largest, 4);
    cg_store(build, cg_constant_real(floats, 0), self->sum, 4);
    const uint64_t row_bytes = (uint64_t)self->chunks * CG_LANES * 4;
    cg_loop loop =
        cg_loop_begin(build, cg_i64(build, 0),
                      cg_i64(build, (int64_t)(CG_ATTENTION_ROWS * row_bytes)), CG_LANES * 4);
    cg_store(build, cg_constant_real(lanes, 0), cg_offset(build, self->totals, loop.index), 64);
    cg_loop_end(build, &loop);
}

/* o / l */
static void store_rows(const cg_attention *self, const attention_item *item)
{
    cg_build *build = self->build;
    LLVMTypeRef lanes = cg_vector(build->f32, CG_LANES);
    const uint64_t row_bytes = (uint64_t)self->chunks * CG_LANES * 4;
    cg_loop loop = cg_loop_begin(build, item->first, item->last, 1);
    LLVMValueRef out = head_of(self, item, CG_ATTENTION_OUT, loop.index);
    LLVMValueRef row = first_row(self, item, loop.index);
    LLVMValueRef totals = cg_element(build, self->totals, row, row_bytes);
    LLVMValueRef sums = cg_element(build, self->sum, row, 4);
    for (unsigned h = 0; h < self->heads; h++) {
        LLVMValueRef sum = cg_load(build, build->f32, cg_offset_by(build, sums, h * 4), 4);
        for (unsigned c = 0; c < self->chunks; c++) {
            const uint64_t from = h * row_bytes + (uint64_t)c * CG_LANES * 4;
            LLVMValueRef total = cg_load(build, lanes, cg_offset_by(build, totals, from), 64);
            cg_store_lanes(build,
                           LLVMBuildFDiv(build->builder, total, cg_splat(build, sum, CG_LANES), ""),
                           cg_offset_by(build, out, (h * self->size + (uint64_t)c * CG_LANES) * 4),
                           cg_attention_chunk_lanes(self, c));
        }
    }
    cg_loop_end(build, &loop);
}

static void emit_item(const cg_attention *self, const attention_item *item)
{
    LLVMValueRef begin, end;
    clear_rows(self);
    turn_queries(self, item);
    emit_common_range(self, item, &begin, &end);
    if (self->window > 0)
        emit_lone(self, item, begin, end, false);
    emit_common(self, item, begin, end);
    emit_lone(self, item, begin, end, true);
    store_rows(self, item);
}

/* Query heads that are computed together: all of a KV head, or the largest part of them that the
 * rows of a group hold. */
static unsigned heads_together(uint64_t heads)
{
    unsigned together = CG_ATTENTION_ROWS;
    while (heads % together != 0)
        together--;
    return together;
}

static LLVMValueRef row_memory(const cg_attention *self, LLVMTypeRef type, uint64_t count,
                               const char *name)
{
    return cg_variable(self->build, LLVMArrayType2(type, count * CG_ATTENTION_ROWS), name);
}

static void take_memory(cg_attention *self)
{
    LLVMTypeRef f32 = self->build->f32;
    self->scores = row_memory(self, f32, BLOCK, "scores");
    self->totals = row_memory(self, f32, (uint64_t)self->chunks * CG_LANES, "totals");
    self->largest = row_memory(self, f32, 1, "largest");
    self->sum = row_memory(self, f32, 1, "sum");
    self->block_largest = row_memory(self, f32, 1, "block_largest");
    self->block_sum = row_memory(self, f32, 1, "block_sum");
    self->old = row_memory(self, f32, 1, "old");
    self->fresh = row_memory(self, f32, 1, "fresh");
    self->found = row_memory(self, f32, CG_LANES, "found");
    self->queries = row_memory(self, f32, self->turn.queries ? self->size : 1, "queries");
    self->places = cg_variable(self->build, LLVMArrayType2(self->build->i32, BLOCK + 1), "places");
}

/* Items are groups of tokens of the heads that go together. Groups of one KV head follow each
 * other, so that its keys and values stay in cache. */
static void emit_attend(cg_attention *self)
{
    cg_build *build = self->build;
    LLVMBuilderRef builder = build->builder;
    const cg_kernel *kernel = self->kernel;
    const unsigned most = CG_ATTENTION_ROWS / self->heads;
    const uint64_t per_kv_head = self->all_heads / self->cache.kv_heads / self->heads;
    take_memory(self);
    LLVMValueRef step = cg_i64(build, most), begin, end;
    LLVMValueRef groups = LLVMBuildUDiv(
        builder, LLVMBuildAdd(builder, kernel->rows, cg_i64(build, most - 1), ""), step, "");
    LLVMValueRef parts = cg_i64(build, (int64_t)(self->all_heads / self->heads));
    cg_share(build, kernel, LLVMBuildMul(builder, groups, parts, ""), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef part = LLVMBuildUDiv(builder, loop.index, groups, "");
    LLVMValueRef kv_head = LLVMBuildUDiv(builder, part, cg_i64(build, (int64_t)per_kv_head), "");
    self->keys = cg_cache_head(&self->cache, kernel->operands[CG_ATTENTION_KEYS], kv_head);
    self->values = cg_cache_head(&self->cache, kernel->operands[CG_ATTENTION_VALUES], kv_head);
    self->key_scales = cg_cache_scales(&self->cache, kernel->operands[CG_ATTENTION_KEYS], kv_head);
    self->value_scales =
        cg_cache_scales(&self->cache, kernel->operands[CG_ATTENTION_VALUES], kv_head);
    attention_item item = {.head = LLVMBuildMul(builder, part, cg_i64(build, self->heads), "")};
    item.committed = cg_cache_count(&self->cache, kernel->operands[CG_ATTENTION_COUNTS], kv_head);
    item.first = LLVMBuildMul(builder, LLVMBuildURem(builder, loop.index, groups, ""), step, "");
    item.last = cg_minimum_i64(build, LLVMBuildAdd(builder, item.first, step, ""), kernel->rows);
    emit_item(self, &item);
    cg_loop_end(build, &loop);
}

/* --- the node --- */

static td_status check_attention(const cg_entry *entry, const ir_node *node, const ir_state *state,
                                 cg_attention *self)
{
    uint64_t q, k, v;
    TD_TRY(cg_matrix(node, node->inputs[0], "q", &q));
    TD_TRY(cg_matrix(node, node->inputs[1], "k", &k));
    TD_TRY(cg_matrix(node, node->inputs[2], "v", &v));
    const ir_value *ancestors = node->inputs[3];
    if (ancestors->type != IR_I64 || ancestors->shape.rank != 2 ||
        !ir_dim_is_constant(&ancestors->shape.dim[1]))
        return cg_refuse(node, "ancestors are i64 [tokens, words]");
    const uint64_t kv_heads = state->kv_heads, max_tokens = entry->model->max_tokens;
    self->all_heads = (uint64_t)ir_node_int(node, "heads", 0);
    self->size = state->head_size;
    self->words = (uint64_t)ancestors->shape.dim[1].constant;
    self->chunks = (unsigned)((self->size + CG_LANES - 1) / CG_LANES);
    self->scale = (float)ir_node_float(node, "scale", 1 / sqrt((double)self->size));
    self->softcap = (float)ir_node_float(node, "softcap", 0);
    self->window = ir_node_int(node, "window", 0);
    self->accumulators = entry->lowering->cpu->accumulators;
    self->turn = (cg_turn){.keys = node->input_count > 4,
                           .queries = node->input_count > 4 && ir_node_int(node, "rotates_q", 0),
                           .interleaved = ir_node_int(node, "interleaved", 0) != 0};
    if (self->chunks == 0 || self->chunks > CG_ATTENTION_MAX_CHUNKS)
        return cg_refuse(node, "head size %llu; 1 to %u is accepted",
                         (unsigned long long)self->size, CG_ATTENTION_MAX_CHUNKS * CG_LANES);
    if (self->all_heads == 0 || self->all_heads % kv_heads != 0 ||
        q != self->all_heads * self->size || k != kv_heads * self->size || v != k)
        return cg_refuse(node,
                         "%llu heads and %llu KV heads of %llu do not fit q, k and v of "
                         "%llu, %llu and %llu",
                         (unsigned long long)self->all_heads, (unsigned long long)kv_heads,
                         (unsigned long long)self->size, (unsigned long long)q,
                         (unsigned long long)k, (unsigned long long)v);
    if (max_tokens == 0 || self->words * 64 < max_tokens)
        return cg_refuse(node,
                         "passes of %llu tokens with %llu words of ancestors; at least 1 token and "
                         "a bit for each are accepted",
                         (unsigned long long)max_tokens, (unsigned long long)self->words);
    self->heads = heads_together(self->all_heads / kv_heads);
    return TD_OK;
}

/* A part of the keys of kernels. */
static const char *turn_name(const cg_turn *turn, bool turns)
{
    return !turns ? "" : turn->interleaved ? "_pairs" : "_halves";
}

static td_status call_write(cg_entry *entry, const ir_state *state, const cg_turn *turn,
                            LLVMValueRef rows, LLVMValueRef *addresses)
{
    cg_lowering *lowering = entry->lowering;
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(lowering, CG_ATTENTION_OPERANDS, &kernel, &fresh,
                           "write_tail_%s_%ux%u%s", ir_type_name(state->type), state->kv_heads,
                           state->head_size, turn_name(turn, turn->keys)));
    if (fresh) {
        const cg_cache_view cache = cg_cache_see(&lowering->build, &kernel, state);
        cg_emit_write_tail(&cache, &kernel, turn);
        cg_kernel_end(lowering, &kernel);
    }
    cg_entry moving = *entry; /* the node's work is that of attending */
    moving.work = cg_moving_work(entry, rows, UINT64_C(2) * state->kv_heads * state->head_size);
    cg_kernel_call(&moving, &kernel, CG_ATTENTION_OPERANDS, rows, addresses);
    return TD_OK;
}

td_status cg_lower_attention(cg_entry *entry, const ir_node *node)
{
    cg_lowering *lowering = entry->lowering;
    const cg_cache *cache;
    LLVMValueRef addresses[CG_ATTENTION_OPERANDS], rows;
    TD_TRY(cg_cache_addresses(entry, node, &cache, &addresses[CG_ATTENTION_COUNTS]));
    const ir_state *state = cache->state;
    cg_attention self = {.build = &lowering->build};
    TD_TRY(check_attention(entry, node, state, &self));
    for (unsigned i = 0; i < 4; i++)
        TD_TRY(cg_address(entry, node, node->inputs[i], &addresses[CG_ATTENTION_Q + i]));
    TD_TRY(cg_address(entry, node, node->inputs[node->input_count - 1],
                      &addresses[CG_ATTENTION_TABLE]));
    TD_TRY(cg_address(entry, node, node->outputs[0], &addresses[CG_ATTENTION_OUT]));
    TD_TRY(cg_dimension(entry, node, &node->outputs[0]->shape.dim[0], &rows));
    TD_TRY(call_write(entry, state, &self.turn, rows, addresses));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(lowering, CG_ATTENTION_OPERANDS, &kernel, &fresh,
                           "attention_%s_%llu_%ux%llu_w%llu_%a_%a_%lld%s",
                           ir_type_name(state->type), (unsigned long long)self.all_heads,
                           state->kv_heads, (unsigned long long)self.size,
                           (unsigned long long)self.words, (double)self.scale, (double)self.softcap,
                           (long long)self.window, turn_name(&self.turn, self.turn.queries)));
    if (fresh) {
        self.kernel = &kernel;
        self.cache = cg_cache_see(self.build, &kernel, state);
        emit_attend(&self);
        cg_kernel_end(lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, CG_ATTENTION_OPERANDS, rows, addresses);
    return TD_OK;
}
