/* See costs.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/costs.h"

#include "runtime/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUESSED_BANDWIDTH 20e9 /* bytes per second, until the first pass has been timed */
#define FORGOTTEN         1024 /* times of a series after which a size is no longer known */
#define FORGOTTEN_FIRST   48   /* the same while it has come up FIRST_TIMES at most */
#define FIRST_TIMES       4    /* of a size, which hardly say how long it takes */
#define SHORTEST_TIMES    2    /* of a size, of which the shortest counts */
#define MOST_WEIGHT       32   /* times of a size against those of others */
#define LEVEL_RATE        0.2
#define SHARE_RATE        0.05
#define VERSION_LINE      "tandem costs 1"

static const char *const kind_names[RT_COST_KINDS] = {"target", "drafter", "catch-up", "greedy",
                                                      "sampled"};

void rt_costs_clear(rt_costs *costs, uint64_t target_bytes, uint64_t drafter_bytes)
{
    memset(costs, 0, sizeof *costs);
    /* Of a target's pass: a drafter's by the bytes it reads; a prompt's tokens share them. */
    const double part = target_bytes > 0 ? (double)drafter_bytes / (double)target_bytes : 1;
    const double parts[RT_COST_KINDS] = {1, part, part * 0.35, 0.02, 0.1};
    costs->guess = (double)target_bytes / GUESSED_BANDWIDTH + 1e-6;
    for (unsigned kind = 0; kind < RT_COST_KINDS; kind++) {
        costs->series[kind].part = parts[kind];
        /* Hopeful, so that larger passes are tried and then known. */
        costs->series[kind].growth = kind <= RT_COST_DRAFTER ? 0.05 : 0.5;
    }
}

static double seconds_of(const rt_cost_series *series, uint32_t size)
{
    return series->level * (double)series->share[size];
}

void rt_costs_note(rt_costs *costs, rt_cost_kind kind, uint32_t size, double seconds)
{
    if (costs->replayed || costs->ignored || size >= RT_COST_SIZES || !(seconds > 0))
        return;
    rt_cost_series *series = &costs->series[kind];
    if (series->level == 0)
        series->level = seconds;
    float *share = &series->share[size];
    const double own = seconds / series->level;
    if (series->count[size] < SHORTEST_TIMES) { /* whatever disturbs a time makes it longer */
        if (series->count[size] == 0 || own < (double)*share)
            *share = (float)own;
    } else {
        const double ratio = own / (double)*share;
        const double step = (ratio < 0.8 ? 0.8 : ratio > 1.25 ? 1.25 : ratio) - 1;
        if (series->count[size] >= FIRST_TIMES)
            series->level *= 1 + LEVEL_RATE * step;
        *share *= (float)(1 + fmax(SHARE_RATE, 1.0 / (series->count[size] + 1)) * step);
    }
    series->count[size]++;
    series->noted[size] = ++series->times;
}

/* One time alone may be that of an interruption: it counts for the smallest sizes only, without
 * which there would be nothing to compare with. */
static bool is_known(const rt_cost_series *series, uint32_t size)
{
    return series->count[size] >= (size <= 1 ? 1 : 2) &&
           series->times - series->noted[size] <=
               (series->count[size] <= FIRST_TIMES ? FORGOTTEN_FIRST : FORGOTTEN);
}

uint32_t rt_costs_largest(const rt_costs *costs, rt_cost_kind kind)
{
    uint32_t largest = 0;
    for (uint32_t size = 1; size < RT_COST_SIZES; size++)
        if (is_known(&costs->series[kind], size))
            largest = size;
    return largest;
}

bool rt_costs_young(const rt_costs *costs, rt_cost_kind kind, uint32_t size)
{
    return !costs->replayed && size < RT_COST_SIZES &&
           costs->series[kind].count[size] <= FIRST_TIMES;
}

uint32_t rt_costs_age(const rt_costs *costs, rt_cost_kind kind, uint32_t size)
{
    const rt_cost_series *series = &costs->series[kind];
    return series->count[size] > 0 ? series->times - series->noted[size] : UINT32_MAX;
}

static double target_pass(const rt_costs *costs)
{
    const rt_cost_series *target = &costs->series[RT_COST_TARGET];
    return is_known(target, 1) ? seconds_of(target, 1) : costs->guess;
}

/* Sizes whose times are taken to be equal. */
typedef struct cost_step {
    double seconds, weight;
    uint32_t last; /* the largest of them */
} cost_step;

/* The sizes that are known, in steps that ascend: where more of them took less time, which noise
 * makes of equal times, they share their mean, weighted by how often they came up. */
static uint32_t find_steps(const rt_cost_series *series, cost_step steps[RT_COST_SIZES])
{
    uint32_t count = 0;
    for (uint32_t size = 0; size < RT_COST_SIZES; size++) {
        if (!is_known(series, size))
            continue;
        const uint32_t times = series->count[size];
        cost_step next = {seconds_of(series, size), times < MOST_WEIGHT ? times : MOST_WEIGHT,
                          size};
        for (; count > 0 && steps[count - 1].seconds >= next.seconds; count--) {
            const cost_step *before = &steps[count - 1];
            next.seconds = (before->seconds * before->weight + next.seconds * next.weight) /
                           (before->weight + next.weight);
            next.weight += before->weight;
        }
        steps[count++] = next;
    }
    return count;
}

void rt_costs_table(const rt_costs *costs, rt_cost_kind kind, double seconds[RT_COST_SIZES])
{
    const rt_cost_series *series = &costs->series[kind];
    cost_step steps[RT_COST_SIZES];
    const uint32_t count = find_steps(series, steps);
    uint32_t first = RT_COST_SIZES, last = RT_COST_SIZES, step = 0;
    for (uint32_t size = 0; size < RT_COST_SIZES; size++) {
        if (!is_known(series, size))
            continue;
        while (size > steps[step].last)
            step++;
        seconds[size] = steps[step].seconds;
        for (uint32_t i = last + 1; last < RT_COST_SIZES && i < size; i++)
            seconds[i] =
                seconds[last] + (seconds[size] - seconds[last]) * (i - last) / (size - last);
        first = first < RT_COST_SIZES ? first : size;
        last = size;
    }
    if (count == 0) { /* nothing is known */
        first = last = 1;
        seconds[1] = series->part * target_pass(costs);
    }
    double slope = series->growth * seconds[first];
    if (last > first)
        slope = (seconds[last] - seconds[first]) / (last - first);
    for (uint32_t i = last + 1; i < RT_COST_SIZES; i++)
        seconds[i] = seconds[last] + slope * (i - last);
    for (uint32_t i = 0; i < first; i++)
        seconds[i] = seconds[first];
}

/* --- recorded --- */

int rt_costs_print(const rt_costs *costs, uint64_t artefact_hash, char *text, size_t capacity)
{
    int length = snprintf(text, capacity, VERSION_LINE "\nartefact %016llx\n",
                          (unsigned long long)artefact_hash);
    for (unsigned kind = 0; kind < RT_COST_KINDS; kind++) {
        const rt_cost_series *series = &costs->series[kind];
        bool any = false;
        for (uint32_t size = 0; size < RT_COST_SIZES; size++) {
            if (series->count[size] == 0)
                continue;
            const size_t used = (size_t)length < capacity ? (size_t)length : capacity;
            length += snprintf(text + used, capacity - used, "%s %u:%.9g",
                               any ? "" : kind_names[kind], size, seconds_of(series, size) * 1e6);
            any = true;
        }
        const size_t used = (size_t)length < capacity ? (size_t)length : capacity;
        length += snprintf(text + used, capacity - used, "%s", any ? "\n" : "");
    }
    return length;
}

static tandem_status refuse_line(tandem_error *error, const char *file, unsigned line,
                                 const char *accepted)
{
    return rt_fail(error, TANDEM_REFUSED, "%s, line %u: %s is accepted here", file, line, accepted);
}

/* Reads " SIZE:MICROSECONDS" as often as it comes, up to the end of the line. */
static bool parse_series(rt_cost_series *series, const char **text)
{
    const char *at = *text;
    while (*at == ' ') {
        char *end;
        const unsigned long size = strtoul(at + 1, &end, 10);
        if (end == at + 1 || *end != ':' || size >= RT_COST_SIZES)
            return false;
        at = end + 1;
        const double microseconds = strtod(at, &end);
        if (end == at || !(microseconds > 0 && microseconds < 1e12))
            return false;
        at = end;
        series->share[size] = (float)(microseconds * 1e-6);
        series->count[size] = 2;
        series->noted[size] = series->times;
    }
    if (*at != '\n')
        return false;
    *text = at + 1;
    return true;
}

static unsigned find_kind(const char **text)
{
    for (unsigned kind = 0; kind < RT_COST_KINDS; kind++) {
        const size_t length = strlen(kind_names[kind]);
        if (strncmp(*text, kind_names[kind], length) == 0 && (*text)[length] == ' ') {
            *text += length;
            return kind;
        }
    }
    return RT_COST_KINDS;
}

tandem_status rt_costs_parse(rt_costs *costs, uint64_t artefact_hash, const char *file,
                             const char *text, tandem_error *error)
{
    static const char version[] = VERSION_LINE "\n";
    if (strncmp(text, version, sizeof version - 1) != 0)
        return refuse_line(error, file, 1, "\"" VERSION_LINE "\"");
    text += sizeof version - 1;
    char expected[64];
    const int length = snprintf(expected, sizeof expected, "artefact %016llx\n",
                                (unsigned long long)artefact_hash);
    if (strncmp(text, expected, (size_t)length) != 0) {
        expected[length - 1] = '\0';
        return rt_fail(error, TANDEM_REFUSED,
                       "%s, line 2: the costs are those of another program: this one's begin with "
                       "\"%s\"",
                       file, expected);
    }
    text += length;
    rt_costs read = *costs;
    for (unsigned kind = 0; kind < RT_COST_KINDS; kind++) {
        memset(read.series[kind].count, 0, sizeof read.series[kind].count);
        read.series[kind].level = 1;
    }
    for (unsigned line = 3; *text != '\0'; line++) {
        const unsigned kind = find_kind(&text);
        if (kind == RT_COST_KINDS || !parse_series(&read.series[kind], &text))
            return refuse_line(
                error, file, line,
                "\"target\", \"drafter\", \"catch-up\", \"greedy\" or \"sampled\" and pairs like "
                "1:43.6 (tokens up to 32 : microseconds)");
    }
    read.replayed = true;
    *costs = read;
    return TANDEM_OK;
}
