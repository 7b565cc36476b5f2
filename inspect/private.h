/* What the parts of the inspector share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_INSPECT_PRIVATE_H
#define TANDEM_INSPECT_PRIVATE_H

#include "inspect/inspect.h"

/* Adds a graph without orders; the pointer holds until the next one is added. */
td_status inspect_new_graph(inspect_facts *facts, const char *name, const sched_problem *problem,
                            const char *const *ops, inspect_graph **graph);

/* Adds a given order (NULL: nodes as they are numbered), or those that the orderers of
 * request->against find, but for `without`. */
td_status inspect_add_given(inspect_graph *graph, const char *name, const uint32_t *given);
td_status inspect_run_others(inspect_facts *facts, const inspect_request *request,
                             const char *without, inspect_graph *graph);

/* Adds an arena; the pointer holds until the next one is added. */
td_status inspect_new_arena(inspect_facts *facts, inspect_arena **arena);

/* Puts a buffer into an arena; an empty one is left out. */
td_status inspect_place(td_context *context, inspect_arena *arena, inspect_placed placed,
                        sched_buffer buffer);

#endif
