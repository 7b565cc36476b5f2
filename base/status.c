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

/* Length of the well-formed UTF-8 character at `text`, 0 when there is none. */
static size_t character_length(const unsigned char *text)
{
    static const struct {
        unsigned char mask, lead;
        size_t length;
    } forms[] = {{0xe0, 0xc0, 2}, {0xf0, 0xe0, 3}, {0xf8, 0xf0, 4}};
    for (size_t f = 0; f < TD_COUNT_OF(forms); f++) {
        if ((text[0] & forms[f].mask) != forms[f].lead)
            continue;
        for (size_t i = 1; i < forms[f].length; i++)
            if ((text[i] & 0xc0) != 0x80)
                return 0;
        /* Overlong forms, surrogates and what lies beyond U+10FFFF. */
        const bool wrong =
            text[0] < 0xc2 || text[0] > 0xf4 || (text[0] == 0xe0 && text[1] < 0xa0) ||
            (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf0 && text[1] < 0x90) ||
            (text[0] == 0xf4 && text[1] > 0x8f);
        return wrong ? 0 : forms[f].length;
    }
    return 0;
}

/* Names from files may hold anything: what is no printable UTF-8 is shown as '?'. A message that
 * was cut within a character loses the rest of it. */
static void sanitise(char *message, size_t capacity)
{
    const size_t length = strlen(message);
    unsigned char *text = (unsigned char *)message;
    for (size_t i = 0; i < length;) {
        const size_t character = text[i] < 0x80 ? 1 : character_length(text + i);
        if (character == 0 && length + 1 == capacity && length - i < 4) {
            message[i] = '\0';
            return;
        }
        if (character == 0 || text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
        i += character == 0 ? 1 : character;
    }
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
