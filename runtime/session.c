/* Sessions: their tokens and what can be appended to them.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <string.h>

static const tandem_model_info *info_of(const tandem_session *session, unsigned which)
{
    return &session->model->artefact->models[which];
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
        free_one->caches[which].tail = free_one->caches[which].tail_text = 0;
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
    return rt_fail(&session->model->error, TANDEM_FULL,
                   "the prompt has %llu tokens, but %u %s: shorten it%s",
                   (unsigned long long)(session->length + count), capacity(session),
                   capacity(session) == model->tokens ? "slots is all there are"
                                                      : "positions is the model's context",
                   capacity(session) == model->tokens ? ", or allow more slots or memory" : "");
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
