/* Opening and closing a model, and the table of the C interface.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include "runtime/costs_file.h"
#include "runtime/payload_hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tandem_status rt_fail(tandem_error *error, tandem_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

static tandem_status check_model(const tandem_artefact *artefact, const tandem_model_info *info,
                                 tandem_error *error)
{
    const tandem_output_info *logits = &info->logits;
    bool sound = info->max_tokens >= 1 && info->max_rows >= 1 && info->vocabulary >= 1 &&
                 info->ancestor_words == (info->max_tokens + 63) / 64 && logits->columns >= 1 &&
                 info->forward != NULL && info->commit != NULL &&
                 info->state_fixed_bytes % 64 == 0 &&
                 info->state_fixed_bytes / 4 >= (uint64_t)info->layers * info->count_stride &&
                 logits->offset <= artefact->arena_bytes &&
                 (uint64_t)info->max_rows * logits->columns <=
                     (artefact->arena_bytes - logits->offset) / sizeof(float) &&
                 info->weights_offset <= artefact->payload_bytes &&
                 info->weights_bytes <= artefact->payload_bytes - info->weights_offset;
    /* Verification finds the drafter's ids in rows of the target, which are ids themselves. */
    sound = sound && (info != &artefact->models[RT_TARGET] || info->head_ids == NULL);
    for (uint32_t i = 0; info->head_ids != NULL && i < logits->columns; i++)
        sound = sound && info->head_ids[i] > (i == 0 ? -1 : info->head_ids[i - 1]);
    if (!sound)
        return rt_fail(error, TANDEM_REFUSED,
                       "the table of model \"%s\" contradicts itself: the program is damaged",
                       info->name);
    return TANDEM_OK;
}

static tandem_status check_scratch(const tandem_artefact *artefact, unsigned index, uint64_t floats,
                                   tandem_error *error)
{
    const tandem_scratch_info *scratch = &artefact->scratch[index];
    if (scratch->bytes >= floats * sizeof(float) && scratch->offset <= artefact->arena_bytes &&
        scratch->bytes <= artefact->arena_bytes - scratch->offset)
        return TANDEM_OK;
    return rt_fail(error, TANDEM_REFUSED,
                   "the arena has no room for %llu probabilities: the program is damaged",
                   (unsigned long long)floats);
}

/* Everything that can be checked without the payload. */
static tandem_status check_artefact(const tandem_artefact *artefact, tandem_error *error)
{
    if (artefact == NULL)
        return rt_fail(error, TANDEM_REFUSED,
                       "the artefact needs a newer runtime than version %u of the interface",
                       TANDEM_ABI_VERSION);
    if (artefact->abi_version != TANDEM_ABI_VERSION || artefact->size != sizeof *artefact)
        return rt_fail(error, TANDEM_REFUSED,
                       "the artefact has interface version %u with %u bytes, but this runtime "
                       "reads version %u with %zu: link it with the runtime that it was made for",
                       artefact->abi_version, artefact->size, TANDEM_ABI_VERSION, sizeof *artefact);
    tandem_status status = rt_check_processor(artefact->features, error);
    if (status != TANDEM_OK)
        return status;
    if (artefact->model_count < 1 || artefact->model_count > RT_MAX_MODELS ||
        artefact->max_draft > RT_MAX_DRAFT || artefact->plan.slots < TANDEM_SLOT_MULTIPLE)
        return rt_fail(error, TANDEM_REFUSED,
                       "the artefact has %u models, drafts of %u and %u slots, but this runtime "
                       "takes 1 to %u, up to %u and at least %u",
                       artefact->model_count, artefact->max_draft, artefact->plan.slots,
                       RT_MAX_MODELS, RT_MAX_DRAFT, TANDEM_SLOT_MULTIPLE);
    for (uint32_t i = 0; i < artefact->model_count && status == TANDEM_OK; i++)
        status = check_model(artefact, &artefact->models[i], error);
    if (status == TANDEM_OK)
        status = check_scratch(artefact, TANDEM_SCRATCH_PROBABILITIES,
                               2 * (uint64_t)artefact->models[RT_TARGET].logits.columns, error);
    if (status == TANDEM_OK && artefact->model_count > 1)
        status = check_scratch(
            artefact, TANDEM_SCRATCH_DRAFT_PROBABILITIES,
            (uint64_t)artefact->max_draft * artefact->models[RT_DRAFTER].logits.columns, error);
    return status;
}

static tandem_status open_parts(tandem_model *model, const tandem_options *options,
                                tandem_error *error)
{
    const tandem_artefact *artefact = model->artefact;
    const char *problem = NULL;
    if (artefact->tokenizer != NULL) {
        model->tokenizer =
            rt_tokenizer_open(artefact->tokenizer, artefact->tokenizer_bytes, &problem);
        if (model->tokenizer == NULL)
            return rt_fail(error, TANDEM_REFUSED, "the program's tokenizer is damaged: %s",
                           problem);
        if (rt_decoder_most_bytes(model->tokenizer) > RT_PIECE_BYTES - RT_STOP_BYTES)
            return rt_fail(error, TANDEM_REFUSED,
                           "the program's tokenizer has a token of more than %d bytes",
                           RT_PIECE_BYTES - RT_STOP_BYTES);
    }
    tandem_status status = rt_payload_map(artefact, options->payload, true, error, &model->payload);
    if (status != TANDEM_OK)
        return status;
    int failure =
        rt_pool_start(&model->pool, model->threads, rt_pool_looks(model->threads), model->stacks);
    if (failure != 0)
        return rt_fail(error, TANDEM_FAILED, "cannot start %u threads: %s", model->threads,
                       strerror(failure));
    const tandem_model_info *models = artefact->models;
    rt_choose_clear(&model->chooser, models[RT_TARGET].weights_read_per_pass,
                    artefact->model_count > 1 ? models[RT_DRAFTER].weights_read_per_pass : 0);
    if (options->costs == NULL)
        return TANDEM_OK;
    return rt_costs_load(&model->chooser.costs, artefact->header_hash, options->costs, error);
}

static void close_model(tandem_model *model)
{
    if (model == NULL)
        return;
    rt_pool_stop(&model->pool);
    rt_payload_unmap(&model->payload);
    rt_memory_free(model);
}

/* What was asked for, else the artefact's default. */
static tandem_status choose_eviction(const tandem_artefact *artefact, const tandem_options *options,
                                     tandem_error *error, rt_eviction *eviction)
{
    const char *name = options->eviction != NULL ? options->eviction : artefact->eviction;
    name = name != NULL ? name : "none";
    tandem_status status = rt_evict_find(name, error, eviction);
    eviction->step = options->evict_step;
    for (uint32_t i = 0; i < artefact->model_count && status == TANDEM_OK; i++) {
        status = rt_evict_check(eviction, name, &artefact->models[i], error);
        if (status == TANDEM_OK)
            status = rt_evict_positions(options->positions, &artefact->models[i], error, eviction);
    }
    return status;
}

tandem_status rt_find_text_limit(const tandem_artefact *artefact, const tandem_options *options,
                                 tandem_error *error, rt_text_limit *limit)
{
    rt_eviction eviction;
    tandem_status status = check_artefact(artefact, error);
    if (status == TANDEM_OK)
        status = choose_eviction(artefact, options, error, &eviction);
    if (status != TANDEM_OK)
        return status;
    return rt_memory_text(artefact, options, &eviction, error, limit);
}

static tandem_status open_model(const tandem_artefact *artefact, const tandem_options *options,
                                tandem_error *error, tandem_model **result)
{
    static const tandem_options defaults;
    if (options == NULL)
        options = &defaults;
    tandem_model *model = NULL;
    rt_eviction eviction;
    tandem_status status = check_artefact(artefact, error);
    if (status == TANDEM_OK)
        status = choose_eviction(artefact, options, error, &eviction);
    if (status == TANDEM_OK)
        status = rt_memory_make(artefact, options, &eviction, error, &model);
    if (status != TANDEM_OK)
        return status;
    status = open_parts(model, options, error);
    if (status != TANDEM_OK) {
        close_model(model);
        return status;
    }
    *result = model;
    return TANDEM_OK;
}

static const char *error_text(const tandem_model *model)
{
    return model->error.text;
}

static tandem_status check_payload(const tandem_artefact *artefact, const tandem_options *options,
                                   tandem_error *error)
{
    tandem_status status = check_artefact(artefact, error);
    if (status != TANDEM_OK)
        return status;
    rt_payload payload;
    status =
        rt_payload_map(artefact, options == NULL ? NULL : options->payload, false, error, &payload);
    if (status != TANDEM_OK || payload.bytes == NULL)
        return status;
    uint64_t hash = tandem_payload_hash(TANDEM_PAYLOAD_HASH_START, payload.bytes,
                                        (size_t)artefact->payload_bytes);
    rt_payload_unmap(&payload);
    if (hash != artefact->payload_hash)
        return rt_fail(error, TANDEM_REFUSED,
                       "the weights have the hash %016llx, but the program was made for %016llx: "
                       "the file is damaged",
                       (unsigned long long)hash, (unsigned long long)artefact->payload_hash);
    return TANDEM_OK;
}

static size_t session_tokens(const tandem_session *session, const int32_t **ids)
{
    *ids = session->ids;
    return session->length;
}

static tandem_status without_tokenizer(tandem_model *model)
{
    return rt_fail(&model->error, TANDEM_INVALID,
                   "the program was compiled without a tokenizer: give token ids instead");
}

static tandem_status tokenize(tandem_model *model, const char *text, size_t bytes, int32_t *ids,
                              size_t capacity, size_t *count)
{
    if (model->tokenizer == NULL)
        return without_tokenizer(model);
    uint64_t scratch_bytes;
    void *scratch = rt_text_scratch(model, &scratch_bytes);
    int64_t all = rt_tokenizer_encode(model->tokenizer, text, bytes, RT_ENCODE_SPECIAL, scratch,
                                      (size_t)scratch_bytes, ids, capacity);
    if (all < 0)
        return rt_refuse_text(model, bytes);
    *count = (size_t)all;
    return TANDEM_OK;
}

static tandem_status detokenize(tandem_model *model, const int32_t *ids, size_t count, char *text,
                                size_t capacity, size_t *bytes)
{
    if (model->tokenizer == NULL)
        return without_tokenizer(model);
    rt_decoder decoder = {0};
    char piece[RT_PIECE_BYTES];
    size_t all = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t length = i < count
                            ? rt_decoder_push(&decoder, model->tokenizer, ids[i], false, piece)
                            : rt_decoder_finish(&decoder, piece);
        size_t room = all < capacity ? capacity - all : 0;
        if (room > 0)
            memcpy(text + all, piece, length < room ? length : room);
        all += length;
    }
    *bytes = all;
    return TANDEM_OK;
}

static tandem_status save_costs(tandem_model *model, const char *path)
{
    return rt_costs_store(&model->chooser.costs, model->artefact->header_hash, path, &model->error);
}

const tandem_api tandem_runtime_api = {
    .abi_version = TANDEM_ABI_VERSION,
    .size = sizeof(tandem_api),
    .open = open_model,
    .close = close_model,
    .error = error_text,
    .check = check_payload,
    .session_create = rt_session_create,
    .session_destroy = rt_session_destroy,
    .feed = rt_feed,
    .feed_text = rt_feed_text,
    .generate = rt_generate,
    .stats = rt_stats,
    .tokens = session_tokens,
    .tokenize = tokenize,
    .detokenize = detokenize,
    .save = rt_save,
    .restore = rt_restore,
    .save_costs = save_costs,
};
