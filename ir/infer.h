/* Helpers of the shape rules.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_INFER_H
#define TANDEM_IR_INFER_H

#include "ir/private.h"

/* The most elements of a shape-like input that a rule looks at. */
#define IR_MAX_LIST 64

/* A sentence about the node; ir_node_infer puts graph and layer before it. */
#define ir_infer_fail(node, ...) td_fail((node)->graph->module->context, TD_INVALID, __VA_ARGS__)

static inline const ir_shape *ir_input_shape(const ir_node *node, uint32_t input)
{
    return &node->inputs[input]->shape;
}

static inline void ir_set_output(ir_node *node, uint32_t output, ir_type type,
                                 const ir_shape *shape)
{
    node->outputs[output]->type = type;
    node->outputs[output]->shape = *shape;
}

/* Appends a dimension; refuses more than IR_MAX_RANK. */
td_status ir_shape_push(const ir_node *node, ir_shape *shape, const ir_dim *dim);

/* The text of a shape for messages, cut to the buffer. */
typedef struct ir_dim_text {
    char text[160];
} ir_dim_text;
ir_dim_text ir_shape_describe(const ir_module *module, const ir_shape *shape);

/* One dimension for two that must be equal: equal forms match, a constant wins over symbols (a
 * later unification may prove it), of two different symbolic forms the first stands. Two different
 * constants are refused. */
td_status ir_merge_dims(const ir_node *node, const ir_dim *a, const ir_dim *b, const char *what,
                        ir_dim *merged);

/* The shape of both operands broadcast as numpy does: merged dimension by dimension from the last
 * one on, where a 1, or a dimension that is not there, stretches to the other's size. */
td_status ir_broadcast_shapes(const ir_node *node, const ir_shape *a, const ir_shape *b,
                              ir_shape *merged);

/* A fresh dimension, for what cannot be known yet. */
td_status ir_fresh(ir_node *node, int64_t bound, ir_dim *dim);

/* The integers of an input that is a constant with data. `known` is false when it is computed, an
 * input or missing; `count` is then its number of elements, which must be static. */
typedef struct ir_list {
    bool known;
    size_t count;
    int64_t value[IR_MAX_LIST];
} ir_list;
td_status ir_input_list(const ir_node *node, uint32_t input, ir_list *list);

/* Attributes that an op cannot do without, and axes within [0, rank). */
td_status ir_require_int(const ir_node *node, const char *name, int64_t *value);
td_status ir_require_string(const ir_node *node, const char *name, const char **value);
td_status ir_require_ints(const ir_node *node, const char *name, const ir_attribute **attribute);
td_status ir_require_axis(const ir_node *node, uint32_t rank, uint32_t *axis);
td_status ir_check_axis(const ir_node *node, int64_t axis, uint32_t rank);
td_status ir_require_rank(const ir_node *node, uint32_t input, uint32_t rank);
/* The type that attribute "type" names, or `otherwise` when there is none. */
td_status ir_type_attribute(const ir_node *node, ir_type otherwise, ir_type *type);
td_status ir_require_state(const ir_node *node, ir_state_kind kind, const ir_state **state);

#endif
