/* Passes through a model, and what they leave in its cache.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

static tandem_frame make_frame(const tandem_session *session, unsigned which)
{
    tandem_model *model = session->model;
    const unsigned char *payload = model->payload.bytes;
    tandem_frame frame = {
        .arena = model->arena,
        .weights = payload == NULL ? NULL : payload + rt_info(session, which)->weights_offset,
        .state = session->caches[which].state,
        .share = model->threads > 1 ? rt_pool_share : NULL,
        .share_self = &model->pool,
    };
    frame.symbols[TANDEM_SYMBOL_SLOTS] = model->slots[which];
    return frame;
}

static rt_evict_cache evict_cache_of(const tandem_session *session, unsigned which)
{
    tandem_model *model = session->model;
    return (rt_evict_cache){
        .info = rt_info(session, which),
        .eviction = model->eviction,
        .slots = model->slots[which],
        .state = session->caches[which].state,
        .memory = session->caches[which].policy,
        .arena = model->arena,
        .share = model->threads > 1 ? rt_pool_share : NULL,
        .share_self = &model->pool,
    };
}

/* --- forward --- */

/* Ids that only the target's padded vocabulary has mean nothing to the drafter: any token will do,
 * since what it guesses is verified. */
static int32_t known_id(const tandem_model_info *info, int32_t id)
{
    return (uint32_t)id < info->vocabulary ? id : 0;
}

/* What is to be taken from a token's place in the text to get its position. */
static uint32_t before_text(const tandem_session *session, unsigned which)
{
    const uint32_t held = session->model->slots[which] - rt_room(session, which);
    return session->model->eviction.compact ? session->caches[which].fed - held : 0;
}

/* The next `count` tokens of the text, as the first of a pass. */
static void enter_text(const tandem_session *session, unsigned which, uint32_t count)
{
    const tandem_model_info *info = rt_info(session, which);
    const rt_cache *cache = &session->caches[which];
    const rt_inputs *inputs = &session->model->inputs[which];
    uint32_t first = cache->fed + cache->tail_text, before = before_text(session, which);
    for (uint32_t i = 0; i < count; i++) {
        inputs->ids[i] = known_id(info, session->ids[first + i]);
        inputs->positions[i] = (int32_t)(first + i - before);
    }
    rt_chain_masks(cache->tail, count, info->ancestor_words, inputs->ancestors);
}

/* The next `count` nodes of the tree, behind `start` tokens of the pass. */
static void enter_nodes(const tandem_session *session, unsigned which, uint32_t start,
                        uint32_t count)
{
    const tandem_model_info *info = rt_info(session, which);
    const rt_cache *cache = &session->caches[which];
    const rt_inputs *inputs = &session->model->inputs[which];
    uint32_t root_place = cache->tail_text + start - 1;
    uint32_t root_position = session->length - 1 - before_text(session, which);
    uint32_t first = cache->tail + start - root_place;
    for (uint32_t i = 0; i < count; i++) {
        const rt_node *node = &session->tree.nodes[first + i];
        inputs->ids[start + i] = known_id(info, node->id);
        inputs->positions[start + i] = (int32_t)(root_position + node->depth);
    }
    rt_tree_masks(&session->tree, first, count, root_place, info->ancestor_words,
                  inputs->ancestors + (uint64_t)start * info->ancestor_words);
}

/* Fewer tokens are no measure of what one of many costs. */
#define CATCH_UP_LEAST 8u

/* Runs a pass and takes its time; what only catches up computes no logits and is no measure. */
static void run_entry(tandem_session *session, unsigned which, const rt_pass *pass,
                      const tandem_frame *frame)
{
    const tandem_model_info *info = rt_info(session, which);
    rt_costs *costs = &session->model->chooser.costs;
    const double start = rt_seconds();
    if (pass->best)
        info->greedy(frame);
    else
        info->forward(frame);
    const double seconds = rt_seconds() - start;
    session->counts.pass_seconds[which] += seconds;
    costs->pass_seconds += seconds;
    if (pass->rows > 0)
        rt_costs_note(costs, which == RT_TARGET ? RT_COST_TARGET : RT_COST_DRAFTER,
                      pass->text + pass->nodes, seconds);
    else if (which == RT_DRAFTER && pass->text >= CATCH_UP_LEAST)
        rt_costs_note(costs, RT_COST_CATCH_UP, 1, seconds / pass->text);
}

void rt_forward(tandem_session *session, unsigned which, const rt_pass *pass)
{
    const rt_inputs *inputs = &session->model->inputs[which];
    rt_cache *cache = &session->caches[which];
    uint32_t count = pass->text + pass->nodes;
    enter_text(session, which, pass->text);
    if (pass->nodes > 0)
        enter_nodes(session, which, pass->text, pass->nodes);
    for (uint32_t i = 0; i < pass->rows; i++)
        inputs->rows[i] = (int32_t)(count - pass->rows + i);
    tandem_frame frame = make_frame(session, which);
    frame.symbols[TANDEM_SYMBOL_TOKENS] = count;
    frame.symbols[TANDEM_SYMBOL_ROWS] = pass->rows;
    frame.symbols[TANDEM_SYMBOL_TAIL] = cache->tail;
    frame.inputs[TANDEM_INPUT_IDS] = inputs->ids;
    frame.inputs[TANDEM_INPUT_POSITIONS] = inputs->positions;
    frame.inputs[TANDEM_INPUT_ANCESTORS] = inputs->ancestors;
    frame.inputs[TANDEM_INPUT_ROWS] = inputs->rows;
    run_entry(session, which, pass, &frame);
    const rt_evict_cache evicted = evict_cache_of(session, which);
    rt_evict_saw(&evicted, cache->tail, count);
    cache->tail += count;
    cache->tail_text += pass->text;
}

rt_row rt_logits(const tandem_session *session, unsigned which, uint32_t row)
{
    const tandem_model_info *info = rt_info(session, which);
    void *start = session->model->arena + info->logits.offset;
    uint32_t columns = info->logits.columns;
    return (rt_row){(float *)start + (uint64_t)row * columns, info->head_ids, columns};
}

bool rt_has_best(const tandem_session *session, unsigned which)
{
    const tandem_model_info *info = rt_info(session, which);
    const uint32_t columns = info->logits.columns;
    uint32_t last = info->head_ids == NULL ? columns - 1 : (uint32_t)info->head_ids[columns - 1];
    /* A pass that makes no logits keeps no queries either. */
    const tandem_evict_needs needs = rt_evict_needs(&session->model->eviction);
    if (tandem_evict_wants_queries(&needs))
        return false;
    /* It must not name ids that the target does not know. */
    return info->greedy != NULL && last < rt_info(session, RT_TARGET)->vocabulary;
}

int32_t rt_best(const tandem_session *session, unsigned which, uint32_t row)
{
    const tandem_model_info *info = rt_info(session, which);
    const void *start = session->model->arena + info->best.offset;
    int32_t column = ((const int32_t *)start)[row];
    return info->head_ids == NULL ? column : info->head_ids[column];
}

/* --- the cache --- */

uint32_t rt_room(const tandem_session *session, unsigned which)
{
    const int32_t *counts = (const int32_t *)(const void *)session->caches[which].state;
    return session->model->slots[which] - (uint32_t)counts[0];
}

uint32_t rt_longest_text(const tandem_session *session, unsigned which)
{
    const tandem_model *model = session->model;
    return model->eviction.compact ? model->tokens : rt_info(session, which)->context_length;
}

bool rt_holds(const tandem_session *session, unsigned which, uint32_t count)
{
    return rt_evict_drops(&session->model->eviction) || count <= session->model->slots[which];
}

void rt_commit(tandem_session *session, unsigned which, const uint32_t *path, uint32_t count)
{
    rt_cache *cache = &session->caches[which];
    int32_t *places = session->model->inputs[which].path;
    uint32_t accepted = 0;
    while (accepted < cache->tail_text) {
        places[accepted] = (int32_t)accepted;
        accepted++;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = cache->tail_text - 1 + path[i];
        if (place < cache->tail)
            places[accepted++] = (int32_t)place;
    }
    tandem_frame frame = make_frame(session, which);
    frame.symbols[TANDEM_SYMBOL_ACCEPTED] = accepted;
    frame.inputs[TANDEM_INPUT_PATH] = places;
    rt_info(session, which)->commit(&frame);
    cache->fed += accepted;
    cache->tail = cache->tail_text = 0;
    const rt_evict_cache evicted = evict_cache_of(session, which);
    session->counts.evictions += rt_evict_commit(&evicted, places, accepted, cache->fed);
}

void rt_catch_up(tandem_session *session, unsigned which, uint32_t count)
{
    const rt_cache *cache = &session->caches[which];
    while (cache->fed < count) {
        uint32_t chunk = rt_smaller(rt_info(session, which)->max_tokens, rt_room(session, which));
        rt_pass pass = {.text = rt_smaller(chunk, count - cache->fed)};
        rt_forward(session, which, &pass);
        rt_commit(session, which, NULL, 0);
    }
}
