/* tandem compile: models to a program.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { KEY_EMIT = 0x2000, KEY_NAME };

static const struct argp_option options_table[] = {
    {NULL, 0, NULL, 0, "Output:", 6},
    {"output", 'o', "FILE", 0, "where to write (required)", 6},
    {"emit", KEY_EMIT, "KIND", 0,
     "exe (default), shared (a library), object, bitcode or llvm-ir; all but exe get a C header "
     "beside them, and the last three their weights in FILE.weights",
     6},
    {"name", KEY_NAME, "NAME", 0, "name of the artefact, a C identifier (default: model)", 6},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct {
    const char *name;
    cg_emit emit;
} emits[] = {
    {"exe", CG_EXECUTABLE},  {"shared", CG_SHARED},   {"object", CG_OBJECT},
    {"bitcode", CG_BITCODE}, {"llvm-ir", CG_LLVM_IR},
};

static bool is_identifier(const char *name)
{
    if (name[0] == '\0' || (name[0] >= '0' && name[0] <= '9') || strlen(name) > 64)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
           strlen(name);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case KEY_NAME:
        if (!is_identifier(argument))
            cli_usage_error(state, "--name %s: expected a C identifier of at most 64 characters",
                            argument);
        options->name = argument;
        return 0;
    case KEY_EMIT:
        for (size_t i = 0; i < TD_COUNT_OF(emits); i++)
            if (strcmp(argument, emits[i].name) == 0) {
                options->emit = emits[i].emit;
                return 0;
            }
        cli_usage_error(state, "--emit=%s: expected exe, shared, object, bitcode or llvm-ir",
                        argument);
        return 0;
    case ARGP_KEY_END:
        if (options->output == NULL)
            cli_usage_error(state, "-o is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_program_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    NULL,
    "Compiles a target, and a drafter, into one program."
    "\vexamples:\n"
    "  tandem compile --target target.xml --drafter drafter.xml \\\n"
    "      --tokenizer tokenizer.json --memory-budget 800M -o model\n"
    "  tandem compile --target model.gguf --triple aarch64-linux-gnu -o model-arm\n"
    "  tandem compile --target folder --weights=q8 --emit=shared \\\n"
    "      --name poet -o libpoet.so\n",
    children,
    NULL,
    NULL};

static td_status compile(td_context *context, const cli_options *options)
{
    cli_program program;
    cg_plan plan;
    TD_TRY(cli_prepare(context, options, &program));
    td_status status = cg_compile(context, &program.request, &plan);
    if (status == TD_OK && options->verbose)
        cli_print_plan(&program, &plan);
    cli_program_release(context, &program);
    return status;
}

int cli_compile(int argc, char **argv)
{
    cli_options options;
    cli_options_init(&options);
    cli_parse(&argp, argc, argv, &options);
    td_context context;
    td_context_init(&context);
    context.verbosity = options.verbose;
    return cli_exit_status(&context, compile(&context, &options));
}
