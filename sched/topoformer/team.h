/* The processes that train one model together, on one machine or several.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two implementations, one of which is built: a process that is alone (team_alone.c), and processes
 * that mpirun started (team_mpi.c, CMake option TANDEM_MPI). Every process makes the same calls in
 * the same order and with the same sizes. Where the exchange itself fails, as when a machine is
 * lost, MPI ends all of them. */
#ifndef TANDEM_SCHED_TOPOFORMER_TEAM_H
#define TANDEM_SCHED_TOPOFORMER_TEAM_H

#include "base/status.h"

typedef struct topo_team {
    uint32_t number; /* of this process; the first is 0: it prints, validates and writes */
    uint32_t size;   /* 1 or more */
} topo_team;

/* Called once by a process, from the thread that makes all other calls. */
topo_team topo_team_join(void);
void topo_team_leave(void);

/* A sum goes through the team by number: each process takes it, adds its part and passes it on, and
 * `pass` gives the first what the last passed. Its bits are those of one process that adds all
 * parts in that order, whatever the team's size. The first takes nothing: its data stay as they
 * are. Costs `size` messages, one after the other. */
void topo_team_take(const topo_team *team, void *data, size_t size);
void topo_team_pass(const topo_team *team, void *data, size_t size);

/* Gives all what the first has. */
void topo_team_share(const topo_team *team, void *data, size_t size);

/* TD_OK where it is the status of all; otherwise the status and the message of one that failed. */
td_status topo_team_agree(const topo_team *team, td_context *context, td_status status);

#endif
