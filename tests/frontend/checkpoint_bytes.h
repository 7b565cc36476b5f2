/* Writes small GGUF and safetensors files in memory, and runs a check under hostile changes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_CHECKPOINT_BYTES_H
#define TANDEM_TESTS_CHECKPOINT_BYTES_H

#include "base/file.h"
#include "base/hash.h"
#include "tests/test.h"

static char small_path[] = "small.bin";

typedef struct bytes {
    unsigned char data[8192];
    size_t size;
} bytes;

static inline void put(bytes *to, const void *data, size_t size)
{
    if (size > sizeof to->data - to->size)
        abort();
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static inline void put_number(bytes *to, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char octet = (unsigned char)(number >> (8 * i));
        put(to, &octet, 1);
    }
}

static inline void put_string(bytes *to, const char *string)
{
    put_number(to, strlen(string), 8);
    put(to, string, strlen(string));
}

/* A GGUF entry of one 4-byte number: types 4 (u32), 5 (i32), 6 (f32, as a pattern). */
static inline void put_key_u32(bytes *to, const char *key, uint32_t type, uint32_t number)
{
    put_string(to, key);
    put_number(to, type, 4);
    put_number(to, number, 4);
}

static inline void put_key_string(bytes *to, const char *key, const char *string)
{
    put_string(to, key);
    put_number(to, 8, 4);
    put_string(to, string);
}

static inline td_file as_file(const bytes *from)
{
    return (td_file){.data = from->data, .size = from->size, .path = small_path};
}

static inline void put_safetensors(bytes *to, const char *header, size_t data_bytes)
{
    to->size = 0;
    put_string(to, header);
    for (size_t i = 0; i < data_bytes; i++)
        put_number(to, i, 1);
}

#endif
