/* The loops of panel.c for one width of registers; see each_width.h.
 *
 * SPDX-License-Identifier: MIT */

TARGET static void LOOP(widen)(const unsigned char *restrict halves, uint64_t count,
                               float *restrict numbers)
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

typedef float LOOP(slots) __attribute__((vector_size(REGISTER_BYTES)));

#define LANES   (REGISTER_BYTES / sizeof(float)) /* slots of a register */
#define VECTORS (RT_PANEL / LANES)

TARGET static void LOOP(multiply)(const float *query, const float *keys, uint32_t size, float scale,
                                  float *products)
{
    LOOP(slots) sums[VECTORS];
    memset(sums, 0, sizeof sums);
    for (uint32_t i = 0; i < size; i++, keys += RT_PANEL)
        for (unsigned k = 0; k < VECTORS; k++) {
            LOOP(slots) row;
            memcpy(&row, keys + k * LANES, sizeof row);
            sums[k] += row * query[i];
        }
    for (unsigned k = 0; k < VECTORS; k++)
        sums[k] *= scale;
    memcpy(products, sums, sizeof sums);
}

static const panel_loops LOOP(loops) = {LOOP(widen), LOOP(multiply)};

#undef LANES
#undef VECTORS
