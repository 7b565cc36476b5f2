/* What this machine can do at best: reading memory, multiplying in registers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_MACHINE_H
#define TANDEM_TESTS_BENCH_MACHINE_H

#include "runtime/pool.h"

#include <sys/types.h>

double bench_seconds(void); /* of a monotonic clock */

/* Ways of reading, all tried, the fastest counts. */
typedef struct bench_read_way {
    uint32_t streams;  /* 1 or 4, equal parts read side by side */
    uint32_t prefetch; /* bytes ahead; 0: none */
} bench_read_way;

#define BENCH_READ_WAYS 4
extern const bench_read_way bench_read_ways[BENCH_READ_WAYS];

/* Reads all of [data, data + bytes), shared out in equal parts among `threads` threads; what was
 * read is folded into the result, which means nothing. */
uint64_t bench_read(const bench_read_way *way, const unsigned char *data, uint64_t bytes,
                    rt_pool *pool, uint32_t threads);

typedef enum bench_peak {
    BENCH_PEAK_F32, /* fused multiply-adds of f32 */
    BENCH_PEAK_I8,  /* products of bytes in 32-bit dot products */
    BENCH_PEAK_COUNT
} bench_peak;

/* Multiplications that one call of bench_run_peak makes; 0: this processor has no such instruction
 * or this file knows none for it. */
double bench_peak_multiplications(bench_peak peak);
/* Runs that many in registers only (some ten milliseconds); the result means nothing. */
float bench_run_peak(bench_peak peak);

/* A process that computes without end on processor 1. -1: none could be started. */
pid_t bench_start_neighbour(void);
void bench_stop_neighbour(pid_t neighbour);

#endif
