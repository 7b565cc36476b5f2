/* The functions of docs/numerics.md against libm in higher precision, and their exact bits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/numerics.h"
#include "tests/test.h"

/* Distance in units of the last place of the exact result in binary32. */
static double distance(float got, long double exact)
{
    int exponent;
    frexpl(exact, &exponent);
    int unit = exponent - 24 < -149 ? -149 : exponent - 24;
    return (double)fabsl(((long double)got - exact) / ldexpl(1.0L, unit));
}

TEST(exp_is_within_one_ulp)
{
    double worst = 0.0;
    for (uint64_t bits = 0; bits < UINT64_C(0x100000000); bits += 4099) {
        float x = ir_f32_from_bits((uint32_t)bits);
        if (!(x > -103.972f && x < 88.7228f))
            continue;
        double away = distance(ir_exp(x), expl((long double)x));
        worst = away > worst ? away : worst;
    }
    CHECK_MESSAGE(worst < 0.9, "worst %g", worst);
}

TEST(exp_ends_where_binary32_ends)
{
    CHECK(ir_exp(0.0f) == 1.0f && ir_exp(-0.0f) == 1.0f);
    CHECK(isinf(ir_exp(INFINITY)) && ir_exp(-INFINITY) == 0.0f && isnan(ir_exp(NAN)));
    CHECK(isfinite(ir_exp(0x1.62e42ep+6f)));
    CHECK(isinf(ir_exp(nextafterf(0x1.62e42ep+6f, 100.0f))));
    CHECK(ir_exp(-0x1.9fe368p+6f) == 0x1p-149f);
    CHECK(ir_exp(nextafterf(-0x1.9fe368p+6f, -200.0f)) == 0.0f);
    /* every denormal result is the nearest one or its neighbour */
    for (float x = -103.9f; x < -87.0f; x += 0.0137f)
        CHECK(distance(ir_exp(x), expl((long double)x)) < 1.0);
}

TEST(exp_is_literally_the_page)
{
    /* x = 1: n = 1, r = 1 - ln 2 in two steps, Horner, times 2^0, times 2^1 */
    float r = fmaf(1.0f, -0x1.7f7d1cp-20f, fmaf(1.0f, -0x1.62e4p-1f, 1.0f));
    float p = 0x1.6a4f28p-10f;
    const float rest[] = {0x1.12398p-7f,  0x1.5558aep-5f, 0x1.555492p-3f,
                          0x1.fffffcp-2f, 1.0f,           1.0f};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        p = fmaf(p, r, rest[i]);
    CHECK(ir_exp(1.0f) == p * 2.0f);
}

TEST(sine_and_cosine_are_within_one_ulp)
{
    double worst = 0.0;
    for (uint32_t bits = 0x2f800000u; bits < 0x49742400u; bits += 1021) { /* 2^-32 .. 1e6 */
        float angle = ir_f32_from_bits(bits);
        double sine, cosine;
        ir_sine_cosine(angle, &sine, &cosine);
        double a = distance((float)sine, sinl((long double)angle));
        double b = distance((float)cosine, cosl((long double)angle));
        worst = a > worst ? a : worst;
        worst = b > worst ? b : worst;
    }
    CHECK_MESSAGE(worst < 0.51, "worst %g", worst);
}

TEST(sine_is_odd_and_cosine_even)
{
    for (int i = 0; i < 2000; i++) {
        float angle = (float)i * 1.37f;
        double sine, cosine, mirrored_sine, mirrored_cosine;
        ir_sine_cosine(angle, &sine, &cosine);
        ir_sine_cosine(-angle, &mirrored_sine, &mirrored_cosine);
        CHECK(mirrored_sine == -sine && mirrored_cosine == cosine);
    }
}

TEST(sigmoid_silu_tanh_saturate)
{
    CHECK(ir_sigmoid(0.0f) == 0.5f && ir_sigmoid(200.0f) == 1.0f && ir_sigmoid(-200.0f) == 0.0f);
    CHECK(ir_silu(0.0f) == 0.0f && ir_silu(200.0f) == 200.0f && ir_silu(-200.0f) == 0.0f);
    CHECK(ir_tanh(100.0f) == 1.0f && ir_tanh(-100.0f) == -1.0f && ir_tanh(0.0f) == 0.0f);
    for (float x = -9.0f; x < 9.0f; x += 0.01f)
        CHECK(fabs((double)ir_tanh(x) - tanh((double)x)) < 3e-7);
}

TEST(row_reductions_use_sixteen_lanes)
{
    /* 2^24 swallows a 1 that is added to it, but not the sum of fifteen of them. */
    float row[33], one[33];
    for (int i = 0; i < 33; i++) {
        row[i] = 1.0f;
        one[i] = 1.0f;
    }
    row[0] = 0x1p24f;
    /* lane 0 holds 2^24, +1 (lost), +1 (lost); lanes 1 .. 15 hold 2 each: folded by 8, 4, 2, 1 */
    CHECK(ir_row_sum(row, 33) == 0x1p24f + 30.0f);
    CHECK(ir_row_dot(row, one, 33) == 0x1p24f + 30.0f);
    CHECK(ir_row_sum(row, 0) == 0.0f);
}

TEST_MAIN()
