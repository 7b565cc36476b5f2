/* Search over sets of executed units, level by level.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One code serves both directions. Forward a set is what has run, and running v changes live memory
 * by kept(v) - dying(v), where the groups that die are those whose other users have all run.
 * Backward a set is what has been taken off the end; taking off v changes live memory by dying(v) -
 * kept(v), where the same groups come to life: those of whose users none has been taken off. In
 * both cases group g counts for v when every other user's mark equals `backward ? unmarked :
 * marked`.
 *
 * Free moves. Forward: if v fits under max(peak so far, floor) and does not raise live memory,
 * running it at once is as good as anything: by (S) it does not raise live memory at any later set
 * either, so in any completion v may be moved to the front without any step becoming larger (by (N)
 * no other step needs more). Backward: likewise, as (S) says that v had raised live memory (or left
 * it equal) at any smaller set; there, v must not read what another node may take over, for that
 * one could not once v comes after it. A set with a free move has that move as its only child. */
#include "sched/search.h"

#include <stdlib.h>
#include <string.h>

/* A unit that may come next, with its effect: relative to live memory before. `shift` is that on
 * the set's learned rank. */
typedef struct move {
    uint32_t unit;
    int64_t net, cost, shift;
} move;

typedef struct state {
    uint64_t live, peak, hash;
    int64_t learned; /* potentials of the units held and weights of the groups alive */
    uint64_t *marks; /* by node */
    move *moves;
    uint32_t move_count;
} state;

/* A child that is not yet made. */
typedef struct candidate {
    uint64_t live, peak, hash, tie;
    int64_t learned;
    double rank;
    uint32_t parent, unit;
} candidate;

/* How a kept set was reached. */
typedef struct step {
    uint32_t parent, unit;
} step;

typedef struct level {
    state *states;
    uint32_t count;
    uint64_t bytes; /* about what the sets take */
    td_arena marks, moves;
} level;

typedef struct searcher {
    const sched_core *core;
    const sched_search *search;
    td_context *context;
    size_t words;
    bool *fixed;   /* by unit: a free move is allowed to fix it */
    uint64_t *key; /* by unit: random, sets are the xor of theirs */
    level levels[2];
    step **history; /* by level: steps of the kept sets */
    TD_ARRAY(candidate) candidates;
    uint32_t *table; /* of candidates by hash, 1 + index */
    size_t table_size;
    uint32_t *listed; /* by unit: position + 1 in the move list under construction */
    bool truncated;
    bool has_cutoff; /* the width is exceeded: what ranks after `cutoff` need not be kept */
    candidate cutoff;
} searcher;

static bool marked(const uint64_t *marks, uint32_t node)
{
    return (marks[node / 64] >> (node % 64) & 1) != 0;
}

static void flip(uint64_t *marks, uint32_t node)
{
    marks[node / 64] ^= UINT64_C(1) << (node % 64);
}

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* Whether group g dies (comes to life) at `node`: see above. Users that run late are asked first
 * forward, as they are the likely ones to be unmarked. */
static bool turns(const searcher *s, const uint64_t *marks, uint32_t group, uint32_t node)
{
    const sched_lists *users = &s->core->users;
    const uint32_t first = users->first[group], end = users->first[group + 1];
    if (s->search->backward) {
        for (uint32_t u = first; u < end; u++)
            if (users->items[u] != node && marked(marks, users->items[u]))
                return false;
    } else {
        for (uint32_t u = end; u > first; u--)
            if (users->items[u - 1] != node && !marked(marks, users->items[u - 1]))
                return false;
    }
    return true;
}

/* The effect of a node on live memory and its cost, both relative to live memory before. */
static move weigh_node(const searcher *s, const uint64_t *marks, uint32_t node)
{
    const sched_core *core = s->core;
    const int64_t *weights = s->search->weights;
    uint64_t need = core->bytes[node], dying = 0;
    int64_t shift = 0;
    if (weights != NULL && core->own[node] != SCHED_NONE)
        shift = weights[core->own[node]];
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (!turns(s, marks, group, node))
            continue;
        const uint64_t size = core->size[group];
        dying += size;
        if (weights != NULL)
            shift -= weights[group];
        if (core->takes[r]) {
            const uint64_t rest = core->bytes[node] > size ? core->bytes[node] - size : 0;
            need = rest < need ? rest : need;
        }
    }
    const int64_t net = (int64_t)core->kept[node] - (int64_t)dying;
    const int64_t during = (int64_t)(need + core->workspace[node]);
    if (s->search->backward)
        return (move){.net = -net, .cost = during - net, .shift = -shift};
    return (move){.net = net, .cost = during, .shift = shift};
}

static move weigh(const searcher *s, uint64_t *marks, uint32_t unit)
{
    const sched_lists *members = &s->core->members;
    const uint32_t first = members->first[unit], end = members->first[unit + 1];
    move total;
    if (end - first == 1) {
        total = weigh_node(s, marks, members->items[first]);
    } else {
        total = (move){.cost = INT64_MIN};
        for (uint32_t m = first; m < end; m++) {
            const uint32_t node = members->items[s->search->backward ? end - 1 - (m - first) : m];
            const move one = weigh_node(s, marks, node);
            if (total.net + one.cost > total.cost)
                total.cost = total.net + one.cost;
            total.net += one.net;
            total.shift += one.shift;
            flip(marks, node);
        }
        for (uint32_t m = first; m < end; m++)
            flip(marks, members->items[m]);
    }
    total.unit = unit;
    if (s->search->potentials != NULL)
        total.shift += s->search->potentials[unit];
    return total;
}

static const sched_lists *waits_for(const searcher *s)
{
    return s->search->backward ? &s->core->after : &s->core->before;
}

static const sched_lists *lets_go(const searcher *s)
{
    return s->search->backward ? &s->core->before : &s->core->after;
}

static uint32_t some_member(const searcher *s, uint32_t unit)
{
    return s->core->members.items[s->core->members.first[unit]];
}

static bool is_ready(const searcher *s, const uint64_t *marks, uint32_t unit)
{
    sched_for_each(other, waits_for(s),
                   unit) if (!marked(marks, some_member(s, *other))) return false;
    return true;
}

/* --- candidates --- */

static bool before(const candidate *a, const candidate *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->peak != b->peak)
        return a->peak < b->peak;
    if (a->live != b->live)
        return a->live < b->live;
    if (a->tie != b->tie)
        return a->tie < b->tie;
    if (a->parent != b->parent)
        return a->parent < b->parent;
    return a->unit < b->unit;
}

static int compare_candidates(const void *left, const void *right)
{
    return before(left, right) ? -1 : before(right, left) ? 1 : 0;
}

/* Whether two candidates are one set; equal hashes are not enough for a proof. */
static bool same_set(const searcher *s, const level *from, const candidate *a, const candidate *b)
{
    if (a->hash != b->hash)
        return false;
    const uint64_t *x = from->states[a->parent].marks, *y = from->states[b->parent].marks;
    if (a->parent == b->parent || a->unit == b->unit)
        return a->unit == b->unit && memcmp(x, y, s->words * sizeof *x) == 0;
    const sched_lists *members = &s->core->members;
    uint32_t differing = sched_list_length(members, a->unit) + sched_list_length(members, b->unit);
    for (size_t w = 0; w < s->words; w++) {
        const uint32_t bits = (uint32_t)__builtin_popcountll(x[w] ^ y[w]);
        if (bits > differing)
            return false;
        differing -= bits;
    }
    sched_for_each(node, members, a->unit) if (marked(x, *node) || !marked(y, *node)) return false;
    sched_for_each(node, members, b->unit) if (marked(y, *node) || !marked(x, *node)) return false;
    return differing == 0;
}

/* Sorts the candidates, keeps the first of equal sets and at most `width` sets. */
static void compact(searcher *s, const level *from)
{
    if (s->candidates.count == 0)
        return;
    qsort(s->candidates.items, s->candidates.count, sizeof *s->candidates.items,
          compare_candidates);
    memset(s->table, 0, s->table_size * sizeof *s->table);
    size_t kept = 0;
    for (size_t i = 0; i < s->candidates.count; i++) {
        const candidate *next = &s->candidates.items[i];
        size_t slot = next->hash & (s->table_size - 1);
        while (s->table[slot] != 0 &&
               !same_set(s, from, &s->candidates.items[s->table[slot] - 1], next))
            slot = (slot + 1) & (s->table_size - 1);
        if (s->table[slot] != 0) {
            /* The same set, reached with less: ranks may differ when weights do. */
            candidate *old = &s->candidates.items[s->table[slot] - 1];
            if (next->peak < old->peak)
                *old = *next;
            continue;
        }
        if (kept == s->search->width) {
            s->truncated = true;
            s->has_cutoff = true;
            s->cutoff = s->candidates.items[kept - 1];
            break;
        }
        s->candidates.items[kept] = *next;
        s->table[slot] = (uint32_t)++kept;
    }
    s->candidates.count = kept;
}

static td_status make_room(searcher *s)
{
    size_t wanted = 1024;
    while (wanted < s->candidates.count * 2)
        wanted *= 2;
    if (wanted <= s->table_size)
        return TD_OK;
    td_release(s->context, s->table);
    s->table = td_allocate(s->context, wanted * sizeof *s->table);
    s->table_size = s->table == NULL ? 0 : wanted;
    return s->table == NULL ? td_fail_memory(s->context) : TD_OK;
}

/* --- children --- */

static bool is_free(const searcher *s, const state *from, const move *m)
{
    const uint64_t allowed = from->peak > s->search->floor ? from->peak : s->search->floor;
    return m->net <= 0 && s->fixed[m->unit] && (int64_t)from->live + m->cost <= (int64_t)allowed;
}

static td_status add_candidate(searcher *s, const level *from, uint32_t parent, const move *m)
{
    const state *origin = &from->states[parent];
    const sched_search *search = s->search;
    const uint64_t during = (uint64_t)((int64_t)origin->live + m->cost);
    candidate next = {.live = (uint64_t)((int64_t)origin->live + m->net),
                      .peak = during > origin->peak ? during : origin->peak,
                      .hash = origin->hash ^ s->key[m->unit],
                      .learned = origin->learned + m->shift,
                      .parent = parent,
                      .unit = m->unit};
    if (next.peak > search->bound)
        return TD_OK;
    if (next.peak < search->floor)
        next.peak = search->floor;
    next.rank = (double)(search->peak_first ? next.peak : next.live) + (double)next.learned;
    if (search->seed != 0)
        next.tie = mix(next.hash ^ search->seed);
    if (s->has_cutoff && before(&s->cutoff, &next))
        return TD_OK;
    if (!td_array_push(s->context, &s->candidates, next))
        return td_fail_memory(s->context);
    if (s->candidates.count >= (size_t)search->width * 4 + 256) {
        TD_TRY(make_room(s));
        compact(s, from);
    }
    return TD_OK;
}

static bool gives_up(const searcher *s)
{
    return s->truncated && s->search->all_or_none;
}

static td_status expand_level(searcher *s, const level *from, sched_effort *effort)
{
    s->candidates.count = 0;
    s->has_cutoff = false;
    uint64_t work = from->count;
    for (uint32_t p = 0; p < from->count; p++) {
        const state *origin = &from->states[p];
        const move *only = NULL;
        for (uint32_t m = 0; m < origin->move_count && only == NULL; m++)
            if (is_free(s, origin, &origin->moves[m]))
                only = &origin->moves[m];
        if (only != NULL)
            TD_TRY(add_candidate(s, from, p, only));
        for (uint32_t m = 0; m < origin->move_count && only == NULL; m++)
            TD_TRY(add_candidate(s, from, p, &origin->moves[m]));
        work += origin->move_count + s->words;
        if (work > 100000) {
            if (sched_spend(effort, work) || gives_up(s))
                return TD_OK;
            work = 0;
        }
    }
    sched_spend(effort, work);
    TD_TRY(make_room(s));
    compact(s, from);
    return TD_OK;
}

static void weigh_again(searcher *s, state *child, uint32_t unit)
{
    if (s->listed[unit] != 0)
        child->moves[s->listed[unit] - 1] = weigh(s, child->marks, unit);
}

/* Forward only the last user of a group can become cheaper: the one unit that has not run. */
static void refresh_last_user(searcher *s, state *child, uint32_t group)
{
    const sched_core *core = s->core;
    uint32_t last = SCHED_NONE;
    for (uint32_t u = core->users.first[group + 1]; u > core->users.first[group]; u--) {
        const uint32_t user = core->users.items[u - 1], owner = core->unit_of[user];
        if (marked(child->marks, user))
            continue;
        if (last != SCHED_NONE && last != owner)
            return;
        last = owner;
    }
    if (last != SCHED_NONE)
        weigh_again(s, child, last);
}

/* Backward the others become dearer when `unit` is the first to be taken off. */
static void refresh_other_users(searcher *s, state *child, uint32_t unit, uint32_t group)
{
    const sched_core *core = s->core;
    sched_for_each(user, &core->users,
                   group) if (marked(child->marks, *user) && core->unit_of[*user] != unit) return;
    sched_for_each(user, &core->users, group) weigh_again(s, child, core->unit_of[*user]);
}

/* Weighs again what running `unit` made cheaper (or, backward, dearer): users of its groups. */
static void refresh(searcher *s, state *child, uint32_t unit)
{
    const sched_core *core = s->core;
    sched_for_each(node, &core->members, unit) sched_for_each(group, &core->reads, *node)
    {
        if (s->search->backward)
            refresh_other_users(s, child, unit, *group);
        else
            refresh_last_user(s, child, *group);
    }
}

static td_status make_child(searcher *s, const level *from, const candidate *how, level *to)
{
    const sched_core *core = s->core;
    const state *parent = &from->states[how->parent];
    state *child = &to->states[to->count];
    const uint32_t more = sched_list_length(lets_go(s), how->unit);
    *child =
        (state){.live = how->live, .peak = how->peak, .hash = how->hash, .learned = how->learned};
    child->marks = td_arena_allocate(&to->marks, s->words + 1, sizeof *child->marks);
    child->moves =
        td_arena_allocate(&to->moves, parent->move_count + (size_t)more + 1, sizeof *child->moves);
    if (child->marks == NULL || child->moves == NULL)
        return td_fail_memory(s->context);
    memcpy(child->marks, parent->marks, s->words * sizeof *child->marks);
    sched_for_each(node, &core->members, how->unit) flip(child->marks, *node);
    for (uint32_t m = 0; m < parent->move_count; m++)
        if (parent->moves[m].unit != how->unit) {
            child->moves[child->move_count++] = parent->moves[m];
            s->listed[parent->moves[m].unit] = child->move_count;
        }
    refresh(s, child, how->unit);
    sched_for_each(next, lets_go(s),
                   how->unit) if (s->listed[*next] == 0 && is_ready(s, child->marks, *next))
    {
        child->moves[child->move_count++] = weigh(s, child->marks, *next);
        s->listed[*next] = child->move_count;
    }
    for (uint32_t m = 0; m < child->move_count; m++)
        s->listed[child->moves[m].unit] = 0;
    to->bytes += sizeof *child + s->words * sizeof *child->marks +
                 ((size_t)parent->move_count + more) * sizeof *child->moves;
    to->count++;
    return TD_OK;
}

/* The sets that were kept, with their moves, and how they were reached. */
static td_status make_level(searcher *s, uint32_t depth, const level *from, level *to)
{
    td_arena_release(&to->marks);
    td_arena_release(&to->moves);
    td_release(s->context, to->states);
    to->count = 0;
    to->bytes = 0;
    const size_t count = s->candidates.count;
    const sched_watch *watch = s->search->watch;
    to->states = td_allocate(s->context, (count + 1) * sizeof *to->states);
    s->history[depth] = td_allocate(s->context, (count + 1) * sizeof(step));
    if (to->states == NULL || s->history[depth] == NULL)
        return td_fail_memory(s->context);
    for (size_t c = 0; c < count && !gives_up(s); c++) {
        s->history[depth][c] = (step){s->candidates.items[c].parent, s->candidates.items[c].unit};
        TD_TRY(make_child(s, from, &s->candidates.items[c], to));
        if (watch != NULL)
            watch->see(watch->self, depth, to->states[c].marks, s->candidates.items[c].rank);
        s->truncated = s->truncated || to->bytes > SCHED_MOST_LEVEL_BYTES;
    }
    return TD_OK;
}

/* --- the run --- */

/* Live memory at the end of every order. */
static uint64_t live_at_end(const sched_core *core)
{
    uint64_t live = core->base;
    for (uint32_t i = 0; i < core->count; i++)
        live += core->kept[i];
    for (uint32_t g = 0; g < core->group_count; g++)
        live -= core->size[g];
    return live;
}

static td_status make_root(searcher *s, level *root)
{
    const sched_core *core = s->core;
    state *first = &root->states[0];
    const uint64_t live = s->search->backward ? live_at_end(core) : core->base;
    *first = (state){.live = live, .peak = live > s->search->floor ? live : s->search->floor};
    first->marks = td_arena_allocate(&root->marks, s->words + 1, sizeof *first->marks);
    first->moves =
        td_arena_allocate(&root->moves, core->unit_count + (size_t)1, sizeof *first->moves);
    if (first->marks == NULL || first->moves == NULL)
        return td_fail_memory(s->context);
    for (uint32_t u = 0; u < core->unit_count; u++)
        if (sched_list_length(waits_for(s), u) == 0)
            first->moves[first->move_count++] = weigh(s, first->marks, u);
    root->count = 1;
    return TD_OK;
}

/* Backward a unit may be fixed at the end only when nobody else could take over what it reads. */
static void find_fixed(searcher *s)
{
    const sched_core *core = s->core;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        s->fixed[u] = true;
        if (!s->search->backward)
            continue;
        sched_for_each(node, &core->members, u) sched_for_each(group, &core->reads, *node)
            sched_for_each(user, &core->users, *group)
        {
            if (core->unit_of[*user] == u)
                continue;
            for (uint32_t r = core->reads.first[*user]; r < core->reads.first[*user + 1]; r++)
                if (core->reads.items[r] == *group && core->takes[r])
                    s->fixed[u] = false;
        }
    }
}

static td_status prepare(searcher *s)
{
    td_context *context = s->context;
    const size_t units = s->core->unit_count + (size_t)1;
    for (int i = 0; i < 2; i++) {
        td_arena_init(&s->levels[i].marks, context);
        td_arena_init(&s->levels[i].moves, context);
    }
    s->levels[0].states = td_allocate(context, sizeof(state));
    s->fixed = td_allocate(context, units * sizeof *s->fixed);
    s->key = td_allocate(context, units * sizeof *s->key);
    s->listed = td_allocate(context, units * sizeof *s->listed);
    s->history = td_allocate(context, units * sizeof *s->history);
    if (s->levels[0].states == NULL || s->fixed == NULL || s->key == NULL || s->listed == NULL ||
        s->history == NULL)
        return td_fail_memory(context);
    for (uint32_t u = 0; u < s->core->unit_count; u++)
        s->key[u] = mix(u + UINT64_C(0x5bd1e995));
    find_fixed(s);
    return make_root(s, &s->levels[0]);
}

static void release(searcher *s)
{
    td_context *context = s->context;
    for (uint32_t d = 0; s->history != NULL && d < s->core->unit_count; d++)
        td_release(context, s->history[d]);
    for (int i = 0; i < 2; i++) {
        td_arena_release(&s->levels[i].marks);
        td_arena_release(&s->levels[i].moves);
        td_release(context, s->levels[i].states);
    }
    td_release(context, s->fixed);
    td_release(context, s->key);
    td_release(context, s->listed);
    td_release(context, s->history);
    td_release(context, s->table);
    td_array_release(context, &s->candidates);
}

/* The order of the best set of the last level, which is the full set. */
static void trace_back(const searcher *s, uint32_t *units)
{
    const uint32_t count = s->core->unit_count;
    uint32_t at = 0;
    for (uint32_t depth = count; depth > 0; depth--) {
        const step *reached = &s->history[depth - 1][at];
        units[s->search->backward ? count - depth : depth - 1] = reached->unit;
        at = reached->parent;
    }
}

static td_status run(searcher *s, sched_effort *effort, uint32_t *units, sched_outcome *outcome)
{
    const uint32_t count = s->core->unit_count;
    uint64_t peak = s->levels[0].states[0].peak;
    for (uint32_t depth = 0; depth < count; depth++) {
        const level *from = &s->levels[depth % 2];
        TD_TRY(expand_level(s, from, effort));
        if (effort->spent || gives_up(s))
            return TD_OK;
        if (s->candidates.count == 0) {
            outcome->complete = !s->truncated;
            return TD_OK;
        }
        outcome->states += s->candidates.count;
        peak = s->candidates.items[0].peak;
        TD_TRY(make_level(s, depth, from, &s->levels[(depth + 1) % 2]));
    }
    if (peak > s->search->bound)
        return TD_OK;
    outcome->found = true;
    outcome->complete = !s->truncated;
    outcome->peak = peak;
    trace_back(s, units);
    return TD_OK;
}

td_status sched_search_run(const sched_core *core, const sched_search *search, sched_effort *effort,
                           uint32_t *units, sched_outcome *outcome)
{
    searcher s = {.core = core,
                  .search = search,
                  .context = core->context,
                  .words = (core->count + (size_t)63) / 64};
    *outcome = (sched_outcome){0};
    td_status status = prepare(&s);
    if (status == TD_OK)
        status = run(&s, effort, units, outcome);
    release(&s);
    return status;
}
