/* Choosing tokens: exact draws from logits, and the step of speculative verification.
 *
 * SPDX-License-Identifier: MIT
 *
 * A distribution is kept as weights in binary32 with their sum in binary64; all of it, drafting,
 * acceptance and residual, is computed in binary64 from the same weights in the same order, so the
 * law of the text does not depend on how the weights were rounded. Only + - * / and comparisons
 * are used: every processor draws the same tokens. */
#ifndef TANDEM_RUNTIME_SAMPLE_H
#define TANDEM_RUNTIME_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* What a draw is for. */
typedef enum rt_purpose { RT_DRAW_DRAFT, RT_DRAW_ACCEPT, RT_DRAW_TOKEN } rt_purpose;

/* Names one draw. Draws are functions of their key: nothing is carried from one to the next. */
typedef struct rt_key {
    uint64_t seed, session, round;
    uint32_t level;
    rt_purpose purpose;
} rt_key;

/* Uniform in [0, 1), with 53 bits. */
double rt_uniform(const rt_key *key);

/* exp(x) for x <= 0, within 2 ulp; 0 below -708. */
double rt_exp(double x);

/* Rows of numbers, one per id. Row i is for ids[i], or for id i when ids is NULL; ids ascend. */
typedef struct rt_row {
    const float *values;
    const int32_t *ids;
    uint32_t count;
} rt_row;

/* A distribution over ids: values are weights >= 0. */
typedef struct rt_distribution {
    rt_row row;
    double total; /* sum of the weights, > 0 */
} rt_distribution;

/* The id with the largest value; ties: the lowest id; NaN is never largest. Ids from `limit` on
 * are left out. */
int32_t rt_largest(const rt_row *logits, uint32_t limit);

/* Writes exp((logit - largest) / temperature) to weights[count] and returns their sum. Ids from
 * `limit` on and NaN get 0. When no logit is larger than minus infinity the first id gets all. */
double rt_softmax(const rt_row *logits, double temperature, uint32_t limit, float *weights);

/* Draws an id: the first one at which the running sum exceeds uniform * total. */
int32_t rt_draw(const rt_distribution *distribution, double uniform);

/* Probability of an id; 0 when the distribution has no row for it. */
double rt_probability(const rt_distribution *distribution, int32_t id);

/* True when a token drawn from q is to be kept so that the outcome has the law p: with probability
 * min(1, p(id) / q(id)). */
bool rt_accepts(const rt_distribution *p, const rt_distribution *q, int32_t id, double uniform);

/* Draws from the positive part of p - q, normalised: the law of the token after a rejection.
 * Where nothing is left, which only rounding can bring about, from p. */
int32_t rt_draw_residual(const rt_distribution *p, const rt_distribution *q, double uniform);

#endif
