/* The driver of lowering: graphs to functions, nodes to kernel calls.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

#include <string.h>

static const struct {
    ir_opcode op;
    cg_lower_node lower;
} rows[] = {
    {IR_OP_quantize_rows, cg_lower_quantize_rows},
    {IR_OP_rms_norm, cg_lower_rms_norm},
    {IR_OP_rms_norm_quantize, cg_lower_rms_norm_quantize},
    {IR_OP_merge_largest, cg_lower_merge_largest},
    {IR_OP_rotary_table, cg_lower_rotary_table},
    {IR_OP_rope, cg_lower_rope},
    {IR_OP_cached_attention, cg_lower_attention},
    {IR_OP_cache_commit, cg_lower_commit},
    {IR_OP_add, cg_lower_elementwise},
    {IR_OP_multiply, cg_lower_elementwise},
    {IR_OP_silu, cg_lower_elementwise},
    {IR_OP_gated_silu, cg_lower_elementwise},
    {IR_OP_embed, cg_lower_embed},
    {IR_OP_select_rows, cg_lower_select_rows},
    {IR_OP_reshape, cg_lower_view},
};

static cg_lower_node find_row(const ir_node *node)
{
    ir_products products;
    if (ir_node_products(node, &products))
        return cg_lower_products;
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++)
        if (rows[i].op == node->op)
            return rows[i].lower;
    return NULL;
}

/* --- entry points --- */

static td_status lower_nodes(cg_entry *entry)
{
    for (ir_node *node = entry->graph->first; node != NULL; node = node->next) {
        const cg_lower_node lower = find_row(node);
        if (lower == NULL)
            return cg_refuse(node, "this operation has no kernel");
        TD_TRY(cg_node_work(entry, node, &entry->work));
        TD_TRY(lower(entry, node));
    }
    return TD_OK;
}

static LLVMValueRef frame_field(cg_build *build, LLVMValueRef frame, size_t offset,
                                LLVMTypeRef type)
{
    return cg_load(build, type, cg_offset_by(build, frame, offset), 8);
}

td_status cg_lower_graph(cg_lowering *lowering, const cg_model *model, const cg_weights *weights,
                         const cg_caches *caches, const sched_graph_plan *plan, const char *name,
                         LLVMValueRef *function)
{
    cg_build *build = &lowering->build;
    cg_entry entry = {.lowering = lowering,
                      .model = model,
                      .weights = weights,
                      .caches = caches,
                      .plan = plan,
                      .graph = plan->graph};
    entry.function =
        cg_function_begin(lowering, name, LLVMFunctionType(build->none, &build->pointer, 1, false));
    entry.frame = LLVMGetParam(entry.function, 0);
    entry.arguments = cg_variable(
        build, LLVMArrayType2(build->i64, CG_FIRST_OPERAND + CG_MAX_OPERANDS), "arguments");
    entry.arena = frame_field(build, entry.frame, offsetof(tandem_frame, arena), build->pointer);
    entry.weights_base =
        frame_field(build, entry.frame, offsetof(tandem_frame, weights), build->pointer);
    entry.state = frame_field(build, entry.frame, offsetof(tandem_frame, state), build->pointer);
    entry.slots = cg_frame_symbol(build, entry.frame, TANDEM_SYMBOL_SLOTS);
    TD_TRY(lower_nodes(&entry));
    LLVMBuildRetVoid(build->builder);
    *function = entry.function;
    return TD_OK;
}
