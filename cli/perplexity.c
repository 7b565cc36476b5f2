/* tandem perplexity: how well a model predicts a text, with the reference evaluator, which computes
 * the same numbers as compiled code.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"
#include "cli/reference.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>

/* No token of a text is longer than this on average: what is cut off is not asked for. */
#define BYTES_PER_TOKEN 64

typedef struct perplexity_options {
    cli_options shared;
    const char *text;
    uint32_t tokens; /* 0: the whole text */
} perplexity_options;

enum { KEY_TEXT = 0x2000, KEY_TOKENS, KEY_TARGET, KEY_TOKENIZER };

static const struct argp_option options_table[] = {
    {"target", KEY_TARGET, "PATH", 0,
     "the model: OpenVINO IR (.xml), a Hugging Face directory, or GGUF", 0},
    {"tokenizer", KEY_TOKENIZER, "FILE", 0,
     "tokenizer.json, tokenizer.model or a GGUF file (default: what lies with the model)", 0},
    {"text", KEY_TEXT, "FILE", 0, "the text to predict", 0},
    {"tokens", KEY_TOKENS, "N", 0, "only the first N tokens of it (default: all)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    perplexity_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->shared;
        return 0;
    case KEY_TARGET:
        options->shared.target = argument;
        return 0;
    case KEY_TOKENIZER:
        options->shared.tokenizer = argument;
        return 0;
    case KEY_TEXT:
        options->text = argument;
        return 0;
    case KEY_TOKENS:
        options->tokens = (uint32_t)cli_parse_number(state, "--tokens", argument, UINT32_MAX);
        return 0;
    case ARGP_KEY_END:
        if (options->shared.target == NULL)
            cli_usage_error(state, "--target is missing");
        if (options->text == NULL)
            cli_usage_error(state, "--text is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_model_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    NULL,
    "Cuts a text into windows of the context's length (--context) and prints the mean of -ln p of "
    "its tokens, each given those before it in its window, and the perplexity, which is e to the "
    "power of that mean."
    "\vexamples:\n"
    "  tandem perplexity --target target.xml --text novel.txt --tokens 4096 \\\n"
    "      --context 1024 --weights=q8 --activations=q8\n",
    children,
    NULL,
    NULL};

static td_status measure(td_context *context, const perplexity_options *options,
                         const fe_model *model, const rt_tokenizer *tokenizer, const td_file *text,
                         cli_ids *ids)
{
    uint64_t length = text->size;
    if (options->tokens > 0 && length > (uint64_t)options->tokens * BYTES_PER_TOKEN)
        length = (uint64_t)options->tokens * BYTES_PER_TOKEN;
    TD_TRY(cli_encode(context, tokenizer, (const char *)text->data, (size_t)length,
                      RT_ENCODE_DEFAULTS, ids));
    if (options->tokens > 0 && ids->count > options->tokens)
        ids->count = options->tokens;
    if (ids->count < 2)
        return td_fail(context, TD_INVALID, "%s: the text has %zu tokens; at least 2 are needed",
                       options->text, ids->count);
    double nats = 0.0;
    size_t scored = 0;
    TD_TRY(cli_reference_score(context, model, ids->items, ids->count, model->context_length, &nats,
                               &scored));
    nats /= (double)scored;
    printf("%zu tokens predicted in windows of %u: %.5f nats per token, perplexity %.4f\n", scored,
           model->context_length, nats, exp(nats));
    return TD_OK;
}

static td_status perplexity(td_context *context, const perplexity_options *options)
{
    fe_model model;
    fe_tokenizer blob = {0};
    const rt_tokenizer *tokenizer;
    td_file text = {0};
    cli_ids ids = {0};
    TD_TRY(cli_import_model(context, &options->shared, options->shared.target, &model));
    td_status status = cli_read_tokenizer(context, &options->shared, &model, &blob, &tokenizer);
    if (status == TD_OK)
        status = td_file_map(context, options->text, &text);
    if (status == TD_OK) {
        status = measure(context, options, &model, tokenizer, &text, &ids);
        td_file_unmap(context, &text);
    }
    td_array_release(context, &ids);
    fe_tokenizer_release(context, &blob);
    ir_module_release(model.module);
    return status;
}

int cli_perplexity(int argc, char **argv)
{
    perplexity_options options = {0};
    cli_options_init(&options.shared);
    cli_parse(&argp, argc, argv, &options);
    td_context context;
    td_context_init(&context);
    context.verbosity = options.shared.verbose;
    return cli_exit_status(&context, perplexity(&context, &options));
}
