/* From an order of units to a proof that none is better, or to a better one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_PROVE_H
#define TANDEM_SCHED_PROVE_H

#include "sched/improve.h"

/* What is kept from one attempt to the next; zero at first. */
typedef struct sched_proof {
    sched_core narrow; /* the core with precedence that all better orders have */
    bool begun;
} sched_proof;

/* How much an attempt may take. */
typedef struct sched_attempt {
    uint32_t width; /* of beams; narrowing takes its share of steps by it */
    bool without_beams;
    uint32_t most; /* sets of a level in searches that drop none; needing more, they give up */
    uint64_t steps;
} sched_attempt;

/* Raises order->bound by cuts, narrows the choice by what every order below order->peak has in
 * common, and searches what is left, both ways: all of it, then by beams. A better order replaces
 * order->units; where there is none, order->bound becomes the peak. When that remains open, the
 * same is asked of peaks between, but not without beams. Attempts may be repeated with more. */
td_status sched_prove(sched_proof *self, sched_improved *order, const sched_attempt *attempt,
                      sched_effort *effort);
void sched_proof_release(sched_proof *self);

#endif
