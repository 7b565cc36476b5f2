/* Which rows of a head are worth having: the ids that occur most often, and how many of them pay.
 *
 * A row costs bytes in every pass of the drafter; a token without a row is never drafted, so that
 * the share of the text that the rows cover bounds how often a draft token is accepted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/counts/counts.h"
#include "runtime/tokenizer_blob.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- by frequency --- */

static int compare_counts(const void *left, const void *right)
{
    const fe_count *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* All ids of the vocabulary, the most frequent one first; td_release. */
static td_status rank_ids(td_context *context, const fe_counts *counts, fe_count **ranked)
{
    fe_count *all = td_allocate(context, counts->vocabulary * sizeof *all);
    if (all == NULL)
        return td_fail_memory(context);
    for (uint32_t id = 0; id < counts->vocabulary; id++)
        all[id].id = id;
    for (size_t i = 0; i < counts->items.count; i++)
        all[counts->items.items[i].id] = counts->items.items[i];
    qsort(all, counts->vocabulary, sizeof *all, compare_counts);
    *ranked = all;
    return TD_OK;
}

/* Tokens that structure a text, which are drafted however rare they are; unused ones are not. */
static bool is_special(const rt_tokenizer *tokenizer, uint32_t id)
{
    const uint8_t *kinds = rt_section(tokenizer, RT_SECTION_KINDS);
    return (kinds[id] & RT_TOKEN_KIND_MASK) == RT_TOKEN_CONTROL || (kinds[id] & RT_TOKEN_END) != 0;
}

/* Lists the ids that are marked. */
static td_status list_marked(td_context *context, const bool *marked, uint32_t vocabulary,
                             fe_head *head)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < vocabulary; id++)
        count += marked[id];
    head->ids = td_allocate(context, count * sizeof *head->ids);
    if (head->ids == NULL)
        return td_fail_memory(context);
    head->count = 0;
    for (uint32_t id = 0; id < vocabulary; id++)
        if (marked[id])
            head->ids[head->count++] = (int32_t)id;
    return TD_OK;
}

static const rt_tokenizer *open_blob(const fe_tokenizer *tokenizer)
{
    return rt_tokenizer_open(tokenizer->blob, tokenizer->bytes, NULL);
}

td_status fe_head_choose(td_context *context, const fe_counts *counts,
                         const fe_tokenizer *tokenizer, uint32_t wanted, fe_head *head)
{
    const uint32_t vocabulary = tokenizer->vocabulary;
    fe_count *ranked = NULL;
    fe_head chosen = {0};
    TD_TRY(fe_counts_fit(context, counts, tokenizer));
    if (wanted == 0 || wanted > vocabulary)
        return td_fail(context, TD_INVALID,
                       "a head of %" PRIu32 " rows: the vocabulary has %" PRIu32
                       " ids, and from 1 to as many rows are accepted",
                       wanted, vocabulary);
    bool *marked = td_allocate(context, vocabulary * sizeof *marked);
    if (marked == NULL)
        return td_fail_memory(context);
    td_status status = rank_ids(context, counts, &ranked);
    if (status == TD_OK) {
        const rt_tokenizer *blob = open_blob(tokenizer);
        for (uint32_t i = 0; i < vocabulary; i++)
            marked[ranked[i].id] = i < wanted || is_special(blob, ranked[i].id);
        for (uint32_t i = 0; i < vocabulary; i++)
            chosen.covered += marked[ranked[i].id] ? ranked[i].count : 0;
        status = list_marked(context, marked, vocabulary, &chosen);
    }
    td_release(context, ranked);
    td_release(context, marked);
    if (status == TD_OK)
        *head = chosen;
    return status;
}

/* --- by expected speed --- */

/* Fills block efficiency, draft and MBSU of a point whose rows and coverage are known. */
static void weigh(const fe_trim_costs *costs, fe_trim_point *point)
{
    const double alpha =
        costs->acceptance * point->coverage * (1 + FE_SECOND_CHOICE * (1 - point->coverage));
    const double read =
        (double)costs->drafter_body + (double)point->rows * (double)costs->drafter_row;
    const double c = read / (double)costs->target;
    double expected = 1, power = 1;
    for (uint32_t g = 1; g <= costs->most_draft; g++) {
        power *= alpha;
        expected += power; /* 1 + alpha + ... + alpha^g */
        const double mbsu = expected / (c * g + 1);
        if (g > 1 && mbsu <= point->mbsu)
            continue;
        point->mbsu = mbsu;
        point->block_efficiency = expected;
        point->draft = g;
    }
}

/* Where an id that occurs once less would stand among the others. */
static uint32_t rank_without_one(const fe_count *ranked, uint32_t vocabulary, uint32_t place)
{
    const fe_count less = {ranked[place].id, ranked[place].count - 1};
    uint32_t lower = place, upper = vocabulary - 1; /* of those behind it, how many go ahead */
    while (lower < upper) {
        const uint32_t middle = lower + (upper - lower) / 2;
        if (compare_counts(&ranked[middle + 1], &less) < 0)
            lower = middle + 1;
        else
            upper = middle;
    }
    return lower;
}

/* gained[i]: counts that row i + 1 newly covers, each token judged by the counts without itself
 * (leave one out), since a list always fits the very text that it was made from. What special
 * tokens cover goes to *special. */
static void cover(const rt_tokenizer *tokenizer, const fe_count *ranked, uint32_t vocabulary,
                  uint64_t *gained, uint64_t *special)
{
    for (uint32_t i = 0; i < vocabulary && ranked[i].count > 0; i++) {
        if (is_special(tokenizer, ranked[i].id))
            *special += ranked[i].count;
        else
            gained[rank_without_one(ranked, vocabulary, i)] += ranked[i].count;
    }
}

static void draw_curve(const fe_tokenizer *tokenizer, const fe_counts *counts,
                       const fe_trim_costs *costs, const fe_count *ranked, uint64_t *gained,
                       fe_trim_point *curve)
{
    const rt_tokenizer *blob = open_blob(tokenizer);
    uint64_t covered = 0;
    uint32_t rows = 0;
    for (uint32_t id = 0; id < tokenizer->vocabulary; id++)
        rows += is_special(blob, id);
    cover(blob, ranked, tokenizer->vocabulary, gained, &covered);
    for (uint32_t i = 0; i < tokenizer->vocabulary; i++) {
        covered += gained[i];
        rows += !is_special(blob, ranked[i].id);
        curve[i] = (fe_trim_point){
            .wanted = i + 1, .rows = rows, .coverage = (double)covered / (double)counts->total};
        weigh(costs, &curve[i]);
    }
}

td_status fe_trim_curve(td_context *context, const fe_counts *counts, const fe_tokenizer *tokenizer,
                        const fe_trim_costs *costs, fe_trim_point **points)
{
    const uint32_t vocabulary = tokenizer->vocabulary;
    fe_count *ranked = NULL;
    TD_TRY(fe_counts_fit(context, counts, tokenizer));
    TD_TRY(rank_ids(context, counts, &ranked));
    fe_trim_point *curve = td_allocate(context, vocabulary * sizeof *curve);
    uint64_t *gained = td_allocate(context, vocabulary * sizeof *gained);
    const bool complete = curve != NULL && gained != NULL;
    if (complete)
        draw_curve(tokenizer, counts, costs, ranked, gained, curve);
    td_release(context, gained);
    td_release(context, ranked);
    if (!complete) {
        td_release(context, curve);
        return td_fail_memory(context);
    }
    *points = curve;
    return TD_OK;
}

uint32_t fe_trim_best(const fe_trim_point *points, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (points[i].mbsu > points[best].mbsu)
            best = i;
    return best;
}
