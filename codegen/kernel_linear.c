/* Products with weights: out[t][n] = sum over k of x[t][k] * w[n][k], one lane per output row n,
 * k ascending (docs/numerics.md).
 *
 * Rows of the weight lie in panels of 16 (codegen/layout.h). A tile multiplies some panels by some
 * tokens with all sums in registers, so an element of the weight is loaded and widened once for the
 * tokens of the tile; the tiles of a block of panels follow each other, so that all but the first
 * find the weights in cache. The work of a pass is then the same stream of weights, however many
 * tokens there are.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

/* Panels that a thread takes at a time, and the largest tile. */
#define BLOCK_PANELS 4
#define MAX_TOKENS   8
#define MAX_SUMS     (BLOCK_PANELS * MAX_TOKENS)
#define UNROLL       4

/* What a tile is made for. */
typedef struct matrix_product {
    cg_lowering *lowering;
    const cg_weight *weight;
    ir_type type;
    unsigned last_rows; /* rows of the last panel when it is not full, else 0 */
    bool has_bias;
} matrix_product;

/* A tile: `panels` times `tokens` sums. Its function takes these parameters. */
enum { TILE_WEIGHTS, TILE_SCALES, TILE_ZEROS, TILE_BIAS, TILE_X, TILE_OUT, TILE_ROWS, TILE_COUNT };

typedef struct sum_tile {
    const matrix_product *product;
    unsigned panels, tokens;
    LLVMValueRef parameters[TILE_COUNT];
    LLVMValueRef zeros[BLOCK_PANELS]; /* of the current group, as i32 lanes; NULL: none */
    LLVMValueRef sums[MAX_SUMS];      /* variables, [panel][token] */
} sum_tile;

/* --- the inner step --- */

static bool is_quantised(const matrix_product *product)
{
    return product->weight->scale_bytes > 0;
}

static bool is_signed(ir_type type)
{
    return type == IR_I8 || type == IR_I4;
}

/* Sixteen stored integers, widened to 32 bits. */
static LLVMValueRef load_integers(cg_build *build, ir_type type, LLVMValueRef pointer)
{
    LLVMValueRef bytes = cg_load(build, cg_vector(build->i8, CG_LANES), pointer, 16);
    LLVMTypeRef wide = cg_vector(build->i32, CG_LANES);
    return is_signed(type) ? LLVMBuildSExt(build->builder, bytes, wide, "")
                           : LLVMBuildZExt(build->builder, bytes, wide, "");
}

/* The half of each byte that holds element `parity` of a pair. */
static LLVMValueRef take_nibble(cg_build *build, ir_type type, LLVMValueRef bytes, unsigned parity)
{
    LLVMTypeRef wide = LLVMTypeOf(bytes);
    LLVMValueRef four = cg_constant_int(wide, 4), top = cg_constant_int(wide, 28);
    if (is_signed(type)) {
        if (parity == 0)
            bytes = LLVMBuildShl(build->builder, bytes, top, "");
        return LLVMBuildAShr(build->builder, bytes, parity == 0 ? top : four, "");
    }
    return parity == 0 ? LLVMBuildAnd(build->builder, bytes, cg_constant_int(wide, 15), "")
                       : LLVMBuildLShr(build->builder, bytes, four, "");
}

static LLVMValueRef subtract_zero(cg_build *build, LLVMValueRef integers, LLVMValueRef zero)
{
    if (zero != NULL)
        integers = LLVMBuildSub(build->builder, integers, zero, "");
    return LLVMBuildSIToFP(build->builder, integers, cg_vector(build->f32, CG_LANES), "");
}

/* Adds the products of `count` consecutive k to the sums. `data[p]` is where panel p's elements
 * start, `x[t]` where token t's activations start; 4-bit weights start at the low half. */
static void emit_steps(sum_tile *tile, unsigned count, LLVMValueRef *data, LLVMValueRef *x)
{
    cg_build *build = &tile->product->lowering->build;
    const ir_type type = tile->product->type;
    const unsigned bits = ir_type_bits(type);
    LLVMValueRef pairs[BLOCK_PANELS] = {0};
    for (unsigned k = 0; k < count; k++) {
        LLVMValueRef activations[MAX_TOKENS];
        for (unsigned t = 0; t < tile->tokens; t++)
            activations[t] = cg_splat(
                build, cg_load(build, build->f32, cg_offset_by(build, x[t], 4 * (uint64_t)k), 4),
                CG_LANES);
        for (unsigned p = 0; p < tile->panels; p++) {
            LLVMValueRef weights;
            if (bits == 4) {
                if (k % 2 == 0)
                    pairs[p] =
                        load_integers(build, type, cg_offset_by(build, data[p], k / 2 * CG_LANES));
                weights =
                    subtract_zero(build, take_nibble(build, type, pairs[p], k % 2), tile->zeros[p]);
            } else {
                LLVMValueRef at = cg_offset_by(build, data[p], (uint64_t)k * CG_LANES * bits / 8);
                weights = is_quantised(tile->product)
                              ? subtract_zero(build, load_integers(build, type, at), tile->zeros[p])
                              : cg_load_stored(build, type, at, CG_LANES);
            }
            for (unsigned t = 0; t < tile->tokens; t++) {
                LLVMValueRef sum = tile->sums[p * tile->tokens + t];
                LLVMValueRef before = cg_load(build, cg_vector(build->f32, CG_LANES), sum, 64);
                cg_store(build, cg_fma(build, activations[t], weights, before), sum, 64);
            }
        }
    }
}

/* --- a run of k: one group, or all of them for float weights --- */

/* Sums k = 0 .. length - 1 counted from `data` (panel 0) and `x` (token 0). */
static void emit_run(sum_tile *tile, uint64_t length, LLVMValueRef data, LLVMValueRef x)
{
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    const uint64_t whole = length / UNROLL * UNROLL;
    const uint64_t step_bytes = (uint64_t)CG_LANES * ir_type_bits(tile->product->type) / 8;
    for (int remainder = 0; remainder < 2; remainder++) {
        const uint64_t first = remainder ? whole : 0, end = remainder ? length : whole;
        if (first == end)
            continue;
        cg_loop loop;
        LLVMValueRef k = cg_i64(build, (int64_t)first);
        if (!remainder) {
            loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)end), UNROLL);
            k = loop.index;
        }
        LLVMValueRef panels[BLOCK_PANELS], tokens[MAX_TOKENS];
        for (unsigned p = 0; p < tile->panels; p++)
            panels[p] =
                cg_element(build, cg_offset_by(build, data, p * weight->unit_bytes), k, step_bytes);
        for (unsigned t = 0; t < tile->tokens; t++)
            tokens[t] = cg_element(build, cg_offset_by(build, x, t * weight->columns * 4), k, 4);
        emit_steps(tile, remainder ? (unsigned)(end - first) : UNROLL, panels, tokens);
        if (!remainder)
            cg_loop_end(build, &loop);
    }
}

static void clear_sums(sum_tile *tile)
{
    cg_build *build = &tile->product->lowering->build;
    for (unsigned i = 0; i < tile->panels * tile->tokens; i++)
        cg_store(build, cg_constant_real(cg_vector(build->f32, CG_LANES), 0), tile->sums[i], 64);
}

/* One group: part = sum over the group; total = fma(part, scale, total). */
static void emit_group(sum_tile *tile, LLVMValueRef group, uint64_t length, LLVMValueRef *totals)
{
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    clear_sums(tile);
    for (unsigned p = 0; p < tile->panels && weight->has_zero; p++) {
        LLVMValueRef at = cg_element(build, tile->parameters[TILE_ZEROS], group, CG_LANES);
        tile->zeros[p] = load_integers(build, tile->product->type,
                                       cg_offset_by(build, at, p * weight->groups * CG_LANES));
    }
    emit_run(tile, length,
             cg_element(build, tile->parameters[TILE_WEIGHTS], group, weight->group_bytes),
             cg_element(build, tile->parameters[TILE_X], group, weight->group * 4));
    for (unsigned p = 0; p < tile->panels; p++) {
        const uint64_t scale_row = (uint64_t)CG_LANES * weight->scale_bytes;
        LLVMValueRef at = cg_element(build, tile->parameters[TILE_SCALES], group, scale_row);
        at = cg_offset_by(build, at, p * weight->groups * scale_row);
        LLVMValueRef scale = cg_load_stored(build, weight->constant->scale->type, at, CG_LANES);
        for (unsigned t = 0; t < tile->tokens; t++) {
            const unsigned i = p * tile->tokens + t;
            LLVMValueRef part = cg_load(build, floats, tile->sums[i], 64);
            LLVMValueRef total = cg_load(build, floats, totals[i], 64);
            cg_store(build, cg_fma(build, part, scale, total), totals[i], 64);
        }
    }
}

static void emit_groups(sum_tile *tile, LLVMValueRef *totals)
{
    const cg_weight *weight = tile->product->weight;
    cg_build *build = &tile->product->lowering->build;
    const uint64_t last = weight->columns - (weight->groups - 1) * weight->group;
    const uint64_t whole = last == weight->group ? weight->groups : weight->groups - 1;
    for (unsigned i = 0; i < tile->panels * tile->tokens; i++) {
        totals[i] = cg_variable(build, cg_vector(build->f32, CG_LANES), "total");
        cg_store(build, cg_constant_real(cg_vector(build->f32, CG_LANES), 0), totals[i], 64);
    }
    if (whole > 0) {
        cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)whole), 1);
        emit_group(tile, loop.index, weight->group, totals);
        cg_loop_end(build, &loop);
    }
    if (whole < weight->groups)
        emit_group(tile, cg_i64(build, (int64_t)whole), last, totals);
}

/* --- results --- */

static void store_panel(sum_tile *tile, unsigned panel, LLVMValueRef *sums, unsigned lanes)
{
    cg_build *build = &tile->product->lowering->build;
    const uint64_t out_bytes = tile->product->weight->rows * 4;
    for (unsigned t = 0; t < tile->tokens; t++) {
        LLVMValueRef sum =
            cg_load(build, cg_vector(build->f32, CG_LANES), sums[panel * tile->tokens + t], 64);
        if (tile->product->has_bias) {
            LLVMValueRef bias = cg_load_lanes(
                build, cg_offset_by(build, tile->parameters[TILE_BIAS], panel * CG_LANES * 4),
                lanes);
            sum = LLVMBuildFAdd(build->builder, sum, bias, "");
        }
        cg_store_lanes(
            build, sum,
            cg_offset_by(build, tile->parameters[TILE_OUT], t * out_bytes + panel * CG_LANES * 4),
            lanes);
    }
}

/* Only the last panel of the tile can be the matrix's last one. */
static void emit_results(sum_tile *tile, LLVMValueRef *sums)
{
    cg_build *build = &tile->product->lowering->build;
    const unsigned last = tile->panels - 1;
    for (unsigned p = 0; p < last; p++)
        store_panel(tile, p, sums, CG_LANES);
    if (tile->product->last_rows == 0) {
        store_panel(tile, last, sums, CG_LANES);
        return;
    }
    LLVMValueRef partial = LLVMBuildICmp(build->builder, LLVMIntSLT, tile->parameters[TILE_ROWS],
                                         cg_i64(build, (int64_t)tile->panels * CG_LANES), "");
    cg_branch branch = cg_if(build, partial);
    store_panel(tile, last, sums, tile->product->last_rows);
    cg_else(build, &branch);
    store_panel(tile, last, sums, CG_LANES);
    cg_end_if(build, &branch);
}

/* The function of a tile: pointers, and the number of rows from the first panel on. */
static LLVMTypeRef tile_type(cg_build *build)
{
    LLVMTypeRef parameters[TILE_COUNT];
    for (unsigned i = 0; i < TILE_COUNT; i++)
        parameters[i] = i == TILE_ROWS ? build->i64 : build->pointer;
    return LLVMFunctionType(build->none, parameters, TILE_COUNT, false);
}

static LLVMValueRef emit_tile(const matrix_product *product, const char *key, unsigned panels,
                              unsigned tokens)
{
    cg_lowering *lowering = product->lowering;
    cg_build *build = &lowering->build;
    LLVMBasicBlockRef caller = LLVMGetInsertBlock(build->builder);
    LLVMValueRef function = cg_function_begin(lowering, key, tile_type(build));
    sum_tile tile = {.product = product, .panels = panels, .tokens = tokens};
    LLVMValueRef totals[MAX_SUMS];
    LLVMGetParams(function, tile.parameters);
    for (unsigned i = 0; i < panels * tokens; i++)
        tile.sums[i] = cg_variable(build, cg_vector(build->f32, CG_LANES), "sum");
    if (is_quantised(product)) {
        emit_groups(&tile, totals);
        emit_results(&tile, totals);
    } else {
        clear_sums(&tile);
        emit_run(&tile, product->weight->columns, tile.parameters[TILE_WEIGHTS],
                 tile.parameters[TILE_X]);
        emit_results(&tile, tile.sums);
    }
    LLVMBuildRetVoid(build->builder);
    LLVMPositionBuilderAtEnd(build->builder, caller);
    return function;
}

/* --- the kernel --- */

enum {
    OPERAND_X,
    OPERAND_WEIGHTS,
    OPERAND_SCALES,
    OPERAND_ZEROS,
    OPERAND_BIAS,
    OPERAND_OUT,
    OPERAND_COUNT
};

/* Panels of a tile of so many tokens: as many as keep the sums in registers. */
static unsigned tile_panels(const cg_cpu *cpu, unsigned tokens)
{
    unsigned panels = cpu->accumulators / tokens;
    return panels > BLOCK_PANELS ? BLOCK_PANELS : panels;
}

/* Multiplies the panels [first, end) by the tokens [token, token + tokens) with tiles of `panels`.
 */
static void call_tiles(const matrix_product *product, const cg_kernel *kernel, const char *key,
                       unsigned panels, unsigned tokens, LLVMValueRef token, LLVMValueRef first,
                       LLVMValueRef end)
{
    const cg_weight *weight = product->weight;
    cg_build *build = &product->lowering->build;
    char name[320];
    snprintf(name, sizeof name, "%s_tile%ux%u", key, panels, tokens);
    LLVMValueRef function = LLVMGetNamedFunction(build->module, name);
    if (function == NULL)
        function = emit_tile(product, name, panels, tokens);
    const uint64_t group_row = weight->groups * CG_LANES;
    cg_loop loop = cg_loop_begin(build, first, end, panels);
    LLVMValueRef p = loop.index;
    LLVMValueRef row = LLVMBuildMul(build->builder, p, cg_i64(build, CG_LANES), "");
    LLVMValueRef out = cg_element(build, kernel->operands[OPERAND_OUT], token, weight->rows * 4);
    LLVMValueRef arguments[TILE_COUNT] = {
        [TILE_WEIGHTS] =
            cg_element(build, kernel->operands[OPERAND_WEIGHTS], p, weight->unit_bytes),
        [TILE_SCALES] =
            cg_element(build, kernel->operands[OPERAND_SCALES], p, group_row * weight->scale_bytes),
        [TILE_ZEROS] = cg_element(build, kernel->operands[OPERAND_ZEROS], p, group_row),
        [TILE_BIAS] = cg_element(build, kernel->operands[OPERAND_BIAS], row, 4),
        [TILE_X] = cg_element(build, kernel->operands[OPERAND_X], token, weight->columns * 4),
        [TILE_OUT] = cg_element(build, out, row, 4),
        [TILE_ROWS] = LLVMBuildSub(build->builder, cg_i64(build, (int64_t)weight->rows), row, ""),
    };
    LLVMBuildCall2(build->builder, tile_type(build), function, arguments, TILE_COUNT, "");
    cg_loop_end(build, &loop);
}

/* A block of panels times all tokens: as many tiles of the largest size as fit, then smaller. */
static void emit_block(const matrix_product *product, const cg_kernel *kernel, const char *key,
                       LLVMValueRef first, LLVMValueRef end)
{
    cg_build *build = &product->lowering->build;
    const uint64_t all = (product->weight->rows + CG_PANEL_ROWS - 1) / CG_PANEL_ROWS;
    LLVMValueRef next = cg_variable(build, build->i64, "next_token");
    cg_store(build, cg_i64(build, 0), next, 8);
    for (unsigned tokens = MAX_TOKENS; tokens > 0; tokens /= 2) {
        const unsigned panels = tile_panels(product->lowering->cpu, tokens);
        if (panels == 0)
            continue;
        LLVMValueRef begin = cg_load(build, build->i64, next, 8);
        LLVMValueRef left = LLVMBuildSub(build->builder, kernel->rows, begin, "");
        LLVMValueRef size = cg_i64(build, tokens);
        LLVMValueRef count =
            LLVMBuildMul(build->builder, LLVMBuildUDiv(build->builder, left, size, ""), size, "");
        LLVMValueRef stop = LLVMBuildAdd(build->builder, begin, count, "");
        cg_store(build, stop, next, 8);
        cg_loop loop = cg_loop_begin(build, begin, stop, tokens);
        if (all % panels == 0) {
            call_tiles(product, kernel, key, panels, tokens, loop.index, first, end);
        } else {
            LLVMValueRef whole = LLVMBuildSub(build->builder, end, first, "");
            whole = LLVMBuildMul(build->builder,
                                 LLVMBuildUDiv(build->builder, whole, cg_i64(build, panels), ""),
                                 cg_i64(build, panels), "");
            LLVMValueRef rest = LLVMBuildAdd(build->builder, first, whole, "");
            call_tiles(product, kernel, key, panels, tokens, loop.index, first, rest);
            call_tiles(product, kernel, key, 1, tokens, loop.index, rest, end);
        }
        cg_loop_end(build, &loop);
    }
}

/* Blocks of panels are shared out among the threads. */
static void emit_kernel(const matrix_product *product, const cg_kernel *kernel, const char *key)
{
    cg_build *build = &product->lowering->build;
    const uint64_t panels = (product->weight->rows + CG_PANEL_ROWS - 1) / CG_PANEL_ROWS;
    const uint64_t blocks = (panels + BLOCK_PANELS - 1) / BLOCK_PANELS;
    LLVMValueRef begin, end;
    cg_share(build, kernel, cg_i64(build, (int64_t)blocks), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef first = LLVMBuildMul(build->builder, loop.index, cg_i64(build, BLOCK_PANELS), "");
    LLVMValueRef last =
        cg_minimum_i64(build, LLVMBuildAdd(build->builder, first, cg_i64(build, BLOCK_PANELS), ""),
                       cg_i64(build, (int64_t)panels));
    emit_block(product, kernel, key, first, last);
    cg_loop_end(build, &loop);
}

td_status cg_lower_linear(cg_entry *entry, const ir_node *node)
{
    cg_lowering *lowering = entry->lowering;
    const ir_value *x = node->inputs[0], *matrix = node->inputs[1], *out = node->outputs[0];
    uint64_t inner, width;
    TD_TRY(cg_matrix(node, x, "the activation", &inner));
    TD_TRY(cg_matrix(node, out, "the result", &width));
    const cg_weight *weight =
        matrix->kind == IR_VALUE_CONSTANT
            ? cg_weights_find(entry->weights, matrix->constant, CG_ROLE_PANELS)
            : NULL;
    if (weight == NULL)
        return cg_refuse(node, "the weight is computed; a constant is needed");
    if (weight->rows != width || weight->columns != inner)
        return cg_refuse(node, "the weight is %llu x %llu, %llu x %llu is needed",
                         (unsigned long long)weight->rows, (unsigned long long)weight->columns,
                         (unsigned long long)width, (unsigned long long)inner);
    matrix_product product = {lowering, weight, weight->constant->type,
                              (unsigned)(weight->rows % CG_PANEL_ROWS), node->input_count > 2};
    LLVMValueRef addresses[OPERAND_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[OPERAND_X]));
    addresses[OPERAND_WEIGHTS] = cg_weight_address(entry, weight->offset);
    addresses[OPERAND_SCALES] = cg_weight_address(entry, weight->scale_offset);
    addresses[OPERAND_ZEROS] = cg_weight_address(entry, weight->zero_offset);
    addresses[OPERAND_BIAS] = addresses[OPERAND_ZEROS];
    if (product.has_bias) {
        uint64_t length = 0;
        if (!ir_shape_elements_bound(entry->graph->module, &node->inputs[2]->shape, &length) ||
            length != width || node->inputs[2]->type == IR_F64)
            return cg_refuse(node, "the bias has %llu elements, %llu are needed",
                             (unsigned long long)length, (unsigned long long)width);
        TD_TRY(cg_address(entry, node, node->inputs[2], &addresses[OPERAND_BIAS]));
    }
    TD_TRY(cg_address(entry, node, out, &addresses[OPERAND_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    char key[256];
    snprintf(key, sizeof key, "linear_%llux%llu_%s_g%llu_s%u%s%s", (unsigned long long)width,
             (unsigned long long)inner, ir_type_name(product.type),
             (unsigned long long)weight->group,
             weight->scale_bytes > 0 ? (unsigned)weight->constant->scale->type : 0,
             weight->has_zero ? "_zero" : "", product.has_bias ? "_bias" : "");
    TD_TRY(cg_kernel_begin(lowering, OPERAND_COUNT, &kernel, &fresh, "%s", key));
    if (fresh) {
        emit_kernel(&product, &kernel, key);
        cg_kernel_end(lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, rows, addresses);
    return TD_OK;
}
