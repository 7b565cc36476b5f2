/* Fuzz target: safetensors headers, and the data of every tensor that can be read as f32.
 * tests/fuzz/run builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensors(td_context *context, const fe_tensors *tensors)
{
    ir_module *module;
    if (ir_module_create(context, "fuzz", &module) != TD_OK)
        return;
    for (size_t i = 0; i < tensors->items.count; i++) {
        ir_constant *constant;
        unsigned char last[3];
        if (fe_tensor_constant(module, &tensors->items.items[i], true, &constant) == TD_OK &&
            constant->bytes >= sizeof last)
            ir_constant_read(context, constant, constant->bytes - sizeof last, sizeof last, last);
    }
    ir_module_release(module);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "fuzz.safetensors";
    const td_file file = {.data = size == 0 ? NULL : data, .size = size, .path = path};
    td_context context;
    fe_tensors tensors;
    td_context_init(&context);
    fe_tensors_init(&tensors, &context);
    if (fe_safetensors_index(&context, &file, &tensors) == TD_OK &&
        fe_tensors_finish(&tensors) == TD_OK)
        read_tensors(&context, &tensors);
    fe_tensors_release(&tensors);
    return 0;
}
