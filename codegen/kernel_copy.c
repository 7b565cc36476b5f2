/* Ops that move rows: embed, select_rows, and views that were given a buffer of their own.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

static void copy_bytes(cg_build *build, LLVMValueRef to, LLVMValueRef from, LLVMValueRef bytes)
{
    LLVMBuildMemCpy(build->builder, to, 1, from, 1, bytes);
}

/* --- embed --- */

enum { EMBED_TABLE, EMBED_SCALES, EMBED_ZEROS, EMBED_IDS, EMBED_OUT, EMBED_COUNT };

/* Element `index` of `row` as f32, before scaling and without zero point, as an i32 for integers.
 */
static LLVMValueRef load_element(cg_build *build, const cg_weight *weight, LLVMValueRef unit,
                                 LLVMValueRef lane, LLVMValueRef column, LLVMValueRef group)
{
    LLVMBuilderRef builder = build->builder;
    const ir_type type = weight->constant->type;
    const unsigned bits = ir_type_bits(type);
    const bool panels = weight->role == CG_ROLE_PANELS;
    LLVMTypeRef one = cg_vector(build->f32, 1);
    LLVMValueRef within = column; /* element within the panel's group, or within the row */
    if (panels) {
        LLVMValueRef skipped =
            LLVMBuildMul(builder, group, cg_i64(build, (int64_t)weight->group), "");
        within = LLVMBuildSub(builder, column, skipped, "");
        unit = cg_element(build, unit, group, weight->group_bytes);
    }
    if (bits != 4) {
        if (panels)
            within = LLVMBuildAdd(
                builder, LLVMBuildMul(builder, within, cg_i64(build, CG_PANEL_ROWS), ""), lane, "");
        LLVMValueRef at = cg_element(build, unit, within, bits / 8);
        return LLVMBuildBitCast(builder, cg_load_stored(build, type, at, 1), one, "");
    }
    LLVMValueRef pair = LLVMBuildLShr(builder, within, cg_i64(build, 1), "");
    if (panels)
        pair = LLVMBuildAdd(builder, LLVMBuildMul(builder, pair, cg_i64(build, CG_PANEL_ROWS), ""),
                            lane, "");
    LLVMValueRef byte = cg_load(build, build->i8, cg_offset(build, unit, pair), 1);
    LLVMValueRef odd =
        LLVMBuildTrunc(builder, LLVMBuildAnd(builder, within, cg_i64(build, 1), ""), build->i8, "");
    LLVMValueRef four = cg_constant_int(build->i8, 4);
    LLVMValueRef shift = LLVMBuildMul(builder, odd, four, "");
    byte = LLVMBuildShl(builder, LLVMBuildLShr(builder, byte, shift, ""), four, "");
    byte = type == IR_I4 ? LLVMBuildAShr(builder, byte, four, "")
                         : LLVMBuildLShr(builder, byte, four, "");
    LLVMValueRef number = type == IR_I4 ? LLVMBuildSIToFP(builder, byte, build->f32, "")
                                        : LLVMBuildUIToFP(builder, byte, build->f32, "");
    return cg_splat(build, number, 1);
}

/* The same of a table that lies as linear_quantized reads it, raised as it is stored. */
static LLVMValueRef load_raised(cg_build *build, const cg_weight *weight, LLVMValueRef unit,
                                LLVMValueRef lane, LLVMValueRef column)
{
    LLVMBuilderRef builder = build->builder;
    const bool pairs = ir_type_bits(weight->constant->type) == 4;
    const int64_t span = pairs ? 8 : 4; /* k that 64 bytes hold for each row */
    const int64_t rows = CG_DOT_PANELS * CG_PANEL_ROWS;
    LLVMValueRef at = LLVMBuildUDiv(builder, column, cg_i64(build, span), "");
    at = LLVMBuildAdd(builder, LLVMBuildMul(builder, at, cg_i64(build, rows), ""), lane, "");
    at = LLVMBuildAdd(builder, LLVMBuildMul(builder, at, cg_i64(build, 4), ""),
                      LLVMBuildAnd(builder, column, cg_i64(build, 3), ""), "");
    LLVMValueRef byte = cg_load(build, build->i8, cg_offset(build, unit, at), 1);
    if (pairs) {
        LLVMValueRef shift = LLVMBuildAnd(builder, column, cg_i64(build, 4), "");
        byte = LLVMBuildLShr(builder, byte, LLVMBuildTrunc(builder, shift, build->i8, ""), "");
        byte = LLVMBuildAnd(builder, byte, cg_constant_int(build->i8, 15), "");
    }
    return cg_splat(build, LLVMBuildUIToFP(builder, byte, build->f32, ""), 1);
}

static void emit_embed(cg_build *build, const cg_kernel *kernel, const cg_weight *weight)
{
    LLVMBuilderRef builder = build->builder;
    const bool raised = weight->role == CG_ROLE_DOTS;
    LLVMValueRef columns = cg_i64(build, (int64_t)weight->columns), begin, end;
    cg_share(build, kernel, LLVMBuildMul(builder, kernel->rows, columns, ""), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef token = LLVMBuildUDiv(builder, loop.index, columns, "");
    LLVMValueRef column = LLVMBuildURem(builder, loop.index, columns, "");
    LLVMValueRef id =
        cg_load(build, build->i32, cg_element(build, kernel->operands[EMBED_IDS], token, 4), 4);
    id = LLVMBuildSExt(builder, id, build->i64, "");
    LLVMValueRef unit_rows = cg_i64(build, (int64_t)cg_weight_unit_rows(weight));
    LLVMValueRef unit = LLVMBuildUDiv(builder, id, unit_rows, "");
    LLVMValueRef lane = LLVMBuildURem(builder, id, unit_rows, "");
    LLVMValueRef group = LLVMBuildUDiv(builder, column, cg_i64(build, (int64_t)weight->group), "");
    LLVMValueRef at = cg_element(build, kernel->operands[EMBED_TABLE], unit, weight->unit_bytes);
    LLVMValueRef number = raised ? load_raised(build, weight, at, lane, column)
                                 : load_element(build, weight, at, lane, column, group);
    if (weight->scale_bytes > 0) {
        /* [unit][group][lane] */
        LLVMValueRef place = LLVMBuildAdd(
            builder, LLVMBuildMul(builder, unit, cg_i64(build, (int64_t)weight->groups), ""), group,
            "");
        place = LLVMBuildAdd(builder, LLVMBuildMul(builder, place, unit_rows, ""), lane, "");
        LLVMValueRef zero = NULL;
        if (weight->has_zero)
            zero = cg_load_stored(build, raised ? IR_U8 : weight->constant->type,
                                  cg_offset(build, kernel->operands[EMBED_ZEROS], place), 1);
        else if (raised)
            zero = cg_constant_real(LLVMTypeOf(number), weight->bias);
        if (zero != NULL)
            number = LLVMBuildFSub(builder, number, zero, "");
        at = cg_element(build, kernel->operands[EMBED_SCALES], place, weight->scale_bytes);
        LLVMValueRef scale = cg_load_stored(build, weight->constant->scale->type, at, 1);
        number = LLVMBuildFMul(builder, number, scale, "");
    }
    cg_store(build, number, cg_element(build, kernel->operands[EMBED_OUT], loop.index, 4), 4);
    cg_loop_end(build, &loop);
}

td_status cg_lower_embed(cg_entry *entry, const ir_node *node)
{
    const ir_value *table = node->inputs[0], *ids = node->inputs[1], *out = node->outputs[0];
    uint64_t columns;
    TD_TRY(cg_matrix(node, out, "the result", &columns));
    const cg_weight *weight = table->kind == IR_VALUE_CONSTANT
                                  ? cg_weights_find(entry->weights, table->constant, CG_ROLE_ROWS)
                                  : NULL;
    if (weight == NULL || weight->columns != columns || ids->type != IR_I32)
        return cg_refuse(node, "a constant table of width %llu and i32 ids are needed",
                         (unsigned long long)columns);
    LLVMValueRef addresses[EMBED_COUNT], rows;
    addresses[EMBED_TABLE] = cg_weight_address(entry, weight->offset);
    addresses[EMBED_SCALES] = cg_weight_address(entry, weight->scale_offset);
    addresses[EMBED_ZEROS] = cg_weight_address(entry, weight->zero_offset);
    TD_TRY(cg_address(entry, node, ids, &addresses[EMBED_IDS]));
    TD_TRY(cg_address(entry, node, out, &addresses[EMBED_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, EMBED_COUNT, &kernel, &fresh,
                           "embed_%s_%llu_%s_g%llu_s%u%s",
                           weight->role == CG_ROLE_DOTS     ? "dots"
                           : weight->role == CG_ROLE_PANELS ? "panels"
                                                            : "rows",
                           (unsigned long long)columns, ir_type_name(weight->constant->type),
                           (unsigned long long)weight->group,
                           weight->scale_bytes > 0 ? (unsigned)weight->constant->scale->type : 0,
                           weight->has_zero ? "_zero" : ""));
    if (fresh) {
        emit_embed(&entry->lowering->build, &kernel, weight);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, EMBED_COUNT, rows, addresses);
    return TD_OK;
}

/* --- select_rows --- */

enum { SELECT_X, SELECT_ROWS, SELECT_OUT, SELECT_COUNT };

td_status cg_lower_select_rows(cg_entry *entry, const ir_node *node)
{
    cg_build *build = &entry->lowering->build;
    const ir_value *x = node->inputs[0], *chosen = node->inputs[1], *out = node->outputs[0];
    uint64_t columns;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    if (chosen->type != IR_I32)
        return cg_refuse(node, "row numbers of type %s; i32 is needed", ir_type_name(chosen->type));
    LLVMValueRef addresses[SELECT_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[SELECT_X]));
    TD_TRY(cg_address(entry, node, chosen, &addresses[SELECT_ROWS]));
    TD_TRY(cg_address(entry, node, out, &addresses[SELECT_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, SELECT_COUNT, &kernel, &fresh, "select_rows_%llu",
                           (unsigned long long)columns));
    if (fresh) {
        LLVMValueRef begin, end;
        cg_share(build, &kernel, kernel.rows, &begin, &end);
        cg_loop loop = cg_loop_begin(build, begin, end, 1);
        LLVMValueRef row = cg_load(
            build, build->i32, cg_element(build, kernel.operands[SELECT_ROWS], loop.index, 4), 4);
        row = LLVMBuildSExt(build->builder, row, build->i64, "");
        copy_bytes(build, cg_element(build, kernel.operands[SELECT_OUT], loop.index, columns * 4),
                   cg_element(build, kernel.operands[SELECT_X], row, columns * 4),
                   cg_i64(build, (int64_t)columns * 4));
        cg_loop_end(build, &loop);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, SELECT_COUNT, rows, addresses);
    return TD_OK;
}

/* --- views --- */

enum { VIEW_X, VIEW_OUT, VIEW_COUNT };

td_status cg_lower_view(cg_entry *entry, const ir_node *node)
{
    cg_build *build = &entry->lowering->build;
    const ir_value *x = node->inputs[0], *out = node->outputs[0];
    if (x->kind != IR_VALUE_RESULT)
        return cg_refuse(node, "a view of something that is not computed");
    if (entry->plan->offset[x->id] == entry->plan->offset[out->id])
        return TD_OK;
    LLVMValueRef addresses[VIEW_COUNT], bytes = cg_i64(build, ir_type_bits(out->type) / 8);
    TD_TRY(cg_address(entry, node, x, &addresses[VIEW_X]));
    TD_TRY(cg_address(entry, node, out, &addresses[VIEW_OUT]));
    for (uint32_t i = 0; i < out->shape.rank; i++) {
        LLVMValueRef size;
        TD_TRY(cg_dimension(entry, node, &out->shape.dim[i], &size));
        bytes = LLVMBuildMul(build->builder, bytes, size, "");
    }
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, VIEW_COUNT, &kernel, &fresh, "view"));
    if (fresh) {
        LLVMValueRef begin, end;
        cg_share(build, &kernel, kernel.rows, &begin, &end);
        copy_bytes(build, cg_offset(build, kernel.operands[VIEW_OUT], begin),
                   cg_offset(build, kernel.operands[VIEW_X], begin),
                   LLVMBuildSub(build->builder, end, begin, ""));
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, VIEW_COUNT, bytes, addresses);
    return TD_OK;
}
