/* Reading and moving the slots of one KV head, whatever its cache holds.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_EVICT_CACHE_H
#define TANDEM_RUNTIME_EVICT_CACHE_H

#include "runtime/abi.h"
#include "runtime/panel.h"

#include <stdbool.h>

#define RT_MOST_HEAD 512 /* the largest head size that is compiled */

/* One KV head of one layer. */
typedef struct rt_head {
    const tandem_cache_info *info;
    uint32_t slots;
    unsigned char *keys, *values;             /* [slots / 16][size][16], [slots][size] */
    unsigned char *key_scales, *value_scales; /* f16[slots]; NULL unless elements have one byte */
} rt_head;

/* Where one head of a session's caches lies; `state` and `fixed_bytes` are those of its model. */
rt_head rt_head_of(const tandem_cache_info *info, unsigned char *state, uint64_t fixed_bytes,
                   uint32_t slots, uint32_t kv_head);

/* Keys of slots 16 * panel .. 16 * panel + 15 as f32[head_size][16]. */
void rt_head_keys(const rt_head *head, uint32_t panel, float *keys);
/* The value of one slot as f32[head_size]. */
void rt_head_value(const rt_head *head, uint32_t slot, float *value);

/* Turning keys back by `steps` positions. */
typedef struct rt_rotation {
    const tandem_rotary_info *rotary;
    uint32_t steps;
    double cosine[RT_MOST_HEAD / 2], sine[RT_MOST_HEAD / 2]; /* of steps */
    double unit_cosine[RT_MOST_HEAD / 2], unit_sine[RT_MOST_HEAD / 2];
} rt_rotation;

/* A rotation by no step. */
void rt_rotation_start(const tandem_rotary_info *rotary, rt_rotation *rotation);
/* Makes it one by so many steps more. */
void rt_rotation_advance(rt_rotation *rotation, uint32_t steps);
/* Turns the key of a slot, whose elements have 2 or 4 bytes, and rounds it again. */
void rt_head_rotate(const rt_head *head, uint32_t slot, const rt_rotation *rotation);

/* Copies a slot over another. */
void rt_head_move(const rt_head *head, uint32_t from, uint32_t to);

#endif
