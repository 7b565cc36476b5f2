/* Four bits with a zero point: choosing scale and zero point of a group of weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The range of a group, widened to hold 0, fixes a first scale (range / 15) and the zero point.
 * That is rarely the best: cutting off the outermost weights makes the steps of all others smaller.
 * So ranges shrunk in steps are tried. For every try, twice: the codes are the nearest ones, and
 * the scale becomes the best for those codes, sum(w d) / sum(d d) with d = code - zero. The try
 * with the smallest squared error wins, the first one on a tie. Sums run in sixteen lanes of
 * binary32, so that the result does not depend on the machine. */
#include "ir/passes/fit_q4.h"

#include "ir/numerics.h"

#define LARGEST_CODE 15.0f
#define SHRINK_STEPS 10
#define SHRINK_STEP  0.03f
#define F16_LARGEST  65504.0f

/* The loops over a group are compiled twice, once for machines with wider registers. Without fused
 * multiply-add in the source both give the same bits. */
#if defined(__x86_64__) && defined(__linux__)
#define FOR_SEVERAL_MACHINES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define FOR_SEVERAL_MACHINES
#endif

/* Codes less zero point of the nearest codes, as floats. */
static inline float nearest(float weight, float inverse, float zero)
{
    const float code = rintf(weight * inverse) + zero;
    const float above = code < 0.0f ? 0.0f : code;
    return (above > LARGEST_CODE ? LARGEST_CODE : above) - zero;
}

/* sum(w d) and sum(d d) for the nearest codes. */
FOR_SEVERAL_MACHINES
static void correlate(const float *weights, float inverse, float zero, float *product,
                      float *square)
{
    float products[IR_ROW_LANES] = {0}, squares[IR_ROW_LANES] = {0};
    for (int first = 0; first < IR_Q4_GROUP; first += IR_ROW_LANES)
        for (int lane = 0; lane < IR_ROW_LANES; lane++) {
            const float d = nearest(weights[first + lane], inverse, zero);
            products[lane] += weights[first + lane] * d;
            squares[lane] += d * d;
        }
    *product = ir_fold_lanes(products);
    *square = ir_fold_lanes(squares);
}

static float clamp(float number, float lowest, float largest)
{
    return number < lowest ? lowest : number > largest ? largest : number;
}

/* Keeps the better of the fit so far and of the one with this step and zero point. `gain` is by how
 * much the squared error lies below that of all zeros: 2 scale sum(w d) - scale^2 sum(d d). */
static void try_fit(const float *weights, float step, float zero, ir_q4_fit *best, float *gain)
{
    float product, square;
    correlate(weights, 1.0f / step, zero, &product, &square);
    if (!(product > 0.0f))
        return;
    correlate(weights, square / product, zero, &product, &square);
    if (!(product > 0.0f))
        return;
    const uint16_t stored = ir_f32_to_f16(clamp(product / square, 0.0f, F16_LARGEST));
    const float scale = ir_f16_to_f32(stored);
    const float gained = scale * (2.0f * product - scale * square);
    if (gained > *gain) {
        *gain = gained;
        *best = (ir_q4_fit){stored, (uint8_t)zero};
    }
}

ir_q4_fit ir_fit_q4(const float *weights)
{
    float least = 0.0f, most = 0.0f;
    for (int i = 0; i < IR_Q4_GROUP; i++) {
        least = weights[i] < least ? weights[i] : least;
        most = weights[i] > most ? weights[i] : most;
    }
    ir_q4_fit best = {0, 0};
    float gain = 0.0f;
    for (int i = 0; i < SHRINK_STEPS; i++) {
        const float step = (most - least) / LARGEST_CODE * (1.0f - SHRINK_STEP * (float)i);
        if (!(1.0f / step < INFINITY))
            break; /* all zero, or too small for f16 by far */
        const float middle = rintf(-least / (most - least) * LARGEST_CODE);
        try_fit(weights, step, middle, &best, &gain);
    }
    return best;
}

void ir_encode_q4(const float *weights, ir_q4_fit fit, uint8_t *codes)
{
    const float scale = ir_f16_to_f32(fit.scale), zero = (float)fit.zero;
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < IR_Q4_GROUP; i++)
        codes[i] = (uint8_t)(nearest(weights[i], inverse, zero) + zero);
}
