/* Element types, shapes and names as OpenVINO writes them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <string.h>

/* Types without a counterpart have IR_OPAQUE; bits as stored. u64 is read as i64: real files use it
 * for sizes only. */
static const struct {
    const char *name, *precision;
    ir_type type;
    unsigned bits;
} element_types[] = {
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

ir_type ov_port_type(const ov_port *port)
{
    for (size_t i = 0; i < TD_COUNT_OF(element_types); i++)
        if (port->precision != NULL && strcasecmp(element_types[i].precision, port->precision) == 0)
            return element_types[i].type;
    return IR_OPAQUE;
}

bool ov_parse_shape(const char *text, uint32_t capacity, int64_t *dims, uint32_t *rank)
{
    const char *entry;
    size_t length;
    *rank = 0;
    while (ov_next_entry(&text, &entry, &length)) {
        char number[24];
        if (*rank == capacity || length == 0 || length >= sizeof number)
            return false;
        memcpy(number, entry, length);
        number[length] = '\0';
        int64_t *dim = &dims[(*rank)++];
        /* A range such as 1..128 is dynamic too: its bounds are not used. */
        if (strcmp(number, "?") == 0 || strcmp(number, "-1") == 0 || strstr(number, "..") != NULL)
            *dim = OV_DYNAMIC;
        else if (!ov_parse_i64(number, dim) || *dim < 0)
            return false;
    }
    return true;
}

td_status ov_make_shape(ov_reader *reader, const int64_t *dims, uint32_t rank, ir_shape *shape)
{
    if (rank > IR_MAX_RANK)
        return ov_refuse(reader, "it has %u dimensions; at most %d are accepted", rank,
                         IR_MAX_RANK);
    shape->rank = rank;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] != OV_DYNAMIC) {
            shape->dim[i] = ir_dim_constant(dims[i]);
            continue;
        }
        ir_symbol symbol;
        TD_TRY(ir_module_add_symbol(reader->module, NULL, INT64_MAX, &symbol));
        shape->dim[i] = ir_dim_symbol(symbol);
    }
    return TD_OK;
}

td_status ov_first_name(ov_reader *reader, const char *names, const char *otherwise,
                        const char **name)
{
    const char *text = names == NULL ? "" : names;
    size_t length = 0;
    /* "\," is a comma that belongs to the name. */
    while (text[length] != '\0' && text[length] != ',')
        length += text[length] == '\\' && text[length + 1] != '\0' ? 2 : 1;
    char *copy = length == 0 ? td_arena_string(&reader->module->arena, otherwise)
                             : td_arena_string_n(&reader->module->arena, text, length);
    if (copy == NULL)
        return td_fail_memory(reader->context);
    if (length > 0) {
        char *to = copy;
        for (const char *from = copy; *from != '\0'; from++) {
            if (*from == '\\' && from[1] != '\0')
                from++;
            *to++ = *from;
        }
        *to = '\0';
    }
    *name = copy;
    return TD_OK;
}
