/* The list of import passes, and running lists of passes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <stdio.h>
#include <string.h>

const ir_pass ir_import_passes[] = {
    {"fold_shapes", "shape arithmetic becomes symbolic dimensions", ir_pass_fold_shapes},
    {"fold_decompression", "decompression cones become quantised constants",
     ir_pass_fold_decompression},
    {"raise", "the decoder's patterns become language-model ops", ir_pass_raise},
    {"remove_dead", "nodes and constants without a reader go", ir_pass_remove_dead},
    {NULL, NULL, NULL},
};

const char *const ir_pass_names[] = {
    "fold_shapes", "fold_decompression", "raise",         "remove_dead",
    "cut_layers",  "convert_weights",    "trim_head",     "quantize_activations",
    "fuse_gated",  "fuse_residual",      "fuse_siblings", "fuse_quantize",
    "fuse_rope",   "add_greedy",         "keep_queries",  "cache_type",
    NULL,
};

static bool is_known(const char *pass)
{
    for (size_t i = 0; ir_pass_names[i] != NULL; i++)
        if (strcmp(ir_pass_names[i], pass) == 0)
            return true;
    return false;
}

static td_status print_module(const ir_module *module, const char *pass)
{
    td_text text;
    td_text_init(&text, module->context);
    td_status status = ir_print(module, &text);
    if (status == TD_OK)
        fprintf(stderr, "; after %s\n%s\n", pass, text.data != NULL ? text.data : "");
    td_text_release(&text);
    return status;
}

static td_status print_wanted(const ir_module *module, const char *pass, const char *print_after)
{
    const bool wanted =
        print_after != NULL && (strcmp(print_after, "all") == 0 || strcmp(print_after, pass) == 0);
    return wanted ? print_module(module, pass) : TD_OK;
}

td_status ir_print_after(const ir_module *module, const char *pass, const char *print_after)
{
    if (!is_known(pass))
        return td_fail(module->context, TD_INTERNAL, "pass \"%s\" is not in ir_pass_names", pass);
    return print_wanted(module, pass, print_after);
}

td_status ir_run_passes(ir_module *module, const ir_pass *passes, const char *print_after,
                        bool verify)
{
    for (const ir_pass *pass = passes; pass->name != NULL; pass++) {
        td_progress(module->context, 2, "pass %s: %s", pass->name, pass->summary);
        TD_TRY(pass->run(module));
        /* Printed first: what the verifier refuses is what one wants to see. */
        TD_TRY(print_wanted(module, pass->name, print_after));
        td_status status = verify ? ir_verify(module) : TD_OK;
        if (status != TD_OK)
            return td_fail_within(module->context, status, "after pass %s", pass->name);
    }
    return TD_OK;
}
