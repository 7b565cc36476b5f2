/* The pass that trims a head: what it writes, that the rows it keeps are the whole head's bit for
 * bit, and what it refuses.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/evaluate.h"
#include "ir/passes/passes.h"
#include "tests/failing.h"
#include "tests/frontend/small_llama.h"
#include "tests/test.h"

/* --- text --- */

/* The constants' order in the text: those that were there, then the gathered ones. */
#define BEFORE                                                                                     \
    "module \"m\"\n\n"                                                                             \
    "symbol tokens <= 8\n\n"                                                                       \
    "constant @0 \"table\": f32[9, 64] = missing\n"                                                \
    "constant @1 \"head.scale\": f16[9, 2] = missing\n"                                            \
    "constant @2 \"head.zero_point\": u4[9, 2] = missing\n"                                        \
    "constant @3 \"head\": u4[9, 64] = missing {group = 32, scale = @1, zero_point = @2}\n"        \
    "constant @4 \"bias\": f32[9] = missing\n\n"                                                   \
    "graph \"forward\" {\n"                                                                        \
    "    input %0 \"ids\": i32[tokens]\n"                                                          \
    "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"

static const char quantised[] =
    BEFORE "    %2 \"first\": f32[tokens, 9] = linear(%1, @3, @4) \"lm_head\"\n"
           "    output \"logits\" = %2\n"
           "}\n";

static const char quantised_trimmed[] =
    "module \"m\"\n\n"
    "symbol tokens <= 8\n\n"
    "constant @0 \"table\": f32[9, 64] = missing\n"
    "constant @1 \"head.scale.trimmed\": f16[3, 2] = from \"3 rows of head.scale\"\n"
    "constant @2 \"head.zero_point.trimmed\": u4[3, 2] = from \"3 rows of head.zero_point\"\n"
    "constant @3 \"head.trimmed\": u4[3, 64] = from \"3 rows of head\" {group = 32, scale = @1, "
    "zero_point = @2}\n"
    "constant @4 \"bias.trimmed\": f32[3] = from \"3 rows of bias\"\n\n"
    "graph \"forward\" {\n"
    "    input %0 \"ids\": i32[tokens]\n"
    "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
    "    %2 \"first\": f32[tokens, 3] = linear(%1, @3, @4) \"lm_head\"\n"
    "    output \"logits\" = %2\n"
    "}\n";

#define TIED                                                                                       \
    "module \"m\"\n\n"                                                                             \
    "symbol tokens <= 8\n\n"                                                                       \
    "constant @0 \"table\": f32[9, 64] = missing\n"

static const char tied[] = TIED "\n"
                                "graph \"forward\" {\n"
                                "    input %0 \"ids\": i32[tokens]\n"
                                "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
                                "    %2: f32[tokens, 9] = linear(%1, @0) \"lm_head\"\n"
                                "    output \"logits\" = %2\n"
                                "}\n";

static const char tied_trimmed[] =
    TIED "constant @1 \"table.trimmed\": f32[3, 64] = from \"3 rows of table\"\n\n"
         "graph \"forward\" {\n"
         "    input %0 \"ids\": i32[tokens]\n"
         "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
         "    %2: f32[tokens, 3] = linear(%1, @1) \"lm_head\"\n"
         "    output \"logits\" = %2\n"
         "}\n";

static const int32_t three_ids[] = {0, 4, 8};

/* Parses, trims, verifies and prints. */
static td_status transform(td_context *context, const char *from, size_t count, const int32_t *ids,
                           td_text *printed)
{
    ir_module *module = NULL;
    TD_TRY(ir_parse(context, from, strlen(from), "test", &module));
    td_status status = ir_pass_trim_head(module, count, ids);
    if (status == TD_OK)
        status = ir_verify(module);
    if (status == TD_OK)
        status = ir_print(module, printed);
    ir_module_release(module);
    return status;
}

static void check_text(const char *from, size_t count, const char *expected)
{
    td_context context;
    td_text printed;
    static const int32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    td_context_init(&context);
    td_text_init(&printed, &context);
    const td_status status =
        transform(&context, from, count, count == 3 ? three_ids : all, &printed);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    CHECK_STRING(printed.data, expected);
    td_text_release(&printed);
}

TEST(gathers_elements_scales_zero_points_and_bias)
{
    check_text(quantised, 3, quantised_trimmed);
}

TEST(a_tied_table_stays_whole)
{
    check_text(tied, 3, tied_trimmed);
}

TEST(all_ids_change_nothing)
{
    check_text(quantised, 9, quantised);
}

/* --- numbers --- */

/* Logits of eight tokens of the small model. */
static td_status evaluate(const fe_model *model, float *logits, size_t *columns)
{
    enum { TOKENS = 8 };
    int32_t ids[TOKENS], positions[TOKENS], rows[TOKENS];
    int64_t ancestors[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (i * 7 + 3) % SMALL_VOCABULARY;
        positions[i] = rows[i] = i;
        ancestors[i] = (INT64_C(2) << i) - 1;
    }
    const ir_tensor inputs[] = {
        {.type = IR_I32, .rank = 1, .dim = {TOKENS}, .data = ids},
        {.type = IR_I32, .rank = 1, .dim = {TOKENS}, .data = positions},
        {.type = IR_I64, .rank = 2, .dim = {TOKENS, 1}, .data = ancestors},
        {.type = IR_I32, .rank = 1, .dim = {TOKENS}, .data = rows},
    };
    ir_evaluator *evaluator;
    ir_graph *forward = ir_module_find_graph(model->module, "forward");
    TD_TRY(ir_evaluator_create(model->module, SMALL_CONTEXT, &evaluator));
    td_status status = ir_evaluator_run(evaluator, forward, NULL, inputs, false);
    if (status == TD_OK) {
        const ir_tensor *result = ir_evaluator_value(evaluator, forward->outputs[0]);
        *columns = (size_t)result->dim[1];
        memcpy(logits, result->data, result->elements * sizeof *logits);
    }
    ir_evaluator_release(evaluator);
    return status;
}

/* How a head is prepared before and after it is trimmed. */
typedef struct preparation {
    small_llama shape;
    const char *weights;
    bool quantised_activations;
} preparation;

static td_status prepare_and_evaluate(td_context *context, const preparation *how, size_t count,
                                      const int32_t *ids, float *logits, size_t *columns)
{
    fe_model model;
    TD_TRY(small_llama_build(context, &how->shape, &model));
    td_status status = ir_pass_convert_weights(model.module, how->weights);
    if (status == TD_OK && ids != NULL)
        status = ir_pass_trim_head(model.module, count, ids);
    if (status == TD_OK && how->quantised_activations)
        status = ir_pass_quantize_activations(model.module);
    if (status == TD_OK)
        status = ir_verify(model.module);
    if (status == TD_OK)
        status = evaluate(&model, logits, columns);
    ir_module_release(model.module);
    return status;
}

/* About a third of the ids. */
static size_t draw_ids(uint64_t *random, int32_t *ids)
{
    size_t count = 0;
    for (int32_t id = 0; id < SMALL_VOCABULARY; id++)
        if (td_random_next(random) % 3 == 0)
            ids[count++] = id;
    if (count == 0)
        ids[count++] = SMALL_VOCABULARY - 1;
    return count;
}

static void check_rows_are_equal(const preparation *how, size_t count, const int32_t *ids)
{
    td_context context;
    static float whole[8 * SMALL_VOCABULARY], trimmed[8 * SMALL_VOCABULARY];
    size_t all = 0, columns = 0;
    td_context_init(&context);
    td_status status = prepare_and_evaluate(&context, how, 0, NULL, whole, &all);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    status = prepare_and_evaluate(&context, how, count, ids, trimmed, &columns);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    CHECK(all == SMALL_VOCABULARY && columns == count);
    for (size_t row = 0; row < 8; row++)
        for (size_t j = 0; j < count; j++)
            CHECK_MESSAGE(memcmp(&trimmed[row * count + j], &whole[row * all + (size_t)ids[j]],
                                 sizeof(float)) == 0,
                          "row %zu, id %d: %a, %a", row, ids[j], (double)trimmed[row * count + j],
                          (double)whole[row * all + (size_t)ids[j]]);
}

TEST(logits_are_the_whole_heads)
{
    static const preparation preparations[] = {
        {{.weights = SMALL_F32, .layers = 1}, "keep", false},
        {{.weights = SMALL_F16, .layers = 1, .tied = true}, "keep", false},
        {{.weights = SMALL_I8_GROUPS, .layers = 1}, "keep", true},
        {{.weights = SMALL_U8_ROWS, .layers = 1}, "keep", true},
        {{.weights = SMALL_U4_GROUPS, .layers = 1}, "keep", false},
        {{.weights = SMALL_I4_GROUPS, .layers = 1, .tied = true}, "keep", true},
        {{.weights = SMALL_F32, .layers = 1, .tied = true}, "q8", true},
        {{.weights = SMALL_F32, .layers = 1}, "q4", true},
        {{.weights = SMALL_F16, .layers = 1, .tied = true}, "q4", false},
    };
    uint64_t random = 11;
    int32_t ids[SMALL_VOCABULARY];
    for (size_t i = 0; i < TD_COUNT_OF(preparations); i++) {
        const size_t count = draw_ids(&random, ids);
        check_rows_are_equal(&preparations[i], count, ids);
    }
    check_rows_are_equal(&preparations[4], 1, (int32_t[]){SMALL_VOCABULARY - 1});
}

/* Three zero points of four bits do not fill bytes: rows begin within one. */
TEST(rows_of_odd_half_bytes)
{
    enum { ROWS = 11, COLUMNS = 5 };
    td_context context;
    ir_module *module;
    ir_graph *graph;
    ir_constant *weight;
    ir_value *x, *constant;
    ir_node *node;
    ir_symbol tokens;
    uint8_t stored[(ROWS * COLUMNS + 1) / 2];
    float scales[ROWS], whole[ROWS * COLUMNS], kept[ROWS * COLUMNS];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof stored; i++)
        stored[i] = (uint8_t)td_random_next(&random);
    for (int i = 0; i < ROWS; i++)
        scales[i] = 0.25f + (float)i;
    td_context_init(&context);
    CHECK(ir_module_create(&context, "odd", &module) == TD_OK);
    CHECK(ir_module_add_symbol(module, "tokens", 4, &tokens) == TD_OK);
    CHECK(ir_module_add_graph(module, "forward", &graph) == TD_OK);
    const ir_shape shape = {.rank = 2, .dim = {ir_dim_symbol(tokens), ir_dim_constant(COLUMNS)}};
    const ir_shape matrix = ir_shape_of(2, (int64_t[]){ROWS, COLUMNS});
    const ir_shape list = ir_shape_of(2, (int64_t[]){ROWS, 1});
    CHECK(ir_graph_add_input(graph, "x", IR_F32, &shape, &x) == TD_OK);
    CHECK(ir_module_add_constant_bytes(module, "w", IR_I4, &matrix, stored, &weight) == TD_OK);
    CHECK(ir_module_add_constant_bytes(module, "s", IR_F32, &list, scales, &weight->scale) ==
          TD_OK);
    weight->group = COLUMNS;
    CHECK(ir_graph_add_constant(graph, weight, &constant) == TD_OK);
    CHECK(ir_graph_add_node(graph, IR_OP_linear, "head", 2, (ir_value *[]){x, constant}, 1,
                            &node) == TD_OK);
    CHECK(ir_node_infer(node) == TD_OK);
    CHECK(ir_graph_add_output(graph, "logits", node->outputs[0]) == TD_OK);
    CHECK(ir_constant_read_f32(&context, weight, 0, ROWS * COLUMNS, whole) == TD_OK);
    for (unsigned set = 1; set < 1u << ROWS; set += 7) {
        int32_t ids[ROWS];
        size_t count = 0;
        for (int32_t id = 0; id < ROWS; id++)
            if (set >> id & 1)
                ids[count++] = id;
        /* Each set starts from the whole head again. */
        node = graph->last;
        node->inputs[1] = constant;
        CHECK(ir_node_infer(node) == TD_OK);
        CHECK_MESSAGE(ir_pass_trim_head(module, count, ids) == TD_OK, "%s", context.message);
        const ir_constant *trimmed = graph->last->inputs[1]->constant;
        CHECK(ir_constant_read_f32(&context, trimmed, 0, count * COLUMNS, kept) == TD_OK);
        for (size_t i = 0; i < count * COLUMNS; i++)
            CHECK(kept[i] == whole[(size_t)ids[i / COLUMNS] * COLUMNS + i % COLUMNS]);
    }
    ir_module_release(module);
}

/* Bytes that a pass reads: all matrices but the embedding table. */
TEST(traffic_counts_matrices_once)
{
    td_context context;
    fe_model model;
    ir_traffic whole, trimmed;
    const small_llama shape = {.weights = SMALL_I8_GROUPS, .layers = 1};
    td_context_init(&context);
    CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
    CHECK(ir_head_traffic(model.module, &whole) == TD_OK);
    CHECK(whole.rows == SMALL_VOCABULARY);
    CHECK(whole.head == SMALL_VOCABULARY * (SMALL_WIDTH + SMALL_WIDTH / SMALL_GROUP * 2));
    const uint64_t elements = 2 * SMALL_WIDTH * SMALL_WIDTH +
                              2 * SMALL_KV_HEADS * SMALL_HEAD_SIZE * SMALL_WIDTH +
                              3 * SMALL_WIDTH * SMALL_HIDDEN;
    CHECK(whole.body == elements + elements / SMALL_GROUP * 2);
    CHECK(ir_pass_trim_head(model.module, 3, three_ids) == TD_OK);
    CHECK(ir_head_traffic(model.module, &trimmed) == TD_OK);
    CHECK(trimmed.body == whole.body && trimmed.rows == 3);
    CHECK(trimmed.head == whole.head / SMALL_VOCABULARY * 3);
    ir_module_release(model.module);
}

/* --- refusals --- */

static void check_refused(const char *from, size_t count, const int32_t *ids, const char *message)
{
    td_context context;
    td_text printed;
    td_context_init(&context);
    td_text_init(&printed, &context);
    CHECK(transform(&context, from, count, ids, &printed) != TD_OK);
    CHECK_STRING(context.message, message);
    td_text_release(&printed);
}

TEST(ids_must_ascend_within_the_head)
{
    check_refused(tied, 0, three_ids, "a head cannot be trimmed to no rows");
    check_refused(tied, 3, (int32_t[]){0, 4, 9},
                  "id 9 (number 2) of a trimmed head: ids must ascend from 0 to 8");
    check_refused(tied, 2, (int32_t[]){4, 4},
                  "id 4 (number 1) of a trimmed head: ids must ascend from 0 to 8");
    check_refused(tied, 1, (int32_t[]){-1},
                  "id -1 (number 0) of a trimmed head: ids must ascend from 0 to 8");
}

TEST(a_head_that_is_no_linear_layer_is_refused)
{
    static const char scaled[] = TIED "\n"
                                      "graph \"forward\" {\n"
                                      "    input %0 \"ids\": i32[tokens]\n"
                                      "    %1: f32[tokens, 64] = embed(@0, %0) \"embedding\"\n"
                                      "    output \"logits\" = %1\n"
                                      "}\n";
    check_refused(scaled, 3, three_ids,
                  "module \"m\": its head cannot be trimmed: the result \"logits\" of graph "
                  "\"forward\" must be a linear layer with a constant weight");
}

/* --- memory --- */

static td_status attempt(td_context *context)
{
    td_text printed;
    td_text_init(&printed, context);
    const td_status status = transform(context, quantised, 3, three_ids, &printed);
    td_text_release(&printed);
    return status;
}

TEST(every_allocation_may_fail)
{
    CHECK(fail_each_request(attempt) > 10);
}

TEST_MAIN()
