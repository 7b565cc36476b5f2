/* Integer values that are functions of dimensions, followed as lists of linear forms.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fold.h"

#include <string.h>

fold_list fold_list_of(const folder *self, const ir_value *value)
{
    bool numbered = value->kind == IR_VALUE_RESULT && value->id < self->list_count;
    return numbered ? self->lists[value->id] : (fold_list){0};
}

bool fold_is_constant(const fold_list *list)
{
    if (list->items == NULL)
        return false;
    for (uint32_t i = 0; i < list->count; i++)
        if (!list->items[i].known || !ir_dim_is_constant(&list->items[i].dim))
            return false;
    return true;
}

int64_t fold_least(const ir_module *module, const ir_dim *dim)
{
    int64_t least = dim->constant;
    for (uint32_t i = 0; i < dim->terms; i++) {
        if (dim->term[i].factor < 0)
            return INT64_MIN;
        bool tokens = strcmp(module->symbols.items[dim->term[i].symbol].name, "tokens") == 0;
        if (tokens && __builtin_add_overflow(least, dim->term[i].factor, &least))
            return INT64_MIN;
    }
    return least;
}

bool fold_at_most(const ir_module *module, const ir_dim *a, const ir_dim *b)
{
    ir_dim difference;
    return ir_dim_subtract(b, a, &difference) && fold_least(module, &difference) >= 0;
}

/* --- helpers --- */

/* Elements of a value of rank 0 or 1; false when it is larger, or of unknown length. */
static bool list_length(const ir_value *value, uint32_t *count)
{
    const ir_shape *shape = &value->shape;
    *count = 1;
    if (shape->rank == 0)
        return true;
    if (shape->rank != 1 || !ir_dim_is_constant(&shape->dim[0]) || shape->dim[0].constant < 0 ||
        shape->dim[0].constant > FOLD_MAX_LIST)
        return false;
    *count = (uint32_t)shape->dim[0].constant;
    return true;
}

static td_status new_list(folder *self, const ir_value *value, fold_list *list)
{
    fold_list new = {0};
    if (list_length(value, &new.count)) {
        new.items = td_arena_allocate(&self->arena, new.count + 1, sizeof *new.items);
        if (new.items == NULL)
            return td_fail_memory(self->module->context);
    }
    *list = new;
    return TD_OK;
}

static td_status read_constant(folder *self, const ir_value *value, fold_list *list)
{
    const ir_constant *constant = value->constant;
    uint32_t length;
    *list = (fold_list){0};
    if (constant->missing || constant->scale != NULL || ir_type_is_float(constant->type) ||
        constant->type == IR_OPAQUE || !list_length(value, &length))
        return TD_OK;
    int64_t values[FOLD_MAX_LIST];
    size_t count;
    TD_TRY(ir_constant_read_i64(self->module->context, constant, FOLD_MAX_LIST, values, &count));
    TD_TRY(new_list(self, value, list));
    for (uint32_t i = 0; i < list->count; i++)
        list->items[i] = (fold_element){.dim = ir_dim_constant(values[i]), .known = true};
    return TD_OK;
}

td_status fold_input_list(folder *self, const ir_node *node, uint32_t input, fold_list *list)
{
    const ir_value *value = node->inputs[input];
    if (value->kind == IR_VALUE_CONSTANT)
        return read_constant(self, value, list);
    *list = fold_list_of(self, value);
    return TD_OK;
}

/* An element of a list, where a single one stands for all. */
static fold_element element_at(const fold_list *list, uint32_t index)
{
    if (list->items == NULL || list->count == 0)
        return (fold_element){.known = false};
    return list->items[list->count == 1 ? 0 : index < list->count ? index : list->count - 1];
}

static fold_element known(ir_dim dim)
{
    return (fold_element){.dim = dim, .known = true};
}

/* --- arithmetic --- */

/* Quotient of constants, towards minus infinity or towards zero; exact quotients of forms. */
static bool divide(const ir_dim *a, const ir_dim *b, bool floors, ir_dim *quotient)
{
    if (!ir_dim_is_constant(a) || !ir_dim_is_constant(b))
        return ir_dim_is_constant(b) && b->constant > 0 && ir_dim_divide(a, b, quotient);
    if (b->constant == 0 || (b->constant == -1 && a->constant == INT64_MIN))
        return false;
    int64_t result = a->constant / b->constant;
    if (floors && a->constant % b->constant != 0 && (a->constant < 0) != (b->constant < 0))
        result--;
    *quotient = ir_dim_constant(result);
    return true;
}

/* Whether the outcome of a comparison is known, and what it is. */
static bool compare(ir_opcode op, const ir_dim *a, const ir_dim *b, bool *holds)
{
    const bool equal = ir_dim_equal(a, b);
    const bool constants = ir_dim_is_constant(a) && ir_dim_is_constant(b);
    switch (op) {
    case IR_OP_equal:
        *holds = equal;
        return constants || equal;
    case IR_OP_not_equal:
        *holds = !equal;
        return constants || equal;
    case IR_OP_less:
        *holds = a->constant < b->constant;
        return constants;
    case IR_OP_less_equal:
        *holds = a->constant <= b->constant;
        return constants;
    case IR_OP_greater:
        *holds = a->constant > b->constant;
        return constants;
    case IR_OP_greater_equal:
        *holds = a->constant >= b->constant;
        return constants;
    default:
        return false;
    }
}

static fold_element compute(folder *self, const ir_node *node, const ir_dim *a, const ir_dim *b)
{
    const ir_module *module = self->module;
    bool known, holds = false;
    ir_dim result = ir_dim_constant(0);
    switch (node->op) {
    case IR_OP_add:
        known = ir_dim_add(a, b, &result);
        break;
    case IR_OP_subtract:
        known = ir_dim_subtract(a, b, &result);
        break;
    case IR_OP_multiply:
        known = ir_dim_multiply(a, b, &result);
        break;
    case IR_OP_divide:
        known = divide(a, b, ir_node_int(node, "floor", 0) != 0, &result);
        break;
    case IR_OP_maximum:
    case IR_OP_minimum:
        known = fold_at_most(module, a, b) || fold_at_most(module, b, a);
        result = fold_at_most(module, a, b) == (node->op == IR_OP_maximum) ? *b : *a;
        break;
    default:
        known = compare(node->op, a, b, &holds);
        result = ir_dim_constant(holds);
        break;
    }
    return (fold_element){.dim = result, .known = known};
}

static td_status binary_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list a, b;
    TD_TRY(fold_input_list(self, node, 0, &a));
    TD_TRY(fold_input_list(self, node, 1, &b));
    if (a.items == NULL || b.items == NULL || ir_type_is_float(node->inputs[0]->type))
        return TD_OK;
    TD_TRY(new_list(self, node->outputs[0], list));
    for (uint32_t i = 0; list->items != NULL && i < list->count; i++) {
        fold_element left = element_at(&a, i), right = element_at(&b, i);
        if (left.known && right.known)
            list->items[i] = compute(self, node, &left.dim, &right.dim);
    }
    return TD_OK;
}

static td_status select_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list part[3];
    for (uint32_t i = 0; i < 3; i++)
        TD_TRY(fold_input_list(self, node, i, &part[i]));
    if (part[0].items == NULL)
        return TD_OK;
    TD_TRY(new_list(self, node->outputs[0], list));
    for (uint32_t i = 0; list->items != NULL && i < list->count; i++) {
        fold_element condition = element_at(&part[0], i);
        if (condition.known && ir_dim_is_constant(&condition.dim))
            list->items[i] = element_at(&part[condition.dim.constant != 0 ? 1 : 2], i);
    }
    return TD_OK;
}

/* Conversions among integers and reshapes keep the elements. Floats only get here from integers. */
static td_status copy_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list from;
    uint32_t length;
    TD_TRY(fold_input_list(self, node, 0, &from));
    if (from.items != NULL && list_length(node->outputs[0], &length) && length == from.count)
        *list = from;
    return TD_OK;
}

static td_status convert_list(folder *self, const ir_node *node, fold_list *list)
{
    bool from_float = ir_type_is_float(node->inputs[0]->type);
    ir_type to = node->outputs[0]->type;
    if ((to != IR_I64 && to != IR_I32 && to != IR_F32) || (from_float && to == IR_F32))
        return TD_OK;
    return copy_list(self, node, list);
}

static td_status product_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list from;
    TD_TRY(fold_input_list(self, node, 0, &from));
    uint32_t length;
    if (from.items == NULL || node->inputs[0]->shape.rank != 1 ||
        !list_length(node->outputs[0], &length) || length != 1)
        return TD_OK;
    ir_dim product = ir_dim_constant(1);
    for (uint32_t i = 0; i < from.count; i++) {
        if (!from.items[i].known)
            return TD_OK;
        if (!ir_module_dim_product(self->module, &product, &from.items[i].dim, &product))
            return td_fail_memory(self->module->context);
    }
    TD_TRY(new_list(self, node->outputs[0], list));
    list->items[0] = known(product);
    return TD_OK;
}

/* --- movement --- */

static td_status shape_list(folder *self, const ir_node *node, fold_list *list)
{
    const ir_shape *shape = &node->inputs[0]->shape;
    TD_TRY(new_list(self, node->outputs[0], list));
    for (uint32_t i = 0; i < shape->rank; i++)
        list->items[i] = known(ir_module_dim_resolve(self->module, &shape->dim[i]));
    return TD_OK;
}

/* A constant index into `count` elements; false when it is unknown or outside. */
static bool constant_index(const fold_element *element, uint32_t count, uint32_t *index)
{
    if (!element->known || !ir_dim_is_constant(&element->dim))
        return false;
    int64_t value =
        element->dim.constant < 0 ? element->dim.constant + count : element->dim.constant;
    *index = (uint32_t)value;
    return value >= 0 && value < count;
}

static td_status gather_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list data, indices;
    TD_TRY(fold_input_list(self, node, 0, &data));
    TD_TRY(fold_input_list(self, node, 1, &indices));
    if (data.items == NULL || indices.items == NULL || node->inputs[0]->shape.rank != 1)
        return TD_OK;
    TD_TRY(new_list(self, node->outputs[0], list));
    for (uint32_t i = 0; list->items != NULL && i < list->count; i++) {
        fold_element at = element_at(&indices, i);
        uint32_t index;
        if (constant_index(&at, data.count, &index))
            list->items[i] = data.items[index];
    }
    return TD_OK;
}

static td_status concat_list(folder *self, const ir_node *node, fold_list *list)
{
    TD_TRY(new_list(self, node->outputs[0], list));
    if (list->items == NULL || node->outputs[0]->shape.rank != 1)
        return TD_OK;
    uint32_t at = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        fold_list part;
        uint32_t length;
        TD_TRY(fold_input_list(self, node, i, &part));
        if (!list_length(node->inputs[i], &length) || length > list->count - at) {
            *list = (fold_list){0};
            return TD_OK;
        }
        for (uint32_t k = 0; k < length; k++)
            list->items[at++] = part.items == NULL ? (fold_element){0} : part.items[k];
    }
    return TD_OK;
}

bool fold_mask_bit(const ir_node *node, const char *name, uint32_t index)
{
    const ir_attribute *mask = ir_node_attribute(node, name);
    return mask != NULL && index < mask->count && mask->integers[index] != 0;
}

/* x[begin : end : step] of a list, for slice and strided_slice. */
static td_status slice_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list data, part[3];
    TD_TRY(fold_input_list(self, node, 0, &data));
    for (uint32_t i = 0; i < 3; i++) {
        TD_TRY(fold_input_list(self, node, i + 1, &part[i]));
        if (part[i].items == NULL || part[i].count != 1 || !part[i].items[0].known ||
            !ir_dim_is_constant(&part[i].items[0].dim))
            return TD_OK;
    }
    if (data.items == NULL || node->inputs[0]->shape.rank != 1 ||
        fold_mask_bit(node, "new_axis_mask", 0) || fold_mask_bit(node, "ellipsis_mask", 0))
        return TD_OK;
    int64_t count = data.count, step = part[2].items[0].dim.constant;
    int64_t begin = part[0].items[0].dim.constant;
    if (fold_mask_bit(node, "begin_mask", 0))
        begin = step < 0 ? count - 1 : 0;
    begin = begin < 0 ? begin + count : begin;
    begin = begin < 0 ? 0 : begin;
    if (begin >= count)
        begin = step < 0 ? count - 1 : count;
    /* The output's length is inferred already; only where it starts is left to say. */
    TD_TRY(new_list(self, node->outputs[0], list));
    for (uint32_t i = 0; list->items != NULL && i < list->count; i++) {
        int64_t at = begin + (int64_t)i * (step > count ? count : step < -count ? -count : step);
        if (at >= 0 && at < count)
            list->items[i] = data.items[at];
    }
    return TD_OK;
}

static td_status scatter_list(folder *self, const ir_node *node, fold_list *list)
{
    fold_list data, indices, updates;
    TD_TRY(fold_input_list(self, node, 0, &data));
    TD_TRY(fold_input_list(self, node, 1, &indices));
    TD_TRY(fold_input_list(self, node, 2, &updates));
    if (data.items == NULL || indices.items == NULL || node->inputs[0]->shape.rank != 1)
        return TD_OK;
    fold_list result;
    TD_TRY(new_list(self, node->outputs[0], &result));
    if (result.items == NULL || result.count != data.count)
        return TD_OK;
    memcpy(result.items, data.items, data.count * sizeof *data.items);
    for (uint32_t i = 0; i < indices.count; i++) {
        uint32_t index;
        if (!constant_index(&indices.items[i], data.count, &index))
            return TD_OK; /* any element may have changed */
        result.items[index] = element_at(&updates, i);
    }
    *list = result;
    return TD_OK;
}

/* --- the table --- */

typedef td_status (*propagation)(folder *self, const ir_node *node, fold_list *list);

static const propagation propagations[IR_OP_COUNT] = {
    [IR_OP_add] = binary_list,
    [IR_OP_subtract] = binary_list,
    [IR_OP_multiply] = binary_list,
    [IR_OP_divide] = binary_list,
    [IR_OP_maximum] = binary_list,
    [IR_OP_minimum] = binary_list,
    [IR_OP_equal] = binary_list,
    [IR_OP_not_equal] = binary_list,
    [IR_OP_less] = binary_list,
    [IR_OP_less_equal] = binary_list,
    [IR_OP_greater] = binary_list,
    [IR_OP_greater_equal] = binary_list,
    [IR_OP_select] = select_list,
    [IR_OP_convert] = convert_list,
    [IR_OP_floor] = copy_list,
    [IR_OP_reshape] = copy_list,
    [IR_OP_reduce_product] = product_list,
    [IR_OP_shape_of] = shape_list,
    [IR_OP_gather] = gather_list,
    [IR_OP_concat] = concat_list,
    [IR_OP_slice] = slice_list,
    [IR_OP_strided_slice] = slice_list,
    [IR_OP_scatter_update] = scatter_list,
};

td_status fold_propagate(folder *self, const ir_node *node)
{
    if (propagations[node->op] == NULL || node->output_count != 1)
        return TD_OK;
    fold_list list = {0};
    TD_TRY(propagations[node->op](self, node, &list));
    if (node->outputs[0]->id < self->list_count)
        self->lists[node->outputs[0]->id] = list;
    return TD_OK;
}
