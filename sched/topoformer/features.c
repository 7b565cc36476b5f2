/* What the encoder is told of each unit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/features.h"

#include "base/hash.h"
#include "sched/effort.h"
#include "sched/search.h"

#include <math.h>
#include <string.h>

#define FIELDS      4  /* smoothed positional fields */
#define SMOOTHINGS  16 /* steps of a lazy random walk that make them */
#define MOST_LOCAL  8.0
#define QUICK_WIDTH 4 /* of the beams among the quick orders */

/* --- the unit itself --- */

/* Bytes that a unit moves. */
typedef struct traffic {
    double born;    /* left behind for others, until their last reader */
    double stays;   /* left behind for good */
    double step;    /* the largest own output and workspace of a member */
    double reads;   /* of others' buffers */
    double shares;  /* of them, each divided by its number of users */
    double ends;    /* of them, those that nobody else reads */
    uint32_t users; /* of its buffers, the most */
} traffic;

typedef struct maker {
    const sched_problem *problem;
    const sched_core *core;
    const topo_views *views;
    td_context *context;
    topo_features *features;
    traffic *traffic; /* by unit */
    uint32_t *filled; /* by unit: features written */
    uint32_t *seen;   /* by group: 1 + the last unit that was found to read it */
} maker;

static void put(maker *m, uint32_t unit, double value)
{
    m->features->rows[(size_t)unit * TOPO_FEATURES + m->filled[unit]++] = (float)value;
}

/* Into [0, 1), half at the scale. */
static double squeeze(const maker *m, double bytes)
{
    return bytes / (bytes + m->features->scale);
}

/* Whether all users of a group lie in one unit. */
static bool is_within(const sched_core *core, uint32_t group, uint32_t unit)
{
    sched_for_each(user, &core->users, group) if (core->unit_of[*user] != unit) return false;
    return true;
}

static void measure_node(maker *m, uint32_t unit, uint32_t node)
{
    const sched_core *core = m->core;
    traffic *t = &m->traffic[unit];
    const double step = (double)core->bytes[node] + (double)core->workspace[node];
    const uint32_t own = core->own[node];
    t->step = step > t->step ? step : t->step;
    if (own == SCHED_NONE) {
        t->stays += (double)core->kept[node];
    } else if (!is_within(core, own, unit)) {
        const uint32_t users = sched_list_length(&core->users, own);
        t->born += (double)core->size[own];
        t->users = users > t->users ? users : t->users;
    }
    sched_for_each(group, &core->reads, node)
    {
        if (m->seen[*group] == unit + 1)
            continue;
        m->seen[*group] = unit + 1;
        if (own != SCHED_NONE && *group == own)
            continue;
        const double size = (double)core->size[*group];
        t->reads += size;
        t->shares += size / sched_list_length(&core->users, *group);
        if (is_within(core, *group, unit))
            t->ends += size;
    }
}

static void put_traffic(maker *m)
{
    const sched_core *core = m->core;
    double total = 0;
    uint32_t counted = 0;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        sched_for_each(node, &core->members, u) measure_node(m, u, *node);
        total += m->traffic[u].born;
        counted += m->traffic[u].born > 0;
    }
    m->features->scale = counted > 0 && total > counted ? total / counted : 1;
    for (uint32_t u = 0; u < core->unit_count; u++) {
        const traffic *t = &m->traffic[u];
        const double scale = m->features->scale, most = fmax(t->born, fmax(t->step, t->shares));
        m->features->local[u] = fmin(most, MOST_LOCAL * scale);
        put(m, u, squeeze(m, t->born));
        put(m, u, squeeze(m, t->stays));
        put(m, u, squeeze(m, t->step));
        put(m, u, squeeze(m, t->reads));
        put(m, u, squeeze(m, t->shares));
        put(m, u, squeeze(m, t->ends));
        put(m, u, squeeze(m, t->born + t->stays) - squeeze(m, t->ends));
        put(m, u, squeeze(m, t->born) - squeeze(m, t->shares));
        put(m, u, log2(1 + t->born / scale) / 8);
        put(m, u, log2(1 + t->reads / scale) / 8);
        put(m, u, t->users / (t->users + 3.0));
        put(m, u,
            sched_list_length(&core->members, u) / (sched_list_length(&core->members, u) + 3.0));
    }
}

/* --- its place --- */

static void put_degrees(maker *m, uint32_t u)
{
    const double in = sched_list_length(&m->core->before, u);
    const double out = sched_list_length(&m->core->after, u);
    put(m, u, in / (in + 3));
    put(m, u, out / (out + 3));
    put(m, u, in == 0);
    put(m, u, out == 0);
}

/* Longest ways from a source and to a sink, relative to the longest of all. */
static td_status put_depths(maker *m)
{
    const uint32_t n = m->core->unit_count;
    uint32_t *depth = td_allocate(m->context, (n + (size_t)1) * 2 * sizeof *depth);
    if (depth == NULL)
        return td_fail_memory(m->context);
    uint32_t *height = depth + n, longest = 1;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t down = m->views->order[i], up = m->views->order[n - 1 - i];
        sched_for_each(other, &m->core->before, down) if (depth[*other] + 1 > depth[down])
            depth[down] = depth[*other] + 1;
        sched_for_each(other, &m->core->after, up) if (height[*other] + 1 > height[up]) height[up] =
            height[*other] + 1;
        longest = depth[down] > longest ? depth[down] : longest;
    }
    for (uint32_t u = 0; u < n; u++) {
        put(m, u, depth[u] / (double)longest);
        put(m, u, height[u] / (double)longest);
        put(m, u, 1 - (depth[u] + height[u]) / (double)longest);
    }
    td_release(m->context, depth);
    return TD_OK;
}

/* How many units, and how many of all bytes, come before and after. */
static void put_surroundings(maker *m)
{
    const topo_views *views = m->views;
    double total = 1;
    for (uint32_t u = 0; u < views->count; u++)
        total += m->traffic[u].born;
    for (uint32_t u = 0; u < views->count; u++)
        for (int back = 0; back < 2; back++) {
            uint32_t count = 0;
            double bytes = 0;
            for (size_t w = 0; w < views->words; w++) {
                const size_t at = u * views->words + w;
                uint64_t bits = views->rows[TOPO_REDUCTION + back][at] |
                                views->rows[TOPO_EDGES + back][at] |
                                views->rows[TOPO_CLOSURE + back][at];
                count += (uint32_t)__builtin_popcountll(bits);
                for (; bits != 0; bits &= bits - 1)
                    bytes += m->traffic[w * 64 + (size_t)__builtin_ctzll(bits)].born;
            }
            put(m, u, count / (double)views->count);
            put(m, u, bytes / total);
        }
}

/* --- quick orders --- */

/* Where each unit stands in an order, how full memory is there, and on which side of the peak. */
static td_status put_order(maker *m, const uint32_t *units, bool with_lives, double *peak)
{
    const sched_core *core = m->core;
    const uint32_t n = core->unit_count;
    uint64_t *cost = td_allocate(m->context, (n + (size_t)1) * sizeof *cost);
    uint32_t *place = td_allocate(m->context, (n + (size_t)1) * sizeof *place);
    uint32_t *left = td_allocate(m->context, (core->group_count + (size_t)1) * sizeof *left);
    td_status status =
        cost == NULL || place == NULL || left == NULL ? td_fail_memory(m->context) : TD_OK;
    if (status == TD_OK) {
        *peak = (double)sched_core_profile(core, units, left, cost);
        uint32_t top = 0;
        for (uint32_t i = 0; i < n; i++) {
            place[units[i]] = i;
            top = cost[i] > cost[top] ? i : top;
        }
        for (uint32_t u = 0; u < n; u++) {
            put(m, u, place[u] / (double)n);
            put(m, u, (double)cost[place[u]] / fmax(1, *peak));
            put(m, u, (place[u] - (double)top) / n);
        }
        for (uint32_t u = 0; u < n && with_lives; u++) {
            uint32_t last = place[u], first = n;
            sched_for_each(next, &core->after, u)
            {
                last = place[*next] > last ? place[*next] : last;
                first = place[*next] < first ? place[*next] : first;
            }
            put(m, u, (last - place[u]) / (double)n);
            put(m, u, first == n ? 0 : (first - place[u]) / (double)n);
        }
    }
    td_release(m->context, cost);
    td_release(m->context, place);
    td_release(m->context, left);
    return status;
}

static td_status find_quick_order(maker *m, int which, uint32_t *order, uint32_t *units)
{
    static const char *const names[] = {"greedy", "dfs", "postorder"};
    if (which < 3) {
        sched_report ignored;
        TD_TRY(sched_order(m->problem, names[which], NULL, order, &ignored));
        return sched_core_adopt(m->core, order, units);
    }
    const sched_search search = {.backward = which == 4, .width = QUICK_WIDTH, .bound = UINT64_MAX};
    sched_effort effort = {.work = UINT64_MAX};
    sched_outcome outcome;
    return sched_search_run(m->core, &search, &effort, units, &outcome);
}

static td_status put_orders(maker *m)
{
    const uint32_t n = m->core->unit_count;
    double peaks[5] = {0}, least = INFINITY;
    uint32_t *order = td_allocate(m->context, (m->core->count + (size_t)1) * sizeof *order);
    uint32_t *units = td_allocate(m->context, (n + (size_t)1) * sizeof *units);
    td_status status = order == NULL || units == NULL ? td_fail_memory(m->context) : TD_OK;
    for (int which = 0; which < 5 && status == TD_OK; which++) {
        status = find_quick_order(m, which, order, units);
        if (status == TD_OK)
            status = put_order(m, units, which >= 3, &peaks[which]);
        if (status == TD_OK && peaks[which] < least) {
            least = peaks[which];
            memcpy(m->features->units, units, n * sizeof *units);
        }
    }
    m->features->peak = status == TD_OK ? (uint64_t)least : UINT64_MAX;
    for (uint32_t u = 0; u < n && status == TD_OK; u++)
        for (int which = 0; which < 5; which++)
            put(m, u, peaks[which] / fmax(1, least) - 1);
    td_release(m->context, order);
    td_release(m->context, units);
    return status;
}

/* --- positional fields --- */

/* Makes field `f` orthogonal to a constant and to the fields before it, of mean square 1. */
static void orthogonalise(double *fields, uint32_t n, int f)
{
    double *own = fields + (size_t)f * n, mean = 0, square = 0;
    for (uint32_t u = 0; u < n; u++)
        mean += own[u] / n;
    for (uint32_t u = 0; u < n; u++)
        own[u] -= mean;
    for (int other = 0; other < f; other++) {
        const double *basis = fields + (size_t)other * n;
        double along = 0;
        for (uint32_t u = 0; u < n; u++)
            along += own[u] * basis[u] / n;
        for (uint32_t u = 0; u < n; u++)
            own[u] -= along * basis[u];
    }
    for (uint32_t u = 0; u < n; u++)
        square += own[u] * own[u] / n;
    for (uint32_t u = 0; u < n; u++)
        own[u] /= sqrt(square) + 1e-9;
}

/* One step of a lazy random walk on the undirected graph. */
static void smooth(const sched_core *core, const double *from, double *to)
{
    for (uint32_t u = 0; u < core->unit_count; u++) {
        const uint32_t degree =
            sched_list_length(&core->before, u) + sched_list_length(&core->after, u);
        double sum = 0;
        sched_for_each(other, &core->before, u) sum += from[*other];
        sched_for_each(other, &core->after, u) sum += from[*other];
        to[u] = degree == 0 ? from[u] : 0.5 * from[u] + 0.5 * sum / degree;
    }
}

/* Subspace iteration towards the slowest eigenvectors of the Laplacian, from noise that depends on
 * the unit's number alone: coordinates in which neighbours are close. */
static td_status put_fields(maker *m)
{
    const uint32_t n = m->core->unit_count;
    double *fields = td_allocate(m->context, ((size_t)n * (FIELDS + 1) + 1) * sizeof *fields);
    if (fields == NULL)
        return td_fail_memory(m->context);
    double *scratch = fields + (size_t)n * FIELDS;
    uint64_t state = 1;
    for (int f = 0; f < FIELDS; f++)
        for (uint32_t u = 0; u < n; u++)
            fields[(size_t)f * n + u] =
                f == 0 ? (double)u : (double)(td_random_next(&state) >> 11) * 0x1p-53;
    for (int step = 0; step < SMOOTHINGS; step++)
        for (int f = 0; f < FIELDS; f++) {
            smooth(m->core, fields + (size_t)f * n, scratch);
            memcpy(fields + (size_t)f * n, scratch, n * sizeof *scratch);
            if (step % 4 == 3)
                orthogonalise(fields, n, f);
        }
    for (uint32_t u = 0; u < n; u++)
        for (int f = 0; f < FIELDS; f++)
            put(m, u, 0.5 * tanh(fields[(size_t)f * n + u]));
    td_release(m->context, fields);
    return TD_OK;
}

/* --- all of them --- */

static void put_graph(maker *m)
{
    const uint32_t n = m->core->unit_count;
    double edges = 0, stays = 0, born = 1;
    for (uint32_t u = 0; u < n; u++) {
        edges += sched_list_length(&m->core->after, u);
        stays += m->traffic[u].stays;
        born += m->traffic[u].born;
    }
    for (uint32_t u = 0; u < n; u++) {
        put(m, u, log2(n + 1.0) / 12);
        put(m, u, edges / (edges + 4.0 * n));
        put(m, u, stays / (stays + born));
    }
}

static td_status fill(maker *m)
{
    put_traffic(m);
    for (uint32_t u = 0; u < m->core->unit_count; u++)
        put_degrees(m, u);
    TD_TRY(put_depths(m));
    put_surroundings(m);
    TD_TRY(put_orders(m));
    TD_TRY(put_fields(m));
    put_graph(m);
    return TD_OK;
}

void topo_features_release(topo_features *features)
{
    td_release(features->context, features->rows);
    td_release(features->context, features->local);
    td_release(features->context, features->units);
    memset(features, 0, sizeof *features);
}

td_status topo_features_make(const sched_problem *problem, const sched_core *core,
                             const topo_views *views, topo_features *features)
{
    td_context *context = core->context;
    const size_t n = core->unit_count + (size_t)1;
    *features = (topo_features){.context = context};
    features->rows = td_allocate(context, n * TOPO_FEATURES * sizeof(float));
    features->local = td_allocate(context, n * sizeof(double));
    features->units = td_allocate(context, n * sizeof *features->units);
    maker m = {
        .problem = problem, .core = core, .views = views, .context = context, .features = features};
    m.traffic = td_allocate(context, n * sizeof *m.traffic);
    m.filled = td_allocate(context, n * sizeof *m.filled);
    m.seen = td_allocate(context, (core->group_count + (size_t)1) * sizeof *m.seen);
    td_status status = TD_OK;
    if (features->rows == NULL || features->local == NULL || features->units == NULL ||
        m.traffic == NULL || m.filled == NULL || m.seen == NULL)
        status = td_fail_memory(context);
    if (status == TD_OK)
        status = fill(&m);
    td_release(context, m.traffic);
    td_release(context, m.filled);
    td_release(context, m.seen);
    if (status != TD_OK)
        topo_features_release(features);
    return status;
}
