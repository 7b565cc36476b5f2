/* liu: the least peak of trees (J. W. H. Liu, "An application of generalized tree pebbling to
 * sparse matrix factorization", 1987), and of other graphs tree by tree.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A subtree's order is a list of segments, each a climb to a hill and a descent to a valley, with
 * ever lower hills and ever higher valleys. Nothing is gained by leaving a segment half-way, and
 * segments of several subtrees are best run by how far they descend, the deepest first. A node then
 * follows its subtrees, and what is no hill or no valley any more joins the segment before.
 *
 * A node that several read is the root of a tree of its own, which comes before all that read it,
 * as in a depth-first walk. */
#include "sched/orderers.h"

#include <stdlib.h>
#include <string.h>

/* Nodes `first` to `last`, linked by liu.next; relative to live memory before: what stays behind
 * and the most on the way. */
typedef struct segment {
    int64_t net, cost;
    uint32_t first, last;
} segment;

typedef TD_ARRAY(segment) segments;

typedef struct liu {
    sched_core core;
    uint32_t *next;    /* by node: the one that runs after it in its segment */
    segments *lists;   /* by node: of its subtree, until its reader takes them */
    uint32_t *dies_at; /* by group: the node that surely reads it last, or SCHED_NONE */
    bool *placed;      /* by root */
    uint32_t *cursor;  /* by root: what runs before this node in its tree needs nothing more */
    uint32_t *stack;
} liu;

static bool is_tree_edge(const liu *self, uint32_t node)
{
    return sched_list_length(&self->core.readers, node) == 1;
}

/* Whether a path on which every node has one reader leads from a node to another. */
static bool leads_to(const liu *self, uint32_t node, uint32_t last)
{
    while (node < last && is_tree_edge(self, node))
        node = self->core.readers.items[self->core.readers.first[node]];
    return node == last;
}

/* Views let several nodes of one tree use a group; the last of them frees it. */
static void find_deaths(liu *self)
{
    const sched_core *core = &self->core;
    for (uint32_t group = 0; group < core->group_count; group++) {
        const uint32_t last = core->users.items[core->users.first[group + 1] - 1];
        self->dies_at[group] = last;
        sched_for_each(user, &core->users, group) if (!leads_to(self, *user, last))
            self->dies_at[group] = SCHED_NONE;
    }
}

static segment step_of(const liu *self, uint32_t node)
{
    const sched_core *core = &self->core;
    uint64_t need = core->bytes[node], dying = 0;
    for (uint32_t r = core->reads.first[node]; r < core->reads.first[node + 1]; r++) {
        const uint32_t group = core->reads.items[r];
        if (self->dies_at[group] != node)
            continue;
        const uint64_t size = core->size[group];
        const uint64_t rest = core->bytes[node] > size ? core->bytes[node] - size : 0;
        dying += size;
        need = core->takes[r] && rest < need ? rest : need;
    }
    return (segment){(int64_t)core->kept[node] - (int64_t)dying,
                     (int64_t)(need + core->workspace[node]), node, node};
}

/* Appends a step or segment; while the last hill is no higher or its valley no deeper than what
 * follows, the two are one segment. */
static bool append(liu *self, segments *list, segment one)
{
    while (list->count > 0) {
        const segment *last = &list->items[list->count - 1];
        const int64_t reached = last->net + one.cost;
        if (one.net > 0 && reached < last->cost)
            break;
        self->next[last->last] = one.first;
        one = (segment){last->net + one.net, reached > last->cost ? reached : last->cost,
                        last->first, one.last};
        list->count--;
    }
    return td_array_push(self->core.context, list, one);
}

/* The deeper descent first; segments of one subtree are in this order already. */
static int compare_segments(const void *left, const void *right)
{
    const segment *a = left, *b = right;
    const int64_t x = a->cost - a->net, y = b->cost - b->net;
    if (x != y)
        return x > y ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Moves the segments of a subtree into a list that gathers several. */
static bool gather(liu *self, uint32_t node, segments *all)
{
    segments *from = &self->lists[node];
    bool complete = true;
    for (size_t s = 0; s < from->count && complete; s++)
        complete = td_array_push(self->core.context, all, from->items[s]);
    td_array_release(self->core.context, from);
    return complete;
}

/* The subtree of a node from those of its inputs. */
static td_status combine(liu *self, uint32_t node)
{
    const sched_core *core = &self->core;
    segments all = {0}, *list = &self->lists[node];
    uint32_t subtrees = 0, only = SCHED_NONE;
    bool complete = true;
    sched_for_each(input, &core->inputs, node) if (is_tree_edge(self, *input))
    {
        subtrees++;
        only = *input;
    }
    if (subtrees == 1) { /* a chain keeps its list */
        *list = self->lists[only];
        self->lists[only] = (segments){0};
    } else if (subtrees > 1) {
        sched_for_each(input, &core->inputs, node) if (is_tree_edge(self, *input)) complete =
            complete && gather(self, *input, &all);
        if (all.count > 1)
            qsort(all.items, all.count, sizeof *all.items, compare_segments);
        for (size_t s = 0; s < all.count && complete; s++)
            complete = append(self, list, all.items[s]);
        td_array_release(core->context, &all);
    }
    return complete && append(self, list, step_of(self, node)) ? TD_OK
                                                               : td_fail_memory(core->context);
}

/* --- trees in order --- */

static void place_segment(const liu *self, const segment *one, uint32_t *order, uint32_t *placed)
{
    for (uint32_t node = one->first;; node = self->next[node]) {
        order[(*placed)++] = self->core.origin[node];
        if (node == one->last)
            return;
    }
}

/* Links the segments of a root's list, too. */
static void link_list(liu *self, uint32_t root)
{
    const segments *list = &self->lists[root];
    self->cursor[root] = list->items[0].first;
    for (size_t s = 1; s < list->count; s++)
        self->next[list->items[s - 1].last] = list->items[s].first;
    self->next[root] = SCHED_NONE; /* a root is the last of its tree */
}

/* The root of another tree that a tree needs and that is not placed; SCHED_NONE: there is none. */
static uint32_t missing_root(liu *self, uint32_t root)
{
    for (uint32_t *node = &self->cursor[root]; *node != SCHED_NONE; *node = self->next[*node])
        sched_for_each(input, &self->core.inputs, *node) if (!is_tree_edge(self, *input) &&
                                                             !self->placed[*input]) return *input;
    return SCHED_NONE;
}

/* Places a tree after those that it needs. */
static void place_tree(liu *self, uint32_t root, uint32_t *order, uint32_t *placed)
{
    uint32_t depth = 0;
    self->stack[depth++] = root;
    while (depth > 0) {
        const uint32_t top = self->stack[depth - 1], missing = missing_root(self, top);
        if (missing != SCHED_NONE) {
            self->stack[depth++] = missing;
            continue;
        }
        depth--;
        self->placed[top] = true;
        for (size_t s = 0; s < self->lists[top].count; s++)
            place_segment(self, &self->lists[top].items[s], order, placed);
    }
}

/* Whole trees that need no other run side by side, as if one more node read them all. */
static td_status place_all(liu *self, uint32_t *order)
{
    const sched_core *core = &self->core;
    segments forest = {0};
    bool complete = true;
    uint32_t placed = 0;
    for (uint32_t node = 0; node < core->count; node++)
        if (!is_tree_edge(self, node))
            link_list(self, node);
    for (uint32_t node = 0; node < core->count && complete; node++)
        if (sched_list_length(&core->readers, node) == 0) {
            if (missing_root(self, node) == SCHED_NONE) {
                self->placed[node] = true;
                complete = gather(self, node, &forest);
            } else {
                place_tree(self, node, order, &placed);
            }
        }
    if (forest.count > 1)
        qsort(forest.items, forest.count, sizeof *forest.items, compare_segments);
    for (size_t s = 0; s < forest.count && complete; s++)
        place_segment(self, &forest.items[s], order, &placed);
    td_array_release(core->context, &forest);
    return complete ? TD_OK : td_fail_memory(core->context);
}

td_status sched_order_liu(const sched_problem *problem, const sched_options *options,
                          sched_report *report, uint32_t *order)
{
    (void)options;
    (void)report;
    td_context *context = problem->context;
    liu self = {0};
    TD_TRY(sched_core_make(problem, &self.core));
    const size_t count = self.core.count + (size_t)1, groups = self.core.group_count + (size_t)1;
    self.next = td_allocate(context, count * sizeof *self.next);
    self.lists = td_allocate(context, count * sizeof *self.lists);
    self.placed = td_allocate(context, count * sizeof *self.placed);
    self.cursor = td_allocate(context, count * sizeof *self.cursor);
    self.stack = td_allocate(context, count * sizeof *self.stack);
    self.dies_at = td_allocate(context, groups * sizeof *self.dies_at);
    td_status status = self.next == NULL || self.lists == NULL || self.placed == NULL ||
                               self.cursor == NULL || self.stack == NULL || self.dies_at == NULL
                           ? td_fail_memory(context)
                           : TD_OK;
    if (status == TD_OK)
        find_deaths(&self);
    for (uint32_t node = 0; node < self.core.count && status == TD_OK; node++)
        status = combine(&self, node);
    if (status == TD_OK)
        status = place_all(&self, order);
    for (uint32_t node = 0; self.lists != NULL && node < self.core.count; node++)
        td_array_release(context, &self.lists[node]);
    void *const scratch[] = {self.next,   self.lists, self.placed,
                             self.cursor, self.stack, self.dies_at};
    for (size_t i = 0; i < TD_COUNT_OF(scratch); i++)
        td_release(context, scratch[i]);
    sched_core_release(&self.core);
    return status;
}
