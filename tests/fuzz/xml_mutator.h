/* What mutates XML for libFuzzer: one value of an attribute or of text becomes a number at some
 * edge or another value of the file, an element is dropped, doubled, or exchanged for another.
 * Bytes changed at random mostly break the XML, which says little about what reads it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FUZZ_XML_MUTATOR_H
#define TANDEM_TESTS_FUZZ_XML_MUTATOR_H

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static const char *const hostile_values[] = {
    "",
    "0",
    "1",
    "-1",
    "-2",
    "2",
    "3",
    "63",
    "64",
    "65",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "1099511627776",
    "4611686018427387904",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "nan",
    "?",
    "?,?",
    "0..5",
    "1,1,1,1,1,1,1,1,1",
    "65536,65536,65536,65536",
    "4294967296,4294967296",
    "4294967295,4294967297",
    "i4",
    "u1",
    "f64",
    "string",
    "undefined",
    "true",
    "false",
    "numpy",
    "Const",
    "Result",
    "Parameter",
    "Assign",
    "ReadValue",
    "Reshape",
    "Gather",
    "Range",
    "Tile",
    "Broadcast",
    "StridedSlice",
    "ScatterUpdate",
    "TopK",
    "If",
    "TensorIterator",
};

/* A part of the text: [begin, end). */
typedef struct xml_part {
    size_t begin, end;
} xml_part;

static size_t find_byte(const uint8_t *data, size_t size, size_t from, uint8_t byte)
{
    const uint8_t *at = from < size ? memchr(data + from, byte, size - from) : NULL;
    return at == NULL ? size : (size_t)(at - data);
}

/* A value behind a random place: between quotes, or between '>' and '<'. */
static xml_part random_value(const uint8_t *data, size_t size, uint64_t *state)
{
    size_t at = td_random_next(state) % size;
    while (at < size && data[at] != '"' && data[at] != '>')
        at++;
    if (at >= size)
        return (xml_part){size, size};
    return (xml_part){at + 1, find_byte(data, size, at + 1, data[at] == '"' ? '"' : '<')};
}

/* An element behind a random place: one tag, or an element of few lines with what is in it. */
static xml_part random_element(const uint8_t *data, size_t size, uint64_t *state)
{
    const size_t begin = find_byte(data, size, td_random_next(state) % size, '<');
    size_t end = find_byte(data, size, begin, '>');
    if (begin >= size || end >= size)
        return (xml_part){size, size};
    size_t name = begin + 1;
    while (name < end && data[name] != ' ' && data[name] != '/')
        name++;
    if (data[end - 1] != '/' && data[begin + 1] != '/' && name - begin < 32) {
        char close[40] = "</";
        memcpy(close + 2, data + begin + 1, name - begin - 1);
        const uint8_t *at = memmem(data + end, size - end, close, name - begin + 1);
        if (at != NULL && at - (data + begin) < 4096)
            end = find_byte(data, size, (size_t)(at - data), '>');
    }
    return (xml_part){begin, end < size ? end + 1 : size};
}

/* Puts `length` bytes, which lie elsewhere, in place of a part; the size as it was if there is no
 * room. */
static size_t replace(uint8_t *data, size_t size, size_t max_size, xml_part part, const void *bytes,
                      size_t length)
{
    const size_t kept = size - (part.end - part.begin);
    if (part.begin > size || part.end > size || kept + length > max_size)
        return size;
    memmove(data + part.begin + length, data + part.end, size - part.end);
    memcpy(data + part.begin, bytes, length);
    return kept + length;
}

static size_t replace_by_copy(uint8_t *data, size_t size, size_t max_size, xml_part part,
                              xml_part source)
{
    const size_t length = source.end - source.begin;
    uint8_t *copy = malloc(length + 1);
    if (copy == NULL)
        return size;
    memcpy(copy, data + source.begin, length);
    const size_t changed = replace(data, size, max_size, part, copy, length);
    free(copy);
    return changed;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    uint64_t state = seed;
    if (size == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    const char *const value = hostile_values[td_random_next(&state) % TD_COUNT_OF(hostile_values)];
    const xml_part element = random_element(data, size, &state);
    switch (td_random_next(&state) % 8) {
    case 0:
    case 1:
    case 2:
        return replace(data, size, max_size, random_value(data, size, &state), value,
                       strlen(value));
    case 3:
    case 4:
        return replace_by_copy(data, size, max_size, random_value(data, size, &state),
                               random_value(data, size, &state));
    case 5:
        return replace(data, size, max_size, element, "", 0);
    case 6: /* in place of another element, or before it */
        return replace_by_copy(data, size, max_size,
                               td_random_next(&state) % 2 == 0
                                   ? random_element(data, size, &state)
                                   : (xml_part){element.begin, element.begin},
                               element);
    default:
        return LLVMFuzzerMutate(data, size, max_size);
    }
}

#endif
