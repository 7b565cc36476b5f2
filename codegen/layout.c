/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/layout.h"

#include <string.h>

/* Larger matrices are refused, so that no size below overflows. */
#define LARGEST_DIMENSION ((uint64_t)1 << 31)

/* --- weights --- */

static bool is_product(cg_role role)
{
    return role == CG_ROLE_PANELS || role == CG_ROLE_DOTS;
}

const cg_weight *cg_weights_find(const cg_weights *weights, const ir_constant *constant,
                                 cg_role role)
{
    for (size_t i = 0; i < weights->items.count; i++) {
        const cg_weight *weight = &weights->items.items[i];
        if (weight->constant == constant &&
            (weight->role == role || (role == CG_ROLE_ROWS && is_product(weight->role))))
            return weight;
    }
    return NULL;
}

/* Bytes of `count` consecutive elements of one group in a panel of 16 rows. */
static uint64_t panel_group_bytes(ir_type type, uint64_t count)
{
    const unsigned bits = ir_type_bits(type);
    return bits == 4 ? (count + 1) / 2 * CG_PANEL_ROWS : count * CG_PANEL_ROWS * bits / 8;
}

static bool is_weight_type(ir_type type)
{
    return type == IR_F32 || type == IR_F16 || type == IR_BF16 || type == IR_I8 || type == IR_U8 ||
           type == IR_I4 || type == IR_U4;
}

static td_status check_matrix(td_context *context, const ir_node *node, const ir_constant *constant)
{
    const ir_constant *scale = constant->scale;
    if (constant->shape.rank != 2 || !ir_shape_is_static(&constant->shape))
        return td_fail(context, TD_UNSUPPORTED,
                       "%s: node \"%s\" (%s): the weight \"%s\" has rank %u, a matrix is needed",
                       node->graph->name, node->name, ir_op(node->op)->name, constant->name,
                       constant->shape.rank);
    for (uint32_t i = 0; i < 2; i++)
        if (constant->shape.dim[i].constant <= 0 ||
            (uint64_t)constant->shape.dim[i].constant > LARGEST_DIMENSION)
            return td_fail(context, TD_UNSUPPORTED,
                           "%s: node \"%s\" (%s): the weight \"%s\" has dimension %lld, 1 to %llu "
                           "is accepted",
                           node->graph->name, node->name, ir_op(node->op)->name, constant->name,
                           (long long)constant->shape.dim[i].constant,
                           (unsigned long long)LARGEST_DIMENSION);
    const bool quantised =
        constant->type != IR_F32 && constant->type != IR_F16 && constant->type != IR_BF16;
    if (constant->zero_point != NULL && constant->zero_point->type != constant->type)
        return td_fail(context, TD_UNSUPPORTED,
                       "%s: node \"%s\" (%s): the weight \"%s\" is %s but its zero points are %s; "
                       "one type is needed",
                       node->graph->name, node->name, ir_op(node->op)->name, constant->name,
                       ir_type_name(constant->type), ir_type_name(constant->zero_point->type));
    if (!is_weight_type(constant->type) || quantised != (scale != NULL) ||
        (quantised && (constant->group == 0 ||
                       (scale->type != IR_F32 && scale->type != IR_F16 && scale->type != IR_BF16))))
        return td_fail(context, TD_UNSUPPORTED,
                       "%s: node \"%s\" (%s): the weight \"%s\" is %s%s; accepted are f32, f16 and "
                       "bf16, and i8, u8, i4 and u4 with scales",
                       node->graph->name, node->name, ir_op(node->op)->name, constant->name,
                       ir_type_name(constant->type), scale == NULL ? " without scales" : "");
    return TD_OK;
}

static void describe_matrix(cg_weight *weight)
{
    const ir_constant *constant = weight->constant;
    weight->rows = (uint64_t)constant->shape.dim[0].constant;
    weight->columns = (uint64_t)constant->shape.dim[1].constant;
    weight->group = weight->columns;
    weight->groups = 1;
    if (constant->scale != NULL) {
        if (constant->group < weight->columns)
            weight->group = constant->group;
        weight->groups = (weight->columns + weight->group - 1) / weight->group;
        weight->scale_bytes = ir_type_bits(constant->scale->type) / 8;
        weight->has_zero = constant->zero_point != NULL;
    }
}

static void place_matrix(cg_weight *weight, uint64_t offset)
{
    const ir_type type = weight->constant->type;
    if (weight->role == CG_ROLE_DOTS) {
        const unsigned bits = ir_type_bits(type);
        weight->unit_panels = CG_DOT_PANELS;
        weight->group_bytes =
            (uint64_t)CG_DOT_PANELS * CG_PANEL_ROWS * IR_QUANTIZE_BLOCK * bits / 8;
        weight->unit_bytes = cg_weight_blocks(weight) * weight->group_bytes;
        weight->bias = type == IR_I8 || type == IR_I4 ? 1u << (bits - 1) : 0;
    } else if (weight->role == CG_ROLE_PANELS) {
        const uint64_t last = weight->columns - (weight->groups - 1) * weight->group;
        weight->unit_panels = 1;
        weight->group_bytes = panel_group_bytes(type, weight->group);
        weight->unit_bytes =
            (weight->groups - 1) * weight->group_bytes + panel_group_bytes(type, last);
    } else {
        weight->unit_bytes = (weight->columns * ir_type_bits(type) + 7) / 8;
    }
    const uint64_t unit_rows = cg_weight_unit_rows(weight);
    const uint64_t units = (weight->rows + unit_rows - 1) / unit_rows;
    const uint64_t scales = units * unit_rows * weight->groups;
    weight->offset = offset;
    weight->scale_offset = cg_align(offset + units * weight->unit_bytes, CG_ALIGNMENT);
    weight->zero_offset =
        cg_align(weight->scale_offset + scales * weight->scale_bytes, CG_ALIGNMENT);
    weight->bytes = weight->zero_offset + (weight->has_zero ? scales : 0) - offset;
}

/* Adds a constant in a role, or gives a table that was only gathered from the role of a product. */
static td_status add_weight(cg_weights *weights, const ir_node *node, const ir_constant *constant,
                            cg_role role)
{
    td_context *context = weights->context;
    cg_weight weight = {.constant = constant, .role = role};
    if (cg_weights_find(weights, constant, role) != NULL)
        return TD_OK;
    for (size_t i = 0; i < weights->items.count && is_product(role); i++)
        if (weights->items.items[i].constant == constant &&
            weights->items.items[i].role == CG_ROLE_ROWS) {
            weights->items.items[i].role = role;
            return TD_OK;
        }
    if (role == CG_ROLE_PLAIN) {
        weight.rows = 1;
        if (!ir_shape_elements_bound(node->graph->module, &constant->shape, &weight.columns) ||
            weight.columns == 0 || weight.columns > LARGEST_DIMENSION ||
            !is_weight_type(constant->type))
            return td_fail(
                context, TD_UNSUPPORTED,
                "%s: node \"%s\" (%s): the constant \"%s\" of type %s cannot be embedded",
                node->graph->name, node->name, ir_op(node->op)->name, constant->name,
                ir_type_name(constant->type));
    } else {
        TD_TRY(check_matrix(context, node, constant));
        describe_matrix(&weight);
    }
    return td_array_push(context, &weights->items, weight) ? TD_OK : td_fail_memory(context);
}

static cg_role role_of(const ir_node *node, uint32_t input)
{
    ir_products products;
    if (ir_node_reads_weight(node, input) && ir_node_products(node, &products))
        return products.quantised ? CG_ROLE_DOTS : CG_ROLE_PANELS;
    if (node->op == IR_OP_embed && input == 0)
        return CG_ROLE_ROWS;
    return CG_ROLE_PLAIN;
}

/* The second input of reshape is a list of dimensions, known already when the graph is lowered. */
static bool is_read(const ir_node *node, uint32_t input)
{
    return node->inputs[input]->kind == IR_VALUE_CONSTANT &&
           !(node->op == IR_OP_reshape && input == 1);
}

static td_status add_graph(cg_weights *weights, const ir_graph *graph)
{
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            if (is_read(node, i))
                TD_TRY(add_weight(weights, node, node->inputs[i]->constant, role_of(node, i)));
    return TD_OK;
}

static void place_all(cg_weights *weights)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < weights->items.count; i++) {
        cg_weight *weight = &weights->items.items[i];
        if (weight->role == CG_ROLE_PLAIN) {
            weight->offset = offset;
            weight->bytes = weight->columns * sizeof(float);
        } else {
            place_matrix(weight, offset);
        }
        if (is_product(weight->role))
            weights->read_per_pass += weight->bytes;
        offset = cg_align(offset + weight->bytes, CG_ALIGNMENT);
    }
    weights->bytes = offset;
}

td_status cg_weights_make(td_context *context, const cg_model *model, cg_weights *weights)
{
    cg_weights made = {.context = context};
    td_status status = TD_OK;
    for (unsigned which = 0; which < CG_GRAPHS && status == TD_OK; which++)
        if (cg_model_graph(model, which) != NULL)
            status = add_graph(&made, cg_model_graph(model, which));
    if (status != TD_OK) {
        cg_weights_release(&made);
        return status;
    }
    place_all(&made);
    *weights = made;
    return TD_OK;
}

void cg_weights_release(cg_weights *weights)
{
    if (weights->context != NULL)
        td_array_release(weights->context, &weights->items);
}

/* --- caches --- */

/* Bytes of K, or of V, for each slot: the elements, and an f16 scale for each head of i8. Sixteen
 * slots are a multiple of 64 bytes. */
static uint64_t cache_slot_bytes(const ir_state *state)
{
    const uint64_t scale = state->type == IR_I8 ? sizeof(uint16_t) : 0;
    const uint64_t row = (uint64_t)state->head_size * (ir_type_bits(state->type) / 8);
    return cg_align(state->kv_heads * (row + scale), CG_ALIGNMENT / 16);
}

td_status cg_caches_make(td_context *context, const ir_module *module, cg_caches *caches)
{
    cg_caches made = {.context = context};
    for (size_t i = 0; i < module->states.count; i++) {
        const ir_state *state = module->states.items[i];
        if (state->kind != IR_STATE_CACHE)
            continue;
        if (state->type != IR_F32 && state->type != IR_F16 && state->type != IR_I8) {
            cg_caches_release(&made);
            return td_fail(context, TD_UNSUPPORTED,
                           "cache \"%s\" has type %s; accepted are f32, f16 and i8", state->name,
                           ir_type_name(state->type));
        }
        const uint64_t bytes = cache_slot_bytes(state);
        cg_cache cache = {state, made.slot_bytes, made.slot_bytes + bytes};
        made.slot_bytes += 2 * bytes;
        if (state->kv_heads > made.count_stride)
            made.count_stride = state->kv_heads;
        if (!td_array_push(context, &made.items, cache)) {
            cg_caches_release(&made);
            return td_fail_memory(context);
        }
    }
    made.fixed_bytes =
        cg_align(made.items.count * made.count_stride * sizeof(int32_t), CG_ALIGNMENT);
    *caches = made;
    return TD_OK;
}

void cg_caches_release(cg_caches *caches)
{
    if (caches->context != NULL)
        td_array_release(caches->context, &caches->items);
}

int cg_caches_find(const cg_caches *caches, const char *name)
{
    for (size_t i = 0; i < caches->items.count; i++)
        if (strcmp(caches->items.items[i].state->name, name) == 0)
            return (int)i;
    return -1;
}
