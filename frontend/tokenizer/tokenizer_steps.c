/* The steps of tokenizer.json around its model.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/tokenizer_steps.h"

#include "frontend/json_file.h"

#include <string.h>

/* Sequences within sequences. */
#define MOST_DEPTH 8

static td_status unsupported(fe_vocabulary *v, const char *step, const json_t *value,
                             const char *accepted)
{
    return td_fail(v->context, TD_UNSUPPORTED,
                   "%s \"%s\" is not supported as it is set; accepted "
                   "are %s",
                   step, fe_json_text(value, "type"), accepted);
}

typedef td_status (*step_reader)(fe_vocabulary *v, const json_t *step);

/* Calls `reader` for a step, or for every step of a "Sequence". */
static td_status each_step(fe_vocabulary *v, const json_t *step, const char *list,
                           step_reader reader, unsigned depth)
{
    if (step == NULL || json_is_null(step))
        return TD_OK;
    if (strcmp(fe_json_text(step, "type"), "Sequence") != 0)
        return reader(v, step);
    if (depth == MOST_DEPTH)
        return td_fail(v->context, TD_UNSUPPORTED, "%s are nested more than %d deep", list,
                       MOST_DEPTH);
    const json_t *steps = json_object_get(step, list);
    for (size_t i = 0; i < json_array_size(steps); i++)
        TD_TRY(each_step(v, json_array_get(steps, i), list, reader, depth + 1));
    return TD_OK;
}

static bool text_is(const json_t *object, const char *name, const char *text)
{
    return strcmp(fe_json_text(object, name), text) == 0;
}

/* --- normalizer --- */

static td_status read_normalizer(fe_vocabulary *v, const json_t *step)
{
    if (text_is(step, "type", "NFC")) {
        v->flags |= RT_TOKENIZER_NFC;
        return TD_OK;
    }
    if (text_is(step, "type", "Prepend") && text_is(step, "prepend", FE_METASPACE)) {
        v->flags |= RT_TOKENIZER_PREFIX | RT_TOKENIZER_PREFIX_EVERY;
        return TD_OK;
    }
    if (text_is(step, "type", "Replace") && text_is(step, "content", FE_METASPACE) &&
        text_is(json_object_get(step, "pattern"), "String", " ")) {
        v->metaspace = true;
        return TD_OK;
    }
    return unsupported(v, "normalizer", step,
                       "NFC, Prepend of U+2581 and Replace of spaces by U+2581");
}

/* --- pre_tokenizer --- */

static td_status add_pattern(fe_vocabulary *v, const char *expression)
{
    return fe_patterns_add(v->context, &v->patterns, expression, strlen(expression));
}

static td_status read_byte_level(fe_vocabulary *v, const json_t *step)
{
    if (fe_json_truth(step, "add_prefix_space", true)) {
        if (v->patterns.stages.count > 0)
            return td_fail(
                v->context, TD_UNSUPPORTED,
                "pre_tokenizer ByteLevel has add_prefix_space after a Split; accepted is "
                "false");
        v->flags |= RT_TOKENIZER_PREFIX | RT_TOKENIZER_PREFIX_EVERY | RT_TOKENIZER_PREFIX_UNLESS;
    }
    v->flags |= RT_TOKENIZER_BYTE_LEVEL;
    return fe_json_truth(step, "use_regex", true) ? add_pattern(v, fe_pretokenizer_gpt2) : TD_OK;
}

static td_status read_split(fe_vocabulary *v, const json_t *step)
{
    bool keeps = text_is(step, "behavior", "Isolated") ||
                 (text_is(step, "behavior", "Removed") && fe_json_truth(step, "invert", false));
    const json_t *pattern = json_object_get(step, "pattern");
    fe_span expression = fe_json_span(json_object_get(pattern, "Regex"));
    fe_span literal = fe_json_span(json_object_get(pattern, "String"));
    if (!keeps || (expression.data == NULL && literal.data == NULL))
        return unsupported(v, "pre_tokenizer", step, "Split with behavior Isolated");
    return expression.data != NULL
               ? fe_patterns_add(v->context, &v->patterns, expression.data, expression.size)
               : fe_patterns_add_literal(v->context, &v->patterns, literal.data, literal.size);
}

static td_status read_metaspace(fe_vocabulary *v, const json_t *step)
{
    const json_t *scheme = json_object_get(step, "prepend_scheme");
    bool prefix = scheme != NULL ? !text_is(step, "prepend_scheme", "never")
                                 : fe_json_truth(step, "add_prefix_space", true);
    if (!text_is(step, "replacement", FE_METASPACE))
        return unsupported(v, "pre_tokenizer", step, "Metaspace with U+2581");
    v->metaspace = true;
    if (prefix)
        v->flags |= RT_TOKENIZER_PREFIX | RT_TOKENIZER_PREFIX_UNLESS;
    if (prefix && !text_is(step, "prepend_scheme", "first"))
        v->flags |= RT_TOKENIZER_PREFIX_EVERY;
    if (!fe_json_truth(step, "split", true))
        return TD_OK;
    return add_pattern(v, "[ " FE_METASPACE "]?[^ " FE_METASPACE "]+|[ " FE_METASPACE "]");
}

static td_status read_pre_tokenizer(fe_vocabulary *v, const json_t *step)
{
    if ((v->flags & RT_TOKENIZER_BYTE_LEVEL) != 0)
        return unsupported(v, "pre_tokenizer", step, "none after ByteLevel");
    if (text_is(step, "type", "ByteLevel"))
        return read_byte_level(v, step);
    if (text_is(step, "type", "Split"))
        return read_split(v, step);
    if (text_is(step, "type", "Metaspace"))
        return read_metaspace(v, step);
    if (text_is(step, "type", "Digits"))
        return add_pattern(v,
                           fe_json_truth(step, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
    if (text_is(step, "type", "Punctuation") && text_is(step, "behavior", "Isolated"))
        return add_pattern(v, "[\\p{P}$+<=>^`|~]");
    if (text_is(step, "type", "Punctuation") && text_is(step, "behavior", "Contiguous"))
        return add_pattern(v, "[\\p{P}$+<=>^`|~]+");
    return unsupported(v, "pre_tokenizer", step,
                       "ByteLevel, Split, Metaspace, Digits, Punctuation and sequences of them");
}

/* --- decoder --- */

static td_status read_decoder(fe_vocabulary *v, const json_t *step)
{
    bool strips = text_is(step, "type", "Strip") && text_is(step, "content", " ");
    bool prepends = text_is(step, "type", "Metaspace") && (v->flags & RT_TOKENIZER_PREFIX) != 0;
    if (strips || prepends)
        v->flags |= RT_TOKENIZER_STRIP_FIRST;
    return TD_OK;
}

td_status fe_tokenizer_steps_read(fe_vocabulary *v, const json_t *root)
{
    TD_TRY(each_step(v, json_object_get(root, "normalizer"), "normalizers", read_normalizer, 0));
    TD_TRY(each_step(v, json_object_get(root, "pre_tokenizer"), "pretokenizers", read_pre_tokenizer,
                     0));
    if (!v->metaspace && (v->flags & RT_TOKENIZER_BYTE_LEVEL) == 0)
        return td_fail(
            v->context, TD_UNSUPPORTED,
            "the model is neither byte-level (pre_tokenizer ByteLevel) nor does it write "
            "spaces as U+2581 (normalizer Replace, pre_tokenizer Metaspace)");
    if (v->metaspace && (v->flags & RT_TOKENIZER_BYTE_LEVEL) != 0)
        return td_fail(v->context, TD_UNSUPPORTED,
                       "the model is byte-level and writes spaces as U+2581; one of both is "
                       "accepted");
    return each_step(v, json_object_get(root, "decoder"), "decoders", read_decoder, 0);
}

/* --- post_processor --- */

/* Sets the token that a template puts before or after the text. */
static td_status read_template_token(fe_vocabulary *v, const json_t *item, bool after)
{
    int32_t *id = after ? &v->eos_id : &v->bos_id;
    uint32_t flag = after ? RT_TOKENIZER_ADD_EOS : RT_TOKENIZER_ADD_BOS;
    const char *name = fe_json_text(json_object_get(item, "SpecialToken"), "id");
    int32_t token = fe_vocabulary_find_any(v, name);
    if ((v->flags & flag) != 0)
        return td_fail(v->context, TD_UNSUPPORTED,
                       "post_processor TemplateProcessing puts several tokens before or after the "
                       "text; at most one on each side is accepted");
    if (token < 0)
        return td_fail(v->context, TD_INVALID, "post_processor names \"%s\", which is no token",
                       name);
    v->flags |= flag;
    *id = token;
    return TD_OK;
}

static td_status read_post_processor(fe_vocabulary *v, const json_t *step)
{
    if (text_is(step, "type", "ByteLevel"))
        return TD_OK;
    if (!text_is(step, "type", "TemplateProcessing"))
        return unsupported(v, "post_processor", step, "ByteLevel and TemplateProcessing");
    const json_t *items = json_object_get(step, "single");
    bool after = false;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (json_object_get(item, "SpecialToken") == NULL)
            after = true;
        else
            TD_TRY(read_template_token(v, item, after));
    }
    return TD_OK;
}

td_status fe_tokenizer_steps_read_template(fe_vocabulary *v, const json_t *root)
{
    return each_step(v, json_object_get(root, "post_processor"), "processors", read_post_processor,
                     0);
}
