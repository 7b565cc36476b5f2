/* tandem targets, tandem version.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <llvm-c/Core.h>
#include <stdio.h>
#include <string.h>

static const struct argp targets_argp = {
    NULL, NULL, NULL, "Lists the machines that programs can be compiled for.", NULL, NULL, NULL};
static const struct argp version_argp = {NULL, NULL, NULL, "Prints the version.", NULL, NULL, NULL};

static const char *describe_dot(cg_dot dot)
{
    static const char *const text[] = {
        [CG_DOT_NONE] = "widened bytes", [CG_DOT_PAIRS] = "pairs of 16 bits",
        [CG_DOT_AVX_VNNI] = "AVX-VNNI",  [CG_DOT_AVX512_VNNI] = "AVX-512 VNNI",
        [CG_DOT_NEON] = "sdot",          [CG_DOT_NEON_I8MM] = "smmla and sdot",
    };
    return text[dot];
}

static void print_cpu(const cg_target *target, const cg_cpu *cpu, bool is_native)
{
    printf("  --cpu=%-15s", cpu->name);
    if (cpu->levels != NULL) {
        for (const char *const *level = cpu->levels; *level != NULL; level++)
            printf("%s%s", level == cpu->levels ? "" : ", ", *level);
        printf(": all in one program, which chooses at start\n");
        return;
    }
    printf("registers of %3u bits, dot products by %s%s%s%s\n", cpu->vector_bits,
           describe_dot(cpu->dot),
           cpu->has_fma ? "" : "; no fused multiply-add, so last bits differ",
           strcmp(cpu->name, target->usual_cpu) == 0 ? "; the default elsewhere" : "",
           is_native ? "; native, the default here" : "");
}

int cli_targets(int argc, char **argv)
{
    td_context context;
    const cg_target *host = NULL;
    cg_cpu native = {0};
    cli_parse(&targets_argp, argc, argv, NULL);
    td_context_init(&context);
    /* A machine that is none of the known ones has no native row. */
    if (cg_find_target(&context, NULL, "native", &host, &native) != TD_OK)
        host = NULL;
    for (const cg_target *target = cg_targets; target->name != NULL; target++) {
        printf("%s\n", target->triple);
        for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
            print_cpu(target, cpu, target == host && strcmp(cpu->name, native.name) == 0);
    }
    return 0;
}

int cli_version(int argc, char **argv)
{
    unsigned major, minor, patch;
    cli_parse(&version_argp, argc, argv, NULL);
    LLVMGetVersion(&major, &minor, &patch);
    printf("tandem %s, LLVM %u.%u.%u\n", TANDEM_VERSION, major, minor, patch);
    return 0;
}
