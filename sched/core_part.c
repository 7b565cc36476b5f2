/* A stretch of an order as a problem of its own: what came before is done, what comes after waits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/core.h"

#include <string.h>

typedef TD_ARRAY(sched_edge) edge_array;

typedef struct cutter {
    const sched_core *core;
    sched_core *part;
    const uint32_t *units;
    uint32_t begin, end;
    uint32_t *number; /* by node of the core: its number in the part, or SCHED_NONE */
    uint32_t *group;  /* by group of the core: its number in the part, or SCHED_NONE */
    uint32_t *left;   /* by group: users at or behind `begin`, then behind `end` */
    edge_array inputs, readers, reads, users, members, after;
    TD_ARRAY(bool) takes;
} cutter;

static bool push(cutter *c, edge_array *pairs, uint32_t from, uint32_t to)
{
    return td_array_push(c->part->context, pairs, ((sched_edge){from, to}));
}

/* Memory alive at the start, and how many users each group still has there and at the end. */
static void skip_to_begin(cutter *c)
{
    const sched_core *core = c->core;
    uint64_t live = core->base;
    for (uint32_t g = 0; g < core->group_count; g++)
        c->left[g] = sched_list_length(&core->users, g);
    for (uint32_t i = 0; i < c->begin; i++)
        sched_for_each(node, &core->members, c->units[i])
        {
            live += core->kept[*node];
            sched_for_each(group, &core->reads, *node) if (--c->left[*group] == 0) live -=
                core->size[*group];
        }
    c->part->base = live;
}

static td_status number_nodes(cutter *c)
{
    sched_core *part = c->part;
    for (uint32_t i = c->begin; i < c->end; i++)
        sched_for_each(node, &c->core->members, c->units[i])
        {
            c->number[*node] = part->count;
            if (!push(c, &c->members, i - c->begin, part->count++))
                return td_fail_memory(part->context);
            sched_for_each(group, &c->core->reads, *node) c->left[*group]--;
        }
    part->unit_count = c->end - c->begin;
    return TD_OK;
}

static bool copy_node(cutter *c, uint32_t from)
{
    const sched_core *core = c->core;
    sched_core *part = c->part;
    const uint32_t to = c->number[from];
    bool complete = true;
    part->origin[to] = from;
    part->bytes[to] = core->bytes[from];
    part->kept[to] = core->kept[from];
    part->workspace[to] = core->workspace[from];
    sched_for_each(input, &core->inputs, from) if (c->number[*input] != SCHED_NONE) complete =
        complete && push(c, &c->inputs, to, c->number[*input]) &&
        push(c, &c->readers, c->number[*input], to);
    for (uint32_t r = core->reads.first[from]; r < core->reads.first[from + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (c->left[group] > 0) /* outlives this stretch */
            continue;
        if (c->group[group] == SCHED_NONE)
            c->group[group] = part->group_count++;
        complete = complete && push(c, &c->reads, to, c->group[group]) &&
                   push(c, &c->users, c->group[group], to) &&
                   td_array_push(part->context, &c->takes, core->takes[r]);
    }
    return complete;
}

/* Precedence between units of the stretch, with what was added to it. */
static bool copy_precedence(cutter *c, uint32_t *place)
{
    bool complete = true;
    for (uint32_t i = 0; i < c->core->unit_count; i++)
        place[i] = SCHED_NONE;
    for (uint32_t i = c->begin; i < c->end; i++)
        place[c->units[i]] = i - c->begin;
    for (uint32_t i = c->begin; i < c->end; i++)
        sched_for_each(next, &c->core->after, c->units[i]) if (place[*next] != SCHED_NONE)
            complete = complete && push(c, &c->after, i - c->begin, place[*next]);
    return complete;
}

static td_status fill(cutter *c, uint32_t *place)
{
    const sched_core *core = c->core;
    sched_core *part = c->part;
    td_context *context = part->context;
    bool complete = true;
    for (uint32_t i = c->begin; i < c->end; i++)
        sched_for_each(node, &core->members, c->units[i]) complete =
            complete && copy_node(c, *node);
    if (!complete || !copy_precedence(c, place))
        return td_fail_memory(context);
    part->size = td_allocate(context, (part->group_count + (size_t)1) * sizeof *part->size);
    if (part->size == NULL)
        return td_fail_memory(context);
    for (uint32_t g = 0; g < core->group_count; g++)
        if (c->group[g] != SCHED_NONE)
            part->size[c->group[g]] = core->size[g];
    for (uint32_t i = 0; i < part->count; i++) {
        const uint32_t own = core->own[part->origin[i]];
        part->own[i] = own == SCHED_NONE ? SCHED_NONE : c->group[own];
    }
    part->takes = c->takes.items;
    c->takes.items = NULL;
    TD_TRY(sched_lists_make(context, part->count, c->inputs.items, c->inputs.count, &part->inputs));
    TD_TRY(
        sched_lists_make(context, part->count, c->readers.items, c->readers.count, &part->readers));
    TD_TRY(sched_lists_make(context, part->count, c->reads.items, c->reads.count, &part->reads));
    TD_TRY(
        sched_lists_make(context, part->group_count, c->users.items, c->users.count, &part->users));
    TD_TRY(sched_lists_make(context, part->unit_count, c->members.items, c->members.count,
                            &part->members));
    return sched_core_link_units(part, c->after.items, c->after.count);
}

td_status sched_core_part(const sched_core *core, const uint32_t *units, uint32_t begin,
                          uint32_t end, sched_core *part)
{
    td_context *context = core->context;
    *part = (sched_core){.context = context, .exact = core->exact};
    cutter c = {.core = core, .part = part, .units = units, .begin = begin, .end = end};
    c.number = td_allocate(context, (core->count + (size_t)1) * sizeof *c.number);
    c.group = td_allocate(context, (core->group_count + (size_t)1) * sizeof *c.group);
    c.left = td_allocate(context, (core->group_count + (size_t)1) * sizeof *c.left);
    uint32_t *place = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *place);
    td_status status = TD_OK;
    if (c.number == NULL || c.group == NULL || c.left == NULL || place == NULL) {
        status = td_fail_memory(context);
    } else {
        memset(c.number, 0xff, core->count * sizeof *c.number);
        memset(c.group, 0xff, core->group_count * sizeof *c.group);
        skip_to_begin(&c);
        status = number_nodes(&c);
    }
    if (status == TD_OK)
        status = sched_core_allocate_nodes(part);
    if (status == TD_OK)
        status = fill(&c, place);
    void *const scratch[] = {c.number, c.group, c.left, place, c.takes.items};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    edge_array *const pairs[] = {&c.inputs, &c.readers, &c.reads, &c.users, &c.members, &c.after};
    for (size_t i = 0; i < TD_COUNT_OF(pairs); i++)
        td_array_release(context, pairs[i]);
    if (status != TD_OK)
        sched_core_release(part);
    return status;
}
