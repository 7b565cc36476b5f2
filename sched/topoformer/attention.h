/* Attention of one head inside one view, and its gradient.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * out_i = sum_j softmax_j(q_i . k_j / sqrt(8)) v_j over the j of row i of the view, 0 where the row
 * is empty. Exponents are cut at +-20, which takes the place of a maximum found beforehand. */
#ifndef TANDEM_SCHED_TOPOFORMER_ATTENTION_H
#define TANDEM_SCHED_TOPOFORMER_ATTENTION_H

#include "sched/topoformer/model.h"

/* Floats of keys or values in blocks of eight units. */
static inline size_t topo_blocked(uint32_t count)
{
    return ((count + (size_t)7) / 8) * 8 * TOPO_HEAD;
}

typedef struct topo_attention {
    const topo_views *views;
    topo_view view;
    const float *qkv;     /* [count][3 * TOPO_HEADS]: queries, keys, values of all heads */
    float *out;           /* [count][TOPO_HEADS] */
    float *sums;          /* [count]: of exponentials */
    float *keys, *values; /* scratch, topo_blocked(count) each */
} topo_attention;

void topo_attend(const topo_attention *self);

/* Adds to d_qkv (shaped like qkv) what d_out (like out) means for it; after topo_attend with the
 * same qkv. d_keys, d_values: scratch like keys. */
void topo_attend_back(const topo_attention *self, const float *d_out, float *d_qkv, float *d_keys,
                      float *d_values);

#endif
