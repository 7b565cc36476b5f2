/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/build.h"

#include <llvm-c/Target.h>

#include <string.h>

/* The widest vector: the bytes of a 512-bit register. */
#define WIDEST 64

void cg_build_init(cg_build *build, LLVMContextRef context, LLVMModuleRef module, bool has_fma)
{
    *build = (cg_build){
        .context = context,
        .module = module,
        .builder = LLVMCreateBuilderInContext(context),
        .none = LLVMVoidTypeInContext(context),
        .i1 = LLVMInt1TypeInContext(context),
        .i8 = LLVMInt8TypeInContext(context),
        .i16 = LLVMInt16TypeInContext(context),
        .i32 = LLVMInt32TypeInContext(context),
        .i64 = LLVMInt64TypeInContext(context),
        .half = LLVMHalfTypeInContext(context),
        .f32 = LLVMFloatTypeInContext(context),
        .f64 = LLVMDoubleTypeInContext(context),
        .pointer = LLVMPointerTypeInContext(context, 0),
        .has_fma = has_fma,
    };
}

void cg_build_release(cg_build *build)
{
    LLVMDisposeBuilder(build->builder);
}

/* --- constants and vectors --- */

LLVMValueRef cg_i32(const cg_build *build, int64_t value)
{
    return LLVMConstInt(build->i32, (unsigned long long)value, true);
}

LLVMValueRef cg_i64(const cg_build *build, int64_t value)
{
    return LLVMConstInt(build->i64, (unsigned long long)value, true);
}

static bool is_vector(LLVMTypeRef type)
{
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind;
}

static LLVMValueRef constant_splat(LLVMTypeRef type, LLVMValueRef scalar)
{
    LLVMValueRef lanes[WIDEST];
    const unsigned count = LLVMGetVectorSize(type);
    for (unsigned i = 0; i < count; i++)
        lanes[i] = scalar;
    return LLVMConstVector(lanes, count);
}

LLVMValueRef cg_constant_int(LLVMTypeRef type, int64_t value)
{
    if (!is_vector(type))
        return LLVMConstInt(type, (unsigned long long)value, true);
    return constant_splat(type, cg_constant_int(LLVMGetElementType(type), value));
}

LLVMValueRef cg_constant_real(LLVMTypeRef type, double value)
{
    if (!is_vector(type))
        return LLVMConstReal(type, value);
    return constant_splat(type, cg_constant_real(LLVMGetElementType(type), value));
}

LLVMValueRef cg_constant_ramp(LLVMTypeRef element, unsigned count, int64_t first)
{
    LLVMValueRef lanes[WIDEST];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = LLVMConstInt(element, (unsigned long long)(first + i), true);
    return LLVMConstVector(lanes, count);
}

LLVMTypeRef cg_vector(LLVMTypeRef element, unsigned count)
{
    return LLVMVectorType(element, count);
}

LLVMTypeRef cg_type_like(LLVMTypeRef shape, LLVMTypeRef element)
{
    return is_vector(shape) ? LLVMVectorType(element, LLVMGetVectorSize(shape)) : element;
}

LLVMValueRef cg_splat(cg_build *build, LLVMValueRef scalar, unsigned count)
{
    LLVMValueRef nothing = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(scalar), count));
    LLVMValueRef one =
        LLVMBuildInsertElement(build->builder, nothing, scalar, cg_i32(build, 0), "");
    return LLVMBuildShuffleVector(build->builder, one, nothing,
                                  LLVMConstNull(LLVMVectorType(build->i32, count)), "");
}

LLVMValueRef cg_lane(cg_build *build, LLVMValueRef vector, unsigned lane)
{
    return LLVMBuildExtractElement(build->builder, vector, cg_i32(build, lane), "");
}

LLVMValueRef cg_shuffle(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned count,
                        unsigned first, unsigned step)
{
    LLVMValueRef lanes[WIDEST];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = cg_i32(build, first + i * step);
    if (b == NULL)
        b = LLVMConstNull(LLVMTypeOf(a));
    return LLVMBuildShuffleVector(build->builder, a, b, LLVMConstVector(lanes, count), "");
}

/* --- memory --- */

LLVMValueRef cg_offset(cg_build *build, LLVMValueRef pointer, LLVMValueRef bytes)
{
    return LLVMBuildGEP2(build->builder, build->i8, pointer, &bytes, 1, "");
}

LLVMValueRef cg_offset_by(cg_build *build, LLVMValueRef pointer, uint64_t bytes)
{
    return bytes == 0 ? pointer : cg_offset(build, pointer, cg_i64(build, (int64_t)bytes));
}

LLVMValueRef cg_element(cg_build *build, LLVMValueRef pointer, LLVMValueRef index, uint64_t bytes)
{
    return cg_offset(build, pointer,
                     LLVMBuildMul(build->builder, index, cg_i64(build, (int64_t)bytes), ""));
}

LLVMValueRef cg_load(cg_build *build, LLVMTypeRef type, LLVMValueRef pointer, unsigned alignment)
{
    LLVMValueRef value = LLVMBuildLoad2(build->builder, type, pointer, "");
    LLVMSetAlignment(value, alignment);
    return value;
}

void cg_store(cg_build *build, LLVMValueRef value, LLVMValueRef pointer, unsigned alignment)
{
    LLVMSetAlignment(LLVMBuildStore(build->builder, value, pointer), alignment);
}

LLVMValueRef cg_widen(cg_build *build, LLVMValueRef part)
{
    const unsigned count = LLVMGetVectorSize(LLVMTypeOf(part));
    LLVMValueRef lanes[CG_LANES];
    if (count == CG_LANES)
        return part;
    /* Lane `count` of (part, zeros) is a zero. */
    for (unsigned i = 0; i < CG_LANES; i++)
        lanes[i] = cg_i32(build, i < count ? i : count);
    return LLVMBuildShuffleVector(build->builder, part, LLVMConstNull(LLVMTypeOf(part)),
                                  LLVMConstVector(lanes, CG_LANES), "");
}

LLVMValueRef cg_load_lanes(cg_build *build, LLVMValueRef pointer, unsigned count)
{
    return cg_widen(build, cg_load(build, LLVMVectorType(build->f32, count), pointer, 4));
}

void cg_store_lanes(cg_build *build, LLVMValueRef vector, LLVMValueRef pointer, unsigned count)
{
    if (count < LLVMGetVectorSize(LLVMTypeOf(vector)))
        vector = cg_shuffle(build, vector, NULL, count, 0, 1);
    cg_store(build, vector, pointer, 4);
}

static void prefetch(cg_build *build, LLVMValueRef pointer, unsigned locality)
{
    /* for reading, data */
    LLVMValueRef operands[] = {pointer, cg_i32(build, 0), cg_i32(build, locality),
                               cg_i32(build, 1)};
    cg_call_intrinsic(build, "llvm.prefetch", build->pointer, operands, 4);
}

void cg_prefetch(cg_build *build, LLVMValueRef pointer)
{
    prefetch(build, pointer, 3);
}

void cg_prefetch_stream(cg_build *build, LLVMValueRef pointer)
{
    prefetch(build, pointer, 0);
}

LLVMValueRef cg_variable(cg_build *build, LLVMTypeRef type, const char *name)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(build->builder);
    LLVMBasicBlockRef first = LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here));
    LLVMValueRef position = LLVMGetFirstInstruction(first);
    if (position != NULL)
        LLVMPositionBuilderBefore(build->builder, position);
    else
        LLVMPositionBuilderAtEnd(build->builder, first);
    LLVMValueRef variable = LLVMBuildAlloca(build->builder, type, name);
    LLVMSetAlignment(variable, 64);
    LLVMPositionBuilderAtEnd(build->builder, here);
    return variable;
}

void cg_variables(cg_build *build, LLVMTypeRef type, unsigned count, const char *name,
                  LLVMValueRef *variables)
{
    LLVMValueRef first = cg_variable(build, LLVMArrayType2(type, count), name);
    const uint64_t bytes = LLVMABISizeOfType(LLVMGetModuleDataLayout(build->module), type);
    for (unsigned i = 0; i < count; i++)
        variables[i] = cg_offset_by(build, first, i * bytes);
}

/* --- arithmetic --- */

LLVMValueRef cg_call_overloaded(cg_build *build, const char *name, LLVMTypeRef *types,
                                unsigned type_count, LLVMValueRef *operands, unsigned count)
{
    const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(build->module, id, types, type_count);
    LLVMTypeRef signature = LLVMIntrinsicGetType(build->context, id, types, type_count);
    return LLVMBuildCall2(build->builder, signature, function, operands, count, "");
}

LLVMValueRef cg_call_intrinsic(cg_build *build, const char *name, LLVMTypeRef type,
                               LLVMValueRef *operands, unsigned count)
{
    return cg_call_overloaded(build, name, &type, type != NULL, operands, count);
}

LLVMValueRef cg_fma(cg_build *build, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    if (!build->has_fma)
        return LLVMBuildFAdd(build->builder, LLVMBuildFMul(build->builder, a, b, ""), c, "");
    LLVMValueRef operands[] = {a, b, c};
    return cg_call_intrinsic(build, "llvm.fma", LLVMTypeOf(a), operands, 3);
}

LLVMValueRef cg_intrinsic(cg_build *build, const char *name, LLVMValueRef operand)
{
    return cg_call_intrinsic(build, name, LLVMTypeOf(operand), &operand, 1);
}

LLVMValueRef cg_maximum(cg_build *build, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef larger = LLVMBuildFCmp(build->builder, LLVMRealOGT, a, b, "");
    return LLVMBuildSelect(build->builder, larger, a, b, "");
}

LLVMValueRef cg_minimum_i64(cg_build *build, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef smaller = LLVMBuildICmp(build->builder, LLVMIntSLT, a, b, "");
    return LLVMBuildSelect(build->builder, smaller, a, b, "");
}

LLVMValueRef cg_maximum_i64(cg_build *build, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef larger = LLVMBuildICmp(build->builder, LLVMIntSGT, a, b, "");
    return LLVMBuildSelect(build->builder, larger, a, b, "");
}

LLVMValueRef cg_reduce_lanes(cg_build *build, LLVMValueRef lanes)
{
    for (unsigned step = CG_LANES / 2; step > 0; step /= 2)
        lanes = LLVMBuildFAdd(build->builder, cg_shuffle(build, lanes, NULL, step, 0, 1),
                              cg_shuffle(build, lanes, NULL, step, step, 1), "");
    return cg_lane(build, lanes, 0);
}

/* --- control flow --- */

static LLVMBasicBlockRef new_block(cg_build *build, const char *name)
{
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(build->builder));
    return LLVMAppendBasicBlockInContext(build->context, function, name);
}

cg_loop cg_loop_begin(cg_build *build, LLVMValueRef begin, LLVMValueRef end, int64_t step)
{
    LLVMBasicBlockRef before = LLVMGetInsertBlock(build->builder);
    cg_loop loop = {.header = new_block(build, "loop"), .step = cg_i64(build, step)};
    LLVMBasicBlockRef body = new_block(build, "body");
    loop.exit = new_block(build, "done");
    LLVMBuildBr(build->builder, loop.header);
    LLVMPositionBuilderAtEnd(build->builder, loop.header);
    loop.index = LLVMBuildPhi(build->builder, build->i64, "index");
    LLVMAddIncoming(loop.index, &begin, &before, 1);
    LLVMValueRef more = LLVMBuildICmp(build->builder, LLVMIntSLT, loop.index, end, "");
    LLVMBuildCondBr(build->builder, more, body, loop.exit);
    LLVMPositionBuilderAtEnd(build->builder, body);
    return loop;
}

void cg_loop_end(cg_build *build, cg_loop *loop)
{
    LLVMValueRef next = LLVMBuildNSWAdd(build->builder, loop->index, loop->step, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(build->builder);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMBuildBr(build->builder, loop->header);
    LLVMPositionBuilderAtEnd(build->builder, loop->exit);
}

cg_branch cg_if(cg_build *build, LLVMValueRef condition)
{
    LLVMBasicBlockRef then = new_block(build, "then");
    cg_branch branch = {new_block(build, "else"), new_block(build, "endif")};
    LLVMBuildCondBr(build->builder, condition, then, branch.otherwise);
    LLVMPositionBuilderAtEnd(build->builder, then);
    return branch;
}

void cg_else(cg_build *build, cg_branch *branch)
{
    LLVMBuildBr(build->builder, branch->exit);
    LLVMPositionBuilderAtEnd(build->builder, branch->otherwise);
    branch->otherwise = NULL;
}

void cg_end_if(cg_build *build, cg_branch *branch)
{
    LLVMBuildBr(build->builder, branch->exit);
    if (branch->otherwise != NULL) {
        LLVMPositionBuilderAtEnd(build->builder, branch->otherwise);
        LLVMBuildBr(build->builder, branch->exit);
    }
    LLVMPositionBuilderAtEnd(build->builder, branch->exit);
}
