/* See choose.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/choose.h"

#include <math.h>
#include <string.h>

#define BIN_KEPT     0.99  /* of a bin's counts, at each further count */
#define SEEN_KEPT    0.995 /* of how often bins come up */
#define RATE_MOST    0.97  /* that anything is kept; a node's worth stays finite */
#define BIN_WEIGHT   4.0   /* counts that a bin's prior rate is worth */
#define ALL_WEIGHT   1.5   /* tokens that the prior's common level is worth */
#define LATER_PRIOR  0.7   /* rate of a later child over that of the first */
#define LATER_WEIGHT 2.0

#define ALLOWANCE     4.0  /* loss, in tokens' time, beyond which nothing is drafted */
#define FORGIVEN      0.01 /* of the time of each token emitted, off the loss */
#define LOOK_ROUNDS   3u
#define FIRST_PAUSE   32u /* rounds */
#define LONGEST_PAUSE 1024u
#define CATCH_UP      8u  /* tokens that the first token may wait for */
#define PLAN_EVERY    16u /* rounds, after as many at each of which there was a plan */

#define POINTS (RT_CHOOSE_POINTS - 1)

/* Upper ends of the bins of confidence, and the rates that are assumed at first. */
typedef struct confidence_scale {
    double ends[RT_CHOOSE_BINS - 2];
    double rates[RT_CHOOSE_BINS];
} confidence_scale;

static const confidence_scale greedy_scale = {{0.25, 0.5, 0.75, 1.1, 1.6, 2.4, 4.0},
                                              {0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.55}};
static const confidence_scale sampled_scale = {{0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9},
                                               {0.5, 0.52, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 0.6}};

static const confidence_scale *scale_of(bool greedy)
{
    return greedy ? &greedy_scale : &sampled_scale;
}

static unsigned bin_of(bool greedy, double confidence)
{
    if (isnan(confidence))
        return RT_CHOOSE_BINS - 1;
    const double *ends = scale_of(greedy)->ends;
    unsigned bin = 0;
    while (bin < RT_CHOOSE_BINS - 2 && confidence >= ends[bin])
        bin++;
    return bin;
}

static unsigned regime_of(double temperature)
{
    return temperature == 0 ? 0 : temperature <= 0.5 ? 1 : temperature <= 0.85 ? 2 : 3;
}

void rt_choose_clear(rt_chooser *chooser, uint64_t target_bytes, uint64_t drafter_bytes)
{
    memset(chooser, 0, sizeof *chooser);
    rt_costs_clear(&chooser->costs, target_bytes, drafter_bytes);
}

/* --- what is believed --- */

/* The prior rates times a common level, which a few rounds settle, and then each bin's own counts.
 */
static void estimate_rates(rt_regime *regime, bool greedy)
{
    const double *priors = scale_of(greedy)->rates;
    double kept = ALL_WEIGHT, expected = ALL_WEIGHT;
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        kept += regime->kept[bin];
        expected += regime->tried[bin] * priors[bin];
    }
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        const double prior = fmin(priors[bin] * kept / expected, RATE_MOST);
        const double rate =
            (regime->kept[bin] + BIN_WEIGHT * prior) / (regime->tried[bin] + BIN_WEIGHT);
        regime->rates[bin] = fmin(rate, RATE_MOST);
    }
    regime->proportions[0] = 1;
    for (unsigned order = 1; order < RT_CHOOSE_CHILDREN; order++)
        regime->proportions[order] = (regime->later[order] + LATER_WEIGHT * LATER_PRIOR) /
                                     (regime->expected[order] + LATER_WEIGHT);
}

/* Probability that a child is kept when its parent was and its elder siblings were not. */
static double rate_of(const rt_regime *regime, unsigned bin, unsigned order)
{
    return fmin(regime->rates[bin] * regime->proportions[order], RATE_MOST);
}

/* --- what pays --- */

static double interpolate(const double *points, double path)
{
    const double place = path * POINTS;
    const uint32_t below = place < POINTS ? (uint32_t)place : POINTS - 1;
    return points[below] + (points[below + 1] - points[below]) * (place - below);
}

/* Seconds of what a plan weighs. */
typedef struct price_list {
    double node;    /* one more node in the target's pass */
    double pass;    /* a drafter's pass of one node */
    double sibling; /* one more node in a drafter's pass */
} price_list;

/* Tokens that are expected from below a node, and the seconds that go into them. */
typedef struct outlook {
    double tokens, seconds;
} outlook;

/* The outlook behind a node whose path is kept with probability `path`, before the drafter's
 * distribution there is known: children are taken as long as one is worth its price. `points` holds
 * the outlook for the paths i / 16. */
static outlook look_below(const rt_regime *regime, const double *seen, const price_list *prices,
                          const double tokens[], const double seconds[], double path)
{
    outlook sum = {0, 0};
    double all = 0;
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        if (!(seen[bin] > 0))
            continue;
        all += seen[bin];
        double left = path; /* the node is kept and so far no child of it is */
        for (unsigned order = 0; order < RT_CHOOSE_CHILDREN; order++) {
            const double child = left * rate_of(regime, bin, order);
            outlook gain = {child, prices->node};
            const double pass = order == 0 ? prices->pass : prices->sibling;
            const double more = interpolate(tokens, child);
            const double longer = interpolate(seconds, child) + pass;
            if (more > regime->speed * longer) {
                gain.tokens += more;
                gain.seconds += longer;
            }
            if (!(gain.tokens > regime->speed * gain.seconds))
                break;
            sum.tokens += seen[bin] * gain.tokens;
            sum.seconds += seen[bin] * gain.seconds;
            left -= child;
        }
    }
    return all > 0 ? (outlook){sum.tokens / all, sum.seconds / all} : sum;
}

/* How often each bin comes up; where little has been seen, all alike. */
static void frequencies(const double *seen, double *result)
{
    for (unsigned bin = 0; bin + 1 < RT_CHOOSE_BINS; bin++)
        result[bin] = seen[bin] + 0.25;
    result[RT_CHOOSE_BINS - 1] = seen[RT_CHOOSE_BINS - 1];
}

/* One step of Dinkelbach's iteration: the best rule for the present speed, and the speed that it
 * brings. A child's path is less likely than its parent's, so one sweep from unlikely paths to
 * likely ones finds their worth; the second one mends what the first one interpolated. */
static void plan_once(rt_regime *regime, const double *round_seconds, const double *level_seconds)
{
    double seen[2][RT_CHOOSE_BINS], tokens[RT_CHOOSE_POINTS] = {0}, seconds[RT_CHOOSE_POINTS] = {0};
    for (unsigned i = 0; i < 2; i++)
        frequencies(regime->seen[i], seen[i]);
    price_list prices = {
        .node = fmax((round_seconds[5] - round_seconds[1]) / 4, 0),
        .pass = level_seconds[1],
        .sibling = fmax(level_seconds[2] - level_seconds[1], 0),
    };
    for (unsigned sweep = 0; sweep < 2; sweep++)
        for (unsigned i = 1; i < RT_CHOOSE_POINTS; i++) {
            const outlook below =
                look_below(regime, seen[1], &prices, tokens, seconds, (double)i / POINTS);
            tokens[i] = below.tokens;
            seconds[i] = below.seconds;
        }
    for (unsigned i = 0; i < RT_CHOOSE_POINTS; i++)
        regime->worth[i] = tokens[i] - regime->speed * seconds[i];
    prices.node = fmax(round_seconds[1] - round_seconds[0], 0);
    const outlook root = look_below(regime, seen[0], &prices, tokens, seconds, 1);
    const double drafted = root.seconds + prices.pass;
    regime->pays = root.tokens > regime->speed * drafted;
    if (regime->pays)
        regime->speed = (1 + root.tokens) / (round_seconds[0] + drafted);
    else
        regime->speed = 1 / round_seconds[0];
}

static void plan(rt_chooser *chooser)
{
    rt_regime *regime = chooser->regime;
    double target[RT_COST_SIZES], rest[RT_COST_SIZES];
    rt_costs_table(&chooser->costs, RT_COST_TARGET, target);
    rt_costs_table(&chooser->costs, RT_COST_DRAFTER, chooser->level_seconds);
    rt_costs_table(&chooser->costs, chooser->greedy ? RT_COST_GREEDY : RT_COST_SAMPLED, rest);
    for (uint32_t nodes = 0; nodes + 1 < RT_COST_SIZES; nodes++)
        chooser->round_seconds[nodes] = target[nodes + 1] + rest[nodes];
    chooser->round_seconds[RT_COST_SIZES - 1] = INFINITY;
    estimate_rates(regime, chooser->greedy);
    const double plain = 1 / chooser->round_seconds[0];
    if (!(regime->speed >= plain))
        regime->speed = plain;
    plan_once(regime, chooser->round_seconds, chooser->level_seconds);
    if (!regime->pays) /* at a speed that may have been another table's */
        plan_once(regime, chooser->round_seconds, chooser->level_seconds);
    regime->planned = regime->rounds;
}

/* Whether beliefs may have changed since the last plan; in the beginning they do in each round. */
static bool plan_is_due(const rt_regime *regime)
{
    const uint32_t since = regime->rounds - regime->planned;
    return regime->speed == 0 || since >= PLAN_EVERY || (since > 0 && regime->rounds <= PLAN_EVERY);
}

/* --- a round --- */

static double catch_up_seconds(const rt_chooser *chooser, uint32_t behind)
{
    const uint32_t most = RT_COST_SIZES - 1;
    if (behind <= 2)
        return 0;
    return behind <= most ? chooser->level_seconds[behind]
                          : chooser->level_seconds[most] * behind / most;
}

/* Whether to draft: because it pays, or to see whether it does. */
static bool decide(rt_chooser *chooser, const rt_choose_round *round)
{
    rt_regime *regime = chooser->regime;
    const double plain = chooser->round_seconds[0];
    const double behind = catch_up_seconds(chooser, round->behind);
    const double allowance = ALLOWANCE * plain - chooser->loss;
    if (regime->pays) {
        const double saved = round->left * (plain - 1 / regime->speed);
        return behind <= saved && behind <= allowance;
    }
    if (regime->look > 0) {
        regime->look--;
        chooser->forced = true;
        return true;
    }
    if (regime->pause > 0) {
        regime->pause--;
        return false;
    }
    const double price =
        behind + LOOK_ROUNDS * (chooser->level_seconds[1] + chooser->round_seconds[1] - plain);
    if (price > allowance)
        return false;
    regime->interval = regime->interval == 0              ? FIRST_PAUSE
                       : regime->interval < LONGEST_PAUSE ? regime->interval * 2
                                                          : LONGEST_PAUSE;
    regime->pause = regime->interval;
    regime->look = LOOK_ROUNDS - 1;
    chooser->counts.looks++;
    chooser->forced = true;
    return true;
}

uint32_t rt_choose_begin(rt_chooser *chooser, const rt_choose_round *round)
{
    const rt_regime *before = chooser->regime;
    chooser->greedy = round->temperature == 0;
    chooser->regime = &chooser->regimes[regime_of(round->temperature)];
    chooser->passes_before = chooser->costs.pass_seconds;
    chooser->forced = false;
    chooser->chosen = 0;
    chooser->spent = 0;
    chooser->most = 0;
    chooser->path[0] = 1;
    rt_regime *regime = chooser->regime;
    if (round->nodes == 0 || round->levels == 0 || (round->first && round->behind > CATCH_UP) ||
        !rt_costs_known(&chooser->costs, RT_COST_TARGET, 1))
        return 0;
    if (plan_is_due(regime) || regime != before)
        plan(chooser);
    if (!decide(chooser, round))
        return 0;
    chooser->spent = catch_up_seconds(chooser, round->behind);
    chooser->levels = round->levels;
    /* The table ends with RT_COST_SIZES - 1 tokens, one of which is the root. */
    chooser->most = round->nodes < RT_COST_SIZES - 2 ? round->nodes : RT_COST_SIZES - 2;
    regime->rounds++;
    return chooser->most;
}

bool rt_choose_deeper(rt_chooser *chooser, const rt_tree *tree)
{
    const rt_regime *regime = chooser->regime;
    if (tree->levels == 0) {
        chooser->spent += chooser->level_seconds[1];
        return true;
    }
    const uint32_t first = tree->first[tree->levels];
    const uint32_t count = tree->count - first;
    if (count == 0 || tree->levels >= chooser->levels || chooser->chosen >= chooser->most)
        return false;
    double worth = 0;
    for (uint32_t node = first; node < tree->count; node++) {
        const uint32_t parent = tree->nodes[node].parent, order = tree->nodes[node].order;
        double left = chooser->path[parent];
        for (uint32_t elder = 0; elder < order; elder++)
            left -= left * rate_of(regime, chooser->bins[parent], elder);
        chooser->path[node] = left * rate_of(regime, chooser->bins[parent], order);
        worth += interpolate(regime->worth, chooser->path[node]);
    }
    const double seconds =
        chooser->level_seconds[count < RT_COST_SIZES ? count : RT_COST_SIZES - 1];
    if (!(worth > regime->speed * seconds))
        return false;
    chooser->spent += seconds;
    return true;
}

uint8_t rt_choose_children(rt_chooser *chooser, const rt_tree *tree, uint32_t node,
                           double confidence)
{
    rt_regime *regime = chooser->regime;
    const unsigned bin = bin_of(chooser->greedy, confidence);
    double *seen = regime->seen[node != 0];
    for (unsigned i = 0; i < RT_CHOOSE_BINS; i++)
        seen[i] *= SEEN_KEPT;
    seen[bin]++;
    chooser->bins[node] = (uint8_t)bin;
    const bool last = tree->levels + 1 >= chooser->levels;
    double left = chooser->path[node];
    uint8_t children = 0;
    for (; children < RT_CHOOSE_CHILDREN && chooser->chosen < chooser->most; children++) {
        const double child = left * rate_of(regime, bin, children);
        const uint32_t nodes = chooser->chosen;
        const double seconds = chooser->round_seconds[nodes + 1] - chooser->round_seconds[nodes];
        double worth = child - regime->speed * fmax(seconds, 0);
        if (!last) {
            const double pass = children == 0
                                    ? chooser->level_seconds[1]
                                    : chooser->level_seconds[2] - chooser->level_seconds[1];
            worth += fmax(interpolate(regime->worth, child) - regime->speed * fmax(pass, 0), 0);
        }
        if (!(worth > 0) && !(chooser->forced && nodes == 0))
            break;
        chooser->chosen++;
        left -= child;
    }
    return children;
}

void rt_choose_verified(rt_chooser *chooser, const rt_tree *tree, uint32_t node, uint32_t kept)
{
    rt_regime *regime = chooser->regime;
    const unsigned bin = chooser->bins[node];
    uint32_t order = 0;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0; order++) {
        if (order >= RT_CHOOSE_CHILDREN)
            return;
        if (order == 0) {
            regime->tried[bin] = regime->tried[bin] * BIN_KEPT + 1;
            regime->kept[bin] = regime->kept[bin] * BIN_KEPT + (child == kept);
        } else {
            regime->expected[order] = regime->expected[order] * BIN_KEPT + regime->rates[bin];
            regime->later[order] = regime->later[order] * BIN_KEPT + (child == kept);
        }
        if (child == kept)
            return;
    }
}

void rt_choose_end(rt_chooser *chooser, const rt_tree *tree, uint32_t tokens, double seconds)
{
    const uint32_t nodes = tree->count - 1;
    const double passes = chooser->costs.pass_seconds - chooser->passes_before;
    rt_costs_note(&chooser->costs, chooser->greedy ? RT_COST_GREEDY : RT_COST_SAMPLED, nodes,
                  seconds - passes);
    if (chooser->most == 0)
        chooser->counts.plain++;
    if (chooser->regime->speed == 0)
        return;
    const double plain = chooser->round_seconds[0];
    if (chooser->most > 0)
        chooser->loss += chooser->spent + chooser->round_seconds[nodes] - tokens * plain;
    chooser->loss = fmax(chooser->loss - FORGIVEN * tokens * plain, 0);
}

bool rt_choose_pays(const rt_chooser *chooser, double temperature, double *gain)
{
    const rt_regime *regime = &chooser->regimes[regime_of(temperature)];
    const bool known = regime->speed > 0 && regime->pays;
    *gain = known ? regime->speed * chooser->round_seconds[0] : 1;
    return known;
}
