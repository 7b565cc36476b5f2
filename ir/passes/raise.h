/* What the files of the raising pass share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pass sweeps once over the imported graph, in order, and finds for every value what it means
 * in the raised form; rules (one table, in raise.c) do that per op. A value without a meaning stays
 * unknown, and is complained about only when the logits or a state need it.
 *
 * An imported activation has its axes in some order, such as [1, tokens, heads, size] or
 * [1, heads, tokens, size]; the raised one is always [tokens, features]. As long as the feature
 * axes keep their order, one number describes the difference: the product `before` of the feature
 * axes that stand before the sequence axis. */
#ifndef TANDEM_IR_PASSES_RAISE_H
#define TANDEM_IR_PASSES_RAISE_H

#include "ir/passes/match.h"
#include "ir/passes/passes.h"

typedef enum raise_kind {
    RAISE_UNKNOWN,
    RAISE_IDS,    /* input_ids, whatever the integer type and unit axes */
    RAISE_BEAM,   /* beam_idx, likewise: with a batch of one it selects nothing */
    RAISE_ROWS,   /* factor * an activation, sequence axis `tokens` */
    RAISE_PAST,   /* a state's committed keys or values, sequence axis `slots` */
    RAISE_CACHE,  /* PAST with factor * rows appended, sequence axis `slots + tokens` */
    RAISE_SCORES, /* factor * queries times keys, [.., heads, tokens, slots + tokens] */
    RAISE_SHARES, /* the softmax of SCORES, masked */
} raise_kind;

typedef struct raise_meaning {
    raise_kind kind;
    ir_value *rows;  /* ROWS; CACHE: what was appended; SCORES, SHARES: the queries */
    double factor;   /* ROWS, CACHE, SCORES */
    int64_t before;  /* features before the sequence axis; SCORES, SHARES: heads */
    int64_t repeat;  /* CACHE: every head stands this often in a row */
    ir_state *state; /* PAST, CACHE: the imported one */
    const struct raise_meaning *keys; /* SCORES, SHARES */
    ir_value *mask;                   /* SHARES: the imported mask, or NULL */
} raise_meaning;

/* A rotary table that was emitted, and what it was made from. */
typedef struct raise_table {
    uint32_t size; /* of a head */
    float *frequencies;
    double scale;
    ir_value *value;
} raise_table;

/* A mask that was evaluated. */
typedef struct raise_mask {
    const ir_value *value;
    bool causal;
    int64_t copies;     /* masks one after the other: 1, or one for each head */
    int64_t window;     /* 0: none */
    const char *reason; /* when not causal */
} raise_mask;

typedef struct raiser {
    td_context *context;
    ir_module *module;
    ir_graph *from, *to;
    matcher match;           /* over `from` */
    raise_meaning *meanings; /* by value id of `from` */
    const char **reasons;    /* by node id of `from`: why a rule that came close did not apply */
    bool *done;              /* by node id of `from`: writes a state that is now a cache */
    ir_dim tokens, slots, total;
    ir_value *ids, *positions, *ancestors, *rows; /* inputs of `to` */
    ir_node *last_table;                          /* tables stand behind the embedding */
    TD_ARRAY(ir_value *) constants;               /* values of `to` by constant->index, or NULL */
    TD_ARRAY(raise_table) tables;
    TD_ARRAY(raise_mask) masks;
    TD_ARRAY(ir_state *) used; /* imported states that an attention consumed */
    ir_constant *table;        /* of the embedding */
    uint32_t layers;
} raiser;

/* A rule looks at one node. When it applies it records meanings of the node's outputs and sets
 * *applied. */
typedef td_status raise_rule(raiser *raise, ir_node *node, bool *applied);

raise_rule raise_alias, raise_transpose, raise_broadcast;            /* raise_layout.c */
raise_rule raise_embed, raise_linear, raise_bias, raise_linear_part; /* raise_linear.c */
raise_rule raise_rms_norm;                                           /* raise_rms_norm.c */
raise_rule raise_rope, raise_rope_halves;                            /* raise_rope.c */
raise_rule raise_read_state, raise_append, raise_write_state;        /* raise_cache.c */
raise_rule raise_beam_gather;
raise_rule raise_attention, raise_scores, raise_masked, raise_softmax, raise_weighted;
raise_rule raise_factor, raise_gated_silu, raise_silu, raise_elementwise; /* raise_elementwise.c */

/* --- meanings --- */

raise_meaning *raise_meaning_of(const raiser *raise, const ir_value *value);

/* The meaning when it is of this kind, else NULL. */
const raise_meaning *raise_as(const raiser *raise, const ir_value *value, raise_kind kind);

/* Splits a shape at its sequence axis: the axis, the products of the dimensions before and after.
 * False when not exactly one dimension equals `sequence` or another one is not constant. */
bool raise_split(const ir_shape *shape, const ir_dim *sequence, uint32_t *axis, int64_t *before,
                 int64_t *after);

/* As raise_as for ROWS, wanting factor 1, `before` 1 (features together, tokens first), and the
 * features all in the last axis. */
const raise_meaning *raise_as_matrix(const raiser *raise, const ir_value *value);

/* Records that an imported value is factor * rows; false when its shape has no such layout. */
bool raise_set_rows(raiser *raise, const ir_value *value, ir_value *rows, double factor);

/* Notes why a node could not be raised (printf format); the first reason stays. */
td_status raise_because(raiser *raise, const ir_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The shortest decimal number that rounds to the same f32: what an exporter was told before it
 * stored 1e-5 as a float. */
double raise_decimal(double number);

/* --- emitting --- */

/* Appends a node to the raised graph; the caller sets attributes and calls ir_node_infer. */
td_status raise_emit(raiser *raise, ir_opcode op, const char *name, size_t input_count,
                     ir_value *const *inputs, ir_node **node);

/* Appends a node without attributes and infers it. */
td_status raise_emit_plain(raiser *raise, ir_opcode op, const char *name, size_t input_count,
                           ir_value *const *inputs, ir_value **value);

/* A value of the raised graph that reads the constant, one per constant. */
td_status raise_constant(raiser *raise, ir_constant *constant, ir_value **value);

/* The imported constant (or small constant cone) of `length` elements, with all other axes 1 and
 * the last one along the features, as f32[length] in the raised graph; *value is NULL when it is
 * none. */
td_status raise_vector(raiser *raise, ir_value *imported, int64_t length, ir_value **value);

/* A constant matrix [K, N] seen as [N, K], transposed when it is read. Float types only. */
td_status raise_transposed_constant(raiser *raise, const ir_constant *constant,
                                    ir_constant **transposed);

/* Rows [first, first + count) of a constant matrix, with its scales and zero points. */
td_status raise_constant_rows(raiser *raise, const ir_constant *constant, int64_t first,
                              int64_t count, ir_constant **rows);

/* What a mask means; evaluated once per value. */
td_status raise_probe_mask(raiser *raise, ir_value *value, const raise_mask **mask);

/* --- the ends (raise_head.c) --- */

/* Puts select_rows before the row-wise tail of `logits` (norm, head) and emits that tail again. */
td_status raise_select_rows(raiser *raise, ir_value *logits, ir_value **selected);

/* Adds the graph "commit". */
td_status raise_add_commit(raiser *raise);

/* Leaves only the symbols of the raised form, numbered alike for every model (raise_symbols.c). The
 * imported graph must be gone. */
td_status raise_keep_symbols(ir_module *module);

/* Says which layers could not be raised; TD_UNSUPPORTED. */
td_status raise_refuse(raiser *raise, const ir_value *logits);

#endif
