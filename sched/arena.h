/* Offsets for buffers with known lifetimes: what the files of the arena planner share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Time is cut into sections: a section is a largest set of buffers that are alive together, in
 * order of time, and a buffer is alive in a range of them. Two buffers may not share addresses when
 * their ranges meet. Where no buffer crosses from one section into the next, the problem falls into
 * parts, which have nothing to do with each other. */
#ifndef TANDEM_SCHED_ARENA_H
#define TANDEM_SCHED_ARENA_H

#include "sched/sched.h"

/* A buffer that needs room. Sizes and offsets are in bytes, below ARENA_LIMIT. */
typedef struct arena_item {
    int64_t size; /* rounded up to the arena's alignment */
    int64_t alignment;
    int64_t fixed;  /* its offset, or -1 */
    int64_t offset; /* the best that is known */
    int64_t lower, upper;
    uint32_t first, end; /* sections [first, end), counted from those of its part */
    size_t buffer;       /* the caller's number */
} arena_item;

#define ARENA_LIMIT (INT64_MAX / 4)

typedef struct arena_part {
    td_context *context;
    arena_item *items; /* in order of their first sections */
    uint32_t item_count, section_count;
    int64_t *live;  /* by section: the sum of sizes */
    int64_t unit;   /* divides all sizes, alignments and fixed offsets */
    int64_t bound;  /* no placement is lower */
    int64_t height; /* of the items' offsets */
    /* Who is alive in section s: members[first_member[s] .. first_member[s + 1]); whose lifetime
     * meets that of item i: overlaps[first_overlap[i] .. first_overlap[i + 1]). NULL until linked.
     */
    uint32_t *members, *first_member;
    uint32_t *overlaps, *first_overlap;
} arena_part;

typedef struct arena_problem {
    td_context *context;
    arena_item *items;
    int64_t *live;
    arena_part *parts;
    size_t part_count;
} arena_problem;

/* Sections, parts and bounds of the buffers that need room. n log n. */
td_status arena_problem_make(td_context *context, const sched_buffer *buffers, size_t count,
                             uint64_t alignment, arena_problem *problem);
void arena_problem_release(arena_problem *problem);

/* Parts, live peak and bound, as far as they are known; the rest is 0. */
sched_arena_report arena_problem_report(const arena_problem *problem);

/* Fills in members and overlaps, unless there are more than some millions of pairs: then a part is
 * too large for a search. */
td_status arena_part_link(arena_part *part);

static inline bool arena_meet(const arena_item *a, const arena_item *b)
{
    return a->first < b->end && b->first < a->end;
}

static inline int64_t arena_align(int64_t offset, int64_t alignment)
{
    const int64_t over = alignment == 1 ? 0 : offset % alignment;
    return over == 0 ? offset : offset + alignment - over;
}

/* --- quick heuristics: they set offsets and height where they find a lower height --- */

/* First fit in order of time; memory and time as if the buffers were allocated and freed one after
 * the other. */
td_status arena_sweep(arena_part *part);

/* First and best fit in several orders, until the height is at most `goal` or the work too much.
 * Quadratic at worst: for parts of at most ARENA_MOST_GREEDY items. */
#define ARENA_MOST_GREEDY 20000
td_status arena_greedy(arena_part *part, int64_t goal);

/* --- search --- */

typedef struct arena_effort {
    uint64_t work, work_limit; /* steps taken so far, and allowed */
    double deadline;           /* of td_seconds; 0: none */
} arena_effort;

bool arena_effort_spent(const arena_effort *effort);

/* A search keeps what it has learnt about a part from one capacity to the next. */
typedef struct arena_search arena_search;

typedef enum arena_verdict {
    ARENA_FOUND,      /* the items have offsets within the capacity */
    ARENA_IMPOSSIBLE, /* proved: nothing fits the capacity */
    ARENA_OPEN,       /* the effort is spent */
} arena_verdict;

/* Of a linked part; NULL: no memory. */
arena_search *arena_search_make(arena_part *part);
void arena_search_release(arena_search *search);

/* Looks for offsets below `capacity` until the effort is spent. */
td_status arena_search_run(arena_search *search, int64_t capacity, arena_effort *effort,
                           arena_verdict *verdict);

#endif
