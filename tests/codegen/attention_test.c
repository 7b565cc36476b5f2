/* Attention kernels against the reference evaluator, bit for bit: cache types, shapes of heads, and
 * trees across the edges of blocks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/codegen/synthetic_llama.h"
#include "tests/test.h"

/* Everything but attention is small. */
#define SMALL .layers = 1, .features = 32, .hidden = 8, .vocabulary = 11, .type = IR_F32

static const ir_type cache_types[] = {IR_F32, IR_F16, IR_I8};

static const char *verify(const synthetic_options *options, const char *cpu)
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
    cg_request request = {.name = "test", .models = &model, .model_count = 1};
    td_status status = cg_find_target(&context, NULL, cpu, &request.target, &request.cpu);
    if (status == TD_OK)
        status = cg_verify(&context, &request, report, &equal);
    fclose(report);
    ir_module_release(model.module);
    if (status != TD_OK)
        snprintf(text, sizeof text, "refused: %s", context.message);
    return status == TD_OK && equal ? "equal" : text;
}

/* Heads that share a KV head: fewer than a group of rows, more, a prime number of them. */
TEST(heads_that_share_a_kv_head)
{
    static const int64_t shared[] = {1, 3, 11};
    for (size_t i = 0; i < TD_COUNT_OF(shared); i++) {
        const synthetic_options options = {
            SMALL,           .kv_heads = 2,    .heads = 2 * shared[i],
            .head_size = 10, .max_tokens = 40, .cache_type = cache_types[i % 3]};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

TEST(head_sizes_of_every_cache_type)
{
    static const int64_t sizes[] = {14, 34, 64};
    for (size_t c = 0; c < TD_COUNT_OF(cache_types); c++) {
        const synthetic_options options = {SMALL,
                                           .kv_heads = 1,
                                           .heads = 2,
                                           .head_size = sizes[c],
                                           .max_tokens = 33,
                                           .cache_type = cache_types[c]};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

/* The longest pass decides how much is committed when trees come: their tokens lie before, across
 * and behind the end of the first block. A window cuts blocks off. */
TEST(trees_across_blocks)
{
    static const struct {
        int64_t longest, window;
        double softcap;
    } rows[] = {{20, 0, 2}, {28, 0, 0}, {28, 60, 0}, {30, 1, 2}, {30, 0, 0}};
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        const synthetic_options options = {SMALL,
                                           .kv_heads = 2,
                                           .heads = 6,
                                           .head_size = 6,
                                           .max_tokens = rows[i].longest,
                                           .cache_type = cache_types[i % 3],
                                           .window = rows[i].window,
                                           .softcap = rows[i].softcap};
        CHECK_STRING(verify(&options, NULL), "equal");
    }
}

TEST(every_cpu)
{
    td_context context;
    const cg_target *target;
    cg_cpu native;
    td_context_init(&context);
    CHECK(cg_find_target(&context, NULL, NULL, &target, &native) == TD_OK);
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++)
        for (size_t c = 0; c < TD_COUNT_OF(cache_types) && cg_runs_here(target, cpu); c++) {
            const synthetic_options options = {
                SMALL,           .kv_heads = 1,    .heads = 6,
                .head_size = 24, .max_tokens = 70, .cache_type = cache_types[c]};
            CHECK_STRING(verify(&options, cpu->name), "equal");
        }
}

TEST_MAIN()
