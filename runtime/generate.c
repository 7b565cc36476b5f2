/* The loop over rounds: options, prefill, when to stop, handing text out.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <string.h>

/* Why no further round is possible; TANDEM_STOP_NONE when one is. */
static tandem_stop find_stop(const tandem_session *session, uint32_t left)
{
    if (left == 0)
        return TANDEM_STOP_LENGTH;
    if (rt_room(session, RT_TARGET) == 0)
        return TANDEM_STOP_SLOTS;
    if (session->length > rt_longest_text(session, RT_TARGET))
        return TANDEM_STOP_CONTEXT;
    return TANDEM_STOP_NONE;
}

static void hand_out(rt_generation *self, size_t bytes, const int32_t *ids, size_t count)
{
    tandem_piece piece = {self->session->text, bytes, ids, count};
    if (self->callback != NULL && !self->callback(self->user, &piece))
        self->cancelled = true;
}

/* The text that a token adds, less what may begin a stop text. `text` has room for
 * RT_STOP_BYTES beside a token. */
static size_t decode(rt_generation *self, int32_t id, char *text)
{
    tandem_session *session = self->session;
    const rt_tokenizer *tokenizer = session->model->tokenizer;
    if (self->stop.count == 0)
        return rt_decoder_push(&session->decoder, tokenizer, id, self->rule.show_special, text);
    char *piece = text + RT_STOP_BYTES;
    size_t bytes =
        rt_decoder_push(&session->decoder, tokenizer, id, self->rule.show_special, piece);
    return rt_stop_push(&self->stop, piece, bytes, text);
}

/* Gives the callback a round's tokens; in several pieces when their text is very long. */
static void write_tokens(rt_generation *self, const int32_t *ids, size_t count)
{
    tandem_session *session = self->session;
    const rt_tokenizer *tokenizer = session->model->tokenizer;
    size_t bytes = 0, first = 0;
    for (size_t i = 0; i < count && tokenizer != NULL; i++) {
        if (bytes + rt_decoder_most_bytes(tokenizer) + RT_STOP_BYTES > sizeof session->text) {
            hand_out(self, bytes, ids + first, i - first);
            first = i;
            bytes = 0;
        }
        bytes += decode(self, ids[i], session->text + bytes);
    }
    hand_out(self, bytes, ids + first, count - first);
}

static void finish_text(rt_generation *self)
{
    tandem_session *session = self->session;
    if (session->model->tokenizer == NULL)
        return;
    char *text = session->text, *piece = text + RT_STOP_BYTES;
    size_t bytes = rt_decoder_finish(&session->decoder, piece);
    bytes = rt_stop_push(&self->stop, piece, bytes, text);
    bytes += rt_stop_finish(&self->stop, text + bytes);
    if (bytes > 0)
        hand_out(self, bytes, NULL, 0);
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

/* --- options --- */

/* What options mean where they are 0. */
static const tandem_generate_options plain_options;

static tandem_status check_real(tandem_error *error, const char *name, double value, double most)
{
    if (value >= 0 && value <= most)
        return TANDEM_OK;
    if (most < 1e30)
        return rt_fail(error, TANDEM_INVALID, "%s %g cannot be used: 0 to %g can", name, value,
                       most);
    return rt_fail(error, TANDEM_INVALID, "%s %g cannot be used: 0 and above can", name, value);
}

static tandem_status read_rule(tandem_session *session, const tandem_generate_options *options,
                               rt_rule *rule)
{
    tandem_error *error = &session->model->error;
    const struct {
        const char *name;
        double value, most;
    } reals[] = {{"temperature", options->temperature, 1e30},
                 {"top-p", options->top_p, 1},
                 {"min-p", options->min_p, 1},
                 {"repetition penalty", options->repetition_penalty, 1e30}};
    *rule = (rt_rule){
        .show_special = options->show_special,
        .warp = {options->temperature, options->top_k, options->top_p, options->min_p,
                 options->repetition_penalty, options->repetition_window},
        .seed = options->seed,
        .ignore_end = options->ignore_end,
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        tandem_status status = check_real(error, reals[i].name, reals[i].value, reals[i].most);
        if (status != TANDEM_OK)
            return status;
    }
    if (session->length == 0)
        return rt_fail(error, TANDEM_INVALID,
                       "there is nothing to continue: the prompt has no tokens");
    /* A program without a drafter decodes plainly unless a draft is asked for. */
    const tandem_artefact *artefact = session->model->artefact;
    if (artefact->model_count < 2 && options->draft == NULL)
        return TANDEM_OK;
    return rt_read_draft(options->draft, artefact->max_draft, error, &rule->shape);
}

/* --- the loop --- */

/* Whether the drafter takes up the prompt with the target: a fixed draft needs it from the first
 * round on. What auto chooses can wait until the first token is out. */
static bool drafter_follows(const tandem_session *session, const rt_rule *rule)
{
    return session->model->artefact->model_count > 1 && rule->shape.kind != RT_DRAFT_NONE &&
           rule->shape.kind != RT_DRAFT_AUTO && rt_holds(session, RT_DRAFTER, session->length) &&
           session->length <= rt_longest_text(session, RT_DRAFTER);
}

static void prefill(tandem_session *session, const rt_rule *rule)
{
    const double start = rt_seconds();
    rt_choose_text(&session->model->chooser, rule->warp.temperature);
    rt_catch_up(session, RT_TARGET, session->length - 1);
    if (drafter_follows(session, rule))
        rt_catch_up(session, RT_DRAFTER, session->length - 1);
    session->counts.prefill_seconds = rt_seconds() - start;
    memset(session->counts.pass_seconds, 0, sizeof session->counts.pass_seconds);
}

tandem_status rt_generation_begin(tandem_session *session, const tandem_generate_options *options,
                                  tandem_callback callback, void *user, rt_generation *self)
{
    options = options == NULL ? &plain_options : options;
    *self = (rt_generation){.session = session, .callback = callback, .user = user};
    self->most = options->max_tokens == 0 ? TANDEM_TOKENS_DEFAULT : options->max_tokens;
    tandem_status status = read_rule(session, options, &self->rule);
    if (status == TANDEM_OK)
        status =
            rt_stop_start(&self->stop, options->stop, options->stop_count, &session->model->error);
    if (status != TANDEM_OK)
        return status;
    self->rule.stop = &self->stop;
    rt_counts *counts = &session->counts;
    *counts = (rt_counts){.prompt_tokens = session->length - session->caches[RT_TARGET].fed};
    start_text(session);
    counts->stop = find_stop(session, self->most);
    if (counts->stop == TANDEM_STOP_NONE)
        prefill(session, &self->rule);
    return TANDEM_OK;
}

bool rt_generation_step(rt_generation *self)
{
    tandem_session *session = self->session;
    rt_counts *counts = &session->counts;
    if (counts->stop != TANDEM_STOP_NONE)
        return false;
    const double start = rt_seconds();
    const uint32_t before = session->length;
    if (rt_round(session, &self->rule, self->most - (uint32_t)counts->tokens))
        counts->stop = TANDEM_STOP_END;
    write_tokens(self, session->ids + before, session->length - before);
    if (self->stop.found)
        counts->stop = TANDEM_STOP_TEXT;
    if (counts->stop == TANDEM_STOP_NONE)
        counts->stop = find_stop(session, self->most - (uint32_t)counts->tokens);
    if (counts->stop == TANDEM_STOP_NONE && self->cancelled)
        counts->stop = TANDEM_STOP_CANCELLED;
    counts->seconds += rt_seconds() - start;
    return counts->stop == TANDEM_STOP_NONE;
}

void rt_generation_end(rt_generation *self)
{
    if (!self->cancelled)
        finish_text(self);
}

tandem_status rt_generate(tandem_session *session, const tandem_generate_options *options,
                          tandem_callback callback, void *user)
{
    rt_generation generation;
    tandem_status status = rt_generation_begin(session, options, callback, user, &generation);
    if (status != TANDEM_OK)
        return status;
    while (rt_generation_step(&generation))
        ;
    rt_generation_end(&generation);
    return TANDEM_OK;
}
