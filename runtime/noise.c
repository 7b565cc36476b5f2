/* See noise.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/noise.h"

#include "runtime/exact.h"

#include <stddef.h>

/* The finaliser of splitmix64: a bijection whose output bits each depend on all input bits. */
static uint64_t mix(uint64_t bits)
{
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

double rt_uniform(const rt_dice *dice, uint32_t level, rt_purpose purpose, uint32_t index)
{
    const uint64_t fields[] = {dice->seed, dice->session, dice->round,
                               (uint64_t)level << 32 | index, (uint64_t)purpose};
    uint64_t state = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        state = mix((state ^ fields[i]) + UINT64_C(0x9e3779b97f4a7c15) * (i + 1));
    uint64_t bits = mix(state) >> 11;
    return bits == 0 ? 0x1p-54 : (double)bits * 0x1p-53;
}

double rt_exponential(const rt_dice *dice, uint32_t level, rt_purpose purpose, uint32_t index)
{
    return -rt_log(rt_uniform(dice, level, purpose, index));
}
