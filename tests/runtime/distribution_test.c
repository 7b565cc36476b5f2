/* The law of whole sequences: speculative sampling through the complete runtime against the exact
 * probabilities of every sequence, and that a wrong one is noticed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/chi_square.h"
#include "tests/runtime/fake.h"
#include "tests/test.h"

#define VOCABULARY 4u
#define LENGTH     4u
#define SEQUENCES  256u /* VOCABULARY to the power of LENGTH */
#define SAMPLES    10000u

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

/* Samples sequences, each in a session and with a seed of its own, and returns how far their counts
 * are from the exact law. */
static double deviation(double temperature, const char *draft, uint64_t seed)
{
    static double law[SEQUENCES];
    static uint32_t seen[SEQUENCES];
    memset(seen, 0, sizeof seen);
    exact_law(temperature, law);
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    if (fake_open(32, 1, &model, &session) != TANDEM_OK)
        return INFINITY;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        tandem_runtime_api.session_destroy(session);
        sequence text = {0, 0};
        tandem_generate_options options = {
            .max_tokens = LENGTH, .draft = draft, .temperature = temperature, .seed = seed + i};
        if (tandem_runtime_api.session_create(model, &session) != TANDEM_OK ||
            tandem_runtime_api.feed(session, prompt, 3) != TANDEM_OK ||
            tandem_runtime_api.generate(session, &options, gather, &text) != TANDEM_OK ||
            text.count != LENGTH)
            return INFINITY;
        seen[text.code]++;
    }
    tandem_runtime_api.close(model);
    return chi_square(seen, law, SEQUENCES);
}

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
    static const char *const drafts[] = {"0", "1", "3", "rsd-c:2,2", "rsd-c:4", "rsd-s:3x2"};
    for (uint32_t d = 0; d < sizeof drafts / sizeof *drafts; d++)
        for (size_t n = 0; n < 3; n++) {
            set_up(noises[n]);
            double result = deviation(1, drafts[d], 1000 * (d + 1));
            CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "draft %s noise %g: %g", drafts[d], noises[n],
                          result);
            CHECK(fake_faults == 0);
        }
}

TEST(temperature_is_that_of_the_target)
{
    static const double temperatures[] = {0.3, 0.7, 1.5};
    for (size_t t = 0; t < 3; t++) {
        set_up(3);
        double result = deviation(temperatures[t], "rsd-c:2,1,1", 77);
        CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "temperature %g: %g", temperatures[t], result);
    }
}

TEST(a_trimmed_drafter_keeps_the_distribution)
{
    set_up(3);
    fake_trim(RT_DRAFTER, 3); /* ids 1 and 2 only */
    double result = deviation(1, "rsd-s:2x3", 5);
    CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "%g", result);
}

TEST(a_smaller_drafter_vocabulary_keeps_the_distribution)
{
    set_up(3);
    fake_make_model(RT_DRAFTER, 3, 16);
    double result = deviation(1, "3", 6);
    CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "%g", result);
}

TEST(wrong_draft_probabilities_are_noticed)
{
    set_up(3);
    fake_rule.lie = true;
    double result = deviation(1, "3", 9);
    CHECK_MESSAGE(result > 2 * CHI_SQUARE_LIMIT, "%g", result);
}

TEST_MAIN()
