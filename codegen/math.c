/* Elementary functions and conversions, operation by operation as docs/numerics.md defines them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

/* --- exponential --- */

/* 2^n for an integer vector n of -126 .. 127. */
static LLVMValueRef power_of_two(cg_build *build, LLVMValueRef n)
{
    LLVMTypeRef integers = LLVMTypeOf(n);
    LLVMValueRef biased = LLVMBuildAdd(build->builder, n, cg_constant_int(integers, 127), "");
    LLVMValueRef bits = LLVMBuildShl(build->builder, biased, cg_constant_int(integers, 23), "");
    return LLVMBuildBitCast(build->builder, bits, cg_type_like(integers, build->f32), "");
}

LLVMValueRef cg_exp(cg_build *build, LLVMValueRef x)
{
    static const double coefficients[] = {
        0x1.12398p-7, 0x1.5558aep-5, 0x1.555492p-3, 0x1.fffffcp-2, 1, 1};
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef type = LLVMTypeOf(x), integers = cg_type_like(type, build->i32);
    LLVMValueRef n =
        cg_intrinsic(build, "llvm.roundeven",
                     LLVMBuildFMul(builder, x, cg_constant_real(type, 0x1.715476p+0), ""));
    LLVMValueRef r = cg_fma(build, n, cg_constant_real(type, -0x1.62e4p-1), x);
    r = cg_fma(build, n, cg_constant_real(type, -0x1.7f7d1cp-20), r);
    LLVMValueRef p = cg_constant_real(type, 0x1.6a4f28p-10);
    for (size_t i = 0; i < TD_COUNT_OF(coefficients); i++)
        p = cg_fma(build, p, r, cg_constant_real(type, coefficients[i]));
    /* Lanes that are out of range are replaced below; freezing keeps them harmless until then. */
    LLVMValueRef whole = LLVMBuildFPToSI(builder, n, integers, "");
    whole = LLVMBuildFreeze(builder, whole, "");
    LLVMValueRef half = LLVMBuildAShr(builder, whole, cg_constant_int(integers, 1), "");
    LLVMValueRef rest = LLVMBuildSub(builder, whole, half, "");
    LLVMValueRef y = LLVMBuildFMul(builder, p, power_of_two(build, half), "");
    y = LLVMBuildFMul(builder, y, power_of_two(build, rest), "");
    LLVMValueRef over =
        LLVMBuildFCmp(builder, LLVMRealOGT, x, cg_constant_real(type, 0x1.62e42ep+6), "");
    LLVMValueRef under =
        LLVMBuildFCmp(builder, LLVMRealOLT, x, cg_constant_real(type, -0x1.9fe368p+6), "");
    y = LLVMBuildSelect(builder, over, cg_constant_real(type, __builtin_inf()), y, "");
    return LLVMBuildSelect(builder, under, cg_constant_real(type, 0), y, "");
}

static LLVMValueRef one_plus_exp(cg_build *build, LLVMValueRef x)
{
    return LLVMBuildFAdd(build->builder, cg_constant_real(LLVMTypeOf(x), 1), cg_exp(build, x), "");
}

LLVMValueRef cg_silu(cg_build *build, LLVMValueRef x)
{
    LLVMValueRef negative = LLVMBuildFNeg(build->builder, x, "");
    return LLVMBuildFDiv(build->builder, x, one_plus_exp(build, negative), "");
}

LLVMValueRef cg_tanh(cg_build *build, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef twice = LLVMBuildFMul(build->builder, cg_constant_real(type, 2), x, "");
    LLVMValueRef quotient =
        LLVMBuildFDiv(build->builder, cg_constant_real(type, 2), one_plus_exp(build, twice), "");
    return LLVMBuildFSub(build->builder, cg_constant_real(type, 1), quotient, "");
}

/* --- sine and cosine --- */

/* Horner from the highest coefficient down, every step one fma. */
static LLVMValueRef polynomial(cg_build *build, LLVMValueRef q, size_t count,
                               const double *coefficients)
{
    LLVMTypeRef type = LLVMTypeOf(q);
    LLVMValueRef sum = cg_constant_real(type, coefficients[0]);
    for (size_t i = 1; i < count; i++)
        sum = cg_fma(build, sum, q, cg_constant_real(type, coefficients[i]));
    return sum;
}

void cg_sine_cosine(cg_build *build, LLVMValueRef angle, LLVMValueRef *sine, LLVMValueRef *cosine)
{
    static const double sines[] = {-1.0 / 39916800, 1.0 / 362880, -1.0 / 5040,
                                   1.0 / 120,       -1.0 / 6,     1};
    static const double cosines[] = {
        1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -1.0 / 2, 1};
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef type = cg_type_like(LLVMTypeOf(angle), build->f64);
    LLVMTypeRef integers = cg_type_like(type, build->i32);
    LLVMValueRef x = LLVMBuildFPExt(builder, angle, type, "");
    LLVMValueRef k =
        cg_intrinsic(build, "llvm.roundeven",
                     LLVMBuildFMul(builder, x, cg_constant_real(type, 0x1.45f306dc9c883p-1), ""));
    LLVMValueRef r = cg_fma(build, k, cg_constant_real(type, -0x1.921fb54442d18p+0), x);
    r = cg_fma(build, k, cg_constant_real(type, -0x1.1a62633145c07p-54), r);
    LLVMValueRef q = LLVMBuildFMul(builder, r, r, "");
    LLVMValueRef s = LLVMBuildFMul(builder, r, polynomial(build, q, TD_COUNT_OF(sines), sines), "");
    LLVMValueRef c = polynomial(build, q, TD_COUNT_OF(cosines), cosines);
    LLVMValueRef quadrant = LLVMBuildFPToSI(builder, k, integers, "");
    LLVMValueRef one = cg_constant_int(integers, 1), two = cg_constant_int(integers, 2);
    LLVMValueRef zero = cg_constant_int(integers, 0);
    LLVMValueRef odd =
        LLVMBuildICmp(builder, LLVMIntNE, LLVMBuildAnd(builder, quadrant, one, ""), zero, "");
    LLVMValueRef sine_negative =
        LLVMBuildICmp(builder, LLVMIntNE, LLVMBuildAnd(builder, quadrant, two, ""), zero, "");
    LLVMValueRef next = LLVMBuildAdd(builder, quadrant, one, "");
    LLVMValueRef cosine_negative =
        LLVMBuildICmp(builder, LLVMIntNE, LLVMBuildAnd(builder, next, two, ""), zero, "");
    LLVMValueRef up = LLVMBuildSelect(builder, odd, c, s, "");
    LLVMValueRef across = LLVMBuildSelect(builder, odd, s, c, "");
    *sine = LLVMBuildSelect(builder, sine_negative, LLVMBuildFNeg(builder, up, ""), up, "");
    *cosine =
        LLVMBuildSelect(builder, cosine_negative, LLVMBuildFNeg(builder, across, ""), across, "");
}

/* --- stored elements --- */

static LLVMValueRef and_constant(cg_build *build, LLVMValueRef value, int64_t mask)
{
    return LLVMBuildAnd(build->builder, value, cg_constant_int(LLVMTypeOf(value), mask), "");
}

/* f16 as f32, for CPUs that would call a function for each element: exponent and mantissa move into
 * their places and the product with 2^112 mends the exponent's bias, of subnormals too. */
static LLVMValueRef half_to_float(cg_build *build, LLVMValueRef half)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef integers = cg_type_like(LLVMTypeOf(half), build->i32);
    LLVMTypeRef floats = cg_type_like(integers, build->f32);
    LLVMValueRef wide = LLVMBuildZExt(builder, half, integers, "");
    LLVMValueRef moved =
        LLVMBuildShl(builder, and_constant(build, wide, 0x7fff), cg_constant_int(integers, 13), "");
    LLVMValueRef scaled = LLVMBuildFMul(builder, LLVMBuildBitCast(builder, moved, floats, ""),
                                        cg_constant_real(floats, 0x1p112), "");
    LLVMValueRef finite = LLVMBuildBitCast(builder, scaled, integers, "");
    LLVMValueRef special = LLVMBuildOr(builder, moved, cg_constant_int(integers, 0x7f800000), "");
    LLVMValueRef is_finite =
        LLVMBuildICmp(builder, LLVMIntULT, moved, cg_constant_int(integers, 0x7c00 << 13), "");
    LLVMValueRef bits = LLVMBuildSelect(builder, is_finite, finite, special, "");
    LLVMValueRef sign =
        LLVMBuildShl(builder, and_constant(build, wide, 0x8000), cg_constant_int(integers, 16), "");
    return LLVMBuildBitCast(builder, LLVMBuildOr(builder, bits, sign, ""), floats, "");
}

/* f32 rounded to f16, ties to even. */
static LLVMValueRef float_to_half(cg_build *build, LLVMValueRef value)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = LLVMTypeOf(value), integers = cg_type_like(floats, build->i32);
    LLVMValueRef bits = LLVMBuildBitCast(builder, value, integers, "");
    LLVMValueRef size = and_constant(build, bits, 0x7fffffff);
    LLVMValueRef shift = cg_constant_int(integers, 13);
    /* Normal: the bias changes by 112, and the part that is cut off rounds to even. */
    LLVMValueRef odd = and_constant(build, LLVMBuildLShr(builder, size, shift, ""), 1);
    LLVMValueRef normal =
        LLVMBuildSub(builder, size, cg_constant_int(integers, (INT64_C(112) << 23) - 0xfff), "");
    normal = LLVMBuildLShr(builder, LLVMBuildAdd(builder, normal, odd, ""), shift, "");
    /* Subnormal: an f32 of 0.5 .. 1 has steps of 2^-24, the smallest f16. */
    LLVMValueRef half = cg_constant_real(floats, 0.5);
    LLVMValueRef sum =
        LLVMBuildFAdd(builder, LLVMBuildBitCast(builder, size, floats, ""), half, "");
    LLVMValueRef subnormal = LLVMBuildSub(builder, LLVMBuildBitCast(builder, sum, integers, ""),
                                          LLVMBuildBitCast(builder, half, integers, ""), "");
    const struct {
        LLVMIntPredicate predicate;
        int64_t bound;
        LLVMValueRef then;
    } cases[] = {
        {LLVMIntULT, INT64_C(113) << 23, subnormal},
        {LLVMIntUGE, INT64_C(143) << 23, cg_constant_int(integers, 0x7c00)}, /* infinity */
        {LLVMIntUGT, INT64_C(255) << 23, cg_constant_int(integers, 0x7e00)}, /* not a number */
    };
    LLVMValueRef rounded = normal;
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        LLVMValueRef holds = LLVMBuildICmp(builder, cases[i].predicate, size,
                                           cg_constant_int(integers, cases[i].bound), "");
        rounded = LLVMBuildSelect(builder, holds, cases[i].then, rounded, "");
    }
    LLVMValueRef sign = and_constant(
        build, LLVMBuildLShr(builder, bits, cg_constant_int(integers, 16), ""), 0x8000);
    return LLVMBuildTrunc(builder, LLVMBuildOr(builder, rounded, sign, ""),
                          cg_type_like(floats, build->i16), "");
}

LLVMValueRef cg_load_stored(cg_build *build, ir_type type, LLVMValueRef pointer, unsigned count)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef floats = cg_vector(build->f32, count), integers = cg_vector(build->i32, count);
    LLVMValueRef stored;
    switch (type) {
    case IR_F32:
        return cg_load(build, floats, pointer, 4);
    case IR_F16:
        if (!build->has_half)
            return half_to_float(build, cg_load(build, cg_vector(build->i16, count), pointer, 2));
        stored = cg_load(build, cg_vector(build->half, count), pointer, 2);
        return LLVMBuildFPExt(builder, stored, floats, "");
    case IR_BF16:
        stored = cg_load(build, cg_vector(build->i16, count), pointer, 2);
        stored = LLVMBuildZExt(builder, stored, integers, "");
        stored = LLVMBuildShl(builder, stored, cg_constant_int(integers, 16), "");
        return LLVMBuildBitCast(builder, stored, floats, "");
    case IR_I8:
    case IR_I4: /* a zero point of this type: one byte */
        stored = cg_load(build, cg_vector(build->i8, count), pointer, 1);
        return LLVMBuildSIToFP(builder, LLVMBuildSExt(builder, stored, integers, ""), floats, "");
    default:
        stored = cg_load(build, cg_vector(build->i8, count), pointer, 1);
        return LLVMBuildUIToFP(builder, LLVMBuildZExt(builder, stored, integers, ""), floats, "");
    }
}

void cg_store_stored(cg_build *build, ir_type type, LLVMValueRef vector, LLVMValueRef pointer)
{
    if (type == IR_F16 && !build->has_half)
        vector = float_to_half(build, vector);
    else if (type == IR_F16)
        vector = LLVMBuildFPTrunc(build->builder, vector,
                                  cg_type_like(LLVMTypeOf(vector), build->half), "");
    cg_store(build, vector, pointer, type == IR_F16 ? 2 : 4);
}
