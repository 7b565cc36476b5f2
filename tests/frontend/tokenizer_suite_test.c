/* Tokenizers of real models against the ids that llama.cpp gives, and round trips over real text.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/frontend/tokenizer_support.h"

#include <time.h>

#define SEPARATOR "\n__ggml_vocab_test__\n"

/* Compares all cases of a suite; the number of cases that differ, or -1 when files are absent. */
static int run_suite(const char *tokenizer_path, const char *suite, int *cases)
{
    td_context context;
    td_context_init(&context);
    char path[512];
    td_file inputs, outputs;
    fe_tokenizer tokenizer;
    *cases = 0;
    snprintf(path, sizeof path, TOKENIZERS "suite/%s.inp", suite);
    if (!td_path_exists(path) || !td_path_exists(tokenizer_path))
        return -1;
    if (td_file_map(&context, path, &inputs) != TD_OK)
        return -1;
    snprintf(path, sizeof path, TOKENIZERS "suite/%s.out", suite);
    if (td_file_map(&context, path, &outputs) != TD_OK)
        return -1;
    if (fe_read_tokenizer(&context, tokenizer_path, &tokenizer) != TD_OK) {
        printf("    %s\n", context.message);
        return 1;
    }
    int wrong = 0;
    const char *at = (const char *)inputs.data, *end = at + inputs.size;
    const char *line = (const char *)outputs.data, *lines_end = line + outputs.size;
    while (at < end && line < lines_end) {
        const char *next = memmem(at, (size_t)(end - at), SEPARATOR, strlen(SEPARATOR));
        const char *newline = memchr(line, '\n', (size_t)(lines_end - line));
        size_t size = (size_t)((next == NULL ? end : next) - at);
        size_t line_size = (size_t)((newline == NULL ? lines_end : newline) - line);
        char *text = strndup(at, size), *expected = strndup(line, line_size);
        char *actual = encode_text(&tokenizer, text, 0);
        if (strcmp(actual, expected) != 0) {
            printf("    case %d \"%s\"\n      got      %s\n      expected %s\n", *cases, text,
                   actual, expected);
            wrong++;
        }
        free(text);
        free(expected);
        free(actual);
        ++*cases;
        at = next == NULL ? end : next + strlen(SEPARATOR);
        line = newline == NULL ? lines_end : newline + 1;
    }
    fe_tokenizer_release(&context, &tokenizer);
    td_file_unmap(&context, &inputs);
    td_file_unmap(&context, &outputs);
    return wrong;
}

#define SUITE(name, path, suite)                                                                   \
    TEST(name)                                                                                     \
    {                                                                                              \
        int cases, wrong = run_suite(path, suite, &cases);                                         \
        if (wrong < 0)                                                                             \
            SKIP("the suite is absent");                                                           \
        CHECK(wrong == 0);                                                                         \
        CHECK(cases > 40);                                                                         \
    }

SUITE(gpt2_in_gguf, TOKENIZERS "suite/ggml-vocab-gpt-2.gguf", "ggml-vocab-gpt-2.gguf")
SUITE(gpt2_in_two_files, TOKENIZERS "gpt2/encoder.json", "ggml-vocab-gpt-2.gguf")
SUITE(llama_sentencepiece_in_gguf, TOKENIZERS "suite/ggml-vocab-llama-spm.gguf",
      "ggml-vocab-llama-spm.gguf")
SUITE(llama_sentencepiece_model, TOKENIZERS "llama2/tokenizer.model", "ggml-vocab-llama-spm.gguf")
SUITE(llama3_ranks, TOKENIZERS "llama3/tokenizer.model", "ggml-vocab-llama-bpe.gguf")
SUITE(qwen2_in_two_files, TOKENIZERS "qwen2/vocab.json", "ggml-vocab-qwen2.gguf")

TEST(bert_is_refused_by_name)
{
    const char *path = TOKENIZERS "suite/ggml-vocab-bert-bge.gguf";
    if (!td_path_exists(path))
        SKIP("the suite is absent");
    td_context context;
    td_context_init(&context);
    fe_tokenizer tokenizer;
    CHECK(fe_read_tokenizer(&context, path, &tokenizer) == TD_UNSUPPORTED);
    CHECK_MESSAGE(strstr(context.message, "is \"bert\"") != NULL, "%s", context.message);
}

TEST(unigram_is_refused_by_name)
{
    const char *path = TOKENIZERS "sentencepiece/python_test_test_model.model";
    if (!td_path_exists(path))
        SKIP("the model is absent");
    td_context context;
    td_context_init(&context);
    fe_tokenizer tokenizer;
    CHECK(fe_read_tokenizer(&context, path, &tokenizer) == TD_UNSUPPORTED);
    CHECK_MESSAGE(strstr(context.message, "Unigram") != NULL, "%s", context.message);
}

/* One vocabulary in two formats is one vocabulary; different ones are told apart. */
TEST(vocabularies_are_compared)
{
    td_context context;
    td_context_init(&context);
    const char *paths[] = {TOKENIZERS "gpt2/encoder.json", TOKENIZERS "suite/ggml-vocab-gpt-2.gguf",
                           TOKENIZERS "llama2/tokenizer.model",
                           TOKENIZERS "suite/ggml-vocab-llama-spm.gguf"};
    fe_tokenizer tokenizers[4];
    for (int i = 0; i < 4; i++) {
        if (!td_path_exists(paths[i]))
            SKIP("the vocabularies are absent");
        CHECK_MESSAGE(fe_read_tokenizer(&context, paths[i], &tokenizers[i]) == TD_OK, "%s",
                      context.message);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            td_status status = fe_tokenizers_match(&context, &tokenizers[i], &tokenizers[j]);
            CHECK_MESSAGE(status == (i / 2 == j / 2 ? TD_OK : TD_INVALID), "%d, %d: %s", i, j,
                          context.message);
        }
    for (int i = 0; i < 4; i++)
        fe_tokenizer_release(&context, &tokenizers[i]);
}

/* Decoding what was encoded gives the text back, for byte-level vocabularies and for SentencePiece.
 */
TEST(real_text_comes_back)
{
    const char *paths[] = {PAIR,
                           TOKENIZERS "llama3/tokenizer.model",
                           TOKENIZERS "qwen2/vocab.json",
                           TOKENIZERS "llama2/tokenizer.model",
                           DATA "weights/stories260K-f32.gguf",
                           DATA "weights/stories3M-f32.gguf"};
    const char *text_paths[] = {DATA "text/prompts/HumanEval.jsonl",
                                TOKENIZERS "sentencepiece/data_botchan.txt",
                                DATA "text/prompts/spec_bench.jsonl"};
    td_context context;
    td_context_init(&context);
    int compared = 0;
    for (size_t i = 0; i < TD_COUNT_OF(paths); i++) {
        fe_tokenizer tokenizer;
        if (!td_path_exists(paths[i]))
            continue;
        CHECK_MESSAGE(fe_read_tokenizer(&context, paths[i], &tokenizer) == TD_OK, "%s",
                      context.message);
        for (size_t j = 0; j < TD_COUNT_OF(text_paths); j++) {
            td_file file;
            if (!td_path_exists(text_paths[j]))
                continue;
            CHECK(td_file_map(&context, text_paths[j], &file) == TD_OK);
            size_t size = file.size < 60000 ? file.size : 60000, back_size;
            while (size > 0 && (file.data[size - 1] & 0x80) != 0)
                size--;
            encoded ids = encode(&tokenizer, (const char *)file.data, size, 0);
            CHECK(ids.count > 0);
            char *back = decode(&tokenizer, ids, false, &back_size);
            CHECK_MESSAGE(back_size == size && memcmp(back, file.data, size) == 0, "%s with %s",
                          text_paths[j], paths[i]);
            free(back);
            free(ids.ids);
            td_file_unmap(&context, &file);
            compared++;
        }
        fe_tokenizer_release(&context, &tokenizer);
    }
    if (compared == 0)
        SKIP("vocabularies and texts are absent");
}

/* The continuation of every reference prompt of the pair is text, and encodes to the same ids. */
TEST(pair_prompt)
{
    if (!td_path_exists(PAIR))
        SKIP("the pair is absent");
    td_context context;
    td_context_init(&context);
    fe_tokenizer tokenizer;
    CHECK_MESSAGE(fe_read_tokenizer(&context, PAIR, &tokenizer) == TD_OK, "%s", context.message);
    CHECK(tokenizer.vocabulary == 4096);
    CHECK(tokenizer.eos_id == 4095);
    /* The first prompt of reference.json, without its <|endoftext|>. */
    int32_t prompt[] = {800, 312, 258, 1132, 1344, 489};
    size_t size;
    char *text = decode(&tokenizer, (encoded){prompt, 6}, false, &size);
    char *ids = encode_text(&tokenizer, text, 0);
    CHECK_STRING(ids, " 800 312 258 1132 1344 489");
    free(ids);
    free(text);
    fe_tokenizer_release(&context, &tokenizer);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A quarter of a megabyte of one word, of spaces, or of what looks like a special token costs no
 * square of it.
 */
TEST(long_words_are_not_quadratic)
{
    const char *paths[] = {PAIR, TOKENIZERS "llama3/tokenizer.model",
                           TOKENIZERS "llama2/tokenizer.model"};
    const char *units[] = {"a", " ", "ab", "<", " \n", "1", "\xe4\xb8\xad", "\xff", "the", " <|"};
    td_context context;
    td_context_init(&context);
    size_t size = (size_t)1 << 18;
    char *text = malloc(size);
    for (size_t i = 0; i < TD_COUNT_OF(paths); i++) {
        fe_tokenizer tokenizer;
        if (!td_path_exists(paths[i]))
            SKIP("the vocabularies are absent");
        CHECK_MESSAGE(fe_read_tokenizer(&context, paths[i], &tokenizer) == TD_OK, "%s",
                      context.message);
        for (size_t j = 0; j < TD_COUNT_OF(units); j++) {
            size_t unit = strlen(units[j]);
            for (size_t k = 0; k < size; k++)
                text[k] = units[j][k % unit];
            double start = seconds();
            encoded ids = encode(&tokenizer, text, size, RT_ENCODE_SPECIAL);
            CHECK(ids.count > 0);
            CHECK_MESSAGE(seconds() - start < 4, "%s, \"%s\": %g s", paths[i], units[j],
                          seconds() - start);
            if (getenv("TEST_TIMES") != NULL)
                printf("    %s \"%s\": %g s\n", paths[i], units[j], seconds() - start);
            free(ids.ids);
        }
        fe_tokenizer_release(&context, &tokenizer);
    }
    free(text);
}

TEST_MAIN()
