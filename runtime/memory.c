/* One mapping for everything that is written, populated at start.
 *
 * SPDX-License-Identifier: MIT
 *
 * Order in the mapping: handle, arena, inputs of both models, room for tokenizing, sessions with
 * their caches, thread stacks. Its size is tandem_plan_mapping() of plan.h. */
#include "runtime/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(sizeof(tandem_model) <= TANDEM_HANDLE_BYTES, "the handle outgrew its plan");
_Static_assert(sizeof(tandem_session) + (RT_MAX_DRAFT + 1) * sizeof(int32_t) + 128 <=
                   TANDEM_SESSION_BYTES,
               "a session outgrew its plan");

#define DEFAULT_TEXT_BYTES 2048

tandem_plan_sizes rt_plan_sizes(const tandem_artefact *artefact)
{
    tandem_plan_sizes sizes = {
        .weights = artefact->payload_bytes,
        .arena = artefact->arena_bytes,
        .tokenizer = artefact->tokenizer_bytes,
        .code = artefact->plan.code,
    };
    for (uint32_t i = 0; i < artefact->model_count; i++) {
        const tandem_model_info *info = &artefact->models[i];
        sizes.inputs += tandem_plan_inputs(info->max_tokens, info->max_rows);
        sizes.state_fixed += info->state_fixed_bytes;
        sizes.slot_bytes += info->state_slot_bytes;
    }
    return sizes;
}

static uint32_t default_threads(void)
{
    uint32_t processors = rt_processors();
    return processors < TANDEM_PLAN_THREADS ? processors : TANDEM_PLAN_THREADS;
}

/* Room for tokenizing beyond what the arena lends. A text with more bytes per slot than any prose
 * has would not fit the slots, and most tokenizers need room for its longest word only. */
static uint64_t text_room(const tandem_artefact *artefact, const tandem_options *options)
{
    uint64_t text = options->text_bytes == 0 ? DEFAULT_TEXT_BYTES : options->text_bytes;
    uint64_t most = DEFAULT_TEXT_BYTES + artefact->plan.slots * UINT64_C(32);
    text = text < most ? text : most;
    uint64_t scratch = rt_tokenizer_scratch_bytes((size_t)text);
    return artefact->tokenizer == NULL || scratch <= artefact->arena_bytes ? 0 : scratch;
}

static uint64_t smaller_budget(uint64_t left, uint64_t right)
{
    return left == 0 ? right : right == 0 || left < right ? left : right;
}

/* The most slots whose plan fits the budget; 0: not even one block of them does. */
static uint32_t slots_within(const tandem_plan_sizes *sizes, tandem_plan_choice choice,
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

/* Fewer slots than this are not chosen unless they are asked for. */
static uint32_t least_slots(const tandem_artefact *artefact)
{
    uint64_t least = tandem_plan_round(artefact->plan.minimum_slots, TANDEM_SLOT_MULTIPLE);
    if (least < TANDEM_SLOT_MULTIPLE)
        return TANDEM_SLOT_MULTIPLE;
    return least < artefact->plan.slots ? (uint32_t)least : artefact->plan.slots;
}

/* Threads, sessions and slots; budget 0: none. */
static tandem_status choose(const tandem_artefact *artefact, const tandem_options *options,
                            uint64_t budget, tandem_error *error, tandem_plan_choice *choice)
{
    tandem_plan_sizes sizes = rt_plan_sizes(artefact);
    uint32_t most = artefact->plan.slots / TANDEM_SLOT_MULTIPLE * TANDEM_SLOT_MULTIPLE;
    if (options->threads > TANDEM_MAX_THREADS)
        return rt_fail(error, TANDEM_INVALID, "%u threads are too many: at most %u",
                       options->threads, TANDEM_MAX_THREADS);
    if (options->sessions > RT_MAX_SESSIONS)
        return rt_fail(error, TANDEM_INVALID, "%u sessions are too many: at most %u",
                       options->sessions, RT_MAX_SESSIONS);
    if (options->slots > most || (options->slots > 0 && options->slots < TANDEM_SLOT_MULTIPLE))
        return rt_fail(error, TANDEM_INVALID,
                       "%u slots cannot be had: the program was compiled for %u to %u",
                       options->slots, TANDEM_SLOT_MULTIPLE, most);
    uint32_t wanted = options->slots == 0 ? most : options->slots;
    *choice = (tandem_plan_choice){
        .slots = wanted / TANDEM_SLOT_MULTIPLE * TANDEM_SLOT_MULTIPLE,
        .threads = options->threads == 0 ? default_threads() : options->threads,
        .sessions = options->sessions == 0 ? 1 : options->sessions,
        .text = text_room(artefact, options),
    };
    if (budget == 0)
        return TANDEM_OK;
    /* Slots asked for by number are not taken away silently. */
    tandem_plan_choice least = *choice;
    if (options->slots == 0)
        least.slots = least_slots(artefact);
    uint64_t smallest = tandem_plan_resident(&sizes, &least);
    choice->slots = slots_within(&sizes, *choice, budget);
    if (choice->slots >= least.slots)
        return TANDEM_OK;
    return rt_fail(error, TANDEM_REFUSED,
                   "a memory budget of %llu bytes is too small for %u slots, %u threads and %u "
                   "session%s: the smallest that works is %llu bytes (%.1f MB)",
                   (unsigned long long)budget, least.slots, least.threads, least.sessions,
                   least.sessions == 1 ? "" : "s", (unsigned long long)smallest,
                   (double)smallest / 1e6);
}

/* Hands out parts of the mapping in order. */
typedef struct mapping_region {
    unsigned char *base;
    uint64_t used;
} mapping_region;

static unsigned char *take(mapping_region *region, uint64_t bytes)
{
    unsigned char *start = region->base + region->used;
    region->used += tandem_plan_round(bytes, 64);
    return start;
}

static void place_inputs(const tandem_model_info *info, mapping_region *region, rt_inputs *inputs)
{
    inputs->ids = (int32_t *)(void *)take(region, 4 * (uint64_t)info->max_tokens);
    inputs->positions = (int32_t *)(void *)take(region, 4 * (uint64_t)info->max_tokens);
    inputs->path = (int32_t *)(void *)take(region, 4 * (uint64_t)info->max_tokens);
    inputs->rows = (int32_t *)(void *)take(region, 4 * (uint64_t)info->max_rows);
    uint64_t words = info->ancestor_words;
    inputs->ancestors = (uint64_t *)(void *)take(region, 8 * words * info->max_tokens);
    /* Row i of a chain sees tail tokens 0 .. i, whatever the number of tokens. */
    for (uint64_t row = 0; row < info->max_tokens; row++)
        for (uint64_t bit = 0; bit <= row; bit++)
            inputs->ancestors[row * words + bit / 64] |= UINT64_C(1) << bit % 64;
}

static tandem_session *place_session(tandem_model *model, mapping_region *region)
{
    const tandem_artefact *artefact = model->artefact;
    tandem_session *session = (tandem_session *)(void *)take(region, sizeof *session);
    session->model = model;
    uint64_t ids = model->slots + UINT64_C(1) + artefact->max_draft;
    session->ids = (int32_t *)(void *)take(region, ids * sizeof(int32_t));
    for (uint32_t i = 0; i < artefact->model_count; i++)
        session->caches[i].state =
            take(region, artefact->models[i].state_fixed_bytes +
                             model->slots * artefact->models[i].state_slot_bytes);
    return session;
}

/* Writing to every page makes it resident. Small pages only: with large ones more would be. */
static void populate(unsigned char *mapping, uint64_t bytes)
{
    madvise(mapping, bytes, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < bytes; i += TANDEM_PAGE_BYTES)
        *(volatile unsigned char *)(mapping + i) = 0;
}

tandem_status rt_memory_make(const tandem_artefact *artefact, const tandem_options *options,
                             tandem_error *error, tandem_model **result)
{
    tandem_plan_choice choice = {0};
    uint64_t budget = smaller_budget(options->memory_budget, artefact->plan.budget);
    tandem_status status = choose(artefact, options, budget, error, &choice);
    if (status != TANDEM_OK)
        return status;
    tandem_plan_sizes sizes = rt_plan_sizes(artefact);
    uint64_t bytes = tandem_plan_mapping(&sizes, &choice);
    unsigned char *mapping =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return rt_fail(error, TANDEM_FAILED, "cannot get %llu bytes of memory: %s",
                       (unsigned long long)bytes, strerror(errno));
    populate(mapping, bytes);
    mapping_region region = {mapping, 0};
    tandem_model *model = (tandem_model *)(void *)take(&region, TANDEM_HANDLE_BYTES);
    model->artefact = artefact;
    model->mapping = mapping;
    model->mapping_bytes = bytes;
    model->planned_bytes = tandem_plan_resident(&sizes, &choice);
    model->budget_bytes = budget;
    model->slots = choice.slots;
    model->threads = choice.threads;
    model->session_count = choice.sessions;
    model->arena = take(&region, artefact->arena_bytes);
    for (uint32_t i = 0; i < artefact->model_count; i++)
        place_inputs(&artefact->models[i], &region, &model->inputs[i]);
    model->text_scratch_bytes = choice.text;
    model->text_scratch = take(&region, choice.text);
    for (uint32_t i = 0; i < choice.sessions; i++)
        model->sessions[i] = place_session(model, &region);
    region.used = tandem_plan_round(region.used, TANDEM_PAGE_BYTES);
    model->stacks = take(&region, 0);
    *result = model;
    return TANDEM_OK;
}

void rt_memory_free(tandem_model *model)
{
    munmap(model->mapping, model->mapping_bytes);
}
