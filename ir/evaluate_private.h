/* What the files of the evaluator share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every op has one function, named by a row of the table in ir/evaluate_table.c. It gets the
 * tensors of its inputs, allocates its outputs with ir_evaluate_allocate and fills them; the driver
 * (ir/evaluate.c) compares them with the declared types and shapes. Scratch memory is taken from
 * the evaluation and released after the node. */
#ifndef TANDEM_IR_EVALUATE_PRIVATE_H
#define TANDEM_IR_EVALUATE_PRIVATE_H

#include "ir/evaluate.h"

/* Output rows that a product computes side by side, one lane each. */
#define IR_PRODUCT_LANES 16

/* Decoded constants are kept up to this many bytes per evaluator; what goes beyond is read again
 * whenever it is needed. */
#define IR_DECODED_LIMIT ((uint64_t)256 << 20)

/* A constant as the evaluator keeps it: whole (for ops that take any tensor), or as product panels:
 * [rows / lanes][columns][lanes] numbers, with [rows / lanes][groups][lanes] scales when it is
 * quantised (the numbers are then stored - zero_point). */
typedef struct ir_decoded {
    const ir_constant *constant; /* NULL: empty */
    ir_tensor tensor;            /* data NULL: not kept */
    float *panels, *scales;      /* NULL: not kept */
} ir_decoded;

typedef struct ir_state_data {
    const ir_state *state; /* NULL: not used yet */
    ir_tensor value;       /* plain: what was written, rank and data */
    ir_tensor pending;     /* plain: written in the pass that runs */
    bool written, has_pending;
    float *keys, *values;     /* cache: [kv_heads][slots][head_size] */
    uint32_t committed, tail; /* tokens there */
} ir_state_data;

/* The tensor of one value of the last run. */
typedef struct ir_slot {
    const ir_value *value; /* NULL: nothing here; data may be NULL (an input without data) */
    ir_tensor tensor;
    uint32_t readers; /* that have not run yet, graph outputs included */
    bool owned;       /* data is released with the slot */
    bool uncounted;   /* made by a shape_of that is no reader of its operand (in cones) */
    bool needed;      /* by the target of a cone */
} ir_slot;

struct ir_evaluator {
    const ir_module *module;
    td_context *context;
    uint32_t slots;
    uint32_t tail;                /* places of each cache's tail that stay */
    TD_ARRAY(ir_decoded) decoded; /* by index of the constant */
    uint64_t decoded_bytes;
    TD_ARRAY(ir_state_data) states; /* by index in the module */
    TD_ARRAY(int64_t) symbols;      /* of the run; negative: unknown */
    const ir_graph *graph;          /* of the last run, whose values are in: */
    TD_ARRAY(ir_slot) values;
    TD_ARRAY(void *) scratch; /* of the node that runs */
    uint64_t most_elements;   /* of a result, while a cone is evaluated; 0: any number */
};

typedef td_status (*ir_evaluate_function)(ir_evaluator *evaluator, const ir_node *node,
                                          const ir_tensor *const *inputs, ir_tensor *outputs);

typedef struct ir_evaluate_row {
    ir_evaluate_function function; /* NULL: cannot be executed */
    int streamed_input; /* a constant here is read piece by piece, as weights of products are: its
                           tensor has no data; -1: none */
    int shape_input;    /* this one may be a graph input without data; -1: none */
} ir_evaluate_row;

const ir_evaluate_row *ir_evaluate_row_of(ir_opcode op);

/* --- services of the driver --- */

/* Records "graph: op "node": sentence" and returns status. */
td_status ir_evaluate_fail(ir_evaluator *evaluator, const ir_node *node, td_status status,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Zero-filled memory until the node is done; NULL when memory ran out. */
void *ir_evaluate_scratch(ir_evaluator *evaluator, uint64_t count, size_t size);

/* The state that the node's attribute {state} names, of the wanted kind. */
td_status ir_evaluate_state(ir_evaluator *evaluator, const ir_node *node, ir_state_kind kind,
                            ir_state_data **data);

/* Size of a declared dimension in this run; false when it is not known. */
bool ir_evaluate_dim(const ir_evaluator *evaluator, const ir_dim *dim, int64_t *value);

/* The kept form of a constant, to be filled in. NULL when memory ran out. */
ir_decoded *ir_evaluate_decoded(ir_evaluator *evaluator, const ir_constant *constant);

/* Counts `bytes` against IR_DECODED_LIMIT; false when they do not fit. */
bool ir_evaluate_keep(ir_evaluator *evaluator, uint64_t bytes);

/* --- tensors (ir/evaluate_tensor.c) --- */

/* Bytes of one stored element; 0 for types that are never computed. */
size_t ir_element_bytes(ir_type type);

/* Fills in type, shape and zeroed data. Refuses negative and overflowing sizes. `rank` is at most
 * IR_MAX_RANK. */
td_status ir_evaluate_allocate(ir_evaluator *evaluator, const ir_node *node, ir_type type,
                               uint32_t rank, const int64_t *dims, ir_tensor *tensor);
td_status ir_evaluate_allocate_like(ir_evaluator *evaluator, const ir_node *node, ir_type type,
                                    const ir_tensor *shape, ir_tensor *tensor);
/* A copy with dimensions of its own; elements must agree. */
td_status ir_evaluate_copy(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *from,
                           uint32_t rank, const int64_t *dims, ir_tensor *tensor);

/* The elements as numbers of one kind: the tensor's own data where it has that type, else scratch.
 * Floats of f16 and bf16 are widened; integers of bool are 0 or 1; doubles take every type. NULL
 * when memory ran out. */
const float *ir_tensor_floats(ir_evaluator *evaluator, const ir_tensor *tensor);
const double *ir_tensor_doubles(ir_evaluator *evaluator, const ir_tensor *tensor);
const int64_t *ir_tensor_integers(ir_evaluator *evaluator, const ir_tensor *tensor);

/* Writes numbers into a tensor of a fitting type, rounding or wrapping to it. */
void ir_tensor_store_floats(ir_tensor *tensor, const float *numbers);
void ir_tensor_store_doubles(ir_tensor *tensor, const double *numbers);
void ir_tensor_store_integers(ir_tensor *tensor, const int64_t *numbers);

/* Refuses inputs that are not f32, f16 or bf16. */
td_status ir_evaluate_want_floats(ir_evaluator *evaluator, const ir_node *node,
                                  const ir_tensor *input, int number);
td_status ir_evaluate_want_integers(ir_evaluator *evaluator, const ir_node *node,
                                    const ir_tensor *input, int number);
/* Reads an integer input of one axis (or a scalar) into at most `capacity` numbers. */
td_status ir_evaluate_list(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *input,
                           int number, uint32_t capacity, int64_t *list, uint32_t *count);

/* Attribute {name} as an axis below `rank`; negative ones count from the back. */
td_status ir_evaluate_axis(ir_evaluator *evaluator, const ir_node *node, const char *name,
                           uint32_t rank, uint32_t *axis);

/* Elements of dims[first .. last). */
int64_t ir_dims_product(const int64_t *dims, uint32_t first, uint32_t last);

/* Numpy broadcasting of two shapes; false when they do not fit. */
bool ir_dims_broadcast(uint32_t *rank, int64_t *dims, const ir_tensor *with);
/* Element strides of `tensor` seen as a tensor of `rank` dims (0 where it is broadcast). */
void ir_broadcast_strides(const ir_tensor *tensor, uint32_t rank, int64_t *strides);

/* Walks all index tuples of `dims` in row-major order; offset is start + sum of index * stride. */
typedef struct ir_walk {
    uint32_t rank;
    const int64_t *dims, *strides;
    int64_t index[IR_MAX_RANK];
    int64_t offset;
} ir_walk;

ir_walk ir_walk_start(uint32_t rank, const int64_t *dims, const int64_t *strides, int64_t start);
void ir_walk_next(ir_walk *walk);

/* Operands broadcast to one shape, and a walk through each. The walks point into the struct. */
#define IR_MAX_OPERANDS 3
typedef struct ir_operands {
    uint32_t count, rank;
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_OPERANDS][IR_MAX_RANK];
    ir_walk walk[IR_MAX_OPERANDS];
} ir_operands;

/* Of inputs[0 .. count); refuses shapes that do not fit. */
td_status ir_operands_start(ir_evaluator *evaluator, const ir_node *node, uint32_t count,
                            const ir_tensor *const *inputs, ir_operands *operands);
void ir_operands_next(ir_operands *operands);

/* to[i] = from[offset of the i-th index tuple of `to`]. */
void ir_copy_strided(const ir_tensor *from, int64_t start, const int64_t *strides, ir_tensor *to);

/* --- products (ir/evaluate_products.c) --- */

/* Rows of a weight [rows, columns] that is a constant or a tensor, panel by panel. */
typedef struct ir_panels {
    ir_evaluator *evaluator;
    const ir_constant *constant; /* or NULL: */
    const float *numbers;        /* row-major, when column_stride is 1 */
    int64_t row_stride, column_stride;
    uint64_t rows, columns, group, groups;
    const ir_decoded *kept;        /* panels are read from here, or NULL: */
    float *values, *scales, *read; /* scratch for one panel */
} ir_panels;

td_status ir_panels_of_constant(ir_evaluator *evaluator, const ir_constant *constant,
                                ir_panels *panels);
td_status ir_panels_of_numbers(ir_evaluator *evaluator, const float *numbers, uint64_t rows,
                               uint64_t columns, int64_t row_stride, int64_t column_stride,
                               ir_panels *panels);
/* out[t * rows + n] for tokens rows of x [tokens, columns]. With block_scales, x holds the integers
 * of quantize_rows and block_scales their scales; else NULL. */
td_status ir_panels_multiply(ir_panels *panels, uint64_t tokens, const float *x,
                             const float *block_scales, float *out);

/* --- parts of ops (ir/evaluate_language.c) --- */

/* The heads of x turned by a rotary table as {head_size, interleaved} of the node say, in scratch.
 */
td_status ir_evaluate_rotated(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                              const ir_tensor *table, float **result);

/* quantize_rows of numbers in rows of the shape of `like`: integers and scales to outputs 0, 1. */
td_status ir_evaluate_quantised(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *like,
                                const float *numbers, ir_tensor *outputs);

/* --- the ops, by file --- */

#define IR_EVALUATE(name)                                                                          \
    td_status ir_evaluate_##name(ir_evaluator *evaluator, const ir_node *node,                     \
                                 const ir_tensor *const *inputs, ir_tensor *outputs)

/* ir/evaluate_elementwise.c */
IR_EVALUATE(binary);
IR_EVALUATE(compare);
IR_EVALUATE(select);
IR_EVALUATE(unary);
IR_EVALUATE(convert);

/* ir/evaluate_products.c */
IR_EVALUATE(matmul);

/* ir/evaluate_linear.c */
IR_EVALUATE(products);
IR_EVALUATE(merge_largest);

/* ir/evaluate_reduce.c */
IR_EVALUATE(reduce);
IR_EVALUATE(softmax);
IR_EVALUATE(top_k);

/* ir/evaluate_movement.c */
IR_EVALUATE(shape_of);
IR_EVALUATE(reshape);
IR_EVALUATE(transpose);
IR_EVALUATE(broadcast);
IR_EVALUATE(concat);
IR_EVALUATE(split);
IR_EVALUATE(tile);
IR_EVALUATE(range);

/* ir/evaluate_slice.c */
IR_EVALUATE(slice);
IR_EVALUATE(strided_slice);

/* ir/evaluate_gather.c */
IR_EVALUATE(gather);
IR_EVALUATE(scatter_update);
IR_EVALUATE(scatter_nd_update);
IR_EVALUATE(scatter_elements_update);

/* ir/evaluate_attention.c */
IR_EVALUATE(attention);
IR_EVALUATE(cached_attention);
IR_EVALUATE(cache_commit);

/* ir/evaluate_state.c */
IR_EVALUATE(read_state);
IR_EVALUATE(write_state);

/* ir/evaluate_language.c */
IR_EVALUATE(embed);
IR_EVALUATE(rms_norm);
IR_EVALUATE(quantize_rows);
IR_EVALUATE(rms_norm_quantize);
IR_EVALUATE(rotary_table);
IR_EVALUATE(rope);
IR_EVALUATE(gated_silu);
IR_EVALUATE(select_rows);

#endif
