/* What a generated program writes: text on standard output, figures on standard error.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_OUTPUT_H
#define TANDEM_RUNTIME_OUTPUT_H

#include "runtime/command_line.h"

typedef struct rt_output {
    bool ids;    /* token ids instead of text */
    bool any;    /* something was written */
    bool broken; /* nothing more can be written */
    int error;   /* why, or 0 when only the reader is gone */
} rt_output;

/* False when nothing more can be written. */
bool rt_output_write(rt_output *output, const char *bytes, size_t count);
/* Ends a text: ids with a newline, other text only on a terminal. */
void rt_output_end(rt_output *output);
/* TANDEM_FAILED when something could not be written, but for want of a reader. */
tandem_status rt_output_check(const rt_output *output, tandem_error *error);

#define RT_ID_BYTES 16
/* An id as text, behind a blank unless it is the first; returns its length. */
size_t rt_print_id(int32_t id, bool first, char *text);

/* Says why a text ended early, and gives the figures that were asked for. */
void rt_report_session(const rt_command *command, const char *program, const rt_output *output,
                       const tandem_session *session);

#endif
