/* Distributions over token ids, as weights, and exact draws from them.
 *
 * SPDX-License-Identifier: MIT
 *
 * A distribution is a row of weights in binary32 and their sum in binary64. What is drawn, what is
 * compared and what is subtracted is computed in binary64 from the same weights in the same order,
 * so the law of the text does not depend on how the weights were rounded. */
#ifndef TANDEM_RUNTIME_SAMPLE_H
#define TANDEM_RUNTIME_SAMPLE_H

#include "runtime/lanes.h"

#include <stdint.h>

/* Numbers, one per id: number i is for ids[i], or for id i when ids is NULL; ids ascend. Logits or
 * weights. */
typedef struct rt_row {
    float *values;
    const int32_t *ids;
    uint32_t count;
} rt_row;

/* A distribution: weights >= 0 with their sum. A sum of 0 means that nothing is left. */
typedef struct rt_weights {
    rt_row row;
    double total;
} rt_weights;

/* A distribution that is subtracted from, over ids 0 .. count - 1. */
typedef struct rt_residual {
    double *values;
    uint32_t count;
    double total;
} rt_residual;

/* The id of entry `index` < row->count. */
int32_t rt_row_id(const rt_row *row, uint32_t index);
/* Number of entries whose id is below `limit`; since ids ascend, these are the first ones. */
uint32_t rt_row_below(const rt_row *row, uint32_t limit);
/* The entry of an id; row->count when it has none. */
uint32_t rt_row_find(const rt_row *row, int32_t id);

/* Turns logits into weights exp((logit - largest) / temperature), in place or elsewhere; entries
 * from `limit` on (ids) and NaN get 0; infinite logits share all the mass; where no logit is larger
 * than minus infinity the first entry gets all. temperature > 0. */
rt_weights rt_softmax(const rt_row *logits, double temperature, uint32_t limit, float *weights);

/* The entry at which the running sum exceeds uniform * total; one with weight. */
uint32_t rt_draw(const rt_weights *weights, double uniform);

/* Takes an entry out: its weight becomes 0 and the sum is that of the others. */
void rt_remove(rt_weights *weights, uint32_t index);

/* A residual that is p still. p's ids are 0 .. count - 1. */
void rt_residual_start(const rt_weights *p, double *values, rt_residual *residual);

/* r := the positive part of r - q, both taken as normalised. Where nothing is positive, which means
 * r = q but for rounding, r stays. */
void rt_residual_subtract(rt_residual *residual, const rt_weights *q);

/* The id at which the running sum exceeds uniform * total; one with weight. total > 0. */
int32_t rt_residual_draw(const rt_residual *residual, double uniform);

#endif
