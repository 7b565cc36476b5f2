/* Runs a command and says, from outside, what it took: peak FILE COMMAND... writes to FILE
 *
 *     peak BYTES       most memory that was resident, as the kernel noted it at the end
 *     major FAULTS     pages that had to be read from a disk, first of all to start the program
 *     later FAULTS     those of them that came after its first output; -1: not known
 *
 * and exits as the command does. The command's output passes through. peak --group FOLDER FILE
 * COMMAND... runs it in a control group.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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

/* Major faults of a process until now; -1: not known. */
static long major_faults(pid_t process)
{
    char path[64], line[1024];
    long faults = -1;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)process);
    FILE *stream = fopen(path, "r");
    if (stream == NULL)
        return -1;
    if (fgets(line, sizeof line, stream) != NULL && strrchr(line, ')') != NULL)
        sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %ld", &faults);
    fclose(stream);
    return faults;
}

/* Copies what the command writes and returns its major faults up to the first byte. */
static long pass_output(pid_t process, int from)
{
    char bytes[4096];
    long faults = -1;
    for (bool first = true;; first = false) {
        ssize_t count = read(from, bytes, sizeof bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return faults;
        if (first)
            faults = major_faults(process);
        if (fwrite(bytes, 1, (size_t)count, stdout) != (size_t)count)
            return faults;
    }
}

/* In the child: the command, in a control group unless NULL, with its output in a pipe. */
static void run(const char *group, char **command, const int *output)
{
    if (group != NULL && enter(group) != 0) {
        perror(group);
        _exit(125);
    }
    dup2(output[1], STDOUT_FILENO);
    close(output[0]);
    close(output[1]);
    execv(command[0], command);
    perror(command[0]);
    _exit(126);
}

int main(int argc, char **argv)
{
    const char *group = NULL;
    int output[2];
    if (argc > 2 && strcmp(argv[1], "--group") == 0) {
        group = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 3 || pipe(output) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0)
        run(group, argv + 2, output);
    close(output[1]);
    const long warm = pass_output(child, output[0]);
    int status = 0;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return 2;
    FILE *stream = fopen(argv[1], "w");
    if (stream == NULL)
        return 2;
    fprintf(stream, "peak %ld\nmajor %ld\nlater %ld\n", usage.ru_maxrss * 1024, usage.ru_majflt,
            warm < 0 ? -1 : usage.ru_majflt - warm);
    fclose(stream);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
