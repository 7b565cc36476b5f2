/* tokenizer_config.json, which lies beside the files of a Hugging Face tokenizer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/json_file.h"
#include "frontend/tokenizer/tokenizer_steps.h"

#include <stdlib.h>
#include <string.h>

/* A token that is named by a string or by an object with its content; -1 when there is none. */
static int32_t named_token(const fe_vocabulary *v, const json_t *config, const char *name)
{
    const json_t *value = json_object_get(config, name);
    const char *text =
        json_is_object(value) ? fe_json_text(value, "content") : json_string_value(value);
    return text == NULL || text[0] == '\0' ? -1 : fe_vocabulary_find_any(v, text);
}

static td_status read_added(fe_vocabulary *v, json_t *tokens, uint64_t bound)
{
    for (void *at = json_object_iter(tokens); at != NULL; at = json_object_iter_next(tokens, at)) {
        const char *key = json_object_iter_key(at);
        char *end;
        unsigned long long id = strtoull(key, &end, 10);
        if (*end != '\0' || key[0] < '0' || key[0] > '9')
            return td_fail(v->context, TD_INVALID, "added_tokens_decoder has the id \"%s\"", key);
        TD_TRY(fe_vocabulary_add_token(v, id, bound, json_object_iter_value(at)));
    }
    return TD_OK;
}

static td_status read_config(fe_vocabulary *v, const json_t *config, bool added,
                             const char **tokenizer_class)
{
    const char *name = fe_json_text(config, "tokenizer_class");
    *tokenizer_class = td_arena_string(&v->arena, name);
    if (*tokenizer_class == NULL)
        return td_fail_memory(v->context);
    if (added)
        TD_TRY(read_added(v, json_object_get(config, "added_tokens_decoder"),
                          2 * (uint64_t)v->tokens.count + 65536));
    v->bos_id = named_token(v, config, "bos_token");
    v->eos_id = named_token(v, config, "eos_token");
    if (v->bos_id >= 0 && fe_json_truth(config, "add_bos_token", false))
        v->flags |= RT_TOKENIZER_ADD_BOS;
    return TD_OK;
}

td_status fe_vocabulary_read_config(fe_vocabulary *v, const char *path, bool added,
                                    const char **tokenizer_class)
{
    td_context *context = v->context;
    char *beside = td_path_beside(context, path, "tokenizer_config.json");
    td_file file;
    json_t *config;
    *tokenizer_class = NULL;
    if (beside == NULL)
        return td_fail_memory(context);
    td_status status = TD_OK;
    if (td_path_exists(beside)) {
        status = td_file_map(context, beside, &file);
        if (status == TD_OK) {
            status = fe_json_read(context, &file, &config);
            if (status == TD_OK) {
                status = read_config(v, config, added, tokenizer_class);
                json_decref(config);
            }
            td_file_unmap(context, &file);
        }
        if (status != TD_OK)
            td_fail_within(context, status, "tokenizer_config.json beside it");
    }
    td_release(context, beside);
    return status;
}
