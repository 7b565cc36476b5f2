/* One round of speculative decoding with a chain of draft tokens.
 *
 * SPDX-License-Identifier: MIT
 *
 * The drafter guesses tokens one after the other, from distributions q. One pass of the target then
 * gives its distribution p at each of them and behind the last. A guess is kept with probability
 * min(1, p/q); the first one that is not is replaced by a draw from the positive part of p - q.
 * The outcome has the law p, whatever q is. Greedy decoding keeps a guess when it is the target's
 * own choice.
 *
 * What a round draws depends on seed, session, round and level only, and how long its draft is was
 * fixed before its first draw. */
#include "runtime/internal.h"

static const tandem_model_info *info_of(const tandem_session *session, unsigned which)
{
    return &session->model->artefact->models[which];
}

static float *scratch(const tandem_session *session, unsigned which)
{
    void *start = session->model->arena + session->model->artefact->scratch[which].offset;
    return start;
}

static double draw_number(const tandem_session *session, const rt_rule *rule, uint32_t level,
                          rt_purpose purpose)
{
    rt_key key = {rule->seed, session->number, session->round, level, purpose};
    return rt_uniform(&key);
}

static rt_row logits_row(const tandem_session *session, unsigned which, uint32_t row)
{
    const tandem_model_info *info = info_of(session, which);
    return (rt_row){rt_logits(session, which, row), info->head_ids, info->logits.columns};
}

/* Ids that a model may propose: those that the target knows, too. */
static uint32_t id_limit(const tandem_session *session)
{
    return info_of(session, RT_TARGET)->vocabulary;
}

/* The distribution of one row of logits; its weights go to `weights`. */
static rt_distribution distribution_of(const tandem_session *session, unsigned which, uint32_t row,
                                       double temperature, float *weights)
{
    rt_row logits = logits_row(session, which, row);
    double total = rt_softmax(&logits, temperature, id_limit(session), weights);
    return (rt_distribution){{weights, logits.ids, logits.count}, total};
}

/* The drafter's distribution at a level of the current draft. */
static rt_distribution draft_distribution(const tandem_session *session, uint32_t level)
{
    const tandem_model_info *info = info_of(session, RT_DRAFTER);
    const float *weights = scratch(session, TANDEM_SCRATCH_DRAFT_PROBABILITIES) +
                           (uint64_t)level * info->logits.columns;
    return (rt_distribution){{weights, info->head_ids, info->logits.columns},
                             session->draft_totals[level]};
}

static int32_t draft_token(tandem_session *session, const rt_rule *rule, uint32_t level)
{
    if (rule->temperature == 0) {
        rt_row logits = logits_row(session, RT_DRAFTER, 0);
        return rt_largest(&logits, id_limit(session));
    }
    float *weights = scratch(session, TANDEM_SCRATCH_DRAFT_PROBABILITIES) +
                     (uint64_t)level * info_of(session, RT_DRAFTER)->logits.columns;
    rt_distribution q = distribution_of(session, RT_DRAFTER, 0, rule->temperature, weights);
    session->draft_totals[level] = q.total;
    return rt_draw(&q, draw_number(session, rule, level, RT_DRAW_DRAFT));
}

/* Puts `draft` guesses behind the committed tokens. */
static void draft_chain(tandem_session *session, const rt_rule *rule, uint32_t draft)
{
    for (uint32_t level = 0; level < draft; level++) {
        /* The last token committed and, after a draft that was accepted whole, the one before it;
         * from the second level on the last guess. */
        uint32_t end = session->length + level;
        uint32_t most = info_of(session, RT_DRAFTER)->max_tokens;
        uint32_t fed = session->caches[RT_DRAFTER].fed;
        if (end - fed > most)
            rt_catch_up(session, RT_DRAFTER, end - 1);
        uint32_t count = end - session->caches[RT_DRAFTER].fed;
        rt_forward(session, RT_DRAFTER, count, 1);
        session->ids[end] = draft_token(session, rule, level);
        rt_commit(session, RT_DRAFTER, count);
    }
}

/* Decides on one guess, or behind the last (guessed is false) draws a token. Returns true when the
 * guess stands; otherwise ids[length + level] is replaced. */
static bool verify_level(tandem_session *session, const rt_rule *rule, uint32_t level, bool guessed)
{
    int32_t *id = &session->ids[session->length + level];
    if (rule->temperature == 0) {
        rt_row logits = logits_row(session, RT_TARGET, level);
        int32_t choice = rt_largest(&logits, id_limit(session)), guess = *id;
        *id = choice;
        return guessed && guess == choice;
    }
    rt_distribution p = distribution_of(session, RT_TARGET, level, rule->temperature,
                                        scratch(session, TANDEM_SCRATCH_PROBABILITIES));
    double number = draw_number(session, rule, level, RT_DRAW_TOKEN);
    if (!guessed) {
        *id = rt_draw(&p, number);
        return false;
    }
    rt_distribution q = draft_distribution(session, level);
    if (rt_accepts(&p, &q, *id, draw_number(session, rule, level, RT_DRAW_ACCEPT)))
        return true;
    *id = rt_draw_residual(&p, &q, number);
    return false;
}

uint32_t rt_round(tandem_session *session, const rt_rule *rule, uint32_t draft)
{
    draft_chain(session, rule, draft);
    rt_forward(session, RT_TARGET, draft + 1, draft + 1);
    uint32_t accepted = 0;
    while (verify_level(session, rule, accepted, accepted < draft))
        accepted++;
    /* The target's tail begins with the last committed token; the guesses kept follow it. The
     * token that was drawn last has not been through any model. */
    rt_commit(session, RT_TARGET, accepted + 1);
    session->round++;
    session->counts.rounds++;
    session->counts.drafted += draft;
    session->counts.accepted += accepted;
    return accepted + 1;
}
