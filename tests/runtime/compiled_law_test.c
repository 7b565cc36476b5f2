/* The law of what compiled pairs write: sequences of four tokens from a vocabulary of four, drawn
 * by the complete program, against probabilities from plain passes of the target.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "runtime/internal.h"
#include "tests/codegen/tiny_program.h"
#include "tests/runtime/chi_square.h"
#include "tests/runtime/law.h"
#include "tests/test.h"

#define MAX_DRAFT 16
#define SAMPLES   2000u

static const char *const drafts[] = {"0", "2", "rsd-c:2,2", "rsd-c:4", "rsd-s:3x2", "auto"};
static const double temperatures[] = {0.4, 1};

/* --- a pair --- */

/* A trimmed head. */
typedef struct head {
    int32_t ids[LAW_IDS];
    uint32_t count; /* 0: the whole one */
} head;

static td_status make_models(tiny_program *self, const head *trimmed)
{
    synthetic_options options = {.layers = 2,
                                 .features = 32,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .head_size = 8,
                                 .hidden = 48,
                                 .vocabulary = LAW_IDS,
                                 .max_tokens = 64,
                                 .type = IR_F16,
                                 .cache_type = IR_F16};
    cg_model *drafter = &self->models[1];
    TD_TRY(synthetic_llama(&self->context, &options, &self->models[0]));
    options.layers = 1;
    TD_TRY(synthetic_llama(&self->context, &options, drafter));
    drafter->name = "drafter";
    if (trimmed->count == 0)
        return TD_OK;
    drafter->head_ids = trimmed->ids;
    drafter->head_count = trimmed->count;
    return ir_pass_trim_head(drafter->module, trimmed->count, trimmed->ids);
}

/* What `auto` decides by, so that every run of this test draws the same. */
static const char costs_text[] = "tandem costs 1\nartefact %016llx\n"
                                 "target 1:40 2:42 3:44 5:48 9:60 16:90\n"
                                 "drafter 1:8 2:9 4:12 16:20\ncatch-up 1:2\nsampled 0:2 1:3 8:9\n";

/* Compiles a pair and opens it by this program's own runtime. */
static bool begin(tiny_program *self, const head *trimmed, const tandem_options *options,
                  tandem_model **model)
{
    char text[512];
    tandem_error error = {{0}};
    if (!tiny_start(self) || make_models(self, trimmed) != TD_OK ||
        tiny_plan(self, 2, MAX_DRAFT) != TD_OK || tiny_load(self) != TD_OK) {
        printf("    %s\n", self->context.message);
        return false;
    }
    const uint64_t hash = self->artefact->header_hash;
    snprintf(text, sizeof text, costs_text, (unsigned long long)hash);
    if (tandem_runtime_api.open(self->artefact, options, &error, model) == TANDEM_OK &&
        rt_costs_parse(&(*model)->chooser.costs, hash, "costs", text, &error) == TANDEM_OK)
        return true;
    printf("    %s\n", error.text);
    return false;
}

/* --- the law --- */

/* The target's logits behind a text, from plain passes. */
static bool logits_behind(void *model, const int32_t *history, uint32_t length, float *logits)
{
    tandem_session *session;
    if (tandem_runtime_api.session_create(model, &session) != TANDEM_OK)
        return false;
    memcpy(session->ids, history, length * sizeof *history);
    session->length = length;
    rt_catch_up(session, RT_TARGET, length - 1);
    const rt_pass pass = {.text = 1, .rows = 1};
    rt_forward(session, RT_TARGET, &pass);
    memcpy(logits, rt_logits(session, RT_TARGET, 0).values, LAW_IDS * sizeof *logits);
    tandem_runtime_api.session_destroy(session);
    return true;
}

/* How a text is continued. */
typedef struct setting {
    tandem_model *model;
    const char *draft;
    rt_warp warp;
    const int32_t *prompt;
    uint32_t count;
} setting;

/* The code of one sequence; LAW_SEQUENCES when it could not be drawn. */
static uint32_t draw_sequence(const setting *self, uint64_t seed)
{
    const tandem_generate_options options = {
        .max_tokens = LAW_LENGTH,
        .draft = self->draft,
        .temperature = self->warp.temperature,
        .seed = seed,
        .repetition_penalty = self->warp.repetition_penalty,
        .repetition_window = self->warp.repetition_window,
        .top_k = self->warp.top_k,
        .top_p = self->warp.top_p,
        .min_p = self->warp.min_p,
    };
    tandem_session *session = NULL;
    const int32_t *ids;
    uint32_t code = 0;
    if (tandem_runtime_api.session_create(self->model, &session) != TANDEM_OK ||
        tandem_runtime_api.feed(session, self->prompt, self->count) != TANDEM_OK ||
        tandem_runtime_api.generate(session, &options, NULL, NULL) != TANDEM_OK ||
        tandem_runtime_api.tokens(session, &ids) != self->count + LAW_LENGTH)
        code = LAW_SEQUENCES;
    for (uint32_t i = 0; i < LAW_LENGTH && code < LAW_SEQUENCES; i++)
        code = code * LAW_IDS + (uint32_t)ids[self->count + i];
    tandem_runtime_api.session_destroy(session);
    return code;
}

/* How far drawn sequences are from a law; infinite when they could not be drawn. */
static double deviation(const setting *self, const double law[LAW_SEQUENCES])
{
    uint32_t seen[LAW_SEQUENCES + 1] = {0};
    for (uint32_t i = 0; i < SAMPLES; i++)
        seen[draw_sequence(self, i)]++;
    return seen[LAW_SEQUENCES] > 0 ? INFINITY : chi_square(seen, law, LAW_SEQUENCES);
}

/* Every draft under every truncation, with temperatures in turn. */
static void check_drafts(setting self, const char *name)
{
    double law[LAW_SEQUENCES];
    for (uint32_t w = 0; w < LAW_TRUNCATIONS; w++)
        for (uint32_t d = 0; d < TD_COUNT_OF(drafts); d++) {
            self.draft = drafts[d];
            self.warp = law_truncations[w].warp;
            self.warp.temperature = temperatures[(w + d) % TD_COUNT_OF(temperatures)];
            CHECK(law_of_sequences(&self.warp, logits_behind, self.model, self.prompt, self.count,
                                   law));
            const double result = deviation(&self, law);
            CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "%s, draft %s, %s, temperature %g: %g", name,
                          self.draft, law_truncations[w].name, self.warp.temperature, result);
        }
}

static const int32_t short_prompt[] = {2, 1};

static void check_head(const head *trimmed, const char *name)
{
    tiny_program self;
    tandem_model *model = NULL;
    const tandem_options options = {.threads = 1, .slots = 256};
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self, trimmed, &options, &model));
    const setting all = {.model = model, .prompt = short_prompt, .count = 2};
    check_drafts(all, name);
    tandem_runtime_api.close(model);
    tiny_end(&self);
}

TEST(sequences_have_the_compiled_targets_law)
{
    const head whole = {.count = 0};
    check_head(&whole, "whole head");
}

TEST(a_trimmed_head_leaves_the_law_alone)
{
    const head trimmed = {{0, 1, 3}, 3};
    check_head(&trimmed, "head of 3");
}

TEST(another_law_is_noticed)
{
    double law[LAW_SEQUENCES];
    tiny_program self;
    tandem_model *model;
    const head whole = {.count = 0};
    const tandem_options options = {.threads = 1, .slots = 256};
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self, &whole, &options, &model));
    const setting row = {model, "rsd-c:2,2", {.temperature = 0.4}, short_prompt, 2};
    CHECK(law_of_sequences(&row.warp, logits_behind, model, short_prompt, 2, law));
    for (uint32_t code = 0; code < LAW_SEQUENCES; code++)
        law[code] = 0.7 * law[code] + 0.3 / LAW_SEQUENCES;
    CHECK(deviation(&row, law) > 2 * CHI_SQUARE_LIMIT);
    tandem_runtime_api.close(model);
    tiny_end(&self);
}

TEST(with_eviction_the_law_is_that_of_plain_decoding_with_eviction)
{
    /* The slots are full after the first token that is generated. */
    enum { COUNT = LAW_PROMPT - 1 };
    static const tandem_options whole = {.threads = 1, .slots = 256},
                                few = {.threads = 1, .slots = COUNT + 1, .eviction = "recent"};
    const head all = {.count = 0};
    const rt_warp warp = {.temperature = 0.4};
    int32_t prompt[COUNT];
    double law[LAW_SEQUENCES], without[LAW_SEQUENCES], distance = 0;
    tiny_program self, other;
    tandem_model *model;
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    for (uint32_t i = 0; i < COUNT; i++) {
        const rt_dice dice = {9, 4321, 0};
        prompt[i] = (int32_t)(rt_uniform(&dice, 0, RT_DRAW_TOKEN, i) * LAW_IDS);
    }
    CHECK(begin(&other, &all, &whole, &model));
    CHECK(law_of_sequences(&warp, logits_behind, model, prompt, COUNT, without));
    tandem_runtime_api.close(model);
    tiny_end(&other);
    CHECK(begin(&self, &all, &few, &model));
    CHECK(law_of_sequences(&warp, logits_behind, model, prompt, COUNT, law));
    for (uint32_t code = 0; code < LAW_SEQUENCES; code++)
        distance += fabs(law[code] - without[code]);
    CHECK(distance > 0.01); /* eviction does something here */
    for (size_t d = 0; d < TD_COUNT_OF(drafts); d++) {
        const setting row = {model, drafts[d], warp, prompt, COUNT};
        const double result = deviation(&row, law);
        CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "draft %s: %g", drafts[d], result);
    }
    tandem_runtime_api.close(model);
    tiny_end(&self);
}

TEST_MAIN()
