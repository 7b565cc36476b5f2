/* Tokens and the index of their texts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Control tokens that end a text or a turn, whatever else a file says. */
static const char *const end_names[] = {
    "<|eot_id|>", "<|eom_id|>",    "<|im_end|>",      "<|end|>",
    "<|eot|>",    "<end_of_turn>", "<|end_of_text|>", "<|endoftext|>",
};

/* Where a file names neither: control tokens with which texts usually begin and end. */
static const char *const bos_names[] = {"<|begin_of_text|>", "<s>", "<bos>", "<|endoftext|>"};
static const char *const eos_names[] = {"<|end_of_text|>", "</s>", "<eos>", "<|endoftext|>"};

void fe_vocabulary_init(fe_vocabulary *vocabulary, td_context *context)
{
    memset(vocabulary, 0, sizeof *vocabulary);
    vocabulary->context = context;
    vocabulary->bos_id = vocabulary->eos_id = vocabulary->unknown_id = -1;
    td_arena_init(&vocabulary->arena, context);
}

void fe_vocabulary_release(fe_vocabulary *vocabulary)
{
    td_context *context = vocabulary->context;
    fe_patterns_release(context, &vocabulary->patterns);
    td_array_release(context, &vocabulary->tokens);
    td_array_release(context, &vocabulary->entries);
    td_array_release(context, &vocabulary->merges);
    td_arena_release(&vocabulary->arena);
}

fe_span fe_vocabulary_copy(fe_vocabulary *vocabulary, fe_span text)
{
    char *copy = td_arena_string_n(&vocabulary->arena, text.data, text.size);
    return (fe_span){copy, text.size};
}

td_status fe_vocabulary_set(fe_vocabulary *vocabulary, uint64_t id, uint64_t bound, fe_span text,
                            uint8_t kind, float score)
{
    td_context *context = vocabulary->context;
    int shown = (int)(text.size < 64 ? text.size : 64);
    if (id >= bound || id >= INT32_MAX)
        return td_fail(context, TD_INVALID,
                       "token \"%.*s\" has id %llu, which is out of range for a file of this size",
                       shown, text.data, (unsigned long long)id);
    if (!td_array_reserve(context, &vocabulary->tokens, id + 1))
        return td_fail_memory(context);
    while (vocabulary->tokens.count <= id)
        vocabulary->tokens.items[vocabulary->tokens.count++] = (fe_token){0};
    fe_token *token = &vocabulary->tokens.items[id];
    if (token->kind != 0)
        return td_fail(context, TD_INVALID, "id %llu is given to token \"%.*s\" and to \"%.*s\"",
                       (unsigned long long)id, (int)(token->text.size < 64 ? token->text.size : 64),
                       token->text.data, shown, text.data);
    *token = (fe_token){.text = fe_vocabulary_copy(vocabulary, text), .kind = kind, .score = score};
    return token->text.data == NULL ? td_fail_memory(context) : TD_OK;
}

int fe_vocabulary_byte(fe_span text)
{
    static const char digits[] = "0123456789ABCDEF";
    if (text.size != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>')
        return -1;
    const char *high = memchr(digits, text.data[3], 16), *low = memchr(digits, text.data[4], 16);
    return high == NULL || low == NULL ? -1 : (int)(high - digits) * 16 + (int)(low - digits);
}

td_status fe_vocabulary_set_typed(fe_vocabulary *vocabulary, uint64_t id, uint64_t bound,
                                  fe_span text, uint8_t kind, float score)
{
    int byte = kind == RT_TOKEN_BYTE ? fe_vocabulary_byte(text) : 0;
    char single = (char)byte;
    if (byte < 0)
        return td_fail(vocabulary->context, TD_INVALID,
                       "byte token %llu is \"%.*s\"; <0x00> to <0xFF> are accepted",
                       (unsigned long long)id, (int)(text.size < 64 ? text.size : 64), text.data);
    if (kind == RT_TOKEN_BYTE)
        text = (fe_span){&single, 1};
    return fe_vocabulary_set(vocabulary, id, bound, text, kind, score);
}

td_status fe_vocabulary_finish(fe_vocabulary *vocabulary)
{
    vocabulary->size = (uint32_t)vocabulary->tokens.count;
    for (uint32_t i = 0; i < vocabulary->size; i++)
        if (vocabulary->tokens.items[i].kind == 0)
            vocabulary->tokens.items[i] = (fe_token){.text = {"", 0}, .kind = RT_TOKEN_UNUSED};
    return vocabulary->size > 0
               ? TD_OK
               : td_fail(vocabulary->context, TD_INVALID, "the vocabulary is empty");
}

/* --- the index --- */

static int compare_texts(fe_span a, fe_span b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_entries(const void *a, const void *b)
{
    const fe_token_entry *left = a, *right = b;
    int order = compare_texts(left->text, right->text);
    return order != 0 ? order : (left->symbol > right->symbol) - (left->symbol < right->symbol);
}

td_status fe_vocabulary_index(fe_vocabulary *vocabulary, uint32_t kinds)
{
    td_context *context = vocabulary->context;
    vocabulary->entries.count = 0;
    if (!td_array_reserve(context, &vocabulary->entries, vocabulary->tokens.count))
        return td_fail_memory(context);
    for (uint32_t i = 0; i < vocabulary->tokens.count; i++) {
        const fe_token *token = &vocabulary->tokens.items[i];
        if (token->text.size > 0 && (kinds >> token->kind & 1) != 0)
            vocabulary->entries.items[vocabulary->entries.count++] =
                (fe_token_entry){token->text, i};
    }
    if (vocabulary->entries.count > 1)
        qsort(vocabulary->entries.items, vocabulary->entries.count, sizeof(fe_token_entry),
              compare_entries);
    return TD_OK;
}

uint32_t fe_vocabulary_find(const fe_vocabulary *vocabulary, fe_span text)
{
    const fe_token_entry *entries = vocabulary->entries.items;
    size_t low = 0, high = vocabulary->entries.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_texts(entries[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < vocabulary->entries.count && compare_texts(entries[low].text, text) == 0
               ? entries[low].symbol
               : RT_NONE;
}

int32_t fe_vocabulary_find_any(const fe_vocabulary *vocabulary, const char *text)
{
    for (size_t i = 0; i < vocabulary->tokens.count; i++)
        if (vocabulary->tokens.items[i].kind != 0 &&
            fe_span_equal(vocabulary->tokens.items[i].text, text))
            return (int32_t)i;
    return -1;
}

/* --- the byte alphabet --- */

/* Bytes that stand for themselves; the others are numbered from U+0100 on, in order. */
static bool stands_for_itself(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* The byte of a character, or -1. */
static int byte_of(uint32_t code_point)
{
    if (code_point < 256)
        return stands_for_itself(code_point) ? (int)code_point : -1;
    uint32_t number = 256;
    for (unsigned byte = 0; byte < 256; byte++)
        if (!stands_for_itself(byte) && number++ == code_point)
            return (int)byte;
    return -1;
}

fe_span fe_vocabulary_copy_bytes(fe_vocabulary *vocabulary, fe_span text)
{
    char *bytes = td_arena_allocate(&vocabulary->arena, text.size + 1, 1);
    size_t count = 0;
    if (bytes == NULL)
        return (fe_span){NULL, 0};
    for (size_t at = 0; at < text.size;) {
        uint32_t code_point;
        at += rt_utf8_decode(text.data + at, text.size - at, &code_point);
        int byte = byte_of(code_point);
        if (byte < 0)
            return fe_vocabulary_copy(vocabulary, text);
        bytes[count++] = (char)byte;
    }
    return (fe_span){bytes, count};
}

/* --- the ends of a text --- */

static int32_t find_first(const fe_vocabulary *vocabulary, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t id = fe_vocabulary_find_any(vocabulary, names[i]);
        if (id >= 0 && vocabulary->tokens.items[id].kind == RT_TOKEN_CONTROL)
            return id;
    }
    return -1;
}

void fe_vocabulary_settle(fe_vocabulary *vocabulary)
{
    int64_t size = vocabulary->size;
    if (vocabulary->bos_id < 0 || vocabulary->bos_id >= size)
        vocabulary->bos_id = find_first(vocabulary, bos_names, TD_COUNT_OF(bos_names));
    if (vocabulary->eos_id < 0 || vocabulary->eos_id >= size)
        vocabulary->eos_id = find_first(vocabulary, eos_names, TD_COUNT_OF(eos_names));
    if (vocabulary->unknown_id >= size)
        vocabulary->unknown_id = -1;
    for (uint32_t i = 0; i < vocabulary->size; i++) {
        fe_token *token = &vocabulary->tokens.items[i];
        bool ends = (int32_t)i == vocabulary->eos_id;
        for (size_t j = 0; j < TD_COUNT_OF(end_names) && !ends; j++)
            ends = token->kind == RT_TOKEN_CONTROL && fe_span_equal(token->text, end_names[j]);
        if (ends)
            token->kind |= RT_TOKEN_END;
    }
}
