/* OpenVINO IR to a raised model: the reader, the passes, and the tokenizer that lies beside.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"
#include "ir/passes/passes.h"

#include <inttypes.h>
#include <string.h>

/* --- the tokenizer --- */

static td_status find_tokenizer(ir_module *module, const char *path, const char **tokenizer)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    for (size_t i = 0; i < TD_COUNT_OF(names); i++) {
        char *beside = td_path_beside(module->context, path, names[i]);
        if (beside == NULL)
            return td_fail_memory(module->context);
        bool exists = td_path_exists(beside);
        *tokenizer = exists ? td_arena_string(&module->arena, beside) : NULL;
        td_release(module->context, beside);
        if (exists)
            return *tokenizer != NULL ? TD_OK : td_fail_memory(module->context);
    }
    return TD_OK;
}

/* --- a trimmed head --- */

/* The ids of the columns of the logits, from the result of that constant in a graph as imported;
 * none leaves the model as it is. */
static td_status take_head_ids(ir_module *module, const char *path, fe_model *model)
{
    td_context *context = module->context;
    const ir_graph *imported = ir_module_find_graph(module, "imported");
    const ir_constant *offsets = NULL;
    for (size_t i = 0; imported != NULL && i < imported->output_count; i++)
        if (imported->outputs[i]->kind == IR_VALUE_CONSTANT &&
            strcmp(imported->outputs[i]->constant->name, OV_HEAD_IDS) == 0)
            offsets = imported->outputs[i]->constant;
    if (offsets == NULL || offsets->missing)
        return TD_OK;
    const size_t most = (size_t)(offsets->bytes / sizeof(int64_t));
    int64_t *read = td_arena_allocate(&module->arena, most + 1, sizeof *read);
    int32_t *ids = td_arena_allocate(&module->arena, most + 1, sizeof *ids);
    size_t count = 0;
    if (read == NULL || ids == NULL)
        return td_fail_memory(context);
    TD_TRY(ir_constant_read_i64(context, offsets, most, read, &count));
    for (size_t j = 0; j < count; j++) {
        if (read[j] < (j == 0 ? 0 : read[j - 1]) || read[j] > INT32_MAX - (int64_t)j)
            return td_fail(context, TD_INVALID,
                           "%s: result \"" OV_HEAD_IDS "\": element %zu is %" PRId64
                           "; the elements are ids minus their places, and ids ascend",
                           path, j, read[j]);
        ids[j] = (int32_t)(read[j] + (int64_t)j);
    }
    model->head_ids = ids;
    model->head_count = (uint32_t)count;
    return TD_OK;
}

/* With a trimmed head it is the embedding that knows how many ids there are. */
static td_status check_head_ids(const ir_graph *forward, const char *path, fe_model *model)
{
    const uint32_t columns = model->vocabulary;
    if (model->head_ids == NULL)
        return TD_OK;
    model->vocabulary = 0;
    for (const ir_node *node = forward->first; node != NULL; node = node->next)
        if (node->op == IR_OP_embed)
            model->vocabulary = (uint32_t)node->inputs[0]->shape.dim[0].constant;
    if (model->head_count == columns && columns > 0 &&
        (uint32_t)model->head_ids[columns - 1] < model->vocabulary)
        return TD_OK;
    return td_fail(model->module->context, TD_INVALID,
                   "%s: result \"" OV_HEAD_IDS "\" maps %" PRIu32
                   " columns of the logits to ids up to %" PRId32 ", but there are %" PRIu32
                   " columns and %" PRIu32 " ids",
                   path, model->head_count,
                   model->head_count > 0 ? model->head_ids[model->head_count - 1] : 0, columns,
                   model->vocabulary);
}

/* --- the model --- */

/* Bounds of the symbols that raising adds. */
static void bound_rows(ir_module *module, const fe_options *options)
{
    ir_symbol rows;
    if (options->max_rows > 0 && ir_module_find_symbol(module, "rows", &rows))
        module->symbols.items[rows].bound = options->max_rows;
}

static void describe(ir_module *module, const ov_facts *facts, fe_model *model)
{
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    ir_symbol slots;
    model->raised = forward != NULL;
    model->bos_id = (int32_t)facts->bos_id;
    model->eos_id = facts->end_count > 0 ? facts->end_ids[0] : -1;
    model->further_end_count = facts->end_count > 0 ? facts->end_count - 1 : 0;
    memcpy(model->further_end_ids, facts->end_ids + 1,
           model->further_end_count * sizeof *facts->end_ids);
    if (forward != NULL)
        model->vocabulary = (uint32_t)forward->outputs[0]->shape.dim[1].constant;
    if (ir_module_find_symbol(module, "slots", &slots))
        model->context_length = (uint32_t)module->symbols.items[slots].bound;
}

#ifdef NDEBUG
static const bool verify_passes = false;
#else
static const bool verify_passes = true;
#endif

/* Reads and raises. Under `summary` a graph that is no decoder is listed as it stands in the file:
 * it is read again, because a pass may have left it half way. */
static td_status raise_file(td_context *context, const char *path, const fe_options *options,
                            ov_facts *facts, fe_model *model)
{
    TD_TRY(ov_read(context, path, options, facts, &model->module));
    td_status status = take_head_ids(model->module, path, model);
    if (status == TD_OK) {
        status =
            ir_run_passes(model->module, ir_import_passes, options->print_after, verify_passes);
        if (status == TD_OK)
            return TD_OK;
        td_fail_within(context, status, "%s", path);
    }
    ir_module_release(model->module);
    *model = (fe_model){0};
    if (status == TD_NO_MEMORY || !options->summary)
        return status;
    td_progress(context, 1, "listed as it is in the file: %s", context->message);
    return ov_read(context, path, options, facts, &model->module);
}

td_status fe_import_openvino(td_context *context, const char *path, const fe_options *options,
                             fe_model *model)
{
    ov_facts facts;
    fe_model imported = {0};
    TD_TRY(raise_file(context, path, options, &facts, &imported));
    bound_rows(imported.module, options);
    describe(imported.module, &facts, &imported);
    td_status status = find_tokenizer(imported.module, path, &imported.tokenizer_path);
    if (status == TD_OK && imported.raised)
        status = check_head_ids(ir_module_find_graph(imported.module, "forward"), path, &imported);
    if (status != TD_OK) {
        ir_module_release(imported.module);
        return status;
    }
    *model = imported;
    return TD_OK;
}
