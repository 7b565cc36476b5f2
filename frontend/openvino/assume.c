/* Constants of meaning that a missing .bin would hold, assumed from how they are used.
 *
 * Writers store equal constants once, so that one place in the .bin is often read in many ways: as
 * an axis here, as a size there. Every use votes for the values that it allows; the first value
 * that all votes allow is taken. What no use tells stays missing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/assume.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Constants that share their bytes and type. */
typedef struct assumption {
    ov_const constant; /* the first of them */
    bool voted;
    ov_vote left; /* what all votes so far allow */
} assumption;

typedef struct assumer {
    ov_reader *reader;
    ov_const *constants; /* sorted by place and type */
    size_t count;
    assumption **of_layer;    /* by layer index */
    ov_reading *first_reader; /* by layer index */
} assumer;

static int compare_places(const void *a, const void *b)
{
    const ov_const *left = a, *right = b;
    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    if (left->type != right->type)
        return left->type < right->type ? -1 : 1;
    if (left->elements != right->elements)
        return left->elements < right->elements ? -1 : 1;
    return left->layer->index < right->layer->index ? -1 : 1;
}

static bool same_place(const ov_const *a, const ov_const *b)
{
    return a->offset == b->offset && a->type == b->type && a->elements == b->elements;
}

/* Constants of meaning without bytes, small enough to be guessed. */
static td_status collect(assumer *self, const ov_part *parts, void *const *assumed)
{
    ov_reader *reader = self->reader;
    td_arena *arena = &reader->document.arena;
    size_t layers = reader->document.layers.count;
    self->constants = td_arena_allocate(arena, reader->order_count + 1, sizeof *self->constants);
    self->of_layer = td_arena_allocate(arena, layers + 1, sizeof *self->of_layer);
    self->first_reader = td_arena_allocate(arena, layers + 1, sizeof *self->first_reader);
    if (self->constants == NULL || self->of_layer == NULL || self->first_reader == NULL)
        return td_fail_memory(reader->context);
    for (uint32_t i = 0; i < reader->order_count; i++) {
        const ov_layer *layer = reader->order[i];
        ov_const *constant = &self->constants[self->count];
        for (uint32_t k = 0; k < layer->input_count; k++)
            if (self->first_reader[layer->inputs[k].driver->index].layer == NULL)
                self->first_reader[layer->inputs[k].driver->index] =
                    (ov_reading){.layer = layer, .port = k};
        if (ov_layer_is(layer, "Const") && assumed[layer->index] == NULL &&
            parts[layer->index].role == OV_ROLE_MEANING &&
            ov_const_parse(reader, layer, constant) == TD_OK && constant->elements > 0)
            self->count++;
    }
    qsort(self->constants, self->count, sizeof *self->constants, compare_places);
    assumption *current = NULL;
    for (size_t i = 0; i < self->count; i++) {
        if (current == NULL || !same_place(&current->constant, &self->constants[i])) {
            current = td_arena_allocate(arena, 1, sizeof *current);
            if (current == NULL)
                return td_fail_memory(reader->context);
            current->constant = self->constants[i];
        }
        self->of_layer[self->constants[i].layer->index] = current;
    }
    return TD_OK;
}

/* --- voting --- */

static bool same_value(const ov_vote *a, size_t i, const ov_vote *b, size_t k, bool of_float)
{
    if (of_float)
        return a->number[i] == b->number[k];
    return memcmp(a->integer[i], b->integer[k], a->width * sizeof a->integer[i][0]) == 0;
}

/* Keeps what both allow. A vote that would leave nothing is not counted. */
static void take_vote(assumption *place, const ov_vote *vote)
{
    bool of_float = ir_type_is_float(place->constant.type);
    ov_vote both = {.width = vote->width};
    if (vote->count == 0)
        return;
    if (!place->voted) {
        place->left = *vote;
        place->voted = true;
        return;
    }
    for (size_t i = 0; i < place->left.count; i++)
        for (size_t k = 0; k < vote->count; k++)
            if (same_value(&place->left, i, vote, k, of_float)) {
                memcpy(both.integer[both.count], place->left.integer[i],
                       sizeof both.integer[both.count]);
                both.number[both.count++] = place->left.number[i];
                break;
            }
    if (both.count > 0)
        place->left = both;
}

static void vote_all(assumer *self)
{
    for (uint32_t i = 0; i < self->reader->order_count; i++) {
        const ov_layer *layer = self->reader->order[i];
        for (uint32_t k = 0; k < layer->input_count; k++) {
            assumption *place = self->of_layer[layer->inputs[k].driver->index];
            if (place == NULL || (place->constant.elements > OV_VOTE_WIDTH &&
                                  !ir_type_is_float(place->constant.type)))
                continue;
            ov_const constant = place->constant;
            constant.layer = layer->inputs[k].driver;
            ov_use use = {.reader = layer,
                          .port = k,
                          .constant = &constant,
                          .first_reader = self->first_reader};
            ov_vote vote = {.width = (size_t)constant.elements};
            ov_vote_for(&use, &vote);
            take_vote(place, &vote);
        }
    }
}

/* --- values --- */

/* A float vector that is no weight: frequencies of RoPE with the usual base. */
static bool is_frequencies(const ov_const *constant)
{
    uint32_t long_dims = 0;
    for (uint32_t i = 0; i < constant->rank; i++)
        long_dims += constant->dims[i] > 1;
    return constant->type == IR_F32 && long_dims == 1 && constant->elements <= 4096;
}

/* Packs the assumed value; NULL when the place says too little or the type cannot hold it. */
static td_status pack(assumer *self, const assumption *place, void **packed)
{
    const ov_const *constant = &place->constant;
    size_t width = ir_type_bits(constant->type) / 8;
    bool frequencies = !place->voted && is_frequencies(constant);
    *packed = NULL;
    if ((!place->voted && !frequencies) || width == 0)
        return TD_OK;
    unsigned char *bytes = td_arena_allocate(&self->reader->document.arena, constant->size, 1);
    if (bytes == NULL)
        return td_fail_memory(self->reader->context);
    for (uint64_t i = 0; i < constant->elements; i++) {
        void *element = bytes + i * width;
        bool fits;
        if (frequencies)
            fits = ov_pack_number(constant->type,
                                  1 / pow(10000, (double)i / (double)constant->elements), element);
        else if (ir_type_is_float(constant->type))
            fits = ov_pack_number(constant->type, place->left.number[0], element);
        else
            fits = ov_pack_integer(constant->type, place->left.integer[0][i], element);
        if (!fits)
            return TD_OK;
    }
    *packed = bytes;
    return TD_OK;
}

static void report(const assumer *self, const assumption *place)
{
    const ov_const *constant = &place->constant;
    char text[160] = "frequencies to the base 10000";
    size_t length = 0;
    if (place->voted && ir_type_is_float(constant->type))
        snprintf(text, sizeof text, "%g", place->left.number[0]);
    for (size_t i = 0; place->voted && !ir_type_is_float(constant->type) && i < constant->elements;
         i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%" PRId64,
                                   i > 0 ? ", " : "", place->left.integer[0][i]);
    td_progress(self->reader->context, 1,
                "assumed: %s at offset %" PRIu64 " (layer %" PRIu64 " \"%.60s\") is %s",
                ir_type_name(constant->type), constant->offset, constant->layer->id,
                constant->layer->name, text);
}

/* The same as a line of the file that --constants reads, which has one list for a place. */
static void write_line(const assumer *self, const assumption *place, const assumption *last)
{
    if (last != NULL && last->constant.offset == place->constant.offset)
        return;
    td_text *text = self->reader->options->assumed;
    const ov_const *constant = &place->constant;
    td_text_printf(text, "%s  \"%" PRIu64 "\": [", text->length == 0 ? "" : ",\n",
                   constant->offset);
    for (uint64_t i = 0; i < constant->elements; i++) {
        const char *comma = i == 0 ? "" : ", ";
        if (!place->voted)
            td_text_printf(text, "%s%.9g", comma,
                           1 / pow(10000, (double)i / (double)constant->elements));
        else if (ir_type_is_float(constant->type))
            td_text_printf(text, "%s%.9g", comma, place->left.number[0]);
        else
            td_text_printf(text, "%s%" PRId64, comma, place->left.integer[0][i]);
    }
    td_text_printf(text, "]");
}

td_status ov_assume_constants(ov_reader *reader, const ov_part *parts, void **assumed)
{
    assumer self = {.reader = reader};
    TD_TRY(collect(&self, parts, assumed));
    vote_all(&self);
    const assumption *previous = NULL, *written = NULL;
    void *packed = NULL;
    for (size_t i = 0; i < self.count; i++) {
        const ov_layer *layer = self.constants[i].layer;
        const assumption *place = self.of_layer[layer->index];
        if (place != previous) {
            TD_TRY(pack(&self, place, &packed));
            if (packed != NULL)
                report(&self, place);
            if (packed != NULL && reader->options->assumed != NULL) {
                write_line(&self, place, written);
                written = place;
            }
            previous = place;
        }
        assumed[layer->index] = packed;
    }
    return TD_OK;
}
