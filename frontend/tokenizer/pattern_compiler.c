/* Pattern trees to programs, with the checks that keep the matcher's work bounded.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/pattern_compiler.h"

#include "frontend/tokenizer/pattern_parser.h"
#include "runtime/tokenizer_blob.h"
#include "runtime/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Most open-ended sets in a row that can give characters back: the matcher's work on one place of a
 * text is a polynomial of this degree at worst. */
#define MOST_LOOPS_IN_A_ROW 3

/* Instructions of all stages together. */
#define MOST_INSTRUCTIONS 65536

void fe_patterns_release(td_context *context, fe_patterns *patterns)
{
    td_array_release(context, &patterns->stages);
    td_array_release(context, &patterns->instructions);
    td_array_release(context, &patterns->sets);
    td_array_release(context, &patterns->ranges);
}

static bool equal_sets(const fe_patterns *patterns, const rt_pattern_set *a,
                       const rt_pattern_set *b)
{
    if (a->ascii[0] != b->ascii[0] || a->ascii[1] != b->ascii[1] || a->count != b->count)
        return false;
    const rt_pattern_range *ranges = patterns->ranges.items;
    for (uint32_t i = 0; i < a->count; i++)
        if (ranges[a->first + i].low != ranges[b->first + i].low ||
            ranges[a->first + i].high != ranges[b->first + i].high)
            return false;
    return true;
}

bool fe_patterns_intern_set(td_context *context, fe_patterns *patterns,
                            const fe_code_points *points, uint32_t *set)
{
    rt_pattern_set added = {.ascii = {points->words[0], points->words[1]},
                            .first = (uint32_t)patterns->ranges.count};
    rt_pattern_range range = {.low = 128};
    for (; fe_code_points_next_range(points, &range.low, &range.high); range.low = range.high + 1) {
        if (!td_array_push(context, &patterns->ranges, range))
            return false;
        added.count++;
    }
    for (size_t i = 0; i < patterns->sets.count; i++)
        if (equal_sets(patterns, &patterns->sets.items[i], &added)) {
            patterns->ranges.count = added.first;
            *set = (uint32_t)i;
            return true;
        }
    *set = (uint32_t)patterns->sets.count;
    return td_array_push(context, &patterns->sets, added);
}

/* --- what a tree can do --- */

typedef struct measure {
    uint32_t shortest; /* characters of the shortest match, cut at 1 */
    uint32_t loops;    /* open-ended sets in a row that can give back */
    uint32_t choices;  /* places on the matcher's stack */
} measure;

static measure measure_node(const fe_pattern_node *node)
{
    measure total = {0};
    if (node->kind == FE_PATTERN_SET) {
        total.shortest = node->minimum > 0;
        total.choices = node->minimum != node->maximum && !node->possessive;
        total.loops = total.choices != 0 && node->maximum > 64;
        return total;
    }
    bool first = true;
    for (const fe_pattern_node *child = node->child; child != NULL; child = child->next) {
        measure part = measure_node(child);
        total.choices += part.choices;
        if (node->kind == FE_PATTERN_CHOICE) {
            total.shortest =
                first ? part.shortest
                      : (part.shortest < total.shortest ? part.shortest : total.shortest);
            total.loops = part.loops > total.loops ? part.loops : total.loops;
            total.choices++;
        } else {
            total.shortest |= part.shortest;
            total.loops += part.loops;
        }
        first = false;
    }
    if (node->kind == FE_PATTERN_OPTIONAL)
        total.choices++;
    if (node->kind != FE_PATTERN_SEQUENCE && node->kind != FE_PATTERN_CHOICE)
        total.shortest = 0;
    return total;
}

/* --- instructions --- */

typedef struct emitter {
    td_context *context;
    fe_patterns *patterns;
    bool failed; /* memory ran out */
} emitter;

static uint32_t emit(emitter *e, uint32_t operation, uint32_t operand)
{
    rt_pattern_instruction instruction = {operation, operand, 0, 0};
    if (!td_array_push(e->context, &e->patterns->instructions, instruction))
        e->failed = true;
    return (uint32_t)(e->patterns->instructions.count - 1);
}

/* Makes an instruction go on at the place reached by now. */
static void aim(emitter *e, uint32_t instruction)
{
    if (!e->failed)
        e->patterns->instructions.items[instruction].operand =
            (uint32_t)e->patterns->instructions.count;
}

static void emit_node(emitter *e, const fe_pattern_node *node);

static void emit_children(emitter *e, const fe_pattern_node *node)
{
    for (const fe_pattern_node *child = node->child; child != NULL && !e->failed;
         child = child->next)
        emit_node(e, child);
}

/* split A1; first; jump end; A1: split A2; second; jump end; A2: last; end: */
static void emit_choice(emitter *e, const fe_pattern_node *child)
{
    if (child->next == NULL || e->failed) {
        emit_node(e, child);
        return;
    }
    /* The jumps to the end are chained through their operands until the end is known. */
    uint32_t jumps = UINT32_MAX;
    for (; child->next != NULL && !e->failed; child = child->next) {
        uint32_t split = emit(e, RT_PATTERN_SPLIT, 0);
        emit_node(e, child);
        jumps = emit(e, RT_PATTERN_JUMP, jumps);
        aim(e, split);
    }
    emit_node(e, child);
    while (!e->failed && jumps != UINT32_MAX) {
        uint32_t earlier = e->patterns->instructions.items[jumps].operand;
        aim(e, jumps);
        jumps = earlier;
    }
}

static void emit_set(emitter *e, const fe_pattern_node *node)
{
    uint32_t at = emit(e, node->possessive ? RT_PATTERN_POSSESSIVE : RT_PATTERN_SET, node->set);
    if (e->failed)
        return;
    e->patterns->instructions.items[at].minimum = node->minimum;
    e->patterns->instructions.items[at].maximum = node->maximum;
}

static void emit_node(emitter *e, const fe_pattern_node *node)
{
    uint32_t at;
    if (e->failed)
        return;
    switch (node->kind) {
    case FE_PATTERN_SET:
        emit_set(e, node);
        break;
    case FE_PATTERN_SEQUENCE:
        emit_children(e, node);
        break;
    case FE_PATTERN_CHOICE:
        emit_choice(e, node->child);
        break;
    case FE_PATTERN_OPTIONAL:
        at = emit(e, RT_PATTERN_SPLIT, 0);
        emit_children(e, node);
        aim(e, at);
        break;
    case FE_PATTERN_AHEAD:
    case FE_PATTERN_NOT_AHEAD:
        at = emit(e, node->kind == FE_PATTERN_AHEAD ? RT_PATTERN_AHEAD : RT_PATTERN_NOT_AHEAD, 0);
        emit_children(e, node);
        emit(e, RT_PATTERN_MATCH, 0);
        aim(e, at);
        break;
    }
}

/* Makes a tree the next stage. */
static td_status add_stage(td_context *context, fe_patterns *patterns, const fe_pattern_node *root)
{
    measure whole = measure_node(root);
    if (patterns->stages.count == RT_TOKENIZER_MOST_STAGES)
        return td_fail(context, TD_UNSUPPORTED,
                       "the pre-tokenizer has more than %d patterns one after the other",
                       RT_TOKENIZER_MOST_STAGES);
    if (whole.shortest == 0)
        return td_fail(context, TD_UNSUPPORTED,
                       "the pattern can match nothing at all; every match needs a character");
    if (whole.loops > MOST_LOOPS_IN_A_ROW || whole.choices > RT_PATTERN_MOST_CHOICES)
        return td_fail(
            context, TD_UNSUPPORTED,
            "the pattern has %u open-ended sets in a row and %u choices; at most %d and %d "
            "are accepted",
            whole.loops, whole.choices, MOST_LOOPS_IN_A_ROW, RT_PATTERN_MOST_CHOICES);
    emitter e = {.context = context, .patterns = patterns};
    if (!td_array_push(context, &patterns->stages, (uint32_t)patterns->instructions.count))
        return td_fail_memory(context);
    emit_node(&e, root);
    emit(&e, RT_PATTERN_MATCH, 0);
    if (e.failed)
        return td_fail_memory(context);
    if (patterns->instructions.count > MOST_INSTRUCTIONS)
        return td_fail(context, TD_UNSUPPORTED,
                       "the pre-tokenizer's patterns need more than %d "
                       "instructions",
                       MOST_INSTRUCTIONS);
    return TD_OK;
}

/* --- PCRE2 as the judge of what is an expression --- */

static void *pcre2_allocate(size_t size, void *context)
{
    return td_allocate(context, size);
}

static void pcre2_release(void *pointer, void *context)
{
    td_release(context, pointer);
}

static td_status check_expression(td_context *context, const char *expression, size_t length)
{
    int error = 0;
    PCRE2_SIZE position = 0;
    pcre2_general_context *general =
        pcre2_general_context_create(pcre2_allocate, pcre2_release, context);
    pcre2_compile_context *compile = general == NULL ? NULL : pcre2_compile_context_create(general);
    if (compile == NULL) {
        pcre2_general_context_free(general);
        return td_fail_memory(context);
    }
    pcre2_set_parens_nest_limit(compile, 64);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)expression, length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &position, compile);
    td_status status = TD_OK;
    if (code == NULL && error == PCRE2_ERROR_HEAP_FAILED) {
        status = td_fail_memory(context);
    } else if (code == NULL) {
        PCRE2_UCHAR sentence[160] = "";
        pcre2_get_error_message(error, sentence, sizeof sentence);
        status =
            td_fail(context, TD_INVALID, "pattern \"%.*s\", byte %zu: no regular expression: %s",
                    (int)(length < 200 ? length : 200), expression, (size_t)position,
                    (const char *)sentence);
    }
    pcre2_code_free(code);
    pcre2_compile_context_free(compile);
    pcre2_general_context_free(general);
    return status;
}

td_status fe_patterns_add(td_context *context, fe_patterns *patterns, const char *expression,
                          size_t length)
{
    if (length > 65536)
        return td_fail(context, TD_UNSUPPORTED,
                       "a pattern of %zu bytes is longer than the 65536 accepted", length);
    TD_TRY(check_expression(context, expression, length));
    td_arena arena;
    td_arena_init(&arena, context);
    fe_pattern_node *root;
    td_status status = fe_pattern_parse(context, &arena, patterns, expression, length, &root);
    if (status == TD_OK)
        status = add_stage(context, patterns, root);
    td_arena_release(&arena);
    return status;
}

td_status fe_patterns_add_literal(td_context *context, fe_patterns *patterns, const char *text,
                                  size_t length)
{
    /* Each byte that is no letter or digit of ASCII is written as an escape of its character. */
    td_text expression;
    td_text_init(&expression, context);
    for (size_t at = 0; at < length;) {
        uint32_t code_point;
        at += rt_utf8_decode(text + at, length - at, &code_point);
        if (code_point == RT_UTF8_INVALID)
            code_point = RT_UTF8_REPLACEMENT;
        td_text_printf(&expression, "\\x{%x}", (unsigned)code_point);
    }
    td_status status = TD_OK;
    if (expression.failed)
        status = td_fail_memory(context);
    else if (length == 0)
        status = td_fail(context, TD_INVALID, "the pre-tokenizer splits at an empty text");
    else
        status = fe_patterns_add(context, patterns, expression.data, expression.length);
    td_text_release(&expression);
    return status;
}
