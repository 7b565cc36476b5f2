/* What passes cost on this device: learned from the passes of real rounds, recorded and replayed.
 *
 * SPDX-License-Identifier: MIT
 *
 * A series holds the time of one kind of work by its size: a pass of a model by its tokens, the
 * rest of a round (drawing, verifying, committing) by its draft tokens. Each size keeps its last
 * few times and counts as their median, so that an interruption changes nothing. What all sizes of
 * a series have in common, a longer text, a slower processor, is followed by a factor, so that
 * sizes that have not been seen lately stay comparable with those that have. */
#ifndef TANDEM_RUNTIME_COSTS_H
#define TANDEM_RUNTIME_COSTS_H

#include "runtime/tandem.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_COST_SIZES 33u /* sizes 0 .. 32 */
#define RT_COST_KEPT  5u  /* times of each size */

typedef enum rt_cost_kind {
    RT_COST_TARGET,  /* a pass, by tokens */
    RT_COST_DRAFTER, /* a pass, by tokens */
    RT_COST_GREEDY,  /* the rest of a round, by draft tokens, at temperature 0 */
    RT_COST_SAMPLED, /* the same at other temperatures */
    RT_COST_KINDS
} rt_cost_kind;

typedef struct rt_cost_series {
    float kept[RT_COST_SIZES][RT_COST_KEPT]; /* seconds / factor at their time, latest first */
    uint8_t count[RT_COST_SIZES];
    double factor;
    double guess;  /* seconds of size 1 before there is any time */
    double growth; /* what each unit of size adds where nothing is known, in parts of size 1 */
} rt_cost_series;

typedef struct rt_costs {
    rt_cost_series series[RT_COST_KINDS];
    bool replayed;            /* times are no longer taken into account */
    double pass_seconds;      /* of all passes until now, by the clock */
    uint64_t catch_up_tokens; /* of the passes that only bring the drafter up to date */
} rt_costs;

/* Forgets everything. The guesses are in proportion to the bytes that the models read. */
void rt_costs_clear(rt_costs *costs, uint64_t target_bytes, uint64_t drafter_bytes);

/* Takes a time into account, unless the costs are replayed or the size is above the table. */
void rt_costs_note(rt_costs *costs, rt_cost_kind kind, uint32_t size, double seconds);

/* True when this very size has been timed. */
bool rt_costs_known(const rt_costs *costs, rt_cost_kind kind, uint32_t size);

/* Seconds of all sizes: medians, straight lines between them, and beyond the largest known size the
 * mean slope up to it. */
void rt_costs_table(const rt_costs *costs, rt_cost_kind kind, double seconds[RT_COST_SIZES]);

/* Writes the table as a text and returns its length, as snprintf does:
 *
 *     tandem costs 1
 *     artefact 0123456789abcdef
 *     target 1:43.600 2:51.800
 *
 * microseconds by size, one line for each kind that has any. */
int rt_costs_print(const rt_costs *costs, uint64_t artefact_hash, char *text, size_t capacity);

/* Reads such a text: from then on costs are replayed. TANDEM_INVALID, and costs unchanged, when it
 * is none, of another version or of another artefact; the sentence names `file` and the line. */
tandem_status rt_costs_parse(rt_costs *costs, uint64_t artefact_hash, const char *file,
                             const char *text, tandem_error *error);

#endif
