/* Random numbers that are functions of a key: nothing is carried from one draw to the next, so
 * neither threads nor the order of work change a draw.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_NOISE_H
#define TANDEM_RUNTIME_NOISE_H

#include <stdint.h>

/* What a draw is for. */
typedef enum rt_purpose {
    RT_DRAW_CHILD,  /* which token the next child is */
    RT_DRAW_TIME,   /* how long until the next child (stochastic beam search) */
    RT_DRAW_ACCEPT, /* whether a child is kept */
    RT_DRAW_TOKEN   /* the token that ends a round */
} rt_purpose;

/* The draws of one round. */
typedef struct rt_dice {
    uint64_t seed, session, round;
} rt_dice;

/* Uniform in (0, 1), with 53 bits: a multiple of 2^-53, or 2^-54. `level` is the depth of the node
 * at which the draw happens, `index` tells apart the draws of one level and purpose. */
double rt_uniform(const rt_dice *dice, uint32_t level, rt_purpose purpose, uint32_t index);

/* Exponentially distributed with mean 1: -log of such a number. */
double rt_exponential(const rt_dice *dice, uint32_t level, rt_purpose purpose, uint32_t index);

#endif
