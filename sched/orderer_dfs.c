/* dfs: depth first from the results, operands with much behind them first (as in XLA's DFS
 * scheduler, hlo_memory_scheduler.cc, and Sethi-Ullman numbering).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"

#include <stdlib.h>
#include <string.h>

static uint32_t reader_count(const sched_problem *problem, uint32_t node)
{
    return problem->first_reader[node + 1] - problem->first_reader[node];
}

typedef struct dfs_rank {
    uint64_t extra_users, bytes; /* transitive sums, saturating */
    uint32_t node;
} dfs_rank;

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return td_add(a, b, &sum) ? sum : UINT64_MAX;
}

static int compare_ranks(const void *left, const void *right)
{
    const dfs_rank *a = left, *b = right;
    if (a->extra_users != b->extra_users)
        return a->extra_users > b->extra_users ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

typedef struct dfs_frame {
    uint32_t node, next; /* next: which of its sorted operands comes next */
} dfs_frame;

typedef struct dfs {
    const sched_problem *problem;
    dfs_rank *ranks;  /* by node */
    dfs_rank *sorted; /* operands, at first_input of each node, sorted when it is entered */
    bool *entered;
    dfs_frame *stack;
    uint32_t *order, placed;
} dfs;

/* Ranks need a topological order; the one of the file may not be one, so nodes are ranked in the
 * order of a first Kahn sweep kept in `order`. */
static void rank_nodes(dfs *d)
{
    const sched_problem *problem = d->problem;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t node = d->order[step];
        const uint32_t users = reader_count(problem, node);
        dfs_rank rank = {users > 1 ? users - 1 : 0, problem->nodes[node].bytes, node};
        for (uint32_t k = 0; k < problem->nodes[node].input_count; k++) {
            const dfs_rank *input = &d->ranks[sched_inputs(problem, node)[k]];
            rank.extra_users = saturating_add(rank.extra_users, input->extra_users);
            rank.bytes = saturating_add(rank.bytes, input->bytes);
        }
        d->ranks[node] = rank;
    }
}

static void enter(dfs *d, uint32_t node, uint32_t *depth)
{
    const sched_node *self = &d->problem->nodes[node];
    dfs_rank *operands = d->sorted + self->first_input;
    for (uint32_t k = 0; k < self->input_count; k++)
        operands[k] = d->ranks[sched_inputs(d->problem, node)[k]];
    qsort(operands, self->input_count, sizeof *operands, compare_ranks);
    d->entered[node] = true;
    d->stack[(*depth)++] = (dfs_frame){node, 0};
}

static void visit(dfs *d, uint32_t sink)
{
    uint32_t depth = 0;
    enter(d, sink, &depth);
    while (depth > 0) {
        dfs_frame *frame = &d->stack[depth - 1];
        const sched_node *self = &d->problem->nodes[frame->node];
        if (frame->next == self->input_count) {
            d->order[d->placed++] = frame->node;
            depth--;
            continue;
        }
        const uint32_t operand = d->sorted[self->first_input + frame->next++].node;
        if (!d->entered[operand])
            enter(d, operand, &depth);
    }
}

td_status sched_order_dfs(const sched_problem *problem, const sched_options *options,
                          sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    uint32_t *waiting = td_allocate(context, count * sizeof *waiting);
    dfs d = {.problem = problem, .order = order};
    d.ranks = td_allocate(context, count * sizeof *d.ranks);
    d.sorted = td_allocate(context, (problem->input_count + (size_t)1) * sizeof *d.sorted);
    d.entered = td_allocate(context, count * sizeof *d.entered);
    d.stack = td_allocate(context, count * sizeof *d.stack);
    td_status status = TD_OK;
    if (waiting == NULL || d.ranks == NULL || d.sorted == NULL || d.entered == NULL ||
        d.stack == NULL) {
        status = td_fail_memory(context);
    } else {
        sched_any_order(problem, waiting, order);
        rank_nodes(&d);
        for (uint32_t i = 0; i < problem->node_count; i++)
            if (reader_count(problem, i) == 0 && !d.entered[i])
                visit(&d, i);
    }
    td_release(context, waiting);
    td_release(context, d.ranks);
    td_release(context, d.sorted);
    td_release(context, d.entered);
    td_release(context, d.stack);
    return status;
}
