/* Products of activations with a weight matrix in panels: what `linear` and `linear_quantized`
 * share. A tile multiplies some panels by some tokens; the driver cuts a product into tiles, and
 * the two ops differ in how a tile's sums come about.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_PRODUCT_H
#define TANDEM_CODEGEN_PRODUCT_H

#include "codegen/lower.h"

#define CG_TILE_PANELS 4
#define CG_TILE_TOKENS 16
#define CG_TILE_SUMS   32

/* Parameters of a tile's function: addresses for its first panel and token, and the number of rows
 * from its first panel on. */
typedef enum cg_tile_parameter {
    CG_TILE_WEIGHTS,
    CG_TILE_SCALES,
    CG_TILE_ZEROS,
    CG_TILE_BIAS,
    CG_TILE_X,
    CG_TILE_OUT,
    CG_TILE_ROWS,
    CG_TILE_PARAMETERS
} cg_tile_parameter;

typedef struct cg_product cg_product;

typedef struct cg_tile {
    const cg_product *product;
    unsigned panels, tokens;
    LLVMValueRef parameters[CG_TILE_PARAMETERS];
    LLVMValueRef totals[CG_TILE_SUMS]; /* variables of 16 f32, [panel][token], zero at first */
} cg_tile;

/* Makes the code that adds a tile's products to its totals. */
typedef void (*cg_emit_tile)(cg_tile *tile);

struct cg_product {
    cg_lowering *lowering;
    const cg_weight *weight;
    const char *key;             /* of the kernel */
    uint64_t token_bytes;        /* of one token's activations */
    const unsigned *tile_tokens; /* sizes of tiles in descending order, the last one 1 */
    size_t tile_count;
    unsigned most_panels; /* of a tile: 1, 2 or 4 */
    cg_emit_tile emit;
    bool has_bias;
};

/* Operands of a product's kernel. */
typedef enum cg_product_operand {
    CG_PRODUCT_X,
    CG_PRODUCT_WEIGHTS,
    CG_PRODUCT_SCALES,
    CG_PRODUCT_ZEROS,
    CG_PRODUCT_BIAS,
    CG_PRODUCT_OUT,
    CG_PRODUCT_OPERANDS
} cg_product_operand;

/* Lowers a node whose operands are x, ..., weight (operand `weight`), optional bias; `product`
 * comes with everything but the lowering, the weight, the key and the bias. `columns` is the width
 * of x. */
td_status cg_lower_product(cg_entry *entry, const ir_node *node, uint32_t weight, cg_role role,
                           uint64_t columns, cg_product *product);

#endif
