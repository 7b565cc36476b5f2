/* The verifier: structure of every graph, then types and shapes inferred again and compared.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/infer.h"

#include <inttypes.h>

/* What is needed while one graph is looked at. */
typedef struct verifier {
    const ir_module *module;
    ir_graph *graph;
    ir_node **nodes; /* by position in the list; node->id is set to it */
    uint32_t node_count;
    ir_value *kept; /* types and shapes of a node's outputs while they are inferred again */
} verifier;

#define FAIL(verifier, ...)                                                                        \
    td_fail_within((verifier)->module->context,                                                    \
                   td_fail((verifier)->module->context, TD_INTERNAL, __VA_ARGS__),                 \
                   "verifier: graph \"%s\"", (verifier)->graph->name)

static bool dim_is_sound(const ir_module *module, const ir_dim *dim)
{
    if (dim->terms > IR_MAX_TERMS || (dim->terms == 0 && dim->constant < 0))
        return false;
    for (uint32_t i = 0; i < dim->terms; i++)
        if (dim->term[i].symbol >= module->symbols.count || dim->term[i].factor == 0 ||
            (i > 0 && dim->term[i].symbol <= dim->term[i - 1].symbol))
            return false;
    return true;
}

static bool shape_is_sound(const ir_module *module, const ir_shape *shape)
{
    if (shape->rank > IR_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (!dim_is_sound(module, &shape->dim[i]))
            return false;
    return true;
}

/* --- structure --- */

/* Links agree in both directions (so the list has no cycle), and each node belongs here. */
static td_status check_list(verifier *self)
{
    size_t count = 0, outputs = 0;
    const ir_node *previous = NULL;
    for (const ir_node *node = self->graph->first; node != NULL; node = node->next) {
        if (node->previous != previous || node->graph != self->graph)
            return FAIL(self, "layer \"%s\" is linked wrongly or belongs to another graph",
                        node->name);
        outputs = outputs < node->output_count ? node->output_count : outputs;
        previous = node;
        count++;
    }
    if (self->graph->last != previous || count > UINT32_MAX)
        return FAIL(self, "the end of the list of nodes is wrong");
    td_context *context = self->module->context;
    self->nodes = td_allocate(context, (count + 1) * sizeof(ir_node *));
    self->kept = td_allocate(context, (outputs + 1) * sizeof(ir_value));
    if (self->nodes == NULL || self->kept == NULL)
        return td_fail_memory(context);
    for (ir_node *node = self->graph->first; node != NULL; node = node->next) {
        node->id = self->node_count;
        self->nodes[self->node_count++] = node;
    }
    return TD_OK;
}

static bool constant_is_owned(const ir_module *module, const ir_constant *constant)
{
    return constant->index < module->constants.count &&
           module->constants.items[constant->index] == constant;
}

/* A value that `reader` reads (NULL: the graph's end) belongs to this graph and exists by then. */
static const char *value_fault(const verifier *self, const ir_value *value, const ir_node *reader)
{
    const ir_graph *graph = self->graph;
    if (value == NULL)
        return "is missing";
    if (value->kind == IR_VALUE_INPUT)
        return value->output < graph->input_count && graph->inputs[value->output] == value
                   ? NULL
                   : "is an input of another graph";
    if (value->kind == IR_VALUE_CONSTANT) {
        const ir_constant *constant = value->constant;
        if (constant == NULL || !constant_is_owned(self->module, constant))
            return "reads a constant that the module does not hold";
        ir_type type = constant->scale != NULL ? IR_F32 : constant->type;
        return value->type == type && ir_shape_equal(&value->shape, &constant->shape)
                   ? NULL
                   : "differs from its constant in type or shape";
    }
    const ir_node *producer = value->producer;
    if (producer == NULL || producer->graph != graph || producer->id >= self->node_count ||
        self->nodes[producer->id] != producer)
        return "is made by a node that is not in the graph";
    if (value->output >= producer->output_count || producer->outputs[value->output] != value)
        return "is not among the outputs of its producer";
    if (reader != NULL && producer->id >= reader->id)
        return "is made later than it is read (the order is not topological)";
    return NULL;
}

static td_status check_node(const verifier *self, const ir_node *node)
{
    const ir_op_info *info = ir_op(node->op);
    if (info == NULL)
        return FAIL(self, "layer \"%s\": operation number %d is not in the op table", node->name,
                    (int)node->op);
    if (node->input_count < (uint32_t)info->min_inputs ||
        (info->max_inputs >= 0 && node->input_count > (uint32_t)info->max_inputs) ||
        (info->outputs >= 0 && node->output_count != (uint32_t)info->outputs))
        return FAIL(self,
                    "layer \"%s\" (%s) has %" PRIu32 " inputs and %" PRIu32
                    " outputs, which is not its arity",
                    node->name, info->name, node->input_count, node->output_count);
    for (uint32_t i = 0; i < node->input_count; i++) {
        const char *fault = value_fault(self, node->inputs[i], node);
        if (fault != NULL)
            return FAIL(self, "layer \"%s\" (%s): input %" PRIu32 " %s", node->name, info->name,
                        i + 1, fault);
    }
    for (uint32_t i = 0; i < node->output_count; i++) {
        const ir_value *value = node->outputs[i];
        if (value == NULL || value->kind != IR_VALUE_RESULT || value->producer != node ||
            value->output != i || (unsigned)value->type >= IR_TYPE_COUNT ||
            !shape_is_sound(self->module, &value->shape))
            return FAIL(self, "layer \"%s\" (%s): output %" PRIu32 " is malformed", node->name,
                        info->name, i + 1);
    }
    return TD_OK;
}

/* --- types and shapes --- */

static bool shape_agrees(const ir_module *module, const ir_shape *stored, const ir_shape *inferred)
{
    if (stored->rank != inferred->rank)
        return false;
    for (uint32_t i = 0; i < stored->rank; i++) {
        if (ir_dim_mentions(&inferred->dim[i], IR_SYMBOL_ANY))
            continue;
        ir_dim a = ir_module_dim_resolve(module, &stored->dim[i]);
        ir_dim b = ir_module_dim_resolve(module, &inferred->dim[i]);
        if (!ir_dim_equal(&a, &b))
            return false;
    }
    return true;
}

static td_status compare(const verifier *self, const ir_node *node)
{
    for (uint32_t i = 0; i < node->output_count; i++) {
        const ir_value *stored = &self->kept[i], *inferred = node->outputs[i];
        if (stored->type != inferred->type ||
            !shape_agrees(self->module, &stored->shape, &inferred->shape))
            return FAIL(self,
                        "layer \"%s\" (%s): output %" PRIu32 " is %s%s but its inputs make "
                        "it %s%s",
                        node->name, ir_op(node->op)->name, i + 1, ir_type_name(stored->type),
                        ir_shape_describe(self->module, &stored->shape).text,
                        ir_type_name(inferred->type),
                        ir_shape_describe(self->module, &inferred->shape).text);
    }
    return TD_OK;
}

static td_status check_inference(const verifier *self, ir_node *node)
{
    for (uint32_t i = 0; i < node->output_count; i++)
        self->kept[i] = *node->outputs[i];
    ir_module *module = node->graph->module;
    module->verifying = true;
    td_status status = ir_node_infer(node);
    module->verifying = false;
    if (status == TD_OK)
        status = compare(self, node);
    else if (status != TD_NO_MEMORY)
        status = td_fail_within(module->context, TD_INTERNAL, "verifier");
    for (uint32_t i = 0; i < node->output_count; i++)
        *node->outputs[i] = self->kept[i];
    return status;
}

static td_status check_graph(verifier *self)
{
    const ir_graph *graph = self->graph;
    TD_TRY(check_list(self));
    for (size_t i = 0; i < graph->input_count; i++) {
        const ir_value *input = graph->inputs[i];
        if (input == NULL || input->kind != IR_VALUE_INPUT || input->output != i ||
            (unsigned)input->type >= IR_TYPE_COUNT || !shape_is_sound(self->module, &input->shape))
            return FAIL(self, "input %zu is malformed", i + 1);
    }
    for (uint32_t i = 0; i < self->node_count; i++) {
        TD_TRY(check_node(self, self->nodes[i]));
        TD_TRY(check_inference(self, self->nodes[i]));
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        const char *fault = value_fault(self, graph->outputs[i], NULL);
        if (fault != NULL)
            return FAIL(self, "output \"%s\" %s", graph->output_names[i], fault);
    }
    return TD_OK;
}

/* --- the module --- */

static td_status check_module(const ir_module *module)
{
    td_context *context = module->context;
    for (size_t i = 0; i < module->constants.count; i++) {
        const ir_constant *constant = module->constants.items[i];
        /* Scales and zero points come first, so that the text form can name them. */
        bool ordered = (constant->scale == NULL || constant->scale->index < i) &&
                       (constant->zero_point == NULL || constant->zero_point->index < i);
        if (constant->index != i || !ordered ||
            (constant->scale != NULL && !constant_is_owned(module, constant->scale)) ||
            (constant->zero_point != NULL && !constant_is_owned(module, constant->zero_point)))
            return td_fail(context, TD_INTERNAL,
                           "verifier: constant \"%s\" has a wrong number, or a scale or zero point "
                           "that the module does not hold",
                           constant->name);
    }
    for (size_t i = 0; i < module->states.count; i++) {
        const ir_state *state = module->states.items[i];
        bool sound = state->kind == IR_STATE_CACHE ? state->kv_heads > 0 && state->head_size > 0
                                                   : shape_is_sound(module, &state->shape);
        if (!sound)
            return td_fail(context, TD_INTERNAL,
                           "verifier: state \"%s\" has a malformed shape or no heads", state->name);
    }
    for (size_t i = 0; i < module->symbols.count; i++) {
        const ir_symbol_info *info = &module->symbols.items[i];
        if (info->forwarded && !dim_is_sound(module, &info->forward))
            return td_fail(context, TD_INTERNAL,
                           "verifier: symbol \"%s\" is unified with a malformed dimension",
                           info->name);
    }
    return TD_OK;
}

td_status ir_verify(const ir_module *module)
{
    TD_TRY(check_module(module));
    for (size_t i = 0; i < module->graphs.count; i++) {
        verifier self = {.module = module, .graph = module->graphs.items[i]};
        td_status status = check_graph(&self);
        td_release(module->context, self.nodes);
        td_release(module->context, self.kept);
        TD_TRY(status);
    }
    return TD_OK;
}
