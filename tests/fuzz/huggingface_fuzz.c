/* Fuzz target: a checkpoint folder with any config.json and no weights, listed. tests/fuzz/run
 * builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* One tensor, so that there is an index to look things up in. */
    static const char tensors[] = "\x46\0\0\0\0\0\0\0{\"model.norm.weight\":{\"dtype\":\"F32\","
                                  "\"shape\":[1],\"data_offsets\":[0,4]}}\0\0\0\0";
    char folder[64], config[96], weights[96];
    td_context context;
    fe_model model = {0};
    td_context_init(&context);
    snprintf(folder, sizeof folder, "/dev/shm/tandem_fuzz_%d", (int)getpid());
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    mkdir(folder, 0755);
    put_file(config, data, size);
    put_file(weights, tensors, sizeof tensors - 1);
    const td_status status =
        fe_import_huggingface(&context, folder, &(fe_options){.listing = true}, &model);
    if (status == TD_INTERNAL || (status != TD_OK && context.message[0] == '\0'))
        abort();
    ir_module_release(model.module);
    unlink(config);
    unlink(weights);
    rmdir(folder);
    return 0;
}
