/* Text to token ids: special tokens are cut out, what lies between is cut into words by the
 * pre-tokenizer's patterns, and each word is merged.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/normalize.h"
#include "runtime/tokenizer_merge.h"
#include "runtime/utf8.h"

#include <string.h>

#define MOST_TEXT_BYTES ((size_t)1 << 30)

/* One call of rt_tokenizer_encode. */
typedef struct encoder {
    const rt_tokenizer *tokenizer;
    const char *text;
    size_t text_bytes;
    unsigned flags;
    unsigned char *scratch;
    size_t scratch_bytes;
    int32_t *ids;
    size_t capacity;
    int64_t count;
    bool failed;        /* a word needed more scratch */
    bool after_unknown; /* the last id written is the unknown token */
} encoder;

/* Symbols that a word may start with: one for each byte, and the space before it. */
static size_t word_bytes(size_t bytes)
{
    return (bytes + 1) * (sizeof(rt_word_symbol) + sizeof(uint32_t));
}

/* Room for a copy of a piece of text with a space before it, kept a multiple of 8. */
static size_t copy_bytes(size_t bytes)
{
    return (bytes + 1 + 7) / 8 * 8;
}

size_t rt_tokenizer_scratch_bytes(size_t text_bytes)
{
    return copy_bytes(text_bytes) + word_bytes(text_bytes + 1);
}

size_t rt_tokenizer_most_ids(size_t text_bytes)
{
    return 2 * text_bytes + 4;
}

/* --- writing ids --- */

static void write_id(encoder *e, uint32_t id)
{
    if ((size_t)e->count < e->capacity)
        e->ids[e->count] = (int32_t)id;
    e->count++;
    e->after_unknown = false;
}

static void write_unknown(encoder *e)
{
    int32_t unknown = e->tokenizer->unknown_id;
    bool fuse = e->after_unknown && (e->tokenizer->flags & RT_TOKENIZER_FUSE_UNKNOWN) != 0;
    if (unknown < 0 || fuse)
        return;
    write_id(e, (uint32_t)unknown);
    e->after_unknown = true;
}

static bool has_every_byte(const uint32_t *bytes, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[(unsigned char)text[i]] == RT_NONE)
            return false;
    return true;
}

/* Writes a symbol; one that is no token, as its bytes or as unknown. */
static void write_symbol(encoder *e, uint32_t symbol)
{
    const rt_tokenizer *t = e->tokenizer;
    if (symbol < t->vocabulary) {
        write_id(e, symbol);
        return;
    }
    size_t length = 0;
    const char *piece = symbol == RT_NONE ? "" : rt_symbol_piece(t, symbol, &length);
    const uint32_t *bytes = rt_section(t, RT_SECTION_BYTES);
    if (length == 0 || !has_every_byte(bytes, piece, length)) {
        write_unknown(e);
        return;
    }
    for (size_t i = 0; i < length; i++)
        write_id(e, bytes[(unsigned char)piece[i]]);
}

/* --- words --- */

static uint64_t code_point_of(const void *row)
{
    return ((const rt_letter *)row)->code_point;
}

static uint32_t find_letter(const rt_tokenizer *t, uint32_t code_point)
{
    const rt_letter *letter = rt_section_find(t, RT_SECTION_LETTERS, code_point_of, code_point);
    return letter != NULL && letter->code_point == code_point ? letter->symbol : RT_NONE;
}

static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* The normal token that is the whole word, or RT_NONE. */
static uint32_t find_whole(const rt_tokenizer *t, const char *word, size_t length)
{
    const uint32_t *sorted = rt_section(t, RT_SECTION_SORTED);
    uint32_t low = 0, high = rt_section_count(t, RT_SECTION_SORTED);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t piece_length;
        const char *piece = rt_symbol_piece(t, sorted[middle], &piece_length);
        int order = compare_bytes(piece, piece_length, word, length);
        if (order == 0)
            return sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return RT_NONE;
}

/* The symbols that a word starts with; returns their number. */
static uint32_t start_symbols(const rt_tokenizer *t, const char *word, size_t length,
                              rt_word_symbol *symbols)
{
    const uint32_t *bytes = rt_section(t, RT_SECTION_BYTES);
    uint32_t count = 0;
    if ((t->flags & RT_TOKENIZER_BYTE_LEVEL) != 0) {
        for (size_t i = 0; i < length; i++)
            symbols[count++].symbol = bytes[(unsigned char)word[i]];
        return count;
    }
    for (size_t at = 0; at < length;) {
        uint32_t code_point;
        size_t size = rt_utf8_decode(word + at, length - at, &code_point);
        uint32_t letter = find_letter(t, code_point);
        if (letter != RT_NONE || !has_every_byte(bytes, word + at, size))
            symbols[count++].symbol = letter;
        else
            for (size_t i = 0; i < size; i++)
                symbols[count++].symbol = bytes[(unsigned char)word[at + i]];
        at += size;
    }
    return count;
}

/* Merges the symbols of a word between those that are unknown, which merge with nothing. */
static void encode_word(encoder *e, const char *word, size_t length)
{
    const rt_tokenizer *t = e->tokenizer;
    uint32_t whole =
        (t->flags & RT_TOKENIZER_WHOLE_WORDS) != 0 ? find_whole(t, word, length) : RT_NONE;
    if (whole != RT_NONE) {
        write_id(e, whole);
        return;
    }
    if (word_bytes(length) > e->scratch_bytes) {
        e->failed = true;
        return;
    }
    rt_word_symbol *symbols = (rt_word_symbol *)(void *)e->scratch;
    uint32_t *heap = (uint32_t *)(void *)(e->scratch + (length + 1) * sizeof *symbols);
    uint32_t count = start_symbols(t, word, length, symbols);
    for (uint32_t from = 0, to; from < count; from = to) {
        for (to = from; to < count && symbols[to].symbol != RT_NONE; to++)
            ;
        if (to == from) {
            write_symbol(e, RT_NONE);
            to++;
            continue;
        }
        rt_tokenizer_merge(t, symbols + from, to - from, heap);
        for (uint32_t i = 0; i != RT_NONE; i = symbols[from + i].next)
            write_symbol(e, symbols[from + i].symbol);
    }
}

/* Cuts a text into the matches of a stage's pattern and what lies between them, and hands each
 * piece to the next stage; after the last stage it is a word. The recursion is over stages. */
static void split_words(encoder *e, uint32_t stage, const char *text, size_t length)
{
    const rt_tokenizer *t = e->tokenizer;
    if (length == 0 || e->failed)
        return;
    if (stage == rt_section_count(t, RT_SECTION_STAGES)) {
        encode_word(e, text, length);
        return;
    }
    const uint32_t *starts = rt_section(t, RT_SECTION_STAGES);
    rt_pattern pattern = {.instructions = rt_section(t, RT_SECTION_INSTRUCTIONS),
                          .sets = rt_section(t, RT_SECTION_SETS),
                          .ranges = rt_section(t, RT_SECTION_RANGES)};
    size_t gap = 0, at = 0;
    while (at < length) {
        size_t match = rt_pattern_match(&pattern, starts[stage], text + at, length - at);
        if (match == 0) {
            uint32_t code_point;
            at += rt_utf8_decode(text + at, length - at, &code_point);
            continue;
        }
        split_words(e, stage + 1, text + gap, at - gap);
        split_words(e, stage + 1, text + at, match);
        at += match;
        gap = at;
    }
    split_words(e, stage + 1, text + gap, length - gap);
}

/* --- segments between special tokens --- */

/* Copies a piece of the text with spaces in a row as one, and none at both ends of the whole text;
 * returns its new length. */
static size_t copy_trimmed(const encoder *e, char *copy, const char *text, size_t length)
{
    bool first = text == e->text, last = text + length == e->text + e->text_bytes;
    size_t written = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' || (written == 0 ? !first : copy[written - 1] != ' '))
            copy[written++] = text[i];
    return last && written > 0 && copy[written - 1] == ' ' ? written - 1 : written;
}

static bool starts_with_space(const rt_tokenizer *t, const char *text, size_t length)
{
    uint32_t code_point;
    rt_utf8_decode(text, length, &code_point);
    return (t->flags & RT_TOKENIZER_BYTE_LEVEL) != 0 ? rt_utf8_is_space(code_point)
                                                     : code_point == ' ' || code_point == 0x2581;
}

/* Encodes a normal text without special tokens; `prefixed`: it stands where a space may be put
 * before. */
static void encode_normal(encoder *e, const char *text, size_t length, bool prefixed)
{
    const rt_tokenizer *t = e->tokenizer;
    bool prefix =
        prefixed && (t->flags & RT_TOKENIZER_PREFIX) != 0 &&
        ((t->flags & RT_TOKENIZER_PREFIX_UNLESS) == 0 || !starts_with_space(t, text, length));
    bool trim = (t->flags & RT_TOKENIZER_TRIM_SPACES) != 0;
    e->after_unknown = false;
    if (!prefix && !trim) {
        split_words(e, 0, text, length);
        return;
    }
    size_t copy_size = copy_bytes(length);
    if (copy_size > e->scratch_bytes) {
        e->failed = true;
        return;
    }
    char *copy = (char *)e->scratch;
    copy[0] = ' ';
    if (trim)
        length = copy_trimmed(e, copy + prefix, text, length);
    else
        memcpy(copy + prefix, text, length);
    e->scratch += copy_size;
    e->scratch_bytes -= copy_size;
    if (length > 0)
        split_words(e, 0, copy, length + prefix);
    e->scratch -= copy_size;
    e->scratch_bytes += copy_size;
}

/* The same for a text that may have to be normalised first. */
static void encode_segment(encoder *e, const char *text, size_t length, bool prefixed)
{
    if (length == 0 || e->failed)
        return;
    if ((e->tokenizer->flags & RT_TOKENIZER_NFC) == 0 || rt_is_normal(text, length)) {
        encode_normal(e, text, length, prefixed);
        return;
    }
    char *copy = (char *)e->scratch;
    length = rt_normalize(e->tokenizer, text, length, copy, e->scratch_bytes);
    if (length == SIZE_MAX || copy_bytes(length) > e->scratch_bytes) {
        e->failed = true;
        return;
    }
    e->scratch += copy_bytes(length);
    e->scratch_bytes -= copy_bytes(length);
    encode_normal(e, copy, length, prefixed);
    e->scratch -= copy_bytes(length);
    e->scratch_bytes += copy_bytes(length);
}

/* The first of specials[low .. high) whose byte at `depth` is at least `byte`, all of them being
 * equal before it. */
static uint32_t first_special(const rt_tokenizer *t, uint32_t low, uint32_t high, size_t depth,
                              unsigned byte)
{
    const rt_special *specials = rt_section(t, RT_SECTION_SPECIALS);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t length;
        const char *piece = rt_symbol_piece(t, specials[middle].id, &length);
        if (length <= depth || (unsigned char)piece[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest special token at the start of the text that is looked for, or NULL. */
static const rt_special *find_special(const encoder *e, const char *text, size_t length,
                                      size_t *found_length)
{
    const rt_tokenizer *t = e->tokenizer;
    const rt_special *specials = rt_section(t, RT_SECTION_SPECIALS), *found = NULL;
    const uint8_t *kinds = rt_section(t, RT_SECTION_KINDS);
    uint32_t low = 0, high = rt_section_count(t, RT_SECTION_SPECIALS);
    for (size_t depth = 0; depth < length; depth++) {
        unsigned byte = (unsigned char)text[depth];
        low = first_special(t, low, high, depth, byte);
        high = first_special(t, low, high, depth, byte + 1);
        if (low == high)
            break;
        /* The shortest of those with an equal beginning stands first. */
        size_t piece_length;
        rt_symbol_piece(t, specials[low].id, &piece_length);
        bool control = (kinds[specials[low].id] & RT_TOKEN_KIND_MASK) == RT_TOKEN_CONTROL;
        if (piece_length == depth + 1 && (!control || (e->flags & RT_ENCODE_SPECIAL) != 0)) {
            found = &specials[low];
            *found_length = piece_length;
        }
    }
    return found;
}

/* Bytes of white space at the end or the start of a text. */
static size_t space_before(const char *text, size_t length)
{
    size_t end = length;
    while (end > 0) {
        size_t size = rt_utf8_before(text, end);
        uint32_t code_point;
        rt_utf8_decode(text + end - size, size, &code_point);
        if (!rt_utf8_is_space(code_point))
            break;
        end -= size;
    }
    return length - end;
}

static size_t space_after(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint32_t code_point;
        size_t size = rt_utf8_decode(text + at, length - at, &code_point);
        if (!rt_utf8_is_space(code_point))
            break;
        at += size;
    }
    return at;
}

static void encode_text(encoder *e, const char *text, size_t length)
{
    const rt_tokenizer *t = e->tokenizer;
    const uint8_t *kinds = rt_section(t, RT_SECTION_KINDS);
    bool prefixed = true;
    size_t from = 0;
    bool any = rt_section_count(t, RT_SECTION_SPECIALS) > 0;
    for (size_t at = 0; any && at < length && !e->failed;) {
        size_t found_length = 0;
        const rt_special *special = find_special(e, text + at, length - at, &found_length);
        if (special == NULL) {
            at++;
            continue;
        }
        size_t left = at - from;
        if ((special->flags & RT_SPECIAL_TAKES_LEFT) != 0)
            left -= space_before(text + from, left);
        encode_segment(e, text + from, left, prefixed);
        write_id(e, special->id);
        at += found_length;
        if ((special->flags & RT_SPECIAL_TAKES_RIGHT) != 0)
            at += space_after(text + at, length - at);
        from = at;
        prefixed = (t->flags & RT_TOKENIZER_PREFIX_EVERY) != 0 ||
                   (kinds[special->id] & RT_TOKEN_KIND_MASK) == RT_TOKEN_CONTROL;
    }
    encode_segment(e, text + from, length - from, prefixed);
}

int64_t rt_tokenizer_encode(const rt_tokenizer *tokenizer, const char *text, size_t text_bytes,
                            unsigned flags, void *scratch, size_t scratch_bytes, int32_t *ids,
                            size_t capacity)
{
    if (text_bytes > MOST_TEXT_BYTES)
        return -1;
    encoder e = {.tokenizer = tokenizer,
                 .text = text,
                 .text_bytes = text_bytes,
                 .flags = flags,
                 .scratch = scratch,
                 .scratch_bytes = scratch_bytes,
                 .ids = ids,
                 .capacity = capacity};
    bool defaults = (flags & RT_ENCODE_DEFAULTS) != 0;
    if (defaults && (tokenizer->flags & RT_TOKENIZER_ADD_BOS) != 0 && tokenizer->bos_id >= 0)
        write_id(&e, (uint32_t)tokenizer->bos_id);
    if (text_bytes > 0)
        encode_text(&e, text, text_bytes);
    if (defaults && (tokenizer->flags & RT_TOKENIZER_ADD_EOS) != 0 && tokenizer->eos_id >= 0)
        write_id(&e, (uint32_t)tokenizer->eos_id);
    return e.failed ? -1 : e.count;
}
