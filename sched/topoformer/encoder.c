/* The encoder and its gradient.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/encoder.h"

#include "sched/topoformer/attention.h"
#include "sched/topoformer/dense.h"

#include <string.h>

/* Hands out pieces of one allocation; at first, without memory, only counts. */
typedef struct carver {
    float *memory;
    size_t used;
} carver;

static float *carve(carver *c, size_t count)
{
    const size_t at = c->used;
    c->used += (count + 15) / 16 * 16;
    return c->memory == NULL ? NULL : c->memory + at;
}

static void carve_pass(topo_pass *pass, carver *c)
{
    const size_t n = pass->views->count, width = pass->model->shape.width;
    pass->outputs = carve(c, n * TOPO_OUTPUTS);
    pass->stream = carve(c, n * width);
    pass->hat = carve(c, n * width);
    pass->inverse = carve(c, n);
    pass->normed = carve(c, n * width);
    for (int b = 0; b < 4; b++)
        pass->blocks[b] = carve(c, topo_blocked((uint32_t)n));
    for (uint32_t l = 0; l < pass->model->shape.layers; l++)
        pass->layers[l] = (topo_layer_pass){
            .hat1 = carve(c, n * width),
            .inverse1 = carve(c, n),
            .normed1 = carve(c, n * width),
            .qkv = carve(c, n * 3 * TOPO_HEADS),
            .attended = carve(c, n * TOPO_HEADS),
            .sums = carve(c, n * TOPO_VIEWS),
            .hat2 = carve(c, n * width),
            .inverse2 = carve(c, n),
            .normed2 = carve(c, n * width),
            .risen = carve(c, n * pass->model->shape.hidden),
        };
}

static void add(float *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

static topo_attention attention_of(const topo_pass *pass, uint32_t layer, topo_view view)
{
    const topo_layer_pass *made = &pass->layers[layer];
    return (topo_attention){.views = pass->views,
                            .view = view,
                            .qkv = made->qkv,
                            .out = made->attended,
                            .sums = made->sums + (size_t)view * pass->views->count,
                            .keys = pass->blocks[0],
                            .values = pass->blocks[1]};
}

static void run_layer(topo_pass *pass, uint32_t l)
{
    const float *all = pass->model->parameters;
    const topo_layer_layout *at = &pass->model->layout.layers[l];
    const uint32_t n = pass->views->count, width = pass->model->shape.width;
    const uint32_t hidden = pass->model->shape.hidden;
    topo_layer_pass *made = &pass->layers[l];
    topo_norm(pass->stream, all + at->norm1, n, width, made->hat1, made->inverse1, made->normed1);
    topo_affine(made->normed1, all + at->qkv, all + at->qkv + (size_t)width * 3 * TOPO_HEADS, n,
                width, 3 * TOPO_HEADS, made->qkv);
    for (int view = 0; view < TOPO_VIEWS; view++) {
        const topo_attention attention = attention_of(pass, l, view);
        topo_attend(&attention);
    }
    topo_affine(made->attended, all + at->mix, all + at->mix + (size_t)TOPO_HEADS * width, n,
                TOPO_HEADS, width, pass->normed);
    add(pass->stream, pass->normed, (size_t)n * width);
    topo_norm(pass->stream, all + at->norm2, n, width, made->hat2, made->inverse2, made->normed2);
    topo_affine(made->normed2, all + at->rise, all + at->rise + (size_t)width * hidden, n, width,
                hidden, made->risen);
    for (size_t i = 0; i < (size_t)n * hidden; i++)
        made->risen[i] = made->risen[i] > 0 ? made->risen[i] : 0;
    topo_affine(made->risen, all + at->fall, all + at->fall + (size_t)hidden * width, n, hidden,
                width, pass->normed);
    add(pass->stream, pass->normed, (size_t)n * width);
}

void topo_pass_release(topo_pass *pass)
{
    td_release(pass->context, pass->memory);
    memset(pass, 0, sizeof *pass);
}

td_status topo_encode(const topo_model *model, const topo_views *views, const float *features,
                      td_context *context, topo_pass *pass)
{
    const float *all = model->parameters;
    const topo_layout *at = &model->layout;
    const uint32_t n = views->count, width = model->shape.width;
    carver c = {0};
    *pass = (topo_pass){.context = context, .model = model, .views = views, .features = features};
    carve_pass(pass, &c);
    pass->memory = td_allocate(context, c.used * sizeof(float));
    if (pass->memory == NULL)
        return td_fail_memory(context);
    c = (carver){.memory = pass->memory};
    carve_pass(pass, &c);
    topo_affine(features, all + at->input, all + at->input + (size_t)TOPO_FEATURES * width, n,
                TOPO_FEATURES, width, pass->stream);
    for (uint32_t l = 0; l < model->shape.layers; l++)
        run_layer(pass, l);
    topo_norm(pass->stream, all + at->norm, n, width, pass->hat, pass->inverse, pass->normed);
    topo_affine(features, all + at->skip, all + at->skip + TOPO_FEATURES * TOPO_OUTPUTS, n,
                TOPO_FEATURES, TOPO_OUTPUTS, pass->outputs);
    float *own = pass->blocks[0]; /* as large: eight for each unit */
    topo_affine(pass->normed, all + at->output, all + at->output + (size_t)width * TOPO_OUTPUTS, n,
                width, TOPO_OUTPUTS, own);
    add(pass->outputs, own, (size_t)n * TOPO_OUTPUTS);
    return TD_OK;
}

/* --- the gradient --- */

typedef struct back {
    float *d_stream, *d_row, *d_wide, *d_qkv, *turned;
    float *memory;
} back;

static td_status open_back(const topo_pass *pass, back *b)
{
    const topo_shape *shape = &pass->model->shape;
    const size_t n = pass->views->count;
    const size_t widest = shape->hidden > TOPO_HEADS ? shape->hidden : TOPO_HEADS;
    for (int round = 0; round < 2; round++) {
        carver c = {.memory = b->memory};
        b->d_stream = carve(&c, n * shape->width);
        b->d_row = carve(&c, n * shape->width);
        b->d_wide = carve(&c, n * widest);
        b->d_qkv = carve(&c, n * 3 * TOPO_HEADS);
        b->turned = carve(&c, shape->width * (widest + 3 * TOPO_HEADS));
        if (round == 0)
            b->memory = td_allocate(pass->context, c.used * sizeof(float));
        if (b->memory == NULL)
            return td_fail_memory(pass->context);
    }
    return TD_OK;
}

static void back_through_mlp(const topo_pass *pass, uint32_t l, back *b, float *gradient)
{
    const float *all = pass->model->parameters;
    const topo_layer_layout *at = &pass->model->layout.layers[l];
    const topo_layer_pass *made = &pass->layers[l];
    const uint32_t n = pass->views->count, width = pass->model->shape.width;
    const uint32_t hidden = pass->model->shape.hidden;
    topo_affine_back_weights(made->risen, b->d_stream, n, hidden, width, gradient + at->fall);
    topo_affine_back_inputs(all + at->fall, b->d_stream, n, hidden, width, b->turned, b->d_wide);
    for (size_t i = 0; i < (size_t)n * hidden; i++)
        b->d_wide[i] = made->risen[i] > 0 ? b->d_wide[i] : 0;
    topo_affine_back_weights(made->normed2, b->d_wide, n, width, hidden, gradient + at->rise);
    topo_affine_back_inputs(all + at->rise, b->d_wide, n, width, hidden, b->turned, b->d_row);
    topo_norm_back(b->d_row, all + at->norm2, made->hat2, made->inverse2, n, width, b->d_stream,
                   gradient + at->norm2);
}

static void back_through_attention(const topo_pass *pass, uint32_t l, back *b, float *gradient)
{
    const float *all = pass->model->parameters;
    const topo_layer_layout *at = &pass->model->layout.layers[l];
    const topo_layer_pass *made = &pass->layers[l];
    const uint32_t n = pass->views->count, width = pass->model->shape.width;
    topo_affine_back_weights(made->attended, b->d_stream, n, TOPO_HEADS, width, gradient + at->mix);
    topo_affine_back_inputs(all + at->mix, b->d_stream, n, TOPO_HEADS, width, b->turned, b->d_wide);
    memset(b->d_qkv, 0, (size_t)n * 3 * TOPO_HEADS * sizeof(float));
    for (int view = 0; view < TOPO_VIEWS; view++) {
        const topo_attention attention = attention_of(pass, l, view);
        topo_attend_back(&attention, b->d_wide, b->d_qkv, pass->blocks[2], pass->blocks[3]);
    }
    topo_affine_back_weights(made->normed1, b->d_qkv, n, width, 3 * TOPO_HEADS, gradient + at->qkv);
    topo_affine_back_inputs(all + at->qkv, b->d_qkv, n, width, 3 * TOPO_HEADS, b->turned, b->d_row);
    topo_norm_back(b->d_row, all + at->norm1, made->hat1, made->inverse1, n, width, b->d_stream,
                   gradient + at->norm1);
}

td_status topo_encode_back(topo_pass *pass, const float *d_outputs, float *gradient)
{
    const float *all = pass->model->parameters;
    const topo_layout *at = &pass->model->layout;
    const uint32_t n = pass->views->count, width = pass->model->shape.width;
    back b = {0};
    TD_TRY(open_back(pass, &b));
    topo_affine_back_weights(pass->features, d_outputs, n, TOPO_FEATURES, TOPO_OUTPUTS,
                             gradient + at->skip);
    topo_affine_back_weights(pass->normed, d_outputs, n, width, TOPO_OUTPUTS,
                             gradient + at->output);
    topo_affine_back_inputs(all + at->output, d_outputs, n, width, TOPO_OUTPUTS, b.turned, b.d_row);
    topo_norm_back(b.d_row, all + at->norm, pass->hat, pass->inverse, n, width, b.d_stream,
                   gradient + at->norm);
    for (uint32_t l = pass->model->shape.layers; l > 0; l--) {
        back_through_mlp(pass, l - 1, &b, gradient);
        back_through_attention(pass, l - 1, &b, gradient);
    }
    topo_affine_back_weights(pass->features, b.d_stream, n, TOPO_FEATURES, width,
                             gradient + at->input);
    td_release(pass->context, b.memory);
    return TD_OK;
}
