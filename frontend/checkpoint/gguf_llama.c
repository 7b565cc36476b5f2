/* GGUF files of the architecture llama -> raised form. Their query and key rows were permuted when
 * the file was made, so that the rotation's pairs are neighbours.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/gguf.h"
#include "frontend/checkpoint/llama.h"

#include <string.h>

#define DEFAULT_CONTEXT 2048

/* --- metadata --- */

static const fe_gguf_value *find_scalar(const fe_gguf *gguf, const char *key)
{
    const fe_gguf_value *value = fe_gguf_find(gguf, key);
    return value != NULL && !value->is_array ? value : NULL;
}

static td_status fail_key(const fe_gguf *gguf, const char *key, const char *accepted)
{
    return td_fail(gguf->context, TD_INVALID, "%s: metadata \"%s\" must be %s", gguf->file->path,
                   key, accepted);
}

/* A whole number from 0 to 2^32-1; `otherwise` where the key is absent, or refused when that is
 * negative. */
static td_status read_u32(const fe_gguf *gguf, const char *key, int64_t otherwise, uint32_t *number)
{
    const fe_gguf_value *value = find_scalar(gguf, key);
    int64_t found = otherwise;
    if (value == NULL ? fe_gguf_find(gguf, key) != NULL || otherwise < 0
                      : !fe_gguf_integer(value, 0, &found))
        return fail_key(gguf, key, "a whole number");
    if (found < 0 || found > UINT32_MAX)
        return fail_key(gguf, key, "a whole number below 2^32");
    *number = (uint32_t)found;
    return TD_OK;
}

/* A number; `otherwise` where the key is absent, or refused when `required`. */
static td_status read_double(const fe_gguf *gguf, const char *key, bool required, double otherwise,
                             double *number)
{
    const fe_gguf_value *value = find_scalar(gguf, key);
    *number = otherwise;
    if (value == NULL ? fe_gguf_find(gguf, key) != NULL || required
                      : !fe_gguf_number(value, 0, number))
        return fail_key(gguf, key, "a number");
    return TD_OK;
}

static td_status read_string(const fe_gguf *gguf, const char *key, fe_span *string)
{
    const fe_gguf_value *value = fe_gguf_find(gguf, key);
    if (value == NULL || !fe_gguf_string(value, string))
        return fail_key(gguf, key, "a string");
    return TD_OK;
}

static td_status check_architecture(const fe_gguf *gguf)
{
    fe_span architecture;
    TD_TRY(read_string(gguf, "general.architecture", &architecture));
    if (fe_span_equal(architecture, "llama"))
        return TD_OK;
    return td_fail(gguf->context, TD_UNSUPPORTED,
                   "%s: the architecture \"%.*s\" cannot be read; \"llama\" is accepted",
                   gguf->file->path, (int)(architecture.size < 60 ? architecture.size : 60),
                   architecture.data);
}

static td_status read_rope(const fe_gguf *gguf, uint32_t head_size, fe_rope *rope)
{
    uint32_t rotated;
    fe_span scaling = {"none", 4};
    *rope = (fe_rope){.interleaved = true};
    TD_TRY(read_double(gguf, "llama.rope.freq_base", false, 10000.0, &rope->base));
    TD_TRY(read_u32(gguf, "llama.rope.dimension_count", head_size, &rotated));
    if (rotated != head_size)
        return td_fail(gguf->context, TD_UNSUPPORTED,
                       "%s: metadata \"llama.rope.dimension_count\" is %u; rotation of whole heads "
                       "(%u) is accepted",
                       gguf->file->path, rotated, head_size);
    if (fe_gguf_find(gguf, "llama.rope.scaling.type") != NULL)
        TD_TRY(read_string(gguf, "llama.rope.scaling.type", &scaling));
    if (fe_span_equal(scaling, "linear")) {
        rope->kind = FE_ROPE_LINEAR;
        TD_TRY(read_double(gguf, "llama.rope.scaling.factor", true, 0.0, &rope->factor));
    } else if (!fe_span_equal(scaling, "none")) {
        return td_fail(gguf->context, TD_UNSUPPORTED,
                       "%s: metadata \"llama.rope.scaling.type\" is \"%.*s\"; \"none\" and "
                       "\"linear\" are accepted",
                       gguf->file->path, (int)(scaling.size < 60 ? scaling.size : 60),
                       scaling.data);
    }
    rope->divisors = fe_tensors_find(&gguf->tensors, "rope_freqs.weight");
    return TD_OK;
}

/* Keys and values of other sizes than query heads, and mixtures of experts, are other graphs. */
static td_status check_same_graph(const fe_gguf *gguf, const fe_llama *llama)
{
    uint32_t value_size, experts;
    TD_TRY(read_u32(gguf, "llama.attention.value_length", llama->head_size, &value_size));
    TD_TRY(read_u32(gguf, "llama.expert_count", 0, &experts));
    if (value_size != llama->head_size)
        return td_fail(gguf->context, TD_UNSUPPORTED,
                       "%s: metadata \"llama.attention.value_length\" is %u; the key length (%u) "
                       "is accepted",
                       gguf->file->path, value_size, llama->head_size);
    if (experts != 0)
        return td_fail(gguf->context, TD_UNSUPPORTED,
                       "%s: metadata \"llama.expert_count\" is %u; only models without experts (0) "
                       "can be read",
                       gguf->file->path, experts);
    return TD_OK;
}

static td_status read_parameters(const fe_gguf *gguf, fe_llama *llama)
{
    *llama = (fe_llama){0};
    TD_TRY(read_u32(gguf, "llama.embedding_length", -1, &llama->width));
    TD_TRY(read_u32(gguf, "llama.block_count", -1, &llama->layers));
    TD_TRY(read_u32(gguf, "llama.feed_forward_length", -1, &llama->feed_forward));
    TD_TRY(read_u32(gguf, "llama.attention.head_count", -1, &llama->heads));
    TD_TRY(read_u32(gguf, "llama.attention.head_count_kv", llama->heads, &llama->kv_heads));
    TD_TRY(read_u32(gguf, "llama.context_length", DEFAULT_CONTEXT, &llama->context_length));
    TD_TRY(read_double(gguf, "llama.attention.layer_norm_rms_epsilon", true, 0.0, &llama->epsilon));
    if (llama->heads == 0)
        return fail_key(gguf, "llama.attention.head_count", "at least 1");
    TD_TRY(read_u32(gguf, "llama.attention.key_length", llama->width / llama->heads,
                    &llama->head_size));
    TD_TRY(read_rope(gguf, llama->head_size, &llama->rope));
    TD_TRY(check_same_graph(gguf, llama));
    /* The vocabulary is as long as the embedding table; without one the build lists it as missing.
     */
    const fe_tensor *table = fe_tensors_find(&gguf->tensors, "token_embd.weight");
    llama->vocabulary = 1;
    if (table != NULL && table->rank == 2 && table->dim[0] <= INT32_MAX)
        llama->vocabulary = (uint32_t)table->dim[0];
    llama->parts = fe_llama_find_parts(&gguf->tensors, FE_LLAMA_GGUF);
    return TD_OK;
}

/* A token id inside the vocabulary, or -1. */
static int32_t token_id(const fe_gguf *gguf, const char *key, uint32_t vocabulary)
{
    const fe_gguf_value *value = find_scalar(gguf, key);
    int64_t id;
    return value != NULL && fe_gguf_integer(value, 0, &id) && id >= 0 && id < (int64_t)vocabulary
               ? (int32_t)id
               : -1;
}

/* --- the file --- */

static td_status build(ir_module *module, const fe_gguf *gguf, const fe_options *options,
                       fe_model *model)
{
    fe_llama llama;
    TD_TRY(check_architecture(gguf));
    TD_TRY(read_parameters(gguf, &llama));
    TD_TRY(fe_llama_build(module, gguf->file->path, &llama, &gguf->tensors, FE_LLAMA_GGUF, options,
                          model));
    model->bos_id = token_id(gguf, "tokenizer.ggml.bos_token_id", llama.vocabulary);
    model->eos_id = token_id(gguf, "tokenizer.ggml.eos_token_id", llama.vocabulary);
    model->tokenizer_path = NULL;
    if (fe_gguf_find(gguf, "tokenizer.ggml.tokens") != NULL) {
        model->tokenizer_path = td_arena_string(&module->arena, gguf->file->path);
        if (model->tokenizer_path == NULL)
            return td_fail_memory(module->context);
    }
    return TD_OK;
}

static td_status import_into(ir_module *module, const char *path, const fe_options *options,
                             fe_model *model)
{
    td_file *file;
    fe_gguf gguf;
    TD_TRY(fe_map_for_module(module, path, &file));
    TD_TRY(fe_gguf_open(module->context, file, &gguf));
    const td_status status = build(module, &gguf, options, model);
    fe_gguf_release(&gguf);
    return status;
}

td_status fe_import_gguf(td_context *context, const char *path, const fe_options *options,
                         fe_model *model)
{
    return fe_llama_import(context, path, options, import_into, model);
}
