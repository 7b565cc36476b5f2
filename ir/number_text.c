/* Numbers as the text form writes them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/number_text.h"

#include "ir/half.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ir_number_text ir_f64_text(double number)
{
    ir_number_text text = {{0}};
    if (!isfinite(number)) {
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        snprintf(text.text, sizeof text.text, "0x%016" PRIx64, bits);
        return text;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text.text, sizeof text.text, "%.*g", digits, number);
        if (strtod(text.text, NULL) == number)
            break;
    }
    return text;
}

/* Narrow floats are written as the f32 that they are, so that the number is the one computed with.
 */
static ir_number_text narrow_text(float number, ir_type type, uint32_t bits)
{
    ir_number_text text = {{0}};
    int width = (int)ir_type_bits(type) / 4;
    if (!isfinite(number)) {
        snprintf(text.text, sizeof text.text, "0x%0*" PRIx32, width, bits);
        return text;
    }
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text.text, sizeof text.text, "%.*g", digits, (double)number);
        if (strtof(text.text, NULL) == number)
            break;
    }
    return text;
}

static int64_t read_integer(ir_type type, const unsigned char *bytes, uint64_t index)
{
    int64_t wide;
    int32_t word;
    switch (type) {
    case IR_I64:
        memcpy(&wide, bytes + index * 8, 8);
        return wide;
    case IR_I32:
        memcpy(&word, bytes + index * 4, 4);
        return word;
    case IR_I8:
        return (int8_t)bytes[index];
    case IR_I4:
    case IR_U4: {
        int half = (bytes[index / 2] >> (index % 2 * 4)) & 15;
        return type == IR_I4 && half >= 8 ? half - 16 : half;
    }
    default:
        return bytes[index];
    }
}

ir_number_text ir_element_text(ir_type type, const unsigned char *bytes, uint64_t index)
{
    ir_number_text text = {{0}};
    uint16_t half;
    float single;
    double wide;
    switch (type) {
    case IR_F64:
        memcpy(&wide, bytes + index * 8, 8);
        return ir_f64_text(wide);
    case IR_F32:
        memcpy(&single, bytes + index * 4, 4);
        return narrow_text(single, type, ir_f32_bits(single));
    case IR_F16:
        memcpy(&half, bytes + index * 2, 2);
        return narrow_text(ir_f16_to_f32(half), type, half);
    case IR_BF16:
        memcpy(&half, bytes + index * 2, 2);
        return narrow_text(ir_bf16_to_f32(half), type, half);
    default:
        snprintf(text.text, sizeof text.text, "%" PRId64, read_integer(type, bytes, index));
        return text;
    }
}

/* --- parsing --- */

static bool parse_bits(const char *digits, unsigned width, uint64_t *bits)
{
    char *end;
    if (strncmp(digits, "0x", 2) != 0 || strlen(digits) != 2 + width / 4)
        return false;
    *bits = strtoull(digits + 2, &end, 16);
    return *end == '\0';
}

/* Decimals only: strtod would also take "inf", hexadecimal fractions and leading space. */
static bool is_decimal(const char *digits)
{
    return digits[0] >= '0' && digits[0] <= '9' &&
           strspn(digits, "0123456789.e+-") == strlen(digits);
}

bool ir_f64_parse(bool negative, const char *digits, double *number)
{
    uint64_t bits;
    char *end;
    if (!negative && parse_bits(digits, 64, &bits)) {
        memcpy(number, &bits, sizeof bits);
        return true;
    }
    if (!is_decimal(digits))
        return false;
    *number = strtod(digits, &end);
    if (*end != '\0' || !isfinite(*number))
        return false;
    if (negative)
        *number = -*number;
    return true;
}

/* Rounds from the text to binary32, and from there to 16 bits. */
static bool parse_narrow(ir_type type, bool negative, const char *digits, uint32_t *bits)
{
    uint64_t pattern;
    char *end;
    if (!negative && parse_bits(digits, ir_type_bits(type), &pattern)) {
        *bits = (uint32_t)pattern;
        return true;
    }
    if (!is_decimal(digits))
        return false;
    float number = strtof(digits, &end);
    if (*end != '\0' || !isfinite(number))
        return false;
    if (negative)
        number = -number;
    *bits = type == IR_F32   ? ir_f32_bits(number)
            : type == IR_F16 ? ir_f32_to_f16(number)
                             : ir_f32_to_bf16(number);
    return true;
}

static const struct {
    ir_type type;
    int64_t low, high;
} ranges[] = {
    {IR_I64, INT64_MIN, INT64_MAX},
    {IR_I32, INT32_MIN, INT32_MAX},
    {IR_I8, INT8_MIN, INT8_MAX},
    {IR_U8, 0, UINT8_MAX},
    {IR_I4, -8, 7},
    {IR_U4, 0, 15},
    {IR_BOOL, 0, UINT8_MAX},
};

static bool parse_integer(ir_type type, bool negative, const char *digits, int64_t *value)
{
    int64_t number = 0;
    for (const char *digit = digits; *digit != '\0'; digit++)
        if (*digit < '0' || *digit > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, *digit - '0', &number))
            return false;
    if (!negative && __builtin_sub_overflow(0, number, &number))
        return false;
    *value = number;
    for (size_t i = 0; i < TD_COUNT_OF(ranges); i++)
        if (ranges[i].type == type)
            return number >= ranges[i].low && number <= ranges[i].high;
    return false;
}

bool ir_element_parse(ir_type type, bool negative, const char *digits, unsigned char *bytes,
                      uint64_t index)
{
    unsigned bits = ir_type_bits(type);
    if (type == IR_F64) {
        double number;
        if (!ir_f64_parse(negative, digits, &number))
            return false;
        memcpy(bytes + index * 8, &number, 8);
        return true;
    }
    if (ir_type_is_float(type)) {
        uint32_t pattern; /* little endian hosts, as everywhere in the compiler */
        if (!parse_narrow(type, negative, digits, &pattern))
            return false;
        memcpy(bytes + index * (bits / 8), &pattern, bits / 8);
        return true;
    }
    int64_t value;
    if (!parse_integer(type, negative, digits, &value))
        return false;
    if (bits == 4) {
        unsigned shift = index % 2 * 4;
        unsigned kept = bytes[index / 2] & ~(15u << shift);
        bytes[index / 2] = (unsigned char)(kept | ((unsigned)value & 15u) << shift);
        return true;
    }
    memcpy(bytes + index * (bits / 8), &value, bits / 8);
    return true;
}
