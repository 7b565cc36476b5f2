/* Helpers that add one OpenVINO layer each, and the forms of an activation.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/write_graph.h"

#include <inttypes.h>
#include <string.h>

static const char *name_of(ov_graph *graph, const char *type)
{
    return ov_format(&graph->writer, "%.200s/%s_%" PRIu32, graph->prefix, type,
                     graph->writer.layers);
}

static ov_out add(ov_graph *graph, ov_layer_form form)
{
    form.name = name_of(graph, form.type);
    form.has_output = true;
    return ov_add_layer(&graph->writer, &form);
}

/* --- constants --- */

ov_out ov_i64s(ov_graph *graph, uint32_t count, const int64_t *values)
{
    int64_t dims[1] = {count};
    return ov_add_const(&graph->writer, name_of(graph, "Constant"), IR_I64, 1, dims, values,
                        count * sizeof *values);
}

ov_out ov_i64(ov_graph *graph, int64_t value)
{
    return ov_add_const(&graph->writer, name_of(graph, "Constant"), IR_I64, 0, NULL, &value,
                        sizeof value);
}

ov_out ov_f32(ov_graph *graph, uint32_t rank, float value)
{
    static const int64_t ones[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1};
    return ov_add_const(&graph->writer, name_of(graph, "Constant"), IR_F32, rank, ones, &value,
                        sizeof value);
}

/* --- arithmetic --- */

ov_out ov_unary(ov_graph *graph, const char *type, const char *version, ov_out x)
{
    return add(graph,
               (ov_layer_form){
                   .type = type, .version = version, .input_count = 1, .inputs = &x, .output = x});
}

/* The numpy broadcast of two shapes. An unknown dimension meets a known one above 1 as that. */
static ov_out broadcast_shape(const ov_out *a, const ov_out *b)
{
    ov_out result = a->rank >= b->rank ? *a : *b;
    const ov_out *shorter = a->rank >= b->rank ? b : a;
    result.type = a->type;
    for (uint32_t i = 0; i < shorter->rank; i++) {
        int64_t *dim = &result.dim[result.rank - shorter->rank + i];
        if (*dim == 1 || (*dim == OV_UNKNOWN && shorter->dim[i] > 1))
            *dim = shorter->dim[i];
    }
    return result;
}

static ov_out add_binary(ov_graph *graph, const char *type, const char *version, ov_out a, ov_out b,
                         ir_type result)
{
    ov_out output = broadcast_shape(&a, &b);
    output.type = result;
    return add(graph, (ov_layer_form){.type = type,
                                      .version = version,
                                      .attributes = {"auto_broadcast", "numpy"},
                                      .input_count = 2,
                                      .inputs = (ov_out[]){a, b},
                                      .output = output});
}

ov_out ov_binary(ov_graph *graph, const char *type, ov_out a, ov_out b)
{
    if (strcmp(type, "Divide") == 0)
        return add(graph,
                   (ov_layer_form){.type = type,
                                   .version = "opset1",
                                   .attributes = {"auto_broadcast", "numpy", "m_pythondiv", "true"},
                                   .input_count = 2,
                                   .inputs = (ov_out[]){a, b},
                                   .output = broadcast_shape(&a, &b)});
    const char *version = strcmp(type, "BitwiseAnd") == 0 ? "opset13" : "opset1";
    return add_binary(graph, type, version, a, b, a.type);
}

ov_out ov_compare(ov_graph *graph, const char *type, ov_out a, ov_out b)
{
    return add_binary(graph, type, "opset1", a, b, IR_BOOL);
}

ov_out ov_convert(ov_graph *graph, ov_out x, ir_type type, bool decompression)
{
    ov_out output = x;
    output.type = type;
    return add(graph,
               (ov_layer_form){.type = "Convert",
                               .version = "opset1",
                               .attributes = {"destination_type",
                                              type == IR_BOOL ? "boolean" : ir_type_name(type)},
                               .decompression = decompression,
                               .input_count = 1,
                               .inputs = &x,
                               .output = output});
}

ov_out ov_matmul(ov_graph *graph, ov_out a, ov_out b, bool transpose_b, const char *tensor_name)
{
    ov_out output = a;
    output.dim[a.rank - 1] = b.dim[transpose_b ? b.rank - 2 : b.rank - 1];
    return add(graph, (ov_layer_form){.type = "MatMul",
                                      .version = "opset1",
                                      .attributes = {"transpose_a", "false", "transpose_b",
                                                     transpose_b ? "true" : "false"},
                                      .input_count = 2,
                                      .inputs = (ov_out[]){a, b},
                                      .output = output,
                                      .tensor_name = tensor_name});
}

/* --- movement --- */

ov_out ov_gather(ov_graph *graph, ov_out x, ov_out indices, int64_t axis)
{
    ov_out axis_value = ov_i64(graph, axis), output = {.type = x.type};
    output.rank = x.rank - 1 + indices.rank;
    for (uint32_t i = 0; i < output.rank; i++) {
        if (i < (uint32_t)axis)
            output.dim[i] = x.dim[i];
        else if (i < (uint32_t)axis + indices.rank)
            output.dim[i] = indices.dim[i - (uint32_t)axis];
        else
            output.dim[i] = x.dim[i + 1 - indices.rank];
    }
    return add(graph, (ov_layer_form){.type = "Gather",
                                      .version = "opset8",
                                      .attributes = {"batch_dims", "0"},
                                      .input_count = 3,
                                      .inputs = (ov_out[]){x, indices, axis_value},
                                      .output = output});
}

ov_out ov_concat(ov_graph *graph, uint32_t count, const ov_out *parts, int64_t axis)
{
    ov_out output = parts[0];
    uint32_t place = (uint32_t)(axis < 0 ? axis + parts[0].rank : axis);
    for (uint32_t i = 1; i < count; i++) {
        bool unknown = output.dim[place] == OV_UNKNOWN || parts[i].dim[place] == OV_UNKNOWN;
        output.dim[place] = unknown ? OV_UNKNOWN : output.dim[place] + parts[i].dim[place];
    }
    return add(graph,
               (ov_layer_form){.type = "Concat",
                               .version = "opset1",
                               .attributes = {"axis", ov_format(&graph->writer, "%" PRId64, axis)},
                               .input_count = count,
                               .inputs = parts,
                               .output = output});
}

ov_out ov_transpose(ov_graph *graph, ov_out x, const int64_t *perm)
{
    ov_out order = ov_i64s(graph, x.rank, perm), output = x;
    for (uint32_t i = 0; i < x.rank; i++)
        output.dim[i] = x.dim[perm[i]];
    return add(graph, (ov_layer_form){.type = "Transpose",
                                      .version = "opset1",
                                      .input_count = 2,
                                      .inputs = (ov_out[]){x, order},
                                      .output = output});
}

ov_out ov_unsqueeze(ov_graph *graph, ov_out x, uint32_t count, const int64_t *axes)
{
    ov_out places = ov_i64s(graph, count, axes), output = {.type = x.type, .rank = x.rank + count};
    uint32_t next = 0, from = 0;
    for (uint32_t i = 0; i < output.rank; i++) {
        bool inserted = next < count && axes[next] == (int64_t)i;
        output.dim[i] = inserted ? 1 : x.dim[from];
        next += inserted;
        from += !inserted;
    }
    return add(graph, (ov_layer_form){.type = "Unsqueeze",
                                      .version = "opset1",
                                      .input_count = 2,
                                      .inputs = (ov_out[]){x, places},
                                      .output = output});
}

ov_out ov_reshape(ov_graph *graph, ov_out x, uint32_t rank, const int64_t *dims,
                  const int64_t *result)
{
    ov_out target = ov_i64s(graph, rank, dims), output = {.type = x.type, .rank = rank};
    memcpy(output.dim, result, rank * sizeof *result);
    return add(graph, (ov_layer_form){.type = "Reshape",
                                      .version = "opset1",
                                      .attributes = {"special_zero", "true"},
                                      .input_count = 2,
                                      .inputs = (ov_out[]){x, target},
                                      .output = output});
}

ov_out ov_slice_last(ov_graph *graph, ov_out x, int64_t begin, int64_t end)
{
    ov_out inputs[5] = {x};
    const int64_t axis = (int64_t)x.rank - 1, step = 1;
    inputs[1] = ov_i64s(graph, 1, &begin);
    inputs[2] = ov_i64s(graph, 1, &end);
    inputs[3] = ov_i64s(graph, 1, &step);
    inputs[4] = ov_i64s(graph, 1, &axis);
    ov_out output = x;
    output.dim[axis] = end - begin;
    return add(graph, (ov_layer_form){.type = "Slice",
                                      .version = "opset8",
                                      .input_count = 5,
                                      .inputs = inputs,
                                      .output = output});
}

ov_out ov_broadcast(ov_graph *graph, ov_out x, ov_out target, bool bidirectional, uint32_t rank,
                    const int64_t *result)
{
    ov_out output = {.type = x.type, .rank = rank};
    memcpy(output.dim, result, rank * sizeof *result);
    return add(graph,
               (ov_layer_form){.type = "Broadcast",
                               .version = "opset3",
                               .attributes = {"mode", bidirectional ? "bidirectional" : "numpy"},
                               .input_count = 2,
                               .inputs = (ov_out[]){x, target},
                               .output = output});
}

ov_out ov_range(ov_graph *graph, ov_out start, ov_out stop)
{
    ov_out step = ov_i64(graph, 1);
    return add(graph, (ov_layer_form){.type = "Range",
                                      .version = "opset4",
                                      .attributes = {"output_type", "i64"},
                                      .input_count = 3,
                                      .inputs = (ov_out[]){start, stop, step},
                                      .output = {.type = IR_I64, .rank = 1, .dim = {OV_UNKNOWN}}});
}

ov_out ov_shape_of(ov_graph *graph, ov_out x)
{
    return add(graph, (ov_layer_form){.type = "ShapeOf",
                                      .version = "opset3",
                                      .attributes = {"output_type", "i64"},
                                      .input_count = 1,
                                      .inputs = &x,
                                      .output = {.type = IR_I64, .rank = 1, .dim = {x.rank}}});
}

ov_out ov_dimension(ov_graph *graph, ov_out x, int64_t axis)
{
    ov_out shape = ov_shape_of(graph, x), index = ov_i64(graph, axis);
    return ov_gather(graph, shape, index, 0);
}

/* --- forms of an activation --- */

ov_out ov_rows(ov_graph *graph, ov_activation *activation)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    if (activation->has_rows)
        return activation->rows;
    if (!activation->has_split) {
        activation->split = ov_transpose(graph, activation->heads, swap);
        activation->has_split = true;
    }
    int64_t dims[] = {0, 0, activation->features};
    int64_t result[] = {OV_UNKNOWN, OV_UNKNOWN, activation->features};
    activation->rows = ov_reshape(graph, activation->split, 3, dims, result);
    activation->has_rows = true;
    return activation->rows;
}

ov_out ov_split(ov_graph *graph, ov_activation *activation, int64_t size)
{
    if (activation->has_split && activation->size == size)
        return activation->split;
    int64_t heads = activation->features / size;
    int64_t dims[] = {0, 0, heads, size}, result[] = {OV_UNKNOWN, OV_UNKNOWN, heads, size};
    ov_out rows = ov_rows(graph, activation);
    activation->split = ov_reshape(graph, rows, 4, dims, result);
    activation->size = size;
    activation->has_split = true;
    activation->has_heads = false;
    return activation->split;
}

ov_out ov_heads(ov_graph *graph, ov_activation *activation, int64_t size)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    if (activation->has_heads && activation->size == size)
        return activation->heads;
    ov_out split = ov_split(graph, activation, size);
    activation->heads = ov_transpose(graph, split, swap);
    activation->has_heads = true;
    return activation->heads;
}

ov_activation *ov_activation_of(ov_graph *graph, const ir_value *value)
{
    return &graph->activations[value->id];
}
