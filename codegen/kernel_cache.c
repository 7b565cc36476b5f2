/* The KV cache: writing the tail and committing a path of it.
 *
 * Of K, 16 neighbouring slots lie side by side, [slots / 16][size][16], so that a score has a lane
 * of its own; V lies row by row. Rows of i8 caches have an f16 scale each.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/attention.h"

#define SCALE_BYTES 2 /* of one f16 scale */

cg_cache_view cg_cache_see(cg_build *build, const cg_kernel *kernel, const ir_state *state)
{
    return (cg_cache_view){
        .build = build,
        .type = state->type,
        .kv_heads = state->kv_heads,
        .size = state->head_size,
        .element_bytes = ir_type_bits(state->type) / 8,
        .slots = cg_frame_symbol(build, kernel->frame, TANDEM_SYMBOL_SLOTS),
        .tail = cg_frame_symbol(build, kernel->frame, TANDEM_SYMBOL_TAIL),
    };
}

LLVMValueRef cg_cache_count(const cg_cache_view *cache, LLVMValueRef counts, LLVMValueRef head)
{
    cg_build *build = cache->build;
    LLVMValueRef count = cg_load(build, build->i32, cg_element(build, counts, head, 4), 4);
    return LLVMBuildZExt(build->builder, count, build->i64, "");
}

LLVMValueRef cg_cache_head(const cg_cache_view *cache, LLVMValueRef start, LLVMValueRef head)
{
    LLVMValueRef slot = LLVMBuildMul(cache->build->builder, head, cache->slots, "");
    return cg_element(cache->build, start, slot, cache->size * cache->element_bytes);
}

LLVMValueRef cg_cache_scales(const cg_cache_view *cache, LLVMValueRef start, LLVMValueRef head)
{
    cg_build *build = cache->build;
    LLVMValueRef scales = cg_element(build, start, cache->slots,
                                     cache->kv_heads * cache->size * cache->element_bytes);
    return cg_element(build, scales, LLVMBuildMul(build->builder, head, cache->slots, ""),
                      SCALE_BYTES);
}

uint64_t cg_cache_panel_bytes(const cg_cache_view *cache)
{
    return cache->size * CG_LANES * cache->element_bytes;
}

/* Where a slot's first element of K lies; the next ones follow at steps of 16 elements. */
static LLVMValueRef key_column(const cg_cache_view *cache, LLVMValueRef head_start,
                               LLVMValueRef slot)
{
    cg_build *build = cache->build;
    LLVMValueRef panel = LLVMBuildLShr(build->builder, slot, cg_i64(build, 4), "");
    LLVMValueRef lane = LLVMBuildAnd(build->builder, slot, cg_i64(build, CG_LANES - 1), "");
    LLVMValueRef start = cg_element(build, head_start, panel, cg_cache_panel_bytes(cache));
    return cg_element(build, start, lane, cache->element_bytes);
}

/* Copies a row of elements from one stride to another. */
static void copy_elements(const cg_cache_view *cache, LLVMValueRef to, uint64_t to_stride,
                          LLVMValueRef from, uint64_t from_stride)
{
    cg_build *build = cache->build;
    const unsigned bytes = cache->element_bytes;
    LLVMTypeRef type = LLVMIntTypeInContext(build->context, bytes * 8);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), cg_i64(build, (int64_t)cache->size), 1);
    LLVMValueRef element =
        cg_load(build, type, cg_element(build, from, loop.index, from_stride), bytes);
    cg_store(build, element, cg_element(build, to, loop.index, to_stride), bytes);
    cg_loop_end(build, &loop);
}

/* --- writing the tail --- */

static unsigned chunk_lanes(const cg_cache_view *cache, uint64_t first)
{
    return cache->size - first < CG_LANES ? (unsigned)(cache->size - first) : CG_LANES;
}

/* Stores the scale of a row of f32 as f16 and returns it, with its inverse, or 0 when there is
 * none. */
static LLVMValueRef emit_scale(const cg_cache_view *cache, LLVMValueRef from, LLVMValueRef scale_at)
{
    cg_build *build = cache->build;
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef integers = cg_vector(build->i32, CG_LANES), one = cg_vector(build->f32, 1);
    LLVMValueRef largest = cg_constant_int(integers, 0);
    for (uint64_t d = 0; d < cache->size; d += CG_LANES) {
        LLVMValueRef x =
            cg_load_lanes(build, cg_offset_by(build, from, d * 4), chunk_lanes(cache, d));
        LLVMValueRef bits = LLVMBuildAnd(builder, LLVMBuildBitCast(builder, x, integers, ""),
                                         cg_constant_int(integers, 0x7fffffff), "");
        LLVMValueRef more = LLVMBuildICmp(builder, LLVMIntUGT, bits, largest, "");
        largest = LLVMBuildSelect(builder, more, bits, largest, "");
    }
    for (unsigned step = CG_LANES / 2; step > 0; step /= 2) {
        LLVMValueRef a = cg_shuffle(build, largest, NULL, step, 0, 1);
        LLVMValueRef b = cg_shuffle(build, largest, NULL, step, step, 1);
        LLVMValueRef more = LLVMBuildICmp(builder, LLVMIntUGT, a, b, "");
        largest = LLVMBuildSelect(builder, more, a, b, "");
    }
    LLVMValueRef m = LLVMBuildBitCast(builder, largest, one, "");
    cg_store_stored(build, IR_F16, LLVMBuildFDiv(builder, m, cg_constant_real(one, 127), ""),
                    scale_at);
    LLVMValueRef scale = cg_lane(build, cg_load_stored(build, IR_F16, scale_at, 1), 0);
    LLVMValueRef usable = LLVMBuildAnd(
        builder, LLVMBuildFCmp(builder, LLVMRealOGT, scale, cg_constant_real(build->f32, 0), ""),
        LLVMBuildFCmp(builder, LLVMRealOLT, scale, cg_constant_real(build->f32, INFINITY), ""), "");
    LLVMValueRef inverse = LLVMBuildFDiv(builder, cg_constant_real(build->f32, 1), scale, "");
    return LLVMBuildSelect(builder, usable, inverse, cg_constant_real(build->f32, 0), "");
}

/* rint(x * inverse) within -127 .. 127; 0 when there is no inverse. */
static LLVMValueRef quantised(cg_build *build, LLVMValueRef x, LLVMValueRef inverse)
{
    LLVMBuilderRef builder = build->builder;
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef factor = cg_splat(build, inverse, LLVMGetVectorSize(type));
    LLVMValueRef none =
        LLVMBuildFCmp(builder, LLVMRealOEQ, inverse, cg_constant_real(build->f32, 0), "");
    LLVMValueRef y = LLVMBuildFMul(builder, x, factor, "");
    LLVMValueRef most = cg_constant_real(type, 127), least = cg_constant_real(type, -127);
    LLVMValueRef over = LLVMBuildFCmp(builder, LLVMRealOGT, y, most, "");
    y = LLVMBuildSelect(builder, over, most, y, "");
    LLVMValueRef under = LLVMBuildFCmp(builder, LLVMRealOLT, y, least, "");
    y = LLVMBuildSelect(builder, under, least, y, "");
    y = LLVMBuildSelect(builder, none, cg_constant_real(type, 0), y, "");
    /* The bounds are whole, so rounding may come last, where it is part of the conversion. */
    y = LLVMBuildFPToSI(builder, cg_intrinsic(build, "llvm.roundeven", y),
                        cg_type_like(type, build->i32), "");
    return LLVMBuildTrunc(builder, y, cg_type_like(type, build->i8), "");
}

/* Rounds a row of f32 to the cache's type. */
static void emit_round(const cg_cache_view *cache, LLVMValueRef from, LLVMValueRef to,
                       LLVMValueRef scale_at)
{
    cg_build *build = cache->build;
    LLVMValueRef inverse = cache->type == IR_I8 ? emit_scale(cache, from, scale_at) : NULL;
    for (uint64_t d = 0; d < cache->size; d += CG_LANES) {
        LLVMValueRef x =
            cg_load_stored(build, IR_F32, cg_offset_by(build, from, d * 4), chunk_lanes(cache, d));
        LLVMValueRef at = cg_offset_by(build, to, d * cache->element_bytes);
        if (cache->type == IR_I8)
            cg_store(build, quantised(build, x, inverse), at, 1);
        else
            cg_store_stored(build, cache->type, x, at);
    }
}

void cg_emit_write_tail(const cg_cache_view *cache, const cg_kernel *kernel, const cg_turn *turn)
{
    cg_build *build = cache->build;
    LLVMBuilderRef builder = build->builder;
    const uint64_t row_bytes = cache->size * cache->element_bytes;
    LLVMValueRef heads = cg_i64(build, (int64_t)cache->kv_heads), begin, end;
    LLVMValueRef row = cg_variable(build, LLVMArrayType2(build->i8, row_bytes), "row");
    LLVMValueRef turned = cg_variable(build, LLVMArrayType2(build->f32, cache->size), "turned");
    cg_share(build, kernel, LLVMBuildMul(builder, kernel->rows, heads, ""), &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef token = LLVMBuildUDiv(builder, loop.index, heads, "");
    LLVMValueRef head = LLVMBuildURem(builder, loop.index, heads, "");
    LLVMValueRef slot = cg_cache_count(cache, kernel->operands[CG_ATTENTION_COUNTS], head);
    slot = LLVMBuildAdd(builder, slot, LLVMBuildAdd(builder, cache->tail, token, ""), "");
    for (unsigned part = 0; part < 2; part++) {
        LLVMValueRef start = kernel->operands[CG_ATTENTION_KEYS + part];
        LLVMValueRef from =
            cg_element(build, kernel->operands[CG_ATTENTION_K + part], loop.index, cache->size * 4);
        LLVMValueRef rows = cg_cache_head(cache, start, head);
        LLVMValueRef scales = cg_cache_scales(cache, start, head);
        LLVMValueRef scale_at = cg_element(build, scales, slot, SCALE_BYTES);
        if (part == 0) {
            if (turn->keys) {
                LLVMValueRef table =
                    cg_element(build, kernel->operands[CG_ATTENTION_TABLE], token, cache->size * 4);
                cg_rotate_head(build, from, table, turned, cache->size, turn->interleaved);
                from = turned;
            }
            emit_round(cache, from, row, scale_at);
            copy_elements(cache, key_column(cache, rows, slot), CG_LANES * cache->element_bytes,
                          row, cache->element_bytes);
        } else {
            emit_round(cache, from, cg_element(build, rows, slot, row_bytes), scale_at);
        }
    }
    cg_loop_end(build, &loop);
}

/* --- nodes --- */

td_status cg_cache_addresses(const cg_entry *entry, const ir_node *node, const cg_cache **cache,
                             LLVMValueRef *addresses)
{
    cg_build *build = &entry->lowering->build;
    const char *name = ir_node_string(node, "state", "");
    const int index = cg_caches_find(entry->caches, name);
    if (index < 0)
        return cg_refuse(node, "there is no cache \"%s\"", name);
    *cache = &entry->caches->items.items[index];
    addresses[0] = cg_offset_by(build, entry->state,
                                (uint64_t)index * entry->caches->count_stride * sizeof(int32_t));
    LLVMValueRef start = cg_offset_by(build, entry->state, entry->caches->fixed_bytes);
    addresses[1] = cg_element(build, start, entry->slots, (*cache)->key_slot_offset);
    addresses[2] = cg_element(build, start, entry->slots, (*cache)->value_slot_offset);
    return TD_OK;
}

/* --- cache_commit --- */

enum { COMMIT_PATH, COMMIT_COUNTS, COMMIT_KEYS, COMMIT_VALUES, COMMIT_OPERANDS };

static void move_slot(const cg_cache_view *cache, const cg_kernel *kernel, LLVMValueRef head,
                      LLVMValueRef to, LLVMValueRef from)
{
    cg_build *build = cache->build;
    const uint64_t bytes = cache->element_bytes, row_bytes = cache->size * bytes;
    LLVMValueRef keys = cg_cache_head(cache, kernel->operands[COMMIT_KEYS], head);
    LLVMValueRef values = cg_cache_head(cache, kernel->operands[COMMIT_VALUES], head);
    copy_elements(cache, key_column(cache, keys, to), CG_LANES * bytes,
                  key_column(cache, keys, from), CG_LANES * bytes);
    copy_elements(cache, cg_element(build, values, to, row_bytes), bytes,
                  cg_element(build, values, from, row_bytes), bytes);
    for (unsigned part = COMMIT_KEYS; part <= COMMIT_VALUES && cache->type == IR_I8; part++) {
        LLVMValueRef scales = cg_cache_scales(cache, kernel->operands[part], head);
        LLVMValueRef scale =
            cg_load(build, build->i16, cg_element(build, scales, from, SCALE_BYTES), SCALE_BYTES);
        cg_store(build, scale, cg_element(build, scales, to, SCALE_BYTES), SCALE_BYTES);
    }
}

/* Moves tail slot path[i] to i, i ascending: path is ascending, so nothing is overwritten before it
 * has moved. Each head belongs to one part. */
static void emit_commit(cg_build *build, const cg_kernel *kernel, const ir_state *state)
{
    LLVMBuilderRef builder = build->builder;
    const cg_cache_view cache = cg_cache_see(build, kernel, state);
    LLVMValueRef begin, end;
    cg_share(build, kernel, cg_i64(build, state->kv_heads), &begin, &end);
    cg_loop heads = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef count = cg_cache_count(&cache, kernel->operands[COMMIT_COUNTS], heads.index);
    cg_loop loop = cg_loop_begin(build, cg_i64(build, 0), kernel->rows, 1);
    LLVMValueRef source = cg_load(
        build, build->i32, cg_element(build, kernel->operands[COMMIT_PATH], loop.index, 4), 4);
    source = LLVMBuildZExt(builder, source, build->i64, "");
    cg_branch moves = cg_if(build, LLVMBuildICmp(builder, LLVMIntNE, source, loop.index, ""));
    move_slot(&cache, kernel, heads.index, LLVMBuildAdd(builder, count, loop.index, ""),
              LLVMBuildAdd(builder, count, source, ""));
    cg_end_if(build, &moves);
    cg_loop_end(build, &loop);
    LLVMValueRef more = LLVMBuildAdd(builder, count, kernel->rows, "");
    cg_store(build, LLVMBuildTrunc(builder, more, build->i32, ""),
             cg_element(build, kernel->operands[COMMIT_COUNTS], heads.index, 4), 4);
    cg_loop_end(build, &heads);
}

td_status cg_lower_commit(cg_entry *entry, const ir_node *node)
{
    const ir_value *path = node->inputs[0];
    const cg_cache *cache;
    LLVMValueRef addresses[COMMIT_OPERANDS], rows;
    if (path->type != IR_I32 || path->shape.rank != 1)
        return cg_refuse(node, "the path is i32 [accepted]");
    TD_TRY(cg_address(entry, node, path, &addresses[COMMIT_PATH]));
    TD_TRY(cg_cache_addresses(entry, node, &cache, &addresses[COMMIT_COUNTS]));
    rows = cg_frame_symbol(&entry->lowering->build, entry->frame, TANDEM_SYMBOL_ACCEPTED);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, COMMIT_OPERANDS, &kernel, &fresh, "commit_%s_%ux%u",
                           ir_type_name(cache->state->type), cache->state->kv_heads,
                           cache->state->head_size));
    if (fresh) {
        emit_commit(&entry->lowering->build, &kernel, cache->state);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, COMMIT_OPERANDS, rows, addresses);
    return TD_OK;
}
