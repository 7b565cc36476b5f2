/* The pair's f32 checkpoints against numbers of an independent implementation: compiled programs
 * write the same greedy ids for every prompt, and the evaluator, whose bits compiled code has
 * (verify_test.sh), the same logits to 1e-3.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "tests/frontend/greedy.h"
#include "tests/test.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#define PAIR       TEST_SOURCE_FOLDER "/../shared/pair/"
#define MAX_PROMPT GREEDY_TOKENS

/* Ids printed by a command, or 0 when it failed. */
static size_t run_ids(const char *command, int32_t *ids, size_t capacity)
{
    FILE *pipe = popen(command, "r");
    size_t count = 0;
    int id;
    if (pipe == NULL)
        return 0;
    while (count < capacity && fscanf(pipe, "%d", &id) == 1)
        ids[count++] = id;
    return pclose(pipe) == 0 ? count : 0;
}

static size_t json_ids(const json_t *array, int32_t *ids, size_t capacity)
{
    const size_t count = json_array_size(array);
    for (size_t i = 0; i < count && i < capacity; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return count;
}

/* Largest difference of the eight logits after the prompt. */
static double logit_difference(const fe_model *model, int32_t *prompt, size_t count,
                               const json_t *top)
{
    greedy feed = {.model = model};
    float *logits = calloc(model->vocabulary, sizeof *logits);
    double worst = INFINITY;
    if (logits != NULL && count <= MAX_PROMPT &&
        ir_evaluator_create(model->module, model->context_length, &feed.evaluator) == TD_OK &&
        greedy_feed(&feed, prompt, (int64_t)count, logits) == TD_OK) {
        worst = 0;
        for (size_t i = 0; i < json_array_size(top); i++) {
            const json_t *pair = json_array_get(top, i);
            const json_int_t id = json_integer_value(json_array_get(pair, 0));
            const double expected = json_number_value(json_array_get(pair, 1));
            worst = fmax(worst, fabs((double)logits[id] - expected));
        }
    }
    ir_evaluator_release(feed.evaluator);
    free(logits);
    return worst;
}

/* Runs the compiled program on a prompt and compares the ids. */
static bool same_ids(const char *program, const int32_t *prompt, size_t count,
                     const json_t *expected)
{
    static int32_t ids[1024], wanted[1024];
    char command[4096];
    int length = snprintf(command, sizeof command,
                          "%s --ids --ignore-eos --max-tokens %zu "
                          "--prompt-ids ",
                          program, json_array_size(expected));
    for (size_t i = 0; i < count; i++)
        length += snprintf(command + length, sizeof command - (size_t)length, "%s%d",
                           i == 0 ? "" : ",", prompt[i]);
    const size_t wanted_count = json_ids(expected, wanted, TD_COUNT_OF(wanted));
    return wanted_count > 50 && run_ids(command, ids, TD_COUNT_OF(ids)) == wanted_count &&
           memcmp(ids, wanted, wanted_count * sizeof *ids) == 0;
}

static void check_model(const char *name)
{
    char path[512], program[] = "/tmp/tandem-reference-XXXXXX", command[2048];
    td_context context;
    fe_model model;
    const fe_options options = {0};
    td_context_init(&context);
    json_t *reference = json_load_file(PAIR "reference.json", 0, NULL);
    CHECK(json_array_size(reference) >= 2);
    snprintf(path, sizeof path, PAIR "%s", name);
    CHECK_MESSAGE(fe_import(&context, path, &options, &model) == TD_OK, "%s", context.message);
    const int descriptor = mkstemp(program);
    CHECK(descriptor >= 0);
    close(descriptor);
    snprintf(command, sizeof command,
             TEST_BUILD_FOLDER "/tandem compile --target %s --weights=f32 -o %s", path, program);
    CHECK(system(command) == 0);
    for (size_t i = 0; i < json_array_size(reference); i++) {
        const json_t *row = json_array_get(reference, i), *expected = json_object_get(row, name);
        int32_t prompt[MAX_PROMPT];
        const size_t count = json_ids(json_object_get(row, "prompt"), prompt, MAX_PROMPT);
        CHECK(count > 0 && count <= MAX_PROMPT);
        const double difference = logit_difference(
            &model, prompt, count, json_object_get(expected, "top_logits_after_prompt"));
        CHECK_MESSAGE(difference < 1e-3, "prompt %zu: logits differ by %g", i, difference);
        CHECK_MESSAGE(same_ids(program, prompt, count, json_object_get(expected, "greedy")),
                      "prompt %zu: greedy ids differ", i);
    }
    unlink(program);
    json_decref(reference);
    ir_module_release(model.module);
}

TEST(target_writes_the_reference_ids)
{
    if (!td_path_exists(PAIR "reference.json"))
        SKIP("../shared/pair is not there");
    check_model("target");
}

TEST(drafter_writes_the_reference_ids)
{
    if (!td_path_exists(PAIR "reference.json"))
        SKIP("../shared/pair is not there");
    check_model("drafter");
}

TEST_MAIN()
