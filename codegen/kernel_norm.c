/* rms_norm: one row of the weight's length at a time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

enum { OPERAND_X, OPERAND_WEIGHT, OPERAND_OUT, OPERAND_COUNT };

/* Calls `step` for the chunks of 16 of a row of `length`: a loop over whole ones, then the rest. */
typedef void (*chunk_step)(cg_build *build, void *self, LLVMValueRef byte_offset, unsigned lanes);

static void for_chunks(cg_build *build, uint64_t length, chunk_step step, void *self)
{
    const uint64_t whole = length / CG_LANES * CG_LANES;
    if (whole > 0) {
        cg_loop loop =
            cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)whole * 4), CG_LANES * 4);
        step(build, self, loop.index, CG_LANES);
        cg_loop_end(build, &loop);
    }
    if (whole < length)
        step(build, self, cg_i64(build, (int64_t)whole * 4), (unsigned)(length - whole));
}

typedef struct norm_row {
    LLVMValueRef x, weight, out;
    LLVMValueRef lanes;   /* variable: the sums */
    LLVMValueRef inverse; /* splat of 1 / sqrt(...) */
} norm_row;

static void add_squares(cg_build *build, void *self, LLVMValueRef offset, unsigned count)
{
    const norm_row *row = self;
    LLVMValueRef x = cg_load_lanes(build, cg_offset(build, row->x, offset), count);
    LLVMValueRef before = cg_load(build, LLVMTypeOf(x), row->lanes, 64);
    /* A zero square leaves a lane, which is never -0, as it was. */
    cg_store(build, cg_fma(build, x, x, before), row->lanes, 64);
}

static void scale_chunk(cg_build *build, void *self, LLVMValueRef offset, unsigned count)
{
    const norm_row *row = self;
    LLVMValueRef x = cg_load_lanes(build, cg_offset(build, row->x, offset), count);
    LLVMValueRef weight = cg_load_lanes(build, cg_offset(build, row->weight, offset), count);
    LLVMValueRef y = LLVMBuildFMul(build->builder, x, row->inverse, "");
    y = LLVMBuildFMul(build->builder, y, weight, "");
    cg_store_lanes(build, y, cg_offset(build, row->out, offset), count);
}

static void emit_kernel(cg_build *build, const cg_kernel *kernel, uint64_t length, float epsilon)
{
    norm_row row = {.weight = kernel->operands[OPERAND_WEIGHT],
                    .lanes = cg_variable(build, cg_vector(build->f32, CG_LANES), "lanes")};
    LLVMTypeRef floats = cg_vector(build->f32, CG_LANES);
    LLVMValueRef begin, end;
    cg_share(build, kernel, kernel->rows, &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    row.x = cg_element(build, kernel->operands[OPERAND_X], loop.index, length * 4);
    row.out = cg_element(build, kernel->operands[OPERAND_OUT], loop.index, length * 4);
    cg_store(build, cg_constant_real(floats, 0), row.lanes, 64);
    for_chunks(build, length, add_squares, &row);
    LLVMValueRef sum = cg_reduce_lanes(build, cg_load(build, floats, row.lanes, 64));
    LLVMValueRef mean =
        LLVMBuildFDiv(build->builder, sum, cg_constant_real(build->f32, (double)(float)length), "");
    mean = LLVMBuildFAdd(build->builder, mean, cg_constant_real(build->f32, (double)epsilon), "");
    LLVMValueRef inverse = LLVMBuildFDiv(build->builder, cg_constant_real(build->f32, 1),
                                         cg_intrinsic(build, "llvm.sqrt", mean), "");
    row.inverse = cg_splat(build, inverse, CG_LANES);
    for_chunks(build, length, scale_chunk, &row);
    cg_loop_end(build, &loop);
}

td_status cg_lower_rms_norm(cg_entry *entry, const ir_node *node)
{
    cg_build *build = &entry->lowering->build;
    const ir_value *x = node->inputs[0], *weight = node->inputs[1], *out = node->outputs[0];
    uint64_t columns, length;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    if (!ir_shape_elements_bound(entry->graph->module, &weight->shape, &length) || length == 0 ||
        columns % length != 0)
        return cg_refuse(node, "a weight of %llu elements does not divide rows of %llu",
                         (unsigned long long)length, (unsigned long long)columns);
    LLVMValueRef addresses[OPERAND_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[OPERAND_X]));
    TD_TRY(cg_address(entry, node, weight, &addresses[OPERAND_WEIGHT]));
    TD_TRY(cg_address(entry, node, out, &addresses[OPERAND_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    rows = LLVMBuildMul(build->builder, rows, cg_i64(build, (int64_t)(columns / length)), "");
    const float epsilon = (float)ir_node_float(node, "epsilon", 0);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, OPERAND_COUNT, &kernel, &fresh, "rms_norm_%llu_%a",
                           (unsigned long long)length, (double)epsilon));
    if (fresh) {
        emit_kernel(build, &kernel, length, epsilon);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, rows, addresses);
    return TD_OK;
}
