/* See lanes.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/lanes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LANES       16u /* of sums of floats */
#define RUNS        8u  /* of sums of differences, in binary64 */
#define COMPARISONS 4u  /* registers of comparisons side by side */

/* --- what the loops for each width of registers share --- */

#define LEAST_EXPONENT (-86.0f)    /* from here on results are normal numbers */
#define ROUNDER        12582912.0f /* 1.5 * 2^23: adding it rounds to an integer */

static inline int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp of a number <= 0. exp(x) = 2^n * exp(r), x = n ln 2 + r, |r| <= ln 2 / 2. */
static inline __attribute__((always_inline)) float exponential(float x)
{
    const bool counts = x > LEAST_EXPONENT; /* not NaN */
    const float bounded = counts ? x : 0;
    const float shifted = bounded * 0x1.715476p+0f + ROUNDER;
    const float n = shifted - ROUNDER;
    /* ln 2 in two parts, the first with zeros at its end, so that n times it is exact. */
    const float r = (bounded - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float sum = r * (1.0f / 5040) + 1.0f / 720;
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = (sum * r) * r + r + 1.0f;
    /* The low bits of `shifted` are n: added to the exponent. */
    const int32_t power = (int32_t)((uint32_t)bits_of(shifted) << 23);
    return counts ? float_of((int32_t)((uint32_t)bits_of(sum) + (uint32_t)power)) : 0;
}

/* NaN is not larger than anything. */
static inline void rank_one(float value, rt_two_largest *result)
{
    if (value > result->first) {
        result->second = result->first;
        result->first = value;
    } else if (value > result->second) {
        result->second = value;
    }
}

/* Where a search for a sum has come to. */
typedef struct block_search {
    double sum;         /* of the blocks that were passed */
    uint32_t last;      /* the start of the last one with a positive value, */
    double before_last; /* and the sum before it */
} block_search;

static inline void enter_block(block_search *at, uint32_t start, double block)
{
    if (!(block > 0))
        return;
    at->last = start;
    at->before_last = at->sum;
    at->sum += block;
}

/* The loops for one width of registers, over whole blocks; see lanes_loops.h. */
typedef struct lane_loops {
    void (*rank)(const float *values, uint32_t count, rt_two_largest *result);
    float (*largest)(const float *values, uint32_t count);
    void (*exponentials)(const float *logits, uint32_t count, float largest, float scale,
                         float *weights);
    double (*sum)(const float *values, uint32_t count);
    void (*search)(const float *values, uint32_t count, double goal, block_search *at);
    void (*subtract)(double *values, const float *weights, uint32_t count, double scale,
                     double *runs);
} lane_loops;

#define RT_LOOPS "runtime/lanes_loops.h"
#include "runtime/each_width.h"

/* --- the largest --- */

/* Blocks without the value are passed over at once. */
static uint32_t first_index(const float *values, uint32_t count, float value)
{
    uint32_t start = 0;
    for (; start + RT_BLOCK <= count; start += RT_BLOCK) {
        int32_t found = 0;
        for (uint32_t i = start; i < start + RT_BLOCK; i++)
            found |= values[i] == value;
        if (found)
            break;
    }
    for (uint32_t i = start; i < count; i++)
        if (values[i] == value)
            return i;
    return 0;
}

rt_two_largest rt_find_largest(const float *values, uint32_t count)
{
    rt_two_largest result = {-INFINITY, -INFINITY, 0};
    RT_WIDEST(loops)->rank(values, count, &result);
    for (uint32_t i = count - count % RT_BLOCK; i < count; i++)
        rank_one(values[i], &result);
    result.index = result.first > -INFINITY ? first_index(values, count, result.first) : 0;
    return result;
}

float rt_largest(const float *values, uint32_t count)
{
    float largest = count >= RT_BLOCK ? RT_WIDEST(loops)->largest(values, count) : -INFINITY;
    for (uint32_t i = count - count % RT_BLOCK; i < count; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

/* --- exponentials --- */

/* All of the mass to the logits that are infinite. */
static double share_infinite(const float *logits, uint32_t count, float largest, float *weights)
{
    for (uint32_t i = 0; i < count; i++)
        weights[i] = logits[i] == largest ? 1.0f : 0.0f;
    return rt_sum(weights, count);
}

double rt_exponentials(const float *logits, uint32_t count, float largest, double temperature,
                       float *weights)
{
    if (isinf(largest))
        return share_infinite(logits, count, largest, weights);
    /* Bounded, so that no difference times it is 0 times infinity. */
    const float scale = (float)(temperature > 1e-30 ? 1 / temperature : 1e30);
    RT_WIDEST(loops)->exponentials(logits, count, largest, scale, weights);
    return rt_sum(weights, count);
}

/* --- sums --- */

/* Of the values behind the last whole block. */
static double sum_rest(const float *values, uint32_t count)
{
    double lanes[LANES] = {0};
    for (uint32_t i = count - count % RT_BLOCK; i < count; i++)
        lanes[i % LANES] += (double)values[i];
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

double rt_sum(const float *values, uint32_t count)
{
    return RT_WIDEST(loops)->sum(values, count) + sum_rest(values, count);
}

/* Index of the value of one block at which `sum` comes to exceed `goal`, or the block's last
 * positive one. */
static uint32_t find_in_block(const float *values, uint32_t count, double sum, double goal)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!(values[i] > 0))
            continue;
        sum += values[i];
        last = i;
        if (sum > goal)
            break;
    }
    return last;
}

uint32_t rt_find_sum(const float *values, uint32_t count, double goal)
{
    block_search at = {0};
    RT_WIDEST(loops)->search(values, count, goal, &at);
    if (!(at.sum > goal) && count % RT_BLOCK > 0)
        enter_block(&at, count - count % RT_BLOCK, sum_rest(values, count));
    return at.last +
           find_in_block(values + at.last, rt_block_length(count, at.last), at.before_last, goal);
}

/* --- differences --- */

double rt_subtract(double *values, const float *weights, uint32_t count, double scale)
{
    double runs[RUNS] = {0};
    RT_WIDEST(loops)->subtract(values, weights, count, scale, runs);
    for (uint32_t i = count - count % RUNS; i < count; i++) {
        const double rest = values[i] - (double)weights[i] * scale;
        values[i] = rest > 0 ? rest : 0;
        runs[i % RUNS] += values[i];
    }
    for (uint32_t half = RUNS / 2; half > 0; half /= 2)
        for (uint32_t run = 0; run < half; run++)
            runs[run] += runs[run + half];
    return runs[0];
}
