/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/model.h"

#include "codegen/program.h"
#include "ir/passes/passes.h"
#include "tests/bench/machine.h"
#include "tests/bench/products_graph.h"
#include "tests/codegen/synthetic_llama.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 1024

/* --- building --- */

static td_status build_module(td_context *context, const bench_configuration *configuration,
                              cg_model *model)
{
    const synthetic_options shape = {.layers = configuration->layers,
                                     .features = 2048,
                                     .heads = 32,
                                     .kv_heads = 4,
                                     .head_size = 64,
                                     .hidden = 5632,
                                     .vocabulary = 32000,
                                     .max_tokens = BENCH_MAX_TOKENS,
                                     .type = configuration->type,
                                     .scale_type = IR_F16,
                                     .group = 32,
                                     .has_zero = configuration->has_zero,
                                     .cache_type = IR_F16};
    TD_TRY(synthetic_llama(context, &shape, model));
    td_status status = TD_OK;
    if (strcmp(configuration->activations, "q8") == 0)
        status = ir_pass_quantize_activations(model->module);
    if (status == TD_OK)
        status = ir_pass_remove_dead(model->module);
    if (status == TD_OK)
        status = ir_run_passes(model->module, ir_fuse_passes, NULL, false);
    model->forward = ir_module_find_graph(model->module, "forward");
    /* Committing a chain only counts; its entry point runs the products instead, one by one, so
     * that both parts read the same pages. */
    if (status == TD_OK)
        status = bench_add_products(model->module, model->forward, &model->commit);
    if (status != TD_OK)
        ir_module_release(model->module);
    return status;
}

static td_status compile_planned(td_context *context, const bench_configuration *configuration,
                                 cg_model *lowered, const sched_plan *schedule, const char *path)
{
    cg_request request = {.name = "bench",
                          .emit = CG_SHARED,
                          .models = lowered,
                          .model_count = 1,
                          .plan = schedule,
                          .activations = configuration->activations,
                          .output = path};
    cg_program program;
    cg_plan plan;
    TD_TRY(cg_find_target(context, NULL, NULL, &request.target, &request.cpu));
    TD_TRY(cg_program_create(context, &request, &program));
    program.bare = true;
    const td_status status = cg_program_compile(&program, &plan);
    cg_program_release(&program);
    return status;
}

static td_status compile(td_context *context, const bench_configuration *configuration,
                         cg_model *lowered, const char *path)
{
    ir_graph *const graphs[] = {lowered->forward, lowered->commit};
    const sched_request order = {.graphs = graphs, .graph_count = 2, .orderer = "auto"};
    sched_plan schedule;
    TD_TRY(sched_plan_make(context, &order, NULL, &schedule));
    const td_status status = compile_planned(context, configuration, lowered, &schedule, path);
    sched_plan_release(&schedule);
    return status;
}

/* --- libraries of earlier runs --- */

/* This program holds the compiler: what it made before it was linked anew is stale. */
static td_status hash_program(td_context *context, uint64_t *hash)
{
    td_file program;
    TD_TRY(td_file_map(context, "/proc/self/exe", &program));
    *hash = td_hash_bytes(TD_HASH_START, program.data, program.size);
    td_file_unmap(context, &program);
    return TD_OK;
}

static void remove_stale(const char *folder, const char *name)
{
    char pattern[512];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/%s-*", folder, name);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

/* The compile time lies beside the library. */
static bool read_seconds(const char *path, double *seconds)
{
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return false;
    const bool read = fscanf(stream, "%lf", seconds) == 1;
    fclose(stream);
    return read;
}

static td_status make_library(td_context *context, bench_model *model, cg_model *lowered,
                              const char *folder, const char *path)
{
    const bench_configuration *configuration = model->configuration;
    char seconds_path[600];
    snprintf(seconds_path, sizeof seconds_path, "%s.seconds", path);
    if (td_path_exists(path) && read_seconds(seconds_path, &model->compile_seconds))
        return TD_OK;
    remove_stale(folder, configuration->name);
    const double started = bench_seconds();
    TD_TRY(compile(context, configuration, lowered, path));
    model->compile_seconds = bench_seconds() - started;
    FILE *stream = fopen(seconds_path, "w");
    const bool written = stream != NULL && fprintf(stream, "%.3f\n", model->compile_seconds) > 0;
    if (stream == NULL || fclose(stream) != 0 || !written)
        return td_fail(context, TD_IO, "%s: cannot be written", seconds_path);
    return TD_OK;
}

/* --- loading --- */

static td_status load(td_context *context, bench_model *model, const char *path)
{
    tandem_query query;
    tandem_payload_trailer trailer;
    model->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (model->library == NULL)
        return td_fail(context, TD_IO, "%s: %s", path, dlerror());
    *(void **)&query = dlsym(model->library, "tandem_bench_query");
    if (query == NULL || (model->artefact = query(TANDEM_ABI_VERSION)) == NULL)
        return td_fail(context, TD_INTERNAL, "%s: has no query function", path);
    TD_TRY(td_file_map(context, path, &model->file));
    memcpy(&trailer, model->file.data + model->file.size - sizeof trailer, sizeof trailer);
    if (memcmp(trailer.magic, "TANDEMPL", sizeof trailer.magic) != 0 ||
        trailer.header_hash != model->artefact->header_hash ||
        trailer.offset + trailer.bytes > model->file.size)
        return td_fail(context, TD_INVALID, "%s: has no weights", path);
    model->info = &model->artefact->models[0];
    model->weights = model->file.data + trailer.offset + model->info->weights_offset;
    model->entries[BENCH_WHOLE] = model->info->forward;
    model->entries[BENCH_PRODUCTS] = model->info->commit;
    return TD_OK;
}

static void *aligned_zeros(uint64_t bytes)
{
    const size_t size = (size_t)cg_align(bytes + 1, 4096);
    void *block = aligned_alloc(4096, size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

static td_status prepare_inputs(td_context *context, bench_model *model)
{
    model->arena = aligned_zeros(model->artefact->arena_bytes);
    model->state =
        aligned_zeros(model->info->state_fixed_bytes + SLOTS * model->info->state_slot_bytes);
    if (model->arena == NULL || model->state == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < BENCH_MAX_TOKENS; i++) {
        model->ids[i] = (int32_t)(i * 37 % BENCH_STAND_IN_ROWS);
        model->ancestors[i] = UINT64_MAX >> (63 - i);
    }
    return TD_OK;
}

td_status bench_model_open(td_context *context, const bench_configuration *configuration,
                           const char *folder, bench_model *model)
{
    *model = (bench_model){.configuration = configuration};
    uint64_t hash;
    cg_model lowered;
    char path[512];
    TD_TRY(hash_program(context, &hash));
    snprintf(path, sizeof path, "%s/%s-%016llx.so", folder, configuration->name,
             (unsigned long long)hash);
    TD_TRY(build_module(context, configuration, &lowered));
    bench_count_products(lowered.forward, &model->products_per_token, &model->products_per_row);
    td_status status = make_library(context, model, &lowered, folder, path);
    ir_module_release(lowered.module);
    if (status == TD_OK)
        status = load(context, model, path);
    if (status == TD_OK)
        status = prepare_inputs(context, model);
    if (status != TD_OK)
        bench_model_close(context, model);
    return status;
}

void bench_model_close(td_context *context, bench_model *model)
{
    free(model->arena);
    free(model->state);
    if (model->file.data != NULL)
        td_file_unmap(context, &model->file);
    if (model->library != NULL)
        dlclose(model->library);
    *model = (bench_model){0};
}

/* --- running --- */

void bench_pass(bench_model *model, bench_part part, rt_pool *pool, uint32_t threads,
                uint32_t committed, uint32_t tokens, uint32_t rows)
{
    int32_t *counts = (int32_t *)(void *)model->state;
    for (uint32_t i = 0; i < model->info->layers * model->info->count_stride; i++)
        counts[i] = (int32_t)committed;
    for (uint32_t i = 0; i < tokens; i++)
        model->positions[i] = (int32_t)(committed + i);
    for (uint32_t i = 0; i < rows; i++)
        model->rows[i] = (int32_t)(tokens - rows + i);
    const tandem_frame frame = {
        .symbols = {[TANDEM_SYMBOL_TOKENS] = tokens,
                    [TANDEM_SYMBOL_ROWS] = rows,
                    [TANDEM_SYMBOL_SLOTS] = SLOTS},
        .inputs = {[TANDEM_INPUT_IDS] = model->ids,
                   [TANDEM_INPUT_POSITIONS] = model->positions,
                   [TANDEM_INPUT_ANCESTORS] = model->ancestors,
                   [TANDEM_INPUT_ROWS] = model->rows},
        .arena = model->arena,
        .weights = model->weights,
        .state = model->state,
        .share = threads > 1 ? rt_pool_share : NULL,
        .share_self = pool,
    };
    model->entries[part](&frame);
}

void bench_prefill(bench_model *model, bench_part part, rt_pool *pool, uint32_t threads)
{
    for (uint32_t done = 0; done < BENCH_PREFILL; done += BENCH_MAX_TOKENS)
        bench_pass(model, part, pool, threads, done, BENCH_MAX_TOKENS, 0);
}
