/* Parameters: layout, random start, files.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/model.h"

#include "base/file.h"
#include "base/hash.h"

#include <math.h>
#include <string.h>

#define MAGIC   "TOPO"
#define VERSION 1
#define HEADER  24 /* magic, version, width, hidden, layers, count */

/* A matrix and its bias. */
static size_t take_affine(size_t *count, uint32_t inputs, uint32_t outputs)
{
    const size_t at = *count;
    *count += (size_t)inputs * outputs + outputs;
    return at;
}

/* Gain and bias. */
static size_t take_norm(size_t *count, uint32_t width)
{
    const size_t at = *count;
    *count += 2 * (size_t)width;
    return at;
}

topo_layout topo_layout_of(const topo_shape *shape)
{
    topo_layout layout = {0};
    size_t *count = &layout.count;
    layout.input = take_affine(count, TOPO_FEATURES, shape->width);
    for (uint32_t l = 0; l < shape->layers; l++) {
        topo_layer_layout *layer = &layout.layers[l];
        layer->norm1 = take_norm(count, shape->width);
        layer->qkv = take_affine(count, shape->width, 3 * TOPO_HEADS);
        layer->mix = take_affine(count, TOPO_HEADS, shape->width);
        layer->norm2 = take_norm(count, shape->width);
        layer->rise = take_affine(count, shape->width, shape->hidden);
        layer->fall = take_affine(count, shape->hidden, shape->width);
    }
    layout.norm = take_norm(count, shape->width);
    layout.output = take_affine(count, shape->width, TOPO_OUTPUTS);
    layout.skip = take_affine(count, TOPO_FEATURES, TOPO_OUTPUTS);
    return layout;
}

static td_status allocate(td_context *context, const topo_shape *shape, topo_model *model)
{
    *model = (topo_model){.shape = *shape, .layout = topo_layout_of(shape)};
    model->parameters = td_allocate(context, (model->layout.count + 1) * sizeof(float));
    return model->parameters == NULL ? td_fail_memory(context) : TD_OK;
}

static void draw(float *weights, uint32_t inputs, uint32_t outputs, uint64_t *state)
{
    const double scale = sqrt(6.0 / (inputs + outputs));
    for (size_t i = 0; i < (size_t)inputs * outputs; i++)
        weights[i] = (float)(scale * (2 * ((double)(td_random_next(state) >> 11) * 0x1p-53) - 1));
}

static void set_gain(float *norm, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        norm[i] = 1;
}

td_status topo_model_make(td_context *context, const topo_shape *shape, uint64_t seed,
                          topo_model *model)
{
    TD_TRY(allocate(context, shape, model));
    float *all = model->parameters;
    draw(all + model->layout.input, TOPO_FEATURES, shape->width, &seed);
    for (uint32_t l = 0; l < shape->layers; l++) {
        const topo_layer_layout *layer = &model->layout.layers[l];
        set_gain(all + layer->norm1, shape->width);
        set_gain(all + layer->norm2, shape->width);
        draw(all + layer->qkv, shape->width, 3 * TOPO_HEADS, &seed);
        draw(all + layer->mix, TOPO_HEADS, shape->width, &seed);
        draw(all + layer->rise, shape->width, shape->hidden, &seed);
        draw(all + layer->fall, shape->hidden, shape->width, &seed);
    }
    set_gain(all + model->layout.norm, shape->width);
    return TD_OK;
}

void topo_model_release(td_context *context, topo_model *model)
{
    td_release(context, model->parameters);
    memset(model, 0, sizeof *model);
}

/* --- half precision --- */

static float float_of_half(uint16_t half)
{
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const float magnitude = exponent == 0 ? ldexpf((float)mantissa, -24)
                                          : ldexpf((float)(mantissa | 1024), exponent - 25);
    return half >> 15 ? -magnitude : magnitude;
}

/* Nearest; what is beyond the range becomes the largest. */
static uint16_t half_of_float(float value)
{
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const float magnitude = fminf(fabsf(value), 65504.0f);
    int exponent;
    frexpf(magnitude, &exponent); /* magnitude < 2^exponent */
    if (exponent < -13 || magnitude == 0)
        return (uint16_t)(sign | (uint16_t)lrintf(ldexpf(magnitude, 24)));
    const long mantissa = lrintf(ldexpf(magnitude, 11 - exponent)); /* 1024 to 2048 */
    return (uint16_t)(sign | (uint16_t)(((long)(exponent + 13) << 10) + mantissa));
}

/* --- files --- */

static uint32_t read_word(const unsigned char *data)
{
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static void write_word(FILE *stream, uint32_t word)
{
    for (int byte = 0; byte < 4; byte++)
        putc((int)(word >> 8 * byte & 255), stream);
}

td_status topo_model_parse(td_context *context, const char *name, const unsigned char *data,
                           size_t size, topo_model *model)
{
    if (size < HEADER || memcmp(data, MAGIC, 4) != 0 || read_word(data + 4) != VERSION)
        return td_fail(context, TD_INVALID,
                       "%s: not an orderer's parameters of version %d, as `tandem train-orderer` "
                       "writes them",
                       name, VERSION);
    const topo_shape shape = {read_word(data + 8), read_word(data + 12), read_word(data + 16)};
    if (shape.width == 0 || shape.width % 8 != 0 || shape.width > 256 || shape.hidden == 0 ||
        shape.hidden % 8 != 0 || shape.hidden > 1024 || shape.layers == 0 ||
        shape.layers > TOPO_LAYERS)
        return td_fail(
            context, TD_INVALID,
            "%s: width %u, hidden width %u, %u layers; accepted are multiples of 8 up to "
            "256 and 1024, and 1 to %d layers",
            name, shape.width, shape.hidden, shape.layers, TOPO_LAYERS);
    const size_t count = topo_layout_of(&shape).count;
    if (read_word(data + 20) != count || size != HEADER + 2 * count)
        return td_fail(context, TD_INVALID,
                       "%s: %zu bytes with %u parameters; this shape has %zu in %zu bytes", name,
                       size, read_word(data + 20), count, HEADER + 2 * count);
    TD_TRY(allocate(context, &shape, model));
    for (size_t i = 0; i < count; i++)
        model->parameters[i] =
            float_of_half((uint16_t)(data[HEADER + 2 * i] | data[HEADER + 2 * i + 1] << 8));
    return TD_OK;
}

td_status topo_model_read(td_context *context, const char *path, topo_model *model)
{
    td_file file;
    TD_TRY(td_file_map(context, path, &file));
    const td_status status = topo_model_parse(context, path, file.data, file.size, model);
    td_file_unmap(context, &file);
    return status;
}

td_status topo_model_write(td_context *context, const char *path, const topo_model *model)
{
    td_output output;
    TD_TRY(td_output_open(context, path, &output));
    fputs(MAGIC, output.stream);
    const uint32_t words[] = {VERSION, model->shape.width, model->shape.hidden, model->shape.layers,
                              (uint32_t)model->layout.count};
    for (size_t w = 0; w < TD_COUNT_OF(words); w++)
        write_word(output.stream, words[w]);
    for (size_t i = 0; i < model->layout.count; i++) {
        const uint16_t half = half_of_float(model->parameters[i]);
        putc(half & 255, output.stream);
        putc(half >> 8, output.stream);
    }
    return td_output_commit(context, &output, false);
}
