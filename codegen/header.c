/* The C header that goes with a shared library or an object: the interface of the runtime,
 * self-contained, and the one function that it exports.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include <string.h>

/* "libpoet.so" -> "libpoet.h" */
static char *header_path(td_context *context, const char *output)
{
    const char *slash = strrchr(output, '/');
    const char *dot = strrchr(output, '.');
    const size_t stem = dot != NULL && dot > (slash == NULL ? output : slash + 1)
                            ? (size_t)(dot - output)
                            : strlen(output);
    char *path = td_allocate(context, stem + 3);
    if (path != NULL) {
        memcpy(path, output, stem);
        strcpy(path + stem, ".h");
    }
    return path;
}

/* Copies a header of the runtime without its includes of the others. */
static td_status append_header(const cg_program *program, const char *name, FILE *stream)
{
    td_context *context = program->context;
    td_text path;
    td_text_init(&path, context);
    td_text_printf(&path, "%s/include/%s", program->request->runtime_root, name);
    td_file header;
    td_status status =
        path.failed ? td_fail_memory(context) : td_file_map(context, path.data, &header);
    td_text_release(&path);
    if (status != TD_OK)
        return status;
    const char *at = (const char *)header.data, *end = at + header.size;
    while (at < end && status == TD_OK) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const size_t length = newline == NULL ? (size_t)(end - at) : (size_t)(newline - at) + 1;
        if ((length < 10 || strncmp(at, "#include \"", 10) != 0) &&
            fwrite(at, 1, length, stream) != length)
            status = td_fail(context, TD_IO, "the header of %s cannot be written",
                             program->request->output);
        at += length;
    }
    td_file_unmap(context, &header);
    return status;
}

td_status cg_write_header(const cg_program *program)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    char *path = header_path(context, request->output);
    td_output output;
    td_status status =
        path == NULL ? td_fail_memory(context) : td_output_open(context, path, &output);
    td_release(context, path);
    if (status != TD_OK)
        return status;
    status = append_header(program, "abi.h", output.stream);
    if (status == TD_OK)
        status = append_header(program, "tandem.h", output.stream);
    if (status != TD_OK) {
        td_output_discard(context, &output);
        return status;
    }
    fprintf(output.stream,
            "\n/* The model \"%s\"; NULL when it needs a newer interface than max_abi. */\n"
            "#ifdef __cplusplus\nextern \"C\"\n#endif\n"
            "const tandem_artefact *tandem_%s_query(uint32_t max_abi);\n",
            request->name, request->name);
    return td_output_commit(context, &output, false);
}
