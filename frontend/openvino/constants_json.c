/* Values of constants whose .bin is missing: a JSON object of offset -> list of numbers.
 *
 *     {"comment": "TinyLlama", "12": [4], "65648428": [1e-5]}
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/json_file.h"
#include "frontend/openvino/read_internal.h"
#include "ir/half.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct ov_constants_file {
    json_t *root;
    const char *path; /* as given */
};

bool ov_pack_integer(ir_type type, int64_t value, void *element)
{
    int32_t narrow = (int32_t)value;
    unsigned char byte = (unsigned char)value;
    switch (type) {
    case IR_I64:
        memcpy(element, &value, sizeof value);
        return true;
    case IR_I32:
        memcpy(element, &narrow, sizeof narrow);
        return narrow == value;
    case IR_I8:
        memcpy(element, &byte, 1);
        return value >= INT8_MIN && value <= INT8_MAX;
    case IR_U8:
        memcpy(element, &byte, 1);
        return value >= 0 && value <= UINT8_MAX;
    case IR_BOOL:
        memcpy(element, &byte, 1);
        return value == 0 || value == 1;
    default:
        return ov_pack_number(type, (double)value, element);
    }
}

bool ov_pack_number(ir_type type, double value, void *element)
{
    float single = (float)value;
    uint16_t half = type == IR_F16 ? ir_f32_to_f16(single) : ir_f32_to_bf16(single);
    switch (type) {
    case IR_F64:
        memcpy(element, &value, sizeof value);
        return true;
    case IR_F32:
        memcpy(element, &single, sizeof single);
        return isfinite(single);
    case IR_F16:
    case IR_BF16:
        memcpy(element, &half, sizeof half);
        return isfinite(single);
    default:
        return false;
    }
}

td_status ov_constants_file_open(td_context *context, const char *path, ov_constants_file **file)
{
    ov_constants_file *new = td_allocate(context, sizeof *new);
    if (new == NULL)
        return td_fail_memory(context);
    new->path = path;
    td_status read = fe_json_read_path(context, path, &new->root);
    if (read != TD_OK) {
        td_release(context, new);
        return read;
    }
    const char *key;
    json_t *entry;
    uint64_t offset;
    json_object_foreach(new->root, key, entry)
    {
        if (strcmp(key, "comment") == 0)
            continue;
        if (!ov_parse_u64(key, &offset) || !json_is_array(entry)) {
            td_status status = td_fail(context, TD_INVALID,
                                       "%s: entry \"%.40s\" is not an offset with a list of "
                                       "numbers",
                                       path, key);
            ov_constants_file_close(context, new);
            return status;
        }
    }
    *file = new;
    return TD_OK;
}

void ov_constants_file_close(td_context *context, ov_constants_file *file)
{
    json_decref(file->root);
    td_release(context, file);
}

static const json_t *entry_at(const ov_constants_file *file, uint64_t offset)
{
    char key[24];
    snprintf(key, sizeof key, "%" PRIu64, offset);
    return json_object_get(file->root, key);
}

bool ov_constants_file_has(const ov_constants_file *file, uint64_t offset, size_t *count)
{
    const json_t *list = entry_at(file, offset);
    *count = json_array_size(list);
    return list != NULL;
}

td_status ov_constants_file_pack(td_context *context, const ov_constants_file *file,
                                 const ov_const *declared, void *bytes)
{
    const json_t *list = entry_at(file, declared->offset);
    unsigned width = ir_type_bits(declared->type) / 8;
    if (json_array_size(list) != declared->elements || width == 0)
        return td_fail(context, TD_INVALID,
                       "%s: offset %" PRIu64 ": %zu values are given; layer %" PRIu64
                       " \"%.60s\" needs %" PRIu64 " of type %s",
                       file->path, declared->offset, json_array_size(list), declared->layer->id,
                       declared->layer->name, declared->elements, ir_type_name(declared->type));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        void *element = (unsigned char *)bytes + i * width;
        bool packed = json_is_integer(value)
                          ? ov_pack_integer(declared->type, json_integer_value(value), element)
                          : json_is_real(value) &&
                                ov_pack_number(declared->type, json_real_value(value), element);
        if (!packed)
            return td_fail(context, TD_INVALID,
                           "%s: offset %" PRIu64 ": value %zu is not a number that fits type %s, "
                           "which layer %" PRIu64 " \"%.60s\" has",
                           file->path, declared->offset, i, ir_type_name(declared->type),
                           declared->layer->id, declared->layer->name);
    }
    return TD_OK;
}
