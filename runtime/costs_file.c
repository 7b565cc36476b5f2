/* See costs_file.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/costs_file.h"

#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_TEXT 8192 /* of all kinds and sizes */

static tandem_status refuse_file(tandem_error *error, tandem_status status, const char *file,
                                 const char *what)
{
    return rt_fail(error, status, "%s: the costs cannot be %s: %s", file, what, strerror(errno));
}

tandem_status rt_costs_load(rt_costs *costs, uint64_t artefact_hash, const char *file,
                            tandem_error *error)
{
    char text[MOST_TEXT];
    const int descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return refuse_file(error, TANDEM_FAILED, file, "read");
    size_t length = 0;
    ssize_t count = 1;
    while (count > 0 && length < sizeof text) {
        count = read(descriptor, text + length, sizeof text - length);
        length += count > 0 ? (size_t)count : 0;
    }
    const int failure = errno;
    close(descriptor);
    errno = failure;
    if (count < 0)
        return refuse_file(error, TANDEM_FAILED, file, "read");
    if (length == sizeof text)
        return rt_fail(error, TANDEM_REFUSED, "%s: a file of costs has less than %d bytes", file,
                       MOST_TEXT);
    text[length] = '\0';
    return rt_costs_parse(costs, artefact_hash, file, text, error);
}

static bool write_text(const char *file, const char *text, size_t length)
{
    const int descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return false;
    ssize_t count = 0;
    while (length > 0 && (count = write(descriptor, text, length)) > 0) {
        text += count;
        length -= (size_t)count;
    }
    return close(descriptor) == 0 && length == 0;
}

tandem_status rt_costs_store(const rt_costs *costs, uint64_t artefact_hash, const char *file,
                             tandem_error *error)
{
    char text[MOST_TEXT], part[PATH_MAX];
    const int length = rt_costs_print(costs, artefact_hash, text, sizeof text);
    const int name = snprintf(part, sizeof part, "%s.part", file);
    errno = ENAMETOOLONG;
    if (name < 0 || (size_t)name >= sizeof part)
        return refuse_file(error, TANDEM_FAILED, file, "written");
    if (write_text(part, text, (size_t)length) && rename(part, file) == 0)
        return TANDEM_OK;
    const int failure = errno;
    unlink(part);
    errno = failure;
    return refuse_file(error, TANDEM_FAILED, file, "written");
}
