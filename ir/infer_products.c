/* Shape rules of products with weights, of quantised activations, and of what fusion makes of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/infer.h"

#include <inttypes.h>

static const ir_dim *last_dim(const ir_shape *shape)
{
    return &shape->dim[shape->rank - 1];
}

/* --- quantised activations --- */

/* [.., K] -> [.., blocks of K], the shape of the scales of quantize_rows. */
static td_status infer_scales(const ir_node *node, const ir_shape *rows, ir_shape *scales)
{
    if (rows->rank == 0 || !ir_dim_is_constant(last_dim(rows)))
        return ir_infer_fail(node,
                             "rows of shape %s cannot be quantised; activations [tokens, K] are "
                             "needed, where K is a number",
                             ir_shape_describe(node->graph->module, rows).text);
    const int64_t length = last_dim(rows)->constant;
    *scales = *rows;
    scales->dim[rows->rank - 1] =
        ir_dim_constant(length / IR_QUANTIZE_BLOCK + (length % IR_QUANTIZE_BLOCK != 0 ? 1 : 0));
    return TD_OK;
}

/* Integers and scales of rows of this shape, as results 0 and 1. */
static td_status set_quantised(ir_node *node, const ir_shape *rows)
{
    const ir_shape shape = *rows;
    ir_shape scales;
    TD_TRY(infer_scales(node, &shape, &scales));
    ir_set_output(node, 0, IR_I8, &shape);
    ir_set_output(node, 1, IR_F32, &scales);
    return TD_OK;
}

td_status ir_infer_quantize_rows(ir_node *node)
{
    const ir_type type = node->inputs[0]->type;
    if (!ir_type_is_float(type) && type != IR_OPAQUE)
        return ir_infer_fail(node, "input 1 has element type %s; floats are needed",
                             ir_type_name(type));
    return set_quantised(node, ir_input_shape(node, 0));
}

td_status ir_infer_rms_norm_quantize(ir_node *node)
{
    TD_TRY(ir_infer_rms_norm(node));
    return set_quantised(node, ir_input_shape(node, 0));
}

/* --- products --- */

/* Integers and scales as quantize_rows makes them, and weights that take them. */
static td_status check_quantised(const ir_node *node, const ir_products *products)
{
    const uint32_t place = products->activations;
    const ir_value *q = node->inputs[place], *given = node->inputs[place + 1];
    ir_shape scales;
    if (q->type != IR_I8 || given->type != IR_F32)
        return ir_infer_fail(node,
                             "inputs %" PRIu32 " and %" PRIu32 " have element types %s and %s; i8 "
                             "and f32 scales as of quantize_rows are needed",
                             place + 1, place + 2, ir_type_name(q->type),
                             ir_type_name(given->type));
    TD_TRY(infer_scales(node, &q->shape, &scales));
    TD_TRY(ir_require_rank(node, place + 1, scales.rank));
    for (uint32_t i = 0; i < scales.rank; i++) {
        ir_dim merged;
        TD_TRY(ir_merge_dims(node, &given->shape.dim[i], &scales.dim[i],
                             "sizes of the scales and of what the activations need", &merged));
    }
    for (uint32_t i = products->first; i < products->first + products->count; i++)
        if (node->inputs[i]->kind != IR_VALUE_CONSTANT ||
            !ir_constant_suits_blocks(node->inputs[i]->constant))
            return ir_infer_fail(node,
                                 "input %" PRIu32
                                 " must be a constant [N, K] of i8, u8, i4 or u4 with scales, "
                                 "one for each row or for groups of a multiple of %d",
                                 i + 1, IR_QUANTIZE_BLOCK);
    return TD_OK;
}

static td_status check_operands(const ir_node *node, const ir_products *products)
{
    const uint32_t biases = products->first + products->count, last = biases + products->count;
    if (products->count == 0 || products->count > IR_MOST_GROUPED ||
        (node->input_count != biases && node->input_count != last))
        return ir_infer_fail(node,
                             "%" PRIu32 " inputs for %" PRIu32 " results; 1 to %d weights, and as "
                             "many biases or none, are accepted",
                             node->input_count, node->output_count, IR_MOST_GROUPED);
    return products->quantised ? check_quantised(node, products) : TD_OK;
}

/* Activations [.., K] times weight number `index` [N, K]: [.., N]. */
static td_status infer_product(const ir_node *node, const ir_products *products, uint32_t index,
                               ir_shape *result)
{
    const uint32_t input = products->first + index;
    const ir_shape *weight = ir_input_shape(node, input);
    *result = *ir_input_shape(node, products->activations);
    TD_TRY(ir_require_rank(node, input, 2));
    if (result->rank == 0)
        return ir_infer_fail(node, "the activations are a scalar; [tokens, K] is needed");
    ir_dim merged;
    TD_TRY(ir_merge_dims(node, last_dim(result), &weight->dim[1],
                         "the lengths of activations and of weight rows", &merged));
    if (products->biases != 0) {
        const uint32_t bias = products->biases + index;
        TD_TRY(ir_require_rank(node, bias, 1));
        TD_TRY(ir_merge_dims(node, &weight->dim[0], &ir_input_shape(node, bias)->dim[0],
                             "the number of weight rows and the length of the bias", &merged));
    }
    result->dim[result->rank - 1] = weight->dim[0];
    return TD_OK;
}

/* The other shape has the same rank and nowhere another size. */
static td_status check_alike(const ir_node *node, const ir_shape *a, const ir_shape *b,
                             const char *what)
{
    if (a->rank != b->rank)
        return ir_infer_fail(node, "%s have %" PRIu32 " and %" PRIu32 " dimensions", what, a->rank,
                             b->rank);
    for (uint32_t i = 0; i < a->rank; i++) {
        ir_dim merged;
        TD_TRY(ir_merge_dims(node, &a->dim[i], &b->dim[i], what, &merged));
    }
    return TD_OK;
}

/* [.., N] -> a number and a column for each block of columns. */
static td_status infer_largest(ir_node *node, const ir_shape *product)
{
    ir_shape result = *product;
    if (!ir_dim_is_constant(last_dim(&result)) || last_dim(&result)->constant < 1)
        return ir_infer_fail(node, "the number of weight rows must be known, and not 0");
    const int64_t columns = last_dim(&result)->constant;
    result.dim[result.rank - 1] = ir_dim_constant((columns - 1) / IR_LARGEST_BLOCK + 1);
    ir_set_output(node, 0, IR_F32, &result);
    ir_set_output(node, 1, IR_I32, &result);
    return TD_OK;
}

td_status ir_infer_products(ir_node *node)
{
    ir_products products;
    ir_shape result, other;
    if (!ir_node_products(node, &products))
        return ir_infer_fail(node, "this is no product");
    TD_TRY(check_operands(node, &products));
    TD_TRY(infer_product(node, &products, 0, &result));
    if (products.gated) {
        TD_TRY(infer_product(node, &products, 1, &other));
        TD_TRY(check_alike(node, &result, &other, "sizes of the two products"));
    }
    if (products.adds)
        TD_TRY(check_alike(node, &result, ir_input_shape(node, 0), "sizes of product and addend"));
    if (products.largest)
        return infer_largest(node, &result);
    if (products.quantises)
        return set_quantised(node, &result);
    ir_set_output(node, 0, IR_F32, &result);
    for (uint32_t i = 1; i < node->output_count; i++) {
        TD_TRY(infer_product(node, &products, i, &result));
        ir_set_output(node, i, IR_F32, &result);
    }
    return TD_OK;
}

td_status ir_infer_merge_largest(ir_node *node)
{
    const ir_shape *numbers = ir_input_shape(node, 0);
    if (node->inputs[0]->type != IR_F32 || node->inputs[1]->type != IR_I32 || numbers->rank == 0)
        return ir_infer_fail(node,
                             "inputs have element types %s and %s; f32 and i32 rows as of "
                             "linear_largest are needed",
                             ir_type_name(node->inputs[0]->type),
                             ir_type_name(node->inputs[1]->type));
    TD_TRY(check_alike(node, numbers, ir_input_shape(node, 1), "sizes of numbers and columns"));
    ir_shape result = *numbers;
    result.dim[result.rank - 1] = ir_dim_constant(1);
    ir_set_output(node, 0, IR_I32, &result);
    return TD_OK;
}
