/* What is believed about the drafter: how often its tokens are kept, learned from the drafts so
 * far.
 *
 * SPDX-License-Identifier: MIT
 *
 * The probability that a first child is kept is estimated by how sure the drafter is: at
 * temperature 0 the gap between its two largest logits, otherwise its largest probability, in bins.
 * A bin's rate is a prior rate times a level that all bins share, then its own counts; and texts
 * differ. Later children are kept, when those before them were not, in a proportion to it that is
 * estimated by their order. What was seen long ago counts for less, so that what was given up is
 * tried again. */
#ifndef TANDEM_RUNTIME_BELIEF_H
#define TANDEM_RUNTIME_BELIEF_H

#include "runtime/tree.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_BELIEF_BINS     9u   /* of confidence; the last one: not known */
#define RT_BELIEF_CHILDREN 8u   /* most of one node */
#define RT_BELIEF_MOST     0.97 /* probability that anything is kept; a tree's worth stays finite */

/* All zeros in the beginning. */
typedef struct rt_beliefs {
    /* Counts, of which old ones are forgotten. */
    double seen[2][RT_BELIEF_BINS]; /* distributions by confidence: at roots, at other nodes */
    double tried[RT_BELIEF_BINS], kept[RT_BELIEF_BINS];             /* first children */
    double expected[RT_BELIEF_CHILDREN], later[RT_BELIEF_CHILDREN]; /* children by order */
    double text_kept, text_expected; /* first children of late in this text, and how many would
                                        have been kept in any text */
    double untried;                  /* part of the counts that the next text forgets */
    /* What follows from them. */
    double usual[RT_BELIEF_BINS];           /* a first child is kept, in texts on the average */
    double rates[RT_BELIEF_BINS];           /* the same in this text */
    double proportions[RT_BELIEF_CHILDREN]; /* of later ones: times the rate of the first */
} rt_beliefs;

/* The bin of a confidence; NaN: it is not known. `greedy`: at temperature 0. */
unsigned rt_belief_bin(bool greedy, double confidence);

/* A text begins: nothing is known of it, and of what was not tried in others less than it was. */
void rt_belief_text(rt_beliefs *beliefs);

/* Works out rates from counts. */
void rt_belief_estimate(rt_beliefs *beliefs, bool greedy);

/* Probability that a child is kept when its parent was and its elder siblings were not. */
static inline double rt_belief_rate(const rt_beliefs *beliefs, unsigned bin, unsigned order)
{
    const double rate = beliefs->rates[bin] * beliefs->proportions[order];
    return rate < RT_BELIEF_MOST ? rate : RT_BELIEF_MOST;
}

/* The part in which each bin comes up, at roots or at other nodes; where little has been seen, all
 * alike.
 */
void rt_belief_frequencies(const rt_beliefs *beliefs, bool root, double result[RT_BELIEF_BINS]);

/* A distribution of this bin was seen, and gets so many children and no more. */
void rt_belief_saw(rt_beliefs *beliefs, bool root, unsigned bin, uint8_t children);

/* A node whose distribution is in this bin was verified: `kept` is the child that was kept, or 0.
 */
void rt_belief_verified(rt_beliefs *beliefs, const rt_tree *tree, uint32_t node, unsigned bin,
                        uint32_t kept);

/* A round drafted nothing. */
void rt_belief_idle(rt_beliefs *beliefs);

#endif
