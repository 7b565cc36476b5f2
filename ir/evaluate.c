/* The reference evaluator's driver: values and their lifetimes, states, declared against real
 * shapes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/evaluate_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Cones are evaluated while a file is imported, which may ask for tensors of any size. */
#define MOST_CONE_ELEMENTS (UINT64_C(1) << 25)

/* --- messages and scratch --- */

td_status ir_evaluate_fail(ir_evaluator *evaluator, const ir_node *node, td_status status,
                           const char *format, ...)
{
    char sentence[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return td_fail(evaluator->context, status, "%s: node %" PRIu32 " %s \"%s\": %s",
                   node->graph->name, node->id, ir_op(node->op)->name, node->name, sentence);
}

void *ir_evaluate_scratch(ir_evaluator *evaluator, uint64_t count, size_t size)
{
    uint64_t bytes;
    if (!td_multiply(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    void *pointer = td_allocate(evaluator->context, bytes > 0 ? bytes : 1);
    if (pointer == NULL)
        return NULL;
    if (!td_array_push(evaluator->context, &evaluator->scratch, pointer)) {
        td_release(evaluator->context, pointer);
        return NULL;
    }
    return pointer;
}

static void release_scratch(ir_evaluator *evaluator)
{
    for (size_t i = 0; i < evaluator->scratch.count; i++)
        td_release(evaluator->context, evaluator->scratch.items[i]);
    evaluator->scratch.count = 0;
}

/* --- creation and release --- */

td_status ir_evaluator_create(const ir_module *module, uint32_t slots, ir_evaluator **evaluator)
{
    td_context *context = module->context;
    ir_evaluator *created = td_allocate(context, sizeof *created);
    if (created == NULL)
        return td_fail_memory(context);
    created->module = module;
    created->context = context;
    created->slots = slots;
    *evaluator = created;
    return TD_OK;
}

static void release_slot(ir_evaluator *evaluator, ir_slot *slot)
{
    if (slot->owned)
        td_release(evaluator->context, slot->tensor.data);
    slot->tensor.data = NULL;
    slot->owned = false;
    slot->value = NULL;
}

static void forget_values(ir_evaluator *evaluator)
{
    for (size_t i = 0; i < evaluator->values.count; i++)
        release_slot(evaluator, &evaluator->values.items[i]);
    evaluator->values.count = 0;
    evaluator->graph = NULL;
}

static void release_decoded(ir_evaluator *evaluator, ir_decoded *decoded)
{
    td_release(evaluator->context, decoded->tensor.data);
    td_release(evaluator->context, decoded->panels);
    td_release(evaluator->context, decoded->scales);
    *decoded = (ir_decoded){0};
}

/* Empties one state. */
static void forget_state(ir_evaluator *evaluator, ir_state_data *data)
{
    td_release(evaluator->context, data->value.data);
    td_release(evaluator->context, data->pending.data);
    td_release(evaluator->context, data->keys);
    td_release(evaluator->context, data->values);
    *data = (ir_state_data){0};
}

void ir_evaluator_reset(ir_evaluator *evaluator)
{
    for (size_t i = 0; i < evaluator->states.count; i++)
        forget_state(evaluator, &evaluator->states.items[i]);
}

void ir_evaluator_set_tail(ir_evaluator *evaluator, uint32_t tail)
{
    evaluator->tail = tail;
}

void ir_evaluator_release(ir_evaluator *evaluator)
{
    if (evaluator == NULL)
        return;
    td_context *context = evaluator->context;
    release_scratch(evaluator);
    forget_values(evaluator);
    ir_evaluator_reset(evaluator);
    for (size_t i = 0; i < evaluator->decoded.count; i++)
        release_decoded(evaluator, &evaluator->decoded.items[i]);
    td_array_release(context, &evaluator->decoded);
    td_array_release(context, &evaluator->states);
    td_array_release(context, &evaluator->symbols);
    td_array_release(context, &evaluator->values);
    td_array_release(context, &evaluator->scratch);
    td_release(context, evaluator);
}

/* --- constants --- */

bool ir_evaluate_keep(ir_evaluator *evaluator, uint64_t bytes)
{
    if (bytes > IR_DECODED_LIMIT - evaluator->decoded_bytes)
        return false;
    evaluator->decoded_bytes += bytes;
    return true;
}

ir_decoded *ir_evaluate_decoded(ir_evaluator *evaluator, const ir_constant *constant)
{
    if (!td_array_reserve(evaluator->context, &evaluator->decoded, (size_t)constant->index + 1))
        return NULL;
    while (evaluator->decoded.count <= constant->index)
        evaluator->decoded.items[evaluator->decoded.count++] = (ir_decoded){0};
    ir_decoded *decoded = &evaluator->decoded.items[constant->index];
    if (decoded->constant != constant) { /* a pass renumbered the constants */
        release_decoded(evaluator, decoded);
        decoded->constant = constant;
    }
    return decoded;
}

static bool describe_constant(const ir_constant *constant, ir_tensor *tensor)
{
    *tensor = (ir_tensor){.type = constant->scale != NULL ? IR_F32 : constant->type,
                          .rank = constant->shape.rank,
                          .elements = 1};
    for (uint32_t i = 0; i < tensor->rank; i++) {
        tensor->dim[i] = constant->shape.dim[i].constant;
        if (!td_multiply(tensor->elements, (uint64_t)tensor->dim[i], &tensor->elements))
            return false;
    }
    return true;
}

static void unpack_nibbles(ir_type type, uint64_t elements, unsigned char *bytes)
{
    for (uint64_t i = elements; i-- > 0;) { /* backwards: the packed half is the front */
        unsigned nibble = (unsigned)bytes[i / 2] >> (i % 2 * 4) & 15u;
        bytes[i] = (unsigned char)(type == IR_I4 && nibble >= 8 ? nibble + 240 : nibble);
    }
}

static td_status read_constant(ir_evaluator *evaluator, const ir_constant *constant,
                               ir_tensor *tensor)
{
    td_context *context = evaluator->context;
    if (constant->scale != NULL)
        return ir_constant_read_f32(context, constant, 0, tensor->elements, tensor->data);
    TD_TRY(ir_constant_read(context, constant, 0, constant->bytes, tensor->data));
    if (ir_type_bits(constant->type) == 4)
        unpack_nibbles(constant->type, tensor->elements, tensor->data);
    return TD_OK;
}

/* Takes a constant as a whole tensor; *owned says that the caller releases data. */
static td_status take_constant(ir_evaluator *evaluator, const ir_constant *constant,
                               ir_tensor *tensor, bool *owned)
{
    td_context *context = evaluator->context;
    ir_decoded *decoded = ir_evaluate_decoded(evaluator, constant);
    if (decoded == NULL)
        return td_fail_memory(context);
    *owned = false;
    if (decoded->tensor.data != NULL) {
        *tensor = decoded->tensor;
        return TD_OK;
    }
    ir_tensor read;
    uint64_t bytes;
    if (!describe_constant(constant, &read) ||
        !td_multiply(read.elements, ir_element_bytes(read.type), &bytes))
        return td_fail(context, TD_INVALID, "constant \"%s\" is too large", constant->name);
    if (ir_element_bytes(read.type) == 0)
        return td_fail(context, TD_UNSUPPORTED, "constant \"%s\" has type %s, which has no values",
                       constant->name, ir_type_name(read.type));
    read.data = td_allocate(context, bytes > 0 ? bytes : 1);
    if (read.data == NULL)
        return td_fail_memory(context);
    td_status status = read_constant(evaluator, constant, &read);
    if (status != TD_OK) {
        td_release(context, read.data);
        return status;
    }
    *owned = !ir_evaluate_keep(evaluator, bytes);
    if (!*owned)
        decoded->tensor = read;
    *tensor = read;
    return TD_OK;
}

/* --- states --- */

td_status ir_evaluate_state(ir_evaluator *evaluator, const ir_node *node, ir_state_kind kind,
                            ir_state_data **data)
{
    const char *name = ir_node_string(node, "state", "");
    const ir_module *module = evaluator->module;
    for (size_t i = 0; i < module->states.count; i++) {
        const ir_state *state = module->states.items[i];
        if (strcmp(state->name, name) != 0)
            continue;
        if (state->kind != kind)
            return ir_evaluate_fail(evaluator, node, TD_INVALID, "state \"%s\" is %s", name,
                                    kind == IR_STATE_CACHE ? "no cache" : "a cache");
        *data = &evaluator->states.items[i];
        if ((*data)->state != state) {
            forget_state(evaluator, *data);
            (*data)->state = state;
        }
        return TD_OK;
    }
    return ir_evaluate_fail(evaluator, node, TD_INVALID, "there is no state \"%s\"", name);
}

static const ir_state_data *find_state(const ir_evaluator *evaluator, const ir_state *state)
{
    for (size_t i = 0; i < evaluator->states.count; i++)
        if (evaluator->states.items[i].state == state)
            return &evaluator->states.items[i];
    return NULL;
}

uint32_t ir_evaluator_committed(const ir_evaluator *evaluator, const ir_state *state)
{
    const ir_state_data *data = find_state(evaluator, state);
    return data != NULL ? data->committed : 0;
}

const float *ir_evaluator_cache(const ir_evaluator *evaluator, const ir_state *state, bool values)
{
    const ir_state_data *data = find_state(evaluator, state);
    if (data == NULL)
        return NULL;
    return values ? data->values : data->keys;
}

/* What write_state left becomes the state, or is dropped when the run failed. */
static void settle_states(ir_evaluator *evaluator, bool succeeded)
{
    for (size_t i = 0; i < evaluator->states.count; i++) {
        ir_state_data *data = &evaluator->states.items[i];
        if (!data->has_pending)
            continue;
        ir_tensor *dropped = succeeded ? &data->value : &data->pending;
        td_release(evaluator->context, dropped->data);
        if (succeeded) {
            data->value = data->pending;
            data->written = true;
        }
        data->pending = (ir_tensor){0};
        data->has_pending = false;
    }
}

/* --- declared and real shapes --- */

/* Splits a dimension into what is known and at most one unknown symbol; false when more than one is
 * unknown. *factor is 0 when nothing is. */
static bool known_part(const ir_evaluator *evaluator, const ir_dim *declared, int64_t *sum,
                       ir_symbol *symbol, int64_t *factor)
{
    ir_dim dim = ir_module_dim_resolve(evaluator->module, declared);
    *sum = dim.constant;
    *factor = 0;
    *symbol = 0;
    for (uint32_t i = 0; i < dim.terms; i++) {
        ir_symbol at = dim.term[i].symbol;
        int64_t value = at < evaluator->symbols.count ? evaluator->symbols.items[at] : -1;
        int64_t part;
        if (value < 0) {
            if (*factor != 0 || at >= evaluator->symbols.count)
                return false;
            *symbol = at;
            *factor = dim.term[i].factor;
        } else if (__builtin_mul_overflow(value, (int64_t)dim.term[i].factor, &part) ||
                   __builtin_add_overflow(*sum, part, sum)) {
            return false;
        }
    }
    return true;
}

/* Compares one dimension with its declaration; an unknown symbol takes the size met first. */
static bool check_dim(ir_evaluator *evaluator, const ir_dim *declared, int64_t real,
                      int64_t *expected)
{
    ir_symbol symbol;
    int64_t factor;
    if (!known_part(evaluator, declared, expected, &symbol, &factor))
        return true;
    if (factor == 0)
        return *expected == real;
    int64_t rest = real - *expected;
    if (rest % factor == 0 && rest / factor >= 0)
        evaluator->symbols.items[symbol] = rest / factor;
    return true;
}

static td_status check_shape(ir_evaluator *evaluator, const char *what, const ir_value *value,
                             const ir_tensor *tensor)
{
    td_context *context = evaluator->context;
    if (tensor->type != value->type)
        return td_fail(context, TD_INVALID, "%s has type %s; %s is declared", what,
                       ir_type_name(tensor->type), ir_type_name(value->type));
    if (tensor->rank != value->shape.rank)
        return td_fail(context, TD_INVALID,
                       "%s has %" PRIu32 " dimensions; %" PRIu32 " are declared", what,
                       tensor->rank, value->shape.rank);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        int64_t expected = 0;
        if (!check_dim(evaluator, &value->shape.dim[i], tensor->dim[i], &expected))
            return td_fail(context, TD_INVALID,
                           "%s: dimension %" PRIu32 " is %" PRId64 "; %" PRId64 " is declared",
                           what, i, tensor->dim[i], expected);
    }
    return TD_OK;
}

bool ir_evaluate_dim(const ir_evaluator *evaluator, const ir_dim *dim, int64_t *value)
{
    ir_symbol symbol;
    int64_t factor;
    return known_part(evaluator, dim, value, &symbol, &factor) && factor == 0 && *value >= 0;
}

/* True when the declared shape is wholly known; fills in the tensor's shape. */
static bool declared_shape(const ir_evaluator *evaluator, const ir_value *value, ir_tensor *tensor)
{
    *tensor = (ir_tensor){.type = value->type, .rank = value->shape.rank, .elements = 1};
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (!ir_evaluate_dim(evaluator, &value->shape.dim[i], &tensor->dim[i]) ||
            !td_multiply(tensor->elements, (uint64_t)tensor->dim[i], &tensor->elements))
            return false;
    return true;
}

/* --- one run --- */

typedef struct run_request {
    ir_graph *graph;
    const int64_t *symbols;
    const ir_tensor *inputs;
    bool keep_all;
    const ir_value *target; /* of a cone, or NULL: everything */
} run_request;

static ir_slot *slot_of(ir_evaluator *evaluator, const ir_value *value)
{
    return &evaluator->values.items[value->id];
}

/* Whether a value is of this (numbered) graph. */
static bool belongs(const ir_graph *graph, const ir_value *value)
{
    if (value->kind == IR_VALUE_INPUT)
        return value->id < graph->input_count && graph->inputs[value->id] == value;
    if (value->kind == IR_VALUE_RESULT)
        return value->producer->graph == graph;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] == value)
                return true;
    return false;
}

static td_status prepare(ir_evaluator *evaluator, const run_request *request)
{
    td_context *context = evaluator->context;
    const ir_module *module = evaluator->module;
    forget_values(evaluator);
    ir_graph_number(request->graph);
    if (request->target != NULL && !belongs(request->graph, request->target))
        return td_fail(context, TD_INTERNAL, "%s: value \"%s\" is not read or made in this graph",
                       request->graph->name,
                       request->target->name != NULL ? request->target->name : "");
    uint32_t count = request->graph->value_count;
    if (!td_array_reserve(context, &evaluator->values, count) ||
        !td_array_reserve(context, &evaluator->symbols, module->symbols.count) ||
        !td_array_reserve(context, &evaluator->states, module->states.count))
        return td_fail_memory(context);
    evaluator->values.count = count;
    for (uint32_t i = 0; i < count; i++)
        evaluator->values.items[i] = (ir_slot){0};
    evaluator->symbols.count = module->symbols.count;
    for (size_t i = 0; i < module->symbols.count; i++)
        evaluator->symbols.items[i] = request->symbols != NULL ? request->symbols[i] : -1;
    while (evaluator->states.count < module->states.count)
        evaluator->states.items[evaluator->states.count++] = (ir_state_data){0};
    evaluator->graph = request->graph;
    return TD_OK;
}

static td_status take_inputs(ir_evaluator *evaluator, const run_request *request)
{
    const ir_graph *graph = request->graph;
    for (size_t i = 0; i < graph->input_count; i++) {
        const ir_value *value = graph->inputs[i];
        ir_slot *slot = slot_of(evaluator, value);
        ir_tensor tensor = request->inputs[i];
        if (tensor.data == NULL && tensor.rank != value->shape.rank)
            continue; /* nothing is known about it */
        tensor.elements = 1;
        for (uint32_t d = 0; d < tensor.rank && d < IR_MAX_RANK; d++)
            if (tensor.dim[d] < 0 ||
                !td_multiply(tensor.elements, (uint64_t)tensor.dim[d], &tensor.elements))
                return td_fail(
                    evaluator->context, TD_INVALID,
                    "%s: input %zu \"%s\": dimension %" PRIu32 " is %" PRId64 ", which is no size",
                    graph->name, i, value->name != NULL ? value->name : "", d, tensor.dim[d]);
        if (tensor.data == NULL)
            tensor.type = value->type;
        char what[128];
        snprintf(what, sizeof what, "%s: input %zu \"%s\"", graph->name, i,
                 value->name != NULL ? value->name : "");
        td_status status = check_shape(evaluator, what, value, &tensor);
        if (status != TD_OK && tensor.data == NULL && request->target != NULL)
            continue; /* a place holder */
        TD_TRY(status);
        if (tensor.data == NULL && tensor.elements == 0) {
            tensor.data = td_allocate(evaluator->context, 1);
            if (tensor.data == NULL)
                return td_fail_memory(evaluator->context);
            slot->owned = true;
        }
        slot->value = value;
        slot->tensor = tensor;
    }
    return TD_OK;
}

static bool only_shape(const ir_evaluator *evaluator, const ir_node *node)
{
    ir_tensor tensor;
    return node->op == IR_OP_shape_of && declared_shape(evaluator, node->inputs[0], &tensor);
}

static bool node_is_needed(ir_evaluator *evaluator, const ir_node *node)
{
    for (uint32_t i = 0; i < node->output_count; i++)
        if (slot_of(evaluator, node->outputs[i])->needed)
            return true;
    return false;
}

/* Counts the readers of every value, backwards from what is wanted. In a cone, a shape that the
 * symbols already tell needs no tensor. */
static void count_readers(ir_evaluator *evaluator, const run_request *request)
{
    const ir_graph *graph = request->graph;
    for (size_t i = 0; request->target == NULL && i < graph->output_count; i++)
        slot_of(evaluator, graph->outputs[i])->readers++;
    if (request->target != NULL) {
        slot_of(evaluator, request->target)->needed = true;
        slot_of(evaluator, request->target)->readers++;
    }
    for (const ir_node *node = graph->last; node != NULL; node = node->previous) {
        if (request->target != NULL && !node_is_needed(evaluator, node))
            continue;
        if (request->target != NULL && only_shape(evaluator, node)) {
            slot_of(evaluator, node->outputs[0])->uncounted = true;
            continue;
        }
        for (uint32_t i = 0; i < node->input_count; i++) {
            slot_of(evaluator, node->inputs[i])->needed = true;
            slot_of(evaluator, node->inputs[i])->readers++;
        }
    }
}

/* Finds the tensor of one input; `shape` has room for a description without data. */
static td_status take_operand(ir_evaluator *evaluator, const ir_node *node, uint32_t number,
                              ir_tensor *shape, const ir_tensor **operand)
{
    const ir_value *value = node->inputs[number];
    ir_slot *slot = slot_of(evaluator, value);
    const ir_evaluate_row *row = ir_evaluate_row_of(node->op);
    *operand = &slot->tensor;
    if (slot->value == NULL && value->kind == IR_VALUE_CONSTANT) {
        if (row->streamed_input == (int)number || ir_node_reads_weight(node, number)) {
            *operand = shape;
            return describe_constant(value->constant, shape)
                       ? TD_OK
                       : ir_evaluate_fail(evaluator, node, TD_INVALID, "its constant is too large");
        }
        td_status status = take_constant(evaluator, value->constant, &slot->tensor, &slot->owned);
        if (status != TD_OK)
            return td_fail_within(evaluator->context, status, "%s: node %" PRIu32 " %s \"%s\"",
                                  node->graph->name, node->id, ir_op(node->op)->name, node->name);
        slot->value = value;
    }
    if (slot->value != NULL && (slot->tensor.data != NULL || row->shape_input == (int)number))
        return TD_OK;
    if (node->op == IR_OP_shape_of && declared_shape(evaluator, value, shape)) {
        *operand = shape;
        return TD_OK;
    }
    return ir_evaluate_fail(evaluator, node, TD_INVALID,
                            "its operand %" PRIu32 " (graph input \"%s\") was given no data",
                            number, value->name != NULL ? value->name : "");
}

/* One reader less of each input; what nobody reads any more goes. */
static void release_operands(ir_evaluator *evaluator, const ir_node *node)
{
    bool uncounted = node->output_count > 0 && slot_of(evaluator, node->outputs[0])->uncounted;
    for (uint32_t i = 0; i < node->input_count && !uncounted; i++) {
        ir_slot *slot = slot_of(evaluator, node->inputs[i]);
        if (--slot->readers == 0)
            release_slot(evaluator, slot);
    }
    for (uint32_t i = 0; i < node->output_count; i++) {
        ir_slot *slot = slot_of(evaluator, node->outputs[i]);
        if (slot->readers == 0)
            release_slot(evaluator, slot);
    }
}

static td_status run_node(ir_evaluator *evaluator, const ir_node *node)
{
    td_context *context = evaluator->context;
    const ir_evaluate_row *row = ir_evaluate_row_of(node->op);
    if (row == NULL)
        return ir_evaluate_fail(evaluator, node, TD_UNSUPPORTED,
                                "operation %s is only listed, it cannot be executed",
                                ir_node_string(node, "type", ir_op(node->op)->name));
    const ir_tensor **inputs =
        ir_evaluate_scratch(evaluator, node->input_count, sizeof(ir_tensor *));
    ir_tensor *shapes = ir_evaluate_scratch(evaluator, node->input_count, sizeof *shapes);
    ir_tensor *outputs = ir_evaluate_scratch(evaluator, node->output_count, sizeof *outputs);
    if (inputs == NULL || shapes == NULL || outputs == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < node->input_count; i++)
        TD_TRY(take_operand(evaluator, node, i, &shapes[i], &inputs[i]));

    td_status status = row->function(evaluator, node, inputs, outputs);
    for (uint32_t i = 0; i < node->output_count; i++) {
        ir_slot *slot = slot_of(evaluator, node->outputs[i]);
        slot->tensor = outputs[i]; /* also after a failure, so that it is released */
        slot->value = node->outputs[i];
        slot->owned = true;
    }
    TD_TRY(status);
    for (uint32_t i = 0; i < node->output_count; i++) {
        char what[32];
        snprintf(what, sizeof what, "output %" PRIu32, i);
        status = check_shape(evaluator, what, node->outputs[i], &outputs[i]);
        if (status != TD_OK)
            return td_fail_within(context, status, "%s: node %" PRIu32 " %s \"%s\"",
                                  node->graph->name, node->id, ir_op(node->op)->name, node->name);
    }
    return TD_OK;
}

static td_status run_nodes(ir_evaluator *evaluator, const run_request *request)
{
    TD_TRY(take_inputs(evaluator, request));
    count_readers(evaluator, request);
    for (const ir_node *node = request->graph->first; node != NULL; node = node->next) {
        if (request->target != NULL && !node_is_needed(evaluator, node))
            continue;
        td_status status = run_node(evaluator, node);
        release_scratch(evaluator);
        TD_TRY(status);
        if (!request->keep_all)
            release_operands(evaluator, node);
    }
    return TD_OK;
}

/* A constant that is a graph output, or the target itself, has no reading node that decoded it. */
static td_status decode_wanted(ir_evaluator *evaluator, const ir_value *value)
{
    ir_slot *slot = slot_of(evaluator, value);
    if (value->kind != IR_VALUE_CONSTANT || slot->value != NULL)
        return TD_OK;
    TD_TRY(take_constant(evaluator, value->constant, &slot->tensor, &slot->owned));
    slot->value = value;
    return TD_OK;
}

static td_status run(ir_evaluator *evaluator, const run_request *request)
{
    TD_TRY(prepare(evaluator, request));
    td_status status = run_nodes(evaluator, request);
    for (size_t i = 0; status == TD_OK && i < request->graph->output_count; i++)
        if (request->target == NULL)
            status = decode_wanted(evaluator, request->graph->outputs[i]);
    if (status == TD_OK && request->target != NULL)
        status = decode_wanted(evaluator, request->target);
    settle_states(evaluator, status == TD_OK);
    if (status != TD_OK)
        forget_values(evaluator);
    return status;
}

td_status ir_evaluator_run(ir_evaluator *evaluator, ir_graph *graph, const int64_t *symbols,
                           const ir_tensor *inputs, bool keep_all)
{
    run_request request = {graph, symbols, inputs, keep_all, NULL};
    return run(evaluator, &request);
}

const ir_tensor *ir_evaluator_value(const ir_evaluator *evaluator, const ir_value *value)
{
    if (value->id >= evaluator->values.count)
        return NULL;
    const ir_slot *slot = &evaluator->values.items[value->id];
    return slot->value == value && slot->tensor.data != NULL ? &slot->tensor : NULL;
}

td_status ir_evaluate_cone(ir_evaluator *evaluator, ir_graph *graph, const ir_value *value,
                           const int64_t *symbols, const ir_tensor *inputs,
                           const ir_tensor **result)
{
    run_request request = {graph, symbols, inputs, false, value};
    evaluator->most_elements = MOST_CONE_ELEMENTS;
    td_status status = run(evaluator, &request);
    evaluator->most_elements = 0;
    TD_TRY(status);
    *result = ir_evaluator_value(evaluator, value);
    if (*result == NULL)
        return td_fail(evaluator->context, TD_INVALID,
                       "%s: the wanted value \"%s\" is an input without data", graph->name,
                       value->name != NULL ? value->name : "");
    return TD_OK;
}
