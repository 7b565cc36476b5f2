/* The inspector: why a graph, or a compiled pair, needs the memory it needs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Facts are gathered once, then written as JSON (data.c), as a page that holds the same JSON
 * (page.c), or as a trace for Chrome and Perfetto (chrome_trace.c). Nothing is computed here that
 * sched/ or codegen/ know: a fact is what they return. */
#ifndef TANDEM_INSPECT_INSPECT_H
#define TANDEM_INSPECT_INSPECT_H

#include "codegen/codegen.h"
#include "sched/sched.h"

#include <stdio.h>

/* One order of a graph, and what it makes of memory. */
typedef struct inspect_order {
    const char *name;   /* the orderer that was asked, or "given" */
    const char *chosen; /* the orderer whose order it is */
    uint32_t *order;    /* node of each step */
    sched_trace trace;
    uint64_t lower_bound; /* that this orderer reported */
    double seconds;       /* that it took; 0 when unknown */
} inspect_order;

typedef struct inspect_graph {
    const char *name;
    const sched_problem *problem;
    const char **ops; /* by node */
    TD_ARRAY(inspect_order) orders;
    size_t shown;         /* the order that is laid out in an arena */
    uint64_t lower_bound; /* the best of the orders' */
    size_t arena;         /* where its buffers lie, */
    uint32_t first_step;  /* and its first step there */
} inspect_graph;

#define INSPECT_NO_NODE UINT32_MAX

/* A buffer at its address. */
typedef struct inspect_placed {
    uint32_t graph, node; /* whose it is; INSPECT_NO_NODE: of no node, see name */
    bool workspace;       /* the node's scratch, not its output */
    const char *name;     /* of a buffer that the runtime keeps, else NULL */
} inspect_placed;

/* The region that holds the buffers of one graph, or of all graphs of a compile. */
typedef struct inspect_arena {
    TD_ARRAY(inspect_placed) placed;
    TD_ARRAY(sched_buffer) buffers; /* where placed.items[i] lies, in steps of the arena */
    uint32_t steps;
    uint64_t bytes, live_peak; /* sizes rounded up to SCHED_ALIGNMENT */
    uint64_t bound;            /* no arena for these lifetimes is smaller */
} inspect_arena;

/* A part of what is resident. */
typedef struct inspect_part {
    const char *name;
    uint64_t bytes;
    uint32_t slots; /* of KV caches, else 0 */
    uint64_t slot_bytes;
} inspect_part;

#define INSPECT_MAX_PARTS 8

/* What a program needs; the figures of `tandem plan`. */
typedef struct inspect_budget {
    inspect_part parts[INSPECT_MAX_PARTS]; /* they add up to `resident` */
    size_t part_count;
    uint64_t memory_budget; /* 0: none was set */
    uint64_t resident, smallest, address_space;
    uint32_t threads, sessions;
} inspect_budget;

typedef struct inspect_facts {
    td_context *context;
    const char *source; /* what was read, for headings; not copied */
    TD_ARRAY(inspect_graph) graphs;
    TD_ARRAY(inspect_arena) arenas;
    inspect_budget budget;              /* no part: not a program */
    TD_ARRAY(sched_problem *) problems; /* owned: those of a program's graphs */
    td_arena strings;
} inspect_facts;

/* Which orders are looked at. */
typedef struct inspect_request {
    const char *orderer; /* whose order is laid out; see sched_order */
    const char *against; /* others to compare it with, separated by commas; "" for none */
    const sched_options *search;
    const uint32_t *given; /* an order to lay out instead of the orderer's, or NULL */
} inspect_request;

/* Facts about nothing yet. `source` must stay. */
void inspect_facts_init(td_context *context, const char *source, inspect_facts *facts);
void inspect_facts_release(inspect_facts *facts);

/* Orders a graph with every orderer of the request and lays one order out in an arena of its own.
 * The problem must stay. `ops` names each node's operation (copied as pointers); NULL: taken from
 * the IR nodes. An order "file" that is not topological is left out. */
td_status inspect_add_graph(inspect_facts *facts, const inspect_request *request, const char *name,
                            const sched_problem *problem, const char *const *ops);

/* Adds the graphs of a program as they were planned, with one arena for all, and its budget. The
 * request's orderer and its given order are not used: the program has an order already, and "file"
 * is no order to compare it with. `program` and `plan` must stay. */
td_status inspect_add_program(inspect_facts *facts, const inspect_request *request,
                              const cg_request *program, const cg_plan *plan);

/* The first step of an order at which the most is live. */
uint32_t inspect_peak_step(const inspect_order *order, uint32_t node_count);

/* What a node is called: its name, or "OP NUMBER" when it has none. Writes at most `size` bytes. */
void inspect_node_label(const inspect_graph *graph, uint32_t node, char *label, size_t size);

/* JSON, a line for each graph and arena; docs/inspect.md tells the fields. Nothing in it ends an
 * HTML script element. Fails only for want of memory; what the stream refused is found at its end.
 */
typedef enum inspect_detail {
    INSPECT_ALL,  /* with the live bytes of every step */
    INSPECT_PAGE, /* without what the page computes itself */
} inspect_detail;
td_status inspect_write_json(const inspect_facts *facts, inspect_detail detail, FILE *stream);

/* The page: one HTML file that needs no other and no network. */
td_status inspect_write_page(const inspect_facts *facts, FILE *stream);

/* Chrome's trace event format: one process per graph and order, a step is a microsecond; events per
 * node and counters of live bytes. */
td_status inspect_write_chrome_trace(const inspect_facts *facts, FILE *stream);

/* For a terminal: the orders of each graph and who is live at the peak. */
td_status inspect_write_text(const inspect_facts *facts, FILE *stream);

#endif
