/* Weights as OpenVINO writes them: a Const of the stored numbers and the layers that turn it into
 * f32.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/write_graph.h"

#include <string.h>

/* The stored numbers with `dims`, converted to `type`. */
static ov_out stored_as(ov_graph *graph, const ir_constant *constant, const char *name,
                        uint32_t rank, const int64_t *dims, ir_type type)
{
    ov_out stored = ov_add_stored(&graph->writer, name, constant, rank, dims);
    return constant->type == type ? stored : ov_convert(graph, stored, type, false);
}

/* (stored - zero_point) * scale, per row [N, K] with [N, 1], or per group [N, K/G, G] with
 * [N, K/G, 1], which is reshaped to [N, K]. Arithmetic is f16 when the scale is, as usual. */
static ov_out decompress(ov_graph *graph, const ir_constant *constant)
{
    const char *name = constant->name;
    int64_t rows = constant->shape.dim[0].constant, columns = constant->shape.dim[1].constant;
    int64_t group = constant->group;
    bool grouped = group != columns;
    uint32_t rank = grouped ? 3 : 2;
    int64_t dims[] = {rows, grouped ? columns / group : columns, group};
    int64_t scale_dims[] = {rows, grouped ? columns / group : 1, 1};
    ir_type type = constant->scale->type == IR_F16 ? IR_F16 : IR_F32;
    ov_out value = stored_as(graph, constant, name, rank, dims, type);
    if (constant->zero_point != NULL) {
        const char *part = ov_format(&graph->writer, "%.200s/zero_point", name);
        ov_out zero = stored_as(graph, constant->zero_point, part, rank, scale_dims, type);
        value = ov_binary(graph, "Subtract", value, zero);
    }
    const char *part = ov_format(&graph->writer, "%.200s/scale", name);
    ov_out scale = stored_as(graph, constant->scale, part, rank, scale_dims, type);
    value = ov_binary(graph, "Multiply", value, scale);
    if (grouped)
        value = ov_reshape(graph, value, 2, (int64_t[]){rows, columns}, (int64_t[]){rows, columns});
    return type == IR_F32 ? value : ov_convert(graph, value, IR_F32, true);
}

static ov_out plain(ov_graph *graph, const ir_constant *constant, uint32_t rank)
{
    int64_t dims[IR_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = 1;
    for (uint32_t i = 0; i < constant->shape.rank; i++)
        dims[rank - constant->shape.rank + i] = constant->shape.dim[i].constant;
    ov_out stored = ov_add_stored(&graph->writer, constant->name, constant, rank, dims);
    return constant->type == IR_F32 ? stored : ov_convert(graph, stored, IR_F32, true);
}

ov_out ov_weight_of(ov_graph *graph, const ir_constant *constant)
{
    for (size_t i = 0; i < graph->weights.count; i++)
        if (graph->weights.items[i].constant == constant)
            return graph->weights.items[i].value;
    ov_weight entry = {.constant = constant};
    entry.value = constant->scale != NULL ? decompress(graph, constant)
                                          : plain(graph, constant, constant->shape.rank);
    if (!td_array_push(graph->writer.context, &graph->weights, entry))
        ov_writer_fail(&graph->writer, td_fail_memory(graph->writer.context));
    return entry.value;
}

ov_out ov_vector_of(ov_graph *graph, const ir_constant *constant, uint32_t rank)
{
    return plain(graph, constant, rank);
}
