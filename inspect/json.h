/* Small JSON pieces on a stream, safe inside an HTML script element.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_INSPECT_JSON_H
#define TANDEM_INSPECT_JSON_H

#include <stdint.h>
#include <stdio.h>

/* A quoted string. Control characters, '<' and the two line separators that JavaScript took for
 * line ends are escaped; bytes that are no UTF-8 become U+FFFD. */
void inspect_json_string(FILE *stream, const char *text);

/* The comma before every element of a list but the first. */
static inline const char *inspect_json_comma(size_t index)
{
    return index == 0 ? "" : ",";
}

#endif
