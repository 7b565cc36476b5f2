/* See sample.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/sample.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* The finaliser of splitmix64: a bijection whose output bits each depend on all input bits. */
static uint64_t mix(uint64_t bits)
{
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

double rt_uniform(const rt_key *key)
{
    const uint64_t fields[] = {key->seed, key->session, key->round, key->level,
                               (uint64_t)key->purpose};
    uint64_t state = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        state = mix((state ^ fields[i]) + UINT64_C(0x9e3779b97f4a7c15) * (i + 1));
    return (double)(mix(state) >> 11) * 0x1p-53;
}

double rt_exp(double x)
{
    if (!(x > -708.0))
        return 0.0;
    /* x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first with zeros at its end, so
     * that n times it is exact. */
    int32_t n = (int32_t)(x * 0x1.71547652b82fep+0 - 0.5);
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    static const double inverse_factorials[] = {1.0 / 6227020800,
                                                1.0 / 479001600,
                                                1.0 / 39916800,
                                                1.0 / 3628800,
                                                1.0 / 362880,
                                                1.0 / 40320,
                                                1.0 / 5040,
                                                1.0 / 720,
                                                1.0 / 120,
                                                1.0 / 24,
                                                1.0 / 6,
                                                1.0 / 2,
                                                1.0,
                                                1.0};
    double sum = 0;
    for (size_t i = 0; i < sizeof inverse_factorials / sizeof *inverse_factorials; i++)
        sum = sum * r + inverse_factorials[i];
    uint64_t exponent = (uint64_t)(n + 1023) << 52; /* n > -1022: a normal power of two */
    double power;
    memcpy(&power, &exponent, sizeof power);
    return sum * power;
}

static int32_t id_of(const rt_row *row, uint32_t index)
{
    return row->ids == NULL ? (int32_t)index : row->ids[index];
}

/* Number of rows whose id is below `limit`; since ids ascend, these are the first ones. */
static uint32_t rows_below(const rt_row *row, uint32_t limit)
{
    if (row->ids == NULL)
        return row->count < limit ? row->count : limit;
    uint32_t lower = 0, upper = row->count;
    while (lower < upper) {
        uint32_t middle = lower + (upper - lower) / 2;
        if ((uint32_t)row->ids[middle] < limit)
            lower = middle + 1;
        else
            upper = middle;
    }
    return lower;
}

static uint32_t largest_index(const rt_row *row, uint32_t count)
{
    uint32_t best = 0;
    float largest = -INFINITY;
    for (uint32_t i = 0; i < count; i++)
        if (row->values[i] > largest) {
            largest = row->values[i];
            best = i;
        }
    return best;
}

int32_t rt_largest(const rt_row *logits, uint32_t limit)
{
    return id_of(logits, largest_index(logits, rows_below(logits, limit)));
}

/* The weight of one logit. Infinite logits share all the mass. */
static float weight_of(float logit, float largest, double temperature)
{
    if (logit == largest)
        return 1.0f;
    if (!(logit < largest) || isinf(largest))
        return 0.0f;
    return (float)rt_exp(((double)logit - (double)largest) / temperature);
}

double rt_softmax(const rt_row *logits, double temperature, uint32_t limit, float *weights)
{
    uint32_t count = rows_below(logits, limit);
    uint32_t best = largest_index(logits, count);
    float largest = logits->values[best];
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = weight_of(logits->values[i], largest, temperature);
        total += weights[i];
    }
    for (uint32_t i = count; i < logits->count; i++)
        weights[i] = 0.0f;
    /* Nothing but NaN, or minus infinity everywhere. */
    if (isnan(largest) || largest == -INFINITY) {
        memset(weights, 0, logits->count * sizeof *weights);
        weights[best] = 1.0f;
        total = 1;
    }
    return total;
}

int32_t rt_draw(const rt_distribution *distribution, double uniform)
{
    const rt_row *row = &distribution->row;
    double goal = uniform * distribution->total, sum = 0;
    uint32_t last = 0; /* the last id that has mass, for a goal lost to rounding */
    for (uint32_t i = 0; i < row->count; i++) {
        if (row->values[i] <= 0)
            continue;
        sum += row->values[i];
        last = i;
        if (sum > goal)
            break;
    }
    return id_of(row, last);
}

double rt_probability(const rt_distribution *distribution, int32_t id)
{
    const rt_row *row = &distribution->row;
    uint32_t index = rows_below(row, (uint32_t)id);
    if (index >= row->count || id_of(row, index) != id)
        return 0;
    return row->values[index] / distribution->total;
}

bool rt_accepts(const rt_distribution *p, const rt_distribution *q, int32_t id, double uniform)
{
    return uniform * rt_probability(q, id) < rt_probability(p, id);
}

/* Walks over p - q in the order of ids until the running sum of its positive part exceeds `goal`.
 * Returns that sum; *last is the last id that contributed. */
static double walk_residual(const rt_distribution *p, const rt_distribution *q, double goal,
                            int32_t *last)
{
    double sum = 0;
    uint32_t j = 0;
    for (uint32_t i = 0; i < p->row.count && !(sum > goal); i++) {
        int32_t id = id_of(&p->row, i);
        while (j < q->row.count && id_of(&q->row, j) < id)
            j++;
        double mass = p->row.values[i] / p->total;
        if (j < q->row.count && id_of(&q->row, j) == id)
            mass -= q->row.values[j] / q->total;
        if (mass > 0) {
            sum += mass;
            *last = id;
        }
    }
    return sum;
}

int32_t rt_draw_residual(const rt_distribution *p, const rt_distribution *q, double uniform)
{
    int32_t id = 0;
    double total = walk_residual(p, q, INFINITY, &id);
    if (!(total > 0))
        return rt_draw(p, uniform);
    walk_residual(p, q, uniform * total, &id);
    return id;
}
