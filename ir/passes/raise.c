/* Imported decoder -> raised form. Requires folded shapes and decompressed weights; maintains the
 * meaning of the logits for every sequence of passes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ROWS 32

/* Rules by op; those of one op are tried in this order. */
static const struct {
    ir_opcode op;
    raise_rule *rule;
} rules[] = {
    {IR_OP_gather, raise_embed},
    {IR_OP_gather, raise_beam_gather},
    {IR_OP_reshape, raise_alias},
    {IR_OP_convert, raise_alias},
    {IR_OP_transpose, raise_transpose},
    {IR_OP_broadcast, raise_broadcast},
    {IR_OP_matmul, raise_linear},
    {IR_OP_matmul, raise_scores},
    {IR_OP_matmul, raise_weighted},
    {IR_OP_slice, raise_linear_part},
    {IR_OP_strided_slice, raise_linear_part},
    {IR_OP_split, raise_linear_part},
    {IR_OP_add, raise_rope},
    {IR_OP_add, raise_masked},
    {IR_OP_add, raise_bias},
    {IR_OP_add, raise_elementwise},
    {IR_OP_multiply, raise_rms_norm},
    {IR_OP_multiply, raise_factor},
    {IR_OP_multiply, raise_silu},
    {IR_OP_multiply, raise_gated_silu},
    {IR_OP_multiply, raise_elementwise},
    {IR_OP_divide, raise_rms_norm},
    {IR_OP_divide, raise_factor},
    {IR_OP_silu, raise_silu},
    {IR_OP_concat, raise_append},
    {IR_OP_concat, raise_rope_halves},
    {IR_OP_softmax, raise_softmax},
    {IR_OP_attention, raise_attention},
    {IR_OP_read_state, raise_read_state},
    {IR_OP_write_state, raise_write_state},
};

/* --- services for the rules --- */

td_status raise_because(raiser *raise, const ir_node *node, const char *format, ...)
{
    if (raise->reasons[node->id] != NULL)
        return TD_OK;
    char reason[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    raise->reasons[node->id] = td_arena_string(&raise->module->arena, reason);
    return raise->reasons[node->id] != NULL ? TD_OK : td_fail_memory(raise->context);
}

td_status raise_emit(raiser *raise, ir_opcode op, const char *name, size_t input_count,
                     ir_value *const *inputs, ir_node **node)
{
    return ir_graph_add_node(raise->to, op, name, input_count, inputs, 1, node);
}

td_status raise_emit_plain(raiser *raise, ir_opcode op, const char *name, size_t input_count,
                           ir_value *const *inputs, ir_value **value)
{
    ir_node *node;
    TD_TRY(raise_emit(raise, op, name, input_count, inputs, &node));
    TD_TRY(ir_node_infer(node));
    *value = node->outputs[0];
    return TD_OK;
}

double raise_decimal(double number)
{
    char text[40];
    float single = (float)number;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)single);
        if (strtof(text, NULL) == single)
            return strtod(text, NULL);
    }
    return number;
}

/* --- steps --- */

/* The inputs that have a meaning of their own. position_ids and attention_mask are only read by
 * cones that are evaluated. */
static void set_input_meanings(raiser *raise)
{
    for (size_t i = 0; i < raise->from->input_count; i++) {
        const ir_value *input = raise->from->inputs[i];
        raise_meaning *meaning = raise_meaning_of(raise, input);
        if (input->name != NULL && strcmp(input->name, "input_ids") == 0)
            meaning->kind = RAISE_IDS;
        else if (input->name != NULL && strcmp(input->name, "beam_idx") == 0)
            meaning->kind = RAISE_BEAM;
    }
}

static td_status find_symbols(raiser *raise)
{
    ir_symbol tokens, slots;
    if (!ir_module_find_symbol(raise->module, "tokens", &tokens) ||
        !ir_module_find_symbol(raise->module, "slots", &slots))
        return td_fail(raise->context, TD_UNSUPPORTED,
                       "the graph is not a decoder with stateful keys and values: it needs an "
                       "input \"input_ids\" [batch, tokens] and states with a growing axis");
    raise->tokens = ir_dim_symbol(tokens);
    raise->slots = ir_dim_symbol(slots);
    if (!ir_dim_add(&raise->slots, &raise->tokens, &raise->total))
        return td_fail(raise->context, TD_INTERNAL, "slots + tokens has no linear form");
    return match_init(&raise->match, raise->from, tokens, slots);
}

static td_status start_tables(raiser *raise)
{
    const ir_graph *from = raise->from;
    raise->meanings =
        td_allocate(raise->context, (from->value_count + 1) * sizeof *raise->meanings);
    raise->reasons = td_allocate(raise->context, (from->node_count + 1) * sizeof *raise->reasons);
    raise->done = td_allocate(raise->context, from->node_count + 1);
    if (raise->meanings == NULL || raise->reasons == NULL || raise->done == NULL)
        return td_fail_memory(raise->context);
    set_input_meanings(raise);
    return TD_OK;
}

/* Adds the graph "forward" with its inputs. */
static td_status start_forward(raiser *raise)
{
    ir_module *module = raise->module;
    ir_symbol rows;
    if (!ir_module_find_symbol(module, "rows", &rows))
        TD_TRY(ir_module_add_symbol(module, "rows", DEFAULT_ROWS, &rows));
    int64_t bound = ir_dim_bound(module, &raise->tokens);
    if (bound < 1 || bound == INT64_MAX)
        return td_fail(raise->context, TD_INTERNAL, "the symbol \"tokens\" has no bound");
    TD_TRY(ir_module_add_graph(module, "forward", &raise->to));
    ir_shape tokens = {.rank = 1, .dim = {raise->tokens}};
    ir_shape asked = {.rank = 1, .dim = {ir_dim_symbol(rows)}};
    ir_shape words = {.rank = 2, .dim = {raise->tokens, ir_dim_constant((bound + 63) / 64)}};
    TD_TRY(ir_graph_add_input(raise->to, "ids", IR_I32, &tokens, &raise->ids));
    TD_TRY(ir_graph_add_input(raise->to, "positions", IR_I32, &tokens, &raise->positions));
    TD_TRY(ir_graph_add_input(raise->to, "ancestors", IR_I64, &words, &raise->ancestors));
    return ir_graph_add_input(raise->to, "rows", IR_I32, &asked, &raise->rows);
}

static td_status sweep(raiser *raise)
{
    for (ir_node *node = raise->from->first; node != NULL; node = node->next) {
        bool applied = false;
        for (size_t i = 0; i < TD_COUNT_OF(rules) && !applied; i++) {
            if (rules[i].op != node->op)
                continue;
            TD_TRY(rules[i].rule(raise, node, &applied));
            TD_TRY(raise->match.status);
        }
    }
    return TD_OK;
}

static td_status find_logits(raiser *raise, ir_value **logits)
{
    const ir_graph *from = raise->from;
    *logits = NULL;
    for (size_t i = 0; i < from->output_count; i++)
        if (from->output_count == 1 ||
            (from->output_names[i] != NULL && strcmp(from->output_names[i], "logits") == 0))
            *logits = from->outputs[i];
    if (*logits == NULL)
        return td_fail(raise->context, TD_UNSUPPORTED,
                       "none of the graph's %zu results is called \"logits\"", from->output_count);
    return TD_OK;
}

/* Every state write must have become part of a cache, and the logits must be known. */
static td_status check_complete(raiser *raise, const ir_value *logits)
{
    bool complete = raise_as_matrix(raise, logits) != NULL && raise->layers > 0;
    for (const ir_node *node = raise->from->first; node != NULL; node = node->next)
        complete = complete && (node->op != IR_OP_write_state || raise->done[node->id]);
    return complete ? TD_OK : raise_refuse(raise, logits);
}

static td_status finish_forward(raiser *raise, const ir_value *imported)
{
    ir_value *logits;
    TD_TRY(raise_select_rows(raise, raise_as_matrix(raise, imported)->rows, &logits));
    TD_TRY(ir_graph_add_output(raise->to, "logits", logits));
    return ir_graph_remove_dead(raise->to);
}

/* Keeps either the raised graphs and states (when raising succeeded) or the imported ones; the
 * module holds what only the others used until its end. */
static void keep_one_form(raiser *raise, bool raised)
{
    ir_module *module = raise->module;
    size_t kept = 0;
    for (size_t i = 0; i < module->graphs.count; i++)
        if ((module->graphs.items[i] != raise->from) == raised)
            module->graphs.items[kept++] = module->graphs.items[i];
    module->graphs.count = kept;
    kept = 0;
    for (size_t i = 0; i < module->states.count; i++)
        if ((module->states.items[i]->kind == IR_STATE_CACHE) == raised)
            module->states.items[kept++] = module->states.items[i];
    module->states.count = kept;
}

static td_status run(raiser *raise)
{
    ir_value *logits;
    TD_TRY(find_symbols(raise));
    TD_TRY(start_tables(raise));
    TD_TRY(start_forward(raise));
    TD_TRY(sweep(raise));
    TD_TRY(find_logits(raise, &logits));
    TD_TRY(check_complete(raise, logits));
    TD_TRY(finish_forward(raise, logits));
    return raise_add_commit(raise);
}

td_status ir_pass_raise(ir_module *module)
{
    td_context *context = module->context;
    if (module->graphs.count != 1)
        return td_fail(context, TD_UNSUPPORTED, "raising needs a module of one graph, not %zu",
                       module->graphs.count);
    raiser raise = {.context = context, .module = module, .from = module->graphs.items[0]};
    if (strcmp(raise.from->name, "forward") == 0 || strcmp(raise.from->name, "commit") == 0)
        raise.from->name = "imported";
    const td_status status = run(&raise);
    keep_one_form(&raise, status == TD_OK);
    match_release(&raise.match);
    td_release(context, raise.meanings);
    td_release(context, (void *)raise.reasons);
    td_release(context, raise.done);
    td_array_release(context, &raise.constants);
    td_array_release(context, &raise.tables);
    td_array_release(context, &raise.masks);
    td_array_release(context, &raise.used);
    return status == TD_OK ? raise_keep_symbols(module) : status;
}
