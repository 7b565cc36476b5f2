/* Quantised activations as the products read them. Tokens are cut into the tiles of the products;
 * for each block of 32 k a tile of T tokens has
 *
 *     i8  [8 quads][T][4 k]    short blocks are filled up with zeros
 *     i32 [T]                  minus the sum of the block's integers
 *     i32 [T]                  the same times 128
 *     f32 [T]                  the block's scale
 *
 * so that a product walks one stream, and the instruction that multiplies 16 rows by four k takes
 * its activations as one broadcast.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_QUANTISED_H
#define TANDEM_CODEGEN_QUANTISED_H

#include "codegen/lower.h"

#define CG_QUANTISED_QUADS (IR_QUANTIZE_BLOCK / 4)
/* Bytes of a block, and where its parts start, for each token of the tile. */
#define CG_QUANTISED_BLOCK  SCHED_QUANTISED_BLOCK_BYTES
#define CG_QUANTISED_SUMS   IR_QUANTIZE_BLOCK
#define CG_QUANTISED_RAISED (IR_QUANTIZE_BLOCK + 4)
#define CG_QUANTISED_SCALES (IR_QUANTIZE_BLOCK + 8)

/* Tokens of tiles in descending order; a CPU has those up to its number of accumulators. */
#define CG_QUANTISED_TILES 9
extern const unsigned cg_quantised_tiles[CG_QUANTISED_TILES];

/* Where a token's numbers go: its tile's first byte, and its place in the tile of `tokens`. */
typedef struct cg_token_place {
    LLVMValueRef base, index, tokens;
} cg_token_place;

/* The place of one of a kernel's rows in quantised activations that start at `base`. */
cg_token_place cg_find_place(cg_lowering *lowering, const cg_kernel *kernel, LLVMValueRef base,
                             LLVMValueRef token, uint64_t token_bytes);

/* Quantises two vectors of 16 numbers, zeros behind those of a short block, into the block of the
 * token's tile that starts at `block`; the scale goes to `scale_out`, too. */
void cg_quantise_block(cg_build *build, const cg_token_place *place, const LLVMValueRef *numbers,
                       LLVMValueRef block, LLVMValueRef scale_out);

#endif
