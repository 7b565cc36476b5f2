/* Merges: given by a file, or derived from the tokens.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include "runtime/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Longest token that merges are derived for, in bytes: deriving costs the square of it. */
#define LONGEST_DERIVED 256

static td_status unknown_merge(fe_vocabulary *vocabulary, fe_span left, fe_span right,
                               const char *what)
{
    return td_fail(vocabulary->context, TD_INVALID,
                   "merge %zu joins \"%.*s\" and \"%.*s\", but %s is no token",
                   vocabulary->merges.count + 1, (int)(left.size < 64 ? left.size : 64), left.data,
                   (int)(right.size < 64 ? right.size : 64), right.data, what);
}

/* The token that is the two texts in a row. */
static uint32_t find_joined(fe_vocabulary *vocabulary, fe_span left, fe_span right, bool *failed)
{
    char buffer[512], *joined = buffer;
    size_t size = left.size + right.size;
    if (size > sizeof buffer)
        joined = td_allocate(vocabulary->context, size);
    *failed = joined == NULL;
    if (joined == NULL)
        return RT_NONE;
    if (left.size > 0)
        memcpy(joined, left.data, left.size);
    if (right.size > 0)
        memcpy(joined + left.size, right.data, right.size);
    uint32_t found = fe_vocabulary_find(vocabulary, (fe_span){joined, size});
    if (joined != buffer)
        td_release(vocabulary->context, joined);
    return found;
}

td_status fe_vocabulary_add_merge(fe_vocabulary *vocabulary, fe_span left, fe_span right)
{
    if ((vocabulary->flags & RT_TOKENIZER_BYTE_LEVEL) != 0) {
        left = fe_vocabulary_copy_bytes(vocabulary, left);
        right = fe_vocabulary_copy_bytes(vocabulary, right);
        if (left.data == NULL || right.data == NULL)
            return td_fail_memory(vocabulary->context);
    }
    bool failed;
    fe_merge merge = {.left = fe_vocabulary_find(vocabulary, left),
                      .right = fe_vocabulary_find(vocabulary, right),
                      .rank = (uint32_t)vocabulary->merges.count,
                      .result = find_joined(vocabulary, left, right, &failed)};
    if (failed)
        return td_fail_memory(vocabulary->context);
    if (merge.left == RT_NONE)
        return unknown_merge(vocabulary, left, right, "the first");
    if (merge.right == RT_NONE)
        return unknown_merge(vocabulary, left, right, "the second");
    if (merge.result == RT_NONE)
        return unknown_merge(vocabulary, left, right, "what they make");
    if (!td_array_push(vocabulary->context, &vocabulary->merges, merge))
        return td_fail_memory(vocabulary->context);
    return TD_OK;
}

td_status fe_vocabulary_add_merge_line(fe_vocabulary *vocabulary, fe_span line)
{
    const char *space = line.size < 3 ? NULL : memchr(line.data + 1, ' ', line.size - 2);
    if (space == NULL)
        return td_fail(vocabulary->context, TD_INVALID,
                       "merge %zu is \"%.*s\"; two tokens with a space between them are accepted",
                       vocabulary->merges.count + 1, (int)(line.size < 64 ? line.size : 64),
                       line.data);
    fe_span left = {line.data, (uint64_t)(space - line.data)};
    fe_span right = {space + 1, line.size - left.size - 1};
    return fe_vocabulary_add_merge(vocabulary, left, right);
}

/* --- derived merges --- */

/* Bytes of the first character of a text; single bytes when the vocabulary's symbols are bytes. */
static size_t step(const fe_vocabulary *vocabulary, fe_span text, size_t at)
{
    uint32_t code_point;
    if ((vocabulary->flags & RT_TOKENIZER_BYTE_LEVEL) != 0)
        return 1;
    return rt_utf8_decode(text.data + at, text.size - at, &code_point);
}

/* The one to four bytes of a character as a number, the first byte lowest. No character but U+0000
 * itself holds a zero byte. */
static uint32_t pack_character(fe_span character)
{
    uint32_t number = 0;
    for (size_t i = 0; i < character.size; i++)
        number |= (uint32_t)(unsigned char)character.data[i] << 8 * i;
    return number;
}

static fe_span unpack_character(fe_vocabulary *vocabulary, uint32_t number)
{
    char bytes[4];
    size_t size = 0;
    do
        bytes[size++] = (char)(number & 0xff);
    while ((number >>= 8) != 0);
    return fe_vocabulary_copy(vocabulary, (fe_span){bytes, size});
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* Adds the characters of normal tokens that are no tokens themselves. */
static td_status add_characters(fe_vocabulary *vocabulary)
{
    TD_ARRAY(uint32_t) missing = {0};
    td_context *context = vocabulary->context;
    bool failed = false;
    for (uint32_t i = 0; i < vocabulary->size && !failed; i++) {
        fe_token token = vocabulary->tokens.items[i];
        for (size_t at = 0; token.kind == RT_TOKEN_NORMAL && at < token.text.size && !failed;) {
            size_t size = step(vocabulary, token.text, at);
            fe_span character = {token.text.data + at, size};
            at += size;
            if (fe_vocabulary_find(vocabulary, character) == RT_NONE)
                failed = !td_array_push(context, &missing, pack_character(character));
        }
    }
    if (missing.count > 1)
        qsort(missing.items, missing.count, sizeof *missing.items, compare_numbers);
    for (size_t i = 0; i < missing.count && !failed; i++) {
        if (i > 0 && missing.items[i] == missing.items[i - 1])
            continue;
        fe_span text = unpack_character(vocabulary, missing.items[i]);
        failed = text.data == NULL ||
                 !td_array_push(context, &vocabulary->tokens, ((fe_token){.text = text}));
    }
    td_array_release(context, &missing);
    return failed ? td_fail_memory(context) : TD_OK;
}

typedef struct ranked_token {
    float score;
    uint32_t id;
} ranked_token;

static int compare_scores(const void *a, const void *b)
{
    const ranked_token *left = a, *right = b;
    if (left->score != right->score)
        return left->score > right->score ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

/* The rank of every token: its id, or its place among all scores, equal for equal ones. */
static td_status rank_tokens(fe_vocabulary *vocabulary, bool by_score, uint32_t *ranks)
{
    uint32_t size = vocabulary->size;
    for (uint32_t i = 0; i < size; i++)
        ranks[i] = i;
    if (!by_score)
        return TD_OK;
    ranked_token *order = td_allocate(vocabulary->context, size * sizeof *order);
    if (order == NULL)
        return td_fail_memory(vocabulary->context);
    for (uint32_t i = 0; i < size; i++)
        order[i] = (ranked_token){vocabulary->tokens.items[i].score, i};
    qsort(order, size, sizeof *order, compare_scores);
    uint32_t rank = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (i > 0 && order[i].score != order[i - 1].score)
            rank = i;
        ranks[order[i].id] = rank;
    }
    td_release(vocabulary->context, order);
    return TD_OK;
}

/* Adds every way to make a token of two symbols. */
static bool add_splits(fe_vocabulary *vocabulary, uint32_t id, uint32_t rank)
{
    fe_span text = vocabulary->tokens.items[id].text;
    for (size_t at = step(vocabulary, text, 0); at < text.size; at += step(vocabulary, text, at)) {
        uint32_t left = fe_vocabulary_find(vocabulary, (fe_span){text.data, at});
        if (left == RT_NONE)
            continue;
        uint32_t right = fe_vocabulary_find(vocabulary, (fe_span){text.data + at, text.size - at});
        fe_merge merge = {left, right, rank, id};
        if (right != RT_NONE && !td_array_push(vocabulary->context, &vocabulary->merges, merge))
            return false;
    }
    return true;
}

td_status fe_vocabulary_derive_merges(fe_vocabulary *vocabulary, bool by_score)
{
    td_context *context = vocabulary->context;
    TD_TRY(fe_vocabulary_index(vocabulary, 1u << RT_TOKEN_NORMAL));
    for (uint32_t i = 0; i < vocabulary->size; i++) {
        const fe_token *token = &vocabulary->tokens.items[i];
        if (token->kind == RT_TOKEN_NORMAL && token->text.size > LONGEST_DERIVED)
            return td_fail(context, TD_UNSUPPORTED,
                           "token %u has %llu bytes; at most %d are accepted where merges are "
                           "derived from tokens",
                           i, (unsigned long long)token->text.size, LONGEST_DERIVED);
        if (!isfinite(token->score))
            return td_fail(context, TD_INVALID, "the score of token %u is not finite", i);
    }
    TD_TRY(add_characters(vocabulary));
    TD_TRY(fe_vocabulary_index(vocabulary, 1u << RT_TOKEN_NORMAL | 1u));
    uint32_t *ranks = td_allocate(context, vocabulary->size * sizeof *ranks);
    if (ranks == NULL)
        return td_fail_memory(context);
    td_status status = rank_tokens(vocabulary, by_score, ranks);
    for (uint32_t i = 0; i < vocabulary->size && status == TD_OK; i++) {
        /* Of tokens with equal texts only the first can be made. */
        const fe_token *token = &vocabulary->tokens.items[i];
        if (token->kind == RT_TOKEN_NORMAL && token->text.size > 0 &&
            fe_vocabulary_find(vocabulary, token->text) == i &&
            !add_splits(vocabulary, i, ranks[i]))
            status = td_fail_memory(context);
    }
    td_release(context, ranks);
    return status;
}
