/* Shape rules: the common part, and the helpers that they are written with.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

td_status ir_node_infer(ir_node *node)
{
    const ir_op_info *info = ir_op(node->op);
    td_status status = info->infer(node);
    if (status == TD_OK || status == TD_NO_MEMORY)
        return status;
    return td_fail_within(node->graph->module->context, status, "graph \"%s\": layer \"%s\" (%s)",
                          node->graph->name, node->name, info->name);
}

/* --- descriptions --- */

static void append(ir_dim_text *text, const char *piece)
{
    size_t used = strlen(text->text);
    snprintf(text->text + used, sizeof text->text - used, "%s", piece);
}

static void describe(const ir_module *module, const ir_dim *dim, ir_dim_text *text)
{
    char piece[128];
    for (uint32_t i = 0; i < dim->terms; i++) {
        ir_symbol symbol = dim->term[i].symbol;
        const char *name =
            symbol < module->symbols.count ? module->symbols.items[symbol].name : "?";
        if (dim->term[i].factor == 1)
            snprintf(piece, sizeof piece, "%s%s", i > 0 ? " + " : "", name);
        else
            snprintf(piece, sizeof piece, "%s%" PRId32 "*%s", i > 0 ? " + " : "",
                     dim->term[i].factor, name);
        append(text, piece);
    }
    if (dim->constant != 0 || dim->terms == 0) {
        snprintf(piece, sizeof piece, "%s%" PRId64, dim->terms > 0 ? " + " : "", dim->constant);
        append(text, piece);
    }
}

ir_dim_text ir_shape_describe(const ir_module *module, const ir_shape *shape)
{
    ir_dim_text text = {"["};
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (i > 0)
            append(&text, ", ");
        describe(module, &shape->dim[i], &text);
    }
    append(&text, "]");
    return text;
}

/* --- dimensions --- */

td_status ir_shape_push(const ir_node *node, ir_shape *shape, const ir_dim *dim)
{
    if (shape->rank == IR_MAX_RANK)
        return ir_infer_fail(node, "the result has more than %d dimensions, the most accepted",
                             IR_MAX_RANK);
    shape->dim[shape->rank++] = *dim;
    return TD_OK;
}

td_status ir_merge_dims(const ir_node *node, const ir_dim *a, const ir_dim *b, const char *what,
                        ir_dim *merged)
{
    if (ir_dim_is_constant(a) && ir_dim_is_constant(b) && a->constant != b->constant)
        return ir_infer_fail(node, "%s are %" PRId64 " and %" PRId64 "; they must be equal", what,
                             a->constant, b->constant);
    *merged = ir_dim_is_constant(b) ? *b : *a;
    return TD_OK;
}

/* As ir_merge_dims, where a 1 stretches to the other's size. */
static td_status broadcast_dims(const ir_node *node, const ir_dim *a, const ir_dim *b,
                                ir_dim *merged)
{
    if (ir_dim_is(a, 1)) {
        *merged = *b;
        return TD_OK;
    }
    if (ir_dim_is(b, 1)) {
        *merged = *a;
        return TD_OK;
    }
    return ir_merge_dims(node, a, b, "sizes of one dimension of the operands", merged);
}

td_status ir_broadcast_shapes(const ir_node *node, const ir_shape *a, const ir_shape *b,
                              ir_shape *merged)
{
    if (a->rank < b->rank) {
        const ir_shape *swap = a;
        a = b;
        b = swap;
    }
    ir_shape result = *a;
    uint32_t lead = a->rank - b->rank;
    for (uint32_t i = 0; i < b->rank; i++) {
        td_status status =
            broadcast_dims(node, &a->dim[lead + i], &b->dim[i], &result.dim[lead + i]);
        if (status == TD_INVALID)
            return td_fail_within(node->graph->module->context, status, "shapes %s and %s",
                                  ir_shape_describe(node->graph->module, a).text,
                                  ir_shape_describe(node->graph->module, b).text);
        TD_TRY(status);
    }
    *merged = result;
    return TD_OK;
}

td_status ir_fresh(ir_node *node, int64_t bound, ir_dim *dim)
{
    return ir_module_fresh_dim(node->graph->module, bound, dim);
}

/* --- inputs and attributes --- */

td_status ir_input_list(const ir_node *node, uint32_t input, ir_list *list)
{
    const ir_value *value = node->inputs[input];
    uint64_t count = 1;
    if (!ir_shape_is_static(&value->shape) ||
        !ir_shape_elements_bound(node->graph->module, &value->shape, &count) || count > IR_MAX_LIST)
        return ir_infer_fail(node,
                             "input %" PRIu32 " has shape %s; a list of at most %d numbers "
                             "is needed there",
                             input + 1, ir_shape_describe(node->graph->module, &value->shape).text,
                             IR_MAX_LIST);
    list->count = (size_t)count;
    list->known = value->kind == IR_VALUE_CONSTANT && !value->constant->missing &&
                  value->constant->source.read != NULL;
    if (!list->known)
        return TD_OK;
    return ir_constant_read_i64(node->graph->module->context, value->constant, IR_MAX_LIST,
                                list->value, &list->count);
}

static td_status missing(const ir_node *node, const char *name, const char *kind)
{
    return ir_infer_fail(node, "attribute \"%s\" is missing or of another kind; %s is needed", name,
                         kind);
}

td_status ir_require_int(const ir_node *node, const char *name, int64_t *value)
{
    const ir_attribute *attribute = ir_node_attribute(node, name);
    if (attribute == NULL || attribute->kind != IR_ATTRIBUTE_INT)
        return missing(node, name, "an integer");
    *value = attribute->integer;
    return TD_OK;
}

td_status ir_require_string(const ir_node *node, const char *name, const char **value)
{
    const ir_attribute *attribute = ir_node_attribute(node, name);
    if (attribute == NULL || attribute->kind != IR_ATTRIBUTE_STRING)
        return missing(node, name, "a string");
    *value = attribute->string;
    return TD_OK;
}

td_status ir_require_ints(const ir_node *node, const char *name, const ir_attribute **attribute)
{
    *attribute = ir_node_attribute(node, name);
    if (*attribute == NULL || (*attribute)->kind != IR_ATTRIBUTE_INTS)
        return missing(node, name, "a list of integers");
    return TD_OK;
}

td_status ir_check_axis(const ir_node *node, int64_t axis, uint32_t rank)
{
    if (axis < 0 || axis >= rank)
        return ir_infer_fail(node,
                             "axis %" PRId64 " is outside of a value with %" PRIu32
                             " dimensions; axes count from 0 at the front",
                             axis, rank);
    return TD_OK;
}

td_status ir_require_axis(const ir_node *node, uint32_t rank, uint32_t *axis)
{
    int64_t value;
    TD_TRY(ir_require_int(node, "axis", &value));
    TD_TRY(ir_check_axis(node, value, rank));
    *axis = (uint32_t)value;
    return TD_OK;
}

td_status ir_require_rank(const ir_node *node, uint32_t input, uint32_t rank)
{
    const ir_shape *shape = ir_input_shape(node, input);
    if (shape->rank != rank)
        return ir_infer_fail(node,
                             "input %" PRIu32 " has shape %s; %" PRIu32 " dimensions are needed",
                             input + 1, ir_shape_describe(node->graph->module, shape).text, rank);
    return TD_OK;
}

td_status ir_type_attribute(const ir_node *node, ir_type otherwise, ir_type *type)
{
    *type = otherwise;
    const ir_attribute *attribute = ir_node_attribute(node, "type");
    if (attribute == NULL)
        return TD_OK;
    if (attribute->kind != IR_ATTRIBUTE_STRING || !ir_type_from_name(attribute->string, type))
        return ir_infer_fail(node,
                             "attribute \"type\" is %s%s%s; an element type such as \"f32\" "
                             "or \"i64\" is needed",
                             attribute->kind == IR_ATTRIBUTE_STRING ? "\"" : "",
                             attribute->kind == IR_ATTRIBUTE_STRING ? attribute->string
                                                                    : "not a string",
                             attribute->kind == IR_ATTRIBUTE_STRING ? "\"" : "");
    return TD_OK;
}

td_status ir_require_state(const ir_node *node, ir_state_kind kind, const ir_state **state)
{
    const char *name;
    TD_TRY(ir_require_string(node, "state", &name));
    const ir_state *found = ir_module_find_state(node->graph->module, name);
    if (found == NULL)
        return ir_infer_fail(node, "attribute \"state\" names \"%s\", which the module lacks",
                             name);
    if (found->kind != kind)
        return ir_infer_fail(node, "state \"%s\" is a %s; a %s is needed", name,
                             found->kind == IR_STATE_CACHE ? "cache" : "plain state",
                             kind == IR_STATE_CACHE ? "cache" : "plain state");
    *state = found;
    return TD_OK;
}
