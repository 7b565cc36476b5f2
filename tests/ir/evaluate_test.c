/* The evaluator's driver: cones, symbols, states, lifetimes, refusals.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"
#include "tests/ir/evaluate_bench.h"

TEST(every_op_but_opaque_has_an_evaluator)
{
    for (int op = 0; op < IR_OP_COUNT; op++)
        CHECK_MESSAGE((ir_evaluate_row_of((ir_opcode)op) == NULL) == (op == IR_OP_opaque), "%s",
                      ir_op((ir_opcode)op)->name);
}

TEST(opaque_is_refused_by_name)
{
    test_bench *bench = bench_open(0);
    ir_node *node = NODE(bench, opaque, 1, FLOATS(bench, DIMS(1), 1.0f));
    CHECK(ir_node_set_string(node, "type", "GridSample") == TD_OK);
    CHECK_FAILS(bench, node, "main: node 0 opaque \"tested\": operation GridSample is only listed");
    bench_close(bench);
}

/* y = a + b, z = shape_of(y): z's cone needs neither a's nor b's data when the symbol is told. */
TEST(cones_need_only_what_they_read)
{
    test_bench *bench = bench_open(0);
    ir_symbol tokens;
    CHECK(ir_module_add_symbol(bench->module, "tokens", 64, &tokens) == TD_OK);
    ir_shape shape = {.rank = 1, .dim = {ir_dim_symbol(tokens)}};
    ir_value *a, *b;
    CHECK(ir_graph_add_input(bench->graph, "a", IR_F32, &shape, &a) == TD_OK);
    CHECK(ir_graph_add_input(bench->graph, "b", IR_F32, &shape, &b) == TD_OK);
    ir_node *sum = bench_infer(bench, NODE(bench, add, 1, a, b));
    ir_node *size = bench_infer(bench, NODE(bench, shape_of, 1, sum->outputs[0]));
    ir_node *twice = bench_infer(bench, NODE(bench, add, 1, a, a));
    ir_tensor inputs[2] = {{0}, {0}};
    const ir_tensor *result;
    int64_t five = 5;
    CHECK_MESSAGE(ir_evaluate_cone(bench->evaluator, bench->graph, size->outputs[0], &five, inputs,
                                   &result) == TD_OK,
                  "%s", bench->context.message);
    CHECK_INTEGERS(result, 5);
    float data[] = {1.0f, 2.0f};
    inputs[0] = (ir_tensor){.type = IR_F32, .rank = 1, .dim = {2}, .elements = 2, .data = data};
    CHECK(ir_evaluate_cone(bench->evaluator, bench->graph, twice->outputs[0], NULL, inputs,
                           &result) == TD_OK);
    CHECK_FLOATS(result, 2.0f, 4.0f);
    CHECK(ir_evaluate_cone(bench->evaluator, bench->graph, sum->outputs[0], NULL, inputs,
                           &result) == TD_INVALID);
    CHECK_MESSAGE(strstr(bench->context.message, "(graph input \"b\") was given no data") != NULL,
                  "%s", bench->context.message);
    /* an unknown symbol takes the size that is met first, and holds for the rest */
    float more[] = {1.0f, 2.0f, 3.0f};
    inputs[1] = (ir_tensor){.type = IR_F32, .rank = 1, .dim = {3}, .elements = 3, .data = more};
    CHECK(ir_evaluator_run(bench->evaluator, bench->graph, NULL, inputs, false) == TD_INVALID);
    CHECK_MESSAGE(
        strstr(bench->context.message, "input 1 \"b\": dimension 0 is 3; 2 is declared") != NULL,
        "%s", bench->context.message);
    bench_close(bench);
}

/* A shape_of that needs no tensor must not count as a reader of one that others read. */
TEST(shapes_do_not_release_what_others_read)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2), 1.0f, -2.0f);
    ir_node *first = bench_infer(bench, NODE(bench, negate, 1, x));
    ir_node *size = bench_infer(bench, NODE(bench, shape_of, 1, first->outputs[0]));
    ir_node *same =
        bench_infer(bench, NODE(bench, reshape, 1, first->outputs[0], size->outputs[0]));
    ir_node *sum = bench_infer(bench, NODE(bench, add, 1, same->outputs[0], first->outputs[0]));
    const ir_tensor *result;
    CHECK_MESSAGE(ir_evaluate_cone(bench->evaluator, bench->graph, sum->outputs[0], NULL,
                                   bench->inputs, &result) == TD_OK,
                  "%s", bench->context.message);
    CHECK_FLOATS(result, -2.0f, 4.0f);
    bench_close(bench);
}

TEST(wrong_declared_shapes_are_refused)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2, 3), 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f);
    ir_node *node = bench_infer(bench, NODE(bench, negate, 1, x));
    node->outputs[0]->shape.dim[1] = ir_dim_constant(4);
    CHECK(ir_graph_add_output(bench->graph, "y", node->outputs[0]) == TD_OK);
    CHECK(ir_evaluator_run(bench->evaluator, bench->graph, NULL, bench->inputs, false) ==
          TD_INVALID);
    CHECK_STRING(bench->context.message,
                 "main: node 0 negate \"tested\": output 0: dimension 1 is 3; 4 is declared");
    bench_close(bench);
}

TEST(values_are_kept_when_asked_for)
{
    test_bench *bench = bench_open(0);
    ir_value *x = FLOATS(bench, DIMS(2), 1.0f, -2.0f);
    ir_node *first = bench_infer(bench, NODE(bench, negate, 1, x));
    ir_node *second = bench_infer(bench, NODE(bench, absolute, 1, first->outputs[0]));
    CHECK(ir_graph_add_output(bench->graph, "y", second->outputs[0]) == TD_OK);
    for (int keep = 0; keep < 2; keep++) {
        CHECK(ir_evaluator_run(bench->evaluator, bench->graph, NULL, bench->inputs, keep != 0) ==
              TD_OK);
        CHECK((ir_evaluator_value(bench->evaluator, first->outputs[0]) != NULL) == (keep != 0));
        CHECK_FLOATS(ir_evaluator_value(bench->evaluator, second->outputs[0]), 1.0f, 2.0f);
    }
    CHECK_FLOATS(ir_evaluator_value(bench->evaluator, first->outputs[0]), -1.0f, 2.0f);
    bench_close(bench);
}

/* past = read_state (initially empty); all = concat(past, x); write_state(all). */
TEST(plain_states_live_between_runs)
{
    test_bench *bench = bench_open(0);
    ir_symbol past;
    CHECK(ir_module_add_symbol(bench->module, "past", 64, &past) == TD_OK);
    ir_state *added;
    ir_state state = {.name = "past",
                      .kind = IR_STATE_PLAIN,
                      .type = IR_F32,
                      .shape = {.rank = 1, .dim = {ir_dim_symbol(past)}}};
    CHECK(ir_module_add_state(bench->module, &state, &added) == TD_OK);
    ir_value *x = FLOATS(bench, DIMS(2), 1.0f, 2.0f);
    ir_node *read = bench_node(bench, IR_OP_read_state, 1, 0, NULL);
    CHECK(ir_node_set_string(read, "state", "past") == TD_OK);
    bench_infer(bench, read);
    ir_node *all = NODE(bench, concat, 1, read->outputs[0], x);
    CHECK(ir_node_set_int(all, "axis", 0) == TD_OK);
    bench_infer(bench, all);
    ir_node *write = NODE(bench, write_state, 0, all->outputs[0]);
    CHECK(ir_node_set_string(write, "state", "past") == TD_OK);
    bench_infer(bench, write);
    CHECK(!bench->failed);
    CHECK(ir_graph_add_output(bench->graph, "all", all->outputs[0]) == TD_OK);
    for (int64_t length = 0; length < 6; length += 2) {
        CHECK_MESSAGE(ir_evaluator_run(bench->evaluator, bench->graph, &length, bench->inputs,
                                       false) == TD_OK,
                      "%s", bench->context.message);
        CHECK_DIMS(ir_evaluator_value(bench->evaluator, all->outputs[0]), length + 2);
    }
    CHECK_FLOATS(ir_evaluator_value(bench->evaluator, all->outputs[0]), 1.0f, 2.0f, 1.0f, 2.0f,
                 1.0f, 2.0f);
    /* a wrong claim about the state's length is refused, and the state stays */
    int64_t wrong = 3, right = 6;
    CHECK(ir_evaluator_run(bench->evaluator, bench->graph, &wrong, bench->inputs, false) ==
          TD_INVALID);
    CHECK(ir_evaluator_run(bench->evaluator, bench->graph, &right, bench->inputs, false) == TD_OK);
    /* never written, but said to hold three: zeros, for cones that ask about shapes */
    ir_evaluator_reset(bench->evaluator);
    const ir_tensor *result;
    CHECK(ir_evaluate_cone(bench->evaluator, bench->graph, read->outputs[0], &wrong, bench->inputs,
                           &result) == TD_OK);
    CHECK_FLOATS(result, 0.0f, 0.0f, 0.0f);
    bench_close(bench);
}

TEST(constants_are_read_in_every_type)
{
    test_bench *bench = bench_open(0);
    const struct {
        ir_type type;
        uint8_t bytes[2];
        int64_t expected[3];
    } rows[] = {
        {IR_U4, {0xf1, 0x08}, {1, 15, 8}},
        {IR_I4, {0xf1, 0x08}, {1, -1, -8}},
    };
    ir_shape shape = ir_shape_of(1, (int64_t[]){3});
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        ir_constant *constant;
        ir_value *value;
        CHECK(ir_module_add_constant_bytes(bench->module, "c", rows[i].type, &shape, rows[i].bytes,
                                           &constant) == TD_OK);
        CHECK(ir_graph_add_constant(bench->graph, constant, &value) == TD_OK);
        ir_node *node = NODE(bench, convert, 1, value);
        CHECK(ir_node_set_string(node, "type", "i64") == TD_OK);
        CHECK(same_integers(bench_run(bench, node), 3, rows[i].expected));
    }
    bench_close(bench);
}

TEST_MAIN()
