/* What is done to logits before a token is drawn, to the target's and the drafter's alike.
 *
 * SPDX-License-Identifier: MIT
 *
 * In this order, which is that of the transformers library: repetition penalty, temperature, top-k,
 * top-p, min-p. Each looks at what the ones before it left. At temperature 0 only the penalty
 * counts. */
#ifndef TANDEM_RUNTIME_WARP_H
#define TANDEM_RUNTIME_WARP_H

#include "runtime/sample.h"
#include "runtime/tree.h"

/* All zero: greedy decoding. */
typedef struct rt_warp {
    double temperature;         /* 0: the largest logit, ties to the lowest id */
    uint32_t top_k;             /* keeps the k most probable ids, ties to the lowest; 0: all */
    double top_p;               /* keeps the most probable ids until they have so much of the mass;
                                   0 or 1: all */
    double min_p;               /* keeps ids with at least this part of the largest probability */
    double repetition_penalty;  /* logits of ids seen before are divided by it, or multiplied where
                                   negative; 0 or 1: not */
    uint32_t repetition_window; /* how many of the last tokens are looked at; 0: all */
} rt_warp;

/* The tokens before the one to be drawn: committed text, which ends with the tree's root, then the
 * path from there to a node. */
typedef struct rt_past {
    const int32_t *text;
    uint32_t length;
    const rt_tree *tree;
    uint32_t node;
} rt_past;

/* Applies the penalty to logits where they stand. `spare` has room for as many floats. */
void rt_penalise(const rt_warp *warp, const rt_past *past, const rt_row *logits, float *spare);

/* Temperature (> 0), top-k, top-p, min-p: the distribution, in `weights` (which may be the logits
 * themselves). Ids from `limit` on get nothing. Cost: a few passes over the row, no sorting. */
rt_weights rt_distribution(const rt_warp *warp, const rt_row *logits, uint32_t limit,
                           float *weights);

#endif
