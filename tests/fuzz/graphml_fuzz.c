/* Fuzz target: GraphML, ordered when it could be read. tests/fuzz/run builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/graphml.h"
#include "tests/fuzz/xml_mutator.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_context context;
    fe_task_graph graph;
    char path[64];
    td_context_init(&context);
    snprintf(path, sizeof path, "/dev/shm/tandem_fuzz_%d.graphml", (int)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    const td_status status = fe_read_graphml(&context, path, &graph);
    if (status == TD_INTERNAL || (status != TD_OK && context.message[0] == '\0'))
        abort();
    for (uint32_t e = 0; status == TD_OK && e < graph.edge_count; e++)
        if (graph.edges[e].from >= graph.task_count || graph.edges[e].to >= graph.task_count)
            abort();
    fe_task_graph_release(&graph);
    unlink(path);
    return 0;
}
