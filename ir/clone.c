/* Copying a graph within its module.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

typedef struct cloner {
    ir_graph *clone;
    ir_value **values; /* by number in the graph that is copied */
} cloner;

static td_status clone_value(cloner *self, const ir_value *from, ir_value **value)
{
    if (self->values[from->id] == NULL) /* results and inputs are there by now */
        TD_TRY(ir_graph_add_constant(self->clone, from->constant, &self->values[from->id]));
    *value = self->values[from->id];
    return TD_OK;
}

static td_status clone_node(cloner *self, const ir_node *from, ir_value **inputs)
{
    ir_node *node = NULL;
    for (uint32_t i = 0; i < from->input_count; i++)
        TD_TRY(clone_value(self, from->inputs[i], &inputs[i]));
    TD_TRY(ir_graph_add_node(self->clone, from->op, from->name, from->input_count, inputs,
                             from->output_count, &node));
    for (uint32_t i = 0; i < from->attribute_count; i++)
        TD_TRY(ir_node_copy_attribute(node, &from->attributes[i]));
    for (uint32_t i = 0; i < from->output_count; i++) {
        node->outputs[i]->type = from->outputs[i]->type;
        node->outputs[i]->shape = from->outputs[i]->shape;
        node->outputs[i]->name = from->outputs[i]->name;
        self->values[from->outputs[i]->id] = node->outputs[i];
    }
    return TD_OK;
}

static td_status clone_all(cloner *self, const ir_graph *from, ir_value **inputs)
{
    for (size_t i = 0; i < from->input_count; i++) {
        const ir_value *input = from->inputs[i];
        TD_TRY(ir_graph_add_input(self->clone, input->name, input->type, &input->shape,
                                  &self->values[input->id]));
    }
    for (const ir_node *node = from->first; node != NULL; node = node->next)
        TD_TRY(clone_node(self, node, inputs));
    for (size_t i = 0; i < from->output_count; i++) {
        ir_value *value = NULL;
        TD_TRY(clone_value(self, from->outputs[i], &value));
        TD_TRY(ir_graph_add_output(self->clone, from->output_names[i], value));
    }
    ir_graph_number(self->clone);
    return TD_OK;
}

td_status ir_graph_clone(ir_graph *from, const char *name, ir_graph **clone)
{
    td_context *context = from->module->context;
    cloner self = {0};
    size_t most_inputs = 0;
    ir_graph_number(from);
    for (const ir_node *node = from->first; node != NULL; node = node->next)
        most_inputs = node->input_count > most_inputs ? node->input_count : most_inputs;
    TD_TRY(ir_module_add_graph(from->module, name, &self.clone));
    self.values = td_allocate(context, ((size_t)from->value_count + 1) * sizeof(ir_value *));
    ir_value **inputs = td_allocate(context, (most_inputs + 1) * sizeof(ir_value *));
    td_status status = self.values == NULL || inputs == NULL ? td_fail_memory(context)
                                                             : clone_all(&self, from, inputs);
    td_release(context, self.values);
    td_release(context, inputs);
    if (status == TD_OK)
        *clone = self.clone;
    return status;
}
