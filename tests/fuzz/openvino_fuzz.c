/* Fuzz target: OpenVINO IR, listed, imported and, where it is a decoder, written and imported
 * again. An input is the XML and, behind a NUL byte, the .bin; without one there is no .bin.
 * tests/fuzz/run builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"
#include "ir/passes/passes.h"
#include "tests/fuzz/xml_mutator.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reader takes a path: the files lie in memory. */
static void put_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
}

/* What became a model can be written, unless a constant is missing, and what is written is read. */
static void write_again(const fe_model *model, const char *xml, const char *bin)
{
    fe_model again = {0};
    td_context *context = model->module->context;
    const td_status status = fe_write_openvino(model, xml);
    if (status == TD_OK && fe_import_openvino(context, xml, &(fe_options){0}, &again) != TD_OK) {
        fprintf(stderr, "written, but not read again: %s\n", context->message);
        abort();
    }
    ir_module_release(again.module);
    unlink(xml);
    unlink(bin);
}

static void import(const char *xml, const fe_options *options, const char *again_xml,
                   const char *again_bin)
{
    td_context context;
    fe_model model = {0};
    td_context_init(&context);
    const td_status status = fe_import_openvino(&context, xml, options, &model);
    if (status == TD_INTERNAL || (status != TD_OK && context.message[0] == '\0')) {
        fprintf(stderr, "status %d: %s\n", (int)status, context.message);
        abort();
    }
    if (status == TD_OK && model.raised && !options->listing)
        write_again(&model, again_xml, again_bin);
    ir_module_release(model.module);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const fe_options listing = {.summary = true, .listing = true, .random_weights = true};
    const fe_options whole = {.random_weights = true};
    const uint8_t *zero = size == 0 ? NULL : memchr(data, '\0', size);
    const size_t text = zero == NULL ? size : (size_t)(zero - data);
    char xml[64], bin[64], again_xml[64], again_bin[64];
    const int process = (int)getpid();
    snprintf(xml, sizeof xml, "/dev/shm/tandem_fuzz_%d.xml", process);
    snprintf(bin, sizeof bin, "/dev/shm/tandem_fuzz_%d.bin", process);
    snprintf(again_xml, sizeof again_xml, "/dev/shm/tandem_fuzz_%d_again.xml", process);
    snprintf(again_bin, sizeof again_bin, "/dev/shm/tandem_fuzz_%d_again.bin", process);
    put_file(xml, data, text);
    if (zero != NULL)
        put_file(bin, zero + 1, size - text - 1);
    import(xml, &listing, again_xml, again_bin);
    import(xml, &whole, again_xml, again_bin);
    unlink(xml);
    unlink(bin);
    return 0;
}
