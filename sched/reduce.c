/* Reductions that keep an optimum.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * In what follows P is the set executed when a step runs, net(U | P) what unit U adds to live
 * memory and cost(U | P) its largest step above live(P). By (S) and (N) of core.h both shrink, or
 * stay, as P grows.
 *
 * Advance. Let V be ready as soon as U has run (every other unit before V comes before U), let
 * net(V) <= 0 wherever V runs and cost(V | P + U) <= cost(U | P) - net(U | P). Then V may follow U
 * at once: move it there in any order. Steps in between see live(P + V) <= live(P) and need no more
 * than before; V itself stays under what U had needed. (A descent needs no waiting: Liu's
 * hill-valley segments.)
 *
 * Delay. Let V come before every other unit that waits for U, let net(U) >= 0 wherever U runs,
 * cost(U | P) - net(U | P) <= cost(V | P + U), and let nobody else be able to take over what U
 * reads. Then U may run right before V: steps in between see live(P - U) <= live(P), and U itself
 * stays under what V needs: live(P - U) + cost(U) = live(P) - net(U) + cost(U). (A climb is put off
 * as long as possible.)
 *
 * Both tests must hold for every P, so they use bounds: groups that surely die (all their users lie
 * in the unit or before it) for the most that a unit can add, groups that may die for the least.
 * More deaths lower cost by no more than they lower net, so cost - net is least with the fewest
 * deaths and largest with the most.
 *
 * Order. Nodes u and v that read the same and are read by the same nodes may change places. If
 * kept(u) <= kept(v), during(u) <= during(v) and during(v) - kept(v) <= during(u) - kept(u)
 * (during: own bytes and workspace), then u may go first: exchange them in an order where v does;
 * the first step costs no more, what lies between sees kept(u) instead of kept(v), and the second
 * costs kept(u) + during(v) <= kept(v) + during(u). */
#include "sched/reduce.h"

#include <stdlib.h>
#include <string.h>

#define MOST_PASSES 16

/* Bounds over all sets from which a unit may run. */
typedef struct bounds {
    int64_t net_most, net_least, cost_most, cost_least;
} bounds;

typedef struct reducer {
    sched_core *core;
    td_context *context;
    uint64_t *ancestors; /* by node: a row of bits; NULL when the graph is too large */
    size_t words;
    uint32_t *unit;   /* by node: its unit, named by the first member */
    uint32_t *next;   /* by node: the next member, or SCHED_NONE */
    uint32_t *tail;   /* by unit: the last member */
    uint32_t *inside; /* by group: users inside the unit at hand */
    uint32_t *read;   /* by group: of those, how many have run */
    bounds *known;    /* by unit */
} reducer;

static bool is_before(const reducer *r, uint32_t ancestor, uint32_t node)
{
    if (r->ancestors == NULL)
        return false;
    return (r->ancestors[node * r->words + ancestor / 64] >> (ancestor % 64) & 1) != 0;
}

/* Whether a node of another unit surely runs before the unit. */
static bool is_before_unit(const reducer *r, uint32_t node, uint32_t unit)
{
    return is_before(r, node, unit) || is_before(r, node, r->tail[unit]);
}

static bool is_after_unit(const reducer *r, uint32_t node, uint32_t unit)
{
    return is_before(r, unit, node) || is_before(r, r->tail[unit], node);
}

static td_status find_ancestors(reducer *r)
{
    const sched_core *core = r->core;
    if (core->count > SCHED_CLOSURE_NODES)
        return TD_OK;
    r->words = (core->count + (size_t)63) / 64;
    r->ancestors = td_allocate(r->context, (core->count * r->words + 1) * sizeof *r->ancestors);
    if (r->ancestors == NULL)
        return td_fail_memory(r->context);
    for (uint32_t node = 0; node < core->count; node++) {
        uint64_t *row = r->ancestors + node * r->words;
        sched_for_each(input, &core->inputs, node)
        {
            const uint64_t *other = r->ancestors + *input * r->words;
            for (size_t w = 0; w <= *input / 64; w++)
                row[w] |= other[w];
            row[*input / 64] |= UINT64_C(1) << (*input % 64);
        }
    }
    return TD_OK;
}

/* --- bounds of a unit --- */

/* Whether all users of a group outside the unit surely run before it. */
static bool others_are_before(const reducer *r, uint32_t group, uint32_t unit)
{
    sched_for_each(user, &r->core->users, group) if (r->unit[*user] != unit &&
                                                     !is_before_unit(r, *user, unit)) return false;
    return true;
}

/* Runs the unit's members with as many deaths as possible, or as few. */
static void simulate(reducer *r, uint32_t unit, bool most_deaths, int64_t *net, int64_t *cost)
{
    const sched_core *core = r->core;
    *net = 0;
    *cost = INT64_MIN;
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node]) {
        uint64_t need = core->bytes[node], dying = 0;
        for (uint32_t k = core->reads.first[node]; k < core->reads.first[node + 1]; k++) {
            const uint32_t group = core->reads.items[k];
            const uint64_t size = core->size[group];
            const bool whole = r->inside[group] == sched_list_length(&core->users, group);
            if (++r->read[group] < r->inside[group])
                continue;
            if (!whole && !most_deaths && !others_are_before(r, group, unit))
                continue;
            dying += size;
            const uint64_t rest = core->bytes[node] > size ? core->bytes[node] - size : 0;
            if (core->takes[k] && rest < need)
                need = rest;
        }
        const int64_t during = *net + (int64_t)(need + core->workspace[node]);
        *cost = during > *cost ? during : *cost;
        *net += (int64_t)core->kept[node] - (int64_t)dying;
    }
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node])
        sched_for_each(group, &core->reads, node) r->read[*group] = 0;
}

static void measure(reducer *r, uint32_t unit)
{
    const sched_core *core = r->core;
    bounds *b = &r->known[unit];
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node])
        sched_for_each(group, &core->reads, node) r->inside[*group]++;
    /* Own groups with readers elsewhere: marked so that they never count as dying. */
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node]) {
        const uint32_t own = core->own[node];
        if (own != SCHED_NONE && r->inside[own] < sched_list_length(&core->users, own))
            r->inside[own] = SCHED_NONE;
    }
    simulate(r, unit, false, &b->net_most, &b->cost_most);
    simulate(r, unit, true, &b->net_least, &b->cost_least);
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node]) {
        sched_for_each(group, &core->reads, node) r->inside[*group] = 0;
        if (core->own[node] != SCHED_NONE)
            r->inside[core->own[node]] = 0;
    }
}

/* --- joining --- */

/* The unit that V directly follows, when all others before V surely run before that one too. */
static uint32_t leader_of(const reducer *r, uint32_t follower)
{
    uint32_t latest = SCHED_NONE;
    for (uint32_t node = follower; node != SCHED_NONE; node = r->next[node])
        sched_for_each(input, &r->core->inputs, node) if (r->unit[*input] != follower &&
                                                          (latest == SCHED_NONE || *input > latest))
            latest = *input;
    if (latest == SCHED_NONE)
        return SCHED_NONE;
    const uint32_t leader = r->unit[latest];
    for (uint32_t node = follower; node != SCHED_NONE; node = r->next[node])
        sched_for_each(input, &r->core->inputs, node)
        {
            const uint32_t unit = r->unit[*input];
            if (unit != follower && unit != leader && !is_before_unit(r, *input, leader))
                return SCHED_NONE;
        }
    return leader;
}

/* The unit that surely runs first among those that wait for `leader`. */
static uint32_t follower_of(const reducer *r, uint32_t leader)
{
    uint32_t earliest = SCHED_NONE;
    for (uint32_t node = leader; node != SCHED_NONE; node = r->next[node])
        sched_for_each(reader, &r->core->readers, node) if (r->unit[*reader] != leader &&
                                                            *reader < earliest) earliest = *reader;
    if (earliest == SCHED_NONE)
        return SCHED_NONE;
    const uint32_t follower = r->unit[earliest];
    for (uint32_t node = leader; node != SCHED_NONE; node = r->next[node])
        sched_for_each(reader, &r->core->readers, node)
        {
            const uint32_t unit = r->unit[*reader];
            if (unit != leader && unit != follower && !is_after_unit(r, *reader, follower))
                return SCHED_NONE;
        }
    return follower;
}

/* Whether another unit could take over a group that this one reads. */
static bool others_may_take(const reducer *r, uint32_t unit)
{
    const sched_core *core = r->core;
    for (uint32_t node = unit; node != SCHED_NONE; node = r->next[node])
        sched_for_each(group, &core->reads, node) sched_for_each(user, &core->users, *group)
        {
            if (r->unit[*user] == unit)
                continue;
            for (uint32_t k = core->reads.first[*user]; k < core->reads.first[*user + 1]; k++)
                if (core->reads.items[k] == *group && core->takes[k])
                    return true;
        }
    return false;
}

static bool may_advance(const reducer *r, uint32_t leader, uint32_t follower)
{
    const bounds *u = &r->known[leader], *v = &r->known[follower];
    return v->net_most <= 0 && v->cost_most <= u->cost_most - u->net_most;
}

static bool may_delay(const reducer *r, uint32_t leader, uint32_t follower)
{
    const bounds *u = &r->known[leader], *v = &r->known[follower];
    return u->net_least >= 0 && u->cost_least - u->net_least <= v->cost_least &&
           !others_may_take(r, leader);
}

static void join(reducer *r, uint32_t leader, uint32_t follower)
{
    for (uint32_t node = follower; node != SCHED_NONE; node = r->next[node])
        r->unit[node] = leader;
    r->next[r->tail[leader]] = follower;
    r->tail[leader] = r->tail[follower];
    measure(r, leader);
}

static bool join_once(reducer *r)
{
    bool changed = false;
    for (uint32_t node = 0; node < r->core->count; node++) {
        if (r->unit[node] != node)
            continue;
        const uint32_t leader = leader_of(r, node);
        if (leader != SCHED_NONE && may_advance(r, leader, node)) {
            join(r, leader, node);
            changed = true;
        }
    }
    for (uint32_t node = r->core->count; node-- > 0;) {
        if (r->unit[node] != node)
            continue;
        const uint32_t follower = follower_of(r, node);
        if (follower != SCHED_NONE && may_delay(r, node, follower)) {
            join(r, node, follower);
            changed = true;
        }
    }
    return changed;
}

/* --- ordering the interchangeable --- */

typedef struct twin {
    uint64_t hash, kept, during;
    uint32_t unit, node;
} twin;

static uint64_t hash_list(const sched_lists *lists, uint32_t i, uint64_t hash)
{
    sched_for_each(item, lists, i) hash = (hash ^ *item) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static bool same_list(const sched_lists *lists, uint32_t a, uint32_t b)
{
    const uint32_t length = sched_list_length(lists, a);
    return length == sched_list_length(lists, b) &&
           memcmp(lists->items + lists->first[a], lists->items + lists->first[b],
                  length * sizeof *lists->items) == 0;
}

static int compare_twins(const void *left, const void *right)
{
    const twin *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->kept != b->kept)
        return a->kept < b->kept ? -1 : 1;
    if (a->during != b->during)
        return a->during < b->during ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

static bool takes_something(const sched_core *core, uint32_t node)
{
    for (uint32_t k = core->reads.first[node]; k < core->reads.first[node + 1]; k++)
        if (core->takes[k])
            return true;
    return false;
}

/* u's numbers come first in the order of compare_twins. */
static bool may_go_first(const sched_core *core, const twin *u, const twin *v)
{
    return u->hash == v->hash && u->kept <= v->kept && u->during <= v->during &&
           v->during - v->kept <= u->during - u->kept &&
           same_list(&core->inputs, u->node, v->node) &&
           same_list(&core->readers, u->node, v->node) && same_list(&core->reads, u->node, v->node);
}

typedef TD_ARRAY(sched_edge) edge_array;

static td_status order_twins(const sched_core *core, edge_array *extra)
{
    td_context *context = core->context;
    twin *twins = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *twins);
    if (twins == NULL)
        return td_fail_memory(context);
    size_t count = 0;
    td_status status = TD_OK;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        const uint32_t node = core->members.items[core->members.first[u]];
        if (sched_list_length(&core->members, u) != 1 || takes_something(core, node))
            continue;
        uint64_t hash = hash_list(&core->inputs, node, 1);
        hash = hash_list(&core->readers, node, hash);
        twins[count++] = (twin){hash_list(&core->reads, node, hash), core->kept[node],
                                core->bytes[node] + core->workspace[node], u, node};
    }
    qsort(twins, count, sizeof *twins, compare_twins);
    for (size_t t = 1; t < count && status == TD_OK; t++)
        if (may_go_first(core, &twins[t - 1], &twins[t]) &&
            !td_array_push(context, extra, ((sched_edge){twins[t - 1].unit, twins[t].unit})))
            status = td_fail_memory(context);
    td_release(context, twins);
    return status;
}

/* --- the whole --- */

/* Units by their first member, in an order in which each comes after those it waits for. */
static td_status write_units(reducer *r)
{
    sched_core *core = r->core;
    edge_array members = {0}, extra = {0};
    td_status status = TD_OK;
    core->unit_count = 0;
    for (uint32_t node = 0; node < core->count && status == TD_OK; node++) {
        if (r->unit[node] != node)
            continue;
        for (uint32_t m = node; m != SCHED_NONE && status == TD_OK; m = r->next[m])
            if (!td_array_push(r->context, &members, ((sched_edge){core->unit_count, m})))
                status = td_fail_memory(r->context);
        core->unit_count++;
    }
    sched_lists_release(r->context, &core->members);
    if (status == TD_OK)
        status = sched_lists_make(r->context, core->unit_count, members.items, members.count,
                                  &core->members);
    if (status == TD_OK)
        status = order_twins(core, &extra);
    if (status == TD_OK)
        status = sched_core_link_units(core, extra.items, extra.count);
    td_array_release(r->context, &members);
    td_array_release(r->context, &extra);
    return status;
}

td_status sched_reduce(sched_core *core)
{
    td_context *context = core->context;
    const size_t count = core->count + (size_t)1, groups = core->group_count + (size_t)1;
    reducer r = {.core = core, .context = context};
    r.unit = td_allocate(context, count * sizeof *r.unit);
    r.next = td_allocate(context, count * sizeof *r.next);
    r.tail = td_allocate(context, count * sizeof *r.tail);
    r.known = td_allocate(context, count * sizeof *r.known);
    r.inside = td_allocate(context, groups * sizeof *r.inside);
    r.read = td_allocate(context, groups * sizeof *r.read);
    td_status status = TD_OK;
    if (r.unit == NULL || r.next == NULL || r.tail == NULL || r.known == NULL || r.inside == NULL ||
        r.read == NULL)
        status = td_fail_memory(context);
    else
        status = find_ancestors(&r);
    if (status == TD_OK) {
        for (uint32_t node = 0; node < core->count; node++) {
            r.unit[node] = r.tail[node] = node;
            r.next[node] = SCHED_NONE;
        }
        for (uint32_t node = 0; node < core->count; node++)
            measure(&r, node);
        for (int pass = 0; pass < MOST_PASSES && join_once(&r); pass++) {
        }
        status = write_units(&r);
    }
    void *const scratch[] = {r.unit, r.next, r.tail, r.known, r.inside, r.read, r.ancestors};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    return status;
}

td_status sched_find_cuts(const sched_core *core, const uint32_t *units, uint32_t *cuts,
                          uint32_t *count)
{
    td_context *context = core->context;
    const uint32_t n = core->unit_count;
    uint32_t *place = td_allocate(context, (n + (size_t)1) * sizeof *place);
    int64_t *least = td_allocate(context, (n + (size_t)1) * sizeof *least);
    if (place == NULL || least == NULL) {
        td_release(context, place);
        td_release(context, least);
        return td_fail_memory(context);
    }
    for (uint32_t i = 0; i < n; i++)
        place[units[i]] = i;
    /* least[p]: over all behind p, the smallest of the latest places that one waits for. Behind a
     * cut p everything waits, through others behind it, for p. */
    int64_t running = INT64_MAX;
    for (uint32_t i = n; i-- > 0;) {
        int64_t latest = -1;
        sched_for_each(other, &core->before, units[i]) latest =
            place[*other] > latest ? place[*other] : latest;
        least[i] = running;
        running = latest < running ? latest : running;
    }
    uint32_t most = 0; /* over all before p, the largest of the earliest places that wait for one */
    *count = 0;
    for (uint32_t p = 0; p < n; p++) {
        if (most <= p && least[p] >= p)
            cuts[(*count)++] = p;
        uint32_t earliest = SCHED_NONE;
        sched_for_each(other, &core->after, units[p]) earliest =
            place[*other] < earliest ? place[*other] : earliest;
        most = earliest > most ? earliest : most;
    }
    td_release(context, place);
    td_release(context, least);
    return TD_OK;
}
