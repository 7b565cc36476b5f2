/* SPDX-License-Identifier: MIT */
#include "runtime/evict_cache.h"

#include <string.h>

/* Exact, for all of f16. Without a branch, so that loops over it are done in vectors. */
static inline float from_half(uint16_t half)
{
    const uint32_t magnitude = half & 0x7fffu;
    uint32_t bits = magnitude << 13;
    float number;
    memcpy(&number, &bits, sizeof number);
    number *= 0x1p112f; /* the exponents' biases differ by 112 */
    memcpy(&bits, &number, sizeof bits);
    bits |= (magnitude >= 0x7c00u ? 0x7f800000u : 0) | (uint32_t)(half & 0x8000u) << 16;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint16_t load_half(const unsigned char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return half;
}

rt_head rt_head_of(const tandem_cache_info *info, unsigned char *state, uint64_t fixed_bytes,
                   uint32_t slots, uint32_t kv_head)
{
    const uint64_t row = (uint64_t)info->head_size * info->element_bytes;
    unsigned char *keys = state + fixed_bytes + slots * info->key_slot_offset;
    unsigned char *values = state + fixed_bytes + slots * info->value_slot_offset;
    const uint64_t before = (uint64_t)kv_head * slots, all = (uint64_t)info->kv_heads * slots;
    rt_head head = {info, slots, keys + before * row, values + before * row, NULL, NULL};
    if (info->element_bytes == 1) {
        head.key_scales = keys + all * row + before * sizeof(uint16_t);
        head.value_scales = values + all * row + before * sizeof(uint16_t);
    }
    return head;
}

/* A row of 16-bit floats. */
static void widen(const unsigned char *from, uint32_t count, float *to)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from_half(load_half(from + i * sizeof(uint16_t)));
}

void rt_head_keys(const rt_head *head, uint32_t panel, float *keys)
{
    const uint32_t size = head->info->head_size, count = size * RT_PANEL;
    const uint64_t bytes = head->info->element_bytes;
    const unsigned char *from = head->keys + panel * count * bytes;
    if (bytes == sizeof(float)) {
        memcpy(keys, from, count * bytes);
        return;
    }
    if (bytes == sizeof(uint16_t)) {
        widen(from, count, keys);
        return;
    }
    float scales[RT_PANEL];
    widen(head->key_scales + (uint64_t)panel * RT_PANEL * sizeof(uint16_t), RT_PANEL, scales);
    for (uint32_t d = 0; d < size; d++)
        for (uint32_t lane = 0; lane < RT_PANEL; lane++)
            keys[d * RT_PANEL + lane] = (float)(int8_t)from[d * RT_PANEL + lane] * scales[lane];
}

void rt_head_value(const rt_head *head, uint32_t slot, float *value)
{
    const uint32_t size = head->info->head_size;
    const uint64_t bytes = head->info->element_bytes;
    const unsigned char *from = head->values + slot * size * bytes;
    if (bytes == sizeof(float)) {
        memcpy(value, from, size * bytes);
        return;
    }
    if (bytes == sizeof(uint16_t)) {
        widen(from, size, value);
        return;
    }
    const float scale = from_half(load_half(head->value_scales + slot * sizeof(uint16_t)));
    for (uint32_t d = 0; d < size; d++)
        value[d] = (float)(int8_t)from[d] * scale;
}

/* Where a slot's first element of K lies; the next ones follow at steps of 16 elements. */
static unsigned char *key_column(const rt_head *head, uint32_t slot)
{
    const uint64_t panel = slot / RT_PANEL, lane = slot % RT_PANEL;
    return head->keys +
           (panel * head->info->head_size * RT_PANEL + lane) * head->info->element_bytes;
}

void rt_head_move(const rt_head *head, uint32_t from, uint32_t to)
{
    const uint32_t size = head->info->head_size, bytes = head->info->element_bytes;
    const unsigned char *source = key_column(head, from);
    unsigned char *target = key_column(head, to);
    for (uint32_t d = 0; d < size; d++)
        memcpy(target + (uint64_t)d * RT_PANEL * bytes, source + (uint64_t)d * RT_PANEL * bytes,
               bytes);
    memcpy(head->values + (uint64_t)to * size * bytes, head->values + (uint64_t)from * size * bytes,
           (uint64_t)size * bytes);
    if (head->key_scales == NULL)
        return;
    memcpy(head->key_scales + to * sizeof(uint16_t), head->key_scales + from * sizeof(uint16_t),
           sizeof(uint16_t));
    memcpy(head->value_scales + to * sizeof(uint16_t), head->value_scales + from * sizeof(uint16_t),
           sizeof(uint16_t));
}
