/* Runs a command and says, from outside, what it took: peak FILE COMMAND... writes to FILE
 *
 *     peak BYTES       most memory that was resident, as the kernel noted it at the end
 *     major FAULTS     pages that had to be read from a disk
 *
 * and exits as the command does. peak --group FOLDER FILE COMMAND... runs it in a control group.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Moves this process into a control group. */
static int enter(const char *group)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *stream = fopen(path, "w");
    if (stream == NULL)
        return -1;
    fprintf(stream, "%ld\n", (long)getpid());
    return fclose(stream);
}

int main(int argc, char **argv)
{
    const char *group = NULL;
    if (argc > 2 && strcmp(argv[1], "--group") == 0) {
        group = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 3)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        if (group != NULL && enter(group) != 0) {
            perror(group);
            _exit(125);
        }
        execv(argv[2], argv + 2);
        perror(argv[2]);
        _exit(126);
    }
    int status = 0;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return 2;
    FILE *stream = fopen(argv[1], "w");
    if (stream == NULL)
        return 2;
    fprintf(stream, "peak %ld\nmajor %ld\n", usage.ru_maxrss * 1024, usage.ru_majflt);
    fclose(stream);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
