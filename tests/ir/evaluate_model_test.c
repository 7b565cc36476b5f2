/* The raised ops in a whole small llama: a token's logits have equal bits whether it comes alone,
 * in a chunk or in a tree.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate.h"

#include "base/hash.h"
#include "ir/numerics.h"
#include "tests/failing.h"
#include "tests/test.h"

#include <math.h>

enum {
    WIDTH = 32,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD_SIZE = 8,
    HIDDEN = 48,
    VOCABULARY = 50,
    LAYERS = 2,
    SLOTS = 160,
    MAX_TOKENS = 32,
    SEQUENCE = 100
};

typedef struct small_model {
    td_context context;
    ir_module *module;
    ir_graph *forward, *commit;
    ir_symbol tokens, rows, accepted;
    ir_evaluator *evaluator;
    uint64_t seed;
    ir_type cache_type;
    int64_t window;
    double softcap;
} small_model;

/* The builders of this file are tried under failing allocation, so each reports. */
static td_status add_weight(small_model *model, const char *name, ir_type type, uint32_t rank,
                            const int64_t *dims, uint32_t group, ir_value **value)
{
    static float numbers[VOCABULARY * HIDDEN * 2];
    static uint8_t bytes[VOCABULARY * HIDDEN * 2];
    int64_t count = rank == 2 ? dims[0] * dims[1] : dims[0];
    ir_shape shape = ir_shape_of(rank, dims);
    ir_constant *stored;
    for (int64_t i = 0; i < count; i++) {
        uint64_t random = td_random_next(&model->seed);
        numbers[i] = (float)((double)(random >> 40) * 0x1p-24 - 0.5) * 0.4f;
        bytes[i] = (uint8_t)(random >> 8);
    }
    if (group == 0) {
        if (rank == 1)
            for (int64_t i = 0; i < count; i++)
                numbers[i] += 1.0f;
        TD_TRY(ir_module_add_constant_bytes(model->module, name, type, &shape, numbers, &stored));
        return ir_graph_add_constant(model->forward, stored, value);
    }
    ir_constant quantised = {.name = name, .group = group};
    ir_shape groups = ir_shape_of(2, (int64_t[]){dims[0], dims[1] / group});
    TD_TRY(ir_module_add_constant_bytes(model->module, name, type, &shape, bytes, &stored));
    for (int64_t i = 0; i < dims[0] * dims[1] / group; i++)
        numbers[i] = 0.01f + fabsf(numbers[i]) * 0.02f;
    TD_TRY(ir_module_add_constant_bytes(model->module, "scale", IR_F32, &groups, numbers,
                                        &quantised.scale));
    TD_TRY(ir_module_add_constant_bytes(model->module, "zero", type, &groups, bytes + 7,
                                        &quantised.zero_point));
    quantised.type = type;
    quantised.shape = shape;
    quantised.source = stored->source;
    TD_TRY(ir_module_add_constant(model->module, &quantised, &stored));
    return ir_graph_add_constant(model->forward, stored, value);
}

static td_status add_op(ir_graph *graph, ir_opcode op, size_t count, ir_value *const *inputs,
                        ir_node **node)
{
    return ir_graph_add_node(graph, op, "layer", count, inputs, ir_op(op)->outputs == 0 ? 0 : 1,
                             node);
}

/* A node without attributes. */
static td_status add_plain(ir_graph *graph, ir_opcode op, ir_value *a, ir_value *b,
                           ir_value **value)
{
    ir_node *node;
    TD_TRY(add_op(graph, op, 2, (ir_value *[]){a, b}, &node));
    TD_TRY(ir_node_infer(node));
    *value = node->outputs[0];
    return TD_OK;
}

static td_status add_linear(small_model *model, ir_value *x, int64_t rows, int64_t columns,
                            ir_type type, uint32_t group, ir_value **value)
{
    ir_value *weight;
    TD_TRY(add_weight(model, "weight", type, 2, (int64_t[]){rows, columns}, group, &weight));
    return add_plain(model->forward, IR_OP_linear, x, weight, value);
}

static td_status add_norm(small_model *model, ir_value *x, ir_value **value)
{
    ir_value *weight;
    ir_node *node;
    TD_TRY(add_weight(model, "norm", IR_F32, 1, (int64_t[]){WIDTH}, 0, &weight));
    TD_TRY(add_op(model->forward, IR_OP_rms_norm, 2, (ir_value *[]){x, weight}, &node));
    TD_TRY(ir_node_set_float(node, "epsilon", 1e-5));
    TD_TRY(ir_node_infer(node));
    *value = node->outputs[0];
    return TD_OK;
}

static td_status add_rope(small_model *model, ir_value *x, ir_value *table, ir_value **value)
{
    ir_node *node;
    TD_TRY(add_op(model->forward, IR_OP_rope, 2, (ir_value *[]){x, table}, &node));
    TD_TRY(ir_node_set_int(node, "head_size", HEAD_SIZE));
    TD_TRY(ir_node_infer(node));
    *value = node->outputs[0];
    return TD_OK;
}

static td_status add_attention(small_model *model, const char *state, ir_value *const *inputs,
                               ir_value **value)
{
    ir_node *node;
    TD_TRY(add_op(model->forward, IR_OP_cached_attention, 4, inputs, &node));
    TD_TRY(ir_node_set_string(node, "state", state));
    TD_TRY(ir_node_set_int(node, "heads", HEADS));
    TD_TRY(ir_node_set_int(node, "kv_heads", KV_HEADS));
    TD_TRY(ir_node_set_int(node, "head_size", HEAD_SIZE));
    TD_TRY(ir_node_set_float(node, "scale", 1.0 / sqrt(HEAD_SIZE)));
    TD_TRY(ir_node_set_int(node, "window", model->window));
    TD_TRY(ir_node_set_float(node, "softcap", model->softcap));
    TD_TRY(ir_node_infer(node));
    *value = node->outputs[0];
    return TD_OK;
}

static td_status add_layer(small_model *model, uint32_t layer, ir_value *table, ir_value *ancestors,
                           ir_value *path, ir_value **x)
{
    ir_graph *graph = model->forward;
    ir_value *normed, *q, *k, *v, *attended, *gate, *up, *sum;
    ir_node *commit;
    char name[16];
    snprintf(name, sizeof name, "cache%u", layer);
    ir_state state = {.name = name,
                      .kind = IR_STATE_CACHE,
                      .type = model->cache_type,
                      .layer = layer,
                      .kv_heads = KV_HEADS,
                      .head_size = HEAD_SIZE};
    ir_state *added;
    TD_TRY(ir_module_add_state(model->module, &state, &added));
    TD_TRY(add_norm(model, *x, &normed));
    TD_TRY(add_linear(model, normed, HEADS * HEAD_SIZE, WIDTH, IR_F32, 0, &q));
    TD_TRY(add_linear(model, normed, KV_HEADS * HEAD_SIZE, WIDTH, IR_I8, WIDTH, &k));
    TD_TRY(add_linear(model, normed, KV_HEADS * HEAD_SIZE, WIDTH, IR_U4, 8, &v));
    TD_TRY(add_rope(model, q, table, &q));
    TD_TRY(add_rope(model, k, table, &k));
    TD_TRY(add_attention(model, name, (ir_value *[]){q, k, v, ancestors}, &attended));
    TD_TRY(add_linear(model, attended, WIDTH, HEADS * HEAD_SIZE, IR_F32, 0, &attended));
    TD_TRY(add_plain(graph, IR_OP_add, *x, attended, &sum));
    TD_TRY(add_norm(model, sum, &normed));
    TD_TRY(add_linear(model, normed, HIDDEN, WIDTH, IR_U8, 16, &gate));
    TD_TRY(add_linear(model, normed, HIDDEN, WIDTH, IR_I4, 16, &up));
    TD_TRY(add_plain(graph, IR_OP_gated_silu, gate, up, &up));
    TD_TRY(add_linear(model, up, WIDTH, HIDDEN, IR_F32, 0, &up));
    TD_TRY(add_plain(graph, IR_OP_add, sum, up, x));
    TD_TRY(add_op(model->commit, IR_OP_cache_commit, 1, &path, &commit));
    TD_TRY(ir_node_set_string(commit, "state", name));
    return ir_node_infer(commit);
}

static td_status add_symbol_input(small_model *model, ir_graph *graph, const char *name,
                                  ir_type type, ir_symbol symbol, int64_t second, ir_value **value)
{
    (void)model;
    ir_shape shape = {.rank = second > 0 ? 2 : 1};
    shape.dim[0] = ir_dim_symbol(symbol);
    shape.dim[1] = ir_dim_constant(second);
    return ir_graph_add_input(graph, name, type, &shape, value);
}

static td_status build(small_model *model)
{
    ir_value *ids, *positions, *ancestors, *rows, *path, *table, *frequencies, *x, *embedding;
    float frequency[HEAD_SIZE / 2];
    ir_constant *stored;
    ir_shape half = ir_shape_of(1, (int64_t[]){HEAD_SIZE / 2});
    model->seed = 42;
    TD_TRY(ir_module_create(&model->context, "small", &model->module));
    ir_module *module = model->module;
    TD_TRY(ir_module_add_graph(module, "forward", &model->forward));
    TD_TRY(ir_module_add_graph(module, "commit", &model->commit));
    TD_TRY(ir_module_add_symbol(module, "tokens", MAX_TOKENS, &model->tokens));
    TD_TRY(ir_module_add_symbol(module, "rows", MAX_TOKENS, &model->rows));
    TD_TRY(ir_module_add_symbol(module, "accepted", MAX_TOKENS, &model->accepted));
    ir_graph *graph = model->forward;
    TD_TRY(add_symbol_input(model, graph, "ids", IR_I32, model->tokens, 0, &ids));
    TD_TRY(add_symbol_input(model, graph, "positions", IR_I32, model->tokens, 0, &positions));
    TD_TRY(add_symbol_input(model, graph, "ancestors", IR_I64, model->tokens, 1, &ancestors));
    TD_TRY(add_symbol_input(model, graph, "rows", IR_I32, model->rows, 0, &rows));
    TD_TRY(add_symbol_input(model, model->commit, "path", IR_I32, model->accepted, 0, &path));
    for (int i = 0; i < HEAD_SIZE / 2; i++)
        frequency[i] = powf(100.0f, -2.0f * (float)i / HEAD_SIZE);
    TD_TRY(ir_module_add_constant_bytes(module, "frequencies", IR_F32, &half, frequency, &stored));
    TD_TRY(ir_graph_add_constant(graph, stored, &frequencies));
    TD_TRY(add_plain(graph, IR_OP_rotary_table, positions, frequencies, &table));
    TD_TRY(
        add_weight(model, "embedding", IR_F32, 2, (int64_t[]){VOCABULARY, WIDTH}, 0, &embedding));
    TD_TRY(add_plain(graph, IR_OP_embed, embedding, ids, &x));
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        TD_TRY(add_layer(model, layer, table, ancestors, path, &x));
    TD_TRY(add_norm(model, x, &x));
    TD_TRY(add_plain(graph, IR_OP_select_rows, x, rows, &x));
    TD_TRY(add_plain(graph, IR_OP_linear, x, embedding, &x));
    TD_TRY(ir_graph_add_output(graph, "logits", x));
    return ir_evaluator_create(module, SLOTS, &model->evaluator);
}

static void release(small_model *model)
{
    ir_evaluator_release(model->evaluator);
    ir_module_release(model->module);
    model->evaluator = NULL;
    model->module = NULL;
}

static ir_tensor tensor_of(ir_type type, uint32_t rank, int64_t first, int64_t second, void *data)
{
    return (ir_tensor){.type = type,
                       .rank = rank,
                       .dim = {first, second},
                       .elements = (uint64_t)(first * (rank == 2 ? second : 1)),
                       .data = data};
}

/* One pass; logits of every token go to `logits` [count][VOCABULARY]. */
static td_status forward(small_model *model, int64_t count, int32_t *ids, int32_t *positions,
                         int64_t *ancestors, float *logits)
{
    int32_t rows[MAX_TOKENS];
    for (int32_t i = 0; i < count; i++)
        rows[i] = i;
    int64_t symbols[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    symbols[model->tokens] = symbols[model->rows] = count;
    ir_tensor inputs[] = {
        tensor_of(IR_I32, 1, count, 0, ids), tensor_of(IR_I32, 1, count, 0, positions),
        tensor_of(IR_I64, 2, count, 1, ancestors), tensor_of(IR_I32, 1, count, 0, rows)};
    TD_TRY(ir_evaluator_run(model->evaluator, model->forward, symbols, inputs, false));
    const ir_tensor *result = ir_evaluator_value(model->evaluator, model->forward->outputs[0]);
    memcpy(logits, result->data, (size_t)count * VOCABULARY * sizeof *logits);
    return TD_OK;
}

static td_status commit(small_model *model, int64_t count, int32_t *path)
{
    ir_tensor input = tensor_of(IR_I32, 1, count, 0, path);
    return ir_evaluator_run(model->evaluator, model->commit, NULL, &input, false);
}

static int32_t token_at(int64_t place)
{
    uint64_t state = (uint64_t)place * 977 + 5;
    return (int32_t)(td_random_next(&state) % VOCABULARY);
}

/* The whole sequence in chunks of a size. */
static td_status run_chunks(small_model *model, int64_t chunk, float *logits)
{
    for (int64_t done = 0; done < SEQUENCE; done += chunk) {
        int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], path[MAX_TOKENS];
        int64_t ancestors[MAX_TOKENS], count = SEQUENCE - done < chunk ? SEQUENCE - done : chunk;
        for (int32_t i = 0; i < count; i++) {
            ids[i] = token_at(done + i);
            positions[i] = (int32_t)done + i;
            ancestors[i] = ((int64_t)2 << i) - 1;
            path[i] = i;
        }
        TD_TRY(forward(model, count, ids, positions, ancestors, logits + done * VOCABULARY));
        TD_TRY(commit(model, count, path));
    }
    return TD_OK;
}

/* Two tokens per tree, each with a sibling that is wrong: tail 0 a, 1 (wrong), 2 (child of 1),
 * 3 b (child of 0), 4 (sibling of 3). The first `first` tokens are a pass of their own (0: all are
 * one pass). */
static td_status run_trees(small_model *model, int64_t first, float *logits)
{
    for (int64_t done = 0; done < SEQUENCE; done += 2) {
        int32_t at = (int32_t)done, path[] = {0, 3};
        int32_t ids[] = {token_at(done), 7, 9, token_at(done + 1), 11};
        int32_t positions[] = {at, at, at + 1, at + 1, at + 1};
        int64_t ancestors[] = {1, 2, 6, 9, 17};
        float all[5 * VOCABULARY];
        if (first > 0)
            TD_TRY(forward(model, first, ids, positions, ancestors, all));
        ir_evaluator_set_tail(model->evaluator, (uint32_t)first);
        TD_TRY(forward(model, 5 - first, ids + first, positions + first, ancestors + first,
                       all + first * VOCABULARY));
        ir_evaluator_set_tail(model->evaluator, 0);
        memcpy(logits + done * VOCABULARY, all, VOCABULARY * sizeof *logits);
        memcpy(logits + (done + 1) * VOCABULARY, all + 3 * VOCABULARY, VOCABULARY * sizeof *logits);
        TD_TRY(commit(model, 2, path));
    }
    return TD_OK;
}

static void check_invariance(ir_type cache_type, int64_t window, double softcap)
{
    static float alone[SEQUENCE * VOCABULARY], other[SEQUENCE * VOCABULARY];
    small_model model = {.cache_type = cache_type, .window = window, .softcap = softcap};
    td_context_init(&model.context);
    CHECK_MESSAGE(build(&model) == TD_OK, "%s", model.context.message);
    CHECK_MESSAGE(run_chunks(&model, 1, alone) == TD_OK, "%s", model.context.message);
    CHECK(ir_evaluator_committed(model.evaluator, model.module->states.items[1]) == SEQUENCE);
    const int64_t chunks[] = {7, 32};
    for (size_t i = 0; i < 2; i++) {
        ir_evaluator_reset(model.evaluator);
        CHECK_MESSAGE(run_chunks(&model, chunks[i], other) == TD_OK, "%s", model.context.message);
        CHECK(memcmp(alone, other, sizeof alone) == 0);
    }
    for (int64_t first = 0; first < 4; first++) {
        ir_evaluator_reset(model.evaluator);
        CHECK_MESSAGE(run_trees(&model, first, other) == TD_OK, "%s", model.context.message);
        CHECK(memcmp(alone, other, sizeof alone) == 0);
    }
    for (size_t i = 0; i < SEQUENCE * VOCABULARY; i++)
        CHECK(isfinite(alone[i]));
    CHECK(memcmp(alone, alone + 99 * VOCABULARY, VOCABULARY * sizeof *alone) != 0);
    release(&model);
}

TEST(a_token_alone_in_a_chunk_and_in_a_tree_has_equal_bits)
{
    check_invariance(IR_F32, 0, 0.0);
}

TEST(f16_caches_keep_the_invariance)
{
    check_invariance(IR_F16, 0, 0.0);
}

TEST(windows_and_softcaps_keep_the_invariance)
{
    check_invariance(IR_F32, 20, 2.0);
}

TEST(a_full_cache_and_a_wrong_path_are_refused)
{
    static float logits[MAX_TOKENS * VOCABULARY];
    small_model model = {.cache_type = IR_F32};
    td_context_init(&model.context);
    CHECK_MESSAGE(build(&model) == TD_OK, "%s", model.context.message);
    int32_t ids[MAX_TOKENS] = {0}, positions[MAX_TOKENS] = {0}, path[MAX_TOKENS];
    int64_t ancestors[MAX_TOKENS];
    for (int32_t i = 0; i < MAX_TOKENS; i++) {
        ancestors[i] = (int64_t)1 << i;
        path[i] = i;
    }
    for (int done = 0; done < SLOTS; done += MAX_TOKENS) {
        CHECK(forward(&model, MAX_TOKENS, ids, positions, ancestors, logits) == TD_OK);
        CHECK(commit(&model, MAX_TOKENS, path) == TD_OK);
    }
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    CHECK_MESSAGE(strstr(model.context.message, "160 slots; 160 are committed") != NULL, "%s",
                  model.context.message);
    ir_evaluator_reset(model.evaluator);
    CHECK(forward(&model, 3, ids, positions, ancestors, logits) == TD_OK);
    CHECK(commit(&model, 2, (int32_t[]){1, 1}) == TD_INVALID);
    CHECK(commit(&model, 1, (int32_t[]){3}) == TD_INVALID);
    CHECK(ir_evaluator_committed(model.evaluator, model.module->states.items[0]) == 0);
    CHECK(commit(&model, 2, (int32_t[]){0, 2}) == TD_OK);
    ids[0] = VOCABULARY;
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    CHECK_MESSAGE(strstr(model.context.message, "token 50 is outside the 50 rows") != NULL, "%s",
                  model.context.message);
    ids[0] = 0;
    ancestors[0] = 2;
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    ancestors[0] = 0;
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    release(&model);
}

TEST(a_tail_that_does_not_stand_there_is_refused)
{
    static float logits[MAX_TOKENS * VOCABULARY];
    small_model model = {.cache_type = IR_F32};
    td_context_init(&model.context);
    CHECK_MESSAGE(build(&model) == TD_OK, "%s", model.context.message);
    int32_t ids[2] = {0}, positions[2] = {0};
    int64_t ancestors[] = {1, 3, 4};
    CHECK(forward(&model, 2, ids, positions, ancestors, logits) == TD_OK);
    ir_evaluator_set_tail(model.evaluator, 3);
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    CHECK_MESSAGE(strstr(model.context.message, "holds 2 tokens; 3 of them cannot stay") != NULL,
                  "%s", model.context.message);
    ir_evaluator_set_tail(model.evaluator, 2);
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    CHECK_MESSAGE(strstr(model.context.message, "do not name the token itself") != NULL, "%s",
                  model.context.message);
    CHECK(forward(&model, 1, ids, positions, ancestors + 2, logits) == TD_OK);
    CHECK(commit(&model, 2, (int32_t[]){0, 2}) == TD_OK);
    CHECK(forward(&model, 1, ids, positions, ancestors, logits) == TD_INVALID);
    release(&model);
}

TEST(commit_moves_slots_of_every_head)
{
    static float logits[MAX_TOKENS * VOCABULARY];
    small_model model = {.cache_type = IR_F16};
    td_context_init(&model.context);
    CHECK(build(&model) == TD_OK);
    int32_t ids[] = {1, 2, 3}, positions[] = {0, 1, 1};
    int64_t ancestors[] = {1, 3, 5};
    CHECK(forward(&model, 3, ids, positions, ancestors, logits) == TD_OK);
    const ir_state *state = model.module->states.items[0];
    float wanted[KV_HEADS][HEAD_SIZE];
    for (int head = 0; head < KV_HEADS; head++)
        memcpy(wanted[head],
               ir_evaluator_cache(model.evaluator, state, true) + (head * SLOTS + 2) * HEAD_SIZE,
               sizeof wanted[head]);
    CHECK(commit(&model, 2, (int32_t[]){0, 2}) == TD_OK);
    CHECK(ir_evaluator_committed(model.evaluator, state) == 2);
    for (int head = 0; head < KV_HEADS; head++) {
        const float *moved =
            ir_evaluator_cache(model.evaluator, state, true) + (head * SLOTS + 1) * HEAD_SIZE;
        CHECK(memcmp(moved, wanted[head], sizeof wanted[head]) == 0);
        for (int d = 0; d < HEAD_SIZE; d++)
            CHECK(ir_f16_to_f32(ir_f32_to_f16(moved[d])) == moved[d]);
    }
    release(&model);
}

/* --- allocation failures --- */

TEST(every_allocation_may_fail)
{
    static float logits[MAX_TOKENS * VOCABULARY];
    small_model model = {.cache_type = IR_F32};
    failing_allocator failing = {.countdown = FAIL_NEVER};
    failing_context(&model.context, &failing);
    CHECK(build(&model) == TD_OK);
    int32_t ids[] = {1, 2}, positions[] = {0, 1}, path[] = {0};
    int64_t ancestors[] = {1, 3};
    td_status status = TD_NO_MEMORY;
    for (long allowed = 0; status != TD_OK; allowed++) {
        CHECK(allowed < 5000);
        ir_evaluator_release(model.evaluator);
        model.evaluator = NULL;
        failing.countdown = allowed;
        status = ir_evaluator_create(model.module, SLOTS, &model.evaluator);
        if (status == TD_OK)
            status = forward(&model, 2, ids, positions, ancestors, logits);
        if (status == TD_OK)
            status = commit(&model, 1, path);
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
    }
    release(&model);
    CHECK(failing.held == 0);
}

TEST_MAIN()
