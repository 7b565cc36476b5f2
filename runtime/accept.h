/* Verification of a draft tree: which path is kept, and which token comes after it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Recursive rejection sampling without replacement (arXiv:2402.14160, algorithm 2): at a node with
 * children x_1 .. x_K, drawn in this order from q without replacement,
 *     r_1 = p, q_1 = q; for k = 1 .. K: x_k is kept with probability min(1, r_k(x_k) / q_k(x_k));
 *     otherwise r_{k+1} = the positive part of r_k - q_k, normalised, and q_{k+1} = q_k without
 * x_k, normalised; when none was kept a token is drawn from r_{K+1}. What comes out has the law p,
 * whatever q and K are, as long as K was not chosen in view of which ids were drawn. After a single
 * child the draw from r_2 is one from p, repeated until it is kept with probability 1 - q / p. */
#ifndef TANDEM_RUNTIME_ACCEPT_H
#define TANDEM_RUNTIME_ACCEPT_H

#include "runtime/noise.h"
#include "runtime/sample.h"
#include "runtime/tree.h"

/* What the two models say about the token behind a node. */
typedef struct rt_site {
    rt_weights p;     /* over ids 0 .. count - 1 */
    rt_weights q;     /* as it was when the children were drawn; used up. total 0: no children */
    double *residual; /* room for p.row.count numbers */
} rt_site;

/* Decides at one node: the child that is kept, or 0 with the token that takes its place in *token.
 */
uint32_t rt_settle(const rt_tree *tree, uint32_t node, const rt_dice *dice, rt_site *site,
                   int32_t *token);

/* Greedy: the child with this id, or 0. */
uint32_t rt_settle_greedy(const rt_tree *tree, uint32_t node, int32_t choice);

#endif
