/* config.json and generation_config.json of Hugging Face directories.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_CHECKPOINT_HUGGINGFACE_CONFIG_H
#define TANDEM_FRONTEND_CHECKPOINT_HUGGINGFACE_CONFIG_H

#include "frontend/checkpoint/llama.h"

#include "frontend/json_file.h"

/* Hyperparameters from config.json: model types llama, mistral, qwen2 and qwen3, which are one
 * graph with different optional parts. Other types, and options that would change the graph, are
 * refused by name. */
td_status fe_huggingface_parameters(td_context *context, const char *path, const json_t *root,
                                    fe_llama *llama);

/* Token ids: one number, or a list of at most `capacity`; none for null or an absent key.
 * TD_INVALID when one is outside the vocabulary. */
td_status fe_huggingface_tokens(td_context *context, const char *path, const json_t *root,
                                const char *key, uint32_t vocabulary, int32_t *ids,
                                uint32_t capacity, uint32_t *count);
/* The first of them, or -1. */
td_status fe_huggingface_token(td_context *context, const char *path, const json_t *root,
                               const char *key, uint32_t vocabulary, int32_t *id);

#endif
