/* The tree that pays: how much to draft, node by node, from measured costs and seen acceptance.
 *
 * SPDX-License-Identifier: MIT
 *
 * A round that drafts n tokens takes longer than plain decoding and may emit more. What is
 * maximised is tokens per second over rounds; by Dinkelbach's argument the best rule is the one
 * that maximises tokens - speed * seconds of a round, where `speed` is the tokens per second that
 * this rule itself brings. So a further child of a node is worth drawing when the probability that
 * it will be kept exceeds speed * (what one more node adds to the round's time) less what its own
 * descendants are worth, and a further pass of the drafter when the nodes it continues are worth
 * more than speed * its time. What a node is worth depends on the probability of its path only (its
 * acceptance given its ancestors is that of any node): a function of one number, found by dynamic
 * programming over a few values of it. Compare Sequoia (arXiv:2402.12374), whose tree is fixed in
 * advance and grown from mean acceptances.
 *
 * The probability that a first child is kept is estimated by how sure the drafter is: at
 * temperature 0 the gap between its two largest logits, otherwise its largest probability. Later
 * children are kept, when those before them were not, in a proportion that is estimated by their
 * order.
 *
 * Nothing depends on a draw that it decides about: how many children a node gets is settled from
 * the drafter's distribution there, from earlier levels and earlier rounds. So the text keeps the
 * target's law. With recorded costs (costs.h) it depends on counts only, and a seed reproduces it.
 *
 * When drafting does not pay it stops, and looks again for a few rounds after pauses that double.
 * What drafting has lost against plain decoding, by the table of costs, is kept account of, and
 * bounds what is spent until enough rounds have shown that it pays, and on looks. */
#ifndef TANDEM_RUNTIME_CHOOSE_H
#define TANDEM_RUNTIME_CHOOSE_H

#include "runtime/copy.h"
#include "runtime/costs.h"
#include "runtime/tree.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_CHOOSE_BINS     9u /* of confidence; the last one: not known */
#define RT_CHOOSE_CHILDREN 8u /* most of one node */
#define RT_CHOOSE_REGIMES  4u /* ranges of temperature, whose acceptances are kept apart */
#define RT_CHOOSE_POINTS   9u /* probabilities i / 8 of a path, at which its worth is known */

/* What is believed about drafts at some range of temperatures. */
typedef struct rt_regime {
    /* Counts, of which old ones are forgotten. */
    double seen[2][RT_CHOOSE_BINS]; /* distributions by confidence: at roots, at other nodes */
    double tried[RT_CHOOSE_BINS], kept[RT_CHOOSE_BINS];             /* first children */
    double expected[RT_CHOOSE_CHILDREN], later[RT_CHOOSE_CHILDREN]; /* children by order */
    double text_kept, text_expected; /* first children of late in this text, and how many would
                                        have been kept in any text */
    rt_copy_record copies;
    double untried; /* part of the counts that the next text forgets */
    /* What follows from them. */
    double usual[RT_CHOOSE_BINS];           /* a first child is kept, in texts on the average */
    double rates[RT_CHOOSE_BINS];           /* the same in this text */
    double proportions[RT_CHOOSE_CHILDREN]; /* of later ones: times the rate of the first */
    double worth[RT_CHOOSE_POINTS];         /* of a node whose path is kept with probability i / 8,
                                               in tokens */
    double speed;                           /* tokens per second; 0: not planned yet */
    double round_tokens, round_seconds;     /* of late rounds that drafted; seconds by the table */
    double nodes, width; /* of a tree and of its levels, on the average of late */
    double promised;     /* tokens per second that the last plan expects */
    double gain;         /* tokens of a round more than its longer time would bring at `speed` */
    bool pays;
    /* When to think again. */
    uint32_t idle;            /* rounds that drafted nothing since then */
    uint32_t rounds, planned; /* rounds that drafted; at the last plan */
    uint32_t pause, interval; /* rounds until the next look; the last pause */
    uint32_t look;            /* rounds left of a look */
} rt_regime;

typedef struct rt_chooser {
    rt_costs costs;
    rt_regime regimes[RT_CHOOSE_REGIMES];
    uint64_t plain_rounds; /* without a draft, since rt_choose_clear */
    double loss;           /* to drafts, by the table of costs, in rounds of plain decoding */
    double missed; /* seconds that drafts would have gained, had the drafter been up to date */
    /* Seconds: of a target's pass and the rest of a round, by draft tokens; of a drafter's pass, by
     * tokens. */
    double round_seconds[RT_COST_SIZES], level_seconds[RT_COST_SIZES];
    double catch_up_seconds; /* a token */
    /* The current round. */
    rt_regime *regime;
    bool greedy, forced;
    uint32_t agree;         /* of the copy that is this round's draft; 0: it is none */
    bool fresh;             /* the last round told something new about costs */
    uint32_t most, chosen;  /* nodes */
    uint32_t levels;        /* most */
    double spent, invested; /* by the table: on the drafter's levels; on bringing it up to date */
    double passes_before;   /* by the clock */
    double path[RT_MAX_DRAFT + 1]; /* probability that a node is kept, by node */
    double worth[RT_MAX_DRAFT + 1];
    uint8_t bins[RT_MAX_DRAFT + 1]; /* of the distributions below the nodes */
} rt_chooser;

/* What a round may do. */
typedef struct rt_choose_round {
    double temperature;
    uint32_t nodes, levels; /* most that there is room for; 0: no draft */
    uint32_t behind;        /* tokens that the drafter has to pass before it can draft */
    uint32_t left;          /* tokens wanted, about */
    uint32_t agree;  /* tokens that agree with a place that can be copied; 0: there is none */
    uint32_t copied; /* most tokens of a copy that there is room for */
    bool first;      /* no token of this text has been written yet */
} rt_choose_round;

/* Forgets everything that was learned. The bytes are those that a pass of each model reads. */
void rt_choose_clear(rt_chooser *chooser, uint64_t target_bytes, uint64_t drafter_bytes);

/* A text that is to be gone on with. */
typedef struct rt_choose_text {
    double temperature;
    uint32_t behind;       /* tokens that the drafter has to pass before it can draft */
    uint32_t left;         /* tokens wanted, about */
    double passed_seconds; /* what passing the prompt through the target took */
} rt_choose_text;

/* Begins a text. Returns whether the drafter takes up the prompt before the first token: that puts
 * it off by little, and what is expected to be gained is more, or may be. Where this says no the
 * drafter is brought up to date later, if ever. */
bool rt_choose_prompt(rt_chooser *chooser, const rt_choose_text *text);

/* Where a round's draft comes from. */
typedef enum rt_choose_source {
    RT_CHOOSE_PLAIN,   /* there is none, and the drafter stays where it is */
    RT_CHOOSE_COPY,    /* the text itself: a chain of chooser->most tokens, no less */
    RT_CHOOSE_DRAFTER, /* a tree of chooser->most nodes at most */
} rt_choose_source;

/* Begins a round. Unless the drafter drafts only rt_choose_verified and rt_choose_end follow. A
 * first round with much to catch up is plain, so that the first token does not wait for the
 * drafter. */
rt_choose_source rt_choose_begin(rt_chooser *chooser, const rt_choose_round *round);

/* Lowers what the round that has begun may do: the drafter had to be brought up to date, and has
 * less room now. To be called before rt_choose_deeper. */
void rt_choose_narrow(rt_chooser *chooser, uint32_t nodes, uint32_t levels);

/* Whether the drafter is to pass the deepest level of the tree (at first: the root). */
bool rt_choose_deeper(rt_chooser *chooser, const rt_tree *tree);

/* How many children a node of the deepest level gets, 0 .. RT_CHOOSE_CHILDREN. To be called for its
 * nodes in order, before any child of the level is drawn. `confidence`: see above; NaN: not known.
 */
uint8_t rt_choose_children(rt_chooser *chooser, const rt_tree *tree, uint32_t node,
                           double confidence);

/* A node with children was verified: `kept` is the child that was kept, or 0. */
void rt_choose_verified(rt_chooser *chooser, const rt_tree *tree, uint32_t node, uint32_t kept);

/* Ends a round that emitted so many tokens and took so many seconds, its passes included. */
void rt_choose_end(rt_chooser *chooser, const rt_tree *tree, uint32_t tokens, double seconds);

#endif
