/* The law of whole sequences: speculative sampling through the complete runtime against the exact
 * probabilities of every sequence, and that a wrong one is noticed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/fake.h"
#include "tests/test.h"

#define VOCABULARY 4u
#define LENGTH     4u
#define SEQUENCES  256u /* VOCABULARY to the power of LENGTH */
#define SAMPLES    20000u

static const int32_t prompt[] = {1, 3, 0};

typedef struct sequence {
    uint32_t code, count;
} sequence;

static bool gather(void *user, const tandem_piece *piece)
{
    sequence *text = user;
    for (size_t i = 0; i < piece->count; i++, text->count++)
        text->code = text->code * VOCABULARY + (uint32_t)piece->ids[i];
    return true;
}

/* The probability of each sequence under plain sampling, by the definition. */
static void exact_law(double temperature, double law[SEQUENCES])
{
    for (uint32_t code = 0; code < SEQUENCES; code++) {
        int32_t history[3 + LENGTH] = {prompt[0], prompt[1], prompt[2]};
        law[code] = 1;
        for (uint32_t i = 0; i < LENGTH; i++) {
            uint32_t token = code >> 2 * (LENGTH - 1 - i) & 3;
            double total = 0, own = 0;
            for (uint32_t id = 0; id < VOCABULARY; id++) {
                double weight =
                    exp(fake_logit(RT_TARGET, history, 3 + i, (int32_t)id) / temperature);
                total += weight;
                own = id == token ? weight : own;
            }
            law[code] *= own / total;
            history[3 + i] = (int32_t)token;
        }
    }
}

/* Samples sequences, each in a session and with a seed of its own, and returns the chi-square
 * statistic against the exact law as a standard normal quantity (Wilson and Hilferty); sequences
 * expected fewer than 10 times are taken together. */
static double deviation(double temperature, uint32_t draft, uint64_t seed)
{
    static double law[SEQUENCES];
    static uint32_t seen[SEQUENCES];
    memset(seen, 0, sizeof seen);
    exact_law(temperature, law);
    char text[16];
    snprintf(text, sizeof text, "%u", draft);
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    if (fake_open(16, 1, &model, &session) != TANDEM_OK)
        return INFINITY;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        tandem_runtime_api.session_destroy(session);
        sequence seen_text = {0, 0};
        tandem_generate_options options = {
            .max_tokens = LENGTH, .draft = text, .temperature = temperature, .seed = seed + i};
        if (tandem_runtime_api.session_create(model, &session) != TANDEM_OK ||
            tandem_runtime_api.feed(session, prompt, 3) != TANDEM_OK ||
            tandem_runtime_api.generate(session, &options, gather, &seen_text) != TANDEM_OK ||
            seen_text.count != LENGTH)
            return INFINITY;
        seen[seen_text.code]++;
    }
    tandem_runtime_api.close(model);
    double statistic = 0, rest = 0;
    uint32_t rest_seen = 0, cells = 0;
    for (uint32_t code = 0; code < SEQUENCES; code++) {
        double expected = law[code] * SAMPLES;
        if (expected < 10) {
            rest += expected;
            rest_seen += seen[code];
            continue;
        }
        statistic += (seen[code] - expected) * (seen[code] - expected) / expected;
        cells++;
    }
    if (rest > 0) {
        statistic += (rest_seen - rest) * (rest_seen - rest) / rest;
        cells++;
    }
    double freedom = cells - 1, spread = 2 / (9 * freedom);
    return (cbrt(statistic / freedom) - (1 - spread)) / sqrt(spread);
}

#define LIMIT 3.72 /* standard normal quantile at 1 - 1e-4 */

static void set_up(double noise)
{
    fake_make(2, VOCABULARY, 16);
    fake_rule.spread = 3;
    fake_rule.noise = noise;
    fake_rule.order = 2;
}

TEST(speculative_sampling_has_the_targets_distribution)
{
    static const double noises[] = {0, 2, 8};
    for (uint32_t draft = 0; draft <= 4; draft++)
        for (size_t n = 0; n < 3; n++) {
            set_up(noises[n]);
            double result = deviation(1, draft, 1000 * (draft + 1));
            CHECK_MESSAGE(result < LIMIT, "draft %u noise %g: %g", draft, noises[n], result);
            CHECK(fake_faults == 0);
        }
}

TEST(temperature_is_that_of_the_target)
{
    static const double temperatures[] = {0.3, 0.7, 1.5};
    for (size_t t = 0; t < 3; t++) {
        set_up(3);
        double result = deviation(temperatures[t], 3, 77);
        CHECK_MESSAGE(result < LIMIT, "temperature %g: %g", temperatures[t], result);
    }
}

TEST(a_trimmed_drafter_keeps_the_distribution)
{
    set_up(3);
    fake_trim(RT_DRAFTER, 3); /* ids 1 and 2 only */
    double result = deviation(1, 3, 5);
    CHECK_MESSAGE(result < LIMIT, "%g", result);
}

TEST(a_smaller_drafter_vocabulary_keeps_the_distribution)
{
    set_up(3);
    fake_make_model(RT_DRAFTER, 3, 16);
    double result = deviation(1, 3, 6);
    CHECK_MESSAGE(result < LIMIT, "%g", result);
}

TEST(wrong_draft_probabilities_are_noticed)
{
    set_up(3);
    fake_rule.lie = true;
    double result = deviation(1, 3, 9);
    CHECK_MESSAGE(result > 2 * LIMIT, "%g", result);
}

TEST_MAIN()
