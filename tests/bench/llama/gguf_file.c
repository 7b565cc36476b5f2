/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/llama/gguf_file.h"

#include "base/hash.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LAYERS = 22,
    WIDTH = 2048,
    KV_WIDTH = 256,
    HIDDEN = 5632,
    VOCABULARY = 32000,
    BLOCK = 32,
    ALIGNMENT = 32,
    GGUF_F32 = 0,
    GGUF_UINT32 = 4,
    GGUF_FLOAT32 = 6,
    GGUF_STRING = 8
};

/* Rows of 0 columns are vectors. */
typedef struct tensor_row {
    const char *name; /* %d: the layer */
    uint64_t columns, rows;
    bool per_layer;
} tensor_row;

static const tensor_row tensors[] = {
    {"token_embd.weight", WIDTH, VOCABULARY, false},
    {"output_norm.weight", WIDTH, 0, false},
    {"output.weight", WIDTH, VOCABULARY, false},
    {"blk.%d.attn_norm.weight", WIDTH, 0, true},
    {"blk.%d.attn_q.weight", WIDTH, WIDTH, true},
    {"blk.%d.attn_k.weight", WIDTH, KV_WIDTH, true},
    {"blk.%d.attn_v.weight", WIDTH, KV_WIDTH, true},
    {"blk.%d.attn_output.weight", WIDTH, WIDTH, true},
    {"blk.%d.ffn_norm.weight", WIDTH, 0, true},
    {"blk.%d.ffn_gate.weight", WIDTH, HIDDEN, true},
    {"blk.%d.ffn_up.weight", WIDTH, HIDDEN, true},
    {"blk.%d.ffn_down.weight", HIDDEN, WIDTH, true},
};

#define TENSOR_ROWS (sizeof tensors / sizeof tensors[0])

static const struct {
    const char *key;
    uint32_t value;
} numbers[] = {
    {"llama.context_length", 2048},     {"llama.embedding_length", WIDTH},
    {"llama.block_count", LAYERS},      {"llama.feed_forward_length", HIDDEN},
    {"llama.attention.head_count", 32}, {"llama.attention.head_count_kv", 4},
    {"llama.rope.dimension_count", 64}, {"llama.vocab_size", VOCABULARY},
};

#define NUMBERS (sizeof numbers / sizeof numbers[0])

static const char *const strings[][2] = {{"general.architecture", "llama"},
                                         {"tokenizer.ggml.model", "no_vocab"}};

static void put_u32(FILE *stream, uint32_t value)
{
    fwrite(&value, sizeof value, 1, stream);
}

static void put_u64(FILE *stream, uint64_t value)
{
    fwrite(&value, sizeof value, 1, stream);
}

static void put_string(FILE *stream, const char *text)
{
    put_u64(stream, strlen(text));
    fwrite(text, 1, strlen(text), stream);
}

static uint64_t tensor_bytes(const tensor_row *row, gguf_type type)
{
    if (row->rows == 0)
        return row->columns * sizeof(float);
    return row->columns * row->rows / BLOCK * (type == GGUF_Q8_0 ? 34 : 18);
}

static void put_header(FILE *stream)
{
    uint64_t count = 0;
    for (size_t i = 0; i < TENSOR_ROWS; i++)
        count += tensors[i].per_layer ? LAYERS : 1;
    fwrite("GGUF", 1, 4, stream);
    put_u32(stream, 3);
    put_u64(stream, count);
    put_u64(stream, NUMBERS + 3);
    for (size_t i = 0; i < NUMBERS; i++) {
        put_string(stream, numbers[i].key);
        put_u32(stream, GGUF_UINT32);
        put_u32(stream, numbers[i].value);
    }
    for (size_t i = 0; i < 2; i++) {
        put_string(stream, strings[i][0]);
        put_u32(stream, GGUF_STRING);
        put_string(stream, strings[i][1]);
    }
    const float epsilon = 1e-5f;
    put_string(stream, "llama.attention.layer_norm_rms_epsilon");
    put_u32(stream, GGUF_FLOAT32);
    fwrite(&epsilon, sizeof epsilon, 1, stream);
}

static void put_description(FILE *stream, const tensor_row *row, int layer, gguf_type type,
                            uint64_t offset)
{
    char name[64], number[16];
    const char *hole = strstr(row->name, "%d");
    snprintf(number, sizeof number, "%d", layer);
    snprintf(name, sizeof name, "%.*s%s%s",
             hole == NULL ? (int)strlen(row->name) : (int)(hole - row->name), row->name,
             hole == NULL ? "" : number, hole == NULL ? "" : hole + 2);
    put_string(stream, name);
    put_u32(stream, row->rows == 0 ? 1 : 2);
    put_u64(stream, row->columns);
    if (row->rows > 0)
        put_u64(stream, row->rows);
    put_u32(stream, row->rows == 0 ? GGUF_F32 : (uint32_t)type);
    put_u64(stream, offset);
}

/* An f16 scale that keeps activations near 1, then random integers. */
static void put_tensor(FILE *stream, const tensor_row *row, gguf_type type, uint64_t *random)
{
    const float one = 1;
    for (uint64_t i = 0; i < row->columns && row->rows == 0; i++)
        fwrite(&one, sizeof one, 1, stream);
    const uint16_t scale = type == GGUF_Q8_0 ? 0x0c00 : 0x1c00; /* 2^-12, 2^-8 */
    const size_t bytes = type == GGUF_Q8_0 ? 32 : 16;
    for (uint64_t i = 0; i < row->columns * row->rows / BLOCK; i++) {
        uint64_t block[4];
        for (size_t k = 0; k < 4; k++)
            block[k] = td_random_next(random);
        fwrite(&scale, sizeof scale, 1, stream);
        fwrite(block, 1, bytes, stream);
    }
}

static void pad(FILE *stream)
{
    while (ftell(stream) % ALIGNMENT != 0)
        putc(0, stream);
}

static void put_all(FILE *stream, gguf_type type)
{
    uint64_t offset = 0, random = 1;
    put_header(stream);
    for (int data = 0; data < 2; data++) {
        for (size_t i = 0; i < TENSOR_ROWS; i++)
            for (int layer = 0; layer < (tensors[i].per_layer ? LAYERS : 1); layer++) {
                if (data) {
                    put_tensor(stream, &tensors[i], type, &random);
                    pad(stream);
                } else {
                    put_description(stream, &tensors[i], layer, type, offset);
                    offset +=
                        (tensor_bytes(&tensors[i], type) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
                }
            }
        pad(stream);
    }
}

bool gguf_write(const char *path, gguf_type type)
{
    if (access(path, R_OK) == 0)
        return true;
    FILE *stream = fopen(path, "wb");
    if (stream != NULL)
        put_all(stream, type);
    const bool failed = stream == NULL || ferror(stream);
    if ((stream != NULL && fclose(stream) != 0) || failed) {
        fprintf(stderr, "%s: cannot be written\n", path);
        unlink(path);
        return false;
    }
    return true;
}
