/* Reductions over axes, softmax and the largest k.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"
#include "ir/numerics.h"

#include <inttypes.h>
#include <string.h>

/* --- reductions --- */

typedef struct reduce_row {
    float (*of_float)(const float *numbers, uint64_t count);
    double (*of_double)(const double *numbers, uint64_t count);
    int64_t (*of_integer)(const int64_t *numbers, uint64_t count);
} reduce_row;

static float sum_float(const float *numbers, uint64_t count)
{
    return ir_row_sum(numbers, count);
}

static float mean_float(const float *numbers, uint64_t count)
{
    return ir_row_sum(numbers, count) / (float)count;
}

static double sum_double(const double *numbers, uint64_t count)
{
    double sum = 0.0;
    for (uint64_t i = 0; i < count; i++)
        sum += numbers[i];
    return sum;
}

static double mean_double(const double *numbers, uint64_t count)
{
    return sum_double(numbers, count) / (double)count;
}

static int64_t sum_integer(const int64_t *numbers, uint64_t count)
{
    uint64_t sum = 0; /* wraps */
    for (uint64_t i = 0; i < count; i++)
        sum += (uint64_t)numbers[i];
    return (int64_t)sum;
}

static int64_t mean_integer(const int64_t *numbers, uint64_t count)
{
    return count > 0 ? sum_integer(numbers, count) / (int64_t)count : 0;
}

#define PRODUCT(kind, type, wide, one)                                                             \
    static type product_##kind(const type *numbers, uint64_t count)                                \
    {                                                                                              \
        wide product = one;                                                                        \
        for (uint64_t i = 0; i < count; i++)                                                       \
            product *= (wide)numbers[i];                                                           \
        return (type)product;                                                                      \
    }
#define MAXIMUM(kind, type, lowest)                                                                \
    static type maximum_##kind(const type *numbers, uint64_t count)                                \
    {                                                                                              \
        type largest = lowest;                                                                     \
        for (uint64_t i = 0; i < count; i++)                                                       \
            largest = numbers[i] > largest ? numbers[i] : largest;                                 \
        return largest;                                                                            \
    }

PRODUCT(float, float, float, 1.0f)
PRODUCT(double, double, double, 1.0)
PRODUCT(integer, int64_t, uint64_t, 1)
MAXIMUM(float, float, -INFINITY)
MAXIMUM(double, double, (double)-INFINITY)
MAXIMUM(integer, int64_t, INT64_MIN)

static const reduce_row reduce_rows[IR_OP_COUNT] = {
    [IR_OP_reduce_sum] = {sum_float, sum_double, sum_integer},
    [IR_OP_reduce_mean] = {mean_float, mean_double, mean_integer},
    [IR_OP_reduce_product] = {product_float, product_double, product_integer},
    [IR_OP_reduce_maximum] = {maximum_float, maximum_double, maximum_integer},
};

/* The axes of x, those that stay first: the reduced elements of one result then are neighbours. */
typedef struct reduction {
    uint32_t out_rank;
    int64_t out_dims[IR_MAX_RANK];
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    uint64_t count; /* elements that one result takes */
} reduction;

static td_status plan_reduction(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                                reduction *plan)
{
    const ir_attribute *axes = ir_node_attribute(node, "axes");
    bool keep = ir_node_int(node, "keep", 0) != 0, reduced[IR_MAX_RANK] = {0};
    for (size_t i = 0; axes != NULL && i < axes->count; i++) {
        int64_t axis = axes->integers[i] + (axes->integers[i] < 0 ? (int64_t)x->rank : 0);
        if (axis < 0 || axis >= x->rank)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "axis %" PRId64 " is none of the %" PRIu32 " of its operand",
                                    axes->integers[i], x->rank);
        reduced[axis] = true;
    }
    *plan = (reduction){.count = 1};
    uint32_t place = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < x->rank; i++) {
            if (reduced[i] == (pass == 0))
                continue;
            plan->dims[place] = x->dim[i];
            plan->strides[place++] = ir_dims_product(x->dim, i + 1, x->rank);
        }
    for (uint32_t i = 0; i < x->rank; i++) {
        if (reduced[i])
            plan->count *= (uint64_t)x->dim[i];
        if (!reduced[i] || keep)
            plan->out_dims[plan->out_rank++] = reduced[i] ? 1 : x->dim[i];
    }
    return TD_OK;
}

/* Brings the numbers into the order of the plan and reduces them, `count` at a time. */
#define REDUCE(type, numbers, function, store)                                                     \
    do {                                                                                           \
        const type *from = (numbers);                                                              \
        type *row = ir_evaluate_scratch(evaluator, plan.count, sizeof *row);                       \
        type *result = ir_evaluate_scratch(evaluator, out->elements, sizeof *result);              \
        if (from == NULL || row == NULL || result == NULL)                                         \
            return td_fail_memory(evaluator->context);                                             \
        for (uint64_t i = 0; i < out->elements; i++) {                                             \
            for (uint64_t j = 0; j < plan.count; j++, ir_walk_next(&walk))                         \
                row[j] = from[walk.offset];                                                        \
            result[i] = function(row, plan.count);                                                 \
        }                                                                                          \
        store(out, result);                                                                        \
    } while (0)

td_status ir_evaluate_reduce(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    ir_tensor *out = &outputs[0];
    reduce_row row_of = reduce_rows[node->op];
    reduction plan = {0};
    TD_TRY(plan_reduction(evaluator, node, x, &plan));
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, plan.out_rank, plan.out_dims, out));
    ir_walk walk = ir_walk_start(x->rank, plan.dims, plan.strides, 0);
    if (x->type == IR_F64)
        REDUCE(double, ir_tensor_doubles(evaluator, x), row_of.of_double, ir_tensor_store_doubles);
    else if (ir_type_is_float(x->type))
        REDUCE(float, ir_tensor_floats(evaluator, x), row_of.of_float, ir_tensor_store_floats);
    else
        REDUCE(int64_t, ir_tensor_integers(evaluator, x), row_of.of_integer,
               ir_tensor_store_integers);
    return TD_OK;
}

/* --- lines along one axis --- */

/* Element `i` of line `line` lies at start + i * step. */
typedef struct line_set {
    uint64_t count, length;
    uint64_t inner; /* elements after the axis */
} line_set;

static line_set lines_along(const ir_tensor *x, uint32_t axis)
{
    uint64_t inner = (uint64_t)ir_dims_product(x->dim, axis + 1, x->rank);
    uint64_t outer = (uint64_t)ir_dims_product(x->dim, 0, axis);
    return (line_set){.count = x->elements > 0 ? outer * inner : 0,
                      .length = (uint64_t)x->dim[axis],
                      .inner = inner};
}

static uint64_t line_start(const line_set *lines, uint64_t line)
{
    return line / lines->inner * lines->inner * lines->length + line % lines->inner;
}

/* --- softmax --- */

td_status ir_evaluate_softmax(ir_evaluator *evaluator, const ir_node *node,
                              const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    uint32_t axis = 0;
    TD_TRY(ir_evaluate_want_floats(evaluator, node, x, 1));
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, x->type, x, &outputs[0]));
    line_set lines = lines_along(x, axis);
    const float *numbers = ir_tensor_floats(evaluator, x);
    float *row = ir_evaluate_scratch(evaluator, lines.length, sizeof *row);
    float *result = ir_evaluate_scratch(evaluator, x->elements, sizeof *result);
    if (numbers == NULL || row == NULL || result == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t line = 0; line < lines.count; line++) {
        uint64_t start = line_start(&lines, line);
        for (uint64_t i = 0; i < lines.length; i++)
            row[i] = numbers[start + i * lines.inner];
        float largest = maximum_float(row, lines.length);
        for (uint64_t i = 0; i < lines.length; i++)
            row[i] = ir_exp(row[i] - largest);
        float sum = ir_row_sum(row, lines.length);
        for (uint64_t i = 0; i < lines.length; i++)
            result[start + i * lines.inner] = row[i] / sum;
    }
    ir_tensor_store_floats(&outputs[0], result);
    return TD_OK;
}

/* --- top_k --- */

/* Numbers are compared as doubles, or as integers where those are exact. */
typedef struct ranking {
    const double *doubles; /* or NULL: */
    const int64_t *integers;
    bool largest;
} ranking;

/* Whether element a ranks strictly before element b; equal ones keep their order. */
static bool ranks_before(const ranking *ranked, uint64_t a, uint64_t b)
{
    if (ranked->doubles != NULL)
        return ranked->largest ? ranked->doubles[a] > ranked->doubles[b]
                               : ranked->doubles[a] < ranked->doubles[b];
    return ranked->largest ? ranked->integers[a] > ranked->integers[b]
                           : ranked->integers[a] < ranked->integers[b];
}

/* The first k of a line in rank order, by insertion: k is small. */
static void rank_line(const ranking *ranked, const line_set *lines, uint64_t start, uint64_t k,
                      uint64_t *best)
{
    uint64_t held = 0;
    for (uint64_t i = 0; i < lines->length && k > 0; i++) {
        uint64_t at = start + i * lines->inner, place = held;
        while (place > 0 && ranks_before(ranked, at, start + best[place - 1] * lines->inner))
            place--;
        if (place == k)
            continue;
        held += held < k;
        memmove(best + place + 1, best + place, (held - 1 - place) * sizeof *best);
        best[place] = i;
    }
}

td_status ir_evaluate_top_k(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    uint32_t axis = 0, listed = 0;
    int64_t k = 0, dims[IR_MAX_RANK] = {0};
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    TD_TRY(ir_evaluate_list(evaluator, node, inputs[1], 2, 1, &k, &listed));
    if (listed != 1 || k < 0 || k > x->dim[axis])
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "k is %" PRId64 "; 0 to %" PRId64 " is accepted", k, x->dim[axis]);
    memcpy(dims, x->dim, sizeof dims);
    dims[axis] = k;
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, x->rank, dims, &outputs[0]));
    TD_TRY(
        ir_evaluate_allocate(evaluator, node, node->outputs[1]->type, x->rank, dims, &outputs[1]));
    TD_TRY(ir_evaluate_want_integers(evaluator, node, &outputs[1], 2));
    ranking ranked = {.largest = ir_node_int(node, "largest", 1) != 0};
    if (ir_type_is_float(x->type))
        ranked.doubles = ir_tensor_doubles(evaluator, x);
    else
        ranked.integers = ir_tensor_integers(evaluator, x);
    uint64_t *best = ir_evaluate_scratch(evaluator, (uint64_t)k, sizeof *best);
    int64_t *indices = ir_evaluate_scratch(evaluator, outputs[1].elements, sizeof *indices);
    if ((ranked.doubles == NULL && ranked.integers == NULL) || best == NULL || indices == NULL)
        return td_fail_memory(evaluator->context);
    line_set lines = lines_along(x, axis);
    size_t size = ir_element_bytes(x->type);
    for (uint64_t line = 0; line < lines.count; line++) {
        uint64_t start = line_start(&lines, line);
        uint64_t to = line / lines.inner * lines.inner * (uint64_t)k + line % lines.inner;
        rank_line(&ranked, &lines, start, (uint64_t)k, best);
        for (uint64_t i = 0; i < (uint64_t)k; i++, to += lines.inner) {
            memcpy((char *)outputs[0].data + to * size,
                   (const char *)x->data + (start + best[i] * lines.inner) * size, size);
            indices[to] = (int64_t)best[i];
        }
    }
    ir_tensor_store_integers(&outputs[1], indices);
    return TD_OK;
}
