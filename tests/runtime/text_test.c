/* Text in and out of a model: tokens that start texts, whole characters, control tokens.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/fake.h"
#include "tests/runtime/fake_tokenizer.h"
#include "tests/test.h"

typedef struct text {
    char bytes[256];
    size_t length;
    bool whole; /* every piece ended with a whole character */
} text;

/* Whether a string of three-byte, two-byte and one-byte characters ends between characters. */
static bool ends_whole(const char *bytes, size_t length)
{
    size_t next = 0;
    while (next < length) {
        unsigned char lead = (unsigned char)bytes[next];
        next += lead < 0x80 ? 1 : lead < 0xe0 ? 2 : 3;
    }
    return next == length;
}

static bool gather(void *user, const tandem_piece *piece)
{
    text *result = user;
    if (result->length + piece->bytes < sizeof result->bytes)
        memcpy(result->bytes + result->length, piece->text, piece->bytes);
    result->length += piece->bytes;
    result->bytes[result->length] = '\0';
    result->whole = result->whole && ends_whole(piece->text, piece->bytes);
    return true;
}

static tandem_model *model;
static tandem_session *session;

static bool open_scripted(const int32_t *script, uint32_t count, uint32_t start)
{
    fake_make(2, FAKE_TOKENS, 16);
    fake_rule.script = script;
    fake_rule.script_count = count;
    fake_rule.script_start = start;
    fake_artefact.tokenizer_bytes = fake_make_tokenizer();
    fake_artefact.tokenizer = fake_tokenizer;
    return fake_open(0, 1, &model, &session) == TANDEM_OK;
}

TEST(characters_come_whole_at_every_draft_length)
{
    static const int32_t script[] = {FAKE_A,  FAKE_E2, FAKE_82,      FAKE_AC,      FAKE_SPACE_B,
                                     FAKE_E2, FAKE_82, FAKE_A,       FAKE_E_ACUTE, FAKE_AC,
                                     FAKE_E2, FAKE_82, FAKE_AC,      FAKE_BOS,     FAKE_A,
                                     FAKE_A,  FAKE_E2, FAKE_E_ACUTE, FAKE_E2,      FAKE_82};
    for (uint32_t draft = 0; draft <= 8; draft++)
        for (int noise = 0; noise < 2; noise++) {
            CHECK(open_scripted(script, 20, 3));
            fake_rule.noise = noise * 3000;
            const char length[] = {(char)('0' + draft), '\0'};
            tandem_generate_options options = {.max_tokens = 20, .draft = length};
            text result = {.whole = true};
            CHECK(tandem_runtime_api.feed_text(session, "aa", 2) == TANDEM_OK);
            CHECK(tandem_runtime_api.generate(session, &options, gather, &result) == TANDEM_OK);
            tandem_runtime_api.close(model);
            CHECK(result.whole);
            CHECK_STRING(result.bytes, "a\xe2\x82\xac b\xef\xbf\xbd"
                                       "a\xc3\xa9\xef\xbf\xbd\xe2\x82\xac"
                                       "aa\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
        }
}

TEST(texts_start_with_bos_once_and_end_with_eos)
{
    static const int32_t script[] = {FAKE_A, FAKE_SPACE_B, FAKE_EOS, FAKE_A};
    const int32_t *ids;
    CHECK(open_scripted(script, 4, 3));
    CHECK(tandem_runtime_api.feed_text(session, "a", 1) == TANDEM_OK);
    CHECK(tandem_runtime_api.feed_text(session, "a", 1) == TANDEM_OK);
    CHECK(tandem_runtime_api.tokens(session, &ids) == 3);
    CHECK(ids[0] == FAKE_BOS && ids[1] == FAKE_A && ids[2] == FAKE_A);
    text result = {.whole = true};
    tandem_stats stats;
    CHECK(tandem_runtime_api.generate(session, NULL, gather, &result) == TANDEM_OK);
    tandem_runtime_api.stats(session, &stats);
    CHECK_STRING(result.bytes, "a b");
    CHECK(stats.stop == TANDEM_STOP_END && stats.tokens == 3 && stats.prompt_tokens == 3);
    tandem_runtime_api.close(model);
}

TEST(control_tokens_are_written_when_asked_for)
{
    static const int32_t script[] = {FAKE_A, FAKE_EOS, FAKE_BOS, FAKE_A};
    CHECK(open_scripted(script, 4, 2));
    tandem_generate_options options = {
        .max_tokens = 4, .draft = "2", .ignore_end = true, .show_special = true};
    text result = {.whole = true};
    CHECK(tandem_runtime_api.feed_text(session, "a", 1) == TANDEM_OK);
    CHECK(tandem_runtime_api.generate(session, &options, gather, &result) == TANDEM_OK);
    CHECK_STRING(result.bytes, "a</s><s>a");
    tandem_runtime_api.close(model);
}

TEST(text_and_ids_convert_with_honest_counts)
{
    int32_t ids[4] = {-1, -1, -1, -1};
    char bytes[4] = "____";
    size_t count = 0;
    CHECK(open_scripted(NULL, 0, 0));
    CHECK(tandem_runtime_api.tokenize(model, "a\xe2\x82\xac", 4, ids, 3, &count) == TANDEM_OK);
    CHECK(count == 4 && ids[0] == FAKE_A && ids[2] == FAKE_82 && ids[3] == -1);
    CHECK(tandem_runtime_api.detokenize(model, ids, 3, bytes, 2, &count) == TANDEM_OK);
    CHECK(count == 4 && memcmp(bytes, "a\xef__", 4) == 0);
    CHECK(tandem_runtime_api.detokenize(model, ids, 1, NULL, 0, &count) == TANDEM_OK);
    CHECK(count == 1);
    tandem_runtime_api.close(model);
}

TEST(a_text_that_does_not_fit_is_refused_and_leaves_nothing)
{
    static char many[40];
    const int32_t *ids;
    memset(many, 'a', sizeof many);
    CHECK(open_scripted(NULL, 0, 0));
    tandem_runtime_api.close(model);
    CHECK(fake_open(32, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.feed_text(session, many, 32) == TANDEM_FULL); /* and BOS */
    CHECK(strstr(tandem_runtime_api.error(model), "33 tokens") != NULL);
    CHECK(tandem_runtime_api.tokens(session, &ids) == 0);
    CHECK(tandem_runtime_api.feed_text(session, many, 31) == TANDEM_OK);
    CHECK(tandem_runtime_api.tokens(session, &ids) == 32);
    CHECK(tandem_runtime_api.feed_text(session, many, 1) == TANDEM_FULL);
    tandem_runtime_api.close(model);
}

TEST(a_damaged_tokenizer_is_refused)
{
    tandem_error error;
    CHECK(open_scripted(NULL, 0, 0));
    tandem_runtime_api.close(model);
    fake_tokenizer[3] ^= 1;
    CHECK(tandem_runtime_api.open(&fake_artefact, NULL, &error, &model) == TANDEM_REFUSED);
    CHECK(strstr(error.text, "tokenizer is damaged") != NULL);
}

TEST_MAIN()
