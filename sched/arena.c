/* Offsets for buffers with known lifetimes (dynamic storage allocation): several greedy orders,
 * each placing a buffer in the lowest or tightest gap that is free for its whole lifetime; the best
 * wins.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

/* A buffer while it is being placed; `key` decides the turn, larger first. */
typedef struct item {
    uint64_t size, offset, key;
    int64_t lower, upper;
    size_t index;
} item;

static bool overlap_in_time(const item *a, const item *b)
{
    return a->lower < b->upper && b->lower < a->upper;
}

static uint64_t key_size(const item *i)
{
    return i->size;
}

static uint64_t key_lifetime(const item *i)
{
    return (uint64_t)(i->upper - i->lower);
}

static uint64_t key_area(const item *i)
{
    uint64_t area;
    return td_multiply(i->size, key_lifetime(i), &area) ? area : UINT64_MAX;
}

static uint64_t key_start(const item *i)
{
    return UINT64_MAX / 2 - (uint64_t)i->lower;
}

static const struct {
    uint64_t (*key)(const item *);
    bool tightest; /* the smallest gap that fits, else the lowest */
} strategies[] = {
    {key_size, false},     {key_size, true},     {key_area, false},  {key_area, true},
    {key_lifetime, false}, {key_lifetime, true}, {key_start, false}, {key_start, true},
};

static int compare_keys(const void *left, const void *right)
{
    const item *a = left, *b = right;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Places `next` among the placed neighbours (sorted by offset) that live at the same time. */
static uint64_t find_gap(item *const *neighbours, size_t count, uint64_t size, bool tightest)
{
    uint64_t end = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const uint64_t gap = neighbours[i]->offset > end ? neighbours[i]->offset - end : 0;
        if (gap >= size && gap < best_gap) {
            best = end;
            best_gap = gap;
            if (!tightest)
                break;
        }
        if (neighbours[i]->offset + neighbours[i]->size > end)
            end = neighbours[i]->offset + neighbours[i]->size;
    }
    return best == UINT64_MAX ? end : best;
}

/* Places all items in key order; returns the arena's size. placed is kept sorted by offset. */
static uint64_t place_all(item *items, size_t count, bool tightest, item **placed,
                          item **neighbours)
{
    uint64_t total = 0;
    size_t placed_count = 0;
    for (size_t i = 0; i < count; i++) {
        item *next = &items[i];
        size_t neighbour_count = 0;
        for (size_t k = 0; k < placed_count; k++)
            if (overlap_in_time(placed[k], next))
                neighbours[neighbour_count++] = placed[k];
        next->offset = find_gap(neighbours, neighbour_count, next->size, tightest);
        if (next->offset + next->size > total)
            total = next->offset + next->size;
        size_t at = placed_count++;
        for (; at > 0 && placed[at - 1]->offset > next->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = next;
    }
    return total;
}

typedef struct event {
    int64_t step;
    uint64_t size;
    bool starts;
} event;

static int compare_events(const void *left, const void *right)
{
    const event *a = left, *b = right;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    return (int)a->starts - (int)b->starts; /* ends before starts: lifetimes are half-open */
}

/* The largest sum of sizes alive at one step. */
static td_status measure_live_peak(td_context *context, const item *items, size_t count,
                                   uint64_t *peak)
{
    event *events = td_allocate(context, (2 * count + 1) * sizeof *events);
    if (events == NULL)
        return td_fail_memory(context);
    for (size_t i = 0; i < count; i++) {
        events[2 * i] = (event){items[i].lower, items[i].size, true};
        events[2 * i + 1] = (event){items[i].upper, items[i].size, false};
    }
    qsort(events, 2 * count, sizeof *events, compare_events);
    uint64_t live = 0;
    *peak = 0;
    for (size_t i = 0; i < 2 * count; i++) {
        live = events[i].starts ? live + events[i].size : live - events[i].size;
        if (live > *peak)
            *peak = live;
    }
    td_release(context, events);
    return TD_OK;
}

/* Rounded copies of the buffers that need room. */
static td_status make_items(td_context *context, const sched_buffer *buffers, size_t count,
                            uint64_t alignment, item *items, size_t *item_count)
{
    uint64_t total = 0;
    *item_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t rounded;
        if (buffers[i].lower >= buffers[i].upper || buffers[i].size == 0)
            continue;
        if (!td_add(buffers[i].size, alignment - 1, &rounded) || !td_add(total, rounded, &total) ||
            total > INT64_MAX)
            return td_fail(context, TD_INVALID, "buffer %zu: the sizes add up to over 2^63 bytes",
                           i);
        items[(*item_count)++] = (item){.size = rounded / alignment * alignment,
                                        .lower = buffers[i].lower,
                                        .upper = buffers[i].upper,
                                        .index = i};
    }
    return TD_OK;
}

td_status sched_arena(td_context *context, sched_buffer *buffers, size_t count, uint64_t alignment,
                      uint64_t *bytes, uint64_t *live_peak)
{
    item *items = td_allocate(context, (count + 1) * sizeof *items);
    item **placed = td_allocate(context, (count + 1) * sizeof *placed);
    item **neighbours = td_allocate(context, (count + 1) * sizeof *neighbours);
    td_status status = TD_OK;
    size_t item_count = 0;
    uint64_t peak = 0, best = UINT64_MAX;
    if (items == NULL || placed == NULL || neighbours == NULL)
        status = td_fail_memory(context);
    else
        status = make_items(context, buffers, count, alignment, items, &item_count);
    if (status == TD_OK)
        status = measure_live_peak(context, items, item_count, &peak);
    for (size_t s = 0; status == TD_OK && s < TD_COUNT_OF(strategies) && best > peak; s++) {
        for (size_t i = 0; i < item_count; i++)
            items[i].key = strategies[s].key(&items[i]);
        qsort(items, item_count, sizeof *items, compare_keys);
        const uint64_t total =
            place_all(items, item_count, strategies[s].tightest, placed, neighbours);
        if (total >= best)
            continue;
        best = total;
        for (size_t i = 0; i < item_count; i++)
            buffers[items[i].index].offset = items[i].offset;
    }
    td_release(context, items);
    td_release(context, placed);
    td_release(context, neighbours);
    if (status == TD_OK) {
        *bytes = best;
        *live_peak = peak;
    }
    return status;
}
