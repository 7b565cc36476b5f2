/* A vocabulary and its merges in two files: GPT-2's encoder.json and vocab.bpe, or vocab.json and
 * merges.txt.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/json_file.h"
#include "frontend/tokenizer/tokenizer_steps.h"

#include <string.h>

static const char *const merge_files[] = {"merges.txt", "vocab.bpe"};

/* What tokenizer classes do, which is not in these files; GPT-2's where it is none of them. */
typedef struct class_steps {
    const char *tokenizer_class, *pretokenizer;
    uint32_t flags;
} class_steps;

static const class_steps classes[] = {
    {"GPT2Tokenizer", "gpt-2", 0},
    {"GPT2TokenizerFast", "gpt-2", 0},
    {"Qwen2Tokenizer", "qwen2", RT_TOKENIZER_NFC},
    {"Qwen2TokenizerFast", "qwen2", RT_TOKENIZER_NFC},
};

static td_status read_merge_lines(fe_vocabulary *v, const td_file *file)
{
    const char *at = (const char *)file->data, *end = at == NULL ? NULL : at + file->size;
    for (bool first = true; at != end; first = false) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        fe_span line = {at, (uint64_t)((newline == NULL ? end : newline) - at)};
        at = newline == NULL ? end : newline + 1;
        if (line.size > 0 && line.data[line.size - 1] == '\r')
            line.size--;
        bool version = first && line.size >= 8 && memcmp(line.data, "#version", 8) == 0;
        if (line.size > 0 && !version)
            TD_TRY(fe_vocabulary_add_merge_line(v, line));
    }
    return TD_OK;
}

/* Reads the first of the merge files that lies beside the vocabulary. */
static td_status read_merges(fe_vocabulary *v, const char *path)
{
    td_context *context = v->context;
    for (size_t i = 0; i < TD_COUNT_OF(merge_files); i++) {
        char *beside = td_path_beside(context, path, merge_files[i]);
        if (beside == NULL)
            return td_fail_memory(context);
        bool exists = td_path_exists(beside);
        td_status status = TD_OK;
        if (exists) {
            td_file file;
            status = td_file_map(context, beside, &file);
            if (status == TD_OK) {
                status = read_merge_lines(v, &file);
                td_file_unmap(context, &file);
            }
            if (status != TD_OK)
                td_fail_within(context, status, "%s beside it", merge_files[i]);
        }
        td_release(context, beside);
        if (exists)
            return status;
    }
    return td_fail(context, TD_INVALID,
                   "a vocabulary alone; merges.txt or vocab.bpe must lie beside it");
}

static const class_steps *find_class(const char *tokenizer_class)
{
    for (size_t i = 0; i < TD_COUNT_OF(classes) && tokenizer_class != NULL; i++)
        if (strcmp(classes[i].tokenizer_class, tokenizer_class) == 0)
            return &classes[i];
    return &classes[0];
}

td_status fe_vocabulary_read_pair(fe_vocabulary *v, const td_file *file, json_t *root)
{
    static const char end_of_text[] = "<|endoftext|>";
    v->flags |= RT_TOKENIZER_BYTE_LEVEL;
    TD_TRY(fe_vocabulary_set_all(v, root, file->size / 4 + 1));
    TD_TRY(fe_vocabulary_index(v, 1u << RT_TOKEN_NORMAL));
    TD_TRY(read_merges(v, file->path));
    const char *tokenizer_class;
    TD_TRY(fe_vocabulary_read_config(v, file->path, true, &tokenizer_class));
    TD_TRY(fe_vocabulary_finish(v));
    int32_t end = fe_vocabulary_find_any(v, end_of_text);
    if (end >= 0)
        v->tokens.items[end].kind = RT_TOKEN_CONTROL;
    const class_steps *steps = find_class(tokenizer_class);
    v->flags |= steps->flags;
    return fe_pretokenizer_add(v, (fe_span){steps->pretokenizer, strlen(steps->pretokenizer)});
}
