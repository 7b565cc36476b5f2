/* Greedy decoding with the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/reference.h"

#include "ir/evaluate.h"

#include <string.h>

/* A module's entry points and the symbols that vary from pass to pass. */
typedef struct reference {
    td_context *context;
    ir_evaluator *evaluator;
    ir_graph *forward, *commit;
    int64_t *symbols;
    ir_symbol tokens, rows, slots, accepted;
    uint32_t capacity, max_tokens, committed;
} reference;

#define MAX_CHUNK 64

static ir_tensor tensor_of(ir_type type, int64_t first, int64_t second, void *data)
{
    ir_tensor tensor = {.type = type, .rank = second > 0 ? 2 : 1, .data = data};
    tensor.dim[0] = first;
    tensor.dim[1] = second;
    tensor.elements = (uint64_t)(first * (second > 0 ? second : 1));
    return tensor;
}

static td_status open_reference(td_context *context, const fe_model *model, reference *r)
{
    const ir_module *module = model->module;
    *r = (reference){.context = context,
                     .forward = ir_module_find_graph(module, "forward"),
                     .commit = ir_module_find_graph(module, "commit")};
    if (r->forward == NULL || r->commit == NULL ||
        !ir_module_find_symbol(module, "tokens", &r->tokens) ||
        !ir_module_find_symbol(module, "rows", &r->rows) ||
        !ir_module_find_symbol(module, "slots", &r->slots) ||
        !ir_module_find_symbol(module, "accepted", &r->accepted))
        return td_fail(context, TD_INTERNAL, "the raised module lacks a graph or a symbol");
    r->capacity = model->context_length;
    r->max_tokens = (uint32_t)module->symbols.items[r->tokens].bound;
    if (r->max_tokens > MAX_CHUNK)
        r->max_tokens = MAX_CHUNK;
    r->symbols = td_allocate(context, (module->symbols.count + 1) * sizeof *r->symbols);
    if (r->symbols == NULL)
        return td_fail_memory(context);
    return ir_evaluator_create(module, r->capacity, &r->evaluator);
}

static td_status commit_chunk(reference *r, uint32_t count)
{
    int32_t path[MAX_CHUNK];
    for (uint32_t i = 0; i < count; i++)
        path[i] = (int32_t)i;
    r->symbols[r->accepted] = count;
    const ir_tensor input = tensor_of(IR_I32, count, 0, path);
    TD_TRY(ir_evaluator_run(r->evaluator, r->commit, r->symbols, &input, false));
    r->committed += count;
    return TD_OK;
}

/* One pass over a chain of tokens, committed at once; `best` is the arg-max after the last one. */
static td_status feed_chunk(reference *r, const int32_t *ids, uint32_t count, int32_t *best)
{
    int32_t positions[MAX_CHUNK], row = (int32_t)count - 1;
    int64_t ancestors[MAX_CHUNK];
    for (uint32_t i = 0; i < count; i++) {
        positions[i] = (int32_t)(r->committed + i);
        ancestors[i] = (int64_t)(i == 63 ? UINT64_MAX : (UINT64_C(1) << (i + 1)) - 1);
    }
    r->symbols[r->tokens] = count;
    r->symbols[r->rows] = 1;
    r->symbols[r->slots] = r->capacity;
    /* The evaluator only reads its inputs. */
    const ir_tensor inputs[] = {
        tensor_of(IR_I32, count, 0, (void *)(uintptr_t)ids), tensor_of(IR_I32, count, 0, positions),
        tensor_of(IR_I64, count, 1, ancestors), tensor_of(IR_I32, 1, 0, &row)};
    TD_TRY(ir_evaluator_run(r->evaluator, r->forward, r->symbols, inputs, false));
    const ir_tensor *logits = ir_evaluator_value(r->evaluator, r->forward->outputs[0]);
    const float *values = logits->data;
    *best = 0;
    for (int32_t i = 1; i < logits->dim[1]; i++)
        if (values[i] > values[*best])
            *best = i;
    return commit_chunk(r, count);
}

static td_status generate(reference *r, const int32_t *prompt, size_t prompt_count,
                          uint32_t max_tokens, int32_t eos_id, cli_id_callback callback, void *self)
{
    int32_t best = 0;
    for (size_t fed = 0; fed < prompt_count;) {
        const size_t left = prompt_count - fed;
        const uint32_t count = left < r->max_tokens ? (uint32_t)left : r->max_tokens;
        if (r->committed + count > r->capacity)
            return td_fail(r->context, TD_INVALID,
                           "the prompt has %zu tokens but the context only %u", prompt_count,
                           r->capacity);
        TD_TRY(feed_chunk(r, prompt + fed, count, &best));
        fed += count;
    }
    for (uint32_t i = 0; i < max_tokens; i++) {
        if (best == eos_id || !callback(self, best) || r->committed == r->capacity)
            break;
        const int32_t next = best;
        if (i + 1 < max_tokens)
            TD_TRY(feed_chunk(r, &next, 1, &best));
    }
    return TD_OK;
}

td_status cli_reference_generate(td_context *context, const fe_model *model, const int32_t *prompt,
                                 size_t prompt_count, uint32_t max_tokens, bool ignore_eos,
                                 cli_id_callback callback, void *self)
{
    reference r;
    td_status status = open_reference(context, model, &r);
    if (status == TD_OK)
        status = generate(&r, prompt, prompt_count, max_tokens, ignore_eos ? -1 : model->eos_id,
                          callback, self);
    ir_evaluator_release(r.evaluator);
    td_release(context, r.symbols);
    return status;
}
