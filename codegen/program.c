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
    cg_unit_release(&program->unit);
}

/* --- lowering --- */

/* "target.forward", or "target.forward.x86-64-v4" where there are several levels. */
static void entry_name(const cg_program *program, size_t level, size_t model, const char *graph,
                       char *name, size_t room)
{
    const bool one = program->level_count == 1;
    snprintf(name, room, "%s.%s%s%s", program->request->models[model].name, graph, one ? "" : ".",
             one ? "" : program->levels[level].cpu->name);
}

static td_status lower_model(cg_program *program, cg_lowering *lowering, size_t level, size_t index)
{
    const cg_request *request = program->request;
    const cg_model *model = &request->models[index];
    for (unsigned which = 0; which < CG_GRAPHS; which++) {
        const sched_graph_plan *plan = cg_find_plan(request->plan, cg_model_graph(model, which));
        char name[128];
        if (plan == NULL)
            continue;
        entry_name(program, level, index, cg_graph_names[which], name, sizeof name);
        TD_TRY(cg_lower_graph(lowering, model, &program->weights[index], &program->caches[index],
                              plan, name, &program->levels[level].entries[index][which]));
    }
    return TD_OK;
}

/* Entry points have no callers until the tables name them: they are visible while the module is
 * optimised. */
static void keep_entries(cg_program *program, size_t level, LLVMLinkage linkage)
{
    for (size_t i = 0; i < program->request->model_count; i++)
        for (unsigned which = 0; which < CG_GRAPHS; which++)
            if (program->levels[level].entries[i][which] != NULL)
                LLVMSetLinkage(program->levels[level].entries[i][which], linkage);
}

static void keep_all_entries(cg_program *program, LLVMLinkage linkage)
{
    for (size_t level = 0; level < program->level_count; level++)
        keep_entries(program, level, linkage);
}

/* Lowers and optimises one level into a unit; its entry points are left visible. */
static td_status lower_level(cg_program *program, size_t level, const cg_unit *unit)
{
    td_context *context = program->context;
    cg_lowering lowering;
    cg_lowering_init(&lowering, context, program->levels[level].cpu, unit->llvm, unit->module);
    td_status status = TD_OK;
    for (size_t i = 0; i < program->request->model_count && status == TD_OK; i++)
        status = lower_model(program, &lowering, level, i);
    cg_lowering_release(&lowering);
    if (status != TD_OK)
        return status;
    keep_entries(program, level, LLVMExternalLinkage);
    return cg_unit_optimise(context, unit);
}

/* A further level is made in a module of its own, where its kernels' names are free. */
static td_status join_level(cg_program *program, size_t level)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    cg_level *made = &program->levels[level];
    cg_unit part = {0};
    td_status status =
        cg_unit_create(context, request->target, made->cpu, request->name, &program->unit, &part);
    if (status == TD_OK)
        status = lower_level(program, level, &part);
    if (status == TD_OK)
        status = cg_unit_join(context, &program->unit, &part);
    cg_unit_release(&part);
    for (size_t i = 0; i < request->model_count && status == TD_OK; i++)
        for (unsigned which = 0; which < CG_GRAPHS; which++) {
            char name[128];
            entry_name(program, level, i, cg_graph_names[which], name, sizeof name);
            made->entries[i][which] = LLVMGetNamedFunction(program->unit.module, name);
        }
    return status;
}

td_status cg_program_lower(cg_program *program)
{
    const cg_request *request = program->request;
    TD_TRY(cg_unit_create(program->context, request->target, program->levels[0].cpu, request->name,
                          NULL, &program->unit));
    td_status status = lower_level(program, 0, &program->unit);
    for (size_t level = 1; level < program->level_count && status == TD_OK; level++)
        status = join_level(program, level);
    if (status == TD_OK)
        keep_all_entries(program, LLVMInternalLinkage);
    return status;
}

td_status cg_make_plan(td_context *context, const cg_request *request, cg_plan *plan)
{
    cg_program program;
    uint64_t code = 0;
    TD_TRY(cg_program_create(context, request, &program));
    td_status status = cg_program_lower(&program);
    if (status == TD_OK) {
        keep_all_entries(&program, LLVMExternalLinkage);
        status = cg_measure_code(context, &program.unit, &code);
    }
    if (status == TD_OK)
        status = cg_plan_program(&program, code + cg_table_bytes(&program), plan);
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

static bool is_linked(const cg_request *request)
{
    return request->emit == CG_EXECUTABLE || request->emit == CG_SHARED;
}

/* Executables and shared libraries end with their weights; other files have them beside. */
static td_status write_output(const cg_program *program, LLVMMemoryBufferRef buffer, FILE *payload)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    const char *data = LLVMGetBufferStart(buffer);
    const size_t size = LLVMGetBufferSize(buffer);
    td_output output;
    TD_TRY(td_output_open(context, request->output, &output));
    td_status status = TD_OK;
    if (is_linked(request)) {
        status = cg_link(program, data, size, output.stream);
        if (status == TD_OK)
            status = append_payload(program, payload, output.stream, request->output);
    } else if (fwrite(data, 1, size, output.stream) != size) {
        status = td_fail(context, TD_IO, "%s: cannot be written", request->output);
    }
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

static td_status emit_code(cg_program *program, cg_plan *plan, LLVMMemoryBufferRef *buffer)
{
    td_context *context = program->context;
    const cg_emit emit = is_linked(program->request) ? CG_OBJECT : program->request->emit;
    TD_TRY(cg_program_add_tables(program, plan));
    return cg_unit_emit(context, &program->unit, emit, buffer);
}

static td_status pack_and_write(cg_program *program, cg_plan *plan, FILE *payload)
{
    const cg_request *request = program->request;
    td_progress(program->context, 1, "packing %.2f MiB of weights",
                tandem_plan_mebibytes(program->payload_bytes));
    TD_TRY(cg_pack(program, payload));
    LLVMMemoryBufferRef buffer;
    td_progress(program->context, 1, "emitting %s", request->output);
    TD_TRY(emit_code(program, plan, &buffer));
    td_status status = write_output(program, buffer, payload);
    LLVMDisposeMemoryBuffer(buffer);
    if (status == TD_OK && !is_linked(request))
        status = write_weights_beside(program, payload);
    if (status == TD_OK && request->emit != CG_EXECUTABLE && !program->bare)
        status = cg_write_header(program);
    return status;
}

td_status cg_program_compile(cg_program *program, cg_plan *plan)
{
    td_context *context = program->context;
    uint64_t code = 0;
    td_progress(context, 1, "generating code for %s, %s", program->request->target->runtime_folder,
                program->request->cpu.name);
    TD_TRY(cg_program_lower(program));
    if (!program->bare) { /* without a runtime nobody reads the plan */
        keep_all_entries(program, LLVMExternalLinkage);
        TD_TRY(cg_measure_code(context, &program->unit, &code));
        keep_all_entries(program, LLVMInternalLinkage);
    }
    TD_TRY(cg_plan_program(program, code + cg_table_bytes(program), plan));
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
