/* Builds the raised form of a Llama-like decoder from its hyperparameters and the index of its
 * tensors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_CHECKPOINT_LLAMA_H
#define TANDEM_FRONTEND_CHECKPOINT_LLAMA_H

#include "frontend/checkpoint/tensors.h"
#include "frontend/frontend.h"

/* Whose names the tensors bear. */
typedef enum fe_llama_naming { FE_LLAMA_HUGGINGFACE, FE_LLAMA_GGUF } fe_llama_naming;

/* Parts that not every member of the family has. */
enum {
    FE_LLAMA_WITH_SEPARATE_HEAD = 1, /* the head is not the embedding table */
    FE_LLAMA_WITH_INPUT_BIAS = 2,    /* biases of the query, key and value projections */
    FE_LLAMA_WITH_OUTPUT_BIAS = 4,   /* bias of attention's output projection */
    FE_LLAMA_WITH_MLP_BIAS = 8,      /* biases of gate, up and down */
    FE_LLAMA_WITH_HEAD_NORMS =
        16, /* each head of query and key is normalised before the rotation */
};

/* How the rotation's frequencies are stretched for long contexts. */
typedef enum fe_rope_kind { FE_ROPE_PLAIN, FE_ROPE_LINEAR, FE_ROPE_LLAMA3 } fe_rope_kind;

typedef struct fe_rope {
    fe_rope_kind kind;
    double base;
    double factor;                  /* linear, llama3 */
    double low_factor, high_factor; /* llama3: low_freq_factor, high_freq_factor */
    double original_context;        /* llama3: original_max_position_embeddings */
    const fe_tensor *divisors;      /* f32 [head_size / 2] that divide the frequencies, or NULL */
    bool interleaved;               /* pairs are x[2i], x[2i+1], else x[i], x[i + head_size/2] */
} fe_rope;

typedef struct fe_llama {
    uint32_t vocabulary, width, layers, heads, kv_heads, head_size, feed_forward, context_length;
    uint32_t window; /* attention sees this many tokens; 0: all */
    double epsilon;
    fe_rope rope;
    unsigned parts; /* FE_LLAMA_* */
} fe_llama;

/* Which optional parts an index holds, judged by layer 0. */
unsigned fe_llama_find_parts(const fe_tensors *tensors, fe_llama_naming naming);

/* Fills `frequencies` [head_size / 2]: base^(-2i/head_size), stretched and divided. Computed in
 * binary64, rounded once. Fails when the divisors cannot be read or are not finite and positive. */
td_status fe_rope_frequencies(td_context *context, const fe_rope *rope, uint32_t head_size,
                              float *frequencies);

/* Adds graphs "forward" and "commit", states "layers.N" and all constants to an empty module.
 * `path` is for messages. Refuses hyperparameters out of range, tensors that are missing (all of
 * them in one sentence), of another shape or of a type that cannot be read. Sets the model's
 * module, raised, vocabulary and context_length. */
td_status fe_llama_build(ir_module *module, const char *path, const fe_llama *llama,
                         const fe_tensors *tensors, fe_llama_naming naming,
                         const fe_options *options, fe_model *model);

/* Reads a checkpoint into an empty module, and what it says about itself into *model. */
typedef td_status fe_llama_reader(ir_module *module, const char *path, const fe_options *options,
                                  fe_model *model);

/* Imports a checkpoint into a module of its own; on failure there is none and *model stays. */
td_status fe_llama_import(td_context *context, const char *path, const fe_options *options,
                          fe_llama_reader *read, fe_model *model);

#endif
