/* The driver of lowering: graphs to functions, nodes to kernel calls, barriers where needed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

#include <string.h>

static const struct {
    ir_opcode op;
    cg_lower_node lower;
} rows[] = {
    {IR_OP_linear, cg_lower_linear},
    {IR_OP_rms_norm, cg_lower_rms_norm},
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

static cg_lower_node find_row(ir_opcode op)
{
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++)
        if (rows[i].op == op)
            return rows[i].lower;
    return NULL;
}

/* --- hazards --- */

/* Bytes [lower, upper) of the arena, or of the caches, that were touched since the last barrier. */
typedef struct span {
    bool cache, written;
    uint64_t lower, upper;
} span;

typedef TD_ARRAY(span) span_list;

static td_status push_value_span(const cg_entry *entry, const ir_value *value, bool written,
                                 span_list *spans)
{
    const uint64_t offset = entry->plan->offset[value->id];
    if (value->kind != IR_VALUE_RESULT || offset == UINT64_MAX)
        return TD_OK;
    const span touched = {false, written, offset, offset + entry->plan->bytes[value->id]};
    return td_array_push(entry->lowering->context, spans, touched)
               ? TD_OK
               : td_fail_memory(entry->lowering->context);
}

/* What a node reads and writes. */
static td_status list_spans(const cg_entry *entry, const ir_node *node, span_list *spans)
{
    for (uint32_t i = 0; i < node->input_count; i++)
        TD_TRY(push_value_span(entry, node->inputs[i], false, spans));
    for (uint32_t i = 0; i < node->output_count; i++)
        TD_TRY(push_value_span(entry, node->outputs[i], true, spans));
    const char *state = ir_node_string(node, "state", NULL);
    const int cache = state == NULL ? -1 : cg_caches_find(entry->caches, state);
    if (cache >= 0) {
        const span touched = {true, true, (uint64_t)cache, (uint64_t)cache + 1};
        if (!td_array_push(entry->lowering->context, spans, touched))
            return td_fail_memory(entry->lowering->context);
    }
    return TD_OK;
}

static bool spans_conflict(const span *a, const span *b)
{
    return (a->written || b->written) && a->cache == b->cache && a->lower < b->upper &&
           b->lower < a->upper;
}

/* Puts a barrier before `node` when it conflicts with what was touched since the last one. */
static td_status separate(const cg_entry *entry, const ir_node *node, span_list *touched,
                          span_list *mine)
{
    mine->count = 0;
    TD_TRY(list_spans(entry, node, mine));
    bool conflict = false;
    for (size_t i = 0; i < touched->count && !conflict; i++)
        for (size_t j = 0; j < mine->count && !conflict; j++)
            conflict = spans_conflict(&touched->items[i], &mine->items[j]);
    if (conflict) {
        cg_barrier(&entry->lowering->build, entry->frame, entry->threads);
        touched->count = 0;
    }
    for (size_t j = 0; j < mine->count; j++)
        if (!td_array_push(entry->lowering->context, touched, mine->items[j]))
            return td_fail_memory(entry->lowering->context);
    return TD_OK;
}

/* --- entry points --- */

static td_status lower_nodes(cg_entry *entry)
{
    span_list touched = {0}, mine = {0};
    td_status status = TD_OK;
    for (ir_node *node = entry->graph->first; node != NULL && status == TD_OK; node = node->next) {
        const cg_lower_node lower = find_row(node->op);
        if (lower == NULL)
            status = cg_refuse(node, "this operation has no kernel");
        else
            status = separate(entry, node, &touched, &mine);
        if (status == TD_OK)
            status = lower(entry, node);
    }
    td_array_release(entry->lowering->context, &touched);
    td_array_release(entry->lowering->context, &mine);
    return status;
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
    LLVMTypeRef parameters[] = {build->pointer, build->i32};
    cg_entry entry = {.lowering = lowering,
                      .model = model,
                      .weights = weights,
                      .caches = caches,
                      .plan = plan,
                      .graph = plan->graph};
    entry.function =
        cg_function_begin(lowering, name, LLVMFunctionType(build->none, parameters, 2, false));
    entry.frame = LLVMGetParam(entry.function, 0);
    entry.thread = LLVMBuildZExt(build->builder, LLVMGetParam(entry.function, 1), build->i64, "");
    LLVMValueRef threads = cg_load(
        build, build->i32, cg_offset_by(build, entry.frame, offsetof(tandem_frame, threads)), 4);
    entry.threads = LLVMBuildZExt(build->builder, threads, build->i64, "threads");
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
