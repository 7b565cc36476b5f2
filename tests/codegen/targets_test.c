/* The table of targets and CPUs: what is found, and what is refused with the list of what is known.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/codegen.h"
#include "tests/test.h"

static td_status find(const char *triple, const char *cpu, const cg_target **target, cg_cpu *found,
                      td_context *context)
{
    td_context_init(context);
    return cg_find_target(context, triple, cpu, target, found);
}

TEST(finds_by_every_name)
{
    static const char *const names[] = {"x86_64", "x86_64-linux-gnu", "x86_64-unknown-linux-gnu"};
    td_context context;
    const cg_target *target;
    cg_cpu cpu;
    for (size_t i = 0; i < TD_COUNT_OF(names); i++) {
        CHECK(find(names[i], "x86-64-v2", &target, &cpu, &context) == TD_OK);
        CHECK_STRING(target->name, "x86_64");
        CHECK_STRING(cpu.llvm_cpu, "x86-64-v2");
        CHECK(!cpu.has_fma);
    }
    CHECK(find("aarch64-linux-gnu", NULL, &target, &cpu, &context) == TD_OK);
    CHECK_STRING(target->linker, "aarch64-linux-gnu-gcc");
    CHECK_STRING(cpu.name, "generic");
}

/* Native is the strongest level of the table that this machine has. */
TEST(native_is_a_level)
{
    td_context context;
    const cg_target *target, *named;
    cg_cpu native, otherwise, level;
    CHECK(find(NULL, "native", &target, &native, &context) == TD_OK);
    CHECK(find(NULL, NULL, &target, &otherwise, &context) == TD_OK);
    CHECK_STRING(native.name, otherwise.name);
    CHECK(find(target->name, native.name, &named, &level, &context) == TD_OK);
    CHECK(named == target && level.vector_bits == native.vector_bits);
}

TEST(unknown_names_are_refused_with_a_list)
{
    td_context context;
    const cg_target *target = NULL;
    cg_cpu cpu;
    CHECK(find("vax-dec-ultrix", NULL, &target, &cpu, &context) == TD_INVALID);
    CHECK_STRING(context.message, "unknown triple \"vax-dec-ultrix\"; known are x86_64-linux-gnu, "
                                  "aarch64-linux-gnu, riscv64-linux-gnu");
    CHECK(find("x86_64", "i686-turbo", &target, &cpu, &context) == TD_INVALID);
    CHECK(strstr(context.message, "\"i686-turbo\"") != NULL);
    CHECK(strstr(context.message, "x86-64-v2, x86-64-v3, x86-64-v3-vnni, x86-64-v4, "
                                  "x86-64-v4-vnni, multi") != NULL);
    CHECK(find("aarch64", "x86-64-v3", &target, &cpu, &context) == TD_INVALID);
    CHECK(strstr(context.message, "generic") != NULL);
    CHECK(target == NULL);
}

/* "native" makes no sense for a machine that is not this one. */
TEST(native_of_another_machine_is_refused)
{
    td_context context;
    const cg_target *host, *target = NULL;
    cg_cpu cpu;
    CHECK(find(NULL, NULL, &host, &cpu, &context) == TD_OK);
    const char *other = strcmp(host->name, "aarch64") == 0 ? "x86_64" : "aarch64";
    CHECK(find(other, "native", &target, &cpu, &context) == TD_INVALID);
    CHECK(strstr(context.message, "native") != NULL);
}

/* Every check at the start of a program asks for what the level stands for, by names that the
 * runtime of its machine knows; here that can be asked for this machine's. */
TEST(levels_check_their_features)
{
    static const struct {
        cg_dot dot;
        const char *feature;
    } dots[] = {{CG_DOT_AVX_VNNI, "avxvnni"},
                {CG_DOT_AVX512_VNNI, "avx512vnni"},
                {CG_DOT_NEON, "asimddp"},
                {CG_DOT_NEON_I8MM, "i8mm"}};
    for (const cg_target *target = cg_targets; target->name != NULL; target++)
        for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++) {
            const bool fma = strstr(cpu->runtime_check, "fma") != NULL;
            CHECK(cpu->runtime_check[0] != '\0' && cpu->accumulators > 0);
            CHECK(strcmp(target->name, "x86_64") != 0 || fma == cpu->has_fma);
            for (size_t i = 0; i < TD_COUNT_OF(dots); i++)
                CHECK(cpu->dot != dots[i].dot ||
                      strstr(cpu->runtime_check, dots[i].feature) != NULL);
        }
}

/* The usual CPU is a row, and what a machine runs includes everything up to its native level. */
TEST(rows_are_ordered)
{
    td_context context;
    const cg_target *host;
    cg_cpu native;
    CHECK(find(NULL, "native", &host, &native, &context) == TD_OK);
    for (const cg_target *target = cg_targets; target->name != NULL; target++) {
        CHECK(cg_find_cpu(target, target->usual_cpu) != NULL);
        CHECK(cg_find_cpu(target, "native") == NULL);
        CHECK(cg_runs_here(target, target->cpus) == (target == host));
    }
    CHECK(cg_runs_here(host, &native));
}

/* A row of levels names rows, from the weakest on, that promise at least what it promises; what all
 * levels share must not depend on the level. */
TEST(levels_of_one_program_fit_together)
{
    int rows = 0;
    for (const cg_target *target = cg_targets; target->name != NULL; target++)
        for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++) {
            const cg_cpu *before = NULL;
            for (size_t i = 0; cpu->levels != NULL && cpu->levels[i] != NULL; i++) {
                const cg_cpu *level = cg_find_cpu(target, cpu->levels[i]);
                CHECK(level != NULL && level->levels == NULL);
                CHECK(level->has_fma && level->has_half);
                CHECK(before == NULL || level > before);
                CHECK(strstr(level->runtime_check, cpu->runtime_check) != NULL);
                before = level;
                rows++;
            }
        }
    CHECK(rows >= 3);
}

TEST_MAIN()
