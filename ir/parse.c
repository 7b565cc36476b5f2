/* The text form, read: declarations. The text is untrusted; docs/ir.md is its specification.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/parse.h"

#include "ir/number_text.h"

/* --- words, dimensions, types --- */

td_status ir_parse_name(ir_parser *parser, const char *what, const char **name)
{
    const ir_token *token = &parser->scanner.token;
    if (token->kind != IR_TOKEN_NAME && token->kind != IR_TOKEN_STRING)
        return ir_scan_expected(&parser->scanner, what);
    *name = token->string;
    return ir_scan_next(&parser->scanner);
}

static td_status parse_symbol(ir_parser *parser, ir_symbol *symbol)
{
    const ir_token *token = &parser->scanner.token;
    if ((token->kind != IR_TOKEN_NAME && token->kind != IR_TOKEN_STRING) ||
        !ir_module_find_symbol(parser->module, token->string, symbol))
        return ir_scan_expected(&parser->scanner, "the name of a symbol declared above");
    return ir_scan_next(&parser->scanner);
}

/* 12, tokens, 2*tokens */
static td_status parse_term(ir_parser *parser, ir_dim *term)
{
    ir_scanner *scanner = &parser->scanner;
    ir_dim factor = ir_dim_constant(1);
    if (scanner->token.kind == IR_TOKEN_NUMBER) {
        TD_TRY(ir_scan_integer(scanner, 0, INT64_MAX, &factor.constant));
        *term = factor;
        if (!ir_scan_is_mark(scanner, '*'))
            return TD_OK;
        TD_TRY(ir_scan_next(scanner));
    }
    ir_token place = scanner->token;
    ir_symbol symbol = 0;
    TD_TRY(parse_symbol(parser, &symbol));
    ir_dim form = ir_dim_symbol(symbol);
    if (ir_dim_multiply(&form, &factor, term))
        return TD_OK;
    scanner->token = place;
    return ir_scan_expected(scanner, "a symbol with a factor of at most 31 bits");
}

static td_status parse_dim(ir_parser *parser, ir_dim *dim)
{
    ir_scanner *scanner = &parser->scanner;
    ir_dim sum = {0};
    bool negative = ir_scan_is_mark(scanner, '-');
    if (negative)
        TD_TRY(ir_scan_next(scanner));
    for (;;) {
        ir_token place = scanner->token;
        ir_dim term = {0};
        TD_TRY(parse_term(parser, &term));
        if (!(negative ? ir_dim_subtract : ir_dim_add)(&sum, &term, &sum)) {
            scanner->token = place;
            return ir_scan_expected(scanner, "a sum of at most 4 symbols that fits 64 bits");
        }
        negative = ir_scan_is_mark(scanner, '-');
        if (!negative && !ir_scan_is_mark(scanner, '+'))
            break;
        TD_TRY(ir_scan_next(scanner));
    }
    *dim = sum;
    return TD_OK;
}

td_status ir_parse_type(ir_parser *parser, ir_type *type, ir_shape *shape)
{
    ir_scanner *scanner = &parser->scanner;
    if (scanner->token.kind != IR_TOKEN_NAME || !ir_type_from_name(scanner->token.string, type))
        return ir_scan_expected(scanner, "an element type such as f32 or i64");
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(ir_scan_mark(scanner, '['));
    *shape = (ir_shape){0};
    while (!ir_scan_is_mark(scanner, ']')) {
        if (shape->rank > 0)
            TD_TRY(ir_scan_mark(scanner, ','));
        if (shape->rank == IR_MAX_RANK)
            return ir_scan_expected(scanner, "at most 6 dimensions");
        TD_TRY(parse_dim(parser, &shape->dim[shape->rank]));
        shape->rank++;
    }
    return ir_scan_next(scanner);
}

td_status ir_parse_place(ir_parser *parser, size_t line, td_status status)
{
    if (status != TD_INVALID)
        return status;
    return td_fail_within(parser->module->context, status, "%s:%zu", parser->scanner.path, line);
}

/* --- symbols --- */

static td_status parse_symbol_line(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    size_t line = scanner->token.line;
    const char *name = NULL;
    int64_t bound = INT64_MAX;
    ir_symbol symbol;
    TD_TRY(ir_parse_name(parser, "the name of a new symbol", &name));
    if (ir_scan_is_mark(scanner, '<')) {
        TD_TRY(ir_scan_next(scanner));
        TD_TRY(ir_scan_mark(scanner, '='));
        TD_TRY(ir_scan_integer(scanner, 0, INT64_MAX, &bound));
    }
    return ir_parse_place(parser, line, ir_module_add_symbol(parser->module, name, bound, &symbol));
}

static td_status parse_unify_line(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    ir_token place = scanner->token;
    ir_symbol symbol = 0;
    ir_dim meaning;
    TD_TRY(parse_symbol(parser, &symbol));
    TD_TRY(ir_scan_mark(scanner, '='));
    TD_TRY(parse_dim(parser, &meaning));
    ir_module *module = parser->module;
    size_t count = module->symbols.count;
    if (!td_array_reserve(module->context, &parser->mentioned, count))
        return td_fail_memory(module->context);
    while (parser->mentioned.count < count)
        parser->mentioned.items[parser->mentioned.count++] = false;
    const ir_symbol_info *info = &module->symbols.items[symbol];
    /* Meanings are final, so there are no chains of them: resolving a dimension is quick. */
    bool fresh = !info->forwarded && !parser->mentioned.items[symbol];
    if (fresh)
        ir_module_unify(module, symbol, meaning);
    if (!fresh || !info->forwarded) {
        scanner->token = place;
        return ir_scan_expected(scanner, "a symbol that has no meaning yet, is in no meaning above "
                                         "and not in its own");
    }
    for (uint32_t i = 0; i < info->forward.terms; i++)
        parser->mentioned.items[info->forward.term[i].symbol] = true;
    return TD_OK;
}

static td_status parse_product_line(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    if (parser->module->products.count == IR_MAX_DECLARED)
        return ir_scan_expected(scanner, "at most 4096 products");
    ir_symbol symbol = 0;
    ir_dim factor[2] = {{0}};
    TD_TRY(parse_symbol(parser, &symbol));
    TD_TRY(ir_scan_mark(scanner, '='));
    for (int i = 0; i < 2; i++) {
        if (i > 0)
            TD_TRY(ir_scan_mark(scanner, '*'));
        TD_TRY(ir_scan_mark(scanner, '('));
        TD_TRY(parse_dim(parser, &factor[i]));
        TD_TRY(ir_scan_mark(scanner, ')'));
    }
    return ir_module_add_product(parser->module, &factor[0], &factor[1], symbol);
}

/* --- states --- */

/* NAME = number, with the separator that comes before it. */
static td_status parse_field(ir_parser *parser, char separator, const char *name, uint32_t *value)
{
    ir_scanner *scanner = &parser->scanner;
    int64_t number = 0;
    TD_TRY(ir_scan_mark(scanner, separator));
    if (!ir_scan_is_name(scanner, name))
        return ir_scan_expected(scanner, name);
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(ir_scan_mark(scanner, '='));
    TD_TRY(ir_scan_integer(scanner, 0, UINT32_MAX, &number));
    *value = (uint32_t)number;
    return TD_OK;
}

static td_status parse_state_line(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    size_t line = scanner->token.line;
    ir_state state = {0}, *added;
    if (parser->module->states.count == IR_MAX_DECLARED)
        return ir_scan_expected(scanner, "at most 4096 states");
    TD_TRY(ir_scan_string(scanner, "a state's name in quotes", &state.name));
    TD_TRY(ir_scan_mark(scanner, '='));
    if (ir_scan_is_name(scanner, "plain")) {
        TD_TRY(ir_scan_next(scanner));
        TD_TRY(ir_parse_type(parser, &state.type, &state.shape));
    } else if (ir_scan_is_name(scanner, "cache")) {
        state.kind = IR_STATE_CACHE;
        TD_TRY(ir_scan_next(scanner));
        if (scanner->token.kind != IR_TOKEN_NAME ||
            !ir_type_from_name(scanner->token.string, &state.type))
            return ir_scan_expected(scanner, "an element type such as f32 or f16");
        TD_TRY(ir_scan_next(scanner));
        TD_TRY(parse_field(parser, '{', "layer", &state.layer));
        TD_TRY(parse_field(parser, ',', "kv_heads", &state.kv_heads));
        TD_TRY(parse_field(parser, ',', "head_size", &state.head_size));
        TD_TRY(ir_scan_mark(scanner, '}'));
    } else {
        return ir_scan_expected(scanner, "'plain' or 'cache'");
    }
    return ir_parse_place(parser, line, ir_module_add_state(parser->module, &state, &added));
}

/* --- constants --- */

/* {1, 2.5}: as many elements as the shape has, packed. */
static td_status parse_elements(ir_parser *parser, ir_constant *constant)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    uint64_t wanted = 0;
    unsigned bits = ir_type_bits(constant->type);
    if (!ir_shape_is_static(&constant->shape) || bits == 0 ||
        !ir_shape_elements_bound(parser->module, &constant->shape, &wanted))
        return ir_scan_expected(scanner, "'from' or 'missing' for this type and shape");
    TD_TRY(ir_scan_mark(scanner, '{'));
    parser->bytes.count = 0;
    for (uint64_t i = 0; i < wanted; i++) {
        if (i > 0)
            TD_TRY(ir_scan_mark(scanner, ','));
        bool negative = ir_scan_is_mark(scanner, '-');
        if (negative)
            TD_TRY(ir_scan_next(scanner));
        size_t size = (size_t)((i + 1) * bits + 7) / 8;
        if (!td_array_reserve(context, &parser->bytes, size))
            return td_fail_memory(context);
        while (parser->bytes.count < size)
            parser->bytes.items[parser->bytes.count++] = 0;
        if (scanner->token.kind != IR_TOKEN_NUMBER ||
            !ir_element_parse(constant->type, negative, scanner->token.string, parser->bytes.items,
                              i))
            return ir_scan_expected(scanner, "a number within the element type's range");
        TD_TRY(ir_scan_next(scanner));
    }
    TD_TRY(ir_scan_mark(scanner, '}'));
    return ir_module_copy_bytes(parser->module, parser->bytes.items, parser->bytes.count,
                                &constant->source);
}

static td_status parse_constant_label(ir_parser *parser, ir_constant **constant)
{
    ir_scanner *scanner = &parser->scanner;
    *constant = scanner->token.kind == IR_TOKEN_CONSTANT
                    ? td_map_get(&parser->constants, scanner->token.string)
                    : NULL;
    if (*constant == NULL)
        return ir_scan_expected(scanner, "the @label of a constant declared above");
    return ir_scan_next(scanner);
}

/* {group = 32, scale = @1, zero_point = @2} */
static td_status parse_quantisation(ir_parser *parser, ir_constant *constant)
{
    ir_scanner *scanner = &parser->scanner;
    TD_TRY(parse_field(parser, '{', "group", &constant->group));
    TD_TRY(ir_scan_mark(scanner, ','));
    if (!ir_scan_is_name(scanner, "scale"))
        return ir_scan_expected(scanner, "scale");
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(ir_scan_mark(scanner, '='));
    TD_TRY(parse_constant_label(parser, &constant->scale));
    if (ir_scan_is_mark(scanner, ',')) {
        TD_TRY(ir_scan_next(scanner));
        if (!ir_scan_is_name(scanner, "zero_point"))
            return ir_scan_expected(scanner, "zero_point");
        TD_TRY(ir_scan_next(scanner));
        TD_TRY(ir_scan_mark(scanner, '='));
        TD_TRY(parse_constant_label(parser, &constant->zero_point));
    }
    return ir_scan_mark(scanner, '}');
}

static td_status parse_data(ir_parser *parser, ir_constant *constant)
{
    ir_scanner *scanner = &parser->scanner;
    if (ir_scan_is_mark(scanner, '{'))
        return parse_elements(parser, constant);
    constant->missing = true;
    if (ir_scan_is_name(scanner, "from")) {
        TD_TRY(ir_scan_next(scanner));
        return ir_scan_string(scanner, "where the data lies, in quotes",
                              &constant->source.description);
    }
    if (ir_scan_is_name(scanner, "missing"))
        return ir_scan_next(scanner);
    return ir_scan_expected(scanner, "'{', 'from' or 'missing'");
}

static td_status parse_constant_line(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    td_context *context = parser->module->context;
    size_t line = scanner->token.line;
    const char *label = scanner->token.string;
    ir_constant constant = {0}, *added = NULL;
    if (scanner->token.kind != IR_TOKEN_CONSTANT || td_map_get(&parser->constants, label) != NULL)
        return ir_scan_expected(scanner, "a new @label");
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(ir_scan_string(scanner, "a constant's name in quotes", &constant.name));
    TD_TRY(ir_scan_mark(scanner, ':'));
    TD_TRY(ir_parse_type(parser, &constant.type, &constant.shape));
    TD_TRY(ir_scan_mark(scanner, '='));
    TD_TRY(parse_data(parser, &constant));
    if (ir_scan_is_mark(scanner, '{'))
        TD_TRY(parse_quantisation(parser, &constant));
    TD_TRY(ir_parse_place(parser, line, ir_module_add_constant(parser->module, &constant, &added)));
    if (!td_map_put(&parser->constants, label, added) ||
        !td_array_push(context, &parser->constant_values, (ir_constant_value){0}))
        return td_fail_memory(context);
    return TD_OK;
}

/* --- the module --- */

static const struct {
    const char *keyword;
    td_status (*parse)(ir_parser *parser);
} declarations[] = {
    {"symbol", parse_symbol_line}, {"unify", parse_unify_line}, {"product", parse_product_line},
    {"state", parse_state_line},   {"graph", ir_parse_graph},   {"constant", parse_constant_line},
};

static td_status parse_declaration(ir_parser *parser)
{
    ir_scanner *scanner = &parser->scanner;
    for (size_t i = 0; i < TD_COUNT_OF(declarations); i++)
        if (ir_scan_is_name(scanner, declarations[i].keyword)) {
            TD_TRY(ir_scan_next(scanner));
            return declarations[i].parse(parser);
        }
    return ir_scan_expected(scanner,
                            "'symbol', 'unify', 'product', 'state', 'constant' or 'graph'");
}

static td_status parse_module(ir_parser *parser, td_context *context)
{
    ir_scanner *scanner = &parser->scanner;
    const char *name = NULL;
    if (!ir_scan_is_name(scanner, "module"))
        return ir_scan_expected(scanner, "'module'");
    TD_TRY(ir_scan_next(scanner));
    TD_TRY(ir_scan_string(scanner, "the module's name in quotes", &name));
    TD_TRY(ir_module_create(context, name, &parser->module));
    while (scanner->token.kind != IR_TOKEN_END)
        TD_TRY(parse_declaration(parser));
    /* What is consistent line by line may still contradict itself: the text is at fault then. */
    td_status status = ir_verify(parser->module);
    if (status == TD_INTERNAL)
        return td_fail_within(context, TD_INVALID, "%s", scanner->path);
    return status;
}

td_status ir_parse(td_context *context, const char *text, size_t length, const char *path,
                   ir_module **module)
{
    ir_parser parser = {0};
    td_arena words;
    td_arena_init(&words, context);
    td_map_init(&parser.constants, context);
    td_map_init(&parser.values, context);
    td_status status = ir_scan_start(&parser.scanner, context, &words, path, text, length);
    if (status == TD_OK)
        status = parse_module(&parser, context);
    td_map_release(&parser.constants);
    td_map_release(&parser.values);
    td_array_release(context, &parser.constant_values);
    td_array_release(context, &parser.mentioned);
    td_array_release(context, &parser.bytes);
    td_array_release(context, &parser.results);
    td_array_release(context, &parser.operands);
    td_array_release(context, &parser.integers);
    td_arena_release(&words);
    if (status != TD_OK) {
        ir_module_release(parser.module);
        return status;
    }
    *module = parser.module;
    return TD_OK;
}
