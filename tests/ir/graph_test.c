/* Building and changing graphs: order, readers, numbers, attributes, dead nodes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

#include "tests/test.h"

/* x -> a = x + x -> b = a * 2 -> output; unused = negate(a); and a state that is written. */
typedef struct fixture {
    td_context context;
    ir_module *module;
    ir_graph *graph;
    ir_value *x, *two;
    ir_node *a, *b, *unused, *write;
} fixture;

static void build(fixture *f)
{
    *f = (fixture){0};
    td_context_init(&f->context);
    ir_shape shape = ir_shape_of(1, (int64_t[]){4});
    ir_state *state = NULL;
    bool built =
        ir_module_create(&f->context, "m", &f->module) == TD_OK &&
        ir_module_add_state(f->module, &(ir_state){.name = "s", .shape = shape}, &state) == TD_OK &&
        ir_module_add_graph(f->module, "g", &f->graph) == TD_OK &&
        ir_graph_add_input(f->graph, "x", IR_F32, &shape, &f->x) == TD_OK &&
        ir_graph_add_f32(f->graph, 2, &f->two) == TD_OK &&
        ir_graph_add_node(f->graph, IR_OP_add, "a", 2, (ir_value *[]){f->x, f->x}, 1, &f->a) ==
            TD_OK &&
        ir_node_infer(f->a) == TD_OK &&
        ir_graph_add_node(f->graph, IR_OP_multiply, "b", 2,
                          (ir_value *[]){f->a->outputs[0], f->two}, 1, &f->b) == TD_OK &&
        ir_node_infer(f->b) == TD_OK &&
        ir_graph_add_node(f->graph, IR_OP_negate, "unused", 1, f->a->outputs, 1, &f->unused) ==
            TD_OK &&
        ir_node_infer(f->unused) == TD_OK &&
        ir_graph_add_node(f->graph, IR_OP_write_state, "write", 1, f->unused->outputs, 0,
                          &f->write) == TD_OK &&
        ir_node_set_string(f->write, "state", "s") == TD_OK &&
        ir_graph_add_output(f->graph, "y", f->b->outputs[0]) == TD_OK;
    if (!built) {
        printf("%s\n", f->context.message);
        abort();
    }
}

TEST(types_and_shapes_flow)
{
    fixture f;
    build(&f);
    CHECK(f.b->outputs[0]->type == IR_F32);
    CHECK(ir_shape_equal(&f.b->outputs[0]->shape, &f.x->shape));
    CHECK(ir_verify(f.module) == TD_OK);
    ir_module_release(f.module);
}

TEST(numbers_are_dense_and_in_order)
{
    fixture f;
    build(&f);
    ir_graph_number(f.graph);
    CHECK(f.graph->node_count == 4 && f.graph->value_count == 5);
    CHECK(f.x->id == 0 && f.a->outputs[0]->id == 1 && f.two->id == 2 && f.b->outputs[0]->id == 3);
    CHECK(f.a->id == 0 && f.write->id == 3);
    ir_module_release(f.module);
}

TEST(readers)
{
    fixture f;
    build(&f);
    ir_uses uses;
    CHECK(ir_uses_build(f.graph, &uses) == TD_OK);
    CHECK(ir_uses_count(&uses, f.x) == 2); /* one entry for each operand */
    CHECK(uses.readers[uses.offsets[f.x->id]] == f.a);
    CHECK(ir_uses_count(&uses, f.a->outputs[0]) == 2);
    CHECK(uses.readers[uses.offsets[f.a->outputs[0]->id]] == f.b);
    CHECK(uses.readers[uses.offsets[f.a->outputs[0]->id] + 1] == f.unused);
    CHECK(ir_uses_count(&uses, f.two) == 1 && ir_uses_count(&uses, f.b->outputs[0]) == 0);
    CHECK(uses.is_output[f.b->outputs[0]->id] && !uses.is_output[f.a->outputs[0]->id]);
    ir_uses_release(&f.context, &uses);
    ir_module_release(f.module);
}

TEST(replacing_reaches_nodes_and_outputs)
{
    fixture f;
    build(&f);
    ir_graph_replace(f.graph, f.b->outputs[0], f.a->outputs[0]);
    ir_graph_replace(f.graph, f.a->outputs[0], f.x);
    CHECK(f.graph->outputs[0] == f.x && f.b->inputs[0] == f.x && f.unused->inputs[0] == f.x);
    ir_module_release(f.module);
}

TEST(dead_nodes_go_and_effects_stay)
{
    fixture f;
    build(&f);
    ir_graph_replace(f.graph, f.b->outputs[0], f.x);
    CHECK(ir_graph_remove_dead(f.graph) == TD_OK);
    CHECK(f.graph->node_count == 3); /* b went; a and unused feed the write */
    CHECK(f.graph->first == f.a && f.a->next == f.unused && f.graph->last == f.write);
    ir_graph_remove_node(f.graph, f.write);
    CHECK(ir_graph_remove_dead(f.graph) == TD_OK);
    CHECK(f.graph->first == NULL && f.graph->last == NULL);
    ir_module_release(f.module);
}

TEST(inserting_and_moving)
{
    fixture f;
    build(&f);
    ir_node *node = NULL;
    CHECK(ir_graph_insert_node(f.graph, f.a, IR_OP_silu, NULL, 1, &f.x, 1, &node) == TD_OK);
    CHECK(f.graph->first == node && node->next == f.a && f.a->previous == node);
    CHECK_STRING(node->name, "");
    ir_graph_move_node(f.graph, node, NULL);
    CHECK(f.graph->first == f.a && f.graph->last == node && f.write->next == node);
    ir_graph_move_node(f.graph, node, f.b);
    CHECK(f.a->next == node && node->next == f.b);
    ir_graph_move_node(f.graph, node, node);
    CHECK(f.a->next == node && node->next == f.b);
    ir_module_release(f.module);
}

TEST(arity_is_checked)
{
    fixture f;
    build(&f);
    ir_node *node = NULL;
    CHECK(ir_graph_add_node(f.graph, IR_OP_add, "n", 1, &f.x, 1, &node) == TD_INVALID);
    CHECK(ir_graph_add_node(f.graph, IR_OP_negate, "n", 2, (ir_value *[]){f.x, f.x}, 1, &node) ==
          TD_INVALID);
    CHECK(ir_graph_add_node(f.graph, IR_OP_negate, "n", 1, &f.x, 2, &node) == TD_INVALID);
    CHECK(ir_graph_add_node(f.graph, IR_OP_COUNT, "n", 1, &f.x, 1, &node) == TD_INTERNAL);
    CHECK(f.graph->last == f.write);
    ir_module_release(f.module);
}

TEST(attributes)
{
    fixture f;
    build(&f);
    ir_node *node = f.a;
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "a%d", i);
        CHECK(ir_node_set_int(node, name, i) == TD_OK);
    }
    CHECK(ir_node_set_float(node, "a3", 1.5) == TD_OK); /* replaces */
    CHECK(ir_node_set_ints(node, "list", 2, (int64_t[]){4, 5}) == TD_OK);
    CHECK(ir_node_set_ints(node, "empty", 0, NULL) == TD_OK);
    CHECK(node->attribute_count == 22);
    CHECK(ir_node_int(node, "a7", -1) == 7 && ir_node_int(node, "none", -1) == -1);
    CHECK(ir_node_int(node, "a3", -1) == -1 && ir_node_float(node, "a3", 0) == 1.5);
    CHECK(ir_node_float(node, "a7", 0) == 7); /* integers serve as numbers */
    CHECK(ir_node_attribute(node, "list")->count == 2);
    CHECK(ir_node_attribute(node, "list")->integers[1] == 5);
    CHECK_STRING(ir_node_string(f.write, "state", ""), "s");
    CHECK_STRING(ir_node_string(node, "a7", "otherwise"), "otherwise");
    ir_module_release(f.module);
}

/* Releases are seen in reverse order. */
static void record(td_context *context, void *object)
{
    (void)context;
    char **order = object;
    *(*order)++ = 'x';
}

TEST(owned_things_are_released)
{
    fixture f;
    build(&f);
    char buffer[4] = {0}, *at = buffer;
    CHECK(ir_module_own(f.module, record, &at) == TD_OK);
    CHECK(ir_module_own(f.module, record, &at) == TD_OK);
    ir_module_release(f.module);
    CHECK_STRING(buffer, "xx");
    ir_module_release(NULL);
}

TEST(names_of_graphs_and_states_are_unique)
{
    fixture f;
    build(&f);
    ir_graph *graph = NULL;
    ir_state *state = NULL;
    CHECK(ir_module_add_graph(f.module, "g", &graph) == TD_INVALID);
    CHECK(ir_module_add_state(f.module, &(ir_state){.name = "s"}, &state) == TD_INVALID);
    CHECK(ir_module_find_graph(f.module, "g") == f.graph);
    CHECK(ir_module_find_graph(f.module, "h") == NULL);
    ir_module_release(f.module);
}

TEST_MAIN()
