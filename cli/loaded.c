/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/loaded.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static td_status compile(td_context *context, const cli_options *options, const char *path)
{
    cli_options own = *options;
    cli_program program;
    cg_plan plan;
    own.output = path;
    own.emit = CG_SHARED;
    own.triple = own.cpu = NULL;
    TD_TRY(cli_prepare(context, &own, &program));
    const td_status status = cg_compile(context, &program.request, &plan);
    cli_program_release(context, &program);
    return status;
}

static td_status open_library(td_context *context, const char *path, const char *name,
                              const tandem_options *start, cli_loaded *loaded)
{
    char symbol[128];
    tandem_query query;
    tandem_error error;
    loaded->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (loaded->library == NULL)
        return td_fail(context, TD_INTERNAL, "the compiled library does not load: %s", dlerror());
    snprintf(symbol, sizeof symbol, "tandem_%s_query", name);
    void *found = dlsym(loaded->library, symbol);
    memcpy(&query, &found, sizeof query); /* ISO C has no cast from an object's pointer */
    const tandem_artefact *artefact = found == NULL ? NULL : query(TANDEM_ABI_VERSION);
    if (artefact == NULL)
        return td_fail(context, TD_INTERNAL, "the compiled library lacks %s", symbol);
    loaded->api = artefact->api;
    if (loaded->api->open(artefact, start, &error, &loaded->model) != TANDEM_OK)
        return td_fail(context, TD_INVALID, "the compiled program: %s", error.text);
    return TD_OK;
}

td_status cli_load(td_context *context, const cli_options *options, const tandem_options *start,
                   cli_loaded *loaded)
{
    const char *parent = getenv("TMPDIR");
    char folder[4096], path[4096 + 16], header[4096 + 16];
    memset(loaded, 0, sizeof *loaded);
    snprintf(folder, sizeof folder, "%s/tandem-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (mkdtemp(folder) == NULL)
        return td_fail(context, TD_IO, "%s: cannot make a folder here: %s", folder,
                       strerror(errno));
    snprintf(path, sizeof path, "%s/model.so", folder);
    snprintf(header, sizeof header, "%s/model.h", folder);
    td_status status = compile(context, options, path);
    if (status == TD_OK)
        status = open_library(context, path, options->name, start, loaded);
    unlink(path);
    unlink(header);
    rmdir(folder);
    if (status != TD_OK)
        cli_unload(loaded);
    return status;
}

void cli_unload(cli_loaded *loaded)
{
    if (loaded->model != NULL)
        loaded->api->close(loaded->model);
    if (loaded->library != NULL)
        dlclose(loaded->library);
    memset(loaded, 0, sizeof *loaded);
}
