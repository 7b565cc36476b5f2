/* How good a model's ranks are, on graphs that training never sees.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_VALIDATE_H
#define TANDEM_SCHED_TOPOFORMER_VALIDATE_H

#include "sched/topoformer/rank.h"

#include <stdio.h>

/* Widths of beams that are compared: learned at each, plain at each and at four times each. */
#define TOPO_CHECKS 3

typedef struct topo_checked {
    td_context context;
    td_status status;
    sched_problem problem;
    topo_graph graph;
    uint64_t plain[2][TOPO_CHECKS + 1], learned[2][TOPO_CHECKS]; /* peaks by direction */
} topo_checked;

typedef struct topo_validation {
    td_context *context;
    topo_checked *graphs;
    uint32_t count;
} topo_validation;

/* Layered graphs of a fixed seed, with the peaks of plain beams. */
td_status topo_validation_make(td_context *context, uint32_t nodes, uint32_t count,
                               uint32_t threads, topo_validation *validation);
void topo_validation_release(topo_validation *validation);

/* Writes a line: mean peak above the best known of learned and plain beams. */
td_status topo_validate(topo_validation *validation, const topo_model *model, uint32_t threads,
                        FILE *log);

#endif
