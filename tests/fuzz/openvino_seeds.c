/* Writes seeds for openvino_fuzz.c: small decoders with weights of every kind, each as its XML, a
 * NUL byte and its .bin.
 *
 *     openvino_seeds FOLDER
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "tests/frontend/small_llama.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

/* Indentation is left out: the shorter a seed, the more of its mutations mean something. */
static void put_text(const td_file *file, FILE *out)
{
    for (uint64_t i = 0; i < file->size; i++)
        if (file->data[i] != '\n' && file->data[i] != '\t')
            fputc(file->data[i], out);
    fputc('\0', out);
}

static bool join(td_context *context, const char *xml, const char *bin, const char *path)
{
    td_file text = {0}, bytes = {0};
    FILE *out = fopen(path, "wb");
    bool written = out != NULL && td_file_map(context, xml, &text) == TD_OK &&
                   td_file_map(context, bin, &bytes) == TD_OK;
    if (written) {
        put_text(&text, out);
        written = fwrite(bytes.data, 1, bytes.size, out) == bytes.size;
    }
    td_file_unmap(context, &bytes);
    td_file_unmap(context, &text);
    return out != NULL && fclose(out) == 0 && written;
}

static bool make_seed(td_context *context, const char *folder, const char *name,
                      const small_llama *shape)
{
    char xml[512], bin[512], seed[512];
    fe_model model = {0};
    snprintf(xml, sizeof xml, "%s/%s.xml", folder, name);
    snprintf(bin, sizeof bin, "%s/%s.bin", folder, name);
    snprintf(seed, sizeof seed, "%s/%s", folder, name);
    bool made = small_llama_build(context, shape, &model) == TD_OK &&
                fe_write_openvino(&model, xml) == TD_OK && join(context, xml, bin, seed);
    ir_module_release(model.module);
    unlink(xml);
    unlink(bin);
    return made;
}

int main(int argument_count, char **arguments)
{
    static const struct {
        const char *name;
        small_llama shape;
    } seeds[] = {
        {"f32", {.weights = SMALL_F32, .layers = 1, .tied = true}},
        {"i8-biases", {.weights = SMALL_I8_GROUPS, .layers = 1, .tied = true, .biases = true}},
        {"u8-norms", {.weights = SMALL_U8_ROWS, .layers = 1, .tied = true, .head_norms = true}},
        {"u4-window", {.weights = SMALL_U4_GROUPS, .layers = 1, .tied = true, .window = 16}},
        {"i4-interleaved", {.weights = SMALL_I4_GROUPS, .layers = 1, .interleaved = true}},
    };
    td_context context;
    td_context_init(&context);
    for (size_t i = 0; argument_count == 2 && i < TD_COUNT_OF(seeds); i++)
        if (!make_seed(&context, arguments[1], seeds[i].name, &seeds[i].shape)) {
            fprintf(stderr, "openvino_seeds: %s\n", context.message);
            return 1;
        }
    return argument_count == 2 ? 0 : 2;
}
