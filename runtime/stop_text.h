/* Texts that end a generation, found across the borders of tokens.
 *
 * SPDX-License-Identifier: MIT
 *
 * What may be the beginning of such a text is held back until it is known: the text that is handed
 * out never holds a part of a stop text. */
#ifndef TANDEM_RUNTIME_STOP_TEXT_H
#define TANDEM_RUNTIME_STOP_TEXT_H

#include "runtime/tandem.h"
#include "runtime/tokenizer.h"

#define RT_STOP_BYTES TANDEM_STOP_BYTES

typedef struct rt_stop_text {
    const char *const *texts; /* NUL-terminated, none empty, each shorter than RT_STOP_BYTES */
    uint32_t count;
    uint32_t held; /* bytes at the end of the text that may begin one of them */
    bool found;    /* one of them was met; nothing more is handed out */
    char bytes[RT_STOP_BYTES];
} rt_stop_text;

/* TANDEM_INVALID when a text is empty, too long, or no UTF-8 at its start. */
tandem_status rt_stop_start(rt_stop_text *stop, const char *const *texts, uint32_t count,
                            tandem_error *error);

/* Takes up a piece of the text and writes what can be handed out, at most bytes + RT_STOP_BYTES, to
 * `out` (NULL: nowhere). `text` may stand RT_STOP_BYTES behind `out`. Returns the length. The text
 * ends before the first stop text that is complete; of those that end at the same byte, before the
 * longest. */
size_t rt_stop_push(rt_stop_text *stop, const char *text, size_t bytes, char *out);

/* The text is over: what is still held back. */
size_t rt_stop_finish(rt_stop_text *stop, char *out);

#endif
