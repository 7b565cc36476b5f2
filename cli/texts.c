/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/texts.h"

#include "frontend/json_file.h"

#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)

/* --- plain text --- */

/* Bytes of the next piece: all, or up to the last line end within PIECE_BYTES. */
static size_t piece_length(const char *text, size_t left)
{
    if (left <= PIECE_BYTES)
        return left;
    const char *newline = memrchr(text, '\n', PIECE_BYTES);
    return newline == NULL ? PIECE_BYTES : (size_t)(newline - text) + 1;
}

static td_status each_piece(const char *text, size_t size, cli_text_callback callback, void *self)
{
    for (size_t at = 0, length; at < size; at += length) {
        length = piece_length(text + at, size - at);
        TD_TRY(callback(self, text + at, length));
    }
    return TD_OK;
}

static td_status each_paragraph(const char *text, size_t size, cli_text_callback callback,
                                void *self)
{
    for (size_t at = 0; at < size;) {
        const char *end = memmem(text + at, size - at, "\n\n", 2);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        const size_t next = at + length + 1;
        while (length > 0 && (text[at] == '\n' || text[at] == '\r')) {
            at++;
            length--;
        }
        while (length > 0 && text[at + length - 1] == '\n')
            length--;
        if (length > 0)
            TD_TRY(callback(self, text + at, length));
        at = next;
    }
    return TD_OK;
}

/* --- lines of JSON --- */

static td_status each_string(td_context *context, const json_t *object, const char *field,
                             cli_text_callback callback, void *self)
{
    const json_t *value = json_object_get(object, field);
    if (json_is_string(value))
        return callback(self, json_string_value(value), json_string_length(value));
    if (!json_is_array(value) || json_array_size(value) == 0)
        return td_fail(context, TD_INVALID,
                       "no string, and no list of strings, is called \"%s\"; --field names it",
                       field);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return td_fail(context, TD_INVALID, "entry %zu of the list \"%s\" is no string", i,
                           field);
        TD_TRY(callback(self, json_string_value(item), json_string_length(item)));
    }
    return TD_OK;
}

static td_status each_line(td_context *context, const char *text, size_t size, const char *field,
                           cli_text_callback callback, void *self, size_t *line)
{
    *line = 0;
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(text + at, '\n', size - at);
        const size_t length = newline == NULL ? size - at : (size_t)(newline - (text + at));
        json_error_t error;
        ++*line;
        if (length > 0) {
            json_t *object = json_loadb(text + at, length, JSON_REJECT_DUPLICATES, &error);
            if (object == NULL)
                return td_fail(context, TD_INVALID, "column %d: %s", error.column, error.text);
            const td_status status = each_string(context, object, field, callback, self);
            json_decref(object);
            TD_TRY(status);
        }
        at += length + 1;
    }
    return TD_OK;
}

static bool ends_with(const char *path, const char *suffix)
{
    const size_t length = strlen(path), end = strlen(suffix);
    return length >= end && strcmp(path + length - end, suffix) == 0;
}

td_status cli_each_text(td_context *context, const char *path, cli_text_unit unit,
                        const char *field, cli_text_callback callback, void *self)
{
    td_file file;
    td_status status;
    TD_TRY(td_file_map(context, path, &file));
    const char *text = (const char *)file.data;
    const size_t size = (size_t)file.size;
    if (ends_with(path, ".jsonl")) {
        size_t line = 0;
        status = each_line(context, text, size, field, callback, self, &line);
        if (status != TD_OK)
            td_fail_within(context, status, "%s: line %zu", path, line);
    } else {
        status = unit == CLI_PIECES ? each_piece(text, size, callback, self)
                                    : each_paragraph(text, size, callback, self);
        if (status != TD_OK)
            td_fail_within(context, status, "%s", path);
    }
    td_file_unmap(context, &file);
    return status;
}
