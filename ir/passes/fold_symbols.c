/* Symbols of language entry points get their meaning; unknown dimensions that must be equal become
 * one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/fold.h"
#include "ir/private.h"

#include <string.h>

/* A symbol that stands for one `?` of a file, and no other name. */
static bool is_anonymous(const ir_module *module, const ir_dim *dim)
{
    if (dim->terms != 1 || dim->constant != 0 || dim->term[0].factor != 1)
        return false;
    const ir_symbol_info *info = &module->symbols.items[dim->term[0].symbol];
    return info->name[0] == 's' && info->name[1] >= '0' && info->name[1] <= '9';
}

bool fold_unite(ir_module *module, const ir_dim *left, const ir_dim *right)
{
    ir_dim a = ir_module_dim_resolve(module, left), b = ir_module_dim_resolve(module, right);
    if (ir_dim_equal(&a, &b))
        return true;
    if (is_anonymous(module, &a) && !ir_dim_mentions(&b, a.term[0].symbol))
        ir_module_unify(module, a.term[0].symbol, b);
    else if (is_anonymous(module, &b) && !ir_dim_mentions(&a, b.term[0].symbol))
        ir_module_unify(module, b.term[0].symbol, a);
    else
        return false;
    return true;
}

void fold_unite_operands(ir_module *module, const ir_node *node)
{
    bool elementwise = (ir_op(node->op)->flags & IR_FLAG_ELEMENTWISE) != 0;
    if (!elementwise && node->op != IR_OP_concat)
        return;
    int64_t axis = node->op == IR_OP_concat ? ir_node_int(node, "axis", 0) : -1;
    const ir_shape *first = &node->inputs[0]->shape;
    for (uint32_t i = 1; i < node->input_count; i++) {
        const ir_shape *shape = &node->inputs[i]->shape;
        uint32_t rank = first->rank < shape->rank ? first->rank : shape->rank;
        for (uint32_t d = 1; d <= rank; d++) {
            const ir_dim *a = &first->dim[first->rank - d], *b = &shape->dim[shape->rank - d];
            /* A fixed size says nothing about the other operand: it may be 1, and stretch. */
            if (first->rank - d != axis && !ir_dim_is_constant(a) && !ir_dim_is_constant(b))
                fold_unite(module, a, b);
        }
    }
}

/* --- language entry points --- */

static const ir_value *find_input(const ir_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i]->name != NULL && strcmp(graph->inputs[i]->name, name) == 0)
            return graph->inputs[i];
    return NULL;
}

static td_status named_symbol(ir_module *module, const char *name, ir_dim *dim)
{
    ir_symbol symbol;
    if (!ir_module_find_symbol(module, name, &symbol))
        TD_TRY(ir_module_add_symbol(module, name, INT64_MAX, &symbol));
    *dim = ir_dim_symbol(symbol);
    return TD_OK;
}

/* Batch first, the sequence second: where the file has `?`. */
static void name_input(ir_module *module, const ir_value *input, const ir_dim *sequence)
{
    ir_dim one = ir_dim_constant(1);
    if (input == NULL || input->shape.rank < 1 || input->shape.rank > 2)
        return;
    fold_unite(module, &input->shape.dim[0], &one);
    if (input->shape.rank == 2)
        fold_unite(module, &input->shape.dim[1], sequence);
}

td_status fold_name_symbols(ir_module *module, ir_graph *graph)
{
    const ir_value *ids = find_input(graph, "input_ids");
    bool stateful = false;
    for (size_t i = 0; i < module->states.count; i++)
        stateful = stateful || module->states.items[i]->kind == IR_STATE_PLAIN;
    if (ids == NULL || !stateful)
        return TD_OK;
    ir_dim tokens, slots, all, one = ir_dim_constant(1);
    TD_TRY(named_symbol(module, "tokens", &tokens));
    TD_TRY(named_symbol(module, "slots", &slots));
    if (!ir_dim_add(&slots, &tokens, &all))
        return td_fail(module->context, TD_INTERNAL, "slots + tokens has no linear form");
    name_input(module, ids, &tokens);
    name_input(module, find_input(graph, "position_ids"), &tokens);
    name_input(module, find_input(graph, "attention_mask"), &all);
    name_input(module, find_input(graph, "beam_idx"), &one);
    for (size_t i = 0; i < module->states.count; i++) {
        const ir_state *state = module->states.items[i];
        for (uint32_t d = 0; state->kind == IR_STATE_PLAIN && d < state->shape.rank; d++)
            fold_unite(module, &state->shape.dim[d], d == 0 ? &one : &slots);
    }
    return TD_OK;
}
