/* The innermost step of products of quantised numbers: sums of four products of bytes in each
 * 32-bit lane, with the best instruction that a CPU has. All of them are exact.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_DOT_H
#define TANDEM_CODEGEN_DOT_H

#include "codegen/build.h"
#include "codegen/codegen.h"

typedef struct cg_dot_row cg_dot_row;

/* What a CPU's step works on: vectors of `lanes` i32, each holding four bytes. */
typedef struct cg_dot_step {
    const cg_dot_row *row;
    unsigned lanes;
    unsigned bits; /* of a stored weight, 4 or 8 */
    /* What the step subtracts from each weight on its own: 128 where the instruction wants signed
     * weights of 8 bits, else 0. */
    unsigned lowered;
    /* Whether it also adds squares: products of two tokens with two quads, all at once. */
    bool has_squares;
} cg_dot_step;

cg_dot_step cg_dot_step_for(const cg_cpu *cpu, unsigned bits);

/* An operand as the step wants it, made once and used for many steps. */
typedef struct cg_dot_operand {
    LLVMValueRef part[4];
} cg_dot_operand;

/* Unsigned weights: `lanes` times four bytes. */
cg_dot_operand cg_dot_weights(cg_build *build, const cg_dot_step *step, LLVMValueRef weights);
/* Signed activations, -127 .. 127: an i32 that holds the four bytes of all lanes. */
cg_dot_operand cg_dot_activations(cg_build *build, const cg_dot_step *step, LLVMValueRef quad);
/* sum + the four products of each lane, of weights less step->lowered. */
LLVMValueRef cg_dot_add(cg_build *build, const cg_dot_step *step, LLVMValueRef sum,
                        const cg_dot_operand *weights, const cg_dot_operand *activations);
/* a * b in i32 lanes, where both fit into 16 bits with a sign and a is not negative. */
LLVMValueRef cg_dot_multiply(cg_build *build, const cg_dot_step *step, LLVMValueRef a,
                             LLVMValueRef b);

/* --- squares, where step->has_squares --- */

/* Two quads of weights, woven: eight k of a row side by side. */
cg_dot_operand cg_dot_weave_weights(cg_build *build, const cg_dot_step *step,
                                    const cg_dot_operand quads[2]);
/* The same of two tokens' activations: for each quad two i32, each the four bytes of a token. */
cg_dot_operand cg_dot_weave_activations(cg_build *build, const cg_dot_step *step,
                                        const LLVMValueRef quads[2]);
/* The sums of two tokens between their usual form and that in which squares are added to them. */
void cg_dot_weave_sums(cg_build *build, LLVMValueRef sums[2]);
void cg_dot_unweave_sums(cg_build *build, LLVMValueRef sums[2]);
/* sums + the eight products of each row with each token, all of them woven. */
void cg_dot_add_squares(cg_build *build, const cg_dot_step *step, LLVMValueRef sums[2],
                        const cg_dot_operand *weights, const cg_dot_operand *activations);

#endif
