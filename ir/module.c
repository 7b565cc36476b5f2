/* Modules: creation and release, symbols with unification and products, graphs and states.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/private.h"

#include <stdio.h>
#include <string.h>

td_status ir_module_create(td_context *context, const char *name, ir_module **module)
{
    ir_module *created = td_allocate(context, sizeof *created);
    if (created == NULL)
        return td_fail_memory(context);
    created->context = context;
    td_arena_init(&created->arena, context);
    td_map_init(&created->symbol_names, context);
    created->name = td_arena_string(&created->arena, name);
    if (created->name == NULL) {
        ir_module_release(created);
        return td_fail_memory(context);
    }
    *module = created;
    return TD_OK;
}

void ir_module_release(ir_module *module)
{
    if (module == NULL)
        return;
    td_context *context = module->context;
    /* Last in, first out: what was registered later may lean on what came before. */
    while (module->owned.count > 0) {
        ir_owned *owned = &module->owned.items[--module->owned.count];
        owned->release(context, owned->object);
    }
    td_array_release(context, &module->owned);
    td_array_release(context, &module->graphs);
    td_array_release(context, &module->constants);
    td_array_release(context, &module->states);
    td_array_release(context, &module->symbols);
    td_array_release(context, &module->products);
    td_map_release(&module->symbol_names);
    td_arena_release(&module->arena);
    td_release(context, module);
}

td_status ir_module_own(ir_module *module, void (*release)(td_context *context, void *object),
                        void *object)
{
    if (td_array_push(module->context, &module->owned, ((ir_owned){release, object})))
        return TD_OK;
    release(module->context, object);
    return td_fail_memory(module->context);
}

/* --- symbols --- */

bool ir_module_find_symbol(const ir_module *module, const char *name, ir_symbol *symbol)
{
    uintptr_t number = (uintptr_t)td_map_get(&module->symbol_names, name);
    if (number == 0)
        return false;
    *symbol = (ir_symbol)(number - 1);
    return true;
}

/* "s" and the first free number from the count of symbols on. */
static const char *fresh_name(ir_module *module)
{
    char name[32];
    size_t number = module->symbols.count;
    do
        snprintf(name, sizeof name, "s%zu", number++);
    while (td_map_get(&module->symbol_names, name) != NULL);
    return td_arena_string(&module->arena, name);
}

td_status ir_module_add_symbol(ir_module *module, const char *name, int64_t bound,
                               ir_symbol *symbol)
{
    td_context *context = module->context;
    if (name != NULL && td_map_get(&module->symbol_names, name) != NULL)
        return td_fail(context, TD_INVALID,
                       "module \"%s\": a dimension symbol \"%s\" exists already; names are unique",
                       module->name, name);
    ir_symbol_info info = {.bound = bound};
    info.name = name != NULL ? td_arena_string(&module->arena, name) : fresh_name(module);
    if (info.name == NULL || !td_array_push(context, &module->symbols, info))
        return td_fail_memory(context);
    /* The map holds number + 1, which is the count after the push, so that none is NULL. */
    if (!td_map_put(&module->symbol_names, info.name, (void *)(uintptr_t)module->symbols.count)) {
        module->symbols.count--;
        return td_fail_memory(context);
    }
    *symbol = (ir_symbol)(module->symbols.count - 1);
    return TD_OK;
}

td_status ir_module_fresh_dim(ir_module *module, int64_t bound, ir_dim *dim)
{
    ir_symbol symbol = IR_SYMBOL_ANY;
    if (!module->verifying)
        TD_TRY(ir_module_add_symbol(module, NULL, bound > 0 ? bound : 0, &symbol));
    *dim = ir_dim_symbol(symbol);
    return TD_OK;
}

/* Replaces term number `index` of dim by its symbol's meaning; false when that has no linear form.
 */
static bool substitute(const ir_module *module, ir_dim *dim, uint32_t index)
{
    const ir_symbol_info *info = &module->symbols.items[dim->term[index].symbol];
    ir_dim factor = ir_dim_constant(dim->term[index].factor), meaning;
    if (!ir_dim_multiply(&info->forward, &factor, &meaning))
        return false;
    ir_dim rest = *dim;
    rest.terms--;
    for (uint32_t i = index; i < rest.terms; i++)
        rest.term[i] = rest.term[i + 1];
    return ir_dim_add(&rest, &meaning, dim);
}

ir_dim ir_module_dim_resolve(const ir_module *module, const ir_dim *dim)
{
    ir_dim resolved = *dim;
    /* Meanings form a DAG, which a hostile text could make so that expanding it takes exponential
     * time; honest ones are chains. */
    size_t budget = module->symbols.count * 2 + 64;
    for (uint32_t i = 0; i < resolved.terms && budget > 0; budget--) {
        ir_symbol symbol = resolved.term[i].symbol;
        bool forwarded = symbol < module->symbols.count && module->symbols.items[symbol].forwarded;
        if (forwarded && substitute(module, &resolved, i))
            i = 0; /* terms moved, and the meaning may be forwarded itself */
        else
            i++;
    }
    return resolved;
}

static bool mentions_forwarded(const ir_module *module, const ir_dim *dim)
{
    for (uint32_t i = 0; i < dim->terms; i++)
        if (module->symbols.items[dim->term[i].symbol].forwarded)
            return true;
    return false;
}

void ir_module_unify(ir_module *module, ir_symbol symbol, ir_dim dim)
{
    ir_dim meaning = ir_module_dim_resolve(module, &dim);
    /* A form that mentions the symbol says nothing new (s = s) or nothing true (s = s + 1). One
     * that could not be resolved might close a cycle. */
    if (ir_dim_mentions(&meaning, symbol) || module->symbols.items[symbol].forwarded ||
        mentions_forwarded(module, &meaning))
        return;
    module->symbols.items[symbol].forwarded = true;
    module->symbols.items[symbol].forward = meaning;
}

/* A product whose factors became simple enough gets its linear form. True when one did. */
static bool resolve_products(ir_module *module)
{
    bool changed = false;
    for (size_t i = 0; i < module->products.count; i++) {
        ir_product *product = &module->products.items[i];
        product->left = ir_module_dim_resolve(module, &product->left);
        product->right = ir_module_dim_resolve(module, &product->right);
        ir_dim meaning;
        if (module->symbols.items[product->symbol].forwarded ||
            !ir_dim_multiply(&product->left, &product->right, &meaning))
            continue;
        ir_module_unify(module, product->symbol, meaning);
        changed = changed || module->symbols.items[product->symbol].forwarded;
    }
    return changed;
}

static void resolve_shape(const ir_module *module, ir_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++)
        shape->dim[i] = ir_module_dim_resolve(module, &shape->dim[i]);
}

void ir_module_resolve(ir_module *module)
{
    while (resolve_products(module))
        continue;
    for (size_t i = 0; i < module->symbols.count; i++) {
        ir_symbol_info *info = &module->symbols.items[i];
        if (info->forwarded)
            info->forward = ir_module_dim_resolve(module, &info->forward);
    }
    for (size_t i = 0; i < module->states.count; i++)
        resolve_shape(module, &module->states.items[i]->shape);
    for (size_t g = 0; g < module->graphs.count; g++) {
        ir_graph *graph = module->graphs.items[g];
        for (size_t i = 0; i < graph->input_count; i++)
            resolve_shape(module, &graph->inputs[i]->shape);
        for (ir_node *node = graph->first; node != NULL; node = node->next)
            for (uint32_t i = 0; i < node->output_count; i++)
                resolve_shape(module, &node->outputs[i]->shape);
    }
}

td_status ir_module_add_product(ir_module *module, const ir_dim *left, const ir_dim *right,
                                ir_symbol symbol)
{
    if (!td_array_push(module->context, &module->products, ((ir_product){*left, *right, symbol})))
        return td_fail_memory(module->context);
    return TD_OK;
}

static int64_t product_bound(const ir_module *module, const ir_dim *a, const ir_dim *b)
{
    int64_t left = ir_dim_bound(module, a), right = ir_dim_bound(module, b), bound;
    if (left == INT64_MAX || right == INT64_MAX || __builtin_mul_overflow(left, right, &bound))
        return INT64_MAX;
    return bound;
}

bool ir_module_dim_product(ir_module *module, const ir_dim *a, const ir_dim *b, ir_dim *product)
{
    if (ir_dim_multiply(a, b, product))
        return true;
    for (size_t i = 0; i < module->products.count; i++) {
        const ir_product *known = &module->products.items[i];
        if ((ir_dim_equal(&known->left, a) && ir_dim_equal(&known->right, b)) ||
            (ir_dim_equal(&known->left, b) && ir_dim_equal(&known->right, a))) {
            ir_dim symbol = ir_dim_symbol(known->symbol);
            *product = ir_module_dim_resolve(module, &symbol);
            return true;
        }
    }
    ir_dim fresh;
    if (ir_module_fresh_dim(module, product_bound(module, a, b), &fresh) != TD_OK)
        return false;
    if (!module->verifying && ir_module_add_product(module, a, b, fresh.term[0].symbol) != TD_OK)
        return false;
    *product = fresh;
    return true;
}

/* --- graphs and states --- */

td_status ir_module_add_graph(ir_module *module, const char *name, ir_graph **graph)
{
    td_context *context = module->context;
    if (ir_module_find_graph(module, name) != NULL)
        return td_fail(context, TD_INVALID,
                       "module \"%s\": a graph \"%s\" exists already; names are unique",
                       module->name, name);
    ir_graph *added = td_arena_allocate(&module->arena, 1, sizeof *added);
    const char *copy = td_arena_string(&module->arena, name);
    if (added == NULL || copy == NULL || !td_array_push(context, &module->graphs, added))
        return td_fail_memory(context);
    added->module = module;
    added->name = copy;
    *graph = added;
    return TD_OK;
}

ir_graph *ir_module_find_graph(const ir_module *module, const char *name)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        if (strcmp(module->graphs.items[i]->name, name) == 0)
            return module->graphs.items[i];
    return NULL;
}

td_status ir_module_add_state(ir_module *module, const ir_state *state, ir_state **added)
{
    td_context *context = module->context;
    if (ir_module_find_state(module, state->name) != NULL)
        return td_fail(context, TD_INVALID,
                       "module \"%s\": a state \"%s\" exists already; names are unique",
                       module->name, state->name);
    ir_state *copy = td_arena_allocate(&module->arena, 1, sizeof *copy);
    const char *name = td_arena_string(&module->arena, state->name);
    if (copy == NULL || name == NULL || !td_array_push(context, &module->states, copy))
        return td_fail_memory(context);
    *copy = *state;
    copy->name = name;
    *added = copy;
    return TD_OK;
}

ir_state *ir_module_find_state(const ir_module *module, const char *name)
{
    for (size_t i = 0; i < module->states.count; i++)
        if (strcmp(module->states.items[i]->name, name) == 0)
            return module->states.items[i];
    return NULL;
}
