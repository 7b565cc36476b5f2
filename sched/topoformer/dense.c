/* Affine maps and layer norms.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/dense.h"

#include "sched/topoformer/lanes.h"

#include <math.h>

#define ROWS    4 /* worked on together */
#define EPSILON 1e-5f

TOPO_WIDE static void affine_rows(const float *x, const float *w, const float *bias, uint32_t rows,
                                  uint32_t inputs, uint32_t outputs, float *y)
{
    for (uint32_t m = 0; m < outputs; m += TOPO_LANES) {
        const topo_lanes start = bias == NULL ? (topo_lanes){0} : *(const topo_lanes *)(bias + m);
        uint32_t i = 0;
        for (; i + ROWS <= rows; i += ROWS) {
            const float *from = x + (size_t)i * inputs;
            topo_lanes a = start, b = start, c = start, d = start;
            for (uint32_t k = 0; k < inputs; k++) {
                const topo_lanes weights = *(const topo_lanes *)(w + (size_t)k * outputs + m);
                a += from[k] * weights;
                b += from[inputs + k] * weights;
                c += from[2 * (size_t)inputs + k] * weights;
                d += from[3 * (size_t)inputs + k] * weights;
            }
            float *to = y + (size_t)i * outputs + m;
            *(topo_lanes *)to = a;
            *(topo_lanes *)(to + outputs) = b;
            *(topo_lanes *)(to + 2 * (size_t)outputs) = c;
            *(topo_lanes *)(to + 3 * (size_t)outputs) = d;
        }
        for (; i < rows; i++) {
            topo_lanes a = start;
            for (uint32_t k = 0; k < inputs; k++)
                a += x[(size_t)i * inputs + k] * *(const topo_lanes *)(w + (size_t)k * outputs + m);
            *(topo_lanes *)(y + (size_t)i * outputs + m) = a;
        }
    }
}

void topo_affine(const float *x, const float *w, const float *bias, uint32_t rows, uint32_t inputs,
                 uint32_t outputs, float *y)
{
    affine_rows(x, w, bias, rows, inputs, outputs, y);
}

TOPO_WIDE static void weights_back(const float *x, const float *d_y, uint32_t rows, uint32_t inputs,
                                   uint32_t outputs, float *d_w)
{
    for (uint32_t m = 0; m < outputs; m += TOPO_LANES) {
        for (uint32_t k = 0; k < inputs; k += ROWS) {
            topo_lanes a = {0}, b = {0}, c = {0}, d = {0};
            for (uint32_t i = 0; i < rows; i++) {
                const topo_lanes slope = *(const topo_lanes *)(d_y + (size_t)i * outputs + m);
                const float *from = x + (size_t)i * inputs + k;
                a += from[0] * slope;
                b += from[1] * slope;
                c += from[2] * slope;
                d += from[3] * slope;
            }
            float *to = d_w + (size_t)k * outputs + m;
            *(topo_lanes *)to += a;
            *(topo_lanes *)(to + outputs) += b;
            *(topo_lanes *)(to + 2 * (size_t)outputs) += c;
            *(topo_lanes *)(to + 3 * (size_t)outputs) += d;
        }
        topo_lanes bias = {0};
        for (uint32_t i = 0; i < rows; i++)
            bias += *(const topo_lanes *)(d_y + (size_t)i * outputs + m);
        *(topo_lanes *)(d_w + (size_t)inputs * outputs + m) += bias;
    }
}

void topo_affine_back_weights(const float *x, const float *d_y, uint32_t rows, uint32_t inputs,
                              uint32_t outputs, float *d_w)
{
    weights_back(x, d_y, rows, inputs, outputs, d_w);
}

void topo_affine_back_inputs(const float *w, const float *d_y, uint32_t rows, uint32_t inputs,
                             uint32_t outputs, float *turned, float *d_x)
{
    for (uint32_t k = 0; k < inputs; k++)
        for (uint32_t m = 0; m < outputs; m++)
            turned[(size_t)m * inputs + k] = w[(size_t)k * outputs + m];
    affine_rows(d_y, turned, NULL, rows, outputs, inputs, d_x);
}

void topo_norm(const float *x, const float *norm, uint32_t rows, uint32_t width, float *hat,
               float *inverse, float *y)
{
    for (uint32_t i = 0; i < rows; i++, x += width, hat += width, y += width) {
        float mean = 0, variance = 0;
        for (uint32_t k = 0; k < width; k++)
            mean += x[k];
        mean /= (float)width;
        for (uint32_t k = 0; k < width; k++)
            variance += (x[k] - mean) * (x[k] - mean);
        inverse[i] = 1 / sqrtf(variance / (float)width + EPSILON);
        for (uint32_t k = 0; k < width; k++) {
            hat[k] = (x[k] - mean) * inverse[i];
            y[k] = norm[k] * hat[k] + norm[width + k];
        }
    }
}

void topo_norm_back(const float *d_y, const float *norm, const float *hat, const float *inverse,
                    uint32_t rows, uint32_t width, float *d_x, float *d_norm)
{
    for (uint32_t i = 0; i < rows; i++, d_y += width, hat += width, d_x += width) {
        float sum = 0, along = 0;
        for (uint32_t k = 0; k < width; k++) {
            const float d_hat = d_y[k] * norm[k];
            sum += d_hat;
            along += d_hat * hat[k];
            d_norm[k] += d_y[k] * hat[k];
            d_norm[width + k] += d_y[k];
        }
        for (uint32_t k = 0; k < width; k++)
            d_x[k] += inverse[i] * (d_y[k] * norm[k] - (sum + hat[k] * along) / (float)width);
    }
}
