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

/* Sums -ln p of ids[1], ids[2], ... of each window, given the ids before it in the window. Windows
 * of `window` ids (at most the model's context) follow each other without overlap, each from empty
 * caches. *scored counts the ids that were predicted. */
td_status cli_reference_score(td_context *context, const fe_model *model, const int32_t *ids,
                              size_t count, uint32_t window, double *nats, size_t *scored);

#endif
