/* Drafting what pays: round by round, from measured costs and seen acceptance.
 *
 * SPDX-License-Identifier: MIT
 *
 * A round drafts nothing, a chain that is copied out of the text (copy.h), or a tree of the
 * drafter's whose nodes are chosen one by one: children whose path is likely enough to be kept
 * (belief.h) to be worth their price (choose_plan.h), by what passes cost on this device (costs.h).
 *
 * Nothing depends on a draw that it decides about: how many children a node gets is settled from
 * the drafter's distribution there, from earlier levels and earlier rounds. So the text keeps the
 * target's law. With recorded costs it depends on counts only, and a seed reproduces it.
 *
 * The first token of a text never waits for the drafter. Behind it the drafter takes up the end of
 * the prompt, and so it does where copies got ahead of it: as many tokens as cost a small part of
 * what drafting is expected to save. What it never sees makes its guesses worse, not the text.
 *
 * When drafting does not pay it stops, and looks again for a few rounds after pauses that double.
 * What drafting has lost against plain decoding, by the table of costs, is kept account of, and
 * bounds what is spent until enough rounds have shown that it pays, and on looks. */
#ifndef TANDEM_RUNTIME_CHOOSE_H
#define TANDEM_RUNTIME_CHOOSE_H

#include "runtime/belief.h"
#include "runtime/choose_plan.h"
#include "runtime/copy.h"
#include "runtime/costs.h"
#include "runtime/tree.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_CHOOSE_REGIMES 4u /* ranges of temperature, whose acceptances are kept apart */

/* What is known of drafts at some range of temperatures. */
typedef struct rt_regime {
    rt_beliefs beliefs;
    rt_copy_record copies;
    rt_choose_plan plan;
    bool pays;                          /* asking the drafter, by the plan */
    double round_tokens, round_seconds; /* of late rounds that it drafted; seconds by the table */
    double width;                       /* of a tree's levels, on the average of late */
    /* When to think again. */
    uint32_t idle;            /* rounds since the last plan that drafted nothing */
    uint32_t rounds, planned; /* rounds that the drafter drafted; at the last plan */
    uint32_t pause, interval; /* rounds until the next look; the last pause */
    uint32_t look;            /* rounds left of a look */
} rt_regime;

typedef struct rt_chooser {
    rt_costs costs;
    rt_choose_times times;
    rt_regime regimes[RT_CHOOSE_REGIMES];
    uint64_t plain_rounds; /* without a draft, since rt_choose_clear */
    double loss;           /* to drafts, by the table of costs, in rounds of plain decoding */
    double missed; /* seconds that drafts would have gained, had the drafter been up to date */
    /* The current round. */
    rt_regime *regime;
    bool greedy, forced;
    uint32_t agree;         /* of the copy that is this round's draft; 0: it is none */
    bool fresh;             /* the last round told something new about costs */
    uint32_t most, chosen;  /* nodes */
    uint32_t levels;        /* most */
    uint32_t context;       /* tokens that the drafter takes up at most before it drafts */
    unsigned price;         /* of a node: a rule of the plan */
    double spent, invested; /* by the table: on the drafter's levels; on bringing it up to date */
    double passes_before;   /* by the clock */
    double path[RT_MAX_DRAFT + 1];  /* probability that a node is kept, by node */
    uint8_t bins[RT_MAX_DRAFT + 1]; /* of the distributions below the nodes */
} rt_chooser;

/* What a round may do. */
typedef struct rt_choose_round {
    double temperature;
    uint32_t nodes, levels; /* most that there is room for; 0: no draft */
    uint32_t behind;        /* tokens of the text that the drafter has not passed */
    uint32_t left;          /* tokens wanted, about */
    uint32_t agree;  /* tokens that agree with a place that can be copied; 0: there is none */
    uint32_t copied; /* most tokens of a copy that there is room for */
    bool first;      /* no token of this text has been written yet */
    bool whole;      /* the drafter must not leave out any token of the text */
} rt_choose_round;

/* Forgets everything that was learned. The bytes are those that a pass of each model reads. */
void rt_choose_clear(rt_chooser *chooser, uint64_t target_bytes, uint64_t drafter_bytes);

/* Begins a text that is to be gone on with at this temperature. */
void rt_choose_text(rt_chooser *chooser, double temperature);

/* Where a round's draft comes from. */
typedef enum rt_choose_source {
    RT_CHOOSE_PLAIN,   /* there is none, and the drafter stays where it is */
    RT_CHOOSE_COPY,    /* the text itself: a chain of chooser->most tokens, no less */
    RT_CHOOSE_DRAFTER, /* a tree of chooser->most nodes at most, behind chooser->context tokens */
} rt_choose_source;

/* Begins a round. Unless the drafter drafts only rt_choose_verified and rt_choose_end follow. A
 * first round with much to catch up is plain, so that the first token does not wait for the
 * drafter. Cost: 0.2 microseconds, and 10 more where it plans anew. */
rt_choose_source rt_choose_begin(rt_chooser *chooser, const rt_choose_round *round);

/* Lowers what the round that has begun may do: the drafter had to be brought up to date, and has
 * less room now. To be called before rt_choose_deeper. */
void rt_choose_narrow(rt_chooser *chooser, uint32_t nodes, uint32_t levels);

/* Whether the drafter is to pass the deepest level of the tree (at first: the root). */
bool rt_choose_deeper(rt_chooser *chooser, const rt_tree *tree);

/* How many children a node of the deepest level gets, 0 .. RT_BELIEF_CHILDREN. To be called for its
 * nodes in order, before any child of the level is drawn. `confidence`: see belief.h; NaN: not
 * known. */
uint8_t rt_choose_children(rt_chooser *chooser, const rt_tree *tree, uint32_t node,
                           double confidence);

/* A node with children was verified: `kept` is the child that was kept, or 0. */
void rt_choose_verified(rt_chooser *chooser, const rt_tree *tree, uint32_t node, uint32_t kept);

/* Ends a round that emitted so many tokens and took so many seconds, its passes included. */
void rt_choose_end(rt_chooser *chooser, const rt_tree *tree, uint32_t tokens, double seconds);

#endif
