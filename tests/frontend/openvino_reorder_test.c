/* An OpenVINO IR in another order: what is read back is the same graph in that order.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "frontend/frontend.h"
#include "sched/sched.h"
#include "tests/test.h"

#include <unistd.h>

#define MOST_NODES 256

/* The forward graph of a model without its weights. */
static td_status read_forward(td_context *context, const char *path, fe_model *model,
                              sched_problem *problem)
{
    const fe_options import = {.random_weights = true, .listing = true};
    TD_TRY(fe_import_openvino(context, path, &import, model));
    return sched_problem_from_graph(model->module->graphs.items[0], problem);
}

static int compare_bytes(const void *a, const void *b)
{
    return *(const unsigned char *)a - *(const unsigned char *)b;
}

static bool same_bytes_sorted(td_context *context, const char *left, const char *right)
{
    td_file a, b;
    if (td_file_map(context, left, &a) != TD_OK || td_file_map(context, right, &b) != TD_OK)
        return false;
    unsigned char *x = malloc(a.size), *y = malloc(b.size);
    bool same = a.size == b.size && x != NULL && y != NULL;
    if (same) {
        memcpy(x, a.data, a.size);
        memcpy(y, b.data, b.size);
        qsort(x, a.size, 1, compare_bytes);
        qsort(y, b.size, 1, compare_bytes);
        same = memcmp(x, y, a.size) == 0;
    }
    free(x);
    free(y);
    td_file_unmap(context, &a);
    td_file_unmap(context, &b);
    return same;
}

static uint32_t find_name(const sched_problem *problem, const char *name)
{
    uint32_t node = 0;
    while (node < problem->node_count && strcmp(problem->nodes[node].name, name) != 0)
        node++;
    return node;
}

TEST(layers_come_back_in_the_new_order)
{
    td_context context;
    fe_model model, again;
    sched_problem problem, reread;
    static uint32_t order[MOST_NODES], old_place[MOST_NODES];
    static const char *names[MOST_NODES];
    char folder[] = "/tmp/tandem-reorder-XXXXXX", path[64], bin[64];
    td_context_init(&context);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/new.xml", folder);
    snprintf(bin, sizeof bin, "%s/new.bin", folder);
    CHECK(symlink(TEST_SOURCE_FOLDER "/graphs/target.bin", bin) == 0);
    CHECK(read_forward(&context, TEST_SOURCE_FOLDER "/graphs/target.xml", &model, &problem) ==
          TD_OK);
    CHECK(problem.node_count > 20 && problem.node_count < MOST_NODES);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const sched_options options = {.seed = seed};
        sched_report report;
        uint64_t peak;
        CHECK(sched_order(&problem, "random", &options, order, &report) == TD_OK);
        for (uint32_t i = 0; i < problem.node_count; i++)
            names[i] = problem.nodes[order[i]].name;
        CHECK(fe_reorder_openvino(&context, TEST_SOURCE_FOLDER "/graphs/target.xml", names,
                                  problem.node_count, path) == TD_OK);
        CHECK(same_bytes_sorted(&context, TEST_SOURCE_FOLDER "/graphs/target.xml", path));
        CHECK(read_forward(&context, path, &again, &reread) == TD_OK);
        CHECK(reread.node_count == problem.node_count);
        /* Every node is there, reads what it read, and is as large as it was. */
        for (uint32_t i = 0; i < reread.node_count; i++) {
            const sched_node *now = &reread.nodes[i];
            const uint32_t old = find_name(&problem, now->name);
            CHECK_MESSAGE(old < problem.node_count, "%s is new", now->name);
            old_place[i] = old;
            CHECK(problem.nodes[old].bytes == now->bytes);
            CHECK(problem.nodes[old].input_count == now->input_count);
            for (uint32_t k = 0; k < now->input_count; k++)
                CHECK(old_place[reread.inputs[now->first_input + k]] ==
                      problem.inputs[problem.nodes[old].first_input + k]);
        }
        CHECK(sched_order(&reread, "file", NULL, order, &report) == TD_OK);
        CHECK(sched_evaluate(&problem, old_place, &peak) == TD_OK);
        CHECK(peak == report.peak);
        sched_problem_release(&reread);
        ir_module_release(again.module);
    }
    CHECK(unlink(path) == 0 && unlink(bin) == 0 && rmdir(folder) == 0);
    sched_problem_release(&problem);
    ir_module_release(model.module);
}

TEST(what_is_no_model_is_refused)
{
    td_context context;
    td_context_init(&context);
    CHECK(fe_reorder_openvino(&context, TEST_SOURCE_FOLDER "/graphs/tokenizer.json", NULL, 0,
                              "/tmp/tandem-never.xml") != TD_OK);
    CHECK(!td_path_exists("/tmp/tandem-never.xml"));
    CHECK(fe_reorder_openvino(&context, "/nowhere.xml", NULL, 0, "/tmp/tandem-never.xml") != TD_OK);
}

TEST_MAIN()
