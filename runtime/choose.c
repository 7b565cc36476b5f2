/* See choose.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/choose.h"

#include <math.h>
#include <string.h>

#define BIN_KEPT       0.998 /* of a bin's counts, at each further count */
#define UNTRIED_KEPT   0.997 /* the same, each time that it came up and nothing was drafted */
#define IDLE_FORGOTTEN 0.001 /* part of all counts, for each round that drafted nothing */
#define TEXT_KEPT      0.99  /* of a text's */
#define SEEN_KEPT      0.995 /* of how often bins come up */
#define RATE_MOST      0.97  /* that anything is kept; a node's worth stays finite */
#define NODES_RATE     0.1   /* how fast the mean size of trees follows */
#define ROUND_KEPT     0.98  /* of tokens and seconds, at each further round */
#define BIN_WEIGHT     6.0   /* counts that a bin's prior rate is worth */
#define ALL_WEIGHT     6.0   /* tokens that the prior's common level is worth */
#define TEXT_WEIGHT    10.0  /* tokens that all texts are worth against this one */
#define LATER_PRIOR    0.5   /* rate of a later child over that of the first */
#define LATER_WEIGHT   2.0

#define ALLOWANCE     5.0   /* loss, in tokens' time, beyond which nothing is drafted */
#define INVESTED_MOST 1.5   /* tokens' time that bringing the drafter up to date counts for */
#define GO_ON         0.99  /* speed over plain decoding's at which drafting goes on */
#define LITTLE_BEHIND 0.5   /* tokens' time that is no investment */
#define CREDIT        6.0   /* tokens' time that is saved up for looks at most */
#define FORGIVEN      0.006 /* of the time of each token emitted, off the loss */
/* Rounds that drafted after which what was learned is trusted; before that no more goes into
 * bringing the drafter up to date than some tokens' time and a part of the text's, or than a part
 * of what the target spent on the same tokens. */
#define PROVEN_ROUNDS   24u
#define UNPROVEN_TOKENS 2.0
#define UNPROVEN_PART   0.01
#define UNPROVEN_PASS   0.2
#define UNPROVEN_GAIN   0.3 /* of the text's time, which drafting may save */
/* Time that the drafter may add to the target's before the first token, over its part of a round.
 */
#define LATER_FIRST_TOKEN 1.2

#define LOOK_ROUNDS   3u
#define FIRST_PAUSE   32u /* rounds */
#define LONGEST_PAUSE 1024u
#define CATCH_UP      8u /* tokens that the first token may wait for */
/* Rounds after which plain decoding is timed anew: at first; when drafting gains little, which then
 * depends on it; and when it gains much. */
#define REFRESH_YOUNG   12u
#define REFRESH_LITTLE  160u
#define REFRESH_MUCH    256u
#define LITTLE          1.3
#define PLAN_EVERY_IDLE 64u /* rounds that drafted nothing */
#define PLAN_EVERY      16u /* rounds, after as many at each of which there was a plan */

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
    const double *ends = scale_of(greedy)->ends;
    unsigned bin = 0;
    while (bin < RT_CHOOSE_BINS - 2 && confidence >= ends[bin])
        bin++;
    return isnan(confidence) ? RT_CHOOSE_BINS - 1 : bin;
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

/* The prior rates times a common level, which a few rounds settle, then each bin's own counts; and
 * texts differ. */
static void estimate_rates(rt_regime *regime, bool greedy)
{
    const double *priors = scale_of(greedy)->rates;
    double kept = ALL_WEIGHT, expected = ALL_WEIGHT;
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        kept += regime->kept[bin];
        expected += regime->tried[bin] * priors[bin];
    }
    const double text = (regime->text_kept + TEXT_WEIGHT) / (regime->text_expected + TEXT_WEIGHT);
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        const double prior = fmin(priors[bin] * kept / expected, RATE_MOST);
        regime->usual[bin] =
            (regime->kept[bin] + BIN_WEIGHT * prior) / (regime->tried[bin] + BIN_WEIGHT);
        regime->rates[bin] = fmin(regime->usual[bin] * text, RATE_MOST);
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

/* What was seen long ago counts for less, so that what was given up is tried again. */
static void age_bin(rt_regime *regime, unsigned bin, double kept)
{
    regime->tried[bin] *= kept;
    regime->kept[bin] *= kept;
}

/* A node whose distribution is in this bin gets so many children and no more. */
static void age_untried(rt_regime *regime, unsigned bin, uint8_t children)
{
    if (children == 0) {
        age_bin(regime, bin, UNTRIED_KEPT);
    } else if (children < RT_CHOOSE_CHILDREN) {
        regime->expected[children] *= UNTRIED_KEPT;
        regime->later[children] *= UNTRIED_KEPT;
    }
}

/* --- what pays --- */

static double interpolate(const double *points, double path)
{
    const double place = path * POINTS;
    const uint32_t below = place < POINTS ? (uint32_t)place : POINTS - 1;
    return points[below] + (points[below + 1] - points[below]) * (place - below);
}

/* Below the root, levels have about as many nodes as lately. */
static double pass_share(const rt_regime *regime, const double *level_seconds)
{
    const uint32_t width = regime->width < 1 ? 1 : (uint32_t)regime->width;
    return level_seconds[width] / width;
}

/* Seconds of what a plan weighs. */
typedef struct price_list {
    double node; /* one more node in the target's pass */
    double pass; /* a node's share of a drafter's pass */
} price_list;

/* Tokens that are expected from below a node, and the seconds that go into them. */
typedef struct outlook {
    double tokens, seconds;
} outlook;

/* The outlook behind a node whose path is kept with probability `path`, before the drafter's
 * distribution there is known: children are taken as long as one is worth its price. `tokens`
 * and `seconds` are the outlook of paths with probability i / POINTS. */
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
            const double more = interpolate(tokens, child);
            const double longer = interpolate(seconds, child) + prices->pass;
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
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++) {
        const bool known = bin != RT_CHOOSE_BINS - 1;
        result[bin] = seen[bin] + (known ? 0.25 : 0);
    }
}

/* The best rule for the present speed. A child's path is less likely than its parent's, so one
 * sweep from unlikely paths to likely ones finds their worth; the second one mends what the first
 * one interpolated. */
static void plan_once(rt_regime *regime, const double *round_seconds, const double *level_seconds)
{
    double seen[2][RT_CHOOSE_BINS], tokens[RT_CHOOSE_POINTS] = {0}, seconds[RT_CHOOSE_POINTS] = {0};
    for (unsigned i = 0; i < 2; i++)
        frequencies(regime->seen[i], seen[i]);
    const uint32_t mean = (uint32_t)regime->nodes, most = RT_COST_SIZES - 5;
    const uint32_t typical = mean < 1 ? 1 : mean < most ? mean : most;
    price_list prices = {
        .node = (round_seconds[typical + 3] - round_seconds[typical - 1]) / 4,
        .pass = pass_share(regime, level_seconds),
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
    const double drafted = root.seconds + level_seconds[1];
    regime->promised = (1 + root.tokens) / (round_seconds[0] + drafted);
    regime->gain = root.tokens - regime->speed * drafted;
    /* Going on costs less than beginning again, for which the drafter has to be brought up to date.
     */
    regime->pays = regime->promised * round_seconds[0] > (regime->pays ? GO_ON : 1);
}

/* Turns to the range of a temperature. */
static void enter_regime(rt_chooser *chooser, double temperature)
{
    chooser->greedy = temperature == 0;
    chooser->regime = &chooser->regimes[regime_of(temperature)];
}

/* Nothing is known of this text, and what was not tried in others less than it was. */
static void begin_text(rt_chooser *chooser, double temperature)
{
    enter_regime(chooser, temperature);
    rt_regime *regime = chooser->regime;
    regime->text_kept = regime->text_expected = 0;
    for (unsigned bin = 0; bin < RT_CHOOSE_BINS; bin++)
        age_bin(regime, bin, 1 - regime->untried);
    regime->untried = 0;
    regime->pause = 0;
    chooser->missed = HUGE_VAL;
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
    chooser->round_seconds[RT_COST_SIZES - 1] = chooser->round_seconds[RT_COST_SIZES - 2];
    rt_costs_table(&chooser->costs, RT_COST_CATCH_UP, rest);
    chooser->catch_up_seconds = rest[1];
    estimate_rates(regime, chooser->greedy);
    /* Dinkelbach's iteration goes on from round to round with the speed that is reached. Where that
     * is less than plain decoding's, a draft has to be worth more than the time it takes from it.
     */
    const double plain = 1 / chooser->round_seconds[0];
    const double reached =
        regime->round_seconds > 0 ? regime->round_tokens / regime->round_seconds : 0;
    regime->speed = fmax(plain, reached);
    plan_once(regime, chooser->round_seconds, chooser->level_seconds);
    regime->planned = regime->rounds;
    regime->idle = 0;
}

/* Whether beliefs may have changed since the last plan; in the beginning they do in each round. */
static bool plan_is_due(const rt_regime *regime)
{
    const uint32_t since = regime->rounds - regime->planned;
    return regime->speed == 0 || since >= PLAN_EVERY ||
           (since > 0 && regime->rounds <= PLAN_EVERY) || regime->idle >= PLAN_EVERY_IDLE;
}

/* --- a round --- */

static double catch_up_seconds(const rt_chooser *chooser, uint32_t behind)
{
    return behind <= 2 ? 0 : chooser->catch_up_seconds * behind;
}

/* What the target spends on a token of many. */
static double seconds_of_many(const rt_chooser *chooser)
{
    return chooser->round_seconds[RT_COST_SIZES - 2] / (RT_COST_SIZES - 1);
}

/* Seconds that may go into bringing the drafter up to date because drafting is believed to pay:
 * what it will save, as far as a number of drafts have shown that it does; before that, little
 * against the text's own time or against what the target spent on the same tokens. */
static double investment(const rt_chooser *chooser, const rt_choose_round *round)
{
    const rt_regime *regime = chooser->regime;
    const double plain = chooser->round_seconds[0];
    const double saved = round->left * (plain - 1 / regime->promised);
    if (regime->rounds >= PROVEN_ROUNDS)
        return saved;
    return fmax((UNPROVEN_TOKENS + UNPROVEN_PART * round->left) * plain,
                UNPROVEN_PASS * round->behind * seconds_of_many(chooser));
}

/* With costs that are replayed nothing depends on the clock. */
static double prompt_seconds(const rt_chooser *chooser, const rt_choose_text *text)
{
    return chooser->costs.replayed ? text->behind * seconds_of_many(chooser) : text->passed_seconds;
}

bool rt_choose_prompt(rt_chooser *chooser, const rt_choose_text *text)
{
    begin_text(chooser, text->temperature);
    rt_regime *regime = chooser->regime;
    plan(chooser);
    const double plain = chooser->round_seconds[0];
    const double price = chooser->catch_up_seconds * text->behind;
    const double part = chooser->level_seconds[1] / plain;
    if (price > LATER_FIRST_TOKEN * part * prompt_seconds(chooser, text))
        return false;
    if (regime->rounds >= PROVEN_ROUNDS && regime->pays)
        return price < text->left * (plain - 1 / regime->promised);
    /* A text's beginning is the cheapest place to look whether drafting pays. */
    if (part > UNPROVEN_PASS || price > UNPROVEN_GAIN * text->left * plain ||
        (!regime->pays && chooser->loss > ALLOWANCE / 2))
        return false;
    chooser->loss += fmin(price / plain, INVESTED_MOST);
    regime->pause = regime->interval = 0;
    return true;
}

/* Whether to bring the drafter up to date, of which copies get ahead: as soon as waiting for it has
 * missed as much as it costs, which never comes to more than twice the best that could be done. */
static bool is_worth_catching_up(rt_chooser *chooser, double behind)
{
    const rt_regime *regime = chooser->regime;
    if (behind > LITTLE_BEHIND * chooser->round_seconds[0]) {
        chooser->missed += fmax(regime->gain, 0) / regime->speed;
        if (chooser->missed < behind)
            return false;
    }
    chooser->missed = 0;
    return true;
}

/* Whether to draft: because it pays, or to see whether it does. */
static bool decide(rt_chooser *chooser, const rt_choose_round *round)
{
    rt_regime *regime = chooser->regime;
    const double plain = chooser->round_seconds[0];
    const double behind = catch_up_seconds(chooser, round->behind);
    const double allowance = ALLOWANCE - chooser->loss;
    const bool trusted = regime->rounds >= PROVEN_ROUNDS || allowance > 0;
    const bool invests = behind <= fmax(LITTLE_BEHIND * plain, investment(chooser, round));
    if (regime->pays && trusted && invests)
        return is_worth_catching_up(chooser, behind);
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
    if (price > allowance * plain)
        return false;
    regime->interval = regime->interval == 0              ? FIRST_PAUSE
                       : regime->interval < LONGEST_PAUSE ? regime->interval * 2
                                                          : LONGEST_PAUSE;
    regime->pause = regime->interval;
    regime->look = LOOK_ROUNDS - 1;
    chooser->forced = true;
    return true;
}

/* Whether it is time to see how long a plain round takes: always before the first draft. */
static bool needs_plain_time(const rt_chooser *chooser)
{
    const rt_regime *regime = chooser->regime;
    const uint32_t age = rt_costs_age(&chooser->costs, RT_COST_TARGET, 1);
    if (chooser->costs.replayed || age == UINT32_MAX)
        return !chooser->costs.replayed;
    if (rt_costs_young(&chooser->costs, RT_COST_TARGET, 1))
        return age >= REFRESH_YOUNG;
    const bool little = regime->speed * chooser->round_seconds[0] < LITTLE;
    return age >= (little ? REFRESH_LITTLE : REFRESH_MUCH);
}

/* The table of costs ends with RT_COST_SIZES - 1 tokens, one of which is the root; sizes that
 * nothing is known about are approached step by step. */
static uint32_t most_nodes(const rt_chooser *chooser, uint32_t room)
{
    const uint32_t known = rt_costs_largest(&chooser->costs, RT_COST_TARGET);
    uint32_t most = room < RT_COST_SIZES - 2 ? room : RT_COST_SIZES - 2;
    if (!chooser->costs.replayed && most > 2 * known)
        most = 2 * known;
    return most;
}

/* Whether to copy out of the text what is there: it must gain more than the drafter would. */
static bool decide_to_copy(rt_chooser *chooser, const rt_choose_round *round)
{
    rt_regime *regime = chooser->regime;
    if (round->agree == 0)
        return false;
    double gain;
    const uint32_t length =
        rt_copy_length(&regime->copies, round->agree, chooser->round_seconds, regime->speed,
                       most_nodes(chooser, round->copied), &gain);
    if (length > 0 && gain > (regime->pays ? regime->gain : 0)) {
        chooser->most = length;
        chooser->agree = round->agree;
        return true;
    }
    rt_copy_pass_over(&regime->copies, round->agree);
    return false;
}

static void forget_round(rt_chooser *chooser)
{
    chooser->passes_before = chooser->costs.pass_seconds;
    chooser->forced = false;
    chooser->agree = 0;
    chooser->chosen = 0;
    chooser->spent = 0;
    chooser->invested = 0;
    chooser->most = 0;
    chooser->path[0] = 1;
}

rt_choose_source rt_choose_begin(rt_chooser *chooser, const rt_choose_round *round)
{
    const rt_regime *before = chooser->regime;
    enter_regime(chooser, round->temperature);
    forget_round(chooser);
    /* The first pass behind a prompt finds the cache full of other things. */
    chooser->costs.ignored =
        round->first && rt_costs_age(&chooser->costs, RT_COST_TARGET, 1) != UINT32_MAX;
    rt_regime *regime = chooser->regime;
    if ((round->first && round->behind > CATCH_UP) || needs_plain_time(chooser))
        return RT_CHOOSE_PLAIN;
    if (plan_is_due(regime) || regime != before || chooser->fresh)
        plan(chooser);
    if (decide_to_copy(chooser, round))
        return RT_CHOOSE_COPY;
    if (round->nodes == 0 || round->levels == 0 || !decide(chooser, round)) {
        regime->idle++;
        return RT_CHOOSE_PLAIN;
    }
    /* A large investment is not held against drafting before it could pay off. */
    chooser->invested =
        fmin(catch_up_seconds(chooser, round->behind), INVESTED_MOST * chooser->round_seconds[0]);
    chooser->levels = round->levels;
    chooser->most = most_nodes(chooser, round->nodes);
    regime->rounds++;
    return RT_CHOOSE_DRAFTER;
}

void rt_choose_narrow(rt_chooser *chooser, uint32_t nodes, uint32_t levels)
{
    chooser->most = nodes < chooser->most ? nodes : chooser->most;
    chooser->levels = levels < chooser->levels ? levels : chooser->levels;
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
            const double pass = pass_share(regime, chooser->level_seconds);
            worth += fmax(interpolate(regime->worth, child) - regime->speed * pass, 0);
        }
        if (!(worth > 0) && !(chooser->forced && nodes == 0))
            break;
        chooser->chosen++;
        left -= child;
    }
    age_untried(regime, bin, children);
    return children;
}

void rt_choose_verified(rt_chooser *chooser, const rt_tree *tree, uint32_t node, uint32_t kept)
{
    rt_regime *regime = chooser->regime;
    if (chooser->agree > 0) {
        rt_copy_note(&regime->copies, chooser->agree, kept != 0);
        return;
    }
    const unsigned bin = chooser->bins[node];
    uint32_t order = 0;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0; order++) {
        if (order >= RT_CHOOSE_CHILDREN)
            return;
        if (order == 0) {
            regime->tried[bin] = regime->tried[bin] * BIN_KEPT + 1;
            regime->kept[bin] = regime->kept[bin] * BIN_KEPT + (child == kept);
            regime->text_kept = regime->text_kept * TEXT_KEPT + (child == kept);
            regime->text_expected = regime->text_expected * TEXT_KEPT + regime->usual[bin];
        } else {
            regime->expected[order] = regime->expected[order] * BIN_KEPT + regime->rates[bin];
            regime->later[order] = regime->later[order] * BIN_KEPT + (child == kept);
        }
        if (child == kept)
            return;
    }
}

/* What a round that the drafter drafted brought and cost, by the table. */
static void account(rt_regime *regime, const rt_tree *tree, uint32_t tokens, double seconds)
{
    const uint32_t nodes = tree->count - 1;
    regime->nodes += NODES_RATE * (nodes - regime->nodes);
    if (tree->levels > 0)
        regime->width += NODES_RATE * ((double)nodes / tree->levels - regime->width);
    regime->round_tokens = regime->round_tokens * ROUND_KEPT + tokens;
    regime->round_seconds = regime->round_seconds * ROUND_KEPT + seconds;
}

/* What a round is charged for: sizes that are hardly known may take longer than by the table, and
 * interruptions count for little. */
static double charge(const rt_chooser *chooser, double spent, double seconds)
{
    return chooser->fresh ? fmax(spent, fmin(seconds, 2 * spent)) : spent;
}

void rt_choose_end(rt_chooser *chooser, const rt_tree *tree, uint32_t tokens, double seconds)
{
    const uint32_t nodes = tree->count - 1;
    const double passes = chooser->costs.pass_seconds - chooser->passes_before;
    rt_costs_note(&chooser->costs, chooser->greedy ? RT_COST_GREEDY : RT_COST_SAMPLED, nodes,
                  seconds - passes);
    chooser->costs.ignored = false;
    chooser->fresh = rt_costs_young(&chooser->costs, RT_COST_TARGET, tree->count);
    if (chooser->most == 0) {
        chooser->plain_rounds++;
        chooser->regime->text_kept *= TEXT_KEPT;
        chooser->regime->text_expected *= TEXT_KEPT;
        chooser->regime->untried += (1 - chooser->regime->untried) * IDLE_FORGOTTEN;
    }
    if (chooser->regime->speed == 0)
        return;
    if (chooser->most > 0) {
        const double spent = chooser->spent + chooser->round_seconds[nodes];
        chooser->loss +=
            (chooser->invested + charge(chooser, spent, seconds)) / chooser->round_seconds[0] -
            tokens;
        if (chooser->agree == 0)
            account(chooser->regime, tree, tokens, spent);
    }
    chooser->loss = fmax(chooser->loss - FORGIVEN * tokens, -CREDIT);
}
