/* The tokenizer in the metadata of a GGUF file.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include <string.h>

typedef struct reader {
    fe_vocabulary *vocabulary;
    td_context *context;
    fe_gguf gguf;
} reader;

static const fe_gguf_value *find(const reader *r, const char *name)
{
    char key[64] = "tokenizer.ggml.";
    strncat(key, name, sizeof key - strlen(key) - 1);
    return fe_gguf_find(&r->gguf, key);
}

static int32_t find_id(const reader *r, const char *name)
{
    const fe_gguf_value *value = find(r, name);
    int64_t id;
    return value != NULL && fe_gguf_integer(value, 0, &id) && id >= 0 && id <= INT32_MAX
               ? (int32_t)id
               : -1;
}

/* Sets or clears flags as a boolean entry says; without one they stay. */
static void read_flag(const reader *r, const char *name, uint32_t flags)
{
    const fe_gguf_value *value = find(r, name);
    int64_t truth;
    if (value == NULL || !fe_gguf_integer(value, 0, &truth))
        return;
    r->vocabulary->flags &= ~flags;
    r->vocabulary->flags |= truth != 0 ? flags : 0;
}

/* An array with an element for every token, or NULL; TD_INVALID when its length differs. */
static td_status find_array(const reader *r, const char *name, uint64_t count,
                            const fe_gguf_value **array)
{
    *array = find(r, name);
    if (*array == NULL || (*array)->count == count)
        return TD_OK;
    return td_fail(r->context, TD_INVALID, "tokenizer.ggml.%s has %llu elements for %llu tokens",
                   name, (unsigned long long)(*array)->count, (unsigned long long)count);
}

static td_status read_tokens(const reader *r)
{
    fe_vocabulary *v = r->vocabulary;
    const fe_gguf_value *tokens = find(r, "tokens"), *kinds, *scores;
    if (tokens == NULL || !tokens->is_array || tokens->type != FE_GGUF_STRING)
        return td_fail(r->context, TD_INVALID, "tokenizer.ggml.tokens is no array of strings");
    TD_TRY(find_array(r, "token_type", tokens->count, &kinds));
    TD_TRY(find_array(r, "scores", tokens->count, &scores));
    fe_gguf_strings strings = fe_gguf_strings_begin(tokens);
    fe_span text;
    for (uint64_t id = 0; fe_gguf_strings_next(&strings, &text); id++) {
        int64_t kind = RT_TOKEN_NORMAL;
        double score = 0;
        if (kinds != NULL &&
            (!fe_gguf_integer(kinds, id, &kind) || kind < RT_TOKEN_NORMAL || kind > RT_TOKEN_BYTE))
            return td_fail(r->context, TD_INVALID,
                           "tokenizer.ggml.token_type of token %llu is not 1 to 6",
                           (unsigned long long)id);
        if (scores != NULL && !fe_gguf_number(scores, id, &score))
            return td_fail(r->context, TD_INVALID, "tokenizer.ggml.scores are no numbers");
        if ((v->flags & RT_TOKENIZER_BYTE_LEVEL) != 0 && kind == RT_TOKEN_NORMAL) {
            text = fe_vocabulary_copy_bytes(v, text);
            if (text.data == NULL)
                return td_fail_memory(r->context);
        }
        TD_TRY(fe_vocabulary_set_typed(v, id, tokens->count, text, (uint8_t)kind, (float)score));
    }
    return fe_vocabulary_finish(v);
}

static td_status read_byte_level(const reader *r)
{
    fe_vocabulary *v = r->vocabulary;
    const fe_gguf_value *pre = find(r, "pre"), *merges = find(r, "merges");
    fe_span name = {"gpt-2", 5};
    v->flags |= RT_TOKENIZER_BYTE_LEVEL;
    if (pre != NULL && !fe_gguf_string(pre, &name))
        return td_fail(r->context, TD_INVALID, "tokenizer.ggml.pre is no string");
    if (merges == NULL || !merges->is_array || merges->type != FE_GGUF_STRING)
        return td_fail(r->context, TD_INVALID, "tokenizer.ggml.merges is no array of strings");
    TD_TRY(fe_pretokenizer_add(v, name));
    TD_TRY(read_tokens(r));
    TD_TRY(fe_vocabulary_index(v, 1u << RT_TOKEN_NORMAL | 1u << RT_TOKEN_USER_DEFINED));
    fe_gguf_strings strings = fe_gguf_strings_begin(merges);
    for (fe_span line; fe_gguf_strings_next(&strings, &line);)
        TD_TRY(fe_vocabulary_add_merge_line(v, line));
    return TD_OK;
}

static td_status read_sentencepiece(const reader *r)
{
    fe_vocabulary *v = r->vocabulary;
    const uint32_t prefix =
        RT_TOKENIZER_PREFIX | RT_TOKENIZER_PREFIX_EVERY | RT_TOKENIZER_STRIP_FIRST;
    v->metaspace = true;
    v->flags |=
        RT_TOKENIZER_BYTE_FALLBACK | RT_TOKENIZER_FUSE_UNKNOWN | RT_TOKENIZER_ADD_BOS | prefix;
    read_flag(r, "add_space_prefix", prefix);
    TD_TRY(read_tokens(r));
    return fe_vocabulary_derive_merges(v, true);
}

static td_status read_metadata(const reader *r)
{
    fe_vocabulary *v = r->vocabulary;
    const fe_gguf_value *value = find(r, "model");
    fe_span model = {"", 0};
    if (value == NULL || !fe_gguf_string(value, &model))
        return td_fail(r->context, TD_INVALID, "there is no tokenizer in the file's metadata");
    if (fe_span_equal(model, "gpt2"))
        TD_TRY(read_byte_level(r));
    else if (fe_span_equal(model, "llama"))
        TD_TRY(read_sentencepiece(r));
    else
        return td_fail(r->context, TD_UNSUPPORTED,
                       "tokenizer.ggml.model is \"%.*s\"; accepted are \"llama\" and \"gpt2\"",
                       (int)(model.size < 64 ? model.size : 64), model.data);
    v->bos_id = find_id(r, "bos_token_id");
    v->eos_id = find_id(r, "eos_token_id");
    v->unknown_id = find_id(r, "unknown_token_id");
    read_flag(r, "add_bos_token", RT_TOKENIZER_ADD_BOS);
    read_flag(r, "add_eos_token", RT_TOKENIZER_ADD_EOS);
    return TD_OK;
}

td_status fe_vocabulary_read_gguf(fe_vocabulary *v, td_file *file)
{
    reader r = {.vocabulary = v, .context = v->context};
    TD_TRY(fe_gguf_open(v->context, file, &r.gguf));
    td_status status = read_metadata(&r);
    fe_gguf_release(&r.gguf);
    return status;
}
