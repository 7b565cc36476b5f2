/* Scheduling: the order of execution and the address of every buffer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The memory model (one definition for orderers, planner, inspector and tests): executing node v
 * allocates its output buffers and its workspace; the peak is read then; the workspace is freed;
 * then each buffer whose last reader has run is freed, unless it is persistent. A buffer that
 * nobody reads dies at once. A view owns no buffer and prolongs its source. A node that can run in
 * place and whose output is no larger than an input that dies with it takes over the largest such
 * input (ties: the first operand). */
#ifndef TANDEM_SCHED_SCHED_H
#define TANDEM_SCHED_SCHED_H

#include "ir/ir.h"

/* A graph reduced to what ordering needs; made from an IR graph or by a test. Node i owns one
 * buffer of `bytes` (the sum of its outputs when it comes from the IR). */
typedef struct sched_node {
    const char *name;
    uint64_t bytes, workspace;
    bool persistent;   /* a graph output or state: never freed */
    uint32_t in_place; /* how many of the first inputs may be taken over when they die here */
    int32_t view_of;   /* predecessor whose buffer this node shares, or -1 */
    uint32_t first_input, input_count; /* into sched_problem.inputs, operand order, no duplicates */
    const ir_node *node;               /* where it came from, or NULL */
} sched_node;

typedef struct sched_problem {
    td_context *context;
    sched_node *nodes;
    uint32_t node_count;
    uint32_t *inputs; /* node numbers */
    uint32_t input_count;
    uint32_t *readers, *first_reader; /* readers[first_reader[i] .. first_reader[i + 1]) */
} sched_problem;

/* Bytes that a result takes in the arena at its bounds; false when it has none. Those of its shape,
 * except that quantised activations are stored in whole blocks, each with its scale and its sums
 * beside it, in an order of the kernels' own: SCHED_QUANTISED_BLOCK_BYTES for each block. */
#define SCHED_QUANTISED_BLOCK_BYTES (IR_QUANTIZE_BLOCK + 12)
bool sched_value_bytes(const ir_value *value, uint64_t *bytes);

/* Builds reader lists and checks sizes and acyclicity (TD_INVALID names a node on a cycle). */
td_status sched_problem_finish(sched_problem *problem);
void sched_problem_release(sched_problem *problem);

/* A problem from nodes (their input fields are ignored) and edges, which may repeat: an edge says
 * that `to` reads `from`. Operands stand in the order of the edges. A node whose in_place is not 0
 * may take over any of its inputs. Names are not copied. Linear in the graph. */
typedef struct sched_edge {
    uint32_t from, to;
} sched_edge;

td_status sched_problem_from_edges(td_context *context, const sched_node *nodes,
                                   uint32_t node_count, const sched_edge *edges, size_t edge_count,
                                   sched_problem *problem);

/* Nodes in IR order; constants and graph inputs own no buffer. */
td_status sched_problem_from_graph(ir_graph *graph, sched_problem *problem);

/* What an order makes of the buffers. Node i uses the buffer of node owner[i] (itself, the source
 * of a view, or what it took over in place); that buffer lives from step lower[owner] up to, but
 * not including, upper[owner]. live[s] is what is alive at step s, workspace included. */
typedef struct sched_trace {
    uint32_t *owner;
    uint32_t *lower, *upper;
    uint64_t *live;
    uint64_t peak;
} sched_trace;

/* Replays an order (a permutation of node numbers); TD_INVALID names the node that comes before its
 * input. Linear in the graph. */
td_status sched_trace_make(const sched_problem *problem, const uint32_t *order, sched_trace *trace);
void sched_trace_release(td_context *context, sched_trace *trace);

/* Only the peak of an order. */
td_status sched_evaluate(const sched_problem *problem, const uint32_t *order, uint64_t *peak);

/* The largest single step: what a node reads, writes and needs beside. No order can need less. */
uint64_t sched_lower_bound(const sched_problem *problem);

/* Raises *bound to the least live memory of the node at which that is largest, by minimum cuts
 * within some 20 million steps. A good order makes it find that node sooner. */
td_status sched_cut_bound(const sched_problem *problem, const uint32_t *order, uint64_t *bound);

/* --- orderers --- */

typedef struct sched_options {
    uint64_t seed;       /* of `random` and of ties; 0: ties fall as in the file */
    double time_limit;   /* seconds; 0: none. A result then depends on the machine's speed, but more
                            time never gives a worse one */
    uint64_t work_limit; /* steps of the searches; 0: SCHED_USUAL_WORK when there is no time limit
                            either. Results depend on nothing else */
    uint32_t width;      /* of beams; 0: 64 */
    uint32_t samples;    /* of `topoformer` */
    bool unreduced;      /* `beam` and `beam-backward` search the graph as it is, as a measure of
                            what reductions are worth */
    bool unlearned; /* `auto` does without learned ranks, as a measure of what those are worth */
} sched_options;

/* About a fifth of a second. */
#define SCHED_USUAL_WORK UINT64_C(20000000)

/* By how much `bytes` is above a bound of it, in percent of the bound. */
static inline double sched_gap_percent(uint64_t bytes, uint64_t bound)
{
    const uint64_t least = bound > 0 ? bound : 1;
    return bytes <= least ? 0 : 100 * (double)(bytes - least) / (double)least;
}

/* What an orderer tells beside its order. */
typedef struct sched_report {
    uint64_t peak, lower_bound; /* of the order; of every order, as far as is known */
    const char *chosen;         /* the row whose order it is, such as the winner of `auto` */
    uint32_t units, parts; /* what reductions left: units, and parts on their own; 0: none ran */
} sched_report;

typedef struct sched_orderer {
    const char *name, *summary;
    td_status (*order)(const sched_problem *problem, const sched_options *options,
                       sched_report *report, uint32_t *order);
} sched_orderer;

/* The table of orderers, ended by a row without a name. */
extern const sched_orderer sched_orderers[];
const sched_orderer *sched_find_orderer(const char *name); /* NULL when unknown */

/* Orders a problem with the orderer of this name; "NAME:WIDTH" sets the width of a beam. TD_USAGE
 * names those that are known. No options: NULL. */
td_status sched_order(const sched_problem *problem, const char *name, const sched_options *options,
                      uint32_t *order, sched_report *report);

/* Orders a graph in place. Nodes with effects on one state keep their order. */
td_status sched_order_graph(ir_graph *graph, const char *orderer, const sched_options *options,
                            uint64_t *peak, uint64_t *lower_bound, const char **chosen);

/* --- arena --- */

#define SCHED_ALIGNMENT 64

/* One buffer with a lifetime in steps [lower, upper); the offset is the result, unless it is fixed:
 * then the others are placed around it. */
typedef struct sched_buffer {
    uint64_t size, offset;
    int64_t lower, upper;
    uint64_t alignment; /* of this offset, beside the arena's; 0 as 1 */
    bool fixed;
} sched_buffer;

/* Assigns offsets, multiples of `alignment`, such that buffers whose lifetimes overlap do not
 * overlap in address: quick heuristics, then SCHED_USUAL_ARENA_WORK steps of search. `bytes` is the
 * arena's size, `live_peak` the largest sum of rounded sizes alive at a step (a lower bound of
 * `bytes`). About linear in the buffers and those alive with each; TD_INVALID when sizes overflow
 * or fixed buffers overlap. */
td_status sched_arena(td_context *context, sched_buffer *buffers, size_t count, uint64_t alignment,
                      uint64_t *bytes, uint64_t *live_peak);

typedef struct sched_arena_options {
    uint64_t alignment;  /* sizes and offsets are rounded up to its multiples; 0 as 1 */
    uint64_t capacity;   /* any arena of at most this size will do; 0: the smallest is wanted */
    double time_limit;   /* seconds; 0: none. A result then depends on the machine's speed */
    uint64_t work_limit; /* steps of the search; 0: SCHED_USUAL_ARENA_WORK when there is no time
                            limit either. Results depend on nothing else */
} sched_arena_options;

/* About a fifth of a second. */
#define SCHED_USUAL_ARENA_WORK UINT64_C(200000000)

/* What is known of an arena: the placement is smallest when bytes == bound, and bound > capacity
 * proves that the capacity is too small. */
typedef struct sched_arena_report {
    uint64_t bytes, bound; /* of this placement; of every placement, as far as is known */
    uint64_t live_peak;    /* the largest sum of rounded sizes alive at a step */
    uint64_t work;         /* steps that the search took */
    size_t parts;          /* stretches of time that no buffer crosses, placed on their own */
} sched_arena_report;

/* As sched_arena, with a choice of effort and an account of the result. Without limits on either
 * side the search ends with a proof or not at all. */
td_status sched_arena_place(td_context *context, sched_buffer *buffers, size_t count,
                            const sched_arena_options *options, sched_arena_report *report);

/* Whether offsets are right. When they are, the report has the highest end and, as the bound, what
 * is known at first sight; else two buffers (by number) share an address while both are alive, or
 * one (twice) lies at no multiple of its alignment. */
typedef struct sched_arena_check_result {
    bool valid;
    size_t first, second;
    sched_arena_report report;
} sched_arena_check_result;

td_status sched_arena_check(td_context *context, const sched_buffer *buffers, size_t count,
                            uint64_t alignment, sched_arena_check_result *result);

/* Where everything of a compile lies. The timeline of a round is the concatenation of the graphs;
 * graph outputs and the extra buffers live through all of it. */
typedef struct sched_graph_plan {
    ir_graph *graph;
    size_t
        first_buffer; /* in the plan: one for each node, in order, never alive when it owns none */
    uint64_t *offset; /* by value id (ir_graph_number); UINT64_MAX: no arena buffer */
    uint64_t *bytes;  /* by value id, at the bounds */
    uint64_t peak, lower_bound;
    const char *orderer;
} sched_graph_plan;

typedef struct sched_extra {
    const char *name;
    uint64_t bytes, offset;
} sched_extra;

typedef struct sched_plan {
    td_context *context;
    sched_graph_plan *graphs;
    size_t graph_count;
    sched_extra *extras; /* copied from the request, with offsets */
    size_t extra_count;
    sched_buffer *buffers; /* all that the arena holds, in steps of the round */
    size_t first_extra;    /* buffer of extras[0]; the last is that of the last extra */
    uint64_t arena_bytes, live_peak;
} sched_plan;

typedef struct sched_request {
    ir_graph *const *graphs;
    size_t graph_count;
    const sched_extra *extras;
    size_t extra_count;
    const char *orderer; /* a name, or "auto" */
    bool keep_all;       /* for verification: no sharing, no views' reuse, no in-place */
} sched_request;

td_status sched_plan_make(td_context *context, const sched_request *request,
                          const sched_options *options, sched_plan *plan);
void sched_plan_release(sched_plan *plan);

#endif
