/* Raised form -> raised form with the weights of linear and embed in another storage type. Nothing
 * is converted here: the new constants wrap the old ones and convert the rows that are read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "ir/passes/passes.h"

#include <math.h>
#include <string.h>

#define GROUP       32
#define Q8_LARGEST  127
#define F16_LARGEST 65504.0f

/* --- converted constants --- */

/* A constant seen row by row through a function that writes a row of another type. */
typedef struct conversion {
    ir_constant from;
    uint64_t row_length; /* elements of the last axis */
    uint64_t row_bytes;  /* of a converted row */
    uint32_t group;      /* q8 only */
    td_status (*convert)(td_context *context, const struct conversion *self, const float *row,
                         unsigned char *bytes);
} conversion;

static td_status row_to_f32(td_context *context, const conversion *self, const float *row,
                            unsigned char *bytes)
{
    (void)context;
    memcpy(bytes, row, self->row_length * sizeof *row);
    return TD_OK;
}

static td_status row_to_f16(td_context *context, const conversion *self, const float *row,
                            unsigned char *bytes)
{
    for (uint64_t i = 0; i < self->row_length; i++) {
        const uint16_t half = ir_f32_to_f16(row[i]);
        if (isfinite(row[i]) && (half & 0x7fffu) == 0x7c00u)
            return td_fail(context, TD_INVALID,
                           "constant \"%.100s\" holds %g, which f16 cannot (its largest number is "
                           "65504); keep the weights or use f32",
                           self->from.name, (double)row[i]);
        memcpy(bytes + i * sizeof half, &half, sizeof half);
    }
    return TD_OK;
}

/* The scale of one group, as it is stored: the largest magnitude becomes 127. */
static td_status group_scale(td_context *context, const conversion *self, const float *values,
                             uint16_t *scale)
{
    float largest = 0.0f;
    for (uint32_t i = 0; i < self->group; i++) {
        if (!isfinite(values[i]))
            return td_fail(context, TD_INVALID,
                           "constant \"%.100s\" holds %g; q8 needs finite weights", self->from.name,
                           (double)values[i]);
        largest = fmaxf(largest, fabsf(values[i]));
    }
    *scale = ir_f32_to_f16(fminf(largest / (float)Q8_LARGEST, F16_LARGEST));
    return TD_OK;
}

static td_status row_to_q8_scales(td_context *context, const conversion *self, const float *row,
                                  unsigned char *bytes)
{
    for (uint64_t i = 0; i < self->row_length; i += self->group) {
        uint16_t scale;
        TD_TRY(group_scale(context, self, row + i, &scale));
        memcpy(bytes, &scale, sizeof scale);
        bytes += sizeof scale;
    }
    return TD_OK;
}

static td_status row_to_q8(td_context *context, const conversion *self, const float *row,
                           unsigned char *bytes)
{
    for (uint64_t start = 0; start < self->row_length; start += self->group) {
        uint16_t stored;
        TD_TRY(group_scale(context, self, row + start, &stored));
        const float scale = ir_f16_to_f32(stored);
        for (uint64_t i = start; i < start + self->group; i++) {
            const float quotient = scale == 0.0f ? 0.0f : rintf(row[i] / scale);
            const float clamped = fmaxf(-(float)Q8_LARGEST, fminf(quotient, (float)Q8_LARGEST));
            bytes[i] = (unsigned char)(int8_t)clamped;
        }
    }
    return TD_OK;
}

/* Copies what [offset, offset + size) shares with the row that starts at byte `start`. */
static void copy_overlap(const unsigned char *row, uint64_t start, uint64_t row_bytes,
                         uint64_t offset, uint64_t size, unsigned char *bytes)
{
    const uint64_t first = start > offset ? start : offset;
    const uint64_t end = offset + size, row_end = start + row_bytes;
    const uint64_t last = row_end < end ? row_end : end;
    memcpy(bytes + (first - offset), row + (first - start), (size_t)(last - first));
}

static td_status convert_rows(td_context *context, const conversion *self, uint64_t offset,
                              uint64_t size, float *row, unsigned char *converted,
                              unsigned char *bytes)
{
    const uint64_t first = offset / self->row_bytes;
    const uint64_t last = (offset + size + self->row_bytes - 1) / self->row_bytes;
    for (uint64_t i = first; i < last; i++) {
        TD_TRY(ir_constant_read_f32(context, &self->from, i * self->row_length, self->row_length,
                                    row));
        TD_TRY(self->convert(context, self, row, converted));
        copy_overlap(converted, i * self->row_bytes, self->row_bytes, offset, size, bytes);
    }
    return TD_OK;
}

static td_status read_converted(td_context *context, const void *self_data, uint64_t offset,
                                uint64_t size, void *bytes)
{
    const conversion *self = self_data;
    if (size == 0)
        return TD_OK;
    float *row = td_allocate(context, self->row_length * sizeof *row);
    unsigned char *converted = td_allocate(context, self->row_bytes);
    const td_status status = row == NULL || converted == NULL
                                 ? td_fail_memory(context)
                                 : convert_rows(context, self, offset, size, row, converted, bytes);
    td_release(context, row);
    td_release(context, converted);
    return status;
}

/* A source over a copy of `from`; the caller sets convert, row_bytes and group. */
static td_status wrap(ir_module *module, const ir_constant *from, const char *what,
                      conversion **wrapped, ir_constant *constant)
{
    conversion *self = td_arena_allocate(&module->arena, 1, sizeof *self);
    const char *description =
        td_arena_format(&module->arena, "%s as %s", from->source.description, what);
    if (self == NULL || description == NULL)
        return td_fail_memory(module->context);
    const uint32_t rank = from->shape.rank;
    self->from = *from;
    self->row_length = rank == 0 ? 1 : (uint64_t)from->shape.dim[rank - 1].constant;
    if (!ir_value_bytes_bound(module, from->type, &from->shape, &self->from.bytes))
        return td_fail(module->context, TD_INVALID, "constant \"%.100s\" is too large", from->name);
    *constant = (ir_constant){.name = from->name,
                              .shape = from->shape,
                              .missing = from->missing,
                              .source = {read_converted, self, description}};
    *wrapped = self;
    return TD_OK;
}

td_status ir_convert_constant(ir_module *module, const ir_constant *from, ir_type type,
                              ir_constant **converted)
{
    ir_constant constant;
    conversion *self;
    if (type != IR_F32 && type != IR_F16)
        return td_fail(module->context, TD_INTERNAL, "constants convert to f32 or f16, not to %s",
                       ir_type_name(type));
    TD_TRY(wrap(module, from, ir_type_name(type), &self, &constant));
    constant.type = type;
    self->convert = type == IR_F32 ? row_to_f32 : row_to_f16;
    self->row_bytes = self->row_length * (ir_type_bits(type) / 8);
    return ir_module_add_constant(module, &constant, converted);
}

/* i8 with an f16 scale per group of 32 along the last axis, or per row where 32 does not divide. */
static td_status convert_to_q8(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    ir_constant elements, scale;
    conversion *element_rows, *scale_rows;
    TD_TRY(wrap(module, from, "q8", &element_rows, &elements));
    TD_TRY(wrap(module, from, "scales of q8", &scale_rows, &scale));
    const uint64_t length = element_rows->row_length;
    const uint32_t group = length % GROUP == 0 ? GROUP : (uint32_t)length;
    scale.name = td_arena_format(&module->arena, "%s.scale", from->name);
    if (scale.name == NULL)
        return td_fail_memory(module->context);
    scale.type = IR_F16;
    scale.shape.dim[scale.shape.rank - 1] = ir_dim_constant((int64_t)(length / group));
    scale_rows->convert = row_to_q8_scales;
    scale_rows->row_bytes = length / group * sizeof(uint16_t);
    scale_rows->group = element_rows->group = elements.group = group;
    elements.type = IR_I8;
    element_rows->convert = row_to_q8;
    element_rows->row_bytes = length;
    TD_TRY(ir_module_add_constant(module, &scale, &elements.scale));
    return ir_module_add_constant(module, &elements, converted);
}

/* --- the pass --- */

static td_status convert_to_f32(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    return ir_convert_constant(module, from, IR_F32, converted);
}

static td_status convert_to_f16(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    return ir_convert_constant(module, from, IR_F16, converted);
}

/* Whether a constant has the wanted form already. Under q8 every quantised weight stays as it is:
 * rounding it a second time would only lose accuracy. */
static bool is_f32(const ir_constant *constant)
{
    return constant->scale == NULL && constant->type == IR_F32;
}

static bool is_f16(const ir_constant *constant)
{
    return constant->scale == NULL && constant->type == IR_F16;
}

static bool is_quantised(const ir_constant *constant)
{
    return constant->scale != NULL;
}

typedef struct weight_kind {
    const char *name;
    bool (*done)(const ir_constant *constant);
    td_status (*convert)(ir_module *module, const ir_constant *from, ir_constant **converted);
} weight_kind;

static const weight_kind weight_kinds[] = {
    {"keep", NULL, NULL},
    {"f32", is_f32, convert_to_f32},
    {"f16", is_f16, convert_to_f16},
    {"q8", is_quantised, convert_to_q8},
};

/* Which input of a node is a weight matrix; -1: none. */
static int weight_input(const ir_node *node)
{
    return node->op == IR_OP_linear ? 1 : node->op == IR_OP_embed ? 0 : -1;
}

/* `converted` and `values` are indexed by the number of the constant that is replaced, so that a
 * constant with several readers is converted once, and has one value per graph. */
static td_status convert_graph(ir_graph *graph, const weight_kind *kind, size_t count,
                               ir_constant **converted, ir_value **values)
{
    memset(values, 0, count * sizeof *values);
    for (ir_node *node = graph->first; node != NULL; node = node->next) {
        const int input = weight_input(node);
        if (input < 0 || node->inputs[input]->kind != IR_VALUE_CONSTANT)
            continue;
        const ir_constant *from = node->inputs[input]->constant;
        const uint32_t index = from->index;
        if (index >= count || kind->done(from))
            continue;
        if (converted[index] == NULL)
            TD_TRY(kind->convert(graph->module, from, &converted[index]));
        if (values[index] == NULL)
            TD_TRY(ir_graph_add_constant(graph, converted[index], &values[index]));
        node->inputs[input] = values[index];
    }
    return TD_OK;
}

static td_status convert_all(ir_module *module, const weight_kind *kind)
{
    td_context *context = module->context;
    const size_t count = module->constants.count;
    ir_constant **converted = td_allocate(context, count * sizeof(ir_constant *));
    ir_value **values = td_allocate(context, count * sizeof(ir_value *));
    td_status status = converted == NULL || values == NULL ? td_fail_memory(context) : TD_OK;
    for (size_t i = 0; i < module->graphs.count && status == TD_OK; i++)
        status = convert_graph(module->graphs.items[i], kind, count, converted, values);
    td_release(context, converted);
    td_release(context, values);
    return status;
}

td_status ir_pass_convert_weights(ir_module *module, const char *kind)
{
    for (size_t i = 0; i < TD_COUNT_OF(weight_kinds); i++) {
        if (strcmp(kind, weight_kinds[i].name) != 0)
            continue;
        if (weight_kinds[i].convert == NULL)
            return TD_OK;
        TD_TRY(convert_all(module, &weight_kinds[i]));
        return ir_pass_remove_dead(module);
    }
    return td_fail(module->context, TD_USAGE,
                   "weights=%.40s is unknown; keep, f32, f16 and q8 are known", kind);
}
