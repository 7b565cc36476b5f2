/* Dimensions: linear forms over symbols in normal form, and shapes made of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/private.h"

ir_dim ir_dim_constant(int64_t value)
{
    return (ir_dim){.constant = value};
}

ir_dim ir_dim_symbol(ir_symbol symbol)
{
    ir_dim dim = {.terms = 1};
    dim.term[0].symbol = symbol;
    dim.term[0].factor = 1;
    return dim;
}

bool ir_dim_equal(const ir_dim *a, const ir_dim *b)
{
    if (a->constant != b->constant || a->terms != b->terms)
        return false;
    for (uint32_t i = 0; i < a->terms; i++)
        if (a->term[i].symbol != b->term[i].symbol || a->term[i].factor != b->term[i].factor)
            return false;
    return true;
}

bool ir_dim_mentions(const ir_dim *dim, ir_symbol symbol)
{
    for (uint32_t i = 0; i < dim->terms; i++)
        if (dim->term[i].symbol == symbol)
            return true;
    return false;
}

static bool append_term(ir_dim *dim, ir_symbol symbol, int64_t factor)
{
    if (factor == 0)
        return true;
    if (dim->terms == IR_MAX_TERMS || factor < INT32_MIN || factor > INT32_MAX)
        return false;
    dim->term[dim->terms].symbol = symbol;
    dim->term[dim->terms].factor = (int32_t)factor;
    dim->terms++;
    return true;
}

/* result = a + sign * b: a merge of two sorted lists of terms. */
static bool combine(const ir_dim *a, const ir_dim *b, int64_t sign, ir_dim *result)
{
    ir_dim sum = {0};
    int64_t scaled;
    if (__builtin_mul_overflow(b->constant, sign, &scaled) ||
        __builtin_add_overflow(a->constant, scaled, &sum.constant))
        return false;
    uint32_t i = 0, j = 0;
    while (i < a->terms || j < b->terms) {
        ir_symbol left = i < a->terms ? a->term[i].symbol : IR_SYMBOL_ANY;
        ir_symbol right = j < b->terms ? b->term[j].symbol : IR_SYMBOL_ANY;
        ir_symbol symbol = left < right ? left : right;
        int64_t factor = 0;
        if (i < a->terms && left == symbol)
            factor += a->term[i++].factor;
        if (j < b->terms && right == symbol)
            factor += sign * b->term[j++].factor;
        if (!append_term(&sum, symbol, factor))
            return false;
    }
    *result = sum;
    return true;
}

bool ir_dim_add(const ir_dim *a, const ir_dim *b, ir_dim *sum)
{
    return combine(a, b, 1, sum);
}

bool ir_dim_subtract(const ir_dim *a, const ir_dim *b, ir_dim *difference)
{
    return combine(a, b, -1, difference);
}

bool ir_dim_multiply(const ir_dim *a, const ir_dim *b, ir_dim *product)
{
    if (!ir_dim_is_constant(b)) {
        const ir_dim *swap = a;
        a = b;
        b = swap;
    }
    if (!ir_dim_is_constant(b))
        return false;
    ir_dim scaled = {0};
    if (__builtin_mul_overflow(a->constant, b->constant, &scaled.constant))
        return false;
    for (uint32_t i = 0; i < a->terms; i++) {
        int64_t factor;
        if (__builtin_mul_overflow((int64_t)a->term[i].factor, b->constant, &factor) ||
            !append_term(&scaled, a->term[i].symbol, factor))
            return false;
    }
    *product = scaled;
    return true;
}

/* a = quotient * b for a constant quotient: the only way to divide by a form with symbols. */
static bool divide_by_form(const ir_dim *a, const ir_dim *b, ir_dim *quotient)
{
    const int64_t factor = a->term[0].factor, divisor = b->term[0].factor;
    if (a->terms != b->terms || factor % divisor != 0)
        return false;
    ir_dim ratio = ir_dim_constant(factor / divisor), product;
    if (!ir_dim_multiply(b, &ratio, &product) || !ir_dim_equal(&product, a))
        return false;
    *quotient = ratio;
    return true;
}

bool ir_dim_divide(const ir_dim *a, const ir_dim *b, ir_dim *quotient)
{
    if (!ir_dim_is_constant(b))
        return divide_by_form(a, b, quotient);
    int64_t divisor = b->constant;
    if (divisor == 0 || (divisor == -1 && a->constant == INT64_MIN) || a->constant % divisor != 0)
        return false;
    ir_dim result = ir_dim_constant(a->constant / divisor);
    for (uint32_t i = 0; i < a->terms; i++) {
        int64_t factor = a->term[i].factor;
        if (factor % divisor != 0 || !append_term(&result, a->term[i].symbol, factor / divisor))
            return false;
    }
    *quotient = result;
    return true;
}

int64_t ir_dim_bound(const ir_module *module, const ir_dim *dim)
{
    int64_t bound = dim->constant;
    for (uint32_t i = 0; i < dim->terms; i++) {
        int64_t factor = dim->term[i].factor, term;
        if (factor < 0) /* largest when the symbol is zero */
            continue;
        ir_symbol symbol = dim->term[i].symbol;
        int64_t limit =
            symbol < module->symbols.count ? module->symbols.items[symbol].bound : INT64_MAX;
        if (limit == INT64_MAX || __builtin_mul_overflow(factor, limit, &term) ||
            __builtin_add_overflow(bound, term, &bound))
            return INT64_MAX;
    }
    return bound;
}

int64_t ir_dim_evaluate(const ir_dim *dim, const int64_t *values)
{
    /* Wraps on overflow: callers evaluate within the bounds, which were checked. */
    uint64_t value = (uint64_t)dim->constant;
    for (uint32_t i = 0; i < dim->terms; i++)
        value += (uint64_t)(int64_t)dim->term[i].factor * (uint64_t)values[dim->term[i].symbol];
    return (int64_t)value;
}

ir_shape ir_shape_of(uint32_t rank, const int64_t *dims)
{
    ir_shape shape = {.rank = rank < IR_MAX_RANK ? rank : IR_MAX_RANK};
    for (uint32_t i = 0; i < shape.rank; i++)
        shape.dim[i] = ir_dim_constant(dims[i]);
    return shape;
}

bool ir_shape_equal(const ir_shape *a, const ir_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (!ir_dim_equal(&a->dim[i], &b->dim[i]))
            return false;
    return true;
}

bool ir_shape_is_static(const ir_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++)
        if (!ir_dim_is_constant(&shape->dim[i]))
            return false;
    return true;
}

bool ir_shape_elements_bound(const ir_module *module, const ir_shape *shape, uint64_t *elements)
{
    uint64_t product = 1;
    for (uint32_t i = 0; i < shape->rank; i++) {
        int64_t bound = ir_dim_bound(module, &shape->dim[i]);
        if (bound < 0 || bound == INT64_MAX || !td_multiply(product, (uint64_t)bound, &product))
            return false;
    }
    *elements = product;
    return true;
}

bool ir_value_bytes_bound(const ir_module *module, ir_type type, const ir_shape *shape,
                          uint64_t *bytes)
{
    uint64_t elements, bits;
    if (!ir_shape_elements_bound(module, shape, &elements) ||
        !td_multiply(elements, ir_type_bits(type), &bits) || bits > UINT64_MAX - 7)
        return false;
    *bytes = (bits + 7) / 8;
    return true;
}
