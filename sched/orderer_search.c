/* local, exact and auto: strategies of the portfolio.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/portfolio.h"

#define USUAL_LAST_WIDTH (1u << 20)

/* Narrow searches only; fast, no proof beyond what the bounds say or a narrow search completes. */
td_status sched_order_local(const sched_problem *problem, const sched_options *options,
                            sched_report *report, uint32_t *order)
{
    const sched_strategy strategy = {.first_width = 8, .last_width = 32};
    return sched_portfolio_run(problem, &strategy, options, report, order);
}

/* Wide searches at once: what can be proved is proved soonest. */
td_status sched_order_exact(const sched_problem *problem, const sched_options *options,
                            sched_report *report, uint32_t *order)
{
    const sched_strategy strategy = {.first_width = 4096, .last_width = USUAL_LAST_WIDTH};
    return sched_portfolio_run(problem, &strategy, options, report, order);
}

td_status sched_order_auto(const sched_problem *problem, const sched_options *options,
                           sched_report *report, uint32_t *order)
{
    const sched_strategy strategy = {
        .with_beams = true, .first_width = 8, .last_width = USUAL_LAST_WIDTH};
    return sched_portfolio_run(problem, &strategy, options, report, order);
}
