/* OpenVINO IR to a raised model: the reader, the passes, and the tokenizer that lies beside.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"
#include "ir/passes/passes.h"

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
    model->eos_id = (int32_t)facts->eos_id;
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
                            ov_facts *facts, ir_module **module)
{
    TD_TRY(ov_read(context, path, options, facts, module));
    td_status status =
        ir_run_passes(*module, ir_import_passes, options->print_after, verify_passes);
    if (status == TD_OK)
        return TD_OK;
    ir_module_release(*module);
    if (status == TD_NO_MEMORY)
        return status;
    if (!options->summary)
        return td_fail_within(context, status, "%s", path);
    td_progress(context, 1, "%s: listed as it is in the file: %s", path, context->message);
    return ov_read(context, path, options, facts, module);
}

td_status fe_import_openvino(td_context *context, const char *path, const fe_options *options,
                             fe_model *model)
{
    ov_facts facts;
    fe_model imported = {0};
    TD_TRY(raise_file(context, path, options, &facts, &imported.module));
    td_status status = find_tokenizer(imported.module, path, &imported.tokenizer_path);
    if (status != TD_OK) {
        ir_module_release(imported.module);
        return status;
    }
    bound_rows(imported.module, options);
    describe(imported.module, &facts, &imported);
    *model = imported;
    return TD_OK;
}
