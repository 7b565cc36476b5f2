/* The arena planner: offsets for buffers with known lifetimes (dynamic storage allocation). Quick
 * heuristics first, then an exact search that closes the gap to the bound, part by part.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/arena.h"

#include "base/clock.h"

/* Steps of the first attempt at a capacity, beside those of a few placements without a dead end;
 * they double when no attempt of a round decided. */
#define FIRST_ATTEMPT  UINT64_C(1000000)
#define STEPS_PER_PAIR 16

/* An effort within what is left of another one. */
static arena_effort part_of_effort(const arena_effort *whole, uint64_t work)
{
    arena_effort effort = *whole;
    if (whole->work_limit - whole->work > work)
        effort.work_limit = whole->work + work;
    return effort;
}

/* --- one part --- */

/* One attempt at a capacity, a multiple of the unit; tells the bound when it is refuted. */
static td_status attempt(arena_search *search, arena_part *part, int64_t capacity, uint64_t work,
                         arena_effort *effort, arena_verdict *verdict)
{
    arena_effort share = part_of_effort(effort, work);
    TD_TRY(arena_search_run(search, capacity, &share, verdict));
    effort->work = share.work;
    if (*verdict == ARENA_IMPOSSIBLE && part->bound <= capacity)
        part->bound = capacity + part->unit;
    return TD_OK;
}

/* Looks for the lowest height, at least `goal`: first at the bound, then by halves of what is left
 * between what seems too hard and what was found; rounds have growing efforts. */
static td_status minimise(arena_search *search, arena_part *part, int64_t goal,
                          arena_effort *effort)
{
    uint64_t work = FIRST_ATTEMPT + STEPS_PER_PAIR * part->first_overlap[part->item_count];
    for (; part->height > goal && part->height > part->bound; work *= 2) {
        int64_t hard = part->bound > goal ? part->bound : goal; /* the lowest to try */
        int64_t capacity = hard;
        while (hard < part->height) {
            arena_verdict verdict;
            if (arena_effort_spent(effort))
                return TD_OK;
            TD_TRY(attempt(search, part, capacity, work, effort, &verdict));
            if (verdict != ARENA_FOUND)
                hard = capacity + part->unit;
            capacity = hard + (part->height - part->unit - hard) / 2 / part->unit * part->unit;
        }
    }
    return TD_OK;
}

/* Places a part within `goal` if that is possible, else as low as the effort allows. */
static td_status place_part(arena_part *part, int64_t goal, bool any_within_goal,
                            arena_effort *effort)
{
    part->bound = (part->bound + part->unit - 1) / part->unit * part->unit;
    const int64_t enough = part->bound > goal ? part->bound : goal;
    TD_TRY(arena_sweep(part));
    if (part->height <= enough)
        return TD_OK;
    TD_TRY(arena_part_link(part));
    if (part->overlaps != NULL || part->item_count <= ARENA_MOST_GREEDY)
        TD_TRY(arena_greedy(part, enough));
    const bool hopeless = part->overlaps == NULL || (any_within_goal && part->bound > goal);
    if (part->height <= enough || hopeless || arena_effort_spent(effort))
        return TD_OK;
    arena_search *search = arena_search_make(part);
    arena_verdict verdict;
    if (search == NULL)
        return td_fail_memory(part->context);
    goal = goal / part->unit * part->unit;
    td_status status;
    if (any_within_goal)
        status = attempt(search, part, goal, UINT64_MAX, effort, &verdict);
    else
        status = minimise(search, part, goal, effort);
    arena_search_release(search);
    return status;
}

/* --- all parts --- */

static td_status place_parts(arena_problem *problem, const sched_arena_options *options,
                             arena_effort *effort, sched_arena_report *report)
{
    const bool within = options->capacity > 0;
    int64_t goal = (int64_t)arena_problem_report(problem).bound;
    int64_t height = 0;
    if (within)
        goal = options->capacity < ARENA_LIMIT ? (int64_t)options->capacity : ARENA_LIMIT;
    for (size_t p = 0; p < problem->part_count; p++) {
        arena_part *part = &problem->parts[p];
        TD_TRY(place_part(part, goal, within, effort));
        height = part->height > height ? part->height : height;
        if (!within && height > goal)
            goal = height;
    }
    *report = arena_problem_report(problem);
    report->bytes = (uint64_t)height;
    report->work = effort->work;
    return TD_OK;
}

static td_status refuse_fixed_clash(td_context *context, const sched_buffer *buffers, size_t count,
                                    uint64_t alignment)
{
    sched_arena_check_result result = {.valid = true};
    sched_buffer *fixed = td_allocate(context, (count + 1) * sizeof *fixed);
    if (fixed == NULL)
        return td_fail_memory(context);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        fixed[i] = buffers[i].fixed ? buffers[i] : (sched_buffer){0};
        any = any || buffers[i].fixed;
    }
    td_status status = TD_OK;
    if (any)
        status = sched_arena_check(context, fixed, count, alignment, &result);
    td_release(context, fixed);
    if (status == TD_OK && !result.valid)
        return td_fail(context, TD_INVALID,
                       "buffers %zu and %zu are fixed at addresses that overlap while both are "
                       "alive",
                       result.first, result.second);
    return status;
}

td_status sched_arena_place(td_context *context, sched_buffer *buffers, size_t count,
                            const sched_arena_options *options, sched_arena_report *report)
{
    arena_problem problem;
    arena_effort effort = {.work_limit = options->work_limit};
    if (options->time_limit > 0)
        effort.deadline = td_seconds() + options->time_limit;
    if (effort.work_limit == 0)
        effort.work_limit = options->time_limit > 0 ? UINT64_MAX : SCHED_USUAL_ARENA_WORK;
    sched_arena_report result = {0};
    TD_TRY(arena_problem_make(context, buffers, count, options->alignment, &problem));
    td_status status = refuse_fixed_clash(context, buffers, count, options->alignment);
    if (status == TD_OK)
        status = place_parts(&problem, options, &effort, &result);
    for (size_t p = 0; status == TD_OK && p < problem.part_count; p++)
        for (uint32_t i = 0; i < problem.parts[p].item_count; i++) {
            const arena_item *item = &problem.parts[p].items[i];
            buffers[item->buffer].offset = (uint64_t)item->offset;
        }
    arena_problem_release(&problem);
    if (status == TD_OK)
        *report = result;
    return status;
}

td_status sched_arena(td_context *context, sched_buffer *buffers, size_t count, uint64_t alignment,
                      uint64_t *bytes, uint64_t *live_peak)
{
    const sched_arena_options options = {.alignment = alignment};
    sched_arena_report report;
    TD_TRY(sched_arena_place(context, buffers, count, &options, &report));
    *bytes = report.bytes;
    *live_peak = report.live_peak;
    return TD_OK;
}
