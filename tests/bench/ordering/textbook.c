/* The table of textbook orderers, and those that XLA has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/ordering/textbook.h"

#include <stdlib.h>
#include <string.h>

#define USUAL_WIDTH 64

/* Two of them can be added. */
#define LARGEST_SUM (UINT64_MAX / 2)

static td_status order_file(const sched_problem *problem, const textbook_orderer *row,
                            uint32_t width, uint32_t *order)
{
    (void)row;
    (void)width;
    uint64_t peak;
    for (uint32_t i = 0; i < problem->node_count; i++)
        order[i] = i;
    return sched_evaluate(problem, order, &peak);
}

static uint32_t reader_count(const sched_problem *problem, uint32_t node)
{
    return problem->first_reader[node + 1] - problem->first_reader[node];
}

static const uint32_t *inputs_of(const sched_problem *problem, uint32_t node)
{
    return problem->inputs + problem->nodes[node].first_input;
}

/* --- the list scheduler --- */

typedef struct list_scheduler {
    const sched_problem *problem;
    uint32_t *waiting, *unread; /* by node: inputs that have not run, readers that have not */
    uint32_t *stamp;            /* by node that is ready: when it last entered the queue; else 0 */
    uint32_t *ready, ready_count, clock;
} list_scheduler;

/* Bytes freed less bytes defined. */
static int64_t gain_of(const list_scheduler *s, uint32_t node)
{
    int64_t gain = -(int64_t)s->problem->nodes[node].bytes;
    for (uint32_t k = 0; k < s->problem->nodes[node].input_count; k++) {
        const uint32_t input = inputs_of(s->problem, node)[k];
        if (s->unread[input] == 1 && !s->problem->nodes[input].persistent)
            gain += (int64_t)s->problem->nodes[input].bytes;
    }
    return gain;
}

/* The place in the queue of who comes next: most gain, then most readers, then the one that came
 * last (the end of XLA's multimap). */
static uint32_t pick(const list_scheduler *s)
{
    uint32_t best = 0;
    int64_t best_gain = gain_of(s, s->ready[0]);
    for (uint32_t i = 1; i < s->ready_count; i++) {
        const uint32_t node = s->ready[i], other = s->ready[best];
        const int64_t gain = gain_of(s, node);
        const uint32_t readers = reader_count(s->problem, node),
                       other_readers = reader_count(s->problem, other);
        if (gain > best_gain || (gain == best_gain &&
                                 (readers > other_readers || (readers == other_readers &&
                                                              s->stamp[node] > s->stamp[other])))) {
            best = i;
            best_gain = gain;
        }
    }
    return best;
}

static void run_list(list_scheduler *s, uint32_t *order)
{
    const sched_problem *problem = s->problem;
    for (uint32_t i = 0; i < problem->node_count; i++) {
        s->waiting[i] = problem->nodes[i].input_count;
        s->unread[i] = reader_count(problem, i);
        if (s->waiting[i] == 0) {
            s->stamp[i] = ++s->clock;
            s->ready[s->ready_count++] = i;
        }
    }
    for (uint32_t step = 0; s->ready_count > 0; step++) {
        const uint32_t at = pick(s), node = s->ready[at];
        s->ready[at] = s->ready[--s->ready_count];
        s->stamp[node] = 0;
        order[step] = node;
        /* Whoever frees an input from now on enters the queue anew. */
        for (uint32_t k = 0; k < problem->nodes[node].input_count; k++) {
            const uint32_t input = inputs_of(problem, node)[k];
            s->unread[input]--;
            for (uint32_t r = problem->first_reader[input];
                 s->unread[input] == 1 && r < problem->first_reader[input + 1]; r++)
                if (s->stamp[problem->readers[r]] != 0)
                    s->stamp[problem->readers[r]] = ++s->clock;
        }
        for (uint32_t r = problem->first_reader[node]; r < problem->first_reader[node + 1]; r++) {
            const uint32_t reader = problem->readers[r];
            if (--s->waiting[reader] > 0)
                continue;
            s->stamp[reader] = ++s->clock;
            s->ready[s->ready_count++] = reader;
        }
    }
}

static td_status order_greedy(const sched_problem *problem, const textbook_orderer *row,
                              uint32_t width, uint32_t *order)
{
    (void)row;
    (void)width;
    const size_t count = problem->node_count + (size_t)1;
    list_scheduler s = {.problem = problem};
    uint32_t *scratch = td_allocate(problem->context, 4 * count * sizeof *scratch);
    if (scratch == NULL)
        return td_fail_memory(problem->context);
    s.waiting = scratch;
    s.unread = scratch + count;
    s.stamp = scratch + 2 * count;
    s.ready = scratch + 3 * count;
    run_list(&s, order);
    td_release(problem->context, scratch);
    return TD_OK;
}

/* --- depth first --- */

/* Of all that leads to a node: users beyond the first, and bytes; what several paths lead to counts
 * several times, up to the cap. */
typedef struct weight {
    uint64_t extra_users, bytes;
} weight;

typedef struct walker {
    const sched_problem *problem;
    weight *weights; /* by node; NULL: operands as they stand */
    bool *entered;
    uint32_t *order, placed;
} walker;

static bool visited_before(const walker *w, uint32_t a, uint32_t b)
{
    const weight *x = &w->weights[a], *y = &w->weights[b];
    if (x->extra_users != y->extra_users)
        return x->extra_users > y->extra_users;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes;
    return a < b;
}

/* The operand to visit next, or UINT32_MAX. */
static uint32_t next_operand(const walker *w, const uint32_t *operands, uint32_t count)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t k = 0; k < count; k++) {
        const uint32_t operand = operands[k];
        if (w->entered[operand])
            continue;
        if (best == UINT32_MAX || (w->weights != NULL && visited_before(w, operand, best)))
            best = operand;
    }
    return best;
}

/* The results are the operands of one more node, as the root of a computation is a tuple. */
static td_status walk(walker *w)
{
    const sched_problem *problem = w->problem;
    td_context *context = problem->context;
    const uint32_t count = problem->node_count;
    uint32_t *stack = td_allocate(context, 2 * (count + (size_t)1) * sizeof *stack), depth = 0;
    if (stack == NULL)
        return td_fail_memory(context);
    uint32_t *results = stack + count + 1, result_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (reader_count(problem, i) == 0)
            results[result_count++] = i;
    memset(w->entered, 0, count * sizeof *w->entered);
    w->placed = 0;
    for (;;) {
        const uint32_t top = depth == 0 ? UINT32_MAX : stack[depth - 1];
        const uint32_t next =
            depth == 0 ? next_operand(w, results, result_count)
                       : next_operand(w, inputs_of(problem, top), problem->nodes[top].input_count);
        if (next != UINT32_MAX) {
            w->entered[next] = true;
            stack[depth++] = next;
        } else if (depth > 0) {
            w->order[w->placed++] = stack[--depth];
        } else {
            break;
        }
    }
    td_release(context, stack);
    return TD_OK;
}

static uint64_t at_most(uint64_t cap, uint64_t sum)
{
    return sum < cap ? sum : cap;
}

/* In post-order. XLA's caps are the number of nodes and the bytes so far, lest sums overflow. */
static void weigh(const sched_problem *problem, const uint32_t *post_order, bool capped,
                  weight *weights)
{
    uint64_t bytes_so_far = 0;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t node = post_order[step], readers = reader_count(problem, node);
        weight sum = {readers > 0 ? readers - 1 : 0, problem->nodes[node].bytes};
        bytes_so_far += problem->nodes[node].bytes;
        for (uint32_t k = 0; k < problem->nodes[node].input_count; k++) {
            const weight *operand = &weights[inputs_of(problem, node)[k]];
            sum.extra_users = at_most(LARGEST_SUM, sum.extra_users + operand->extra_users);
            sum.bytes = at_most(LARGEST_SUM, sum.bytes + operand->bytes);
        }
        weights[node] = sum;
        if (capped)
            weights[node] = (weight){at_most(problem->node_count, sum.extra_users),
                                     at_most(bytes_so_far, sum.bytes)};
    }
}

static td_status order_dfs(const sched_problem *problem, const textbook_orderer *row,
                           uint32_t width, uint32_t *order)
{
    (void)width;
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    walker w = {.problem = problem, .order = order};
    w.entered = td_allocate(context, count * sizeof *w.entered);
    weight *weights = td_allocate(context, count * sizeof *weights);
    td_status status = w.entered == NULL || weights == NULL ? td_fail_memory(context) : walk(&w);
    if (status == TD_OK) {
        weigh(problem, order, row->capped, weights);
        w.weights = weights;
        status = walk(&w);
    }
    td_release(context, w.entered);
    td_release(context, weights);
    return status;
}

/* --- the table --- */

const textbook_orderer textbook_orderers[] = {
    {.name = "file", .order = order_file},
    {.name = "dfs", .order = order_dfs, .capped = true},
    {.name = "dfs-plain", .order = order_dfs},
    {.name = "greedy", .order = order_greedy},
    {.name = "beam", .order = textbook_beam},
    {.name = "beam-backward", .order = textbook_beam, .backward = true},
    {.name = "beam-by-peak", .order = textbook_beam, .by_peak = true},
    {.name = "beam-backward-by-peak", .order = textbook_beam, .backward = true, .by_peak = true},
    {.name = NULL},
};

const textbook_orderer *textbook_find(const char *name, uint32_t *width)
{
    const char *colon = strchr(name, ':');
    const size_t length = colon == NULL ? strlen(name) : (size_t)(colon - name);
    const long wanted = colon == NULL ? USUAL_WIDTH : strtol(colon + 1, NULL, 10);
    *width = wanted > 0 && wanted <= 1000000 ? (uint32_t)wanted : USUAL_WIDTH;
    for (const textbook_orderer *row = textbook_orderers; row->name != NULL; row++)
        if (strlen(row->name) == length && strncmp(row->name, name, length) == 0)
            return row;
    return NULL;
}
