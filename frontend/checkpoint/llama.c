/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/llama.h"

#include "frontend/checkpoint/llama_weights.h"

#include <math.h>
#include <string.h>

#define DEFAULT_TOKENS 64
#define DEFAULT_ROWS   32

/* Positions are rotated as binary32 numbers, which count exactly up to here. */
#define LONGEST_CONTEXT (1u << 24)
#define LARGEST_HEAD    1024

/* --- hyperparameters --- */

static td_status check_range(td_context *context, const char *path, const char *what,
                             uint64_t value, uint64_t largest)
{
    if (value >= 1 && value <= largest)
        return TD_OK;
    return td_fail(context, TD_INVALID, "%s: %s is %llu, accepted are 1 to %llu", path, what,
                   (unsigned long long)value, (unsigned long long)largest);
}

static td_status check_rope(td_context *context, const char *path, const fe_rope *rope)
{
    const double positive[] = {rope->base, rope->kind == FE_ROPE_PLAIN ? 1.0 : rope->factor};
    for (size_t i = 0; i < TD_COUNT_OF(positive); i++)
        if (!(positive[i] > 0.0) || !isfinite(positive[i]))
            return td_fail(context, TD_INVALID,
                           "%s: the rotation's %s is %g, a positive number is accepted", path,
                           i == 0 ? "base" : "scaling factor", positive[i]);
    if (rope->kind == FE_ROPE_LLAMA3 &&
        !(rope->low_factor > 0.0 && rope->high_factor > rope->low_factor &&
          isfinite(rope->high_factor) && rope->original_context >= 1.0 &&
          isfinite(rope->original_context)))
        return td_fail(context, TD_INVALID,
                       "%s: llama3 rotation scaling needs 0 < low_freq_factor (%g) < "
                       "high_freq_factor (%g) and original_max_position_embeddings (%g) >= 1",
                       path, rope->low_factor, rope->high_factor, rope->original_context);
    return TD_OK;
}

static td_status check_parameters(td_context *context, const char *path, const fe_llama *llama)
{
    TD_TRY(check_range(context, path, "the vocabulary", llama->vocabulary, INT32_MAX));
    TD_TRY(check_range(context, path, "the width", llama->width, INT32_MAX));
    TD_TRY(check_range(context, path, "the number of layers", llama->layers, INT32_MAX));
    TD_TRY(check_range(context, path, "the feed-forward width", llama->feed_forward, INT32_MAX));
    TD_TRY(
        check_range(context, path, "the context length", llama->context_length, LONGEST_CONTEXT));
    TD_TRY(check_range(context, path, "the head size", llama->head_size, LARGEST_HEAD));
    TD_TRY(
        check_range(context, path, "the number of heads", llama->heads, INT32_MAX / LARGEST_HEAD));
    TD_TRY(check_range(context, path, "the number of KV heads", llama->kv_heads, llama->heads));
    if (llama->head_size % 2 != 0)
        return td_fail(context, TD_INVALID, "%s: the head size %u is odd, rotation needs pairs",
                       path, llama->head_size);
    if (llama->heads % llama->kv_heads != 0)
        return td_fail(context, TD_INVALID,
                       "%s: %u heads cannot be shared out among %u KV heads; a divisor of the "
                       "number of heads is accepted",
                       path, llama->heads, llama->kv_heads);
    if (!(llama->epsilon >= 0.0) || !(llama->epsilon < 1.0))
        return td_fail(context, TD_INVALID, "%s: the epsilon of RMSNorm is %g, accepted are 0 to 1",
                       path, llama->epsilon);
    return check_rope(context, path, &llama->rope);
}

/* --- frequencies --- */

/* Llama 3: long wavelengths are stretched, short ones kept, those between interpolated. */
static double stretch_llama3(const fe_rope *rope, double frequency)
{
    const double wavelength = 2.0 * 3.14159265358979323846 / frequency;
    if (wavelength < rope->original_context / rope->high_factor)
        return frequency;
    if (wavelength > rope->original_context / rope->low_factor)
        return frequency / rope->factor;
    const double smooth = (rope->original_context / wavelength - rope->low_factor) /
                          (rope->high_factor - rope->low_factor);
    return (1.0 - smooth) * frequency / rope->factor + smooth * frequency;
}

static td_status read_divisors(td_context *context, const fe_tensor *tensor, uint32_t count,
                               float *divisors)
{
    if (tensor->encoding != FE_ENCODING_DENSE || tensor->type != IR_F32 || tensor->rank != 1 ||
        tensor->dim[0] != (int64_t)count)
        return td_fail(context, TD_INVALID, "%s: tensor \"%s\" must be F32 of shape [%u]",
                       tensor->file->path, tensor->name, count);
    memcpy(divisors, tensor->file->data + tensor->offset, count * sizeof *divisors);
    for (uint32_t i = 0; i < count; i++)
        if (!(divisors[i] > 0.0f) || !isfinite(divisors[i]))
            return td_fail(context, TD_INVALID,
                           "%s: tensor \"%s\": element %u is %g, a positive number is accepted",
                           tensor->file->path, tensor->name, i, (double)divisors[i]);
    return TD_OK;
}

td_status fe_rope_frequencies(td_context *context, const fe_rope *rope, uint32_t head_size,
                              float *frequencies)
{
    const uint32_t count = head_size / 2;
    if (rope->divisors != NULL)
        TD_TRY(read_divisors(context, rope->divisors, count, frequencies));
    for (uint32_t i = 0; i < count; i++) {
        double frequency = pow(rope->base, -2.0 * i / head_size);
        if (rope->kind == FE_ROPE_LINEAR)
            frequency /= rope->factor;
        if (rope->kind == FE_ROPE_LLAMA3)
            frequency = stretch_llama3(rope, frequency);
        if (rope->divisors != NULL)
            frequency /= (double)frequencies[i];
        frequencies[i] = (float)frequency;
    }
    return TD_OK;
}

/* --- the graphs --- */

typedef struct builder {
    ir_module *module;
    ir_graph *graph; /* "forward" */
    const fe_llama *llama;
    fe_llama_weights weights;
    ir_value *ids, *positions, *ancestors, *rows;
    ir_value *table;        /* of the rotation, for all layers */
    ir_dim accepted;        /* length of the committed path */
    const char *layer_name; /* "layers.3": also the state */
    uint32_t layer;
} builder;

/* Appends a node with one output; attributes are set before `finish` infers its shape. */
static td_status begin(builder *b, ir_opcode op, const char *part, size_t input_count,
                       ir_value *const *inputs, ir_node **node)
{
    const char *name = b->layer_name == NULL
                           ? part
                           : td_arena_format(&b->module->arena, "%s.%s", b->layer_name, part);
    if (name == NULL)
        return td_fail_memory(b->module->context);
    return ir_graph_add_node(b->graph, op, name, input_count, inputs, 1, node);
}

static td_status finish(ir_node *node, ir_value **result)
{
    TD_TRY(ir_node_infer(node));
    *result = node->outputs[0];
    return TD_OK;
}

static td_status binary(builder *b, ir_opcode op, const char *part, ir_value *left, ir_value *right,
                        ir_value **result)
{
    ir_node *node;
    TD_TRY(begin(b, op, part, 2, (ir_value *[]){left, right}, &node));
    return finish(node, result);
}

static td_status weight(builder *b, fe_llama_role role, ir_value **value)
{
    return ir_graph_add_constant(b->graph, b->weights.layers[b->layer][role], value);
}

static td_status norm(builder *b, const char *part, fe_llama_role role, ir_value *x,
                      ir_value **result)
{
    ir_value *inputs[2] = {x, NULL};
    ir_node *node;
    TD_TRY(weight(b, role, &inputs[1]));
    TD_TRY(begin(b, IR_OP_rms_norm, part, 2, inputs, &node));
    TD_TRY(ir_node_set_float(node, "epsilon", b->llama->epsilon));
    return finish(node, result);
}

/* Without a bias in the model, `bias` names no constant and is left out. */
static td_status linear(builder *b, const char *part, fe_llama_role role, fe_llama_role bias,
                        ir_value *x, ir_value **result)
{
    const bool has_bias = b->weights.layers[b->layer][bias] != NULL;
    ir_value *inputs[3] = {x, NULL, NULL};
    ir_node *node;
    TD_TRY(weight(b, role, &inputs[1]));
    if (has_bias)
        TD_TRY(weight(b, bias, &inputs[2]));
    TD_TRY(begin(b, IR_OP_linear, part, has_bias ? 3 : 2, inputs, &node));
    return finish(node, result);
}

static td_status rotate(builder *b, const char *part, ir_value *x, ir_value **result)
{
    ir_node *node;
    TD_TRY(begin(b, IR_OP_rope, part, 2, (ir_value *[]){x, b->table}, &node));
    TD_TRY(ir_node_set_int(node, "head_size", b->llama->head_size));
    TD_TRY(ir_node_set_int(node, "interleaved", b->llama->rope.interleaved));
    return finish(node, result);
}

static td_status attend(builder *b, ir_value *query, ir_value *key, ir_value *value,
                        ir_value **result)
{
    const fe_llama *llama = b->llama;
    const ir_state cache = {.name = b->layer_name,
                            .kind = IR_STATE_CACHE,
                            .type = IR_F32,
                            .layer = b->layer,
                            .kv_heads = llama->kv_heads,
                            .head_size = llama->head_size};
    ir_value *inputs[] = {query, key, value, b->ancestors};
    ir_state *state;
    ir_node *node;
    TD_TRY(ir_module_add_state(b->module, &cache, &state));
    TD_TRY(begin(b, IR_OP_cached_attention, "attention", 4, inputs, &node));
    TD_TRY(ir_node_set_string(node, "state", state->name));
    TD_TRY(ir_node_set_int(node, "heads", llama->heads));
    TD_TRY(ir_node_set_int(node, "kv_heads", llama->kv_heads));
    TD_TRY(ir_node_set_int(node, "head_size", llama->head_size));
    TD_TRY(ir_node_set_float(node, "scale", 1.0 / sqrt((double)llama->head_size)));
    if (llama->window > 0 && llama->window < llama->context_length)
        TD_TRY(ir_node_set_int(node, "window", llama->window));
    return finish(node, result);
}

static td_status attention_block(builder *b, ir_value *x, ir_value **result)
{
    ir_value *normed, *query, *key, *value, *attended, *output;
    TD_TRY(norm(b, "attention_norm", FE_LLAMA_ATTENTION_NORM, x, &normed));
    TD_TRY(linear(b, "query", FE_LLAMA_QUERY, FE_LLAMA_QUERY_BIAS, normed, &query));
    TD_TRY(linear(b, "key", FE_LLAMA_KEY, FE_LLAMA_KEY_BIAS, normed, &key));
    TD_TRY(linear(b, "value", FE_LLAMA_VALUE, FE_LLAMA_VALUE_BIAS, normed, &value));
    if (b->llama->parts & FE_LLAMA_WITH_HEAD_NORMS) {
        TD_TRY(norm(b, "query_norm", FE_LLAMA_QUERY_NORM, query, &query));
        TD_TRY(norm(b, "key_norm", FE_LLAMA_KEY_NORM, key, &key));
    }
    TD_TRY(rotate(b, "query_rope", query, &query));
    TD_TRY(rotate(b, "key_rope", key, &key));
    TD_TRY(attend(b, query, key, value, &attended));
    TD_TRY(linear(b, "output", FE_LLAMA_OUTPUT, FE_LLAMA_OUTPUT_BIAS, attended, &output));
    return binary(b, IR_OP_add, "attention_residual", x, output, result);
}

static td_status mlp_block(builder *b, ir_value *x, ir_value **result)
{
    ir_value *normed, *gate, *up, *gated, *down;
    TD_TRY(norm(b, "mlp_norm", FE_LLAMA_MLP_NORM, x, &normed));
    TD_TRY(linear(b, "gate", FE_LLAMA_GATE, FE_LLAMA_GATE_BIAS, normed, &gate));
    TD_TRY(linear(b, "up", FE_LLAMA_UP, FE_LLAMA_UP_BIAS, normed, &up));
    TD_TRY(binary(b, IR_OP_gated_silu, "gated", gate, up, &gated));
    TD_TRY(linear(b, "down", FE_LLAMA_DOWN, FE_LLAMA_DOWN_BIAS, gated, &down));
    return binary(b, IR_OP_add, "mlp_residual", x, down, result);
}

static td_status add_table(builder *b)
{
    float frequencies[LARGEST_HEAD / 2];
    const ir_shape shape = ir_shape_of(1, (int64_t[]){b->llama->head_size / 2});
    ir_constant *constant;
    ir_value *value;
    TD_TRY(
        fe_rope_frequencies(b->module->context, &b->llama->rope, b->llama->head_size, frequencies));
    TD_TRY(ir_module_add_constant_bytes(b->module, "rope.frequencies", IR_F32, &shape, frequencies,
                                        &constant));
    TD_TRY(ir_graph_add_constant(b->graph, constant, &value));
    return binary(b, IR_OP_rotary_table, "rope.table", b->positions, value, &b->table);
}

static td_status build_forward(builder *b)
{
    const bool tied = (b->llama->parts & FE_LLAMA_WITH_SEPARATE_HEAD) == 0;
    ir_value *table, *x, *head;
    TD_TRY(weight(b, FE_LLAMA_EMBEDDING, &table));
    TD_TRY(binary(b, IR_OP_embed, "embedding", table, b->ids, &x));
    TD_TRY(add_table(b));
    for (b->layer = 0; b->layer < b->llama->layers; b->layer++) {
        b->layer_name = td_arena_format(&b->module->arena, "layers.%u", b->layer);
        if (b->layer_name == NULL)
            return td_fail_memory(b->module->context);
        TD_TRY(attention_block(b, x, &x));
        TD_TRY(mlp_block(b, x, &x));
    }
    b->layer = 0;
    b->layer_name = NULL;
    TD_TRY(binary(b, IR_OP_select_rows, "rows", x, b->rows, &x));
    TD_TRY(norm(b, "final_norm", FE_LLAMA_FINAL_NORM, x, &x));
    if (tied)
        head = table;
    else
        TD_TRY(weight(b, FE_LLAMA_HEAD, &head));
    TD_TRY(binary(b, IR_OP_linear, "head", x, head, &x));
    return ir_graph_add_output(b->graph, "logits", x);
}

static td_status build_commit(builder *b)
{
    const ir_shape shape = {.rank = 1, .dim = {b->accepted}};
    ir_graph *graph;
    ir_value *path;
    TD_TRY(ir_module_add_graph(b->module, "commit", &graph));
    TD_TRY(ir_graph_add_input(graph, "path", IR_I32, &shape, &path));
    for (size_t i = 0; i < b->module->states.count; i++) {
        const char *state = b->module->states.items[i]->name;
        ir_node *node;
        TD_TRY(ir_graph_add_node(graph, IR_OP_cache_commit, state, 1, &path, 0, &node));
        TD_TRY(ir_node_set_string(node, "state", state));
        TD_TRY(ir_node_infer(node));
    }
    return TD_OK;
}

static td_status add_inputs(builder *b, const fe_options *options)
{
    const int64_t tokens_bound = options->max_tokens != 0 ? options->max_tokens : DEFAULT_TOKENS;
    const int64_t rows_bound = options->max_rows != 0 ? options->max_rows : DEFAULT_ROWS;
    ir_symbol tokens, rows, slots, accepted;
    TD_TRY(ir_module_add_symbol(b->module, "tokens", tokens_bound, &tokens));
    TD_TRY(ir_module_add_symbol(b->module, "rows", rows_bound, &rows));
    TD_TRY(ir_module_add_symbol(b->module, "slots", b->llama->context_length, &slots));
    TD_TRY(ir_module_add_symbol(b->module, "accepted", tokens_bound, &accepted));
    b->accepted = ir_dim_symbol(accepted);
    const ir_shape per_token = {.rank = 1, .dim = {ir_dim_symbol(tokens)}};
    const ir_shape per_row = {.rank = 1, .dim = {ir_dim_symbol(rows)}};
    const ir_shape masks = {
        .rank = 2, .dim = {ir_dim_symbol(tokens), ir_dim_constant((tokens_bound + 63) / 64)}};
    TD_TRY(ir_module_add_graph(b->module, "forward", &b->graph));
    TD_TRY(ir_graph_add_input(b->graph, "ids", IR_I32, &per_token, &b->ids));
    TD_TRY(ir_graph_add_input(b->graph, "positions", IR_I32, &per_token, &b->positions));
    TD_TRY(ir_graph_add_input(b->graph, "ancestors", IR_I64, &masks, &b->ancestors));
    return ir_graph_add_input(b->graph, "rows", IR_I32, &per_row, &b->rows);
}

td_status fe_llama_build(ir_module *module, const char *path, const fe_llama *llama,
                         const fe_tensors *tensors, fe_llama_naming naming,
                         const fe_options *options, fe_model *model)
{
    fe_llama bounded = *llama;
    TD_TRY(check_parameters(module->context, path, &bounded));
    if (options->context_length > llama->context_length)
        return td_fail(module->context, TD_INVALID,
                       "%s: a context of %u tokens was asked for, the model was made for %u", path,
                       options->context_length, llama->context_length);
    if (options->context_length != 0)
        bounded.context_length = options->context_length;
    builder b = {.module = module, .llama = &bounded};
    TD_TRY(fe_llama_weights_add(module, path, &bounded, tensors, naming, &b.weights));
    TD_TRY(add_inputs(&b, options));
    TD_TRY(build_forward(&b));
    TD_TRY(build_commit(&b));
    model->module = module;
    model->raised = true;
    model->vocabulary = bounded.vocabulary;
    model->context_length = bounded.context_length;
    return TD_OK;
}

td_status fe_llama_import(td_context *context, const char *path, const fe_options *options,
                          fe_llama_reader *read, fe_model *model)
{
    ir_module *module;
    fe_model imported = {0};
    TD_TRY(ir_module_create(context, "llama", &module));
    const td_status status = read(module, path, options, &imported);
    if (status != TD_OK)
        ir_module_release(module);
    else
        *model = imported;
    return status;
}
