/* How much a search may still do. Work is counted in steps of the algorithms, so that a limit in
 * work gives the same result on every machine; a deadline does not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_EFFORT_H
#define TANDEM_SCHED_EFFORT_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct sched_effort {
    uint64_t work;   /* steps left; UINT64_MAX: no limit */
    double deadline; /* of td_seconds; 0: none */
    bool spent;
} sched_effort;

/* Takes `steps`; true when nothing is left. */
static inline bool sched_spend(sched_effort *effort, uint64_t steps)
{
    if (effort->work != UINT64_MAX)
        effort->work -= steps < effort->work ? steps : effort->work;
    if (effort->work == 0 || (effort->deadline > 0 && td_seconds() > effort->deadline))
        effort->spent = true;
    return effort->spent;
}

#endif
