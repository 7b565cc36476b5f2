/* Counts of tokens: making, adding, and comparing them with a tokenizer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/counts/counts.h"

#include "base/hash.h"
#include "runtime/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t fe_tokenizer_hash(const fe_tokenizer *tokenizer)
{
    const rt_tokenizer *opened = rt_tokenizer_open(tokenizer->blob, tokenizer->bytes, NULL);
    uint64_t hash = TD_HASH_START;
    for (uint32_t id = 0; opened != NULL && id < tokenizer->vocabulary; id++) {
        size_t length;
        const char *piece = rt_tokenizer_piece(opened, (int32_t)id, &length);
        const uint64_t size = length; /* so that "ab", "c" is not "a", "bc" */
        hash = td_hash_bytes(hash, &size, sizeof size);
        hash = td_hash_bytes(hash, piece, length);
    }
    return hash;
}

void fe_counts_release(td_context *context, fe_counts *counts)
{
    td_array_release(context, &counts->items);
    memset(counts, 0, sizeof *counts);
}

td_status fe_counts_make(td_context *context, const fe_tokenizer *tokenizer, const char *kind,
                         const uint64_t *numbers, fe_counts *counts)
{
    fe_counts made = {.vocabulary = tokenizer->vocabulary,
                      .tokenizer = fe_tokenizer_hash(tokenizer)};
    snprintf(made.kind, sizeof made.kind, "%s", kind);
    for (uint32_t id = 0; id < tokenizer->vocabulary; id++) {
        if (numbers[id] == 0)
            continue;
        if (!td_add(made.total, numbers[id], &made.total) ||
            !td_array_push(context, &made.items, ((fe_count){id, numbers[id]}))) {
            fe_counts_release(context, &made);
            return td_fail_memory(context);
        }
    }
    *counts = made;
    return TD_OK;
}

/* --- adding --- */

static td_status check_same_tokenizer(td_context *context, const fe_counts *a, const fe_counts *b)
{
    if (a->vocabulary == b->vocabulary && a->tokenizer == b->tokenizer)
        return TD_OK;
    return td_fail(context, TD_INVALID,
                   "counts of different tokenizers (%" PRIu32 " ids, hash %016" PRIx64
                   ", and %" PRIu32 " ids, hash %016" PRIx64 ") cannot be added",
                   a->vocabulary, a->tokenizer, b->vocabulary, b->tokenizer);
}

/* The two ascending lists as one. */
static bool merge_items(td_context *context, const fe_counts *a, const fe_counts *b, fe_counts *sum)
{
    size_t i = 0, j = 0;
    bool complete = td_array_reserve(context, &sum->items, a->items.count + b->items.count);
    while (complete && (i < a->items.count || j < b->items.count)) {
        const bool left = i < a->items.count &&
                          (j == b->items.count || a->items.items[i].id <= b->items.items[j].id);
        fe_count item = left ? a->items.items[i++] : b->items.items[j++];
        if (left && j < b->items.count && b->items.items[j].id == item.id)
            item.count += b->items.items[j++].count; /* the totals' sum fits, so this one does */
        complete = td_array_push(context, &sum->items, item);
    }
    return complete;
}

td_status fe_counts_merge(td_context *context, const fe_counts *from, fe_counts *counts)
{
    if (counts->vocabulary > 0)
        TD_TRY(check_same_tokenizer(context, counts, from));
    fe_counts sum = {.vocabulary = from->vocabulary, .tokenizer = from->tokenizer};
    const bool same = counts->vocabulary == 0 || strcmp(counts->kind, from->kind) == 0;
    snprintf(sum.kind, sizeof sum.kind, "%s", same ? from->kind : "mixed");
    if (!td_add(counts->total, from->total, &sum.total) ||
        !td_add(counts->drafted, from->drafted, &sum.drafted) ||
        !td_add(counts->accepted, from->accepted, &sum.accepted))
        return td_fail(context, TD_INVALID, "the sum of the counts does not fit 64 bits");
    if (!merge_items(context, counts, from, &sum)) {
        fe_counts_release(context, &sum);
        return td_fail_memory(context);
    }
    fe_counts_release(context, counts);
    *counts = sum;
    return TD_OK;
}

td_status fe_counts_fit(td_context *context, const fe_counts *counts, const fe_tokenizer *tokenizer)
{
    const uint64_t hash = fe_tokenizer_hash(tokenizer);
    if (counts->vocabulary != tokenizer->vocabulary || counts->tokenizer != hash)
        return td_fail(context, TD_INVALID,
                       "the counts are of another tokenizer (%" PRIu32 " ids, hash %016" PRIx64
                       ") than the models' (%" PRIu32 " ids, hash %016" PRIx64
                       "); expected counts made by `tandem calibrate` with this one",
                       counts->vocabulary, counts->tokenizer, tokenizer->vocabulary, hash);
    if (counts->total == 0)
        return td_fail(context, TD_INVALID,
                       "the counts are of no token at all; expected counts of some text");
    return TD_OK;
}
