/* The raised ops of language models: embedding, normalisation, rotation, gating, row selection.
 * docs/numerics.md is the definition of each.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"
#include "ir/numerics.h"

#include <inttypes.h>
#include <string.h>

static uint64_t row_count(const ir_tensor *x)
{
    return x->rank > 0 ? (uint64_t)ir_dims_product(x->dim, 0, x->rank - 1) : 1;
}

static uint64_t row_length(const ir_tensor *x)
{
    return x->rank > 0 ? (uint64_t)x->dim[x->rank - 1] : 1;
}

/* --- embed, select_rows --- */

/* The shape of `indices`, with rows of `length` behind it. */
static td_status allocate_rows(ir_evaluator *evaluator, const ir_node *node, ir_type type,
                               const ir_tensor *indices, int64_t length, ir_tensor *out)
{
    int64_t dims[IR_MAX_RANK + 1];
    memcpy(dims, indices->dim, sizeof indices->dim);
    dims[indices->rank] = length;
    return ir_evaluate_allocate(evaluator, node, type, indices->rank + 1, dims, out);
}

static td_status refuse_row(ir_evaluator *evaluator, const ir_node *node, const char *what,
                            int64_t given, int64_t count)
{
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "%s %" PRId64 " is outside the %" PRId64 " rows of its operand", what,
                            given, count);
}

td_status ir_evaluate_embed(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *table = inputs[0];
    TD_TRY(ir_evaluate_want_integers(evaluator, node, inputs[1], 2));
    if (table->rank != 2)
        return ir_evaluate_fail(evaluator, node, TD_INVALID, "its table must be [rows, features]");
    const int64_t *ids = ir_tensor_integers(evaluator, inputs[1]);
    const float *numbers = NULL;
    if (table->data != NULL) {
        TD_TRY(ir_evaluate_want_floats(evaluator, node, table, 1));
        numbers = ir_tensor_floats(evaluator, table);
    }
    if (ids == NULL || (table->data != NULL && numbers == NULL))
        return td_fail_memory(evaluator->context);
    TD_TRY(allocate_rows(evaluator, node, IR_F32, inputs[1], table->dim[1], &outputs[0]));
    uint64_t length = (uint64_t)table->dim[1];
    float *out = outputs[0].data;
    for (uint64_t i = 0; i < inputs[1]->elements; i++, out += length) {
        if (ids[i] < 0 || ids[i] >= table->dim[0])
            return refuse_row(evaluator, node, "token", ids[i], table->dim[0]);
        uint64_t first = (uint64_t)ids[i] * length;
        if (numbers != NULL)
            memcpy(out, numbers + first, length * sizeof *out);
        else
            TD_TRY(ir_constant_read_f32(evaluator->context, node->inputs[0]->constant, first,
                                        length, out));
    }
    return TD_OK;
}

td_status ir_evaluate_select_rows(ir_evaluator *evaluator, const ir_node *node,
                                  const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0], *rows = inputs[1];
    TD_TRY(ir_evaluate_want_integers(evaluator, node, rows, 2));
    if (x->rank == 0 || rows->rank != 1)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its operands must be [tokens, ..] and [rows]");
    const int64_t *wanted = ir_tensor_integers(evaluator, rows);
    if (wanted == NULL)
        return td_fail_memory(evaluator->context);
    int64_t dims[IR_MAX_RANK];
    memcpy(dims, x->dim, sizeof dims);
    dims[0] = rows->dim[0];
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, x->rank, dims, &outputs[0]));
    uint64_t bytes = (uint64_t)ir_dims_product(x->dim, 1, x->rank) * ir_element_bytes(x->type);
    for (uint64_t i = 0; i < rows->elements; i++) {
        if (wanted[i] < 0 || wanted[i] >= x->dim[0])
            return refuse_row(evaluator, node, "row", wanted[i], x->dim[0]);
        memcpy((char *)outputs[0].data + i * bytes,
               (const char *)x->data + (uint64_t)wanted[i] * bytes, bytes);
    }
    return TD_OK;
}

/* --- rms_norm, quantize_rows --- */

/* Normalised rows, in scratch. */
static td_status normalise(ir_evaluator *evaluator, const ir_node *node,
                           const ir_tensor *const *inputs, float **result)
{
    const ir_tensor *x = inputs[0], *weight = inputs[1];
    TD_TRY(ir_evaluate_want_floats(evaluator, node, x, 1));
    TD_TRY(ir_evaluate_want_floats(evaluator, node, weight, 2));
    uint64_t length = weight->elements;
    if (length == 0 || row_length(x) % length != 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "rows of %" PRIu64 " are no multiple of the weight's %" PRIu64,
                                row_length(x), length);
    const float *row = ir_tensor_floats(evaluator, x), *w = ir_tensor_floats(evaluator, weight);
    *result = ir_evaluate_scratch(evaluator, x->elements, sizeof **result);
    if (row == NULL || w == NULL || *result == NULL)
        return td_fail_memory(evaluator->context);
    float epsilon = (float)ir_node_float(node, "epsilon", 0.0);
    float *y = *result;
    for (uint64_t done = 0; done < x->elements; done += length, row += length, y += length) {
        float sum = ir_row_dot(row, row, length);
        float r = 1.0f / sqrtf(sum / (float)length + epsilon);
        for (uint64_t i = 0; i < length; i++)
            y[i] = row[i] * r * w[i];
    }
    return TD_OK;
}

td_status ir_evaluate_rms_norm(ir_evaluator *evaluator, const ir_node *node,
                               const ir_tensor *const *inputs, ir_tensor *outputs)
{
    float *result = NULL;
    TD_TRY(normalise(evaluator, node, inputs, &result));
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, inputs[0]->type, inputs[0], &outputs[0]));
    ir_tensor_store_floats(&outputs[0], result);
    return TD_OK;
}

td_status ir_evaluate_quantised(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *like,
                                const float *numbers, ir_tensor *outputs)
{
    const uint64_t length = row_length(like);
    const uint64_t blocks = (length + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    int64_t dims[IR_MAX_RANK];
    memcpy(dims, like->dim, sizeof dims);
    dims[like->rank - 1] = (int64_t)blocks;
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, IR_I8, like, &outputs[0]));
    TD_TRY(ir_evaluate_allocate(evaluator, node, IR_F32, like->rank, dims, &outputs[1]));
    int8_t *q = outputs[0].data;
    float *scale = outputs[1].data;
    for (uint64_t row = row_count(like); row > 0; row--, numbers += length, q += length)
        for (uint64_t first = 0; first < length; first += IR_QUANTIZE_BLOCK) {
            const uint64_t left = length - first;
            *scale++ = ir_quantize_block(
                numbers + first, left < IR_QUANTIZE_BLOCK ? left : IR_QUANTIZE_BLOCK, q + first);
        }
    return TD_OK;
}

static td_status refuse_scalar(ir_evaluator *evaluator, const ir_node *node)
{
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "its operand is a scalar; rows are accepted");
}

td_status ir_evaluate_quantize_rows(ir_evaluator *evaluator, const ir_node *node,
                                    const ir_tensor *const *inputs, ir_tensor *outputs)
{
    TD_TRY(ir_evaluate_want_floats(evaluator, node, inputs[0], 1));
    if (inputs[0]->rank == 0)
        return refuse_scalar(evaluator, node);
    const float *rows = ir_tensor_floats(evaluator, inputs[0]);
    if (rows == NULL)
        return td_fail_memory(evaluator->context);
    return ir_evaluate_quantised(evaluator, node, inputs[0], rows, outputs);
}

td_status ir_evaluate_rms_norm_quantize(ir_evaluator *evaluator, const ir_node *node,
                                        const ir_tensor *const *inputs, ir_tensor *outputs)
{
    float *rows = NULL;
    if (inputs[0]->rank == 0)
        return refuse_scalar(evaluator, node);
    TD_TRY(normalise(evaluator, node, inputs, &rows));
    return ir_evaluate_quantised(evaluator, node, inputs[0], rows, outputs);
}

/* --- rotary_table, rope --- */

td_status ir_evaluate_rotary_table(ir_evaluator *evaluator, const ir_node *node,
                                   const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *positions = inputs[0], *frequencies = inputs[1];
    TD_TRY(ir_evaluate_want_integers(evaluator, node, positions, 1));
    TD_TRY(ir_evaluate_want_floats(evaluator, node, frequencies, 2));
    uint64_t half = frequencies->elements;
    TD_TRY(allocate_rows(evaluator, node, IR_F32, positions, (int64_t)(2 * half), &outputs[0]));
    const int64_t *position = ir_tensor_integers(evaluator, positions);
    const float *frequency = ir_tensor_floats(evaluator, frequencies);
    if (position == NULL || frequency == NULL)
        return td_fail_memory(evaluator->context);
    double scale = ir_node_float(node, "scale", 1.0);
    float *row = outputs[0].data;
    for (uint64_t token = 0; token < positions->elements; token++, row += 2 * half)
        for (uint64_t i = 0; i < half; i++) {
            float angle = (float)position[token] * frequency[i];
            double sine, cosine;
            if (!(fabsf(angle) < IR_ANGLE_LIMIT))
                return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                        "position %" PRId64 " times frequency %g is too large; "
                                        "the size of an angle must be below 2^30",
                                        position[token], (double)frequency[i]);
            ir_sine_cosine(angle, &sine, &cosine);
            row[i] = (float)(cosine * scale);
            row[half + i] = (float)(sine * scale);
        }
    return TD_OK;
}

/* One head: the pair (a, b) turns by the angle whose cosine and sine are c and s. */
static void rotate_head(const float *x, const float *table, uint64_t size, bool interleaved,
                        float *y)
{
    uint64_t half = size / 2;
    for (uint64_t i = 0; i < half; i++) {
        uint64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
        float c = table[i], s = table[half + i];
        float ac = x[a] * c, bs = x[b] * s, bc = x[b] * c, as = x[a] * s;
        y[a] = ac - bs;
        y[b] = bc + as;
    }
}

td_status ir_evaluate_rotated(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                              const ir_tensor *table, float **result)
{
    int64_t given = ir_node_int(node, "head_size", 0);
    bool interleaved = ir_node_int(node, "interleaved", 0) != 0;
    TD_TRY(ir_evaluate_want_floats(evaluator, node, x, 1));
    TD_TRY(ir_evaluate_want_floats(evaluator, node, table, 2));
    uint64_t size = given > 0 ? (uint64_t)given : 0, tokens = row_count(x), length = row_length(x);
    if (size == 0 || size % 2 != 0 || length % size != 0)
        return ir_evaluate_fail(
            evaluator, node, TD_INVALID,
            "head_size is %" PRId64 "; an even divisor of %" PRIu64 " is wanted", given, length);
    if (row_count(table) != tokens || row_length(table) != size)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its table must be [%" PRIu64 ", %" PRIu64 "]", tokens, size);
    const float *from = ir_tensor_floats(evaluator, x);
    const float *angles = ir_tensor_floats(evaluator, table);
    *result = ir_evaluate_scratch(evaluator, x->elements, sizeof **result);
    if (from == NULL || angles == NULL || *result == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t token = 0; token < tokens; token++)
        for (uint64_t at = token * length; at < (token + 1) * length; at += size)
            rotate_head(from + at, angles + token * size, size, interleaved, *result + at);
    return TD_OK;
}

td_status ir_evaluate_rope(ir_evaluator *evaluator, const ir_node *node,
                           const ir_tensor *const *inputs, ir_tensor *outputs)
{
    float *result = NULL;
    TD_TRY(ir_evaluate_rotated(evaluator, node, inputs[0], inputs[1], &result));
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, inputs[0]->type, inputs[0], &outputs[0]));
    ir_tensor_store_floats(&outputs[0], result);
    return TD_OK;
}

/* --- gated_silu --- */

td_status ir_evaluate_gated_silu(ir_evaluator *evaluator, const ir_node *node,
                                 const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *gate = inputs[0], *up = inputs[1];
    TD_TRY(ir_evaluate_want_floats(evaluator, node, gate, 1));
    TD_TRY(ir_evaluate_want_floats(evaluator, node, up, 2));
    ir_operands all = {0};
    TD_TRY(ir_operands_start(evaluator, node, 2, inputs, &all));
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, all.rank, all.dims,
                                &outputs[0]));
    const float *g = ir_tensor_floats(evaluator, gate), *u = ir_tensor_floats(evaluator, up);
    float *result = ir_evaluate_scratch(evaluator, outputs[0].elements, sizeof *result);
    if (g == NULL || u == NULL || result == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t i = 0; i < outputs[0].elements; i++, ir_operands_next(&all))
        result[i] = ir_silu(g[all.walk[0].offset]) * u[all.walk[1].offset];
    ir_tensor_store_floats(&outputs[0], result);
    return TD_OK;
}
