/* Block efficiency of draft trees, paired over prompts:
 *
 *     tandem_bench_trees LIBRARY TEXT PROMPTS TOKENS >docs/trees.md
 *
 * LIBRARY is a compiled pair, prompts are pieces of the file TEXT. Every tree continues every
 * prompt at every temperature; what is compared are tokens per target pass. Drawing with
 * replacement, which the runtime does not have, is written out here, and compared at the same
 * places of the same texts by what is expected over the draws of verification.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PROMPTS 512u
#define PROMPT_BYTES 240u

typedef struct bench {
    tandem_model *model;
    char *text;
    size_t bytes;
    uint32_t prompts, tokens;
    float *weights;    /* of the distributions behind nodes */
    double *residuals; /* by level */
} bench;

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "tandem_bench_trees: %s: %s\n", what, why);
    exit(1);
}

/* --- expected tokens --- */

/* Grows a level in which every node gets `width` children, each drawn from all of q. */
static void grow_with_replacement(const rt_growth *growth, uint32_t width)
{
    rt_tree *tree = growth->tree;
    rt_tree_deepen(tree);
    for (uint32_t i = 0; i < growth->count; i++) {
        const rt_branch *branch = &growth->branches[i];
        for (uint32_t order = 0; order < width; order++) {
            uint32_t index = branch->node * 256 + order, level = tree->levels - 1;
            uint32_t entry =
                rt_draw(&branch->q, rt_uniform(growth->dice, level, RT_DRAW_CHILD, index));
            uint32_t child = rt_tree_add(tree, branch->node, rt_row_id(&branch->q.row, entry));
            tree->nodes[child].entry = entry;
            tree->nodes[child].weight = branch->q.row.values[entry];
        }
    }
}

static float *weights_behind(const bench *self, uint32_t node)
{
    return self->weights +
           (uint64_t)node * self->model->artefact->models[RT_DRAFTER].logits.columns;
}

static void grow(const bench *self, tandem_session *session, const rt_warp *warp,
                 const rt_dice *dice, uint32_t width, bool replace)
{
    rt_tree *tree = &session->tree;
    rt_branch branches[RT_MAX_DRAFT];
    uint8_t children[RT_MAX_DRAFT];
    uint32_t first = tree->first[tree->levels];
    uint32_t vocabulary = self->model->artefact->models[RT_TARGET].vocabulary;
    const rt_growth growth = {tree, dice, branches, tree->count - first};
    for (uint32_t i = 0; i < growth.count; i++) {
        rt_row logits = rt_logits(session, RT_DRAFTER, i);
        rt_weights q = rt_distribution(warp, &logits, vocabulary, weights_behind(self, first + i));
        branches[i] = (rt_branch){.node = first + i, .q = q, .whole = q.total};
        tree->nodes[first + i].total = q.total;
        children[i] = (uint8_t)width;
    }
    if (replace)
        grow_with_replacement(&growth, width);
    else
        rt_grow_each(&growth, children);
}

/* Draft tokens below a node that will be kept, on average over the draws of verification: each
 * child of a node is kept with probability min(1, r / q) when those before it were not. `room` has
 * numbers for the residuals of this level and the deeper ones. */
static double expected_below(const bench *self, tandem_session *session, const rt_warp *warp,
                             uint32_t node, bool replace, double *room)
{
    const rt_tree *tree = &session->tree;
    const tandem_model_info *drafter = &self->model->artefact->models[RT_DRAFTER];
    uint32_t child = rt_tree_next_child(tree, node, 0);
    if (child == 0)
        return 0;
    rt_row logits = rt_logits(session, RT_TARGET, node);
    rt_weights p = rt_distribution(warp, &logits, logits.count, logits.values);
    rt_weights q = {{weights_behind(self, node), drafter->head_ids, drafter->logits.columns},
                    tree->nodes[node].total};
    rt_residual r;
    rt_residual_start(&p, room, &r);
    double tokens = 0, reached = 1;
    for (; child != 0; child = rt_tree_next_child(tree, node, child)) {
        const rt_node *drawn = &tree->nodes[child];
        double kept = fmin(1, r.values[drawn->id] / r.total / ((double)drawn->weight / q.total));
        if (kept > 0)
            tokens += reached * kept *
                      (1 + expected_below(self, session, warp, child, replace, room + r.count));
        reached *= 1 - kept;
        if (reached == 0)
            break;
        rt_residual_subtract(&r, &q);
        if (!replace)
            rt_remove(&q, drawn->entry);
    }
    return tokens;
}

/* Tokens that a round would emit here, on average; the caches stay as they are. */
static double expected_tokens(const bench *self, tandem_session *session, const rt_warp *warp,
                              const rt_shape *shape, uint64_t seed, bool replace)
{
    rt_tree *tree = &session->tree;
    const rt_dice dice = {seed, 2, session->length}; /* the same first children for both */
    rt_pass pass = {.text = 1, .rows = 1};
    rt_tree_start(tree, session->ids[session->length - 1]);
    while (tree->levels < shape->levels) {
        rt_forward(session, RT_DRAFTER, &pass);
        grow(self, session, warp, &dice, shape->widths[tree->levels], replace);
        uint32_t added = tree->count - tree->first[tree->levels];
        pass = (rt_pass){.nodes = added, .rows = added};
    }
    pass = (rt_pass){.text = 1, .nodes = tree->count - 1, .rows = tree->count};
    rt_forward(session, RT_TARGET, &pass);
    double tokens = 1 + expected_below(self, session, warp, 0, replace, self->residuals);
    for (unsigned which = 0; which < RT_MAX_MODELS; which++)
        session->caches[which].tail = session->caches[which].tail_text = 0;
    return tokens;
}

/* Goes on by one token of the target's. */
static void advance(tandem_session *session, const rt_warp *warp, uint64_t seed)
{
    const rt_dice dice = {seed, 1, session->length};
    const rt_pass pass = {.text = 1, .rows = 1};
    rt_forward(session, RT_TARGET, &pass);
    rt_row logits = rt_logits(session, RT_TARGET, 0);
    rt_weights p = rt_distribution(warp, &logits, logits.count, logits.values);
    session->ids[session->length++] = (int32_t)rt_draw(&p, rt_uniform(&dice, 0, RT_DRAW_TOKEN, 0));
    rt_commit(session, RT_TARGET, NULL, 0);
    rt_catch_up(session, RT_DRAFTER, session->length - 1);
}

/* --- runs --- */

static tandem_session *start(const bench *self, uint32_t prompt)
{
    tandem_session *session;
    if (tandem_runtime_api.session_create(self->model, &session) != TANDEM_OK)
        fail("session", tandem_runtime_api.error(self->model));
    /* Prompts start at words, spread over the text. */
    size_t at = (self->bytes - 2 * PROMPT_BYTES) / self->prompts * prompt;
    while (self->text[at] != ' ')
        at++;
    if (tandem_runtime_api.feed_text(session, self->text + at + 1, PROMPT_BYTES) != TANDEM_OK)
        fail("prompt", tandem_runtime_api.error(self->model));
    return session;
}

static double efficiency(const bench *self, uint32_t prompt, const char *draft, double temperature)
{
    tandem_session *session = start(self, prompt);
    const tandem_generate_options options = {.max_tokens = self->tokens,
                                             .draft = draft,
                                             .temperature = temperature,
                                             .seed = prompt,
                                             .ignore_end = true};
    tandem_stats stats;
    if (tandem_runtime_api.generate(session, &options, NULL, NULL) != TANDEM_OK)
        fail(draft, tandem_runtime_api.error(self->model));
    tandem_runtime_api.stats(session, &stats);
    tandem_runtime_api.session_destroy(session);
    return stats.block_efficiency;
}

/* The mean of expected_tokens over the places of a text that the target writes: the same text for
 * every tree. */
static double expectation(const bench *self, uint32_t prompt, const char *draft, double temperature,
                          bool replace)
{
    tandem_session *session = start(self, prompt);
    const rt_warp warp = {.temperature = temperature};
    rt_shape shape;
    double sum = 0;
    if (rt_read_draft(draft, self->model->artefact->max_draft, NULL, &shape) != TANDEM_OK)
        fail(draft, "no draft of this program");
    for (unsigned which = 0; which < RT_MAX_MODELS; which++)
        rt_catch_up(session, which, session->length - 1);
    for (uint32_t i = 0; i < self->tokens; i++) {
        sum += expected_tokens(self, session, &warp, &shape, prompt, replace);
        advance(session, &warp, prompt);
    }
    tandem_runtime_api.session_destroy(session);
    return sum / self->tokens;
}

/* --- tables --- */

typedef enum kind {
    RUNS,                /* of the runtime */
    WITHOUT_REPLACEMENT, /* expected, at the same places */
    WITH_REPLACEMENT
} kind;

typedef struct sample {
    const char *draft;
    kind kind;
    double values[MOST_PROMPTS];
} sample;

static const double temperatures[] = {0, 0.3, 0.7, 1, 1.5};
#define TEMPERATURES (sizeof temperatures / sizeof *temperatures)

static double mean(const double *values, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
}

/* Half the width of the 95 % interval of the mean of left - right. */
static double interval(const double *left, const double *right, uint32_t count)
{
    double difference = mean(left, count) - mean(right, count), squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        double deviation = left[i] - right[i] - difference;
        squares += deviation * deviation;
    }
    return 1.96 * sqrt(squares / (count - 1) / count);
}

static void measure(const bench *self, sample *row, double temperature)
{
    for (uint32_t i = 0; i < self->prompts; i++)
        row->values[i] = row->kind == RUNS ? efficiency(self, i, row->draft, temperature)
                                           : expectation(self, i, row->draft, temperature,
                                                         row->kind == WITH_REPLACEMENT);
}

/* "+0.312 ± 0.041", with a mark when the interval is below 0. */
static void print_difference(const bench *self, const sample *left, const sample *right)
{
    double difference = mean(left->values, self->prompts) - mean(right->values, self->prompts);
    double half = interval(left->values, right->values, self->prompts);
    printf("%+.3f ± %.3f%s", difference, half, difference + half < 0 ? " (worse)" : "");
}

static void print_header(const char *first)
{
    printf("| %s |", first);
    for (size_t t = 0; t < TEMPERATURES; t++)
        printf(" T = %g |", temperatures[t]);
    printf("\n|---|");
    for (size_t t = 0; t < TEMPERATURES; t++)
        printf("---|");
    printf("\n");
}

/* Cells are kept until all temperatures of a row are measured. */
typedef struct samples {
    sample rows[TEMPERATURES];
} samples;

/* Whether a cell has a meaning: nothing is drawn at temperature 0. */
static bool has_cell(const sample *row, double temperature)
{
    return row->kind == RUNS || temperature > 0;
}

static samples *measure_row(const bench *self, const char *draft, kind kind_of_row)
{
    samples *result = calloc(1, sizeof *result);
    if (result == NULL)
        fail(draft, strerror(errno));
    for (size_t t = 0; t < TEMPERATURES; t++) {
        result->rows[t].draft = draft;
        result->rows[t].kind = kind_of_row;
        if (has_cell(&result->rows[t], temperatures[t]))
            measure(self, &result->rows[t], temperatures[t]);
    }
    return result;
}

static void print_means(const bench *self, const char *name, const samples *cells)
{
    printf("| %s |", name);
    for (size_t t = 0; t < TEMPERATURES; t++)
        if (has_cell(&cells->rows[t], temperatures[t]))
            printf(" %.3f |", mean(cells->rows[t].values, self->prompts));
        else
            printf(" - |");
    printf("\n");
}

static void print_differences(const bench *self, const char *name, const samples *left,
                              const samples *right)
{
    printf("| %s |", name);
    for (size_t t = 0; t < TEMPERATURES; t++) {
        printf(" ");
        if (has_cell(&right->rows[t], temperatures[t]))
            print_difference(self, &left->rows[t], &right->rows[t]);
        else
            printf("-");
        printf(" |");
    }
    printf("\n");
}

static void compare_depths(const bench *self)
{
    static const char *const trees[] = {"rsd-c:2,1,1", "rsd-c:2,2,1", "rsd-c:3,2,1", "rsd-s:2x3",
                                        "rsd-s:4x3"};
    samples *chain = measure_row(self, "3", RUNS);
    printf(
        "\n## Equal depth\n\nTokens per target pass of a chain of three, and what trees of three "
        "levels add to it.\n\n");
    print_header("draft");
    print_means(self, "3", chain);
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        samples *tree = measure_row(self, trees[i], RUNS);
        print_differences(self, trees[i], tree, chain);
        free(tree);
    }
    free(chain);
}

static void compare_replacement(const bench *self)
{
    static const char *const trees[] = {"rsd-c:2", "rsd-c:4", "rsd-c:8", "rsd-c:2,2,1",
                                        "rsd-c:3,3"};
    printf(
        "\n## Without and with replacement\n\nTokens per target pass of trees whose siblings are "
        "drawn with replacement, and what drawing without\nreplacement adds; at the same places of "
        "the same texts, expected over the draws of verification.\n\n");
    print_header("draft");
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        char name[64];
        samples *without = measure_row(self, trees[i], WITHOUT_REPLACEMENT);
        samples *with = measure_row(self, trees[i], WITH_REPLACEMENT);
        snprintf(name, sizeof name, "%s, with", trees[i]);
        print_means(self, name, with);
        print_differences(self, trees[i], without, with);
        free(without);
        free(with);
    }
}

static void compare_nodes(const bench *self)
{
    static const char *const trees[] = {"10",          "rsd-c:10",  "rsd-c:5,1",
                                        "rsd-c:2,2,1", "rsd-s:5x2", "rsd-s:2x5"};
    printf("\n## Ten nodes\n\nTokens per target pass of trees with ten nodes.\n\n");
    print_header("draft");
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        samples *tree = measure_row(self, trees[i], RUNS);
        print_means(self, trees[i], tree);
        free(tree);
    }
}

static void open_pair(bench *self, const char *path)
{
    const tandem_options options = {.threads = 1, .slots = 512};
    tandem_error error;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *found = library == NULL ? NULL : dlsym(library, "tandem_trees_query");
    tandem_query query;
    if (found == NULL)
        fail(path, dlerror());
    memcpy(&query, &found, sizeof query);
    if (tandem_runtime_api.open(query(TANDEM_ABI_VERSION), &options, &error, &self->model) !=
        TANDEM_OK)
        fail(path, error.text);
    const tandem_model_info *models = self->model->artefact->models;
    self->weights =
        malloc((uint64_t)RT_MAX_DRAFT * sizeof(float) * models[RT_DRAFTER].logits.columns);
    self->residuals =
        malloc((uint64_t)RT_MAX_DRAFT * sizeof(double) * models[RT_TARGET].logits.columns);
    if (self->weights == NULL || self->residuals == NULL)
        fail(path, strerror(errno));
}

static void read_text(bench *self, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        fail(path, strerror(errno));
    long size = ftell(file);
    rewind(file);
    self->text = malloc((size_t)size);
    self->bytes = self->text == NULL ? 0 : fread(self->text, 1, (size_t)size, file);
    fclose(file);
    if (self->bytes < 4 * (size_t)PROMPT_BYTES * self->prompts)
        fail(path, "too short for so many prompts");
}

int main(int count, char **arguments)
{
    bench self = {0};
    if (count != 5) {
        fputs("usage: tandem_bench_trees LIBRARY TEXT PROMPTS TOKENS\n", stderr);
        return 2;
    }
    self.prompts = (uint32_t)atoi(arguments[3]);
    self.tokens = (uint32_t)atoi(arguments[4]);
    if (self.prompts < 2 || self.prompts > MOST_PROMPTS || self.tokens < 1)
        fail("arguments", "2 to 512 prompts and at least one token are accepted");
    open_pair(&self, arguments[1]);
    read_text(&self, arguments[2]);
    printf(
        "# Draft trees\n\nMade by `./dev bench trees`: the default pair, %u prompts from held-back "
        "novels, %u tokens each; block\nefficiency (tokens per target pass), with 95 %% intervals "
        "of differences paired by prompt. An interval that lies below 0 as a whole is marked "
        "(worse).\n",
        self.prompts, self.tokens);
    compare_depths(&self);
    compare_replacement(&self);
    compare_nodes(&self);
    tandem_runtime_api.close(self.model);
    free(self.weights);
    free(self.residuals);
    free(self.text);
    return 0;
}
