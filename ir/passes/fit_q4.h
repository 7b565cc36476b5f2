/* Four bits with a zero point: choosing scale and zero point of groups of weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_FIT_Q4_H
#define TANDEM_IR_PASSES_FIT_Q4_H

#include <stddef.h>
#include <stdint.h>

#define IR_Q4_GROUP 32

/* A number w is stored as code c, 0 to 15, and means (c - zero) * scale. */
typedef struct ir_q4_fit {
    uint16_t scale; /* f16, finite, not negative */
    uint8_t zero;   /* 0 to 15 */
} ir_q4_fit;

/* The fits of `groups` groups of IR_Q4_GROUP finite weights: a small squared error, never a larger
 * one than that of scale (most - least) / 15. The fit of a group depends on its weights only, and
 * is the same on every machine. About 0.3 us per group with 512-bit registers,
 * 0.5 us with 256-bit ones. */
void ir_fit_q4(const float *weights, size_t groups, ir_q4_fit *fits);

/* The nearest codes under a fit, one per byte. */
void ir_encode_q4(const float *weights, ir_q4_fit fit, uint8_t *codes);

#endif
