/* Whether counts follow a law: chi-square statistics as standard normal quantities.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_RUNTIME_CHI_SQUARE_H
#define TANDEM_TESTS_RUNTIME_CHI_SQUARE_H

#include <math.h>
#include <stdint.h>

/* The standard normal quantile at 1 - 1e-4: what a test may exceed once in ten thousand. */
#define CHI_SQUARE_LIMIT 3.72

/* The chi-square statistic of counts against probabilities, as a standard normal quantity (Wilson
 * and Hilferty). Cells expected fewer than 5 times are taken together. Infinite when something was
 * seen that cannot be. */
static inline double chi_square(const uint32_t *seen, const double *law, uint32_t cells)
{
    double statistic = 0, rest = 0, all = 0;
    uint32_t rest_seen = 0, used = 0;
    for (uint32_t i = 0; i < cells; i++)
        all += seen[i];
    for (uint32_t i = 0; i < cells; i++) {
        double expected = law[i] * all;
        if (law[i] == 0 && seen[i] > 0)
            return INFINITY;
        if (expected < 5) {
            rest += expected;
            rest_seen += seen[i];
            continue;
        }
        statistic += (seen[i] - expected) * (seen[i] - expected) / expected;
        used++;
    }
    if (rest > 1) {
        statistic += (rest_seen - rest) * (rest_seen - rest) / rest;
        used++;
    }
    if (used < 2)
        return 0;
    double freedom = used - 1, spread = 2 / (9 * freedom);
    return (cbrt(statistic / freedom) - (1 - spread)) / sqrt(spread);
}

#endif
