/* Attention: over a cache with an ancestor mask, and in its pure form; committing cache slots.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A cache holds K and V as [kv_heads][slots][head_size] in f32, already rounded to its element
 * type. The first `committed` slots are visible to every query, the tail behind them holds the
 * tokens of the current pass and of earlier ones that were not committed, whose visibility is a bit
 * mask of ancestors. */
#include "ir/evaluate_private.h"
#include "ir/numerics.h"

#include <inttypes.h>
#include <string.h>

/* --- the cache --- */

/* Allocates a cache when it is first used. */
static td_status take_cache(ir_evaluator *evaluator, const ir_node *node, ir_state_data **cache)
{
    ir_state_data *data = NULL;
    TD_TRY(ir_evaluate_state(evaluator, node, IR_STATE_CACHE, &data));
    const ir_state *state = data->state;
    uint64_t numbers;
    if (state->type != IR_F32 && state->type != IR_F16 && state->type != IR_I8)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "cache \"%s\" holds %s; f32, f16 and i8 are supported", state->name,
                                ir_type_name(state->type));
    if (!td_multiply((uint64_t)state->kv_heads * evaluator->slots, state->head_size, &numbers) ||
        numbers > PTRDIFF_MAX / sizeof(float))
        return ir_evaluate_fail(evaluator, node, TD_INVALID, "cache \"%s\" is too large",
                                state->name);
    if (data->keys == NULL)
        data->keys = td_allocate(evaluator->context, numbers * sizeof(float));
    if (data->values == NULL)
        data->values = td_allocate(evaluator->context, numbers * sizeof(float));
    if (data->keys == NULL || data->values == NULL)
        return td_fail_memory(evaluator->context);
    *cache = data;
    return TD_OK;
}

/* Where one slot of one head begins. */
static uint64_t slot_offset(const ir_evaluator *evaluator, const ir_state *state, uint64_t kv_head,
                            uint64_t slot)
{
    return (kv_head * evaluator->slots + slot) * state->head_size;
}

/* Rounds one row of one head to what the cache holds. */
static void round_row(ir_type type, float *row, uint64_t size)
{
    if (type == IR_I8)
        ir_round_cache_row(row, size);
    for (uint64_t d = 0; d < size && type == IR_F16; d++)
        row[d] = ir_f16_to_f32(ir_f32_to_f16(row[d]));
}

/* Writes the pass's rows [tokens, kv_heads * head_size] to their places in the tail. */
static void write_tail(const ir_evaluator *evaluator, const ir_state_data *cache, uint64_t tokens,
                       const float *rows, float *numbers)
{
    const ir_state *state = cache->state;
    uint64_t size = state->head_size, width = state->kv_heads * size;
    uint64_t first = (uint64_t)cache->committed + evaluator->tail;
    for (uint64_t token = 0; token < tokens; token++)
        for (uint64_t head = 0; head < state->kv_heads; head++) {
            float *slot = numbers + slot_offset(evaluator, state, head, first + token);
            memcpy(slot, rows + token * width + head * size, size * sizeof *slot);
            round_row(state->type, slot, size);
        }
}

/* --- one query of one head --- */

typedef struct head_query {
    const float *row;           /* [size] */
    const float *keys, *values; /* of the KV head, [slots][size] */
    const uint32_t *visible;    /* slots in logical order */
    uint64_t first, count;      /* logical indices first .. count - 1 take part */
    uint64_t size;
    float scale, softcap;
    float *block; /* scratch: [size] */
} head_query;

static float score(const head_query *query, uint64_t logical)
{
    const float *key = query->keys + (uint64_t)query->visible[logical] * query->size;
    float s = 0.0f;
    for (uint64_t d = 0; d < query->size; d++)
        s = fmaf(query->row[d], key[d], s);
    s = s * query->scale;
    return query->softcap > 0.0f ? query->softcap * ir_tanh(s / query->softcap) : s;
}

/* Largest score, sum of exponentials and weighted values of one block, which begins at logical
 * index `begin`; indices before `first` keep their lanes empty. */
static void attend_block(const head_query *query, uint64_t begin, float *maximum, float *sum)
{
    float scores[IR_ATTENTION_BLOCK], lanes[IR_ROW_LANES] = {0};
    uint64_t first = begin < query->first ? query->first - begin : 0;
    uint64_t count = query->count - begin;
    if (count > IR_ATTENTION_BLOCK)
        count = IR_ATTENTION_BLOCK;
    float largest = -INFINITY;
    for (uint64_t j = first; j < count; j++) {
        scores[j] = score(query, begin + j);
        largest = scores[j] > largest ? scores[j] : largest;
    }
    for (uint64_t d = 0; d < query->size; d++)
        query->block[d] = 0.0f;
    for (uint64_t j = first; j < count; j++) {
        const float *value = query->values + (uint64_t)query->visible[begin + j] * query->size;
        float p = ir_exp(scores[j] - largest);
        lanes[j % IR_ROW_LANES] = lanes[j % IR_ROW_LANES] + p;
        for (uint64_t d = 0; d < query->size; d++)
            query->block[d] = fmaf(p, value[d], query->block[d]);
    }
    *maximum = largest;
    *sum = ir_fold_lanes(lanes);
}

static void attend(const head_query *query, float *out)
{
    float m = -INFINITY, l = 0.0f;
    uint64_t begin = query->first / IR_ATTENTION_BLOCK * IR_ATTENTION_BLOCK;
    for (uint64_t d = 0; d < query->size; d++)
        out[d] = 0.0f;
    for (; begin < query->count; begin += IR_ATTENTION_BLOCK) {
        float block_m, block_l;
        attend_block(query, begin, &block_m, &block_l);
        float larger = m > block_m ? m : block_m;
        float a = ir_exp(m - larger), b = ir_exp(block_m - larger);
        l = fmaf(l, a, block_l * b);
        for (uint64_t d = 0; d < query->size; d++)
            out[d] = fmaf(out[d], a, query->block[d] * b);
        m = larger;
    }
    for (uint64_t d = 0; d < query->size; d++)
        out[d] = out[d] / l;
}

/* --- cached_attention --- */

typedef struct cached_pass {
    uint64_t tokens, heads, words;
    uint64_t tail; /* its first token's place there */
    const int64_t *ancestors;
    const float *q, *k, *v;
} cached_pass;

static td_status check_rows(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                            int number, uint64_t tokens, uint64_t width)
{
    TD_TRY(ir_evaluate_want_floats(evaluator, node, x, number));
    if (x->rank == 2 && (uint64_t)x->dim[0] == tokens && (uint64_t)x->dim[1] == width)
        return TD_OK;
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "operand %d must have the shape [%" PRIu64 ", %" PRIu64 "]", number,
                            tokens, width);
}

/* Heads, and room in the cache: `tail` tokens stand behind the committed ones after the pass. */
static td_status check_cache(ir_evaluator *evaluator, const ir_node *node, int64_t heads,
                             const ir_state_data *cache, uint64_t tail)
{
    const ir_state *state = cache->state;
    if (heads <= 0 || state->kv_heads == 0 || heads % state->kv_heads != 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRId64 " heads over %" PRIu32 " KV heads; a multiple is wanted",
                                heads, state->kv_heads);
    if (evaluator->tail > cache->tail)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "the tail of cache \"%s\" holds %" PRIu32 " tokens; %" PRIu32
                                " of them cannot stay",
                                state->name, cache->tail, evaluator->tail);
    if (tail > evaluator->slots || cache->committed > evaluator->slots - tail)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "cache \"%s\" has %" PRIu32 " slots; %" PRIu32
                                " are committed, so %" PRIu64 " more tokens do not fit",
                                state->name, evaluator->slots, cache->committed, tail);
    return TD_OK;
}

static td_status check_ancestors(ir_evaluator *evaluator, const ir_node *node,
                                 const ir_tensor *mask, uint64_t tokens, uint64_t tail)
{
    TD_TRY(ir_evaluate_want_integers(evaluator, node, mask, 4));
    if (mask->rank == 2 && (uint64_t)mask->dim[0] == tokens &&
        (uint64_t)mask->dim[1] >= tail / 64 + (tail % 64 != 0))
        return TD_OK;
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "operand 4 (ancestors) must have the shape [%" PRIu64
                            ", words] with 64 bits a word and a bit for each of %" PRIu64
                            " tokens of the tail",
                            tokens, tail);
}

static td_status take_pass(ir_evaluator *evaluator, const ir_node *node,
                           const ir_tensor *const *inputs, const ir_state_data *cache,
                           cached_pass *pass)
{
    const ir_state *state = cache->state;
    const int64_t heads = ir_node_int(node, "heads", 0);
    const uint64_t tokens = inputs[0]->rank > 0 ? (uint64_t)inputs[0]->dim[0] : 0;
    const uint64_t width = (uint64_t)state->kv_heads * state->head_size;
    const uint64_t tail = (uint64_t)evaluator->tail + tokens;
    TD_TRY(check_cache(evaluator, node, heads, cache, tail));
    TD_TRY(check_rows(evaluator, node, inputs[0], 1, tokens, (uint64_t)heads * state->head_size));
    TD_TRY(check_rows(evaluator, node, inputs[1], 2, tokens, width));
    TD_TRY(check_rows(evaluator, node, inputs[2], 3, tokens, width));
    TD_TRY(check_ancestors(evaluator, node, inputs[3], tokens, tail));
    *pass = (cached_pass){.tokens = tokens,
                          .heads = (uint64_t)heads,
                          .words = (uint64_t)inputs[3]->dim[1],
                          .tail = evaluator->tail,
                          .ancestors = ir_tensor_integers(evaluator, inputs[3]),
                          .q = ir_tensor_floats(evaluator, inputs[0]),
                          .k = ir_tensor_floats(evaluator, inputs[1]),
                          .v = ir_tensor_floats(evaluator, inputs[2])};
    return pass->ancestors == NULL || pass->q == NULL || pass->k == NULL || pass->v == NULL
               ? td_fail_memory(evaluator->context)
               : TD_OK;
}

/* Slots that token `token` sees, in logical order. Its last ancestor must be itself, at its place
 * in the tail. */
static td_status list_visible(ir_evaluator *evaluator, const ir_node *node, const cached_pass *pass,
                              uint64_t token, uint32_t committed, uint32_t *visible,
                              uint64_t *count)
{
    const int64_t *mask = pass->ancestors + token * pass->words;
    uint64_t seen = 0, own = pass->tail + token;
    for (uint32_t slot = 0; slot < committed; slot++)
        visible[seen++] = slot;
    for (uint64_t j = 0; j < pass->words * 64; j++) {
        if (((uint64_t)mask[j / 64] >> j % 64 & 1) == 0)
            continue;
        if (j > own)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "ancestors of token %" PRIu64 " name the later place %" PRIu64
                                    " of the tail; its own is %" PRIu64,
                                    token, j, own);
        visible[seen++] = committed + (uint32_t)j;
    }
    if (seen == committed || visible[seen - 1] != committed + own)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "ancestors of token %" PRIu64 " do not name the token itself",
                                token);
    *count = seen;
    return TD_OK;
}

/* With a rotary table k, and perhaps q, is rotated first. */
static td_status rotate_pass(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, cached_pass *pass)
{
    float *rotated = NULL;
    if (node->input_count < 5)
        return TD_OK;
    TD_TRY(ir_evaluate_rotated(evaluator, node, inputs[1], inputs[4], &rotated));
    pass->k = rotated;
    if (ir_node_int(node, "rotates_q", 0) == 0)
        return TD_OK;
    TD_TRY(ir_evaluate_rotated(evaluator, node, inputs[0], inputs[4], &rotated));
    pass->q = rotated;
    return TD_OK;
}

td_status ir_evaluate_cached_attention(ir_evaluator *evaluator, const ir_node *node,
                                       const ir_tensor *const *inputs, ir_tensor *outputs)
{
    ir_state_data *cache = NULL;
    cached_pass pass = {0};
    TD_TRY(take_cache(evaluator, node, &cache));
    TD_TRY(take_pass(evaluator, node, inputs, cache, &pass));
    TD_TRY(rotate_pass(evaluator, node, inputs, &pass));
    uint64_t size = cache->state->head_size, kv_heads = cache->state->kv_heads;
    TD_TRY(ir_evaluate_allocate(evaluator, node, IR_F32, 2, inputs[0]->dim, &outputs[0]));
    write_tail(evaluator, cache, pass.tokens, pass.k, cache->keys);
    write_tail(evaluator, cache, pass.tokens, pass.v, cache->values);
    cache->tail = (uint32_t)(pass.tail + pass.tokens);

    uint32_t *visible =
        ir_evaluate_scratch(evaluator, (uint64_t)cache->committed + cache->tail, sizeof *visible);
    head_query query = {.visible = visible,
                        .size = size,
                        .scale = (float)ir_node_float(node, "scale", 1.0 / sqrt((double)size)),
                        .softcap = (float)ir_node_float(node, "softcap", 0.0),
                        .block = ir_evaluate_scratch(evaluator, size, sizeof(float))};
    if (visible == NULL || query.block == NULL)
        return td_fail_memory(evaluator->context);
    int64_t window = ir_node_int(node, "window", 0);
    for (uint64_t token = 0; token < pass.tokens; token++) {
        TD_TRY(
            list_visible(evaluator, node, &pass, token, cache->committed, visible, &query.count));
        query.first =
            window > 0 && query.count > (uint64_t)window ? query.count - (uint64_t)window : 0;
        for (uint64_t head = 0; head < pass.heads; head++) {
            uint64_t row = (token * pass.heads + head) * size;
            uint64_t kv_head = head / (pass.heads / kv_heads);
            query.row = pass.q + row;
            query.keys = cache->keys + slot_offset(evaluator, cache->state, kv_head, 0);
            query.values = cache->values + slot_offset(evaluator, cache->state, kv_head, 0);
            attend(&query, (float *)outputs[0].data + row);
        }
    }
    return TD_OK;
}

/* --- cache_commit --- */

static void move_slot(const ir_evaluator *evaluator, const ir_state *state, uint64_t from,
                      uint64_t to, float *numbers)
{
    for (uint64_t head = 0; from != to && head < state->kv_heads; head++)
        memcpy(numbers + slot_offset(evaluator, state, head, to),
               numbers + slot_offset(evaluator, state, head, from),
               state->head_size * sizeof *numbers);
}

td_status ir_evaluate_cache_commit(ir_evaluator *evaluator, const ir_node *node,
                                   const ir_tensor *const *inputs, ir_tensor *outputs)
{
    (void)outputs;
    ir_state_data *cache = NULL;
    const ir_tensor *path = inputs[0];
    TD_TRY(take_cache(evaluator, node, &cache));
    TD_TRY(ir_evaluate_want_integers(evaluator, node, path, 1));
    const int64_t *slots = ir_tensor_integers(evaluator, path);
    if (slots == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t i = 0; i < path->elements; i++)
        if (slots[i] < 0 || slots[i] >= cache->tail || (i > 0 && slots[i] <= slots[i - 1]))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "path entry %" PRIu64 " is %" PRId64
                                    "; ascending tail slots below %" PRIu32 " are wanted",
                                    i, slots[i], cache->tail);
    for (uint64_t i = 0; i < path->elements; i++) {
        uint64_t from = cache->committed + (uint64_t)slots[i], to = cache->committed + i;
        move_slot(evaluator, cache->state, from, to, cache->keys);
        move_slot(evaluator, cache->state, from, to, cache->values);
    }
    cache->committed += (uint32_t)path->elements;
    cache->tail = 0;
    return TD_OK;
}

/* --- the pure form --- */

typedef struct pure_mask {
    const ir_tensor *tensor; /* NULL: none */
    const float *added;      /* or NULL: */
    const uint8_t *shown;
    int64_t strides[IR_MAX_RANK];
} pure_mask;

static td_status take_mask(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *tensor,
                           uint32_t rank, pure_mask *mask)
{
    *mask = (pure_mask){.tensor = tensor};
    if (tensor == NULL)
        return TD_OK;
    ir_broadcast_strides(tensor, rank, mask->strides);
    if (tensor->type == IR_BOOL) {
        mask->shown = tensor->data;
        return TD_OK;
    }
    TD_TRY(ir_evaluate_want_floats(evaluator, node, tensor, 4));
    mask->added = ir_tensor_floats(evaluator, tensor);
    return mask->added == NULL ? td_fail_memory(evaluator->context) : TD_OK;
}

/* The row of one query: p[j] over the keys, -INFINITY scores take no part. False when it sees
 * nothing. */
static bool softmax_visible(float *row, const bool *hidden, uint64_t count)
{
    float largest = -INFINITY;
    bool sees = false;
    for (uint64_t j = 0; j < count; j++)
        if (!hidden[j]) {
            largest = !sees || row[j] > largest ? row[j] : largest;
            sees = true;
        }
    for (uint64_t j = 0; j < count; j++)
        row[j] = hidden[j] ? 0.0f : ir_exp(row[j] - largest);
    float sum = ir_row_sum(row, count);
    for (uint64_t j = 0; j < count; j++)
        row[j] = row[j] / sum;
    return sees;
}

/* Everything that one (query, batch) needs. */
typedef struct pure_pass {
    uint64_t queries, keys, size, value_size;
    float scale;
    bool causal;
    const float *q, *k, *v;
    float *row;   /* scratch: [keys] */
    bool *hidden; /* scratch: [keys] */
    const pure_mask *mask;
    int64_t query_stride, key_stride; /* of the mask */
} pure_pass;

static void attend_pure(const pure_pass *pass, uint64_t i, const float *q, const float *k,
                        const float *v, int64_t mask_offset, float *out)
{
    for (uint64_t j = 0; j < pass->keys; j++) {
        int64_t at = mask_offset + (int64_t)i * pass->query_stride + (int64_t)j * pass->key_stride;
        float sum = 0.0f;
        for (uint64_t d = 0; d < pass->size; d++)
            sum = fmaf(q[i * pass->size + d], k[j * pass->size + d], sum);
        sum = sum * pass->scale;
        pass->row[j] = pass->mask->added != NULL ? sum + pass->mask->added[at] : sum;
        pass->hidden[j] = (pass->causal && j > i) || pass->row[j] == -INFINITY ||
                          (pass->mask->shown != NULL && pass->mask->shown[at] == 0);
    }
    for (uint64_t d = 0; d < pass->value_size; d++)
        out[d] = 0.0f;
    if (!softmax_visible(pass->row, pass->hidden, pass->keys))
        return;
    for (uint64_t j = 0; j < pass->keys; j++)
        for (uint64_t d = 0; d < pass->value_size && !pass->hidden[j]; d++)
            out[d] = fmaf(pass->row[j], v[j * pass->value_size + d], out[d]);
}

/* Leading dimensions of a tensor only. */
static ir_tensor leading(const ir_tensor *x)
{
    ir_tensor lead = *x;
    lead.rank -= 2;
    return lead;
}

static td_status pure_scale(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, uint64_t size, float *scale)
{
    *scale = (float)ir_node_float(node, "scale", 1.0 / sqrt((double)size));
    if (node->input_count < 5)
        return TD_OK;
    TD_TRY(ir_evaluate_want_floats(evaluator, node, inputs[4], 5));
    const float *given = ir_tensor_floats(evaluator, inputs[4]);
    if (given == NULL)
        return td_fail_memory(evaluator->context);
    if (inputs[4]->elements != 1)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "operand 5 (scale) has %" PRIu64 " numbers; one is wanted",
                                inputs[4]->elements);
    *scale = given[0];
    return TD_OK;
}

/* Checks the shapes of q, k, v and mask and makes the shape of the result. */
static td_status pure_shape(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, uint32_t *rank, int64_t *dims)
{
    const ir_tensor *q = inputs[0], *k = inputs[1], *v = inputs[2];
    for (int i = 0; i < 3; i++) {
        TD_TRY(ir_evaluate_want_floats(evaluator, node, inputs[i], i + 1));
        if (inputs[i]->rank < 2)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "operand %d must have the shape [.., tokens, size]", i + 1);
    }
    ir_tensor lead_q = leading(q), lead_k = leading(k), lead_v = leading(v);
    *rank = lead_q.rank;
    memcpy(dims, lead_q.dim, sizeof lead_q.dim);
    int64_t keys = k->dim[k->rank - 2];
    if (k->dim[k->rank - 1] != q->dim[q->rank - 1] || v->dim[v->rank - 2] != keys ||
        !ir_dims_broadcast(rank, dims, &lead_k) || !ir_dims_broadcast(rank, dims, &lead_v))
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "the shapes of q, k and v do not fit each other");
    dims[*rank] = q->dim[q->rank - 2];
    dims[*rank + 1] = keys;
    *rank += 2;
    if (node->input_count > 3) {
        int64_t scores[IR_MAX_RANK];
        uint32_t scores_rank = *rank;
        memcpy(scores, dims, sizeof scores);
        if (!ir_dims_broadcast(&scores_rank, scores, inputs[3]) || scores_rank != *rank ||
            memcmp(scores, dims, *rank * sizeof *dims) != 0)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "its mask does not broadcast to the scores");
    }
    dims[*rank - 1] = v->dim[v->rank - 1];
    return TD_OK;
}

/* `rank` is that of the scores. */
static td_status take_pure(ir_evaluator *evaluator, const ir_node *node,
                           const ir_tensor *const *inputs, const pure_mask *mask, uint32_t rank,
                           pure_pass *pass)
{
    const ir_tensor *q = inputs[0], *k = inputs[1], *v = inputs[2];
    *pass = (pure_pass){.queries = (uint64_t)q->dim[q->rank - 2],
                        .keys = (uint64_t)k->dim[k->rank - 2],
                        .size = (uint64_t)q->dim[q->rank - 1],
                        .value_size = (uint64_t)v->dim[v->rank - 1],
                        .causal = ir_node_int(node, "causal", 0) != 0,
                        .q = ir_tensor_floats(evaluator, q),
                        .k = ir_tensor_floats(evaluator, k),
                        .v = ir_tensor_floats(evaluator, v),
                        .mask = mask,
                        .query_stride = mask->strides[rank - 2],
                        .key_stride = mask->strides[rank - 1]};
    TD_TRY(pure_scale(evaluator, node, inputs, pass->size, &pass->scale));
    pass->row = ir_evaluate_scratch(evaluator, pass->keys, sizeof *pass->row);
    pass->hidden = ir_evaluate_scratch(evaluator, pass->keys, sizeof *pass->hidden);
    return pass->row == NULL || pass->hidden == NULL || pass->q == NULL || pass->k == NULL ||
                   pass->v == NULL
               ? td_fail_memory(evaluator->context)
               : TD_OK;
}

td_status ir_evaluate_attention(ir_evaluator *evaluator, const ir_node *node,
                                const ir_tensor *const *inputs, ir_tensor *outputs)
{
    uint32_t rank = 0;
    int64_t dims[IR_MAX_RANK] = {0}, stride[3][IR_MAX_RANK];
    pure_mask mask = {0};
    pure_pass pass;
    ir_tensor *out = &outputs[0];
    TD_TRY(pure_shape(evaluator, node, inputs, &rank, dims));
    TD_TRY(take_mask(evaluator, node, node->input_count > 3 ? inputs[3] : NULL, rank, &mask));
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, rank, dims, out));
    TD_TRY(take_pure(evaluator, node, inputs, &mask, rank, &pass));
    float *result = ir_evaluate_scratch(evaluator, out->elements, sizeof *result);
    if (result == NULL)
        return td_fail_memory(evaluator->context);
    ir_walk walk[3], mask_walk = ir_walk_start(rank - 2, dims, mask.strides, 0);
    for (int i = 0; i < 3; i++) {
        ir_tensor lead = leading(inputs[i]);
        ir_broadcast_strides(&lead, rank - 2, stride[i]);
        walk[i] = ir_walk_start(rank - 2, dims, stride[i], 0);
    }
    const uint64_t per_batch = pass.queries * pass.value_size;
    for (uint64_t done = 0; done < out->elements; done += per_batch) {
        for (uint64_t i = 0; i < pass.queries; i++)
            attend_pure(&pass, i, pass.q + (uint64_t)walk[0].offset * pass.queries * pass.size,
                        pass.k + (uint64_t)walk[1].offset * pass.keys * pass.size,
                        pass.v + (uint64_t)walk[2].offset * pass.keys * pass.value_size,
                        mask_walk.offset, result + done + i * pass.value_size);
        for (int i = 0; i < 3; i++)
            ir_walk_next(&walk[i]);
        ir_walk_next(&mask_walk);
    }
    ir_tensor_store_floats(out, result);
    return TD_OK;
}
