/* Pre-tokenizer patterns: the same matches as PCRE2 over random and multilingual text, the same
 * sets of characters, and refusal of what the matcher has no instructions for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "frontend/tokenizer/pattern_compiler.h"
#include "tests/failing.h"
#include "tests/test.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3                                                                                     \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"      \
                 "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"    \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}|"                     \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define POSSESSIVE                                                                                 \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++"    \
    "[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"
#define SHARP_S                                                                                    \
    "stra\xc3\x9f"                                                                                 \
    "e"

static const char *const patterns[] = {
    GPT2,
    LLAMA3,
    CASED,
    POSSESSIVE,
    "[\\p{P}\\$\\+<=>\\^~\\|`]+",
    "[0-9][0-9][0-9]",
    "\\d{3}|\\d",
    "\\p{N}",
    "a(?:b|c(?:d|e)?)?f|[a-c]{2,}d?",
    "(?=\\p{Lu})\\S{1,4}|(?i)straSSe|\\x{4e2d}|[^\\n]",
    "[\\S\\r]{2}|\\P{L}\\p{^Nd}|\\D[^\\D\\n]",
    "a*a*b|a(?!a(?=a))|[ab]+b",
    ".[\\-\\]x-z]|\\.|(x|y)",
};

/* Pieces of text that the patterns care about. */
static const char *const fragments[] = {
    "a",
    "b",
    "c",
    "d",
    "Hello",
    "WORLD",
    "'s",
    "'LL",
    "'ve",
    "'\xc5\xbf",
    "1",
    "23",
    "4567",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "!",
    "?!.",
    "\xc3\xa9",
    "\xce\xa9",
    "\xd0\x96\xd0\xb8",
    "\xe4\xb8\xad\xe6\x96\x87",
    "\xe2\x82\xac",
    "\xf0\x9f\x98\x80",
    "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d",
    "\xc2\xbd",
    "\xe2\x85\xa3",
    "\xc2\xa0",
    "\xe3\x80\x80",
    "\xe2\x80\xa8",
    "\xc2\x85",
    "e\xcc\x81",
    "\xd9\x83\xd8\xaa\xd8\xa7\xd8\xa8",
    "\xef\xbf\xbd",
    "\xe2\x84\xaa",
    SHARP_S,
    "strasse",
    "x-]",
    "af",
    "acdf",
    "aab",
    "/",
    "$",
    "_",
    "\xc7\x85",
    "\xf0\x9d\x9f\x98",
};

static td_status compile(td_context *context, const char *expression, fe_patterns *patterns_out)
{
    td_context_init(context);
    *patterns_out = (fe_patterns){0};
    return fe_patterns_add(context, patterns_out, expression, strlen(expression));
}

static size_t match(const fe_patterns *compiled, const char *text, size_t size)
{
    rt_pattern pattern = {compiled->instructions.items, compiled->sets.items,
                          compiled->ranges.items};
    return rt_pattern_match(&pattern, compiled->stages.items[0], text, size);
}

/* Checks every place of a text at which a character begins; false and a message when one differs.
 */
static bool agrees(const fe_patterns *compiled, pcre2_code *code, pcre2_match_data *data,
                   const char *text, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        if ((text[at] & 0xc0) == 0x80)
            continue;
        int found =
            pcre2_match(code, (PCRE2_SPTR)(text + at), size - at, 0, PCRE2_ANCHORED, data, NULL);
        size_t expected = found < 0 ? 0 : pcre2_get_ovector_pointer(data)[1];
        size_t actual = match(compiled, text + at, size - at);
        if (actual != expected) {
            printf("    \"%.*s\" at %zu: %zu instead of %zu\n", (int)size, text, at, actual,
                   expected);
            return false;
        }
    }
    return true;
}

static pcre2_code *oracle(const char *expression)
{
    int error;
    PCRE2_SIZE position;
    return pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &position, NULL);
}

TEST(matches_are_those_of_pcre2)
{
    uint64_t random = 7;
    for (size_t i = 0; i < TD_COUNT_OF(patterns); i++) {
        td_context context;
        fe_patterns compiled;
        CHECK_MESSAGE(compile(&context, patterns[i], &compiled) == TD_OK, "%s", context.message);
        pcre2_code *code = oracle(patterns[i]);
        CHECK(code != NULL);
        pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
        for (int round = 0; round < 400; round++) {
            char text[512] = "";
            size_t size = 0, count = td_random_next(&random) % 14;
            for (size_t j = 0; j < count; j++) {
                const char *fragment = fragments[td_random_next(&random) % TD_COUNT_OF(fragments)];
                memcpy(text + size, fragment, strlen(fragment));
                size += strlen(fragment);
            }
            CHECK_MESSAGE(agrees(&compiled, code, data, text, size), "%s", patterns[i]);
        }
        pcre2_match_data_free(data);
        pcre2_code_free(code);
        fe_patterns_release(&context, &compiled);
    }
}

static size_t write_utf8(uint32_t c, char *text)
{
    if (c < 0x80)
        return text[0] = (char)c, 1;
    size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; c >>= 6)
        text[i] = (char)(0x80 | (c & 0x3f));
    text[0] = (char)((0xf00u >> size & 0xf0u) | c);
    return size;
}

/* Every set, asked about every code point. U+180E is left out: to PCRE2 it is white space, which it
 * was up to Unicode 6.2. So are characters that are unassigned to one of both, which may know
 * different versions of Unicode. */
TEST(sets_are_those_of_pcre2)
{
    static const char *const sets[] = {"\\p{Cn}",
                                       "\\p{L}",
                                       "\\p{N}",
                                       "\\s",
                                       "\\S",
                                       "\\d",
                                       "\\p{Lu}",
                                       "\\p{M}",
                                       "\\p{P}",
                                       "\\p{S}",
                                       "\\p{Z}",
                                       "\\p{C}",
                                       "[^\\s\\p{L}\\p{N}]",
                                       "(?i:[sk\xc3\xa9])",
                                       "[\\p{Ll}\\p{Sc}_-]"};
    bool *unassigned = calloc(FE_CODE_POINTS, sizeof *unassigned);
    for (size_t i = 0; i < TD_COUNT_OF(sets); i++) {
        td_context context;
        fe_patterns compiled;
        CHECK_MESSAGE(compile(&context, sets[i], &compiled) == TD_OK, "%s", context.message);
        pcre2_code *code = oracle(sets[i]);
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
        pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
        for (uint32_t c = 0; c < FE_CODE_POINTS; c++) {
            char text[4];
            if ((c >= 0xd800 && c < 0xe000) || c == 0x180e || (c >= 0x30000 && c < 0xe0000) ||
                c >= 0xe0200)
                continue;
            size_t size = write_utf8(c, text);
            bool expected =
                pcre2_match(code, (PCRE2_SPTR)text, size, 0, PCRE2_NO_UTF_CHECK, data, NULL) >= 0;
            bool actual = match(&compiled, text, size) == size;
            if (i == 0)
                unassigned[c] = expected || actual;
            CHECK_MESSAGE(actual == expected || unassigned[c], "%s: U+%04X", sets[i], c);
        }
        pcre2_match_data_free(data);
        pcre2_code_free(code);
        fe_patterns_release(&context, &compiled);
    }
    free(unassigned);
}

TEST(refusals_name_the_position)
{
    static const struct {
        const char *pattern, *message;
        td_status status;
    } cases[] = {
        {"(", "byte 1: no regular expression", TD_INVALID},
        {"a|[b", "no regular expression", TD_INVALID},
        {"ab+?c", "byte 3: a lazy quantifier", TD_UNSUPPORTED},
        {"x(ab)+", "byte 5: a repeated group", TD_UNSUPPORTED},
        {"x(?<=a)b", "byte 1: this kind of group", TD_UNSUPPORTED},
        {"\\bword", "byte 0: this escape", TD_UNSUPPORTED},
        {"(a)\\1", "byte 3: this escape", TD_UNSUPPORTED},
        {"ab^", "byte 2: this character", TD_UNSUPPORTED},
        {"\\p{Han}", "a property that is no general category", TD_UNSUPPORTED},
        {"[[:alpha:]]", "byte 1: a class within a class", TD_UNSUPPORTED},
        {"[a-z&&b]", "byte 4: an intersection", TD_UNSUPPORTED},
        {"a*", "can match nothing", TD_UNSUPPORTED},
        {"a|(?!b)", "can match nothing", TD_UNSUPPORTED},
        {"a*a*a*a*b", "4 open-ended sets in a row", TD_UNSUPPORTED},
        {"a{,3}b*\\Q", "this escape", TD_UNSUPPORTED},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        td_context context;
        fe_patterns compiled;
        td_status status = compile(&context, cases[i].pattern, &compiled);
        fe_patterns_release(&context, &compiled);
        CHECK_MESSAGE(status == cases[i].status, "%s: %d %s", cases[i].pattern, status,
                      context.message);
        CHECK_MESSAGE(strstr(context.message, cases[i].message) != NULL, "%s: %s", cases[i].pattern,
                      context.message);
    }
}

TEST(deep_nesting_is_refused)
{
    char text[4096] = "";
    for (int i = 0; i < 40; i++)
        strcat(text, "(?:a|");
    strcat(text, "b");
    for (int i = 0; i < 40; i++)
        strcat(text, ")");
    td_context context;
    fe_patterns compiled;
    CHECK(compile(&context, text, &compiled) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "nesting") != NULL);
    fe_patterns_release(&context, &compiled);
}

TEST(literals_match_themselves)
{
    const char *literals[] = {" ", "a.b|c", "\xe4\xb8\xad(", "\\p{L}"};
    for (size_t i = 0; i < TD_COUNT_OF(literals); i++) {
        td_context context;
        td_context_init(&context);
        fe_patterns compiled = {0};
        size_t size = strlen(literals[i]);
        CHECK(fe_patterns_add_literal(&context, &compiled, literals[i], size) == TD_OK);
        CHECK(match(&compiled, literals[i], size) == size);
        CHECK(match(&compiled, "xyz", 3) == 0);
        fe_patterns_release(&context, &compiled);
    }
}

/* Text that is not UTF-8: bytes that belong to no character count one by one, as U+FFFD. */
TEST(broken_text_is_matched_byte_by_byte)
{
    td_context context;
    fe_patterns compiled;
    CHECK(compile(&context, GPT2, &compiled) == TD_OK);
    CHECK(match(&compiled, "\xff\xfe\x80 x", 5) == 3);
    CHECK(match(&compiled, "ab\xe4\xb8", 4) == 2);
    CHECK(match(&compiled, "\xed\xa0\x80", 3) == 3);
    /* Giving characters back steps over whole ones and broken ones alike. */
    fe_patterns_release(&context, &compiled);
    CHECK(compile(&context, "[^x]+\xc3\xa9", &compiled) == TD_OK);
    CHECK(match(&compiled, "\xc3\xc3\xa9\xa9z\xf0\x9f\x98", 8) == 3);
    fe_patterns_release(&context, &compiled);
}

/* Allocation failures, one after the other, end in TD_NO_MEMORY and leak nothing. */
TEST(allocation_failures)
{
    static const char expression[] = "(?i:'s|t)?\\p{Nd}+|x(?!y)";
    bool finished = false;
    for (long count = 0; count < 2000 && !finished; count++) {
        failing_allocator failing = {.countdown = count};
        td_context context;
        failing_context(&context, &failing);
        fe_patterns compiled = {0};
        td_status status = fe_patterns_add(&context, &compiled, expression, strlen(expression));
        CHECK_MESSAGE(status == TD_OK || status == TD_NO_MEMORY, "%s", context.message);
        finished = status == TD_OK;
        fe_patterns_release(&context, &compiled);
        CHECK(failing.held == 0);
    }
    CHECK(finished);
}

TEST_MAIN()
