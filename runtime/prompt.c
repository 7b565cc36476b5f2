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

#define LEAST_ROOM 4096u
#define MOST_BYTES (UINT64_C(1) << 28) /* of a prompt */

/* --- files --- */

static tandem_status fail_to_read(const rt_prompt_file *self, tandem_error *error, int failure)
{
    return rt_fail(error, TANDEM_FAILED, "%s: cannot read the prompt: %s",
                   self->path == NULL ? "standard input" : self->path, strerror(failure));
}

tandem_status rt_prompt_open(const char *path, const volatile sig_atomic_t *interrupted,
                             tandem_error *error, rt_prompt_file *self)
{
    *self = (rt_prompt_file){.path = path, .interrupted = interrupted};
    self->file = path == NULL ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (self->file < 0)
        return fail_to_read(self, error, errno);
    if (path == NULL && isatty(self->file))
        fputs("reading the prompt from the terminal; it ends with Control-D\n", stderr);
    return TANDEM_OK;
}

void rt_prompt_close(rt_prompt_file *self)
{
    if (self->path != NULL && self->file >= 0)
        close(self->file);
    free(self->bytes);
}

/* Room for more behind what has not been handed out, which moves to the front. */
static bool make_room(rt_prompt_file *self)
{
    self->count -= self->used;
    if (self->used > 0)
        memmove(self->bytes, self->bytes + self->used, self->count);
    self->used = 0;
    if (self->count < self->room)
        return true;
    const size_t room = self->room == 0 ? LEAST_ROOM : 2 * self->room;
    char *larger = room > MOST_BYTES ? NULL : realloc(self->bytes, room);
    if (larger == NULL)
        return false;
    self->bytes = larger;
    self->room = room;
    return true;
}

static tandem_status read_more(rt_prompt_file *self, tandem_error *error)
{
    if (!make_room(self))
        return fail_to_read(self, error, EFBIG);
    const ssize_t count = read(self->file, self->bytes + self->count, self->room - self->count);
    if (count < 0 && (errno != EINTR || *self->interrupted))
        return fail_to_read(self, error, errno);
    self->ended = count == 0;
    self->count += count > 0 ? (size_t)count : 0;
    return TANDEM_OK;
}

/* Hands out the next `count` bytes, less one newline at their end. */
static rt_span take(rt_prompt_file *self, size_t count)
{
    rt_span span = {self->bytes + self->used, count};
    self->used += count;
    if (count > 0 && span.bytes[count - 1] == '\n')
        span.count--;
    return span;
}

tandem_status rt_prompt_read(rt_prompt_file *self, tandem_error *error, rt_span *prompt)
{
    while (!self->ended) {
        const tandem_status status = read_more(self, error);
        if (status != TANDEM_OK)
            return status;
    }
    *prompt = take(self, self->count);
    return TANDEM_OK;
}

tandem_status rt_prompt_next(rt_prompt_file *self, tandem_error *error, rt_span *prompt)
{
    for (;;) {
        while (self->used < self->count && self->bytes[self->used] == '\n')
            self->used++;
        const char *start = self->bytes + self->used;
        const size_t left = self->count - self->used;
        const char *end = left == 0 ? NULL : memmem(start, left, "\n\n", 2);
        if (end != NULL || self->ended) {
            *prompt = take(self, end != NULL ? (size_t)(end - start) : left);
            return TANDEM_OK;
        }
        const tandem_status status = read_more(self, error);
        if (status != TANDEM_OK)
            return status;
    }
}

/* --- feeding --- */

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
