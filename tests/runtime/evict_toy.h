/* A model without passes, for tests of eviction: queries, keys and values of a token are made from
 * its position, written where a pass would leave them, and committed as generated code does.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_RUNTIME_EVICT_TOY_H
#define TANDEM_TESTS_RUNTIME_EVICT_TOY_H

#include "ir/half.h"
#include "ir/numerics.h"
#include "runtime/evict.h"
#include "runtime/evict_score.h"
#include "tests/test.h"

#include <math.h>

#define TOY_LAYERS 2
#define TOY_TAIL   16
#define TOY_SEED   UINT64_C(0x243f6a8885a308d3)

typedef struct toy {
    tandem_cache_info caches[TOY_LAYERS];
    tandem_model_info info;
    rt_evict_cache cache;
    uint64_t committed;
    uint64_t tail[TOY_TAIL]; /* positions of the tokens that stand in the tail */
    uint32_t evictions;
} toy;

/* A number of -1 .. 1 that depends on all arguments. */
static inline float toy_number(uint64_t position, uint32_t kind, uint32_t head, uint32_t i)
{
    uint64_t state = TOY_SEED ^ position * UINT64_C(0x9e3779b97f4a7c15);
    state ^= ((uint64_t)kind << 40 | (uint64_t)head << 20 | i) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ (state >> 29)) * UINT64_C(0x94d049bb133111eb);
    state = (state ^ (state >> 32)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (float)(int64_t)(state >> 40) * 0x1p-23f - 1;
}

enum { TOY_QUERY, TOY_KEY, TOY_VALUE };

/* What a row holds after rounding to the cache's type. Heads are counted over all layers. */
static inline void toy_row(const tandem_cache_info *cache, uint32_t layer, uint64_t position,
                           uint32_t kind, uint32_t head, float *row)
{
    const float size = kind == TOY_QUERY ? 4 : 1.5f;
    for (uint32_t i = 0; i < cache->head_size; i++)
        row[i] = size * toy_number(position, kind, layer * 64 + head, i);
    if (kind == TOY_QUERY)
        return;
    for (uint32_t i = 0; i < cache->head_size && cache->element_bytes == 2; i++)
        row[i] = ir_f16_to_f32(ir_f32_to_f16(row[i]));
    if (cache->element_bytes == 1)
        ir_round_cache_row(row, cache->head_size);
}

/* Stores number i of a row, whose scale is `scale` when elements have one byte. */
static inline void toy_store(unsigned char *at, uint32_t bytes, float number, float scale)
{
    const uint16_t half = ir_f32_to_f16(number);
    if (bytes == 4)
        memcpy(at, &number, sizeof number);
    else if (bytes == 2)
        memcpy(at, &half, sizeof half);
    else
        *at = (unsigned char)(int8_t)(scale > 0 ? rintf(number / scale) : 0);
}

static inline float toy_scale(const float *row, uint32_t size)
{
    float largest = 0;
    for (uint32_t i = 0; i < size; i++)
        largest = fmaxf(largest, fabsf(row[i]));
    return ir_f16_to_f32(ir_f32_to_f16(largest / 127));
}

static inline void toy_write_slot(toy *self, uint32_t layer, uint32_t kv_head, uint32_t slot,
                                  uint64_t position)
{
    const tandem_cache_info *cache = &self->caches[layer];
    const rt_head head = rt_head_of(cache, self->cache.state, self->info.state_fixed_bytes,
                                    self->cache.slots, kv_head);
    const uint32_t size = cache->head_size, bytes = cache->element_bytes;
    float key[RT_MOST_HEAD], value[RT_MOST_HEAD];
    toy_row(cache, layer, position, TOY_KEY, kv_head, key);
    toy_row(cache, layer, position, TOY_VALUE, kv_head, value);
    const float key_scale = toy_scale(key, size), value_scale = toy_scale(value, size);
    for (uint32_t i = 0; i < size; i++) {
        toy_store(head.keys + ((slot / 16 * size + i) * 16 + slot % 16) * bytes, bytes, key[i],
                  key_scale);
        toy_store(head.values + (slot * size + i) * bytes, bytes, value[i], value_scale);
    }
    if (bytes == 1) {
        toy_store(head.key_scales + slot * 2, 2, key_scale, 0);
        toy_store(head.value_scales + slot * 2, 2, value_scale, 0);
    }
}

static inline int32_t *toy_count(const toy *self, uint32_t layer, uint32_t kv_head)
{
    return (int32_t *)(void *)self->cache.state + layer * self->info.count_stride + kv_head;
}

/* False when memory ran out or the policy is unknown. */
static inline bool toy_make(toy *self, uint32_t element_bytes, uint32_t slots, const char *policy)
{
    static const struct {
        uint32_t kv_heads, heads, head_size;
        float scale, softcap;
        int64_t window;
    } shapes[TOY_LAYERS] = {{2, 4, 8, 0.7f, 0, 0}, {1, 3, 37, 0.3f, 2.5f, 41}};
    *self = (toy){0};
    uint64_t slot_bytes = 0, arena = 0;
    for (uint32_t i = 0; i < TOY_LAYERS; i++) {
        const uint64_t row = shapes[i].head_size * element_bytes + (element_bytes == 1 ? 2 : 0);
        const uint64_t bytes = (shapes[i].kv_heads * row + 3) / 4 * 4;
        const uint32_t columns = shapes[i].heads * shapes[i].head_size;
        self->caches[i] = (tandem_cache_info){
            .kv_heads = shapes[i].kv_heads,
            .heads = shapes[i].heads,
            .head_size = shapes[i].head_size,
            .element_bytes = element_bytes,
            .scale = shapes[i].scale,
            .softcap = shapes[i].softcap,
            .window = shapes[i].window,
            .key_slot_offset = slot_bytes,
            .value_slot_offset = slot_bytes + bytes,
            .queries = {"queries", arena, TOY_TAIL * columns * sizeof(float), columns},
        };
        slot_bytes += 2 * bytes;
        arena += self->caches[i].queries.bytes;
    }
    self->info = (tandem_model_info){.max_tokens = TOY_TAIL,
                                     .layers = TOY_LAYERS,
                                     .count_stride = 2,
                                     .state_fixed_bytes = 64,
                                     .state_slot_bytes = slot_bytes,
                                     .caches = self->caches};
    rt_evict_cache *cache = &self->cache;
    cache->info = &self->info;
    cache->slots = slots;
    if (rt_evict_find(policy, NULL, &cache->eviction) != TANDEM_OK)
        return false;
    const tandem_evict_needs needs = rt_evict_needs(&cache->eviction);
    const tandem_evict_bytes bytes = tandem_evict_sizes(&self->info, &needs);
    cache->state = calloc(1, 64 + slots * slot_bytes);
    /* Exactly what the plan says: more would be seen by the sanitizer. */
    cache->memory = malloc(tandem_evict_fixed(&bytes) + slots * tandem_evict_per_slot(&bytes) + 1);
    cache->arena = malloc(arena);
    return cache->state != NULL && cache->memory != NULL && cache->arena != NULL;
}

static inline void toy_free(toy *self)
{
    free(self->cache.state);
    free(self->cache.memory);
    free((void *)(uintptr_t)self->cache.arena);
}

/* One pass over tokens at these positions, which take the places from `tail` on. */
static inline void toy_pass(toy *self, uint32_t tail, const uint64_t *positions, uint32_t tokens)
{
    for (uint32_t layer = 0; layer < TOY_LAYERS; layer++) {
        const tandem_cache_info *cache = &self->caches[layer];
        float *rows = (float *)(void *)(uintptr_t)(self->cache.arena + cache->queries.offset);
        for (uint32_t i = 0; i < tokens; i++) {
            for (uint32_t h = 0; h < cache->heads; h++)
                toy_row(cache, layer, positions[i], TOY_QUERY, h,
                        rows + i * cache->queries.columns + h * cache->head_size);
            for (uint32_t h = 0; h < cache->kv_heads; h++)
                toy_write_slot(self, layer, h, (uint32_t)*toy_count(self, layer, h) + tail + i,
                               positions[i]);
        }
    }
    memcpy(self->tail + tail, positions, tokens * sizeof *positions);
    rt_evict_saw(&self->cache, tail, tokens);
}

static inline void toy_commit(toy *self, const int32_t *path, uint32_t count)
{
    for (uint32_t layer = 0; layer < TOY_LAYERS; layer++)
        for (uint32_t h = 0; h < self->caches[layer].kv_heads; h++) {
            int32_t *taken = toy_count(self, layer, h);
            for (uint32_t i = 0; i < count; i++)
                toy_write_slot(self, layer, h, (uint32_t)*taken + i, self->tail[path[i]]);
            *taken += (int32_t)count;
        }
    self->committed += count;
    self->evictions += rt_evict_commit(&self->cache, path, count, self->committed);
}

static inline uint32_t toy_room(const toy *self)
{
    return self->cache.slots - rt_evict_count(&self->cache);
}

/* Commits the next tokens, at most `chunk` in a pass, until `end` are committed. */
static inline void toy_feed(toy *self, uint64_t end, uint32_t chunk)
{
    static const int32_t path[TOY_TAIL] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    while (self->committed < end) {
        uint64_t positions[TOY_TAIL], left = end - self->committed;
        uint32_t tokens = chunk < toy_room(self) ? chunk : toy_room(self);
        tokens = tokens < left ? tokens : (uint32_t)left;
        for (uint32_t i = 0; i < tokens; i++)
            positions[i] = self->committed + i;
        toy_pass(self, 0, positions, tokens);
        toy_commit(self, path, tokens);
    }
}

/* The position of the token in a slot; UINT64_MAX when key, value and scales are of no single token
 * up to those committed. */
static inline uint64_t toy_position(const toy *self, uint32_t layer, uint32_t kv_head,
                                    uint32_t slot)
{
    const tandem_cache_info *cache = &self->caches[layer];
    const rt_head head = rt_head_of(cache, self->cache.state, self->info.state_fixed_bytes,
                                    self->cache.slots, kv_head);
    float keys[64 * RT_PANEL], value[64], row[64];
    rt_head_keys(&head, slot / RT_PANEL, keys);
    rt_head_value(&head, slot, value);
    for (uint64_t position = 0; position < self->committed; position++) {
        bool same = true;
        toy_row(cache, layer, position, TOY_KEY, kv_head, row);
        for (uint32_t i = 0; i < cache->head_size && same; i++)
            same = keys[i * RT_PANEL + slot % RT_PANEL] == row[i];
        if (!same)
            continue;
        toy_row(cache, layer, position, TOY_VALUE, kv_head, row);
        if (memcmp(value, row, cache->head_size * sizeof *row) == 0)
            return position;
    }
    return UINT64_MAX;
}

#endif
