/* The parameters of the learned orderer: one flat array of floats, and where what lies in it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_MODEL_H
#define TANDEM_SCHED_TOPOFORMER_MODEL_H

#include "sched/topoformer/views.h"

#define TOPO_HEAD     8                        /* dimensions of a head; one head per view */
#define TOPO_HEADS    (TOPO_VIEWS * TOPO_HEAD) /* dimensions of all heads */
#define TOPO_FEATURES 64                       /* of a unit, unused ones are 0 */
#define TOPO_OUTPUTS  8                        /* of a unit, see sched/topoformer/rank.h */
#define TOPO_LAYERS   4                        /* at most */

typedef struct topo_shape {
    uint32_t width, hidden; /* multiples of 8, at most 256 and 1024 */
    uint32_t layers;        /* 1 to TOPO_LAYERS */
} topo_shape;

/* Offsets into the parameters. Matrices are [inputs][outputs]; biases follow their matrix. */
typedef struct topo_layer_layout {
    size_t norm1, qkv, mix, norm2, rise, fall;
} topo_layer_layout;

typedef struct topo_layout {
    size_t input, norm, output, skip, count;
    topo_layer_layout layers[TOPO_LAYERS];
} topo_layout;

topo_layout topo_layout_of(const topo_shape *shape);

typedef struct topo_model {
    topo_shape shape;
    topo_layout layout;
    float *parameters; /* [layout.count] */
} topo_model;

/* Random weights (Glorot), zero outputs: a beam ranked by a new model is a plain one. */
td_status topo_model_make(td_context *context, const topo_shape *shape, uint64_t seed,
                          topo_model *model);
void topo_model_release(td_context *context, topo_model *model);

/* A model in a file: "TOPO", version, shape, count, then the parameters as IEEE half precision
 * (little-endian throughout). TD_INVALID names what does not fit. */
td_status topo_model_read(td_context *context, const char *path, topo_model *model);
td_status topo_model_parse(td_context *context, const char *name, const unsigned char *data,
                           size_t size, topo_model *model);
td_status topo_model_write(td_context *context, const char *path, const topo_model *model);

#endif
