/* The end of the raised graph: rows are selected before norm and head, the commit graph is added,
 * and what could not be raised is refused.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#define MAX_TAIL   16
#define MAX_LISTED 6

/* --- select_rows --- */

/* Whether every row of the result depends on the same row of input 1 alone, and on constants. */
static bool is_row_wise(const ir_node *node)
{
    if (node->op != IR_OP_rms_norm && node->op != IR_OP_linear)
        return false;
    for (uint32_t i = 1; i < node->input_count; i++)
        if (node->inputs[i]->kind != IR_VALUE_CONSTANT)
            return false;
    return true;
}

/* The same node on other rows. */
static td_status emit_again(raiser *raise, const ir_node *node, ir_value *x, ir_value **result)
{
    ir_value *inputs[3] = {x};
    for (uint32_t i = 1; i < node->input_count; i++)
        inputs[i] = node->inputs[i];
    ir_node *copy;
    TD_TRY(raise_emit(raise, node->op, node->name, node->input_count, inputs, &copy));
    if (node->op == IR_OP_rms_norm)
        TD_TRY(ir_node_set_float(copy, "epsilon", ir_node_float(node, "epsilon", 0.0)));
    TD_TRY(ir_node_infer(copy));
    *result = copy->outputs[0];
    return TD_OK;
}

td_status raise_select_rows(raiser *raise, ir_value *logits, ir_value **selected)
{
    const ir_node *tail[MAX_TAIL];
    uint32_t count = 0;
    ir_value *x = logits;
    while (count < MAX_TAIL && x->kind == IR_VALUE_RESULT && is_row_wise(x->producer)) {
        tail[count++] = x->producer;
        x = x->producer->inputs[0];
    }
    ir_value *inputs[2] = {x, raise->rows};
    TD_TRY(raise_emit_plain(raise, IR_OP_select_rows, "select_rows", 2, inputs, &x));
    while (count-- > 0)
        TD_TRY(emit_again(raise, tail[count], x, &x));
    *selected = x;
    return TD_OK;
}

/* --- commit --- */

td_status raise_add_commit(raiser *raise)
{
    ir_module *module = raise->module;
    ir_symbol accepted;
    ir_graph *commit;
    ir_value *path;
    TD_TRY(
        ir_module_add_symbol(module, "accepted", ir_dim_bound(module, &raise->tokens), &accepted));
    TD_TRY(ir_module_add_graph(module, "commit", &commit));
    ir_shape shape = {.rank = 1, .dim = {ir_dim_symbol(accepted)}};
    TD_TRY(ir_graph_add_input(commit, "path", IR_I32, &shape, &path));
    for (uint32_t layer = 0; layer < raise->layers; layer++) {
        ir_node *node;
        const char *name = td_arena_format(&module->arena, "layers.%u", layer);
        if (name == NULL)
            return td_fail_memory(raise->context);
        TD_TRY(ir_graph_add_node(commit, IR_OP_cache_commit, name, 1, &path, 0, &node));
        TD_TRY(ir_node_set_string(node, "state", name));
        TD_TRY(ir_node_infer(node));
    }
    return TD_OK;
}

/* --- refusal --- */

static bool is_known(const raiser *raise, const ir_value *value)
{
    return raise_meaning_of(raise, value)->kind != RAISE_UNKNOWN;
}

/* Whether the node is where the known part ends: it reads an activation (or the cache) and what it
 * makes of it is not understood. */
static bool is_frontier(const raiser *raise, const ir_node *node)
{
    if (raise->done[node->id] || (node->output_count > 0 && is_known(raise, node->outputs[0])))
        return false;
    if (raise->reasons[node->id] != NULL)
        return true;
    if (node->op == IR_OP_shape_of)
        return false;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (is_known(raise, node->inputs[i]))
            return true;
    return false;
}

/* Marks the nodes that the logits and the state writes need, without entering known values. */
static void mark_needed(const raiser *raise, const ir_value *logits, bool *needed)
{
    if (logits->kind == IR_VALUE_RESULT && !is_known(raise, logits))
        needed[logits->producer->id] = true;
    for (const ir_node *node = raise->from->last; node != NULL; node = node->previous) {
        if (node->op == IR_OP_write_state && !raise->done[node->id])
            needed[node->id] = true;
        for (uint32_t i = 0; needed[node->id] && i < node->input_count; i++) {
            const ir_value *input = node->inputs[i];
            if (input->kind == IR_VALUE_RESULT && !is_known(raise, input))
                needed[input->producer->id] = true;
        }
    }
}

static void list_node(const raiser *raise, const ir_node *node, td_text *text)
{
    const char *reason = raise->reasons[node->id];
    td_text_printf(text, "%slayer \"%.80s\" (%s%s%s)", text->length > 0 ? ", " : "", node->name,
                   ir_op(node->op)->name, reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

/* Nodes with a reason come first: the others are often only parts of what it is about. */
static uint32_t list_nodes(const raiser *raise, const bool *needed, td_text *text)
{
    uint32_t count = 0;
    for (int with_reason = 1; with_reason >= 0; with_reason--)
        for (const ir_node *node = raise->from->first; node != NULL; node = node->next)
            if (needed[node->id] && is_frontier(raise, node) &&
                (raise->reasons[node->id] != NULL) == (with_reason == 1) && count++ < MAX_LISTED)
                list_node(raise, node, text);
    return count;
}

td_status raise_refuse(raiser *raise, const ir_value *logits)
{
    td_text text;
    bool *needed = td_allocate(raise->context, raise->from->node_count + 1);
    if (needed == NULL)
        return td_fail_memory(raise->context);
    td_text_init(&text, raise->context);
    mark_needed(raise, logits, needed);
    uint32_t count = list_nodes(raise, needed, &text);
    td_status status;
    if (text.failed)
        status = td_fail_memory(raise->context);
    else if (count == 0)
        status = td_fail(raise->context, TD_UNSUPPORTED,
                         "the graph is not a decoder with stateful keys and values: nothing leads "
                         "from input_ids to its result \"%.80s\"",
                         logits->name != NULL ? logits->name : "");
    else if (count > MAX_LISTED)
        status = td_fail(raise->context, TD_UNSUPPORTED,
                         "%u layers are not part of a known decoder form: %s, and %u more", count,
                         text.data, count - MAX_LISTED);
    else
        status = td_fail(raise->context, TD_UNSUPPORTED,
                         "%u layer%s not part of a known decoder form: %s", count,
                         count == 1 ? " is" : "s are", text.data);
    td_text_release(&text);
    td_release(raise->context, needed);
    return status;
}
