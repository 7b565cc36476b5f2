/* Trees through compiled code: after every round the caches hold, bit for bit, what plain decoding
 * of the accepted tokens would have left there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "runtime/internal.h"
#include "tests/codegen/tiny_program.h"
#include "tests/test.h"

#define MAX_DRAFT  16
#define MAX_TOKENS 64

static td_status make_models(tiny_program *self, int64_t vocabulary, ir_type cache_type)
{
    synthetic_options options = {.layers = 2,
                                 .features = 32,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .head_size = 8,
                                 .hidden = 48,
                                 .vocabulary = vocabulary,
                                 .max_tokens = MAX_TOKENS,
                                 .type = IR_F16,
                                 .cache_type = cache_type};
    TD_TRY(synthetic_llama(&self->context, &options, &self->models[0]));
    options.layers = 1;
    TD_TRY(synthetic_llama(&self->context, &options, &self->models[1]));
    self->models[1].name = "drafter";
    TD_TRY(ir_pass_keep_queries(self->models[0].module));
    return ir_pass_keep_queries(self->models[1].module);
}

/* A compiled pair, opened by this program's own runtime, so that the caches can be looked at. */
static bool begin(tiny_program *self, int64_t vocabulary, ir_type cache_type)
{
    if (tiny_start(self) && make_models(self, vocabulary, cache_type) == TD_OK &&
        tiny_plan(self, 2, MAX_DRAFT) == TD_OK && tiny_load(self) == TD_OK)
        return true;
    printf("    %s\n", self->context.message);
    return false;
}

static bool open_with(const tiny_program *self, const tandem_options *options, tandem_model **model,
                      tandem_session **sessions)
{
    tandem_error error;
    if (tandem_runtime_api.open(self->artefact, options, &error, model) != TANDEM_OK) {
        printf("    %s\n", error.text);
        return false;
    }
    for (uint32_t i = 0; i < options->sessions; i++)
        if (tandem_runtime_api.session_create(*model, &sessions[i]) != TANDEM_OK)
            return false;
    return true;
}

static bool open_sessions(const tiny_program *self, uint32_t count, uint32_t threads,
                          tandem_model **model, tandem_session **sessions)
{
    const tandem_options options = {.threads = threads, .slots = 256, .sessions = count};
    return open_with(self, &options, model, sessions);
}

/* --- the caches --- */

/* Bytes of `size` elements that stand `stride` bytes apart. */
static bool same_elements(const unsigned char *left, const unsigned char *right, uint32_t size,
                          uint32_t bytes, uint64_t stride)
{
    for (uint32_t i = 0; i < size; i++)
        if (memcmp(left + i * stride, right + i * stride, bytes) != 0)
            return false;
    return true;
}

/* Whether a slot holds the same key and value in two states (layout: runtime/abi.h). */
static bool same_slot(const tandem_model_info *info, const tandem_cache_info *cache, uint64_t slots,
                      const unsigned char *left, const unsigned char *right, uint32_t head,
                      uint32_t slot)
{
    const uint64_t bytes = cache->element_bytes, size = cache->head_size;
    const uint64_t key = info->state_fixed_bytes + slots * cache->key_slot_offset;
    const uint64_t value = info->state_fixed_bytes + slots * cache->value_slot_offset;
    const uint64_t in_key = ((head * slots + slot / 16 * 16) * size + slot % 16) * bytes;
    const uint64_t in_value = (head * slots + slot) * size * bytes;
    bool same = same_elements(left + key + in_key, right + key + in_key, cache->head_size,
                              cache->element_bytes, 16 * bytes) &&
                memcmp(left + value + in_value, right + value + in_value, size * bytes) == 0;
    const uint64_t scale = cache->kv_heads * slots * size + 2 * (head * slots + slot);
    return same && (bytes > 1 || (memcmp(left + key + scale, right + key + scale, 2) == 0 &&
                                  memcmp(left + value + scale, right + value + scale, 2) == 0));
}

/* Committed tokens that a head still holds. */
static uint32_t slots_taken(const rt_cache *cache, const tandem_model_info *info, uint32_t layer,
                            uint32_t head)
{
    const int32_t *counts = (const int32_t *)(const void *)cache->state;
    return (uint32_t)counts[layer * info->count_stride + head];
}

/* Whether two sessions hold the same committed tokens of a model. */
static bool same_caches(const tandem_session *left, const tandem_session *right, unsigned which)
{
    const tandem_model_info *info = &left->model->artefact->models[which];
    const rt_cache *a = &left->caches[which], *b = &right->caches[which];
    const uint32_t slots = left->model->slots[which];
    if (a->fed != b->fed || memcmp(a->state, b->state, info->state_fixed_bytes) != 0)
        return false;
    for (uint32_t layer = 0; layer < info->layers; layer++)
        for (uint32_t head = 0; head < info->caches[layer].kv_heads; head++)
            for (uint32_t slot = 0; slot < slots_taken(a, info, layer, head); slot++)
                if (!same_slot(info, &info->caches[layer], slots, a->state, b->state, head, slot))
                    return false;
    return true;
}

/* Makes the second session's caches by plain decoding of the first one's text, token by token, and
 * compares those of the first `models` models. */
static bool equals_plain_decoding(tandem_session *session, tandem_session *plain, unsigned models)
{
    memcpy(plain->ids, session->ids, session->length * sizeof *session->ids);
    plain->length = session->length;
    for (unsigned which = 0; which < models; which++) {
        while (plain->caches[which].fed < session->caches[which].fed)
            rt_catch_up(plain, which, plain->caches[which].fed + 1);
        if (!same_caches(session, plain, which))
            return false;
    }
    return true;
}

/* Under auto the drafter may leave out parts of the text. */
static unsigned models_that_follow(const char *draft)
{
    return strcmp(draft, "auto") == 0 ? 1 : 2;
}

static double number(uint64_t seed, uint32_t index)
{
    rt_dice dice = {seed, 4321, 0};
    return rt_uniform(&dice, 0, RT_DRAW_TOKEN, index);
}

/* A random tree of at most MAX_DRAFT nodes, whose levels the drafter passes as they come. */
static void pass_random_tree(tandem_session *session, uint64_t seed)
{
    rt_tree *tree = &session->tree;
    uint32_t nodes = (uint32_t)(number(seed, 0) * (MAX_DRAFT + 1)), vocabulary = 24;
    rt_pass pass = {.text = session->length - session->caches[RT_DRAFTER].fed, .rows = 1};
    rt_tree_start(tree, session->ids[session->length - 1]);
    for (uint32_t i = 1; i <= nodes; i++) {
        if (i == 1 || number(seed, 3 * i) < 0.3) {
            rt_forward(session, RT_DRAFTER, &pass);
            pass = (rt_pass){0};
            rt_tree_deepen(tree);
        }
        uint32_t first = tree->first[tree->levels - 1];
        uint32_t above = tree->first[tree->levels] - first;
        rt_tree_add(tree, first + (uint32_t)(number(seed, 3 * i + 1) * above),
                    (int32_t)(number(seed, 3 * i + 2) * vocabulary));
        pass.nodes++;
        pass.rows++;
    }
    const rt_pass all = {.text = 1, .nodes = nodes, .rows = nodes + 1};
    rt_forward(session, RT_TARGET, &all);
}

/* Keeps a random path of the tree, from the root. */
static void commit_random_path(tandem_session *session, uint64_t seed)
{
    const rt_tree *tree = &session->tree;
    uint32_t path[RT_MAX_DRAFT], count = 0, child = 0;
    for (uint32_t node = 0; (child = rt_tree_next_child(tree, node, 0)) != 0; node = child) {
        uint32_t other = rt_tree_next_child(tree, node, child);
        if (other != 0 && number(seed, 500 + count) < 0.5)
            child = other;
        if (number(seed, 600 + count) < 0.2)
            break;
        path[count++] = child;
    }
    for (uint32_t i = 0; i < count; i++)
        session->ids[session->length + i] = tree->nodes[path[i]].id;
    session->ids[session->length + count] = (int32_t)(number(seed, 700) * 24);
    rt_commit(session, RT_TARGET, path, count);
    if (session->caches[RT_DRAFTER].tail > 0)
        rt_commit(session, RT_DRAFTER, path, count);
    session->length += count + 1;
}

TEST(committed_caches_are_those_of_plain_decoding)
{
    static const ir_type types[] = {IR_F32, IR_F16, IR_I8};
    static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6};
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    for (size_t t = 0; t < TD_COUNT_OF(types); t++) {
        tiny_program self;
        tandem_model *model;
        tandem_session *sessions[2];
        CHECK(begin(&self, 24, types[t]));
        for (uint64_t seed = 0; seed < 6; seed++) {
            CHECK(open_sessions(&self, 2, 1 + (uint32_t)seed % 2, &model, sessions));
            CHECK(tandem_runtime_api.feed(sessions[0], prompt, 8) == TANDEM_OK);
            rt_catch_up(sessions[0], RT_TARGET, 7);
            rt_catch_up(sessions[0], RT_DRAFTER, (uint32_t)seed);
            for (uint64_t round = 0; sessions[0]->length < 200; round++) {
                pass_random_tree(sessions[0], 1000 * seed + round);
                commit_random_path(sessions[0], 1000 * seed + round);
                CHECK_MESSAGE(equals_plain_decoding(sessions[0], sessions[1], 2),
                              "cache type %zu seed %d round %d", t, (int)seed, (int)round);
            }
            tandem_runtime_api.close(model);
        }
        tiny_end(&self);
    }
}

TEST(rounds_leave_the_caches_of_plain_decoding)
{
    static const char *const drafts[] = {"3", "rsd-c:3,2,1", "rsd-s:4x4", "auto"};
    static const int32_t prompt[] = {3, 1, 4};
    tiny_program self;
    tandem_model *model;
    tandem_session *sessions[2];
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self, 24, IR_F16));
    for (size_t d = 0; d < TD_COUNT_OF(drafts); d++)
        for (int sampled = 0; sampled < 2; sampled++) {
            CHECK(open_sessions(&self, 2, 1, &model, sessions));
            CHECK(tandem_runtime_api.feed(sessions[0], prompt, 3) == TANDEM_OK);
            for (int i = 0; i < 12; i++) {
                const tandem_generate_options options = {
                    .max_tokens = 15, .draft = drafts[d], .temperature = sampled * 0.8};
                CHECK(tandem_runtime_api.generate(sessions[0], &options, NULL, NULL) == TANDEM_OK);
                CHECK(
                    equals_plain_decoding(sessions[0], sessions[1], models_that_follow(drafts[d])));
            }
            tandem_runtime_api.close(model);
        }
    tiny_end(&self);
}

/* Whatever is drafted, on however many threads, the same slots survive evictions, bit for bit. */
static void check_under_eviction(const tiny_program *self, const char *policy, uint32_t threads)
{
    static const char *const drafts[] = {"3", "rsd-c:3,2,1", "rsd-s:4x4", "auto"};
    static const int32_t prompt[] = {3, 1, 4};
    const tandem_options options = {
        .threads = threads, .slots = 48, .drafter_slots = 32, .sessions = 2, .eviction = policy};
    for (size_t d = 0; d < TD_COUNT_OF(drafts); d++) {
        tandem_model *model;
        tandem_session *sessions[2];
        uint64_t evictions = 0;
        CHECK(open_with(self, &options, &model, sessions));
        CHECK(tandem_runtime_api.feed(sessions[0], prompt, 3) == TANDEM_OK);
        for (int i = 0; i < 8; i++) {
            const tandem_generate_options choices = {
                .max_tokens = 17, .draft = drafts[d], .temperature = i % 2 * 0.8};
            CHECK(tandem_runtime_api.generate(sessions[0], &choices, NULL, NULL) == TANDEM_OK);
            CHECK_MESSAGE(
                equals_plain_decoding(sessions[0], sessions[1], models_that_follow(drafts[d])),
                "%s, draft %s, %u threads, %u tokens", policy, drafts[d], threads,
                sessions[0]->length);
            evictions += sessions[0]->counts.evictions;
        }
        CHECK_MESSAGE(evictions >= 8, "%d", (int)evictions);
        tandem_runtime_api.close(model);
    }
}

TEST(rounds_leave_the_slots_of_plain_decoding_under_eviction)
{
    static const char *const policies[] = {"recent",           "h2o",     "h2o+caote",
                                           "h2o+fastcaote",    "tova",    "tova+caote",
                                           "tova+fastcaote",   "snapkv",  "snapkv+caote",
                                           "snapkv+fastcaote", "keydiff", "keydiff+caote",
                                           "keydiff+fastcaote"};
    tiny_program self;
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self, 24, IR_F16));
    for (size_t p = 0; p < TD_COUNT_OF(policies); p++)
        for (uint32_t threads = 1; threads <= 2; threads++)
            check_under_eviction(&self, policies[p], threads);
    tiny_end(&self);
}

TEST_MAIN()
