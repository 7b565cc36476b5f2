/* Requires and maintains the raised form. Keeps the first layers only: the residual value that
 * enters the first dropped layer is read where the residual after the last layer was.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <inttypes.h>
#include <string.h>

static td_status not_raised(const ir_module *module, const ir_node *node, const char *expected)
{
    return td_fail(module->context, TD_INVALID,
                   "graph \"forward\": layers cannot be cut: layer \"%s\" (%s) was met where %s "
                   "was expected",
                   node != NULL ? node->name : "none", node != NULL ? ir_op(node->op)->name : "-",
                   expected);
}

static ir_node *producer_of(const ir_value *value)
{
    return value->kind == IR_VALUE_RESULT ? value->producer : NULL;
}

/* From an attention back along q: rope and a norm per head, a projection, the layer's norm, which
 * reads the residual. */
static td_status entering_residual(const ir_module *module, const ir_node *attention,
                                   ir_value **residual)
{
    const ir_node *node = producer_of(attention->inputs[0]);
    while (node != NULL && (node->op == IR_OP_rope || node->op == IR_OP_rms_norm))
        node = producer_of(node->inputs[0]);
    if (node == NULL || node->op != IR_OP_linear)
        return not_raised(module, node, "the linear projection to q");
    node = producer_of(node->inputs[0]);
    if (node == NULL || node->op != IR_OP_rms_norm)
        return not_raised(module, node, "the layer's rms_norm");
    *residual = node->inputs[0];
    return TD_OK;
}

/* From the logits back: head, row selection and norm in either order, then the last residual sum.
 */
static td_status final_residual(const ir_graph *graph, const ir_value **residual)
{
    if (graph->output_count == 0)
        return not_raised(graph->module, NULL, "the output \"logits\"");
    const ir_node *node = producer_of(graph->outputs[0]);
    while (node != NULL && (node->op == IR_OP_linear || node->op == IR_OP_select_rows ||
                            node->op == IR_OP_rms_norm))
        node = producer_of(node->inputs[0]);
    if (node == NULL || node->op != IR_OP_add)
        return not_raised(graph->module, node, "the sum at the end of the last layer");
    *residual = node->outputs[0];
    return TD_OK;
}

static uint32_t count_layers(const ir_graph *graph)
{
    uint32_t count = 0;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        count += node->op == IR_OP_cached_attention;
    return count;
}

static ir_node *find_layer(const ir_graph *graph, uint32_t number)
{
    for (ir_node *node = graph->first; node != NULL; node = node->next)
        if (node->op == IR_OP_cached_attention && number-- == 0)
            return node;
    return NULL;
}

/* Whether an attention of graph "forward" still uses the state. */
static bool is_used(const ir_graph *forward, const char *state)
{
    for (const ir_node *node = forward->first; node != NULL; node = node->next)
        if (node->op == IR_OP_cached_attention &&
            strcmp(ir_node_string(node, "state", ""), state) == 0)
            return true;
    return false;
}

static void drop_commits(ir_graph *commit, const ir_graph *forward)
{
    for (ir_node *node = commit->first, *next; node != NULL; node = next) {
        next = node->next;
        if (node->op == IR_OP_cache_commit && !is_used(forward, ir_node_string(node, "state", "")))
            ir_graph_remove_node(commit, node);
    }
}

static void drop_states(ir_module *module, const ir_graph *forward)
{
    size_t kept = 0;
    for (size_t i = 0; i < module->states.count; i++) {
        ir_state *state = module->states.items[i];
        if (state->kind != IR_STATE_CACHE || is_used(forward, state->name))
            module->states.items[kept++] = state;
    }
    module->states.count = kept;
}

td_status ir_pass_cut_layers(ir_module *module, uint32_t layers)
{
    ir_graph *forward = ir_module_find_graph(module, "forward");
    ir_graph *commit = ir_module_find_graph(module, "commit");
    if (forward == NULL || commit == NULL)
        return td_fail(module->context, TD_INVALID,
                       "module \"%s\": layers can be cut from raised modules only, which have "
                       "graphs \"forward\" and \"commit\"",
                       module->name);
    uint32_t count = count_layers(forward);
    if (layers == 0 || layers > count)
        return td_fail(module->context, TD_INVALID,
                       "module \"%s\": %" PRIu32 " layers cannot be kept of %" PRIu32
                       "; from 1 to %" PRIu32 " are accepted",
                       module->name, layers, count, count);
    if (layers == count)
        return TD_OK;

    ir_value *entering = NULL;
    const ir_value *final = NULL;
    TD_TRY(entering_residual(module, find_layer(forward, layers), &entering));
    TD_TRY(final_residual(forward, &final));
    ir_graph_replace(forward, final, entering);
    /* Cache updates are effects and would stay alive: their readers, all dead by now, get q. */
    for (uint32_t i = layers; i < count; i++) {
        ir_node *attention = find_layer(forward, layers);
        ir_graph_replace(forward, attention->outputs[0], attention->inputs[0]);
        ir_graph_remove_node(forward, attention);
    }
    drop_commits(commit, forward);
    drop_states(module, forward);
    return ir_pass_remove_dead(module);
}
