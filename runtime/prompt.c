/* See prompt.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/prompt.h"

#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BYTES (UINT64_C(1) << 28)

/* --- files --- */

/* False with errno. */
static bool read_all(int file, const volatile sig_atomic_t *interrupted, rt_prompt *result)
{
    size_t room = 0;
    for (;;) {
        if (result->count == room) {
            room = room == 0 ? 4096 : 2 * room;
            char *larger = room > MOST_BYTES ? NULL : realloc(result->bytes, room);
            if (larger == NULL) {
                errno = EFBIG;
                return false;
            }
            result->bytes = larger;
        }
        ssize_t count = read(file, result->bytes + result->count, room - result->count);
        if (count == 0)
            return true;
        if (count < 0 && (errno != EINTR || *interrupted))
            return false;
        result->count += count > 0 ? (size_t)count : 0;
    }
}

tandem_status rt_prompt_read(const char *path, const volatile sig_atomic_t *interrupted,
                             tandem_error *error, rt_prompt *prompt)
{
    *prompt = (rt_prompt){0};
    const int file = path == NULL ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (path == NULL && isatty(file))
        fputs("reading the prompt from the terminal; it ends with Control-D\n", stderr);
    const bool fine = file >= 0 && read_all(file, interrupted, prompt);
    const int failure = errno;
    if (path != NULL && file >= 0)
        close(file);
    if (!fine)
        return rt_fail(error, TANDEM_FAILED, "%s: cannot read the prompt: %s",
                       path == NULL ? "standard input" : path, strerror(failure));
    if (prompt->count > 0 && prompt->bytes[prompt->count - 1] == '\n')
        prompt->count--;
    return TANDEM_OK;
}

/* --- parts of a text --- */

static void skip(rt_span *span, size_t bytes)
{
    span->bytes += bytes;
    span->count -= bytes;
}

bool rt_prompt_next(rt_span *rest, rt_span *prompt)
{
    while (rest->count > 0 && *rest->bytes == '\n')
        skip(rest, 1);
    *prompt = *rest;
    const char *end = memmem(rest->bytes, rest->count, "\n\n", 2);
    if (end != NULL)
        prompt->count = (size_t)(end - rest->bytes);
    skip(rest, prompt->count);
    if (prompt->count > 0 && prompt->bytes[prompt->count - 1] == '\n') /* the file's last one */
        prompt->count--;
    return prompt->count > 0;
}

tandem_status rt_feed_prompt(tandem_session *session, rt_span prompt)
{
    tandem_status status = rt_feed_text(session, prompt.bytes, prompt.count);
    if (status == TANDEM_OK && session->length == 0)
        return rt_fail(&session->model->error, TANDEM_REFUSED,
                       "there is nothing to continue: the prompt has no tokens");
    return status;
}

tandem_status rt_feed_ids(tandem_session *session, const char *list, tandem_error *error)
{
    for (const char *next = list; *next != '\0';) {
        char *end;
        errno = 0;
        long id = strtol(next, &end, 10);
        bool separated = *end == '\0' || ((*end == ',' || *end == ' ') && end[1] != '\0');
        if (end == next || errno != 0 || id < 0 || id > INT32_MAX || !separated)
            return rt_fail(error, TANDEM_INVALID,
                           "--prompt-ids: \"%s\" cannot be understood: token ids separated by "
                           "commas are accepted",
                           next);
        int32_t number = (int32_t)id;
        tandem_status status = rt_feed(session, &number, 1);
        if (status != TANDEM_OK)
            return status;
        next = *end == '\0' ? end : end + 1;
    }
    return TANDEM_OK;
}
