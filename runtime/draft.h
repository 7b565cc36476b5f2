/* Which trees are drafted, and how a level of one grows out of the drafter's distributions.
 *
 * SPDX-License-Identifier: MIT
 *
 * Children of a node are drawn from q one after the other without replacement, q being normalised
 * anew after each: the law of the k largest of log q + Gumbel noise, in their order (Gumbel-top-k;
 * arXiv:2402.14160, RSD-C). Seen as an exponential race in which id x arrives after a time
 * Exp(1) / q(x), the k-th child is the k-th to arrive, the waiting time from one arrival to the
 * next is Exp(1) / (mass not yet arrived), and who arrives is independent of when. Stochastic beam
 * search (RSD-S) lets the ids below all nodes of a level race, each with the mass of its whole
 * path, and keeps the first `width` to arrive; the first child of a node arrives when the node
 * itself did. With psi = -log time this is the recursion for conditional maxima of Kool et al.,
 * computed for the winners only. */
#ifndef TANDEM_RUNTIME_DRAFT_H
#define TANDEM_RUNTIME_DRAFT_H

#include "runtime/noise.h"
#include "runtime/sample.h"
#include "runtime/tandem.h"
#include "runtime/tree.h"

/* --- what is asked for --- */

typedef enum rt_draft_kind {
    RT_DRAFT_NONE,     /* "0": plain decoding */
    RT_DRAFT_CONSTANT, /* "N", a chain, and "rsd-c:b0,b1,...": so many children for every node of a
                          level */
    RT_DRAFT_BEAM,     /* "rsd-s:WxL": at most W nodes a level, L levels */
    RT_DRAFT_AUTO      /* "auto": children chosen node by node from what pays (choose.h) */
} rt_draft_kind;

/* A tree's shape, settled before a round's first draw. */
typedef struct rt_shape {
    rt_draft_kind kind;
    uint32_t levels;
    uint8_t widths[RT_MAX_DRAFT]; /* by level: children of each node, or nodes of the beam */
} rt_shape;

/* Reads what --draft accepts. A sentence in *error and TANDEM_INVALID when it is none of that, or
 * when its tree may have more than `most` nodes. NULL is the default draft. */
tandem_status rt_read_draft(const char *text, uint32_t most, tandem_error *error, rt_shape *shape);

/* Most nodes at a level (1 .. levels) of a tree of this shape, and on all its levels. */
uint32_t rt_shape_width(const rt_shape *shape, uint32_t level);
uint32_t rt_shape_nodes(const rt_shape *shape);

/* What there is room for in a round. */
typedef struct rt_limits {
    uint32_t levels, width, nodes;
    uint32_t passed; /* nodes that the drafter passes, which are those above the last level */
} rt_limits;

/* Drops the deepest levels until the tree is within the limits. */
rt_shape rt_shape_within(const rt_shape *shape, const rt_limits *limits);

/* --- how it grows --- */

/* A node of the deepest level with what the drafter says about the token behind it. */
typedef struct rt_branch {
    uint32_t node;
    /* dice != NULL: weights; what was drawn is taken out until rt_branch_close. dice == NULL:
     * logits or weights, of which the largest are taken, and not given back. */
    rt_weights q;
    double whole; /* total of q before anything was taken; 0: values are logits */
    bool sought;  /* greedy: `best` is the entry of the largest value of q as it came */
    uint32_t best;
    uint32_t last; /* entry of the child drawn last */
    double next;   /* when its next child arrives; greedy: minus the mass of its next child */
} rt_branch;

/* What drawing needs. NULL dice: greedy, the largest q first, ties to the lowest id. */
typedef struct rt_growth {
    rt_tree *tree;
    const rt_dice *dice;
    rt_branch *branches; /* one for each node of the deepest level, in order */
    uint32_t count;
} rt_growth;

/* Adds a level in which branch i gets children[i] children, or as many as its q has ids. */
void rt_grow_each(const rt_growth *growth, const uint8_t *children);
/* Adds a level of the `width` best children of all branches. Greedy: q must be weights. */
void rt_grow_beam(const rt_growth *growth, uint32_t width);

#endif
