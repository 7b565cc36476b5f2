/* GraphML: graphs that are known only by what ordering needs. Attributes of a node: `op` (string),
 * `bytes` (of its output; required), and optionally `workspace`, `persistent` (boolean) and
 * `inplace` (boolean: its output may take over any input that dies with it). An edge u -> v says
 * that v reads u's buffer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_GRAPHML_H
#define TANDEM_FRONTEND_GRAPHML_H

#include "base/memory.h"

typedef struct fe_task {
    const char *id, *op; /* the file's own id; op is "" when it has none */
    uint64_t bytes, workspace;
    bool persistent, in_place;
} fe_task;

typedef struct fe_task_edge {
    uint32_t from, to; /* positions among the tasks */
} fe_task_edge;

typedef struct fe_task_graph {
    td_context *context;
    td_arena arena; /* strings */
    fe_task *tasks; /* in the file's order */
    uint32_t task_count;
    fe_task_edge *edges; /* in the file's order; may repeat; may hold cycles */
    uint32_t edge_count;
} fe_task_graph;

/* Reads a GraphML file through igraph. The file is untrusted: document types and entities, ids that
 * are repeated or only named by an edge, missing, negative, fractional or too large (2^53) sizes
 * and undirected graphs are refused in a sentence. Memory is linear in the file. */
td_status fe_read_graphml(td_context *context, const char *path, fe_task_graph *graph);
void fe_task_graph_release(fe_task_graph *graph);

/* Writes a graph with its nodes in the given order (a permutation of positions; NULL: as they
 * are), edges sorted by the reader's place. */
td_status fe_write_graphml(const fe_task_graph *graph, const uint32_t *order, const char *path);

#endif
