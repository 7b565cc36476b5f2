/* From options to a program: the way of the data, step by step.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "base/file.h"
#include "ir/passes/passes.h"
#include "runtime/abi.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const model_names[] = {"target", "drafter"};

td_status cli_adapt_model(const cli_options *options, ir_module *module)
{
    if (options->layers > 0) {
        TD_TRY(ir_pass_cut_layers(module, options->layers));
        TD_TRY(ir_print_after(module, "cut_layers", options->print_after));
    }
    TD_TRY(ir_pass_convert_weights(module, options->weights));
    TD_TRY(ir_pass_remove_dead(module));
    TD_TRY(ir_print_after(module, "convert_weights", options->print_after));
    if (strcmp(options->activations, "q8") == 0) {
        TD_TRY(ir_pass_quantize_activations(module));
        TD_TRY(ir_print_after(module, "quantize_activations", options->print_after));
    }
    TD_TRY(ir_pass_cache_type(module, options->kv));
    return ir_print_after(module, "cache_type", options->print_after);
}

td_status cli_import_model(td_context *context, const cli_options *options, const char *path,
                           fe_model *model)
{
    const fe_options import = {.constants = options->constants,
                               .random_weights = options->random_weights,
                               .random_seed = options->random_seed,
                               .context_length = options->context_length,
                               .print_after = options->print_after};
    TD_TRY(fe_import(context, path, &import, model));
    td_status status = cli_adapt_model(options, model->module);
    if (status != TD_OK) {
        ir_module_release(model->module);
        model->module = NULL;
    }
    return status;
}

static bool same_file(const char *a, const char *b)
{
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

/* Writing a program over a file that it is made from is always a mistake. */
static td_status check_output(td_context *context, const cli_options *options)
{
    const char *inputs[] = {options->target, options->drafter, options->tokenizer,
                            options->constants};
    for (size_t i = 0; options->output != NULL && i < TD_COUNT_OF(inputs); i++) {
        if (inputs[i] == NULL)
            continue;
        char weights[4096];
        const int stem = (int)strlen(inputs[i]) - 4;
        snprintf(weights, sizeof weights, "%.*s.bin", stem > 0 ? stem : 0, inputs[i]);
        if (same_file(inputs[i], options->output) || same_file(weights, options->output))
            return td_fail(context, TD_INVALID,
                           "-o %s: this is a file that the program would be made from",
                           options->output);
    }
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
        TD_TRY(cli_import_model(context, options, paths[i], &program->models[i]));
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
        if (lowered->forward == NULL || lowered->commit == NULL ||
            !ir_module_find_symbol(module, "tokens", &tokens) ||
            !ir_module_find_symbol(module, "rows", &rows))
            return td_fail(context, TD_INTERNAL, "%s: the raised module lacks a graph or a symbol",
                           model_names[i]);
        lowered->vocabulary = model->vocabulary;
        lowered->context_length = model->context_length;
        lowered->max_tokens = (uint32_t)module->symbols.items[tokens].bound;
        lowered->max_rows = (uint32_t)module->symbols.items[rows].bound;
    }
    return TD_OK;
}

/* One arena for all entry points of both models, and for what the runtime keeps between them. */
static td_status order_and_plan(td_context *context, const cli_options *options,
                                cli_program *program)
{
    ir_graph *graphs[4];
    sched_extra extras[TANDEM_SCRATCH_COUNT] = {{.name = "draft probabilities"},
                                                {.name = "target probabilities"}};
    size_t count = 0;
    for (size_t i = 0; i < program->model_count; i++) {
        graphs[count++] = program->lowered[i].forward;
        graphs[count++] = program->lowered[i].commit;
    }
    if (program->model_count > 1)
        extras[TANDEM_SCRATCH_DRAFT_PROBABILITIES].bytes =
            (uint64_t)options->max_draft * program->lowered[1].vocabulary * sizeof(float);
    extras[TANDEM_SCRATCH_PROBABILITIES].bytes =
        (uint64_t)program->lowered[0].vocabulary * sizeof(float);
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
    request->max_draft = program->model_count > 1 ? options->max_draft : 0;
    request->tokenizer = program->tokenizer.blob;
    request->tokenizer_bytes = program->tokenizer.bytes;
    request->bos_id =
        target->bos_id >= 0 || !program->has_tokenizer ? target->bos_id : program->tokenizer.bos_id;
    request->eos_id =
        target->eos_id >= 0 || !program->has_tokenizer ? target->eos_id : program->tokenizer.eos_id;
    request->memory_budget = options->memory_budget;
    request->slots = options->slots;
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
    td_release(context, program->runtime_root);
    memset(program, 0, sizeof *program);
}

static void print_line(const char *name, uint64_t bytes)
{
    printf("  %-24s %14" PRIu64 " bytes %9.2f MiB\n", name, bytes, (double)bytes / 1048576.0);
}

void cli_print_plan(const cli_program *program, const cg_plan *plan)
{
    const sched_plan *schedule = &program->plan;
    for (size_t g = 0; g < schedule->graph_count; g++) {
        const sched_graph_plan *graph = &schedule->graphs[g];
        if (graph->peak == 0)
            continue;
        printf("%s.%s: %u nodes, peak %" PRIu64 " bytes, lower bound %" PRIu64 ", order %s%s\n",
               program->lowered[g / 2].name, graph->graph->name, graph->graph->node_count,
               graph->peak, graph->lower_bound, graph->orderer,
               graph->peak == graph->lower_bound ? ", optimal" : "");
    }
    printf("arena %" PRIu64 " bytes, %.3f of the live peak %" PRIu64 "\n", schedule->arena_bytes,
           (double)schedule->arena_bytes / (double)schedule->live_peak, schedule->live_peak);
    const uint64_t caches = plan->state_fixed + plan->slots * plan->slot_bytes;
    puts("resident:");
    print_line("weights", plan->weights);
    print_line("arena", plan->arena);
    print_line("caches", caches);
    print_line("tokenizer", plan->tokenizer);
    print_line("code", plan->code);
    print_line("libc, buffers, 16 stacks", plan->overhead);
    print_line("in all", plan->resident);
    print_line("address space", plan->address_space);
    print_line("smallest budget", plan->smallest);
    printf("slots: %u of %" PRIu64 " bytes (at least %u)\n", plan->slots, plan->slot_bytes,
           plan->minimum_slots);
}
