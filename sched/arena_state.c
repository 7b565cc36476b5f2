/* A placement being built from below, and what follows from it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/arena_state.h"

#include <string.h>

/* --- clauses --- */

static void clear_clause(arena_clause *clause)
{
    for (uint32_t k = 0; k < clause->count; k++)
        clause->holds[clause->items[k]] = false;
    clause->count = 0;
}

void arena_clause_add(arena_clause *clause, uint32_t item, int64_t from)
{
    if (from < 0)
        from = 0;
    if (!clause->holds[item]) {
        clause->holds[item] = true;
        clause->items[clause->count++] = item;
        clause->from[item] = from;
    } else if (from > clause->from[item]) {
        clause->from[item] = from;
    }
}

/* --- states --- */

bool arena_state_make(const arena_part *part, arena_state *state)
{
    td_context *context = part->context;
    const size_t items = part->item_count + (size_t)1, sections = part->section_count + (size_t)1;
    *state = (arena_state){.part = part};
    state->head = td_allocate(context, items * sizeof *state->head);
    state->offset = td_allocate(context, items * sizeof *state->offset);
    state->ceiling = td_allocate(context, items * sizeof *state->ceiling);
    state->rank = td_allocate(context, items * sizeof *state->rank);
    state->by_rank = td_allocate(context, items * sizeof *state->by_rank);
    state->waiting = td_allocate(context, sections * sizeof *state->waiting);
    state->waiting_count = td_allocate(context, sections * sizeof *state->waiting_count);
    state->witness = td_allocate(context, sections * sizeof *state->witness);
    state->conflict.items = td_allocate(context, items * sizeof *state->conflict.items);
    state->conflict.holds = td_allocate(context, items * sizeof *state->conflict.holds);
    state->conflict.from = td_allocate(context, items * sizeof *state->conflict.from);
    return state->head != NULL && state->offset != NULL && state->ceiling != NULL &&
           state->rank != NULL && state->by_rank != NULL && state->waiting != NULL &&
           state->waiting_count != NULL && state->witness != NULL &&
           state->conflict.items != NULL && state->conflict.holds != NULL &&
           state->conflict.from != NULL;
}

void arena_state_release(arena_state *state)
{
    td_context *context = state->part->context;
    td_release(context, state->head);
    td_release(context, state->offset);
    td_release(context, state->ceiling);
    td_release(context, state->rank);
    td_release(context, state->by_rank);
    td_release(context, state->waiting);
    td_release(context, state->waiting_count);
    td_release(context, state->witness);
    td_release(context, state->conflict.items);
    td_release(context, state->conflict.holds);
    td_release(context, state->conflict.from);
    td_array_release(context, &state->trail);
}

bool arena_state_room(arena_state *state)
{
    return td_array_reserve(state->part->context, &state->trail,
                            state->trail.count + state->part->item_count + 1);
}

static void record(arena_state *state, uint32_t item, bool placed)
{
    state->trail.items[state->trail.count++] =
        (arena_change){.item = item, .placed = placed, .head = state->head[item]};
}

/* --- dead ends --- */

/* Alone, the item cannot lie above its ceiling. */
static bool fail_item(arena_state *state, uint32_t item)
{
    clear_clause(&state->conflict);
    arena_clause_add(&state->conflict, item, state->ceiling[item] + 1);
    return false;
}

/* The items that wait in a section fill it from any height above `capacity` less their sum. */
static bool fail_section(arena_state *state, uint32_t section)
{
    const arena_part *part = state->part;
    const int64_t from = state->capacity - state->waiting[section] + 1;
    state->work += part->first_member[section + 1] - part->first_member[section];
    clear_clause(&state->conflict);
    for (uint32_t k = part->first_member[section]; k < part->first_member[section + 1]; k++)
        if (state->head[part->members[k]] != ARENA_PLACED)
            arena_clause_add(&state->conflict, part->members[k], from);
    return false;
}

/* Whether what waits in a section fits above the lowest of its heads: whether some head leaves room
 * enough. The last that did is looked at first. */
static bool section_fits(arena_state *state, uint32_t section)
{
    const arena_part *part = state->part;
    const int64_t *head = state->head;
    const int64_t highest = state->capacity - state->waiting[section];
    if (state->waiting_count[section] == 0 || head[state->witness[section]] <= highest)
        return true;
    for (uint32_t k = part->first_member[section]; k < part->first_member[section + 1]; k++) {
        if (head[part->members[k]] > highest)
            continue;
        state->witness[section] = part->members[k];
        state->work += k - part->first_member[section];
        return true;
    }
    return false;
}

static bool check_sections(arena_state *state, uint32_t first, uint32_t end)
{
    state->work += end - first;
    for (uint32_t s = first; s < end; s++)
        if (!section_fits(state, s))
            return fail_section(state, s);
    return true;
}

/* --- steps --- */

bool arena_state_start(arena_state *state, int64_t capacity)
{
    const arena_part *part = state->part;
    state->capacity = capacity;
    state->trail.count = 0;
    memset(state->waiting, 0, part->section_count * sizeof *state->waiting);
    memset(state->waiting_count, 0, part->section_count * sizeof *state->waiting_count);
    for (uint32_t r = 0; r < part->item_count; r++)
        state->rank[state->by_rank[r]] = r;
    for (uint32_t s = 0; s < part->section_count; s++)
        state->witness[s] = part->members[part->first_member[s]];
    bool fits = true;
    for (uint32_t i = 0; i < part->item_count; i++) {
        const arena_item *item = &part->items[i];
        state->ceiling[i] = item->fixed >= 0 ? item->fixed : capacity - item->size;
        state->head[i] = item->fixed >= 0 ? item->fixed : 0;
        fits = fits && state->head[i] + item->size <= capacity;
        for (uint32_t s = item->first; s < item->end; s++) {
            state->waiting[s] += item->size;
            state->waiting_count[s]++;
        }
    }
    return fits && check_sections(state, 0, part->section_count);
}

/* The item with the lowest head among those that meet `item`, if that is below the item's own. */
static uint32_t lower_neighbour(const arena_state *state, uint32_t item)
{
    const arena_part *part = state->part;
    const int64_t *head = state->head;
    uint32_t best = item;
    for (uint32_t k = part->first_overlap[item]; k < part->first_overlap[item + 1]; k++) {
        const uint32_t other = part->overlaps[k];
        if (head[other] < head[best] ||
            (head[other] == head[best] && best != item && state->rank[other] < state->rank[best]))
            best = other;
    }
    return best;
}

uint32_t arena_state_next(arena_state *state)
{
    const arena_part *part = state->part;
    uint32_t rank = 0, item, lower;
    while (rank < part->item_count && state->head[state->by_rank[rank]] == ARENA_PLACED)
        rank++;
    state->work += rank / 4; /* cheaper than the other looks */
    if (rank == part->item_count)
        return UINT32_MAX;
    for (item = state->by_rank[rank];; item = lower) {
        lower = lower_neighbour(state, item);
        state->work += part->first_overlap[item + 1] - part->first_overlap[item];
        if (lower == item)
            return item;
    }
}

bool arena_state_place(arena_state *state, uint32_t item)
{
    const arena_part *part = state->part;
    const arena_item *items = part->items;
    const int64_t end = state->head[item] + items[item].size;
    uint32_t first = items[item].first, last = items[item].end;
    state->offset[item] = state->head[item];
    record(state, item, true);
    state->head[item] = ARENA_PLACED;
    for (uint32_t s = first; s < last; s++) {
        state->waiting[s] -= items[item].size;
        state->waiting_count[s]--;
    }
    uint32_t stuck = UINT32_MAX;
    state->work += part->first_overlap[item + 1] - part->first_overlap[item];
    for (uint32_t k = part->first_overlap[item]; k < part->first_overlap[item + 1]; k++) {
        const uint32_t other = part->overlaps[k];
        if (state->head[other] >= end)
            continue;
        record(state, other, false);
        state->head[other] = arena_align(end, items[other].alignment);
        first = items[other].first < first ? items[other].first : first;
        last = items[other].end > last ? items[other].end : last;
        if (state->head[other] > state->ceiling[other])
            stuck = other;
    }
    return stuck == UINT32_MAX ? check_sections(state, first, last) : fail_item(state, stuck);
}

bool arena_state_postpone(arena_state *state, uint32_t item)
{
    const arena_part *part = state->part;
    int64_t lowest = INT64_MAX;
    state->work += part->first_overlap[item + 1] - part->first_overlap[item];
    for (uint32_t k = part->first_overlap[item]; k < part->first_overlap[item + 1]; k++) {
        const uint32_t other = part->overlaps[k];
        if (state->head[other] != ARENA_PLACED &&
            state->head[other] + part->items[other].size < lowest)
            lowest = state->head[other] + part->items[other].size;
    }
    if (lowest > state->ceiling[item])
        return fail_item(state, item);
    record(state, item, false);
    state->head[item] = arena_align(lowest, part->items[item].alignment);
    if (state->head[item] > state->ceiling[item])
        return fail_item(state, item);
    return check_sections(state, part->items[item].first, part->items[item].end);
}

void arena_state_undo(arena_state *state, size_t trail_count)
{
    const arena_item *items = state->part->items;
    while (state->trail.count > trail_count) {
        const arena_change change = state->trail.items[--state->trail.count];
        state->head[change.item] = change.head;
        if (!change.placed)
            continue;
        for (uint32_t s = items[change.item].first; s < items[change.item].end; s++) {
            state->waiting[s] += items[change.item].size;
            state->waiting_count[s]++;
        }
    }
}
