/* The scanner of the IR's text form.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ASCII only, whatever the locale. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_label(char c)
{
    return is_letter(c) || is_digit(c) || c == '.';
}

static char peek(const ir_scanner *scanner)
{
    return scanner->at < scanner->end ? *scanner->at : '\0';
}

static void skip_space(ir_scanner *scanner)
{
    for (; scanner->at < scanner->end; scanner->at++) {
        char c = *scanner->at;
        if (c == ';') /* a comment up to the end of the line */
            while (scanner->at + 1 < scanner->end && scanner->at[1] != '\n')
                scanner->at++;
        else if (c == '\n') {
            scanner->line++;
            scanner->line_start = scanner->at + 1;
        } else if (c != ' ' && c != '\t' && c != '\r')
            return;
    }
}

static td_status fail_here(const ir_scanner *scanner, const char *sentence)
{
    return td_fail(scanner->context, TD_INVALID, "%s:%zu:%zu: %s", scanner->path, scanner->line,
                   (size_t)(scanner->at - scanner->line_start) + 1, sentence);
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* One character after a backslash; moves past it. -1: not an escape. */
static int escape(ir_scanner *scanner)
{
    char c = peek(scanner);
    scanner->at++;
    if (c == '"' || c == '\\')
        return c;
    if (c == 'n')
        return '\n';
    if (c == 't')
        return '\t';
    if (c != 'x' || scanner->end - scanner->at < 2)
        return -1;
    int high = hex_digit(scanner->at[0]), low = hex_digit(scanner->at[1]);
    scanner->at += 2;
    int value = high * 16 + low;
    return high < 0 || low < 0 || value == 0 ? -1 : value;
}

static td_status scan_quoted(ir_scanner *scanner, ir_token *token)
{
    const char *close = scanner->at + 1;
    while (close < scanner->end && *close != '"' && *close != '\n')
        close += *close == '\\' && close + 1 < scanner->end ? 2 : 1;
    if (close >= scanner->end || *close != '"')
        return fail_here(scanner, "expected a closing '\"' on the same line");
    char *copy = td_arena_allocate(scanner->arena, (size_t)(close - scanner->at), 1);
    if (copy == NULL)
        return td_fail_memory(scanner->context);
    size_t length = 0;
    scanner->at++;
    while (scanner->at < close) {
        int c = (unsigned char)*scanner->at;
        if (c == 0)
            return fail_here(scanner, "expected a string without NUL bytes");
        const char *start = scanner->at++;
        if (c == '\\' && (c = escape(scanner)) < 0) {
            scanner->at = start;
            return fail_here(scanner, "expected one of the escapes \\\" \\\\ \\n \\t \\xHH (lower "
                                      "case, not 00)");
        }
        copy[length++] = (char)c;
    }
    scanner->at = close + 1;
    token->kind = IR_TOKEN_STRING;
    token->string = copy;
    return TD_OK;
}

/* Passes over what belongs to the token that starts here and says what it is. */
static ir_token_kind scan_word(ir_scanner *scanner)
{
    char first = *scanner->at++;
    if (is_letter(first)) {
        while (is_label(peek(scanner)))
            scanner->at++;
        return IR_TOKEN_NAME;
    }
    if (is_digit(first)) {
        /* 12, 1.5e-3, 0x7fc00000 */
        while (is_label(peek(scanner)) ||
               ((peek(scanner) == '-' || peek(scanner) == '+') && scanner->at[-1] == 'e'))
            scanner->at++;
        return IR_TOKEN_NUMBER;
    }
    if ((first == '%' || first == '@') && is_label(peek(scanner))) {
        while (is_label(peek(scanner)))
            scanner->at++;
        return first == '%' ? IR_TOKEN_VALUE : IR_TOKEN_CONSTANT;
    }
    return IR_TOKEN_MARK;
}

td_status ir_scan_next(ir_scanner *scanner)
{
    skip_space(scanner);
    ir_token *token = &scanner->token;
    *token = (ir_token){.text = scanner->at,
                        .line = scanner->line,
                        .column = (size_t)(scanner->at - scanner->line_start) + 1};
    if (scanner->at == scanner->end)
        return TD_OK;
    if (*scanner->at == '"') {
        TD_TRY(scan_quoted(scanner, token));
        token->length = (size_t)(scanner->at - token->text);
        return TD_OK;
    }
    token->kind = scan_word(scanner);
    token->length = (size_t)(scanner->at - token->text);
    if (token->kind == IR_TOKEN_MARK)
        return TD_OK;
    size_t sigil = token->kind == IR_TOKEN_VALUE || token->kind == IR_TOKEN_CONSTANT;
    token->string = td_arena_string_n(scanner->arena, token->text + sigil, token->length - sigil);
    return token->string != NULL ? TD_OK : td_fail_memory(scanner->context);
}

td_status ir_scan_start(ir_scanner *scanner, td_context *context, td_arena *arena, const char *path,
                        const char *text, size_t length)
{
    *scanner = (ir_scanner){.context = context,
                            .arena = arena,
                            .path = path,
                            .at = text,
                            .end = text + length,
                            .line_start = text,
                            .line = 1};
    return ir_scan_next(scanner);
}

bool ir_scan_is_name(const ir_scanner *scanner, const char *name)
{
    return scanner->token.kind == IR_TOKEN_NAME && strcmp(scanner->token.string, name) == 0;
}

td_status ir_scan_expected(const ir_scanner *scanner, const char *what)
{
    const ir_token *token = &scanner->token;
    int shown = token->length < 40 ? (int)token->length : 40;
    if (token->kind == IR_TOKEN_END)
        return td_fail(scanner->context, TD_INVALID, "%s:%zu:%zu: expected %s, found the end",
                       scanner->path, token->line, token->column, what);
    return td_fail(scanner->context, TD_INVALID, "%s:%zu:%zu: expected %s, found '%.*s'",
                   scanner->path, token->line, token->column, what, shown, token->text);
}

td_status ir_scan_mark(ir_scanner *scanner, char mark)
{
    char what[4] = {'\'', mark, '\'', '\0'};
    return ir_scan_is_mark(scanner, mark) ? ir_scan_next(scanner) : ir_scan_expected(scanner, what);
}

td_status ir_scan_string(ir_scanner *scanner, const char *what, const char **string)
{
    if (scanner->token.kind != IR_TOKEN_STRING)
        return ir_scan_expected(scanner, what);
    *string = scanner->token.string;
    return ir_scan_next(scanner);
}

td_status ir_scan_integer(ir_scanner *scanner, int64_t low, int64_t high, int64_t *value)
{
    char what[80];
    snprintf(what, sizeof what, "a whole number from %" PRId64 " to %" PRId64, low, high);
    ir_token start = scanner->token;
    bool negative = ir_scan_is_mark(scanner, '-');
    if (negative)
        TD_TRY(ir_scan_next(scanner));
    if (scanner->token.kind != IR_TOKEN_NUMBER)
        return ir_scan_expected(scanner, what);
    /* Counted downwards, where int64_t has one number more. */
    int64_t number = 0;
    bool sound = true;
    for (const char *digit = scanner->token.string; *digit != '\0'; digit++)
        sound = sound && is_digit(*digit) && !__builtin_mul_overflow(number, 10, &number) &&
                !__builtin_sub_overflow(number, *digit - '0', &number);
    if (sound && !negative)
        sound = !__builtin_sub_overflow(0, number, &number);
    if (!sound || number < low || number > high) {
        if (negative) { /* the place and text of the sign */
            start.length += 1;
            scanner->token = start;
        }
        return ir_scan_expected(scanner, what);
    }
    *value = number;
    return ir_scan_next(scanner);
}
