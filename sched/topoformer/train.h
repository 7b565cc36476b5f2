/* Training of the orderer, data-parallel over threads and over the processes of a team.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A step takes a lesson from each graph of a batch, or lets REINFORCE judge samples of it, adds up
 * their gradients in the order of the graphs and takes a step of Adam (Kingma and Ba, ICLR 2015)
 * against the mean, cut to norm 1. Each graph depends on the seed and its number alone, so results
 * do not depend on the threads. The processes of a team take consecutive parts of a step's graphs:
 * N processes with a batch of B do, bit for bit, what one does with a batch of N B. */
#ifndef TANDEM_SCHED_TOPOFORMER_TRAIN_H
#define TANDEM_SCHED_TOPOFORMER_TRAIN_H

#include "sched/topoformer/rank.h"
#include "sched/topoformer/team.h"

#include <stdio.h>

typedef struct topo_training {
    topo_shape shape;
    uint64_t seed;
    uint32_t steps, batch, threads;   /* batch and threads are those of one process */
    uint32_t least_nodes, most_nodes; /* of layered graphs, drawn for each example */
    const uint32_t *widths;           /* of the narrow beams, taken in turn */
    size_t width_count;
    uint32_t factor; /* how much wider the teacher's beams are */
    double rate;     /* of Adam; falls to 3 % of it along a cosine */
    double decay;    /* of outputs: this times their mean square is added to each loss */
    const sched_problem *const *graphs; /* taken in turn for a share of the examples */
    size_t graph_count;
    double graph_share;        /* 0 to 1 */
    double policy_share;       /* 0 to 1: examples that are learned by REINFORCE, not by lessons */
    uint32_t samples;          /* of each of them, in each direction */
    double temperature;        /* of the samples */
    const char *checkpoint;    /* written at every validation, read at the start when it is there;
                                  NULL: none */
    uint32_t validate_every;   /* steps */
    uint32_t validation_count; /* layered graphs that training never sees */
    uint32_t validation_nodes;
    uint32_t until;        /* ends after this step as if the steps were done; 0: all */
    double time_limit;     /* seconds; 0: none. Ends early as if the steps were done */
    FILE *log;             /* progress */
    const topo_team *team; /* whose first process validates, logs, reads and writes the checkpoint;
                              NULL: this process is alone */
} topo_training;

/* Trains a model from scratch, or on from the checkpoint. All processes of the team are given the
 * same training; status, message and model are the same in all of them. */
td_status topo_train(td_context *context, const topo_training *training, topo_model *model);

#endif
