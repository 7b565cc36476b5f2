/* The reference evaluator: plain, slow C that defines what every op means. Compiled code is
 * compared against it node by node.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_EVALUATE_H
#define TANDEM_IR_EVALUATE_H

#include "ir/ir.h"

/* A concrete tensor. Storage by type: f32, f16 and bf16 as 2-byte patterns, i64, i32, i8, u8, bool
 * as one byte; 4-bit types unpacked to one byte each. Row-major. */
typedef struct ir_tensor {
    ir_type type;
    uint32_t rank;
    int64_t dim[IR_MAX_RANK];
    uint64_t elements;
    void *data; /* owned by the evaluator */
} ir_tensor;

/* One evaluation: keeps states between runs and every value of the last run. */
typedef struct ir_evaluator ir_evaluator;

/* `slots` is the capacity of each KV cache (0 when the module has none). */
td_status ir_evaluator_create(const ir_module *module, uint32_t slots, ir_evaluator **evaluator);
void ir_evaluator_release(ir_evaluator *evaluator);

/* Runs a graph. symbols: one value per module symbol (unified ones are ignored); a negative one is
 * unknown and takes the size that is met first; NULL: all are unknown. inputs: one tensor per graph
 * input, in order (elements are computed from dim); the data is not copied and must stay as long as
 * the input's value is read. Fails with a sentence naming the node when shapes or indices do not
 * fit; plain states then keep their values. Every value of the run can be read until the next run
 * when keep_all, else graph outputs only; a constant that an op streams is no tensor. */
td_status ir_evaluator_run(ir_evaluator *evaluator, ir_graph *graph, const int64_t *symbols,
                           const ir_tensor *inputs, bool keep_all);

/* The tensor of a value in the last run; NULL when it was not kept. Valid until the graph changes.
 */
const ir_tensor *ir_evaluator_value(const ir_evaluator *evaluator, const ir_value *value);

/* Committed slots of a cache (all heads alike), and its K or V: [kv_heads][slots][head_size] (NULL
 * before the first run that uses it). */
uint32_t ir_evaluator_committed(const ir_evaluator *evaluator, const ir_state *state);
const float *ir_evaluator_cache(const ir_evaluator *evaluator, const ir_state *state, bool values);
void ir_evaluator_reset(ir_evaluator *evaluator); /* empties all states */

/* Lets the runs that follow leave the first `tail` places of every cache's tail as earlier runs
 * filled them, and put their own tokens behind; 0, until it is called. A run fails when fewer
 * tokens stand there. */
void ir_evaluator_set_tail(ir_evaluator *evaluator, uint32_t tail);

/* Evaluates only the cone of `value`: inputs that it does not read may have NULL data. A shape_of
 * whose operand's declared shape is told by the symbols needs no operand, and a state that was
 * never written reads as zeros of its declared shape unless its initial value fits. Used by passes
 * to learn what a subgraph computes; costs a walk over the graph beside the cone. *result is valid
 * until the next run. */
td_status ir_evaluate_cone(ir_evaluator *evaluator, ir_graph *graph, const ir_value *value,
                           const int64_t *symbols, const ir_tensor *inputs,
                           const ir_tensor **result);

#endif
