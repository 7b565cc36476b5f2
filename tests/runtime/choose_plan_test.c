/* The rule that pays, against the best trees where those can be found by enumeration: a drafter
 * that is always equally sure has one tree for each price.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/choose_plan.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST   31u
#define BIN    3u
#define LEVELS 31u

static uint64_t state = 5;

static double uniform(double least, double most)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (most - least) * (double)(state >> 11) * 0x1p-53;
}

/* A drafter of one confidence: a first child is kept with probability `rate`, a later one, when
 * those before it were not, with `later` times that. */
static void believe(rt_beliefs *beliefs, double rate, double later)
{
    memset(beliefs, 0, sizeof *beliefs);
    beliefs->seen[0][BIN] = beliefs->seen[1][BIN] = 1e6;
    beliefs->tried[BIN] = 1e6;
    beliefs->kept[BIN] = 1e6 * rate;
    for (unsigned order = 1; order < RT_BELIEF_CHILDREN; order++) {
        beliefs->expected[order] = 1e6;
        beliefs->later[order] = 1e6 * later;
    }
    rt_belief_estimate(beliefs, true);
}

/* Units of a plain round; passes of the target take no longer up to `flat` nodes, then `growth` for
 * each, and a step now and then; a drafter's pass takes `level` and a little for each token. */
static void fill_times(rt_choose_times *times, uint32_t flat, double growth, double level)
{
    double time = 1;
    for (uint32_t nodes = 0; nodes < RT_COST_SIZES; nodes++) {
        times->round[nodes] = time;
        if (nodes >= flat)
            time += growth * (nodes % 4 == 3 ? 2 : 0.67);
        times->level[nodes] = level * (1 + 0.05 * (nodes > 0 ? nodes - 1 : 0));
    }
    times->catch_up = level / 3;
}

/* What a tree brings. */
typedef struct outcome {
    double tokens, seconds;
    uint32_t nodes;
} outcome;

static double value_of(const outcome *tree, double speed)
{
    return tree->tokens - speed * tree->seconds;
}

/* The tree that a plan grows, as choose.c does. */
static outcome grow(const rt_choose_plan *plan, const rt_beliefs *beliefs,
                    const rt_choose_times *times, uint32_t most)
{
    const unsigned price = plan->price[BIN];
    double level[MOST + 1] = {1}, next[MOST + 1];
    uint32_t count = 1;
    outcome tree = {0, times->level[1], 0};
    for (unsigned depth = 0; depth < LEVELS && count > 0; depth++) {
        double worth = 0;
        for (uint32_t i = 0; i < count && depth > 0 && price != RT_PLAN_NONE; i++)
            worth += rt_choose_plan_below(plan, price, level[i]);
        if (depth > 0 && !(worth > plan->speed * times->level[count]))
            break;
        tree.seconds += depth > 0 ? times->level[count] : 0;
        uint32_t added = 0;
        for (uint32_t i = 0; i < count; i++) {
            double left = level[i];
            for (unsigned order = 0; order < RT_BELIEF_CHILDREN && tree.nodes < most; order++) {
                const double child = left * rt_belief_rate(beliefs, BIN, order);
                if (!(rt_choose_plan_child(plan, price, child, depth + 1 == LEVELS) > 0))
                    break;
                next[added++] = child;
                tree.tokens += child;
                tree.nodes++;
                left -= child;
            }
        }
        memcpy(level, next, sizeof level);
        count = added;
    }
    tree.seconds += times->round[tree.nodes] - times->round[0];
    return tree;
}

/* The most that a tree of any nodes can bring when the drafter's passes cost nothing: that of the n
 * likeliest nodes, for the best n. A node's next sibling and its first child are less likely than
 * it. */
static double best_of_all(const rt_beliefs *beliefs, const rt_choose_times *times, double speed)
{
    struct {
        double path, left; /* of the node; of its parent when no elder sibling was kept */
        unsigned order;
    } open[2 * MOST + 2];
    uint32_t count = 1;
    double tokens = 0, best = 0;
    open[0].left = 1;
    open[0].order = 0;
    open[0].path = rt_belief_rate(beliefs, BIN, 0);
    for (uint32_t nodes = 1; nodes <= MOST; nodes++) {
        uint32_t first = 0;
        for (uint32_t i = 1; i < count; i++)
            first = open[i].path > open[first].path ? i : first;
        const double path = open[first].path;
        tokens += path;
        best = fmax(best, tokens - speed * (times->round[nodes] - times->round[0]));
        open[count].left = path;
        open[count].order = 0;
        open[count++].path = path * rt_belief_rate(beliefs, BIN, 0);
        open[first].left -= path;
        open[first].order++;
        open[first].path = open[first].order < RT_BELIEF_CHILDREN
                               ? open[first].left * rt_belief_rate(beliefs, BIN, open[first].order)
                               : 0;
    }
    return best;
}

/* The best chain. */
static double best_chain(const rt_beliefs *beliefs, const rt_choose_times *times, double speed)
{
    double path = 1, tokens = 0, seconds = 0, best = -speed * times->level[1];
    for (uint32_t nodes = 1; nodes <= LEVELS; nodes++) {
        path *= rt_belief_rate(beliefs, BIN, 0);
        tokens += path;
        seconds += times->level[1];
        best = fmax(best, tokens - speed * (seconds + times->round[nodes] - times->round[0]));
    }
    return best;
}

static rt_beliefs beliefs;
static rt_choose_times times;
static rt_choose_plan plan;

/* What is lost is what lies between two prices, and little of it in all. */
TEST(trees_are_those_of_the_likeliest_nodes_where_the_drafter_is_free)
{
    double lost = 0, all = 0;
    for (unsigned run = 0; run < 400; run++) {
        believe(&beliefs, uniform(0.2, 0.92), uniform(0.05, 0.9));
        fill_times(&times, run % 2 == 0 ? 0 : (uint32_t)uniform(1, 12), uniform(0.02, 0.4), 0);
        const double speed = uniform(1, 2);
        rt_choose_plan_make(&plan, &beliefs, &times, speed, 2, MOST);
        const outcome tree = grow(&plan, &beliefs, &times, MOST);
        const double value = value_of(&tree, speed);
        const double best = best_of_all(&beliefs, &times, speed);
        CHECK_MESSAGE(value > best - 0.25 * (1 + best), "run %u: %.3f of %.3f, %u nodes", run,
                      value, best, tree.nodes);
        lost += best - value;
        all += 1 + best;
    }
    CHECK_MESSAGE(lost < 0.03 * all, "%.4f", lost / all);
}

/* Weights that are streamed: some nodes cost nothing, further ones much. A rule that takes what is
 * free as it comes would spend it all on the root's children. */
TEST(free_nodes_go_to_the_likeliest_ones)
{
    believe(&beliefs, 0.7, 0.4);
    fill_times(&times, 4, 0.12, 0.01);
    rt_choose_plan_make(&plan, &beliefs, &times, 2.2, 1, 16);
    const double first = rt_belief_rate(&beliefs, BIN, 0);
    double left = 1 - first;
    unsigned children = 1;
    CHECK(rt_choose_plan_child(&plan, plan.price[BIN], first, false) > 0);
    for (; children < RT_BELIEF_CHILDREN; children++) {
        const double child = left * rt_belief_rate(&beliefs, BIN, children);
        if (!(rt_choose_plan_child(&plan, plan.price[BIN], child, false) > 0))
            break;
        left -= child;
    }
    CHECK_MESSAGE(children <= 2, "%u children of the root", children);
    const outcome tree = grow(&plan, &beliefs, &times, MOST);
    CHECK_MESSAGE(tree.nodes >= 4 && tree.nodes <= 6, "%u nodes", tree.nodes);
}

/* With costly passes of the drafter a chain is about the best. What its depth costs goes by steps,
 * which a plan takes evenly: it may be one node off where a step is high. */
TEST(no_tree_is_worse_than_the_best_chain)
{
    double lost = 0, all = 0;
    unsigned bad = 0;
    for (unsigned run = 0; run < 400; run++) {
        believe(&beliefs, uniform(0.1, 0.92), uniform(0.05, 0.6));
        fill_times(&times, run % 2 == 0 ? 0 : (uint32_t)uniform(1, 12), uniform(0.02, 0.6),
                   uniform(0.005, 0.5));
        const double speed = uniform(1, 2);
        rt_choose_plan_make(&plan, &beliefs, &times, speed, 1, MOST);
        const outcome tree = grow(&plan, &beliefs, &times, MOST);
        const double value = value_of(&tree, speed);
        const double best = best_chain(&beliefs, &times, speed);
        bad += value < best - 0.25 * (1 + fabs(best));
        lost += fmax(best - value, 0);
        all += 1 + fabs(best);
    }
    CHECK_MESSAGE(lost < 0.02 * all && bad <= 4, "%.4f, %u", lost / all, bad);
}

TEST(what_is_promised_is_kept)
{
    for (unsigned run = 0; run < 200; run++) {
        believe(&beliefs, uniform(0.3, 0.9), uniform(0.1, 0.4));
        fill_times(&times, 2, uniform(0.05, 0.3), uniform(0.02, 0.1));
        rt_choose_plan_make(&plan, &beliefs, &times, uniform(1, 2), 1, MOST);
        const outcome tree = grow(&plan, &beliefs, &times, MOST);
        const double kept = (1 + tree.tokens) / (times.round[0] + tree.seconds);
        CHECK_MESSAGE(fabs(plan.promised / kept - 1) < 0.15, "run %u: %.3f, and %.3f came", run,
                      plan.promised, kept);
    }
}

TEST(nothing_is_drafted_of_what_is_never_kept)
{
    believe(&beliefs, 0.001, 0.5);
    fill_times(&times, 0, 0.1, 0.05);
    rt_choose_plan_make(&plan, &beliefs, &times, 1, 1, MOST);
    CHECK(plan.price[BIN] == RT_PLAN_NONE && plan.promised < 1 && plan.gain < 0);
    CHECK(!(rt_choose_plan_child(&plan, plan.price[BIN], 0.9, true) > 0));
}

/* There is room for few, and still it is used for those that are worth most. */
TEST(little_room_is_used_well)
{
    believe(&beliefs, 0.9, 0.5);
    fill_times(&times, 31, 0.1, 0.01);
    for (uint32_t most = 1; most < 20; most++) {
        rt_choose_plan_make(&plan, &beliefs, &times, 1, 1, most);
        const outcome tree = grow(&plan, &beliefs, &times, most);
        double path = 1, chain = 0;
        for (uint32_t i = 0; i < most; i++)
            chain += path *= rt_belief_rate(&beliefs, BIN, 0);
        CHECK_MESSAGE(tree.tokens > 0.85 * chain, "%u: %.3f of %.3f", most, tree.tokens, chain);
    }
}

TEST_MAIN()
