/* See panel.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/panel.h"

#include <string.h>

/* The loops for one width of registers; see panel_loops.h. */
typedef struct panel_loops {
    void (*widen)(const unsigned char *halves, uint64_t count, float *numbers);
    void (*multiply)(const float *query, const float *keys, uint32_t size, float scale,
                     float *products);
} panel_loops;

#define RT_LOOPS "runtime/panel_loops.h"
#include "runtime/each_width.h"

void rt_widen(const unsigned char *halves, uint64_t count, float *numbers)
{
    RT_WIDEST(loops)->widen(halves, count, numbers);
}

void rt_panel_products(const float *query, const float *keys, uint32_t size, float scale,
                       float *products)
{
    RT_WIDEST(loops)->multiply(query, keys, size, scale, products);
}
