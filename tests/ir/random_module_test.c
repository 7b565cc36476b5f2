/* Properties over random modules: what is printed is read back and prints the same, and no failing
 * allocation crashes or leaks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/ir.h"
#include "ir/passes/passes.h"

#include "tests/failing.h"
#include "tests/test.h"

typedef struct module_maker {
    uint64_t state;
    ir_module *module;
    ir_value *values[64]; /* f32 values of the graph being made, all of one shape */
    size_t value_count;
} module_maker;

static uint64_t below(module_maker *maker, uint64_t limit)
{
    return td_random_next(&maker->state) % limit;
}

/* Any bytes but NUL, among them those that need escapes. */
static const char *random_string(module_maker *maker, char *buffer, size_t size)
{
    static const char odd[] = "\"\\\n\t\x01\x7f\xc3\xa4%@;{}[] ab_9.";
    size_t length = (size_t)below(maker, size);
    for (size_t i = 0; i < length; i++)
        buffer[i] = odd[below(maker, sizeof odd - 1)];
    buffer[length] = '\0';
    return buffer;
}

static td_status make_symbols(module_maker *maker)
{
    char name[8], label[16];
    for (uint64_t i = below(maker, 6); i > 0; i--) {
        ir_symbol symbol;
        snprintf(label, sizeof label, "%d%s", (int)i, random_string(maker, name, sizeof name));
        int64_t bound = below(maker, 2) == 0 ? INT64_MAX : (int64_t)below(maker, 1000);
        TD_TRY(ir_module_add_symbol(maker->module, below(maker, 3) == 0 ? NULL : label, bound,
                                    &symbol));
    }
    return TD_OK;
}

/* With negative factors and constants too, or surely a size. */
static ir_dim random_dim(module_maker *maker, bool any_sign)
{
    ir_dim dim = ir_dim_constant((int64_t)below(maker, 9));
    for (uint64_t i = below(maker, 3); i > 0 && maker->module->symbols.count > 0; i--) {
        ir_dim term = ir_dim_symbol((ir_symbol)below(maker, maker->module->symbols.count));
        ir_dim factor = ir_dim_constant((int64_t)below(maker, 7) - (any_sign ? 3 : 0));
        if (ir_dim_multiply(&term, &factor, &term))
            ir_dim_add(&dim, &term, &dim);
    }
    if (dim.terms > 0 && any_sign)
        dim.constant -= (int64_t)below(maker, 9);
    return dim;
}

static td_status make_relations(module_maker *maker)
{
    size_t count = maker->module->symbols.count;
    if (count < 2)
        return TD_OK;
    ir_dim a = random_dim(maker, false), b = random_dim(maker, false), product;
    if (!ir_module_dim_product(maker->module, &a, &b, &product))
        return td_fail_memory(maker->module->context);
    ir_module_unify(maker->module, (ir_symbol)below(maker, count), random_dim(maker, false));
    if (below(maker, 2) == 0)
        ir_module_resolve(maker->module);
    return TD_OK;
}

static td_status make_constant(module_maker *maker, ir_constant **constant)
{
    unsigned char bytes[20 * 8];
    char name[12];
    static const ir_type types[] = {IR_F32, IR_F16, IR_BF16, IR_F64, IR_I64, IR_I32,
                                    IR_I8,  IR_U8,  IR_I4,   IR_U4,  IR_BOOL};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)below(maker, 256);
    ir_shape shape = ir_shape_of((uint32_t)below(maker, 3),
                                 (int64_t[]){(int64_t)below(maker, 5), (int64_t)below(maker, 5)});
    return ir_module_add_constant_bytes(maker->module, random_string(maker, name, sizeof name),
                                        types[below(maker, TD_COUNT_OF(types))], &shape, bytes,
                                        constant);
}

/* A matrix [2, 4] of bytes with a scale, and sometimes a zero point, for each group of two. */
static td_status make_quantised(module_maker *maker, ir_constant **constant)
{
    const unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const float scales[4] = {1, 2, 0.1f, 0.25f};
    ir_shape shape = ir_shape_of(2, (int64_t[]){2, 4}), parts = ir_shape_of(2, (int64_t[]){2, 2});
    ir_constant wish = {.name = "quantised", .type = IR_I8, .shape = shape, .group = 2};
    ir_constant *stored = NULL;
    TD_TRY(ir_module_add_constant_bytes(maker->module, "stored", IR_I8, &shape, bytes, &stored));
    TD_TRY(
        ir_module_add_constant_bytes(maker->module, "scale", IR_F32, &parts, scales, &wish.scale));
    if (below(maker, 2) == 0)
        TD_TRY(ir_module_add_constant_bytes(maker->module, "zero", IR_I8, &parts, bytes,
                                            &wish.zero_point));
    wish.source = stored->source;
    return ir_module_add_constant(maker->module, &wish, constant);
}

static td_status decorate(module_maker *maker, ir_node *node)
{
    char name[8], string[16];
    for (uint64_t i = below(maker, 4); i > 0; i--) {
        random_string(maker, name, sizeof name);
        int64_t integers[3] = {INT64_MIN, INT64_MAX, (int64_t)td_random_next(&maker->state)};
        uint64_t bits = td_random_next(&maker->state);
        double number;
        memcpy(&number, &bits, sizeof number);
        switch (below(maker, 4)) {
        case 0:
            TD_TRY(ir_node_set_int(node, name, integers[below(maker, 3)]));
            break;
        case 1:
            TD_TRY(ir_node_set_float(node, name, below(maker, 2) == 0 ? number : -3));
            break;
        case 2:
            TD_TRY(ir_node_set_string(node, name, random_string(maker, string, sizeof string)));
            break;
        default:
            TD_TRY(ir_node_set_ints(node, name, (size_t)below(maker, 4), integers));
        }
    }
    return TD_OK;
}

static td_status make_graph(module_maker *maker, const char *name)
{
    char string[12];
    ir_graph *graph = NULL;
    ir_value *value = NULL;
    ir_shape shape = {.rank = 2, .dim = {random_dim(maker, true), ir_dim_constant(4)}};
    if (shape.dim[0].terms == 0 && shape.dim[0].constant != 1)
        shape.dim[0] = ir_dim_constant(2); /* so that the quantised matrix fits */
    TD_TRY(ir_module_add_graph(maker->module, name, &graph));
    maker->value_count = 0;
    for (uint64_t i = 1 + below(maker, 3); i > 0; i--) {
        const char *given = below(maker, 2) == 0 ? NULL : random_string(maker, string, 12);
        TD_TRY(ir_graph_add_input(graph, given, IR_F32, &shape, &value));
        maker->values[maker->value_count++] = value;
    }
    for (uint64_t i = below(maker, 20); i > 0; i--) {
        static const ir_opcode ops[] = {IR_OP_add, IR_OP_multiply, IR_OP_maximum, IR_OP_power};
        static const ir_opcode unary[] = {IR_OP_negate, IR_OP_silu, IR_OP_absolute};
        ir_value *inputs[2] = {maker->values[below(maker, maker->value_count)],
                               maker->values[below(maker, maker->value_count)]};
        ir_node *node = NULL;
        bool one = below(maker, 3) == 0;
        if (!one && below(maker, 4) == 0)
            TD_TRY(ir_graph_add_f32(graph, (float)below(maker, 100) * 0.1f, &inputs[1]));
        TD_TRY(ir_graph_add_node(
            graph, one ? unary[below(maker, TD_COUNT_OF(unary))] : ops[below(maker, 4)],
            random_string(maker, string, sizeof string), one ? 1 : 2, inputs, 1, &node));
        TD_TRY(decorate(maker, node));
        TD_TRY(ir_node_infer(node));
        maker->values[maker->value_count++] = node->outputs[0];
    }
    ir_constant *constant = NULL;
    TD_TRY(make_quantised(maker, &constant));
    TD_TRY(ir_graph_add_constant(graph, constant, &value));
    TD_TRY(ir_graph_add_output(graph, "weights", value));
    return ir_graph_add_output(graph, random_string(maker, string, sizeof string),
                               maker->values[maker->value_count - 1]);
}

/* The module is given back also when something failed, as far as it was made. */
static td_status make(td_context *context, uint64_t seed, ir_module **module)
{
    module_maker maker = {.state = seed};
    char name[10];
    random_string(&maker, name, sizeof name);
    TD_TRY(ir_module_create(context, name, module));
    maker.module = *module;
    TD_TRY(make_symbols(&maker));
    TD_TRY(make_relations(&maker));
    ir_state *state = NULL;
    ir_shape shape = {.rank = 1, .dim = {random_dim(&maker, true)}};
    if (shape.dim[0].terms == 0 && shape.dim[0].constant < 0)
        shape.dim[0] = ir_dim_constant(0);
    TD_TRY(ir_module_add_state(
        *module, &(ir_state){.name = "plain \"s\"", .type = IR_I32, .shape = shape}, &state));
    TD_TRY(ir_module_add_state(
        *module,
        &(ir_state){.name = "kv", .kind = IR_STATE_CACHE, .kv_heads = 1, .head_size = UINT32_MAX},
        &state));
    for (uint64_t i = below(&maker, 6); i > 0; i--) {
        ir_constant *constant;
        TD_TRY(make_constant(&maker, &constant));
    }
    TD_TRY(make_graph(&maker, "first"));
    TD_TRY(make_graph(&maker, "second"));
    return ir_verify(*module);
}

/* Makes a module, prints it, reads the text, prints again, removes what is dead. */
static td_status round_trip(td_context *context, uint64_t seed, bool *same)
{
    ir_module *module = NULL, *again = NULL;
    td_text first, second;
    td_text_init(&first, context);
    td_text_init(&second, context);
    td_status status = make(context, seed, &module);
    if (status == TD_OK)
        status = ir_print(module, &first);
    if (status == TD_OK)
        status = ir_parse(context, first.data, first.length, "printed", &again);
    if (status == TD_OK)
        status = ir_print(again, &second);
    if (status == TD_OK) {
        *same = strcmp(first.data, second.data) == 0;
        if (!*same)
            printf("%s\n---\n%s\n", first.data, second.data);
        status = ir_pass_remove_dead(again);
    }
    td_text_release(&first);
    td_text_release(&second);
    ir_module_release(module);
    ir_module_release(again);
    return status;
}

TEST(printed_modules_are_read_back)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        td_context context;
        bool same = false;
        td_context_init(&context);
        td_status status = round_trip(&context, seed, &same);
        CHECK_MESSAGE(status == TD_OK && same, "seed %d: %s", (int)seed, context.message);
    }
}

TEST(every_allocation_may_fail)
{
    long requests = 0;
    for (int once = 0; once <= 1; once++) {
        td_status status = TD_NO_MEMORY;
        for (long n = 0; status == TD_NO_MEMORY; n++) {
            td_context context;
            failing_allocator failing = {.countdown = n, .once = once != 0};
            bool same = false;
            failing_context(&context, &failing);
            status = round_trip(&context, 5, &same);
            CHECK_MESSAGE(failing.held == 0, "request %ld: %ld blocks are left", n, failing.held);
            CHECK_MESSAGE(status == TD_NO_MEMORY || (status == TD_OK && same), "request %ld: %s", n,
                          context.message);
            requests = n;
        }
    }
    CHECK(requests > 20);
}

TEST_MAIN()
