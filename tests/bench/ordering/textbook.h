/* Orderers as textbooks and compilers have them, written apart from sched/: what auto is measured
 * against, and an oracle for tests (no peak of theirs is below a proved bound). No reductions, no
 * free moves, no bounds; nothing of sched/ is used but the problem.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_ORDERING_TEXTBOOK_H
#define TANDEM_TESTS_BENCH_ORDERING_TEXTBOOK_H

#include "sched/sched.h"

typedef struct textbook_orderer textbook_orderer;
struct textbook_orderer {
    const char *name;
    td_status (*order)(const sched_problem *problem, const textbook_orderer *row, uint32_t width,
                       uint32_t *order);
    bool capped;            /* of depth first: sums over paths, as XLA caps them */
    bool backward, by_peak; /* of beams */
};

/* file; dfs and greedy as XLA's DFS and list schedulers (hlo_memory_scheduler.cc), dfs-plain
 * without XLA's caps; beam and beam-backward over sets of executed nodes, of which `width` of each
 * size are kept, ranked by live memory or by the peak so far. Ended by a row without a name.
 * TD_INVALID: the file's order is not topological. */
extern const textbook_orderer textbook_orderers[];

/* The row of a name, and the width of "NAME:WIDTH" (else 64); NULL when there is none. */
const textbook_orderer *textbook_find(const char *name, uint32_t *width);

/* The function of the beams, in textbook_beam.c. */
td_status textbook_beam(const sched_problem *problem, const textbook_orderer *row, uint32_t width,
                        uint32_t *order);

#endif
