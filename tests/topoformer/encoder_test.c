/* The encoder against a plain one in double precision, and its gradient against differences.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/encoder.h"

#include "base/hash.h"
#include "sched/layered.h"
#include "sched/topoformer/rank.h"
#include "tests/test.h"

#include <math.h>

#define NODES 61

typedef struct fixture {
    td_context context;
    sched_layered layered;
    sched_problem problem;
    topo_graph graph;
    topo_model model;
    bool made;
} fixture;

static double uniform(uint64_t *state)
{
    return (double)(td_random_next(state) >> 11) * 0x1p-53 * 2 - 1;
}

/* A graph, and a model without zeros: as far from the start as a trained one. */
static bool make(fixture *f, uint32_t nodes)
{
    const topo_shape shape = {16, 24, 2};
    uint64_t state = 5;
    td_context_init(&f->context);
    if (sched_layered_make(&f->context, nodes, 3, &f->layered) != TD_OK ||
        sched_layered_problem(&f->context, &f->layered, &f->problem) != TD_OK ||
        topo_graph_make(&f->problem, &f->graph) != TD_OK ||
        topo_model_make(&f->context, &shape, 7, &f->model) != TD_OK)
        return false;
    for (size_t i = 0; i < f->model.layout.count; i++)
        f->model.parameters[i] += (float)(0.2 * uniform(&state));
    return true;
}

static void release(fixture *f)
{
    topo_model_release(&f->context, &f->model);
    topo_graph_release(&f->graph);
    sched_problem_release(&f->problem);
    sched_layered_release(&f->context, &f->layered);
}

/* --- a plain encoder --- */

static void affine(const float *w, const double *x, uint32_t inputs, uint32_t outputs, double *y)
{
    for (uint32_t m = 0; m < outputs; m++) {
        y[m] = (double)w[(size_t)inputs * outputs + m];
        for (uint32_t k = 0; k < inputs; k++)
            y[m] += x[k] * (double)w[(size_t)k * outputs + m];
    }
}

static void norm(const float *w, const double *x, uint32_t width, double *y)
{
    double mean = 0, variance = 0;
    for (uint32_t k = 0; k < width; k++)
        mean += x[k] / width;
    for (uint32_t k = 0; k < width; k++)
        variance += (x[k] - mean) * (x[k] - mean) / width;
    for (uint32_t k = 0; k < width; k++)
        y[k] = (double)w[k] * (x[k] - mean) / sqrt(variance + 1e-5) + (double)w[width + k];
}

typedef struct plain {
    double stream[NODES][16], qkv[NODES][3 * TOPO_HEADS], outputs[NODES][TOPO_OUTPUTS];
} plain;

static void attend(const plain *p, const topo_views *views, uint32_t i, double *out)
{
    for (int view = 0; view < TOPO_VIEWS; view++) {
        double sum = 0, total[TOPO_HEAD] = {0};
        for (uint32_t j = 0; j < views->count; j++) {
            if (!topo_in_view(views, view, i, j))
                continue;
            double s = 0;
            for (int d = 0; d < TOPO_HEAD; d++)
                s += p->qkv[i][view * TOPO_HEAD + d] *
                     p->qkv[j][TOPO_HEADS + view * TOPO_HEAD + d] / sqrt(TOPO_HEAD);
            sum += exp(s);
            for (int d = 0; d < TOPO_HEAD; d++)
                total[d] += exp(s) * p->qkv[j][2 * TOPO_HEADS + view * TOPO_HEAD + d];
        }
        for (int d = 0; d < TOPO_HEAD; d++)
            out[view * TOPO_HEAD + d] = sum > 0 ? total[d] / sum : 0;
    }
}

static void run_plain(const fixture *f, plain *p)
{
    const float *w = f->model.parameters;
    const topo_layout *at = &f->model.layout;
    const uint32_t n = f->graph.views.count, width = 16, hidden = 24;
    double x[TOPO_FEATURES], y[3 * TOPO_HEADS], z[64];
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; k < TOPO_FEATURES; k++)
            x[k] = (double)f->graph.features.rows[(size_t)i * TOPO_FEATURES + k];
        affine(w + at->input, x, TOPO_FEATURES, width, p->stream[i]);
    }
    for (uint32_t l = 0; l < 2; l++) {
        const topo_layer_layout *layer = &at->layers[l];
        for (uint32_t i = 0; i < n; i++) {
            norm(w + layer->norm1, p->stream[i], width, y);
            affine(w + layer->qkv, y, width, 3 * TOPO_HEADS, p->qkv[i]);
        }
        for (uint32_t i = 0; i < n; i++) {
            attend(p, &f->graph.views, i, y);
            affine(w + layer->mix, y, TOPO_HEADS, width, z);
            for (uint32_t k = 0; k < width; k++)
                p->stream[i][k] += z[k];
            norm(w + layer->norm2, p->stream[i], width, y);
            affine(w + layer->rise, y, width, hidden, z);
            for (uint32_t k = 0; k < hidden; k++)
                z[k] = z[k] > 0 ? z[k] : 0;
            affine(w + layer->fall, z, hidden, width, y);
            for (uint32_t k = 0; k < width; k++)
                p->stream[i][k] += y[k];
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; k < TOPO_FEATURES; k++)
            x[k] = (double)f->graph.features.rows[(size_t)i * TOPO_FEATURES + k];
        norm(w + at->norm, p->stream[i], width, y);
        affine(w + at->output, y, width, TOPO_OUTPUTS, p->outputs[i]);
        affine(w + at->skip, x, TOPO_FEATURES, TOPO_OUTPUTS, z);
        for (int k = 0; k < TOPO_OUTPUTS; k++)
            p->outputs[i][k] += z[k];
    }
}

TEST(encoder_agrees_with_a_plain_one)
{
    fixture f = {0};
    static plain p;
    topo_pass pass;
    CHECK(make(&f, NODES));
    run_plain(&f, &p);
    CHECK(topo_encode(&f.model, &f.graph.views, f.graph.features.rows, &f.context, &pass) == TD_OK);
    for (uint32_t i = 0; i < f.graph.views.count; i++)
        for (int k = 0; k < TOPO_OUTPUTS; k++) {
            const double got = (double)pass.outputs[i * TOPO_OUTPUTS + k], want = p.outputs[i][k];
            CHECK_MESSAGE(fabs(got - want) < 2e-4 * (1 + fabs(want)), "%u %d: %g, not %g", i, k,
                          got, want);
        }
    topo_pass_release(&pass);
    release(&f);
}

/* --- the gradient --- */

/* A loss of which every output is a part: sum of c * output, c fixed. */
static double loss_of(const fixture *f, const float *slopes)
{
    topo_pass pass;
    double loss = 0;
    td_context context = f->context;
    if (topo_encode(&f->model, &f->graph.views, f->graph.features.rows, &context, &pass) != TD_OK)
        return NAN;
    for (size_t i = 0; i < (size_t)f->graph.views.count * TOPO_OUTPUTS; i++)
        loss += (double)pass.outputs[i] * (double)slopes[i];
    topo_pass_release(&pass);
    return loss;
}

/* Along a random direction within each tensor: a wrong sign or factor anywhere shows. */
static bool check_stretch(fixture *f, const float *slopes, const float *gradient, size_t first,
                          size_t end, uint64_t *state)
{
    const double step = 3e-4;
    double expected = 0, size = 0;
    float *w = f->model.parameters;
    static float saved[100000], direction[100000];
    memcpy(saved, w, f->model.layout.count * sizeof *w);
    for (size_t i = first; i < end; i++) {
        direction[i] = (float)uniform(state);
        expected += (double)direction[i] * (double)gradient[i];
        size += (double)gradient[i] * (double)gradient[i];
    }
    double loss[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = first; i < end; i++)
            w[i] = saved[i] + (float)(side == 0 ? -step : step) * direction[i];
        loss[side] = loss_of(f, slopes);
    }
    memcpy(w, saved, f->model.layout.count * sizeof *w);
    const double got = (loss[1] - loss[0]) / (2 * step);
    const bool fits = fabs(got - expected) <= 0.02 * (sqrt(size) + fabs(expected)) + 1e-3;
    if (!fits)
        printf("    [%zu, %zu): differences say %g, the gradient %g\n", first, end, got, expected);
    return fits;
}

TEST(gradient_agrees_with_differences)
{
    fixture f = {0};
    topo_pass pass;
    uint64_t state = 9;
    static float slopes[NODES * TOPO_OUTPUTS], gradient[100000];
    CHECK(make(&f, NODES));
    for (size_t i = 0; i < TD_COUNT_OF(slopes); i++)
        slopes[i] = (float)uniform(&state);
    CHECK(topo_encode(&f.model, &f.graph.views, f.graph.features.rows, &f.context, &pass) == TD_OK);
    CHECK(topo_encode_back(&pass, slopes, gradient) == TD_OK);
    topo_pass_release(&pass);
    const topo_layout *at = &f.model.layout;
    size_t bounds[32], count = 0;
    bounds[count++] = at->input;
    for (int l = 0; l < 2; l++) {
        const topo_layer_layout *layer = &at->layers[l];
        const size_t own[] = {layer->norm1, layer->qkv,  layer->mix,
                              layer->norm2, layer->rise, layer->fall};
        for (size_t k = 0; k < TD_COUNT_OF(own); k++)
            bounds[count++] = own[k];
    }
    bounds[count++] = at->norm;
    bounds[count++] = at->output;
    bounds[count++] = at->skip;
    bounds[count++] = at->count;
    for (size_t b = 0; b + 1 < count; b++)
        for (int round = 0; round < 3; round++)
            CHECK(check_stretch(&f, slopes, gradient, bounds[b], bounds[b + 1], &state));
    release(&f);
}

TEST_MAIN()
