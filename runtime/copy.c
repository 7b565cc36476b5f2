/* See copy.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/copy.h"

#define AGREE_MOST 9u  /* more are not counted */
#define BLOCK      32u /* ids that are looked through together */

#define NOTE_KEPT   0.99 /* of a kind's counts, at each further one */
#define PASSED_KEPT 0.98 /* the same, each time that it is passed over */
#define RATE_MOST   0.97
#define PRIOR       0.6 /* rate of a kind, worth so many counts: */
#define PRIOR_COUNT 4.0

static uint32_t agreement(const int32_t *ids, uint32_t length, uint32_t place)
{
    uint32_t count = 0;
    while (count < AGREE_MOST && count < place && ids[place - 1 - count] == ids[length - 1 - count])
        count++;
    return count;
}

/* Whether an id is among BLOCK ids, without a branch for each. */
static bool is_among(const int32_t *ids, int32_t id)
{
    int32_t found = 0;
    for (uint32_t i = 0; i < BLOCK; i++)
        found |= ids[i] == id;
    return found != 0;
}

rt_copy rt_copy_find(const int32_t *ids, uint32_t length)
{
    const uint32_t first = length > RT_COPY_SPAN ? length - RT_COPY_SPAN : RT_COPY_LEAST;
    for (uint32_t end = length, start; end > first; end = start) {
        start = end - first > BLOCK ? end - BLOCK : first;
        if (end - start == BLOCK && !is_among(ids + start - 1, ids[length - 1]))
            continue;
        for (uint32_t place = end; place-- > start;) {
            const uint32_t agree = agreement(ids, length, place);
            if (agree >= RT_COPY_LEAST)
                return (rt_copy){place, agree};
        }
    }
    return (rt_copy){0, 0};
}

int32_t rt_copy_token(const int32_t *ids, uint32_t length, const rt_copy *copy, uint32_t ahead)
{
    return ids[copy->place + ahead % (length - copy->place)];
}

static unsigned kind_of(uint32_t agree)
{
    return agree <= 3 ? 0 : agree <= 4 ? 1 : agree <= 8 ? 2 : 3;
}

static double rate_of(const rt_copy_record *record, unsigned kind)
{
    const double rate =
        (record->kept[kind] + PRIOR_COUNT * PRIOR) / (record->tried[kind] + PRIOR_COUNT);
    return rate < RATE_MOST ? rate : RATE_MOST;
}

uint32_t rt_copy_length(const rt_copy_record *record, uint32_t agree, const double *round_seconds,
                        double speed, uint32_t most, double *gain)
{
    const double rate = rate_of(record, kind_of(agree));
    double path = 1, tokens = 0;
    uint32_t best = 0;
    *gain = 0;
    for (uint32_t length = 1; length <= most; length++) {
        path *= rate;
        tokens += path;
        const double more = tokens - speed * (round_seconds[length] - round_seconds[0]);
        if (more > *gain) {
            *gain = more;
            best = length;
        }
    }
    return best;
}

void rt_copy_note(rt_copy_record *record, uint32_t agree, bool kept)
{
    const unsigned kind = kind_of(agree);
    record->tried[kind] = record->tried[kind] * NOTE_KEPT + 1;
    record->kept[kind] = record->kept[kind] * NOTE_KEPT + kept;
}

void rt_copy_pass_over(rt_copy_record *record, uint32_t agree)
{
    const unsigned kind = kind_of(agree);
    record->tried[kind] *= PASSED_KEPT;
    record->kept[kind] *= PASSED_KEPT;
}
