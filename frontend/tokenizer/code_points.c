/* Sets of code points as bit maps.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/code_points.h"

#include <string.h>
#include <utf8proc.h>

#define CATEGORY(name)      (UINT32_C(1) << UTF8PROC_CATEGORY_##name)
#define LETTERS             (CATEGORY(LU) | CATEGORY(LL) | CATEGORY(LT) | CATEGORY(LM) | CATEGORY(LO))
#define MARKS               (CATEGORY(MN) | CATEGORY(MC) | CATEGORY(ME))
#define NUMBERS             (CATEGORY(ND) | CATEGORY(NL) | CATEGORY(NO))
#define BRACKETS            (CATEGORY(PS) | CATEGORY(PE) | CATEGORY(PI) | CATEGORY(PF))
#define PUNCTUATION         (CATEGORY(PC) | CATEGORY(PD) | CATEGORY(PO) | BRACKETS)
#define SYMBOLS             (CATEGORY(SM) | CATEGORY(SC) | CATEGORY(SK) | CATEGORY(SO))
#define SEPARATORS          (CATEGORY(ZS) | CATEGORY(ZL) | CATEGORY(ZP))
#define ASSIGNED_OTHERS     (CATEGORY(CC) | CATEGORY(CF) | CATEGORY(CS) | CATEGORY(CO))
#define LETTERS_AND_NUMBERS (LETTERS | MARKS | NUMBERS | CATEGORY(PC))

/* General categories by name, as \p{...} calls them. */
static const struct category {
    const char *name;
    uint32_t mask; /* bits of utf8proc's categories */
} categories[] = {
    {"L", LETTERS},
    {"Lu", CATEGORY(LU)},
    {"Ll", CATEGORY(LL)},
    {"Lt", CATEGORY(LT)},
    {"Lm", CATEGORY(LM)},
    {"Lo", CATEGORY(LO)},
    {"M", MARKS},
    {"Mn", CATEGORY(MN)},
    {"Mc", CATEGORY(MC)},
    {"Me", CATEGORY(ME)},
    {"N", NUMBERS},
    {"Nd", CATEGORY(ND)},
    {"Nl", CATEGORY(NL)},
    {"No", CATEGORY(NO)},
    {"P", PUNCTUATION},
    {"Pc", CATEGORY(PC)},
    {"Pd", CATEGORY(PD)},
    {"Ps", CATEGORY(PS)},
    {"Pe", CATEGORY(PE)},
    {"Pi", CATEGORY(PI)},
    {"Pf", CATEGORY(PF)},
    {"Po", CATEGORY(PO)},
    {"S", SYMBOLS},
    {"Sm", CATEGORY(SM)},
    {"Sc", CATEGORY(SC)},
    {"Sk", CATEGORY(SK)},
    {"So", CATEGORY(SO)},
    {"Z", SEPARATORS},
    {"Zs", CATEGORY(ZS)},
    {"Zl", CATEGORY(ZL)},
    {"Zp", CATEGORY(ZP)},
    {"Cc", CATEGORY(CC)},
    {"Cf", CATEGORY(CF)},
    {"Cs", CATEGORY(CS)},
    {"Co", CATEGORY(CO)},
    {"Cn", CATEGORY(CN)},
    {"C", ASSIGNED_OTHERS | CATEGORY(CN)},
};

/* Controls that count as white space, beside the separators. */
static const uint32_t space_controls[][2] = {{9, 13}, {0x85, 0x85}};

void fe_code_points_clear(fe_code_points *set)
{
    memset(set, 0, sizeof *set);
}

void fe_code_points_add(fe_code_points *set, uint32_t low, uint32_t high)
{
    for (uint32_t c = low; c <= high; c++)
        set->words[c / 64] |= UINT64_C(1) << c % 64;
}

void fe_code_points_add_set(fe_code_points *set, const fe_code_points *other)
{
    for (size_t i = 0; i < TD_COUNT_OF(set->words); i++)
        set->words[i] |= other->words[i];
}

void fe_code_points_invert(fe_code_points *set)
{
    for (size_t i = 0; i < TD_COUNT_OF(set->words); i++)
        set->words[i] = ~set->words[i];
}

static uint32_t fold(uint32_t code_point)
{
    return (uint32_t)utf8proc_tolower(utf8proc_toupper((utf8proc_int32_t)code_point));
}

void fe_code_points_add_case(fe_code_points *set)
{
    /* Two sweeps: mark the folded forms of what is there, then add all that folds to a marked one.
     * A folded form always belongs to its class, so marking them in the set itself is right. */
    for (uint32_t c = 0; c < FE_CODE_POINTS; c++)
        if (fe_code_points_has(set, c))
            fe_code_points_add(set, fold(c), fold(c));
    for (uint32_t c = 0; c < FE_CODE_POINTS; c++)
        if (fe_code_points_has(set, fold(c)))
            fe_code_points_add(set, c, c);
}

static void add_mask(fe_code_points *set, uint32_t mask)
{
    for (uint32_t c = 0; c < FE_CODE_POINTS; c++)
        if ((mask >> utf8proc_category((utf8proc_int32_t)c) & 1) != 0)
            fe_code_points_add(set, c, c);
}

bool fe_code_points_add_category(fe_code_points *set, const char *name, size_t length)
{
    for (size_t i = 0; i < TD_COUNT_OF(categories); i++)
        if (strlen(categories[i].name) == length && memcmp(categories[i].name, name, length) == 0) {
            add_mask(set, categories[i].mask);
            return true;
        }
    return false;
}

bool fe_code_points_add_class(fe_code_points *set, char letter)
{
    switch (letter) {
    case 's':
        add_mask(set, SEPARATORS);
        for (size_t i = 0; i < TD_COUNT_OF(space_controls); i++)
            fe_code_points_add(set, space_controls[i][0], space_controls[i][1]);
        return true;
    case 'd':
        add_mask(set, CATEGORY(ND));
        return true;
    case 'w':
        add_mask(set, LETTERS_AND_NUMBERS);
        return true;
    default:
        return false;
    }
}

bool fe_code_points_next_range(const fe_code_points *set, uint32_t *low, uint32_t *high)
{
    uint32_t c = *low;
    while (c < FE_CODE_POINTS && !fe_code_points_has(set, c))
        c = set->words[c / 64] == 0 ? (c / 64 + 1) * 64 : c + 1;
    if (c >= FE_CODE_POINTS)
        return false;
    *low = c;
    while (c < FE_CODE_POINTS && fe_code_points_has(set, c))
        c++;
    *high = c - 1;
    return true;
}
