/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/status.h"
#include "tests/test.h"

TEST(messages_are_printable_utf8)
{
    static const struct {
        const char *given, *shown;
    } rows[] = {
        {"plain", "plain"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a"},
        {"two\nlines\x7f", "two?lines?"},
        {"\xff\xfe", "??"},
        {"\xc3", "?"},
        {"\xc0\xaf \xe0\x80\xaf", "?? ???"},
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"a\x80z", "a?z"},
    };
    td_context context;
    td_context_init(&context);
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        CHECK(td_fail(&context, TD_INVALID, "%s", rows[i].given) == TD_INVALID);
        CHECK_STRING(context.message, rows[i].shown);
    }
}

/* A long message ends with a whole character, wherever the cut falls. */
TEST(long_messages_are_cut_at_characters)
{
    td_context context;
    td_context_init(&context);
    for (size_t shift = 0; shift < 4; shift++) {
        char text[2048] = "abc";
        text[shift] = '\0';
        while (strlen(text) < sizeof context.message + 8)
            strcat(text, "\xf0\x9f\x8c\x8a");
        td_fail(&context, TD_INVALID, "%s", text);
        const size_t length = strlen(context.message);
        CHECK(length >= sizeof context.message - 5 && (length - shift) % 4 == 0);
        CHECK(strncmp(context.message, text, length) == 0);
    }
}

TEST(prefixes_stand_before_the_sentence)
{
    td_context context;
    td_context_init(&context);
    td_fail(&context, TD_UNSUPPORTED, "layer %d", 7);
    CHECK(td_fail_within(&context, TD_UNSUPPORTED, "%s", "model.xml") == TD_UNSUPPORTED);
    CHECK_STRING(context.message, "model.xml: layer 7");
}

TEST_MAIN()
