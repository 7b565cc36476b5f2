/* Raised form -> raised form with another element type of all KV caches.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <string.h>

static const struct {
    const char *kind;
    ir_type type;
} kinds[] = {
    {"f32", IR_F32},
    {"f16", IR_F16},
    {"q8", IR_I8},
};

td_status ir_pass_cache_type(ir_module *module, const char *kind)
{
    for (size_t k = 0; k < TD_COUNT_OF(kinds); k++) {
        if (strcmp(kinds[k].kind, kind) != 0)
            continue;
        for (size_t i = 0; i < module->states.count; i++)
            if (module->states.items[i]->kind == IR_STATE_CACHE)
                module->states.items[i]->type = kinds[k].type;
        return TD_OK;
    }
    return td_fail(module->context, TD_INVALID, "cache type \"%s\" is unknown; f32, f16 or q8",
                   kind);
}
