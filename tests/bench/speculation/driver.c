/* Times decoding of compiled pairs in one process, interleaved:
 *
 *     driver TEXT PROMPTS TOKENS TEMPERATURE NAME=LIBRARY:THREADS:DRAFT ...
 *
 * Prompts are pieces of the file TEXT. Each is continued by every configuration in turn, in an
 * order that is shuffled for each prompt, so that no configuration always finds the cache as the
 * same other one left it; what counts is the time after the first tokens were handed out, by the
 * tokens that came later. One line per configuration, tab separated: name, median microseconds per
 * token, median over prompts of the first configuration's time over this one's, median milliseconds
 * to the first token, median over prompts of this time over that of the first configuration of the
 * same library and threads, tokens per target pass, drafted tokens per pass and, of these, copied
 * ones.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/tandem.h"
#include "tests/bench/speculation/prompts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_CONFIGURATIONS 24

typedef struct configuration {
    char name[64], library[512], draft[64];
    unsigned threads;
    const tandem_api *api;
    tandem_model *model;
    double seconds[MOST_PROMPTS], ratio[MOST_PROMPTS], first[MOST_PROMPTS];
    double first_ratio[MOST_PROMPTS];
    unsigned like; /* the first configuration of the same library and threads */
    uint64_t tokens, rounds, drafted, copied;
} configuration;

typedef struct watch {
    double first, last;
    uint64_t first_tokens, tokens;
} watch;

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool note_piece(void *user, const tandem_piece *piece)
{
    watch *self = user;
    if (piece->count == 0)
        return true;
    self->last = seconds_now();
    self->tokens += piece->count;
    if (self->first == 0) {
        self->first = self->last;
        self->first_tokens = piece->count;
    }
    return true;
}

static void read_configuration(const char *text, configuration *self)
{
    if (sscanf(text, "%63[^=]=%511[^:]:%u:%63s", self->name, self->library, &self->threads,
               self->draft) != 4)
        fail("is no NAME=LIBRARY:THREADS:DRAFT", text);
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail(dlerror(), self->library);
    tandem_query query = NULL;
    void *symbol = dlsym(library, "tandem_pair_query");
    memcpy(&query, &symbol, sizeof query);
    if (query == NULL)
        fail("has no tandem_pair_query", self->library);
    const tandem_artefact *artefact = query(TANDEM_ABI_VERSION);
    self->api = artefact->api;
    const tandem_options options = {.threads = self->threads};
    tandem_error error;
    if (self->api->open(artefact, &options, &error, &self->model) != TANDEM_OK)
        fail(error.text, self->library);
}

static bool is_alike(const configuration *left, const configuration *right)
{
    return left->threads == right->threads && strcmp(left->library, right->library) == 0;
}

static void time_prompt(configuration *self, const char *prompt, unsigned number, uint32_t tokens,
                        double temperature)
{
    tandem_session *session;
    tandem_stats stats;
    watch times = {0};
    const tandem_generate_options options = {.max_tokens = tokens,
                                             .draft = self->draft,
                                             .temperature = temperature,
                                             .seed = number,
                                             .ignore_end = true};
    if (self->api->session_create(self->model, &session) != TANDEM_OK ||
        self->api->feed_text(session, prompt, PROMPT_BYTES) != TANDEM_OK)
        fail(self->api->error(self->model), self->name);
    const double start = seconds_now();
    if (self->api->generate(session, &options, note_piece, &times) != TANDEM_OK)
        fail(self->api->error(self->model), self->name);
    self->api->stats(session, &stats);
    self->api->session_destroy(session);
    self->first[number] = times.first - start;
    self->seconds[number] =
        (times.last - times.first) / (double)(times.tokens - times.first_tokens);
    self->tokens += stats.tokens;
    self->rounds += stats.rounds;
    self->drafted += stats.drafted;
    self->copied += stats.copied;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* The next order of so many configurations; it does not begin with the one that came last. */
static void shuffle(unsigned *order, unsigned count, uint64_t *state)
{
    const unsigned last = order[count - 1];
    for (unsigned i = count; i > 1; i--) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const unsigned other = (unsigned)(*state >> 33) % i, kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    if (order[0] == last && count > 1) {
        order[0] = order[count - 1];
        order[count - 1] = last;
    }
}

int main(int count, char **arguments)
{
    static configuration all[MOST_CONFIGURATIONS];
    if (count < 6 || count - 5 > MOST_CONFIGURATIONS)
        fail("usage: driver TEXT PROMPTS TOKENS TEMPERATURE NAME=LIBRARY:THREADS:DRAFT ...",
             "arguments");
    const prompt_text text = read_prompts(arguments[1], arguments[2]);
    const unsigned prompts = text.prompts, last = (unsigned)(count - 5);
    unsigned order[MOST_CONFIGURATIONS];
    for (unsigned i = 0; i < last; i++) {
        read_configuration(arguments[5 + i], &all[i]);
        order[i] = i;
        while (!is_alike(&all[all[i].like], &all[i]))
            all[i].like++;
    }
    uint64_t state = 1;
    for (unsigned number = 0; number < prompts; number++) {
        const char *prompt = prompt_at(&text, number);
        shuffle(order, last, &state);
        for (unsigned i = 0; i < last; i++)
            time_prompt(&all[order[i]], prompt, number, (uint32_t)atoi(arguments[3]),
                        atof(arguments[4]));
        for (unsigned i = 0; i < last; i++) {
            all[i].ratio[number] = all[0].seconds[number] / all[i].seconds[number];
            all[i].first_ratio[number] = all[i].first[number] / all[all[i].like].first[number];
        }
    }
    for (unsigned i = 0; i < last; i++) {
        configuration *self = &all[i];
        printf("%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\n", self->name,
               median(self->seconds, prompts) * 1e6, median(self->ratio, prompts),
               median(self->first, prompts) * 1e3, median(self->first_ratio, prompts),
               (double)self->tokens / (double)self->rounds,
               (double)self->drafted / (double)self->rounds,
               (double)self->copied / (double)self->rounds);
        self->api->close(self->model);
    }
    free(text.text);
    return 0;
}
