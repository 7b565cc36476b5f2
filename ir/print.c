/* The text form, written. docs/ir.md is its specification, ir/parse.c reads it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/number_text.h"
#include "ir/private.h"

#include <inttypes.h>
#include <string.h>

/* --- words --- */

static void print_string(td_text *text, const char *string)
{
    td_text_append(text, "\"", 1);
    for (const char *c = string; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            td_text_printf(text, "\\%c", *c);
        else if (*c == '\n' || *c == '\t')
            td_text_append(text, *c == '\n' ? "\\n" : "\\t", 2);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            td_text_printf(text, "\\x%02x", (unsigned)*c);
        else
            td_text_append(text, c, 1);
    }
    td_text_append(text, "\"", 1);
}

static bool is_plain(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.";
    return name[0] != '\0' && strchr(letters, name[0]) != NULL &&
           strspn(name, others) == strlen(name);
}

/* Names are bare where the scanner would read them as one word, else in quotes. */
static void print_name(td_text *text, const char *name)
{
    if (is_plain(name))
        td_text_printf(text, "%s", name);
    else
        print_string(text, name);
}

/* --- dimensions --- */

static void print_dim(td_text *text, const ir_module *module, const ir_dim *dim)
{
    for (uint32_t i = 0; i < dim->terms; i++) {
        int64_t factor = dim->term[i].factor, magnitude = factor < 0 ? -factor : factor;
        td_text_printf(text, "%s", i == 0 ? (factor < 0 ? "-" : "") : factor < 0 ? " - " : " + ");
        if (magnitude != 1)
            td_text_printf(text, "%" PRId64 "*", magnitude);
        print_name(text, module->symbols.items[dim->term[i].symbol].name);
    }
    if (dim->terms == 0)
        td_text_printf(text, "%" PRId64, dim->constant);
    else if (dim->constant < 0)
        td_text_printf(text, " - %" PRIu64, (uint64_t)0 - (uint64_t)dim->constant);
    else if (dim->constant > 0)
        td_text_printf(text, " + %" PRId64, dim->constant);
}

static void print_type(td_text *text, const ir_module *module, ir_type type, const ir_shape *shape)
{
    td_text_printf(text, "%s[", ir_type_name(type));
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (i > 0)
            td_text_append(text, ", ", 2);
        print_dim(text, module, &shape->dim[i]);
    }
    td_text_append(text, "]", 1);
}

static void print_symbols(td_text *text, const ir_module *module)
{
    for (size_t i = 0; i < module->symbols.count; i++) {
        const ir_symbol_info *info = &module->symbols.items[i];
        td_text_printf(text, "symbol ");
        print_name(text, info->name);
        if (info->bound != INT64_MAX)
            td_text_printf(text, " <= %" PRId64, info->bound);
        td_text_append(text, "\n", 1);
    }
    for (size_t i = 0; i < module->symbols.count; i++) {
        const ir_symbol_info *info = &module->symbols.items[i];
        if (!info->forwarded)
            continue;
        td_text_printf(text, "unify ");
        print_name(text, info->name);
        td_text_printf(text, " = ");
        ir_dim meaning = ir_module_dim_resolve(module, &info->forward);
        print_dim(text, module, &meaning);
        td_text_append(text, "\n", 1);
    }
    for (size_t i = 0; i < module->products.count; i++) {
        const ir_product *product = &module->products.items[i];
        if (module->symbols.items[product->symbol].forwarded)
            continue; /* it has a linear form by now */
        td_text_printf(text, "product ");
        print_name(text, module->symbols.items[product->symbol].name);
        td_text_printf(text, " = (");
        print_dim(text, module, &product->left);
        td_text_printf(text, ") * (");
        print_dim(text, module, &product->right);
        td_text_printf(text, ")\n");
    }
}

/* --- states and constants --- */

static void print_state(td_text *text, const ir_module *module, const ir_state *state)
{
    td_text_printf(text, "state ");
    print_string(text, state->name);
    if (state->kind == IR_STATE_CACHE) {
        td_text_printf(text,
                       " = cache %s {layer = %" PRIu32 ", kv_heads = %" PRIu32
                       ", head_size = %" PRIu32 "}\n",
                       ir_type_name(state->type), state->layer, state->kv_heads, state->head_size);
        return;
    }
    td_text_printf(text, " = plain ");
    print_type(text, module, state->type, &state->shape);
    td_text_append(text, "\n", 1);
}

static td_status print_elements(td_text *text, const ir_module *module, const ir_constant *constant,
                                uint64_t count)
{
    unsigned char bytes[IR_INLINE_ELEMENTS * 8];
    TD_TRY(ir_constant_read(module->context, constant, 0, constant->bytes, bytes));
    td_text_append(text, "{", 1);
    for (uint64_t i = 0; i < count; i++)
        td_text_printf(text, "%s%s", i > 0 ? ", " : "",
                       ir_element_text(constant->type, bytes, i).text);
    td_text_append(text, "}", 1);
    return TD_OK;
}

static td_status print_constant(td_text *text, const ir_module *module, const ir_constant *constant)
{
    uint64_t count = 0;
    td_text_printf(text, "constant @%" PRIu32 " ", constant->index);
    print_string(text, constant->name);
    td_text_printf(text, ": ");
    print_type(text, module, constant->type, &constant->shape);
    td_text_printf(text, " = ");
    bool sized = ir_shape_elements_bound(module, &constant->shape, &count);
    if (sized && count <= IR_INLINE_ELEMENTS && !constant->missing &&
        constant->source.read != NULL && constant->type != IR_OPAQUE) {
        TD_TRY(print_elements(text, module, constant, count));
    } else if (constant->source.description != NULL) {
        td_text_printf(text, "from ");
        print_string(text, constant->source.description);
    } else {
        td_text_printf(text, "missing");
    }
    if (constant->scale != NULL) {
        td_text_printf(text, " {group = %" PRIu32 ", scale = @%" PRIu32, constant->group,
                       constant->scale->index);
        if (constant->zero_point != NULL)
            td_text_printf(text, ", zero_point = @%" PRIu32, constant->zero_point->index);
        td_text_append(text, "}", 1);
    }
    td_text_append(text, "\n", 1);
    return TD_OK;
}

/* --- graphs --- */

static void print_float(td_text *text, double number)
{
    ir_number_text digits = ir_f64_text(number);
    /* Something must tell it from an integer. */
    bool plain = strpbrk(digits.text, ".ex") == NULL;
    td_text_printf(text, "%s%s", digits.text, plain ? ".0" : "");
}

static void print_attribute(td_text *text, const ir_attribute *attribute)
{
    print_name(text, attribute->name);
    td_text_printf(text, " = ");
    switch (attribute->kind) {
    case IR_ATTRIBUTE_INT:
        td_text_printf(text, "%" PRId64, attribute->integer);
        break;
    case IR_ATTRIBUTE_FLOAT:
        print_float(text, attribute->number);
        break;
    case IR_ATTRIBUTE_STRING:
        print_string(text, attribute->string);
        break;
    case IR_ATTRIBUTE_INTS:
        td_text_append(text, "[", 1);
        for (size_t i = 0; i < attribute->count; i++)
            td_text_printf(text, "%s%" PRId64, i > 0 ? ", " : "", attribute->integers[i]);
        td_text_append(text, "]", 1);
        break;
    }
}

/* Labels count inputs and results only: constants have numbers of their own. */
static void print_use(td_text *text, const ir_value *value, const uint32_t *labels)
{
    if (value->kind == IR_VALUE_CONSTANT)
        td_text_printf(text, "@%" PRIu32, value->constant->index);
    else
        td_text_printf(text, "%%%" PRIu32, labels[value->id]);
}

static void print_definition(td_text *text, const ir_module *module, const ir_value *value,
                             const uint32_t *labels)
{
    td_text_printf(text, "%%%" PRIu32, labels[value->id]);
    if (value->name != NULL) {
        td_text_append(text, " ", 1);
        print_string(text, value->name);
    }
    td_text_printf(text, ": ");
    print_type(text, module, value->type, &value->shape);
}

static void print_node(td_text *text, const ir_module *module, const ir_node *node,
                       const uint32_t *labels)
{
    td_text_printf(text, "    ");
    for (uint32_t i = 0; i < node->output_count; i++) {
        print_definition(text, module, node->outputs[i], labels);
        td_text_printf(text, i + 1 < node->output_count ? ", " : " = ");
    }
    td_text_printf(text, "%s(", ir_op(node->op)->name);
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (i > 0)
            td_text_append(text, ", ", 2);
        print_use(text, node->inputs[i], labels);
    }
    td_text_append(text, ")", 1);
    for (uint32_t i = 0; i < node->attribute_count; i++) {
        td_text_printf(text, i == 0 ? " {" : ", ");
        print_attribute(text, &node->attributes[i]);
    }
    td_text_printf(text, node->attribute_count > 0 ? "}" : "");
    if (node->name[0] != '\0') {
        td_text_append(text, " ", 1);
        print_string(text, node->name);
    }
    td_text_append(text, "\n", 1);
}

static td_status print_graph(td_text *text, ir_graph *graph)
{
    const ir_module *module = graph->module;
    ir_graph_number(graph);
    size_t size = ((size_t)graph->value_count + 1) * sizeof(uint32_t);
    uint32_t *labels = td_allocate(module->context, size), next = 0;
    if (labels == NULL)
        return td_fail_memory(module->context);
    td_text_printf(text, "\ngraph ");
    print_string(text, graph->name);
    td_text_printf(text, " {\n");
    for (size_t i = 0; i < graph->input_count; i++) {
        labels[graph->inputs[i]->id] = next++;
        td_text_printf(text, "    input ");
        print_definition(text, module, graph->inputs[i], labels);
        td_text_append(text, "\n", 1);
    }
    for (const ir_node *node = graph->first; node != NULL; node = node->next) {
        for (uint32_t i = 0; i < node->output_count; i++)
            labels[node->outputs[i]->id] = next++;
        print_node(text, module, node, labels);
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        td_text_printf(text, "    output ");
        print_string(text, graph->output_names[i]);
        td_text_printf(text, " = ");
        print_use(text, graph->outputs[i], labels);
        td_text_append(text, "\n", 1);
    }
    td_text_printf(text, "}\n");
    td_release(module->context, labels);
    return TD_OK;
}

td_status ir_print(const ir_module *module, td_text *text)
{
    td_text_printf(text, "module ");
    print_string(text, module->name);
    td_text_printf(text, "\n%s", module->symbols.count > 0 ? "\n" : "");
    print_symbols(text, module);
    if (module->states.count > 0)
        td_text_append(text, "\n", 1);
    for (size_t i = 0; i < module->states.count; i++)
        print_state(text, module, module->states.items[i]);
    if (module->constants.count > 0)
        td_text_append(text, "\n", 1);
    for (size_t i = 0; i < module->constants.count; i++)
        TD_TRY(print_constant(text, module, module->constants.items[i]));
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(print_graph(text, module->graphs.items[i]));
    return text->failed ? td_fail_memory(module->context) : TD_OK;
}
