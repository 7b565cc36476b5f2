/* What a program needs: the formula of runtime/plan.h with what the compiler knows.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include "runtime/plan.h"

#include <llvm-c/Object.h>
#include <string.h>

/* --- slots --- */

/* The largest number of slots that is of use: the longest context and one pass's tail. */
static uint64_t most_slots(const cg_request *request)
{
    uint64_t most = 0;
    for (size_t i = 0; i < request->model_count; i++) {
        const cg_model *model = &request->models[i];
        const uint64_t slots = (uint64_t)model->context_length + model->max_tokens;
        most = slots > most ? slots : most;
    }
    return tandem_plan_round(most, TANDEM_SLOT_MULTIPLE);
}

/* Sixteen committed tokens beside the tail of one pass. */
static uint64_t fewest_slots(const cg_request *request)
{
    uint64_t tail = 0;
    for (size_t i = 0; i < request->model_count; i++)
        tail = request->models[i].max_tokens > tail ? request->models[i].max_tokens : tail;
    return tandem_plan_round(TANDEM_SLOT_MULTIPLE + tail, TANDEM_SLOT_MULTIPLE);
}

static tandem_plan_sizes sizes_of(const cg_program *program, uint64_t code)
{
    const cg_request *request = program->request;
    tandem_plan_sizes sizes = {.weights = program->payload_bytes,
                               .arena = request->plan->arena_bytes,
                               .tokenizer = request->tokenizer_bytes,
                               .code = code};
    for (size_t i = 0; i < request->model_count; i++) {
        sizes.inputs +=
            tandem_plan_inputs(request->models[i].max_tokens, request->models[i].max_rows);
        sizes.state_fixed += program->caches[i].fixed_bytes;
        sizes.slot_bytes += program->caches[i].slot_bytes;
    }
    return sizes;
}

static uint64_t resident(const tandem_plan_sizes *sizes, uint64_t slots)
{
    const tandem_plan_choice choice = {.slots = (uint32_t)slots,
                                       .threads = TANDEM_PLAN_THREADS,
                                       .sessions = 1,
                                       .text = TANDEM_TEXT_BYTES};
    return tandem_plan_resident(sizes, &choice);
}

/* The most slots, a multiple of 16, that fit the budget; 0 when not even `fewest` do. */
static uint64_t slots_within(const tandem_plan_sizes *sizes, uint64_t budget, uint64_t fewest,
                             uint64_t most)
{
    if (resident(sizes, fewest) > budget)
        return 0;
    uint64_t low = fewest / TANDEM_SLOT_MULTIPLE, high = most / TANDEM_SLOT_MULTIPLE;
    while (low < high) {
        const uint64_t middle = (low + high + 1) / 2;
        if (resident(sizes, middle * TANDEM_SLOT_MULTIPLE) <= budget)
            low = middle;
        else
            high = middle - 1;
    }
    return low * TANDEM_SLOT_MULTIPLE;
}

td_status cg_plan_program(const cg_program *program, uint64_t code, cg_plan *plan)
{
    td_context *context = program->context;
    const cg_request *request = program->request;
    const tandem_plan_sizes sizes = sizes_of(program, code);
    const uint64_t fewest = fewest_slots(request);
    uint64_t most = most_slots(request);
    most = most < fewest ? fewest : most;
    const uint64_t smallest = resident(&sizes, fewest);
    if (request->slots != 0) {
        const uint64_t wanted = tandem_plan_round(request->slots, TANDEM_SLOT_MULTIPLE);
        if (wanted < fewest || wanted > most)
            return td_fail(context, TD_INVALID, "%u slots: %llu to %llu are accepted",
                           request->slots, (unsigned long long)fewest, (unsigned long long)most);
        most = wanted;
    }
    uint64_t slots = most;
    if (request->memory_budget != 0) {
        slots = slots_within(&sizes, request->memory_budget, fewest, most);
        if (slots == 0 || (request->slots != 0 && slots < most)) {
            const uint64_t needed = request->slots != 0 ? most : fewest;
            return td_fail(context, TD_INVALID,
                           "a memory budget of %llu bytes is too small: the smallest that works is "
                           "%llu bytes (%llu slots)",
                           (unsigned long long)request->memory_budget,
                           (unsigned long long)resident(&sizes, needed),
                           (unsigned long long)needed);
        }
    }
    const uint64_t all = resident(&sizes, slots);
    const uint64_t caches = sizes.state_fixed + slots * sizes.slot_bytes;
    *plan = (cg_plan){
        .weights = sizes.weights,
        .arena = sizes.arena,
        .tokenizer = sizes.tokenizer,
        .code = code,
        .slot_bytes = sizes.slot_bytes,
        .state_fixed = sizes.state_fixed,
        .minimum_slots = (uint32_t)fewest,
        .slots = (uint32_t)slots,
        .resident = all,
        .smallest = smallest,
        /* Beyond what is resident: guard pages of stacks and the linked file's own gaps. */
        .address_space = all + TANDEM_PLAN_THREADS * TANDEM_PAGE_BYTES,
    };
    plan->overhead = all - sizes.weights - sizes.arena - sizes.tokenizer - code - caches;
    return TD_OK;
}

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

td_status cg_measure_code(td_context *context, const cg_unit *unit, uint64_t *bytes)
{
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL;
    TD_TRY(cg_unit_emit(context, unit, CG_OBJECT, &buffer));
    LLVMBinaryRef object = LLVMCreateBinary(buffer, NULL, &message);
    if (object == NULL) {
        const td_status status = td_fail(context, TD_INTERNAL, "the emitted object: %s", message);
        LLVMDisposeMessage(message);
        LLVMDisposeMemoryBuffer(buffer);
        return status;
    }
    *bytes = 0;
    LLVMSectionIteratorRef section = LLVMObjectFileCopySectionIterator(object);
    while (!LLVMObjectFileIsSectionIteratorAtEnd(object, section)) {
        const char *name = LLVMGetSectionName(section);
        if (name != NULL && is_loaded(name))
            *bytes += LLVMGetSectionSize(section);
        LLVMMoveToNextSection(section);
    }
    LLVMDisposeSectionIterator(section);
    LLVMDisposeBinary(object);
    LLVMDisposeMemoryBuffer(buffer);
    return TD_OK;
}
