/* Rotary position embedding. The form of the rotation is matched; what its cosines and sines are is
 * learned by evaluating them at a few positions, so it does not matter how they are computed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/raise.h"

#include <math.h>
#include <string.h>

/* Positions at which the table is evaluated: these, and the last one of the context up to FAR.
 * Frequencies are read at 1; the others prove that the angle is linear in the position. */
static const int64_t near[] = {0, 1, 2, 7};
#define FAR    500
#define PROBES (TD_COUNT_OF(near) + 1)

/* How far cosines and sines may be off, per unit of angle, plus a constant part: they were computed
 * in f32 from angles that were rounded to f32. */
#define TOLERANCE           1e-5
#define TOLERANCE_PER_ANGLE 4e-7

/* x * cosine + rotated(x) * sine */
typedef struct rotary {
    ir_value *x, *cosine, *sine;
    int64_t size;     /* of a head */
    bool interleaved; /* x is [.., size / 2, 2]: neighbours are a pair */
} rotary;

/* --- the form --- */

/* concat(-x[half:], x[:half]) along the last axis */
static bool rotated_half(matcher *match, ir_value *value, ir_value **x, int64_t *size)
{
    const ir_node *concat = match_node(value, IR_OP_concat);
    if (concat == NULL || concat->input_count != 2)
        return false;
    const ir_shape *shape = &concat->outputs[0]->shape;
    int64_t last = (int64_t)shape->rank - 1, axis = ir_node_int(concat, "axis", 0);
    ir_value *upper, *lower, *negated;
    int64_t upper_begin, upper_length, lower_begin, lower_length;
    if ((axis != last && axis != -1) || !match_negated(match, concat->inputs[0], &negated) ||
        !match_part(match, negated, &upper, &upper_begin, &upper_length) ||
        !match_part(match, concat->inputs[1], &lower, &lower_begin, &lower_length) ||
        !match_same(upper, lower))
        return false;
    *x = upper;
    *size = shape->dim[last].constant;
    return lower_begin == 0 && lower_length == upper_length && upper_begin == lower_length &&
           *size == 2 * lower_length && ir_dim_is(&upper->shape.dim[last], *size);
}

/* A product with one given operand. */
static bool product_with(const ir_node *product, ir_value *operand, ir_value **other)
{
    for (uint32_t i = 0; product != NULL && i < 2; i++)
        if (match_same(product->inputs[i], operand)) {
            *other = product->inputs[1 - i];
            return true;
        }
    return false;
}

/* add(x * cosine, rotated_half(x) * sine) */
static bool match_rotation(matcher *match, const ir_node *sum, rotary *rotation)
{
    for (uint32_t i = 0; i < 2; i++) {
        const ir_node *straight = match_node(sum->inputs[i], IR_OP_multiply);
        const ir_node *turned = match_node(sum->inputs[1 - i], IR_OP_multiply);
        for (uint32_t j = 0; straight != NULL && turned != NULL && j < 2; j++)
            if (rotated_half(match, turned->inputs[j], &rotation->x, &rotation->size) &&
                product_with(straight, rotation->x, &rotation->cosine)) {
                rotation->sine = turned->inputs[1 - j];
                return true;
            }
    }
    return false;
}

/* A product of a part of some x that begins at `begin` with something else. */
static bool part_product(matcher *match, ir_value *value, ir_value **x, int64_t begin,
                         int64_t *length, ir_value **other)
{
    const ir_node *product = match_node(value, IR_OP_multiply);
    for (uint32_t i = 0; product != NULL && i < 2; i++) {
        ir_value *whole;
        int64_t first;
        if (match_part(match, product->inputs[i], &whole, &first, length) && first == begin &&
            (*x == NULL || match_same(*x, whole))) {
            *x = whole;
            *other = product->inputs[1 - i];
            return true;
        }
    }
    return false;
}

/* concat(x1 * cosine - x2 * sine, x2 * cosine + x1 * sine) */
static bool match_halves(matcher *match, const ir_node *concat, rotary *rotation)
{
    const ir_node *lower = match_node(concat->inputs[0], IR_OP_subtract);
    const ir_node *upper = match_node(concat->inputs[1], IR_OP_add);
    int64_t half = 0, length = 0;
    rotation->x = NULL;
    if (lower == NULL || upper == NULL ||
        !part_product(match, lower->inputs[0], &rotation->x, 0, &half, &rotation->cosine) ||
        !part_product(match, lower->inputs[1], &rotation->x, half, &length, &rotation->sine) ||
        length != half)
        return false;
    const ir_shape *shape = &rotation->x->shape;
    rotation->size = 2 * half;
    rotation->interleaved =
        half == 1 && shape->rank > 2 && ir_dim_is_constant(&shape->dim[shape->rank - 2]);
    if (rotation->interleaved)
        rotation->size = 2 * shape->dim[shape->rank - 2].constant;
    for (uint32_t i = 0; i < 2; i++) {
        ir_value *cosine, *sine;
        if (part_product(match, upper->inputs[i], &rotation->x, half, &length, &cosine) &&
            part_product(match, upper->inputs[1 - i], &rotation->x, 0, &length, &sine))
            return match_same(cosine, rotation->cosine) && match_same(sine, rotation->sine);
    }
    return false;
}

/* --- the meaning --- */

static void choose_positions(const raiser *raise, int64_t positions[PROBES])
{
    int64_t context = ir_dim_bound(raise->module, &raise->slots);
    memcpy(positions, near, sizeof near);
    positions[PROBES - 1] = context > FAR ? FAR : context < 1 ? 0 : context - 1;
}

/* Evaluates a table [tokens, n] at the probed positions; numbers has room for PROBES * size. *width
 * is n, or 0 when the value has another layout. */
static td_status probe(raiser *raise, ir_value *value, int64_t size, double *numbers,
                       int64_t *width)
{
    uint32_t axis;
    int64_t before, after;
    const ir_tensor *tensor;
    int64_t positions[PROBES];
    *width = 0;
    choose_positions(raise, positions);
    if (!ir_type_is_float(value->type) ||
        !raise_split(&value->shape, &raise->tokens, &axis, &before, &after) || before != 1 ||
        (after != size && after != size / 2))
        return TD_OK;
    TD_TRY(match_evaluate(&raise->match, value, 0, (int64_t)PROBES, positions, &tensor));
    if (tensor->elements != PROBES * (uint64_t)after)
        return TD_OK;
    for (uint64_t i = 0; i < tensor->elements; i++)
        numbers[i] = match_element(tensor, i);
    *width = after;
    return TD_OK;
}

/* The angles behind a cosine table: the input of the cosine node, when it can be found through
 * reshapes and products with a constant; else NULL. */
static ir_value *angles_behind(matcher *match, ir_value *value)
{
    while (value->kind == IR_VALUE_RESULT) {
        const ir_node *node = value->producer;
        double scale;
        ir_value *other;
        if (node->op == IR_OP_cosine)
            return node->inputs[0];
        if (node->op == IR_OP_reshape || node->op == IR_OP_convert || node->op == IR_OP_broadcast)
            value = node->inputs[0];
        else if (node->op == IR_OP_multiply && match_scalar_operand(match, node, &scale, &other))
            value = other;
        else
            return NULL;
    }
    return NULL;
}

/* Whether numbers[p][i] is scale * function(position * frequency), for both halves of a table of
 * full width. */
static bool proves(const int64_t positions[PROBES], const double *numbers, int64_t width,
                   const float *frequencies, int64_t half, double scale, double (*function)(double))
{
    for (size_t p = 0; p < PROBES; p++)
        for (int64_t i = 0; i < width; i++) {
            double angle = (double)((float)positions[p] * frequencies[i % half]);
            double error = numbers[(int64_t)p * width + i] - scale * function(angle);
            if (!(fabs(error) <= fabs(scale) * (TOLERANCE + TOLERANCE_PER_ANGLE * fabs(angle))))
                return false;
        }
    return true;
}

/* Learns the frequencies (f32[size / 2]) and the scale of a rotation's table. */
static td_status learn_table(raiser *raise, const rotary *rotation, double *cosines, double *sines,
                             float *frequencies, double *scale, bool *learned)
{
    int64_t size = rotation->size, half = size / 2, width, sine_width, angle_width = 0;
    int64_t positions[PROBES];
    *learned = false;
    TD_TRY(probe(raise, rotation->cosine, size, cosines, &width));
    ir_value *angles = angles_behind(&raise->match, rotation->cosine);
    if (angles != NULL)
        TD_TRY(probe(raise, angles, size, sines, &angle_width));
    for (int64_t i = 0; i < half && angle_width != 0; i++)
        frequencies[i] = (float)sines[angle_width + i];
    TD_TRY(probe(raise, rotation->sine, size, sines, &sine_width));
    if (width == 0 || sine_width == 0)
        return TD_OK;
    *scale = raise_decimal(cosines[0]); /* the cosine of angle zero is one */
    choose_positions(raise, positions);
    for (int64_t i = 0; i < half && angle_width == 0; i++)
        frequencies[i] = (float)atan2(sines[sine_width + i], cosines[width + i]);
    *learned = *scale != 0.0 && proves(positions, cosines, width, frequencies, half, *scale, cos) &&
               proves(positions, sines, sine_width, frequencies, half, *scale, sin);
    return TD_OK;
}

/* --- emitting --- */

static td_status emit_table(raiser *raise, const float *frequencies, int64_t size, double scale,
                            ir_value **table)
{
    ir_shape shape = ir_shape_of(1, (int64_t[]){size / 2});
    ir_constant *constant;
    TD_TRY(ir_module_add_constant_bytes(raise->module, "rope.frequencies", IR_F32, &shape,
                                        frequencies, &constant));
    ir_value *inputs[2] = {raise->positions, NULL};
    TD_TRY(raise_constant(raise, constant, &inputs[1]));
    ir_node *position = raise->to->first, *node;
    if (raise->last_table != NULL)
        position = raise->last_table->next;
    else if (position != NULL && position->op == IR_OP_embed)
        position = position->next;
    TD_TRY(
        ir_graph_insert_node(raise->to, position, IR_OP_rotary_table, "rope", 2, inputs, 1, &node));
    if (scale != 1.0)
        TD_TRY(ir_node_set_float(node, "scale", scale));
    TD_TRY(ir_node_infer(node));
    raise->last_table = node;
    *table = node->outputs[0];

    float *kept = td_arena_allocate(&raise->module->arena, (size_t)(size / 2), sizeof *kept);
    if (kept == NULL)
        return td_fail_memory(raise->context);
    memcpy(kept, frequencies, (size_t)(size / 2) * sizeof *kept);
    raise_table entry = {
        .size = (uint32_t)size, .frequencies = kept, .scale = scale, .value = *table};
    return td_array_push(raise->context, &raise->tables, entry) ? TD_OK
                                                                : td_fail_memory(raise->context);
}

static td_status find_table(raiser *raise, const float *frequencies, int64_t size, double scale,
                            ir_value **table)
{
    for (size_t i = 0; i < raise->tables.count; i++) {
        const raise_table *entry = &raise->tables.items[i];
        if (entry->size == size && entry->scale == scale &&
            memcmp(entry->frequencies, frequencies, (size_t)(size / 2) * sizeof(float)) == 0) {
            *table = entry->value;
            return TD_OK;
        }
    }
    return emit_table(raise, frequencies, size, scale, table);
}

static td_status emit_rope(raiser *raise, const ir_node *node, const rotary *rotation,
                           const raise_meaning *x, ir_value *table, bool *applied)
{
    ir_value *inputs[2] = {x->rows, table};
    ir_node *rope;
    TD_TRY(raise_emit(raise, IR_OP_rope, node->name, 2, inputs, &rope));
    TD_TRY(ir_node_set_int(rope, "head_size", rotation->size));
    TD_TRY(ir_node_set_int(rope, "interleaved", rotation->interleaved));
    TD_TRY(ir_node_infer(rope));
    *applied = raise_set_rows(raise, node->outputs[0], rope->outputs[0], x->factor);
    return TD_OK;
}

/* Whether the rows of a table meet those of x: their tokens are as far from the last axis. */
static bool is_aligned(const raiser *raise, const ir_shape *x, const ir_shape *table)
{
    uint32_t x_axis, table_axis;
    int64_t before, after;
    return raise_split(x, &raise->tokens, &x_axis, &before, &after) &&
           raise_split(table, &raise->tokens, &table_axis, &before, &after) &&
           x->rank - x_axis == table->rank - table_axis;
}

static td_status raise_rotation(raiser *raise, const ir_node *node, const rotary *rotation,
                                bool *applied)
{
    const raise_meaning *x = raise_as(raise, rotation->x, RAISE_ROWS);
    int64_t size = rotation->size;
    if (x == NULL || size < 2 || size > UINT16_MAX ||
        !ir_shape_equal(&rotation->x->shape, &node->outputs[0]->shape))
        return TD_OK;
    if (!is_aligned(raise, &rotation->x->shape, &rotation->cosine->shape) ||
        !is_aligned(raise, &rotation->x->shape, &rotation->sine->shape))
        return raise_because(raise, node, "the tokens of its table lie along another axis");
    double *numbers = td_allocate(raise->context, 2 * PROBES * (size_t)size * sizeof *numbers);
    float *frequencies = td_allocate(raise->context, (size_t)size * sizeof *frequencies);
    double scale;
    bool learned = false;
    ir_value *table;
    td_status status = TD_OK;
    if (numbers == NULL || frequencies == NULL)
        status = td_fail_memory(raise->context);
    if (status == TD_OK)
        status = learn_table(raise, rotation, numbers, numbers + PROBES * (size_t)size, frequencies,
                             &scale, &learned);
    if (status == TD_INVALID || status == TD_UNSUPPORTED)
        status = raise_because(raise, node, "its table: %s", raise->context->message);
    else if (status == TD_OK && !learned)
        status = raise_because(raise, node,
                               "its cosines and sines are not those of position * frequency");
    if (status == TD_OK && learned)
        status = find_table(raise, frequencies, size, scale, &table);
    if (status == TD_OK && learned)
        status = emit_rope(raise, node, rotation, x, table, applied);
    td_release(raise->context, numbers);
    td_release(raise->context, frequencies);
    return status;
}

td_status raise_rope(raiser *raise, ir_node *node, bool *applied)
{
    rotary rotation = {0};
    if (!match_rotation(&raise->match, node, &rotation))
        return TD_OK;
    return raise_rotation(raise, node, &rotation, applied);
}

td_status raise_rope_halves(raiser *raise, ir_node *node, bool *applied)
{
    rotary rotation = {0};
    int64_t last = (int64_t)node->outputs[0]->shape.rank - 1, axis = ir_node_int(node, "axis", 0);
    if (node->input_count != 2 || (axis != last && axis != -1) ||
        !match_halves(&raise->match, node, &rotation))
        return TD_OK;
    return raise_rotation(raise, node, &rotation, applied);
}
