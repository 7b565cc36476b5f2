/* Precedence that every order of at most a given peak has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_FIX_H
#define TANDEM_SCHED_FIX_H

#include "sched/core.h"
#include "sched/effort.h"

typedef struct sched_fixed {
    bool impossible; /* no order needs at most the peak */
    uint32_t pairs;  /* how many pairs of units were added */
} sched_fixed;

/* Adds to the core's precedence what all orders of at most `peak` have in common, as far as minimum
 * cuts (sched/cut.h) tell and the effort goes. Nodes must be numbered in a topological order, and
 * where that order needs most is looked at. */
td_status sched_fix(sched_core *core, uint64_t peak, sched_effort *effort, sched_fixed *fixed);

#endif
