/* Regular expressions of pre-tokenizers, as a tree.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_PATTERN_PARSER_H
#define TANDEM_FRONTEND_TOKENIZER_PATTERN_PARSER_H

#include "frontend/tokenizer/pattern_compiler.h"

typedef enum fe_pattern_kind {
    FE_PATTERN_SET,       /* `minimum` to `maximum` characters of `set` */
    FE_PATTERN_SEQUENCE,  /* the children, one after the other; none: matches nothing */
    FE_PATTERN_CHOICE,    /* the first child that matches */
    FE_PATTERN_OPTIONAL,  /* the child, or nothing */
    FE_PATTERN_AHEAD,     /* the child matches what follows */
    FE_PATTERN_NOT_AHEAD, /* the child does not match what follows */
} fe_pattern_kind;

typedef struct fe_pattern_node {
    fe_pattern_kind kind;
    uint32_t set, minimum, maximum;
    bool possessive;
    size_t position; /* in the expression, in bytes */
    struct fe_pattern_node *child, *next;
} fe_pattern_node;

/* Parses an expression into nodes of the arena; its sets are added to `patterns`. The expression
 * has been checked by PCRE2; what has no place in the tree is TD_UNSUPPORTED, with its position. */
td_status fe_pattern_parse(td_context *context, td_arena *arena, fe_patterns *patterns,
                           const char *expression, size_t length, fe_pattern_node **root);

#endif
