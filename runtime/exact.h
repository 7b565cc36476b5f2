/* exp and log from + - * / and comparisons alone, so that every processor computes the same bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_EXACT_H
#define TANDEM_RUNTIME_EXACT_H

/* exp(x) for x <= 0, within 2 ulp; 0 below -708. */
double rt_exp(double x);

/* Natural logarithm of a positive normal number, within 2 ulp. */
double rt_log(double x);

#endif
