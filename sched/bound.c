/* Lower bounds of the least peak.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A node can bound the peak by no more than it needs in some order. So the given order, and every
 * cut found on the way, say how much each node may still be worth, and only those that may be worth
 * more than the bound so far are asked, the most promising first. */
#include "sched/bound.h"

#include "sched/cut.h"
#include "sched/problem.h"

#include <string.h>

/* --- the largest single step --- */

/* The buffer a node's value is sure to lie in or to be no larger than. */
static uint32_t view_root(const sched_problem *problem, uint32_t node)
{
    while (problem->nodes[node].view_of >= 0)
        node = (uint32_t)problem->nodes[node].view_of;
    return node;
}

uint64_t sched_lower_bound(const sched_problem *problem)
{
    uint64_t bound = 0;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        const sched_node *node = &problem->nodes[i];
        const uint32_t *inputs = sched_inputs(problem, i);
        uint64_t step = node->workspace;
        bool reused = node->view_of >= 0;
        bool may_share = false; /* inputs are different nodes: only views lie in one buffer */
        for (uint32_t k = 0; k < node->input_count; k++) {
            const uint32_t root = view_root(problem, inputs[k]);
            bool counted = false;
            may_share = may_share || root != inputs[k];
            for (uint32_t j = 0; may_share && j < k; j++)
                counted = counted || view_root(problem, inputs[j]) == root;
            step += counted ? 0 : problem->nodes[root].bytes;
            /* An input may lie in a larger buffer that was taken over, so any may do. */
            reused = reused || k < node->in_place;
        }
        step += reused ? 0 : node->bytes;
        if (step > bound)
            bound = step;
    }
    return bound;
}

/* --- minimum cuts --- */

typedef struct bounder {
    const sched_core *core;
    sched_network network;
    uint64_t *promise; /* by node: what it needs in the best known place */
    uint32_t *left;    /* by group: users that have not run */
    bool *open;        /* by node: not asked yet */
} bounder;

/* What each node needs in the given order. */
static void promise_by_order(bounder *b, const uint32_t *units)
{
    const sched_core *core = b->core;
    uint64_t live = core->base;
    for (uint32_t group = 0; group < core->group_count; group++)
        b->left[group] = sched_list_length(&core->users, group);
    for (uint32_t i = 0; i < core->unit_count; i++)
        sched_for_each(node, &core->members, units[i])
        {
            b->promise[*node] = sched_core_run(core, *node, b->left, &live);
            b->open[*node] = true;
        }
}

/* Whether a node is the next of its unit in the set of the last cut. */
static bool is_ready(const bounder *b, uint32_t node)
{
    const sched_core *core = b->core;
    const uint32_t unit = core->unit_of[node];
    sched_for_each(member, &core->members, unit)
    {
        if (*member == node)
            break;
        if (!sched_network_holds(&b->network, *member))
            return false;
    }
    sched_for_each(
        other, &core->before,
        unit) if (!sched_network_holds(&b->network, *sched_last_member(core, *other))) return false;
    return !sched_network_holds(&b->network, node);
}

/* What each node that is ready in the set of the last cut needs there. */
static void promise_by_cut(bounder *b)
{
    const sched_core *core = b->core;
    uint64_t live = core->base;
    for (uint32_t group = 0; group < core->group_count; group++)
        b->left[group] = sched_list_length(&core->users, group);
    for (uint32_t node = 0; node < core->count; node++)
        if (sched_network_holds(&b->network, node))
            sched_core_run(core, node, b->left, &live);
    for (uint32_t node = 0; node < core->count; node++) {
        if (!b->open[node] || !is_ready(b, node))
            continue;
        uint64_t after = live;
        const uint64_t during = sched_core_run(core, node, b->left, &after);
        sched_for_each(group, &core->reads, node) b->left[*group]++;
        b->promise[node] = during < b->promise[node] ? during : b->promise[node];
    }
}

static uint32_t most_promising(const bounder *b)
{
    uint32_t best = SCHED_NONE;
    for (uint32_t node = 0; node < b->core->count; node++)
        if (b->open[node] && (best == SCHED_NONE || b->promise[node] > b->promise[best]))
            best = node;
    return best;
}

static void ask_nodes(bounder *b, sched_effort *effort, uint64_t *bound)
{
    for (;;) {
        const uint32_t node = most_promising(b);
        uint64_t least;
        if (node == SCHED_NONE || b->promise[node] <= *bound)
            return;
        b->open[node] = false;
        if (!sched_network_least(&b->network, node, effort, &least))
            return;
        *bound = least > *bound ? least : *bound;
        promise_by_cut(b);
    }
}

td_status sched_bound_by_cuts(const sched_core *core, const uint32_t *units, sched_effort *effort,
                              uint64_t *bound)
{
    td_context *context = core->context;
    bounder b = {.core = core};
    b.promise = td_allocate(context, (core->count + (size_t)1) * sizeof *b.promise);
    b.left = td_allocate(context, (core->group_count + (size_t)1) * sizeof *b.left);
    b.open = td_allocate(context, (core->count + (size_t)1) * sizeof *b.open);
    td_status status = b.promise == NULL || b.left == NULL || b.open == NULL
                           ? td_fail_memory(context)
                           : sched_network_make(core, &b.network);
    if (status == TD_OK) {
        promise_by_order(&b, units);
        ask_nodes(&b, effort, bound);
    }
    sched_network_release(&b.network);
    td_release(context, b.promise);
    td_release(context, b.left);
    td_release(context, b.open);
    return status;
}

td_status sched_cut_bound(const sched_problem *problem, const uint32_t *order, uint64_t *bound)
{
    td_context *context = problem->context;
    sched_effort effort = {.work = SCHED_USUAL_WORK};
    sched_core core;
    TD_TRY(sched_core_make(problem, &core));
    uint32_t *units = td_allocate(context, (core.unit_count + (size_t)1) * sizeof *units);
    td_status status =
        units == NULL ? td_fail_memory(context) : sched_core_adopt(&core, order, units);
    if (status == TD_OK)
        status = sched_bound_by_cuts(&core, units, &effort, bound);
    td_release(context, units);
    sched_core_release(&core);
    return status;
}
