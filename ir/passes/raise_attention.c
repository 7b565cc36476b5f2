/* Attention over the cache, as one operation or spelled out as products and softmax.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <inttypes.h>
#include <math.h>

#define MOST_HEADS 65536 /* heads, and numbers in a head */

/* What one attention reads. */
typedef struct head_group {
    ir_value *queries;
    const raise_meaning *keys, *values;
    ir_value *mask; /* imported, or NULL */
    double scale;
    int64_t count, kv_count, size;
} head_group;

/* 1 / sqrt(size) when the scale is that but for rounding. */
static double exact_scale(double scale, int64_t size)
{
    double usual = 1.0 / sqrt((double)size);
    return fabs(scale - usual) <= 1e-6 * usual ? usual : raise_decimal(scale);
}

/* Whether the state was not consumed before; notes that it is now. */
static td_status consume(raiser *raise, ir_state *state, bool *fresh)
{
    for (size_t i = 0; i < raise->used.count; i++)
        if (raise->used.items[i] == state) {
            *fresh = false;
            return TD_OK;
        }
    *fresh = true;
    return td_array_push(raise->context, &raise->used, state) ? TD_OK
                                                              : td_fail_memory(raise->context);
}

static td_status add_cache(raiser *raise, const head_group *heads, ir_state **state)
{
    const char *name = td_arena_format(&raise->module->arena, "layers.%u", raise->layers);
    if (name == NULL)
        return td_fail_memory(raise->context);
    ir_state cache = {.name = name,
                      .kind = IR_STATE_CACHE,
                      .type = IR_F32,
                      .layer = raise->layers,
                      .kv_heads = (uint32_t)heads->kv_count,
                      .head_size = (uint32_t)heads->size};
    TD_TRY(ir_module_add_state(raise->module, &cache, state));
    raise->layers++;
    return TD_OK;
}

static td_status emit_attention(raiser *raise, const ir_node *node, const head_group *heads,
                                int64_t window, bool *applied)
{
    ir_state *state;
    ir_node *attention;
    ir_value *inputs[4] = {heads->queries, heads->keys->rows, heads->values->rows,
                           raise->ancestors};
    TD_TRY(add_cache(raise, heads, &state));
    TD_TRY(raise_emit(raise, IR_OP_cached_attention, node->name, 4, inputs, &attention));
    TD_TRY(ir_node_set_string(attention, "state", state->name));
    TD_TRY(ir_node_set_int(attention, "heads", heads->count));
    TD_TRY(ir_node_set_int(attention, "kv_heads", heads->kv_count));
    TD_TRY(ir_node_set_int(attention, "head_size", heads->size));
    TD_TRY(ir_node_set_float(attention, "scale", heads->scale));
    if (window != 0)
        TD_TRY(ir_node_set_int(attention, "window", window));
    TD_TRY(ir_node_infer(attention));
    *applied = raise_set_rows(raise, node->outputs[0], attention->outputs[0], 1.0);
    return TD_OK;
}

/* The mask last, so that nothing is evaluated for an attention of another kind. */
static td_status raise_heads(raiser *raise, const ir_node *node, const head_group *heads,
                             bool *applied)
{
    bool fresh_keys, fresh_values;
    const raise_mask *mask;
    if (heads->keys->factor == 0.0 || heads->values->factor != 1.0)
        return raise_because(raise, node, "its values are scaled");
    if (heads->keys->repeat != heads->values->repeat || heads->count % heads->keys->repeat != 0)
        return raise_because(raise, node, "keys and values have different heads");
    if (heads->mask == NULL)
        return raise_because(raise, node, "it has no mask, so tokens would see later ones");
    TD_TRY(raise_probe_mask(raise, heads->mask, &mask));
    if (!mask->causal)
        return raise_because(raise, node, "%s", mask->reason);
    if (mask->copies != 1 && mask->copies != heads->count)
        return raise_because(raise, node, "its mask is for %" PRId64 " heads, there are %" PRId64,
                             mask->copies, heads->count);
    TD_TRY(consume(raise, heads->keys->state, &fresh_keys));
    TD_TRY(consume(raise, heads->values->state, &fresh_values));
    if (!fresh_keys || !fresh_values)
        return raise_because(raise, node, "it shares its state with another attention");
    return emit_attention(raise, node, heads, mask->window, applied);
}

/* Fills in heads and sizes from the imported shapes [.., heads, sequence, size] of keys and
 * queries. One key head may serve all queries. */
static bool size_heads(const raiser *raise, const ir_shape *queries, const raise_meaning *keys,
                       int64_t key_size, head_group *heads)
{
    uint32_t axis;
    if (!raise_split(queries, &raise->tokens, &axis, &heads->count, &heads->size) ||
        axis + 2 != queries->rank || heads->size != key_size || heads->count > MOST_HEADS ||
        heads->size > MOST_HEADS || (keys->before != heads->count && keys->before != 1))
        return false;
    heads->kv_count = keys->before / keys->repeat;
    return true;
}

/* attention(queries, keys, values, mask, scale) */
td_status raise_attention(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *queries = raise_as(raise, node->inputs[0], RAISE_ROWS);
    head_group heads = {.keys = raise_as(raise, node->inputs[1], RAISE_CACHE),
                        .values = raise_as(raise, node->inputs[2], RAISE_CACHE),
                        .mask = node->input_count > 3 ? node->inputs[3] : NULL};
    const ir_shape *key_shape = &node->inputs[1]->shape, *value_shape = &node->inputs[2]->shape;
    if (queries == NULL || heads.keys == NULL || heads.values == NULL)
        return TD_OK;
    if (!size_heads(raise, &node->inputs[0]->shape, heads.keys,
                    key_shape->dim[key_shape->rank - 1].constant, &heads) ||
        heads.keys->before != heads.values->before ||
        !ir_dim_is(&value_shape->dim[value_shape->rank - 1], heads.size))
        return raise_because(raise, node, "keys, values and queries differ in heads or head size");
    /* OpenVINO aligns `causal` at the first slot, which is right only while the cache is empty. */
    if (ir_node_int(node, "causal", 0) != 0)
        return raise_because(raise, node, "causal=true ignores the slots in the cache");
    heads.queries = queries->rows;
    heads.scale = ir_node_float(node, "scale", 1.0 / sqrt((double)heads.size));
    if (node->input_count > 4 && !match_scalar(&raise->match, node->inputs[4], &heads.scale))
        return raise_because(raise, node, "its scale is not a constant");
    heads.scale = exact_scale(heads.scale * queries->factor * heads.keys->factor, heads.size);
    return raise_heads(raise, node, &heads, applied);
}

/* --- spelled out --- */

/* matmul(queries, keys transposed) */
td_status raise_scores(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *queries = raise_as(raise, node->inputs[0], RAISE_ROWS);
    const raise_meaning *keys = raise_as(raise, node->inputs[1], RAISE_CACHE);
    const ir_shape *shape = &node->inputs[1]->shape;
    head_group heads;
    uint32_t axis;
    int64_t before, after;
    if (queries == NULL || keys == NULL || ir_node_int(node, "transpose_a", 0) != 0 ||
        !raise_split(shape, &raise->total, &axis, &before, &after))
        return TD_OK;
    raise_meaning untransposed = *keys;
    bool transposed = ir_node_int(node, "transpose_b", 0) == 0;
    int64_t size = transposed && shape->rank >= 2 ? shape->dim[shape->rank - 2].constant : after;
    if (axis + (transposed ? 1u : 2u) != shape->rank || size < 1)
        return TD_OK;
    if (transposed)
        untransposed.before /= size;
    if (!size_heads(raise, &node->inputs[0]->shape, &untransposed, size, &heads))
        return TD_OK;
    raise_meaning *kept = td_arena_allocate(&raise->module->arena, 1, sizeof *kept);
    if (kept == NULL)
        return td_fail_memory(raise->context);
    *kept = untransposed;
    *raise_meaning_of(raise, node->outputs[0]) =
        (raise_meaning){.kind = RAISE_SCORES,
                        .rows = queries->rows,
                        .factor = queries->factor * keys->factor,
                        .before = heads.count,
                        .keys = kept};
    *applied = true;
    return TD_OK;
}

/* add(scores, mask) */
td_status raise_masked(raiser *raise, ir_node *node, bool *applied)
{
    for (uint32_t i = 0; i < 2; i++) {
        const raise_meaning *scores = raise_as(raise, node->inputs[i], RAISE_SCORES);
        if (scores == NULL || scores->mask != NULL ||
            raise_meaning_of(raise, node->inputs[1 - i])->kind != RAISE_UNKNOWN ||
            !ir_shape_equal(&node->inputs[i]->shape, &node->outputs[0]->shape))
            continue;
        raise_meaning *result = raise_meaning_of(raise, node->outputs[0]);
        *result = *scores;
        result->mask = node->inputs[1 - i];
        *applied = true;
        break;
    }
    return TD_OK;
}

/* softmax over the last axis */
td_status raise_softmax(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *scores = raise_as(raise, node->inputs[0], RAISE_SCORES);
    int64_t axis = ir_node_int(node, "axis", -1);
    if (scores == NULL || (axis != -1 && axis != (int64_t)node->inputs[0]->shape.rank - 1))
        return TD_OK;
    raise_meaning *result = raise_meaning_of(raise, node->outputs[0]);
    *result = *scores;
    result->kind = RAISE_SHARES;
    *applied = true;
    return TD_OK;
}

/* matmul(shares, values) */
td_status raise_weighted(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *shares = raise_as(raise, node->inputs[0], RAISE_SHARES);
    head_group heads = {.values = raise_as(raise, node->inputs[1], RAISE_CACHE)};
    if (shares == NULL || heads.values == NULL || ir_node_int(node, "transpose_a", 0) != 0 ||
        ir_node_int(node, "transpose_b", 0) != 0)
        return TD_OK;
    heads.keys = shares->keys;
    const ir_shape *values = &node->inputs[1]->shape;
    const int64_t value_size = values->dim[values->rank - 1].constant;
    if (!size_heads(raise, &node->outputs[0]->shape, heads.values, value_size, &heads) ||
        heads.keys->before != heads.values->before || shares->before != heads.count ||
        shares->rows->shape.dim[1].constant != heads.count * heads.size)
        return raise_because(raise, node, "keys, values and queries differ in heads or head size");
    heads.queries = shares->rows;
    heads.mask = shares->mask;
    heads.scale = exact_scale(shares->factor, heads.size);
    return raise_heads(raise, node, &heads, applied);
}
