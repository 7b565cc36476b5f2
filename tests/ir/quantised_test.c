/* Quantised activations: quantize_rows and linear_quantized against docs/numerics.md, bit by bit,
 * against real numbers, and their shape rules.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/numerics.h"
#include "tests/ir/evaluate_bench.h"

#include <float.h>

#define BLOCK IR_QUANTIZE_BLOCK

/* --- quantize_rows --- */

TEST(a_block_in_numbers)
{
    const float x[] = {127.0f, -63.5f, 0.5f, 1.5f, -2.5f, 0.0f, -0.0f, 3.4999f};
    const int8_t expected[] = {127, -64, 0, 2, -2, 0, 0, 3}; /* halves to even */
    int8_t q[8];
    CHECK(ir_quantize_block(x, 8, q) == 1.0f);
    CHECK(memcmp(q, expected, sizeof q) == 0);
}

TEST(the_largest_number_becomes_127)
{
    uint64_t seed = 3;
    for (int round = 0; round < 20000; round++) {
        float x[BLOCK];
        int8_t q[BLOCK];
        int largest = 0;
        const float power = ldexpf(1.0f, (int)(td_random_next(&seed) % 240) - 118);
        random_floats(td_random_next(&seed), BLOCK, x);
        for (int i = 0; i < BLOCK; i++)
            x[i] *= power;
        const float scale = ir_quantize_block(x, BLOCK, q);
        CHECK(isnormal(scale));
        for (int i = 0; i < BLOCK; i++) {
            largest = abs(q[i]) > largest ? abs(q[i]) : largest;
            CHECK(fabs((double)q[i] * (double)scale - (double)x[i]) <= 0.50002 * (double)scale);
        }
        CHECK(largest == 127);
    }
}

/* Scale and inverse stay finite and normal up to both ends, and what is below becomes zero. */
TEST(ends_of_the_range)
{
    const struct {
        float x, scale;
        int8_t q;
    } rows[] = {
        {FLT_MAX, FLT_MAX / 127.0f, 127},
        {-FLT_MAX, FLT_MAX / 127.0f, -127},
        {0x1.fcp-120f, FLT_MIN, 127},
        {-0x1.fcp-120f, FLT_MIN, -127},
        {0x1.fbfffep-120f, 0.0f, 0},
        {FLT_MIN, 0.0f, 0},
        {0x1p-149f, 0.0f, 0},
        {0.0f, 0.0f, 0},
        {-0.0f, 0.0f, 0},
    };
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        int8_t q = 99;
        const float scale = ir_quantize_block(&rows[i].x, 1, &q);
        CHECK_MESSAGE(ir_f32_bits(scale) == ir_f32_bits(rows[i].scale) && q == rows[i].q,
                      "row %zu: scale %a, q %d", i, (double)scale, q);
    }
    /* a denormal beside a large number is one of many small ones */
    const float mixed[] = {0x1p-149f, 1.0f};
    int8_t q[2];
    CHECK(ir_quantize_block(mixed, 2, q) == 1.0f / 127.0f && q[0] == 0 && q[1] == 127);
}

TEST(what_is_not_finite_spoils_its_block_only)
{
    enum { LENGTH = 2 * BLOCK + 5, BLOCKS = 3 };
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t b = 0; b < TD_COUNT_OF(bad); b++)
        for (size_t place = 0; place < LENGTH; place += 3) {
            float x[LENGTH];
            random_floats(11, LENGTH, x);
            x[place] = bad[b];
            test_bench *bench = bench_open(0);
            ir_node *node =
                bench_infer(bench, NODE(bench, quantize_rows, 2,
                                        bench_input(bench, IR_F32, DIMS(1, LENGTH), x)));
            const ir_tensor *q = bench_run(bench, node);
            CHECK_MESSAGE(q != NULL, "%s", bench->context.message);
            const ir_tensor *scale = ir_evaluator_value(bench->evaluator, node->outputs[1]);
            CHECK_DIMS(q, 1, LENGTH);
            CHECK_DIMS(scale, 1, BLOCKS);
            for (size_t i = 0; i < LENGTH; i++) {
                const bool spoilt = i / BLOCK == place / BLOCK;
                CHECK(isnan(((const float *)scale->data)[i / BLOCK]) == spoilt);
                CHECK(!spoilt || ((const int8_t *)q->data)[i] == 0);
            }
            bench_close(bench);
        }
}

/* --- linear_quantized --- */

typedef struct sizes {
    size_t tokens, rows, columns, group;
} sizes;

/* Group 0 stands for whole rows. */
static const sizes awkward[] = {
    {1, 1, 1, 0},    {1, 1, 31, 0},   {3, 1, 32, 32},  {2, 17, 33, 0},   {5, 13, 97, 0},
    {1, 16, 64, 32}, {4, 37, 96, 32}, {3, 15, 96, 96}, {2, 19, 192, 64}, {7, 3, 257, 0},
};

typedef struct product {
    float *x;
    int *w, *zero; /* as stored */
    float *scale, *bias;
    ir_constant *weight;
} product;

static uint8_t *pack(const int *numbers, size_t count, bool nibbles)
{
    uint8_t *packed = calloc(count, 1);
    for (size_t i = 0; packed != NULL && i < count; i++)
        packed[nibbles ? i / 2 : i] |=
            (uint8_t)((unsigned)(numbers[i] & (nibbles ? 15 : 255)) << (nibbles ? i % 2 * 4 : 0));
    return packed;
}

static td_status add_packed(test_bench *bench, const char *name, ir_type type, size_t rows,
                            size_t columns, const int *numbers, ir_constant **constant)
{
    const ir_shape shape = ir_shape_of(2, (int64_t[]){(int64_t)rows, (int64_t)columns});
    uint8_t *packed = pack(numbers, rows * columns, ir_type_bits(type) == 4);
    td_status status =
        ir_module_add_constant_bytes(bench->module, name, type, &shape, packed, constant);
    free(packed);
    return status;
}

static td_status make_product(test_bench *bench, const sizes *s, ir_type type, bool zeros,
                              uint64_t seed, product *p)
{
    const size_t group = s->group == 0 ? s->columns : s->group, groups = s->columns / group;
    const bool nibbles = ir_type_bits(type) == 4, is_signed = type == IR_I8 || type == IR_I4;
    const int count = nibbles ? 16 : 256, least = is_signed ? -count / 2 : 0;
    uint16_t *halves = calloc(s->rows * groups, sizeof *halves);
    p->x = calloc(s->tokens * s->columns, sizeof *p->x);
    p->w = calloc(s->rows * s->columns, sizeof *p->w);
    p->zero = calloc(s->rows * groups, sizeof *p->zero);
    p->scale = calloc(s->rows * groups, sizeof *p->scale);
    p->bias = calloc(s->rows, sizeof *p->bias);
    if (halves == NULL || p->x == NULL || p->w == NULL || p->zero == NULL || p->scale == NULL ||
        p->bias == NULL)
        abort();
    random_floats(seed, s->tokens * s->columns, p->x);
    random_floats(seed + 1, s->rows, p->bias);
    for (size_t i = 0; i < s->rows * s->columns; i++)
        p->w[i] = least + (int)(td_random_next(&seed) % (uint64_t)count);
    for (size_t i = 0; i < s->rows * groups; i++) {
        p->zero[i] = zeros ? least + (int)(td_random_next(&seed) % (uint64_t)count) : 0;
        halves[i] = ir_f32_to_f16(0.001f * (float)(1 + td_random_next(&seed) % 50));
        p->scale[i] = ir_f16_to_f32(halves[i]);
    }
    const ir_shape shape = ir_shape_of(2, (int64_t[]){(int64_t)s->rows, (int64_t)groups});
    ir_constant *stored, *scale, *zero;
    td_status status =
        ir_module_add_constant_bytes(bench->module, "s", IR_F16, &shape, halves, &scale);
    free(halves);
    TD_TRY(status);
    TD_TRY(add_packed(bench, "z", type, s->rows, groups, p->zero, &zero));
    TD_TRY(add_packed(bench, "w", type, s->rows, s->columns, p->w, &stored));
    ir_constant wanted = *stored;
    wanted.scale = scale;
    wanted.zero_point = zeros ? zero : NULL;
    wanted.group = (uint32_t)group;
    return ir_module_add_constant(bench->module, &wanted, &p->weight);
}

static void free_product(product *p)
{
    free(p->x);
    free(p->w);
    free(p->zero);
    free(p->scale);
    free(p->bias);
}

/* One output with integers for the sums of blocks; *exact is what real numbers give for the weight
 * and the activations before they were quantised, *bound how far quantisation can be off. */
static float literal(const sizes *s, const product *p, size_t t, size_t n, double *exact,
                     double *bound)
{
    const size_t group = s->group == 0 ? s->columns : s->group, groups = s->columns / group;
    const float *x = p->x + t * s->columns;
    const int *w = p->w + n * s->columns;
    float sum = 0.0f;
    *exact = *bound = 0.0;
    for (size_t g = 0; g < groups; g++) {
        const float scale = p->scale[n * groups + g];
        const int zero = p->zero[n * groups + g];
        float part = 0.0f;
        for (size_t first = g * group; first < (g + 1) * group; first += BLOCK) {
            const size_t left = s->columns - first, count = left < BLOCK ? left : BLOCK;
            int8_t q[BLOCK];
            int32_t dot = 0;
            const float x_scale = ir_quantize_block(x + first, count, q);
            for (size_t i = 0; i < count; i++) {
                const int d = w[first + i] - zero;
                dot += q[i] * d;
                *exact += (double)x[first + i] * d * (double)scale;
                *bound += 0.5001 * (double)x_scale * abs(d) * (double)scale;
            }
            part = fmaf((float)dot, x_scale, part);
        }
        sum = fmaf(part, scale, sum);
    }
    return sum;
}

static ir_node *add_product(test_bench *bench, const sizes *s, const product *p, bool biased)
{
    ir_value *weight = NULL;
    ir_value *x = bench_input(bench, IR_F32, DIMS((int64_t)s->tokens, (int64_t)s->columns), p->x);
    ir_value *bias = bench_input(bench, IR_F32, DIMS((int64_t)s->rows), p->bias);
    ir_node *rows = bench_infer(bench, NODE(bench, quantize_rows, 2, x));
    if (ir_graph_add_constant(bench->graph, p->weight, &weight) != TD_OK)
        abort();
    ir_value *inputs[] = {rows->outputs[0], rows->outputs[1], weight, bias};
    return bench_node(bench, IR_OP_linear_quantized, 1, biased ? 4 : 3, inputs);
}

static void check_product(const sizes *s, ir_type type, bool zeros, bool biased)
{
    product p = {0};
    test_bench *bench = bench_open(0);
    CHECK_MESSAGE(make_product(bench, s, type, zeros, s->columns + s->rows, &p) == TD_OK, "%s",
                  bench->context.message);
    const ir_tensor *out = bench_run(bench, add_product(bench, s, &p, biased));
    CHECK_MESSAGE(out != NULL, "%s", bench->context.message);
    CHECK_DIMS(out, (int64_t)s->tokens, (int64_t)s->rows);
    for (size_t t = 0; t < s->tokens; t++)
        for (size_t n = 0; n < s->rows; n++) {
            double exact, bound;
            float expected = literal(s, &p, t, n, &exact, &bound);
            CHECK(fabs((double)expected - exact) <= bound * 1.0001 + 1e-5);
            if (biased)
                expected = expected + p.bias[n];
            const float actual = ((const float *)out->data)[t * s->rows + n];
            CHECK_MESSAGE(ir_f32_bits(actual) == ir_f32_bits(expected),
                          "%s, [%zu, %zu] x [%zu, %zu], token %zu row %zu: %a, expected %a",
                          ir_type_name(type), s->tokens, s->columns, s->rows, s->columns, t, n,
                          (double)actual, (double)expected);
        }
    free_product(&p);
    bench_close(bench);
}

TEST(products_of_awkward_sizes)
{
    const ir_type types[] = {IR_I8, IR_U8, IR_I4, IR_U4};
    for (size_t i = 0; i < TD_COUNT_OF(awkward); i++)
        for (size_t type = 0; type < TD_COUNT_OF(types); type++)
            for (int form = 0; form < 4; form++)
                check_product(&awkward[i], types[type], form % 2 != 0, form / 2 != 0);
}

/* The largest sums of a block, which must still be exact. */
TEST(products_of_extremes)
{
    const sizes s = {2, 2, 64, 32};
    product p = {0};
    test_bench *bench = bench_open(0);
    CHECK(make_product(bench, &s, IR_U8, true, 1, &p) == TD_OK);
    for (size_t i = 0; i < s.tokens * s.columns; i++)
        p.x[i] = i < s.columns ? 1.0f : -1.0f;
    for (size_t i = 0; i < s.rows * s.columns; i++)
        p.w[i] = i < s.columns ? 255 : 0;
    for (size_t i = 0; i < s.rows * 2; i++)
        p.zero[i] = i < 2 ? 0 : 255;
    ir_constant *zero, *stored;
    CHECK(add_packed(bench, "z", IR_U8, s.rows, 2, p.zero, &zero) == TD_OK);
    CHECK(add_packed(bench, "w", IR_U8, s.rows, s.columns, p.w, &stored) == TD_OK);
    ir_constant wanted = *stored;
    wanted.scale = p.weight->scale;
    wanted.zero_point = zero;
    wanted.group = 32;
    CHECK(ir_module_add_constant(bench->module, &wanted, &p.weight) == TD_OK);
    const ir_tensor *out = bench_run(bench, add_product(bench, &s, &p, false));
    CHECK_MESSAGE(out != NULL, "%s", bench->context.message);
    for (size_t t = 0; t < s.tokens; t++)
        for (size_t n = 0; n < s.rows; n++) {
            double exact, bound;
            CHECK(((const float *)out->data)[t * s.rows + n] ==
                  literal(&s, &p, t, n, &exact, &bound));
        }
    free_product(&p);
    bench_close(bench);
}

TEST(a_token_that_is_not_finite_gives_rows_of_nan)
{
    const sizes s = {3, 5, 97, 0};
    for (size_t place = 0; place < s.columns; place += 16) {
        product p = {0};
        test_bench *bench = bench_open(0);
        CHECK(make_product(bench, &s, IR_U8, true, 5, &p) == TD_OK);
        p.x[s.columns + place] = place % 32 == 0 ? INFINITY : NAN;
        const ir_tensor *out = bench_run(bench, add_product(bench, &s, &p, true));
        CHECK_MESSAGE(out != NULL, "%s", bench->context.message);
        for (size_t i = 0; i < s.tokens * s.rows; i++)
            CHECK((i / s.rows == 1) == (isnan(((const float *)out->data)[i]) != 0));
        free_product(&p);
        bench_close(bench);
    }
}

/* --- shape rules --- */

static const char before[] =
    "module \"m\" symbol tokens <= 64 symbol n\n"
    "constant @s1 \"\": f16[6, 1] = missing\n"
    "constant @s3 \"\": f16[6, 3] = missing\n"
    "constant @s6 \"\": f16[6, 6] = missing\n"
    "constant @rows \"\": i8[6, 96] = missing {group = 96, scale = @s1}\n"
    "constant @groups \"\": u4[6, 96] = missing {group = 32, scale = @s3}\n"
    "constant @small \"\": i8[6, 96] = missing {group = 16, scale = @s6}\n"
    "constant @odd \"\": i8[6, 33] = missing {group = 33, scale = @s1}\n"
    "constant @wide \"\": i32[6, 96] = missing {group = 96, scale = @s1}\n"
    "constant @float \"\": f32[6, 96] = missing\n"
    "constant @bias \"\": f32[6] = missing\n"
    "constant @bias7 \"\": f32[7] = missing\n"
    "graph \"g\" {\n"
    "input %x: f32[tokens, 96]\n input %y: f32[tokens, 33]\n input %free: f32[tokens, n]\n"
    "input %i: i32[tokens, 96]\n input %scalar: f32[]\n"
    "input %q: i8[tokens, 96]\n input %s: f32[tokens, 3]\n input %s2: f32[tokens, 2]\n"
    "input %q33: i8[tokens, 33]\n input %half: f16[tokens, 96]\n input %w: f32[6, 96]\n";

TEST(shape_rules)
{
    static const struct {
        const char *line, *says; /* NULL: accepted, with the text below */
        const char *prints;
    } rows[] = {
        {"%a, %b = quantize_rows(%x)", NULL, "i8[tokens, 96], %12: f32[tokens, 3] = quant"},
        {"%a, %b = quantize_rows(%half)", NULL, "i8[tokens, 96], %12: f32[tokens, 3] = quant"},
        {"%a, %b = quantize_rows(%y)", NULL, "i8[tokens, 33], %12: f32[tokens, 2] = quant"},
        {"%a, %b = quantize_rows(%free)", "where K is a number", NULL},
        {"%a, %b = quantize_rows(%scalar)", "where K is a number", NULL},
        {"%a, %b = quantize_rows(%i)", "floats are needed", NULL},
        {"%a = linear_quantized(%q, %s, @rows)", NULL, "f32[tokens, 6] = linear_q"},
        {"%a = linear_quantized(%q, %s, @groups, @bias)", NULL, "f32[tokens, 6] = linear_q"},
        {"%a = linear_quantized(%q33, %s2, @odd)", NULL, "f32[tokens, 6] = linear_q"},
        {"%a = linear_quantized(%q, %s, @small)", "groups of a multiple of 32", NULL},
        {"%a = linear_quantized(%q, %s, @float)", "must be a constant", NULL},
        {"%a = linear_quantized(%q, %s, @wide)", "must be a constant", NULL},
        {"%a = linear_quantized(%q, %s, %w)", "must be a constant", NULL},
        {"%a = linear_quantized(%q, %s2, @rows)", "sizes of the scales", NULL},
        {"%a = linear_quantized(%x, %s, @rows)", "i8 and f32 scales", NULL},
        {"%a = linear_quantized(%q33, %s2, @rows)", "the lengths of activations", NULL},
        {"%a = linear_quantized(%q, %s, @rows, @bias7)", "length of the bias", NULL},
    };
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        td_context context;
        ir_module *module = NULL;
        td_text source, printed;
        td_context_init(&context);
        td_text_init(&source, &context);
        td_text_init(&printed, &context);
        td_text_printf(&source, "%s%s\n}\n", before, rows[i].line);
        const td_status status = ir_parse(&context, source.data, source.length, "t", &module);
        const char *says = rows[i].says;
        CHECK_MESSAGE((status == TD_OK) == (says == NULL), "%s: %s", rows[i].line, context.message);
        if (says == NULL) {
            CHECK(ir_print(module, &printed) == TD_OK);
            CHECK_MESSAGE(strstr(printed.data, rows[i].prints) != NULL, "%s", printed.data);
        } else {
            CHECK_MESSAGE(strstr(context.message, says) != NULL, "%s", context.message);
        }
        ir_module_release(module);
        td_text_release(&printed);
        td_text_release(&source);
    }
}

TEST_MAIN()
