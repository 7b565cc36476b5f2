/* The back end, step by step.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include "codegen/lower.h"

#include <string.h>

const char *const cg_graph_names[CG_GRAPHS] = {"forward", "commit", "greedy"};

ir_graph *cg_model_graph(const cg_model *model, cg_graph which)
{
    ir_graph *const graphs[CG_GRAPHS] = {model->forward, model->commit, model->greedy};
    return graphs[which];
}

size_t cg_list_graphs(const cg_model *models, size_t count, ir_graph **graphs)
{
    size_t listed = 0;
    for (size_t i = 0; i < count; i++)
        for (unsigned which = 0; which < CG_GRAPHS; which++) {
            ir_graph *graph = cg_model_graph(&models[i], which);
            if (graph != NULL)
                graphs[listed++] = graph;
        }
    return listed;
}

const sched_graph_plan *cg_find_plan(const sched_plan *plan, const ir_graph *graph)
{
    for (size_t i = 0; graph != NULL && i < plan->graph_count; i++)
        if (plan->graphs[i].graph == graph)
            return &plan->graphs[i];
    return NULL;
}

/* --- setting up --- */

static td_status check_request(td_context *context, const cg_request *request)
{
    if (request->model_count < 1 || request->model_count > CG_MAX_MODELS)
        return td_fail(context, TD_INVALID, "a program of %zu models; 1 to %d are accepted",
                       request->model_count, CG_MAX_MODELS);
    for (size_t i = 0; i < request->model_count; i++)
        for (unsigned which = 0; which < CG_GRAPHS; which++) {
            const ir_graph *graph = cg_model_graph(&request->models[i], which);
            if (graph != NULL && cg_find_plan(request->plan, graph) == NULL)
                return td_fail(context, TD_INTERNAL, "%s: graph \"%s\" is not in the plan",
                               request->models[i].name, graph->name);
        }
    for (const char *c = request->name; c == request->name || *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(c > request->name && *c >= '0' && *c <= '9'))
            return td_fail(context, TD_USAGE,
                           "the name \"%s\" cannot be part of a C identifier; letters, digits and "
                           "_ are accepted",
                           request->name);
    }
    return TD_OK;
}

/* The CPUs that the program holds code for. */
static void list_levels(const cg_request *request, cg_program *program)
{
    const char *const *names = request->cpu.levels;
    if (names == NULL) {
        program->levels[program->level_count++].cpu = &request->cpu;
        return;
    }
    for (size_t i = 0; names[i] != NULL && i < CG_MAX_LEVELS; i++)
        program->levels[program->level_count++].cpu = cg_find_cpu(request->target, names[i]);
}

td_status cg_program_create(td_context *context, const cg_request *request, cg_program *program)
{
    cg_program made = {.context = context, .request = request};
    td_status status = check_request(context, request);
    list_levels(request, &made);
    for (size_t i = 0; i < request->model_count && status == TD_OK; i++) {
        const cg_model *model = &request->models[i];
        status = cg_weights_make(context, model, &made.weights[i]);
        if (status == TD_OK)
            status = cg_caches_make(context, model->module, &made.caches[i]);
        made.weights_offset[i] = made.payload_bytes;
        made.payload_bytes += made.weights[i].bytes;
    }
    if (status != TD_OK) {
        cg_program_release(&made);
        return status;
    }
    *program = made;
    return TD_OK;
}

void cg_program_release(cg_program *program)
{
    for (size_t i = 0; i < CG_MAX_MODELS; i++) {
        cg_weights_release(&program->weights[i]);
        cg_caches_release(&program->caches[i]);
    }
    cg_unit_release(&program->tables);
    /* The first level's LLVM context is everybody's. */
    for (size_t level = program->level_count; level-- > 0;) {
        if (program->levels[level].object != NULL)
            LLVMDisposeMemoryBuffer(program->levels[level].object);
        cg_unit_release(&program->levels[level].unit);
    }
}

/* --- code --- */

bool cg_entry_name(const cg_program *program, const cg_level *level, size_t model, cg_graph which,
                   char name[CG_ENTRY_NAME_BYTES])
{
    const bool one = program->level_count == 1;
    const cg_model *owner = &program->request->models[model];
    snprintf(name, CG_ENTRY_NAME_BYTES, "%s.%s%s%s", owner->name, cg_graph_names[which],
             one ? "" : ".", one ? "" : level->cpu->name);
    return cg_model_graph(owner, which) != NULL;
}

static td_status lower_model(const cg_program *program, cg_lowering *lowering,
                             const cg_level *level, size_t index)
{
    const cg_request *request = program->request;
    const cg_model *model = &request->models[index];
    for (unsigned which = 0; which < CG_GRAPHS; which++) {
        char name[CG_ENTRY_NAME_BYTES];
        LLVMValueRef entry;
        if (!cg_entry_name(program, level, index, which, name))
            continue;
        TD_TRY(cg_lower_graph(lowering, model, &program->weights[index], &program->caches[index],
                              cg_find_plan(request->plan, cg_model_graph(model, which)), name,
                              &entry));
        /* The tables call it from another object of the same program. */
        LLVMSetLinkage(entry, LLVMExternalLinkage);
        LLVMSetVisibility(entry, LLVMHiddenVisibility);
    }
    return TD_OK;
}

static td_status lower_level(const cg_program *program, const cg_level *level)
{
    cg_lowering lowering;
    cg_lowering_init(&lowering, program->context, level->cpu, level->unit.llvm, level->unit.module);
    td_status status = TD_OK;
    for (size_t i = 0; i < program->request->model_count && status == TD_OK; i++)
        status = lower_model(program, &lowering, level, i);
    cg_lowering_release(&lowering);
    return status;
}

/* What a linker makes a file of; other kinds of output are one module. */
static bool is_linked(const cg_request *request)
{
    return request->emit == CG_EXECUTABLE || request->emit == CG_SHARED;
}

/* In the LLVM context of the first level, so that units can be joined. */
static td_status create_unit(const cg_program *program, const cg_cpu *cpu, cg_unit *unit)
{
    const cg_request *request = program->request;
    const cg_unit *first = &program->levels[0].unit;
    return cg_unit_create(program->context, request->target, cpu, request->name,
                          unit == first ? NULL : first, unit);
}

td_status cg_program_emit(cg_program *program)
{
    td_context *context = program->context;
    for (size_t i = 0; i < program->level_count; i++) {
        cg_level *level = &program->levels[i];
        TD_TRY(create_unit(program, level->cpu, &level->unit));
        TD_TRY(lower_level(program, level));
        TD_TRY(cg_unit_optimise(context, &level->unit));
        TD_TRY(cg_unit_emit_object(context, &level->unit, !is_linked(program->request),
                                   &level->object));
    }
    return TD_OK;
}

/* Needs the code: how large it is enters the plan. */
static td_status plan_emitted(const cg_program *program, cg_plan *plan)
{
    uint64_t code;
    TD_TRY(cg_measure_code(program, &code));
    return cg_plan_program(program, code + cg_table_bytes(program), plan);
}

td_status cg_make_plan(td_context *context, const cg_request *request, cg_plan *plan)
{
    cg_program program;
    TD_TRY(cg_program_create(context, request, &program));
    td_status status = cg_program_emit(&program);
    if (status == TD_OK)
        status = plan_emitted(&program, plan);
    cg_program_release(&program);
    return status;
}

/* --- compiling --- */

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

/* Executables and shared libraries end with their weights; other files have them beside. */
static td_status write_output(cg_program *program, FILE *payload)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    td_output output;
    TD_TRY(td_output_open(context, request->output, &output));
    const td_status status = is_linked(request) ? write_linked(program, payload, output.stream)
                                                : write_whole(program, output.stream);
    if (status != TD_OK) {
        td_output_discard(context, &output);
        return status;
    }
    return td_output_commit(context, &output, is_linked(request));
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

static td_status pack_and_write(cg_program *program, const cg_plan *plan, FILE *payload)
{
    const cg_request *request = program->request;
    td_progress(program->context, 1, "packing %.2f MiB of weights",
                tandem_plan_mebibytes(program->payload_bytes));
    TD_TRY(cg_pack(program, payload));
    td_progress(program->context, 1, "writing %s", request->output);
    TD_TRY(create_unit(program, program->levels[0].cpu, &program->tables));
    TD_TRY(cg_program_add_tables(program, plan));
    TD_TRY(write_output(program, payload));
    if (!is_linked(request))
        TD_TRY(write_weights_beside(program, payload));
    if (request->emit != CG_EXECUTABLE && !program->bare)
        TD_TRY(cg_write_header(program));
    return TD_OK;
}

td_status cg_program_compile(cg_program *program, cg_plan *plan)
{
    td_context *context = program->context;
    td_progress(context, 1, "generating code for %s, %s", program->request->target->runtime_folder,
                program->request->cpu.name);
    TD_TRY(cg_program_emit(program));
    TD_TRY(plan_emitted(program, plan));
    /* Beside the output: it may be larger than what temporary folders hold. */
    td_text path;
    td_text_init(&path, context);
    td_text_printf(&path, "%s.payload", program->request->output);
    td_output payload;
    td_status status =
        path.failed ? td_fail_memory(context) : td_output_open(context, path.data, &payload);
    td_text_release(&path);
    if (status != TD_OK)
        return status;
    status = pack_and_write(program, plan, payload.stream);
    td_output_discard(context, &payload);
    return status;
}

td_status cg_compile(td_context *context, const cg_request *request, cg_plan *plan)
{
    cg_program program;
    TD_TRY(cg_program_create(context, request, &program));
    td_status status = cg_program_compile(&program, plan);
    cg_program_release(&program);
    return status;
}
