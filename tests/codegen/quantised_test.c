/* Products of quantised activations: compiled models against the reference evaluator, bit for
 * bit; products_test.c has the kernels alone.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "tests/codegen/synthetic_llama.h"
#include "tests/test.h"

static const char *verify(const synthetic_options *options, const cg_target *target,
                          const cg_cpu *cpu)
{
    static char text[8192];
    td_context context;
    cg_model model;
    bool equal = false;
    td_context_init(&context);
    memset(text, 0, sizeof text);
    if (synthetic_llama(&context, options, &model) != TD_OK ||
        ir_pass_quantize_activations(model.module) != TD_OK) {
        snprintf(text, sizeof text, "not built: %s", context.message);
        return text;
    }
    FILE *report = fmemopen(text, sizeof text - 1, "w");
    cg_request request = {
        .name = "test", .models = &model, .model_count = 1, .target = target, .cpu = *cpu};
    const td_status status = cg_verify(&context, &request, report, &equal);
    fclose(report);
    ir_module_release(model.module);
    if (status != TD_OK)
        snprintf(text, sizeof text, "refused: %s", context.message);
    else if (strstr(text, "linear_quantized ") == NULL)
        return "no product was quantised";
    return status == TD_OK && equal ? "equal" : text;
}

static const char *verify_native(const synthetic_options *options)
{
    td_context context;
    const cg_target *target;
    cg_cpu cpu;
    td_context_init(&context);
    if (cg_find_target(&context, NULL, NULL, &target, &cpu) != TD_OK)
        return "no target";
    return verify(options, target, &cpu);
}

static const ir_type types[] = {IR_I8, IR_U8, IR_I4, IR_U4};

/* One scale for each row, any number of columns. */
TEST(whole_rows)
{
    for (size_t i = 0; i < TD_COUNT_OF(types); i += 2) {
        const synthetic_options options = {.layers = 1,
                                           .features = 53,
                                           .heads = 3,
                                           .kv_heads = 1,
                                           .head_size = 22,
                                           .hidden = 71,
                                           .vocabulary = 97,
                                           .max_tokens = 64,
                                           .type = types[i],
                                           .scale_type = IR_F32,
                                           .has_zero = i == 2,
                                           .tied = i == 0,
                                           .bias = i == 2,
                                           .cache_type = IR_F32};
        CHECK_STRING(verify_native(&options), "equal");
    }
}

TEST(groups)
{
    static const int64_t groups[] = {32, 64, 96, 32};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        const int64_t group = groups[i];
        const synthetic_options options = {.layers = 1,
                                           .features = group,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .head_size = group / 4,
                                           .hidden = 3 * group,
                                           .vocabulary = 50,
                                           .max_tokens = 48,
                                           .type = types[i],
                                           .scale_type = i % 3 == 0 ? IR_F32 : IR_F16,
                                           .group = group,
                                           .has_zero = i % 2 == 0,
                                           .tied = i % 2 == 0,
                                           .cache_type = IR_F16};
        CHECK_STRING(verify_native(&options), "equal");
    }
}

TEST_MAIN()
