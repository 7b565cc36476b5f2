/* Passes that need no other part: remove_dead, cut_layers, and running lists of passes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include "tests/test.h"

/* A raised decoder with `layers` layers, as importers make it. */
static ir_module *decoder(td_context *context, int layers)
{
    ir_module *module = NULL;
    td_text text;
    td_context_init(context);
    td_text_init(&text, context);
    td_text_printf(&text,
                   "module \"m\" symbol tokens <= 8 symbol rows <= 4 symbol accepted <= 8\n");
    for (int i = 0; i < layers; i++)
        td_text_printf(&text,
                       "state \"kv.%d\" = cache f32 {layer = %d, kv_heads = 1, head_size = 4}\n"
                       "constant @q%d \"q%d\": f32[8, 8] = missing\n"
                       "constant @k%d \"k%d\": f32[4, 8] = missing\n",
                       i, i, i, i, i, i);
    td_text_printf(&text, "constant @e \"e\": f32[16, 8] = missing\n"
                          "constant @n \"n\": f32[8] = missing\n"
                          "constant @f \"f\": f32[2] = {1, 0.5}\n"
                          "graph \"forward\" { input %%ids: i32[tokens] input %%p: i32[tokens]\n"
                          "input %%anc: i64[tokens, 1] input %%rows: i32[rows]\n"
                          "%%x0 = embed(@e, %%ids) %%t = rotary_table(%%p, @f)\n");
    for (int i = 0; i < layers; i++)
        td_text_printf(&text,
                       "%%n%d = rms_norm(%%x%d, @n) {epsilon = 1e-05}\n"
                       "%%q%d = linear(%%n%d, @q%d) %%r%d = rope(%%q%d, %%t) {head_size = 4}\n"
                       "%%k%d = linear(%%n%d, @k%d) %%s%d = rope(%%k%d, %%t) {head_size = 4}\n"
                       "%%v%d = linear(%%n%d, @k%d)\n"
                       "%%a%d = cached_attention(%%r%d, %%s%d, %%v%d, %%anc) {state = \"kv.%d\", "
                       "heads = 2, kv_heads = 1, head_size = 4, scale = 0.5}\n"
                       "%%o%d = linear(%%a%d, @q%d) %%m%d = add(%%x%d, %%o%d)\n"
                       "%%h%d = rms_norm(%%m%d, @n) {epsilon = 1e-05}\n"
                       "%%g%d = gated_silu(%%h%d, %%h%d) %%x%d = add(%%m%d, %%g%d)\n",
                       i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i,
                       i, i, i, i, i, i + 1, i, i);
    td_text_printf(&text,
                   "%%norm = rms_norm(%%x%d, @n) {epsilon = 1e-05}\n"
                   "%%sel = select_rows(%%norm, %%rows) %%logits = linear(%%sel, @e)\n"
                   "output \"logits\" = %%logits }\n"
                   "graph \"commit\" { input %%path: i32[accepted]\n",
                   layers);
    for (int i = 0; i < layers; i++)
        td_text_printf(&text, "cache_commit(%%path) {state = \"kv.%d\"}\n", i);
    td_text_printf(&text, "}\n");
    if (ir_parse(context, text.data, text.length, "decoder", &module) != TD_OK) {
        printf("%s\n", context->message);
        abort();
    }
    td_text_release(&text);
    return module;
}

static char *print(ir_module *module)
{
    td_text text;
    td_text_init(&text, module->context);
    char *copy = ir_print(module, &text) == TD_OK ? strdup(text.data) : NULL;
    td_text_release(&text);
    return copy;
}

/* Cutting gives the very text of the smaller decoder, but for the order of constants, which is the
 * same here because each layer declares its own before the shared ones. */
TEST(cutting_makes_the_smaller_decoder)
{
    for (uint32_t keep = 1; keep <= 5; keep++) {
        td_context context, other;
        ir_module *module = decoder(&context, 5), *small = decoder(&other, (int)keep);
        CHECK(ir_pass_cut_layers(module, keep) == TD_OK);
        CHECK_MESSAGE(ir_verify(module) == TD_OK, "%s", context.message);
        char *cut = print(module), *expected = print(small);
        CHECK_STRING(cut, expected);
        free(cut);
        free(expected);
        ir_module_release(module);
        ir_module_release(small);
    }
}

TEST(numbers_of_layers_that_cannot_be_kept)
{
    td_context context;
    ir_module *module = decoder(&context, 2);
    CHECK(ir_pass_cut_layers(module, 0) == TD_INVALID);
    CHECK(strstr(context.message, "from 1 to 2") != NULL);
    CHECK(ir_pass_cut_layers(module, 3) == TD_INVALID);
    CHECK(ir_verify(module) == TD_OK && module->states.count == 2);
    ir_module_release(module);
}

TEST(cutting_what_is_not_raised_is_refused)
{
    td_context context;
    ir_module *module = NULL;
    static const char text[] = "module \"m\" graph \"forward\" { input %x: f32[2] }";
    td_context_init(&context);
    CHECK(ir_parse(&context, text, sizeof text - 1, "t", &module) == TD_OK);
    CHECK(ir_pass_cut_layers(module, 1) == TD_INVALID);
    CHECK(strstr(context.message, "commit") != NULL);
    ir_module_release(module);
}

TEST(constants_that_nobody_reads_go)
{
    td_context context;
    ir_module *module = NULL;
    static const char text[] = "module \"m\"\n"
                               "constant @a \"a\": f32[] = {1}\n"
                               "constant @s \"s\": f32[1] = {2}\n"
                               "constant @b \"b\": i8[3] = {1, 2, 3} {group = 3, scale = @s}\n"
                               "constant @c \"c\": f32[3] = {4, 5, 6}\n"
                               "graph \"g\" { input %x: f32[3]\n"
                               "%dead = add(%x, @a) %deader = negate(%dead)\n"
                               "%y = multiply(%x, @b) output \"y\" = %y output \"c\" = @c }\n";
    td_context_init(&context);
    CHECK(ir_parse(&context, text, sizeof text - 1, "t", &module) == TD_OK);
    CHECK(ir_pass_remove_dead(module) == TD_OK);
    char *printed = print(module);
    CHECK_STRING(printed, "module \"m\"\n"
                          "\n"
                          "constant @0 \"s\": f32[1] = {2}\n"
                          "constant @1 \"b\": i8[3] = {1, 2, 3} {group = 3, scale = @0}\n"
                          "constant @2 \"c\": f32[3] = {4, 5, 6}\n"
                          "\n"
                          "graph \"g\" {\n"
                          "    input %0: f32[3]\n"
                          "    %1: f32[3] = multiply(%0, @1)\n"
                          "    output \"y\" = %1\n"
                          "    output \"c\" = @2\n"
                          "}\n");
    free(printed);
    ir_module_release(module);
}

/* Damages the module as a wrong pass would. */
static td_status damage(ir_module *module)
{
    module->graphs.items[0]->first->outputs[0]->type = IR_I8;
    return TD_OK;
}

static td_status refuse(ir_module *module)
{
    return td_fail(module->context, TD_INVALID, "no");
}

TEST(passes_run_in_order_and_are_verified)
{
    td_context context;
    ir_module *module = decoder(&context, 1);
    const ir_pass wrong[] = {{"remove_dead", "", ir_pass_remove_dead},
                             {"damage", "", damage},
                             {"refuse", "", refuse},
                             {NULL, NULL, NULL}};
    CHECK(ir_run_passes(module, wrong + 3, NULL, true) == TD_OK);
    CHECK(ir_run_passes(module, wrong, NULL, true) == TD_INTERNAL);
    CHECK(strstr(context.message, "after pass damage") != NULL);
    CHECK(ir_run_passes(module, wrong, NULL, false) == TD_INVALID);
    CHECK_STRING(context.message, "no");
    ir_module_release(module);
}

TEST(the_module_is_printed_after_the_pass_of_that_name)
{
    td_context context;
    ir_module *module = decoder(&context, 1);
    const ir_pass passes[] = {{"remove_dead", "", ir_pass_remove_dead},
                              {"again", "", ir_pass_remove_dead},
                              {NULL, NULL, NULL}};
    static const char *const wanted[] = {"again", "all", "none"};
    static const int prints[] = {1, 2, 0};
    for (size_t i = 0; i < TD_COUNT_OF(wanted); i++) {
        FILE *kept = stderr, *file = tmpfile();
        CHECK(file != NULL);
        stderr = file;
        td_status status = ir_run_passes(module, passes, wanted[i], true);
        stderr = kept;
        CHECK(status == TD_OK);
        rewind(file);
        char line[256];
        int found = 0;
        while (fgets(line, sizeof line, file) != NULL)
            found += strncmp(line, "module \"m\"", 10) == 0;
        fclose(file);
        CHECK(found == prints[i]);
    }
    ir_module_release(module);
}

TEST_MAIN()
