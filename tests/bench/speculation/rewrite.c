/* Makes models for measurements out of a Hugging Face directory (Llama, one safetensors file, F32):
 *
 *     rewrite widen UNITS FROM TO    FFN units are added whose down-projection is zero: the same
 *                                    function of more bytes
 *     rewrite random SEED FROM TO    all matrices are random: a drafter of no use
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_NAME 4096

static _Noreturn void fail(const char *what, const char *name)
{
    fprintf(stderr, "rewrite: %s: %s\n", name, what);
    exit(1);
}

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    char path[MOST_NAME];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, mode);
    if (file == NULL)
        fail(strerror(errno), path);
    return file;
}

/* Between -1 and 1. */
static float next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(*state >> 11) * 0x1p-52 - 1);
}

/* What is done to the models. */
typedef struct rewriting {
    uint32_t units; /* FFN units that are added */
    bool random;
    uint64_t state;
} rewriting;

/* A matrix before and after. */
typedef struct tensor {
    const char *name;
    uint64_t rows, columns, old_rows, old_columns;
    uint64_t offset; /* in the old file's data */
} tensor;

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static tensor describe(const rewriting *self, const char *name, const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (strcmp(json_string_value(json_object_get(entry, "dtype")), "F32") != 0)
        fail("only F32 can be rewritten", name);
    tensor result = {.name = name, .old_columns = 1};
    result.old_rows = (uint64_t)json_integer_value(json_array_get(shape, 0));
    if (json_array_size(shape) == 2)
        result.old_columns = (uint64_t)json_integer_value(json_array_get(shape, 1));
    result.rows = result.old_rows;
    result.columns = result.old_columns;
    if (ends_with(name, "gate_proj.weight") || ends_with(name, "up_proj.weight"))
        result.rows += self->units;
    if (ends_with(name, "down_proj.weight"))
        result.columns += self->units;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    result.offset = (uint64_t)json_integer_value(json_array_get(offsets, 0));
    return result;
}

static void write_matrix(rewriting *self, const tensor *matrix, const float *old, FILE *file)
{
    const bool zero = ends_with(matrix->name, "down_proj.weight");
    for (uint64_t row = 0; row < matrix->rows; row++)
        for (uint64_t column = 0; column < matrix->columns; column++) {
            float value;
            if (self->random && matrix->old_columns > 1)
                value = 0.1f * next_random(&self->state);
            else if (row < matrix->old_rows && column < matrix->old_columns)
                value = old[row * matrix->old_columns + column];
            else
                value = zero ? 0.0f : 0.05f * next_random(&self->state);
            if (fwrite(&value, sizeof value, 1, file) != 1)
                fail(strerror(errno), matrix->name);
        }
}

static json_t *read_header(FILE *file)
{
    uint64_t length;
    if (fread(&length, sizeof length, 1, file) != 1 || length > (1u << 24))
        fail("is no safetensors file", "model.safetensors");
    char *text = malloc(length);
    if (text == NULL || fread(text, 1, length, file) != length)
        fail("cannot be read", "model.safetensors");
    json_t *header = json_loadb(text, length, 0, NULL);
    free(text);
    if (header == NULL)
        fail("is no safetensors file", "model.safetensors");
    return header;
}

static json_t *new_entry(const tensor *matrix, uint64_t start)
{
    const uint64_t end = start + 4 * matrix->rows * matrix->columns;
    json_t *shape = json_pack("[I]", (json_int_t)matrix->rows);
    if (matrix->old_columns > 1)
        json_array_append_new(shape, json_integer((json_int_t)matrix->columns));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets",
                     (json_int_t)start, (json_int_t)end);
}

static void write_header(const json_t *header, FILE *file)
{
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const uint64_t length = strlen(text), padded = (length + 7) / 8 * 8;
    fwrite(&padded, sizeof padded, 1, file);
    fprintf(file, "%-*s", (int)padded, text);
    free(text);
}

static void rewrite_weights(rewriting *self, const char *from, const char *to)
{
    FILE *input = open_in(from, "model.safetensors", "rb");
    json_t *old = read_header(input), *new = json_object();
    const long data = ftell(input);
    const char *name;
    json_t *entry;
    uint64_t end = 0;
    json_object_foreach(old, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        const tensor matrix = describe(self, name, entry);
        json_object_set_new(new, name, new_entry(&matrix, end));
        end += 4 * matrix.rows * matrix.columns;
    }
    FILE *output = open_in(to, "model.safetensors", "wb");
    write_header(new, output);
    json_object_foreach(old, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        const tensor matrix = describe(self, name, entry);
        const uint64_t count = matrix.old_rows * matrix.old_columns;
        float *values = malloc(count * sizeof *values);
        fseek(input, data + (long)matrix.offset, SEEK_SET);
        if (values == NULL || fread(values, sizeof *values, count, input) != count)
            fail("ends too early", "model.safetensors");
        write_matrix(self, &matrix, values, output);
        free(values);
    }
    if (fclose(output) != 0)
        fail(strerror(errno), to);
    fclose(input);
    json_decref(old);
    json_decref(new);
}

static void rewrite_config(const rewriting *self, const char *from, const char *to)
{
    FILE *input = open_in(from, "config.json", "r");
    json_t *config = json_loadf(input, 0, NULL);
    fclose(input);
    if (config == NULL)
        fail("is no JSON", "config.json");
    const json_int_t units = json_integer_value(json_object_get(config, "intermediate_size"));
    json_object_set_new(config, "intermediate_size", json_integer(units + self->units));
    FILE *output = open_in(to, "config.json", "w");
    json_dumpf(config, output, JSON_INDENT(2));
    if (fclose(output) != 0)
        fail(strerror(errno), to);
    json_decref(config);
}

int main(int count, char **arguments)
{
    rewriting self = {.state = 1};
    if (count != 5)
        fail("usage: rewrite widen UNITS FROM TO | rewrite random SEED FROM TO", "arguments");
    if (strcmp(arguments[1], "widen") == 0) {
        self.units = (uint32_t)strtoul(arguments[2], NULL, 10);
    } else {
        self.random = true;
        self.state = strtoull(arguments[2], NULL, 10);
    }
    rewrite_config(&self, arguments[3], arguments[4]);
    rewrite_weights(&self, arguments[3], arguments[4]);
    return 0;
}
