/* SPDX-License-Identifier: MIT */
#include "runtime/evict_cache.h"

#include <math.h>
#include <string.h>

typedef int8_t quad_i8 __attribute__((vector_size(4)));
typedef float quad_f32 __attribute__((vector_size(16)));

/* Four integers of 8 bits, each times its scale. */
static inline void scale_quad(const unsigned char *from, const float *scales, float *to)
{
    quad_i8 integers;
    quad_f32 factors;
    memcpy(&integers, from, sizeof integers);
    memcpy(&factors, scales, sizeof factors);
    const quad_f32 numbers = __builtin_convertvector(integers, quad_f32) * factors;
    memcpy(to, &numbers, sizeof numbers);
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
        rt_widen(from, count, keys);
        return;
    }
    float scales[RT_PANEL];
    rt_widen(head->key_scales + (uint64_t)panel * RT_PANEL * sizeof(uint16_t), RT_PANEL, scales);
    for (uint32_t i = 0; i < count; i += 4)
        scale_quad(from + i, scales + i % RT_PANEL, keys + i);
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
        rt_widen(from, size, value);
        return;
    }
    float scale;
    rt_widen(head->value_scales + slot * sizeof(uint16_t), 1, &scale);
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

/* --- rotation --- */

void rt_rotation_start(const tandem_rotary_info *rotary, rt_rotation *rotation)
{
    rotation->rotary = rotary;
    rotation->steps = 0;
    for (uint32_t i = 0; i < rotary->count; i++) {
        rotation->cosine[i] = 1;
        rotation->sine[i] = 0;
        rotation->unit_cosine[i] = cos((double)rotary->frequencies[i]);
        rotation->unit_sine[i] = sin((double)rotary->frequencies[i]);
    }
}

void rt_rotation_advance(rt_rotation *rotation, uint32_t steps)
{
    for (; rotation->steps < steps; rotation->steps++)
        for (uint32_t i = 0; i < rotation->rotary->count; i++) {
            const double c = rotation->cosine[i], s = rotation->sine[i];
            rotation->cosine[i] = c * rotation->unit_cosine[i] - s * rotation->unit_sine[i];
            rotation->sine[i] = s * rotation->unit_cosine[i] + c * rotation->unit_sine[i];
        }
}

/* To nearest, ties to even. */
static uint16_t narrow(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits >= 0x47800000u) /* 65536 and more */
        return (uint16_t)(sign | (bits > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (bits >= 0x38800000u) /* normal: rebias, and carry where the dropped bits say so */
        return (uint16_t)(sign | (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1)) >> 13);
    const float shifted = fabsf(number) + 0.5f; /* the last bit is that of a denormal f16 */
    memcpy(&bits, &shifted, sizeof bits);
    return (uint16_t)(sign | (bits - 0x3f000000u));
}

static float load_element(const unsigned char *at, uint32_t bytes)
{
    float number;
    if (bytes == sizeof number)
        memcpy(&number, at, sizeof number);
    else
        rt_widen(at, 1, &number);
    return number;
}

static void store_element(unsigned char *at, uint32_t bytes, float number)
{
    const uint16_t half = narrow(number);
    if (bytes == sizeof number)
        memcpy(at, &number, sizeof number);
    else
        memcpy(at, &half, sizeof half);
}

void rt_head_rotate(const rt_head *head, uint32_t slot, const rt_rotation *rotation)
{
    const tandem_rotary_info *rotary = rotation->rotary;
    const uint32_t bytes = head->info->element_bytes;
    const uint64_t stride = (uint64_t)RT_PANEL * bytes;
    unsigned char *key = key_column(head, slot);
    for (uint32_t i = 0; i < rotary->count; i++) {
        unsigned char *low = key + (rotary->interleaved ? 2 * i : i) * stride;
        unsigned char *high = key + (rotary->interleaved ? 2 * i + 1 : i + rotary->count) * stride;
        const double x = (double)load_element(low, bytes), y = (double)load_element(high, bytes);
        const double c = rotation->cosine[i], s = rotation->sine[i];
        store_element(low, bytes, (float)(x * c + y * s));
        store_element(high, bytes, (float)(y * c - x * s));
    }
}
