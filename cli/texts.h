/* Texts out of files: prompts, and text to be counted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_TEXTS_H
#define TANDEM_CLI_TEXTS_H

#include "base/status.h"

/* Gets one text, not NUL-terminated; what it returns other than TD_OK ends the walk. */
typedef td_status (*cli_text_callback)(void *self, const char *text, size_t length);

typedef enum cli_text_unit {
    CLI_PIECES,     /* up to 1 MiB, cut at line ends: for a text of any size */
    CLI_PARAGRAPHS, /* what stands between empty lines */
} cli_text_unit;

/* Walks over the texts of a file. A file called *.jsonl holds a JSON object in each line, of which
 * the string `field` is the text, or each string of the list `field`; any other file is text and is
 * cut into units. Messages name file and line. */
td_status cli_each_text(td_context *context, const char *path, cli_text_unit unit,
                        const char *field, cli_text_callback callback, void *self);

#endif
