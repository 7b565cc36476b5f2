/* Precedence that every order of at most a given peak has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When node v of unit V runs, at least its minimum cut is alive. Where that is close to the peak
 * there is little choice: if every set D that holds unit U keeps more alive than the peak allows, U
 * must come after V, and if every set without U does, before. What is learnt at one node narrows
 * the sets of all others, so nodes are asked again until nothing is new, those with the least
 * choice first. A node whose least alone is above the peak shows that there is no such order. */
#include "sched/fix.h"

#include "sched/cut.h"

#include <stdlib.h>
#include <string.h>

/* After so many nodes that taught nothing, those with more choice are not asked. */
#define MOST_IDLE 24

/* Nodes that are asked, those that need most in the order of the units' numbers. */
#define MOST_QUESTIONS 512

/* A node and what is live while it runs: in that order, then at least. */
typedef struct question {
    uint64_t live;
    uint32_t node;
} question;

typedef struct fixer {
    sched_core *core;
    sched_network network;
    sched_effort *effort;
    uint64_t peak;
    uint32_t *sorted;               /* units in an order that keeps the given precedence */
    bool *may_precede, *may_follow; /* by unit: some set that is small enough says so */
    bool *settled;                  /* by unit: its place follows from another's */
    uint32_t *stack;
    question *questions; /* the most promising first */
    uint32_t question_count;
    TD_ARRAY(sched_edge) pairs; /* learnt from the node at hand */
    sched_fixed *result;
} fixer;

/* The least set is small enough: units may be in it, or out of it. */
static void note_least(fixer *f)
{
    const sched_core *core = f->core;
    for (uint32_t unit = 0; unit < core->unit_count; unit++) {
        f->may_precede[unit] = sched_network_holds(&f->network, *sched_last_member(core, unit));
        f->may_follow[unit] = !sched_network_holds(&f->network, *sched_first_member(core, unit));
    }
}

/* So is another that differs from it in what moved to a side. */
static void note_moved(fixer *f, sched_side side)
{
    const sched_core *core = f->core;
    for (uint32_t i = 0; i < f->network.moved_count; i++) {
        const uint32_t node = f->network.moved[i];
        if (node >= core->count)
            continue;
        const uint32_t unit = core->unit_of[node];
        if (side == SCHED_SOURCE && node == *sched_last_member(core, unit))
            f->may_precede[unit] = true;
        if (side == SCHED_SINK && node == *sched_first_member(core, unit))
            f->may_follow[unit] = true;
    }
}

/* Whether a unit may be before (after) the node at hand; true, too, when the effort is spent. */
static bool may(fixer *f, uint32_t unit, sched_side side, uint64_t slack)
{
    bool *known = side == SCHED_SOURCE ? f->may_precede : f->may_follow;
    if (known[unit])
        return true;
    const uint32_t node = side == SCHED_SOURCE ? *sched_last_member(f->core, unit)
                                               : *sched_first_member(f->core, unit);
    if (!sched_network_allows(&f->network, node, side, slack, f->effort))
        return f->effort->spent;
    note_moved(f, side);
    return true;
}

/* What `lists` reaches from a unit needs no question any more. */
static void settle(fixer *f, const sched_lists *lists, uint32_t unit)
{
    uint32_t depth = 0;
    f->stack[depth++] = unit;
    f->settled[unit] = true;
    while (depth > 0) {
        const uint32_t at = f->stack[--depth];
        sched_for_each(other, lists, at) if (!f->settled[*other])
        {
            f->settled[*other] = true;
            f->stack[depth++] = *other;
        }
    }
}

/* Asks for each unit that may stand on both sides of `unit` whether it does. From the last unit to
 * the first for those that must come before, so that what comes before them follows; the other way
 * for those that must come after. */
static td_status ask_side(fixer *f, uint32_t unit, sched_side side, uint64_t slack)
{
    const sched_core *core = f->core;
    const bool before = side == SCHED_SINK; /* refused on the sink's side: it must come before */
    memset(f->settled, 0, core->unit_count * sizeof *f->settled);
    settle(f, &core->before, unit);
    settle(f, &core->after, unit);
    for (uint32_t i = 0; i < core->unit_count && !f->effort->spent; i++) {
        const uint32_t other = f->sorted[before ? core->unit_count - 1 - i : i];
        if (f->settled[other] || may(f, other, side, slack))
            continue;
        if (!may(f, other, before ? SCHED_SOURCE : SCHED_SINK, slack)) {
            f->result->impossible = true;
            return TD_OK;
        }
        const sched_edge pair = before ? (sched_edge){other, unit} : (sched_edge){unit, other};
        if (!td_array_push(core->context, &f->pairs, pair))
            return td_fail_memory(core->context);
        settle(f, before ? &core->before : &core->after, other);
    }
    return TD_OK;
}

static td_status ask_node(fixer *f, uint32_t node)
{
    sched_core *core = f->core;
    uint64_t least;
    if (!sched_network_least(&f->network, node, f->effort, &least))
        return TD_OK;
    if (least > f->peak) {
        f->result->impossible = true;
        return TD_OK;
    }
    note_least(f);
    f->pairs.count = 0;
    TD_TRY(ask_side(f, core->unit_of[node], SCHED_SINK, f->peak - least));
    TD_TRY(ask_side(f, core->unit_of[node], SCHED_SOURCE, f->peak - least));
    if (f->pairs.count == 0 || f->result->impossible)
        return TD_OK;
    f->result->pairs += (uint32_t)f->pairs.count;
    TD_TRY(sched_core_add_precedence(core, f->pairs.items, f->pairs.count));
    sched_network_release(&f->network);
    return sched_network_make(core, &f->network);
}

/* Units by Kahn's algorithm; `stack` holds how many each still waits for. */
static void sort_units(fixer *f)
{
    const sched_core *core = f->core;
    uint32_t placed = 0;
    for (uint32_t unit = 0; unit < core->unit_count; unit++) {
        f->stack[unit] = sched_list_length(&core->before, unit);
        if (f->stack[unit] == 0)
            f->sorted[placed++] = unit;
    }
    for (uint32_t i = 0; i < placed; i++)
        sched_for_each(next, &core->after, f->sorted[i]) if (--f->stack[*next] == 0)
            f->sorted[placed++] = *next;
}

static int compare_questions(const void *left, const void *right)
{
    const question *a = left, *b = right;
    if (a->live != b->live)
        return a->live > b->live ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* `left`: scratch by group. */
static void choose_questions(fixer *f, uint32_t *left)
{
    const sched_core *core = f->core;
    uint64_t live = core->base;
    for (uint32_t group = 0; group < core->group_count; group++)
        left[group] = sched_list_length(&core->users, group);
    for (uint32_t node = 0; node < core->count; node++)
        f->questions[node] = (question){sched_core_run(core, node, left, &live), node};
    qsort(f->questions, core->count, sizeof *f->questions, compare_questions);
    f->question_count = core->count < MOST_QUESTIONS ? core->count : MOST_QUESTIONS;
}

static void sort_questions(fixer *f)
{
    for (uint32_t q = 0; q < f->question_count; q++) {
        uint64_t *least = &f->questions[q].live;
        if (!sched_network_least(&f->network, f->questions[q].node, f->effort, least))
            return;
        if (*least > f->peak) {
            f->result->impossible = true;
            return;
        }
    }
    qsort(f->questions, f->question_count, sizeof *f->questions, compare_questions);
}

static td_status ask_all(fixer *f)
{
    bool changed = true;
    while (changed) {
        const uint32_t before = f->result->pairs;
        sort_units(f);
        sort_questions(f);
        for (uint32_t q = 0, idle = 0; q < f->question_count && idle < MOST_IDLE; q++) {
            const uint32_t known = f->result->pairs;
            if (f->effort->spent || f->result->impossible)
                return TD_OK;
            TD_TRY(ask_node(f, f->questions[q].node));
            idle = f->result->pairs > known ? 0 : idle + 1;
        }
        changed = f->result->pairs > before;
    }
    return TD_OK;
}

td_status sched_fix(sched_core *core, uint64_t peak, sched_effort *effort, sched_fixed *fixed)
{
    td_context *context = core->context;
    const size_t units = core->unit_count + (size_t)1;
    *fixed = (sched_fixed){0};
    fixer f = {.core = core, .effort = effort, .peak = peak, .result = fixed};
    f.sorted = td_allocate(context, units * sizeof *f.sorted);
    f.stack = td_allocate(context, units * sizeof *f.stack);
    f.may_precede = td_allocate(context, units * sizeof *f.may_precede);
    f.may_follow = td_allocate(context, units * sizeof *f.may_follow);
    f.settled = td_allocate(context, units * sizeof *f.settled);
    f.questions = td_allocate(context, (core->count + (size_t)1) * sizeof *f.questions);
    uint32_t *left = td_allocate(context, (core->group_count + (size_t)1) * sizeof *left);
    td_status status = left == NULL || f.sorted == NULL || f.stack == NULL ||
                               f.may_precede == NULL || f.may_follow == NULL || f.settled == NULL ||
                               f.questions == NULL
                           ? td_fail_memory(context)
                           : sched_network_make(core, &f.network);
    if (status == TD_OK) {
        choose_questions(&f, left);
        status = ask_all(&f);
    }
    td_release(context, left);
    sched_network_release(&f.network);
    void *const scratch[] = {f.sorted,     f.stack,   f.may_precede,
                             f.may_follow, f.settled, f.questions};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    td_array_release(context, &f.pairs);
    return status;
}
