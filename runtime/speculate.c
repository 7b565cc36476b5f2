/* One round of speculative decoding: draft a tree, verify it, keep a path of it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The drafter passes what it has not seen of the text, then one level of the tree after the other;
 * the target passes the last token of the text and the whole tree at once. Tokens of the tree stay
 * in the tails of the caches until the path is known, and only the path is committed.
 *
 * What a round draws depends on seed, session, round and on where in the tree it is drawn. */
#include "runtime/internal.h"

#include "runtime/accept.h"

#include <string.h>

/* Tokens of the text that the drafter takes up together with the root; when there are more it
 * catches up first. A draft that was kept whole leaves two. */
#define MOST_PENDING 2u

static uint32_t difference(uint32_t left, uint32_t right)
{
    return left > right ? left - right : 0;
}

static double *residual_scratch(const tandem_session *session)
{
    const tandem_artefact *artefact = session->model->artefact;
    void *start = session->model->arena + artefact->scratch[TANDEM_SCRATCH_PROBABILITIES].offset;
    return start;
}

/* Where the drafter's weights for the token behind a node are kept until the node is verified. */
static float *draft_weights(const tandem_session *session, uint32_t node)
{
    const tandem_artefact *artefact = session->model->artefact;
    void *start =
        session->model->arena + artefact->scratch[TANDEM_SCRATCH_DRAFT_PROBABILITIES].offset;
    return (float *)start + (uint64_t)node * rt_info(session, RT_DRAFTER)->logits.columns;
}

/* Ids below this may be proposed: those that the target knows. */
static uint32_t id_limit(const tandem_session *session)
{
    const tandem_model_info *target = rt_info(session, RT_TARGET);
    return rt_smaller(target->vocabulary, target->logits.columns);
}

static rt_past past_of(const tandem_session *session, uint32_t node)
{
    return (rt_past){session->ids, session->length, &session->tree, node};
}

static bool penalises(const rt_rule *rule)
{
    double penalty = rule->warp.repetition_penalty;
    return penalty != 0 && penalty != 1;
}

/* --- how large the tree may be --- */

/* Tokens that the drafter's first pass takes up. */
static uint32_t pending_text(const tandem_session *session)
{
    uint32_t pending = session->length - session->caches[RT_DRAFTER].fed;
    return pending <= MOST_PENDING ? pending : 1;
}

/* What passes, slots and positions of both models, and the rest of the text, leave room for.
 * Depends on counts only, never on a draw. */
static rt_limits limits_of(const tandem_session *session, uint32_t left)
{
    const tandem_artefact *artefact = session->model->artefact;
    const tandem_model_info *target = &artefact->models[RT_TARGET];
    const tandem_model_info *drafter = &artefact->models[RT_DRAFTER];
    uint32_t length = session->length, pending = pending_text(session);
    rt_limits limits = {.width = drafter->max_rows};
    limits.nodes = rt_smaller(target->max_tokens, target->max_rows) - 1;
    limits.nodes = rt_smaller(limits.nodes, difference(rt_room(session, RT_TARGET), 1));
    limits.nodes = rt_smaller(limits.nodes, artefact->max_draft);
    uint32_t passed = rt_smaller(drafter->max_tokens, rt_room(session, RT_DRAFTER));
    limits.passed = difference(passed, pending);
    if (passed < pending)
        return limits;
    /* A round adds one token more than it drafts. */
    limits.levels = rt_smaller(left - 1, difference(rt_longest_text(session, RT_TARGET), length));
    limits.levels =
        rt_smaller(limits.levels, difference(rt_longest_text(session, RT_DRAFTER) + 1, length));
    return limits;
}

/* --- drafting --- */

/* What the drafter says behind a node whose logits are in row `row` of its last pass. */
static rt_branch branch_of(tandem_session *session, const rt_rule *rule, uint32_t node,
                           uint32_t row)
{
    rt_row logits = rt_logits(session, RT_DRAFTER, row);
    float *weights = draft_weights(session, node);
    rt_branch branch = {.node = node};
    rt_past past = past_of(session, node);
    rt_penalise(&rule->warp, &past, &logits, weights);
    if (rule->warp.temperature > 0) {
        branch.q = rt_distribution(&rule->warp, &logits, id_limit(session), weights);
        session->tree.nodes[node].total = branch.q.total;
    } else if (rule->shape.kind != RT_DRAFT_BEAM) {
        logits.count = rt_row_below(&logits, id_limit(session));
        branch.q.row = logits;
    } else {
        branch.q = rt_softmax(&logits, 1, id_limit(session), weights);
    }
    branch.whole = branch.q.total;
    return branch;
}

/* How sure the drafter is: its largest probability, whose weight is 1; of logits, the gap between
 * the largest two. */
static double confidence_of(rt_branch *branch)
{
    if (branch->whole > 0)
        return 1 / branch->whole;
    rt_two_largest largest = rt_find_largest(branch->q.row.values, branch->q.row.count);
    branch->sought = true;
    branch->best = largest.index;
    return (double)largest.first - (double)largest.second;
}

/* How many children the nodes of the deepest level get. */
static void choose_children(tandem_session *session, const rt_shape *shape, const rt_growth *growth,
                            uint8_t *children)
{
    rt_chooser *chooser = &session->model->chooser;
    memset(children, shape->widths[growth->tree->levels], growth->count);
    for (uint32_t i = 0; i < growth->count && shape->kind == RT_DRAFT_AUTO; i++)
        children[i] = rt_choose_children(chooser, growth->tree, growth->branches[i].node,
                                         confidence_of(&growth->branches[i]));
}

/* Adds the next level of the tree, from the drafter's last pass over the deepest one. */
static void grow(tandem_session *session, const rt_rule *rule, const rt_shape *shape,
                 const rt_dice *dice)
{
    rt_tree *tree = &session->tree;
    rt_branch branches[RT_MAX_DRAFT + 1];
    uint32_t level = tree->levels, first = tree->first[level];
    rt_growth growth = {tree, rule->warp.temperature > 0 ? dice : NULL, branches,
                        tree->count - first};
    for (uint32_t i = 0; i < growth.count; i++)
        branches[i] = branch_of(session, rule, first + i, i);
    if (shape->kind == RT_DRAFT_BEAM) {
        rt_grow_beam(&growth, shape->widths[level]);
        return;
    }
    uint8_t children[RT_MAX_DRAFT + 1];
    choose_children(session, shape, &growth, children);
    rt_grow_each(&growth, children);
}

/* A chain of best ids needs no logits. */
static bool wants_best(const tandem_session *session, const rt_rule *rule, const rt_shape *shape)
{
    return rule->warp.temperature == 0 && !penalises(rule) && rt_has_best(session, RT_DRAFTER) &&
           shape->kind == RT_DRAFT_CONSTANT && rt_shape_nodes(shape) == shape->levels;
}

static bool wants_level(tandem_session *session, const rt_shape *shape)
{
    return shape->kind != RT_DRAFT_AUTO ||
           rt_choose_deeper(&session->model->chooser, &session->tree);
}

static void draft_tree(tandem_session *session, const rt_rule *rule, const rt_shape *shape,
                       const rt_dice *dice)
{
    rt_tree *tree = &session->tree;
    bool best = wants_best(session, rule, shape);
    rt_pass pass = {.text = session->length - session->caches[RT_DRAFTER].fed, .rows = 1};
    session->counts.catch_up_tokens += pass.text - 1;
    pass.best = best;
    while (tree->levels < shape->levels && wants_level(session, shape)) {
        rt_forward(session, RT_DRAFTER, &pass);
        session->counts.drafter_passes++;
        if (best) {
            rt_tree_deepen(tree);
            rt_tree_add(tree, tree->count - 1, rt_best(session, RT_DRAFTER, 0));
        } else {
            grow(session, rule, shape, dice);
        }
        uint32_t added = tree->count - tree->first[tree->levels];
        pass = (rt_pass){.nodes = added, .rows = added, .best = best};
        if (added == 0)
            break;
    }
}

/* Whether anything is ever drafted. */
static bool may_draft(const tandem_session *session, const rt_rule *rule)
{
    return rule->shape.levels > 0 && session->model->artefact->model_count > 1;
}

/* Whether each round's tree is chosen by what pays. */
static bool chooses(const tandem_session *session, const rt_rule *rule)
{
    return rule->shape.kind == RT_DRAFT_AUTO && may_draft(session, rule);
}

/* Most nodes of a tree that is chosen node by node: each may be the only one of its level, and have
 * to be passed by the drafter, but for a first one. */
static uint32_t most_chosen(const rt_limits *limits)
{
    const uint32_t nodes = rt_smaller(limits->nodes, limits->width);
    return rt_smaller(nodes, limits->passed > 0 ? limits->passed : 1);
}

/* Most tokens of a draft that the drafter has no part in. */
static uint32_t most_copied(const tandem_session *session, uint32_t left)
{
    const tandem_artefact *artefact = session->model->artefact;
    const tandem_model_info *target = &artefact->models[RT_TARGET];
    uint32_t most = rt_smaller(target->max_tokens, target->max_rows) - 1;
    most = rt_smaller(most, difference(rt_room(session, RT_TARGET), 1));
    most = rt_smaller(most, difference(rt_longest_text(session, RT_TARGET), session->length));
    return rt_smaller(rt_smaller(most, artefact->max_draft), left - 1);
}

/* Asks what pays: no draft, one copied out of the text, or one of the drafter. */
static rt_choose_source choose_source(tandem_session *session, const rt_rule *rule,
                                      const rt_limits *limits, uint32_t left, const rt_copy *copy)
{
    const rt_choose_round round = {
        .temperature = rule->warp.temperature,
        .nodes = most_chosen(limits),
        .levels = limits->levels,
        .behind = session->length - session->caches[RT_DRAFTER].fed,
        .left = left,
        .agree = copy->agree,
        .copied = most_copied(session, left),
        .first = session->counts.tokens == 0,
        /* The clock of eviction counts all tokens. */
        .whole = rt_evict_drops(&session->model->eviction),
    };
    return rt_choose_begin(&session->model->chooser, &round);
}

/* Drafts a chain that is copied out of the text. */
static void copy_text(tandem_session *session, const rt_copy *copy, uint32_t count)
{
    rt_tree *tree = &session->tree;
    tree->copied = true;
    session->counts.copied += count;
    for (uint32_t i = 0; i < count; i++) {
        tree->nodes[i].total = 1;
        rt_tree_deepen(tree);
        const int32_t id = rt_copy_token(session->ids, session->length, copy, i);
        tree->nodes[rt_tree_add(tree, i, id)].weight = 1;
    }
}

/* Drafts what pays, of what there is room for; returns whether the drafter is to draft it. */
static bool draft_by_choice(tandem_session *session, const rt_rule *rule, const rt_limits *limits,
                            uint32_t left)
{
    const rt_copy copy = rt_copy_find(session->ids, session->length);
    switch (choose_source(session, rule, limits, left, &copy)) {
    case RT_CHOOSE_PLAIN:
        session->counts.idle_rounds++;
        return false;
    case RT_CHOOSE_COPY:
        copy_text(session, &copy, session->model->chooser.most);
        return false;
    case RT_CHOOSE_DRAFTER:
        break;
    }
    return true;
}

/* Takes up what the drafter has not seen of the text, or as much of its end as it is to see, when
 * that is more than a first pass may. It has less room then. */
static void update_drafter(tandem_session *session, const rt_rule *rule, uint32_t left,
                           rt_limits *limits)
{
    rt_cache *cache = &session->caches[RT_DRAFTER];
    const bool choosing = chooses(session, rule);
    if (session->length - 1 - cache->fed < MOST_PENDING)
        return;
    if (choosing)
        cache->fed = session->length - session->model->chooser.context;
    session->counts.catch_up_tokens += session->length - 1 - cache->fed;
    rt_catch_up(session, RT_DRAFTER, session->length - 1);
    *limits = limits_of(session, left);
    if (choosing)
        rt_choose_narrow(&session->model->chooser, most_chosen(limits), limits->levels);
}

/* Drafts what there is room for. */
static void draft(tandem_session *session, const rt_rule *rule, uint32_t left, const rt_dice *dice)
{
    if (!may_draft(session, rule))
        return;
    rt_limits limits = {0};
    if (rt_holds(session, RT_DRAFTER, session->length))
        limits = limits_of(session, left);
    if (chooses(session, rule) && !draft_by_choice(session, rule, &limits, left))
        return;
    if (rt_shape_within(&rule->shape, &limits).levels == 0)
        return;
    update_drafter(session, rule, left, &limits);
    const rt_shape shape = rt_shape_within(&rule->shape, &limits);
    draft_tree(session, rule, &shape, dice);
}

/* --- verification --- */

static uint32_t settle_greedy(tandem_session *session, const rt_rule *rule, bool best,
                              uint32_t node, int32_t *token)
{
    if (best) {
        *token = rt_best(session, RT_TARGET, node);
    } else {
        rt_row logits = rt_logits(session, RT_TARGET, node);
        void *spare = residual_scratch(session);
        rt_past past = past_of(session, node);
        rt_penalise(&rule->warp, &past, &logits, spare);
        *token = (int32_t)rt_find_largest(logits.values, id_limit(session)).index;
    }
    return rt_settle_greedy(&session->tree, node, *token);
}

/* What the children of a node were drawn from; total 0: it has none. A copied token was certain, of
 * weight *sure. */
static rt_weights drawn_from(const tandem_session *session, uint32_t node, float *sure)
{
    const rt_tree *tree = &session->tree;
    const tandem_model_info *drafter = rt_info(session, RT_DRAFTER);
    rt_weights q = {.total = tree->nodes[node].total};
    if (q.total > 0 && tree->copied)
        q.row = (rt_row){sure, &tree->nodes[node + 1].id, 1};
    else if (q.total > 0)
        q.row = (rt_row){draft_weights(session, node), drafter->head_ids, drafter->logits.columns};
    return q;
}

static uint32_t settle(tandem_session *session, const rt_rule *rule, const rt_dice *dice,
                       uint32_t node, int32_t *token)
{
    rt_row logits = rt_logits(session, RT_TARGET, node);
    rt_site site = {.residual = residual_scratch(session)};
    void *spare = site.residual;
    rt_past past = past_of(session, node);
    rt_penalise(&rule->warp, &past, &logits, spare);
    site.p = rt_distribution(&rule->warp, &logits, id_limit(session), logits.values);
    site.p.row.count = id_limit(session);
    site.q = drawn_from(session, node, &(float){1});
    return rt_settle(&session->tree, node, dice, &site, token);
}

/* Walks down the tree as far as its tokens are kept. Writes the nodes kept and returns how many;
 * *token is the one that comes behind them. */
static uint32_t verify(tandem_session *session, const rt_rule *rule, const rt_dice *dice, bool best,
                       uint32_t path[RT_MAX_DRAFT], int32_t *token)
{
    uint32_t accepted = 0;
    for (uint32_t node = 0;;) {
        const uint32_t parent = node;
        bool tries = rt_tree_next_child(&session->tree, node, 0) != 0;
        node = rule->warp.temperature > 0 ? settle(session, rule, dice, node, token)
                                          : settle_greedy(session, rule, best, node, token);
        if (tries && accepted < TANDEM_STATS_DEPTHS) {
            session->counts.tried[accepted]++;
            session->counts.kept[accepted] += node != 0;
        }
        if (tries && chooses(session, rule))
            rt_choose_verified(&session->model->chooser, &session->tree, parent, node);
        if (node == 0)
            return accepted;
        path[accepted++] = node;
    }
}

static bool ends_text(const tandem_model *model, int32_t id)
{
    const tandem_artefact *artefact = model->artefact;
    for (uint32_t i = 0; i < artefact->further_end_count && i < TANDEM_FURTHER_ENDS; i++)
        if (id == artefact->further_end_ids[i])
            return true;
    return (id == artefact->eos_id && id >= 0) ||
           (model->tokenizer != NULL && rt_tokenizer_is_end(model->tokenizer, id));
}

/* The text that is to come, looked at ahead for stop texts. */
typedef struct text_ahead {
    rt_stop_text stop;
    rt_decoder decoder;
} text_ahead;

static void look_ahead(const tandem_session *session, const rt_rule *rule, text_ahead *ahead)
{
    ahead->stop.count = 0;
    if (rule->stop == NULL || rule->stop->count == 0 || session->model->tokenizer == NULL)
        return;
    ahead->stop = *rule->stop;
    ahead->decoder = session->decoder;
}

/* Whether a token completes a stop text. The session's text buffer is free until it is written. */
static bool completes_stop(tandem_session *session, const rt_rule *rule, text_ahead *ahead,
                           int32_t id)
{
    if (ahead->stop.count == 0)
        return false;
    size_t bytes = rt_decoder_push(&ahead->decoder, session->model->tokenizer, id,
                                   rule->show_special, session->text);
    rt_stop_push(&ahead->stop, session->text, bytes, NULL);
    return ahead->stop.found;
}

/* Appends the kept nodes and the token behind them to the text, up to its end. Returns how many
 * tokens were appended; *ended says that the last one is the end. */
static uint32_t append(tandem_session *session, const rt_rule *rule, const uint32_t *path,
                       uint32_t accepted, int32_t token, bool *ended)
{
    uint32_t count = 0;
    text_ahead ahead;
    look_ahead(session, rule, &ahead);
    *ended = false;
    while (count <= accepted && !*ended) {
        int32_t id = count < accepted ? session->tree.nodes[path[count]].id : token;
        session->ids[session->length + count++] = id;
        *ended = completes_stop(session, rule, &ahead, id) ||
                 (!rule->ignore_end && ends_text(session->model, id));
    }
    return count;
}

static void count_round(tandem_session *session, uint32_t tokens, uint32_t accepted, double seconds)
{
    rt_counts *counts = &session->counts;
    const uint32_t drafted = session->tree.count - 1;
    counts->tokens += tokens;
    counts->rounds++;
    counts->drafted += drafted;
    counts->accepted += accepted;
    if (drafted == 0) {
        counts->plain_rounds++;
        counts->plain_seconds += seconds;
    }
}

bool rt_round(tandem_session *session, const rt_rule *rule, uint32_t left)
{
    rt_tree *tree = &session->tree;
    const double start = rt_seconds();
    const rt_dice dice = {rule->seed, session->number, session->round++};
    rt_tree_start(tree, session->ids[session->length - 1]);
    draft(session, rule, left, &dice);

    bool best = rule->warp.temperature == 0 && !penalises(rule) && rt_has_best(session, RT_TARGET);
    rt_pass pass = {.text = 1, .nodes = tree->count - 1, .rows = tree->count, .best = best};
    rt_forward(session, RT_TARGET, &pass);
    uint32_t path[RT_MAX_DRAFT];
    int32_t token;
    uint32_t accepted = verify(session, rule, &dice, best, path, &token);

    bool ended;
    uint32_t count = append(session, rule, path, accepted, token, &ended);
    rt_commit(session, RT_TARGET, path, count - 1);
    if (session->caches[RT_DRAFTER].tail > 0)
        rt_commit(session, RT_DRAFTER, path, count - 1);
    session->length += count;
    const double seconds = rt_seconds() - start;
    count_round(session, count, accepted, seconds);
    if (chooses(session, rule))
        rt_choose_end(&session->model->chooser, tree, count, seconds);
    return ended;
}
