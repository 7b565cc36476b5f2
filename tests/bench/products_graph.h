/* The products of a model alone: what its kernels cost without everything between them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_PRODUCTS_GRAPH_H
#define TANDEM_TESTS_BENCH_PRODUCTS_GRAPH_H

#include "ir/ir.h"

/* Ids of tokens and rows must be below this: the stand-ins have so many rows. */
#define BENCH_STAND_IN_ROWS 64

/* Adds a graph "products" that holds a copy of every product of `forward`, in its order and with
 * the same constants, fused ones one by one. Their activations are stand-ins with random numbers,
 * one per shape, gathered once at the start (and quantised once where the product reads quantised
 * activations). */
td_status bench_add_products(ir_module *module, const ir_graph *forward, ir_graph **products);

/* Multiplications of all products per token, and of those that run once per row of logits. */
void bench_count_products(const ir_graph *forward, double *per_token, double *per_row);

#endif
