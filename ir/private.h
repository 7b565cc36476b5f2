/* What the files of ir/ share and nobody else needs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PRIVATE_H
#define TANDEM_IR_PRIVATE_H

#include "ir/ir.h"

/* Stands for a dimension that a shape rule cannot know while the verifier re-infers: it must not
 * add symbols to a module that it only looks at. A dimension that mentions it matches anything. */
#define IR_SYMBOL_ANY UINT32_MAX

/* A symbol that stands for a product of two linear forms without a linear form of its own. */
typedef struct ir_product {
    ir_dim left, right;
    ir_symbol symbol;
} ir_product;

typedef struct ir_owned {
    void (*release)(td_context *context, void *object);
    void *object;
} ir_owned;

bool ir_dim_mentions(const ir_dim *dim, ir_symbol symbol);

/* A symbol without a bound for a dimension that a shape rule cannot know (IR_SYMBOL_ANY while the
 * module is being verified); bounded when `bound` is less than INT64_MAX. Sizes are never negative,
 * so a negative bound counts as 0. */
td_status ir_module_fresh_dim(ir_module *module, int64_t bound, ir_dim *dim);

/* Records that `symbol` means left * right. */
td_status ir_module_add_product(ir_module *module, const ir_dim *left, const ir_dim *right,
                                ir_symbol symbol);

/* Copies bytes into the module's arena and makes them a constant's source. */
td_status ir_module_copy_bytes(ir_module *module, const void *bytes, uint64_t size,
                               ir_source *source);

/* The shape rules: one function per name in the column of ir/ops.def. */
#define IR_OP(name, min_inputs, max_inputs, outputs, flags, rule, summary)                         \
    td_status ir_infer_##rule(ir_node *node);
#include "ir/ops.def"
#undef IR_OP

#endif
