/* Where weights and caches lie: computed from the IR alone, without reading any data, and shared by
 * planning, lowering and packing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_LAYOUT_H
#define TANDEM_CODEGEN_LAYOUT_H

#include "codegen/codegen.h"

/* Rows of a weight matrix that are interleaved, one per virtual lane. */
#define CG_PANEL_ROWS 16

/* Panels that `linear_quantized` reads together, and the bytes of each that follow each other. */
#define CG_DOT_PANELS 2
#define CG_DOT_BYTES  (CG_PANEL_ROWS * 4)

#define CG_ALIGNMENT 64

typedef enum cg_role {
    /* A matrix read by `linear`: [panel][k][16 rows] in the stored type, scales and zero points
     * [panel][group][16]. Within a group 4-bit elements go in pairs of consecutive k, the earlier
     * one in the low half. Rows beyond the last are zero. */
    CG_ROLE_PANELS,
    /* A matrix read by `linear_quantized`: pairs of panels in blocks of 32 k, [pair][block][8
     * quads][2 panels][16 rows][4 k], one unsigned byte each; 4-bit elements go in pairs of quads,
     * the earlier one in the low half. Stored integers are raised by `bias` to be unsigned.
     * Elements and rows beyond the last are there, with any number and the scale 0; scales and zero
     * points (raised too) are [pair][group][2 panels][16]. */
    CG_ROLE_DOTS,
    /* A table that is only gathered from: [row][k] in the stored type, each row starting at a whole
     * byte, scales and zero points [row][group]. */
    CG_ROLE_ROWS,
    CG_ROLE_PLAIN, /* anything else: row-major f32 */
} cg_role;

typedef struct cg_weight {
    const ir_constant *constant;
    cg_role role;
    uint64_t rows, columns;
    uint64_t group,
        groups;           /* elements per group (columns when there are no groups), their number */
    unsigned unit_panels; /* CG_ROLE_DOTS: 2; CG_ROLE_PANELS: 1; else 0 */
    uint64_t unit_bytes;  /* of one panel, of one pair of panels, or of one row */
    uint64_t group_bytes; /* CG_ROLE_PANELS: of one whole group; CG_ROLE_DOTS: of one block */
    unsigned scale_bytes; /* of one scale; 0: not quantised */
    bool has_zero;        /* zero points, one byte each */
    unsigned bias;        /* CG_ROLE_DOTS: 128 for i8, 8 for i4, else 0 */
    uint64_t offset, bytes; /* in the model's weights: data, then scales, then zero points */
    uint64_t scale_offset, zero_offset;
} cg_weight;

typedef struct cg_weights {
    td_context *context;
    TD_ARRAY(cg_weight) items;
    uint64_t bytes;
    uint64_t read_per_pass; /* by products: what one pass streams */
} cg_weights;

/* Lists the constants that a model's graphs read, in order of first use. What cannot be laid out is
 * refused by node name. */
td_status cg_weights_make(td_context *context, const cg_model *model, cg_weights *weights);
void cg_weights_release(cg_weights *weights);
/* The row of a constant, NULL when it has none. A matrix that is both multiplied by and gathered
 * from has one row, of the product's role, which `role` CG_ROLE_ROWS finds too. */
const cg_weight *cg_weights_find(const cg_weights *weights, const ir_constant *constant,
                                 cg_role role);

typedef struct cg_cache {
    const ir_state *state;
    uint64_t key_slot_offset, value_slot_offset; /* see tandem_cache_info */
} cg_cache;

typedef struct cg_caches {
    td_context *context;
    TD_ARRAY(cg_cache) items;
    uint32_t count_stride; /* KV heads of the widest cache */
    uint64_t fixed_bytes, slot_bytes;
} cg_caches;

td_status cg_caches_make(td_context *context, const ir_module *module, cg_caches *caches);
void cg_caches_release(cg_caches *caches);
/* Index of a named cache, or -1. */
int cg_caches_find(const cg_caches *caches, const char *name);

static inline uint64_t cg_align(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

/* Rows whose elements lie together. */
static inline uint64_t cg_weight_unit_rows(const cg_weight *weight)
{
    return weight->unit_panels == 0 ? 1 : (uint64_t)weight->unit_panels * CG_PANEL_ROWS;
}

/* Blocks of 32 along K, the last one perhaps short. */
static inline uint64_t cg_weight_blocks(const cg_weight *weight)
{
    return (weight->columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
}

#endif
