/* Passes of Tandem's generated code and of llama.cpp side by side: the same shape, the same
 * precision, the same machine, taking turns.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/llama/gguf_file.h"
#include "tests/bench/llama/library.h"
#include "tests/bench/machine.h"
#include "tests/bench/model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ROUNDS      7
#define MAX_THREADS 2

static const struct {
    bench_configuration tandem;
    gguf_type llama;
} rows[] = {
    {{"q8_0", "q8", "q8", IR_I8, false, 22}, GGUF_Q8_0},
    {{"q4_0", "q4", "q8", IR_I4, false, 22}, GGUF_Q4_0},
};

static const uint32_t token_counts[] = {1, 2, 4, 8, 16};

enum { TANDEM, LLAMA, SIDES };

typedef struct comparison {
    td_context context;
    const char *folder;
    const llama_library *library;
    rt_pool *pool;
    bench_model model;
    llama_session *session;
    double seconds[TD_COUNT_OF(token_counts)][MAX_THREADS][SIDES][ROUNDS];
} comparison;

static bool run_once(comparison *self, size_t count, uint32_t threads, int side, double *seconds)
{
    const uint32_t tokens = token_counts[count];
    const double before = bench_seconds();
    bool done = true;
    if (side == TANDEM)
        bench_pass(&self->model, BENCH_WHOLE, self->pool, threads, BENCH_COMMITTED, tokens, tokens);
    else
        done = llama_pass(self->session, threads, BENCH_COMMITTED, tokens);
    *seconds = bench_seconds() - before;
    return done;
}

/* The first round warms up and is overwritten. */
static bool run_rounds(comparison *self)
{
    if (!llama_pass(self->session, MAX_THREADS, 0, BENCH_COMMITTED))
        return false;
    for (int round = -1; round < ROUNDS; round++)
        for (size_t i = 0; i < TD_COUNT_OF(token_counts); i++)
            for (uint32_t threads = 1; threads <= MAX_THREADS; threads++)
                for (int side = 0; side < SIDES; side++) {
                    double *to = &self->seconds[i][threads - 1][side][round < 0 ? 0 : round];
                    if (!run_once(self, i, threads, side, to))
                        return false;
                }
    return true;
}

static int compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_rows(comparison *self, FILE *stream)
{
    for (uint32_t threads = 1; threads <= MAX_THREADS; threads++)
        for (size_t i = 0; i < TD_COUNT_OF(token_counts); i++) {
            double median[SIDES], single[SIDES];
            for (int side = 0; side < SIDES; side++) {
                double *mine = self->seconds[i][threads - 1][side];
                qsort(mine, ROUNDS, sizeof *mine, compare_seconds);
                median[side] = mine[ROUNDS / 2];
                single[side] = self->seconds[0][threads - 1][side][ROUNDS / 2];
            }
            fprintf(stream, "| %s | %u | %u | %.1f | %.2f | %.1f | %.2f | %.2f |\n",
                    self->model.configuration->name, threads, token_counts[i], 1e3 * median[TANDEM],
                    median[TANDEM] / single[TANDEM], 1e3 * median[LLAMA],
                    median[LLAMA] / single[LLAMA], median[LLAMA] / median[TANDEM]);
        }
}

static bool compare_row(comparison *self, size_t row, FILE *stream)
{
    char path[1024];
    const bench_configuration *configuration = &rows[row].tandem;
    snprintf(path, sizeof path, "%s/%s.gguf", self->folder, configuration->name);
    if (!gguf_write(path, rows[row].llama))
        return false;
    if (bench_model_open(&self->context, configuration, self->folder, &self->model) != TD_OK) {
        fprintf(stderr, "%s\n", self->context.message);
        return false;
    }
    self->session = llama_session_open(self->library, path);
    bool done = self->session != NULL && run_rounds(self);
    if (done)
        print_rows(self, stream);
    if (self->session != NULL)
        llama_session_close(self->session);
    bench_model_close(&self->context, &self->model);
    return done;
}

static bool start_pool(comparison *self)
{
    const size_t bytes = (MAX_THREADS - 1) * (TANDEM_PAGE_BYTES + TANDEM_STACK_BYTES);
    void *stacks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->pool = aligned_alloc(64, (sizeof *self->pool + 63) / 64 * 64);
    if (stacks == MAP_FAILED || self->pool == NULL)
        return false;
    memset(self->pool, 0, sizeof *self->pool);
    return rt_pool_start(self->pool, MAX_THREADS, rt_pool_looks(MAX_THREADS), stacks) == 0;
}

static const char heading[] =
    "# Side by side with llama.cpp\n\n"
    "Made by `./dev bench llama`. TinyLlama's shape with random weights of 8 and 4 bits (GGUF's\n"
    "Q8_0 and Q4_0: symmetric, an f16 scale for each 32), activations of 8 bits on both sides, "
    "256\n"
    "tokens in an f16 cache. A pass takes k tokens and computes the logits of all. Times are\n"
    "medians of 7 runs in which the two take turns; *ratio* is against one token of the same "
    "side,\n"
    "*speed-up* llama.cpp's time divided by Tandem's. llama.cpp is the prebuilt one of the npm\n"
    "package `@node-llama-cpp/linux-x64`, with the back end that it chooses for this processor.\n\n"
    "| weights | threads | k | Tandem, ms | ratio | llama.cpp, ms | ratio | speed-up |\n"
    "|---|---|---|---|---|---|---|---|\n";

int main(int count, char **arguments)
{
    static comparison self;
    if (count != 4) {
        fputs("usage: tandem_bench_llama FOLDER_OF_LLAMA_LIBRARIES WORK_FOLDER REPORT\n", stderr);
        return 2;
    }
    td_context_init(&self.context);
    self.folder = arguments[2];
    mkdir(self.folder, 0755);
    self.library = llama_library_open(arguments[1]);
    FILE *report = self.library == NULL ? NULL : fopen(arguments[3], "w");
    bool done = report != NULL && start_pool(&self);
    if (done)
        fputs(heading, report);
    for (size_t i = 0; i < TD_COUNT_OF(rows) && done; i++)
        done = compare_row(&self, i, report);
    if (report != NULL)
        fclose(report);
    return done ? 0 : 1;
}
