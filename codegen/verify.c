/* Compiled code against the reference evaluator, value by value.
 *
 * The model is compiled with a buffer for every value into a shared library, which is loaded here.
 * A script of passes (two chunks of a prompt, single tokens, a tree, commits in between) then runs
 * in the evaluator and in the library, once with one thread and once with two, each with caches of
 * its own. Trees are passed level by level and then at once, which must give the same logits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"
#include "codegen/program.h"
#include "ir/evaluate.h"
#include "runtime/abi.h"

#include "base/hash.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TREE    9
#define THREADINGS  2 /* one thread, two threads */
#define PARTS       5 /* of each kernel when there are two threads */
#define FIRST_CHUNK 40
#define NEXT_CHUNK  29

/* How results of one op compared. */
typedef struct op_result {
    uint64_t elements, different;
    double largest; /* difference */
} op_result;

typedef struct verification {
    td_context *context;
    const cg_request *request;
    const cg_model *model;
    FILE *report;
    void *library;
    td_file file;
    const unsigned char *payload;
    const tandem_artefact *artefact;
    const tandem_model_info *info;
    ir_evaluator *evaluator;
    uint32_t slots, committed;
    unsigned char *arena, *state[THREADINGS];
    uint64_t random;
    op_result ops[IR_OP_COUNT];
    bool equal;
    /* The current pass takes `tokens` of the prepared ones, from `tail` on; those before stand in
     * the tails of the caches. */
    const char *step;
    uint32_t tail, tokens, rows, accepted;
    int32_t *ids, *positions, *wanted, *path;
    int64_t *ancestors;
} verification;

/* What the tokens of the current pass see. */
static int64_t *ancestors_of(const verification *self)
{
    return self->ancestors + (size_t)self->tail * self->info->ancestor_words;
}

/* --- running compiled code --- */

typedef struct some_parts {
    tandem_kernel kernel;
    const void *arguments;
    uint64_t first; /* every second part from this one on */
} some_parts;

static void *run_parts(void *self)
{
    const some_parts *mine = self;
    for (uint64_t part = mine->first; part < PARTS; part += 2)
        mine->kernel(mine->arguments, part, PARTS);
    return NULL;
}

/* A tandem_share; `self` is an errno value, set when there is no second thread. */
static void share_with_second(void *self, tandem_kernel kernel, const void *arguments,
                              uint64_t work)
{
    (void)work;
    int *error = self;
    some_parts even = {kernel, arguments, 0}, odd = {kernel, arguments, 1};
    pthread_t second;
    const int failure = pthread_create(&second, NULL, run_parts, &odd);
    run_parts(&even);
    if (failure == 0)
        pthread_join(second, NULL);
    else
        *error = failure;
}

static td_status run_entry(const verification *self, tandem_entry entry, unsigned threads)
{
    int error = 0;
    tandem_frame frame = {
        .symbols = {self->tokens, self->rows, self->slots, self->accepted, self->tail},
        .inputs = {self->ids + self->tail, self->positions + self->tail, ancestors_of(self),
                   self->wanted, self->path},
        .arena = self->arena,
        .weights = self->payload + self->info->weights_offset,
        .state = self->state[threads - 1],
        .share = threads > 1 ? share_with_second : NULL,
        .share_self = &error,
    };
    entry(&frame);
    return error == 0 ? TD_OK : td_fail(self->context, TD_IO, "no thread: %s", strerror(error));
}

/* --- running the evaluator --- */

static void set_symbols(const verification *self, int64_t *symbols)
{
    const ir_module *module = self->model->module;
    const struct {
        const char *name;
        int64_t value;
    } known[] = {{"tokens", self->tokens},
                 {"rows", self->rows},
                 {"slots", self->slots},
                 {"accepted", self->accepted}};
    for (size_t i = 0; i < module->symbols.count; i++) {
        symbols[i] = -1;
        for (size_t k = 0; k < TD_COUNT_OF(known); k++)
            if (strcmp(module->symbols.items[i].name, known[k].name) == 0)
                symbols[i] = known[k].value;
    }
}

static td_status set_input(const verification *self, const ir_value *input, ir_tensor *tensor)
{
    const char *name = input->name == NULL ? "" : input->name;
    const struct {
        const char *name;
        void *data;
        int64_t count;
    } known[] = {{"ids", self->ids + self->tail, self->tokens},
                 {"positions", self->positions + self->tail, self->tokens},
                 {"ancestors", ancestors_of(self), self->tokens},
                 {"rows", self->wanted, self->rows},
                 {"path", self->path, self->accepted}};
    for (size_t i = 0; i < TD_COUNT_OF(known); i++)
        if (strcmp(known[i].name, name) == 0) {
            const bool matrix = input->shape.rank == 2;
            *tensor = (ir_tensor){.type = input->type, .rank = matrix ? 2 : 1};
            tensor->dim[0] = known[i].count;
            tensor->dim[1] = matrix ? self->info->ancestor_words : 0;
            tensor->elements = (uint64_t)(known[i].count * (matrix ? tensor->dim[1] : 1));
            tensor->data = known[i].data;
            return TD_OK;
        }
    return td_fail(self->context, TD_UNSUPPORTED, "graph input \"%s\" is unknown", name);
}

static td_status evaluate(verification *self, ir_graph *graph)
{
    td_context *context = self->context;
    const size_t symbol_count = self->model->module->symbols.count;
    int64_t *symbols = td_allocate(context, (symbol_count + 1) * sizeof *symbols);
    ir_tensor *inputs = td_allocate(context, (graph->input_count + 1) * sizeof *inputs);
    td_status status = symbols == NULL || inputs == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK)
        set_symbols(self, symbols);
    for (size_t i = 0; i < graph->input_count && status == TD_OK; i++)
        status = set_input(self, graph->inputs[i], &inputs[i]);
    ir_evaluator_set_tail(self->evaluator, self->tail);
    if (status == TD_OK)
        status = ir_evaluator_run(self->evaluator, graph, symbols, inputs, true);
    td_release(context, symbols);
    td_release(context, inputs);
    return status;
}

/* --- comparing --- */

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void compare_value(verification *self, const ir_node *node, const ir_tensor *expected,
                          const float *actual, unsigned threads)
{
    op_result *result = &self->ops[node->op];
    const float *wanted = expected->data;
    for (uint64_t i = 0; i < expected->elements; i++) {
        result->elements++;
        if (same_bits(wanted[i], actual[i]))
            continue;
        const double difference = fabs((double)wanted[i] - (double)actual[i]);
        if (result->different++ == 0)
            fprintf(self->report,
                    "%s, %u thread%s: node \"%s\" (%s): element %llu is %a, the evaluator has %a\n",
                    self->step, threads, threads == 1 ? "" : "s", node->name, ir_op(node->op)->name,
                    (unsigned long long)i, (double)actual[i], (double)wanted[i]);
        if (!(difference <= result->largest))
            result->largest = difference;
        /* Without FMA every product is rounded twice: only the size of a difference tells. */
        if (self->request->cpu.has_fma || !(difference <= 1e-3 * (1 + fabs((double)wanted[i]))))
            self->equal = false;
    }
}

/* Quantised activations, out of the order of the kernels and as floats. */
static td_status compare_quantised(verification *self, const ir_node *node,
                                   const ir_tensor *expected, const unsigned char *stored,
                                   unsigned threads)
{
    td_context *context = self->context;
    const uint64_t count = expected->elements, columns = (uint64_t)expected->dim[1];
    int8_t *q = td_allocate(context, (size_t)count + 1);
    float *floats = td_allocate(context, (size_t)(2 * count + 1) * sizeof *floats);
    td_status status = q == NULL || floats == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK) {
        cg_read_quantised(&self->request->cpu, count / columns, columns, stored, q);
        for (uint64_t i = 0; i < count; i++) {
            floats[i] = q[i];
            floats[count + i] = ((const int8_t *)expected->data)[i];
        }
        const ir_tensor wanted = {.elements = count, .data = floats + count};
        compare_value(self, node, &wanted, floats, threads);
    }
    td_release(context, q);
    td_release(context, floats);
    return status;
}

/* Columns, as floats. */
static td_status compare_columns(verification *self, const ir_node *node, const ir_tensor *expected,
                                 const int32_t *stored, unsigned threads)
{
    td_context *context = self->context;
    const uint64_t count = expected->elements;
    float *floats = td_allocate(context, (size_t)(2 * count + 1) * sizeof *floats);
    if (floats == NULL)
        return td_fail_memory(context);
    for (uint64_t i = 0; i < count; i++) {
        floats[i] = (float)stored[i];
        floats[count + i] = (float)((const int32_t *)expected->data)[i];
    }
    const ir_tensor wanted = {.elements = count, .data = floats + count};
    compare_value(self, node, &wanted, floats, threads);
    td_release(context, floats);
    return TD_OK;
}

static td_status compare_output(verification *self, const sched_graph_plan *plan,
                                const ir_value *value, unsigned threads)
{
    const ir_node *node = value->producer;
    const ir_tensor *expected = ir_evaluator_value(self->evaluator, value);
    if (expected == NULL || plan->offset[value->id] == UINT64_MAX)
        return td_fail(self->context, TD_INTERNAL, "node \"%s\" (%s) cannot be compared",
                       node->name, ir_op(node->op)->name);
    const unsigned char *stored = self->arena + plan->offset[value->id];
    if (ir_value_is_quantised(value))
        return compare_quantised(self, node, expected, stored, threads);
    if (value->type == IR_I32)
        return compare_columns(self, node, expected, (const int32_t *)(const void *)stored,
                               threads);
    compare_value(self, node, expected, (const float *)(const void *)stored, threads);
    return TD_OK;
}

/* One pass of an entry point everywhere; NULL: the model has none. */
static td_status run_graph(verification *self, ir_graph *graph, tandem_entry entry)
{
    const sched_graph_plan *plan = cg_find_plan(self->request->plan, graph);
    if (plan == NULL)
        return TD_OK;
    TD_TRY(evaluate(self, graph));
    for (unsigned threads = 1; threads <= THREADINGS; threads++) {
        memset(self->arena, 0xff, (size_t)self->artefact->arena_bytes);
        TD_TRY(run_entry(self, entry, threads));
        for (const ir_node *node = graph->first; node != NULL; node = node->next)
            for (uint32_t i = 0; i < node->output_count; i++)
                TD_TRY(compare_output(self, plan, node->outputs[i], threads));
    }
    return TD_OK;
}

/* The logits are those of the evaluator's last pass. */
static td_status run_forward(verification *self, const char *step)
{
    self->step = step;
    TD_TRY(run_graph(self, self->model->greedy, self->info->greedy));
    return run_graph(self, self->model->forward, self->info->forward);
}

static td_status run_commit(verification *self, uint32_t accepted)
{
    self->accepted = accepted;
    TD_TRY(evaluate(self, self->model->commit));
    for (unsigned threads = 1; threads <= THREADINGS; threads++)
        TD_TRY(run_entry(self, self->info->commit, threads));
    self->committed += accepted;
    return TD_OK;
}

/* --- the script --- */

static uint64_t pick(verification *self, uint64_t below)
{
    return td_random_next(&self->random) % below;
}

/* Tokens with parents (-1: the last committed token), in depth order. */
static void fill_pass(verification *self, uint32_t tokens, const int *parents)
{
    const uint32_t words = self->info->ancestor_words;
    self->tail = 0;
    self->tokens = tokens;
    self->rows = 0;
    memset(self->ancestors, 0, (size_t)tokens * words * sizeof *self->ancestors);
    for (uint32_t i = 0; i < tokens; i++) {
        int64_t *mask = self->ancestors + (size_t)i * words;
        const int parent = parents == NULL ? (int)i - 1 : parents[i];
        self->ids[i] = (int32_t)pick(self, self->info->vocabulary);
        self->positions[i] = parent < 0 ? (int32_t)self->committed : self->positions[parent] + 1;
        if (parent >= 0)
            memcpy(mask, self->ancestors + (size_t)parent * words, words * sizeof *mask);
        mask[i / 64] = (int64_t)((uint64_t)mask[i / 64] | UINT64_C(1) << (i % 64));
    }
}

/* Asks for the logits of `count` tokens, the last one among them. */
static void want_rows(verification *self, uint32_t count)
{
    self->rows = count < self->info->max_rows ? count : self->info->max_rows;
    for (uint32_t i = 0; i < self->rows; i++)
        self->wanted[i] = (int32_t)(self->tokens - 1 - i % self->tokens);
}

static td_status run_chunk(verification *self, const char *step, uint32_t tokens, uint32_t rows)
{
    if (tokens > self->info->max_tokens)
        tokens = self->info->max_tokens;
    fill_pass(self, tokens, NULL);
    want_rows(self, rows);
    TD_TRY(run_forward(self, step));
    for (uint32_t i = 0; i < tokens; i++)
        self->path[i] = (int32_t)i;
    return run_commit(self, tokens);
}

/* --- trees --- */

/* The logits (the first output) of the last pass's row `row`, as the evaluator has them. */
static const float *logits_of(const verification *self, uint32_t row)
{
    const ir_graph *graph = self->model->forward;
    const ir_tensor *logits = ir_evaluator_value(self->evaluator, graph->outputs[0]);
    return (const float *)logits->data + (size_t)row * self->info->logits.columns;
}

/* Passes the prepared tree of `tokens` tokens level by level and keeps the logits of each token. */
static td_status run_levels(verification *self, uint32_t tokens, float *logits)
{
    const size_t columns = self->info->logits.columns;
    for (uint32_t first = 0, end; first < tokens; first = end) {
        for (end = first + 1; end < tokens && self->positions[end] == self->positions[first];)
            end++;
        self->tail = first;
        self->tokens = end - first;
        want_rows(self, self->tokens);
        TD_TRY(run_forward(self, "level of a tree"));
        for (uint32_t i = 0; i < self->rows; i++)
            memcpy(logits + (first + (size_t)self->wanted[i]) * columns, logits_of(self, i),
                   columns * sizeof *logits);
    }
    self->tail = 0;
    self->tokens = tokens;
    return TD_OK;
}

/* Passes the prepared tree level by level and at once. The evaluator's logits stand for those of
 * the compiled code, which are compared with them at every pass. */
static td_status run_both_ways(verification *self)
{
    const size_t columns = self->info->logits.columns;
    const uint32_t tokens = self->tokens;
    float *logits = td_allocate(self->context, tokens * columns * sizeof *logits);
    if (logits == NULL)
        return td_fail_memory(self->context);
    td_status status = run_levels(self, tokens, logits);
    if (status == TD_OK) {
        want_rows(self, tokens);
        status = run_forward(self, "tree");
    }
    for (uint32_t i = 0; i < self->rows && status == TD_OK; i++)
        for (size_t j = 0; j < columns; j++)
            if (!same_bits(logits_of(self, i)[j], logits[(size_t)self->wanted[i] * columns + j])) {
                fprintf(self->report,
                        "tree: logit %zu of token %d is another one when levels are passed one by "
                        "one\n",
                        j, self->wanted[i]);
                self->equal = false;
                break;
            }
    td_release(self->context, logits);
    return status;
}

/* As many as a pass takes, and gives the logits of. */
static int tree_tokens(const verification *self)
{
    uint32_t tokens = MAX_TREE;
    tokens = tokens < self->info->max_tokens ? tokens : self->info->max_tokens;
    return (int)(tokens < self->info->max_rows ? tokens : self->info->max_rows);
}

/* A random tree whose parents ascend, so that tokens come in depth order; its deepest path is
 * committed. */
static td_status run_tree(verification *self)
{
    int parents[MAX_TREE], chain[MAX_TREE];
    const int tokens = tree_tokens(self);
    int parent = -1, length = 0;
    for (int i = 0; i < tokens; i++) {
        parents[i] = parent;
        if (parent < i && pick(self, 2) == 0)
            parent++;
    }
    fill_pass(self, (uint32_t)tokens, parents);
    TD_TRY(run_both_ways(self));
    for (int at = tokens - 1; at >= 0; at = parents[at])
        chain[length++] = at;
    for (int i = 0; i < length; i++)
        self->path[i] = chain[length - 1 - i];
    return run_commit(self, (uint32_t)length);
}

static td_status run_script(verification *self)
{
    TD_TRY(run_chunk(self, "first chunk", FIRST_CHUNK, 1));
    TD_TRY(run_chunk(self, "second chunk", NEXT_CHUNK, 2));
    TD_TRY(run_chunk(self, "chunk without logits", 3, 0));
    TD_TRY(run_chunk(self, "single token", 1, 1));
    TD_TRY(run_tree(self));
    TD_TRY(run_chunk(self, "single token after the tree", 1, 1));
    TD_TRY(run_tree(self));
    return run_chunk(self, "five tokens", 5, 5);
}

/* --- setting up --- */

static td_status open_library(verification *self, const char *path)
{
    td_context *context = self->context;
    char symbol[256];
    self->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (self->library == NULL)
        return td_fail(context, TD_IO, "the compiled model cannot be loaded: %s", dlerror());
    snprintf(symbol, sizeof symbol, "tandem_%s_query", self->request->name);
    tandem_query query;
    *(void **)&query = dlsym(self->library, symbol);
    if (query == NULL || (self->artefact = query(TANDEM_ABI_VERSION)) == NULL)
        return td_fail(context, TD_INTERNAL, "the compiled model does not answer to %s", symbol);
    self->info = &self->artefact->models[0];
    TD_TRY(td_file_map(context, path, &self->file));
    return TD_OK;
}

static td_status find_payload(verification *self)
{
    tandem_payload_trailer trailer;
    memcpy(&trailer, self->file.data + self->file.size - sizeof trailer, sizeof trailer);
    if (memcmp(trailer.magic, "TANDEMPL", sizeof trailer.magic) != 0 ||
        trailer.header_hash != self->artefact->header_hash ||
        trailer.offset + trailer.bytes > self->file.size)
        return td_fail(self->context, TD_INTERNAL, "the compiled model has no weights");
    self->payload = self->file.data + trailer.offset;
    return TD_OK;
}

static void *aligned_zeros(uint64_t bytes)
{
    void *block = aligned_alloc(CG_ALIGNMENT, (size_t)cg_align(bytes + 1, CG_ALIGNMENT));
    if (block != NULL)
        memset(block, 0, (size_t)bytes);
    return block;
}

static td_status allocate_all(verification *self)
{
    td_context *context = self->context;
    const tandem_model_info *info = self->info;
    const size_t tokens = info->max_tokens;
    self->slots = (uint32_t)cg_align(2 * FIRST_CHUNK + NEXT_CHUNK + 2 * MAX_TREE + tokens, 16);
    self->arena = aligned_zeros(self->artefact->arena_bytes);
    self->ids = td_allocate(context, tokens * sizeof *self->ids);
    self->positions = td_allocate(context, tokens * sizeof *self->positions);
    self->path = td_allocate(context, tokens * sizeof *self->path);
    self->wanted = td_allocate(context, info->max_rows * sizeof *self->wanted);
    self->ancestors = td_allocate(context, tokens * info->ancestor_words * sizeof *self->ancestors);
    bool failed = self->arena == NULL || self->ids == NULL || self->positions == NULL ||
                  self->path == NULL || self->wanted == NULL || self->ancestors == NULL;
    for (size_t i = 0; i < THREADINGS; i++) {
        self->state[i] =
            aligned_zeros(info->state_fixed_bytes + self->slots * info->state_slot_bytes);
        failed = failed || self->state[i] == NULL;
    }
    if (failed)
        return td_fail_memory(context);
    return ir_evaluator_create(self->model->module, self->slots, &self->evaluator);
}

static void release_all(verification *self)
{
    td_context *context = self->context;
    if (self->evaluator != NULL)
        ir_evaluator_release(self->evaluator);
    for (size_t i = 0; i < THREADINGS; i++)
        free(self->state[i]);
    free(self->arena);
    td_release(context, self->ids);
    td_release(context, self->positions);
    td_release(context, self->path);
    td_release(context, self->wanted);
    td_release(context, self->ancestors);
    td_file_unmap(context, &self->file);
    if (self->library != NULL)
        dlclose(self->library);
}

static void print_report(const verification *self)
{
    fprintf(self->report, "%-18s %14s %12s %12s\n", "op", "elements", "different", "largest");
    for (int op = 0; op < IR_OP_COUNT; op++) {
        const op_result *result = &self->ops[op];
        if (result->elements > 0)
            fprintf(self->report, "%-18s %14llu %12llu %12g\n", ir_op((ir_opcode)op)->name,
                    (unsigned long long)result->elements, (unsigned long long)result->different,
                    result->largest);
    }
}

static td_status verify_compiled(td_context *context, const cg_request *request, FILE *report,
                                 bool *equal)
{
    cg_program program;
    cg_plan plan;
    TD_TRY(cg_program_create(context, request, &program));
    program.bare = true;
    td_status status = cg_program_compile(&program, &plan);
    cg_program_release(&program);
    if (status != TD_OK)
        return status;
    verification self = {.context = context,
                         .request = request,
                         .model = &request->models[0],
                         .report = report,
                         .random = 1,
                         .equal = true};
    status = open_library(&self, request->output);
    if (status == TD_OK)
        status = find_payload(&self);
    if (status == TD_OK)
        status = allocate_all(&self);
    if (status == TD_OK)
        status = run_script(&self);
    if (status == TD_OK)
        print_report(&self);
    *equal = self.equal;
    release_all(&self);
    return status;
}

/* Plans the first model with a buffer for every value and verifies what it compiles to. */
static td_status verify_planned(td_context *context, const cg_request *request, const char *output,
                                FILE *report, bool *equal)
{
    ir_graph *graphs[CG_GRAPHS];
    const sched_request order = {.graphs = graphs,
                                 .graph_count = cg_list_graphs(request->models, 1, graphs),
                                 .orderer = "file",
                                 .keep_all = true};
    sched_plan schedule;
    TD_TRY(sched_plan_make(context, &order, NULL, &schedule));
    cg_request compiled = *request;
    compiled.emit = CG_SHARED;
    compiled.model_count = 1;
    compiled.plan = &schedule;
    compiled.memory_budget = 0;
    compiled.slots = 0;
    compiled.output = output;
    const td_status status = verify_compiled(context, &compiled, report, equal);
    sched_plan_release(&schedule);
    return status;
}

/* Compiles for one CPU in a folder of its own, and runs that. */
static td_status verify_cpu(td_context *context, const cg_request *request, FILE *report,
                            bool *equal)
{
    td_arena arena;
    td_arena_init(&arena, context);
    char *folder = NULL, *output = NULL;
    td_status status = td_make_folder(&arena, &folder);
    if (status == TD_OK) {
        output = td_arena_format(&arena, "%s/model.so", folder);
        status = output == NULL ? td_fail_memory(context)
                                : verify_planned(context, request, output, report, equal);
    }
    if (output != NULL)
        unlink(output);
    if (folder != NULL)
        rmdir(folder);
    td_arena_release(&arena);
    return status;
}

td_status cg_verify(td_context *context, const cg_request *request, FILE *report, bool *equal)
{
    const cg_target *host;
    cg_cpu native;
    TD_TRY(cg_find_target(context, NULL, NULL, &host, &native));
    if (!cg_runs_here(request->target, &request->cpu))
        return td_fail(
            context, TD_UNSUPPORTED, "code for %s, %s cannot run here; what can is %s, up to %s",
            request->target->runtime_folder, request->cpu.name, host->runtime_folder, native.name);
    if (request->cpu.levels == NULL)
        return verify_cpu(context, request, report, equal);
    *equal = true;
    for (const char *const *name = request->cpu.levels; *name != NULL; name++) {
        cg_request level = *request;
        level.cpu = *cg_find_cpu(request->target, *name);
        const bool runs = cg_runs_here(request->target, &level.cpu);
        bool same = true;
        fprintf(report, "%s%s\n", *name, runs ? ":" : ": this machine lacks it");
        if (runs)
            TD_TRY(verify_cpu(context, &level, report, &same));
        *equal = *equal && same;
    }
    return TD_OK;
}
