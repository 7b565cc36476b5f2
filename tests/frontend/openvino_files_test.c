/* Real OpenVINO files: each is read, or refused in one sentence; TinyLlama without its .bin;
 * damaged files.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/frontend/openvino_model.h"

#include "base/file.h"
#include "base/hash.h"

#define FILES     TEST_SOURCE_FOLDER "/../shared/data/openvino/"
#define TINYLLAMA FILES "tinyllama_1.1b_u8_stateful_openvino_model.xml"
#define CONSTANTS TEST_SOURCE_FOLDER "/tests/frontend/tinyllama_constants.json"

static const fe_options plain = {0};
static const fe_options summary = {.summary = true, .listing = true};
static const fe_options listing = {.listing = true};

/* What docs/openvino.md says about each: "" when it is read, else a part of the refusal. */
static const struct {
    const char *name, *refusal, *summary_refusal;
} files[] = {
    {"SampLeNet.xml", "Convolution (2, first layer 2 \"conv1/WithoutBiases\")", ""},
    {"age-gender-recognition-retail-0013.xml", "Convolution (11, ", ""},
    {"distilbert_sst2_openvino_model.xml", "MVN (13, ", ""},
    {"face-detection-adas-0001.xml", "DetectionOutput (1, ", ""},
    {"flan_t5_large_openvino_decoder_model.xml", "Gelu (24, ", ""},
    {"flan_t5_large_openvino_encoder_model.xml", "Log (1, ", ""},
    {"minilm_l6_openvino_model.xml", "MVN (13, ", ""},
    {"minilm_l6_qint8_openvino_model.xml", "FakeQuantize (36, ", ""},
    {"npu_loop.xml", "Loop (1, first layer 4 \"Loop_15\")", ""},
    {"ovms_dummy.xml", "", ""},
    {"ovms_dummy_fp64.xml", "", ""},
    {"ovms_increment_1x3x4x5.xml", "", ""},
    {"ovms_no_name_output.xml", "", ""},
    {"qwen3_30b_a3b_moe_cut_MALFORMED.xml", "line 7079: malformed XML", "line 7079"},
    {"qwen3_30b_a3b_moe_cut_repaired.xml", "neither a Result nor an Assign", ""},
    {"qwen3_4b_openvino_detokenizer.xml", "VocabDecoder (1, ", ""},
    {"qwen3_4b_openvino_tokenizer.xml", "BPETokenizer (1, ", ""},
    {"realesrgan-x4-fp16.xml", "PReLU (279, ", ""},
    {"semantic-segmentation-adas-0001.xml", "AvgPool (6, ", ""},
    {"single-image-super-resolution-1032.xml", "Convolution (15, ", ""},
    {"tinyllama_1.1b_u8_stateful_openvino_model.xml", "30 constants", ""},
};

/* True when the file is read (refusal "") or refused with that text. */
static bool has_outcome(const char *name, const fe_options *options, const char *refusal)
{
    td_context context;
    ir_module *module = NULL;
    char path[600];
    td_context_init(&context);
    snprintf(path, sizeof path, FILES "%s", name);
    td_status status = fe_read_openvino(&context, path, options, &module);
    if (status == TD_OK)
        status = ir_verify(module);
    ir_module_release(module);
    bool as_expected = *refusal == '\0' ? status == TD_OK
                                        : status != TD_OK && strstr(context.message, refusal) &&
                                              strstr(context.message, name) != NULL;
    if (!as_expected)
        printf("    %s: %s\n", name, status == TD_OK ? "was read" : context.message);
    return as_expected;
}

TEST(every_file_is_read_or_refused_in_a_sentence)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    for (size_t i = 0; i < TD_COUNT_OF(files); i++) {
        CHECK(has_outcome(files[i].name, &plain, files[i].refusal));
        CHECK(has_outcome(files[i].name, &summary, files[i].summary_refusal));
    }
}

/* --- TinyLlama --- */

static ir_module *read_tinyllama(td_context *context, const fe_options *options)
{
    ir_module *module = NULL;
    td_context_init(context);
    if (fe_read_openvino(context, TINYLLAMA, options, &module) != TD_OK)
        printf("    %s\n", context->message);
    return module;
}

/* Bytes of two small constants are equal. */
static bool same_bytes(td_context *context, const ir_constant *a, const ir_constant *b)
{
    unsigned char left[256], right[256];
    return a->bytes == b->bytes && a->bytes <= sizeof left &&
           ir_constant_read(context, a, 0, a->bytes, left) == TD_OK &&
           ir_constant_read(context, b, 0, b->bytes, right) == TD_OK &&
           memcmp(left, right, a->bytes) == 0;
}

/* What is assumed from declared shapes is what the architecture says. Frequencies are computed and
 * may differ in the last place. */
TEST(assumed_constants_are_the_true_ones)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    td_context context, other;
    const fe_options given = {.listing = true, .constants = CONSTANTS};
    ir_module *assumed = read_tinyllama(&context, &listing);
    ir_module *true_ones = read_tinyllama(&other, &given);
    size_t compared = 0, different = 0;
    bool readable = assumed != NULL && true_ones != NULL &&
                    assumed->constants.count == true_ones->constants.count;
    for (size_t i = 0; readable && i < assumed->constants.count; i++) {
        const ir_constant *a = assumed->constants.items[i], *b = true_ones->constants.items[i];
        different += a->missing != b->missing;
        if (a->missing || a->bytes > 64)
            continue;
        compared++;
        different += !same_bytes(&context, a, b);
    }
    ir_module_release(assumed);
    ir_module_release(true_ones);
    CHECK(readable && compared > 1000);
    CHECK(different == 0);
}

/* After fold_shapes every float value has a shape over tokens and slots alone. */
TEST(shapes_fold_to_tokens_and_slots)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    td_context context;
    ir_module *module = read_tinyllama(&context, &listing);
    CHECK(module != NULL);
    td_status status = ir_pass_fold_shapes(module);
    if (status == TD_OK)
        status = ir_verify(module);
    ir_symbol tokens, slots;
    size_t strange = 0, products = 0;
    bool named = ir_module_find_symbol(module, "tokens", &tokens) &&
                 ir_module_find_symbol(module, "slots", &slots);
    for (const ir_node *node = module->graphs.items[0]->first; named && node != NULL;
         node = node->next)
        for (uint32_t o = 0; o < node->output_count; o++)
            for (uint32_t d = 0; d < node->outputs[o]->shape.rank; d++) {
                const ir_dim *dim = &node->outputs[o]->shape.dim[d];
                for (uint32_t t = 0; t < dim->terms; t++)
                    if (dim->term[t].symbol != tokens && dim->term[t].symbol != slots) {
                        /* The flat mask of tokens * (slots + tokens) elements is one symbol. */
                        products += node->outputs[o]->shape.rank <= 2;
                        strange += node->outputs[o]->shape.rank > 2;
                    }
            }
    ir_module_release(module);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    CHECK(named && strange == 0 && products < 8);
}

TEST(decompression_folds_to_u8_constants)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    td_context context;
    const fe_options random = {.constants = CONSTANTS, .random_weights = true, .random_seed = 7};
    ir_module *module = read_tinyllama(&context, &random);
    CHECK(module != NULL);
    bool folded = ir_pass_fold_shapes(module) == TD_OK &&
                  ir_pass_fold_decompression(module) == TD_OK && ir_verify(module) == TD_OK;
    size_t weights = 0;
    double sum = 0, squares = 0;
    float row[2048];
    const ir_graph *graph = module->graphs.items[0];
    for (const ir_node *node = graph->first; folded && node != NULL; node = node->next) {
        const ir_constant *weight =
            node->input_count < 2 ? NULL : node->inputs[node->op == IR_OP_gather ? 0 : 1]->constant;
        if ((node->op != IR_OP_matmul && node->op != IR_OP_gather) || weight == NULL ||
            weight->scale == NULL)
            continue;
        folded = weight->type == IR_U8 && weight->zero_point != NULL;
        if (weights++ == 1)
            folded = folded && ir_constant_read_f32(&context, weight, 3 * 2048, 2048, row) == TD_OK;
    }
    for (size_t i = 0; i < 2048; i++) {
        sum += row[i];
        squares += (double)row[i] * row[i];
    }
    size_t left = count_nodes(graph, IR_OP_subtract);
    ir_module_release(module);
    CHECK(folded && weights == 156 && left == 0);
    /* A row of random weights has mean 0 and deviation 1 / sqrt(2048). */
    CHECK(sum / 2048 < 0.003 && sum / 2048 > -0.003);
    CHECK(squares > 0.8 && squares < 1.2);
}

TEST(random_weights_do_not_depend_on_the_range_read)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    td_context context;
    const fe_options random = {.constants = CONSTANTS, .random_weights = true, .random_seed = 7};
    ir_module *module = read_tinyllama(&context, &random);
    CHECK(module != NULL);
    bool same = true;
    unsigned char whole[200], part[200];
    for (size_t i = 0; i < module->constants.count && same; i++) {
        const ir_constant *constant = module->constants.items[i];
        if (constant->bytes < 256)
            continue;
        same = ir_constant_read(&context, constant, 40, 200, whole) == TD_OK &&
               ir_constant_read(&context, constant, 77, 50, part) == TD_OK &&
               memcmp(whole + 37, part, 50) == 0;
    }
    ir_module_release(module);
    CHECK(same);
}

/* --- damaged files --- */

/* Reads bytes as a model under --summary and folds what comes out; only crashes count. */
static void try_bytes(const char *path, const unsigned char *bytes, size_t size)
{
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    if (test_write(path, bytes, size) &&
        fe_read_openvino(&context, path, &summary, &module) == TD_OK &&
        ir_pass_fold_shapes(module) == TD_OK)
        ir_pass_fold_decompression(module);
    ir_module_release(module);
}

static void damage(const char *name, size_t stride, size_t flips)
{
    td_context context;
    td_file file;
    char source[600], path[300];
    td_context_init(&context);
    snprintf(source, sizeof source, FILES "%s", name);
    snprintf(path, sizeof path, "%s/openvino_damaged_%d.xml", TEST_BUILD_FOLDER, (int)getpid());
    if (td_file_map(&context, source, &file) != TD_OK)
        return;
    unsigned char *copy = malloc(file.size);
    if (copy != NULL) {
        for (size_t size = 0; size < file.size; size += stride)
            try_bytes(path, file.data, size);
        uint64_t state = 11;
        for (size_t i = 0; i < flips; i++) {
            memcpy(copy, file.data, file.size);
            for (uint64_t k = 1 + td_random_next(&state) % 4; k > 0; k--)
                copy[td_random_next(&state) % file.size] = (unsigned char)td_random_next(&state);
            try_bytes(path, copy, file.size);
        }
        /* Digits only: the file stays well-formed, and numbers become others. */
        for (size_t i = 0; i < flips; i++) {
            memcpy(copy, file.data, file.size);
            for (uint64_t k = 40; k > 0; k--) {
                unsigned char *byte = &copy[td_random_next(&state) % file.size];
                if (*byte >= '0' && *byte <= '9')
                    *byte = (unsigned char)('0' + td_random_next(&state) % 10);
            }
            try_bytes(path, copy, file.size);
        }
    }
    free(copy);
    unlink(path);
    td_file_unmap(&context, &file);
}

TEST(damaged_files_do_no_harm)
{
    if (!td_path_exists(TINYLLAMA))
        SKIP("../shared/data/openvino is not there");
    damage("npu_loop.xml", 97, 150);
    damage("SampLeNet.xml", 97, 150);
    damage("qwen3_30b_a3b_moe_cut_repaired.xml", 9700, 150);
    CHECK(true);
}

TEST_MAIN()
