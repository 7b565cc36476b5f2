/* What all kernels need: functions by key, parts, frame fields, addresses and dimensions.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"
#include "runtime/abi.h"

#include <stdio.h>
#include <string.h>

void cg_lowering_init(cg_lowering *lowering, td_context *context, const cg_cpu *cpu,
                      LLVMContextRef llvm, LLVMModuleRef module)
{
    *lowering = (cg_lowering){.context = context, .cpu = cpu};
    td_arena_init(&lowering->arena, context);
    td_map_init(&lowering->kernels, context);
    cg_build_init(&lowering->build, llvm, module, cpu->has_fma);
    lowering->build.has_half = cpu->has_half;
}

void cg_lowering_release(cg_lowering *lowering)
{
    cg_build_release(&lowering->build);
    td_map_release(&lowering->kernels);
    td_arena_release(&lowering->arena);
}

/* --- functions --- */

static void add_attribute(cg_lowering *lowering, LLVMValueRef function, const char *name,
                          const char *value)
{
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(
        lowering->build.context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

static void add_flag(cg_lowering *lowering, LLVMValueRef function, const char *name)
{
    const unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(lowering->build.context, kind, 0));
}

LLVMValueRef cg_function_begin(cg_lowering *lowering, const char *name, LLVMTypeRef type)
{
    LLVMValueRef function = LLVMAddFunction(lowering->build.module, name, type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    add_flag(lowering, function, "noinline");
    add_flag(lowering, function, "nounwind");
    add_attribute(lowering, function, "target-cpu", lowering->cpu->llvm_cpu);
    if (lowering->cpu->llvm_features[0] != '\0')
        add_attribute(lowering, function, "target-features", lowering->cpu->llvm_features);
    if (lowering->cpu->vector_bits >= 512) {
        /* The generic level prefers half of its registers' width. */
        add_attribute(lowering, function, "prefer-vector-width", "512");
        add_attribute(lowering, function, "min-legal-vector-width", "512");
    }
    LLVMBasicBlockRef first =
        LLVMAppendBasicBlockInContext(lowering->build.context, function, "entry");
    LLVMPositionBuilderAtEnd(lowering->build.builder, first);
    return function;
}

/* A tandem_kernel. Its arguments are eight bytes each, in this order. */
enum { ARGUMENT_FRAME, ARGUMENT_ROWS, ARGUMENT_OPERANDS = CG_FIRST_OPERAND };

static LLVMTypeRef kernel_type(cg_build *build)
{
    LLVMTypeRef parameters[] = {build->pointer, build->i64, build->i64};
    return LLVMFunctionType(build->none, parameters, 3, false);
}

static LLVMValueRef argument(cg_build *build, LLVMValueRef arguments, unsigned index)
{
    return cg_offset_by(build, arguments, (uint64_t)index * 8);
}

static void read_parameters(cg_build *build, cg_kernel *kernel, unsigned operands)
{
    LLVMValueRef from = LLVMGetParam(kernel->function, 0);
    kernel->part = LLVMGetParam(kernel->function, 1);
    kernel->parts = LLVMGetParam(kernel->function, 2);
    kernel->frame = cg_load(build, build->pointer, argument(build, from, ARGUMENT_FRAME), 8);
    kernel->rows = cg_load(build, build->i64, argument(build, from, ARGUMENT_ROWS), 8);
    for (unsigned i = 0; i < operands; i++)
        kernel->operands[i] =
            cg_load(build, build->pointer, argument(build, from, ARGUMENT_OPERANDS + i), 8);
}

td_status cg_kernel_begin(cg_lowering *lowering, unsigned operands, cg_kernel *kernel, bool *fresh,
                          const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *kernel = (cg_kernel){.function = td_map_get(&lowering->kernels, text)};
    *fresh = kernel->function == NULL;
    if (*fresh) {
        char *key = td_arena_string(&lowering->arena, text);
        if (key == NULL)
            return td_fail_memory(lowering->context);
        LLVMBasicBlockRef caller = LLVMGetInsertBlock(lowering->build.builder);
        kernel->function = cg_function_begin(lowering, key, kernel_type(&lowering->build));
        kernel->caller = caller;
        if (!td_map_put(&lowering->kernels, key, kernel->function))
            return td_fail_memory(lowering->context);
        read_parameters(&lowering->build, kernel, operands);
    }
    return TD_OK;
}

void cg_kernel_end(cg_lowering *lowering, const cg_kernel *kernel)
{
    LLVMBuildRetVoid(lowering->build.builder);
    LLVMPositionBuilderAtEnd(lowering->build.builder, kernel->caller);
}

/* The function through which entry points run kernels: (frame, kernel, arguments, work). Alone, a
 * kernel is called directly, as its only part. */
static LLVMValueRef runner(cg_lowering *lowering, LLVMTypeRef *type)
{
    cg_build *build = &lowering->build;
    LLVMTypeRef parameters[] = {build->pointer, build->pointer, build->pointer, build->i64};
    *type = LLVMFunctionType(build->none, parameters, TD_COUNT_OF(parameters), false);
    if (lowering->runner != NULL)
        return lowering->runner;
    LLVMBasicBlockRef caller = LLVMGetInsertBlock(build->builder);
    LLVMValueRef function = cg_function_begin(lowering, "run_kernel", *type);
    LLVMValueRef frame = LLVMGetParam(function, 0), kernel = LLVMGetParam(function, 1);
    LLVMValueRef from = LLVMGetParam(function, 2), work = LLVMGetParam(function, 3);
    LLVMValueRef share = cg_load(build, build->pointer,
                                 cg_offset_by(build, frame, offsetof(tandem_frame, share)), 8);
    cg_branch branch = cg_if(build, LLVMBuildIsNull(build->builder, share, ""));
    LLVMValueRef alone[] = {from, cg_i64(build, 0), cg_i64(build, 1)};
    LLVMBuildCall2(build->builder, kernel_type(build), kernel, alone, TD_COUNT_OF(alone), "");
    cg_else(build, &branch);
    LLVMValueRef self = cg_load(build, build->pointer,
                                cg_offset_by(build, frame, offsetof(tandem_frame, share_self)), 8);
    LLVMValueRef shared[] = {self, kernel, from, work};
    LLVMBuildCall2(build->builder, *type, share, shared, TD_COUNT_OF(shared), "");
    cg_end_if(build, &branch);
    LLVMBuildRetVoid(build->builder);
    LLVMPositionBuilderAtEnd(build->builder, caller);
    lowering->runner = function;
    return function;
}

void cg_kernel_call(const cg_entry *entry, const cg_kernel *kernel, unsigned operands,
                    LLVMValueRef rows, LLVMValueRef *addresses)
{
    cg_build *build = &entry->lowering->build;
    LLVMValueRef to = entry->arguments;
    cg_store(build, entry->frame, argument(build, to, ARGUMENT_FRAME), 8);
    cg_store(build, rows, argument(build, to, ARGUMENT_ROWS), 8);
    for (unsigned i = 0; i < operands; i++)
        cg_store(build, addresses[i], argument(build, to, ARGUMENT_OPERANDS + i), 8);
    LLVMTypeRef type;
    LLVMValueRef function = runner(entry->lowering, &type);
    LLVMValueRef arguments[] = {entry->frame, kernel->function, to, entry->work};
    LLVMBuildCall2(build->builder, type, function, arguments, TD_COUNT_OF(arguments), "");
}

void cg_share(cg_build *build, const cg_kernel *kernel, LLVMValueRef total, LLVMValueRef *begin,
              LLVMValueRef *end)
{
    LLVMValueRef next = LLVMBuildAdd(build->builder, kernel->part, cg_i64(build, 1), "");
    LLVMValueRef before = LLVMBuildMul(build->builder, total, kernel->part, "");
    LLVMValueRef through = LLVMBuildMul(build->builder, total, next, "");
    *begin = LLVMBuildUDiv(build->builder, before, kernel->parts, "begin");
    *end = LLVMBuildUDiv(build->builder, through, kernel->parts, "end");
}

/* --- the frame --- */

LLVMValueRef cg_frame_symbol(cg_build *build, LLVMValueRef frame, unsigned symbol)
{
    const uint64_t offset = offsetof(tandem_frame, symbols) + symbol * sizeof(int64_t);
    return cg_load(build, build->i64, cg_offset_by(build, frame, offset), 8);
}

/* --- values --- */

td_status cg_refuse(const ir_node *node, const char *format, ...)
{
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return td_fail(node->graph->module->context, TD_UNSUPPORTED, "%s: node \"%s\" (%s): %s",
                   node->graph->name, node->name, ir_op(node->op)->name, reason);
}

static const struct {
    const char *name;
    unsigned input;
    ir_type type;
} inputs[] = {
    {"ids", TANDEM_INPUT_IDS, IR_I32},
    {"positions", TANDEM_INPUT_POSITIONS, IR_I32},
    {"ancestors", TANDEM_INPUT_ANCESTORS, IR_I64},
    {"rows", TANDEM_INPUT_ROWS, IR_I32},
    {"path", TANDEM_INPUT_PATH, IR_I32},
};

LLVMValueRef cg_weight_address(const cg_entry *entry, uint64_t offset)
{
    return cg_offset_by(&entry->lowering->build, entry->weights_base, offset);
}

static td_status input_address(const cg_entry *entry, const ir_node *node, const ir_value *value,
                               LLVMValueRef *address)
{
    cg_build *build = &entry->lowering->build;
    const char *name = value->name == NULL ? "" : value->name;
    for (size_t i = 0; i < TD_COUNT_OF(inputs); i++)
        if (strcmp(inputs[i].name, name) == 0) {
            if (value->type != inputs[i].type)
                return cg_refuse(node, "input \"%s\" has type %s, %s is expected", name,
                                 ir_type_name(value->type), ir_type_name(inputs[i].type));
            const uint64_t offset =
                offsetof(tandem_frame, inputs) + inputs[i].input * sizeof(void *);
            *address = cg_load(build, build->pointer, cg_offset_by(build, entry->frame, offset), 8);
            return TD_OK;
        }
    return cg_refuse(node,
                     "graph input \"%s\" is unknown; known are ids, positions, ancestors, rows "
                     "and path",
                     name);
}

td_status cg_address(const cg_entry *entry, const ir_node *node, const ir_value *value,
                     LLVMValueRef *address)
{
    if (value->kind == IR_VALUE_INPUT)
        return input_address(entry, node, value, address);
    if (value->kind == IR_VALUE_CONSTANT) {
        const cg_weight *weight = cg_weights_find(entry->weights, value->constant, CG_ROLE_PLAIN);
        if (weight == NULL)
            return cg_refuse(node, "constant \"%s\" has no place among the weights",
                             value->constant->name);
        *address = cg_weight_address(entry, weight->offset);
        return TD_OK;
    }
    const uint64_t offset = entry->plan->offset[value->id];
    if (offset == UINT64_MAX)
        return td_fail(entry->lowering->context, TD_INTERNAL,
                       "%s: node \"%s\" (%s): a value has no place in the arena", node->graph->name,
                       node->name, ir_op(node->op)->name);
    *address = cg_offset_by(&entry->lowering->build, entry->arena, offset);
    return TD_OK;
}

static const struct {
    const char *name;
    unsigned symbol;
} symbols[] = {
    {"tokens", TANDEM_SYMBOL_TOKENS},
    {"rows", TANDEM_SYMBOL_ROWS},
    {"slots", TANDEM_SYMBOL_SLOTS},
    {"accepted", TANDEM_SYMBOL_ACCEPTED},
};

td_status cg_dimension(const cg_entry *entry, const ir_node *node, const ir_dim *dim,
                       LLVMValueRef *value)
{
    cg_build *build = &entry->lowering->build;
    const ir_module *module = entry->graph->module;
    const ir_dim resolved = ir_module_dim_resolve(module, dim);
    LLVMValueRef sum = cg_i64(build, resolved.constant);
    for (uint32_t t = 0; t < resolved.terms; t++) {
        const char *name = module->symbols.items[resolved.term[t].symbol].name;
        LLVMValueRef symbol = NULL;
        for (size_t i = 0; i < TD_COUNT_OF(symbols) && symbol == NULL; i++)
            if (strcmp(symbols[i].name, name) == 0)
                symbol = cg_frame_symbol(build, entry->frame, symbols[i].symbol);
        if (symbol == NULL)
            return cg_refuse(node, "a dimension depends on \"%s\", which no entry point is given",
                             name);
        LLVMValueRef term =
            LLVMBuildMul(build->builder, symbol, cg_i64(build, resolved.term[t].factor), "");
        sum = LLVMBuildAdd(build->builder, sum, term, "");
    }
    *value = sum;
    return TD_OK;
}

td_status cg_matrix(const ir_node *node, const ir_value *value, const char *what, uint64_t *columns)
{
    if (value->type != IR_F32 || value->shape.rank != 2 ||
        !ir_dim_is_constant(&value->shape.dim[1]) || value->shape.dim[1].constant <= 0)
        return cg_refuse(node, "%s has type %s and rank %u; an f32 matrix of known width is needed",
                         what, ir_type_name(value->type), value->shape.rank);
    *columns = (uint64_t)value->shape.dim[1].constant;
    return TD_OK;
}
