/* Conversions of operations that move data or compute shapes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <inttypes.h>
#include <string.h>

static td_status convert_shape_of(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                  ir_value **outputs)
{
    const char *name = ov_layer_attribute(layer, "output_type", "i64");
    ir_type type;
    ir_node *node;
    if (!ov_element_type(name, &type) || (type != IR_I64 && type != IR_I32))
        return ov_refuse(reader, "output_type is \"%.40s\"; i64 and i32 are accepted", name);
    TD_TRY(ov_add_node(reader, layer, IR_OP_shape_of, 1, inputs, &node));
    TD_TRY(ir_node_set_string(node, "type", ir_type_name(type)));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_reshape(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                 ir_value **outputs)
{
    bool special_zero;
    ir_node *node;
    TD_TRY(ov_bool(reader, layer, "special_zero", true, &special_zero));
    TD_TRY(ov_add_node(reader, layer, IR_OP_reshape, 2, inputs, &node));
    TD_TRY(ir_node_set_int(node, "special_zero", special_zero));
    return ov_finish(node, &outputs[0]);
}

/* Reshapes `x` so that output dimension i is x's dimension source[i], or 1 where source[i] is -1.
 */
static td_status rearrange_dims(ov_reader *reader, const ov_layer *layer, ir_value *x, size_t rank,
                                const int64_t *source, ir_value **output)
{
    int64_t target[IR_MAX_RANK] = {0};
    bool open = false, fits = true;
    for (size_t i = 0; i < rank && fits; i++) {
        const ir_dim *dim = source[i] < 0 ? NULL : &x->shape.dim[source[i]];
        if (dim == NULL)
            target[i] = 1;
        else if (ir_dim_is_constant(dim) && dim->constant != 0)
            target[i] = dim->constant;
        else if (source[i] == (int64_t)i)
            target[i] = 0; /* as in x */
        else if (!open && !ir_dim_is_constant(dim))
            target[i] = -1, open = true;
        else
            fits = false;
    }
    ir_value *shape;
    if (fits) {
        TD_TRY(ir_graph_add_i64s(reader->graph, rank, target, false, &shape));
    } else {
        /* The dimensions of x with a 1 behind them, in the order wanted. */
        ir_node *node;
        ir_value *dims, *one, *extended, *indices;
        int64_t picked[IR_MAX_RANK];
        for (size_t i = 0; i < rank; i++)
            picked[i] = source[i] < 0 ? x->shape.rank : source[i];
        TD_TRY(ov_add_node(reader, layer, IR_OP_shape_of, 1, &x, &node));
        TD_TRY(ir_node_set_string(node, "type", "i64"));
        TD_TRY(ov_finish(node, &dims));
        TD_TRY(ir_graph_add_i64s(reader->graph, 1, (int64_t[]){1}, false, &one));
        TD_TRY(ov_add_node(reader, layer, IR_OP_concat, 2, (ir_value *[]){dims, one}, &node));
        TD_TRY(ir_node_set_int(node, "axis", 0));
        TD_TRY(ov_finish(node, &extended));
        TD_TRY(ir_graph_add_i64s(reader->graph, rank, picked, false, &indices));
        TD_TRY(
            ov_add_node(reader, layer, IR_OP_gather, 2, (ir_value *[]){extended, indices}, &node));
        TD_TRY(ir_node_set_int(node, "axis", 0));
        TD_TRY(ir_node_set_int(node, "batch_dims", 0));
        TD_TRY(ov_finish(node, &shape));
    }
    ir_node *node;
    TD_TRY(ov_add_node(reader, layer, IR_OP_reshape, 2, (ir_value *[]){x, shape}, &node));
    TD_TRY(ir_node_set_int(node, "special_zero", fits));
    return ov_finish(node, output);
}

/* Marks the constant axes, out of `rank` dimensions; refuses one given twice. */
static td_status read_axes(ov_reader *reader, const ir_value *input, uint32_t rank, bool *marked,
                           size_t *count)
{
    int64_t axes[IR_MAX_RANK];
    TD_TRY(ov_input_ints(reader, input, "the list of axes", IR_MAX_RANK, axes, count));
    for (size_t i = 0; i < *count; i++) {
        TD_TRY(ov_normal_axis(reader, axes[i], rank, &axes[i]));
        if (marked[axes[i]])
            return td_fail(reader->context, TD_INVALID, "axis %" PRId64 " is given twice", axes[i]);
        marked[axes[i]] = true;
    }
    return TD_OK;
}

static td_status convert_unsqueeze(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                   ir_value **outputs)
{
    bool inserted[IR_MAX_RANK] = {false};
    int64_t axes[IR_MAX_RANK], source[IR_MAX_RANK];
    size_t count = 0;
    TD_TRY(ov_input_ints(reader, inputs[1], "the list of axes", IR_MAX_RANK, axes, &count));
    uint32_t rank = inputs[0]->shape.rank + (uint32_t)count;
    if (rank > IR_MAX_RANK)
        return ov_refuse(reader, "the result has %u dimensions; at most %d are accepted", rank,
                         IR_MAX_RANK);
    TD_TRY(read_axes(reader, inputs[1], rank, inserted, &count));
    for (uint32_t i = 0, next = 0; i < rank; i++)
        source[i] = inserted[i] ? -1 : (int64_t)next++;
    return rearrange_dims(reader, layer, inputs[0], rank, source, &outputs[0]);
}

static td_status convert_squeeze(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                 ir_value **outputs)
{
    const ir_shape *shape = &inputs[0]->shape;
    bool removed[IR_MAX_RANK] = {false};
    int64_t source[IR_MAX_RANK];
    size_t count = 0, rank = 0;
    if (layer->input_count == 2)
        TD_TRY(read_axes(reader, inputs[1], shape->rank, removed, &count));
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (layer->input_count == 1) {
            if (!ir_dim_is_constant(&shape->dim[i]))
                return ov_refuse(reader, "without axes, dimension %u must be known", i);
            removed[i] = shape->dim[i].constant == 1;
        } else if (removed[i] && ir_dim_is_constant(&shape->dim[i]) &&
                   shape->dim[i].constant != 1) {
            return td_fail(reader->context, TD_INVALID,
                           "dimension %u is %" PRId64 "; only dimensions of 1 can be removed", i,
                           shape->dim[i].constant);
        }
        if (!removed[i])
            source[rank++] = i;
    }
    return rearrange_dims(reader, layer, inputs[0], rank, source, &outputs[0]);
}

static td_status convert_transpose(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                   ir_value **outputs)
{
    int64_t perm[IR_MAX_RANK];
    size_t count;
    ir_node *node;
    TD_TRY(ov_input_ints(reader, inputs[1], "the order of axes", IR_MAX_RANK, perm, &count));
    uint32_t rank = inputs[0]->shape.rank;
    if (count == 0)
        for (; count < rank; count++)
            perm[count] = (int64_t)(rank - 1 - count);
    for (size_t i = 0; i < count; i++)
        TD_TRY(ov_normal_axis(reader, perm[i], rank, &perm[i]));
    TD_TRY(ov_add_node(reader, layer, IR_OP_transpose, 1, inputs, &node));
    TD_TRY(ir_node_set_ints(node, "perm", count, perm));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_broadcast(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                   ir_value **outputs)
{
    const char *mode = ov_layer_attribute(layer, "mode", "numpy");
    bool bidirectional = strcasecmp(mode, "bidirectional") == 0;
    ir_node *node;
    if (!bidirectional && strcasecmp(mode, "numpy") != 0)
        return ov_refuse(reader, "mode is \"%.40s\"; numpy and bidirectional are accepted", mode);
    TD_TRY(ov_add_node(reader, layer, IR_OP_broadcast, 2, inputs, &node));
    TD_TRY(ir_node_set_int(node, "bidirectional", bidirectional));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_concat(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    int64_t axis;
    ir_node *node;
    TD_TRY(ov_int(reader, layer, "axis", 0, &axis));
    TD_TRY(ov_normal_axis(reader, axis, inputs[0]->shape.rank, &axis));
    TD_TRY(ov_add_node(reader, layer, IR_OP_concat, layer->input_count, inputs, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    return ov_finish(node, &outputs[0]);
}

/* Constant indices are made to count from the front. */
static td_status normal_indices(ov_reader *reader, ir_value *indices, const ir_dim *dim,
                                ir_value **normal)
{
    enum { MOST = 64 };
    int64_t values[MOST];
    size_t count;
    *normal = indices;
    if (indices->kind != IR_VALUE_CONSTANT || indices->constant->missing ||
        !ir_dim_is_constant(dim) || indices->shape.rank > 1 || indices->constant->bytes > MOST * 4)
        return TD_OK;
    TD_TRY(ir_constant_read_i64(reader->context, indices->constant, MOST, values, &count));
    bool negative = false;
    for (size_t i = 0; i < count; i++) {
        negative = negative || values[i] < 0;
        TD_TRY(ov_normal_axis(reader, values[i], (uint32_t)dim->constant, &values[i]));
    }
    return negative
               ? ir_graph_add_i64s(reader->graph, count, values, indices->shape.rank == 0, normal)
               : TD_OK;
}

static td_status convert_gather(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    int64_t axis, batch_dims;
    ir_value *indices;
    ir_node *node;
    TD_TRY(ov_input_axis(reader, inputs[2], inputs[0]->shape.rank, &axis));
    TD_TRY(ov_int(reader, layer, "batch_dims", 0, &batch_dims));
    if (batch_dims < 0)
        batch_dims += inputs[1]->shape.rank;
    TD_TRY(normal_indices(reader, inputs[1], &inputs[0]->shape.dim[axis], &indices));
    TD_TRY(ov_add_node(reader, layer, IR_OP_gather, 2, (ir_value *[]){inputs[0], indices}, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    TD_TRY(ir_node_set_int(node, "batch_dims", batch_dims));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_slice(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    int64_t axes[IR_MAX_RANK];
    size_t count = 0;
    ir_node *node;
    if (layer->input_count == 5) {
        TD_TRY(ov_input_ints(reader, inputs[4], "the list of axes", IR_MAX_RANK, axes, &count));
    } else {
        const ir_shape *begin = &inputs[1]->shape;
        if (begin->rank != 1 || !ir_dim_is_constant(&begin->dim[0]) ||
            begin->dim[0].constant > IR_MAX_RANK)
            return ov_refuse(reader, "the number of axes that are cut must be known");
        for (; (int64_t)count < begin->dim[0].constant; count++)
            axes[count] = (int64_t)count;
    }
    for (size_t i = 0; i < count; i++)
        TD_TRY(ov_normal_axis(reader, axes[i], inputs[0]->shape.rank, &axes[i]));
    TD_TRY(ov_add_node(reader, layer, IR_OP_slice, 4, inputs, &node));
    TD_TRY(ir_node_set_ints(node, "axes", count, axes));
    return ov_finish(node, &outputs[0]);
}

static td_status set_mask(ov_reader *reader, const ov_layer *layer, ir_node *node, const char *name)
{
    const char *text = ov_layer_attribute(layer, name, "");
    int64_t bits[64];
    uint32_t count;
    if (!ov_parse_shape(text, TD_COUNT_OF(bits), bits, &count))
        return td_fail(reader->context, TD_INVALID,
                       "attribute %s is \"%.80s\"; a list of 0 and 1 is expected", name, text);
    for (uint32_t i = 0; i < count; i++)
        if (bits[i] != 0 && bits[i] != 1)
            return td_fail(reader->context, TD_INVALID,
                           "attribute %s is \"%.80s\"; a list of 0 and 1 is expected", name, text);
    return ir_node_set_ints(node, name, count, bits);
}

static td_status convert_strided_slice(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                       ir_value **outputs)
{
    static const char *const masks[] = {"begin_mask", "end_mask", "new_axis_mask",
                                        "shrink_axis_mask", "ellipsis_mask"};
    ir_value *parts[4] = {inputs[0], inputs[1], inputs[2], NULL};
    ir_node *node;
    if (layer->input_count == 4) {
        parts[3] = inputs[3];
    } else {
        const ir_shape *begin = &inputs[1]->shape;
        int64_t ones[64];
        for (size_t i = 0; i < TD_COUNT_OF(ones); i++)
            ones[i] = 1;
        if (begin->rank != 1 || !ir_dim_is_constant(&begin->dim[0]) ||
            begin->dim[0].constant > (int64_t)TD_COUNT_OF(ones))
            return ov_refuse(reader, "the number of begins must be known");
        TD_TRY(ir_graph_add_i64s(reader->graph, (size_t)begin->dim[0].constant, ones, false,
                                 &parts[3]));
    }
    TD_TRY(ov_add_node(reader, layer, IR_OP_strided_slice, 4, parts, &node));
    for (size_t i = 0; i < TD_COUNT_OF(masks); i++)
        TD_TRY(set_mask(reader, layer, node, masks[i]));
    return ov_finish(node, &outputs[0]);
}

/* The three numbers may have types of their own. */
static td_status convert_range(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    const char *name = ov_layer_attribute(layer, "output_type", NULL);
    ir_type type = inputs[0]->type;
    ir_value *parts[3];
    ir_node *node;
    if (name != NULL && !ov_element_type(name, &type))
        return ov_refuse(reader, "output_type \"%.40s\" is not imported", name);
    for (size_t i = 0; i < 3; i++) {
        parts[i] = inputs[i];
        if (inputs[i]->type != type)
            TD_TRY(ov_add_convert(reader, layer, inputs[i], type, &parts[i]));
    }
    TD_TRY(ov_add_node(reader, layer, IR_OP_range, 3, parts, &node));
    TD_TRY(ir_node_set_string(node, "type", ir_type_name(type)));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_scatter_update(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                        ir_value **outputs)
{
    int64_t axis;
    ir_node *node;
    TD_TRY(ov_input_axis(reader, inputs[3], inputs[0]->shape.rank, &axis));
    TD_TRY(ov_add_node(reader, layer, IR_OP_scatter_update, 3, inputs, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_scatter_nd(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                    ir_value **outputs)
{
    const char *reduction = ov_layer_attribute(layer, "reduction", "none");
    ir_node *node;
    if (strcasecmp(reduction, "none") != 0)
        return ov_refuse(reader, "reduction is \"%.40s\"; none is accepted", reduction);
    TD_TRY(ov_add_node(reader, layer, IR_OP_scatter_nd_update, 3, inputs, &node));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_scatter_elements(ov_reader *reader, const ov_layer *layer,
                                          ir_value **inputs, ir_value **outputs)
{
    const char *reduction = ov_layer_attribute(layer, "reduction", "none");
    int64_t axis;
    bool use_initial;
    ir_node *node;
    TD_TRY(ov_input_axis(reader, inputs[3], inputs[0]->shape.rank, &axis));
    TD_TRY(ov_bool(reader, layer, "use_init_val", true, &use_initial));
    TD_TRY(ov_add_node(reader, layer, IR_OP_scatter_elements_update, 3, inputs, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    TD_TRY(ir_node_set_string(node, "reduction", reduction));
    TD_TRY(ir_node_set_int(node, "use_initial", use_initial));
    return ov_finish(node, &outputs[0]);
}

static td_status finish_all(const ov_layer *layer, ir_node *node, ir_value **outputs)
{
    TD_TRY(ir_node_infer(node));
    for (uint32_t i = 0; i < layer->output_count; i++)
        outputs[i] = node->outputs[i];
    return TD_OK;
}

static td_status convert_split(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    int64_t axis, count;
    ir_node *node;
    TD_TRY(ov_input_axis(reader, inputs[1], inputs[0]->shape.rank, &axis));
    TD_TRY(ov_int(reader, layer, "num_splits", 0, &count));
    if (count < 1 || count != layer->output_count)
        return td_fail(reader->context, TD_INVALID,
                       "num_splits is %" PRId64 " but the layer has %u outputs", count,
                       layer->output_count);
    TD_TRY(ir_graph_add_node(reader->graph, IR_OP_split, layer->name, 1, inputs,
                             layer->output_count, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    TD_TRY(ir_node_set_int(node, "count", count));
    return finish_all(layer, node, outputs);
}

static td_status convert_variadic_split(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                        ir_value **outputs)
{
    enum { MOST = 64 };
    int64_t axis, lengths[MOST], rest = -1, sum = 0;
    size_t count;
    ir_node *node;
    TD_TRY(ov_input_axis(reader, inputs[1], inputs[0]->shape.rank, &axis));
    TD_TRY(ov_input_ints(reader, inputs[2], "the list of lengths", MOST, lengths, &count));
    if (count != layer->output_count)
        return td_fail(reader->context, TD_INVALID, "%zu lengths are given for %u outputs", count,
                       layer->output_count);
    for (size_t i = 0; i < count; i++) {
        if (lengths[i] == -1 && rest < 0)
            rest = (int64_t)i;
        else if (lengths[i] < 0 || __builtin_add_overflow(sum, lengths[i], &sum))
            return td_fail(reader->context, TD_INVALID,
                           "length %" PRId64 " of output %zu is not accepted", lengths[i], i);
    }
    const ir_dim *whole = &inputs[0]->shape.dim[axis];
    if (rest >= 0 && (!ir_dim_is_constant(whole) || whole->constant < sum))
        return ov_refuse(reader, "the dimension that is split must be known and at least %" PRId64,
                         sum);
    if (rest >= 0)
        lengths[rest] = whole->constant - sum;
    TD_TRY(ir_graph_add_node(reader->graph, IR_OP_split, layer->name, 1, inputs,
                             layer->output_count, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    TD_TRY(ir_node_set_ints(node, "lengths", count, lengths));
    return finish_all(layer, node, outputs);
}

static td_status convert_tile(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                              ir_value **outputs)
{
    ir_node *node;
    TD_TRY(ov_add_node(reader, layer, IR_OP_tile, 2, inputs, &node));
    return ov_finish(node, &outputs[0]);
}

/* The op sorts by value, which also serves where the order is left open. */
static td_status convert_top_k(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    const char *mode = ov_layer_attribute(layer, "mode", "max");
    const char *sort = ov_layer_attribute(layer, "sort", "value");
    const char *name = ov_layer_attribute(layer, "index_element_type", "i32");
    int64_t axis;
    ir_type type;
    ir_node *node;
    bool largest = strcasecmp(mode, "max") == 0;
    if ((!largest && strcasecmp(mode, "min") != 0) || strcasecmp(sort, "index") == 0 ||
        !ov_element_type(name, &type) || (type != IR_I32 && type != IR_I64))
        return ov_refuse(reader,
                         "mode \"%.20s\", sort \"%.20s\", index_element_type \"%.20s\" are not "
                         "imported together; max or min, value or none, i32 or i64 are",
                         mode, sort, name);
    TD_TRY(ov_int(reader, layer, "axis", -1, &axis));
    TD_TRY(ov_normal_axis(reader, axis, inputs[0]->shape.rank, &axis));
    TD_TRY(ir_graph_add_node(reader->graph, IR_OP_top_k, layer->name, 2, inputs, 2, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    TD_TRY(ir_node_set_int(node, "largest", largest));
    TD_TRY(ir_node_set_string(node, "type", ir_type_name(type)));
    return finish_all(layer, node, outputs);
}

static const ov_operation operations[] = {
    {"ShapeOf", convert_shape_of, IR_OP_shape_of, 1, 1, 1},
    {"Reshape", convert_reshape, IR_OP_reshape, 2, 2, 1},
    {"Unsqueeze", convert_unsqueeze, IR_OP_reshape, 2, 2, 1},
    {"Squeeze", convert_squeeze, IR_OP_reshape, 1, 2, 1},
    {"Transpose", convert_transpose, IR_OP_transpose, 2, 2, 1},
    {"Broadcast", convert_broadcast, IR_OP_broadcast, 2, 2, 1},
    {"Concat", convert_concat, IR_OP_concat, 1, OV_ANY_NUMBER, 1},
    {"Gather", convert_gather, IR_OP_gather, 3, 3, 1},
    {"Slice", convert_slice, IR_OP_slice, 4, 5, 1},
    {"StridedSlice", convert_strided_slice, IR_OP_strided_slice, 3, 4, 1},
    {"Range", convert_range, IR_OP_range, 3, 3, 1},
    {"ScatterUpdate", convert_scatter_update, IR_OP_scatter_update, 4, 4, 1},
    {"ScatterNDUpdate", convert_scatter_nd, IR_OP_scatter_nd_update, 3, 3, 1},
    {"ScatterElementsUpdate", convert_scatter_elements, IR_OP_scatter_elements_update, 4, 4, 1},
    {"Split", convert_split, IR_OP_split, 2, 2, OV_ANY_NUMBER},
    {"VariadicSplit", convert_variadic_split, IR_OP_split, 3, 3, OV_ANY_NUMBER},
    {"Tile", convert_tile, IR_OP_tile, 2, 2, 1},
    {"TopK", convert_top_k, IR_OP_top_k, 2, 2, 2},
};

const ov_operation *ov_movement_operations(size_t *count)
{
    *count = TD_COUNT_OF(operations);
    return operations;
}
