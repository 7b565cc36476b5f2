/* Greedy text of an imported model, token by token, by the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_GREEDY_H
#define TANDEM_TESTS_GREEDY_H

#include "frontend/frontend.h"
#include "ir/evaluate.h"

#include <string.h>

#define GREEDY_TOKENS  64 /* the bound of one pass */
#define GREEDY_SYMBOLS 16 /* room; raised modules have 4 */

typedef struct greedy {
    const fe_model *model;
    ir_evaluator *evaluator;
    int32_t position;
} greedy;

static inline ir_tensor greedy_tensor(ir_type type, uint32_t rank, int64_t rows, int64_t columns,
                                      void *data)
{
    return (ir_tensor){.type = type,
                       .rank = rank,
                       .dim = {rows, columns},
                       .elements = (uint64_t)(rank == 2 ? rows * columns : rows),
                       .data = data};
}

/* Sets the module's symbols: tokens and accepted, one row. */
static inline void greedy_symbols(const ir_module *module, int64_t tokens, int64_t *values)
{
    ir_symbol symbol;
    for (size_t i = 0; i < module->symbols.count; i++)
        values[i] = -1;
    if (ir_module_find_symbol(module, "tokens", &symbol))
        values[symbol] = tokens;
    if (ir_module_find_symbol(module, "accepted", &symbol))
        values[symbol] = tokens;
    if (ir_module_find_symbol(module, "rows", &symbol))
        values[symbol] = 1;
}

/* Runs tokens (at most GREEDY_TOKENS) behind what was fed before, commits them, and writes the
 * logits after the last one. */
static inline td_status greedy_feed(greedy *self, int32_t *ids, int64_t tokens, float *logits)
{
    ir_module *module = self->model->module;
    ir_graph *forward = ir_module_find_graph(module, "forward");
    ir_graph *commit = ir_module_find_graph(module, "commit");
    int32_t positions[GREEDY_TOKENS], path[GREEDY_TOKENS], row = (int32_t)tokens - 1;
    int64_t ancestors[GREEDY_TOKENS], symbols[GREEDY_SYMBOLS];
    if (tokens > GREEDY_TOKENS || module->symbols.count > GREEDY_SYMBOLS)
        return td_fail(module->context, TD_INTERNAL, "greedy_feed: %d tokens, %zu symbols",
                       (int)tokens, module->symbols.count);
    for (int64_t i = 0; i < tokens; i++) {
        positions[i] = self->position + (int32_t)i;
        path[i] = (int32_t)i;
        ancestors[i] = (int64_t)(UINT64_MAX >> (63 - i));
    }
    const ir_tensor inputs[] = {
        greedy_tensor(IR_I32, 1, tokens, 1, ids),
        greedy_tensor(IR_I32, 1, tokens, 1, positions),
        greedy_tensor(IR_I64, 2, tokens, 1, ancestors),
        greedy_tensor(IR_I32, 1, 1, 1, &row),
    };
    const ir_tensor accepted = greedy_tensor(IR_I32, 1, tokens, 1, path);
    greedy_symbols(module, tokens, symbols);
    TD_TRY(ir_evaluator_run(self->evaluator, forward, symbols, inputs, false));
    const ir_tensor *result = ir_evaluator_value(self->evaluator, forward->outputs[0]);
    memcpy(logits, result->data, self->model->vocabulary * sizeof *logits);
    self->position += (int32_t)tokens;
    return ir_evaluator_run(self->evaluator, commit, symbols, &accepted, false);
}

static inline int32_t greedy_best(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

/* Continues a prompt by `count` tokens. `first` (or NULL) receives the logits after the prompt,
 * `logits` [vocabulary] is room for those of each step. */
static inline td_status greedy_text(const fe_model *model, int32_t *prompt, int64_t prompt_tokens,
                                    size_t count, float *first, float *logits, int32_t *text)
{
    greedy self = {.model = model};
    TD_TRY(ir_evaluator_create(model->module, model->context_length, &self.evaluator));
    td_status status = greedy_feed(&self, prompt, prompt_tokens, logits);
    if (status == TD_OK && first != NULL)
        memcpy(first, logits, model->vocabulary * sizeof *logits);
    for (size_t i = 0; i < count && status == TD_OK; i++) {
        text[i] = greedy_best(logits, model->vocabulary);
        if (i + 1 < count)
            status = greedy_feed(&self, &text[i], 1, logits);
    }
    ir_evaluator_release(self.evaluator);
    return status;
}

#endif
