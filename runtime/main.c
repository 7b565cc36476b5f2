/* A generated program: one model, one session, text on standard output as it comes.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/command_line.h"
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 128 + SIGINT };

#define MOST_PROMPT_BYTES (UINT64_C(1) << 28)

/* A signal handler has no other way to say something. */
static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* The first interrupt ends the text after the current round; a second one ends the program. */
static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* writing fails instead */
    signal(SIGXFSZ, SIG_IGN);
}

/* No file that is opened shall take the place of a standard stream that is closed: text or messages
 * would be written into it. What is put there cannot be read from or written to, as before. */
static void hold_streams(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) < 0)
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Prefixed with the program's name. */
static int complain(const char *program, int code, const char *sentence)
{
    fprintf(stderr, "%s: %s\n", program, sentence);
    return code;
}

/* --- the prompt --- */

typedef struct prompt_text {
    char *text;
    size_t bytes;
} prompt_text;

static bool read_all(int file, prompt_text *result)
{
    size_t room = 0;
    for (;;) {
        if (result->bytes == room) {
            room = room == 0 ? 4096 : 2 * room;
            char *larger = room > MOST_PROMPT_BYTES ? NULL : realloc(result->text, room);
            if (larger == NULL) {
                errno = EFBIG;
                return false;
            }
            result->text = larger;
        }
        ssize_t count = read(file, result->text + result->bytes, room - result->bytes);
        if (count == 0)
            return true;
        if (count < 0 && (errno != EINTR || interrupted))
            return false;
        result->bytes += count > 0 ? (size_t)count : 0;
    }
}

/* The bytes of --prompt, of a file or of standard input. */
static bool read_prompt(const rt_command *command, prompt_text *result, tandem_error *error)
{
    *result = (prompt_text){0};
    if (command->prompt != NULL) {
        result->text = strdup(command->prompt);
        result->bytes = strlen(command->prompt);
        return result->text != NULL;
    }
    const char *name = command->prompt_file == NULL ? "standard input" : command->prompt_file;
    int file = STDIN_FILENO;
    if (command->prompt_file != NULL)
        file = open(command->prompt_file, O_RDONLY | O_CLOEXEC);
    else if (isatty(file))
        fputs("reading the prompt from the terminal; it ends with Control-D\n", stderr);
    bool fine = file >= 0 && read_all(file, result);
    if (!fine)
        rt_fail(error, TANDEM_INVALID, "%s: cannot read the prompt: %s", name, strerror(errno));
    if (file > STDIN_FILENO)
        close(file);
    if (fine && result->bytes > 0 && result->text[result->bytes - 1] == '\n')
        result->bytes--;
    return fine;
}

/* Feeds ids one by one, in the order of the list. */
static tandem_status feed_ids(tandem_session *session, const char *list, tandem_error *error)
{
    for (const char *next = list; *next != '\0';) {
        char *end;
        errno = 0;
        long id = strtol(next, &end, 10);
        bool separated = *end == '\0' || ((*end == ',' || *end == ' ') && end[1] != '\0');
        if (end == next || errno != 0 || id < 0 || id > INT32_MAX || !separated)
            return rt_fail(error, TANDEM_INVALID,
                           "--prompt-ids: \"%s\" cannot be understood: token ids separated by "
                           "commas are accepted",
                           next);
        int32_t number = (int32_t)id;
        tandem_status status = tandem_runtime_api.feed(session, &number, 1);
        if (status != TANDEM_OK)
            return status;
        next = *end == '\0' ? end : end + 1;
    }
    return TANDEM_OK;
}

/* --- the text --- */

typedef struct text_output {
    bool ids;
    bool any;    /* something was written */
    bool broken; /* nothing more can be written */
    int error;   /* why, or 0 when only the reader is gone */
} text_output;

static bool write_all(text_output *output, const char *text, size_t bytes)
{
    while (bytes > 0 && !output->broken) {
        ssize_t count = write(STDOUT_FILENO, text, bytes);
        if (count < 0 && errno != EINTR) {
            output->broken = true;
            output->error = errno == EPIPE ? 0 : errno;
        }
        if (count <= 0)
            continue;
        output->any = true;
        text += count;
        bytes -= (size_t)count;
    }
    return !output->broken;
}

static bool write_piece(void *user, const tandem_piece *piece)
{
    text_output *output = user;
    if (!output->ids)
        return write_all(output, piece->text, piece->bytes) && !interrupted;
    for (size_t i = 0; i < piece->count; i++) {
        char number[16];
        int length = snprintf(number, sizeof number, output->any ? " %d" : "%d", piece->ids[i]);
        if (!write_all(output, number, (size_t)length))
            return false;
    }
    return !interrupted;
}

static void write_end(text_output *output)
{
    if (output->ids || (output->any && isatty(STDOUT_FILENO)))
        write_all(output, "\n", 1);
}

/* Whether text and figures come out at the same place: a line ends between them then. */
static bool share_place(void)
{
    struct stat text, figures;
    return fstat(STDOUT_FILENO, &text) == 0 && fstat(STDERR_FILENO, &figures) == 0 &&
           text.st_dev == figures.st_dev && text.st_ino == figures.st_ino && !isatty(STDOUT_FILENO);
}

static void report(const rt_command *command, const char *program, const text_output *output,
                   const tandem_session *session)
{
    tandem_stats stats;
    char text[2048];
    tandem_runtime_api.stats(session, &stats);
    if (stats.stop == TANDEM_STOP_SLOTS)
        fprintf(stderr,
                "%s: context full: all %u slots are taken, the text ends here (--slots or "
                "--memory-budget may allow more)\n",
                program, stats.slots);
    if (stats.stop == TANDEM_STOP_CONTEXT)
        fprintf(stderr,
                "%s: context full: the model was made for no more positions, the text ends here\n",
                program);
    if (command->report == RT_REPORT_NONE)
        return;
    if (command->report == RT_REPORT_JSON)
        rt_stats_json(&stats, text, sizeof text);
    else
        rt_stats_text(&stats, text, sizeof text);
    fprintf(stderr, "%s%s%s", output->any && !output->ids && share_place() ? "\n" : "", text,
            command->report == RT_REPORT_JSON ? "\n" : "");
}

/* What a budget of the command line took away; figures for programs hold it anyway. */
static void say_choice(const rt_command *command, const char *program, const tandem_model *model)
{
    const tandem_options *asked = &command->open;
    const uint32_t most = model->artefact->plan.slots, slots = model->slots[RT_TARGET];
    const bool fewer_slots = asked->slots == 0 && slots < most;
    const bool fewer_threads = asked->threads == 0 && model->threads < rt_processors() &&
                               model->threads < TANDEM_USUAL_THREADS;
    if (asked->memory_budget == 0 || command->report == RT_REPORT_JSON ||
        (!fewer_slots && !fewer_threads))
        return;
    fprintf(stderr, "%s: within the memory budget: %u of %u slots, %u thread%s\n", program, slots,
            most, model->threads, model->threads == 1 ? "" : "s");
}

/* --- what was asked for --- */

/* Restores what was saved, and feeds the prompt. */
static tandem_status start_session(const rt_command *command, const prompt_text *prompt,
                                   tandem_session *session, tandem_error *error)
{
    const tandem_api *api = &tandem_runtime_api;
    tandem_status status = TANDEM_OK;
    if (command->restore != NULL)
        status = api->restore(session, command->restore);
    if (status == TANDEM_OK && command->prompt_ids != NULL)
        status = feed_ids(session, command->prompt_ids, error);
    else if (status == TANDEM_OK && (prompt->bytes > 0 || command->restore == NULL))
        status = api->feed_text(session, prompt->text, prompt->bytes);
    return status;
}

/* Feeds the prompt and generates; failures leave their sentence in *error. */
static tandem_status run_session(const rt_command *command, const char *program,
                                 tandem_model *model, const prompt_text *prompt,
                                 tandem_error *error)
{
    const tandem_api *api = &tandem_runtime_api;
    text_output output = {.ids = command->ids};
    tandem_session *session;
    tandem_status status = api->session_create(model, &session);
    if (status == TANDEM_OK)
        status = start_session(command, prompt, session, error);
    if (status == TANDEM_OK && command->echo && !command->ids)
        write_all(&output, prompt->text, prompt->bytes);
    if (status == TANDEM_OK && command->generate.max_tokens > 0)
        status = api->generate(session, &command->generate, write_piece, &output);
    if (status == TANDEM_OK) {
        write_end(&output);
        if (command->save != NULL)
            status = api->save(session, command->save);
        if (status == TANDEM_OK && command->costs != NULL && command->open.costs == NULL)
            status = api->save_costs(model, command->costs);
        report(command, program, &output, session);
    }
    if (status != TANDEM_OK && error->text[0] == '\0')
        rt_fail(error, status, "%s", api->error(model));
    if (status == TANDEM_OK && output.error != 0)
        return rt_fail(error, TANDEM_INVALID, "the text cannot be written: %s",
                       strerror(output.error));
    return status;
}

/* Whether a prompt is to be read: a saved session needs none. */
static bool wants_prompt(const rt_command *command)
{
    return command->prompt_ids == NULL &&
           (command->restore == NULL || command->prompt != NULL || command->prompt_file != NULL);
}

/* What printf has gathered is written out before the status says that all is fine. */
static int finish_output(const char *program)
{
    if (fflush(stdout) == 0)
        return EXIT_FINE;
    return complain(program, EXIT_INPUT, "standard output cannot be written");
}

static int generate(rt_command *command, const char *program, const tandem_artefact *artefact)
{
    tandem_error error = {{0}};
    prompt_text prompt = {0};
    if (wants_prompt(command) && !read_prompt(command, &prompt, &error)) {
        free(prompt.text);
        return complain(program, EXIT_INPUT, error.text);
    }
    command->open.text_bytes = prompt.bytes;
    command->open.sessions = 1;
    if (command->costs != NULL && access(command->costs, F_OK) == 0)
        command->open.costs = command->costs;
    tandem_model *model = NULL;
    tandem_status status = tandem_runtime_api.open(artefact, &command->open, &error, &model);
    if (status == TANDEM_OK) {
        say_choice(command, program, model);
        status = run_session(command, program, model, &prompt, &error);
    }
    tandem_runtime_api.close(model);
    free(prompt.text);
    if (status != TANDEM_OK)
        return complain(program, EXIT_INPUT, error.text);
    return interrupted ? EXIT_INTERRUPTED : EXIT_FINE;
}

static int check(const rt_command *command, const char *program, const tandem_artefact *artefact)
{
    tandem_error error;
    if (tandem_runtime_api.check(artefact, &command->open, &error) != TANDEM_OK)
        return complain(program, EXIT_INPUT, error.text);
    printf("%s: fine: %llu bytes of weights with hash %016llx\n", artefact->name,
           (unsigned long long)artefact->payload_bytes, (unsigned long long)artefact->payload_hash);
    return finish_output(program);
}

static int show_version(const char *program, const tandem_artefact *artefact)
{
    printf("%s, compiled by %s for %s, %s (%s)\n", artefact->name, artefact->compiler,
           artefact->triple, artefact->cpu, artefact->features);
    for (uint32_t i = 0; i < artefact->model_count; i++)
        printf("%s: vocabulary %u, context %u, %llu bytes of weights, activations %s\n",
               artefact->models[i].name, artefact->models[i].vocabulary,
               artefact->models[i].context_length,
               (unsigned long long)artefact->models[i].weights_bytes, artefact->activations);
    printf("runtime %s, interface version %u\n", TANDEM_VERSION, TANDEM_ABI_VERSION);
    return finish_output(program);
}

int main(int count, char **arguments)
{
    const char *program = count > 0 ? arguments[0] : "model";
    rt_command command;
    tandem_error error = {{0}};
    hold_streams();
    if (!rt_read_command_line(count, arguments, &command, &error))
        return complain(program, EXIT_USAGE, error.text);
    if (command.action == RT_HELP) {
        printf(rt_help, program);
        return finish_output(program);
    }
    const tandem_artefact *artefact = tandem_program(TANDEM_ABI_VERSION);
    if (artefact == NULL)
        return complain(program, EXIT_INPUT, "the program needs a newer runtime");
    handle_signals();
    if (command.action == RT_CHECK)
        return check(&command, program, artefact);
    if (command.action == RT_VERSION)
        return show_version(program, artefact);
    return generate(&command, program, artefact);
}
