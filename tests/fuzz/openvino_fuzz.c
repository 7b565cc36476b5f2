/* Fuzz target: OpenVINO XML without a .bin, listed and folded. tests/fuzz/run builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"
#include "ir/passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reader takes a path: the file lies in memory. */
static bool put_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    bool written = file != NULL && fwrite(data, 1, size, file) == size;
    return file != NULL && fclose(file) == 0 && written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const fe_options options = {.summary = true, .listing = true, .random_weights = true};
    td_context context;
    ir_module *module = NULL;
    char path[64];
    td_context_init(&context);
    snprintf(path, sizeof path, "/dev/shm/tandem_fuzz_%d.xml", (int)getpid());
    if (put_file(path, data, size) &&
        fe_read_openvino(&context, path, &options, &module) == TD_OK &&
        ir_pass_fold_shapes(module) == TD_OK && ir_pass_fold_decompression(module) == TD_OK &&
        ir_verify(module) == TD_INTERNAL && context.message[0] == '\0')
        abort();
    ir_module_release(module);
    unlink(path);
    return 0;
}
