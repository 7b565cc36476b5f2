/* Does this processor have what the artefact's machine code uses?
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

typedef struct feature {
    const char *name;
    bool present;
} feature;

/* Looks a name up in the table of what this runtime can ask the processor. */
static bool find_feature(const char *name, size_t length, bool *present)
{
#if defined(__x86_64__)
    /* The compiler's run-time library asks CPUID and whether the system saves the registers. */
    __builtin_cpu_init();
#define FEATURE(name)                                                                              \
    {                                                                                              \
        name, __builtin_cpu_supports(name) != 0                                                    \
    }
    const feature table[] = {
        FEATURE("x86-64"),     FEATURE("x86-64-v2"), FEATURE("x86-64-v3"),   FEATURE("x86-64-v4"),
        FEATURE("sse3"),       FEATURE("ssse3"),     FEATURE("sse4.1"),      FEATURE("sse4.2"),
        FEATURE("popcnt"),     FEATURE("avx"),       FEATURE("avx2"),        FEATURE("bmi"),
        FEATURE("bmi2"),       FEATURE("f16c"),      FEATURE("fma"),         FEATURE("lzcnt"),
        FEATURE("movbe"),      FEATURE("avx512f"),   FEATURE("avx512bw"),    FEATURE("avx512cd"),
        FEATURE("avx512dq"),   FEATURE("avx512vl"),  FEATURE("avx512vnni"),  FEATURE("avx512bf16"),
        FEATURE("avx512vbmi"), FEATURE("avxvnni"),   FEATURE("avx512vbmi2"),
    };
#undef FEATURE
#elif defined(__aarch64__)
    /* Bits of AT_HWCAP, as the kernel's user interface fixes them. */
    unsigned long bits = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    const feature table[] = {
        {"fp", bits & 1},
        {"asimd", bits >> 1 & 1},
        {"neon", bits >> 1 & 1},
        {"fullfp16", (bits >> 9 & 1) && (bits >> 10 & 1)},
        {"fphp", bits >> 9 & 1},
        {"asimdhp", bits >> 10 & 1},
        {"lse", bits >> 8 & 1},
        {"rdm", bits >> 12 & 1},
        {"dotprod", bits >> 20 & 1},
        {"asimddp", bits >> 20 & 1},
        {"sve", bits >> 22 & 1},
        {"sve2", more >> 1 & 1},
        {"i8mm", more >> 13 & 1},
        {"bf16", more >> 14 & 1},
    };
#else
    const feature table[] = {{"", true}};
#endif
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) {
            *present = table[i].present;
            return true;
        }
    return false;
}

tandem_status rt_check_processor(const char *features, tandem_error *error)
{
    while (features != NULL && *features != '\0') {
        size_t length = strcspn(features, ",");
        bool present = false;
        if (length > 0 && !find_feature(features, length, &present))
            return rt_fail(error, TANDEM_REFUSED,
                           "the program needs the processor feature \"%.*s\", which its runtime "
                           "does not know: compile it with a matching version",
                           (int)length, features);
        if (length > 0 && !present)
            return rt_fail(error, TANDEM_REFUSED,
                           "this processor lacks \"%.*s\", which the program was compiled for: "
                           "compile it for an older processor (--cpu)",
                           (int)length, features);
        features += length + (features[length] == ',');
    }
    return TANDEM_OK;
}
