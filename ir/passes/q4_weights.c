/* Weights seen as u4 with a scale and a zero point per group: three constants over one matrix,
 * which share what the search for scales and zero points has found.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/convert.h"
#include "ir/passes/fit_q4.h"

#include <string.h>

/* What is known so far, in the form in which it is read; all in one block. */
typedef struct q4_fits {
    unsigned char *scales; /* f16 per group; NULL before the first read */
    unsigned char *zeros;  /* two groups per byte */
    unsigned char *fitted; /* per row: 1 when its scales and zero points are there */
} q4_fits;

typedef struct q4_matrix {
    ir_constant from;
    uint64_t rows, row_groups;
    q4_fits *fits;
} q4_matrix;

/* One row at work. */
typedef struct q4_row {
    float *values;
    ir_q4_fit *fits;
    unsigned char *codes;
} q4_row;

/* Two to a byte, the low half first. The bytes start as zeroes. */
static void put_nibble(unsigned char *bytes, uint64_t index, uint8_t code)
{
    bytes[index / 2] |= (unsigned char)(code << (index % 2 * 4));
}

static unsigned get_nibble(const unsigned char *bytes, uint64_t index)
{
    return (unsigned)(bytes[index / 2] >> (index % 2 * 4)) & 15u;
}

static void release_fits(td_context *context, void *object)
{
    q4_fits *fits = object;
    td_release(context, fits->scales);
    fits->scales = NULL;
}

static td_status allocate_fits(td_context *context, const q4_matrix *self)
{
    const uint64_t groups = self->rows * self->row_groups;
    q4_fits *fits = self->fits;
    if (fits->scales != NULL)
        return TD_OK;
    fits->scales = td_allocate(context, groups * sizeof(uint16_t) + (groups + 1) / 2 + self->rows);
    if (fits->scales == NULL)
        return td_fail_memory(context);
    fits->zeros = fits->scales + groups * sizeof(uint16_t);
    fits->fitted = fits->zeros + (groups + 1) / 2;
    return TD_OK;
}

static void release_row(td_context *context, q4_row *row)
{
    td_release(context, row->values);
    td_release(context, row->fits);
    td_release(context, row->codes);
}

static td_status allocate_row(td_context *context, const q4_matrix *self, q4_row *row)
{
    const uint64_t length = self->row_groups * IR_Q4_GROUP;
    *row = (q4_row){.values = td_allocate(context, length * sizeof *row->values),
                    .fits = td_allocate(context, self->row_groups * sizeof *row->fits),
                    .codes = td_allocate(context, length / 2)};
    if (row->values != NULL && row->fits != NULL && row->codes != NULL)
        return TD_OK;
    release_row(context, row);
    return td_fail_memory(context);
}

static td_status read_values(td_context *context, const q4_matrix *self, uint64_t number,
                             const q4_row *row)
{
    const uint64_t length = self->row_groups * IR_Q4_GROUP;
    TD_TRY(ir_constant_read_f32(context, &self->from, number * length, length, row->values));
    return ir_check_finite(context, &self->from, "q4", row->values, length);
}

/* Fits a row whose values were read, and remembers. */
static void fit_row(const q4_matrix *self, uint64_t number, const q4_row *row)
{
    const uint64_t first = number * self->row_groups;
    ir_fit_q4(row->values, self->row_groups, row->fits);
    for (uint64_t i = 0; i < self->row_groups; i++) {
        memcpy(self->fits->scales + (first + i) * sizeof(uint16_t), &row->fits[i].scale,
               sizeof(uint16_t));
        put_nibble(self->fits->zeros, first + i, row->fits[i].zero);
    }
    self->fits->fitted[number] = 1;
}

static void recall_row(const q4_matrix *self, uint64_t number, const q4_row *row)
{
    const uint64_t first = number * self->row_groups;
    for (uint64_t i = 0; i < self->row_groups; i++) {
        memcpy(&row->fits[i].scale, self->fits->scales + (first + i) * sizeof(uint16_t),
               sizeof(uint16_t));
        row->fits[i].zero = (uint8_t)get_nibble(self->fits->zeros, first + i);
    }
}

static void encode_row(const q4_matrix *self, const q4_row *row)
{
    uint8_t codes[IR_Q4_GROUP];
    memset(row->codes, 0, self->row_groups * IR_Q4_GROUP / 2);
    for (uint64_t group = 0; group < self->row_groups; group++) {
        ir_encode_q4(row->values + group * IR_Q4_GROUP, row->fits[group], codes);
        for (uint64_t i = 0; i < IR_Q4_GROUP; i++)
            put_nibble(row->codes, group * IR_Q4_GROUP + i, codes[i]);
    }
}

/* --- the sources --- */

/* Calls `visit` for the rows that hold groups [first, end). */
typedef td_status (*row_visitor)(td_context *context, const q4_matrix *self, uint64_t number,
                                 const q4_row *row, void *more);

static td_status visit_rows(td_context *context, const q4_matrix *self, uint64_t first,
                            uint64_t end, row_visitor visit, void *more)
{
    q4_row row;
    td_status status = allocate_fits(context, self);
    if (status != TD_OK || first >= end)
        return status;
    TD_TRY(allocate_row(context, self, &row));
    const uint64_t last = (end - 1) / self->row_groups;
    for (uint64_t i = first / self->row_groups; i <= last && status == TD_OK; i++)
        status = visit(context, self, i, &row, more);
    release_row(context, &row);
    return status;
}

static td_status ensure_fitted(td_context *context, const q4_matrix *self, uint64_t number,
                               const q4_row *row, void *more)
{
    (void)more;
    if (self->fits->fitted[number] != 0)
        return TD_OK;
    TD_TRY(read_values(context, self, number, row));
    fit_row(self, number, row);
    return TD_OK;
}

static td_status read_scales(td_context *context, const void *self_data, uint64_t offset,
                             uint64_t size, void *bytes)
{
    const q4_matrix *self = self_data;
    const uint64_t end = (offset + size + sizeof(uint16_t) - 1) / sizeof(uint16_t);
    TD_TRY(visit_rows(context, self, offset / sizeof(uint16_t), end, ensure_fitted, NULL));
    memcpy(bytes, self->fits->scales + offset, size);
    return TD_OK;
}

static td_status read_zeros(td_context *context, const void *self_data, uint64_t offset,
                            uint64_t size, void *bytes)
{
    const q4_matrix *self = self_data;
    const uint64_t groups = self->rows * self->row_groups, end = (offset + size) * 2;
    TD_TRY(visit_rows(context, self, offset * 2, end < groups ? end : groups, ensure_fitted, NULL));
    memcpy(bytes, self->fits->zeros + offset, size);
    return TD_OK;
}

typedef struct code_range {
    uint64_t offset, size;
    unsigned char *bytes;
} code_range;

static td_status copy_codes(td_context *context, const q4_matrix *self, uint64_t number,
                            const q4_row *row, void *more)
{
    const code_range *range = more;
    const uint64_t row_bytes = self->row_groups * IR_Q4_GROUP / 2;
    TD_TRY(read_values(context, self, number, row));
    if (self->fits->fitted[number] != 0)
        recall_row(self, number, row);
    else
        fit_row(self, number, row);
    encode_row(self, row);
    ir_copy_overlap(row->codes, number * row_bytes, row_bytes, range->offset, range->size,
                    range->bytes);
    return TD_OK;
}

static td_status read_codes(td_context *context, const void *self_data, uint64_t offset,
                            uint64_t size, void *bytes)
{
    const uint64_t group_bytes = IR_Q4_GROUP / 2;
    code_range range = {offset, size, bytes};
    return visit_rows(context, self_data, offset / group_bytes,
                      (offset + size + group_bytes - 1) / group_bytes, copy_codes, &range);
}

/* --- making the constants --- */

/* A constant called "<name of from><suffix>" with `columns` entries per row. */
static td_status add_view(ir_module *module, const q4_matrix *self, const char *suffix,
                          uint64_t columns, ir_constant *view, ir_constant **added)
{
    const ir_constant *from = &self->from;
    view->name = td_arena_format(&module->arena, "%s%s", from->name, suffix);
    view->source.self = self;
    view->source.description =
        td_arena_format(&module->arena, "%s as q4", from->source.description);
    if (view->name == NULL || view->source.description == NULL)
        return td_fail_memory(module->context);
    view->missing = from->missing;
    view->shape = from->shape;
    view->shape.dim[from->shape.rank - 1] = ir_dim_constant((int64_t)columns);
    return ir_module_add_constant(module, view, added);
}

td_status ir_add_q4_weights(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    const uint64_t length = (uint64_t)from->shape.dim[from->shape.rank - 1].constant;
    uint64_t elements = 0;
    q4_matrix *self = td_arena_allocate(&module->arena, 1, sizeof *self);
    q4_fits *fits = td_arena_allocate(&module->arena, 1, sizeof *fits);
    if (self == NULL || fits == NULL)
        return td_fail_memory(module->context);
    if (!ir_shape_elements_bound(module, &from->shape, &elements))
        return td_fail(module->context, TD_INVALID, "constant \"%.100s\" is too large", from->name);
    TD_TRY(ir_module_own(module, release_fits, fits));
    *self = (q4_matrix){.from = *from,
                        .rows = length == 0 ? 0 : elements / length,
                        .row_groups = length / IR_Q4_GROUP,
                        .fits = fits};
    ir_constant scale = {.type = IR_F16, .source.read = read_scales};
    ir_constant zero = {.type = IR_U4, .source.read = read_zeros};
    ir_constant codes = {.type = IR_U4, .group = IR_Q4_GROUP, .source.read = read_codes};
    TD_TRY(add_view(module, self, ".scale", self->row_groups, &scale, &codes.scale));
    TD_TRY(add_view(module, self, ".zero_point", self->row_groups, &zero, &codes.zero_point));
    return add_view(module, self, "", length, &codes, converted);
}
