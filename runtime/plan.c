/* See plan.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/plan.h"

uint64_t tandem_plan_inputs(uint32_t max_tokens, uint32_t max_rows)
{
    uint64_t words = (max_tokens + UINT64_C(63)) / 64;
    return 3 * tandem_plan_round(4 * (uint64_t)max_tokens, 64) +
           tandem_plan_round(4 * (uint64_t)max_rows, 64) +
           tandem_plan_round(8 * words * max_tokens, 64);
}

uint64_t tandem_plan_text(const tandem_plan_sizes *sizes, uint64_t bytes)
{
    return sizes->tokenizer == 0 || bytes <= sizes->arena ? 0 : bytes;
}

uint64_t tandem_plan_prompt(uint64_t bytes)
{
    return bytes > TANDEM_PROMPT_BYTES ? bytes - TANDEM_PROMPT_BYTES : 0;
}

double tandem_plan_mebibytes(uint64_t bytes)
{
    uint64_t whole = bytes >> 20, rest = bytes & 0xfffff;
    return (double)whole + (double)((rest * 100 + 0xfffff) >> 20) / 100;
}

uint32_t tandem_plan_slots(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots)
{
    if (which > 0 && sizes->drafter_slots > 0 && sizes->drafter_slots < slots)
        slots = sizes->drafter_slots;
    if (which > 0 && sizes->evicts && slots > TANDEM_DRAFTER_SLOTS)
        slots = TANDEM_DRAFTER_SLOTS;
    return slots;
}

uint32_t tandem_plan_fewest_slots(const tandem_plan_sizes *sizes)
{
    uint64_t fewest = sizes->fewest_slots == 0 ? TANDEM_SLOT_MULTIPLE : sizes->fewest_slots;
    return (uint32_t)tandem_plan_round(fewest, TANDEM_SLOT_MULTIPLE);
}

uint32_t tandem_plan_tokens(const tandem_plan_sizes *sizes, uint32_t slots)
{
    return sizes->tokens == 0 ? slots : sizes->tokens;
}

uint64_t tandem_plan_state(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots)
{
    const tandem_plan_model *model = &sizes->models[which];
    return tandem_plan_round(
        model->state_fixed + model->slot_bytes * tandem_plan_slots(sizes, which, slots), 64);
}

uint64_t tandem_plan_policy(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots)
{
    const tandem_plan_model *model = &sizes->models[which];
    return tandem_plan_round(model->policy_fixed +
                                 model->policy_slot_bytes * tandem_plan_slots(sizes, which, slots),
                             64);
}

uint64_t tandem_plan_caches(const tandem_plan_sizes *sizes, uint32_t slots)
{
    uint64_t bytes = 0;
    for (unsigned which = 0; which < sizes->model_count; which++)
        bytes += tandem_plan_state(sizes, which, slots) + tandem_plan_policy(sizes, which, slots);
    return bytes;
}

uint64_t tandem_plan_session(const tandem_plan_sizes *sizes, uint32_t slots)
{
    return TANDEM_SESSION_BYTES + tandem_plan_caches(sizes, slots) +
           tandem_plan_tokens(sizes, slots) * (uint64_t)sizeof(int32_t);
}

uint64_t tandem_plan_mapping(const tandem_plan_sizes *sizes, const tandem_plan_choice *choice)
{
    uint64_t bytes = TANDEM_HANDLE_BYTES + tandem_plan_round(sizes->arena, 64) +
                     tandem_plan_round(choice->text, 64) +
                     choice->sessions * tandem_plan_session(sizes, choice->slots);
    for (unsigned which = 0; which < sizes->model_count; which++)
        bytes += sizes->models[which].inputs;
    return tandem_plan_round(bytes, TANDEM_PAGE_BYTES) +
           (choice->threads - UINT64_C(1)) * (TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES);
}

uint64_t tandem_plan_resident(const tandem_plan_sizes *sizes, const tandem_plan_choice *choice)
{
    return tandem_plan_round(sizes->weights, TANDEM_PAGE_BYTES) + sizes->tokenizer + sizes->code +
           tandem_plan_mapping(sizes, choice) + choice->prompt + TANDEM_PROCESS_BYTES;
}

uint64_t tandem_plan_address_space(const tandem_plan_sizes *sizes, const tandem_plan_choice *choice)
{
    return tandem_plan_resident(sizes, choice) + TANDEM_ADDRESS_BYTES;
}

uint32_t tandem_plan_most_slots(const tandem_plan_sizes *sizes, tandem_plan_choice choice,
                                uint64_t budget)
{
    uint32_t lower = 0, upper = choice.slots / TANDEM_SLOT_MULTIPLE;
    while (lower < upper) {
        uint32_t middle = lower + (upper - lower + 1) / 2;
        choice.slots = middle * TANDEM_SLOT_MULTIPLE;
        if (tandem_plan_resident(sizes, &choice) <= budget)
            lower = middle;
        else
            upper = middle - 1;
    }
    return lower * TANDEM_SLOT_MULTIPLE;
}

bool tandem_plan_fit(const tandem_plan_sizes *sizes, uint64_t budget, uint32_t fewest_slots,
                     uint32_t fewest_threads, tandem_plan_choice *choice)
{
    uint32_t good = choice->slots < TANDEM_GOOD_SLOTS ? choice->slots : TANDEM_GOOD_SLOTS;
    uint32_t slots = tandem_plan_most_slots(sizes, *choice, budget);
    while (slots < good && choice->threads > fewest_threads) {
        choice->threads--;
        slots = tandem_plan_most_slots(sizes, *choice, budget);
    }
    choice->slots = slots < fewest_slots ? fewest_slots : slots;
    return slots >= fewest_slots;
}
