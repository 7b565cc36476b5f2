/* Types of KV caches: the pass that sets them, and what rounding to 8 bits keeps.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/numerics.h"
#include "ir/passes/passes.h"
#include "tests/test.h"

static const char source[] = "module \"m\"\n"
                             "symbol tokens <= 8\n"
                             "state \"kv.0\" = cache f32 {layer = 0, kv_heads = 2, head_size = 6}\n"
                             "state \"seen\" = plain f32[3]\n";

TEST(the_pass_sets_caches_only)
{
    static const struct {
        const char *kind;
        ir_type type;
    } rows[] = {{"f16", IR_F16}, {"q8", IR_I8}, {"f32", IR_F32}};
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    CHECK(ir_parse(&context, source, strlen(source), "test", &module) == TD_OK);
    for (size_t i = 0; module != NULL && i < TD_COUNT_OF(rows); i++) {
        CHECK(ir_pass_cache_type(module, rows[i].kind) == TD_OK);
        CHECK(ir_verify(module) == TD_OK);
        CHECK(ir_module_find_state(module, "kv.0")->type == rows[i].type);
        CHECK(ir_module_find_state(module, "seen")->type == IR_F32);
    }
    CHECK(module == NULL || ir_pass_cache_type(module, "q4") == TD_INVALID);
    CHECK_STRING(context.message, "cache type \"q4\" is unknown; f32, f16 or q8");
    ir_module_release(module);
}

TEST(rounding_errors_are_half_a_step)
{
    uint64_t random = 7;
    for (int round = 0; round < 200; round++) {
        float x[37], y[37], largest = 0;
        const float size = ldexpf(1, round % 40 - 6);
        for (int i = 0; i < 37; i++) {
            x[i] = y[i] = size * ((float)(td_random_next(&random) >> 40) * 0x1p-23f - 1);
            largest = fmaxf(largest, fabsf(x[i]));
        }
        ir_round_cache_row(y, 37);
        if (largest / 127 > 65504)
            continue;
        /* Half a step, and what the scale's rounding to f16 takes from the largest. */
        const float step = largest / 127, slack = fmaxf(largest * 0x1p-11f, 127 * 0x1p-25f);
        for (int i = 0; i < 37; i++)
            CHECK_MESSAGE(fabsf(x[i] - y[i]) <= step * 0.501f + slack, "%a became %a", (double)x[i],
                          (double)y[i]);
    }
}

/* Numbers that are multiples of a scale stay, so that rounding twice changes nothing. */
TEST(rounding_keeps_what_fits)
{
    float x[4] = {127 * 0.25f, -3 * 0.25f, 0, 64 * 0.25f}, y[4];
    memcpy(y, x, sizeof y);
    ir_round_cache_row(y, 4);
    CHECK(memcmp(x, y, sizeof x) == 0);
}

TEST(rows_without_a_scale)
{
    static const float none[] = {0x1p-40f, -0x1p-30f, 0, 0x1p-149f};
    static const float large[] = {0x1p30f, 1, -2, 3};
    static const float odd[][2] = {{INFINITY, 1}, {1, -INFINITY}, {NAN, 0}};
    float row[4];
    memcpy(row, none, sizeof row);
    ir_round_cache_row(row, 4);
    for (int i = 0; i < 4; i++)
        CHECK(row[i] == 0);
    memcpy(row, large, sizeof row);
    ir_round_cache_row(row, 4);
    for (int i = 0; i < 4; i++)
        CHECK(isnan(row[i]));
    for (size_t i = 0; i < TD_COUNT_OF(odd); i++) {
        memcpy(row, odd[i], sizeof odd[i]);
        ir_round_cache_row(row, 2);
        CHECK(isnan(row[0]) && isnan(row[1]));
    }
}

TEST_MAIN()
