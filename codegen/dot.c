/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/dot.h"

typedef LLVMValueRef (*add_step)(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                                 const cg_dot_operand *weights, const cg_dot_operand *activations);
typedef cg_dot_operand (*prepare)(cg_build *build, const cg_dot_step *step, LLVMValueRef vector);

struct cg_dot_row {
    cg_dot dot;
    unsigned lanes;      /* of its registers; 0: as many as the CPU's */
    bool signed_weights; /* of 8 bits */
    prepare weights, activations;
    add_step add;
    const char *instruction;
    const char *pairs;        /* i16 x i16, neighbours added to i32; NULL: none */
    const char *bytes, *sign; /* u8 x i8, neighbours added to i16 with saturation; sign by sign */
    const char *squares;      /* 2 rows by 8 k times 8 k by 2 tokens; NULL: none */
};

static LLVMTypeRef bytes_type(cg_build *build, const cg_dot_step *step)
{
    return cg_vector(build->i8, 4 * step->lanes);
}

static LLVMTypeRef lanes_type(cg_build *build, const cg_dot_step *step)
{
    return cg_vector(build->i32, step->lanes);
}

static LLVMValueRef cast(cg_build *build, LLVMValueRef value, LLVMTypeRef type)
{
    return LLVMBuildBitCast(build->builder, value, type, "");
}

/* Bytes less 128, as signed bytes. */
static LLVMValueRef lower(cg_build *build, const cg_dot_step *step, LLVMValueRef weights)
{
    if (step->lowered == 0)
        return weights;
    return LLVMBuildXor(build->builder, weights, cg_constant_int(LLVMTypeOf(weights), -128), "");
}

static cg_dot_operand as_bytes(cg_build *build, const cg_dot_step *step, LLVMValueRef vector)
{
    return (cg_dot_operand){{cast(build, vector, bytes_type(build, step))}};
}

/* --- vpdpbusd: u8 x i8 --- */

static cg_dot_operand as_lanes(cg_build *build, const cg_dot_step *step, LLVMValueRef vector)
{
    return (cg_dot_operand){{cast(build, vector, lanes_type(build, step))}};
}

static LLVMValueRef add_by_instruction(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                                       const cg_dot_operand *weights,
                                       const cg_dot_operand *activations)
{
    LLVMValueRef operands[] = {sum, weights->part[0], activations->part[0]};
    return cg_call_intrinsic(build, step->row->instruction, NULL, operands, 3);
}

/* --- sdot: i8 x i8, overloaded on both its types --- */

static cg_dot_operand as_signed_bytes(cg_build *build, const cg_dot_step *step,
                                      LLVMValueRef weights)
{
    return as_bytes(build, step, lower(build, step, weights));
}

static LLVMValueRef add_neon(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                             const cg_dot_operand *weights, const cg_dot_operand *activations)
{
    LLVMTypeRef types[] = {lanes_type(build, step), bytes_type(build, step)};
    LLVMValueRef operands[] = {sum, weights->part[0], activations->part[0]};
    return cg_call_overloaded(build, step->row->instruction, types, 2, operands, 3);
}

/* --- pmaddubsw and pmaddwd --- */

/* Sums of two products of u8 and i8 saturate at 16 bits. Weights of 4 bits stay far below. Those of
 * 8 bits go as |w| and the activations take w's sign: 2 * 128 * 127 fits. */
static cg_dot_operand as_magnitudes(cg_build *build, const cg_dot_step *step, LLVMValueRef weights)
{
    LLVMValueRef bytes = lower(build, step, cast(build, weights, bytes_type(build, step)));
    if (step->lowered == 0)
        return (cg_dot_operand){{bytes}};
    LLVMValueRef operands[] = {bytes, LLVMConstInt(build->i1, 0, false)};
    LLVMValueRef size = cg_call_intrinsic(build, "llvm.abs", LLVMTypeOf(bytes), operands, 2);
    return (cg_dot_operand){{size, bytes}};
}

static LLVMValueRef add_pairs(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                              const cg_dot_operand *weights, const cg_dot_operand *activations)
{
    const cg_dot_row *row = step->row;
    LLVMTypeRef words = cg_vector(build->i16, 2 * step->lanes);
    LLVMValueRef operands[] = {activations->part[0], weights->part[1]};
    LLVMValueRef values = activations->part[0];
    if (step->lowered != 0)
        values = cg_call_intrinsic(build, row->sign, NULL, operands, 2);
    LLVMValueRef factors[] = {weights->part[0], values};
    LLVMValueRef halves[] = {cg_call_intrinsic(build, row->bytes, NULL, factors, 2),
                             cg_constant_int(words, 1)};
    return LLVMBuildAdd(build->builder, sum, cg_call_intrinsic(build, row->pairs, NULL, halves, 2),
                        "");
}

/* --- any CPU --- */

/* Byte i of each lane, widened. */
static cg_dot_operand split_bytes(cg_build *build, LLVMValueRef vector, bool is_signed)
{
    LLVMTypeRef type = LLVMTypeOf(vector);
    LLVMValueRef top = cg_constant_int(type, 24);
    cg_dot_operand operand;
    for (int i = 0; i < 4; i++) {
        LLVMValueRef high =
            LLVMBuildShl(build->builder, vector, cg_constant_int(type, 24 - 8 * i), "");
        operand.part[i] = is_signed ? LLVMBuildAShr(build->builder, high, top, "")
                                    : LLVMBuildLShr(build->builder, high, top, "");
    }
    return operand;
}

static cg_dot_operand split_unsigned(cg_build *build, const cg_dot_step *step, LLVMValueRef vector)
{
    return split_bytes(build, cast(build, vector, lanes_type(build, step)), false);
}

static cg_dot_operand split_signed(cg_build *build, const cg_dot_step *step, LLVMValueRef vector)
{
    return split_bytes(build, cast(build, vector, lanes_type(build, step)), true);
}

static LLVMValueRef add_widened(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                                const cg_dot_operand *weights, const cg_dot_operand *activations)
{
    (void)step;
    for (int i = 0; i < 4; i++)
        sum = LLVMBuildAdd(build->builder, sum,
                           LLVMBuildMul(build->builder, weights->part[i], activations->part[i], ""),
                           "");
    return sum;
}

/* --- the table --- */

/* The first row whose kind and width fit. */
static const cg_dot_row rows[] = {
    {CG_DOT_AVX512_VNNI, 16, false, as_lanes, as_lanes, add_by_instruction,
     "llvm.x86.avx512.vpdpbusd.512", "llvm.x86.avx512.pmaddw.d.512", NULL, NULL, NULL},
    {CG_DOT_AVX_VNNI, 8, false, as_lanes, as_lanes, add_by_instruction,
     "llvm.x86.avx512.vpdpbusd.256", "llvm.x86.avx2.pmadd.wd", NULL, NULL, NULL},
    {CG_DOT_PAIRS, 8, true, as_magnitudes, as_bytes, add_pairs, NULL, "llvm.x86.avx2.pmadd.wd",
     "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.psign.b", NULL},
    {CG_DOT_PAIRS, 4, true, as_magnitudes, as_bytes, add_pairs, NULL, "llvm.x86.sse2.pmadd.wd",
     "llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.ssse3.psign.b.128", NULL},
    {CG_DOT_NEON_I8MM, 4, true, as_signed_bytes, as_bytes, add_neon, "llvm.aarch64.neon.sdot", NULL,
     NULL, NULL, "llvm.aarch64.neon.smmla"},
    {CG_DOT_NEON, 4, true, as_signed_bytes, as_bytes, add_neon, "llvm.aarch64.neon.sdot", NULL,
     NULL, NULL, NULL},
    {CG_DOT_NONE, 4, false, split_unsigned, split_signed, add_widened, NULL, NULL, NULL, NULL,
     NULL},
};

cg_dot_step cg_dot_step_for(const cg_cpu *cpu, unsigned bits)
{
    const cg_dot_row *row = rows;
    const cg_dot_row *last = &rows[TD_COUNT_OF(rows) - 1];
    while (row < last && (row->dot != cpu->dot || 32 * row->lanes > cpu->vector_bits))
        row++;
    return (cg_dot_step){row, row->lanes, bits, row->signed_weights && bits == 8 ? 128 : 0,
                         row->squares != NULL};
}

cg_dot_operand cg_dot_weights(cg_build *build, const cg_dot_step *step, LLVMValueRef weights)
{
    return step->row->weights(build, step, weights);
}

cg_dot_operand cg_dot_activations(cg_build *build, const cg_dot_step *step, LLVMValueRef quad)
{
    return step->row->activations(build, step, cg_splat(build, quad, step->lanes));
}

LLVMValueRef cg_dot_add(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                        const cg_dot_operand *weights, const cg_dot_operand *activations)
{
    return step->row->add(build, step, sum, weights, activations);
}

LLVMValueRef cg_dot_multiply(cg_build *build, const cg_dot_step *step, LLVMValueRef a,
                             LLVMValueRef b)
{
    if (step->row->pairs == NULL)
        return LLVMBuildMul(build->builder, a, b, "");
    /* The high half of each lane of a is zero: only the low halves count. */
    LLVMTypeRef words = cg_vector(build->i16, 2 * step->lanes);
    LLVMValueRef operands[] = {cast(build, a, words), cast(build, b, words)};
    return cg_call_intrinsic(build, step->row->pairs, NULL, operands, 2);
}

/* --- squares: smmla --- */

/* Four lanes of pairs (a, b): of the first half of each operand, or of the second. */
static LLVMValueRef zip(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned half)
{
    const unsigned count = LLVMGetVectorSize(LLVMTypeOf(a)), first = half * count / 2;
    LLVMValueRef lanes[] = {cg_i32(build, first), cg_i32(build, count + first),
                            cg_i32(build, first + 1), cg_i32(build, count + first + 1)};
    return LLVMBuildShuffleVector(build->builder, a, b, LLVMConstVector(lanes, 4), "");
}

/* Lane i of each quad is a row's; two rows side by side are an operand of the instruction. */
cg_dot_operand cg_dot_weave_weights(cg_build *build, const cg_dot_step *step,
                                    const cg_dot_operand quads[2])
{
    LLVMValueRef first = cast(build, quads[0].part[0], lanes_type(build, step));
    LLVMValueRef second = cast(build, quads[1].part[0], lanes_type(build, step));
    cg_dot_operand woven;
    for (unsigned half = 0; half < 2; half++)
        woven.part[half] = cast(build, zip(build, first, second, half), bytes_type(build, step));
    return woven;
}

cg_dot_operand cg_dot_weave_activations(cg_build *build, const cg_dot_step *step,
                                        const LLVMValueRef quads[2])
{
    return as_bytes(build, step, zip(build, quads[0], quads[1], 0));
}

/* The instruction adds to lanes (row 0, token 0), (0, 1), (1, 0), (1, 1). */
void cg_dot_weave_sums(cg_build *build, LLVMValueRef sums[2])
{
    LLVMValueRef low = zip(build, sums[0], sums[1], 0), high = zip(build, sums[0], sums[1], 1);
    sums[0] = low;
    sums[1] = high;
}

void cg_dot_unweave_sums(cg_build *build, LLVMValueRef sums[2])
{
    LLVMValueRef even = cg_shuffle(build, sums[0], sums[1], 4, 0, 2);
    LLVMValueRef odd = cg_shuffle(build, sums[0], sums[1], 4, 1, 2);
    sums[0] = even;
    sums[1] = odd;
}

void cg_dot_add_squares(cg_build *build, const cg_dot_step *step, LLVMValueRef sums[2],
                        const cg_dot_operand *weights, const cg_dot_operand *activations)
{
    LLVMTypeRef types[] = {lanes_type(build, step), bytes_type(build, step)};
    for (unsigned half = 0; half < 2; half++) {
        LLVMValueRef operands[] = {sums[half], weights->part[half], activations->part[0]};
        sums[half] = cg_call_overloaded(build, step->row->squares, types, 2, operands, 3);
    }
}
