/* tandem calibrate: counts tokens of raw text, and of text that a drafter or a target writes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"
#include "cli/loaded.h"
#include "cli/texts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef TD_ARRAY(const char *) path_list;

/* Whose text is counted: rows of writer_names. */
typedef enum text_writer {
    BY_TARGET,
    BY_DRAFTER,
    BY_DRAFTED, /* of the target's text, what the drafter had guessed */
    WRITER_COUNT
} text_writer;

static const char *const writer_names[WRITER_COUNT] = {"target", "drafter", "drafted"};

typedef struct calibrate_options {
    cli_options shared;
    path_list texts, prompts, merged;
    const char *field, *output;
    text_writer by;
    uint32_t max_tokens, limit; /* limit 0: all prompts */
    double temperature;
    uint64_t seed;
    td_context *context; /* for the lists */
} calibrate_options;

enum {
    KEY_TEXT = 0x2000,
    KEY_PROMPTS,
    KEY_MERGE,
    KEY_BY,
    KEY_FIELD,
    KEY_LIMIT,
    KEY_MAX_TOKENS,
    KEY_TEMPERATURE,
    KEY_SEED
};

static const struct argp_option options_table[] = {
    {NULL, 0, NULL, 0, "What is counted (several add up), and how prompts are continued:", 0},
    {"text", KEY_TEXT, "FILE", 0, "raw text", 0},
    {"prompts", KEY_PROMPTS, "FILE", 0, "what a model writes after each prompt of the file", 0},
    {"merge", KEY_MERGE, "FILE", 0, "counts made before", 0},
    {"output", 'o', "FILE", 0, "where to write the counts (required)", 0},
    {"by", KEY_BY, "MODEL", 0,
     "who writes: target (default) or drafter. Beside a --drafter the target writes the same, and "
     "how often drafts were accepted is noted; drafted counts only the tokens that were, which is "
     "what a smaller head may lose",
     0},
    {"field", KEY_FIELD, "NAME", 0,
     "in files called *.jsonl: the string of each line's object that is the text, or the list of "
     "strings (default: prompt). Other files hold prompts with empty lines between them",
     0},
    {"limit", KEY_LIMIT, "N", 0, "only the first N prompts (default: all)", 0},
    {"max-tokens", KEY_MAX_TOKENS, "N", 0, "tokens written for each prompt (default 128)", 0},
    {"temperature", KEY_TEMPERATURE, "T", 0, "0: always the most probable token (default 1)", 0},
    {"seed", KEY_SEED, "S", 0, "of the draws (default 0)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

/* --- the command line --- */

static void add_path(struct argp_state *state, calibrate_options *options, path_list *list,
                     const char *path)
{
    if (!td_array_push(options->context, list, path))
        cli_usage_error(state, "%s: memory ran out", path);
}

static const char *model_that_writes(const calibrate_options *options)
{
    return options->by == BY_DRAFTER ? options->shared.drafter : options->shared.target;
}

static void check(struct argp_state *state, const calibrate_options *options)
{
    const char *writer = model_that_writes(options);
    if (options->output == NULL)
        cli_usage_error(state, "-o is missing");
    if (options->texts.count + options->prompts.count + options->merged.count == 0)
        cli_usage_error(state, "nothing to count: give --text, --prompts or --merge");
    if (options->prompts.count > 0 && writer == NULL)
        cli_usage_error(state, "--prompts: no model writes; give --%s",
                        options->by == BY_DRAFTER ? "drafter" : "target");
    if (options->by == BY_DRAFTED && options->shared.drafter == NULL)
        cli_usage_error(state, "--by drafted: no model drafts; give --drafter");
    if (options->texts.count > 0 && options->shared.tokenizer == NULL && writer == NULL)
        cli_usage_error(state, "--text: give --tokenizer, or a model that a tokenizer lies with");
}

static text_writer parse_writer(struct argp_state *state, const char *text)
{
    for (text_writer by = BY_TARGET; by < WRITER_COUNT; by++)
        if (strcmp(text, writer_names[by]) == 0)
            return by;
    cli_usage_error(state, "--by %s: expected target, drafter or drafted", text);
}

/* Takes one option's value. */
static error_t take(int key, char *value, struct argp_state *state, calibrate_options *options)
{
    switch (key) {
    case KEY_TEXT:
        add_path(state, options, &options->texts, value);
        return 0;
    case KEY_PROMPTS:
        add_path(state, options, &options->prompts, value);
        return 0;
    case KEY_MERGE:
        add_path(state, options, &options->merged, value);
        return 0;
    case KEY_BY:
        options->by = parse_writer(state, value);
        return 0;
    case KEY_FIELD:
        options->field = value;
        return 0;
    case KEY_LIMIT:
        options->limit = (uint32_t)cli_parse_count(state, "--limit", value, UINT32_MAX);
        return 0;
    case KEY_MAX_TOKENS:
        options->max_tokens = (uint32_t)cli_parse_count(state, "--max-tokens", value, 1 << 24);
        return 0;
    case KEY_TEMPERATURE:
        options->temperature = cli_parse_real(state, "--temperature", value, 100);
        return 0;
    case KEY_SEED:
        options->seed = cli_parse_number(state, "--seed", value, UINT64_MAX);
        return 0;
    case 'o':
        options->output = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    calibrate_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->shared;
        state->child_inputs[1] = &options->shared;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage_error(state,
                        "unexpected argument %s: files are given by --text, --prompts and "
                        "--merge",
                        argument);
    case ARGP_KEY_END:
        check(state, options);
        return 0;
    default:
        return take(key, argument, state, options);
    }
}

static const struct argp_child children[] = {
    {&cli_pair_argp, 0, NULL, 0}, {&cli_model_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    NULL,
    "Counts how often tokens occur, for --vocab-trim: in raw text, or in what a model writes."
    "\vexamples:\n"
    "  tandem calibrate --target target.xml --drafter drafter.xml \\\n"
    "      --tokenizer tokenizer.json --prompts prompts.txt -o counts.json\n"
    "  tandem calibrate --tokenizer tokenizer.json --text novel.txt -o raw.json\n"
    "  tandem calibrate --merge monday.json --merge tuesday.json -o week.json\n",
    children,
    NULL,
    NULL};

/* --- counting --- */

/* Counts of one kind of text, while they grow. */
typedef struct tally {
    td_context *context;
    const calibrate_options *options;
    const fe_tokenizer *tokenizer;
    uint64_t *numbers; /* [vocabulary] */
    uint64_t drafted, accepted;
    const rt_tokenizer *opened; /* raw text */
    cli_loaded loaded;          /* generated text */
    uint32_t prompts, too_long;
} tally;

static void count_ids(tally *self, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= 0 && (uint32_t)ids[i] < self->tokenizer->vocabulary)
            self->numbers[ids[i]]++;
}

static td_status count_raw_text(void *pointer, const char *text, size_t length)
{
    tally *self = pointer;
    cli_ids ids = {0};
    const td_status status = cli_encode(self->context, self->opened, text, length, 0, &ids);
    if (status == TD_OK)
        count_ids(self, ids.items, ids.count);
    td_array_release(self->context, &ids);
    return status;
}

/* One round: the last token is the target's own, those before it were drafted. */
static bool count_piece(void *pointer, const tandem_piece *piece)
{
    const tally *self = pointer;
    const bool skip_last = self->options->by == BY_DRAFTED && piece->count > 0;
    count_ids(pointer, piece->ids, piece->count - skip_last);
    return true;
}

/* What the model writes after one prompt. */
static td_status count_continuation(tally *self, tandem_session *session, const char *prompt,
                                    size_t length)
{
    const tandem_api *api = self->loaded.api;
    const bool pair = self->options->by != BY_DRAFTER && self->options->shared.drafter != NULL;
    const tandem_generate_options choices = {.max_tokens = self->options->max_tokens,
                                             /* one token a round, so that every draft is judged */
                                             .draft = pair ? "1" : "0",
                                             .temperature = self->options->temperature,
                                             .seed = self->options->seed};
    const tandem_status fed = api->feed_text(session, prompt, length);
    tandem_stats stats;
    if (fed == TANDEM_FULL) {
        self->too_long++;
        return TD_OK;
    }
    if (fed != TANDEM_OK || api->generate(session, &choices, count_piece, self) != TANDEM_OK)
        return td_fail(self->context, TD_INVALID, "the compiled program: %s",
                       api->error(self->loaded.model));
    api->stats(session, &stats);
    self->drafted += stats.drafted;
    self->accepted += stats.accepted;
    self->prompts++;
    return TD_OK;
}

static td_status count_prompt(void *pointer, const char *prompt, size_t length)
{
    tally *self = pointer;
    const tandem_api *api = self->loaded.api;
    tandem_session *session;
    if (self->options->limit > 0 && self->prompts + self->too_long >= self->options->limit)
        return TD_OK;
    if (api->session_create(self->loaded.model, &session) != TANDEM_OK)
        return td_fail(self->context, TD_INVALID, "the compiled program: %s",
                       api->error(self->loaded.model));
    const td_status status = count_continuation(self, session, prompt, length);
    api->session_destroy(session);
    return status;
}

/* The length of the longest text, which the program must have room to tokenize. */
static td_status measure_text(void *pointer, const char *text, size_t length)
{
    uint64_t *longest = pointer;
    (void)text;
    if (length > *longest)
        *longest = length;
    return TD_OK;
}

static td_status load_writer(tally *self)
{
    const calibrate_options *options = self->options;
    cli_options models = options->shared;
    tandem_options start = {.threads = 1};
    for (size_t i = 0; i < options->prompts.count; i++)
        TD_TRY(cli_each_text(self->context, options->prompts.items[i], CLI_PARAGRAPHS,
                             options->field, measure_text, &start.text_bytes));
    if (options->by == BY_DRAFTER) {
        models.target = models.drafter;
        models.drafter = NULL;
    }
    return cli_load(self->context, &models, &start, &self->loaded);
}

static td_status count_raw(tally *self)
{
    const path_list *texts = &self->options->texts;
    self->opened = rt_tokenizer_open(self->tokenizer->blob, self->tokenizer->bytes, NULL);
    for (size_t i = 0; i < texts->count; i++)
        TD_TRY(cli_each_text(self->context, texts->items[i], CLI_PIECES, self->options->field,
                             count_raw_text, self));
    return TD_OK;
}

static td_status count_generated(tally *self)
{
    const path_list *prompts = &self->options->prompts;
    td_status status = load_writer(self);
    for (size_t i = 0; i < prompts->count && status == TD_OK; i++)
        status = cli_each_text(self->context, prompts->items[i], CLI_PARAGRAPHS,
                               self->options->field, count_prompt, self);
    cli_unload(&self->loaded);
    if (status == TD_OK && self->too_long > 0)
        td_progress(self->context, 0, "%" PRIu32 " of %" PRIu32 " prompts did not fit the context",
                    self->too_long, self->prompts + self->too_long);
    return status;
}

/* Counts with one of the two functions above and adds the result. */
static td_status add_kind(td_context *context, const calibrate_options *options,
                          const fe_tokenizer *tokenizer, const char *kind,
                          td_status (*count)(tally *self), fe_counts *counts)
{
    fe_counts one = {0};
    tally self = {.context = context, .options = options, .tokenizer = tokenizer};
    self.numbers = td_allocate(context, tokenizer->vocabulary * sizeof *self.numbers);
    if (self.numbers == NULL)
        return td_fail_memory(context);
    td_status status = count(&self);
    if (status == TD_OK)
        status = fe_counts_make(context, tokenizer, kind, self.numbers, &one);
    one.drafted = self.drafted;
    one.accepted = self.accepted;
    if (status == TD_OK)
        status = fe_counts_merge(context, &one, counts);
    fe_counts_release(context, &one);
    td_release(context, self.numbers);
    return status;
}

/* --- the verb --- */

/* The tokenizer that was given, else the one that lies with the model that writes. */
static td_status read_tokenizer(td_context *context, const calibrate_options *options,
                                fe_tokenizer *tokenizer)
{
    fe_model model = {0};
    const rt_tokenizer *opened;
    const fe_options listing = {.constants = options->shared.constants, .listing = true};
    if (options->shared.tokenizer == NULL)
        TD_TRY(fe_import(context, model_that_writes(options), &listing, &model));
    const td_status status =
        cli_read_tokenizer(context, &options->shared, &model, tokenizer, &opened);
    ir_module_release(model.module);
    return status;
}

static td_status count_texts(td_context *context, const calibrate_options *options,
                             fe_counts *counts)
{
    fe_tokenizer tokenizer = {0};
    if (options->texts.count + options->prompts.count == 0)
        return TD_OK;
    td_status status = read_tokenizer(context, options, &tokenizer);
    if (status == TD_OK && options->texts.count > 0)
        status = add_kind(context, options, &tokenizer, "raw", count_raw, counts);
    if (status == TD_OK && options->prompts.count > 0)
        status = add_kind(context, options, &tokenizer, writer_names[options->by], count_generated,
                          counts);
    fe_tokenizer_release(context, &tokenizer);
    return status;
}

static td_status add_merged(td_context *context, const calibrate_options *options,
                            fe_counts *counts)
{
    for (size_t i = 0; i < options->merged.count; i++) {
        fe_counts one;
        TD_TRY(fe_counts_read(context, options->merged.items[i], &one));
        const td_status status = fe_counts_merge(context, &one, counts);
        fe_counts_release(context, &one);
        if (status != TD_OK)
            return td_fail_within(context, status, "--merge %s", options->merged.items[i]);
    }
    return TD_OK;
}

/* Counts may be added to a file of counts; texts and models are kept. */
static td_status keep_inputs(td_context *context, const calibrate_options *options)
{
    const cli_options *shared = &options->shared;
    const char *models[] = {shared->target, shared->drafter, shared->tokenizer, shared->constants};
    for (size_t i = 0; i < TD_COUNT_OF(models); i++)
        TD_TRY(cli_keep_input(context, models[i], options->output));
    for (size_t i = 0; i < options->texts.count; i++)
        TD_TRY(cli_keep_input(context, options->texts.items[i], options->output));
    for (size_t i = 0; i < options->prompts.count; i++)
        TD_TRY(cli_keep_input(context, options->prompts.items[i], options->output));
    return TD_OK;
}

static td_status calibrate(td_context *context, const calibrate_options *options)
{
    fe_counts counts = {0};
    TD_TRY(keep_inputs(context, options));
    td_status status = add_merged(context, options, &counts);
    if (status == TD_OK)
        status = count_texts(context, options, &counts);
    if (status == TD_OK)
        status = fe_counts_write(context, &counts, options->output);
    if (status == TD_OK)
        printf("%" PRIu64 " tokens counted, %zu of %" PRIu32 " ids occur\n", counts.total,
               counts.items.count, counts.vocabulary);
    fe_counts_release(context, &counts);
    return status;
}

int cli_calibrate(int argc, char **argv)
{
    td_context context;
    td_context_init(&context);
    calibrate_options options = {
        .field = "prompt", .max_tokens = 128, .temperature = 1, .context = &context};
    cli_options_init(&options.shared);
    cli_parse(&argp, argc, argv, &options);
    context.verbosity = options.shared.verbose;
    const int exit_status = cli_exit_status(&context, calibrate(&context, &options));
    td_array_release(&context, &options.texts);
    td_array_release(&context, &options.prompts);
    td_array_release(&context, &options.merged);
    return exit_status;
}
