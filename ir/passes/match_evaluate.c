/* What the cone of a value computes, found by evaluating it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "ir/passes/match.h"

#include <string.h>

/* Larger inputs are left without data, which only matters to a cone that reads them. */
#define LARGEST_INPUT (1 << 22)

/* Sizes an input tensor at the symbols' values. */
static td_status shape_input(matcher *match, const ir_value *value, ir_tensor *tensor)
{
    uint64_t elements = 1;
    td_release(match->context, tensor->data);
    *tensor = (ir_tensor){.type = value->type, .rank = value->shape.rank};
    for (uint32_t i = 0; i < value->shape.rank; i++) {
        ir_dim dim = ir_module_dim_resolve(match->graph->module, &value->shape.dim[i]);
        tensor->dim[i] = ir_dim_evaluate(&dim, match->symbols);
        if (tensor->dim[i] < 0 || !td_multiply(elements, (uint64_t)tensor->dim[i], &elements) ||
            elements > LARGEST_INPUT)
            return TD_OK;
    }
    tensor->elements = elements;
    tensor->data = td_allocate(match->context, (size_t)elements * sizeof(int64_t) + 1);
    return tensor->data != NULL ? TD_OK : td_fail_memory(match->context);
}

static void set_integer(ir_tensor *tensor, uint64_t i, int64_t value)
{
    if (tensor->type == IR_I64)
        ((int64_t *)tensor->data)[i] = value;
    else if (tensor->type == IR_I32)
        ((int32_t *)tensor->data)[i] = (int32_t)value;
    else if (tensor->type == IR_F32)
        ((float *)tensor->data)[i] = (float)value;
    else if (ir_type_bits(tensor->type) == 8)
        ((uint8_t *)tensor->data)[i] = (uint8_t)value;
}

/* Ids are such that nothing which depends on them passes for a function of positions. */
static void fill_input(const char *name, ir_tensor *tensor, int64_t slots, const int64_t *positions)
{
    if (tensor->data == NULL || name == NULL)
        return;
    const bool mask = strcmp(name, "attention_mask") == 0, ids = strcmp(name, "input_ids") == 0;
    const bool position = strcmp(name, "position_ids") == 0;
    for (uint64_t i = 0; i < tensor->elements; i++) {
        int64_t value = mask ? 1 : ids ? (int64_t)((i + 1) % 2) : 0;
        if (position)
            value = positions != NULL ? positions[i] : slots + (int64_t)i;
        set_integer(tensor, i, value);
    }
}

td_status match_evaluate(matcher *match, ir_value *value, int64_t slots, int64_t tokens,
                         const int64_t *positions, const ir_tensor **tensor)
{
    const ir_graph *graph = match->graph;
    for (size_t i = 0; i < graph->module->symbols.count; i++)
        match->symbols[i] = -1; /* not known: the evaluator takes what comes out */
    match->symbols[match->tokens] = tokens;
    match->symbols[match->slots] = slots;
    for (size_t i = 0; i < graph->input_count; i++) {
        TD_TRY(shape_input(match, graph->inputs[i], &match->inputs[i]));
        fill_input(graph->inputs[i]->name, &match->inputs[i], slots, positions);
    }
    return ir_evaluate_cone(match->evaluator, match->graph, value, match->symbols, match->inputs,
                            tensor);
}

double match_element(const ir_tensor *tensor, uint64_t i)
{
    switch (tensor->type) {
    case IR_F32:
        return (double)((const float *)tensor->data)[i];
    case IR_F16:
        return (double)ir_f16_to_f32(((const uint16_t *)tensor->data)[i]);
    case IR_BF16:
        return (double)ir_bf16_to_f32(((const uint16_t *)tensor->data)[i]);
    case IR_F64:
        return ((const double *)tensor->data)[i];
    case IR_I64:
        return (double)((const int64_t *)tensor->data)[i];
    case IR_I32:
        return (double)((const int32_t *)tensor->data)[i];
    case IR_I8:
    case IR_I4:
        return (double)((const int8_t *)tensor->data)[i];
    case IR_U8:
    case IR_U4:
    case IR_BOOL:
        return (double)((const uint8_t *)tensor->data)[i];
    default:
        return (double)__builtin_nanf("");
    }
}
