/* Quick offsets for buffers: first fit in order of time, and first and best fit in other orders.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/arena.h"

#include <stdlib.h>
#include <string.h>

/* Items that greedy orders look at: no further order is tried then. Some tenths of a second. */
#define MOST_GREEDY_WORK UINT64_C(150000000)

/* What an item costs that is sorted, beside one that is only looked at. */
#define SORTING UINT64_C(8)

/* A stretch of addresses in use. */
typedef struct stretch {
    int64_t offset, end;
} stretch;

/* The lowest, or else the tightest, gap among the stretches (sorted by offset) that takes `size`
 * bytes; above all of them when there is none. *widest is the largest gap that was seen. */
static int64_t find_gap(const stretch *used, size_t count, const arena_item *item, bool tightest,
                        int64_t *widest)
{
    int64_t end = 0, best = -1, best_gap = INT64_MAX;
    *widest = 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t start = arena_align(end, item->alignment);
        const int64_t gap = used[i].offset - start;
        if (used[i].offset - end > *widest)
            *widest = used[i].offset - end;
        if (gap >= item->size && gap < best_gap) {
            best = start;
            best_gap = gap;
            if (!tightest)
                break;
        }
        if (used[i].end > end)
            end = used[i].end;
    }
    return best < 0 ? arena_align(end, item->alignment) : best;
}

/* Keeps the trial's offsets when they are the lowest so far. */
static void keep_better(arena_part *part, const int64_t *offsets)
{
    int64_t height = 0;
    for (uint32_t i = 0; i < part->item_count; i++)
        if (offsets[i] + part->items[i].size > height)
            height = offsets[i] + part->items[i].size;
    if (height >= part->height)
        return;
    part->height = height;
    for (uint32_t i = 0; i < part->item_count; i++)
        part->items[i].offset = offsets[i];
}

/* --- in order of time --- */

/* What is in use at a moment, sorted by offset, and until when. */
typedef struct moment {
    stretch *used;
    int64_t *until;
    size_t count;
    int64_t top;    /* the highest end */
    int64_t widest; /* no gap below it is wider */
} moment;

static void moment_insert(moment *now, stretch next, int64_t until)
{
    size_t low = 0, high = now->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (now->used[middle].offset <= next.offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(now->used + low + 1, now->used + low, (now->count - low) * sizeof *now->used);
    memmove(now->until + low + 1, now->until + low, (now->count - low) * sizeof *now->until);
    now->used[low] = next;
    now->until[low] = until;
    now->count++;
    if (next.offset - now->top > now->widest)
        now->widest = next.offset - now->top;
    if (next.end > now->top)
        now->top = next.end;
}

/* Drops what has ended by `time`; returns when the next one ends. */
static int64_t moment_advance(moment *now, int64_t time)
{
    size_t kept = 0;
    int64_t next = INT64_MAX;
    now->top = 0;
    for (size_t i = 0; i < now->count; i++) {
        if (now->until[i] <= time)
            continue;
        if (now->until[i] < next)
            next = now->until[i];
        if (now->used[i].end > now->top)
            now->top = now->used[i].end;
        now->used[kept] = now->used[i];
        now->until[kept++] = now->until[i];
    }
    if (kept < now->count)
        now->widest = INT64_MAX;
    now->count = kept;
    return next;
}

/* Fixed items count as in use from the beginning, so that none is walked into. */
static void sweep(arena_part *part, moment *now, int64_t *offsets)
{
    int64_t next_end = INT64_MAX;
    now->widest = INT64_MAX;
    for (uint32_t i = 0; i < part->item_count; i++) {
        const arena_item *item = &part->items[i];
        if (item->fixed < 0)
            continue;
        offsets[i] = item->fixed;
        moment_insert(now, (stretch){item->fixed, item->fixed + item->size}, item->upper);
        next_end = item->upper < next_end ? item->upper : next_end;
    }
    for (uint32_t i = 0; i < part->item_count; i++) {
        const arena_item *item = &part->items[i];
        if (item->fixed >= 0)
            continue;
        if (next_end <= item->lower)
            next_end = moment_advance(now, item->lower);
        if (item->size > now->widest) {
            offsets[i] = arena_align(now->top, item->alignment);
        } else {
            int64_t widest;
            offsets[i] = find_gap(now->used, now->count, item, false, &widest);
            /* All gaps were seen when none was taken. */
            if (offsets[i] >= now->top)
                now->widest = widest;
        }
        moment_insert(now, (stretch){offsets[i], offsets[i] + item->size}, item->upper);
        next_end = item->upper < next_end ? item->upper : next_end;
    }
}

td_status arena_sweep(arena_part *part)
{
    td_context *context = part->context;
    const size_t room = part->item_count + (size_t)1;
    moment now = {.used = td_allocate(context, room * sizeof *now.used),
                  .until = td_allocate(context, room * sizeof *now.until)};
    int64_t *offsets = td_allocate(context, room * sizeof *offsets);
    const bool failed = now.used == NULL || now.until == NULL || offsets == NULL;
    if (!failed) {
        sweep(part, &now, offsets);
        keep_better(part, offsets);
    }
    td_release(context, now.used);
    td_release(context, now.until);
    td_release(context, offsets);
    return failed ? td_fail_memory(context) : TD_OK;
}

/* --- in other orders --- */

static double key_size(const arena_item *item)
{
    return (double)item->size;
}

static double key_lifetime(const arena_item *item)
{
    return (double)item->upper - (double)item->lower;
}

static double key_area(const arena_item *item)
{
    return key_size(item) * key_lifetime(item);
}

static double key_sections(const arena_item *item)
{
    return (double)(item->end - item->first);
}

/* Items take their turns by falling key. */
static const struct {
    double (*key)(const arena_item *);
    bool tightest; /* the smallest gap that fits, else the lowest */
} strategies[] = {
    {key_size, false},     {key_size, true},     {key_area, false},     {key_area, true},
    {key_lifetime, false}, {key_lifetime, true}, {key_sections, false},
};

typedef struct turn {
    double key;
    int64_t size;
    uint32_t item;
} turn;

static int compare_turns(const void *left, const void *right)
{
    const turn *a = left, *b = right;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

static int compare_stretches(const void *left, const void *right)
{
    const stretch *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* A placement in progress. */
typedef struct greedy_trial {
    const arena_part *part;
    int64_t *offsets; /* by item; -1: not placed yet */
    bool sparse; /* few pairs meet: look at an item's own, and keep no list of what is placed */
    uint32_t *placed; /* in order of their offsets */
    uint32_t placed_count;
    stretch *used;
    uint64_t work; /* items looked at */
} greedy_trial;

static void trial_add(greedy_trial *self, uint32_t item, int64_t offset)
{
    self->offsets[item] = offset;
    if (self->sparse)
        return;
    uint32_t low = 0, high = self->placed_count++;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (self->offsets[self->placed[middle]] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(self->placed + low + 1, self->placed + low,
            (self->placed_count - 1 - low) * sizeof *self->placed);
    self->placed[low] = item;
}

/* What is in use during an item's life, in order of offsets: those that meet it, sorted, or all
 * that are placed, filtered. */
static size_t trial_used(greedy_trial *self, uint32_t i)
{
    const arena_part *part = self->part;
    const arena_item *items = part->items;
    size_t count = 0;
    if (!self->sparse) {
        self->work += self->placed_count;
        for (uint32_t p = 0; p < self->placed_count; p++) {
            const uint32_t k = self->placed[p];
            if (arena_meet(&items[i], &items[k]))
                self->used[count++] = (stretch){self->offsets[k], self->offsets[k] + items[k].size};
        }
        return count;
    }
    for (uint32_t o = part->first_overlap[i]; o < part->first_overlap[i + 1]; o++) {
        const uint32_t k = part->overlaps[o];
        if (self->offsets[k] >= 0)
            self->used[count++] = (stretch){self->offsets[k], self->offsets[k] + items[k].size};
    }
    self->work += SORTING * count;
    qsort(self->used, count, sizeof *self->used, compare_stretches);
    return count;
}

static void place_all(greedy_trial *self, const turn *turns, bool tightest)
{
    const arena_part *part = self->part;
    self->placed_count = 0;
    for (uint32_t i = 0; i < part->item_count; i++) {
        self->offsets[i] = -1;
        if (part->items[i].fixed >= 0)
            trial_add(self, i, part->items[i].fixed);
    }
    for (uint32_t t = 0; t < part->item_count; t++) {
        const uint32_t i = turns[t].item;
        int64_t widest;
        if (self->offsets[i] >= 0)
            continue;
        const size_t count = trial_used(self, i);
        trial_add(self, i, find_gap(self->used, count, &part->items[i], tightest, &widest));
    }
}

td_status arena_greedy(arena_part *part, int64_t goal)
{
    td_context *context = part->context;
    const size_t room = part->item_count + (size_t)1;
    turn *turns = td_allocate(context, room * sizeof *turns);
    greedy_trial trial = {.part = part,
                          .offsets = td_allocate(context, room * sizeof *trial.offsets),
                          .placed = td_allocate(context, room * sizeof *trial.placed),
                          .used = td_allocate(context, room * sizeof *trial.used)};
    const uint64_t count = part->item_count;
    trial.sparse = part->overlaps != NULL && SORTING * part->first_overlap[count] < count * count;
    const bool failed =
        turns == NULL || trial.offsets == NULL || trial.placed == NULL || trial.used == NULL;
    for (size_t s = 0; !failed && s < TD_COUNT_OF(strategies) && part->height > goal &&
                       trial.work < MOST_GREEDY_WORK;
         s++) {
        for (uint32_t i = 0; i < part->item_count; i++)
            turns[i] = (turn){strategies[s].key(&part->items[i]), part->items[i].size, i};
        qsort(turns, part->item_count, sizeof *turns, compare_turns);
        place_all(&trial, turns, strategies[s].tightest);
        keep_better(part, trial.offsets);
    }
    td_release(context, turns);
    td_release(context, trial.offsets);
    td_release(context, trial.placed);
    td_release(context, trial.used);
    return failed ? td_fail_memory(context) : TD_OK;
}
