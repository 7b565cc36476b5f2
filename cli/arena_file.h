/* The buffers of an ordered graph as a table for offset planners.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_ARENA_FILE_H
#define TANDEM_CLI_ARENA_FILE_H

#include "cli/cli.h"

/* Writes every buffer that an order makes (views and results in place have none of their own), and
 * every workspace as a buffer of one step, to a table (frontend/buffer_table.h). Ids are the nodes'
 * names, with a node's number where a name repeats or holds a comma. */
td_status cli_write_buffers(td_context *context, const char *path, const sched_problem *problem,
                            const uint32_t *order);

#endif
