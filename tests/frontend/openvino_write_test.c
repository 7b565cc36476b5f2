/* The OpenVINO writer: what it writes is read back and raised to the same model.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/test.h"

#include "base/file.h"
#include "ir/passes/passes.h"
#include "tests/failing.h"
#include "tests/frontend/small_llama.h"
#include "tests/ir/raise_compare.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static const int32_t text_ids[] = {3, 17, 9, 30, 2, 11, 25};
static const int64_t text_chunks[] = {5, 1, 1, 0};
static const compare_text text = {text_ids, text_chunks};

/* A path in the build folder, one per test. */
static const char *path_of(const char *name, const char *suffix)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/openvino_write_%s%s", TEST_BUILD_FOLDER, name, suffix);
    return path;
}

static void remove_files(const char *name)
{
    unlink(path_of(name, ".xml"));
    unlink(path_of(name, ".bin"));
}

/* --- comparing models --- */

/* Where two models differ, or NULL. */
static const char *different_constants(td_context *context, const ir_constant *a,
                                       const ir_constant *b)
{
    if ((a == NULL) != (b == NULL))
        return "one has a scale or zero point, the other not";
    if (a == NULL)
        return NULL;
    if (a->type != b->type || !ir_shape_equal(&a->shape, &b->shape) || a->bytes != b->bytes ||
        a->group != b->group)
        return "constants of different type, shape or group";
    unsigned char *left = malloc(a->bytes), *right = malloc(a->bytes);
    bool equal = ir_constant_read(context, a, 0, a->bytes, left) == TD_OK &&
                 ir_constant_read(context, b, 0, b->bytes, right) == TD_OK &&
                 memcmp(left, right, a->bytes) == 0;
    free(left);
    free(right);
    if (!equal)
        return "constants with different bytes";
    const char *difference = different_constants(context, a->scale, b->scale);
    return difference != NULL ? difference
                              : different_constants(context, a->zero_point, b->zero_point);
}

static const char *different_attributes(const ir_node *a, const ir_node *b)
{
    static const char *const integers[] = {"head_size", "interleaved", "heads", "kv_heads",
                                           "window"};
    static const char *const numbers[] = {"epsilon", "scale", "softcap"};
    for (size_t i = 0; i < TD_COUNT_OF(integers); i++)
        if (ir_node_int(a, integers[i], 0) != ir_node_int(b, integers[i], 0))
            return integers[i];
    for (size_t i = 0; i < TD_COUNT_OF(numbers); i++)
        if (ir_node_float(a, numbers[i], 1.0) != ir_node_float(b, numbers[i], 1.0))
            return numbers[i];
    return strcmp(ir_node_string(a, "state", ""), ir_node_string(b, "state", "")) != 0 ? "state"
                                                                                       : NULL;
}

static const char *different_nodes(td_context *context, const ir_node *a, const ir_node *b)
{
    if (a->op != b->op || a->input_count != b->input_count)
        return "another op";
    for (uint32_t i = 0; i < a->input_count; i++) {
        const ir_value *left = a->inputs[i], *right = b->inputs[i];
        if (left->kind != right->kind || left->type != right->type)
            return "another kind of operand";
        if (left->kind == IR_VALUE_CONSTANT) {
            const char *difference = different_constants(context, left->constant, right->constant);
            if (difference != NULL)
                return difference;
        } else if (left->kind == IR_VALUE_INPUT ? strcmp(left->name, right->name) != 0
                                                : left->producer->id != right->producer->id) {
            return "another operand";
        }
    }
    return different_attributes(a, b);
}

static const char *different_graphs(td_context *context, ir_graph *a, ir_graph *b)
{
    static char message[200];
    ir_graph_number(a);
    ir_graph_number(b);
    const ir_node *left = a->first, *right = b->first;
    for (; left != NULL && right != NULL; left = left->next, right = right->next) {
        const char *difference = different_nodes(context, left, right);
        if (difference != NULL) {
            snprintf(message, sizeof message, "%s and %s: %s", left->name, right->name, difference);
            return message;
        }
    }
    return left != NULL || right != NULL ? "the number of nodes differs" : NULL;
}

static const char *different_models(td_context *context, const fe_model *a, const fe_model *b)
{
    static const char *const names[] = {"forward", "commit"};
    for (size_t i = 0; i < TD_COUNT_OF(names); i++) {
        const char *difference =
            different_graphs(context, ir_module_find_graph(a->module, names[i]),
                             ir_module_find_graph(b->module, names[i]));
        if (difference != NULL)
            return difference;
    }
    if (a->module->states.count != b->module->states.count)
        return "the number of caches differs";
    for (size_t i = 0; i < a->module->states.count; i++) {
        const ir_state *left = a->module->states.items[i], *right = b->module->states.items[i];
        if (strcmp(left->name, right->name) != 0 || left->kv_heads != right->kv_heads ||
            left->head_size != right->head_size || left->layer != right->layer)
            return "caches differ";
    }
    return NULL;
}

/* --- round trips --- */

/* Writes, imports and compares; then compares logits of the document's own graph with the model's.
 */
static void round_trip(const char *name, const small_llama *shape)
{
    td_context context;
    td_context_init(&context);
    fe_model model, imported;
    ir_module *unraised;
    const fe_options options = {0};
    float *expected, *actual, *own;
    size_t expected_count, actual_count, own_count;
    CHECK_MESSAGE(small_llama_build(&context, shape, &model) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
    model.further_end_count = 2;
    model.further_end_ids[0] = 7;
    model.further_end_ids[1] = 0;
    CHECK_MESSAGE(fe_write_openvino(&model, path_of(name, ".xml")) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(fe_import_openvino(&context, path_of(name, ".xml"), &options, &imported) == TD_OK,
                  "%s", context.message);
    CHECK_MESSAGE(ir_verify(imported.module) == TD_OK, "%s", context.message);
    const char *difference = different_models(&context, &model, &imported);
    CHECK_MESSAGE(difference == NULL, "%s", difference);
    CHECK(imported.raised && imported.vocabulary == SMALL_VOCABULARY);
    CHECK_MESSAGE(imported.context_length == SMALL_CONTEXT, "%u", imported.context_length);
    CHECK(imported.bos_id == 1 && imported.eos_id == 2);
    CHECK(imported.further_end_count == 2);
    CHECK(imported.further_end_ids[0] == 7 && imported.further_end_ids[1] == 0);

    CHECK_MESSAGE(fe_read_openvino(&context, path_of(name, ".xml"), &options, &unraised) == TD_OK,
                  "%s", context.message);
    CHECK_MESSAGE(ir_pass_fold_shapes(unraised) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(compare_logits(model.module, &text, &expected, &expected_count) == TD_OK, "%s",
                  context.message);
    CHECK_MESSAGE(compare_logits(imported.module, &text, &actual, &actual_count) == TD_OK, "%s",
                  context.message);
    CHECK_MESSAGE(compare_logits(unraised, &text, &own, &own_count) == TD_OK, "%s",
                  context.message);
    CHECK(expected_count == 7 * SMALL_VOCABULARY);
    CHECK(compare_difference(expected, expected_count, actual, actual_count) == 0.0);
    /* f16 products of the decompression cone are rounded in the document's own arithmetic */
    double tolerance = shape->weights >= SMALL_I8_GROUPS ? 1e-2 : 1e-4;
    double own_difference = compare_difference(expected, expected_count, own, own_count);
    CHECK_MESSAGE(own_difference < tolerance, "%g", own_difference);
    free(expected);
    free(actual);
    free(own);
    ir_module_release(model.module);
    ir_module_release(imported.module);
    ir_module_release(unraised);
    remove_files(name);
}

TEST(round_trip_f32)
{
    round_trip("f32", &(small_llama){.weights = SMALL_F32});
}

TEST(round_trip_f16)
{
    round_trip("f16", &(small_llama){.weights = SMALL_F16});
}

TEST(round_trip_i8_groups)
{
    round_trip("i8", &(small_llama){.weights = SMALL_I8_GROUPS});
}

TEST(round_trip_u8_rows)
{
    round_trip("u8", &(small_llama){.weights = SMALL_U8_ROWS});
}

TEST(round_trip_u4_groups)
{
    round_trip("u4", &(small_llama){.weights = SMALL_U4_GROUPS});
}

TEST(round_trip_i4_groups)
{
    round_trip("i4", &(small_llama){.weights = SMALL_I4_GROUPS});
}

TEST(round_trip_biases_and_head_norms)
{
    round_trip("biases", &(small_llama){.biases = true, .head_norms = true});
}

TEST(round_trip_interleaved_rope)
{
    round_trip("interleaved", &(small_llama){.interleaved = true});
}

TEST(round_trip_window_and_scales)
{
    round_trip("window", &(small_llama){.window = 3, .scale = 0.3, .rope_scale = 1.25});
}

#define ENDS TEST_BUILD_FOLDER "/openvino_write_ends"

static bool write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    return file != NULL && fputs(content, file) >= 0 && fclose(file) == 0;
}

/* Other exporters say it beside the document: all ids count, generation_config.json comes first. */
TEST(ends_of_a_text_are_read_from_files_beside_it)
{
    static const struct {
        const char *generation, *config;
        uint32_t further;
        int32_t first, last;
    } cases[] = {
        {"{}", "{\"eos_token_id\": 5}", 0, 5, 5},
        {"{\"eos_token_id\": [3, 9, 4]}", "{\"eos_token_id\": 5}", 2, 3, 4},
        {"[]", "{\"eos_token_id\": [-1, \"x\", 6, null, 8]}", 1, 6, 8},
        {"{\"eos_token_id\": [1,2,3,4,5,6,7,8,9,10]}", "{}", 7, 1, 8},
        {"{", "{\"eos_token_id\": \"2\"}", 0, -1, -1},
    };
    td_context context;
    td_context_init(&context);
    fe_model model;
    const fe_options options = {0};
    CHECK(small_llama_build(&context, &(small_llama){0}, &model) == TD_OK);
    model.eos_id = -1;
    CHECK(mkdir(ENDS, 0755) == 0 || errno == EEXIST);
    CHECK(fe_write_openvino(&model, ENDS "/model.xml") == TD_OK);
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        fe_model imported;
        CHECK(write_file(ENDS "/generation_config.json", cases[i].generation));
        CHECK(write_file(ENDS "/config.json", cases[i].config));
        CHECK(fe_import_openvino(&context, ENDS "/model.xml", &options, &imported) == TD_OK);
        const uint32_t further = imported.further_end_count;
        CHECK_MESSAGE(further == cases[i].further && imported.eos_id == cases[i].first,
                      "case %zu: %u and %d", i, further, imported.eos_id);
        CHECK(further == 0 || imported.further_end_ids[further - 1] == cases[i].last);
        ir_module_release(imported.module);
    }
    ir_module_release(model.module);
}

/* One table serves embedding and head, and stands in the file once. */
TEST(tied_weights_stay_tied)
{
    td_context context;
    td_context_init(&context);
    fe_model model, imported;
    const fe_options options = {0};
    round_trip("tied", &(small_llama){.weights = SMALL_I8_GROUPS, .tied = true});
    CHECK(small_llama_build(&context, &(small_llama){.tied = true}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("tied", ".xml")) == TD_OK);
    CHECK(fe_import_openvino(&context, path_of("tied", ".xml"), &options, &imported) == TD_OK);
    const ir_graph *forward = ir_module_find_graph(imported.module, "forward");
    const ir_node *head = forward->outputs[0]->producer, *embed = forward->first;
    CHECK(embed->op == IR_OP_embed && head->op == IR_OP_linear);
    CHECK(embed->inputs[0]->constant == head->inputs[1]->constant);
    ir_module_release(model.module);
    ir_module_release(imported.module);
    remove_files("tied");
}

/* Lists the embedding's Const a second time, with the same offset, and lets the second reader of
 * the first one read that, as other exporters do with tied weights. */
static bool list_table_twice(td_context *context, const char *path)
{
    static const char edge_start[] = "<edge from-layer=\"", other[] = "99999";
    td_file file;
    char edge[80];
    if (td_file_map(context, path, &file) != TD_OK)
        return false;
    char *document = calloc(file.size + 1, 1);
    memcpy(document, file.data, file.size);
    td_file_unmap(context, &file);
    const char *name = strstr(document, "\" name=\"embed_tokens\" type=\"Const\""), *id = name;
    while (id[-1] != '"')
        id--;
    snprintf(edge, sizeof edge, "%s%.*s\"", edge_start, (int)(name - id), id);
    const char *layers_end = strstr(document, "</layers>");
    const char *layer_end = strstr(name, "</layer>") + strlen("</layer>");
    const char *second = strstr(strstr(document, edge) + 1, edge) + strlen(edge_start);
    FILE *output = fopen(path, "w");
    fprintf(output, "%.*s<layer id=\"%s%.*s", (int)(layers_end - document), document, other,
            (int)(layer_end - name), name);
    fprintf(output, "%.*s%s%s", (int)(second - layers_end), layers_end, other,
            second + (name - id));
    free(document);
    return fclose(output) == 0;
}

TEST(weights_listed_twice_are_tied)
{
    td_context context;
    td_context_init(&context);
    fe_model model, imported;
    const fe_options options = {0};
    CHECK(small_llama_build(&context, &(small_llama){.layers = 1, .tied = true}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("twice", ".xml")) == TD_OK);
    CHECK(list_table_twice(&context, path_of("twice", ".xml")));
    CHECK_MESSAGE(fe_import_openvino(&context, path_of("twice", ".xml"), &options, &imported) ==
                      TD_OK,
                  "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(imported.module, "forward");
    CHECK(forward->first->inputs[0]->constant ==
          forward->outputs[0]->producer->inputs[1]->constant);
    ir_module_release(model.module);
    ir_module_release(imported.module);
    remove_files("twice");
}

/* --- files --- */

static bool same_files(td_context *context, const char *suffix)
{
    td_file a, b;
    char first[512];
    snprintf(first, sizeof first, "%s", path_of("first", suffix));
    if (td_file_map(context, first, &a) != TD_OK)
        return false;
    bool same = td_file_map(context, path_of("second", suffix), &b) == TD_OK;
    if (same) {
        same = a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
        td_file_unmap(context, &b);
    }
    td_file_unmap(context, &a);
    return same;
}

TEST(writing_twice_gives_equal_weights)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    CHECK(small_llama_build(&context, &(small_llama){.weights = SMALL_U8_ROWS}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("first", ".xml")) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("second", ".xml")) == TD_OK);
    CHECK(same_files(&context, ".bin"));
    CHECK(same_files(&context, ".xml"));
    ir_module_release(model.module);
    remove_files("first");
    remove_files("second");
}

TEST(refuses_what_it_cannot_write)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    CHECK(small_llama_build(&context, &(small_llama){0}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("name", ".bin")) == TD_USAGE);
    CHECK(strstr(context.message, "ends in .xml") != NULL);
    CHECK(fe_write_openvino(&model, "/nowhere/at/all/model.xml") == TD_IO);
    ir_graph *forward = ir_module_find_graph(model.module, "forward");
    for (ir_node *node = forward->first; node != NULL; node = node->next)
        if (node->op == IR_OP_cached_attention)
            CHECK(ir_node_set_float(node, "softcap", 30.0) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("softcap", ".xml")) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "softcap") != NULL);
    CHECK(!td_path_exists(path_of("softcap", ".xml")) &&
          !td_path_exists(path_of("softcap", ".bin")));
    model.raised = false;
    CHECK(fe_write_openvino(&model, path_of("unraised", ".xml")) == TD_UNSUPPORTED);
    ir_module_release(model.module);
}

/* A longer context than the model was made for is refused, a shorter one is taken. */
TEST(context_length_comes_from_the_file)
{
    td_context context;
    td_context_init(&context);
    fe_model model, imported;
    fe_options options = {.context_length = 2 * SMALL_CONTEXT};
    CHECK(small_llama_build(&context, &(small_llama){0}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("context", ".xml")) == TD_OK);
    CHECK(fe_import_openvino(&context, path_of("context", ".xml"), &options, &imported) ==
          TD_INVALID);
    CHECK(strstr(context.message, "context of 256") != NULL);
    options.context_length = 32;
    options.max_rows = 5;
    options.max_tokens = 70;
    CHECK(fe_import_openvino(&context, path_of("context", ".xml"), &options, &imported) == TD_OK);
    CHECK(imported.context_length == 32);
    ir_symbol rows, tokens;
    CHECK(ir_module_find_symbol(imported.module, "rows", &rows));
    CHECK(ir_module_find_symbol(imported.module, "tokens", &tokens));
    CHECK(imported.module->symbols.items[rows].bound == 5);
    CHECK(imported.module->symbols.items[tokens].bound == 70);
    const ir_graph *forward = ir_module_find_graph(imported.module, "forward");
    CHECK(ir_dim_is(&forward->inputs[2]->shape.dim[1], 2));
    ir_module_release(model.module);
    ir_module_release(imported.module);
    remove_files("context");
}

/* --- memory --- */

TEST(failed_allocations_while_writing)
{
    td_context context;
    failing_allocator failing = {.countdown = FAIL_NEVER, .once = true};
    failing_context(&context, &failing);
    fe_model model;
    CHECK(small_llama_build(&context, &(small_llama){.layers = 1}, &model) == TD_OK);
    for (long n = 0;; n += 1 + n / 8) {
        failing.failed = false;
        failing.countdown = n;
        td_status status = fe_write_openvino(&model, path_of("memory", ".xml"));
        failing.countdown = FAIL_NEVER;
        if (!failing.failed)
            break;
        CHECK_MESSAGE(status == TD_NO_MEMORY, "allocation %ld: %s", n, context.message);
        CHECK(!td_path_exists(path_of("memory", ".xml")));
        CHECK(!td_path_exists(path_of("memory", ".bin")));
    }
    ir_module_release(model.module);
    remove_files("memory");
}

TEST(failed_allocations_while_importing)
{
    td_context context;
    failing_allocator failing = {.countdown = FAIL_NEVER, .once = true};
    failing_context(&context, &failing);
    fe_model model, imported;
    const fe_options options = {0};
    CHECK(small_llama_build(&context, &(small_llama){.layers = 1}, &model) == TD_OK);
    CHECK(fe_write_openvino(&model, path_of("import", ".xml")) == TD_OK);
    for (long n = 0;; n += 1 + n / 16) {
        failing.failed = false;
        failing.countdown = n;
        td_status status =
            fe_import_openvino(&context, path_of("import", ".xml"), &options, &imported);
        failing.countdown = FAIL_NEVER;
        if (status == TD_OK)
            ir_module_release(imported.module);
        if (!failing.failed)
            break;
        CHECK_MESSAGE(status == TD_NO_MEMORY, "allocation %ld: %s", n, context.message);
    }
    ir_module_release(model.module);
    remove_files("import");
}

TEST_MAIN()
