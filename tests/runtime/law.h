/* The law of texts by the definitions of docs/speculation.md: what sampled sequences of four tokens
 * from a vocabulary of four are compared with.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_RUNTIME_LAW_H
#define TANDEM_TESTS_RUNTIME_LAW_H

#include "runtime/warp.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LAW_IDS       4u
#define LAW_LENGTH    4u
#define LAW_SEQUENCES 256u /* LAW_IDS to the power of LAW_LENGTH */
#define LAW_PROMPT    64u  /* a prompt's most tokens */

/* What is done to a distribution, but for its temperature. */
static const struct {
    const char *name;
    rt_warp warp;
} law_truncations[] = {
    {"none", {.top_k = 0}},
    {"top-k 3", {.top_k = 3}},
    {"top-p 0.7", {.top_p = 0.7}},
    {"min-p 0.15", {.min_p = 0.15}},
    {"penalty 1.8 over 3", {.repetition_penalty = 1.8, .repetition_window = 3}},
    {"all", {.top_k = 3, .top_p = 0.9, .min_p = 0.05, .repetition_penalty = 1.3}},
};
#define LAW_TRUNCATIONS (uint32_t)(sizeof law_truncations / sizeof *law_truncations)

static inline bool law_is_larger(const double *values, uint32_t left, uint32_t right)
{
    return values[left] > values[right] || (values[left] == values[right] && left < right);
}

/* Unnormalised probabilities of penalised logits. */
static inline void law_weigh(const rt_warp *warp, const float *logits, const int32_t *history,
                             uint32_t length, double values[LAW_IDS])
{
    uint32_t start = 0;
    if (warp->repetition_window > 0 && warp->repetition_window < length)
        start = length - warp->repetition_window;
    for (uint32_t id = 0; id < LAW_IDS; id++) {
        bool seen = false;
        for (uint32_t i = start; i < length; i++)
            seen = seen || history[i] == (int32_t)id;
        double logit = (double)logits[id];
        if (seen && warp->repetition_penalty > 0)
            logit = logit > 0 ? logit / warp->repetition_penalty : logit * warp->repetition_penalty;
        values[id] = exp(logit / warp->temperature);
    }
}

/* How many of the values, the largest first, are kept. */
static inline uint32_t law_count_kept(const rt_warp *warp, const double *values,
                                      const uint32_t order[LAW_IDS])
{
    double total = 0;
    uint32_t count = warp->top_k > 0 && warp->top_k < LAW_IDS ? warp->top_k : LAW_IDS;
    for (uint32_t rank = 0; rank < count; rank++)
        total += values[order[rank]];
    if (warp->top_p > 0 && warp->top_p < 1) {
        uint32_t rank = 0;
        for (double sum = 0; rank < count && sum < warp->top_p * total;)
            sum += values[order[rank++]];
        count = rank;
    }
    while (count > 1 && values[order[count - 1]] < warp->min_p * values[order[0]])
        count--;
    return count;
}

/* The distribution of the token behind a history, from the model's logits there. */
static inline void law_define(const rt_warp *warp, const float *logits, const int32_t *history,
                              uint32_t length, double law[LAW_IDS])
{
    double values[LAW_IDS], kept = 0;
    uint32_t order[LAW_IDS];
    law_weigh(warp, logits, history, length, values);
    for (uint32_t id = 0; id < LAW_IDS; id++) {
        uint32_t rank = 0;
        for (uint32_t other = 0; other < LAW_IDS; other++)
            rank += law_is_larger(values, other, id);
        order[rank] = id;
        law[id] = 0;
    }
    const uint32_t count = law_count_kept(warp, values, order);
    for (uint32_t rank = 0; rank < count; rank++)
        kept += values[order[rank]];
    for (uint32_t rank = 0; rank < count; rank++)
        law[order[rank]] = values[order[rank]] / kept;
}

/* Hands out a model's LAW_IDS logits behind a history; false: it failed. */
typedef bool (*law_logits)(void *model, const int32_t *history, uint32_t length, float *logits);

/* Probabilities of all sequences behind a prompt; a sequence's code has its first token in front.
 */
static inline bool law_of_sequences(const rt_warp *warp, law_logits logits_of, void *model,
                                    const int32_t *prompt, uint32_t count,
                                    double law[LAW_SEQUENCES])
{
    int32_t history[LAW_PROMPT + LAW_LENGTH];
    memcpy(history, prompt, count * sizeof *prompt);
    law[0] = 1;
    for (uint32_t i = 0, prefixes = 1; i < LAW_LENGTH; i++, prefixes *= LAW_IDS)
        for (uint32_t prefix = prefixes; prefix-- > 0;) { /* its place becomes its children's */
            float logits[LAW_IDS];
            double next[LAW_IDS];
            const double own = law[prefix];
            for (uint32_t k = 0; k < i; k++)
                history[count + k] = (int32_t)(prefix >> 2 * (i - 1 - k) & 3);
            if (!logits_of(model, history, count + i, logits))
                return false;
            law_define(warp, logits, history, count + i, next);
            for (uint32_t id = 0; id < LAW_IDS; id++)
                law[prefix * LAW_IDS + id] = own * next[id];
        }
    return true;
}

#endif
