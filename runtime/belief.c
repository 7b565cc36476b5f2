/* See belief.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/belief.h"

#include <math.h>
#include <string.h>

#define BIN_KEPT       0.998 /* of a bin's counts, at each further count */
#define UNTRIED_KEPT   0.997 /* the same, each time that it came up and nothing was drafted */
#define IDLE_FORGOTTEN 0.001 /* part of all counts, for each round that drafted nothing */
#define TEXT_KEPT      0.99  /* of a text's */
#define SEEN_KEPT      0.995 /* of how often bins come up */
#define BIN_WEIGHT     6.0   /* counts that a bin's prior rate is worth */
#define ALL_WEIGHT     6.0   /* tokens that the prior's common level is worth */
#define TEXT_WEIGHT    30.0  /* tokens that all texts are worth against this one */
#define LATER_PRIOR    0.5   /* rate of a later child over that of the first */
#define LATER_WEIGHT   2.0
#define SEEN_PRIOR     0.25 /* times that each bin is taken to have come up at least */

/* Upper ends of the bins of confidence, and the rates that are assumed at first. */
typedef struct confidence_scale {
    double ends[RT_BELIEF_BINS - 2];
    double rates[RT_BELIEF_BINS];
} confidence_scale;

static const confidence_scale greedy_scale = {{0.25, 0.5, 0.75, 1.1, 1.6, 2.4, 4.0},
                                              {0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.55}};
static const confidence_scale sampled_scale = {{0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9},
                                               {0.5, 0.52, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 0.6}};

static const confidence_scale *scale_of(bool greedy)
{
    return greedy ? &greedy_scale : &sampled_scale;
}

unsigned rt_belief_bin(bool greedy, double confidence)
{
    const double *ends = scale_of(greedy)->ends;
    unsigned bin = 0;
    while (bin < RT_BELIEF_BINS - 2 && confidence >= ends[bin])
        bin++;
    return isnan(confidence) ? RT_BELIEF_BINS - 1 : bin;
}

static void age_bin(rt_beliefs *beliefs, unsigned bin, double kept)
{
    beliefs->tried[bin] *= kept;
    beliefs->kept[bin] *= kept;
}

void rt_belief_text(rt_beliefs *beliefs)
{
    beliefs->text_kept = beliefs->text_expected = 0;
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++)
        age_bin(beliefs, bin, 1 - beliefs->untried);
    beliefs->untried = 0;
}

void rt_belief_estimate(rt_beliefs *beliefs, bool greedy)
{
    const double *priors = scale_of(greedy)->rates;
    double kept = ALL_WEIGHT, expected = ALL_WEIGHT;
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        kept += beliefs->kept[bin];
        expected += beliefs->tried[bin] * priors[bin];
    }
    const double text = (beliefs->text_kept + TEXT_WEIGHT) / (beliefs->text_expected + TEXT_WEIGHT);
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        const double prior = fmin(priors[bin] * kept / expected, RT_BELIEF_MOST);
        beliefs->usual[bin] =
            (beliefs->kept[bin] + BIN_WEIGHT * prior) / (beliefs->tried[bin] + BIN_WEIGHT);
        beliefs->rates[bin] = fmin(beliefs->usual[bin] * text, RT_BELIEF_MOST);
    }
    beliefs->proportions[0] = 1;
    for (unsigned order = 1; order < RT_BELIEF_CHILDREN; order++)
        beliefs->proportions[order] = (beliefs->later[order] + LATER_WEIGHT * LATER_PRIOR) /
                                      (beliefs->expected[order] + LATER_WEIGHT);
}

void rt_belief_frequencies(const rt_beliefs *beliefs, bool root, double result[RT_BELIEF_BINS])
{
    double all = 0;
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++) {
        const bool known = bin != RT_BELIEF_BINS - 1;
        result[bin] = beliefs->seen[!root][bin] + (known ? SEEN_PRIOR : 0);
        all += result[bin];
    }
    for (unsigned bin = 0; bin < RT_BELIEF_BINS; bin++)
        result[bin] /= all;
}

void rt_belief_saw(rt_beliefs *beliefs, bool root, unsigned bin, uint8_t children)
{
    double *seen = beliefs->seen[!root];
    for (unsigned i = 0; i < RT_BELIEF_BINS; i++)
        seen[i] *= SEEN_KEPT;
    seen[bin]++;
    if (children == 0) {
        age_bin(beliefs, bin, UNTRIED_KEPT);
    } else if (children < RT_BELIEF_CHILDREN) {
        beliefs->expected[children] *= UNTRIED_KEPT;
        beliefs->later[children] *= UNTRIED_KEPT;
    }
}

static void note(double *counted, double *kept, double weight, bool was_kept)
{
    *counted = *counted * BIN_KEPT + weight;
    *kept = *kept * BIN_KEPT + was_kept;
}

void rt_belief_verified(rt_beliefs *beliefs, const rt_tree *tree, uint32_t node, unsigned bin,
                        uint32_t kept)
{
    uint32_t order = 0;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0; order++) {
        if (order >= RT_BELIEF_CHILDREN)
            return;
        if (order == 0) {
            note(&beliefs->tried[bin], &beliefs->kept[bin], 1, child == kept);
            beliefs->text_kept = beliefs->text_kept * TEXT_KEPT + (child == kept);
            beliefs->text_expected = beliefs->text_expected * TEXT_KEPT + beliefs->usual[bin];
        } else {
            note(&beliefs->expected[order], &beliefs->later[order], beliefs->rates[bin],
                 child == kept);
        }
        if (child == kept)
            return;
    }
}

void rt_belief_idle(rt_beliefs *beliefs)
{
    beliefs->text_kept *= TEXT_KEPT;
    beliefs->text_expected *= TEXT_KEPT;
    beliefs->untried += (1 - beliefs->untried) * IDLE_FORGOTTEN;
}
