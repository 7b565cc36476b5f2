/* How good a model's ranks are, on graphs that training never sees.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_VALIDATE_H
#define TANDEM_SCHED_TOPOFORMER_VALIDATE_H

#include "sched/topoformer/rank.h"

#include <stdio.h>

#define TOPO_CHECKS 3 /* widths of beams: learned at each, plain at four times each */
#define TOPO_SIZES  3 /* numbers of nodes */

typedef struct topo_checked {
    td_context context;
    td_status status;
    uint64_t seed;
    uint32_t nodes;
    sched_problem problem;
    topo_graph graph;
    uint64_t plain[2][TOPO_CHECKS], learned[2][TOPO_CHECKS]; /* peaks by direction */
} topo_checked;

typedef struct topo_validation {
    td_context *context;
    topo_checked *graphs;
    uint32_t count;
    uint32_t first[TOPO_SIZES + 1]; /* of the graphs of a size, which lie together */
} topo_validation;

/* Layered graphs of fixed seeds, with the peaks of plain beams: `count` of `nodes` nodes, half as
 * many of twice as many nodes, and half of these again. */
td_status topo_validation_make(td_context *context, uint32_t nodes, uint32_t count,
                               uint32_t threads, topo_validation *validation);
void topo_validation_release(topo_validation *validation);

/* Writes, for each size and direction, the mean peaks above the best known of learned ladders and
 * plain beams. */
td_status topo_validate(topo_validation *validation, const topo_model *model, uint32_t threads,
                        FILE *log);

#endif
