/* Improving an order of units by beams over all of them, plain and by learned ranks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_CLIMB_H
#define TANDEM_SCHED_CLIMB_H

#include "sched/improve.h"
#include "sched/topoformer/rank.h"

/* Learned ranks of the units of `part`: `units` are their numbers in `whole`, the reduced core of
 * the problem. They are those of the whole; buffers that come from before the part have none. When
 * the whole has more than TOPO_MOST_UNITS units or the effort is spent, *ranks stays empty. */
td_status sched_learn_ranks(const sched_problem *problem, const sched_core *whole,
                            const sched_core *part, const uint32_t *units, sched_effort *effort,
                            topo_ranks *ranks);

/* Beams of up to `width` both ways, each for an order below the peak so far: sets that reach it
 * take no room. `ranks` NULL: plain ones; else narrower ones by learned ranks, none when those are
 * empty. *chosen becomes the orderer of the last that found an order; it never gets worse. */
td_status sched_climb(sched_improved *self, const topo_ranks *ranks, uint32_t width, uint64_t seed,
                      sched_effort *effort, const char **chosen);

#endif
