/* Where the time of a round goes:
 *
 *     budget TEXT PROMPTS TOKENS TEMPERATURE DRAFT WEIGHTS
 *
 * Linked with a compiled pair (an object, named "pair") and the runtime, whose functions are
 * wrapped by the linker (--wrap=rt_forward ...), so that what is measured is the code that ships.
 * A function's time is counted without that of the wrapped functions that it calls. Prompts are as
 * in driver.c. One line per part, tab separated: name, microseconds per round, microseconds per
 * token, calls per round. The first prompt warms up and is not counted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/accept.h"
#include "runtime/internal.h"
#include "tests/bench/speculation/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const tandem_artefact *tandem_pair_query(uint32_t max_abi);

/* A row of the table. */
typedef enum part {
    PART_REST,
    PART_TARGET,
    PART_DRAFTER,
    PART_CATCH_UP,
    PART_DRAFTED,
    PART_GROWN,
    PART_VERIFIED,
    PART_COMMIT_TARGET,
    PART_COMMIT_DRAFTER,
    PART_CHOICE,
    PART_COSTS,
    PART_CLOCK,
    PART_TEXT,
    PARTS
} part;

static const char *const part_names[PARTS] = {
    "rest (loops, tree, statistics)",
    "target pass",
    "drafter passes that draft",
    "drafter passes that bring it up to date",
    "drafter's distributions",
    "drawing children",
    "verification: target's distributions, acceptance, draw",
    "commit, target",
    "commit, drafter",
    "choosing the draft",
    "table of costs",
    "clock",
    "text",
};

/* The wrapped program runs on one thread; a measuring tool may have globals. */
static struct {
    uint64_t ticks[PARTS], calls[PARTS];
    part current;
    uint64_t since;
    bool drafting; /* the last pass was the drafter's */
} watch;

static uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

/* From here on time belongs to `next`; returns what it belonged to. */
static part enter(part next)
{
    const uint64_t now = ticks_now();
    const part before = watch.current;
    watch.ticks[before] += now - watch.since;
    watch.since = now;
    watch.current = next;
    watch.calls[next]++;
    return before;
}

static void leave(part before)
{
    const uint64_t now = ticks_now();
    watch.ticks[watch.current] += now - watch.since;
    watch.since = now;
    watch.current = before;
}

/* FUNCTION(row, type, name, (parameters), (arguments)): one whose time is counted under a row. */
#define FUNCTION(row, type, name, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        const part before = enter(row);                                                            \
        type result = __real_##name arguments;                                                     \
        leave(before);                                                                             \
        return result;                                                                             \
    }

/* The same of one that returns nothing. */
#define PROCEDURE(row, name, parameters, arguments)                                                \
    void __real_##name parameters;                                                                 \
    void __wrap_##name parameters;                                                                 \
    void __wrap_##name parameters                                                                  \
    {                                                                                              \
        const part before = enter(row);                                                            \
        __real_##name arguments;                                                                   \
        leave(before);                                                                             \
    }

static part part_of_pass(unsigned which)
{
    watch.drafting = which == RT_DRAFTER;
    return which == RT_TARGET ? PART_TARGET : PART_DRAFTER;
}

PROCEDURE(part_of_pass(which), rt_forward,
          (tandem_session * session, unsigned which, const rt_pass *pass), (session, which, pass))
PROCEDURE(which == RT_TARGET ? PART_COMMIT_TARGET : PART_COMMIT_DRAFTER, rt_commit,
          (tandem_session * session, unsigned which, const uint32_t *path, uint32_t count),
          (session, which, path, count))
PROCEDURE(PART_CATCH_UP, rt_catch_up, (tandem_session * session, unsigned which, uint32_t count),
          (session, which, count))
FUNCTION(PART_CHOICE, rt_copy, rt_copy_find, (const int32_t *ids, uint32_t length), (ids, length))
FUNCTION(watch.drafting ? PART_DRAFTED : PART_VERIFIED, rt_weights, rt_distribution,
         (const rt_warp *warp, const rt_row *logits, uint32_t limit, float *weights),
         (warp, logits, limit, weights))
FUNCTION(watch.drafting ? PART_DRAFTED : PART_VERIFIED, rt_two_largest, rt_find_largest,
         (const float *values, uint32_t count), (values, count))
PROCEDURE(PART_GROWN, rt_grow_each, (const rt_growth *growth, const uint8_t *children),
          (growth, children))
FUNCTION(PART_VERIFIED, uint32_t, rt_settle,
         (const rt_tree *tree, uint32_t node, const rt_dice *dice, rt_site *site, int32_t *token),
         (tree, node, dice, site, token))
FUNCTION(PART_VERIFIED, uint32_t, rt_settle_greedy,
         (const rt_tree *tree, uint32_t node, int32_t choice), (tree, node, choice))
FUNCTION(PART_CHOICE, rt_choose_source, rt_choose_begin,
         (rt_chooser * chooser, const rt_choose_round *round), (chooser, round))
FUNCTION(PART_CHOICE, bool, rt_choose_deeper, (rt_chooser * chooser, const rt_tree *tree),
         (chooser, tree))
FUNCTION(PART_CHOICE, uint8_t, rt_choose_children,
         (rt_chooser * chooser, const rt_tree *tree, uint32_t node, double confidence),
         (chooser, tree, node, confidence))
PROCEDURE(PART_CHOICE, rt_choose_verified,
          (rt_chooser * chooser, const rt_tree *tree, uint32_t node, uint32_t kept),
          (chooser, tree, node, kept))
PROCEDURE(PART_CHOICE, rt_choose_end,
          (rt_chooser * chooser, const rt_tree *tree, uint32_t tokens, double seconds),
          (chooser, tree, tokens, seconds))
PROCEDURE(PART_COSTS, rt_costs_note,
          (rt_costs * costs, rt_cost_kind kind, uint32_t size, double seconds),
          (costs, kind, size, seconds))
FUNCTION(PART_CLOCK, double, rt_seconds, (void), ())
FUNCTION(PART_TEXT, size_t, rt_decoder_push,
         (rt_decoder * decoder, const rt_tokenizer *tokenizer, int32_t id, bool special,
          char *text),
         (decoder, tokenizer, id, special, text))

/* The time that counts begins when the first tokens are handed out, and the first round ends. */
static bool take_piece(void *user, const tandem_piece *piece)
{
    uint64_t *tokens = user;
    if (*tokens == 0) {
        memset(&watch, 0, sizeof watch);
        watch.since = ticks_now();
        *tokens = 1;
    } else {
        *tokens += piece->count;
    }
    return true;
}

/* Sums over the prompts. */
typedef struct budget {
    double ticks[PARTS], calls[PARTS];
    double tokens, rounds;
} budget;

static void count_prompt(tandem_model *model, const char *prompt,
                         const tandem_generate_options *options, budget *sum)
{
    const tandem_api *api = &tandem_runtime_api;
    tandem_session *session;
    tandem_stats stats;
    uint64_t tokens = 0;
    if (api->session_create(model, &session) != TANDEM_OK ||
        api->feed_text(session, prompt, PROMPT_BYTES) != TANDEM_OK ||
        api->generate(session, options, take_piece, &tokens) != TANDEM_OK)
        fail(api->error(model), "prompt");
    leave(PART_REST);
    api->stats(session, &stats);
    api->session_destroy(session);
    for (unsigned i = 0; i < PARTS; i++) {
        sum->ticks[i] += (double)watch.ticks[i];
        sum->calls[i] += (double)watch.calls[i];
    }
    sum->tokens += (double)(tokens - 1);
    sum->rounds += (double)(stats.rounds - 1);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Ticks of ticks_now() per microsecond. */
static double measure_ticks(void)
{
    const double start = seconds_now();
    const uint64_t ticks = ticks_now();
    while (seconds_now() < start + 0.02) {
    }
    return (double)(ticks_now() - ticks) / ((seconds_now() - start) * 1e6);
}

static void print_row(const char *name, double ticks, double calls, const budget *sum, double unit)
{
    printf("%s\t%.2f\t%.2f\t%.2f\n", name, ticks / unit / sum->rounds, ticks / unit / sum->tokens,
           calls / sum->rounds);
}

int main(int count, char **arguments)
{
    if (count != 7)
        fail("usage: budget TEXT PROMPTS TOKENS TEMPERATURE DRAFT WEIGHTS", "arguments");
    const prompt_text text = read_prompts(arguments[1], arguments[2]);
    tandem_generate_options options = {.max_tokens = (uint32_t)atoi(arguments[3]),
                                       .temperature = atof(arguments[4]),
                                       .draft = arguments[5],
                                       .ignore_end = true};
    const tandem_options choices = {.threads = 1, .payload = arguments[6]};
    tandem_error error;
    tandem_model *model;
    if (tandem_runtime_api.open(tandem_pair_query(TANDEM_ABI_VERSION), &choices, &error, &model) !=
        TANDEM_OK)
        fail(error.text, arguments[6]);
    budget sum = {0}, ignored = {0};
    for (unsigned number = 0; number < text.prompts; number++) {
        options.seed = number;
        count_prompt(model, prompt_at(&text, number), &options, number == 0 ? &ignored : &sum);
    }
    const double unit = measure_ticks();
    double all = 0;
    for (unsigned i = 0; i < PARTS; i++)
        all += sum.ticks[i];
    for (unsigned i = 1; i <= PARTS; i++)
        if (sum.calls[i % PARTS] > 0 || i == PARTS)
            print_row(part_names[i % PARTS], sum.ticks[i % PARTS], sum.calls[i % PARTS], &sum,
                      unit);
    print_row("all", all, sum.rounds, &sum, unit);
    tandem_runtime_api.close(model);
    free(text.text);
    return 0;
}
