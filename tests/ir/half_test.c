/* Conversions between binary32 and the 16-bit formats: every pattern, and rounding to nearest even.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"

#include "base/hash.h"
#include "tests/test.h"

#include <math.h>

/* The meaning of a pattern by the definition of the formats. */
static double meaning(uint32_t pattern, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(pattern >> fraction_bits) & ((1 << exponent_bits) - 1);
    double fraction = pattern & ((1u << fraction_bits) - 1);
    double magnitude =
        exponent == 0 ? ldexp(fraction, 1 - bias - fraction_bits)
                      : ldexp(fraction + ldexp(1, fraction_bits), exponent - bias - fraction_bits);
    return (pattern >> (exponent_bits + fraction_bits)) & 1 ? -magnitude : magnitude;
}

TEST(every_f16_pattern)
{
    for (uint32_t pattern = 0; pattern < 0x10000; pattern++) {
        float number = ir_f16_to_f32((uint16_t)pattern);
        if ((pattern & 0x7c00) == 0x7c00) {
            CHECK((pattern & 0x3ff) != 0 ? isnan(number) : isinf(number));
            CHECK((ir_f32_bits(number) >> 31) == pattern >> 15);
            if ((pattern & 0x3ff) != 0) {
                CHECK(isnan(ir_f16_to_f32(ir_f32_to_f16(number))));
                continue;
            }
        } else {
            CHECK((double)number == meaning(pattern, 5, 10));
        }
        CHECK(ir_f32_to_f16(number) == pattern);
    }
}

TEST(every_bf16_pattern)
{
    for (uint32_t pattern = 0; pattern < 0x10000; pattern++) {
        float number = ir_bf16_to_f32((uint16_t)pattern);
        if (isnan(number))
            CHECK(isnan(ir_bf16_to_f32(ir_f32_to_bf16(number))));
        else
            CHECK(ir_f32_to_bf16(number) == pattern);
        if (isfinite(number))
            CHECK((double)number == meaning(pattern, 8, 7));
    }
}

/* The result is the nearer of its neighbours, and the even one in the middle. */
static bool is_nearest(float number, uint16_t half, float (*widen)(uint16_t))
{
    double error = fabs((double)widen(half) - (double)number);
    for (int step = -1; step <= 1; step += 2) {
        uint16_t other = (uint16_t)(half + step);
        if ((other ^ half) & 0x8000 || !isfinite(widen(other)))
            continue;
        double rival = fabs((double)widen(other) - (double)number);
        if (rival < error || (rival == error && (half & 1) != 0))
            return false;
    }
    return true;
}

TEST(rounding_to_nearest_even)
{
    uint64_t state = 7;
    for (int i = 0; i < 300000; i++) {
        float number = ir_f32_from_bits((uint32_t)td_random_next(&state));
        /* Half of them within the range of f16. */
        if (i % 2 == 0)
            number = ldexpf((float)(td_random_next(&state) % 0x1000000), (int)(i % 40) - 40);
        if (!isfinite(number))
            continue;
        uint16_t half = ir_f32_to_f16(number), brain = ir_f32_to_bf16(number);
        if (fabsf(number) < 65520.0f)
            CHECK_MESSAGE(is_nearest(number, half, ir_f16_to_f32), "%a", (double)number);
        else
            CHECK((half & 0x7fff) == 0x7c00);
        if (isfinite(ir_bf16_to_f32(brain)))
            CHECK_MESSAGE(is_nearest(number, brain, ir_bf16_to_f32), "%a", (double)number);
    }
}

TEST(ties_and_limits)
{
    CHECK(ir_f32_to_f16(65519.99f) == 0x7bff);
    CHECK(ir_f32_to_f16(65520.0f) == 0x7c00);
    CHECK(ir_f32_to_f16(0x1p-25f) == 0);          /* half of the smallest: to even, zero */
    CHECK(ir_f32_to_f16(0x1.000002p-25f) == 1);   /* just above */
    CHECK(ir_f32_to_f16(0x1.8p-24f) == 2);        /* 1.5 units: to even */
    CHECK(ir_f32_to_f16(0x1.ffep-15f) == 0x0400); /* rounds up into the normals */
    CHECK(ir_f32_to_f16(1.0f + 0x1p-11f) == 0x3c00);
    CHECK(ir_f32_to_f16(1.0f + 0x3p-11f) == 0x3c02);
    CHECK(ir_f32_to_f16(-0.0f) == 0x8000);
    CHECK(ir_f32_to_bf16(1.0f + 0x1p-8f) == 0x3f80);
    CHECK(ir_f32_to_bf16(1.0f + 0x3p-8f) == 0x3f82);
}

TEST_MAIN()
