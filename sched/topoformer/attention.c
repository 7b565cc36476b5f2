/* Attention inside a view, eight units at a time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/attention.h"

#include "sched/topoformer/lanes.h"

#include <string.h>

#define LOG2_E    1.44269504f
#define LN_2      0.69314718f
#define ROOT_HEAD 2.82842712f /* sqrt(TOPO_HEAD) */
#define CUT       28.85f      /* 20 / ln 2 */
#define ROUNDER   12582912.0f /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* 2^s; |s| < 126; relative error 3e-6. */
ALWAYS_INLINE void power_of_two(topo_lanes *s)
{
    const topo_lanes shifted = *s + ROUNDER, rest = *s - (shifted - ROUNDER);
    const topo_lanes fraction =
        1.0f + rest * (0.69314718f +
                       rest * (0.24022651f +
                               rest * (0.05550411f + rest * (0.00961813f + rest * 0.00133336f))));
    *s = (topo_lanes)((topo_bits)fraction + ((topo_bits)shifted << 23));
}

/* Exponentials of one query against a block of eight keys, 0 outside the mask. `inside` tells which
 * lanes were not cut. */
ALWAYS_INLINE void weigh_block(const float *query, const float *keys, unsigned mask,
                               topo_lanes *weights, topo_bits *inside)
{
    const topo_bits bit = {1, 2, 4, 8, 16, 32, 64, 128};
    const topo_lanes most = {CUT, CUT, CUT, CUT, CUT, CUT, CUT, CUT};
    topo_lanes s = query[0] * *(const topo_lanes *)keys;
    for (int d = 1; d < TOPO_HEAD; d++)
        s += query[d] * *(const topo_lanes *)(keys + d * TOPO_LANES);
    const topo_bits above = s > most, below = s < -most;
    s = (topo_lanes)(((topo_bits)s & ~above & ~below) | ((topo_bits)most & above) |
                     ((topo_bits)-most & below));
    power_of_two(&s);
    *inside = ~(above | below);
    *weights = (topo_lanes)((topo_bits)s & ((bit & (int32_t)mask) == bit));
}

/* What lies at `column` of all units, by blocks: [block][dimension][lane]. */
static void to_blocks(const topo_attention *self, uint32_t column, float *blocks)
{
    const uint32_t count = self->views->count;
    memset(blocks, 0, topo_blocked(count) * sizeof *blocks);
    for (uint32_t i = 0; i < count; i++)
        for (int d = 0; d < TOPO_HEAD; d++)
            blocks[(i / TOPO_LANES * TOPO_HEAD + d) * TOPO_LANES + i % TOPO_LANES] =
                self->qkv[(size_t)i * 3 * TOPO_HEADS + column + d];
}

static void add_blocks(const float *blocks, uint32_t count, uint32_t column, float *d_qkv)
{
    for (uint32_t i = 0; i < count; i++)
        for (int d = 0; d < TOPO_HEAD; d++)
            d_qkv[(size_t)i * 3 * TOPO_HEADS + column + d] +=
                blocks[(i / TOPO_LANES * TOPO_HEAD + d) * TOPO_LANES + i % TOPO_LANES];
}

ALWAYS_INLINE void load_query(const topo_attention *self, uint32_t unit, float *query)
{
    const float *from =
        self->qkv + (size_t)unit * 3 * TOPO_HEADS + (uint32_t)self->view * TOPO_HEAD;
    for (int d = 0; d < TOPO_HEAD; d++)
        query[d] = from[d] * (LOG2_E / ROOT_HEAD);
}

TOPO_WIDE static void attend_row(const topo_attention *self, uint32_t unit)
{
    const uint64_t *row = self->views->rows[self->view] + unit * self->views->words;
    float query[TOPO_HEAD];
    topo_lanes sum = {0}, total[TOPO_HEAD] = {{0}};
    load_query(self, unit, query);
    for (size_t w = 0; w < self->views->words; w++) {
        size_t at = w * 64 * TOPO_HEAD;
        for (uint64_t bits = row[w]; bits != 0; bits >>= 8, at += TOPO_LANES * TOPO_HEAD) {
            if ((bits & 255) == 0)
                continue;
            topo_lanes weights;
            topo_bits inside;
            weigh_block(query, self->keys + at, bits & 255, &weights, &inside);
            sum += weights;
            for (int d = 0; d < TOPO_HEAD; d++)
                total[d] += weights * *(const topo_lanes *)(self->values + at + d * TOPO_LANES);
        }
    }
    const float all = topo_sum(&sum), scale = all > 0 ? 1 / all : 0;
    float *out = self->out + (size_t)unit * TOPO_HEADS + (uint32_t)self->view * TOPO_HEAD;
    self->sums[unit] = all;
    for (int d = 0; d < TOPO_HEAD; d++)
        out[d] = scale * topo_sum(&total[d]);
}

void topo_attend(const topo_attention *self)
{
    const uint32_t column = (uint32_t)self->view * TOPO_HEAD;
    to_blocks(self, TOPO_HEADS + column, self->keys);
    to_blocks(self, 2 * TOPO_HEADS + column, self->values);
    for (uint32_t unit = 0; unit < self->views->count; unit++)
        attend_row(self, unit);
}

TOPO_WIDE static void attend_row_back(const topo_attention *self, uint32_t unit, const float *d_out,
                                      float *d_query, float *d_keys, float *d_values)
{
    const uint64_t *row = self->views->rows[self->view] + unit * self->views->words;
    const float *out = self->out + (size_t)unit * TOPO_HEADS + (uint32_t)self->view * TOPO_HEAD;
    float query[TOPO_HEAD], along = 0;
    topo_lanes total[TOPO_HEAD] = {{0}};
    if (!(self->sums[unit] > 0))
        return;
    const float scale = 1 / self->sums[unit];
    load_query(self, unit, query);
    for (int d = 0; d < TOPO_HEAD; d++)
        along += d_out[d] * out[d];
    for (size_t w = 0; w < self->views->words; w++) {
        size_t at = w * 64 * TOPO_HEAD;
        for (uint64_t bits = row[w]; bits != 0; bits >>= 8, at += TOPO_LANES * TOPO_HEAD) {
            if ((bits & 255) == 0)
                continue;
            topo_lanes share, slope = {0};
            topo_bits inside;
            weigh_block(query, self->keys + at, bits & 255, &share, &inside);
            share *= scale;
            for (int d = 0; d < TOPO_HEAD; d++)
                slope += d_out[d] * *(const topo_lanes *)(self->values + at + d * TOPO_LANES);
            slope = (topo_lanes)((topo_bits)(share * (slope - along)) & inside);
            for (int d = 0; d < TOPO_HEAD; d++) {
                total[d] += slope * *(const topo_lanes *)(self->keys + at + d * TOPO_LANES);
                *(topo_lanes *)(d_keys + at + d * TOPO_LANES) += slope * (query[d] * LN_2);
                *(topo_lanes *)(d_values + at + d * TOPO_LANES) += share * d_out[d];
            }
        }
    }
    for (int d = 0; d < TOPO_HEAD; d++)
        d_query[d] += topo_sum(&total[d]) * (1 / ROOT_HEAD);
}

void topo_attend_back(const topo_attention *self, const float *d_out, float *d_qkv, float *d_keys,
                      float *d_values)
{
    const uint32_t count = self->views->count, column = (uint32_t)self->view * TOPO_HEAD;
    to_blocks(self, TOPO_HEADS + column, self->keys);
    to_blocks(self, 2 * TOPO_HEADS + column, self->values);
    memset(d_keys, 0, topo_blocked(count) * sizeof *d_keys);
    memset(d_values, 0, topo_blocked(count) * sizeof *d_values);
    for (uint32_t unit = 0; unit < count; unit++)
        attend_row_back(self, unit, d_out + (size_t)unit * TOPO_HEADS + column,
                        d_qkv + (size_t)unit * 3 * TOPO_HEADS + column, d_keys, d_values);
    add_blocks(d_keys, count, TOPO_HEADS + column, d_qkv);
    add_blocks(d_values, count, 2 * TOPO_HEADS + column, d_qkv);
}
