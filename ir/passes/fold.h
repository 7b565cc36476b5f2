/* What the parts of the pass fold_shapes share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_FOLD_H
#define TANDEM_IR_PASSES_FOLD_H

#include "ir/ir.h"

/* The longest list that is followed. */
#define FOLD_MAX_LIST 64

/* One number of a shape-like value: a linear form, or not known. */
typedef struct fold_element {
    ir_dim dim;
    bool known;
} fold_element;

/* What is known of a value of rank 0 or 1. */
typedef struct fold_list {
    uint32_t count;
    fold_element *items; /* NULL: the value is not followed */
} fold_list;

typedef struct folder {
    ir_module *module;
    ir_graph *graph;
    td_arena arena; /* lists */
    /* By value->id: */
    fold_list *lists;
    ir_value **replacements; /* the constant that readers see instead, or NULL */
    size_t list_count;
} folder;

/* The list of a value that a node computes. (Constants made meanwhile have no number yet.) */
fold_list fold_list_of(const folder *self, const ir_value *value);

/* The list of a node's input, constants included: as long as it holds integers, at most
 * FOLD_MAX_LIST of them. */
td_status fold_input_list(folder *self, const ir_node *node, uint32_t input, fold_list *list);

/* Entry `index` of a mask of strided_slice; false where the mask is shorter or absent. */
bool fold_mask_bit(const ir_node *node, const char *name, uint32_t index);

/* Computes the lists of a node's outputs from those of its inputs (fold_lists.c). Its shapes are
 * inferred already. */
td_status fold_propagate(folder *self, const ir_node *node);

/* Gives outputs whose shape depends on computed lists their symbolic shape (fold_refine.c), after
 * ir_node_infer. Shapes that cannot be told stay. */
td_status fold_refine(folder *self, ir_node *node);

/* The constant that a node computes from small float constants; NULL when it is something else
 * (fold_numbers.c). */
td_status fold_numbers(folder *self, const ir_node *node, ir_value **constant);

/* Smallest value of a form: `tokens` is at least 1, other symbols at least 0. INT64_MIN when there
 * is no bound. */
int64_t fold_least(const ir_module *module, const ir_dim *dim);

/* Whether a <= b for all values of the symbols. */
bool fold_at_most(const ir_module *module, const ir_dim *a, const ir_dim *b);

/* All elements known and constant. */
bool fold_is_constant(const fold_list *list);

/* Names and unites the symbols of language entry points: batch is 1, input_ids has `tokens`, states
 * hold `slots`, attention_mask has slots + tokens (fold_symbols.c). Other graphs are left alone. */
td_status fold_name_symbols(ir_module *module, ir_graph *graph);

/* Makes two dimensions one if one of them is a symbol without a name of its own. False when they
 * stay different. */
bool fold_unite(ir_module *module, const ir_dim *left, const ir_dim *right);

/* Unites the dimensions that an elementwise op or a concat needs to be equal, where one of two
 * different ones is a symbol without a name of its own. */
void fold_unite_operands(ir_module *module, const ir_node *node);

#endif
