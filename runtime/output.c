/* See output.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/output.h"

#include "runtime/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool rt_output_write(rt_output *output, const char *bytes, size_t count)
{
    while (count > 0 && !output->broken) {
        ssize_t written = write(STDOUT_FILENO, bytes, count);
        if (written < 0 && errno != EINTR) {
            output->broken = true;
            output->error = errno == EPIPE ? 0 : errno;
        }
        if (written <= 0)
            continue;
        output->any = true;
        bytes += written;
        count -= (size_t)written;
    }
    return !output->broken;
}

void rt_output_end(rt_output *output)
{
    if (output->ids || (output->any && isatty(STDOUT_FILENO)))
        rt_output_write(output, "\n", 1);
}

tandem_status rt_output_check(const rt_output *output, tandem_error *error)
{
    if (output->error == 0)
        return TANDEM_OK;
    return rt_fail(error, TANDEM_FAILED, "the text cannot be written: %s", strerror(output->error));
}

size_t rt_print_id(int32_t id, bool first, char *text)
{
    return (size_t)snprintf(text, RT_ID_BYTES, first ? "%d" : " %d", id);
}

/* Whether text and figures come out at the same place: a line ends between them then. */
static bool share_place(void)
{
    struct stat text, figures;
    return fstat(STDOUT_FILENO, &text) == 0 && fstat(STDERR_FILENO, &figures) == 0 &&
           text.st_dev == figures.st_dev && text.st_ino == figures.st_ino && !isatty(STDOUT_FILENO);
}

static void say_end(const char *program, const tandem_stats *stats)
{
    if (stats->stop == TANDEM_STOP_SLOTS)
        fprintf(stderr,
                "%s: context full: all %u slots are taken, the text ends here (--slots or "
                "--memory-budget may allow more)\n",
                program, stats->slots);
    if (stats->stop == TANDEM_STOP_CONTEXT)
        fprintf(stderr,
                "%s: context full: the model was made for no more positions, the text ends here\n",
                program);
}

void rt_report_session(const rt_command *command, const char *program, const rt_output *output,
                       const tandem_session *session)
{
    tandem_stats stats;
    char text[2048];
    rt_stats(session, &stats);
    say_end(program, &stats);
    if (command->report == RT_REPORT_NONE)
        return;
    if (command->report == RT_REPORT_JSON)
        rt_stats_json(&stats, text, sizeof text);
    else
        rt_stats_text(&stats, text, sizeof text);
    fprintf(stderr, "%s%s%s", output->any && !output->ids && share_place() ? "\n" : "", text,
            command->report == RT_REPORT_JSON ? "\n" : "");
}
