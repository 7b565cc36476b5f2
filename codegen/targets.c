/* The machines that programs can be compiled for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/codegen.h"

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

/* runtime_check names every instruction set of the level that the start of a program can ask the
 * processor for. From the weakest to the strongest, so that "native" takes the last that fits. */
#define CHECK_V2 "sse3,ssse3,sse4.1,sse4.2,popcnt"
#define CHECK_V3 CHECK_V2 ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"
#define CHECK_V4 CHECK_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"

static const cg_cpu x86_cpus[] = {
    {"x86-64-v3", "x86-64-v3", "", CHECK_V3, true, 256, 4},
    {"x86-64-v2", "x86-64-v2", "", CHECK_V2, false, 128, 2},
    {"x86-64-v4", "x86-64-v4", "", CHECK_V4, true, 512, 16},
    {0},
};

static const cg_cpu aarch64_cpus[] = {
    {"generic", "generic", "+neon", "asimd", true, 128, 4},
    {0},
};

const cg_target cg_targets[] = {
    {"x86_64", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc", "x86_64-linux-gnu", x86_cpus,
     initialize_x86},
    {"aarch64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu",
     aarch64_cpus, initialize_aarch64},
    {0},
};

static bool is_host(const cg_target *target)
{
#if defined(__x86_64__)
    return strcmp(target->name, "x86_64") == 0;
#elif defined(__aarch64__)
    return strcmp(target->name, "aarch64") == 0;
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

/* Whether every feature of `check` stands in `features` ("+avx2,-avx512f,..."). */
static bool has_features(const char *features, const char *check)
{
    while (*check != '\0') {
        const size_t length = strcspn(check, ",");
        bool found = false;
        for (const char *at = features; *at != '\0' && !found;) {
            const size_t width = strcspn(at, ",");
            found = width == length + 1 && at[0] == '+' && strncmp(at + 1, check, length) == 0;
            at += width + (at[width] == ',');
        }
        if (!found)
            return false;
        check += length + (check[length] == ',');
    }
    return true;
}

/* The strongest level of the table that this machine has: a level, not a model name, so that the
 * start of a program can check everything that its code relies on. */
static const cg_cpu *find_native(const cg_target *target)
{
    char *features = LLVMGetHostCPUFeatures();
    const cg_cpu *best = NULL;
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++) {
        const bool runs =
            strcmp(target->name, "aarch64") == 0 || has_features(features, cpu->runtime_check);
        if (runs && (best == NULL || cpu->vector_bits > best->vector_bits))
            best = cpu;
    }
    LLVMDisposeMessage(features);
    return best;
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
                           "x86-64-v2");
    } else if (cpu == NULL) {
        chosen = found->cpus;
    } else {
        for (const cg_cpu *row = found->cpus; row->name != NULL && chosen == NULL; row++)
            if (strcmp(row->name, cpu) == 0)
                chosen = row;
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
