/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/layered.h"
#include "tests/failing.h"
#include "tests/sched/exhaustive.h"
#include "tests/test.h"

/* A problem from a list of nodes; edges are pairs (from, to). */
static bool make_problem(td_context *context, const uint64_t *bytes, uint32_t count,
                         const uint32_t (*edges)[2], uint32_t edge_count, sched_problem *problem)
{
    *problem = (sched_problem){.context = context, .node_count = count};
    problem->nodes = td_allocate(context, count * sizeof *problem->nodes);
    problem->inputs = td_allocate(context, (edge_count + 1) * sizeof *problem->inputs);
    if (problem->nodes == NULL || problem->inputs == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        problem->nodes[i] = (sched_node){
            .name = "n", .bytes = bytes[i], .view_of = -1, .first_input = problem->input_count};
        for (uint32_t e = 0; e < edge_count; e++)
            if (edges[e][1] == i) {
                problem->inputs[problem->input_count++] = edges[e][0];
                problem->nodes[i].input_count++;
            }
    }
    return sched_problem_finish(problem) == TD_OK;
}

TEST(replay_agrees_with_the_definition)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 1;
    for (int round = 0; round < 3000; round++) {
        sched_problem problem;
        uint32_t order[MAX_NODES];
        uint64_t peak;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 14), &problem));
        for (int i = 0; i < 3; i++) {
            random_order(&problem, &state, order);
            CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
            CHECK_MESSAGE(peak == naive_peak(&problem, order), "round %d", round);
            CHECK(peak >= sched_lower_bound(&problem));
        }
        sched_problem_release(&problem);
    }
}

TEST(orderers_give_topological_orders)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 2;
    const sched_options options = {0};
    sched_report report = {0};
    for (int round = 0; round < 500; round++) {
        sched_problem problem;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 20), &problem));
        uint64_t best = UINT64_MAX, chosen = 0;
        for (const sched_orderer *row = sched_orderers; row->name != NULL; row++) {
            uint32_t order[MAX_NODES];
            uint64_t peak;
            CHECK(row->order(&problem, &options, &report, order) == TD_OK);
            CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
            if (strcmp(row->name, "auto") == 0)
                chosen = peak;
            else if (peak < best && strcmp(row->name, "random") != 0 &&
                     strcmp(row->name, "topoformer") != 0)
                best = peak;
        }
        CHECK_MESSAGE(chosen <= best, "round %d", round);
        sched_problem_release(&problem);
    }
}

/* Two branches that each swell and shrink: one after the other needs 4 + 1, side by side 8. */
TEST(depth_first_finishes_a_branch)
{
    td_context context;
    td_context_init(&context);
    const uint64_t bytes[] = {4, 4, 1, 1, 1};
    const uint32_t edges[][2] = {{0, 2}, {1, 3}, {2, 4}, {3, 4}};
    sched_problem problem;
    uint32_t order[5];
    uint64_t peak;
    const sched_options options = {0};
    sched_report report = {0};
    CHECK(make_problem(&context, bytes, 5, edges, 4, &problem));
    CHECK(sched_find_orderer("file")->order(&problem, &options, &report, order) == TD_OK);
    CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
    CHECK(peak == 9);
    CHECK(sched_find_orderer("dfs")->order(&problem, &options, &report, order) == TD_OK);
    CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
    CHECK(peak == 6);
    CHECK(sched_find_orderer("greedy")->order(&problem, &options, &report, order) == TD_OK);
    CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
    CHECK(peak == 6);
    sched_problem_release(&problem);
}

/* Two branches that meet: what the searches claim is what exhaustive search finds. */
TEST(searches_prove_the_least_peak)
{
    td_context context;
    td_context_init(&context);
    const uint64_t bytes[] = {1, 2, 3, 2, 1, 1, 1};
    const uint32_t edges[][2] = {{0, 1}, {0, 2}, {1, 3}, {2, 4}, {3, 5}, {4, 5}, {5, 6}};
    sched_problem problem;
    uint32_t order[7];
    sched_report report;
    CHECK(make_problem(&context, bytes, 7, edges, 7, &problem));
    const uint64_t least = least_peak(&problem);
    CHECK(sched_order(&problem, "auto", NULL, order, &report) == TD_OK);
    CHECK(report.peak == least && report.lower_bound == least);
    CHECK(sched_order(&problem, "exact", NULL, order, &report) == TD_OK);
    CHECK(report.peak == least && report.lower_bound == least);
    sched_problem_release(&problem);
}

/* The graph with which XLA shows that its list scheduler is not optimal (hlo_memory_scheduler.cc):
 * A is read by B, D and E, B by C, D and E by F, C and F by G. Of 5 units no order needs less. The
 * list order leaves B to the end; with 3 units for B, which is alive beside F then, it needs 6. */
TEST(the_example_of_xla_is_solved)
{
    enum { A, B, C, D, E, F, G, COUNT };
    static const uint32_t edges[][2] = {{A, B}, {A, D}, {A, E}, {B, C},
                                        {C, G}, {D, F}, {E, F}, {F, G}};
    static const uint32_t list_order[] = {A, D, E, F, B, C, G},
                          best_order[] = {A, B, C, D, E, F, G};
    td_context context;
    td_context_init(&context);
    for (uint64_t b_units = 2; b_units <= 3; b_units++) {
        const uint64_t units[COUNT] = {1, b_units, 1, 1, 1, 2, 0};
        sched_problem problem;
        sched_report report;
        uint32_t order[COUNT];
        uint64_t peak;
        CHECK(make_problem(&context, units, COUNT, edges, TD_COUNT_OF(edges), &problem));
        CHECK(sched_evaluate(&problem, best_order, &peak) == TD_OK && peak == 5);
        CHECK(sched_evaluate(&problem, list_order, &peak) == TD_OK && peak == 3 + b_units);
        CHECK(sched_order(&problem, "greedy", NULL, order, &report) == TD_OK);
        CHECK(report.peak == 3 + b_units);
        CHECK(least_peak(&problem) == 5);
        CHECK(sched_order(&problem, "auto", NULL, order, &report) == TD_OK);
        CHECK(report.peak == 5 && report.lower_bound == 5);
        CHECK(sched_order(&problem, "exact", NULL, order, &report) == TD_OK);
        CHECK(report.peak == 5 && report.lower_bound == 5);
        sched_problem_release(&problem);
    }
}

/* Linear-time orderers on 100,000 nodes, auto within its limits, and searches that are cut short.
 */
TEST(large_graphs_are_ordered)
{
    td_context context;
    sched_layered graph;
    sched_problem problem;
    sched_report report, more;
    td_context_init(&context);
    CHECK(sched_layered_make(&context, 20000, 1, &graph) == TD_OK);
    CHECK(sched_layered_problem(&context, &graph, &problem) == TD_OK);
    uint32_t *order = malloc(20000 * sizeof *order);
    CHECK(order != NULL);
    static const char *const names[] = {"file", "bfs", "dfs", "greedy", "postorder"};
    for (size_t i = 0; i < TD_COUNT_OF(names); i++)
        CHECK(sched_order(&problem, names[i], NULL, order, &report) == TD_OK);
    const sched_options little = {.work_limit = 100000}, some = {.work_limit = 3000000};
    CHECK(sched_order(&problem, "auto", &little, order, &report) == TD_OK);
    CHECK(sched_order(&problem, "auto", &some, order, &more) == TD_OK);
    CHECK(more.peak <= report.peak);
    free(order);
    sched_problem_release(&problem);
    sched_layered_release(&context, &graph);
}

/* Each row with the n-th allocation failing, for every n, on a graph that reaches the searches. */
TEST(running_out_of_memory_is_reported)
{
    td_context context;
    failing_allocator failing = {.countdown = FAIL_NEVER};
    uint64_t state = 5;
    uint32_t order[MAX_NODES];
    sched_problem problem;
    sched_report report;
    const sched_options options = {.work_limit = 100000};
    failing_context(&context, &failing);
    do { /* a graph that quick orders alone do not solve */
        CHECK(random_problem(&context, &state, 20, &problem));
        CHECK(sched_order(&problem, "auto", &options, order, &report) == TD_OK);
        if (report.units == 0)
            sched_problem_release(&problem);
    } while (report.units == 0);
    const long held = failing.held;
    for (const sched_orderer *row = sched_orderers; row->name != NULL; row++) {
        td_status status = TD_NO_MEMORY;
        for (long n = 0; status != TD_OK; n++) {
            failing.countdown = n;
            status = sched_order(&problem, row->name, &options, order, &report);
            CHECK_MESSAGE(status == TD_OK || status == TD_NO_MEMORY, "%s, %ld", row->name, n);
            CHECK_MESSAGE(failing.held == held, "%s, allocation %ld", row->name, n);
        }
    }
    failing.countdown = FAIL_NEVER;
    sched_problem_release(&problem);
}

TEST(cycles_and_wrong_orders_are_refused)
{
    td_context context;
    td_context_init(&context);
    const uint64_t bytes[] = {1, 1, 1};
    const uint32_t cycle[][2] = {{0, 1}, {1, 2}, {2, 1}}, chain[][2] = {{0, 1}, {1, 2}};
    sched_problem problem;
    uint64_t peak;
    CHECK(!make_problem(&context, bytes, 3, cycle, 3, &problem));
    CHECK_STRING(context.message, "node \"n\" lies on or behind a cycle");
    sched_problem_release(&problem);
    CHECK(make_problem(&context, bytes, 3, chain, 2, &problem));
    CHECK(sched_evaluate(&problem, (uint32_t[]){1, 0, 2}, &peak) == TD_INVALID);
    CHECK(sched_evaluate(&problem, (uint32_t[]){0, 0, 2}, &peak) == TD_INVALID);
    CHECK(sched_evaluate(&problem, (uint32_t[]){0, 1, 3}, &peak) == TD_INVALID);
    CHECK(sched_evaluate(&problem, (uint32_t[]){0, 1, 2}, &peak) == TD_OK && peak == 2);
    sched_problem_release(&problem);
}

TEST(sizes_that_overflow_are_refused)
{
    td_context context;
    td_context_init(&context);
    const uint64_t bytes[] = {INT64_MAX, 2};
    sched_problem problem;
    CHECK(!make_problem(&context, bytes, 2, NULL, 0, &problem));
    sched_problem_release(&problem);
}

TEST_MAIN()
