/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/huggingface_config.h"

#include <string.h>

/* --- fields --- */

/* An object of a file, for messages: `within` is "" or "rope_scaling.". */
typedef struct fields {
    td_context *context;
    const char *path, *within;
    const json_t *object;
} fields;

static td_status fail_field(const fields *in, const char *key, const char *accepted)
{
    return td_fail(in->context, TD_INVALID, "%s: \"%s%s\" must be %s", in->path, in->within, key,
                   accepted);
}

/* The value of a key; NULL when absent or null. */
static const json_t *find(const fields *in, const char *key)
{
    const json_t *value = json_object_get(in->object, key);
    return json_is_null(value) ? NULL : value;
}

/* `otherwise` where the key is absent; negative: the key is required. */
static td_status read_u32(const fields *in, const char *key, int64_t otherwise, uint32_t *number)
{
    const json_t *value = find(in, key);
    if (value == NULL ? otherwise < 0
                      : !json_is_integer(value) || json_integer_value(value) < 0 ||
                            json_integer_value(value) > UINT32_MAX)
        return fail_field(in, key, "a whole number from 0 to 4294967295");
    *number = (uint32_t)(value == NULL ? otherwise : json_integer_value(value));
    return TD_OK;
}

/* `otherwise` where the key is absent; negative: the key is required. */
static td_status read_double(const fields *in, const char *key, double otherwise, double *number)
{
    const json_t *value = find(in, key);
    if (value == NULL ? otherwise < 0.0 : !json_is_number(value))
        return fail_field(in, key, "a number");
    *number = value == NULL ? otherwise : json_number_value(value);
    return TD_OK;
}

/* False where the key is absent. */
static td_status read_bool(const fields *in, const char *key, bool *flag)
{
    const json_t *value = find(in, key);
    if (value != NULL && !json_is_boolean(value))
        return fail_field(in, key, "true or false");
    *flag = json_is_true(value);
    return TD_OK;
}

/* `otherwise` where the key is absent; NULL: the key is required. */
static td_status read_string(const fields *in, const char *key, const char *otherwise,
                             const char **string)
{
    const json_t *value = find(in, key);
    if (value == NULL ? otherwise == NULL : !json_is_string(value))
        return fail_field(in, key, "a string");
    *string = value == NULL ? otherwise : json_string_value(value);
    return TD_OK;
}

/* --- rotation --- */

static td_status read_llama3(const fields *in, uint32_t context_length, fe_rope *rope)
{
    rope->kind = FE_ROPE_LLAMA3;
    TD_TRY(read_double(in, "factor", -1.0, &rope->factor));
    TD_TRY(read_double(in, "low_freq_factor", -1.0, &rope->low_factor));
    TD_TRY(read_double(in, "high_freq_factor", -1.0, &rope->high_factor));
    return read_double(in, "original_max_position_embeddings", context_length,
                       &rope->original_context);
}

/* Newer files keep base and scaling in "rope_parameters", older ones in "rope_theta" and
 * "rope_scaling", whose "type" became "rope_type". */
static td_status read_rope(const fields *config, uint32_t context_length, fe_rope *rope)
{
    const json_t *parameters = find(config, "rope_parameters");
    const json_t *scaling = parameters != NULL ? parameters : find(config, "rope_scaling");
    const fields in = {config->context, config->path,
                       parameters != NULL ? "rope_parameters." : "rope_scaling.", scaling};
    const char *kind = "default";
    double rotated;
    *rope = (fe_rope){.interleaved = false};
    TD_TRY(read_double(config, "rope_theta", 10000.0, &rope->base));
    TD_TRY(read_double(config, "partial_rotary_factor", 1.0, &rotated));
    if (rotated != 1.0)
        return fail_field(config, "partial_rotary_factor", "1 (rotation of whole heads)");
    if (scaling == NULL)
        return TD_OK;
    if (!json_is_object(scaling))
        return fail_field(config, parameters != NULL ? "rope_parameters" : "rope_scaling",
                          "an object or null");
    TD_TRY(read_double(&in, "rope_theta", rope->base, &rope->base));
    TD_TRY(read_string(&in, "type", kind, &kind));
    TD_TRY(read_string(&in, "rope_type", kind, &kind));
    if (strcmp(kind, "default") == 0)
        return TD_OK;
    if (strcmp(kind, "linear") == 0) {
        rope->kind = FE_ROPE_LINEAR;
        return read_double(&in, "factor", -1.0, &rope->factor);
    }
    if (strcmp(kind, "llama3") == 0)
        return read_llama3(&in, context_length, rope);
    return td_fail(config->context, TD_UNSUPPORTED,
                   "%s: \"%srope_type\" is \"%.60s\"; \"default\", \"linear\" and \"llama3\" are "
                   "accepted",
                   config->path, in.within, kind);
}

/* --- model types --- */

/* Which optional parts a type always has, and which options of the file it listens to. */
typedef struct model_type {
    const char *name;
    unsigned parts;
    bool attention_bias, mlp_bias; /* listens to these keys */
    bool window;                   /* "sliding_window" holds unless "use_sliding_window" is asked */
} model_type;

static const model_type model_types[] = {
    {"llama", 0, true, true, false},
    {"mistral", 0, false, false, true},
    {"qwen2", FE_LLAMA_WITH_INPUT_BIAS, false, false, false},
    {"qwen3", FE_LLAMA_WITH_HEAD_NORMS, true, false, false},
};

static td_status find_type(const fields *config, const model_type **type)
{
    const char *name;
    TD_TRY(read_string(config, "model_type", NULL, &name));
    for (size_t i = 0; i < TD_COUNT_OF(model_types); i++) {
        if (strcmp(name, model_types[i].name) != 0)
            continue;
        *type = &model_types[i];
        return TD_OK;
    }
    return td_fail(config->context, TD_UNSUPPORTED,
                   "%s: \"model_type\" is \"%.60s\"; \"llama\", \"mistral\", \"qwen2\" and "
                   "\"qwen3\" are accepted",
                   config->path, name);
}

static td_status read_parts(const fields *config, const model_type *type, fe_llama *llama)
{
    bool tied, attention_bias = false, mlp_bias = false, window = false;
    TD_TRY(read_bool(config, "tie_word_embeddings", &tied));
    if (type->attention_bias)
        TD_TRY(read_bool(config, "attention_bias", &attention_bias));
    if (type->mlp_bias)
        TD_TRY(read_bool(config, "mlp_bias", &mlp_bias));
    TD_TRY(read_bool(config, "use_sliding_window", &window));
    if (window)
        return td_fail(config->context, TD_UNSUPPORTED,
                       "%s: \"use_sliding_window\" is true; false is accepted", config->path);
    llama->parts = type->parts | (tied ? 0 : FE_LLAMA_WITH_SEPARATE_HEAD) |
                   (mlp_bias ? FE_LLAMA_WITH_MLP_BIAS : 0);
    if (attention_bias)
        llama->parts |= FE_LLAMA_WITH_INPUT_BIAS | FE_LLAMA_WITH_OUTPUT_BIAS;
    return type->window ? read_u32(config, "sliding_window", 0, &llama->window) : TD_OK;
}

/* Options under which the same weights mean another computation. */
static td_status check_same_graph(const fields *config)
{
    const char *activation;
    TD_TRY(read_string(config, "hidden_act", "silu", &activation));
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return td_fail(config->context, TD_UNSUPPORTED,
                       "%s: \"hidden_act\" is \"%.60s\"; \"silu\" is accepted", config->path,
                       activation);
    if (find(config, "quantization_config") != NULL)
        return td_fail(config->context, TD_UNSUPPORTED,
                       "%s: \"quantization_config\" is present; checkpoints in F32, F16 or BF16 "
                       "are accepted",
                       config->path);
    return TD_OK;
}

td_status fe_huggingface_parameters(td_context *context, const char *path, const json_t *root,
                                    fe_llama *llama)
{
    const fields config = {context, path, "", root};
    const model_type *type = NULL;
    *llama = (fe_llama){0};
    TD_TRY(find_type(&config, &type));
    TD_TRY(check_same_graph(&config));
    TD_TRY(read_u32(&config, "vocab_size", -1, &llama->vocabulary));
    TD_TRY(read_u32(&config, "hidden_size", -1, &llama->width));
    TD_TRY(read_u32(&config, "intermediate_size", -1, &llama->feed_forward));
    TD_TRY(read_u32(&config, "num_hidden_layers", -1, &llama->layers));
    TD_TRY(read_u32(&config, "num_attention_heads", -1, &llama->heads));
    if (llama->heads == 0)
        return fail_field(&config, "num_attention_heads", "at least 1");
    TD_TRY(read_u32(&config, "num_key_value_heads", llama->heads, &llama->kv_heads));
    TD_TRY(read_u32(&config, "head_dim", llama->width / llama->heads, &llama->head_size));
    TD_TRY(read_u32(&config, "max_position_embeddings", 2048, &llama->context_length));
    TD_TRY(read_double(&config, "rms_norm_eps", 1e-6, &llama->epsilon));
    TD_TRY(read_parts(&config, type, llama));
    return read_rope(&config, llama->context_length, &llama->rope);
}

td_status fe_huggingface_tokens(td_context *context, const char *path, const json_t *root,
                                const char *key, uint32_t vocabulary, int32_t *ids,
                                uint32_t capacity, uint32_t *count)
{
    const fields config = {context, path, "", root};
    const json_t *value = find(&config, key);
    const size_t all = value == NULL ? 0 : json_is_array(value) ? json_array_size(value) : 1;
    *count = 0;
    if (all > capacity)
        return td_fail(context, TD_INVALID, "%s: \"%s\" lists %zu token ids; at most %u are read",
                       path, key, all, capacity);
    for (size_t i = 0; i < all; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < -1 ||
            json_integer_value(id) >= (json_int_t)vocabulary)
            return td_fail(context, TD_INVALID,
                           "%s: \"%s\" must be a token id (or a list of them) below %u", path, key,
                           vocabulary);
        if (json_integer_value(id) >= 0)
            ids[(*count)++] = (int32_t)json_integer_value(id);
    }
    return TD_OK;
}

td_status fe_huggingface_token(td_context *context, const char *path, const json_t *root,
                               const char *key, uint32_t vocabulary, int32_t *id)
{
    int32_t ids[FE_FURTHER_ENDS + 1];
    uint32_t count;
    TD_TRY(
        fe_huggingface_tokens(context, path, root, key, vocabulary, ids, TD_COUNT_OF(ids), &count));
    *id = count > 0 ? ids[0] : -1;
    return TD_OK;
}
