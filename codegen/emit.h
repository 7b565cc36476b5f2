/* From an LLVM module to bytes: optimisation and machine code.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_EMIT_H
#define TANDEM_CODEGEN_EMIT_H

#include "codegen/codegen.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

/* One module with the machine that it is for. */
typedef struct cg_unit {
    LLVMContextRef llvm;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    bool borrows_llvm; /* the LLVM context is another unit's */
} cg_unit;

/* A unit of its own, or one in the LLVM context of the unit `beside`, to be joined with it. */
td_status cg_unit_create(td_context *context, const cg_target *target, const cg_cpu *cpu,
                         const char *name, const cg_unit *beside, cg_unit *unit);
void cg_unit_release(cg_unit *unit);

/* Moves everything of `part` into `unit`. Each function goes on being for its own CPU: attributes
 * say so. `part` is left empty, to be released. */
td_status cg_unit_join(td_context *context, const cg_unit *unit, cg_unit *part);

/* Verifies the module (TD_INTERNAL: a bug of lowering), then runs the pass pipeline. */
td_status cg_unit_optimise(td_context *context, const cg_unit *unit);

/* The module as object, bitcode or text; release with LLVMDisposeMemoryBuffer. */
td_status cg_unit_emit(td_context *context, const cg_unit *unit, cg_emit emit,
                       LLVMMemoryBufferRef *buffer);

#endif
