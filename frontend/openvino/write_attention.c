/* Rotary embedding, the stateful KV pattern with its causal mask, and attention, in the form in
 * which optimum-intel exports them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/write_graph.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- rotary embedding --- */

/* cos and sin of position * frequency: [batch, 1, tokens, size] with each angle twice, or with a
 * unit axis behind for interleaved pairs. */
static ov_table make_table(ov_graph *graph, const ir_node *node, bool interleaved)
{
    static const int64_t swap[] = {0, 2, 1}, first[] = {1}, pair[] = {1, 4};
    const ir_constant *frequencies = node->inputs[1]->constant;
    int64_t half = frequencies->shape.dim[0].constant;
    const int64_t column[] = {1, half, 1}, batched[] = {OV_UNKNOWN, half, 1}, one = 1;
    ov_out stored = ov_add_stored(&graph->writer, frequencies->name, frequencies, 3, column);
    ov_out ones = ov_i64s(graph, 1, &one);
    ov_out target = ov_concat(graph, 3, (ov_out[]){graph->batch, ones, ones}, 0);
    ov_out expanded = ov_broadcast(graph, stored, target, true, 3, batched);
    ov_out positions = ov_unsqueeze(graph, graph->position_ids, 1, first);
    positions = ov_convert(graph, positions, IR_F32, false);
    ov_out angles = ov_matmul(graph, expanded, positions, false, NULL);
    angles = ov_transpose(graph, angles, swap);
    if (!interleaved)
        angles = ov_concat(graph, 2, (ov_out[]){angles, angles}, -1);
    ov_table table = {.node = node, .interleaved = interleaved};
    table.cosine = ov_unary(graph, "Cos", "opset1", angles);
    table.sine = ov_unary(graph, "Sin", "opset1", angles);
    double scale = ir_node_float(node, "scale", 1.0);
    if (scale != 1.0) {
        table.cosine = ov_binary(graph, "Multiply", table.cosine, ov_f32(graph, 3, (float)scale));
        table.sine = ov_binary(graph, "Multiply", table.sine, ov_f32(graph, 3, (float)scale));
    }
    uint32_t axes = interleaved ? 2 : 1;
    table.cosine = ov_unsqueeze(graph, table.cosine, axes, interleaved ? pair : first);
    table.sine = ov_unsqueeze(graph, table.sine, axes, interleaved ? pair : first);
    return table;
}

/* The table in the form that this rope needs, written once. */
static ov_table table_of(ov_graph *graph, const ir_node *node, bool interleaved)
{
    for (size_t i = 0; i < graph->tables.count; i++)
        if (graph->tables.items[i].node == node &&
            graph->tables.items[i].interleaved == interleaved)
            return graph->tables.items[i];
    const char *prefix = graph->prefix;
    graph->prefix = node->name;
    ov_table table = make_table(graph, node, interleaved);
    graph->prefix = prefix;
    if (!td_array_push(graph->writer.context, &graph->tables, table))
        ov_writer_fail(&graph->writer, td_fail_memory(graph->writer.context));
    return table;
}

/* x * cos + concat(-x[half:], x[:half]) * sin */
static ov_out rotate_halves(ov_graph *graph, ov_out x, const ov_table *table, int64_t size)
{
    ov_out straight = ov_binary(graph, "Multiply", x, table->cosine);
    ov_out upper = ov_slice_last(graph, x, size / 2, size);
    ov_out lower = ov_slice_last(graph, x, 0, size / 2);
    ov_out negated = ov_binary(graph, "Multiply", upper, ov_f32(graph, 4, -1.0f));
    ov_out turned = ov_concat(graph, 2, (ov_out[]){negated, lower}, -1);
    turned = ov_binary(graph, "Multiply", turned, table->sine);
    return ov_binary(graph, "Add", straight, turned);
}

/* The same for pairs [.., size / 2, 2]. */
static ov_out rotate_pairs(ov_graph *graph, ov_out x, const ov_table *table, int64_t size)
{
    const int64_t heads = x.dim[1];
    const int64_t pairs[] = {0, 0, 0, size / 2, 2}, whole[] = {0, 0, 0, size};
    const int64_t pairs_shape[] = {OV_UNKNOWN, heads, OV_UNKNOWN, size / 2, 2};
    ov_out paired = ov_reshape(graph, x, 5, pairs, pairs_shape);
    ov_out first = ov_slice_last(graph, paired, 0, 1), second = ov_slice_last(graph, paired, 1, 2);
    ov_out straight = ov_binary(graph, "Multiply", first, table->cosine);
    ov_out crossed = ov_binary(graph, "Multiply", second, table->sine);
    ov_out lower = ov_binary(graph, "Subtract", straight, crossed);
    straight = ov_binary(graph, "Multiply", second, table->cosine);
    crossed = ov_binary(graph, "Multiply", first, table->sine);
    ov_out upper = ov_binary(graph, "Add", straight, crossed);
    ov_out turned = ov_concat(graph, 2, (ov_out[]){lower, upper}, -1);
    return ov_reshape(graph, turned, 4, whole, x.dim);
}

td_status ov_write_rope(ov_graph *graph, const ir_node *node, ov_activation *result)
{
    int64_t size = ir_node_int(node, "head_size", 0);
    bool interleaved = ir_node_int(node, "interleaved", 0) != 0;
    const ir_value *source = node->inputs[1];
    if (source->kind != IR_VALUE_RESULT || source->producer->op != IR_OP_rotary_table)
        return td_fail(graph->writer.context, TD_INTERNAL, "rope \"%s\" reads no rotary_table",
                       node->name);
    ov_table table = table_of(graph, source->producer, interleaved);
    ov_out x = ov_heads(graph, ov_activation_of(graph, node->inputs[0]), size);
    result->heads =
        interleaved ? rotate_pairs(graph, x, &table, size) : rotate_halves(graph, x, &table, size);
    result->has_heads = true;
    result->size = size;
    return TD_OK;
}

/* --- the cache --- */

/* What one ReadValue with its Gather gives. */
typedef struct written_cache {
    ov_out past; /* [batch, kv_heads, slots, size] */
    ov_out all;  /* with the new ones: slots + tokens */
} written_cache;

static written_cache append_state(ov_graph *graph, const ir_state *state, const char *part,
                                  ov_out added)
{
    const int64_t heads = state->kv_heads, size = state->head_size, none = 0;
    const int64_t dims[] = {OV_UNKNOWN, heads, OV_UNKNOWN, size};
    const int64_t empty[] = {OV_UNKNOWN, heads, 0, size};
    ov_writer *writer = &graph->writer;
    const char *variable = ov_format(writer, "past_key_values.%" PRIu32 ".%spresent.%" PRIu32 ".%s",
                                     state->layer, part, state->layer, part);
    ov_out shape[] = {graph->batch, ov_i64s(graph, 1, &heads), ov_i64s(graph, 1, &none),
                      ov_i64s(graph, 1, &size)};
    ov_out target = ov_concat(graph, 4, shape, 0);
    ov_out start = ov_broadcast(graph, ov_f32(graph, 0, 0.0f), target, false, 4, empty);
    ov_layer_form read = {
        .type = "ReadValue",
        .version = "opset6",
        .name = ov_format(writer, "ReadValue_%" PRIu32, writer->layers),
        .attributes = {"variable_id", variable, "variable_type", "f32", "variable_shape",
                       ov_shape_text(writer, 4, dims)},
        .input_count = 1,
        .inputs = &start,
        .has_output = true,
        .output = {.type = IR_F32, .rank = 4},
    };
    memcpy(read.output.dim, dims, sizeof dims);
    written_cache cache;
    cache.past = ov_gather(graph, ov_add_layer(writer, &read), graph->beam_idx, 0);
    cache.all = ov_concat(graph, 2, (ov_out[]){cache.past, added}, -2);
    ov_assignment assignment = {variable, cache.all};
    if (!td_array_push(writer->context, &graph->assignments, assignment))
        ov_writer_fail(writer, td_fail_memory(writer->context));
    return cache;
}

/* Every KV head for its group of query heads: Unsqueeze, Broadcast, Reshape. */
static ov_out repeat_heads(ov_graph *graph, ov_out x, int64_t repeat)
{
    static const int64_t after_heads[] = {2};
    if (repeat == 1)
        return x;
    int64_t kv_heads = x.dim[1], size = x.dim[3];
    const int64_t ones[] = {1, 1, repeat, 1, 1};
    const int64_t groups[] = {OV_UNKNOWN, kv_heads, repeat, OV_UNKNOWN, size};
    const int64_t dims[] = {0, kv_heads * repeat, -1, size};
    const int64_t result[] = {OV_UNKNOWN, kv_heads * repeat, OV_UNKNOWN, size};
    ov_out wide = ov_unsqueeze(graph, x, 1, after_heads);
    wide = ov_broadcast(graph, wide, ov_i64s(graph, 5, ones), true, 5, groups);
    return ov_reshape(graph, wide, 4, dims, result);
}

/* --- the mask --- */

/* [batch, 1, tokens, slots + tokens]: 0 where the key is not after the query, inside the window and
 * not hidden by attention_mask, else the lowest float. */
static ov_out make_mask(ov_graph *graph, ov_out past, int64_t window)
{
    static const int64_t to_row[] = {0, 1, 2}, to_column[] = {0, 1, 3}, to_batch[] = {1, 2};
    ov_out slots = ov_dimension(graph, past, 2);
    ov_out tokens = ov_dimension(graph, graph->input_ids, 1);
    ov_out total = ov_binary(graph, "Add", slots, tokens);
    ov_out keys = ov_range(graph, ov_i64(graph, 0), total);
    ov_out queries = ov_range(graph, slots, total);
    keys = ov_unsqueeze(graph, keys, 3, to_row);
    queries = ov_unsqueeze(graph, queries, 3, to_column);
    ov_out seen = ov_compare(graph, "LessEqual", keys, queries);
    if (window > 0) {
        ov_out oldest = ov_binary(graph, "Subtract", queries, ov_i64(graph, window));
        seen = ov_binary(graph, "BitwiseAnd", seen, ov_compare(graph, "Greater", keys, oldest));
    }
    ov_out given = ov_convert(graph, graph->attention_mask, IR_BOOL, false);
    given = ov_unsqueeze(graph, given, 2, to_batch);
    seen = ov_binary(graph, "BitwiseAnd", seen, given);
    ov_out inputs[] = {seen, ov_f32(graph, 0, 0.0f), ov_f32(graph, 0, -FLT_MAX)};
    ov_layer_form select = {
        .type = "Select",
        .version = "opset1",
        .name = ov_format(&graph->writer, "mask/Select_%" PRIu32, graph->writer.layers),
        .attributes = {"auto_broadcast", "numpy"},
        .input_count = 3,
        .inputs = inputs,
        .has_output = true,
        .output = seen,
    };
    select.output.type = IR_F32;
    return ov_add_layer(&graph->writer, &select);
}

static ov_out mask_of(ov_graph *graph, ov_out past, int64_t window)
{
    for (size_t i = 0; i < graph->masks.count; i++)
        if (graph->masks.items[i].window == window)
            return graph->masks.items[i].mask;
    ov_mask entry = {window, make_mask(graph, past, window)};
    if (!td_array_push(graph->writer.context, &graph->masks, entry))
        ov_writer_fail(&graph->writer, td_fail_memory(graph->writer.context));
    return entry.mask;
}

/* --- attention --- */

static ov_out add_attention(ov_graph *graph, ov_out inputs[5], double scale, int64_t size)
{
    float usual = (float)(1.0 / sqrt((double)size));
    bool scaled = (float)scale != usual;
    if (scaled)
        inputs[4] = ov_f32(graph, 0, (float)scale);
    ov_layer_form form = {
        .type = "ScaledDotProductAttention",
        .version = "opset13",
        .name = ov_format(&graph->writer, "%.200s/ScaledDotProductAttention", graph->prefix),
        .attributes = {"causal", "false"},
        .input_count = scaled ? 5 : 4,
        .inputs = inputs,
        .has_output = true,
        .output = inputs[0],
    };
    return ov_add_layer(&graph->writer, &form);
}

td_status ov_write_attention(ov_graph *graph, const ir_node *node, ov_activation *result)
{
    const ir_state *state =
        ir_module_find_state(graph->graph->module, ir_node_string(node, "state", ""));
    if (state == NULL)
        return td_fail(graph->writer.context, TD_INTERNAL, "\"%s\" names no cache", node->name);
    if (ir_node_float(node, "softcap", 0.0) != 0.0)
        return td_fail(graph->writer.context, TD_UNSUPPORTED,
                       "layer \"%s\": OpenVINO's attention has no softcap", node->name);
    int64_t size = state->head_size, heads = ir_node_int(node, "heads", 1);
    ov_out inputs[5];
    inputs[0] = ov_heads(graph, ov_activation_of(graph, node->inputs[0]), size);
    ov_out keys = ov_heads(graph, ov_activation_of(graph, node->inputs[1]), size);
    ov_out values = ov_heads(graph, ov_activation_of(graph, node->inputs[2]), size);
    written_cache key_cache = append_state(graph, state, "key", keys);
    written_cache value_cache = append_state(graph, state, "value", values);
    inputs[1] = repeat_heads(graph, key_cache.all, heads / state->kv_heads);
    inputs[2] = repeat_heads(graph, value_cache.all, heads / state->kv_heads);
    inputs[3] = mask_of(graph, key_cache.past, ir_node_int(node, "window", 0));
    result->heads = add_attention(graph, inputs, ir_node_float(node, "scale", 1.0), size);
    result->has_heads = true;
    result->size = size;
    return TD_OK;
}
