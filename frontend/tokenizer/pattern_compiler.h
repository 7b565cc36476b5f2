/* Pre-tokenizer patterns: regular expressions compiled to the programs of runtime/pattern.h.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_PATTERN_COMPILER_H
#define TANDEM_FRONTEND_TOKENIZER_PATTERN_COMPILER_H

#include "frontend/tokenizer/code_points.h"
#include "runtime/pattern.h"

/* The programs of one tokenizer's stages, which share their sets. */
typedef struct fe_patterns {
    TD_ARRAY(uint32_t) stages; /* first instruction of each */
    TD_ARRAY(rt_pattern_instruction) instructions;
    TD_ARRAY(rt_pattern_set) sets;
    TD_ARRAY(rt_pattern_range) ranges;
} fe_patterns;

void fe_patterns_release(td_context *context, fe_patterns *patterns);

/* Adds a stage: a regular expression, checked by PCRE2 (UTF, UCP) first. TD_INVALID for what is no
 * expression, TD_UNSUPPORTED for what the matcher has no instructions for; the sentence names the
 * position in the expression. Expressions that can match nothing are refused too. */
td_status fe_patterns_add(td_context *context, fe_patterns *patterns, const char *expression,
                          size_t length);

/* Adds a stage that matches one fixed text. */
td_status fe_patterns_add_literal(td_context *context, fe_patterns *patterns, const char *text,
                                  size_t length);

/* Adds a set, or finds one that is equal; false when memory ran out. */
bool fe_patterns_intern_set(td_context *context, fe_patterns *patterns,
                            const fe_code_points *points, uint32_t *set);

#endif
