/* Products alone, on every CPU of the table that this machine is: awkward shapes, 1 to 33 tokens,
 * numbers that are not finite, denormal or huge, any number of parts. Every buffer stands directly
 * before a page that cannot be touched, and results have the bits of the reference evaluator.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate.h"
#include "tests/codegen/stand_in.h"
#include "tests/test.h"

#include <sys/mman.h>

#define TOKENS 33
#define PAGE   4096

typedef struct product_case {
    ir_type type;
    int64_t rows, columns, group; /* group 0: whole rows */
    bool has_zero, quantised;
} product_case;

static const product_case cases[] = {
    {IR_I8, 131, 96, 32, false, true}, {IR_U8, 17, 61, 0, true, true},
    {IR_I4, 48, 128, 64, false, true}, {IR_U4, 33, 96, 32, true, true},
    {IR_I8, 1, 37, 0, false, true},    {IR_I4, 16, 96, 0, true, true},
    {IR_F32, 67, 61, 0, false, false}, {IR_F16, 1, 37, 0, false, false},
    {IR_U4, 19, 61, 0, true, false},
};

typedef struct machine {
    td_context context;
    cg_model model;
    sched_plan schedule;
    ir_graph *graph;
    ir_value *results[TD_COUNT_OF(cases)];
    ir_evaluator *evaluator;
    unsigned char *arena;
    unsigned char *weights;
    stand_in code;
} machine;

/* --- the graph --- */

/* Activations of all kinds, by token. */
static float activation(uint64_t token, uint64_t k)
{
    const double unit = (double)(synthetic_hash(token, k) >> 11) * 0x1p-52 - 1;
    switch (token % 8) {
    case 3:
        return k == 5 ? NAN : (float)unit;
    case 4:
        return k == 7 ? -INFINITY : (float)unit;
    case 5:
        return (float)(unit * 0x1p-140);
    case 6:
        return k % 32 < 20 ? 0.0f : (float)(unit * 0x1p-120);
    case 7:
        return (float)(unit * 0x1p90);
    default:
        return (float)unit;
    }
}

/* Rows of activations, gathered by id so that they are computed values. */
static td_status add_activations(machine *self, int64_t columns, ir_value **x)
{
    static float numbers[TOKENS * 128];
    ir_module *module = self->model.module;
    for (uint64_t i = 0; i < (uint64_t)(TOKENS * columns); i++)
        numbers[i] = activation(i / (uint64_t)columns, i % (uint64_t)columns);
    const ir_shape shape = ir_shape_of(2, (int64_t[]){TOKENS, columns});
    ir_value *inputs[2] = {NULL, self->graph->inputs[0]};
    ir_constant *table;
    ir_node *node;
    TD_TRY(ir_module_add_constant_bytes(module, "x", IR_F32, &shape, numbers, &table));
    TD_TRY(ir_graph_add_constant(self->graph, table, &inputs[0]));
    TD_TRY(ir_graph_add_node(self->graph, IR_OP_embed, "x", 2, inputs, 1, &node));
    TD_TRY(ir_node_infer(node));
    *x = node->outputs[0];
    return TD_OK;
}

static td_status add_product(machine *self, const product_case *one, ir_value **result)
{
    const synthetic_options options = {.type = one->type,
                                       .scale_type = one->columns % 2 == 0 ? IR_F16 : IR_F32,
                                       .group = one->group,
                                       .has_zero = one->has_zero};
    synthetic_builder builder = {&options, self->model.module, self->graph,
                                 (uint64_t)(one->rows * one->columns), (int)one->rows * 1000};
    ir_value *inputs[4] = {NULL};
    size_t count = 0;
    ir_node *node;
    TD_TRY(add_activations(self, one->columns, &inputs[0]));
    if (one->quantised) {
        TD_TRY(ir_graph_add_node(self->graph, IR_OP_quantize_rows, "q", 1, inputs, 2, &node));
        TD_TRY(ir_node_infer(node));
        inputs[count++] = node->outputs[0];
        inputs[count++] = node->outputs[1];
    } else {
        count++;
    }
    TD_TRY(synthetic_matrix(&builder, one->rows, one->columns, &inputs[count++]));
    TD_TRY(synthetic_vector(&builder, one->rows, 1, false, &inputs[count++]));
    TD_TRY(ir_graph_add_node(self->graph, one->quantised ? IR_OP_linear_quantized : IR_OP_linear,
                             "product", count, inputs, 1, &node));
    TD_TRY(ir_node_infer(node));
    *result = node->outputs[0];
    return TD_OK;
}

/* A graph of all cases stands in for the commit of a small model. */
static td_status add_products(machine *self)
{
    ir_module *module = self->model.module;
    ir_symbol tokens;
    ir_value *ids;
    ir_module_find_symbol(module, "tokens", &tokens);
    const ir_shape shape = {1, {ir_dim_symbol(tokens)}};
    TD_TRY(ir_module_add_graph(module, "products", &self->graph));
    TD_TRY(ir_graph_add_input(self->graph, "ids", IR_I32, &shape, &ids));
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++)
        TD_TRY(add_product(self, &cases[i], &self->results[i]));
    self->model.commit = self->graph;
    return TD_OK;
}

/* --- memory --- */

/* Gives every value of the graph pages of its own, its last byte (up to alignment) before one that
 * belongs to nobody. */
static void spread_values(machine *self)
{
    sched_graph_plan *plan = &self->schedule.graphs[1];
    uint64_t position = cg_align(self->schedule.arena_bytes, PAGE) + PAGE;
    for (uint32_t i = 0; i < self->graph->value_count; i++) {
        if (plan->offset[i] == UINT64_MAX)
            continue;
        const uint64_t bytes = cg_align(plan->bytes[i], SCHED_ALIGNMENT);
        const uint64_t end = cg_align(position + bytes, PAGE);
        plan->offset[i] = end - bytes;
        position = end + PAGE;
    }
    self->schedule.arena_bytes = position;
}

static void *map(uint64_t bytes)
{
    void *pages = mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static bool open_pages(unsigned char *from, unsigned char *end)
{
    from -= (uintptr_t)from % PAGE;
    return mprotect(from, (size_t)(end - from), PROT_READ | PROT_WRITE) == 0;
}

static bool place_memory(machine *self, const unsigned char *payload, uint64_t bytes)
{
    const sched_graph_plan *plan = &self->schedule.graphs[1];
    const uint64_t room = cg_align(bytes, PAGE);
    unsigned char *pages = map(room + PAGE);
    self->arena = map(self->schedule.arena_bytes);
    if (pages == NULL || self->arena == NULL || !open_pages(pages, pages + room))
        return false;
    self->weights = pages + room - bytes;
    memcpy(self->weights, payload, (size_t)bytes);
    for (uint32_t i = 0; i < self->graph->value_count; i++) {
        unsigned char *from = self->arena + plan->offset[i];
        if (plan->offset[i] != UINT64_MAX &&
            !open_pages(from, from + cg_align(plan->bytes[i], SCHED_ALIGNMENT)))
            return false;
    }
    return true;
}

/* --- compiling --- */

static bool build(machine *self)
{
    const synthetic_options small = stand_in_model(TOKENS);
    static int32_t ids[TOKENS];
    memset(self, 0, sizeof *self);
    td_context_init(&self->context);
    for (int32_t i = 0; i < TOKENS; i++)
        ids[i] = i;
    const ir_tensor input = {
        .type = IR_I32, .rank = 1, .dim = {TOKENS}, .elements = TOKENS, .data = ids};
    return synthetic_llama(&self->context, &small, &self->model) == TD_OK &&
           add_products(self) == TD_OK &&
           ir_evaluator_create(self->model.module, 16, &self->evaluator) == TD_OK &&
           ir_evaluator_run(self->evaluator, self->graph, NULL, &input, true) == TD_OK;
}

static bool compile(machine *self, const cg_target *target, const cg_cpu *cpu)
{
    ir_graph *const graphs[] = {self->model.forward, self->model.commit};
    const sched_request order = {
        .graphs = graphs, .graph_count = 2, .orderer = "file", .keep_all = true};
    if (sched_plan_make(&self->context, &order, NULL, &self->schedule) != TD_OK)
        return false;
    spread_values(self);
    return stand_in_compile(&self->context, &self->model, &self->schedule, target, cpu,
                            &self->code) == TD_OK &&
           place_memory(self, self->code.payload, self->code.payload_bytes);
}

/* --- comparing --- */

static void run_parts(void *self, tandem_kernel kernel, const void *arguments, uint64_t work)
{
    const uint64_t parts = *(const uint64_t *)self;
    (void)work;
    for (uint64_t part = parts; part-- > 0;)
        kernel(arguments, part, parts);
}

static bool same(float a, float b, bool exact)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)) ||
           (!exact && fabsf(a - b) <= 1e-3f * fmaxf(1, fabsf(b)));
}

static void check(const machine *self, const cg_cpu *cpu, uint32_t tokens)
{
    const sched_graph_plan *plan = &self->schedule.graphs[1];
    for (size_t i = 0; i < TD_COUNT_OF(cases); i++) {
        const ir_value *value = self->results[i];
        const float *expected = ir_evaluator_value(self->evaluator, value)->data;
        const float *actual = (const float *)(const void *)(self->arena + plan->offset[value->id]);
        size_t wrong = 0;
        for (size_t k = 0; k < tokens * (size_t)cases[i].rows; k++)
            wrong += !same(actual[k], expected[k], cpu->has_fma);
        CHECK_MESSAGE(wrong == 0, "%s, %u tokens, %s of %lld x %lld: %zu numbers differ", cpu->name,
                      tokens, ir_type_name(cases[i].type), (long long)cases[i].rows,
                      (long long)cases[i].columns, wrong);
    }
}

static void run(machine *self, const cg_cpu *cpu)
{
    static int32_t ids[TOKENS];
    for (int32_t i = 0; i < TOKENS; i++)
        ids[i] = i;
    for (uint32_t tokens = 1; tokens <= TOKENS; tokens++) {
        uint64_t parts = 1 + tokens % 4;
        const tandem_frame frame = {.symbols = {tokens, 1, 16, tokens},
                                    .inputs = {ids},
                                    .arena = self->arena,
                                    .weights = self->weights,
                                    .share = run_parts,
                                    .share_self = &parts};
        self->code.info->commit(&frame);
        check(self, cpu, tokens);
    }
}

TEST(every_cpu_every_count_of_tokens)
{
    machine self;
    const cg_target *target;
    cg_cpu native;
    CHECK(build(&self));
    CHECK(cg_find_target(&self.context, NULL, NULL, &target, &native) == TD_OK);
    for (const cg_cpu *cpu = target->cpus; cpu->name != NULL; cpu++) {
        if (!cg_runs_here(target, cpu) || cpu->levels != NULL)
            continue;
        const bool compiled = compile(&self, target, cpu);
        CHECK_MESSAGE(compiled, "%s: %s", cpu->name, self.context.message);
        if (compiled) {
            run(&self, cpu);
            munmap(self.arena, (size_t)self.schedule.arena_bytes);
        }
        stand_in_release(&self.context, &self.code);
        sched_plan_release(&self.schedule);
    }
    ir_evaluator_release(self.evaluator);
    ir_module_release(self.model.module);
}

TEST_MAIN()
