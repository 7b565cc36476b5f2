/* Four bits with a zero point: choosing scale and zero point of a group of weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_FIT_Q4_H
#define TANDEM_IR_PASSES_FIT_Q4_H

#include <stdint.h>

#define IR_Q4_GROUP 32

/* A number w is stored as code c, 0 to 15, and means (c - zero) * scale. */
typedef struct ir_q4_fit {
    uint16_t scale; /* f16, finite, not negative */
    uint8_t zero;   /* 0 to 15 */
} ir_q4_fit;

/* The fit of IR_Q4_GROUP finite weights with a small squared error; the same on every machine. */
ir_q4_fit ir_fit_q4(const float *weights);

/* The nearest codes under a fit, one per byte. */
void ir_encode_q4(const float *weights, ir_q4_fit fit, uint8_t *codes);

#endif
