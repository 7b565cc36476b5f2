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

/* The longest text whose positions are compact, unless the model's own context is longer. */
#define COMPACT_TOKENS (UINT32_C(1) << 16)

/* Slots whose ranks are positions that the model was made for. */
static uint32_t context_slots(const tandem_artefact *artefact, uint32_t which)
{
    const uint32_t positions =
        which < artefact->model_count ? artefact->models[which].context_length : 0;
    return positions / TANDEM_SLOT_MULTIPLE * TANDEM_SLOT_MULTIPLE;
}

/* The smaller of two limits, of which 0 is none. */
static uint32_t fewer_slots(uint32_t left, uint32_t right)
{
    return left == 0 ? right : right == 0 || left < right ? left : right;
}

/* Sizes of an artefact, opened with this eviction, for the formula in plan.h. */
static tandem_plan_sizes sizes_of(const tandem_artefact *artefact, const rt_eviction *eviction)
{
    const tandem_evict_needs needs = rt_evict_needs(eviction);
    tandem_plan_sizes sizes = {
        .weights = artefact->payload_bytes,
        .arena = artefact->arena_bytes,
        .tokenizer = artefact->tokenizer_bytes,
        .code = artefact->plan.code,
        .model_count = artefact->model_count,
        .drafter_slots = artefact->plan.drafter_slots,
        .fewest_slots = artefact->plan.minimum_slots,
    };
    sizes.evicts = needs.drops;
    if (needs.drops)
        sizes.tokens = artefact->models[RT_TARGET].context_length;
    if (eviction->compact && sizes.tokens < COMPACT_TOKENS)
        sizes.tokens = COMPACT_TOKENS;
    if (eviction->compact)
        sizes.drafter_slots = fewer_slots(sizes.drafter_slots, context_slots(artefact, RT_DRAFTER));
    for (uint32_t i = 0; i < artefact->model_count; i++) {
        const tandem_model_info *info = &artefact->models[i];
        const tandem_evict_bytes policy = tandem_evict_sizes(info, &needs);
        sizes.models[i] = (tandem_plan_model){
            .inputs = tandem_plan_inputs(info->max_tokens, info->max_rows),
            .state_fixed = info->state_fixed_bytes,
            .slot_bytes = info->state_slot_bytes,
            .policy_fixed = tandem_evict_fixed(&policy),
            .policy_slot_bytes = tandem_evict_per_slot(&policy),
        };
    }
    return sizes;
}

static uint32_t default_threads(void)
{
    uint32_t processors = rt_processors();
    return processors < TANDEM_USUAL_THREADS ? processors : TANDEM_USUAL_THREADS;
}

/* What is to be chosen from. */
typedef struct memory_request {
    const tandem_artefact *artefact;
    const tandem_options *options;
    tandem_plan_sizes sizes;
    uint32_t most_slots;
    uint64_t budget; /* 0: none */
} memory_request;

/* Bytes of the longest text where the target has so many slots: more per token than any prose has.
 */
static uint64_t longest_text(const tandem_plan_sizes *sizes, uint32_t slots)
{
    return 2048 + tandem_plan_tokens(sizes, slots) * UINT64_C(32);
}

/* Makes room for a text of so many bytes: for itself, and for tokenizing it. */
static void plan_text(const tandem_plan_sizes *sizes, uint64_t bytes, tandem_plan_choice *choice)
{
    const uint64_t scratch = rt_tokenizer_scratch_bytes((size_t)bytes);
    choice->text =
        tandem_plan_text(sizes, scratch < TANDEM_TEXT_BYTES ? TANDEM_TEXT_BYTES : scratch);
    choice->prompt = tandem_plan_prompt(bytes);
}

static uint64_t smaller_budget(uint64_t left, uint64_t right)
{
    return left == 0 ? right : right == 0 || left < right ? left : right;
}

static tandem_status check_numbers(const memory_request *request, tandem_error *error)
{
    const tandem_options *options = request->options;
    const uint32_t fewest = tandem_plan_fewest_slots(&request->sizes), most = request->most_slots;
    if (options->threads > TANDEM_MAX_THREADS)
        return rt_fail(error, TANDEM_INVALID, "%u threads are too many: at most %u",
                       options->threads, TANDEM_MAX_THREADS);
    if (options->sessions > RT_MAX_SESSIONS)
        return rt_fail(error, TANDEM_INVALID, "%u sessions are too many: at most %u",
                       options->sessions, RT_MAX_SESSIONS);
    if (options->slots > most || (options->slots > 0 && options->slots < fewest))
        return rt_fail(error, TANDEM_INVALID,
                       "%u slots cannot be had: the program was compiled for %u to %u",
                       options->slots, fewest, most);
    return TANDEM_OK;
}

/* What was asked for by number, else the most there can be, without room for a text. */
static tandem_plan_choice wanted_choice(const memory_request *request)
{
    const tandem_options *options = request->options;
    const uint32_t planned = request->artefact->plan.sessions;
    /* As many slots as were asked for, or a few more. */
    const uint32_t slots = (uint32_t)tandem_plan_round(options->slots, TANDEM_SLOT_MULTIPLE);
    return (tandem_plan_choice){
        .slots =
            fewer_slots(slots, request->most_slots) / TANDEM_SLOT_MULTIPLE * TANDEM_SLOT_MULTIPLE,
        .threads = options->threads == 0 ? default_threads() : options->threads,
        .sessions = options->sessions > 0 ? options->sessions
                    : planned == 0        ? 1
                                          : planned,
    };
}

/* Lowers slots and threads, unless they were asked for by number, until the budget holds them. */
static bool fit(const memory_request *request, tandem_plan_choice *choice)
{
    const tandem_options *options = request->options;
    const uint32_t slots =
        options->slots == 0 ? tandem_plan_fewest_slots(&request->sizes) : choice->slots;
    const uint32_t threads = options->threads == 0 ? 1 : options->threads;
    return request->budget == 0 ||
           tandem_plan_fit(&request->sizes, request->budget, slots, threads, choice);
}

static bool fits_with_text(const memory_request *request, uint64_t bytes)
{
    tandem_plan_choice choice = wanted_choice(request);
    plan_text(&request->sizes, bytes, &choice);
    return fit(request, &choice);
}

/* Threads, sessions and slots, with room for a text of so many bytes. */
static tandem_status choose(const memory_request *request, uint64_t text, tandem_error *error,
                            tandem_plan_choice *choice)
{
    tandem_status status = check_numbers(request, error);
    if (status != TANDEM_OK)
        return status;
    *choice = wanted_choice(request);
    const uint64_t most = longest_text(&request->sizes, choice->slots);
    plan_text(&request->sizes, text < most ? text : most, choice);
    if (fit(request, choice))
        return TANDEM_OK;
    const uint64_t smallest = tandem_plan_resident(&request->sizes, choice);
    return rt_fail(error, TANDEM_REFUSED,
                   "a memory budget of %llu bytes is too small for %u slots, %u thread%s and %u "
                   "session%s: the smallest that works is %llu bytes (%.2f MiB)",
                   (unsigned long long)request->budget, choice->slots, choice->threads,
                   choice->threads == 1 ? "" : "s", choice->sessions,
                   choice->sessions == 1 ? "" : "s", (unsigned long long)smallest,
                   tandem_plan_mebibytes(smallest));
}

static memory_request make_request(const tandem_artefact *artefact, const tandem_options *options,
                                   const rt_eviction *eviction)
{
    memory_request request = {
        .artefact = artefact,
        .options = options,
        .sizes = sizes_of(artefact, eviction),
        .most_slots = artefact->plan.slots,
        .budget = smaller_budget(options->memory_budget, artefact->plan.budget),
    };
    if (options->drafter_slots > 0) {
        const uint64_t wanted = tandem_plan_round(options->drafter_slots, TANDEM_SLOT_MULTIPLE);
        request.sizes.drafter_slots = fewer_slots(request.sizes.drafter_slots, (uint32_t)wanted);
        request.sizes.evicts = false;
    }
    if (eviction->compact)
        request.most_slots = fewer_slots(request.most_slots, context_slots(artefact, RT_TARGET));
    return request;
}

tandem_status rt_memory_text(const tandem_artefact *artefact, const tandem_options *options,
                             const rt_eviction *eviction, tandem_error *error, rt_text_limit *limit)
{
    const memory_request request = make_request(artefact, options, eviction);
    tandem_plan_choice choice;
    const tandem_status status = choose(&request, 0, error, &choice);
    if (status != TANDEM_OK)
        return status;
    const uint32_t slots = wanted_choice(&request).slots;
    *limit = (rt_text_limit){.bytes = longest_text(&request.sizes, slots),
                             .tokens = tandem_plan_tokens(&request.sizes, slots)};
    if (fits_with_text(&request, limit->bytes))
        return TANDEM_OK;
    /* Of lengths in steps of a KiB, the largest that fits is in [fits, beyond). */
    uint64_t fits = 0, beyond = limit->bytes / 1024 + 1;
    while (beyond - fits > 1) {
        const uint64_t middle = fits + (beyond - fits) / 2;
        if (fits_with_text(&request, middle * 1024))
            fits = middle;
        else
            beyond = middle;
    }
    limit->bytes = fits * 1024;
    limit->budget = request.budget;
    return TANDEM_OK;
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
}

static tandem_session *place_session(const tandem_plan_sizes *sizes, tandem_model *model,
                                     mapping_region *region)
{
    const tandem_artefact *artefact = model->artefact;
    tandem_session *session = (tandem_session *)(void *)take(region, sizeof *session);
    session->model = model;
    uint64_t ids = model->tokens + UINT64_C(1) + artefact->max_draft;
    session->ids = (int32_t *)(void *)take(region, ids * sizeof(int32_t));
    for (uint32_t i = 0; i < artefact->model_count; i++) {
        session->caches[i].state = take(region, tandem_plan_state(sizes, i, model->slots[0]));
        session->caches[i].policy = take(region, tandem_plan_policy(sizes, i, model->slots[0]));
    }
    return session;
}

/* Writing to every page makes it resident. Small pages only: with large ones more would be. */
static void populate(unsigned char *mapping, uint64_t bytes)
{
    madvise(mapping, bytes, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < bytes; i += TANDEM_PAGE_BYTES)
        *(volatile unsigned char *)(mapping + i) = 0;
}

/* Puts the handle and all that it owns into the mapping. */
static tandem_model *place_model(const tandem_artefact *artefact, const tandem_plan_sizes *sizes,
                                 const tandem_plan_choice *choice, mapping_region *region)
{
    tandem_model *model = (tandem_model *)(void *)take(region, TANDEM_HANDLE_BYTES);
    model->artefact = artefact;
    model->threads = choice->threads;
    model->session_count = choice->sessions;
    model->tokens = tandem_plan_tokens(sizes, choice->slots);
    model->arena = take(region, artefact->arena_bytes);
    for (uint32_t i = 0; i < artefact->model_count; i++) {
        model->slots[i] = tandem_plan_slots(sizes, i, choice->slots);
        place_inputs(&artefact->models[i], region, &model->inputs[i]);
    }
    model->text_scratch_bytes = choice->text;
    model->text_scratch = take(region, choice->text);
    for (uint32_t i = 0; i < choice->sessions; i++)
        model->sessions[i] = place_session(sizes, model, region);
    region->used = tandem_plan_round(region->used, TANDEM_PAGE_BYTES);
    model->stacks = take(region, 0);
    return model;
}

tandem_status rt_memory_make(const tandem_artefact *artefact, const tandem_options *options,
                             const rt_eviction *eviction, tandem_error *error,
                             tandem_model **result)
{
    const memory_request request = make_request(artefact, options, eviction);
    const tandem_plan_sizes *sizes = &request.sizes;
    tandem_plan_choice choice;
    const tandem_status status = choose(&request, options->text_bytes, error, &choice);
    if (status != TANDEM_OK)
        return status;
    const uint64_t bytes = tandem_plan_mapping(sizes, &choice);
    unsigned char *mapping =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return rt_fail(error, TANDEM_FAILED, "cannot get %.2f MiB of memory: %s",
                       tandem_plan_mebibytes(bytes), strerror(errno));
    populate(mapping, bytes);
    mapping_region region = {mapping, 0};
    tandem_model *model = place_model(artefact, sizes, &choice, &region);
    model->eviction = *eviction;
    model->mapping = mapping;
    model->mapping_bytes = bytes;
    model->planned_bytes = tandem_plan_resident(sizes, &choice);
    model->budget_bytes = request.budget;
    *result = model;
    return TANDEM_OK;
}

void rt_memory_free(tandem_model *model)
{
    munmap(model->mapping, model->mapping_bytes);
}
