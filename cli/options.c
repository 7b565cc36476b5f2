/* Options that several verbs share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "runtime/command_line.h"
#include "runtime/evict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_DRAFT 16

void cli_options_init(cli_options *options)
{
    *options = (cli_options){.weights = "keep",
                             .activations = "f32",
                             .kv = "f16",
                             .eviction = "none",
                             .orderer = "auto",
                             .emit = CG_EXECUTABLE,
                             .name = "model",
                             .max_draft = DEFAULT_MAX_DRAFT};
}

static uint64_t parse_whole(struct argp_state *state, const char *option, const char *text,
                            uint64_t least, uint64_t largest)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < least ||
        number > largest)
        cli_usage_error(state, "%s %s: expected a whole number from %" PRIu64 " to %" PRIu64,
                        option, text, least, largest);
    return number;
}

uint64_t cli_parse_number(struct argp_state *state, const char *option, const char *text,
                          uint64_t largest)
{
    return parse_whole(state, option, text, 0, largest);
}

uint64_t cli_parse_count(struct argp_state *state, const char *option, const char *text,
                         uint64_t largest)
{
    return parse_whole(state, option, text, 1, largest);
}

double cli_parse_real(struct argp_state *state, const char *option, const char *text,
                      double largest)
{
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(number >= 0 && number <= largest))
        cli_usage_error(state, "%s %s: expected a number from 0 to %.0f", option, text, largest);
    return number;
}

/* As the program's own --memory-budget. */
static uint64_t parse_size(struct argp_state *state, const char *option, const char *text)
{
    uint64_t bytes;
    if (!rt_parse_size(text, &bytes))
        cli_usage_error(state,
                        "%s %s: expected a size such as 800M or 1.5G (K, M, G, T are powers of "
                        "1024; KB, MB, GB, TB of 1000)",
                        option, text);
    return bytes;
}

/* One of the words, a list that NULL ends; it is returned as it stands there. */
static const char *parse_word(struct argp_state *state, const char *option,
                              const char *const *words, const char *text)
{
    char known[64] = "";
    size_t length = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return words[i];
        const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        length +=
            (size_t)snprintf(known + length, sizeof known - length, "%s%s", between, words[i]);
    }
    cli_usage_error(state, "%s=%s: expected %s", option, text, known);
}

static const char *const weight_kinds[] = {"keep", "f32", "f16", "q8", "q4", "random:SEED", NULL};
static const char *const activation_kinds[] = {"f32", "q8", NULL};
static const char *const cache_kinds[] = {"f32", "f16", "q8", NULL};

/* random:SEED stands beside another kind. */
static void parse_weights(struct argp_state *state, const char *text, cli_options *options)
{
    static const char random_prefix[] = "random:";
    const size_t length = sizeof random_prefix - 1;
    if (strncmp(text, random_prefix, length) != 0) {
        options->weights = parse_word(state, "--weights", weight_kinds, text);
        return;
    }
    options->random_weights = true;
    options->random_seed = cli_parse_number(state, "--weights=random:", text + length, UINT64_MAX);
}

static const char *parse_eviction(struct argp_state *state, const char *text)
{
    rt_eviction eviction;
    tandem_error error;
    if (rt_evict_find(text, &error, &eviction) != TANDEM_OK)
        cli_usage_error(state, "--evict=%s: %s", text, error.text);
    return text;
}

enum {
    KEY_TARGET = 0x1000,
    KEY_DRAFTER,
    KEY_TOKENIZER,
    KEY_WEIGHTS,
    KEY_ACTIVATIONS,
    KEY_KV,
    KEY_EVICT,
    KEY_CONSTANTS,
    KEY_PRINT_AFTER,
    KEY_CONTEXT,
    KEY_LAYERS,
    KEY_MAX_DRAFT,
    KEY_ORDERER,
    KEY_TRIPLE,
    KEY_CPU,
    KEY_BUDGET,
    KEY_SLOTS,
    KEY_THREADS,
    KEY_SESSIONS,
};

static const struct argp_option pair_options[] = {
    {NULL, 0, NULL, 0, "Models:", 2},
    {"target", KEY_TARGET, "PATH", 0,
     "the model whose text is wanted: OpenVINO IR (.xml), a Hugging Face directory, or GGUF", 2},
    {"drafter", KEY_DRAFTER, "PATH", 0, "the model that guesses ahead (default: none)", 2},
    {"tokenizer", KEY_TOKENIZER, "FILE", 0,
     "tokenizer.json, tokenizer.model or a GGUF file (default: what lies with the target)", 2},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_pair(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case KEY_TARGET:
        options->target = argument;
        return 0;
    case KEY_DRAFTER:
        options->drafter = argument;
        return 0;
    case KEY_TOKENIZER:
        options->tokenizer = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_pair_argp = {pair_options, parse_pair, NULL, NULL, NULL, NULL, NULL};

static const struct argp_option model_options[] = {
    {NULL, 0, NULL, 0, "How models are read:", 3},
    {"weights", KEY_WEIGHTS, "KIND", 0,
     "keep (default), f32, f16, q8 or q4 (8 or 4 bits, groups of 32); random:SEED fills weights "
     "whose file is missing, and may be given beside another",
     3},
    {"activations", KEY_ACTIVATIONS, "KIND", 0,
     "what quantised weights are multiplied with: f32 (default) or q8 (8 bits, blocks of 32)", 3},
    {"kv", KEY_KV, "KIND", 0,
     "what the KV caches hold: f32, f16 (default) or q8 (8 bits, a scale per token and head)", 3},
    {"evict", KEY_EVICT, "POLICY", 0,
     "what full caches drop: none (default), recent, h2o, tova, snapkv or keydiff, the last four "
     "also as in tova+caote and tova+fastcaote; the program may choose another at start",
     3},
    {"constants", KEY_CONSTANTS, "FILE", 0,
     "JSON with the small constants of an OpenVINO IR whose .bin is missing: offset to values", 3},
    {"context", KEY_CONTEXT, "N", 0, "tokens of context, 1 or more (default: what the model says)",
     3},
    {"layers", KEY_LAYERS, "N", 0, "keep only the first N layers, 1 or more (default: all)", 3},
    {"print-after", KEY_PRINT_AFTER, "PASS", 0,
     "print the graphs to standard error after a pass, or after \"all\"", 3},
    {"verbose", 'v', NULL, 0, "report progress", 3},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char *parse_pass(struct argp_state *state, const char *text)
{
    char known[1024] = "";
    size_t length = 0;
    if (strcmp(text, "all") == 0)
        return text;
    for (size_t i = 0; ir_pass_names[i] != NULL; i++) {
        if (strcmp(text, ir_pass_names[i]) == 0)
            return text;
        length += (size_t)snprintf(known + length, sizeof known - length, "%s, ", ir_pass_names[i]);
    }
    cli_usage_error(state, "--print-after=%s: expected %sor all", text, known);
}

static error_t parse_model(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case KEY_WEIGHTS:
        parse_weights(state, argument, options);
        return 0;
    case KEY_ACTIVATIONS:
        options->activations = parse_word(state, "--activations", activation_kinds, argument);
        return 0;
    case KEY_KV:
        options->kv = parse_word(state, "--kv", cache_kinds, argument);
        return 0;
    case KEY_EVICT:
        options->eviction = parse_eviction(state, argument);
        return 0;
    case KEY_CONSTANTS:
        options->constants = argument;
        return 0;
    case KEY_PRINT_AFTER:
        options->print_after = parse_pass(state, argument);
        return 0;
    case KEY_CONTEXT:
        options->context_length = (uint32_t)cli_parse_count(state, "--context", argument, 1 << 24);
        return 0;
    case KEY_LAYERS:
        options->layers = (uint32_t)cli_parse_count(state, "--layers", argument, 1 << 16);
        return 0;
    case 'v':
        options->verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_model_argp = {model_options, parse_model, NULL, NULL, NULL, NULL, NULL};

static const struct argp_option device_options[] = {
    {NULL, 0, NULL, 0, "Program:", 5},
    {"memory-budget", KEY_BUDGET, "SIZE", 0,
     "all that may be resident, such as 800M (default: no limit)", 5},
    {"slots", KEY_SLOTS, "N", 0,
     "tokens that the caches hold, in steps of 16 (default: as many as fit)", 5},
    {"threads", KEY_THREADS, "N", 0,
     "plan for this many threads (default 1; each further one takes 132 KiB)", 5},
    {"sessions", KEY_SESSIONS, "N", 0, "plan for this many conversations at once (default 1)", 5},
    {"max-draft", KEY_MAX_DRAFT, "N", 0,
     "most tokens of a draft that the program may be asked for (default 16)", 5},
    {"orderer", KEY_ORDERER, "NAME", 0,
     "auto (default), or another row of `tandem schedule --compare`", 5},
    {"triple", KEY_TRIPLE, "TRIPLE", 0, "machine to compile for (default: this one)", 5},
    {"cpu", KEY_CPU, "CPU", 0, "processor; see `tandem targets` (default: native)", 5},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_device(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case KEY_BUDGET:
        options->memory_budget = parse_size(state, "--memory-budget", argument);
        return 0;
    case KEY_SLOTS:
        options->slots = (uint32_t)cli_parse_count(state, "--slots", argument, 1 << 24);
        return 0;
    case KEY_THREADS:
        options->threads =
            (uint32_t)cli_parse_count(state, "--threads", argument, TANDEM_MAX_THREADS);
        return 0;
    case KEY_SESSIONS:
        options->sessions =
            (uint32_t)cli_parse_count(state, "--sessions", argument, TANDEM_MAX_SESSIONS);
        return 0;
    case KEY_MAX_DRAFT:
        options->max_draft = (uint32_t)cli_parse_number(state, "--max-draft", argument, 31);
        return 0;
    case KEY_ORDERER:
        options->orderer = argument;
        return 0;
    case KEY_TRIPLE:
        options->triple = argument;
        return 0;
    case KEY_CPU:
        options->cpu = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_device_argp = {device_options, parse_device, NULL, NULL, NULL, NULL, NULL};

/* --- all of them, for verbs that make a program --- */

static const struct argp_child program_children[] = {{&cli_pair_argp, 0, NULL, 0},
                                                     {&cli_model_argp, 0, NULL, 0},
                                                     {&cli_trim_argp, 0, NULL, 0},
                                                     {&cli_device_argp, 0, NULL, 0},
                                                     {NULL, 0, NULL, 0}};

static error_t parse_program(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        for (size_t i = 0; program_children[i].argp != NULL; i++)
            state->child_inputs[i] = options;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage_error(state, "unexpected argument %s: models are given by --target and --drafter",
                        argument);
        return 0;
    case ARGP_KEY_END:
        if (options->target == NULL)
            cli_usage_error(state, "--target is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_program_argp = {NULL, parse_program, NULL, NULL, program_children,
                                      NULL, NULL};
