/* tandem targets, tandem version.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <llvm-c/Core.h>
#include <stdio.h>

static const struct argp targets_argp = {
    NULL, NULL, NULL, "Lists the machines that programs can be compiled for.", NULL, NULL, NULL};
static const struct argp version_argp = {NULL, NULL, NULL, "Prints the version.", NULL, NULL, NULL};

int cli_targets(int argc, char **argv)
{
    argp_parse(&targets_argp, argc, argv, 0, NULL, NULL);
    for (const cg_target *target = cg_targets; target->name != NULL; target++) {
        printf("%s\n", target->triple);
        for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
            printf("  --cpu=%-16s vectors of %u bits%s\n", cpu->name, cpu->vector_bits,
                   cpu->has_fma ? "" : ", no fused multiply-add: last bits differ");
    }
    printf("native: the processor that tandem runs on\n");
    return 0;
}

int cli_version(int argc, char **argv)
{
    unsigned major, minor, patch;
    argp_parse(&version_argp, argc, argv, 0, NULL, NULL);
    LLVMGetVersion(&major, &minor, &patch);
    printf("tandem %s, LLVM %u.%u.%u\n", TANDEM_VERSION, major, minor, patch);
    return 0;
}
