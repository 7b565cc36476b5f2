/* What the constants of a missing .bin are for: weights, which random numbers can stand for, or
 * numbers that decide what is computed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <string.h>

/* One reading port of a layer's output. */
typedef struct role_use {
    const ov_layer *reader;
    uint32_t port, next; /* position + 1 of the next use; 0: none */
} role_use;

enum {
    FAR = 7,         /* rope frequencies reach their sine in up to six steps */
    LONGEST_CONE = 8 /* operations between a weight and what reads it */
};

typedef struct role_finder {
    ov_reader *reader;
    ov_part *parts;
    /* By layer index: */
    const ov_layer **root; /* where a chain of first operands starts, within a decompression cone;
                              NULL for layers that are not computed from constants alone */
    uint8_t *to_sine;      /* steps to the next sine or cosine; FAR when there is none near */
    uint32_t *first;       /* position + 1 in uses */
    role_use *uses;
} role_finder;

static td_status collect_uses(role_finder *self)
{
    ov_reader *reader = self->reader;
    td_arena *arena = &reader->document.arena;
    size_t layers = reader->document.layers.count, count = 0;
    self->parts = td_arena_allocate(arena, layers + 1, sizeof *self->parts);
    self->root = td_arena_allocate(arena, layers + 1, sizeof *self->root);
    self->to_sine = td_arena_allocate(arena, layers + 1, sizeof *self->to_sine);
    self->first = td_arena_allocate(arena, layers + 1, sizeof *self->first);
    self->uses = td_arena_allocate(arena, reader->document.edges.count + 1, sizeof *self->uses);
    if (self->parts == NULL || self->root == NULL || self->to_sine == NULL || self->first == NULL ||
        self->uses == NULL)
        return td_fail_memory(reader->context);
    for (uint32_t i = reader->order_count; i-- > 0;) {
        const ov_layer *layer = reader->order[i];
        for (uint32_t k = layer->input_count; k-- > 0;) {
            uint32_t driver = layer->inputs[k].driver->index;
            self->uses[count] = (role_use){.reader = layer, .port = k, .next = self->first[driver]};
            self->first[driver] = (uint32_t)++count;
        }
    }
    return TD_OK;
}

static void mark_folding(role_finder *self)
{
    static const char *const types[] = {"Convert", "Subtract", "Multiply", "Reshape"};
    for (uint32_t i = 0; i < self->reader->order_count; i++) {
        const ov_layer *layer = self->reader->order[i];
        bool folds = false;
        for (size_t t = 0; t < TD_COUNT_OF(types); t++)
            folds = folds || ov_layer_is(layer, types[t]);
        for (uint32_t k = 0; k < layer->input_count; k++)
            folds = folds && self->root[layer->inputs[k].driver->index] != NULL;
        if (ov_layer_is(layer, "Const"))
            self->root[layer->index] = layer;
        else if (folds && layer->input_count > 0)
            self->root[layer->index] = self->root[layer->inputs[0].driver->index];
    }
}

/* Whether what is computed from a layer goes through a sine or cosine soon: rope frequencies do. */
static void measure_sines(role_finder *self)
{
    for (uint32_t i = self->reader->order_count; i-- > 0;) {
        const ov_layer *layer = self->reader->order[i];
        uint8_t *steps = &self->to_sine[layer->index];
        *steps = FAR;
        for (uint32_t use = self->first[layer->index]; use != 0; use = self->uses[use - 1].next) {
            uint8_t through = self->to_sine[self->uses[use - 1].reader->index] + 1;
            *steps = through < *steps ? through : *steps;
        }
        if (ov_layer_is(layer, "Sin") || ov_layer_is(layer, "Cos"))
            *steps = 0;
        else if (ov_layer_is(layer, "ShapeOf"))
            *steps = FAR; /* the values do not matter there */
    }
}

static bool is_integer(const ov_layer *constant)
{
    const char *type = ov_layer_attribute(constant, "element_type", "");
    return *type == 'u' || *type == 'i';
}

/* Row length and bits of the stored matrix that a cone decompresses. The last two dimensions of a
 * grouped matrix are one row. */
static void describe_matrix(role_finder *self, const ov_layer *matrix, ov_part *part)
{
    ov_const declared;
    if (ov_const_parse(self->reader, matrix, &declared) != TD_OK || declared.rank == 0)
        return;
    uint32_t rank = declared.rank;
    part->bits = ir_type_bits(declared.type);
    part->fan_in = (uint64_t)declared.dims[rank - 1];
    if (rank >= 3)
        part->fan_in *= (uint64_t)declared.dims[rank - 2];
}

/* Parts of a decompression cone, told by the Subtract or Multiply that reads them. */
static void find_cone_parts(role_finder *self)
{
    for (uint32_t i = 0; i < self->reader->order_count; i++) {
        const ov_layer *layer = self->reader->order[i];
        bool subtract = ov_layer_is(layer, "Subtract"), multiply = ov_layer_is(layer, "Multiply");
        if (self->root[layer->index] == NULL || (!subtract && !multiply) || layer->input_count != 2)
            continue;
        const ov_layer *left = self->root[layer->index];
        const ov_layer *right = self->root[layer->inputs[1].driver->index];
        if (multiply && !is_integer(left) && is_integer(right)) {
            const ov_layer *swap = left;
            left = right;
            right = swap;
        }
        if (!is_integer(left))
            continue;
        ov_part matrix = {.role = OV_ROLE_MATRIX};
        describe_matrix(self, left, &matrix);
        self->parts[left->index] = matrix;
        matrix.role = subtract ? OV_ROLE_ZERO_POINT : OV_ROLE_SCALE;
        self->parts[right->index] = matrix;
    }
}

/* Conversions between a weight and what reads it. */
static const role_use *first_real_use(const role_finder *self, const ov_layer *layer)
{
    for (int steps = 0; steps < LONGEST_CONE; steps++) {
        uint32_t use = self->first[layer->index];
        if (use == 0)
            return NULL;
        if (self->root[self->uses[use - 1].reader->index] == NULL)
            return &self->uses[use - 1];
        layer = self->uses[use - 1].reader;
    }
    return NULL;
}

static void find_plain_weight(role_finder *self, const ov_layer *layer)
{
    ov_const declared;
    ov_part *part = &self->parts[layer->index];
    if (part->role != OV_ROLE_MEANING || ov_const_parse(self->reader, layer, &declared) != TD_OK)
        return;
    uint32_t long_dims = 0;
    for (uint32_t i = 0; i < declared.rank; i++)
        long_dims += declared.dims[i] > 1;
    const role_use *use = first_real_use(self, layer);
    if (!ir_type_is_float(declared.type) || long_dims == 0 || use == NULL)
        return;
    const ov_layer *reader = use->reader;
    part->bits = ir_type_bits(declared.type);
    part->fan_in = (uint64_t)declared.dims[declared.rank - 1];
    if (long_dims >= 2 && (ov_layer_is(reader, "MatMul") || ov_layer_is(reader, "Gather"))) {
        bool transposed =
            strcasecmp(ov_layer_attribute(reader, "transpose_b", "true"), "true") == 0;
        if (ov_layer_is(reader, "MatMul") && !transposed)
            part->fan_in = (uint64_t)declared.dims[declared.rank - 2];
        part->role = OV_ROLE_MATRIX;
    } else if (long_dims == 1 && declared.dims[declared.rank - 1] > 1 &&
               self->to_sine[layer->index] == FAR) {
        if (ov_layer_is(reader, "Multiply"))
            part->role = OV_ROLE_NORM;
        else if (ov_layer_is(reader, "Add"))
            part->role = OV_ROLE_BIAS;
    }
}

td_status ov_find_parts(ov_reader *reader, ov_part **parts)
{
    role_finder self = {.reader = reader};
    TD_TRY(collect_uses(&self));
    mark_folding(&self);
    measure_sines(&self);
    find_cone_parts(&self);
    for (uint32_t i = 0; i < reader->order_count; i++)
        if (ov_layer_is(reader->order[i], "Const"))
            find_plain_weight(&self, reader->order[i]);
    *parts = self.parts;
    return TD_OK;
}
