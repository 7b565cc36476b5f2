/* How long a node takes, roughly: enough to tell a kernel that is over before another thread has
 * heard of it from one that is worth sharing. The figures are of one core of about 2023; a factor
 * of two does not matter.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

/* Weights read by a product, bytes per nanosecond: streamed from memory, or from a cache that holds
 * all of a small model. */
#define STREAM_BYTES 20
#define CACHE_BYTES  60
#define SMALL_MODEL  ((uint64_t)16 << 20)

/* Multiply-adds per nanosecond are a register's bits divided by these: of a product with f32 and
 * with int8 activations, and of attention's scores and values. */
#define PRODUCT_F32       8
#define PRODUCT_QUANTISED 4
#define PRODUCT_ATTENTION 8

/* Picoseconds for each element of the result. */
static const struct {
    ir_opcode op;
    uint64_t picoseconds;
} rows[] = {
    {IR_OP_rms_norm, 200},      {IR_OP_rotary_table, 10000},    {IR_OP_rope, 300},
    {IR_OP_silu, 500},          {IR_OP_gated_silu, 700},        {IR_OP_embed, 2000},
    {IR_OP_quantize_rows, 500}, {IR_OP_rms_norm_quantize, 700},
};

#define OTHER_PICOSECONDS 200 /* anything that only moves, adds or multiplies */

static uint64_t element_picoseconds(ir_opcode op)
{
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++)
        if (rows[i].op == op)
            return rows[i].picoseconds;
    return OTHER_PICOSECONDS;
}

/* Elements of one row: the bounds of all dimensions but the first. */
static uint64_t row_elements(const cg_entry *entry, const ir_value *value)
{
    uint64_t elements = 1;
    for (uint32_t i = 1; i < value->shape.rank; i++)
        elements *= (uint64_t)ir_dim_bound(entry->graph->module, &value->shape.dim[i]);
    return elements;
}

/* rows * each, but at least `least`: reading overlaps with computing. In picoseconds, the result in
 * nanoseconds. */
static LLVMValueRef longer_of(cg_build *build, uint64_t least, LLVMValueRef count, uint64_t each)
{
    LLVMValueRef work = LLVMBuildMul(build->builder, count, cg_i64(build, (int64_t)each), "");
    LLVMValueRef floor = cg_i64(build, (int64_t)least);
    LLVMValueRef more = LLVMBuildICmp(build->builder, LLVMIntUGT, work, floor, "");
    work = LLVMBuildSelect(build->builder, more, work, floor, "");
    return LLVMBuildUDiv(build->builder, work, cg_i64(build, 1000), "work");
}

/* rows * heads * size * 2 multiply-adds for each token that is seen. Heads may hold different
 * numbers of tokens; the first one speaks for all. */
static LLVMValueRef attention_work(const cg_entry *entry, const ir_node *node, LLVMValueRef count)
{
    cg_build *build = &entry->lowering->build;
    const int cache = cg_caches_find(entry->caches, ir_node_string(node, "state", ""));
    const uint64_t row = row_elements(entry, node->outputs[0]);
    LLVMValueRef seen = count;
    if (cache >= 0) {
        const uint64_t offset = (uint64_t)cache * entry->caches->count_stride * sizeof(int32_t);
        LLVMValueRef committed =
            cg_load(build, build->i32, cg_offset_by(build, entry->state, offset), 4);
        committed = LLVMBuildZExt(build->builder, committed, build->i64, "");
        seen = LLVMBuildAdd(build->builder, seen, committed, "");
    }
    LLVMValueRef pairs = LLVMBuildMul(build->builder, seen, count, "");
    return longer_of(build, 0, pairs,
                     row * 2 * 1000 * PRODUCT_ATTENTION / entry->lowering->cpu->vector_bits);
}

bool cg_is_cached(const cg_entry *entry)
{
    return entry->weights->bytes <= SMALL_MODEL;
}

/* The weights are read once, and every row is multiplied by all of them. */
static LLVMValueRef product_work(const cg_entry *entry, const ir_node *node,
                                 const ir_products *products, LLVMValueRef count)
{
    const uint64_t divisor = products->quantised ? PRODUCT_QUANTISED : PRODUCT_F32;
    const uint64_t rate = cg_is_cached(entry) ? CACHE_BYTES : STREAM_BYTES;
    uint64_t bytes = 0, multiplications = 0;
    for (uint32_t i = products->first; i < products->first + products->count; i++) {
        const ir_value *weight = node->inputs[i];
        uint64_t elements;
        if (weight->kind != IR_VALUE_CONSTANT ||
            !ir_shape_elements_bound(entry->graph->module, &weight->shape, &elements))
            continue;
        multiplications += elements;
        bytes += elements * ir_type_bits(weight->constant->type) / 8;
    }
    return longer_of(&entry->lowering->build, bytes * 1000 / rate, count,
                     multiplications * 1000 * divisor / entry->lowering->cpu->vector_bits);
}

LLVMValueRef cg_moving_work(const cg_entry *entry, LLVMValueRef count, uint64_t elements)
{
    return longer_of(&entry->lowering->build, 0, count,
                     elements * element_picoseconds(IR_OP_quantize_rows));
}

td_status cg_node_work(const cg_entry *entry, const ir_node *node, LLVMValueRef *work)
{
    cg_build *build = &entry->lowering->build;
    if (node->output_count == 0 || node->outputs[0]->shape.rank == 0) {
        *work = cg_i64(build, 0);
        return TD_OK;
    }
    const ir_value *out = node->outputs[0];
    LLVMValueRef count;
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &count));
    if (node->op == IR_OP_cached_attention) {
        *work = attention_work(entry, node, count);
        return TD_OK;
    }
    ir_products products;
    *work =
        ir_node_products(node, &products)
            ? product_work(entry, node, &products, count)
            : longer_of(build, 0, count, row_elements(entry, out) * element_picoseconds(node->op));
    return TD_OK;
}
