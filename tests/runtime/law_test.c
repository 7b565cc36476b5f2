/* The law of what tree speculation writes, on the sampler alone: sequences of four tokens from a
 * vocabulary of four, over table models, for every draft, temperature, truncation and trimmed head,
 * against probabilities computed from the definitions; and three planted mistakes that the same
 * tests reject. The recursion itself is enumerated exactly.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/accept.h"
#include "runtime/draft.h"
#include "tests/runtime/chi_square.h"
#include "tests/runtime/law.h"
#include "tests/test.h"

#define IDS       LAW_IDS
#define LENGTH    LAW_LENGTH
#define SEQUENCES LAW_SEQUENCES
#define SAMPLES   2400u
#define PROMPT    3u

static const int32_t prompt[PROMPT] = {1, 3, 0};

/* Logits by the last two tokens. */
typedef struct logit_table {
    float logits[IDS * IDS][IDS];
} logit_table;

typedef uint32_t (*settle_function)(const rt_tree *tree, uint32_t node, const rt_dice *dice,
                                    rt_site *site, int32_t *token);

/* What is tested. */
typedef struct setting {
    logit_table *target, *drafter;
    rt_warp warp;
    rt_shape shape;
    const int32_t *head; /* ids that the drafter knows; NULL: all */
    uint32_t head_count;
    settle_function settle;
} setting;

static double number(uint64_t seed, uint32_t index)
{
    rt_dice dice = {seed, 12345, 0};
    return rt_uniform(&dice, 0, RT_DRAW_TOKEN, index);
}

static void make_tables(uint64_t seed, double spread, double noise, logit_table *target,
                        logit_table *drafter)
{
    for (uint32_t i = 0; i < IDS * IDS * IDS; i++) {
        double logit = spread * (number(seed, 2 * i) - 0.5);
        target->logits[i / IDS][i % IDS] = (float)logit;
        drafter->logits[i / IDS][i % IDS] =
            (float)(logit + noise * (number(seed, 2 * i + 1) - 0.5));
    }
}

static bool logits_behind(void *model, const int32_t *history, uint32_t length, float *logits)
{
    const logit_table *table = model;
    const int32_t *last = history + length - 2;
    memcpy(logits, table->logits[(uint32_t)last[0] * IDS + (uint32_t)last[1]],
           sizeof *table->logits);
    return true;
}

/* --- rounds over table models --- */

/* The text so far and the current tree. */
typedef struct story {
    const setting *self;
    int32_t text[PROMPT + LENGTH];
    uint32_t length;
    rt_tree tree;
    float weights[RT_MAX_DRAFT + 1][IDS];
} story;

/* The logits behind a node, penalised; a drafter with a head has only those of the head's ids. */
static rt_row logits_of(const story *writer, const logit_table *table, const int32_t *head,
                        uint32_t count, uint32_t node, float logits[IDS])
{
    int32_t last[2] = {writer->text[writer->length - 2], writer->text[writer->length - 1]};
    uint32_t path[2], depth = 0;
    for (uint32_t i = node; i > 0 && depth < 2; i = writer->tree.nodes[i].parent)
        path[depth++] = i;
    while (depth > 0) {
        last[0] = last[1];
        last[1] = writer->tree.nodes[path[--depth]].id;
    }
    const float *row = table->logits[(uint32_t)last[0] * IDS + (uint32_t)last[1]];
    for (uint32_t i = 0; i < count; i++)
        logits[i] = row[head == NULL ? (int32_t)i : head[i]];
    rt_row result = {logits, head, count};
    rt_past past = {writer->text, writer->length, &writer->tree, node};
    float spare[IDS];
    rt_penalise(&writer->self->warp, &past, &result, spare);
    return result;
}

static void draft_level(story *writer, const rt_shape *shape, const rt_dice *dice)
{
    const setting *self = writer->self;
    rt_tree *tree = &writer->tree;
    uint32_t first = tree->first[tree->levels];
    rt_branch branches[RT_MAX_DRAFT];
    uint8_t children[RT_MAX_DRAFT];
    rt_growth growth = {tree, dice, branches, tree->count - first};
    for (uint32_t i = 0; i < growth.count; i++) {
        float logits[IDS];
        rt_row row =
            logits_of(writer, self->drafter, self->head, self->head_count, first + i, logits);
        rt_weights q = rt_distribution(&self->warp, &row, IDS, writer->weights[first + i]);
        branches[i] = (rt_branch){.node = first + i, .q = q, .whole = q.total};
        tree->nodes[first + i].total = q.total;
        children[i] = shape->widths[tree->levels];
    }
    if (shape->kind == RT_DRAFT_BEAM)
        rt_grow_beam(&growth, shape->widths[tree->levels]);
    else
        rt_grow_each(&growth, children);
}

/* The target's distribution at the node being verified, without truncation: for a planted mistake.
 */
static float raw_weights[IDS];
static rt_weights raw_p;

static uint32_t verify_node(story *writer, const rt_dice *dice, uint32_t node, int32_t *token)
{
    const setting *self = writer->self;
    float logits[IDS];
    double residual[IDS];
    rt_row row = logits_of(writer, self->target, NULL, IDS, node, logits);
    raw_p = rt_softmax(&row, self->warp.temperature, IDS, raw_weights);
    rt_site site = {.p = rt_distribution(&self->warp, &row, IDS, logits), .residual = residual};
    site.q = (rt_weights){{writer->weights[node], self->head, self->head_count},
                          writer->tree.nodes[node].total};
    return self->settle(&writer->tree, node, dice, &site, token);
}

static void write_round(story *writer, const rt_dice *dice)
{
    const rt_limits limits = {PROMPT + LENGTH - 1 - writer->length, 64, 64, 64};
    const rt_shape shape = rt_shape_within(&writer->self->shape, &limits);
    rt_tree_start(&writer->tree, writer->text[writer->length - 1]);
    while (writer->tree.levels < shape.levels)
        draft_level(writer, &shape, dice);
    int32_t token, ids[LENGTH];
    uint32_t count = 0;
    for (uint32_t node = 0; (node = verify_node(writer, dice, node, &token)) != 0;)
        ids[count++] = writer->tree.nodes[node].id;
    ids[count++] = token;
    memcpy(writer->text + writer->length, ids, count * sizeof *ids);
    writer->length += count;
}

/* How far the sequences written are from the target's law. */
static double deviation(const setting *self, uint64_t seed)
{
    static uint32_t seen[SEQUENCES];
    static double law[SEQUENCES];
    memset(seen, 0, sizeof seen);
    law_of_sequences(&self->warp, logits_behind, self->target, prompt, PROMPT, law);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        static story text;
        text.self = self;
        text.length = PROMPT;
        memcpy(text.text, prompt, sizeof prompt);
        for (uint64_t round = 0; text.length < PROMPT + LENGTH; round++) {
            rt_dice dice = {seed, i, round};
            write_round(&text, &dice);
        }
        uint32_t code = 0;
        for (uint32_t k = 0; k < LENGTH; k++)
            code = code * IDS + (uint32_t)text.text[PROMPT + k];
        seen[code]++;
    }
    return chi_square(seen, law, SEQUENCES);
}

/* --- the matrix --- */

static const char *const drafts[] = {"0",         "3",         "rsd-c:4",  "rsd-c:2,2,1",
                                     "rsd-c:3,2", "rsd-s:2x3", "rsd-s:4x2"};
static const double temperatures[] = {0.4, 1, 1.6};
static const int32_t heads[2][3] = {{0, 1, 3}, {1, 2}};
static const struct {
    const int32_t *ids;
    uint32_t count;
} head_rows[] = {{NULL, IDS}, {heads[0], 3}, {heads[1], 2}};

#define COUNT_OF(array) (uint32_t)(sizeof(array) / sizeof *(array))

/* The largest deviation over the matrix, and where it was. */
static double worst_deviation(settle_function settle, uint32_t step, char where[96])
{
    static logit_table target, drafter;
    double worst = -INFINITY;
    uint32_t number_of = 0;
    make_tables(3, 4, 3, &target, &drafter);
    for (uint32_t d = 0; d < COUNT_OF(drafts); d++)
        for (uint32_t t = 0; t < COUNT_OF(temperatures); t++)
            for (uint32_t w = 0; w < LAW_TRUNCATIONS; w++)
                for (uint32_t h = 0; h < COUNT_OF(head_rows); h++) {
                    if (number_of++ % step != 0)
                        continue;
                    setting self = {.target = &target,
                                    .drafter = &drafter,
                                    .warp = law_truncations[w].warp,
                                    .head = head_rows[h].ids,
                                    .head_count = head_rows[h].count,
                                    .settle = settle};
                    self.warp.temperature = temperatures[t];
                    if (rt_read_draft(drafts[d], 64, NULL, &self.shape) != TANDEM_OK)
                        return INFINITY;
                    double result = deviation(&self, 100 + number_of);
                    if (result <= worst)
                        continue;
                    worst = result;
                    snprintf(where, 96, "draft %s temperature %g %s head %u: %g", drafts[d],
                             temperatures[t], law_truncations[w].name, head_rows[h].count, result);
                }
    return worst;
}

TEST(every_draft_has_the_targets_law)
{
    char where[96] = "";
    CHECK_MESSAGE(worst_deviation(rt_settle, 1, where) < CHI_SQUARE_LIMIT, "%s", where);
}

/* --- planted mistakes --- */

static bool keeps(const rt_dice *dice, const rt_tree *tree, uint32_t child, double r, double q)
{
    uint32_t level = tree->nodes[child].depth - 1;
    return rt_uniform(dice, level, RT_DRAW_ACCEPT, child) * q < r;
}

static double r_of(const rt_residual *r, int32_t id)
{
    return r->values[id] / r->total;
}

static int32_t draw_rest(const rt_residual *r, const rt_tree *tree, uint32_t node,
                         const rt_dice *dice)
{
    return rt_residual_draw(r, rt_uniform(dice, tree->nodes[node].depth, RT_DRAW_TOKEN, 0));
}

/* q keeps its first sum after a rejection. */
static uint32_t settle_without_norm(const rt_tree *tree, uint32_t node, const rt_dice *dice,
                                    rt_site *site, int32_t *token)
{
    rt_residual r;
    rt_residual_start(&site->p, site->residual, &r);
    double whole = site->q.total;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0;) {
        const rt_node *drawn = &tree->nodes[child];
        if (keeps(dice, tree, child, r_of(&r, drawn->id), (double)drawn->weight / whole))
            return child;
        rt_residual_subtract(&r, &site->q);
        rt_remove(&site->q, drawn->entry);
        site->q.total = whole;
    }
    *token = draw_rest(&r, tree, node, dice);
    return 0;
}

/* The residual is that of p before truncation. */
static uint32_t settle_with_raw_residual(const rt_tree *tree, uint32_t node, const rt_dice *dice,
                                         rt_site *site, int32_t *token)
{
    rt_residual r;
    rt_residual_start(&site->p, site->residual, &r);
    bool raw = false;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0; raw = true) {
        const rt_node *drawn = &tree->nodes[child];
        double q = (double)drawn->weight / site->q.total;
        if (keeps(dice, tree, child, r_of(&r, drawn->id), q))
            return child;
        if (!raw)
            rt_residual_start(&raw_p, site->residual, &r);
        rt_residual_subtract(&r, &site->q);
        rt_remove(&site->q, drawn->entry);
    }
    *token = draw_rest(&r, tree, node, dice);
    return 0;
}

/* Children that the drafter thought unlikely are left out. */
static uint32_t settle_without_the_unlikely(const rt_tree *tree, uint32_t node, const rt_dice *dice,
                                            rt_site *site, int32_t *token)
{
    rt_residual r;
    rt_residual_start(&site->p, site->residual, &r);
    double whole = site->q.total;
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0;) {
        const rt_node *drawn = &tree->nodes[child];
        if ((double)drawn->weight < 0.1 * whole)
            continue;
        double q = (double)drawn->weight / site->q.total;
        if (keeps(dice, tree, child, r_of(&r, drawn->id), q))
            return child;
        rt_residual_subtract(&r, &site->q);
        rt_remove(&site->q, drawn->entry);
    }
    *token = draw_rest(&r, tree, node, dice);
    return 0;
}

TEST(planted_mistakes_are_rejected)
{
    static const struct {
        const char *name;
        settle_function settle;
    } rows[] = {
        {"q is not normalised after a rejection", settle_without_norm},
        {"the residual is of p before truncation", settle_with_raw_residual},
        {"unlikely children are dropped", settle_without_the_unlikely},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char where[96] = "";
        double worst = worst_deviation(rows[i].settle, 11, where);
        CHECK_MESSAGE(worst > 2 * CHI_SQUARE_LIMIT, "%s: %s", rows[i].name, where);
    }
}

/* --- the recursion, enumerated --- */

#define MOST 6u

/* Adds to `out` what comes out of the children still to be drawn: `left` of them. With replacement
 * nothing is taken out of q. Returns the probability that one is kept. */
static double enumerate(const rt_residual *r, const rt_weights *q, uint32_t left, bool replace,
                        double mass, double out[MOST])
{
    double kept = 0;
    if (left == 0 || !(q->total > 0)) {
        for (uint32_t i = 0; i < r->count; i++)
            out[i] += mass * r->values[i] / r->total;
        return 0;
    }
    for (uint32_t x = 0; x < q->row.count; x++) {
        float values[MOST];
        double rest[MOST], q_x = (double)q->row.values[x] / q->total;
        if (q_x == 0)
            continue;
        int32_t id = rt_row_id(&q->row, x);
        double accept = fmin(1, r->values[id] / r->total / q_x);
        out[id] += mass * q_x * accept;
        kept += mass * q_x * accept;
        if (accept == 1)
            continue;
        rt_residual next = {rest, r->count, r->total};
        memcpy(rest, r->values, r->count * sizeof *rest);
        memcpy(values, q->row.values, q->row.count * sizeof *values);
        rt_weights fewer = {{values, q->row.ids, q->row.count}, q->total};
        rt_residual_subtract(&next, &fewer);
        if (!replace)
            rt_remove(&fewer, x);
        kept += enumerate(&next, &fewer, left - 1, replace, mass * q_x * (1 - accept), out);
    }
    return kept;
}

static void random_weights(uint64_t seed, uint32_t count, double spread, float *values)
{
    for (uint32_t i = 0; i < count; i++) {
        double power = exp(spread * (number(seed, i) - 0.5));
        values[i] = number(seed, 100 + i) < 0.15 && i > 0 ? 0 : (float)power;
    }
}

TEST(the_recursion_gives_p_exactly)
{
    static const int32_t ids[] = {0, 2, 5};
    for (uint64_t seed = 0; seed < 300; seed++) {
        float p_values[MOST], q_values[MOST];
        double room[MOST];
        bool trimmed = seed % 3 == 0;
        random_weights(2 * seed, MOST, 6, p_values);
        random_weights(2 * seed + 1, trimmed ? 3 : MOST, 6, q_values);
        rt_weights p = {{p_values, NULL, MOST}, rt_sum(p_values, MOST)};
        rt_weights q = {{q_values, trimmed ? ids : NULL, trimmed ? 3 : MOST}, 0};
        q.total = rt_sum(q_values, q.row.count);
        double before[2] = {0, 0};
        for (uint32_t children = 0; children <= 5; children++)
            for (int replace = 0; replace < 2; replace++) {
                double out[MOST] = {0};
                rt_residual r;
                rt_residual_start(&p, room, &r);
                double kept = enumerate(&r, &q, children, replace, 1, out);
                for (uint32_t i = 0; i < MOST; i++)
                    CHECK_MESSAGE(fabs(out[i] - (double)p_values[i] / p.total) < 1e-12,
                                  "seed %d, %u children: %g", (int)seed, children,
                                  out[i] - (double)p_values[i] / p.total);
                CHECK(kept >= before[replace] - 1e-12); /* one more child never hurts */
                before[replace] = kept;
            }
    }
}

TEST(acceptance_with_replacement_has_its_closed_form)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        float p_values[MOST], q_values[MOST];
        double room[MOST], out[MOST] = {0}, missed = 1;
        random_weights(2 * seed, MOST, 4, p_values);
        random_weights(2 * seed + 1, MOST, 4, q_values);
        rt_weights p = {{p_values, NULL, MOST}, rt_sum(p_values, MOST)};
        rt_weights q = {{q_values, NULL, MOST}, rt_sum(q_values, MOST)};
        rt_residual r;
        rt_residual_start(&p, room, &r);
        double kept = enumerate(&r, &q, 3, true, 1, out);
        for (uint32_t child = 0; child < 3; child++) {
            double common = 0;
            for (uint32_t i = 0; i < MOST; i++)
                common += fmin(r_of(&r, (int32_t)i), (double)q_values[i] / q.total);
            missed *= 1 - common;
            rt_residual_subtract(&r, &q);
        }
        CHECK_MESSAGE(fabs(kept - (1 - missed)) < 1e-12, "%g and %g", kept, 1 - missed);
        double without[MOST] = {0};
        rt_residual_start(&p, room, &r);
        CHECK(enumerate(&r, &q, 3, false, 1, without) >= kept - 1e-12);
    }
}

TEST_MAIN()
