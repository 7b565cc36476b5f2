/* Reductions and data movement: golden values, properties, refusals.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/ir/evaluate_bench.h"

#define SET_INT(node, name, value) CHECK(ir_node_set_int(node, name, value) == TD_OK)
#define SET_INTS(node, name, ...)                                                                  \
    CHECK(ir_node_set_ints(node, name, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),         \
                           (int64_t[]){__VA_ARGS__}) == TD_OK)
#define SIX(bench) FLOATS(bench, DIMS(2, 3), 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f)

TEST(reductions)
{
    const struct {
        ir_opcode op;
        int64_t axis, keep;
        size_t count;
        float expected[3];
    } rows[] = {
        {IR_OP_reduce_sum, 1, 0, 2, {6.0f, 15.0f}},
        {IR_OP_reduce_sum, 0, 1, 3, {5.0f, 7.0f, 9.0f}},
        {IR_OP_reduce_mean, 0, 0, 3, {2.5f, 3.5f, 4.5f}},
        {IR_OP_reduce_product, 1, 0, 2, {6.0f, 120.0f}},
        {IR_OP_reduce_maximum, 0, 0, 3, {4.0f, 5.0f, 6.0f}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_bench *bench = bench_open(0);
        ir_value *x = SIX(bench);
        ir_node *node = bench_node(bench, rows[i].op, 1, 1, &x);
        SET_INTS(node, "axes", rows[i].axis);
        SET_INT(node, "keep", rows[i].keep);
        const ir_tensor *result = bench_run(bench, node);
        CHECK_MESSAGE(same_floats(result, rows[i].count, rows[i].expected), "row %zu %s", i,
                      bench->context.message);
        CHECK(result->rank == (rows[i].keep != 0 ? 2 : 1));
        bench_close(bench);
    }
}

TEST(softmax_along_any_axis)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2, 2), 0.0f, 1000.0f, 0.0f, 0.0f);
    ir_node *node = NODE(bench, softmax, 1, x);
    SET_INT(node, "axis", 0);
    CHECK_FLOATS(bench_run(bench, node), 0.5f, 1.0f, 0.5f, 0.0f);
    bench_close(bench);
}

TEST(top_k_keeps_the_order_of_equals)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2, 4), 1.0f, 3.0f, 3.0f, 2.0f, 9.0f, 8.0f, 7.0f, 6.0f);
    ir_value *k = INTEGERS(bench, DIMS(1), 2);
    ir_node *node = NODE(bench, top_k, 2, x, k);
    SET_INT(node, "axis", 1);
    CHECK_FLOATS(bench_run(bench, node), 3.0f, 3.0f, 9.0f, 8.0f);
    CHECK_INTEGERS(ir_evaluator_value(bench->evaluator, node->outputs[1]), 1, 2, 0, 1);
    bench_close(bench);
    bench = bench_open(0);
    x = FLOATS(bench, DIMS(3, 1), 5.0f, 1.0f, 3.0f);
    k = INTEGERS(bench, DIMS(1), 3);
    node = NODE(bench, top_k, 2, x, k);
    SET_INT(node, "axis", 0);
    SET_INT(node, "largest", 0);
    CHECK_FLOATS(bench_run(bench, node), 1.0f, 3.0f, 5.0f);
    CHECK_INTEGERS(ir_evaluator_value(bench->evaluator, node->outputs[1]), 1, 2, 0);
    bench_close(bench);
}

TEST(shape_of_and_reshape)
{
    test_bench *bench = bench_open(0);
    ir_value *x = SIX(bench);
    CHECK_INTEGERS(bench_run(bench, NODE(bench, shape_of, 1, x)), 2, 3);
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    ir_value *shape = INTEGERS(bench, DIMS(3), 0, -1, 1);
    ir_node *node = NODE(bench, reshape, 1, x, shape);
    SET_INT(node, "special_zero", 1);
    const ir_tensor *result = bench_run(bench, node);
    CHECK_DIMS(result, 2, 3, 1);
    CHECK_FLOATS(result, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    shape = INTEGERS(bench, DIMS(2), 4, -1);
    CHECK_FAILS(bench, NODE(bench, reshape, 1, x, shape), "\"tested\": 6 elements");
    bench_close(bench);
}

TEST(transpose_twice_is_the_identity)
{
    float data[24];
    random_floats(3, 24, data);
    test_bench *bench = bench_open(0);
    ir_value *x = bench_input(bench, IR_F32, DIMS(2, 3, 4), data);
    ir_node *first = NODE(bench, transpose, 1, x);
    SET_INTS(first, "perm", 2, 0, 1);
    bench_infer(bench, first);
    ir_node *second = NODE(bench, transpose, 1, first->outputs[0]);
    SET_INTS(second, "perm", 1, 2, 0);
    const ir_tensor *result = bench_run(bench, second);
    CHECK_DIMS(result, 2, 3, 4);
    CHECK(same_floats(result, 24, data));
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    first = NODE(bench, transpose, 1, x);
    SET_INTS(first, "perm", 1, 0);
    CHECK_FLOATS(bench_run(bench, first), 1.0f, 4.0f, 2.0f, 5.0f, 3.0f, 6.0f);
    bench_close(bench);
}

TEST(broadcast_and_tile)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2, 1), 1.0f, 2.0f), *shape = INTEGERS(bench, DIMS(3), 2, 2, 2);
    const ir_tensor *result = bench_run(bench, NODE(bench, broadcast, 1, x, shape));
    CHECK_DIMS(result, 2, 2, 2);
    CHECK_FLOATS(result, 1.0f, 1.0f, 2.0f, 2.0f, 1.0f, 1.0f, 2.0f, 2.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = FLOATS(bench, DIMS(2, 1), 1.0f, 2.0f);
    shape = INTEGERS(bench, DIMS(2), 1, 3);
    ir_node *node = NODE(bench, broadcast, 1, x, shape);
    SET_INT(node, "bidirectional", 1);
    CHECK_FLOATS(bench_run(bench, node), 1.0f, 1.0f, 1.0f, 2.0f, 2.0f, 2.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = FLOATS(bench, DIMS(1, 2), 1.0f, 2.0f);
    shape = INTEGERS(bench, DIMS(3), 2, 2, 2);
    result = bench_run(bench, NODE(bench, tile, 1, x, shape));
    CHECK_DIMS(result, 2, 2, 4);
    CHECK_FLOATS(result, 1.0f, 2.0f, 1.0f, 2.0f, 1.0f, 2.0f, 1.0f, 2.0f, 1.0f, 2.0f, 1.0f, 2.0f,
                 1.0f, 2.0f, 1.0f, 2.0f);
    bench_close(bench);
}

TEST(concat_undoes_split)
{
    test_bench *bench = bench_open(0);
    ir_value *x = SIX(bench);
    ir_node *split = NODE(bench, split, 2, x);
    SET_INT(split, "axis", 1);
    SET_INTS(split, "lengths", 1, 2);
    bench_infer(bench, split);
    ir_node *concat = NODE(bench, concat, 1, split->outputs[1], split->outputs[0]);
    SET_INT(concat, "axis", 1);
    CHECK_FLOATS(bench_run(bench, concat), 2.0f, 3.0f, 1.0f, 5.0f, 6.0f, 4.0f);
    bench_close(bench);
}

TEST(gather_counts_negative_indices_from_the_end)
{
    test_bench *bench = bench_open(0);
    ir_value *x = SIX(bench), *at = INTEGERS(bench, DIMS(2, 1), -1, 0);
    ir_node *node = NODE(bench, gather, 1, x, at);
    SET_INT(node, "axis", 1);
    const ir_tensor *result = bench_run(bench, node);
    CHECK_DIMS(result, 2, 2, 1);
    CHECK_FLOATS(result, 3.0f, 1.0f, 6.0f, 4.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    at = INTEGERS(bench, DIMS(2, 2), 0, 1, 2, 2);
    node = NODE(bench, gather, 1, x, at);
    SET_INT(node, "axis", 1);
    SET_INT(node, "batch_dims", 1);
    CHECK_FLOATS(bench_run(bench, node), 1.0f, 2.0f, 6.0f, 6.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    at = INTEGERS(bench, DIMS(1), 3);
    node = NODE(bench, gather, 1, x, at);
    SET_INT(node, "axis", 1);
    CHECK_FAILS(bench, node, "gather \"tested\": index 3 is outside a dimension of size 3");
    bench_close(bench);
}

TEST(slice_clamps_and_walks_backwards)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(5), 0.0f, 1.0f, 2.0f, 3.0f, 4.0f);
    ir_node *node = NODE(bench, slice, 1, x, INTEGERS(bench, DIMS(1), -2),
                         INTEGERS(bench, DIMS(1), -100), INTEGERS(bench, DIMS(1), -2));
    SET_INTS(node, "axes", 0);
    CHECK_FLOATS(bench_run(bench, node), 3.0f, 1.0f);
    bench_close(bench);
}

/* x is [2, 3, 4] with element values 0 .. 23. */
static ir_node *masked_slice(test_bench *bench, float *data, const int64_t *begin,
                             const int64_t *end, const int64_t *step)
{
    for (int i = 0; i < 24; i++)
        data[i] = (float)i;
    return NODE(bench, strided_slice, 1, bench_input(bench, IR_F32, DIMS(2, 3, 4), data),
                bench_input(bench, IR_I64, DIMS(3), begin),
                bench_input(bench, IR_I64, DIMS(3), end),
                bench_input(bench, IR_I64, DIMS(3), step));
}

TEST(strided_slice_masks)
{
    float data[24];
    /* x[1, ..., ::-2] */
    test_bench *bench = bench_open(0);
    ir_node *node = masked_slice(bench, data, (int64_t[]){1, 0, 0}, (int64_t[]){2, 0, 0},
                                 (int64_t[]){1, 1, -2});
    SET_INTS(node, "shrink_axis_mask", 1, 0, 0);
    SET_INTS(node, "ellipsis_mask", 0, 1, 0);
    SET_INTS(node, "begin_mask", 0, 0, 1);
    SET_INTS(node, "end_mask", 0, 0, 1);
    const ir_tensor *result = bench_run(bench, node);
    CHECK_DIMS(result, 3, 2);
    CHECK_FLOATS(result, 15.0f, 13.0f, 19.0f, 17.0f, 23.0f, 21.0f);
    bench_close(bench);
    /* x[-1, newaxis, 1:2] */
    bench = bench_open(0);
    node = masked_slice(bench, data, (int64_t[]){-1, 0, 1}, (int64_t[]){0, 0, 2},
                        (int64_t[]){1, 1, 1});
    SET_INTS(node, "shrink_axis_mask", 1, 0, 0);
    SET_INTS(node, "new_axis_mask", 0, 1, 0);
    result = bench_run(bench, node);
    CHECK_DIMS(result, 1, 1, 4);
    CHECK_FLOATS(result, 16.0f, 17.0f, 18.0f, 19.0f);
    bench_close(bench);
    /* x[2] */
    bench = bench_open(0);
    node =
        masked_slice(bench, data, (int64_t[]){2, 0, 0}, (int64_t[]){3, 3, 4}, (int64_t[]){1, 1, 1});
    SET_INTS(node, "shrink_axis_mask", 1, 0, 0);
    CHECK_FAILS(bench, node, "index 2 is outside dimension 0 of size 2");
    bench_close(bench);
}

/* Property: strided_slice without masks is slice over all axes. */
TEST(strided_slice_equals_slice)
{
    uint64_t seed = 11;
    for (int round = 0; round < 100; round++) {
        int64_t begin[3], end[3], step[3];
        for (int i = 0; i < 3; i++) {
            begin[i] = (int64_t)(td_random_next(&seed) % 11) - 5;
            end[i] = (int64_t)(td_random_next(&seed) % 11) - 5;
            step[i] = (int64_t)(td_random_next(&seed) % 5) - 2;
            step[i] = step[i] == 0 ? 3 : step[i];
        }
        float data[24];
        test_bench *bench = bench_open(0);
        ir_node *masked = masked_slice(bench, data, begin, end, step);
        ir_node *plain = bench_node(bench, IR_OP_slice, 1, 4, masked->inputs);
        SET_INTS(plain, "axes", 0, 1, 2);
        bench_infer(bench, masked);
        CHECK(ir_graph_add_output(bench->graph, "masked", masked->outputs[0]) == TD_OK);
        const ir_tensor *a = bench_run(bench, plain);
        CHECK_MESSAGE(a != NULL, "%s", bench->context.message);
        const ir_tensor *b = ir_evaluator_value(bench->evaluator, masked->outputs[0]);
        CHECK(b != NULL && same_dims(b, a->rank, a->dim) && same_floats(a, b->elements, b->data));
        bench_close(bench);
    }
}

TEST(ranges)
{
    test_bench *bench = bench_open(0);
    ir_node *node = NODE(bench, range, 1, INTEGERS(bench, SCALAR, 5), INTEGERS(bench, SCALAR, 0),
                         INTEGERS(bench, SCALAR, -2));
    CHECK(ir_node_set_string(node, "type", "i32") == TD_OK);
    CHECK_INTEGERS(bench_run(bench, node), 5, 3, 1);
    bench_close(bench);
    bench = bench_open(0);
    node = NODE(bench, range, 1, FLOATS(bench, SCALAR, 0.0f), FLOATS(bench, SCALAR, 1.0f),
                FLOATS(bench, SCALAR, 0.4f));
    CHECK(ir_node_set_string(node, "type", "f32") == TD_OK);
    CHECK_FLOATS(bench_run(bench, node), 0.0f, 0.4f, 0.8f);
    bench_close(bench);
    bench = bench_open(0);
    node = NODE(bench, range, 1, INTEGERS(bench, SCALAR, 5), INTEGERS(bench, SCALAR, 0),
                INTEGERS(bench, SCALAR, 0));
    CHECK_FAILS(bench, node, "is no range");
    bench_close(bench);
}

TEST(scatter_update_replaces_slices)
{
    test_bench *bench = bench_open(0);
    ir_value *x = SIX(bench), *at = INTEGERS(bench, DIMS(1), -1);
    ir_value *updates = FLOATS(bench, DIMS(2, 1), 30.0f, 60.0f);
    ir_node *node = NODE(bench, scatter_update, 1, x, at, updates);
    SET_INT(node, "axis", 1);
    CHECK_FLOATS(bench_run(bench, node), 1.0f, 2.0f, 30.0f, 4.0f, 5.0f, 60.0f);
    bench_close(bench);
}

TEST(scatter_nd_update_replaces_by_tuples)
{
    test_bench *bench = bench_open(0);
    ir_value *x = SIX(bench), *at = INTEGERS(bench, DIMS(2, 2), 0, 1, 1, -3);
    ir_value *updates = FLOATS(bench, DIMS(2), 20.0f, 40.0f);
    CHECK_FLOATS(bench_run(bench, NODE(bench, scatter_nd_update, 1, x, at, updates)), 1.0f, 20.0f,
                 3.0f, 40.0f, 5.0f, 6.0f);
    bench_close(bench);
    bench = bench_open(0);
    x = SIX(bench);
    at = INTEGERS(bench, DIMS(1, 1), 2);
    updates = FLOATS(bench, DIMS(1, 3), 1.0f, 1.0f, 1.0f);
    CHECK_FAILS(bench, NODE(bench, scatter_nd_update, 1, x, at, updates), "index 2 is outside");
    bench_close(bench);
}

static void check_scatter_elements(const char *reduction, int64_t use_initial,
                                   const float *expected)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(3), 1.0f, 2.0f, 3.0f);
    ir_value *at = INTEGERS(bench, DIMS(3), 0, 0, 2);
    ir_value *updates = FLOATS(bench, DIMS(3), 5.0f, 6.0f, -4.0f);
    ir_node *node = NODE(bench, scatter_elements_update, 1, x, at, updates);
    SET_INT(node, "axis", 0);
    SET_INT(node, "use_initial", use_initial);
    CHECK(ir_node_set_string(node, "reduction", reduction) == TD_OK);
    CHECK_MESSAGE(same_floats(bench_run(bench, node), 3, expected), "%s", reduction);
    bench_close(bench);
}

TEST(scatter_elements_update_combines)
{
    check_scatter_elements("none", 1, (float[]){6.0f, 2.0f, -4.0f});
    check_scatter_elements("sum", 1, (float[]){12.0f, 2.0f, -1.0f});
    check_scatter_elements("sum", 0, (float[]){11.0f, 2.0f, -4.0f});
    check_scatter_elements("prod", 1, (float[]){30.0f, 2.0f, -12.0f});
    check_scatter_elements("min", 1, (float[]){1.0f, 2.0f, -4.0f});
    check_scatter_elements("max", 0, (float[]){6.0f, 2.0f, -4.0f});
    check_scatter_elements("mean", 1, (float[]){4.0f, 2.0f, -0.5f});
}

TEST_MAIN()
