/* Four bits with a zero point: choosing scale and zero point of groups of weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The range of a group, widened to hold 0, fixes a plain scale (range / 15) and zero point. That is
 * rarely the best: cutting off the outermost weights makes the steps of all others smaller, and the
 * neighbouring zero points place the range better. So a grid of both is tried. For every try the
 * codes are the nearest ones, and the scale best for those codes, sum(w d) / sum(d d) with
 * d = code - zero, tells how good it is. From the best try on, codes and scale are refitted to each
 * other a few times. Scales as they are stored, in f16, then decide between that and the plain fit.
 *
 * LANES groups are fitted side by side, one per lane of every loop; no sum crosses lanes, and there
 * is no fused multiply-add, so the result depends neither on the machine nor on the neighbours. */
#include "ir/passes/fit_q4.h"

#include "ir/half.h"

#include <math.h>
#include <string.h>

#define LANES        16
#define LARGEST_CODE 15.0f
#define F16_LARGEST  65504.0f

/* The grid: scales of the plain one times WIDEST, WIDEST - NARROWER, ..., and zero points up to
 * FARTHEST_ZERO from the plain one. */
#define STEPS         20
#define WIDEST        1.04f
#define NARROWER      0.02f
#define FARTHEST_ZERO 1
#define REFITS        3

/* The loops are compiled once more for machines with wider registers, with the same results. (The
 * functions that choose among clones run before a sanitizer is ready.) */
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__SANITIZE_THREAD__)
#define FOR_SEVERAL_MACHINES                                                                       \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_SEVERAL_MACHINES
#endif

/* Weight i of LANES groups side by side. */
typedef float group_block[IR_Q4_GROUP][LANES];

typedef struct fit_block {
    float scale[LANES], zero[LANES];
    float gain[LANES]; /* by how much the squared error lies below that of all zeros */
} fit_block;

/* What remains of a weight in steps, to the nearest integer from `lowest` to `lowest` + 15. Adding
 * and taking away 1.5 * 2^23 rounds a small number to the nearest integer, ties to even. */
static inline float nearest(float weight, float inverse, float lowest)
{
    const float steps = weight * inverse, most = lowest + LARGEST_CODE;
    const float above = steps > lowest ? steps : lowest;
    const float within = above < most ? above : most;
    return (within + 0x1.8p23f) - 0x1.8p23f;
}

/* sum(w d) and sum(d d) for the nearest codes, where d runs from -zero to 15 - zero. */
FOR_SEVERAL_MACHINES
static void correlate(group_block weights, const float *inverse, const float *zero, float *product,
                      float *square)
{
    float products[LANES] = {0}, squares[LANES] = {0};
    for (int i = 0; i < IR_Q4_GROUP; i++)
        for (int lane = 0; lane < LANES; lane++) {
            const float d = nearest(weights[i][lane], inverse[lane], -zero[lane]);
            products[lane] += weights[i][lane] * d;
            squares[lane] += d * d;
        }
    memcpy(product, products, sizeof products);
    memcpy(square, squares, sizeof squares);
}

/* 1 / scale, or 0 (all codes mean 0) where that is no number to compute with. */
static inline float invert(float scale)
{
    const float inverse = 1.0f / scale;
    return inverse < INFINITY ? inverse : 0.0f;
}

/* Keeps in `best`, per lane, the better of itself and of a scale with its zero point. */
FOR_SEVERAL_MACHINES
static void keep_better(const float *scale, const float *zero, const float *gain, fit_block *best)
{
    for (int lane = 0; lane < LANES; lane++) {
        const int better = gain[lane] > best->gain[lane];
        best->gain[lane] = better ? gain[lane] : best->gain[lane];
        best->scale[lane] = better ? scale[lane] : best->scale[lane];
        best->zero[lane] = better ? zero[lane] : best->zero[lane];
    }
}

/* Codes nearest under a scale, then the scale best for these codes: refitted[] (0: none is) and
 * its gain. */
FOR_SEVERAL_MACHINES
static void refit(group_block weights, const float *scale, const float *zero, float *refitted,
                  float *gain)
{
    float inverse[LANES], product[LANES], square[LANES];
    for (int lane = 0; lane < LANES; lane++)
        inverse[lane] = invert(scale[lane]);
    correlate(weights, inverse, zero, product, square);
    for (int lane = 0; lane < LANES; lane++) {
        const float quotient = product[lane] / square[lane];
        refitted[lane] = product[lane] > 0.0f ? quotient : 0.0f;
        gain[lane] = refitted[lane] * product[lane];
    }
}

/* The scale as it is stored decides: gain is 2 scale sum(w d) - scale^2 sum(d d). */
static void keep_better_stored(group_block weights, const float *scale, const float *zero,
                               fit_block *best)
{
    float stored[LANES], inverse[LANES], product[LANES], square[LANES], gain[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        stored[lane] = scale[lane] < F16_LARGEST ? scale[lane] : F16_LARGEST;
        stored[lane] = ir_f16_to_f32(ir_f32_to_f16(stored[lane]));
        inverse[lane] = invert(stored[lane]);
    }
    correlate(weights, inverse, zero, product, square);
    for (int lane = 0; lane < LANES; lane++)
        gain[lane] = stored[lane] * (2.0f * product[lane] - stored[lane] * square[lane]);
    keep_better(stored, zero, gain, best);
}

/* The scale that spreads 15 steps over each group's range, and its zero point. */
static void fit_plainly(group_block weights, float *scale, float *zero)
{
    float least[LANES] = {0}, most[LANES] = {0};
    for (int i = 0; i < IR_Q4_GROUP; i++)
        for (int lane = 0; lane < LANES; lane++) {
            const float weight = weights[i][lane];
            least[lane] = weight < least[lane] ? weight : least[lane];
            most[lane] = weight > most[lane] ? weight : most[lane];
        }
    for (int lane = 0; lane < LANES; lane++) {
        scale[lane] = most[lane] / LARGEST_CODE - least[lane] / LARGEST_CODE;
        zero[lane] = scale[lane] > 0.0f ? rintf(-least[lane] / scale[lane]) : 0.0f;
    }
}

static void search(group_block weights, const float *scale, const float *plain_zero,
                   fit_block *best)
{
    for (int offset = -FARTHEST_ZERO; offset <= FARTHEST_ZERO; offset++) {
        float zero[LANES], tried[LANES], refitted[LANES], gain[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            const float moved = plain_zero[lane] + (float)offset;
            const float above = moved > 0.0f ? moved : 0.0f;
            zero[lane] = above < LARGEST_CODE ? above : LARGEST_CODE;
        }
        for (int step = 0; step < STEPS; step++) {
            const float factor = WIDEST - NARROWER * (float)step;
            for (int lane = 0; lane < LANES; lane++)
                tried[lane] = scale[lane] * factor;
            refit(weights, tried, zero, refitted, gain);
            keep_better(refitted, zero, gain, best);
        }
    }
}

static void fit_groups(group_block weights, fit_block *best)
{
    float scale[LANES], zero[LANES], gain[LANES];
    fit_block found = {0};
    fit_plainly(weights, scale, zero);
    keep_better_stored(weights, scale, zero, best);
    search(weights, scale, zero, &found);
    for (int i = 0; i < REFITS; i++)
        refit(weights, found.scale, found.zero, found.scale, gain);
    keep_better_stored(weights, found.scale, found.zero, best);
}

void ir_fit_q4(const float *weights, size_t groups, ir_q4_fit *fits)
{
    for (size_t first = 0; first < groups; first += LANES) {
        const size_t count = groups - first < LANES ? groups - first : LANES;
        group_block block = {0};
        fit_block best = {0};
        for (size_t lane = 0; lane < count; lane++)
            for (size_t i = 0; i < IR_Q4_GROUP; i++)
                block[i][lane] = weights[(first + lane) * IR_Q4_GROUP + i];
        fit_groups(block, &best);
        for (size_t lane = 0; lane < count; lane++)
            fits[first + lane] =
                (ir_q4_fit){ir_f32_to_f16(best.scale[lane]), (uint8_t)best.zero[lane]};
    }
}

void ir_encode_q4(const float *weights, ir_q4_fit fit, uint8_t *codes)
{
    const float zero = (float)fit.zero, inverse = invert(ir_f16_to_f32(fit.scale));
    for (int i = 0; i < IR_Q4_GROUP; i++)
        codes[i] = (uint8_t)(nearest(weights[i], inverse, -zero) + zero);
}
