/* See choose_plan.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/choose_plan.h"

#include <math.h>
#include <string.h>

#define RATIO     0.93 /* of the paths at neighbouring points: point i is RATIO^i */
#define LOG_RATIO (-0.07257069283483537)
#define GROUPS    3u /* of bins, which share their rates below the root */

static const double prices[RT_PLAN_PRICES] = {0.02, 0.05, 0.1, 0.16, 0.23, 0.32, 0.44, 0.6};

/* What is expected of a part of a tree. Seconds are those of the drafter's passes. */
typedef struct outlook {
    double tokens, nodes, seconds;
} outlook;

/* Where a probability lies: behind point `point`, by a part of what is between it and the next. */
typedef struct place {
    uint32_t point;
    double part;
} place;

static place place_of(double path)
{
    if (!(path < 1))
        return (place){0, 0};
    const double at = path > 0 ? log(path) / LOG_RATIO : RT_PLAN_POINTS;
    if (at >= RT_PLAN_POINTS)
        return (place){RT_PLAN_POINTS, 0};
    const uint32_t point = (uint32_t)at;
    return (place){point, fmin((1 - path * exp(-LOG_RATIO * point)) / (1 - RATIO), 1)};
}

/* The children of a node: the k-th one's path is factor[k] times the node's, and so many points
 * further on. */
typedef struct family {
    double factor[RT_BELIEF_CHILDREN];
    place place[RT_BELIEF_CHILDREN];
    double frequency;
} family;

/* A rule that is being worked out. */
typedef struct rule {
    family groups[GROUPS];
    double speed, price;
    double pass; /* seconds: a node's share of a drafter's pass */
    outlook
        below[RT_PLAN_POINTS + 2]; /* nodes at each point; at the last two nothing is expected */
} rule;

static void add(outlook *sum, const outlook *more, double weight)
{
    sum->tokens += weight * more->tokens;
    sum->nodes += weight * more->nodes;
    sum->seconds += weight * more->seconds;
}

/* What comes after a node and its drafter's pass, if that is worth anything. */
static void add_descendants(const rule *self, uint32_t point, double part, outlook *gain)
{
    if (point >= RT_PLAN_POINTS)
        return;
    outlook more = {.seconds = self->pass};
    add(&more, &self->below[point], 1 - part);
    add(&more, &self->below[point + 1], part);
    if (more.tokens > self->price * more.nodes + self->speed * more.seconds)
        add(gain, &more, 1);
}

/* What is expected below a node at a point: children are taken as long as one is worth its price.
 */
static outlook look_below(const rule *self, const family *children, uint32_t point, double path)
{
    outlook sum = {0};
    for (unsigned order = 0; order < RT_BELIEF_CHILDREN; order++) {
        const place *at = &children->place[order];
        outlook gain = {path * children->factor[order], 1, 0};
        add_descendants(self, point + at->point, at->part, &gain);
        if (!(gain.tokens > self->price * gain.nodes + self->speed * gain.seconds))
            break;
        add(&sum, &gain, 1);
    }
    return sum;
}

/* Children whose k-th one is kept with rates[k] when its parent is and no elder one was. */
static void make_family(family *self, const double rates[RT_BELIEF_CHILDREN], double most)
{
    double left = 1;
    for (unsigned order = 0; order < RT_BELIEF_CHILDREN; order++) {
        self->factor[order] = left * fmin(rates[order], most);
        self->place[order] = place_of(self->factor[order]);
        left -= self->factor[order];
    }
}

/* Bins of about the same confidence are taken together. No child is taken to be at its parent's own
 * point, since what is below that is not known yet. */
static void make_groups(rule *self, const rt_beliefs *beliefs)
{
    double frequencies[RT_BELIEF_BINS];
    rt_belief_frequencies(beliefs, false, frequencies);
    for (unsigned group = 0; group < GROUPS; group++) {
        double all = 0, rates[RT_BELIEF_CHILDREN] = {0};
        for (unsigned bin = group; bin < RT_BELIEF_BINS; bin++)
            all += bin * GROUPS / RT_BELIEF_BINS == group ? frequencies[bin] : 0;
        for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++)
            for (unsigned order = 0;
                 bin * GROUPS / RT_BELIEF_BINS == group && order < RT_BELIEF_CHILDREN && all > 0;
                 order++)
                rates[order] += frequencies[bin] / all * rt_belief_rate(beliefs, bin, order);
        make_family(&self->groups[group], rates, RATIO);
        self->groups[group].frequency = all;
    }
}

/* A child's path is less likely than its parent's, so one sweep from unlikely paths to likely ones
 * finds what all of them are worth. */
static void sweep(rule *self)
{
    double path = exp(LOG_RATIO * (RT_PLAN_POINTS - 1));
    memset(self->below, 0, sizeof self->below);
    for (uint32_t point = RT_PLAN_POINTS; point-- > 0; path /= RATIO) {
        if (path <= self->price) /* no child is worth it */
            continue;
        outlook mean = {0};
        for (unsigned group = 0; group < GROUPS; group++) {
            const outlook below = look_below(self, &self->groups[group], point, path);
            add(&mean, &below, self->groups[group].frequency);
        }
        self->below[point] = mean;
    }
}

/* Seconds of a round, for a number of nodes that need not be whole. */
static double round_seconds(const rt_choose_times *times, double nodes)
{
    const uint32_t last = RT_COST_SIZES - 2, below = nodes < last ? (uint32_t)nodes : last - 1;
    return times->round[below] + (times->round[below + 1] - times->round[below]) * (nodes - below);
}

/* The best that is known for a confidence at the root. */
typedef struct choice {
    double value, tokens, seconds; /* seconds more than those of a plain round */
    unsigned price;
} choice;

/* A tree for which there is no room ends early: at nodes that are about as good as those before. */
static outlook cut(outlook tree, uint32_t most)
{
    const double part = tree.nodes > most ? most / tree.nodes : 1;
    return (outlook){tree.tokens * part, tree.nodes * part, tree.seconds * part};
}

/* Takes the trees of a rule into account, which the drafter's confidence at the root grows into. */
static void compare_rule(const rule *self, const family roots[RT_BELIEF_BINS],
                         const rt_choose_times *times, unsigned price, uint32_t most,
                         choice choices[RT_BELIEF_BINS])
{
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        const outlook tree = cut(look_below(self, &roots[bin], 0, 1), most);
        const double seconds = tree.seconds + round_seconds(times, tree.nodes) - times->round[0];
        const double value = tree.tokens - self->speed * seconds;
        if (value > choices[bin].value)
            choices[bin] = (choice){value, tree.tokens, seconds, price};
    }
}

/* What rounds bring that ask the drafter. */
static void promise(rt_choose_plan *plan, const choice choices[RT_BELIEF_BINS],
                    const double frequencies[RT_BELIEF_BINS], const rt_choose_times *times)
{
    double tokens = 0, seconds = 0;
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        tokens += frequencies[bin] * choices[bin].tokens;
        seconds += frequencies[bin] * choices[bin].seconds;
        plan->price[bin] = (uint8_t)choices[bin].price;
    }
    seconds += times->level[1];
    plan->promised = (1 + tokens) / (times->round[0] + seconds);
    plan->gain = tokens - plan->speed * seconds;
}

static void make_roots(family roots[RT_BELIEF_BINS], const rt_beliefs *beliefs)
{
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        double rates[RT_BELIEF_CHILDREN];
        for (unsigned order = 0; order < RT_BELIEF_CHILDREN; order++)
            rates[order] = rt_belief_rate(beliefs, bin, order);
        make_family(&roots[bin], rates, RT_BELIEF_MOST);
    }
}

void rt_choose_plan_make(rt_choose_plan *plan, const rt_beliefs *beliefs,
                         const rt_choose_times *times, double speed, double width, uint32_t most)
{
    const uint32_t nodes = (uint32_t)fmin(fmax(width, 1), RT_COST_SIZES - 1);
    rule self = {.speed = speed, .pass = times->level[nodes] / nodes};
    family roots[RT_BELIEF_BINS];
    double frequencies[RT_BELIEF_BINS];
    choice choices[RT_BELIEF_BINS];
    make_groups(&self, beliefs);
    make_roots(roots, beliefs);
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++)
        choices[bin] = (choice){.price = RT_PLAN_NONE};
    plan->speed = speed;
    plan->pass = speed * self.pass;
    for (unsigned price = 0; price < RT_PLAN_PRICES; price++) {
        self.price = prices[price];
        sweep(&self);
        for (unsigned i = 0; i < RT_PLAN_POINTS; i++)
            plan->worth[price][i] = self.below[i].tokens - self.price * self.below[i].nodes -
                                    speed * self.below[i].seconds;
        compare_rule(&self, roots, times, price, most, choices);
    }
    rt_belief_frequencies(beliefs, true, frequencies);
    promise(plan, choices, frequencies, times);
}

double rt_choose_plan_below(const rt_choose_plan *plan, unsigned price, double path)
{
    const place at = place_of(path);
    if (at.point >= RT_PLAN_POINTS)
        return 0;
    const double *worth = plan->worth[price];
    const double next = at.point + 1 < RT_PLAN_POINTS ? worth[at.point + 1] : 0;
    return worth[at.point] + (next - worth[at.point]) * at.part;
}

double rt_choose_plan_child(const rt_choose_plan *plan, unsigned price, double path, bool last)
{
    if (price == RT_PLAN_NONE)
        return -INFINITY;
    const double below = last ? 0 : rt_choose_plan_below(plan, price, path) - plan->pass;
    return path - prices[price] + fmax(below, 0);
}
