/* Hugging Face configurations and directories: every field that is checked, shards, and missing or
 * misshapen tensors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/huggingface_config.h"
#include "tests/frontend/checkpoint_bytes.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

/* A model of two layers, small enough for its shapes to be read here. */
#define TINY                                                                                       \
    "\"model_type\":\"llama\",\"vocab_size\":6,\"hidden_size\":4,\"intermediate_size\":8,"         \
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"max_position_embeddings\":32,\"tie_word_embeddings\":true,\"eos_token_id\":[5,4]"

/* Later keys win, so that a row can replace one of TINY. */
static td_status read_parameters(td_context *context, const char *more, fe_llama *llama)
{
    char text[1024];
    snprintf(text, sizeof text, "{%s%s%s}", TINY, more[0] == '\0' ? "" : ",", more);
    json_t *root = json_loads(text, 0, NULL);
    const td_status status = fe_huggingface_parameters(context, "config.json", root, llama);
    json_decref(root);
    return status;
}

TEST(reads_fields_and_defaults)
{
    td_context context;
    fe_llama llama;
    td_context_init(&context);
    CHECK_MESSAGE(read_parameters(&context, "", &llama) == TD_OK, "%s", context.message);
    CHECK(llama.vocabulary == 6 && llama.width == 4 && llama.layers == 2 && llama.heads == 2);
    CHECK(llama.kv_heads == 1 && llama.head_size == 2 && llama.feed_forward == 8);
    CHECK(llama.context_length == 32 && llama.parts == 0 && llama.window == 0);
    CHECK(llama.epsilon == 1e-6 && llama.rope.base == 10000.0 && !llama.rope.interleaved);
    CHECK(read_parameters(&context, "\"head_dim\":6,\"attention_bias\":true,\"rope_theta\":5e5",
                          &llama) == TD_OK);
    CHECK(llama.head_size == 6 && llama.rope.base == 5e5);
    CHECK(llama.parts == (FE_LLAMA_WITH_INPUT_BIAS | FE_LLAMA_WITH_OUTPUT_BIAS));
    CHECK(read_parameters(&context, "\"tie_word_embeddings\":false,\"mlp_bias\":true", &llama) ==
          TD_OK);
    CHECK(llama.parts == (FE_LLAMA_WITH_SEPARATE_HEAD | FE_LLAMA_WITH_MLP_BIAS));
    CHECK(read_parameters(&context, "\"model_type\":\"qwen2\"", &llama) == TD_OK);
    CHECK(llama.parts == FE_LLAMA_WITH_INPUT_BIAS);
    CHECK(read_parameters(&context, "\"model_type\":\"qwen3\"", &llama) == TD_OK);
    CHECK(llama.parts == FE_LLAMA_WITH_HEAD_NORMS);
    CHECK(read_parameters(&context, "\"model_type\":\"mistral\",\"sliding_window\":16", &llama) ==
          TD_OK);
    CHECK(llama.parts == 0 && llama.window == 16);
}

TEST(refuses_fields_in_a_sentence)
{
    static const struct {
        const char *more, *says;
    } rows[] = {
        {"\"model_type\":\"gpt2\"", "\"model_type\" is \"gpt2\"; \"llama\", \"mistral\", \"qwen2\" "
                                    "and \"qwen3\" are accepted"},
        {"\"model_type\":7", "\"model_type\" must be a string"},
        {"\"vocab_size\":-1", "\"vocab_size\" must be a whole number"},
        {"\"hidden_size\":null", "\"hidden_size\" must be a whole number"},
        {"\"hidden_size\":4.0", "\"hidden_size\" must be a whole number"},
        {"\"num_hidden_layers\":9223372036854775807", "\"num_hidden_layers\" must be a whole"},
        {"\"num_attention_heads\":0", "\"num_attention_heads\" must be at least 1"},
        {"\"rms_norm_eps\":\"small\"", "\"rms_norm_eps\" must be a number"},
        {"\"attention_bias\":1", "\"attention_bias\" must be true or false"},
        {"\"hidden_act\":\"gelu\"", "\"hidden_act\" is \"gelu\"; \"silu\" is accepted"},
        {"\"quantization_config\":{}", "\"quantization_config\" is present"},
        {"\"use_sliding_window\":true", "\"use_sliding_window\" is true"},
        {"\"partial_rotary_factor\":0.5", "\"partial_rotary_factor\" must be 1"},
        {"\"rope_scaling\":3", "\"rope_scaling\" must be an object or null"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\"}", "\"rope_scaling.rope_type\" is \"yarn\""},
        {"\"rope_scaling\":{\"type\":\"linear\"}", "\"rope_scaling.factor\" must be a number"},
    };
    td_context context;
    fe_llama llama;
    td_context_init(&context);
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        CHECK_MESSAGE(read_parameters(&context, rows[i].more, &llama) != TD_OK, "row %zu", i);
        CHECK_MESSAGE(strncmp(context.message, "config.json: ", 13) == 0 &&
                          strstr(context.message, rows[i].says) != NULL,
                      "row %zu: %s", i, context.message);
    }
}

TEST(stretches_frequencies)
{
    td_context context;
    fe_llama llama;
    float plain[32], stretched[32];
    td_context_init(&context);
    CHECK(read_parameters(&context, "\"head_dim\":64,\"rope_theta\":500000.0", &llama) == TD_OK);
    CHECK(fe_rope_frequencies(&context, &llama.rope, 64, plain) == TD_OK);
    CHECK(plain[0] == 1.0f && plain[16] == (float)(1.0 / sqrt(500000.0)));
    CHECK(read_parameters(&context, "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}",
                          &llama) == TD_OK);
    llama.rope.base = 500000.0;
    CHECK(fe_rope_frequencies(&context, &llama.rope, 64, stretched) == TD_OK);
    for (int i = 0; i < 32; i++)
        CHECK(stretched[i] == plain[i] / 4.0f);
    CHECK(read_parameters(&context,
                          "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000,"
                          "\"factor\":32,\"low_freq_factor\":1,\"high_freq_factor\":4,"
                          "\"original_max_position_embeddings\":8192}",
                          &llama) == TD_OK);
    CHECK(fe_rope_frequencies(&context, &llama.rope, 64, stretched) == TD_OK);
    for (int i = 0; i < 32; i++) {
        const double wavelength = 2.0 * M_PI / (double)plain[i];
        if (wavelength < 8192.0 / 4.0)
            CHECK(stretched[i] == plain[i]);
        else if (wavelength > 8192.0)
            CHECK(fabsf(stretched[i] * 32.0f / plain[i] - 1.0f) < 1e-6f);
        else
            CHECK(stretched[i] < plain[i] && stretched[i] > plain[i] / 32.0f);
    }
}

/* --- directories --- */

typedef struct tiny_tensor {
    const char *name;
    int rows, columns; /* rows 0: a vector */
} tiny_tensor;

#define LAYER(n)                                                                                   \
    {"model.layers." n ".input_layernorm.weight", 0, 4},                                           \
        {"model.layers." n ".self_attn.q_proj.weight", 4, 4},                                      \
        {"model.layers." n ".self_attn.k_proj.weight", 2, 4},                                      \
        {"model.layers." n ".self_attn.v_proj.weight", 2, 4},                                      \
        {"model.layers." n ".self_attn.o_proj.weight", 4, 4},                                      \
        {"model.layers." n ".post_attention_layernorm.weight", 0, 4},                              \
        {"model.layers." n ".mlp.gate_proj.weight", 8, 4},                                         \
        {"model.layers." n ".mlp.up_proj.weight", 8, 4},                                           \
    {                                                                                              \
        "model.layers." n ".mlp.down_proj.weight", 4, 8                                            \
    }

static const tiny_tensor tiny_tensors[] = {
    {"model.embed_tokens.weight", 6, 4},
    {"model.norm.weight", 0, 4},
    LAYER("0"),
    LAYER("1"),
};

/* A directory that the test removes with everything in it. */
typedef struct directory {
    char path[512];
} directory;

static bool directory_make(directory *self)
{
    snprintf(self->path, sizeof self->path, TEST_BUILD_FOLDER "/checkpoint-XXXXXX");
    return mkdtemp(self->path) != NULL;
}

static const char *const tiny_files[] = {
    "config.json",       "generation_config.json",       "tokenizer.json",
    "model.safetensors", "model.safetensors.index.json", "one.safetensors",
    "two.safetensors",
};

static void directory_remove(const directory *self)
{
    char path[600];
    for (size_t i = 0; i < TD_COUNT_OF(tiny_files); i++) {
        snprintf(path, sizeof path, "%s/%s", self->path, tiny_files[i]);
        unlink(path);
    }
    rmdir(self->path);
}

static void write_file(const directory *self, const char *name, const void *data, size_t size)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", self->path, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
}

static void write_text(const directory *self, const char *name, const char *text)
{
    write_file(self, name, text, strlen(text));
}

/* Tensors [first, last) with the given type, of 4 or 2 bytes an element, all of them zero bytes. */
static void write_weights(const directory *self, const char *name, size_t first, size_t last,
                          const char *type)
{
    const int element = strcmp(type, "F32") == 0 ? 4 : 2;
    bytes file = {.size = 0};
    char header[4096];
    int length = 0, offset = 0;
    for (size_t i = first; i < last; i++) {
        const tiny_tensor *tensor = &tiny_tensors[i];
        const int size = (tensor->rows == 0 ? 1 : tensor->rows) * tensor->columns * element;
        length +=
            snprintf(header + length, sizeof header - (size_t)length,
                     "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%.0d%s%d],\"data_offsets\":[%d,%d]}",
                     i == first ? '{' : ',', tensor->name, type, tensor->rows,
                     tensor->rows == 0 ? "" : ",", tensor->columns, offset, offset + size);
        offset += size;
    }
    snprintf(header + length, sizeof header - (size_t)length, "}");
    put_string(&file, header);
    for (int i = 0; i < offset; i++)
        put_number(&file, 0, 1);
    write_file(self, name, file.data, file.size);
}

static td_status import(td_context *context, const directory *self, fe_model *model)
{
    const fe_options options = {0};
    return fe_import(context, self->path, &options, model);
}

TEST(reads_a_directory_in_16_bits)
{
    static const char *const types[] = {"F16", "BF16", "F32"};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        td_context context;
        directory tiny;
        fe_model model;
        td_context_init(&context);
        CHECK(directory_make(&tiny));
        write_text(&tiny, "config.json", "{" TINY "}");
        write_text(&tiny, "generation_config.json",
                   "{\"bos_token_id\":1,\"eos_token_id\":[3,0,4]}");
        write_weights(&tiny, "model.safetensors", 0, TD_COUNT_OF(tiny_tensors), types[i]);
        const td_status status = import(&context, &tiny, &model);
        directory_remove(&tiny);
        CHECK_MESSAGE(status == TD_OK, "%s", context.message);
        CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
        CHECK(model.bos_id == 1 && model.eos_id == 3 && model.tokenizer_path == NULL);
        CHECK(model.further_end_count == 2);
        CHECK(model.further_end_ids[0] == 0 && model.further_end_ids[1] == 4);
        const ir_graph *forward = ir_module_find_graph(model.module, "forward");
        for (const ir_node *node = forward->first; node != NULL; node = node->next)
            if (node->op == IR_OP_rms_norm)
                CHECK(node->inputs[1]->constant->type == IR_F32);
        CHECK_STRING(ir_type_name(forward->first->inputs[0]->constant->type), i == 0   ? "f16"
                                                                              : i == 1 ? "bf16"
                                                                                       : "f32");
        ir_module_release(model.module);
    }
}

TEST(reads_shards)
{
    td_context context;
    directory tiny;
    fe_model model;
    td_context_init(&context);
    CHECK(directory_make(&tiny));
    write_text(&tiny, "config.json", "{" TINY "}");
    write_text(&tiny, "tokenizer.json", "{}");
    write_weights(&tiny, "one.safetensors", 0, 7, "F32");
    write_weights(&tiny, "two.safetensors", 7, TD_COUNT_OF(tiny_tensors), "F32");
    write_text(&tiny, "model.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\","
               "\"c\":\"one.safetensors\"}}");
    CHECK_MESSAGE(import(&context, &tiny, &model) == TD_OK, "%s", context.message);
    CHECK(model.bos_id == -1 && model.eos_id == 5 && model.tokenizer_path != NULL);
    ir_module_release(model.module);
    write_weights(&tiny, "two.safetensors", 6, TD_COUNT_OF(tiny_tensors), "F32");
    CHECK(import(&context, &tiny, &model) == TD_INVALID);
    CHECK(strstr(context.message, "two tensors are named") != NULL);
    write_text(&tiny, "model.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    CHECK(import(&context, &tiny, &model) == TD_INVALID);
    CHECK(strstr(context.message, "a file in the same directory") != NULL);
    write_text(&tiny, "model.safetensors.index.json", "{\"weight_map\":[]}");
    CHECK(import(&context, &tiny, &model) == TD_INVALID);
    write_text(&tiny, "model.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"three.safetensors\"}}");
    CHECK(import(&context, &tiny, &model) == TD_IO);
    directory_remove(&tiny);
}

TEST(refuses_directories_in_a_sentence)
{
    static const struct {
        const char *config;
        size_t first, last; /* tensors */
        const char *says;
    } rows[] = {
        {"{" TINY "}", 0, 0, "2 layers cannot be in a file of 0 tensors"},
        {"{" TINY "}", 0, 19, "1 tensor is missing: \"model.layers.1.mlp.down_proj.weight\""},
        {"{" TINY "}", 0, 12, "8 tensors are missing: \"model.layers.1.self_attn.q_proj.weight\""},
        {"{" TINY ",\"vocab_size\":7}", 0, 20,
         "\"model.embed_tokens.weight\" has shape [6, 4], "
         "expected [7, 4]"},
        {"{" TINY ",\"num_key_value_heads\":2}", 0, 20, "has shape [2, 4], expected [4, 4]"},
        {"{" TINY ",\"num_hidden_layers\":1000}", 0, 20, "1000 layers cannot be in a file of 20"},
        {"{" TINY ",\"num_attention_heads\":3,\"num_key_value_heads\":2}", 0, 20, "the head size"},
        {"{" TINY ",\"num_attention_heads\":4,\"head_dim\":2,\"num_key_value_heads\":3}", 0, 20,
         "4 heads cannot be shared out among 3 KV heads"},
        {"{" TINY ",\"rope_theta\":0}", 0, 20, "the rotation's base is 0"},
        {"{" TINY ",\"rms_norm_eps\":-1}", 0, 20, "the epsilon of RMSNorm is -1"},
        {"{" TINY ",\"max_position_embeddings\":0}", 0, 20, "the context length is 0"},
        {"{" TINY ",\"tie_word_embeddings\":false}", 0, 20,
         "1 tensor is missing: \"lm_head.weight"},
        {"{" TINY ",\"eos_token_id\":6}", 0, 20, "\"eos_token_id\" must be a token id"},
    };
    td_context context;
    directory tiny;
    fe_model model;
    td_context_init(&context);
    CHECK(directory_make(&tiny));
    CHECK(import(&context, &tiny, &model) == TD_IO);
    write_text(&tiny, "config.json", "{\n\"model_type\":");
    CHECK(import(&context, &tiny, &model) == TD_INVALID);
    CHECK(strstr(context.message, "config.json: line 2") != NULL);
    write_text(&tiny, "config.json", "{" TINY "}");
    CHECK(import(&context, &tiny, &model) == TD_INVALID);
    CHECK(strstr(context.message, "neither model.safetensors nor") != NULL);
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        json_t *merged = json_loads(rows[i].config, 0, NULL); /* later keys win */
        char *text = json_dumps(merged, 0);
        write_text(&tiny, "config.json", text);
        write_weights(&tiny, "model.safetensors", rows[i].first, rows[i].last, "F32");
        if (rows[i].last == 0)
            write_file(&tiny, "model.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
        CHECK_MESSAGE(import(&context, &tiny, &model) == TD_INVALID, "row %zu", i);
        CHECK_MESSAGE(strstr(context.message, rows[i].says) != NULL, "row %zu: %s", i,
                      context.message);
        free(text);
        json_decref(merged);
    }
    directory_remove(&tiny);
}

TEST_MAIN()
