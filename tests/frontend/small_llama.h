/* A small raised Llama-type decoder with random weights, made with the IR's builders. For tests of
 * everything that reads or writes raised models.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FRONTEND_SMALL_LLAMA_H
#define TANDEM_TESTS_FRONTEND_SMALL_LLAMA_H

#include "base/hash.h"
#include "frontend/frontend.h"
#include "ir/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SMALL_VOCABULARY = 40,
    SMALL_WIDTH = 64,
    SMALL_HIDDEN = 96,
    SMALL_HEADS = 4,
    SMALL_KV_HEADS = 2,
    SMALL_HEAD_SIZE = 16,
    SMALL_GROUP = 32,
    SMALL_CONTEXT = 128,
};

/* How the matrices are stored. */
typedef enum small_weights {
    SMALL_F32,
    SMALL_F16,
    SMALL_I8_GROUPS, /* i8, f16 scale per 32 */
    SMALL_U8_ROWS,   /* u8 with zero point and f16 scale per row */
    SMALL_U4_GROUPS, /* u4 with zero point and f16 scale per 32 */
    SMALL_I4_GROUPS, /* i4, f16 scale per 32 */
} small_weights;

typedef struct small_llama {
    small_weights weights;
    uint32_t layers; /* 0: 2 */
    bool tied, biases, head_norms, interleaved;
    int64_t window;    /* 0: none */
    double scale;      /* of attention; 0: 1 / sqrt(size) */
    double rope_scale; /* of cosines and sines; 0: 1 */
} small_llama;

typedef struct small_builder {
    const small_llama *shape;
    ir_module *module;
    ir_graph *graph;
    uint64_t random;
    ir_value *ids, *positions, *ancestors, *rows, *table;
    td_status status; /* the first failure; everything after it does nothing */
} small_builder;

static inline float small_random(small_builder *b)
{
    return (float)(td_random_next(&b->random) >> 40) * 0x1p-23f - 1.0f;
}

static inline ir_value *small_value(small_builder *b, ir_constant *constant)
{
    ir_value *value = NULL;
    if (b->status == TD_OK)
        b->status = ir_graph_add_constant(b->graph, constant, &value);
    return value;
}

static inline ir_constant *small_bytes(small_builder *b, const char *name, ir_type type,
                                       uint32_t rank, const int64_t *dims, const void *bytes)
{
    ir_constant *constant = NULL;
    ir_shape shape = ir_shape_of(rank, dims);
    if (b->status == TD_OK)
        b->status = ir_module_add_constant_bytes(b->module, name, type, &shape, bytes, &constant);
    return constant;
}

/* Around `middle`, for norms and biases. */
static inline ir_value *small_vector(small_builder *b, const char *name, int64_t size, float middle)
{
    float numbers[SMALL_HIDDEN];
    for (int64_t i = 0; i < size; i++)
        numbers[i] = middle + 0.2f * small_random(b);
    ir_constant *constant = small_bytes(b, name, IR_F32, 1, &size, numbers);
    return b->status == TD_OK ? small_value(b, constant) : NULL;
}

static inline ir_constant *small_plain_matrix(small_builder *b, const char *name, int64_t rows,
                                              int64_t columns)
{
    size_t count = (size_t)(rows * columns);
    float *numbers = malloc(count * sizeof *numbers);
    uint16_t *halves = malloc(count * sizeof *halves);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = small_random(b) / 4.0f;
        halves[i] = ir_f32_to_f16(numbers[i]);
    }
    bool half = b->shape->weights == SMALL_F16;
    ir_constant *constant =
        small_bytes(b, name, half ? IR_F16 : IR_F32, 2, (int64_t[]){rows, columns},
                    half ? (void *)halves : (void *)numbers);
    free(numbers);
    free(halves);
    return constant;
}

static inline ir_constant *small_quantised_matrix(small_builder *b, const char *name, int64_t rows,
                                                  int64_t columns)
{
    static const struct {
        ir_type type;
        bool grouped, zero_point;
    } forms[] = {[SMALL_I8_GROUPS] = {IR_I8, true, false},
                 [SMALL_U8_ROWS] = {IR_U8, false, true},
                 [SMALL_U4_GROUPS] = {IR_U4, true, true},
                 [SMALL_I4_GROUPS] = {IR_I4, true, false}};
    ir_type type = forms[b->shape->weights].type;
    int64_t group = forms[b->shape->weights].grouped ? SMALL_GROUP : columns;
    int64_t dims[] = {rows, columns}, groups[] = {rows, columns / group};
    size_t count = (size_t)(rows * columns), group_count = (size_t)(rows * columns / group);
    bool four = ir_type_bits(type) == 4;
    uint8_t *stored = malloc(count), *zero_points = malloc(group_count);
    uint16_t *scales = malloc(group_count * sizeof *scales);
    for (size_t i = 0; i < count; i++)
        stored[i] = (uint8_t)td_random_next(&b->random);
    for (size_t i = 0; i < group_count; i++) {
        scales[i] = ir_f32_to_f16((four ? 0.03f : 0.002f) * (1.2f + small_random(b)));
        zero_points[i] = four ? (uint8_t)(0x77 + (td_random_next(&b->random) & 0x11))
                              : (uint8_t)(120 + (td_random_next(&b->random) & 15));
    }
    char part[96];
    snprintf(part, sizeof part, "%s/scale", name);
    ir_constant *scale = small_bytes(b, part, IR_F16, 2, groups, scales), *zero_point = NULL;
    snprintf(part, sizeof part, "%s/zero_point", name);
    if (forms[b->shape->weights].zero_point)
        zero_point = small_bytes(b, part, type, 2, groups, zero_points);
    ir_constant *constant = small_bytes(b, name, type, 2, dims, stored);
    if (b->status == TD_OK) {
        constant->scale = scale;
        constant->zero_point = zero_point;
        constant->group = (uint32_t)group;
    }
    free(stored);
    free(zero_points);
    free(scales);
    return constant;
}

static inline ir_constant *small_matrix(small_builder *b, const char *name, int64_t rows,
                                        int64_t columns)
{
    bool plain = b->shape->weights == SMALL_F32 || b->shape->weights == SMALL_F16;
    return plain ? small_plain_matrix(b, name, rows, columns)
                 : small_quantised_matrix(b, name, rows, columns);
}

static inline ir_node *small_begin(small_builder *b, ir_opcode op, const char *name, size_t count,
                                   ir_value *const *inputs)
{
    ir_node *node = NULL;
    if (b->status == TD_OK)
        b->status = ir_graph_add_node(b->graph, op, name, count, inputs, 1, &node);
    return node;
}

static inline ir_value *small_finish(small_builder *b, ir_node *node)
{
    if (b->status == TD_OK)
        b->status = ir_node_infer(node);
    return b->status == TD_OK ? node->outputs[0] : NULL;
}

static inline ir_value *small_binary(small_builder *b, ir_opcode op, const char *name, ir_value *x,
                                     ir_value *y)
{
    return small_finish(b, small_begin(b, op, name, 2, (ir_value *[]){x, y}));
}

static inline ir_value *small_norm(small_builder *b, const char *name, ir_value *x, int64_t size)
{
    ir_value *weight = small_vector(b, name, size, 1.0f);
    ir_node *node = small_begin(b, IR_OP_rms_norm, name, 2, (ir_value *[]){x, weight});
    if (b->status == TD_OK)
        b->status = ir_node_set_float(node, "epsilon", 1e-5);
    return small_finish(b, node);
}

static inline ir_value *small_linear(small_builder *b, const char *name, ir_value *x, int64_t rows,
                                     int64_t columns, bool bias)
{
    ir_constant *matrix = small_matrix(b, name, rows, columns);
    ir_value *inputs[3] = {x, b->status == TD_OK ? small_value(b, matrix) : NULL, NULL};
    if (bias)
        inputs[2] = small_vector(b, name, rows, 0.0f);
    return small_finish(b, small_begin(b, IR_OP_linear, name, bias ? 3 : 2, inputs));
}

static inline ir_value *small_rope(small_builder *b, const char *name, ir_value *x)
{
    ir_node *node = small_begin(b, IR_OP_rope, name, 2, (ir_value *[]){x, b->table});
    if (b->status == TD_OK)
        b->status = ir_node_set_int(node, "head_size", SMALL_HEAD_SIZE);
    if (b->status == TD_OK)
        b->status = ir_node_set_int(node, "interleaved", b->shape->interleaved);
    return small_finish(b, node);
}

static inline ir_value *small_attention(small_builder *b, uint32_t layer, ir_value *q, ir_value *k,
                                        ir_value *v)
{
    char name[32];
    snprintf(name, sizeof name, "layers.%u", layer);
    const char *kept = td_arena_string(&b->module->arena, name);
    ir_state cache = {.name = kept,
                      .kind = IR_STATE_CACHE,
                      .type = IR_F32,
                      .layer = layer,
                      .kv_heads = SMALL_KV_HEADS,
                      .head_size = SMALL_HEAD_SIZE};
    ir_state *state;
    double scale = b->shape->scale != 0.0 ? b->shape->scale : 1.0 / sqrt(SMALL_HEAD_SIZE);
    if (b->status == TD_OK)
        b->status = ir_module_add_state(b->module, &cache, &state);
    ir_node *node =
        small_begin(b, IR_OP_cached_attention, kept, 4, (ir_value *[]){q, k, v, b->ancestors});
    if (b->status != TD_OK)
        return NULL;
    ir_node_set_string(node, "state", kept);
    ir_node_set_int(node, "heads", SMALL_HEADS);
    ir_node_set_int(node, "kv_heads", SMALL_KV_HEADS);
    ir_node_set_int(node, "head_size", SMALL_HEAD_SIZE);
    ir_node_set_float(node, "scale", scale);
    if (b->shape->window > 0)
        ir_node_set_int(node, "window", b->shape->window);
    return small_finish(b, node);
}

static inline ir_value *small_layer(small_builder *b, uint32_t layer, ir_value *x)
{
    const int64_t width = SMALL_WIDTH, hidden = SMALL_HIDDEN, kv = SMALL_KV_HEADS * SMALL_HEAD_SIZE;
    ir_value *normal = small_norm(b, "attention_norm", x, width);
    ir_value *q = small_linear(b, "q_proj", normal, width, width, b->shape->biases);
    ir_value *k = small_linear(b, "k_proj", normal, kv, width, b->shape->biases);
    ir_value *v = small_linear(b, "v_proj", normal, kv, width, b->shape->biases);
    if (b->shape->head_norms) {
        q = small_norm(b, "q_norm", q, SMALL_HEAD_SIZE);
        k = small_norm(b, "k_norm", k, SMALL_HEAD_SIZE);
    }
    q = small_rope(b, "q_rope", q);
    k = small_rope(b, "k_rope", k);
    ir_value *attended = small_attention(b, layer, q, k, v);
    ir_value *output = small_linear(b, "o_proj", attended, width, width, false);
    x = small_binary(b, IR_OP_add, "attention_residual", x, output);
    normal = small_norm(b, "mlp_norm", x, width);
    ir_value *gate = small_linear(b, "gate_proj", normal, hidden, width, false);
    ir_value *up = small_linear(b, "up_proj", normal, hidden, width, false);
    ir_value *gated = small_binary(b, IR_OP_gated_silu, "gated", gate, up);
    output = small_linear(b, "down_proj", gated, width, hidden, false);
    return small_binary(b, IR_OP_add, "mlp_residual", x, output);
}

static inline ir_value *small_input(small_builder *b, const char *name, ir_type type,
                                    const ir_shape *shape)
{
    ir_value *value = NULL;
    if (b->status == TD_OK)
        b->status = ir_graph_add_input(b->graph, name, type, shape, &value);
    return value;
}

static inline ir_dim small_symbol(small_builder *b, const char *name, int64_t bound)
{
    ir_symbol symbol = 0;
    if (b->status == TD_OK)
        b->status = ir_module_add_symbol(b->module, name, bound, &symbol);
    return ir_dim_symbol(symbol);
}

static inline void small_table(small_builder *b)
{
    float frequencies[SMALL_HEAD_SIZE / 2];
    int64_t half = SMALL_HEAD_SIZE / 2;
    for (int i = 0; i < SMALL_HEAD_SIZE / 2; i++)
        frequencies[i] = (float)pow(10000.0, -2.0 * i / SMALL_HEAD_SIZE);
    ir_constant *constant = small_bytes(b, "rope.frequencies", IR_F32, 1, &half, frequencies);
    ir_value *inputs[2] = {b->positions, b->status == TD_OK ? small_value(b, constant) : NULL};
    ir_node *node = small_begin(b, IR_OP_rotary_table, "rope", 2, inputs);
    if (b->status == TD_OK && b->shape->rope_scale != 0.0)
        b->status = ir_node_set_float(node, "scale", b->shape->rope_scale);
    b->table = small_finish(b, node);
}

static inline void small_forward(small_builder *b)
{
    ir_constant *table = small_matrix(b, "embed_tokens", SMALL_VOCABULARY, SMALL_WIDTH);
    ir_value *inputs[2] = {b->status == TD_OK ? small_value(b, table) : NULL, b->ids};
    ir_value *x = small_finish(b, small_begin(b, IR_OP_embed, "embed_tokens", 2, inputs));
    small_table(b);
    for (uint32_t layer = 0; layer < (b->shape->layers != 0 ? b->shape->layers : 2); layer++)
        x = small_layer(b, layer, x);
    x = small_binary(b, IR_OP_select_rows, "select_rows", x, b->rows);
    x = small_norm(b, "norm", x, SMALL_WIDTH);
    if (b->shape->tied)
        x = small_binary(b, IR_OP_linear, "lm_head", x, inputs[0]);
    else
        x = small_linear(b, "lm_head", x, SMALL_VOCABULARY, SMALL_WIDTH, false);
    if (b->status == TD_OK)
        b->status = ir_graph_add_output(b->graph, "logits", x);
}

static inline void small_commit(small_builder *b, const ir_dim *accepted)
{
    ir_shape shape = {.rank = 1, .dim = {*accepted}};
    if (b->status == TD_OK)
        b->status = ir_module_add_graph(b->module, "commit", &b->graph);
    ir_value *path = small_input(b, "path", IR_I32, &shape);
    for (size_t i = 0; b->status == TD_OK && i < b->module->states.count; i++) {
        const char *state = b->module->states.items[i]->name;
        ir_node *node;
        b->status = ir_graph_add_node(b->graph, IR_OP_cache_commit, state, 1, &path, 0, &node);
        if (b->status == TD_OK)
            b->status = ir_node_set_string(node, "state", state);
        if (b->status == TD_OK)
            b->status = ir_node_infer(node);
    }
}

/* The model; on failure there is none, and context->message says why. */
static inline td_status small_llama_build(td_context *context, const small_llama *shape,
                                          fe_model *model)
{
    small_builder b = {.shape = shape, .random = 7};
    b.status = ir_module_create(context, "small", &b.module);
    if (b.status != TD_OK)
        return b.status;
    ir_dim tokens = small_symbol(&b, "tokens", 64), rows = small_symbol(&b, "rows", 32);
    small_symbol(&b, "slots", SMALL_CONTEXT);
    ir_dim accepted = small_symbol(&b, "accepted", 64);
    ir_shape per_token = {.rank = 1, .dim = {tokens}}, per_row = {.rank = 1, .dim = {rows}};
    ir_shape words = {.rank = 2, .dim = {tokens, ir_dim_constant(1)}};
    if (b.status == TD_OK)
        b.status = ir_module_add_graph(b.module, "forward", &b.graph);
    b.ids = small_input(&b, "ids", IR_I32, &per_token);
    b.positions = small_input(&b, "positions", IR_I32, &per_token);
    b.ancestors = small_input(&b, "ancestors", IR_I64, &words);
    b.rows = small_input(&b, "rows", IR_I32, &per_row);
    small_forward(&b);
    small_commit(&b, &accepted);
    if (b.status != TD_OK) {
        ir_module_release(b.module);
        return b.status;
    }
    *model = (fe_model){.module = b.module,
                        .raised = true,
                        .vocabulary = SMALL_VOCABULARY,
                        .context_length = SMALL_CONTEXT,
                        .bos_id = 1,
                        .eos_id = 2};
    return TD_OK;
}

#endif
