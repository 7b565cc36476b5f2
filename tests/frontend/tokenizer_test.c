/* Tokenizers in small files written here: settings, special tokens, refusals, hostile and broken
 * files.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "tests/failing.h"
#include "tests/frontend/tokenizer_support.h"

#include <sys/stat.h>
#include <unistd.h>

/* A file in a folder of its own, so that nothing lies beside it by chance. */
typedef struct written {
    char folder[512], path[600];
} written;

static void write_file(written *file, const char *name, const void *data, size_t size)
{
    if (file->folder[0] == '\0') {
        strcpy(file->folder, TEST_BUILD_FOLDER "/tokenizer_test_XXXXXX");
        if (mkdtemp(file->folder) == NULL)
            abort();
    }
    snprintf(file->path, sizeof file->path, "%s/%s", file->folder, name);
    FILE *stream = fopen(file->path, "wb");
    if (stream == NULL || fwrite(data, 1, size, stream) != size || fclose(stream) != 0)
        abort();
}

static void remove_files(written *file, const char *const *names)
{
    for (; *names != NULL; names++) {
        snprintf(file->path, sizeof file->path, "%s/%s", file->folder, *names);
        unlink(file->path);
    }
    rmdir(file->folder);
}

static td_status read_bytes(td_context *context, const void *data, size_t size,
                            fe_tokenizer *tokenizer)
{
    written file = {0};
    write_file(&file, "tokenizer", data, size);
    td_status status = fe_read_tokenizer(context, file.path, tokenizer);
    remove_files(&file, (const char *const[]){"tokenizer", NULL});
    return status;
}

static td_status read_text(td_context *context, const char *text, fe_tokenizer *tokenizer)
{
    td_context_init(context);
    return read_bytes(context, text, strlen(text), tokenizer);
}

/* Checks the ids of a text. */
#define CHECK_IDS(tokenizer, text, flags, expected)                                                \
    do {                                                                                           \
        char *ids = encode_text((tokenizer), (text), (flags));                                     \
        CHECK_STRING(ids, expected);                                                               \
        free(ids);                                                                                 \
    } while (0)

/* Checks the text of ids. */
#define CHECK_DECODED(tokenizer, list, count, special, expected)                                   \
    do {                                                                                           \
        size_t decoded_size;                                                                       \
        char *decoded = decode((tokenizer), (encoded){(list), (count)}, (special), &decoded_size); \
        CHECK_STRING(decoded, expected);                                                           \
        free(decoded);                                                                             \
    } while (0)

/* --- byte-level tokenizer.json --- */

#define BYTE_LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define VOCAB                                                                                      \
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\xc4\xa0\":3,\"ab\":4,\"abc\":5,\"bc\":6,"               \
    "\"\xc4\xa0"                                                                                   \
    "a\":7,\"<end>\":8}"
#define MERGES "\"merges\":[\"b c\",[\"a\",\"b\"],\"a bc\",\"\xc4\xa0 a\"]"
#define MODEL  "\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "}"

static const char byte_level[] =
    "{" BYTE_LEVEL "," MODEL ",\"added_tokens\":["
    "{\"id\":8,\"content\":\"<end>\",\"special\":true},"
    "{\"id\":9,\"content\":\"<e\",\"special\":false},"
    "{\"id\":11,\"content\":\"<mask>\",\"special\":true,\"lstrip\":true,\"rstrip\":true}]}";

TEST(merges_by_rank_and_place)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(read_text(&context, byte_level, &t) == TD_OK, "%s", context.message);
    CHECK(t.vocabulary == 12);
    CHECK_IDS(&t, "abc", 0, " 5"); /* b c first, then a bc */
    CHECK_IDS(&t, "abab", 0, " 4 4");
    CHECK_IDS(&t, "abbcc", 0, " 4 6 2");
    CHECK_IDS(&t, "c a", 0, " 2 7");
    CHECK_IDS(&t, "", 0, "");
    CHECK_IDS(&t, "axb", 0, " 0 1"); /* a byte without a token is left out, as in the original */
    fe_tokenizer_release(&context, &t);
}

TEST(special_tokens)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(read_text(&context, byte_level, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "ab<end>c", RT_ENCODE_SPECIAL, " 4 8 2");
    CHECK_IDS(&t, "ab<end>c", 0, " 4 9 2"); /* the added token "<e" that is no control token */
    CHECK_IDS(&t, "<e<end><e", RT_ENCODE_SPECIAL, " 9 8 9");
    CHECK_IDS(&t, "ab <mask>\t c", RT_ENCODE_SPECIAL, " 4 11 2");
    CHECK_IDS(&t, "<mask>", RT_ENCODE_SPECIAL, " 11");
    int32_t list[] = {4, 8, 9, 10, 77, -1};
    CHECK_DECODED(&t, list, 6, false, "ab<e");
    CHECK_DECODED(&t, list, 6, true, "ab<end><e");
    fe_tokenizer_release(&context, &t);
}

TEST(template_and_whole_words)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(
        read_text(&context,
                  "{" BYTE_LEVEL ",\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,"
                  "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"ba\":3,\"bab\":4,\"<s>\":5,\"</s>\":6},"
                  "\"merges\":[\"a b\"]},\"added_tokens\":["
                  "{\"id\":5,\"content\":\"<s>\",\"special\":true},"
                  "{\"id\":6,\"content\":\"</s>\",\"special\":true}],"
                  "\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
                  "{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":["
                  "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
                  "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
                  "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}]}]}}",
                  &t) == TD_OK,
        "%s", context.message);
    CHECK_IDS(&t, "bab", 0, " 4");
    CHECK_IDS(&t, "baba", 0, " 1 2 0");
    CHECK_IDS(&t, "ba", RT_ENCODE_DEFAULTS, " 5 3 6");
    CHECK_IDS(&t, "", RT_ENCODE_DEFAULTS, " 5 6");
    CHECK(t.bos_id == 5 && t.eos_id == 6);
    const rt_tokenizer *opened = rt_tokenizer_open(t.blob, t.bytes, NULL);
    CHECK(rt_tokenizer_adds_bos(opened));
    CHECK(rt_tokenizer_is_end(opened, 6) && !rt_tokenizer_is_end(opened, 5));
    fe_tokenizer_release(&context, &t);
}

/* Stages: digits one by one, then words by a pattern of the file; a space put before. */
TEST(split_stages)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(
        read_text(
            &context,
            "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
            "{\"type\":\"Digits\",\"individual_digits\":true},"
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"Isolated\"},"
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a{2}\"},\"behavior\":\"Isolated\"},"
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
            "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"1\":2,\"aa\":3,\"11\":4,\"ab\":5,\"aaa\":6},"
            "\"merges\":[\"1 1\",\"a a\",\"a b\",\"aa a\"]}}",
            &t) == TD_OK,
        "%s", context.message);
    CHECK_IDS(&t, "11aaaab", 0, " 2 2 3 3 1");
    CHECK_IDS(&t, "aaa", 0, " 3 0");
    fe_tokenizer_release(&context, &t);
    CHECK_MESSAGE(
        read_text(&context, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," MODEL "}", &t) == TD_OK,
        "%s", context.message);
    CHECK_IDS(&t, "abc", 0, " 3 5"); /* as "a bc" goes before the space's merge */
    CHECK_IDS(&t, "ab", 0, " 3 4");
    CHECK_IDS(&t, "a", 0, " 7");
    CHECK_IDS(&t, " a", 0, " 7");
    fe_tokenizer_release(&context, &t);
}

/* --- SentencePiece in tokenizer.json --- */

#define SPACE "\xe2\x96\x81"
static const char spaces[] =
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
    "{\"type\":\"Prepend\",\"prepend\":\"" SPACE "\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE "\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"
    "{\"id\":8,\"content\":\"<s>\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"<unk>\","
    "\"vocab\":{\"<unk>\":0,\"<0xC3>\":1,\"<0xA9>\":2,\"" SPACE "\":3,\"a\":4,\"" SPACE "a\":5,"
    "\"<0xE2>\":6,\"<0x82>\":7,\"<s>\":8,\"\xe4\xb8\xad\":9},\"merges\":[\"" SPACE " a\"]}}";

TEST(sentencepiece_spaces_and_bytes)
{
    td_context context;
    fe_tokenizer t;
    CHECK_MESSAGE(read_text(&context, spaces, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "a a", 0, " 5 5");
    CHECK_IDS(&t, " a", 0, " 3 5");
    CHECK_IDS(&t, "a\xc3\xa9", 0, " 5 1 2");
    CHECK_IDS(&t, "axyza", 0, " 5 0 4"); /* unknown ones in a row are one */
    CHECK_IDS(&t, "a<s>a", RT_ENCODE_SPECIAL, " 5 8 5");
    CHECK_IDS(&t, "\xe4\xb8\xad\xff", 0, " 3 9 0"); /* no token for byte FF */
    int32_t list[] = {8, 5, 5, 1, 2, 3, 4};
    CHECK_DECODED(&t, list, 7, false, "a a\xc3\xa9 a");
    CHECK_DECODED(&t, list, 7, true, "<s>a a\xc3\xa9 a");
    int32_t cut[] = {4, 6, 7, 4, 6};
    CHECK_DECODED(&t, cut, 5, false,
                  "a\xef\xbf\xbd"
                  "a\xef\xbf\xbd");
    fe_tokenizer_release(&context, &t);
}

/* --- refusals --- */

TEST(refusals_say_what_is_wrong)
{
    static const struct {
        const char *text, *message;
        td_status status;
    } cases[] = {
        {"", "no tokenizer; accepted are", TD_INVALID},
        {"{", "line 1", TD_INVALID},
        {"{\"a\":0,\"a\":1}", "duplicate", TD_INVALID},
        {"{\"a\":0}", "merges.txt or vocab.bpe must lie beside", TD_INVALID},
        {"{\"model\":{\"type\":\"Unigram\"}}", "model.type is \"Unigram\"", TD_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[]}}", "model.vocab must be", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{},\"merges\":[]}}", "the vocabulary is empty",
         TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}",
         "id 0 is given to token \"a\" and to \"b\"", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":400000000},\"merges\":[]}}",
         "has id 400000000, which is out of range", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "\"a\" has no id",
         TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
         "merge 1 joins \"a\" and \"b\", but the second is no token", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}",
         "what they make is no token", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\",\"a a\"]}}",
         "merge 2 repeats merge 1", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}}",
         "two tokens with a space", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}",
         "neither a string nor a pair", TD_INVALID},
        {"{" BYTE_LEVEL ",\"model\":{\"dropout\":0.5,\"vocab\":{\"a\":0},\"merges\":[]}}",
         "model.dropout is set", TD_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"NFKC\"}," BYTE_LEVEL "," MODEL "}", "normalizer \"NFKC\"",
         TD_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}," MODEL "}",
         "pre_tokenizer \"BertPreTokenizer\"", TD_UNSUPPORTED},
        {"{" MODEL "}", "neither byte-level", TD_UNSUPPORTED},
        {"{" BYTE_LEVEL "," MODEL ",\"post_processor\":{\"type\":\"BertProcessing\"}}",
         "post_processor \"BertProcessing\"", TD_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+?b\"},"
         "\"behavior\":\"Isolated\"}," MODEL "}",
         "byte 2: a lazy quantifier", TD_UNSUPPORTED},
        {"\x0a\x7f", "cut short", TD_INVALID},
        {"#version: 0.2\na b\n", "list of merges", TD_UNSUPPORTED},
        {"IQ== 0\nIg== 1\n", "a list of 2 ranks", TD_UNSUPPORTED},
        {"IQ== 0\nIg== x\n", "line 2 is not a token", TD_INVALID},
        {"IQ== 0\nIg== \n", "line 2 is not a token", TD_INVALID},
        {"IQ== 0\nIg== 12345678901\n", "line 2 is not a token", TD_INVALID},
        {"IQ== 0\n====\n", "line 2 is not a token", TD_INVALID},
        {"IQ== 0\nIg==\n", "line 2 is not a token", TD_INVALID},
        {"GGUF", "past the end of the file", TD_INVALID},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        td_context context;
        fe_tokenizer t;
        td_status status = read_text(&context, cases[i].text, &t);
        CHECK_MESSAGE(status == cases[i].status, "%s: %d %s", cases[i].text, status,
                      context.message);
        CHECK_MESSAGE(strstr(context.message, cases[i].message) != NULL, "%s: %s", cases[i].text,
                      context.message);
        /* The file is named, and once. */
        const char *named = strstr(context.message, TEST_BUILD_FOLDER "/tokenizer_test_");
        CHECK_MESSAGE(named == context.message, "%s", context.message);
        CHECK_MESSAGE(strstr(named + 1, TEST_BUILD_FOLDER "/tokenizer_test_") == NULL, "%s",
                      context.message);
    }
}

/* --- two files --- */

TEST(two_files_and_a_configuration)
{
    td_context context;
    td_context_init(&context);
    fe_tokenizer t;
    written file = {0};
    static const char merges[] = "#version: 0.2\na b\r\n1 1\n";
    static const char config[] =
        "{\"tokenizer_class\":\"Qwen2Tokenizer\",\"eos_token\":{\"content\":\"<end>\"},"
        "\"added_tokens_decoder\":{\"5\":{\"content\":\"<end>\",\"special\":true}}}";
    static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"1\":3,\"11\":4}";
    write_file(&file, "merges.txt", merges, strlen(merges));
    write_file(&file, "vocab.json", vocab, strlen(vocab));
    CHECK_MESSAGE(fe_read_tokenizer(&context, file.path, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "ab11", 0, " 2 4"); /* GPT-2's pattern keeps digits together */
    CHECK(t.eos_id == -1);
    fe_tokenizer_release(&context, &t);
    write_file(&file, "tokenizer_config.json", config, strlen(config));
    CHECK_MESSAGE(fe_read_tokenizer(&context, file.folder, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "ab11<end>", RT_ENCODE_SPECIAL, " 2 3 3 5");
    CHECK(t.eos_id == 5);
    fe_tokenizer_release(&context, &t);
    remove_files(&file,
                 (const char *const[]){"merges.txt", "vocab.json", "tokenizer_config.json", NULL});
}

TEST(padded_vocabulary_matches)
{
    td_context context;
    fe_tokenizer a, b, c;
    CHECK(read_text(&context, "{" BYTE_LEVEL "," MODEL "}", &a) == TD_OK);
    CHECK(read_text(&context, byte_level, &b) == TD_OK);
    CHECK(read_text(&context, spaces, &c) == TD_OK);
    CHECK_MESSAGE(fe_tokenizers_match(&context, &a, &b) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(fe_tokenizers_match(&context, &b, &a) == TD_OK, "%s", context.message);
    CHECK(fe_tokenizers_match(&context, &a, &c) == TD_INVALID);
    CHECK_MESSAGE(strstr(context.message, "token 0 is \"a\"") != NULL, "%s", context.message);
    fe_tokenizer_release(&context, &a);
    fe_tokenizer_release(&context, &b);
    fe_tokenizer_release(&context, &c);
}

TEST(equal_files_give_equal_bytes)
{
    td_context context;
    fe_tokenizer a, b;
    CHECK(read_text(&context, byte_level, &a) == TD_OK);
    CHECK(read_text(&context, byte_level, &b) == TD_OK);
    CHECK(a.bytes == b.bytes && memcmp(a.blob, b.blob, a.bytes) == 0);
    fe_tokenizer_release(&context, &a);
    fe_tokenizer_release(&context, &b);
}

/* --- a SentencePiece model, written field by field --- */

static size_t put_piece(unsigned char *at, const char *text, float score, unsigned char type)
{
    size_t length = strlen(text), size = 0;
    at[size++] = 0x0a;
    at[size++] = (unsigned char)(length + 9);
    at[size++] = 0x0a;
    at[size++] = (unsigned char)length;
    memcpy(at + size, text, length);
    size += length;
    at[size++] = 0x15;
    memcpy(at + size, &score, 4);
    size += 4;
    at[size++] = 0x18;
    at[size++] = type;
    return size;
}

/* "x" is no piece although "xa" is, and two scores are equal. `trim`: remove_extra_whitespaces. */
static size_t put_model(unsigned char *model, unsigned char trim)
{
    size_t size = 0;
    const unsigned char trainer[] = {0x12, 2, 0x18, 2}, normalizer[] = {0x1a, 2, 0x20, trim};
    size += put_piece(model + size, "<unk>", 0, 2);
    size += put_piece(model + size, "<s>", 0, 3);
    size += put_piece(model + size, "</s>", 0, 3);
    size += put_piece(model + size, SPACE, -9, 1);
    size += put_piece(model + size, "a", -9, 1);
    size += put_piece(model + size, "b", -9, 1);
    size += put_piece(model + size, "ab", -1, 1);
    size += put_piece(model + size, "ba", -1, 1);
    size += put_piece(model + size, "xa", -2, 1);
    size += put_piece(model + size, SPACE "a", -3, 1);
    size += put_piece(model + size, "[@]", 0, 4);
    memcpy(model + size, trainer, sizeof trainer);
    size += sizeof trainer;
    memcpy(model + size, normalizer, sizeof normalizer);
    return size + sizeof normalizer;
}

TEST(sentencepiece_model)
{
    td_context context;
    td_context_init(&context);
    fe_tokenizer t;
    unsigned char model[512];
    size_t size = put_model(model, 0);
    CHECK_MESSAGE(read_bytes(&context, model, size, &t) == TD_OK, "%s", context.message);
    CHECK(t.bos_id == 1 && t.eos_id == 2);
    CHECK_IDS(&t, "aba", RT_ENCODE_DEFAULTS, " 1 3 6 4"); /* of equal scores the leftmost */
    CHECK_IDS(&t, "a xa", 0, " 9 3 8");
    CHECK_IDS(&t, "xb", 0, " 3 0 5");
    CHECK_IDS(&t, "a[@]a", 0, " 9 10 4"); /* no space is put after a user's token */
    CHECK_IDS(&t, "a  a ", 0, " 9 3 9 3");
    fe_tokenizer_release(&context, &t);
    size = put_model(model, 1);
    CHECK_MESSAGE(read_bytes(&context, model, size, &t) == TD_OK, "%s", context.message);
    CHECK_IDS(&t, "  a  a ", 0, " 9 9");
    CHECK_IDS(&t, "   ", 0, "");
    CHECK_IDS(&t, " a  [@]  a ", 0, " 9 3 10 9"); /* only the text's own ends are trimmed */
    fe_tokenizer_release(&context, &t);
}

/* --- hostile files --- */

/* Reads mutilated forms of a file and uses what is still accepted; nothing crashes (sanitizers). */
static bool mutilate(const unsigned char *data, size_t size, int rounds, uint64_t seed)
{
    td_context context;
    td_context_init(&context);
    unsigned char *copy = malloc(size);
    bool good = copy != NULL;
    for (int round = 0; round < rounds && good; round++) {
        size_t length = size;
        memcpy(copy, data, size);
        if (round % 3 == 0)
            length = td_random_next(&seed) % size;
        for (uint64_t i = td_random_next(&seed) % 4 + (round % 3 != 0); i > 0 && length > 0; i--)
            copy[td_random_next(&seed) % length] =
                i % 2 != 0 ? (unsigned char)td_random_next(&seed)
                           : (unsigned char)"0\"{}[],\xff\0\x7f"[td_random_next(&seed) % 10];
        fe_tokenizer t;
        td_status status = read_bytes(&context, copy, length, &t);
        if (status == TD_OK) {
            char *ids = encode_text(&t, "ab <end>\xff \xc3\xa9 11 x", RT_ENCODE_SPECIAL);
            free(ids);
            fe_tokenizer_release(&context, &t);
        } else {
            good = (status == TD_INVALID || status == TD_UNSUPPORTED) && context.message[0] != '\0';
        }
    }
    free(copy);
    return good;
}

TEST(mutilated_json)
{
    CHECK(mutilate((const unsigned char *)byte_level, strlen(byte_level), 400, 1));
    CHECK(mutilate((const unsigned char *)spaces, strlen(spaces), 300, 2));
}

TEST(mutilated_sentencepiece)
{
    unsigned char model[512];
    size_t size = put_model(model, 1);
    CHECK(mutilate(model, size, 1500, 3));
}

TEST(mutilated_gguf)
{
    const char *path = DATA "weights/stories260K-f32.gguf";
    if (!td_path_exists(path))
        SKIP("the GGUF file is absent");
    td_context context;
    td_context_init(&context);
    td_file file;
    CHECK(td_file_map(&context, path, &file) == TD_OK);
    /* Its metadata and the beginning of its tensors. */
    CHECK(mutilate(file.data, file.size < 24000 ? file.size : 24000, 300, 4));
    td_file_unmap(&context, &file);
}

/* --- allocation failures --- */

/* Fails every allocation in turn until one run gets through. */
static bool survives_failures(const void *data, size_t size)
{
    written file = {0};
    write_file(&file, "tokenizer", data, size);
    bool finished = false, good = true;
    for (long count = 0; count < 20000 && !finished && good; count++) {
        failing_allocator failing = {.countdown = count};
        td_context context;
        failing_context(&context, &failing);
        fe_tokenizer t;
        td_status status = fe_read_tokenizer(&context, file.path, &t);
        good = status == TD_OK || status == TD_NO_MEMORY;
        if (!good)
            printf("    allocation %ld: %s\n", count, context.message);
        finished = status == TD_OK;
        if (finished)
            fe_tokenizer_release(&context, &t);
        good = good && failing.held == 0;
    }
    remove_files(&file, (const char *const[]){"tokenizer", NULL});
    return finished && good;
}

TEST(allocation_failures)
{
    unsigned char model[512];
    size_t size = put_model(model, 0);
    CHECK(survives_failures(model, size));
    CHECK(survives_failures(byte_level, strlen(byte_level)));
    CHECK(survives_failures(spaces, strlen(spaces)));
}

TEST_MAIN()
