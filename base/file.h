/* Files: read-only mappings of untrusted inputs, and outputs written beside their place and
 * renamed, so that a failure leaves the old file.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_BASE_FILE_H
#define TANDEM_BASE_FILE_H

#include "base/memory.h"

#include <stdio.h>

/* A whole file, mapped read-only and private. An empty file has size 0; its data may not be read,
 * but counted from. */
typedef struct td_file {
    const unsigned char *data;
    uint64_t size;
    char *path; /* owned */
} td_file;

/* TD_IO when the file cannot be opened or mapped, TD_INVALID when it is no regular file. Costs no
 * reading. */
td_status td_file_map(td_context *context, const char *path, td_file *file);

/* {0} and a second time are fine. */
void td_file_unmap(td_context *context, td_file *file);

/* Tells the kernel that the pages of [offset, offset + size) are not needed any more, so that
 * reading a large file piece by piece does not count as resident memory. */
void td_file_forget(const td_file *file, uint64_t offset, uint64_t size);

/* An output being written: a temporary file beside `path`, without a name where that is possible.
 */
typedef struct td_output {
    FILE *stream;
    char *path, *temporary; /* owned */
    bool unnamed;           /* `temporary` is made at commit only */
} td_output;

/* Opens the stream for writing and reading. TD_IO when nothing can be written in that folder, or
 * something other than a regular file (a device, a folder, a pipe) is at `path`. */
td_status td_output_open(td_context *context, const char *path, td_output *output);

/* Refuses a path at which nothing can be written, for work that takes long before it writes. What
 * is there stays as it is; NULL is fine. */
td_status td_output_check(td_context *context, const char *path);

/* Flushes, sets the mode (0644, or 0755 when executable) and renames over `path`. On failure the
 * temporary is removed and the old file stays. */
td_status td_output_commit(td_context *context, td_output *output, bool executable);

/* Removes the temporary; harmless after commit. */
void td_output_discard(td_context *context, td_output *output);

/* The path of a file in the same directory: everything up to the last slash of `path`, and `name`.
 * td_release it; NULL: no memory. */
char *td_path_beside(td_context *context, const char *path, const char *name);

/* Makes an empty folder of its own under $TMPDIR, or /tmp. The caller removes it, the arena owns
 * its name. TD_IO when none can be made there. */
td_status td_make_folder(td_arena *arena, char **folder);

/* What the path leads to, links followed; false when it cannot be told. */
bool td_path_exists(const char *path);
bool td_path_is_directory(const char *path);

#endif
