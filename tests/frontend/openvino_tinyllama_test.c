/* A real export of a 1.1 B decoder, without its weights, comes into raised form.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/test.h"

#include "base/file.h"
#include "frontend/frontend.h"

#define MODEL                                                                                      \
    TEST_SOURCE_FOLDER                                                                             \
    "/../shared/data/openvino/tinyllama_1.1b_u8_stateful_openvino_model.xml"
#define CONSTANTS TEST_SOURCE_FOLDER "/tests/frontend/tinyllama_constants.json"

enum { LAYERS = 22, WIDTH = 2048, KV_WIDTH = 256, HIDDEN = 5632, VOCABULARY = 32000 };

static const struct {
    ir_opcode op;
    unsigned count;
} expected[] = {
    {IR_OP_embed, 1},
    {IR_OP_rotary_table, 1},
    {IR_OP_rms_norm, 2 * LAYERS + 1},
    {IR_OP_linear, 7 * LAYERS + 1},
    {IR_OP_rope, 2 * LAYERS},
    {IR_OP_cached_attention, LAYERS},
    {IR_OP_gated_silu, LAYERS},
    {IR_OP_add, 2 * LAYERS},
    {IR_OP_select_rows, 1},
};

static td_status import(td_context *context, fe_model *model)
{
    const fe_options options = {
        .constants = CONSTANTS, .random_weights = true, .random_seed = 7, .context_length = 512};
    td_context_init(context);
    return fe_import_openvino(context, MODEL, &options, model);
}

/* Exactly the expected ops, and nothing else: no shape arithmetic, no mask, no decompression. */
TEST(every_layer_is_raised)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(MODEL))
        SKIP("the shared data is not here");
    CHECK_MESSAGE(import(&context, &model) == TD_OK, "%s", context.message);
    CHECK_MESSAGE(ir_verify(model.module) == TD_OK, "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    unsigned counts[IR_OP_COUNT] = {0}, total = 0, wanted = 0;
    for (const ir_node *node = forward->first; node != NULL; node = node->next, total++)
        counts[node->op]++;
    for (size_t i = 0; i < TD_COUNT_OF(expected); i++) {
        wanted += expected[i].count;
        CHECK_MESSAGE(counts[expected[i].op] == expected[i].count, "%s: %u",
                      ir_op(expected[i].op)->name, counts[expected[i].op]);
    }
    CHECK(total == wanted);
    CHECK(model.raised && model.vocabulary == VOCABULARY && model.context_length == 512);
    CHECK(model.module->graphs.count == 2 && model.module->states.count == LAYERS);
    CHECK(model.module->symbols.count == 4);
    ir_module_release(model.module);
}

TEST(attention_knows_its_heads_and_cache)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(MODEL))
        SKIP("the shared data is not here");
    CHECK_MESSAGE(import(&context, &model) == TD_OK, "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    unsigned layer = 0;
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        char state[32];
        if (node->op != IR_OP_cached_attention)
            continue;
        snprintf(state, sizeof state, "layers.%u", layer++);
        CHECK_STRING(ir_node_string(node, "state", ""), state);
        CHECK(ir_node_int(node, "heads", 0) == 32 && ir_node_int(node, "kv_heads", 0) == 4);
        CHECK(ir_node_int(node, "head_size", 0) == 64);
        CHECK(ir_node_float(node, "scale", 0.0) == 0.125);
        CHECK(ir_node_int(node, "window", 0) == 0);
        CHECK(node->inputs[0]->producer->op == IR_OP_rope);
        CHECK(node->inputs[1]->producer->op == IR_OP_rope);
        CHECK(node->inputs[2]->producer->op == IR_OP_linear);
        CHECK(ir_dim_is(&node->inputs[1]->shape.dim[1], KV_WIDTH));
    }
    CHECK(layer == LAYERS);
    ir_module_release(model.module);
}

TEST(weights_stay_quantised)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(MODEL))
        SKIP("the shared data is not here");
    CHECK_MESSAGE(import(&context, &model) == TD_OK, "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        if (node->op == IR_OP_rms_norm)
            CHECK(ir_node_float(node, "epsilon", 0.0) == 1e-5);
        if (node->op != IR_OP_linear && node->op != IR_OP_embed)
            continue;
        const ir_constant *weight = node->inputs[node->op == IR_OP_linear]->constant;
        CHECK(weight->type == IR_U8 && weight->shape.rank == 2);
        CHECK(weight->scale != NULL && weight->scale->type == IR_F16);
        CHECK(weight->zero_point != NULL && weight->zero_point->type == IR_U8);
        CHECK(ir_dim_is(&weight->shape.dim[1], weight->group));
    }
    ir_module_release(model.module);
}

/* theta^(-2i/64) with theta = 10000 */
TEST(frequencies_are_those_of_the_model)
{
    td_context context;
    fe_model model;
    float frequencies[32];
    if (!td_path_exists(MODEL))
        SKIP("the shared data is not here");
    CHECK_MESSAGE(import(&context, &model) == TD_OK, "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    const ir_node *table = forward->first->next;
    CHECK(table->op == IR_OP_rotary_table && ir_node_float(table, "scale", 1.0) == 1.0);
    CHECK(ir_constant_read_f32(&context, table->inputs[1]->constant, 0, 32, frequencies) == TD_OK);
    CHECK(frequencies[0] == 1.0f);
    for (int i = 1; i < 32; i++) {
        float ratio = frequencies[i] / frequencies[i - 1]; /* 10000^(-1/32) */
        CHECK_MESSAGE(ratio > 0.749894f - 1e-5f && ratio < 0.749894f + 1e-5f, "%d: %g", i,
                      (double)ratio);
    }
    ir_module_release(model.module);
}

/* Rows are selected before the last norm, so norm and head see only those that are asked for. */
TEST(rows_are_selected_before_norm_and_head)
{
    td_context context;
    fe_model model;
    if (!td_path_exists(MODEL))
        SKIP("the shared data is not here");
    CHECK_MESSAGE(import(&context, &model) == TD_OK, "%s", context.message);
    const ir_graph *forward = ir_module_find_graph(model.module, "forward");
    const ir_node *head = forward->outputs[0]->producer;
    CHECK(head->op == IR_OP_linear);
    const ir_node *norm = head->inputs[0]->producer;
    CHECK(norm->op == IR_OP_rms_norm && norm->inputs[0]->producer->op == IR_OP_select_rows);
    CHECK(norm->inputs[0]->producer->inputs[0]->producer->op == IR_OP_add);
    ir_symbol rows;
    CHECK(ir_module_find_symbol(model.module, "rows", &rows));
    ir_dim dim = ir_dim_symbol(rows);
    CHECK(ir_dim_equal(&forward->outputs[0]->shape.dim[0], &dim));
    ir_module_release(model.module);
}

TEST_MAIN()
