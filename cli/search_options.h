/* Options of the verbs that search: limits, and what else searches for an order take.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_SEARCH_OPTIONS_H
#define TANDEM_CLI_SEARCH_OPTIONS_H

#include "cli/cli.h"

#define CLI_USUAL_SECONDS 10 /* of searching, where no limit is given */

/* --time-limit SECONDS and --work-limit STEPS: the fields of their rows in a verb's table, and what
 * its parser does with every key that it does not know. A work limit takes the place of the time
 * limit. */
enum { CLI_KEY_TIME_LIMIT = 0x2400, CLI_KEY_WORK_LIMIT };
#define CLI_TIME_LIMIT                                                                             \
    "time-limit", CLI_KEY_TIME_LIMIT, "SECONDS", 0,                                                \
        "most time for searching (default 10; 0: --work-limit)"
#define CLI_WORK_LIMIT                                                                             \
    "work-limit", CLI_KEY_WORK_LIMIT, "STEPS", 0,                                                  \
        "most steps of searching: equal results on any machine"
error_t cli_parse_limit(int key, const char *argument, struct argp_state *state, double *time_limit,
                        uint64_t *work_limit);

/* Limits, --seed and --unreduced. Input: sched_options, set to {.time_limit = CLI_USUAL_SECONDS}
 * before. */
extern const struct argp cli_search_argp;

#endif
