/* Loops over a whole vocabulary, in lanes: what choosing one token costs beside a pass.
 *
 * SPDX-License-Identifier: MIT
 *
 * All results are the same bits on every processor: operations are + - * and comparisons of IEEE
 * numbers, lanes are 16 whatever the registers are, and sums are added up in one fixed order. */
#ifndef TANDEM_RUNTIME_LANES_H
#define TANDEM_RUNTIME_LANES_H

#include <stdint.h>

#define RT_BLOCK 64u /* values that are summed up together */

/* Values of the block that begins at `start` < count. */
static inline uint32_t rt_block_length(uint32_t count, uint32_t start)
{
    return count - start < RT_BLOCK ? count - start : RT_BLOCK;
}

/* The largest value, its first index and the largest of the others. */
typedef struct rt_two_largest {
    float first, second; /* minus infinity where there is none */
    uint32_t index;      /* 0 where there is none */
} rt_two_largest;

/* NaN is never largest. */
rt_two_largest rt_find_largest(const float *values, uint32_t count);

/* The largest value alone, in a third of the time; minus infinity where there is none. */
float rt_largest(const float *values, uint32_t count);

/* Writes exp((logit - largest) / temperature), within 2 units of the last place, or 0 where that is
 * below exp(-86) or the logit is NaN, and returns rt_sum() of what was written. `largest` must be
 * the largest logit; when it is infinite, the logits equal to it get 1 and all others 0. `weights`
 * may be `logits`. */
double rt_exponentials(const float *logits, uint32_t count, float largest, double temperature,
                       float *weights);

/* The sum of all blocks of RT_BLOCK values from the first on, one after the other. A block is
 * summed in binary64: 16 lanes, of which the second half is added to the first until one is left.
 */
double rt_sum(const float *values, uint32_t count);

/* The first index at which the sum of the values up to it exceeds `goal`, the blocks before it
 * being summed as by rt_sum() and the block's own values one by one; passes over values <= 0. When
 * no sum does, because of rounding, the last index with a positive value; 0 when there is none. */
uint32_t rt_find_sum(const float *values, uint32_t count, double goal);

/* Subtracts weights * scale from `values`, leaves 0 where that would be negative, and returns the
 * sum of what is left: 8 lanes, then the lanes in pairs. */
double rt_subtract(double *values, const float *weights, uint32_t count, double scale);

#endif
