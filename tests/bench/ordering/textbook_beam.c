/* The textbook beam: approximate dynamic programming over sets of executed nodes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Level k holds sets of k nodes: forward those that have run, backward those that have not. From
 * each set every node that may come next leads to a set of the next level. Equal sets are one, of
 * the least peak; those with the least live memory, then the lesser peak, are kept (by peak: the
 * other way round); ties: the set that was made first. A buffer is alive from its node to its last
 * reader, or to the end when it is persistent; views and takeovers are not looked at, the common
 * evaluator scores the order. */
#include "tests/bench/ordering/textbook.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

typedef struct state {
    uint64_t *marks; /* by node: it has run (backward: it is taken off the end) */
    uint32_t *ready, ready_count;
    uint64_t live, peak, hash;
} state;

/* A child that is not yet made. */
typedef struct child {
    uint64_t live, peak, hash;
    uint64_t rank, second; /* live and peak, in the beam's order */
    uint32_t parent, node;
} child;

typedef struct level {
    state *states;
    uint32_t count;
    td_arena arena;
} level;

typedef struct beam {
    const sched_problem *problem;
    bool backward, by_peak;
    uint32_t width, words;
    uint64_t *key; /* by node: random; equal sets are those of equal sums of keys */
    level levels[2];
    child *children; /* room for 4 * width and one set's */
    uint32_t child_count;
    uint64_t cutoff; /* `width` sets that rank no worse are known */
    uint64_t *seen;  /* hashes, a table of twice as many places as children; 0 is free */
    size_t seen_size;
    child **history; /* by level */
} beam;

static bool has(const state *s, uint32_t node)
{
    return (s->marks[node / 64] >> (node % 64) & 1) != 0;
}

/* Nodes that a node waits for, and those that wait for it, in the beam's direction. */
static const uint32_t *neighbours(const beam *b, uint32_t node, bool waited_for, uint32_t *count)
{
    const sched_problem *problem = b->problem;
    if (waited_for != b->backward) {
        *count = problem->nodes[node].input_count;
        return problem->inputs + problem->nodes[node].first_input;
    }
    *count = problem->first_reader[node + 1] - problem->first_reader[node];
    return problem->readers + problem->first_reader[node];
}

/* Whether a node is the last reader of `input`: all others have run. */
static bool frees(const beam *b, const state *from, uint32_t input, uint32_t node)
{
    const sched_problem *problem = b->problem;
    if (problem->nodes[input].persistent)
        return false;
    for (uint32_t r = problem->first_reader[input]; r < problem->first_reader[input + 1]; r++) {
        const uint32_t reader = problem->readers[r];
        if (reader != node && has(from, reader) == b->backward)
            return false;
    }
    return true;
}

static child run_node(const beam *b, const state *from, uint32_t parent, uint32_t node)
{
    const sched_problem *problem = b->problem;
    const sched_node *self = &problem->nodes[node];
    const bool stays =
        self->persistent || problem->first_reader[node + 1] > problem->first_reader[node];
    const uint64_t kept = stays ? self->bytes : 0;
    uint64_t freed = 0;
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint32_t input = problem->inputs[self->first_input + k];
        freed += frees(b, from, input, node) ? problem->nodes[input].bytes : 0;
    }
    /* The state's live memory is that before the node (backward: after it). */
    const uint64_t before = b->backward ? from->live + freed - kept : from->live;
    const uint64_t during = before + self->bytes + self->workspace;
    const uint64_t live = b->backward ? before : before + kept - freed;
    const uint64_t peak = during > from->peak ? during : from->peak;
    return (child){.live = live,
                   .peak = peak,
                   .hash = from->hash + b->key[node],
                   .rank = b->by_peak ? peak : live,
                   .second = b->by_peak ? live : peak,
                   .parent = parent,
                   .node = node};
}

/* --- the best children --- */

static int compare_children(const void *left, const void *right)
{
    const child *a = left, *b = right;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    if (a->second != b->second)
        return a->second < b->second ? -1 : 1;
    if (a->parent != b->parent)
        return a->parent < b->parent ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* True the first time. */
static bool is_new(beam *b, uint64_t hash)
{
    hash += hash == 0;
    size_t slot = hash & (b->seen_size - 1);
    while (b->seen[slot] != 0 && b->seen[slot] != hash)
        slot = (slot + 1) & (b->seen_size - 1);
    const bool result = b->seen[slot] == 0;
    b->seen[slot] = hash;
    return result;
}

/* Sorts the children; one of each set stays, and at most `width`. */
static void keep_best(beam *b)
{
    uint32_t kept = 0;
    qsort(b->children, b->child_count, sizeof *b->children, compare_children);
    memset(b->seen, 0, b->seen_size * sizeof *b->seen);
    for (uint32_t c = 0; c < b->child_count && kept < b->width; c++)
        if (is_new(b, b->children[c].hash))
            b->children[kept++] = b->children[c];
    b->child_count = kept;
    if (kept == b->width)
        b->cutoff = b->children[kept - 1].rank;
}

static void find_children(beam *b, const level *from)
{
    b->child_count = 0;
    b->cutoff = UINT64_MAX;
    for (uint32_t s = 0; s < from->count; s++) {
        const state *parent = &from->states[s];
        for (uint32_t r = 0; r < parent->ready_count; r++) {
            const child next = run_node(b, parent, s, parent->ready[r]);
            if (next.rank <= b->cutoff)
                b->children[b->child_count++] = next;
        }
        if (b->child_count >= b->width * (size_t)4)
            keep_best(b);
    }
    keep_best(b);
}

/* --- levels --- */

static bool is_ready(const beam *b, const state *s, uint32_t node)
{
    uint32_t count;
    const uint32_t *needed = neighbours(b, node, true, &count);
    for (uint32_t k = 0; k < count; k++)
        if (!has(s, needed[k]))
            return false;
    return true;
}

static td_status make_state(const beam *b, const state *parent, const child *how, level *to)
{
    uint32_t count;
    const uint32_t *released = neighbours(b, how->node, false, &count);
    state *s = &to->states[to->count++];
    *s = (state){.live = how->live, .peak = how->peak, .hash = how->hash};
    s->marks = td_arena_allocate(&to->arena, b->words, sizeof *s->marks);
    s->ready = td_arena_allocate(&to->arena, parent->ready_count + (size_t)count, sizeof *s->ready);
    if (s->marks == NULL || s->ready == NULL)
        return td_fail_memory(b->problem->context);
    memcpy(s->marks, parent->marks, b->words * sizeof *s->marks);
    s->marks[how->node / 64] |= UINT64_C(1) << (how->node % 64);
    for (uint32_t r = 0; r < parent->ready_count; r++)
        if (parent->ready[r] != how->node)
            s->ready[s->ready_count++] = parent->ready[r];
    for (uint32_t k = 0; k < count; k++)
        if (is_ready(b, s, released[k]))
            s->ready[s->ready_count++] = released[k];
    return TD_OK;
}

static td_status make_level(beam *b, uint32_t depth, const level *from, level *to)
{
    td_context *context = b->problem->context;
    td_arena_release(&to->arena);
    td_arena_init(&to->arena, context);
    to->count = 0;
    b->history[depth] = td_allocate(context, b->child_count * sizeof **b->history);
    if (b->history[depth] == NULL)
        return td_fail_memory(context);
    memcpy(b->history[depth], b->children, b->child_count * sizeof **b->history);
    for (uint32_t c = 0; c < b->child_count; c++)
        TD_TRY(make_state(b, &from->states[b->children[c].parent], &b->children[c], to));
    return TD_OK;
}

/* Nothing has run; backward everything has, and what is persistent is alive. */
static td_status make_root(beam *b)
{
    const sched_problem *problem = b->problem;
    level *first = &b->levels[0];
    state *root = &first->states[0];
    root->marks = td_arena_allocate(&first->arena, b->words, sizeof *root->marks);
    root->ready = td_arena_allocate(&first->arena, problem->node_count, sizeof *root->ready);
    if (root->marks == NULL || root->ready == NULL)
        return td_fail_memory(problem->context);
    for (uint32_t i = 0; i < problem->node_count; i++) {
        uint32_t count;
        neighbours(b, i, true, &count);
        if (count == 0)
            root->ready[root->ready_count++] = i;
        if (b->backward && problem->nodes[i].persistent)
            root->live += problem->nodes[i].bytes;
    }
    root->peak = root->live;
    first->count = 1;
    return TD_OK;
}

static td_status prepare(beam *b)
{
    td_context *context = b->problem->context;
    const uint32_t nodes = b->problem->node_count;
    uint64_t random = 1;
    b->words = nodes / 64 + 1;
    b->seen_size = 1024;
    while (b->seen_size < 2 * (b->width * (size_t)4 + nodes))
        b->seen_size *= 2;
    b->key = td_allocate(context, (nodes + (size_t)1) * sizeof *b->key);
    b->children = td_allocate(context, (b->width * (size_t)4 + nodes) * sizeof *b->children);
    b->seen = td_allocate(context, b->seen_size * sizeof *b->seen);
    b->history = td_allocate(context, (nodes + (size_t)1) * sizeof *b->history);
    for (int i = 0; i < 2; i++)
        b->levels[i].states = td_allocate(context, b->width * sizeof(state));
    if (b->key == NULL || b->children == NULL || b->seen == NULL || b->history == NULL ||
        b->levels[0].states == NULL || b->levels[1].states == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < nodes; i++)
        b->key[i] = td_random_next(&random);
    return make_root(b);
}

static td_status run(beam *b, uint32_t *order)
{
    const uint32_t nodes = b->problem->node_count;
    for (uint32_t depth = 0; depth < nodes; depth++) {
        find_children(b, &b->levels[depth % 2]);
        TD_TRY(make_level(b, depth, &b->levels[depth % 2], &b->levels[(depth + 1) % 2]));
    }
    for (uint32_t depth = nodes, at = 0; depth-- > 0;) {
        order[b->backward ? nodes - 1 - depth : depth] = b->history[depth][at].node;
        at = b->history[depth][at].parent;
    }
    return TD_OK;
}

td_status textbook_beam(const sched_problem *problem, const textbook_orderer *row, uint32_t width,
                        uint32_t *order)
{
    td_context *context = problem->context;
    beam b = {
        .problem = problem, .width = width, .backward = row->backward, .by_peak = row->by_peak};
    td_arena_init(&b.levels[0].arena, context);
    td_arena_init(&b.levels[1].arena, context);
    td_status status = prepare(&b);
    if (status == TD_OK)
        status = run(&b, order);
    for (uint32_t depth = 0; b.history != NULL && depth < problem->node_count; depth++)
        td_release(context, b.history[depth]);
    for (int i = 0; i < 2; i++) {
        td_arena_release(&b.levels[i].arena);
        td_release(context, b.levels[i].states);
    }
    td_release(context, b.key);
    td_release(context, b.children);
    td_release(context, b.seen);
    td_release(context, b.history);
    return status;
}
