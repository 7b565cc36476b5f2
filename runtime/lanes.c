/* See lanes.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/lanes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LANES 16u /* four registers of the smallest kind that processors have */
#define QUADS 4u

typedef float quad_f32 __attribute__((vector_size(16)));
typedef int32_t quad_i32 __attribute__((vector_size(16)));
typedef double pair_f64 __attribute__((vector_size(16)));

static inline quad_f32 load(const float *values)
{
    quad_f32 result;
    memcpy(&result, values, sizeof result);
    return result;
}

/* The last `count` < 4 values and `fill`. */
static inline quad_f32 load_rest(const float *values, uint32_t count, float fill)
{
    quad_f32 result;
    for (uint32_t i = 0; i < 4; i++)
        result[i] = i < count ? values[i] : fill;
    return result;
}

static inline quad_f32 choose(quad_i32 mask, quad_f32 yes, quad_f32 no)
{
    return (quad_f32)(((quad_i32)yes & mask) | ((quad_i32)no & ~mask));
}

/* --- the largest --- */

static uint32_t first_index(const float *values, uint32_t count, float value)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i] == value)
            return i;
    return 0;
}

/* Takes four values into account. Comparisons with NaN are false: it is neither larger than the
 * first nor larger than the second. */
static inline void rank(quad_f32 next, quad_f32 *first, quad_f32 *second)
{
    const quad_i32 larger = next > *first;
    const quad_f32 smaller = choose(larger, *first, next);
    *first = choose(larger, next, *first);
    *second = choose(smaller > *second, smaller, *second);
}

rt_two_largest rt_find_largest(const float *values, uint32_t count)
{
    const quad_f32 none = load_rest(values, 0, -INFINITY);
    quad_f32 first[2] = {none, none}, second[2] = {none, none};
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8) {
        rank(load(values + i), &first[0], &second[0]);
        rank(load(values + i + 4), &first[1], &second[1]);
    }
    for (; i + 4 <= count; i += 4)
        rank(load(values + i), &first[0], &second[0]);
    rank(load_rest(values + i, count - i, -INFINITY), &first[0], &second[0]);
    rank(first[1], &first[0], &second[0]);
    rank(second[1], &first[0], &second[0]);
    rt_two_largest result = {-INFINITY, -INFINITY, 0};
    for (uint32_t lane = 0; lane < 4; lane++)
        for (unsigned which = 0; which < 2; which++) {
            const float value = which == 0 ? first[0][lane] : second[0][lane];
            result.second = fmaxf(result.second, fminf(result.first, value));
            result.first = fmaxf(result.first, value);
        }
    result.index = result.first > -INFINITY ? first_index(values, count, result.first) : 0;
    return result;
}

/* --- exponentials --- */

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

#ifdef __clang__
#define AVX512 "avx512f,avx512dq"
#define INDEPENDENT
#else
#define AVX512      "avx512f,avx512dq,prefer-vector-width=512"
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* `weights` may be `logits`: each is read before it is written. */
static inline __attribute__((always_inline)) void
exponentials(const float *logits, uint32_t count, float largest, float scale, float *weights)
{
    INDEPENDENT
    for (uint32_t i = 0; i < count; i++)
        weights[i] = exponential((logits[i] - largest) * scale);
}

#if defined(__x86_64__)
/* The same text for wider registers: products and sums are not contracted and each weight is on its
 * own, so the bits are the same. */
__attribute__((target("avx2"))) static void
exponentials_avx2(const float *logits, uint32_t count, float largest, float scale, float *weights)
{
    exponentials(logits, count, largest, scale, weights);
}

__attribute__((target(AVX512))) static void
exponentials_avx512(const float *logits, uint32_t count, float largest, float scale, float *weights)
{
    exponentials(logits, count, largest, scale, weights);
}
#endif

static void run_exponentials(const float *logits, uint32_t count, float largest, float scale,
                             float *weights)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq"))
        exponentials_avx512(logits, count, largest, scale, weights);
    else if (__builtin_cpu_supports("avx2"))
        exponentials_avx2(logits, count, largest, scale, weights);
    else
#endif
        exponentials(logits, count, largest, scale, weights);
}

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
    run_exponentials(logits, count, largest, scale, weights);
    return rt_sum(weights, count);
}

/* --- sums --- */

/* Lanes 2 k and 2 k + 1 of a sum. */
static inline void add_quad(quad_f32 values, pair_f64 *low, pair_f64 *high)
{
    *low += (pair_f64){values[0], values[1]};
    *high += (pair_f64){values[2], values[3]};
}

double rt_sum_block(const float *values, uint32_t count)
{
    pair_f64 sums[2 * QUADS] = {{0}};
    uint32_t i = 0, k = 0;
    for (; i + LANES <= count; i += LANES)
        for (k = 0; k < QUADS; k++)
            add_quad(load(values + i + 4 * k), &sums[2 * k], &sums[2 * k + 1]);
    for (k = 0; i + 4 <= count; i += 4, k++)
        add_quad(load(values + i), &sums[2 * k], &sums[2 * k + 1]);
    add_quad(load_rest(values + i, count - i, 0), &sums[2 * k], &sums[2 * k + 1]);
    for (uint32_t half = QUADS; half > 0; half /= 2)
        for (k = 0; k < half; k++)
            sums[k] += sums[k + half];
    return sums[0][0] + sums[0][1];
}

double rt_sum(const float *values, uint32_t count)
{
    double sum = 0;
    for (uint32_t start = 0; start < count; start += RT_BLOCK)
        sum += rt_sum_block(values + start, rt_block_length(count, start));
    return sum;
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
    double sum = 0;
    uint32_t last = 0; /* the last block with a positive value, and the sum before it */
    double before_last = 0;
    for (uint32_t start = 0; start < count; start += RT_BLOCK) {
        double block = rt_sum_block(values + start, rt_block_length(count, start));
        if (!(block > 0))
            continue;
        last = start;
        before_last = sum;
        sum += block;
        if (sum > goal)
            break;
    }
    return last + find_in_block(values + last, rt_block_length(count, last), before_last, goal);
}

/* --- differences --- */

static inline pair_f64 subtract(const double *values, const float *weights, double scale)
{
    const pair_f64 difference =
        (pair_f64){values[0] - weights[0] * scale, values[1] - weights[1] * scale};
    typedef int64_t pair_i64 __attribute__((vector_size(16)));
    const pair_i64 positive = difference > 0.0;
    return (pair_f64)((pair_i64)difference & positive);
}

double rt_subtract(double *values, const float *weights, uint32_t count, double scale)
{
    pair_f64 sums[QUADS] = {{0}};
    uint32_t i = 0;
    for (; i + 2 * QUADS <= count; i += 2 * QUADS)
        for (uint32_t k = 0; k < QUADS; k++) {
            const pair_f64 rest = subtract(values + i + 2 * k, weights + i + 2 * k, scale);
            memcpy(values + i + 2 * k, &rest, sizeof rest);
            sums[k] += rest;
        }
    for (uint32_t lane = 0; i < count; i++, lane++) {
        const double rest = values[i] - (double)weights[i] * scale;
        values[i] = rest > 0 ? rest : 0;
        sums[lane / 2][lane % 2] += values[i];
    }
    for (uint32_t half = QUADS / 2; half > 0; half /= 2)
        for (uint32_t k = 0; k < half; k++)
            sums[k] += sums[k + half];
    return sums[0][0] + sums[0][1];
}
