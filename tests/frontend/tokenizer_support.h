/* Helpers of the tokenizer tests.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FRONTEND_TOKENIZER_SUPPORT_H
#define TANDEM_TESTS_FRONTEND_TOKENIZER_SUPPORT_H

#include "base/file.h"
#include "frontend/frontend.h"
#include "runtime/tokenizer.h"
#include "tests/test.h"

#define DATA       TEST_SOURCE_FOLDER "/../shared/data/"
#define TOKENIZERS DATA "tokenizers/"
#define PAIR       TEST_SOURCE_FOLDER "/../shared/pair/tokenizer.json"

/* Ids of a text, counted; free(ids). */
typedef struct encoded {
    int32_t *ids;
    int64_t count;
} encoded;

static inline encoded encode(const fe_tokenizer *compiled, const char *text, size_t size,
                             unsigned flags)
{
    const rt_tokenizer *tokenizer = rt_tokenizer_open(compiled->blob, compiled->bytes, NULL);
    size_t scratch_bytes = rt_tokenizer_scratch_bytes(size), capacity = rt_tokenizer_most_ids(size);
    void *scratch = malloc(scratch_bytes);
    encoded result = {.ids = malloc(capacity * sizeof(int32_t)), .count = -1};
    if (tokenizer != NULL && scratch != NULL && result.ids != NULL)
        result.count = rt_tokenizer_encode(tokenizer, text, size, flags, scratch, scratch_bytes,
                                           result.ids, capacity);
    free(scratch);
    if (result.count > (int64_t)capacity)
        result.count = -2;
    return result;
}

/* The ids as " 1 2 3"; free it. */
static inline char *encode_text(const fe_tokenizer *compiled, const char *text, unsigned flags)
{
    encoded result = encode(compiled, text, strlen(text), flags);
    char *list = calloc((size_t)(result.count < 0 ? 1 : result.count) + 1, 12), *at = list;
    for (int64_t i = 0; list != NULL && i < result.count; i++)
        at += sprintf(at, " %d", result.ids[i]);
    free(result.ids);
    return list;
}

/* The text of ids, through the streaming decoder; free it. */
static inline char *decode(const fe_tokenizer *compiled, encoded tokens, bool show_special,
                           size_t *size)
{
    const rt_tokenizer *tokenizer = rt_tokenizer_open(compiled->blob, compiled->bytes, NULL);
    size_t most = rt_decoder_most_bytes(tokenizer);
    size_t bound = 3;
    for (int64_t i = 0; i < tokens.count; i++) {
        size_t length;
        rt_tokenizer_piece(tokenizer, tokens.ids[i], &length);
        bound += 3 * length + 9;
    }
    char *text = malloc(bound + most);
    rt_decoder decoder = {0};
    *size = 0;
    for (int64_t i = 0; text != NULL && i < tokens.count; i++)
        *size += rt_decoder_push(&decoder, tokenizer, tokens.ids[i], show_special, text + *size);
    if (text != NULL) {
        *size += rt_decoder_finish(&decoder, text + *size);
        text[*size] = '\0';
    }
    return text;
}

#endif
