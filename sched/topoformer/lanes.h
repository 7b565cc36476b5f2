/* Eight floats at a time, on whatever registers the machine has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_LANES_H
#define TANDEM_SCHED_TOPOFORMER_LANES_H

#include <stdint.h>

#define TOPO_LANES 8

/* Aligned as floats are, and may lie over arrays of them. */
typedef float topo_lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t topo_bits __attribute__((vector_size(32), aligned(4), may_alias));

static inline float topo_sum(const topo_lanes *x)
{
    float sum = 0;
    for (int lane = 0; lane < TOPO_LANES; lane++)
        sum += (*x)[lane];
    return sum;
}

/* On x86-64 a second version for 256-bit registers is made, and chosen when the program starts.
 * Sums have the same eight lanes in both, and there is no fused arithmetic: equal bits. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__SANITIZE_THREAD__)
#define TOPO_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define TOPO_WIDE
#endif

#endif
