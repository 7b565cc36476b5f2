/* tandem verify: compiled code against the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <stdio.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    cli_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case ARGP_KEY_END:
        if (options->drafter != NULL)
            cli_usage_error(state,
                            "--drafter: one model at a time is verified; give it as --target");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_program_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    NULL,
    parse,
    NULL,
    "Compiles a model for this machine with a buffer for every value, runs chunks, single tokens, "
    "a "
    "tree and commits with one and two threads, and compares every value with the reference "
    "evaluator. Exit status 1 when they differ."
    "\vexamples:\n"
    "  tandem verify --target model.gguf\n"
    "  tandem verify --target target.xml --layers 2 --weights=q8 --cpu x86-64-v3\n",
    children,
    NULL,
    NULL};

static td_status verify(td_context *context, const cli_options *options)
{
    cli_program program;
    bool equal = false;
    TD_TRY(cli_prepare(context, options, &program));
    td_status status = cg_verify(context, &program.request, stdout, &equal);
    const bool exact = program.request.cpu.has_fma;
    cli_program_release(context, &program);
    if (status == TD_OK && equal)
        puts(exact ? "compiled code and evaluator agree in every bit"
                   : "compiled code agrees within the tolerance of a target without fused "
                     "multiply-add");
    if (status == TD_OK && !equal)
        status = td_fail(context, TD_INTERNAL, "%s: compiled code differs from the evaluator",
                         options->target);
    return status;
}

int cli_verify(int argc, char **argv)
{
    cli_options options;
    cli_options_init(&options);
    cli_parse(&argp, argc, argv, &options);
    td_context context;
    td_context_init(&context);
    context.verbosity = options.verbose;
    return cli_exit_status(&context, verify(&context, &options));
}
