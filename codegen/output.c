/* The files of a compile: what is linked ends with its weights, other kinds have them beside.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include "runtime/abi.h"

#include <string.h>

/* --- weights --- */

/* Appends zeros up to a multiple of `alignment` of the whole file. */
static bool pad_stream(FILE *stream, uint64_t alignment, uint64_t *position)
{
    const long at = ftell(stream);
    if (at < 0)
        return false;
    *position = cg_align((uint64_t)at, alignment);
    for (uint64_t i = (uint64_t)at; i < *position; i++)
        if (putc(0, stream) == EOF)
            return false;
    return true;
}

static bool copy_stream(FILE *from, FILE *to)
{
    char buffer[1 << 16];
    size_t count;
    rewind(from);
    while ((count = fread(buffer, 1, sizeof buffer, from)) > 0)
        if (fwrite(buffer, 1, count, to) != count)
            return false;
    return !ferror(from);
}

static td_status append_payload(const cg_program *program, FILE *payload, FILE *output,
                                const char *path)
{
    tandem_payload_trailer trailer = {.magic = {'T', 'A', 'N', 'D', 'E', 'M', 'P', 'L'},
                                      .bytes = program->payload_bytes,
                                      .hash = program->payload_hash,
                                      .header_hash = program->header_hash};
    if (!pad_stream(output, 4096, &trailer.offset) || !copy_stream(payload, output) ||
        fwrite(&trailer, sizeof trailer, 1, output) != 1)
        return td_fail(program->context, TD_IO, "%s: the weights cannot be written", path);
    return TD_OK;
}

static td_status write_weights_beside(const cg_program *program, FILE *payload)
{
    td_context *context = program->context;
    td_text path;
    td_output output;
    td_text_init(&path, context);
    td_text_printf(&path, "%s.weights", program->request->output);
    td_status status =
        path.failed ? td_fail_memory(context) : td_output_open(context, path.data, &output);
    if (status == TD_OK) {
        status = append_payload(program, payload, output.stream, path.data);
        if (status == TD_OK)
            status = td_output_commit(context, &output, false);
        else
            td_output_discard(context, &output);
    }
    td_text_release(&path);
    return status;
}

/* --- code --- */

static td_status write_linked(const cg_program *program, FILE *payload, FILE *output)
{
    td_context *context = program->context;
    LLVMMemoryBufferRef tables;
    TD_TRY(cg_unit_emit_object(context, &program->tables, false, &tables));
    td_status status = cg_link(program, tables, output);
    LLVMDisposeMemoryBuffer(tables);
    if (status == TD_OK)
        status = append_payload(program, payload, output, program->request->output);
    return status;
}

/* Nothing but the tables need reach an entry point once all is one module. */
static void hide_entries(const cg_program *program, const cg_level *level)
{
    for (size_t i = 0; i < program->request->model_count; i++)
        for (unsigned which = 0; which < CG_GRAPHS; which++) {
            char name[CG_ENTRY_NAME_BYTES];
            if (cg_entry_name(program, level, i, which, name))
                LLVMSetLinkage(LLVMGetNamedFunction(program->tables.module, name),
                               LLVMInternalLinkage);
        }
}

static td_status emit_whole(const cg_program *program, LLVMMemoryBufferRef *buffer)
{
    switch (program->request->emit) {
    case CG_BITCODE:
        *buffer = cg_unit_emit_bitcode(&program->tables);
        return TD_OK;
    case CG_LLVM_IR:
        *buffer = cg_unit_emit_text(&program->tables);
        return TD_OK;
    default:
        return cg_unit_emit_object(program->context, &program->tables, false, buffer);
    }
}

/* Joins code and tables into one module. An object costs a second emission of the code, and takes
 * no linker. */
static td_status write_whole(cg_program *program, FILE *output)
{
    td_context *context = program->context;
    LLVMMemoryBufferRef buffer;
    for (size_t i = 0; i < program->level_count; i++) {
        TD_TRY(cg_unit_join(context, &program->tables, &program->levels[i].unit));
        hide_entries(program, &program->levels[i]);
    }
    TD_TRY(emit_whole(program, &buffer));
    const size_t size = LLVMGetBufferSize(buffer);
    const bool written = fwrite(LLVMGetBufferStart(buffer), 1, size, output) == size;
    LLVMDisposeMemoryBuffer(buffer);
    return written ? TD_OK
                   : td_fail(context, TD_IO, "%s: cannot be written", program->request->output);
}

td_status cg_write_program(cg_program *program, FILE *payload, td_output *output)
{
    const cg_request *request = program->request;
    const bool linked = cg_is_linked(request);
    TD_TRY(linked ? write_linked(program, payload, output->stream)
                  : write_whole(program, output->stream));
    TD_TRY(td_output_commit(program->context, output, linked));
    if (!linked)
        TD_TRY(write_weights_beside(program, payload));
    if (request->emit != CG_EXECUTABLE && !program->bare)
        TD_TRY(cg_write_header(program));
    return TD_OK;
}
