/* See evict_plan.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/evict_plan.h"

uint64_t tandem_evict_fixed(const tandem_evict_bytes *bytes)
{
    return bytes->observed + bytes->tail;
}

uint64_t tandem_evict_per_slot(const tandem_evict_bytes *bytes)
{
    return bytes->sums + bytes->positions + bytes->scratch;
}

uint64_t tandem_evict_saved(const tandem_evict_bytes *bytes, uint32_t slots)
{
    return bytes->observed + slots * (bytes->sums + bytes->positions);
}

bool tandem_evict_wants_queries(const tandem_evict_needs *needs)
{
    return needs->observed > 0 || needs->sums;
}

uint64_t tandem_evict_width(const tandem_model_info *info)
{
    uint64_t width = 0;
    for (uint32_t i = 0; i < info->layers; i++)
        width += (uint64_t)info->caches[i].heads * info->caches[i].head_size;
    return width;
}

uint32_t tandem_evict_group(const tandem_cache_info *cache)
{
    return cache->kv_heads == 0 || cache->heads < cache->kv_heads ? 1
                                                                  : cache->heads / cache->kv_heads;
}

uint32_t tandem_evict_scratch_rows(const tandem_model_info *info)
{
    uint32_t group = 1;
    for (uint32_t i = 0; i < info->layers; i++) {
        const uint32_t own = tandem_evict_group(&info->caches[i]);
        group = own > group ? own : group;
    }
    return 2 * group + 1;
}

tandem_evict_bytes tandem_evict_sizes(const tandem_model_info *info,
                                      const tandem_evict_needs *needs)
{
    const uint64_t row = tandem_evict_width(info) * sizeof(float);
    uint64_t heads = 0, jobs = 0;
    bool windows = false;
    for (uint32_t i = 0; i < info->layers; i++) {
        heads += info->caches[i].heads;
        jobs += info->caches[i].kv_heads;
        windows = windows || info->caches[i].window > 0;
    }
    const uint64_t workers = jobs < TANDEM_EVICT_WORKERS ? jobs : TANDEM_EVICT_WORKERS;
    tandem_evict_bytes bytes = {0};
    bytes.observed = (needs->observed * row + 63) / 64 * 64;
    if (tandem_evict_wants_queries(needs))
        bytes.tail = (info->max_tokens * row + 63) / 64 * 64;
    if (needs->sums)
        bytes.sums = heads * sizeof(float);
    if (needs->drops && windows)
        bytes.positions = jobs * sizeof(int32_t);
    if (needs->scores)
        bytes.scratch = workers * tandem_evict_scratch_rows(info) * sizeof(float);
    return bytes;
}
