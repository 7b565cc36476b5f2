/* The loops of lanes.c for one width of registers; see each_width.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Lanes are numbered as if all of them were in one register, products and sums are not contracted,
 * and each value takes the same steps at every width: so the bits are the same too. */

#define FLOATS  (REGISTER_BYTES / 4u) /* of a register */
#define DOUBLES (REGISTER_BYTES / 8u)

typedef float LOOP(f32) __attribute__((vector_size(REGISTER_BYTES)));
typedef int32_t LOOP(i32) __attribute__((vector_size(REGISTER_BYTES)));
typedef double LOOP(f64) __attribute__((vector_size(REGISTER_BYTES)));
typedef int64_t LOOP(i64) __attribute__((vector_size(REGISTER_BYTES)));

INLINE LOOP(f32) LOOP(load)(const float *values)
{
    LOOP(f32) result;
    memcpy(&result, values, sizeof result);
    return result;
}

/* Floats as binary64. */
INLINE LOOP(f64) LOOP(load_double)(const float *values)
{
    LOOP(f64) result;
    for (uint32_t lane = 0; lane < DOUBLES; lane++)
        result[lane] = (double)values[lane];
    return result;
}

/* --- the largest --- */

INLINE LOOP(f32) LOOP(choose)(LOOP(i32) mask, LOOP(f32) yes, LOOP(f32) no)
{
    return (LOOP(f32))(((LOOP(i32))yes & mask) | ((LOOP(i32))no & ~mask));
}

/* Takes values into account: NaN is neither larger than the first nor larger than the second. */
INLINE void LOOP(rank_lanes)(LOOP(f32) next, LOOP(f32) * first, LOOP(f32) * second)
{
    const LOOP(i32) larger = next > *first;
    const LOOP(f32) smaller = LOOP(choose)(larger, *first, next);
    *first = LOOP(choose)(larger, next, *first);
    *second = LOOP(choose)(smaller > *second, smaller, *second);
}

/* The two largest of whole blocks, in COMPARISONS registers, so that no comparison waits for the
 * one before it. */
TARGET static void LOOP(rank)(const float *values, uint32_t count, rt_two_largest *result)
{
    LOOP(f32) first[COMPARISONS], second[COMPARISONS];
    for (uint32_t k = 0; k < COMPARISONS; k++)
        first[k] = second[k] = (LOOP(f32)){0} - INFINITY;
    for (uint32_t i = 0; i < count - count % RT_BLOCK; i += COMPARISONS * FLOATS)
        for (uint32_t k = 0; k < COMPARISONS; k++)
            LOOP(rank_lanes)(LOOP(load)(values + i + k * FLOATS), &first[k], &second[k]);
    for (uint32_t k = 0; k < COMPARISONS; k++)
        for (uint32_t lane = 0; lane < FLOATS; lane++) {
            rank_one(first[k][lane], result);
            rank_one(second[k][lane], result);
        }
}

/* The largest alone. */
TARGET static float LOOP(largest)(const float *values, uint32_t count)
{
    LOOP(f32) first[COMPARISONS];
    for (uint32_t k = 0; k < COMPARISONS; k++)
        first[k] = (LOOP(f32)){0} - INFINITY;
    for (uint32_t i = 0; i < count - count % RT_BLOCK; i += COMPARISONS * FLOATS)
        for (uint32_t k = 0; k < COMPARISONS; k++) {
            const LOOP(f32) next = LOOP(load)(values + i + k * FLOATS);
            first[k] = LOOP(choose)(next > first[k], next, first[k]);
        }
    for (uint32_t k = 1; k < COMPARISONS; k++)
        first[0] = LOOP(choose)(first[k] > first[0], first[k], first[0]);
    float largest = first[0][0];
    for (uint32_t lane = 1; lane < FLOATS; lane++)
        largest = first[0][lane] > largest ? first[0][lane] : largest;
    return largest;
}

/* --- exponentials --- */

/* `weights` may be `logits`: each is read before it is written. */
TARGET static void LOOP(exponentials)(const float *logits, uint32_t count, float largest,
                                      float scale, float *weights)
{
    INDEPENDENT
    for (uint32_t i = 0; i < count; i++)
        weights[i] = exponential((logits[i] - largest) * scale);
}

/* --- sums --- */

/* Adds up the lanes, the second half to the first until one is left. */
INLINE double LOOP(add_lanes)(LOOP(f64) * sums)
{
    for (uint32_t half = LANES / DOUBLES / 2; half > 0; half /= 2)
        for (uint32_t k = 0; k < half; k++)
            sums[k] += sums[k + half];
    double lanes[DOUBLES];
    memcpy(lanes, sums, sizeof lanes);
    for (uint32_t half = DOUBLES / 2; half > 0; half /= 2)
        for (uint32_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

/* Sum of RT_BLOCK values. */
INLINE double LOOP(sum_block)(const float *values)
{
    LOOP(f64) sums[LANES / DOUBLES];
    memset(sums, 0, sizeof sums);
    for (uint32_t i = 0; i < RT_BLOCK; i += LANES)
        for (uint32_t k = 0; k < LANES / DOUBLES; k++)
            sums[k] += LOOP(load_double)(values + i + k * DOUBLES);
    return LOOP(add_lanes)(sums);
}

/* Of whole blocks. */
TARGET static double LOOP(sum)(const float *values, uint32_t count)
{
    double sum = 0;
    for (uint32_t start = 0; start + RT_BLOCK <= count; start += RT_BLOCK)
        sum += LOOP(sum_block)(values + start);
    return sum;
}

/* Goes over whole blocks until their sum exceeds the goal. */
TARGET static void LOOP(search)(const float *values, uint32_t count, double goal, block_search *at)
{
    for (uint32_t start = 0; start + RT_BLOCK <= count && !(at->sum > goal); start += RT_BLOCK)
        enter_block(at, start, LOOP(sum_block)(values + start));
}

/* --- differences --- */

/* Of all whole sets of RUNS values; the sums of what is left are added to `runs`. */
TARGET static void LOOP(subtract)(double *values, const float *weights, uint32_t count,
                                  double scale, double *runs)
{
    LOOP(f64) sums[RUNS / DOUBLES];
    memcpy(sums, runs, sizeof sums);
    for (uint32_t i = 0; i + RUNS <= count; i += RUNS)
        for (uint32_t k = 0; k < RUNS / DOUBLES; k++) {
            LOOP(f64) rest;
            memcpy(&rest, values + i + k * DOUBLES, sizeof rest);
            rest -= LOOP(load_double)(weights + i + k * DOUBLES) * scale;
            const LOOP(i64) positive = rest > 0.0;
            rest = (LOOP(f64))((LOOP(i64))rest & positive);
            memcpy(values + i + k * DOUBLES, &rest, sizeof rest);
            sums[k] += rest;
        }
    memcpy(runs, sums, sizeof sums);
}

static const lane_loops LOOP(loops) = {
    LOOP(rank), LOOP(largest), LOOP(exponentials), LOOP(sum), LOOP(search), LOOP(subtract),
};

#undef FLOATS
#undef DOUBLES
