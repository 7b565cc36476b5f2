/* Linking with the target's C compiler driver, in a temporary folder that is removed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define MAX_ARGUMENTS 24

typedef struct workshop {
    td_arena arena;
    const cg_program *program;
    char *folder, *script, *result, *log;
    char *objects[CG_MAX_LEVELS + 1]; /* the code of each level and the tables; NULL: no more */
} workshop;

static td_status fill_file(const workshop *shop, const char *path, const void *bytes, size_t count)
{
    td_context *context = shop->program->context;
    FILE *file = fopen(path, "wbe");
    if (file == NULL)
        return td_fail(context, TD_IO, "%s: %s", path, strerror(errno));
    const bool written = fwrite(bytes, 1, count, file) == count;
    if (fclose(file) != 0 || !written)
        return td_fail(context, TD_IO, "%s: cannot write %zu bytes", path, count);
    return TD_OK;
}

static td_status open_workshop(workshop *shop)
{
    td_context *context = shop->program->context;
    char *folder = NULL;
    TD_TRY(td_make_folder(&shop->arena, &folder));
    shop->folder = folder;
    shop->script = td_arena_format(&shop->arena, "%s/exports", folder);
    shop->result = td_arena_format(&shop->arena, "%s/program", folder);
    shop->log = td_arena_format(&shop->arena, "%s/messages", folder);
    if (shop->script == NULL || shop->result == NULL || shop->log == NULL)
        return td_fail_memory(context);
    return TD_OK;
}

static void close_workshop(workshop *shop)
{
    const char *const files[] = {shop->script, shop->result, shop->log};
    for (size_t i = 0; i < TD_COUNT_OF(files); i++)
        if (files[i] != NULL)
            unlink(files[i]);
    for (size_t i = 0; i < TD_COUNT_OF(shop->objects) && shop->objects[i] != NULL; i++)
        unlink(shop->objects[i]);
    if (shop->folder != NULL)
        rmdir(shop->folder);
    td_arena_release(&shop->arena);
}

/* The first line that the linker wrote, or "". */
static void read_reason(const workshop *shop, char *line, size_t size)
{
    line[0] = '\0';
    FILE *file = fopen(shop->log, "re");
    if (file == NULL)
        return;
    if (fgets(line, (int)size, file) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

static td_status spawn_linker(const workshop *shop, char **arguments)
{
    td_context *context = shop->program->context;
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return td_fail(context, TD_IO, "%s: %s", arguments[0], strerror(error));
    error = posix_spawn_file_actions_addopen(&actions, 2, shop->log, O_WRONLY | O_CREAT | O_TRUNC,
                                             0600);
    pid_t child = 0;
    if (error == 0)
        error = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return td_fail(context, TD_IO, "%s, which links for %s, cannot be run: %s", arguments[0],
                       shop->program->request->target->runtime_folder, strerror(error));
    int result = 0;
    while (waitpid(child, &result, 0) < 0)
        if (errno != EINTR)
            return td_fail(context, TD_IO, "%s: %s", arguments[0], strerror(errno));
    if (WIFEXITED(result) && WEXITSTATUS(result) == 0)
        return TD_OK;
    char reason[512];
    read_reason(shop, reason, sizeof reason);
    return td_fail(context, TD_IO, "%s failed: %s", arguments[0], reason);
}

static char *runtime_path(td_arena *arena, const cg_request *request)
{
    return td_arena_format(arena, "%s/%s/libtandem_runtime.a", request->runtime_root,
                           request->target->runtime_folder);
}

td_status cg_check_runtime(const cg_program *program)
{
    td_context *context = program->context;
    const cg_target *target = program->request->target;
    td_arena arena;
    td_arena_init(&arena, context);
    const char *path = runtime_path(&arena, program->request);
    td_status status = path == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK && !td_path_exists(path))
        status = td_fail(context, TD_IO,
                         "%s: the runtime for %s is not there; it is built with Tandem when %s is "
                         "installed",
                         path, target->runtime_folder, target->linker);
    td_arena_release(&arena);
    return status;
}

/* The command line: the objects, the runtime, and what keeps two links of it alike. */
static td_status list_arguments(workshop *shop, char **arguments)
{
    const cg_program *program = shop->program;
    const cg_request *request = program->request;
    td_arena *arena = &shop->arena;
    size_t count = 0;
    arguments[count++] = td_arena_string(arena, request->target->linker);
    if (request->emit == CG_SHARED) {
        arguments[count++] = td_arena_string(arena, "-shared");
        arguments[count++] = td_arena_format(arena, "-Wl,--version-script=%s", shop->script);
        arguments[count++] = td_arena_string(arena, "-Wl,-z,defs");
    } else {
        arguments[count++] = td_arena_string(arena, "-static");
    }
    arguments[count++] = td_arena_string(arena, "-Wl,--gc-sections,--build-id=none,-s");
    arguments[count++] = td_arena_string(arena, "-o");
    arguments[count++] = shop->result;
    for (size_t i = 0; i < TD_COUNT_OF(shop->objects) && shop->objects[i] != NULL; i++)
        arguments[count++] = shop->objects[i];
    if (!program->bare)
        arguments[count++] = runtime_path(arena, request);
    arguments[count++] = td_arena_string(arena, "-lm");
    arguments[count++] = td_arena_string(arena, "-lpthread");
    for (size_t i = 0; i < count; i++)
        if (arguments[i] == NULL)
            return td_fail_memory(program->context);
    arguments[count] = NULL;
    return TD_OK;
}

static td_status copy_result(const workshop *shop, FILE *output)
{
    td_context *context = shop->program->context;
    td_file linked;
    TD_TRY(td_file_map(context, shop->result, &linked));
    const bool written = fwrite(linked.data, 1, (size_t)linked.size, output) == linked.size;
    td_file_unmap(context, &linked);
    return written
               ? TD_OK
               : td_fail(context, TD_IO, "%s: cannot be written", shop->program->request->output);
}

static td_status add_object(workshop *shop, size_t index, LLVMMemoryBufferRef object)
{
    char *path = td_arena_format(&shop->arena, "%s/program-%zu.o", shop->folder, index);
    if (path == NULL)
        return td_fail_memory(shop->program->context);
    shop->objects[index] = path;
    return fill_file(shop, path, LLVMGetBufferStart(object), LLVMGetBufferSize(object));
}

/* The symbols of a library. */
static td_status write_exports(workshop *shop)
{
    const char *name = shop->program->request->name;
    char *exports =
        td_arena_format(&shop->arena, "{ global: tandem_%s_query; local: *; };\n", name);
    return exports == NULL ? td_fail_memory(shop->program->context)
                           : fill_file(shop, shop->script, exports, strlen(exports));
}

static td_status link_in(workshop *shop, LLVMMemoryBufferRef tables, FILE *output)
{
    char *arguments[MAX_ARGUMENTS];
    const cg_program *program = shop->program;
    TD_TRY(open_workshop(shop));
    for (size_t level = 0; level < program->level_count; level++)
        TD_TRY(add_object(shop, level, program->levels[level].object));
    TD_TRY(add_object(shop, program->level_count, tables));
    TD_TRY(write_exports(shop));
    TD_TRY(list_arguments(shop, arguments));
    TD_TRY(spawn_linker(shop, arguments));
    return copy_result(shop, output);
}

td_status cg_link(const cg_program *program, LLVMMemoryBufferRef tables, FILE *output)
{
    workshop shop = {.program = program};
    td_arena_init(&shop.arena, program->context);
    const td_status status = link_in(&shop, tables, output);
    close_workshop(&shop);
    return status;
}
