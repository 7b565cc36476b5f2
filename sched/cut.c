/* The least live memory while a node runs, by minimum cuts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * live(D) as the capacity of a cut: a node in D draws what comes before it into D (arcs without
 * limit); a group's variable lies on the source's side only when all users do (arcs without limit
 * to them), else the arc from its producer, or from the source where it was made before, is cut and
 * costs its size; what is kept for good costs an arc to the sink. */
#include "sched/cut.h"

#include <string.h>

#define NO_LIMIT UINT64_MAX

typedef struct arc {
    uint32_t from, to;
    uint64_t capacity;
} arc;

typedef TD_ARRAY(arc) arc_array;

static uint32_t group_variable(const sched_network *self, uint32_t group)
{
    return self->core->count + group;
}

static uint32_t source_of(const sched_network *self)
{
    return self->core->count + self->core->group_count;
}

static uint32_t sink_of(const sched_network *self)
{
    return source_of(self) + 1;
}

/* --- building --- */

/* `made` is scratch: by group, whether a node of the core makes it. */
static bool list_arcs(sched_network *self, bool *made, arc_array *arcs)
{
    const sched_core *core = self->core;
    td_context *context = core->context;
    bool complete = true;
    self->constant = core->base;
    for (uint32_t node = 0; node < core->count; node++) {
        const uint32_t own = core->own[node];
        arc from_node = {node, sink_of(self), core->kept[node]};
        if (own != SCHED_NONE) {
            from_node = (arc){node, group_variable(self, own), core->size[own]};
            made[own] = true;
        }
        if (from_node.capacity > 0)
            complete = complete && td_array_push(context, arcs, from_node);
    }
    for (uint32_t unit = 0; unit < core->unit_count; unit++) {
        const uint32_t *first = sched_first_member(core, unit),
                       *last = sched_last_member(core, unit);
        for (const uint32_t *node = first; node < last; node++)
            complete =
                complete && td_array_push(context, arcs, ((arc){node[1], node[0], NO_LIMIT}));
        sched_for_each(other, &core->before, unit) complete =
            complete && td_array_push(context, arcs,
                                      ((arc){*first, *sched_last_member(core, *other), NO_LIMIT}));
    }
    for (uint32_t group = 0; group < core->group_count; group++) {
        const uint32_t variable = group_variable(self, group);
        sched_for_each(user, &core->users, group) complete =
            complete && td_array_push(context, arcs, ((arc){variable, *user, NO_LIMIT}));
        if (made[group])
            continue;
        self->constant -= core->size[group];
        complete = complete && td_array_push(context, arcs,
                                             ((arc){source_of(self), variable, core->size[group]}));
    }
    return complete;
}

static bool allocate_all(sched_network *self)
{
    td_context *context = self->core->context;
    const size_t variables = self->variable_count + (size_t)2, arcs = self->arc_count + (size_t)1;
    uint32_t **const by_variable[] = {&self->first, &self->level, &self->next,
                                      &self->queue, &self->path,  &self->moved};
    bool complete = true;
    for (size_t i = 0; i < TD_COUNT_OF(by_variable); i++) {
        *by_variable[i] = td_allocate(context, variables * sizeof(uint32_t));
        complete = complete && *by_variable[i] != NULL;
    }
    self->side = td_allocate(context, variables * sizeof *self->side);
    self->held = td_allocate(context, variables * sizeof *self->held);
    self->touched = td_allocate(context, variables * sizeof *self->touched);
    self->head = td_allocate(context, arcs * sizeof *self->head);
    self->twin = td_allocate(context, arcs * sizeof *self->twin);
    self->capacity = td_allocate(context, arcs * sizeof *self->capacity);
    self->room = td_allocate(context, arcs * sizeof *self->room);
    self->saved = td_allocate(context, arcs * sizeof *self->saved);
    return complete && self->side != NULL && self->held != NULL && self->touched != NULL &&
           self->head != NULL && self->twin != NULL && self->capacity != NULL &&
           self->room != NULL && self->saved != NULL;
}

/* Every arc and its twin, by variable. */
static void place_arcs(sched_network *self, const arc_array *arcs)
{
    uint32_t *first = self->first;
    for (size_t a = 0; a < arcs->count; a++) {
        first[arcs->items[a].from + 1]++;
        first[arcs->items[a].to + 1]++;
    }
    for (uint32_t i = 0; i < self->variable_count; i++)
        first[i + 1] += first[i];
    memcpy(self->next, first, (self->variable_count + (size_t)1) * sizeof *first);
    for (size_t a = 0; a < arcs->count; a++) {
        const arc *one = &arcs->items[a];
        const uint32_t out = self->next[one->from]++, back = self->next[one->to]++;
        self->head[out] = one->to;
        self->head[back] = one->from;
        self->twin[out] = back;
        self->twin[back] = out;
        self->capacity[out] = one->capacity;
    }
}

td_status sched_network_make(const sched_core *core, sched_network *network)
{
    td_context *context = core->context;
    arc_array arcs = {0};
    *network = (sched_network){.core = core};
    network->variable_count = core->count + core->group_count + 2;
    bool *made = td_allocate(context, (core->group_count + (size_t)1) * sizeof *made);
    bool complete = made != NULL && list_arcs(network, made, &arcs) && arcs.count < UINT32_MAX / 4;
    network->arc_count = (uint32_t)(2 * arcs.count);
    complete = complete && allocate_all(network);
    if (complete)
        place_arcs(network, &arcs);
    td_release(context, made);
    td_array_release(context, &arcs);
    if (!complete)
        sched_network_release(network);
    return complete ? TD_OK : td_fail_memory(context);
}

void sched_network_release(sched_network *network)
{
    if (network->core == NULL)
        return;
    void *const arrays[] = {network->first, network->head,   network->twin,  network->capacity,
                            network->side,  network->held,   network->room,  network->saved,
                            network->level, network->next,   network->queue, network->path,
                            network->moved, network->touched};
    for (size_t i = 0; i < TD_COUNT_OF(arrays); i++)
        td_release(network->core->context, arrays[i]);
    memset(network, 0, sizeof *network);
}

/* --- one node's question --- */

/* Puts all members of the units that `lists` reaches from a unit on a side, its own not. */
static void fix_units(sched_network *self, const sched_lists *lists, uint32_t unit, sched_side side)
{
    const sched_core *core = self->core;
    uint32_t count = 0;
    self->queue[count++] = unit;
    for (uint32_t i = 0; i < count; i++)
        sched_for_each(other, lists, self->queue[i])
        {
            if (self->side[*sched_first_member(core, *other)] != SCHED_FREE)
                continue;
            sched_for_each(node, &core->members, *other) self->side[*node] = side;
            self->queue[count++] = *other;
        }
}

static void fix_sides(sched_network *self, uint32_t node)
{
    const sched_core *core = self->core;
    const uint32_t unit = core->unit_of[node];
    memset(self->side, 0, self->variable_count * sizeof *self->side);
    fix_units(self, &core->before, unit, SCHED_SOURCE);
    fix_units(self, &core->after, unit, SCHED_SINK);
    sched_side side = SCHED_SOURCE;
    sched_for_each(member, &core->members, unit)
    {
        side = *member == node ? SCHED_SINK : side;
        self->side[*member] = side;
    }
    self->side[source_of(self)] = SCHED_SOURCE;
    self->side[sink_of(self)] = SCHED_SINK;
}

/* Whether some D lets a group die at the node: nobody who reads it waits for the node. */
static bool can_die(const sched_network *self, uint32_t group, uint32_t node)
{
    sched_for_each(user, &self->core->users,
                   group) if (*user != node && self->side[*user] == SCHED_SINK) return false;
    return true;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The only group that the node may take over is alive while it runs, so its variable is free to
 * say something else: the node needs `charge` more unless all other users have run. */
static void charge_unless_taken(sched_network *self, uint32_t node, uint32_t group, uint64_t charge)
{
    const uint32_t variable = group_variable(self, group);
    for (uint32_t a = self->first[variable]; a < self->first[variable + 1]; a++) {
        if (self->capacity[a] == 0)
            self->room[self->twin[a]] = charge; /* from its producer, or the source */
        else if (self->head[a] == node)
            self->room[a] = 0;
    }
}

/* What the node adds to live memory in any case; what depends on D goes into the network. */
static uint64_t need_of(sched_network *self, uint32_t node)
{
    const sched_core *core = self->core;
    uint32_t candidates = 0, taken = SCHED_NONE;
    uint64_t most = 0;
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (!core->takes[r] || !can_die(self, group, node))
            continue;
        const uint64_t charge = smaller(core->size[group], core->bytes[node]);
        candidates++;
        taken = group;
        most = charge > most ? charge : most;
    }
    uint64_t need = core->bytes[node] + core->workspace[node] - most;
    if (candidates == 1) {
        charge_unless_taken(self, node, taken, most);
        need += core->size[taken];
    }
    return need;
}

/* --- maximum flow --- */

/* A walk goes along arcs from the source's side, or against them from the sink's side. */
static uint32_t along(const sched_network *self, uint32_t arc_out, bool backward)
{
    return backward ? self->twin[arc_out] : arc_out;
}

/* Visits what the first `count` of the queue reach through variables that are held (or not); the
 * new count. *reached: an end of the walk is among them; nothing is visited from there. */
static uint32_t find_levels(sched_network *self, bool backward, bool held, uint32_t count,
                            bool *reached)
{
    const sched_side end = backward ? SCHED_SOURCE : SCHED_SINK;
    *reached = false;
    for (uint32_t q = 0; q < count; q++) {
        const uint32_t at = self->queue[q];
        if (self->side[at] == end)
            continue;
        for (uint32_t a = self->first[at]; a < self->first[at + 1]; a++) {
            const uint32_t to = self->head[a];
            if (self->room[along(self, a, backward)] == 0 || self->level[to] != SCHED_NONE ||
                self->held[to] != held)
                continue;
            self->level[to] = self->level[at] + 1;
            self->queue[count++] = to;
            *reached = *reached || self->side[to] == end;
        }
    }
    for (uint32_t q = 0; q < count; q++)
        self->next[self->queue[q]] = self->first[self->queue[q]];
    return count;
}

/* Sends what fits along the path and returns how many of its arcs still have room. */
static uint32_t augment(sched_network *self, bool backward, uint32_t length, uint64_t *flow)
{
    uint64_t most = NO_LIMIT;
    for (uint32_t i = 0; i < length; i++)
        most = smaller(most, self->room[along(self, self->path[i], backward)]);
    *flow += most;
    uint32_t kept = length;
    for (uint32_t i = length; i-- > 0;) {
        const uint32_t a = along(self, self->path[i], backward), back = self->twin[a];
        self->room[back] += self->room[back] == NO_LIMIT ? 0 : most;
        self->room[a] -= self->room[a] == NO_LIMIT ? 0 : most;
        if (self->room[a] == 0)
            kept = i;
    }
    return kept;
}

/* All that fits along shortest paths from one variable, until *flow is above `limit`; steps. */
static uint64_t push_from(sched_network *self, uint32_t start, bool backward, uint64_t limit,
                          uint64_t *flow)
{
    const sched_side end = backward ? SCHED_SOURCE : SCHED_SINK;
    uint32_t length = 0, at = start;
    uint64_t work = 1;
    while (*flow <= limit) {
        if (self->side[at] == end) {
            work += length;
            length = augment(self, backward, length, flow);
            at = self->head[self->twin[self->path[length]]];
            continue;
        }
        uint32_t *next = &self->next[at];
        while (*next < self->first[at + 1] &&
               (self->room[along(self, *next, backward)] == 0 ||
                self->level[self->head[*next]] != self->level[at] + 1)) {
            (*next)++;
            work++;
        }
        if (*next < self->first[at + 1]) {
            self->path[length++] = *next;
            at = self->head[*next];
        } else if (length == 0) {
            break;
        } else {
            at = self->head[self->twin[self->path[--length]]];
            self->next[at]++;
        }
    }
    return work;
}

bool sched_network_least(sched_network *network, uint32_t node, sched_effort *effort,
                         uint64_t *least)
{
    sched_network *self = network;
    const size_t variables = self->variable_count;
    memcpy(self->room, self->capacity, self->arc_count * sizeof *self->room);
    memset(self->held, 0, variables * sizeof *self->held);
    fix_sides(self, node);
    *least = self->constant + need_of(self, node);
    bool reached = true;
    while (reached) {
        uint32_t sources = 0;
        memset(self->level, 0xff, variables * sizeof *self->level);
        for (uint32_t i = 0; i < self->variable_count; i++)
            if (self->side[i] == SCHED_SOURCE) {
                self->level[i] = 0;
                self->queue[sources++] = i;
            }
        uint64_t work = self->variable_count + self->arc_count, flow = 0;
        find_levels(self, false, false, sources, &reached);
        for (uint32_t s = 0; reached && s < sources; s++)
            work += push_from(self, self->queue[s], false, UINT64_MAX, &flow);
        *least += flow;
        if (sched_spend(effort, work))
            return false;
    }
    for (uint32_t i = 0; i < self->variable_count; i++)
        self->held[i] = self->level[i] != SCHED_NONE;
    memset(self->level, 0xff, variables * sizeof *self->level);
    memcpy(self->saved, self->room, self->arc_count * sizeof *self->saved);
    return true;
}

/* --- the other side --- */

/* Puts the flow back to that of the least cut wherever a walk has been. */
static uint64_t undo(sched_network *self, uint32_t touched_count)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < touched_count; i++) {
        const uint32_t at = self->moved[i];
        self->touched[at] = false;
        work += self->first[at + 1] - self->first[at];
        for (uint32_t a = self->first[at]; a < self->first[at + 1]; a++) {
            self->room[a] = self->saved[a];
            self->room[self->twin[a]] = self->saved[self->twin[a]];
        }
    }
    return work;
}

/* A flow from the node to the sink's side, or to it from the source's, makes up for the least cut's
 * being wrong about it. No path leaves what the least cut holds, so those from outside stay outside
 * and those from inside stay inside. */
bool sched_network_allows(sched_network *network, uint32_t node, sched_side side, uint64_t slack,
                          sched_effort *effort)
{
    sched_network *self = network;
    const bool backward = side == SCHED_SINK;
    uint64_t more = 0, work = 0;
    uint32_t touched_count = 0, count = 0;
    bool reached = true;
    while (reached && more <= slack) {
        self->queue[0] = node;
        self->level[node] = 0;
        count = find_levels(self, backward, backward, 1, &reached);
        if (reached)
            work += push_from(self, node, backward, slack, &more);
        for (uint32_t q = 0; q < count; q++) {
            const uint32_t at = self->queue[q];
            self->level[at] = SCHED_NONE;
            work += self->first[at + 1] - self->first[at];
            if (!self->touched[at]) {
                self->touched[at] = true;
                self->moved[touched_count++] = at;
            }
        }
    }
    work += undo(self, touched_count);
    memcpy(self->moved, self->queue, count * sizeof *self->moved);
    self->moved_count = count;
    return !sched_spend(effort, work) && more <= slack;
}
