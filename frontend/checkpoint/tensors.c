/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/tensors.h"

#include <stdlib.h>
#include <string.h>

#define Q8_0_GROUP       32
#define Q8_0_BLOCK_BYTES 34

bool fe_span_equal(fe_span span, const char *string)
{
    const size_t length = strlen(string);
    return span.size == length && memcmp(span.data, string, length) == 0;
}

bool fe_tensor_bytes(const fe_tensor *tensor, uint64_t *bytes)
{
    uint64_t elements = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (tensor->dim[i] < 0 || !td_multiply(elements, (uint64_t)tensor->dim[i], &elements))
            return false;
    switch (tensor->encoding) {
    case FE_ENCODING_DENSE:
        return td_multiply(elements, ir_type_bits(tensor->type) / 8, bytes);
    case FE_ENCODING_Q8_0:
        if (tensor->rank == 0 || tensor->dim[tensor->rank - 1] % Q8_0_GROUP != 0)
            return false;
        return td_multiply(elements / Q8_0_GROUP, Q8_0_BLOCK_BYTES, bytes);
    case FE_ENCODING_UNKNOWN:
        break;
    }
    *bytes = 0;
    return true;
}

void fe_tensors_init(fe_tensors *tensors, td_context *context)
{
    memset(tensors, 0, sizeof *tensors);
    tensors->context = context;
    td_arena_init(&tensors->arena, context);
}

void fe_tensors_release(fe_tensors *tensors)
{
    td_array_release(tensors->context, &tensors->items);
    td_arena_release(&tensors->arena);
}

td_status fe_tensors_add(fe_tensors *tensors, fe_span name, const fe_tensor *tensor)
{
    td_context *context = tensors->context;
    const td_file *file = tensor->file;
    if (memchr(name.data, '\0', (size_t)name.size) != NULL)
        return td_fail(context, TD_INVALID, "%s: the tensor name \"%.100s\" holds a NUL byte",
                       file->path, name.data);
    if (tensor->offset > file->size || tensor->bytes > file->size - tensor->offset)
        return td_fail(
            context, TD_INVALID,
            "%s: tensor \"%.*s\": offset %llu + %llu bytes exceeds the file (%llu bytes)",
            file->path, (int)(name.size < 100 ? name.size : 100), name.data,
            (unsigned long long)tensor->offset, (unsigned long long)tensor->bytes,
            (unsigned long long)file->size);
    fe_tensor added = *tensor;
    added.name = td_arena_string_n(&tensors->arena, name.data, (size_t)name.size);
    if (added.name == NULL || !td_array_push(context, &tensors->items, added))
        return td_fail_memory(context);
    return TD_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const fe_tensor *)a)->name, ((const fe_tensor *)b)->name);
}

static int compare_places(const void *a, const void *b)
{
    const fe_tensor *x = *(const fe_tensor *const *)a, *y = *(const fe_tensor *const *)b;
    const uintptr_t x_file = (uintptr_t)x->file, y_file = (uintptr_t)y->file;
    if (x_file != y_file)
        return x_file < y_file ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Tensors that share bytes are how hostile headers make a small file look large. */
static td_status check_overlaps(const fe_tensors *tensors)
{
    td_context *context = tensors->context;
    const fe_tensor **places = td_allocate(context, tensors->items.count * sizeof(fe_tensor *));
    if (places == NULL)
        return td_fail_memory(context);
    size_t count = 0;
    for (size_t i = 0; i < tensors->items.count; i++)
        if (tensors->items.items[i].bytes > 0)
            places[count++] = &tensors->items.items[i];
    qsort(places, count, sizeof *places, compare_places);
    td_status status = TD_OK;
    for (size_t i = 1; i < count && status == TD_OK; i++) {
        const fe_tensor *a = places[i - 1], *b = places[i];
        if (a->file == b->file && b->offset - a->offset < a->bytes)
            status = td_fail(context, TD_INVALID,
                             "%s: tensors \"%.100s\" and \"%.100s\" overlap at offset %llu",
                             a->file->path, a->name, b->name, (unsigned long long)b->offset);
    }
    td_release(context, places);
    return status;
}

td_status fe_tensors_finish(fe_tensors *tensors)
{
    fe_tensor *items = tensors->items.items;
    const size_t count = tensors->items.count;
    if (count == 0)
        return TD_OK;
    qsort(items, count, sizeof *items, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(items[i - 1].name, items[i].name) == 0)
            return td_fail(tensors->context, TD_INVALID, "%s: two tensors are named \"%.100s\"",
                           items[i].file->path, items[i].name);
    return check_overlaps(tensors);
}

const fe_tensor *fe_tensors_find(const fe_tensors *tensors, const char *name)
{
    const fe_tensor wanted = {.name = name};
    if (tensors->items.count == 0)
        return NULL;
    return bsearch(&wanted, tensors->items.items, tensors->items.count, sizeof wanted,
                   compare_names);
}
