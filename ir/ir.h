/* The intermediate representation: one DAG per entry point.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A module holds graphs, constants, states and dimension symbols. A graph is a list of nodes in a
 * topological order; a node has an op (a row of ir/ops.def), attributes, input values and output
 * values; a value has an element type and a shape whose dimensions are linear forms over symbols.
 * Everything is owned by the module's arena and released with it. */
#ifndef TANDEM_IR_IR_H
#define TANDEM_IR_IR_H

#include "base/memory.h"

/* --- element types --- */

/* name, bits per element */
#define IR_TYPES(X)                                                                                \
    X(F32, "f32", 32)                                                                              \
    X(F16, "f16", 16)                                                                              \
    X(BF16, "bf16", 16)                                                                            \
    X(F64, "f64", 64)                                                                              \
    X(I64, "i64", 64)                                                                              \
    X(I32, "i32", 32)                                                                              \
    X(I8, "i8", 8)                                                                                 \
    X(U8, "u8", 8)                                                                                 \
    X(I4, "i4", 4)                                                                                 \
    X(U4, "u4", 4)                                                                                 \
    X(BOOL, "bool", 8)                                                                             \
    X(OPAQUE, "opaque", 0) /* anything that is only listed, never computed */

typedef enum ir_type {
#define X(name, text, bits) IR_##name,
    IR_TYPES(X)
#undef X
        IR_TYPE_COUNT
} ir_type;

const char *ir_type_name(ir_type type);                  /* as the text form writes it */
unsigned ir_type_bits(ir_type type);                     /* of a stored element; 0 for opaque */
bool ir_type_from_name(const char *name, ir_type *type); /* false: no such type */
static inline bool ir_type_is_float(ir_type type)
{
    return type == IR_F32 || type == IR_F16 || type == IR_BF16 || type == IR_F64;
}

/* --- dimensions and shapes --- */

typedef uint32_t ir_symbol; /* index into module->symbols */

#define IR_MAX_TERMS 4
#define IR_MAX_RANK  6

/* constant + sum of factor * symbol; terms sorted by symbol, factors nonzero: a normal form, so
 * equality is equality of fields (ir_dim_equal). */
typedef struct ir_dim {
    int64_t constant;
    uint32_t terms;
    struct {
        ir_symbol symbol;
        int32_t factor;
    } term[IR_MAX_TERMS];
} ir_dim;

typedef struct ir_shape {
    uint32_t rank;
    ir_dim dim[IR_MAX_RANK];
} ir_shape;

typedef struct ir_module ir_module;

ir_dim ir_dim_constant(int64_t value);
ir_dim ir_dim_symbol(ir_symbol symbol); /* 1 * symbol */
static inline bool ir_dim_is_constant(const ir_dim *dim)
{
    return dim->terms == 0;
}
static inline bool ir_dim_is(const ir_dim *dim, int64_t value)
{
    return dim->terms == 0 && dim->constant == value;
}
bool ir_dim_equal(const ir_dim *a, const ir_dim *b);

/* Linear arithmetic. False when the result has no linear form within the limits (too many terms,
 * overflow, a product of two symbols, an inexact quotient). */
bool ir_dim_add(const ir_dim *a, const ir_dim *b, ir_dim *sum);
bool ir_dim_subtract(const ir_dim *a, const ir_dim *b, ir_dim *difference);
bool ir_dim_multiply(const ir_dim *a, const ir_dim *b, ir_dim *product);
bool ir_dim_divide(const ir_dim *a, const ir_dim *b, ir_dim *quotient);

/* As ir_dim_multiply, but a product without a linear form becomes a fresh bounded symbol (the same
 * one for the same factors). False only when memory ran out. */
bool ir_module_dim_product(ir_module *module, const ir_dim *a, const ir_dim *b, ir_dim *product);

/* Largest value under the symbols' upper bounds (negative factors count with lower bound 0);
 * INT64_MAX when a symbol has no bound. */
int64_t ir_dim_bound(const ir_module *module, const ir_dim *dim);

/* Value when symbol i has values[i]. */
int64_t ir_dim_evaluate(const ir_dim *dim, const int64_t *values);

/* Makes a shape from constants: ir_shape_of(2, (int64_t[]){32, 64}). Ranks above IR_MAX_RANK are
 * cut to it. */
ir_shape ir_shape_of(uint32_t rank, const int64_t *dims);
bool ir_shape_equal(const ir_shape *a, const ir_shape *b);
bool ir_shape_is_static(const ir_shape *shape); /* no symbol in any dimension */

/* Number of elements at the bounds; false on overflow or when unbounded. */
bool ir_shape_elements_bound(const ir_module *module, const ir_shape *shape, uint64_t *elements);

/* Bytes of a dense row-major array at the bounds (sub-byte types are packed, rounded up). */
bool ir_value_bytes_bound(const ir_module *module, ir_type type, const ir_shape *shape,
                          uint64_t *bytes);

typedef struct ir_symbol_info {
    const char *name; /* "tokens", "rows", "slots", or "s12" for a `?` of a file */
    int64_t bound;    /* largest value; INT64_MAX when unknown */
    bool forwarded;   /* unified with another dimension: */
    ir_dim forward;   /* read through ir_module_dim_resolve */
} ir_symbol_info;

/* --- constants --- */

/* Where a constant's bytes come from. Reading a range keeps the compiler small: nothing larger
 * than one tensor is ever held. `offset` and `size` are bytes of the packed row-major array. */
typedef struct ir_source {
    td_status (*read)(td_context *context, const void *self, uint64_t offset, uint64_t size,
                      void *bytes);
    const void *self;
    const char *description; /* for the text form and messages: "model.bin at 8220" */
} ir_source;

/* A constant tensor. When `scale` is set the stored numbers are quantised: element i of a row
 * means (stored - zero_point) * scale in f32, where scale and zero_point have the same leading
 * dimensions and one entry per `group` elements of the last axis (group == row length: one per
 * row). zero_point may be NULL (zero); scale is f16, bf16 or f32; zero_point has the stored type.
 * i4 and u4 are packed two per byte, low half first. */
typedef struct ir_constant {
    const char *name;
    ir_type type;   /* stored type */
    ir_shape shape; /* static */
    uint64_t bytes; /* of the packed array */
    ir_source source;
    struct ir_constant *scale, *zero_point;
    uint32_t group;
    uint32_t index; /* in module->constants */
    bool missing;   /* no data was given: refused unless only listed */
} ir_constant;

/* Reads raw stored bytes; checks the range. */
td_status ir_constant_read(td_context *context, const ir_constant *constant, uint64_t offset,
                           uint64_t size, void *bytes);

/* Reads `count` elements from flat element `first` as f32, dequantised. First and count must be
 * whole rows for quantised constants. */
td_status ir_constant_read_f32(td_context *context, const ir_constant *constant, uint64_t first,
                               uint64_t count, float *values);

/* Numbers along K that share a scale in quantised activations (quantize_rows). */
#define IR_QUANTIZE_BLOCK 32

/* Whether linear_quantized takes this weight: a matrix of 4 or 8 bit integers with scales, whose
 * groups hold whole blocks of IR_QUANTIZE_BLOCK, or whole rows. */
bool ir_constant_suits_blocks(const ir_constant *constant);

/* Reads all elements of an integer (or bool) constant as int64 (at most `capacity`). */
td_status ir_constant_read_i64(td_context *context, const ir_constant *constant, size_t capacity,
                               int64_t *values, size_t *count);

/* --- values, nodes, graphs --- */

typedef struct ir_node ir_node;
typedef struct ir_graph ir_graph;

typedef enum ir_value_kind {
    IR_VALUE_INPUT,    /* a graph input */
    IR_VALUE_CONSTANT, /* reads ->constant */
    IR_VALUE_RESULT,   /* output number ->output of ->producer */
} ir_value_kind;

typedef struct ir_value {
    ir_value_kind kind;
    ir_type type; /* of what a reader sees: a quantised constant reads as f32 */
    ir_shape shape;
    const char *name; /* a name from the file, or NULL */
    uint32_t id;      /* dense within the graph, see ir_graph_number */
    uint32_t output;  /* of the producer; of a graph input: its place in graph->inputs */
    ir_node *producer;
    ir_constant *constant;
} ir_value;

typedef enum ir_attribute_kind {
    IR_ATTRIBUTE_INT,
    IR_ATTRIBUTE_FLOAT,
    IR_ATTRIBUTE_STRING,
    IR_ATTRIBUTE_INTS,
} ir_attribute_kind;

typedef struct ir_attribute {
    const char *name;
    ir_attribute_kind kind;
    int64_t integer;
    double number;
    const char *string;
    const int64_t *integers;
    size_t count; /* of integers */
} ir_attribute;

typedef enum ir_opcode {
#define IR_OP(name, ...) IR_OP_##name,
#include "ir/ops.def"
#undef IR_OP
    IR_OP_COUNT
} ir_opcode;

struct ir_node {
    ir_opcode op;
    const char *name; /* the layer it came from, for messages; never NULL, may be "" */
    uint32_t id;      /* dense within the graph, see ir_graph_number */
    ir_value **inputs;
    ir_value **outputs;
    uint32_t input_count, output_count;
    ir_attribute *attributes;
    uint32_t attribute_count;
    ir_graph *graph;
    ir_node *next, *previous;
};

struct ir_graph {
    ir_module *module;
    const char *name; /* "target.forward" */
    ir_value **inputs;
    size_t input_count, input_capacity;
    ir_value **outputs;
    const char **output_names;
    size_t output_count, output_capacity;
    ir_node *first, *last;            /* a topological order; state writes and cache updates stay */
    uint32_t node_count, value_count; /* set by ir_graph_number */
};

/* A state variable: `plain` ones are read and written whole (read_state, write_state); a `cache`
 * is one layer's KV cache, named by attention and cache_commit (DESIGN: slots, tail). */
typedef enum ir_state_kind { IR_STATE_PLAIN, IR_STATE_CACHE } ir_state_kind;

typedef struct ir_state {
    const char *name;
    ir_state_kind kind;
    ir_type type;   /* of the elements: f32, f16 or i8 (with f16 scales) for caches */
    ir_shape shape; /* plain */
    uint32_t layer, kv_heads, head_size; /* cache; head_size of K and of V is the same */
} ir_state;

struct ir_module {
    td_context *context;
    td_arena arena;
    const char *name;
    TD_ARRAY(ir_graph *) graphs;
    TD_ARRAY(ir_constant *) constants;
    TD_ARRAY(ir_state *) states;
    TD_ARRAY(ir_symbol_info) symbols;
    TD_ARRAY(struct ir_product) products; /* private: fresh symbols for products */
    TD_ARRAY(struct ir_owned) owned;      /* private: what to release with the module */
    td_map symbol_names;                  /* private: name -> number + 1 */
    bool verifying;                       /* private: shape rules must not add symbols */
};

/* --- building --- */

/* An empty module; everything that is added to it later is released with it. The functions below
 * that add something fail with TD_NO_MEMORY, and otherwise as they say. */
td_status ir_module_create(td_context *context, const char *name, ir_module **module);
void ir_module_release(ir_module *module); /* NULL is fine */

/* Registers something (a file mapping, say) to be released with the module. On failure it is
 * released at once. */
td_status ir_module_own(ir_module *module, void (*release)(td_context *context, void *object),
                        void *object);

/* Names are unique: a name that is taken is refused. NULL: a fresh name ("s12"). `bound` is the
 * largest value, INT64_MAX when it is not known. */
td_status ir_module_add_symbol(ir_module *module, const char *name, int64_t bound,
                               ir_symbol *symbol);
bool ir_module_find_symbol(const ir_module *module, const char *name, ir_symbol *symbol);

/* Unification: from now on `symbol` means `dim`. Nothing happens when it has a meaning already, or
 * when `dim` mentions it. Shapes are rewritten by ir_module_resolve. */
void ir_module_unify(ir_module *module, ir_symbol symbol, ir_dim dim);
ir_dim ir_module_dim_resolve(const ir_module *module, const ir_dim *dim); /* by all meanings */
void ir_module_resolve(ir_module *module); /* rewrites every shape of the module */

/* Graphs and states; names are copied, and one that is taken is refused. Finding is linear. */
td_status ir_module_add_graph(ir_module *module, const char *name, ir_graph **graph);
ir_graph *ir_module_find_graph(const ir_module *module, const char *name); /* or NULL */
td_status ir_module_add_state(ir_module *module, const ir_state *state, ir_state **added);
ir_state *ir_module_find_state(const ir_module *module, const char *name); /* or NULL */

/* Copies `constant` (whose fields but bytes and index are filled in) into the module. */
td_status ir_module_add_constant(ir_module *module, const ir_constant *constant,
                                 ir_constant **added);
/* A constant that owns a copy of its bytes (in the module's arena). */
td_status ir_module_add_constant_bytes(ir_module *module, const char *name, ir_type type,
                                       const ir_shape *shape, const void *bytes,
                                       ir_constant **added);

/* At the end of the graph's inputs, or outputs; an output may be any value of the graph. */
td_status ir_graph_add_input(ir_graph *graph, const char *name, ir_type type, const ir_shape *shape,
                             ir_value **value);
td_status ir_graph_add_output(ir_graph *graph, const char *name, ir_value *value);
/* A value that reads a constant. The reader sees f32 when it is quantised, else its type. */
td_status ir_graph_add_constant(ir_graph *graph, ir_constant *constant, ir_value **value);
/* Short for small constants that own their bytes: i64[count], or i64[] when `scalar`; f32[]. */
td_status ir_graph_add_i64s(ir_graph *graph, size_t count, const int64_t *values, bool scalar,
                            ir_value **value);
td_status ir_graph_add_f32(ir_graph *graph, float number, ir_value **value);

/* Appends a node with uninitialised output types and shapes; ir_node_infer fills them. Unknown
 * arity is refused. */
td_status ir_graph_add_node(ir_graph *graph, ir_opcode op, const char *name, size_t input_count,
                            ir_value *const *inputs, size_t output_count, ir_node **node);
/* As above, before `position` (NULL: at the end). */
td_status ir_graph_insert_node(ir_graph *graph, ir_node *position, ir_opcode op, const char *name,
                               size_t input_count, ir_value *const *inputs, size_t output_count,
                               ir_node **node);

/* Attributes. Setting copies, and replaces what had the name, of whatever kind. Reading gives
 * `otherwise` when there is none of the name and kind; integers read as floats, too. */
td_status ir_node_set_int(ir_node *node, const char *name, int64_t value);
td_status ir_node_set_float(ir_node *node, const char *name, double value);
td_status ir_node_set_string(ir_node *node, const char *name, const char *value);
td_status ir_node_set_ints(ir_node *node, const char *name, size_t count, const int64_t *values);
const ir_attribute *ir_node_attribute(const ir_node *node, const char *name); /* or NULL */
int64_t ir_node_int(const ir_node *node, const char *name, int64_t otherwise);
double ir_node_float(const ir_node *node, const char *name, double otherwise);
const char *ir_node_string(const ir_node *node, const char *name, const char *otherwise);
td_status ir_node_copy_attribute(ir_node *node, const ir_attribute *attribute); /* of any module */

/* Infers output types and shapes from inputs and attributes with the op's shape rule. */
td_status ir_node_infer(ir_node *node);

/* --- changing --- */

/* A copy of a graph in the same module, with the same constants and states. */
td_status ir_graph_clone(ir_graph *from, const char *name, ir_graph **clone);

/* Every reader of `from` (nodes and graph outputs) reads `to` instead. Linear in the graph. */
void ir_graph_replace(ir_graph *graph, const ir_value *from, ir_value *to);
void ir_graph_remove_node(ir_graph *graph, ir_node *node); /* its outputs must be unread */
/* Puts a node before another one (NULL: at the end); the list must stay a topological order. */
void ir_graph_move_node(ir_graph *graph, ir_node *node, ir_node *before);

/* Removes nodes without effect (no reader, no state write, no cache update). */
td_status ir_graph_remove_dead(ir_graph *graph);

/* Numbers nodes in list order and values (inputs, constants, results) densely. */
void ir_graph_number(ir_graph *graph);

/* Readers of every value: offsets[value->id] .. offsets[value->id + 1] index into readers. Numbers
 * the graph first. Graph outputs are not nodes and not listed; `is_output` tells. */
typedef struct ir_uses {
    uint32_t *offsets;
    ir_node **readers;
    bool *is_output;
} ir_uses;

td_status ir_uses_build(ir_graph *graph, ir_uses *uses);
void ir_uses_release(td_context *context, ir_uses *uses);
static inline uint32_t ir_uses_count(const ir_uses *uses, const ir_value *value)
{
    return uses->offsets[value->id + 1] - uses->offsets[value->id];
}

/* --- op table (ir/ops.def) --- */

enum {
    IR_FLAG_ELEMENTWISE = 1, /* broadcasts numpy-style, one output */
    IR_FLAG_IN_PLACE = 2,    /* may write over a dying input of the same size (memory model) */
    IR_FLAG_VIEW = 4,        /* owns no buffer: prolongs its first input */
    IR_FLAG_EFFECT = 8,      /* changes a state: never removed, never reordered among its kind */
    IR_FLAG_RAISED = 16,     /* made by passes or checkpoint importers */
};

typedef struct ir_op_info {
    const char *name;
    int min_inputs, max_inputs; /* max -1: any number */
    int outputs;                /* -1: any number */
    unsigned flags;
    td_status (*infer)(ir_node *node);
    const char *summary;
} ir_op_info;

const ir_op_info *ir_op(ir_opcode op);                 /* NULL for what is no op */
bool ir_op_from_name(const char *name, ir_opcode *op); /* false: no such op; linear */

/* --- products --- */

/* Where the operands of a product stand, of `linear`, `linear_quantized` and of what fusion makes
 * of them: an addend, activations (quantised ones with their scales behind), weights, biases. */
typedef struct ir_products {
    bool quantised;        /* activations are those of quantize_rows */
    bool adds;             /* input 0 is added to the product */
    bool gated;            /* the result is silu(first product) * second product */
    bool quantises;        /* the result goes through quantize_rows */
    bool largest;          /* only the largest numbers of a row are kept */
    uint32_t activations;  /* input number of x, or of its integers */
    uint32_t first, count; /* weights */
    uint32_t biases;       /* input number of the first of `count`; 0: none */
} ir_products;

/* The most weights that linear_group takes. */
#define IR_MOST_GROUPED 4

/* Columns of which linear_largest keeps one. */
#define IR_LARGEST_BLOCK 64

/* Fills in *products for an op of that family; false for any other. */
bool ir_node_products(const ir_node *node, ir_products *products);
/* Whether input `input` of the node is a weight of such an op. */
bool ir_node_reads_weight(const ir_node *node, uint32_t input);

/* Whether a value holds the integers of quantised activations: a node makes them as its first
 * result, and their scales as its second. */
static inline bool ir_value_is_quantised(const ir_value *value)
{
    return value->kind == IR_VALUE_RESULT && value->type == IR_I8 && value->output == 0 &&
           value->producer->output_count == 2;
}

/* --- whole-module services --- */

/* Structure (acyclic order, arity, ownership), types and shapes (re-inferred and compared), states
 * and attributes. TD_INTERNAL with graph, node and reason. */
td_status ir_verify(const ir_module *module);

/* Text form, see docs/ir.md. Names are unique and stable, so printing twice gives equal text. */
td_status ir_print(const ir_module *module, td_text *text);

/* Parses what ir_print wrote (constants too large to be written inline come back as missing). */
td_status ir_parse(td_context *context, const char *text, size_t length, const char *path,
                   ir_module **module);

#endif
