/* Search over sets of executed units, level by level: level k holds sets of k units. With all sets
 * kept it is exact dynamic programming; with `width` of each level, a beam.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_SEARCH_H
#define TANDEM_SCHED_SEARCH_H

#include "sched/core.h"
#include "sched/effort.h"

/* Told of every set that is kept, level by level and best first within a level; for the training
 * of learned ranks. */
typedef struct sched_watch {
    void (*see)(void *self, uint32_t depth, const uint64_t *marks, double rank);
    void *self;
} sched_watch;

#define SCHED_MOST_LEVEL_BYTES (UINT64_C(1) << 29)

typedef struct sched_search {
    bool backward;    /* from the last unit to the first */
    uint32_t width;   /* sets kept of each level */
    bool all_or_none; /* for a proof: end as soon as a set would have to be dropped, or the sets of
                         a level take more than SCHED_MOST_LEVEL_BYTES */
    uint64_t bound;   /* only orders that need at most this much; UINT64_MAX: any */
    uint64_t floor;   /* peaks up to here are equally good: nobody can, or need, do better */
    bool peak_first;  /* rank sets by their peak so far, then by live memory; else reversed */
    uint64_t seed;    /* 0: ties fall as in the file; else at random */
    const int64_t *potentials; /* by unit, or NULL: bytes that a set ranks worse for holding it;
                                  they change what a beam keeps, never what is right */
    const int64_t *weights;    /* by group, or NULL: bytes that it ranks as more than its size */
    const sched_watch *watch;  /* or NULL */
} sched_search;

typedef struct sched_outcome {
    bool found;    /* units holds an order of at most `bound` */
    bool complete; /* nothing was cut off: without `found` no such order exists; with it, no order
                      has a smaller peak than max(peak, floor) */
    uint64_t peak, states;
} sched_outcome;

/* Memory: width * units * 8 bytes to remember the way, and two levels of sets. When the effort is
 * spent the search ends with neither found nor complete. */
td_status sched_search_run(const sched_core *core, const sched_search *search, sched_effort *effort,
                           uint32_t *units, sched_outcome *outcome);

#endif
