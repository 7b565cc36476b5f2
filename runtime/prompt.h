/* Where a generated program's prompts come from.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_PROMPT_H
#define TANDEM_RUNTIME_PROMPT_H

#include "runtime/internal.h"

#include <signal.h>

/* Part of a text; not NUL-terminated. */
typedef struct rt_span {
    const char *bytes;
    size_t count;
} rt_span;

/* A file of prompts. Never is more of it in memory than a prompt may have bytes, however long the
 * file or a prompt in it is. All zero: none is open. */
typedef struct rt_prompt_file {
    const char *path;                         /* NULL: standard input */
    const volatile sig_atomic_t *interrupted; /* ends the file once it is set */
    rt_text_limit limit;                      /* of each prompt */
    uint64_t longest;                         /* bytes that a prompt can have, at most */
    int file;
    bool ended;
    char *bytes; /* what was read: */
    size_t used; /* handed out already */
    size_t count, room;
} rt_prompt_file;

/* Opens a file, or standard input where `path` is NULL. */
tandem_status rt_prompt_open(const char *path, const rt_text_limit *limit,
                             const volatile sig_atomic_t *interrupted, tandem_error *error,
                             rt_prompt_file *file);
/* Closes what was opened, if anything, and frees what was read. */
void rt_prompt_close(rt_prompt_file *file);

/* TANDEM_FULL, with a sentence, for a prompt that is longer than it may be; `where` is its file or
 * option. */
tandem_status rt_prompt_check(const rt_text_limit *limit, const char *where, uint64_t bytes,
                              tandem_error *error);

/* All of it, less one newline at its end. The span is the file's, until the next call. TANDEM_FULL
 * when it is too long. */
tandem_status rt_prompt_read(rt_prompt_file *file, tandem_error *error, rt_span *prompt);

/* The next of several prompts with empty lines between them, without newlines around it; 0 bytes
 * when there is none. The span is the file's, until the next call. TANDEM_FULL for one that is too
 * long, which is passed over. */
tandem_status rt_prompt_next(rt_prompt_file *file, tandem_error *error, rt_span *prompt);

/* Appends a prompt to an empty session. TANDEM_REFUSED when it has no tokens. */
tandem_status rt_feed_prompt(tandem_session *session, rt_span prompt);

/* Appends the ids of a list such as "1,2,3" to a session. */
tandem_status rt_feed_ids(tandem_session *session, const char *list, tandem_error *error);

#endif
