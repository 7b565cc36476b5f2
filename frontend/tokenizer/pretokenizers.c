/* Pre-tokenizers that files only name. The patterns are those of the models' own tokenizers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include <string.h>

const char fe_pretokenizer_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* The words of Llama 3 and its kin; only the digits that make one word differ. */
#define WORDS_WITH_DIGITS(digits)                                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char llama3[] = WORDS_WITH_DIGITS("\\p{N}{1,3}");
static const char qwen2[] = WORDS_WITH_DIGITS("\\p{N}");

static const char gpt4o[] =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const char single_digits[] = "\\p{N}";

static const struct pretokenizer {
    const char *name;
    const char *stages[2];
    uint32_t flags; /* RT_TOKENIZER_* that come with the name */
} pretokenizers[] = {
    {"gpt-2", {fe_pretokenizer_gpt2}, 0},
    {"gpt2", {fe_pretokenizer_gpt2}, 0},
    {"mpt", {fe_pretokenizer_gpt2}, 0},
    {"olmo", {fe_pretokenizer_gpt2}, 0},
    {"phi-2", {fe_pretokenizer_gpt2}, 0},
    {"llama-bpe", {llama3}, RT_TOKENIZER_WHOLE_WORDS | RT_TOKENIZER_ADD_BOS},
    {"llama3", {llama3}, RT_TOKENIZER_WHOLE_WORDS | RT_TOKENIZER_ADD_BOS},
    {"dbrx", {llama3}, 0},
    {"smaug-bpe", {llama3}, 0},
    {"qwen2", {qwen2}, 0},
    {"deepseek-r1-qwen", {qwen2}, 0},
    {"stablelm2", {qwen2}, 0},
    {"gpt-4o", {gpt4o}, 0},
    {"starcoder", {single_digits, fe_pretokenizer_gpt2}, 0},
    {"refact", {single_digits, fe_pretokenizer_gpt2}, 0},
    {"command-r", {single_digits, fe_pretokenizer_gpt2}, 0},
    {"smollm", {single_digits, fe_pretokenizer_gpt2}, 0},
    {"codeshell", {single_digits, fe_pretokenizer_gpt2}, 0},
};

td_status fe_pretokenizer_add(fe_vocabulary *vocabulary, fe_span name)
{
    td_context *context = vocabulary->context;
    for (size_t i = 0; i < TD_COUNT_OF(pretokenizers); i++) {
        const struct pretokenizer *known = &pretokenizers[i];
        if (!fe_span_equal(name, known->name))
            continue;
        vocabulary->flags |= known->flags;
        for (size_t j = 0; j < TD_COUNT_OF(known->stages) && known->stages[j] != NULL; j++)
            TD_TRY(fe_patterns_add(context, &vocabulary->patterns, known->stages[j],
                                   strlen(known->stages[j])));
        return TD_OK;
    }
    td_text names;
    td_text_init(&names, context);
    for (size_t i = 0; i < TD_COUNT_OF(pretokenizers); i++)
        td_text_printf(&names, "%s%s", i == 0 ? "" : ", ", pretokenizers[i].name);
    td_status status = names.failed
                           ? td_fail_memory(context)
                           : td_fail(context, TD_UNSUPPORTED,
                                     "pre-tokenizer \"%.*s\" is not known; accepted are %s",
                                     (int)(name.size < 64 ? name.size : 64), name.data, names.data);
    td_text_release(&names);
    return status;
}
