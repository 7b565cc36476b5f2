/* The portfolio behind local, exact and auto.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_PORTFOLIO_H
#define TANDEM_SCHED_PORTFOLIO_H

#include "sched/orderers.h"

/* What runs after the quick orders. */
typedef struct sched_strategy {
    bool with_beams;                  /* both beams of the usual width over the whole first */
    uint32_t first_width, last_width; /* of the searches in stretches and of the whole */
} sched_strategy;

/* Orders a problem within the limits of the options. report->lower_bound is a bound that holds for
 * every order, equal to the peak when a search has proved that nothing is below. */
td_status sched_portfolio_run(const sched_problem *problem, const sched_strategy *strategy,
                              const sched_options *options, sched_report *report, uint32_t *order);

#endif
