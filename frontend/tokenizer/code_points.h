/* Sets of code points, built from Unicode's general categories (utf8proc) while a pattern is
 * compiled.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_CODE_POINTS_H
#define TANDEM_FRONTEND_TOKENIZER_CODE_POINTS_H

#include "base/memory.h"

#define FE_CODE_POINTS 0x110000

/* A bit per code point: 136 KiB, for use while compiling only. */
typedef struct fe_code_points {
    uint64_t words[FE_CODE_POINTS / 64];
} fe_code_points;

static inline bool fe_code_points_has(const fe_code_points *set, uint32_t code_point)
{
    return (set->words[code_point / 64] >> code_point % 64 & 1) != 0;
}

void fe_code_points_clear(fe_code_points *set);

/* Adds low .. high, both below FE_CODE_POINTS. */
void fe_code_points_add(fe_code_points *set, uint32_t low, uint32_t high);
void fe_code_points_add_set(fe_code_points *set, const fe_code_points *other);
void fe_code_points_invert(fe_code_points *set);

/* Adds the code points that differ from one of the set in case only (simple case folding). */
void fe_code_points_add_case(fe_code_points *set);

/* Adds a general category by its name in \p{...}: "L", "Lu", "N", ...; false when there is none of
 * that name. */
bool fe_code_points_add_category(fe_code_points *set, const char *name, size_t length);

/* Adds the classes behind \s, \d and \w (`letter` is one of "sdw"): Unicode white space, decimal
 * digits, and letters, marks, numbers and connecting punctuation. False for other letters. */
bool fe_code_points_add_class(fe_code_points *set, char letter);

/* The next range of the set that begins at *low or later: sets *low and *high (inclusive); false
 * when there is none. Start with *low = 0, and go on with *low = *high + 1. */
bool fe_code_points_next_range(const fe_code_points *set, uint32_t *low, uint32_t *high);

#endif
