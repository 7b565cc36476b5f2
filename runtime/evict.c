/* The clock, what is kept for scores, and dropping slots.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/evict.h"

#include "runtime/evict_score.h"

#include <stdio.h>
#include <string.h>

/* --- policies by name --- */

static const char *const rescores[] = {
    [RT_RESCORE_NONE] = "", [RT_RESCORE_CAOTE] = "+caote", [RT_RESCORE_FASTCAOTE] = "+fastcaote"};

#define RESCORES (sizeof rescores / sizeof rescores[0])

static tandem_status refuse(tandem_error *error, tandem_status status, const char *format,
                            const char *name)
{
    if (error != NULL)
        snprintf(error->text, sizeof error->text, format, name);
    return status;
}

tandem_status rt_evict_find(const char *name, tandem_error *error, rt_eviction *eviction)
{
    for (const rt_evict_policy *row = rt_evict_policies; row->name != NULL; row++) {
        const size_t length = strlen(row->name);
        if (strncmp(name, row->name, length) != 0)
            continue;
        for (size_t i = 0; i < RESCORES; i++) {
            if (strcmp(name + length, rescores[i]) != 0)
                continue;
            if (i != RT_RESCORE_NONE && !row->needs.scores)
                return refuse(error, TANDEM_INVALID,
                              "the eviction policy %s has no scores that could be changed: h2o, "
                              "tova, snapkv and keydiff have",
                              name);
            *eviction = (rt_eviction){.policy = row, .rescore = (rt_rescore)i};
            return TANDEM_OK;
        }
    }
    return refuse(error, TANDEM_INVALID,
                  "there is no eviction policy %s: none, recent, h2o, tova, snapkv and keydiff are "
                  "there, all but the first two also as in tova+caote and tova+fastcaote",
                  name);
}

bool rt_evict_drops(const rt_eviction *eviction)
{
    return eviction->policy->needs.drops;
}

tandem_evict_needs rt_evict_needs(const rt_eviction *eviction)
{
    return eviction->policy->needs;
}

tandem_status rt_evict_check(const rt_eviction *eviction, const char *name,
                             const tandem_model_info *info, tandem_error *error)
{
    if (!tandem_evict_wants_queries(&eviction->policy->needs))
        return TANDEM_OK;
    for (uint32_t i = 0; i < info->layers; i++)
        if (info->caches[i].queries.bytes == 0)
            return refuse(error, TANDEM_REFUSED,
                          "the eviction policy %s needs queries, which this program does not keep: "
                          "compile it with --evict=POLICY for a policy that needs them",
                          name);
    return TANDEM_OK;
}

tandem_status rt_evict_positions(const char *positions, const tandem_model_info *info,
                                 tandem_error *error, rt_eviction *eviction)
{
    if (positions == NULL || strcmp(positions, "absolute") == 0)
        return TANDEM_OK;
    if (strcmp(positions, "compact") != 0)
        return refuse(error, TANDEM_INVALID, "positions %s cannot be had: absolute or compact can",
                      positions);
    if (!rt_evict_drops(eviction))
        return refuse(error, TANDEM_INVALID,
                      "%s positions need a policy of eviction other than none", positions);
    if (eviction->step > 0 && eviction->step < rt_evict_needs(eviction).observed)
        return refuse(error, TANDEM_INVALID,
                      "%s positions need at least 32 tokens between evictions with this policy",
                      positions);
    bool turns = info->rotary.frequencies != NULL;
    bool exact = true;
    for (uint32_t i = 0; i < info->layers; i++) {
        turns = turns && info->caches[i].head_size == 2 * info->rotary.count;
        exact = exact && info->caches[i].element_bytes > 1;
    }
    if (!turns)
        return refuse(error, TANDEM_REFUSED,
                      "%s positions cannot be had: the model's layers are not rotated all alike",
                      positions);
    if (!exact)
        return refuse(error, TANDEM_REFUSED,
                      "%s positions cannot be had with caches of 8 bits: compile with --kv=f16 or "
                      "--kv=f32",
                      positions);
    eviction->compact = true;
    return TANDEM_OK;
}

/* --- the clock --- */

#define USUAL_STEP 128u /* tokens between evictions, where there are slots enough */

uint32_t rt_evict_quota(const rt_eviction *eviction, uint32_t slots)
{
    const uint32_t usual = slots / 4 < USUAL_STEP ? slots / 4 : USUAL_STEP;
    const uint32_t step = eviction->step > 0 ? eviction->step : usual;
    return slots - (step < slots / 2 ? step : slots / 2);
}

static uint32_t quarter_at_most(uint32_t quota, uint32_t most)
{
    return quota / 4 < most ? quota / 4 : most;
}

uint32_t rt_evict_sinks(uint32_t quota)
{
    return quarter_at_most(quota, RT_EVICT_SINKS);
}

uint32_t rt_evict_window(uint32_t quota)
{
    return quarter_at_most(quota, RT_EVICT_WINDOW);
}

/* --- what is kept --- */

/* The parts of a cache's memory. */
typedef struct kept {
    uint64_t width; /* f32 of all layers' queries of one token */
    float *observed, *sums, *tail, *scratch;
    int32_t *positions; /* NULL: of no layer */
} kept;

static kept kept_of(const rt_evict_cache *cache)
{
    const tandem_evict_needs needs = rt_evict_needs(&cache->eviction);
    const tandem_evict_bytes bytes = tandem_evict_sizes(cache->info, &needs);
    unsigned char *at = cache->memory;
    kept result = {.width = tandem_evict_width(cache->info)};
    result.observed = (float *)(void *)at;
    at += bytes.observed;
    result.sums = (float *)(void *)at;
    at += cache->slots * bytes.sums;
    if (bytes.positions > 0)
        result.positions = (int32_t *)(void *)at;
    at += cache->slots * bytes.positions;
    result.tail = (float *)(void *)at;
    at += bytes.tail;
    result.scratch = (float *)(void *)at;
    return result;
}

void rt_evict_saw(const rt_evict_cache *cache, uint32_t tail, uint32_t tokens)
{
    if (!tandem_evict_wants_queries(&cache->eviction.policy->needs))
        return;
    const kept keeps = kept_of(cache);
    uint64_t first = 0;
    for (uint32_t layer = 0; layer < cache->info->layers; layer++) {
        const tandem_output_info *queries = &cache->info->caches[layer].queries;
        const unsigned char *from = cache->arena + queries->offset;
        for (uint32_t i = 0; i < tokens; i++)
            memcpy(keeps.tail + (tail + i) * keeps.width + first,
                   from + (uint64_t)i * queries->columns * sizeof(float),
                   queries->columns * sizeof(float));
        first += queries->columns;
    }
}

/* --- one KV head at a time, on any thread --- */

/* What all parts of a kernel read. */
typedef struct shared_work {
    const rt_evict_cache *cache;
    kept keeps;
    const int32_t *path; /* of the commit */
    uint32_t committed;  /* its tokens */
    uint64_t text;       /* tokens committed since the session began, these included */
    uint32_t count;      /* slots that are taken, these included */
    uint32_t quota;      /* to which heads are dropped */
    uint32_t newest;     /* place of the newest token among the observed */
    uint32_t jobs, workers;
} shared_work;

/* One KV head: where its parts of everything lie. */
typedef struct head_job {
    rt_head head;
    uint32_t group;
    uint64_t first_query; /* f32 before them in a token's queries */
    int32_t *count;
    float *sums;                     /* [group][slots] or NULL */
    int32_t *positions;              /* [slots]; NULL: every slot that is held is visible */
    float *weights, *votes, *scores; /* scratch of its worker */
} head_job;

static head_job find_job(const shared_work *work, uint32_t number, uint32_t worker)
{
    const rt_evict_cache *cache = work->cache;
    const tandem_model_info *info = cache->info;
    const uint32_t first = number; /* of all KV heads */
    uint32_t layer = 0, heads = 0;
    uint64_t queries = 0;
    for (; number >= info->caches[layer].kv_heads; layer++) {
        number -= info->caches[layer].kv_heads;
        heads += info->caches[layer].heads;
        queries += (uint64_t)info->caches[layer].heads * info->caches[layer].head_size;
    }
    const tandem_cache_info *own = &info->caches[layer];
    head_job job = {
        .head = rt_head_of(own, cache->state, info->state_fixed_bytes, cache->slots, number),
        .group = tandem_evict_group(own),
        .count = (int32_t *)(void *)cache->state + layer * info->count_stride + number,
    };
    job.first_query = queries + (uint64_t)number * job.group * own->head_size;
    if (cache->eviction.policy->needs.sums)
        job.sums = work->keeps.sums + (heads + (uint64_t)number * job.group) * cache->slots;
    /* Compact positions are ranks, and so are the kernels' windows. */
    if (own->window > 0 && !cache->eviction.compact)
        job.positions = work->keeps.positions + (uint64_t)first * cache->slots;
    if (!cache->eviction.policy->needs.scores)
        return job;
    const uint64_t rows = tandem_evict_scratch_rows(info), half = rows / 2 * cache->slots;
    job.weights = work->keeps.scratch + worker * rows * cache->slots;
    job.votes = job.weights + half;
    job.scores = job.votes + half;
    return job;
}

/* Adds what the tokens of a commit attended to, one after the other. */
static void add_attention(const shared_work *work, const head_job *job)
{
    const uint64_t slots = work->cache->slots;
    const uint32_t before = work->count - work->committed;
    for (uint32_t i = 0; i < work->committed; i++) {
        const uint32_t seen = before + i + 1;
        const float *queries =
            work->keeps.tail + (uint64_t)work->path[i] * work->keeps.width + job->first_query;
        rt_attention_weights(&job->head, job->group, queries, seen, job->scores, job->weights);
        for (uint32_t g = 0; g < job->group; g++) {
            float *sums = job->sums + g * slots;
            const float *weights = job->weights + g * slots;
            sums[seen - 1] = 0;
            for (uint32_t j = 0; j < seen; j++)
                sums[j] += weights[j];
        }
    }
}

/* A score as a number of the same order. NaN is as low as 0: nothing speaks for the slot. Without
 * scores all slots are alike. */
static uint32_t score_bits(const float *scores, uint32_t j)
{
    uint32_t bits;
    if (scores == NULL || !(scores[j] > 0))
        return 0;
    memcpy(&bits, &scores[j], sizeof bits);
    return bits;
}

/* Of the slots first .. end - 1, `drop` are to go: the lowest scores, among equals the first slots.
 * Returns the largest score that goes, as a number, found by halving the range of numbers; *ties is
 * how many slots with just this score go. */
static uint32_t find_threshold(const float *scores, uint32_t first, uint32_t end, uint32_t drop,
                               uint32_t *ties)
{
    uint32_t low = 0, high = UINT32_C(0x7f800000);
    while (low < high) { /* the smallest bound with at least `drop` scores up to it */
        const uint32_t middle = low + (high - low) / 2;
        uint32_t up_to = 0;
        for (uint32_t j = first; j < end; j++)
            up_to += score_bits(scores, j) <= middle;
        if (up_to >= drop)
            high = middle;
        else
            low = middle + 1;
    }
    *ties = drop;
    for (uint32_t j = first; j < end; j++)
        *ties -= score_bits(scores, j) < low;
    return low;
}

static void move_slot(const shared_work *work, const head_job *job, uint32_t from, uint32_t to,
                      rt_rotation *rotation)
{
    if (from == to)
        return;
    rt_head_move(&job->head, from, to);
    if (rotation != NULL) {
        rt_rotation_advance(rotation, from - to);
        rt_head_rotate(&job->head, to, rotation);
    }
    for (uint32_t g = 0; job->sums != NULL && g < job->group; g++)
        job->sums[(uint64_t)g * work->cache->slots + to] =
            job->sums[(uint64_t)g * work->cache->slots + from];
    if (job->positions != NULL)
        job->positions[to] = job->positions[from];
}

/* --- sliding windows ---
 *
 * A layer with a window of W tokens is to see positions above p - W from position p, but kernels
 * count the slots that are held. The two agree as long as no slot is held that leaves the window
 * before the next eviction, and either W is no less than all slots, so that no kernel ever cuts, or
 * those that are held are the newest tokens in a row. */

/* Completes the positions: behind what the last eviction left stand the newest tokens in a row. */
static void note_positions(const shared_work *work, const head_job *job)
{
    for (uint32_t j = work->text == work->count ? 0 : work->quota; j < work->count; j++)
        job->positions[j] = (int32_t)(work->text - work->count + j);
}

/* How many of the first slots go whatever their scores: at most `drop`, since those that had to
 * leave before this eviction are gone. */
static uint32_t count_leaving(const shared_work *work, const head_job *job, uint32_t drop)
{
    if (job->positions == NULL)
        return 0;
    const uint64_t window = (uint64_t)job->head.info->window;
    if (window < work->cache->slots)
        return drop;
    note_positions(work, job);
    uint32_t leaving = 0;
    while (leaving < drop && (uint64_t)job->positions[leaving] + window < work->text + drop)
        leaving++;
    return leaving;
}

/* --- dropping --- */

/* Drops all but `quota` slots; the others move to the front in order. */
static void compact(const shared_work *work, const head_job *job)
{
    const uint32_t drop = work->count - work->quota, sinks = rt_evict_sinks(work->quota);
    const uint32_t leaving = count_leaving(work, job, drop);
    const uint32_t first = leaving > sinks ? leaving : sinks;
    const uint32_t end = work->count - rt_evict_window(work->quota);
    uint32_t ties = 0, kept_slots = 0;
    const uint32_t threshold = find_threshold(job->scores, first, end, drop - leaving, &ties);
    rt_rotation rotation;
    const bool compacts = work->cache->eviction.compact;
    if (compacts)
        rt_rotation_start(&work->cache->info->rotary, &rotation);
    for (uint32_t j = leaving; j < work->count; j++) {
        const bool may_go = j >= first && j < end;
        const uint32_t bits = may_go ? score_bits(job->scores, j) : UINT32_MAX;
        const bool tie = bits == threshold && ties > 0;
        ties -= tie;
        if (!tie && bits >= threshold)
            move_slot(work, job, j, kept_slots++, compacts ? &rotation : NULL);
    }
    *job->count = (int32_t)kept_slots;
}

static void evict_head(const shared_work *work, const head_job *job)
{
    const rt_evict_cache *cache = work->cache;
    const rt_scoring scoring = {
        .head = job->head,
        .count = work->count,
        .group = job->group,
        .queries = work->keeps.observed + job->first_query,
        .query_stride = work->keeps.width,
        .observed = rt_evict_needs(&cache->eviction).observed,
        .newest = work->newest,
        .window = rt_evict_window(work->quota),
        .sums = job->sums,
        .weights = job->weights,
        .votes = job->votes,
        .scores = job->scores,
    };
    if (job->scores != NULL)
        rt_score_slots(&cache->eviction, &scoring);
    compact(work, job);
}

/* Every worker has scratch of its own; parts beyond them find nothing to do. */
static void run_jobs(const shared_work *work, uint64_t part, uint64_t parts,
                     void (*run)(const shared_work *, const head_job *))
{
    const uint64_t workers = parts < work->workers ? parts : work->workers;
    if (part >= workers)
        return;
    const uint64_t end = work->jobs * (part + 1) / workers;
    for (uint64_t number = work->jobs * part / workers; number < end; number++) {
        const head_job job = find_job(work, (uint32_t)number, (uint32_t)part);
        run(work, &job);
    }
}

static void add_attention_part(const void *arguments, uint64_t part, uint64_t parts)
{
    run_jobs(arguments, part, parts, add_attention);
}

static void evict_part(const void *arguments, uint64_t part, uint64_t parts)
{
    run_jobs(arguments, part, parts, evict_head);
}

static void share(const shared_work *work, tandem_kernel kernel, uint64_t queries)
{
    const rt_evict_cache *cache = work->cache;
    /* About a nanosecond for 16 products. */
    const uint64_t nanoseconds = queries * work->count * work->keeps.width / 16;
    if (cache->share == NULL)
        kernel(work, 0, 1);
    else
        cache->share(cache->share_self, kernel, work, nanoseconds);
}

/* --- commits --- */

/* Keeps the queries of the newest tokens committed. */
static void observe(const shared_work *work, uint64_t committed, uint32_t observed)
{
    const uint64_t width = work->keeps.width;
    const uint32_t from = work->committed > observed ? work->committed - observed : 0;
    for (uint32_t i = from; i < work->committed; i++) {
        const uint64_t position = committed - work->committed + i;
        memcpy(work->keeps.observed + position % observed * width,
               work->keeps.tail + (uint64_t)work->path[i] * width, width * sizeof(float));
    }
}

static uint32_t count_jobs(const tandem_model_info *info)
{
    uint32_t jobs = 0;
    for (uint32_t i = 0; i < info->layers; i++)
        jobs += info->caches[i].kv_heads;
    return jobs;
}

bool rt_evict_commit(const rt_evict_cache *cache, const int32_t *path, uint32_t count,
                     uint64_t committed)
{
    if (!rt_evict_drops(&cache->eviction) || count == 0 || cache->info->layers == 0)
        return false;
    const tandem_evict_needs needs = rt_evict_needs(&cache->eviction);
    shared_work work = {.cache = cache,
                        .keeps = kept_of(cache),
                        .path = path,
                        .committed = count,
                        .text = committed,
                        .count = rt_evict_count(cache),
                        .quota = rt_evict_quota(&cache->eviction, cache->slots),
                        .jobs = count_jobs(cache->info)};
    work.workers = work.jobs < TANDEM_EVICT_WORKERS ? work.jobs : TANDEM_EVICT_WORKERS;
    if (needs.sums)
        share(&work, add_attention_part, count);
    if (needs.observed > 0) {
        observe(&work, committed, needs.observed);
        work.newest = (uint32_t)((committed - 1) % needs.observed);
    }
    if (work.count < cache->slots)
        return false;
    share(&work, evict_part, 1 + needs.observed);
    return true;
}
