/* A short way of writing LLVM IR: types, constants, loads, arithmetic and structured control flow.
 * Floating-point operations carry no fast-math flags, ever: docs/numerics.md defines every bit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_BUILD_H
#define TANDEM_CODEGEN_BUILD_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stdint.h>

/* Virtual lanes of row reductions and rows of a weight panel. */
#define CG_LANES 16

typedef struct cg_build {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTypeRef none, i1, i8, i16, i32, i64, half, f32, f64, pointer;
    bool has_fma;
    bool has_half; /* converts f16 to and from f32 */
} cg_build;

void cg_build_init(cg_build *build, LLVMContextRef context, LLVMModuleRef module, bool has_fma);
void cg_build_release(cg_build *build);

/* --- constants and vectors --- */

LLVMValueRef cg_i32(const cg_build *build, int64_t value);
LLVMValueRef cg_i64(const cg_build *build, int64_t value);
/* A constant of `type` (a scalar or a vector) with the same number in every lane. */
LLVMValueRef cg_constant_int(LLVMTypeRef type, int64_t value);
LLVMValueRef cg_constant_real(LLVMTypeRef type, double value);
/* Lanes first, first + 1, ... */
LLVMValueRef cg_constant_ramp(LLVMTypeRef element, unsigned count, int64_t first);
LLVMTypeRef cg_vector(LLVMTypeRef element, unsigned count);
/* `shape` with another element type: a scalar for a scalar, a vector for a vector. */
LLVMTypeRef cg_type_like(LLVMTypeRef shape, LLVMTypeRef element);
LLVMValueRef cg_splat(cg_build *build, LLVMValueRef scalar, unsigned count);
LLVMValueRef cg_lane(cg_build *build, LLVMValueRef vector, unsigned lane);
/* Lanes first, first + step, ... (count of them); past the end of `a` they come from `b`, which is
 * NULL for a vector of zeros. */
LLVMValueRef cg_shuffle(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned count,
                        unsigned first, unsigned step);

/* --- memory --- */

LLVMValueRef cg_offset(cg_build *build, LLVMValueRef pointer, LLVMValueRef bytes);
LLVMValueRef cg_offset_by(cg_build *build, LLVMValueRef pointer, uint64_t bytes);
/* pointer + index * bytes */
LLVMValueRef cg_element(cg_build *build, LLVMValueRef pointer, LLVMValueRef index, uint64_t bytes);
LLVMValueRef cg_load(cg_build *build, LLVMTypeRef type, LLVMValueRef pointer, unsigned alignment);
void cg_store(cg_build *build, LLVMValueRef value, LLVMValueRef pointer, unsigned alignment);
/* A vector of 1 .. 16 lanes followed by zeros, 16 lanes in all. */
LLVMValueRef cg_widen(cg_build *build, LLVMValueRef part);
/* Loads `count` (1 .. 16) f32 into a vector of 16; the other lanes are zero. */
LLVMValueRef cg_load_lanes(cg_build *build, LLVMValueRef pointer, unsigned count);
/* Stores the first `count` lanes of a vector. */
void cg_store_lanes(cg_build *build, LLVMValueRef vector, LLVMValueRef pointer, unsigned count);
/* Asks for a cache line that will be read; never faults, whatever the address. */
void cg_prefetch(cg_build *build, LLVMValueRef pointer);
/* The same for a line of a long stream, which need not be kept. */
void cg_prefetch_stream(cg_build *build, LLVMValueRef pointer);
/* A variable in the current function's first block; optimisation turns it into registers. */
LLVMValueRef cg_variable(cg_build *build, LLVMTypeRef type, const char *name);
/* Neighbours in memory, for as long as one of them is addressed by a number. */
void cg_variables(cg_build *build, LLVMTypeRef type, unsigned count, const char *name,
                  LLVMValueRef *variables);

/* --- arithmetic --- */

LLVMValueRef cg_fma(cg_build *build, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
/* A one-operand intrinsic overloaded on its type: "llvm.sqrt", "llvm.roundeven". */
LLVMValueRef cg_intrinsic(cg_build *build, const char *name, LLVMValueRef operand);
/* An intrinsic that is overloaded on `type`, NULL when it is not: "llvm.x86.avx2.pmadd.wd". */
LLVMValueRef cg_call_intrinsic(cg_build *build, const char *name, LLVMTypeRef type,
                               LLVMValueRef *operands, unsigned count);
/* The same, overloaded on several types. */
LLVMValueRef cg_call_overloaded(cg_build *build, const char *name, LLVMTypeRef *types,
                                unsigned type_count, LLVMValueRef *operands, unsigned count);
/* Larger of two, as `a > b ? a : b`. */
LLVMValueRef cg_maximum(cg_build *build, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cg_minimum_i64(cg_build *build, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cg_maximum_i64(cg_build *build, LLVMValueRef a, LLVMValueRef b);
/* Row reduction's end: lane[i] += lane[i + s] for s in 8, 4, 2, 1; the result is lane 0. */
LLVMValueRef cg_reduce_lanes(cg_build *build, LLVMValueRef lanes);

/* --- control flow --- */

typedef struct cg_loop {
    LLVMBasicBlockRef header, exit;
    LLVMValueRef index, step;
} cg_loop;

/* for (index = begin; index < end; index += step); i64, signed. */
cg_loop cg_loop_begin(cg_build *build, LLVMValueRef begin, LLVMValueRef end, int64_t step);
void cg_loop_end(cg_build *build, cg_loop *loop);

typedef struct cg_branch {
    LLVMBasicBlockRef otherwise, exit;
} cg_branch;

cg_branch cg_if(cg_build *build, LLVMValueRef condition);
void cg_else(cg_build *build, cg_branch *branch);
void cg_end_if(cg_build *build, cg_branch *branch); /* with or without cg_else */

#endif
