/* Every kernel alone, given the same inputs as the reference evaluator, on random awkward shapes:
 * its results have the evaluator's bits on a CPU with FMA, and lie within the tolerance that
 * docs/numerics.md states on one without. TANDEM_PRINT_ERRORS=1 prints the largest that are met.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate.h"
#include "tests/codegen/stand_in.h"
#include "tests/test.h"

#define TOKENS    80 /* more than a block of attention */
#define SLOTS     96
#define MOST      48
#define MOST_SIZE 400
#define MOST_ROWS 131
#define TOLERANCE 1e-5

/* What a result's error is measured by. */
typedef enum magnitude {
    OF_TERMS, /* the sum of the sizes of its terms; gated: those of both products, multiplied */
    OF_ROW,   /* the largest size in its row */
} magnitude;

typedef struct kernel_case {
    char name[96];
    ir_node *node;
    ir_value *result;
    magnitude measure;
    uint32_t products; /* whose terms count */
    double largest;    /* error met */
} kernel_case;

typedef struct kernels {
    td_context context;
    cg_model model;
    sched_plan schedule;
    ir_graph *graph;
    synthetic_options options; /* of the next weight */
    synthetic_builder builder;
    ir_value *ids, *ancestors;
    ir_evaluator *evaluator;
    kernel_case cases[MOST];
    size_t count;
    uint64_t random;
    int32_t id[TOKENS];
    int64_t mask[TOKENS * 2];
} kernels;

static int64_t pick(kernels *self, int64_t from, int64_t to)
{
    return from + (int64_t)(td_random_next(&self->random) % (uint64_t)(to - from + 1));
}

/* --- inputs --- */

/* Numbers around 1; every fourth token's are tiny, denormal, or huge, unless all shall be plain. */
static float activation(uint64_t seed, uint64_t token, uint64_t k, bool plain)
{
    static const double sizes[] = {1, 0x1p-20, 0x1p-134, 0x1p50};
    const double unit = (double)(synthetic_hash(seed + token, k) >> 11) * 0x1p-52 - 1;
    return (float)(unit * (plain ? 2 : sizes[token % 4]));
}

/* Rows of numbers, gathered by id so that they are computed values. */
static td_status add_rows(kernels *self, int64_t columns, bool plain, ir_value **x)
{
    static float numbers[TOKENS * MOST_SIZE];
    ir_module *module = self->model.module;
    const uint64_t seed = td_random_next(&self->random);
    for (uint64_t i = 0; i < (uint64_t)(TOKENS * columns); i++)
        numbers[i] = activation(seed, i / (uint64_t)columns, i % (uint64_t)columns, plain);
    const ir_shape shape = ir_shape_of(2, (int64_t[]){TOKENS, columns});
    char *name = td_arena_format(&module->arena, "x%d", self->builder.names++);
    ir_value *table;
    ir_constant *constant;
    TD_TRY(ir_module_add_constant_bytes(module, name, IR_F32, &shape, numbers, &constant));
    TD_TRY(ir_graph_add_constant(self->graph, constant, &table));
    return synthetic_apply(&self->builder, IR_OP_embed, table, self->ids, x);
}

/* --- kernels --- */

static td_status add_node(kernels *self, ir_opcode op, size_t count, ir_value *const *inputs,
                          magnitude measure, kernel_case **added)
{
    kernel_case *one = &self->cases[self->count++];
    char *name = td_arena_format(&self->model.module->arena, "kernel%zu", self->count);
    TD_TRY(ir_graph_add_node(self->graph, op, name, count, inputs, 1, &one->node));
    one->result = one->node->outputs[0];
    one->measure = measure;
    *added = one;
    return TD_OK;
}

/* Rows and columns of the next product: one row, primes, whole rows and odd groups. */
static void pick_product(kernels *self, ir_type type, bool quantised, int64_t *rows,
                         int64_t *columns)
{
    static const int64_t primes[] = {1, 2, 7, 17, 31, 61, 67, 97, MOST_ROWS};
    const bool grouped = !ir_type_is_float(type) && pick(self, 0, 1) == 1;
    const int64_t group = quantised ? 32 * pick(self, 1, 3) : pick(self, 3, 40);
    *rows = primes[pick(self, 0, TD_COUNT_OF(primes) - 1)];
    *columns = grouped ? group * pick(self, 2, 4) : pick(self, 1, 200);
    self->options = (synthetic_options){.type = type,
                                        .scale_type = pick(self, 0, 1) == 0 ? IR_F32 : IR_F16,
                                        .group = grouped ? group : 0,
                                        .has_zero = pick(self, 0, 1) == 0};
}

/* A product, or with `gated` two of them; with quantised activations or f32. */
static td_status add_product(kernels *self, ir_type type, bool quantised, bool gated)
{
    static const ir_opcode ops[2][2] = {{IR_OP_linear, IR_OP_linear_gated},
                                        {IR_OP_linear_quantized, IR_OP_linear_quantized_gated}};
    ir_value *inputs[6];
    ir_node *node;
    kernel_case *one;
    size_t count = 1;
    int64_t rows, columns;
    pick_product(self, type, quantised, &rows, &columns);
    TD_TRY(add_rows(self, columns, false, &inputs[0]));
    if (quantised) {
        TD_TRY(ir_graph_add_node(self->graph, IR_OP_quantize_rows, "q", 1, inputs, 2, &node));
        TD_TRY(ir_node_infer(node));
        inputs[0] = node->outputs[0];
        inputs[count++] = node->outputs[1];
    }
    for (int i = 0; i <= gated; i++)
        TD_TRY(synthetic_matrix(&self->builder, rows, columns, &inputs[count++]));
    for (int i = 0; i <= gated; i++)
        TD_TRY(synthetic_vector(&self->builder, rows, 0.5, false, &inputs[count++]));
    TD_TRY(add_node(self, ops[quantised][gated], count, inputs, OF_TERMS, &one));
    one->products = gated ? 2 : 1;
    snprintf(one->name, sizeof one->name, "%s of %s, %d x %d, groups of %d",
             ir_op(one->node->op)->name, ir_type_name(type), (int)rows, (int)columns,
             (int)self->options.group);
    return ir_node_infer(one->node);
}

static td_status add_norm(kernels *self, int64_t heads)
{
    const int64_t size = pick(self, 1, 200 / heads);
    ir_value *inputs[2];
    kernel_case *one;
    TD_TRY(add_rows(self, heads * size, false, &inputs[0]));
    TD_TRY(synthetic_vector(&self->builder, size, 0.7, true, &inputs[1]));
    TD_TRY(add_node(self, IR_OP_rms_norm, 2, inputs, OF_ROW, &one));
    TD_TRY(ir_node_set_float(one->node, "epsilon", 1e-5));
    snprintf(one->name, sizeof one->name, "rms_norm of %d x %d", (int)heads, (int)size);
    return ir_node_infer(one->node);
}

static td_status add_rope(kernels *self, bool interleaved)
{
    const int64_t heads = pick(self, 1, 5), size = 2 * pick(self, 1, 37);
    ir_value *inputs[2];
    kernel_case *one;
    TD_TRY(add_rows(self, heads * size, false, &inputs[0]));
    TD_TRY(add_rows(self, size, true, &inputs[1]));
    TD_TRY(add_node(self, IR_OP_rope, 2, inputs, OF_ROW, &one));
    TD_TRY(ir_node_set_int(one->node, "head_size", size));
    TD_TRY(ir_node_set_int(one->node, "interleaved", interleaved));
    snprintf(one->name, sizeof one->name, "rope of %d x %d", (int)heads, (int)size);
    return ir_node_infer(one->node);
}

static td_status add_rotary_table(kernels *self)
{
    const int64_t half = pick(self, 1, 67);
    ir_value *inputs[2] = {self->ids};
    kernel_case *one;
    TD_TRY(synthetic_vector(&self->builder, half, 0.8, true, &inputs[1]));
    TD_TRY(add_node(self, IR_OP_rotary_table, 2, inputs, OF_ROW, &one));
    snprintf(one->name, sizeof one->name, "rotary_table of %d", (int)(2 * half));
    return ir_node_infer(one->node);
}

static td_status add_gated_silu(kernels *self)
{
    const int64_t columns = pick(self, 1, 200);
    ir_value *inputs[2];
    kernel_case *one;
    for (int i = 0; i < 2; i++)
        TD_TRY(add_rows(self, columns, i == 1, &inputs[i]));
    TD_TRY(add_node(self, IR_OP_gated_silu, 2, inputs, OF_ROW, &one));
    snprintf(one->name, sizeof one->name, "gated_silu of %d", (int)columns);
    return ir_node_infer(one->node);
}

static td_status add_attention(kernels *self, ir_type cache, int64_t window, double softcap)
{
    const int64_t kv_heads = pick(self, 1, 3), heads = kv_heads * pick(self, 1, 5);
    const int64_t size = 2 * pick(self, 1, 13);
    ir_module *module = self->model.module;
    ir_value *inputs[4] = {NULL, NULL, NULL, self->ancestors};
    kernel_case *one;
    ir_state *state;
    const ir_state described = {
        .name = td_arena_format(&module->arena, "cache%d", (int)module->states.count),
        .kind = IR_STATE_CACHE,
        .type = cache,
        .layer = (uint32_t)module->states.count,
        .kv_heads = (uint32_t)kv_heads,
        .head_size = (uint32_t)size};
    TD_TRY(ir_module_add_state(module, &described, &state));
    for (int i = 0; i < 3; i++)
        TD_TRY(add_rows(self, (i == 0 ? heads : kv_heads) * size, true, &inputs[i]));
    TD_TRY(add_node(self, IR_OP_cached_attention, 4, inputs, OF_ROW, &one));
    TD_TRY(ir_node_set_string(one->node, "state", described.name));
    TD_TRY(ir_node_set_int(one->node, "heads", heads));
    TD_TRY(ir_node_set_int(one->node, "kv_heads", kv_heads));
    TD_TRY(ir_node_set_int(one->node, "head_size", size));
    TD_TRY(ir_node_set_float(one->node, "scale", 1 / sqrt((double)size)));
    if (window > 0)
        TD_TRY(ir_node_set_int(one->node, "window", window));
    if (softcap > 0)
        TD_TRY(ir_node_set_float(one->node, "softcap", softcap));
    snprintf(one->name, sizeof one->name, "attention of %d heads of %d, %s, window %d, softcap %g",
             (int)heads, (int)size, ir_type_name(cache), (int)window, softcap);
    return ir_node_infer(one->node);
}

static td_status add_all_products(kernels *self)
{
    static const ir_type types[] = {IR_F32, IR_F16, IR_BF16, IR_I8, IR_U8, IR_I4, IR_U4};
    for (size_t i = 0; i < TD_COUNT_OF(types); i++)
        for (int gated = 0; gated < (i % 3 == 0 ? 2 : 1); gated++) {
            TD_TRY(add_product(self, types[i], false, gated == 1));
            if (!ir_type_is_float(types[i]))
                TD_TRY(add_product(self, types[i], true, gated == 1));
        }
    return TD_OK;
}

static td_status add_all(kernels *self)
{
    TD_TRY(add_all_products(self));
    for (int i = 0; i < 2; i++) {
        TD_TRY(add_norm(self, 1 + 2 * i));
        TD_TRY(add_rope(self, i == 1));
        TD_TRY(add_rotary_table(self));
        TD_TRY(add_gated_silu(self));
    }
    TD_TRY(add_attention(self, IR_F32, 0, 0));
    TD_TRY(add_attention(self, IR_F16, 13, 0));
    return add_attention(self, IR_I8, 0, 3);
}

/* --- the evaluator --- */

/* A graph of all cases stands in for the commit of a small model. */
static td_status build(kernels *self, uint64_t seed)
{
    memset(self, 0, sizeof *self);
    self->random = seed;
    td_context_init(&self->context);
    const synthetic_options small = stand_in_model(TOKENS);
    TD_TRY(synthetic_llama(&self->context, &small, &self->model));
    ir_module *module = self->model.module;
    ir_symbol tokens;
    ir_module_find_symbol(module, "tokens", &tokens);
    const ir_shape row = {1, {ir_dim_symbol(tokens)}};
    const ir_shape masks = {2, {ir_dim_symbol(tokens), ir_dim_constant(2)}};
    TD_TRY(ir_module_add_graph(module, "kernels", &self->graph));
    TD_TRY(ir_graph_add_input(self->graph, "ids", IR_I32, &row, &self->ids));
    TD_TRY(ir_graph_add_input(self->graph, "ancestors", IR_I64, &masks, &self->ancestors));
    self->builder = (synthetic_builder){&self->options, module, self->graph, seed, 1000};
    TD_TRY(add_all(self));
    self->model.commit = self->graph;
    return TD_OK;
}

/* A chain of tokens: the results of the first ones are those of a shorter pass. */
static td_status evaluate(kernels *self)
{
    for (int32_t i = 0; i < TOKENS; i++) {
        self->id[i] = i;
        for (int j = 0; j <= i; j++)
            self->mask[2 * i + j / 64] |= (int64_t)(UINT64_C(1) << (j % 64));
    }
    const ir_tensor inputs[] = {
        {.type = IR_I32, .rank = 1, .dim = {TOKENS}, .elements = TOKENS, .data = self->id},
        {.type = IR_I64,
         .rank = 2,
         .dim = {TOKENS, 2},
         .elements = 2 * TOKENS,
         .data = self->mask}};
    TD_TRY(ir_evaluator_create(self->model.module, SLOTS, &self->evaluator));
    return ir_evaluator_run(self->evaluator, self->graph, NULL, inputs, true);
}

/* --- magnitudes --- */

/* Of each result of a product and a token: the sum of the sizes of its terms, the bias among them.
 */
static td_status size_of_terms(kernels *self, const kernel_case *one, uint32_t product,
                               uint32_t token, double *sizes)
{
    static float weights[MOST_ROWS * MOST_SIZE], bias[MOST_ROWS];
    ir_value *const *inputs = one->node->inputs;
    const bool quantised = inputs[0]->type == IR_I8;
    const uint32_t first = quantised ? 2 : 1, count = (one->node->input_count - first) / 2;
    const ir_value *numbers = quantised ? inputs[0]->producer->inputs[0] : inputs[0];
    const ir_tensor *x = ir_evaluator_value(self->evaluator, numbers);
    const uint64_t columns = (uint64_t)x->dim[1];
    const uint64_t rows = (uint64_t)inputs[first + product]->constant->shape.dim[0].constant;
    TD_TRY(ir_constant_read_f32(&self->context, inputs[first + product]->constant, 0,
                                rows * columns, weights));
    TD_TRY(ir_constant_read_f32(&self->context, inputs[first + count + product]->constant, 0, rows,
                                bias));
    for (uint64_t n = 0; n < rows; n++) {
        double sum = fabs((double)bias[n]);
        for (uint64_t k = 0; k < columns; k++)
            sum += fabs((double)((const float *)x->data)[token * columns + k] *
                        (double)weights[n * columns + k]);
        sizes[n] *= sum;
    }
    return TD_OK;
}

/* What the errors of a token's results are measured by. */
static td_status find_sizes(kernels *self, const kernel_case *one, uint32_t token, double *sizes)
{
    const ir_tensor *result = ir_evaluator_value(self->evaluator, one->result);
    const uint64_t columns = (uint64_t)result->dim[1];
    const float *row = (const float *)result->data + token * columns;
    double largest = 0;
    for (uint64_t i = 0; i < columns; i++)
        largest = fmax(largest, fabs((double)row[i]));
    for (uint64_t i = 0; i < columns; i++)
        sizes[i] = one->measure == OF_ROW ? largest : 1;
    for (uint32_t i = 0; i < one->products; i++)
        TD_TRY(size_of_terms(self, one, i, token, sizes));
    return TD_OK;
}

/* --- compiled code --- */

static void check_case(kernels *self, const cg_cpu *cpu, const kernel_case *one,
                       const unsigned char *arena, uint32_t tokens, double *largest)
{
    static double sizes[MOST_SIZE];
    const ir_tensor *tensor = ir_evaluator_value(self->evaluator, one->result);
    const uint64_t columns = (uint64_t)tensor->dim[1];
    const float *expected = tensor->data;
    const float *actual =
        (const float *)(const void *)(arena + self->schedule.graphs[1].offset[one->result->id]);
    size_t wrong = 0;
    for (uint32_t t = 0; t < tokens; t++) {
        CHECK(cpu->has_fma || find_sizes(self, one, t, sizes) == TD_OK);
        for (uint64_t i = t * columns; i < (t + 1) * columns; i++) {
            const double error = fabs((double)actual[i] - (double)expected[i]);
            if (cpu->has_fma || error == 0) {
                wrong += memcmp(&actual[i], &expected[i], sizeof(float)) != 0 && cpu->has_fma;
                continue;
            }
            const double relative = error / sizes[i % columns];
            wrong += !(relative <= TOLERANCE);
            *largest = fmax(*largest, relative);
        }
    }
    CHECK_MESSAGE(wrong == 0, "%s, %u tokens, %s: %zu numbers are wrong", cpu->name, tokens,
                  one->name, wrong);
}

static void run_lengths(kernels *self, const cg_cpu *cpu, const stand_in *code)
{
    static const uint32_t lengths[] = {1, 2, 3, 5, 16, 33, TOKENS};
    const tandem_model_info *info = code->info;
    unsigned char *arena = stand_in_zeros(self->schedule.arena_bytes);
    unsigned char *state = stand_in_zeros(info->state_fixed_bytes + SLOTS * info->state_slot_bytes);
    unsigned char *weights = stand_in_zeros(code->payload_bytes);
    memcpy(weights, code->payload, (size_t)code->payload_bytes);
    for (size_t i = 0; i < TD_COUNT_OF(lengths); i++) {
        const tandem_frame frame = {.symbols = {lengths[i], 1, SLOTS, lengths[i]},
                                    .inputs = {self->id, NULL, self->mask},
                                    .arena = arena,
                                    .weights = weights,
                                    .state = state};
        info->commit(&frame);
        for (size_t c = 0; c < self->count; c++)
            check_case(self, cpu, &self->cases[c], arena, lengths[i], &self->cases[c].largest);
    }
    free(arena);
    free(state);
    free(weights);
}

static void check_cpu(kernels *self, const cg_target *target, const cg_cpu *cpu)
{
    stand_in code;
    ir_graph *const graphs[] = {self->model.forward, self->model.commit};
    const sched_request order = {
        .graphs = graphs, .graph_count = 2, .orderer = "file", .keep_all = true};
    CHECK(sched_plan_make(&self->context, &order, NULL, &self->schedule) == TD_OK);
    const td_status status =
        stand_in_compile(&self->context, &self->model, &self->schedule, target, cpu, &code);
    CHECK_MESSAGE(status == TD_OK, "%s: %s", cpu->name, self->context.message);
    if (status == TD_OK)
        run_lengths(self, cpu, &code);
    stand_in_release(&self->context, &code);
    sched_plan_release(&self->schedule);
}

/* The native CPU, and those without FMA that this machine is. */
static void check_kernels(uint64_t seed)
{
    static kernels self;
    const cg_target *target;
    cg_cpu native;
    td_status status = build(&self, seed);
    if (status == TD_OK)
        status = evaluate(&self);
    CHECK_MESSAGE(status == TD_OK, "%s", self.context.message);
    CHECK(cg_find_target(&self.context, NULL, NULL, &target, &native) == TD_OK);
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL && status == TD_OK; cpu++)
        if (cg_runs_here(target, cpu) && (!cpu->has_fma || strcmp(cpu->name, native.name) == 0))
            check_cpu(&self, target, cpu);
    if (getenv("TANDEM_PRINT_ERRORS") != NULL)
        for (size_t i = 0; i < self.count; i++)
            printf("%-70s %.1e\n", self.cases[i].name, self.cases[i].largest);
    ir_evaluator_release(self.evaluator);
    ir_module_release(self.model.module);
}

TEST(random_shapes)
{
    check_kernels(7);
}

TEST_MAIN()
