/* Exact search for offsets within a capacity: depth first over place and postpone
 * (sched/arena_state.h), with the reasons of dead ends.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A dead end leaves a clause. On the way back a step that the clause does not need is skipped: its
 * other case would fail for the same reason (backjumping). Where both cases of a step fail, their
 * clauses make one for the state before it. Items of clauses gain weight, and the search starts
 * again after a number of nodes that grows slowly, with the weightiest items first: what conflicts
 * most is placed first. A clause for the empty placement proves that nothing fits. */
#include "sched/arena_state.h"

#include "base/clock.h"

#include <stdlib.h>

/* Nodes of the first run, beside two for each item, and the growth from run to run. */
#define FIRST_NODES 1000
#define GROWTH      1.05
/* What remains of weights from run to run: what conflicted lately counts more. */
#define WEIGHT_KEPT 0.95

/* A step of the placement under construction. */
typedef struct frame {
    uint32_t item;
    bool postponed;
    size_t trail, literals; /* what there was before */
} frame;

struct arena_search {
    arena_part *part;
    arena_state state;
    TD_ARRAY(frame) frames;
    TD_ARRAY(arena_literal) literals; /* of the clauses of items that did not fit where they lay */
    double *weight;                   /* by item: how often it was in a clause */
    int64_t *most_live;               /* by item: the largest sum of sizes where it is alive */
};

bool arena_effort_spent(const arena_effort *effort)
{
    return effort->work >= effort->work_limit ||
           (effort->deadline > 0 && td_seconds() >= effort->deadline);
}

void arena_search_release(arena_search *search)
{
    if (search == NULL)
        return;
    td_context *context = search->part->context;
    arena_state_release(&search->state);
    td_array_release(context, &search->frames);
    td_array_release(context, &search->literals);
    td_release(context, search->weight);
    td_release(context, search->most_live);
    td_release(context, search);
}

arena_search *arena_search_make(arena_part *part)
{
    arena_search *search = td_allocate(part->context, sizeof *search);
    const size_t room = part->item_count + (size_t)1;
    if (search == NULL)
        return NULL;
    search->part = part;
    search->weight = td_allocate(part->context, room * sizeof *search->weight);
    search->most_live = td_allocate(part->context, room * sizeof *search->most_live);
    if (!arena_state_make(part, &search->state) || search->weight == NULL ||
        search->most_live == NULL) {
        arena_search_release(search);
        return NULL;
    }
    for (uint32_t i = 0; i < part->item_count; i++)
        for (uint32_t s = part->items[i].first; s < part->items[i].end; s++)
            if (part->live[s] > search->most_live[i])
                search->most_live[i] = part->live[s];
    return search;
}

/* --- the order of turns --- */

/* What decides the turns of items with equal heads. */
typedef struct turn {
    double weight, area;
    int64_t most_live;
    uint32_t item;
} turn;

static int compare_turns(const void *left, const void *right)
{
    const turn *a = left, *b = right;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    if (a->most_live != b->most_live)
        return a->most_live > b->most_live ? -1 : 1;
    if (a->area != b->area)
        return a->area > b->area ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static td_status take_turns(arena_search *search)
{
    const arena_part *part = search->part;
    turn *turns = td_allocate(part->context, (part->item_count + (size_t)1) * sizeof *turns);
    if (turns == NULL)
        return td_fail_memory(part->context);
    for (uint32_t i = 0; i < part->item_count; i++) {
        const arena_item *item = &part->items[i];
        const double length = (double)item->upper - (double)item->lower;
        turns[i] = (turn){search->weight[i], length * (double)item->size, search->most_live[i], i};
    }
    qsort(turns, part->item_count, sizeof *turns, compare_turns);
    for (uint32_t r = 0; r < part->item_count; r++)
        search->state.by_rank[r] = turns[r].item;
    td_release(part->context, turns);
    return TD_OK;
}

/* --- clauses on the way back --- */

/* Whether the clause needs what the undone step did: whether it asks for more than the heads. */
static bool clause_needs_step(const arena_state *state)
{
    const arena_clause *clause = &state->conflict;
    for (uint32_t k = 0; k < clause->count; k++)
        if (clause->from[clause->items[k]] > state->head[clause->items[k]])
            return true;
    return false;
}

/* The clause of an item placed at its head, for that item lying there: those that meet it lie above
 * it once they cannot lie below. Kept for when the other case has failed, too. */
static bool keep_placed_clause(arena_search *search, uint32_t placed)
{
    arena_state *state = &search->state;
    const arena_clause *clause = &state->conflict;
    const arena_item *items = search->part->items;
    const int64_t offset = state->head[placed], end = offset + items[placed].size;
    if (!td_array_reserve(search->part->context, &search->literals,
                          search->literals.count + clause->count))
        return false;
    for (uint32_t k = 0; k < clause->count; k++) {
        const uint32_t item = clause->items[k];
        int64_t from = clause->from[item];
        if (arena_meet(&items[item], &items[placed]) &&
            from <= arena_align(end, items[item].alignment) && from > offset - items[item].size + 1)
            from = offset - items[item].size + 1;
        search->literals.items[search->literals.count++] =
            (arena_literal){item, from > 0 ? from : 0};
    }
    return true;
}

/* The clause of the state before `item` took a place, from those of both cases. */
static void join_clauses(arena_search *search, uint32_t item, size_t first_literal)
{
    arena_state *state = &search->state;
    arena_clause *clause = &state->conflict;
    const arena_item *items = search->part->items;
    const int64_t alignment = items[item].alignment;
    /* Postponed, it lies at `postponed` or above, because what meets it ends above `below`. */
    const int64_t postponed = clause->from[item];
    const int64_t below = (postponed - 1) / alignment * alignment;
    clause->from[item] = state->head[item];
    for (size_t k = first_literal; k < search->literals.count; k++)
        arena_clause_add(clause, search->literals.items[k].item, search->literals.items[k].from);
    for (uint32_t k = 0; k < clause->count; k++) {
        const uint32_t other = clause->items[k];
        if (other != item && arena_meet(&items[other], &items[item]))
            arena_clause_add(clause, other, below + 1 - items[other].size);
    }
}

static void add_weight(arena_search *search)
{
    const arena_clause *clause = &search->state.conflict;
    for (uint32_t k = 0; k < clause->count; k++)
        search->weight[clause->items[k]] += 1.0 / clause->count;
    search->state.work += clause->count;
}

/* Goes back to the last step whose other case is to be tried, and tries it, until that is no dead
 * end. False: there is none left. */
static td_status back_up(arena_search *search, bool *left)
{
    arena_state *state = &search->state;
    add_weight(search);
    while (search->frames.count > 0) {
        frame *last = &search->frames.items[search->frames.count - 1];
        arena_state_undo(state, last->trail);
        state->work += state->conflict.count;
        if (!last->postponed && clause_needs_step(state)) {
            if (!keep_placed_clause(search, last->item))
                return td_fail_memory(search->part->context);
            last->postponed = true;
            if (arena_state_postpone(state, last->item)) {
                *left = true;
                return TD_OK;
            }
            add_weight(search);
            continue;
        }
        if (last->postponed && state->conflict.holds[last->item] &&
            state->conflict.from[last->item] > state->head[last->item])
            join_clauses(search, last->item, last->literals);
        search->literals.count = last->literals;
        search->frames.count--;
    }
    *left = false;
    return TD_OK;
}

/* --- runs --- */

/* Room for one more step. */
static bool make_room(arena_search *search)
{
    return arena_state_room(&search->state) &&
           td_array_reserve(search->part->context, &search->frames, search->frames.count + 1);
}

static void keep_offsets(arena_search *search)
{
    arena_part *part = search->part;
    int64_t height = 0;
    for (uint32_t i = 0; i < part->item_count; i++)
        if (search->state.offset[i] + part->items[i].size > height)
            height = search->state.offset[i] + part->items[i].size;
    part->height = height;
    for (uint32_t i = 0; i < part->item_count; i++)
        part->items[i].offset = search->state.offset[i];
}

/* Whether a run's effort is spent; the clock is looked at now and then. */
static bool run_spent(const arena_effort *effort, uint64_t work, uint64_t node)
{
    return work >= effort->work_limit - effort->work ||
           (effort->deadline > 0 && node % 512 == 511 && td_seconds() >= effort->deadline);
}

/* One run from the empty placement, ended after that many nodes. */
static td_status run_once(arena_search *search, int64_t capacity, double nodes,
                          const arena_effort *effort, arena_verdict *verdict)
{
    arena_state *state = &search->state;
    search->frames.count = 0;
    search->literals.count = 0;
    *verdict = ARENA_IMPOSSIBLE;
    if (!arena_state_start(state, capacity))
        return TD_OK;
    for (uint64_t node = 0; (double)node < nodes; node++) {
        const uint32_t item = arena_state_next(state);
        if (item == UINT32_MAX) {
            keep_offsets(search);
            *verdict = ARENA_FOUND;
            return TD_OK;
        }
        if (run_spent(effort, state->work, node))
            break;
        if (!make_room(search))
            return td_fail_memory(search->part->context);
        search->frames.items[search->frames.count++] =
            (frame){.item = item, .trail = state->trail.count, .literals = search->literals.count};
        if (arena_state_place(state, item))
            continue;
        bool left = false;
        TD_TRY(back_up(search, &left));
        if (!left)
            return TD_OK;
    }
    *verdict = ARENA_OPEN;
    return TD_OK;
}

td_status arena_search_run(arena_search *search, int64_t capacity, arena_effort *effort,
                           arena_verdict *verdict)
{
    const uint32_t count = search->part->item_count;
    double nodes = FIRST_NODES + 2.0 * count;
    *verdict = ARENA_OPEN;
    for (; *verdict == ARENA_OPEN && !arena_effort_spent(effort); nodes *= GROWTH) {
        TD_TRY(take_turns(search));
        search->state.work = 0;
        TD_TRY(run_once(search, capacity, nodes, effort, verdict));
        effort->work += search->state.work;
        for (uint32_t i = 0; i < count; i++)
            search->weight[i] *= WEIGHT_KEPT;
    }
    return TD_OK;
}
