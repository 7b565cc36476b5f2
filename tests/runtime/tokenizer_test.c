/* The tokenizer of a generated program: checks of the blob, bounds of encoding, streaming decoder.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "runtime/pattern.h"
#include "runtime/tokenizer_merge.h"
#include "runtime/utf8.h"
#include "tests/test.h"

/* A blob written by hand: ids 0 to 255 are the bytes, and more tokens follow. */
typedef struct small_blob {
    rt_tokenizer header;
    uint32_t starts[262];
    char pieces[280];
    uint8_t kinds[264];
    uint32_t merge_starts[262];
    rt_merge merges[4];
    uint32_t bytes[256];
    rt_special specials[2];
} small_blob;

enum { AA = 256, AAAA = 257, STOP = 258, SPACE_A = 259, LONG_ID = 260, TOKENS = 261 };

static void place(small_blob *blob, unsigned section, const void *at, uint64_t count)
{
    blob->header.sections[section].offset =
        (uint64_t)((const unsigned char *)at - (const unsigned char *)blob);
    blob->header.sections[section].count = count;
}

static void make_blob(small_blob *blob)
{
    static const char *const more[] = {"aa", "aaaa", "<stop>", " a", "x\xe4\xb8"};
    memset(blob, 0, sizeof *blob);
    rt_tokenizer *header = &blob->header;
    memcpy(header->magic, RT_TOKENIZER_MAGIC, sizeof header->magic);
    header->version = RT_TOKENIZER_VERSION;
    header->flags = RT_TOKENIZER_BYTE_LEVEL;
    header->bytes = sizeof *blob;
    header->vocabulary = header->symbols = TOKENS;
    header->bos_id = header->unknown_id = -1;
    header->eos_id = STOP;
    uint32_t at = 0;
    for (uint32_t i = 0; i < TOKENS; i++) {
        const char byte = (char)i;
        size_t length = i < 256 ? 1 : strlen(more[i - 256]);
        memcpy(blob->pieces + at, i < 256 ? &byte : more[i - 256], length);
        blob->starts[i] = at;
        at += (uint32_t)length;
        blob->kinds[i] = i == STOP ? RT_TOKEN_CONTROL | RT_TOKEN_END : RT_TOKEN_NORMAL;
        if (i < 256)
            blob->bytes[i] = i;
        if (length > header->longest_piece)
            header->longest_piece = (uint32_t)length;
    }
    blob->starts[TOKENS] = at;
    for (uint32_t i = 0; i <= TOKENS; i++)
        blob->merge_starts[i] = (i > ' ') + (i > 'a') + (i > AA);
    blob->merges[0] = (rt_merge){'a', 2, SPACE_A};
    blob->merges[1] = (rt_merge){'a', 0, AA};
    blob->merges[2] = (rt_merge){AA, 1, AAAA};
    blob->specials[0] = (rt_special){STOP, 0};
    place(blob, RT_SECTION_PIECE_STARTS, blob->starts, TOKENS + 1);
    place(blob, RT_SECTION_PIECES, blob->pieces, at);
    place(blob, RT_SECTION_KINDS, blob->kinds, TOKENS);
    place(blob, RT_SECTION_MERGE_STARTS, blob->merge_starts, TOKENS + 1);
    place(blob, RT_SECTION_MERGES, blob->merges, 3);
    place(blob, RT_SECTION_BYTES, blob->bytes, 256);
    place(blob, RT_SECTION_SPECIALS, blob->specials, 1);
}

_Static_assert(offsetof(small_blob, pieces) % 8 == 0 && offsetof(small_blob, kinds) % 8 == 0 &&
                   offsetof(small_blob, merges) % 8 == 0 && offsetof(small_blob, bytes) % 8 == 0,
               "sections lie at multiples of eight");

TEST(blobs_are_checked)
{
    small_blob blob;
    const char *problem = NULL;
    make_blob(&blob);
    CHECK_MESSAGE(rt_tokenizer_open(&blob, sizeof blob, &problem) != NULL, "%s", problem);
    CHECK(rt_tokenizer_open(NULL, 0, NULL) == NULL);
    CHECK(rt_tokenizer_open(&blob, 100, &problem) == NULL);
    CHECK_STRING(problem, "the tokenizer is shorter than its header");
    CHECK(rt_tokenizer_open(&blob, sizeof blob - 8, &problem) == NULL);
    CHECK_STRING(problem, "the tokenizer is cut short");
    CHECK(rt_tokenizer_open((char *)&blob + 4, sizeof blob, &problem) == NULL);
    CHECK_STRING(problem, "the tokenizer does not lie at a multiple of eight bytes");
    blob.header.version++;
    CHECK(rt_tokenizer_open(&blob, sizeof blob, &problem) == NULL);
    CHECK_STRING(problem, "the tokenizer was compiled for another version of the runtime");
    make_blob(&blob);
    blob.header.magic[0] = 'X';
    CHECK(rt_tokenizer_open(&blob, sizeof blob, &problem) == NULL);
    make_blob(&blob);
    blob.header.sections[RT_SECTION_MERGES].count = UINT64_MAX / 12;
    CHECK(rt_tokenizer_open(&blob, sizeof blob, &problem) == NULL);
    CHECK_STRING(problem, "a section of the tokenizer does not lie inside of it");
    make_blob(&blob);
    blob.header.symbols++;
    CHECK(rt_tokenizer_open(&blob, sizeof blob, &problem) == NULL);
    CHECK_STRING(problem, "the sizes of the tokenizer's sections contradict each other");
}

TEST(header_is_told)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    size_t length;
    CHECK(rt_tokenizer_vocabulary(t) == TOKENS);
    CHECK(rt_tokenizer_bos(t) == -1 && rt_tokenizer_eos(t) == STOP && !rt_tokenizer_adds_bos(t));
    CHECK(rt_tokenizer_is_end(t, STOP) && rt_tokenizer_is_special(t, STOP));
    CHECK(!rt_tokenizer_is_end(t, 'a') && !rt_tokenizer_is_special(t, 'a'));
    CHECK(!rt_tokenizer_is_end(t, -5) && rt_tokenizer_is_special(t, TOKENS));
    CHECK(memcmp(rt_tokenizer_piece(t, AAAA, &length), "aaaa", 4) == 0 && length == 4);
    rt_tokenizer_piece(t, TOKENS, &length);
    CHECK(length == 0);
}

/* Ids that do not fit are counted, not written; too little scratch is told. */
TEST(capacity_and_scratch)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    uint64_t scratch[256];
    int32_t ids[4] = {-7, -7, -7, -7};
    CHECK(rt_tokenizer_scratch_bytes(9) <= sizeof scratch);
    CHECK(rt_tokenizer_encode(t, "baaaaabaa", 9, 0, scratch, sizeof scratch, ids, 3) == 5);
    CHECK(ids[0] == 'b' && ids[1] == AAAA && ids[2] == 'a' && ids[3] == -7);
    CHECK(rt_tokenizer_encode(t, "baaaaabaa", 9, 0, scratch, 64, ids, 3) == -1);
    CHECK(rt_tokenizer_encode(t, NULL, 0, 0, NULL, 0, NULL, 0) == 0);
    CHECK(rt_tokenizer_encode(t, "a<stop>", 7, RT_ENCODE_SPECIAL, scratch, sizeof scratch, ids,
                              4) == 2);
    CHECK(ids[1] == STOP);
    CHECK(rt_tokenizer_encode(t, "a<stop>", 7, 0, scratch, sizeof scratch, ids, 4) == 7);
}

/* The plain definition of merging: again and again, the pair of lowest rank, of equal ones the
 * leftmost. */
static size_t merge_plainly(const small_blob *blob, uint32_t *symbols, size_t count)
{
    for (;;) {
        size_t best = SIZE_MAX;
        const rt_merge *chosen = NULL;
        for (size_t i = 0; i + 1 < count; i++)
            for (uint32_t m = blob->merge_starts[symbols[i]];
                 m < blob->merge_starts[symbols[i] + 1]; m++)
                if (blob->merges[m].right == symbols[i + 1] &&
                    (chosen == NULL || blob->merges[m].rank < chosen->rank)) {
                    chosen = &blob->merges[m];
                    best = i;
                }
        if (chosen == NULL)
            return count;
        symbols[best] = chosen->result;
        memmove(symbols + best + 1, symbols + best + 2, (count - best - 2) * sizeof *symbols);
        count--;
    }
}

TEST(merging_equals_its_definition)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    uint64_t random = 11;
    for (int round = 0; round < 2000; round++) {
        rt_word_symbol word[40];
        uint32_t heap[40], plain[40];
        uint32_t count = 1 + (uint32_t)(td_random_next(&random) % 40);
        for (uint32_t i = 0; i < count; i++) {
            plain[i] = (uint32_t) " aaaab"[td_random_next(&random) % 6];
            word[i].symbol = plain[i];
        }
        rt_tokenizer_merge(t, word, count, heap);
        size_t expected = merge_plainly(&blob, plain, count), actual = 0;
        for (uint32_t i = 0; i != RT_NONE; i = word[i].next, actual++)
            CHECK(actual < expected && word[i].symbol == plain[actual]);
        CHECK(actual == expected);
    }
}

static size_t push_bytes(rt_decoder *decoder, const rt_tokenizer *t, const char *bytes, size_t size,
                         char *text)
{
    size_t written = 0;
    for (size_t i = 0; i < size; i++)
        written += rt_decoder_push(decoder, t, (unsigned char)bytes[i], false, text + written);
    return written;
}

TEST(characters_come_whole)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    char text[64];
    rt_decoder decoder = {0};
    CHECK(rt_decoder_push(&decoder, t, LONG_ID, false, text) == 1 && text[0] == 'x');
    CHECK(rt_decoder_push(&decoder, t, 0xad, false, text) == 3);
    CHECK(memcmp(text, "\xe4\xb8\xad", 3) == 0);
    CHECK(push_bytes(&decoder, t, "\xf0\x9f\x98", 3, text) == 0);
    CHECK(rt_decoder_push(&decoder, t, STOP, false, text) == 0);
    CHECK(rt_decoder_push(&decoder, t, 0x80, false, text) == 4);
    CHECK(push_bytes(&decoder, t, "\xf0\x9f", 2, text) == 0);
    CHECK(rt_decoder_finish(&decoder, text) == 3 && memcmp(text, "\xef\xbf\xbd", 3) == 0);
    CHECK(rt_decoder_finish(&decoder, text) == 0);
    CHECK(rt_decoder_push(&decoder, t, STOP, true, text) == 6);
}

/* Whatever bytes come, what is written is UTF-8, within the bound, and equal for all ways to cut.
 */
TEST(random_bytes_become_text)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    uint64_t random = 5;
    for (int round = 0; round < 3000; round++) {
        char text[256];
        size_t size = 0;
        rt_decoder decoder = {0};
        for (int i = 0; i < 24; i++) {
            static const unsigned char lively[] = {0xf0, 0x9f, 0x98, 0x80, 0xe4, 0xb8, 0xc3,
                                                   0xed, 0xa0, 0xf4, 0x90, 'a',  0xff, 0xc0};
            int32_t id = lively[td_random_next(&random) % sizeof lively];
            size_t written = rt_decoder_push(&decoder, t, id, false, text + size);
            CHECK(written <= rt_decoder_most_bytes(t));
            size += written;
        }
        size += rt_decoder_finish(&decoder, text + size);
        for (size_t at = 0; at < size;) {
            uint32_t code_point;
            at += rt_utf8_decode(text + at, size - at, &code_point);
            CHECK(code_point != RT_UTF8_INVALID);
        }
    }
}

TEST(first_space_is_dropped_when_the_model_asks)
{
    small_blob blob;
    make_blob(&blob);
    const rt_tokenizer *t = rt_tokenizer_open(&blob, sizeof blob, NULL);
    char text[64];
    rt_decoder plain = {0}, stripped = {0}, continued = {0};
    CHECK(rt_decoder_push(&plain, t, SPACE_A, false, text) == 2);
    blob.header.flags |= RT_TOKENIZER_STRIP_FIRST;
    CHECK(rt_decoder_push(&stripped, t, STOP, false, text) == 0);
    CHECK(rt_decoder_push(&stripped, t, SPACE_A, false, text) == 1 && text[0] == 'a');
    CHECK(rt_decoder_push(&stripped, t, SPACE_A, false, text) == 2);
    rt_decoder_continue(&continued);
    CHECK(rt_decoder_push(&continued, t, SPACE_A, false, text) == 2);
}

/* Stepping back over a text meets the same characters as reading it. */
TEST(characters_before_are_those_after)
{
    uint64_t random = 3;
    for (int round = 0; round < 3000; round++) {
        static const unsigned char lively[] = {0xf0, 0x9f, 0x98, 0x80, 0xe4, 0xb8, 0xad,
                                               0xc3, 0xa9, 'a',  0xed, 0xa0, 0xff};
        char text[16];
        size_t ends[16], count = 0;
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)lively[td_random_next(&random) % sizeof lively];
        for (size_t at = 0; at < sizeof text;) {
            uint32_t code_point;
            at += rt_utf8_decode(text + at, sizeof text - at, &code_point);
            ends[count++] = at;
        }
        while (count-- > 0)
            CHECK(ends[count] - rt_utf8_before(text, ends[count]) ==
                  (count == 0 ? 0 : ends[count - 1]));
    }
}

TEST_MAIN()
