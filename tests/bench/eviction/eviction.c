/* What eviction costs in quality: perplexity and agreement with the full cache, by policy and share
 * of the tokens kept. Writes a Markdown table to standard output.
 *
 *     tandem_bench_eviction MODEL.so TEXT WINDOWS [STEP POLICY ..]
 *
 * MODEL.so is a library of `tandem compile --emit=shared --evict=snapkv`, whose only model is fed
 * with windows of LENGTH tokens of the text, spread evenly over it, by teacher forcing; every
 * processor has a handle of its own and takes a part of the windows. Figures are
 * of the second half of each window, where every budget has been exceeded. A budget is the most
 * slots that are ever taken; after an eviction fewer are. Errors are standard errors over windows
 * of differences between ways of treating the same window. STEP is the number of tokens between
 * evictions (0: the default), POLICY a base policy (default: all).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "runtime/internal.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH  1024 /* tokens of a window, the one that texts start with included */
#define FIRST   512  /* from which on predictions count */
#define COUNTED (LENGTH - 1 - FIRST)
#define MOST    1024 /* windows */
#define BYTES   8192 /* of text that hold a window */
#define BUDGETS 3
#define WORKERS 16 /* at most */

static const double shares[BUDGETS] = {0.1, 0.2, 0.4};
static const char *const bases[] = {"recent", "h2o", "tova", "snapkv", "keydiff"};
static const char *const rescores[] = {"", "+caote", "+fastcaote"};

/* What a model said about the second half of every window. */
typedef struct outcome {
    double nats[MOST];  /* mean negative log-likelihood of the window's tokens */
    double agree[MOST]; /* share of positions whose most likely token is the full cache's */
} outcome;

typedef struct bench {
    const tandem_artefact *artefact;
    int32_t (*windows)[LENGTH];
    int32_t (*choices)[COUNTED]; /* of the full cache */
    uint32_t count, step;
    char **policies; /* ended by NULL; none: all */
} bench;

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "tandem_bench_eviction: %s: %s\n", what, why);
    exit(1);
}

static const tandem_artefact *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library == NULL ? NULL : dlsym(library, "tandem_model_query");
    tandem_query query = NULL;
    if (symbol == NULL)
        fail(path, dlerror());
    memcpy(&query, &symbol, sizeof query);
    return query(TANDEM_ABI_VERSION);
}

static tandem_model *open_model(const bench *self, const char *policy, uint32_t slots)
{
    const tandem_options options = {.slots = slots,
                                    .threads = 1,
                                    .eviction = policy,
                                    .evict_step = self->step,
                                    .text_bytes = BYTES};
    tandem_error error = {0};
    tandem_model *model = NULL;
    if (tandem_runtime_api.open(self->artefact, &options, &error, &model) != TANDEM_OK)
        fail(policy, error.text);
    return model;
}

/* --- windows --- */

static void read_windows(bench *self, const char *path)
{
    td_context context;
    td_file file;
    td_context_init(&context);
    if (td_file_map(&context, path, &file) != TD_OK)
        fail(path, context.message);
    tandem_model *model = open_model(self, "none", 0);
    for (uint32_t i = 0; i < self->count; i++) {
        const size_t start = (file.size - BYTES) / self->count * i;
        const void *word = memchr(file.data + start, ' ', 256); /* a whole one */
        const char *text = word;
        int32_t *ids = self->windows[i];
        size_t count = 0;
        if (text == NULL || tandem_runtime_api.tokenize(model, text, BYTES - 256, ids + 1,
                                                        LENGTH - 1, &count) != TANDEM_OK)
            fail(path, "a window cannot be tokenized");
        if (count < LENGTH - 1)
            fail(path, "a window has too few tokens");
        ids[0] = rt_tokenizer_bos(model->tokenizer);
        if (ids[0] < 0)
            ids[0] = self->artefact->eos_id;
    }
    tandem_runtime_api.close(model);
    td_file_unmap(&context, &file);
}

/* --- running --- */

/* The negative log-likelihood of an id. */
static double nats_of(const rt_row *logits, float largest, int32_t id)
{
    const double logit = (double)logits->values[id];
    return log(rt_exponentials(logits->values, logits->count, largest, 1, logits->values)) +
           (double)largest - logit;
}

/* Notes what row `row` of the last pass says about the token after position `position`. */
static void note(const bench *self, const tandem_session *session, uint32_t window, uint32_t row,
                 uint32_t position, bool full, outcome *result)
{
    const rt_row logits = rt_logits(session, RT_TARGET, row);
    const rt_two_largest found = rt_find_largest(logits.values, logits.count);
    const int32_t choice = (int32_t)found.index;
    int32_t *expected = &self->choices[window][position - FIRST];
    if (full)
        *expected = choice;
    result->nats[window] +=
        nats_of(&logits, found.first, self->windows[window][position + 1]) / COUNTED;
    result->agree[window] += (choice == *expected) / (double)COUNTED;
}

static void run_window(const bench *self, tandem_model *model, uint32_t window, bool full,
                       outcome *result)
{
    tandem_session *session;
    if (rt_session_create(model, &session) != TANDEM_OK ||
        rt_feed(session, self->windows[window], LENGTH) != TANDEM_OK)
        fail("a window", model->error.text);
    const rt_cache *cache = &session->caches[RT_TARGET];
    const uint32_t most = self->artefact->models[RT_TARGET].max_rows;
    result->nats[window] = result->agree[window] = 0;
    rt_catch_up(session, RT_TARGET, FIRST); /* no logits are needed there */
    while (cache->fed < LENGTH - 1) {
        const uint32_t before = cache->fed, room = rt_room(session, RT_TARGET);
        uint32_t text = most < room ? most : room;
        text = text < LENGTH - 1 - before ? text : LENGTH - 1 - before;
        const rt_pass pass = {.text = text, .rows = text};
        rt_forward(session, RT_TARGET, &pass);
        for (uint32_t i = 0; i < text; i++)
            note(self, session, window, i, before + i, full, result);
        rt_commit(session, RT_TARGET, NULL, 0);
    }
    rt_session_destroy(session);
}

/* What one thread does: every `workers`-th window, from number `first` on. */
typedef struct worker {
    const bench *self;
    const char *policy;
    uint32_t slots, first, workers;
    outcome *result;
    pthread_t thread;
} worker;

static void *run_windows(void *pointer)
{
    const worker *work = pointer;
    const bool full = strcmp(work->policy, "none") == 0;
    tandem_model *model = open_model(work->self, work->policy, work->slots);
    for (uint32_t window = work->first; window < work->self->count; window += work->workers)
        run_window(work->self, model, window, full, work->result);
    tandem_runtime_api.close(model);
    return NULL;
}

static void run(const bench *self, const char *policy, uint32_t slots, outcome *result)
{
    const double start = rt_seconds();
    const uint32_t workers = rt_processors() < WORKERS ? rt_processors() : WORKERS;
    worker all[WORKERS];
    for (uint32_t i = 0; i < workers; i++) {
        all[i] = (worker){self, policy, slots, i, workers, result, 0};
        if (pthread_create(&all[i].thread, NULL, run_windows, &all[i]) != 0)
            fail(policy, "a thread cannot be started");
    }
    for (uint32_t i = 0; i < workers; i++)
        pthread_join(all[i].thread, NULL);
    fprintf(stderr, "%-20s %4u slots: %6.2f s\n", policy, slots, rt_seconds() - start);
}

/* --- figures --- */

typedef struct estimate {
    double mean, error; /* standard, of the mean */
} estimate;

/* Of values, or of their differences from others, which may be NULL. */
static estimate estimate_of(const double *values, const double *others, uint32_t count)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i] - (others == NULL ? 0 : others[i]);
    const double mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += pow(values[i] - (others == NULL ? 0 : others[i]) - mean, 2);
    return (estimate){mean, sqrt(squares / (count - 1) / count)};
}

static void print_cell(const bench *self, const outcome *result, const outcome *full)
{
    const estimate nats = estimate_of(result->nats, NULL, self->count);
    const estimate loss = estimate_of(result->nats, full->nats, self->count);
    const estimate agree = estimate_of(result->agree, NULL, self->count);
    printf(" | %.3f (%+.2f ± %.2f %%), %.1f %%", exp(nats.mean), 100 * expm1(loss.mean),
           100 * loss.error, 100 * agree.mean);
}

/* Percent of perplexity that a rescored policy loses against its base: below zero is a gain. */
static void print_change(const bench *self, const outcome *result, const outcome *base)
{
    const estimate nats = estimate_of(result->nats, base->nats, self->count);
    const estimate agree = estimate_of(result->agree, base->agree, self->count);
    printf(" | %+.2f ± %.2f %%, %+.2f ± %.2f", 100 * expm1(nats.mean), 100 * nats.error,
           100 * agree.mean, 100 * agree.error);
}

static uint32_t slots_of(double share)
{
    return (uint32_t)lround(share * LENGTH / TANDEM_SLOT_MULTIPLE) * TANDEM_SLOT_MULTIPLE;
}

static void print_header(const char *first)
{
    printf("\n| %s", first);
    for (int b = 0; b < BUDGETS; b++)
        printf(" | %.0f %%: %u slots", 100 * shares[b], slots_of(shares[b]));
    printf(" |\n|---|---|---|---|\n");
}

#define BASES    (sizeof bases / sizeof *bases)
#define RESCORES (sizeof rescores / sizeof *rescores)

static bool is_wanted(const bench *self, const char *policy)
{
    for (char **name = self->policies; *name != NULL; name++)
        if (strcmp(*name, policy) == 0)
            return true;
    return self->policies[0] == NULL;
}

/* Ways to rescore a base policy, itself included; 0: it is not wanted. */
static size_t rescores_of(const bench *self, size_t base)
{
    return !is_wanted(self, bases[base]) ? 0 : base == 0 ? 1 : RESCORES;
}

static void run_all(const bench *self, const outcome *full, outcome (*results)[RESCORES][BUDGETS])
{
    for (size_t p = 0; p < BASES; p++)
        for (size_t r = 0; r < rescores_of(self, p); r++)
            for (int b = 0; b < BUDGETS; b++) {
                char name[32];
                snprintf(name, sizeof name, "%s%s", bases[p], rescores[r]);
                run(self, name, slots_of(shares[b]), &results[p][r][b]);
            }
    const estimate nats = estimate_of(full->nats, NULL, self->count);
    printf("%u windows of %d tokens, figures of %u predictions; full cache: perplexity %.3f.\n",
           self->count, LENGTH, self->count * COUNTED, exp(nats.mean));
    print_header("policy: perplexity (loss), agreement");
    for (size_t p = 0; p < BASES; p++)
        for (size_t r = 0; r < rescores_of(self, p); r++) {
            printf("| `%s%s`", bases[p], rescores[r]);
            for (int b = 0; b < BUDGETS; b++)
                print_cell(self, &results[p][r][b], full);
            puts(" |");
        }
    print_header("against its base policy: perplexity, points of agreement");
    for (size_t p = 1; p < BASES; p++)
        for (size_t r = 1; r < rescores_of(self, p); r++) {
            printf("| `%s%s`", bases[p], rescores[r]);
            for (int b = 0; b < BUDGETS; b++)
                print_change(self, &results[p][r][b], &results[p][0][b]);
            puts(" |");
        }
}

int main(int count, char **arguments)
{
    bench self = {.count = count >= 4 ? (uint32_t)strtoul(arguments[3], NULL, 10) : 0,
                  .step = count >= 5 ? (uint32_t)strtoul(arguments[4], NULL, 10) : 0,
                  .policies = arguments + (count >= 5 ? 5 : count)};
    if (self.count < 2 || self.count > MOST)
        fail("usage",
             "tandem_bench_eviction MODEL.so TEXT WINDOWS [STEP POLICY ..] (2 to 1024 windows)");
    self.artefact = load(arguments[1]);
    self.windows = calloc(self.count, sizeof *self.windows);
    self.choices = calloc(self.count, sizeof *self.choices);
    outcome *full = calloc(1, sizeof *full);
    outcome(*results)[RESCORES][BUDGETS] = calloc(BASES, sizeof *results);
    if (self.windows == NULL || self.choices == NULL || full == NULL || results == NULL)
        fail("memory", "there is too little");
    read_windows(&self, arguments[2]);
    run(&self, "none", 0, full);
    run_all(&self, full, results);
    free(self.windows);
    free(self.choices);
    free(full);
    free(results);
    return 0;
}
