/* Noise, distributions and draws: exact values, exact laws, and hostile logits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/exact.h"
#include "runtime/noise.h"
#include "runtime/sample.h"
#include "tests/test.h"

#include <math.h>
#include <stdint.h>

#define DRAWS 200000

TEST(log_is_within_two_ulp)
{
    double worst = 0;
    for (double x = 0x1p-60; x < 0x1p60; x *= 1.00037) {
        double expected = log(x), error = fabs(rt_log(x) - expected) / fabs(expected);
        worst = error > worst ? error : worst;
    }
    CHECK_MESSAGE(worst < 2 * 0x1p-52, "%g", worst);
    CHECK(rt_log(1) == 0 && fabs(rt_log(0x1p-54) / (-54 * M_LN2) - 1) < 0x1p-51);
    CHECK(rt_log(1 - 0x1p-53) < 0); /* so that no waiting time is 0 */
}

TEST(uniform_numbers_are_uniform_and_independent_across_keys)
{
    /* 16 x 16 cells of two draws whose keys differ in one field; 255 degrees of freedom. */
    for (int field = 0; field < 6; field++) {
        static uint32_t cells[256];
        memset(cells, 0, sizeof cells);
        for (uint32_t i = 0; i < DRAWS; i++) {
            rt_dice dice = {3, 0, i}, other = dice;
            other.seed += field == 0;
            other.session += field == 1;
            other.round += field == 2 ? DRAWS : 0;
            double x = rt_uniform(&dice, 1, RT_DRAW_CHILD, 5);
            double y = rt_uniform(&other, 1 + (field == 3),
                                  field == 4 ? RT_DRAW_ACCEPT : RT_DRAW_CHILD, 5 + (field == 5));
            CHECK(x > 0 && x < 1 && y > 0 && y < 1);
            cells[(int)(x * 16) * 16 + (int)(y * 16)]++;
        }
        double statistic = 0, expected = DRAWS / 256.0;
        for (int i = 0; i < 256; i++)
            statistic += (cells[i] - expected) * (cells[i] - expected) / expected;
        CHECK_MESSAGE(statistic > 170 && statistic < 350, "field %d: %g", field, statistic);
    }
}

TEST(waiting_times_are_exponential)
{
    double sum = 0, squares = 0, longer = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        rt_dice dice = {9, 1, i};
        double time = rt_exponential(&dice, 2, RT_DRAW_TIME, 7);
        CHECK(time > 0 && time < 40);
        sum += time;
        squares += time * time;
        longer += time > 3;
    }
    CHECK(fabs(sum / DRAWS - 1) < 0.01 && fabs(squares / DRAWS - 2) < 0.05);
    CHECK(fabs(longer / DRAWS - exp(-3)) < 0.002);
}

TEST(rows_find_their_ids)
{
    static const int32_t ids[] = {2, 5, 6, 9};
    float values[] = {1, 3, 3, 2};
    rt_row row = {values, ids, 4}, plain = {values, NULL, 4};
    CHECK(rt_row_below(&row, 100) == 4 && rt_row_below(&row, 6) == 2 && rt_row_below(&row, 0) == 0);
    CHECK(rt_row_below(&plain, 100) == 4 && rt_row_below(&plain, 3) == 3);
    CHECK(rt_row_find(&row, 6) == 2 && rt_row_find(&row, 7) == 4 && rt_row_find(&row, 10) == 4);
    CHECK(rt_row_find(&plain, 3) == 3 && rt_row_find(&plain, 4) == 4);
    CHECK(rt_row_id(&row, 1) == 5 && rt_row_id(&plain, 1) == 1);
}

TEST(softmax_handles_limits_infinities_and_temperatures)
{
    float values[] = {1, 2, 3, 4}, weights[4];
    rt_row row = {values, NULL, 4};
    double total = rt_softmax(&row, 1, 100, weights).total;
    CHECK(weights[3] == 1 && fabs(weights[2] - exp(-1)) < 1e-7);
    CHECK(fabs(total - (1 + exp(-1) + exp(-2) + exp(-3))) < 1e-6);
    total = rt_softmax(&row, 1, 3, weights).total;
    CHECK(weights[3] == 0 && weights[2] == 1 && fabs(total - (1 + exp(-1) + exp(-2))) < 1e-6);
    CHECK(rt_softmax(&row, 1e-300, 100, weights).total == 1 && weights[3] == 1 && weights[2] == 0);
    CHECK(fabs(rt_softmax(&row, 1e300, 100, weights).total - 4) < 1e-6);
    values[1] = INFINITY;
    CHECK(rt_softmax(&row, 1, 100, weights).total == 1 && weights[1] == 1 && weights[3] == 0);
    values[1] = NAN;
    rt_softmax(&row, 1, 100, weights);
    CHECK(weights[1] == 0 && weights[3] == 1);
    for (int i = 0; i < 4; i++)
        values[i] = i % 2 == 0 ? -INFINITY : NAN;
    CHECK(rt_softmax(&row, 1, 100, weights).total == 1 && weights[0] == 1 && weights[1] == 0);
    for (int i = 0; i < 4; i++)
        values[i] = (float)i;
    CHECK(rt_softmax(&row, 1, 100, values).total > 1 && values[3] == 1); /* in place */
}

TEST(draws_follow_weights_and_removal_takes_one_out)
{
    float values[] = {0, 1, 0, 1, 2, 0};
    rt_weights weights = {{values, NULL, 6}, 4};
    CHECK(rt_draw(&weights, 0x1p-54) == 1 && rt_draw(&weights, 0.2499) == 1);
    CHECK(rt_draw(&weights, 0.26) == 3 && rt_draw(&weights, 0.51) == 4);
    CHECK(rt_draw(&weights, 1 - 0x1p-53) == 4);
    weights.total = 5; /* as rounding might have it, only more so */
    CHECK(rt_draw(&weights, 0.99) == 4);
    weights.total = 4;
    rt_remove(&weights, 4);
    CHECK(weights.total == 2 && rt_draw(&weights, 0.75) == 3);
    rt_remove(&weights, 3);
    rt_remove(&weights, 1);
    CHECK(weights.total == 0);
}

TEST(draws_from_long_rows_have_the_law_of_the_weights)
{
    static float values[1000];
    static uint32_t seen[1000];
    for (uint32_t i = 0; i < 1000; i++)
        values[i] = i % 7 == 3 ? 0 : (float)(i % 13 + 1);
    rt_weights weights = {{values, NULL, 1000}, rt_sum(values, 1000)};
    for (uint32_t i = 0; i < DRAWS; i++) {
        rt_dice dice = {4, 0, i};
        seen[rt_draw(&weights, rt_uniform(&dice, 0, RT_DRAW_TOKEN, 0))]++;
    }
    double statistic = 0;
    uint32_t cells = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        double expected = DRAWS * (double)values[i] / weights.total;
        CHECK(expected > 0 || seen[i] == 0);
        if (expected > 0)
            statistic += (seen[i] - expected) * (seen[i] - expected) / expected, cells++;
    }
    CHECK_MESSAGE(statistic < cells + 5 * sqrt(2.0 * cells), "%g of %u", statistic, cells);
}

/* The residual in long double, by its definition. */
static void expect_residual(const double *r, const rt_weights *q, uint32_t count, double *result)
{
    long double total = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++)
        total += r[i];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t entry = rt_row_find(&q->row, (int32_t)i);
        long double mass = entry < q->row.count ? q->row.values[entry] / q->total : 0;
        long double left = r[i] / total - mass;
        result[i] = left > 0 ? (double)left : 0;
        sum += result[i];
    }
    for (uint32_t i = 0; i < count; i++)
        result[i] = (double)(result[i] / sum);
}

TEST(residuals_are_the_positive_part_of_the_difference)
{
    enum { COUNT = 300 };
    static float p_values[COUNT], q_values[COUNT];
    static double r_values[COUNT], before[COUNT], expected[COUNT];
    static int32_t ids[COUNT];
    for (uint32_t trial = 0; trial < 200; trial++) {
        rt_dice dice = {trial, 0, 0};
        uint32_t q_count = 0, step = 1 + trial % 4;
        for (uint32_t i = 0; i < COUNT; i++) {
            p_values[i] = (float)rt_uniform(&dice, 0, RT_DRAW_CHILD, i);
            if (i % step == 0) {
                ids[q_count] = (int32_t)i;
                q_values[q_count++] = (float)rt_uniform(&dice, 1, RT_DRAW_CHILD, i);
            }
        }
        rt_weights p = {{p_values, NULL, COUNT}, rt_sum(p_values, COUNT)};
        rt_weights q = {{q_values, step == 1 ? NULL : ids, q_count}, rt_sum(q_values, q_count)};
        rt_residual r;
        rt_residual_start(&p, r_values, &r);
        for (uint32_t k = 0; k < 4; k++) {
            memcpy(before, r.values, sizeof before);
            expect_residual(before, &q, COUNT, expected);
            rt_residual_subtract(&r, &q);
            for (uint32_t i = 0; i < COUNT; i++)
                CHECK(fabs(r.values[i] / r.total - expected[i]) < 1e-13);
            rt_remove(&q, (trial * 7 + k) % q_count);
        }
    }
}

TEST(a_residual_without_mass_stays)
{
    static const int32_t ids[] = {1, 3};
    float values[] = {0, 1, 0, 3}, trimmed[] = {0.5f, 1.5f};
    double room[4];
    rt_weights p = {{values, NULL, 4}, 4}, q = {{trimmed, ids, 2}, 2};
    const rt_weights *same[] = {&p, &q};
    for (int i = 0; i < 2; i++) {
        rt_residual r;
        rt_residual_start(&p, room, &r);
        rt_residual_subtract(&r, same[i]);
        CHECK(r.total > 0 && r.values[0] == 0 && r.values[2] == 0);
        CHECK(r.values[1] / r.total == 0.25 && r.values[3] / r.total == 0.75);
        CHECK(rt_residual_draw(&r, 0.1) == 1 && rt_residual_draw(&r, 0.9) == 3);
    }
}

TEST_MAIN()
