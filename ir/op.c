/* The op table and the table of element types.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/private.h"

#include <string.h>

static const ir_op_info ops[IR_OP_COUNT] = {
#define IR_OP(name, min_inputs, max_inputs, outputs, flags, rule, summary)                         \
    {#name, min_inputs, max_inputs, outputs, flags, ir_infer_##rule, summary},
#include "ir/ops.def"
#undef IR_OP
};

const ir_op_info *ir_op(ir_opcode op)
{
    return (unsigned)op < IR_OP_COUNT ? &ops[op] : NULL;
}

bool ir_op_from_name(const char *name, ir_opcode *op)
{
    for (int i = 0; i < IR_OP_COUNT; i++)
        if (strcmp(ops[i].name, name) == 0) {
            *op = (ir_opcode)i;
            return true;
        }
    return false;
}

static const struct {
    const char *name;
    unsigned bits;
} types[IR_TYPE_COUNT] = {
#define X(name, text, bits) {text, bits},
    IR_TYPES(X)
#undef X
};

const char *ir_type_name(ir_type type)
{
    return (unsigned)type < IR_TYPE_COUNT ? types[type].name : "unknown";
}

unsigned ir_type_bits(ir_type type)
{
    return (unsigned)type < IR_TYPE_COUNT ? types[type].bits : 0;
}

bool ir_type_from_name(const char *name, ir_type *type)
{
    for (int i = 0; i < IR_TYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = (ir_type)i;
            return true;
        }
    return false;
}
