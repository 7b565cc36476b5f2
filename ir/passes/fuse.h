/* What the passes that fuse share.
 *
 * A pass looks at the readers of values as they were when it began. That stays true: a value that
 * replaces another keeps its number and its readers, and the values looked at are read by nothing
 * but what is fused.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_FUSE_H
#define TANDEM_IR_PASSES_FUSE_H

#include "ir/passes/passes.h"

/* Operands of the largest node that is made: activations with scales, weights, biases. */
#define FUSE_MOST_INPUTS (3 + 2 * IR_MOST_GROUPED)

typedef td_status (*fuse_node)(ir_node *node, ir_uses *uses);

/* Offers every node of every graph, in order, to a pass. The pass may remove the node and any
 * before it. */
td_status fuse_each(ir_module *module, fuse_node visit);

/* Whether one node reads the value, once, and it is no output of the graph. */
bool fuse_is_read_once(const ir_uses *uses, const ir_value *value);

/* The node that makes a value if it is linear or linear_quantized with a constant weight and rows
 * as its result; else NULL. */
ir_node *fuse_product_of(const ir_value *value);

/* Whether two such products have the same operation and activations, and both a bias or none. */
bool fuse_are_siblings(const ir_node *a, const ir_node *b);

/* Operands for a product of several siblings: activations, weights, biases. */
uint32_t fuse_collect(ir_node *const *products, uint32_t count, ir_value **inputs);

/* `to`, which is new, is read wherever `from` was. */
void fuse_replace(ir_graph *graph, const ir_value *from, ir_value *to);

#endif
