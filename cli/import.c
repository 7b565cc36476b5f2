/* tandem import: a model file as Tandem sees it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "base/file.h"
#include "ir/passes/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct import_options {
    cli_options shared;
    const char *path, *output, *assumed;
    bool summary;
} import_options;

enum { KEY_SUMMARY = 0x2000, KEY_ASSUMED, KEY_TOKENIZER };

static const struct argp_option options_table[] = {
    {"summary", KEY_SUMMARY, NULL, 0,
     "count the nodes of each operation; operations that cannot be compiled are listed too", 0},
    {"assumed", KEY_ASSUMED, "FILE.json", 0,
     "write the small constants that were missing and assumed from their uses, for --constants", 0},
    {"tokenizer", KEY_TOKENIZER, "FILE", 0, "of --counts (default: what lies with the model)", 0},
    {"output", 'o', "FILE.xml", 0, "write the model as OpenVINO IR, with its .bin beside it", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    import_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->shared;
        state->child_inputs[1] = &options->shared;
        return 0;
    case KEY_SUMMARY:
        options->summary = true;
        return 0;
    case KEY_ASSUMED:
        options->assumed = argument;
        return 0;
    case KEY_TOKENIZER:
        options->shared.tokenizer = argument;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        cli_take_argument(state, "model", argument, &options->path);
        return 0;
    case ARGP_KEY_END:
        if (options->path == NULL)
            cli_usage_error(state, "a model is missing");
        if (options->assumed != NULL && options->output != NULL)
            cli_usage_error(state,
                            "--assumed goes with listing, not with -o, which needs them all");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&cli_model_argp, 0, NULL, 0}, {&cli_trim_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    "MODEL",
    "Reads a model and prints its raised graph. Weights need not be there for that."
    "\vexamples:\n"
    "  tandem import model.xml --summary --assumed constants.json\n"
    "  tandem import checkpoint-folder --weights=q8 -o model.xml\n"
    "  tandem import drafter.xml --vocab-trim 1024 --counts counts.json \\\n"
    "      --tokenizer tokenizer.json -o trimmed.xml\n"
    "  tandem import model.gguf --print-after=all 2>passes.txt\n",
    children,
    NULL,
    NULL};

/* --- printing --- */

typedef struct op_count {
    const char *name;
    size_t nodes;
} op_count;

static int compare_counts(const void *left, const void *right)
{
    const op_count *a = left, *b = right;
    if (a->nodes != b->nodes)
        return a->nodes > b->nodes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Counts by op; opaque nodes by the operation they stand for. */
static td_status print_summary(td_context *context, const fe_model *model)
{
    const ir_module *module = model->module;
    printf("%s: %s\n", module->name,
           model->raised ? "a decoder, raised" : "listed as imported, not compilable");
    for (size_t g = 0; g < module->graphs.count; g++) {
        const ir_graph *graph = module->graphs.items[g];
        TD_ARRAY(op_count) counts = {0};
        td_map by_name;
        td_map_init(&by_name, context);
        bool complete = true;
        size_t nodes = 0;
        for (const ir_node *node = graph->first; node != NULL && complete; node = node->next) {
            const char *name = ir_op(node->op)->name;
            if (node->op == IR_OP_opaque)
                name = ir_node_string(node, "type", name);
            size_t index = (size_t)(uintptr_t)td_map_get(&by_name, name);
            if (index == 0) {
                complete = td_array_push(context, &counts, ((op_count){name, 0})) &&
                           td_map_put(&by_name, name, (void *)(uintptr_t)counts.count);
                index = counts.count;
            }
            if (complete)
                counts.items[index - 1].nodes++;
            nodes++;
        }
        if (complete && counts.count > 0)
            qsort(counts.items, counts.count, sizeof *counts.items, compare_counts);
        printf("graph %s: %zu nodes, %zu inputs, %zu outputs\n", graph->name, nodes,
               graph->input_count, graph->output_count);
        for (size_t i = 0; complete && i < counts.count; i++)
            printf("  %-24s %zu\n", counts.items[i].name, counts.items[i].nodes);
        td_array_release(context, &counts);
        td_map_release(&by_name);
        if (!complete)
            return td_fail_memory(context);
    }
    printf("%zu constants, %zu states\n", module->constants.count, module->states.count);
    return TD_OK;
}

static td_status print_graphs(td_context *context, const fe_model *model)
{
    td_text text;
    td_text_init(&text, context);
    td_status status = ir_print(model->module, &text);
    if (status == TD_OK && text.failed)
        status = td_fail_memory(context);
    if (status == TD_OK)
        fwrite(text.data, 1, text.length, stdout);
    td_text_release(&text);
    return status;
}

/* Trims the head for --vocab-trim. */
static td_status trim_head(td_context *context, const import_options *options, fe_model *model,
                           cli_trimmed *trimmed)
{
    fe_tokenizer blob = {0};
    const rt_tokenizer *opened;
    if (options->shared.trim.count == 0)
        return TD_OK;
    td_status status = cli_read_tokenizer(context, &options->shared, model, &blob, &opened);
    if (status == TD_OK)
        status = cli_trim_head(context, &options->shared, &blob, NULL, model, trimmed);
    fe_tokenizer_release(context, &blob);
    return status;
}

static td_status adapt(td_context *context, const import_options *options, fe_model *model,
                       cli_trimmed *trimmed)
{
    TD_TRY(cli_convert_model(&options->shared, model->module));
    TD_TRY(trim_head(context, options, model, trimmed));
    return cli_finish_model(&options->shared, model->module);
}

static td_status transform_and_show(td_context *context, const import_options *options,
                                    fe_model *model, cli_trimmed *trimmed)
{
    if (model->raised)
        TD_TRY(adapt(context, options, model, trimmed));
    if (options->summary)
        TD_TRY(print_summary(context, model));
    else if (options->output == NULL)
        TD_TRY(print_graphs(context, model));
    return options->output == NULL ? TD_OK : fe_write_openvino(model, options->output);
}

/* The file that --constants reads. */
static td_status write_assumed(td_context *context, const char *path, const td_text *lines)
{
    td_output output;
    if (lines->failed)
        return td_fail_memory(context);
    TD_TRY(td_output_open(context, path, &output));
    fprintf(output.stream, "{\n%s\n}\n", lines->data == NULL ? "" : lines->data);
    return td_output_commit(context, &output, false);
}

static td_status keep_inputs(td_context *context, const import_options *options)
{
    const char *inputs[] = {options->path, options->shared.constants, options->shared.tokenizer};
    for (size_t i = 0; i < TD_COUNT_OF(inputs); i++) {
        TD_TRY(cli_keep_input(context, inputs[i], options->output));
        TD_TRY(cli_keep_input(context, inputs[i], options->assumed));
    }
    return TD_OK;
}

int cli_import(int argc, char **argv)
{
    import_options options = {0};
    cli_options_init(&options.shared);
    cli_parse(&argp, argc, argv, &options);
    td_context context;
    td_context_init(&context);
    context.verbosity = options.shared.verbose ? 2 : 1;
    td_text assumed;
    td_text_init(&assumed, &context);
    const fe_options import = {.constants = options.shared.constants,
                               .random_weights = options.shared.random_weights,
                               .random_seed = options.shared.random_seed,
                               .context_length = options.shared.context_length,
                               .print_after = options.shared.print_after,
                               .listing = options.output == NULL,
                               .summary = options.summary,
                               .assumed = &assumed};
    fe_model model;
    td_status status = keep_inputs(&context, &options);
    if (status == TD_OK)
        status = fe_import(&context, options.path, &import, &model);
    if (status == TD_OK) {
        cli_trimmed trimmed = {0};
        status = transform_and_show(&context, &options, &model, &trimmed);
        td_release(&context, trimmed.head.ids);
        ir_module_release(model.module);
    }
    if (status == TD_OK && options.assumed != NULL)
        status = write_assumed(&context, options.assumed, &assumed);
    td_text_release(&assumed);
    return cli_exit_status(&context, status);
}
