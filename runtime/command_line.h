/* The command line of a generated program.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_COMMAND_LINE_H
#define TANDEM_RUNTIME_COMMAND_LINE_H

#include "runtime/tandem.h"

typedef enum rt_action { RT_GENERATE, RT_CHECK, RT_VERSION, RT_HELP } rt_action;
typedef enum rt_report { RT_REPORT_NONE, RT_REPORT_TEXT, RT_REPORT_JSON } rt_report;

#define RT_MOST_STOPS 16

typedef struct rt_command {
    rt_action action;
    const char *prompt, *prompt_file; /* NULL: not given */
    const char *prompt_ids;           /* "1,2,3" */
    const char *prompts;              /* file of several, with empty lines between them */
    bool echo, ids;
    rt_report report;
    const char *save, *restore; /* files of sessions; NULL: none */
    const char *costs;          /* file of costs, replayed or written; NULL: none */
    const char *stops[RT_MOST_STOPS];
    tandem_options open;
    tandem_generate_options generate;
} rt_command;

/* Reads the arguments; false with a sentence when they cannot be understood. `arguments` may be
 * permuted. The command points to them, and to itself. */
bool rt_read_command_line(int count, char **arguments, rt_command *command, tandem_error *error);

/* Bytes: digits, optionally a fraction, and a unit: none, K, M, G, T or KiB .. (powers of 1024), KB
 * .. (powers of 1000). */
bool rt_parse_size(const char *text, uint64_t *bytes);

/* The text of --help, with one %s for the program's name, twice more in its examples. */
extern const char rt_help[];

#endif
