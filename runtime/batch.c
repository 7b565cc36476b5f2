/* See batch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/batch.h"

#include "runtime/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text that waits for those before it has no more turns once it is so long, which bounds what is
 * kept of it. */
#define MOST_WAITING 1024

/* What all seats share. */
typedef struct batch {
    const rt_command *command;
    const char *program;
    tandem_model *model;
    rt_prompt_file *prompts; /* those that were not begun */
    rt_output output;
    uint32_t begun, written; /* prompts */
    uint32_t refused;
} batch;

/* A prompt that was begun and whose text is not written. */
typedef struct seat {
    batch *owner;
    tandem_session *session; /* NULL: nobody sits here */
    rt_generation generation;
    uint32_t number; /* of the prompt, from 0 */
    bool refused;    /* the prompt was */
    bool runs;       /* its text goes on */
    bool any;        /* it has ids */
    bool failed;     /* its text cannot be kept */
    char *waiting;   /* text that waits for those before it */
    size_t count, room;
} seat;

/* --- text --- */

static bool keep(seat *self, const char *bytes, size_t count)
{
    if (count == 0)
        return true;
    if (self->room - self->count < count) {
        const size_t room = self->count + count + MOST_WAITING;
        char *larger = realloc(self->waiting, room);
        if (larger == NULL) {
            self->failed = true;
            return false;
        }
        self->waiting = larger;
        self->room = room;
    }
    memcpy(self->waiting + self->count, bytes, count);
    self->count += count;
    return true;
}

static bool is_first(const seat *self)
{
    return self->number == self->owner->written;
}

/* Writes, or keeps, what a round added. */
static bool take_bytes(seat *self, const char *bytes, size_t count)
{
    return is_first(self) ? rt_output_write(&self->owner->output, bytes, count)
                          : keep(self, bytes, count);
}

static bool take_ids(seat *self, const int32_t *ids, size_t count)
{
    char text[RT_ID_BYTES];
    bool fine = true;
    for (size_t i = 0; i < count && fine; i++) {
        fine = take_bytes(self, text, rt_print_id(ids[i], !self->any, text));
        self->any = true;
    }
    return fine;
}

static bool take_piece(void *user, const tandem_piece *piece)
{
    seat *self = user;
    const bool fine = self->owner->output.ids ? take_ids(self, piece->ids, piece->count)
                                              : take_bytes(self, piece->text, piece->bytes);
    return fine && !*self->owner->prompts->interrupted;
}

/* --- turns --- */

static tandem_status start(seat *self, rt_span prompt)
{
    const rt_command *command = self->owner->command;
    tandem_status status = rt_feed_prompt(self->session, prompt);
    if (status == TANDEM_OK && command->echo && !command->ids)
        take_bytes(self, prompt.bytes, prompt.count);
    if (status == TANDEM_OK && command->generate.max_tokens > 0) {
        status = rt_generation_begin(self->session, &command->generate, take_piece, self,
                                     &self->generation);
        self->runs = status == TANDEM_OK;
    }
    return status;
}

/* Whether a free seat may be given to the next prompt. Echoes are not kept, which bounds what
 * waits: prompts that are written themselves begin one after the other. */
static bool may_begin(const batch *self)
{
    return !*self->prompts->interrupted && (!self->command->echo || self->begun == self->written);
}

/* Says that a prompt cannot be taken up. Its text is empty. */
static void refuse(seat *self, const tandem_error *error)
{
    self->refused = true;
    self->owner->refused++;
    fprintf(stderr, "%s: prompt %u: %s\n", self->owner->program, self->number + 1, error->text);
}

/* Gives a free seat to the next prompt. What is wrong with the options is so for all prompts, and a
 * failure. */
static tandem_status fill(batch *owner, seat *self, tandem_error *error)
{
    if (self->session != NULL || !may_begin(owner))
        return TANDEM_OK;
    rt_span prompt = {0};
    const tandem_status read = rt_prompt_next(owner->prompts, error, &prompt);
    if (read != TANDEM_FULL && prompt.count == 0)
        return read;
    *self = (seat){
        .owner = owner, .number = owner->begun++, .waiting = self->waiting, .room = self->room};
    tandem_status status = rt_session_create(owner->model, &self->session);
    if (status == TANDEM_OK && read == TANDEM_OK)
        status = start(self, prompt);
    if (status == TANDEM_INVALID || self->session == NULL)
        return rt_fail(error, status, "%s", owner->model->error.text);
    if (read != TANDEM_OK || status != TANDEM_OK)
        refuse(self, read != TANDEM_OK ? error : &owner->model->error);
    error->text[0] = '\0';
    return TANDEM_OK;
}

static void run_round(seat *self)
{
    if (self->session == NULL || !self->runs || (!is_first(self) && self->count > MOST_WAITING))
        return;
    self->runs = rt_generation_step(&self->generation);
    if (!self->runs)
        rt_generation_end(&self->generation);
}

/* Writes what has come to be first, and frees its seat when it is complete. False when it is not.
 */
static bool write_out(seat *self)
{
    batch *owner = self->owner;
    if (self->session == NULL || !is_first(self))
        return false;
    rt_output_write(&owner->output, self->waiting, self->count);
    self->count = 0;
    if (self->runs)
        return false;
    rt_output_write(&owner->output, "\n\n", owner->output.ids ? 1 : 2);
    if (!self->refused)
        rt_report_session(owner->command, owner->program, &owner->output, self->session);
    rt_session_destroy(self->session);
    self->session = NULL;
    owner->written++;
    return true;
}

/* Writes all texts that are complete and not behind one that is not. */
static void write_all_out(seat *seats, uint32_t count)
{
    for (uint32_t i = 0; i < count;)
        i = write_out(&seats[i]) ? 0 : i + 1;
}

static tandem_status run_seats(batch *self, seat *seats, tandem_error *error)
{
    const uint32_t count = self->model->session_count;
    while (!self->output.broken) {
        for (uint32_t i = 0; i < count; i++) {
            const tandem_status status = fill(self, &seats[i], error);
            if (status != TANDEM_OK)
                return status;
        }
        if (self->written == self->begun)
            break;
        for (uint32_t i = 0; i < count; i++) {
            run_round(&seats[i]);
            if (seats[i].failed)
                return rt_fail(error, TANDEM_FAILED, "there is no memory for texts that wait");
        }
        write_all_out(seats, count);
    }
    return TANDEM_OK;
}

tandem_status rt_batch_run(const rt_command *command, const char *program, tandem_model *model,
                           rt_prompt_file *prompts, uint32_t *refused, tandem_error *error)
{
    batch self = {.command = command,
                  .program = program,
                  .model = model,
                  .prompts = prompts,
                  .output = {.ids = command->ids}};
    seat *seats = calloc(model->session_count, sizeof *seats);
    if (seats == NULL)
        return rt_fail(error, TANDEM_FAILED, "there is no memory for %u sessions",
                       model->session_count);
    tandem_status status = run_seats(&self, seats, error);
    for (uint32_t i = 0; i < model->session_count; i++) {
        rt_session_destroy(seats[i].session);
        free(seats[i].waiting);
    }
    free(seats);
    *refused = self.refused;
    return status == TANDEM_OK ? rt_output_check(&self.output, error) : status;
}
