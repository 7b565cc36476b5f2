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

#endif
