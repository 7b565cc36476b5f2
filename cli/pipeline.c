/* From options to a program: the way of the data, step by step.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "base/file.h"
#include "ir/passes/passes.h"
#include "runtime/abi.h"
#include "runtime/evict.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const model_names[] = {"target", "drafter"};

static tandem_evict_needs needs_of(const cli_options *options)
{
    rt_eviction eviction;
    const tandem_evict_needs none = {0};
    return rt_evict_find(options->eviction, NULL, &eviction) == TANDEM_OK
               ? rt_evict_needs(&eviction)
               : none;
}

td_status cli_convert_model(const cli_options *options, ir_module *module)
{
    if (options->layers > 0) {
        TD_TRY(ir_pass_cut_layers(module, options->layers));
        TD_TRY(ir_print_after(module, "cut_layers", options->print_after));
    }
    TD_TRY(ir_pass_convert_weights(module, options->weights));
    TD_TRY(ir_pass_remove_dead(module));
    return ir_print_after(module, "convert_weights", options->print_after);
}

/* Scores of cached tokens are made of queries, when the policy has any that are. */
static td_status keep_queries(const cli_options *options, ir_module *module)
{
    const tandem_evict_needs needs = needs_of(options);
    if (!tandem_evict_wants_queries(&needs))
        return TD_OK;
    TD_TRY(ir_pass_keep_queries(module));
    return ir_print_after(module, "keep_queries", options->print_after);
}

td_status cli_finish_model(const cli_options *options, ir_module *module)
{
    if (strcmp(options->activations, "q8") == 0) {
        TD_TRY(ir_pass_quantize_activations(module));
        TD_TRY(ir_print_after(module, "quantize_activations", options->print_after));
    }
    TD_TRY(ir_pass_cache_type(module, options->kv));
    TD_TRY(ir_print_after(module, "cache_type", options->print_after));
    return keep_queries(options, module);
}

static td_status adapt_model(const cli_options *options, ir_module *module)
{
    TD_TRY(cli_convert_model(options, module));
    return cli_finish_model(options, module);
}

/* Imports a model and adapts it with one of the functions above. */
static td_status import_model(td_context *context, const cli_options *options, const char *path,
                              td_status (*adapt)(const cli_options *options, ir_module *module),
                              fe_model *model)
{
    const fe_options import = {.constants = options->constants,
                               .random_weights = options->random_weights,
                               .random_seed = options->random_seed,
                               .context_length = options->context_length,
                               .print_after = options->print_after};
    TD_TRY(fe_import(context, path, &import, model));
    td_status status = adapt(options, model->module);
    if (status != TD_OK) {
        ir_module_release(model->module);
        model->module = NULL;
    }
    return status;
}

/* Only a drafter may have a trimmed head: whoever writes or predicts text needs all ids. */
static td_status check_whole(td_context *context, const char *path, const fe_model *model)
{
    if (model->head_ids == NULL)
        return TD_OK;
    return td_fail(context, TD_INVALID,
                   "%s: its head is trimmed to %u of %u ids, which is of use in a drafter only",
                   path, model->head_count, model->vocabulary);
}

td_status cli_import_model(td_context *context, const cli_options *options, const char *path,
                           fe_model *model)
{
    TD_TRY(import_model(context, options, path, adapt_model, model));
    const td_status status = check_whole(context, path, model);
    if (status != TD_OK)
        ir_module_release(model->module);
    return status;
}

/* Writing a program over a file that it is made from is always a mistake. */
static td_status check_output(td_context *context, const cli_options *options)
{
    const char *inputs[] = {options->target, options->drafter, options->tokenizer,
                            options->constants};
    for (size_t i = 0; i < TD_COUNT_OF(inputs); i++)
        TD_TRY(cli_keep_input(context, inputs[i], options->output));
    for (size_t i = 0; i < TD_COUNT_OF(options->trim.counts); i++)
        TD_TRY(cli_keep_input(context, options->trim.counts[i], options->output));
    return TD_OK;
}

static td_status import_models(td_context *context, const cli_options *options,
                               cli_program *program)
{
    const char *paths[] = {options->target, options->drafter};
    if (options->target == NULL)
        return td_fail(context, TD_USAGE, "--target is missing");
    for (size_t i = 0; i < 2 && paths[i] != NULL; i++) {
        td_progress(context, 1, "importing %s %s", model_names[i], paths[i]);
        TD_TRY(import_model(context, options, paths[i], cli_convert_model, &program->models[i]));
        program->model_count++;
    }
    return TD_OK;
}

/* The tokenizer given, else the one that lies with the target; a drafter that brings its own must
 * have the same tokens. */
static td_status read_tokenizers(td_context *context, const cli_options *options,
                                 cli_program *program)
{
    const char *path = options->tokenizer;
    if (path == NULL)
        path = program->models[0].tokenizer_path;
    if (path == NULL)
        return TD_OK;
    TD_TRY(fe_read_tokenizer(context, path, &program->tokenizer));
    program->has_tokenizer = true;
    const char *other = program->model_count > 1 ? program->models[1].tokenizer_path : NULL;
    if (other == NULL)
        return TD_OK;
    fe_tokenizer drafter;
    TD_TRY(fe_read_tokenizer(context, other, &drafter));
    td_status status = fe_tokenizers_match(context, &program->tokenizer, &drafter);
    fe_tokenizer_release(context, &drafter);
    return status == TD_OK ? TD_OK
                           : td_fail_within(context, status, "target %s and drafter %s do not fit",
                                            options->target, options->drafter);
}

/* Every id of the tokenizer must have a row in the models; more rows are a padded tail. */
static td_status check_vocabularies(td_context *context, const cli_program *program)
{
    for (size_t i = 0; program->has_tokenizer && i < program->model_count; i++)
        if (program->models[i].vocabulary < program->tokenizer.vocabulary)
            return td_fail(context, TD_INVALID,
                           "%s: its vocabulary has %u ids but the tokenizer has %u; expected a "
                           "tokenizer made for this model",
                           model_names[i], program->models[i].vocabulary,
                           program->tokenizer.vocabulary);
    if (program->model_count > 1 && !program->has_tokenizer &&
        program->models[0].vocabulary != program->models[1].vocabulary)
        return td_fail(context, TD_INVALID,
                       "target and drafter have vocabularies of %u and %u ids, and no tokenizer "
                       "tells whether the longer one is only padded; give --tokenizer",
                       program->models[0].vocabulary, program->models[1].vocabulary);
    return TD_OK;
}

static td_status trim_drafter(td_context *context, const cli_options *options, cli_program *program)
{
    const fe_tokenizer *tokenizer = program->has_tokenizer ? &program->tokenizer : NULL;
    TD_TRY(check_whole(context, options->target, &program->models[0]));
    return cli_trim_head(context, options, tokenizer, program->models[0].module,
                         &program->models[1], &program->trimmed);
}

static td_status finish_models(const cli_options *options, cli_program *program)
{
    for (size_t i = 0; i < program->model_count; i++)
        TD_TRY(cli_finish_model(options, program->models[i].module));
    return TD_OK;
}

/* Comes after all that looks for single products and norms. */
static td_status fuse_models(const cli_options *options, cli_program *program)
{
    for (size_t i = 0; i < program->model_count; i++)
        TD_TRY(
            ir_run_passes(program->models[i].module, ir_fuse_passes, options->print_after, true));
    return TD_OK;
}

static td_status describe_models(td_context *context, cli_program *program)
{
    for (size_t i = 0; i < program->model_count; i++) {
        const fe_model *model = &program->models[i];
        const ir_module *module = model->module;
        ir_symbol tokens, rows;
        cg_model *lowered = &program->lowered[i];
        lowered->name = model_names[i];
        lowered->module = model->module;
        lowered->forward = ir_module_find_graph(module, "forward");
        lowered->commit = ir_module_find_graph(module, "commit");
        lowered->greedy = ir_module_find_graph(module, "greedy");
        if (lowered->forward == NULL || lowered->commit == NULL ||
            !ir_module_find_symbol(module, "tokens", &tokens) ||
            !ir_module_find_symbol(module, "rows", &rows))
            return td_fail(context, TD_INTERNAL, "%s: the raised module lacks a graph or a symbol",
                           model_names[i]);
        lowered->vocabulary = model->vocabulary;
        lowered->head_ids = model->head_ids;
        lowered->head_count = model->head_count;
        lowered->context_length = model->context_length;
        lowered->max_tokens = (uint32_t)module->symbols.items[tokens].bound;
        lowered->max_rows = (uint32_t)module->symbols.items[rows].bound;
    }
    return TD_OK;
}

/* Of the logits. */
static uint32_t columns_of(const cg_model *model)
{
    return model->head_ids != NULL ? model->head_count : model->vocabulary;
}

/* One arena for all entry points of both models, and for what the runtime keeps between them. */
static td_status order_and_plan(td_context *context, const cli_options *options,
                                cli_program *program)
{
    ir_graph *graphs[2 * CG_GRAPHS];
    sched_extra extras[TANDEM_SCRATCH_COUNT] = {{.name = "draft probabilities"},
                                                {.name = "target probabilities"}};
    const size_t count = cg_list_graphs(program->lowered, program->model_count, graphs);
    if (program->model_count > 1)
        extras[TANDEM_SCRATCH_DRAFT_PROBABILITIES].bytes =
            (uint64_t)options->max_draft * columns_of(&program->lowered[1]) * sizeof(float);
    extras[TANDEM_SCRATCH_PROBABILITIES].bytes =
        (uint64_t)program->lowered[0].vocabulary * sizeof(double);
    const sched_request request = {.graphs = graphs,
                                   .graph_count = count,
                                   .extras = extras,
                                   .extra_count = TANDEM_SCRATCH_COUNT,
                                   .orderer = options->orderer};
    return sched_plan_make(context, &request, NULL, &program->plan);
}

/* The runtimes lie beside the command: <folder of tandem>/runtime. */
static td_status find_runtimes(td_context *context, char **root)
{
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return td_fail(context, TD_IO, "/proc/self/exe cannot be read: where is the runtime?");
    path[length] = '\0';
    *root = td_path_beside(context, path, "runtime");
    return *root == NULL ? td_fail_memory(context) : TD_OK;
}

static void fill_request(const cli_options *options, cli_program *program)
{
    cg_request *request = &program->request;
    const fe_model *target = &program->models[0];
    request->name = options->name;
    request->emit = options->emit;
    request->models = program->lowered;
    request->model_count = program->model_count;
    request->plan = &program->plan;
    request->activations = options->activations;
    request->eviction = options->eviction;
    request->eviction_needs = needs_of(options);
    request->max_draft = program->model_count > 1 ? options->max_draft : 0;
    request->tokenizer = program->tokenizer.blob;
    request->tokenizer_bytes = program->tokenizer.bytes;
    request->bos_id =
        target->bos_id >= 0 || !program->has_tokenizer ? target->bos_id : program->tokenizer.bos_id;
    request->eos_id =
        target->eos_id >= 0 || !program->has_tokenizer ? target->eos_id : program->tokenizer.eos_id;
    request->further_end_ids = target->further_end_ids;
    request->further_end_count = target->further_end_count;
    request->memory_budget = options->memory_budget;
    request->slots = options->slots;
    request->threads = options->threads;
    request->sessions = options->sessions;
    request->runtime_root = program->runtime_root;
    request->output = options->output;
}

static td_status prepare(td_context *context, const cli_options *options, cli_program *program)
{
    TD_TRY(cg_find_target(context, options->triple, options->cpu, &program->request.target,
                          &program->request.cpu));
    TD_TRY(check_output(context, options));
    TD_TRY(import_models(context, options, program));
    TD_TRY(read_tokenizers(context, options, program));
    TD_TRY(check_vocabularies(context, program));
    TD_TRY(trim_drafter(context, options, program));
    TD_TRY(finish_models(options, program));
    TD_TRY(fuse_models(options, program));
    TD_TRY(describe_models(context, program));
    TD_TRY(order_and_plan(context, options, program));
    TD_TRY(find_runtimes(context, &program->runtime_root));
    fill_request(options, program);
    return TD_OK;
}

td_status cli_prepare(td_context *context, const cli_options *options, cli_program *program)
{
    memset(program, 0, sizeof *program);
    td_status status = prepare(context, options, program);
    if (status != TD_OK)
        cli_program_release(context, program);
    return status;
}

void cli_program_release(td_context *context, cli_program *program)
{
    if (program->plan.context != NULL)
        sched_plan_release(&program->plan);
    if (program->has_tokenizer)
        fe_tokenizer_release(context, &program->tokenizer);
    for (size_t i = 0; i < program->model_count; i++)
        ir_module_release(program->models[i].module);
    td_release(context, program->trimmed.head.ids);
    td_release(context, program->runtime_root);
    memset(program, 0, sizeof *program);
}
