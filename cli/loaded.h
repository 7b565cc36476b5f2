/* A program compiled into a temporary folder and loaded into this process, for verbs that generate.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_LOADED_H
#define TANDEM_CLI_LOADED_H

#include "cli/cli.h"
#include "runtime/tandem.h"

typedef struct cli_loaded {
    void *library;
    const tandem_api *api;
    tandem_model *model;
} cli_loaded;

/* Compiles what the options name for this machine, loads and opens it. The files are gone when this
 * returns. */
td_status cli_load(td_context *context, const cli_options *options, const tandem_options *start,
                   cli_loaded *loaded);
void cli_unload(cli_loaded *loaded);

#endif
