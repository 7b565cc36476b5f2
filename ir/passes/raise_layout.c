/* Meanings, and the operations that only move axes about.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

raise_meaning *raise_meaning_of(const raiser *raise, const ir_value *value)
{
    return &raise->meanings[value->id];
}

const raise_meaning *raise_as(const raiser *raise, const ir_value *value, raise_kind kind)
{
    const raise_meaning *meaning = raise_meaning_of(raise, value);
    return meaning->kind == kind ? meaning : NULL;
}

bool raise_split(const ir_shape *shape, const ir_dim *sequence, uint32_t *axis, int64_t *before,
                 int64_t *after)
{
    int64_t products[2] = {1, 1};
    bool found = false;
    for (uint32_t i = 0; i < shape->rank; i++) {
        const ir_dim *dim = &shape->dim[i];
        if (ir_dim_equal(dim, sequence)) {
            if (found)
                return false;
            found = true;
            *axis = i;
        } else if (!ir_dim_is_constant(dim) || dim->constant < 1 ||
                   __builtin_mul_overflow(products[found], dim->constant, &products[found])) {
            return false;
        }
    }
    *before = products[0];
    *after = products[1];
    return found;
}

/* The dimension that is the sequence axis of values with this meaning. */
static const ir_dim *sequence_of(const raiser *raise, raise_kind kind)
{
    if (kind == RAISE_PAST)
        return &raise->slots;
    return kind == RAISE_CACHE ? &raise->total : &raise->tokens;
}

/* Features of a raised value [tokens, features]. */
static int64_t features_of(const ir_value *rows)
{
    return rows->shape.dim[1].constant;
}

const raise_meaning *raise_as_matrix(const raiser *raise, const ir_value *value)
{
    const raise_meaning *meaning = raise_as(raise, value, RAISE_ROWS);
    if (meaning == NULL || meaning->factor != 1.0 || meaning->before != 1)
        return NULL;
    const ir_dim *last = &value->shape.dim[value->shape.rank - 1];
    return ir_dim_is(last, features_of(meaning->rows)) ? meaning : NULL;
}

bool raise_set_rows(raiser *raise, const ir_value *value, ir_value *rows, double factor)
{
    uint32_t axis;
    int64_t before, after;
    if (!raise_split(&value->shape, &raise->tokens, &axis, &before, &after) ||
        features_of(rows) % before != 0 || features_of(rows) / before != after)
        return false;
    *raise_meaning_of(raise, value) =
        (raise_meaning){.kind = RAISE_ROWS, .rows = rows, .factor = factor, .before = before};
    return true;
}

/* Gives `output` the meaning of `input` when the elements stand in the same order. */
static bool pass_on(raiser *raise, const ir_value *input, const ir_value *output)
{
    const raise_meaning *meaning = raise_meaning_of(raise, input);
    uint32_t axis;
    int64_t before, after, new_before, new_after;
    switch (meaning->kind) {
    case RAISE_IDS:
    case RAISE_BEAM:
        break;
    case RAISE_ROWS:
    case RAISE_PAST:
    case RAISE_CACHE: {
        const ir_dim *sequence = sequence_of(raise, meaning->kind);
        if (!raise_split(&input->shape, sequence, &axis, &before, &after) ||
            !raise_split(&output->shape, sequence, &axis, &new_before, &new_after) ||
            before != new_before || after != new_after)
            return false;
        break;
    }
    default:
        if (!ir_shape_equal(&input->shape, &output->shape))
            return false;
    }
    *raise_meaning_of(raise, output) = *meaning;
    return true;
}

/* reshape, and convert between float types (or between integers, for ids) */
td_status raise_alias(raiser *raise, ir_node *node, bool *applied)
{
    const ir_value *input = node->inputs[0], *output = node->outputs[0];
    const raise_meaning *meaning = raise_meaning_of(raise, input);
    if (meaning->kind == RAISE_UNKNOWN)
        return TD_OK;
    bool ids = meaning->kind == RAISE_IDS || meaning->kind == RAISE_BEAM;
    if (node->op == IR_OP_convert &&
        (ids ? output->type != IR_I32 && output->type != IR_I64 : !ir_type_is_float(output->type)))
        return TD_OK;
    *applied = pass_on(raise, input, output);
    return TD_OK;
}

td_status raise_transpose(raiser *raise, ir_node *node, bool *applied)
{
    const ir_value *input = node->inputs[0], *output = node->outputs[0];
    const raise_meaning *meaning = raise_meaning_of(raise, input);
    const ir_attribute *perm = ir_node_attribute(node, "perm");
    if (meaning->kind != RAISE_ROWS && meaning->kind != RAISE_PAST && meaning->kind != RAISE_CACHE)
        return TD_OK;
    const ir_dim *sequence = sequence_of(raise, meaning->kind);
    uint32_t axis;
    int64_t before, after, last = -1;
    if (perm == NULL || perm->count != output->shape.rank ||
        !raise_split(&output->shape, sequence, &axis, &before, &after))
        return TD_OK;
    /* feature axes longer than 1 must keep their order */
    for (size_t i = 0; i < perm->count; i++) {
        if (i == axis || ir_dim_is(&output->shape.dim[i], 1))
            continue;
        if (perm->integers[i] < last)
            return TD_OK;
        last = perm->integers[i];
    }
    raise_meaning *result = raise_meaning_of(raise, output);
    *result = *meaning;
    result->before = before;
    *applied = true;
    return TD_OK;
}

/* A broadcast that changes nothing, or that repeats every head of a cache for grouped queries. */
td_status raise_broadcast(raiser *raise, ir_node *node, bool *applied)
{
    const ir_value *input = node->inputs[0], *output = node->outputs[0];
    const raise_meaning *meaning = raise_meaning_of(raise, input);
    if (meaning->kind == RAISE_UNKNOWN)
        return TD_OK;
    if (ir_shape_equal(&input->shape, &output->shape)) {
        *raise_meaning_of(raise, output) = *meaning;
        *applied = true;
        return TD_OK;
    }
    uint32_t axis;
    int64_t before, after, repeat = 1, inner = 1;
    if (meaning->kind != RAISE_CACHE || input->shape.rank != output->shape.rank ||
        !raise_split(&output->shape, &raise->total, &axis, &before, &after))
        return TD_OK;
    /* From the sequence axis forward: heads may only repeat inside of all other head axes. */
    for (uint32_t i = output->shape.rank; i-- > 0;) {
        const ir_dim *from = &input->shape.dim[i], *to = &output->shape.dim[i];
        if (!ir_dim_equal(from, to)) {
            if (i > axis || inner != 1 || !ir_dim_is(from, 1))
                return TD_OK;
            repeat *= to->constant;
        } else if (i < axis) {
            inner *= to->constant;
        }
    }
    raise_meaning *result = raise_meaning_of(raise, output);
    *result = *meaning;
    result->before = before;
    result->repeat *= repeat;
    *applied = true;
    return TD_OK;
}
