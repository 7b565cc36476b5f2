/* Tokenizers by file: which format it is, and the compiled result.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "frontend/tokenizer/vocabulary.h"

#include <string.h>

/* What a directory's tokenizer is called, best first. */
static const char *const directory_names[] = {"tokenizer.json", "tokenizer.model", "vocab.json",
                                              "encoder.json"};

static bool starts_with(const td_file *file, const char *text)
{
    return file->size >= strlen(text) && memcmp(file->data, text, strlen(text)) == 0;
}

static bool is_json(const td_file *file)
{
    uint64_t at = starts_with(file, "\xef\xbb\xbf") ? 3 : 0;
    while (at < file->size && file->data[at] != '\0' && strchr(" \t\r\n", file->data[at]) != NULL)
        at++;
    return at < file->size && file->data[at] == '{';
}

/* A first line of base64, a space and digits. */
static bool is_rank_list(const td_file *file)
{
    uint64_t at = 0;
    while (at < file->size && at < 4096 && file->data[at] > ' ' && file->data[at] < 127)
        at++;
    return at >= 4 && at + 1 < file->size && file->data[at] == ' ' && file->data[at + 1] >= '0' &&
           file->data[at + 1] <= '9';
}

/* Reads by content. */
static td_status read_file(fe_vocabulary *v, td_file *file)
{
    if (fe_gguf_recognise(file))
        return fe_vocabulary_read_gguf(v, file);
    if (is_json(file))
        return fe_vocabulary_read_json(v, file);
    if (starts_with(file, "#version"))
        return td_fail(v->context, TD_UNSUPPORTED,
                       "a list of merges; the vocabulary beside it is accepted (vocab.json or "
                       "encoder.json)");
    if (starts_with(file, "\n"))
        return fe_vocabulary_read_sentencepiece(v, file);
    if (is_rank_list(file))
        return fe_vocabulary_read_ranks(v, file);
    return td_fail(v->context, TD_INVALID,
                   "no tokenizer; accepted are tokenizer.json, tokenizer.model, vocab.json with "
                   "merges.txt and GGUF");
}

static td_status compile_file(td_context *context, td_file *file, fe_tokenizer *tokenizer)
{
    fe_vocabulary vocabulary;
    fe_vocabulary_init(&vocabulary, context);
    td_status status = read_file(&vocabulary, file);
    if (status == TD_OK) {
        fe_vocabulary_settle(&vocabulary);
        status = fe_vocabulary_write(&vocabulary, tokenizer);
    }
    fe_vocabulary_release(&vocabulary);
    return status;
}

/* Finds the tokenizer of a directory; td_release(*path). */
static td_status find_in_directory(td_context *context, const char *directory, char **path)
{
    td_text inside;
    td_text_init(&inside, context);
    td_text_printf(&inside, "%s/", directory);
    *path = NULL;
    for (size_t i = 0; i < TD_COUNT_OF(directory_names) && !inside.failed && *path == NULL; i++) {
        char *candidate = td_path_beside(context, inside.data, directory_names[i]);
        if (candidate == NULL)
            inside.failed = true;
        else if (td_path_exists(candidate))
            *path = candidate;
        else
            td_release(context, candidate);
    }
    bool failed = inside.failed;
    td_text_release(&inside);
    if (failed)
        return td_fail_memory(context);
    if (*path == NULL)
        return td_fail(
            context, TD_IO,
            "%s: there is no tokenizer.json, tokenizer.model, vocab.json or encoder.json",
            directory);
    return TD_OK;
}

td_status fe_read_tokenizer(td_context *context, const char *path, fe_tokenizer *tokenizer)
{
    if (td_path_is_directory(path)) {
        char *inside;
        TD_TRY(find_in_directory(context, path, &inside));
        td_status status = fe_read_tokenizer(context, inside, tokenizer);
        td_release(context, inside);
        return status;
    }
    td_file file;
    TD_TRY(td_file_map(context, path, &file));
    td_status status = compile_file(context, &file, tokenizer);
    td_file_unmap(context, &file);
    /* The container of a GGUF file names its file itself. */
    bool named = strncmp(context->message, path, strlen(path)) == 0;
    return status == TD_OK || named ? status : td_fail_within(context, status, "%s", path);
}

void fe_tokenizer_release(td_context *context, fe_tokenizer *tokenizer)
{
    td_release(context, tokenizer->blob);
    *tokenizer = (fe_tokenizer){.bos_id = -1, .eos_id = -1};
}

static bool is_byte(const rt_tokenizer *tokenizer, uint32_t id)
{
    const uint8_t *kinds = rt_section(tokenizer, RT_SECTION_KINDS);
    return (kinds[id] & RT_TOKEN_KIND_MASK) == RT_TOKEN_BYTE;
}

td_status fe_tokenizers_match(td_context *context, const fe_tokenizer *a, const fe_tokenizer *b)
{
    const char *problem = NULL;
    const rt_tokenizer *left = rt_tokenizer_open(a->blob, a->bytes, &problem);
    const rt_tokenizer *right = rt_tokenizer_open(b->blob, b->bytes, &problem);
    if (left == NULL || right == NULL)
        return td_fail(context, TD_INTERNAL, "%s", problem);
    uint32_t common = a->vocabulary < b->vocabulary ? a->vocabulary : b->vocabulary;
    for (uint32_t id = 0; id < common; id++) {
        size_t left_size, right_size;
        const char *left_text = rt_symbol_piece(left, id, &left_size);
        const char *right_text = rt_symbol_piece(right, id, &right_size);
        if (left_size != right_size || memcmp(left_text, right_text, left_size) != 0 ||
            is_byte(left, id) != is_byte(right, id))
            return td_fail(
                context, TD_INVALID,
                "the vocabularies differ: token %u is \"%.*s\" in the first and \"%.*s\" "
                "in the second; equal token strings are accepted, with a longer end in "
                "one of them",
                id, (int)(left_size < 64 ? left_size : 64), left_text,
                (int)(right_size < 64 ? right_size : 64), right_text);
    }
    return TD_OK;
}
