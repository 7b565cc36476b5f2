/* Options of the verbs that search.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/search_options.h"

enum { KEY_SEED = 0x2500, KEY_UNREDUCED };

static const struct argp_option options_table[] = {
    {CLI_TIME_LIMIT, 0},
    {CLI_WORK_LIMIT, 0},
    {"seed", KEY_SEED, "N", 0, "of random choices (default 0: ties fall as in the file)", 0},
    {"unreduced", KEY_UNREDUCED, NULL, 0, "let beams search the graph as it is", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

error_t cli_parse_limit(int key, const char *argument, struct argp_state *state, double *time_limit,
                        uint64_t *work_limit)
{
    switch (key) {
    case CLI_KEY_TIME_LIMIT:
        *time_limit = cli_parse_real(state, "--time-limit", argument, 1e6);
        return 0;
    case CLI_KEY_WORK_LIMIT:
        *work_limit = cli_parse_count(state, "--work-limit", argument, UINT64_MAX);
        return 0;
    case ARGP_KEY_END:
        if (*work_limit > 0)
            *time_limit = 0;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    sched_options *search = state->input;
    switch (key) {
    case KEY_SEED:
        search->seed = cli_parse_number(state, "--seed", argument, UINT64_MAX);
        return 0;
    case KEY_UNREDUCED:
        search->unreduced = true;
        return 0;
    default:
        return cli_parse_limit(key, argument, state, &search->time_limit, &search->work_limit);
    }
}

const struct argp cli_search_argp = {options_table, parse, NULL, NULL, NULL, NULL, NULL};
