/* fold_shapes: graphs in the text form, and the shapes and constants that come out.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include "tests/test.h"

/* Parses, folds and verifies; NULL with the message printed. */
static ir_module *fold(td_context *context, const char *text)
{
    ir_module *module = NULL;
    td_context_init(context);
    td_status status = ir_parse(context, text, strlen(text), "test.ir", &module);
    if (status == TD_OK)
        status = ir_pass_fold_shapes(module);
    if (status == TD_OK)
        status = ir_verify(module);
    if (status == TD_OK)
        return module;
    printf("    %s\n", context->message);
    ir_module_release(module);
    return NULL;
}

static size_t count_nodes(const ir_module *module, ir_opcode op)
{
    size_t count = 0;
    for (const ir_node *node = module->graphs.items[0]->first; node != NULL; node = node->next)
        count += node->op == op;
    return count;
}

/* The text of the module after folding has the part. */
static bool gives(const char *text, const char *part)
{
    td_context context;
    td_text printed;
    ir_module *module = fold(&context, text);
    if (module == NULL)
        return false;
    td_text_init(&printed, &context);
    bool found = ir_print(module, &printed) == TD_OK && strstr(printed.data, part) != NULL;
    if (!found)
        printf("    %s\n    is not in\n%s\n", part, printed.data);
    td_text_release(&printed);
    ir_module_release(module);
    return found;
}

#define HEAD "module \"m\" symbol n <= 32 symbol m <= 32 symbol s2 symbol s3\n"

TEST(a_reshape_over_computed_dimensions_gets_constants)
{
    const char *text = HEAD "constant @i \"i\": i64[2] = {0, 1}\n"
                            "constant @r \"r\": i64[1] = {-1}\n"
                            "graph \"g\" { input %x: f32[1, n, 4, 8]\n"
                            "%s = shape_of(%x) {type = \"i64\"}\n"
                            "%p = gather(%s, @i) {axis = 0}\n"
                            "%t = concat(%p, @r) {axis = 0}\n"
                            "%y = reshape(%x, %t) {special_zero = 0}\n"
                            "output \"y\" = %y }\n";
    td_context context;
    ir_module *module = fold(&context, text);
    CHECK(module != NULL);
    bool gone = count_nodes(module, IR_OP_shape_of) == 0 && count_nodes(module, IR_OP_concat) == 0;
    ir_module_release(module);
    CHECK(gone);
    CHECK(gives(text, "f32[1, n, 32] = reshape"));
}

TEST(two_open_dimensions_keep_their_arithmetic_and_their_forms)
{
    CHECK(gives(HEAD "constant @r \"r\": i64[1] = {8}\n"
                     "graph \"g\" { input %x: f32[n, m, 8] input %z: f32[m, n]\n"
                     "%s = shape_of(%z) {type = \"i64\"}\n"
                     "%t = concat(%s, @r) {axis = 0}\n"
                     "%y = reshape(%x, %t) {special_zero = 0}\n"
                     "output \"y\" = %y }\n",
                "f32[m, n, 8] = reshape"));
}

TEST(broadcast_takes_forms)
{
    CHECK(gives(HEAD "constant @z \"z\": f32[] = {0}\n"
                     "graph \"g\" { input %x: f32[n, m]\n"
                     "%s = shape_of(%x) {type = \"i64\"}\n"
                     "%y = broadcast(@z, %s) {bidirectional = 0}\n"
                     "output \"y\" = %y }\n",
                "f32[n, m] = broadcast"));
}

TEST(slices_up_to_a_computed_end)
{
    CHECK(gives(HEAD "constant @b \"b\": i64[1] = {0} constant @t \"t\": i64[1] = {1}\n"
                     "constant @i \"i\": i64[1] = {0}\n"
                     "graph \"g\" { input %x: f32[n] input %w: f32[m] \n"
                     "%both = concat(%x, %w) {axis = 0}\n"
                     "%s = shape_of(%x) {type = \"i64\"}\n"
                     "%y = slice(%both, @b, %s, @t) {axes = [0]}\n"
                     "output \"y\" = %y }\n",
                "f32[n] = slice"));
}

TEST(arithmetic_on_dimensions_folds)
{
    /* (8 / 3 floored) * 5 - 1 = 9, and -7 / 2 floored = -4 */
    CHECK(gives(HEAD "constant @three \"c\": i64[1] = {3} constant @five \"c\": i64[1] = {5}\n"
                     "constant @one \"c\": i64[1] = {1}\n"
                     "graph \"g\" { input %x: f32[8]\n"
                     "%s = shape_of(%x) {type = \"i64\"}\n"
                     "%q = divide(%s, @three) {floor = 1}\n"
                     "%p = multiply(%q, @five) %r = subtract(%p, @one)\n"
                     "output \"r\" = %r }\n",
                "i64[1] = {9}"));
    CHECK(gives(HEAD "constant @a \"c\": i64[1] = {-7} constant @b \"c\": i64[1] = {2}\n"
                     "graph \"g\" { %q = divide(@a, @b) {floor = 1} output \"q\" = %q }\n",
                "i64[1] = {-4}"));
    CHECK(gives(HEAD "constant @a \"c\": i64[1] = {-7} constant @b \"c\": i64[1] = {2}\n"
                     "graph \"g\" { %q = divide(@a, @b) output \"q\" = %q }\n",
                "i64[1] = {-3}"));
}

TEST(division_by_zero_is_left_alone)
{
    td_context context;
    ir_module *module =
        fold(&context, HEAD "constant @a \"c\": i64[1] = {-7} constant @b \"c\": i64[1] = {0}\n"
                            "graph \"g\" { %q = divide(@a, @b) output \"q\" = %q }\n");
    CHECK(module != NULL);
    size_t left = count_nodes(module, IR_OP_divide);
    ir_module_release(module);
    CHECK(left == 1);
}

TEST(scatter_into_a_list)
{
    CHECK(gives(HEAD "constant @z \"z\": i64[3] = {7, 7, 7} constant @i \"i\": i64[1] = {1}\n"
                     "constant @u \"u\": i64[1] = {9}\n"
                     "graph \"g\" { %y = scatter_update(@z, @i, @u) {axis = 0}\n"
                     "output \"y\" = %y }\n",
                "i64[3] = {7, 9, 7}"));
}

TEST(small_float_constants_fold)
{
    CHECK(gives(HEAD "constant @a \"a\": i32[] = {-3} constant @b \"b\": f32[] = {0.5}\n"
                     "graph \"g\" { input %x: f32[n] %f = convert(@a) {type = \"f32\"}\n"
                     "%c = multiply(%f, @b) %y = multiply(%x, %c) output \"y\" = %y }\n",
                "f32[] = {-1.5}"));
}

TEST(a_range_over_a_dimension)
{
    CHECK(gives(HEAD "constant @z \"z\": i64[] = {0} constant @o \"o\": i64[] = {1}\n"
                     "graph \"g\" { input %x: f32[m, 3]\n"
                     "%s = shape_of(%x) {type = \"i64\"}\n"
                     "%d = gather(%s, @z) {axis = 0}\n"
                     "%y = range(@z, %d, @o) {type = \"i64\"}\n"
                     "output \"y\" = %y }\n",
                "i64[m] = range"));
}

TEST(unknown_dimensions_that_meet_become_one)
{
    CHECK(gives(HEAD "graph \"g\" { input %x: f32[s2, 4] input %y: f32[n, 4]\n"
                     "%z = add(%x, %y) output \"z\" = %z }\n",
                "f32[n, 4] = add"));
}

TEST(the_order_of_folding_does_not_matter_for_names)
{
    /* Named symbols are never united with each other. */
    td_context context;
    ir_module *module =
        fold(&context, HEAD "graph \"g\" { input %x: f32[n, 4] input %y: f32[m, 4]\n"
                            "%z = add(%x, %y) output \"z\" = %z }\n");
    CHECK(module != NULL);
    bool apart = !module->symbols.items[0].forwarded && !module->symbols.items[1].forwarded;
    ir_module_release(module);
    CHECK(apart);
}

TEST(a_language_entry_point_gets_its_symbols)
{
    const char *text = "module \"m\" symbol tokens <= 64 symbol slots <= 128\n"
                       "symbol s2 symbol s3 symbol s4 symbol s5 symbol s6 symbol s7\n"
                       "state \"past\" = plain f32[s6, 4, s7, 8]\n"
                       "graph \"g\" { input %i \"input_ids\": i64[s2, s3]\n"
                       "input %a \"attention_mask\": i64[s4, s5]\n"
                       "%p = read_state() {state = \"past\"}\n"
                       "%s = shape_of(%i) {type = \"i64\"}\n"
                       "%n = add(%a, %a)\n"
                       "output \"p\" = %p output \"n\" = %n }\n";
    CHECK(gives(text, "\"input_ids\": i64[1, tokens]"));
    CHECK(gives(text, "i64[1, tokens + slots] = add"));
    CHECK(gives(text, "f32[1, 4, slots, 8] = read_state"));
}

TEST_MAIN()
