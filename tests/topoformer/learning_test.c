/* Decoding and training: every order is one, its peak is what the search says, training learns,
 * and does the same with any number of threads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "sched/climb.h"
#include "sched/layered.h"
#include "sched/topoformer/policy.h"
#include "sched/topoformer/rung.h"
#include "sched/topoformer/train.h"
#include "tests/sched/random_problem.h"
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

static const char *const rows[] = {"topoformer", "topoformer:sample=4", "topoformer:beam=8"};

TEST(every_order_is_topological)
{
    td_context context;
    uint64_t state = 21;
    td_context_init(&context);
    for (int round = 0; round < 300; round++) {
        sched_problem problem;
        uint32_t order[MAX_NODES];
        CHECK(random_problem(&context, &state, 1 + random_below(&state, MAX_NODES), &problem));
        for (size_t r = 0; r < TD_COUNT_OF(rows); r++) {
            sched_report report;
            bool seen[MAX_NODES] = {false};
            CHECK(sched_order(&problem, rows[r], NULL, order, &report) == TD_OK);
            CHECK(report.peak == naive_peak(&problem, order));
            for (uint32_t step = 0; step < problem.node_count; step++) {
                const sched_node *node = &problem.nodes[order[step]];
                for (uint32_t k = 0; k < node->input_count; k++)
                    CHECK(seen[problem.inputs[node->first_input + k]]);
                CHECK(!seen[order[step]]);
                seen[order[step]] = true;
            }
        }
        sched_problem_release(&problem);
    }
}

static bool layered_problem(td_context *context, uint32_t nodes, uint64_t seed,
                            sched_problem *problem)
{
    sched_layered layered;
    if (sched_layered_make(context, nodes, seed, &layered) != TD_OK)
        return false;
    const td_status status = sched_layered_problem(context, &layered, problem);
    sched_layered_release(context, &layered);
    return status == TD_OK;
}

static bool climb(const topo_graph *graph, bool learned, uint32_t *units, uint64_t *peak,
                  const char **chosen)
{
    const sched_core *core = &graph->core;
    topo_ranks ranks;
    uint32_t all[300];
    sched_effort effort = {.work = UINT64_MAX};
    sched_improved best = {core, units, UINT64_MAX, graph->floor, false};
    for (uint32_t u = 0; u < core->unit_count; u++)
        all[u] = u;
    bool done = sched_learn_ranks(graph->problem, core, core, all, &effort, &ranks) == TD_OK;
    done = done && sched_climb(&best, learned ? &ranks : NULL, 64, 1, &effort, chosen) == TD_OK;
    *peak = best.peak;
    topo_ranks_release(&ranks);
    return done;
}

/* What auto does with learned ranks, and without them. */
TEST(climbing_finds_orders_and_names_who_did)
{
    td_context context;
    td_context_init(&context);
    for (uint64_t seed = 0; seed < 4; seed++) {
        sched_problem problem;
        topo_graph graph;
        uint32_t units[300];
        CHECK(layered_problem(&context, 300, 90 + seed, &problem));
        CHECK(topo_graph_make(&problem, &graph) == TD_OK);
        uint32_t *left = calloc(graph.core.group_count + 1, sizeof *left);
        CHECK(left != NULL);
        for (int learned = 0; learned < 2; learned++) {
            const char *chosen = "nobody";
            uint64_t peak;
            CHECK(climb(&graph, learned != 0, units, &peak, &chosen));
            CHECK(strncmp(chosen, learned ? "topoformer" : "beam", 4) == 0);
            CHECK(peak == sched_core_profile(&graph.core, units, left, NULL));
        }
        free(left);
        topo_graph_release(&graph);
        sched_problem_release(&problem);
    }
}

TEST(auto_needs_no_ranks_for_small_graphs)
{
    static uint32_t order[300];
    td_context context;
    sched_problem problem;
    sched_report report;
    td_context_init(&context);
    CHECK(layered_problem(&context, 40, 1, &problem));
    CHECK(sched_order(&problem, "auto", NULL, order, &report) == TD_OK);
    CHECK(report.peak == report.lower_bound && strcmp(report.chosen, "topoformer") != 0);
    sched_problem_release(&problem);
    const sched_options without = {.work_limit = 20000000, .unlearned = true};
    CHECK(layered_problem(&context, 300, 1, &problem));
    CHECK(sched_order(&problem, "auto", &without, order, &report) == TD_OK);
    CHECK(strcmp(report.chosen, "topoformer") != 0);
    sched_problem_release(&problem);
}

/* A ladder's order is one, with the peak that it says, and no worse than any of its rungs alone
 * that is as wide as the first; where nothing is below what is known, that stays. */
TEST(ladders_climb)
{
    td_context context;
    td_context_init(&context);
    for (uint64_t seed = 0; seed < 8; seed++) {
        sched_problem problem;
        topo_graph graph;
        topo_ranks ranks;
        uint32_t units[300], first[300];
        sched_effort effort = {.work = UINT64_MAX};
        bool found;
        CHECK(layered_problem(&context, 300, 70 + seed, &problem));
        CHECK(topo_graph_make(&problem, &graph) == TD_OK);
        CHECK(topo_rank_trained(&graph, &ranks) == TD_OK);
        uint32_t *left = calloc(graph.core.group_count + 1, sizeof *left);
        CHECK(left != NULL);
        topo_rung rung = {
            .ranks = seed % 2 == 0 ? &ranks : NULL, .backward = seed % 4 < 2, .width = 2};
        sched_improved narrow = {&graph.core, first, UINT64_MAX, graph.floor, false};
        CHECK(topo_rung_run(&narrow, &rung, &effort, &found) == TD_OK && found);
        rung.width = 32;
        sched_improved best = {&graph.core, units, UINT64_MAX, graph.floor, false};
        CHECK(topo_ladder_run(&best, &rung, &effort) == TD_OK);
        CHECK(best.peak <= narrow.peak && best.peak >= graph.floor);
        CHECK(best.peak == sched_core_profile(&graph.core, units, left, NULL));
        sched_improved known = {&graph.core, first, graph.floor, graph.floor, false};
        CHECK(topo_ladder_run(&known, &rung, &effort) == TD_OK && known.peak == graph.floor);
        free(left);
        topo_ranks_release(&ranks);
        topo_graph_release(&graph);
        sched_problem_release(&problem);
    }
}

/* Drawing ends with the time, and where nothing can be better. */
TEST(samples_are_bounded)
{
    static uint32_t order[500];
    td_context context;
    sched_problem problem;
    sched_report report;
    td_context_init(&context);
    const sched_options options = {.time_limit = 0.05};
    CHECK(layered_problem(&context, 500, 3, &problem));
    const double start = td_seconds();
    CHECK(sched_order(&problem, "topoformer:sample=100000", &options, order, &report) == TD_OK);
    CHECK(td_seconds() - start < 5);
    sched_problem_release(&problem);
    CHECK(layered_problem(&context, 4, 3, &problem));
    CHECK(sched_order(&problem, "topoformer:sample=100000", NULL, order, &report) == TD_OK);
    CHECK(td_seconds() - start < 5);
    sched_problem_release(&problem);
}

static uint64_t peak_of(const sched_problem *problem, const char *row)
{
    static uint32_t order[100000];
    sched_report report;
    return sched_order(problem, row, NULL, order, &report) == TD_OK ? report.peak : 0;
}

/* With the ranks alone: no quick order helps. */
static bool learned_peak(const sched_problem *problem, const topo_model *model, bool backward,
                         uint64_t *peak)
{
    topo_graph graph;
    topo_ranks ranks;
    uint32_t units[1000];
    if (topo_graph_make(problem, &graph) != TD_OK)
        return false;
    const bool ranked = topo_rank(model, &graph, &ranks) == TD_OK;
    const topo_policy policy = {.graph = &graph, .ranks = &ranks, .backward = backward};
    const bool drawn = ranked && topo_policy_draw(&policy, NULL, units, peak) == TD_OK;
    topo_ranks_release(&ranks);
    topo_graph_release(&graph);
    return drawn;
}

TEST(drawn_peaks_are_those_of_the_order)
{
    td_context context;
    td_context_init(&context);
    for (uint64_t seed = 0; seed < 6; seed++) {
        sched_problem problem;
        topo_graph graph;
        topo_ranks ranks;
        uint32_t units[200];
        float outputs[200 * TOPO_OUTPUTS];
        uint64_t state = seed, peak;
        CHECK(layered_problem(&context, 120, 40 + seed, &problem));
        CHECK(topo_graph_make(&problem, &graph) == TD_OK);
        for (size_t i = 0; i < TD_COUNT_OF(outputs); i++)
            outputs[i] = (float)(td_random_next(&state) >> 11) * 0x1p-53f - 0.5f;
        CHECK(topo_ranks_of(&graph, outputs, &ranks) == TD_OK);
        uint32_t *left = calloc(graph.core.group_count + 1, sizeof *left);
        CHECK(left != NULL);
        for (int back = 0; back < 2; back++) {
            const topo_policy policy = {&graph, &ranks, back != 0, 0.3, seed};
            CHECK(topo_policy_draw(&policy, NULL, units, &peak) == TD_OK);
            CHECK(peak == sched_core_profile(&graph.core, units, left, NULL));
        }
        free(left);
        topo_ranks_release(&ranks);
        topo_graph_release(&graph);
        sched_problem_release(&problem);
    }
}

TEST(embedded_parameters_beat_the_linear_time_orders)
{
    static const char *const linear[] = {"greedy", "dfs", "postorder"};
    td_context context;
    double best = 0, learned = 0, beam = 0, plain = 0;
    td_context_init(&context);
    for (uint64_t seed = 0; seed < 3; seed++) {
        sched_problem problem;
        CHECK(layered_problem(&context, 500, 810 + seed, &problem));
        uint64_t least = UINT64_MAX;
        for (size_t r = 0; r < TD_COUNT_OF(linear); r++) {
            const uint64_t own = peak_of(&problem, linear[r]);
            least = own < least ? own : least;
        }
        best += log((double)least);
        learned += log((double)peak_of(&problem, "topoformer"));
        beam += log((double)peak_of(&problem, "topoformer:beam=16"));
        plain += log((double)peak_of(&problem, "beam:64"));
        sched_problem_release(&problem);
    }
    CHECK(learned < best);
    CHECK(beam < plain);
}

static const uint32_t widths[] = {4};

static topo_training small_training(FILE *log)
{
    return (topo_training){.shape = {16, 32, 1},
                           .seed = 3,
                           .steps = 30,
                           .batch = 8,
                           .threads = 1,
                           .least_nodes = 40,
                           .most_nodes = 80,
                           .widths = widths,
                           .width_count = 1,
                           .factor = 4,
                           .rate = 3e-3,
                           .decay = 0.01,
                           .policy_share = 0.75,
                           .samples = 12,
                           .temperature = 0.3,
                           .validate_every = 100,
                           .validation_count = 1,
                           .validation_nodes = 60,
                           .log = log};
}

TEST(training_improves_and_threads_do_not_matter)
{
    td_context context;
    topo_model one, two, fresh;
    td_context_init(&context);
    FILE *log = fopen("/dev/null", "w");
    CHECK(log != NULL);
    topo_training training = small_training(log);
    CHECK(topo_train(&context, &training, &one) == TD_OK);
    training.threads = 3;
    CHECK(topo_train(&context, &training, &two) == TD_OK);
    CHECK(memcmp(one.parameters, two.parameters, one.layout.count * sizeof(float)) == 0);
    CHECK(topo_model_make(&context, &training.shape, 3, &fresh) == TD_OK);
    double before = 0, after = 0;
    for (uint64_t seed = 0; seed < 24; seed++) {
        sched_problem problem;
        uint64_t peak;
        CHECK(layered_problem(&context, 80, 5000 + seed, &problem));
        CHECK(learned_peak(&problem, &fresh, false, &peak));
        before += log2((double)peak);
        CHECK(learned_peak(&problem, &one, false, &peak));
        after += log2((double)peak);
        sched_problem_release(&problem);
    }
    CHECK_MESSAGE(after < before, "%g after, %g before", after, before);
    topo_model_release(&context, &one);
    topo_model_release(&context, &two);
    topo_model_release(&context, &fresh);
    fclose(log);
}

TEST(a_checkpoint_goes_on_where_it_stopped)
{
    td_context context;
    topo_model whole, parts;
    char path[] = "/tmp/topoformer-checkpoint-XXXXXX";
    td_context_init(&context);
    const int descriptor = mkstemp(path);
    CHECK(descriptor >= 0);
    close(descriptor);
    unlink(path);
    FILE *log = fopen("/dev/null", "w");
    CHECK(log != NULL);
    topo_training training = small_training(log);
    training.steps = 8;
    CHECK(topo_train(&context, &training, &whole) == TD_OK);
    training.checkpoint = path;
    training.until = 4;
    CHECK(topo_train(&context, &training, &parts) == TD_OK);
    topo_model_release(&context, &parts);
    training.until = 0;
    CHECK(topo_train(&context, &training, &parts) == TD_OK);
    CHECK(memcmp(whole.parameters, parts.parameters, whole.layout.count * sizeof(float)) == 0);
    unlink(path);
    topo_model_release(&context, &whole);
    topo_model_release(&context, &parts);
    fclose(log);
}

TEST(parameters_survive_a_file_and_damage_is_refused)
{
    td_context context;
    topo_model model, read;
    const topo_shape shape = {16, 32, 1};
    char path[] = "/tmp/topoformer-parameters-XXXXXX";
    td_context_init(&context);
    const int descriptor = mkstemp(path);
    CHECK(descriptor >= 0);
    close(descriptor);
    CHECK(topo_model_make(&context, &shape, 1, &model) == TD_OK);
    CHECK(topo_model_write(&context, path, &model) == TD_OK);
    CHECK(topo_model_read(&context, path, &read) == TD_OK);
    for (size_t i = 0; i < model.layout.count; i++)
        CHECK(fabsf(model.parameters[i] - read.parameters[i]) <=
              fabsf(model.parameters[i]) / 2048 + 6e-8f);
    unlink(path);
    unsigned char damaged[64] = "TOPO\1\0\0\0\20\0\0\0\40\0\0\0\1\0\0\0";
    CHECK(topo_model_parse(&context, "x", damaged, sizeof damaged, &read) == TD_INVALID);
    CHECK(topo_model_parse(&context, "x", damaged, 3, &read) == TD_INVALID);
    damaged[8] = 255;
    CHECK(topo_model_parse(&context, "x", damaged, sizeof damaged, &read) == TD_INVALID);
    topo_model_release(&context, &model);
    topo_model_release(&context, &read);
    CHECK(topo_model_read(&context, "/nowhere/parameters.bin", &read) == TD_IO);
}

TEST_MAIN()
