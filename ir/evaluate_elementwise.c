/* Elementwise arithmetic, comparisons, selection and conversion.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A scalar function exists for each of the three kinds of number in which an op computes: binary32
 * (f32, f16, bf16), binary64 (f64) and 64-bit integers. */
#include "ir/evaluate_private.h"
#include "ir/numerics.h"

#include <string.h>

typedef enum number_kind { NUMBER_FLOAT, NUMBER_DOUBLE, NUMBER_INTEGER } number_kind;

static number_kind kind_of(ir_type type)
{
    if (type == IR_F64)
        return NUMBER_DOUBLE;
    return ir_type_is_float(type) ? NUMBER_FLOAT : NUMBER_INTEGER;
}

/* Floats of different width meet in f64 if one is, else in f32. */
static td_status common_kind(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *a,
                             const ir_tensor *b, number_kind *kind)
{
    bool fits = a->type == b->type || (ir_type_is_float(a->type) && ir_type_is_float(b->type));
    if (!fits)
        return ir_evaluate_fail(evaluator, node, TD_INVALID, "its operands have types %s and %s",
                                ir_type_name(a->type), ir_type_name(b->type));
    *kind = a->type == IR_F64 || b->type == IR_F64 ? NUMBER_DOUBLE : kind_of(a->type);
    return TD_OK;
}

/* --- scalar functions --- */

#define FLOAT_BINARY(name, expression)                                                             \
    static float name##_float(float a, float b)                                                    \
    {                                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static double name##_double(double a, double b)                                                \
    {                                                                                              \
        return expression;                                                                         \
    }
#define INTEGER_BINARY(name, expression)                                                           \
    static int64_t name##_integer(int64_t a, int64_t b)                                            \
    {                                                                                              \
        return expression;                                                                         \
    }

/* Integers wrap: computed without sign, where wrapping is defined. */
#define WRAP(a, operator, b) (int64_t)((uint64_t)(a) operator(uint64_t)(b))

FLOAT_BINARY(add, a + b)
INTEGER_BINARY(add, WRAP(a, +, b))
FLOAT_BINARY(subtract, a - b)
INTEGER_BINARY(subtract, WRAP(a, -, b))
FLOAT_BINARY(multiply, (a) * (b))
INTEGER_BINARY(multiply, WRAP(a, *, b))
FLOAT_BINARY(divide, a / b)
FLOAT_BINARY(maximum, a > b ? a : b)
INTEGER_BINARY(maximum, a > b ? a : b)
FLOAT_BINARY(minimum, a < b ? a : b)
INTEGER_BINARY(minimum, a < b ? a : b)
INTEGER_BINARY(bitwise_and, a &b)
INTEGER_BINARY(bitwise_or, a | b)

/* The divisor is not 0 (checked before); -1 negates, so that the smallest integer wraps. */
INTEGER_BINARY(divide, b == -1 ? WRAP(0, -, a) : a / b)
INTEGER_BINARY(divide_floor,
               b == -1 ? WRAP(0, -, a) : a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0))

static float power_float(float a, float b)
{
    if (b == 2.0f)
        return a * a;
    if (b == 0.5f)
        return sqrtf(a);
    if (b == -0.5f)
        return 1.0f / sqrtf(a);
    if (b == -1.0f)
        return 1.0f / a;
    return (float)pow((double)a, (double)b);
}

static double power_double(double a, double b)
{
    return b == 2.0 ? a * a : pow(a, b);
}

static int64_t power_integer(int64_t a, int64_t b)
{
    if (b < 0) /* truncated towards zero */
        return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? -1 : 0;
    int64_t result = 1;
    for (; b > 0; b /= 2) {
        if (b % 2 == 1)
            result = WRAP(result, *, a);
        a = WRAP(a, *, a);
    }
    return result;
}

#define COMPARISON(name, operator)                                                                 \
    static bool name##_float(float a, float b)                                                     \
    {                                                                                              \
        return a operator b;                                                                       \
    }                                                                                              \
    static bool name##_double(double a, double b)                                                  \
    {                                                                                              \
        return a operator b;                                                                       \
    }                                                                                              \
    static bool name##_integer(int64_t a, int64_t b)                                               \
    {                                                                                              \
        return a operator b;                                                                       \
    }

COMPARISON(equal, ==)
COMPARISON(not_equal, !=)
COMPARISON(less, <)
COMPARISON(less_equal, <=)
COMPARISON(greater, >)
COMPARISON(greater_equal, >=)

#define UNARY(name, kind, type, expression)                                                        \
    static type name##_##kind(type x)                                                              \
    {                                                                                              \
        return expression;                                                                         \
    }

UNARY(negate, float, float, -x)
UNARY(negate, double, double, -x)
UNARY(negate, integer, int64_t, WRAP(0, -, x))
UNARY(absolute, float, float, fabsf(x))
UNARY(absolute, double, double, fabs(x))
UNARY(absolute, integer, int64_t, x < 0 ? WRAP(0, -, x) : x)
UNARY(square_root, float, float, sqrtf(x))
UNARY(square_root, double, double, sqrt(x))
UNARY(exponential, float, float, ir_exp(x))
UNARY(exponential, double, double, exp(x))
UNARY(floor, float, float, floorf(x))
UNARY(floor, double, double, floor(x))
UNARY(floor, integer, int64_t, x)
UNARY(sigmoid, float, float, ir_sigmoid(x))
UNARY(sigmoid, double, double, 1.0 / (1.0 + exp(-x)))
UNARY(silu, float, float, ir_silu(x))
UNARY(silu, double, double, x / (1.0 + exp(-x)))
UNARY(sine, double, double, sin(x))
UNARY(cosine, double, double, cos(x))
UNARY(logical_not, integer, int64_t, x == 0)

/* NaN, unlike other angles without a defined sine, passes through. */
static float sine_float(float x)
{
    double sine = NAN, cosine;
    if (fabsf(x) < IR_ANGLE_LIMIT)
        ir_sine_cosine(x, &sine, &cosine);
    return (float)sine;
}

static float cosine_float(float x)
{
    double sine, cosine = NAN;
    if (fabsf(x) < IR_ANGLE_LIMIT)
        ir_sine_cosine(x, &sine, &cosine);
    return (float)cosine;
}

/* --- the tables --- */

typedef struct binary_row {
    float (*of_float)(float, float);
    double (*of_double)(double, double);
    int64_t (*of_integer)(int64_t, int64_t);
} binary_row;

static const binary_row binary_rows[IR_OP_COUNT] = {
    [IR_OP_add] = {add_float, add_double, add_integer},
    [IR_OP_subtract] = {subtract_float, subtract_double, subtract_integer},
    [IR_OP_multiply] = {multiply_float, multiply_double, multiply_integer},
    [IR_OP_divide] = {divide_float, divide_double, divide_integer},
    [IR_OP_power] = {power_float, power_double, power_integer},
    [IR_OP_maximum] = {maximum_float, maximum_double, maximum_integer},
    [IR_OP_minimum] = {minimum_float, minimum_double, minimum_integer},
    [IR_OP_bitwise_and] = {NULL, NULL, bitwise_and_integer},
    [IR_OP_bitwise_or] = {NULL, NULL, bitwise_or_integer},
};

typedef struct compare_row {
    bool (*of_float)(float, float);
    bool (*of_double)(double, double);
    bool (*of_integer)(int64_t, int64_t);
} compare_row;

static const compare_row compare_rows[IR_OP_COUNT] = {
    [IR_OP_equal] = {equal_float, equal_double, equal_integer},
    [IR_OP_not_equal] = {not_equal_float, not_equal_double, not_equal_integer},
    [IR_OP_less] = {less_float, less_double, less_integer},
    [IR_OP_less_equal] = {less_equal_float, less_equal_double, less_equal_integer},
    [IR_OP_greater] = {greater_float, greater_double, greater_integer},
    [IR_OP_greater_equal] = {greater_equal_float, greater_equal_double, greater_equal_integer},
};

typedef struct unary_row {
    float (*of_float)(float);
    double (*of_double)(double);
    int64_t (*of_integer)(int64_t);
} unary_row;

static const unary_row unary_rows[IR_OP_COUNT] = {
    [IR_OP_negate] = {negate_float, negate_double, negate_integer},
    [IR_OP_logical_not] = {NULL, NULL, logical_not_integer},
    [IR_OP_absolute] = {absolute_float, absolute_double, absolute_integer},
    [IR_OP_square_root] = {square_root_float, square_root_double, NULL},
    [IR_OP_exponential] = {exponential_float, exponential_double, NULL},
    [IR_OP_sine] = {sine_float, sine_double, NULL},
    [IR_OP_cosine] = {cosine_float, cosine_double, NULL},
    [IR_OP_floor] = {floor_float, floor_double, floor_integer},
    [IR_OP_sigmoid] = {sigmoid_float, sigmoid_double, NULL},
    [IR_OP_silu] = {silu_float, silu_double, NULL},
};

static td_status refuse_type(ir_evaluator *evaluator, const ir_node *node, ir_type type)
{
    return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED, "it is not defined for %s operands",
                            ir_type_name(type));
}

/* --- arithmetic over tensors --- */

/* binary_KIND, compare_KIND and unary_KIND apply a scalar function to every element; the kinds
 * differ in types only. */
#define OF_KIND(kind, type)                                                                        \
    static td_status binary_##kind(ir_evaluator *evaluator, const ir_tensor *const *inputs,        \
                                   ir_operands *all, type (*function)(type, type), ir_tensor *out) \
    {                                                                                              \
        const type *a = ir_tensor_##kind(evaluator, inputs[0]);                                    \
        const type *b = ir_tensor_##kind(evaluator, inputs[1]);                                    \
        type *result = ir_evaluate_scratch(evaluator, out->elements, sizeof *result);              \
        if (a == NULL || b == NULL || result == NULL)                                              \
            return td_fail_memory(evaluator->context);                                             \
        for (uint64_t i = 0; i < out->elements; i++, ir_operands_next(all))                        \
            result[i] = function(a[all->walk[0].offset], b[all->walk[1].offset]);                  \
        ir_tensor_store_##kind(out, result);                                                       \
        return TD_OK;                                                                              \
    }                                                                                              \
    static td_status compare_##kind(ir_evaluator *evaluator, const ir_tensor *const *inputs,       \
                                    ir_operands *all, bool (*function)(type, type),                \
                                    ir_tensor *out)                                                \
    {                                                                                              \
        const type *a = ir_tensor_##kind(evaluator, inputs[0]);                                    \
        const type *b = ir_tensor_##kind(evaluator, inputs[1]);                                    \
        uint8_t *result = out->data;                                                               \
        if (a == NULL || b == NULL)                                                                \
            return td_fail_memory(evaluator->context);                                             \
        for (uint64_t i = 0; i < out->elements; i++, ir_operands_next(all))                        \
            result[i] = function(a[all->walk[0].offset], b[all->walk[1].offset]);                  \
        return TD_OK;                                                                              \
    }                                                                                              \
    static td_status unary_##kind(ir_evaluator *evaluator, const ir_tensor *x,                     \
                                  type (*function)(type), ir_tensor *out)                          \
    {                                                                                              \
        const type *a = ir_tensor_##kind(evaluator, x);                                            \
        type *result = ir_evaluate_scratch(evaluator, x->elements, sizeof *result);                \
        if (a == NULL || result == NULL)                                                           \
            return td_fail_memory(evaluator->context);                                             \
        for (uint64_t i = 0; i < x->elements; i++)                                                 \
            result[i] = function(a[i]);                                                            \
        ir_tensor_store_##kind(out, result);                                                       \
        return TD_OK;                                                                              \
    }

OF_KIND(floats, float)
OF_KIND(doubles, double)
OF_KIND(integers, int64_t)

static td_status check_divisors(ir_evaluator *evaluator, const ir_node *node,
                                const ir_tensor *divisors)
{
    const int64_t *numbers = ir_tensor_integers(evaluator, divisors);
    if (numbers == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t i = 0; i < divisors->elements; i++)
        if (numbers[i] == 0)
            return ir_evaluate_fail(evaluator, node, TD_INVALID, "it divides an integer by 0");
    return TD_OK;
}

td_status ir_evaluate_binary(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *a = inputs[0], *b = inputs[1];
    ir_tensor *out = &outputs[0];
    binary_row row = binary_rows[node->op];
    number_kind kind = NUMBER_FLOAT;
    ir_operands all = {0};
    TD_TRY(common_kind(evaluator, node, a, b, &kind));
    TD_TRY(ir_operands_start(evaluator, node, 2, inputs, &all));
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, all.rank, all.dims, out));
    if (kind_of(out->type) != kind && (kind == NUMBER_INTEGER || !ir_type_is_float(out->type)))
        return refuse_type(evaluator, node, out->type);
    if (kind == NUMBER_FLOAT && row.of_float != NULL)
        return binary_floats(evaluator, inputs, &all, row.of_float, out);
    if (kind == NUMBER_DOUBLE && row.of_double != NULL)
        return binary_doubles(evaluator, inputs, &all, row.of_double, out);
    if (kind != NUMBER_INTEGER)
        return refuse_type(evaluator, node, a->type);
    if (node->op == IR_OP_divide && out->elements > 0)
        TD_TRY(check_divisors(evaluator, node, b));
    bool floors = node->op == IR_OP_divide && ir_node_int(node, "floor", 0) != 0;
    return binary_integers(evaluator, inputs, &all, floors ? divide_floor_integer : row.of_integer,
                           out);
}

td_status ir_evaluate_compare(ir_evaluator *evaluator, const ir_node *node,
                              const ir_tensor *const *inputs, ir_tensor *outputs)
{
    compare_row row = compare_rows[node->op];
    number_kind kind = NUMBER_FLOAT;
    ir_operands all = {0};
    TD_TRY(common_kind(evaluator, node, inputs[0], inputs[1], &kind));
    TD_TRY(ir_operands_start(evaluator, node, 2, inputs, &all));
    TD_TRY(ir_evaluate_allocate(evaluator, node, IR_BOOL, all.rank, all.dims, &outputs[0]));
    if (kind == NUMBER_FLOAT)
        return compare_floats(evaluator, inputs, &all, row.of_float, &outputs[0]);
    if (kind == NUMBER_DOUBLE)
        return compare_doubles(evaluator, inputs, &all, row.of_double, &outputs[0]);
    return compare_integers(evaluator, inputs, &all, row.of_integer, &outputs[0]);
}

/* An angle without a defined sine is refused by its value, NaN excepted. */
static td_status check_angles(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *angles)
{
    const float *numbers = ir_tensor_floats(evaluator, angles);
    if (numbers == NULL)
        return td_fail_memory(evaluator->context);
    for (uint64_t i = 0; i < angles->elements; i++)
        if (fabsf(numbers[i]) >= IR_ANGLE_LIMIT)
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "the angle %g is too large; its size must be below 2^30",
                                    (double)numbers[i]);
    return TD_OK;
}

td_status ir_evaluate_unary(ir_evaluator *evaluator, const ir_node *node,
                            const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    unary_row row = unary_rows[node->op];
    number_kind kind = kind_of(x->type);
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, x->type, x, &outputs[0]));
    if (kind == NUMBER_FLOAT && (node->op == IR_OP_sine || node->op == IR_OP_cosine))
        TD_TRY(check_angles(evaluator, node, x));
    if (kind == NUMBER_FLOAT && row.of_float != NULL)
        return unary_floats(evaluator, x, row.of_float, &outputs[0]);
    if (kind == NUMBER_DOUBLE && row.of_double != NULL)
        return unary_doubles(evaluator, x, row.of_double, &outputs[0]);
    if (kind == NUMBER_INTEGER && row.of_integer != NULL &&
        (node->op != IR_OP_logical_not || x->type == IR_BOOL))
        return unary_integers(evaluator, x, row.of_integer, &outputs[0]);
    return refuse_type(evaluator, node, x->type);
}

/* --- conversion --- */

/* Smallest and largest number of an integer type. */
static void integer_range(ir_type type, int64_t *low, int64_t *high)
{
    unsigned bits = ir_type_bits(type);
    bool is_unsigned = type == IR_U8 || type == IR_U4;
    *high = bits == 64 ? INT64_MAX : ((int64_t)1 << (is_unsigned ? bits : bits - 1)) - 1;
    *low = is_unsigned ? 0 : -*high - 1;
}

static int64_t saturate(double number, int64_t low, int64_t high)
{
    if (isnan(number))
        return 0;
    if (number <= (double)low)
        return low;
    if (number >= (double)high) /* 2^63 for i64: out of range as well */
        return high;
    return (int64_t)number;
}

static td_status convert_to_integers(ir_evaluator *evaluator, const ir_tensor *x, ir_tensor *out)
{
    const double *numbers = ir_tensor_doubles(evaluator, x);
    int64_t *result = ir_evaluate_scratch(evaluator, x->elements, sizeof *result);
    if (numbers == NULL || result == NULL)
        return td_fail_memory(evaluator->context);
    int64_t low, high;
    integer_range(out->type, &low, &high);
    for (uint64_t i = 0; i < x->elements; i++)
        result[i] = out->type == IR_BOOL ? numbers[i] != 0.0 : saturate(numbers[i], low, high);
    ir_tensor_store_integers(out, result);
    return TD_OK;
}

td_status ir_evaluate_convert(ir_evaluator *evaluator, const ir_node *node,
                              const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *x = inputs[0];
    ir_tensor *out = &outputs[0];
    TD_TRY(ir_evaluate_allocate_like(evaluator, node, node->outputs[0]->type, x, out));
    bool from_float = ir_type_is_float(x->type), to_float = ir_type_is_float(out->type);
    if (!to_float && from_float)
        return convert_to_integers(evaluator, x, out);
    if (!to_float) {
        const int64_t *numbers = ir_tensor_integers(evaluator, x);
        if (numbers == NULL)
            return td_fail_memory(evaluator->context);
        ir_tensor_store_integers(out, numbers);
    } else if (x->type == IR_F64 || out->type == IR_F64) {
        const double *numbers = ir_tensor_doubles(evaluator, x);
        if (numbers == NULL)
            return td_fail_memory(evaluator->context);
        ir_tensor_store_doubles(out, numbers);
    } else {
        const float *numbers = ir_tensor_floats(evaluator, x);
        if (numbers == NULL)
            return td_fail_memory(evaluator->context);
        ir_tensor_store_floats(out, numbers);
    }
    return TD_OK;
}

/* --- select --- */

td_status ir_evaluate_select(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    const ir_tensor *condition = inputs[0], *a = inputs[1], *b = inputs[2];
    ir_tensor *out = &outputs[0];
    const char *from_a = a->data, *from_b = b->data;
    ir_type type = a->type;
    number_kind kind = NUMBER_FLOAT;
    ir_operands all = {0};
    if (condition->type != IR_BOOL)
        return refuse_type(evaluator, node, condition->type);
    TD_TRY(common_kind(evaluator, node, a, b, &kind));
    if (a->type != b->type) { /* floats of different width */
        type = IR_F32;
        from_a = (const char *)ir_tensor_floats(evaluator, a);
        from_b = (const char *)ir_tensor_floats(evaluator, b);
        if (from_a == NULL || from_b == NULL)
            return td_fail_memory(evaluator->context);
    }
    TD_TRY(ir_operands_start(evaluator, node, 3, inputs, &all));
    TD_TRY(ir_evaluate_allocate(evaluator, node, type, all.rank, all.dims, out));
    const size_t size = ir_element_bytes(type);
    const uint8_t *decides = condition->data;
    for (uint64_t i = 0; i < out->elements; i++, ir_operands_next(&all)) {
        const char *chosen = decides[all.walk[0].offset] != 0
                                 ? from_a + (size_t)all.walk[1].offset * size
                                 : from_b + (size_t)all.walk[2].offset * size;
        memcpy((char *)out->data + i * size, chosen, size);
    }
    return TD_OK;
}
