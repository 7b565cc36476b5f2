/* See panel.h. Each loop is compiled for several widths of registers from the same text.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/panel.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef __clang__
#define AVX512 "avx512f,avx512bw"
#else
#define AVX512 "avx512f,avx512bw,prefer-vector-width=512"
#endif

/* --- widening --- */

INLINE void widen(const unsigned char *restrict halves, uint64_t count, float *restrict numbers)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, halves + i * sizeof half, sizeof half);
        const uint32_t shifted = (half & UINT32_C(0x7fff)) << 13;
        float number;
        memcpy(&number, &shifted, sizeof number);
        number *= 0x1p112f; /* between the two biases */
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        bits |= shifted > UINT32_C(0x7bff) << 13 ? UINT32_C(0x7f800000) : 0; /* infinite, NaN */
        bits |= (half & UINT32_C(0x8000)) << 16;
        memcpy(numbers + i, &bits, sizeof bits);
    }
}

/* --- products --- */

typedef float quad __attribute__((vector_size(16)));

/* The products of one query, in RT_PANEL / LANES vectors. */
#define MULTIPLY(vector)                                                                           \
    enum { LANES = sizeof(vector) / sizeof(float), VECTORS = RT_PANEL / LANES };                   \
    vector sums[VECTORS] = {{0}};                                                                  \
    for (uint32_t i = 0; i < size; i++, keys += RT_PANEL)                                          \
        for (int k = 0; k < VECTORS; k++) {                                                        \
            vector row;                                                                            \
            memcpy(&row, keys + k * LANES, sizeof row);                                            \
            sums[k] += row * query[i];                                                             \
        }                                                                                          \
    for (int k = 0; k < VECTORS; k++)                                                              \
        sums[k] *= scale;                                                                          \
    memcpy(products, sums, sizeof sums)

static void widen_quads(const unsigned char *halves, uint64_t count, float *numbers)
{
    widen(halves, count, numbers);
}

static void multiply_quads(const float *query, const float *keys, uint32_t size, float scale,
                           float *products)
{
    MULTIPLY(quad);
}

#if defined(__x86_64__)
typedef float octet __attribute__((vector_size(32)));
typedef float panel __attribute__((vector_size(64)));

__attribute__((target("avx2"))) static void widen_avx2(const unsigned char *halves, uint64_t count,
                                                       float *numbers)
{
    widen(halves, count, numbers);
}

__attribute__((target(AVX512))) static void widen_avx512(const unsigned char *halves,
                                                         uint64_t count, float *numbers)
{
    widen(halves, count, numbers);
}

__attribute__((target("avx2"))) static void
multiply_avx2(const float *query, const float *keys, uint32_t size, float scale, float *products)
{
    MULTIPLY(octet);
}

__attribute__((target(AVX512))) static void
multiply_avx512(const float *query, const float *keys, uint32_t size, float scale, float *products)
{
    MULTIPLY(panel);
}
#endif

/* --- the widest that this processor has --- */

void rt_widen(const unsigned char *halves, uint64_t count, float *numbers)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw"))
        widen_avx512(halves, count, numbers);
    else if (__builtin_cpu_supports("avx2"))
        widen_avx2(halves, count, numbers);
    else
#endif
        widen_quads(halves, count, numbers);
}

void rt_panel_products(const float *query, const float *keys, uint32_t size, float scale,
                       float *products)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw"))
        multiply_avx512(query, keys, size, scale, products);
    else if (__builtin_cpu_supports("avx2"))
        multiply_avx2(query, keys, size, scale, products);
    else
#endif
        multiply_quads(query, keys, size, scale, products);
}
