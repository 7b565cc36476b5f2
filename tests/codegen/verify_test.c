/* Compiled models against the reference evaluator, bit for bit, over weight types and awkward
 * sizes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/codegen/synthetic_llama.h"
#include "tests/test.h"

/* Sizes that fit nothing: no multiple of 16 anywhere. */
#define AWKWARD                                                                                    \
    .layers = 2, .features = 44, .heads = 3, .kv_heads = 1, .head_size = 20, .hidden = 71,         \
    .vocabulary = 97, .max_tokens = 64, .cache_type = IR_F32, .scale_type = IR_F32

/* "equal", or what differs, for a model compiled for a CPU row. */
static const char *verify_row(const synthetic_options *options, const cg_target *target,
                              const cg_cpu *cpu)
{
    static char text[8192];
    td_context context;
    cg_model model;
    bool equal = false;
    td_context_init(&context);
    if (synthetic_llama(&context, options, &model) != TD_OK) {
        snprintf(text, sizeof text, "not built: %s", context.message);
        return text;
    }
    memset(text, 0, sizeof text);
    FILE *report = fmemopen(text, sizeof text - 1, "w");
    const cg_request request = {
        .name = "test", .models = &model, .model_count = 1, .target = target, .cpu = *cpu};
    const td_status status = cg_verify(&context, &request, report, &equal);
    fclose(report);
    ir_module_release(model.module);
    if (status != TD_OK)
        snprintf(text, sizeof text, "refused: %s", context.message);
    return status == TD_OK && equal ? "equal" : text;
}

static const char *verify(const synthetic_options *options, const char *name)
{
    td_context context;
    const cg_target *target;
    cg_cpu cpu;
    td_context_init(&context);
    if (cg_find_target(&context, NULL, name, &target, &cpu) != TD_OK)
        return "not found";
    return verify_row(options, target, &cpu);
}

TEST(float_weights)
{
    static const ir_type types[] = {IR_F32, IR_F16, IR_BF16};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        const synthetic_options options = {AWKWARD, .type = types[i]};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

TEST(integers_per_row)
{
    static const ir_type types[] = {IR_I8, IR_U8, IR_I4, IR_U4};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        const synthetic_options options = {AWKWARD, .type = types[i], .has_zero = i % 2 == 1};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

TEST(integers_in_groups)
{
    static const ir_type types[] = {IR_I8, IR_U8, IR_I4, IR_U4};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        const synthetic_options options = {.layers = 1,
                                           .features = 96,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .head_size = 8,
                                           .hidden = 160,
                                           .vocabulary = 50,
                                           .max_tokens = 80,
                                           .type = types[i],
                                           .cache_type = IR_F16,
                                           .scale_type = IR_F16,
                                           .group = 32,
                                           .has_zero = i % 2 == 1 || i == 2,
                                           .tied = i % 2 == 0};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

TEST(variants)
{
    const synthetic_options options = {AWKWARD,      .type = IR_BF16,    .interleaved = true,
                                       .bias = true, .head_norms = true, .tied = true};
    CHECK_STRING(verify(&options, NULL), "equal");
}

TEST(window_and_softcap)
{
    const synthetic_options options = {AWKWARD, .type = IR_F32, .window = 17, .softcap = 3};
    CHECK_STRING(verify(&options, NULL), "equal");
}

TEST(head_sizes)
{
    static const int64_t sizes[] = {2, 16, 64, 80, 128};
    for (size_t i = 0; i < TD_COUNT_OF(sizes); i++) {
        const synthetic_options options = {.layers = 1,
                                           .features = 32,
                                           .heads = 2,
                                           .kv_heads = 1,
                                           .head_size = sizes[i],
                                           .hidden = 1,
                                           .vocabulary = 5,
                                           .max_tokens = 40,
                                           .type = IR_F32,
                                           .cache_type = IR_F16};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

/* What fusion makes, of f32 and of quantised activations, with biases and without, in blocks that
 * are whole and that are not. */
TEST(fused)
{
    static const struct {
        ir_type type;
        int64_t hidden, group;
        bool quantise, bias;
    } rows[] = {{IR_F32, 71, 0, false, true},
                {IR_U4, 96, 32, false, false},
                {IR_I8, 160, 32, true, true},
                {IR_U8, 71, 0, true, false}};
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        const synthetic_options options = {.layers = 1,
                                           .features = 64,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .head_size = 16,
                                           .hidden = rows[i].hidden,
                                           .vocabulary = 97 + 100 * (int64_t)i,
                                           .max_tokens = 64,
                                           .type = rows[i].type,
                                           .cache_type = IR_F16,
                                           .scale_type = IR_F16,
                                           .group = rows[i].group,
                                           .has_zero = i % 2 == 0,
                                           .tied = i % 3 == 0,
                                           .bias = rows[i].bias,
                                           .interleaved = i % 2 == 1,
                                           .quantise = rows[i].quantise,
                                           .fuse = true};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

/* Sizes, types and variants drawn from a fixed seed. */
TEST(random_models)
{
    static const ir_type types[] = {IR_F32, IR_F16, IR_BF16, IR_I8, IR_U8, IR_I4, IR_U4};
    uint64_t random = 20;
    for (int i = 0; i < 6; i++) {
#define PICK(count) ((int64_t)(td_random_next(&random) % (uint64_t)(count)))
        const int64_t group = 2 + 2 * PICK(8), kv_heads = 1 + PICK(3);
        const synthetic_options options = {.layers = 1 + PICK(2),
                                           .features = group * (1 + PICK(6)),
                                           .kv_heads = kv_heads,
                                           .heads = kv_heads * (1 + PICK(3)),
                                           .head_size = group,
                                           .hidden = group * (1 + PICK(6)),
                                           .vocabulary = 1 + PICK(200),
                                           .max_tokens = 1 + PICK(90),
                                           .type = types[PICK(TD_COUNT_OF(types))],
                                           .scale_type = PICK(2) ? IR_F32 : IR_F16,
                                           .group = PICK(2) ? group : 0,
                                           .has_zero = PICK(2),
                                           .cache_type = PICK(2) ? IR_F32 : IR_F16,
                                           .tied = PICK(2),
                                           .interleaved = PICK(2),
                                           .bias = PICK(2),
                                           .head_norms = PICK(2),
                                           .quantise = PICK(2),
                                           .fuse = PICK(2),
                                           .window = PICK(2) * (1 + PICK(80))};
#undef PICK
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

/* Every level of this machine computes the same; without FMA within a tolerance. */
TEST(every_cpu)
{
    const synthetic_options options = {.layers = 1,
                                       .features = 66,
                                       .heads = 3,
                                       .kv_heads = 3,
                                       .head_size = 22,
                                       .hidden = 110,
                                       .vocabulary = 50,
                                       .max_tokens = 40,
                                       .type = IR_U4,
                                       .cache_type = IR_F16,
                                       .scale_type = IR_F32,
                                       .group = 22,
                                       .has_zero = true,
                                       .fuse = true};
    td_context context;
    const cg_target *target;
    cg_cpu native;
    td_context_init(&context);
    CHECK(cg_find_target(&context, NULL, NULL, &target, &native) == TD_OK);
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
        if (cg_runs_here(target, cpu))
            CHECK_STRING(verify(&options, cpu->name), "equal");
}

/* Without instructions for f16, integer operations convert it to the same bits. */
TEST(halves_without_instructions)
{
    synthetic_options options = {AWKWARD, .type = IR_F16};
    options.cache_type = IR_F16;
    td_context context;
    const cg_target *target;
    cg_cpu cpu;
    td_context_init(&context);
    CHECK(cg_find_target(&context, NULL, NULL, &target, &cpu) == TD_OK);
    cpu.has_half = false;
    CHECK_STRING(verify_row(&options, target, &cpu), "equal");
}

TEST_MAIN()
