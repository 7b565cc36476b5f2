/* Shape rules of data movement. Where a shape-like input is computed by the graph, the result's
 * unknown dimensions are fresh symbols, which the pass fold_shapes replaces.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/infer.h"

#include <inttypes.h>

td_status ir_infer_shape_of(ir_node *node)
{
    ir_type type;
    TD_TRY(ir_type_attribute(node, IR_I64, &type));
    ir_shape shape = ir_shape_of(1, (int64_t[]){ir_input_shape(node, 0)->rank});
    ir_set_output(node, 0, type, &shape);
    return TD_OK;
}

/* --- reshape --- */

/* Divides the product of dim[0 .. count) by `divisor`: by cancelling an equal form, else one that
 * divides, else by a common factor of constants. False when it cannot be done exactly. */
static bool cancel(ir_dim *dims, uint32_t count, const ir_dim *divisor)
{
    ir_dim quotient, rest = *divisor;
    for (uint32_t i = 0; i < count; i++)
        if (ir_dim_equal(&dims[i], divisor)) {
            dims[i] = ir_dim_constant(1);
            return true;
        }
    for (uint32_t i = 0; i < count; i++)
        if (ir_dim_divide(&dims[i], divisor, &quotient)) {
            dims[i] = quotient;
            return true;
        }
    if (!ir_dim_is_constant(divisor) || divisor->constant <= 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!ir_dim_is_constant(&dims[i]))
            continue;
        int64_t a = dims[i].constant, b = rest.constant;
        while (b != 0) {
            int64_t remainder = a % b;
            a = b;
            b = remainder;
        }
        if (a > 1) {
            dims[i].constant /= a;
            rest.constant /= a;
        }
    }
    return ir_dim_is(&rest, 1);
}

/* What -1 stands for: the elements of the input over the product of the other dimensions. */
static td_status rest_of(ir_node *node, const ir_shape *given, uint32_t hole, ir_dim *dim)
{
    ir_shape left = *ir_input_shape(node, 0);
    for (uint32_t i = 0; i < given->rank; i++)
        if (i != hole && !cancel(left.dim, left.rank, &given->dim[i]))
            return ir_fresh(node, INT64_MAX, dim);
    ir_dim product = ir_dim_constant(1);
    for (uint32_t i = 0; i < left.rank; i++)
        if (!ir_module_dim_product(node->graph->module, &product, &left.dim[i], &product))
            return td_fail_memory(node->graph->module->context);
    *dim = product;
    return TD_OK;
}

static bool has_zero(const ir_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++)
        if (ir_dim_is(&shape->dim[i], 0))
            return true;
    return false;
}

/* Whether the numbers of elements surely differ: once the common forms are cancelled, only
 * constants are left and they are not equal. */
static bool elements_differ(const ir_shape *input, const ir_shape *result)
{
    if (has_zero(input) || has_zero(result))
        return has_zero(input) != has_zero(result) && ir_shape_is_static(input) &&
               ir_shape_is_static(result);
    ir_shape left = *input;
    for (uint32_t i = 0; i < result->rank; i++)
        if (!cancel(left.dim, left.rank, &result->dim[i]))
            return ir_shape_is_static(&left) && ir_dim_is_constant(&result->dim[i]);
    for (uint32_t i = 0; i < left.rank; i++)
        if (ir_dim_is_constant(&left.dim[i]) && left.dim[i].constant != 1)
            return ir_shape_is_static(&left);
    return false;
}

static td_status check_elements(const ir_node *node, const ir_shape *result)
{
    const ir_module *module = node->graph->module;
    const ir_shape *input = ir_input_shape(node, 0);
    if (!elements_differ(input, result))
        return TD_OK;
    return ir_infer_fail(node, "shape %s cannot become %s: the numbers of elements differ",
                         ir_shape_describe(module, input).text,
                         ir_shape_describe(module, result).text);
}

/* A shape of `count` fresh dimensions. */
static td_status fresh_shape(ir_node *node, size_t count, ir_shape *shape)
{
    *shape = (ir_shape){0};
    for (size_t i = 0; i < count; i++) {
        ir_dim fresh;
        TD_TRY(ir_fresh(node, INT64_MAX, &fresh));
        TD_TRY(ir_shape_push(node, shape, &fresh));
    }
    return TD_OK;
}

td_status ir_infer_reshape(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    bool special_zero = ir_node_int(node, "special_zero", 0) != 0;
    ir_list target;
    ir_shape result = {0};
    TD_TRY(ir_input_list(node, 1, &target));
    if (!target.known) {
        TD_TRY(fresh_shape(node, target.count, &result));
        ir_set_output(node, 0, node->inputs[0]->type, &result);
        return TD_OK;
    }
    uint32_t hole = IR_MAX_RANK;
    for (uint32_t i = 0; i < target.count; i++) {
        int64_t size = target.value[i];
        ir_dim dim = ir_dim_constant(size);
        if (size == 0 && special_zero) {
            if (i >= input->rank)
                return ir_infer_fail(node,
                                     "target dimension %" PRIu32 " is 0, which copies a "
                                     "dimension that the input (%s) lacks",
                                     i, ir_shape_describe(node->graph->module, input).text);
            dim = input->dim[i];
        } else if (size < -1 || (size == -1 && hole != IR_MAX_RANK)) {
            return ir_infer_fail(node,
                                 "target dimension %" PRIu32 " is %" PRId64
                                 "; sizes and a single -1 are accepted",
                                 i, size);
        } else if (size == -1) {
            hole = i;
            dim = ir_dim_constant(1);
        }
        TD_TRY(ir_shape_push(node, &result, &dim));
    }
    if (hole != IR_MAX_RANK)
        TD_TRY(rest_of(node, &result, hole, &result.dim[hole]));
    TD_TRY(check_elements(node, &result));
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

/* --- permuting, repeating, joining --- */

td_status ir_infer_transpose(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    const ir_attribute *perm;
    ir_shape result = {.rank = input->rank};
    bool seen[IR_MAX_RANK] = {0};
    TD_TRY(ir_require_ints(node, "perm", &perm));
    if (perm->count != input->rank)
        return ir_infer_fail(node, "attribute \"perm\" has %zu axes; the input has %" PRIu32,
                             perm->count, input->rank);
    for (uint32_t i = 0; i < input->rank; i++) {
        int64_t axis = perm->integers[i];
        TD_TRY(ir_check_axis(node, axis, input->rank));
        if (seen[axis])
            return ir_infer_fail(
                node, "attribute \"perm\" names axis %" PRId64 " twice; a permutation is needed",
                axis);
        seen[axis] = true;
        result.dim[i] = input->dim[axis];
    }
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

/* The target of a broadcast. A computed one has fresh dimensions, but where it aligns with a known
 * size of the input other than 1, that size. */
static td_status broadcast_target(ir_node *node, const ir_list *list, ir_shape *target)
{
    const ir_shape *input = ir_input_shape(node, 0);
    *target = (ir_shape){0};
    for (size_t i = 0; i < list->count; i++) {
        ir_dim dim;
        bool aligned = i + input->rank >= list->count;
        const ir_dim *own = aligned ? &input->dim[i + input->rank - list->count] : NULL;
        if (list->known) {
            if (list->value[i] < 0)
                return ir_infer_fail(
                    node, "target dimension %zu is %" PRId64 "; sizes of at least 0 are accepted",
                    i, list->value[i]);
            dim = ir_dim_constant(list->value[i]);
        } else if (own != NULL && ir_dim_is_constant(own) && own->constant != 1) {
            dim = *own;
        } else {
            TD_TRY(ir_fresh(node, INT64_MAX, &dim));
        }
        TD_TRY(ir_shape_push(node, target, &dim));
    }
    return TD_OK;
}

td_status ir_infer_broadcast(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    ir_list list;
    ir_shape target, both;
    TD_TRY(ir_input_list(node, 1, &list));
    TD_TRY(broadcast_target(node, &list, &target));
    bool bidirectional = ir_node_int(node, "bidirectional", 0) != 0;
    if (!bidirectional && input->rank > target.rank)
        return ir_infer_fail(node,
                             "an input of %" PRIu32 " dimensions cannot be broadcast to %" PRIu32,
                             input->rank, target.rank);
    TD_TRY(ir_broadcast_shapes(node, &target, input, &both));
    ir_set_output(node, 0, node->inputs[0]->type, bidirectional ? &both : &target);
    return TD_OK;
}

td_status ir_infer_concat(ir_node *node)
{
    ir_shape result = *ir_input_shape(node, 0);
    uint32_t axis;
    TD_TRY(ir_require_axis(node, result.rank, &axis));
    for (uint32_t i = 1; i < node->input_count; i++) {
        const ir_shape *shape = ir_input_shape(node, i);
        TD_TRY(ir_require_rank(node, i, result.rank));
        for (uint32_t d = 0; d < result.rank; d++) {
            if (d != axis)
                TD_TRY(ir_merge_dims(node, &result.dim[d], &shape->dim[d],
                                     "sizes of a dimension that is not joined", &result.dim[d]));
            else if (!ir_dim_add(&result.dim[d], &shape->dim[d], &result.dim[d]))
                TD_TRY(ir_fresh(node, INT64_MAX, &result.dim[d]));
        }
    }
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

td_status ir_infer_tile(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    ir_list repeats;
    TD_TRY(ir_input_list(node, 1, &repeats));
    size_t rank = repeats.count > input->rank ? repeats.count : input->rank;
    ir_shape result = {0};
    for (size_t i = 0; i < rank; i++) {
        size_t from_input = i + input->rank, from_list = i + repeats.count;
        ir_dim dim = from_input >= rank ? input->dim[from_input - rank] : ir_dim_constant(1);
        if (from_list >= rank && !repeats.known) {
            TD_TRY(ir_fresh(node, INT64_MAX, &dim));
        } else if (from_list >= rank) {
            ir_dim times = ir_dim_constant(repeats.value[from_list - rank]);
            if (times.constant < 0 || !ir_dim_multiply(&dim, &times, &dim))
                return ir_infer_fail(node, "dimension %zu cannot be repeated %" PRId64 " times", i,
                                     times.constant);
        }
        TD_TRY(ir_shape_push(node, &result, &dim));
    }
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

/* --- taking parts --- */

td_status ir_infer_gather(ir_node *node)
{
    const ir_shape *data = ir_input_shape(node, 0), *indices = ir_input_shape(node, 1);
    uint32_t axis;
    int64_t batch = ir_node_int(node, "batch_dims", 0);
    TD_TRY(ir_require_axis(node, data->rank, &axis));
    if (batch < 0 || batch > axis || batch > indices->rank)
        return ir_infer_fail(
            node, "attribute \"batch_dims\" is %" PRId64 "; 0 to %" PRIu32 " is accepted", batch,
            axis < indices->rank ? axis : indices->rank);
    ir_shape result = {0};
    for (uint32_t i = 0; i < axis; i++)
        TD_TRY(ir_shape_push(node, &result, &data->dim[i]));
    for (uint32_t i = (uint32_t)batch; i < indices->rank; i++)
        TD_TRY(ir_shape_push(node, &result, &indices->dim[i]));
    for (uint32_t i = axis + 1; i < data->rank; i++)
        TD_TRY(ir_shape_push(node, &result, &data->dim[i]));
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Elements of begin : end : step in a dimension of known size, bounds from the end negative. */
static int64_t slice_length(int64_t size, int64_t begin, int64_t end, int64_t step)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    begin = clamp(begin < 0 ? begin + size : begin, low, high);
    end = clamp(end < 0 ? end + size : end, low, high);
    if (step > 0)
        return end > begin ? (end - begin - 1) / step + 1 : 0;
    /* begin and end lie in [-1, size), so that -step of the smallest integer is all that overflows
     */
    uint64_t stride = (uint64_t)0 - (uint64_t)step;
    return begin > end ? (int64_t)((uint64_t)(begin - end - 1) / stride) + 1 : 0;
}

/* The smallest value of a form, symbols being at least 0; INT64_MIN when there is none. */
static int64_t lower_bound(const ir_dim *dim)
{
    for (uint32_t i = 0; i < dim->terms; i++)
        if (dim->term[i].factor < 0)
            return INT64_MIN;
    return dim->constant;
}

/* begin : end : step of a symbolic dimension. Exact where that can be said, else a fresh symbol
 * with the best bound. */
static td_status slice_symbolic(ir_node *node, const ir_dim *size, int64_t begin, int64_t end,
                                int64_t step, ir_dim *length)
{
    int64_t bound = ir_dim_bound(node->graph->module, size), least = lower_bound(size);
    const int64_t large = INT32_MAX;
    begin = clamp(begin, -2 * large, 2 * large);
    end = clamp(end, -2 * large, 2 * large);
    if (step != 1)
        return ir_fresh(node, bound, length);
    ir_dim from = ir_dim_constant(begin), to = ir_dim_constant(end);
    /* Bounds counted from the end, and ends beyond it, become forms in the size. */
    bool from_end = begin < 0, to_end = end < 0 || end >= large;
    bool fits = (!from_end || ir_dim_add(size, &from, &from)) &&
                (end >= large ? (to = *size, true) : end >= 0 || ir_dim_add(size, &to, &to));
    /* The clamping of slices does nothing when every bound surely lies inside. */
    bool inside = (from_end ? begin <= -large || least >= -begin : begin == 0 || least >= begin) &&
                  (end < 0 ? least >= -end : end >= large || least >= end);
    if (from_end && begin <= -large)
        from = ir_dim_constant(0);
    if (fits && inside && ir_dim_subtract(&to, &from, length)) {
        if (ir_dim_is_constant(length) && length->constant < 0)
            length->constant = 0;
        return TD_OK;
    }
    if (!from_end && !to_end)
        bound = clamp(bound, 0, end > begin ? end - begin : 0);
    else if (from_end && to_end && begin > -large)
        bound = clamp(bound, 0, -begin);
    return ir_fresh(node, bound, length);
}

static td_status slice_dim(ir_node *node, const ir_dim *size, int64_t begin, int64_t end,
                           int64_t step, ir_dim *length)
{
    if (step == 0)
        return ir_infer_fail(node, "a step is 0; other integers are accepted");
    if (!ir_dim_is_constant(size))
        return slice_symbolic(node, size, begin, end, step, length);
    *length = ir_dim_constant(slice_length(size->constant, begin, end, step));
    return TD_OK;
}

td_status ir_infer_slice(ir_node *node)
{
    ir_list begin, end, step;
    const ir_attribute *axes = ir_node_attribute(node, "axes");
    ir_shape result = *ir_input_shape(node, 0);
    TD_TRY(ir_input_list(node, 1, &begin));
    TD_TRY(ir_input_list(node, 2, &end));
    TD_TRY(ir_input_list(node, 3, &step));
    if (axes != NULL)
        TD_TRY(ir_require_ints(node, "axes", &axes));
    if (end.count != begin.count || step.count != begin.count ||
        (axes != NULL && axes->count != begin.count))
        return ir_infer_fail(node,
                             "begin, end, step and axes have %zu, %zu, %zu and %zu entries; "
                             "they must be as many",
                             begin.count, end.count, step.count,
                             axes != NULL ? axes->count : begin.count);
    for (size_t i = 0; i < begin.count; i++) {
        int64_t axis = axes != NULL ? axes->integers[i] : (int64_t)i;
        TD_TRY(ir_check_axis(node, axis, result.rank));
        ir_dim *dim = &result.dim[axis];
        if (begin.known && end.known && step.known)
            TD_TRY(slice_dim(node, dim, begin.value[i], end.value[i], step.value[i], dim));
        else
            TD_TRY(ir_fresh(node, ir_dim_bound(node->graph->module, dim), dim));
    }
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

static bool mask_bit(const ir_node *node, const char *name, size_t index)
{
    const ir_attribute *mask = ir_node_attribute(node, name);
    return mask != NULL && mask->kind == IR_ATTRIBUTE_INTS && index < mask->count &&
           mask->integers[index] != 0;
}

/* The bounds of strided_slice, one entry for each axis that is spoken of. */
typedef struct strides {
    ir_list begin, end, step;
} strides;

/* What entry `index` leaves of a dimension; a bound that is masked is as far as the step goes. */
static td_status strided_dim(ir_node *node, const strides *bounds, size_t index, const ir_dim *size,
                             ir_dim *length)
{
    const bool first = mask_bit(node, "begin_mask", index);
    const bool last = mask_bit(node, "end_mask", index);
    if (!bounds->step.known || !(bounds->begin.known || first) || !(bounds->end.known || last))
        return ir_fresh(node, ir_dim_bound(node->graph->module, size), length);
    const int64_t step = bounds->step.value[index];
    const int64_t from = !first ? bounds->begin.value[index] : step < 0 ? INT64_MAX : 0;
    const int64_t to = !last ? bounds->end.value[index] : step < 0 ? INT64_MIN / 2 : INT64_MAX;
    return slice_dim(node, size, from, to, step, length);
}

static td_status check_strides(const ir_node *node, const strides *bounds, size_t used)
{
    const uint32_t rank = ir_input_shape(node, 0)->rank;
    const size_t count = bounds->begin.count;
    if (bounds->end.count != count || bounds->step.count != count)
        return ir_infer_fail(node,
                             "begin, end and step have %zu, %zu and %zu entries; they must be "
                             "as many",
                             count, bounds->end.count, bounds->step.count);
    if (used > rank)
        return ir_infer_fail(node, "%zu dimensions are sliced; the input has %" PRIu32, used, rank);
    return TD_OK;
}

td_status ir_infer_strided_slice(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    strides bounds;
    ir_shape result = {0};
    TD_TRY(ir_input_list(node, 1, &bounds.begin));
    TD_TRY(ir_input_list(node, 2, &bounds.end));
    TD_TRY(ir_input_list(node, 3, &bounds.step));
    size_t used = 0; /* axes of the input that entries other than the ellipsis speak of */
    for (size_t i = 0; i < bounds.begin.count; i++)
        used += !mask_bit(node, "new_axis_mask", i) && !mask_bit(node, "ellipsis_mask", i);
    TD_TRY(check_strides(node, &bounds, used));
    uint32_t axis = 0;
    for (size_t i = 0; i < bounds.begin.count; i++) {
        ir_dim dim = ir_dim_constant(1);
        if (mask_bit(node, "ellipsis_mask", i)) {
            for (; used < input->rank; used++)
                TD_TRY(ir_shape_push(node, &result, &input->dim[axis++]));
            continue;
        }
        if (!mask_bit(node, "new_axis_mask", i)) {
            const ir_dim *size = &input->dim[axis++];
            if (mask_bit(node, "shrink_axis_mask", i))
                continue;
            TD_TRY(strided_dim(node, &bounds, i, size, &dim));
        }
        TD_TRY(ir_shape_push(node, &result, &dim));
    }
    while (axis < input->rank)
        TD_TRY(ir_shape_push(node, &result, &input->dim[axis++]));
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    return TD_OK;
}

td_status ir_infer_split(ir_node *node)
{
    const ir_shape *input = ir_input_shape(node, 0);
    const ir_attribute *lengths = ir_node_attribute(node, "lengths");
    uint32_t axis;
    TD_TRY(ir_require_axis(node, input->rank, &axis));
    ir_shape part = *input;
    if (lengths == NULL) {
        ir_dim parts = ir_dim_constant(node->output_count);
        if (node->output_count == 0 ||
            ir_node_int(node, "count", node->output_count) != node->output_count ||
            !ir_dim_divide(&input->dim[axis], &parts, &part.dim[axis]))
            return ir_infer_fail(
                node, "dimension %" PRIu32 " of %s cannot be split into %" PRIu32 " equal parts",
                axis, ir_shape_describe(node->graph->module, input).text, node->output_count);
    } else if (lengths->kind != IR_ATTRIBUTE_INTS || lengths->count != node->output_count) {
        return ir_infer_fail(
            node, "attribute \"lengths\" must list %" PRIu32 " lengths, one for each output",
            node->output_count);
    }
    ir_dim total = ir_dim_constant(0);
    for (uint32_t i = 0; i < node->output_count; i++) {
        if (lengths != NULL)
            part.dim[axis] = ir_dim_constant(lengths->integers[i]);
        if (lengths != NULL &&
            (lengths->integers[i] < 0 || !ir_dim_add(&total, &part.dim[axis], &total)))
            return ir_infer_fail(node, "length %" PRId64 " of output %" PRIu32 " is not accepted",
                                 lengths->integers[i], i);
        ir_set_output(node, i, node->inputs[0]->type, &part);
    }
    ir_dim merged;
    if (lengths != NULL)
        TD_TRY(ir_merge_dims(node, &total, &input->dim[axis],
                             "the sum of lengths and the dimension", &merged));
    return TD_OK;
}

td_status ir_infer_top_k(ir_node *node)
{
    ir_shape result = *ir_input_shape(node, 0);
    ir_list k;
    ir_type type;
    uint32_t axis;
    TD_TRY(ir_require_axis(node, result.rank, &axis));
    TD_TRY(ir_type_attribute(node, IR_I64, &type));
    TD_TRY(ir_input_list(node, 1, &k));
    if (k.count != 1 || (k.known && k.value[0] < 0))
        return ir_infer_fail(node, "k must be one number of at least 0");
    if (k.known)
        result.dim[axis] = ir_dim_constant(k.value[0]);
    else
        TD_TRY(ir_fresh(node, ir_dim_bound(node->graph->module, &result.dim[axis]),
                        &result.dim[axis]));
    ir_set_output(node, 0, node->inputs[0]->type, &result);
    ir_set_output(node, 1, type, &result);
    return TD_OK;
}

/* --- range --- */

td_status ir_infer_range(ir_node *node)
{
    ir_list part[3] = {0};
    ir_type type;
    bool known = true;
    TD_TRY(ir_type_attribute(node, node->inputs[0]->type, &type));
    for (uint32_t i = 0; i < 3; i++) {
        if (ir_type_is_float(node->inputs[i]->type)) {
            known = false;
            continue;
        }
        TD_TRY(ir_input_list(node, i, &part[i]));
        if (part[i].count != 1)
            return ir_infer_fail(node,
                                 "input %" PRIu32 " has %zu elements; start, stop and step "
                                 "are single numbers",
                                 i + 1, part[i].count);
        known = known && part[i].known;
    }
    ir_shape result = {.rank = 1};
    if (known) {
        int64_t start = part[0].value[0], stop = part[1].value[0], step = part[2].value[0], span;
        if (step == 0 || __builtin_sub_overflow(stop, start, &span) || span == INT64_MIN ||
            step == INT64_MIN)
            return ir_infer_fail(
                node, "start %" PRId64 ", stop %" PRId64 ", step %" PRId64 " make no range", start,
                stop, step);
        if (step < 0) {
            span = -span;
            step = -step;
        }
        result.dim[0] = ir_dim_constant(span > 0 ? (span - 1) / step + 1 : 0);
    } else {
        TD_TRY(ir_fresh(node, INT64_MAX, &result.dim[0]));
    }
    ir_set_output(node, 0, type, &result);
    return TD_OK;
}
