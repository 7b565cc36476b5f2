/* Constants of the raised graph: vectors in f32, and lazily transposed or cut views of weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <string.h>

#define LONGEST_VECTOR (1 << 20)

td_status raise_constant(raiser *raise, ir_constant *constant, ir_value **value)
{
    while (raise->constants.count <= constant->index)
        if (!td_array_push(raise->context, &raise->constants, NULL))
            return td_fail_memory(raise->context);
    ir_value **known = &raise->constants.items[constant->index];
    if (*known == NULL)
        TD_TRY(ir_graph_add_constant(raise->to, constant, known));
    *value = *known;
    return TD_OK;
}

/* Whether the last axis is `length` long and all others are 1. */
static bool is_vector(const ir_shape *shape, int64_t length)
{
    for (uint32_t i = 0; i + 1 < shape->rank; i++)
        if (!ir_dim_is(&shape->dim[i], 1))
            return false;
    return shape->rank > 0 && ir_dim_is(&shape->dim[shape->rank - 1], length);
}

/* The constant itself, as f32[length]. */
static td_status flatten(raiser *raise, const ir_constant *constant, int64_t length,
                         ir_constant **vector)
{
    ir_constant flat = *constant;
    flat.shape = ir_shape_of(1, &length);
    if (constant->shape.rank == 1 && constant->type == IR_F32) {
        *vector = raise->module->constants.items[constant->index];
        return TD_OK;
    }
    TD_TRY(ir_module_add_constant(raise->module, &flat, vector));
    if (constant->type == IR_F32)
        return TD_OK;
    return ir_convert_constant(raise->module, *vector, IR_F32, vector);
}

td_status raise_vector(raiser *raise, ir_value *imported, int64_t length, ir_value **value)
{
    *value = NULL;
    imported = match_skip(imported);
    if (!match_is_constant(&raise->match, imported) || !ir_type_is_float(imported->type) ||
        length < 1 || length > LONGEST_VECTOR || !is_vector(&imported->shape, length))
        return TD_OK;
    ir_constant *vector;
    if (imported->kind == IR_VALUE_CONSTANT && imported->constant->scale == NULL) {
        TD_TRY(flatten(raise, imported->constant, length, &vector));
        return raise_constant(raise, vector, value);
    }
    float *numbers = td_allocate(raise->context, (size_t)length * sizeof *numbers);
    if (numbers == NULL)
        return td_fail_memory(raise->context);
    ir_shape shape = ir_shape_of(1, &length);
    td_status status = TD_OK;
    bool read = match_numbers(&raise->match, imported, (uint64_t)length, numbers);
    if (read)
        status = ir_module_add_constant_bytes(raise->module, imported->name, IR_F32, &shape,
                                              numbers, &vector);
    td_release(raise->context, numbers);
    TD_TRY(status);
    return read ? raise_constant(raise, vector, value) : raise->match.status;
}

/* --- transposed --- */

typedef struct transposition {
    const ir_constant *from; /* [K, N] */
    uint64_t rows, columns;  /* of the result: N, K */
    uint64_t element;        /* bytes */
} transposition;

/* Copies what [first, first + count) of the transposed elements is. For every k, the stretch of
 * row k of the original that the range touches is read at once. */
static td_status copy_transposed(td_context *context, const transposition *self, uint64_t first,
                                 uint64_t count, unsigned char *bytes, unsigned char *stretch)
{
    uint64_t first_row = first / self->columns, last_row = (first + count - 1) / self->columns;
    uint64_t width = last_row - first_row + 1, size = self->element;
    for (uint64_t k = 0; k < self->columns; k++) {
        TD_TRY(ir_constant_read(context, self->from, (k * self->rows + first_row) * size,
                                width * size, stretch));
        for (uint64_t row = first_row; row <= last_row; row++) {
            uint64_t element = row * self->columns + k;
            if (element >= first && element - first < count)
                memcpy(bytes + (element - first) * size, stretch + (row - first_row) * size, size);
        }
    }
    return TD_OK;
}

static td_status read_transposed(td_context *context, const void *self_pointer, uint64_t offset,
                                 uint64_t size, void *bytes)
{
    const transposition *self = self_pointer;
    if (size == 0)
        return TD_OK;
    if (offset % self->element != 0 || size % self->element != 0)
        return td_fail(context, TD_INTERNAL, "a transposed constant is read in whole elements");
    uint64_t width = size / self->element / self->columns + 2;
    width = width < self->rows ? width : self->rows;
    unsigned char *stretch = td_allocate(context, (size_t)(width * self->element));
    if (stretch == NULL)
        return td_fail_memory(context);
    td_status status = copy_transposed(context, self, offset / self->element, size / self->element,
                                       bytes, stretch);
    td_release(context, stretch);
    return status;
}

td_status raise_transposed_constant(raiser *raise, const ir_constant *constant,
                                    ir_constant **transposed)
{
    transposition *self = td_arena_allocate(&raise->module->arena, 1, sizeof *self);
    if (self == NULL)
        return td_fail_memory(raise->context);
    int64_t rows = constant->shape.dim[1].constant, columns = constant->shape.dim[0].constant;
    *self = (transposition){.from = constant,
                            .rows = (uint64_t)rows,
                            .columns = (uint64_t)columns,
                            .element = ir_type_bits(constant->type) / 8};
    ir_constant result = *constant;
    result.shape = ir_shape_of(2, (int64_t[]){rows, columns});
    result.source = (ir_source){read_transposed, self, constant->source.description};
    return ir_module_add_constant(raise->module, &result, transposed);
}

/* --- cut --- */

struct cut {
    const ir_constant *from;
    uint64_t offset;
};

static td_status read_cut(td_context *context, const void *self_pointer, uint64_t offset,
                          uint64_t size, void *bytes)
{
    const struct cut *self = self_pointer;
    return ir_constant_read(context, self->from, self->offset + offset, size, bytes);
}

/* One array of a possibly quantised constant. */
static td_status cut_array(raiser *raise, const ir_constant *constant, int64_t first, int64_t count,
                           ir_constant *result)
{
    uint64_t row_bits = ir_type_bits(constant->type);
    for (uint32_t i = 1; i < constant->shape.rank; i++)
        row_bits *= (uint64_t)constant->shape.dim[i].constant;
    if ((uint64_t)first * row_bits % 8 != 0 || (uint64_t)count * row_bits % 8 != 0)
        return td_fail(raise->context, TD_UNSUPPORTED,
                       "constant \"%.100s\": row %lld does not begin at a whole byte, so the fused "
                       "projection cannot be taken apart",
                       constant->name, (long long)first);
    struct cut *self = td_arena_allocate(&raise->module->arena, 1, sizeof *self);
    if (self == NULL)
        return td_fail_memory(raise->context);
    *self = (struct cut){constant, (uint64_t)first * row_bits / 8};
    *result = *constant;
    result->shape.dim[0] = ir_dim_constant(count);
    result->source = (ir_source){read_cut, self, constant->source.description};
    return TD_OK;
}

td_status raise_constant_rows(raiser *raise, const ir_constant *constant, int64_t first,
                              int64_t count, ir_constant **rows)
{
    ir_constant result, part;
    TD_TRY(cut_array(raise, constant, first, count, &result));
    if (constant->scale != NULL) {
        TD_TRY(cut_array(raise, constant->scale, first, count, &part));
        TD_TRY(ir_module_add_constant(raise->module, &part, &result.scale));
    }
    if (constant->zero_point != NULL) {
        TD_TRY(cut_array(raise, constant->zero_point, first, count, &part));
        TD_TRY(ir_module_add_constant(raise->module, &part, &result.zero_point));
    }
    return ir_module_add_constant(raise->module, &result, rows);
}
