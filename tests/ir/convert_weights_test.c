/* Converting the weights of a raised module: f32, f16, q8 and q4, lazily and once per constant.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/half.h"
#include "ir/passes/fit_q4.h"
#include "ir/passes/passes.h"
#include "tests/failing.h"
#include "tests/test.h"

#include <math.h>

#define ROWS      5
#define COLUMNS   96 /* three groups: their zero points end within a byte */
#define ZERO_ROW  2
#define NARROW    7 /* columns that 32 does not divide */
#define MOST_ROWS 3

/* "forward": embed(table, ids), rms_norm, linear(table), linear(own): the table is read twice, as
 * in a model whose head is tied; own holds the same numbers. "narrow": linear(narrow). */
typedef struct fixture {
    td_context context;
    ir_module *module;
    ir_node *embed, *norm, *head, *own, *narrow;
    float table[ROWS][COLUMNS], narrow_weight[MOST_ROWS][NARROW];
} fixture;

static td_status add_constant(fixture *f, ir_graph *graph, const char *name, uint32_t rank,
                              const int64_t *dims, const float *data, ir_value **value)
{
    const ir_shape shape = ir_shape_of(rank, dims);
    ir_constant *constant;
    TD_TRY(ir_module_add_constant_bytes(f->module, name, IR_F32, &shape, data, &constant));
    return ir_graph_add_constant(graph, constant, value);
}

static td_status add_node(ir_graph *graph, ir_opcode op, ir_value *a, ir_value *b, ir_node **node)
{
    TD_TRY(ir_graph_add_node(graph, op, ir_op(op)->name, 2, (ir_value *[]){a, b}, 1, node));
    if (op == IR_OP_rms_norm)
        TD_TRY(ir_node_set_float(*node, "epsilon", 1e-5));
    return ir_node_infer(*node);
}

static td_status build_forward(fixture *f, ir_dim tokens)
{
    const ir_shape shape = {.rank = 1, .dim = {tokens}};
    float ones[COLUMNS];
    ir_graph *graph;
    ir_value *ids, *table, *weight;
    for (int i = 0; i < COLUMNS; i++)
        ones[i] = 1.0f;
    TD_TRY(ir_module_add_graph(f->module, "forward", &graph));
    TD_TRY(ir_graph_add_input(graph, "ids", IR_I32, &shape, &ids));
    TD_TRY(add_constant(f, graph, "table", 2, (int64_t[]){ROWS, COLUMNS}, f->table[0], &table));
    TD_TRY(add_constant(f, graph, "ones", 1, (int64_t[]){COLUMNS}, ones, &weight));
    TD_TRY(add_node(graph, IR_OP_embed, table, ids, &f->embed));
    TD_TRY(add_node(graph, IR_OP_rms_norm, f->embed->outputs[0], weight, &f->norm));
    TD_TRY(add_node(graph, IR_OP_linear, f->norm->outputs[0], table, &f->head));
    TD_TRY(add_constant(f, graph, "own", 2, (int64_t[]){ROWS, COLUMNS}, f->table[0], &table));
    TD_TRY(add_node(graph, IR_OP_linear, f->norm->outputs[0], table, &f->own));
    TD_TRY(ir_graph_add_output(graph, "own", f->own->outputs[0]));
    return ir_graph_add_output(graph, "logits", f->head->outputs[0]);
}

static td_status build_narrow(fixture *f, ir_dim tokens)
{
    const ir_shape shape = {.rank = 2, .dim = {tokens, ir_dim_constant(NARROW)}};
    ir_graph *graph;
    ir_value *x, *weight;
    TD_TRY(ir_module_add_graph(f->module, "narrow", &graph));
    TD_TRY(ir_graph_add_input(graph, "x", IR_F32, &shape, &x));
    TD_TRY(add_constant(f, graph, "narrow", 2, (int64_t[]){MOST_ROWS, NARROW}, f->narrow_weight[0],
                        &weight));
    TD_TRY(add_node(graph, IR_OP_linear, x, weight, &f->narrow));
    return ir_graph_add_output(graph, "y", f->narrow->outputs[0]);
}

static td_status build_in_context(fixture *f)
{
    uint64_t random = 3;
    ir_symbol tokens;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            f->table[i][j] =
                i == ZERO_ROW ? 0.0f : (float)(td_random_next(&random) >> 40) * 0x1p-20f - 8.0f;
    for (int i = 0; i < MOST_ROWS; i++)
        for (int j = 0; j < NARROW; j++)
            f->narrow_weight[i][j] = (float)(i * NARROW + j) - 10.0f;
    TD_TRY(ir_module_create(&f->context, "test", &f->module));
    TD_TRY(ir_module_add_symbol(f->module, "tokens", 8, &tokens));
    TD_TRY(build_forward(f, ir_dim_symbol(tokens)));
    return build_narrow(f, ir_dim_symbol(tokens));
}

static td_status build(fixture *f)
{
    td_context_init(&f->context);
    return build_in_context(f);
}

TEST(keep_and_same_type_change_nothing)
{
    fixture f;
    CHECK(build(&f) == TD_OK);
    const ir_constant *before = f.head->inputs[1]->constant;
    CHECK(ir_pass_convert_weights(f.module, "keep") == TD_OK);
    CHECK(ir_pass_convert_weights(f.module, "f32") == TD_OK);
    CHECK(f.head->inputs[1]->constant == before && f.embed->inputs[0]->constant == before);
    CHECK(ir_pass_convert_weights(f.module, "q3") == TD_USAGE);
    CHECK_STRING(f.context.message, "weights=q3 is unknown; keep, f32, f16, q8 and q4 are known");
    ir_module_release(f.module);
}

TEST(f16_rounds_to_nearest_even)
{
    fixture f;
    float values[ROWS * COLUMNS];
    CHECK(build(&f) == TD_OK);
    CHECK_MESSAGE(ir_pass_convert_weights(f.module, "f16") == TD_OK, "%s", f.context.message);
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    const ir_constant *table = f.head->inputs[1]->constant;
    CHECK(table->type == IR_F16 && table == f.embed->inputs[0]->constant);
    CHECK(f.norm->inputs[1]->constant->type == IR_F32);
    CHECK(ir_constant_read_f32(&f.context, table, 0, ROWS * COLUMNS, values) == TD_OK);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        CHECK(values[i] == ir_f16_to_f32(ir_f32_to_f16(f.table[i / COLUMNS][i % COLUMNS])));
    /* and back: the f32 constant reads what f16 left */
    CHECK(ir_pass_convert_weights(f.module, "f32") == TD_OK);
    CHECK(f.head->inputs[1]->constant->type == IR_F32);
    CHECK(ir_constant_read_f32(&f.context, f.head->inputs[1]->constant, 7, 1, values) == TD_OK);
    CHECK(values[0] == ir_f16_to_f32(ir_f32_to_f16(f.table[0][7])));
    ir_module_release(f.module);
}

/* Every stored number is the nearest step of its group's scale, which makes the largest 127. */
TEST(q8_has_a_scale_per_group)
{
    fixture f;
    int8_t stored[ROWS][COLUMNS];
    uint16_t scales[ROWS][COLUMNS / 32];
    CHECK(build(&f) == TD_OK);
    CHECK_MESSAGE(ir_pass_convert_weights(f.module, "q8") == TD_OK, "%s", f.context.message);
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    const ir_constant *table = f.head->inputs[1]->constant;
    CHECK(table == f.embed->inputs[0]->constant && f.head->inputs[1]->type == IR_F32);
    CHECK(table->type == IR_I8 && table->group == 32 && table->zero_point == NULL);
    CHECK(table->scale->type == IR_F16 && ir_dim_is(&table->scale->shape.dim[1], COLUMNS / 32));
    CHECK(ir_constant_read(&f.context, table, 0, sizeof stored, stored) == TD_OK);
    CHECK(ir_constant_read(&f.context, table->scale, 0, sizeof scales, scales) == TD_OK);
    for (int i = 0; i < ROWS; i++)
        for (int start = 0; start < COLUMNS; start += 32) {
            const float scale = ir_f16_to_f32(scales[i][start / 32]);
            float largest = 0.0f;
            for (int j = start; j < start + 32; j++) {
                largest = fmaxf(largest, fabsf(f.table[i][j]));
                CHECK(fabsf((float)stored[i][j] * scale - f.table[i][j]) <= 0.51f * scale);
                CHECK(stored[i][j] >= -127);
            }
            CHECK(scale == ir_f16_to_f32(ir_f32_to_f16(largest / 127.0f)));
            CHECK((scale == 0.0f) == (i == ZERO_ROW));
        }
    ir_module_release(f.module);
}

TEST(q8_has_one_scale_for_odd_rows)
{
    fixture f;
    float values[MOST_ROWS * NARROW];
    CHECK(build(&f) == TD_OK);
    CHECK(ir_pass_convert_weights(f.module, "q8") == TD_OK);
    const ir_constant *weight = f.narrow->inputs[1]->constant;
    CHECK(weight->group == NARROW && ir_dim_is(&weight->scale->shape.dim[1], 1));
    CHECK(ir_constant_read_f32(&f.context, weight, 0, MOST_ROWS * NARROW, values) == TD_OK);
    for (int i = 0; i < MOST_ROWS * NARROW; i++)
        CHECK(fabsf(values[i] - f.narrow_weight[i / NARROW][i % NARROW]) < 0.05f);
    /* a second time nothing happens: the weight is quantised already */
    CHECK(ir_pass_convert_weights(f.module, "q8") == TD_OK);
    CHECK(f.narrow->inputs[1]->constant == weight);
    /* and f32 takes the steps apart again */
    CHECK(ir_pass_convert_weights(f.module, "f32") == TD_OK);
    float again[MOST_ROWS * NARROW];
    CHECK(f.narrow->inputs[1]->constant->scale == NULL);
    CHECK(ir_constant_read_f32(&f.context, f.narrow->inputs[1]->constant, 0, MOST_ROWS * NARROW,
                               again) == TD_OK);
    CHECK(memcmp(values, again, sizeof values) == 0);
    ir_module_release(f.module);
}

static unsigned nibble(const uint8_t *bytes, int index)
{
    return (unsigned)(bytes[index / 2] >> (index % 2 * 4)) & 15u;
}

/* Squared error of a group with scale (most - least) / 15 and its zero point: what a fit must beat.
 */
static double plain_error(const float *weights)
{
    float least = 0.0f, most = 0.0f;
    double error = 0.0;
    for (int i = 0; i < 32; i++) {
        least = fminf(least, weights[i]);
        most = fmaxf(most, weights[i]);
    }
    const float scale = ir_f16_to_f32(ir_f32_to_f16((most - least) / 15.0f));
    const float zero = scale > 0.0f ? rintf(-least / scale) : 0.0f;
    for (int i = 0; i < 32 && scale > 0.0f; i++) {
        const float code = fmaxf(0.0f, fminf(15.0f, rintf(weights[i] / scale) + zero));
        const double off = (double)((code - zero) * scale - weights[i]);
        error += off * off;
    }
    return error;
}

TEST(q4_has_a_scale_and_a_zero_point_per_group)
{
    enum { GROUPS = COLUMNS / 32 };
    fixture f;
    uint8_t stored[ROWS * COLUMNS / 2], zeros[(ROWS * GROUPS + 1) / 2];
    uint16_t scales[ROWS * GROUPS];
    float values[ROWS][COLUMNS];
    CHECK(build(&f) == TD_OK);
    CHECK_MESSAGE(ir_pass_convert_weights(f.module, "q4") == TD_OK, "%s", f.context.message);
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    const ir_constant *table = f.own->inputs[1]->constant;
    CHECK(table->type == IR_U4 && table->group == 32);
    /* what embed reads has 8 bits, also where it is the head */
    CHECK(f.head->inputs[1]->constant == f.embed->inputs[0]->constant);
    CHECK(f.head->inputs[1]->constant->type == IR_I8);
    CHECK(table->scale->type == IR_F16 && table->zero_point->type == IR_U4);
    CHECK(table->bytes == sizeof stored && table->zero_point->bytes == sizeof zeros);
    CHECK(ir_constant_suits_blocks(table));
    CHECK(ir_constant_read(&f.context, table, 0, sizeof stored, stored) == TD_OK);
    CHECK(ir_constant_read(&f.context, table->scale, 0, sizeof scales, scales) == TD_OK);
    CHECK(ir_constant_read(&f.context, table->zero_point, 0, sizeof zeros, zeros) == TD_OK);
    CHECK(ir_constant_read_f32(&f.context, table, 0, ROWS * COLUMNS, values[0]) == TD_OK);
    for (int group = 0; group < ROWS * GROUPS; group++) {
        const float scale = ir_f16_to_f32(scales[group]);
        const unsigned zero = nibble(zeros, group);
        const float *weights = &f.table[group / GROUPS][group % GROUPS * 32];
        const float *read = &values[group / GROUPS][group % GROUPS * 32];
        double error = 0.0;
        CHECK_MESSAGE((scale == 0.0f) == (group / GROUPS == ZERO_ROW), "group %d: %g", group,
                      (double)scale);
        for (int i = 0; i < 32; i++) {
            const int code = (int)nibble(stored, group * 32 + i);
            const float means = (float)(code - (int)zero) * scale;
            CHECK(means == read[i]);
            /* no other code is nearer */
            for (int other = 0; other < 16; other++)
                CHECK(fabsf(means - weights[i]) <=
                      fabsf((float)(other - (int)zero) * scale - weights[i]) + 1e-5f * scale);
            error += ((double)means - (double)weights[i]) * ((double)means - (double)weights[i]);
        }
        CHECK(error <= plain_error(weights) * 1.0001);
    }
    /* rows that 32 does not divide become q8; a second time, and under q8, nothing happens */
    const ir_constant *narrow = f.narrow->inputs[1]->constant;
    CHECK(narrow->type == IR_I8);
    CHECK(ir_pass_convert_weights(f.module, "q4") == TD_OK);
    CHECK(ir_pass_convert_weights(f.module, "q8") == TD_OK);
    CHECK(f.own->inputs[1]->constant == table && f.narrow->inputs[1]->constant == narrow);
    ir_module_release(f.module);
}

TEST(q8_becomes_q4)
{
    fixture f;
    float values[COLUMNS];
    CHECK(build(&f) == TD_OK);
    CHECK(ir_pass_convert_weights(f.module, "q8") == TD_OK);
    CHECK(ir_pass_convert_weights(f.module, "q4") == TD_OK);
    CHECK_MESSAGE(ir_verify(f.module) == TD_OK, "%s", f.context.message);
    const ir_constant *table = f.own->inputs[1]->constant;
    CHECK(f.head->inputs[1]->constant->type == IR_I8 && table->type == IR_U4 &&
          f.narrow->inputs[1]->constant->type == IR_I8);
    CHECK(ir_constant_read_f32(&f.context, table, 0, COLUMNS, values) == TD_OK);
    for (int i = 0; i < COLUMNS; i++)
        CHECK(fabsf(values[i] - f.table[0][i]) <= 0.1f * 8.0f);
    ir_module_release(f.module);
}

/* The squared error of a group under a fit. */
static double fit_error(const float *weights, ir_q4_fit fit)
{
    uint8_t codes[IR_Q4_GROUP];
    double error = 0.0;
    ir_encode_q4(weights, fit, codes);
    for (int i = 0; i < IR_Q4_GROUP; i++) {
        const float means = ((float)codes[i] - (float)fit.zero) * ir_f16_to_f32(fit.scale);
        error += ((double)means - (double)weights[i]) * ((double)means - (double)weights[i]);
    }
    return error;
}

/* Groups of many kinds: their magnitude, their middle, and how far the outermost weights are. */
static void random_group(uint64_t *random, float *weights)
{
    const float size = ldexpf(1.0f, (int)(td_random_next(random) % 20) - 14);
    const float middle = (float)(td_random_next(random) % 5) * 0.25f - 0.5f;
    const int power = 1 + (int)(td_random_next(random) % 5);
    for (int i = 0; i < IR_Q4_GROUP; i++) {
        const float even = (float)(td_random_next(random) >> 40) * 0x1p-23f - 1.0f;
        weights[i] = size * (middle + copysignf(powf(fabsf(even), (float)power), even));
    }
}

TEST(q4_is_never_worse_than_plain_rounding)
{
    enum { GROUPS = 3000 };
    uint64_t random = 11;
    double together = 0.0, plain = 0.0;
    for (int group = 0; group < GROUPS; group++) {
        float weights[IR_Q4_GROUP];
        ir_q4_fit fit;
        random_group(&random, weights);
        ir_fit_q4(weights, 1, &fit);
        const double error = fit_error(weights, fit), limit = plain_error(weights);
        CHECK_MESSAGE(error <= limit * 1.00001, "group %d: %g, plain %g", group, error, limit);
        together += limit > 0.0 ? error / limit : 1.0;
        plain += 1.0;
    }
    CHECK_MESSAGE(together < 0.85 * plain, "the search gains only %g", 1.0 - together / plain);
}

/* The fit of a group is its own, wherever it stands and however many are fitted at once. */
TEST(q4_fits_do_not_depend_on_neighbours)
{
    enum { GROUPS = 53 };
    static float weights[GROUPS][IR_Q4_GROUP];
    ir_q4_fit together[GROUPS], some[GROUPS];
    uint64_t random = 12;
    for (int group = 0; group < GROUPS; group++)
        random_group(&random, weights[group]);
    ir_fit_q4(weights[0], GROUPS, together);
    for (size_t count = 1; count <= 20; count++)
        for (size_t first = 0; first + count <= GROUPS; first += 7) {
            ir_fit_q4(weights[first], count, some);
            for (size_t i = 0; i < count; i++)
                CHECK(some[i].scale == together[first + i].scale &&
                      some[i].zero == together[first + i].zero);
        }
}

TEST(q4_fits_any_finite_group)
{
    static const struct {
        float least, most;
        float error; /* relative to the largest magnitude */
    } rows[] = {
        {0.25f, 0.25f, 1e-3f}, {-3.0f, -3.0f, 1e-3f},      {0.0f, 1.0f, 0.035f},
        {-1.0f, 0.0f, 0.035f}, {-1.0f, 1.0f, 0.1f},        {5.0f, 6.0f, 0.035f},
        {-1e6f, 1e6f, 0.55f},  {0x1p-24f, 0x1p-20f, 0.5f}, {0x1p-149f, 0x1p-140f, 1.0f},
        {-3e38f, 3e38f, 1.0f},
    };
    for (size_t r = 0; r < TD_COUNT_OF(rows); r++) {
        float weights[IR_Q4_GROUP], most = fmaxf(fabsf(rows[r].least), fabsf(rows[r].most));
        uint8_t codes[IR_Q4_GROUP];
        for (int i = 0; i < IR_Q4_GROUP; i++)
            weights[i] =
                rows[r].least * (1.0f - (float)i / 31.0f) + rows[r].most * ((float)i / 31.0f);
        ir_q4_fit fit;
        ir_fit_q4(weights, 1, &fit);
        const float scale = ir_f16_to_f32(fit.scale);
        ir_encode_q4(weights, fit, codes);
        CHECK(isfinite(scale) && scale >= 0.0f && fit.zero <= 15);
        for (int i = 0; i < IR_Q4_GROUP; i++) {
            const float means = ((float)codes[i] - (float)fit.zero) * scale;
            CHECK(codes[i] <= 15);
            CHECK_MESSAGE(fabsf(means - weights[i]) <= rows[r].error * most,
                          "row %zu: %g means %g with scale %g", r, (double)weights[i],
                          (double)means, (double)scale);
        }
    }
}

/* Any byte range of a converted constant equals that range of the whole. */
static void check_ranges(fixture *f, const ir_constant *constant, uint64_t *random)
{
    unsigned char whole[ROWS * COLUMNS * 2], part[ROWS * COLUMNS * 2];
    CHECK(ir_constant_read(&f->context, constant, 0, constant->bytes, whole) == TD_OK);
    for (int round = 0; round < 300; round++) {
        const uint64_t offset = td_random_next(random) % constant->bytes;
        const uint64_t size = td_random_next(random) % (constant->bytes - offset + 1);
        CHECK(ir_constant_read(&f->context, constant, offset, size, part) == TD_OK);
        CHECK(memcmp(part, whole + offset, size) == 0);
    }
}

TEST(reads_any_range)
{
    static const char *const kinds[] = {"f16", "q8", "q4"};
    uint64_t random = 5;
    for (size_t k = 0; k < TD_COUNT_OF(kinds); k++) {
        fixture f;
        CHECK(build(&f) == TD_OK);
        CHECK(ir_pass_convert_weights(f.module, kinds[k]) == TD_OK);
        const ir_constant *table = f.own->inputs[1]->constant;
        check_ranges(&f, table, &random);
        if (table->scale != NULL)
            check_ranges(&f, table->scale, &random);
        if (table->zero_point != NULL)
            check_ranges(&f, table->zero_point, &random);
        ir_module_release(f.module);
    }
}

/* A source that counts the bytes read through it. */
typedef struct counting_source {
    ir_source inner;
    uint64_t *bytes;
} counting_source;

static td_status read_counting(td_context *context, const void *self_data, uint64_t offset,
                               uint64_t size, void *bytes)
{
    const counting_source *self = self_data;
    *self->bytes += size;
    return self->inner.read(context, self->inner.self, offset, size, bytes);
}

/* Codes, scales and zero points of "own" under q4. */
enum { CODES = ROWS * COLUMNS / 2, SCALES = ROWS * COLUMNS / 16, ZEROS = (ROWS * 3 + 1) / 2 };

typedef struct q4_bytes {
    unsigned char codes[CODES], scales[SCALES], zeros[ZEROS];
} q4_bytes;

static td_status read_part(fixture *f, int part, uint64_t offset, uint64_t size, q4_bytes *bytes)
{
    const ir_constant *codes = f->own->inputs[1]->constant;
    const ir_constant *const parts[] = {codes, codes->scale, codes->zero_point};
    unsigned char *const places[] = {bytes->codes, bytes->scales, bytes->zeros};
    return ir_constant_read(&f->context, parts[part], offset, size, places[part] + offset);
}

/* Whichever of the three constants is read first, and in whatever pieces, the bytes are the same;
 * and what one has found the others need not read again. */
TEST(q4_shares_fits_in_any_order)
{
    static const uint64_t sizes[] = {CODES, SCALES, ZEROS};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    uint64_t random = 6;
    q4_bytes expected;
    for (size_t round = 0; round < 40; round++) {
        fixture f;
        q4_bytes bytes;
        uint64_t read = 0;
        CHECK(build(&f) == TD_OK);
        ir_constant *own = f.own->inputs[1]->constant;
        const counting_source counting = {own->source, &read};
        own->source = (ir_source){read_counting, &counting, "counted"};
        const uint64_t whole = own->bytes;
        CHECK(ir_pass_convert_weights(f.module, "q4") == TD_OK && read == 0);
        if (round < TD_COUNT_OF(orders)) {
            for (int i = 0; i < 3; i++)
                CHECK(read_part(&f, orders[round][i], 0, sizes[orders[round][i]], &bytes) == TD_OK);
            CHECK(read == (orders[round][0] == 0 ? whole : 2 * whole));
        } else {
            for (int i = 0; i < 30; i++) {
                const int part = (int)(td_random_next(&random) % 3);
                const uint64_t offset = td_random_next(&random) % sizes[part];
                const uint64_t size = td_random_next(&random) % (sizes[part] - offset + 1);
                CHECK(read_part(&f, part, offset, size, &bytes) == TD_OK);
                CHECK(
                    memcmp(
                        (unsigned char *[]){bytes.codes, bytes.scales, bytes.zeros}[part] + offset,
                        (unsigned char *[]){expected.codes, expected.scales, expected.zeros}[part] +
                            offset,
                        size) == 0);
            }
            for (int part = 0; part < 3; part++)
                CHECK(read_part(&f, part, 0, sizes[part], &bytes) == TD_OK);
        }
        if (round == 0)
            expected = bytes;
        CHECK(memcmp(&bytes, &expected, sizeof bytes) == 0);
        ir_module_release(f.module);
    }
}

/* A chain of products of square and narrow matrices, of `counts[i]` matrices with `rows[i]` rows of
 * 64, under q4: those of which sizes have 8 bits? */
static td_status chain_types(const int *rows, const int *counts, size_t sizes, ir_type *types)
{
    static const float zeros[256 * 64];
    td_context context;
    ir_module *module = NULL;
    ir_graph *graph;
    ir_value *x, *weight;
    ir_node *node = NULL;
    const ir_shape shape = ir_shape_of(2, (int64_t[]){1, 64});
    td_context_init(&context);
    TD_TRY(ir_module_create(&context, "chain", &module));
    TD_TRY(ir_module_add_graph(module, "chain", &graph));
    TD_TRY(ir_graph_add_input(graph, "x", IR_F32, &shape, &x));
    for (size_t i = 0; i < sizes; i++)
        for (int j = 0; j < counts[i]; j++) {
            const ir_shape matrix = ir_shape_of(2, (int64_t[]){rows[i], 64});
            ir_constant *constant;
            TD_TRY(ir_module_add_constant_bytes(module, "w", IR_F32, &matrix, zeros, &constant));
            TD_TRY(ir_graph_add_constant(graph, constant, &weight));
            TD_TRY(add_node(graph, IR_OP_linear, x, weight, &node));
            TD_TRY(ir_graph_add_output(graph, "y", node->outputs[0]));
        }
    TD_TRY(ir_pass_convert_weights(module, "q4"));
    node = graph->first;
    for (size_t i = 0; i < sizes; i++)
        for (int j = 0; j < counts[i]; j++, node = node->next) {
            const ir_type type = node->inputs[1]->constant->type;
            if (j > 0 && types[i] != type)
                return TD_INTERNAL; /* one size, one type */
            types[i] = type;
        }
    ir_module_release(module);
    return TD_OK;
}

/* Matrices that are together at most an eighth of the weights keep 8 bits, the smallest first, and
 * all of one size or none. */
TEST(q4_keeps_small_matrices_at_8_bits)
{
    static const struct {
        int rows[3], counts[3];
        ir_type types[3];
    } cases[] = {
        {{16, 128, 256}, {1, 1, 1}, {IR_I8, IR_U4, IR_U4}},
        {{8, 16, 216}, {1, 1, 1}, {IR_I8, IR_I8, IR_U4}},   /* 24 of 240: a tenth */
        {{8, 24, 224}, {1, 1, 1}, {IR_I8, IR_I8, IR_U4}},   /* 32 of 256: an eighth */
        {{8, 25, 223}, {1, 1, 1}, {IR_I8, IR_U4, IR_U4}},   /* 33 of 256 */
        {{16, 128, 224}, {3, 1, 1}, {IR_I8, IR_U4, IR_U4}}, /* 48 of 400 */
        {{16, 128, 192}, {3, 1, 1}, {IR_U4, IR_U4, IR_U4}}, /* 48 of 368 */
        {{64, 65, 66}, {1, 1, 1}, {IR_U4, IR_U4, IR_U4}},
    };
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        ir_type types[3];
        CHECK(chain_types(cases[i].rows, cases[i].counts, 3, types) == TD_OK);
        for (int j = 0; j < 3; j++)
            CHECK_MESSAGE(types[j] == cases[i].types[j], "case %zu: %d rows have %s", i,
                          cases[i].rows[j], ir_type_name(types[j]));
    }
}

/* Converts, then reads every converted constant whole. */
static td_status convert_and_read(fixture *f, const char *kind)
{
    unsigned char bytes[ROWS * COLUMNS * 2];
    TD_TRY(ir_pass_convert_weights(f->module, kind));
    for (size_t i = 0; i < f->module->constants.count; i++) {
        const ir_constant *constant = f->module->constants.items[i];
        if (constant->bytes <= sizeof bytes)
            TD_TRY(ir_constant_read(&f->context, constant, 0, constant->bytes, bytes));
    }
    return TD_OK;
}

TEST(every_allocation_may_fail)
{
    static const char *const kinds[] = {"f16", "q8", "q4"};
    for (size_t k = 0; k < TD_COUNT_OF(kinds); k++) {
        td_status status = TD_NO_MEMORY;
        long requests = 0;
        for (; status == TD_NO_MEMORY; requests++) {
            fixture f = {0};
            failing_allocator failing = {.countdown = 1L << 30};
            td_context_init(&f.context);
            f.context.reallocate = fail_later;
            f.context.reallocate_self = &failing;
            CHECK(build_in_context(&f) == TD_OK);
            failing.countdown = requests;
            status = convert_and_read(&f, kinds[k]);
            if (status == TD_NO_MEMORY && requests % 3 == 0) { /* and nothing is half done */
                failing.countdown = 1L << 30;
                CHECK_MESSAGE(convert_and_read(&f, kinds[k]) == TD_OK, "%s", f.context.message);
            }
            ir_module_release(f.module);
            CHECK_MESSAGE(failing.held == 0, "%s, request %ld: %ld blocks are left", kinds[k],
                          requests, failing.held);
        }
        CHECK_MESSAGE(status == TD_OK && requests > 10, "%s: %ld requests", kinds[k], requests);
    }
}

TEST(refuses_numbers_that_do_not_fit)
{
    static const struct {
        const char *kind, *says;
        float number;
    } rows[] = {
        {"f16", "constant \"table\" holds 70000, which f16 cannot", 70000.0f},
        {"q8", "constant \"table\" holds nan; q8 needs finite weights", NAN},
        {"q8", "constant \"table\" holds inf; q8 needs finite weights", INFINITY},
        {"q4", "constant \"table\" holds -inf; q4 needs finite weights", -INFINITY},
        {"q4", "constant \"table\" holds nan; q4 needs finite weights", NAN},
    };
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        fixture f;
        unsigned char row[COLUMNS * 2];
        CHECK(build(&f) == TD_OK);
        ir_constant *original = f.own->inputs[1]->constant;
        float *data = malloc(original->bytes);
        CHECK(data != NULL);
        CHECK(ir_constant_read(&f.context, original, 0, original->bytes, data) == TD_OK);
        data[COLUMNS + 3] = rows[i].number;
        const ir_shape shape = original->shape;
        ir_constant *changed;
        CHECK(ir_module_add_constant_bytes(f.module, "table", IR_F32, &shape, data, &changed) ==
              TD_OK);
        f.own->inputs[1]->constant = changed;
        CHECK(ir_pass_convert_weights(f.module, rows[i].kind) == TD_OK);
        const ir_constant *table = f.own->inputs[1]->constant;
        const uint64_t row_bytes = table->bytes / ROWS;
        CHECK(ir_constant_read(&f.context, table, 0, row_bytes, row) == TD_OK);
        CHECK(ir_constant_read(&f.context, table, row_bytes, row_bytes, row) == TD_INVALID);
        CHECK_MESSAGE(strstr(f.context.message, rows[i].says) != NULL, "%s", f.context.message);
        free(data);
        ir_module_release(f.module);
    }
}

TEST_MAIN()
