/* tandem train-orderer: trains the learned orderer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "base/file.h"
#include "cli/graph_file.h"
#include "sched/topoformer/train.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FILES  64
#define MOST_WIDTHS 8

typedef struct train_options {
    topo_training training;
    uint32_t widths[MOST_WIDTHS];
    const char *files[MOST_FILES];
    size_t file_count;
    bool layered;
    const char *output;
} train_options;

enum {
    KEY_GRAPHS = 0x2000,
    KEY_STEPS,
    KEY_UNTIL,
    KEY_BATCH,
    KEY_THREADS,
    KEY_SEED,
    KEY_RATE,
    KEY_REINFORCE,
    KEY_SAMPLES,
    KEY_TEMPERATURE,
    KEY_BEAM,
    KEY_WIDTH,
    KEY_SHARE,
    KEY_LAYERS,
    KEY_CHECKPOINT,
    KEY_VALIDATE,
    KEY_VALIDATION,
    KEY_TIME,
};

static const struct argp_option options_table[] = {
    {"graphs", KEY_GRAPHS, "WHAT", 0,
     "layered:N or layered:LEAST-MOST nodes (default layered:100-500), or a GraphML file or model; "
     "can be given several times",
     0},
    {"graph-share", KEY_SHARE, "X", 0,
     "share of the examples that are graphs of files, where layered ones are asked for, too "
     "(default 0.1)",
     0},
    {"steps", KEY_STEPS, "N", 0, "steps of the optimiser (default 1500)", 0},
    {"until", KEY_UNTIL, "N", 0, "end after step N of these", 0},
    {"batch", KEY_BATCH, "N", 0, "graphs of a step, in each process (default 32)", 0},
    {"threads", KEY_THREADS, "N", 0, "worked on at once (default 2); results do not depend on it",
     0},
    {"seed", KEY_SEED, "N", 0, "of the parameters and of all that is drawn (default 1)", 0},
    {"rate", KEY_RATE, "X", 0, "of Adam (default 0.0015)", 0},
    {"reinforce", KEY_REINFORCE, "X", 0,
     "share of the examples that learn by REINFORCE; the others learn what a beam dropped "
     "(default 1)",
     0},
    {"samples", KEY_SAMPLES, "N", 0, "of REINFORCE, of each graph and direction (default 32)", 0},
    {"temperature", KEY_TEMPERATURE, "X", 0, "of the samples (default 0.3)", 0},
    {"beam", KEY_BEAM, "W", 0,
     "width of the beams that learn (default 16); several are taken in turn", 0},
    {"width", KEY_WIDTH, "N", 0, "of the network, a multiple of 8 (default 48)", 0},
    {"layers", KEY_LAYERS, "N", 0, "of the network (default 2)", 0},
    {"checkpoint", KEY_CHECKPOINT, "FILE", 0,
     "written at every validation; read at the start where it is there", 0},
    {"validate-every", KEY_VALIDATE, "N", 0, "steps (default 100)", 0},
    {"validation", KEY_VALIDATION, "N", 0,
     "layered graphs of 500 nodes, half as many of 1000, a quarter of 2000 (default 64)", 0},
    {"time-limit", KEY_TIME, "S", 0, "end after so many seconds", 0},
    {"output", 'o', "FILE", 0, "where to write the parameters", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static double parse_positive(struct argp_state *state, const char *option, const char *text,
                             double most)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0 && value <= most))
        cli_usage_error(state, "%s: %s: expected a number above 0, up to %g", option, text, most);
    return value;
}

static void parse_graphs(train_options *options, struct argp_state *state, const char *text)
{
    if (strncmp(text, "layered:", 8) != 0) {
        if (options->file_count == MOST_FILES)
            cli_usage_error(state, "--graphs: at most %d files are accepted", MOST_FILES);
        options->files[options->file_count++] = text;
        return;
    }
    char least[16];
    const char *dash = strchr(text + 8, '-');
    const size_t length = dash == NULL ? strlen(text + 8) : (size_t)(dash - text - 8);
    if (length >= sizeof least)
        cli_usage_error(state, "--graphs: %s: expected layered:N or layered:LEAST-MOST", text);
    memcpy(least, text + 8, length);
    least[length] = '\0';
    topo_training *training = &options->training;
    options->layered = true;
    training->least_nodes = (uint32_t)cli_parse_count(state, "--graphs", least, 5000);
    training->most_nodes = dash == NULL
                               ? training->least_nodes
                               : (uint32_t)cli_parse_count(state, "--graphs", dash + 1, 5000);
    if (training->least_nodes < 2 || training->most_nodes < training->least_nodes)
        cli_usage_error(state, "--graphs: %s: expected 2 nodes or more, the smaller number first",
                        text);
}

/* Options that only set a whole number of the training. */
static const struct count_option {
    int key;
    const char *name;
    size_t field; /* offset of a uint32_t in topo_training */
    uint64_t (*read)(struct argp_state *, const char *, const char *, uint64_t);
    uint64_t largest;
} count_options[] = {
    {KEY_STEPS, "--steps", offsetof(topo_training, steps), cli_parse_number, 100000000},
    {KEY_UNTIL, "--until", offsetof(topo_training, until), cli_parse_number, 100000000},
    {KEY_BATCH, "--batch", offsetof(topo_training, batch), cli_parse_count, 4096},
    {KEY_THREADS, "--threads", offsetof(topo_training, threads), cli_parse_count, 256},
    {KEY_SAMPLES, "--samples", offsetof(topo_training, samples), cli_parse_count, 10000},
    {KEY_LAYERS, "--layers", offsetof(topo_training, shape.layers), cli_parse_count, TOPO_LAYERS},
    {KEY_VALIDATE, "--validate-every", offsetof(topo_training, validate_every), cli_parse_count,
     1000000},
    {KEY_VALIDATION, "--validation", offsetof(topo_training, validation_count), cli_parse_count,
     10000},
};

static error_t parse_count_option(int key, const char *argument, struct argp_state *state,
                                  topo_training *training)
{
    for (size_t i = 0; i < TD_COUNT_OF(count_options); i++) {
        const struct count_option *option = &count_options[i];
        if (option->key != key)
            continue;
        const uint32_t count =
            (uint32_t)option->read(state, option->name, argument, option->largest);
        memcpy((char *)training + option->field, &count, sizeof count);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    train_options *options = state->input;
    topo_training *training = &options->training;
    switch (key) {
    case KEY_GRAPHS:
        parse_graphs(options, state, argument);
        return 0;
    case KEY_SEED:
        training->seed = cli_parse_number(state, "--seed", argument, UINT64_MAX);
        return 0;
    case KEY_SHARE:
        training->graph_share = parse_positive(state, "--graph-share", argument, 1);
        return 0;
    case KEY_RATE:
        training->rate = parse_positive(state, "--rate", argument, 1);
        return 0;
    case KEY_REINFORCE:
        training->policy_share =
            strcmp(argument, "0") == 0 ? 0 : parse_positive(state, "--reinforce", argument, 1);
        return 0;
    case KEY_TEMPERATURE:
        training->temperature = parse_positive(state, "--temperature", argument, 100);
        return 0;
    case KEY_BEAM:
        if (training->width_count == MOST_WIDTHS)
            cli_usage_error(state, "--beam: at most %d widths are accepted", MOST_WIDTHS);
        options->widths[training->width_count++] =
            (uint32_t)cli_parse_count(state, "--beam", argument, 10000);
        return 0;
    case KEY_WIDTH:
        training->shape.width = (uint32_t)cli_parse_count(state, "--width", argument, 256);
        if (training->shape.width % 8 != 0)
            cli_usage_error(state, "--width: %s: expected a multiple of 8", argument);
        training->shape.hidden = 2 * training->shape.width;
        return 0;
    case KEY_CHECKPOINT:
        training->checkpoint = argument;
        return 0;
    case KEY_TIME:
        training->time_limit = parse_positive(state, "--time-limit", argument, 1e7);
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->output == NULL)
            cli_usage_error(state, "-o FILE is missing");
        return 0;
    default:
        return parse_count_option(key, argument, state, training);
    }
}

static const struct argp argp = {
    options_table,
    parse,
    "",
    "Trains the orderer `topoformer`: it learns which nodes should run early, by REINFORCE on the "
    "peaks of sampled orders and from what narrow beams wrongly drop. docs/topoformer.md tells how "
    "the parameters in Tandem were made."
    "\vexample:\n"
    "  tandem train-orderer --graphs layered:500 --steps 200 -o parameters.bin\n",
    NULL,
    NULL,
    NULL,
};

/* Trains with the graphs of the files; each of a model's graphs is one. The first process of the
 * team writes the parameters. */
static td_status train(td_context *context, train_options *options)
{
    const topo_team *team = options->training.team;
    cli_graph_file files[MOST_FILES] = {0};
    TD_ARRAY(const sched_problem *) problems = {0};
    /* Training takes long: a place where nothing can be written is refused before it. */
    td_status status = td_output_check(context, options->output);
    size_t opened = 0;
    for (; opened < options->file_count && status == TD_OK; opened++) {
        status = cli_read_graphs(context, options->files[opened], &files[opened]);
        for (size_t g = 0; status == TD_OK && g < files[opened].graph_count; g++)
            if (!td_array_push(context, &problems, &files[opened].graphs[g].problem))
                status = td_fail_memory(context);
    }
    topo_model model;
    options->training.graphs = problems.items;
    options->training.graph_count = problems.count;
    if (!options->layered)
        options->training.graph_share = 1;
    status = topo_team_agree(team, context, status);
    if (status == TD_OK)
        status = topo_train(context, &options->training, &model);
    if (status == TD_OK) {
        if (team->number == 0)
            status = topo_model_write(context, options->output, &model);
        topo_model_release(context, &model);
    }
    for (size_t f = 0; f < opened; f++)
        if (files[f].context != NULL)
            cli_graph_file_release(&files[f]);
    td_array_release(context, &problems);
    return status;
}

/* What went wrong in one process is known to all, and the first one says it: before it leaves, as
 * mpirun ends all when one has failed. */
static int train_together(train_options *options)
{
    td_context context;
    td_context_init(&context);
    const topo_team team = topo_team_join();
    options->training.team = &team;
    const td_status status = train(&context, options);
    const int exit_status = team.number > 0 ? status != TD_OK : cli_exit_status(&context, status);
    topo_team_leave();
    return exit_status;
}

int cli_train_orderer(int argc, char **argv)
{
    train_options options = {.training = {.shape = {48, 96, 2},
                                          .seed = 1,
                                          .steps = 1500,
                                          .batch = 32,
                                          .threads = 2,
                                          .least_nodes = 100,
                                          .most_nodes = 500,
                                          .factor = 4,
                                          .rate = 1.5e-3,
                                          .decay = 0.01,
                                          .graph_share = 0.1,
                                          .policy_share = 1,
                                          .samples = 32,
                                          .temperature = 0.3,
                                          .validate_every = 100,
                                          .validation_count = 64,
                                          .validation_nodes = 500,
                                          .log = stdout}};
    cli_parse(&argp, argc, argv, &options);
    if (options.training.width_count == 0)
        options.widths[options.training.width_count++] = 16;
    options.training.widths = options.widths;
    if (options.file_count == 0)
        options.layered = true;
    return train_together(&options);
}
