/* Lowering of graphs to LLVM IR: what the driver (lower.c) and the kernels share.
 *
 * An entry point is one function, run by one thread. It calls kernels in the order of the graph;
 * each call may be cut into parts that several threads do, and is complete when it returns.
 *
 * A kernel is a function made once for each distinct key (op, sizes, types), so that the layers of
 * a model share it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_LOWER_H
#define TANDEM_CODEGEN_LOWER_H

#include "codegen/build.h"
#include "codegen/layout.h"
#include "runtime/abi.h"

#define CG_MAX_OPERANDS  (1 + 6 * IR_MOST_GROUPED)
#define CG_FIRST_OPERAND 2 /* arguments of a kernel before its operands */

/* One module being made. */
typedef struct cg_lowering {
    td_context *context;
    td_arena arena; /* keys of kernels */
    cg_build build;
    const cg_cpu *cpu;
    td_map kernels;      /* key -> function */
    LLVMValueRef runner; /* calls kernels for entry points; NULL until one is called */
} cg_lowering;

/* One entry point being made: the graph and the values loaded at its start. */
typedef struct cg_entry {
    cg_lowering *lowering;
    const cg_model *model;
    const cg_weights *weights;
    const cg_caches *caches;
    const sched_graph_plan *plan;
    ir_graph *graph;
    LLVMValueRef function, frame;
    LLVMValueRef arguments; /* of the kernel being called, in memory */
    LLVMValueRef work;      /* of the current node, see cg_node_work */
    LLVMValueRef arena, weights_base, state, slots;
} cg_entry;

/* A kernel's function and its parameters. `rows` is the run-time first dimension of the result. */
typedef struct cg_kernel {
    LLVMValueRef function;
    LLVMValueRef frame, part, parts, rows;
    LLVMValueRef operands[CG_MAX_OPERANDS];
    LLVMBasicBlockRef caller; /* where building goes on after cg_kernel_end */
} cg_kernel;

/* Sets up and releases a lowering into `module`. */
void cg_lowering_init(cg_lowering *lowering, td_context *context, const cg_cpu *cpu,
                      LLVMContextRef llvm, LLVMModuleRef module);
void cg_lowering_release(cg_lowering *lowering);

/* Makes the function `name` (tandem_entry, internal) for a graph of the model. */
td_status cg_lower_graph(cg_lowering *lowering, const cg_model *model, const cg_weights *weights,
                         const cg_caches *caches, const sched_graph_plan *plan, const char *name,
                         LLVMValueRef *function);

/* --- for kernels --- */

/* An internal function that is never inlined, with the target's attributes; the builder stands in
 * its first block. */
LLVMValueRef cg_function_begin(cg_lowering *lowering, const char *name, LLVMTypeRef type);

/* Looks up the kernel of a key (printf format). When there is none yet it is begun, *fresh is set,
 * the builder stands inside it, and cg_kernel_end must follow. */
td_status cg_kernel_begin(cg_lowering *lowering, unsigned operands, cg_kernel *kernel, bool *fresh,
                          const char *format, ...) __attribute__((format(printf, 5, 6)));
void cg_kernel_end(cg_lowering *lowering, const cg_kernel *kernel);

/* Calls a kernel from the entry point, `operands` being addresses. The call is complete when it
 * returns, so that a node may call one kernel after another; within a kernel no part may read what
 * another part writes. */
void cg_kernel_call(const cg_entry *entry, const cg_kernel *kernel, unsigned operands,
                    LLVMValueRef rows, LLVMValueRef *addresses);

/* The items begin .. end, of `total`, that belong to this part. Items may be few or none. */
void cg_share(cg_build *build, const cg_kernel *kernel, LLVMValueRef total, LLVMValueRef *begin,
              LLVMValueRef *end);

/* Loads a symbol (TANDEM_SYMBOL_...) of the frame, as i64. */
LLVMValueRef cg_frame_symbol(cg_build *build, LLVMValueRef frame, unsigned symbol);

/* Address of a value's data in the arena, the inputs or the weights. */
td_status cg_address(const cg_entry *entry, const ir_node *node, const ir_value *value,
                     LLVMValueRef *address);
LLVMValueRef cg_weight_address(const cg_entry *entry, uint64_t offset);
/* The run-time value of a dimension. */
td_status cg_dimension(const cg_entry *entry, const ir_node *node, const ir_dim *dim,
                       LLVMValueRef *value);
/* How many nanoseconds one thread needs for a node, roughly, as an i64 of the entry point (work.c):
 * it decides whether other threads are asked to help. */
td_status cg_node_work(const cg_entry *entry, const ir_node *node, LLVMValueRef *work);
/* Whether all weights of the model fit in a cache that cores share, as a rule. */
bool cg_is_cached(const cg_entry *entry);
/* The same as cg_node_work for moving and converting so many elements of each row. */
LLVMValueRef cg_moving_work(const cg_entry *entry, LLVMValueRef rows, uint64_t elements);
/* Refuses a node: "graph: node "name" (op): reason". */
td_status cg_refuse(const ir_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Requires an f32 value [n, columns] with constant columns. */
td_status cg_matrix(const ir_node *node, const ir_value *value, const char *what,
                    uint64_t *columns);

/* exp of docs/numerics.md, for a float or a vector of floats. */
LLVMValueRef cg_exp(cg_build *build, LLVMValueRef x);
/* x / (1 + exp(-x)) */
LLVMValueRef cg_silu(cg_build *build, LLVMValueRef x);
/* 1 - 2 / (exp(2 x) + 1) */
LLVMValueRef cg_tanh(cg_build *build, LLVMValueRef x);
/* Sine and cosine in binary64 of a vector of f32 angles. */
void cg_sine_cosine(cg_build *build, LLVMValueRef angle, LLVMValueRef *sine, LLVMValueRef *cosine);

/* Loads `count` (1 .. 16) stored elements as a vector of that many f32 (16-bit floats, f32; i8 and
 * u8 become their integer). */
LLVMValueRef cg_load_stored(cg_build *build, ir_type type, LLVMValueRef pointer, unsigned count);
/* Stores the lanes of an f32 vector as `type` (f32 or f16). */
void cg_store_stored(cg_build *build, ir_type type, LLVMValueRef vector, LLVMValueRef pointer);

/* --- one per op --- */

typedef td_status (*cg_lower_node)(cg_entry *entry, const ir_node *node);
td_status cg_lower_products(cg_entry *entry, const ir_node *node);
td_status cg_lower_merge_largest(cg_entry *entry, const ir_node *node);
td_status cg_lower_quantize_rows(cg_entry *entry, const ir_node *node);
/* Reads quantised activations out of the order that the kernels of a CPU keep them in: `tokens`
 * rows of `columns` to q, row by row. */
void cg_read_quantised(const cg_cpu *cpu, uint64_t tokens, uint64_t columns, const void *stored,
                       int8_t *q);
td_status cg_lower_rms_norm(cg_entry *entry, const ir_node *node);
td_status cg_lower_rms_norm_quantize(cg_entry *entry, const ir_node *node);
td_status cg_lower_rotary_table(cg_entry *entry, const ir_node *node);
/* One head of `size` f32 at x turned by a row of a rotary table, to `out`. */
void cg_rotate_head(cg_build *build, LLVMValueRef x, LLVMValueRef table, LLVMValueRef out,
                    uint64_t size, bool interleaved);
td_status cg_lower_rope(cg_entry *entry, const ir_node *node);
td_status cg_lower_attention(cg_entry *entry, const ir_node *node);
td_status cg_lower_commit(cg_entry *entry, const ir_node *node);
td_status cg_lower_elementwise(cg_entry *entry, const ir_node *node);
td_status cg_lower_embed(cg_entry *entry, const ir_node *node);
td_status cg_lower_select_rows(cg_entry *entry, const ir_node *node);
td_status cg_lower_view(cg_entry *entry, const ir_node *node);

#endif
