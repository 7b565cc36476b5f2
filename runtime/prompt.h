/* Where a generated program's prompts come from.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_PROMPT_H
#define TANDEM_RUNTIME_PROMPT_H

#include "runtime/tandem.h"

#include <signal.h>

/* Part of a text; not NUL-terminated. */
typedef struct rt_span {
    const char *bytes;
    size_t count;
} rt_span;

/* A file of prompts, of which no more is in memory than the prompt at hand and some 4 KB. All zero:
 * none is open. */
typedef struct rt_prompt_file {
    const char *path;                         /* NULL: standard input */
    const volatile sig_atomic_t *interrupted; /* ends reading once it is set */
    int file;
    bool ended;
    char *bytes; /* what was read: */
    size_t used; /* handed out already */
    size_t count, room;
} rt_prompt_file;

/* Opens a file, or standard input where `path` is NULL. */
tandem_status rt_prompt_open(const char *path, const volatile sig_atomic_t *interrupted,
                             tandem_error *error, rt_prompt_file *file);
void rt_prompt_close(rt_prompt_file *file);

/* All of it, less one newline at its end. The span is the file's, until the next call. */
tandem_status rt_prompt_read(rt_prompt_file *file, tandem_error *error, rt_span *prompt);

/* The next of several prompts with empty lines between them, without newlines around it; 0 bytes
 * when there is none. The span is the file's, until the next call. */
tandem_status rt_prompt_next(rt_prompt_file *file, tandem_error *error, rt_span *prompt);

/* Appends a prompt to an empty session. TANDEM_REFUSED when it has no tokens. */
tandem_status rt_feed_prompt(tandem_session *session, rt_span prompt);

/* Appends the ids of a list such as "1,2,3" to a session. */
tandem_status rt_feed_ids(tandem_session *session, const char *list, tandem_error *error);

#endif
