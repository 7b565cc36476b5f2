/* GGUF files, versions 2 and 3, little-endian: metadata and the index of tensors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Opening checks the whole header: after that every accessor is total, and what it hands out lies
 * inside the mapping. Memory is bounded by the size of the file. */
#ifndef TANDEM_FRONTEND_CHECKPOINT_GGUF_H
#define TANDEM_FRONTEND_CHECKPOINT_GGUF_H

#include "frontend/checkpoint/tensors.h"

/* Types of metadata values; the numbers are the file's. */
typedef enum fe_gguf_type {
    FE_GGUF_U8,
    FE_GGUF_I8,
    FE_GGUF_U16,
    FE_GGUF_I16,
    FE_GGUF_U32,
    FE_GGUF_I32,
    FE_GGUF_F32,
    FE_GGUF_BOOL,
    FE_GGUF_STRING,
    FE_GGUF_ARRAY,
    FE_GGUF_U64,
    FE_GGUF_I64,
    FE_GGUF_F64,
    FE_GGUF_TYPE_COUNT,
} fe_gguf_type;

/* One metadata entry. A scalar is kept as `count` 1 of its own type. */
typedef struct fe_gguf_value {
    fe_span key;
    bool is_array;
    fe_gguf_type type; /* of the value, or of an array's elements; never FE_GGUF_ARRAY */
    uint64_t count;    /* elements */
    fe_span data;      /* the elements as stored */
} fe_gguf_value;

typedef struct fe_gguf {
    td_context *context;
    td_file *file; /* borrowed */
    uint32_t version;
    TD_ARRAY(fe_gguf_value) values; /* sorted by key */
    fe_tensors tensors;             /* finished */
    uint64_t data_offset;           /* where tensor data begins */
} fe_gguf;

/* Whether a file starts with GGUF's four bytes. */
bool fe_gguf_recognise(const td_file *file);

/* Reads the header of a mapped file, which must outlive the result. TD_INVALID names file, entry
 * and what is wrong. Nothing needs release on failure. */
td_status fe_gguf_open(td_context *context, td_file *file, fe_gguf *gguf);
void fe_gguf_release(fe_gguf *gguf); /* the file stays mapped */

/* The entry with a key, or NULL. */
const fe_gguf_value *fe_gguf_find(const fe_gguf *gguf, const char *key);

/* Element `index` of numbers and booleans, converted; false when the type or the index does not fit
 * (strings, fractions or values out of range for an integer). */
bool fe_gguf_integer(const fe_gguf_value *value, uint64_t index, int64_t *number);
bool fe_gguf_number(const fe_gguf_value *value, uint64_t index, double *number);

/* A string value; false when it is not one string. */
bool fe_gguf_string(const fe_gguf_value *value, fe_span *string);

/* Walks the strings of an array (or the one string), in order:
 *
 *     fe_gguf_strings strings = fe_gguf_strings_begin(value);
 *     for (fe_span token; fe_gguf_strings_next(&strings, &token);)
 */
typedef struct fe_gguf_strings {
    const char *next;
    uint64_t left;
} fe_gguf_strings;

fe_gguf_strings fe_gguf_strings_begin(const fe_gguf_value *value); /* empty for other types */
bool fe_gguf_strings_next(fe_gguf_strings *strings, fe_span *string);

#endif
