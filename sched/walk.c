/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/walk.h"

#include <stdlib.h>
#include <string.h>

typedef struct frame {
    uint32_t node, next; /* next: which of its operands comes next */
} frame;

typedef struct walker {
    const sched_problem *problem;
    sched_weight *weights;  /* by node */
    sched_weight *operands; /* at first_input of each node */
    bool *entered;
    frame *stack;
    uint32_t *order, placed;
} walker;

static int compare_weights(const void *left, const void *right)
{
    const sched_weight *a = left, *b = right;
    if (a->first != b->first)
        return a->first > b->first ? -1 : 1;
    if (a->second != b->second)
        return a->second > b->second ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

void sched_sort_operands(const sched_node *node, sched_weight *operands)
{
    qsort(operands, node->input_count, sizeof *operands, compare_weights);
}

uint64_t sched_saturating_add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return td_add(a, b, &sum) ? sum : UINT64_MAX;
}

static void visit(walker *w, uint32_t sink)
{
    uint32_t depth = 0;
    w->entered[sink] = true;
    w->stack[depth++] = (frame){sink, 0};
    while (depth > 0) {
        frame *top = &w->stack[depth - 1];
        const sched_node *self = &w->problem->nodes[top->node];
        if (top->next == self->input_count) {
            w->order[w->placed++] = top->node;
            depth--;
            continue;
        }
        const uint32_t input = w->operands[self->first_input + top->next++].node;
        if (!w->entered[input]) {
            w->entered[input] = true;
            w->stack[depth++] = (frame){input, 0};
        }
    }
}

td_status sched_walk(const sched_problem *problem, sched_weigh weigh, uint32_t *order)
{
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    uint32_t *waiting = td_allocate(context, count * sizeof *waiting);
    walker w = {.problem = problem, .order = order};
    w.weights = td_allocate(context, count * sizeof *w.weights);
    w.operands = td_allocate(context, (problem->input_count + (size_t)1) * sizeof *w.operands);
    w.entered = td_allocate(context, count * sizeof *w.entered);
    w.stack = td_allocate(context, count * sizeof *w.stack);
    td_status status = TD_OK;
    if (waiting == NULL || w.weights == NULL || w.operands == NULL || w.entered == NULL ||
        w.stack == NULL) {
        status = td_fail_memory(context);
    } else {
        sched_any_order(problem, waiting, order);
        for (uint32_t step = 0; step < problem->node_count; step++)
            weigh(problem, order[step], w.weights,
                  w.operands + problem->nodes[order[step]].first_input);
        for (uint32_t i = 0; i < problem->node_count; i++)
            if (problem->first_reader[i + 1] == problem->first_reader[i] && !w.entered[i])
                visit(&w, i);
    }
    void *const scratch[] = {waiting, w.weights, w.operands, w.entered, w.stack};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    return status;
}
