/* The verifier finds each kind of damage, says where, and changes nothing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

#include "tests/test.h"

static const char source[] = "module \"m\" symbol n symbol m <= 9\n"
                             "constant @scale \"\": f32[1] = {2}\n"
                             "constant @w \"\": i8[3] = {1, 2, 3} {group = 3, scale = @scale}\n"
                             "constant @shape \"\": i64[2] = missing\n"
                             "graph \"g\" { input %x: f32[n, 3]\n"
                             "%a = multiply(%x, @w) \"first\"\n"
                             "%b = negate(%a) \"second\"\n"
                             "%c: f32[n, 3] = reshape(%b, @shape) \"third\"\n"
                             "output \"o\" = %c }\n"
                             "graph \"h\" { input %y: f32[2] %z = negate(%y) \"other\" output "
                             "\"o\" = %z }\n";

typedef struct fixture {
    td_context context;
    ir_module *module;
    ir_graph *graph;
    ir_node *first, *second, *third;
} fixture;

static void build(fixture *f)
{
    td_context_init(&f->context);
    if (ir_parse(&f->context, source, sizeof source - 1, "t", &f->module) != TD_OK) {
        printf("%s\n", f->context.message);
        abort();
    }
    f->graph = f->module->graphs.items[0];
    f->first = f->graph->first;
    f->second = f->first->next;
    f->third = f->second->next;
}

/* The verifier refuses with a sentence that has both words in it. */
static bool is_found(fixture *f, const char *where, const char *what)
{
    td_status status = ir_verify(f->module);
    bool found = status == TD_INTERNAL && strstr(f->context.message, where) != NULL &&
                 strstr(f->context.message, what) != NULL;
    if (!found)
        printf("    status %d: %s\n", (int)status, f->context.message);
    ir_module_release(f->module);
    return found;
}

TEST(sound_modules_pass_and_stay_as_they_are)
{
    fixture f;
    build(&f);
    size_t symbols = f.module->symbols.count;
    ir_value before = *f.third->outputs[0];
    CHECK(ir_verify(f.module) == TD_OK);
    CHECK(f.module->symbols.count == symbols); /* what is inferred adds no symbols */
    CHECK(memcmp(&before, f.third->outputs[0], sizeof before) == 0);
    CHECK(!f.module->verifying);
    ir_module_release(f.module);
}

TEST(order)
{
    fixture f;
    build(&f);
    ir_graph_move_node(f.graph, f.first, NULL);
    CHECK(is_found(&f, "second", "later"));
}

TEST(cycles)
{
    fixture f;
    build(&f);
    f.first->inputs[0] = f.third->outputs[0];
    CHECK(is_found(&f, "first", "later"));
}

TEST(broken_links)
{
    fixture f;
    build(&f);
    f.third->next = f.first; /* an endless list */
    CHECK(is_found(&f, "first", "linked"));
    build(&f);
    f.graph->last = f.second;
    CHECK(is_found(&f, "g", "end of the list"));
}

TEST(values_of_other_graphs)
{
    fixture f;
    build(&f);
    ir_graph *other = f.module->graphs.items[1];
    f.second->inputs[0] = other->inputs[0];
    CHECK(is_found(&f, "second", "input of another graph"));
    build(&f);
    other = f.module->graphs.items[1];
    f.second->inputs[0] = other->first->outputs[0];
    CHECK(is_found(&f, "second", "not in the graph"));
    build(&f);
    f.graph->outputs[0] = f.module->graphs.items[1]->first->outputs[0];
    CHECK(is_found(&f, "output \"o\"", "not in the graph"));
}

TEST(removed_producers)
{
    fixture f;
    build(&f);
    ir_graph_remove_node(f.graph, f.second);
    CHECK(is_found(&f, "third", "not in the graph"));
}

TEST(missing_inputs_and_wrong_arity)
{
    fixture f;
    build(&f);
    f.second->inputs[0] = NULL;
    CHECK(is_found(&f, "second", "missing"));
    build(&f);
    f.first->input_count = 1;
    CHECK(is_found(&f, "first", "arity"));
    build(&f);
    f.first->op = IR_OP_COUNT;
    CHECK(is_found(&f, "first", "op table"));
}

TEST(types_and_shapes)
{
    fixture f;
    build(&f);
    f.second->outputs[0]->type = IR_F16;
    CHECK(is_found(&f, "second", "f16"));
    build(&f);
    f.second->outputs[0]->shape.dim[0] = ir_dim_symbol(1);
    CHECK(is_found(&f, "second", "[m, 3]"));
    build(&f);
    f.second->outputs[0]->shape.dim[0] = ir_dim_symbol(77);
    CHECK(is_found(&f, "second", "malformed"));
    build(&f);
    f.second->outputs[0]->shape.dim[1] = ir_dim_constant(-3);
    CHECK(is_found(&f, "second", "malformed"));
    build(&f);
    f.first->inputs[1]->shape = ir_shape_of(1, (int64_t[]){4});
    CHECK(is_found(&f, "first", "differs from its constant"));
}

TEST(unified_symbols_compare_by_meaning)
{
    fixture f;
    build(&f);
    f.second->outputs[0]->shape.dim[0] = ir_dim_symbol(1);
    f.third->outputs[0]->shape.dim[0] = ir_dim_symbol(1);
    ir_module_unify(f.module, 1, ir_dim_symbol(0));
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    ir_module_resolve(f.module);
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    ir_module_release(f.module);
}

TEST(attributes_and_states)
{
    fixture f;
    build(&f);
    f.second->op = IR_OP_softmax;
    CHECK(ir_node_set_int(f.second, "axis", 5) == TD_OK);
    CHECK(is_found(&f, "second", "axis 5"));
    build(&f);
    f.second->op = IR_OP_convert;
    CHECK(is_found(&f, "second", "\"type\" is missing"));
}

TEST(constants)
{
    fixture f;
    build(&f);
    f.module->constants.items[1]->index = 0;
    CHECK(ir_verify(f.module) == TD_INTERNAL);
    ir_module_release(f.module);
    build(&f);
    ir_constant *swap = f.module->constants.items[0];
    f.module->constants.items[0] = f.module->constants.items[1];
    f.module->constants.items[1] = swap;
    f.module->constants.items[0]->index = 0;
    f.module->constants.items[1]->index = 1;
    CHECK(ir_verify(f.module) == TD_INTERNAL); /* the scale comes after what it scales */
    ir_module_release(f.module);
}

TEST_MAIN()
