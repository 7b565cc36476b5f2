/* Unicode's normalisation form C, by tables in a compiled tokenizer that asks for it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_NORMALIZE_H
#define TANDEM_RUNTIME_NORMALIZE_H

#include "runtime/tokenizer_blob.h"

/* Writes the text in form C to the start of `scratch`, bytes that are no UTF-8 as they are, and
 * returns its length; SIZE_MAX when the scratch (aligned to 8 bytes; about 13 bytes for each byte
 * of text) is too small. Cost: O(n log of the tables). */
size_t rt_normalize(const rt_tokenizer *tokenizer, const char *text, size_t length, void *scratch,
                    size_t scratch_bytes);

/* Whether the text is in form C for certain; a quick look that knows only characters before U+0300,
 * which are. */
bool rt_is_normal(const char *text, size_t length);

#endif
