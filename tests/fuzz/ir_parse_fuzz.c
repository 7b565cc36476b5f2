/* Fuzz target for the parser of the IR's text form: whatever the bytes, it returns; and what it
 * accepts, the printer writes and the parser reads again. With libFuzzer:
 *
 *     clang -fsanitize=fuzzer,address,undefined -I. tests/fuzz/ir_parse_fuzz.c ... libtandem_ir.a
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_context context;
    ir_module *module = NULL, *again = NULL;
    td_text first, second;
    td_context_init(&context);
    td_text_init(&first, &context);
    td_text_init(&second, &context);
    if (ir_parse(&context, (const char *)data, size, "input", &module) == TD_OK) {
        if (ir_print(module, &first) != TD_OK ||
            ir_parse(&context, first.data, first.length, "printed", &again) != TD_OK ||
            ir_print(again, &second) != TD_OK || strcmp(first.data, second.data) != 0)
            abort();
    }
    td_text_release(&first);
    td_text_release(&second);
    ir_module_release(module);
    ir_module_release(again);
    return 0;
}
