/* What is believed about a drafter, against what happened.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/belief.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static uint64_t state = 9;
static rt_beliefs beliefs;

static bool happens(double probability)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(state >> 11) * 0x1p-53 < probability;
}

/* A round with so many children of the root, of which each is kept with its rate when those before
 * it were not. */
static void verify(unsigned bin, const double *rates, uint8_t children)
{
    rt_tree tree;
    rt_tree_start(&tree, 0);
    rt_tree_deepen(&tree);
    uint32_t kept = 0;
    for (uint8_t i = 0; i < children; i++) {
        const uint32_t node = rt_tree_add(&tree, 0, i);
        if (kept == 0 && happens(rates[i]))
            kept = node;
    }
    rt_belief_saw(&beliefs, true, bin, children);
    if (children > 0)
        rt_belief_verified(&beliefs, &tree, 0, bin, kept);
}

static void forget(void)
{
    memset(&beliefs, 0, sizeof beliefs);
}

TEST(bins_ascend_with_confidence)
{
    for (unsigned greedy = 0; greedy < 2; greedy++) {
        unsigned before = 0;
        for (double confidence = 0; confidence < 8; confidence += 0.01) {
            const unsigned bin = rt_belief_bin(greedy, confidence);
            CHECK(bin >= before && bin < RT_BELIEF_BINS - 1);
            before = bin;
        }
        CHECK(rt_belief_bin(greedy, NAN) == RT_BELIEF_BINS - 1);
    }
    CHECK(rt_belief_bin(false, 0.95) == RT_BELIEF_BINS - 2);
}

TEST(rates_come_to_what_happens)
{
    static const double sure[] = {0.9, 0.3, 0.2}, unsure[] = {0.4, 0.2, 0.15};
    forget();
    for (unsigned i = 0; i < 4000; i++) {
        verify(7, sure, 3);
        verify(1, unsure, 3);
        rt_belief_estimate(&beliefs, false);
    }
    CHECK_MESSAGE(fabs(rt_belief_rate(&beliefs, 7, 0) - 0.9) < 0.07, "%.3f",
                  rt_belief_rate(&beliefs, 7, 0));
    CHECK_MESSAGE(fabs(rt_belief_rate(&beliefs, 1, 0) - 0.4) < 0.07, "%.3f",
                  rt_belief_rate(&beliefs, 1, 0));
    /* Later children share a proportion; here most of them have unsure parents. */
    CHECK_MESSAGE(fabs(rt_belief_rate(&beliefs, 1, 1) - 0.2) < 0.06, "%.3f",
                  rt_belief_rate(&beliefs, 1, 1));
    double often[RT_BELIEF_BINS];
    rt_belief_frequencies(&beliefs, true, often);
    CHECK(fabs(often[7] / often[1] - 1) < 0.1 && often[7] > 50 * often[2]);
}

/* A few rounds tell about bins that did not come up. */
TEST(bins_share_a_level)
{
    static const double rates[] = {0.1};
    forget();
    rt_belief_estimate(&beliefs, true);
    const double before = rt_belief_rate(&beliefs, 5, 0);
    for (unsigned i = 0; i < 60; i++) {
        verify(2, rates, 1);
        rt_belief_estimate(&beliefs, true);
    }
    CHECK(rt_belief_rate(&beliefs, 5, 0) < 0.6 * before);
}

TEST(what_is_given_up_is_believed_in_again)
{
    static const double never[] = {0};
    forget();
    for (unsigned i = 0; i < 300; i++)
        verify(4, never, 1);
    rt_belief_estimate(&beliefs, true);
    const double low = rt_belief_rate(&beliefs, 4, 0);
    CHECK(low < 0.05);
    for (unsigned i = 0; i < 3000; i++)
        verify(4, never, 0); /* came up, and got no children */
    rt_belief_estimate(&beliefs, true);
    CHECK(rt_belief_rate(&beliefs, 4, 0) > 0.3);
}

TEST(a_text_differs_from_others_until_it_ends)
{
    static const double usually[] = {0.8}, here[] = {0.2};
    forget();
    for (unsigned i = 0; i < 2000; i++) {
        verify(3, usually, 1);
        rt_belief_estimate(&beliefs, false);
    }
    const double before = rt_belief_rate(&beliefs, 3, 0);
    rt_belief_text(&beliefs);
    for (unsigned i = 0; i < 60; i++) {
        verify(3, here, 1);
        rt_belief_estimate(&beliefs, false);
    }
    const double within = rt_belief_rate(&beliefs, 3, 0);
    CHECK_MESSAGE(within < 0.75 * before, "%.3f, %.3f", before, within);
    rt_belief_text(&beliefs);
    rt_belief_estimate(&beliefs, false);
    CHECK(rt_belief_rate(&beliefs, 3, 0) > 1.1 * within);
}

TEST_MAIN()
