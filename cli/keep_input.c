/* Outputs over inputs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "base/file.h"

#include <string.h>
#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

/* The .bin beside an OpenVINO IR. */
static bool is_weights_of(td_context *context, const char *input, const char *output)
{
    const size_t length = strlen(input);
    if (length < 4 || strcasecmp(input + length - 4, ".xml") != 0)
        return false;
    char *weights = td_allocate(context, length + 1);
    if (weights == NULL)
        return false;
    memcpy(weights, input, length - 4);
    strcpy(weights + length - 4, ".bin");
    const bool same = same_file(weights, output);
    td_release(context, weights);
    return same;
}

/* A file that is there already, of a kind that checkpoints are made of, in an input's folder. */
static bool is_part_of(td_context *context, const char *input, const char *output)
{
    static const char *const kinds[] = {".safetensors", ".json", ".model"};
    const char *dot = strrchr(output, '.');
    if (dot == NULL || !td_path_is_directory(input) || !td_path_exists(output))
        return false;
    bool part = false;
    for (size_t i = 0; i < TD_COUNT_OF(kinds) && !part; i++)
        part = strcmp(dot, kinds[i]) == 0;
    char *folder = part ? td_path_beside(context, output, ".") : NULL;
    part = folder != NULL && same_file(folder, input);
    td_release(context, folder);
    return part;
}

td_status cli_keep_input(td_context *context, const char *input, const char *output)
{
    if (input == NULL || output == NULL)
        return TD_OK;
    if (same_file(input, output) || is_weights_of(context, input, output) ||
        is_part_of(context, input, output))
        return td_fail(context, TD_INVALID,
                       "%s: this is a file that the output is made from (%s); another name is "
                       "accepted",
                       output, input);
    return TD_OK;
}
