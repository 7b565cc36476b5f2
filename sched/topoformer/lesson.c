/* One lesson from a search.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/lesson.h"

#include "sched/topoformer/rung.h"

#include <math.h>
#include <string.h>

#define MARGIN 0.25 /* scales */
#define BACKWARD_WINDOW                                                                            \
    50             /* levels looked at, from the first loss on; forward all are: measured          \
                    */
#define RUNG     4 /* how much narrower the beam is that runs before */
#define EXAMPLES 4 /* kept sets of a level that are compared with the teacher's */

/* What a narrow beam kept, level by level. */
typedef struct record {
    td_context *context;
    size_t words;
    uint32_t *first; /* [units + 1]: the first set of a level */
    uint32_t levels;
    TD_ARRAY(double) ranks;
    TD_ARRAY(uint64_t) marks; /* `words` for each set */
    bool failed;
} record;

static void remember(void *self, uint32_t depth, const uint64_t *marks, double rank)
{
    record *r = self;
    if (depth == r->levels)
        r->first[r->levels++] = (uint32_t)r->ranks.count;
    if (!td_array_push(r->context, &r->ranks, rank) ||
        !td_array_reserve(r->context, &r->marks, r->marks.count + r->words)) {
        r->failed = true;
        return;
    }
    memcpy(r->marks.items + r->marks.count, marks, r->words * sizeof *marks);
    r->marks.count += r->words;
    r->first[r->levels] = (uint32_t)r->ranks.count;
}

static void release_record(record *r)
{
    td_release(r->context, r->first);
    td_array_release(r->context, &r->ranks);
    td_array_release(r->context, &r->marks);
}

typedef struct teacher {
    const topo_graph *graph;
    const sched_core *core;
    td_context *context;
    topo_ranks ranks;
    uint32_t *narrow, *best, *path; /* orders of units: room, the teacher's, its path */
    double *live; /* [units + 1]: what is alive after so many units of the path, weighted */
    uint64_t *marks;
    topo_slopes slopes;
    uint32_t *left;
} teacher;

static bool is_marked(const uint64_t *marks, uint32_t node)
{
    return (marks[node / 64] >> (node % 64) & 1) != 0;
}

/* The path that a search takes which follows `order` wherever no free move is forced: a beam of
 * width 1 whose ranks see nothing but places. Its peak is no larger. */
static td_status canonicalise(teacher *t, const uint32_t *order, bool backward)
{
    const sched_core *core = t->core;
    const uint32_t n = core->unit_count;
    int64_t *potentials = td_allocate(t->context, (n + (size_t)1) * sizeof *potentials);
    int64_t *weights = td_allocate(t->context, (core->group_count + (size_t)1) * sizeof *weights);
    td_status status = TD_OK;
    if (potentials == NULL || weights == NULL)
        status = td_fail_memory(t->context);
    if (status == TD_OK) {
        for (uint32_t g = 0; g < core->group_count; g++)
            weights[g] = -(int64_t)core->size[g];
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t unit = order[i];
            potentials[unit] = backward ? n - i : i;
            sched_for_each(node, &core->members, unit) if (core->own[*node] == SCHED_NONE)
                potentials[unit] += (backward ? 1 : -1) * (int64_t)core->kept[*node];
        }
        sched_search search = topo_search(t->graph, NULL, backward, 1);
        search.potentials = potentials;
        search.weights = weights;
        sched_effort effort = {.work = UINT64_MAX};
        sched_outcome outcome;
        status = sched_search_run(core, &search, &effort, t->path, &outcome);
    }
    td_release(t->context, potentials);
    td_release(t->context, weights);
    return status;
}

/* Weighted live memory along the path. */
static void follow_path(teacher *t, bool backward)
{
    const sched_core *core = t->core;
    const int64_t *weights = t->ranks.weights[backward];
    double live = (double)core->base;
    for (uint32_t g = 0; g < core->group_count; g++)
        t->left[g] = sched_list_length(&core->users, g);
    t->live[0] = live;
    for (uint32_t i = 0; i < core->unit_count; i++) {
        sched_for_each(node, &core->members, t->path[i])
        {
            live += (double)core->kept[*node];
            if (core->own[*node] != SCHED_NONE)
                live += (double)weights[core->own[*node]];
            sched_for_each(group, &core->reads, *node) if (--t->left[*group] == 0) live -=
                (double)core->size[*group] + (double)weights[*group];
        }
        t->live[i + 1] = live;
    }
}

/* Adds `sign` times what a set holds and keeps alive to the slopes. */
static void count_set(teacher *t, const uint64_t *marks, bool backward, double sign)
{
    const sched_core *core = t->core;
    for (uint32_t node = 0; node < core->count; node++) {
        const uint32_t unit = core->unit_of[node], group = core->own[node];
        const bool held = is_marked(marks, node), has_run = held != backward;
        if (held && node == core->members.items[core->members.first[unit]])
            t->slopes.by_unit[unit] += sign;
        if (!has_run || group == SCHED_NONE)
            continue;
        bool alive = false;
        for (uint32_t u = core->users.first[group]; u < core->users.first[group + 1] && !alive; u++)
            alive = is_marked(marks, core->users.items[u]) == backward;
        if (alive)
            t->slopes.by_group[group] += sign;
    }
}

/* Compares the path's set of a level with those that were kept; 0 when there is nothing to say. */
static double compare_level(teacher *t, const record *kept, uint32_t level, double rank,
                            bool backward)
{
    const uint32_t first = kept->first[level], end = kept->first[level + 1];
    const double margin = MARGIN * t->graph->features.scale;
    if (rank + margin <= kept->ranks.items[end - 1])
        return 0;
    for (uint32_t s = first; s < end; s++)
        if (memcmp(kept->marks.items + s * kept->words, t->marks, kept->words * sizeof *t->marks) ==
            0)
            return 0;
    const uint32_t examples = end - first < EXAMPLES ? end - first : EXAMPLES;
    double loss = 0;
    for (uint32_t e = 0; e < examples; e++) {
        const uint32_t s = end - 1 - (uint32_t)((uint64_t)(end - first) * e / examples);
        loss += (rank - kept->ranks.items[s] + margin) / examples;
        count_set(t, kept->marks.items + s * kept->words, backward, -1.0 / examples);
    }
    count_set(t, t->marks, backward, 1);
    return loss / t->graph->features.scale;
}

/* Walks along the path through what the narrow beam kept. */
static double compare(teacher *t, const record *kept, bool backward, uint32_t *levels)
{
    const sched_core *core = t->core;
    const uint32_t n = core->unit_count;
    double loss = 0, held = 0;
    const uint32_t window = backward ? BACKWARD_WINDOW : n;
    uint32_t end = n - 1; /* of the levels that are looked at */
    memset(t->marks, 0, kept->words * sizeof *t->marks);
    for (uint32_t level = 0; level < end && level < kept->levels; level++) {
        const uint32_t unit = t->path[backward ? n - 1 - level : level];
        sched_for_each(node, &core->members, unit) t->marks[*node / 64] |= UINT64_C(1)
                                                                           << (*node % 64);
        held += (double)t->ranks.potentials[backward][unit];
        const double live = t->live[backward ? n - 1 - level : level + 1];
        const double own = compare_level(t, kept, level, live + held, backward);
        if (own > 0 && *levels == 0 && level + window < end)
            end = level + window;
        loss += own;
        *levels += own > 0;
    }
    return loss;
}

static td_status learn(teacher *t, const float *outputs, const record *kept, bool backward,
                       float *d_outputs, topo_lesson *lesson)
{
    const sched_core *core = t->core;
    TD_TRY(canonicalise(t, t->best, backward));
    follow_path(t, backward);
    memset(t->slopes.by_unit, 0, core->unit_count * sizeof *t->slopes.by_unit);
    memset(t->slopes.by_group, 0, core->group_count * sizeof *t->slopes.by_group);
    uint32_t levels = 0;
    const double loss = compare(t, kept, backward, &levels);
    if (levels == 0)
        return TD_OK;
    /* What lies further below counts more, up to a point. */
    const double gain = (double)lesson->narrow[backward] / (double)lesson->best - 1;
    const double factor = fmin(2, 0.2 + gain / 0.02) / levels;
    topo_slopes_add(t->graph, &t->slopes, outputs, backward, factor, d_outputs);
    lesson->loss += factor * loss;
    lesson->learned[backward] = true;
    return TD_OK;
}

/* A beam of one direction by the present ranks, or a plain one, below what `best` knows. */
static td_status climb(const teacher *t, sched_improved *best, bool backward, bool learned,
                       uint32_t width, const sched_watch *watch)
{
    const topo_rung rung = {
        .ranks = learned ? &t->ranks : NULL, .backward = backward, .width = width, .watch = watch};
    sched_effort effort = {.work = UINT64_MAX};
    bool found;
    best->bound = t->graph->floor; /* a lesson needs no proofs */
    return topo_rung_run(best, &rung, &effort, &found);
}

/* Beams as they are decoded: a rung in both directions, the one that learns above it, each
 * direction from there, and a teacher; each direction may teach the other, too. */
static td_status search_all(teacher *t, uint32_t width, uint32_t wide, bool by_plain, record *kept,
                            topo_lesson *lesson)
{
    const size_t size = t->core->unit_count * sizeof *t->best;
    sched_improved best = {.core = t->core, .units = t->best, .peak = t->graph->features.peak};
    memcpy(t->best, t->graph->features.units, size);
    for (int back = 0; back < 2; back++)
        TD_TRY(climb(t, &best, back != 0, true, width / RUNG, NULL));
    const uint64_t known = best.peak;
    for (int back = 0; back < 2; back++) {
        const sched_watch watch = {remember, &kept[back]};
        sched_improved narrow = {.core = t->core, .units = t->narrow, .peak = known};
        TD_TRY(climb(t, &narrow, back != 0, true, width, &watch));
        if (kept[back].failed)
            return td_fail_memory(t->context);
        lesson->narrow[back] = narrow.peak;
        if (narrow.peak < best.peak) {
            best.peak = narrow.peak;
            memcpy(t->best, t->narrow, size);
        }
    }
    TD_TRY(climb(t, &best, true, !by_plain, wide, NULL));
    lesson->best = best.peak;
    return TD_OK;
}

static td_status open_teacher(teacher *t, record *kept)
{
    td_context *context = t->context;
    const size_t units = t->core->unit_count + (size_t)2, words = t->core->count / 64 + 1;
    t->narrow = td_allocate(context, units * sizeof *t->narrow);
    t->best = td_allocate(context, units * sizeof *t->best);
    t->path = td_allocate(context, units * sizeof *t->path);
    t->live = td_allocate(context, units * sizeof *t->live);
    t->marks = td_allocate(context, words * sizeof *t->marks);
    t->slopes.by_unit = td_allocate(context, units * sizeof *t->slopes.by_unit);
    t->slopes.by_group =
        td_allocate(context, (t->core->group_count + (size_t)1) * sizeof *t->slopes.by_group);
    t->left = td_allocate(context, (t->core->group_count + (size_t)1) * sizeof *t->left);
    for (int back = 0; back < 2; back++) {
        kept[back] = (record){.context = context, .words = (t->core->count + (size_t)63) / 64};
        kept[back].first = td_allocate(context, units * sizeof(uint32_t));
        if (kept[back].first == NULL)
            return td_fail_memory(context);
    }
    if (t->narrow == NULL || t->best == NULL || t->path == NULL || t->live == NULL ||
        t->marks == NULL || t->slopes.by_unit == NULL || t->slopes.by_group == NULL ||
        t->left == NULL)
        return td_fail_memory(context);
    return TD_OK;
}

td_status topo_lesson_take(const topo_graph *graph, const float *outputs, uint32_t width,
                           uint32_t wide, bool by_plain, float *d_outputs, topo_lesson *lesson)
{
    teacher t = {.graph = graph, .core = &graph->core, .context = graph->core.context};
    record kept[2] = {{.context = t.context}, {.context = t.context}};
    *lesson = (topo_lesson){.best = UINT64_MAX};
    td_status status = topo_ranks_of(graph, outputs, &t.ranks);
    if (status == TD_OK)
        status = open_teacher(&t, kept);
    if (status == TD_OK)
        status = search_all(&t, width, wide, by_plain, kept, lesson);
    for (int back = 0; back < 2 && status == TD_OK; back++)
        if (lesson->best < lesson->narrow[back])
            status = learn(&t, outputs, &kept[back], back != 0, d_outputs, lesson);
    topo_ranks_release(&t.ranks);
    void *const scratch[] = {t.narrow,          t.best, t.path, t.live, t.marks, t.slopes.by_unit,
                             t.slopes.by_group, t.left};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(t.context, scratch[i]);
    for (int back = 0; back < 2; back++)
        release_record(&kept[back]);
    return status;
}
