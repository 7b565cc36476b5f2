/* The table of OpenVINO operations that are imported, the helpers that conversions are written
 * with, and the conversions of arithmetic, products and states.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <inttypes.h>
#include <string.h>

/* --- helpers --- */

bool ov_layer_is(const ov_layer *layer, const char *type)
{
    return strcasecmp(layer->type, type) == 0 ||
           (strcmp(type, "Const") == 0 && strcasecmp(layer->type, "Constant") == 0);
}

td_status ov_bool(ov_reader *reader, const ov_layer *layer, const char *name, bool otherwise,
                  bool *value)
{
    const char *text = ov_layer_attribute(layer, name, otherwise ? "true" : "false");
    *value = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!*value && strcasecmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return td_fail(reader->context, TD_INVALID,
                       "attribute %s is \"%.40s\"; true or false is expected", name, text);
    return TD_OK;
}

td_status ov_int(ov_reader *reader, const ov_layer *layer, const char *name, int64_t otherwise,
                 int64_t *value)
{
    const char *text = ov_layer_attribute(layer, name, NULL);
    *value = otherwise;
    if (text != NULL && !ov_parse_i64(text, value))
        return td_fail(reader->context, TD_INVALID,
                       "attribute %s is \"%.40s\"; a whole number is expected", name, text);
    return TD_OK;
}

td_status ov_input_ints(ov_reader *reader, const ir_value *input, const char *what, size_t capacity,
                        int64_t *values, size_t *count)
{
    while (input->kind == IR_VALUE_RESULT && input->producer->op == IR_OP_convert)
        input = input->producer->inputs[0];
    if (input->kind != IR_VALUE_CONSTANT)
        return ov_refuse(reader, "%s is computed; only a constant is accepted there", what);
    td_status status =
        ir_constant_read_i64(reader->context, input->constant, capacity, values, count);
    return status == TD_OK ? TD_OK : td_fail_within(reader->context, status, "%s", what);
}

td_status ov_normal_axis(ov_reader *reader, int64_t axis, uint32_t rank, int64_t *normal)
{
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return td_fail(reader->context, TD_INVALID,
                       "axis %" PRId64 " is outside of %u dimensions; -%u to %d are accepted", axis,
                       rank, rank, (int)rank - 1);
    *normal = axis < 0 ? axis + rank : axis;
    return TD_OK;
}

td_status ov_input_axis(ov_reader *reader, const ir_value *input, uint32_t rank, int64_t *axis)
{
    int64_t value;
    size_t count;
    TD_TRY(ov_input_ints(reader, input, "the axis", 1, &value, &count));
    if (count != 1)
        return td_fail(reader->context, TD_INVALID, "the axis has no value; one is expected");
    return ov_normal_axis(reader, value, rank, axis);
}

td_status ov_add_node(ov_reader *reader, const ov_layer *layer, ir_opcode op, size_t input_count,
                      ir_value *const *inputs, ir_node **node)
{
    return ir_graph_add_node(reader->graph, op, layer->name, input_count, inputs, 1, node);
}

td_status ov_finish(ir_node *node, ir_value **output)
{
    TD_TRY(ir_node_infer(node));
    *output = node->outputs[0];
    return TD_OK;
}

static td_status add_unary(ov_reader *reader, const ov_layer *layer, ir_opcode op, ir_value *input,
                           ir_value **output)
{
    ir_node *node;
    TD_TRY(ov_add_node(reader, layer, op, 1, &input, &node));
    return ov_finish(node, output);
}

static td_status add_binary(ov_reader *reader, const ov_layer *layer, ir_opcode op, ir_value *a,
                            ir_value *b, ir_value **output)
{
    ir_node *node;
    TD_TRY(ov_add_node(reader, layer, op, 2, (ir_value *[]){a, b}, &node));
    return ov_finish(node, output);
}

td_status ov_add_convert(ov_reader *reader, const ov_layer *layer, ir_value *input, ir_type type,
                         ir_value **output)
{
    ir_node *node;
    TD_TRY(ov_add_node(reader, layer, IR_OP_convert, 1, &input, &node));
    TD_TRY(ir_node_set_string(node, "type", ir_type_name(type)));
    return ov_finish(node, output);
}

/* --- arithmetic --- */

static td_status convert_unary(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    return add_unary(reader, layer, ov_operation_of(layer)->op, inputs[0], &outputs[0]);
}

/* auto_broadcast "none" asks for equal shapes, where numpy's rule says the same. */
static td_status check_broadcast(ov_reader *reader, const ov_layer *layer)
{
    const char *rule = ov_layer_attribute(layer, "auto_broadcast", "numpy");
    if (strcasecmp(rule, "numpy") != 0 && strcasecmp(rule, "none") != 0)
        return ov_refuse(reader, "auto_broadcast is \"%.40s\"; numpy and none are accepted", rule);
    return TD_OK;
}

static td_status convert_binary(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    TD_TRY(check_broadcast(reader, layer));
    return add_binary(reader, layer, ov_operation_of(layer)->op, inputs[0], inputs[1], &outputs[0]);
}

static td_status convert_divide(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    bool floors;
    ir_node *node;
    TD_TRY(check_broadcast(reader, layer));
    TD_TRY(ov_bool(reader, layer, "m_pythondiv", true, &floors));
    TD_TRY(ov_add_node(reader, layer, IR_OP_divide, 2, inputs, &node));
    if (floors && !ir_type_is_float(inputs[0]->type))
        TD_TRY(ir_node_set_int(node, "floor", 1));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_select(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    ir_node *node;
    TD_TRY(check_broadcast(reader, layer));
    TD_TRY(ov_add_node(reader, layer, IR_OP_select, 3, inputs, &node));
    return ov_finish(node, &outputs[0]);
}

/* Integers are whole already. */
static td_status convert_floor(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    if (ir_type_is_float(inputs[0]->type))
        return add_unary(reader, layer, IR_OP_floor, inputs[0], &outputs[0]);
    outputs[0] = inputs[0];
    return TD_OK;
}

static td_status convert_convert(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                 ir_value **outputs)
{
    const char *name = ov_layer_attribute(layer, "destination_type", "");
    ir_type type;
    if (!ov_element_type(name, &type))
        return ov_refuse(reader, "destination_type \"%.40s\" is not imported", name);
    if (type == inputs[0]->type) {
        outputs[0] = inputs[0];
        return TD_OK;
    }
    return ov_add_convert(reader, layer, inputs[0], type, &outputs[0]);
}

/* Swish(x, beta) = x * sigmoid(beta * x). */
static td_status convert_swish(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                               ir_value **outputs)
{
    if (layer->input_count == 1)
        return add_unary(reader, layer, IR_OP_silu, inputs[0], &outputs[0]);
    ir_value *scaled, *gate;
    TD_TRY(add_binary(reader, layer, IR_OP_multiply, inputs[0], inputs[1], &scaled));
    TD_TRY(add_unary(reader, layer, IR_OP_sigmoid, scaled, &gate));
    return add_binary(reader, layer, IR_OP_multiply, inputs[0], gate, &outputs[0]);
}

/* --- products and reductions --- */

static td_status convert_matmul(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    bool transpose_a, transpose_b;
    ir_node *node;
    TD_TRY(ov_bool(reader, layer, "transpose_a", false, &transpose_a));
    TD_TRY(ov_bool(reader, layer, "transpose_b", false, &transpose_b));
    TD_TRY(ov_add_node(reader, layer, IR_OP_matmul, 2, inputs, &node));
    TD_TRY(ir_node_set_int(node, "transpose_a", transpose_a));
    TD_TRY(ir_node_set_int(node, "transpose_b", transpose_b));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_reduce(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    int64_t axes[IR_MAX_RANK];
    size_t count;
    bool keep;
    ir_node *node;
    TD_TRY(ov_input_ints(reader, inputs[1], "the list of axes", IR_MAX_RANK, axes, &count));
    for (size_t i = 0; i < count; i++)
        TD_TRY(ov_normal_axis(reader, axes[i], inputs[0]->shape.rank, &axes[i]));
    TD_TRY(ov_bool(reader, layer, "keep_dims", false, &keep));
    TD_TRY(ov_add_node(reader, layer, ov_operation_of(layer)->op, 1, inputs, &node));
    TD_TRY(ir_node_set_ints(node, "axes", count, axes));
    TD_TRY(ir_node_set_int(node, "keep", keep));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_softmax(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                 ir_value **outputs)
{
    int64_t axis;
    ir_node *node;
    TD_TRY(ov_int(reader, layer, "axis", 1, &axis));
    TD_TRY(ov_normal_axis(reader, axis, inputs[0]->shape.rank, &axis));
    TD_TRY(ov_add_node(reader, layer, IR_OP_softmax, 1, inputs, &node));
    TD_TRY(ir_node_set_int(node, "axis", axis));
    return ov_finish(node, &outputs[0]);
}

static td_status convert_attention(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                   ir_value **outputs)
{
    bool causal;
    ir_node *node;
    TD_TRY(ov_bool(reader, layer, "causal", false, &causal));
    TD_TRY(ov_add_node(reader, layer, IR_OP_attention, layer->input_count, inputs, &node));
    TD_TRY(ir_node_set_int(node, "causal", causal));
    return ov_finish(node, &outputs[0]);
}

/* --- states --- */

static td_status find_or_add_state(ov_reader *reader, const ov_layer *layer, const char *name,
                                   const ir_value *initial)
{
    if (ir_module_find_state(reader->module, name) != NULL)
        return TD_OK;
    const char *type = ov_layer_attribute(layer, "variable_type", NULL);
    const char *shape = ov_layer_attribute(layer, "variable_shape", NULL);
    ir_state state = {.name = name, .kind = IR_STATE_PLAIN, .type = IR_F32}, *added;
    int64_t dims[64];
    uint32_t rank;
    if (initial != NULL)
        state.type = initial->type, state.shape = initial->shape;
    if (initial == NULL && (type == NULL || shape == NULL))
        return ov_refuse(reader,
                         "state \"%.80s\" has neither variable_type and variable_shape nor "
                         "an initial value",
                         name);
    if (type != NULL && strcmp(type, "dynamic") != 0 && !ov_element_type(type, &state.type))
        return ov_refuse(reader, "variable_type \"%.40s\" is not imported", type);
    if (shape != NULL) {
        if (!ov_parse_shape(shape, TD_COUNT_OF(dims), dims, &rank))
            return td_fail(reader->context, TD_INVALID,
                           "variable_shape is \"%.80s\"; a list of dimensions is expected", shape);
        TD_TRY(ov_make_shape(reader, dims, rank, &state.shape));
    }
    return ir_module_add_state(reader->module, &state, &added);
}

static td_status state_name(ov_reader *reader, const ov_layer *layer, const char **name)
{
    *name = ov_layer_attribute(layer, "variable_id", NULL);
    if (*name == NULL)
        return td_fail(reader->context, TD_INVALID, "attribute variable_id is missing");
    return TD_OK;
}

static td_status convert_read_value(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                    ir_value **outputs)
{
    const char *name;
    ir_node *node;
    TD_TRY(state_name(reader, layer, &name));
    TD_TRY(find_or_add_state(reader, layer, name, layer->input_count > 0 ? inputs[0] : NULL));
    TD_TRY(ov_add_node(reader, layer, IR_OP_read_state, layer->input_count, inputs, &node));
    TD_TRY(ir_node_set_string(node, "state", name));
    return ov_finish(node, &outputs[0]);
}

/* The output of Assign, which nobody reads in real files, is what was assigned. */
static td_status convert_assign(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    const char *name;
    ir_node *node;
    TD_TRY(state_name(reader, layer, &name));
    if (ir_module_find_state(reader->module, name) == NULL)
        return td_fail(reader->context, TD_INVALID,
                       "no ReadValue has variable_id \"%.80s\"; each Assign needs one", name);
    TD_TRY(ir_graph_add_node(reader->graph, IR_OP_write_state, layer->name, 1, inputs, 0, &node));
    TD_TRY(ir_node_set_string(node, "state", name));
    TD_TRY(ir_node_infer(node));
    if (layer->output_count > 0)
        outputs[0] = inputs[0];
    return TD_OK;
}

/* --- the table --- */

#define UNARY(type, op)                                                                            \
    {                                                                                              \
        type, convert_unary, IR_OP_##op, 1, 1, 1                                                   \
    }
#define BINARY(type, op)                                                                           \
    {                                                                                              \
        type, convert_binary, IR_OP_##op, 2, 2, 1                                                  \
    }
#define REDUCE(type, op)                                                                           \
    {                                                                                              \
        type, convert_reduce, IR_OP_##op, 2, 2, 1                                                  \
    }

static const ov_operation operations[] = {
    BINARY("Add", add),
    BINARY("Subtract", subtract),
    BINARY("Multiply", multiply),
    {"Divide", convert_divide, IR_OP_divide, 2, 2, 1},
    BINARY("Power", power),
    BINARY("Maximum", maximum),
    BINARY("Minimum", minimum),
    BINARY("BitwiseAnd", bitwise_and),
    BINARY("BitwiseOr", bitwise_or),
    BINARY("LogicalAnd", bitwise_and),
    BINARY("LogicalOr", bitwise_or),
    BINARY("Equal", equal),
    BINARY("NotEqual", not_equal),
    BINARY("Less", less),
    BINARY("LessEqual", less_equal),
    BINARY("Greater", greater),
    BINARY("GreaterEqual", greater_equal),
    {"Select", convert_select, IR_OP_select, 3, 3, 1},
    UNARY("Negative", negate),
    UNARY("LogicalNot", logical_not),
    UNARY("Abs", absolute),
    UNARY("Sqrt", square_root),
    UNARY("Exp", exponential),
    UNARY("Sin", sine),
    UNARY("Cos", cosine),
    UNARY("Sigmoid", sigmoid),
    {"Floor", convert_floor, IR_OP_floor, 1, 1, 1},
    {"Convert", convert_convert, IR_OP_convert, 1, 1, 1},
    {"Swish", convert_swish, IR_OP_silu, 1, 2, 1},
    {"MatMul", convert_matmul, IR_OP_matmul, 2, 2, 1},
    REDUCE("ReduceMean", reduce_mean),
    REDUCE("ReduceSum", reduce_sum),
    REDUCE("ReduceProd", reduce_product),
    REDUCE("ReduceMax", reduce_maximum),
    {"Softmax", convert_softmax, IR_OP_softmax, 1, 1, 1},
    {"ScaledDotProductAttention", convert_attention, IR_OP_attention, 3, 5, 1},
    {"ReadValue", convert_read_value, IR_OP_read_state, 0, 1, 1},
    {"Assign", convert_assign, IR_OP_write_state, 1, 1, OV_ANY_NUMBER},
};

/* An operation set of OpenVINO; "extension" and the like define other operations. */
static bool is_opset(const char *version)
{
    return *version == '\0' || strncmp(version, "opset", 5) == 0;
}

static const ov_operation *find(const ov_operation *table, size_t count, const ov_layer *layer)
{
    for (size_t i = 0; i < count; i++)
        if (ov_layer_is(layer, table[i].type))
            return &table[i];
    return NULL;
}

const ov_operation *ov_operation_of(const ov_layer *layer)
{
    if (!is_opset(layer->version))
        return NULL;
    const ov_operation *found = find(operations, TD_COUNT_OF(operations), layer);
    size_t count;
    const ov_operation *movement = ov_movement_operations(&count);
    return found != NULL ? found : find(movement, count, layer);
}
