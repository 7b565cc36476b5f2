/* What all good orders have in common, against exhaustive search: at the least peak nothing is
 * ruled out that an order needs, below it nothing is found.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/fix.h"
#include "sched/layered.h"
#include "sched/prove.h"
#include "sched/reduce.h"
#include "sched/search.h"
#include "tests/sched/exhaustive.h"
#include "tests/test.h"

/* A core that agrees with the replay for every order, reduced in every other round. */
static bool make_core(td_context *context, uint64_t *state, int round, sched_problem *problem,
                      sched_core *core)
{
    if (!random_problem(context, state, 1 + random_below(state, 9), problem))
        return false;
    for (uint32_t i = 0; i < problem->node_count; i++)
        problem->nodes[i].in_place = 0;
    return sched_core_make(problem, core) == TD_OK &&
           (round % 2 == 0 || sched_reduce(core) == TD_OK);
}

TEST(precedence_keeps_the_best_orders)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 31;
    uint32_t pairs = 0, impossible = 0;
    for (int round = 0; round < 3000; round++) {
        sched_problem problem;
        sched_core core;
        sched_effort effort = {.work = UINT64_MAX};
        sched_fixed fixed;
        sched_outcome outcome;
        uint32_t units[MAX_NODES];
        CHECK(make_core(&context, &state, round, &problem, &core));
        const uint64_t least = least_peak(&problem);
        const bool below = round % 3 == 0 && least > 0;
        const uint64_t peak = below ? least - 1 : least;
        CHECK(sched_fix(&core, peak, &effort, &fixed) == TD_OK);
        CHECK_MESSAGE(below || !fixed.impossible, "round %d", round);
        if (!fixed.impossible) {
            const sched_search search = {.width = 1 << 16, .bound = peak, .floor = peak};
            CHECK(sched_search_run(&core, &search, &effort, units, &outcome) == TD_OK);
            CHECK_MESSAGE(outcome.complete && outcome.found == !below, "round %d", round);
        }
        pairs += fixed.pairs;
        impossible += fixed.impossible;
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
    CHECK(pairs > 1000 && impossible > 500);
}

/* From any order, narrow searches and cuts alone reach the least peak and know it. */
TEST(proofs_are_right)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 32;
    for (int round = 0; round < 2000; round++) {
        sched_problem problem;
        sched_core core;
        sched_proof proof = {0};
        sched_effort effort = {.work = UINT64_MAX};
        uint32_t order[MAX_NODES], units[MAX_NODES], left[MAX_NODES];
        CHECK(make_core(&context, &state, round, &problem, &core));
        random_order(&problem, &state, order);
        CHECK(sched_core_adopt(&core, order, units) == TD_OK);
        sched_improved improved = {.core = &core, .units = units};
        improved.peak = sched_core_profile(&core, units, left, NULL);
        for (uint32_t width = 1; improved.bound < improved.peak && width <= 4096; width *= 4) {
            const sched_attempt attempt = {
                .width = width, .most = 1 + random_below(&state, 64), .steps = UINT64_MAX};
            CHECK(sched_prove(&proof, &improved, &attempt, &effort) == TD_OK);
        }
        const uint64_t least = least_peak(&problem);
        CHECK_MESSAGE(improved.peak == least && improved.bound == least,
                      "round %d: peak %d, bound %d, least %d", round, (int)improved.peak,
                      (int)improved.bound, (int)least);
        CHECK(sched_core_profile(&core, units, left, NULL) == least);
        sched_proof_release(&proof);
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
}

/* Layered graphs that beams alone order but do not prove; the larger one needs a search that keeps
 * every set. */
TEST(layered_graphs_are_proved)
{
    static const struct {
        uint32_t nodes;
        uint64_t seed;
    } graphs[] = {{200, 3}, {500, 5}};
    td_context context;
    uint32_t order[500];
    const sched_options options = {.work_limit = 1000000000};
    td_context_init(&context);
    for (size_t g = 0; g < TD_COUNT_OF(graphs); g++) {
        sched_layered graph;
        sched_problem problem;
        sched_report report;
        CHECK(sched_layered_make(&context, graphs[g].nodes, graphs[g].seed, &graph) == TD_OK);
        CHECK(sched_layered_problem(&context, &graph, &problem) == TD_OK);
        CHECK(sched_order(&problem, "auto", &options, order, &report) == TD_OK);
        CHECK_MESSAGE(report.lower_bound == report.peak, "%g of %g", (double)report.lower_bound,
                      (double)report.peak);
        sched_problem_release(&problem);
        sched_layered_release(&context, &graph);
    }
}

TEST_MAIN()
