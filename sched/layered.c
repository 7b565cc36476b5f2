/* Layered random graphs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/layered.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EDGE_DENSITY 0.2
#define SKIP_SHARE   0.14
#define SPREAD       0.75
#define MIB          1048576.0

typedef struct generator {
    td_context *context;
    uint64_t state;
    uint32_t *layer_first; /* layers + 1 of them */
    uint32_t layer_count;
    TD_ARRAY(sched_edge) edges;
} generator;

/* Uniform in [0, 1). */
static double uniform(generator *g)
{
    return (double)(td_random_next(&g->state) >> 11) * 0x1p-53;
}

static uint32_t uniform_integer(generator *g, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(uniform(g) * (double)(high - low + 1));
}

/* A standard Gaussian (sum of twelve uniforms), so that no machine's logarithm matters. */
static double gaussian(generator *g)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += uniform(g);
    return sum;
}

static td_status make_layers(generator *g, uint32_t count)
{
    const double width = 0.25 + 0.25 * uniform(g);
    const uint32_t wanted = (uint32_t)ceil(sqrt(count * (1 / width - 1)));
    const double mean = (double)count / wanted;
    const uint32_t least = (uint32_t)ceil(mean * (1 - SPREAD));
    const uint32_t most = (uint32_t)floor(mean * (1 + SPREAD));
    g->layer_first = td_allocate(g->context, (count + (size_t)2) * sizeof *g->layer_first);
    if (g->layer_first == NULL)
        return td_fail_memory(g->context);
    for (uint32_t used = 0; used < count;) {
        uint32_t size = uniform_integer(g, least < 1 ? 1 : least, most < 1 ? 1 : most);
        if (size > count - used)
            size = count - used;
        used += size;
        g->layer_first[++g->layer_count] = used;
    }
    return TD_OK;
}

static bool add_edge(generator *g, uint32_t from, uint32_t to)
{
    return td_array_push(g->context, &g->edges, ((sched_edge){from, to}));
}

/* Edges between two layers: spread evenly over the nodes of the larger one, each of which is joined
 * to a window of the smaller one around its own relative place. */
static bool join_layers(generator *g, uint32_t upper)
{
    const uint32_t first[2] = {g->layer_first[upper], g->layer_first[upper + 1]};
    const uint32_t size[2] = {first[1] - first[0], g->layer_first[upper + 2] - first[1]};
    const int large = size[1] > size[0], small = 1 - large;
    const uint32_t edges =
        (uint32_t)(size[0] * (double)size[1] * EDGE_DENSITY + (1 - EDGE_DENSITY) * size[large]);
    bool complete = true;
    for (uint32_t i = 0; i < size[large]; i++) {
        uint32_t window = edges / size[large] + (i < edges % size[large]);
        if (window > size[small])
            window = size[small];
        const uint32_t centre =
            size[large] == 1 ? size[small] / 2
                             : (uint32_t)ceil((double)i * (size[small] - 1) / (size[large] - 1));
        uint32_t begin = centre > window / 2 ? centre - window / 2 : 0;
        if (begin + window > size[small])
            begin = size[small] - window;
        for (uint32_t k = 0; k < window; k++) {
            const uint32_t ends[2] = {large == 0 ? i : begin + k, large == 1 ? i : begin + k};
            complete = complete && add_edge(g, first[0] + ends[0], first[1] + ends[1]);
        }
    }
    return complete;
}

static bool add_skips(generator *g)
{
    bool complete = true;
    if (g->layer_count < 3)
        return true;
    const uint32_t count = (uint32_t)ceil((double)g->edges.count * SKIP_SHARE / (1 - SKIP_SHARE));
    for (uint32_t e = 0; e < count && complete; e++) {
        const uint32_t source = uniform_integer(g, 0, g->layer_count - 3);
        const uint32_t target = uniform_integer(g, source + 2, g->layer_count - 1);
        const double x = uniform(g);
        double y = x + 0.2 * uniform(g);
        y = y < 1 ? y : 0.999999;
        const uint32_t source_size = g->layer_first[source + 1] - g->layer_first[source];
        const uint32_t target_size = g->layer_first[target + 1] - g->layer_first[target];
        complete = add_edge(g, g->layer_first[source] + (uint32_t)(x * source_size),
                            g->layer_first[target] + (uint32_t)(y * target_size));
    }
    return complete;
}

static int compare_edges(const void *left, const void *right)
{
    const sched_edge *a = left, *b = right;
    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

static void draw_sizes(generator *g, sched_layered *graph)
{
    static const double mean[] = {0.5, 1, 3, 5}, deviation[] = {0.5, 1, 1, 1};
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const uint32_t which = uniform_integer(g, 0, 3);
        const double size = mean[which] + deviation[which] * gaussian(g);
        graph->bytes[i] = size <= 0 ? 0 : (uint64_t)(size * MIB);
    }
}

static td_status fill(generator *g, sched_layered *graph)
{
    bool complete = true;
    TD_TRY(make_layers(g, graph->node_count));
    for (uint32_t l = 0; l + 1 < g->layer_count && complete; l++)
        complete = join_layers(g, l);
    complete = complete && add_skips(g);
    graph->bytes = td_allocate(g->context, (graph->node_count + (size_t)1) * sizeof *graph->bytes);
    if (!complete || graph->bytes == NULL)
        return td_fail_memory(g->context);
    draw_sizes(g, graph);
    if (g->edges.count > 0)
        qsort(g->edges.items, g->edges.count, sizeof *g->edges.items, compare_edges);
    uint32_t kept = 0;
    for (size_t e = 0; e < g->edges.count; e++)
        if (e == 0 || compare_edges(&g->edges.items[e - 1], &g->edges.items[e]) != 0)
            g->edges.items[kept++] = g->edges.items[e];
    graph->edges = g->edges.items;
    graph->edge_count = kept;
    g->edges.items = NULL;
    return TD_OK;
}

void sched_layered_release(td_context *context, sched_layered *graph)
{
    td_release(context, graph->bytes);
    td_release(context, graph->edges);
    memset(graph, 0, sizeof *graph);
}

td_status sched_layered_make(td_context *context, uint32_t node_count, uint64_t seed,
                             sched_layered *graph)
{
    generator g = {.context = context, .state = seed};
    *graph = (sched_layered){.node_count = node_count};
    const td_status status = fill(&g, graph);
    td_release(context, g.layer_first);
    td_array_release(context, &g.edges);
    if (status != TD_OK)
        sched_layered_release(context, graph);
    return status;
}

td_status sched_layered_problem(td_context *context, const sched_layered *graph,
                                sched_problem *problem)
{
    sched_node *nodes = td_allocate(context, (graph->node_count + (size_t)1) * sizeof *nodes);
    if (nodes == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < graph->node_count; i++)
        nodes[i] =
            (sched_node){.name = "", .bytes = graph->bytes[i], .persistent = true, .view_of = -1};
    for (uint32_t e = 0; e < graph->edge_count; e++)
        nodes[graph->edges[e].from].persistent = false;
    const td_status status = sched_problem_from_edges(context, nodes, graph->node_count,
                                                      graph->edges, graph->edge_count, problem);
    td_release(context, nodes);
    return status;
}
