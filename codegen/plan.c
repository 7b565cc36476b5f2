/* What a program needs: the formula of runtime/plan.h with what the compiler knows.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include "runtime/plan.h"

#include <llvm-c/Object.h>
#include <string.h>

/* --- code --- */

/* Sections that are loaded: code, constants, relocated constants and unwind tables. */
static bool is_loaded(const char *name)
{
    static const char *const prefixes[] = {".text", ".rodata", ".data", ".eh_frame", ".bss"};
    for (size_t i = 0; i < TD_COUNT_OF(prefixes); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static td_status measure_object(td_context *context, LLVMMemoryBufferRef buffer, uint64_t *bytes)
{
    char *message = NULL;
    LLVMBinaryRef object = LLVMCreateBinary(buffer, NULL, &message);
    if (object == NULL) {
        const td_status status = td_fail(context, TD_INTERNAL, "the emitted object: %s", message);
        LLVMDisposeMessage(message);
        return status;
    }
    LLVMSectionIteratorRef section = LLVMObjectFileCopySectionIterator(object);
    while (!LLVMObjectFileIsSectionIteratorAtEnd(object, section)) {
        const char *name = LLVMGetSectionName(section);
        if (name != NULL && is_loaded(name))
            *bytes += LLVMGetSectionSize(section);
        LLVMMoveToNextSection(section);
    }
    LLVMDisposeSectionIterator(section);
    LLVMDisposeBinary(object);
    return TD_OK;
}

static td_status measure_code(const cg_program *program, uint64_t *bytes)
{
    *bytes = 0;
    for (size_t level = 0; level < program->level_count; level++)
        TD_TRY(measure_object(program->context, program->levels[level].object, bytes));
    return TD_OK;
}

/* --- slots --- */

/* The largest number of slots that is of use to a model: its context and one pass's tail. */
static uint32_t useful_slots(const cg_model *model)
{
    const uint64_t slots = (uint64_t)model->context_length + model->max_tokens;
    return (uint32_t)tandem_plan_round(slots, TANDEM_SLOT_MULTIPLE);
}

/* What the default policy of eviction keeps of a model. */
static td_status add_policy(const cg_program *program, size_t index, tandem_plan_model *sizes)
{
    td_context *context = program->context;
    const cg_caches *caches = &program->caches[index];
    const cg_model *model = &program->request->models[index];
    tandem_cache_info *rows = td_allocate(context, (caches->items.count + 1) * sizeof *rows);
    if (rows == NULL)
        return td_fail_memory(context);
    for (size_t i = 0; i < caches->items.count; i++)
        cg_describe_cache(model, &caches->items.items[i], &rows[i]);
    const tandem_model_info info = {
        .layers = (uint32_t)caches->items.count, .max_tokens = model->max_tokens, .caches = rows};
    const tandem_evict_bytes bytes = tandem_evict_sizes(&info, &program->request->eviction_needs);
    sizes->policy_fixed = tandem_evict_fixed(&bytes);
    sizes->policy_slot_bytes = tandem_evict_per_slot(&bytes);
    td_release(context, rows);
    return TD_OK;
}

static td_status sizes_of(const cg_program *program, uint64_t code, tandem_plan_sizes *result)
{
    const cg_request *request = program->request;
    tandem_plan_sizes sizes = {.weights = program->payload_bytes,
                               .arena = request->plan->arena_bytes,
                               .tokenizer = request->tokenizer_bytes,
                               .code = code,
                               .model_count = (uint32_t)request->model_count};
    for (size_t i = 0; i < request->model_count; i++) {
        const cg_model *model = &request->models[i];
        sizes.models[i] = (tandem_plan_model){
            .inputs = tandem_plan_inputs(model->max_tokens, model->max_rows),
            .state_fixed = program->caches[i].fixed_bytes,
            .slot_bytes = program->caches[i].slot_bytes,
        };
        TD_TRY(add_policy(program, i, &sizes.models[i]));
    }
    sizes.evicts = request->eviction_needs.drops;
    if (request->eviction_needs.drops)
        sizes.tokens = request->models[0].context_length;
    if (request->model_count > 1)
        sizes.drafter_slots = useful_slots(&request->models[1]);
    *result = sizes;
    return TD_OK;
}

/* What the program is planned for before a budget takes slots away. */
static tandem_plan_choice wanted_choice(const cg_request *request, const tandem_plan_sizes *sizes)
{
    const uint32_t most = useful_slots(&request->models[0]);
    const uint64_t wanted =
        request->slots == 0 ? most : tandem_plan_round(request->slots, TANDEM_SLOT_MULTIPLE);
    return (tandem_plan_choice){.slots = (uint32_t)wanted,
                                .threads = request->threads == 0 ? 1 : request->threads,
                                .sessions = request->sessions == 0 ? 1 : request->sessions,
                                .text = tandem_plan_text(sizes, TANDEM_TEXT_BYTES)};
}

td_status cg_check_slots(td_context *context, const cg_request *request)
{
    const uint32_t most = useful_slots(&request->models[0]);
    if (request->slots == 0 || (request->slots >= TANDEM_SLOT_MULTIPLE && request->slots <= most))
        return TD_OK;
    return td_fail(context, TD_INVALID, "--slots %u: %u to %u are accepted", request->slots,
                   TANDEM_SLOT_MULTIPLE, most);
}

static td_status refuse_budget(const cg_program *program, const tandem_plan_sizes *sizes,
                               const tandem_plan_choice *choice)
{
    const uint64_t smallest = tandem_plan_resident(sizes, choice);
    return td_fail(program->context, TD_INVALID,
                   "a memory budget of %llu bytes is too small for %u slots, %u thread%s and %u "
                   "session%s: the smallest that works is %llu bytes (%.2f MiB)",
                   (unsigned long long)program->request->memory_budget, choice->slots,
                   choice->threads, choice->threads == 1 ? "" : "s", choice->sessions,
                   choice->sessions == 1 ? "" : "s", (unsigned long long)smallest,
                   tandem_plan_mebibytes(smallest));
}

/* --- the plan --- */

td_status cg_program_plan(const cg_program *program, cg_plan *plan)
{
    const cg_request *request = program->request;
    tandem_plan_sizes sizes;
    uint64_t code;
    TD_TRY(measure_code(program, &code));
    code += cg_table_bytes(program);
    TD_TRY(sizes_of(program, code, &sizes));
    tandem_plan_choice choice = wanted_choice(request, &sizes);
    const uint32_t fewest = request->slots == 0 ? tandem_plan_fewest_slots(&sizes) : choice.slots;
    if (request->memory_budget != 0 &&
        !tandem_plan_fit(&sizes, request->memory_budget, fewest, choice.threads, &choice))
        return refuse_budget(program, &sizes, &choice);
    *plan = (cg_plan){
        .weights = sizes.weights,
        .arena = sizes.arena,
        .tokenizer = sizes.tokenizer,
        .code = code,
        .caches = choice.sessions * tandem_plan_caches(&sizes, choice.slots),
        .minimum_slots = tandem_plan_fewest_slots(&sizes),
        .slots = choice.slots,
        .resident = tandem_plan_resident(&sizes, &choice),
        .address_space = tandem_plan_address_space(&sizes, &choice),
        .sizes = sizes,
        .choice = choice,
    };
    for (size_t i = 0; i < request->model_count; i++)
        plan->slot_bytes += sizes.models[i].slot_bytes + sizes.models[i].policy_slot_bytes;
    plan->overhead =
        plan->resident - sizes.weights - sizes.arena - sizes.tokenizer - code - plan->caches;
    tandem_plan_choice least = choice;
    least.slots = fewest;
    plan->smallest = tandem_plan_resident(&sizes, &least);
    return TD_OK;
}
