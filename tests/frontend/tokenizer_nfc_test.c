/* Normalisation form C in tokenizers that ask for it: against utf8proc over all of Unicode and over
 * random texts, and through a tokenizer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "runtime/normalize.h"
#include "tests/frontend/tokenizer_support.h"

#include <unistd.h>
#include <utf8proc.h>

/* The letter e with acute is one token: byte-level merges of its two bytes. */
#define STEPS                                                                                      \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"e\":0,\"\xc3\x83\":1,\"\xc2\xa9\":2,"                \
    "\"\xc3\x83\xc2\xa9\":3,\"\xc3\x8c\":4,\"\xc4\xa3\":5,\"<end>\":6},"                           \
    "\"merges\":[\"\xc3\x83 \xc2\xa9\"]},"                                                         \
    "\"added_tokens\":[{\"id\":6,\"content\":\"<end>\",\"special\":true,\"normalized\":false}]}"

static td_status read_tokenizer(td_context *context, const char *text, fe_tokenizer *tokenizer)
{
    char path[] = "/tmp/tandem-nfc-XXXXXX";
    const int file = mkstemp(path);
    td_context_init(context);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text) || close(file) != 0)
        return td_fail(context, TD_IO, "%s", path);
    const td_status status = fe_read_tokenizer(context, path, tokenizer);
    unlink(path);
    return status;
}

static td_status read_normalizing(td_context *context, fe_tokenizer *tokenizer)
{
    return read_tokenizer(context, "{\"normalizer\":{\"type\":\"NFC\"}," STEPS, tokenizer);
}

#define CHECK_IDS(tokenizer, text, expected)                                                       \
    do {                                                                                           \
        char *ids = encode_text((tokenizer), (text), RT_ENCODE_SPECIAL);                           \
        CHECK_STRING(ids, expected);                                                               \
        free(ids);                                                                                 \
    } while (0)

TEST(texts_are_composed_before_they_are_merged)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(read_normalizing(&context, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "\xc3\xa9", " 3");
    CHECK_IDS(&t, "e\xcc\x81", " 3");
    CHECK_IDS(&t, "ee\xcc\x81<end>e\xcc\x81", " 0 3 6 3");
    CHECK_IDS(&t, "e<end>\xcc\x81", " 0 6 4 5"); /* nothing is composed across a special token */
    fe_tokenizer_release(&context, &t);
    CHECK_MESSAGE(read_tokenizer(&context, "{" STEPS, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "\xc3\xa9", " 3");
    CHECK_IDS(&t, "e\xcc\x81", " 0 4 5");
    fe_tokenizer_release(&context, &t);
}

TEST(only_tokenizers_that_ask_carry_tables)
{
    td_context context;
    fe_tokenizer with, without;
    CHECK(read_normalizing(&context, &with) == TD_OK);
    CHECK(read_tokenizer(&context, "{" STEPS, &without) == TD_OK);
    CHECK_MESSAGE(with.bytes - without.bytes > 20000 && with.bytes - without.bytes < 80000,
                  "%zu bytes", with.bytes - without.bytes);
    fe_tokenizer_release(&context, &with);
    fe_tokenizer_release(&context, &without);
}

/* --- against utf8proc --- */

/* Whether both make the same of a text of `count` code points. */
static bool agrees(const rt_tokenizer *tokenizer, const utf8proc_int32_t *characters, int count)
{
    static unsigned char text[4 * 4096 + 1];
    static uint64_t scratch[16 * 4096 + 64];
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += (size_t)utf8proc_encode_char(characters[i], text + length);
    text[length] = '\0';
    utf8proc_uint8_t *expected = utf8proc_NFC(text);
    const size_t size =
        rt_normalize(tokenizer, (const char *)text, length, scratch, sizeof scratch);
    const bool same = expected != NULL && size == strlen((const char *)expected) &&
                      memcmp(scratch, expected, size) == 0;
    const bool quick = !rt_is_normal((const char *)text, length) ||
                       (size == length && memcmp(scratch, text, size) == 0);
    free(expected);
    return same && quick;
}

TEST(every_code_point)
{
    td_context context;
    fe_tokenizer t;
    CHECK(read_normalizing(&context, &t) == TD_OK);
    const rt_tokenizer *tokenizer = rt_tokenizer_open(t.blob, t.bytes, NULL);
    for (utf8proc_int32_t c = 1; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        CHECK_MESSAGE(agrees(tokenizer, &c, 1), "U+%04X", (unsigned)c);
    }
    fe_tokenizer_release(&context, &t);
}

/* Letters and marks that have much to do with each other, and a few that have not. */
static utf8proc_int32_t draw_character(uint64_t *random)
{
    static const struct {
        utf8proc_int32_t first, last;
    } ranges[] = {
        {'A', 'z'},       {0xc0, 0x17f},    {0x300, 0x36f},     {0x300, 0x345},
        {0x391, 0x3c9},   {0x590, 0x5f4},   {0x620, 0x65f},     {0x900, 0x97f},
        {0x9bc, 0x9d7},   {0xdc0, 0xddf},   {0xe30, 0xe4f},     {0xf70, 0xfbc},
        {0x1025, 0x1039}, {0x1100, 0x1112}, {0x1161, 0x1175},   {0x11a8, 0x11c2},
        {0x1ab0, 0x1abe}, {0x1e00, 0x1fff}, {0x3040, 0x30ff},   {0xac00, 0xac40},
        {0xf900, 0xfaff}, {0xfb1d, 0xfb4e}, {0x11099, 0x110ba}, {0x1d157, 0x1d1c0},
    };
    const uint64_t drawn = td_random_next(random);
    const size_t i = drawn % (sizeof ranges / sizeof *ranges);
    const uint64_t width = (uint64_t)(ranges[i].last - ranges[i].first) + 1;
    return ranges[i].first + (utf8proc_int32_t)((drawn >> 16) % width);
}

TEST(random_texts)
{
    td_context context;
    fe_tokenizer t;
    utf8proc_int32_t characters[24];
    uint64_t random = 17;
    CHECK(read_normalizing(&context, &t) == TD_OK);
    const rt_tokenizer *tokenizer = rt_tokenizer_open(t.blob, t.bytes, NULL);
    for (int round = 0; round < 200000; round++) {
        const int count = 1 + (int)(td_random_next(&random) % 24);
        for (int i = 0; i < count; i++)
            characters[i] = draw_character(&random);
        CHECK_MESSAGE(agrees(tokenizer, characters, count), "round %d", round);
    }
    fe_tokenizer_release(&context, &t);
}

/* U+11A7 is no letter of a syllable, only the number from which they are counted (utf8proc 2.6
 * composes it). */
TEST(syllables_end_in_letters)
{
    static const char text[] = "\xea\xb0\x80\xe1\x86\xa7\xea\xb0\x80\xe1\x86\xa8";
    static const char expected[] = "\xea\xb0\x80\xe1\x86\xa7\xea\xb0\x81";
    td_context context;
    fe_tokenizer t;
    uint64_t scratch[64];
    CHECK(read_normalizing(&context, &t) == TD_OK);
    const size_t size = rt_normalize(rt_tokenizer_open(t.blob, t.bytes, NULL), text,
                                     sizeof text - 1, scratch, sizeof scratch);
    CHECK(size == sizeof expected - 1 && memcmp(scratch, expected, size) == 0);
    fe_tokenizer_release(&context, &t);
}

/* A long run of marks that stand in the wrong order. */
TEST(long_runs_of_marks)
{
    td_context context;
    fe_tokenizer t;
    static utf8proc_int32_t characters[4000];
    CHECK(read_normalizing(&context, &t) == TD_OK);
    characters[0] = 'a';
    for (int i = 1; i < 4000; i++)
        characters[i] = i % 3 == 0 ? 0x301 : i % 3 == 1 ? 0x316 : 0x334;
    CHECK(agrees(rt_tokenizer_open(t.blob, t.bytes, NULL), characters, 4000));
    fe_tokenizer_release(&context, &t);
}

/* --- what is no UTF-8, what has no room --- */

TEST(broken_bytes_stay)
{
    static const char text[] = "e\xcc\x81\xff\xcc\x81\xe2\x82"
                               "e\xcc";
    static const char expected[] = "\xc3\xa9\xff\xcc\x81\xe2\x82"
                                   "e\xcc";
    td_context context;
    fe_tokenizer t;
    uint64_t scratch[64];
    CHECK(read_normalizing(&context, &t) == TD_OK);
    const size_t size = rt_normalize(rt_tokenizer_open(t.blob, t.bytes, NULL), text,
                                     sizeof text - 1, scratch, sizeof scratch);
    CHECK(size == sizeof expected - 1 && memcmp(scratch, expected, size) == 0);
    fe_tokenizer_release(&context, &t);
}

/* Whatever the scratch, nothing is written behind it, and enough of it is enough. */
TEST(scratch_of_every_size)
{
    td_context context;
    fe_tokenizer t;
    unsigned char text[64];
    size_t length = 0;
    uint64_t random = 5;
    CHECK(read_normalizing(&context, &t) == TD_OK);
    const rt_tokenizer *tokenizer = rt_tokenizer_open(t.blob, t.bytes, NULL);
    while (length < 48)
        length += (size_t)utf8proc_encode_char(draw_character(&random), text + length);
    for (size_t bytes = 0; bytes <= 2048; bytes++) {
        unsigned char *scratch = malloc(bytes + 1);
        scratch[bytes] = 0x5a;
        const size_t size = rt_normalize(tokenizer, (const char *)text, length, scratch, bytes);
        CHECK((size == SIZE_MAX || size <= bytes) && scratch[bytes] == 0x5a);
        CHECK(size != SIZE_MAX || bytes < rt_tokenizer_scratch_bytes(length));
        free(scratch);
    }
    fe_tokenizer_release(&context, &t);
}

/* Qwen 2's tokenizer puts texts into form C. */
TEST(qwen2_composes)
{
    td_context context;
    fe_tokenizer t;
    td_context_init(&context);
    if (access(TOKENIZERS "qwen2/vocab.json", R_OK) != 0)
        SKIP("../shared/data/tokenizers is not there");
    CHECK_MESSAGE(fe_read_tokenizer(&context, TOKENIZERS "qwen2/vocab.json", &t) == TD_OK, "%s",
                  context.message);
    char *composed = encode_text(&t, "Caf\xc3\xa9 \xea\xb0\x80", 0);
    char *apart = encode_text(&t, "Cafe\xcc\x81 \xe1\x84\x80\xe1\x85\xa1", 0);
    CHECK_STRING(apart, composed);
    free(composed);
    free(apart);
    fe_tokenizer_release(&context, &t);
}

TEST_MAIN()
