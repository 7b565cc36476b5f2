/* Ops that take or replace elements by index: gather and the three scatters.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

#include <inttypes.h>
#include <string.h>

/* Negative indices count from the end; what lies outside is refused, never read. */
static td_status resolve_index(ir_evaluator *evaluator, const ir_node *node, int64_t given,
                               int64_t size, uint64_t *index)
{
    int64_t counted = given < 0 ? given + size : given;
    if (counted < 0 || counted >= size)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "index %" PRId64 " is outside a dimension of size %" PRId64, given,
                                size);
    *index = (uint64_t)counted;
    return TD_OK;
}

static td_status take_indices(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                              const int64_t **indices)
{
    TD_TRY(ir_evaluate_want_integers(evaluator, node, x, 2));
    *indices = ir_tensor_integers(evaluator, x);
    return *indices == NULL ? td_fail_memory(evaluator->context) : TD_OK;
}

td_status ir_evaluate_gather(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0], *at = inputs[1];
    int64_t batch_dims = ir_node_int(node, "batch_dims", 0), dims[3 * IR_MAX_RANK];
    const int64_t *indices = NULL;
    uint32_t axis = 0, rank = 0;
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    TD_TRY(take_indices(evaluator, node, at, &indices));
    if (batch_dims < 0 || batch_dims > axis || batch_dims > at->rank ||
        memcmp(x->dim, at->dim, (size_t)batch_dims * sizeof *x->dim) != 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "batch_dims is %" PRId64
                                "; so many leading dimensions of both operands are not equal",
                                batch_dims);
    uint32_t batch_rank = (uint32_t)batch_dims;
    for (uint32_t i = 0; i < axis; i++)
        dims[rank++] = x->dim[i];
    for (uint32_t i = batch_rank; i < at->rank; i++)
        dims[rank++] = at->dim[i];
    for (uint32_t i = axis + 1; i < x->rank; i++)
        dims[rank++] = x->dim[i];
    TD_TRY(ir_evaluate_allocate(evaluator, node, x->type, rank, dims, &outputs[0]));
    if (outputs[0].elements == 0)
        return TD_OK;
    uint64_t bytes =
        (uint64_t)ir_dims_product(x->dim, axis + 1, x->rank) * ir_element_bytes(x->type);
    uint64_t batches = (uint64_t)ir_dims_product(x->dim, 0, batch_rank);
    uint64_t outer = (uint64_t)ir_dims_product(x->dim, batch_rank, axis);
    uint64_t picks = (uint64_t)ir_dims_product(at->dim, batch_rank, at->rank);
    char *to = outputs[0].data;
    for (uint64_t block = 0; block < batches * outer; block++)
        for (uint64_t pick = 0; pick < picks; pick++, to += bytes) {
            uint64_t index = 0;
            TD_TRY(resolve_index(evaluator, node, indices[block / outer * picks + pick],
                                 x->dim[axis], &index));
            memcpy(to, (const char *)x->data + (block * (uint64_t)x->dim[axis] + index) * bytes,
                   bytes);
        }
    return TD_OK;
}

/* --- scatters: a copy of the data, partly replaced --- */

static td_status start_scatter(ir_evaluator *evaluator, const ir_node *node,
                               const ir_tensor *const *inputs, ir_tensor *out,
                               const int64_t **indices)
{
    if (inputs[0]->type != inputs[2]->type)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its updates have type %s, its data %s",
                                ir_type_name(inputs[2]->type), ir_type_name(inputs[0]->type));
    TD_TRY(take_indices(evaluator, node, inputs[1], indices));
    return ir_evaluate_copy(evaluator, node, inputs[0], inputs[0]->rank, inputs[0]->dim, out);
}

static td_status refuse_updates(ir_evaluator *evaluator, const ir_node *node)
{
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "the shape of its updates does not fit data and indices");
}

td_status ir_evaluate_scatter_update(ir_evaluator *evaluator, const ir_node *node,
                                     const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0], *at = inputs[1], *updates = inputs[2];
    const int64_t *indices = NULL;
    uint32_t axis = 0;
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    TD_TRY(start_scatter(evaluator, node, inputs, &outputs[0], &indices));
    uint64_t inner = (uint64_t)ir_dims_product(x->dim, axis + 1, x->rank);
    uint64_t outer = (uint64_t)ir_dims_product(x->dim, 0, axis);
    if (updates->elements != (x->elements > 0 ? outer * at->elements * inner : 0))
        return refuse_updates(evaluator, node);
    uint64_t bytes = inner * ir_element_bytes(x->type);
    const char *from = updates->data;
    for (uint64_t block = 0; x->elements > 0 && block < outer; block++)
        for (uint64_t i = 0; i < at->elements; i++, from += bytes) {
            uint64_t index = 0;
            TD_TRY(resolve_index(evaluator, node, indices[i], x->dim[axis], &index));
            memcpy((char *)outputs[0].data + (block * (uint64_t)x->dim[axis] + index) * bytes, from,
                   bytes);
        }
    return TD_OK;
}

td_status ir_evaluate_scatter_nd_update(ir_evaluator *evaluator, const ir_node *node,
                                        const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0], *at = inputs[1], *updates = inputs[2];
    const int64_t *indices = NULL;
    TD_TRY(start_scatter(evaluator, node, inputs, &outputs[0], &indices));
    int64_t depth = at->rank > 0 ? at->dim[at->rank - 1] : 0;
    if (at->rank == 0 || depth < 1 || depth > x->rank)
        return ir_evaluate_fail(
            evaluator, node, TD_INVALID,
            "index tuples have %" PRId64 " entries; 1 to %" PRIu32 " are accepted", depth, x->rank);
    uint64_t tuples = at->elements / (uint64_t)depth;
    uint64_t inner = (uint64_t)ir_dims_product(x->dim, (uint32_t)depth, x->rank);
    if (updates->elements != (x->elements > 0 ? tuples * inner : 0))
        return refuse_updates(evaluator, node);
    uint64_t bytes = inner * ir_element_bytes(x->type);
    for (uint64_t tuple = 0; x->elements > 0 && tuple < tuples; tuple++) {
        uint64_t place = 0;
        for (uint32_t i = 0; i < (uint32_t)depth; i++) {
            uint64_t index = 0;
            TD_TRY(resolve_index(evaluator, node, indices[tuple * (uint64_t)depth + i], x->dim[i],
                                 &index));
            place = place * (uint64_t)x->dim[i] + index;
        }
        memcpy((char *)outputs[0].data + place * bytes, (const char *)updates->data + tuple * bytes,
               bytes);
    }
    return TD_OK;
}

/* --- scatter_elements_update --- */

typedef struct scatter_rule {
    const char *name;
    double (*combine)(double old, double update);
    int64_t (*combine_integers)(int64_t old, int64_t update);
} scatter_rule;

#define RULE(name, of_double, of_integer)                                                          \
    static double name##_double(double old, double update)                                         \
    {                                                                                              \
        return of_double;                                                                          \
    }                                                                                              \
    static int64_t name##_integer(int64_t old, int64_t update)                                     \
    {                                                                                              \
        return of_integer;                                                                         \
    }

RULE(replace, ((void)old, update), ((void)old, update))
RULE(sum, old + update, (int64_t)((uint64_t)old + (uint64_t)update))
RULE(product, old *update, (int64_t)((uint64_t)old *(uint64_t)update))
RULE(least, update < old ? update : old, update < old ? update : old)
RULE(largest, update > old ? update : old, update > old ? update : old)

static const scatter_rule rules[] = {
    {"none", replace_double, replace_integer}, {"sum", sum_double, sum_integer},
    {"prod", product_double, product_integer}, {"min", least_double, least_integer},
    {"max", largest_double, largest_integer},  {"mean", sum_double, sum_integer},
};

static const scatter_rule *find_rule(const char *name)
{
    for (size_t i = 0; i < TD_COUNT_OF(rules); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

/* Where each update goes: element number in the data. */
static td_status list_targets(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                              const ir_tensor *at, uint32_t axis, const int64_t *indices,
                              uint64_t *targets)
{
    int64_t strides[IR_MAX_RANK];
    for (uint32_t i = 0; i < x->rank; i++)
        strides[i] = i == axis ? 0 : ir_dims_product(x->dim, i + 1, x->rank);
    ir_walk walk = ir_walk_start(at->rank, at->dim, strides, 0);
    uint64_t stride = (uint64_t)ir_dims_product(x->dim, axis + 1, x->rank);
    for (uint64_t i = 0; i < at->elements; i++, ir_walk_next(&walk)) {
        uint64_t index = 0;
        TD_TRY(resolve_index(evaluator, node, indices[i], x->dim[axis], &index));
        targets[i] = (uint64_t)walk.offset + index * stride;
    }
    return TD_OK;
}

/* Combines updates into numbers of one kind. counts[e] tells how many numbers element e holds: the
 * first update replaces it when it holds none. */
#define SCATTER(numbers, updates, combine)                                                         \
    for (uint64_t i = 0; i < count; i++) {                                                         \
        uint64_t target = targets[i];                                                              \
        (numbers)[target] =                                                                        \
            counts[target] == 0 ? (updates)[i] : (combine)((numbers)[target], (updates)[i]);       \
        counts[target]++;                                                                          \
    }

static td_status scatter_numbers(ir_evaluator *evaluator, const scatter_rule *rule,
                                 const ir_tensor *updates, const uint64_t *targets, int64_t *counts,
                                 ir_tensor *out)
{
    uint64_t count = updates->elements;
    bool mean = strcmp(rule->name, "mean") == 0;
    if (ir_type_is_float(out->type)) {
        const double *old = ir_tensor_doubles(evaluator, out);
        const double *given = ir_tensor_doubles(evaluator, updates);
        double *numbers = ir_evaluate_scratch(evaluator, out->elements, sizeof *numbers);
        if (old == NULL || given == NULL || numbers == NULL)
            return td_fail_memory(evaluator->context);
        memcpy(numbers, old, out->elements * sizeof *numbers);
        SCATTER(numbers, given, rule->combine)
        for (uint64_t i = 0; mean && i < out->elements; i++)
            numbers[i] = counts[i] > 1 ? numbers[i] / (double)counts[i] : numbers[i];
        ir_tensor_store_doubles(out, numbers);
        return TD_OK;
    }
    const int64_t *old = ir_tensor_integers(evaluator, out);
    const int64_t *given = ir_tensor_integers(evaluator, updates);
    int64_t *numbers = ir_evaluate_scratch(evaluator, out->elements, sizeof *numbers);
    if (old == NULL || given == NULL || numbers == NULL)
        return td_fail_memory(evaluator->context);
    memcpy(numbers, old, out->elements * sizeof *numbers);
    SCATTER(numbers, given, rule->combine_integers)
    for (uint64_t i = 0; mean && i < out->elements; i++)
        numbers[i] = counts[i] > 1 ? numbers[i] / counts[i] : numbers[i];
    ir_tensor_store_integers(out, numbers);
    return TD_OK;
}

td_status ir_evaluate_scatter_elements_update(ir_evaluator *evaluator, const ir_node *node,
                                              const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0], *at = inputs[1], *updates = inputs[2];
    const scatter_rule *rule = find_rule(ir_node_string(node, "reduction", "none"));
    const int64_t *indices = NULL;
    uint32_t axis = 0;
    if (rule == NULL)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "reduction \"%s\" is not known; none, sum, prod, min, max and mean "
                                "are",
                                ir_node_string(node, "reduction", ""));
    TD_TRY(ir_evaluate_axis(evaluator, node, "axis", x->rank, &axis));
    TD_TRY(start_scatter(evaluator, node, inputs, &outputs[0], &indices));
    bool fits = at->rank == x->rank && updates->rank == x->rank;
    for (uint32_t i = 0; fits && i < x->rank; i++)
        fits = at->dim[i] == updates->dim[i] && (i == axis || at->dim[i] <= x->dim[i]);
    if (!fits)
        return refuse_updates(evaluator, node);
    uint64_t *targets = ir_evaluate_scratch(evaluator, at->elements, sizeof *targets);
    int64_t *counts = ir_evaluate_scratch(evaluator, x->elements, sizeof *counts);
    if (targets == NULL || counts == NULL)
        return td_fail_memory(evaluator->context);
    TD_TRY(list_targets(evaluator, node, x, at, axis, indices, targets));
    bool use_initial = ir_node_int(node, "use_initial", 1) != 0;
    for (uint64_t i = 0; use_initial && i < x->elements; i++)
        counts[i] = 1;
    return scatter_numbers(evaluator, rule, updates, targets, counts, &outputs[0]);
}
