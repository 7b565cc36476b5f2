/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/products_graph.h"

#include "base/hash.h"

#define MAX_STAND_INS 8

/* What products of one kind read instead of the model's activations. */
typedef struct stand_in {
    ir_dim count; /* tokens or rows */
    int64_t width;
    ir_value *dense, *quantised, *scales; /* the last two NULL until a product asks */
} stand_in;

typedef struct products_builder {
    ir_module *module;
    ir_graph *graph;
    ir_value *ids, *rows;
    stand_in stand_ins[MAX_STAND_INS];
    size_t count;
} products_builder;

static td_status add_input(products_builder *self, const char *name, const char *symbol_name,
                           ir_value **value)
{
    ir_symbol symbol;
    if (!ir_module_find_symbol(self->module, symbol_name, &symbol))
        return td_fail(self->module->context, TD_INTERNAL, "the module has no symbol %s",
                       symbol_name);
    const ir_shape shape = {1, {ir_dim_symbol(symbol)}};
    return ir_graph_add_input(self->graph, name, IR_I32, &shape, value);
}

static td_status add_table(products_builder *self, int64_t width, ir_value **value)
{
    td_context *context = self->module->context;
    const size_t count = (size_t)(BENCH_STAND_IN_ROWS * width);
    float *numbers = td_allocate(context, count * sizeof *numbers);
    if (numbers == NULL)
        return td_fail_memory(context);
    uint64_t random = (uint64_t)width;
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)(td_random_next(&random) >> 40) * 0x1p-23f - 1;
    char *name = td_arena_format(&self->module->arena, "stand_in%zu", self->count);
    const ir_shape shape = ir_shape_of(2, (int64_t[]){BENCH_STAND_IN_ROWS, width});
    ir_constant *table;
    td_status status = name == NULL ? td_fail_memory(context)
                                    : ir_module_add_constant_bytes(self->module, name, IR_F32,
                                                                   &shape, numbers, &table);
    td_release(context, numbers);
    return status == TD_OK ? ir_graph_add_constant(self->graph, table, value) : status;
}

/* The stand-in for a dense activation of this shape. */
static td_status find_stand_in(products_builder *self, const ir_shape *shape, stand_in **found)
{
    const ir_dim *count = &shape->dim[0];
    const int64_t width = shape->dim[1].constant;
    for (size_t i = 0; i < self->count; i++)
        if (self->stand_ins[i].width == width && ir_dim_equal(&self->stand_ins[i].count, count)) {
            *found = &self->stand_ins[i];
            return TD_OK;
        }
    if (self->count == MAX_STAND_INS)
        return td_fail(self->module->context, TD_UNSUPPORTED,
                       "activations have more than %d shapes", MAX_STAND_INS);
    stand_in made = {.count = *count, .width = width};
    ir_value *inputs[2];
    ir_node *node;
    TD_TRY(add_table(self, width, &inputs[0]));
    inputs[1] = ir_dim_equal(count, &self->ids->shape.dim[0]) ? self->ids : self->rows;
    TD_TRY(ir_graph_add_node(self->graph, IR_OP_embed, "stand-in", 2, inputs, 1, &node));
    TD_TRY(ir_node_infer(node));
    made.dense = node->outputs[0];
    *found = &self->stand_ins[self->count++];
    **found = made;
    return TD_OK;
}

static td_status quantise(products_builder *self, stand_in *dense)
{
    ir_node *node;
    if (dense->quantised != NULL)
        return TD_OK;
    TD_TRY(ir_graph_add_node(self->graph, IR_OP_quantize_rows, "stand-in", 1, &dense->dense, 2,
                             &node));
    TD_TRY(ir_node_infer(node));
    dense->quantised = node->outputs[0];
    dense->scales = node->outputs[1];
    return TD_OK;
}

/* Adds what stands for the activations that a node's products read: one value, or two. */
static td_status add_activations(products_builder *self, const ir_value *x, bool quantised,
                                 ir_value **inputs, uint32_t *count)
{
    stand_in *dense = NULL;
    TD_TRY(find_stand_in(self, &x->shape, &dense));
    if (!quantised) {
        inputs[(*count)++] = dense->dense;
        return TD_OK;
    }
    TD_TRY(quantise(self, dense));
    inputs[(*count)++] = dense->quantised;
    inputs[(*count)++] = dense->scales;
    return TD_OK;
}

/* Each weight of a node, fused or not, gets a plain product. */
static td_status copy_products(products_builder *self, const ir_node *node,
                               const ir_products *products)
{
    const ir_opcode op = products->quantised ? IR_OP_linear_quantized : IR_OP_linear;
    for (uint32_t i = 0; i < products->count; i++) {
        ir_value *inputs[4] = {NULL};
        ir_node *made;
        uint32_t count = 0;
        TD_TRY(add_activations(self, node->inputs[products->activations], products->quantised,
                               inputs, &count));
        TD_TRY(ir_graph_add_constant(self->graph, node->inputs[products->first + i]->constant,
                                     &inputs[count++]));
        if (products->biases != 0)
            TD_TRY(ir_graph_add_constant(self->graph, node->inputs[products->biases + i]->constant,
                                         &inputs[count++]));
        TD_TRY(ir_graph_add_node(self->graph, op, node->name, count, inputs, 1, &made));
        TD_TRY(ir_node_infer(made));
    }
    return TD_OK;
}

td_status bench_add_products(ir_module *module, const ir_graph *forward, ir_graph **products)
{
    products_builder self = {.module = module};
    TD_TRY(ir_module_add_graph(module, "products", &self.graph));
    TD_TRY(add_input(&self, "ids", "tokens", &self.ids));
    TD_TRY(add_input(&self, "rows", "rows", &self.rows));
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        ir_products operands;
        if (ir_node_products(node, &operands))
            TD_TRY(copy_products(&self, node, &operands));
    }
    TD_TRY(ir_verify(module));
    *products = self.graph;
    return TD_OK;
}

void bench_count_products(const ir_graph *forward, double *per_token, double *per_row)
{
    const ir_dim *tokens = &forward->inputs[0]->shape.dim[0];
    *per_token = *per_row = 0;
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        ir_products products;
        if (!ir_node_products(node, &products))
            continue;
        double *count = ir_dim_equal(&node->outputs[0]->shape.dim[0], tokens) ? per_token : per_row;
        for (uint32_t i = 0; i < products.count; i++) {
            const ir_shape *shape = &node->inputs[products.first + i]->constant->shape;
            *count += (double)shape->dim[0].constant * (double)shape->dim[1].constant;
        }
    }
}
