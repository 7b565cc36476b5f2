/* What stands behind an operand of a graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/match.h"

static void mark_constants(matcher *match)
{
    for (ir_node *node = match->graph->first; node != NULL; node = node->next) {
        bool constant = node->op != IR_OP_read_state && node->op != IR_OP_opaque;
        for (uint32_t i = 0; constant && i < node->input_count; i++)
            constant = match_is_constant(match, node->inputs[i]);
        for (uint32_t i = 0; i < node->output_count; i++)
            match->constant[node->outputs[i]->id] = constant;
    }
}

td_status match_init(matcher *match, ir_graph *graph, ir_symbol tokens, ir_symbol slots)
{
    ir_module *module = graph->module;
    td_context *context = module->context;
    ir_graph_number(graph);
    *match = (matcher){.context = context, .graph = graph, .tokens = tokens, .slots = slots};
    match->constant = td_allocate(context, graph->value_count + 1);
    match->symbols = td_allocate(context, (module->symbols.count + 1) * sizeof *match->symbols);
    match->inputs = td_allocate(context, (graph->input_count + 1) * sizeof *match->inputs);
    if (match->constant == NULL || match->symbols == NULL || match->inputs == NULL)
        return td_fail_memory(context);
    mark_constants(match);
    return ir_evaluator_create(module, 0, &match->evaluator);
}

void match_release(matcher *match)
{
    if (match->graph == NULL)
        return;
    for (size_t i = 0; match->inputs != NULL && i < match->graph->input_count; i++)
        td_release(match->context, match->inputs[i].data);
    td_release(match->context, match->inputs);
    td_release(match->context, match->symbols);
    td_release(match->context, match->constant);
    ir_evaluator_release(match->evaluator);
}

ir_value *match_skip(ir_value *value)
{
    while (value->kind == IR_VALUE_RESULT) {
        const ir_node *node = value->producer;
        ir_value *input = node->input_count > 0 ? node->inputs[0] : NULL;
        bool passes = false;
        if (node->op == IR_OP_convert)
            passes = ir_type_is_float(value->type) && ir_type_is_float(input->type);
        else if (node->op == IR_OP_reshape || node->op == IR_OP_broadcast)
            passes = ir_shape_equal(&value->shape, &input->shape);
        if (!passes)
            break;
        value = input;
    }
    return value;
}

ir_node *match_node(ir_value *value, ir_opcode op)
{
    value = match_skip(value);
    return value->kind == IR_VALUE_RESULT && value->producer->op == op ? value->producer : NULL;
}

bool match_same(ir_value *a, ir_value *b)
{
    a = match_skip(a);
    b = match_skip(b);
    if (a->kind == IR_VALUE_CONSTANT && b->kind == IR_VALUE_CONSTANT)
        return a->constant == b->constant;
    return a == b;
}

bool match_is_constant(const matcher *match, const ir_value *value)
{
    return value->kind == IR_VALUE_CONSTANT ||
           (value->kind == IR_VALUE_RESULT && match->constant[value->id]);
}

/* Elements of a static shape; false when it is not static. */
static bool static_elements(const matcher *match, const ir_shape *shape, uint64_t *elements)
{
    return ir_shape_is_static(shape) &&
           ir_shape_elements_bound(match->graph->module, shape, elements);
}

static bool ok(matcher *match, td_status status)
{
    if (status != TD_OK && match->status == TD_OK)
        match->status = status;
    return status == TD_OK;
}

/* A constant cone that cannot be evaluated is no constant; only running out of memory is a failure.
 */
static bool evaluate_constant(matcher *match, ir_value *value, const ir_tensor **tensor)
{
    td_status status = match_evaluate(match, value, 0, 1, NULL, tensor);
    return status == TD_INVALID || status == TD_UNSUPPORTED ? false : ok(match, status);
}

bool match_numbers(matcher *match, ir_value *value, uint64_t count, float *numbers)
{
    uint64_t elements;
    if (!match_is_constant(match, value) || !static_elements(match, &value->shape, &elements) ||
        elements != count)
        return false;
    if (value->kind == IR_VALUE_CONSTANT && ir_type_is_float(value->type))
        return ok(match, ir_constant_read_f32(match->context, value->constant, 0, count, numbers));
    const ir_tensor *tensor;
    if (!evaluate_constant(match, value, &tensor) || tensor->elements != count)
        return false;
    for (uint64_t i = 0; i < count; i++)
        numbers[i] = (float)match_element(tensor, i);
    return true;
}

/* As match_numbers, for at most `capacity` integers. */
static bool integers_of(matcher *match, ir_value *value, size_t capacity, int64_t *integers,
                        size_t *count)
{
    uint64_t elements;
    if (!match_is_constant(match, value) || ir_type_is_float(value->type) ||
        !static_elements(match, &value->shape, &elements) || elements > capacity)
        return false;
    if (value->kind == IR_VALUE_CONSTANT)
        return ok(match,
                  ir_constant_read_i64(match->context, value->constant, capacity, integers, count));
    const ir_tensor *tensor;
    if (!evaluate_constant(match, value, &tensor) || tensor->elements > capacity)
        return false;
    *count = (size_t)tensor->elements;
    for (size_t i = 0; i < *count; i++)
        integers[i] = (int64_t)match_element(tensor, i);
    return true;
}

bool match_scalar(matcher *match, ir_value *value, double *number)
{
    float single;
    if (ir_type_is_float(value->type)) {
        if (!match_numbers(match, value, 1, &single))
            return false;
        *number = (double)single;
        return true;
    }
    int64_t integer;
    size_t count;
    if (!integers_of(match, value, 1, &integer, &count) || count != 1)
        return false;
    *number = (double)integer;
    return true;
}

bool match_is_number(matcher *match, ir_value *value, double expected)
{
    double number;
    return match_scalar(match, value, &number) && number == expected;
}

bool match_scalar_operand(matcher *match, const ir_node *node, double *number, ir_value **other)
{
    for (uint32_t i = 0; node->input_count == 2 && i < 2; i++)
        if (match_scalar(match, node->inputs[i], number)) {
            *other = node->inputs[1 - i];
            return true;
        }
    return false;
}

bool match_negated(matcher *match, ir_value *value, ir_value **other)
{
    ir_node *node = match_node(value, IR_OP_negate);
    if (node != NULL) {
        *other = node->inputs[0];
        return true;
    }
    double number;
    node = match_node(value, IR_OP_multiply);
    return node != NULL && match_scalar_operand(match, node, &number, other) && number == -1.0;
}

/* Whether `part` and `whole` have equal dimensions but for constant last ones. */
static bool differs_in_last_only(const ir_shape *part, const ir_shape *whole)
{
    if (part->rank != whole->rank || part->rank == 0)
        return false;
    uint32_t last = part->rank - 1;
    for (uint32_t i = 0; i < last; i++)
        if (!ir_dim_equal(&part->dim[i], &whole->dim[i]))
            return false;
    return ir_dim_is_constant(&part->dim[last]) && ir_dim_is_constant(&whole->dim[last]);
}

/* Where a slice begins on the last axis. Shapes tell that no other axis is cut. */
static bool slice_begin(matcher *match, const ir_node *node, int64_t size, int64_t *begin)
{
    int64_t begins[IR_MAX_RANK], steps[IR_MAX_RANK];
    size_t begin_count, step_count;
    if (!integers_of(match, node->inputs[1], IR_MAX_RANK, begins, &begin_count) ||
        !integers_of(match, node->inputs[3], IR_MAX_RANK, steps, &step_count) ||
        begin_count != step_count)
        return false;
    const ir_attribute *axes = ir_node_attribute(node, "axes");
    int64_t last = (int64_t)node->inputs[0]->shape.rank - 1;
    *begin = 0;
    for (size_t i = 0; i < begin_count; i++) {
        int64_t axis = axes != NULL && i < axes->count ? axes->integers[i] : (int64_t)i;
        if (steps[i] != 1)
            return false;
        if (axis == last || axis == -1)
            *begin = begins[i] < 0 ? begins[i] + size : begins[i];
    }
    return true;
}

static bool mask_bit(const ir_node *node, const char *name, size_t i)
{
    const ir_attribute *mask = ir_node_attribute(node, name);
    return mask != NULL && i < mask->count && mask->integers[i] != 0;
}

static bool strided_slice_begin(matcher *match, const ir_node *node, int64_t size, int64_t *begin)
{
    static const char *const forms[] = {"new_axis_mask", "shrink_axis_mask", "ellipsis_mask"};
    int64_t steps[IR_MAX_RANK];
    size_t count, rank = node->inputs[0]->shape.rank;
    for (size_t form = 0; form < TD_COUNT_OF(forms); form++)
        for (size_t i = 0; i < IR_MAX_RANK; i++)
            if (mask_bit(node, forms[form], i))
                return false;
    if (!integers_of(match, node->inputs[3], IR_MAX_RANK, steps, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (steps[i] != 1)
            return false;
    *begin = 0;
    if (count < rank || mask_bit(node, "begin_mask", rank - 1))
        return true;
    /* Entries of other axes may depend on tokens, so only the last one has to be constant; it is
     * read from the evaluated list. */
    const ir_tensor *tensor;
    if (!evaluate_constant(match, node->inputs[1], &tensor) || tensor->elements < rank)
        return false;
    int64_t first = (int64_t)match_element(tensor, rank - 1);
    *begin = first < 0 ? first + size : first;
    return true;
}

static bool split_begin(const ir_node *node, uint32_t output, int64_t *begin)
{
    int64_t last = (int64_t)node->inputs[0]->shape.rank - 1, axis = ir_node_int(node, "axis", 0);
    if (axis != last && axis != -1)
        return false;
    *begin = 0;
    for (uint32_t i = 0; i < output; i++) {
        const ir_dim *dim = &node->outputs[i]->shape.dim[last];
        if (!ir_dim_is_constant(dim))
            return false;
        *begin += dim->constant;
    }
    return true;
}

bool match_part(matcher *match, ir_value *value, ir_value **whole, int64_t *begin, int64_t *length)
{
    value = match_skip(value);
    if (value->kind != IR_VALUE_RESULT || value->producer->input_count == 0)
        return false;
    const ir_node *node = value->producer;
    ir_value *input = node->inputs[0];
    if (!differs_in_last_only(&value->shape, &input->shape))
        return false;
    int64_t size = input->shape.dim[input->shape.rank - 1].constant;
    *length = value->shape.dim[value->shape.rank - 1].constant;
    bool found = false;
    if (node->op == IR_OP_slice)
        found = slice_begin(match, node, size, begin);
    else if (node->op == IR_OP_strided_slice)
        found = strided_slice_begin(match, node, size, begin);
    else if (node->op == IR_OP_split)
        found = split_begin(node, value->output, begin);
    *whole = match_skip(input);
    return found && *begin >= 0 && *length <= size && *begin <= size - *length;
}
