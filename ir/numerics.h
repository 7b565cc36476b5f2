/* The functions that docs/numerics.md defines bit by bit, executed literally.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_NUMERICS_H
#define TANDEM_IR_NUMERICS_H

#include "ir/half.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define IR_ROW_LANES       16
#define IR_ATTENTION_BLOCK 64

/* Angles from here on have no defined sine and cosine. */
#define IR_ANGLE_LIMIT 0x1p30f

/* 2^exponent for -126 .. 127. */
static inline float ir_power_of_two(int32_t exponent)
{
    return ir_f32_from_bits((uint32_t)(exponent + 127) << 23);
}

static inline float ir_exp(float x)
{
    if (isnan(x))
        return x;
    if (x > 0x1.62e42ep+6f)
        return INFINITY;
    if (x < -0x1.9fe368p+6f)
        return 0.0f;
    float n = rintf(x * 0x1.715476p+0f);
    float r = fmaf(n, -0x1.62e4p-1f, x);
    r = fmaf(n, -0x1.7f7d1cp-20f, r);
    float p = 0x1.6a4f28p-10f;
    p = fmaf(p, r, 0x1.12398p-7f);
    p = fmaf(p, r, 0x1.5558aep-5f);
    p = fmaf(p, r, 0x1.555492p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    int32_t whole = (int32_t)n;
    int32_t half = (whole - (whole & 1)) / 2;
    return p * ir_power_of_two(half) * ir_power_of_two(whole - half);
}

static inline float ir_sigmoid(float x)
{
    return 1.0f / (1.0f + ir_exp(-x));
}

static inline float ir_silu(float x)
{
    return x / (1.0f + ir_exp(-x));
}

static inline float ir_tanh(float y)
{
    return 1.0f - 2.0f / (ir_exp(2.0f * y) + 1.0f);
}

/* Sine and cosine in binary64 of a finite angle smaller than IR_ANGLE_LIMIT in size. */
static inline void ir_sine_cosine(float angle, double *sine, double *cosine)
{
    double k = rint((double)angle * 0x1.45f306dc9c883p-1);
    double r = fma(k, -0x1.921fb54442d18p+0, (double)angle);
    r = fma(k, -0x1.1a62633145c07p-54, r);
    double q = r * r;
    double s = -1.0 / 39916800.0;
    s = fma(s, q, 1.0 / 362880.0);
    s = fma(s, q, -1.0 / 5040.0);
    s = fma(s, q, 1.0 / 120.0);
    s = fma(s, q, -1.0 / 6.0);
    s = fma(s, q, 1.0);
    s = r * s;
    double c = 1.0 / 479001600.0;
    c = fma(c, q, -1.0 / 3628800.0);
    c = fma(c, q, 1.0 / 40320.0);
    c = fma(c, q, -1.0 / 720.0);
    c = fma(c, q, 1.0 / 24.0);
    c = fma(c, q, -1.0 / 2.0);
    c = fma(c, q, 1.0);
    int64_t quadrant = (int64_t)k & 3;
    double odd_sine = (quadrant & 1) != 0 ? c : s, odd_cosine = (quadrant & 1) != 0 ? s : c;
    *sine = (quadrant & 2) != 0 ? -odd_sine : odd_sine;
    *cosine = quadrant == 1 || quadrant == 2 ? -odd_cosine : odd_cosine;
}

/* Quantises one block of activations, at most IR_QUANTIZE_BLOCK; returns its scale. */
static inline float ir_quantize_block(const float *x, size_t count, int8_t *q)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = ir_f32_bits(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
        q[i] = 0;
    }
    const float m = ir_f32_from_bits(largest);
    if (largest >= 0x7f800000u)
        return NAN;
    if (m < 0x1.fcp-120f)
        return 0.0f;
    const float inverse = 127.0f / m;
    for (size_t i = 0; i < count; i++)
        q[i] = (int8_t)rintf(x[i] * inverse);
    return m / 127.0f;
}

/* Rounds one token's row of one head of an i8 cache: each number becomes the product of an 8-bit
 * integer and the row's f16 scale. */
static inline void ir_round_cache_row(float *x, size_t count)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = ir_f32_bits(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    const float scale = ir_f16_to_f32(ir_f32_to_f16(ir_f32_from_bits(largest) / 127.0f));
    const bool usable = scale > 0.0f && scale < INFINITY;
    const float inverse = usable ? 1.0f / scale : 0.0f;
    for (size_t i = 0; i < count; i++) {
        const float q = usable ? rintf(x[i] * inverse) : 0.0f;
        const float bounded = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        x[i] = (float)(int8_t)bounded * scale;
    }
}

/* Folds the sixteen lanes of a row reduction. */
static inline float ir_fold_lanes(float lanes[IR_ROW_LANES])
{
    for (size_t step = IR_ROW_LANES / 2; step > 0; step /= 2) {
        for (size_t i = 0; i < step; i++)
            lanes[i] = lanes[i] + lanes[i + step];
    }
    return lanes[0];
}

static inline float ir_row_dot(const float *a, const float *b, size_t count)
{
    float lanes[IR_ROW_LANES] = {0};
    for (size_t i = 0; i < count; i++)
        lanes[i % IR_ROW_LANES] = fmaf(a[i], b[i], lanes[i % IR_ROW_LANES]);
    return ir_fold_lanes(lanes);
}

static inline float ir_row_sum(const float *a, size_t count)
{
    float lanes[IR_ROW_LANES] = {0};
    for (size_t i = 0; i < count; i++)
        lanes[i % IR_ROW_LANES] = lanes[i % IR_ROW_LANES] + a[i];
    return ir_fold_lanes(lanes);
}

#endif
