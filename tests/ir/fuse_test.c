/* The passes that fuse: what each takes, what it leaves, and that no bit changes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "ir/evaluate.h"
#include "ir/passes/passes.h"
#include "tests/failing.h"
#include "tests/test.h"

#include <math.h>

#define CONSTANTS                                                                                  \
    "module \"m\"\n\n"                                                                             \
    "symbol tokens <= 8\n\n"                                                                       \
    "state \"kv.0\" = cache f16 {layer = 0, kv_heads = 1, head_size = 64}\n\n"                     \
    "constant @0 \"a.scale\": f16[64, 2] = missing\n"                                              \
    "constant @1 \"a\": i8[64, 64] = missing {group = 32, scale = @0}\n"                           \
    "constant @2 \"b\": f32[64, 64] = missing\n"                                                   \
    "constant @3 \"bias\": f32[64] = missing\n"                                                    \
    "constant @4 \"norm\": f32[64] = missing\n"                                                    \
    "constant @5 \"half\": f32[32] = missing\n\n"

/* Parses, runs passes, verifies and prints. */
static td_status transform(td_context *context, const char *from, const ir_pass *passes,
                           td_text *printed)
{
    ir_module *module = NULL;
    TD_TRY(ir_parse(context, from, strlen(from), "test", &module));
    td_status status = ir_run_passes(module, passes, NULL, true);
    if (status == TD_OK)
        status = ir_print(module, printed);
    ir_module_release(module);
    return status;
}

/* What a graph body becomes; twice, since a second run must change nothing. */
static void check_body(td_status (*pass)(ir_module *), const char *name, const char *before,
                       const char *after)
{
    const ir_pass passes[] = {{name, "", pass}, {name, "", pass}, {NULL, NULL, NULL}};
    td_context context;
    td_text from, to, printed;
    td_context_init(&context);
    td_text_init(&from, &context);
    td_text_init(&to, &context);
    td_text_init(&printed, &context);
    td_text_printf(&from, CONSTANTS "graph \"forward\" {\n%s}\n", before);
    td_text_printf(&to, CONSTANTS "graph \"forward\" {\n%s}\n", after);
    const td_status status = transform(&context, from.data, passes, &printed);
    CHECK_MESSAGE(status == TD_OK, "%s", context.message);
    CHECK_STRING(printed.data, to.data);
    td_text_release(&from);
    td_text_release(&to);
    td_text_release(&printed);
}

#define INPUT "    input %0 \"x\": f32[tokens, 64]\n"

TEST(gate_and_up_become_one_node)
{
    check_body(ir_pass_fuse_gated, "fuse_gated",
               INPUT "    %1: f32[tokens, 64] = linear(%0, @2) \"gate\"\n"
                     "    %2: f32[tokens, 64] = linear(%0, @2) \"up\"\n"
                     "    %3 \"y\": f32[tokens, 64] = gated_silu(%1, %2) \"mlp\"\n"
                     "    output \"y\" = %3\n",
               INPUT "    %1 \"y\": f32[tokens, 64] = linear_gated(%0, @2, @2) \"mlp\"\n"
                     "    output \"y\" = %1\n");
}

/* A gate that is read elsewhere, an output, a bias on one side only, another input. */
#define LEFT_ALONE                                                                                 \
    INPUT "    %1: f32[tokens, 64] = linear(%0, @2) \"gate\"\n"                                    \
          "    %2: f32[tokens, 64] = linear(%0, @2, @3) \"up\"\n"                                  \
          "    %3: f32[tokens, 64] = gated_silu(%1, %2) \"one bias\"\n"                            \
          "    %4: f32[tokens, 64] = linear(%3, @2) \"gate\"\n"                                    \
          "    %5: f32[tokens, 64] = gated_silu(%4, %4) \"twice\"\n"                               \
          "    %6: f32[tokens, 64] = linear(%5, @2) \"gate\"\n"                                    \
          "    %7: f32[tokens, 64] = linear(%4, @2) \"up\"\n"                                      \
          "    %8: f32[tokens, 64] = gated_silu(%6, %7) \"two inputs\"\n"                          \
          "    %9: f32[tokens, 64] = linear(%8, @2) \"gate\"\n"                                    \
          "    %10: f32[tokens, 64] = linear(%8, @2) \"up\"\n"                                     \
          "    %11: f32[tokens, 64] = gated_silu(%9, %10) \"an output\"\n"                         \
          "    %12: f32[tokens, 64] = linear(%0, @2) \"gate\"\n"                                   \
          "    %13: f32[tokens, 64] = linear(%0, @1) \"up\"\n"                                     \
          "    %14: f32[tokens, 64] = gated_silu(%12, %13) \"two types\"\n"                        \
          "    output \"y\" = %11\n"                                                               \
          "    output \"z\" = %10\n"                                                               \
          "    output \"w\" = %14\n"

TEST(gates_that_are_not_alone_stay)
{
    check_body(ir_pass_fuse_gated, "fuse_gated", LEFT_ALONE, LEFT_ALONE);
}

TEST(products_take_the_residual)
{
    check_body(ir_pass_fuse_residual, "fuse_residual",
               INPUT "    %1: f32[tokens, 64] = linear(%0, @2, @3) \"o\"\n"
                     "    %2: f32[tokens, 64] = add(%0, %1) \"sum\"\n"
                     "    %3: f32[tokens, 64] = linear(%2, @2) \"down\"\n"
                     "    %4 \"z\": f32[tokens, 64] = add(%3, %2) \"swapped\"\n"
                     "    %5: f32[tokens, 64] = linear(%4, @2) \"read twice\"\n"
                     "    %6: f32[tokens, 64] = add(%5, %5) \"same\"\n"
                     "    %7: f32[tokens, 64] = linear(%6, @2) \"row\"\n"
                     "    %8: f32[tokens, 64] = add(%7, @3) \"a constant\"\n"
                     "    output \"y\" = %8\n",
               INPUT "    %1: f32[tokens, 64] = linear_add(%0, %0, @2, @3) \"o\"\n"
                     "    %2 \"z\": f32[tokens, 64] = linear_add(%1, %1, @2) \"down\"\n"
                     "    %3: f32[tokens, 64] = linear(%2, @2) \"read twice\"\n"
                     "    %4: f32[tokens, 64] = add(%3, %3) \"same\"\n"
                     "    %5: f32[tokens, 64] = linear(%4, @2) \"row\"\n"
                     "    %6: f32[tokens, 64] = add(%5, @3) \"a constant\"\n"
                     "    output \"y\" = %6\n");
}

TEST(siblings_become_groups)
{
    check_body(ir_pass_fuse_siblings, "fuse_siblings",
               INPUT "    %1: f32[tokens, 64] = linear(%0, @2) \"a\"\n"
                     "    %2: f32[tokens, 64] = linear(%0, @2, @3) \"biased\"\n"
                     "    %3: f32[tokens, 64] = linear(%0, @1) \"b\"\n"
                     "    %4: f32[tokens, 64] = silu(%1) \"between\"\n"
                     "    %5: f32[tokens, 64] = linear(%0, @2) \"c\"\n"
                     "    %6: f32[tokens, 64] = linear(%0, @2) \"d\"\n"
                     "    %7: f32[tokens, 64] = linear(%0, @2) \"fifth\"\n"
                     "    %8 \"y\": f32[tokens, 64] = linear(%0, @2) \"sixth\"\n"
                     "    output \"a\" = %2\n"
                     "    output \"b\" = %3\n"
                     "    output \"c\" = %4\n"
                     "    output \"d\" = %5\n"
                     "    output \"e\" = %6\n"
                     "    output \"f\" = %7\n"
                     "    output \"g\" = %8\n",
               INPUT "    %1: f32[tokens, 64], %2: f32[tokens, 64], %3: f32[tokens, 64], "
                     "%4: f32[tokens, 64] = linear_group(%0, @2, @1, @2, @2) \"a\"\n"
                     "    %5: f32[tokens, 64] = linear(%0, @2, @3) \"biased\"\n"
                     "    %6: f32[tokens, 64] = silu(%1) \"between\"\n"
                     "    %7: f32[tokens, 64], %8 \"y\": f32[tokens, 64] = "
                     "linear_group(%0, @2, @2) \"fifth\"\n"
                     "    output \"a\" = %5\n"
                     "    output \"b\" = %2\n"
                     "    output \"c\" = %6\n"
                     "    output \"d\" = %3\n"
                     "    output \"e\" = %4\n"
                     "    output \"f\" = %7\n"
                     "    output \"g\" = %8\n");
}

#define QUANTISED "i8[tokens, 64]"
#define SCALES    "f32[tokens, 2]"

TEST(quantisation_joins_what_it_quantises)
{
    check_body(ir_pass_fuse_quantize, "fuse_quantize",
               INPUT "    %1: f32[tokens, 64] = rms_norm(%0, @4) {epsilon = 1e-05} \"norm\"\n"
                     "    %2: " QUANTISED ", %3: " SCALES " = quantize_rows(%1) \"norm\"\n"
                     "    %4: f32[tokens, 64] = linear_quantized_gated(%2, %3, @1, @1) \"mlp\"\n"
                     "    %5: " QUANTISED ", %6: " SCALES " = quantize_rows(%4) \"mlp\"\n"
                     "    %7: f32[tokens, 64] = linear_quantized(%5, %6, @1) \"down\"\n"
                     "    %8: f32[tokens, 64] = rms_norm(%7, @5) {epsilon = 1e-05} \"heads\"\n"
                     "    %9: " QUANTISED ", %10: " SCALES " = quantize_rows(%8) \"heads\"\n"
                     "    %11: f32[tokens, 64] = linear_quantized(%9, %10, @1) \"o\"\n"
                     "    output \"y\" = %11\n",
               INPUT "    %1: " QUANTISED ", %2: " SCALES
                     " = rms_norm_quantize(%0, @4) {epsilon = 1e-05} \"norm\"\n"
                     "    %3: " QUANTISED ", %4: " SCALES
                     " = linear_quantized_gated_quantize(%1, %2, @1, @1) \"mlp\"\n"
                     "    %5: f32[tokens, 64] = linear_quantized(%3, %4, @1) \"down\"\n"
                     "    %6: f32[tokens, 64] = rms_norm(%5, @5) {epsilon = 1e-05} \"heads\"\n"
                     "    %7: " QUANTISED ", %8: " SCALES " = quantize_rows(%6) \"heads\"\n"
                     "    %9: f32[tokens, 64] = linear_quantized(%7, %8, @1) \"o\"\n"
                     "    output \"y\" = %9\n");
}

#define ATTENTION_INPUTS                                                                           \
    INPUT "    input %1 \"table\": f32[tokens, 64]\n"                                              \
          "    input %2 \"ancestors\": i64[tokens, 1]\n"
#define ROPE       "{head_size = 64, interleaved = 1}"
#define ATTRIBUTES "{state = \"kv.0\", heads = 1, kv_heads = 1, head_size = 64, scale = 0.125"

TEST(the_attention_rotates)
{
    check_body(ir_pass_fuse_rope, "fuse_rope",
               ATTENTION_INPUTS
               "    %3: f32[tokens, 64] = rope(%0, %1) " ROPE " \"q\"\n"
               "    %4: f32[tokens, 64] = rope(%0, %1) " ROPE " \"k\"\n"
               "    %5: f32[tokens, 64] = cached_attention(%3, %4, %0, %2) " ATTRIBUTES "}\n"
               "    output \"y\" = %5\n",
               ATTENTION_INPUTS
               "    %3: f32[tokens, 64] = cached_attention(%0, %0, %0, %2, %1) " ATTRIBUTES
               ", interleaved = 1, rotates_q = 1}\n"
               "    output \"y\" = %3\n");
}

TEST(queries_that_are_read_elsewhere_keep_their_rope)
{
    check_body(ir_pass_fuse_rope, "fuse_rope",
               ATTENTION_INPUTS
               "    %3: f32[tokens, 64] = rope(%0, %1) " ROPE " \"q\"\n"
               "    %4: f32[tokens, 64] = rope(%0, %1) " ROPE " \"k\"\n"
               "    %5: f32[tokens, 64] = cached_attention(%3, %4, %0, %2) " ATTRIBUTES "}\n"
               "    output \"y\" = %5\n"
               "    output \"queries\" = %3\n",
               ATTENTION_INPUTS
               "    %3: f32[tokens, 64] = rope(%0, %1) " ROPE " \"q\"\n"
               "    %4: f32[tokens, 64] = cached_attention(%3, %0, %0, %2, %1) " ATTRIBUTES
               ", interleaved = 1, rotates_q = 0}\n"
               "    output \"y\" = %4\n"
               "    output \"queries\" = %3\n");
}

#define SUMS INPUT "    %1: f32[tokens, 64] = linear(%0, @2, @3) \"head\"\n"

TEST(a_greedy_graph_names_the_largest)
{
    static const char body[] =
        SUMS "    output \"hidden\" = %0\n"
             "    output \"logits\" = %1\n"
             "}\n\n"
             "graph \"greedy\" {\n" INPUT "    %1: f32[tokens, 1], %2: i32[tokens, 1] = "
             "linear_largest(%0, @2, @3) \"head\"\n"
             "    %3: i32[tokens, 1] = merge_largest(%1, %2) \"head\"\n"
             "    output \"best\" = %3\n";
    check_body(ir_pass_add_greedy, "add_greedy",
               SUMS "    output \"hidden\" = %0\n    output \"logits\" = %1\n", body);
}

#define CAPPED SUMS "    %2: f32[tokens, 64] = silu(%1) \"cap\"\n    output \"logits\" = %2\n"

TEST(logits_that_are_no_product_have_no_greedy_graph)
{
    check_body(ir_pass_add_greedy, "add_greedy", CAPPED, CAPPED);
}

/* --- random modules --- */

#define TOKENS 3

typedef struct maker {
    uint64_t random;
    ir_module *module;
    ir_graph *graph;
    ir_value *values[40];
    size_t count;
} maker;

static uint64_t below(maker *self, uint64_t limit)
{
    return td_random_next(&self->random) % limit;
}

static td_status make_matrix(maker *self, int64_t rows, int64_t columns, ir_value **value)
{
    static float numbers[96 * 96];
    int8_t integers[96 * 96];
    ir_shape shape = ir_shape_of(2, (int64_t[]){rows, columns});
    const int64_t group = columns % 32 == 0 && below(self, 2) == 0 ? 32 : columns;
    ir_shape parts = ir_shape_of(2, (int64_t[]){rows, columns / group});
    ir_constant wish = {.name = "q", .type = IR_I8, .shape = shape, .group = (uint32_t)group};
    ir_constant *stored = NULL;
    for (int64_t i = 0; i < rows * columns; i++) {
        numbers[i] = ((float)below(self, 2001) - 1000) / 8000;
        integers[i] = (int8_t)below(self, 256);
    }
    if (below(self, 4) == 0)
        TD_TRY(ir_module_add_constant_bytes(self->module, "w", IR_F32, &shape, numbers, &stored));
    else {
        TD_TRY(ir_module_add_constant_bytes(self->module, "b", IR_I8, &shape, integers, &stored));
        for (int64_t i = 0; i < rows * (columns / group); i++)
            numbers[i] = (numbers[i] + 1) / 800;
        TD_TRY(
            ir_module_add_constant_bytes(self->module, "s", IR_F32, &parts, numbers, &wish.scale));
        wish.source = stored->source;
        TD_TRY(ir_module_add_constant(self->module, &wish, &stored));
    }
    return ir_graph_add_constant(self->graph, stored, value);
}

static td_status make_vector(maker *self, int64_t length, ir_value **value)
{
    float numbers[96];
    ir_constant *constant = NULL;
    ir_shape shape = ir_shape_of(1, &length);
    for (int64_t i = 0; i < length; i++)
        numbers[i] = ((float)below(self, 2001) - 1000) / 700;
    TD_TRY(ir_module_add_constant_bytes(self->module, "v", IR_F32, &shape, numbers, &constant));
    return ir_graph_add_constant(self->graph, constant, value);
}

/* A value of the same width as `like` where there is one, perhaps itself. */
static ir_value *pick_alike(maker *self, const ir_value *like)
{
    ir_value *found = NULL;
    for (size_t i = 0; i < self->count; i++)
        if (ir_shape_equal(&self->values[i]->shape, &like->shape) &&
            (found == NULL || below(self, 2) == 0))
            found = self->values[i];
    return found;
}

/* Products come in runs of siblings, so that there is something to fuse. */
static td_status add_something(maker *self)
{
    static const int64_t widths[] = {64, 40, 96, 1};
    ir_value *x = self->values[below(self, self->count)], *inputs[3] = {x};
    const int64_t length = x->shape.dim[1].constant;
    ir_node *node = NULL;
    const uint64_t kind = below(self, 6);
    if (kind < 3) {
        const int64_t width = widths[below(self, TD_COUNT_OF(widths))];
        const bool biased = below(self, 3) == 0;
        for (uint64_t i = 1 + below(self, 3); i > 0; i--) {
            TD_TRY(make_matrix(self, width, length, &inputs[1]));
            if (biased)
                TD_TRY(make_vector(self, width, &inputs[2]));
            TD_TRY(
                ir_graph_add_node(self->graph, IR_OP_linear, "", biased ? 3 : 2, inputs, 1, &node));
            TD_TRY(ir_node_infer(node));
            self->values[self->count++] = node->outputs[0];
        }
        return TD_OK;
    }
    if (kind == 3)
        TD_TRY(make_vector(self, length, &inputs[1]));
    else
        inputs[1] = pick_alike(self, x);
    static const ir_opcode ops[] = {IR_OP_rms_norm, IR_OP_gated_silu, IR_OP_add};
    TD_TRY(ir_graph_add_node(self->graph, ops[kind - 3], "", 2, inputs, 1, &node));
    if (kind == 3)
        TD_TRY(ir_node_set_float(node, "epsilon", 1e-5));
    TD_TRY(ir_node_infer(node));
    self->values[self->count++] = node->outputs[0];
    return TD_OK;
}

static td_status make_random(maker *self)
{
    const ir_shape shape = ir_shape_of(2, (int64_t[]){TOKENS, 64});
    TD_TRY(ir_module_add_graph(self->module, "forward", &self->graph));
    TD_TRY(ir_graph_add_input(self->graph, "x", IR_F32, &shape, &self->values[self->count++]));
    while (self->count < TD_COUNT_OF(self->values) - 3)
        TD_TRY(add_something(self));
    for (int i = 0; i < 4; i++)
        TD_TRY(ir_graph_add_output(self->graph, i == 0 ? "logits" : "other",
                                   self->values[self->count - 1 - below(self, 8)]));
    TD_TRY(ir_graph_remove_dead(self->graph));
    return below(self, 2) == 0 ? TD_OK : ir_pass_quantize_activations(self->module);
}

/* Values of the graph's outputs, one after the other; numbers that are not finite among them. */
static td_status evaluate(maker *self, uint64_t seed, td_text *bytes)
{
    float x[TOKENS * 64];
    for (size_t i = 0; i < TD_COUNT_OF(x); i++)
        x[i] = (float)(td_random_next(&seed) % 4001) / 1000 - 2;
    if (seed % 4 == 0)
        x[seed % TD_COUNT_OF(x)] = seed % 8 == 0 ? INFINITY : NAN;
    const ir_tensor input = {.type = IR_F32, .rank = 2, .dim = {TOKENS, 64}, .data = x};
    ir_evaluator *evaluator = NULL;
    TD_TRY(ir_evaluator_create(self->module, 0, &evaluator));
    td_status status = ir_evaluator_run(evaluator, self->graph, NULL, &input, false);
    for (size_t i = 0; i < self->graph->output_count && status == TD_OK; i++) {
        const ir_tensor *result = ir_evaluator_value(evaluator, self->graph->outputs[i]);
        const float *numbers = result->data;
        for (uint64_t k = 0; k < result->elements; k++) {
            /* The bits of a NaN are not defined. */
            const float number = isnan(numbers[k]) ? NAN : numbers[k];
            td_text_append(bytes, (const char *)&number, sizeof number);
        }
    }
    ir_evaluator_release(evaluator);
    return status;
}

static uint32_t count_ops(const ir_graph *graph, bool fused)
{
    uint32_t count = 0;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        count += !fused || (node->op >= IR_OP_rms_norm_quantize && node->op <= IR_OP_merge_largest);
    return count;
}

TEST(fused_modules_compute_the_same_bits)
{
    uint32_t fused = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        td_context context;
        td_context_init(&context);
        maker self = {.random = seed};
        td_text before, after;
        td_text_init(&before, &context);
        td_text_init(&after, &context);
        CHECK(ir_module_create(&context, "random", &self.module) == TD_OK);
        CHECK_MESSAGE(make_random(&self) == TD_OK, "%s", context.message);
        CHECK_MESSAGE(evaluate(&self, seed, &before) == TD_OK, "%s", context.message);
        const uint32_t nodes = count_ops(self.graph, false);
        CHECK_MESSAGE(ir_run_passes(self.module, ir_fuse_passes, NULL, true) == TD_OK,
                      "seed %d: %s", (int)seed, context.message);
        CHECK(count_ops(self.graph, false) <= nodes);
        CHECK_MESSAGE(evaluate(&self, seed, &after) == TD_OK, "%s", context.message);
        CHECK_MESSAGE(before.length == after.length &&
                          memcmp(before.data, after.data, before.length) == 0,
                      "seed %d: other bits", (int)seed);
        fused += count_ops(self.graph, true);
        td_text_release(&before);
        td_text_release(&after);
        ir_module_release(self.module);
    }
    CHECK_MESSAGE(fused > 80, "%u fused nodes", fused);
}

/* --- allocation failures --- */

static td_status attempt(td_context *context)
{
    static const char text[] =
        CONSTANTS "graph \"forward\" {\n" INPUT
                  "    %1: f32[tokens, 64] = rms_norm(%0, @4) {epsilon = 1e-05} \"norm\"\n"
                  "    %2: f32[tokens, 64] = linear(%1, @2) \"gate\"\n"
                  "    %3: f32[tokens, 64] = linear(%1, @2) \"up\"\n"
                  "    %4: f32[tokens, 64] = gated_silu(%2, %3) \"mlp\"\n"
                  "    %5: f32[tokens, 64] = linear(%4, @2) \"down\"\n"
                  "    %6: f32[tokens, 64] = add(%0, %5) \"sum\"\n"
                  "    %7: " QUANTISED ", %8: " SCALES " = quantize_rows(%6) \"sum\"\n"
                  "    %9: f32[tokens, 64] = linear_quantized(%7, %8, @1) \"a\"\n"
                  "    %10: f32[tokens, 64] = linear_quantized(%7, %8, @1) \"b\"\n"
                  "    %11: f32[tokens, 64] = linear(%10, @2) \"head\"\n"
                  "    output \"logits\" = %11\n"
                  "    output \"y\" = %9\n"
                  "}\n";
    td_text printed;
    td_text_init(&printed, context);
    const td_status status = transform(context, text, ir_fuse_passes, &printed);
    td_text_release(&printed);
    return status;
}

TEST(every_allocation_may_fail)
{
    CHECK(fail_each_request(attempt) > 10);
}

TEST_MAIN()
