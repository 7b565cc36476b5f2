/* Rotary positions: the table of cosines and sines, and the rotation of heads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/lower.h"

/* --- rotary_table --- */

enum { TABLE_POSITIONS, TABLE_FREQUENCIES, TABLE_OUT, TABLE_COUNT };

/* (float)(trig(angle) * scale), the product in binary64. */
static LLVMValueRef scale_down(cg_build *build, LLVMValueRef value, double scale)
{
    LLVMTypeRef type = LLVMTypeOf(value);
    value = LLVMBuildFMul(build->builder, value, cg_constant_real(type, scale), "");
    return LLVMBuildFPTrunc(build->builder, value, cg_type_like(type, build->f32), "");
}

static void emit_table(cg_build *build, const cg_kernel *kernel, uint64_t half, double scale)
{
    LLVMValueRef begin, end;
    cg_share(build, kernel, kernel->rows, &begin, &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef position = cg_load(
        build, build->i32, cg_element(build, kernel->operands[TABLE_POSITIONS], loop.index, 4), 4);
    position = LLVMBuildSIToFP(build->builder, position, build->f32, "");
    LLVMValueRef out = cg_element(build, kernel->operands[TABLE_OUT], loop.index, half * 8);
    for (uint64_t first = 0; first < half; first += CG_LANES) {
        const unsigned count = half - first < CG_LANES ? (unsigned)(half - first) : CG_LANES;
        LLVMValueRef frequency = cg_load_stored(
            build, IR_F32, cg_offset_by(build, kernel->operands[TABLE_FREQUENCIES], first * 4),
            count);
        LLVMValueRef angle =
            LLVMBuildFMul(build->builder, cg_splat(build, position, count), frequency, "");
        LLVMValueRef sine, cosine;
        cg_sine_cosine(build, angle, &sine, &cosine);
        cg_store(build, scale_down(build, cosine, scale), cg_offset_by(build, out, first * 4), 4);
        cg_store(build, scale_down(build, sine, scale),
                 cg_offset_by(build, out, (half + first) * 4), 4);
    }
    cg_loop_end(build, &loop);
}

td_status cg_lower_rotary_table(cg_entry *entry, const ir_node *node)
{
    const ir_value *positions = node->inputs[0], *frequencies = node->inputs[1];
    const ir_value *out = node->outputs[0];
    uint64_t size, half;
    TD_TRY(cg_matrix(node, out, "the table", &size));
    if (!ir_shape_elements_bound(entry->graph->module, &frequencies->shape, &half) ||
        half * 2 != size || positions->type != IR_I32)
        return cg_refuse(node, "%llu frequencies and positions of type %s do not make rows of %llu",
                         (unsigned long long)half, ir_type_name(positions->type),
                         (unsigned long long)size);
    LLVMValueRef addresses[TABLE_COUNT], rows;
    TD_TRY(cg_address(entry, node, positions, &addresses[TABLE_POSITIONS]));
    TD_TRY(cg_address(entry, node, frequencies, &addresses[TABLE_FREQUENCIES]));
    TD_TRY(cg_address(entry, node, out, &addresses[TABLE_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    const double scale = ir_node_float(node, "scale", 1);
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, TABLE_COUNT, &kernel, &fresh, "rotary_table_%llu_%a",
                           (unsigned long long)size, scale));
    if (fresh) {
        emit_table(&entry->lowering->build, &kernel, half, scale);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, TABLE_COUNT, rows, addresses);
    return TD_OK;
}

/* --- rope --- */

enum { ROPE_X, ROPE_TABLE, ROPE_OUT, ROPE_COUNT };

/* first * c - second * s and second * c + first * s, every product and sum rounded. */
static void rotate(cg_build *build, LLVMValueRef c, LLVMValueRef s, LLVMValueRef *first,
                   LLVMValueRef *second)
{
    LLVMBuilderRef builder = build->builder;
    LLVMValueRef x = *first, y = *second;
    *first = LLVMBuildFSub(builder, LLVMBuildFMul(builder, x, c, ""),
                           LLVMBuildFMul(builder, y, s, ""), "");
    *second = LLVMBuildFAdd(builder, LLVMBuildFMul(builder, y, c, ""),
                            LLVMBuildFMul(builder, x, s, ""), "");
}

/* a0, b0, a1, b1, ... */
static LLVMValueRef interleave(cg_build *build, LLVMValueRef a, LLVMValueRef b, unsigned count)
{
    LLVMValueRef lanes[2 * CG_LANES];
    for (unsigned i = 0; i < 2 * count; i++)
        lanes[i] = cg_i32(build, i / 2 + (i % 2) * count);
    return LLVMBuildShuffleVector(build->builder, a, b, LLVMConstVector(lanes, 2 * count), "");
}

/* Rotates the frequencies first .. first + count - 1 of one head. */
static void emit_chunk(cg_build *build, LLVMValueRef x, LLVMValueRef table, LLVMValueRef out,
                       uint64_t half, uint64_t first, unsigned count, bool interleaved)
{
    LLVMValueRef c = cg_load_stored(build, IR_F32, cg_offset_by(build, table, first * 4), count);
    LLVMValueRef s =
        cg_load_stored(build, IR_F32, cg_offset_by(build, table, (half + first) * 4), count);
    if (interleaved) {
        LLVMValueRef both =
            cg_load(build, cg_vector(build->f32, 2 * count), cg_offset_by(build, x, first * 8), 4);
        LLVMValueRef a = cg_shuffle(build, both, NULL, count, 0, 2);
        LLVMValueRef b = cg_shuffle(build, both, NULL, count, 1, 2);
        rotate(build, c, s, &a, &b);
        cg_store(build, interleave(build, a, b, count), cg_offset_by(build, out, first * 8), 4);
        return;
    }
    LLVMValueRef a = cg_load_stored(build, IR_F32, cg_offset_by(build, x, first * 4), count);
    LLVMValueRef b =
        cg_load_stored(build, IR_F32, cg_offset_by(build, x, (half + first) * 4), count);
    rotate(build, c, s, &a, &b);
    cg_store(build, a, cg_offset_by(build, out, first * 4), 4);
    cg_store(build, b, cg_offset_by(build, out, (half + first) * 4), 4);
}

void cg_rotate_head(cg_build *build, LLVMValueRef x, LLVMValueRef table, LLVMValueRef out,
                    uint64_t size, bool interleaved)
{
    for (uint64_t first = 0; first < size / 2; first += CG_LANES) {
        const uint64_t left = size / 2 - first;
        emit_chunk(build, x, table, out, size / 2, first,
                   left < CG_LANES ? (unsigned)left : CG_LANES, interleaved);
    }
}

/* Items are heads of tokens. */
static void emit_rope(cg_build *build, const cg_kernel *kernel, uint64_t heads, uint64_t size,
                      bool interleaved)
{
    LLVMValueRef begin, end, head_count = cg_i64(build, (int64_t)heads);
    cg_share(build, kernel, LLVMBuildMul(build->builder, kernel->rows, head_count, ""), &begin,
             &end);
    cg_loop loop = cg_loop_begin(build, begin, end, 1);
    LLVMValueRef token = LLVMBuildUDiv(build->builder, loop.index, head_count, "");
    LLVMValueRef table = cg_element(build, kernel->operands[ROPE_TABLE], token, size * 4);
    LLVMValueRef x = cg_element(build, kernel->operands[ROPE_X], loop.index, size * 4);
    LLVMValueRef out = cg_element(build, kernel->operands[ROPE_OUT], loop.index, size * 4);
    cg_rotate_head(build, x, table, out, size, interleaved);
    cg_loop_end(build, &loop);
}

td_status cg_lower_rope(cg_entry *entry, const ir_node *node)
{
    const ir_value *x = node->inputs[0], *table = node->inputs[1], *out = node->outputs[0];
    uint64_t columns, width;
    TD_TRY(cg_matrix(node, x, "the activation", &columns));
    TD_TRY(cg_matrix(node, table, "the table", &width));
    const int64_t size = ir_node_int(node, "head_size", 0);
    if (size <= 0 || size % 2 != 0 || (uint64_t)size != width || columns % width != 0)
        return cg_refuse(node, "heads of %lld do not fit a table of width %llu and rows of %llu",
                         (long long)size, (unsigned long long)width, (unsigned long long)columns);
    const bool interleaved = ir_node_int(node, "interleaved", 0) != 0;
    LLVMValueRef addresses[ROPE_COUNT], rows;
    TD_TRY(cg_address(entry, node, x, &addresses[ROPE_X]));
    TD_TRY(cg_address(entry, node, table, &addresses[ROPE_TABLE]));
    TD_TRY(cg_address(entry, node, out, &addresses[ROPE_OUT]));
    TD_TRY(cg_dimension(entry, node, &out->shape.dim[0], &rows));
    cg_kernel kernel;
    bool fresh;
    TD_TRY(cg_kernel_begin(entry->lowering, ROPE_COUNT, &kernel, &fresh, "rope_%llux%lld%s",
                           (unsigned long long)(columns / width), (long long)size,
                           interleaved ? "_interleaved" : ""));
    if (fresh) {
        emit_rope(&entry->lowering->build, &kernel, columns / width, width, interleaved);
        cg_kernel_end(entry->lowering, &kernel);
    }
    cg_kernel_call(entry, &kernel, ROPE_COUNT, rows, addresses);
    return TD_OK;
}
