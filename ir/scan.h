/* The scanner of the IR's text form: bytes to tokens with their places.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_SCAN_H
#define TANDEM_IR_SCAN_H

#include "base/memory.h"

typedef enum ir_token_kind {
    IR_TOKEN_END,
    IR_TOKEN_NAME,     /* a letter or '_', then letters, digits, '_' or '.' */
    IR_TOKEN_STRING,   /* in double quotes; `string` is its meaning */
    IR_TOKEN_NUMBER,   /* a digit, then what numbers are written with; the sign is a mark */
    IR_TOKEN_VALUE,    /* %label */
    IR_TOKEN_CONSTANT, /* @label */
    IR_TOKEN_MARK,     /* one of the other printing characters */
} ir_token_kind;

typedef struct ir_token {
    ir_token_kind kind;
    const char *text; /* in the source, not terminated */
    size_t length;
    const char *string;  /* names, strings, labels and numbers: terminated copy in the arena */
    size_t line, column; /* from 1, columns in bytes */
} ir_token;

typedef struct ir_scanner {
    td_context *context;
    td_arena *arena; /* holds the copies */
    const char *path;
    const char *at, *end, *line_start;
    size_t line;
    ir_token token; /* the one being looked at */
} ir_scanner;

/* Starts with the first token looked at. */
td_status ir_scan_start(ir_scanner *scanner, td_context *context, td_arena *arena, const char *path,
                        const char *text, size_t length);
td_status ir_scan_next(ir_scanner *scanner);

static inline bool ir_scan_is_mark(const ir_scanner *scanner, char mark)
{
    return scanner->token.kind == IR_TOKEN_MARK && scanner->token.text[0] == mark;
}
bool ir_scan_is_name(const ir_scanner *scanner, const char *name);

/* "path:line:column: expected WHAT, found TOKEN": TD_INVALID. */
td_status ir_scan_expected(const ir_scanner *scanner, const char *what);

/* Passes over what must come next. */
td_status ir_scan_mark(ir_scanner *scanner, char mark);
td_status ir_scan_string(ir_scanner *scanner, const char *what, const char **string);

/* A whole number with an optional sign, within [low, high]. */
td_status ir_scan_integer(ir_scanner *scanner, int64_t low, int64_t high, int64_t *value);

#endif
