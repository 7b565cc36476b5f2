/* Sessions: their tokens and what can be appended to them.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <string.h>

void rt_session_clear(tandem_session *session)
{
    session->round = 0;
    session->length = 0;
    session->decoder = (rt_decoder){0};
    session->counts = (rt_counts){0};
    for (unsigned which = 0; which < session->model->artefact->model_count; which++) {
        rt_cache *cache = &session->caches[which];
        memset(cache->state, 0, rt_info(session, which)->state_fixed_bytes);
        cache->fed = cache->tail = cache->tail_text = 0;
    }
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
    rt_session_clear(free_one);
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
    uint32_t context = rt_longest_text(session, RT_TARGET);
    return session->model->tokens < context ? session->model->tokens : context;
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
    const bool drops = rt_evict_drops(&model->eviction);
    const char *limit = "positions is the model's context", *remedy = "";
    if (capacity(session) == model->tokens && !drops) {
        limit = "slots is all there are";
        remedy = ", or allow more slots or memory";
    } else if (model->eviction.compact) {
        limit = "is the longest text";
    } else if (drops) {
        remedy = ", or evict with compact positions";
    }
    return rt_fail(&session->model->error, TANDEM_FULL,
                   "the prompt has %llu tokens, but %u %s: shorten it%s",
                   (unsigned long long)(session->length + count), capacity(session), limit, remedy);
}

tandem_status rt_feed(tandem_session *session, const int32_t *ids, size_t count)
{
    uint32_t vocabulary = rt_info(session, RT_TARGET)->vocabulary;
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

tandem_status rt_refuse_text(tandem_model *model, size_t bytes)
{
    return rt_fail(&model->error, TANDEM_FULL,
                   "the text of %zu bytes has too long a word for the slots, or for the longest "
                   "text that was announced: shorten it",
                   bytes);
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
        return rt_refuse_text(model, bytes);
    if ((uint64_t)count > room)
        return refuse_length(session, (uint64_t)count + (start - session->length));
    for (uint32_t i = start; i < start + (uint32_t)count; i++)
        if ((uint32_t)session->ids[i] >= rt_info(session, RT_TARGET)->vocabulary)
            return rt_fail(&model->error, TANDEM_REFUSED,
                           "the text holds token id %d, which the target does not know",
                           session->ids[i]);
    session->length = start + (uint32_t)count;
    return TANDEM_OK;
}
