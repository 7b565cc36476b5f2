/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/figures.h"

#include <string.h>

/* What the kernels are held to. */
static const struct {
    const char *name;
    bool at_least;
    double value;
} goals[] = {
    {"q8.k2.ratio", false, 1.15},
    {"q8.k4.ratio", false, 1.3},
    {"q8.k8.ratio", false, 1.6},
    {"q8.k16.ratio", false, 2.5},
    {"q4.k2.ratio", false, 1.2},
    {"q4.k4.ratio", false, 1.45},
    {"q4.k8.ratio", false, 2.3},
    {"q4.k16.ratio", false, 4.4},
    {"f32.k8.ratio", false, 1.6},
    {"f16.k8.ratio", false, 2.2},
    {"q8.k16.product.peak_fraction", true, 0.65},
    {"decode.q8.t1.bandwidth_fraction", true, 0.85},
    {"decode.q4.t1.bandwidth_fraction", true, 0.85},
    {"threads.q8.k1.bandwidth_ratio_fraction", true, 0.9},
    {"threads.q8.k2.bandwidth_ratio_fraction", true, 0.9},
    {"threads.q8.k4.bandwidth_ratio_fraction", true, 0.9},
    {"prefill.q8.t1.peak_fraction", true, 0.6},
    {"prefill.q8.t1.whole_fraction", true, 0.45},
    {"prefill.f32.t1.peak_fraction", true, 0.6},
    {"prefill.f32.t1.whole_fraction", true, 0.45},
    {"threads.q8.speedup", true, 1.7},
    {"neighbour.q8.ratio", true, 0.7},
    {"compile.q8.seconds", false, 60},
};

void bench_add_figure(bench_figures *figures, double value, const char *unit, const char *format,
                      ...)
{
    bench_figure figure = {.value = value, .unit = unit};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(figure.name, sizeof figure.name, format, arguments);
    va_end(arguments);
    if (!td_array_push(figures->context, &figures->items, figure))
        figures->failed = true;
}

void bench_write_json(const bench_figures *figures, FILE *stream)
{
    fputs("[\n", stream);
    for (size_t i = 0; i < figures->items.count; i++) {
        const bench_figure *figure = &figures->items.items[i];
        fprintf(stream, "  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}%s\n", figure->name,
                figure->value, figure->unit, i + 1 < figures->items.count ? "," : "");
    }
    fputs("]\n", stream);
}

void bench_write_table(const bench_figures *figures, FILE *stream)
{
    fputs("| figure | value | goal | |\n|---|---|---|---|\n", stream);
    for (size_t i = 0; i < figures->items.count; i++) {
        const bench_figure *figure = &figures->items.items[i];
        fprintf(stream, "| %s | %.4g%s%s |", figure->name, figure->value,
                figure->unit[0] == '\0' ? "" : " ", figure->unit);
        size_t goal = 0;
        while (goal < TD_COUNT_OF(goals) && strcmp(goals[goal].name, figure->name) != 0)
            goal++;
        if (goal == TD_COUNT_OF(goals)) {
            fputs(" | |\n", stream);
            continue;
        }
        const bool met = goals[goal].at_least ? figure->value >= goals[goal].value
                                              : figure->value <= goals[goal].value;
        fprintf(stream, " at %s %g | %s |\n", goals[goal].at_least ? "least" : "most",
                goals[goal].value, met ? "met" : "missed");
    }
}
