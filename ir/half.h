/* Exact conversions between binary32 and the 16-bit float formats, rounding to nearest even.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_HALF_H
#define TANDEM_IR_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ir_f32_bits(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline float ir_f32_from_bits(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline float ir_bf16_to_f32(uint16_t half)
{
    return ir_f32_from_bits((uint32_t)half << 16);
}

/* NaN stays NaN: its payload is cut and made quiet. */
static inline uint16_t ir_f32_to_bf16(float number)
{
    uint32_t bits = ir_f32_bits(number);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float ir_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0x1fu)
        return ir_f32_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return ir_f32_from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
    /* zero or subnormal: fraction * 2^-24 is exact in binary32 */
    float magnitude = (float)fraction * 0x1p-24f;
    return ir_f32_from_bits(sign | ir_f32_bits(magnitude));
}

static inline uint16_t ir_f32_to_f16(float number)
{
    uint32_t bits = ir_f32_bits(number);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) /* NaN */
        return (uint16_t)(sign | 0x7e00u | ((bits >> 13) & 0x3ffu));
    if (bits >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (bits >= 0x38800000u) { /* a normal half */
        uint32_t rounded = bits + 0xfffu + ((bits >> 13) & 1u);
        return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000u) >> 13));
    }
    if (bits <= 0x33000000u) /* at most half of the smallest subnormal */
        return sign;
    uint32_t shift = 126u - (bits >> 23); /* 14 .. 24: fraction to units of 2^-24 */
    uint32_t fraction = (bits & 0x7fffffu) | 0x800000u;
    uint32_t kept = fraction >> shift, rest = fraction & ((1u << shift) - 1u);
    uint32_t middle = 1u << (shift - 1u);
    if (rest > middle || (rest == middle && (kept & 1u) != 0))
        kept++;
    return (uint16_t)(sign | (uint16_t)kept);
}

#endif
