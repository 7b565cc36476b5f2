/* Random scheduling problems, and a naive memory model written independently of sched/trace.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_SCHED_RANDOM_PROBLEM_H
#define TANDEM_TESTS_SCHED_RANDOM_PROBLEM_H

#include "base/hash.h"
#include "sched/sched.h"

#define MAX_NODES 24

static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(td_random_next(state) % bound);
}

/* A problem with `count` nodes in a topological order; false when memory ran out. */
static inline bool random_problem(td_context *context, uint64_t *state, uint32_t count,
                                  sched_problem *problem)
{
    *problem = (sched_problem){.context = context, .node_count = count};
    problem->nodes = td_allocate(context, (count + 1) * sizeof *problem->nodes);
    problem->inputs = td_allocate(context, (size_t)count * count * sizeof *problem->inputs + 1);
    if (problem->nodes == NULL || problem->inputs == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        sched_node *node = &problem->nodes[i];
        *node = (sched_node){.name = "n", .view_of = -1, .first_input = problem->input_count};
        node->bytes = random_below(state, 9);
        node->workspace = random_below(state, 4) == 0 ? random_below(state, 5) : 0;
        node->persistent = random_below(state, 8) == 0;
        for (uint32_t j = 0; j < i; j++)
            if (random_below(state, 3) == 0) {
                problem->inputs[problem->input_count++] = j;
                node->input_count++;
            }
        if (node->input_count > 0 && random_below(state, 6) == 0) {
            node->view_of = (int32_t)problem->inputs[node->first_input];
            node->bytes = 0;
        } else if (random_below(state, 3) == 0) {
            node->in_place = node->input_count;
        }
    }
    return sched_problem_finish(problem) == TD_OK;
}

/* The memory model straight from its definition: after every step, a buffer lives while some
 * executed node in it is persistent or has a reader that has not run. Quadratic. */
static inline uint64_t naive_peak(const sched_problem *problem, const uint32_t *order)
{
    uint32_t owner[MAX_NODES] = {0};
    bool done[MAX_NODES] = {false}, freed[MAX_NODES] = {false};
    uint64_t peak = 0;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint32_t node = order[step];
        const sched_node *self = &problem->nodes[node];
        uint64_t live_before = 0;
        bool dies[MAX_NODES];
        /* What is alive before, and which of it would be dead once `node` has read. */
        for (uint32_t b = 0; b < problem->node_count; b++) {
            bool needed = false;
            for (uint32_t v = 0; v < problem->node_count; v++) {
                if (!done[v] || owner[v] != b)
                    continue;
                needed = needed || problem->nodes[v].persistent;
                for (uint32_t r = problem->first_reader[v]; r < problem->first_reader[v + 1]; r++)
                    needed = needed || (!done[problem->readers[r]] && problem->readers[r] != node);
            }
            const bool alive = done[b] && owner[b] == b && !freed[b];
            dies[b] = alive && !needed;
            live_before += alive ? problem->nodes[b].bytes : 0;
        }
        owner[node] = node;
        if (self->view_of >= 0) {
            owner[node] = owner[self->view_of];
        } else {
            for (uint32_t k = 0; k < self->in_place; k++) {
                const uint32_t b = owner[problem->inputs[self->first_input + k]];
                if (dies[b] && problem->nodes[b].bytes >= self->bytes &&
                    (owner[node] == node ||
                     problem->nodes[b].bytes > problem->nodes[owner[node]].bytes))
                    owner[node] = b;
            }
        }
        uint64_t during = live_before + self->workspace;
        if (owner[node] == node)
            during += self->bytes;
        peak = during > peak ? during : peak;
        done[node] = true;
        for (uint32_t b = 0; b < problem->node_count; b++) {
            bool needed = false;
            for (uint32_t v = 0; v < problem->node_count; v++) {
                if (!done[v] || owner[v] != b)
                    continue;
                needed = needed || problem->nodes[v].persistent;
                for (uint32_t r = problem->first_reader[v]; r < problem->first_reader[v + 1]; r++)
                    needed = needed || !done[problem->readers[r]];
            }
            freed[b] = freed[b] || (done[b] && !needed);
        }
    }
    return peak;
}

/* A random topological order. */
static inline void random_order(const sched_problem *problem, uint64_t *state, uint32_t *order)
{
    bool done[MAX_NODES] = {false};
    for (uint32_t step = 0; step < problem->node_count; step++) {
        uint32_t ready[MAX_NODES], count = 0;
        for (uint32_t i = 0; i < problem->node_count; i++) {
            bool is_ready = !done[i];
            for (uint32_t k = 0; k < problem->nodes[i].input_count; k++)
                is_ready = is_ready && done[problem->inputs[problem->nodes[i].first_input + k]];
            if (is_ready)
                ready[count++] = i;
        }
        order[step] = ready[random_below(state, count)];
        done[order[step]] = true;
    }
}

#endif
