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
    TD_TRY(check_request(context, request));
    TD_TRY(cg_check_slots(context, request));
    list_levels(request, &made);
    td_status status = TD_OK;
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
        TD_TRY(cg_unit_emit_object(context, &level->unit, !cg_is_linked(program->request),
                                   &level->object));
    }
    return TD_OK;
}

td_status cg_make_plan(td_context *context, const cg_request *request, cg_plan *plan)
{
    cg_program program;
    TD_TRY(cg_program_create(context, request, &program));
    td_status status = cg_program_emit(&program);
    if (status == TD_OK)
        status = cg_program_plan(&program, plan);
    cg_program_release(&program);
    return status;
}

/* --- compiling --- */

/* The packed weights before it is known what they are appended to. The file lies beside the output:
 * it may be larger than what temporary folders hold. */
static td_status open_payload(const cg_program *program, td_output *payload)
{
    td_context *context = program->context;
    td_text path;
    td_text_init(&path, context);
    td_text_printf(&path, "%s.payload", program->request->output);
    const td_status status =
        path.failed ? td_fail_memory(context) : td_output_open(context, path.data, payload);
    td_text_release(&path);
    return status;
}

static td_status make_program(cg_program *program, FILE *payload, td_output *output, cg_plan *plan)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    td_progress(context, 1, "generating code for %s, %s", request->target->runtime_folder,
                request->cpu.name);
    TD_TRY(cg_program_emit(program));
    TD_TRY(cg_program_plan(program, plan));
    td_progress(context, 1, "packing %.2f MiB of weights",
                tandem_plan_mebibytes(program->payload_bytes));
    TD_TRY(cg_pack(program, payload));
    td_progress(context, 1, "writing %s", request->output);
    TD_TRY(create_unit(program, program->levels[0].cpu, &program->tables));
    TD_TRY(cg_program_add_tables(program, plan));
    return cg_write_program(program, payload, output);
}

td_status cg_program_compile(cg_program *program, cg_plan *plan)
{
    td_context *context = program->context;
    td_output output, payload;
    /* What would make the last step fail is best said before the first. */
    if (cg_is_linked(program->request) && !program->bare)
        TD_TRY(cg_check_runtime(program));
    TD_TRY(td_output_open(context, program->request->output, &output));
    td_status status = open_payload(program, &payload);
    if (status == TD_OK) {
        status = make_program(program, payload.stream, &output, plan);
        td_output_discard(context, &payload);
    }
    td_output_discard(context, &output);
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
