/* tandem plan: the memory that a program would need.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

static const struct argp_child children[] = {{&cli_program_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    NULL,
    NULL,
    NULL,
    "Prints what a program would need: resident bytes by part, address space, slots, and the "
    "smallest budget that works. Weights need not be there: random:0 stands for missing ones."
    "\vexample:\n"
    "  tandem plan --target target.xml --drafter drafter.xml --memory-budget 64M\n",
    children,
    NULL,
    NULL};

static td_status print_plan(td_context *context, const cli_options *options)
{
    cli_program program;
    cg_plan plan;
    TD_TRY(cli_prepare(context, options, &program));
    td_status status = cg_make_plan(context, &program.request, &plan);
    if (status == TD_OK)
        cli_print_plan(&program, &plan);
    cli_program_release(context, &program);
    return status;
}

int cli_plan(int argc, char **argv)
{
    cli_options options;
    cli_options_init(&options);
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    /* Only sizes count here, so a model whose .bin is missing can be planned. */
    options.random_weights = true;
    td_context context;
    td_context_init(&context);
    context.verbosity = options.verbose;
    return cli_exit_status(&context, print_plan(&context, &options));
}
