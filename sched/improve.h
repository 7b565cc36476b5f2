/* Improving an order of units by searches in stretches of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_IMPROVE_H
#define TANDEM_SCHED_IMPROVE_H

#include "sched/core.h"
#include "sched/effort.h"

/* An order of the units of a core, and what is known of the least peak. */
typedef struct sched_improved {
    const sched_core *core;
    uint32_t *units;      /* the best order so far; unit_count of them */
    uint64_t peak, bound; /* of that order; no order is below */
    bool is_stuck;        /* the last sched_improve_locally found nothing */
} sched_improved;

/* Lowers self->peak by exchanging ever longer stretches around the step that needs most for
 * better ones, each found by a beam of `width` in both directions, until none helps or the effort
 * is spent. The order never gets worse. */
td_status sched_improve_locally(sched_improved *self, uint32_t width, uint64_t seed,
                                sched_effort *effort);

#endif
