/* See sample.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/sample.h"

#include <math.h>
#include <string.h>

int32_t rt_row_id(const rt_row *row, uint32_t index)
{
    return row->ids == NULL ? (int32_t)index : row->ids[index];
}

uint32_t rt_row_below(const rt_row *row, uint32_t limit)
{
    if (row->ids == NULL)
        return row->count < limit ? row->count : limit;
    uint32_t lower = 0, upper = row->count;
    while (lower < upper) {
        uint32_t middle = lower + (upper - lower) / 2;
        if ((uint32_t)row->ids[middle] < limit)
            lower = middle + 1;
        else
            upper = middle;
    }
    return lower;
}

uint32_t rt_row_find(const rt_row *row, int32_t id)
{
    uint32_t index = rt_row_below(row, (uint32_t)id);
    return index < row->count && rt_row_id(row, index) == id ? index : row->count;
}

rt_weights rt_softmax(const rt_row *logits, double temperature, uint32_t limit, float *weights)
{
    uint32_t count = rt_row_below(logits, limit);
    const float largest = rt_largest(logits->values, count);
    rt_weights result = {{weights, logits->ids, logits->count}, 1};
    if (largest > -INFINITY)
        result.total = rt_exponentials(logits->values, count, largest, temperature, weights);
    else
        for (uint32_t i = 0; i < count; i++)
            weights[i] = i == 0;
    memset(weights + count, 0, (logits->count - count) * sizeof *weights);
    return result;
}

uint32_t rt_draw(const rt_weights *weights, double uniform)
{
    return rt_find_sum(weights->row.values, weights->row.count, uniform * weights->total);
}

void rt_remove(rt_weights *weights, uint32_t index)
{
    weights->row.values[index] = 0;
    weights->total = rt_sum(weights->row.values, weights->row.count);
}

/* --- the residual --- */

#define LANES 8u /* running sums side by side */

static double sum_block(const double *weights, uint32_t count)
{
    double lanes[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++)
            lanes[lane] += weights[i + lane];
    for (; i < count; i++)
        lanes[i % LANES] += weights[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static double sum_of(const rt_residual *residual)
{
    double sum = 0;
    for (uint32_t i = 0; i < residual->count; i += RT_BLOCK)
        sum += sum_block(residual->values + i, rt_block_length(residual->count, i));
    return sum;
}

void rt_residual_start(const rt_weights *p, double *values, rt_residual *residual)
{
    *residual = (rt_residual){values, p->row.count, p->total};
    for (uint32_t i = 0; i < p->row.count; i++)
        values[i] = (double)p->row.values[i];
}

void rt_residual_subtract(rt_residual *residual, const rt_weights *q)
{
    const rt_row *row = &q->row;
    double scale = residual->total / q->total, *values = residual->values;
    uint32_t count = rt_row_below(row, residual->count);
    if (row->ids == NULL && count == residual->count) {
        residual->total = rt_subtract(values, row->values, count, scale);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            double *value = &values[rt_row_id(row, i)];
            double rest = *value - (double)row->values[i] * scale;
            *value = rest > 0 ? rest : 0;
        }
        residual->total = sum_of(residual);
    }
    if (residual->total > 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        values[rt_row_id(row, i)] = (double)row->values[i];
    residual->total = sum_of(residual);
}

int32_t rt_residual_draw(const rt_residual *residual, double uniform)
{
    const double *values = residual->values;
    uint32_t count = residual->count, last = 0, block = 0;
    double goal = uniform * residual->total, sum = 0;
    for (uint32_t i = 0; i < count; i += RT_BLOCK) {
        double next = sum_block(values + i, rt_block_length(count, i));
        block = next > 0 ? i : block;
        if (sum + next > goal)
            break;
        sum += next;
    }
    for (uint32_t i = block; i < block + rt_block_length(count, block); i++) {
        if (!(values[i] > 0))
            continue;
        last = i;
        sum += values[i];
        if (sum > goal)
            break;
    }
    return (int32_t)last;
}
