/* tandem plan: the memory that a program would need.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>

static const struct argp_child children[] = {{&cli_program_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp argp = {
    NULL,
    NULL,
    NULL,
    "Prints what a program would need: resident bytes by part, address space, slots, and the "
    "smallest budget that works. Weights need not be there: random:0 stands for missing ones."
    "\vexample:\n"
    "  tandem plan --target target.xml --drafter drafter.xml --memory-budget 64M\n",
    children,
    NULL,
    NULL};

static void print_line(const char *name, uint64_t bytes)
{
    printf("  %-24s %14" PRIu64 " bytes %9.2f MiB\n", name, bytes, tandem_plan_mebibytes(bytes));
}

static void print_schedule(const cli_program *program)
{
    const sched_plan *schedule = &program->plan;
    for (size_t g = 0; g < schedule->graph_count; g++) {
        const sched_graph_plan *graph = &schedule->graphs[g];
        if (graph->peak == 0)
            continue;
        const bool drafts = graph->graph->module != program->lowered[0].module;
        printf("%s.%s: %u nodes, peak %" PRIu64 " bytes, lower bound %" PRIu64 ", order %s%s\n",
               program->lowered[drafts ? 1 : 0].name, graph->graph->name, graph->graph->node_count,
               graph->peak, graph->lower_bound, graph->orderer,
               graph->peak == graph->lower_bound ? ", optimal" : "");
    }
    printf("arena %" PRIu64 " bytes, %.3f of the live peak %" PRIu64 "\n", schedule->arena_bytes,
           (double)schedule->arena_bytes / (double)schedule->live_peak, schedule->live_peak);
}

static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

/* Slots of each model, and what they take. */
static void print_slots(const cli_program *program, const cg_plan *plan)
{
    const tandem_plan_sizes *sizes = &plan->sizes;
    const uint32_t slots = plan->slots;
    for (unsigned i = 0; i < sizes->model_count; i++) {
        const uint32_t own = tandem_plan_slots(sizes, i, slots);
        const uint64_t bytes =
            tandem_plan_state(sizes, i, slots) + tandem_plan_policy(sizes, i, slots);
        printf("  %-8s %6u slots of %" PRIu64 " bytes: %.2f MiB\n", program->lowered[i].name, own,
               sizes->models[i].slot_bytes + sizes->models[i].policy_slot_bytes,
               tandem_plan_mebibytes(bytes));
    }
}

/* What other numbers of threads would need: the plan is for the fewest. */
static void print_threads(const cg_plan *plan)
{
    const uint32_t fewest = plan->choice.threads;
    printf("%-8s %16s %16s\n", "threads", "smallest budget", "for these slots");
    for (uint32_t times = 1; times <= 4 && times * fewest <= TANDEM_MAX_THREADS; times *= 2) {
        const uint32_t threads = times * fewest;
        tandem_plan_choice choice = plan->choice;
        choice.threads = threads;
        const uint64_t all = tandem_plan_resident(&plan->sizes, &choice);
        choice.slots = plan->minimum_slots;
        printf("%-8u %12.2f MiB %12.2f MiB\n", threads,
               tandem_plan_mebibytes(tandem_plan_resident(&plan->sizes, &choice)),
               tandem_plan_mebibytes(all));
    }
}

void cli_print_plan(const cli_program *program, const cg_plan *plan)
{
    const tandem_plan_choice *choice = &plan->choice;
    print_schedule(program);
    cli_print_trim(&program->trimmed);
    printf("resident, with %u thread%s and %u session%s:\n", choice->threads,
           plural(choice->threads), choice->sessions, plural(choice->sessions));
    print_line("weights", plan->weights);
    print_line("arena", plan->arena);
    print_line("caches", plan->caches);
    print_line("tokenizer", plan->tokenizer);
    print_line("code", plan->code);
    print_line("libc, buffers, stacks", plan->overhead);
    print_line("in all", plan->resident);
    print_line("address space", plan->address_space);
    print_line("smallest budget", plan->smallest);
    printf("slots of a session: %u (at least %u)\n", plan->slots, plan->minimum_slots);
    print_slots(program, plan);
    print_threads(plan);
}

static td_status print_plan(td_context *context, const cli_options *options)
{
    cli_program program;
    cg_plan plan;
    TD_TRY(cli_prepare(context, options, &program));
    td_status status = cg_make_plan(context, &program.request, &plan);
    if (status == TD_OK)
        cli_print_plan(&program, &plan);
    cli_program_release(context, &program);
    return status;
}

int cli_plan(int argc, char **argv)
{
    cli_options options;
    cli_options_init(&options);
    cli_parse(&argp, argc, argv, &options);
    /* Only sizes count here, so a model whose .bin is missing can be planned. */
    options.random_weights = true;
    td_context context;
    td_context_init(&context);
    context.verbosity = options.verbose;
    return cli_exit_status(&context, print_plan(&context, &options));
}
