/* The table of orderers, and ordering by a row's name.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/orderers.h"

#include <stdlib.h>
#include <string.h>

#define MOST_WIDTH   1000000
#define MOST_SAMPLES 100000

const sched_orderer sched_orderers[] = {
    {"file", "the order of the model file", sched_order_file},
    {"random", "a random order, by the seed", sched_order_random},
    {"bfs", "breadth first", sched_order_bfs},
    {"dfs", "depth first from the results, operands with most behind them first", sched_order_dfs},
    {"greedy", "always the ready node that frees most memory", sched_order_greedy},
    {"postorder", "depth first, operands that need most beyond what they leave first",
     sched_order_postorder},
    {"liu", "the least peak of trees, by hills and valleys; other graphs tree by tree",
     sched_order_liu},
    {"beam", "the best WIDTH sets of nodes after each step, from the first node on",
     sched_order_beam},
    {"beam-backward", "the same from the last node to the first", sched_order_beam_backward},
    {"topoformer", "learned ranks, both ways; sample=N draws N orders, beam=W keeps W sets",
     sched_order_topoformer},
    {"local", "the best quick order, improved stretch by stretch", sched_order_local},
    {"exact", "wide searches for a proof from the start", sched_order_exact},
    {"auto", "all others, as far as the limit goes; the best is kept", sched_order_auto},
    {NULL, NULL, NULL},
};

const sched_orderer *sched_find_orderer(const char *name)
{
    for (const sched_orderer *row = sched_orderers; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

sched_effort sched_effort_of(const sched_options *options)
{
    sched_effort effort = {.work = UINT64_MAX};
    if (options->work_limit > 0)
        effort.work = options->work_limit;
    else if (options->time_limit <= 0)
        effort.work = SCHED_USUAL_WORK;
    if (options->time_limit > 0)
        effort.deadline = td_seconds() + options->time_limit;
    return effort;
}

static td_status refuse_name(td_context *context, const char *name)
{
    td_text known;
    td_text_init(&known, context);
    for (const sched_orderer *row = sched_orderers; row->name != NULL; row++)
        td_text_printf(&known, "%s%s", row == sched_orderers ? "" : ", ", row->name);
    const td_status status =
        known.failed ? td_fail_memory(context)
                     : td_fail(context, TD_USAGE,
                               "unknown orderer \"%s\"; known are %s, and NAME:WIDTH for beams",
                               name, known.data);
    td_text_release(&known);
    return status;
}

/* What may stand behind "NAME:". */
typedef struct suffix {
    const char *row, *key;
    uint32_t most; /* numbers from 1 to this */
    size_t field;  /* of sched_options */
} suffix;

static const suffix suffixes[] = {
    {"beam", "", MOST_WIDTH, offsetof(sched_options, width)},
    {"beam-backward", "", MOST_WIDTH, offsetof(sched_options, width)},
    {"topoformer", "beam=", MOST_WIDTH, offsetof(sched_options, width)},
    {"topoformer", "sample=", MOST_SAMPLES, offsetof(sched_options, samples)},
};

static td_status refuse_suffix(td_context *context, const char *text, const char *row)
{
    td_text accepted;
    td_text_init(&accepted, context);
    for (size_t s = 0; s < TD_COUNT_OF(suffixes); s++)
        if (strcmp(suffixes[s].row, row) == 0)
            td_text_printf(&accepted, "%s%s:%sN with N from 1 to %u",
                           accepted.length == 0 ? "" : " or ", row, suffixes[s].key,
                           suffixes[s].most);
    td_status status = TD_OK;
    if (accepted.failed)
        status = td_fail_memory(context);
    else if (accepted.length == 0)
        status = td_fail(context, TD_USAGE, "orderer \"%s\": %s takes no number", text, row);
    else
        status = td_fail(context, TD_USAGE, "orderer \"%s\": expected a number, as in %s", text,
                         accepted.data);
    td_text_release(&accepted);
    return status;
}

static td_status read_suffix(td_context *context, const char *text, const char *row,
                             sched_options *options)
{
    const char *suffix_text = text + strlen(row) + 1;
    for (size_t s = 0; s < TD_COUNT_OF(suffixes); s++) {
        const size_t key = strlen(suffixes[s].key);
        if (strcmp(row, suffixes[s].row) != 0 || strncmp(suffix_text, suffixes[s].key, key) != 0)
            continue;
        char *end;
        const char *digits = suffix_text + key;
        const unsigned long number = strtoul(digits, &end, 10);
        if (*digits < '0' || *digits > '9' || *end != '\0' || number == 0 ||
            number > suffixes[s].most)
            continue;
        *(uint32_t *)(void *)((char *)options + suffixes[s].field) = (uint32_t)number;
        return TD_OK;
    }
    return refuse_suffix(context, text, row);
}

/* Splits "NAME:WIDTH" and the like. */
static td_status find_row(td_context *context, const char *text, const sched_orderer **row,
                          sched_options *options)
{
    char name[32];
    const char *colon = strchr(text, ':');
    const size_t length = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (length >= sizeof name)
        return refuse_name(context, text);
    memcpy(name, text, length);
    name[length] = '\0';
    *row = sched_find_orderer(name);
    if (*row == NULL)
        return refuse_name(context, text);
    return colon == NULL ? TD_OK : read_suffix(context, text, name, options);
}

td_status sched_order(const sched_problem *problem, const char *name, const sched_options *options,
                      uint32_t *order, sched_report *report)
{
    const sched_orderer *row = NULL;
    sched_options adapted = {0};
    if (options != NULL)
        adapted = *options;
    TD_TRY(find_row(problem->context, name, &row, &adapted));
    *report = (sched_report){.chosen = row->name};
    TD_TRY(row->order(problem, &adapted, report, order));
    TD_TRY(sched_evaluate(problem, order, &report->peak));
    const uint64_t bound = sched_lower_bound(problem);
    if (bound > report->lower_bound)
        report->lower_bound = bound;
    return TD_OK;
}

td_status sched_order_graph(ir_graph *graph, const char *orderer, const sched_options *options,
                            uint64_t *peak, uint64_t *lower_bound, const char **chosen)
{
    td_context *context = graph->module->context;
    sched_problem problem;
    sched_report report;
    TD_TRY(sched_problem_from_graph(graph, &problem));
    uint32_t *order = td_allocate(context, (problem.node_count + (size_t)1) * sizeof *order);
    td_status status = order == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK)
        status = sched_order(&problem, orderer, options, order, &report);
    if (status == TD_OK) {
        *peak = report.peak;
        *lower_bound = report.lower_bound;
        *chosen = report.chosen;
        /* Moving each node to the end in turn leaves the list in the new order. */
        for (uint32_t step = 0; step < problem.node_count; step++)
            ir_graph_move_node(graph, (ir_node *)(uintptr_t)problem.nodes[order[step]].node, NULL);
        ir_graph_number(graph);
    }
    td_release(context, order);
    sched_problem_release(&problem);
    return status;
}
