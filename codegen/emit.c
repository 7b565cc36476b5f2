/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/emit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Error.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <string.h>

/* Kernels come with their loops tiled, unrolled and vectorised; what is left is to keep variables
 * in registers, share subexpressions and move what does not change out of loops. Vectorisers and
 * further unrolling would only cost time. The code generator reduces loops once more; without
 * indvars and loop-reduce here as well, products of several tokens run up to 15 % slower. No pass
 * may change a bit: without fast-math flags none reassociates or contracts. */
static const char pipeline[] =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
    "loop-mssa(loop-rotate,licm),gvn,instcombine<no-verify-fixpoint>,loop(indvars),loop-reduce,"
    "simplifycfg,dse,adce),"
    "globaldce";

/* Takes ownership of LLVM's message. */
static td_status fail_llvm(td_context *context, const char *what, char *message)
{
    const td_status status =
        td_fail(context, TD_INTERNAL, "%s: %s", what, message == NULL ? "no reason" : message);
    LLVMDisposeMessage(message);
    return status;
}

td_status cg_unit_create(td_context *context, const cg_target *target, const cg_cpu *cpu,
                         const char *name, const cg_unit *beside, cg_unit *unit)
{
    char *message = NULL;
    LLVMTargetRef back_end;
    target->initialize();
    if (LLVMGetTargetFromTriple(target->triple, &back_end, &message))
        return fail_llvm(context, target->triple, message);
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(back_end, target->triple, cpu->llvm_cpu, cpu->llvm_features,
                                LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
    if (machine == NULL)
        return td_fail(context, TD_INTERNAL, "LLVM has no machine for %s and CPU %s",
                       target->triple, cpu->name);
    unit->borrows_llvm = beside != NULL;
    unit->llvm = beside != NULL ? beside->llvm : LLVMContextCreate();
    unit->machine = machine;
    unit->module = LLVMModuleCreateWithNameInContext(name, unit->llvm);
    LLVMSetTarget(unit->module, target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(unit->module, layout);
    LLVMDisposeTargetData(layout);
    return TD_OK;
}

void cg_unit_release(cg_unit *unit)
{
    if (unit->module != NULL)
        LLVMDisposeModule(unit->module);
    if (unit->machine != NULL)
        LLVMDisposeTargetMachine(unit->machine);
    if (unit->llvm != NULL && !unit->borrows_llvm)
        LLVMContextDispose(unit->llvm);
    memset(unit, 0, sizeof *unit);
}

td_status cg_unit_join(td_context *context, const cg_unit *unit, cg_unit *part)
{
    LLVMModuleRef module = part->module;
    part->module = NULL; /* linking takes it */
    if (LLVMLinkModules2(unit->module, module))
        return td_fail(context, TD_INTERNAL, "the parts of the program cannot be joined");
    return TD_OK;
}

td_status cg_unit_optimise(td_context *context, const cg_unit *unit)
{
    char *message = NULL;
    if (LLVMVerifyModule(unit->module, LLVMReturnStatusAction, &message))
        return fail_llvm(context, "generated code is malformed", message);
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(unit->module, pipeline, unit->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error == NULL)
        return TD_OK;
    char *reason = LLVMGetErrorMessage(error);
    const td_status status = td_fail(context, TD_INTERNAL, "optimisation failed: %s", reason);
    LLVMDisposeErrorMessage(reason);
    return status;
}

td_status cg_unit_emit_object(td_context *context, const cg_unit *unit, bool keep,
                              LLVMMemoryBufferRef *object)
{
    char *message = NULL;
    LLVMModuleRef module = keep ? LLVMCloneModule(unit->module) : unit->module;
    const bool failed = LLVMTargetMachineEmitToMemoryBuffer(unit->machine, module, LLVMObjectFile,
                                                            &message, object);
    if (keep)
        LLVMDisposeModule(module);
    return failed ? fail_llvm(context, "machine code cannot be emitted", message) : TD_OK;
}

LLVMMemoryBufferRef cg_unit_emit_bitcode(const cg_unit *unit)
{
    return LLVMWriteBitcodeToMemoryBuffer(unit->module);
}

LLVMMemoryBufferRef cg_unit_emit_text(const cg_unit *unit)
{
    char *text = LLVMPrintModuleToString(unit->module);
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "ir");
    LLVMDisposeMessage(text);
    return buffer;
}
