/* The `tandem` command.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const cli_verb verbs[] = {
    {"import", "read a model and print its graph, list its operations, or write it elsewhere",
     cli_import},
    {"compile", "compile a target, and a drafter, into a program", cli_compile},
    {"plan", "print the memory that a program would need, without compiling it", cli_plan},
    {"verify", "compare compiled code with the reference evaluator, node by node", cli_verify},
    {"run", "compile and run at once, or run the reference evaluator", cli_run},
    {"perplexity", "measure how well a model predicts a text", cli_perplexity},
    {"calibrate", "count how often tokens occur, to trim a drafter's head", cli_calibrate},
    {"schedule", "order a graph such that it needs least memory, with a bound or a proof",
     cli_schedule},
    {"arena", "place buffers with lifetimes in the least memory, with a bound or a proof",
     cli_arena},
    {"inspect", "show why a graph or a program needs the memory it needs: a page, JSON, a trace",
     cli_inspect},
    {"generate", "write a random graph to order", cli_generate},
    {"train-orderer", "train the orderer that learns", cli_train_orderer},
    {"targets", "list the machines that programs can be compiled for", cli_targets},
    {"version", "print the version", cli_version},
};

static void print_usage(FILE *stream)
{
    fputs("usage: tandem VERB [OPTION...]\n\n"
          "Compiles a language model and a small drafter for it into one program that decodes\n"
          "speculatively, inside a memory budget.\n\n",
          stream);
    for (size_t i = 0; i < TD_COUNT_OF(verbs); i++)
        fprintf(stream, "  %-13s  %s\n", verbs[i].name, verbs[i].summary);
    fputs("\nexamples:\n"
          "  tandem compile --target graphs/target.xml --drafter graphs/drafter.xml \\\n"
          "      --tokenizer graphs/tokenizer.json --memory-budget 64M -o model\n"
          "  ./model --prompt 'Once upon a time' --max-tokens 100 --stats\n\n"
          "`tandem VERB --help` tells the options of a verb.\n",
          stream);
}

/* No file that is opened shall take the place of a standard stream that is closed: what is printed
 * would be written into it. What is put there cannot be read from or written to, as before. */
static void hold_streams(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) < 0)
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* What is left of standard output may still find no room. */
static int finish(int exit_status)
{
    if ((fflush(stdout) == 0 && ferror(stdout) == 0) || exit_status != 0)
        return exit_status;
    fputs("tandem: standard output cannot be written\n", stderr);
    return 1;
}

int main(int argc, char **argv)
{
    hold_streams();
    cli_end_when_out_of_memory();
    argp_err_exit_status = 2;
    signal(SIGXFSZ, SIG_IGN); /* writing fails instead, and temporaries are removed */
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(argc < 2 ? stderr : stdout);
        return finish(argc < 2 ? 2 : 0);
    }
    if (strcmp(argv[1], "--version") == 0)
        return finish(cli_version(argc - 1, argv + 1));
    for (size_t i = 0; i < TD_COUNT_OF(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        char name[32];
        snprintf(name, sizeof name, "tandem %s", verbs[i].name);
        argv[1] = name;
        return finish(verbs[i].run(argc - 1, argv + 1));
    }
    fprintf(stderr, "tandem: unknown verb \"%s\"; known are", argv[1]);
    for (size_t i = 0; i < TD_COUNT_OF(verbs); i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : ",", verbs[i].name);
    fputc('\n', stderr);
    return 2;
}
