/* Constants: adding them to a module, and reading ranges of their elements lazily.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/half.h"
#include "ir/private.h"

#include <inttypes.h>
#include <string.h>

/* Elements are read through a buffer of this many bytes: a tensor is never held whole here. */
#define CHUNK_BYTES 4096

/* --- adding --- */

static uint64_t last_axis(const ir_constant *constant)
{
    uint32_t rank = constant->shape.rank;
    return rank == 0 ? 1 : (uint64_t)constant->shape.dim[rank - 1].constant;
}

static td_status count_elements(ir_module *module, const ir_constant *constant, uint64_t *elements)
{
    if (constant->shape.rank > IR_MAX_RANK || !ir_shape_is_static(&constant->shape) ||
        !ir_shape_elements_bound(module, &constant->shape, elements))
        return td_fail(
            module->context, TD_INVALID,
            "constant \"%s\": its shape must be fixed, with dimensions of at least 0 and "
            "a number of elements that fits 64 bits",
            constant->name);
    return TD_OK;
}

static td_status check_part(ir_module *module, const ir_constant *constant, const ir_constant *part,
                            const char *what, uint64_t wanted)
{
    uint64_t elements = 0;
    TD_TRY(count_elements(module, part, &elements));
    if (part->scale != NULL || elements != wanted)
        return td_fail(module->context, TD_INVALID,
                       "constant \"%s\": its %s has %" PRIu64 " elements%s; one for each group of "
                       "%" PRIu32 " would be %" PRIu64,
                       constant->name, what, elements,
                       part->scale != NULL ? " and is quantised itself" : "", constant->group,
                       wanted);
    return TD_OK;
}

static td_status check_quantisation(ir_module *module, const ir_constant *constant,
                                    uint64_t elements)
{
    td_context *context = module->context;
    const ir_constant *scale = constant->scale, *zero = constant->zero_point;
    if (scale == NULL) {
        if (zero == NULL)
            return TD_OK;
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": it has a zero point but no scale; quantised constants "
                       "need a scale",
                       constant->name);
    }
    if (ir_type_is_float(constant->type) || constant->type == IR_OPAQUE ||
        constant->type == IR_BOOL)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": elements of type %s cannot be quantised; integers can",
                       constant->name, ir_type_name(constant->type));
    uint64_t row = last_axis(constant);
    if (constant->group == 0 || row % constant->group != 0)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": groups of %" PRIu32 " do not divide rows of %" PRIu64,
                       constant->name, constant->group, row);
    if (scale->type != IR_F32 && scale->type != IR_F16 && scale->type != IR_BF16)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": its scale has type %s; f32, f16 and bf16 are known",
                       constant->name, ir_type_name(scale->type));
    TD_TRY(check_part(module, constant, scale, "scale", elements / constant->group));
    if (zero == NULL)
        return TD_OK;
    if (zero->type != constant->type)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": its zero point has type %s; it must be %s as the elements",
                       constant->name, ir_type_name(zero->type), ir_type_name(constant->type));
    return check_part(module, constant, zero, "zero point", elements / constant->group);
}

td_status ir_module_add_constant(ir_module *module, const ir_constant *constant,
                                 ir_constant **added)
{
    td_context *context = module->context;
    uint64_t elements, bytes;
    TD_TRY(count_elements(module, constant, &elements));
    if (!ir_value_bytes_bound(module, constant->type, &constant->shape, &bytes))
        return td_fail(context, TD_INVALID,
                       "constant \"%s\": its size in bytes does not fit 64 bits", constant->name);
    TD_TRY(check_quantisation(module, constant, elements));
    ir_constant *copy = td_arena_allocate(&module->arena, 1, sizeof *copy);
    if (copy == NULL)
        return td_fail_memory(context);
    *copy = *constant;
    copy->bytes = bytes;
    copy->index = (uint32_t)module->constants.count;
    copy->name = td_arena_string(&module->arena, constant->name != NULL ? constant->name : "");
    if (constant->source.description != NULL)
        copy->source.description = td_arena_string(&module->arena, constant->source.description);
    if (copy->name == NULL ||
        (constant->source.description != NULL && copy->source.description == NULL) ||
        !td_array_push(context, &module->constants, copy))
        return td_fail_memory(context);
    *added = copy;
    return TD_OK;
}

static td_status read_owned(td_context *context, const void *self, uint64_t offset, uint64_t size,
                            void *bytes)
{
    (void)context;
    memcpy(bytes, (const char *)self + offset, size);
    return TD_OK;
}

td_status ir_module_copy_bytes(ir_module *module, const void *bytes, uint64_t size,
                               ir_source *source)
{
    void *copy = td_arena_allocate(&module->arena, size, 1);
    if (copy == NULL)
        return td_fail_memory(module->context);
    if (size > 0)
        memcpy(copy, bytes, size);
    source->read = read_owned;
    source->self = copy;
    return TD_OK;
}

td_status ir_module_add_constant_bytes(ir_module *module, const char *name, ir_type type,
                                       const ir_shape *shape, const void *bytes,
                                       ir_constant **added)
{
    ir_constant constant = {.name = name != NULL ? name : "", .type = type, .shape = *shape};
    uint64_t elements = 0, size = 0;
    TD_TRY(count_elements(module, &constant, &elements));
    if (!ir_value_bytes_bound(module, type, shape, &size))
        return td_fail(module->context, TD_INVALID,
                       "constant \"%s\": its size in bytes does not fit 64 bits", constant.name);
    TD_TRY(ir_module_copy_bytes(module, bytes, size, &constant.source));
    return ir_module_add_constant(module, &constant, added);
}

bool ir_constant_suits_blocks(const ir_constant *constant)
{
    const unsigned bits = ir_type_bits(constant->type);
    return constant->scale != NULL && constant->shape.rank == 2 && (bits == 4 || bits == 8) &&
           (constant->group % IR_QUANTIZE_BLOCK == 0 || constant->group == last_axis(constant));
}

/* --- reading --- */

static const char *description(const ir_constant *constant)
{
    return constant->source.description != NULL ? constant->source.description : "this module";
}

td_status ir_constant_read(td_context *context, const ir_constant *constant, uint64_t offset,
                           uint64_t size, void *bytes)
{
    if (constant->missing || constant->source.read == NULL)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\" (%s) has no data: give the weights file, or its value",
                       constant->name, description(constant));
    if (offset > constant->bytes || size > constant->bytes - offset)
        return td_fail(context, TD_INTERNAL,
                       "constant \"%s\" (%s): bytes %" PRIu64 " to %" PRIu64
                       " were asked for; it has %" PRIu64,
                       constant->name, description(constant), offset, offset + size,
                       constant->bytes);
    if (size == 0)
        return TD_OK;
    return constant->source.read(context, constant->source.self, offset, size, bytes);
}

static uint64_t element_count(const ir_constant *constant)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < constant->shape.rank; i++)
        count *= (uint64_t)constant->shape.dim[i].constant;
    return count;
}

static td_status check_range(td_context *context, const ir_constant *constant, uint64_t first,
                             uint64_t count)
{
    uint64_t elements = element_count(constant);
    if (first > elements || count > elements - first)
        return td_fail(context, TD_INTERNAL,
                       "constant \"%s\" (%s): %" PRIu64 " elements from %" PRIu64
                       " were asked for; it has %" PRIu64,
                       constant->name, description(constant), count, first, elements);
    return TD_OK;
}

/* Raw bytes of up to CHUNK_BYTES * 8 / bits elements that start at element `first`. */
typedef struct element_chunk {
    union {
        uint8_t u8[CHUNK_BYTES];
        uint16_t u16[CHUNK_BYTES / 2];
        float f32[CHUNK_BYTES / 4];
        double f64[CHUNK_BYTES / 8];
        int32_t i32[CHUNK_BYTES / 4];
        int64_t i64[CHUNK_BYTES / 8];
    };
    uint64_t count; /* elements held */
    unsigned skip;  /* elements of the first byte that come before `first` (4-bit types) */
} element_chunk;

static td_status read_chunk(td_context *context, const ir_constant *constant, uint64_t first,
                            uint64_t count, element_chunk *chunk)
{
    unsigned bits = ir_type_bits(constant->type);
    if (bits == 0)
        return td_fail(context, TD_UNSUPPORTED,
                       "constant \"%s\": elements of type %s have no value", constant->name,
                       ir_type_name(constant->type));
    chunk->skip = bits == 4 ? (unsigned)(first & 1) : 0;
    uint64_t room = (uint64_t)CHUNK_BYTES * 8 / bits - chunk->skip;
    chunk->count = count < room ? count : room;
    uint64_t begin = bits == 4 ? first / 2 : first * (bits / 8);
    uint64_t end = bits == 4 ? (first + chunk->count + 1) / 2 : begin + chunk->count * (bits / 8);
    return ir_constant_read(context, constant, begin, end - begin, chunk->u8);
}

static int64_t nibble(const element_chunk *chunk, uint64_t index, bool is_signed)
{
    uint64_t place = index + chunk->skip;
    int value = (chunk->u8[place / 2] >> (place % 2 * 4)) & 15;
    return is_signed && value >= 8 ? value - 16 : value;
}

static int64_t chunk_integer(const element_chunk *chunk, ir_type type, uint64_t index)
{
    switch (type) {
    case IR_I64:
        return chunk->i64[index];
    case IR_I32:
        return chunk->i32[index];
    case IR_I8:
        return (int8_t)chunk->u8[index];
    case IR_U8:
        return chunk->u8[index];
    case IR_BOOL:
        return chunk->u8[index] != 0;
    case IR_I4:
    case IR_U4:
        return nibble(chunk, index, type == IR_I4);
    default:
        return 0;
    }
}

static float chunk_float(const element_chunk *chunk, ir_type type, uint64_t index)
{
    switch (type) {
    case IR_F32:
        return chunk->f32[index];
    case IR_F16:
        return ir_f16_to_f32(chunk->u16[index]);
    case IR_BF16:
        return ir_bf16_to_f32(chunk->u16[index]);
    case IR_F64:
        return (float)chunk->f64[index];
    default:
        return (float)chunk_integer(chunk, type, index);
    }
}

static td_status read_stored(td_context *context, const ir_constant *constant, uint64_t first,
                             uint64_t count, float *values)
{
    element_chunk chunk;
    for (uint64_t done = 0; done < count; done += chunk.count) {
        TD_TRY(read_chunk(context, constant, first + done, count - done, &chunk));
        for (uint64_t i = 0; i < chunk.count; i++)
            values[done + i] = chunk_float(&chunk, constant->type, i);
    }
    return TD_OK;
}

/* values hold stored numbers of whole groups, the first of which is group number `first`. */
static td_status dequantise(td_context *context, const ir_constant *constant, uint64_t first,
                            uint64_t groups, float *values)
{
    enum { BATCH = 256 };
    float scales[BATCH], zeros[BATCH] = {0};
    for (uint64_t done = 0; done < groups; done += BATCH) {
        uint64_t batch = groups - done < BATCH ? groups - done : BATCH;
        TD_TRY(read_stored(context, constant->scale, first + done, batch, scales));
        if (constant->zero_point != NULL)
            TD_TRY(read_stored(context, constant->zero_point, first + done, batch, zeros));
        for (uint64_t g = 0; g < batch; g++) {
            float *group = values + (done + g) * constant->group;
            for (uint32_t i = 0; i < constant->group; i++)
                group[i] = (group[i] - zeros[g]) * scales[g];
        }
    }
    return TD_OK;
}

td_status ir_constant_read_f32(td_context *context, const ir_constant *constant, uint64_t first,
                               uint64_t count, float *values)
{
    TD_TRY(check_range(context, constant, first, count));
    if (constant->scale == NULL)
        return read_stored(context, constant, first, count, values);
    uint64_t row = last_axis(constant);
    if (count == 0)
        return TD_OK;
    if (first % row != 0 || count % row != 0)
        return td_fail(context, TD_INTERNAL,
                       "constant \"%s\": %" PRIu64 " elements from %" PRIu64
                       " were asked for; quantised ones are read in whole rows of %" PRIu64,
                       constant->name, count, first, row);
    TD_TRY(read_stored(context, constant, first, count, values));
    return dequantise(context, constant, first / constant->group, count / constant->group, values);
}

td_status ir_constant_read_i64(td_context *context, const ir_constant *constant, size_t capacity,
                               int64_t *values, size_t *count)
{
    if (ir_type_is_float(constant->type) || constant->type == IR_OPAQUE || constant->scale != NULL)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\" has type %s%s; an integer or bool constant is needed here",
                       constant->name, ir_type_name(constant->type),
                       constant->scale != NULL ? " with a scale" : "");
    uint64_t elements = element_count(constant);
    if (elements > capacity)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\" has %" PRIu64 " elements; at most %zu are accepted here",
                       constant->name, elements, capacity);
    element_chunk chunk;
    for (uint64_t done = 0; done < elements; done += chunk.count) {
        TD_TRY(read_chunk(context, constant, done, elements - done, &chunk));
        for (uint64_t i = 0; i < chunk.count; i++)
            values[done + i] = chunk_integer(&chunk, constant->type, i);
    }
    *count = (size_t)elements;
    return TD_OK;
}
