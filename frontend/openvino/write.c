/* Raised module -> OpenVINO IR, version 11, stateful, as optimum-intel exports decoders.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"
#include "frontend/openvino/facts.h"
#include "frontend/openvino/write_graph.h"

#include <inttypes.h>

/* --- inputs --- */

static ov_out add_parameter(ov_graph *graph, const char *name, ir_type type, uint32_t rank)
{
    const int64_t dims[] = {OV_UNKNOWN, OV_UNKNOWN};
    ov_layer_form form = {
        .type = "Parameter",
        .version = "opset1",
        .name = name,
        .attributes = {"shape", ov_shape_text(&graph->writer, rank, dims), "element_type",
                       ir_type_name(type)},
        .has_output = true,
        .output = {.type = type, .rank = rank, .dim = {OV_UNKNOWN, OV_UNKNOWN}},
        .tensor_name = name,
    };
    return ov_add_layer(&graph->writer, &form);
}

static void add_inputs(ov_graph *graph)
{
    const int64_t first = 0;
    graph->prefix = "inputs";
    graph->input_ids = add_parameter(graph, "input_ids", IR_I64, 2);
    graph->attention_mask = add_parameter(graph, "attention_mask", IR_I64, 2);
    graph->position_ids = add_parameter(graph, "position_ids", IR_I64, 2);
    graph->beam_idx = add_parameter(graph, "beam_idx", IR_I32, 1);
    ov_out shape = ov_shape_of(graph, graph->input_ids);
    graph->batch = ov_gather(graph, shape, ov_i64s(graph, 1, &first), 0);
}

/* --- nodes --- */

static void set_rows(ov_activation *result, ov_out rows)
{
    result->rows = rows;
    result->has_rows = true;
}

static void write_embed(ov_graph *graph, const ir_node *node, ov_activation *result)
{
    ov_out table = ov_weight_of(graph, node->inputs[0]->constant);
    ov_out ids = ov_convert(graph, graph->input_ids, IR_I32, false);
    set_rows(result, ov_gather(graph, table, ids, 0));
}

/* x * (1 / sqrt(mean(x^2) + epsilon)) * weight, over all features or over each head */
static void write_rms_norm(ov_graph *graph, const ir_node *node, ov_activation *result)
{
    ov_activation *input = ov_activation_of(graph, node->inputs[0]);
    const ir_constant *weight = node->inputs[1]->constant;
    int64_t size = weight->shape.dim[0].constant;
    bool per_head = size != input->features;
    ov_out x = per_head ? ov_split(graph, input, size) : ov_rows(graph, input);
    const int64_t last = -1;
    ov_out square = ov_binary(graph, "Power", x, ov_f32(graph, x.rank, 2.0f));
    ov_layer_form mean = {
        .type = "ReduceMean",
        .version = "opset1",
        .name = ov_format(&graph->writer, "%.200s/ReduceMean", node->name),
        .attributes = {"keep_dims", "true"},
        .input_count = 2,
        .inputs = (ov_out[]){square, ov_i64s(graph, 1, &last)},
        .has_output = true,
        .output = square,
    };
    mean.output.dim[square.rank - 1] = 1;
    ov_out sum = ov_add_layer(&graph->writer, &mean);
    float epsilon = (float)ir_node_float(node, "epsilon", 0.0);
    sum = ov_binary(graph, "Add", sum, ov_f32(graph, x.rank, epsilon));
    ov_out root = ov_unary(graph, "Sqrt", "opset1", sum);
    ov_out inverse = ov_binary(graph, "Divide", ov_f32(graph, x.rank, 1.0f), root);
    ov_out normal = ov_binary(graph, "Multiply", x, inverse);
    ov_out scaled = ov_binary(graph, "Multiply", ov_vector_of(graph, weight, x.rank), normal);
    if (!per_head) {
        set_rows(result, scaled);
        return;
    }
    result->split = scaled;
    result->has_split = true;
    result->size = size;
}

static void write_linear(ov_graph *graph, const ir_node *node, ov_activation *result)
{
    ov_out x = ov_rows(graph, ov_activation_of(graph, node->inputs[0]));
    ov_out weight = ov_weight_of(graph, node->inputs[1]->constant);
    bool is_output = graph->graph->outputs[0] == node->outputs[0];
    bool biased = node->input_count > 2;
    x = ov_matmul(graph, x, weight, true, is_output && !biased ? "logits" : NULL);
    if (biased)
        x = ov_binary(graph, "Add", x, ov_vector_of(graph, node->inputs[2]->constant, 3));
    set_rows(result, x);
}

static void write_binary(ov_graph *graph, const ir_node *node, const char *type,
                         ov_activation *result)
{
    ov_out a = ov_rows(graph, ov_activation_of(graph, node->inputs[0]));
    ov_out b = ov_rows(graph, ov_activation_of(graph, node->inputs[1]));
    if (node->op == IR_OP_gated_silu)
        a = ov_unary(graph, "Swish", "opset4", a);
    set_rows(result, ov_binary(graph, type, a, b));
}

/* Activations come from nodes, weights from constants: nothing else has a counterpart. */
static td_status check_inputs(ov_graph *graph, const ir_node *node)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        bool weight =
            (node->op == IR_OP_embed && i == 0) || (node->op == IR_OP_rms_norm && i == 1) ||
            (node->op == IR_OP_linear && i > 0) || (node->op == IR_OP_rotary_table && i == 1);
        if (weight != (node->inputs[i]->kind == IR_VALUE_CONSTANT))
            return td_fail(graph->writer.context, TD_UNSUPPORTED,
                           "layer \"%s\" (%s): operand %" PRIu32 " must be %s to be written as "
                           "OpenVINO IR",
                           node->name, ir_op(node->op)->name, i,
                           weight ? "a constant" : "no constant");
    }
    return TD_OK;
}

static td_status write_node(ov_graph *graph, const ir_node *node)
{
    ov_activation *result = ov_activation_of(graph, node->outputs[0]);
    TD_TRY(check_inputs(graph, node));
    graph->prefix = node->name;
    result->features = node->outputs[0]->shape.dim[1].constant;
    switch (node->op) {
    case IR_OP_embed:
        write_embed(graph, node, result);
        break;
    case IR_OP_rms_norm:
        write_rms_norm(graph, node, result);
        break;
    case IR_OP_linear:
        write_linear(graph, node, result);
        break;
    case IR_OP_rotary_table: /* written when a rope asks for it */
        break;
    case IR_OP_rope:
        TD_TRY(ov_write_rope(graph, node, result));
        break;
    case IR_OP_cached_attention:
        TD_TRY(ov_write_attention(graph, node, result));
        break;
    case IR_OP_select_rows: /* the document computes all rows */
        *result = *ov_activation_of(graph, node->inputs[0]);
        break;
    case IR_OP_add:
        write_binary(graph, node, "Add", result);
        break;
    case IR_OP_multiply:
    case IR_OP_gated_silu:
        write_binary(graph, node, "Multiply", result);
        break;
    case IR_OP_silu:
        set_rows(result, ov_unary(graph, "Swish", "opset4",
                                  ov_rows(graph, ov_activation_of(graph, node->inputs[0]))));
        break;
    default:
        return td_fail(graph->writer.context, TD_UNSUPPORTED,
                       "layer \"%s\": %s has no form in OpenVINO IR that Tandem writes", node->name,
                       ir_op(node->op)->name);
    }
    return graph->writer.status;
}

/* --- results --- */

/* `name` is the layer's and `output` the result's: no two layers share a name. */
static void add_result(ov_graph *graph, const char *name, const char *output, ov_out value)
{
    ov_layer_form result = {
        .type = "Result",
        .version = "opset1",
        .name = name,
        .attributes = {"output_names", output},
        .input_count = 1,
        .inputs = &value,
    };
    ov_add_layer(&graph->writer, &result);
}

static void add_sinks(ov_graph *graph, ov_out logits)
{
    for (size_t i = 0; i < graph->assignments.count; i++) {
        const ov_assignment *assignment = &graph->assignments.items[i];
        ov_layer_form form = {
            .type = "Assign",
            .version = "opset6",
            .name = ov_format(&graph->writer, "Assign_%" PRIu32, graph->writer.layers),
            .attributes = {"variable_id", assignment->variable},
            .input_count = 1,
            .inputs = &assignment->value,
            .has_output = true,
            .output = assignment->value,
        };
        ov_add_layer(&graph->writer, &form);
    }
    add_result(graph, "logits", "logits", logits);
}

/* The map of a trimmed head: what is to be added to a column for its id. */
static td_status add_head_ids(ov_graph *graph, const fe_model *model)
{
    ir_module *module = model->module;
    const int64_t count = model->head_count;
    const ir_shape shape = ir_shape_of(1, &count);
    ir_constant *constant;
    if (model->head_ids == NULL)
        return TD_OK;
    int64_t *offsets = td_arena_allocate(&module->arena, model->head_count, sizeof *offsets);
    if (offsets == NULL)
        return td_fail_memory(module->context);
    for (uint32_t j = 0; j < model->head_count; j++)
        offsets[j] = (int64_t)model->head_ids[j] - j;
    TD_TRY(ir_module_add_constant_bytes(module, OV_HEAD_IDS, IR_I64, &shape, offsets, &constant));
    add_result(graph, "head_ids", OV_HEAD_IDS,
               ov_add_stored(&graph->writer, OV_HEAD_IDS, constant, 1, &count));
    return graph->writer.status;
}

static td_status write_graph(ov_graph *graph)
{
    add_inputs(graph);
    for (const ir_node *node = graph->graph->first; node != NULL; node = node->next)
        TD_TRY(write_node(graph, node));
    add_sinks(graph, ov_rows(graph, ov_activation_of(graph, graph->graph->outputs[0])));
    return graph->writer.status;
}

static td_status write_model(const fe_model *model, const char *path, ov_graph *graph)
{
    ov_fact facts[3 + FE_FURTHER_ENDS] = {
        {"context_length", model->context_length},
        {"bos_token_id", model->bos_id},
        {OV_END_FACT, model->eos_id},
    };
    for (uint32_t i = 0; i < model->further_end_count; i++)
        facts[3 + i] = (ov_fact){OV_END_FACT, model->further_end_ids[i]};
    TD_TRY(ov_writer_open(model->module->context, path, &graph->writer));
    TD_TRY(write_graph(graph));
    TD_TRY(add_head_ids(graph, model));
    return ov_writer_commit(&graph->writer, 3 + model->further_end_count, facts);
}

td_status fe_write_openvino(const fe_model *model, const char *path)
{
    td_context *context = model->module->context;
    ir_graph *forward = ir_module_find_graph(model->module, "forward");
    if (!model->raised || forward == NULL || forward->output_count != 1)
        return td_fail(context, TD_UNSUPPORTED,
                       "%s: only a raised decoder with one result can be written", path);
    ir_graph_number(forward);
    ov_graph graph = {.graph = forward};
    graph.activations =
        td_allocate(context, (forward->value_count + 1) * sizeof *graph.activations);
    if (graph.activations == NULL)
        return td_fail_memory(context);
    td_status status = write_model(model, path, &graph);
    ov_writer_release(&graph.writer);
    td_array_release(context, &graph.tables);
    td_array_release(context, &graph.masks);
    td_array_release(context, &graph.weights);
    td_array_release(context, &graph.assignments);
    td_release(context, graph.activations);
    return status;
}
