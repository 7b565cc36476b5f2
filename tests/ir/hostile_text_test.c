/* The parser of the text form against bad input: sentences with places, and no crash on any bytes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/ir.h"

#include "tests/test.h"

/* The fuzz target is driven here with mutated texts, so that it runs in every test run. */
#include "tests/fuzz/ir_parse_fuzz.c"

static const char sound[] =
    "module \"m\"\n"
    "symbol tokens <= 8\n"
    "symbol s1\n"
    "symbol s2\n"
    "unify s1 = 2*tokens - 1\n"
    "product s2 = (tokens) * (tokens + 3)\n"
    "state \"kv\" = cache f32 {layer = 0, kv_heads = 1, head_size = 4}\n"
    "state \"s\" = plain f32[tokens, 2]\n"
    "constant @0 \"scale\": f16[2] = {0.5, -0x1}\n"
    "constant @1 \"w\": i4[2, 4] = {-8, 7, 0, 1, 2, 3, 4, 5} {group = 4, scale = @s}\n"
    "constant @2 \"n\": f32[4] = from \"model.bin at 0\"\n"
    "graph \"g\" {\n"
    "    input %0 \"x\": f32[tokens, 4]\n"
    "    %1: f32[tokens, 4] = rms_norm(%0, @2) {epsilon = 1e-05} \"norm\"\n"
    "    %2: f32[tokens, 2] = linear(%1, @1)\n"
    "    %3: f32[tokens, 1], %4: f32[tokens, 1] = split(%2) {axis = 1, lengths = [1, 1]}\n"
    "    write_state(%2) {state = \"s\"}\n"
    "    output \"y\" = %4\n"
    "}\n";

/* The sound text with its two flaws mended: they serve the table below. */
static char *mended(void)
{
    char *text = strdup(sound), *flaw;
    flaw = strstr(text, "-0x1");
    memcpy(flaw, "2.25", 4);
    flaw = strstr(text, "@s}");
    flaw[1] = '0';
    return text;
}

static td_status parse(const char *text, size_t length, char *message, size_t size)
{
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    td_status status = ir_parse(&context, text, length, "t", &module);
    snprintf(message, size, "%s", context.message);
    ir_module_release(module);
    return status;
}

TEST(the_sound_text_is_sound)
{
    char message[1100], *text = mended();
    td_status status = parse(text, strlen(text), message, sizeof message);
    CHECK_MESSAGE(status == TD_OK, "%s", message);
    free(text);
}

TEST(sentences_name_place_and_expectation)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t:1:1: expected 'module', found the end"},
        {"graph", "t:1:1: expected 'module', found 'graph'"},
        {"module m", "t:1:8: expected the module's name in quotes, found 'm'"},
        {"module \"m", "t:1:8: expected a closing '\"' on the same line"},
        {"module \"\\q\"",
         "t:1:9: expected one of the escapes \\\" \\\\ \\n \\t \\xHH (lower case, "
         "not 00)"},
        {"module \"\\x00\"", "t:1:9: expected one of the escapes \\\" \\\\ \\n \\t \\xHH (lower "
                             "case, not 00)"},
        {"module \"m\"\nfoo",
         "t:2:1: expected 'symbol', 'unify', 'product', 'state', 'constant' or 'graph', found "
         "'foo'"},
        {"module \"m\" symbol a <= -1",
         "t:1:24: expected a whole number from 0 to 9223372036854775807, found '-1'"},
        {"module \"m\" symbol a <= 99999999999999999999",
         "t:1:24: expected a whole number from 0 to 9223372036854775807, found "
         "'99999999999999999999'"},
        {"module \"m\" symbol a symbol a",
         "t:1: module \"m\": a dimension symbol \"a\" exists already; names are unique"},
        {"module \"m\" symbol a unify a = a",
         "t:1:27: expected a symbol that has no meaning yet, is in no meaning above and not in its "
         "own, found 'a'"},
        {"module \"m\" symbol a symbol b unify a = b unify b = a",
         "t:1:48: expected a symbol that has no meaning yet, is in no meaning above and not in its "
         "own, found 'b'"},
        {"module \"m\" constant @0 \"\": f33[]",
         "t:1:28: expected an element type such as f32 or i64, found 'f33'"},
        {"module \"m\" constant @0 \"\": f32[1, 1, 1, 1, 1, 1, 1]",
         "t:1:50: expected at most 6 dimensions, found '1'"},
        {"module \"m\" constant @0 \"\": f32[n]",
         "t:1:32: expected the name of a symbol declared above, found 'n'"},
        {"module \"m\" constant @0 \"\": u8[1] = {256}",
         "t:1:37: expected a number within the element type's range, found '256'"},
        {"module \"m\" constant @0 \"\": u8[2] = {1}", "t:1:38: expected ',', found '}'"},
        {"module \"m\" constant @0 \"\": f32[1] = {1e999}",
         "t:1:38: expected a number within the element type's range, found '1e999'"},
        {"module \"m\" constant @0 \"\": u8[9223372036854775807, 9] = missing",
         "t:1: constant \"\": its shape must be fixed, with dimensions of at least 0 and a number "
         "of elements that fits 64 bits"},
        {"module \"m\" constant @0 \"\": u8[2] = missing {group = 1, scale = @0}",
         "t:1:64: expected the @label of a constant declared above, found '@0'"},
        {"module \"m\" state \"s\" = cache f32 {layer = 0, kv_heads = 0, head_size = 4}",
         "t: verifier: state \"s\" has a malformed shape or no heads"},
        {"module \"m\" graph \"g\" { input %0: f32[] output \"o\" = %1 }",
         "t:1:53: expected the %label or @label of a value or constant defined above, found '%1'"},
        {"module \"m\" graph \"g\" { %0 = frobnicate() }",
         "t:1:29: expected the name of an operation, 'input', 'output' or '}', found "
         "'frobnicate'"},
        {"module \"m\" graph \"g\" { %0 = add() }",
         "t:1: graph \"g\": layer \"\" (add) has 0 inputs; from 2 to 2 are accepted"},
        {"module \"m\" graph \"g\" { input %0: f32[] %0 = negate(%0) }",
         "t:1:40: expected a new %label, found '%0'"},
        {"module \"m\" graph \"g\" { input %0: f32[]\n%1, %1 = split(%0) {axis = 0} }",
         "t:2: graph \"g\": layer \"\" (split): axis 0 is outside of a value with 0 dimensions; "
         "axes count from 0 at the front"},
        {"module \"m\" graph \"g\" { input %0: f32[2]\n%1, %1 = split(%0) {axis = 0} }",
         "t:2: %1 is defined twice by one node; labels are unique"},
        {"module \"m\" graph \"g\" { input %0: f32[2]\n%1: f32[3] = negate(%0) }",
         "t: verifier: graph \"g\": layer \"\" (negate): output 1 is f32[3] but its inputs make it "
         "f32[2]"},
        {"module \"m\" graph \"g\" { input %0: f32[2]\n%1 = negate(%0) {a = 1, a = 2} }",
         "t:2:25: expected each attribute once, at most 64 of them, found 'a'"},
        {"module \"m\" graph \"g\" { input %0: f32[2]\n%1 = negate(%0) {a = 1.5.5} }",
         "t:2:22: expected a finite decimal, or 0x and 16 digits of bits, found '1.5.5'"},
        {"module \"m\" graph \"g\" {", "t:1:23: expected the name of an operation, 'input', "
                                       "'output' or '}', found the end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[1100];
        td_status status = parse(cases[i].text, strlen(cases[i].text), message, sizeof message);
        CHECK(status == TD_INVALID);
        CHECK_STRING(message, cases[i].message);
    }
}

TEST(every_prefix)
{
    char *text = mended();
    for (size_t length = 0; length <= strlen(text); length++) {
        /* An exact copy, so that reading past the end is seen by the address sanitizer. */
        uint8_t *copy = malloc(length > 0 ? length : 1);
        memcpy(copy, text, length);
        LLVMFuzzerTestOneInput(copy, length);
        free(copy);
    }
    free(text);
}

/* Replaces, removes, doubles or exchanges bytes and words. */
static size_t mutate(uint8_t *text, size_t length, size_t capacity, uint64_t *state)
{
    static const char *const pieces[] = {"-1",
                                         "0",
                                         "%0",
                                         "@1",
                                         "[",
                                         "]",
                                         "{",
                                         "}",
                                         "\"",
                                         ",",
                                         " = ",
                                         "f32[]",
                                         "9223372036854775807",
                                         "0x0",
                                         "tokens",
                                         "\n",
                                         "\\",
                                         "\0",
                                         "*",
                                         "graph \"g\" {"};
    size_t place = (size_t)(td_random_next(state) % (length + 1));
    size_t span = (size_t)(td_random_next(state) % 12);
    size_t rest = length - place;
    span = span < rest ? span : rest;
    switch (td_random_next(state) % 4) {
    case 0: /* a byte */
        if (rest > 0)
            text[place] = (uint8_t)td_random_next(state);
        return length;
    case 1: /* without a span */
        memmove(text + place, text + place + span, rest - span);
        return length - span;
    case 2: { /* a piece instead of a span */
        const char *piece = pieces[td_random_next(state) % (sizeof pieces / sizeof pieces[0])];
        size_t size = strlen(piece);
        if (length - span + size > capacity)
            return length;
        memmove(text + place + size, text + place + span, rest - span);
        memcpy(text + place, piece, size);
        return length - span + size;
    }
    default: /* a stretch of the text again */
        if (length + span > capacity)
            return length;
        memmove(text + place + span, text + place, rest);
        return length + span;
    }
}

static void run_mutated(const char *text, int rounds, uint64_t seed)
{
    size_t length = strlen(text), capacity = length + 512;
    uint8_t *copy = malloc(capacity);
    uint64_t state = seed;
    for (int round = 0; round < rounds; round++) {
        size_t size = length;
        memcpy(copy, text, length);
        for (uint64_t count = 1 + td_random_next(&state) % 4; count > 0; count--)
            size = mutate(copy, size, capacity, &state);
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
}

TEST(mutated_texts)
{
    char *text = mended();
    run_mutated(text, 20000, 42);
    free(text);
}

/* Numbers and operations where the shape rules compute with them. */
static const char rules[] =
    "module \"m\" symbol t <= 64 symbol n\n"
    "constant @o \"\": i64[1] = {1}\n"
    "constant @z \"\": i64[1] = {0}\n"
    "constant @m \"\": i64[1] = {-1}\n"
    "constant @l \"\": i64[1] = {9223372036854775807}\n"
    "constant @p \"\": i64[3] = {0, 2, -1}\n"
    "graph \"g\" { input %x: f32[t, 8] input %f: f32[3, 6, 8] input %c: i64[3]\n"
    "%1 = slice(%f, @o, @m, @o) {axes = [1]}\n"
    "%2 = strided_slice(%f, @o, @l, @o) {end_mask = [1], begin_mask = [0], new_axis_mask = [0]}\n"
    "%3 = reshape(%f, @p) {special_zero = 1}\n"
    "%4 = reshape(%x, @m)\n"
    "%5 = broadcast(%x, %c) {bidirectional = 1}\n"
    "%7 = range(@z, @l, @o)\n"
    "%8, %9 = top_k(%x, @o) {axis = 1}\n"
    "%10, %11 = split(%x) {axis = 1}\n"
    "%12 = slice(%x, @m, @l, @o) {axes = [0]}\n"
    "%13 = transpose(%f) {perm = [2, 0, 1]}\n"
    "%14 = concat(%f, %f) {axis = 1}\n"
    "%15 = matmul(%x, %x) {transpose_b = 1}\n"
    "%16 = reduce_sum(%f) {axes = [0, 2], keep = 1} }\n";

TEST(mutated_shape_rules)
{
    char message[1100];
    td_status status = parse(rules, sizeof rules - 1, message, sizeof message);
    CHECK_MESSAGE(status == TD_OK, "%s", message);
    run_mutated(rules, 10000, 43);
}

TEST(random_bytes)
{
    uint64_t state = 3;
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[64] = "module \"m\" ";
        size_t start = round % 2 == 0 ? 0 : 11;
        for (size_t i = start; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)td_random_next(&state);
        LLVMFuzzerTestOneInput(bytes, sizeof bytes);
    }
}

/* Long inputs of one kind take time in proportion, not more. */
TEST(many_of_everything)
{
    static const struct {
        const char *start, *piece, *end;
        td_status expected;
    } cases[] = {
        {"", "; comment\n", "module \"m\"", TD_OK},
        {"module \"m\" symbol n constant @0 \"\": i64[1] = missing graph \"g\" { input %0: f32[",
         "n + ", "n] }", TD_OK},
        {"module \"m\" graph \"g\" { input %0: f32[] ", "negate(%0) ", "}", TD_INVALID},
        {"module \"m\" graph \"g\" { input %0: f32[] %1 = concat(", "%0, ", "%0) {axis = 0} }",
         TD_INVALID},
        {"module \"m\" graph \"g\" { input %0: f32[] %1 = negate(%0) {a = [", "1, ", "1]} }",
         TD_OK},
        {"module \"m\" graph \"g\" { ", "output \"o\" = %0 ", "}", TD_INVALID},
        {"module \"m\" graph \"g\" { input %0: f32[] ", "output \"o\" = %0 ", "}", TD_OK},
        {"module \"m\" ", "((((", "", TD_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum { COUNT = 20000 };
        size_t piece = strlen(cases[i].piece), length = 0;
        char *text = malloc(strlen(cases[i].start) + strlen(cases[i].end) + piece * COUNT + 1);
        length += (size_t)sprintf(text, "%s", cases[i].start);
        for (int k = 0; k < COUNT; k++, length += piece)
            memcpy(text + length, cases[i].piece, piece);
        length += (size_t)sprintf(text + length, "%s", cases[i].end);
        char message[1100];
        td_status status = parse(text, length, message, sizeof message);
        CHECK_MESSAGE(status == cases[i].expected, "%s: %s", cases[i].start, message);
        free(text);
    }
}

TEST_MAIN()
