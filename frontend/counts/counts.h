/* How often each token occurs, in a small JSON file, and what follows from it: which rows of a
 * drafter's head are worth having (VocabTrim, arXiv:2506.22694).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_COUNTS_COUNTS_H
#define TANDEM_FRONTEND_COUNTS_COUNTS_H

#include "frontend/frontend.h"

typedef struct fe_count {
    uint32_t id;
    uint64_t count; /* at least 1 */
} fe_count;

/* Counts of one tokenizer's tokens. Start with {0}; fe_counts_release. */
typedef struct fe_counts {
    /* of text: "raw", "drafter" or "target" (written by it), "drafted" (of the target's text what a
     * drafter had guessed), "mixed" */
    char kind[16];
    uint32_t vocabulary;        /* of the tokenizer; 0: nothing was counted yet */
    uint64_t tokenizer;         /* fe_tokenizer_hash */
    uint64_t total;             /* sum of the counts */
    uint64_t drafted, accepted; /* draft tokens while the text was generated; 0: not measured */
    TD_ARRAY(fe_count) items;   /* by ascending id, those that occur */
} fe_counts;

/* A hash of all token strings by id: equal for one vocabulary in different files. */
uint64_t fe_tokenizer_hash(const fe_tokenizer *tokenizer);

/* From numbers[vocabulary]. `kind` is one of those above. */
td_status fe_counts_make(td_context *context, const fe_tokenizer *tokenizer, const char *kind,
                         const uint64_t *numbers, fe_counts *counts);
void fe_counts_release(td_context *context, fe_counts *counts);

/* Adds `from` to `counts`, which may be {0}. Refused when they are of different tokenizers or their
 * sum does not fit; `counts` is whole then and later. */
td_status fe_counts_merge(td_context *context, const fe_counts *from, fe_counts *counts);

/* Refuses counts of another tokenizer, and counts of nothing. */
td_status fe_counts_fit(td_context *context, const fe_counts *counts,
                        const fe_tokenizer *tokenizer);

/* The file (docs/vocabtrim.md describes it); messages name the path. Reading takes memory and time
 * in proportion to the file. */
td_status fe_counts_read(td_context *context, const char *path, fe_counts *counts);
td_status fe_counts_write(td_context *context, const fe_counts *counts, const char *path);

/* --- the rows of a head --- */

/* Ids that a trimmed head has rows for, ascending; td_release(ids). */
typedef struct fe_head {
    int32_t *ids;
    uint32_t count;
    uint64_t covered; /* of the counts' total */
} fe_head;

/* The `wanted` ids that occur most often (ties: the lowest id), and the special tokens. Refused
 * when the vocabulary has fewer. */
td_status fe_head_choose(td_context *context, const fe_counts *counts,
                         const fe_tokenizer *tokenizer, uint32_t wanted, fe_head *head);

/* What decides whether a smaller head pays: bytes that a pass streams, and how often a draft token
 * would be accepted if the head were whole. */
typedef struct fe_trim_costs {
    uint64_t target, drafter_body,
        drafter_row;     /* bytes: all, all but the head, a row of the head */
    double acceptance;   /* in [0, 1) */
    uint32_t most_draft; /* longest draft considered, at least 1 */
} fe_trim_costs;

/* Where a drafter would have proposed an id that has no row, it proposes another; that is right
 * this much as often as its proposals are in general (measured on the default pair at temperature
 * 1). */
#define FE_SECOND_CHOICE 0.4

/* One size of head. Coverage C is the share of the counted text that its rows cover, each token
 * judged by the counts without itself: a small sample promises no more than it can hold. With
 * alpha = acceptance * C * (1 + FE_SECOND_CHOICE * (1 - C)) and c = (body + rows * row) / target
 * the expected block efficiency of drafts of length g is tau = (1 - alpha^(g+1)) / (1 - alpha), and
 * MBSU = tau / (c g + 1); `draft` is the g with the largest MBSU. */
typedef struct fe_trim_point {
    uint32_t wanted, rows; /* without and with the special tokens */
    double coverage, block_efficiency, mbsu;
    uint32_t draft;
} fe_trim_point;

/* Points of wanted = 1 .. vocabulary, at index wanted - 1; td_release *points. */
td_status fe_trim_curve(td_context *context, const fe_counts *counts, const fe_tokenizer *tokenizer,
                        const fe_trim_costs *costs, fe_trim_point **points);

/* The index of the largest MBSU; ties: the smallest head. */
uint32_t fe_trim_best(const fe_trim_point *points, uint32_t count);

#endif
