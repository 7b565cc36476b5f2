/* tandem inspect: why a graph, or a program, needs the memory it needs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "cli/graph_file.h"
#include "cli/search_options.h"

#include "base/file.h"

#include <string.h>

typedef struct inspect_options {
    cli_options program;  /* with a target: a program, or its orderer: a graph */
    sched_options search; /* of a graph */
    const char *path;     /* of a graph, or NULL */
    const char *against, *order_in;
    const char *html, *trace;
    bool json;
} inspect_options;

enum { KEY_HTML = 0x2000, KEY_TRACE, KEY_JSON, KEY_AGAINST, KEY_ORDER };

static const struct argp_option options_table[] = {
    {NULL, 0, NULL, 0, "What is written (else a summary):", 1},
    {"html", KEY_HTML, "FILE", 0, "a page to look at, complete in one file", 1},
    {"json", KEY_JSON, NULL, 0, "everything as JSON, to standard output", 1},
    {"trace", KEY_TRACE, "FILE", 0, "a trace for Perfetto or chrome://tracing", 1},
    {NULL, 0, NULL, 0, "Orders:", 1},
    {"against", KEY_AGAINST, "NAMES", 0,
     "orderers to compare with, separated by commas (default file,dfs,greedy; \"\" for none)", 1},
    {"order", KEY_ORDER, "FILE", 0, "show the order in this file instead, one node id per line", 1},
    {NULL, 0, NULL, 0, NULL, 0},
};

static bool differ(const char *text, const char *usual)
{
    return text != usual && (text == NULL || usual == NULL || strcmp(text, usual) != 0);
}

/* Options of programs, which would change nothing about a graph. */
static bool has_program_options(const cli_options *options)
{
    cli_options usual;
    cli_options_init(&usual);
    const char *const texts[][2] = {{options->weights, usual.weights},
                                    {options->activations, usual.activations},
                                    {options->kv, usual.kv},
                                    {options->eviction, usual.eviction},
                                    {options->tokenizer, usual.tokenizer},
                                    {options->constants, usual.constants},
                                    {options->print_after, usual.print_after},
                                    {options->triple, usual.triple},
                                    {options->cpu, usual.cpu}};
    for (size_t i = 0; i < TD_COUNT_OF(texts); i++)
        if (differ(texts[i][0], texts[i][1]))
            return true;
    return options->random_weights || options->context_length > 0 || options->layers > 0 ||
           options->max_draft != usual.max_draft || options->trim.rows > 0 ||
           options->trim.automatic || options->trim.count > 0 || options->memory_budget > 0 ||
           options->slots > 0 || options->threads > 0 || options->sessions > 0;
}

static void check_input(const struct argp_state *state, const inspect_options *options)
{
    const bool program = options->program.target != NULL;
    if (program && options->path != NULL)
        cli_usage_error(state, "%s: a graph or a --target is inspected, not both", options->path);
    if (!program && options->program.drafter != NULL)
        cli_usage_error(state, "--target is missing: a drafter is no program");
    if (!program && options->path == NULL)
        cli_usage_error(state, "a graph is missing: a .graphml file, a model, or --target");
    if (!program && has_program_options(&options->program))
        cli_usage_error(state,
                        "%s: options of models and programs, but for --orderer, want --target",
                        options->path);
    if (program && options->order_in != NULL)
        cli_usage_error(state, "--order %s: a program is inspected in its own order",
                        options->order_in);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    inspect_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        for (size_t i = 0; i < 4; i++)
            state->child_inputs[i] = &options->program;
        state->child_inputs[4] = &options->search;
        return 0;
    case KEY_HTML:
        options->html = argument;
        return 0;
    case KEY_TRACE:
        options->trace = argument;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case KEY_AGAINST:
        options->against = argument;
        return 0;
    case KEY_ORDER:
        options->order_in = argument;
        return 0;
    case ARGP_KEY_ARG:
        cli_take_argument(state, "graph", argument, &options->path);
        return 0;
    case ARGP_KEY_END:
        check_input(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&cli_pair_argp, 0, NULL, 0},   {&cli_model_argp, 0, NULL, 0},  {&cli_trim_argp, 0, NULL, 0},
    {&cli_device_argp, 0, NULL, 0}, {&cli_search_argp, 0, NULL, 1}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    options_table,
    parse,
    "[GRAPH]",
    "Shows why a graph, or a program, needs the memory it needs: what is live at each step under "
    "several orders, who is live at the peak, where every buffer lies, and how a program's memory "
    "is divided."
    "\vexamples:\n"
    "  tandem inspect training.graphml --html report.html\n"
    "  tandem inspect model.xml --json\n"
    "  tandem inspect --target target.xml --drafter drafter.xml --html report.html\n",
    children,
    NULL,
    NULL};

/* --- gathering --- */

/* The operations that a GraphML file names; NULL: those of the IR. */
static td_status read_ops(const cli_graph_file *file, const char ***ops)
{
    *ops = NULL;
    if (!file->is_graphml)
        return TD_OK;
    const uint32_t count = file->tasks.task_count;
    *ops = td_allocate(file->context, (count + (size_t)1) * sizeof **ops);
    if (*ops == NULL)
        return td_fail_memory(file->context);
    for (uint32_t i = 0; i < count; i++)
        (*ops)[i] = file->tasks.tasks[i].op;
    return TD_OK;
}

static td_status read_given(td_context *context, const inspect_options *options,
                            const cli_graph_file *file, uint32_t **given)
{
    *given = NULL;
    if (options->order_in == NULL)
        return TD_OK;
    if (file->graph_count != 1)
        return td_fail(context, TD_USAGE, "%s: it has %zu graphs; --order is for files of one",
                       options->path, file->graph_count);
    const sched_problem *problem = &file->graphs[0].problem;
    *given = td_allocate(context, (problem->node_count + (size_t)1) * sizeof **given);
    if (*given == NULL)
        return td_fail_memory(context);
    return cli_read_order(context, options->order_in, problem, *given);
}

static td_status gather_graphs(td_context *context, const inspect_options *options,
                               const cli_graph_file *file, inspect_facts *facts)
{
    const char **ops = NULL;
    uint32_t *given = NULL;
    td_status status = read_ops(file, &ops);
    if (status == TD_OK)
        status = read_given(context, options, file, &given);
    const inspect_request request = {.orderer = options->program.orderer,
                                     .against = options->against,
                                     .search = &options->search,
                                     .given = given};
    for (size_t g = 0; status == TD_OK && g < file->graph_count; g++)
        status =
            inspect_add_graph(facts, &request, file->graphs[g].name, &file->graphs[g].problem, ops);
    td_release(context, ops);
    td_release(context, given);
    return status;
}

static td_status gather_program(td_context *context, const inspect_options *options,
                                const cli_program *program, inspect_facts *facts)
{
    cg_plan plan;
    const inspect_request request = {.against = options->against, .search = &options->search};
    TD_TRY(cg_make_plan(context, &program->request, &plan));
    return inspect_add_program(facts, &request, &program->request, &plan);
}

/* --- writing --- */

static td_status keep_inputs(td_context *context, const inspect_options *options)
{
    const char *inputs[] = {options->path, options->program.target, options->program.drafter,
                            options->program.tokenizer, options->program.constants};
    for (size_t i = 0; i < TD_COUNT_OF(inputs); i++) {
        TD_TRY(cli_keep_input(context, inputs[i], options->html));
        TD_TRY(cli_keep_input(context, inputs[i], options->trace));
    }
    return TD_OK;
}

static td_status write_file(td_context *context, const inspect_facts *facts, const char *path,
                            td_status (*write)(const inspect_facts *facts, FILE *stream))
{
    td_output output;
    if (path == NULL)
        return TD_OK;
    TD_TRY(td_output_open(context, path, &output));
    const td_status status = write(facts, output.stream);
    if (status != TD_OK) {
        td_output_discard(context, &output);
        return status;
    }
    return td_output_commit(context, &output, false);
}

static td_status write_all(td_context *context, const inspect_options *options,
                           const inspect_facts *facts)
{
    TD_TRY(write_file(context, facts, options->html, inspect_write_page));
    TD_TRY(write_file(context, facts, options->trace, inspect_write_chrome_trace));
    if (options->json)
        return inspect_write_json(facts, INSPECT_ALL, stdout);
    if (options->html == NULL && options->trace == NULL)
        return inspect_write_text(facts, stdout);
    return TD_OK;
}

static td_status inspect_graph_file(td_context *context, const inspect_options *options)
{
    cli_graph_file file;
    inspect_facts facts;
    TD_TRY(cli_read_graphs(context, options->path, &file));
    inspect_facts_init(context, options->path, &facts);
    td_status status = gather_graphs(context, options, &file, &facts);
    if (status == TD_OK)
        status = write_all(context, options, &facts);
    inspect_facts_release(&facts);
    cli_graph_file_release(&file);
    return status;
}

/* What a program is made of, for headings: "TARGET" or "TARGET + DRAFTER". */
static td_status name_program(td_context *context, const inspect_options *options, td_text *name)
{
    const cli_options *program = &options->program;
    td_text_init(name, context);
    td_text_printf(name, "%s", program->target);
    if (program->drafter != NULL)
        td_text_printf(name, " + %s", program->drafter);
    return name->failed ? td_fail_memory(context) : TD_OK;
}

static td_status inspect_prepared(td_context *context, const inspect_options *options,
                                  const cli_program *program)
{
    inspect_facts facts;
    td_text name;
    td_status status = name_program(context, options, &name);
    if (status == TD_OK) {
        inspect_facts_init(context, name.data, &facts);
        status = gather_program(context, options, program, &facts);
        if (status == TD_OK)
            status = write_all(context, options, &facts);
        inspect_facts_release(&facts);
    }
    td_text_release(&name);
    return status;
}

static td_status inspect_program(td_context *context, const inspect_options *options)
{
    cli_program program;
    TD_TRY(cli_prepare(context, &options->program, &program));
    const td_status status = inspect_prepared(context, options, &program);
    cli_program_release(context, &program);
    return status;
}

int cli_inspect(int argc, char **argv)
{
    inspect_options options = {.against = "file,dfs,greedy",
                               .search = {.time_limit = CLI_USUAL_SECONDS}};
    td_context context;
    cli_options_init(&options.program);
    cli_parse(&argp, argc, argv, &options);
    /* Only sizes count here, so a model whose .bin is missing can be inspected. */
    options.program.random_weights = true;
    td_context_init(&context);
    context.verbosity = options.program.verbose;
    td_status status = keep_inputs(&context, &options);
    if (status == TD_OK)
        status = options.path != NULL ? inspect_graph_file(&context, &options)
                                      : inspect_program(&context, &options);
    return cli_exit_status(&context, status);
}
