/* The encoder: features of units to numbers that rank, in one pass over the graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     h = x W_in + b                               x: features
 *     h = h + concat_v(attend_v(LN(h))) W_mix + b  v: the seven views, a head of 8 in each
 *     h = h + ReLU(LN(h) W_rise + b) W_fall + b    these two for each layer
 *     outputs = LN(h) W_out + b + x W_skip + b
 *
 * Pre-norm as in Zhang et al., "Robust scheduling with GFlowNets" (ICLR 2023), eq. 26-28. */
#ifndef TANDEM_SCHED_TOPOFORMER_ENCODER_H
#define TANDEM_SCHED_TOPOFORMER_ENCODER_H

#include "sched/topoformer/model.h"

/* What a layer computed, by rows of units. */
typedef struct topo_layer_pass {
    float *hat1, *inverse1, *normed1, *qkv, *attended, *sums;
    float *hat2, *inverse2, *normed2, *risen;
} topo_layer_pass;

/* One pass over one graph; all that its gradient needs is kept. */
typedef struct topo_pass {
    td_context *context;
    const topo_model *model;
    const topo_views *views;
    const float *features; /* [count][TOPO_FEATURES] */
    float *outputs;        /* [count][TOPO_OUTPUTS] */
    float *stream;         /* [count][width] */
    float *hat, *inverse, *normed;
    float *blocks[4]; /* scratch of attention; of the gradient, too */
    topo_layer_pass layers[TOPO_LAYERS];
    float *memory; /* owns all of these */
} topo_pass;

/* Encodes. About 0.3 million multiplications for each unit, and 30 for each pair of units and
 * layer. */
td_status topo_encode(const topo_model *model, const topo_views *views, const float *features,
                      td_context *context, topo_pass *pass);
void topo_pass_release(topo_pass *pass);

/* Adds to gradient[layout.count] that of a loss whose slope by output is d_outputs. */
td_status topo_encode_back(topo_pass *pass, const float *d_outputs, float *gradient);

#endif
