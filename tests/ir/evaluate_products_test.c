/* Products and attention against literal loops over docs/numerics.md, bit by bit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/numerics.h"
#include "tests/ir/evaluate_bench.h"

#define SET_INT(node, name, value)   CHECK(ir_node_set_int(node, name, value) == TD_OK)
#define SET_FLOAT(node, name, value) CHECK(ir_node_set_float(node, name, value) == TD_OK)

/* --- linear --- */

enum { TOKENS = 3, ROWS = 37, COLUMNS = 24, GROUP = 8, GROUPS = COLUMNS / GROUP };

static void check_linear(test_bench *bench, ir_value *weight, const float *x, const float *expected)
{
    float bias[ROWS];
    random_floats(9, ROWS, bias);
    float shifted[TOKENS * ROWS];
    for (size_t i = 0; i < TOKENS * ROWS; i++)
        shifted[i] = expected[i] + bias[i % ROWS];
    ir_value *input = bench_input(bench, IR_F32, DIMS(TOKENS, COLUMNS), x);
    ir_value *added = bench_input(bench, IR_F32, DIMS(ROWS), bias);
    ir_node *plain = NODE(bench, linear, 1, input, weight);
    bench_infer(bench, plain);
    CHECK(ir_graph_add_output(bench->graph, "plain", plain->outputs[0]) == TD_OK);
    const ir_tensor *biased = bench_run(bench, NODE(bench, linear, 1, input, weight, added));
    CHECK_MESSAGE(same_floats(biased, TOKENS * ROWS, shifted), "%s", bench->context.message);
    const ir_tensor *result = ir_evaluator_value(bench->evaluator, plain->outputs[0]);
    CHECK(same_floats(result, TOKENS * ROWS, expected));
}

static void expect_floats(const float *x, const float *w, float *expected)
{
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t n = 0; n < ROWS; n++) {
            float sum = 0.0f;
            for (size_t k = 0; k < COLUMNS; k++)
                sum = fmaf(x[t * COLUMNS + k], w[n * COLUMNS + k], sum);
            expected[t * ROWS + n] = sum;
        }
}

TEST(linear_sums_k_ascending)
{
    float x[TOKENS * COLUMNS], w[ROWS * COLUMNS], expected[TOKENS * ROWS];
    random_floats(1, TOKENS * COLUMNS, x);
    random_floats(2, ROWS * COLUMNS, w);
    expect_floats(x, w, expected);
    test_bench *bench = bench_open(0);
    check_linear(bench, bench_input(bench, IR_F32, DIMS(ROWS, COLUMNS), w), x, expected);
    bench_close(bench);
    bench = bench_open(0);
    ir_shape shape = ir_shape_of(2, (int64_t[]){ROWS, COLUMNS});
    ir_constant *constant;
    ir_value *weight;
    CHECK(ir_module_add_constant_bytes(bench->module, "w", IR_F32, &shape, w, &constant) == TD_OK);
    CHECK(ir_graph_add_constant(bench->graph, constant, &weight) == TD_OK);
    check_linear(bench, weight, x, expected);
    bench_close(bench);
}

TEST(linear_of_f16_weights_is_exact_in_f32)
{
    float x[TOKENS * COLUMNS], w[ROWS * COLUMNS], expected[TOKENS * ROWS];
    uint16_t halves[ROWS * COLUMNS];
    random_floats(1, TOKENS * COLUMNS, x);
    random_floats(2, ROWS * COLUMNS, w);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        halves[i] = ir_f32_to_f16(w[i]);
        w[i] = ir_f16_to_f32(halves[i]);
    }
    expect_floats(x, w, expected);
    test_bench *bench = bench_open(0);
    ir_shape shape = ir_shape_of(2, (int64_t[]){ROWS, COLUMNS});
    ir_constant *constant;
    ir_value *weight;
    CHECK(ir_module_add_constant_bytes(bench->module, "w", IR_F16, &shape, halves, &constant) ==
          TD_OK);
    CHECK(ir_graph_add_constant(bench->graph, constant, &weight) == TD_OK);
    check_linear(bench, weight, x, expected);
    bench_close(bench);
}

static void check_quantised_linear(ir_type type, bool zeros)
{
    float x[TOKENS * COLUMNS], expected[TOKENS * ROWS];
    uint16_t scales[ROWS * GROUPS];
    uint8_t packed[ROWS * COLUMNS], zero[ROWS * GROUPS];
    int q[ROWS * COLUMNS], z[ROWS * GROUPS];
    uint64_t seed = 77;
    random_floats(1, TOKENS * COLUMNS, x);
    bool nibbles = ir_type_bits(type) == 4, is_signed = type == IR_I4 || type == IR_I8;
    memset(packed, 0, sizeof packed);
    memset(zero, 0, sizeof zero);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        int stored = (int)(td_random_next(&seed) % (nibbles ? 16 : 256));
        q[i] = is_signed && stored >= (nibbles ? 8 : 128) ? stored - (nibbles ? 16 : 256) : stored;
        packed[nibbles ? i / 2 : i] |= (uint8_t)(stored << (nibbles ? i % 2 * 4 : 0));
    }
    for (size_t i = 0; i < ROWS * GROUPS; i++) {
        int stored = (int)(td_random_next(&seed) % 8);
        z[i] = zeros ? stored : 0;
        zero[nibbles ? i / 2 : i] |= (uint8_t)(stored << (nibbles ? i % 2 * 4 : 0));
        scales[i] = ir_f32_to_f16(0.01f + 0.001f * (float)stored);
    }
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t n = 0; n < ROWS; n++) {
            float sum = 0.0f;
            for (size_t g = 0; g < GROUPS; g++) {
                float part = 0.0f;
                for (size_t k = g * GROUP; k < (g + 1) * GROUP; k++)
                    part = fmaf(x[t * COLUMNS + k], (float)(q[n * COLUMNS + k] - z[n * GROUPS + g]),
                                part);
                sum = fmaf(part, ir_f16_to_f32(scales[n * GROUPS + g]), sum);
            }
            expected[t * ROWS + n] = sum;
        }
    test_bench *bench = bench_open(0);
    ir_shape shape = ir_shape_of(2, (int64_t[]){ROWS, COLUMNS});
    ir_shape groups = ir_shape_of(2, (int64_t[]){ROWS, GROUPS});
    ir_constant *stored, *scale, *zero_point, *quantised;
    ir_value *weight;
    CHECK(ir_module_add_constant_bytes(bench->module, "q", type, &shape, packed, &stored) == TD_OK);
    CHECK(ir_module_add_constant_bytes(bench->module, "s", IR_F16, &groups, scales, &scale) ==
          TD_OK);
    CHECK(ir_module_add_constant_bytes(bench->module, "z", type, &groups, zero, &zero_point) ==
          TD_OK);
    ir_constant wanted = *stored;
    wanted.group = GROUP;
    wanted.scale = scale;
    wanted.zero_point = zeros ? zero_point : NULL;
    CHECK(ir_module_add_constant(bench->module, &wanted, &quantised) == TD_OK);
    CHECK(ir_graph_add_constant(bench->graph, quantised, &weight) == TD_OK);
    check_linear(bench, weight, x, expected);
    bench_close(bench);
}

TEST(quantised_linear_scales_group_sums)
{
    const ir_type types[] = {IR_U8, IR_I8, IR_U4, IR_I4};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++) {
        check_quantised_linear(types[i], true);
        check_quantised_linear(types[i], false);
    }
}

/* --- matmul --- */

static void check_matmul(bool transpose_a, bool transpose_b)
{
    enum { BATCH = 3, M = 5, N = 19, K = 7 };
    float a[BATCH * M * K], b[K * N], expected[BATCH * M * N];
    random_floats(3, BATCH * M * K, a);
    random_floats(4, K * N, b);
    for (size_t t = 0; t < BATCH; t++)
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < N; n++) {
                float sum = 0.0f;
                for (size_t k = 0; k < K; k++)
                    sum = fmaf(a[t * M * K + (transpose_a ? k * M + m : m * K + k)],
                               b[transpose_b ? n * K + k : k * N + n], sum);
                expected[(t * M + m) * N + n] = sum;
            }
    test_bench *bench = bench_open(0);
    ir_value *left = bench_input(bench, IR_F32, 3,
                                 (int64_t[]){BATCH, transpose_a ? K : M, transpose_a ? M : K}, a);
    ir_value *right =
        bench_input(bench, IR_F32, 2, (int64_t[]){transpose_b ? N : K, transpose_b ? K : N}, b);
    ir_node *node = NODE(bench, matmul, 1, left, right);
    SET_INT(node, "transpose_a", transpose_a);
    SET_INT(node, "transpose_b", transpose_b);
    const ir_tensor *result = bench_run(bench, node);
    CHECK_DIMS(result, BATCH, M, N);
    CHECK(same_floats(result, BATCH * M * N, expected));
    bench_close(bench);
}

TEST(matmul_equals_naive_loops)
{
    for (int i = 0; i < 4; i++)
        check_matmul(i % 2 != 0, i / 2 != 0);
}

TEST(matmul_of_vectors)
{
    test_bench *bench = bench_open(0);
    ir_value *a = FLOATS(bench, DIMS(2), 1.0f, 2.0f), *b = FLOATS(bench, DIMS(2), 3.0f, 4.0f);
    const ir_tensor *result = bench_run(bench, NODE(bench, matmul, 1, a, b));
    CHECK(result != NULL && result->rank == 0);
    CHECK_FLOATS(result, 11.0f);
    bench_close(bench);
}

/* --- the raised ops --- */

TEST(rms_norm_per_head)
{
    float x[] = {1.0f, -2.0f, 3.0f, 0.5f}, w[] = {2.0f, 0.25f}, expected[4];
    for (size_t head = 0; head < 2; head++) {
        const float *row = x + 2 * head;
        float sum = row[0] * row[0] + row[1] * row[1]; /* lanes 0 and 1, folded */
        float r = 1.0f / sqrtf(sum / 2.0f + 1e-5f);
        expected[2 * head] = row[0] * r * w[0];
        expected[2 * head + 1] = row[1] * r * w[1];
    }
    test_bench *bench = bench_open(0);
    ir_node *node = NODE(bench, rms_norm, 1, bench_input(bench, IR_F32, DIMS(1, 4), x),
                         bench_input(bench, IR_F32, DIMS(2), w));
    SET_FLOAT(node, "epsilon", 1e-5);
    CHECK(same_floats(bench_run(bench, node), 4, expected));
    bench_close(bench);
}

TEST(rope_turns_pairs)
{
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        float x[] = {1.0f, 2.0f, 3.0f, 4.0f}, frequencies[] = {1.0f, 0.5f};
        int32_t position = 3;
        double s[2], c[2];
        float expected[4];
        for (size_t i = 0; i < 2; i++) {
            ir_sine_cosine(3.0f * frequencies[i], &s[i], &c[i]);
            float cosine = (float)c[i], sine = (float)s[i];
            size_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + 2;
            expected[a] = x[a] * cosine - x[b] * sine;
            expected[b] = x[b] * cosine + x[a] * sine;
        }
        test_bench *bench = bench_open(0);
        ir_node *table =
            NODE(bench, rotary_table, 1, bench_input(bench, IR_I32, DIMS(1), &position),
                 bench_input(bench, IR_F32, DIMS(2), frequencies));
        bench_infer(bench, table);
        ir_node *node =
            NODE(bench, rope, 1, bench_input(bench, IR_F32, DIMS(1, 4), x), table->outputs[0]);
        SET_INT(node, "head_size", 4);
        SET_INT(node, "interleaved", interleaved);
        CHECK(same_floats(bench_run(bench, node), 4, expected));
        bench_close(bench);
    }
}

TEST(gated_silu_is_silu_times_up)
{
    test_bench *bench = bench_open(0);
    ir_value *gate = FLOATS(bench, DIMS(2), 1.5f, -3.0f), *up = FLOATS(bench, DIMS(2), 2.0f, 7.0f);
    CHECK_FLOATS(bench_run(bench, NODE(bench, gated_silu, 1, gate, up)), ir_silu(1.5f) * 2.0f,
                 ir_silu(-3.0f) * 7.0f);
    bench_close(bench);
}

/* --- attention --- */

enum { QUERIES = 5, KEYS = 6, SIZE = 4 };

/* Property: attention is matmul, scale, mask, softmax, matmul. */
TEST(attention_is_its_composition)
{
    float q[2 * QUERIES * SIZE], k[2 * KEYS * SIZE], v[2 * KEYS * SIZE], mask[QUERIES * KEYS];
    random_floats(1, TD_COUNT_OF(q), q);
    random_floats(2, TD_COUNT_OF(k), k);
    random_floats(3, TD_COUNT_OF(v), v);
    for (size_t i = 0; i < QUERIES * KEYS; i++)
        mask[i] = i % KEYS > i / KEYS ? -INFINITY : 0.125f * (float)i;
    test_bench *bench = bench_open(0);
    ir_value *a = bench_input(bench, IR_F32, DIMS(2, QUERIES, SIZE), q);
    ir_value *b = bench_input(bench, IR_F32, DIMS(2, KEYS, SIZE), k);
    ir_value *c = bench_input(bench, IR_F32, DIMS(2, KEYS, SIZE), v);
    ir_value *m = bench_input(bench, IR_F32, DIMS(QUERIES, KEYS), mask);
    ir_node *scores = NODE(bench, matmul, 1, a, b);
    SET_INT(scores, "transpose_b", 1);
    bench_infer(bench, scores);
    ir_node *scaled = NODE(bench, multiply, 1, scores->outputs[0], FLOATS(bench, SCALAR, 0.5f));
    bench_infer(bench, scaled);
    ir_node *masked = NODE(bench, add, 1, scaled->outputs[0], m);
    bench_infer(bench, masked);
    ir_node *softmax = NODE(bench, softmax, 1, masked->outputs[0]);
    SET_INT(softmax, "axis", 2);
    bench_infer(bench, softmax);
    ir_node *composed = NODE(bench, matmul, 1, softmax->outputs[0], c);
    bench_infer(bench, composed);
    CHECK(ir_graph_add_output(bench->graph, "composed", composed->outputs[0]) == TD_OK);
    ir_node *node = NODE(bench, attention, 1, a, b, c, m);
    const ir_tensor *result = bench_run(bench, node); /* 1 / sqrt(4) = 0.5 */
    CHECK_MESSAGE(result != NULL, "%s", bench->context.message);
    const ir_tensor *other = ir_evaluator_value(bench->evaluator, composed->outputs[0]);
    CHECK(other != NULL && same_floats(result, other->elements, other->data));
    bench_close(bench);
}

/* causal, a boolean triangle, and an additive one say the same. */
TEST(attention_masks_agree)
{
    float q[QUERIES * SIZE], k[KEYS * SIZE], v[KEYS * SIZE], added[QUERIES * KEYS];
    float first[QUERIES * SIZE];
    uint8_t shown[QUERIES * KEYS];
    random_floats(1, TD_COUNT_OF(q), q);
    random_floats(2, TD_COUNT_OF(k), k);
    random_floats(3, TD_COUNT_OF(v), v);
    for (size_t i = 0; i < QUERIES * KEYS; i++) {
        shown[i] = i % KEYS <= i / KEYS;
        added[i] = shown[i] ? 0.0f : -INFINITY;
    }
    for (int way = 0; way < 3; way++) {
        test_bench *bench = bench_open(0);
        ir_value *inputs[4] = {bench_input(bench, IR_F32, DIMS(QUERIES, SIZE), q),
                               bench_input(bench, IR_F32, DIMS(KEYS, SIZE), k),
                               bench_input(bench, IR_F32, DIMS(KEYS, SIZE), v)};
        if (way > 0)
            inputs[3] = bench_input(bench, way == 1 ? IR_BOOL : IR_F32, DIMS(QUERIES, KEYS),
                                    way == 1 ? (const void *)shown : (const void *)added);
        ir_node *node = bench_node(bench, IR_OP_attention, 1, way > 0 ? 4 : 3, inputs);
        SET_INT(node, "causal", way == 0);
        const ir_tensor *result = bench_run(bench, node);
        CHECK_MESSAGE(result != NULL, "%s", bench->context.message);
        if (way == 0)
            memcpy(first, result->data, sizeof first);
        CHECK(same_floats(result, TD_COUNT_OF(first), first));
        CHECK(memcmp(result->data, v, SIZE * sizeof *v) == 0); /* the first sees one key only */
        bench_close(bench);
    }
}

/* The cached form is near the pure causal one, though summed in blocks. */
TEST(cached_attention_is_near_the_pure_form)
{
    enum { LENGTH = 63, HEADS = 2 };
    static float q[LENGTH * HEADS * SIZE], k[LENGTH * SIZE], v[LENGTH * SIZE];
    static float pure_q[HEADS * LENGTH * SIZE];
    int64_t ancestors[LENGTH];
    random_floats(1, TD_COUNT_OF(q), q);
    random_floats(2, TD_COUNT_OF(k), k);
    random_floats(3, TD_COUNT_OF(v), v);
    for (size_t t = 0; t < LENGTH; t++) {
        ancestors[t] = (int64_t)(((uint64_t)2 << t) - 1);
        for (size_t head = 0; head < HEADS; head++)
            memcpy(pure_q + (head * LENGTH + t) * SIZE, q + (t * HEADS + head) * SIZE,
                   SIZE * sizeof *q);
    }
    test_bench *bench = bench_open(LENGTH);
    ir_state *added;
    ir_state state = {
        .name = "cache", .kind = IR_STATE_CACHE, .type = IR_F32, .kv_heads = 1, .head_size = SIZE};
    CHECK(ir_module_add_state(bench->module, &state, &added) == TD_OK);
    ir_value *keys = bench_input(bench, IR_F32, DIMS(LENGTH, SIZE), k);
    ir_value *values = bench_input(bench, IR_F32, DIMS(LENGTH, SIZE), v);
    ir_node *pure =
        NODE(bench, attention, 1, bench_input(bench, IR_F32, DIMS(HEADS, LENGTH, SIZE), pure_q),
             keys, values);
    SET_INT(pure, "causal", 1);
    bench_infer(bench, pure);
    CHECK(ir_graph_add_output(bench->graph, "pure", pure->outputs[0]) == TD_OK);
    ir_node *cached =
        NODE(bench, cached_attention, 1, bench_input(bench, IR_F32, DIMS(LENGTH, HEADS * SIZE), q),
             keys, values, bench_input(bench, IR_I64, DIMS(LENGTH, 1), ancestors));
    CHECK(ir_node_set_string(cached, "state", "cache") == TD_OK);
    SET_INT(cached, "heads", HEADS);
    SET_INT(cached, "kv_heads", 1);
    SET_INT(cached, "head_size", SIZE);
    SET_FLOAT(cached, "scale", 0.5);
    const ir_tensor *result = bench_run(bench, cached);
    CHECK_MESSAGE(result != NULL, "%s", bench->context.message);
    const float *got = result->data;
    const float *wanted = ir_evaluator_value(bench->evaluator, pure->outputs[0])->data;
    for (size_t t = 0; t < LENGTH; t++)
        for (size_t head = 0; head < HEADS; head++)
            for (size_t d = 0; d < SIZE; d++)
                CHECK(fabsf(got[(t * HEADS + head) * SIZE + d] -
                            wanted[(head * LENGTH + t) * SIZE + d]) < 1e-6f);
    bench_close(bench);
}

TEST_MAIN()
