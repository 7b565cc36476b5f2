/* See warp.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/warp.h"

#include <math.h>
#include <stdbool.h>
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

/* Weights are at most 1 and not negative: their order is that of their bits, of which 30 are used.
 */
#define DIGIT_BITS 10u
#define DIGITS     3u
#define BUCKETS    (1u << DIGIT_BITS)

/* Where a selection of the largest weights ends. */
typedef struct edge {
    float weight;
    double above, equal; /* how many weights are larger, and as large; or their sums */
} edge;

static uint32_t bits_of(float weight)
{
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return bits;
}

/* How much the weights that agree with `known` in the digits before the given one have in each
 * bucket of it: their number, or their sum. */
static void fill_buckets(const rt_row *row, uint32_t known, uint32_t digit, bool sums,
                         double buckets[BUCKETS])
{
    const uint32_t shift = DIGIT_BITS * (DIGITS - 1 - digit);
    for (uint32_t i = 0; i < BUCKETS; i++)
        buckets[i] = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const float weight = row->values[i];
        const uint32_t prefix = bits_of(weight) >> shift;
        if (prefix >> DIGIT_BITS == known && weight > 0)
            buckets[prefix % BUCKETS] += sums ? (double)weight : 1;
    }
}

/* Drops the weights below the least one. */
static void drop_below(const rt_weights *weights, float least)
{
    float *values = weights->row.values;
    for (uint32_t i = 0; i < weights->row.count; i++)
        values[i] = values[i] >= least ? values[i] : 0;
}

/* The largest weight down to which the weights come to `amount`, in number or in sum; found digit
 * by digit, by three passes. */
static edge find_edge(const rt_weights *weights, bool sums, double amount)
{
    double buckets[BUCKETS], above = 0, equal = 0;
    uint32_t known = 0;
    for (uint32_t digit = 0; digit < DIGITS; digit++) {
        fill_buckets(&weights->row, known, digit, sums, buckets);
        uint32_t bucket = BUCKETS - 1, last = 0;
        for (; bucket > 0; bucket--) {
            if (buckets[bucket] == 0)
                continue;
            if (above + buckets[bucket] >= amount)
                break;
            above += buckets[bucket];
            last = bucket;
        }
        /* Rounding may leave the sum short of the amount: then the edge is the least weight. */
        if (buckets[bucket] == 0 && last > 0) {
            bucket = last;
            above -= buckets[bucket];
        }
        known = known << DIGIT_BITS | bucket;
        equal = buckets[bucket];
    }
    edge result = {.above = above, .equal = equal};
    memcpy(&result.weight, &known, sizeof known);
    return result;
}

/* Drops the weights below the edge and, of those equal to it, the last ones but `ties`. */
static void keep_from(rt_weights *weights, float least, double ties, double equal)
{
    float *values = weights->row.values;
    const uint32_t count = weights->row.count;
    drop_below(weights, least);
    for (uint32_t i = count; i > 0 && equal > ties; i--)
        if (values[i - 1] == least) {
            values[i - 1] = 0;
            equal--;
        }
    weights->total = rt_sum(values, count);
}

static void keep_top_k(rt_weights *weights, uint32_t k)
{
    if (k == 0 || k >= weights->row.count)
        return;
    const edge found = find_edge(weights, false, k);
    if (found.weight > 0)
        keep_from(weights, found.weight, k - found.above, found.equal);
}

static void keep_top_p(rt_weights *weights, double p)
{
    if (!(p > 0 && p < 1))
        return;
    const double mass = p * weights->total;
    const edge found = find_edge(weights, true, mass);
    if (!(found.weight > 0))
        return;
    /* As many of the equals as it takes to reach the mass. */
    const double weight = (double)found.weight, equal = rint(found.equal / weight);
    const double missing = (mass - found.above) / weight;
    keep_from(weights, found.weight, missing > 1 ? ceil(missing) : 1, equal);
}

static void keep_min_p(rt_weights *weights, double part)
{
    const rt_row *row = &weights->row;
    if (!(part > 0))
        return;
    const double least = part * (double)rt_largest(row->values, row->count);
    /* The least weight of binary32 that is not below it. */
    float edge_weight = (float)least;
    if ((double)edge_weight < least)
        edge_weight = nextafterf(edge_weight, INFINITY);
    drop_below(weights, edge_weight);
    weights->total = rt_sum(row->values, row->count);
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
