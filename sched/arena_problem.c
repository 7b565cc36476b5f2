/* Buffers with lifetimes, cut into sections of time and into parts that have nothing to do with
 * each other.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/arena.h"

#include <stdlib.h>
#include <string.h>

/* More pairs than this take too much memory, and too long, to be looked at one by one. */
#define MOST_PAIRS 24000000

/* A lifetime begins or ends. */
typedef struct event {
    int64_t time;
    uint32_t item;
    bool starts;
} event;

static int compare_events(const void *left, const void *right)
{
    const event *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (a->starts != b->starts)
        return a->starts ? 1 : -1; /* ends before starts: lifetimes are half-open */
    return a->item < b->item ? -1 : a->item > b->item;
}

/* --- reading the buffers --- */

static td_status read_buffer(td_context *context, const sched_buffer *buffer, size_t number,
                             uint64_t alignment, arena_item *item)
{
    const uint64_t own = buffer->alignment == 0 ? 1 : buffer->alignment;
    if (buffer->size > ARENA_LIMIT || own > ARENA_LIMIT ||
        (buffer->fixed && buffer->offset > ARENA_LIMIT))
        return td_fail(context, TD_INVALID,
                       "buffer %zu: size, alignment and fixed offset may be at most 2^61 bytes",
                       number);
    *item = (arena_item){.size = arena_align((int64_t)buffer->size, (int64_t)alignment),
                         .alignment = (int64_t)own,
                         .fixed = buffer->fixed ? (int64_t)buffer->offset : -1,
                         .lower = buffer->lower,
                         .upper = buffer->upper,
                         .buffer = number};
    /* Offsets are multiples of the arena's alignment as well as of the buffer's own. */
    if (alignment % own == 0)
        item->alignment = (int64_t)alignment;
    else if (own % alignment != 0)
        return td_fail(context, TD_INVALID,
                       "buffer %zu: its alignment %llu neither divides nor is a multiple of the "
                       "arena's alignment %llu",
                       number, (unsigned long long)own, (unsigned long long)alignment);
    if (item->fixed >= 0 && item->fixed % item->alignment != 0)
        return td_fail(context, TD_INVALID,
                       "buffer %zu: its fixed offset %lld is not a multiple of its alignment %lld",
                       number, (long long)item->fixed, (long long)item->alignment);
    return TD_OK;
}

/* The items that need room, in the caller's order. */
static td_status read_buffers(td_context *context, const sched_buffer *buffers, size_t count,
                              uint64_t alignment, arena_item *items, uint32_t *item_count)
{
    int64_t total = 0;
    *item_count = 0;
    if (alignment == 0)
        alignment = 1;
    if (alignment > ARENA_LIMIT || count >= UINT32_MAX / 2)
        return td_fail(context, TD_INVALID,
                       "an arena holds fewer than 2^31 buffers, aligned to at most 2^61 bytes");
    for (size_t i = 0; i < count; i++) {
        if (buffers[i].lower >= buffers[i].upper || buffers[i].size == 0)
            continue;
        arena_item *item = &items[(*item_count)++];
        TD_TRY(read_buffer(context, &buffers[i], i, alignment, item));
        /* What a buffer can add to the height of an arena at most. */
        const int64_t room = item->size + item->alignment - 1;
        if (room > ARENA_LIMIT - total || item->fixed > ARENA_LIMIT - total - room)
            return td_fail(context, TD_INVALID, "buffer %zu: the sizes add up to over 2^61 bytes",
                           i);
        total += room + (item->fixed > 0 ? item->fixed : 0);
    }
    return TD_OK;
}

/* --- sections and parts --- */

static void close_part(arena_problem *problem, uint32_t first_section, uint32_t section,
                       uint32_t first_item, uint32_t item_end)
{
    arena_part *part = &problem->parts[problem->part_count++];
    *part = (arena_part){.context = problem->context,
                         .items = problem->items + first_item,
                         .item_count = item_end - first_item,
                         .live = problem->live + first_section,
                         .section_count = section - first_section,
                         .height = INT64_MAX};
    for (uint32_t s = 0; s < part->section_count; s++)
        if (part->live[s] > part->bound)
            part->bound = part->live[s];
    for (uint32_t i = 0; i < part->item_count; i++) {
        arena_item *item = &part->items[i];
        item->first -= first_section;
        item->end -= first_section;
        if (item->fixed >= 0 && item->fixed + item->size > part->bound)
            part->bound = item->fixed + item->size;
    }
}

/* Walks through time: a section ends where a buffer does, if one began since the section did; a
 * part ends where nothing is alive. Items are put in the order in which they begin. */
static void walk_time(arena_problem *problem, const arena_item *items, const event *events,
                      size_t event_count, uint32_t *place)
{
    uint32_t section = 0, first_section = 0, begun = 0, ended = 0, first_item = 0;
    int64_t live = 0;
    bool grew = false;
    for (size_t e = 0; e < event_count; e++) {
        const arena_item *item = &items[events[e].item];
        if (events[e].starts) {
            place[events[e].item] = begun;
            problem->items[begun] = *item;
            problem->items[begun++].first = section;
            live += item->size;
            grew = true;
            continue;
        }
        if (grew)
            problem->live[section++] = live;
        grew = false;
        live -= item->size;
        problem->items[place[events[e].item]].end = section;
        if (++ended < begun)
            continue;
        close_part(problem, first_section, section, first_item, begun);
        first_section = section;
        first_item = begun;
    }
}

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Every height is a sum of sizes on top of a fixed offset, each rounded up to an alignment. */
static void find_units(arena_problem *problem)
{
    for (size_t p = 0; p < problem->part_count; p++) {
        arena_part *part = &problem->parts[p];
        for (uint32_t i = 0; i < part->item_count; i++) {
            const arena_item *item = &part->items[i];
            part->unit = greatest_divisor(item->size, part->unit);
            if (item->alignment > 1)
                part->unit = greatest_divisor(item->alignment, part->unit);
            if (item->fixed > 0)
                part->unit = greatest_divisor(item->fixed, part->unit);
        }
    }
}

static td_status cut_time(arena_problem *problem, const arena_item *items, uint32_t count)
{
    td_context *context = problem->context;
    event *events = td_allocate(context, (2 * (size_t)count + 1) * sizeof *events);
    uint32_t *place = td_allocate(context, ((size_t)count + 1) * sizeof *place);
    if (events != NULL && place != NULL) {
        for (uint32_t i = 0; i < count; i++) {
            events[2 * (size_t)i] = (event){.time = items[i].lower, .item = i, .starts = true};
            events[2 * (size_t)i + 1] = (event){.time = items[i].upper, .item = i};
        }
        qsort(events, 2 * (size_t)count, sizeof *events, compare_events);
        walk_time(problem, items, events, 2 * (size_t)count, place);
        find_units(problem);
    }
    const bool failed = events == NULL || place == NULL;
    td_release(context, events);
    td_release(context, place);
    return failed ? td_fail_memory(context) : TD_OK;
}

void arena_problem_release(arena_problem *problem)
{
    for (size_t p = 0; p < problem->part_count; p++) {
        td_release(problem->context, problem->parts[p].members);
        td_release(problem->context, problem->parts[p].first_member);
        td_release(problem->context, problem->parts[p].overlaps);
        td_release(problem->context, problem->parts[p].first_overlap);
    }
    td_release(problem->context, problem->items);
    td_release(problem->context, problem->live);
    td_release(problem->context, problem->parts);
    memset(problem, 0, sizeof *problem);
}

td_status arena_problem_make(td_context *context, const sched_buffer *buffers, size_t count,
                             uint64_t alignment, arena_problem *problem)
{
    uint32_t item_count = 0;
    *problem = (arena_problem){.context = context};
    arena_item *items = td_allocate(context, (count + 1) * sizeof *items);
    problem->items = td_allocate(context, (count + 1) * sizeof *problem->items);
    problem->live = td_allocate(context, (count + 1) * sizeof *problem->live);
    problem->parts = td_allocate(context, (count + 1) * sizeof *problem->parts);
    td_status status = TD_OK;
    if (items == NULL || problem->items == NULL || problem->live == NULL || problem->parts == NULL)
        status = td_fail_memory(context);
    else
        status = read_buffers(context, buffers, count, alignment, items, &item_count);
    if (status == TD_OK)
        status = cut_time(problem, items, item_count);
    td_release(context, items);
    if (status != TD_OK)
        arena_problem_release(problem);
    return status;
}

sched_arena_report arena_problem_report(const arena_problem *problem)
{
    sched_arena_report report = {.parts = problem->part_count};
    for (size_t p = 0; p < problem->part_count; p++) {
        const arena_part *part = &problem->parts[p];
        if ((uint64_t)part->bound > report.bound)
            report.bound = (uint64_t)part->bound;
        for (uint32_t s = 0; s < part->section_count; s++)
            if ((uint64_t)part->live[s] > report.live_peak)
                report.live_peak = (uint64_t)part->live[s];
    }
    return report;
}

/* --- who meets whom --- */

/* Numbers the rows of a table from their lengths, which stand one place to the right. */
static void add_up(uint32_t *first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        first[i + 1] += first[i];
}

static void fill_members(arena_part *part)
{
    uint32_t *first = part->first_member;
    for (uint32_t i = 0; i < part->item_count; i++)
        for (uint32_t s = part->items[i].first; s < part->items[i].end; s++)
            part->members[first[s]++] = i;
    memmove(first + 1, first, part->section_count * sizeof *first);
    first[0] = 0;
}

/* Item i meets those after it that begin before it ends: items are in order of their beginning. */
static void fill_overlaps(arena_part *part)
{
    uint32_t *first = part->first_overlap;
    for (uint32_t i = 0; i < part->item_count; i++)
        for (uint32_t k = i + 1; k < part->item_count && part->items[k].first < part->items[i].end;
             k++) {
            part->overlaps[first[i]++] = k;
            part->overlaps[first[k]++] = i;
        }
    memmove(first + 1, first, part->item_count * sizeof *first);
    first[0] = 0;
}

/* Counts the pairs into the rows' lengths; false when there are too many. */
static bool count_pairs(arena_part *part, uint32_t *member_count, uint32_t *overlap_count)
{
    uint64_t members = 0, overlaps = 0;
    for (uint32_t i = 0; i < part->item_count; i++) {
        const arena_item *item = &part->items[i];
        members += item->end - item->first;
        if (members > MOST_PAIRS)
            return false;
        for (uint32_t s = item->first; s < item->end; s++)
            part->first_member[s + 1]++;
        uint32_t k = i + 1;
        for (; k < part->item_count && part->items[k].first < item->end; k++)
            part->first_overlap[k + 1]++;
        part->first_overlap[i + 1] += k - i - 1;
        overlaps += 2 * (uint64_t)(k - i - 1);
        if (overlaps > MOST_PAIRS)
            return false;
    }
    *member_count = (uint32_t)members;
    *overlap_count = (uint32_t)overlaps;
    return true;
}

td_status arena_part_link(arena_part *part)
{
    td_context *context = part->context;
    uint32_t members = 0, overlaps = 0;
    part->first_member =
        td_allocate(context, (part->section_count + (size_t)1) * sizeof *part->first_member);
    part->first_overlap =
        td_allocate(context, (part->item_count + (size_t)1) * sizeof *part->first_overlap);
    if (part->first_member == NULL || part->first_overlap == NULL)
        return td_fail_memory(context);
    if (!count_pairs(part, &members, &overlaps))
        return TD_OK;
    part->members = td_allocate(context, (members + (size_t)1) * sizeof *part->members);
    part->overlaps = td_allocate(context, (overlaps + (size_t)1) * sizeof *part->overlaps);
    if (part->members == NULL || part->overlaps == NULL)
        return td_fail_memory(context);
    add_up(part->first_member, part->section_count);
    add_up(part->first_overlap, part->item_count);
    fill_members(part);
    fill_overlaps(part);
    return TD_OK;
}
