/* Random weights for a missing .bin. An element is a function of the seed, the constant's offset
 * and the element's index, so any range can be read at any time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include "base/hash.h"
#include "ir/half.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct random_source {
    uint64_t key; /* of seed and offset */
    ir_type type;
    bool fixed; /* every integer is `middle` (zero points) */
    unsigned char middle;
    float centre, spread; /* floats are uniform in centre +- spread */
} random_source;

static uint64_t draw(const random_source *source, uint64_t index)
{
    uint64_t state = source->key + index * UINT64_C(0xd1342543de82ef95);
    return td_random_next(&state);
}

/* Integers: eight bytes (sixteen 4-bit numbers) from each draw. */
static void fill_integers(const random_source *source, uint64_t offset, uint64_t size,
                          unsigned char *bytes)
{
    if (source->fixed) {
        memset(bytes, source->middle, size);
        return;
    }
    uint64_t word = 0;
    for (uint64_t i = 0; i < size; i++) {
        uint64_t place = offset + i;
        if (i == 0 || place % 8 == 0)
            word = draw(source, place / 8);
        bytes[i] = (unsigned char)(word >> (place % 8 * 8));
    }
}

static float draw_float(const random_source *source, uint64_t index)
{
    double unit = (double)(draw(source, index) >> 11) * 0x1p-53;
    return source->centre + source->spread * (float)(2 * unit - 1);
}

/* Floats: one draw each, cut to the bytes asked for. */
static void fill_floats(const random_source *source, uint64_t offset, uint64_t size,
                        unsigned char *bytes)
{
    unsigned width = ir_type_bits(source->type) / 8;
    unsigned char element[8];
    for (uint64_t i = 0; i < size; i++) {
        uint64_t place = offset + i;
        if (i == 0 || place % width == 0)
            ov_pack_number(source->type, (double)draw_float(source, place / width), element);
        bytes[i] = element[place % width];
    }
}

static td_status read_random(td_context *context, const void *self, uint64_t offset, uint64_t size,
                             void *bytes)
{
    (void)context;
    const random_source *source = self;
    if (ir_type_is_float(source->type))
        fill_floats(source, offset, size, bytes);
    else
        fill_integers(source, offset, size, bytes);
    return TD_OK;
}

/* Numbers such that products keep their size: a row of K elements has standard deviation
 * 1 / sqrt(K) each. A uniform number in +-s has deviation s / sqrt(3). */
static void choose_numbers(const ov_part *part, random_source *source)
{
    float deviation = 1.0f / sqrtf(part->fan_in > 0 ? (float)part->fan_in : 1.0f);
    float levels = ldexpf(1.0f, (int)part->bits);
    switch (part->role) {
    case OV_ROLE_MATRIX:
        source->spread = deviation * sqrtf(3.0f);
        break;
    case OV_ROLE_SCALE: /* stored integers are uniform over all levels */
        source->centre = deviation * sqrtf(12.0f) / levels;
        source->spread = 0.05f * source->centre;
        break;
    case OV_ROLE_NORM:
        source->centre = 1.0f;
        source->spread = 0.1f;
        break;
    case OV_ROLE_BIAS:
        source->spread = 0.02f;
        break;
    case OV_ROLE_ZERO_POINT: /* centre of the levels, in floats too */
        source->centre = levels / 2;
        break;
    case OV_ROLE_MEANING:
        break;
    }
    source->fixed = part->role == OV_ROLE_ZERO_POINT;
    source->middle = source->type == IR_U8 ? 128 : source->type == IR_U4 ? 0x88 : 0;
}

td_status ov_add_random_constant(ov_reader *reader, const ov_const *declared, const ov_part *part,
                                 ir_constant **constant)
{
    random_source *source = td_arena_allocate(&reader->module->arena, 1, sizeof *source);
    char *description = td_arena_format(&reader->module->arena, "random:%" PRIu64 " at %" PRIu64,
                                        reader->options->random_seed, declared->offset);
    if (source == NULL || description == NULL)
        return td_fail_memory(reader->context);
    uint64_t parts[2] = {reader->options->random_seed, declared->offset};
    source->key = td_hash_bytes(TD_HASH_START, parts, sizeof parts);
    source->type = declared->type;
    choose_numbers(part, source);
    ir_constant new = {.name = declared->layer->name, .type = declared->type};
    new.source = (ir_source){.read = read_random, .self = source, .description = description};
    new.shape = ir_shape_of(declared->rank, declared->dims);
    return ir_module_add_constant(reader->module, &new, constant);
}
