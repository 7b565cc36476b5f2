/* Facts about a program: its graphs as they were planned, one arena for all, and its budget.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "inspect/private.h"

/* The model that a graph belongs to. */
static const char *model_of(const cg_request *program, const ir_graph *graph)
{
    for (size_t i = 0; i < program->model_count; i++)
        if (program->models[i].module == graph->module)
            return program->models[i].name;
    return "model";
}

/* One graph in the order of the plan, beside other orders. */
static td_status add_planned_graph(inspect_facts *facts, const inspect_request *request,
                                   const cg_request *program, const sched_graph_plan *planned)
{
    td_context *context = facts->context;
    sched_problem *problem = td_allocate(context, sizeof *problem);
    if (problem == NULL)
        return td_fail_memory(context);
    td_status status = sched_problem_from_graph(planned->graph, problem);
    if (status != TD_OK || !td_array_push(context, &facts->problems, problem)) {
        if (status == TD_OK)
            sched_problem_release(problem);
        td_release(context, problem);
        return status == TD_OK ? td_fail_memory(context) : status;
    }
    const char *name = td_arena_format(&facts->strings, "%s.%s", model_of(program, planned->graph),
                                       planned->graph->name);
    inspect_graph *graph;
    if (name == NULL)
        return td_fail_memory(context);
    TD_TRY(inspect_new_graph(facts, name, problem, NULL, &graph));
    TD_TRY(inspect_run_others(facts, request, "file", graph));
    graph->shown = graph->orders.count;
    TD_TRY(inspect_add_given(graph, "planned", NULL));
    inspect_order *order = &graph->orders.items[graph->shown];
    order->chosen = planned->orderer;
    if (planned->lower_bound > order->lower_bound)
        order->lower_bound = planned->lower_bound;
    if (order->lower_bound > graph->lower_bound)
        graph->lower_bound = order->lower_bound;
    return TD_OK;
}

/* The plan's buffers of one graph; a node that owns none has one that is never alive. */
static td_status place_graph(td_context *context, uint32_t number, const inspect_graph *graph,
                             const sched_buffer *buffers, inspect_arena *arena)
{
    for (uint32_t i = 0; i < graph->problem->node_count; i++)
        if (buffers[i].lower < buffers[i].upper)
            TD_TRY(inspect_place(context, arena, (inspect_placed){.graph = number, .node = i},
                                 buffers[i]));
    return TD_OK;
}

/* Every graph at its steps of the round, then what the runtime keeps between them. */
static td_status place_all(inspect_facts *facts, size_t first, const sched_plan *plan)
{
    inspect_arena *arena;
    TD_TRY(inspect_new_arena(facts, &arena));
    arena->bytes = plan->arena_bytes;
    arena->live_peak = plan->live_peak;
    arena->bound = plan->live_peak;
    for (size_t g = first; g < facts->graphs.count; g++) {
        inspect_graph *graph = &facts->graphs.items[g];
        graph->arena = facts->arenas.count - 1;
        graph->first_step = arena->steps;
        arena->steps += graph->problem->node_count;
        TD_TRY(place_graph(facts->context, (uint32_t)g, graph,
                           plan->buffers + plan->graphs[g - first].first_buffer, arena));
    }
    for (size_t e = 0; e < plan->extra_count; e++)
        TD_TRY(
            inspect_place(facts->context, arena,
                          (inspect_placed){.node = INSPECT_NO_NODE, .name = plan->extras[e].name},
                          plan->buffers[plan->first_extra + e]));
    return TD_OK;
}

/* --- the budget --- */

static void add_part(inspect_budget *budget, inspect_part part)
{
    budget->parts[budget->part_count++] = part;
}

static td_status add_budget(inspect_facts *facts, const cg_request *program, const cg_plan *plan)
{
    const tandem_plan_sizes *sizes = &plan->sizes;
    const tandem_plan_choice *choice = &plan->choice;
    inspect_budget *budget = &facts->budget;
    *budget = (inspect_budget){.memory_budget = program->memory_budget,
                               .resident = plan->resident,
                               .smallest = plan->smallest,
                               .address_space = plan->address_space,
                               .threads = choice->threads,
                               .sessions = choice->sessions};
    add_part(budget, (inspect_part){.name = "weights", .bytes = plan->weights});
    add_part(budget, (inspect_part){.name = "arena", .bytes = plan->arena});
    for (unsigned i = 0; i < sizes->model_count; i++) {
        const char *name = td_arena_format(&facts->strings, "%s KV slots", program->models[i].name);
        if (name == NULL)
            return td_fail_memory(facts->context);
        const tandem_plan_model *model = &sizes->models[i];
        add_part(budget,
                 (inspect_part){
                     .name = name,
                     .bytes = choice->sessions * (tandem_plan_state(sizes, i, choice->slots) +
                                                  tandem_plan_policy(sizes, i, choice->slots)),
                     .slots = tandem_plan_slots(sizes, i, choice->slots),
                     .slot_bytes = model->slot_bytes + model->policy_slot_bytes,
                 });
    }
    add_part(budget, (inspect_part){.name = "tokenizer", .bytes = plan->tokenizer});
    add_part(budget, (inspect_part){.name = "code", .bytes = plan->code});
    add_part(budget, (inspect_part){.name = "libc, buffers, stacks", .bytes = plan->overhead});
    return TD_OK;
}

td_status inspect_add_program(inspect_facts *facts, const inspect_request *request,
                              const cg_request *program, const cg_plan *plan)
{
    const size_t first = facts->graphs.count;
    for (size_t g = 0; g < program->plan->graph_count; g++)
        TD_TRY(add_planned_graph(facts, request, program, &program->plan->graphs[g]));
    TD_TRY(place_all(facts, first, program->plan));
    return add_budget(facts, program, plan);
}
