/* Batch invariance: a token's logits have the same bits whether it comes alone, in a chunk or in a
 * tree, and with any number of threads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"
#include "runtime/abi.h"
#include "tests/codegen/synthetic_llama.h"
#include "tests/test.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#define TOKENS      37
#define VOCABULARY  61
#define SLOTS       128
#define MAX_THREADS 5

typedef struct machine {
    td_context context;
    cg_model model;
    sched_plan schedule;
    void *library;
    const tandem_artefact *artefact;
    const tandem_model_info *info;
    td_file file;
    unsigned char *arena, *state;
    const unsigned char *weights;
    char path[64];
} machine;

static const synthetic_options sizes = {.layers = 2,
                                        .features = 40,
                                        .heads = 6,
                                        .kv_heads = 3,
                                        .head_size = 12,
                                        .hidden = 72,
                                        .vocabulary = VOCABULARY,
                                        .max_tokens = 48,
                                        .type = IR_U4,
                                        .scale_type = IR_F16,
                                        .group = 8,
                                        .has_zero = true,
                                        .cache_type = IR_F16};

static bool start(machine *self, const synthetic_options *options)
{
    memset(self, 0, sizeof *self);
    td_context_init(&self->context);
    if (synthetic_llama(&self->context, options, &self->model) != TD_OK)
        return false;
    ir_graph *graphs[CG_GRAPHS];
    const size_t count = cg_list_graphs(&self->model, 1, graphs);
    const sched_request order = {.graphs = graphs, .graph_count = count, .orderer = "auto"};
    cg_request request = {.name = "batch",
                          .models = &self->model,
                          .model_count = 1,
                          .plan = &self->schedule,
                          .emit = CG_SHARED,
                          .output = self->path};
    cg_program program;
    cg_plan plan;
    strcpy(self->path, "/tmp/tandem-batch-XXXXXX");
    close(mkstemp(self->path));
    if (sched_plan_make(&self->context, &order, NULL, &self->schedule) != TD_OK ||
        cg_find_target(&self->context, NULL, NULL, &request.target, &request.cpu) != TD_OK ||
        cg_program_create(&self->context, &request, &program) != TD_OK)
        return false;
    program.bare = true;
    const td_status status = cg_program_compile(&program, &plan);
    cg_program_release(&program);
    if (status != TD_OK || td_file_map(&self->context, self->path, &self->file) != TD_OK)
        return false;
    tandem_query query;
    tandem_payload_trailer trailer;
    self->library = dlopen(self->path, RTLD_NOW);
    *(void **)&query = dlsym(self->library, "tandem_batch_query");
    self->artefact = query(TANDEM_ABI_VERSION);
    self->info = self->artefact->models;
    memcpy(&trailer, self->file.data + self->file.size - sizeof trailer, sizeof trailer);
    self->weights = self->file.data + trailer.offset;
    self->arena = aligned_alloc(64, cg_align(self->artefact->arena_bytes, 64));
    self->state = aligned_alloc(
        64, cg_align(self->info->state_fixed_bytes + SLOTS * self->info->state_slot_bytes, 64));
    return self->arena != NULL && self->state != NULL;
}

static void stop(machine *self)
{
    dlclose(self->library);
    unlink(self->path);
    free(self->arena);
    free(self->state);
    td_file_unmap(&self->context, &self->file);
    sched_plan_release(&self->schedule);
    ir_module_release(self->model.module);
}

typedef struct task {
    tandem_kernel kernel;
    const void *arguments;
    uint64_t part, parts;
} task;

static void *run_task(void *pointer)
{
    const task *self = pointer;
    self->kernel(self->arguments, self->part, self->parts);
    return NULL;
}

/* A thread for every part; `self` is their number. */
static void share(void *self, tandem_kernel kernel, const void *arguments, uint64_t work)
{
    (void)work;
    const uint32_t threads = *(const uint32_t *)self;
    pthread_t workers[MAX_THREADS];
    task tasks[MAX_THREADS] = {{kernel, arguments, 0, threads}};
    for (uint32_t i = 1; i < threads; i++) {
        tasks[i] = (task){kernel, arguments, i, threads};
        pthread_create(&workers[i], NULL, run_task, &tasks[i]);
    }
    run_task(&tasks[0]);
    for (uint32_t i = 1; i < threads; i++)
        pthread_join(workers[i], NULL);
}

static void run(tandem_entry entry, tandem_frame *frame, uint32_t threads)
{
    frame->share = threads > 1 ? share : NULL;
    frame->share_self = &threads;
    entry(frame);
}

/* The greedy entry point names the largest of the logits that the forward pass left. */
static void check_best(const machine *self, tandem_frame *frame, uint32_t threads,
                       const float *logits)
{
    memset(self->arena + self->info->best.offset, 0xff, self->info->best.bytes);
    run(self->info->greedy, frame, threads);
    const int32_t *best = (const int32_t *)(const void *)(self->arena + self->info->best.offset);
    for (int64_t row = 0; row < frame->symbols[TANDEM_SYMBOL_ROWS]; row++, logits += VOCABULARY) {
        int32_t largest = 0;
        for (int32_t column = 1; column < VOCABULARY; column++)
            if (logits[column] > logits[largest])
                largest = column;
        CHECK_MESSAGE(best[row] == largest, "%d is called the largest, %d is", best[row], largest);
    }
}

/* Feeds the same TOKENS tokens in chunks of `chunk` and collects every token's logits. */
static void feed(machine *self, uint32_t chunk, uint32_t threads, float *logits)
{
    int32_t ids[TOKENS], positions[TOKENS], rows[TOKENS], path[TOKENS];
    uint64_t ancestors[TOKENS];
    memset(self->state, 0, self->info->state_fixed_bytes);
    for (uint32_t first = 0; first < TOKENS; first += chunk) {
        const uint32_t count = TOKENS - first < chunk ? TOKENS - first : chunk;
        for (uint32_t i = 0; i < count; i++) {
            ids[i] = (int32_t)((first + i) * 29 % VOCABULARY);
            positions[i] = (int32_t)(first + i);
            rows[i] = path[i] = (int32_t)i;
            ancestors[i] = (UINT64_C(2) << i) - 1;
        }
        for (uint32_t row = 0; row < count; row += self->info->max_rows) {
            const uint32_t wanted =
                count - row < self->info->max_rows ? count - row : self->info->max_rows;
            tandem_frame frame = {.symbols = {count, wanted, SLOTS, count},
                                  .inputs = {ids, positions, ancestors, rows + row, path},
                                  .arena = self->arena,
                                  .weights = self->weights,
                                  .state = self->state};
            run(self->info->forward, &frame, threads);
            float *to = logits + (size_t)(first + row) * VOCABULARY;
            memcpy(to, self->arena + self->info->logits.offset,
                   (size_t)wanted * VOCABULARY * sizeof *logits);
            if (self->info->greedy != NULL)
                check_best(self, &frame, threads, to);
            if (row + wanted == count)
                run(self->info->commit, &frame, threads);
        }
    }
}

static void check_chunks(const synthetic_options *options)
{
    static const uint32_t chunks[] = {1, 2, 3, 5, 8, 16, 37};
    static float expected[TOKENS * VOCABULARY], actual[TOKENS * VOCABULARY];
    machine self;
    CHECK(start(&self, options));
    feed(&self, 1, 1, expected);
    for (size_t c = 0; c < TD_COUNT_OF(chunks); c++)
        for (uint32_t threads = 1; threads <= MAX_THREADS; threads += 2) {
            memset(actual, 0, sizeof actual);
            feed(&self, chunks[c], threads, actual);
            CHECK_MESSAGE(memcmp(expected, actual, sizeof actual) == 0, "chunks of %u, %u threads",
                          chunks[c], threads);
        }
    stop(&self);
}

TEST(chunks_and_threads_do_not_change_a_bit)
{
    check_chunks(&sizes);
}

TEST(nor_when_fused)
{
    synthetic_options options = sizes;
    options.fuse = true;
    check_chunks(&options);
}

TEST(nor_with_quantised_activations)
{
    synthetic_options options = sizes;
    options.features = 64;
    options.hidden = 96;
    options.heads = 8;
    options.kv_heads = 4;
    options.head_size = 8;
    options.group = 32;
    options.quantise = options.fuse = true;
    check_chunks(&options);
}

/* Two branches of a tree after a common start: each has the logits of its own chain, also when the
 * tree comes piece by piece. */
TEST(branches_do_not_see_each_other)
{
    static float chain[TOKENS * VOCABULARY];
    machine self;
    CHECK(start(&self, &sizes));
    feed(&self, 1, 1, chain);
    /* Committed: tokens 0 .. 9. Tree: 10, and beside it a stranger; 11 and 12 go on after 10. */
    int32_t ids[TOKENS], positions[TOKENS], rows[TOKENS], path[TOKENS];
    uint64_t ancestors[TOKENS];
    memset(self.state, 0, self.info->state_fixed_bytes);
    for (uint32_t i = 0; i < 10; i++) {
        ids[i] = (int32_t)(i * 29 % VOCABULARY);
        positions[i] = rows[i] = path[i] = (int32_t)i;
        ancestors[i] = (UINT64_C(2) << i) - 1;
    }
    tandem_frame frame = {.symbols = {10, 0, SLOTS, 10},
                          .inputs = {ids, positions, ancestors, rows, path},
                          .arena = self.arena,
                          .weights = self.weights,
                          .state = self.state};
    run(self.info->forward, &frame, 1);
    run(self.info->commit, &frame, 1);
    const int32_t tree_ids[] = {3, 10 * 29 % VOCABULARY, 7, 11 * 29 % VOCABULARY,
                                1, 12 * 29 % VOCABULARY};
    const int32_t depth[] = {0, 0, 1, 1, 2, 2};
    const uint64_t masks[] = {1, 2, 1 | 4, 2 | 8, 1 | 4 | 16, 2 | 8 | 32};
    for (uint32_t i = 0; i < 6; i++) {
        ids[i] = tree_ids[i];
        positions[i] = 10 + depth[i];
        ancestors[i] = masks[i];
    }
    const float *logits = (const float *)(const void *)(self.arena + self.info->logits.offset);
    /* Passes of every length, the last one of all six tokens at once. */
    for (uint32_t step = 1; step <= 6; step++)
        for (uint32_t first = 0; first < 6; first += step) {
            const uint32_t count = 6 - first < step ? 6 - first : step;
            frame.symbols[TANDEM_SYMBOL_TOKENS] = frame.symbols[TANDEM_SYMBOL_ROWS] = count;
            frame.symbols[TANDEM_SYMBOL_TAIL] = first;
            frame.inputs[TANDEM_INPUT_IDS] = ids + first;
            frame.inputs[TANDEM_INPUT_POSITIONS] = positions + first;
            frame.inputs[TANDEM_INPUT_ANCESTORS] = ancestors + first;
            run(self.info->forward, &frame, 3);
            for (uint32_t i = first; i < first + count; i++)
                CHECK(i % 2 == 0 ||
                      memcmp(logits + (size_t)(i - first) * VOCABULARY,
                             chain + (10 + i / 2) * VOCABULARY, VOCABULARY * sizeof *chain) == 0);
        }
    /* Accepting the branch goes on as if it had been the only one. */
    const int32_t accepted[] = {1, 3, 5};
    frame.inputs[TANDEM_INPUT_PATH] = accepted;
    frame.symbols[TANDEM_SYMBOL_ACCEPTED] = 3;
    run(self.info->commit, &frame, 3);
    ids[0] = 13 * 29 % VOCABULARY;
    positions[0] = 13;
    ancestors[0] = 1;
    frame.symbols[TANDEM_SYMBOL_TOKENS] = frame.symbols[TANDEM_SYMBOL_ROWS] = 1;
    frame.symbols[TANDEM_SYMBOL_TAIL] = 0;
    run(self.info->forward, &frame, 2);
    CHECK(memcmp(logits, chain + 13 * VOCABULARY, VOCABULARY * sizeof *chain) == 0);
    stop(&self);
}

TEST_MAIN()
