/* Lists of ranks as tiktoken writes them: a token in base64, a space and its rank on every line.
 * Llama 3 calls such a file tokenizer.model.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include <stdio.h>
#include <string.h>

/* Llama 3's list has this many ranks; its control tokens follow and are not in the file. */
#define LLAMA3_RANKS          128000
#define LLAMA3_CONTROL_TOKENS 256

static const char *const llama3_control_tokens[] = {
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|reserved_special_token_2|>",
    "<|reserved_special_token_3|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
};

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes in place of `bytes`, which has room; false for what is not base64. */
static bool decode_base64(fe_span text, char *bytes, size_t *count)
{
    uint32_t held = 0;
    *count = 0;
    size_t size = text.size;
    while (size > 0 && text.size - size < 2 && text.data[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0)
            return false;
        held = held << 6 | (uint32_t)value;
        if (i % 4 != 0)
            bytes[(*count)++] = (char)(held >> (6 - 2 * (i % 4)));
    }
    return size > 0 && text.size % 4 == 0;
}

/* One to ten digits. */
static bool read_rank(fe_span text, uint64_t *rank)
{
    *rank = 0;
    for (size_t i = 0; i < text.size && i < 10; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *rank = *rank * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.size > 0 && text.size <= 10;
}

static td_status read_line(fe_vocabulary *v, fe_span line, uint64_t number, uint64_t bound)
{
    char bytes[4096];
    size_t count = 0;
    uint64_t rank = 0;
    const char *space = memchr(line.data, ' ', line.size);
    const size_t length = space == NULL ? line.size : (size_t)(space - line.data);
    const bool good = length < line.size && length <= sizeof bytes &&
                      decode_base64((fe_span){line.data, length}, bytes, &count) &&
                      read_rank((fe_span){space + 1, line.size - length - 1}, &rank);
    if (!good)
        return td_fail(v->context, TD_INVALID,
                       "line %llu is not a token in base64, a space and a rank",
                       (unsigned long long)number);
    return fe_vocabulary_set(v, rank, bound, (fe_span){bytes, count}, RT_TOKEN_NORMAL, 0);
}

static td_status add_control_tokens(fe_vocabulary *v)
{
    for (unsigned i = 0; i < LLAMA3_CONTROL_TOKENS; i++) {
        char name[64];
        if (i < TD_COUNT_OF(llama3_control_tokens))
            snprintf(name, sizeof name, "%s", llama3_control_tokens[i]);
        else
            snprintf(name, sizeof name, "<|reserved_special_token_%u|>", i - 5);
        TD_TRY(fe_vocabulary_set(v, LLAMA3_RANKS + i, UINT32_MAX, (fe_span){name, strlen(name)},
                                 RT_TOKEN_CONTROL, 0));
    }
    return TD_OK;
}

td_status fe_vocabulary_read_ranks(fe_vocabulary *v, const td_file *file)
{
    const char *at = (const char *)file->data, *end = at + file->size;
    v->flags |= RT_TOKENIZER_BYTE_LEVEL;
    for (uint64_t number = 1; at != end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        fe_span line = {at, (uint64_t)((newline == NULL ? end : newline) - at)};
        at = newline == NULL ? end : newline + 1;
        if (line.size > 0)
            TD_TRY(read_line(v, line, number, file->size / 4 + 1));
    }
    if (v->tokens.count != LLAMA3_RANKS)
        return td_fail(
            v->context, TD_UNSUPPORTED,
            "a list of %zu ranks; only Llama 3's with %d is known, as such a list does not "
            "hold its pre-tokenizer",
            v->tokens.count, LLAMA3_RANKS);
    TD_TRY(add_control_tokens(v));
    v->bos_id = LLAMA3_RANKS;
    v->eos_id = LLAMA3_RANKS + 1;
    TD_TRY(fe_pretokenizer_add(v, (fe_span){"llama3", 6}));
    TD_TRY(fe_vocabulary_finish(v));
    return fe_vocabulary_derive_merges(v, false);
}
