/* The text form, read: graphs. See ir/parse.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/number_text.h"
#include "ir/parse.h"

#include <string.h>

static td_status define(ir_parser *parser, const char *label, ir_value *value)
{
    return td_map_put(&parser->values, label, value) ? TD_OK
                                                     : td_fail_memory(parser->module->context);
}

/* A value of the graph that reads the constant: one per graph, however often it is read. */
static td_status constant_value(ir_parser *parser, ir_graph *graph, ir_constant *constant,
                                ir_value **value)
{
    ir_constant_value *cached = &parser->constant_values.items[constant->index];
    if (cached->graph != graph) {
        TD_TRY(ir_graph_add_constant(graph, constant, &cached->value));
        cached->graph = graph;
    }
    *value = cached->value;
    return TD_OK;
}

static td_status parse_use(ir_parser *parser, ir_graph *graph, ir_value **value)
{
    ir_scanner *scanner = &parser->scanner;
    const char *label = scanner->token.string;
    ir_constant *constant = NULL;
    *value = NULL;
    if (scanner->token.kind == IR_TOKEN_VALUE)
        *value = td_map_get(&parser->values, label);
    else if (scanner->token.kind == IR_TOKEN_CONSTANT)
        constant = td_map_get(&parser->constants, label);
    if (constant != NULL)
        TD_TRY(constant_value(parser, graph, constant, value));
    if (*value == NULL)
        return ir_scan_expected(scanner,
                                "the %label or @label of a value or constant defined above");
    return ir_scan_next(scanner);
}

/* %label "name": type */
static td_status parse_definition(ir_parser *parser, ir_result *result)
{
    ir_scanner *scanner = &parser->scanner;
    *result = (ir_result){0};
    if (scanner->token.kind != IR_TOKEN_VALUE ||
        td_map_get(&parser->values, scanner->token.string) != NULL)
        return ir_scan_expected(scanner, "a new %label");
    result->label = scanner->token.string;
    TD_TRY(ir_scan_next(scanner));
    if (scanner->token.kind == IR_TOKEN_STRING)
        TD_TRY(ir_scan_string(scanner, "a name", &result->name));
    if (!ir_scan_is_mark(scanner, ':'))
        return TD_OK;
    result->typed = true;
    TD_TRY(ir_scan_next(scanner));
    return ir_parse_type(parser, &result->type, &result->shape);
}

static td_status parse_input(ir_parser *parser, ir_graph *graph)
{
    ir_result input;
    ir_value *value = NULL;
    TD_TRY(parse_definition(parser, &input));
    if (!input.typed)
        return ir_scan_expected(&parser->scanner, "':' and the input's type");
    TD_TRY(ir_graph_add_input(graph, input.name, input.type, &input.shape, &value));
    return define(parser, input.label, value);
}

static td_status parse_output(ir_parser *parser, ir_graph *graph)
{
    ir_scanner *scanner = &parser->scanner;
    const char *name = NULL;
    ir_value *value = NULL;
    TD_TRY(ir_scan_string(scanner, "the output's name in quotes", &name));
    TD_TRY(ir_scan_mark(scanner, '='));
    TD_TRY(parse_use(parser, graph, &value));
    return ir_graph_add_output(graph, name, value);
}

/* --- attributes --- */

static td_status parse_number(ir_parser *parser, ir_node *node, const char *name)
{
    ir_scanner *scanner = &parser->scanner;
    ir_token place = scanner->token;
    bool negative = ir_scan_is_mark(scanner, '-');
    if (negative)
        TD_TRY(ir_scan_next(scanner));
    const ir_token *token = &scanner->token;
    if (token->kind != IR_TOKEN_NUMBER)
        return ir_scan_expected(scanner, "a number, a string or a list of integers");
    if (strpbrk(token->string, ".ex") != NULL) {
        double number;
        if (!ir_f64_parse(negative, token->string, &number))
            return ir_scan_expected(scanner, "a finite decimal, or 0x and 16 digits of bits");
        TD_TRY(ir_node_set_float(node, name, number));
        return ir_scan_next(scanner);
    }
    unsigned char bytes[8];
    int64_t integer;
    if (!ir_element_parse(IR_I64, negative, token->string, bytes, 0)) {
        scanner->token = place;
        return ir_scan_expected(scanner, "a whole number of 64 bits");
    }
    memcpy(&integer, bytes, sizeof integer);
    TD_TRY(ir_node_set_int(node, name, integer));
    return ir_scan_next(scanner);
}

static td_status parse_integers(ir_parser *parser, ir_node *node, const char *name)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    parser->integers.count = 0;
    TD_TRY(ir_scan_mark(scanner, '['));
    while (!ir_scan_is_mark(scanner, ']')) {
        int64_t integer = 0;
        if (parser->integers.count > 0)
            TD_TRY(ir_scan_mark(scanner, ','));
        TD_TRY(ir_scan_integer(scanner, INT64_MIN, INT64_MAX, &integer));
        if (!td_array_push(context, &parser->integers, integer))
            return td_fail_memory(context);
    }
    TD_TRY(ir_scan_next(scanner));
    return ir_node_set_ints(node, name, parser->integers.count, parser->integers.items);
}

static td_status parse_attribute(ir_parser *parser, ir_node *node)
{
    ir_scanner *scanner = &parser->scanner;
    const char *name = NULL, *string = NULL;
    ir_token place = scanner->token;
    TD_TRY(ir_parse_name(parser, "an attribute's name", &name));
    /* Looking names up is quadratic in their number, which is small in what is ever written. */
    if (node->attribute_count >= IR_MAX_ATTRIBUTES || ir_node_attribute(node, name) != NULL) {
        scanner->token = place;
        return ir_scan_expected(scanner, "each attribute once, at most 64 of them");
    }
    TD_TRY(ir_scan_mark(scanner, '='));
    if (ir_scan_is_mark(scanner, '['))
        return parse_integers(parser, node, name);
    if (scanner->token.kind != IR_TOKEN_STRING)
        return parse_number(parser, node, name);
    TD_TRY(ir_scan_string(scanner, "a string", &string));
    return ir_node_set_string(node, name, string);
}

static td_status parse_attributes(ir_parser *parser, ir_node *node)
{
    ir_scanner *scanner = &parser->scanner;
    TD_TRY(ir_scan_mark(scanner, '{'));
    while (!ir_scan_is_mark(scanner, '}')) {
        if (node->attribute_count > 0)
            TD_TRY(ir_scan_mark(scanner, ','));
        TD_TRY(parse_attribute(parser, node));
    }
    return ir_scan_next(scanner);
}

/* --- nodes --- */

static td_status parse_results(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    parser->results.count = 0;
    if (scanner->token.kind != IR_TOKEN_VALUE)
        return TD_OK;
    for (;;) {
        ir_result result;
        TD_TRY(parse_definition(parser, &result));
        if (!td_array_push(context, &parser->results, result))
            return td_fail_memory(context);
        if (!ir_scan_is_mark(scanner, ','))
            return ir_scan_mark(scanner, '=');
        TD_TRY(ir_scan_next(scanner));
    }
}

static td_status parse_operands(ir_parser *parser, ir_graph *graph)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    parser->operands.count = 0;
    TD_TRY(ir_scan_mark(scanner, '('));
    while (!ir_scan_is_mark(scanner, ')')) {
        ir_value *value = NULL;
        if (parser->operands.count > 0)
            TD_TRY(ir_scan_mark(scanner, ','));
        TD_TRY(parse_use(parser, graph, &value));
        if (!td_array_push(context, &parser->operands, value))
            return td_fail_memory(context);
    }
    return ir_scan_next(scanner);
}

/* Written types stand, they may say more than the shape rule can; what is not written is inferred.
 */
static td_status set_results(ir_parser *parser, ir_node *node)
{
    bool all_typed = true;
    for (size_t i = 0; i < parser->results.count; i++)
        all_typed = all_typed && parser->results.items[i].typed;
    if (!all_typed)
        TD_TRY(ir_node_infer(node));
    for (size_t i = 0; i < parser->results.count; i++) {
        const ir_result *result = &parser->results.items[i];
        ir_value *value = node->outputs[i];
        if (result->typed) {
            value->type = result->type;
            value->shape = result->shape;
        }
        if (result->name != NULL) {
            value->name = td_arena_string(&parser->module->arena, result->name);
            if (value->name == NULL)
                return td_fail_memory(parser->module->context);
        }
        if (td_map_get(&parser->values, result->label) != NULL)
            return td_fail(parser->module->context, TD_INVALID,
                           "%%%s is defined twice by one node; labels are unique", result->label);
        TD_TRY(define(parser, result->label, value));
    }
    return TD_OK;
}

static td_status parse_node(ir_parser *parser, ir_graph *graph)
{
    ir_scanner *scanner = &parser->scanner;
    size_t line = scanner->token.line;
    ir_opcode op;
    ir_node *node = NULL;
    TD_TRY(parse_results(parser));
    if (scanner->token.kind != IR_TOKEN_NAME || !ir_op_from_name(scanner->token.string, &op))
        return ir_scan_expected(scanner, "the name of an operation, 'input', 'output' or '}'");
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(parse_operands(parser, graph));
    TD_TRY(ir_parse_place(parser, line,
                          ir_graph_add_node(graph, op, "", parser->operands.count,
                                            parser->operands.items, parser->results.count, &node)));
    if (ir_scan_is_mark(scanner, '{'))
        TD_TRY(parse_attributes(parser, node));
    if (scanner->token.kind == IR_TOKEN_STRING) {
        node->name = td_arena_string(&parser->module->arena, scanner->token.string);
        if (node->name == NULL)
            return td_fail_memory(parser->module->context);
        TD_TRY(ir_scan_next(scanner));
    }
    return ir_parse_place(parser, line, set_results(parser, node));
}

td_status ir_parse_graph(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    size_t line = scanner->token.line;
    const char *name = NULL;
    ir_graph *graph = NULL;
    if (parser->module->graphs.count == IR_MAX_DECLARED)
        return ir_scan_expected(scanner, "at most 4096 graphs");
    TD_TRY(ir_scan_string(scanner, "the graph's name in quotes", &name));
    TD_TRY(ir_parse_place(parser, line, ir_module_add_graph(parser->module, name, &graph)));
    TD_TRY(ir_scan_mark(scanner, '{'));
    td_map_release(&parser->values);
    td_map_init(&parser->values, context);
    while (!ir_scan_is_mark(scanner, '}')) {
        bool input = ir_scan_is_name(scanner, "input"), output = ir_scan_is_name(scanner, "output");
        if (input || output)
            TD_TRY(ir_scan_next(scanner));
        TD_TRY((input ? parse_input : output ? parse_output : parse_node)(parser, graph));
    }
    ir_graph_number(graph);
    return ir_scan_next(scanner);
}
