/* The state of a training, so that it can go on where it stopped.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_CHECKPOINT_H
#define TANDEM_SCHED_TOPOFORMER_CHECKPOINT_H

#include "sched/topoformer/model.h"

/* The optimiser's: running means of gradients and of their squares. */
typedef struct topo_adam {
    uint32_t step;
    float *mean, *power;  /* [layout.count] */
    topo_model *averaged; /* the running mean of parameters: what is validated and kept */
} topo_adam;

/* "TOPC", shape, step, then parameters, means, powers and averages as floats of this machine. */
td_status topo_checkpoint_write(td_context *context, const char *path, const topo_model *model,
                                const topo_adam *adam);

/* Leaves everything as it is when there is no such file; TD_INVALID when it is of another shape. */
td_status topo_checkpoint_read(td_context *context, const char *path, topo_model *model,
                               topo_adam *adam);

#endif
