/* How much a search may still do. Work is counted in steps of the algorithms, so that a limit in
 * work gives the same result on every machine; a deadline does not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_EFFORT_H
#define TANDEM_SCHED_EFFORT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct sched_effort {
    uint64_t work;   /* steps left; UINT64_MAX: no limit */
    double deadline; /* in seconds of the monotonic clock; 0: none */
    bool spent;
} sched_effort;

static inline double sched_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Takes `steps`; true when nothing is left. */
static inline bool sched_spend(sched_effort *effort, uint64_t steps)
{
    if (effort->work != UINT64_MAX)
        effort->work -= steps < effort->work ? steps : effort->work;
    if (effort->work == 0 || (effort->deadline > 0 && sched_now() > effort->deadline))
        effort->spent = true;
    return effort->spent;
}

#endif
