/* Drafts that are copied out of the text itself.
 *
 * SPDX-License-Identifier: MIT
 *
 * Where the last tokens of a text stood in it before, what followed then may follow again: names
 * and phrases, code, and whatever a model repeats. Such a draft costs no pass of the drafter. It
 * depends on the committed text alone, so it is a distribution with all of its mass on one token,
 * and the rule of acceptance (accept.h) keeps it with the target's probability of that token.
 * Known as prompt lookup decoding. */
#ifndef TANDEM_RUNTIME_COPY_H
#define TANDEM_RUNTIME_COPY_H

#include <stdbool.h>
#include <stdint.h>

#define RT_COPY_LEAST 3u    /* tokens that have to agree */
#define RT_COPY_SPAN  4096u /* how far back they are looked for */
#define RT_COPY_KINDS 4u    /* by how many agree: 3, 4, 5 to 8, more */

/* Where a text repeats itself. */
typedef struct rt_copy {
    uint32_t place; /* of the token that followed when the last tokens were there last */
    uint32_t agree; /* how many of them were the same, as far as was looked; 0: there is no place */
} rt_copy;

/* How many copied tokens were kept. Old ones are forgotten. All zeros in the beginning. */
typedef struct rt_copy_record {
    double tried[RT_COPY_KINDS], kept[RT_COPY_KINDS];
} rt_copy_record;

/* Looks for the last RT_COPY_LEAST tokens of a text, the most recent place first. Costs a
 * comparison for each token of the span. */
rt_copy rt_copy_find(const int32_t *ids, uint32_t length);

/* The token that comes `ahead` tokens behind the text's next one; a text that repeats what ends
 * with its last token goes on with the copy. */
int32_t rt_copy_token(const int32_t *ids, uint32_t length, const rt_copy *copy, uint32_t ahead);

/* How many tokens to copy, at most `most`, and in *gain how many more come out of the round than
 * its longer time would have brought at `speed` (tokens per second). round_seconds[n] is what a
 * round with n drafted tokens takes. */
uint32_t rt_copy_length(const rt_copy_record *record, uint32_t agree, const double *round_seconds,
                        double speed, uint32_t most, double *gain);

/* A copied token was verified. */
void rt_copy_note(rt_copy_record *record, uint32_t agree, bool kept);

/* A copy was not drafted: what is known of its kind counts for less, so that it is tried again. */
void rt_copy_pass_over(rt_copy_record *record, uint32_t agree);

#endif
