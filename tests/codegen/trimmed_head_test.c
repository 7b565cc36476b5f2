/* Trimmed heads, compiled: against the evaluator bit for bit, and as a drafter's in a program.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "runtime/tandem.h"
#include "tests/codegen/tiny_program.h"
#include "tests/test.h"

#define MAX_DRAFT 5

/* Every third id and the last. */
static uint32_t choose_ids(uint32_t vocabulary, int32_t *ids)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id < vocabulary; id += 3)
        ids[count++] = (int32_t)id;
    if (ids[count - 1] != (int32_t)vocabulary - 1)
        ids[count++] = (int32_t)vocabulary - 1;
    return count;
}

/* --- kernels --- */

static const char *verify_trimmed(const synthetic_options *options, bool quantised)
{
    static char text[8192];
    td_context context;
    cg_model model;
    cg_request request = {.name = "test", .models = &model, .model_count = 1};
    int32_t ids[128];
    bool equal = false;
    td_context_init(&context);
    if (synthetic_llama(&context, options, &model) != TD_OK)
        return "not built";
    memset(text, 0, sizeof text);
    FILE *report = fmemopen(text, sizeof text - 1, "w");
    td_status status = ir_pass_trim_head(model.module, choose_ids(model.vocabulary, ids), ids);
    if (status == TD_OK && quantised)
        status = ir_pass_quantize_activations(model.module);
    if (status == TD_OK)
        status = cg_find_target(&context, NULL, NULL, &request.target, &request.cpu);
    if (status == TD_OK)
        status = cg_verify(&context, &request, report, &equal);
    fclose(report);
    ir_module_release(model.module);
    if (status != TD_OK)
        snprintf(text, sizeof text, "refused: %s", context.message);
    return status == TD_OK && equal ? "equal" : text;
}

#define SIZES                                                                                      \
    .layers = 1, .features = 96, .heads = 4, .kv_heads = 2, .head_size = 8, .hidden = 160,         \
    .vocabulary = 97, .max_tokens = 32, .cache_type = IR_F32

TEST(compiled_rows_are_the_evaluators)
{
    static const struct {
        synthetic_options options;
        bool quantised;
    } cases[] = {
        {{SIZES, .type = IR_F16, .tied = true}, false},
        {{SIZES, .type = IR_U8, .has_zero = true, .scale_type = IR_F32}, true},
        {{SIZES, .type = IR_U4, .has_zero = true, .scale_type = IR_F16, .group = 32}, true},
        {{SIZES, .type = IR_I4, .scale_type = IR_F16, .group = 32, .tied = true}, false},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++)
        CHECK_STRING(verify_trimmed(&cases[i].options, cases[i].quantised), "equal");
}

/* --- programs --- */

static const synthetic_options tiny = {.layers = 1,
                                       .features = 32,
                                       .heads = 2,
                                       .kv_heads = 1,
                                       .head_size = 16,
                                       .hidden = 48,
                                       .vocabulary = 64,
                                       .max_tokens = 32,
                                       .type = IR_F16,
                                       .cache_type = IR_F16};

/* The model as its own drafter, whose head is trimmed to `ids`. */
static td_status make_models(tiny_program *self, int32_t *ids)
{
    TD_TRY(synthetic_llama(&self->context, &tiny, &self->models[0]));
    TD_TRY(synthetic_llama(&self->context, &tiny, &self->models[1]));
    cg_model *drafter = &self->models[1];
    drafter->name = "drafter";
    drafter->head_ids = ids;
    drafter->head_count = choose_ids(drafter->vocabulary, ids);
    return ir_pass_trim_head(drafter->module, drafter->head_count, ids);
}

static bool begin(tiny_program *self, int32_t *ids)
{
    return tiny_start(self) && make_models(self, ids) == TD_OK &&
           tiny_plan(self, 2, MAX_DRAFT) == TD_OK;
}

/* Forty ids after the prompt 7, 8, 9. */
static bool generate(const tandem_artefact *artefact, const char *draft, int32_t *ids,
                     tandem_stats *stats)
{
    const tandem_api *api = artefact->api;
    const int32_t prompt[] = {7, 8, 9}, *all;
    const tandem_options options = {.threads = 1, .slots = 128};
    const tandem_generate_options choices = {.max_tokens = 40, .draft = draft};
    tandem_model *model;
    tandem_session *session;
    tandem_error error;
    if (api->open(artefact, &options, &error, &model) != TANDEM_OK) {
        printf("    %s\n", error.text);
        return false;
    }
    const bool fine = api->session_create(model, &session) == TANDEM_OK &&
                      api->feed(session, prompt, 3) == TANDEM_OK &&
                      api->generate(session, &choices, NULL, NULL) == TANDEM_OK &&
                      api->tokens(session, &all) == 43;
    if (!fine)
        printf("    %s\n", api->error(model));
    if (fine) {
        memcpy(ids, all + 3, 40 * sizeof *ids);
        api->stats(session, stats);
    }
    api->close(model);
    return fine;
}

static bool is_kept(const cg_model *drafter, int32_t id)
{
    for (uint32_t j = 0; j < drafter->head_count; j++)
        if (drafter->head_ids[j] == id)
            return true;
    return false;
}

/* The drafter is the target, so a token is drafted right whenever its id was kept. */
TEST(a_program_maps_columns_to_ids)
{
    tiny_program self;
    int32_t ids[64], plain[40], speculative[40];
    tandem_stats stats;
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self, ids));
    CHECK_MESSAGE(tiny_load(&self) == TD_OK, "%s", self.context.message);
    const tandem_artefact *artefact = self.artefact;
    const tandem_model_info *drafter = &artefact->models[1];
    CHECK(artefact->models[0].head_ids == NULL && artefact->models[0].logits.columns == 64);
    CHECK(drafter->vocabulary == 64 && drafter->logits.columns == self.models[1].head_count);
    CHECK(memcmp(drafter->head_ids, ids, drafter->logits.columns * sizeof(int32_t)) == 0);
    CHECK(artefact->scratch[TANDEM_SCRATCH_DRAFT_PROBABILITIES].bytes ==
          (uint64_t)MAX_DRAFT * drafter->logits.columns * sizeof(float));
    CHECK(drafter->weights_read_per_pass < artefact->models[0].weights_read_per_pass);
    CHECK(generate(artefact, "0", plain, &stats));
    CHECK(generate(artefact, "1", speculative, &stats));
    CHECK(memcmp(plain, speculative, sizeof plain) == 0);
    uint64_t kept = 0;
    for (int i = 0; i < 40; i++)
        kept += is_kept(&self.models[1], plain[i]);
    CHECK_MESSAGE(kept > 0 && stats.accepted > 0 && stats.accepted <= kept,
                  "%llu of 40 tokens kept, %llu of %llu drafts accepted", (unsigned long long)kept,
                  (unsigned long long)stats.accepted, (unsigned long long)stats.drafted);
    tiny_end(&self);
}

TEST(a_count_that_does_not_fit_is_refused)
{
    tiny_program self;
    cg_plan plan;
    int32_t ids[64];
    CHECK(begin(&self, ids));
    self.request.emit = CG_OBJECT;
    self.models[1].head_count--;
    CHECK(cg_compile(&self.context, &self.request, &plan) == TD_INTERNAL);
    CHECK_STRING(self.context.message, "drafter: 21 ids were given for a head of 22 rows");
    tiny_end(&self);
}

TEST_MAIN()
