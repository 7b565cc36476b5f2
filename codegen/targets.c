/* The machines that programs can be compiled for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/codegen.h"
#include "runtime/processor.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <string.h>

static void initialize_x86(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

static void initialize_aarch64(void)
{
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
}

static void initialize_riscv(void)
{
    LLVMInitializeRISCVTargetInfo();
    LLVMInitializeRISCVTarget();
    LLVMInitializeRISCVTargetMC();
    LLVMInitializeRISCVAsmPrinter();
}

/* runtime_check names every instruction set of the level that the start of a program can ask the
 * processor for. From the weakest to the strongest, so that "native" takes the last that fits. */
#define CHECK_V2    "sse3,ssse3,sse4.1,sse4.2,popcnt"
#define CHECK_V3    CHECK_V2 ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"
#define CHECK_V4    CHECK_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
#define AVX_VNNI    ",avxvnni"
#define AVX512_VNNI ",avx512vnni"
#define CHECK_NEON  "asimd"
#define CHECK_DOT   CHECK_NEON ",asimddp"
#define CHECK_I8MM  CHECK_DOT ",i8mm"

static const char *const x86_levels[] = {"x86-64-v3", "x86-64-v4", "x86-64-v4-vnni", NULL};

/* clang-format off */
static const cg_cpu x86_cpus[] = {
    {"x86-64-v2", "x86-64-v2", "", CHECK_V2, false, 128, 2, CG_DOT_PAIRS, false, NULL},
    {"x86-64-v3", "x86-64-v3", "", CHECK_V3, true, 256, 4, CG_DOT_PAIRS, true, NULL},
    {"x86-64-v3-vnni", "x86-64-v3", "+avxvnni", CHECK_V3 AVX_VNNI, true, 256, 4, CG_DOT_AVX_VNNI, true, NULL},
    {"x86-64-v4", "x86-64-v4", "", CHECK_V4, true, 512, 16, CG_DOT_PAIRS, true, NULL},
    {"x86-64-v4-vnni", "x86-64-v4", "+avx512vnni", CHECK_V4 AVX512_VNNI, true, 512, 16, CG_DOT_AVX512_VNNI, true, NULL},
    {"multi", "x86-64-v3", "", CHECK_V3, true, 256, 4, CG_DOT_PAIRS, true, x86_levels},
    {0},
};

static const cg_cpu aarch64_cpus[] = {
    {"generic", "generic", "+neon", CHECK_NEON, true, 128, 4, CG_DOT_NONE, true, NULL},
    {"dotprod", "generic", "+neon,+dotprod", CHECK_DOT, true, 128, 4, CG_DOT_NEON, true, NULL},
    {"i8mm", "generic", "+neon,+dotprod,+i8mm", CHECK_I8MM, true, 128, 4, CG_DOT_NEON_I8MM, true, NULL},
    {0},
};

/* A vector register of V has at least 128 bits; vectors of 16 f32 take four of the 32. */
static const cg_cpu riscv64_cpus[] = {
    {"generic", "generic-rv64", "+m,+a,+f,+d,+c", "d", true, 64, 2, CG_DOT_NONE, false, NULL},
    {"v", "generic-rv64", "+m,+a,+f,+d,+c,+v", "d,v", true, 128, 4, CG_DOT_NONE, false, NULL},
    {0},
};
/* clang-format on */

const cg_target cg_targets[] = {
    {"x86_64", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc", "x86_64-linux-gnu", "x86-64-v3",
     x86_cpus, initialize_x86},
    {"aarch64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu",
     "generic", aarch64_cpus, initialize_aarch64},
    {"riscv64", "riscv64-unknown-linux-gnu", "riscv64-linux-gnu-gcc", "riscv64-linux-gnu",
     "generic", riscv64_cpus, initialize_riscv},
    {0},
};

static bool is_host(const cg_target *target)
{
#if defined(__x86_64__)
    return strcmp(target->name, "x86_64") == 0;
#elif defined(__aarch64__)
    return strcmp(target->name, "aarch64") == 0;
#elif defined(__riscv)
    return strcmp(target->name, "riscv64") == 0;
#else
    return false;
#endif
}

static const cg_target *find_target(const char *triple)
{
    for (const cg_target *target = cg_targets; target->name != NULL; target++)
        if (triple == NULL
                ? is_host(target)
                : strcmp(triple, target->name) == 0 || strcmp(triple, target->triple) == 0 ||
                      strcmp(triple, target->runtime_folder) == 0)
            return target;
    return NULL;
}

/* The strongest level of the table that this machine has: a level, not a model name, so that the
 * start of a program can check everything that its code relies on. */
static const cg_cpu *find_native(const cg_target *target)
{
    const cg_cpu *best = NULL;
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
        if (cpu->levels == NULL && tandem_has_features(cpu->runtime_check))
            best = cpu;
    return best;
}

const cg_cpu *cg_find_cpu(const cg_target *target, const char *name)
{
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
        if (strcmp(cpu->name, name) == 0)
            return cpu;
    return NULL;
}

bool cg_runs_here(const cg_target *target, const cg_cpu *cpu)
{
    return is_host(target) && tandem_has_features(cpu->runtime_check);
}

static void append_name(char *list, size_t room, const char *name)
{
    const size_t length = strlen(list);
    snprintf(list + length, room - length, "%s%s", length > 0 ? ", " : "", name);
}

td_status cg_find_target(td_context *context, const char *triple, const char *cpu,
                         const cg_target **target, cg_cpu *resolved)
{
    char known[512] = "";
    const cg_target *found = find_target(triple);
    if (found == NULL) {
        for (const cg_target *row = cg_targets; row->name != NULL; row++)
            append_name(known, sizeof known, row->runtime_folder);
        return td_fail(context, TD_INVALID, "unknown triple \"%s\"; known are %s",
                       triple == NULL ? "of this machine" : triple, known);
    }
    const cg_cpu *chosen = NULL;
    if (cpu == NULL ? is_host(found) : strcmp(cpu, "native") == 0) {
        if (!is_host(found))
            return td_fail(
                context, TD_INVALID,
                "CPU \"native\" is this machine's, which is not %s; name one of its CPUs",
                found->runtime_folder);
        chosen = find_native(found);
        if (chosen == NULL)
            return td_fail(context, TD_UNSUPPORTED,
                           "this machine's CPU is weaker than every known one; the weakest is %s",
                           found->cpus->name);
    } else {
        chosen = cg_find_cpu(found, cpu == NULL ? found->usual_cpu : cpu);
    }
    if (chosen == NULL) {
        for (const cg_cpu *row = found->cpus; row->name != NULL; row++)
            append_name(known, sizeof known, row->name);
        return td_fail(context, TD_INVALID, "unknown CPU \"%s\" for %s; known are %s%s", cpu,
                       found->runtime_folder, known, is_host(found) ? ", native" : "");
    }
    *target = found;
    *resolved = *chosen;
    return TD_OK;
}
