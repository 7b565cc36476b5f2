/* Named figures, in the order in which they were found.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_FIGURES_H
#define TANDEM_TESTS_BENCH_FIGURES_H

#include "base/memory.h"

#include <stdio.h>

typedef struct bench_figure {
    char name[64];
    double value;
    const char *unit; /* "", "ms", "GB/s", ...; a literal */
} bench_figure;

typedef struct bench_figures {
    td_context *context;
    TD_ARRAY(bench_figure) items;
    bool failed; /* memory ran out */
} bench_figures;

/* Adds a figure whose name is made from a printf format. */
void bench_add_figure(bench_figures *figures, double value, const char *unit, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* A list of {"name", "value", "unit"}. */
void bench_write_json(const bench_figures *figures, FILE *stream);
/* A Markdown table; figures that have a goal are shown with it. */
void bench_write_table(const bench_figures *figures, FILE *stream);

#endif
