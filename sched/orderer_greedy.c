/* greedy: always the ready node that frees most memory (as in XLA's list scheduler).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"

#include <stdlib.h>
#include <string.h>

static uint32_t reader_count(const sched_problem *problem, uint32_t node)
{
    return problem->first_reader[node + 1] - problem->first_reader[node];
}

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

td_status sched_order_greedy(const sched_problem *problem, const sched_options *options,
                             sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
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
