/* Lower bounds: never above what exhaustive search finds, and cuts as small as trying all sets.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/bound.h"
#include "sched/cut.h"
#include "sched/layered.h"
#include "tests/sched/exhaustive.h"
#include "tests/test.h"

/* --- every closed set, from the definition of live memory --- */

static bool is_in(uint32_t set, uint32_t node)
{
    return (set >> node & 1) != 0;
}

static bool is_closed(const sched_core *core, uint32_t set)
{
    for (uint32_t node = 0; node < core->count; node++)
        if (is_in(set, node))
            sched_for_each(input, &core->inputs, node) if (!is_in(set, *input)) return false;
    return true;
}

static bool all_users_ran(const sched_core *core, uint32_t set, uint32_t group)
{
    sched_for_each(user, &core->users, group) if (!is_in(set, *user)) return false;
    return true;
}

static uint64_t live_bytes_of(const sched_core *core, uint32_t set)
{
    uint64_t live = core->base;
    for (uint32_t node = 0; node < core->count; node++)
        if (is_in(set, node)) {
            const uint32_t own = core->own[node];
            live += own != SCHED_NONE && all_users_ran(core, set, own) ? 0 : core->kept[node];
        }
    return live;
}

/* The least over all sets from which the node may run; *competing: several inputs may be taken over
 * somewhere, so that the network only bounds it. */
static uint64_t least_by_trying(const sched_core *core, uint32_t node, bool *competing)
{
    uint64_t least = UINT64_MAX;
    *competing = false;
    for (uint32_t set = 0; set < UINT32_C(1) << core->count; set++) {
        if (is_in(set, node) || !is_closed(core, set) ||
            !is_closed(core, set | UINT32_C(1) << node))
            continue;
        uint64_t need = core->bytes[node];
        for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
            const uint32_t group = core->reads.items[r];
            const uint64_t size = core->size[group];
            if (!core->takes[r] || !all_users_ran(core, set | UINT32_C(1) << node, group))
                continue;
            const uint64_t rest = core->bytes[node] > size ? core->bytes[node] - size : 0;
            need = rest < need ? rest : need;
        }
        const uint64_t during = live_bytes_of(core, set) + need + core->workspace[node];
        least = during < least ? during : least;
    }
    uint32_t takes = 0;
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++)
        takes += core->takes[r];
    *competing = takes > 1;
    return least;
}

TEST(cuts_are_the_least_live_memory)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 21;
    int exact = 0;
    for (int round = 0; round < 600; round++) {
        sched_problem problem;
        sched_core core;
        sched_network network;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 9), &problem));
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        CHECK(sched_network_make(&core, &network) == TD_OK);
        for (uint32_t node = 0; node < core.count; node++) {
            sched_effort effort = {.work = UINT64_MAX};
            uint64_t least;
            bool competing;
            const uint64_t tried = least_by_trying(&core, node, &competing);
            CHECK(sched_network_least(&network, node, &effort, &least));
            CHECK_MESSAGE(competing ? least <= tried : least == tried,
                          "round %d, node %u: %d, not %d", round, node, (int)least, (int)tried);
            exact += !competing;
        }
        sched_network_release(&network);
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
    CHECK(exact > 1000);
}

/* With workspace, persistent nodes, views and takeovers of unequal sizes. */
TEST(bounds_hold)
{
    td_context context;
    td_context_init(&context);
    uint64_t state = 22;
    int better = 0, rounds = 4000;
    for (int round = 0; round < rounds; round++) {
        sched_problem problem;
        sched_core core;
        uint32_t order[MAX_NODES], units[MAX_NODES];
        sched_effort effort = {.work = UINT64_MAX};
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 9), &problem));
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        random_order(&problem, &state, order);
        CHECK(sched_core_adopt(&core, order, units) == TD_OK);
        const uint64_t least = least_peak(&problem), step = sched_lower_bound(&problem);
        uint64_t bound = step;
        CHECK(sched_bound_by_cuts(&core, units, &effort, &bound) == TD_OK);
        CHECK_MESSAGE(bound >= step && bound <= least, "round %d: %d above %d", round, (int)bound,
                      (int)least);
        better += bound > step;
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
    CHECK(better > rounds / 10);
}

/* A training graph in small: what the backward pass reads is alive at the loss. The largest step
 * knows two activations, the cut all of them. */
TEST(activations_are_bounded)
{
    enum { LAYERS = 8, COUNT = 2 * LAYERS };
    td_context context;
    td_context_init(&context);
    sched_node nodes[COUNT];
    sched_edge edges[3 * LAYERS];
    size_t edge_count = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        nodes[i] = (sched_node){.name = "n", .bytes = i < LAYERS ? 100 : 1, .view_of = -1};
    for (uint32_t i = 1; i < COUNT; i++)
        edges[edge_count++] = (sched_edge){i - 1, i};
    for (uint32_t i = 0; i + 1 < LAYERS; i++)
        edges[edge_count++] = (sched_edge){i, COUNT - 1 - i};
    sched_problem problem;
    sched_report report;
    uint32_t order[COUNT];
    CHECK(sched_problem_from_edges(&context, nodes, COUNT, edges, edge_count, &problem) == TD_OK);
    CHECK(sched_lower_bound(&problem) < 300);
    CHECK(sched_order(&problem, "auto", NULL, order, &report) == TD_OK);
    CHECK(report.peak == 100 * LAYERS + 1 && report.lower_bound == report.peak);
    sched_problem_release(&problem);
}

TEST(layered_graphs_are_bounded_within_effort)
{
    td_context context;
    sched_layered graph;
    sched_problem problem;
    sched_core core;
    td_context_init(&context);
    CHECK(sched_layered_make(&context, 300, 5, &graph) == TD_OK);
    CHECK(sched_layered_problem(&context, &graph, &problem) == TD_OK);
    CHECK(sched_core_make(&problem, &core) == TD_OK);
    uint32_t order[300], units[300];
    sched_report report;
    CHECK(sched_order(&problem, "beam-backward", NULL, order, &report) == TD_OK);
    CHECK(sched_core_adopt(&core, order, units) == TD_OK);
    uint64_t last = 0;
    for (uint64_t work = 1000; work <= 100000000; work *= 10) {
        sched_effort effort = {.work = work};
        uint64_t bound = 0;
        CHECK(sched_bound_by_cuts(&core, units, &effort, &bound) == TD_OK);
        CHECK(bound >= last && bound <= report.peak);
        last = bound;
    }
    CHECK(last > report.peak / 10 * 9);
    sched_core_release(&core);
    sched_problem_release(&problem);
    sched_layered_release(&context, &graph);
}

TEST_MAIN()
