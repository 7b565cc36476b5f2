/* The text form: golden texts, and that what was printed is read back and prints the same.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

#include "tests/test.h"

/* Parses, prints, and gives the print in a buffer that the caller frees; NULL and the message on
 * standard output when something failed. */
static char *print_again(const char *text)
{
    td_context context;
    ir_module *module = NULL;
    td_text printed;
    td_context_init(&context);
    td_text_init(&printed, &context);
    td_status status = ir_parse(&context, text, strlen(text), "test.ir", &module);
    if (status == TD_OK)
        status = ir_print(module, &printed);
    if (status != TD_OK)
        printf("    %s\n", context.message);
    char *copy = status == TD_OK ? strdup(printed.data) : NULL;
    td_text_release(&printed);
    ir_module_release(module);
    return copy;
}

/* The text is in the form that the printer writes. */
static bool is_canonical(const char *text)
{
    char *printed = print_again(text);
    bool same = printed != NULL && strcmp(printed, text) == 0;
    if (printed != NULL && !same)
        printf("    printed as\n%s\n", printed);
    free(printed);
    return same;
}

TEST(an_empty_module)
{
    CHECK(is_canonical("module \"\"\n"));
    CHECK(is_canonical("module \"a \\\"quoted\\\"\\n \\x01 n\xc3\xa4me\"\n"));
}

TEST(symbols_unifications_and_products)
{
    CHECK(is_canonical("module \"m\"\n"
                       "\n"
                       "symbol tokens <= 64\n"
                       "symbol s1\n"
                       "symbol \"odd name\" <= 0\n"
                       "symbol s3\n"
                       "unify s1 = 2*tokens - \"odd name\" + 3\n"
                       "product s3 = (tokens) * (tokens - 1)\n"
                       "\n"
                       "graph \"g\" {\n"
                       "    input %0 \"x\": f32[s3, -tokens + 9, tokens + \"odd name\" - 1]\n"
                       "}\n"));
}

TEST(states_and_constants)
{
    CHECK(is_canonical(
        "module \"m\"\n"
        "\n"
        "state \"past.0\" = cache f16 {layer = 0, kv_heads = 4, head_size = 64}\n"
        "state \"counter\" = plain i64[1, 2]\n"
        "\n"
        "constant @0 \"epsilon\": f32[] = {1e-05}\n"
        "constant @1 \"floats\": f32[5] = {0.1, -0, 0x7fc00000, 0xff800000, 1.1754944e-38}\n"
        "constant @2 \"halves\": f16[4] = {0.099975586, 65504, 5.9604645e-08, 0x7c00}\n"
        "constant @3 \"brains\": bf16[2] = {0.100097656, -3.3895314e+38}\n"
        "constant @4 \"doubles\": f64[2] = {0.1, 0x7ff0000000000000}\n"
        "constant @5 \"wide\": i64[2] = {-9223372036854775808, 9223372036854775807}\n"
        "constant @6 \"nibbles\": i4[3] = {-8, 7, -1}\n"
        "constant @7 \"bytes\": u8[2, 2] = {0, 255, 1, 2}\n"
        "constant @8 \"scale\": f16[2] = {0.5, 0.25}\n"
        "constant @9 \"zero\": u8[2] = {128, 127}\n"
        "constant @10 \"weight\": u8[2, 2] = {0, 255, 1, 2} {group = 2, scale = @8, zero_point = "
        "@9}\n"
        "constant @11 \"big\": f32[4096, 4096] = from \"model.bin at 8220\"\n"
        "constant @12 \"gone\": f32[3] = missing\n"
        "constant @13 \"none\": i64[0] = {}\n"));
}

TEST(a_raised_layer)
{
    CHECK(is_canonical("module \"tiny\"\n"
                       "\n"
                       "symbol tokens <= 8\n"
                       "symbol rows <= 4\n"
                       "symbol accepted <= 8\n"
                       "\n"
                       "state \"kv.0\" = cache f32 {layer = 0, kv_heads = 1, head_size = 4}\n"
                       "\n"
                       "constant @0 \"embedding\": f32[16, 8] = missing\n"
                       "constant @1 \"norm\": f32[8] = {1, 1, 1, 1, 1, 1, 1, 1}\n"
                       "constant @2 \"q\": f32[8, 8] = missing\n"
                       "constant @3 \"k\": f32[4, 8] = missing\n"
                       "constant @4 \"frequencies\": f32[2] = {1, 0.01}\n"
                       "\n"
                       "graph \"forward\" {\n"
                       "    input %0 \"ids\": i32[tokens]\n"
                       "    input %1 \"positions\": i32[tokens]\n"
                       "    input %2 \"ancestors\": i64[tokens, 1]\n"
                       "    input %3 \"rows\": i32[rows]\n"
                       "    %4: f32[tokens, 8] = embed(@0, %0) \"embed\"\n"
                       "    %5: f32[tokens, 4] = rotary_table(%1, @4)\n"
                       "    %6 \"normed\": f32[tokens, 8] = rms_norm(%4, @1) {epsilon = 1e-05}\n"
                       "    %7: f32[tokens, 8] = linear(%6, @2)\n"
                       "    %8: f32[tokens, 4] = linear(%6, @3)\n"
                       "    %9: f32[tokens, 4] = linear(%6, @3)\n"
                       "    %10: f32[tokens, 8] = rope(%7, %5) {head_size = 4}\n"
                       "    %11: f32[tokens, 4] = rope(%8, %5) {head_size = 4}\n"
                       "    %12: f32[tokens, 8] = cached_attention(%10, %11, %9, %2) {state = "
                       "\"kv.0\", heads = 2, "
                       "kv_heads = 1, head_size = 4, scale = 0.5} \"attention 0\"\n"
                       "    %13: f32[tokens, 8] = add(%4, %12)\n"
                       "    %14: f32[rows, 8] = select_rows(%13, %3)\n"
                       "    %15: f32[rows, 16] = linear(%14, @0)\n"
                       "    output \"logits\" = %15\n"
                       "}\n"
                       "\n"
                       "graph \"commit\" {\n"
                       "    input %0 \"path\": i32[accepted]\n"
                       "    cache_commit(%0) {state = \"kv.0\"}\n"
                       "}\n"));
}

TEST(what_is_not_written_is_inferred)
{
    char *printed = print_again("module \"m\" symbol n ; a comment\n"
                                "constant @two \"\": f32[] = {2}\n"
                                "graph \"g\" { input %x: f32[n, 3]\n"
                                "%y = multiply(%x, @two) {odd = -1, \"a b\" = [1, -2], f = 2.0}\n"
                                "%a, %b \"second\" = split(%y) {axis = 1, lengths = [1, 2]}\n"
                                "output \"o\" = %b }");
    CHECK_STRING(printed,
                 "module \"m\"\n"
                 "\n"
                 "symbol n\n"
                 "\n"
                 "constant @0 \"\": f32[] = {2}\n"
                 "\n"
                 "graph \"g\" {\n"
                 "    input %0: f32[n, 3]\n"
                 "    %1: f32[n, 3] = multiply(%0, @0) {odd = -1, \"a b\" = [1, -2], f = 2.0}\n"
                 "    %2: f32[n, 1], %3 \"second\": f32[n, 2] = split(%1) {axis = 1, lengths = [1, "
                 "2]}\n"
                 "    output \"o\" = %3\n"
                 "}\n");
    free(printed);
}

TEST_MAIN()
