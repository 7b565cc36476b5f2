/* Linear forms over symbols: normal form, arithmetic, limits, unification, products.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/ir.h"

#include "tests/test.h"

static ir_dim symbol_times(ir_symbol symbol, int64_t factor, int64_t constant)
{
    ir_dim form = ir_dim_symbol(symbol), times = ir_dim_constant(factor), sum = {0};
    ir_dim add = ir_dim_constant(constant);
    if (!ir_dim_multiply(&form, &times, &form) || !ir_dim_add(&form, &add, &sum))
        abort();
    return sum;
}

TEST(sums_are_in_normal_form)
{
    ir_dim a = symbol_times(2, 3, 1), b = symbol_times(0, 1, 4), left, right;
    CHECK(ir_dim_add(&a, &b, &left) && ir_dim_add(&b, &a, &right));
    CHECK(ir_dim_equal(&left, &right));
    CHECK(left.constant == 5 && left.terms == 2);
    CHECK(left.term[0].symbol == 0 && left.term[1].symbol == 2 && left.term[1].factor == 3);
    CHECK(ir_dim_subtract(&left, &b, &right) && ir_dim_equal(&right, &a));
    CHECK(ir_dim_subtract(&a, &a, &right) && ir_dim_is(&right, 0));
}

TEST(what_has_no_linear_form_is_refused)
{
    ir_dim a = symbol_times(0, 1, 0), b = symbol_times(1, 1, 0), result;
    CHECK(!ir_dim_multiply(&a, &b, &result));
    ir_dim big = ir_dim_constant(INT64_MAX), one = ir_dim_constant(1);
    CHECK(!ir_dim_add(&big, &one, &result));
    CHECK(!ir_dim_multiply(&big, &big, &result));
    ir_dim steep = symbol_times(0, INT32_MAX, 0), two = ir_dim_constant(2);
    CHECK(!ir_dim_multiply(&steep, &two, &result));
    ir_dim sum = {0};
    for (ir_symbol s = 0; s < IR_MAX_TERMS; s++) {
        ir_dim term = ir_dim_symbol(s);
        CHECK(ir_dim_add(&sum, &term, &sum));
    }
    ir_dim fifth = ir_dim_symbol(IR_MAX_TERMS);
    CHECK(!ir_dim_add(&sum, &fifth, &result));
}

TEST(exact_quotients)
{
    ir_dim a = symbol_times(0, 6, 12), three = ir_dim_constant(3), five = ir_dim_constant(5);
    ir_dim zero = ir_dim_constant(0), least = ir_dim_constant(INT64_MIN);
    ir_dim minus = ir_dim_constant(-1), half = symbol_times(0, 3, 6), result;
    CHECK(ir_dim_divide(&a, &three, &result));
    CHECK(result.constant == 4 && result.term[0].factor == 2);
    CHECK(!ir_dim_divide(&a, &five, &result));
    CHECK(!ir_dim_divide(&a, &zero, &result));
    CHECK(!ir_dim_divide(&least, &minus, &result));
    CHECK(ir_dim_divide(&a, &half, &result) && ir_dim_is(&result, 2));
    CHECK(!ir_dim_divide(&half, &a, &result));
    ir_dim steepest = symbol_times(0, INT32_MIN, 0), falling = symbol_times(0, -1, 0);
    CHECK(ir_dim_divide(&steepest, &falling, &result) && ir_dim_is(&result, -(int64_t)INT32_MIN));
}

static ir_dim random_dim(uint64_t *state)
{
    ir_dim dim = ir_dim_constant((int64_t)(td_random_next(state) % 41) - 20);
    for (int i = 0; i < 3; i++) {
        ir_dim term = symbol_times((ir_symbol)(td_random_next(state) % 4),
                                   (int64_t)(td_random_next(state) % 9) - 4, 0);
        if (!ir_dim_add(&dim, &term, &dim))
            abort();
    }
    return dim;
}

TEST(arithmetic_agrees_with_evaluation)
{
    uint64_t state = 1;
    for (int round = 0; round < 2000; round++) {
        ir_dim a = random_dim(&state), b = random_dim(&state), result;
        int64_t values[4];
        for (int i = 0; i < 4; i++)
            values[i] = (int64_t)(td_random_next(&state) % 1000);
        int64_t x = ir_dim_evaluate(&a, values), y = ir_dim_evaluate(&b, values);
        if (ir_dim_add(&a, &b, &result))
            CHECK(ir_dim_evaluate(&result, values) == x + y);
        if (ir_dim_subtract(&a, &b, &result))
            CHECK(ir_dim_evaluate(&result, values) == x - y);
        if (ir_dim_multiply(&a, &b, &result))
            CHECK(ir_dim_evaluate(&result, values) == x * y);
        if (ir_dim_divide(&a, &b, &result) && y != 0)
            CHECK(ir_dim_evaluate(&result, values) * y == x);
    }
}

static ir_module *new_module(td_context *context)
{
    ir_module *module = NULL;
    td_context_init(context);
    if (ir_module_create(context, "m", &module) != TD_OK)
        abort();
    return module;
}

static ir_symbol add_symbol(ir_module *module, const char *name, int64_t bound)
{
    ir_symbol symbol = 0;
    if (ir_module_add_symbol(module, name, bound, &symbol) != TD_OK)
        abort();
    return symbol;
}

TEST(bounds)
{
    td_context context;
    ir_module *module = new_module(&context);
    ir_symbol tokens = add_symbol(module, "tokens", 64),
              free_one = add_symbol(module, NULL, INT64_MAX);
    ir_dim a = symbol_times(tokens, 3, 5), b = symbol_times(tokens, -1, 100);
    ir_dim c = symbol_times(free_one, 1, 0);
    CHECK(ir_dim_bound(module, &a) == 3 * 64 + 5);
    CHECK(ir_dim_bound(module, &b) == 100);
    CHECK(ir_dim_bound(module, &c) == INT64_MAX);
    ir_shape shape = {.rank = 2, .dim = {a, ir_dim_constant(3)}};
    uint64_t count;
    CHECK(ir_shape_elements_bound(module, &shape, &count) && count == 197 * 3);
    CHECK(ir_value_bytes_bound(module, IR_U4, &shape, &count) && count == (197 * 3 + 1) / 2);
    shape.dim[1] = c;
    CHECK(!ir_shape_elements_bound(module, &shape, &count));
    shape = ir_shape_of(2, (int64_t[]){INT64_MAX - 1, 4});
    CHECK(!ir_shape_elements_bound(module, &shape, &count));
    ir_module_release(module);
}

TEST(names_are_unique)
{
    td_context context;
    ir_module *module = new_module(&context);
    ir_symbol first = add_symbol(module, "s1", 1), second, found = 99;
    CHECK(ir_module_add_symbol(module, "s1", 1, &second) == TD_INVALID);
    second = add_symbol(module, NULL, 1); /* must avoid s1 */
    CHECK(strcmp(module->symbols.items[second].name, "s1") != 0);
    CHECK(ir_module_find_symbol(module, "s1", &found) && found == first);
    CHECK(!ir_module_find_symbol(module, "other", &found));
    ir_module_release(module);
}

TEST(unification)
{
    td_context context;
    ir_module *module = new_module(&context);
    ir_symbol a = add_symbol(module, "a", 8), b = add_symbol(module, "b", 8);
    ir_symbol c = add_symbol(module, "c", 8);
    ir_module_unify(module, a, symbol_times(b, 2, 1));
    ir_module_unify(module, b, symbol_times(c, 1, 3));
    ir_module_unify(module, c, symbol_times(a, 1, 0)); /* a cycle: ignored */
    ir_module_unify(module, c, symbol_times(c, 1, 1)); /* mentions itself: ignored */
    CHECK(!module->symbols.items[c].forwarded);
    ir_dim dim = symbol_times(a, 1, 0);
    ir_dim resolved = ir_module_dim_resolve(module, &dim), wanted = symbol_times(c, 2, 7);
    CHECK(ir_dim_equal(&resolved, &wanted));
    ir_module_release(module);
}

TEST(products)
{
    td_context context;
    ir_module *module = new_module(&context);
    ir_dim a = ir_dim_symbol(add_symbol(module, "a", 8));
    ir_dim b = ir_dim_symbol(add_symbol(module, "b", 5)), product, again, three;
    CHECK(ir_module_dim_product(module, &a, &b, &product));
    CHECK(product.terms == 1 && ir_dim_bound(module, &product) == 40);
    CHECK(ir_module_dim_product(module, &b, &a, &again) && ir_dim_equal(&product, &again));
    three = ir_dim_constant(3);
    CHECK(ir_module_dim_product(module, &a, &three, &again) && again.term[0].factor == 3);
    /* A factor that becomes a constant gives the product a linear form. */
    ir_graph *graph = NULL;
    ir_value *input = NULL;
    ir_shape shape = {.rank = 1, .dim = {product}};
    CHECK(ir_module_add_graph(module, "g", &graph) == TD_OK);
    CHECK(ir_graph_add_input(graph, "x", IR_F32, &shape, &input) == TD_OK);
    ir_module_unify(module, a.term[0].symbol, ir_dim_constant(4));
    ir_module_resolve(module);
    ir_dim wanted = symbol_times(b.term[0].symbol, 4, 0);
    CHECK(ir_dim_equal(&input->shape.dim[0], &wanted));
    ir_module_release(module);
}

TEST_MAIN()
