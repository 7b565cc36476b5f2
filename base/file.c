/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *copy_string(td_context *context, const char *string)
{
    char *copy = td_allocate(context, strlen(string) + 1);
    if (copy != NULL)
        strcpy(copy, string);
    return copy;
}

/* Maps an open descriptor; `file->path` is already set. */
static td_status map_descriptor(td_context *context, int descriptor, td_file *file)
{
    struct stat information;
    if (fstat(descriptor, &information) != 0)
        return td_fail(context, TD_IO, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(information.st_mode))
        return td_fail(context, TD_INVALID, "%s: not a regular file", file->path);
    file->data = (const unsigned char *)"";
    file->size = (uint64_t)information.st_size;
    if (file->size == 0)
        return TD_OK;
    void *data = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED)
        return td_fail(context, TD_IO, "%s: cannot map %llu bytes: %s", file->path,
                       (unsigned long long)file->size, strerror(errno));
    file->data = data;
    return TD_OK;
}

td_status td_file_map(td_context *context, const char *path, td_file *file)
{
    td_file mapped = {0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return td_fail(context, TD_IO, "%s: %s", path, strerror(errno));
    mapped.path = copy_string(context, path);
    td_status status = mapped.path == NULL ? td_fail_memory(context)
                                           : map_descriptor(context, descriptor, &mapped);
    close(descriptor);
    if (status != TD_OK)
        td_release(context, mapped.path);
    else
        *file = mapped;
    return status;
}

void td_file_unmap(td_context *context, td_file *file)
{
    if (file->size > 0)
        munmap((void *)(uintptr_t)file->data, (size_t)file->size);
    td_release(context, file->path);
    memset(file, 0, sizeof *file);
}

void td_file_forget(const td_file *file, uint64_t offset, uint64_t size)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (file->data == NULL || offset > file->size || size > file->size - offset)
        return;
    uint64_t first = (offset + page - 1) / page * page, last = (offset + size) / page * page;
    if (first < last)
        madvise((void *)(uintptr_t)(file->data + first), (size_t)(last - first), MADV_DONTNEED);
}

/* Renaming over a device or a pipe would replace it, so only regular files may be there already. */
static td_status check_place(td_context *context, const char *path)
{
    struct stat information;
    if (path[0] == '\0')
        return td_fail(context, TD_IO, "the name of the output file is empty");
    if (stat(path, &information) == 0 && !S_ISREG(information.st_mode))
        return td_fail(context, TD_IO,
                       "%s: cannot write here: this is %s; a new or a regular file is accepted",
                       path, S_ISDIR(information.st_mode) ? "a folder" : "not a regular file");
    return TD_OK;
}

/* A file without a name in the folder of `path`, so that nothing stays behind when the process is
 * killed. NULL where the file system has no such files. */
static FILE *open_unnamed(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (folder == NULL)
        return NULL;
    const int descriptor = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    free(folder);
    if (descriptor < 0)
        return NULL;
    FILE *stream = fdopen(descriptor, "w+b");
    if (stream == NULL)
        close(descriptor);
    return stream;
}

/* Gives an unnamed file its temporary name. */
static bool name_output(const td_output *output)
{
    char descriptor[64];
    snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", fileno(output->stream));
    unlink(output->temporary);
    return linkat(AT_FDCWD, descriptor, AT_FDCWD, output->temporary, AT_SYMLINK_FOLLOW) == 0;
}

td_status td_output_open(td_context *context, const char *path, td_output *output)
{
    td_output opened = {0};
    TD_TRY(check_place(context, path));
    const size_t room = strlen(path) + 32;
    opened.path = copy_string(context, path);
    opened.temporary = td_allocate(context, room);
    td_status status = TD_OK;
    if (opened.path == NULL || opened.temporary == NULL) {
        status = td_fail_memory(context);
    } else {
        snprintf(opened.temporary, room, "%s.part-%ld", path, (long)getpid());
        opened.stream = open_unnamed(path);
        opened.unnamed = opened.stream != NULL;
        if (!opened.unnamed)
            opened.stream = fopen(opened.temporary, "w+be");
        if (opened.stream == NULL)
            status = td_fail(context, TD_IO, "%s: cannot write here: %s", path, strerror(errno));
    }
    if (status != TD_OK) {
        td_release(context, opened.path);
        td_release(context, opened.temporary);
        return status;
    }
    *output = opened;
    return TD_OK;
}

void td_output_discard(td_context *context, td_output *output)
{
    if (output->stream != NULL)
        fclose(output->stream);
    if (output->temporary != NULL)
        unlink(output->temporary);
    td_release(context, output->path);
    td_release(context, output->temporary);
    memset(output, 0, sizeof *output);
}

td_status td_output_check(td_context *context, const char *path)
{
    td_output output;
    if (path == NULL)
        return TD_OK;
    TD_TRY(td_output_open(context, path, &output));
    td_output_discard(context, &output);
    return TD_OK;
}

td_status td_output_commit(td_context *context, td_output *output, bool executable)
{
    td_status status = TD_OK;
    bool failed = fflush(output->stream) != 0 || ferror(output->stream) != 0 ||
                  fchmod(fileno(output->stream), executable ? 0755 : 0644) != 0 ||
                  (output->unnamed && !name_output(output));
    failed = fclose(output->stream) != 0 || failed;
    output->stream = NULL;
    if (failed || rename(output->temporary, output->path) != 0)
        status = td_fail(context, TD_IO, "%s: cannot write: %s", output->path, strerror(errno));
    else
        output->temporary[0] = '\0';
    td_output_discard(context, output);
    return status;
}

char *td_path_beside(td_context *context, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    const size_t directory = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    char *joined = td_allocate(context, directory + strlen(name) + 1);
    if (joined != NULL) {
        memcpy(joined, path, directory);
        strcpy(joined + directory, name);
    }
    return joined;
}

td_status td_make_folder(td_arena *arena, char **folder)
{
    td_context *context = arena->context;
    const char *root = getenv("TMPDIR");
    if (root == NULL || root[0] == '\0')
        root = "/tmp";
    char *made = td_arena_format(arena, "%s/tandem-XXXXXX", root);
    if (made == NULL)
        return td_fail_memory(context);
    if (mkdtemp(made) == NULL)
        return td_fail(context, TD_IO, "%s: no temporary folder can be made here: %s", root,
                       strerror(errno));
    *folder = made;
    return TD_OK;
}

bool td_path_exists(const char *path)
{
    struct stat information;
    return stat(path, &information) == 0;
}

bool td_path_is_directory(const char *path)
{
    struct stat information;
    return stat(path, &information) == 0 && S_ISDIR(information.st_mode);
}
