/* The core of a scheduling problem: made from a problem, cut out of another core, replayed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/core.h"

#include <string.h>

/* --- lists --- */

td_status sched_lists_make(td_context *context, uint32_t owners, const sched_edge *pairs,
                           size_t pair_count, sched_lists *lists)
{
    lists->first = td_allocate(context, (owners + (size_t)2) * sizeof *lists->first);
    lists->items = td_allocate(context, (pair_count + 1) * sizeof *lists->items);
    if (lists->first == NULL || lists->items == NULL)
        return td_fail_memory(context);
    for (size_t p = 0; p < pair_count; p++)
        lists->first[pairs[p].from + 2]++;
    for (uint32_t i = 2; i < owners + 2; i++)
        lists->first[i] += lists->first[i - 1];
    for (size_t p = 0; p < pair_count; p++)
        lists->items[lists->first[pairs[p].from + 1]++] = pairs[p].to;
    return TD_OK;
}

void sched_lists_release(td_context *context, sched_lists *lists)
{
    td_release(context, lists->first);
    td_release(context, lists->items);
    memset(lists, 0, sizeof *lists);
}

void sched_core_release(sched_core *core)
{
    td_context *context = core->context;
    if (context == NULL)
        return;
    td_release(context, core->origin);
    td_release(context, core->bytes);
    td_release(context, core->kept);
    td_release(context, core->workspace);
    td_release(context, core->takes);
    td_release(context, core->size);
    td_release(context, core->own);
    td_release(context, core->unit_of);
    sched_lists *const lists[] = {&core->inputs,  &core->readers, &core->reads, &core->users,
                                  &core->members, &core->before,  &core->after};
    for (size_t i = 0; i < TD_COUNT_OF(lists); i++)
        sched_lists_release(context, lists[i]);
    memset(core, 0, sizeof *core);
}

td_status sched_core_allocate_nodes(sched_core *core)
{
    td_context *context = core->context;
    const size_t count = core->count + (size_t)1;
    core->origin = td_allocate(context, count * sizeof *core->origin);
    core->bytes = td_allocate(context, count * sizeof *core->bytes);
    core->kept = td_allocate(context, count * sizeof *core->kept);
    core->workspace = td_allocate(context, count * sizeof *core->workspace);
    core->own = td_allocate(context, count * sizeof *core->own);
    if (core->origin == NULL || core->bytes == NULL || core->kept == NULL ||
        core->workspace == NULL || core->own == NULL)
        return td_fail_memory(context);
    memset(core->own, 0xff, count * sizeof *core->own);
    return TD_OK;
}

/* --- units --- */

typedef TD_ARRAY(sched_edge) edge_array;

td_status sched_core_link_units(sched_core *core, const sched_edge *extra, size_t extra_count)
{
    td_context *context = core->context;
    edge_array after = {0}, before = {0};
    td_release(context, core->unit_of);
    sched_lists_release(context, &core->before);
    sched_lists_release(context, &core->after);
    core->unit_of = td_allocate(context, (core->count + (size_t)1) * sizeof *core->unit_of);
    uint32_t *seen = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *seen);
    bool complete = core->unit_of != NULL && seen != NULL;
    for (uint32_t u = 0; complete && u < core->unit_count; u++)
        sched_for_each(node, &core->members, u) core->unit_of[*node] = u;
    for (uint32_t u = 0; complete && u < core->unit_count; u++)
        sched_for_each(node, &core->members, u) sched_for_each(input, &core->inputs, *node)
        {
            const uint32_t from = core->unit_of[*input];
            if (from == u || seen[from] == u + 1)
                continue;
            seen[from] = u + 1;
            complete = complete && td_array_push(context, &before, ((sched_edge){u, from})) &&
                       td_array_push(context, &after, ((sched_edge){from, u}));
        }
    for (size_t e = 0; complete && e < extra_count; e++)
        complete = td_array_push(context, &before, ((sched_edge){extra[e].to, extra[e].from})) &&
                   td_array_push(context, &after, extra[e]);
    td_status status = complete ? TD_OK : td_fail_memory(context);
    if (status == TD_OK)
        status =
            sched_lists_make(context, core->unit_count, before.items, before.count, &core->before);
    if (status == TD_OK)
        status =
            sched_lists_make(context, core->unit_count, after.items, after.count, &core->after);
    td_array_release(context, &before);
    td_array_release(context, &after);
    td_release(context, seen);
    return status;
}

/* The old items of each owner, then the new ones. */
static td_status extend(td_context *context, uint32_t owners, edge_array *pairs, bool reversed,
                        const sched_edge *more, size_t more_count, sched_lists *lists)
{
    pairs->count = 0;
    bool complete = true;
    for (uint32_t i = 0; i < owners; i++)
        sched_for_each(item, lists, i) complete =
            complete && td_array_push(context, pairs, ((sched_edge){i, *item}));
    for (size_t p = 0; p < more_count; p++)
        complete = complete &&
                   td_array_push(context, pairs,
                                 (reversed ? (sched_edge){more[p].to, more[p].from} : more[p]));
    sched_lists_release(context, lists);
    return complete ? sched_lists_make(context, owners, pairs->items, pairs->count, lists)
                    : td_fail_memory(context);
}

td_status sched_core_add_precedence(sched_core *core, const sched_edge *pairs, size_t pair_count)
{
    edge_array all = {0};
    td_status status =
        extend(core->context, core->unit_count, &all, true, pairs, pair_count, &core->before);
    if (status == TD_OK)
        status =
            extend(core->context, core->unit_count, &all, false, pairs, pair_count, &core->after);
    td_array_release(core->context, &all);
    return status;
}

static td_status make_single_units(sched_core *core)
{
    edge_array members = {0};
    td_status status = TD_OK;
    core->unit_count = core->count;
    for (uint32_t i = 0; i < core->count && status == TD_OK; i++)
        if (!td_array_push(core->context, &members, ((sched_edge){i, i})))
            status = td_fail_memory(core->context);
    if (status == TD_OK)
        status = sched_lists_make(core->context, core->unit_count, members.items, members.count,
                                  &core->members);
    td_array_release(core->context, &members);
    return status == TD_OK ? sched_core_link_units(core, NULL, 0) : status;
}

/* --- from a problem --- */

typedef struct maker {
    const sched_problem *problem;
    sched_core *core;
    uint32_t *number;     /* by problem node: its number in the core */
    uint32_t *root;       /* by problem node: whose buffer its value lies in by views alone */
    bool *persistent;     /* by root: some member is */
    uint32_t *user_count; /* by root */
    uint64_t *largest;    /* by root: the most bytes its buffer can have after takeovers */
    uint32_t *group;      /* by root: its group, or SCHED_NONE */
    uint32_t *order;      /* topological */
    uint32_t *seen;       /* by root: 1 + the last node that was found to use it */
    edge_array reads, users, inputs, readers;
    TD_ARRAY(bool) takes;
} maker;

/* The file's order where it is topological, so that equal choices fall as in the file. */
static void choose_numbers(maker *m)
{
    const sched_problem *problem = m->problem;
    bool sorted = true;
    for (uint32_t i = 0; i < problem->node_count; i++)
        for (uint32_t k = 0; k < problem->nodes[i].input_count; k++)
            sorted = sorted && sched_inputs(problem, i)[k] < i;
    if (sorted)
        for (uint32_t i = 0; i < problem->node_count; i++)
            m->order[i] = i;
    else
        sched_any_order(problem, m->seen, m->order);
    for (uint32_t i = 0; i < problem->node_count; i++)
        m->number[m->order[i]] = i;
    memset(m->seen, 0, problem->node_count * sizeof *m->seen);
}

/* Roots, who is persistent, how many users a buffer has, how large it can get. */
static void survey(maker *m)
{
    const sched_problem *problem = m->problem;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t node = m->order[step];
        const sched_node *self = &problem->nodes[node];
        m->root[node] = self->view_of < 0 ? node : m->root[self->view_of];
        m->persistent[m->root[node]] = m->persistent[m->root[node]] || self->persistent;
        if (self->view_of < 0)
            m->largest[node] = self->bytes;
        for (uint32_t k = 0; k < self->input_count; k++) {
            const uint32_t root = m->root[sched_inputs(problem, node)[k]];
            if (m->seen[root] != step + 1) {
                m->seen[root] = step + 1;
                m->user_count[root]++;
            }
            /* A buffer that was taken over may be larger than what lies in it. */
            if (self->view_of < 0 && k < self->in_place && m->largest[root] >= self->bytes &&
                m->largest[root] > m->largest[node])
                m->largest[node] = m->largest[root];
        }
    }
    memset(m->seen, 0, problem->node_count * sizeof *m->seen);
}

/* Whether input k of a node may be taken over, for groups that can die. */
static bool may_take(maker *m, uint32_t node, uint32_t k)
{
    const sched_node *self = &m->problem->nodes[node];
    const uint32_t root = m->root[sched_inputs(m->problem, node)[k]];
    if (self->view_of >= 0 || k >= self->in_place || m->largest[root] < self->bytes)
        return false;
    if (m->largest[root] != self->bytes || m->problem->nodes[root].bytes != self->bytes)
        m->core->exact = false;
    return true;
}

static td_status convert_node(maker *m, uint32_t step)
{
    const sched_problem *problem = m->problem;
    sched_core *core = m->core;
    const uint32_t node = m->order[step];
    const sched_node *self = &problem->nodes[node];
    const size_t first_read = m->reads.count;
    core->origin[step] = node;
    core->workspace[step] = self->workspace;
    if (self->view_of < 0) {
        core->bytes[step] = self->bytes;
        if (m->user_count[node] > 0 || m->persistent[node])
            core->kept[step] = self->bytes;
        if (m->user_count[node] > 0 && !m->persistent[node])
            core->own[step] = m->group[node] = core->group_count++;
    }
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint32_t input = sched_inputs(problem, node)[k], root = m->root[input];
        bool complete =
            td_array_push(core->context, &m->inputs, ((sched_edge){step, m->number[input]})) &&
            td_array_push(core->context, &m->readers, ((sched_edge){m->number[input], step}));
        const uint32_t group = m->group[root];
        if (group != SCHED_NONE && m->seen[root] != step + 1) {
            m->seen[root] = step + 1;
            complete = complete &&
                       td_array_push(core->context, &m->reads, ((sched_edge){step, group})) &&
                       td_array_push(core->context, &m->users, ((sched_edge){group, step})) &&
                       td_array_push(core->context, &m->takes, false);
        }
        for (size_t r = first_read; complete && group != SCHED_NONE && r < m->reads.count; r++)
            if (m->reads.items[r].to == group && may_take(m, node, k))
                m->takes.items[r] = true;
        if (!complete)
            return td_fail_memory(core->context);
    }
    return TD_OK;
}

static td_status convert_all(maker *m)
{
    sched_core *core = m->core;
    choose_numbers(m);
    survey(m);
    for (uint32_t step = 0; step < core->count; step++)
        TD_TRY(convert_node(m, step));
    core->size = td_allocate(core->context, (core->group_count + (size_t)1) * sizeof *core->size);
    if (core->size == NULL)
        return td_fail_memory(core->context);
    for (uint32_t step = 0; step < core->count; step++)
        if (core->own[step] != SCHED_NONE)
            core->size[core->own[step]] = core->bytes[step];
    core->takes = m->takes.items;
    m->takes.items = NULL;
    TD_TRY(sched_lists_make(core->context, core->count, m->inputs.items, m->inputs.count,
                            &core->inputs));
    TD_TRY(sched_lists_make(core->context, core->count, m->readers.items, m->readers.count,
                            &core->readers));
    TD_TRY(
        sched_lists_make(core->context, core->count, m->reads.items, m->reads.count, &core->reads));
    TD_TRY(sched_lists_make(core->context, core->group_count, m->users.items, m->users.count,
                            &core->users));
    return make_single_units(core);
}

td_status sched_core_make(const sched_problem *problem, sched_core *core)
{
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    *core = (sched_core){.context = context, .count = problem->node_count, .exact = true};
    maker m = {.problem = problem, .core = core};
    m.number = td_allocate(context, count * sizeof *m.number);
    m.root = td_allocate(context, count * sizeof *m.root);
    m.persistent = td_allocate(context, count * sizeof *m.persistent);
    m.user_count = td_allocate(context, count * sizeof *m.user_count);
    m.largest = td_allocate(context, count * sizeof *m.largest);
    m.group = td_allocate(context, count * sizeof *m.group);
    m.order = td_allocate(context, count * sizeof *m.order);
    m.seen = td_allocate(context, count * sizeof *m.seen);
    td_status status = sched_core_allocate_nodes(core);
    if (status == TD_OK &&
        (m.number == NULL || m.root == NULL || m.persistent == NULL || m.user_count == NULL ||
         m.largest == NULL || m.group == NULL || m.order == NULL || m.seen == NULL))
        status = td_fail_memory(context);
    if (status == TD_OK) {
        memset(m.group, 0xff, count * sizeof *m.group);
        status = convert_all(&m);
    }
    void *const scratch[] = {m.number, m.root,  m.persistent, m.user_count, m.largest,
                             m.group,  m.order, m.seen,       m.takes.items};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    td_array_release(context, &m.reads);
    td_array_release(context, &m.users);
    td_array_release(context, &m.inputs);
    td_array_release(context, &m.readers);
    if (status != TD_OK)
        sched_core_release(core);
    return status;
}

/* --- replaying --- */

uint64_t sched_core_run(const sched_core *core, uint32_t node, uint32_t *left, uint64_t *live)
{
    uint64_t need = core->bytes[node], dying = 0;
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (--left[group] > 0)
            continue;
        dying += core->size[group];
        if (core->takes[r]) {
            const uint64_t taken =
                core->size[group] < core->bytes[node] ? core->size[group] : core->bytes[node];
            if (core->bytes[node] - taken < need)
                need = core->bytes[node] - taken;
        }
    }
    const uint64_t during = *live + need + core->workspace[node];
    *live += core->kept[node] - dying;
    return during;
}

uint64_t sched_core_profile(const sched_core *core, const uint32_t *units, uint32_t *left,
                            uint64_t *cost)
{
    uint64_t live = core->base, peak = core->base;
    for (uint32_t g = 0; g < core->group_count; g++)
        left[g] = sched_list_length(&core->users, g);
    for (uint32_t i = 0; i < core->unit_count; i++) {
        uint64_t most = 0;
        sched_for_each(node, &core->members, units[i])
        {
            const uint64_t during = sched_core_run(core, *node, left, &live);
            most = during > most ? during : most;
        }
        peak = most > peak ? most : peak;
        if (cost != NULL)
            cost[i] = most;
    }
    return peak;
}

void sched_core_expand(const sched_core *core, const uint32_t *units, uint32_t *order)
{
    uint32_t step = 0;
    for (uint32_t i = 0; i < core->unit_count; i++)
        sched_for_each(node, &core->members, units[i]) order[step++] = core->origin[*node];
}

td_status sched_core_adopt(const sched_core *core, const uint32_t *order, uint32_t *units)
{
    td_context *context = core->context;
    const size_t count = core->count + (size_t)1;
    uint32_t *number = td_allocate(context, count * sizeof *number);
    uint32_t *left = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *left);
    uint32_t *waiting = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *waiting);
    uint32_t *stack = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *stack);
    if (number == NULL || left == NULL || waiting == NULL || stack == NULL) {
        td_release(context, number);
        td_release(context, left);
        td_release(context, waiting);
        td_release(context, stack);
        return td_fail_memory(context);
    }
    for (uint32_t i = 0; i < core->count; i++)
        number[core->origin[i]] = i;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        left[u] = sched_list_length(&core->members, u);
        waiting[u] = sched_list_length(&core->before, u);
    }
    /* A unit is wanted when its last member comes; it waits for units that must come before. */
    uint32_t placed = 0;
    for (uint32_t step = 0; step < core->count; step++) {
        const uint32_t wanted = core->unit_of[number[order[step]]];
        if (--left[wanted] > 0 || waiting[wanted] > 0)
            continue;
        uint32_t depth = 0;
        stack[depth++] = wanted;
        while (depth > 0) {
            const uint32_t unit = stack[--depth];
            units[placed++] = unit;
            sched_for_each(next, &core->after, unit) if (--waiting[*next] == 0 && left[*next] == 0)
                stack[depth++] = *next;
        }
    }
    td_release(context, number);
    td_release(context, left);
    td_release(context, waiting);
    td_release(context, stack);
    return TD_OK;
}
