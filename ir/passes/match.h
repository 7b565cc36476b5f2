/* Small questions about a graph that pattern-matching passes ask: what stands behind an operand,
 * is it this constant, which part of which value is it, and what does its cone compute.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Questions answer true or false. One that had to read data and could not (no memory, a failed
 * read) answers false and leaves the reason in `status`, which the pass looks at after each node.
 */
#ifndef TANDEM_IR_PASSES_MATCH_H
#define TANDEM_IR_PASSES_MATCH_H

#include "ir/evaluate.h"

#define MATCH_MAX_POSITIONS 8

typedef struct matcher {
    td_context *context;
    ir_graph *graph;
    bool *constant; /* by value id: computed from constants alone */
    ir_symbol tokens, slots;
    ir_evaluator *evaluator;
    int64_t *symbols;  /* one per module symbol */
    ir_tensor *inputs; /* one per graph input, data owned here */
    td_status status;
} matcher;

/* Numbers the graph. The graph and its numbering must stay as they are until match_release. */
td_status match_init(matcher *match, ir_graph *graph, ir_symbol tokens, ir_symbol slots);
void match_release(matcher *match);

/* The value behind conversions between float types, and behind reshapes and broadcasts that leave
 * the shape as it is. */
ir_value *match_skip(ir_value *value);

/* The node behind match_skip(value) when it is of this op, else NULL. */
ir_node *match_node(ir_value *value, ir_opcode op);

/* Whether both operands are one value, after match_skip. */
bool match_same(ir_value *a, ir_value *b);

/* Whether the value is computed from constants alone. */
bool match_is_constant(const matcher *match, const ir_value *value);

/* Constants by content; a constant cone is evaluated. match_scalar wants one element,
 * match_numbers exactly `count`. */
bool match_scalar(matcher *match, ir_value *value, double *number);
bool match_is_number(matcher *match, ir_value *value, double expected);
bool match_numbers(matcher *match, ir_value *value, uint64_t count, float *numbers);

/* A binary node as (one operand that is a constant scalar, the other one), in either order. */
bool match_scalar_operand(matcher *match, const ir_node *node, double *number, ir_value **other);

/* Whether the value is `whole` cut to [begin, begin + length) along its last axis, by slice,
 * strided_slice or split with step 1. A value that is not a cut is no part. */
bool match_part(matcher *match, ir_value *value, ir_value **whole, int64_t *begin, int64_t *length);

/* -1 times another value: negate or a product with the constant -1. */
bool match_negated(matcher *match, ir_value *value, ir_value **other);

/* Evaluates the cone of a value for a batch of one, with `slots` committed slots and `tokens` new
 * tokens: input_ids are zero, attention_mask is all ones, position_ids are `positions` (or counted
 * from `slots` when NULL), beam_idx is zero. The tensor stays valid until the next evaluation. */
td_status match_evaluate(matcher *match, ir_value *value, int64_t slots, int64_t tokens,
                         const int64_t *positions, const ir_tensor **tensor);

/* Element i of a tensor of a float, integer or bool type. */
double match_element(const ir_tensor *tensor, uint64_t i);

#endif
