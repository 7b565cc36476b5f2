/* add, multiply, silu and gated_silu, with the second operand possibly repeated over leading
 * dimensions.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

enum { OPERAND_A, OPERAND_B, OPERAND_OUT, OPERAND_COUNT };

static LLVMValueRef compute(cg_build *build, ir_opcode op, LLVMValueRef a, LLVMValueRef b)
{
    switch (op) {
    case IR_OP_add:
        return LLVMBuildFAdd(build->builder, a, b, "");
    case IR_OP_multiply:
        return LLVMBuildFMul(build->builder, a, b, "");
    case IR_OP_silu:
        return cg_silu(build, a);
    default: /* gated_silu */
        return LLVMBuildFMul(build->builder, cg_silu(build, a), b, "");
    }
}

/* Elements [begin, end) where b is as long as the result: vectors, then single elements. */
static void emit_dense(cg_build *build, const cg_kernel *kernel, ir_opcode op, LLVMValueRef begin,
                       LLVMValueRef end)
{
    LLVMValueRef length = LLVMBuildSub(build->builder, end, begin, "");
    LLVMValueRef size = cg_i64(build, CG_LANES);
    LLVMValueRef whole =
        LLVMBuildMul(build->builder, LLVMBuildUDiv(build->builder, length, size, ""), size, "");
    LLVMValueRef middle = LLVMBuildAdd(build->builder, begin, whole, "");
    for (int single = 0; single < 2; single++) {
        const unsigned count = single ? 1 : CG_LANES;
        cg_loop loop = cg_loop_begin(build, single ? middle : begin, single ? end : middle, count);
        LLVMValueRef a = cg_element(build, kernel->operands[OPERAND_A], loop.index, 4);
        LLVMValueRef b = cg_element(build, kernel->operands[OPERAND_B], loop.index, 4);
        LLVMValueRef out = cg_element(build, kernel->operands[OPERAND_OUT], loop.index, 4);
        a = cg_load_stored(build, IR_F32, a, count);
        b = cg_load_stored(build, IR_F32, b, count);
        cg_store(build, compute(build, op, a, b), out, 4);
        cg_loop_end(build, &loop);
    }
}

/* Elements [begin, end) where element i of the result meets b[i % period]. */
static void emit_repeated(cg_build *build, const cg_kernel *kernel, ir_opcode op, uint64_t period,
                          LLVMValueRef begin, LLVMValueRef end)
{
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef place =
        LLVMBuildURem(build->builder, loop.index, cg_i64(build, (int64_t)period), "");
    LLVMValueRef a = cg_element(build, kernel->operands[OPERAND_A], loop.index, 4);
    LLVMValueRef b = cg_element(build, kernel->operands[OPERAND_B], place, 4);
    LLVMValueRef out = cg_element(build, kernel->operands[OPERAND_OUT], loop.index, 4);
    a = cg_load(build, build->f32, a, 4);
    b = cg_load(build, build->f32, b, 4);
    cg_store(build, compute(build, op, a, b), out, 4);
    cg_loop_end(build, &loop);
}

/* The number of elements after which `value` repeats within `whole`, 0 when they are alike, or
 * false when it is spread in another way. */
static bool find_period(const ir_module *module, const ir_value *value, const ir_value *whole,
                        uint64_t *period)
{
    uint32_t skipped = 0; /* leading dimensions of 1 */
    *period = 0;
    if (ir_shape_equal(&value->shape, &whole->shape))
        return true;
    while (skipped < value->shape.rank && ir_dim_is(&value->shape.dim[skipped], 1))
        skipped++;
    const uint32_t rank = value->shape.rank - skipped;
    if (rank > whole->shape.rank)
        return false;
    for (uint32_t i = 0; i < rank; i++)
        if (!ir_dim_equal(&value->shape.dim[skipped + i],
                          &whole->shape.dim[whole->shape.rank - rank + i]))
            return false;
    ir_shape rest = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        rest.dim[i] = value->shape.dim[skipped + i];
    return ir_shape_is_static(&rest) && ir_shape_elements_bound(module, &rest, period);
}

td_status cg_lower_elementwise(cg_entry *entry, const ir_node *node)
{
    cg_build *build = &entry->lowering->build;
    const ir_value *out = node->outputs[0], *a = node->inputs[0];
    const ir_value *b = node->input_count > 1 ? node->inputs[1] : a;
    uint64_t period_a, period_b;
    if (out->type != IR_F32 || a->type != IR_F32 || b->type != IR_F32)
        return cg_refuse(node, "operands of types %s and %s; f32 is needed", ir_type_name(a->type),
                         ir_type_name(b->type));
    if (!find_period(entry->graph->module, a, out, &period_a) ||
        !find_period(entry->graph->module, b, out, &period_b) ||
        (period_a > 0 && node->op == IR_OP_gated_silu) || (period_a > 0 && period_b > 0))
        return cg_refuse(node, "operands of these shapes cannot be combined");
    if (period_a > 0) { /* add and multiply commute */
        const ir_value *swapped = a;
        a = b;
        b = swapped;
        period_b = period_a;
    }
    LLVMValueRef addresses[OPERAND_COUNT], total = cg_i64(build, 1);
    TD_TRY(cg_address(entry, node, a, &addresses[OPERAND_A]));
    TD_TRY(cg_address(entry, node, b, &addresses[OPERAND_B]));
    TD_TRY(cg_address(entry, node, out, &addresses[OPERAND_OUT]));
    for (uint32_t i = 0; i < out->shape.rank; i++) {
        LLVMValueRef size;
        TD_TRY(cg_dimension(entry, node, &out->shape.dim[i], &size));
        total = LLVMBuildMul(build->builder, total, size, "");
    }
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, OPERAND_COUNT, &kernel, &fresh, "%s_%llu",
                           ir_op(node->op)->name, (unsigned long long)period_b));
    if (fresh) {
        LLVMValueRef begin, end;
        cg_share(build, &kernel, kernel.rows, &begin, &end);
        if (period_b > 0)
            emit_repeated(build, &kernel, node->op, period_b, begin, end);
        else
            emit_dense(build, &kernel, node->op, begin, end);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, OPERAND_COUNT, total, addresses);
    return TD_OK;
}
