/* A placement being built from below, and what follows from it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An item that waits for its place has a head: the lowest offset that it can still have. A
 * placement in which nothing can move down is enough to look for; there an item lies at 0, or on an
 * item that is alive with it. So for a waiting item that meets none with a lower head there are two
 * cases:
 *
 *   place     it lies at its head; those that meet it lie above it, for none fits below;
 *   postpone  it lies on an item that waits as well, hence not below the lowest end among those
 *             that meet it.
 *
 * Both raise heads. Where the items that wait in a section do not fit between the lowest of their
 * heads and the capacity, the state is a dead end. The reason is kept as a clause: offsets `from`
 * such that these items cannot all lie at or above theirs. A clause speaks of the problem and not
 * of the way to it. (Placements without gaps and bounds by section: Moffitt, MiniMalloc, ASPLOS
 * 2023; the two cases: Le Pape et al., schedule or postpone, 1994.) */
#ifndef TANDEM_SCHED_ARENA_STATE_H
#define TANDEM_SCHED_ARENA_STATE_H

#include "sched/arena.h"

#define ARENA_PLACED INT64_MAX /* the head of an item that has its place */

typedef struct arena_literal {
    uint32_t item;
    int64_t from;
} arena_literal;

/* Items that cannot all lie at from[item] or above. */
typedef struct arena_clause {
    uint32_t *items;
    uint32_t count;
    bool *holds; /* by item: whether it is among them */
    int64_t *from;
} arena_clause;

typedef struct arena_change {
    uint32_t item;
    bool placed; /* else its head was raised */
    int64_t head;
} arena_change;

typedef struct arena_state {
    const arena_part *part;
    int64_t capacity;
    /* By item. */
    int64_t *head, *offset;
    int64_t *ceiling;         /* the highest offset that is allowed */
    uint32_t *rank, *by_rank; /* the order in which items take their turns */
    /* By section: what waits there. */
    int64_t *waiting;
    uint32_t *waiting_count;
    uint32_t *witness; /* an item whose head left room for all that waits, when last looked at */
    TD_ARRAY(arena_change) trail;
    arena_clause conflict; /* why the last call failed */
    uint64_t work;         /* buffers looked at */
} arena_state;

/* All arrays of a linked part; false: no memory. */
bool arena_state_make(const arena_part *part, arena_state *state);
void arena_state_release(arena_state *state);

/* Nothing placed; by_rank is the order of turns. False: the capacity is too small at first sight.
 */
bool arena_state_start(arena_state *state, int64_t capacity);

/* The item to decide on, or UINT32_MAX when all are placed: from the first by rank down to a lower
 * head among those that meet it, until there is none. */
uint32_t arena_state_next(arena_state *state);

/* False: a dead end, and `conflict` says why. The trail has room for arena_state_room more changes.
 */
bool arena_state_place(arena_state *state, uint32_t item);
bool arena_state_postpone(arena_state *state, uint32_t item);
bool arena_state_room(arena_state *state);
void arena_state_undo(arena_state *state, size_t trail_count);

/* Adds that an item lies at `from` or above; what the clause says of it already may say more. */
void arena_clause_add(arena_clause *clause, uint32_t item, int64_t from);

#endif
