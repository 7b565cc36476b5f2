/* Loops over a vocabulary in lanes against the plain ones.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/lanes.h"
#include "tests/test.h"

#include <math.h>

#define MOST 300

static uint64_t state = 9;

static float next_value(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(state >> 11) * 0x1p-53 * 24 - 12);
}

/* Whole numbers now and then, so that there are ties. */
static void fill(float *values, uint32_t count, bool ties)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = ties ? floorf(next_value() / 4) : next_value();
}

TEST(the_two_largest_are_those_of_a_plain_loop)
{
    float values[MOST];
    for (uint32_t count = 0; count < MOST; count++) {
        fill(values, count, count % 2 == 0);
        for (uint32_t i = 0; i < count; i += 7)
            values[i] = i % 3 == 0 ? NAN : -INFINITY;
        rt_two_largest expected = {-INFINITY, -INFINITY, 0};
        for (uint32_t i = 0; i < count; i++)
            if (values[i] > expected.first) {
                expected.second = expected.first;
                expected.first = values[i];
                expected.index = i;
            } else if (values[i] > expected.second) {
                expected.second = values[i];
            }
        const rt_two_largest actual = rt_find_largest(values, count);
        CHECK_MESSAGE(actual.first == expected.first && actual.second == expected.second &&
                          actual.index == expected.index,
                      "%u values", count);
    }
}

TEST(exponentials_are_close_and_their_sum_is_the_sum)
{
    static const double temperatures[] = {0.01, 0.3, 1, 2.5};
    float logits[MOST], weights[MOST];
    for (uint32_t count = 1; count < MOST; count++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            fill(logits, count, false);
            const float largest = rt_find_largest(logits, count).first;
            const double sum = rt_exponentials(logits, count, largest, temperatures[t], weights);
            for (uint32_t i = 0; i < count; i++) {
                const double x = ((double)logits[i] - (double)largest) / temperatures[t];
                const double expected = exp(x);
                const double bound = expected * (0x1p-21 + fabs(x) * 0x1p-22) + 1e-37;
                CHECK_MESSAGE(fabs((double)weights[i] - expected) <= bound, "exp(%g): %g", x,
                              (double)weights[i]);
            }
            CHECK(sum == rt_sum(weights, count));
            CHECK(weights[rt_find_largest(logits, count).index] == 1.0f);
        }
}

TEST(exponentials_of_what_is_no_number)
{
    const float logits[] = {1, NAN, -INFINITY, 1, -1000};
    float weights[5];
    CHECK(rt_exponentials(logits, 5, 1, 1, weights) == 2);
    CHECK(weights[0] == 1 && weights[1] == 0 && weights[2] == 0 && weights[3] == 1);
    CHECK(weights[4] == 0);
    const float infinite[] = {INFINITY, 3, INFINITY, NAN};
    CHECK(rt_exponentials(infinite, 4, INFINITY, 0.5, weights) == 2);
    CHECK(weights[0] == 1 && weights[1] == 0 && weights[2] == 1 && weights[3] == 0);
    const float apart[] = {2, 1};
    CHECK(rt_exponentials(apart, 2, 2, 1e-300, weights) == 1 && weights[1] == 0);
}

TEST(sums_are_found_again)
{
    float values[MOST];
    for (uint32_t count = 1; count < MOST; count++) {
        fill(values, count, false);
        for (uint32_t i = 0; i < count; i++)
            values[i] = values[i] > 0 ? values[i] : 0;
        values[count / 2] = 1;
        const double sum = rt_sum(values, count);
        for (double part = 0; part <= 1.001; part += 0.01) {
            const uint32_t found = rt_find_sum(values, count, part * sum);
            double before = 0;
            for (uint32_t i = 0; i < found; i++)
                before += (double)values[i];
            CHECK(found < count && values[found] > 0);
            CHECK(before <= part * sum * (1 + 1e-12));
            CHECK(part >= 1 || before + (double)values[found] >= part * sum * (1 - 1e-12));
        }
    }
}

TEST(a_difference_is_never_negative)
{
    float weights[MOST];
    double values[MOST], expected[MOST];
    for (uint32_t count = 0; count < MOST; count++) {
        fill(weights, count, false);
        for (uint32_t i = 0; i < count; i++)
            values[i] = (double)next_value();
        double sum = 0;
        for (uint32_t i = 0; i < count; i++) {
            expected[i] = fmax(values[i] - (double)weights[i] * 0.75, 0);
            sum += expected[i];
        }
        const double actual = rt_subtract(values, weights, count, 0.75);
        CHECK(fabs(actual - sum) <= 1e-12 * sum);
        CHECK(count == 0 || memcmp(values, expected, count * sizeof *values) == 0);
    }
}

TEST_MAIN()
