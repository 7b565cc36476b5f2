/* The seven views against their definition.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/views.h"

#include "tests/sched/random_problem.h"
#include "tests/test.h"

/* reach[i][j]: a way of at least `least` edges leads from i to j; 1 or 2. */
static bool reaches(const sched_core *core, uint32_t from, uint32_t to, int least)
{
    sched_for_each(next, &core->after, from)
    {
        if (*next == to && least <= 1)
            return true;
        if (*next != to && reaches(core, *next, to, 1))
            return true;
    }
    return false;
}

static bool is_edge(const sched_core *core, uint32_t from, uint32_t to)
{
    sched_for_each(next, &core->after, from) if (*next == to) return true;
    return false;
}

static topo_view expected_view(const sched_core *core, uint32_t from, uint32_t to)
{
    for (int back = 0; back < 2; back++) {
        const uint32_t a = back ? to : from, b = back ? from : to;
        if (is_edge(core, a, b))
            return (reaches(core, a, b, 2) ? TOPO_EDGES : TOPO_REDUCTION) + back;
        if (reaches(core, a, b, 1))
            return TOPO_CLOSURE + back;
    }
    return TOPO_INCOMPARABLE;
}

TEST(each_pair_lies_in_its_view_alone)
{
    td_context context;
    uint64_t state = 11;
    td_context_init(&context);
    for (int round = 0; round < 200; round++) {
        sched_problem problem;
        sched_core core;
        topo_views views;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 14), &problem));
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        CHECK(topo_views_make(&core, &views) == TD_OK);
        for (uint32_t i = 0; i < core.unit_count; i++)
            for (uint32_t j = 0; j < core.unit_count; j++)
                for (int view = 0; view < TOPO_VIEWS; view++)
                    CHECK(topo_in_view(&views, view, i, j) ==
                          (i != j && expected_view(&core, i, j) == (topo_view)view));
        topo_views_release(&views);
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
}

TEST(bits_beyond_the_last_unit_are_clear)
{
    td_context context;
    td_context_init(&context);
    for (uint32_t count = 62; count < 67; count++) {
        sched_node nodes[67];
        sched_problem problem;
        sched_core core;
        topo_views views;
        for (uint32_t i = 0; i < count; i++)
            nodes[i] = (sched_node){.name = "n", .bytes = 1, .view_of = -1};
        CHECK(sched_problem_from_edges(&context, nodes, count, NULL, 0, &problem) == TD_OK);
        CHECK(sched_core_make(&problem, &core) == TD_OK);
        CHECK(topo_views_make(&core, &views) == TD_OK);
        uint32_t set = 0;
        for (size_t w = 0; w < count * views.words; w++)
            set += (uint32_t)__builtin_popcountll(views.rows[TOPO_INCOMPARABLE][w]);
        CHECK(set == count * (count - 1));
        topo_views_release(&views);
        sched_core_release(&core);
        sched_problem_release(&problem);
    }
}

TEST(too_many_units_are_refused)
{
    td_context context;
    td_context_init(&context);
    sched_core core = {.context = &context, .unit_count = TOPO_MOST_UNITS + 1};
    topo_views views;
    CHECK(topo_views_make(&core, &views) == TD_UNSUPPORTED);
}

TEST_MAIN()
