/* Slices by begin, end and step: along named axes, and in OpenVINO's masked form.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

#include <inttypes.h>

/* One axis of a slice: elements first, first + step, .. `count` of them. */
typedef struct axis_cut {
    int64_t first, step, count;
} axis_cut;

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Bounds from the end are negative; what lies outside is clamped, as in Python. */
static axis_cut cut_axis(int64_t size, int64_t begin, int64_t end, int64_t step)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    axis_cut cut = {.step = step};
    cut.first = clamp(begin < 0 ? begin + size : begin, low, high);
    int64_t last = clamp(end < 0 ? end + size : end, low, high);
    uint64_t stride = step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    int64_t span = step > 0 ? last - cut.first : cut.first - last;
    cut.count = span > 0 ? (int64_t)(((uint64_t)span - 1) / stride) + 1 : 0;
    if (cut.count <= 1) /* the step is not taken: keep offsets small */
        cut.step = 1;
    return cut;
}

typedef struct slice_lists {
    uint32_t count;
    int64_t begin[IR_MAX_RANK * 2], end[IR_MAX_RANK * 2], step[IR_MAX_RANK * 2];
} slice_lists;

static td_status take_lists(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, slice_lists *lists)
{
    uint32_t counts[3] = {0};
    int64_t *into[3] = {lists->begin, lists->end, lists->step};
    for (int i = 0; i < 3; i++)
        TD_TRY(ir_evaluate_list(evaluator, node, inputs[i + 1], i + 2, IR_MAX_RANK * 2, into[i],
                                &counts[i]));
    if (counts[1] != counts[0] || counts[2] != counts[0])
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "begin, end and step have %" PRIu32 ", %" PRIu32 " and %" PRIu32
                                " entries; they must be as many",
                                counts[0], counts[1], counts[2]);
    lists->count = counts[0];
    for (uint32_t i = 0; i < lists->count; i++)
        if (lists->step[i] == 0)
            return ir_evaluate_fail(evaluator, node, TD_INVALID, "step %" PRIu32 " is 0", i);
    return TD_OK;
}

/* The step in elements between neighbours of one axis of x. */
static int64_t axis_stride(const ir_tensor *x, uint32_t axis)
{
    return ir_dims_product(x->dim, axis + 1, x->rank);
}

td_status ir_evaluate_slice(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    const ir_attribute *axes = ir_node_attribute(node, "axes");
    slice_lists lists = {0};
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK], start = 0;
    bool cut_already[IR_MAX_RANK] = {0};
    TD_TRY(take_lists(evaluator, node, inputs, &lists));
    if (axes != NULL ? axes->count != lists.count : lists.count > x->rank)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRIu32 " axes are sliced; that does not fit its axes",
                                lists.count);
    for (uint32_t i = 0; i < x->rank; i++) {
        dims[i] = x->dim[i];
        strides[i] = axis_stride(x, i);
    }
    for (uint32_t i = 0; i < lists.count; i++) {
        int64_t axis = axes != NULL ? axes->integers[i] : i;
        axis += axis < 0 ? (int64_t)x->rank : 0;
        if (axis < 0 || axis >= x->rank || cut_already[axis])
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "axis %" PRId64 " is none of the %" PRIu32
                                    " of its operand, or named twice",
                                    axis, x->rank);
        cut_already[axis] = true;
        axis_cut cut = cut_axis(x->dim[axis], lists.begin[i], lists.end[i], lists.step[i]);
        start += cut.count > 0 ? cut.first * strides[axis] : 0;
        dims[axis] = cut.count;
        strides[axis] *= cut.step;
    }
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, x->rank, dims, &outputs[0]));
    ir_copy_strided(x, start, strides, &outputs[0]);
    return TD_OK;
}

/* --- strided_slice --- */

static bool mask_bit(const ir_node *node, const char *name, uint32_t index)
{
    const ir_attribute *mask = ir_node_attribute(node, name);
    return mask != NULL && index < mask->count && mask->integers[index] != 0;
}

/* The result as it grows, axis by axis. */
typedef struct sliced {
    uint32_t rank;
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK], start;
} sliced;

static td_status push_axis(ir_evaluator *evaluator, const ir_node *node, sliced *result,
                           int64_t size, int64_t stride)
{
    if (result->rank == IR_MAX_RANK)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "its result has more than %d dimensions", IR_MAX_RANK);
    result->dims[result->rank] = size;
    result->strides[result->rank++] = stride;
    return TD_OK;
}

/* Entry i of the lists speaks of `axis` of x. */
static td_status slice_entry(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                             const slice_lists *lists, uint32_t i, uint32_t axis, sliced *result)
{
    int64_t size = x->dim[axis], begin = lists->begin[i], step = lists->step[i];
    int64_t stride = axis_stride(x, axis);
    bool from_edge = mask_bit(node, "begin_mask", i);
    if (mask_bit(node, "shrink_axis_mask", i)) {
        int64_t at = from_edge ? 0 : begin < 0 ? begin + size : begin;
        if (at < 0 || at >= size)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "index %" PRId64 " is outside dimension %" PRIu32
                                    " of size %" PRId64,
                                    begin, axis, size);
        result->start += at * stride;
        return TD_OK;
    }
    int64_t end = lists->end[i];
    if (from_edge)
        begin = step > 0 ? 0 : INT64_MAX;
    if (mask_bit(node, "end_mask", i))
        end = step > 0 ? INT64_MAX : INT64_MIN / 2;
    axis_cut cut = cut_axis(size, begin, end, step);
    result->start += cut.count > 0 ? cut.first * stride : 0;
    return push_axis(evaluator, node, result, cut.count, cut.step * stride);
}

td_status ir_evaluate_strided_slice(ir_evaluator *evaluator, const ir_node *node,
                                    const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    slice_lists lists = {0};
    sliced result = {0};
    TD_TRY(take_lists(evaluator, node, inputs, &lists));
    uint32_t spoken = 0; /* axes of x that entries other than the ellipsis speak of */
    for (uint32_t i = 0; i < lists.count; i++)
        spoken += !mask_bit(node, "ellipsis_mask", i) && !mask_bit(node, "new_axis_mask", i);
    if (spoken > x->rank)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRIu32 " dimensions are sliced; its operand has %" PRIu32,
                                spoken, x->rank);
    uint32_t axis = 0;
    bool has_ellipsis = false;
    for (uint32_t i = 0; i < lists.count; i++) {
        if (mask_bit(node, "ellipsis_mask", i)) {
            for (uint32_t rest = has_ellipsis ? 0 : x->rank - spoken; rest > 0; rest--, axis++)
                TD_TRY(push_axis(evaluator, node, &result, x->dim[axis], axis_stride(x, axis)));
            has_ellipsis = true;
        } else if (mask_bit(node, "new_axis_mask", i)) {
            TD_TRY(push_axis(evaluator, node, &result, 1, 0));
        } else {
            TD_TRY(slice_entry(evaluator, node, x, &lists, i, axis++, &result));
        }
    }
    for (; axis < x->rank; axis++)
        TD_TRY(push_axis(evaluator, node, &result, x->dim[axis], axis_stride(x, axis)));
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, result.rank, result.dims, &outputs[0]));
    ir_copy_strided(x, result.start, result.strides, &outputs[0]);
    return TD_OK;
}
