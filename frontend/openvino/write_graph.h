/* What the parts of the OpenVINO writer share: the graph being written, and small helpers that add
 * one layer each.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_WRITE_GRAPH_H
#define TANDEM_FRONTEND_OPENVINO_WRITE_GRAPH_H

#include "frontend/openvino/write_document.h"

/* A raised value [tokens, heads * size] as it stands in the document, in up to three forms; those
 * that are missing are made when asked for. */
typedef struct ov_activation {
    ov_out rows;  /* [batch, tokens, features] */
    ov_out split; /* [batch, tokens, heads, size] */
    ov_out heads; /* [batch, heads, tokens, size] */
    bool has_rows, has_split, has_heads;
    int64_t features, size; /* size of a head in split and heads */
} ov_activation;

typedef struct ov_table {
    ov_out cosine, sine; /* [batch, 1, tokens, size], or [batch, 1, tokens, size / 2, 1] */
    const ir_node *node;
    bool interleaved;
} ov_table;

typedef struct ov_mask {
    int64_t window;
    ov_out mask;
} ov_mask;

typedef struct ov_weight {
    const ir_constant *constant;
    ov_out value;
} ov_weight;

typedef struct ov_assignment {
    const char *variable;
    ov_out value;
} ov_assignment;

typedef struct ov_graph {
    ov_writer writer;
    const ir_graph *graph;
    ov_out input_ids, attention_mask, position_ids, beam_idx;
    ov_out batch;               /* i64[1] */
    ov_activation *activations; /* by value id of the raised graph */
    TD_ARRAY(ov_table) tables;
    TD_ARRAY(ov_mask) masks;
    TD_ARRAY(ov_weight) weights;
    TD_ARRAY(ov_assignment) assignments;
    const char *prefix; /* the raised node being written, for names */
} ov_graph;

/* --- one layer each (write_layers.c); shapes follow from the operands --- */

ov_out ov_i64s(ov_graph *graph, uint32_t count, const int64_t *values); /* i64[count] */
ov_out ov_i64(ov_graph *graph, int64_t value);                          /* i64 scalar */
ov_out ov_f32(ov_graph *graph, uint32_t rank, float value); /* f32 with `rank` unit axes */

ov_out ov_unary(ov_graph *graph, const char *type, const char *version, ov_out x);
ov_out ov_binary(ov_graph *graph, const char *type, ov_out a, ov_out b);
ov_out ov_compare(ov_graph *graph, const char *type, ov_out a, ov_out b);
ov_out ov_convert(ov_graph *graph, ov_out x, ir_type type, bool decompression);
ov_out ov_gather(ov_graph *graph, ov_out x, ov_out indices, int64_t axis);
ov_out ov_concat(ov_graph *graph, uint32_t count, const ov_out *parts, int64_t axis);
ov_out ov_transpose(ov_graph *graph, ov_out x, const int64_t *perm);
ov_out ov_unsqueeze(ov_graph *graph, ov_out x, uint32_t count, const int64_t *axes);
/* `dims` is what the target means; 0 copies an axis, -1 is the rest. */
ov_out ov_reshape(ov_graph *graph, ov_out x, uint32_t rank, const int64_t *dims,
                  const int64_t *result);
/* [begin, end) of the last axis */
ov_out ov_slice_last(ov_graph *graph, ov_out x, int64_t begin, int64_t end);
ov_out ov_broadcast(ov_graph *graph, ov_out x, ov_out target, bool bidirectional, uint32_t rank,
                    const int64_t *result);
ov_out ov_range(ov_graph *graph, ov_out start, ov_out stop);
ov_out ov_shape_of(ov_graph *graph, ov_out x);
/* Dimension `axis` of x as i64 scalar. */
ov_out ov_dimension(ov_graph *graph, ov_out x, int64_t axis);
ov_out ov_matmul(ov_graph *graph, ov_out a, ov_out b, bool transpose_b, const char *tensor_name);

/* --- forms of an activation (write_layers.c) --- */

ov_out ov_rows(ov_graph *graph, ov_activation *activation);
ov_out ov_split(ov_graph *graph, ov_activation *activation, int64_t size);
ov_out ov_heads(ov_graph *graph, ov_activation *activation, int64_t size);

/* --- parts of the model --- */

/* A constant as f32, decompressed where it is stored otherwise (write_weights.c). */
ov_out ov_weight_of(ov_graph *graph, const ir_constant *constant);
/* A vector constant as f32 with `rank` axes, the last one its own. */
ov_out ov_vector_of(ov_graph *graph, const ir_constant *constant, uint32_t rank);

/* Write one raised node (write_attention.c; write.c has the others); TD_UNSUPPORTED for what has no
 * counterpart. */
td_status ov_write_attention(ov_graph *graph, const ir_node *node, ov_activation *result);
td_status ov_write_rope(ov_graph *graph, const ir_node *node, ov_activation *result);

ov_activation *ov_activation_of(ov_graph *graph, const ir_value *value);

#endif
