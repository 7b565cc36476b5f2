/* The pass that quantises activations: which products it takes, and what it leaves.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "tests/failing.h"
#include "tests/test.h"

#define CONSTANTS                                                                                  \
    "module \"m\"\n\n"                                                                             \
    "symbol tokens <= 8\n\n"                                                                       \
    "constant @0 \"table\": f32[9, 64] = missing\n"                                                \
    "constant @1 \"a.scale\": f16[32, 2] = missing\n"                                              \
    "constant @2 \"a\": i8[32, 64] = missing {group = 32, scale = @1}\n"                           \
    "constant @3 \"b.scale\": f16[7, 1] = missing\n"                                               \
    "constant @4 \"b.zero_point\": u4[7, 1] = missing\n"                                           \
    "constant @5 \"b\": u4[7, 64] = missing {group = 64, scale = @3, zero_point = @4}\n"           \
    "constant @6 \"b.bias\": f32[7] = missing\n"                                                   \
    "constant @7 \"c.scale\": f16[7, 4] = missing\n"                                               \
    "constant @8 \"c\": i8[7, 64] = missing {group = 16, scale = @7}\n"                            \
    "constant @9 \"d.scale\": f16[9, 1] = missing\n"                                               \
    "constant @10 \"d\": i8[9, 7] = missing {group = 7, scale = @9}\n\n"

static const char source[] = CONSTANTS "graph \"forward\" {\n"
                                       "    input %0 \"ids\": i32[tokens]\n"
                                       "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
                                       "    %2 \"first\": f32[tokens, 32] = linear(%1, @2) \"a\"\n"
                                       "    %3: f32[tokens, 7] = linear(%1, @5, @6) \"b\"\n"
                                       "    %4: f32[tokens, 7] = linear(%1, @8) \"small groups\"\n"
                                       "    %5: f32[tokens, 9] = linear(%1, @0) \"floats\"\n"
                                       "    %6: f32[tokens, 9] = linear(%3, @10) \"d\"\n"
                                       "    %7: f32[tokens, 9] = linear(%3, @10) \"e\"\n"
                                       "    output \"y\" = %2\n"
                                       "    output \"z\" = %4\n"
                                       "    output \"u\" = %5\n"
                                       "    output \"v\" = %6\n"
                                       "    output \"w\" = %7\n"
                                       "}\n\n"
                                       "graph \"second\" {\n"
                                       "    input %0 \"x\": f32[tokens, 7]\n"
                                       "    %1: f32[tokens, 9] = linear(%0, @10) \"alone\"\n"
                                       "    output \"y\" = %1\n"
                                       "}\n";

static const char expected[] =
    CONSTANTS "graph \"forward\" {\n"
              "    input %0 \"ids\": i32[tokens]\n"
              "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
              "    %2: i8[tokens, 64], %3: f32[tokens, 2] = quantize_rows(%1) \"embedding\"\n"
              "    %4 \"first\": f32[tokens, 32] = linear_quantized(%2, %3, @2) \"a\"\n"
              "    %5: f32[tokens, 7] = linear_quantized(%2, %3, @5, @6) \"b\"\n"
              "    %6: f32[tokens, 7] = linear(%1, @8) \"small groups\"\n"
              "    %7: f32[tokens, 9] = linear(%1, @0) \"floats\"\n"
              "    %8: i8[tokens, 7], %9: f32[tokens, 1] = quantize_rows(%5) \"b\"\n"
              "    %10: f32[tokens, 9] = linear_quantized(%8, %9, @10) \"d\"\n"
              "    %11: f32[tokens, 9] = linear_quantized(%8, %9, @10) \"e\"\n"
              "    output \"y\" = %4\n"
              "    output \"z\" = %6\n"
              "    output \"u\" = %7\n"
              "    output \"v\" = %10\n"
              "    output \"w\" = %11\n"
              "}\n\n"
              "graph \"second\" {\n"
              "    input %0 \"x\": f32[tokens, 7]\n"
              "    %1: i8[tokens, 7], %2: f32[tokens, 1] = quantize_rows(%0) \"alone\"\n"
              "    %3: f32[tokens, 9] = linear_quantized(%1, %2, @10) \"alone\"\n"
              "    output \"y\" = %3\n"
              "}\n";

/* Parses, quantises `times` times, verifies and prints. */
static td_status transform(td_context *context, const char *from, size_t length, int times,
                           td_text *printed)
{
    ir_module *module = NULL;
    TD_TRY(ir_parse(context, from, length, "test", &module));
    td_status status = TD_OK;
    for (int i = 0; i < times && status == TD_OK; i++)
        status = ir_pass_quantize_activations(module);
    if (status == TD_OK)
        status = ir_verify(module);
    if (status == TD_OK)
        status = ir_print(module, printed);
    ir_module_release(module);
    return status;
}

static void check_text(const char *from, size_t length, int times)
{
    td_context context;
    td_text printed;
    td_context_init(&context);
    td_text_init(&printed, &context);
    const td_status status = transform(&context, from, length, times, &printed);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    CHECK_STRING(printed.data, expected);
    td_text_release(&printed);
}

TEST(takes_products_of_quantised_weights)
{
    check_text(source, sizeof source - 1, 1);
}

TEST(a_second_time_changes_nothing)
{
    check_text(source, sizeof source - 1, 2);
}

TEST(what_is_printed_is_parsed)
{
    check_text(expected, sizeof expected - 1, 0);
}

static td_status attempt(td_context *context)
{
    td_text printed;
    td_text_init(&printed, context);
    const td_status status = transform(context, source, sizeof source - 1, 1, &printed);
    td_text_release(&printed);
    return status;
}

TEST(every_allocation_may_fail)
{
    CHECK(fail_each_request(attempt) > 10);
}

TEST_MAIN()
