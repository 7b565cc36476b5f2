/* The rule that pays: how likely a node has to be kept to be drafted, from times and beliefs.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is maximised is tokens per second over rounds. By Dinkelbach's argument the best rule is the
 * one that maximises tokens - speed * seconds of a round, where `speed` is the tokens per second
 * that it reaches itself. The time of a target's pass grows with its tokens by steps, and is flat
 * at first where weights are streamed, so what one more node costs says little about whether it
 * should be drafted: likelier ones may come after it. So rules are compared as wholes. A rule is a
 * price, in tokens, that each node has to be worth: its own probability to be kept, and what its
 * descendants bring over their price and the drafter's passes. For each of a few prices dynamic
 * programming finds the tokens, nodes and seconds that are expected below a node, which depend on
 * the probability of its path only (its acceptance given its ancestors is that of any node); then,
 * for each confidence of the drafter at the root, the price is taken whose tree brings most over
 * its time. Compare Sequoia (arXiv:2402.12374), whose tree is fixed in advance and grown from mean
 * acceptances. */
#ifndef TANDEM_RUNTIME_CHOOSE_PLAN_H
#define TANDEM_RUNTIME_CHOOSE_PLAN_H

#include "runtime/belief.h"
#include "runtime/costs.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_PLAN_PRICES 8u
#define RT_PLAN_POINTS 54u            /* probabilities of a path, at which its worth is known */
#define RT_PLAN_NONE   RT_PLAN_PRICES /* no node is drafted */

/* Seconds. */
typedef struct rt_choose_times {
    double round[RT_COST_SIZES]; /* a target's pass and the rest of a round, by draft tokens */
    double level[RT_COST_SIZES]; /* a drafter's pass, by tokens */
    double catch_up;             /* a token of the text that the drafter has not seen */
} rt_choose_times;

/* All zeros: not planned yet. */
typedef struct rt_choose_plan {
    double speed; /* tokens per second; 0: not planned yet */
    double pass;  /* a node's share of a drafter's pass, in tokens */
    double worth[RT_PLAN_PRICES][RT_PLAN_POINTS]; /* tokens that descendants bring over what they
                                                     cost, by price and path */
    uint8_t price[RT_BELIEF_BINS];                /* by confidence at the root */
    double promised; /* tokens per second that are expected of rounds that ask the drafter */
    double gain;     /* tokens of such a round more than its longer time would bring at `speed` */
} rt_choose_plan;

/* Makes the best rule for a speed, when levels of a tree have about `width` nodes and there is room
 * for `most` in all. Cost: 15 microseconds. */
void rt_choose_plan_make(rt_choose_plan *plan, const rt_beliefs *beliefs,
                         const rt_choose_times *times, double speed, double width, uint32_t most);

/* What a further child brings over its price, in tokens, when its path is kept with probability
 * `path`; `last`: it will have no descendants. Minus infinity at the price of no node. */
double rt_choose_plan_child(const rt_choose_plan *plan, unsigned price, double path, bool last);

/* What the descendants of such a node bring over what they cost, the drafter's pass over it left
 * out. */
double rt_choose_plan_below(const rt_choose_plan *plan, unsigned price, double path);

#endif
