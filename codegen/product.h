/* Products of activations with weight matrices in panels: `linear`, `linear_quantized` and their
 * fused forms. A tile multiplies some panels by some tokens; kernel_product.c cuts products into
 * tiles, kernel_linear.c and kernel_quantised.c say how a tile's sums come about, and
 * product_results.c what becomes of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_PRODUCT_H
#define TANDEM_CODEGEN_PRODUCT_H

#include "codegen/lower.h"

#define CG_TILE_PANELS 4
#define CG_TILE_TOKENS 16
#define CG_TILE_SUMS   32

/* Rows of a block of panels, which one thread does: as many as linear_largest looks at together. */
#define CG_BLOCK_ROWS (CG_TILE_PANELS * CG_PANEL_ROWS)

/* Addresses for a tile's first panel and token. */
typedef enum cg_tile_parameter {
    CG_TILE_WEIGHTS,
    CG_TILE_SCALES,
    CG_TILE_ZEROS,
    CG_TILE_X,
    CG_TILE_PARAMETERS
} cg_tile_parameter;

typedef struct cg_product cg_product;

typedef struct cg_tile {
    const cg_product *product;
    unsigned panels, tokens;
    LLVMValueRef parameters[CG_TILE_PARAMETERS];
    LLVMValueRef next[CG_TILE_X];      /* weights, scales and zeros of the tile that comes then */
    LLVMValueRef totals[CG_TILE_SUMS]; /* neighbours of 16 f32, [panel][token], zero at first */
} cg_tile;

/* Makes the code that adds a tile's products to its totals. */
typedef void (*cg_emit_tile)(cg_tile *tile);

/* Activations times one weight. */
struct cg_product {
    cg_lowering *lowering;
    const cg_weight *weight;
    uint64_t token_bytes;        /* of one token's activations */
    const unsigned *tile_tokens; /* sizes of tiles in descending order, the last one 1 */
    size_t tile_count;
    /* Panels of a tile of so many tokens, a power of two; 0: no such tiles. */
    unsigned (*panels)(const cg_product *product, unsigned tokens);
    cg_emit_tile emit;
    bool cached; /* the model's weights fit in a cache that all cores share */
};

/* The product of `columns` f32 activations, and of quantised ones, without lowering and weight. */
cg_product cg_linear_product(uint64_t columns);
cg_product cg_quantised_product(uint64_t columns);

/* --- results --- */

/* Operands of a kernel for one result: those of its weights (two when gated), then these. */
typedef enum cg_weight_operand {
    CG_WEIGHT_DATA,
    CG_WEIGHT_SCALES,
    CG_WEIGHT_ZEROS,
    CG_WEIGHT_BIAS,
    CG_WEIGHT_OPERANDS
} cg_weight_operand;

enum {
    CG_RESULT_OUT,
    CG_RESULT_OTHER, /* the addend, the scales of quantised results, the columns of the largest */
    CG_RESULT_OPERANDS
};

#define CG_MOST_GATED         2
#define CG_MOST_PART_OPERANDS (CG_MOST_GATED * CG_WEIGHT_OPERANDS + CG_RESULT_OPERANDS)

/* One result of a node: a product, or two of which the first gates the second; their weights are
 * alike but for their numbers. */
typedef struct cg_part {
    cg_product product;
    unsigned count; /* of products */
    bool has_bias, adds, quantises, largest;
    uint64_t columns; /* of the result */
    char key[128];    /* names its tiles */
} cg_part;

/* What a part's tile of some panels and tokens is made with: for a token it goes over panels. */
typedef struct cg_strip {
    const cg_part *part;
    cg_tile tile;
    unsigned panels, tokens;
    LLVMValueRef from;                            /* the part's operands in memory */
    LLVMValueRef operands[CG_MOST_PART_OPERANDS]; /* and here */
    LLVMValueRef token;                           /* number of the first */
    LLVMValueRef panel, first;                    /* numbers: of the tile, of the strip */
    LLVMValueRef kept;             /* sums of the tile in memory: [product][panel][token] */
    LLVMValueRef largest, columns; /* of each token, by lane */
} cg_strip;

void cg_strip_begin(cg_strip *strip);
void cg_strip_fetch(cg_strip *strip);
/* Keeps the sums of a panel of the tile, of product number `product`, at `place` (i64). */
void cg_strip_keep(cg_strip *strip, unsigned panel, LLVMValueRef product, LLVMValueRef place);
/* Stores the results of the tile at strip->panel; those of gated products were kept. */
void cg_strip_store(cg_strip *strip);
/* The same for results that are quantised, of two panels from strip->panel on, kept at the places 0
 * and 1. */
void cg_strip_quantise(cg_strip *strip);
void cg_strip_end(cg_strip *strip);

#endif
