/* The blob that the runtime reads in place (runtime/tokenizer_blob.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/normalization.h"
#include "frontend/tokenizer/vocabulary.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

/* What SentencePiece writes for the unknown token. */
#define UNKNOWN_SURFACE " \xe2\x81\x87 "

typedef struct writer {
    fe_vocabulary *vocabulary;
    td_context *context;
    rt_tokenizer header;
    unsigned char *blob;
    TD_ARRAY(char) pieces;
    TD_ARRAY(uint32_t) starts; /* of the pieces */
    TD_ARRAY(rt_letter) letters;
    TD_ARRAY(fe_token_entry) specials; /* texts point into pieces, once those are complete */
    TD_ARRAY(uint32_t) sorted;
    fe_normalization normalization;
    uint32_t bytes[256];
} writer;

static uint8_t kind_of(const fe_vocabulary *vocabulary, uint32_t symbol)
{
    return vocabulary->tokens.items[symbol].kind & RT_TOKEN_KIND_MASK;
}

/* --- pieces --- */

static bool append_piece(writer *w, uint32_t symbol)
{
    const fe_vocabulary *v = w->vocabulary;
    fe_span text = v->tokens.items[symbol].text;
    uint8_t kind = kind_of(v, symbol);
    if (kind == RT_TOKEN_UNKNOWN && v->metaspace)
        text = (fe_span){UNKNOWN_SURFACE, strlen(UNKNOWN_SURFACE)};
    if (!td_array_reserve(w->context, &w->pieces, w->pieces.count + text.size + 1))
        return false;
    bool spaces = v->metaspace && kind != RT_TOKEN_CONTROL && kind != RT_TOKEN_BYTE;
    size_t mark = strlen(FE_METASPACE);
    for (size_t at = 0; at < text.size;) {
        bool space =
            spaces && text.size - at >= mark && memcmp(text.data + at, FE_METASPACE, mark) == 0;
        w->pieces.items[w->pieces.count++] = space ? ' ' : text.data[at];
        at += space ? mark : 1;
    }
    return true;
}

static td_status write_pieces(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    for (uint32_t i = 0; i < v->tokens.count; i++) {
        uint32_t start = (uint32_t)w->pieces.count;
        if (!td_array_push(w->context, &w->starts, start) || !append_piece(w, i))
            return td_fail_memory(w->context);
        if (w->pieces.count > UINT32_MAX)
            return td_fail(w->context, TD_UNSUPPORTED, "the vocabulary is larger than 4 GiB");
        if (w->pieces.count - start > w->header.longest_piece)
            w->header.longest_piece = (uint32_t)(w->pieces.count - start);
    }
    if (!td_array_push(w->context, &w->starts, (uint32_t)w->pieces.count))
        return td_fail_memory(w->context);
    return TD_OK;
}

/* --- what a word starts as --- */

static int compare_letters(const void *a, const void *b)
{
    const rt_letter *left = a, *right = b;
    if (left->code_point != right->code_point)
        return left->code_point < right->code_point ? -1 : 1;
    return (left->symbol > right->symbol) - (left->symbol < right->symbol);
}

static td_status find_letters(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    for (size_t i = 0; i < v->entries.count; i++) {
        fe_token_entry entry = v->entries.items[i];
        rt_letter letter = {.symbol = entry.symbol};
        size_t size = rt_utf8_decode(entry.text.data, entry.text.size, &letter.code_point);
        if (size != entry.text.size || letter.code_point == RT_UTF8_INVALID ||
            (v->metaspace && letter.code_point == ' '))
            continue;
        if (!td_array_push(w->context, &w->letters, letter))
            return td_fail_memory(w->context);
        letter.code_point = ' ';
        if (v->metaspace && fe_span_equal(entry.text, FE_METASPACE) &&
            !td_array_push(w->context, &w->letters, letter))
            return td_fail_memory(w->context);
    }
    if (w->letters.count > 1)
        qsort(w->letters.items, w->letters.count, sizeof(rt_letter), compare_letters);
    size_t kept = 0;
    for (size_t i = 0; i < w->letters.count; i++)
        if (i == 0 || w->letters.items[i].code_point != w->letters.items[kept - 1].code_point)
            w->letters.items[kept++] = w->letters.items[i];
    w->letters.count = kept;
    return TD_OK;
}

/* Symbols of single bytes: normal ones when byte-level, else the byte tokens. */
static void find_bytes(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    bool byte_level = (v->flags & RT_TOKENIZER_BYTE_LEVEL) != 0;
    for (unsigned i = 0; i < 256; i++) {
        char byte = (char)i;
        w->bytes[i] = byte_level ? fe_vocabulary_find(v, (fe_span){&byte, 1}) : RT_NONE;
    }
    if (byte_level || (v->flags & RT_TOKENIZER_BYTE_FALLBACK) == 0)
        return;
    for (uint32_t i = v->size; i-- > 0;)
        if (kind_of(v, i) == RT_TOKEN_BYTE && v->tokens.items[i].text.size == 1)
            w->bytes[(unsigned char)v->tokens.items[i].text.data[0]] = i;
}

/* --- special tokens, whole words --- */

static int compare_entries(const void *a, const void *b)
{
    const fe_token_entry *left = a, *right = b;
    size_t common = left->text.size < right->text.size ? left->text.size : right->text.size;
    int order = memcmp(left->text.data, right->text.data, common);
    if (order != 0)
        return order;
    if (left->text.size != right->text.size)
        return left->text.size < right->text.size ? -1 : 1;
    return (left->symbol > right->symbol) - (left->symbol < right->symbol);
}

static td_status find_specials(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    for (uint32_t i = 0; i < v->size; i++) {
        fe_span text = {w->pieces.items + w->starts.items[i],
                        w->starts.items[i + 1] - w->starts.items[i]};
        bool special = kind_of(v, i) == RT_TOKEN_CONTROL || kind_of(v, i) == RT_TOKEN_USER_DEFINED;
        if (special && text.size > 0 &&
            !td_array_push(w->context, &w->specials, ((fe_token_entry){text, i})))
            return td_fail_memory(w->context);
    }
    if (w->specials.count > 1)
        qsort(w->specials.items, w->specials.count, sizeof(fe_token_entry), compare_entries);
    size_t kept = 0;
    for (size_t i = 0; i < w->specials.count; i++) {
        fe_token_entry entry = w->specials.items[i];
        if (kept == 0 || w->specials.items[kept - 1].text.size != entry.text.size ||
            memcmp(w->specials.items[kept - 1].text.data, entry.text.data, entry.text.size) != 0)
            w->specials.items[kept++] = entry;
    }
    w->specials.count = kept;
    return TD_OK;
}

static td_status find_sorted(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    if ((v->flags & RT_TOKENIZER_WHOLE_WORDS) == 0)
        return TD_OK;
    for (size_t i = 0; i < v->entries.count; i++)
        if (v->entries.items[i].symbol < v->size &&
            !td_array_push(w->context, &w->sorted, v->entries.items[i].symbol))
            return td_fail_memory(w->context);
    return TD_OK;
}

static int compare_merges(const void *a, const void *b)
{
    const fe_merge *left = a, *right = b;
    if (left->left != right->left)
        return left->left < right->left ? -1 : 1;
    if (left->right != right->right)
        return left->right < right->right ? -1 : 1;
    return (left->rank > right->rank) - (left->rank < right->rank);
}

static td_status sort_merges(writer *w)
{
    fe_merge *merges = w->vocabulary->merges.items;
    size_t count = w->vocabulary->merges.count;
    if (count > 1)
        qsort(merges, count, sizeof *merges, compare_merges);
    for (size_t i = 1; i < count; i++)
        if (merges[i].left == merges[i - 1].left && merges[i].right == merges[i - 1].right)
            return td_fail(w->context, TD_INVALID, "merge %u repeats merge %u", merges[i].rank + 1,
                           merges[i - 1].rank + 1);
    return TD_OK;
}

/* --- the file --- */

static void place_section(writer *w, unsigned section, size_t count)
{
    w->header.sections[section].offset = w->header.bytes;
    w->header.sections[section].count = count;
    w->header.bytes += (count * rt_section_element(section) + 7) / 8 * 8;
}

static void *section(writer *w, unsigned index)
{
    return w->blob + w->header.sections[index].offset;
}

static void copy_section(writer *w, unsigned index, const void *data)
{
    size_t size = w->header.sections[index].count * rt_section_element(index);
    if (size > 0)
        memcpy(section(w, index), data, size);
}

static void write_merges(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    uint32_t *starts = section(w, RT_SECTION_MERGE_STARTS);
    rt_merge *merges = section(w, RT_SECTION_MERGES);
    size_t at = 0;
    for (uint32_t left = 0; left <= v->tokens.count; left++) {
        starts[left] = (uint32_t)at;
        for (; at < v->merges.count && v->merges.items[at].left == left; at++)
            merges[at] = (rt_merge){v->merges.items[at].right, v->merges.items[at].rank,
                                    v->merges.items[at].result};
    }
}

static void write_kinds(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    uint8_t *kinds = section(w, RT_SECTION_KINDS);
    for (uint32_t i = 0; i < v->size; i++)
        kinds[i] = v->tokens.items[i].kind;
}

static void write_specials(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    rt_special *specials = section(w, RT_SECTION_SPECIALS);
    for (size_t i = 0; i < w->specials.count; i++) {
        uint32_t id = w->specials.items[i].symbol;
        specials[i] = (rt_special){id, v->tokens.items[id].takes};
    }
}

/* Lays the sections out one after the other. */
static void place_sections(writer *w)
{
    const fe_vocabulary *v = w->vocabulary;
    const size_t counts[RT_SECTION_COUNT] = {
        [RT_SECTION_PIECE_STARTS] = w->starts.count,
        [RT_SECTION_PIECES] = w->pieces.count,
        [RT_SECTION_KINDS] = v->size,
        [RT_SECTION_MERGE_STARTS] = v->tokens.count + 1,
        [RT_SECTION_MERGES] = v->merges.count,
        [RT_SECTION_BYTES] = TD_COUNT_OF(w->bytes),
        [RT_SECTION_LETTERS] = w->letters.count,
        [RT_SECTION_SORTED] = w->sorted.count,
        [RT_SECTION_SPECIALS] = w->specials.count,
        [RT_SECTION_STAGES] = v->patterns.stages.count,
        [RT_SECTION_INSTRUCTIONS] = v->patterns.instructions.count,
        [RT_SECTION_SETS] = v->patterns.sets.count,
        [RT_SECTION_RANGES] = v->patterns.ranges.count,
        [RT_SECTION_COMBINING] = w->normalization.combining.count,
        [RT_SECTION_DECOMPOSITIONS] = w->normalization.decompositions.count,
        [RT_SECTION_COMPOSITIONS] = w->normalization.compositions.count,
    };
    w->header.bytes = sizeof w->header;
    for (unsigned i = 0; i < RT_SECTION_COUNT; i++)
        place_section(w, i, counts[i]);
}

static td_status write_blob(writer *w)
{
    fe_vocabulary *v = w->vocabulary;
    place_sections(w);
    w->blob = td_allocate(w->context, w->header.bytes);
    if (w->blob == NULL)
        return td_fail_memory(w->context);
    memcpy(w->blob, &w->header, sizeof w->header);
    copy_section(w, RT_SECTION_PIECE_STARTS, w->starts.items);
    copy_section(w, RT_SECTION_PIECES, w->pieces.items);
    write_kinds(w);
    write_merges(w);
    copy_section(w, RT_SECTION_BYTES, w->bytes);
    copy_section(w, RT_SECTION_LETTERS, w->letters.items);
    copy_section(w, RT_SECTION_SORTED, w->sorted.items);
    write_specials(w);
    copy_section(w, RT_SECTION_STAGES, v->patterns.stages.items);
    copy_section(w, RT_SECTION_INSTRUCTIONS, v->patterns.instructions.items);
    copy_section(w, RT_SECTION_SETS, v->patterns.sets.items);
    copy_section(w, RT_SECTION_RANGES, v->patterns.ranges.items);
    copy_section(w, RT_SECTION_COMBINING, w->normalization.combining.items);
    copy_section(w, RT_SECTION_DECOMPOSITIONS, w->normalization.decompositions.items);
    copy_section(w, RT_SECTION_COMPOSITIONS, w->normalization.compositions.items);
    return TD_OK;
}

static td_status prepare(writer *w)
{
    TD_TRY(write_pieces(w));
    TD_TRY(sort_merges(w));
    if ((w->vocabulary->flags & RT_TOKENIZER_BYTE_LEVEL) == 0)
        TD_TRY(find_letters(w));
    find_bytes(w);
    TD_TRY(find_specials(w));
    TD_TRY(find_sorted(w));
    if ((w->vocabulary->flags & RT_TOKENIZER_NFC) != 0)
        TD_TRY(fe_normalization_make(w->context, &w->normalization));
    return write_blob(w);
}

td_status fe_vocabulary_write(fe_vocabulary *vocabulary, fe_tokenizer *tokenizer)
{
    writer w = {.vocabulary = vocabulary,
                .context = vocabulary->context,
                .header = {.version = RT_TOKENIZER_VERSION,
                           .flags = vocabulary->flags,
                           .vocabulary = vocabulary->size,
                           .symbols = (uint32_t)vocabulary->tokens.count,
                           .bos_id = vocabulary->bos_id,
                           .eos_id = vocabulary->eos_id,
                           .unknown_id = vocabulary->unknown_id}};
    memcpy(w.header.magic, RT_TOKENIZER_MAGIC, sizeof w.header.magic);
    td_status status = prepare(&w);
    td_array_release(w.context, &w.pieces);
    td_array_release(w.context, &w.starts);
    td_array_release(w.context, &w.letters);
    td_array_release(w.context, &w.specials);
    td_array_release(w.context, &w.sorted);
    fe_normalization_release(w.context, &w.normalization);
    if (status == TD_OK)
        *tokenizer = (fe_tokenizer){.blob = w.blob,
                                    .bytes = w.header.bytes,
                                    .vocabulary = vocabulary->size,
                                    .bos_id = vocabulary->bos_id,
                                    .eos_id = vocabulary->eos_id};
    return status;
}
