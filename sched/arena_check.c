/* Whether the offsets of buffers are right: a walk through time over what is in use.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/arena.h"

#include <string.h>

/* The items in use at a moment, sorted by offset; disjoint as long as no clash was found. */
typedef struct in_use {
    const arena_item **items;
    size_t count;
} in_use;

static int64_t end_of(const arena_item *item)
{
    return item->offset + item->size;
}

static void drop_ended(in_use *now, int64_t time, int64_t *next_end)
{
    size_t kept = 0;
    if (*next_end > time)
        return;
    *next_end = INT64_MAX;
    for (size_t i = 0; i < now->count; i++) {
        if (now->items[i]->upper <= time)
            continue;
        if (now->items[i]->upper < *next_end)
            *next_end = now->items[i]->upper;
        now->items[kept++] = now->items[i];
    }
    now->count = kept;
}

/* Inserts an item; returns the one it overlaps, or NULL. */
static const arena_item *insert(in_use *now, const arena_item *item)
{
    size_t low = 0, high = now->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (now->items[middle]->offset < item->offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && end_of(now->items[low - 1]) > item->offset)
        return now->items[low - 1];
    if (low < now->count && end_of(item) > now->items[low]->offset)
        return now->items[low];
    memmove(now->items + low + 1, now->items + low, (now->count - low) * sizeof(const void *));
    now->items[low] = item;
    now->count++;
    return NULL;
}

static void check_part(const arena_part *part, in_use *now, sched_arena_check_result *result)
{
    int64_t next_end = INT64_MAX;
    now->count = 0;
    for (uint32_t i = 0; i < part->item_count && result->valid; i++) {
        const arena_item *item = &part->items[i];
        drop_ended(now, item->lower, &next_end);
        const arena_item *other = item->offset % item->alignment != 0 ? item : insert(now, item);
        if (other != NULL) {
            const size_t a = item->buffer, b = other->buffer;
            result->valid = false;
            result->first = a < b ? a : b;
            result->second = a < b ? b : a;
        }
        if ((uint64_t)end_of(item) > result->report.bytes)
            result->report.bytes = (uint64_t)end_of(item);
        if (item->upper < next_end)
            next_end = item->upper;
    }
}

td_status sched_arena_check(td_context *context, const sched_buffer *buffers, size_t count,
                            uint64_t alignment, sched_arena_check_result *result)
{
    arena_problem problem;
    sched_arena_check_result found = {.valid = true};
    TD_TRY(arena_problem_make(context, buffers, count, alignment, &problem));
    found.report = arena_problem_report(&problem);
    in_use now = {.items = td_allocate(context, (count + 1) * sizeof(const void *))};
    td_status status = now.items == NULL ? td_fail_memory(context) : TD_OK;
    for (size_t p = 0; status == TD_OK && p < problem.part_count && found.valid; p++) {
        arena_part *part = &problem.parts[p];
        for (uint32_t i = 0; i < part->item_count && status == TD_OK; i++) {
            const uint64_t offset = buffers[part->items[i].buffer].offset;
            if (offset > ARENA_LIMIT)
                status = td_fail(context, TD_INVALID, "buffer %zu: its offset is over 2^61 bytes",
                                 part->items[i].buffer);
            part->items[i].offset = (int64_t)offset;
        }
        if (status == TD_OK)
            check_part(part, &now, &found);
    }
    td_release(context, (void *)now.items);
    arena_problem_release(&problem);
    if (status == TD_OK)
        *result = found;
    return status;
}
