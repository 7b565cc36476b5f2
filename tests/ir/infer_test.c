/* Shape rules: a line of text without types, and the type that comes out; or the refusal.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

#include "tests/test.h"

/* Values that the lines below read. */
static const char before[] = "module \"m\" symbol tokens <= 64 symbol slots <= 512 symbol n "
                             "symbol m\n"
                             "state \"kv\" = cache f32 {layer = 0, kv_heads = 2, head_size = 4}\n"
                             "state \"s\" = plain f32[n, 2]\n"
                             "constant @f \"\": f16[16, 8] = missing\n"
                             "constant @w1 \"\": f32[8] = missing\n"
                             "constant @freq \"\": f32[2] = missing\n"
                             "constant @scalar \"\": f32[] = {2}\n"
                             "constant @zero \"\": i64[1] = {0}\n"
                             "constant @one \"\": i64[1] = {1}\n"
                             "constant @two \"\": i64[] = {2}\n"
                             "constant @ten \"\": i64[] = {10}\n"
                             "constant @minus \"\": i64[1] = {-1}\n"
                             "constant @minus3 \"\": i64[1] = {-3}\n"
                             "constant @large \"\": i64[1] = {9223372036854775807}\n"
                             "constant @least \"\": i64[1] = {-9223372036854775808}\n"
                             "constant @l2 \"\": i64[2] = {2, -1}\n"
                             "constant @l3 \"\": i64[3] = {0, 0, -1}\n"
                             "constant @split \"\": i64[4] = {0, 0, 4, 2}\n"
                             "constant @merge \"\": i64[2] = {-1, 8}\n"
                             "constant @target \"\": i64[3] = {5, 1, 8}\n"
                             "constant @ones3 \"\": i64[3] = {1, 1, 1}\n"
                             "constant @unknown \"\": i64[3] = missing\n"
                             "graph \"g\" {\n"
                             "input %x: f32[tokens, 8]\n"
                             "input %ids: i32[tokens]\n"
                             "input %masks: i64[tokens, 1]\n"
                             "input %b: bool[tokens, 8]\n"
                             "input %i: i64[tokens, 8]\n"
                             "input %any: f32[n, 8]\n"
                             "input %batch: f32[1, n, 8]\n"
                             "input %two_free: f32[n, m, 4]\n"
                             "input %q: f32[1, 2, n, 4]\n"
                             "input %past: f32[1, 2, slots, 4]\n"
                             "input %fixed: f32[3, 6, 8]\n"
                             "input %row: f32[5]\n"
                             "input %shape: i64[3]\n"
                             "input %count: i64[]\n"
                             "input %o: opaque[n]\n";

/* What comes out where a rule refuses with a sentence that names place and operation. */
#define REFUSED "refused"

/* The type of %r in the printed module, or REFUSED. */
static void infer(const char *line, char *result, size_t size)
{
    td_context context;
    ir_module *module = NULL;
    td_text source, printed;
    td_context_init(&context);
    td_text_init(&source, &context);
    td_text_init(&printed, &context);
    td_text_printf(&source, "%s%s\n}\n", before, line);
    if (ir_parse(&context, source.data, source.length, "t", &module) != TD_OK) {
        bool placed =
            strncmp(context.message, "t:", 2) == 0 && strstr(context.message, "(") != NULL;
        snprintf(result, size, "%s", placed ? REFUSED : context.message);
    } else if (ir_print(module, &printed) == TD_OK) {
        const char *types = strstr(printed.data, "    %15: ");
        if (types != NULL)
            snprintf(result, size, "%.*s", (int)strcspn(types + 9, "="), types + 9);
        else
            snprintf(result, size, "nothing ");
        result[strlen(result) - 1] = '\0';
    }
    td_text_release(&source);
    td_text_release(&printed);
    ir_module_release(module);
}

typedef struct rule {
    const char *line, *expected;
} rule;

#define CHECK_RULES(rules)                                                                         \
    for (size_t i = 0; i < TD_COUNT_OF(rules); i++) {                                              \
        char result[1200] = "";                                                                    \
        infer(rules[i].line, result, sizeof result);                                               \
        CHECK_MESSAGE(strcmp(result, rules[i].expected) == 0, "%s gives %s, expected %s",          \
                      rules[i].line, result, rules[i].expected);                                   \
    }

TEST(elementwise)
{
    static const rule rules[] = {
        {"%r = add(%x, %x)", "f32[tokens, 8]"},
        {"%r = add(%x, @scalar)", "f32[tokens, 8]"},
        {"%r = add(@w1, %x)", "f32[tokens, 8]"},
        {"%r = add(%x, %any)", "f32[tokens, 8]"}, /* the first of two symbols */
        {"%r = add(%any, %x)", "f32[n, 8]"},
        {"%r = multiply(%x, @f)", "f32[16, 8]"}, /* a constant wins; float widths may differ */
        {"%r = less(%x, @scalar)", "bool[tokens, 8]"},
        {"%r = select(%b, %x, @scalar)", "f32[tokens, 8]"},
        {"%r = select(%b, @scalar, @scalar)", "f32[tokens, 8]"},
        {"%r = logical_not(%b)", "bool[tokens, 8]"},
        {"%r = convert(%i) {type = \"f16\"}", "f16[tokens, 8]"},
        {"%r = gated_silu(%x, %x)", "f32[tokens, 8]"},
        {"%r = add(%batch, %x)", "f32[1, n, 8]"},
    };
    CHECK_RULES(rules);
}

TEST(products_and_reductions)
{
    static const rule rules[] = {
        {"%r = matmul(%x, @f) {transpose_b = 1}", "f32[tokens, 16]"},
        {"%r = matmul(@f, %x) {transpose_b = 1}", "f32[16, tokens]"},
        {"%r = matmul(%q, %past) {transpose_b = 1}", "f32[1, 2, n, slots]"},
        {"%r = matmul(%x, @w1)", "f32[tokens]"},
        {"%r = matmul(@w1, @f) {transpose_b = 1}", "f32[16]"},
        {"%r = matmul(%fixed, @f) {transpose_b = 1}", "f32[3, 6, 16]"},
        {"%r = reduce_mean(%batch) {axes = [2], keep = 1}", "f32[1, n, 1]"},
        {"%r = reduce_sum(%batch) {axes = [0, 2]}", "f32[n]"},
        {"%r = reduce_maximum(%x) {axes = []}", "f32[tokens, 8]"},
        {"%r = softmax(%x) {axis = 1}", "f32[tokens, 8]"},
        {"%r = attention(%q, %past, %past) {causal = 0}", "f32[1, 2, n, 4]"},
    };
    CHECK_RULES(rules);
}

TEST(reshapes)
{
    static const rule rules[] = {
        {"%r = reshape(%x, @l2)", "f32[2, 4*tokens]"},
        {"%r = reshape(%x, @split) {special_zero = 1}", REFUSED},
        {"%r = reshape(%fixed, @split) {special_zero = 1}", "f32[3, 6, 4, 2]"},
        {"%r = reshape(%batch, @merge)", "f32[n, 8]"},
        {"%r = reshape(%fixed, @l3) {special_zero = 1}", "f32[3, 6, 8]"},
        {"%r = reshape(%two_free, @l3) {special_zero = 1}", "f32[n, m, 4]"},
        {"%r = reshape(%x, %shape)", "f32[s4, s5, s6]"},
        {"%r = reshape(%x, @unknown)", "f32[s4, s5, s6]"},
        {"%r = reshape(%row, @l2)", REFUSED},
        {"%r = reshape(%ids, @l2)", "i32[2, s4]"},
        {"%r = reshape(%two_free, @minus)", "f32[4*s4]"},
        {"%r = reshape(%fixed, @target)", REFUSED},
        {"%r = reshape(%fixed, @minus3)", REFUSED},
        {"%r = reshape(%x, @l3) {special_zero = 1}", "f32[tokens, 8, 1]"},
        {"%r = reshape(%row, @l3) {special_zero = 1}", REFUSED},
    };
    CHECK_RULES(rules);
}

TEST(moving_data)
{
    static const rule rules[] = {
        {"%r = shape_of(%batch) {type = \"i32\"}", "i32[3]"},
        {"%r = transpose(%batch) {perm = [2, 0, 1]}", "f32[8, 1, n]"},
        {"%r = broadcast(%row, @target) {bidirectional = 1}", REFUSED},
        {"%r = broadcast(%batch, %shape)", "f32[s4, s5, 8]"},
        {"%r = broadcast(%batch, @unknown) {bidirectional = 1}", "f32[s4, s5, 8]"},
        {"%r = broadcast(@scalar, @target)", "f32[5, 1, 8]"},
        {"%r = concat(%past, %q) {axis = 2}", "f32[1, 2, slots + n, 4]"},
        {"%r = concat(%x, @f, %x) {axis = 0}", "f32[2*tokens + 16, 8]"},
        {"%r = gather(@f, %ids) {axis = 0}", "f16[tokens, 8]"},
        {"%r = gather(%past, %ids) {axis = 2}", "f32[1, 2, tokens, 4]"},
        {"%r = gather(%x, @two) {axis = 1}", "f32[tokens]"},
        {"%r = gather(%x, %masks) {axis = 1, batch_dims = 1}", "f32[tokens, 1]"},
        {"%r, %k = split(%x) {axis = 1}", "f32[tokens, 4], %16: f32[tokens, 4]"},
        {"%r, %k = split(%x) {axis = 1, lengths = [3, 5]}", "f32[tokens, 3], %16: f32[tokens, 5]"},
        {"%r = tile(%x, @l2)", REFUSED},
        {"%r = tile(%x, @ones3)", "f32[1, tokens, 8]"},
        {"%r = tile(%x, %shape)", "f32[s4, s5, s6]"},
        {"%r, %k = top_k(%x, @two) {axis = 1, type = \"i32\"}",
         "f32[tokens, 2], %16: i32[tokens, 2]"},
        {"%r, %k = top_k(%x, %count) {axis = 1}", "f32[tokens, s4], %16: i64[tokens, s4]"},
        {"%r = range(@two, @ten, @two) {type = \"i64\"}", "i64[4]"},
        {"%r = range(@two, %count, @two) {type = \"f32\"}", "f32[s4]"},
        {"%r = scatter_update(%x, %ids, %x) {axis = 0}", "f32[tokens, 8]"},
    };
    CHECK_RULES(rules);
}

TEST(slices)
{
    static const rule rules[] = {
        {"%r = slice(%fixed, @one, @minus, @one) {axes = [1]}", "f32[3, 4, 8]"},
        {"%r = slice(%fixed, @minus, @least, @minus) {axes = [1]}", "f32[3, 6, 8]"},
        {"%r = slice(%fixed, @minus3, @large, @one) {axes = [2]}", "f32[3, 6, 3]"},
        {"%r = slice(%x, @zero, @large, @one) {axes = [0]}", "f32[tokens, 8]"},
        {"%r = slice(%x, @one, @large, @one) {axes = [0]}", "f32[s4, 8]"}, /* may be empty */
        {"%r = slice(%x, @minus, @large, @one) {axes = [0]}", "f32[s4, 8]"},
        {"%r = slice(%x, @least, @large, @one) {axes = [0]}", "f32[tokens, 8]"},
        {"%r = slice(%x, %shape, %shape, %shape) {axes = [0, 1, 1]}", "f32[s4, s6]"},
        {"%r = strided_slice(%fixed, @one, @zero, @one) {end_mask = [1]}", "f32[2, 6, 8]"},
        {"%r = strided_slice(%fixed, @one, @zero, @one) {shrink_axis_mask = [1]}", "f32[6, 8]"},
        {"%r = strided_slice(%fixed, @one, @zero, @one) {new_axis_mask = [1]}", "f32[1, 3, 6, 8]"},
        {"%r = strided_slice(%fixed, @l2, @l2, @merge) {ellipsis_mask = [1, 0], begin_mask = [0, "
         "1], end_mask = [0, 1]}",
         "f32[3, 6, 1]"},
        {"%r = strided_slice(%x, @zero, @large, @one)", "f32[tokens, 8]"},
    };
    CHECK_RULES(rules);
}

TEST(language_model_ops)
{
    static const rule rules[] = {
        {"%r = embed(@f, %ids)", "f32[tokens, 8]"},
        {"%r = linear(%x, @f)", "f32[tokens, 16]"},
        {"%r = rms_norm(%x, @w1) {epsilon = 1e-05}", "f32[tokens, 8]"},
        {"%r = rotary_table(%ids, @freq)", "f32[tokens, 4]"},
        {"%r = rope(%x, %x) {head_size = 4}", "f32[tokens, 8]"},
        {"%r = cached_attention(%x, %x, %x, %masks) {state = \"kv\", heads = 2, kv_heads = 2, "
         "head_size = 4, scale = 0.5}",
         "f32[tokens, 8]"},
        {"%r = select_rows(%x, %ids)", "f32[tokens, 8]"},
        {"%r = read_state() {state = \"s\"}", "f32[n, 2]"},
    };
    CHECK_RULES(rules);
}

TEST(refusals)
{
    static const char *const lines[] = {
        "%r = add(%fixed, %row)",
        "%r = add(%x, %i)",
        "%r = select(%x, %x, %x)",
        "%r = convert(%x)",
        "%r = convert(%x) {type = \"f33\"}",
        "%r = convert(%x) {type = 3}",
        "%r = matmul(%fixed, @f)",
        "%r = matmul(%x, @scalar)",
        "%r = reduce_sum(%x)",
        "%r = reduce_sum(%x) {axes = [2]}",
        "%r = reduce_sum(%x) {axes = [-1]}",
        "%r = softmax(%x) {axis = 2}",
        "%r = reshape(%row, @target)",
        "%r = transpose(%x) {perm = [0, 0]}",
        "%r = transpose(%x) {perm = [0]}",
        "%r = concat(%x, %fixed) {axis = 0}",
        "%r = concat(%fixed, %fixed) {axis = 3}",
        "%r = gather(%x, %ids)",
        "%r = gather(%x, %ids) {axis = 0, batch_dims = 1}",
        "%r, %k = split(%row) {axis = 0}",
        "%r, %k = split(%row) {axis = 0, lengths = [1, 3]}",
        "%r = slice(%fixed, @one, @one, @zero) {axes = [0]}",
        "%r = slice(%fixed, @one, @l2, @one) {axes = [0]}",
        "%r = slice(%fixed, @one, @one, @one) {axes = [3]}",
        "%r = range(@two, @ten, @zero)",
        "%r = linear(%fixed, @w1)",
        "%r = linear(%row, @f)",
        "%r = rms_norm(%x, @w1)",
        "%r = rms_norm(%row, @w1) {epsilon = 1.0}",
        "%r = rope(%x, %x)",
        "%r = rope(%x, %x) {head_size = 3}",
        "%r = rope(%x, %x) {head_size = 0}",
        "%r = read_state() {state = \"kv\"}",
        "%r = read_state() {state = \"none\"}",
        "cache_commit(%ids) {state = \"s\"}",
        "write_state(%ids) {state = \"s\"}",
        "%r = cached_attention(%x, %x, %x, %masks) {state = \"kv\", heads = 3, kv_heads = 2, "
        "head_size = 4, scale = 0.5}",
        "%r = cached_attention(%x, %x, %x, %masks) {state = \"kv\", heads = 2, kv_heads = 2, "
        "head_size = 4}",
    };
    for (size_t i = 0; i < TD_COUNT_OF(lines); i++) {
        char result[1200] = "";
        infer(lines[i], result, sizeof result);
        CHECK_MESSAGE(strcmp(result, REFUSED) == 0, "%s gives %s", lines[i], result);
    }
}

TEST_MAIN()
