/* What a mask lets through, learned by evaluating its cone: exporters build the causal mask in many
 * ways, all of which must come out as the same table.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <math.h>

/* A window of this many slots or more is not found. Masks may be built as a square of the context
 * and then cut, so the longest probe is bounded. */
#define LONGEST_PROBE 4100

/* An additive mask hides with -1e4 or less. */
#define HIDDEN (-1e4)

/* Sizes at which every mask is looked at; the last is a call as long as most, so that what depends
 * on a token's place in the call is found. */
static const struct {
    int64_t slots, tokens;
} probes[] = {{0, 3}, {5, 1}, {4, 3}, {7, 64}};

typedef enum sight { SEEN, HIDES, NEITHER } sight;

static sight sight_of(const ir_tensor *tensor, uint64_t i)
{
    double number = match_element(tensor, i);
    if (tensor->type == IR_BOOL)
        return number != 0.0 ? SEEN : HIDES;
    if (fabs(number) < 1e-6)
        return SEEN;
    return number <= HIDDEN ? HIDES : NEITHER;
}

/* Whether the masks [copies, tokens, slots + tokens] show to the query at position p the keys at
 * positions in (p - window, p], and no others. */
static bool is_causal(const ir_tensor *tensor, int64_t slots, int64_t tokens,
                      const raise_mask *mask)
{
    const int64_t total = slots + tokens, window = mask->window;
    if (tensor->rank < 2 || tensor->dim[tensor->rank - 1] != total ||
        tensor->dim[tensor->rank - 2] != tokens ||
        tensor->elements != (uint64_t)mask->copies * (uint64_t)(tokens * total))
        return false;
    for (uint64_t i = 0; i < tensor->elements; i++) {
        int64_t key = (int64_t)(i % (uint64_t)total);
        int64_t query = slots + (int64_t)(i / (uint64_t)total % (uint64_t)tokens);
        bool seen = key <= query && (window == 0 || key > query - window);
        if (sight_of(tensor, i) != (seen ? SEEN : HIDES))
            return false;
    }
    return true;
}

/* How many keys the last query of a mask sees; all of them: 0. */
static int64_t window_of(const ir_tensor *tensor, int64_t total)
{
    int64_t seen = 0;
    for (int64_t i = 0; i < total; i++)
        seen += sight_of(tensor, tensor->elements - (uint64_t)total + (uint64_t)i) == SEEN;
    return seen == total ? 0 : seen;
}

static td_status evaluate_mask(raiser *raise, ir_value *value, raise_mask *mask)
{
    const ir_tensor *tensor;
    int64_t longest = ir_dim_bound(raise->module, &raise->slots);
    longest = longest < 1 || longest > LONGEST_PROBE ? LONGEST_PROBE : longest;
    mask->reason = "its mask is not causal";
    if (value->type != IR_BOOL && !ir_type_is_float(value->type))
        return TD_OK;
    TD_TRY(match_evaluate(&raise->match, value, longest - 1, 1, NULL, &tensor));
    if (tensor->elements < (uint64_t)longest)
        return TD_OK;
    mask->window = window_of(tensor, longest);
    mask->copies = (int64_t)(tensor->elements / (uint64_t)longest);
    if (!is_causal(tensor, longest - 1, 1, mask))
        return TD_OK;
    for (size_t i = 0; i < TD_COUNT_OF(probes); i++) {
        TD_TRY(
            match_evaluate(&raise->match, value, probes[i].slots, probes[i].tokens, NULL, &tensor));
        if (!is_causal(tensor, probes[i].slots, probes[i].tokens, mask))
            return TD_OK;
    }
    mask->causal = true;
    mask->reason = NULL;
    return TD_OK;
}

td_status raise_probe_mask(raiser *raise, ir_value *value, const raise_mask **mask)
{
    value = match_skip(value);
    for (size_t i = 0; i < raise->masks.count; i++)
        if (raise->masks.items[i].value == value) {
            *mask = &raise->masks.items[i];
            return TD_OK;
        }
    raise_mask entry = {.value = value};
    td_status status = evaluate_mask(raise, value, &entry);
    if (status == TD_INVALID || status == TD_UNSUPPORTED) {
        entry.reason =
            td_arena_format(&raise->module->arena, "its mask: %s", raise->context->message);
        status = entry.reason != NULL ? TD_OK : td_fail_memory(raise->context);
    }
    TD_TRY(status);
    if (!td_array_push(raise->context, &raise->masks, entry))
        return td_fail_memory(raise->context);
    *mask = &raise->masks.items[raise->masks.count - 1];
    return TD_OK;
}
