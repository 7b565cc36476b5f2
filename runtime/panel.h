/* Keys of 16 slots side by side: reading them, and multiplying queries with them.
 *
 * SPDX-License-Identifier: MIT
 *
 * All results are the same bits on every processor: each slot has a lane of its own, and products
 * and sums are neither fused nor put in another order. */
#ifndef TANDEM_RUNTIME_PANEL_H
#define TANDEM_RUNTIME_PANEL_H

#include <stdint.h>

#define RT_PANEL 16 /* slots whose keys lie side by side */

/* Widens 16-bit floats, which need not be aligned, to 32 bits; exact, for all that there are. */
void rt_widen(const unsigned char *halves, uint64_t count, float *numbers);

/* products[j] = scale * sum over i of query[i] * keys[i][j], by ascending i, for the 16 slots of
 * keys f32[size][16]. */
void rt_panel_products(const float *query, const float *keys, uint32_t size, float scale,
                       float *products);

#endif
