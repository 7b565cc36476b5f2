/* Stop texts: found across pieces of any size, and nothing of them is ever handed out.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/fake.h"
#include "tests/runtime/fake_tokenizer.h"
#include "tests/test.h"

/* The length of the text before the first stop text that is complete, by looking everywhere. */
static size_t expected_length(const char *text, size_t length, const char *const *stops,
                              uint32_t count, bool *found)
{
    for (size_t end = 1; end <= length; end++) {
        size_t longest = 0;
        for (uint32_t i = 0; i < count; i++) {
            const size_t bytes = strlen(stops[i]);
            if (bytes <= end && bytes > longest && memcmp(text + end - bytes, stops[i], bytes) == 0)
                longest = bytes;
        }
        if (longest > 0) {
            *found = true;
            return end - longest;
        }
    }
    *found = false;
    return length;
}

/* The longest end of `text` that may become a stop text: what must be held back. */
static size_t longest_beginning(const char *text, size_t length, const char *const *stops,
                                uint32_t count)
{
    size_t longest = 0;
    for (uint32_t i = 0; i < count; i++)
        for (size_t bytes = 1; bytes < strlen(stops[i]) && bytes <= length; bytes++)
            if (bytes > longest && memcmp(text + length - bytes, stops[i], bytes) == 0)
                longest = bytes;
    return longest;
}

TEST(pieces_of_any_size_give_the_text_before_the_first_stop)
{
    uint64_t state = 11;
    int stopped = 0;
    for (int trial = 0; trial < 4000; trial++) {
        char text[64], texts[3][8], out[64 + RT_STOP_BYTES];
        const char *stops[3] = {texts[0], texts[1], texts[2]};
        const uint32_t count = trial % 4;
        for (uint32_t i = 0; i < 3; i++) {
            state = fake_hash(state, i);
            const size_t bytes = 1 + state % 5;
            for (size_t k = 0; k < bytes; k++)
                texts[i][k] = "ab"[(state >> (8 + k)) & 1];
            texts[i][bytes] = '\0';
        }
        const size_t length = fake_hash(state, 9) % sizeof text;
        for (size_t i = 0; i < length; i++)
            text[i] = "abc"[fake_hash(state, 100 + i) % 3];
        rt_stop_text stop;
        CHECK(rt_stop_start(&stop, stops, count, NULL) == TANDEM_OK);
        size_t written = 0, at = 0;
        while (at < length) {
            size_t part = 1 + fake_hash(state, 1000 + at) % 7;
            part = part < length - at ? part : length - at;
            written += rt_stop_push(&stop, text + at, part, out + written);
            at += part;
            bool found;
            const size_t now = expected_length(text, at, stops, count, &found);
            CHECK(stop.found == found && memcmp(out, text, written) == 0);
            CHECK(written == (found ? now : at - longest_beginning(text, at, stops, count)));
        }
        bool found;
        written += rt_stop_finish(&stop, out + written);
        CHECK(written == expected_length(text, length, stops, count, &found));
        CHECK(memcmp(out, text, written) == 0 && found == stop.found);
        stopped += found;
    }
    CHECK(stopped > 1000);
}

TEST(a_piece_may_stand_behind_where_it_is_written)
{
    static const char *const stops[] = {"abababababab"};
    char buffer[RT_STOP_BYTES + 64];
    rt_stop_text stop;
    CHECK(rt_stop_start(&stop, stops, 1, NULL) == TANDEM_OK);
    CHECK(rt_stop_push(&stop, "ababababab", 10, buffer) == 0);
    strcpy(buffer + RT_STOP_BYTES, "cababx");
    CHECK(rt_stop_push(&stop, buffer + RT_STOP_BYTES, 6, buffer) == 16);
    CHECK(memcmp(buffer, "abababababcababx", 16) == 0);
}

TEST(stop_texts_are_checked)
{
    static char longest[RT_STOP_BYTES + 1];
    memset(longest, 'x', RT_STOP_BYTES);
    const char *const bad[] = {"", longest, "\x82"};
    tandem_error error;
    rt_stop_text stop;
    for (size_t i = 0; i < 3; i++)
        CHECK(rt_stop_start(&stop, &bad[i], 1, &error) == TANDEM_INVALID);
    CHECK(strstr(error.text, "UTF-8") != NULL);
    longest[RT_STOP_BYTES - 1] = '\0';
    CHECK(rt_stop_start(&stop, &bad[1], 1, &error) == TANDEM_OK);
}

/* --- a whole generation --- */

typedef struct outcome {
    char text[256];
    size_t bytes;
    int32_t ids[64];
    size_t count;
    tandem_stop stop;
} outcome;

static bool gather(void *user, const tandem_piece *piece)
{
    outcome *result = user;
    memcpy(result->text + result->bytes, piece->text, piece->bytes);
    result->bytes += piece->bytes;
    return true;
}

/* The target writes: a, a, the three bytes of a euro sign, a, "é", " b", a, a, ... */
static const int32_t script[] = {FAKE_A, FAKE_A,       FAKE_E2,      FAKE_82, FAKE_AC,
                                 FAKE_A, FAKE_E_ACUTE, FAKE_SPACE_B, FAKE_A,  FAKE_A};

static bool run(const char *draft, const char *const *stops, uint32_t stop_count, outcome *result)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    const int32_t bos = FAKE_BOS;
    *result = (outcome){0};
    fake_make(2, FAKE_TOKENS, 16)->tokenizer = fake_tokenizer;
    fake_artefact.tokenizer_bytes = fake_make_tokenizer();
    fake_rule.script = script;
    fake_rule.script_start = 1;
    fake_rule.script_count = sizeof script / sizeof *script;
    tandem_generate_options options = {
        .max_tokens = 10, .draft = draft, .stop = stops, .stop_count = stop_count};
    if (fake_open(0, 1, &model, &session) != TANDEM_OK)
        return false;
    bool fine = tandem_runtime_api.feed(session, &bos, 1) == TANDEM_OK &&
                tandem_runtime_api.generate(session, &options, gather, result) == TANDEM_OK;
    const int32_t *ids;
    tandem_stats stats;
    result->count = tandem_runtime_api.tokens(session, &ids);
    memcpy(result->ids, ids, result->count * sizeof *ids);
    tandem_runtime_api.stats(session, &stats);
    result->stop = stats.stop;
    tandem_runtime_api.close(model);
    return fine && fake_faults == 0;
}

TEST(the_text_stops_before_and_the_tokens_behind_what_completes_it)
{
    static const struct {
        const char *stop, *text;
        size_t tokens; /* with the first one, the prompt's */
    } cases[] = {
        {"\xe2\x82\xac", "aa", 6}, /* spread over three tokens */
        {"a\xe2\x82\xac"
         "a",
         "a", 7}, /* over four, from within the text */
        {"b",
         "aa\xe2\x82\xac"
         "a\xc3\xa9 ",
         9}, /* within a token */
        {"aa", "", 3},
    };
    static const char *const drafts[] = {"0", "1", "3", "8", "rsd-c:2,2", "rsd-s:2x3"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t d = 0; d < sizeof drafts / sizeof *drafts; d++) {
            const char *const stops[] = {"zzz", cases[i].stop};
            outcome result;
            CHECK(run(drafts[d], stops, 2, &result));
            CHECK(result.stop == TANDEM_STOP_TEXT);
            CHECK(result.bytes == strlen(cases[i].text));
            CHECK(memcmp(result.text, cases[i].text, result.bytes) == 0);
            CHECK(result.count == cases[i].tokens);
            CHECK(memcmp(result.ids + 1, script, (result.count - 1) * sizeof *script) == 0);
        }
}

TEST(what_was_held_back_comes_when_the_text_ends)
{
    static const char *const stops[] = {"aab"};
    outcome result, plain;
    CHECK(run("3", NULL, 0, &plain) && plain.stop == TANDEM_STOP_LENGTH);
    CHECK(run("3", stops, 1, &result) && result.stop == TANDEM_STOP_LENGTH);
    CHECK(result.bytes == plain.bytes && memcmp(result.text, plain.text, plain.bytes) == 0);
    CHECK(result.count == plain.count);
}

TEST_MAIN()
