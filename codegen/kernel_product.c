/* Products with weights, cut into tiles (codegen/product.h).
 *
 * Rows of the weight lie in panels of 16 (codegen/layout.h). A tile multiplies some panels by some
 * tokens with all sums in registers, so an element of the weight is loaded and widened once for the
 * tokens of the tile; the tiles of a block of panels follow each other, so that all but the first
 * find the weights in cache. The work of a pass is then the same stream of weights, however many
 * tokens there are. The blocks of all results of a node are shared out together.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/product.h"
#include "codegen/quantised.h"

/* A node being lowered. */
typedef struct products_kernel {
    cg_entry *entry;
    const ir_node *node;
    ir_products operands;
    cg_part parts[IR_MOST_GROUPED];
    unsigned part_count;
    LLVMValueRef addresses[CG_MAX_OPERANDS];
    unsigned address_count;
} products_kernel;

_Static_assert(CG_MAX_OPERANDS >= 1 + CG_MOST_PART_OPERANDS &&
                   CG_MAX_OPERANDS >=
                       1 + IR_MOST_GROUPED * (CG_WEIGHT_OPERANDS + CG_RESULT_OPERANDS),
               "a kernel has the operands of all its parts, and x");
_Static_assert(CG_BLOCK_ROWS == IR_LARGEST_BLOCK, "a block has one largest number");

static unsigned part_operands(const cg_part *part)
{
    return part->count * CG_WEIGHT_OPERANDS + CG_RESULT_OPERANDS;
}

static uint64_t panel_count(const cg_part *part)
{
    return (part->columns + CG_PANEL_ROWS - 1) / CG_PANEL_ROWS;
}

static uint64_t block_count(const cg_part *part)
{
    return (part->columns + CG_BLOCK_ROWS - 1) / CG_BLOCK_ROWS;
}

/* --- strips: a tile going over the panels of a block --- */

/* Parameters of a strip's function: the part's operands in memory, the address of the first
 * token's activations, the number of that token, and the panels. */
enum { STRIP_OPERANDS, STRIP_X, STRIP_TOKEN, STRIP_FIRST, STRIP_END, STRIP_PARAMETERS };

static LLVMTypeRef strip_type(cg_build *build)
{
    LLVMTypeRef parameters[] = {build->pointer, build->pointer, build->i64, build->i64, build->i64};
    return LLVMFunctionType(build->none, parameters, STRIP_PARAMETERS, false);
}

/* An operand of product number `product`; NULL: there is only one. */
static LLVMValueRef weight_operand(const cg_strip *strip, LLVMValueRef product,
                                   cg_weight_operand which)
{
    cg_build *build = &strip->part->product.lowering->build;
    if (product == NULL)
        return strip->operands[which];
    LLVMValueRef at = cg_element(build, strip->from, product, CG_WEIGHT_OPERANDS * 8);
    return cg_load(build, build->pointer, cg_offset_by(build, at, (uint64_t)which * 8), 8);
}

/* Where a panel begins: its unit, of so many bytes, and there its place. */
static LLVMValueRef find_panel(const cg_strip *strip, LLVMValueRef base, LLVMValueRef panel,
                               uint64_t unit_bytes, uint64_t panel_bytes)
{
    cg_build *build = &strip->part->product.lowering->build;
    const unsigned unit_panels = strip->tile.product->weight->unit_panels;
    if (unit_panels == 1)
        return cg_element(build, base, panel, unit_bytes);
    LLVMValueRef panels = cg_i64(build, unit_panels);
    base = cg_element(build, base, LLVMBuildUDiv(build->builder, panel, panels, ""), unit_bytes);
    return cg_element(build, base, LLVMBuildURem(build->builder, panel, panels, ""), panel_bytes);
}

/* Where a product of the strip has its weights, scales and zeros from a panel on. */
static void find_weights(const cg_strip *strip, LLVMValueRef product, LLVMValueRef panel,
                         LLVMValueRef *addresses)
{
    const cg_weight *weight = strip->tile.product->weight;
    const uint64_t zeros = weight->groups * weight->unit_panels * CG_LANES;
    const uint64_t scales = zeros * weight->scale_bytes;
    addresses[CG_TILE_WEIGHTS] = find_panel(strip, weight_operand(strip, product, CG_WEIGHT_DATA),
                                            panel, weight->unit_bytes, CG_DOT_BYTES);
    addresses[CG_TILE_SCALES] = find_panel(strip, weight_operand(strip, product, CG_WEIGHT_SCALES),
                                           panel, scales, CG_LANES * weight->scale_bytes);
    addresses[CG_TILE_ZEROS] =
        find_panel(strip, weight_operand(strip, product, CG_WEIGHT_ZEROS), panel, zeros, CG_LANES);
}

/* Sums up the tile of the panels from strip->panel on. What comes then is the other one of two
 * products, or the panels behind. */
static void multiply(cg_strip *strip, LLVMValueRef product)
{
    cg_build *build = &strip->part->product.lowering->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    cg_tile *tile = &strip->tile;
    LLVMValueRef then = product, steps = cg_i64(build, strip->panels);
    if (product != NULL) {
        then = LLVMBuildXor(builder, product, cg_i64(build, 1), "");
        steps = LLVMBuildMul(builder, steps, product, "");
    }
    find_weights(strip, product, strip->panel, tile->parameters);
    find_weights(strip, then, LLVMBuildAdd(builder, strip->panel, steps, ""), tile->next);
    for (unsigned s = 0; s < strip->panels * strip->tokens; s++)
        cg_store(build, cg_constant_real(floats, 0), tile->totals[s], 64);
    tile->product->emit(tile);
}

/* Gate and up, one after the other, of as many panels as are stored together: two make a block of a
 * quantised result. */
static void multiply_gated(cg_strip *strip)
{
    cg_build *build = &strip->part->product.lowering->build;
    const unsigned tiles = strip->part->quantises ? 2 / strip->panels : 1;
    LLVMValueRef first = strip->panel;
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, CG_MOST_GATED * tiles), 1);
    LLVMValueRef product =
        LLVMBuildAnd(build->builder, loop.index, cg_i64(build, CG_MOST_GATED - 1), "");
    LLVMValueRef place =
        LLVMBuildUDiv(build->builder, loop.index, cg_i64(build, CG_MOST_GATED), "");
    place = LLVMBuildMul(build->builder, place, cg_i64(build, strip->panels), "");
    strip->panel = LLVMBuildAdd(build->builder, first, place, "");
    multiply(strip, product);
    for (unsigned p = 0; p < strip->panels; p++)
        cg_strip_keep(strip, p, product, LLVMBuildAdd(build->builder, place, cg_i64(build, p), ""));
    cg_loop_end(build, &loop);
    strip->panel = first;
}

static void emit_panels(cg_strip *strip)
{
    cg_strip_fetch(strip);
    if (strip->part->count == 1)
        multiply(strip, NULL);
    else
        multiply_gated(strip);
    if (strip->part->quantises)
        cg_strip_quantise(strip);
    else
        cg_strip_store(strip);
}

static LLVMValueRef emit_strip(const cg_part *part, const char *name, unsigned panels,
                               unsigned tokens)
{
    cg_lowering *lowering = part->product.lowering;
    cg_build *build = &lowering->build;
    LLVMBasicBlockRef caller = LLVMGetInsertBlock(build->builder);
    LLVMValueRef function = cg_function_begin(lowering, name, strip_type(build));
    cg_strip strip = {.part = part,
                      .tile = {.product = &part->product, .panels = panels, .tokens = tokens},
                      .panels = panels,
                      .tokens = tokens,
                      .from = LLVMGetParam(function, STRIP_OPERANDS),
                      .token = LLVMGetParam(function, STRIP_TOKEN),
                      .first = LLVMGetParam(function, STRIP_FIRST)};
    for (unsigned i = 0; i < part_operands(part); i++)
        strip.operands[i] =
            cg_load(build, build->pointer, cg_offset_by(build, strip.from, 8 * i), 8);
    strip.tile.parameters[CG_TILE_X] = LLVMGetParam(function, STRIP_X);
    cg_variables(build, cg_vector(build->f32, CG_LANES), panels * tokens, "totals",
                 strip.tile.totals);
    cg_strip_begin(&strip);
    cg_loop loop = cg_loop_begin(build, strip.first, LLVMGetParam(function, STRIP_END),
                                 part->quantises ? 2 : panels);
    strip.panel = loop.index;
    emit_panels(&strip);
    cg_loop_end(build, &loop);
    cg_strip_end(&strip);
    LLVMBuildRetVoid(build->builder);
    LLVMPositionBuilderAtEnd(build->builder, caller);
    return function;
}

/* Panels of a part's tile of so many tokens; 0: none. */
static unsigned tile_panels(const cg_part *part, unsigned tokens)
{
    unsigned panels = part->product.panels(&part->product, tokens);
    /* The largest of a block is found in one strip; two panels make a quantised block. */
    while ((part->largest && panels > 1 && panel_count(part) % panels != 0) ||
           (part->quantises && panels > 2))
        panels /= 2;
    return panels;
}

/* Multiplies the panels [first, end) by the tokens [token, token + tokens) with tiles of `panels`.
 */
static void call_strip(const cg_part *part, const cg_kernel *kernel, LLVMValueRef operands,
                       unsigned panels, unsigned tokens, LLVMValueRef token, LLVMValueRef first,
                       LLVMValueRef end)
{
    const cg_product *product = &part->product;
    cg_build *build = &product->lowering->build;
    char name[160];
    snprintf(name, sizeof name, "%s_tile%ux%u", part->key, panels, tokens);
    LLVMValueRef function = LLVMGetNamedFunction(build->module, name);
    if (function == NULL)
        function = emit_strip(part, name, panels, tokens);
    LLVMValueRef arguments[STRIP_PARAMETERS] = {
        [STRIP_OPERANDS] = operands,
        [STRIP_X] = cg_element(build, kernel->operands[0], token, product->token_bytes),
        [STRIP_TOKEN] = token,
        [STRIP_FIRST] = first,
        [STRIP_END] = end,
    };
    LLVMBuildCall2(build->builder, strip_type(build), function, arguments, STRIP_PARAMETERS, "");
}

/* --- the kernel --- */

/* A block of panels times all tokens: as many tiles of the largest size as fit, then smaller. */
static void emit_block(const cg_part *part, const cg_kernel *kernel, LLVMValueRef operands,
                       LLVMValueRef first, LLVMValueRef end)
{
    const cg_product *product = &part->product;
    cg_build *build = &product->lowering->build;
    LLVMValueRef begin = cg_i64(build, 0);
    for (size_t i = 0; i < product->tile_count; i++) {
        const unsigned tokens = product->tile_tokens[i];
        const unsigned panels = tile_panels(part, tokens);
        if (panels == 0)
            continue;
        LLVMValueRef left = LLVMBuildSub(build->builder, kernel->rows, begin, "");
        LLVMValueRef size = cg_i64(build, tokens);
        LLVMValueRef count =
            LLVMBuildMul(build->builder, LLVMBuildUDiv(build->builder, left, size, ""), size, "");
        LLVMValueRef stop = LLVMBuildAdd(build->builder, begin, count, "");
        cg_loop loop = cg_loop_begin(build, begin, stop, tokens);
        if (panel_count(part) % panels == 0) {
            call_strip(part, kernel, operands, panels, tokens, loop.index, first, end);
        } else {
            LLVMValueRef whole = LLVMBuildSub(build->builder, end, first, "");
            whole = LLVMBuildMul(build->builder,
                                 LLVMBuildUDiv(build->builder, whole, cg_i64(build, panels), ""),
                                 cg_i64(build, panels), "");
            LLVMValueRef rest = LLVMBuildAdd(build->builder, first, whole, "");
            call_strip(part, kernel, operands, panels, tokens, loop.index, first, rest);
            call_strip(part, kernel, operands, 1, tokens, loop.index, rest, end);
        }
        cg_loop_end(build, &loop);
        begin = stop;
    }
}

/* What of [begin, end) lies within `count` blocks from `before` on. */
static void clip(cg_build *build, LLVMValueRef *begin, LLVMValueRef *end, uint64_t before,
                 uint64_t count)
{
    LLVMValueRef offset = cg_i64(build, (int64_t)before), most = cg_i64(build, (int64_t)count);
    LLVMValueRef zero = cg_i64(build, 0);
    *begin = cg_maximum_i64(build, LLVMBuildSub(build->builder, *begin, offset, ""), zero);
    *end = cg_minimum_i64(build, LLVMBuildSub(build->builder, *end, offset, ""), most);
}

/* Blocks of panels of all parts are shared out among the threads. */
static void emit_kernel(const products_kernel *self, const cg_kernel *kernel)
{
    cg_build *build = &self->entry->lowering->build;
    LLVMValueRef arguments = LLVMGetParam(kernel->function, 0), begin, end;
    uint64_t total = 0, before = 0;
    unsigned operand = CG_FIRST_OPERAND + 1;
    for (unsigned i = 0; i < self->part_count; i++)
        total += block_count(&self->parts[i]);
    cg_share(build, kernel, cg_i64(build, (int64_t)total), &begin, &end);
    for (unsigned i = 0; i < self->part_count; i++) {
        const cg_part *part = &self->parts[i];
        LLVMValueRef from = begin, to = end;
        if (self->part_count > 1)
            clip(build, &from, &to, before, block_count(part));
        cg_loop loop = cg_loop_begin(build, from, to, 1);
        LLVMValueRef size = cg_i64(build, CG_TILE_PANELS);
        LLVMValueRef first = LLVMBuildMul(build->builder, loop.index, size, "");
        LLVMValueRef last = cg_minimum_i64(build, LLVMBuildAdd(build->builder, first, size, ""),
                                           cg_i64(build, (int64_t)panel_count(part)));
        emit_block(part, kernel, cg_offset_by(build, arguments, (uint64_t)operand * 8), first,
                   last);
        cg_loop_end(build, &loop);
        before += block_count(part);
        operand += part_operands(part);
    }
}

/* --- lowering --- */

static td_status check_bias(const products_kernel *self, const ir_value *bias, uint64_t width)
{
    uint64_t length = 0;
    if (!ir_shape_elements_bound(self->entry->graph->module, &bias->shape, &length) ||
        length != width || bias->type == IR_F64)
        return cg_refuse(self->node, "the bias has %llu elements, %llu are needed",
                         (unsigned long long)length, (unsigned long long)width);
    return TD_OK;
}

/* Whether the same code multiplies by either weight. */
static bool are_alike(const cg_weight *a, const cg_weight *b)
{
    return a->rows == b->rows && a->constant->type == b->constant->type && a->group == b->group &&
           a->scale_bytes == b->scale_bytes && a->has_zero == b->has_zero &&
           (a->scale_bytes == 0 || a->constant->scale->type == b->constant->scale->type);
}

/* Adds weight number `index` of the node to a part, and its addresses. */
static td_status add_product(products_kernel *self, cg_part *part, uint32_t index,
                             const cg_product *style, uint64_t columns)
{
    cg_entry *entry = self->entry;
    const ir_value *matrix = self->node->inputs[self->operands.first + index];
    const cg_role role = self->operands.quantised ? CG_ROLE_DOTS : CG_ROLE_PANELS;
    const cg_weight *weight = matrix->kind == IR_VALUE_CONSTANT
                                  ? cg_weights_find(entry->weights, matrix->constant, role)
                                  : NULL;
    if (weight == NULL)
        return cg_refuse(self->node, "the weight is computed; a constant is needed");
    if (weight->columns != columns)
        return cg_refuse(self->node, "the weight is %llu x %llu; rows of %llu are needed",
                         (unsigned long long)weight->rows, (unsigned long long)weight->columns,
                         (unsigned long long)columns);
    if (part->count > 0 && !are_alike(part->product.weight, weight))
        return cg_refuse(self->node, "the weights of gate and up differ in size or type");
    if (part->count++ == 0) {
        part->product = *style;
        part->product.lowering = entry->lowering;
        part->product.cached = cg_is_cached(entry);
        part->product.weight = weight;
        part->columns = weight->rows;
    }
    LLVMValueRef *addresses = &self->addresses[self->address_count];
    self->address_count += CG_WEIGHT_OPERANDS;
    addresses[CG_WEIGHT_DATA] = cg_weight_address(entry, weight->offset);
    addresses[CG_WEIGHT_SCALES] = cg_weight_address(entry, weight->scale_offset);
    addresses[CG_WEIGHT_ZEROS] = cg_weight_address(entry, weight->zero_offset);
    addresses[CG_WEIGHT_BIAS] = addresses[CG_WEIGHT_DATA];
    if (self->operands.biases != 0) {
        const ir_value *bias = self->node->inputs[self->operands.biases + index];
        part->has_bias = true;
        TD_TRY(check_bias(self, bias, weight->rows));
        TD_TRY(cg_address(entry, self->node, bias, &addresses[CG_WEIGHT_BIAS]));
    }
    return TD_OK;
}

/* Addresses of the part's result and of what belongs to it. */
static td_status add_result(products_kernel *self, cg_part *part, uint32_t output)
{
    const ir_node *node = self->node;
    const ir_value *other = part->adds                         ? node->inputs[0]
                            : part->quantises || part->largest ? node->outputs[1]
                                                               : node->outputs[output];
    LLVMValueRef *addresses = &self->addresses[self->address_count];
    self->address_count += CG_RESULT_OPERANDS;
    TD_TRY(cg_address(self->entry, node, node->outputs[output], &addresses[CG_RESULT_OUT]));
    return cg_address(self->entry, node, other, &addresses[CG_RESULT_OTHER]);
}

static void name_part(const products_kernel *self, cg_part *part)
{
    const cg_weight *weight = part->product.weight;
    snprintf(part->key, sizeof part->key, "%s_%llux%llu_%s_g%llu_s%u%s%s%s%s%s%s%s",
             self->operands.quantised ? "q8" : "f32", (unsigned long long)weight->rows,
             (unsigned long long)weight->columns, ir_type_name(weight->constant->type),
             (unsigned long long)weight->group,
             weight->scale_bytes > 0 ? (unsigned)weight->constant->scale->type : 0,
             weight->has_zero ? "_zero" : "", part->product.cached ? "_cached" : "",
             part->has_bias ? "_bias" : "", part->count > 1 ? "_gated" : "",
             part->adds ? "_add" : "", part->quantises ? "_quantize" : "",
             part->largest ? "_largest" : "");
}

static td_status add_part(products_kernel *self, uint32_t index, const cg_product *style,
                          uint64_t columns)
{
    cg_part *part = &self->parts[self->part_count++];
    *part = (cg_part){.adds = self->operands.adds,
                      .quantises = self->operands.quantises,
                      .largest = self->operands.largest};
    TD_TRY(add_product(self, part, index, style, columns));
    if (self->operands.gated)
        TD_TRY(add_product(self, part, 1, style, columns));
    if (part->quantises && part->columns % IR_QUANTIZE_BLOCK != 0)
        return cg_refuse(self->node, "rows of %llu cannot be quantised here; a multiple of %d can",
                         (unsigned long long)part->columns, IR_QUANTIZE_BLOCK);
    name_part(self, part);
    return add_result(self, part, index);
}

/* The width of the activations; quantised ones lie in the order of one quantising node. */
static td_status check_activations(const products_kernel *self, uint64_t *columns)
{
    const ir_value *x = self->node->inputs[self->operands.activations];
    if (!self->operands.quantised)
        return cg_matrix(self->node, x, "the activation", columns);
    const ir_value *scales = self->node->inputs[self->operands.activations + 1];
    if (!ir_value_is_quantised(x) || scales->producer != x->producer || x->shape.rank != 2 ||
        !ir_dim_is_constant(&x->shape.dim[1]))
        return cg_refuse(self->node, "the activations must be the matrix that one node quantises");
    *columns = (uint64_t)x->shape.dim[1].constant;
    return TD_OK;
}

static td_status describe(products_kernel *self)
{
    uint64_t columns;
    if (!ir_node_products(self->node, &self->operands))
        return cg_refuse(self->node, "this is no product");
    TD_TRY(check_activations(self, &columns));
    const cg_product style =
        self->operands.quantised ? cg_quantised_product(columns) : cg_linear_product(columns);
    TD_TRY(cg_address(self->entry, self->node, self->node->inputs[self->operands.activations],
                      &self->addresses[self->address_count++]));
    const uint32_t parts = self->operands.gated ? 1 : self->operands.count;
    for (uint32_t i = 0; i < parts; i++)
        TD_TRY(add_part(self, i, &style, columns));
    return TD_OK;
}

td_status cg_lower_products(cg_entry *entry, const ir_node *node)
{
    products_kernel self = {.entry = entry, .node = node};
    TD_TRY(describe(&self));
    td_text key;
    td_text_init(&key, entry->lowering->context);
    td_text_printf(&key, "products");
    for (unsigned i = 0; i < self.part_count; i++)
        td_text_printf(&key, "_%s", self.parts[i].key);
    LLVMValueRef rows;
    cg_kernel kernel;
    bool fresh = false;
    td_status status = key.failed ? td_fail_memory(entry->lowering->context) : TD_OK;
    if (status == TD_OK)
        status = cg_dimension(entry, node, &node->outputs[0]->shape.dim[0], &rows);
    if (status == TD_OK)
        status =
            cg_kernel_begin(entry->lowering, self.address_count, &kernel, &fresh, "%s", key.data);
    td_text_release(&key);
    TD_TRY(status);
    if (fresh) {
        emit_kernel(&self, &kernel);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, self.address_count, rows, self.addresses);
    return TD_OK;
}

/* --- merge_largest --- */

enum { MERGE_NUMBERS, MERGE_COLUMNS, MERGE_OUT, MERGE_COUNT };

/* The first of the largest of a row's numbers. */
static void emit_merge(cg_build *build, const cg_kernel *kernel, uint64_t count)
{
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef begin, end, best = cg_variable(build, build->i64, "best");
    LLVMValueRef largest = cg_variable(build, build->f32, "largest");
    cg_share(build, kernel, kernel->rows, &begin, &end);
    cg_loop row = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef numbers = cg_element(build, kernel->operands[MERGE_NUMBERS], row.index, count * 4);
    LLVMValueRef columns = cg_element(build, kernel->operands[MERGE_COLUMNS], row.index, count * 4);
    cg_store(build, cg_i64(build, 0), best, 8);
    cg_store(build, cg_load(build, build->f32, numbers, 4), largest, 4);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 1), cg_i64(build, (int64_t)count), 1);
    LLVMValueRef number = cg_load(build, build->f32, cg_element(build, numbers, loop.index, 4), 4);
    LLVMValueRef before = cg_load(build, build->f32, largest, 4);
    LLVMValueRef more = LLVMBuildFCmp(builder, LLVMRealOGT, number, before, "");
    LLVMValueRef place = cg_load(build, build->i64, best, 8);
    cg_store(build, LLVMBuildSelect(builder, more, number, before, ""), largest, 4);
    cg_store(build, LLVMBuildSelect(builder, more, loop.index, place, ""), best, 8);
    cg_loop_end(build, &loop);
    place = cg_load(build, build->i64, best, 8);
    cg_store(build, cg_load(build, build->i32, cg_element(build, columns, place, 4), 4),
             cg_element(build, kernel->operands[MERGE_OUT], row.index, 4), 4);
    cg_loop_end(build, &row);
}

td_status cg_lower_merge_largest(cg_entry *entry, const ir_node *node)
{
    uint64_t count;
    LLVMValueRef addresses[MERGE_COUNT], rows;
    TD_TRY(cg_matrix(node, node->inputs[0], "the numbers", &count));
    TD_TRY(cg_address(entry, node, node->inputs[0], &addresses[MERGE_NUMBERS]));
    TD_TRY(cg_address(entry, node, node->inputs[1], &addresses[MERGE_COLUMNS]));
    TD_TRY(cg_address(entry, node, node->outputs[0], &addresses[MERGE_OUT]));
    TD_TRY(cg_dimension(entry, node, &node->outputs[0]->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, MERGE_COUNT, &kernel, &fresh, "merge_largest_%llu",
                           (unsigned long long)count));
    if (fresh) {
        emit_merge(&entry->lowering->build, &kernel, count);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, MERGE_COUNT, rows, addresses);
    return TD_OK;
}
