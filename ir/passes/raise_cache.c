/* The stateful KV pattern: read_state, gather by beam, concat with the new keys or values,
 * write_state.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <string.h>

/* Whether the initial value holds nothing: a dimension of it is 0. */
static bool is_empty(const ir_value *value)
{
    for (uint32_t i = 0; i < value->shape.rank; i++)
        if (ir_dim_is(&value->shape.dim[i], 0))
            return true;
    return false;
}

/* A state with a sequence axis `slots`, empty at the start */
td_status raise_read_state(raiser *raise, ir_node *node, bool *applied)
{
    const ir_value *output = node->outputs[0];
    ir_state *state = ir_module_find_state(raise->module, ir_node_string(node, "state", ""));
    uint32_t axis;
    int64_t before, after;
    if (state == NULL || !raise_split(&output->shape, &raise->slots, &axis, &before, &after))
        return raise_because(raise, node, "its state is not a cache of keys or values");
    if (node->input_count > 0 && !is_empty(node->inputs[0]))
        return raise_because(raise, node, "its state is not empty at the start");
    *raise_meaning_of(raise, output) =
        (raise_meaning){.kind = RAISE_PAST, .state = state, .before = before};
    *applied = true;
    return TD_OK;
}

/* gather(past, beam_idx) along the batch axis */
td_status raise_beam_gather(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *past = raise_as(raise, node->inputs[0], RAISE_PAST);
    if (past == NULL || raise_as(raise, node->inputs[1], RAISE_BEAM) == NULL ||
        ir_node_int(node, "axis", 0) != 0 ||
        !ir_shape_equal(&node->inputs[0]->shape, &node->outputs[0]->shape))
        return TD_OK;
    *raise_meaning_of(raise, node->outputs[0]) = *past;
    *applied = true;
    return TD_OK;
}

/* concat(past, new) along the sequence axis */
td_status raise_append(raiser *raise, ir_node *node, bool *applied)
{
    if (node->input_count != 2)
        return TD_OK;
    const raise_meaning *past = raise_as(raise, node->inputs[0], RAISE_PAST);
    const raise_meaning *rows = raise_as(raise, node->inputs[1], RAISE_ROWS);
    uint32_t axis[3];
    int64_t before[3], after[3];
    if (past == NULL || rows == NULL ||
        !raise_split(&node->inputs[0]->shape, &raise->slots, &axis[0], &before[0], &after[0]) ||
        !raise_split(&node->inputs[1]->shape, &raise->tokens, &axis[1], &before[1], &after[1]) ||
        !raise_split(&node->outputs[0]->shape, &raise->total, &axis[2], &before[2], &after[2]) ||
        axis[0] != axis[1] || before[0] != before[1] || after[0] != after[1])
        return TD_OK;
    *raise_meaning_of(raise, node->outputs[0]) = (raise_meaning){.kind = RAISE_CACHE,
                                                                 .rows = rows->rows,
                                                                 .factor = rows->factor,
                                                                 .before = before[0],
                                                                 .repeat = 1,
                                                                 .state = past->state};
    *applied = true;
    return TD_OK;
}

td_status raise_write_state(raiser *raise, ir_node *node, bool *applied)
{
    const raise_meaning *cache = raise_as(raise, node->inputs[0], RAISE_CACHE);
    if (cache == NULL)
        return TD_OK;
    if (cache->repeat != 1 || strcmp(cache->state->name, ir_node_string(node, "state", "")) != 0)
        return raise_because(raise, node, "it writes something else than the appended cache");
    raise->done[node->id] = true;
    *applied = true;
    return TD_OK;
}
