/* tokenizer.json of Hugging Face: models of type BPE, byte-level or with SentencePiece's spaces.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/json_file.h"
#include "frontend/tokenizer/tokenizer_steps.h"

#include <string.h>

static td_status refuse_setting(fe_vocabulary *v, const json_t *model, const char *name)
{
    const json_t *value = json_object_get(model, name);
    bool empty = value == NULL || json_is_null(value) ||
                 (json_is_string(value) && json_string_length(value) == 0) ||
                 (json_is_number(value) && json_number_value(value) == 0);
    return empty ? TD_OK
                 : td_fail(v->context, TD_UNSUPPORTED,
                           "model.%s is set; accepted is null or nothing", name);
}

static td_status check_model(fe_vocabulary *v, const json_t *model)
{
    static const char *const unsupported[] = {"dropout", "continuing_subword_prefix",
                                              "end_of_word_suffix"};
    const json_t *type = json_object_get(model, "type");
    if (type != NULL && strcmp(fe_json_text(model, "type"), "BPE") != 0)
        return td_fail(v->context, TD_UNSUPPORTED, "model.type is \"%s\"; accepted is \"BPE\"",
                       fe_json_text(model, "type"));
    if (!json_is_object(json_object_get(model, "vocab")) ||
        !json_is_array(json_object_get(model, "merges")))
        return td_fail(v->context, TD_INVALID,
                       "model.vocab must be an object and model.merges an array");
    for (size_t i = 0; i < TD_COUNT_OF(unsupported); i++)
        TD_TRY(refuse_setting(v, model, unsupported[i]));
    if (fe_json_truth(model, "ignore_merges", false))
        v->flags |= RT_TOKENIZER_WHOLE_WORDS;
    if (fe_json_truth(model, "fuse_unk", false))
        v->flags |= RT_TOKENIZER_FUSE_UNKNOWN;
    if (fe_json_truth(model, "byte_fallback", false))
        v->flags |= RT_TOKENIZER_BYTE_FALLBACK;
    return TD_OK;
}

/* Sets the token of an entry, by the alphabet that the flags say. */
static td_status set_from_json(fe_vocabulary *v, fe_span text, const json_t *id, uint64_t bound)
{
    uint8_t kind = RT_TOKEN_NORMAL;
    if (!json_is_integer(id) || json_integer_value(id) < 0)
        return td_fail(v->context, TD_INVALID, "token \"%.*s\" has no id",
                       (int)(text.size < 64 ? text.size : 64), text.data);
    int byte = (v->flags & RT_TOKENIZER_BYTE_FALLBACK) != 0 ? fe_vocabulary_byte(text) : -1;
    char single = (char)byte;
    if ((v->flags & RT_TOKENIZER_BYTE_LEVEL) != 0) {
        text = fe_vocabulary_copy_bytes(v, text);
        if (text.data == NULL)
            return td_fail_memory(v->context);
    } else if (byte >= 0) {
        text = (fe_span){&single, 1};
        kind = RT_TOKEN_BYTE;
    }
    return fe_vocabulary_set(v, (uint64_t)json_integer_value(id), bound, text, kind, 0);
}

td_status fe_vocabulary_set_all(fe_vocabulary *v, json_t *vocab, uint64_t bound)
{
    for (void *at = json_object_iter(vocab); at != NULL; at = json_object_iter_next(vocab, at)) {
        const char *key = json_object_iter_key(at);
        TD_TRY(set_from_json(v, (fe_span){key, strlen(key)}, json_object_iter_value(at), bound));
    }
    return TD_OK;
}

static td_status add_merge_pair(fe_vocabulary *v, const json_t *pair)
{
    fe_span left = fe_json_span(json_array_get(pair, 0));
    fe_span right = fe_json_span(json_array_get(pair, 1));
    if (left.data == NULL || right.data == NULL || json_array_size(pair) != 2)
        return td_fail(v->context, TD_INVALID,
                       "merge %zu is neither a string nor a pair of strings", v->merges.count + 1);
    return fe_vocabulary_add_merge(v, left, right);
}

static td_status read_merges(fe_vocabulary *v, const json_t *model)
{
    const json_t *merges = json_object_get(model, "merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        if (json_is_string(merge))
            TD_TRY(fe_vocabulary_add_merge_line(v, fe_json_span(merge)));
        else
            TD_TRY(add_merge_pair(v, merge));
    }
    return TD_OK;
}

td_status fe_vocabulary_add_token(fe_vocabulary *v, uint64_t id, uint64_t bound,
                                  const json_t *token)
{
    fe_span content = fe_json_span(json_object_get(token, "content"));
    if (content.data == NULL)
        return td_fail(v->context, TD_INVALID, "added token %llu has no content",
                       (unsigned long long)id);
    if (fe_json_truth(token, "single_word", false))
        return td_fail(v->context, TD_UNSUPPORTED,
                       "added token \"%s\" has single_word; accepted is false", content.data);
    /* The token may stand in the vocabulary already, written in its alphabet. */
    if (id < v->tokens.count)
        v->tokens.items[id].kind = 0;
    bool special = fe_json_truth(token, "special", false);
    TD_TRY(fe_vocabulary_set(v, id, bound, content,
                             special ? RT_TOKEN_CONTROL : RT_TOKEN_USER_DEFINED, 0));
    fe_token *added = &v->tokens.items[id];
    if (fe_json_truth(token, "lstrip", false))
        added->takes |= RT_SPECIAL_TAKES_LEFT;
    if (fe_json_truth(token, "rstrip", false))
        added->takes |= RT_SPECIAL_TAKES_RIGHT;
    return TD_OK;
}

static td_status read_added_tokens(fe_vocabulary *v, const json_t *root, uint64_t bound)
{
    const json_t *tokens = json_object_get(root, "added_tokens");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *token = json_array_get(tokens, i), *id = json_object_get(token, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return td_fail(v->context, TD_INVALID, "added token %zu has no id", i);
        TD_TRY(fe_vocabulary_add_token(v, (uint64_t)json_integer_value(id), bound, token));
    }
    return TD_OK;
}

static td_status find_unknown(fe_vocabulary *v, const json_t *model)
{
    const char *unknown = fe_json_text(model, "unk_token");
    if (unknown[0] == '\0')
        return TD_OK;
    v->unknown_id = fe_vocabulary_find_any(v, unknown);
    if (v->unknown_id < 0)
        return td_fail(v->context, TD_INVALID, "model.unk_token \"%s\" is no token", unknown);
    v->tokens.items[v->unknown_id].kind = RT_TOKEN_UNKNOWN;
    return TD_OK;
}

static td_status read_root(fe_vocabulary *v, const td_file *file, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    /* Every token takes some bytes of the file, so no sensible id is beyond its size. */
    uint64_t bound = file->size / 4 + 1;
    TD_TRY(check_model(v, model));
    TD_TRY(fe_tokenizer_steps_read(v, root));
    TD_TRY(fe_vocabulary_set_all(v, json_object_get(model, "vocab"), bound));
    TD_TRY(fe_vocabulary_index(v, 1u << RT_TOKEN_NORMAL));
    TD_TRY(read_merges(v, model));
    /* Only now, as merges may name tokens that added_tokens lists again; the index keeps the words
     * of the vocabulary itself. */
    TD_TRY(read_added_tokens(v, root, bound));
    const char *tokenizer_class;
    TD_TRY(fe_vocabulary_read_config(v, file->path, false, &tokenizer_class));
    TD_TRY(fe_vocabulary_finish(v));
    TD_TRY(find_unknown(v, model));
    return fe_tokenizer_steps_read_template(v, root);
}

td_status fe_vocabulary_read_json(fe_vocabulary *v, const td_file *file)
{
    json_t *root;
    TD_TRY(fe_json_read(v->context, file, &root));
    bool whole = json_is_object(json_object_get(root, "model"));
    td_status status = whole ? read_root(v, file, root) : fe_vocabulary_read_pair(v, file, root);
    json_decref(root);
    return status;
}
