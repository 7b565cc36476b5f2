/* Outputs: what may be written over, and that a refusal leaves what was there. Folders.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/tmp/tandem-file-XXXXXX"

TEST(a_pipe_is_not_replaced)
{
    td_context context;
    td_output output;
    struct stat information;
    char folder[] = FOLDER, path[64];
    td_context_init(&context);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/pipe", folder);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(td_output_open(&context, path, &output) == TD_IO);
    CHECK(strstr(context.message, "regular file") != NULL);
    CHECK(stat(path, &information) == 0 && S_ISFIFO(information.st_mode));
    unlink(path);
    rmdir(folder);
}

TEST(folders_and_empty_names_are_refused)
{
    td_context context;
    td_output output;
    char folder[] = FOLDER;
    td_context_init(&context);
    CHECK(mkdtemp(folder) != NULL);
    CHECK(td_output_open(&context, folder, &output) == TD_IO);
    CHECK(strstr(context.message, "folder") != NULL);
    CHECK(td_output_open(&context, "", &output) == TD_IO);
    rmdir(folder);
}

TEST(a_regular_file_is_replaced_only_by_commit)
{
    td_context context;
    td_output output;
    td_file file;
    char folder[] = FOLDER, path[64];
    td_context_init(&context);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/regular", folder);
    for (int round = 0; round < 3; round++) {
        CHECK(td_output_open(&context, path, &output) == TD_OK);
        fprintf(output.stream, "%d", round);
        if (round == 1)
            td_output_discard(&context, &output);
        else
            CHECK(td_output_commit(&context, &output, false) == TD_OK);
        CHECK(td_file_map(&context, path, &file) == TD_OK);
        CHECK(file.size == 1 && file.data[0] == (round < 2 ? '0' : '2'));
        td_file_unmap(&context, &file);
    }
    unlink(path);
    rmdir(folder);
}

TEST(an_empty_file_can_be_counted_from)
{
    td_context context;
    td_file file;
    char path[] = "/tmp/tandem-file-XXXXXX";
    td_context_init(&context);
    CHECK(close(mkstemp(path)) == 0);
    CHECK(td_file_map(&context, path, &file) == TD_OK);
    CHECK(file.size == 0 && file.data != NULL);
    td_file_forget(&file, 0, 0);
    td_file_unmap(&context, &file);
    unlink(path);
}

TEST(folders_are_made_where_the_environment_says)
{
    td_context context;
    td_arena arena;
    char folder[] = FOLDER, *first, *second, *before = getenv("TMPDIR");
    td_context_init(&context);
    td_arena_init(&arena, &context);
    CHECK(mkdtemp(folder) != NULL && setenv("TMPDIR", folder, 1) == 0);
    CHECK(td_make_folder(&arena, &first) == TD_OK && td_make_folder(&arena, &second) == TD_OK);
    CHECK(strncmp(first, folder, strlen(folder)) == 0 && strcmp(first, second) != 0);
    CHECK(td_path_is_directory(first) && rmdir(first) == 0 && rmdir(second) == 0);
    CHECK(rmdir(folder) == 0 && td_make_folder(&arena, &first) == TD_IO);
    CHECK(strstr(context.message, folder) != NULL);
    CHECK(before == NULL ? unsetenv("TMPDIR") == 0 : setenv("TMPDIR", before, 1) == 0);
    td_arena_release(&arena);
}

TEST_MAIN()
