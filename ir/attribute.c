/* Attributes of nodes: setting, copying, finding, reading with a default.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/private.h"

#include <string.h>

static ir_attribute *find(const ir_node *node, const char *name)
{
    for (uint32_t i = 0; i < node->attribute_count; i++)
        if (strcmp(node->attributes[i].name, name) == 0)
            return &node->attributes[i];
    return NULL;
}

/* The attribute of that name, emptied, or a new one; NULL when memory ran out. */
static ir_attribute *place(ir_node *node, const char *name)
{
    ir_attribute *found = find(node, name);
    td_arena *arena = &node->graph->module->arena;
    const char *copy = found != NULL ? found->name : td_arena_string(arena, name);
    if (copy == NULL)
        return NULL;
    if (found == NULL) {
        uint32_t count = node->attribute_count;
        /* Room doubles whenever the count is a power of two. */
        if ((count & (count - 1)) == 0) {
            size_t capacity = count == 0 ? 1 : (size_t)count * 2;
            ir_attribute *grown = td_arena_allocate(arena, capacity, sizeof *grown);
            if (grown == NULL)
                return NULL;
            if (count > 0)
                memcpy(grown, node->attributes, count * sizeof *grown);
            node->attributes = grown;
        }
        found = &node->attributes[node->attribute_count++];
    }
    *found = (ir_attribute){.name = copy};
    return found;
}

static td_status set(ir_node *node, const char *name, const ir_attribute *value)
{
    ir_attribute *attribute = place(node, name);
    if (attribute == NULL)
        return td_fail_memory(node->graph->module->context);
    const char *kept = attribute->name;
    *attribute = *value;
    attribute->name = kept;
    return TD_OK;
}

td_status ir_node_set_int(ir_node *node, const char *name, int64_t value)
{
    return set(node, name, &(ir_attribute){.kind = IR_ATTRIBUTE_INT, .integer = value});
}

td_status ir_node_set_float(ir_node *node, const char *name, double value)
{
    return set(node, name, &(ir_attribute){.kind = IR_ATTRIBUTE_FLOAT, .number = value});
}

td_status ir_node_set_string(ir_node *node, const char *name, const char *value)
{
    const char *copy = td_arena_string(&node->graph->module->arena, value);
    if (copy == NULL)
        return td_fail_memory(node->graph->module->context);
    return set(node, name, &(ir_attribute){.kind = IR_ATTRIBUTE_STRING, .string = copy});
}

td_status ir_node_set_ints(ir_node *node, const char *name, size_t count, const int64_t *values)
{
    ir_module *module = node->graph->module;
    int64_t *copy = td_arena_allocate(&module->arena, count > 0 ? count : 1, sizeof *copy);
    if (copy == NULL)
        return td_fail_memory(module->context);
    if (count > 0)
        memcpy(copy, values, count * sizeof *copy);
    return set(node, name,
               &(ir_attribute){.kind = IR_ATTRIBUTE_INTS, .integers = copy, .count = count});
}

td_status ir_node_copy_attribute(ir_node *node, const ir_attribute *attribute)
{
    switch (attribute->kind) {
    case IR_ATTRIBUTE_INT:
        return ir_node_set_int(node, attribute->name, attribute->integer);
    case IR_ATTRIBUTE_FLOAT:
        return ir_node_set_float(node, attribute->name, attribute->number);
    case IR_ATTRIBUTE_STRING:
        return ir_node_set_string(node, attribute->name, attribute->string);
    default:
        return ir_node_set_ints(node, attribute->name, attribute->count, attribute->integers);
    }
}

const ir_attribute *ir_node_attribute(const ir_node *node, const char *name)
{
    return find(node, name);
}

int64_t ir_node_int(const ir_node *node, const char *name, int64_t otherwise)
{
    const ir_attribute *attribute = find(node, name);
    return attribute != NULL && attribute->kind == IR_ATTRIBUTE_INT ? attribute->integer
                                                                    : otherwise;
}

double ir_node_float(const ir_node *node, const char *name, double otherwise)
{
    const ir_attribute *attribute = find(node, name);
    if (attribute != NULL && attribute->kind == IR_ATTRIBUTE_FLOAT)
        return attribute->number;
    if (attribute != NULL && attribute->kind == IR_ATTRIBUTE_INT)
        return (double)attribute->integer;
    return otherwise;
}

const char *ir_node_string(const ir_node *node, const char *name, const char *otherwise)
{
    const ir_attribute *attribute = find(node, name);
    return attribute != NULL && attribute->kind == IR_ATTRIBUTE_STRING ? attribute->string
                                                                       : otherwise;
}
