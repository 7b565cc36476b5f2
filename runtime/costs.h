/* What passes cost on this device: learned from the passes of real rounds, recorded and replayed.
 *
 * SPDX-License-Identifier: MIT
 *
 * A series holds the time of one kind of work by its size: a pass of a model by its tokens, the
 * rest of a round (drawing, verifying, committing) by its draft tokens. A time is taken to be the
 * product of a level, which all sizes of the series share and which follows quickly (a longer text,
 * a busier processor), and of the size's own share, which follows slowly; so sizes that have not
 * come up for a while stay comparable with those that have. Both move by a bounded step for each
 * time, so that an interruption counts for little. A size that has not come up for long is
 * forgotten. */
#ifndef TANDEM_RUNTIME_COSTS_H
#define TANDEM_RUNTIME_COSTS_H

#include "runtime/tandem.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_COST_SIZES 33u /* sizes 0 .. 32 */

typedef enum rt_cost_kind {
    RT_COST_TARGET,   /* a pass, by tokens */
    RT_COST_DRAFTER,  /* a pass, by tokens */
    RT_COST_CATCH_UP, /* size 1: a token of the drafter's passes that only bring it up to date */
    RT_COST_GREEDY,   /* the rest of a round, by draft tokens, at temperature 0 */
    RT_COST_SAMPLED,  /* the same at other temperatures */
    RT_COST_KINDS
} rt_cost_kind;

typedef struct rt_cost_series {
    double level;                  /* seconds; 0: no time is known */
    float share[RT_COST_SIZES];    /* of the level */
    uint32_t count[RT_COST_SIZES]; /* times of the size; 0: not known */
    uint32_t noted[RT_COST_SIZES]; /* when it was seen last, in times of the series */
    uint32_t times;                /* that were taken into account */
    double part;   /* of a target's pass of one token that size 1 is taken for until it is known */
    double growth; /* what each unit of size adds where nothing is known, in parts of size 1 */
} rt_cost_series;

typedef struct rt_costs {
    rt_cost_series series[RT_COST_KINDS];
    bool replayed;       /* times are no longer taken into account */
    bool ignored;        /* nor are they now */
    double pass_seconds; /* of all passes until now, by the clock */
    double guess;        /* seconds of a target's pass before there was any */
} rt_costs;

/* Forgets everything. The guesses are in proportion to the bytes that the models read. */
void rt_costs_clear(rt_costs *costs, uint64_t target_bytes, uint64_t drafter_bytes);

/* Takes a time into account, unless the costs are replayed or the size is above the table. */
void rt_costs_note(rt_costs *costs, rt_cost_kind kind, uint32_t size, double seconds);

/* How many times of the series ago this very size was timed last; UINT32_MAX: it is not known. */
uint32_t rt_costs_age(const rt_costs *costs, rt_cost_kind kind, uint32_t size);

/* Whether a size has come up so few times that each further one may change much. */
bool rt_costs_young(const rt_costs *costs, rt_cost_kind kind, uint32_t size);

/* The largest size that is known; 0: none is. */
uint32_t rt_costs_largest(const rt_costs *costs, rt_cost_kind kind);

/* Seconds of all sizes, never less for more: straight lines between those that are known, and
 * beyond the largest one the mean slope up to it. */
void rt_costs_table(const rt_costs *costs, rt_cost_kind kind, double seconds[RT_COST_SIZES]);

/* Writes the table as a text and returns its length, as snprintf does:
 *
 *     tandem costs 1
 *     artefact 0123456789abcdef
 *     target 1:43.600 2:51.800
 *
 * microseconds by size, one line for each kind that has any. */
int rt_costs_print(const rt_costs *costs, uint64_t artefact_hash, char *text, size_t capacity);

/* Reads such a text: from then on costs are replayed. TANDEM_REFUSED, and costs unchanged, when it
 * is none, of another version or of another artefact; the sentence names `file` and the line. */
tandem_status rt_costs_parse(rt_costs *costs, uint64_t artefact_hash, const char *file,
                             const char *text, tandem_error *error);

#endif
