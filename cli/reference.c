/* Greedy decoding and scoring of texts with the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/reference.h"

#include "ir/evaluate.h"

#include <math.h>

/* A module's entry points and the symbols that vary from pass to pass. */
typedef struct reference {
    td_context *context;
    ir_evaluator *evaluator;
    ir_graph *forward, *commit;
    int64_t *symbols;
    ir_symbol tokens, rows, slots, accepted;
    uint32_t capacity, max_tokens, max_rows, committed;
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
    r->max_rows = (uint32_t)module->symbols.items[r->rows].bound;
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

/* One pass over a chain of tokens, committed at once; *logits are those after the last `rows` of
 * them, valid until the next pass. */
static td_status feed_chunk(reference *r, const int32_t *ids, uint32_t count, uint32_t row_count,
                            const ir_tensor **logits)
{
    int32_t positions[MAX_CHUNK], rows[MAX_CHUNK];
    int64_t ancestors[MAX_CHUNK];
    for (uint32_t i = 0; i < count; i++) {
        positions[i] = (int32_t)(r->committed + i);
        ancestors[i] = (int64_t)(i == 63 ? UINT64_MAX : (UINT64_C(1) << (i + 1)) - 1);
    }
    for (uint32_t i = 0; i < row_count; i++)
        rows[i] = (int32_t)(count - row_count + i);
    r->symbols[r->tokens] = count;
    r->symbols[r->rows] = row_count;
    r->symbols[r->slots] = r->capacity;
    /* The evaluator only reads its inputs. */
    const ir_tensor inputs[] = {
        tensor_of(IR_I32, count, 0, (void *)(uintptr_t)ids), tensor_of(IR_I32, count, 0, positions),
        tensor_of(IR_I64, count, 1, ancestors), tensor_of(IR_I32, row_count, 0, rows)};
    TD_TRY(ir_evaluator_run(r->evaluator, r->forward, r->symbols, inputs, false));
    *logits = ir_evaluator_value(r->evaluator, r->forward->outputs[0]);
    return TD_OK;
}

/* As feed_chunk and committed; `best` is the arg-max after the last token. */
static td_status feed_and_choose(reference *r, const int32_t *ids, uint32_t count, int32_t *best)
{
    const ir_tensor *logits;
    TD_TRY(feed_chunk(r, ids, count, 1, &logits));
    const float *values = logits->data;
    *best = 0;
    for (int32_t i = 1; i < logits->dim[1]; i++)
        if (values[i] > values[*best])
            *best = i;
    return commit_chunk(r, count);
}

static bool ends_text(const fe_model *model, int32_t id)
{
    for (uint32_t i = 0; i < model->further_end_count; i++)
        if (id == model->further_end_ids[i])
            return true;
    return id == model->eos_id;
}

/* `model` is NULL when no id ends the text. */
static td_status generate(reference *r, const fe_model *model, const int32_t *prompt,
                          size_t prompt_count, uint32_t max_tokens, cli_id_callback callback,
                          void *self)
{
    int32_t best = 0;
    for (size_t fed = 0; fed < prompt_count;) {
        const size_t left = prompt_count - fed;
        const uint32_t count = left < r->max_tokens ? (uint32_t)left : r->max_tokens;
        if (r->committed + count > r->capacity)
            return td_fail(r->context, TD_INVALID,
                           "the prompt has %zu tokens but the context only %u", prompt_count,
                           r->capacity);
        TD_TRY(feed_and_choose(r, prompt + fed, count, &best));
        fed += count;
    }
    for (uint32_t i = 0; i < max_tokens; i++) {
        const bool ended = model != NULL && ends_text(model, best);
        if (ended || !callback(self, best) || r->committed == r->capacity)
            break;
        const int32_t next = best;
        if (i + 1 < max_tokens)
            TD_TRY(feed_and_choose(r, &next, 1, &best));
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
        status = generate(&r, ignore_eos ? NULL : model, prompt, prompt_count, max_tokens, callback,
                          self);
    ir_evaluator_release(r.evaluator);
    td_release(context, r.symbols);
    return status;
}

/* --- scoring --- */

/* -ln of the probability of `id` under a row of logits. */
static double negative_log_probability(const float *logits, int64_t vocabulary, int32_t id)
{
    double largest = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < vocabulary; i++)
        largest = fmax(largest, (double)logits[i]);
    for (int64_t i = 0; i < vocabulary; i++)
        sum += exp((double)logits[i] - largest);
    return largest + log(sum) - (double)logits[id];
}

static td_status score_window(reference *r, const int32_t *ids, size_t count, double *nats)
{
    const uint32_t most = r->max_rows < r->max_tokens ? r->max_rows : r->max_tokens;
    ir_evaluator_reset(r->evaluator);
    r->committed = 0;
    /* Nothing is predicted from the last id. */
    for (size_t fed = 0; fed + 1 < count;) {
        const size_t left = count - 1 - fed;
        const uint32_t chunk = left < most ? (uint32_t)left : most;
        const ir_tensor *logits;
        TD_TRY(feed_chunk(r, ids + fed, chunk, chunk, &logits));
        for (uint32_t i = 0; i < chunk; i++) {
            const int32_t next = ids[fed + i + 1];
            if (next < 0 || next >= logits->dim[1])
                return td_fail(r->context, TD_INVALID,
                               "the text has token %d but the model's head only %lld rows", next,
                               (long long)logits->dim[1]);
            *nats += negative_log_probability(
                (const float *)logits->data + (int64_t)i * logits->dim[1], logits->dim[1], next);
        }
        TD_TRY(commit_chunk(r, chunk));
        fed += chunk;
    }
    return TD_OK;
}

td_status cli_reference_score(td_context *context, const fe_model *model, const int32_t *ids,
                              size_t count, uint32_t window, double *nats, size_t *scored)
{
    reference r;
    *nats = 0.0;
    *scored = 0;
    td_status status = open_reference(context, model, &r);
    if (status == TD_OK && (window < 2 || window > r.capacity))
        status = td_fail(context, TD_USAGE, "windows of %u ids: expected from 2 to %u", window,
                         r.capacity);
    for (size_t first = 0; status == TD_OK && first + 1 < count; first += window) {
        const size_t length = count - first < window ? count - first : window;
        status = score_window(&r, ids + first, length, nats);
        *scored += length - 1;
        td_progress(context, 1, "%zu of %zu ids: %.4f nats", first + length, count,
                    *nats / (double)*scored);
    }
    ir_evaluator_release(r.evaluator);
    td_release(context, r.symbols);
    return status;
}
