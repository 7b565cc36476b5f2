/* What the two halves of the parser of the text form share: declarations (ir/parse.c) and graphs
 * (ir/parse_graph.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PARSE_H
#define TANDEM_IR_PARSE_H

#include "ir/private.h"
#include "ir/scan.h"

/* The value that reads a constant in the graph being parsed; stale when `graph` is another one. */
typedef struct ir_constant_value {
    const ir_graph *graph;
    ir_value *value;
} ir_constant_value;

/* One name on the left of '='. */
typedef struct ir_result {
    const char *label, *name;
    bool typed;
    ir_type type;
    ir_shape shape;
} ir_result;

/* The most attributes of one node. */
#define IR_MAX_ATTRIBUTES 64

/* The most graphs, states and products each: they are looked up one by one. */
#define IR_MAX_DECLARED 4096

typedef struct ir_parser {
    ir_scanner scanner;
    ir_module *module;
    td_map constants;                            /* label -> ir_constant */
    td_map values;                               /* label -> ir_value of the graph being parsed */
    TD_ARRAY(ir_constant_value) constant_values; /* by constant number */
    TD_ARRAY(bool) mentioned;                    /* by symbol: some symbol's meaning mentions it */
    /* scratch of the line being parsed */
    TD_ARRAY(unsigned char) bytes;
    TD_ARRAY(ir_result) results;
    TD_ARRAY(ir_value *) operands;
    TD_ARRAY(int64_t) integers;
} ir_parser;

td_status ir_parse_name(ir_parser *parser, const char *what, const char **name);
td_status ir_parse_type(ir_parser *parser, ir_type *type, ir_shape *shape);

/* Puts path and line before a sentence about the input. */
td_status ir_parse_place(ir_parser *parser, size_t line, td_status status);

/* After the word 'graph'. */
td_status ir_parse_graph(ir_parser *parser);

#endif
