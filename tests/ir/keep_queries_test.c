/* The pass that hands queries out: one output per cache, the value that attention reads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"
#include "tests/test.h"

static const char source[] =
    "module \"m\"\n\n"
    "symbol tokens <= 8\n\n"
    "constant @0 \"frequencies\": f32[2] = missing\n\n"
    "state \"kv.0\" = cache f16 {layer = 0, kv_heads = 1, head_size = 4}\n"
    "state \"kv.1\" = cache f16 {layer = 1, kv_heads = 2, head_size = 4}\n\n"
    "graph \"forward\" {\n"
    "    input %0 \"x\": f32[tokens, 8]\n"
    "    input %1 \"k\": f32[tokens, 4]\n"
    "    input %2 \"positions\": i32[tokens]\n"
    "    input %3 \"ancestors\": i64[tokens, 1]\n"
    "    %4: f32[tokens, 4] = rotary_table(%2, @0) \"table\"\n"
    "    %5: f32[tokens, 8] = rope(%0, %4) {head_size = 4} \"rotated\"\n"
    "    %6: f32[tokens, 8] = cached_attention(%5, %1, %1, %3) {state = \"kv.0\", heads = 2, "
    "kv_heads = 1, head_size = 4, scale = 0.5} \"first\"\n"
    "    %7: f32[tokens, 8] = cached_attention(%6, %0, %0, %3) {state = \"kv.1\", heads = 2, "
    "kv_heads = 2, head_size = 4, scale = 0.5} \"second\"\n"
    "    output \"logits\" = %7\n"
    "}\n\n"
    "graph \"commit\" {\n"
    "    input %0 \"path\": i32[tokens]\n"
    "    cache_commit(%0) {state = \"kv.0\"} \"\"\n"
    "}\n";

static const ir_value *output_named(const ir_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->output_count; i++)
        if (strcmp(graph->output_names[i], name) == 0)
            return graph->outputs[i];
    return NULL;
}

TEST(queries_become_outputs_of_forward)
{
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    CHECK_MESSAGE(ir_parse(&context, source, strlen(source), "test", &module) == TD_OK, "%s",
                  context.message);
    CHECK(ir_pass_keep_queries(module) == TD_OK);
    CHECK(ir_verify(module) == TD_OK);
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    CHECK(forward->output_count == 3);
    const ir_value *first = output_named(forward, "queries.0");
    const ir_value *second = output_named(forward, "queries.1");
    CHECK(first != NULL && first->producer->op == IR_OP_rope);
    CHECK(second != NULL && second->producer->op == IR_OP_cached_attention);
    CHECK(output_named(forward, "logits") != NULL);
    CHECK(ir_module_find_graph(module, "commit")->output_count == 0);
    ir_module_release(module);
}

TEST(twice_is_once)
{
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    CHECK(ir_parse(&context, source, strlen(source), "test", &module) == TD_OK);
    CHECK(ir_pass_keep_queries(module) == TD_OK);
    CHECK(ir_pass_keep_queries(module) == TD_OK);
    CHECK(ir_module_find_graph(module, "forward")->output_count == 3);
    ir_module_release(module);
}

TEST(without_forward_it_is_refused)
{
    static const char empty[] = "module \"m\"\n";
    td_context context;
    ir_module *module = NULL;
    td_context_init(&context);
    CHECK(ir_parse(&context, empty, strlen(empty), "test", &module) == TD_OK);
    CHECK(ir_pass_keep_queries(module) == TD_INVALID);
    CHECK_STRING(context.message, "there is no graph \"forward\" whose queries could be kept");
    ir_module_release(module);
}

TEST_MAIN()
