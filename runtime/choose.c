/* See choose.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/choose.h"

#include <math.h>
#include <string.h>

#define WIDTH_RATE 0.1  /* how fast the mean width of trees follows */
#define ROUND_KEPT 0.98 /* of tokens and seconds, at each further round */

#define ALLOWANCE     5.0   /* loss, in tokens' time, beyond which nothing is drafted */
#define INVESTED_MOST 1.5   /* tokens' time that bringing the drafter up to date counts for */
#define GO_ON         0.99  /* speed over plain decoding's at which drafting goes on */
#define GO_ON_EARLY   0.94  /* the same in the first rounds, while little was lost */
#define EARLY_ROUNDS  256u  /* so many, that the drafter drafted */
#define LITTLE_BEHIND 0.5   /* tokens' time that is no investment */
#define CREDIT        6.0   /* tokens' time that is saved up for looks at most */
#define FORGIVEN      0.006 /* of the time of each token emitted, off the loss */
/* Rounds that drafted after which what was learned is trusted. Before that no more goes into
 * bringing the drafter up to date than some tokens' time and a part of the text's. */
#define PROVEN_ROUNDS   24u
#define UNPROVEN_TOKENS 2.0
#define UNPROVEN_PART   0.01
/* Tokens that the drafter takes up at least of those that it has not seen, and the part of what it
 * is expected to save that more of them may cost. */
#define CONTEXT_LEAST 16u
#define CONTEXT_PART  0.02

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
#define PLAN_EVERY      96u /* rounds that drafted; less in the beginning: */
#define PLAN_PART       5u  /* one for so many that were before */

static unsigned regime_of(double temperature)
{
    return temperature == 0 ? 0 : temperature <= 0.5 ? 1 : temperature <= 0.85 ? 2 : 3;
}

void rt_choose_clear(rt_chooser *chooser, uint64_t target_bytes, uint64_t drafter_bytes)
{
    memset(chooser, 0, sizeof *chooser);
    rt_costs_clear(&chooser->costs, target_bytes, drafter_bytes);
}

/* Turns to the range of a temperature. */
static void enter_regime(rt_chooser *chooser, double temperature)
{
    chooser->greedy = temperature == 0;
    chooser->regime = &chooser->regimes[regime_of(temperature)];
}

void rt_choose_text(rt_chooser *chooser, double temperature)
{
    enter_regime(chooser, temperature);
    rt_belief_text(&chooser->regime->beliefs);
    chooser->regime->plan.speed = 0;
    chooser->regime->pause = 0;
    chooser->missed = HUGE_VAL;
}

/* --- what pays --- */

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

static void read_times(rt_chooser *chooser)
{
    rt_choose_times *times = &chooser->times;
    double target[RT_COST_SIZES], rest[RT_COST_SIZES];
    rt_costs_table(&chooser->costs, RT_COST_TARGET, target);
    rt_costs_table(&chooser->costs, RT_COST_DRAFTER, times->level);
    rt_costs_table(&chooser->costs, chooser->greedy ? RT_COST_GREEDY : RT_COST_SAMPLED, rest);
    for (uint32_t nodes = 0; nodes + 1 < RT_COST_SIZES; nodes++)
        times->round[nodes] = target[nodes + 1] + rest[nodes];
    times->round[RT_COST_SIZES - 1] = times->round[RT_COST_SIZES - 2];
    rt_costs_table(&chooser->costs, RT_COST_CATCH_UP, rest);
    times->catch_up = rest[1];
}

/* Dinkelbach's iteration goes on from plan to plan with the speed that is reached. Where that is
 * less than plain decoding's, a draft has to be worth more than the time it takes from it. Going on
 * costs less than beginning again, for which the drafter has to be brought up to date; and early it
 * teaches what stopping would not. */
static void plan(rt_chooser *chooser, uint32_t room)
{
    rt_regime *regime = chooser->regime;
    read_times(chooser);
    rt_belief_estimate(&regime->beliefs, chooser->greedy);
    const double plain = 1 / chooser->times.round[0];
    const double reached =
        regime->round_seconds > 0 ? regime->round_tokens / regime->round_seconds : 0;
    rt_choose_plan_make(&regime->plan, &regime->beliefs, &chooser->times, fmax(plain, reached),
                        regime->width, most_nodes(chooser, room));
    const bool early = regime->rounds < EARLY_ROUNDS && chooser->loss < ALLOWANCE / 2;
    const double least = early ? GO_ON_EARLY : regime->pays ? GO_ON : 1;
    regime->pays = regime->plan.promised > least * plain;
    regime->planned = regime->rounds;
    regime->idle = 0;
}

/* Whether beliefs may have changed since the last plan; in the beginning they do in each round. */
static bool plan_is_due(const rt_regime *regime)
{
    const uint32_t since = regime->rounds - regime->planned;
    return regime->plan.speed == 0 || since >= PLAN_EVERY || since * PLAN_PART > regime->planned ||
           regime->idle >= PLAN_EVERY_IDLE;
}

/* --- a round --- */

/* Seconds that drafting is expected to save before the text ends. */
static double savings(const rt_chooser *chooser, const rt_choose_round *round)
{
    return round->left * (chooser->times.round[0] - 1 / chooser->regime->plan.promised);
}

/* How many of the tokens that the drafter has not seen it takes up. */
static uint32_t context_of(const rt_chooser *chooser, const rt_choose_round *round)
{
    const double tokens =
        fmax(CONTEXT_PART * savings(chooser, round) / chooser->times.catch_up, CONTEXT_LEAST);
    return !round->whole && tokens < round->behind ? (uint32_t)tokens : round->behind;
}

static double catch_up_seconds(const rt_chooser *chooser, uint32_t tokens)
{
    return tokens <= 2 ? 0 : chooser->times.catch_up * tokens;
}

/* Seconds that may go into bringing the drafter up to date because drafting is believed to pay. */
static double investment(const rt_chooser *chooser, const rt_choose_round *round)
{
    if (chooser->regime->rounds >= PROVEN_ROUNDS)
        return savings(chooser, round);
    return (UNPROVEN_TOKENS + UNPROVEN_PART * round->left) * chooser->times.round[0];
}

/* Whether to bring the drafter up to date, of which copies get ahead: as soon as waiting for it has
 * missed as much as it costs, which never comes to more than twice the best that could be done. */
static bool is_worth_catching_up(rt_chooser *chooser, double behind)
{
    const double plain = chooser->times.round[0];
    if (behind > LITTLE_BEHIND * plain) {
        chooser->missed += fmax(plain - 1 / chooser->regime->plan.promised, 0);
        if (chooser->missed < behind)
            return false;
    }
    chooser->missed = 0;
    return true;
}

/* Whether to look if drafting pays, for which there is a time and an allowance. */
static bool decide_to_look(rt_chooser *chooser, double behind, double allowance)
{
    rt_regime *regime = chooser->regime;
    if (regime->look > 0) {
        regime->look--;
        return true;
    }
    if (regime->pause > 0) {
        regime->pause--;
        return false;
    }
    const rt_choose_times *times = &chooser->times;
    const double price =
        behind + LOOK_ROUNDS * (times->level[1] + times->round[1] - times->round[0]);
    if (price > allowance * times->round[0])
        return false;
    regime->interval = regime->interval == 0              ? FIRST_PAUSE
                       : regime->interval < LONGEST_PAUSE ? regime->interval * 2
                                                          : LONGEST_PAUSE;
    regime->pause = regime->interval;
    regime->look = LOOK_ROUNDS - 1;
    return true;
}

/* Whether to draft: because it pays, or to see whether it does. */
static bool decide(rt_chooser *chooser, const rt_choose_round *round)
{
    const rt_regime *regime = chooser->regime;
    const double plain = chooser->times.round[0];
    chooser->context = context_of(chooser, round);
    const double behind = catch_up_seconds(chooser, chooser->context);
    const double allowance = ALLOWANCE - chooser->loss;
    const bool trusted = regime->rounds >= PROVEN_ROUNDS || allowance > 0;
    const bool invests = behind <= fmax(LITTLE_BEHIND * plain, investment(chooser, round));
    if (regime->pays && trusted && invests)
        return is_worth_catching_up(chooser, behind);
    chooser->forced = decide_to_look(chooser, behind, allowance);
    return chooser->forced;
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
    const bool little = regime->plan.speed * chooser->times.round[0] < LITTLE;
    return age >= (little ? REFRESH_LITTLE : REFRESH_MUCH);
}

/* Whether to copy out of the text what is there: it must gain more than the drafter would. */
static bool decide_to_copy(rt_chooser *chooser, const rt_choose_round *round)
{
    rt_regime *regime = chooser->regime;
    if (round->agree == 0)
        return false;
    double gain;
    const uint32_t length =
        rt_copy_length(&regime->copies, round->agree, chooser->times.round, regime->plan.speed,
                       most_nodes(chooser, round->copied), &gain);
    if (length > 0 && gain > (regime->pays ? regime->plan.gain : 0)) {
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
    chooser->price = RT_PLAN_NONE;
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
        plan(chooser, round->nodes);
    if (decide_to_copy(chooser, round))
        return RT_CHOOSE_COPY;
    if (round->nodes == 0 || round->levels == 0 || !decide(chooser, round)) {
        regime->idle++;
        return RT_CHOOSE_PLAIN;
    }
    /* A large investment is not held against drafting before it could pay off. */
    chooser->invested =
        fmin(catch_up_seconds(chooser, chooser->context), INVESTED_MOST * chooser->times.round[0]);
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

/* Probability that a node and all above it are kept. */
static double path_of(const rt_chooser *chooser, const rt_tree *tree, uint32_t node)
{
    const rt_beliefs *beliefs = &chooser->regime->beliefs;
    const uint32_t parent = tree->nodes[node].parent, order = tree->nodes[node].order;
    const unsigned bin = chooser->bins[parent];
    double left = chooser->path[parent];
    for (uint32_t elder = 0; elder < order; elder++)
        left -= left * rt_belief_rate(beliefs, bin, elder);
    return left * rt_belief_rate(beliefs, bin, order);
}

bool rt_choose_deeper(rt_chooser *chooser, const rt_tree *tree)
{
    const rt_choose_plan *made = &chooser->regime->plan;
    if (tree->levels == 0) {
        chooser->spent += chooser->times.level[1];
        return true;
    }
    const uint32_t first = tree->first[tree->levels];
    const uint32_t count = tree->count - first;
    if (count == 0 || tree->levels >= chooser->levels || chooser->chosen >= chooser->most ||
        chooser->price == RT_PLAN_NONE)
        return false;
    double worth = 0;
    for (uint32_t node = first; node < tree->count; node++) {
        chooser->path[node] = path_of(chooser, tree, node);
        worth += rt_choose_plan_below(made, chooser->price, chooser->path[node]);
    }
    const double seconds = chooser->times.level[count < RT_COST_SIZES ? count : RT_COST_SIZES - 1];
    if (!(worth > made->speed * seconds))
        return false;
    chooser->spent += seconds;
    return true;
}

uint8_t rt_choose_children(rt_chooser *chooser, const rt_tree *tree, uint32_t node,
                           double confidence)
{
    rt_regime *regime = chooser->regime;
    const unsigned bin = rt_belief_bin(chooser->greedy, confidence);
    chooser->bins[node] = (uint8_t)bin;
    if (node == 0)
        chooser->price = regime->plan.price[bin];
    const bool last = tree->levels + 1 >= chooser->levels;
    double left = chooser->path[node];
    uint8_t children = 0;
    for (; children < RT_BELIEF_CHILDREN && chooser->chosen < chooser->most; children++) {
        const double child = left * rt_belief_rate(&regime->beliefs, bin, children);
        if (!(rt_choose_plan_child(&regime->plan, chooser->price, child, last) > 0) &&
            !(chooser->forced && chooser->chosen == 0))
            break;
        chooser->chosen++;
        left -= child;
    }
    rt_belief_saw(&regime->beliefs, node == 0, bin, children);
    return children;
}

void rt_choose_verified(rt_chooser *chooser, const rt_tree *tree, uint32_t node, uint32_t kept)
{
    rt_regime *regime = chooser->regime;
    if (chooser->agree > 0)
        rt_copy_note(&regime->copies, chooser->agree, kept != 0);
    else
        rt_belief_verified(&regime->beliefs, tree, node, chooser->bins[node], kept);
}

/* What a round that the drafter drafted brought and cost, by the table. */
static void account(rt_regime *regime, const rt_tree *tree, uint32_t tokens, double seconds)
{
    if (tree->levels > 0)
        regime->width += WIDTH_RATE * ((double)(tree->count - 1) / tree->levels - regime->width);
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
    rt_regime *regime = chooser->regime;
    if (chooser->most == 0) {
        chooser->plain_rounds++;
        rt_belief_idle(&regime->beliefs);
    }
    if (regime->plan.speed == 0)
        return;
    if (chooser->most > 0) {
        const double plain = chooser->times.round[0];
        const double spent = chooser->spent + chooser->times.round[nodes];
        chooser->loss += (chooser->invested + charge(chooser, spent, seconds)) / plain - tokens;
        if (chooser->agree == 0)
            account(regime, tree, tokens, spent);
    }
    chooser->loss = fmax(chooser->loss - FORGIVEN * tokens, -CREDIT);
}
