/* Draws and the step of verification: exact laws, and that the tests would notice wrong ones.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/sample.h"
#include "tests/test.h"

#include <math.h>
#include <stdint.h>

#define DRAWS 200000

TEST(exp_is_within_two_ulp)
{
    double worst = 0;
    for (double x = 0; x > -700; x -= 0.01237) {
        double expected = exp(x), error = fabs(rt_exp(x) - expected) / expected;
        worst = error > worst ? error : worst;
    }
    CHECK_MESSAGE(worst < 2 * 0x1p-52, "%g", worst);
    CHECK(rt_exp(0) == 1 && rt_exp(-1e9) == 0 && rt_exp(-INFINITY) == 0);
}

TEST(uniform_numbers_are_uniform_and_independent_across_keys)
{
    /* 16 x 16 cells of two draws whose keys differ in one field; 255 degrees of freedom. */
    for (int field = 0; field < 5; field++) {
        static uint32_t cells[256];
        memset(cells, 0, sizeof cells);
        for (uint32_t i = 0; i < DRAWS; i++) {
            rt_key key = {3, 0, i, 1, RT_DRAW_DRAFT}, other = key;
            other.seed += field == 0;
            other.session += field == 1;
            other.round += field == 2 ? DRAWS : 0;
            other.level += field == 3;
            other.purpose = field == 4 ? RT_DRAW_ACCEPT : other.purpose;
            double x = rt_uniform(&key), y = rt_uniform(&other);
            CHECK(x >= 0 && x < 1 && y >= 0 && y < 1);
            cells[(int)(x * 16) * 16 + (int)(y * 16)]++;
        }
        double statistic = 0, expected = DRAWS / 256.0;
        for (int i = 0; i < 256; i++)
            statistic += (cells[i] - expected) * (cells[i] - expected) / expected;
        CHECK_MESSAGE(statistic > 170 && statistic < 350, "field %d: %g", field, statistic);
    }
}

TEST(largest_takes_the_lowest_id_of_equals_and_never_nan)
{
    static const int32_t ids[] = {2, 5, 6, 9};
    float values[] = {1, 3, 3, 2};
    rt_row row = {values, ids, 4}, plain = {values, NULL, 4};
    CHECK(rt_largest(&row, 100) == 5 && rt_largest(&plain, 100) == 1);
    CHECK(rt_largest(&row, 5) == 2 && rt_largest(&plain, 1) == 0);
    values[0] = NAN;
    values[1] = NAN;
    CHECK(rt_largest(&row, 100) == 6);
    values[2] = values[3] = -INFINITY;
    CHECK(rt_largest(&row, 100) == 2);
}

TEST(softmax_handles_limits_infinities_and_temperatures)
{
    float values[] = {1, 2, 3, 4}, weights[4];
    rt_row row = {values, NULL, 4};
    double total = rt_softmax(&row, 1, 100, weights);
    CHECK(weights[3] == 1 && fabs(weights[2] - exp(-1)) < 1e-7);
    CHECK(fabs(total - (1 + exp(-1) + exp(-2) + exp(-3))) < 1e-6);
    total = rt_softmax(&row, 1, 3, weights);
    CHECK(weights[3] == 0 && weights[2] == 1 && fabs(total - (1 + exp(-1) + exp(-2))) < 1e-6);
    CHECK(rt_softmax(&row, 1e-300, 100, weights) == 1 && weights[3] == 1 && weights[2] == 0);
    CHECK(fabs(rt_softmax(&row, 1e300, 100, weights) - 4) < 1e-6);
    values[1] = INFINITY;
    CHECK(rt_softmax(&row, 1, 100, weights) == 1 && weights[1] == 1 && weights[3] == 0);
    values[1] = NAN;
    rt_softmax(&row, 1, 100, weights);
    CHECK(weights[1] == 0 && weights[3] == 1);
    for (int i = 0; i < 4; i++)
        values[i] = i % 2 == 0 ? NAN : -INFINITY;
    CHECK(rt_softmax(&row, 1, 100, weights) == 1 && weights[0] == 1 && weights[1] == 0);
}

TEST(draws_never_give_an_id_without_mass)
{
    static const int32_t ids[] = {2, 5, 6, 9};
    const float weights[] = {0, 1, 0, 1};
    rt_distribution distribution = {{weights, ids, 4}, 2};
    CHECK(rt_draw(&distribution, 0) == 5);
    CHECK(rt_draw(&distribution, 0.49999) == 5 && rt_draw(&distribution, 0.5) == 9);
    CHECK(rt_draw(&distribution, 0x1.fffffffffffffp-1) == 9);
    distribution.total = 2.5; /* as if rounding had lost some */
    CHECK(rt_draw(&distribution, 0.99) == 9);
    CHECK(rt_probability(&distribution, 5) == 0.4 && rt_probability(&distribution, 7) == 0);
    CHECK(rt_probability(&distribution, 10) == 0 && rt_probability(&distribution, 0) == 0);
}

TEST(residual_without_mass_is_the_target)
{
    const float weights[] = {1, 3};
    rt_distribution p = {{weights, NULL, 2}, 4};
    CHECK(rt_draw_residual(&p, &p, 0.1) == 0 && rt_draw_residual(&p, &p, 0.9) == 1);
}

/* --- the law of one verified token --- */

typedef int32_t (*verifier)(const rt_distribution *p, const rt_distribution *q, int32_t id,
                            double accept, double token);

static int32_t verify(const rt_distribution *p, const rt_distribution *q, int32_t id, double accept,
                      double token)
{
    return rt_accepts(p, q, id, accept) ? id : rt_draw_residual(p, q, token);
}

/* Planted: the residual's running sum is compared with the number itself, not with its share of
 * the sum. */
static int32_t verify_without_norm(const rt_distribution *p, const rt_distribution *q, int32_t id,
                                   double accept, double token)
{
    if (rt_accepts(p, q, id, accept))
        return id;
    double sum = 0;
    int32_t last = 0;
    for (int32_t i = 0; i < (int32_t)p->row.count && sum <= token; i++) {
        double mass = rt_probability(p, i) - rt_probability(q, i);
        sum += mass > 0 ? mass : 0;
        last = mass > 0 ? i : last;
    }
    return last;
}

/* Planted: draws from p after a rejection. */
static int32_t verify_without_residual(const rt_distribution *p, const rt_distribution *q,
                                       int32_t id, double accept, double token)
{
    return rt_accepts(p, q, id, accept) ? id : rt_draw(p, token);
}

/* Planted: takes the acceptance for p instead of p / q. */
static int32_t verify_with_wrong_ratio(const rt_distribution *p, const rt_distribution *q,
                                       int32_t id, double accept, double token)
{
    return accept < rt_probability(p, id) ? id : rt_draw_residual(p, q, token);
}

/* Chi-square of verified tokens against p; the vocabulary has `count` ids with p > 0. */
static double statistic_of(verifier rule, uint64_t seed, const rt_distribution *p,
                           const rt_distribution *q)
{
    uint32_t seen[16] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        rt_key draft = {seed, 0, i, 0, RT_DRAW_DRAFT}, accept = draft, token = draft;
        accept.purpose = RT_DRAW_ACCEPT;
        token.purpose = RT_DRAW_TOKEN;
        int32_t id = rt_draw(q, rt_uniform(&draft));
        seen[rule(p, q, id, rt_uniform(&accept), rt_uniform(&token))]++;
    }
    double statistic = 0;
    for (int32_t id = 0; id < (int32_t)p->row.count; id++) {
        double expected = rt_probability(p, id) * DRAWS;
        if (expected > 0)
            statistic += (seen[id] - expected) * (seen[id] - expected) / expected;
        else
            statistic += seen[id] > 0 ? INFINITY : 0;
    }
    return statistic;
}

/* Quantiles of chi-square at 1 - 1e-4 for 1 to 7 degrees of freedom. */
static const double limits[] = {15.14, 18.42, 21.11, 23.51, 25.74, 27.86, 29.88};

typedef struct law {
    uint32_t count;
    float p[8], q[8];
} law;
static const law laws[] = {
    {4, {1, 2, 3, 4}, {4, 3, 2, 1}},
    {4, {1, 2, 3, 4}, {1, 2, 3, 4}},
    {4, {1, 1, 1, 1}, {9, 1, 0, 0}},
    {4, {0, 5, 0.001f, 1}, {1, 1, 1, 1}},
    {8, {8, 1, 4, 2, 3, 1, 1, 9}, {1, 1, 0, 9, 3, 2, 8, 1}},
};

static rt_distribution make(const float *weights, uint32_t count)
{
    rt_distribution result = {{weights, NULL, count}, 0};
    for (uint32_t i = 0; i < count; i++)
        result.total += weights[i];
    return result;
}

TEST(verified_tokens_have_the_targets_law)
{
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        rt_distribution p = make(laws[i].p, laws[i].count), q = make(laws[i].q, laws[i].count);
        double statistic = statistic_of(verify, 100 + i, &p, &q);
        CHECK_MESSAGE(statistic < limits[laws[i].count - 2], "law %zu: %g", i, statistic);
    }
}

TEST(verified_tokens_of_a_trimmed_head_have_the_targets_law)
{
    static const int32_t ids[] = {1, 3, 4, 6};
    for (size_t i = 0; i < 4; i++) {
        rt_distribution p = make(laws[4].p, 8), q = make(laws[i].q, 4);
        q.row.ids = ids;
        double statistic = statistic_of(verify, 200 + i, &p, &q);
        CHECK_MESSAGE(statistic < limits[6], "law %zu: %g", i, statistic);
    }
}

TEST(planted_mistakes_are_noticed)
{
    static const verifier wrong[] = {verify_without_norm, verify_without_residual,
                                     verify_with_wrong_ratio};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rt_distribution p = make(laws[0].p, 4), q = make(laws[0].q, 4);
        double statistic = statistic_of(wrong[i], 300 + i, &p, &q);
        CHECK_MESSAGE(statistic > 10 * limits[2], "mistake %zu: %g", i, statistic);
    }
}

TEST_MAIN()
