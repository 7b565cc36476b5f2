/* The textbook orderers that the bench compares with (tests/bench/ordering/), and bounds and proofs
 * against them: an implementation of its own on graphs that are too large for exhaustive search.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/layered.h"
#include "tests/bench/ordering/textbook.h"
#include "tests/failing.h"
#include "tests/sched/exhaustive.h"
#include "tests/test.h"

/* The least peak of all textbook orders; 0: one of them is no order. */
static uint64_t best_of_textbook(const sched_problem *problem, uint32_t width)
{
    uint64_t best = UINT64_MAX, peak;
    uint32_t *order = malloc((problem->node_count + (size_t)1) * sizeof *order);
    for (const textbook_orderer *row = textbook_orderers; order != NULL && row->name != NULL; row++)
        if (row->order(problem, row, width, order) != TD_OK ||
            sched_evaluate(problem, order, &peak) != TD_OK)
            best = 0;
        else
            best = peak < best ? peak : best;
    free(order);
    return order == NULL ? 0 : best;
}

/* With room for every set a beam is exact dynamic programming, where nothing shares a buffer. */
TEST(wide_textbook_beams_are_exact)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 21;
    for (int round = 0; round < 300; round++) {
        sched_problem problem;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 9), &problem));
        for (uint32_t i = 0; i < problem.node_count; i++) {
            problem.nodes[i].view_of = -1;
            problem.nodes[i].in_place = 0;
        }
        const uint64_t least = least_peak(&problem);
        for (const textbook_orderer *row = textbook_orderers; row->name != NULL; row++) {
            uint32_t order[MAX_NODES];
            uint64_t peak;
            CHECK(row->order(&problem, row, 2000, order) == TD_OK);
            CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
            CHECK_MESSAGE(row->order == textbook_beam ? peak == least : peak >= least,
                          "round %d, %s", round, row->name);
        }
        sched_problem_release(&problem);
    }
}

/* As published: list order 6, where 5 are enough (order_test.c has the graph in words). */
TEST(the_list_scheduler_misses_the_optimum_of_its_example)
{
    static const uint64_t units[] = {1, 3, 1, 1, 1, 2, 0};
    static const sched_edge edges[] = {{0, 1}, {0, 3}, {0, 4}, {1, 2},
                                       {2, 6}, {3, 5}, {4, 5}, {5, 6}};
    td_context context;
    sched_node nodes[TD_COUNT_OF(units)];
    sched_problem problem;
    uint32_t order[TD_COUNT_OF(units)], width;
    uint64_t peak;
    td_context_init(&context);
    for (size_t i = 0; i < TD_COUNT_OF(units); i++)
        nodes[i] = (sched_node){.name = "n", .bytes = units[i], .view_of = -1};
    CHECK(sched_problem_from_edges(&context, nodes, TD_COUNT_OF(units), edges, TD_COUNT_OF(edges),
                                   &problem) == TD_OK);
    const textbook_orderer *list = textbook_find("greedy", &width),
                           *beam = textbook_find("beam:100", &width);
    CHECK(list != NULL && beam != NULL && width == 100 && textbook_find("bea", &width) == NULL);
    CHECK(list->order(&problem, list, 1, order) == TD_OK);
    CHECK(sched_evaluate(&problem, order, &peak) == TD_OK && peak == 6);
    CHECK(beam->order(&problem, beam, width, order) == TD_OK);
    CHECK(sched_evaluate(&problem, order, &peak) == TD_OK && peak == 5);
    sched_problem_release(&problem);
}

/* No peak is below what auto calls a bound, with views, takeovers and workspace. */
TEST(no_textbook_order_is_below_a_bound)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 22;
    const sched_options little = {.work_limit = 1000000};
    for (int round = 0; round < 400; round++) {
        sched_problem problem;
        sched_report report;
        uint32_t order[MAX_NODES];
        CHECK(random_problem(&context, &state, 10 + random_below(&state, 14), &problem));
        CHECK(sched_order(&problem, "auto", &little, order, &report) == TD_OK);
        CHECK_MESSAGE(best_of_textbook(&problem, 100) >= report.lower_bound, "round %d", round);
        sched_problem_release(&problem);
    }
}

/* Nor on layered graphs, where auto is no worse than any of them. */
TEST(auto_is_no_worse_on_layered_graphs)
{
    td_context context;
    td_context_init(&context);
    const sched_options some = {.work_limit = 30000000};
    for (uint64_t seed = 1; seed <= 6; seed++) {
        sched_layered graph;
        sched_problem problem;
        sched_report report;
        uint32_t order[200];
        CHECK(sched_layered_make(&context, 200, seed, &graph) == TD_OK);
        CHECK(sched_layered_problem(&context, &graph, &problem) == TD_OK);
        CHECK(sched_order(&problem, "auto", &some, order, &report) == TD_OK);
        const uint64_t textbook = best_of_textbook(&problem, 64);
        CHECK_MESSAGE(textbook >= report.lower_bound && textbook >= report.peak, "seed %d",
                      (int)seed);
        sched_problem_release(&problem);
        sched_layered_release(&context, &graph);
    }
}

/* Each row with the n-th allocation failing, for every n. */
TEST(running_out_of_memory_is_reported)
{
    td_context context;
    failing_allocator failing = {.countdown = FAIL_NEVER};
    uint64_t state = 23;
    sched_problem problem;
    uint32_t order[MAX_NODES];
    failing_context(&context, &failing);
    CHECK(random_problem(&context, &state, 12, &problem));
    const long held = failing.held;
    for (const textbook_orderer *row = textbook_orderers; row->name != NULL; row++) {
        td_status status = TD_NO_MEMORY;
        for (long n = 0; status != TD_OK; n++) {
            failing.countdown = n;
            status = row->order(&problem, row, 4, order);
            CHECK(status == TD_OK || status == TD_NO_MEMORY);
            CHECK_MESSAGE(failing.held == held, "%s, allocation %ld", row->name, n);
        }
        failing.countdown = FAIL_NEVER;
    }
    sched_problem_release(&problem);
}

TEST_MAIN()
