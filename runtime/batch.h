/* Several prompts in one process: sessions over one copy of the weights, which take turns.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_BATCH_H
#define TANDEM_RUNTIME_BATCH_H

#include "runtime/output.h"
#include "runtime/prompt.h"

/* Continues every prompt of the file, as many at a time as the model has sessions, a round each in
 * turn. Texts are written in the order of their prompts, each followed by an empty line; the first
 * that is not complete is written as it comes. A prompt that cannot be taken up is said on standard
 * error and leaves an empty text; *refused counts these. The texts are those of runs of their own:
 * greedily the same bytes, and for one seed the same whatever the number of sessions. */
tandem_status rt_batch_run(const rt_command *command, const char *program, tandem_model *model,
                           rt_prompt_file *prompts, uint32_t *refused, tandem_error *error);

#endif
