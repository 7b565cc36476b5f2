/* Interleaved measurements: every round runs every case once, from another starting point, so that
 * slow phases of the machine hit all cases alike.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_MEASURE_H
#define TANDEM_TESTS_BENCH_MEASURE_H

#include "tests/bench/machine.h"
#include "tests/bench/model.h"

#define BENCH_MAX_VARIANTS 2
#define BENCH_MAX_THREADS  2
#define BENCH_MAX_ROUNDS   16
#define BENCH_MAX_CASES    96

typedef enum bench_work {
    BENCH_PASS,          /* size: tokens, with the logits of all */
    BENCH_WHOLE_PREFILL, /* size: 0 */
    BENCH_READ,          /* size: number of the way; the weights of a whole pass */
    BENCH_PEAK,          /* size: which */
    BENCH_NEIGHBOUR,     /* a pass while a neighbour computes; size: tokens */
} bench_work;

typedef struct bench_key {
    bench_work work;
    uint32_t variant; /* index into the models */
    bench_part part;
    uint32_t threads, size;
} bench_key;

typedef struct bench_case {
    bench_key key;
    uint32_t rounds, count; /* wanted, done */
    double seconds[BENCH_MAX_ROUNDS];
} bench_case;

/* Models with equal weights that differ in how they compute, measured in one run. */
typedef struct bench_group {
    bench_model models[BENCH_MAX_VARIANTS];
    uint32_t model_count;
    bench_case cases[BENCH_MAX_CASES];
    size_t case_count;
    rt_pool *pool;
    bool processor_time;      /* cases with one thread count the time on a processor only */
    double elapsed, computed; /* seconds of cases with one thread: by the clock, on a processor */
} bench_group;

/* False when there are too many. */
bool bench_add_case(bench_group *group, bench_key key, uint32_t rounds);
/* Runs all cases but (or only) those with a neighbour, as often as each wants, after one round that
 * does not count. */
void bench_run_cases(bench_group *group, bool neighbour);

/* Seconds of a case: fraction 0 is the fastest run, 0.5 the median, 1 the slowest. 0: there is no
 * such case. */
double bench_quantile(const bench_group *group, bench_key key, double fraction);

#endif
