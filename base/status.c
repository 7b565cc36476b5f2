/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *default_reallocate(void *self, void *pointer, size_t old_size, size_t size)
{
    (void)self;
    (void)old_size;
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, size);
}

void td_context_init(td_context *context)
{
    memset(context, 0, sizeof *context);
    context->reallocate = default_reallocate;
}

/* Cuts at a UTF-8 boundary if the text filled the buffer, and masks control characters. */
static void sanitise(char *message, size_t capacity)
{
    size_t length = strlen(message);
    if (length + 1 == capacity) {
        while (length > 0 && ((unsigned char)message[length - 1] & 0xc0) == 0x80)
            length--;
        if (length > 0 && (unsigned char)message[length - 1] >= 0xc0)
            length--;
        message[length] = '\0';
    }
    for (char *c = message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

td_status td_fail(td_context *context, td_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context->message, sizeof context->message, format, arguments);
    va_end(arguments);
    sanitise(context->message, sizeof context->message);
    return status;
}

td_status td_fail_within(td_context *context, td_status status, const char *format, ...)
{
    char old[sizeof context->message];
    memcpy(old, context->message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(context->message, sizeof context->message, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof context->message)
        snprintf(context->message + length, sizeof context->message - (size_t)length, ": %.*s",
                 (int)(sizeof context->message - (size_t)length) - 1, old);
    sanitise(context->message, sizeof context->message);
    return status;
}

td_status td_fail_memory(td_context *context)
{
    return td_fail(context, TD_NO_MEMORY, "out of memory");
}

void td_progress(td_context *context, int level, const char *format, ...)
{
    if (context->verbosity < level)
        return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
