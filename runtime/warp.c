/* See warp.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/warp.h"

#include <string.h>

/* --- repetition penalty --- */

static float penalised(float logit, double penalty)
{
    return (float)(logit > 0 ? (double)logit / penalty : (double)logit * penalty);
}

/* Does `step` to the entry of every token of the past that is looked at. Tokens that occur twice
 * are visited twice. */
static void visit_past(const rt_warp *warp, const rt_past *past, const rt_row *logits,
                       void (*step)(const rt_warp *, const rt_row *, uint32_t, float *),
                       float *spare)
{
    uint32_t left = warp->repetition_window == 0 ? UINT32_MAX : warp->repetition_window;
    uint32_t node = past->node, end = past->length;
    while (left > 0 && (node > 0 || end > 0)) {
        int32_t id = node > 0 ? past->tree->nodes[node].id : past->text[end - 1];
        uint32_t index = rt_row_find(logits, id);
        if (index < logits->count)
            step(warp, logits, index, spare);
        if (node > 0)
            node = past->tree->nodes[node].parent;
        else
            end--;
        left--;
    }
}

static void keep_logit(const rt_warp *warp, const rt_row *logits, uint32_t index, float *spare)
{
    (void)warp;
    spare[index] = logits->values[index];
}

static void penalise_logit(const rt_warp *warp, const rt_row *logits, uint32_t index, float *spare)
{
    logits->values[index] = penalised(spare[index], warp->repetition_penalty);
}

void rt_penalise(const rt_warp *warp, const rt_past *past, const rt_row *logits, float *spare)
{
    if (warp->repetition_penalty == 0 || warp->repetition_penalty == 1)
        return;
    /* From copies, so that a token seen twice is penalised once. */
    visit_past(warp, past, logits, keep_logit, spare);
    visit_past(warp, past, logits, penalise_logit, spare);
}

/* --- what is kept of a distribution --- */

/* Weights are at most 1 and not negative, so their order is that of their bits. */
#define MOST_BITS UINT32_C(0x3f800000)

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How much a row has above a weight: how many entries, or their sum. */
typedef double (*amount_above)(const rt_weights *weights, float weight);

static double count_above(const rt_weights *weights, float weight)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < weights->row.count; i++)
        count += weights->row.values[i] > weight;
    return count;
}

static double mass_above(const rt_weights *weights, float weight)
{
    enum { LANES = 8 };
    double lanes[LANES] = {0}, sum = 0;
    const float *values = weights->row.values;
    uint32_t i = 0;
    for (; i + LANES <= weights->row.count; i += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++)
            lanes[lane] += values[i + lane] > weight ? (double)values[i + lane] : 0;
    for (; i < weights->row.count; i++)
        sum += values[i] > weight ? (double)values[i] : 0;
    for (uint32_t lane = 0; lane < LANES; lane++)
        sum += lanes[lane];
    return sum;
}

/* The least weight that has less than `amount` above it: the one at which a selection of the
 * largest weights ends. Bisection over the bits of a weight: 30 passes. */
static float find_edge(const rt_weights *weights, amount_above amount_of, double amount)
{
    uint32_t lower = 0, upper = MOST_BITS;
    while (lower < upper) {
        uint32_t middle = lower + (upper - lower) / 2;
        if (amount_of(weights, from_bits(middle)) < amount)
            upper = middle;
        else
            lower = middle + 1;
    }
    return from_bits(upper);
}

/* Drops all weights below `edge` and, of those equal to it, the ones behind the first `ties`. */
static void keep_from(rt_weights *weights, float edge, double ties)
{
    float *values = weights->row.values;
    for (uint32_t i = 0; i < weights->row.count; i++) {
        if (values[i] == edge)
            ties--;
        if (values[i] < edge || (values[i] == edge && ties < 0))
            values[i] = 0;
    }
    weights->total = rt_sum(values, weights->row.count);
}

static void keep_top_k(rt_weights *weights, uint32_t k)
{
    if (k == 0 || k >= weights->row.count)
        return;
    float edge = find_edge(weights, count_above, k);
    if (edge > 0)
        keep_from(weights, edge, k - count_above(weights, edge));
}

static void keep_top_p(rt_weights *weights, double p)
{
    if (!(p > 0 && p < 1))
        return;
    double mass = p * weights->total;
    float edge = find_edge(weights, mass_above, mass);
    if (!(edge > 0))
        return;
    /* As many of the equals as it takes to reach the mass. */
    double missing = (mass - mass_above(weights, edge)) / (double)edge;
    double ties = (double)(uint64_t)missing;
    keep_from(weights, edge, ties < missing ? ties + 1 : ties);
}

static void keep_min_p(rt_weights *weights, double part)
{
    float *values = weights->row.values;
    if (!(part > 0))
        return;
    double least = part * (double)rt_find_largest(values, weights->row.count).first;
    for (uint32_t i = 0; i < weights->row.count; i++)
        values[i] = (double)values[i] < least ? 0 : values[i];
    weights->total = rt_sum(values, weights->row.count);
}

rt_weights rt_distribution(const rt_warp *warp, const rt_row *logits, uint32_t limit,
                           float *weights)
{
    rt_weights result = rt_softmax(logits, warp->temperature, limit, weights);
    keep_top_k(&result, warp->top_k);
    keep_top_p(&result, warp->top_p);
    keep_min_p(&result, warp->min_p);
    return result;
}
