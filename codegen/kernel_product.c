/* Products with weights, cut into tiles (codegen/product.h).
 *
 * Rows of the weight lie in panels of 16 (codegen/layout.h). A tile multiplies some panels by some
 * tokens with all sums in registers, so an element of the weight is loaded and widened once for the
 * tokens of the tile; the tiles of a block of panels follow each other, so that all but the first
 * find the weights in cache. The work of a pass is then the same stream of weights, however many
 * tokens there are.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/product.h"

/* --- results --- */

static void store_panel(cg_tile *tile, unsigned panel, unsigned lanes)
{
    cg_build *build = &tile->product->lowering->build;
    const uint64_t out_bytes = tile->product->weight->rows * 4;
    LLVMValueRef bias = NULL;
    if (tile->product->has_bias)
        bias = cg_load_lanes(
            build, cg_offset_by(build, tile->parameters[CG_TILE_BIAS], panel * CG_LANES * 4),
            lanes);
    for (unsigned t = 0; t < tile->tokens; t++) {
        LLVMValueRef total = cg_load(build, cg_vector(build->f32, CG_LANES),
                                     tile->totals[panel * tile->tokens + t], 64);
        if (bias != NULL)
            total = LLVMBuildFAdd(build->builder, total, bias, "");
        cg_store_lanes(build, total,
                       cg_offset_by(build, tile->parameters[CG_TILE_OUT],
                                    t * out_bytes + panel * CG_LANES * 4),
                       lanes);
    }
}

/* Only the last panel of the tile can be the matrix's last one. */
static void emit_results(cg_tile *tile)
{
    cg_build *build = &tile->product->lowering->build;
    const unsigned last = tile->panels - 1;
    const unsigned last_rows = (unsigned)(tile->product->weight->rows % CG_PANEL_ROWS);
    for (unsigned p = 0; p < last; p++)
        store_panel(tile, p, CG_LANES);
    if (last_rows == 0) {
        store_panel(tile, last, CG_LANES);
        return;
    }
    LLVMValueRef partial = LLVMBuildICmp(build->builder, LLVMIntSLT, tile->parameters[CG_TILE_ROWS],
                                         cg_i64(build, (int64_t)tile->panels * CG_LANES), "");
    cg_branch branch = cg_if(build, partial);
    store_panel(tile, last, last_rows);
    cg_else(build, &branch);
    store_panel(tile, last, CG_LANES);
    cg_end_if(build, &branch);
}

/* --- tiles --- */

static LLVMTypeRef tile_type(cg_build *build)
{
    LLVMTypeRef parameters[CG_TILE_PARAMETERS];
    for (unsigned i = 0; i < CG_TILE_PARAMETERS; i++)
        parameters[i] = i == CG_TILE_ROWS ? build->i64 : build->pointer;
    return LLVMFunctionType(build->none, parameters, CG_TILE_PARAMETERS, false);
}

static LLVMValueRef emit_tile(const cg_product *product, const char *name, unsigned panels,
                              unsigned tokens)
{
    cg_lowering *lowering = product->lowering;
    cg_build *build = &lowering->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMBasicBlockRef caller = LLVMGetInsertBlock(build->builder);
    LLVMValueRef function = cg_function_begin(lowering, name, tile_type(build));
    cg_tile tile = {.product = product, .panels = panels, .tokens = tokens};
    LLVMGetParams(function, tile.parameters);
    for (unsigned i = 0; i < panels * tokens; i++) {
        tile.totals[i] = cg_variable(build, floats, "total");
        cg_store(build, cg_constant_real(floats, 0), tile.totals[i], 64);
    }
    product->emit(&tile);
    emit_results(&tile);
    LLVMBuildRetVoid(build->builder);
    LLVMPositionBuilderAtEnd(build->builder, caller);
    return function;
}

/* Panels of a tile of so many tokens: a power of two that keeps the sums in registers; 0: none. */
static unsigned tile_panels(const cg_product *product, unsigned tokens)
{
    unsigned panels = product->most_panels;
    while (panels * tokens > product->lowering->cpu->accumulators)
        panels /= 2;
    return panels;
}

/* Multiplies the panels [first, end) by the tokens [token, token + tokens) with tiles of `panels`.
 */
static void call_tiles(const cg_product *product, const cg_kernel *kernel, unsigned panels,
                       unsigned tokens, LLVMValueRef token, LLVMValueRef first, LLVMValueRef end)
{
    const cg_weight *weight = product->weight;
    cg_build *build = &product->lowering->build;
    char name[320];
    snprintf(name, sizeof name, "%s_tile%ux%u", product->key, panels, tokens);
    LLVMValueRef function = LLVMGetNamedFunction(build->module, name);
    if (function == NULL)
        function = emit_tile(product, name, panels, tokens);
    const uint64_t group_row = weight->groups * CG_LANES;
    const LLVMValueRef *operands = kernel->operands;
    cg_loop loop = cg_loop_begin(build, first, end, panels);
    LLVMValueRef p = loop.index;
    LLVMValueRef row = LLVMBuildMul(build->builder, p, cg_i64(build, CG_LANES), "");
    LLVMValueRef out = cg_element(build, operands[CG_PRODUCT_OUT], token, weight->rows * 4);
    LLVMValueRef arguments[CG_TILE_PARAMETERS] = {
        [CG_TILE_WEIGHTS] = cg_element(build, operands[CG_PRODUCT_WEIGHTS], p, weight->unit_bytes),
        [CG_TILE_SCALES] =
            cg_element(build, operands[CG_PRODUCT_SCALES], p, group_row * weight->scale_bytes),
        [CG_TILE_ZEROS] = cg_element(build, operands[CG_PRODUCT_ZEROS], p, group_row),
        [CG_TILE_BIAS] = cg_element(build, operands[CG_PRODUCT_BIAS], row, 4),
        [CG_TILE_X] = cg_element(build, operands[CG_PRODUCT_X], token, product->token_bytes),
        [CG_TILE_OUT] = cg_element(build, out, row, 4),
        [CG_TILE_ROWS] =
            LLVMBuildSub(build->builder, cg_i64(build, (int64_t)weight->rows), row, ""),
    };
    LLVMBuildCall2(build->builder, tile_type(build), function, arguments, CG_TILE_PARAMETERS, "");
    cg_loop_end(build, &loop);
}

/* --- the kernel --- */

/* A block of panels times all tokens: as many tiles of the largest size as fit, then smaller. */
static void emit_block(const cg_product *product, const cg_kernel *kernel, LLVMValueRef first,
                       LLVMValueRef end)
{
    cg_build *build = &product->lowering->build;
    const uint64_t all = (product->weight->rows + CG_PANEL_ROWS - 1) / CG_PANEL_ROWS;
    LLVMValueRef begin = cg_i64(build, 0);
    for (size_t i = 0; i < product->tile_count; i++) {
        const unsigned tokens = product->tile_tokens[i];
        const unsigned panels = tile_panels(product, tokens);
        if (panels == 0)
            continue;
        LLVMValueRef left = LLVMBuildSub(build->builder, kernel->rows, begin, "");
        LLVMValueRef size = cg_i64(build, tokens);
        LLVMValueRef count =
            LLVMBuildMul(build->builder, LLVMBuildUDiv(build->builder, left, size, ""), size, "");
        LLVMValueRef stop = LLVMBuildAdd(build->builder, begin, count, "");
        cg_loop loop = cg_loop_begin(build, begin, stop, tokens);
        if (all % panels == 0) {
            call_tiles(product, kernel, panels, tokens, loop.index, first, end);
        } else {
            LLVMValueRef whole = LLVMBuildSub(build->builder, end, first, "");
            whole = LLVMBuildMul(build->builder,
                                 LLVMBuildUDiv(build->builder, whole, cg_i64(build, panels), ""),
                                 cg_i64(build, panels), "");
            LLVMValueRef rest = LLVMBuildAdd(build->builder, first, whole, "");
            call_tiles(product, kernel, panels, tokens, loop.index, first, rest);
            call_tiles(product, kernel, 1, tokens, loop.index, rest, end);
        }
        cg_loop_end(build, &loop);
        begin = stop;
    }
}

/* Blocks of panels are shared out among the threads. */
static void emit_kernel(const cg_product *product, const cg_kernel *kernel)
{
    cg_build *build = &product->lowering->build;
    const uint64_t panels = (product->weight->rows + CG_PANEL_ROWS - 1) / CG_PANEL_ROWS;
    const uint64_t blocks = (panels + CG_TILE_PANELS - 1) / CG_TILE_PANELS;
    LLVMValueRef begin, end;
    cg_share(build, kernel, cg_i64(build, (int64_t)blocks), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef size = cg_i64(build, CG_TILE_PANELS);
    LLVMValueRef first = LLVMBuildMul(build->builder, loop.index, size, "");
    LLVMValueRef last = cg_minimum_i64(build, LLVMBuildAdd(build->builder, first, size, ""),
                                       cg_i64(build, (int64_t)panels));
    emit_block(product, kernel, first, last);
    cg_loop_end(build, &loop);
}

static td_status check_bias(const cg_entry *entry, const ir_node *node, const ir_value *bias,
                            uint64_t width)
{
    uint64_t length = 0;
    if (!ir_shape_elements_bound(entry->graph->module, &bias->shape, &length) || length != width ||
        bias->type == IR_F64)
        return cg_refuse(node, "the bias has %llu elements, %llu are needed",
                         (unsigned long long)length, (unsigned long long)width);
    return TD_OK;
}

td_status cg_lower_product(cg_entry *entry, const ir_node *node, uint32_t weight_input,
                           cg_role role, uint64_t columns, cg_product *product)
{
    const ir_value *matrix = node->inputs[weight_input], *out = node->outputs[0];
    uint64_t width;
    TD_TRY(cg_matrix(node, out, "the result", &width));
    const cg_weight *weight = matrix->kind == IR_VALUE_CONSTANT
                                  ? cg_weights_find(entry->weights, matrix->constant, role)
                                  : NULL;
    if (weight == NULL)
        return cg_refuse(node, "the weight is computed; a constant is needed");
    if (weight->rows != width || weight->columns != columns)
        return cg_refuse(node, "the weight is %llu x %llu, %llu x %llu is needed",
                         (unsigned long long)weight->rows, (unsigned long long)weight->columns,
                         (unsigned long long)width, (unsigned long long)columns);
    char key[256];
    product->lowering = entry->lowering;
    product->weight = weight;
    product->key = key;
    product->has_bias = node->input_count > weight_input + 1;
    LLVMValueRef addresses[CG_PRODUCT_OPERANDS], rows;
    TD_TRY(cg_address(entry, node, node->inputs[0], &addresses[CG_PRODUCT_X]));
    addresses[CG_PRODUCT_WEIGHTS] = cg_weight_address(entry, weight->offset);
    addresses[CG_PRODUCT_SCALES] = cg_weight_address(entry, weight->scale_offset);
    addresses[CG_PRODUCT_ZEROS] = cg_weight_address(entry, weight->zero_offset);
    addresses[CG_PRODUCT_BIAS] = addresses[CG_PRODUCT_ZEROS];
    if (product->has_bias) {
        const ir_value *bias = node->inputs[weight_input + 1];
        TD_TRY(check_bias(entry, node, bias, width));
        TD_TRY(cg_address(entry, node, bias, &addresses[CG_PRODUCT_BIAS]));
    }
    TD_TRY(cg_address(entry, node, out, &addresses[CG_PRODUCT_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    snprintf(key, sizeof key, "%s_%llux%llu_%s_g%llu_s%u%s%s", ir_op(node->op)->name,
             (unsigned long long)width, (unsigned long long)columns,
             ir_type_name(weight->constant->type), (unsigned long long)weight->group,
             weight->scale_bytes > 0 ? (unsigned)weight->constant->scale->type : 0,
             weight->has_zero ? "_zero" : "", product->has_bias ? "_bias" : "");
    TD_TRY(cg_kernel_begin(entry->lowering, CG_PRODUCT_OPERANDS, &kernel, &fresh, "%s", key));
    if (fresh) {
        emit_kernel(product, &kernel);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, CG_PRODUCT_OPERANDS, rows, addresses);
    return TD_OK;
}
