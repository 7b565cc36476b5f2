/* The least peak of a small problem by trying every order, written independently of sched/: the
 * memory model straight from its definition.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_SCHED_EXHAUSTIVE_H
#define TANDEM_TESTS_SCHED_EXHAUSTIVE_H

#include "tests/sched/random_problem.h"

typedef struct exhaustive {
    const sched_problem *problem;
    uint32_t owner[MAX_NODES];
    bool done[MAX_NODES];
    uint64_t best;
} exhaustive;

/* Whether an executed value in `buffer` is still wanted by somebody other than `except`. */
static inline bool buffer_is_needed(const exhaustive *x, uint32_t buffer, uint32_t except)
{
    const sched_problem *problem = x->problem;
    for (uint32_t v = 0; v < problem->node_count; v++) {
        if (!x->done[v] || x->owner[v] != buffer)
            continue;
        if (problem->nodes[v].persistent)
            return true;
        for (uint32_t r = problem->first_reader[v]; r < problem->first_reader[v + 1]; r++)
            if (!x->done[problem->readers[r]] && problem->readers[r] != except)
                return true;
    }
    return false;
}

static inline uint64_t live_bytes(const exhaustive *x)
{
    uint64_t live = 0;
    for (uint32_t b = 0; b < x->problem->node_count; b++)
        if (x->done[b] && x->owner[b] == b && buffer_is_needed(x, b, UINT32_MAX))
            live += x->problem->nodes[b].bytes;
    return live;
}

static inline void try_all_orders(exhaustive *x, uint32_t depth, uint64_t peak)
{
    const sched_problem *problem = x->problem;
    if (peak >= x->best)
        return;
    if (depth == problem->node_count) {
        x->best = peak;
        return;
    }
    const uint64_t live = live_bytes(x);
    for (uint32_t node = 0; node < problem->node_count; node++) {
        const sched_node *self = &problem->nodes[node];
        bool ready = !x->done[node];
        for (uint32_t k = 0; k < self->input_count; k++)
            ready = ready && x->done[problem->inputs[self->first_input + k]];
        if (!ready)
            continue;
        uint32_t owner = node;
        for (uint32_t k = 0; self->view_of < 0 && k < self->in_place; k++) {
            const uint32_t b = x->owner[problem->inputs[self->first_input + k]];
            if (!buffer_is_needed(x, b, node) && problem->nodes[b].bytes >= self->bytes &&
                (owner == node || problem->nodes[b].bytes > problem->nodes[owner].bytes))
                owner = b;
        }
        if (self->view_of >= 0)
            owner = x->owner[self->view_of];
        const uint64_t during = live + self->workspace + (owner == node ? self->bytes : 0);
        x->owner[node] = owner;
        x->done[node] = true;
        try_all_orders(x, depth + 1, during > peak ? during : peak);
        x->done[node] = false;
    }
}

static inline uint64_t least_peak(const sched_problem *problem)
{
    exhaustive x = {.problem = problem, .best = UINT64_MAX};
    try_all_orders(&x, 0, 0);
    return x.best;
}

#endif
