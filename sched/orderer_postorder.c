/* postorder: depth first from the results, each node's operands in the best order that keeps
 * subtrees together (J. W. H. Liu, "On the storage requirement in the out-of-core multifrontal
 * method", 1986): those first that need most beyond what they leave. Optimal among post-orders of
 * trees; in other graphs a shared operand counts for each of its readers, and runs for the first.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"

#include <stdlib.h>
#include <string.h>

typedef struct operand {
    uint64_t beyond; /* what it needs at most, less what it leaves */
    uint32_t node;
} operand;

typedef struct frame {
    uint32_t node, next;
} frame;

typedef struct walker {
    const sched_problem *problem;
    uint64_t *need;    /* by node: the peak of its subtree, saturating */
    operand *operands; /* at first_input of each node, sorted */
    bool *entered;
    frame *stack;
    uint32_t *order, placed;
} walker;

static int compare_operands(const void *left, const void *right)
{
    const operand *a = left, *b = right;
    if (a->beyond != b->beyond)
        return a->beyond > b->beyond ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return td_add(a, b, &sum) ? sum : UINT64_MAX;
}

/* Sorts the operands and finds the peak of the subtree: operand by operand on top of what the ones
 * before have left, and in the end all of them with the node itself. */
static void weigh(walker *w, uint32_t node)
{
    const sched_problem *problem = w->problem;
    const sched_node *self = &problem->nodes[node];
    operand *operands = w->operands + self->first_input;
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint32_t input = sched_inputs(problem, node)[k];
        operands[k] = (operand){w->need[input] - problem->nodes[input].bytes, input};
    }
    qsort(operands, self->input_count, sizeof *operands, compare_operands);
    uint64_t left = 0, need = 0;
    for (uint32_t k = 0; k < self->input_count; k++) {
        const uint64_t peak = saturating_add(left, w->need[operands[k].node]);
        need = peak > need ? peak : need;
        left = saturating_add(left, problem->nodes[operands[k].node].bytes);
    }
    const uint64_t step = saturating_add(saturating_add(left, self->bytes), self->workspace);
    w->need[node] = step > need ? step : need;
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

td_status sched_order_postorder(const sched_problem *problem, const sched_options *options,
                                sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    td_context *context = problem->context;
    const size_t count = problem->node_count + (size_t)1;
    uint32_t *waiting = td_allocate(context, count * sizeof *waiting);
    walker w = {.problem = problem, .order = order};
    w.need = td_allocate(context, count * sizeof *w.need);
    w.operands = td_allocate(context, (problem->input_count + (size_t)1) * sizeof *w.operands);
    w.entered = td_allocate(context, count * sizeof *w.entered);
    w.stack = td_allocate(context, count * sizeof *w.stack);
    td_status status = TD_OK;
    if (waiting == NULL || w.need == NULL || w.operands == NULL || w.entered == NULL ||
        w.stack == NULL) {
        status = td_fail_memory(context);
    } else {
        sched_any_order(problem, waiting, order);
        for (uint32_t step = 0; step < problem->node_count; step++)
            weigh(&w, order[step]);
        for (uint32_t i = 0; i < problem->node_count; i++)
            if (problem->first_reader[i + 1] == problem->first_reader[i])
                visit(&w, i);
    }
    void *const scratch[] = {waiting, w.need, w.operands, w.entered, w.stack};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    return status;
}
