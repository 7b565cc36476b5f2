/* The draft tree: guessed tokens, rooted in the last committed one.
 *
 * SPDX-License-Identifier: MIT
 *
 * Nodes stand in level order: a parent before its children, and siblings in the order in which they
 * were drawn. Node 0 is the root. */
#ifndef TANDEM_RUNTIME_TREE_H
#define TANDEM_RUNTIME_TREE_H

#include <stdbool.h>
#include <stdint.h>

#define RT_MAX_DRAFT 64u /* most nodes of a tree, the root not counted */

/* A guessed token, and how it was drawn. */
typedef struct rt_node {
    int32_t id;
    uint32_t parent, depth; /* the root has depth 0 and parent 0 */
    uint32_t order;         /* among its siblings: 0 was drawn first */
    uint64_t ancestors;     /* bit i - 1: node i is this node or above it; the root is no bit */
    uint32_t entry;         /* of its id in the drafter's row */
    float weight;           /* there, before it was drawn */
    double mass;            /* the drafter's probability of the path from the root to here */
    double time;            /* of arrival, in stochastic beam search: exp(-psi) */
    double total;           /* sum of the drafter's weights for the token behind this node; 0: its
                               children, if any, were not drawn */
} rt_node;

/* Levels of nodes. */
typedef struct rt_tree {
    uint32_t count;  /* nodes, the root included */
    uint32_t levels; /* depth of the deepest node */
    bool copied;     /* its tokens, a chain, were not drawn but copied out of the text (copy.h) */
    uint32_t first[RT_MAX_DRAFT + 2]; /* first node of each level; first[levels + 1] is count */
    rt_node nodes[RT_MAX_DRAFT + 1];
} rt_tree;

/* A tree that is only its root. */
void rt_tree_start(rt_tree *tree, int32_t root);

/* Opens the level below the deepest one; nodes are added to it until the next call. */
void rt_tree_deepen(rt_tree *tree);

/* Adds a child of a node of the level above the deepest one, the next in drawing order, and returns
 * its number. There must be room: fewer than RT_MAX_DRAFT nodes below the root. */
uint32_t rt_tree_add(rt_tree *tree, uint32_t parent, int32_t id);

/* The child of a node that was drawn after `previous` (0: the first one); 0 when there is none. */
uint32_t rt_tree_next_child(const rt_tree *tree, uint32_t parent, uint32_t previous);

/* Writes the visibility masks of nodes first .. first + count - 1 for a pass in which the root
 * stands at place root_place of the tail, behind nothing but its own past, and node i at place
 * root_place + i: `words` 64-bit words a row (see TANDEM_INPUT_ANCESTORS). */
void rt_tree_masks(const rt_tree *tree, uint32_t first, uint32_t count, uint32_t root_place,
                   uint32_t words, uint64_t *masks);

/* The masks of tokens place .. place + count - 1 of a tail that is one chain. */
void rt_chain_masks(uint32_t place, uint32_t count, uint32_t words, uint64_t *masks);

#endif
