/* Types, shapes and names as OpenVINO writes them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_internal.h"

#include <string.h>

ir_type ov_port_type(const ov_port *port)
{
    return port->precision == NULL ? IR_OPAQUE : ov_precision_type(port->precision);
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
