/* Where a generated program's prompts come from.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_PROMPT_H
#define TANDEM_RUNTIME_PROMPT_H

#include "runtime/tandem.h"

#include <signal.h>

/* Bytes on the heap, not NUL-terminated; free(bytes) releases them. */
typedef struct rt_prompt {
    char *bytes;
    size_t count;
} rt_prompt;

/* Part of a text. */
typedef struct rt_span {
    const char *bytes;
    size_t count;
} rt_span;

/* Reads a file, or standard input where `path` is NULL, less one newline at its end. Ends early,
 * with a failure, once *interrupted is set. *prompt is to be freed in any case. */
tandem_status rt_prompt_read(const char *path, const volatile sig_atomic_t *interrupted,
                             tandem_error *error, rt_prompt *prompt);

/* The next of several prompts with empty lines between them, without newlines around it. `rest` is
 * what follows. False when there is none. */
bool rt_prompt_next(rt_span *rest, rt_span *prompt);

/* Appends a prompt to an empty session. TANDEM_REFUSED when it has no tokens. */
tandem_status rt_feed_prompt(tandem_session *session, rt_span prompt);

/* Appends the ids of a list such as "1,2,3" to a session. */
tandem_status rt_feed_ids(tandem_session *session, const char *list, tandem_error *error);

#endif
