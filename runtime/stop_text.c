/* See stop_text.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/stop_text.h"

#include "runtime/internal.h"

#include <string.h>

tandem_status rt_stop_start(rt_stop_text *stop, const char *const *texts, uint32_t count,
                            tandem_error *error)
{
    *stop = (rt_stop_text){.texts = texts, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        const size_t length = strlen(texts[i]);
        if (length == 0 || length >= RT_STOP_BYTES)
            return rt_fail(error, TANDEM_INVALID, "a stop text has %zu bytes: 1 to %d are accepted",
                           length, RT_STOP_BYTES - 1);
        /* What comes before it would end within a character. */
        if (((unsigned char)texts[i][0] & 0xc0) == 0x80)
            return rt_fail(error, TANDEM_INVALID,
                           "a stop text starts within a character: UTF-8 is accepted");
    }
    return TANDEM_OK;
}

/* Length of the longest stop text that ends here; 0: none does. */
static uint32_t complete(const rt_stop_text *stop)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < stop->count; i++) {
        const uint32_t length = (uint32_t)strlen(stop->texts[i]);
        if (length <= stop->held && length > longest &&
            memcmp(stop->bytes + stop->held - length, stop->texts[i], length) == 0)
            longest = length;
    }
    return longest;
}

/* Whether what is held from `start` on begins a stop text. */
static bool may_begin(const rt_stop_text *stop, uint32_t start)
{
    const uint32_t length = stop->held - start;
    for (uint32_t i = 0; i < stop->count; i++)
        if (strncmp(stop->texts[i], stop->bytes + start, length) == 0)
            return true;
    return false;
}

/* Hands out the first `count` bytes that are held. */
static size_t release(rt_stop_text *stop, uint32_t count, char *out, size_t written)
{
    if (out != NULL)
        memcpy(out + written, stop->bytes, count);
    stop->held -= count;
    memmove(stop->bytes, stop->bytes + count, stop->held);
    return written + count;
}

size_t rt_stop_push(rt_stop_text *stop, const char *text, size_t bytes, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < bytes && !stop->found; i++) {
        /* What was held was shorter than the stop text that it may begin. */
        stop->bytes[stop->held++] = text[i];
        const uint32_t length = complete(stop);
        uint32_t over = stop->held - length;
        if (length == 0)
            for (over = 0; over < stop->held && !may_begin(stop, over); over++)
                ;
        written = release(stop, over, out, written);
        stop->found = length > 0;
    }
    return written;
}

size_t rt_stop_finish(rt_stop_text *stop, char *out)
{
    return stop->found ? 0 : release(stop, stop->held, out, 0);
}
