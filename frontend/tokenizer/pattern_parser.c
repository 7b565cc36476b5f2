/* A recursive descent parser for the part of PCRE2's syntax that pre-tokenizers use.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     choice   := sequence ('|' sequence)*
 *     sequence := (atom quantifier?)*
 *     atom     := character | escape | '.' | '$' | class | group
 *
 * Every atom but a group is a set of code points, so that quantifiers repeat sets. */
#include "frontend/tokenizer/pattern_parser.h"

#include "runtime/utf8.h"

#include <string.h>

#define MOST_NESTING 16
#define MOST_REPEATS 65535

typedef struct parser {
    td_context *context;
    td_arena *arena;
    fe_patterns *patterns;
    const char *text;
    size_t length, at;
    bool ignore_case;
    unsigned nesting, lookaheads;
    fe_code_points *atom, *item; /* the set being built, and a member of it */
} parser;

static td_status unsupported(parser *p, size_t position, const char *what)
{
    return td_fail(
        p->context, TD_UNSUPPORTED,
        "pattern \"%.*s\", byte %zu: %s is not supported; accepted are sets of characters "
        "with quantifiers, groups that are repeated at most once, alternatives and "
        "lookahead",
        (int)(p->length < 200 ? p->length : 200), p->text, position, what);
}

static bool at_end(const parser *p)
{
    return p->at == p->length;
}

static char peek(const parser *p)
{
    return at_end(p) ? '\0' : p->text[p->at];
}

/* Steps over `token` when it comes next. */
static bool accept(parser *p, const char *token)
{
    size_t length = strlen(token);
    if (p->length - p->at < length || memcmp(p->text + p->at, token, length) != 0)
        return false;
    p->at += length;
    return true;
}

static fe_pattern_node *new_node(parser *p, fe_pattern_kind kind, size_t position)
{
    fe_pattern_node *node = td_arena_allocate(p->arena, 1, sizeof *node);
    if (node == NULL) {
        td_fail_memory(p->context);
        return NULL;
    }
    node->kind = kind;
    node->minimum = node->maximum = 1;
    node->position = position;
    return node;
}

/* --- sets --- */

static td_status read_character(parser *p, uint32_t *code_point)
{
    p->at += rt_utf8_decode(p->text + p->at, p->length - p->at, code_point);
    return *code_point == RT_UTF8_INVALID ? unsupported(p, p->at - 1, "text that is not UTF-8")
                                          : TD_OK;
}

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After "\x": up to two digits, or any number of them in braces. */
static td_status read_hexadecimal(parser *p, uint32_t *code_point)
{
    size_t position = p->at;
    bool braces = accept(p, "{");
    *code_point = 0;
    for (unsigned i = 0; (braces || i < 2) && hexadecimal(peek(p)) >= 0; i++) {
        *code_point = *code_point * 16 + (uint32_t)hexadecimal(p->text[p->at++]);
        if (*code_point >= FE_CODE_POINTS)
            return unsupported(p, position, "a code point beyond U+10FFFF");
    }
    if (braces && !accept(p, "}"))
        return unsupported(p, position, "this form of \\x");
    return TD_OK;
}

/* After "\p" or "\P": one letter, or a name in braces. Fills p->item. */
static td_status read_property(parser *p, bool inverted)
{
    size_t position = p->at;
    const char *name = p->text + p->at;
    size_t length = 1;
    if (accept(p, "{")) {
        inverted ^= accept(p, "^");
        name = p->text + p->at;
        const char *end = memchr(name, '}', p->length - p->at);
        if (end == NULL)
            return unsupported(p, position, "a property without a closing brace");
        length = (size_t)(end - name);
        p->at += length + 1;
    } else if (at_end(p)) {
        return unsupported(p, position, "a property without a name");
    } else {
        p->at++;
    }
    if (!fe_code_points_add_category(p->item, name, length))
        return unsupported(p, position, "a property that is no general category");
    if (inverted)
        fe_code_points_invert(p->item);
    return TD_OK;
}

/* After a backslash. A single character is returned in *code_point; for a class p->item is filled
 * and *code_point is RT_UTF8_INVALID. */
static td_status read_escape(parser *p, uint32_t *code_point)
{
    static const char letters[] = "rntfea", values[] = "\r\n\t\f\x1b\a";
    size_t position = p->at - 1;
    if (at_end(p))
        return unsupported(p, position, "a backslash at the end");
    char c = p->text[p->at];
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    if (letter != NULL) {
        p->at++;
        *code_point = (unsigned char)values[letter - letters];
        return TD_OK;
    }
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!alphanumeric)
        return read_character(p, code_point);
    p->at++;
    if (c == 'x')
        return read_hexadecimal(p, code_point);
    *code_point = RT_UTF8_INVALID;
    fe_code_points_clear(p->item);
    if (c == 'p' || c == 'P')
        return read_property(p, c == 'P');
    bool inverted = c == 'S' || c == 'D' || c == 'W';
    if (!fe_code_points_add_class(p->item, inverted ? (char)(c - 'A' + 'a') : c))
        return unsupported(p, position, "this escape");
    if (inverted)
        fe_code_points_invert(p->item);
    return TD_OK;
}

/* A member of a class, as read_escape returns it. */
static td_status read_member(parser *p, uint32_t *code_point)
{
    return accept(p, "\\") ? read_escape(p, code_point) : read_character(p, code_point);
}

/* After '[': the members up to ']', into p->atom. */
static td_status read_class(parser *p)
{
    size_t position = p->at - 1;
    bool inverted = accept(p, "^");
    for (bool first = true; first || peek(p) != ']'; first = false) {
        if (at_end(p))
            return unsupported(p, position, "a class without an end");
        if (peek(p) == '[')
            return unsupported(p, p->at, "a class within a class");
        if (p->length - p->at >= 2 && memcmp(p->text + p->at, "&&", 2) == 0)
            return unsupported(p, p->at, "an intersection of classes");
        uint32_t low, high;
        TD_TRY(read_member(p, &low));
        if (low == RT_UTF8_INVALID) {
            fe_code_points_add_set(p->atom, p->item);
            continue;
        }
        high = low;
        if (p->length - p->at >= 2 && p->text[p->at] == '-' && p->text[p->at + 1] != ']') {
            p->at++;
            TD_TRY(read_member(p, &high));
            if (high == RT_UTF8_INVALID || high < low)
                return unsupported(p, p->at, "this range");
        }
        fe_code_points_add(p->atom, low, high);
    }
    p->at++;
    if (p->ignore_case)
        fe_code_points_add_case(p->atom);
    if (inverted)
        fe_code_points_invert(p->atom);
    return TD_OK;
}

/* One set of characters, into a node. */
static td_status read_set(parser *p, fe_pattern_node **node)
{
    size_t position = p->at;
    uint32_t code_point = RT_UTF8_INVALID;
    fe_code_points_clear(p->atom);
    if (accept(p, "[")) {
        TD_TRY(read_class(p));
    } else if (accept(p, ".")) {
        fe_code_points_add(p->atom, '\n', '\n');
        fe_code_points_invert(p->atom);
    } else {
        TD_TRY(read_member(p, &code_point));
        if (code_point == RT_UTF8_INVALID)
            fe_code_points_add_set(p->atom, p->item);
        else
            fe_code_points_add(p->atom, code_point, code_point);
        if (p->ignore_case)
            fe_code_points_add_case(p->atom);
    }
    *node = new_node(p, FE_PATTERN_SET, position);
    if (*node == NULL)
        return TD_NO_MEMORY;
    if (!fe_patterns_intern_set(p->context, p->patterns, p->atom, &(*node)->set))
        return td_fail_memory(p->context);
    return TD_OK;
}

/* --- quantifiers and groups --- */

static bool read_number(parser *p, uint32_t *number)
{
    size_t start = p->at;
    *number = 0;
    while (peek(p) >= '0' && peek(p) <= '9' && *number <= MOST_REPEATS)
        *number = *number * 10 + (uint32_t)(p->text[p->at++] - '0');
    return p->at > start && *number <= MOST_REPEATS;
}

/* {n}, {n,} or {n,m}; false, without a step, for a brace that is a plain character. */
static bool read_braces(parser *p, uint32_t *minimum, uint32_t *maximum)
{
    size_t start = p->at;
    bool good = accept(p, "{") && read_number(p, minimum);
    *maximum = *minimum;
    if (good && accept(p, ",") && !read_number(p, maximum))
        *maximum = UINT32_MAX;
    good = good && accept(p, "}");
    if (!good)
        p->at = start;
    return good;
}

static td_status read_quantifier(parser *p, fe_pattern_node **node)
{
    size_t position = p->at;
    uint32_t minimum = 0, maximum = UINT32_MAX;
    if (accept(p, "?"))
        maximum = 1;
    else if (accept(p, "+"))
        minimum = 1;
    else if (!accept(p, "*") && !read_braces(p, &minimum, &maximum))
        return TD_OK;
    bool possessive = accept(p, "+");
    if (peek(p) == '?')
        return unsupported(p, p->at, "a lazy quantifier");
    fe_pattern_node *inner = *node;
    if (inner->kind == FE_PATTERN_SET && inner->minimum == 1 && inner->maximum == 1) {
        inner->minimum = minimum;
        inner->maximum = maximum;
        inner->possessive = possessive;
        return TD_OK;
    }
    if (minimum != 0 || maximum != 1 || possessive || inner->kind == FE_PATTERN_AHEAD ||
        inner->kind == FE_PATTERN_NOT_AHEAD)
        return unsupported(p, position, "a repeated group");
    *node = new_node(p, FE_PATTERN_OPTIONAL, position);
    if (*node == NULL)
        return TD_NO_MEMORY;
    (*node)->child = inner;
    return TD_OK;
}

static td_status read_choice(parser *p, fe_pattern_node **node);

/* After '(': the rest of the group. Leaves *node NULL for "(?i)", which is no atom. */
static td_status read_group(parser *p, fe_pattern_node **node)
{
    size_t position = p->at - 1;
    bool ignore_case = p->ignore_case, inner_case = ignore_case;
    fe_pattern_kind kind = FE_PATTERN_SEQUENCE;
    *node = NULL;
    if (accept(p, "?i)") || accept(p, "?-i)")) {
        p->ignore_case = p->text[p->at - 3] != '-';
        return TD_OK;
    }
    if (accept(p, "?="))
        kind = FE_PATTERN_AHEAD;
    else if (accept(p, "?!"))
        kind = FE_PATTERN_NOT_AHEAD;
    else if (accept(p, "?i:"))
        inner_case = true;
    else if (accept(p, "?-i:"))
        inner_case = false;
    else if (!accept(p, "?:") && (peek(p) == '?' || peek(p) == '*'))
        return unsupported(p, position, "this kind of group");
    bool lookahead = kind != FE_PATTERN_SEQUENCE;
    p->lookaheads += lookahead;
    if (++p->nesting > MOST_NESTING || p->lookaheads > RT_PATTERN_MOST_DEPTH)
        return unsupported(p, position, "so deep a nesting");
    p->ignore_case = inner_case;
    fe_pattern_node *inner;
    TD_TRY(read_choice(p, &inner));
    if (!accept(p, ")"))
        return unsupported(p, position, "a group without an end");
    p->ignore_case = ignore_case;
    p->nesting--;
    p->lookaheads -= lookahead;
    *node = inner;
    if (lookahead) {
        *node = new_node(p, kind, position);
        if (*node == NULL)
            return TD_NO_MEMORY;
        (*node)->child = inner;
    }
    return TD_OK;
}

/* '$': nothing follows. */
static td_status read_end(parser *p, fe_pattern_node **node)
{
    *node = new_node(p, FE_PATTERN_NOT_AHEAD, p->at - 1);
    if (*node == NULL || ((*node)->child = new_node(p, FE_PATTERN_SET, p->at - 1)) == NULL)
        return TD_NO_MEMORY;
    fe_code_points_clear(p->atom);
    fe_code_points_invert(p->atom);
    if (!fe_patterns_intern_set(p->context, p->patterns, p->atom, &(*node)->child->set))
        return td_fail_memory(p->context);
    return TD_OK;
}

static td_status read_sequence(parser *p, fe_pattern_node **node)
{
    *node = new_node(p, FE_PATTERN_SEQUENCE, p->at);
    if (*node == NULL)
        return TD_NO_MEMORY;
    fe_pattern_node **end = &(*node)->child;
    while (!at_end(p) && peek(p) != '|' && peek(p) != ')') {
        fe_pattern_node *atom;
        if (peek(p) == '^' || peek(p) == '*' || peek(p) == '+' || peek(p) == '?')
            return unsupported(p, p->at, "this character here");
        if (accept(p, "("))
            TD_TRY(read_group(p, &atom));
        else if (accept(p, "$"))
            TD_TRY(read_end(p, &atom));
        else
            TD_TRY(read_set(p, &atom));
        if (atom == NULL)
            continue;
        TD_TRY(read_quantifier(p, &atom));
        *end = atom;
        end = &atom->next;
    }
    /* A sequence of one is that one, so that a quantifier can repeat a set in parentheses. */
    if ((*node)->child != NULL && (*node)->child->next == NULL)
        *node = (*node)->child;
    return TD_OK;
}

static td_status read_choice(parser *p, fe_pattern_node **node)
{
    size_t position = p->at;
    fe_pattern_node *first;
    TD_TRY(read_sequence(p, &first));
    *node = first;
    if (peek(p) != '|')
        return TD_OK;
    *node = new_node(p, FE_PATTERN_CHOICE, position);
    if (*node == NULL)
        return TD_NO_MEMORY;
    (*node)->child = first;
    while (accept(p, "|")) {
        TD_TRY(read_sequence(p, &first->next));
        first = first->next;
    }
    return TD_OK;
}

td_status fe_pattern_parse(td_context *context, td_arena *arena, fe_patterns *patterns,
                           const char *expression, size_t length, fe_pattern_node **root)
{
    parser p = {.context = context,
                .arena = arena,
                .patterns = patterns,
                .text = expression,
                .length = length,
                .atom = td_arena_allocate(arena, 1, sizeof(fe_code_points)),
                .item = td_arena_allocate(arena, 1, sizeof(fe_code_points))};
    if (p.atom == NULL || p.item == NULL)
        return td_fail_memory(context);
    fe_pattern_node *node;
    TD_TRY(read_choice(&p, &node));
    if (!at_end(&p))
        return unsupported(&p, p.at, "a parenthesis without a beginning");
    *root = node;
    return TD_OK;
}
