/* How a verb ends that fails: in one sentence, with exit status 1, or 2 when the command line cannot
 * be understood.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_exit_status(const td_context *context, td_status status)
{
    if (status == TD_OK)
        return 0;
    fprintf(stderr, "tandem: %s\n", context->message);
    return status == TD_USAGE ? 2 : 1;
}

void cli_usage_error(const struct argp_state *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", state->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(argp_err_exit_status);
}

void cli_take_argument(const struct argp_state *state, const char *what, const char *argument,
                       const char **taken)
{
    if (*taken != NULL)
        cli_usage_error(state, "one %s at a time: %s is one too many", what, argument);
    *taken = argument;
}

/* Whether help is asked for: argp then prints it and ends the program. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "--usage") == 0 ||
            strcmp(argv[i], "-?") == 0)
            return true;
    return false;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    /* Without what argp says about options that have a short and a long name. */
    setenv("ARGP_HELP_FMT", "no-dup-args-note", 0);
    /* argp's own complaints come with a second line. */
    const unsigned flags = wants_help(argc, argv) ? 0 : ARGP_NO_ERRS;
    int next = 0;
    if (argp_parse(argp, argc, argv, flags, &next, input) == 0)
        return;
    const char *at = next > 1 && next <= argc ? argv[next - 1] : argv[argc - 1];
    fprintf(stderr, "%s: %s is no option here, fits several, or lacks a value; --help lists them\n",
            argv[0], at);
    exit(argp_err_exit_status);
}
