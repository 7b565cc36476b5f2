/* Raised form -> raised form whose "forward" also hands out the queries of every layer.
 *
 * Scores of cached tokens are made from queries that were committed, long after the pass that
 * computed them has reused its buffers; as graph outputs they outlive it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <inttypes.h>
#include <string.h>

static bool has_output(const ir_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->output_count; i++)
        if (strcmp(graph->output_names[i], name) == 0)
            return true;
    return false;
}

static td_status keep(ir_graph *graph, const ir_node *attention)
{
    ir_module *module = graph->module;
    const char *cache = ir_node_string(attention, "state", "");
    const ir_state *state = ir_module_find_state(module, cache);
    if (state == NULL)
        return td_fail(module->context, TD_INTERNAL,
                       "%s: node \"%s\" names the cache \"%s\", which is not there", graph->name,
                       attention->name, cache);
    char *name = td_arena_format(&module->arena, IR_QUERIES_PREFIX "%" PRIu32, state->layer);
    if (name == NULL)
        return td_fail_memory(module->context);
    return has_output(graph, name) ? TD_OK : ir_graph_add_output(graph, name, attention->inputs[0]);
}

td_status ir_pass_keep_queries(ir_module *module)
{
    ir_graph *forward = ir_module_find_graph(module, "forward");
    if (forward == NULL)
        return td_fail(module->context, TD_INVALID,
                       "there is no graph \"forward\" whose queries could be kept");
    for (ir_node *node = forward->first; node != NULL; node = node->next)
        if (node->op == IR_OP_cached_attention)
            TD_TRY(keep(forward, node));
    return TD_OK;
}
