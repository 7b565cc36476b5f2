/* The loop over rounds: prefill, how long a draft may be, when to stop, handing text out.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <math.h>

static uint32_t smaller(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

static uint32_t difference(uint32_t left, uint32_t right)
{
    return left > right ? left - right : 0;
}

/* Tokens to draft in the next round: what was asked for, as far as passes, slots and positions of
 * both models and the rest of the text have room. Depends on counts only, never on a draw. */
static uint32_t draft_length(const tandem_session *session, const tandem_generate_options *options)
{
    const tandem_artefact *artefact = session->model->artefact;
    if (artefact->model_count < 2)
        return 0;
    const tandem_model_info *target = &artefact->models[RT_TARGET];
    const tandem_model_info *drafter = &artefact->models[RT_DRAFTER];
    uint32_t draft = smaller(options->draft, artefact->max_draft);
    draft = smaller(draft, smaller(target->max_tokens, target->max_rows) - 1);
    /* A round adds one token more than it drafts. */
    draft = smaller(draft, options->max_tokens - (uint32_t)session->counts.tokens - 1);
    /* The target passes the last committed token and the draft; the drafter all but the last of
     * these. */
    draft = smaller(draft, difference(session->model->slots, session->length));
    draft = smaller(draft, difference(target->context_length, session->length));
    return smaller(draft, difference(drafter->context_length + 1, session->length));
}

/* Why no further round is possible; TANDEM_STOP_NONE when one is. */
static tandem_stop find_stop(const tandem_session *session, const tandem_generate_options *options)
{
    if (session->counts.tokens >= options->max_tokens)
        return TANDEM_STOP_LENGTH;
    if (session->length > session->model->slots)
        return TANDEM_STOP_SLOTS;
    if (session->length > session->model->artefact->models[RT_TARGET].context_length)
        return TANDEM_STOP_CONTEXT;
    return TANDEM_STOP_NONE;
}

static bool ends_text(const tandem_model *model, int32_t id)
{
    return (id == model->artefact->eos_id && id >= 0) ||
           (model->tokenizer != NULL && rt_tokenizer_is_end(model->tokenizer, id));
}

/* Where text goes. */
typedef struct text_writer {
    tandem_session *session;
    bool show_special;
    tandem_callback callback;
    void *user;
    bool cancelled;
} text_writer;

static void hand_out(text_writer *writer, size_t bytes, const int32_t *ids, size_t count)
{
    tandem_piece piece = {writer->session->text, bytes, ids, count};
    if (writer->callback != NULL && !writer->callback(writer->user, &piece))
        writer->cancelled = true;
}

/* Gives the callback a round's tokens; in several pieces when their text is very long. */
static void write_tokens(text_writer *writer, const int32_t *ids, size_t count)
{
    tandem_session *session = writer->session;
    const rt_tokenizer *tokenizer = session->model->tokenizer;
    size_t bytes = 0, first = 0;
    for (size_t i = 0; i < count && tokenizer != NULL; i++) {
        if (bytes + rt_decoder_most_bytes(tokenizer) > sizeof session->text) {
            hand_out(writer, bytes, ids + first, i - first);
            first = i;
            bytes = 0;
        }
        bytes += rt_decoder_push(&session->decoder, tokenizer, ids[i], writer->show_special,
                                 session->text + bytes);
    }
    hand_out(writer, bytes, ids + first, count - first);
}

static void finish_text(text_writer *writer)
{
    tandem_session *session = writer->session;
    if (session->model->tokenizer == NULL)
        return;
    size_t bytes = rt_decoder_finish(&session->decoder, session->text);
    if (bytes > 0)
        hand_out(writer, bytes, NULL, 0);
}

/* What is generated goes on after the session's text; the first word of a text would lose its
 * leading space. */
static void start_text(tandem_session *session)
{
    const rt_tokenizer *tokenizer = session->model->tokenizer;
    session->decoder = (rt_decoder){0};
    for (uint32_t i = 0; tokenizer != NULL && i < session->length; i++)
        if (!rt_tokenizer_is_special(tokenizer, session->ids[i])) {
            rt_decoder_continue(&session->decoder);
            return;
        }
}

/* Takes over what a round put behind the committed tokens, up to the end of the text. The caches
 * keep all committed tokens but the last. */
static void take_over(tandem_session *session, const tandem_generate_options *options,
                      uint32_t count)
{
    const int32_t *ids = session->ids + session->length;
    for (uint32_t i = 0; i < count && !options->ignore_end; i++)
        if (ends_text(session->model, ids[i])) {
            count = i + 1;
            session->counts.stop = TANDEM_STOP_END;
        }
    session->length += count;
    session->counts.tokens += count;
    for (unsigned i = 0; i < session->model->artefact->model_count; i++)
        rt_truncate(session, i, session->length - 1);
}

static void prefill(tandem_session *session, bool drafts)
{
    double start = rt_seconds();
    rt_catch_up(session, RT_TARGET, session->length - 1);
    if (drafts)
        rt_catch_up(session, RT_DRAFTER, session->length - 1);
    session->counts.prefill_seconds = rt_seconds() - start;
}

static tandem_status check_options(tandem_session *session, const tandem_generate_options *options)
{
    tandem_error *error = &session->model->error;
    if (!(options->temperature >= 0) || isinf(options->temperature))
        return rt_fail(error, TANDEM_INVALID, "temperature %g cannot be used: 0 and above can",
                       options->temperature);
    if (session->length == 0)
        return rt_fail(error, TANDEM_INVALID,
                       "there is nothing to continue: the prompt has no tokens");
    return TANDEM_OK;
}

tandem_status rt_generate(tandem_session *session, const tandem_generate_options *options,
                          tandem_callback callback, void *user)
{
    static const tandem_generate_options defaults = {.max_tokens = 256,
                                                     .draft = TANDEM_DRAFT_DEFAULT};
    if (options == NULL)
        options = &defaults;
    tandem_status status = check_options(session, options);
    if (status != TANDEM_OK)
        return status;
    session->counts =
        (rt_counts){.prompt_tokens = session->length - session->caches[RT_TARGET].fed};
    start_text(session);
    rt_counts *counts = &session->counts;
    counts->stop = find_stop(session, options);
    if (counts->stop == TANDEM_STOP_NONE)
        prefill(session, draft_length(session, options) > 0);

    double start = rt_seconds();
    rt_rule rule = {options->temperature, options->seed};
    text_writer writer = {session, options->show_special, callback, user, false};
    while (counts->stop == TANDEM_STOP_NONE) {
        uint32_t before = session->length;
        take_over(session, options, rt_round(session, &rule, draft_length(session, options)));
        write_tokens(&writer, session->ids + before, session->length - before);
        if (counts->stop == TANDEM_STOP_NONE)
            counts->stop = find_stop(session, options);
        if (counts->stop == TANDEM_STOP_NONE && writer.cancelled)
            counts->stop = TANDEM_STOP_CANCELLED;
    }
    if (!writer.cancelled)
        finish_text(&writer);
    counts->seconds = rt_seconds() - start;
    return TANDEM_OK;
}
