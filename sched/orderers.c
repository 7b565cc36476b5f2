/* The table of orderers, and the quick ones: file, dfs, greedy, auto.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/problem.h"

#include <stdlib.h>
#include <string.h>

static uint32_t reader_count(const sched_problem *problem, uint32_t node)
{
    return problem->first_reader[node + 1] - problem->first_reader[node];
}

/* --- file: the order of the model file --- */

static td_status order_file(const sched_problem *problem, const sched_options *options,
                            uint32_t *order)
{
    (void)options;
    for (uint32_t i = 0; i < problem->node_count; i++)
        order[i] = i;
    uint64_t peak;
    return sched_evaluate(problem, order, &peak);
}

/* --- dfs: from the sinks, operands with much behind them first (as in XLA's DFS scheduler) --- */

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

static td_status order_dfs(const sched_problem *problem, const sched_options *options,
                           uint32_t *order)
{
    (void)options;
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

/* --- greedy: the ready node that frees most (as in XLA's list scheduler) --- */

typedef struct candidate {
    int64_t gain; /* bytes freed minus bytes defined */
    uint32_t users, node;
} candidate;

/* Whether a goes before b: more gain, then more users, then file order. */
static bool better(const candidate *a, const candidate *b)
{
    if (a->gain != b->gain)
        return a->gain > b->gain;
    if (a->users != b->users)
        return a->users > b->users;
    return a->node < b->node;
}

/* A binary heap; a node whose gain grew is pushed again and its stale entries are skipped. */
typedef struct heap {
    candidate *items;
    size_t count;
} heap;

static void heap_push(heap *h, candidate item)
{
    size_t i = h->count++;
    for (; i > 0 && better(&item, &h->items[(i - 1) / 2]); i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = item;
}

static candidate heap_pop(heap *h)
{
    const candidate top = h->items[0], last = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && better(&h->items[child + 1], &h->items[child]))
            child++;
        if (!better(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

typedef struct greedy {
    const sched_problem *problem;
    uint32_t *waiting, *unread;
    bool *done;
    heap ready;
} greedy;

static candidate weigh(const greedy *g, uint32_t node)
{
    const sched_node *self = &g->problem->nodes[node];
    int64_t gain = -(int64_t)self->bytes;
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint32_t input = sched_inputs(g->problem, node)[k];
        if (g->unread[input] == 1 && !g->problem->nodes[input].persistent)
            gain += (int64_t)g->problem->nodes[input].bytes;
    }
    return (candidate){gain, reader_count(g->problem, node), node};
}

static void run_greedy(greedy *g, uint32_t *order)
{
    const sched_problem *problem = g->problem;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        g->waiting[i] = problem->nodes[i].input_count;
        g->unread[i] = reader_count(problem, i);
    }
    for (uint32_t i = 0; i < problem->node_count; i++)
        if (g->waiting[i] == 0)
            heap_push(&g->ready, weigh(g, i));
    for (uint32_t step = 0; g->ready.count > 0;) {
        const uint32_t node = heap_pop(&g->ready).node;
        if (g->done[node])
            continue;
        g->done[node] = true;
        order[step++] = node;
        for (uint32_t k = 0; k < problem->nodes[node].input_count; k++) {
            const uint32_t input = sched_inputs(problem, node)[k];
            if (--g->unread[input] != 1)
                continue;
            /* One reader is left: it now frees this input. */
            for (uint32_t r = problem->first_reader[input]; r < problem->first_reader[input + 1];
                 r++)
                if (!g->done[problem->readers[r]] && g->waiting[problem->readers[r]] == 0)
                    heap_push(&g->ready, weigh(g, problem->readers[r]));
        }
        for (uint32_t r = problem->first_reader[node]; r < problem->first_reader[node + 1]; r++)
            if (--g->waiting[problem->readers[r]] == 0)
                heap_push(&g->ready, weigh(g, problem->readers[r]));
    }
}

static td_status order_greedy(const sched_problem *problem, const sched_options *options,
                              uint32_t *order)
{
    (void)options;
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    greedy g = {.problem = problem};
    g.waiting = td_allocate(context, count * sizeof *g.waiting);
    g.unread = td_allocate(context, count * sizeof *g.unread);
    g.done = td_allocate(context, count * sizeof *g.done);
    g.ready.items = td_allocate(context, (count + problem->input_count) * sizeof *g.ready.items);
    td_status status = TD_OK;
    if (g.waiting == NULL || g.unread == NULL || g.done == NULL || g.ready.items == NULL)
        status = td_fail_memory(context);
    else
        run_greedy(&g, order);
    td_release(context, g.waiting);
    td_release(context, g.unread);
    td_release(context, g.done);
    td_release(context, g.ready.items);
    return status;
}

/* --- auto: every other row; the first of the best is kept --- */

static td_status order_auto(const sched_problem *problem, const sched_options *options,
                            uint32_t *order)
{
    td_context *context = problem->context;
    uint32_t *tried = td_allocate(context, (problem->node_count + (size_t)1) * sizeof *tried);
    if (tried == NULL)
        return td_fail_memory(context);
    uint64_t best = UINT64_MAX;
    td_status status = TD_OK;
    for (const sched_orderer *row = sched_orderers; row->name != NULL && status == TD_OK; row++) {
        uint64_t peak;
        if (row->order == order_auto)
            continue;
        status = row->order(problem, options, tried);
        if (status == TD_OK)
            status = sched_evaluate(problem, tried, &peak);
        if (status == TD_OK && peak < best) {
            best = peak;
            memcpy(order, tried, problem->node_count * sizeof *order);
        }
    }
    td_release(context, tried);
    return status;
}

const sched_orderer sched_orderers[] = {
    {"file", "the order of the model file", order_file},
    {"dfs", "depth first from the results, operands with most behind them first", order_dfs},
    {"greedy", "always the ready node that frees most memory", order_greedy},
    {"auto", "the best of all others", order_auto},
    {NULL, NULL, NULL},
};

const sched_orderer *sched_find_orderer(const char *name)
{
    for (const sched_orderer *row = sched_orderers; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

td_status sched_order_graph(ir_graph *graph, const char *orderer, const sched_options *options,
                            uint64_t *peak, uint64_t *lower_bound, const char **chosen)
{
    td_context *context = graph->module->context;
    const sched_orderer *row = sched_find_orderer(orderer);
    if (row == NULL)
        return td_fail(context, TD_USAGE,
                       "unknown orderer \"%s\"; known are file, dfs, greedy and auto", orderer);
    sched_problem problem;
    TD_TRY(sched_problem_from_graph(graph, &problem));
    uint32_t *order = td_allocate(context, (problem.node_count + (size_t)1) * sizeof *order);
    td_status status = order == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK)
        status = row->order(&problem, options, order);
    if (status == TD_OK)
        status = sched_evaluate(&problem, order, peak);
    if (status == TD_OK) {
        *lower_bound = sched_lower_bound(&problem);
        *chosen = row->name;
        /* Moving each node to the end in turn leaves the list in the new order. */
        for (uint32_t step = 0; step < problem.node_count; step++)
            ir_graph_move_node(graph, (ir_node *)(uintptr_t)problem.nodes[order[step]].node, NULL);
        ir_graph_number(graph);
    }
    td_release(context, order);
    sched_problem_release(&problem);
    return status;
}
