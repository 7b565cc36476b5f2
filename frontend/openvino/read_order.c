/* Edges, reachability and order of a document's layers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_document.h"

#include <stdlib.h>
#include <string.h>

/* Working memory, one entry per layer. */
typedef struct ordering {
    ov_document *document;
    ov_layer **by_id;
    bool *wanted;
    uint32_t *waiting;    /* drivers not placed yet */
    uint32_t *first_edge; /* readers of layer i: readers[first_edge[i] .. first_edge[i + 1]) */
    uint32_t *readers;
    uint32_t *heap, heap_count; /* layers whose drivers are all placed, smallest index first */
} ordering;

static int compare_ids(const void *a, const void *b)
{
    const ov_layer *left = *(ov_layer *const *)a, *right = *(ov_layer *const *)b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

static ov_layer *find_layer(const ordering *self, uint64_t id)
{
    size_t low = 0, high = self->document->layers.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->by_id[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < self->document->layers.count && self->by_id[low]->id == id ? self->by_id[low]
                                                                            : NULL;
}

/* Ports are found by id. Writers count them upwards, so the position is nearly always id - first.
 */
static uint32_t find_port(const ov_port *ports, uint32_t count, uint64_t id)
{
    if (count > 0 && id >= ports[0].id && id - ports[0].id < count &&
        ports[id - ports[0].id].id == id)
        return (uint32_t)(id - ports[0].id);
    for (uint32_t i = 0; i < count; i++)
        if (ports[i].id == id)
            return i;
    return UINT32_MAX;
}

static td_status sort_ids(ordering *self)
{
    ov_document *document = self->document;
    size_t count = document->layers.count;
    for (size_t i = 0; i < count; i++)
        self->by_id[i] = document->layers.items[i];
    qsort(self->by_id, count, sizeof *self->by_id, compare_ids);
    for (size_t i = 1; i < count; i++)
        if (self->by_id[i]->id == self->by_id[i - 1]->id)
            return td_fail(document->context, TD_INVALID,
                           "%s: line %u: layer id %llu is already that of \"%s\"; ids must differ",
                           document->path, self->by_id[i]->line,
                           (unsigned long long)self->by_id[i]->id, self->by_id[i - 1]->name);
    return TD_OK;
}

static td_status resolve_edge(const ordering *self, const ov_edge *edge)
{
    ov_document *document = self->document;
    ov_layer *from = find_layer(self, edge->from_layer), *to = find_layer(self, edge->to_layer);
    if (from == NULL || to == NULL)
        return td_fail(document->context, TD_INVALID,
                       "%s: line %u: dangling edge from layer %llu to layer %llu: there is no "
                       "layer %llu",
                       document->path, edge->line, (unsigned long long)edge->from_layer,
                       (unsigned long long)edge->to_layer,
                       (unsigned long long)(from == NULL ? edge->from_layer : edge->to_layer));
    uint32_t output = find_port(from->outputs, from->output_count, edge->from_port);
    uint32_t input = find_port(to->inputs, to->input_count, edge->to_port);
    if (output == UINT32_MAX || input == UINT32_MAX) {
        const ov_layer *layer = output == UINT32_MAX ? from : to;
        return td_fail(
            document->context, TD_INVALID,
            "%s: line %u: dangling edge: layer %llu \"%s\" has no %s port %llu", document->path,
            edge->line, (unsigned long long)layer->id, layer->name,
            output == UINT32_MAX ? "output" : "input",
            (unsigned long long)(output == UINT32_MAX ? edge->from_port : edge->to_port));
    }
    if (to->inputs[input].driver != NULL)
        return td_fail(document->context, TD_INVALID,
                       "%s: line %u: input port %llu of layer %llu \"%s\" has two drivers, layers "
                       "%llu and %llu; one is expected",
                       document->path, edge->line, (unsigned long long)edge->to_port,
                       (unsigned long long)to->id, to->name,
                       (unsigned long long)to->inputs[input].driver->id,
                       (unsigned long long)from->id);
    to->inputs[input].driver = from;
    to->inputs[input].driver_port = output;
    return TD_OK;
}

static bool is_sink(const ov_layer *layer)
{
    return strcasecmp(layer->type, "Result") == 0 || strcasecmp(layer->type, "Assign") == 0;
}

/* Without any sink, as in a graph that was cut off, what nobody reads is wanted. */
static void find_sinks(ordering *self)
{
    ov_document *document = self->document;
    for (size_t i = 0; i < document->layers.count; i++)
        document->has_sink = document->has_sink || is_sink(document->layers.items[i]);
    for (size_t i = 0; i < document->layers.count; i++) {
        ov_layer *layer = document->layers.items[i];
        layer->is_sink =
            document->has_sink ? is_sink(layer) : self->first_edge[i] == self->first_edge[i + 1];
    }
}

/* Marks what sinks need, with an explicit stack; every wanted input must have a driver. */
static td_status mark_wanted(ordering *self)
{
    ov_document *document = self->document;
    TD_ARRAY(ov_layer *) stack = {0};
    td_status status = TD_OK;
    for (size_t i = 0; i < document->layers.count && status == TD_OK; i++) {
        ov_layer *layer = document->layers.items[i];
        bool root = layer->is_sink || strcasecmp(layer->type, "Parameter") == 0;
        if (!root || self->wanted[i])
            continue;
        self->wanted[i] = true;
        if (!td_array_push(document->context, &stack, layer))
            status = td_fail_memory(document->context);
        while (stack.count > 0 && status == TD_OK) {
            ov_layer *top = stack.items[--stack.count];
            for (uint32_t k = 0; k < top->input_count && status == TD_OK; k++) {
                ov_layer *driver = top->inputs[k].driver;
                if (driver == NULL) {
                    status = td_fail(document->context, TD_INVALID,
                                     "%s: layer %llu \"%s\": no edge drives input port %llu",
                                     document->path, (unsigned long long)top->id, top->name,
                                     (unsigned long long)top->inputs[k].id);
                } else if (!self->wanted[driver->index]) {
                    self->wanted[driver->index] = true;
                    if (!td_array_push(document->context, &stack, driver))
                        status = td_fail_memory(document->context);
                }
            }
        }
    }
    td_array_release(document->context, &stack);
    return status;
}

/* --- Kahn's algorithm with a heap over file positions, so that a sorted file keeps its order ---
 */

static void heap_push(ordering *self, uint32_t index)
{
    uint32_t at = self->heap_count++;
    for (; at > 0 && self->heap[(at - 1) / 2] > index; at = (at - 1) / 2)
        self->heap[at] = self->heap[(at - 1) / 2];
    self->heap[at] = index;
}

static uint32_t heap_pop(ordering *self)
{
    uint32_t smallest = self->heap[0], last = self->heap[--self->heap_count], at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= self->heap_count)
            break;
        if (child + 1 < self->heap_count && self->heap[child + 1] < self->heap[child])
            child++;
        if (self->heap[child] >= last)
            break;
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return smallest;
}

/* Names a layer on a cycle: from a layer that could not be placed, unplaced drivers lead into one
 * and, after as many steps as there are layers, around it. */
static td_status refuse_cycle(const ordering *self)
{
    ov_document *document = self->document;
    size_t first = 0;
    while (!self->wanted[first] || self->waiting[first] == 0)
        first++;
    const ov_layer *layer = document->layers.items[first];
    for (size_t step = 0; step < document->layers.count; step++)
        for (uint32_t k = 0; k < layer->input_count; k++)
            if (self->waiting[layer->inputs[k].driver->index] > 0) {
                layer = layer->inputs[k].driver;
                break;
            }
    return td_fail(document->context, TD_INVALID,
                   "%s: the graph has a cycle through layer %llu \"%s\"; it must be acyclic",
                   document->path, (unsigned long long)layer->id, layer->name);
}

static td_status place(ordering *self, ov_layer **order, uint32_t *placed)
{
    ov_document *document = self->document;
    uint32_t count = (uint32_t)document->layers.count, wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        const ov_layer *layer = document->layers.items[i];
        wanted += self->wanted[i];
        self->waiting[i] = self->wanted[i] ? layer->input_count : 0;
        if (self->wanted[i] && layer->input_count == 0)
            heap_push(self, i);
    }
    *placed = 0;
    while (self->heap_count > 0) {
        uint32_t index = heap_pop(self);
        order[(*placed)++] = document->layers.items[index];
        for (uint32_t e = self->first_edge[index]; e < self->first_edge[index + 1]; e++)
            if (self->wanted[self->readers[e]] && --self->waiting[self->readers[e]] == 0)
                heap_push(self, self->readers[e]);
    }
    return *placed == wanted ? TD_OK : refuse_cycle(self);
}

/* Assigns go last, in their order: nothing reads them, and every ReadValue then comes first. */
static void move_assigns_last(ordering *self, ov_layer **order, uint32_t placed)
{
    uint32_t kept = 0, assigns = 0;
    for (uint32_t i = 0; i < placed; i++) {
        ov_layer *layer = order[i];
        bool unread = self->first_edge[layer->index + 1] == self->first_edge[layer->index];
        if (strcasecmp(layer->type, "Assign") == 0 && unread)
            self->heap[assigns++] = layer->index;
        else
            order[kept++] = layer;
    }
    for (uint32_t i = 0; i < assigns; i++)
        order[kept + i] = self->document->layers.items[self->heap[i]];
}

static td_status allocate(ordering *self)
{
    td_arena *arena = &self->document->arena;
    size_t count = self->document->layers.count;
    self->by_id = td_arena_allocate(arena, count + 1, sizeof *self->by_id);
    self->wanted = td_arena_allocate(arena, count + 1, sizeof *self->wanted);
    self->waiting = td_arena_allocate(arena, count + 1, sizeof *self->waiting);
    self->first_edge = td_arena_allocate(arena, count + 2, sizeof *self->first_edge);
    self->readers =
        td_arena_allocate(arena, self->document->edges.count + 1, sizeof *self->readers);
    self->heap = td_arena_allocate(arena, count + 1, sizeof *self->heap);
    if (self->by_id == NULL || self->wanted == NULL || self->waiting == NULL ||
        self->first_edge == NULL || self->readers == NULL || self->heap == NULL)
        return td_fail_memory(self->document->context);
    return TD_OK;
}

/* Counting sort of resolved edges by driver. */
static void collect_readers(ordering *self)
{
    ov_document *document = self->document;
    size_t count = document->layers.count;
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < document->layers.items[i]->input_count; k++)
            if (document->layers.items[i]->inputs[k].driver != NULL)
                self->first_edge[document->layers.items[i]->inputs[k].driver->index + 1]++;
    for (size_t i = 0; i < count; i++)
        self->first_edge[i + 1] += self->first_edge[i];
    for (size_t i = 0; i < count; i++)
        self->waiting[i] = self->first_edge[i];
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < document->layers.items[i]->input_count; k++) {
            const ov_layer *driver = document->layers.items[i]->inputs[k].driver;
            if (driver != NULL)
                self->readers[self->waiting[driver->index]++] = (uint32_t)i;
        }
}

td_status ov_document_order(ov_document *document, ov_layer ***order, uint32_t *count)
{
    ordering self = {.document = document};
    TD_TRY(allocate(&self));
    TD_TRY(sort_ids(&self));
    for (size_t i = 0; i < document->edges.count; i++)
        TD_TRY(resolve_edge(&self, &document->edges.items[i]));
    collect_readers(&self);
    find_sinks(&self);
    TD_TRY(mark_wanted(&self));
    ov_layer **list = td_arena_allocate(&document->arena, document->layers.count + 1, sizeof *list);
    if (list == NULL)
        return td_fail_memory(document->context);
    uint32_t placed;
    TD_TRY(place(&self, list, &placed));
    move_assigns_last(&self, list, placed);
    *order = list;
    *count = placed;
    return TD_OK;
}
