/* Raised form -> raised form with the weights of linear and embed in another storage type. Nothing
 * is converted here: the new constants wrap the old ones and convert the rows that are read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "ir/passes/convert.h"
#include "ir/passes/fit_q4.h"
#include "ir/passes/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROUP       32
#define Q8_LARGEST  127
#define F16_LARGEST 65504.0f
#define SMALL_SHARE 8

/* --- converted constants --- */

/* A constant seen piece by piece through a function that writes a piece in another type. A piece is
 * a row. */
typedef struct conversion {
    ir_constant from;
    uint64_t elements, piece_elements;
    uint64_t piece_bytes; /* of a converted piece */
    uint32_t group;       /* quantised forms only */
    td_status (*convert)(td_context *context, const struct conversion *self, const float *values,
                         uint64_t count, unsigned char *bytes);
} conversion;

static td_status to_f32(td_context *context, const conversion *self, const float *values,
                        uint64_t count, unsigned char *bytes)
{
    (void)context;
    (void)self;
    memcpy(bytes, values, count * sizeof *values);
    return TD_OK;
}

static td_status to_f16(td_context *context, const conversion *self, const float *values,
                        uint64_t count, unsigned char *bytes)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint16_t half = ir_f32_to_f16(values[i]);
        if (isfinite(values[i]) && (half & 0x7fffu) == 0x7c00u)
            return td_fail(context, TD_INVALID,
                           "constant \"%.100s\" holds %g, which f16 cannot (its largest number is "
                           "65504); keep the weights or use f32",
                           self->from.name, (double)values[i]);
        memcpy(bytes + i * sizeof half, &half, sizeof half);
    }
    return TD_OK;
}

td_status ir_check_finite(td_context *context, const ir_constant *from, const char *kind,
                          const float *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return td_fail(context, TD_INVALID,
                           "constant \"%.100s\" holds %g; %s needs finite weights", from->name,
                           (double)values[i], kind);
    return TD_OK;
}

/* The scale of one group, as it is stored: the largest magnitude becomes 127. */
static uint16_t q8_scale(const float *values, uint32_t group)
{
    float largest = 0.0f;
    for (uint32_t i = 0; i < group; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    return ir_f32_to_f16(fminf(largest / (float)Q8_LARGEST, F16_LARGEST));
}

static td_status to_q8_scales(td_context *context, const conversion *self, const float *values,
                              uint64_t count, unsigned char *bytes)
{
    TD_TRY(ir_check_finite(context, &self->from, "q8", values, count));
    for (uint64_t i = 0; i < count; i += self->group) {
        const uint16_t scale = q8_scale(values + i, self->group);
        memcpy(bytes, &scale, sizeof scale);
        bytes += sizeof scale;
    }
    return TD_OK;
}

static td_status to_q8(td_context *context, const conversion *self, const float *values,
                       uint64_t count, unsigned char *bytes)
{
    TD_TRY(ir_check_finite(context, &self->from, "q8", values, count));
    for (uint64_t start = 0; start < count; start += self->group) {
        const float scale = ir_f16_to_f32(q8_scale(values + start, self->group));
        for (uint64_t i = start; i < start + self->group; i++) {
            const float quotient = scale == 0.0f ? 0.0f : rintf(values[i] / scale);
            const float clamped = fmaxf(-(float)Q8_LARGEST, fminf(quotient, (float)Q8_LARGEST));
            bytes[i] = (unsigned char)(int8_t)clamped;
        }
    }
    return TD_OK;
}

void ir_copy_overlap(const unsigned char *piece, uint64_t start, uint64_t piece_bytes,
                     uint64_t offset, uint64_t size, unsigned char *bytes)
{
    const uint64_t first = start > offset ? start : offset;
    const uint64_t end = offset + size, piece_end = start + piece_bytes;
    const uint64_t last = piece_end < end ? piece_end : end;
    memcpy(bytes + (first - offset), piece + (first - start), (size_t)(last - first));
}

static td_status convert_pieces(td_context *context, const conversion *self, uint64_t offset,
                                uint64_t size, float *values, unsigned char *converted,
                                unsigned char *bytes)
{
    const uint64_t first = offset / self->piece_bytes;
    const uint64_t last = (offset + size + self->piece_bytes - 1) / self->piece_bytes;
    for (uint64_t i = first; i < last; i++) {
        const uint64_t start = i * self->piece_elements, left = self->elements - start;
        const uint64_t count = left < self->piece_elements ? left : self->piece_elements;
        TD_TRY(ir_constant_read_f32(context, &self->from, start, count, values));
        TD_TRY(self->convert(context, self, values, count, converted));
        ir_copy_overlap(converted, i * self->piece_bytes, self->piece_bytes, offset, size, bytes);
    }
    return TD_OK;
}

static td_status read_converted(td_context *context, const void *self_data, uint64_t offset,
                                uint64_t size, void *bytes)
{
    const conversion *self = self_data;
    if (size == 0)
        return TD_OK;
    float *values = td_allocate(context, self->piece_elements * sizeof *values);
    unsigned char *converted = td_allocate(context, self->piece_bytes);
    const td_status status =
        values == NULL || converted == NULL
            ? td_fail_memory(context)
            : convert_pieces(context, self, offset, size, values, converted, bytes);
    td_release(context, values);
    td_release(context, converted);
    return status;
}

/* A source over a copy of `from`; the caller sets convert and piece_bytes. */
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
    self->piece_elements = rank == 0 ? 1 : (uint64_t)from->shape.dim[rank - 1].constant;
    if (!ir_value_bytes_bound(module, from->type, &from->shape, &self->from.bytes) ||
        !ir_shape_elements_bound(module, &from->shape, &self->elements))
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
    self->convert = type == IR_F32 ? to_f32 : to_f16;
    self->piece_bytes = self->piece_elements * (ir_type_bits(type) / 8);
    return ir_module_add_constant(module, &constant, converted);
}

/* A constant with one entry per group of `from`, called "<name>.<what>". */
static td_status wrap_groups(ir_module *module, const ir_constant *from, uint32_t group,
                             const char *what, conversion **wrapped, ir_constant *constant)
{
    TD_TRY(wrap(module, from, what, wrapped, constant));
    const uint64_t groups = (*wrapped)->piece_elements / group;
    (*wrapped)->group = group;
    constant->shape.dim[constant->shape.rank - 1] = ir_dim_constant((int64_t)groups);
    constant->name = td_arena_format(&module->arena, "%s.%s", from->name, what);
    return constant->name == NULL ? td_fail_memory(module->context) : TD_OK;
}

static uint64_t row_length(const ir_constant *constant)
{
    return (uint64_t)constant->shape.dim[constant->shape.rank - 1].constant;
}

/* i8 with an f16 scale per group of 32 along the last axis, or per row where 32 does not divide. */
static td_status convert_to_q8(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    ir_constant elements, scale;
    conversion *element_rows, *scale_rows;
    const uint64_t length = row_length(from);
    const uint32_t group = length % GROUP == 0 ? GROUP : (uint32_t)length;
    TD_TRY(wrap_groups(module, from, group, "scale", &scale_rows, &scale));
    scale.type = IR_F16;
    scale_rows->convert = to_q8_scales;
    scale_rows->piece_bytes = length / group * sizeof(uint16_t);
    TD_TRY(wrap(module, from, "q8", &element_rows, &elements));
    elements.type = IR_I8;
    elements.group = element_rows->group = group;
    element_rows->convert = to_q8;
    element_rows->piece_bytes = length;
    TD_TRY(ir_module_add_constant(module, &scale, &elements.scale));
    return ir_module_add_constant(module, &elements, converted);
}

/* u4 with an f16 scale and a zero point per group of 32 along the last axis; q8 where 32 does not
 * divide. */
static td_status convert_to_q4(ir_module *module, const ir_constant *from, ir_constant **converted)
{
    if (row_length(from) % IR_Q4_GROUP != 0)
        return convert_to_q8(module, from, converted);
    return ir_add_q4_weights(module, from, converted);
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

/* Whether a constant has the wanted form already. Quantised weights that are no larger than what is
 * wanted stay as they are: rounding them a second time would only lose accuracy. */
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

/* Rows that 32 does not divide get 8 bits under q4. */
static bool is_small(const ir_constant *constant)
{
    return constant->scale != NULL &&
           (ir_type_bits(constant->type) == 4 || row_length(constant) % IR_Q4_GROUP != 0);
}

typedef struct weight_form {
    bool (*done)(const ir_constant *constant);
    td_status (*convert)(ir_module *module, const ir_constant *from, ir_constant **converted);
} weight_form;

static const weight_form form_f32 = {is_f32, convert_to_f32};
static const weight_form form_f16 = {is_f16, convert_to_f16};
static const weight_form form_q8 = {is_quantised, convert_to_q8};
static const weight_form form_q4 = {is_small, convert_to_q4};

/* What most matrices become, and what becomes of those that are kept more precisely under q4: the
 * tables of embed, which matter most for the quality of small models (and unless they are the head
 * too, only the rows of a pass are read), and small matrices. */
typedef struct weight_kind {
    const char *name;
    const weight_form *matrices, *precise; /* NULL: as they are */
} weight_kind;

static const weight_kind weight_kinds[] = {
    {"keep", NULL, NULL},       {"f32", &form_f32, &form_f32}, {"f16", &form_f16, &form_f16},
    {"q8", &form_q8, &form_q8}, {"q4", &form_q4, &form_q8},
};

/* Which input of a node is a weight matrix; -1: none. */
static int weight_input(const ir_node *node)
{
    return node->op == IR_OP_linear ? 1 : node->op == IR_OP_embed ? 0 : -1;
}

/* What the constants of a module, by number, become. */
typedef struct conversion_plan {
    const weight_kind *kind;
    size_t count;
    ir_constant **converted; /* once for all readers */
    ir_value **values;       /* of the graph at hand */
    bool *is_table, *is_matrix;
    uint64_t *sizes; /* of matrices, in elements, ascending */
    uint64_t small;  /* matrices of this many elements or fewer are kept precisely */
} conversion_plan;

static void release_plan(td_context *context, conversion_plan *plan)
{
    td_release(context, plan->converted);
    td_release(context, plan->values);
    td_release(context, plan->is_table);
    td_release(context, plan->is_matrix);
    td_release(context, plan->sizes);
}

static td_status allocate_plan(td_context *context, size_t count, const weight_kind *kind,
                               conversion_plan *plan)
{
    *plan = (conversion_plan){.kind = kind,
                              .count = count,
                              .converted = td_allocate(context, count * sizeof(ir_constant *)),
                              .values = td_allocate(context, count * sizeof(ir_value *)),
                              .is_table = td_allocate(context, count * sizeof(bool)),
                              .is_matrix = td_allocate(context, count * sizeof(bool)),
                              .sizes = td_allocate(context, count * sizeof(uint64_t))};
    if (plan->converted != NULL && plan->values != NULL && plan->is_table != NULL &&
        plan->is_matrix != NULL && plan->sizes != NULL)
        return TD_OK;
    release_plan(context, plan);
    return td_fail_memory(context);
}

static void mark_uses(const ir_graph *graph, const conversion_plan *plan)
{
    for (const ir_node *node = graph->first; node != NULL; node = node->next) {
        const int input = weight_input(node);
        if (input < 0 || node->inputs[input]->kind != IR_VALUE_CONSTANT)
            continue;
        bool *uses = node->op == IR_OP_embed ? plan->is_table : plan->is_matrix;
        uses[node->inputs[input]->constant->index] = true;
    }
}

static int compare_sizes(const void *a, const void *b)
{
    const uint64_t *first = a, *second = b;
    return *first < *second ? -1 : *first > *second;
}

/* Finds the largest size such that all matrices up to it are together no more than a SMALL_SHARE-th
 * of the weights. Matrices of one size are kept precisely together or not at all. */
static td_status find_small(ir_module *module, conversion_plan *plan)
{
    uint64_t total = 0, together = 0;
    size_t matrices = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const ir_constant *constant = module->constants.items[i];
        uint64_t elements = 0;
        if (!plan->is_table[i] && !plan->is_matrix[i])
            continue;
        if (!ir_shape_elements_bound(module, &constant->shape, &elements) ||
            !td_add(total, elements, &total))
            return td_fail(module->context, TD_INVALID, "constant \"%.100s\" is too large",
                           constant->name);
        if (!plan->is_table[i])
            plan->sizes[matrices++] = elements;
    }
    qsort(plan->sizes, matrices, sizeof *plan->sizes, compare_sizes);
    for (size_t i = 0; i < matrices; i++) {
        together += plan->sizes[i];
        if (together > total / SMALL_SHARE)
            break;
        if (i + 1 == matrices || plan->sizes[i + 1] > plan->sizes[i])
            plan->small = plan->sizes[i];
    }
    return TD_OK;
}

static const weight_form *choose_form(const conversion_plan *plan, const ir_module *module,
                                      const ir_constant *constant)
{
    uint64_t elements = 0;
    const bool small =
        ir_shape_elements_bound(module, &constant->shape, &elements) && elements <= plan->small;
    return small || plan->is_table[constant->index] ? plan->kind->precise : plan->kind->matrices;
}

static td_status convert_graph(ir_graph *graph, const conversion_plan *plan)
{
    memset(plan->values, 0, plan->count * sizeof(ir_value *));
    for (ir_node *node = graph->first; node != NULL; node = node->next) {
        const int input = weight_input(node);
        if (input < 0 || node->inputs[input]->kind != IR_VALUE_CONSTANT)
            continue;
        const ir_constant *from = node->inputs[input]->constant;
        const uint32_t index = from->index;
        if (index >= plan->count)
            continue; /* converted already */
        const weight_form *form = choose_form(plan, graph->module, from);
        if (form->done(from))
            continue;
        if (plan->converted[index] == NULL)
            TD_TRY(form->convert(graph->module, from, &plan->converted[index]));
        if (plan->values[index] == NULL)
            TD_TRY(ir_graph_add_constant(graph, plan->converted[index], &plan->values[index]));
        node->inputs[input] = plan->values[index];
    }
    return TD_OK;
}

static td_status convert_all(ir_module *module, const weight_kind *kind)
{
    conversion_plan plan;
    TD_TRY(allocate_plan(module->context, module->constants.count, kind, &plan));
    for (size_t i = 0; i < module->graphs.count; i++)
        mark_uses(module->graphs.items[i], &plan);
    td_status status = find_small(module, &plan);
    for (size_t i = 0; i < module->graphs.count && status == TD_OK; i++)
        status = convert_graph(module->graphs.items[i], &plan);
    release_plan(module->context, &plan);
    return status;
}

td_status ir_pass_convert_weights(ir_module *module, const char *kind)
{
    for (size_t i = 0; i < TD_COUNT_OF(weight_kinds); i++) {
        if (strcmp(kind, weight_kinds[i].name) != 0)
            continue;
        if (weight_kinds[i].matrices == NULL)
            return TD_OK;
        TD_TRY(convert_all(module, &weight_kinds[i]));
        return ir_pass_remove_dead(module);
    }
    return td_fail(module->context, TD_USAGE,
                   "weights=%.40s is unknown; keep, f32, f16, q8 and q4 are known", kind);
}
