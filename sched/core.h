/* The core of a scheduling problem: live memory as a function of what has been executed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Let D be the set of executed nodes, closed under inputs. A *group* is a buffer: a node's own and
 * all views of it. It is alive in D when its node is in D and it is persistent or one of its
 * *users* (nodes that read a member) is not. live(D) is the sum of the sizes of the groups alive in
 * D; running v from D costs live(D) + need(v | D) + workspace(v), where need is v's own size, less
 * what it takes over in place. Searches rest on two properties:
 *
 *   (S) live is submodular: live(D + v) - live(D) never grows with D, because groups that die at v
 *       in D also do in every larger set;
 *   (N) need(v | D) never grows with D.
 *
 * Where every output that may be taken over has exactly the size of what takes it over (always so
 * in graphs from the IR) the core is `exact`: it agrees with sched_trace for every order. Else a
 * taken buffer may be larger than what lies in it, and which one depends on the order; then the
 * core counts natural sizes and is a lower bound of sched_trace for every order.
 *
 * Nodes are grouped in *units*, runs of nodes that are executed without a break; at first each node
 * is a unit (sched/reduce.c makes larger ones). Nodes are numbered in a topological order. */
#ifndef TANDEM_SCHED_CORE_H
#define TANDEM_SCHED_CORE_H

#include "sched/problem.h"

#define SCHED_NONE UINT32_MAX

/* items[first[i] .. first[i + 1]) belong to i. */
typedef struct sched_lists {
    uint32_t *first, *items;
} sched_lists;

#define sched_for_each(item, lists, i)                                                             \
    for (const uint32_t *item = (lists)->items + (lists)->first[i],                                \
                        *item##_end = (lists)->items + (lists)->first[(i) + 1];                    \
         item < item##_end; item++)

static inline uint32_t sched_list_length(const sched_lists *lists, uint32_t i)
{
    return lists->first[i + 1] - lists->first[i];
}

typedef struct sched_core {
    td_context *context;
    uint32_t count, group_count;
    uint64_t base; /* alive before the first step */
    bool exact;
    uint32_t *origin;            /* by node: its number where the core was made from */
    uint64_t *bytes, *kept;      /* by node: its own buffer; what of it stays after the step */
    uint64_t *workspace;         /* by node */
    sched_lists inputs, readers; /* by node: nodes */
    sched_lists reads;           /* by node: groups that can die here */
    bool *takes;                 /* beside reads.items: may this one be taken over? */
    uint64_t *size;              /* by group */
    sched_lists users;           /* by group: nodes, ascending */
    uint32_t *own;               /* by node: the group that it makes, if one that can die */

    uint32_t unit_count;
    uint32_t *unit_of;         /* by node */
    sched_lists members;       /* by unit: nodes in order of execution */
    sched_lists before, after; /* by unit: units */
} sched_core;

static inline const uint32_t *sched_first_member(const sched_core *core, uint32_t unit)
{
    return core->members.items + core->members.first[unit];
}

static inline const uint32_t *sched_last_member(const sched_core *core, uint32_t unit)
{
    return core->members.items + core->members.first[unit + 1] - 1;
}

/* Makes the core of a problem; linear in the graph. Every node is a unit. */
td_status sched_core_make(const sched_problem *problem, sched_core *core);
void sched_core_release(sched_core *core);

/* The core of a stretch of an order: `units` (an order of all units), of which those in [begin,
 * end) become a problem of their own. origin is the number of a node in `core`; units keep their
 * members, and unit i of the part is units[begin + i]. Linear in the graph. */
td_status sched_core_part(const sched_core *core, const uint32_t *units, uint32_t begin,
                          uint32_t end, sched_core *part);

/* Recomputes unit_of, before and after from members; `extra` holds further pairs (before, after) of
 * units. */
td_status sched_core_link_units(sched_core *core, const sched_edge *extra, size_t extra_count);

/* Adds to before and after; no pair may be there or close a cycle. */
td_status sched_core_add_precedence(sched_core *core, const sched_edge *pairs, size_t pair_count);

/* The arrays by node, for core->count nodes; own is all SCHED_NONE. */
td_status sched_core_allocate_nodes(sched_core *core);

/* Makes lists from pairs (from: owner, to: item), in the order of the pairs. */
td_status sched_lists_make(td_context *context, uint32_t owners, const sched_edge *pairs,
                           size_t pair_count, sched_lists *lists);
void sched_lists_release(td_context *context, sched_lists *lists);

/* Runs a node: what is alive during it; *live is what is alive before, then after it; left[g] is
 * how many users of group g have not run. */
uint64_t sched_core_run(const sched_core *core, uint32_t node, uint32_t *left, uint64_t *live);

/* The profile of an order of units: cost[i], the largest live memory during unit i, and the largest
 * of all. `left` is scratch for group_count counters; cost may be NULL. */
uint64_t sched_core_profile(const sched_core *core, const uint32_t *units, uint32_t *left,
                            uint64_t *cost);

/* Replaces units by their members, and those by their origin. */
void sched_core_expand(const sched_core *core, const uint32_t *units, uint32_t *order);

/* An order of units that follows `order` (of origins), each unit at its last member's place. For
 * cores made from a problem only. */
td_status sched_core_adopt(const sched_core *core, const uint32_t *order, uint32_t *units);

#endif
