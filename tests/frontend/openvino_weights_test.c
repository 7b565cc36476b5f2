/* Decompression cones in files, against a naive computation of what they mean.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/frontend/openvino_model.h"

#include "base/hash.h"
#include "ir/half.h"

/* One cone: N rows of `groups` groups of `group` elements. */
typedef struct test_cone {
    const char *type, *precision; /* of the stored numbers */
    unsigned bits;
    bool is_signed;
    unsigned rows, groups, group;
    bool zero_point, shared_zero_point; /* one per group, or a scalar */
    bool scale_first;                   /* Multiply(scale, x) */
    bool f32;                           /* computed in f32: no trailing Convert */
    bool flat;                          /* two-dimensional: no Reshape */
    unsigned leading;                   /* > 0: experts, a dimension before the rows */
} test_cone;

enum { MOST = 4096 };

typedef struct cone_data {
    unsigned char stored[MOST], zero[MOST];
    int number[MOST], zero_number[MOST];
    uint16_t scale[MOST];
    float scale32[MOST];
} cone_data;

/* Packs numbers as the file stores them. */
static size_t pack(const test_cone *cone, const int *numbers, size_t count, unsigned char *bytes)
{
    memset(bytes, 0, MOST);
    for (size_t i = 0; i < count; i++) {
        if (cone->bits == 8)
            bytes[i] = (unsigned char)numbers[i];
        else
            bytes[i / 2] = (unsigned char)(bytes[i / 2] | (numbers[i] & 15) << (i % 2 * 4));
    }
    return cone->bits == 8 ? count : (count + 1) / 2;
}

static int random_number(const test_cone *cone, uint64_t *state)
{
    int levels = 1 << cone->bits, number = (int)(td_random_next(state) % (unsigned)levels);
    return cone->is_signed ? number - levels / 2 : number;
}

static void fill(const test_cone *cone, size_t elements, size_t groups, cone_data *data)
{
    uint64_t state = 7;
    for (size_t i = 0; i < elements; i++)
        data->number[i] = random_number(cone, &state);
    for (size_t i = 0; i < groups; i++) {
        data->zero_number[i] = random_number(cone, &state);
        if (cone->shared_zero_point)
            data->zero_number[i] = data->zero_number[0];
        data->scale[i] = ir_f32_to_f16((float)(1 + td_random_next(&state) % 100) / 4096.0f);
        data->scale32[i] = ir_f16_to_f32(data->scale[i]);
    }
}

/* Writes x[1, K] times the cone's transposed matrix. */
static void write_model(test_model *model, const test_cone *cone, cone_data *data)
{
    unsigned experts = cone->leading > 0 ? cone->leading : 1;
    size_t groups = (size_t)experts * cone->rows * cone->groups, elements = groups * cone->group;
    char lead[32] = "", shape[96], parts[96], flat[96];
    unsigned row = cone->groups * cone->group;
    const char *work = cone->f32 ? "f32" : "f16", *worked = cone->f32 ? "FP32" : "FP16";
    if (cone->leading > 0)
        snprintf(lead, sizeof lead, "%u, ", cone->leading);
    snprintf(flat, sizeof flat, "%s%u, %u", lead, cone->rows, row);
    snprintf(shape, sizeof shape, cone->flat ? "%s%u, %u" : "%s%u, %u, %u", lead, cone->rows,
             cone->flat ? row : cone->groups, cone->group);
    snprintf(parts, sizeof parts, cone->flat ? "%s%u, 1" : "%s%u, %u, 1", lead, cone->rows,
             cone->groups);
    char convert[64];
    snprintf(convert, sizeof convert, "destination_type=\"%s\"", work);
    fill(cone, elements, groups, data);

    char input[32];
    snprintf(input, sizeof input, "1,%u", row);
    unsigned x = model_parameter(model, "f32", "FP32", input, input);
    size_t size = pack(cone, data->number, elements, data->stored);
    unsigned value = model_const(model, cone->type, cone->precision, shape, data->stored, size);
    value = model_one(model, "Convert", convert, value, worked, shape);
    if (cone->zero_point) {
        size = pack(cone, data->zero_number, cone->shared_zero_point ? 1 : groups, data->zero);
        unsigned zero = model_const(model, cone->type, cone->precision,
                                    cone->shared_zero_point ? "" : parts, data->zero, size);
        zero = model_one(model, "Convert", convert, zero, worked, parts);
        value =
            model_two(model, "Subtract", "auto_broadcast=\"numpy\"", value, zero, worked, shape);
    }
    unsigned scale =
        cone->f32 ? model_const(model, "f32", "FP32", parts, data->scale32, groups * sizeof(float))
                  : model_const(model, "f16", "FP16", parts, data->scale, groups * 2);
    value = cone->scale_first ? model_two(model, "Multiply", "", scale, value, worked, shape)
                              : model_two(model, "Multiply", "", value, scale, worked, shape);
    if (!cone->flat) {
        int64_t target[3] = {experts, cone->rows, row};
        unsigned first = cone->leading > 0 ? 0 : 1;
        unsigned to = model_i64s(model, first == 0 ? "3" : "2", 3 - first, target + first);
        value = model_two(model, "Reshape", "special_zero=\"false\"", value, to, worked, flat);
    }
    if (!cone->f32)
        value = model_one(model, "Convert", "destination_type=\"f32\"", value, "FP32", flat);
    model_result(model, model_two(model, "MatMul", "transpose_a=\"false\" transpose_b=\"true\"", x,
                                  value, "FP32", "-1,-1"));
}

/* The matrix that MatMul reads must be one quantised constant that means what the cone means. */
static const char *compare(td_context *context, const test_cone *cone, const cone_data *data,
                           ir_module *module)
{
    static float values[MOST];
    ir_node *product = find_node(module->graphs.items[0], IR_OP_matmul);
    if (product == NULL || product->inputs[1]->kind != IR_VALUE_CONSTANT)
        return "MatMul does not read a constant";
    const ir_constant *matrix = product->inputs[1]->constant;
    if (matrix->scale == NULL || matrix->group != cone->group || product->inputs[1]->type != IR_F32)
        return "the constant is not quantised by groups";
    if ((matrix->zero_point != NULL) != cone->zero_point)
        return "the zero point is lost or invented";
    unsigned experts = cone->leading > 0 ? cone->leading : 1;
    size_t elements = (size_t)experts * cone->rows * cone->groups * cone->group;
    if (ir_constant_read_f32(context, matrix, 0, elements, values) != TD_OK)
        return context->message;
    for (size_t i = 0; i < elements; i++) {
        int zero = cone->zero_point ? data->zero_number[i / cone->group] : 0;
        float wanted = (float)(data->number[i] - zero) * data->scale32[i / cone->group];
        if (memcmp(&values[i], &wanted, sizeof wanted) != 0 && values[i] != wanted)
            return "an element differs";
    }
    for (const ir_node *node = module->graphs.items[0]->first; node != NULL; node = node->next)
        if (node->op == IR_OP_multiply || node->op == IR_OP_convert || node->op == IR_OP_subtract)
            return "a part of the cone is left";
    return NULL;
}

static const char *check_cone(const test_cone *cone)
{
    static test_model model;
    static cone_data data;
    static char why[1100];
    model_begin(&model);
    write_model(&model, cone, &data);
    ir_module *module = model_read(&model);
    const char *wrong = module == NULL ? "not read" : NULL;
    if (wrong == NULL &&
        (ir_pass_fold_shapes(module) != TD_OK || ir_pass_fold_decompression(module) != TD_OK ||
         ir_verify(module) != TD_OK))
        wrong = model.context.message;
    if (wrong == NULL)
        wrong = compare(&model.context, cone, &data, module);
    if (wrong != NULL)
        snprintf(why, sizeof why, "%s", wrong);
    ir_module_release(module);
    model_end(&model);
    return wrong == NULL ? NULL : why;
}

#define CHECK_CONE(...)                                                                            \
    do {                                                                                           \
        const char *wrong = check_cone(&(test_cone){__VA_ARGS__});                                 \
        CHECK_MESSAGE(wrong == NULL, "%s", wrong);                                                 \
    } while (0)

#define U8 .type = "u8", .precision = "U8", .bits = 8
#define I8 .type = "i8", .precision = "I8", .bits = 8, .is_signed = true
#define U4 .type = "u4", .precision = "U4", .bits = 4
#define I4 .type = "i4", .precision = "I4", .bits = 4, .is_signed = true

TEST(u8_rows_with_zero_points)
{
    CHECK_CONE(U8, .rows = 5, .groups = 1, .group = 24, .zero_point = true, .flat = true);
}

TEST(u8_rows_with_one_zero_point)
{
    CHECK_CONE(U8, .rows = 5, .groups = 1, .group = 24, .zero_point = true,
               .shared_zero_point = true, .flat = true);
}

TEST(i8_rows_without_zero_point)
{
    CHECK_CONE(I8, .rows = 3, .groups = 1, .group = 40, .flat = true);
    CHECK_CONE(I8, .rows = 3, .groups = 1, .group = 40, .flat = true, .f32 = true);
}

TEST(u4_groups_with_zero_points)
{
    CHECK_CONE(U4, .rows = 6, .groups = 3, .group = 32, .zero_point = true);
    CHECK_CONE(U4, .rows = 6, .groups = 3, .group = 32, .zero_point = true,
               .shared_zero_point = true);
}

TEST(i4_groups)
{
    CHECK_CONE(I4, .rows = 6, .groups = 3, .group = 32);
    CHECK_CONE(I4, .rows = 3, .groups = 2, .group = 32, .zero_point = true);
}

TEST(the_scale_may_come_first)
{
    CHECK_CONE(U4, .rows = 4, .groups = 2, .group = 32, .zero_point = true, .scale_first = true);
    CHECK_CONE(I4, .rows = 4, .groups = 2, .group = 32, .scale_first = true);
}

TEST(experts_have_a_dimension_more)
{
    CHECK_CONE(I4, .rows = 4, .groups = 2, .group = 32, .leading = 3);
}

TEST(an_f16_matrix_stays_f16_in_the_file)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    uint16_t halves[12];
    for (size_t i = 0; i < TD_COUNT_OF(halves); i++)
        halves[i] = ir_f32_to_f16((float)i / 8);
    unsigned x = model_parameter(model, "f32", "FP32", "?,4", "-1,4");
    unsigned w = model_const(model, "f16", "FP16", "3, 4", halves, sizeof halves);
    w = model_one(model, "Convert", "destination_type=\"f32\"", w, "FP32", "3,4");
    model_result(model, model_two(model, "MatMul", "transpose_b=\"true\"", x, w, "FP32", "-1,3"));
    ir_module *module = model_read(model);
    bool good = module != NULL && ir_pass_fold_shapes(module) == TD_OK &&
                ir_pass_fold_decompression(module) == TD_OK && ir_verify(module) == TD_OK;
    ir_node *product = good ? find_node(module->graphs.items[0], IR_OP_matmul) : NULL;
    ir_node *convert = product != NULL ? product->inputs[1]->producer : NULL;
    good = convert != NULL && convert->op == IR_OP_convert &&
           convert->inputs[0]->constant->type == IR_F16;
    ir_module_release(module);
    model_end(model);
    free(model);
    CHECK(good);
}

/* A scale per column is no scale per group: such a cone stays as it is. */
TEST(another_layout_of_scales_is_left_alone)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    signed char stored[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    float scales[4] = {1, 2, 3, 4};
    unsigned w = model_const(model, "i8", "I8", "3, 4", stored, sizeof stored);
    w = model_one(model, "Convert", "destination_type=\"f32\"", w, "FP32", "3,4");
    unsigned s = model_const(model, "f32", "FP32", "1, 4", scales, sizeof scales);
    model_result(model, model_two(model, "Multiply", "", w, s, "FP32", "3,4"));
    ir_module *module = model_read(model);
    bool good = module != NULL && ir_pass_fold_shapes(module) == TD_OK &&
                ir_pass_fold_decompression(module) == TD_OK &&
                count_nodes(module->graphs.items[0], IR_OP_multiply) == 1;
    ir_module_release(module);
    model_end(model);
    free(model);
    CHECK(good);
}

TEST_MAIN()
