/* A Llama-like module in raised form with any sizes and weight types, made from a seed: what the
 * kernels are tested on. Weights are computed when they are read, so large ones cost nothing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_CODEGEN_SYNTHETIC_LLAMA_H
#define TANDEM_TESTS_CODEGEN_SYNTHETIC_LLAMA_H

#include "base/hash.h"
#include "codegen/codegen.h"
#include "ir/half.h"
#include "ir/passes/passes.h"

#include <math.h>

typedef struct synthetic_options {
    int64_t layers, features, heads, kv_heads, head_size, hidden, vocabulary, max_tokens;
    ir_type type;       /* of the weights */
    ir_type scale_type; /* of integer weights */
    int64_t group;      /* of integer weights; 0: one per row */
    bool has_zero;
    ir_type cache_type;
    bool tied, interleaved, bias, head_norms;
    bool quantise, fuse; /* run the passes that quantise activations, that fuse */
    int64_t window;
    double softcap;
} synthetic_options;

/* One tensor's numbers: a hash of the element index. */
typedef struct synthetic_source {
    ir_type type;
    uint64_t seed;
    double size; /* floats: uniform in -size .. size, or size .. 2 * size when positive */
    bool positive;
} synthetic_source;

static inline uint64_t synthetic_hash(uint64_t seed, uint64_t index)
{
    uint64_t state = seed + index * UINT64_C(0x9e3779b97f4a7c15);
    return td_random_next(&state);
}

static inline td_status synthetic_read(td_context *context, const void *pointer, uint64_t offset,
                                       uint64_t size, void *bytes)
{
    const synthetic_source *self = pointer;
    const unsigned bits = ir_type_bits(self->type);
    (void)context;
    if (!ir_type_is_float(self->type)) {
        for (uint64_t i = 0; i < size; i++)
            ((unsigned char *)bytes)[i] = (unsigned char)synthetic_hash(self->seed, offset + i);
        return TD_OK;
    }
    /* Reads of floats are whole elements. */
    for (uint64_t i = 0; i < size * 8 / bits; i++) {
        const double unit =
            (double)(synthetic_hash(self->seed, offset * 8 / bits + i) >> 11) * 0x1p-53;
        const float number =
            (float)(self->positive ? self->size * (1 + unit) : self->size * (2 * unit - 1));
        const uint16_t half = self->type == IR_F16 ? ir_f32_to_f16(number) : ir_f32_to_bf16(number);
        if (self->type == IR_F32)
            memcpy((char *)bytes + 4 * i, &number, 4);
        else
            memcpy((char *)bytes + 2 * i, &half, 2);
    }
    return TD_OK;
}

typedef struct synthetic_builder {
    const synthetic_options *options;
    ir_module *module;
    ir_graph *graph;
    uint64_t seed;
    int names;
} synthetic_builder;

static inline td_status synthetic_constant(synthetic_builder *self, ir_type type, int64_t rows,
                                           int64_t columns, double size, bool positive,
                                           ir_constant **constant)
{
    synthetic_source *source = td_arena_allocate(&self->module->arena, 1, sizeof *source);
    char *name = td_arena_format(&self->module->arena, "w%d", self->names++);
    if (source == NULL || name == NULL)
        return td_fail_memory(self->module->context);
    *source = (synthetic_source){type, td_random_next(&self->seed), size, positive};
    const ir_constant made = {
        .name = name,
        .type = type,
        .shape = rows == 0 ? ir_shape_of(1, &columns) : ir_shape_of(2, (int64_t[]){rows, columns}),
        .source = {synthetic_read, source, name},
    };
    return ir_module_add_constant(self->module, &made, constant);
}

/* A weight matrix of the options' type. */
static inline td_status synthetic_matrix(synthetic_builder *self, int64_t rows, int64_t columns,
                                         ir_value **value)
{
    const synthetic_options *options = self->options;
    const double size = 1.5 / sqrt((double)columns);
    ir_constant *constant;
    if (ir_type_is_float(options->type)) {
        TD_TRY(synthetic_constant(self, options->type, rows, columns, size, false, &constant));
        return ir_graph_add_constant(self->graph, constant, value);
    }
    const int64_t group = options->group > 0 && options->group < columns ? options->group : columns;
    const int64_t groups = (columns + group - 1) / group;
    const double range = ir_type_bits(options->type) == 4 ? 8 : 128;
    ir_constant *scale, *zero = NULL;
    TD_TRY(synthetic_constant(self, options->scale_type, rows, groups, size / range / 2, true,
                              &scale));
    if (options->has_zero)
        TD_TRY(synthetic_constant(self, options->type, rows, groups, 0, false, &zero));
    char *name = td_arena_format(&self->module->arena, "q%d", self->names++);
    synthetic_source *source = td_arena_allocate(&self->module->arena, 1, sizeof *source);
    if (source == NULL || name == NULL)
        return td_fail_memory(self->module->context);
    *source = (synthetic_source){options->type, td_random_next(&self->seed), 0, false};
    const ir_constant made = {.name = name,
                              .type = options->type,
                              .shape = ir_shape_of(2, (int64_t[]){rows, columns}),
                              .source = {synthetic_read, source, name},
                              .scale = scale,
                              .zero_point = zero,
                              .group = (uint32_t)group};
    TD_TRY(ir_module_add_constant(self->module, &made, &constant));
    return ir_graph_add_constant(self->graph, constant, value);
}

static inline td_status synthetic_vector(synthetic_builder *self, int64_t length, double size,
                                         bool positive, ir_value **value)
{
    ir_constant *constant;
    TD_TRY(synthetic_constant(self, IR_F32, 0, length, size, positive, &constant));
    return ir_graph_add_constant(self->graph, constant, value);
}

/* Appends a node with inferred result; attributes come as name, value pairs ended by NULL. */
static inline td_status synthetic_node(synthetic_builder *self, ir_opcode op, size_t count,
                                       ir_value *const *inputs, ir_node **node)
{
    char *name = td_arena_format(&self->module->arena, "%s%d", ir_op(op)->name, self->names++);
    if (name == NULL)
        return td_fail_memory(self->module->context);
    return ir_graph_add_node(self->graph, op, name, count, inputs, op == IR_OP_cache_commit ? 0 : 1,
                             node);
}

static inline td_status synthetic_apply(synthetic_builder *self, ir_opcode op, ir_value *a,
                                        ir_value *b, ir_value **result)
{
    ir_node *node;
    TD_TRY(synthetic_node(self, op, b == NULL ? 1 : 2, (ir_value *[]){a, b}, &node));
    if (op == IR_OP_rms_norm)
        TD_TRY(ir_node_set_float(node, "epsilon", 1e-5));
    if (op == IR_OP_rope) {
        TD_TRY(ir_node_set_int(node, "head_size", self->options->head_size));
        TD_TRY(ir_node_set_int(node, "interleaved", self->options->interleaved));
    }
    TD_TRY(ir_node_infer(node));
    *result = node->outputs[0];
    return TD_OK;
}

static inline td_status synthetic_linear(synthetic_builder *self, ir_value *x, int64_t rows,
                                         int64_t columns, ir_value **result)
{
    ir_value *inputs[3] = {x};
    ir_node *node;
    TD_TRY(synthetic_matrix(self, rows, columns, &inputs[1]));
    if (self->options->bias)
        TD_TRY(synthetic_vector(self, rows, 0.5, false, &inputs[2]));
    TD_TRY(synthetic_node(self, IR_OP_linear, self->options->bias ? 3 : 2, inputs, &node));
    TD_TRY(ir_node_infer(node));
    *result = node->outputs[0];
    return TD_OK;
}

static inline td_status synthetic_norm(synthetic_builder *self, ir_value *x, int64_t length,
                                       ir_value **result)
{
    ir_value *weight;
    TD_TRY(synthetic_vector(self, length, 0.7, true, &weight));
    return synthetic_apply(self, IR_OP_rms_norm, x, weight, result);
}

static inline td_status synthetic_attention(synthetic_builder *self, int64_t layer, ir_value *x,
                                            ir_value *table, ir_value *ancestors, ir_value **result)
{
    const synthetic_options *o = self->options;
    ir_value *inputs[4];
    ir_node *node;
    char name[32];
    ir_state *added;
    snprintf(name, sizeof name, "cache%d", (int)layer);
    const ir_state state = {.name = td_arena_string(&self->module->arena, name),
                            .kind = IR_STATE_CACHE,
                            .type = o->cache_type,
                            .layer = (uint32_t)layer,
                            .kv_heads = (uint32_t)o->kv_heads,
                            .head_size = (uint32_t)o->head_size};
    TD_TRY(ir_module_add_state(self->module, &state, &added));
    for (int i = 0; i < 3; i++) {
        const int64_t heads = i == 0 ? o->heads : o->kv_heads;
        TD_TRY(synthetic_linear(self, x, heads * o->head_size, o->features, &inputs[i]));
        if (o->head_norms && i < 2)
            TD_TRY(synthetic_norm(self, inputs[i], o->head_size, &inputs[i]));
        if (i < 2)
            TD_TRY(synthetic_apply(self, IR_OP_rope, inputs[i], table, &inputs[i]));
    }
    inputs[3] = ancestors;
    TD_TRY(synthetic_node(self, IR_OP_cached_attention, 4, inputs, &node));
    TD_TRY(ir_node_set_string(node, "state", state.name));
    TD_TRY(ir_node_set_int(node, "heads", o->heads));
    TD_TRY(ir_node_set_int(node, "kv_heads", o->kv_heads));
    TD_TRY(ir_node_set_int(node, "head_size", o->head_size));
    TD_TRY(ir_node_set_float(node, "scale", 1 / sqrt((double)o->head_size)));
    if (o->window > 0)
        TD_TRY(ir_node_set_int(node, "window", o->window));
    if (o->softcap > 0)
        TD_TRY(ir_node_set_float(node, "softcap", o->softcap));
    TD_TRY(ir_node_infer(node));
    return synthetic_linear(self, node->outputs[0], o->features, o->heads * o->head_size, result);
}

static inline td_status synthetic_layer(synthetic_builder *self, int64_t layer, ir_value *table,
                                        ir_value *ancestors, ir_value **x)
{
    const synthetic_options *o = self->options;
    ir_value *normed, *gate, *up, *down;
    TD_TRY(synthetic_norm(self, *x, o->features, &normed));
    TD_TRY(synthetic_attention(self, layer, normed, table, ancestors, &down));
    TD_TRY(synthetic_apply(self, IR_OP_add, *x, down, x));
    TD_TRY(synthetic_norm(self, *x, o->features, &normed));
    TD_TRY(synthetic_linear(self, normed, o->hidden, o->features, &gate));
    TD_TRY(synthetic_linear(self, normed, o->hidden, o->features, &up));
    TD_TRY(synthetic_apply(self, IR_OP_gated_silu, gate, up, &gate));
    TD_TRY(synthetic_linear(self, gate, o->features, o->hidden, &down));
    return synthetic_apply(self, IR_OP_add, *x, down, x);
}

static inline td_status synthetic_forward(synthetic_builder *self)
{
    const synthetic_options *o = self->options;
    ir_graph *graph = self->graph;
    ir_symbol tokens, rows, slots;
    ir_value *ids, *positions, *ancestors, *wanted, *matrix, *x, *table, *frequencies;
    TD_TRY(ir_module_add_symbol(self->module, "tokens", o->max_tokens, &tokens));
    TD_TRY(ir_module_add_symbol(self->module, "rows", 32, &rows));
    TD_TRY(ir_module_add_symbol(self->module, "slots", 4096, &slots));
    ir_shape shape = {1, {ir_dim_symbol(tokens)}}, wanted_shape = {1, {ir_dim_symbol(rows)}};
    ir_shape masks = {2, {ir_dim_symbol(tokens), ir_dim_constant((o->max_tokens + 63) / 64)}};
    TD_TRY(ir_graph_add_input(graph, "ids", IR_I32, &shape, &ids));
    TD_TRY(ir_graph_add_input(graph, "positions", IR_I32, &shape, &positions));
    TD_TRY(ir_graph_add_input(graph, "ancestors", IR_I64, &masks, &ancestors));
    TD_TRY(ir_graph_add_input(graph, "rows", IR_I32, &wanted_shape, &wanted));
    TD_TRY(synthetic_matrix(self, o->vocabulary, o->features, &matrix));
    TD_TRY(synthetic_apply(self, IR_OP_embed, matrix, ids, &x));
    TD_TRY(synthetic_vector(self, o->head_size / 2, 0.3, true, &frequencies));
    TD_TRY(synthetic_apply(self, IR_OP_rotary_table, positions, frequencies, &table));
    for (int64_t layer = 0; layer < o->layers; layer++)
        TD_TRY(synthetic_layer(self, layer, table, ancestors, &x));
    TD_TRY(synthetic_norm(self, x, o->features, &x));
    TD_TRY(synthetic_apply(self, IR_OP_select_rows, x, wanted, &x));
    if (!o->tied)
        TD_TRY(synthetic_matrix(self, o->vocabulary, o->features, &matrix));
    TD_TRY(synthetic_apply(self, IR_OP_linear, x, matrix, &x));
    return ir_graph_add_output(graph, "logits", x);
}

static inline td_status synthetic_commit(ir_module *module)
{
    ir_symbol accepted, tokens;
    ir_graph *graph;
    ir_value *path;
    ir_module_find_symbol(module, "tokens", &tokens);
    TD_TRY(
        ir_module_add_symbol(module, "accepted", module->symbols.items[tokens].bound, &accepted));
    TD_TRY(ir_module_add_graph(module, "commit", &graph));
    ir_shape shape = {1, {ir_dim_symbol(accepted)}};
    TD_TRY(ir_graph_add_input(graph, "path", IR_I32, &shape, &path));
    for (size_t i = 0; i < module->states.count; i++) {
        ir_node *node;
        TD_TRY(ir_graph_add_node(graph, IR_OP_cache_commit, "commit", 1, &path, 0, &node));
        TD_TRY(ir_node_set_string(node, "state", module->states.items[i]->name));
        TD_TRY(ir_node_infer(node));
    }
    return TD_OK;
}

/* Makes the module and describes it as a model to be compiled. */
static inline td_status synthetic_llama(td_context *context, const synthetic_options *options,
                                        cg_model *model)
{
    synthetic_builder self = {.options = options, .seed = 5};
    TD_TRY(ir_module_create(context, "synthetic", &self.module));
    td_status status = ir_module_add_graph(self.module, "forward", &self.graph);
    if (status == TD_OK)
        status = synthetic_forward(&self);
    if (status == TD_OK)
        status = synthetic_commit(self.module);
    if (status == TD_OK && options->quantise)
        status = ir_pass_quantize_activations(self.module);
    if (status == TD_OK && options->fuse)
        status = ir_run_passes(self.module, ir_fuse_passes, NULL, false);
    if (status == TD_OK)
        status = ir_verify(self.module);
    if (status != TD_OK) {
        ir_module_release(self.module);
        return status;
    }
    *model = (cg_model){.name = "target",
                        .module = self.module,
                        .forward = self.graph,
                        .commit = ir_module_find_graph(self.module, "commit"),
                        .greedy = ir_module_find_graph(self.module, "greedy"),
                        .vocabulary = (uint32_t)options->vocabulary,
                        .context_length = 1024,
                        .max_tokens = (uint32_t)options->max_tokens,
                        .max_rows = 32};
    return TD_OK;
}

#endif
