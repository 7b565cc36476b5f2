/* An OpenVINO model as the compiler wants it: read, folded and raised.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"

#include "base/file.h"
#include "ir/passes/passes.h"

#include <string.h>

/* A tokenizer in the model's folder, or NULL. */
static td_status find_tokenizer(ir_module *module, const char *path, const char **found)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    *found = NULL;
    for (size_t i = 0; i < TD_COUNT_OF(names) && *found == NULL; i++) {
        char *beside = td_path_beside(module->context, path, names[i]);
        if (beside == NULL)
            return td_fail_memory(module->context);
        bool exists = td_path_exists(beside);
        if (exists)
            *found = td_arena_string(&module->arena, beside);
        td_release(module->context, beside);
        if (exists && *found == NULL)
            return td_fail_memory(module->context);
    }
    return TD_OK;
}

/* Rows of the LM head: the last dimension of the logits. */
static uint32_t vocabulary_of(const ir_module *module)
{
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    if (forward == NULL || forward->output_count == 0 || forward->outputs[0]->shape.rank == 0)
        return 0;
    const ir_shape *shape = &forward->outputs[0]->shape;
    const ir_dim *last = &shape->dim[shape->rank - 1];
    bool fits = ir_dim_is_constant(last) && last->constant > 0 && last->constant <= UINT32_MAX;
    return fits ? (uint32_t)last->constant : 0;
}

static uint32_t context_of(const ir_module *module)
{
    ir_symbol slots;
    if (!ir_module_find_symbol(module, "slots", &slots))
        return 0;
    int64_t bound = module->symbols.items[slots].bound;
    return bound <= UINT32_MAX ? (uint32_t)bound : 0;
}

#ifdef NDEBUG
static const bool verify_passes = false;
#else
static const bool verify_passes = true;
#endif

td_status fe_import_openvino(td_context *context, const char *path, const fe_options *options,
                             fe_model *model)
{
    ir_module *module;
    TD_TRY(fe_read_openvino(context, path, options, &module));
    fe_model result = {.bos_id = -1, .eos_id = -1};
    td_status status = ir_run_passes(module, ir_import_passes, options->print_after, verify_passes);
    result.raised = status == TD_OK;
    if (!result.raised && options->summary && status != TD_NO_MEMORY) {
        /* Passes may have left the module half way: what is listed is the file's own graph. */
        td_progress(context, 1, "%s: listed as it is in the file: %s", path, context->message);
        ir_module_release(module);
        TD_TRY(fe_read_openvino(context, path, options, &module));
        status = TD_OK;
    }
    if (status == TD_OK)
        status = find_tokenizer(module, path, &result.tokenizer_path);
    if (status != TD_OK) {
        ir_module_release(module);
        return result.raised ? status : td_fail_within(context, status, "%s", path);
    }
    result.module = module;
    result.vocabulary = vocabulary_of(module);
    result.context_length = context_of(module);
    *model = result;
    return TD_OK;
}
