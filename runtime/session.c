/* Sessions: their tokens, their caches and the passes that fill them.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <string.h>

static const tandem_model_info *info_of(const tandem_session *session, unsigned which)
{
    return &session->model->artefact->models[which];
}

static tandem_frame make_frame(tandem_session *session, unsigned which)
{
    tandem_model *model = session->model;
    const unsigned char *payload = model->payload.bytes;
    tandem_frame frame = {
        .arena = model->arena,
        .weights = payload == NULL ? NULL : payload + info_of(session, which)->weights_offset,
        .state = session->caches[which].state,
        .share = model->threads > 1 ? rt_pool_share : NULL,
        .share_self = &model->pool,
    };
    frame.symbols[TANDEM_SYMBOL_SLOTS] = model->slots;
    return frame;
}

void rt_forward(tandem_session *session, unsigned which, uint32_t count, uint32_t rows)
{
    const tandem_model_info *info = info_of(session, which);
    const rt_inputs *inputs = &session->model->inputs[which];
    uint32_t first = session->caches[which].fed;
    for (uint32_t i = 0; i < count; i++) {
        int32_t id = session->ids[first + i];
        /* Ids that only the target's padded vocabulary has mean nothing to the drafter: any
         * token will do, since what it guesses is verified. */
        inputs->ids[i] = (uint32_t)id < info->vocabulary ? id : 0;
        inputs->positions[i] = (int32_t)(first + i);
    }
    for (uint32_t i = 0; i < rows; i++)
        inputs->rows[i] = (int32_t)(count - rows + i);
    tandem_frame frame = make_frame(session, which);
    frame.symbols[TANDEM_SYMBOL_TOKENS] = count;
    frame.symbols[TANDEM_SYMBOL_ROWS] = rows;
    frame.inputs[TANDEM_INPUT_IDS] = inputs->ids;
    frame.inputs[TANDEM_INPUT_POSITIONS] = inputs->positions;
    frame.inputs[TANDEM_INPUT_ANCESTORS] = inputs->ancestors;
    frame.inputs[TANDEM_INPUT_ROWS] = inputs->rows;
    info->forward(&frame);
}

void rt_commit(tandem_session *session, unsigned which, uint32_t count)
{
    const rt_inputs *inputs = &session->model->inputs[which];
    for (uint32_t i = 0; i < count; i++)
        inputs->path[i] = (int32_t)i;
    tandem_frame frame = make_frame(session, which);
    frame.symbols[TANDEM_SYMBOL_ACCEPTED] = count;
    frame.inputs[TANDEM_INPUT_PATH] = inputs->path;
    info_of(session, which)->commit(&frame);
    session->caches[which].fed += count;
}

void rt_truncate(tandem_session *session, unsigned which, uint32_t count)
{
    rt_cache *cache = &session->caches[which];
    if (cache->fed <= count)
        return;
    /* Committed slots are in the order of the tokens, so the later ones are dropped by counting
     * fewer. */
    const tandem_model_info *info = info_of(session, which);
    int32_t *counts = (int32_t *)(void *)cache->state;
    for (uint32_t i = 0; i < info->layers * info->count_stride; i++)
        if (counts[i] > (int32_t)count)
            counts[i] = (int32_t)count;
    cache->fed = count;
}

void rt_catch_up(tandem_session *session, unsigned which, uint32_t count)
{
    const rt_cache *cache = &session->caches[which];
    uint32_t most = info_of(session, which)->max_tokens;
    while (cache->fed < count) {
        uint32_t chunk = count - cache->fed < most ? count - cache->fed : most;
        rt_forward(session, which, chunk, 0);
        rt_commit(session, which, chunk);
    }
}

const float *rt_logits(const tandem_session *session, unsigned which, uint32_t row)
{
    const tandem_output_info *logits = &info_of(session, which)->logits;
    const void *start = session->model->arena + logits->offset;
    return (const float *)start + (uint64_t)row * logits->columns;
}

tandem_status rt_session_create(tandem_model *model, tandem_session **session)
{
    tandem_session *free_one = NULL;
    for (uint32_t i = 0; i < model->session_count && free_one == NULL; i++)
        if (!model->sessions[i]->taken)
            free_one = model->sessions[i];
    if (free_one == NULL)
        return rt_fail(&model->error, TANDEM_FULL,
                       "all %u sessions of the model exist already; open it with more",
                       model->session_count);
    free_one->taken = true;
    free_one->number = model->sessions_made++;
    free_one->round = 0;
    free_one->length = 0;
    free_one->decoder = (rt_decoder){0};
    free_one->counts = (rt_counts){0};
    for (unsigned which = 0; which < model->artefact->model_count; which++) {
        memset(free_one->caches[which].state, 0, info_of(free_one, which)->state_fixed_bytes);
        free_one->caches[which].fed = 0;
    }
    *session = free_one;
    return TANDEM_OK;
}

void rt_session_destroy(tandem_session *session)
{
    if (session != NULL)
        session->taken = false;
}

/* Tokens that a session can hold: each needs a slot and a position of the target. */
static uint32_t capacity(const tandem_session *session)
{
    uint32_t context = info_of(session, RT_TARGET)->context_length;
    return session->model->slots < context ? session->model->slots : context;
}

/* Tokens that can still be fed. A generation that ended for want of slots leaves one too many. */
static uint32_t room_left(const tandem_session *session)
{
    uint32_t all = capacity(session);
    return session->length < all ? all - session->length : 0;
}

static tandem_status refuse_length(const tandem_session *session, uint64_t count)
{
    const tandem_model *model = session->model;
    return rt_fail(&session->model->error, TANDEM_FULL,
                   "the prompt has %llu tokens, but %u %s: shorten it%s",
                   (unsigned long long)(session->length + count), capacity(session),
                   capacity(session) == model->slots ? "slots is all there are"
                                                     : "positions is the model's context",
                   capacity(session) == model->slots ? ", or allow more slots or memory" : "");
}

tandem_status rt_feed(tandem_session *session, const int32_t *ids, size_t count)
{
    uint32_t vocabulary = info_of(session, RT_TARGET)->vocabulary;
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocabulary)
            return rt_fail(&session->model->error, TANDEM_INVALID,
                           "token id %d is outside the vocabulary of %u ids", ids[i], vocabulary);
    if (count > room_left(session))
        return refuse_length(session, count);
    if (count == 0)
        return TANDEM_OK;
    memcpy(session->ids + session->length, ids, count * sizeof *ids);
    session->length += (uint32_t)count;
    return TANDEM_OK;
}

void *rt_text_scratch(const tandem_model *model, uint64_t *bytes)
{
    bool own = model->text_scratch_bytes > model->artefact->arena_bytes;
    *bytes = own ? model->text_scratch_bytes : model->artefact->arena_bytes;
    return own ? model->text_scratch : model->arena;
}

tandem_status rt_feed_text(tandem_session *session, const char *text, size_t bytes)
{
    tandem_model *model = session->model;
    if (model->tokenizer == NULL)
        return rt_fail(&model->error, TANDEM_INVALID,
                       "the program was compiled without a tokenizer: give token ids instead");
    uint32_t start = session->length, room = room_left(session);
    if (start == 0 && rt_tokenizer_adds_bos(model->tokenizer)) {
        int32_t bos = rt_tokenizer_bos(model->tokenizer);
        if (room == 0)
            return refuse_length(session, 1);
        session->ids[start] = bos; /* becomes part of the text when all of it fits */
        start++, room--;
    }
    uint64_t scratch_bytes;
    void *scratch = rt_text_scratch(model, &scratch_bytes);
    int64_t count = rt_tokenizer_encode(model->tokenizer, text, bytes, RT_ENCODE_SPECIAL, scratch,
                                        scratch_bytes, session->ids + start, room);
    if (count < 0)
        return rt_fail(
            &model->error, TANDEM_FULL,
            "the text of %zu bytes is too long: shorten it, or open the model for longer "
            "texts",
            bytes);
    if ((uint64_t)count > room)
        return refuse_length(session, (uint64_t)count + (start - session->length));
    for (uint32_t i = start; i < start + (uint32_t)count; i++)
        if ((uint32_t)session->ids[i] >= info_of(session, RT_TARGET)->vocabulary)
            return rt_fail(&model->error, TANDEM_INVALID,
                           "the text holds token id %d, which the target does not know",
                           session->ids[i]);
    session->length = start + (uint32_t)count;
    return TANDEM_OK;
}
