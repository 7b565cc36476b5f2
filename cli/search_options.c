/* Options of the verbs that search for an order.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/search_options.h"

#include <errno.h>
#include <stdlib.h>

enum { KEY_TIME = 0x2400, KEY_WORK, KEY_SEED, KEY_UNREDUCED };

static const struct argp_option options_table[] = {
    {"time-limit", KEY_TIME, "SECONDS", 0, "most time for searching (default 10; 0: --work-limit)",
     0},
    {"work-limit", KEY_WORK, "STEPS", 0, "most steps of searching: equal results on any machine",
     0},
    {"seed", KEY_SEED, "N", 0, "of random choices (default 0: ties fall as in the file)", 0},
    {"unreduced", KEY_UNREDUCED, NULL, 0, "let beams search the graph as it is", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

double cli_parse_seconds(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    const double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(seconds >= 0 && seconds <= 1e6))
        cli_usage_error(state, "--time-limit %s: expected seconds from 0 to 1000000", text);
    return seconds;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    sched_options *search = state->input;
    switch (key) {
    case KEY_TIME:
        search->time_limit = cli_parse_seconds(state, argument);
        return 0;
    case KEY_WORK:
        search->work_limit = cli_parse_count(state, "--work-limit", argument, UINT64_MAX);
        return 0;
    case KEY_SEED:
        search->seed = cli_parse_number(state, "--seed", argument, UINT64_MAX);
        return 0;
    case KEY_UNREDUCED:
        search->unreduced = true;
        return 0;
    case ARGP_KEY_END:
        if (search->work_limit > 0)
            search->time_limit = 0;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_search_argp = {options_table, parse, NULL, NULL, NULL, NULL, NULL};
