/* The tables of runtime/abi.h as constants of a module of their own, and the query function.
 *
 * A table is written here as the C structure that it is (both sides are little-endian with 64-bit
 * pointers, so the layouts agree) and emitted as its bytes with pointers in between.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/attention.h"
#include "codegen/program.h"
#include "runtime/abi.h"

#include "base/hash.h"
#include "ir/passes/passes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_POINTERS 32

/* A structure's bytes and the pointers that lie in it, by ascending offset. */
typedef struct table_image {
    const void *bytes;
    size_t size;
    size_t count;
    struct {
        size_t offset;
        LLVMValueRef target;
    } pointers[MAX_POINTERS];
} table_image;

/* Everything that lives while tables are made. */
typedef struct tables {
    cg_program *program;
    td_arena arena;
    LLVMContextRef llvm;
    LLVMModuleRef module;
    /* what the tables of all levels point to */
    LLVMValueRef caches[CG_MAX_MODELS], head_ids[CG_MAX_MODELS], tokenizer, api;
} tables;

static LLVMValueRef add_global(tables *self, LLVMValueRef value, unsigned alignment)
{
    LLVMValueRef global = LLVMAddGlobal(self->module, LLVMTypeOf(value), "table");
    LLVMSetInitializer(global, value);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    LLVMSetGlobalConstant(global, true);
    LLVMSetAlignment(global, alignment);
    return global;
}

static LLVMValueRef bytes_constant(tables *self, const void *bytes, size_t size)
{
    return LLVMConstStringInContext2(self->llvm, bytes, size, true);
}

static LLVMValueRef add_bytes(tables *self, const void *bytes, size_t size, unsigned alignment)
{
    return add_global(self, bytes_constant(self, bytes, size), alignment);
}

static LLVMValueRef add_string(tables *self, const char *string)
{
    return add_bytes(self, string, strlen(string) + 1, 1);
}

/* Puts a pointer in place of the bytes at `offset`; NULL leaves them. */
static void set_pointer(table_image *image, size_t offset, LLVMValueRef target)
{
    if (target == NULL)
        return;
    size_t i = image->count++;
    for (; i > 0 && image->pointers[i - 1].offset > offset; i--)
        image->pointers[i] = image->pointers[i - 1];
    image->pointers[i].offset = offset;
    image->pointers[i].target = target;
}

static void set_string(tables *self, table_image *image, size_t offset, const char *string)
{
    set_pointer(image, offset, add_string(self, string));
}

/* Bytes, pointer, bytes, pointer, ..., bytes as one packed constant. */
static LLVMValueRef image_constant(tables *self, const table_image *image)
{
    LLVMValueRef parts[2 * MAX_POINTERS + 1];
    unsigned count = 0;
    size_t at = 0;
    for (size_t i = 0; i <= image->count; i++) {
        const size_t end = i < image->count ? image->pointers[i].offset : image->size;
        if (end > at)
            parts[count++] =
                bytes_constant(self, (const unsigned char *)image->bytes + at, end - at);
        if (i < image->count)
            parts[count++] = image->pointers[i].target;
        at = end + sizeof(void *);
    }
    return LLVMConstStructInContext(self->llvm, parts, count, true);
}

/* --- caches and models --- */

static const sched_graph_plan *plan_of(const tables *self, size_t index, cg_graph which)
{
    const cg_request *request = self->program->request;
    return cg_find_plan(request->plan, cg_model_graph(&request->models[index], which));
}

/* The place in the arena of a graph's output that is a matrix of this type and of known width;
 * false when there is none of that name and kind. */
static bool find_output(const sched_graph_plan *plan, const char *name, ir_type type,
                        tandem_output_info *info)
{
    const ir_graph *graph = plan != NULL ? plan->graph : NULL;
    for (size_t i = 0; graph != NULL && i < graph->output_count; i++) {
        const ir_value *value = graph->outputs[i];
        if (strcmp(graph->output_names[i], name) != 0)
            continue;
        if (value->type != type || value->shape.rank != 2 ||
            !ir_dim_is_constant(&value->shape.dim[1]) || plan->offset[value->id] == UINT64_MAX)
            return false;
        info->offset = plan->offset[value->id];
        info->bytes = plan->bytes[value->id];
        info->columns = (uint32_t)value->shape.dim[1].constant;
        return true;
    }
    return false;
}

/* The heads of the attention over a cache; without one they stay 0. */
static void describe_attention(const ir_graph *forward, const ir_state *state,
                               tandem_cache_info *info)
{
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        if (node->op != IR_OP_cached_attention ||
            strcmp(ir_node_string(node, "state", ""), state->name) != 0)
            continue;
        info->heads = (uint32_t)ir_node_int(node, "heads", 0);
        info->scale = (float)ir_node_float(node, "scale", 1 / sqrt((double)state->head_size));
        info->softcap = (float)ir_node_float(node, "softcap", 0);
        info->window = ir_node_int(node, "window", 0);
        return;
    }
}

void cg_describe_cache(const cg_model *model, const cg_cache *cache, tandem_cache_info *info)
{
    const ir_state *state = cache->state;
    memset(info, 0, sizeof *info); /* padding is written too */
    info->kv_heads = state->kv_heads;
    info->head_size = state->head_size;
    info->element_bytes = ir_type_bits(state->type) / 8;
    info->key_slot_offset = cache->key_slot_offset;
    info->value_slot_offset = cache->value_slot_offset;
    describe_attention(model->forward, state, info);
}

static LLVMValueRef cache_row(tables *self, size_t index, const cg_cache *cache)
{
    tandem_cache_info info;
    cg_describe_cache(&self->program->request->models[index], cache, &info);
    table_image image = {.bytes = &info, .size = sizeof info};
    set_string(self, &image, offsetof(tandem_cache_info, name), cache->state->name);
    char output[32];
    snprintf(output, sizeof output, IR_QUERIES_PREFIX "%u", cache->state->layer);
    if (find_output(plan_of(self, index, CG_FORWARD), output, IR_F32, &info.queries))
        set_string(self, &image, offsetof(tandem_cache_info, queries.name), "queries");
    return image_constant(self, &image);
}

/* NULL for a model without caches. */
static td_status cache_table(tables *self, size_t index, LLVMValueRef *table)
{
    const cg_caches *caches = &self->program->caches[index];
    *table = NULL;
    if (caches->items.count == 0)
        return TD_OK;
    LLVMValueRef *rows = td_arena_allocate(&self->arena, caches->items.count, sizeof *rows);
    if (rows == NULL)
        return td_fail_memory(self->program->context);
    for (size_t i = 0; i < caches->items.count; i++)
        rows[i] = cache_row(self, index, &caches->items.items[i]);
    *table = add_global(self, LLVMConstArray2(LLVMTypeOf(rows[0]), rows, caches->items.count), 16);
    return TD_OK;
}

/* The graph's output: the logits' place in the arena. */
static td_status describe_logits(tables *self, size_t index, tandem_output_info *info)
{
    if (find_output(plan_of(self, index, CG_FORWARD), "logits", IR_F32, info))
        return TD_OK;
    return td_fail(self->program->context, TD_UNSUPPORTED,
                   "graph \"%s\" has no output \"logits\" that is an f32 matrix of known width",
                   self->program->request->models[index].forward->name);
}

/* Ids of the columns of a trimmed head; NULL for a whole one. */
static td_status head_table(tables *self, size_t index, LLVMValueRef *table)
{
    const cg_model *model = &self->program->request->models[index];
    tandem_output_info logits;
    *table = NULL;
    if (model->head_ids == NULL)
        return TD_OK;
    TD_TRY(describe_logits(self, index, &logits));
    if (logits.columns != model->head_count)
        return td_fail(self->program->context, TD_INTERNAL,
                       "%s: %u ids were given for a head of %u rows", model->name,
                       model->head_count, logits.columns);
    *table = add_bytes(self, model->head_ids, model->head_count * sizeof *model->head_ids, 16);
    return TD_OK;
}

/* How a layer turns its keys. */
typedef struct rotation {
    const ir_constant *frequencies; /* NULL: not at all, or not as the runtime could turn them */
    bool interleaved;
} rotation;

static const ir_node *producer_of(const ir_value *value)
{
    return value->kind == IR_VALUE_RESULT ? value->producer : NULL;
}

static rotation rotation_of_keys(const ir_node *attention)
{
    const bool turns_itself = attention->input_count > 4;
    const ir_node *rope = turns_itself ? attention : producer_of(attention->inputs[1]);
    if (rope == NULL || (!turns_itself && rope->op != IR_OP_rope))
        return (rotation){0};
    const ir_node *table = producer_of(rope->inputs[turns_itself ? 4 : 1]);
    if (table == NULL || table->op != IR_OP_rotary_table)
        return (rotation){0};
    return (rotation){table->inputs[1]->constant, ir_node_int(rope, "interleaved", 0) != 0};
}

/* The one way in which all layers turn their keys; where there are several, or a layer that does
 * not, none is described. */
static rotation common_rotation(const ir_graph *forward)
{
    rotation common = {0};
    bool first = true;
    for (const ir_node *node = forward->first; node != NULL; node = node->next) {
        if (node->op != IR_OP_cached_attention)
            continue;
        const rotation own = rotation_of_keys(node);
        if (!first &&
            (own.frequencies != common.frequencies || own.interleaved != common.interleaved))
            return (rotation){0};
        common = own;
        first = false;
    }
    return common;
}

static td_status describe_rotary(tables *self, size_t index, tandem_rotary_info *info,
                                 LLVMValueRef *frequencies)
{
    const rotation common = common_rotation(self->program->request->models[index].forward);
    const ir_constant *constant = common.frequencies;
    if (constant == NULL || !ir_shape_is_static(&constant->shape))
        return TD_OK;
    info->count = (uint32_t)constant->shape.dim[0].constant;
    info->interleaved = common.interleaved;
    float *numbers = td_arena_allocate(&self->arena, info->count + (size_t)1, sizeof *numbers);
    if (numbers == NULL)
        return td_fail_memory(self->program->context);
    TD_TRY(ir_constant_read_f32(self->program->context, constant, 0, info->count, numbers));
    *frequencies = add_bytes(self, numbers, info->count * sizeof *numbers, 16);
    return TD_OK;
}

/* An entry point, which another object defines. */
static void set_entry(tables *self, table_image *image, size_t offset, const cg_level *level,
                      size_t model, cg_graph which)
{
    char name[CG_ENTRY_NAME_BYTES];
    if (!cg_entry_name(self->program, level, model, which, name))
        return;
    LLVMTypeRef frame = LLVMPointerTypeInContext(self->llvm, 0);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(self->llvm), &frame, 1, false);
    LLVMValueRef entry = LLVMAddFunction(self->module, name, type);
    LLVMSetVisibility(entry, LLVMHiddenVisibility);
    set_pointer(image, offset, entry);
}

static void describe_model(const cg_program *program, size_t index, tandem_model_info *info)
{
    const cg_model *model = &program->request->models[index];
    const cg_caches *caches = &program->caches[index];
    memset(info, 0, sizeof *info); /* padding is written too */
    info->vocabulary = model->vocabulary;
    info->context_length = model->context_length;
    info->max_tokens = model->max_tokens;
    info->max_rows = model->max_rows;
    info->ancestor_words = (model->max_tokens + 63) / 64;
    info->layers = (uint32_t)caches->items.count;
    info->count_stride = caches->count_stride;
    info->state_fixed_bytes = caches->fixed_bytes;
    info->state_slot_bytes = caches->slot_bytes;
    info->weights_offset = program->weights_offset[index];
    info->weights_bytes = program->weights[index].bytes;
    info->weights_read_per_pass = program->weights[index].read_per_pass;
}

static td_status model_row(tables *self, const cg_level *level, size_t index, LLVMValueRef *row)
{
    tandem_model_info info;
    LLVMValueRef frequencies = NULL;
    describe_model(self->program, index, &info);
    TD_TRY(describe_logits(self, index, &info.logits));
    TD_TRY(describe_rotary(self, index, &info.rotary, &frequencies));
    const bool has_best = find_output(plan_of(self, index, CG_GREEDY), "best", IR_I32, &info.best);
    table_image image = {.bytes = &info, .size = sizeof info};
    set_string(self, &image, offsetof(tandem_model_info, name),
               self->program->request->models[index].name);
    set_pointer(&image, offsetof(tandem_model_info, caches), self->caches[index]);
    set_pointer(&image, offsetof(tandem_model_info, rotary.frequencies), frequencies);
    set_pointer(&image, offsetof(tandem_model_info, head_ids), self->head_ids[index]);
    set_string(self, &image, offsetof(tandem_model_info, logits.name), "logits");
    set_entry(self, &image, offsetof(tandem_model_info, forward), level, index, CG_FORWARD);
    set_entry(self, &image, offsetof(tandem_model_info, commit), level, index, CG_COMMIT);
    if (has_best) {
        set_string(self, &image, offsetof(tandem_model_info, best.name), "best");
        set_entry(self, &image, offsetof(tandem_model_info, greedy), level, index, CG_GREEDY);
    }
    *row = image_constant(self, &image);
    return TD_OK;
}

/* --- the artefact --- */

static void describe_plan(const cg_request *request, const cg_plan *plan, tandem_plan_info *info)
{
    *info = (tandem_plan_info){
        .weights = plan->weights,
        .arena = plan->arena,
        .tokenizer = plan->tokenizer,
        .code = plan->code,
        .overhead = plan->overhead,
        .slot_bytes = plan->slot_bytes,
        .minimum_slots = plan->minimum_slots,
        .slots = plan->slots,
        .drafter_slots = plan->sizes.drafter_slots,
        .threads = plan->choice.threads,
        .sessions = plan->choice.sessions,
        .budget = request->memory_budget,
        .resident = plan->resident,
        .address_space = plan->address_space,
    };
}

/* Ties a payload to the tables that describe it: names, machine, sizes, plan, weights. */
static uint64_t hash_header(const cg_program *program, const tandem_artefact *artefact)
{
    const cg_request *request = program->request;
    uint64_t hash = td_hash_bytes(TD_HASH_START, artefact, sizeof *artefact);
    hash = td_hash_bytes(hash, request->name, strlen(request->name));
    hash = td_hash_bytes(hash, request->target->triple, strlen(request->target->triple));
    hash = td_hash_bytes(hash, request->cpu.name, strlen(request->cpu.name));
    for (size_t i = 0; i < request->model_count; i++) {
        hash = td_hash_bytes(hash, request->models[i].name, strlen(request->models[i].name));
        hash = td_hash_bytes(hash, &program->weights[i].bytes, sizeof program->weights[i].bytes);
        hash = td_hash_bytes(hash, &program->caches[i].slot_bytes,
                             sizeof program->caches[i].slot_bytes);
        hash = td_hash_bytes(hash, request->models[i].head_ids,
                             request->models[i].head_count * sizeof(int32_t));
    }
    return hash;
}

static LLVMValueRef declare_api(tables *self)
{
    LLVMValueRef api =
        LLVMAddGlobal(self->module, LLVMInt8TypeInContext(self->llvm), "tandem_runtime_api");
    LLVMSetVisibility(api, LLVMHiddenVisibility);
    LLVMSetGlobalConstant(api, true);
    return api;
}

/* What of the artefact is numbers, but for the hash of its header. */
static void describe_artefact(const cg_program *program, const cg_plan *plan, tandem_artefact *info)
{
    const cg_request *request = program->request;
    memset(info, 0, sizeof *info); /* its padding is hashed and written */
    info->abi_version = TANDEM_ABI_VERSION;
    info->size = sizeof *info;
    info->payload_bytes = program->payload_bytes;
    info->payload_hash = program->payload_hash;
    info->arena_bytes = request->plan->arena_bytes;
    info->max_draft = request->max_draft;
    info->model_count = (uint32_t)request->model_count;
    info->tokenizer_bytes = request->tokenizer_bytes;
    info->bos_id = request->bos_id;
    info->eos_id = request->eos_id;
    info->further_end_count = request->further_end_count;
    for (uint32_t i = 0; i < request->further_end_count && i < TANDEM_FURTHER_ENDS; i++)
        info->further_end_ids[i] = request->further_end_ids[i];
    for (size_t i = 0; i < request->plan->extra_count && i < TANDEM_SCRATCH_COUNT; i++) {
        info->scratch[i].offset = request->plan->extras[i].offset;
        info->scratch[i].bytes = request->plan->extras[i].bytes;
    }
    describe_plan(request, plan, &info->plan);
}

static void set_strings(tables *self, const cg_level *level, table_image *image)
{
    const cg_request *request = self->program->request;
    const char *activations = request->activations == NULL ? "f32" : request->activations;
    const char *eviction = request->eviction == NULL ? "none" : request->eviction;
    set_string(self, image, offsetof(tandem_artefact, name), request->name);
    set_string(self, image, offsetof(tandem_artefact, triple), request->target->triple);
    set_string(self, image, offsetof(tandem_artefact, cpu), level->cpu->name);
    set_string(self, image, offsetof(tandem_artefact, features), level->cpu->runtime_check);
    set_string(self, image, offsetof(tandem_artefact, compiler), "tandem " TANDEM_VERSION);
    set_string(self, image, offsetof(tandem_artefact, activations), activations);
    set_string(self, image, offsetof(tandem_artefact, eviction), eviction);
}

/* The table of one level: it differs from the others' in CPU, features and functions only, so that
 * one payload fits them all. */
static td_status artefact_table(tables *self, const cg_plan *plan, const cg_level *level,
                                LLVMValueRef *table)
{
    cg_program *program = self->program;
    const size_t count = program->request->model_count;
    LLVMValueRef models[CG_MAX_MODELS] = {NULL};
    for (size_t i = 0; i < count; i++)
        TD_TRY(model_row(self, level, i, &models[i]));
    tandem_artefact info;
    describe_artefact(program, plan, &info);
    info.header_hash = hash_header(program, &info);
    program->header_hash = info.header_hash;
    table_image image = {.bytes = &info, .size = sizeof info};
    set_strings(self, level, &image);
    set_pointer(&image, offsetof(tandem_artefact, models),
                add_global(self, LLVMConstArray2(LLVMTypeOf(models[0]), models, count), 16));
    set_pointer(&image, offsetof(tandem_artefact, tokenizer), self->tokenizer);
    set_pointer(&image, offsetof(tandem_artefact, api), self->api);
    *table = add_global(self, image_constant(self, &image), 16);
    return TD_OK;
}

/* Returns the table of the strongest level that this machine has. Where it has none, the weakest
 * level's is returned, whose features the runtime then finds missing. */
static void return_level(tables *self, LLVMBuilderRef builder, LLVMValueRef query,
                         LLVMValueRef *artefacts)
{
    const cg_program *program = self->program;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(self->llvm, 0);
    LLVMTypeRef number = LLVMInt32TypeInContext(self->llvm);
    LLVMTypeRef type = LLVMFunctionType(number, &pointer, 1, false);
    LLVMValueRef has = NULL;
    for (size_t level = program->level_count - 1; level > 0; level--) {
        LLVMValueRef features = add_string(self, program->levels[level].cpu->runtime_check);
        LLVMBasicBlockRef found = LLVMAppendBasicBlockInContext(self->llvm, query, "found");
        LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(self->llvm, query, "next");
        if (has == NULL) {
            has = LLVMAddFunction(self->module, "tandem_runtime_has", type);
            LLVMSetVisibility(has, LLVMHiddenVisibility);
        }
        LLVMValueRef answer = LLVMBuildCall2(builder, type, has, &features, 1, "");
        LLVMBuildCondBr(
            builder, LLVMBuildICmp(builder, LLVMIntNE, answer, LLVMConstInt(number, 0, false), ""),
            found, next);
        LLVMPositionBuilderAtEnd(builder, found);
        LLVMBuildRet(builder, artefacts[level]);
        LLVMPositionBuilderAtEnd(builder, next);
    }
    LLVMBuildRet(builder, artefacts[0]);
}

/* const tandem_artefact *tandem_<name>_query(uint32_t max_abi) */
static td_status add_query(tables *self, LLVMValueRef *artefacts)
{
    const cg_request *request = self->program->request;
    char *name = td_arena_format(&self->arena, "tandem_%s_query", request->name);
    if (name == NULL)
        return td_fail_memory(self->program->context);
    LLVMTypeRef pointer = LLVMPointerTypeInContext(self->llvm, 0);
    LLVMTypeRef version = LLVMInt32TypeInContext(self->llvm);
    LLVMValueRef query =
        LLVMAddFunction(self->module, name, LLVMFunctionType(pointer, &version, 1, false));
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(self->llvm);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(self->llvm, query, "entry");
    LLVMBasicBlockRef known = LLVMAppendBasicBlockInContext(self->llvm, query, "known");
    LLVMBasicBlockRef unknown = LLVMAppendBasicBlockInContext(self->llvm, query, "unknown");
    LLVMPositionBuilderAtEnd(builder, entry);
    LLVMBuildCondBr(builder,
                    LLVMBuildICmp(builder, LLVMIntUGE, LLVMGetParam(query, 0),
                                  LLVMConstInt(version, TANDEM_ABI_VERSION, false), ""),
                    known, unknown);
    LLVMPositionBuilderAtEnd(builder, unknown);
    LLVMBuildRet(builder, LLVMConstNull(pointer));
    LLVMPositionBuilderAtEnd(builder, known);
    return_level(self, builder, query, artefacts);
    LLVMDisposeBuilder(builder);
    if (request->emit == CG_EXECUTABLE) {
        LLVMValueRef program = LLVMAddGlobal(self->module, pointer, "tandem_program");
        LLVMSetInitializer(program, query);
        LLVMSetGlobalConstant(program, true);
    }
    return TD_OK;
}

static td_status add_shared(tables *self)
{
    const cg_program *program = self->program;
    const cg_request *request = program->request;
    for (size_t i = 0; i < request->model_count; i++)
        TD_TRY(cache_table(self, i, &self->caches[i]));
    for (size_t i = 0; i < request->model_count; i++)
        TD_TRY(head_table(self, i, &self->head_ids[i]));
    if (!program->bare)
        self->api = declare_api(self);
    if (request->tokenizer != NULL)
        self->tokenizer = add_bytes(self, request->tokenizer, request->tokenizer_bytes, 64);
    return TD_OK;
}

td_status cg_program_add_tables(cg_program *program, const cg_plan *plan)
{
    tables self = {
        .program = program, .llvm = program->tables.llvm, .module = program->tables.module};
    LLVMValueRef artefacts[CG_MAX_LEVELS] = {NULL};
    td_arena_init(&self.arena, program->context);
    td_status status = add_shared(&self);
    for (size_t level = 0; level < program->level_count && status == TD_OK; level++)
        status = artefact_table(&self, plan, &program->levels[level], &artefacts[level]);
    if (status == TD_OK)
        status = add_query(&self, artefacts);
    td_arena_release(&self.arena);
    return status;
}

uint64_t cg_table_bytes(const cg_program *program)
{
    /* Names, strings and alignment of each row, and the query function. */
    const uint64_t row_room = 256, rotary_room = CG_ATTENTION_MAX_CHUNKS * CG_LANES / 2 * 4;
    uint64_t bytes = program->level_count * (sizeof(tandem_artefact) + 4 * row_room);
    for (size_t i = 0; i < program->request->model_count; i++)
        bytes += program->request->models[i].head_count * sizeof(int32_t) +
                 program->level_count * (sizeof(tandem_model_info) + row_room + rotary_room) +
                 program->caches[i].items.count * (sizeof(tandem_cache_info) + row_room);
    return bytes;
}
