/* fold_decompression: requires the imported form; maintains it, with the cones that decompress
 * weights as quantised constants.
 *
 * A cone is ((stored - zero_point) * scale), each part converted to f16 or f32 first, with reshapes
 * and conversions before and after. The constant's meaning is exact in f32, where a cone in f16
 * would round once more. Conversions of plain f16 weights stay: their readers see through them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <math.h>

/* The longest chain of conversions and reshapes that is looked through. */
enum { LONGEST_CHAIN = 8 };

/* A value that a quantised constant gives. */
typedef struct decompressed {
    ir_constant *stored, *scale, *zero_point;
    uint32_t group; /* elements that share a scale */
    ir_shape shape;
    ir_value *value; /* made when something reads it */
} decompressed;

typedef struct unpacker {
    ir_module *module;
    ir_graph *graph;
    td_arena arena;
    decompressed **found; /* by value->id */
    size_t count;
} unpacker;

static decompressed *found_at(const unpacker *self, const ir_value *value)
{
    bool numbered = value->kind == IR_VALUE_RESULT && value->id < self->count;
    return numbered ? self->found[value->id] : NULL;
}

/* The constant behind conversions and reshapes, or NULL. Its bytes are in the order of `value`. */
static ir_constant *constant_behind(const ir_value *value)
{
    for (int i = 0; i < LONGEST_CHAIN && value->kind == IR_VALUE_RESULT; i++) {
        ir_opcode op = value->producer->op;
        if (op != IR_OP_convert && op != IR_OP_reshape)
            return NULL;
        value = value->producer->inputs[0];
    }
    bool dense = value->kind == IR_VALUE_CONSTANT && value->constant->scale == NULL;
    return dense ? value->constant : NULL;
}

static bool is_stored_integer(const ir_constant *constant)
{
    return constant != NULL && (constant->type == IR_U8 || constant->type == IR_I8 ||
                                constant->type == IR_U4 || constant->type == IR_I4);
}

/* --- scales and zero points --- */

static bool elements_of(const unpacker *self, const ir_shape *shape, uint64_t *elements)
{
    return ir_shape_is_static(shape) && ir_shape_elements_bound(self->module, shape, elements);
}

/* One number for every group, read as often as there are groups. */
typedef struct repeated {
    unsigned char bytes[4];
    unsigned width;
} repeated;

static td_status read_repeated(td_context *context, const void *self, uint64_t offset,
                               uint64_t size, void *bytes)
{
    (void)context;
    const repeated *number = self;
    for (uint64_t i = 0; i < size; i++)
        ((unsigned char *)bytes)[i] = number->bytes[(offset + i) % number->width];
    return TD_OK;
}

static td_status add_repeated(unpacker *self, const ir_constant *from, ir_type type,
                              const repeated *number, const ir_shape *shape, ir_constant **added)
{
    repeated *copy = td_arena_allocate(&self->module->arena, 1, sizeof *copy);
    if (copy == NULL)
        return td_fail_memory(self->module->context);
    *copy = *number;
    ir_constant new = {.name = from->name, .type = type, .shape = *shape};
    new.source =
        (ir_source){.read = read_repeated, .self = copy, .description = from->source.description};
    new.missing = from->missing;
    return ir_module_add_constant(self->module, &new, added);
}

/* The shape of scales for rows of groups: that of the matrix with 1 for its last axis. */
static ir_shape group_shape(const ir_shape *matrix)
{
    ir_shape shape = *matrix;
    if (shape.rank > 0)
        shape.dim[shape.rank - 1] = ir_dim_constant(1);
    return shape;
}

/* True when `shape`, aligned at the last axis, has one entry for each group of the matrix. */
static bool fits_groups(const ir_shape *shape, const ir_shape *matrix)
{
    if (shape->rank > matrix->rank || shape->rank == 0)
        return false;
    for (uint32_t i = 0; i < matrix->rank; i++) {
        uint32_t lead = matrix->rank - shape->rank;
        ir_dim one = ir_dim_constant(1);
        const ir_dim *wanted = i + 1 == matrix->rank ? &one : &matrix->dim[i];
        if (!ir_dim_equal(i < lead ? &one : &shape->dim[i - lead], wanted))
            return false;
    }
    return true;
}

/* Scales as they are, or a single one spread over all groups; NULL when they are laid out in
 * another way. */
static td_status match_scale(unpacker *self, const ir_value *value, const ir_shape *matrix,
                             ir_constant **scale)
{
    ir_constant *constant = constant_behind(value);
    uint64_t elements;
    *scale = NULL;
    if (constant == NULL || !elements_of(self, &constant->shape, &elements) ||
        (constant->type != IR_F16 && constant->type != IR_BF16 && constant->type != IR_F32))
        return TD_OK;
    if (fits_groups(&value->shape, matrix)) {
        *scale = constant;
        return TD_OK;
    }
    if (elements != 1)
        return TD_OK;
    repeated number = {.width = ir_type_bits(constant->type) / 8};
    ir_shape shape = group_shape(matrix);
    if (!constant->missing)
        TD_TRY(ir_constant_read(self->module->context, constant, 0, constant->bytes, number.bytes));
    return add_repeated(self, constant, constant->type, &number, &shape, scale);
}

/* Whether a whole number is one of the type's. */
static bool fits_type(ir_type type, float number)
{
    bool is_signed = type == IR_I8 || type == IR_I4;
    float levels = ldexpf(1.0f, (int)ir_type_bits(type));
    float lowest = is_signed ? -levels / 2 : 0;
    return number == rintf(number) && number >= lowest && number < lowest + levels;
}

/* Zero points of the stored type, or a single number of any type that the stored type can hold. */
static td_status match_zero_point(unpacker *self, const ir_value *value, const ir_shape *matrix,
                                  ir_type type, ir_constant **zero_point)
{
    ir_constant *constant = constant_behind(value);
    uint64_t elements;
    float number = 0;
    *zero_point = NULL;
    if (constant == NULL || !elements_of(self, &constant->shape, &elements))
        return TD_OK;
    if (constant->type == type && fits_groups(&value->shape, matrix)) {
        *zero_point = constant;
        return TD_OK;
    }
    if (elements != 1)
        return TD_OK;
    if (!constant->missing)
        TD_TRY(ir_constant_read_f32(self->module->context, constant, 0, 1, &number));
    if (!fits_type(type, number))
        return TD_OK;
    unsigned char byte = (unsigned char)(int)number;
    if (ir_type_bits(type) == 4)
        byte = (unsigned char)((byte & 15) | (byte & 15) << 4);
    repeated repeat = {.bytes = {byte}, .width = 1};
    ir_shape shape = group_shape(matrix);
    return add_repeated(self, constant, type, &repeat, &shape, zero_point);
}

/* --- cones --- */

/* Reads `part` as stored integers, with or without a zero point; result->stored is NULL when it is
 * something else. */
static td_status match_stored(unpacker *self, const ir_value *part, decompressed *result)
{
    while (part->kind == IR_VALUE_RESULT && part->producer->op == IR_OP_convert &&
           ir_type_is_float(part->producer->inputs[0]->type))
        part = part->producer->inputs[0];
    const ir_node *subtract = part->kind == IR_VALUE_RESULT && part->producer->op == IR_OP_subtract
                                  ? part->producer
                                  : NULL;
    ir_constant *stored = constant_behind(subtract == NULL ? part : subtract->inputs[0]);
    result->stored = NULL;
    if (!is_stored_integer(stored))
        return TD_OK;
    if (subtract != NULL) {
        TD_TRY(match_zero_point(self, subtract->inputs[1], &result->shape, stored->type,
                                &result->zero_point));
        if (result->zero_point == NULL)
            return TD_OK;
    }
    result->stored = stored;
    return TD_OK;
}

static td_status match_multiply(unpacker *self, const ir_node *node)
{
    decompressed cone = {.shape = node->outputs[0]->shape};
    uint64_t elements, stored;
    if (!elements_of(self, &cone.shape, &elements) || elements == 0 || cone.shape.rank == 0)
        return TD_OK;
    int64_t last = cone.shape.dim[cone.shape.rank - 1].constant;
    if (last > UINT32_MAX)
        return TD_OK;
    cone.group = (uint32_t)last;
    for (uint32_t side = 0; side < 2 && cone.stored == NULL; side++) {
        cone.zero_point = NULL;
        TD_TRY(match_stored(self, node->inputs[side], &cone));
        if (cone.stored == NULL)
            continue;
        TD_TRY(match_scale(self, node->inputs[1 - side], &cone.shape, &cone.scale));
        if (cone.scale == NULL || !elements_of(self, &cone.stored->shape, &stored) ||
            stored != elements)
            cone.stored = NULL;
    }
    if (cone.stored == NULL)
        return TD_OK;
    decompressed *kept = td_arena_allocate(&self->arena, 1, sizeof *kept);
    if (kept == NULL)
        return td_fail_memory(self->module->context);
    *kept = cone;
    self->found[node->outputs[0]->id] = kept;
    return TD_OK;
}

/* A reshape keeps groups whole if they divide its rows. */
static td_status follow_reshape(unpacker *self, const ir_node *node)
{
    const decompressed *from = found_at(self, node->inputs[0]);
    const ir_shape *shape = &node->outputs[0]->shape;
    if (from == NULL || !ir_shape_is_static(shape) || shape->rank == 0 ||
        shape->dim[shape->rank - 1].constant % from->group != 0)
        return TD_OK;
    decompressed *to = td_arena_allocate(&self->arena, 1, sizeof *to);
    if (to == NULL)
        return td_fail_memory(self->module->context);
    *to = *from;
    to->shape = *shape;
    to->value = NULL;
    self->found[node->outputs[0]->id] = to;
    return TD_OK;
}

/* --- replacing --- */

/* A scale or zero point in the shape that belongs to the matrix: its own with groups for the last
 * axis. The bytes are the same. */
static td_status shape_part(unpacker *self, const decompressed *cone, ir_constant *part,
                            ir_constant **shaped)
{
    ir_shape shape = cone->shape;
    ir_dim *last = &shape.dim[shape.rank - 1];
    *last = ir_dim_constant(last->constant / cone->group);
    *shaped = part;
    if (part == NULL || ir_shape_equal(&part->shape, &shape))
        return TD_OK;
    ir_constant new = *part;
    new.shape = shape;
    return ir_module_add_constant(self->module, &new, shaped);
}

static td_status materialise(unpacker *self, decompressed *cone)
{
    ir_constant new = *cone->stored, *added;
    if (cone->value != NULL)
        return TD_OK;
    new.shape = cone->shape;
    TD_TRY(shape_part(self, cone, cone->scale, &new.scale));
    TD_TRY(shape_part(self, cone, cone->zero_point, &new.zero_point));
    new.group = cone->group;
    TD_TRY(ir_module_add_constant(self->module, &new, &added));
    return ir_graph_add_constant(self->graph, added, &cone->value);
}

/* What reads a cone in another type than f32 gets it converted. */
static td_status read_as(unpacker *self, ir_node *reader, const ir_value *old, decompressed *cone,
                         ir_value **value)
{
    TD_TRY(materialise(self, cone));
    *value = cone->value;
    if (old->type == IR_F32)
        return TD_OK;
    ir_node *convert;
    TD_TRY(ir_graph_insert_node(self->graph, reader, IR_OP_convert, old->producer->name, 1, value,
                                1, &convert));
    TD_TRY(ir_node_set_string(convert, "type", ir_type_name(old->type)));
    TD_TRY(ir_node_infer(convert));
    *value = convert->outputs[0];
    return TD_OK;
}

static td_status visit(unpacker *self, ir_node *node)
{
    decompressed *first = node->input_count > 0 ? found_at(self, node->inputs[0]) : NULL;
    if (node->op == IR_OP_multiply)
        TD_TRY(match_multiply(self, node));
    if (node->op == IR_OP_reshape)
        TD_TRY(follow_reshape(self, node));
    if (node->op == IR_OP_convert && ir_type_is_float(node->outputs[0]->type))
        self->found[node->outputs[0]->id] = first;
    /* Within a cone nothing reads: the nodes are dead in the end. */
    if (node->output_count == 1 && found_at(self, node->outputs[0]) != NULL)
        return TD_OK;
    for (uint32_t i = 0; i < node->input_count; i++) {
        decompressed *cone = found_at(self, node->inputs[i]);
        if (cone != NULL)
            TD_TRY(read_as(self, node, node->inputs[i], cone, &node->inputs[i]));
    }
    return TD_OK;
}

static td_status unpack_graph(ir_module *module, ir_graph *graph)
{
    unpacker self = {.module = module, .graph = graph};
    ir_graph_number(graph);
    td_arena_init(&self.arena, module->context);
    self.count = graph->value_count;
    self.found = td_arena_allocate(&self.arena, self.count + 1, sizeof *self.found);
    td_status status = self.found == NULL ? td_fail_memory(module->context) : TD_OK;
    for (ir_node *node = graph->first; node != NULL && status == TD_OK; node = node->next)
        status = visit(&self, node);
    for (size_t i = 0; i < graph->output_count && status == TD_OK; i++) {
        decompressed *cone = found_at(&self, graph->outputs[i]);
        if (cone != NULL)
            status = read_as(&self, NULL, graph->outputs[i], cone, &graph->outputs[i]);
    }
    td_arena_release(&self.arena);
    TD_TRY(status);
    return ir_graph_remove_dead(graph);
}

td_status ir_pass_fold_decompression(ir_module *module)
{
    for (size_t i = 0; i < module->graphs.count; i++)
        TD_TRY(unpack_graph(module, module->graphs.items[i]));
    return TD_OK;
}
