/* Tensors of the evaluator: allocation, conversion of elements, broadcasting and strided walks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"
#include "ir/half.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- allocation --- */

size_t ir_element_bytes(ir_type type)
{
    unsigned bits = ir_type_bits(type);
    return bits == 4 ? 1 : bits / 8; /* 4-bit types are unpacked */
}

td_status ir_evaluate_allocate(ir_evaluator *evaluator, const ir_node *node, ir_type type,
                               uint32_t rank, const int64_t *dims, ir_tensor *tensor)
{
    ir_tensor made = {.type = type, .rank = rank, .elements = 1};
    if (rank > IR_MAX_RANK)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "a result of %" PRIu32 " dimensions; at most %d are supported",
                                rank, IR_MAX_RANK);
    if (ir_element_bytes(type) == 0)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "a result of type %s, which has no values", ir_type_name(type));
    for (uint32_t i = 0; i < rank; i++) {
        made.dim[i] = dims[i];
        if (dims[i] < 0 || !td_multiply(made.elements, (uint64_t)dims[i], &made.elements))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "dimension %" PRIu32 " of the result would be %" PRId64, i,
                                    dims[i]);
    }
    if (evaluator->most_elements != 0 && made.elements > evaluator->most_elements)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "a result of %" PRIu64 " elements; at most %" PRIu64
                                " are evaluated to learn what a subgraph computes",
                                made.elements, evaluator->most_elements);
    uint64_t bytes;
    if (!td_multiply(made.elements, ir_element_bytes(type), &bytes) || bytes > PTRDIFF_MAX)
        return ir_evaluate_fail(evaluator, node, TD_INVALID, "the result is too large");
    made.data = td_allocate(evaluator->context, bytes > 0 ? bytes : 1);
    if (made.data == NULL)
        return td_fail_memory(evaluator->context);
    *tensor = made;
    return TD_OK;
}

td_status ir_evaluate_allocate_like(ir_evaluator *evaluator, const ir_node *node, ir_type type,
                                    const ir_tensor *shape, ir_tensor *tensor)
{
    return ir_evaluate_allocate(evaluator, node, type, shape->rank, shape->dim, tensor);
}

td_status ir_evaluate_copy(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *from,
                           uint32_t rank, const int64_t *dims, ir_tensor *tensor)
{
    TD_TRY(ir_evaluate_allocate(evaluator, node, from->type, rank, dims, tensor));
    if (tensor->elements != from->elements)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%" PRIu64 " elements do not fill a result of %" PRIu64,
                                from->elements, tensor->elements);
    memcpy(tensor->data, from->data, from->elements * ir_element_bytes(from->type));
    return TD_OK;
}

/* --- elements as numbers --- */

static int64_t integer_at(const ir_tensor *tensor, uint64_t i)
{
    switch (tensor->type) {
    case IR_I64:
        return ((const int64_t *)tensor->data)[i];
    case IR_I32:
        return ((const int32_t *)tensor->data)[i];
    case IR_I8:
    case IR_I4:
        return ((const int8_t *)tensor->data)[i];
    case IR_BOOL:
        return ((const uint8_t *)tensor->data)[i] != 0;
    default: /* u8, u4 */
        return ((const uint8_t *)tensor->data)[i];
    }
}

static float float_at(const ir_tensor *tensor, uint64_t i)
{
    switch (tensor->type) {
    case IR_F32:
        return ((const float *)tensor->data)[i];
    case IR_F16:
        return ir_f16_to_f32(((const uint16_t *)tensor->data)[i]);
    case IR_BF16:
        return ir_bf16_to_f32(((const uint16_t *)tensor->data)[i]);
    case IR_F64:
        return (float)((const double *)tensor->data)[i];
    default:
        return (float)integer_at(tensor, i);
    }
}

const float *ir_tensor_floats(ir_evaluator *evaluator, const ir_tensor *tensor)
{
    if (tensor->type == IR_F32)
        return tensor->data;
    float *numbers = ir_evaluate_scratch(evaluator, tensor->elements, sizeof *numbers);
    for (uint64_t i = 0; numbers != NULL && i < tensor->elements; i++)
        numbers[i] = float_at(tensor, i);
    return numbers;
}

const double *ir_tensor_doubles(ir_evaluator *evaluator, const ir_tensor *tensor)
{
    if (tensor->type == IR_F64)
        return tensor->data;
    double *numbers = ir_evaluate_scratch(evaluator, tensor->elements, sizeof *numbers);
    for (uint64_t i = 0; numbers != NULL && i < tensor->elements; i++)
        numbers[i] = ir_type_is_float(tensor->type) ? (double)float_at(tensor, i)
                                                    : (double)integer_at(tensor, i);
    return numbers;
}

const int64_t *ir_tensor_integers(ir_evaluator *evaluator, const ir_tensor *tensor)
{
    if (tensor->type == IR_I64)
        return tensor->data;
    int64_t *numbers = ir_evaluate_scratch(evaluator, tensor->elements, sizeof *numbers);
    for (uint64_t i = 0; numbers != NULL && i < tensor->elements; i++)
        numbers[i] = integer_at(tensor, i);
    return numbers;
}

void ir_tensor_store_floats(ir_tensor *tensor, const float *numbers)
{
    uint64_t count = tensor->elements;
    uint16_t *halves = tensor->data;
    if (tensor->type == IR_F32)
        memcpy(tensor->data, numbers, count * sizeof *numbers);
    for (uint64_t i = 0; tensor->type == IR_F16 && i < count; i++)
        halves[i] = ir_f32_to_f16(numbers[i]);
    for (uint64_t i = 0; tensor->type == IR_BF16 && i < count; i++)
        halves[i] = ir_f32_to_bf16(numbers[i]);
    for (uint64_t i = 0; tensor->type == IR_F64 && i < count; i++)
        ((double *)tensor->data)[i] = (double)numbers[i];
}

/* Rounds to odd, so that rounding the result once more to a 16-bit format is exact. */
static float round_to_odd(double number)
{
    float near = (float)number;
    if ((double)near == number || !isfinite(near))
        return near;
    uint32_t bits = ir_f32_bits(near);
    if (fabs((double)near) > fabs(number))
        bits--;
    return ir_f32_from_bits(bits | 1u);
}

void ir_tensor_store_doubles(ir_tensor *tensor, const double *numbers)
{
    for (uint64_t i = 0; i < tensor->elements; i++) {
        if (tensor->type == IR_F64)
            ((double *)tensor->data)[i] = numbers[i];
        else if (tensor->type == IR_F32)
            ((float *)tensor->data)[i] = (float)numbers[i];
        else
            ((uint16_t *)tensor->data)[i] = tensor->type == IR_F16
                                                ? ir_f32_to_f16(round_to_odd(numbers[i]))
                                                : ir_f32_to_bf16(round_to_odd(numbers[i]));
    }
}

static int64_t sign_extend_nibble(int64_t number)
{
    int64_t nibble = number & 15;
    return nibble >= 8 ? nibble - 16 : nibble;
}

void ir_tensor_store_integers(ir_tensor *tensor, const int64_t *numbers)
{
    for (uint64_t i = 0; i < tensor->elements; i++) {
        int64_t number = numbers[i];
        switch (tensor->type) {
        case IR_I64:
            ((int64_t *)tensor->data)[i] = number;
            break;
        case IR_I32:
            ((uint32_t *)tensor->data)[i] = (uint32_t)number;
            break;
        case IR_BOOL:
            ((uint8_t *)tensor->data)[i] = number != 0;
            break;
        case IR_I4:
            ((int8_t *)tensor->data)[i] = (int8_t)sign_extend_nibble(number);
            break;
        case IR_U4:
            ((uint8_t *)tensor->data)[i] = (uint8_t)(number & 15);
            break;
        default: /* i8, u8 */
            ((uint8_t *)tensor->data)[i] = (uint8_t)number;
        }
    }
}

/* --- operands --- */

td_status ir_evaluate_want_floats(ir_evaluator *evaluator, const ir_node *node,
                                  const ir_tensor *input, int number)
{
    if (input->type == IR_F32 || input->type == IR_F16 || input->type == IR_BF16)
        return TD_OK;
    return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                            "operand %d has type %s; f32, f16 or bf16 is wanted", number,
                            ir_type_name(input->type));
}

td_status ir_evaluate_want_integers(ir_evaluator *evaluator, const ir_node *node,
                                    const ir_tensor *input, int number)
{
    if (!ir_type_is_float(input->type) && input->type != IR_OPAQUE)
        return TD_OK;
    return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                            "operand %d has type %s; an integer type is wanted", number,
                            ir_type_name(input->type));
}

td_status ir_evaluate_list(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *input,
                           int number, uint32_t capacity, int64_t *list, uint32_t *count)
{
    TD_TRY(ir_evaluate_want_integers(evaluator, node, input, number));
    if (input->rank > 1 || input->elements > capacity)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "operand %d has %" PRIu64 " elements in %" PRIu32
                                " dimensions; a list of at most %" PRIu32 " is wanted",
                                number, input->elements, input->rank, capacity);
    for (uint64_t i = 0; i < input->elements; i++)
        list[i] = integer_at(input, i);
    *count = (uint32_t)input->elements;
    return TD_OK;
}

td_status ir_evaluate_axis(ir_evaluator *evaluator, const ir_node *node, const char *name,
                           uint32_t rank, uint32_t *axis)
{
    int64_t given = ir_node_int(node, name, 0);
    int64_t counted = given < 0 ? given + rank : given;
    if (counted < 0 || counted >= rank)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "%s is %" PRId64 "; the operand has %" PRIu32 " dimensions", name,
                                given, rank);
    *axis = (uint32_t)counted;
    return TD_OK;
}

int64_t ir_dims_product(const int64_t *dims, uint32_t first, uint32_t last)
{
    uint64_t product = 1; /* wraps only beside a dimension of 0 */
    for (uint32_t i = first; i < last; i++)
        product *= (uint64_t)dims[i];
    return (int64_t)product;
}

/* --- broadcasting and strided walks --- */

bool ir_dims_broadcast(uint32_t *rank, int64_t *dims, const ir_tensor *with)
{
    if (with->rank > *rank) {
        uint32_t more = with->rank - *rank;
        memmove(dims + more, dims, *rank * sizeof *dims);
        for (uint32_t i = 0; i < more; i++)
            dims[i] = 1;
        *rank = with->rank;
    }
    for (uint32_t i = 0; i < with->rank; i++) {
        int64_t *dim = &dims[*rank - with->rank + i];
        if (*dim != with->dim[i] && *dim != 1 && with->dim[i] != 1)
            return false;
        if (*dim == 1)
            *dim = with->dim[i];
    }
    return true;
}

void ir_broadcast_strides(const ir_tensor *tensor, uint32_t rank, int64_t *strides)
{
    for (uint32_t i = 0; i < rank; i++)
        strides[i] = 0;
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (tensor->dim[i] != 1)
            strides[rank - tensor->rank + i] = ir_dims_product(tensor->dim, i + 1, tensor->rank);
}

ir_walk ir_walk_start(uint32_t rank, const int64_t *dims, const int64_t *strides, int64_t start)
{
    return (ir_walk){.rank = rank, .dims = dims, .strides = strides, .offset = start};
}

void ir_walk_next(ir_walk *walk)
{
    for (uint32_t i = walk->rank; i-- > 0;) {
        walk->offset += walk->strides[i];
        if (++walk->index[i] < walk->dims[i])
            return;
        walk->offset -= walk->index[i] * walk->strides[i];
        walk->index[i] = 0;
    }
}

td_status ir_operands_start(ir_evaluator *evaluator, const ir_node *node, uint32_t count,
                            const ir_tensor *const *inputs, ir_operands *operands)
{
    operands->count = count;
    operands->rank = inputs[0]->rank;
    memcpy(operands->dims, inputs[0]->dim, sizeof operands->dims);
    for (uint32_t i = 1; i < count; i++)
        if (!ir_dims_broadcast(&operands->rank, operands->dims, inputs[i]))
            return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                    "its operands' shapes do not broadcast to each other");
    for (uint32_t i = 0; i < count; i++) {
        int64_t *strides = operands->strides[i];
        ir_broadcast_strides(inputs[i], operands->rank, strides);
        operands->walk[i] = ir_walk_start(operands->rank, operands->dims, strides, 0);
    }
    return TD_OK;
}

void ir_operands_next(ir_operands *operands)
{
    for (uint32_t i = 0; i < operands->count; i++)
        ir_walk_next(&operands->walk[i]);
}

void ir_copy_strided(const ir_tensor *from, int64_t start, const int64_t *strides, ir_tensor *to)
{
    size_t size = ir_element_bytes(to->type);
    ir_walk walk = ir_walk_start(to->rank, to->dim, strides, start);
    for (uint64_t i = 0; i < to->elements; i++, ir_walk_next(&walk))
        memcpy((char *)to->data + i * size, (const char *)from->data + (size_t)walk.offset * size,
               size);
}
