/* What the processor has, by the names that an artefact lists (tandem_artefact.features): the one
 * definition behind the check at a program's start, behind the choice between the levels of a
 * program, and behind the compiler's "native".
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_PROCESSOR_H
#define TANDEM_RUNTIME_PROCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__riscv)
#include <signal.h>
#include <ucontext.h>
#endif

typedef struct tandem_feature {
    const char *name;
    bool present;
} tandem_feature;

#if defined(__riscv)
/* Steps over the instruction, of four bytes, that the processor does not know. */
static inline void tandem_skip_illegal(int signal, siginfo_t *info, void *machine)
{
    (void)signal;
    (void)info;
    ((ucontext_t *)machine)->uc_mcontext.__gregs[REG_PC] += 4;
}

/* Whether vectors of 128 bits or more can be used: reads their length. Asking the processor itself
 * works on every kernel, and tells version 1.0 from earlier drafts, which lack this register. */
static inline bool tandem_has_vectors(void)
{
    struct sigaction skip, before;
    unsigned long bytes = 0;
    memset(&skip, 0, sizeof skip);
    skip.sa_sigaction = tandem_skip_illegal;
    skip.sa_flags = SA_SIGINFO;
    if (sigaction(SIGILL, &skip, &before) != 0)
        return false;
    __asm__ volatile("csrr %0, 0xc22" : "+r"(bytes)); /* vlenb */
    sigaction(SIGILL, &before, NULL);
    return bytes >= 16;
}
#endif

/* Looks up the feature called by the first `length` bytes of `name`. False: it is not known. */
static inline bool tandem_find_feature(const char *name, size_t length, bool *present)
{
#if defined(__x86_64__)
    /* The C compiler's run-time library asks CPUID and whether the system saves the registers. */
    __builtin_cpu_init();
#define TANDEM_FEATURE(name)                                                                       \
    {                                                                                              \
        name, __builtin_cpu_supports(name) != 0                                                    \
    }
    const tandem_feature table[] = {
        TANDEM_FEATURE("x86-64"),     TANDEM_FEATURE("x86-64-v2"),  TANDEM_FEATURE("x86-64-v3"),
        TANDEM_FEATURE("x86-64-v4"),  TANDEM_FEATURE("sse3"),       TANDEM_FEATURE("ssse3"),
        TANDEM_FEATURE("sse4.1"),     TANDEM_FEATURE("sse4.2"),     TANDEM_FEATURE("popcnt"),
        TANDEM_FEATURE("avx"),        TANDEM_FEATURE("avx2"),       TANDEM_FEATURE("bmi"),
        TANDEM_FEATURE("bmi2"),       TANDEM_FEATURE("f16c"),       TANDEM_FEATURE("fma"),
        TANDEM_FEATURE("lzcnt"),      TANDEM_FEATURE("movbe"),      TANDEM_FEATURE("avx512f"),
        TANDEM_FEATURE("avx512bw"),   TANDEM_FEATURE("avx512cd"),   TANDEM_FEATURE("avx512dq"),
        TANDEM_FEATURE("avx512vl"),   TANDEM_FEATURE("avx512vnni"), TANDEM_FEATURE("avx512bf16"),
        TANDEM_FEATURE("avx512vbmi"), TANDEM_FEATURE("avxvnni"),    TANDEM_FEATURE("avx512vbmi2"),
    };
#undef TANDEM_FEATURE
#elif defined(__aarch64__)
    /* Bits of AT_HWCAP, as the kernel's user interface fixes them. */
    const unsigned long bits = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    const tandem_feature table[] = {
        {"fp", bits & 1},         {"asimd", bits >> 1 & 1},    {"lse", bits >> 8 & 1},
        {"fphp", bits >> 9 & 1},  {"asimdhp", bits >> 10 & 1}, {"asimddp", bits >> 20 & 1},
        {"sve", bits >> 22 & 1},  {"sve2", more >> 1 & 1},     {"i8mm", more >> 13 & 1},
        {"bf16", more >> 14 & 1},
    };
#elif defined(__riscv)
    /* Built for rv64gc, so what that names is there. */
    const bool wanted = length == 1 && name[0] == 'v';
    const tandem_feature table[] = {{"d", true}, {"v", wanted && tandem_has_vectors()}};
#else
    const tandem_feature table[] = {{"", true}};
#endif
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) {
            *present = table[i].present;
            return true;
        }
    return false;
}

/* Whether every feature of a comma separated list is known and there. */
static inline bool tandem_has_features(const char *features)
{
    for (size_t length; *features != '\0'; features += length + (features[length] == ',')) {
        bool present = false;
        length = strcspn(features, ",");
        if (length > 0 && (!tandem_find_feature(features, length, &present) || !present))
            return false;
    }
    return true;
}

#endif
