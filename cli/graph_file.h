/* Graphs for the verbs that order: from GraphML, or from any model that Tandem imports.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_GRAPH_FILE_H
#define TANDEM_CLI_GRAPH_FILE_H

#include "cli/cli.h"
#include "frontend/graphml.h"

/* One graph to be ordered. */
typedef struct cli_graph {
    const char *name;
    sched_problem problem; /* names are ids that --order files use */
} cli_graph;

typedef struct cli_graph_file {
    td_context *context;
    fe_task_graph tasks; /* of GraphML, else empty */
    fe_model model;      /* else */
    cli_graph *graphs;
    size_t graph_count;
    bool is_graphml;
} cli_graph_file;

/* Reads *.graphml, or a model (every graph that has more than one node). Weights need not be there.
 */
td_status cli_read_graphs(td_context *context, const char *path, cli_graph_file *file);
void cli_graph_file_release(cli_graph_file *file);

/* Whether a path names an OpenVINO IR (.xml). */
bool cli_is_openvino(const char *path);

/* One id per line, as many as nodes, each once; TD_INVALID names the line. */
td_status cli_read_order(td_context *context, const char *path, const sched_problem *problem,
                         uint32_t *order);
td_status cli_write_order(td_context *context, const char *path, const sched_problem *problem,
                          const uint32_t *order);

#endif
