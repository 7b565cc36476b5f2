/* Lower bounds of the least peak.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_BOUND_H
#define TANDEM_SCHED_BOUND_H

#include "sched/core.h"
#include "sched/effort.h"

/* The largest over all nodes of the least live memory while the node runs, each a minimum cut
 * (sched/cut.h): raises *bound to it, or as far as the effort goes. `units` is an order of them;
 * the better it is, the fewer nodes are looked at. */
td_status sched_bound_by_cuts(const sched_core *core, const uint32_t *units, sched_effort *effort,
                              uint64_t *bound);

#endif
