/* tandem run: compile into a temporary folder and run, or run the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"
#include "cli/reference.h"

#include "base/file.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct run_options {
    cli_options shared;
    bool reference, ids, ignore_eos;
    const char *prompt, *prompt_ids;
    uint32_t max_tokens;
    char **arguments; /* for the program, after "--" */
    int argument_count;
} run_options;

enum {
    KEY_REFERENCE = 0x2000,
    KEY_PROMPT,
    KEY_PROMPT_IDS,
    KEY_MAX_TOKENS,
    KEY_IDS,
    KEY_IGNORE_EOS
};

static const struct argp_option options_table[] = {
    {"reference", KEY_REFERENCE, NULL, 0,
     "decode greedily with the reference evaluator instead of compiled code (slow)", 0},
    {"prompt", KEY_PROMPT, "TEXT", 0, "with --reference: the text to continue", 0},
    {"prompt-ids", KEY_PROMPT_IDS, "N,N,...", 0, "with --reference: token ids to continue", 0},
    {"max-tokens", KEY_MAX_TOKENS, "N", 0, "with --reference: how many tokens (default 100)", 0},
    {"ids", KEY_IDS, NULL, 0, "with --reference: print token ids", 0},
    {"ignore-eos", KEY_IGNORE_EOS, NULL, 0, "with --reference: go on after the end of text", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    run_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->shared;
        return 0;
    case KEY_REFERENCE:
        options->reference = true;
        return 0;
    case KEY_PROMPT:
        options->prompt = argument;
        return 0;
    case KEY_PROMPT_IDS:
        options->prompt_ids = argument;
        return 0;
    case KEY_MAX_TOKENS:
        options->max_tokens =
            (uint32_t)cli_parse_number(state, "--max-tokens", argument, UINT32_MAX);
        return 0;
    case KEY_IDS:
        options->ids = true;
        return 0;
    case KEY_IGNORE_EOS:
        options->ignore_eos = true;
        return 0;
    case ARGP_KEY_ARG: /* the first one; the others are its neighbours */
        options->arguments = state->argv + state->next - 1;
        options->argument_count = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_program_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    "[-- PROGRAM-OPTION...]",
    "Compiles a program into a temporary folder and runs it with the options after \"--\"; its "
    "exit status is that of the program."
    "\vexamples:\n"
    "  tandem run --target model.gguf -- --prompt 'Once' --max-tokens 50\n"
    "  tandem run --target model.gguf --reference --prompt 'Once' --max-tokens 20\n",
    children,
    NULL,
    NULL};

/* --- compiled --- */

static td_status spawn_program(td_context *context, const char *path, const run_options *options,
                               int *exit_status)
{
    char **arguments =
        td_allocate(context, ((size_t)options->argument_count + 2) * sizeof *arguments);
    char *program = td_allocate(context, strlen(path) + 1);
    if (arguments == NULL || program == NULL) {
        td_release(context, arguments);
        td_release(context, program);
        return td_fail_memory(context);
    }
    strcpy(program, path);
    arguments[0] = program;
    for (int i = 0; i < options->argument_count; i++)
        arguments[i + 1] = options->arguments[i];
    pid_t child;
    int state = 0;
    int error = posix_spawn(&child, path, NULL, NULL, arguments, environ);
    if (error == 0)
        while (waitpid(child, &state, 0) < 0 && errno == EINTR)
            ;
    td_release(context, arguments);
    td_release(context, program);
    if (error != 0)
        return td_fail(context, TD_IO, "%s: cannot be run: %s", path, strerror(error));
    *exit_status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    return TD_OK;
}

/* Before anything is imported: compiling takes a while. */
static td_status check_machine(td_context *context, const cli_options *options)
{
    const cg_target *target;
    cg_cpu cpu;
    TD_TRY(cg_find_target(context, options->triple, options->cpu, &target, &cpu));
    if (cg_runs_here(target, &cpu))
        return TD_OK;
    return td_fail(context, TD_INVALID,
                   "a program for %s, %s does not run on this machine; `tandem compile` makes it",
                   target->triple, cpu.name);
}

static td_status compile_and_spawn(td_context *context, run_options *options, const char *folder,
                                   td_arena *arena, int *exit_status)
{
    const char *path = td_arena_format(arena, "%s/model", folder);
    cli_program program;
    cg_plan plan;
    if (path == NULL)
        return td_fail_memory(context);
    options->shared.output = path;
    TD_TRY(cli_prepare(context, &options->shared, &program));
    td_status status = cg_compile(context, &program.request, &plan);
    cli_program_release(context, &program);
    if (status == TD_OK)
        status = spawn_program(context, path, options, exit_status);
    unlink(path);
    return status;
}

static td_status run_compiled(td_context *context, run_options *options, int *exit_status)
{
    td_arena arena;
    char *folder;
    TD_TRY(check_machine(context, &options->shared));
    td_arena_init(&arena, context);
    td_status status = td_make_folder(&arena, &folder);
    if (status == TD_OK) {
        status = compile_and_spawn(context, options, folder, &arena, exit_status);
        rmdir(folder);
    }
    td_arena_release(&arena);
    return status;
}

/* --- reference --- */

typedef struct printer {
    const rt_tokenizer *tokenizer; /* NULL: print ids */
    rt_decoder decoder;
    char *text;
    bool any;
} printer;

static bool print_id(void *self, int32_t id)
{
    printer *p = self;
    if (p->tokenizer == NULL) {
        printf("%s%d", p->any ? " " : "", id);
        p->any = true;
    } else {
        const size_t bytes = rt_decoder_push(&p->decoder, p->tokenizer, id, false, p->text);
        fwrite(p->text, 1, bytes, stdout);
    }
    fflush(stdout);
    return true;
}

static td_status parse_ids(td_context *context, const char *text, uint32_t vocabulary, cli_ids *ids)
{
    for (const char *at = text; *at != '\0';) {
        char *end;
        const long id = strtol(at, &end, 10);
        if (end == at || (*end != ',' && *end != '\0') || id < 0 || id >= (long)vocabulary)
            return td_fail(context, TD_USAGE,
                           "--prompt-ids %s: expected ids below %u with commas between", text,
                           vocabulary);
        if (!td_array_push(context, ids, (int32_t)id))
            return td_fail_memory(context);
        at = *end == ',' ? end + 1 : end;
    }
    return TD_OK;
}

/* `tokenizer` is NULL when neither prompt nor output is text. */
static td_status run_with_model(td_context *context, const run_options *options,
                                const fe_model *model, const rt_tokenizer *tokenizer, cli_ids *ids)
{
    if (options->prompt_ids != NULL)
        TD_TRY(parse_ids(context, options->prompt_ids, model->vocabulary, ids));
    else
        TD_TRY(cli_encode(context, tokenizer, options->prompt, strlen(options->prompt),
                          RT_ENCODE_SPECIAL | RT_ENCODE_DEFAULTS, ids));
    printer p = {.tokenizer = options->ids ? NULL : tokenizer};
    if (p.tokenizer != NULL) {
        p.text = td_allocate(context, rt_decoder_most_bytes(tokenizer));
        if (p.text == NULL)
            return td_fail_memory(context);
        rt_decoder_continue(&p.decoder);
    }
    td_status status =
        cli_reference_generate(context, model, ids->items, ids->count, options->max_tokens,
                               options->ignore_eos, print_id, &p);
    if (p.tokenizer != NULL)
        fwrite(p.text, 1, rt_decoder_finish(&p.decoder, p.text), stdout);
    if (isatty(STDOUT_FILENO))
        putchar('\n');
    td_release(context, p.text);
    return status;
}

static td_status run_reference(td_context *context, const run_options *options)
{
    fe_model model;
    fe_tokenizer blob = {0};
    const rt_tokenizer *tokenizer = NULL;
    cli_ids ids = {0};
    if (options->prompt == NULL && options->prompt_ids == NULL)
        return td_fail(context, TD_USAGE, "--reference needs --prompt or --prompt-ids");
    TD_TRY(cli_import_model(context, &options->shared, options->shared.target, &model));
    td_status status = TD_OK;
    if (options->prompt_ids == NULL || !options->ids)
        status = cli_read_tokenizer(context, &options->shared, &model, &blob, &tokenizer);
    if (status == TD_OK)
        status = run_with_model(context, options, &model, tokenizer, &ids);
    td_array_release(context, &ids);
    fe_tokenizer_release(context, &blob);
    ir_module_release(model.module);
    return status;
}

int cli_run(int argc, char **argv)
{
    run_options options = {.max_tokens = 100};
    cli_options_init(&options.shared);
    cli_parse(&argp, argc, argv, &options);
    td_context context;
    td_context_init(&context);
    context.verbosity = options.shared.verbose;
    int exit_status = 0;
    if (!options.reference && (options.prompt != NULL || options.prompt_ids != NULL ||
                               options.ids || options.ignore_eos)) {
        td_fail(&context, TD_USAGE,
                "--prompt, --prompt-ids, --ids and --ignore-eos before \"--\" go with --reference; "
                "options of the program stand after \"--\"");
        return cli_exit_status(&context, TD_USAGE);
    }
    td_status status = options.reference ? run_reference(&context, &options)
                                         : run_compiled(&context, &options, &exit_status);
    return status == TD_OK ? exit_status : cli_exit_status(&context, status);
}
