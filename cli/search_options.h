/* Options of the verbs that search for an order: --time-limit, --work-limit, --seed,
 * --unreduced.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_SEARCH_OPTIONS_H
#define TANDEM_CLI_SEARCH_OPTIONS_H

#include "cli/cli.h"

#define CLI_USUAL_SECONDS 10

/* Input: sched_options, set to {.time_limit = CLI_USUAL_SECONDS} before. A work limit takes the
 * place of the time limit. */
extern const struct argp cli_search_argp;

/* The value of --time-limit; refused through cli_usage_error. */
double cli_parse_seconds(struct argp_state *state, const char *text);

#endif
