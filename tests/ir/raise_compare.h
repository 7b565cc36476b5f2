/* Runs a decoder in imported form (input_ids, attention_mask, position_ids, beam_idx) and in raised
 * form (ids, positions, ancestors, rows) over the same tokens, by the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_IR_RAISE_COMPARE_H
#define TANDEM_TESTS_IR_RAISE_COMPARE_H

#include "ir/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COMPARE_TOKENS = 8, COMPARE_SLOTS = 32 };

/* Chunks of tokens that are fed one after the other. */
typedef struct compare_text {
    const int32_t *ids;
    const int64_t *chunks; /* ended by 0 */
} compare_text;

static inline ir_tensor compare_tensor(ir_type type, uint32_t rank, int64_t first, int64_t second,
                                       void *data)
{
    return (ir_tensor){.type = type,
                       .rank = rank,
                       .dim = {first, second},
                       .elements = (uint64_t)(rank == 2 ? first * second : first),
                       .data = data};
}

static inline void compare_symbol(const ir_module *module, const char *name, int64_t value,
                                  int64_t *symbols)
{
    ir_symbol symbol;
    if (ir_module_find_symbol(module, name, &symbol))
        symbols[symbol] = value;
}

/* Symbol values, to be freed. */
static inline int64_t *compare_symbols(const ir_module *module, int64_t tokens, int64_t slots)
{
    int64_t *symbols = malloc((module->symbols.count + 1) * sizeof *symbols);
    for (size_t i = 0; i < module->symbols.count; i++)
        symbols[i] = -1;
    compare_symbol(module, "tokens", tokens, symbols);
    compare_symbol(module, "rows", tokens, symbols);
    compare_symbol(module, "accepted", tokens, symbols);
    compare_symbol(module, "slots", slots, symbols);
    return symbols;
}

/* One chunk through the imported graph. */
static inline td_status compare_imported_chunk(ir_evaluator *evaluator, const ir_module *module,
                                               const int32_t *ids, int64_t tokens, int64_t slots)
{
    ir_graph *graph = module->graphs.items[0];
    int64_t wide[COMPARE_TOKENS], positions[COMPARE_TOKENS], mask[COMPARE_SLOTS];
    int32_t beam = 0;
    ir_tensor inputs[8] = {0};
    for (int64_t i = 0; i < tokens; i++) {
        wide[i] = ids[i];
        positions[i] = slots + i;
    }
    for (int64_t i = 0; i < slots + tokens; i++)
        mask[i] = 1;
    for (size_t i = 0; i < graph->input_count && i < 8; i++) {
        const char *name = graph->inputs[i]->name;
        if (strcmp(name, "input_ids") == 0)
            inputs[i] = compare_tensor(IR_I64, 2, 1, tokens, wide);
        else if (strcmp(name, "attention_mask") == 0)
            inputs[i] = compare_tensor(IR_I64, 2, 1, slots + tokens, mask);
        else if (strcmp(name, "position_ids") == 0)
            inputs[i] = compare_tensor(IR_I64, 2, 1, tokens, positions);
        else
            inputs[i] = compare_tensor(IR_I32, 1, 1, 1, &beam);
    }
    int64_t *symbols = compare_symbols(module, tokens, slots);
    td_status status = ir_evaluator_run(evaluator, graph, symbols, inputs, false);
    free(symbols);
    return status;
}

static inline td_status compare_raised_chunk(ir_evaluator *evaluator, const ir_module *module,
                                             int32_t *ids, int64_t tokens, int64_t slots)
{
    int32_t positions[COMPARE_TOKENS], rows[COMPARE_TOKENS];
    int64_t ancestors[COMPARE_TOKENS];
    for (int64_t i = 0; i < tokens; i++) {
        positions[i] = (int32_t)(slots + i);
        rows[i] = (int32_t)i;
        ancestors[i] = (int64_t)(UINT64_MAX >> (63 - i));
    }
    const ir_tensor inputs[] = {
        compare_tensor(IR_I32, 1, tokens, 1, ids),
        compare_tensor(IR_I32, 1, tokens, 1, positions),
        compare_tensor(IR_I64, 2, tokens, 1, ancestors),
        compare_tensor(IR_I32, 1, tokens, 1, rows),
    };
    int64_t *symbols = compare_symbols(module, tokens, slots);
    td_status status = ir_evaluator_run(evaluator, ir_module_find_graph(module, "forward"), symbols,
                                        inputs, false);
    free(symbols);
    return status;
}

static inline td_status compare_commit(ir_evaluator *evaluator, const ir_module *module,
                                       int64_t tokens, int64_t slots)
{
    int32_t path[COMPARE_TOKENS];
    for (int64_t i = 0; i < tokens; i++)
        path[i] = (int32_t)i;
    const ir_tensor input = compare_tensor(IR_I32, 1, tokens, 1, path);
    int64_t *symbols = compare_symbols(module, tokens, slots);
    td_status status =
        ir_evaluator_run(evaluator, ir_module_find_graph(module, "commit"), symbols, &input, false);
    free(symbols);
    return status;
}

/* All logits of a text, token by token; *logits is to be freed. The module is raised when it has a
 * graph "forward". */
static inline td_status compare_logits(const ir_module *module, const compare_text *text,
                                       float **logits, size_t *count)
{
    ir_graph *forward = ir_module_find_graph(module, "forward");
    const ir_graph *graph = forward != NULL ? forward : module->graphs.items[0];
    ir_evaluator *evaluator;
    int64_t slots = 0;
    *logits = NULL;
    *count = 0;
    TD_TRY(ir_evaluator_create(module, COMPARE_SLOTS, &evaluator));
    td_status status = TD_OK;
    for (size_t i = 0; text->chunks[i] != 0 && status == TD_OK; i++) {
        int32_t ids[COMPARE_TOKENS];
        int64_t tokens = text->chunks[i];
        memcpy(ids, text->ids + slots, (size_t)tokens * sizeof *ids);
        status = forward != NULL ? compare_raised_chunk(evaluator, module, ids, tokens, slots)
                                 : compare_imported_chunk(evaluator, module, ids, tokens, slots);
        if (status != TD_OK)
            break;
        const ir_tensor *result = ir_evaluator_value(evaluator, graph->outputs[0]);
        *logits = realloc(*logits, (*count + result->elements) * sizeof **logits);
        memcpy(*logits + *count, result->data, result->elements * sizeof **logits);
        *count += result->elements;
        if (forward != NULL)
            status = compare_commit(evaluator, module, tokens, slots);
        slots += tokens;
    }
    ir_evaluator_release(evaluator);
    return status;
}

/* The largest difference of two lists of logits, relative to the largest magnitude; infinity when
 * the counts differ or all are zero. */
static inline double compare_difference(const float *a, size_t a_count, const float *b,
                                        size_t b_count)
{
    double largest = 0.0, magnitude = 0.0;
    if (a_count != b_count || a_count == 0)
        return HUGE_VAL;
    for (size_t i = 0; i < a_count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= largest))
            largest = isnan(difference) ? HUGE_VAL : difference;
        magnitude = fmax(magnitude, fabs((double)a[i]));
    }
    return magnitude > 0.0 ? largest / magnitude : HUGE_VAL;
}

#endif
