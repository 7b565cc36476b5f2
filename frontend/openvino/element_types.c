/* See element_types.h.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/element_types.h"

#include <string.h>

/* Types without a counterpart have IR_OPAQUE; bits as stored. u64 is read as i64: real files use it
 * for sizes only. */
typedef struct element_row {
    const char *name, *precision;
    ir_type type;
    unsigned bits;
} element_row;

static const element_row element_types[] = {
    {"boolean", "BOOL", IR_BOOL, 8},
    {"bf16", "BF16", IR_BF16, 16},
    {"f16", "FP16", IR_F16, 16},
    {"f32", "FP32", IR_F32, 32},
    {"f64", "FP64", IR_F64, 64},
    {"i4", "I4", IR_I4, 4},
    {"i8", "I8", IR_I8, 8},
    {"i16", "I16", IR_OPAQUE, 16},
    {"i32", "I32", IR_I32, 32},
    {"i64", "I64", IR_I64, 64},
    {"u1", "BIN", IR_OPAQUE, 1},
    {"u2", "U2", IR_OPAQUE, 2},
    {"u3", "U3", IR_OPAQUE, 3},
    {"u4", "U4", IR_U4, 4},
    {"u6", "U6", IR_OPAQUE, 6},
    {"u8", "U8", IR_U8, 8},
    {"u16", "U16", IR_OPAQUE, 16},
    {"u32", "U32", IR_OPAQUE, 32},
    {"u64", "U64", IR_I64, 64},
    {"nf4", "NF4", IR_OPAQUE, 4},
    {"f8e4m3", "F8E4M3", IR_OPAQUE, 8},
    {"f8e5m2", "F8E5M2", IR_OPAQUE, 8},
    {"f4e2m1", "F4E2M1", IR_OPAQUE, 4},
    {"f8e8m0", "F8E8M0", IR_OPAQUE, 8},
    {"string", "STRING", IR_OPAQUE, 8},
};

/* The row of a type, NULL when there is none. The first one counts: it is what is written. */
static const element_row *find_type(ir_type type)
{
    for (size_t i = 0; type != IR_OPAQUE && i < TD_COUNT_OF(element_types); i++)
        if (element_types[i].type == type)
            return &element_types[i];
    return NULL;
}

bool ov_element_type(const char *name, ir_type *type)
{
    for (size_t i = 0; i < TD_COUNT_OF(element_types); i++)
        if (strcasecmp(element_types[i].name, name) == 0 && element_types[i].type != IR_OPAQUE) {
            *type = element_types[i].type;
            return true;
        }
    return false;
}

unsigned ov_element_bits(const char *name)
{
    for (size_t i = 0; i < TD_COUNT_OF(element_types); i++)
        if (strcasecmp(element_types[i].name, name) == 0)
            return element_types[i].bits;
    return 0;
}

ir_type ov_precision_type(const char *precision)
{
    for (size_t i = 0; i < TD_COUNT_OF(element_types); i++)
        if (strcasecmp(element_types[i].precision, precision) == 0)
            return element_types[i].type;
    return IR_OPAQUE;
}

const char *ov_element_name(ir_type type)
{
    const element_row *row = find_type(type);
    return row == NULL ? "dynamic" : row->name;
}

const char *ov_precision_name(ir_type type)
{
    const element_row *row = find_type(type);
    return row == NULL ? "dynamic" : row->precision;
}
