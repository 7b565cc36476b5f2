/* Const layers: lazily read parts of the .bin file, or what stands for it when it is missing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <inttypes.h>
#include <string.h>

/* Larger reads are dropped from memory again, so that compiling holds one tensor at a time. */
#define FORGET_BYTES (1 << 20)

typedef struct ov_weights {
    td_file file; /* data NULL when there is none */
    bool present;
    const char *name; /* "weights.bin", for messages */
    /* For a missing file, by layer index, in the document's arena: */
    ov_part *parts;
    void **bytes; /* packed values that were given or assumed, or NULL */
} ov_weights;

/* Where one constant starts in the file. */
typedef struct file_source {
    const ov_weights *weights;
    uint64_t offset;
} file_source;

static void release_weights(td_context *context, void *object)
{
    ov_weights *weights = object;
    if (weights->present)
        td_file_unmap(context, &weights->file);
}

static td_status read_file(td_context *context, const void *self, uint64_t offset, uint64_t size,
                           void *bytes)
{
    (void)context;
    const file_source *source = self;
    const td_file *file = &source->weights->file;
    memcpy(bytes, file->data + source->offset + offset, size);
    if (size >= FORGET_BYTES)
        td_file_forget(file, source->offset + offset, size);
    return TD_OK;
}

static td_status read_missing(td_context *context, const void *self, uint64_t offset, uint64_t size,
                              void *bytes)
{
    (void)offset, (void)size, (void)bytes;
    return td_fail(context, TD_INVALID,
                   "%s is missing: put the file there, or choose random weights with "
                   "--weights=random:SEED",
                   (const char *)self);
}

/* --- declarations --- */

/* The declared numbers, and the number of elements. */
static td_status parse_numbers(td_context *context, const char *shape, const char *offset,
                               const char *size, int64_t *dims, uint32_t capacity,
                               ov_const *declared)
{
    uint64_t end;
    if (!ov_parse_shape(shape, capacity, dims, &declared->rank))
        return td_fail(context, TD_INVALID, "shape is \"%.80s\"; a list of dimensions is expected",
                       shape);
    for (uint32_t i = 0; i < declared->rank; i++)
        if (dims[i] < 0 || !td_multiply(declared->elements, (uint64_t)dims[i], &declared->elements))
            return td_fail(context, TD_INVALID,
                           "shape \"%.80s\" of a Const must be fixed and its product must fit 64 "
                           "bits",
                           shape);
    if (!ov_parse_u64(offset, &declared->offset) || !ov_parse_u64(size, &declared->size))
        return td_fail(context, TD_INVALID, "offset \"%.40s\" and size \"%.40s\" must be numbers",
                       offset, size);
    if (!td_add(declared->offset, declared->size, &end))
        return td_fail(context, TD_INVALID,
                       "offset %" PRIu64 " and size %" PRIu64
                       " of shape \"%.80s\" overflow 64 bits",
                       declared->offset, declared->size, shape);
    return TD_OK;
}

/* Whether the declared bytes suffice for the shape, and lie in the file. */
static td_status check_range(const ov_reader *reader, const char *type, const char *shape,
                             const ov_const *declared)
{
    const unsigned bits = ov_element_bits(type);
    const ov_weights *weights = reader->weights;
    uint64_t all_bits;
    if (!td_multiply(declared->elements, bits, &all_bits))
        return td_fail(reader->context, TD_INVALID,
                       "%" PRIu64 " elements of %s overflow 64 bits; a smaller shape is accepted",
                       declared->elements, type);
    const uint64_t needed = all_bits / 8 + (all_bits % 8 != 0);
    if (bits != 0 && strcmp(type, "string") != 0 && declared->size < needed)
        return td_fail(reader->context, TD_INVALID,
                       "Const size %" PRIu64 " is too small for %s of shape \"%.80s\", which needs "
                       "%" PRIu64 " bytes",
                       declared->size, type, shape, needed);
    if (weights->present && declared->offset + declared->size > weights->file.size)
        return td_fail(reader->context, TD_INVALID,
                       "Const offset %" PRIu64 " + size %" PRIu64 " exceeds %s (%" PRIu64 " bytes)",
                       declared->offset, declared->size, weights->name, weights->file.size);
    return TD_OK;
}

td_status ov_const_parse(ov_reader *reader, const ov_layer *layer, ov_const *declared)
{
    *declared = (ov_const){.layer = layer, .elements = 1};
    const char *type = ov_layer_attribute(layer, "element_type", NULL);
    const char *shape = ov_layer_attribute(layer, "shape", NULL);
    const char *offset = ov_layer_attribute(layer, "offset", NULL);
    const char *size = ov_layer_attribute(layer, "size", NULL);
    int64_t dims[64];
    if (type == NULL || shape == NULL || offset == NULL || size == NULL)
        return td_fail(reader->context, TD_INVALID,
                       "a Const needs the attributes element_type, shape, offset and size");
    TD_TRY(parse_numbers(reader->context, shape, offset, size, dims, TD_COUNT_OF(dims), declared));
    TD_TRY(check_range(reader, type, shape, declared));
    if (!ov_element_type(type, &declared->type))
        return ov_refuse(reader,
                         "a Const of element type %.40s is not imported; boolean, f32, f16, bf16, "
                         "f64, i64, i32, i8, u8, i4, u4 and u64 are",
                         type);
    if (declared->rank > IR_MAX_RANK)
        return ov_refuse(reader, "it has %u dimensions; at most %d are accepted", declared->rank,
                         IR_MAX_RANK);
    memcpy(declared->dims, dims, declared->rank * sizeof *dims);
    return TD_OK;
}

/* --- a missing file --- */

/* Lists the first few offsets that nobody gave a value, with a layer that reads each. */
static td_status refuse_missing(ov_reader *reader, const ov_const *missing, size_t count)
{
    td_text text;
    td_text_init(&text, reader->context);
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        bool repeated = false;
        for (size_t k = 0; k < i && !repeated; k++)
            repeated = missing[k].offset == missing[i].offset;
        if (repeated || distinct++ >= 6)
            continue;
        td_text_printf(&text, "%s%" PRIu64 " (layer %" PRIu64 " \"%.60s\")",
                       distinct > 1 ? ", " : "", missing[i].offset, missing[i].layer->id,
                       missing[i].layer->name);
    }
    td_status status =
        text.failed ? td_fail_memory(reader->context)
                    : td_fail(reader->context, TD_INVALID,
                              "%s: %s is missing, and the values of %zu constants that decide what "
                              "is computed with it: offsets %s%s; give them with --constants FILE",
                              reader->document.path, reader->weights->name, distinct,
                              text.data == NULL ? "" : text.data, distinct > 6 ? " and more" : "");
    td_text_release(&text);
    return status;
}

/* Constants that cannot be declared in the IR are left to the conversion, which refuses or lists
 * them. */
static bool parse_quietly(ov_reader *reader, const ov_layer *layer, ov_const *declared)
{
    return ov_layer_is(layer, "Const") && ov_const_parse(reader, layer, declared) == TD_OK &&
           declared->elements > 0;
}

static td_status take_given(ov_reader *reader, const ov_constants_file *file)
{
    ov_weights *weights = reader->weights;
    for (uint32_t i = 0; i < reader->order_count; i++) {
        ov_const declared;
        uint32_t index = reader->order[i]->index;
        size_t count;
        if (!parse_quietly(reader, reader->order[i], &declared) ||
            !ov_constants_file_has(file, declared.offset, &count))
            continue;
        /* The declared size may be anything. */
        void *bytes = td_arena_allocate(&reader->document.arena, count + 1, sizeof(int64_t));
        if (bytes == NULL)
            return td_fail_memory(reader->context);
        TD_TRY(ov_constants_file_pack(reader->context, file, &declared, bytes));
        weights->bytes[index] = bytes;
    }
    return TD_OK;
}

static td_status check_missing(ov_reader *reader)
{
    TD_ARRAY(ov_const) missing = {0};
    td_status status = TD_OK;
    for (uint32_t i = 0; i < reader->order_count && status == TD_OK; i++) {
        ov_const declared;
        uint32_t index = reader->order[i]->index;
        if (parse_quietly(reader, reader->order[i], &declared) &&
            reader->weights->bytes[index] == NULL &&
            reader->weights->parts[index].role == OV_ROLE_MEANING && missing.count < 4096 &&
            !td_array_push(reader->context, &missing, declared))
            status = td_fail_memory(reader->context);
    }
    if (status == TD_OK && missing.count > 0)
        status = refuse_missing(reader, missing.items, missing.count);
    td_array_release(reader->context, &missing);
    return status;
}

static td_status stand_in(ov_reader *reader)
{
    ov_weights *weights = reader->weights;
    size_t count = reader->document.layers.count;
    weights->bytes = td_arena_allocate(&reader->document.arena, count + 1, sizeof *weights->bytes);
    if (weights->bytes == NULL)
        return td_fail_memory(reader->context);
    TD_TRY(ov_find_parts(reader, &weights->parts));
    if (reader->options->constants != NULL) {
        ov_constants_file *file;
        TD_TRY(ov_constants_file_open(reader->context, reader->options->constants, &file));
        td_status status = take_given(reader, file);
        ov_constants_file_close(reader->context, file);
        TD_TRY(status);
    }
    if (reader->options->listing || reader->options->summary)
        return ov_assume_constants(reader, weights->parts, weights->bytes);
    return check_missing(reader);
}

/* "dir/model.xml" -> "model.bin", in the arena. */
static char *bin_name(ov_reader *reader, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t length = strlen(name);
    if (length > 4 && strcasecmp(name + length - 4, ".xml") == 0)
        length -= 4;
    return td_arena_format(&reader->module->arena, "%.*s.bin", (int)length, name);
}

td_status ov_weights_open(ov_reader *reader)
{
    ov_weights *weights = td_arena_allocate(&reader->module->arena, 1, sizeof *weights);
    char *name = bin_name(reader, reader->document.path);
    if (weights == NULL || name == NULL)
        return td_fail_memory(reader->context);
    weights->name = name;
    reader->weights = weights;
    char *path = td_path_beside(reader->context, reader->document.path, name);
    if (path == NULL)
        return td_fail_memory(reader->context);
    td_status status = TD_OK;
    weights->present = td_path_exists(path);
    if (weights->present) {
        status = td_file_map(reader->context, path, &weights->file);
        weights->present = status == TD_OK;
    }
    td_release(reader->context, path);
    TD_TRY(status);
    if (weights->present)
        return ir_module_own(reader->module, release_weights, weights);
    return stand_in(reader);
}

/* --- values --- */

static td_status add_file_constant(ov_reader *reader, const ov_const *declared,
                                   ir_constant **constant)
{
    ir_constant new = {.name = declared->layer->name, .type = declared->type};
    file_source *source = td_arena_allocate(&reader->module->arena, 1, sizeof *source);
    char *description = td_arena_format(&reader->module->arena, "%s at %" PRIu64,
                                        reader->weights->name, declared->offset);
    if (source == NULL || description == NULL)
        return td_fail_memory(reader->context);
    *source = (file_source){.weights = reader->weights, .offset = declared->offset};
    new.source = (ir_source){.read = read_file, .self = source, .description = description};
    new.shape = ir_shape_of(declared->rank, declared->dims);
    return ir_module_add_constant(reader->module, &new, constant);
}

static td_status add_missing_constant(ov_reader *reader, const ov_const *declared,
                                      ir_constant **constant)
{
    ir_constant new = {.name = declared->layer->name, .type = declared->type, .missing = true};
    char *description = td_arena_format(&reader->module->arena, "%s at %" PRIu64,
                                        reader->weights->name, declared->offset);
    if (description == NULL)
        return td_fail_memory(reader->context);
    new.source = (ir_source){.read = read_missing, .self = description, .description = description};
    new.shape = ir_shape_of(declared->rank, declared->dims);
    return ir_module_add_constant(reader->module, &new, constant);
}

td_status ov_convert_const(ov_reader *reader, const ov_layer *layer, ir_value **value)
{
    const ov_weights *weights = reader->weights;
    ov_const declared;
    TD_TRY(ov_const_parse(reader, layer, &declared));
    ir_constant *constant;
    if (declared.elements == 0) {
        ir_shape shape = ir_shape_of(declared.rank, declared.dims);
        TD_TRY(ir_module_add_constant_bytes(reader->module, layer->name, declared.type, &shape, "",
                                            &constant));
    } else if (weights->present) {
        TD_TRY(add_file_constant(reader, &declared, &constant));
    } else if (weights->bytes[layer->index] != NULL) {
        ir_shape shape = ir_shape_of(declared.rank, declared.dims);
        TD_TRY(ir_module_add_constant_bytes(reader->module, layer->name, declared.type, &shape,
                                            weights->bytes[layer->index], &constant));
    } else if (reader->options->random_weights &&
               weights->parts[layer->index].role != OV_ROLE_MEANING) {
        TD_TRY(ov_add_random_constant(reader, &declared, &weights->parts[layer->index], &constant));
    } else {
        TD_TRY(add_missing_constant(reader, &declared, &constant));
    }
    return ir_graph_add_constant(reader->graph, constant, value);
}
