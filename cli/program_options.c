/* What verbs that make a program have in common: options of models and of the device, a target, and
 * no arguments.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        state->child_inputs[1] = options;
        state->child_inputs[2] = options;
        state->child_inputs[3] = options;
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

static const struct argp_child children[] = {{&cli_pair_argp, 0, NULL, 0},
                                             {&cli_model_argp, 0, NULL, 0},
                                             {&cli_trim_argp, 0, NULL, 0},
                                             {&cli_device_argp, 0, NULL, 0},
                                             {NULL, 0, NULL, 0}};

const struct argp cli_program_argp = {NULL, parse, NULL, NULL, children, NULL, NULL};
