/* OpenVINO IR to the imported form: core ops and plain states, one graph called "imported".
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <inttypes.h>
#include <string.h>

/* Bounds of the symbols when the options leave them open. */
enum { DEFAULT_TOKENS = 64, DEFAULT_CONTEXT = 2048 };

static td_status within_layer(ov_reader *reader, const ov_layer *layer, td_status status)
{
    if (status == TD_OK || status == TD_NO_MEMORY)
        return status;
    return td_fail_within(reader->context, status, "%s: layer %" PRIu64 " \"%.100s\" (%.40s)",
                          reader->document.path, layer->id, layer->name, layer->type);
}

/* --- operations that are not imported --- */

typedef struct unknown_type {
    const ov_layer *first;
    size_t count;
} unknown_type;

static bool is_imported(const ov_layer *layer)
{
    return ov_layer_is(layer, "Const") || ov_layer_is(layer, "Parameter") ||
           ov_layer_is(layer, "Result") || ov_operation_of(layer) != NULL;
}

/* All of them in one sentence: how many of each type, and the first layer of each. */
static td_status list_unknown(ov_reader *reader, const unknown_type *types, size_t count)
{
    td_context *context = reader->context;
    td_text text;
    td_text_init(&text, context);
    size_t shown = 0;
    for (; shown < count && text.length < 700; shown++)
        td_text_printf(&text, "%s%.40s (%zu, first layer %" PRIu64 " \"%.60s\")",
                       shown > 0 ? ", " : "", types[shown].first->type, types[shown].count,
                       types[shown].first->id, types[shown].first->name);
    if (shown < count)
        td_text_printf(&text, " and %zu more types", count - shown);
    td_status status =
        text.failed
            ? td_fail_memory(context)
            : td_fail(context, TD_UNSUPPORTED,
                      "%s: operations that are not imported: %s; --summary lists such a graph",
                      reader->document.path, text.data == NULL ? "" : text.data);
    td_text_release(&text);
    return status;
}

static td_status refuse_unknown(ov_reader *reader)
{
    TD_ARRAY(unknown_type) types = {0};
    td_map by_type;
    td_map_init(&by_type, reader->context);
    td_status status = TD_OK;
    for (uint32_t i = 0; i < reader->order_count && status == TD_OK; i++) {
        const ov_layer *layer = reader->order[i];
        if (is_imported(layer))
            continue;
        /* The map holds position + 1 in `types`. */
        size_t position = (size_t)(uintptr_t)td_map_get(&by_type, layer->type);
        if (position > 0)
            types.items[position - 1].count++;
        else if (!td_array_push(reader->context, &types,
                                ((unknown_type){.first = layer, .count = 1})) ||
                 !td_map_put(&by_type, layer->type, (void *)(uintptr_t)types.count))
            status = td_fail_memory(reader->context);
    }
    if (status == TD_OK && types.count > 0)
        status = list_unknown(reader, types.items, types.count);
    td_map_release(&by_type);
    td_array_release(reader->context, &types);
    return status;
}

/* --- layers --- */

/* The layer as a node that is only listed, its outputs as the file declares them. */
static td_status convert_opaque(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                ir_value **outputs)
{
    ir_node *node;
    TD_TRY(ir_graph_add_node(reader->graph, IR_OP_opaque, layer->name, layer->input_count, inputs,
                             layer->output_count, &node));
    TD_TRY(ir_node_set_string(node, "type", layer->type));
    for (uint32_t i = 0; i < layer->output_count; i++) {
        const ov_port *port = &layer->outputs[i];
        outputs[i] = node->outputs[i];
        outputs[i]->type = ov_port_type(port);
        TD_TRY(ov_make_shape(reader, port->dims, port->rank, &outputs[i]->shape));
    }
    return ir_node_infer(node);
}

static td_status convert_operation(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                   ir_value **outputs)
{
    const ov_operation *operation = ov_operation_of(layer);
    if (operation == NULL)
        return ov_refuse(reader, "the operation is not imported");
    if (layer->input_count < operation->min_inputs || layer->input_count > operation->max_inputs)
        return td_fail(reader->context, TD_INVALID, "it has %u inputs; %u to %u are expected",
                       layer->input_count, operation->min_inputs, operation->max_inputs);
    if (operation->outputs != OV_ANY_NUMBER && layer->output_count != operation->outputs)
        return td_fail(reader->context, TD_INVALID, "it has %u outputs; %u is expected",
                       layer->output_count, operation->outputs);
    return operation->convert(reader, layer, inputs, outputs);
}

static td_status convert_parameter(ov_reader *reader, const ov_layer *layer, ir_value **outputs)
{
    const char *type_name = ov_layer_attribute(layer, "element_type", "");
    const char *shape_text = ov_layer_attribute(layer, "shape", "");
    const char *name;
    int64_t dims[64];
    uint32_t rank;
    ir_shape shape;
    ir_type type = IR_OPAQUE;
    if (layer->output_count != 1)
        return td_fail(reader->context, TD_INVALID, "a Parameter has one output, this has %u",
                       layer->output_count);
    if (!ov_element_type(type_name, &type) && !reader->options->summary)
        return ov_refuse(reader, "element_type \"%.40s\" is not imported", type_name);
    if (!ov_parse_shape(shape_text, TD_COUNT_OF(dims), dims, &rank))
        return td_fail(reader->context, TD_INVALID,
                       "shape is \"%.80s\"; a list of dimensions is expected", shape_text);
    TD_TRY(ov_make_shape(reader, dims, rank, &shape));
    TD_TRY(ov_first_name(reader, layer->outputs[0].names, layer->name, &name));
    return ir_graph_add_input(reader->graph, name, type, &shape, &outputs[0]);
}

static td_status convert_result(ov_reader *reader, const ov_layer *layer, ir_value **inputs)
{
    const char *name;
    if (layer->input_count != 1)
        return td_fail(reader->context, TD_INVALID, "a Result has one input, this has %u",
                       layer->input_count);
    const ov_port *port = &layer->inputs[0];
    const char *names = layer->output_names != NULL
                            ? layer->output_names
                            : port->driver->outputs[port->driver_port].names;
    TD_TRY(ov_first_name(reader, names, layer->name, &name));
    return ir_graph_add_output(reader->graph, name, inputs[0]);
}

static td_status convert_layer(ov_reader *reader, const ov_layer *layer)
{
    td_arena *arena = &reader->document.arena;
    ir_value **inputs = td_arena_allocate(arena, layer->input_count + 1, sizeof(ir_value *));
    ir_value **outputs = td_arena_allocate(arena, layer->output_count + 1, sizeof(ir_value *));
    if (inputs == NULL || outputs == NULL)
        return td_fail_memory(reader->context);
    for (uint32_t i = 0; i < layer->input_count; i++)
        inputs[i] = reader->values[layer->inputs[i].driver->index][layer->inputs[i].driver_port];
    reader->values[layer->index] = outputs;
    td_status status;
    if (ov_layer_is(layer, "Parameter"))
        return convert_parameter(reader, layer, outputs);
    if (ov_layer_is(layer, "Result"))
        return convert_result(reader, layer, inputs);
    if (!ov_layer_is(layer, "Const"))
        status = convert_operation(reader, layer, inputs, outputs);
    else if (layer->output_count != 1 || layer->input_count != 0)
        status = td_fail(reader->context, TD_INVALID, "a Const has one output and no input");
    else
        status = ov_convert_const(reader, layer, &outputs[0]);
    /* Nodes that a failed conversion left behind are dead, and removed with the rest. */
    bool listed =
        reader->options->summary &&
        (status == TD_UNSUPPORTED || (status == TD_INVALID && !ov_layer_is(layer, "Const")));
    if (listed)
        status = convert_opaque(reader, layer, inputs, outputs);
    if (status == TD_OK && layer->is_sink && !reader->document.has_sink && layer->output_count > 0)
        status = ir_graph_add_output(reader->graph, layer->name, outputs[0]);
    return status;
}

/* Symbols that language entry points share get their names and bounds before any other. */
static td_status add_language_symbols(ov_reader *reader)
{
    const fe_options *options = reader->options;
    ir_symbol symbol;
    for (uint32_t i = 0; i < reader->order_count; i++) {
        const ov_layer *layer = reader->order[i];
        const char *name;
        if (!ov_layer_is(layer, "Parameter") || layer->output_count != 1)
            continue;
        TD_TRY(ov_first_name(reader, layer->outputs[0].names, layer->name, &name));
        if (strcmp(name, "input_ids") != 0)
            continue;
        TD_TRY(ir_module_add_symbol(reader->module, "tokens",
                                    options->max_tokens > 0 ? options->max_tokens : DEFAULT_TOKENS,
                                    &symbol));
        return ir_module_add_symbol(
            reader->module, "slots",
            options->context_length > 0 ? options->context_length : DEFAULT_CONTEXT, &symbol);
    }
    return TD_OK;
}

static td_status convert_document(ov_reader *reader)
{
    reader->values = td_arena_allocate(&reader->document.arena, reader->document.layers.count + 1,
                                       sizeof *reader->values);
    if (reader->values == NULL)
        return td_fail_memory(reader->context);
    TD_TRY(add_language_symbols(reader));
    TD_TRY(ov_weights_open(reader));
    TD_TRY(ir_module_add_graph(reader->module, "imported", &reader->graph));
    for (uint32_t i = 0; i < reader->order_count; i++)
        TD_TRY(within_layer(reader, reader->order[i], convert_layer(reader, reader->order[i])));
    return ir_graph_remove_dead(reader->graph);
}

static td_status read_document(ov_reader *reader, const char *path)
{
    td_file file;
    TD_TRY(td_file_map(reader->context, path, &file));
    td_status status = ov_document_read(reader->context, &file, &reader->document);
    td_file_unmap(reader->context, &file);
    if (status == TD_OK)
        reader->document.path = path;
    return status;
}

static td_status read_module(ov_reader *reader)
{
    TD_TRY(ov_document_order(&reader->document, &reader->order, &reader->order_count));
    if (!reader->options->summary)
        TD_TRY(refuse_unknown(reader));
    if (!reader->options->summary && !reader->document.has_sink)
        return td_fail(reader->context, TD_INVALID,
                       "%s: the graph has neither a Result nor an Assign, so that it computes "
                       "nothing; --summary lists it",
                       reader->document.path);
    TD_TRY(ir_module_create(reader->context, reader->document.name, &reader->module));
    td_status status = convert_document(reader);
    if (status != TD_OK)
        ir_module_release(reader->module);
    return status;
}

/* Completes the facts, and bounds the context by what the model was made for. */
static td_status settle_facts(ov_reader *reader, fe_options *options)
{
    ov_facts *facts = &reader->document.facts;
    TD_TRY(ov_facts_read_configs(reader->context, reader->document.path, facts));
    if (facts->context_length <= 0)
        return TD_OK;
    if (options->context_length > facts->context_length)
        return td_fail(reader->context, TD_INVALID,
                       "%s: a context of %u tokens was asked for, the model was made for %" PRId64,
                       reader->document.path, options->context_length, facts->context_length);
    if (options->context_length == 0)
        options->context_length = (uint32_t)facts->context_length;
    return TD_OK;
}

td_status ov_read(td_context *context, const char *path, const fe_options *options, ov_facts *facts,
                  ir_module **module)
{
    fe_options bounded = *options;
    ov_reader reader = {.context = context, .options = &bounded};
    TD_TRY(read_document(&reader, path));
    td_status status = settle_facts(&reader, &bounded);
    if (status == TD_OK)
        status = read_module(&reader);
    if (status == TD_OK) {
        *facts = reader.document.facts;
        *module = reader.module;
    }
    ov_document_release(&reader.document);
    return status;
}

td_status fe_read_openvino(td_context *context, const char *path, const fe_options *options,
                           ir_module **module)
{
    ov_facts facts;
    return ov_read(context, path, options, &facts, module);
}
