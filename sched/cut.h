/* The least live memory while a node runs, by minimum cuts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When node v runs, the set D of what has been executed is closed under precedence, holds all that
 * v waits for and nothing that waits for v. What is live then is submodular in D (core.h), so the
 * least over all such D is a minimum cut (Picard and Queyranne 1976): a network has a variable for
 * each node, on the source's side when it is in D, and one for each group. Other units than v's may
 * be in D in part, which can only lower the least. */
#ifndef TANDEM_SCHED_CUT_H
#define TANDEM_SCHED_CUT_H

#include "sched/core.h"
#include "sched/effort.h"

/* Which side of the cut a variable must be on. */
typedef enum sched_side { SCHED_FREE, SCHED_SOURCE, SCHED_SINK } sched_side;

/* The network of a core. Variables: nodes, then groups, then the source and the sink themselves. */
typedef struct sched_network {
    const sched_core *core;
    uint32_t variable_count, arc_count;
    uint32_t *first;        /* by variable: its arcs are first[i] .. first[i + 1] */
    uint32_t *head, *twin;  /* by arc: where it leads, and the arc back */
    uint64_t *capacity;     /* by arc */
    uint64_t constant;      /* what no cut avoids, modulo 2^64 */
    sched_side *side;       /* by variable */
    bool *held;             /* by variable: on the source's side of the least cut */
    uint64_t *room, *saved; /* by arc: left in the flow at hand, and in that of the least cut */
    uint32_t *level, *next; /* by variable: distance from the start, the next arc to try */
    uint32_t *queue, *path; /* scratch: variables, arcs */
    uint32_t *moved;        /* nodes and groups that sched_network_allows moved, */
    uint32_t moved_count;   /* and how many */
    bool *touched;          /* by variable: it is among the moved, or the flow there changed */
} sched_network;

/* Linear in the core. */
td_status sched_network_make(const sched_core *core, sched_network *network);
void sched_network_release(sched_network *network);

/* The least over all D of live(D) + need(node | D) + workspace(node), or a bound of it where
 * several inputs compete to be taken over. False when the effort is spent before. A maximum flow by
 * Dinic's algorithm. */
bool sched_network_least(sched_network *network, uint32_t node, sched_effort *effort,
                         uint64_t *least);

/* After sched_network_least: whether some D of at most `slack` more has `node` on the given side,
 * to which the least D does not put it. Then `moved` lists variables that such a D has on that
 * side, others than the least one; what is not listed stays where it was. False, too, when the
 * effort is spent. Works near the node only. */
bool sched_network_allows(sched_network *network, uint32_t node, sched_side side, uint64_t slack,
                          sched_effort *effort);

/* Whether a node is in the D of the last least. */
static inline bool sched_network_holds(const sched_network *network, uint32_t node)
{
    return network->held[node];
}

#endif
