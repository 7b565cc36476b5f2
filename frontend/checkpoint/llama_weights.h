/* The weights of a Llama-like decoder: names under both namings, shapes, and which are optional.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_CHECKPOINT_LLAMA_WEIGHTS_H
#define TANDEM_FRONTEND_CHECKPOINT_LLAMA_WEIGHTS_H

#include "frontend/checkpoint/llama.h"

/* role, Hugging Face name, GGUF name (%u: the layer), rows, columns (NONE: a vector, kept as f32),
 * the optional part it belongs to (0: always there) */
#define FE_LLAMA_ROLES(X)                                                                          \
    X(EMBEDDING, "model.embed_tokens.weight", "token_embd.weight", VOCABULARY, WIDTH, 0)           \
    X(FINAL_NORM, "model.norm.weight", "output_norm.weight", WIDTH, NONE, 0)                       \
    X(HEAD, "lm_head.weight", "output.weight", VOCABULARY, WIDTH, FE_LLAMA_WITH_SEPARATE_HEAD)     \
    X(ATTENTION_NORM, "model.layers.%u.input_layernorm.weight", "blk.%u.attn_norm.weight", WIDTH,  \
      NONE, 0)                                                                                     \
    X(QUERY, "model.layers.%u.self_attn.q_proj.weight", "blk.%u.attn_q.weight", QUERY, WIDTH, 0)   \
    X(KEY, "model.layers.%u.self_attn.k_proj.weight", "blk.%u.attn_k.weight", KEY, WIDTH, 0)       \
    X(VALUE, "model.layers.%u.self_attn.v_proj.weight", "blk.%u.attn_v.weight", KEY, WIDTH, 0)     \
    X(QUERY_BIAS, "model.layers.%u.self_attn.q_proj.bias", "blk.%u.attn_q.bias", QUERY, NONE,      \
      FE_LLAMA_WITH_INPUT_BIAS)                                                                    \
    X(KEY_BIAS, "model.layers.%u.self_attn.k_proj.bias", "blk.%u.attn_k.bias", KEY, NONE,          \
      FE_LLAMA_WITH_INPUT_BIAS)                                                                    \
    X(VALUE_BIAS, "model.layers.%u.self_attn.v_proj.bias", "blk.%u.attn_v.bias", KEY, NONE,        \
      FE_LLAMA_WITH_INPUT_BIAS)                                                                    \
    X(QUERY_NORM, "model.layers.%u.self_attn.q_norm.weight", "blk.%u.attn_q_norm.weight",          \
      HEAD_SIZE, NONE, FE_LLAMA_WITH_HEAD_NORMS)                                                   \
    X(KEY_NORM, "model.layers.%u.self_attn.k_norm.weight", "blk.%u.attn_k_norm.weight", HEAD_SIZE, \
      NONE, FE_LLAMA_WITH_HEAD_NORMS)                                                              \
    X(OUTPUT, "model.layers.%u.self_attn.o_proj.weight", "blk.%u.attn_output.weight", WIDTH,       \
      QUERY, 0)                                                                                    \
    X(OUTPUT_BIAS, "model.layers.%u.self_attn.o_proj.bias", "blk.%u.attn_output.bias", WIDTH,      \
      NONE, FE_LLAMA_WITH_OUTPUT_BIAS)                                                             \
    X(MLP_NORM, "model.layers.%u.post_attention_layernorm.weight", "blk.%u.ffn_norm.weight",       \
      WIDTH, NONE, 0)                                                                              \
    X(GATE, "model.layers.%u.mlp.gate_proj.weight", "blk.%u.ffn_gate.weight", FEED_FORWARD, WIDTH, \
      0)                                                                                           \
    X(UP, "model.layers.%u.mlp.up_proj.weight", "blk.%u.ffn_up.weight", FEED_FORWARD, WIDTH, 0)    \
    X(DOWN, "model.layers.%u.mlp.down_proj.weight", "blk.%u.ffn_down.weight", WIDTH, FEED_FORWARD, \
      0)                                                                                           \
    X(GATE_BIAS, "model.layers.%u.mlp.gate_proj.bias", "blk.%u.ffn_gate.bias", FEED_FORWARD, NONE, \
      FE_LLAMA_WITH_MLP_BIAS)                                                                      \
    X(UP_BIAS, "model.layers.%u.mlp.up_proj.bias", "blk.%u.ffn_up.bias", FEED_FORWARD, NONE,       \
      FE_LLAMA_WITH_MLP_BIAS)                                                                      \
    X(DOWN_BIAS, "model.layers.%u.mlp.down_proj.bias", "blk.%u.ffn_down.bias", WIDTH, NONE,        \
      FE_LLAMA_WITH_MLP_BIAS)

typedef enum fe_llama_role {
#define X(role, ...) FE_LLAMA_##role,
    FE_LLAMA_ROLES(X)
#undef X
        FE_LLAMA_ROLE_COUNT
} fe_llama_role;

/* Constants by layer and role; NULL for optional parts that the model does not have. */
typedef struct fe_llama_weights {
    ir_constant *(*layers)[FE_LLAMA_ROLE_COUNT]; /* roles outside the layers: in layer 0 */
} fe_llama_weights;

/* Finds, checks and adds all weights, in the order of the computation. */
td_status fe_llama_weights_add(ir_module *module, const char *path, const fe_llama *llama,
                               const fe_tensors *tensors, fe_llama_naming naming,
                               fe_llama_weights *weights);

#endif
