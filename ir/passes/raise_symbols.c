/* The symbols of the raised form. Reading a file leaves a symbol for every unknown dimension; the
 * raised graphs mention four.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <string.h>

static const char *const kept[] = {"tokens", "rows", "slots", "accepted"};

/* The new number of a symbol, or the count of `kept` when it goes. */
static ir_symbol renumbered(const ir_module *module, ir_symbol symbol)
{
    ir_symbol number = 0;
    const char *name = module->symbols.items[symbol].name;
    while (number < TD_COUNT_OF(kept) && strcmp(name, kept[number]) != 0)
        number++;
    return number;
}

static bool renumber_dim(const ir_module *module, ir_dim *dim)
{
    ir_dim result = ir_dim_constant(dim->constant);
    for (uint32_t i = 0; i < dim->terms; i++) {
        const ir_symbol symbol = renumbered(module, dim->term[i].symbol);
        ir_dim factor = ir_dim_constant(dim->term[i].factor), term = ir_dim_symbol(symbol);
        if (symbol == TD_COUNT_OF(kept) || !ir_dim_multiply(&term, &factor, &term) ||
            !ir_dim_add(&result, &term, &result))
            return false;
    }
    *dim = result;
    return true;
}

static bool renumber_value(const ir_module *module, ir_value *value)
{
    for (uint32_t i = 0; i < value->shape.rank; i++) {
        value->shape.dim[i] = ir_module_dim_resolve(module, &value->shape.dim[i]);
        if (!renumber_dim(module, &value->shape.dim[i]))
            return false;
    }
    return true;
}

static bool renumber_graph(const ir_module *module, const ir_graph *graph)
{
    for (size_t i = 0; i < graph->input_count; i++)
        if (!renumber_value(module, graph->inputs[i]))
            return false;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->output_count; i++)
            if (!renumber_value(module, node->outputs[i]))
                return false;
    return true;
}

td_status raise_keep_symbols(ir_module *module)
{
    ir_symbol_info symbols[TD_COUNT_OF(kept)];
    for (size_t i = 0; i < module->graphs.count; i++)
        if (!renumber_graph(module, module->graphs.items[i]))
            return td_fail(module->context, TD_INTERNAL,
                           "graph \"%s\" mentions a symbol that the raised form does not have",
                           module->graphs.items[i]->name);
    for (size_t i = 0; i < TD_COUNT_OF(kept); i++) {
        ir_symbol symbol;
        if (!ir_module_find_symbol(module, kept[i], &symbol))
            return td_fail(module->context, TD_INTERNAL, "the symbol \"%s\" is missing", kept[i]);
        symbols[i] = module->symbols.items[symbol];
    }
    memcpy(module->symbols.items, symbols, sizeof symbols);
    module->symbols.count = TD_COUNT_OF(kept);
    module->products.count = 0;
    td_map_release(&module->symbol_names);
    td_map_init(&module->symbol_names, module->context);
    for (uintptr_t i = 0; i < TD_COUNT_OF(kept); i++)
        if (!td_map_put(&module->symbol_names, symbols[i].name, (void *)(i + 1)))
            return td_fail_memory(module->context);
    return TD_OK;
}
