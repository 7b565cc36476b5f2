/* Fuzz target: GGUF headers, every metadata entry, and the data of every tensor that can be read.
 * tests/fuzz/run builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_metadata(const fe_gguf *gguf)
{
    for (size_t i = 0; i < gguf->values.count; i++) {
        const fe_gguf_value *value = &gguf->values.items[i];
        int64_t integer;
        double number;
        fe_span string;
        fe_gguf_strings strings = fe_gguf_strings_begin(value);
        fe_gguf_integer(value, value->count - 1, &integer);
        fe_gguf_number(value, value->count, &number);
        while (fe_gguf_strings_next(&strings, &string))
            fe_span_equal(string, "llama");
    }
}

static void read_tensor(ir_module *module, const fe_tensor *tensor)
{
    ir_constant *constant;
    unsigned char last[4];
    if (fe_tensor_constant(module, tensor, false, &constant) == TD_OK &&
        constant->bytes >= sizeof last)
        ir_constant_read(module->context, constant, constant->bytes - sizeof last, sizeof last,
                         last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "fuzz.gguf";
    td_file file = {.data = size == 0 ? NULL : data, .size = size, .path = path};
    td_context context;
    fe_gguf gguf;
    ir_module *module;
    td_context_init(&context);
    if (fe_gguf_open(&context, &file, &gguf) != TD_OK)
        return 0;
    walk_metadata(&gguf);
    if (ir_module_create(&context, "fuzz", &module) == TD_OK) {
        for (size_t i = 0; i < gguf.tensors.items.count; i++)
            read_tensor(module, &gguf.tensors.items.items[i]);
        ir_module_release(module);
    }
    fe_gguf_release(&gguf);
    return 0;
}
