/* Proofs against exhaustive search: whatever claims to know the least peak knows it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/core.h"
#include "sched/reduce.h"
#include "sched/search.h"
#include "tests/sched/exhaustive.h"
#include "tests/test.h"

/* Sizes so that outputs that may be taken over are as large as what takes them: then the core must
 * agree with the replay for every order. */
static void make_sizes_equal(sched_problem *problem)
{
    for (uint32_t i = 0; i < problem->node_count; i++) {
        sched_node *node = &problem->nodes[i];
        for (uint32_t k = 0; k < node->in_place; k++) {
            uint32_t root = problem->inputs[node->first_input + k];
            while (problem->nodes[root].view_of >= 0)
                root = (uint32_t)problem->nodes[root].view_of;
            if (problem->nodes[root].bytes != node->bytes)
                node->in_place = k;
        }
    }
}

TEST(core_agrees_with_the_replay)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 11;
    for (int round = 0; round < 2000; round++) {
        sched_problem problem;
        sched_core core;
        uint32_t order[MAX_NODES], units[MAX_NODES], left[MAX_NODES];
        uint64_t peak;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 14), &problem));
        if (round % 2 == 0)
            make_sizes_equal(&problem);
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        for (int i = 0; i < 3; i++) {
            random_order(&problem, &state, order);
            CHECK(sched_evaluate(&problem, order, &peak) == TD_OK);
            CHECK(sched_core_adopt(&core, order, units) == TD_OK);
            const uint64_t modelled = sched_core_profile(&core, units, left, NULL);
            CHECK_MESSAGE(core.exact ? modelled == peak : modelled <= peak, "round %d", round);
        }
        CHECK(round % 2 != 0 || core.exact);
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
}

/* Unlimited width, either direction, with and without reductions: the least peak. */
TEST(complete_searches_find_the_least_peak)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 12;
    for (int round = 0; round < 4000; round++) {
        sched_problem problem;
        sched_core core;
        uint32_t units[MAX_NODES];
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 9), &problem));
        make_sizes_equal(&problem);
        const uint64_t least = least_peak(&problem);
        CHECK_MESSAGE(sched_lower_bound(&problem) <= least, "round %d", round);
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        for (int way = 0; way < 4; way++) {
            if (way == 2)
                CHECK(sched_reduce(&core) == TD_OK);
            sched_effort effort = {.work = UINT64_MAX};
            sched_outcome outcome;
            sched_search search = {.backward = way % 2 == 1, .width = 1 << 16, .bound = UINT64_MAX};
            CHECK(sched_search_run(&core, &search, &effort, units, &outcome) == TD_OK);
            CHECK_MESSAGE(outcome.found && outcome.complete && outcome.peak == least,
                          "round %d, way %d: %d, not %d", round, way, (int)outcome.peak,
                          (int)least);
            search.bound = search.floor = least;
            CHECK(sched_search_run(&core, &search, &effort, units, &outcome) == TD_OK);
            CHECK_MESSAGE(outcome.found, "round %d, way %d", round, way);
            if (least > 0) {
                search.bound = search.floor = least - 1;
                CHECK(sched_search_run(&core, &search, &effort, units, &outcome) == TD_OK);
                CHECK_MESSAGE(!outcome.found && outcome.complete, "round %d, way %d", round, way);
            }
            /* A search that may drop nothing knows all or says nothing. */
            search = (sched_search){.backward = way % 2 == 1,
                                    .width = 1 + random_below(&state, 8),
                                    .all_or_none = true,
                                    .bound = UINT64_MAX};
            CHECK(sched_search_run(&core, &search, &effort, units, &outcome) == TD_OK);
            CHECK_MESSAGE(outcome.found == outcome.complete &&
                              (!outcome.found || outcome.peak == least),
                          "round %d, way %d", round, way);
        }
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
}

/* Workspace, persistent, views and takeovers of unequal sizes: a claim may be missing, never wrong.
 */
TEST(claimed_bounds_hold)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 13;
    int proved = 0, rounds = 3000;
    for (int round = 0; round < rounds; round++) {
        sched_problem problem;
        uint32_t order[MAX_NODES];
        sched_report report;
        const sched_options options = {.work_limit = 1000000};
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 9), &problem));
        const uint64_t least = least_peak(&problem);
        for (const sched_orderer *row = sched_orderers; row->name != NULL; row++) {
            CHECK(sched_order(&problem, row->name, &options, order, &report) == TD_OK);
            CHECK_MESSAGE(report.lower_bound <= least && report.peak >= least,
                          "round %d, %s: bound %d, least %d, peak %d", round, row->name,
                          (int)report.lower_bound, (int)least, (int)report.peak);
        }
        proved += report.peak == report.lower_bound; /* of the last row, auto */
        sched_problem_release(&problem);
    }
    CHECK_MESSAGE(proved > rounds * 9 / 10, "only %d of %d proved", proved, rounds);
}

/* Trees and forests whose nodes are all read at most once, with workspace, persistent nodes
 * and takeovers of equal sizes: liu needs no search. */
TEST(liu_finds_the_least_peak_of_trees)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 14;
    for (int round = 0; round < 3000; round++) {
        const uint32_t count = 1 + random_below(&state, 9);
        sched_problem problem;
        sched_report report;
        uint32_t order[MAX_NODES];
        sched_node nodes[MAX_NODES];
        sched_edge edges[MAX_NODES];
        size_t edge_count = 0;
        const bool forest = round % 4 == 0;
        for (uint32_t i = 0; i < count; i++) {
            nodes[i] =
                (sched_node){.name = "n", .bytes = 1 + random_below(&state, 9), .view_of = -1};
            nodes[i].workspace = random_below(&state, 4) == 0 ? random_below(&state, 5) : 0;
            nodes[i].persistent = random_below(&state, 8) == 0;
            nodes[i].in_place = random_below(&state, 4) == 0;
            if (i + 1 < count && !(forest && random_below(&state, 4) == 0))
                edges[edge_count++] = (sched_edge){i, i + 1 + random_below(&state, count - i - 1)};
        }
        CHECK(sched_problem_from_edges(&context, nodes, count, edges, edge_count, &problem) ==
              TD_OK);
        make_sizes_equal(&problem);
        CHECK(sched_order(&problem, "liu", NULL, order, &report) == TD_OK);
        CHECK_MESSAGE(report.peak == least_peak(&problem), "round %d: %d, not %d", round,
                      (int)report.peak, (int)least_peak(&problem));
        sched_problem_release(&problem);
    }
}

TEST_MAIN()
