/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/safetensors.h"

#include <jansson.h>
#include <string.h>

#define LENGTH_BYTES   8
#define LARGEST_HEADER ((uint64_t)100 * 1000 * 1000) /* the format's own limit */

/* Types that are only named have no row; their size cannot be checked, and they cannot be read. */
static const struct {
    const char *name;
    ir_type type;
} dense_types[] = {
    {"F32", IR_F32}, {"F16", IR_F16}, {"BF16", IR_BF16}, {"F64", IR_F64},   {"I64", IR_I64},
    {"I32", IR_I32}, {"I8", IR_I8},   {"U8", IR_U8},     {"BOOL", IR_BOOL},
};

typedef struct entry {
    td_context *context;
    const char *name; /* of the tensor */
    const td_file *file;
    uint64_t data_start;
} entry;

static td_status fail_entry(const entry *at, const char *problem)
{
    return td_fail(at->context, TD_INVALID, "%s: tensor \"%.100s\": %s", at->file->path, at->name,
                   problem);
}

static td_status read_type(fe_tensors *tensors, const entry *at, const json_t *value,
                           fe_tensor *tensor)
{
    const char *name = json_string_value(value);
    if (name == NULL)
        return fail_entry(at, "\"dtype\" must be a string such as \"F32\"");
    tensor->encoding = FE_ENCODING_UNKNOWN;
    tensor->type = IR_OPAQUE;
    for (size_t i = 0; i < TD_COUNT_OF(dense_types); i++) {
        if (strcmp(name, dense_types[i].name) != 0)
            continue;
        tensor->encoding = FE_ENCODING_DENSE;
        tensor->type = dense_types[i].type;
    }
    tensor->type_name = td_arena_string_n(&tensors->arena, name, strnlen(name, 32));
    return tensor->type_name == NULL ? td_fail_memory(at->context) : TD_OK;
}

static td_status read_shape(const entry *at, const json_t *value, fe_tensor *tensor)
{
    const size_t rank = json_array_size(value);
    if (!json_is_array(value) || rank > IR_MAX_RANK)
        return fail_entry(at, "\"shape\" must be a list of at most 6 dimensions");
    tensor->rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail_entry(at, "every dimension must be a whole number, 0 or more");
        tensor->dim[i] = json_integer_value(dim);
    }
    return TD_OK;
}

static td_status read_place(const entry *at, const json_t *value, fe_tensor *tensor)
{
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return fail_entry(at, "\"data_offsets\" must be two ascending whole numbers");
    tensor->offset = (uint64_t)json_integer_value(first);
    tensor->bytes = (uint64_t)json_integer_value(last) - tensor->offset;
    tensor->offset += at->data_start; /* both below 2^63 */
    return TD_OK;
}

static td_status check_size(const entry *at, const fe_tensor *tensor)
{
    uint64_t bytes;
    if (!fe_tensor_bytes(tensor, &bytes))
        return fail_entry(at, "the shape's size does not fit into 64 bits");
    if (tensor->encoding != FE_ENCODING_UNKNOWN && bytes != tensor->bytes)
        return td_fail(at->context, TD_INVALID,
                       "%s: tensor \"%.100s\": \"data_offsets\" span %llu bytes, but the shape in "
                       "%s needs %llu",
                       at->file->path, at->name, (unsigned long long)tensor->bytes,
                       tensor->type_name, (unsigned long long)bytes);
    return TD_OK;
}

static td_status add_entry(fe_tensors *tensors, const entry *at, const json_t *value)
{
    fe_tensor tensor = {.file = at->file};
    TD_TRY(read_type(tensors, at, json_object_get(value, "dtype"), &tensor));
    TD_TRY(read_shape(at, json_object_get(value, "shape"), &tensor));
    TD_TRY(read_place(at, json_object_get(value, "data_offsets"), &tensor));
    TD_TRY(check_size(at, &tensor));
    return fe_tensors_add(tensors, (fe_span){at->name, strlen(at->name)}, &tensor);
}

static td_status add_entries(td_context *context, const td_file *file, uint64_t data_start,
                             json_t *header, fe_tensors *tensors)
{
    const char *name;
    json_t *value;
    if (!json_is_object(header))
        return td_fail(context, TD_INVALID, "%s: the header is not a JSON object", file->path);
    json_object_foreach(header, name, value)
    {
        const entry at = {context, name, file, data_start};
        if (strcmp(name, "__metadata__") != 0)
            TD_TRY(add_entry(tensors, &at, value));
    }
    return TD_OK;
}

td_status fe_safetensors_index(td_context *context, const td_file *file, fe_tensors *tensors)
{
    uint64_t length = 0;
    if (file->size < LENGTH_BYTES)
        return td_fail(context, TD_INVALID,
                       "%s: %llu bytes are too few for a safetensors file, which starts with the "
                       "8-byte length of its header",
                       file->path, (unsigned long long)file->size);
    for (int i = 0; i < LENGTH_BYTES; i++)
        length |= (uint64_t)file->data[i] << (8 * i);
    if (length > LARGEST_HEADER || length > file->size - LENGTH_BYTES)
        return td_fail(context, TD_INVALID,
                       "%s: the header's length %llu exceeds the file (%llu bytes) or the format's "
                       "limit of 100000000",
                       file->path, (unsigned long long)length, (unsigned long long)file->size);
    json_error_t error;
    json_t *header = json_loadb((const char *)file->data + LENGTH_BYTES, (size_t)length,
                                JSON_REJECT_DUPLICATES, &error);
    if (header == NULL)
        return td_fail(context, TD_INVALID, "%s: the header, byte %d: %s", file->path,
                       error.position, error.text);
    const td_status status = add_entries(context, file, LENGTH_BYTES + length, header, tensors);
    json_decref(header);
    return status;
}
