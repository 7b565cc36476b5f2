/* log from + - * / and comparisons alone, so that every processor computes the same bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_EXACT_H
#define TANDEM_RUNTIME_EXACT_H

/* Natural logarithm of a positive normal number, within 2 ulp. */
double rt_log(double x);

#endif
