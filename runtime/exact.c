/* See exact.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/exact.h"

#include <stdint.h>
#include <string.h>

/* ln 2 in two parts, the first with zeros at its end, so that a small integer times it is exact. */
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW  0x1.a39ef35793c76p-33

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

double rt_log(double x)
{
    /* x = 2^n m with m from sqrt(1/2) to sqrt(2), and log m = 2 artanh s with s = (m - 1) / (m +
     * 1), |s| < 0.172: the thirteenth term of its series is below 2^-64. */
    const uint64_t half_root = UINT64_C(0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    uint64_t shifted = to_bits(x) - half_root;
    int64_t n = (int64_t)shifted >> 52;
    double m = from_bits(to_bits(x) - ((uint64_t)n << 52));
    double s = (m - 1) / (m + 1), square = s * s, sum = 0;
    for (int odd = 25; odd >= 3; odd -= 2)
        sum = (sum + 1.0 / odd) * square;
    return (double)n * LN2_HIGH + (2 * s + (2 * s * sum + (double)n * LN2_LOW));
}
