/* Hugging Face directories and GGUF files as a whole: the graph, the numbers against independent
 * implementations, and what is refused.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/gguf.h"
#include "ir/passes/passes.h"

#include "tests/failing.h"
#include "tests/frontend/checkpoint_bytes.h"
#include "tests/frontend/greedy.h"

#include <jansson.h>
#include <math.h>

#define SHARED TEST_SOURCE_FOLDER "/../shared/"

static const fe_options no_options;

static size_t count_nodes(const ir_graph *graph, ir_opcode op)
{
    size_t count = 0;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        count += node->op == op;
    return count;
}

TEST(builds_the_raised_form_of_a_directory)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(SHARED "pair/target"))
        SKIP("../shared/pair is absent");
    td_context_init(&context);
    CHECK_MESSAGE(fe_import_huggingface(&context, SHARED "pair/target", &no_options, &model) ==
                      TD_OK,
                  "%s", context.message);
    CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
    CHECK(model.raised && model.vocabulary == 4096 && model.context_length == 1024);
    CHECK(model.bos_id == 4095 && model.eos_id == 4095);
    CHECK_STRING(model.tokenizer_path, SHARED "pair/target/tokenizer.json");
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    const ir_graph *commit = ir_module_find_graph(model.module, "commit");
    CHECK(count_nodes(forward, IR_OP_cached_attention) == 4);
    CHECK(count_nodes(forward, IR_OP_linear) == 4 * 7 + 1);
    CHECK(count_nodes(forward, IR_OP_rms_norm) == 4 * 2 + 1);
    CHECK(count_nodes(forward, IR_OP_rotary_table) == 1);
    CHECK(count_nodes(commit, IR_OP_cache_commit) == 4);
    /* tied: one constant serves embedding and head */
    const ir_node *head = forward->last;
    while (head->op != IR_OP_linear)
        head = head->previous;
    CHECK(forward->first->op == IR_OP_embed);
    CHECK(forward->first->inputs[0]->constant == head->inputs[1]->constant);
    ir_module_release(model.module);
}

static const json_t *reference_row(const json_t *reference, const char *name, const char *field)
{
    return json_object_get(json_object_get(json_array_get(reference, 0), name), field);
}

/* Logits after the first prompt to 1e-3, and the greedy ids that follow it. */
static void check_reference(const char *path, const char *name)
{
    enum { COUNT = 24 };
    td_context context;
    fe_model model;
    json_error_t error;
    int32_t prompt[GREEDY_TOKENS], text[COUNT];
    json_t *reference = json_load_file(SHARED "pair/reference.json", 0, &error);
    td_context_init(&context);
    CHECK_MESSAGE(reference != NULL, "%s", error.text);
    CHECK_MESSAGE(fe_import(&context, path, &no_options, &model) == TD_OK, "%s", context.message);
    const json_t *ids = json_object_get(json_array_get(reference, 0), "prompt");
    for (size_t i = 0; i < json_array_size(ids); i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    float *first = calloc(model.vocabulary, sizeof *first);
    float *logits = calloc(model.vocabulary, sizeof *logits);
    CHECK(first != NULL && logits != NULL);
    CHECK_MESSAGE(greedy_text(&model, prompt, (int64_t)json_array_size(ids), COUNT, first, logits,
                              text) == TD_OK,
                  "%s", context.message);
    const json_t *top = reference_row(reference, name, "top_logits_after_prompt");
    CHECK(json_array_size(top) == 8);
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *pair = json_array_get(top, i);
        const json_int_t id = json_integer_value(json_array_get(pair, 0));
        const double expected = json_number_value(json_array_get(pair, 1));
        CHECK_MESSAGE(fabs((double)first[id] - expected) < 1e-3, "logit of %d: %g, expected %g",
                      (int)id, (double)first[id], expected);
    }
    const json_t *greedy_ids = reference_row(reference, name, "greedy");
    for (size_t i = 0; i < COUNT; i++)
        CHECK_MESSAGE(text[i] == json_integer_value(json_array_get(greedy_ids, i)),
                      "token %zu is %d", i, text[i]);
    free(first);
    free(logits);
    ir_module_release(model.module);
    json_decref(reference);
}

TEST(target_matches_reference)
{
    if (!td_path_exists(SHARED "pair/target"))
        SKIP("../shared/pair is absent");
    check_reference(SHARED "pair/target", "target");
}

TEST(drafter_matches_reference)
{
    if (!td_path_exists(SHARED "pair/drafter"))
        SKIP("../shared/pair is absent");
    check_reference(SHARED "pair/drafter/", "drafter");
}

/* --- GGUF --- */

/* The text of an id: its token string with the word marker as a space. */
static void append_token(const fe_gguf *gguf, int32_t id, char *text, size_t room)
{
    fe_gguf_strings strings = fe_gguf_strings_begin(fe_gguf_find(gguf, "tokenizer.ggml.tokens"));
    fe_span token = {"", 0};
    for (int32_t i = 0; i <= id; i++)
        fe_gguf_strings_next(&strings, &token);
    size_t length = strlen(text);
    for (uint64_t i = 0; i < token.size && length + 1 < room; i++) {
        if (token.size - i >= 3 && memcmp(token.data + i, "\xe2\x96\x81", 3) == 0) {
            text[length++] = ' ';
            i += 2;
        } else {
            text[length++] = token.data[i];
        }
    }
    text[length] = '\0';
}

/* The id of a token string, or -1. */
static int32_t find_token(const fe_gguf *gguf, const char *string, size_t length)
{
    fe_gguf_strings strings = fe_gguf_strings_begin(fe_gguf_find(gguf, "tokenizer.ggml.tokens"));
    fe_span token;
    for (int32_t id = 0; fe_gguf_strings_next(&strings, &token); id++)
        if (token.size == length && memcmp(token.data, string, length) == 0)
            return id;
    return -1;
}

/* The prompt in single letters, then pairs joined best score first, as SentencePiece does. */
static int64_t encode_prompt(const fe_gguf *gguf, const char *text, int32_t *ids)
{
    int64_t count = 0;
    char joined[64];
    size_t start[64], end[64];
    ids[count] = 1;
    const fe_gguf_value *scores = fe_gguf_find(gguf, "tokenizer.ggml.scores");
    for (size_t i = 0; i < strlen(text);) {
        const size_t bytes_here = text[i] == '\xe2' ? 3 : 1;
        count++;
        start[count] = i;
        end[count] = i += bytes_here;
        ids[count] = find_token(gguf, text + start[count], bytes_here);
    }
    count++;
    for (;;) {
        int64_t best = 0;
        double best_score = -HUGE_VAL, score;
        for (int64_t i = 1; i + 1 < count; i++) {
            const size_t length = end[i + 1] - start[i];
            if (length >= sizeof joined)
                continue;
            const int32_t id = find_token(gguf, text + start[i], length);
            if (id >= 0 && fe_gguf_number(scores, (uint64_t)id, &score) && score > best_score) {
                best = i;
                best_score = score;
            }
        }
        if (best == 0)
            return count;
        end[best] = end[best + 1];
        ids[best] = find_token(gguf, text + start[best], end[best] - start[best]);
        for (int64_t i = best + 1; i + 1 < count; i++) {
            ids[i] = ids[i + 1];
            start[i] = start[i + 1];
            end[i] = end[i + 1];
        }
        count--;
    }
}

/* The first tokens of the greedy text equal the file that another implementation wrote. */
static void check_story(const char *path, const char *text_path, size_t count)
{
    static const char prompt[] = "\xe2\x96\x81Once\xe2\x96\x81upon\xe2\x96\x81"
                                 "a\xe2\x96\x81time,\xe2\x96\x81there\xe2\x96\x81was";
    td_context context;
    fe_model model;
    td_file file, expected;
    fe_gguf gguf;
    int32_t ids[GREEDY_TOKENS], text[64];
    char decoded[1024] = "";
    td_context_init(&context);
    CHECK_MESSAGE(fe_import(&context, path, &no_options, &model) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
    CHECK(model.bos_id == 1 && model.eos_id == 2 && model.context_length == 128);
    CHECK_STRING(model.tokenizer_path, path);
    CHECK(td_file_map(&context, path, &file) == TD_OK);
    CHECK(td_file_map(&context, text_path, &expected) == TD_OK);
    CHECK(fe_gguf_open(&context, &file, &gguf) == TD_OK);
    float *logits = calloc(model.vocabulary, sizeof *logits);
    CHECK(logits != NULL);
    const int64_t prompt_tokens = encode_prompt(&gguf, prompt, ids);
    CHECK_MESSAGE(greedy_text(&model, ids, prompt_tokens, count, NULL, logits, text) == TD_OK, "%s",
                  context.message);
    for (size_t i = 0; i < count; i++)
        append_token(&gguf, text[i], decoded, sizeof decoded);
    CHECK_MESSAGE(memmem(expected.data, expected.size, decoded, strlen(decoded)) != NULL,
                  "decoded \"%s\"", decoded);
    CHECK(strlen(decoded) > count);
    free(logits);
    fe_gguf_release(&gguf);
    td_file_unmap(&context, &expected);
    td_file_unmap(&context, &file);
    ir_module_release(model.module);
}

TEST(stories_260k_matches_reference)
{
    if (!td_path_exists(SHARED "data/weights/stories260K-f32.gguf"))
        SKIP("../shared/data/weights is absent");
    check_story(SHARED "data/weights/stories260K-f32.gguf",
                SHARED "data/weights/reference/stories260K-f32.txt", 40);
}

TEST(stories_3m_matches_reference)
{
    if (!td_path_exists(SHARED "data/weights/stories3M-f32.gguf"))
        SKIP("../shared/data/weights is absent");
    check_story(SHARED "data/weights/stories3M-f32.gguf",
                SHARED "data/weights/reference/stories3M-f32.txt", 24);
}

/* Q8_0 weights say nearly what f32 says: the greedy texts begin alike. */
TEST(stories_3m_in_q8_0_begins_alike)
{
    if (!td_path_exists(SHARED "data/weights/stories3M-q8_0.gguf"))
        SKIP("../shared/data/weights is absent");
    check_story(SHARED "data/weights/stories3M-q8_0.gguf",
                SHARED "data/weights/reference/stories3M-f32.txt", 8);
}

/* q8 moves the drafter's logits a little, and only a little. */
TEST(converted_weights_keep_the_logits)
{
    static const struct {
        const char *kind;
        float least, most; /* largest change of a logit */
    } rows[] = {{"f32", 0.0f, 0.0f}, {"f16", 1e-6f, 0.02f}, {"q8", 1e-4f, 0.3f}};
    td_context context;
    fe_model model;
    if (!td_path_exists(SHARED "pair/drafter"))
        SKIP("../shared/pair is absent");
    td_context_init(&context);
    float plain[4096], logits[4096];
    int32_t text[1];
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        int32_t prompt[] = {4095, 800, 312, 258, 1132, 1344, 489};
        CHECK(fe_import(&context, SHARED "pair/drafter", &no_options, &model) == TD_OK);
        CHECK(model.vocabulary == 4096);
        CHECK(greedy_text(&model, prompt, 7, 1, NULL, plain, text) == TD_OK);
        CHECK(ir_pass_convert_weights(model.module, rows[i].kind) == TD_OK);
        CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
        CHECK_MESSAGE(greedy_text(&model, prompt, 7, 1, NULL, logits, text) == TD_OK, "%s",
                      context.message);
        float change = 0.0f;
        for (size_t j = 0; j < 4096; j++)
            change = fmaxf(change, fabsf(logits[j] - plain[j]));
        CHECK_MESSAGE(change >= rows[i].least && change <= rows[i].most, "%s changes by %g",
                      rows[i].kind, (double)change);
        ir_module_release(model.module);
    }
}

TEST(bounds_the_context)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(SHARED "pair/drafter"))
        SKIP("../shared/pair is absent");
    td_context_init(&context);
    const fe_options shorter = {.context_length = 128, .max_tokens = 65, .max_rows = 4};
    CHECK(fe_import(&context, SHARED "pair/drafter", &shorter, &model) == TD_OK);
    ir_symbol slots;
    CHECK(model.context_length == 128 && ir_module_find_symbol(model.module, "slots", &slots));
    CHECK(model.module->symbols.items[slots].bound == 128);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    CHECK(ir_dim_is(&forward->inputs[2]->shape.dim[1], 2)); /* words of 64 ancestors */
    ir_module_release(model.module);
    const fe_options longer = {.context_length = 4096};
    CHECK(fe_import(&context, SHARED "pair/drafter", &longer, &model) == TD_INVALID);
    CHECK(strstr(context.message, "4096 tokens was asked for, the model was made for 1024") !=
          NULL);
}

TEST(refuses_other_architectures)
{
    td_context context;
    fe_model model;
    const char *path = SHARED "data/weights/bitllama3M-q8_0.gguf";
    if (!td_path_exists(path))
        SKIP("../shared/data/weights is absent");
    td_context_init(&context);
    CHECK(fe_import(&context, path, &no_options, &model) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "the architecture \"bitnet\" cannot be read; \"llama\" is "
                                  "accepted") != NULL);
}

/* A copy of a real file with wrong bytes in its header: an import or a sentence, nothing else. */
TEST(survives_changed_headers)
{
    enum { HEADER = 14100, ROUNDS = 1500 };
    const char *path = TEST_BUILD_FOLDER "/changed.gguf";
    td_context context;
    td_file file;
    uint64_t random = 17;
    if (!td_path_exists(SHARED "data/weights/stories260K-f32.gguf"))
        SKIP("../shared/data/weights is absent");
    td_context_init(&context);
    CHECK(td_file_map(&context, SHARED "data/weights/stories260K-f32.gguf", &file) == TD_OK);
    FILE *copy = fopen(path, "wb");
    CHECK(copy != NULL && fwrite(file.data, 1, file.size, copy) == file.size);
    size_t refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
        /* mostly behind the tokenizer's strings, where sizes and tensors are described */
        const uint64_t place = td_random_next(&random) % (round % 4 == 0 ? HEADER : 4000);
        const uint64_t offset = round % 4 == 0 ? place : HEADER - 1 - place;
        fseek(copy, (long)offset, SEEK_SET);
        fputc((int)(td_random_next(&random) & 0xff), copy);
        fflush(copy);
        fe_model model;
        context.message[0] = '\0';
        const td_status status = fe_import(&context, path, &no_options, &model);
        if (status == TD_OK)
            ir_module_release(model.module);
        else
            refused++;
        CHECK((status == TD_OK) == (context.message[0] == '\0'));
        fseek(copy, (long)offset, SEEK_SET);
        fputc(file.data[offset], copy);
    }
    fclose(copy);
    remove(path);
    td_file_unmap(&context, &file);
    CHECK_MESSAGE(refused > 50 && refused < ROUNDS, "%zu refused", refused);
}

TEST(reports_every_failed_allocation)
{
    const char *paths[] = {SHARED "pair/drafter", SHARED "data/weights/stories3M-q8_0.gguf"};
    for (size_t i = 0; i < TD_COUNT_OF(paths); i++) {
        if (!td_path_exists(paths[i]))
            SKIP("../shared is absent");
        td_status status = TD_NO_MEMORY;
        for (long fail_at = 0; status != TD_OK; fail_at++) {
            td_context context;
            failing_allocator failing = {.countdown = fail_at, .once = true};
            fe_model model;
            failing_context(&context, &failing);
            status = fe_import(&context, paths[i], &no_options, &model);
            CHECK_MESSAGE(status == TD_OK || status == TD_NO_MEMORY, "%s", context.message);
            if (status == TD_OK)
                ir_module_release(model.module);
            CHECK(failing.held == 0);
        }
    }
}

TEST_MAIN()
