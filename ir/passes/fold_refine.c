/* Shapes that depend on computed lists: what ir_node_infer leaves as fresh symbols becomes forms
 * over the symbols that are there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fold.h"

/* Sets one dimension of the output, where it is known. */
static void set_dim(ir_node *node, uint32_t index, const fold_element *element)
{
    if (element->known)
        node->outputs[0]->shape.dim[index] = element->dim;
}

/* --- reshape --- */

/* Writes the target, whose dimensions are all known, as constants if at most one of them is neither
 * fixed nor the input's own: then no shape arithmetic is left. */
static td_status fix_target(folder *self, ir_node *node, const fold_list *target, bool *fixed)
{
    const ir_shape *input = &node->inputs[0]->shape;
    bool zeros = false, copies = false;
    int64_t values[IR_MAX_RANK];
    uint32_t open = 0;
    *fixed = false;
    if (target->count > IR_MAX_RANK)
        return TD_OK;
    for (uint32_t i = 0; i < target->count; i++) {
        const ir_dim *dim = &target->items[i].dim;
        if (!target->items[i].known)
            return TD_OK;
        zeros = zeros || ir_dim_is(dim, 0);
    }
    for (uint32_t i = 0; i < target->count; i++) {
        const ir_dim *dim = &target->items[i].dim;
        bool own = i < input->rank && ir_dim_equal(dim, &input->dim[i]);
        if (ir_dim_is_constant(dim)) {
            values[i] = dim->constant;
        } else if (own && !zeros) {
            values[i] = 0;
            copies = true;
        } else {
            values[i] = -1;
            open++;
        }
    }
    /* A hole beside a dimension of size 0 has no value, and 0 must not come to mean a copy. */
    if (open > 1 || zeros)
        return TD_OK;
    ir_value *constant;
    TD_TRY(ir_graph_add_i64s(self->graph, target->count, values, false, &constant));
    node->inputs[1] = constant;
    if (copies)
        TD_TRY(ir_node_set_int(node, "special_zero", 1));
    *fixed = true;
    return ir_node_infer(node);
}

/* What a single -1 stands for: the input's dimensions without those that the target names. */
static bool rest_of(const folder *self, const ir_shape *input, const fold_list *target,
                    uint32_t hole, ir_dim *rest)
{
    ir_shape left = *input;
    int64_t divisor = 1;
    for (uint32_t i = 0; i < target->count; i++) {
        ir_dim dim = ir_module_dim_resolve(self->module, &target->items[i].dim);
        uint32_t k = 0;
        while (k < left.rank && !ir_dim_equal(&left.dim[k], &dim))
            k++;
        if (i == hole)
            continue;
        if (k < left.rank)
            left.dim[k] = ir_dim_constant(1);
        else if (!ir_dim_is_constant(&dim) ||
                 __builtin_mul_overflow(divisor, dim.constant, &divisor))
            return false;
    }
    ir_dim quotient = ir_dim_constant(1), by = ir_dim_constant(divisor);
    for (uint32_t i = 0; i < left.rank; i++)
        if (!ir_dim_multiply(&quotient, &left.dim[i], &quotient))
            return false;
    *rest = quotient;
    return divisor == 1 || (divisor > 1 && ir_dim_divide(&quotient, &by, rest));
}

/* The dimensions that a target asks for: copied ones and the rest filled in, where they are known.
 */
static bool target_dims(const folder *self, const ir_node *node, const fold_list *target,
                        fold_element *dims)
{
    const ir_shape *input = &node->inputs[0]->shape;
    bool special_zero = ir_node_int(node, "special_zero", 0) != 0, all = true;
    uint32_t hole = IR_MAX_RANK;
    for (uint32_t i = 0; i < target->count; i++) {
        dims[i] = target->items[i];
        if (dims[i].known && special_zero && ir_dim_is(&dims[i].dim, 0) && i < input->rank)
            dims[i].dim = input->dim[i];
        if (dims[i].known && ir_dim_is(&dims[i].dim, -1)) {
            dims[i].known = false;
            hole = i;
        } else {
            all = all && dims[i].known;
        }
    }
    if (hole == IR_MAX_RANK || !all)
        return all;
    fold_list filled = {.count = target->count, .items = dims};
    dims[hole].known = rest_of(self, input, &filled, hole, &dims[hole].dim);
    return dims[hole].known;
}

static td_status refine_reshape(folder *self, ir_node *node)
{
    fold_list target = fold_list_of(self, node->inputs[1]);
    fold_element dims[IR_MAX_RANK];
    ir_value *computed = node->inputs[1];
    int64_t special_zero = ir_node_int(node, "special_zero", 0);
    bool fixed = false;
    if (target.items == NULL || target.count != node->outputs[0]->shape.rank)
        return TD_OK;
    if (target_dims(self, node, &target, dims)) {
        fold_list all = {.count = target.count, .items = dims};
        TD_TRY(fix_target(self, node, &all, &fixed));
    }
    for (uint32_t i = 0; i < target.count; i++) {
        /* A target of constants must mean the same to whoever infers the shape again. */
        bool same =
            !fixed || fold_unite(self->module, &node->outputs[0]->shape.dim[i], &dims[i].dim);
        if (!same) {
            node->inputs[1] = computed;
            TD_TRY(ir_node_set_int(node, "special_zero", special_zero));
        }
        set_dim(node, i, &dims[i]);
    }
    return TD_OK;
}

/* --- broadcast, tile, range, top_k --- */

static td_status refine_broadcast(folder *self, ir_node *node)
{
    fold_list target = fold_list_of(self, node->inputs[1]);
    const ir_shape *input = &node->inputs[0]->shape;
    uint32_t rank = node->outputs[0]->shape.rank;
    if (target.items == NULL || target.count > rank)
        return TD_OK;
    for (uint32_t i = 0; i < target.count; i++) {
        uint32_t at = rank - target.count + i;
        const ir_dim *own = at + input->rank >= rank ? &input->dim[at + input->rank - rank] : NULL;
        /* A target of 1 keeps the input's size; ir_node_infer knows sizes that are fixed. */
        if (target.items[i].known && ir_dim_is(&target.items[i].dim, 1) && own != NULL)
            node->outputs[0]->shape.dim[at] = *own;
        else if (own == NULL || !ir_dim_is_constant(own) || own->constant == 1)
            set_dim(node, at, &target.items[i]);
    }
    return TD_OK;
}

static td_status refine_tile(folder *self, ir_node *node)
{
    fold_list repeats = fold_list_of(self, node->inputs[1]);
    const ir_shape *input = &node->inputs[0]->shape;
    uint32_t rank = node->outputs[0]->shape.rank;
    for (uint32_t i = 0; repeats.items != NULL && i < repeats.count && repeats.count <= rank; i++) {
        uint32_t at = rank - repeats.count + i;
        ir_dim own =
            at + input->rank >= rank ? input->dim[at + input->rank - rank] : ir_dim_constant(1);
        fold_element product = {.known = repeats.items[i].known};
        if (product.known &&
            !ir_module_dim_product(self->module, &own, &repeats.items[i].dim, &product.dim))
            return td_fail_memory(self->module->context);
        set_dim(node, at, &product);
    }
    return TD_OK;
}

static td_status refine_range(folder *self, ir_node *node)
{
    fold_list part[3];
    for (uint32_t i = 0; i < 3; i++) {
        TD_TRY(fold_input_list(self, node, i, &part[i]));
        if (part[i].items == NULL || part[i].count != 1 || !part[i].items[0].known)
            return TD_OK;
    }
    fold_element length = {0};
    length.known = ir_dim_is(&part[2].items[0].dim, 1) &&
                   ir_dim_subtract(&part[1].items[0].dim, &part[0].items[0].dim, &length.dim) &&
                   fold_least(self->module, &length.dim) >= 0;
    set_dim(node, 0, &length);
    return TD_OK;
}

static td_status refine_top_k(folder *self, ir_node *node)
{
    fold_list k = fold_list_of(self, node->inputs[1]);
    int64_t axis = ir_node_int(node, "axis", 0);
    if (k.items == NULL || k.count != 1 || !k.items[0].known)
        return TD_OK;
    for (uint32_t i = 0; i < node->output_count; i++)
        node->outputs[i]->shape.dim[axis] = k.items[0].dim;
    return TD_OK;
}

/* --- slices --- */

/* A bound of a slice as a form in [0, size]; false when it cannot be told. */
static bool place_bound(const ir_module *module, const fold_element *bound, const ir_dim *size,
                        ir_dim *place)
{
    ir_dim zero = ir_dim_constant(0);
    if (!bound->known)
        return false;
    *place = bound->dim;
    if (ir_dim_is_constant(place) && place->constant < 0) {
        /* Counted from the end; far before the front means the front. */
        if (place->constant <= -INT32_MAX)
            *place = zero;
        else if (!ir_dim_add(size, place, place))
            return false;
    } else if (ir_dim_is_constant(place) && place->constant >= INT32_MAX) {
        *place = *size;
    }
    if (fold_at_most(module, size, place))
        *place = *size;
    return fold_at_most(module, &zero, place) && fold_at_most(module, place, size);
}

/* Length of begin : end along a dimension, for a step of 1. */
static fold_element slice_length(const folder *self, const ir_dim *size, const fold_element *begin,
                                 const fold_element *end, const fold_element *step)
{
    fold_element length = {0};
    ir_dim from, to;
    if (!step->known || !ir_dim_is(&step->dim, 1) ||
        !place_bound(self->module, begin, size, &from) ||
        !place_bound(self->module, end, size, &to))
        return length;
    length.known =
        fold_at_most(self->module, &from, &to) && ir_dim_subtract(&to, &from, &length.dim);
    return length;
}

/* True when some dimension of the output is not what its input's symbols say, so that asking again
 * can help: a bound is computed. */
static bool has_computed_bound(const ir_node *node)
{
    for (uint32_t i = 1; i < node->input_count; i++)
        if (node->inputs[i]->kind != IR_VALUE_CONSTANT)
            return true;
    return false;
}

static td_status refine_slice(folder *self, ir_node *node)
{
    const ir_attribute *axes = ir_node_attribute(node, "axes");
    fold_list part[3];
    if (!has_computed_bound(node))
        return TD_OK;
    for (uint32_t i = 0; i < 3; i++) {
        TD_TRY(fold_input_list(self, node, i + 1, &part[i]));
        if (part[i].items == NULL)
            return TD_OK;
    }
    for (uint32_t i = 0; i < part[0].count && i < part[1].count && i < part[2].count; i++) {
        int64_t axis = axes != NULL && i < axes->count ? axes->integers[i] : i;
        if (axis < 0 || axis >= node->inputs[0]->shape.rank)
            continue;
        fold_element length = slice_length(self, &node->inputs[0]->shape.dim[axis],
                                           &part[0].items[i], &part[1].items[i], &part[2].items[i]);
        set_dim(node, (uint32_t)axis, &length);
    }
    return TD_OK;
}

static bool has_bit(const ir_node *node, const char *name)
{
    for (uint32_t i = 0; i < FOLD_MAX_LIST; i++)
        if (fold_mask_bit(node, name, i))
            return true;
    return false;
}

/* Without new axes and ellipsis, entry i speaks of dimension i; shrunk ones leave the output. */
static td_status refine_strided_slice(folder *self, ir_node *node)
{
    const ir_shape *input = &node->inputs[0]->shape;
    fold_list part[3];
    if (!has_computed_bound(node) || has_bit(node, "new_axis_mask") ||
        has_bit(node, "ellipsis_mask"))
        return TD_OK;
    for (uint32_t i = 0; i < 3; i++) {
        TD_TRY(fold_input_list(self, node, i + 1, &part[i]));
        if (part[i].items == NULL || part[i].count > input->rank)
            return TD_OK;
    }
    const fold_element front = {.dim = ir_dim_constant(0), .known = true};
    uint32_t output = 0;
    for (uint32_t i = 0; i < part[0].count && i < part[1].count && i < part[2].count; i++) {
        if (fold_mask_bit(node, "shrink_axis_mask", i))
            continue;
        const fold_element back = {.dim = input->dim[i], .known = true};
        fold_element length = slice_length(
            self, &input->dim[i], fold_mask_bit(node, "begin_mask", i) ? &front : &part[0].items[i],
            fold_mask_bit(node, "end_mask", i) ? &back : &part[1].items[i], &part[2].items[i]);
        set_dim(node, output++, &length);
    }
    return TD_OK;
}

/* --- the table --- */

static td_status (*const refinements[IR_OP_COUNT])(folder *self, ir_node *node) = {
    [IR_OP_reshape] = refine_reshape,
    [IR_OP_broadcast] = refine_broadcast,
    [IR_OP_tile] = refine_tile,
    [IR_OP_range] = refine_range,
    [IR_OP_top_k] = refine_top_k,
    [IR_OP_slice] = refine_slice,
    [IR_OP_strided_slice] = refine_strided_slice,
};

td_status fold_refine(folder *self, ir_node *node)
{
    return refinements[node->op] == NULL ? TD_OK : refinements[node->op](self, node);
}
