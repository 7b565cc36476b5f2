/* Greedy text from the reference evaluator: slow, but the oracle for compiled programs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_REFERENCE_H
#define TANDEM_CLI_REFERENCE_H

#include "frontend/frontend.h"

/* Called for every id; false stops. */
typedef bool (*cli_id_callback)(void *self, int32_t id);

/* Feeds the prompt in chunks and emits arg-max ids (ties to the lowest) until max_tokens, the end
 * of text (unless ignore_eos), or a full context. */
td_status cli_reference_generate(td_context *context, const fe_model *model, const int32_t *prompt,
                                 size_t prompt_count, uint32_t max_tokens, bool ignore_eos,
                                 cli_id_callback callback, void *self);

#endif
