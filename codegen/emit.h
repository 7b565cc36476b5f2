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

/* A unit of its own, or one in the LLVM context of the unit `beside`, which must outlive it. */
td_status cg_unit_create(td_context *context, const cg_target *target, const cg_cpu *cpu,
                         const char *name, const cg_unit *beside, cg_unit *unit);
void cg_unit_release(cg_unit *unit);

/* Moves everything of `part`, of the same LLVM context, into `unit`. Each function goes on being
 * for its own CPU: attributes say so. `part` is left without a module, to be released. */
td_status cg_unit_join(td_context *context, const cg_unit *unit, cg_unit *part);

/* Verifies the module (TD_INTERNAL: a bug of lowering), then runs the pass pipeline. */
td_status cg_unit_optimise(td_context *context, const cg_unit *unit);

/* The module as machine code, an object file; release with LLVMDisposeMemoryBuffer. Making it
 * rewrites the module: with `keep` a copy is rewritten. */
td_status cg_unit_emit_object(td_context *context, const cg_unit *unit, bool keep,
                              LLVMMemoryBufferRef *object);
/* The module as bitcode or as text; release likewise. */
LLVMMemoryBufferRef cg_unit_emit_bitcode(const cg_unit *unit);
LLVMMemoryBufferRef cg_unit_emit_text(const cg_unit *unit);

#endif
