/* A generated program: one model, its sessions, text on standard output as it comes.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/batch.h"
#include "runtime/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

/* The signal that asked for an end; a signal handler has no other way to say something. */
static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal)
{
    interrupted = signal;
}

/* The first interrupt ends the text after the current round; a second one ends the program. */
static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
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

/* A value of an option that the model cannot take is bad usage, too. */
static int exit_status_of(tandem_status status)
{
    if (status == TANDEM_OK)
        return interrupted ? EXIT_SIGNAL + interrupted : EXIT_FINE;
    return status == TANDEM_INVALID ? EXIT_USAGE : EXIT_INPUT;
}

/* --- one text --- */

static bool write_piece(void *user, const tandem_piece *piece)
{
    rt_output *output = user;
    char id[RT_ID_BYTES];
    if (!output->ids)
        return rt_output_write(output, piece->text, piece->bytes) && !interrupted;
    for (size_t i = 0; i < piece->count; i++)
        if (!rt_output_write(output, id, rt_print_id(piece->ids[i], !output->any, id)))
            return false;
    return !interrupted;
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

/* Restores what was saved, and feeds the prompt. */
static tandem_status start_session(const rt_command *command, rt_span prompt,
                                   tandem_session *session, tandem_error *error)
{
    tandem_status status = TANDEM_OK;
    if (command->restore != NULL)
        status = rt_restore(session, command->restore);
    if (status == TANDEM_OK && command->prompt_ids != NULL)
        return rt_feed_ids(session, command->prompt_ids, error);
    if (status == TANDEM_OK && command->restore == NULL)
        return rt_feed_prompt(session, prompt);
    if (status == TANDEM_OK && prompt.count > 0)
        return rt_feed_text(session, prompt.bytes, prompt.count);
    return status;
}

/* Feeds the prompt, generates and writes. */
static tandem_status run_session(const rt_command *command, const char *program,
                                 tandem_model *model, rt_span prompt, tandem_error *error)
{
    rt_output output = {.ids = command->ids};
    tandem_session *session;
    tandem_status status = rt_session_create(model, &session);
    if (status == TANDEM_OK)
        status = start_session(command, prompt, session, error);
    if (status == TANDEM_OK && command->echo && !command->ids)
        rt_output_write(&output, prompt.bytes, prompt.count);
    if (status == TANDEM_OK && command->generate.max_tokens > 0)
        status = rt_generate(session, &command->generate, write_piece, &output);
    if (status != TANDEM_OK)
        return status;
    rt_output_end(&output);
    if (command->save != NULL)
        status = rt_save(session, command->save);
    rt_report_session(command, program, &output, session);
    return status == TANDEM_OK ? rt_output_check(&output, error) : status;
}

/* --- what was asked for --- */

/* Opens the file that prompts come from, and reads the one prompt that there is to be, if any. */
static tandem_status take_prompt(const rt_command *command, const rt_text_limit *limit,
                                 tandem_error *error, rt_prompt_file *file, rt_span *prompt)
{
    const char *path = command->prompts != NULL ? command->prompts : command->prompt_file;
    if (command->prompt != NULL) {
        *prompt = (rt_span){command->prompt, strlen(command->prompt)};
        return rt_prompt_check(limit, "--prompt", prompt->count, error);
    }
    if (command->prompt_ids != NULL || (command->restore != NULL && path == NULL))
        return TANDEM_OK;
    tandem_status status = rt_prompt_open(path, limit, &interrupted, error, file);
    if (status == TANDEM_OK && command->prompts == NULL)
        status = rt_prompt_read(file, error, prompt);
    return status;
}

/* With the model open. What its functions say of a failure becomes *error. */
static tandem_status run_model(const rt_command *command, const char *program, tandem_model *model,
                               rt_prompt_file *file, rt_span prompt, tandem_error *error)
{
    uint32_t refused = 0;
    tandem_status status = command->prompts != NULL
                               ? rt_batch_run(command, program, model, file, &refused, error)
                               : run_session(command, program, model, prompt, error);
    if (status == TANDEM_OK && command->costs != NULL && command->open.costs == NULL)
        status = tandem_runtime_api.save_costs(model, command->costs);
    if (status == TANDEM_OK && refused > 0)
        return rt_fail(error, TANDEM_REFUSED, "%u prompt%s could not be taken up", refused,
                       refused == 1 ? "" : "s");
    if (status != TANDEM_OK && error->text[0] == '\0')
        return rt_fail(error, status, "%s", model->error.text);
    return status;
}

static int generate(rt_command *command, const char *program, const tandem_artefact *artefact)
{
    tandem_error error = {{0}};
    tandem_model *model = NULL;
    rt_prompt_file file = {0};
    rt_span prompt = {0};
    rt_text_limit limit;
    tandem_status status = rt_find_text_limit(artefact, &command->open, &error, &limit);
    if (status == TANDEM_OK)
        status = take_prompt(command, &limit, &error, &file, &prompt);
    command->open.text_bytes = command->prompts != NULL ? file.longest : prompt.count;
    if (command->costs != NULL && access(command->costs, F_OK) == 0)
        command->open.costs = command->costs;
    if (status == TANDEM_OK && !interrupted)
        status = tandem_runtime_api.open(artefact, &command->open, &error, &model);
    if (status == TANDEM_OK && model != NULL) {
        say_choice(command, program, model);
        status = run_model(command, program, model, &file, prompt, &error);
    }
    tandem_runtime_api.close(model);
    rt_prompt_close(&file);
    if (status != TANDEM_OK)
        return complain(program, exit_status_of(status), error.text);
    return exit_status_of(status);
}

/* What printf has gathered is written out before the status says that all is fine. */
static int finish_output(const char *program)
{
    if (fflush(stdout) == 0)
        return EXIT_FINE;
    return complain(program, EXIT_INPUT, "standard output cannot be written");
}

static int check(const rt_command *command, const char *program, const tandem_artefact *artefact)
{
    tandem_error error;
    const tandem_status status = tandem_runtime_api.check(artefact, &command->open, &error);
    if (status != TANDEM_OK)
        return complain(program, exit_status_of(status), error.text);
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
