/* Generation over table models: speculative text is plain text, whatever the shapes of the passes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/fake.h"
#include "tests/test.h"

/* What came out of one generation. */
typedef struct outcome {
    int32_t ids[1024];
    size_t count, pieces;
    tandem_stats stats;
    uint64_t passes[2];
    size_t cancel_after; /* 0: never */
} outcome;

static bool gather(void *user, const tandem_piece *piece)
{
    outcome *result = user;
    for (size_t i = 0; i < piece->count && result->count < 1024; i++)
        result->ids[result->count++] = piece->ids[i];
    result->pieces++;
    return result->cancel_after == 0 || result->count < result->cancel_after;
}

static const int32_t prompt[] = {1, 2, 3, 2, 1, 0, 3};
#define PROMPT_COUNT (sizeof prompt / sizeof *prompt)

/* The draft option of a chain. */
static const char *chain(uint32_t length)
{
    static char text[16];
    snprintf(text, sizeof text, "%u", length);
    return text;
}

/* Opens, feeds a prompt, generates, closes. False on a failure or when a pass noted a fault. */
static bool run(uint32_t slots, uint32_t threads, size_t prompt_count,
                const tandem_generate_options *options, outcome *result)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    size_t cancel_after = result->cancel_after;
    memset(result, 0, sizeof *result);
    result->cancel_after = cancel_after;
    for (unsigned i = 0; i < 2; i++)
        fake_passes[i] = 0;
    if (fake_open(slots, threads, &model, &session) != TANDEM_OK)
        return false;
    bool fine = true;
    for (size_t i = 0; i < prompt_count; i++)
        fine = fine && tandem_runtime_api.feed(session, &prompt[i % PROMPT_COUNT], 1) == TANDEM_OK;
    fine = fine && tandem_runtime_api.generate(session, options, gather, result) == TANDEM_OK;
    tandem_runtime_api.stats(session, &result->stats);
    if (!fine)
        printf("    %s\n", tandem_runtime_api.error(model));
    for (unsigned i = 0; i < 2; i++)
        result->passes[i] = fake_passes[i];
    tandem_runtime_api.close(model);
    return fine && fake_faults == 0;
}

static bool same_ids(const outcome *left, const outcome *right)
{
    return left->count == right->count &&
           memcmp(left->ids, right->ids, left->count * sizeof *left->ids) == 0;
}

/* Greedy text computed without the runtime. */
static void expect_greedy(size_t prompt_count, uint32_t tokens, uint32_t columns, outcome *result)
{
    int32_t history[2048];
    uint32_t length = 0;
    for (; length < prompt_count; length++)
        history[length] = prompt[length % PROMPT_COUNT];
    result->count = 0;
    for (uint32_t i = 0; i < tokens; i++) {
        int32_t best = 0;
        for (uint32_t id = 1; id < columns; id++)
            if (fake_logit(RT_TARGET, history, length, (int32_t)id) >
                fake_logit(RT_TARGET, history, length, best))
                best = (int32_t)id;
        history[length++] = result->ids[result->count++] = best;
    }
}

TEST(plain_greedy_text_is_the_largest_logit_each_time)
{
    static outcome expected, actual;
    tandem_generate_options options = {.max_tokens = 100};
    fake_make(1, 20, 16);
    expect_greedy(PROMPT_COUNT, 100, 20, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(same_ids(&expected, &actual));
    CHECK(actual.stats.rounds == 100 && actual.stats.tokens == 100);
    CHECK(actual.stats.stop == TANDEM_STOP_LENGTH && actual.stats.drafted == 0);
}

TEST(greedy_speculative_text_is_plain_text)
{
    static outcome expected, actual;
    static const double noises[] = {0, 0.5, 3, 20};
    for (uint64_t seed = 1; seed <= 6; seed++)
        for (size_t n = 0; n < 4; n++)
            for (uint32_t draft = 0; draft <= 8; draft++) {
                tandem_generate_options options = {.max_tokens = 90, .draft = chain(draft)};
                fake_make(2, seed % 2 == 0 ? 4 : 37, 16);
                fake_rule.seed = seed;
                fake_rule.noise = noises[n];
                fake_rule.plain_ties = seed >= 4;
                expect_greedy(PROMPT_COUNT, 90, fake_models[0].vocabulary, &expected);
                CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
                CHECK_MESSAGE(same_ids(&expected, &actual), "seed %d noise %g draft %u", (int)seed,
                              noises[n], draft);
            }
}

TEST(greedy_text_is_plain_text_for_every_tree)
{
    static const char *const drafts[] = {"rsd-c:8",     "rsd-c:2,2", "rsd-c:2,1,1", "rsd-c:1,2,2",
                                         "rsd-c:4,1",   "rsd-s:2x4", "rsd-s:4x2",   "rsd-s:8x1",
                                         "rsd-c:1,1,3", "rsd-s:1x8"};
    static outcome expected, actual;
    static const double noises[] = {0, 2, 20};
    for (uint64_t seed = 1; seed <= 4; seed++)
        for (size_t n = 0; n < 3; n++)
            for (size_t d = 0; d < sizeof drafts / sizeof *drafts; d++) {
                tandem_generate_options options = {.max_tokens = 90, .draft = drafts[d]};
                fake_make(2, seed % 2 == 0 ? 4 : 37, 16);
                fake_rule.seed = seed;
                fake_rule.noise = noises[n];
                fake_rule.plain_ties = seed >= 3;
                expect_greedy(PROMPT_COUNT, 90, fake_models[0].vocabulary, &expected);
                CHECK(run(0, 1 + (uint32_t)d % 3, PROMPT_COUNT, &options, &actual));
                CHECK_MESSAGE(same_ids(&expected, &actual), "seed %d noise %g draft %s", (int)seed,
                              noises[n], drafts[d]);
                CHECK(actual.stats.drafted > 0);
                /* One target pass a round, one drafter pass a level. */
                CHECK(actual.passes[RT_TARGET] == 1 + actual.stats.rounds);
                CHECK(actual.passes[RT_DRAFTER] == 1 + actual.stats.drafter_passes);
            }
}

/* Where few last tokens decide, greedy text soon repeats itself, and auto copies it. */
TEST(greedy_text_is_plain_text_where_it_is_copied)
{
    static outcome expected, actual;
    uint64_t copied = 0;
    for (uint64_t seed = 1; seed <= 20; seed++)
        for (uint32_t order = 1; order <= 3; order++) {
            tandem_generate_options options = {.max_tokens = 300, .draft = "auto"};
            fake_make(2, 37, 16);
            fake_rule.seed = seed;
            fake_rule.noise = 20;
            fake_rule.order = order;
            expect_greedy(PROMPT_COUNT, 300, 37, &expected);
            CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
            CHECK_MESSAGE(same_ids(&expected, &actual), "seed %d order %u", (int)seed, order);
            copied += actual.stats.copied;
            CHECK(actual.stats.copied <= actual.stats.drafted);
        }
    CHECK(copied > 0);
}

TEST(best_ids_serve_where_no_logits_are_needed)
{
    static const char *const drafts[] = {"0", "1", "5", "rsd-c:2,2", "rsd-s:2x2"};
    static outcome expected, actual;
    for (int which = 1; which <= 3; which++)
        for (int trimmed = 0; trimmed < 2; trimmed++)
            for (size_t d = 0; d < sizeof drafts / sizeof *drafts; d++) {
                tandem_generate_options options = {.max_tokens = 90, .draft = drafts[d]};
                fake_make(2, 24, 16);
                fake_rule.noise = 1;
                fake_rule.plain_ties = true;
                if (trimmed)
                    fake_trim(RT_DRAFTER, 3);
                for (unsigned model = 0; model < 2; model++)
                    if (which >> model & 1)
                        fake_give_best(model);
                expect_greedy(PROMPT_COUNT, 90, 24, &expected);
                CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
                CHECK_MESSAGE(same_ids(&expected, &actual), "entries %d draft %s", which,
                              drafts[d]);
                CHECK(d == 0 || actual.stats.accepted > 10);
            }
    /* A drafter that knows more ids than the target must not name them. */
    tandem_generate_options options = {.max_tokens = 90, .draft = "4"};
    fake_make(2, 24, 16);
    fake_make_model(RT_DRAFTER, 40, 16);
    fake_give_best(RT_DRAFTER);
    expect_greedy(PROMPT_COUNT, 90, 24, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(same_ids(&expected, &actual));
}

TEST(a_penalty_changes_greedy_text_alike_for_every_draft)
{
    static const char *const drafts[] = {"3", "rsd-c:2,2", "rsd-s:3x2"};
    static outcome plain, penalised, drafted;
    for (uint32_t window = 0; window < 12; window += 4) {
        tandem_generate_options options = {.max_tokens = 90, .draft = "0"};
        fake_make(2, 24, 16);
        fake_rule.noise = 1;
        fake_rule.order = 3;
        fake_give_best(RT_TARGET);
        fake_give_best(RT_DRAFTER);
        CHECK(run(0, 1, PROMPT_COUNT, &options, &plain));
        options.repetition_penalty = 1.7;
        options.repetition_window = window;
        CHECK(run(0, 1, PROMPT_COUNT, &options, &penalised));
        CHECK(!same_ids(&plain, &penalised));
        for (size_t d = 0; d < sizeof drafts / sizeof *drafts; d++) {
            options.draft = drafts[d];
            CHECK(run(0, 1, PROMPT_COUNT, &options, &drafted));
            CHECK_MESSAGE(same_ids(&penalised, &drafted), "window %u draft %s", window, drafts[d]);
        }
    }
}

TEST(wider_trees_are_accepted_further)
{
    static outcome chain_result, tree_result;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        tandem_generate_options options = {.max_tokens = 300, .draft = "2"};
        fake_make(2, 37, 16);
        fake_rule.seed = seed;
        CHECK(run(0, 1, PROMPT_COUNT, &options, &chain_result));
        options.draft = "rsd-c:2,2";
        CHECK(run(0, 1, PROMPT_COUNT, &options, &tree_result));
        CHECK(same_ids(&chain_result, &tree_result));
        CHECK(tree_result.stats.rounds < chain_result.stats.rounds);
    }
}

TEST(statistics_add_up)
{
    static outcome actual;
    static const double temperatures[] = {0, 1};
    for (int t = 0; t < 2; t++) {
        tandem_generate_options options = {
            .max_tokens = 200, .draft = "rsd-c:2,1,1", .temperature = temperatures[t]};
        fake_make(2, 37, 16);
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        const tandem_stats *stats = &actual.stats;
        uint64_t kept = 0;
        for (uint32_t i = 0; i < TANDEM_STATS_DEPTHS; i++) {
            kept += stats->kept_by_depth[i];
            CHECK(stats->kept_by_depth[i] <= stats->tried_by_depth[i]);
            CHECK(i == 0 || stats->tried_by_depth[i] <= stats->kept_by_depth[i - 1]);
        }
        CHECK(stats->tried_by_depth[0] == stats->rounds - stats->plain_rounds);
        CHECK(kept == stats->accepted && stats->tokens == stats->rounds + stats->accepted);
        /* What was kept at the deepest level is passed by the drafter in the next round. */
        CHECK(stats->catch_up_tokens >= stats->kept_by_depth[2] - 1);
        CHECK(stats->catch_up_tokens <= stats->kept_by_depth[2]);
        double depth = (double)stats->drafter_passes / (double)stats->rounds;
        CHECK(fabs(stats->mbsu - stats->block_efficiency / (1 + 0.1 * depth)) < 1e-9);
    }
}

TEST(a_perfect_drafter_has_every_token_accepted)
{
    static outcome actual;
    tandem_generate_options options = {.max_tokens = 120, .draft = "5"};
    fake_make(2, 30, 16);
    fake_rule.noise = 0;
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(actual.stats.rounds == 20 && actual.stats.drafted == 100);
    CHECK(actual.stats.accepted == 100 && actual.stats.acceptance == 1);
    CHECK(actual.stats.block_efficiency == 6);
    CHECK(actual.stats.mbsu == 6 / 1.5);
    /* One prefill chunk each, one target pass per round, five drafter passes per round. */
    CHECK(actual.passes[RT_TARGET] == 21 && actual.passes[RT_DRAFTER] == 101);
}

TEST(prefill_in_chunks_of_any_size_gives_the_same_text)
{
    static outcome expected, actual;
    static const uint32_t chunks[] = {2, 3, 7, 16, 64, 65, 128};
    static const size_t lengths[] = {1, 2, 7, 15, 16, 17, 63, 64, 65, 66, 127, 129, 130, 200};
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            tandem_generate_options options = {.max_tokens = 12, .draft = "4"};
            fake_make(2, 11, chunks[c]);
            expect_greedy(lengths[l], 12, 11, &expected);
            CHECK(run(0, 1, lengths[l], &options, &actual));
            CHECK_MESSAGE(same_ids(&expected, &actual), "chunk %u prompt %zu", chunks[c],
                          lengths[l]);
            CHECK(actual.stats.prompt_tokens == lengths[l]);
        }
}

TEST(threads_do_not_change_text)
{
    static outcome expected, actual;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        tandem_generate_options options = {.max_tokens = 60, .draft = "3"};
        fake_make(2, 16, 16);
        expect_greedy(40, 60, 16, &expected);
        CHECK(run(0, threads, 40, &options, &actual));
        CHECK(same_ids(&expected, &actual) && actual.stats.threads == threads);
    }
}

TEST(running_out_of_slots_shortens_the_draft_and_stops)
{
    static outcome expected, actual;
    for (uint32_t draft = 0; draft <= 8; draft++)
        for (size_t length = 1; length <= 32; length += draft + 3) {
            tandem_generate_options options = {.max_tokens = 100, .draft = chain(draft)};
            fake_make(2, 9, 8);
            fake_rule.noise = 1;
            /* 32 slots hold 32 tokens; one more comes out of the last pass. */
            expect_greedy(length, 33 - (uint32_t)length, 9, &expected);
            CHECK(run(32, 1, length, &options, &actual));
            CHECK_MESSAGE(same_ids(&expected, &actual), "draft %u prompt %zu: %zu tokens", draft,
                          length, actual.count);
            CHECK(actual.stats.stop == TANDEM_STOP_SLOTS && actual.stats.slots == 32);
        }
}

/* Costs by which long drafts pay. */
static bool replay_costs(tandem_model *model)
{
    static const char costs[] = "tandem costs 1\nartefact 0000000000000000\n"
                                "target 1:100 9:101\ndrafter 1:1 8:1.1\ncatch-up 1:0.01\n"
                                "greedy 0:1 8:1\nsampled 0:1 8:1\n";
    return rt_costs_parse(&model->chooser.costs, 0, "costs", costs, NULL) == TANDEM_OK;
}

TEST(auto_keeps_within_the_slots_of_a_drafter_that_was_behind)
{
    static outcome expected, actual;
    uint64_t drafted = 0;
    for (size_t length = 12; length <= 32; length++) {
        const tandem_options open = {.slots = 256, .drafter_slots = 32, .threads = 1};
        const tandem_generate_options options = {.max_tokens = 30, .draft = "auto"};
        tandem_model *model = NULL;
        tandem_session *session = NULL;
        fake_make(2, 9, 16);
        fake_rule.noise = 0;
        expect_greedy(length, 30, 9, &expected);
        memset(&actual, 0, sizeof actual);
        CHECK(tandem_runtime_api.open(&fake_artefact, &open, NULL, &model) == TANDEM_OK);
        CHECK(tandem_runtime_api.session_create(model, &session) == TANDEM_OK);
        CHECK(replay_costs(model));
        for (size_t i = 0; i < length; i++)
            CHECK(tandem_runtime_api.feed(session, &prompt[i % PROMPT_COUNT], 1) == TANDEM_OK);
        CHECK(tandem_runtime_api.generate(session, &options, gather, &actual) == TANDEM_OK);
        tandem_runtime_api.stats(session, &actual.stats);
        drafted += actual.stats.drafted;
        CHECK_MESSAGE(fake_faults == 0, "prompt %zu: %d faults", length, fake_faults);
        CHECK(same_ids(&expected, &actual));
        tandem_runtime_api.close(model);
    }
    CHECK(drafted > 0);
}

TEST(a_program_that_may_not_draft_decodes_plainly)
{
    static const char *const drafts[] = {NULL, "auto", "0"};
    static outcome expected, actual;
    for (size_t d = 0; d < 3; d++) {
        const tandem_generate_options options = {.max_tokens = 40, .draft = drafts[d]};
        fake_make(2, 9, 16);
        fake_artefact.max_draft = 0;
        expect_greedy(PROMPT_COUNT, 40, 9, &expected);
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        CHECK(same_ids(&expected, &actual) && actual.stats.drafted == 0);
    }
}

TEST(the_context_of_either_model_bounds_positions)
{
    static outcome expected, actual;
    tandem_generate_options options = {.max_tokens = 100, .draft = "5"};
    for (uint32_t context = 30; context < 40; context++) {
        fake_make(2, 9, 8);
        fake_models[RT_TARGET].context_length = context;
        expect_greedy(5, context - 4, 9, &expected);
        CHECK(run(0, 1, 5, &options, &actual));
        CHECK(same_ids(&expected, &actual) && actual.stats.stop == TANDEM_STOP_CONTEXT);
    }

    fake_make(2, 9, 8);
    fake_models[RT_DRAFTER].context_length = 30; /* goes on without drafting */
    expect_greedy(5, 100, 9, &expected);
    CHECK(run(0, 1, 5, &options, &actual));
    CHECK(same_ids(&expected, &actual) && actual.stats.stop == TANDEM_STOP_LENGTH);
    CHECK(actual.stats.drafted > 10 && actual.stats.drafted < 200);

    fake_make(2, 9, 8);
    fake_models[RT_DRAFTER].context_length = 30; /* the prompt is longer already */
    expect_greedy(31, 20, 9, &expected);
    options.max_tokens = 20;
    CHECK(run(0, 1, 31, &options, &actual));
    CHECK(same_ids(&expected, &actual) && actual.stats.drafted == 0);
    CHECK(actual.passes[RT_DRAFTER] == 0);
}

TEST(the_end_of_text_stops_within_a_round)
{
    static outcome actual;
    for (uint32_t draft = 0; draft <= 6; draft++) {
        tandem_generate_options options = {.max_tokens = 100, .draft = chain(draft)};
        fake_make(2, 12, 16);
        fake_rule.noise = 0;
        fake_rule.end_id = 5;
        if (draft % 2 == 0) {
            fake_artefact.eos_id = 5;
        } else { /* any of several ids ends the text */
            fake_artefact.further_end_count = 2;
            fake_artefact.further_end_ids[0] = 12; /* none of the vocabulary */
            fake_artefact.further_end_ids[1] = 5;
        }
        fake_rule.end_after = 27; /* tokens seen, the prompt's 7 included */
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        CHECK(actual.count == 21 && actual.ids[20] == 5);
        CHECK(actual.stats.stop == TANDEM_STOP_END && actual.stats.tokens == 21);
        options.ignore_end = true;
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        CHECK(actual.count == 100 && actual.stats.stop == TANDEM_STOP_LENGTH);
    }
}

TEST(max_tokens_is_exact)
{
    static outcome actual;
    for (uint32_t tokens = 1; tokens <= 13; tokens++) {
        tandem_generate_options options = {.max_tokens = tokens, .draft = "5"};
        fake_make(2, 12, 16);
        fake_rule.noise = 0;
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        CHECK(actual.count == tokens && actual.stats.tokens == tokens);
        CHECK(actual.stats.drafted == actual.stats.accepted); /* nothing was drafted in vain */
    }
}

TEST(zeroed_options_are_sensible)
{
    static outcome expected, zeroed, absent;
    tandem_generate_options options = {0};
    fake_make(2, 12, 16);
    expect_greedy(PROMPT_COUNT, TANDEM_TOKENS_DEFAULT, 12, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &zeroed));
    CHECK(same_ids(&expected, &zeroed));
    CHECK(run(0, 1, PROMPT_COUNT, NULL, &absent));
    CHECK(same_ids(&expected, &absent) && absent.stats.tokens == zeroed.stats.tokens);
}

TEST(a_trimmed_drafter_head_keeps_the_text)
{
    static outcome expected, actual;
    tandem_generate_options options = {.max_tokens = 100, .draft = "4"};
    fake_make(2, 24, 16);
    fake_rule.noise = 1;
    fake_trim(RT_DRAFTER, 3);
    expect_greedy(PROMPT_COUNT, 100, 24, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(same_ids(&expected, &actual));
    CHECK(actual.stats.accepted > 10);
}

TEST(padded_vocabularies_may_differ)
{
    static outcome expected, actual;
    tandem_generate_options options = {.max_tokens = 100, .draft = "4"};
    fake_make(2, 24, 16);
    fake_make_model(RT_DRAFTER, 32, 16); /* the drafter may not propose 24 .. 31 */
    expect_greedy(PROMPT_COUNT, 100, 24, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(same_ids(&expected, &actual));

    fake_make(2, 24, 16);
    fake_make_model(RT_DRAFTER, 16, 16); /* the drafter does not know 16 .. 23 */
    expect_greedy(PROMPT_COUNT, 100, 24, &expected);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
    CHECK(same_ids(&expected, &actual));
    for (double temperature = 0.5; temperature <= 2; temperature += 0.5) {
        options.temperature = temperature;
        CHECK(run(0, 1, PROMPT_COUNT, &options, &actual));
        CHECK(actual.count == 100);
    }
}

TEST(the_callback_may_cancel_and_generation_go_on)
{
    static outcome expected, first;
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    tandem_generate_options options = {.max_tokens = 100, .draft = "4"};
    fake_make(2, 24, 16);
    expect_greedy(PROMPT_COUNT, 100, 24, &expected);
    CHECK(fake_open(0, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.feed(session, prompt, PROMPT_COUNT) == TANDEM_OK);
    memset(&first, 0, sizeof first);
    first.cancel_after = 30;
    CHECK(tandem_runtime_api.generate(session, &options, gather, &first) == TANDEM_OK);
    CHECK(first.count >= 30 && first.count < 35);
    tandem_runtime_api.stats(session, &first.stats);
    CHECK(first.stats.stop == TANDEM_STOP_CANCELLED);
    /* The rest, with another draft length, in pieces of three. */
    first.cancel_after = 0;
    while (first.count < 97) {
        options.max_tokens = 3;
        options.draft = chain((uint32_t)first.count % 7);
        CHECK(tandem_runtime_api.generate(session, &options, gather, &first) == TANDEM_OK);
    }
    expected.count = first.count;
    CHECK(same_ids(&expected, &first) && fake_faults == 0);
    const int32_t *ids;
    CHECK(tandem_runtime_api.tokens(session, &ids) == PROMPT_COUNT + first.count);
    CHECK(memcmp(ids + PROMPT_COUNT, first.ids, first.count * sizeof *ids) == 0);
    tandem_runtime_api.close(model);
}

TEST(sessions_do_not_disturb_each_other)
{
    static outcome alone, left, right;
    tandem_generate_options options = {.max_tokens = 5, .draft = "3"};
    tandem_options open = {.sessions = 2, .threads = 1};
    tandem_model *model = NULL;
    tandem_session *first = NULL, *second = NULL, *third = NULL;
    fake_make(2, 24, 16);
    expect_greedy(PROMPT_COUNT, 50, 24, &alone);
    CHECK(tandem_runtime_api.open(&fake_artefact, &open, NULL, &model) == TANDEM_OK);
    CHECK(tandem_runtime_api.session_create(model, &first) == TANDEM_OK);
    CHECK(tandem_runtime_api.session_create(model, &second) == TANDEM_OK);
    CHECK(tandem_runtime_api.session_create(model, &third) == TANDEM_FULL && third == NULL);
    memset(&left, 0, sizeof left);
    memset(&right, 0, sizeof right);
    CHECK(tandem_runtime_api.feed(first, prompt, PROMPT_COUNT) == TANDEM_OK);
    CHECK(tandem_runtime_api.feed(second, prompt, PROMPT_COUNT) == TANDEM_OK);
    for (int i = 0; i < 10; i++) {
        CHECK(tandem_runtime_api.generate(first, &options, gather, &left) == TANDEM_OK);
        CHECK(tandem_runtime_api.generate(second, &options, gather, &right) == TANDEM_OK);
    }
    CHECK(same_ids(&alone, &left) && same_ids(&alone, &right) && fake_faults == 0);
    /* A seat that was given back starts empty. */
    tandem_runtime_api.session_destroy(first);
    CHECK(tandem_runtime_api.session_create(model, &third) == TANDEM_OK);
    CHECK(tandem_runtime_api.feed(third, prompt, PROMPT_COUNT) == TANDEM_OK);
    memset(&left, 0, sizeof left);
    options.max_tokens = 50;
    CHECK(tandem_runtime_api.generate(third, &options, gather, &left) == TANDEM_OK);
    CHECK(same_ids(&alone, &left) && fake_faults == 0);
    tandem_runtime_api.close(model);
}

TEST(bad_requests_are_refused_in_a_sentence)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    tandem_generate_options options = {.max_tokens = 5, .temperature = -1};
    int32_t many[33] = {0}, wrong = 24;
    fake_make(1, 24, 16);
    CHECK(fake_open(32, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.generate(session, NULL, NULL, NULL) == TANDEM_INVALID);
    CHECK(strstr(tandem_runtime_api.error(model), "nothing to continue") != NULL);
    CHECK(tandem_runtime_api.feed(session, &wrong, 1) == TANDEM_INVALID);
    CHECK(strstr(tandem_runtime_api.error(model), "24") != NULL);
    CHECK(tandem_runtime_api.feed(session, many, 33) == TANDEM_FULL);
    CHECK(strstr(tandem_runtime_api.error(model), "33 tokens") != NULL);
    CHECK(strstr(tandem_runtime_api.error(model), "32 slots") != NULL);
    CHECK(tandem_runtime_api.feed(session, many, 32) == TANDEM_OK);
    CHECK(tandem_runtime_api.generate(session, &options, NULL, NULL) == TANDEM_INVALID);
    options.temperature = NAN;
    CHECK(tandem_runtime_api.generate(session, &options, NULL, NULL) == TANDEM_INVALID);
    CHECK(tandem_runtime_api.feed_text(session, "a", 1) == TANDEM_INVALID);
    CHECK(strstr(tandem_runtime_api.error(model), "tokenizer") != NULL);
    tandem_runtime_api.close(model);
}

TEST(sampling_repeats_for_a_seed_and_differs_between_seeds)
{
    static outcome first, again, other;
    tandem_generate_options options = {.max_tokens = 80, .draft = "3", .temperature = 1, .seed = 5};
    fake_make(2, 24, 16);
    CHECK(run(0, 1, PROMPT_COUNT, &options, &first));
    CHECK(run(0, 3, PROMPT_COUNT, &options, &again));
    CHECK(same_ids(&first, &again));
    options.seed = 6;
    CHECK(run(0, 1, PROMPT_COUNT, &options, &other));
    CHECK(!same_ids(&first, &other));
}

TEST_MAIN()
