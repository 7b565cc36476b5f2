/* Dense layers over rows, and their gradients: affine maps and layer norms.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_DENSE_H
#define TANDEM_SCHED_TOPOFORMER_DENSE_H

#include <stddef.h>
#include <stdint.h>

/* y[rows][outputs] = x[rows][inputs] w[inputs][outputs] + bias; outputs a multiple of 8. `bias`
 * may be NULL. */
void topo_affine(const float *x, const float *w, const float *bias, uint32_t rows, uint32_t inputs,
                 uint32_t outputs, float *y);

/* Adds the gradients of w and, right behind it, of the bias. inputs a multiple of 4. */
void topo_affine_back_weights(const float *x, const float *d_y, uint32_t rows, uint32_t inputs,
                              uint32_t outputs, float *d_w);

/* d_x = d_y w^T; `turned` is scratch for inputs * outputs floats; inputs a multiple of 8. */
void topo_affine_back_inputs(const float *w, const float *d_y, uint32_t rows, uint32_t inputs,
                             uint32_t outputs, float *turned, float *d_x);

/* y = gain * hat + bias with hat = (x - mean) / deviation, by row; inverse[rows] = 1 / deviation.
 * `norm` holds gain, then bias. */
void topo_norm(const float *x, const float *norm, uint32_t rows, uint32_t width, float *hat,
               float *inverse, float *y);

/* Adds to d_x and to d_norm. */
void topo_norm_back(const float *d_y, const float *norm, const float *hat, const float *inverse,
                    uint32_t rows, uint32_t width, float *d_x, float *d_norm);

#endif
