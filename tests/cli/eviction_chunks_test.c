/* Chunk sizes and threads, down to the bits of a compiled model's cache: whatever the passes were,
 * the same slots survive eviction, and the logits behind them are the same.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "runtime/evict_cache.h"
#include "runtime/internal.h"
#include "tests/test.h"

#include <dlfcn.h>
#include <math.h>
#include <unistd.h>

#define TOKENS 330
#define SLOTS  96
#define PAIR   TEST_SOURCE_FOLDER "/../shared/pair/target"

static const char *const policies[] = {
    "recent",           "h2o",    "h2o+caote",    "h2o+fastcaote",    "tova",    "tova+caote",
    "tova+fastcaote",   "snapkv", "snapkv+caote", "snapkv+fastcaote", "keydiff", "keydiff+caote",
    "keydiff+fastcaote"};

/* A model as a library, loaded. NULL when it could not be made. */
static const tandem_artefact *load(const char *target, const char *kv)
{
    char folder[] = "/tmp/tandem-eviction-XXXXXX", command[1024], path[64];
    if (mkdtemp(folder) == NULL)
        return NULL;
    snprintf(path, sizeof path, "%s/model.so", folder);
    snprintf(command, sizeof command,
             TEST_BUILD_FOLDER
             "/tandem compile --target %s --kv=%s --evict=snapkv --emit=shared -o %s",
             target, kv, path);
    void *library = system(command) == 0 ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *query = library == NULL ? NULL : dlsym(library, "tandem_model_query");
    tandem_query function = NULL;
    memcpy(&function, &query, sizeof function);
    return function == NULL ? NULL : function(TANDEM_ABI_VERSION);
}

/* Removes what load() made; the library stays mapped. */
static void remove_files(const tandem_artefact *artefact)
{
    Dl_info where;
    char command[256];
    if (artefact == NULL || dladdr(artefact, &where) == 0)
        return;
    snprintf(command, sizeof command, "rm -r \"$(dirname '%s')\"", where.dli_fname);
    if (system(command) != 0)
        puts("    files were left behind");
}

/* Of counts and of all slots that are taken. */
static uint64_t hash_cache(const tandem_session *session)
{
    const tandem_model_info *info = &session->model->artefact->models[RT_TARGET];
    unsigned char *state = session->caches[RT_TARGET].state;
    uint64_t hash = td_hash_bytes(TD_HASH_START, state, info->state_fixed_bytes);
    float numbers[RT_MOST_HEAD * RT_PANEL];
    for (uint32_t layer = 0; layer < info->layers; layer++)
        for (uint32_t h = 0; h < info->caches[layer].kv_heads; h++) {
            const tandem_cache_info *cache = &info->caches[layer];
            const rt_head head = rt_head_of(cache, state, info->state_fixed_bytes,
                                            session->model->slots[RT_TARGET], h);
            const uint32_t count =
                (uint32_t)((int32_t *)(void *)state)[layer * info->count_stride + h];
            for (uint32_t slot = 0; slot < count; slot++) {
                rt_head_keys(&head, slot / RT_PANEL, numbers);
                for (uint32_t i = 0; i < cache->head_size; i++)
                    hash = td_hash_bytes(hash, &numbers[i * RT_PANEL + slot % RT_PANEL],
                                         sizeof(float));
                rt_head_value(&head, slot, numbers);
                hash = td_hash_bytes(hash, numbers, cache->head_size * sizeof(float));
            }
        }
    return hash;
}

/* What a run leaves. */
typedef struct outcome {
    uint64_t hash;    /* of cache and logits; 0 when the model could not be opened */
    float logits[16]; /* the first ones */
} outcome;

static void feed_in_chunks(tandem_session *session, uint32_t chunk)
{
    const rt_cache *cache = &session->caches[RT_TARGET];
    while (cache->fed < TOKENS) {
        uint32_t text = chunk < rt_room(session, RT_TARGET) ? chunk : rt_room(session, RT_TARGET);
        text = text < TOKENS - cache->fed ? text : TOKENS - cache->fed;
        const rt_pass pass = {.text = text, .rows = 1};
        rt_forward(session, RT_TARGET, &pass);
        rt_commit(session, RT_TARGET, NULL, 0);
    }
}

/* Feeds the tokens in passes of at most `chunk`. */
static outcome run_with(const tandem_artefact *artefact, const tandem_options *options,
                        uint32_t chunk)
{
    outcome result = {0};
    tandem_error error = {0};
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    if (tandem_runtime_api.open(artefact, options, &error, &model) != TANDEM_OK) {
        puts(error.text);
        return result;
    }
    int32_t ids[TOKENS];
    for (int32_t i = 0; i < TOKENS; i++)
        ids[i] = i * 7919 % 4000 / (1 + i % 5);
    if (rt_session_create(model, &session) == TANDEM_OK &&
        rt_feed(session, ids, TOKENS) == TANDEM_OK) {
        feed_in_chunks(session, chunk);
        const rt_row logits = rt_logits(session, RT_TARGET, 0);
        result.hash =
            td_hash_bytes(hash_cache(session), logits.values, logits.count * sizeof(float));
        memcpy(result.logits, logits.values, sizeof result.logits);
    }
    tandem_runtime_api.close(model);
    return result;
}

static uint64_t run(const tandem_artefact *artefact, const char *policy, uint32_t chunk,
                    uint32_t threads)
{
    const tandem_options options = {.slots = SLOTS, .threads = threads, .eviction = policy};
    return run_with(artefact, &options, chunk).hash;
}

/* Queries are those that attention reads, after the rotation: of one token at two positions they
 * differ in the first layer, but not in length. */
static bool queries_are_rotated(const tandem_artefact *artefact)
{
    const tandem_options options = {.slots = SLOTS, .threads = 1};
    const tandem_output_info *queries = &artefact->models[RT_TARGET].caches[0].queries;
    static const int32_t ids[2] = {7, 7};
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    double lengths[2] = {0}, difference = 0;
    tandem_error error;
    if (tandem_runtime_api.open(artefact, &options, &error, &model) != TANDEM_OK) {
        puts(error.text);
        return false;
    }
    if (rt_session_create(model, &session) == TANDEM_OK && rt_feed(session, ids, 2) == TANDEM_OK) {
        const rt_pass pass = {.text = 2};
        rt_forward(session, RT_TARGET, &pass);
        const void *start = model->arena + queries->offset;
        const float *rows = start;
        for (uint32_t i = 0; i < queries->columns; i++) {
            const double a = (double)rows[i], b = (double)rows[queries->columns + i];
            lengths[0] += a * a;
            lengths[1] += b * b;
            difference += (a - b) * (a - b);
        }
    }
    tandem_runtime_api.close(model);
    return lengths[0] > 0 && fabs(lengths[1] / lengths[0] - 1) < 1e-5 &&
           difference > 0.01 * lengths[0];
}

static void check_chunks(const char *kv)
{
    static const struct {
        uint32_t chunk, threads;
    } ways[] = {{7, 1}, {64, 1}, {33, 2}, {64, 2}};
    const tandem_artefact *artefact = load(TEST_SOURCE_FOLDER "/graphs/target.xml", kv);
    CHECK(artefact != NULL);
    const tandem_cache_info *cache = &artefact->models[RT_TARGET].caches[3];
    CHECK(cache->heads == 8 && cache->kv_heads == 4 && cache->head_size == 32);
    CHECK(cache->softcap == 0 && cache->window == 0 && fabsf(cache->scale - 0.1767767f) < 1e-6f);
    CHECK(cache->queries.columns == 256 && cache->queries.bytes > 0);
    CHECK(queries_are_rotated(artefact));
    uint64_t before = 0;
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
        const uint64_t plain = run(artefact, policies[p], 1, 1);
        CHECK(plain != 0 && plain != before); /* policies differ */
        before = plain;
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
            CHECK_MESSAGE(run(artefact, policies[p], ways[w].chunk, ways[w].threads) == plain,
                          "%s, chunks of %u, %u threads", policies[p], ways[w].chunk,
                          ways[w].threads);
    }
    remove_files(artefact);
}

TEST(chunks_and_threads_change_no_bit_of_f16_caches)
{
    if (access(TEST_BUILD_FOLDER "/tandem", X_OK) != 0)
        SKIP("the command was not built");
    check_chunks("f16");
}

TEST(chunks_and_threads_change_no_bit_of_q8_caches)
{
    if (access(TEST_BUILD_FOLDER "/tandem", X_OK) != 0)
        SKIP("the command was not built");
    check_chunks("q8");
}

/* --- sliding windows --- */

/* The default target, whose layers see the last 40 tokens, as a checkpoint in a folder. */
static bool make_windowed(char *folder)
{
    static const char config[] =
        "sed -e 's/\"llama\"/\"mistral\"/' -e 's/LlamaForCausalLM/MistralForCausalLM/' "
        "-e 's/\"vocab_size\"/\"sliding_window\": 40, &/' " PAIR "/config.json >%s/config.json && "
        "ln -s $(realpath " PAIR "/model.safetensors) %s/";
    char command[1024];
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(command, sizeof command, config, folder, folder);
    return system(command) == 0;
}

static float largest_difference(const outcome *a, const outcome *b)
{
    float largest = 0;
    for (size_t i = 0; i < sizeof a->logits / sizeof *a->logits; i++)
        largest = fmaxf(largest, fabsf(a->logits[i] - b->logits[i]));
    return largest;
}

/* No token within the window is ever dropped, so nothing but the order of sums changes. */
TEST(eviction_loses_nothing_where_windows_are_short)
{
    if (access(TEST_BUILD_FOLDER "/tandem", X_OK) != 0)
        SKIP("the command was not built");
    if (access(PAIR "/model.safetensors", R_OK) != 0)
        SKIP(PAIR " is not there");
    char folder[] = "/tmp/tandem-window-XXXXXX", command[64];
    CHECK(make_windowed(folder));
    const tandem_artefact *artefact = load(folder, "f32");
    CHECK(artefact != NULL && artefact->models[RT_TARGET].caches[0].window == 40);
    const tandem_options all = {.eviction = "none", .slots = 352, .threads = 1};
    const outcome expected = run_with(artefact, &all, 64);
    CHECK(expected.hash != 0);
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++)
        for (uint32_t slots = 64; slots <= SLOTS; slots += 32) {
            const tandem_options few = {.eviction = policies[p], .slots = slots, .threads = 1};
            const outcome found = run_with(artefact, &few, 33);
            const float difference = largest_difference(&found, &expected);
            CHECK_MESSAGE(found.hash != 0 && difference < 1e-3f, "%s, %u slots: %g", policies[p],
                          slots, (double)difference);
        }
    remove_files(artefact);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

TEST_MAIN()
