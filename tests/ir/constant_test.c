/* Constants: ranges of elements, dequantisation, lazy reading, refusals.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "ir/ir.h"

#include "tests/test.h"

static ir_module *new_module(td_context *context)
{
    ir_module *module = NULL;
    td_context_init(context);
    if (ir_module_create(context, "m", &module) != TD_OK)
        abort();
    return module;
}

static ir_constant *add(ir_module *module, ir_type type, uint32_t rank, const int64_t *dims,
                        const void *bytes)
{
    ir_constant *constant = NULL;
    ir_shape shape = ir_shape_of(rank, dims);
    if (ir_module_add_constant_bytes(module, "c", type, &shape, bytes, &constant) != TD_OK)
        abort();
    return constant;
}

TEST(every_type_reads_as_f32)
{
    td_context context;
    ir_module *module = new_module(&context);
    const struct {
        ir_type type;
        const void *bytes;
        float expected[2];
    } cases[] = {
        {IR_F32, (float[]){1.5f, -2}, {1.5f, -2}},
        {IR_F16, (uint16_t[]){0x3e00, 0xc000}, {1.5f, -2}},
        {IR_BF16, (uint16_t[]){0x3fc0, 0xc000}, {1.5f, -2}},
        {IR_F64, (double[]){1.5, -2}, {1.5f, -2}},
        {IR_I64, (int64_t[]){7, -2}, {7, -2}},
        {IR_I32, (int32_t[]){7, -2}, {7, -2}},
        {IR_I8, (int8_t[]){127, -128}, {127, -128}},
        {IR_U8, (uint8_t[]){255, 1}, {255, 1}},
        {IR_I4, (uint8_t[]){0x87}, {7, -8}},
        {IR_U4, (uint8_t[]){0x8f}, {15, 8}},
        {IR_BOOL, (uint8_t[]){2, 0}, {1, 0}},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        float values[2];
        ir_constant *constant = add(module, cases[i].type, 1, (int64_t[]){2}, cases[i].bytes);
        CHECK(ir_constant_read_f32(&context, constant, 0, 2, values) == TD_OK);
        CHECK(memcmp(values, cases[i].expected, sizeof values) == 0);
        CHECK(ir_constant_read_f32(&context, constant, 1, 1, values) == TD_OK);
        CHECK(values[0] == cases[i].expected[1]);
    }
    ir_module_release(module);
}

/* A source whose byte k is k * 7 mod 256, which counts what it was asked for. */
static td_status read_pattern(td_context *context, const void *self, uint64_t offset, uint64_t size,
                              void *bytes)
{
    (void)context;
    size_t *largest;
    memcpy(&largest, self, sizeof largest);
    *largest = size > *largest ? size : *largest;
    for (uint64_t i = 0; i < size; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)((offset + i) * 7);
    return TD_OK;
}

TEST(large_constants_are_read_in_pieces)
{
    td_context context;
    ir_module *module = new_module(&context);
    size_t largest = 0, *self = &largest;
    ir_constant wish = {
        .name = "big", .type = IR_U4, .shape = ir_shape_of(1, (int64_t[]){1 << 20})};
    wish.source = (ir_source){read_pattern, &self, "a pattern"};
    ir_constant *constant = NULL;
    CHECK(ir_module_add_constant(module, &wish, &constant) == TD_OK);
    CHECK(constant->bytes == 1 << 19);
    enum { COUNT = 30001 };
    float *values = malloc(COUNT * sizeof *values);
    /* From an odd element on: within a byte, over the borders of pieces. */
    CHECK(ir_constant_read_f32(&context, constant, 777, COUNT, values) == TD_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned element = 777 + i, byte = (element / 2 * 7) & 255;
        CHECK(values[i] == (float)(element % 2 == 0 ? byte & 15 : byte >> 4));
    }
    CHECK(largest <= 65536);
    CHECK(ir_constant_read_f32(&context, constant, (1 << 20) - 1, 1, values) == TD_OK);
    CHECK(ir_constant_read_f32(&context, constant, (1 << 20) - 1, 2, values) == TD_INTERNAL);
    CHECK(ir_constant_read_f32(&context, constant, UINT64_MAX, 2, values) == TD_INTERNAL);
    CHECK(ir_constant_read(&context, constant, 1 << 19, 1, values) == TD_INTERNAL);
    CHECK(ir_constant_read(&context, constant, 2, UINT64_MAX, values) == TD_INTERNAL);
    free(values);
    ir_module_release(module);
}

TEST(groups_with_scale_and_zero_point)
{
    td_context context;
    ir_module *module = new_module(&context);
    /* Two rows of four in groups of two. */
    const uint8_t packed[] = {0x21, 0x43, 0x65, 0xf0}, zero[] = {0x10, 0x32};
    const float scale[] = {1, 0.5f, 2, 0.1f};
    ir_constant wish = {.name = "w", .type = IR_U4, .shape = ir_shape_of(2, (int64_t[]){2, 4})};
    ir_constant *bytes = add(module, IR_U4, 2, (int64_t[]){2, 4}, packed), *constant = NULL;
    wish.source = bytes->source;
    wish.group = 2;
    wish.scale = add(module, IR_F32, 2, (int64_t[]){2, 2}, scale);
    wish.zero_point = add(module, IR_U4, 2, (int64_t[]){2, 2}, zero);
    CHECK(ir_module_add_constant(module, &wish, &constant) == TD_OK);
    float values[8];
    const float expected[] = {1, 2, 1, 1.5f, 6, 8, -3 * 0.1f, 12 * 0.1f};
    CHECK(ir_constant_read_f32(&context, constant, 0, 8, values) == TD_OK);
    CHECK(memcmp(values, expected, sizeof values) == 0);
    CHECK(ir_constant_read_f32(&context, constant, 4, 4, values) == TD_OK);
    CHECK(memcmp(values, expected + 4, 4 * sizeof *values) == 0);
    CHECK(ir_constant_read_f32(&context, constant, 2, 4, values) == TD_INTERNAL);
    CHECK(ir_constant_read_f32(&context, constant, 4, 0, values) == TD_OK);
    ir_module_release(module);
}

TEST(wrong_quantisation_is_refused)
{
    td_context context;
    ir_module *module = new_module(&context);
    const uint8_t packed[8] = {0};
    const float scale[4] = {0};
    ir_constant *added = NULL, *f32 = add(module, IR_F32, 1, (int64_t[]){4}, scale);
    ir_constant *i8 = add(module, IR_I8, 1, (int64_t[]){4}, packed);
    ir_constant right = {.name = "w", .type = IR_U8, .shape = ir_shape_of(2, (int64_t[]){2, 4})};
    right.group = 2;
    right.scale = f32;
    CHECK(ir_module_add_constant(module, &right, &added) == TD_OK);
    ir_constant wrong = right;
    wrong.group = 3;
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    wrong.group = 0;
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    wrong.group = 4; /* two scales are needed, there are four */
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    wrong = right;
    wrong.zero_point = i8; /* another type */
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    wrong = right;
    wrong.scale = i8;
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    wrong = right;
    wrong.type = IR_F32;
    CHECK(ir_module_add_constant(module, &wrong, &added) == TD_INVALID);
    ir_module_release(module);
}

TEST(shapes_must_be_fixed_and_fit)
{
    td_context context;
    ir_module *module = new_module(&context);
    ir_constant *added = NULL;
    ir_constant wish = {.name = "w", .type = IR_F32, .missing = true};
    wish.shape = ir_shape_of(1, (int64_t[]){-1});
    CHECK(ir_module_add_constant(module, &wish, &added) == TD_INVALID);
    wish.shape = ir_shape_of(2, (int64_t[]){INT64_MAX, INT64_MAX});
    CHECK(ir_module_add_constant(module, &wish, &added) == TD_INVALID);
    wish.shape = ir_shape_of(1, (int64_t[]){INT64_MAX});
    CHECK(ir_module_add_constant(module, &wish, &added) == TD_INVALID);
    wish.shape = (ir_shape){.rank = 1, .dim = {ir_dim_symbol(0)}};
    CHECK(ir_module_add_constant(module, &wish, &added) == TD_INVALID);
    ir_module_release(module);
}

TEST(integers_and_missing_data)
{
    td_context context;
    ir_module *module = new_module(&context);
    int64_t values[4];
    size_t count = 0;
    ir_constant *constant = add(module, IR_I4, 1, (int64_t[]){3}, (uint8_t[]){0xf1, 0x07});
    CHECK(ir_constant_read_i64(&context, constant, 4, values, &count) == TD_OK);
    CHECK(count == 3 && values[0] == 1 && values[1] == -1 && values[2] == 7);
    CHECK(ir_constant_read_i64(&context, constant, 2, values, &count) == TD_INVALID);
    constant = add(module, IR_F32, 0, NULL, (float[]){1});
    CHECK(ir_constant_read_i64(&context, constant, 4, values, &count) == TD_INVALID);
    ir_constant wish = {.name = "w", .type = IR_F32, .missing = true};
    wish.source.description = "model.bin at 12";
    float number;
    CHECK(ir_module_add_constant(module, &wish, &constant) == TD_OK);
    CHECK(ir_constant_read_f32(&context, constant, 0, 1, &number) == TD_INVALID);
    CHECK(strstr(context.message, "model.bin at 12") != NULL);
    ir_module_release(module);
}

TEST_MAIN()
