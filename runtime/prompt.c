/* See prompt.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAST_ROOM 4096u
#define MORE_ROOM  (64u << 10)

/* --- files --- */

static const char *name_of(const rt_prompt_file *self)
{
    return self->path == NULL ? "standard input" : self->path;
}

static tandem_status fail_to_read(const rt_prompt_file *self, tandem_error *error, int failure)
{
    return rt_fail(error, TANDEM_FAILED, "%s: cannot read the prompt: %s", name_of(self),
                   strerror(failure));
}

tandem_status rt_prompt_check(const rt_text_limit *limit, const char *where, uint64_t bytes,
                              tandem_error *error)
{
    if (bytes <= limit->bytes)
        return TANDEM_OK;
    if (limit->budget > 0)
        return rt_fail(error, TANDEM_FULL,
                       "%s: the prompt has more than %llu bytes, for which a memory budget of %llu "
                       "bytes has no room: shorten it, or allow more memory",
                       where, (unsigned long long)limit->bytes, (unsigned long long)limit->budget);
    return rt_fail(error, TANDEM_FULL,
                   "%s: the prompt has more than %llu bytes, the most for texts of up to %u "
                   "tokens: shorten it",
                   where, (unsigned long long)limit->bytes, limit->tokens);
}

tandem_status rt_prompt_open(const char *path, const rt_text_limit *limit,
                             const volatile sig_atomic_t *interrupted, tandem_error *error,
                             rt_prompt_file *self)
{
    struct stat status;
    *self = (rt_prompt_file){
        .path = path, .interrupted = interrupted, .limit = *limit, .longest = limit->bytes};
    self->file = path == NULL ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (self->file < 0 || fstat(self->file, &status) != 0)
        return fail_to_read(self, error, errno);
    if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < self->longest)
        self->longest = (uint64_t)status.st_size;
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
    const size_t room = self->room == 0 ? LEAST_ROOM : self->room + MORE_ROOM;
    char *larger = realloc(self->bytes, room);
    if (larger == NULL)
        return false;
    self->bytes = larger;
    self->room = room;
    return true;
}

static tandem_status read_more(rt_prompt_file *self, tandem_error *error)
{
    if (!make_room(self))
        return fail_to_read(self, error, ENOMEM);
    const ssize_t count = read(self->file, self->bytes + self->count, self->room - self->count);
    if (count < 0 && errno != EINTR)
        return fail_to_read(self, error, errno);
    self->ended = count == 0 || *self->interrupted;
    self->count += count > 0 ? (size_t)count : 0;
    return TANDEM_OK;
}

/* Hands out the next `count` bytes, less one newline at their end. */
static tandem_status take(rt_prompt_file *self, size_t count, tandem_error *error, rt_span *prompt)
{
    rt_span span = {self->bytes + self->used, count};
    self->used += count;
    if (count > 0 && span.bytes[count - 1] == '\n')
        span.count--;
    const tandem_status status = rt_prompt_check(&self->limit, name_of(self), span.count, error);
    if (status == TANDEM_OK)
        *prompt = span;
    return status;
}

/* Whether what was read is more than a prompt and the newline behind it can be. */
static bool overflows(const rt_prompt_file *self)
{
    return self->count - self->used > self->limit.bytes + 1;
}

tandem_status rt_prompt_read(rt_prompt_file *self, tandem_error *error, rt_span *prompt)
{
    while (!self->ended && !overflows(self)) {
        const tandem_status status = read_more(self, error);
        if (status != TANDEM_OK)
            return status;
    }
    return take(self, self->count, error, prompt);
}

/* The end of the prompt at hand, as far as it was read; NULL: not there. */
static const char *end_of_prompt(const rt_prompt_file *self)
{
    const size_t left = self->count - self->used;
    return left == 0 ? NULL : memmem(self->bytes + self->used, left, "\n\n", 2);
}

/* Forgets the rest of a prompt, up to the empty line behind it. */
static tandem_status pass_over(rt_prompt_file *self, tandem_error *error)
{
    const char *end = NULL;
    while (end == NULL && !self->ended) {
        self->used = self->count - 1; /* which may be the first of two newlines */
        const tandem_status status = read_more(self, error);
        if (status != TANDEM_OK)
            return status;
        end = end_of_prompt(self);
    }
    self->used = end != NULL ? (size_t)(end - self->bytes) : self->count;
    return rt_prompt_check(&self->limit, name_of(self), UINT64_MAX, error);
}

tandem_status rt_prompt_next(rt_prompt_file *self, tandem_error *error, rt_span *prompt)
{
    for (;;) {
        while (self->used < self->count && self->bytes[self->used] == '\n')
            self->used++;
        const char *end = end_of_prompt(self);
        if (end != NULL || self->ended)
            return take(self,
                        end != NULL ? (size_t)(end - self->bytes) - self->used
                                    : self->count - self->used,
                        error, prompt);
        const tandem_status status =
            overflows(self) ? pass_over(self, error) : read_more(self, error);
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
