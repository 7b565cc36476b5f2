/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ALIGNMENT 32

/* name, bytes of one element; 0: not of fixed size */
static const struct {
    const char *name;
    uint8_t bytes;
} value_types[FE_GGUF_TYPE_COUNT] = {
    [FE_GGUF_U8] = {"u8", 1},       [FE_GGUF_I8] = {"i8", 1},     [FE_GGUF_U16] = {"u16", 2},
    [FE_GGUF_I16] = {"i16", 2},     [FE_GGUF_U32] = {"u32", 4},   [FE_GGUF_I32] = {"i32", 4},
    [FE_GGUF_F32] = {"f32", 4},     [FE_GGUF_BOOL] = {"bool", 1}, [FE_GGUF_STRING] = {"string", 0},
    [FE_GGUF_ARRAY] = {"array", 0}, [FE_GGUF_U64] = {"u64", 8},   [FE_GGUF_I64] = {"i64", 8},
    [FE_GGUF_F64] = {"f64", 8},
};

/* Tensor types by the file's number; those without an encoding are only named. */
static const struct {
    uint32_t number;
    const char *name;
    fe_encoding encoding;
    ir_type type;
} tensor_types[] = {
    {0, "F32", FE_ENCODING_DENSE, IR_F32},
    {1, "F16", FE_ENCODING_DENSE, IR_F16},
    {8, "Q8_0", FE_ENCODING_Q8_0, IR_I8},
    {30, "BF16", FE_ENCODING_DENSE, IR_BF16},
#define NAMED(number, name)                                                                        \
    {                                                                                              \
        number, name, FE_ENCODING_UNKNOWN, IR_OPAQUE                                               \
    }
    NAMED(2, "Q4_0"),
    NAMED(3, "Q4_1"),
    NAMED(6, "Q5_0"),
    NAMED(7, "Q5_1"),
    NAMED(9, "Q8_1"),
    NAMED(10, "Q2_K"),
    NAMED(11, "Q3_K"),
    NAMED(12, "Q4_K"),
    NAMED(13, "Q5_K"),
    NAMED(14, "Q6_K"),
    NAMED(15, "Q8_K"),
    NAMED(16, "IQ2_XXS"),
    NAMED(17, "IQ2_XS"),
    NAMED(18, "IQ3_XXS"),
    NAMED(19, "IQ1_S"),
    NAMED(20, "IQ4_NL"),
    NAMED(21, "IQ3_S"),
    NAMED(22, "IQ2_S"),
    NAMED(23, "IQ4_XS"),
    NAMED(24, "I8"),
    NAMED(25, "I16"),
    NAMED(26, "I32"),
    NAMED(27, "I64"),
    NAMED(28, "F64"),
    NAMED(29, "IQ1_M"),
    NAMED(34, "TQ1_0"),
    NAMED(35, "TQ2_0"),
    NAMED(39, "MXFP4"),
#undef NAMED
};

bool fe_gguf_recognise(const td_file *file)
{
    return file->size >= 4 && memcmp(file->data, "GGUF", 4) == 0;
}

/* --- reading the header --- */

/* A little-endian number of `bytes` bytes. */
static uint64_t load(const void *data, size_t bytes)
{
    const unsigned char *octets = data;
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++)
        number |= (uint64_t)octets[i] << (8 * i);
    return number;
}

/* Where reading stands, and what is being read, for messages. */
typedef struct header {
    td_context *context;
    const td_file *file;
    uint64_t offset;
    const char *what; /* "metadata entry" or "tensor" */
    uint64_t index;
} header;

static td_status fail_truncated(const header *at, const char *part, uint64_t bytes)
{
    return td_fail(at->context, TD_INVALID,
                   "%s: %s %llu: %s at byte %llu needs %llu bytes, past the end of the file (%llu "
                   "bytes)",
                   at->file->path, at->what, (unsigned long long)at->index, part,
                   (unsigned long long)at->offset, (unsigned long long)bytes,
                   (unsigned long long)at->file->size);
}

static td_status take(header *at, const char *part, uint64_t bytes, fe_span *span)
{
    if (bytes > at->file->size - at->offset)
        return fail_truncated(at, part, bytes);
    *span = (fe_span){(const char *)at->file->data + at->offset, bytes};
    at->offset += bytes;
    return TD_OK;
}

static td_status take_number(header *at, const char *part, size_t bytes, uint64_t *number)
{
    fe_span span;
    TD_TRY(take(at, part, bytes, &span));
    *number = load(span.data, bytes);
    return TD_OK;
}

static td_status take_string(header *at, const char *part, fe_span *string)
{
    uint64_t length;
    TD_TRY(take_number(at, part, 8, &length));
    return take(at, part, length, string);
}

static td_status take_type(header *at, const char *part, fe_gguf_type *type)
{
    uint64_t number;
    TD_TRY(take_number(at, part, 4, &number));
    if (number >= FE_GGUF_TYPE_COUNT)
        return td_fail(at->context, TD_INVALID,
                       "%s: %s %llu: %s is %llu, types are numbered 0 to %d", at->file->path,
                       at->what, (unsigned long long)at->index, part, (unsigned long long)number,
                       FE_GGUF_TYPE_COUNT - 1);
    *type = (fe_gguf_type)number;
    return TD_OK;
}

static td_status take_elements(header *at, fe_gguf_value *value)
{
    const uint64_t start = at->offset;
    uint64_t bytes;
    if (value->type != FE_GGUF_STRING) {
        if (!td_multiply(value->count, value_types[value->type].bytes, &bytes))
            bytes = UINT64_MAX;
        return take(at, "the value", bytes, &value->data);
    }
    fe_span string;
    for (uint64_t i = 0; i < value->count; i++)
        TD_TRY(take_string(at, "a string", &string));
    value->data = (fe_span){(const char *)at->file->data + start, at->offset - start};
    return TD_OK;
}

static td_status take_value(header *at, fe_gguf_value *value)
{
    TD_TRY(take_string(at, "the key", &value->key));
    TD_TRY(take_type(at, "the value's type", &value->type));
    value->count = 1;
    value->is_array = value->type == FE_GGUF_ARRAY;
    if (value->is_array) {
        TD_TRY(take_type(at, "the elements' type", &value->type));
        if (value->type == FE_GGUF_ARRAY)
            return td_fail(at->context, TD_UNSUPPORTED,
                           "%s: metadata \"%.*s\" is an array of arrays; arrays hold numbers, "
                           "booleans or strings",
                           at->file->path, (int)(value->key.size < 100 ? value->key.size : 100),
                           value->key.data);
        TD_TRY(take_number(at, "the array's length", 8, &value->count));
    }
    return take_elements(at, value);
}

/* Keys in byte order, a prefix before what it begins. */
static int compare_spans(fe_span a, fe_span b)
{
    const int order = memcmp(a.data, b.data, (size_t)(a.size < b.size ? a.size : b.size));
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_spans(((const fe_gguf_value *)a)->key, ((const fe_gguf_value *)b)->key);
}

static td_status read_metadata(fe_gguf *gguf, header *at, uint64_t count)
{
    at->what = "metadata entry";
    for (at->index = 0; at->index < count; at->index++) {
        fe_gguf_value value;
        TD_TRY(take_value(at, &value));
        if (!td_array_push(at->context, &gguf->values, value))
            return td_fail_memory(at->context);
    }
    if (count == 0)
        return TD_OK;
    qsort(gguf->values.items, gguf->values.count, sizeof(fe_gguf_value), compare_keys);
    for (size_t i = 1; i < gguf->values.count; i++) {
        const fe_span key = gguf->values.items[i].key;
        if (compare_spans(gguf->values.items[i - 1].key, key) == 0)
            return td_fail(at->context, TD_INVALID, "%s: metadata \"%.*s\" is given twice",
                           at->file->path, (int)(key.size < 100 ? key.size : 100), key.data);
    }
    return TD_OK;
}

/* The tensor's type by number; the offset stays relative to the data section. */
static td_status take_tensor(header *at, fe_span *name, fe_tensor *tensor)
{
    uint64_t rank, dim, type;
    TD_TRY(take_string(at, "the name", name));
    const int shown = (int)(name->size < 100 ? name->size : 100);
    TD_TRY(take_number(at, "the number of dimensions", 4, &rank));
    if (rank > 4)
        return td_fail(at->context, TD_INVALID,
                       "%s: tensor \"%.*s\" has %llu dimensions, GGUF allows 4", at->file->path,
                       shown, name->data, (unsigned long long)rank);
    tensor->rank = (uint32_t)rank;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        TD_TRY(take_number(at, "a dimension", 8, &dim));
        if (dim > INT64_MAX)
            dim = INT64_MAX; /* refused below: no file is that large */
        tensor->dim[tensor->rank - 1 - i] = (int64_t)dim;
    }
    TD_TRY(take_number(at, "the type", 4, &type));
    TD_TRY(take_number(at, "the offset", 8, &tensor->offset));
    tensor->type_name = NULL;
    for (size_t i = 0; i < TD_COUNT_OF(tensor_types); i++) {
        if (tensor_types[i].number != type)
            continue;
        tensor->type_name = tensor_types[i].name;
        tensor->encoding = tensor_types[i].encoding;
        tensor->type = tensor_types[i].type;
    }
    if (tensor->type_name == NULL)
        return td_fail(at->context, TD_UNSUPPORTED,
                       "%s: tensor \"%.*s\" has the unknown type number %llu; F32, F16, BF16 and "
                       "Q8_0 can be read",
                       at->file->path, shown, name->data, (unsigned long long)type);
    if (!fe_tensor_bytes(tensor, &tensor->bytes))
        return td_fail(at->context, TD_INVALID,
                       "%s: tensor \"%.*s\": the dimensions do not fit the type %s (rows of Q8_0 "
                       "are multiples of 32, and sizes fit into 64 bits)",
                       at->file->path, shown, name->data, tensor->type_name);
    return TD_OK;
}

/* Tensor offsets count from the data section, which begins at the next multiple of the alignment
 * behind the header: two walks, because the header's end is known only after the first. */
static td_status read_tensors(fe_gguf *gguf, header *at, uint64_t count, uint64_t alignment)
{
    const uint64_t start = at->offset;
    fe_span name;
    fe_tensor tensor = {.file = at->file};
    at->what = "tensor";
    for (at->index = 0; at->index < count; at->index++)
        TD_TRY(take_tensor(at, &name, &tensor));
    gguf->data_offset = (at->offset + alignment - 1) / alignment * alignment;
    at->offset = start;
    for (at->index = 0; at->index < count; at->index++) {
        TD_TRY(take_tensor(at, &name, &tensor));
        if (tensor.offset % alignment != 0)
            return td_fail(at->context, TD_INVALID,
                           "%s: tensor \"%.*s\": offset %llu is not a multiple of the alignment "
                           "%llu",
                           at->file->path, (int)(name.size < 100 ? name.size : 100), name.data,
                           (unsigned long long)tensor.offset, (unsigned long long)alignment);
        if (!td_add(tensor.offset, gguf->data_offset, &tensor.offset))
            tensor.offset = UINT64_MAX;
        TD_TRY(fe_tensors_add(&gguf->tensors, name, &tensor));
    }
    return fe_tensors_finish(&gguf->tensors);
}

static td_status read_alignment(const fe_gguf *gguf, uint64_t *alignment)
{
    const fe_gguf_value *value = fe_gguf_find(gguf, "general.alignment");
    int64_t number = DEFAULT_ALIGNMENT;
    if (value != NULL && (value->is_array || !fe_gguf_integer(value, 0, &number) || number < 1 ||
                          number > (1 << 20) || (number & (number - 1)) != 0))
        return td_fail(gguf->context, TD_INVALID,
                       "%s: metadata \"general.alignment\" must be a power of two up to 1048576",
                       gguf->file->path);
    *alignment = (uint64_t)number;
    return TD_OK;
}

static td_status read_header(fe_gguf *gguf)
{
    header at = {gguf->context, gguf->file, 4, "the header, entry", 0};
    uint64_t version, tensor_count, value_count, alignment = DEFAULT_ALIGNMENT;
    if (!fe_gguf_recognise(gguf->file))
        return td_fail(gguf->context, TD_INVALID,
                       "%s: not a GGUF file (it does not start with GGUF)", gguf->file->path);
    TD_TRY(take_number(&at, "the version", 4, &version));
    if (version != 2 && version != 3)
        return td_fail(gguf->context, TD_UNSUPPORTED,
                       "%s: GGUF version %llu; little-endian versions 2 and 3 can be read",
                       gguf->file->path, (unsigned long long)version);
    gguf->version = (uint32_t)version;
    TD_TRY(take_number(&at, "the number of tensors", 8, &tensor_count));
    TD_TRY(take_number(&at, "the number of metadata entries", 8, &value_count));
    TD_TRY(read_metadata(gguf, &at, value_count));
    TD_TRY(read_alignment(gguf, &alignment));
    return read_tensors(gguf, &at, tensor_count, alignment);
}

td_status fe_gguf_open(td_context *context, td_file *file, fe_gguf *gguf)
{
    fe_gguf opened = {.context = context, .file = file};
    fe_tensors_init(&opened.tensors, context);
    const td_status status = read_header(&opened);
    if (status != TD_OK)
        fe_gguf_release(&opened);
    else
        *gguf = opened;
    return status;
}

void fe_gguf_release(fe_gguf *gguf)
{
    td_array_release(gguf->context, &gguf->values);
    fe_tensors_release(&gguf->tensors);
}

/* --- looking things up --- */

const fe_gguf_value *fe_gguf_find(const fe_gguf *gguf, const char *key)
{
    const fe_gguf_value wanted = {.key = {key, strlen(key)}};
    if (gguf->values.count == 0)
        return NULL;
    return bsearch(&wanted, gguf->values.items, gguf->values.count, sizeof wanted, compare_keys);
}

/* Sign-extends the lowest `bytes` bytes. */
static int64_t extend(uint64_t number, size_t bytes)
{
    const unsigned unused = 64 - 8 * (unsigned)bytes;
    return (int64_t)(number << unused) >> unused;
}

bool fe_gguf_number(const fe_gguf_value *value, uint64_t index, double *number)
{
    const size_t bytes = value_types[value->type].bytes;
    if (bytes == 0 || index >= value->count)
        return false;
    const char *element = value->data.data + index * bytes;
    const uint64_t bits = load(element, bytes);
    switch (value->type) {
    case FE_GGUF_F32: {
        const uint32_t pattern = (uint32_t)bits;
        float single;
        memcpy(&single, &pattern, sizeof single);
        *number = (double)single;
        return true;
    }
    case FE_GGUF_F64:
        memcpy(number, &bits, sizeof *number);
        return true;
    case FE_GGUF_I8:
    case FE_GGUF_I16:
    case FE_GGUF_I32:
    case FE_GGUF_I64:
        *number = (double)extend(bits, bytes);
        return true;
    default:
        *number = (double)bits;
        return true;
    }
}

bool fe_gguf_integer(const fe_gguf_value *value, uint64_t index, int64_t *number)
{
    const size_t bytes = value_types[value->type].bytes;
    if (bytes == 0 || index >= value->count)
        return false;
    const uint64_t bits = load(value->data.data + index * bytes, bytes);
    double real;
    switch (value->type) {
    case FE_GGUF_F32:
    case FE_GGUF_F64:
        if (!fe_gguf_number(value, index, &real) || !(fabs(real) < 0x1p53) || rint(real) != real)
            return false;
        *number = (int64_t)real;
        return true;
    case FE_GGUF_I8:
    case FE_GGUF_I16:
    case FE_GGUF_I32:
    case FE_GGUF_I64:
        *number = extend(bits, bytes);
        return true;
    default:
        *number = (int64_t)bits;
        return bits <= INT64_MAX;
    }
}

bool fe_gguf_string(const fe_gguf_value *value, fe_span *string)
{
    fe_gguf_strings strings = fe_gguf_strings_begin(value);
    return !value->is_array && fe_gguf_strings_next(&strings, string);
}

fe_gguf_strings fe_gguf_strings_begin(const fe_gguf_value *value)
{
    return (fe_gguf_strings){value->data.data, value->type == FE_GGUF_STRING ? value->count : 0};
}

bool fe_gguf_strings_next(fe_gguf_strings *strings, fe_span *string)
{
    if (strings->left == 0)
        return false;
    string->size = load(strings->next, 8);
    string->data = strings->next + 8;
    strings->next = string->data + string->size;
    strings->left--;
    return true;
}
