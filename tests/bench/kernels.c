/* How long passes of the generated kernels take, compared with one token, with the speed of memory,
 * with the peak of the processor and with one thread.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rows of the table of configurations with the same weights are measured together; the ratios of
 * all of them divide by the fastest single token among them, so a slow single-token kernel makes no
 * ratio better. */
#include "tests/bench/figures.h"
#include "tests/bench/measure.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Weights of f16 and f32 keep so many layers that they are far larger than any cache. */
static const bench_configuration configurations[] = {
    {"q8", "q8", "q8", IR_I8, false, 22},    {"q8.f32", "q8", "f32", IR_I8, false, 22},
    {"q4", "q4", "q8", IR_U4, true, 22},     {"q4.f32", "q4", "f32", IR_U4, true, 22},
    {"f16", "f16", "f32", IR_F16, false, 4}, {"f32", "f32", "f32", IR_F32, false, 2},
};

static const uint32_t token_counts[] = {1, 2, 4, 8, 16, 32};

/* Two threads are measured up to this many tokens. */
#define MOST_SHARED 4

typedef struct options {
    const char *json, *markdown, *folder, *only;
    bool quick, processor_time;
    uint32_t rounds, prefill_rounds;
} options;

typedef struct bench {
    td_context context;
    options options;
    rt_pool *pool;
    bench_figures figures;
    td_text passes; /* rows of the table of passes */
} bench;

/* --- what is measured --- */

static bool is_wanted(const bench *self, uint32_t tokens)
{
    return !self->options.quick || tokens == 1 || tokens == 4 || tokens == 16;
}

static bool add_variant(const bench *self, bench_group *group, uint32_t variant)
{
    const uint32_t rounds = self->options.rounds, few = self->options.prefill_rounds;
    bool added = true;
    for (bench_part part = BENCH_WHOLE; part < BENCH_PART_COUNT; part++) {
        for (size_t i = 0; i < TD_COUNT_OF(token_counts); i++)
            for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++)
                if (is_wanted(self, token_counts[i]) &&
                    (threads == 1 || (part == BENCH_WHOLE && token_counts[i] <= MOST_SHARED)))
                    added &= bench_add_case(
                        group, (bench_key){BENCH_PASS, variant, part, threads, token_counts[i]},
                        rounds);
        for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++)
            if (threads == 1 || part == BENCH_WHOLE)
                added &= bench_add_case(
                    group, (bench_key){BENCH_WHOLE_PREFILL, variant, part, threads, 0}, few);
    }
    for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++)
        added &= bench_add_case(
            group, (bench_key){BENCH_NEIGHBOUR, variant, BENCH_WHOLE, threads, 1}, rounds);
    return added;
}

static bool add_machine(const bench *self, bench_group *group)
{
    bool added = true;
    for (uint32_t way = 0; way < BENCH_READ_WAYS; way++)
        for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++)
            added &= bench_add_case(group, (bench_key){BENCH_READ, 0, 0, threads, way},
                                    self->options.rounds);
    for (uint32_t peak = 0; peak < BENCH_PEAK_COUNT; peak++)
        if (bench_peak_multiplications((bench_peak)peak) > 0)
            added &=
                bench_add_case(group, (bench_key){BENCH_PEAK, 0, 0, 1, peak}, self->options.rounds);
    return added;
}

/* --- from times to figures --- */

static double median(const bench_group *group, bench_work work, uint32_t variant, bench_part part,
                     uint32_t threads, uint32_t size)
{
    return bench_quantile(group, (bench_key){work, variant, part, threads, size}, 0.5);
}

/* The median of the fastest variant's single token. */
static double fastest_single(const bench_group *group, bench_part part, uint32_t threads)
{
    double fastest = 0;
    for (uint32_t v = 0; v < group->model_count; v++) {
        const double time = median(group, BENCH_PASS, v, part, threads, 1);
        if (fastest == 0 || time < fastest)
            fastest = time;
    }
    return fastest;
}

/* Bytes per second of the best way to read. */
static double bandwidth(const bench_group *group, uint32_t threads)
{
    double best = 0;
    for (uint32_t way = 0; way < BENCH_READ_WAYS; way++) {
        const double time = median(group, BENCH_READ, 0, 0, threads, way);
        const double rate = (double)group->models[0].info->weights_bytes / time;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Multiplications per second that such activations can reach; 0: unknown. */
static double peak_rate(const bench_group *group, const bench_configuration *configuration)
{
    const bench_peak peak =
        strcmp(configuration->activations, "q8") == 0 ? BENCH_PEAK_I8 : BENCH_PEAK_F32;
    const double time = median(group, BENCH_PEAK, 0, 0, 1, peak);
    return time == 0 ? 0 : bench_peak_multiplications(peak) / time;
}

static void add_pass_row(bench *self, const bench_group *group, uint32_t variant, uint32_t tokens)
{
    const char *name = group->models[variant].configuration->name;
    const bench_key whole = {BENCH_PASS, variant, BENCH_WHOLE, 1, tokens};
    const bench_key products = {BENCH_PASS, variant, BENCH_PRODUCTS, 1, tokens};
    const double time = bench_quantile(group, whole, 0.5);
    const double product_time = bench_quantile(group, products, 0.5);
    const double ratio = time / fastest_single(group, BENCH_WHOLE, 1);
    const double product_ratio = product_time / fastest_single(group, BENCH_PRODUCTS, 1);
    bench_add_figure(&self->figures, 1e3 * time, "ms", "%s.t1.k%u.ms", name, tokens);
    bench_add_figure(&self->figures, 1e3 * product_time, "ms", "%s.t1.k%u.product.ms", name,
                     tokens);
    bench_add_figure(&self->figures, ratio, "", "%s.k%u.ratio", name, tokens);
    bench_add_figure(&self->figures, product_ratio, "", "%s.k%u.product.ratio", name, tokens);
    td_text_printf(&self->passes,
                   "| %s | %u | %.1f | %.1f to %.1f | %.2f | %.1f | %.1f to %.1f | %.2f |\n", name,
                   tokens, 1e3 * time, 1e3 * bench_quantile(group, whole, 0),
                   1e3 * bench_quantile(group, whole, 1), ratio, 1e3 * product_time,
                   1e3 * bench_quantile(group, products, 0),
                   1e3 * bench_quantile(group, products, 1), product_ratio);
}

static void add_peak_figures(bench *self, const bench_group *group, uint32_t variant)
{
    const bench_model *model = &group->models[variant];
    const char *name = model->configuration->name;
    const double peak = peak_rate(group, model->configuration);
    if (peak == 0)
        return;
    const double most = 16 * (model->products_per_token + model->products_per_row);
    const double time = median(group, BENCH_PASS, variant, BENCH_PRODUCTS, 1, 16);
    bench_add_figure(&self->figures, most / time / peak, "", "%s.k16.product.peak_fraction", name);
    for (bench_part part = BENCH_WHOLE; part < BENCH_PART_COUNT; part++) {
        const double prefill = median(group, BENCH_WHOLE_PREFILL, variant, part, 1, 0);
        bench_add_figure(&self->figures, BENCH_PREFILL * model->products_per_token / prefill / peak,
                         "", "prefill.%s.t1.%s_fraction", name,
                         part == BENCH_WHOLE ? "whole" : "peak");
    }
}

static void add_thread_figures(bench *self, const bench_group *group, uint32_t variant)
{
    const bench_model *model = &group->models[variant];
    const char *name = model->configuration->name;
    for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++) {
        const double rate = (double)model->info->weights_read_per_pass /
                            median(group, BENCH_PASS, variant, BENCH_WHOLE, threads, 1);
        bench_add_figure(&self->figures, rate / bandwidth(group, threads), "",
                         "decode.%s.t%u.bandwidth_fraction", name, threads);
    }
    const double possible = bandwidth(group, 2) / bandwidth(group, 1);
    for (size_t i = 0; i < TD_COUNT_OF(token_counts) && token_counts[i] <= MOST_SHARED; i++) {
        const uint32_t tokens = token_counts[i];
        const double two = median(group, BENCH_PASS, variant, BENCH_WHOLE, 2, tokens);
        if (two == 0)
            continue;
        const double reached = median(group, BENCH_PASS, variant, BENCH_WHOLE, 1, tokens) / two;
        bench_add_figure(&self->figures, 1e3 * two, "ms", "%s.t2.k%u.ms", name, tokens);
        bench_add_figure(&self->figures, reached / possible, "",
                         "threads.%s.k%u.bandwidth_ratio_fraction", name, tokens);
    }
    bench_add_figure(&self->figures,
                     median(group, BENCH_WHOLE_PREFILL, variant, BENCH_WHOLE, 1, 0) /
                         median(group, BENCH_WHOLE_PREFILL, variant, BENCH_WHOLE, 2, 0),
                     "", "threads.%s.speedup", name);
    bench_add_figure(&self->figures,
                     median(group, BENCH_NEIGHBOUR, variant, BENCH_WHOLE, 1, 1) /
                         median(group, BENCH_NEIGHBOUR, variant, BENCH_WHOLE, 2, 1),
                     "", "neighbour.%s.ratio", name);
}

static void add_figures(bench *self, const bench_group *group)
{
    const char *weights = group->models[0].configuration->weights;
    for (uint32_t threads = 1; threads <= BENCH_MAX_THREADS; threads++)
        bench_add_figure(&self->figures, bandwidth(group, threads) / 1e9, "GB/s",
                         "machine.%s.t%u.bandwidth", weights, threads);
    for (uint32_t peak = 0; peak < BENCH_PEAK_COUNT; peak++) {
        const double time = median(group, BENCH_PEAK, 0, 0, 1, peak);
        if (time > 0)
            bench_add_figure(
                &self->figures, bench_peak_multiplications((bench_peak)peak) / time / 1e9, "G/s",
                "machine.%s.%s_multiplications", weights, peak == BENCH_PEAK_F32 ? "f32" : "i8");
    }
    bench_add_figure(&self->figures, group->computed / group->elapsed, "", "machine.%s.share",
                     weights);
    for (uint32_t v = 0; v < group->model_count; v++) {
        const bench_model *model = &group->models[v];
        for (size_t i = 0; i < TD_COUNT_OF(token_counts); i++)
            if (is_wanted(self, token_counts[i]))
                add_pass_row(self, group, v, token_counts[i]);
        add_peak_figures(self, group, v);
        add_thread_figures(self, group, v);
        bench_add_figure(&self->figures, model->compile_seconds, "s", "compile.%s.seconds",
                         model->configuration->name);
        bench_add_figure(&self->figures, (double)model->info->weights_read_per_pass / 1e6, "MB",
                         "%s.weights", model->configuration->name);
    }
}

/* --- the run --- */

static td_status measure_group(bench *self, bench_group *group)
{
    bool added = add_machine(self, group);
    for (uint32_t v = 0; v < group->model_count; v++)
        added = add_variant(self, group, v) && added;
    if (!added)
        return td_fail(&self->context, TD_INTERNAL, "more than %d cases", BENCH_MAX_CASES);
    bench_run_cases(group, false);
    const pid_t neighbour = bench_start_neighbour();
    if (neighbour < 0)
        return td_fail(&self->context, TD_IO, "no process for the neighbour");
    bench_run_cases(group, true);
    bench_stop_neighbour(neighbour);
    add_figures(self, group);
    return TD_OK;
}

/* Opens the models of rows first .. end - 1 that this compiler can make. */
static td_status open_models(bench *self, bench_group *group, size_t first, size_t end)
{
    td_context *context = &self->context;
    for (size_t i = first; i < end; i++) {
        const bench_configuration *row = &configurations[i];
        fprintf(stderr, "%s: weights %s, activations %s, %u layers\n", row->name, row->weights,
                row->activations, row->layers);
        const td_status status = bench_model_open(context, row, self->options.folder,
                                                  &group->models[group->model_count]);
        if (status == TD_UNSUPPORTED)
            fprintf(stderr, "  left out: %s\n", context->message);
        else if (status != TD_OK)
            return status;
        else
            group->model_count++;
    }
    return TD_OK;
}

static td_status run_group(bench *self, size_t first, size_t end)
{
    bench_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return td_fail_memory(&self->context);
    group->pool = self->pool;
    group->processor_time = self->options.processor_time;
    td_status status = open_models(self, group, first, end);
    if (status == TD_OK && group->model_count > 0)
        status = measure_group(self, group);
    for (uint32_t v = 0; v < group->model_count; v++)
        bench_model_close(&self->context, &group->models[v]);
    free(group);
    return status;
}

static td_status run_all(bench *self)
{
    const size_t count = TD_COUNT_OF(configurations);
    for (size_t first = 0, end; first < count; first = end) {
        const char *weights = configurations[first].weights;
        end = first + 1;
        while (end < count && strcmp(configurations[end].weights, weights) == 0)
            end++;
        if (self->options.only == NULL || strcmp(self->options.only, weights) == 0)
            TD_TRY(run_group(self, first, end));
    }
    return self->figures.failed || self->passes.failed ? td_fail_memory(&self->context) : TD_OK;
}

/* --- results --- */

static void print_processor(FILE *stream)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info != NULL && fgets(line, sizeof line, info) != NULL)
        if (strncmp(line, "model name", 10) == 0) {
            char *name = strchr(line, ':');
            line[strcspn(line, "\n")] = '\0';
            fprintf(stream, "%u processors, %s", rt_processors(), name == NULL ? "?" : name + 2);
            break;
        }
    if (info != NULL)
        fclose(info);
}

static void write_report(const bench *self, FILE *stream)
{
    fputs("# Kernels\n\nMade by `./dev bench kernels` on ", stream);
    print_processor(stream);
    fprintf(
        stream,
        ".\n\n"
        "TinyLlama's shape with random weights, %d committed slots, an f16 cache, one thread. A "
        "pass\n"
        "takes a chain of k tokens and computes the logits of all; products are its matrix "
        "products\n"
        "alone, with the same code and the same weights. Times are medians of %u interleaved runs; "
        "a\n"
        "ratio divides by the fastest single token of any configuration with these weights. Plain\n"
        "names have 8-bit activations where weights are integers, `.f32` says f32 activations. "
        "f16\n"
        "has 4 layers and f32 has 2, so that files stay small.\n\n"
        "| configuration | k | pass, ms | range | ratio | products, ms | range | ratio |\n"
        "|---|---|---|---|---|---|---|---|\n",
        BENCH_COMMITTED, self->options.rounds);
    fputs(self->passes.data == NULL ? "" : self->passes.data, stream);
    fputs(
        "\n## All figures\n\n"
        "Bandwidth is the best of one and four streams, with and without prefetch, over the same\n"
        "pages. Peaks are loops of fused multiply-adds (f32 activations) and of dot products of "
        "bytes\n"
        "(8-bit ones) in registers. `speedup` is prefill with two threads against one, `neighbour` "
        "the\n"
        "speed of two threads against one while another process computes on one of the "
        "processors.\n"
        "Compile times contain making the random weights.\n\n",
        stream);
    bench_write_table(&self->figures, stream);
}

static td_status write_file(bench *self, const char *path, void (*write)(const bench *, FILE *))
{
    td_output output;
    if (path == NULL)
        return TD_OK;
    TD_TRY(td_output_open(&self->context, path, &output));
    write(self, output.stream);
    return td_output_commit(&self->context, &output, false);
}

static void write_list(const bench *self, FILE *stream)
{
    bench_write_json(&self->figures, stream);
}

static td_status write_results(bench *self)
{
    write_report(self, stdout);
    TD_TRY(write_file(self, self->options.markdown, write_report));
    return write_file(self, self->options.json, write_list);
}

/* --- the command line --- */

static bool parse_options(int count, char **arguments, options *parsed)
{
    static const struct option known[] = {{"json", required_argument, NULL, 'j'},
                                          {"markdown", required_argument, NULL, 'm'},
                                          {"folder", required_argument, NULL, 'f'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"processor-time", no_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    *parsed = (options){.folder = "build/bench", .rounds = 5, .prefill_rounds = 3};
    for (int key; (key = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (key) {
        case 'j':
            parsed->json = optarg;
            break;
        case 'm':
            parsed->markdown = optarg;
            break;
        case 'f':
            parsed->folder = optarg;
            break;
        case 'o':
            parsed->only = optarg;
            break;
        case 'p':
            parsed->processor_time = true;
            break;
        case 'q':
            parsed->quick = true;
            parsed->rounds = 3;
            parsed->prefill_rounds = 1;
            break;
        default:
            return false;
        }
    }
    return optind == count;
}

static td_status run_with_pool(bench *self)
{
    const size_t bytes = (BENCH_MAX_THREADS - 1) * (TANDEM_PAGE_BYTES + TANDEM_STACK_BYTES);
    void *stacks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->pool = aligned_alloc(64, (sizeof *self->pool + 63) / 64 * 64);
    if (stacks == MAP_FAILED || self->pool == NULL) {
        free(self->pool);
        return td_fail_memory(&self->context);
    }
    memset(self->pool, 0, sizeof *self->pool);
    td_status status = TD_OK;
    if (rt_pool_start(self->pool, BENCH_MAX_THREADS, rt_pool_looks(BENCH_MAX_THREADS), stacks) != 0)
        status = td_fail(&self->context, TD_IO, "no second thread");
    if (status == TD_OK) {
        status = run_all(self);
        rt_pool_stop(self->pool);
    }
    free(self->pool);
    munmap(stacks, bytes);
    return status;
}

int main(int count, char **arguments)
{
    bench self = {0};
    td_context_init(&self.context);
    if (!parse_options(count, arguments, &self.options)) {
        fputs("usage: tandem_bench [--quick] [--only WEIGHTS] [--processor-time] [--json FILE] "
              "[--markdown FILE] "
              "[--folder FOLDER]\n",
              stderr);
        return 2;
    }
    self.figures.context = &self.context;
    td_text_init(&self.passes, &self.context);
    mkdir(self.options.folder, 0755);
    td_status status = run_with_pool(&self);
    if (status == TD_OK)
        status = write_results(&self);
    if (status != TD_OK)
        fprintf(stderr, "tandem_bench: %s\n", self.context.message);
    td_text_release(&self.passes);
    td_array_release(&self.context, &self.figures.items);
    return status == TD_OK ? 0 : 1;
}
