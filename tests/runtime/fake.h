/* An artefact without a compiler: its passes are C functions that compute logits from a hash of the
 * tokens that they see in the cache. They read ids, positions, ancestor masks, paths, counts and
 * slots as generated code does and note every contradiction, so that a mistake of the runtime
 * changes the text or is counted in fake_faults.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_RUNTIME_FAKE_H
#define TANDEM_TESTS_RUNTIME_FAKE_H

#include "runtime/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FAKE_LAYERS 2
#define FAKE_STRIDE 2 /* KV heads of the widest layer */
#define FAKE_HEAD   16
#define FAKE_ARENA  (UINT64_C(1) << 19)
#define FAKE_MOST   256 /* columns */

/* What the passes do. Set by fake_make; entry points have no other way to know it. */
static struct {
    uint64_t seed;
    double spread, noise; /* of logits; of the drafter's about the target's */
    uint32_t order;       /* logits depend on so many last tokens; 0: on all */
    int32_t end_id;       /* gets a large logit once `end_after` tokens are seen; -1: none */
    uint32_t end_after;
    const int32_t *script; /* the target's choices, from script_start tokens on; NULL: none */
    uint32_t script_start, script_count;
    bool lie;        /* planted: makes the drafter's noted probabilities wrong before verifying */
    bool plain_ties; /* logits are small integers: ties are frequent */
} fake_rule;

static _Atomic int fake_faults;
static _Atomic uint64_t fake_passes[2], fake_pass_tokens[2];

static tandem_artefact fake_artefact;
static tandem_model_info fake_models[2];
static tandem_cache_info fake_caches[2][FAKE_LAYERS];
static int32_t fake_head_ids[2][FAKE_MOST];

static uint64_t fake_hash(uint64_t state, uint64_t value)
{
    state = (state ^ value) + UINT64_C(0x9e3779b97f4a7c15);
    state = (state ^ (state >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ (state >> 27)) * UINT64_C(0x94d049bb133111eb);
    return state ^ (state >> 31);
}

/* The logit of a token after a history; `which` 1 adds the drafter's error. */
static float fake_logit(unsigned which, const int32_t *history, uint32_t length, int32_t id)
{
    uint32_t first = fake_rule.order > 0 && length > fake_rule.order ? length - fake_rule.order : 0;
    uint64_t state = fake_rule.seed;
    for (uint32_t i = first; i < length; i++)
        state = fake_hash(state, (uint64_t)history[i]);
    state = fake_hash(state, (uint64_t)id);
    double uniform = (double)(state >> 11) * 0x1p-53;
    double error = (double)(fake_hash(state, 77) >> 11) * 0x1p-53;
    double logit = fake_rule.spread * (uniform - 0.5);
    if (which == RT_DRAFTER)
        logit += fake_rule.noise * (error - 0.5);
    uint32_t step = length - fake_rule.script_start;
    if (fake_rule.script != NULL && length >= fake_rule.script_start)
        logit += step < fake_rule.script_count && fake_rule.script[step] == id ? 1000 : 0;
    if (id == fake_rule.end_id)
        logit = length >= fake_rule.end_after ? 1000 : -1000;
    return fake_rule.plain_ties ? (float)rint(logit) : (float)logit;
}

static int32_t *fake_slot(const tandem_frame *frame, unsigned which, uint32_t layer, bool value,
                          uint32_t head, int64_t slot)
{
    const tandem_cache_info *cache = &fake_caches[which][layer];
    uint64_t slots = (uint64_t)frame->symbols[TANDEM_SYMBOL_SLOTS];
    unsigned char *start = frame->state + fake_models[which].state_fixed_bytes +
                           slots * (value ? cache->value_slot_offset : cache->key_slot_offset);
    return (int32_t *)(void *)start + (head * slots + (uint64_t)slot) * FAKE_HEAD;
}

static int32_t *fake_count(const tandem_frame *frame, uint32_t layer, uint32_t head)
{
    return (int32_t *)(void *)frame->state + layer * FAKE_STRIDE + head;
}

static void fake_check(bool condition)
{
    if (!condition)
        fake_faults++;
}

/* Arguments of the fake kernels. */
typedef struct fake_call {
    const tandem_frame *frame;
    unsigned which;
} fake_call;

static void fake_share(const fake_call *call, tandem_kernel kernel)
{
    const tandem_frame *frame = call->frame;
    if (frame->share == NULL)
        kernel(call, 0, 1);
    else
        frame->share(frame->share_self, kernel, call, 1000000);
}

/* Writes one token into every cache. */
static void fake_write(const tandem_frame *frame, unsigned which, uint32_t token)
{
    const int32_t *ids = frame->inputs[TANDEM_INPUT_IDS];
    const int32_t *positions = frame->inputs[TANDEM_INPUT_POSITIONS];
    fake_check(ids[token] >= 0 && (uint32_t)ids[token] < fake_models[which].vocabulary);
    fake_check((uint32_t)positions[token] < fake_models[which].context_length);
    for (uint32_t layer = 0; layer < FAKE_LAYERS; layer++)
        for (uint32_t head = 0; head < fake_caches[which][layer].kv_heads; head++) {
            int64_t slot = *fake_count(frame, layer, head) + frame->symbols[TANDEM_SYMBOL_TAIL] +
                           (int64_t)token;
            int32_t *key = fake_slot(frame, which, layer, false, head, slot);
            int32_t *value = fake_slot(frame, which, layer, true, head, slot);
            key[0] = value[1] = ids[token];
            key[1] = value[0] = positions[token];
        }
}

/* The tokens that a tail token sees, itself last; they must agree in all caches. */
static uint32_t fake_read(const tandem_frame *frame, unsigned which, uint32_t token,
                          int32_t *history)
{
    const uint64_t *masks = frame->inputs[TANDEM_INPUT_ANCESTORS];
    const uint64_t *mask = masks + (uint64_t)token * fake_models[which].ancestor_words;
    int64_t count = *fake_count(frame, 0, 0);
    int64_t place = frame->symbols[TANDEM_SYMBOL_TAIL] + (int64_t)token;
    uint32_t length = 0;
    int32_t previous = -1;
    fake_check(mask[place / 64] >> place % 64 & 1);
    for (uint32_t bit = (uint32_t)place + 1; bit < 64 * fake_models[which].ancestor_words; bit++)
        fake_check((mask[bit / 64] >> bit % 64 & 1) == 0);
    for (int64_t slot = 0; slot <= count + place; slot++) {
        int64_t tail = slot - count;
        if (tail >= 0 && !(mask[tail / 64] >> tail % 64 & 1))
            continue;
        const int32_t *first = fake_slot(frame, which, 0, false, 0, slot);
        for (uint32_t layer = 0; layer < FAKE_LAYERS; layer++)
            for (uint32_t head = 0; head < fake_caches[which][layer].kv_heads; head++) {
                const int32_t *key = fake_slot(frame, which, layer, false, head, slot);
                const int32_t *value = fake_slot(frame, which, layer, true, head, slot);
                fake_check(key[0] == first[0] && key[1] == first[1]);
                fake_check(value[1] == first[0] && value[0] == first[1]);
            }
        /* Positions are consecutive; the drafter may have left tokens out. */
        fake_check(which == RT_TARGET ? first[1] == (int32_t)length : first[1] > previous);
        previous = first[1];
        history[length++] = first[0];
    }
    return length;
}

static void fake_write_tokens(const void *arguments, uint64_t part, uint64_t parts)
{
    const fake_call *call = arguments;
    uint64_t tokens = (uint64_t)call->frame->symbols[TANDEM_SYMBOL_TOKENS];
    for (uint64_t token = part; token < tokens; token += parts)
        fake_write(call->frame, call->which, (uint32_t)token);
}

static void fake_write_logits(const void *arguments, uint64_t part, uint64_t parts)
{
    const fake_call *call = arguments;
    const tandem_frame *frame = call->frame;
    const unsigned which = call->which;
    const tandem_model_info *info = &fake_models[which];
    uint64_t rows = (uint64_t)frame->symbols[TANDEM_SYMBOL_ROWS];
    const int32_t *wanted = frame->inputs[TANDEM_INPUT_ROWS];
    float *logits = (float *)(void *)(frame->arena + info->logits.offset);
    int32_t history[4096];
    for (uint64_t row = part; row < rows; row += parts) {
        uint32_t length = fake_read(frame, which, (uint32_t)wanted[row], history);
        for (uint32_t i = 0; i < info->logits.columns; i++) {
            int32_t id = info->head_ids == NULL ? (int32_t)i : info->head_ids[i];
            logits[row * info->logits.columns + i] = fake_logit(which, history, length, id);
        }
    }
}

static void fake_forward(const tandem_frame *frame, unsigned which)
{
    const tandem_model_info *info = &fake_models[which];
    uint32_t tokens = (uint32_t)frame->symbols[TANDEM_SYMBOL_TOKENS];
    uint32_t rows = (uint32_t)frame->symbols[TANDEM_SYMBOL_ROWS];
    const fake_call call = {frame, which};
    fake_passes[which]++;
    fake_pass_tokens[which] += tokens;
    uint32_t places = tokens + (uint32_t)frame->symbols[TANDEM_SYMBOL_TAIL];
    fake_check(tokens >= 1 && places <= info->max_tokens && rows <= info->max_rows);
    for (uint32_t layer = 0; layer < FAKE_LAYERS; layer++)
        for (uint32_t head = 0; head < fake_caches[which][layer].kv_heads; head++)
            fake_check(*fake_count(frame, layer, head) + (int64_t)places <=
                       frame->symbols[TANDEM_SYMBOL_SLOTS]);
    fake_share(&call, fake_write_tokens);
    fake_share(&call, fake_write_logits);
    /* What else is in the arena is overwritten by a pass, but for logits and scratch. */
    if (which == RT_TARGET && fake_rule.lie) {
        const tandem_scratch_info *scratch =
            &fake_artefact.scratch[TANDEM_SCRATCH_DRAFT_PROBABILITIES];
        float *weights = (float *)(void *)(frame->arena + scratch->offset);
        for (uint64_t i = 0; i < scratch->bytes / sizeof *weights; i++)
            weights[i] = i % 2 == 0 ? 2 * weights[i] : 0.5f * weights[i];
    }
}

static void fake_commit_layers(const void *arguments, uint64_t part, uint64_t parts)
{
    const fake_call *call = arguments;
    const tandem_frame *frame = call->frame;
    const unsigned which = call->which;
    const int32_t *path = frame->inputs[TANDEM_INPUT_PATH];
    int64_t accepted = frame->symbols[TANDEM_SYMBOL_ACCEPTED];
    for (uint32_t layer = (uint32_t)part; layer < FAKE_LAYERS; layer += (uint32_t)parts)
        for (uint32_t head = 0; head < fake_caches[which][layer].kv_heads; head++) {
            int32_t *count = fake_count(frame, layer, head);
            for (int64_t i = 0; i < accepted; i++) {
                fake_check(path[i] >= i && (i == 0 || path[i] > path[i - 1]));
                for (int value = 0; value < 2; value++)
                    memmove(fake_slot(frame, which, layer, value, head, *count + i),
                            fake_slot(frame, which, layer, value, head, *count + path[i]),
                            FAKE_HEAD * sizeof(int32_t));
            }
            *count += (int32_t)accepted;
            /* Nothing may be read there before it is written anew. */
            for (int64_t slot = *count; slot < frame->symbols[TANDEM_SYMBOL_SLOTS]; slot++)
                fake_slot(frame, which, layer, false, head, slot)[1] = -1;
        }
}

static void fake_commit(const tandem_frame *frame, unsigned which)
{
    const fake_call call = {frame, which};
    fake_share(&call, fake_commit_layers);
}

static void fake_target_forward(const tandem_frame *frame)
{
    fake_forward(frame, RT_TARGET);
}

static void fake_target_commit(const tandem_frame *frame)
{
    fake_commit(frame, RT_TARGET);
}

static void fake_drafter_forward(const tandem_frame *frame)
{
    fake_forward(frame, RT_DRAFTER);
}

static void fake_drafter_commit(const tandem_frame *frame)
{
    fake_commit(frame, RT_DRAFTER);
}

/* A pass that leaves the columns of the largest logits, and other numbers where logits were. */
static void fake_greedy(const tandem_frame *frame, unsigned which)
{
    const tandem_model_info *info = &fake_models[which];
    float *logits = (float *)(void *)(frame->arena + info->logits.offset);
    int32_t *best = (int32_t *)(void *)(frame->arena + info->best.offset);
    fake_forward(frame, which);
    for (int64_t row = 0; row < frame->symbols[TANDEM_SYMBOL_ROWS]; row++) {
        float *values = logits + row * info->logits.columns;
        best[row] = 0;
        for (uint32_t i = 1; i < info->logits.columns; i++)
            best[row] = values[i] > values[best[row]] ? (int32_t)i : best[row];
        for (uint32_t i = 0; i < info->logits.columns; i++)
            values[i] = (float)i;
    }
}

static void fake_target_greedy(const tandem_frame *frame)
{
    fake_greedy(frame, RT_TARGET);
}

static void fake_drafter_greedy(const tandem_frame *frame)
{
    fake_greedy(frame, RT_DRAFTER);
}

/* Gives a model an entry for its best ids. */
static inline void fake_give_best(unsigned which)
{
    tandem_model_info *info = &fake_models[which];
    info->greedy = which == RT_TARGET ? fake_target_greedy : fake_drafter_greedy;
    info->best = (tandem_output_info){"best", FAKE_ARENA - 1024 * (1 + which), 32 * 4, 1};
}

static void fake_make_model(unsigned which, uint32_t vocabulary, uint32_t max_tokens)
{
    tandem_model_info *info = &fake_models[which];
    *info = (tandem_model_info){
        .name = which == RT_TARGET ? "target" : "drafter",
        .vocabulary = vocabulary,
        .context_length = 2048,
        .max_tokens = max_tokens,
        .max_rows = max_tokens < 32 ? max_tokens : 32,
        .ancestor_words = (max_tokens + 63) / 64,
        .layers = FAKE_LAYERS,
        .count_stride = FAKE_STRIDE,
        .state_fixed_bytes = 64,
        .weights_read_per_pass = which == RT_TARGET ? 1000 : 100,
        .caches = fake_caches[which],
        .logits = {"logits", which == RT_TARGET ? 0 : FAKE_ARENA / 4, FAKE_ARENA / 4, vocabulary},
        .forward = which == RT_TARGET ? fake_target_forward : fake_drafter_forward,
        .commit = which == RT_TARGET ? fake_target_commit : fake_drafter_commit,
    };
    for (uint32_t layer = 0; layer < FAKE_LAYERS; layer++) {
        tandem_cache_info *cache = &fake_caches[which][layer];
        uint64_t bytes = (layer + 1) * FAKE_HEAD * sizeof(int32_t);
        *cache = (tandem_cache_info){.name = "cache",
                                     .kv_heads = layer + 1,
                                     .head_size = FAKE_HEAD,
                                     .element_bytes = sizeof(int32_t)};
        cache->key_slot_offset = info->state_slot_bytes;
        cache->value_slot_offset = info->state_slot_bytes + bytes;
        info->state_slot_bytes += 2 * bytes;
    }
}

/* A fresh pair (or, with model_count 1, a target alone) and default rules. */
static tandem_artefact *fake_make(uint32_t model_count, uint32_t vocabulary, uint32_t max_tokens)
{
    memset(&fake_rule, 0, sizeof fake_rule);
    fake_rule.seed = 1;
    fake_rule.spread = 8;
    fake_rule.noise = 3;
    fake_rule.end_id = -1;
    fake_faults = 0;
    for (unsigned i = 0; i < 2; i++) {
        fake_passes[i] = fake_pass_tokens[i] = 0;
        fake_make_model(i, vocabulary, max_tokens);
    }
    fake_artefact = (tandem_artefact){
        .abi_version = TANDEM_ABI_VERSION,
        .size = sizeof(tandem_artefact),
        .name = "fake",
        .triple = "none",
        .cpu = "any",
        .features = "",
        .compiler = "a test",
        .activations = "f32",
        .arena_bytes = FAKE_ARENA,
        .max_draft = 8,
        .model_count = model_count,
        .models = fake_models,
        .scratch = {{FAKE_ARENA / 2, 8 * FAKE_MOST * sizeof(float)},
                    {FAKE_ARENA / 4 * 3, FAKE_MOST * sizeof(double)}},
        .bos_id = -1,
        .eos_id = -1,
        .plan = {.minimum_slots = 16, .slots = 512},
        .api = &tandem_runtime_api,
    };
    return &fake_artefact;
}

/* Keeps only the ids for which id % of != 0 in a model's head. */
static inline void fake_trim(unsigned which, int32_t of)
{
    tandem_model_info *info = &fake_models[which];
    uint32_t count = 0;
    for (uint32_t id = 0; id < info->vocabulary; id++)
        if ((int32_t)id % of != 0)
            fake_head_ids[which][count++] = (int32_t)id;
    info->logits.columns = count;
    info->head_ids = fake_head_ids[which];
}

/* Opens the artefact with one session and these slots (0: all) and threads. */
static inline tandem_status fake_open(uint32_t slots, uint32_t threads, tandem_model **model,
                                      tandem_session **session)
{
    tandem_options options = {.slots = slots, .threads = threads};
    tandem_error error = {{0}};
    tandem_status status = tandem_runtime_api.open(&fake_artefact, &options, &error, model);
    if (status != TANDEM_OK) {
        printf("    %s\n", error.text);
        return status;
    }
    return tandem_runtime_api.session_create(*model, session);
}

#endif
