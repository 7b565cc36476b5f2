/* Products with weights: linear, linear_quantized, and what fusion makes of them, which are defined
 * as the same steps one after the other.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"
#include "ir/numerics.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A node being evaluated: its activations as floats. */
typedef struct product {
    ir_evaluator *evaluator;
    const ir_node *node;
    const ir_tensor *const *inputs;
    ir_products operands;
    uint64_t tokens;
    const float *x, *block_scales; /* block_scales: NULL unless quantised */
} product;

/* The integers as floats, which hold them exactly. */
static float *widen(ir_evaluator *evaluator, const ir_tensor *q)
{
    float *wide = ir_evaluate_scratch(evaluator, q->elements, sizeof *wide);
    const int8_t *stored = q->data;
    for (uint64_t i = 0; wide != NULL && i < q->elements; i++)
        wide[i] = (float)stored[i];
    return wide;
}

static uint64_t token_count(const ir_tensor *x)
{
    return (uint64_t)ir_dims_product(x->dim, 0, x->rank - 1);
}

static td_status take_activations(product *self)
{
    const uint32_t place = self->operands.activations;
    const ir_tensor *x = self->inputs[place];
    if (x->rank == 0)
        return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                "its activations are a scalar; rows are accepted");
    self->tokens = token_count(x);
    if (!self->operands.quantised) {
        TD_TRY(ir_evaluate_want_floats(self->evaluator, self->node, x, (int)place + 1));
        self->x = ir_tensor_floats(self->evaluator, x);
    } else {
        const ir_tensor *scales = self->inputs[place + 1];
        const int64_t blocks = (x->dim[x->rank - 1] + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
        if (scales->rank != x->rank || scales->dim[x->rank - 1] != blocks ||
            token_count(scales) != self->tokens)
            return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                    "its scales must be [%" PRIu64 ", %" PRId64 "]", self->tokens,
                                    blocks);
        self->x = widen(self->evaluator, x);
        self->block_scales = scales->data;
    }
    return self->x == NULL ? td_fail_memory(self->evaluator->context) : TD_OK;
}

/* The shape of product `index`: [.., rows of its weight]. */
static td_status product_shape(const product *self, uint32_t index, int64_t *dims)
{
    const ir_tensor *x = self->inputs[self->operands.activations];
    const ir_tensor *weight = self->inputs[self->operands.first + index];
    if (weight->rank != 2 || x->dim[x->rank - 1] != weight->dim[1])
        return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                "its activations have rows of %" PRId64
                                " numbers; the weight wants %" PRId64,
                                x->dim[x->rank - 1], weight->rank == 2 ? weight->dim[1] : 0);
    memcpy(dims, x->dim, sizeof x->dim);
    dims[x->rank - 1] = weight->dim[0];
    return TD_OK;
}

static td_status take_weight(const product *self, uint32_t index, ir_panels *panels)
{
    ir_evaluator *evaluator = self->evaluator;
    const uint32_t input = self->operands.first + index;
    const ir_tensor *weight = self->inputs[input];
    if (weight->data == NULL || self->operands.quantised)
        return ir_panels_of_constant(evaluator, self->node->inputs[input]->constant, panels);
    TD_TRY(ir_evaluate_want_floats(evaluator, self->node, weight, (int)input + 1));
    const float *weights = ir_tensor_floats(evaluator, weight);
    if (weights == NULL)
        return td_fail_memory(evaluator->context);
    return ir_panels_of_numbers(evaluator, weights, (uint64_t)weight->dim[0],
                                (uint64_t)weight->dim[1], weight->dim[1], 1, panels);
}

static td_status add_bias(const product *self, uint32_t input, uint64_t rows, float *out)
{
    const ir_tensor *bias = self->inputs[input];
    if (bias->elements != rows)
        return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                "its bias has %" PRIu64 " numbers; the weight has %" PRIu64 " rows",
                                bias->elements, rows);
    TD_TRY(ir_evaluate_want_floats(self->evaluator, self->node, bias, (int)input + 1));
    const float *added = ir_tensor_floats(self->evaluator, bias);
    if (added == NULL)
        return td_fail_memory(self->evaluator->context);
    for (uint64_t token = 0; token < self->tokens; token++, out += rows)
        for (uint64_t row = 0; row < rows; row++)
            out[row] = out[row] + added[row];
    return TD_OK;
}

/* Product `index` with its bias, to out[tokens][rows]. */
static td_status multiply(const product *self, uint32_t index, float *out)
{
    ir_panels panels = {0};
    TD_TRY(take_weight(self, index, &panels));
    TD_TRY(ir_panels_multiply(&panels, self->tokens, self->x, self->block_scales, out));
    return self->operands.biases == 0
               ? TD_OK
               : add_bias(self, self->operands.biases + index, panels.rows, out);
}

/* Product `index`, in scratch; *like is its shape. */
static td_status multiply_aside(const product *self, uint32_t index, ir_tensor *like,
                                float **numbers)
{
    *like = (ir_tensor){.type = IR_F32, .rank = self->inputs[self->operands.activations]->rank};
    TD_TRY(product_shape(self, index, like->dim));
    like->elements = self->tokens * (uint64_t)like->dim[like->rank - 1];
    *numbers = ir_evaluate_scratch(self->evaluator, like->elements, sizeof **numbers);
    if (*numbers == NULL)
        return td_fail_memory(self->evaluator->context);
    return multiply(self, index, *numbers);
}

/* --- what becomes of a product --- */

static td_status store_products(const product *self, ir_tensor *outputs)
{
    for (uint32_t i = 0; i < self->operands.count; i++) {
        int64_t dims[IR_MAX_RANK];
        TD_TRY(product_shape(self, i, dims));
        TD_TRY(ir_evaluate_allocate(self->evaluator, self->node, IR_F32,
                                    self->inputs[self->operands.activations]->rank, dims,
                                    &outputs[i]));
        TD_TRY(multiply(self, i, outputs[i].data));
    }
    return TD_OK;
}

static td_status add_addend(const product *self, ir_tensor *outputs)
{
    const ir_tensor *addend = self->inputs[0];
    float *out = outputs[0].data;
    TD_TRY(ir_evaluate_want_floats(self->evaluator, self->node, addend, 1));
    const float *added = ir_tensor_floats(self->evaluator, addend);
    if (added == NULL)
        return td_fail_memory(self->evaluator->context);
    if (addend->elements != outputs[0].elements)
        return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                "its addend has %" PRIu64 " numbers, its product %" PRIu64,
                                addend->elements, outputs[0].elements);
    for (uint64_t i = 0; i < addend->elements; i++)
        out[i] = added[i] + out[i];
    return TD_OK;
}

static td_status store_gated(const product *self, ir_tensor *outputs)
{
    ir_tensor like, second;
    float *gate = NULL, *up = NULL;
    TD_TRY(multiply_aside(self, 0, &like, &gate));
    TD_TRY(multiply_aside(self, 1, &second, &up));
    if (like.elements != second.elements)
        return ir_evaluate_fail(self->evaluator, self->node, TD_INVALID,
                                "its products have %" PRIu64 " and %" PRIu64 " numbers",
                                like.elements, second.elements);
    for (uint64_t i = 0; i < like.elements; i++)
        gate[i] = ir_silu(gate[i]) * up[i];
    if (self->operands.quantises)
        return ir_evaluate_quantised(self->evaluator, self->node, &like, gate, outputs);
    TD_TRY(ir_evaluate_allocate_like(self->evaluator, self->node, IR_F32, &like, &outputs[0]));
    memcpy(outputs[0].data, gate, like.elements * sizeof *gate);
    return TD_OK;
}

/* The largest of `count` numbers; of zeros the positive one. */
static void find_largest(const float *numbers, uint64_t count, int32_t first, float *largest,
                         int32_t *column)
{
    *largest = -INFINITY;
    *column = first;
    for (uint64_t i = 0; i < count; i++)
        if (numbers[i] > *largest) {
            *largest = numbers[i];
            *column = first + (int32_t)i;
        }
    *largest = *largest + 0.0f;
}

static td_status store_largest(const product *self, ir_tensor *outputs)
{
    ir_tensor like;
    float *numbers = NULL;
    TD_TRY(multiply_aside(self, 0, &like, &numbers));
    const uint64_t columns = (uint64_t)like.dim[like.rank - 1];
    like.dim[like.rank - 1] = (int64_t)((columns + IR_LARGEST_BLOCK - 1) / IR_LARGEST_BLOCK);
    TD_TRY(ir_evaluate_allocate_like(self->evaluator, self->node, IR_F32, &like, &outputs[0]));
    TD_TRY(ir_evaluate_allocate_like(self->evaluator, self->node, IR_I32, &like, &outputs[1]));
    float *largest = outputs[0].data;
    int32_t *column = outputs[1].data;
    for (uint64_t token = 0; token < self->tokens; token++, numbers += columns)
        for (uint64_t first = 0; first < columns; first += IR_LARGEST_BLOCK) {
            const uint64_t left = columns - first;
            find_largest(numbers + first, left < IR_LARGEST_BLOCK ? left : IR_LARGEST_BLOCK,
                         (int32_t)first, largest++, column++);
        }
    return TD_OK;
}

td_status ir_evaluate_products(ir_evaluator *evaluator, const ir_node *node,
                               const ir_tensor *const *inputs, ir_tensor *outputs)
{
    product self = {.evaluator = evaluator, .node = node, .inputs = inputs};
    if (!ir_node_products(node, &self.operands))
        return ir_evaluate_fail(evaluator, node, TD_INTERNAL, "this is no product");
    TD_TRY(take_activations(&self));
    if (self.operands.gated)
        return store_gated(&self, outputs);
    if (self.operands.largest)
        return store_largest(&self, outputs);
    TD_TRY(store_products(&self, outputs));
    return self.operands.adds ? add_addend(&self, outputs) : TD_OK;
}

td_status ir_evaluate_merge_largest(ir_evaluator *evaluator, const ir_node *node,
                                    const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *numbers = inputs[0], *columns = inputs[1];
    const uint64_t count = numbers->rank > 0 ? (uint64_t)numbers->dim[numbers->rank - 1] : 0;
    if (numbers->type != IR_F32 || columns->type != IR_I32 || count == 0 ||
        numbers->elements != columns->elements)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its operands must be f32 and i32 rows of one size");
    int64_t dims[IR_MAX_RANK];
    memcpy(dims, numbers->dim, sizeof dims);
    dims[numbers->rank - 1] = 1;
    TD_TRY(ir_evaluate_allocate(evaluator, node, IR_I32, numbers->rank, dims, &outputs[0]));
    const float *row = numbers->data;
    const int32_t *column = columns->data;
    int32_t *best = outputs[0].data;
    for (uint64_t token = 0; token < outputs[0].elements; token++, row += count, column += count) {
        float largest;
        int32_t block;
        find_largest(row, count, 0, &largest, &block);
        best[token] = column[block];
    }
    return TD_OK;
}
