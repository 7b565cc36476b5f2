/* The policy and REINFORCE.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Both directions share one code, as in sched/search.c. The rank of D + u differs from that of D by
 * the potential of u, by what u leaves alive and by what dies with it (backward: comes to life), so
 * the slope of log p by a potential is (1 - p) or -p, and by a group's weight that of the units
 * that turn it. */
#include "sched/topoformer/policy.h"

#include "base/hash.h"

#include <math.h>
#include <string.h>

typedef struct drawer {
    const topo_policy *policy;
    const sched_core *core;
    td_context *context;
    uint32_t *waiting; /* by unit: units that must be taken first */
    uint32_t *untaken; /* by group: users not taken (forward), by count of units' nodes */
    uint32_t *ready;   /* units */
    uint32_t ready_count;
    double *chances; /* of the ready units */
    uint64_t random;
    double live, peak;
} drawer;

/* What taking a unit does, relative to before. */
typedef struct effect {
    double net, cost, shift;
} effect;

/* Whether a group turns (dies, or backward comes to life) when a node takes one of its users: the
 * last that is left, or backward the first. */
static bool turns(const drawer *d, uint32_t group)
{
    const uint32_t users = sched_list_length(&d->core->users, group);
    return d->policy->backward ? d->untaken[group] == users : d->untaken[group] == 1;
}

static effect weigh_node(const drawer *d, uint32_t node)
{
    const sched_core *core = d->core;
    const int64_t *weights = d->policy->ranks->weights[d->policy->backward];
    double need = (double)core->bytes[node], dying = 0, shift = 0;
    if (core->own[node] != SCHED_NONE)
        shift = (double)weights[core->own[node]];
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (!turns(d, group))
            continue;
        dying += (double)core->size[group];
        shift -= (double)weights[group];
        if (core->takes[r])
            need = fmin(need, fmax(0, (double)core->bytes[node] - (double)core->size[group]));
    }
    const double net = (double)core->kept[node] - dying;
    const double during = need + (double)core->workspace[node];
    return d->policy->backward ? (effect){-net, during - net, -shift}
                               : (effect){net, during, shift};
}

static uint32_t member(const drawer *d, uint32_t unit, uint32_t at)
{
    const uint32_t first = d->core->members.first[unit], end = d->core->members.first[unit + 1];
    return d->core->members.items[d->policy->backward ? end - 1 - at : first + at];
}

static void mark(drawer *d, uint32_t node, bool taken)
{
    sched_for_each(group, &d->core->reads, node) d->untaken[*group] += taken ? UINT32_MAX : 1;
}

static effect weigh(drawer *d, uint32_t unit)
{
    const uint32_t count = sched_list_length(&d->core->members, unit);
    const double potential = (double)d->policy->ranks->potentials[d->policy->backward][unit];
    effect total = {0, -INFINITY, potential};
    if (count == 1) {
        total = weigh_node(d, member(d, unit, 0));
        total.shift += potential;
        return total;
    }
    for (uint32_t m = 0; m < count; m++) {
        const uint32_t node = member(d, unit, m);
        const effect one = weigh_node(d, node);
        total.cost = fmax(total.cost, total.net + one.cost);
        total.net += one.net;
        total.shift += one.shift;
        mark(d, node, true);
    }
    for (uint32_t m = 0; m < count; m++)
        mark(d, member(d, unit, m), false);
    return total;
}

/* Adds `sign` times the slope of a unit's rank. */
static void add_slope(drawer *d, uint32_t unit, double sign, const topo_slopes *slopes)
{
    const sched_core *core = d->core;
    const double way = d->policy->backward ? -sign : sign;
    const uint32_t count = sched_list_length(&core->members, unit);
    slopes->by_unit[unit] += sign;
    for (uint32_t m = 0; m < count; m++) {
        const uint32_t node = member(d, unit, m);
        if (core->own[node] != SCHED_NONE)
            slopes->by_group[core->own[node]] += way;
        sched_for_each(group, &core->reads, node) if (turns(d, *group)) slopes->by_group[*group] -=
            way;
        if (count > 1)
            mark(d, node, true);
    }
    for (uint32_t m = 0; m < count && count > 1; m++)
        mark(d, member(d, unit, m), false);
}

static double uniform(uint64_t *state)
{
    return (double)(td_random_next(state) >> 11) * 0x1p-53;
}

/* The place among the ready units of what comes next; chances[i] its probability, or 1 for what
 * is no choice. */
static uint32_t choose(drawer *d, bool *is_choice)
{
    const double heat = d->policy->temperature * d->policy->graph->features.scale;
    const double allowed = fmax(d->peak, (double)d->policy->graph->floor);
    double least = INFINITY, sum = 0;
    uint32_t best = 0;
    *is_choice = d->ready_count > 1;
    for (uint32_t i = 0; i < d->ready_count; i++) {
        const effect e = weigh(d, d->ready[i]);
        if (!d->policy->backward && e.net <= 0 && d->live + e.cost <= allowed) {
            *is_choice = false; /* a free move */
            return i;
        }
        d->chances[i] = e.net + e.shift;
        if (d->chances[i] < least) {
            least = d->chances[i];
            best = i;
        }
    }
    if (!(heat > 0) || !*is_choice) {
        *is_choice = false;
        return best;
    }
    for (uint32_t i = 0; i < d->ready_count; i++)
        sum += d->chances[i] = exp((least - d->chances[i]) / heat);
    double left = uniform(&d->random) * sum;
    uint32_t chosen = d->ready_count - 1;
    for (uint32_t i = 0; i < d->ready_count; i++) {
        if (chosen == d->ready_count - 1 && left < d->chances[i])
            chosen = i < chosen ? i : chosen;
        left -= d->chances[i];
        d->chances[i] /= sum;
    }
    return chosen;
}

static void take(drawer *d, uint32_t place)
{
    const sched_lists *next = d->policy->backward ? &d->core->before : &d->core->after;
    const uint32_t unit = d->ready[place], count = sched_list_length(&d->core->members, unit);
    const effect e = weigh(d, unit);
    d->peak = fmax(d->peak, d->live + e.cost);
    d->live += e.net;
    for (uint32_t m = 0; m < count; m++)
        mark(d, member(d, unit, m), true);
    d->ready[place] = d->ready[--d->ready_count];
    sched_for_each(other, next, unit) if (--d->waiting[*other] == 0) d->ready[d->ready_count++] =
        *other;
}

static void start(drawer *d)
{
    const sched_core *core = d->core;
    const sched_lists *first = d->policy->backward ? &core->after : &core->before;
    d->live = (double)core->base;
    for (uint32_t i = 0; d->policy->backward && i < core->count; i++)
        d->live += (double)core->kept[i];
    for (uint32_t g = 0; g < core->group_count; g++) {
        d->untaken[g] = sched_list_length(&core->users, g);
        d->live -= d->policy->backward ? (double)core->size[g] : 0;
    }
    d->peak = d->live;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        d->waiting[u] = sched_list_length(first, u);
        if (d->waiting[u] == 0)
            d->ready[d->ready_count++] = u;
    }
}

static void draw(drawer *d, const topo_slopes *slopes, uint32_t *units)
{
    const uint32_t count = d->core->unit_count;
    start(d);
    for (uint32_t step = 0; step < count; step++) {
        bool is_choice;
        const uint32_t place = choose(d, &is_choice);
        if (is_choice && slopes != NULL) {
            /* d log p / d (-rank of i / heat) is [i chosen] - p(i): by rank the signs turn. */
            for (uint32_t i = 0; i < d->ready_count; i++)
                add_slope(d, d->ready[i], d->chances[i], slopes);
            add_slope(d, d->ready[place], -1, slopes);
        }
        units[d->policy->backward ? count - 1 - step : step] = d->ready[place];
        take(d, place);
    }
}

td_status topo_policy_draw(const topo_policy *policy, const topo_slopes *slopes, uint32_t *units,
                           uint64_t *peak)
{
    const sched_core *core = &policy->graph->core;
    td_context *context = core->context;
    drawer d = {.policy = policy, .core = core, .context = context, .random = policy->seed};
    const size_t count = core->unit_count + (size_t)1;
    d.waiting = td_allocate(context, count * sizeof *d.waiting);
    d.untaken = td_allocate(context, (core->group_count + (size_t)1) * sizeof *d.untaken);
    d.ready = td_allocate(context, count * sizeof *d.ready);
    d.chances = td_allocate(context, count * sizeof *d.chances);
    td_status status = TD_OK;
    if (d.waiting == NULL || d.untaken == NULL || d.ready == NULL || d.chances == NULL)
        status = td_fail_memory(context);
    if (status == TD_OK) {
        draw(&d, slopes, units);
        *peak = (uint64_t)d.peak;
    }
    td_release(context, d.waiting);
    td_release(context, d.untaken);
    td_release(context, d.ready);
    td_release(context, d.chances);
    return status;
}

/* --- REINFORCE --- */

/* What the samples of one direction add up to. */
typedef struct gathered {
    topo_slopes own, sum, by_peak; /* of one sample; of all; of all, each times its peak */
} gathered;

/* memory: 3 * (units + groups) */
static gathered gather_into(double *memory, size_t units, size_t groups)
{
    topo_slopes part[3];
    for (int i = 0; i < 3; i++)
        part[i] = (topo_slopes){memory + (size_t)i * (units + groups),
                                memory + (size_t)i * (units + groups) + units};
    return (gathered){part[0], part[1], part[2]};
}

/* Slopes lie by unit, then by group, in one piece. */
static void add_sample(const gathered *all, size_t size, double peak)
{
    for (size_t i = 0; i < size; i++) {
        all->sum.by_unit[i] += all->own.by_unit[i];
        all->by_peak.by_unit[i] += peak * all->own.by_unit[i];
    }
}

/* The sum over samples of advantage times slope, with advantage = (peak - mean) / deviation /
 * samples, needs the mean of the peaks: it is left out while drawing and taken off at the end.
 * Peaks count from the first, so that nothing large cancels. */
static td_status reinforce_direction(topo_policy *policy, uint32_t samples, uint64_t seed,
                                     uint32_t *units, const gathered *all, topo_drawn *drawn,
                                     bool *is_flat)
{
    const sched_core *core = &policy->graph->core;
    const size_t size = (size_t)core->unit_count + core->group_count;
    uint64_t first = 0;
    double mean = 0, square = 0;
    for (uint32_t s = 0; s < samples; s++) {
        uint64_t peak;
        memset(all->own.by_unit, 0, size * sizeof(double));
        policy->seed = seed + s;
        TD_TRY(topo_policy_draw(policy, &all->own, units, &peak));
        first = s == 0 ? peak : first;
        drawn->best = peak < drawn->best ? peak : drawn->best;
        const double above = (double)peak - (double)first;
        mean += above / samples;
        square += above * above / samples;
        add_sample(all, size, above);
    }
    const double deviation = sqrt(fmax(0, square - mean * mean));
    drawn->mean[policy->backward] = (double)first + mean;
    *is_flat = !(deviation > 0);
    for (size_t i = 0; i < size && !*is_flat; i++)
        all->sum.by_unit[i] =
            (all->by_peak.by_unit[i] - mean * all->sum.by_unit[i]) / deviation / samples;
    return TD_OK;
}

static td_status reinforce(const topo_graph *graph, const topo_ranks *ranks, const float *outputs,
                           double temperature, uint32_t samples, uint64_t seed, double *memory,
                           uint32_t *units, float *d_outputs, topo_drawn *drawn)
{
    const size_t n = graph->core.unit_count, groups = graph->core.group_count;
    const gathered all = gather_into(memory, n, groups);
    drawn->best = UINT64_MAX;
    for (int back = 0; back < 2; back++) {
        topo_policy policy = {graph, ranks, back != 0, temperature, seed};
        bool is_flat;
        memset(memory, 0, 3 * (n + groups) * sizeof *memory);
        TD_TRY(reinforce_direction(&policy, samples, seed + (uint64_t)back * samples, units, &all,
                                   drawn, &is_flat));
        if (!is_flat)
            topo_slopes_add(graph, &all.sum, outputs, back != 0, 1 / temperature, d_outputs);
    }
    return TD_OK;
}

td_status topo_reinforce(const topo_graph *graph, const float *outputs, double temperature,
                         uint32_t samples, uint64_t seed, float *d_outputs, topo_drawn *drawn)
{
    td_context *context = graph->core.context;
    const size_t n = graph->core.unit_count + (size_t)1, groups = graph->core.group_count;
    topo_ranks ranks;
    TD_TRY(topo_ranks_of(graph, outputs, &ranks));
    double *memory = td_allocate(context, 3 * (n + groups) * sizeof *memory);
    uint32_t *units = td_allocate(context, n * sizeof *units);
    td_status status = TD_OK;
    if (memory == NULL || units == NULL)
        status = td_fail_memory(context);
    if (status == TD_OK)
        status = reinforce(graph, &ranks, outputs, temperature, samples, seed, memory, units,
                           d_outputs, drawn);
    td_release(context, memory);
    td_release(context, units);
    topo_ranks_release(&ranks);
    return status;
}
