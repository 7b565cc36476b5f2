/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/sched.h"
#include "tests/failing.h"
#include "tests/frontend/small_llama.h"
#include "tests/test.h"

/* Offsets of two plans of one module: forward, commit and one extra buffer. */
static td_status plan_module(td_context *context, ir_module *module, bool keep_all,
                             sched_plan *plan)
{
    ir_graph *graphs[] = {ir_module_find_graph(module, "forward"),
                          ir_module_find_graph(module, "commit")};
    const sched_extra extra = {.name = "probabilities", .bytes = 1000};
    const sched_request request = {.graphs = graphs,
                                   .graph_count = 2,
                                   .extras = &extra,
                                   .extra_count = 1,
                                   .orderer = "auto",
                                   .keep_all = keep_all};
    return sched_plan_make(context, &request, NULL, plan);
}

/* Steps at which a value is written and last read; views are not in this graph. */
static void lifetime(const ir_graph *graph, const ir_value *value, uint32_t *first, uint32_t *last)
{
    *first = value->producer->id;
    *last = *first;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t k = 0; k < node->input_count; k++)
            if (node->inputs[k] == value)
                *last = node->id;
    for (size_t o = 0; o < graph->output_count; o++)
        if (graph->outputs[o] == value)
            *last = UINT32_MAX;
}

/* Two values may share bytes only when one dies where the other is born, in place, or earlier. */
static bool no_clobbering(const sched_graph_plan *plan)
{
    const ir_graph *graph = plan->graph;
    for (const ir_node *a = graph->first; a != NULL; a = a->next)
        for (const ir_node *b = a->next; a->output_count == 1 && b != NULL; b = b->next) {
            if (b->output_count != 1)
                continue;
            const ir_value *x = a->outputs[0], *y = b->outputs[0];
            uint32_t first_x, last_x, first_y, last_y;
            lifetime(graph, x, &first_x, &last_x);
            lifetime(graph, y, &first_y, &last_y);
            const bool overlap = plan->offset[x->id] < plan->offset[y->id] + plan->bytes[y->id] &&
                                 plan->offset[y->id] < plan->offset[x->id] + plan->bytes[x->id];
            if (overlap && last_x > first_y)
                return false;
            if (overlap && last_x == first_y && plan->offset[x->id] != plan->offset[y->id])
                return false;
        }
    return true;
}

TEST(values_that_live_together_do_not_overlap)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    sched_plan plan;
    const small_llama shape = {.layers = 3};
    CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
    CHECK(plan_module(&context, model.module, false, &plan) == TD_OK);
    CHECK(no_clobbering(&plan.graphs[0]));
    CHECK(plan.arena_bytes == plan.live_peak);
    CHECK(plan.graphs[0].peak >= plan.graphs[0].lower_bound);
    /* The extra buffer lives through the round, so nothing may overlap it. */
    for (uint32_t v = 0; v < plan.graphs[0].graph->value_count; v++) {
        const uint64_t offset = plan.graphs[0].offset[v];
        CHECK(offset == UINT64_MAX || offset >= plan.extras[0].offset + 1000 ||
              offset + plan.graphs[0].bytes[v] <= plan.extras[0].offset);
    }
    sched_plan_release(&plan);
    ir_module_release(model.module);
}

TEST(keeping_all_gives_every_value_its_own_place)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    sched_plan shared, kept;
    const small_llama shape = {.layers = 2};
    CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
    CHECK(plan_module(&context, model.module, false, &shared) == TD_OK);
    CHECK(plan_module(&context, model.module, true, &kept) == TD_OK);
    const sched_graph_plan *plan = &kept.graphs[0];
    uint64_t sum = 0;
    for (uint32_t v = 0; v < plan->graph->value_count; v++)
        sum += plan->offset[v] == UINT64_MAX ? 0 : plan->bytes[v];
    CHECK(kept.arena_bytes >= sum + 1000);
    CHECK(shared.arena_bytes < kept.arena_bytes);
    sched_plan_release(&shared);
    sched_plan_release(&kept);
    ir_module_release(model.module);
}

/* More layers need no more memory: their buffers share addresses. */
TEST(depth_costs_no_arena)
{
    td_context context;
    td_context_init(&context);
    uint64_t bytes[2];
    for (uint32_t i = 0; i < 2; i++) {
        fe_model model;
        sched_plan plan;
        const small_llama shape = {.layers = i == 0 ? 2 : 6};
        CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
        CHECK(plan_module(&context, model.module, false, &plan) == TD_OK);
        bytes[i] = plan.arena_bytes;
        sched_plan_release(&plan);
        ir_module_release(model.module);
    }
    CHECK(bytes[0] == bytes[1]);
}

TEST(an_unknown_orderer_is_refused)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    uint64_t peak, bound;
    const char *chosen;
    const small_llama shape = {.layers = 1};
    CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
    CHECK(sched_order_graph(ir_module_find_graph(model.module, "forward"), "alphabetical", NULL,
                            &peak, &bound, &chosen) == TD_USAGE);
    CHECK_STRING(
        context.message,
        "unknown orderer \"alphabetical\"; known are file, random, bfs, dfs, greedy, postorder, "
        "liu, beam, beam-backward, topoformer, local, exact, auto, and NAME:WIDTH for beams");
    ir_module_release(model.module);
}

/* The planner with the n-th allocation failing, for every n. */
TEST(running_out_of_memory_is_reported)
{
    td_context context;
    td_context_init(&context);
    fe_model model;
    const small_llama shape = {.layers = 2};
    CHECK(small_llama_build(&context, &shape, &model) == TD_OK);
    failing_allocator failing;
    const td_context working = context;
    td_status status = TD_NO_MEMORY;
    for (long n = 0; status != TD_OK; n++) {
        sched_plan plan;
        failing = (failing_allocator){.countdown = n};
        context.reallocate = fail_later;
        context.reallocate_self = &failing;
        status = plan_module(&context, model.module, false, &plan);
        context.reallocate = working.reallocate;
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
        CHECK(n < 10000);
        if (status == TD_OK)
            sched_plan_release(&plan);
    }
    ir_module_release(model.module);
}

TEST_MAIN()
