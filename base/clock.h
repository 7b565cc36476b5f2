/* The clock that searches and reports measure time with.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_BASE_CLOCK_H
#define TANDEM_BASE_CLOCK_H

#include <time.h>

/* Seconds since some moment before the program began; only goes forward. */
static inline double td_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
