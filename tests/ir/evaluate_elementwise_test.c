/* Elementwise ops: golden values, broadcasting against naive loops, types, refusals.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "tests/ir/evaluate_bench.h"

#define BINARY(bench, op) NODE(bench, op, 1, a, b)

/* One op on two f32 vectors of three. */
static void check_binary(ir_opcode op, const float *x, const float *y, const float *expected)
{
    test_bench *bench = bench_open(0);
    ir_value *a = bench_input(bench, IR_F32, DIMS(3), x),
             *b = bench_input(bench, IR_F32, DIMS(3), y);
    const ir_tensor *result = bench_run(bench, bench_node(bench, op, 1, 2, (ir_value *[]){a, b}));
    CHECK_MESSAGE(same_floats(result, 3, expected), "%s %s", ir_op(op)->name,
                  bench->context.message);
    bench_close(bench);
}

TEST(float_arithmetic)
{
    const float x[] = {4.0f, -9.0f, 0.5f}, y[] = {2.0f, 3.0f, -0.5f};
    check_binary(IR_OP_add, x, y, (float[]){6.0f, -6.0f, 0.0f});
    check_binary(IR_OP_subtract, x, y, (float[]){2.0f, -12.0f, 1.0f});
    check_binary(IR_OP_multiply, x, y, (float[]){8.0f, -27.0f, -0.25f});
    check_binary(IR_OP_divide, x, y, (float[]){2.0f, -3.0f, -1.0f});
    check_binary(IR_OP_maximum, x, y, (float[]){4.0f, 3.0f, 0.5f});
    check_binary(IR_OP_minimum, x, y, (float[]){2.0f, -9.0f, -0.5f});
    check_binary(IR_OP_power, x, (float[]){0.5f, 2.0f, 3.0f}, (float[]){2.0f, 81.0f, 0.125f});
    check_binary(IR_OP_power, x, (float[]){-0.5f, -1.0f, 0.0f},
                 (float[]){0.5f, 1.0f / -9.0f, 1.0f});
}

TEST(power_two_is_a_product)
{
    float x[1] = {0x1.234568p-3f};
    test_bench *bench = bench_open(0);
    ir_value *a = bench_input(bench, IR_F32, DIMS(1), x), *b = FLOATS(bench, DIMS(1), 2.0f);
    CHECK_FLOATS(bench_run(bench, BINARY(bench, power)), x[0] * x[0]);
    bench_close(bench);
}

static void check_integers(ir_opcode op, bool floors, const int64_t *x, const int64_t *y,
                           const int64_t *expected)
{
    test_bench *bench = bench_open(0);
    ir_value *a = bench_input(bench, IR_I64, DIMS(4), x),
             *b = bench_input(bench, IR_I64, DIMS(4), y);
    ir_node *node = bench_node(bench, op, 1, 2, (ir_value *[]){a, b});
    if (floors)
        CHECK(ir_node_set_int(node, "floor", 1) == TD_OK);
    CHECK_MESSAGE(same_integers(bench_run(bench, node), 4, expected), "%s", ir_op(op)->name);
    bench_close(bench);
}

TEST(integer_arithmetic)
{
    const int64_t x[] = {7, -7, 6, INT64_MIN}, y[] = {2, 2, -3, -1};
    check_integers(IR_OP_add, false, x, y, (int64_t[]){9, -5, 3, INT64_MAX});
    check_integers(IR_OP_divide, false, x, y, (int64_t[]){3, -3, -2, INT64_MIN});
    check_integers(IR_OP_divide, true, x, y, (int64_t[]){3, -4, -2, INT64_MIN});
    check_integers(IR_OP_power, false, x, y, (int64_t[]){49, 49, 0, 0});
    check_integers(IR_OP_bitwise_and, false, x, y, (int64_t[]){2, 0, 4, INT64_MIN});
    check_integers(IR_OP_bitwise_or, false, x, y, (int64_t[]){7, -5, -1, -1});
}

TEST(integers_wrap_to_their_type)
{
    test_bench *bench = bench_open(0);
    ir_value *a = bench_input(bench, IR_I8, DIMS(2), (int8_t[]){127, -128});
    ir_value *b = bench_input(bench, IR_I8, DIMS(2), (int8_t[]){1, -1});
    CHECK_INTEGERS(bench_run(bench, BINARY(bench, add)), -128, 127);
    bench_close(bench);
}

TEST(integer_division_by_zero_is_refused)
{
    test_bench *bench = bench_open(0);
    ir_value *a = INTEGERS(bench, DIMS(2), 1, 2), *b = INTEGERS(bench, DIMS(2), 1, 0);
    CHECK_FAILS(bench, BINARY(bench, divide), "\"tested\": it divides an integer by 0");
    bench_close(bench);
}

TEST(halves_are_computed_in_f32_and_rounded)
{
    test_bench *bench = bench_open(0);
    uint16_t x[] = {ir_f32_to_f16(2048.0f), ir_f32_to_f16(0.1f)};
    uint16_t y[] = {ir_f32_to_f16(1.0f), ir_f32_to_f16(0.2f)};
    ir_value *a = bench_input(bench, IR_F16, DIMS(2), x),
             *b = bench_input(bench, IR_F16, DIMS(2), y);
    const ir_tensor *sum = bench_run(bench, BINARY(bench, add));
    CHECK(sum != NULL && sum->type == IR_F16);
    const uint16_t *bits = sum->data;
    CHECK(bits[0] == ir_f32_to_f16(2048.0f)); /* 2049 is a tie, to even */
    CHECK(bits[1] == ir_f32_to_f16(ir_f16_to_f32(x[1]) + ir_f16_to_f32(y[1])));
    bench_close(bench);
}

TEST(comparisons)
{
    const struct {
        ir_opcode op;
        int64_t expected[4];
    } rows[] = {
        {IR_OP_equal, {0, 1, 0, 0}},   {IR_OP_not_equal, {1, 0, 1, 1}},
        {IR_OP_less, {1, 0, 0, 0}},    {IR_OP_less_equal, {1, 1, 0, 0}},
        {IR_OP_greater, {0, 0, 1, 0}}, {IR_OP_greater_equal, {0, 1, 1, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_bench *bench = bench_open(0);
        ir_value *a = FLOATS(bench, DIMS(4), 1.0f, 2.0f, 3.0f, NAN);
        ir_value *b = FLOATS(bench, DIMS(4), 2.0f, 2.0f, 2.0f, 2.0f);
        ir_node *node = bench_node(bench, rows[i].op, 1, 2, (ir_value *[]){a, b});
        const ir_tensor *result = bench_run(bench, node);
        CHECK(result != NULL && result->type == IR_BOOL);
        CHECK(same_integers(result, 4, rows[i].expected));
        bench_close(bench);
    }
}

TEST(unary_functions)
{
    const struct {
        ir_opcode op;
        float expected[3];
    } rows[] = {
        {IR_OP_negate, {-4.0f, 0.25f, -0.0f}},
        {IR_OP_absolute, {4.0f, 0.25f, 0.0f}},
        {IR_OP_square_root, {2.0f, NAN, 0.0f}},
        {IR_OP_floor, {4.0f, -1.0f, 0.0f}},
        {IR_OP_exponential, {0x1.b4c902p+5f, 0x1.8ebef8p-1f, 1.0f}},
        {IR_OP_sine, {-0x1.837b9ep-1f, -0x1.faaeeep-3f, 0.0f}},
        {IR_OP_cosine, {-0x1.4eaa60p-1f, 0x1.f01554p-1f, 1.0f}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_bench *bench = bench_open(0);
        ir_value *x = FLOATS(bench, DIMS(3), 4.0f, -0.25f, 0.0f);
        const ir_tensor *result =
            bench_run(bench, bench_node(bench, rows[i].op, 1, 1, (ir_value *[]){x}));
        CHECK(result != NULL);
        for (size_t j = 0; j < 3; j++) {
            float got = ((const float *)result->data)[j], wanted = rows[i].expected[j];
            CHECK_MESSAGE(isnan(wanted) ? isnan(got) : fabsf(got - wanted) <= 1e-6f * fabsf(wanted),
                          "%s: %a", ir_op(rows[i].op)->name, (double)got);
        }
        bench_close(bench);
    }
}

TEST(an_angle_too_large_is_refused)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(1), 0x1p30f);
    CHECK_FAILS(bench, NODE(bench, sine, 1, x), "too large");
    bench_close(bench);
}

TEST(logical_not_of_bools)
{
    test_bench *bench = bench_open(0);
    ir_value *x = BOOLS(bench, DIMS(2), 1, 0);
    CHECK_INTEGERS(bench_run(bench, NODE(bench, logical_not, 1, x)), 0, 1);
    bench_close(bench);
}

static ir_node *convert_node(test_bench *bench, ir_value *x, const char *type)
{
    ir_node *node = NODE(bench, convert, 1, x);
    if (ir_node_set_string(node, "type", type) != TD_OK)
        abort();
    return node;
}

TEST(conversions_truncate_and_saturate)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(5), 2.9f, -2.9f, 1e30f, -1e30f, NAN);
    CHECK_INTEGERS(bench_run(bench, convert_node(bench, x, "i32")), 2, -2, INT32_MAX, INT32_MIN, 0);
    bench_close(bench);
    bench = bench_open(0);
    x = FLOATS(bench, DIMS(3), 0.0f, -0.5f, 3.0f);
    CHECK_INTEGERS(bench_run(bench, convert_node(bench, x, "bool")), 0, 1, 1);
    bench_close(bench);
    bench = bench_open(0);
    x = INTEGERS(bench, DIMS(3), 300, -1, 16777217);
    CHECK_INTEGERS(bench_run(bench, convert_node(bench, x, "u8")), 44, 255, 1);
    bench_close(bench);
    bench = bench_open(0);
    x = INTEGERS(bench, DIMS(2), -3, 16777217);
    CHECK_FLOATS(bench_run(bench, convert_node(bench, x, "f32")), -3.0f, 16777216.0f);
    bench_close(bench);
}

TEST(f64_to_f16_rounds_once)
{
    /* Through f32 this would be rounded to the tie first, and then to even: 1 */
    test_bench *bench = bench_open(0);
    double numbers[] = {1.0 + 0x1p-11 + 0x1p-40, 1.0 + 0x1p-11, 70000.0};
    ir_value *x = bench_input(bench, IR_F64, DIMS(3), numbers);
    const ir_tensor *result = bench_run(bench, convert_node(bench, x, "f16"));
    CHECK(result != NULL);
    const uint16_t *bits = result->data;
    CHECK(bits[0] == 0x3c01 && bits[1] == 0x3c00 && bits[2] == 0x7c00);
    bench_close(bench);
}

TEST(select_broadcasts)
{
    test_bench *bench = bench_open(0);
    ir_value *condition = BOOLS(bench, DIMS(2, 1), 1, 0);
    ir_value *a = FLOATS(bench, DIMS(3), 1.0f, 2.0f, 3.0f), *b = FLOATS(bench, DIMS(1), 9.0f);
    const ir_tensor *result = bench_run(bench, NODE(bench, select, 1, condition, a, b));
    CHECK_DIMS(result, 2, 3);
    CHECK_FLOATS(result, 1.0f, 2.0f, 3.0f, 9.0f, 9.0f, 9.0f);
    bench_close(bench);
}

/* Property: broadcasting equals naive loops, for random shapes whose axes are 1 or shared. */
TEST(broadcasting_equals_naive_loops)
{
    uint64_t seed = 5;
    for (int round = 0; round < 60; round++) {
        int64_t a_dims[3], b_dims[3], out[3];
        for (int i = 0; i < 3; i++) {
            int64_t size = 1 + (int64_t)(td_random_next(&seed) % 4);
            a_dims[i] = td_random_next(&seed) % 3 == 0 ? 1 : size;
            b_dims[i] = td_random_next(&seed) % 3 == 0 ? 1 : size;
            out[i] = a_dims[i] > b_dims[i] ? a_dims[i] : b_dims[i];
        }
        uint32_t skip = a_dims[0] == 1 ? 1 : 0; /* a may have fewer dimensions */
        float a_data[64], b_data[64], expected[64];
        random_floats(seed, 64, a_data);
        random_floats(seed + 1, 64, b_data);
        size_t count = 0;
        for (int64_t i = 0; i < out[0]; i++)
            for (int64_t j = 0; j < out[1]; j++)
                for (int64_t k = 0; k < out[2]; k++) {
                    int64_t at_a =
                        ((i % a_dims[0]) * a_dims[1] + j % a_dims[1]) * a_dims[2] + k % a_dims[2];
                    int64_t at_b =
                        ((i % b_dims[0]) * b_dims[1] + j % b_dims[1]) * b_dims[2] + k % b_dims[2];
                    expected[count++] = a_data[at_a] - b_data[at_b];
                }
        test_bench *bench = bench_open(0);
        ir_value *a = bench_input(bench, IR_F32, 3 - skip, a_dims + skip, a_data);
        ir_value *b = bench_input(bench, IR_F32, 3, b_dims, b_data);
        const ir_tensor *result = bench_run(bench, BINARY(bench, subtract));
        CHECK_MESSAGE(same_dims(result, 3, out) && same_floats(result, count, expected), "%s",
                      bench->context.message);
        bench_close(bench);
    }
}

TEST_MAIN()
