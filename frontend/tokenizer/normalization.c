/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/normalization.h"

#include "frontend/tokenizer/code_points.h"

#include <stdlib.h>
#include <utf8proc.h>

#define HANGUL_FIRST 0xac00
#define HANGUL_LAST  0xd7a3

static td_status add_combining(td_context *context, uint32_t code_point, fe_normalization *tables)
{
    const uint32_t own = utf8proc_get_property((utf8proc_int32_t)code_point)->combining_class;
    const size_t count = tables->combining.count;
    rt_combining *last = count > 0 ? &tables->combining.items[count - 1] : NULL;
    if (own == 0)
        return TD_OK;
    if (last != NULL && last->last + 1 == code_point && last->combining_class == own) {
        last->last = code_point;
        return TD_OK;
    }
    const rt_combining range = {code_point, code_point, own};
    return td_array_push(context, &tables->combining, range) ? TD_OK : td_fail_memory(context);
}

/* Composes code points in their place; returns how many are left. */
static utf8proc_ssize_t compose(utf8proc_int32_t *characters, utf8proc_ssize_t count)
{
    return utf8proc_normalize_utf32(characters, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
}

/* The pair that composes to a code point is all but the last of its parts, composed, and the last;
 * some code points are never composed. */
static td_status add_composition(td_context *context, const rt_decomposition *whole, int count,
                                 fe_normalization *tables)
{
    utf8proc_int32_t all[RT_MOST_PARTS], first[RT_MOST_PARTS];
    for (int i = 0; i < count; i++)
        all[i] = first[i] = (utf8proc_int32_t)whole->parts[i];
    if (count < 2 || compose(all, count) != 1 || all[0] != (utf8proc_int32_t)whole->code_point ||
        compose(first, count - 1) != 1)
        return TD_OK;
    const rt_composition pair = {(uint32_t)first[0], whole->parts[count - 1], whole->code_point};
    return td_array_push(context, &tables->compositions, pair) ? TD_OK : td_fail_memory(context);
}

static td_status add_decomposition(td_context *context, uint32_t code_point,
                                   fe_normalization *tables)
{
    utf8proc_int32_t parts[RT_MOST_PARTS];
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)code_point, parts, RT_MOST_PARTS,
                                UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    if (count > RT_MOST_PARTS)
        return td_fail(context, TD_INTERNAL, "U+%04X decomposes into %ld characters",
                       (unsigned)code_point, (long)count);
    if (count < 1 || (count == 1 && parts[0] == (utf8proc_int32_t)code_point))
        return TD_OK;
    rt_decomposition row = {.code_point = code_point};
    for (int i = 0; i < (int)count; i++)
        row.parts[i] = (uint32_t)parts[i];
    if (!td_array_push(context, &tables->decompositions, row))
        return td_fail_memory(context);
    return add_composition(context, &row, (int)count, tables);
}

static int compare_compositions(const void *left, const void *right)
{
    const rt_composition *a = left, *b = right;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a->second < b->second ? -1 : a->second > b->second;
}

td_status fe_normalization_make(td_context *context, fe_normalization *tables)
{
    for (uint32_t code_point = 0; code_point < FE_CODE_POINTS; code_point++) {
        TD_TRY(add_combining(context, code_point, tables));
        if (code_point < HANGUL_FIRST || code_point > HANGUL_LAST)
            TD_TRY(add_decomposition(context, code_point, tables));
    }
    qsort(tables->compositions.items, tables->compositions.count, sizeof(rt_composition),
          compare_compositions);
    return TD_OK;
}

void fe_normalization_release(td_context *context, fe_normalization *tables)
{
    td_array_release(context, &tables->combining);
    td_array_release(context, &tables->decompositions);
    td_array_release(context, &tables->compositions);
}
