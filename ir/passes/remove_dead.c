/* Requires nothing; maintains every form. Removes nodes without effect, then constants nobody
 * reads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

/* A constant and what it is quantised with are in use. */
static void mark(const ir_value *value, bool *used)
{
    if (value->kind != IR_VALUE_CONSTANT)
        return;
    const ir_constant *constant = value->constant;
    used[constant->index] = true;
    if (constant->scale != NULL)
        used[constant->scale->index] = true;
    if (constant->zero_point != NULL)
        used[constant->zero_point->index] = true;
}

static td_status remove_constants(ir_module *module)
{
    td_context *context = module->context;
    bool *used = td_allocate(context, module->constants.count + 1);
    if (used == NULL)
        return td_fail_memory(context);
    for (size_t g = 0; g < module->graphs.count; g++) {
        const ir_graph *graph = module->graphs.items[g];
        for (const ir_node *node = graph->first; node != NULL; node = node->next)
            for (uint32_t i = 0; i < node->input_count; i++)
                mark(node->inputs[i], used);
        for (size_t i = 0; i < graph->output_count; i++)
            mark(graph->outputs[i], used);
    }
    size_t kept = 0;
    for (size_t i = 0; i < module->constants.count; i++) {
        if (!used[i])
            continue;
        module->constants.items[kept] = module->constants.items[i];
        module->constants.items[kept]->index = (uint32_t)kept;
        kept++;
    }
    module->constants.count = kept;
    td_release(context, used);
    return TD_OK;
}

td_status ir_pass_remove_dead(ir_module *module)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(ir_graph_remove_dead(module->graphs.items[i]));
    return remove_constants(module);
}
