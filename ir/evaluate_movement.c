/* Ops that move elements by shape: reshape, transpose, broadcast, concat, split, tile, range.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

td_status ir_evaluate_shape_of(ir_evaluator *evaluator, const ir_node *node,
                               const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    int64_t rank = x->rank;
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, 1, &rank, &outputs[0]));
    TD_TRY(ir_evaluate_want_integers(evaluator, node, &outputs[0], 1));
    ir_tensor_store_integers(&outputs[0], x->dim);
    return TD_OK;
}

/* --- reshape --- */

/* Replaces 0 (with special_zero) and the one -1 of a wanted shape. */
static td_status complete_shape(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                                uint32_t rank, int64_t *dims)
{
    bool special_zero = ir_node_int(node, "special_zero", 0) != 0;
    uint32_t rest = rank;
    uint64_t known = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] == 0 && special_zero && i < x->rank)
            dims[i] = x->dim[i];
        if (dims[i] == -1 && rest == rank) {
            rest = i;
            continue;
        }
        if (dims[i] < 0 || !td_multiply(known, (uint64_t)dims[i], &known))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "entry %" PRIu32 " of the wanted shape is %" PRId64
                                    "; sizes and one -1 are accepted",
                                    i, dims[i]);
    }
    if (rest == rank)
        return TD_OK;
    if (known == 0 ? x->elements != 0 : x->elements % known != 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRIu64 " elements cannot be divided into parts of %" PRIu64,
                                x->elements, known);
    dims[rest] = known == 0 ? 0 : (int64_t)(x->elements / known);
    return TD_OK;
}

td_status ir_evaluate_reshape(ir_evaluator *evaluator, const ir_node *node,
                              const ir_tensor *const *inputs, ir_tensor *outputs)
{
    int64_t dims[IR_MAX_RANK] = {0};
    uint32_t rank = 0;
    TD_TRY(ir_evaluate_list(evaluator, node, inputs[1], 2, IR_MAX_RANK, dims, &rank));
    TD_TRY(complete_shape(evaluator, node, inputs[0], rank, dims));
    return ir_evaluate_copy(evaluator, node, inputs[0], rank, dims, &outputs[0]);
}

/* --- transpose, broadcast, tile --- */

td_status ir_evaluate_transpose(ir_evaluator *evaluator, const ir_node *node,
                                const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    const ir_attribute *perm = ir_node_attribute(node, "perm");
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    bool taken[IR_MAX_RANK] = {0};
    if (perm != NULL && perm->count != x->rank)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "perm has %zu entries; its operand has %" PRIu32 " dimensions",
                                perm->count, x->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t axis = perm != NULL ? perm->integers[i] : x->rank - 1 - (int64_t)i;
        if (axis < 0 || axis >= x->rank || taken[axis])
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "perm names axis %" PRId64 "; each of %" PRIu32
                                    " axes must be named once",
                                    axis, x->rank);
        taken[axis] = true;
        dims[i] = x->dim[axis];
        strides[i] = ir_dims_product(x->dim, (uint32_t)axis + 1, x->rank);
    }
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, x->rank, dims, &outputs[0]));
    ir_copy_strided(x, 0, strides, &outputs[0]);
    return TD_OK;
}

td_status ir_evaluate_broadcast(ir_evaluator *evaluator, const ir_node *node,
                                const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    int64_t dims[IR_MAX_RANK], wanted[IR_MAX_RANK] = {0}, strides[IR_MAX_RANK];
    uint32_t rank, wanted_rank = 0;
    TD_TRY(ir_evaluate_list(evaluator, node, inputs[1], 2, IR_MAX_RANK, wanted, &wanted_rank));
    memcpy(dims, wanted, sizeof dims);
    rank = wanted_rank;
    bool fits = ir_dims_broadcast(&rank, dims, x);
    if (ir_node_int(node, "bidirectional", 0) == 0)
        fits = fits && rank == wanted_rank && memcmp(dims, wanted, rank * sizeof *dims) == 0;
    if (!fits)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its operand does not broadcast to the wanted shape");
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, rank, dims, &outputs[0]));
    ir_broadcast_strides(x, rank, strides);
    ir_copy_strided(x, 0, strides, &outputs[0]);
    return TD_OK;
}

/* A tile is a broadcast: each axis becomes a pair (repeat, size), whose product is the result's. */
td_status ir_evaluate_tile(ir_evaluator *evaluator, const ir_node *node,
                           const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    int64_t repeats[IR_MAX_RANK] = {0}, dims[IR_MAX_RANK];
    int64_t walk_dims[2 * IR_MAX_RANK];
    uint32_t listed = 0;
    TD_TRY(ir_evaluate_list(evaluator, node, inputs[1], 2, IR_MAX_RANK, repeats, &listed));
    uint32_t rank = listed > x->rank ? listed : x->rank;
    for (uint32_t i = 0; i < rank; i++) {
        int64_t size = i + x->rank >= rank ? x->dim[i + x->rank - rank] : 1;
        int64_t times = i + listed >= rank ? repeats[i + listed - rank] : 1;
        walk_dims[2 * i] = times;
        walk_dims[2 * i + 1] = size;
        if (times < 0 || __builtin_mul_overflow(size, times, &dims[i]))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "axis %" PRIu32 " cannot be repeated %" PRId64 " times", i,
                                    times);
    }
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, rank, dims, &outputs[0]));
    size_t size = ir_element_bytes(x->type);
    int64_t index[2 * IR_MAX_RANK] = {0};
    for (uint64_t i = 0; i < outputs[0].elements; i++) {
        int64_t offset = 0;
        for (uint32_t axis = 0; axis < rank; axis++)
            offset = offset * walk_dims[2 * axis + 1] + index[2 * axis + 1];
        memcpy((char *)outputs[0].data + i * size, (const char *)x->data + (size_t)offset * size,
               size);
        for (uint32_t axis = 2 * rank; axis-- > 0;) {
            if (++index[axis] < walk_dims[axis])
                break;
            index[axis] = 0;
        }
    }
    return TD_OK;
}

/* --- concat, split --- */

/* Copies `count` elements along an axis from one tensor to another, for all outer indices. */
static void copy_along(const ir_tensor *from, int64_t from_first, ir_tensor *to, int64_t to_first,
                       uint32_t axis, int64_t count)
{
    uint64_t inner =
        (uint64_t)ir_dims_product(to->dim, axis + 1, to->rank) * ir_element_bytes(to->type);
    uint64_t outer = (uint64_t)ir_dims_product(to->dim, 0, axis);
    for (uint64_t i = 0; i < outer && inner * (uint64_t)count > 0; i++)
        memcpy((char *)to->data + (i * (uint64_t)to->dim[axis] + (uint64_t)to_first) * inner,
               (const char *)from->data +
                   (i * (uint64_t)from->dim[axis] + (uint64_t)from_first) * inner,
               inner * (uint64_t)count);
}

td_status ir_evaluate_concat(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *first = inputs[0];
    int64_t dims[IR_MAX_RANK];
    uint32_t axis = 0;
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", first->rank, &axis));
    memcpy(dims, first->dim, sizeof dims);
    for (uint32_t i = 1; i < node->input_count; i++) {
        const ir_tensor *x = inputs[i];
        bool fits = x->rank == first->rank && x->type == first->type;
        for (uint32_t d = 0; fits && d < x->rank; d++)
            fits = d == axis || x->dim[d] == dims[d];
        if (!fits || __builtin_add_overflow(dims[axis], x->dim[axis], &dims[axis]))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "operand %" PRIu32
                                    " differs from the first in type or in a dimension other than "
                                    "%" PRIu32,
                                    i + 1, axis);
    }
    TD_TRY(ir_evaluate_allocate(evaluator, node, first->type, first->rank, dims, &outputs[0]));
    int64_t place = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        copy_along(inputs[i], 0, &outputs[0], place, axis, inputs[i]->dim[axis]);
        place += inputs[i]->dim[axis];
    }
    return TD_OK;
}

td_status ir_evaluate_split(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    const ir_attribute *lengths = ir_node_attribute(node, "lengths");
    uint32_t axis = 0, parts = node->output_count;
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    if (lengths == NULL && x->dim[axis] % parts != 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "dimension %" PRIu32 " of %" PRId64 " cannot be split into %" PRIu32
                                " equal parts",
                                axis, x->dim[axis], parts);
    int64_t place = 0;
    for (uint32_t i = 0; i < parts; i++) {
        int64_t dims[IR_MAX_RANK];
        memcpy(dims, x->dim, sizeof dims);
        dims[axis] = lengths == NULL ? x->dim[axis] / parts : lengths->integers[i];
        if (dims[axis] < 0 || dims[axis] > x->dim[axis] - place)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "its parts do not add up to dimension %" PRIu32 " of %" PRId64,
                                    axis, x->dim[axis]);
        TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, x->rank, dims, &outputs[i]));
        copy_along(x, place, &outputs[i], 0, axis, dims[axis]);
        place += dims[axis];
    }
    if (place != x->dim[axis])
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its parts do not add up to dimension %" PRIu32 " of %" PRId64,
                                axis, x->dim[axis]);
    return TD_OK;
}

/* --- range --- */

static td_status range_of_integers(ir_evaluator *evaluator, const ir_node *node,
                                   const int64_t *bounds, ir_tensor *out)
{
    int64_t start = bounds[0], stop = bounds[1], step = bounds[2], span;
    if (step == 0 || __builtin_sub_overflow(stop, start, &span) || span == INT64_MIN ||
        step == INT64_MIN)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRId64 " to %" PRId64 " by %" PRId64 " is no range", start,
                                stop, step);
    int64_t ahead = step > 0 ? span : -span, size = step > 0 ? step : -step;
    int64_t count = ahead > 0 ? (ahead - 1) / size + 1 : 0;
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, 1, &count, out));
    int64_t *numbers = ir_evaluate_scratch(evaluator, out->elements, sizeof *numbers);
    if (numbers == NULL)
        return td_fail_memory(evaluator->context);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = start + i * step;
    if (!ir_type_is_float(out->type)) {
        ir_tensor_store_integers(out, numbers);
        return TD_OK;
    }
    double *converted = ir_evaluate_scratch(evaluator, out->elements, sizeof *converted);
    if (converted == NULL)
        return td_fail_memory(evaluator->context);
    for (int64_t i = 0; i < count; i++)
        converted[i] = (double)numbers[i];
    ir_tensor_store_doubles(out, converted);
    return TD_OK;
}

/* Element i is start + i * step, computed in binary64. */
static td_status range_of_floats(ir_evaluator *evaluator, const ir_node *node, const double *bounds,
                                 ir_tensor *out)
{
    double extent = ceil((bounds[1] - bounds[0]) / bounds[2]);
    if (isnan(extent) || extent > 0x1p40)
        return ir_evaluate_fail(evaluator, node, TD_INVALID, "%g to %g by %g is no range",
                                bounds[0], bounds[1], bounds[2]);
    int64_t count = extent > 0.0 ? (int64_t)extent : 0;
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, 1, &count, out));
    double *numbers = ir_evaluate_scratch(evaluator, out->elements, sizeof *numbers);
    int64_t *whole = ir_evaluate_scratch(evaluator, out->elements, sizeof *whole);
    if (numbers == NULL || whole == NULL)
        return td_fail_memory(evaluator->context);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = bounds[0] + (double)i * bounds[2];
        whole[i] = fabs(numbers[i]) < 0x1p63 ? (int64_t)numbers[i] : 0;
    }
    if (ir_type_is_float(out->type))
        ir_tensor_store_doubles(out, numbers);
    else
        ir_tensor_store_integers(out, whole);
    return TD_OK;
}

td_status ir_evaluate_range(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    double floats[3];
    int64_t integers[3];
    bool any_float = false;
    for (int i = 0; i < 3; i++) {
        const ir_tensor *x = inputs[i];
        if (x->elements != 1)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "operand %d has %" PRIu64 " numbers; one is wanted", i + 1,
                                    x->elements);
        const double *number = ir_tensor_doubles(evaluator, x);
        const int64_t *integer =
            ir_type_is_float(x->type) ? &integers[i] : ir_tensor_integers(evaluator, x);
        if (number == NULL || integer == NULL)
            return td_fail_memory(evaluator->context);
        floats[i] = number[0];
        integers[i] = ir_type_is_float(x->type) ? 0 : integer[0];
        any_float = any_float || ir_type_is_float(x->type);
    }
    return any_float ? range_of_floats(evaluator, node, floats, &outputs[0])
                     : range_of_integers(evaluator, node, integers, &outputs[0]);
}
