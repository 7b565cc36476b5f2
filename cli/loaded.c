/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/loaded.h"

#include "base/file.h"

#include <dlfcn.h>
#include <stdio.h>
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

/* In a folder that is there: compiles, loads, and leaves nothing. */
static td_status load_in(td_context *context, const cli_options *options,
                         const tandem_options *start, const char *folder, td_arena *arena,
                         cli_loaded *loaded)
{
    const char *path = td_arena_format(arena, "%s/model.so", folder);
    const char *header = td_arena_format(arena, "%s/model.h", folder);
    if (path == NULL || header == NULL)
        return td_fail_memory(context);
    td_status status = compile(context, options, path);
    if (status == TD_OK)
        status = open_library(context, path, options->name, start, loaded);
    unlink(path);
    unlink(header);
    return status;
}

td_status cli_load(td_context *context, const cli_options *options, const tandem_options *start,
                   cli_loaded *loaded)
{
    td_arena arena;
    char *folder;
    memset(loaded, 0, sizeof *loaded);
    td_arena_init(&arena, context);
    td_status status = td_make_folder(&arena, &folder);
    if (status == TD_OK) {
        status = load_in(context, options, start, folder, &arena, loaded);
        rmdir(folder);
    }
    td_arena_release(&arena);
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
